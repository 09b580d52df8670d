//! Our own vectors, `schemas/vectors`: made by another implementation, one fault per case.

use std::path::{Path, PathBuf};

use scal3::entry::{BodyError, EntryError};
use scal3::event::Event;
use scal3::index_key::{LabelSecret, Stream, status_index_key};
use scal3::instruction::InstructionError;
use scal3::key_change::KeyChange;
use scal3::metadata::{challenge, operation_hash, previous};
use scal3::opening::OpeningError;
use scal3::outcome::Outcome;
use scal3::policy::InForce;
use scal3::record::Record;
use scal3::status::StatusChange;
use scal3::transcript::{Failed, verify_textbook};
use scal3::{
    AnyOpening, Credential, Document, Entry, Genesis, Hash, IssuingKey, Kind, Metadata, Profile, authenticator,
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/vectors")
}

fn files() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(folder()).expect("schemas/vectors");
    let mut files: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path())
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("no text {name} in {case}"))
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(case, name)).expect(name)
}

fn fixed<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    bytes(case, name).try_into().expect(name)
}

fn hash(case: &Value, name: &str) -> Hash {
    Hash(fixed(case, name))
}

/// The bytes of a case: `hex`, and `zeros` zero bytes behind it.
fn input(case: &Value) -> Vec<u8> {
    let mut input = bytes(case, "hex");
    let zeros = case.get("zeros").map_or(0, |zeros| zeros.as_u64().unwrap());
    input.resize(input.len() + zeros as usize, 0);
    input
}

/// Judges one case; whatever it promises beside the verdict is asserted on the way.
fn judge(case: &Value) -> Result<(), String> {
    match text(case, "format") {
        "instruction" => {
            let input = input(case);
            let document = Document::parse(&input).map_err(|error: InstructionError| error.code())?;
            assert_eq!(document.to_bytes(), input);
            assert_eq!(document.id(), hash(case, "instruction_id"));
        }
        "metadata" => {
            let input = input(case);
            let metadata = Metadata::parse(&input).map_err(|error| error.code())?;
            assert_eq!(metadata.to_bytes(), input);
            let operation = operation_hash(&input, &hash(case, "instruction_id"));
            assert_eq!(operation, hash(case, "operation_hash"));
        }
        "record" => {
            let input = input(case);
            let (joint, device) = (bytes(case, "joint_key"), bytes(case, "device_key"));
            verify_textbook(&joint, &device, &input).map_err(|failed| match failed {
                Failed::Length => "length".to_owned(),
                Failed::Parse(_) => "parse".to_owned(),
                Failed::Broken(broken) => broken.to_string(),
            })?;
            let record = Record::parse(Profile::EcSdsa, &input).expect("a record");
            assert_eq!(record.to_bytes(), input);
        }
        "previous" => {
            let sequence = case["sequence"].as_u64().unwrap();
            let made = previous(&hash(case, "credential"), sequence, &fixed(case, "c"));
            assert_eq!(made, hash(case, "hash"));
        }
        "challenge" => {
            let made = challenge(
                &fixed(case, "random"),
                &fixed(case, "hiding"),
                &fixed(case, "binding"),
                &hash(case, "credential"),
            );
            assert_eq!(made, hash(case, "hash"));
        }
        "opening" => opening(case, &input(case)).map_err(|error| error.code())?,
        "status" => {
            let input = input(case);
            let status = StatusChange::parse(&input).map_err(|error: BodyError| error.code())?;
            assert_eq!(status.to_bytes(), input);
        }
        "event" => {
            let input = input(case);
            let event = Event::parse(&input).map_err(|error: BodyError| error.code())?;
            assert_eq!(event.to_bytes(), input);
        }
        "outcome" => {
            let input = input(case);
            let outcome = Outcome::parse(&input).map_err(|error: BodyError| error.code())?;
            assert_eq!(outcome.to_bytes(), input);
        }
        "entry" => {
            let input = input(case);
            let entry = Entry::parse(&input).map_err(|error: EntryError| error.code())?;
            assert_eq!(entry.to_bytes(), input);
            assert_eq!(entry.leaf_hash().0, fixed(case, "leaf_hash"));
            assert!(entry.body.is_some() || input.len() < 100);
        }
        "genesis" => {
            let input = input(case);
            let genesis = Genesis::parse(&input).map_err(|error| error.code())?;
            assert_eq!(genesis.to_bytes(), input);
            assert_eq!(genesis.policy_hash(), hash(case, "policy"));
        }
        "key" => {
            let input = input(case);
            let key = KeyChange::parse(&input).map_err(|error| error.code())?;
            assert_eq!(key.to_bytes(), input);
        }
        "credential" => {
            let input = input(case);
            let key = IssuingKey::parse(&bytes(case, "issuing_key")).expect("a good key");
            let credential = Credential::open(&input, &key).map_err(|error| error.code())?;
            assert_eq!(credential.as_bytes(), input);
            assert_eq!(credential.id(), hash(case, "credential_id"));
            assert_eq!(credential.claims().id(), credential.id());
            let signature = input.last_chunk::<64>().unwrap();
            assert_eq!(credential.claims().with_signature(signature), input);
        }
        "authenticator" => {
            let input = input(case);
            let claims = authenticator::Claims::parse(&input).map_err(|error| error.code())?;
            assert_eq!(claims.to_bytes(), input);
            assert_eq!(claims.id(), hash(case, "authenticator_id"));
        }
        "policy" => {
            let input = input(case);
            let in_force = InForce::read(&input);
            assert_eq!(in_force.policy().is_err(), in_force.error().is_some());
            if let Some(error) = in_force.error() {
                return Err(error.code().to_owned());
            }
            assert_eq!(*in_force.hash(), hash(case, "policy"));
        }
        "index-key" => {
            let secret = LabelSecret::from_bytes(fixed(case, "label_secret"));
            let stream = [Stream::Own, Stream::Provider][case["stream"].as_u64().unwrap() as usize];
            let key = secret.stream_key(&hash(case, "enrolment_id"), stream);
            let index_key = key.index_key(text(case, "counter").parse().unwrap());
            assert_eq!(key.expose(), &fixed(case, "stream_key"));
            assert_eq!(key.label(), hash(case, "label"));
            assert_eq!(index_key, hash(case, "index_key"));
            assert!(secret.read_token(&index_key).matches(&bytes(case, "read_token")));
        }
        "status-index-key" => {
            let counter = text(case, "counter").parse().unwrap();
            let made = status_index_key(&hash(case, "credential"), counter);
            assert_eq!(made, hash(case, "index_key"));
        }
        other => panic!("unknown format {other}"),
    }
    Ok(())
}

fn opening(case: &Value, input: &[u8]) -> Result<(), OpeningError> {
    let opening = AnyOpening::parse(input)?;
    let (written, commitment) = match &opening {
        AnyOpening::Instruction(opening) => (opening.to_bytes(), opening.commitment()),
        AnyOpening::Other(opening) => (opening.to_bytes(), opening.commitment()),
    };
    assert_eq!(written, input);
    assert_eq!(commitment, hash(case, "commitment"));
    match opening {
        AnyOpening::Instruction(opening) => {
            if let Some(class) = case.get("class") {
                let id = opening.shown.id(class.as_str().unwrap()).expect("good fields");
                assert_eq!(id, hash(case, "instruction_id"));
            }
        }
        AnyOpening::Other(opening) => {
            let again = match opening.kind {
                Kind::Status => StatusChange::from_body(opening.body).unwrap().to_body(),
                Kind::Erasure => scal3::erasure::Erasure::from_body(opening.body).unwrap().to_body(),
                Kind::Outcome => Outcome::from_body(opening.body).unwrap().to_body(),
                Kind::Event => Event::from_body(opening.body).unwrap().to_body(),
                kind => panic!("no body known for {kind:?}"),
            };
            assert_eq!(scal3::cbor::encode(&again), bytes(case, "body"));
        }
    }
    Ok(())
}

#[test]
fn every_vector_has_its_verdict_and_its_reason() {
    let mut judged = 0;
    let mut wrong = Vec::new();
    for path in files() {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let cases = file["cases"].as_array().expect("cases");
        assert_eq!(file["count"].as_u64(), Some(cases.len() as u64), "{}", path.display());
        for case in cases {
            judged += 1;
            let expected = match text(case, "want") {
                "ok" => Ok(()),
                _ => Err(text(case, "reason").to_owned()),
            };
            let found = judge(case);
            if found != expected {
                let name = path.strip_prefix(folder()).unwrap().display();
                wrong.push(format!("{name} {}: {found:?}, not {expected:?}", text(case, "id")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged >= 900, "{judged}");
}
