//! Evidence made by the published implementation and by an independent script.

use scal3::batch::Broken;
use scal3::h2f;
use scal3::point::{Point, Scalar};
use scal3::schnorr::{self, Challenge};
use scal3::transcript::{self, Failed, Transcript};
use serde_json::Value;

mod support;
use support::{bytes, cases, json, string};

const BINDING: Failed = Failed::Broken(Broken::Binding);
const DEVICE: Failed = Failed::Broken(Broken::Device);
const JOINT: Failed = Failed::Broken(Broken::Joint(schnorr::JointError::Mismatch));

/// Our verdict in the words of the `strict` column.
fn verdict(case: &Value) -> String {
    let [verifier, device, digest, authenticator, proof, client] =
        ["verifier", "device", "hash", "authenticator", "proof", "client"].map(|name| bytes(case, name));
    let answer = transcript::verify(&Transcript {
        verifier: &verifier,
        device: &device,
        digest: &digest,
        authenticator: &authenticator,
        proof: &proof,
        client: &client,
    });
    answer.map_or_else(|failed| format!("rejected: {failed}"), |()| "verified".into())
}

#[test]
fn r3_12_transcripts_get_the_strict_verdict() {
    let Some(file) = json("scal3/transcripts.json") else {
        return;
    };
    let valid = cases(&file, "valid");
    assert!(valid.len() >= 14);
    for case in valid {
        assert_eq!(verdict(case), "verified", "{}", case["id"]);
    }
    let altered = cases(&file, "altered");
    assert!(altered.len() >= 43);
    for case in altered {
        assert_eq!(verdict(case), string(case, "strict"), "{} {}", case["id"], case["note"]);
    }
}

#[test]
fn unused_bytes_of_the_verifier_are_not_read() {
    let Some(file) = json("scal3/transcripts.json") else {
        return;
    };
    let case = &cases(&file, "valid")[0];
    for at in 98..250 {
        let mut altered = case.clone();
        let mut verifier = bytes(case, "verifier");
        verifier[at] ^= 1;
        altered["verifier"] = hex::encode(verifier).into();
        assert_eq!(verdict(&altered), "verified", "byte {at}");
    }
    let mut long = case.clone();
    long["verifier"] = (string(case, "verifier").to_owned() + "00").into();
    assert_eq!(verdict(&long), "rejected: length");
}

#[test]
fn r3_09_textbook_records_verify_and_no_bit_of_them_may_change() {
    let Some(file) = json("scal3/ecsdsa-records.json") else {
        return;
    };
    let samples = cases(&file, "samples");
    assert!(samples.len() >= 2);
    for sample in samples {
        let [joint, device, record] = ["joint_vk", "device_vk", "record"].map(|name| bytes(sample, name));
        let parts = ["binding_vk", "log_metadata", "instruction", "user_sig", "checksum"];
        let parts = parts.iter().chain(&["device_sig", "binding_sig"]);
        let joined: Vec<u8> = parts.flat_map(|name| bytes(sample, name)).collect();
        assert_eq!(joined, record);
        assert_eq!(transcript::verify_textbook(&joint, &device, &record), Ok(()));

        let c_at = record.len() - 224;
        for at in 0..record.len() {
            let mut altered = record.clone();
            altered[at] ^= 1;
            let failed = transcript::verify_textbook(&joint, &device, &altered).unwrap_err();
            match at {
                0..33 => assert!(failed == BINDING || matches!(failed, Failed::Parse(_)), "{at}"),
                _ if at < c_at => assert_eq!(failed, JOINT, "{at}"),
                _ if at < c_at + 32 => assert_eq!(failed, DEVICE, "{at}"),
                _ if at < c_at + 64 => assert_eq!(failed, JOINT, "{at}"),
                _ if at < c_at + 96 => assert_eq!(failed, DEVICE, "{at}"),
                _ => assert_eq!(failed, BINDING, "{at}"),
            }
        }
        assert!(transcript::verify_textbook(&joint, &device, &record[1..]).is_err());
        assert!(transcript::verify_textbook(&device, &device, &record).is_err());
    }
}

#[test]
fn the_worked_example_comes_out_value_by_value() {
    let Some(text) = support::text("scal3/worked-example.txt") else {
        return;
    };
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
        hex::decode(line.unwrap_or_else(|| panic!("no {name}")).trim()).unwrap()
    };
    let array = |name: &str| -> [u8; 32] { value(name).try_into().unwrap() };

    let joint_key = Point::parse(&value("PK")).unwrap();
    let c = array("c");
    let z = Scalar::from_bytes(&array("z")).unwrap();
    let commitment = schnorr::commitment(&joint_key, &c, &z).unwrap();
    assert_eq!(commitment.as_bytes()[..], value("R = zG - cPK"));

    let message = value("M");
    let mut uniform = [0; 48];
    h2f::expand_message_xmd(&[&value("H2 input")], b"FROST-P256-SHA256-v1chal", &mut uniform).unwrap();
    assert_eq!(uniform[..], value("H2 xmd output (48)"));
    assert_eq!(Challenge::Rfc9591.compute(&commitment, &joint_key, &[&message]), c);
    assert_eq!(h2f::frost_h4(&message), array("H4(M)"));

    let nonces = h2f::hash_to_scalars::<2>(&[&value("provider randomness")], b"FROST-P256-SHA256-v1nonce");
    assert_eq!(nonces.map(Scalar::to_bytes), [array("d1"), array("e1")]);
    let mask = h2f::hash_to_scalar(&[&value("mask")], b"SCAL3-Thresholds-v1mask");
    assert_eq!(mask.to_bytes(), array("mask scalar m"));

    let list: Vec<u8> = [1_u8, 2]
        .iter()
        .zip(["challenge D1||E1", "D2||E2"])
        .flat_map(|(id, name)| [vec![0; 31], vec![*id], value(name)].concat())
        .collect();
    assert_eq!(h2f::frost_h5(&list), array("H5(com)"));
    for (id, name) in [(1, "rho1"), (2, "rho2")] {
        let mut identifier = [0; 32];
        identifier[31] = id;
        let [h4, h5] = ["H4(M)", "H5(com)"].map(array);
        let rho = h2f::frost_h1(&[joint_key.as_bytes(), &h4, &h5, &identifier]);
        assert_eq!(rho.to_bytes(), array(name));
    }
}
