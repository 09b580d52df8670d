//! Checkpoints and cosignatures against vectors made by others, most of them by real logs.

mod vectors;

use serde_json::Value;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{self, Cosigner, Seconds};
use tlog::hash::Hash;
use tlog::key::{Kind, Vkey};
use tlog::note::{Note, OpenError, SignatureLine};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn cases(file: &str) -> Vec<Value> {
    vectors::load(file).map_or_else(Vec::new, |file| file["cases"].as_array().unwrap().clone())
}

#[test]
fn note_texts_are_read_and_refused_as_specified() {
    let cases = cases("checkpoint/body_parse.json");
    for case in &cases {
        let id = text(case, "id");
        let body = match case["bodyHex"].as_str() {
            Some(body) => String::from_utf8(hex::decode(body).unwrap()).unwrap(),
            None => text(case, "body").to_owned(),
        };
        let read = Checkpoint::parse_text(&body);
        match text(case, "c2sp") {
            "accept" => {
                let read = read.unwrap_or_else(|e| panic!("{id}: {e}"));
                assert_eq!(read.to_text(), body, "{id}");
                if let Some(size) = case["size"].as_u64() {
                    assert_eq!(read.head.size.get(), size, "{id}");
                }
                if let Some(origin) = case["origin"].as_str() {
                    assert_eq!(read.origin.as_str(), origin, "{id}");
                }
            }
            // Left open by the specification: origins above 255 bytes. We refuse them.
            "reject" | "unspecified" => assert!(read.is_err(), "{id}"),
            other => panic!("{id}: {other}"),
        }
    }
    assert!(cases.is_empty() || cases.len() >= 32, "{}", cases.len());
}

#[test]
fn origins_hash_as_listed() {
    let cases = cases("checkpoint/origin_hash.json");
    for case in &cases {
        let origin = text(case, "origin");
        let hashed = match text(case, "rule") {
            "sha256(origin)" => origin.to_owned(),
            // The log ID of an older witness protocol.
            "sha256(\"o:\"||origin)" => format!("o:{origin}"),
            other => panic!("{other}"),
        };
        let hash = Origin::new(&hashed).unwrap().hash();
        assert_eq!(hash.to_hex(), text(case, "sha256Hex"), "{}", case["id"]);
    }
    assert!(cases.is_empty() || cases.len() >= 4, "{}", cases.len());
}

#[test]
fn signed_checkpoints_are_verified_as_listed() {
    let cases = cases("checkpoint/signed.json");
    let mut not_understood = 0;
    for case in &cases {
        let id = text(case, "id");
        let want = text(case, "want");
        let bytes = text(case, "note");
        let note = Note::parse(bytes.as_bytes());
        let checkpoint =
            note.as_ref().map_err(|_| ()).and_then(|note| Checkpoint::parse_text(note.text()).map_err(|_| ()));
        let (Ok(note), Ok(checkpoint)) = (note, checkpoint) else {
            assert_eq!(want, "malformed", "{id}");
            continue;
        };
        assert_ne!(want, "malformed", "{id}");
        assert_eq!(note.to_text(), bytes, "{id}");
        assert_eq!(checkpoint.to_text(), note.text(), "{id}");
        assert_eq!(checkpoint.origin.as_str(), text(case, "origin"), "{id}");
        assert_eq!(checkpoint.head.size.get(), case["size"], "{id}");
        let root = Hash::from_base64(text(case, "rootBase64")).unwrap();
        assert_eq!(checkpoint.head.root, root, "{id}");

        let keys: Vec<Vkey> =
            case["vkeys"].as_array().unwrap().iter().map(|vkey| Vkey::parse(vkey.as_str().unwrap()).unwrap()).collect();
        let opened = note.open(&keys);
        if matches!(case["keyType"].as_u64(), Some(2 | 5)) {
            // ECDSA and RFC 6962 signatures are ignored: no known key is left.
            assert_eq!(opened, Err(OpenError::NoKnownKey), "{id}");
            not_understood += usize::from(want != "unknown-key");
            continue;
        }
        match want {
            "ok" => {
                let opened = opened.unwrap_or_else(|e| panic!("{id}: {e}"));
                let lines: Vec<Value> = opened.verified.iter().map(|v| v.place.into()).collect();
                assert_eq!(Value::from(lines), case["verifiedLines"], "{id}");
                if let Some(time) = case["cosignatureTimestamp"].as_u64() {
                    let times: Vec<Seconds> = opened.verified.iter().filter_map(|v| v.time).collect();
                    assert!(times.contains(&Seconds::new(time).unwrap()), "{id}");
                }
            }
            "invalid-signature" => {
                let invalid = matches!(opened, Err(OpenError::InvalidSignature { .. }));
                assert!(invalid, "{id}: {opened:?}");
            }
            "unknown-key" => assert_eq!(opened, Err(OpenError::NoKnownKey), "{id}"),
            other => panic!("{id}: {other}"),
        }
    }
    if !cases.is_empty() {
        assert!(cases.len() >= 57, "{}", cases.len());
        assert_eq!(not_understood, 15, "ECDSA 13, RFC 6962 2");
    }
}

#[test]
fn cosignatures_are_made_and_verified_as_listed() {
    let cases = cases("witness/cosignature.json");
    let mut ml_dsa = 0;
    for case in &cases {
        let id = text(case, "id");
        let time = case["timestamp"].as_u64().map(|time| Seconds::new(time).unwrap());
        let line = case["line"].as_str().map(|line| {
            let read = SignatureLine::parse(line.strip_suffix('\n').unwrap()).unwrap();
            assert_eq!(format!("{read}\n"), line, "{id}");
            read
        });
        match text(case, "kind") {
            "message" => {
                let message = cosignature::message(text(case, "checkpointText"), time.unwrap());
                assert_eq!(message, text(case, "message"), "{id}");
            }
            "parse-line" => {
                let line = line.unwrap();
                assert_eq!(line.name().as_str(), text(case, "name"), "{id}");
                assert_eq!(line.key_id().to_string(), text(case, "keyId"), "{id}");
                let (read, signature) = cosignature::split(line.signature()).unwrap();
                assert_eq!(Some(read), time, "{id}");
                assert_eq!(hex::encode(signature), text(case, "signatureHex"), "{id}");
            }
            "timestamp" => {
                let bytes = tlog::text::from_base64(text(case, "signatureBase64"));
                let read = bytes.and_then(|bytes| cosignature::split(bytes.get(4..).unwrap()).map(|(time, _)| time));
                assert_eq!(read, time, "{id}");
            }
            "verify" => {
                let key = [Vkey::parse(text(case, "vkey")).unwrap()];
                let note = Note::new(text(case, "checkpointText"), vec![line.unwrap()]).unwrap();
                let opened = note.open(&key);
                // Zero is no moment: an ML-DSA-44 signature at zero makes no statement about time.
                let says = time.filter(|time| time.get() != 0 || key[0].kind() != Kind::MlDsa44);
                if case["needs"] == "ML-DSA-44" {
                    let bytes = cosignature::signed_bytes(&key[0], text(case, "checkpointText"), time.unwrap());
                    assert_eq!(hex::encode(bytes.unwrap()), text(case, "messageHex"), "{id}");
                    ml_dsa += 1;
                }
                match text(case, "want") {
                    "ok" => assert_eq!(opened.unwrap().verified[0].time, says, "{id}"),
                    "unknown-key" => assert_eq!(opened, Err(OpenError::NoKnownKey), "{id}"),
                    "invalid-signature" => {
                        let expected = OpenError::InvalidSignature { line: 0 };
                        assert_eq!(opened, Err(expected), "{id}");
                    }
                    other => panic!("{id}: {other}"),
                }
            }
            "sign" => {
                let seed: [u8; 32] = hex::decode(text(case, "seedHex")).unwrap().try_into().unwrap();
                let cosigner = Cosigner::new(text(case, "name").parse().unwrap(), &seed);
                assert_eq!(cosigner.vkey().to_string(), text(case, "vkey"), "{id}");
                let signed = cosigner.cosign(text(case, "checkpointText"), time.unwrap());
                assert_eq!(Some(signed), line, "{id}");
            }
            other => panic!("{id}: {other}"),
        }
    }
    if !cases.is_empty() {
        assert!(cases.len() >= 11, "{}", cases.len());
        assert_eq!(ml_dsa, 1);
    }
}

// Sigsum's proofs carry the same signatures over the same text in another wrapping.
#[test]
fn a_sigsum_tree_head_signature_is_a_checkpoint_signature() {
    let cases = cases("sigsum/proofs.json");
    for case in &cases {
        let field = |name: &str| {
            text(case, "proof").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap()
        };
        let key: [u8; 32] = hex::decode(text(case, "logKeyHex")).unwrap().try_into().unwrap();
        let signature: [u8; 64] = hex::decode(field("signature")).unwrap().try_into().unwrap();
        let checkpoint = Checkpoint::parse_text(text(case, "checkpointText")).unwrap();
        assert_eq!(checkpoint.head.size.to_string(), field("size"));
        assert_eq!(checkpoint.head.root.to_hex(), field("root_hash"));
        let signed = checkpoint.to_text();
        assert!(tlog::key::verify_ed25519(&key, signed.as_bytes(), &signature));
    }
    assert!(cases.is_empty() || !cases[0].is_null());
}
