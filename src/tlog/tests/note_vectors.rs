//! Signed notes, verifier keys and Ed25519 against vectors made by others.

mod vectors;

use serde_json::Value;
use tlog::key::{KeyId, Kind, Signer, Vkey, verify_ed25519};
use tlog::note::{Note, OpenError, SignatureLine};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn cases(file: &str) -> Vec<Value> {
    vectors::load(file).map_or_else(Vec::new, |file| file["cases"].as_array().unwrap().clone())
}

fn vkeys(case: &Value) -> Vec<Vkey> {
    let parse = |vkey: &Value| Vkey::parse(vkey.as_str().unwrap()).unwrap();
    case["vkeys"].as_array().unwrap().iter().map(parse).collect()
}

/// Key types whose signatures we pass over: ECDSA, RFC 6962, ML-DSA-44.
fn is_passed_over(case: &Value) -> bool {
    matches!(case["keyType"].as_u64(), Some(2 | 5 | 6))
}

#[test]
fn vkeys_are_read_and_refused_as_listed() {
    let cases = cases("note/vkeys.json");
    for case in &cases {
        let id = text(case, "id");
        let vkey = text(case, "vkey");
        let read = Vkey::parse(vkey);
        if case["want"] != "ok" {
            assert!(read.is_err(), "{id}");
            continue;
        }
        let read = read.unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(read.to_string(), vkey, "{id}");
        assert_eq!(read.name().as_str(), text(case, "name"), "{id}");
        assert_eq!(read.id().to_string(), text(case, "keyId"), "{id}");
        assert_eq!(u64::from(read.kind().byte()), case["type"], "{id}");
        if let Some(key) = case["publicKeyHex"].as_str() {
            assert_eq!(hex::encode(read.public_key()), key, "{id}");
        }
    }
    assert!(cases.is_empty() || cases.len() >= 33, "{}", cases.len());
}

#[test]
fn every_part_of_a_vkey_and_every_changed_byte_is_refused() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert!(Vkey::parse(vkey).is_ok());
    for start in 0..vkey.len() {
        for end in start..vkey.len() {
            if (start, end) != (0, vkey.len()) {
                assert!(Vkey::parse(&vkey[start..end]).is_err(), "{start}..{end}");
            }
        }
    }
    for place in 0..vkey.len() {
        let mut changed = vkey.as_bytes().to_vec();
        changed[place] += 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(Vkey::parse(&changed).is_err(), "{changed}");
    }
}

/// What became of a note, in the words of the vectors.
fn opened(note: &[u8], keys: &[Vkey]) -> (&'static str, Vec<Vkey>) {
    let Ok(note) = Note::parse(note) else {
        return ("malformed", vec![]);
    };
    match note.open(keys) {
        Ok(opened) => ("ok", opened.keys().into_iter().cloned().collect()),
        Err(OpenError::NoKnownKey) => ("unverified", vec![]),
        Err(OpenError::InvalidSignature { .. }) => ("invalid-signature", vec![]),
    }
}

#[test]
fn notes_are_opened_as_listed() {
    let cases = cases("note/open.json");
    let mut not_understood = Vec::new();
    for case in &cases {
        let id = text(case, "id");
        let note = match case["noteHex"].as_str() {
            Some(note) => hex::decode(note).unwrap(),
            None => text(case, "note").as_bytes().to_vec(),
        };
        let (verdict, keys) = opened(&note, &vkeys(case));
        let want = text(case, "want");
        if is_passed_over(case) && want != "unverified" {
            // An unknown signature is ignored, so the note has no known signer.
            assert_eq!(verdict, "unverified", "{id}");
            not_understood.push(id);
            continue;
        }
        if want == "unverified-or-malformed" {
            assert!(["unverified", "malformed"].contains(&verdict), "{id}");
            continue;
        }
        assert_eq!(verdict, want, "{id}");
        if want == "ok" {
            let parsed = Note::parse(&note).unwrap();
            assert_eq!(parsed.to_bytes(), note, "{id}");
            assert_eq!(parsed.text(), text(case, "text"), "{id}");
            let listed: Vec<(String, String)> = case["verified"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| (text(key, "name").to_owned(), text(key, "keyId").to_owned()))
                .collect();
            let found: Vec<(String, String)> =
                keys.iter().map(|key| (key.name().to_string(), key.id().to_string())).collect();
            assert_eq!(found, listed, "{id}");
        }
    }
    assert!(cases.is_empty() || cases.len() >= 22, "{}", cases.len());
    if !cases.is_empty() {
        assert_eq!(
            not_understood,
            ["formats/ecdsa-sigstore", "formats/ecdsa-pixel", "formats/rfc6962-rome", "formats/rfc6962-rome-borked"]
        );
    }
}

#[test]
fn signatures_count_by_key() {
    let cases = cases("note/checkpoint_sigcount.json");
    for case in &cases {
        let id = text(case, "id");
        let log = Vkey::parse(text(case, "logVkey")).unwrap();
        let mut keys = vec![log.clone()];
        for vkey in case["otherVkeys"].as_array().unwrap() {
            keys.push(Vkey::parse(vkey.as_str().unwrap()).unwrap());
        }
        let note = Note::parse(text(case, "note").as_bytes()).unwrap();
        let opened = note.open(&keys).unwrap();
        let count = opened.keys().len() as u64;
        assert_eq!(count, case["wantVerifiedSigs"], "{id}");
        // The texts have roots of 6 bytes, so only their first lines are looked at.
        let by_the_log = opened.is_by(&log);
        let of_the_log = opened.text.lines().next() == case["expectedOrigin"].as_str();
        assert_eq!(!(by_the_log && of_the_log), case["wantErr"], "{id}");
    }
    assert!(cases.is_empty() || cases.len() >= 8, "{}", cases.len());
}

#[test]
fn notes_are_signed_as_listed() {
    let cases = cases("note/sign.json");
    for case in &cases {
        let id = text(case, "id");
        let signer = Signer::parse(text(case, "skey")).unwrap();
        assert_eq!(signer.vkey().kind(), Kind::Ed25519);
        let signed = text(case, "text");
        let note = match case["existing"].as_str() {
            None => Note::sign(signed, &signer),
            Some(line) => {
                let line = SignatureLine::parse(line.strip_suffix('\n').unwrap()).unwrap();
                Note::new(signed, vec![line]).and_then(|note| note.with_signature(signer.sign(signed)))
            }
        };
        match case["note"].as_str() {
            Some(expected) => assert_eq!(note.unwrap().to_text(), expected, "{id}"),
            None => assert!(note.is_err(), "{id}"),
        }
    }
    assert!(cases.is_empty() || cases.len() >= 4, "{}", cases.len());
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    hex::decode(hex).unwrap().try_into().ok()
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    let Some(file) = vectors::load("wycheproof/ed25519_test.json") else {
        return;
    };
    let mut count = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let key = bytes(text(&group["publicKey"], "pk")).unwrap();
        for case in group["tests"].as_array().unwrap() {
            let message = hex::decode(text(case, "msg")).unwrap();
            // A signature of another length is refused by its type.
            let valid = bytes(text(case, "sig")).is_some_and(|signature| verify_ed25519(&key, &message, &signature));
            assert_eq!(valid, case["result"] == "valid", "{}", case["tcId"]);
            count += 1;
        }
    }
    assert!(count >= 100, "{count}");
}

// Our rule is verify_strict: what is not stated for it is decided by the cofactorless equation.
#[test]
fn ed25519_edge_cases_follow_the_strict_rule() {
    let cases = cases("ed25519/cctv_edge_cases.json");
    let mut accepted = 0;
    for case in &cases {
        let key = bytes(text(case, "key")).unwrap();
        let signature = bytes(text(case, "sig")).unwrap();
        let valid = verify_ed25519(&key, text(case, "msg").as_bytes(), &signature);
        let refused = case["dalekVerifyStrict"] == false;
        assert_eq!(valid, !refused && case["ref10"] == true, "{}", case["number"]);
        accepted += usize::from(valid);
    }
    assert!(cases.is_empty() || (cases.len() >= 340 && accepted >= 10));
}

#[test]
fn base64_is_read_as_listed() {
    let cases = cases("base64/base64.json");
    for case in &cases {
        let encoded = text(case, "encoded");
        let expected = (case["strict"] == "accept").then(|| hex::decode(text(case, "decodedHex")).unwrap());
        assert_eq!(tlog::text::from_base64(encoded), expected, "{}", case["id"]);
    }
    assert!(cases.is_empty() || cases.len() >= 79, "{}", cases.len());
}

#[test]
fn key_ids_print_as_they_are_read() {
    for id in ["00000000", "033de0ae", "ffffffff"] {
        assert_eq!(KeyId::from_hex(id).unwrap().to_string(), id);
    }
}

mod properties {
    use proptest::prelude::*;
    use tlog::checkpoint::{Checkpoint, Origin};
    use tlog::hash::Hash;
    use tlog::key::{KeyName, Signer, Vkey};
    use tlog::note::Note;
    use tlog::tree::{TreeHead, TreeSize};

    fn name() -> impl Strategy<Value = KeyName> {
        "[^\\s+\\p{Cc}]{1,40}".prop_map(|name| KeyName::new(&name).unwrap())
    }

    proptest! {
        #[test]
        fn what_a_note_writes_it_reads(
            text in "([^\\p{Cc}]|\n){0,80}",
            signers in prop::collection::vec((name(), any::<[u8; 32]>()), 1..5),
        ) {
            let text = text + "\n";
            let signers: Vec<Signer> =
                signers.into_iter().map(|(name, seed)| Signer::note(name, &seed)).collect();
            let lines = signers.iter().map(|signer| signer.sign(&text)).collect();
            let note = Note::new(&text, lines).unwrap();
            prop_assert_eq!(Note::parse(&note.to_bytes()), Ok(note.clone()));
            let keys: Vec<Vkey> = signers.iter().map(|signer| signer.vkey().clone()).collect();
            prop_assert!(note.open(&keys).is_ok());
        }

        #[test]
        fn what_is_read_as_a_note_is_written_back(bytes in "(—|a| |\n|AAAAAAA=|é){0,30}") {
            if let Ok(note) = Note::parse(bytes.as_bytes()) {
                prop_assert_eq!(note.to_text(), bytes);
            }
        }

        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Note::parse(&bytes);
            let _ = Vkey::parse(&String::from_utf8_lossy(&bytes));
            let _ = tlog::policy::Policy::parse(&bytes);
            let _ = tlog::witness::AddCheckpoint::parse(&bytes);
            let _ = tlog::proof_file::ProofFile::parse(&bytes);
        }

        #[test]
        fn one_flipped_bit_never_verifies(place in any::<prop::sample::Index>(), bit in 0..8u8) {
            let signer = Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32]);
            let origin = Origin::new("example.com/log").unwrap();
            let head = TreeHead { size: TreeSize::new(5).unwrap(), root: Hash([9; 32]) };
            let note = Note::sign(&Checkpoint::new(origin, head).to_text(), &signer).unwrap();
            let mut bytes = note.to_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let keys = [signer.vkey().clone()];
            prop_assert!(!Note::parse(&bytes).is_ok_and(|note| note.open(&keys).is_ok()));
        }

        #[test]
        fn a_checkpoint_is_read_as_it_is_written(
            origin in "[^\\p{Cc}]{1,60}",
            size in 0..=i64::MAX as u64,
            root in any::<[u8; 32]>(),
            extensions in prop::collection::vec("[^\\p{Cc}]{1,20}", 0..3),
        ) {
            let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash(root) };
            let origin = Origin::new(&origin).unwrap();
            let checkpoint = Checkpoint { origin, head, extensions };
            prop_assert_eq!(Checkpoint::parse_text(&checkpoint.to_text()), Ok(checkpoint));
        }
    }
}
