//! Public vectors through every engine: Wycheproof, and SCAL3 records and transcripts made by others.
//!
//! A job has three signatures, a vector has one. Each vector is put in the place of the device signature and in that of the
//! binding signature of a job that holds otherwise, so that the verdict is about it alone.

use scal3::batch::{Broken, Job};
use scal3::ecdsa::Signature;
use scal3::point::{Point, Scalar};
use scal3::schnorr::{Challenge, JointError};
use serde_json::Value;

mod support;
use support::maker::{Maker, public, wrapped};
use support::{agree, bytes, vectors};

/// The signatures of one Wycheproof file that are well-formed: key, message, signature, and whether it is valid.
fn wycheproof(name: &str, read: fn(&[u8]) -> Option<Signature>) -> Vec<(Point, Vec<u8>, Signature, bool)> {
    let Some(file) = vectors(name) else {
        return Vec::new();
    };
    let mut cases = Vec::new();
    for group in file["testGroups"].as_array().expect("groups") {
        let key = Point::from_sec1_any(&bytes(&group["publicKey"], "uncompressed")).expect("a key");
        for test in group["tests"].as_array().expect("tests") {
            let valid = test["result"] == "valid";
            match read(&bytes(test, "sig")) {
                Some(signature) => cases.push((key, bytes(test, "msg"), signature, valid)),
                None => assert!(!valid, "{test}"),
            }
        }
    }
    cases
}

#[test]
fn wycheproof_signatures_get_their_verdicts() {
    let mut cases = wycheproof("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", |sig| Signature::parse(sig).ok());
    cases.extend(wycheproof("wycheproof/ecdsa_secp256r1_sha256_test.json", |sig| Signature::from_der(sig).ok()));
    if cases.is_empty() {
        return;
    }
    assert!(cases.len() > 250, "{}", cases.len());
    let mut maker = Maker::new(11);
    let mut jobs = Vec::new();
    for (key, message, signature, _) in &cases {
        let mut job = maker.job();
        (job.device_key, job.device_message, job.device_sig) = (*key, message.clone(), *signature);
        let binding = maker.pair();
        job.binding_key = binding.public();
        job.binding_sig = maker.ecdsa(&binding, signature.as_bytes());
        jobs.push(job);
    }
    for (verdict, (_, _, signature, valid)) in agree(&jobs).into_iter().zip(&cases) {
        assert_eq!(verdict, if *valid { Ok(()) } else { Err(Broken::Device) }, "{signature:?}");
    }
}

#[test]
fn published_records_hold() {
    let Some(file) = vectors("scal3/ecsdsa-records.json") else {
        return;
    };
    let jobs: Vec<Job> = file["samples"].as_array().expect("samples").iter().map(textbook).collect();
    assert!(jobs.len() >= 2);
    let mut all = jobs.clone();
    for job in &jobs {
        for at in 0..32 {
            all.push(Job { c: flip(&job.c, at), ..job.clone() });
        }
    }
    let verdicts = agree(&all);
    let (good, altered) = verdicts.split_at(jobs.len());
    assert!(good.iter().all(Result::is_ok));
    assert!(altered.iter().all(|verdict| *verdict == Err(Broken::Joint(JointError::Mismatch))));
}

fn flip(bytes: &[u8; 32], at: usize) -> [u8; 32] {
    let mut flipped = *bytes;
    flipped[at] ^= 1;
    flipped
}

/// A record of profile 1 as a job; see `scal3::transcript::verify_textbook`.
fn textbook(sample: &Value) -> Job {
    let point = |name| Point::parse(&bytes(sample, name)).expect(name);
    let signature = |name| Signature::parse(&bytes(sample, name)).expect(name);
    let user_sig = bytes(sample, "user_sig");
    let (c, z) = user_sig.split_at(32);
    let message = ["binding_vk", "log_metadata", "instruction"].map(|name| bytes(sample, name)).concat();
    Job {
        binding_key: point("binding_vk"),
        device_key: point("device_vk"),
        joint_key: point("joint_vk"),
        challenge: Challenge::EcSdsa,
        message,
        c: c.try_into().expect("32 bytes"),
        z: Scalar::from_bytes(z.try_into().expect("32 bytes")).expect("a number"),
        device_message: [c, &bytes(sample, "checksum")].concat(),
        device_sig: signature("device_sig"),
        binding_sig: signature("binding_sig"),
    }
}

#[test]
fn published_transcripts_hold() {
    let Some(file) = vectors("scal3/transcripts.json") else {
        return;
    };
    let jobs: Vec<Job> = file["valid"].as_array().expect("valid").iter().map(transcript).collect();
    assert!(jobs.len() >= 14);
    assert!(agree(&jobs).iter().all(Result::is_ok));
    let crossed: Vec<Job> =
        jobs.iter().zip(&jobs[1..]).map(|(one, other)| Job { joint_key: other.joint_key, ..one.clone() }).collect();
    agree(&crossed);
}

/// A transcript of the published implementation as a job; see `scal3::transcript::verify`.
fn transcript(case: &Value) -> Job {
    let [verifier, device, digest, authenticator, proof, client] =
        ["verifier", "device", "hash", "authenticator", "proof", "client"].map(|name| bytes(case, name));
    let binding_key = Point::parse(&client[..33]).expect("a key");
    Job {
        binding_key,
        device_key: Point::parse(&device).expect("a key"),
        joint_key: Point::parse(&verifier[32..65]).expect("a key"),
        challenge: Challenge::Rfc9591,
        message: [&binding_key.as_bytes()[..], &digest].concat(),
        c: authenticator[..32].try_into().expect("32 bytes"),
        z: Scalar::from_bytes(client[97..].try_into().expect("32 bytes")).expect("a number"),
        device_message: authenticator.clone(),
        device_sig: Signature::parse(&proof).expect("a signature"),
        binding_sig: Signature::parse(&client[33..97]).expect("a signature"),
    }
}

/// The examples of ISO/IEC 14888-3: the commitment is x ‖ y of the variant that has it as r.
#[test]
fn the_iso_examples_hold() {
    let Some(file) = vectors("ecsdsa/ecsdsa_p256.json") else {
        return;
    };
    let mut maker = Maker::new(12);
    let mut jobs = Vec::new();
    for case in file["cases"].as_array().expect("cases") {
        if case["variant"] != "EC-SDSA" {
            continue;
        }
        let signature = bytes(case, "signatureHex");
        let mut job = maker.job();
        job.challenge = Challenge::EcSdsa;
        job.joint_key = Point::from_sec1_any(&bytes(case, "publicKeyHex")).expect("a key");
        job.message = bytes(case, "msgHex");
        job.c = signature[..32].try_into().expect("32 bytes");
        job.z = Scalar::from_bytes(signature[32..].try_into().expect("32 bytes")).expect("a number");
        jobs.push(job);
    }
    assert!(!jobs.is_empty());
    assert!(agree(&jobs).iter().all(Result::is_ok));
}

#[test]
fn r_may_stand_for_r_plus_n() {
    let mut maker = Maker::new(13);
    let mut jobs = Vec::new();
    for at in 0..40 {
        let mut job = maker.job();
        (job.device_key, job.device_sig) = wrapped(&mut maker.random, &job.device_message);
        if at % 4 == 3 {
            job.device_message[5] ^= 1;
        }
        let binding = maker.pair();
        (job.binding_key, job.binding_sig) = (binding.public(), maker.ecdsa(&binding, job.device_sig.as_bytes()));
        jobs.push(job);
    }
    for (at, verdict) in agree(&jobs).into_iter().enumerate() {
        assert_eq!(verdict, if at % 4 == 3 { Err(Broken::Device) } else { Ok(()) }, "{at}");
    }
}

#[test]
fn both_forms_of_s_verify() {
    let mut maker = Maker::new(14);
    let mut jobs = Vec::new();
    for _ in 0..20 {
        let mut job = maker.job();
        job.binding_sig = support::maker::other_s(&job.binding_sig);
        jobs.push(job);
    }
    assert!(agree(&jobs).iter().all(Result::is_ok));
    let generator = public(&p256::AffinePoint::GENERATOR);
    jobs.iter_mut().for_each(|job| job.binding_key = generator);
    assert!(agree(&jobs).iter().all(|verdict| *verdict == Err(Broken::Binding)));
}
