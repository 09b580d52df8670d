//! CBOR and COSE against published vectors.

use scal3::cbor::{self, CborError, check_deterministic};
use scal3::cose::{self, Key};
use scal3::point::Point;
use serde_json::Value;

mod support;
use support::{bytes, cases, json, string};

/// What [`cbor::decode`] refuses on purpose: deterministic, and of a type that no format of ours has.
fn is_foreign(error: &CborError) -> bool {
    matches!(error, CborError::Float | CborError::Tag | CborError::Simple)
}

#[test]
fn deterministic_encodings_are_told_from_others() {
    let Some(file) = json("cbor/deterministic.json") else {
        return;
    };
    let (mut taken, mut foreign, mut refused) = (0, 0, 0);
    for case in cases(&file, "cases") {
        if case["kind"] == "key-order" {
            key_order(case);
            continue;
        }
        let item = bytes(case, "hex");
        let deterministic = case["deterministic"].as_bool().unwrap();
        assert_eq!(check_deterministic(&item).is_ok(), deterministic, "{case}");
        match cbor::decode(&item, 1024) {
            Ok(value) => {
                assert!(deterministic, "{case}");
                assert_eq!(cbor::encode(&value), item);
                taken += 1;
            }
            Err(error) if is_foreign(&error) => foreign += 1,
            Err(_) => {
                assert!(!deterministic, "{case}");
                refused += 1;
            }
        }
    }
    assert!(taken >= 9 && foreign >= 20 && refused >= 4, "{taken} {foreign} {refused}");
}

/// A map with these keys in this order is deterministic when the order is bytewise, and not when
/// it is the older length-first one.
fn key_order(case: &Value) {
    let keys = case["sortedKeysHex"].as_array().unwrap();
    let mut map = vec![0xa0 | keys.len() as u8];
    for key in keys {
        map.extend(hex::decode(key.as_str().unwrap()).unwrap());
        map.push(0);
    }
    let expected = match string(case, "id") {
        "rfc8949-4.2.1-bytewise" => Ok(()),
        "rfc8949-4.2.3-length-first" => Err(CborError::KeyOrder),
        other => panic!("{other}"),
    };
    assert_eq!(check_deterministic(&map), expected);
    assert_eq!(cbor::decode(&map, 1024).map(|_| ()), expected);
}

#[test]
fn the_examples_of_rfc_8949_are_taken_in_their_shortest_form_only() {
    let Some(file) = json("cbor/rfc8949_appendix_a.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    for case in cases {
        // A later erratum took simple(24) out of what is well-formed; the table still has it.
        let withdrawn = case.get("rfc8949").is_some();
        let expected = case["roundtrip"].as_bool().unwrap() && !withdrawn;
        let item = bytes(case, "hex");
        assert_eq!(check_deterministic(&item).is_ok(), expected, "{case}");
        match cbor::decode(&item, 1024) {
            Ok(value) => assert!(expected && cbor::encode(&value) == item, "{case}"),
            Err(error) => assert!(!expected || is_foreign(&error), "{case}"),
        }
    }
    assert!(cases.len() >= 50);
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let Some(file) = json("cbor/rfc8949_not_well_formed.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    for case in cases {
        let item = bytes(case, "hex");
        assert!(check_deterministic(&item).is_err(), "{case}");
        assert!(cbor::decode(&item, 1024).is_err(), "{case}");
    }
    assert!(cases.len() >= 60);
}

#[test]
fn declared_lengths_and_depths_cost_nothing() {
    let huge = [&[0x9b][..], &[0x7f; 8]].concat();
    assert_eq!(cbor::decode(&huge, 1024), Err(CborError::Truncated));
    assert_eq!(check_deterministic(&huge), Err(CborError::Truncated));
    let deep = [&[0x81; 1_000_000][..], &[0]].concat();
    assert_eq!(cbor::decode(&deep, 2_000_000), Err(CborError::Depth));
    assert_eq!(check_deterministic(&deep), Err(CborError::Depth));
    let allowed = [&[0x81; 8][..], &[0]].concat();
    assert!(cbor::decode(&allowed, 9).is_ok());
    assert_eq!(cbor::decode(&allowed, 8), Err(CborError::TooLong { len: 9, max: 8 }));
    let one_more = [&[0x81; 9][..], &[0]].concat();
    assert_eq!(cbor::decode(&one_more, 10), Err(CborError::Depth));
}

#[test]
fn floats_have_one_spelling() {
    // Every f16, widened, shortens again; a bit that f16 does not have stops it.
    for half in 0..=u16::MAX {
        assert_eq!(check_deterministic(&[&[0xf9], &half.to_be_bytes()[..]].concat()), Ok(()));
        let single = widen(half);
        let item = [&[0xfa], &single.to_be_bytes()[..]].concat();
        assert_eq!(check_deterministic(&item), Err(CborError::FloatNotShortest), "{half:04x}");
        let odd = [&[0xfa], &(single | 1).to_be_bytes()[..]].concat();
        assert_eq!(check_deterministic(&odd), Ok(()), "{half:04x}");
    }
    // The same one step up, with the processor's own conversion as the other opinion.
    for step in 0..200_000_u32 {
        let single = f32::from_bits(step.wrapping_mul(0x9e37_79b9));
        let double = if single.is_nan() { f64::INFINITY } else { f64::from(single) };
        let item = [&[0xfb], &double.to_be_bytes()[..]].concat();
        assert_eq!(check_deterministic(&item), Err(CborError::FloatNotShortest), "{double}");
        let near = f64::from_bits(double.to_bits() ^ 1);
        let item = [&[0xfb], &near.to_be_bytes()[..]].concat();
        assert_eq!(check_deterministic(&item), Ok(()), "{near}");
    }
}

/// The bits of the f32 with the value of this f16.
fn widen(half: u16) -> u32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(half >> 10) & 31, u32::from(half) & 1023);
    match exponent {
        31 => sign | 0x7f80_0000 | fraction << 13,
        0 => sign | (fraction as f32 / 16_777_216.0).to_bits(),
        _ => sign | (exponent + 112) << 23 | fraction << 13,
    }
}

fn key(case: &Value) -> Key {
    let key = &case["key"];
    match string(key, "kty") {
        "EC" => {
            let sec1 = [vec![4], bytes(key, "xHex"), bytes(key, "yHex")].concat();
            Key::Es256(Point::from_sec1_any(&sec1).expect("a point"))
        }
        _ => Key::EdDsa(bytes(key, "xHex").try_into().expect("32 bytes")),
    }
}

#[test]
fn cose_sign1_messages_are_judged_as_published() {
    let Some(file) = json("cose/sign1.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    for case in cases {
        let message = bytes(case, "cborHex");
        let result = cose::verify_sign1(&message, &bytes(case, "externalAadHex"), &key(case));
        match string(case, "want") {
            "ok" => assert_eq!(result, Ok(bytes(case, "payloadHex")), "{case}"),
            _ => assert!(result.is_err(), "{case}"),
        }
    }
    assert!(cases.len() >= 10);
}

#[test]
fn a_cose_key_is_used_with_its_own_algorithm_only() {
    let Some(file) = json("cose/sign1.json") else {
        return;
    };
    let good: Vec<&Value> = cases(&file, "cases").iter().filter(|case| case["want"] == "ok").collect();
    let ecdsa = good.iter().find(|case| case["alg"] == "ES256").unwrap();
    let eddsa = good.iter().find(|case| case["alg"] == "EdDSA").unwrap();
    let message = bytes(ecdsa, "cborHex");
    let aad = bytes(ecdsa, "externalAadHex");
    assert_eq!(cose::verify_sign1(&message, &aad, &key(eddsa)), Err(cose::CoseError::Algorithm));
    assert_eq!(cose::verify_sign1(&message, b"another", &key(ecdsa)), Err(cose::CoseError::Signature));
    assert_eq!(cose::verify_sign1(&message[1..], &aad, &key(ecdsa)), Err(cose::CoseError::Form));
}

/// A countersignature may carry a header with a countersignature. Four kilobytes of that would take a
/// decoder that follows them hundreds of calls deep.
#[test]
fn cose_countersignatures_are_refused_before_they_nest() {
    let mut header = vec![0xa0];
    while header.len() < 4000 {
        let inner = cbor::bytes(&header);
        let signature = cbor::Value::Array(vec![inner, cbor::Value::Map(Vec::new()), cbor::bytes(&[0])]);
        header = cbor::encode(&cbor::Value::Map(vec![(cbor::uint(7), signature)]));
    }
    let mut message = vec![0xd2];
    message.extend(cbor::encode(&cbor::Value::Array(vec![
        cbor::bytes(&header),
        cbor::Value::Map(Vec::new()),
        cbor::bytes(b"payload"),
        cbor::bytes(&[0; 64]),
    ])));
    let refused = cose::verify_sign1(&message, &[], &Key::EdDsa([0; 32]));
    assert_eq!(refused, Err(cose::CoseError::Countersignature));
}
