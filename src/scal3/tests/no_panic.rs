//! Whatever the bytes, the answer is a value.

use proptest::collection::vec;
use proptest::prelude::*;
use scal3::Profile;
use scal3::ecdsa::Signature;
use scal3::fold::Fold;
use scal3::point::Point;
use scal3::record::Record;
use scal3::schnorr::IsoVariant;
use scal3::state::CredentialState;
use scal3::transcript::{self, Transcript};
use scal3::verify::Submitted;

mod log;
use log::{Log, Person};

/// Everything that reads bytes of others.
fn read_all(bytes: &[u8]) {
    let _ = Point::parse(bytes);
    let _ = Point::from_sec1_any(bytes);
    if let Ok(signature) = Signature::parse(bytes) {
        assert_eq!(signature.as_bytes()[..], *bytes);
    }
    let _ = Signature::from_der(bytes);
    for profile in [Profile::EcSdsa, Profile::Transcript, Profile::Passkey] {
        if let Ok(record) = Record::parse(profile, bytes) {
            assert_eq!(record.to_bytes(), bytes);
        }
    }
    let _ = Submitted::parse(bytes);
    if let Ok(state) = CredentialState::from_own_store(bytes) {
        assert_eq!(state.to_bytes(), bytes);
    }
    let _ = Fold::start(bytes);
    let key = Point::from_bytes(&log::public(&log::secret("joint"))).unwrap();
    let _ = transcript::verify_textbook(key.as_bytes(), key.as_bytes(), bytes);
    for variant in [IsoVariant::EcSdsa, IsoVariant::EcSdsaOpt, IsoVariant::EcFsdsa] {
        let _ = variant.verify(&key, b"message", bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn on_random_bytes(bytes in vec(any::<u8>(), 0..700)) {
        read_all(&bytes);
    }

    #[test]
    fn on_a_transcript_of_random_parts(
        parts in (vec(any::<u8>(), 250), vec(any::<u8>(), 33), vec(any::<u8>(), 32)),
        rest in (vec(any::<u8>(), 48), vec(any::<u8>(), 64), vec(any::<u8>(), 129)),
    ) {
        let (mut verifier, mut device, digest) = parts;
        let (authenticator, proof, mut client) = rest;
        // Else hardly any of them comes past the first byte of a point.
        for tag in [&mut verifier[32], &mut device[0], &mut client[0]] {
            *tag = 2 + (*tag & 1);
        }
        let transcript = Transcript {
            verifier: &verifier,
            device: &device,
            digest: &digest,
            authenticator: &authenticator,
            proof: &proof,
            client: &client,
        };
        prop_assert!(transcript::verify(&transcript).is_err());
    }
}

#[test]
fn on_every_byte_of_good_ones_changed_or_cut() {
    for profile in [Profile::EcSdsa, Profile::Transcript, Profile::Passkey] {
        let person = Person::new("ann", profile);
        let log = Log::with(&person);
        let draft = log.draft(&person);
        let state = log.state(&person).to_bytes();
        for good in [draft.record(), draft.opening(), state, log.entries[0].clone()] {
            for at in 0..good.len() {
                read_all(&good[..at]);
                for bit in [0x01, 0x80] {
                    let mut altered = good.clone();
                    altered[at] ^= bit;
                    read_all(&altered);
                }
            }
        }
    }
}

#[test]
fn no_bit_of_an_opening_may_change() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = Log::with(&person);
    let draft = log.draft(&person);
    let (place, state) = (log.place(&draft), log.state(&person));
    let opening = draft.opening();
    let verify = |opening: &[u8]| {
        scal3::verify::verify(opening, log::ORIGIN, &place, state, log.fold.policy(), |seen| log.seen(seen))
    };
    assert!(verify(&opening).is_ok());
    for at in 0..opening.len() {
        let mut altered = opening.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(verify(&altered).is_err(), "byte {at}");
    }
}
