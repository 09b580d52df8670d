//! The rows: what each requirement asks, in our words, how it stands, and which tests show it besides those named for it.

/// How a row stands.
pub enum State {
    /// A test would fail without it.
    Met,
    /// What the document asks for is wrong or can't be had; what is done in its place.
    Corrected(&'static str),
    /// Not, or not all of it: why.
    NotYet(&'static str),
}

use State::{Corrected, Met, NotYet};

/// Its id, what it asks, how it stands, and the tests that show it and are not named for it.
pub struct Row(pub &'static str, pub &'static str, pub State, pub &'static [&'static str]);

/// The documents, by what the ids of their rows begin with.
pub const DOCUMENTS: [(&str, &str); 5] = [
    ("R0-", "Zero-trust transaction binding"),
    ("R1-", "Key attestation with a bio-signature"),
    ("R2-", "WebAuthn varsig and UCAN"),
    ("R3-", "SCAL3"),
    ("R4-", "NFC cards in threshold signing"),
];

const HOLDERS: &str = "there is no network of key holders";
const FROST: &str = "there are no signing sessions of several people";

/// All rows, in order. One line each.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row("R0-01", "Nothing is trusted that can't be verified: an engine that always lets through gains nothing", Met, &["r0_03_a_second_opinion_can_deny_and_never_allow", "r0_07_whatever_an_engine_answered_the_log_judges_again", "r0_g1_evidence_for_anything_else_opens_nothing_and_costs_nothing"]),
    Row("R0-02", "The device signs the operation itself, and its person was present", Met, &["r0_g4_one_bit_of_a_record_breaks_the_signature_over_it"]),
    Row("R0-03", "The policy is asked before there is a challenge; a denial gives none, and is logged", Met, &[]),
    Row("R0-04", "Account, device and value decide, each with its own denial", Met, &["r0_03_deny_gives_no_challenge"]),
    Row("R0-05", "The answer has the challenge and the hash of the operation, and anybody can compute the one from the other", Corrected("the hash is `instruction_id`; every challenge of evidence is computed from the operation, which names it, and the device computes all of it again"), &["r0_01_what_the_policy_needs_is_said_shown_and_logged", "r0_g1_a_challenge_names_kind_operation_participant_and_authenticator"]),
    Row("R0-06", "The ceremony of a browser, with a real one", Met, &[]),
    Row("R0-07", "What was let through before is judged again in full, and in time", Met, &["clocks_may_differ_by_exactly_300_seconds_and_a_record_may_be_used_until_it_expires"]),
    Row("R0-08", "What came of it is logged, also when it failed", Met, &["what_is_hidden_or_is_no_digest_is_blocked_once_and_for_all"]),
    Row("R0-09", "It comes to an end that can be asked for", Met, &["many_who_ask_at_once_get_one_outcome"]),
    Row("R0-10", "A person's authenticators can be looked up, for the browser", Met, &[]),
    Row("R0-11", "Passwords of the old kind where the policy takes them, and never alone where much is at stake", Met, &[]),
    Row("R0-12", "Every attempt to authenticate is in the log", Corrected("every attempt that the provider answers with its share: what does not come from the device is refused before, or strangers could fill a person's log"), &["a_stranger_costs_nobody_an_attempt_and_is_slowed_down", "no_attempt_is_free_and_no_challenge_lives_twice_when_the_process_is_killed"]),
    Row("R0-13", "Authenticators are registered and revoked; what was authorised before stays valid", NotYet("passkeys (ES256), cards and matching devices are registered and revoked over HTTP; one-time passwords and Ed25519 passkeys are not, and no app of ours brings any"), &["r0_10_authenticators_are_listed_for_the_browser_and_revoked_by_either"]),
    Row("R0-14", "A person can have several authenticators", Met, &["the_authenticators_of_a_person_outlive_a_credential_and_are_kept_in_one_spelling"]),
    Row("R0-15", "A validation takes at most a second, with WebAuthn and a card, at a hundred each second", NotYet("the load tool sends no evidence, so it was not measured"), &[]),
    Row("R0-16", "Signatures that outlast quantum computers", Corrected("ML-DSA-44 lines of log and witnesses; records are ECDSA and not post-quantum, FN-DSA has no final standard, and no browser makes passkeys of either"), &["both_keys_of_a_log_sign_until_its_rotation_is_finished"]),
    Row("R0-17", "Signatures by several, and security events", NotYet(FROST), &[]),
    Row("R0-18", "An API call is authenticated by an assertion, without a cookie", Met, &[]),
    Row("R0-19", "Taking keys out needs hardware that verified its person", Corrected("nothing here takes a key out; a rule for that class of instruction is held to"), &[]),
    Row("R0-20", "Phones unlock a key by biometrics", Corrected("at the level of the protocol, with a device in software: a signed token for each operation, and not the phone's own libraries"), &["r1_05_a_token_is_refused_for_what_is_wrong_with_it"]),
    Row("R0-21", "An audit trail with proofs can be taken away", Met, &["an_export_goes_on_where_it_was_cut_off", "what_does_not_fit_is_a_finding_and_the_rest_is_exported_all_the_same", "no_value_is_in_a_trail_unless_it_is_asked_for"]),
    Row("R0-G1", "A rogue service can't forge an approval", Met, &["r0_14_evidence_is_good_for_its_own_record"]),
    Row("R0-G2", "What was signed can't be disowned: the key can't have left its device", Corrected("where a rule says that much is at stake, synced and unattested keys count for nothing; it is technical evidence, and no legal presumption"), &[]),
    Row("R0-G3", "An assertion for another site is worth nothing", Met, &["r0_02_what_a_passkey_did_not_do_is_refused", "another_passkey_authorises_nothing"]),
    Row("R0-G4", "No byte of an operation can be changed", Met, &["no_altered_byte_makes_a_record", "r2_06_every_mutation_of_an_assertion_is_refused_for_what_it_is"]),

    Row("R1-01", "Biometrics are enrolled with a key, and never leave the device", NotYet("a device is enrolled over HTTP by its key and random numbers, and the format has no place for biometric data; no phone's own library was tried"), &["claims_of_an_authenticator_are_written_back_and_name_it"]),
    Row("R1-02", "An interface to enrol and authenticate with an app or a module", NotYet("an address enrols such devices, one in software in tests; there is no app or module"), &[]),
    Row("R1-03", "Every request is stopped and gets a challenge; without a token no share", NotYet("there is no `fulfil`"), &[]),
    Row("R1-04", "A challenge is used once, and in time", Met, &["a_challenge_expires_and_only_so_many_are_open", "of_64_answers_to_one_challenge_one_wins_and_the_others_get_nothing"]),
    Row("R1-05", "A token's signature and time are verified", Corrected("the time shows that it is fresh, and not that anybody was alive: that is the sensor's to know, and its maker's to attest"), &["r0_13_a_revoked_authenticator_shows_nothing_from_there_on_and_old_entries_stay"]),
    Row("R1-06", "Several independent holders, each with one share", NotYet(HOLDERS), &[]),
    Row("R1-07", "A holder's reputation comes from what it did", NotYet(HOLDERS), &[]),
    Row("R1-08", "A quorum is chosen by reputation and availability", NotYet(HOLDERS), &[]),
    Row("R1-09", "Each holder of the quorum verifies before it acts", NotYet(HOLDERS), &[]),
    Row("R1-10", "The whole key is nowhere", NotYet("so it is with a person's key, of which device and provider have a half each; of a network there is none"), &["a_challenge_answered_three_times_gives_the_share_away"]),
    Row("R1-11", "`fulfil`: six steps in their order, with two named errors", NotYet("there is no `fulfil`"), &[]),
    Row("R1-12", "Five functions of a contract, as entries that anybody can replay", NotYet(HOLDERS), &[]),
    Row("R1-13", "It goes on without some holders, and names one that cheats", NotYet(HOLDERS), &[]),
    Row("R1-G", "No single point of failure", NotYet(HOLDERS), &[]),

    Row("R2-01", "A passkey signs a UCAN: its challenge is the hash of the payload", Corrected("with a passkey in software; a real browser signs records here, and no delegation"), &["r2_09_what_is_no_delegation_is_refused_for_what_it_is"]),
    Row("R2-02", "Authenticator data, client data and signature travel as one varsig", Met, &["r2_03_headers_and_signatures_are_the_published_ones"]),
    Row("R2-03", "The layout of a varsig, to the byte", Met, &[]),
    Row("R2-04", "The two codes, and no other", Corrected("both are read and written; they are in no registry, so delegations of ours have the header of the specification as well"), &[]),
    Row("R2-05", "Lengths are minimal varints", Met, &[]),
    Row("R2-06", "The assertion is verified by code of our own, in full", Met, &["r0_02_authenticator_data_has_one_form", "assertions_of_real_authenticators_are_judged_as_published", "assertions_of_the_specification_are_judged_as_published"]),
    Row("R2-07", "Encoder, decoder, signer and verifier are modules of their own", Corrected("by noun: `src/scal3/evidence/`, `src/scal3/ucan/`; who verifies shares no code with who signs but the formats"), &["the_cores_have_no_world"]),
    Row("R2-08", "Credentials are made with Ed25519 and with P-256", NotYet("both are verified, and P-256 is registered; Ed25519 is not yet"), &["r0_06_what_a_browser_signed_verifies_and_other_algorithms_are_unsupported", "published_registrations_give_their_keys"]),
    Row("R2-09", "Delegations are made with a passkey, and verified when they come in", Met, &["r2_01_a_passkey_delegates_and_anybody_with_its_enrolment_verifies"]),
    Row("R2-10", "A page sees what its browser can do, and falls back to P-256", NotYet("there is no page of ours"), &[]),
    Row("R2-11", "A proxy that takes a passkey's UCAN and gives a standard one", Met, &[]),
    Row("R2-12", "Real credentials from end to end, units, a benchmark, a review of its security", NotYet("nobody from outside has reviewed it, and it was not benchmarked by itself"), &["r0_06_a_real_browser_enrols_and_authorises", "assertions_of_real_authenticators_are_judged_as_published"]),
    Row("R2-G", "Keys stay in hardware, and each operation has its person verified", Corrected("who verifies asks for it: a delegation counts only with user verification, evidence where the policy asks; as device of a record a passkey has its person present, and the PIN is the second factor"), &["r2_01_a_passkey_delegates_and_anybody_with_its_enrolment_verifies", "r0_02_evidence_has_to_have_every_attribute"]),

    Row("R3-01", "A person enrols with a device of their own", Met, &["a_device_enrols_authorises_and_sees_all_of_it"]),
    Row("R3-02", "A person authorises with a PIN; a wrong one is refused and counted", Met, &["r0_08_a_wrong_pin_is_counted_told_and_seen"]),
    Row("R3-03", "Nothing is executed but what was authorised with both factors, and is published", Corrected("so it is for the executors of this server; key holders, who would ask for a proof of inclusion themselves, are not there"), &["nothing_but_an_instruction_of_an_executors_class_is_executed", "without_its_witness_nothing_is_executed"]),
    Row("R3-04", "A log that shows tampering, with the evidence of instructions", Met, &["every_lie_is_found_and_proven", "a_copied_log_dies_at_its_first_head", "what_is_appended_is_proven_and_still_there_after_a_restart"]),
    Row("R3-05", "A proof that one operation was authorised, on request", Met, &["each_fault_is_found_by_the_check_that_is_for_it", "a_record_goes_in_and_its_receipt_convinces_a_stranger"]),
    Row("R3-06", "The credential holds both factors, and each of its fields is checked", Corrected("it holds the keys of both and the hash of the two sealed shares, which stay with device and provider: whoever verifies never has them"), &["a_credential_that_says_something_else_is_not_taken", "malformed_shares_are_refused_by_name", "what_is_sealed_is_opened_for_the_same_credential_only"]),
    Row("R3-07", "The record, part by part, with one fault for each vector", Met, &["every_vector_has_its_verdict_and_its_reason", "the_worked_example_comes_out_value_by_value", "records_come_back_byte_for_byte"]),
    Row("R3-08", "The fifteen steps, in their order", Met, &["what_they_cannot_tell_apart_is_told_apart"]),
    Row("R3-09", "Anybody verifies with open standards", Corrected("`schemas/vectors/make.py`, in another language and without any library, gives each record its verdict, one of ours among them; no page in a browser does"), &["every_vector_has_its_verdict_and_its_reason", "r3_08_the_fifteen_steps_make_a_record_in_their_order"]),
    Row("R3-10", "Evidence says nothing about the PIN, and guessing needs the provider, who counts", Met, &["a_wrong_pin_is_told_apart_from_transport", "the_lifetime_cap_never_resets", "nothing_secret_of_enrolling_and_authorising_is_written_or_answered"]),
    Row("R3-11", "Whoever suspects something can make a case that others verify", Met, &["evidence_that_was_altered_proves_nothing"]),
    Row("R3-12", "Transcripts of the published implementation verify", Met, &["our_subscriber_makes_their_passes_byte_for_byte", "their_passes_complete_with_our_provider"]),

    Row("R4-01", "Key, card and consensus: three layers in one session", NotYet(FROST), &[]),
    Row("R4-02", "The flow from request to execution, with a card in both rounds", NotYet(FROST), &[]),
    Row("R4-03", "Cards are verified after aggregation, and who has none can take part", NotYet("there are no signing sessions of several people; who signs is judged already"), &[]),
    Row("R4-04", "Four policies, and a number or a threshold of cards", Met, &[]),
    Row("R4-05", "One of all fails: blocked", Met, &[]),
    Row("R4-06", "Most fail: blocked", Met, &[]),
    Row("R4-07", "It is optional: allowed, and told", Met, &[]),
    Row("R4-08", "High value: blocked above the limit, and not at it", Met, &[]),
    Row("R4-09", "Low value: allowed", Met, &[]),
    Row("R4-10", "The fields of a session", NotYet(FROST), &[]),
    Row("R4-11", "The envelope has exactly its fields", Met, &[]),
    Row("R4-12", "The card's key: uncompressed, on the curve", Corrected("and the one that was enrolled: an envelope that brings its own key proves nothing"), &[]),
    Row("R4-13", "The signature: 64 bytes, in range, no DER", Met, &[]),
    Row("R4-14", "The time of the tap: at most 300,000 ms from the entry's", Corrected("it is under the card's signature, with the session: else a replay only has to change it"), &[]),
    Row("R4-15", "The card's number: 16 digits", Corrected("written with leading zeros where it is shorter; it is the enrolled one's, and no proof against clones"), &[]),
    Row("R4-16", "Six methods, from collecting to verifying", NotYet("cards are verified and the policy is explained; collecting in a session is not there"), &[]),
    Row("R4-17", "A trail of taps, and the events of a session", NotYet("a tap's time, card and verdict are in the opening of its record; there are no events by those names"), &[]),
    Row("R4-18", "No log line has a card's number, a key, or the hash of something that can be guessed", NotYet("searched for in all other secrets; not in evidence"), &["nothing_that_is_secret_is_written", "nothing_secret_of_enrolling_and_authorising_is_written_or_answered"]),
    Row("R4-19", "What was there before goes on, and a stricter policy is somebody's logged decision", Met, &["a_person_enrols_activates_and_authorises"]),
    Row("R4-20", "Sessions are found by policy, time and place", NotYet(FROST), &[]),
    Row("R4-21", "More than nine tenths are covered by integration tests, in all four options", NotYet("all four options are tested; coverage was not measured"), &["r4_04_four_policies_say_how_many_cards"]),
    Row("R4-G", "Stolen keys, replays, forgeries, impersonation, a bypassed consensus: an attack each", NotYet("all but the last are attacked; there is no consensus to bypass"), &["r0_g1_evidence_for_another_operation_participant_authenticator_log_or_kind_never_verifies", "r4_14_a_tap_is_good_for_300_000_ms_either_way_and_its_time_is_signed", "r0_14_evidence_is_good_for_its_own_record"]),
];
