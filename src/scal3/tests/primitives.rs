//! Points, ECDSA, the EC-SDSA family and hashing to scalars against published vectors.

use scal3::ecdsa::Signature;
use scal3::h2f;
use scal3::point::{EncodingError, Point, Scalar};
use scal3::schnorr::{Challenge, IsoVariant};

mod support;
use support::{bytes, cases, json, string};

const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

#[test]
fn wycheproof_raw_signatures_are_judged_alike() {
    let Some(file) = json("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json") else {
        return;
    };
    let judged = wycheproof_ecdsa(&file, Signature::parse);
    assert!(judged >= 170, "{judged}");
}

#[test]
fn wycheproof_der_signatures_are_judged_alike() {
    let Some(file) = json("wycheproof/ecdsa_secp256r1_sha256_test.json") else {
        return;
    };
    let judged = wycheproof_ecdsa(&file, Signature::from_der);
    assert!(judged >= 320, "{judged}");
}

fn wycheproof_ecdsa(file: &serde_json::Value, parse: fn(&[u8]) -> Result<Signature, EncodingError>) -> usize {
    let mut judged = 0;
    for group in cases(file, "testGroups") {
        let key = Point::from_sec1_any(&bytes(&group["publicKey"], "uncompressed")).unwrap();
        for case in cases(group, "tests") {
            let message = bytes(case, "msg");
            let holds = parse(&bytes(case, "sig")).is_ok_and(|signature| signature.verify(&key, &message).is_ok());
            assert_eq!(holds, string(case, "result") == "valid", "{case}");
            judged += 1;
        }
    }
    judged
}

#[test]
fn wycheproof_points_are_judged_alike_and_only_compressed_ones_are_ours() {
    let Some(file) = json("wycheproof/ecdh_secp256r1_ecpoint_test.json") else {
        return;
    };
    let mut judged = 0;
    for case in cases(&file, "testGroups").iter().flat_map(|group| cases(group, "tests")) {
        let encoded = bytes(case, "public");
        let point = Point::from_sec1_any(&encoded);
        assert_eq!(point.is_ok(), string(case, "result") != "invalid", "{case}");
        if encoded.len() == 33 {
            assert_eq!(Point::parse(&encoded), point);
        } else {
            assert_eq!(Point::parse(&encoded), Err(EncodingError::Length));
        }
        if let Ok(point) = point {
            assert_eq!(Point::from_bytes(point.as_bytes()), Ok(point));
            let (x, _) = point.coordinates();
            assert_eq!(x, encoded[1..33]);
        }
        judged += 1;
    }
    assert!(judged >= 230, "{judged}");
}

#[test]
fn a_point_has_one_spelling() {
    let base = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    let y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let point = Point::parse(&hex::decode(format!("03{base}")).unwrap()).unwrap();
    assert_eq!(hex::encode(point.coordinates().1), y);
    let whole = |y: &str| Point::with_y(point.as_bytes(), &hex::decode(y).unwrap().try_into().unwrap());
    assert_eq!(whole(y).map(|found| found.coordinates()), Some(point.coordinates()));
    // −y belongs to the other point with this x; a number beyond p, or any other, to none.
    let opposite = "b01cbd1c01e58065711814b583f061e9d431cca994cea1313449bf97c840ae0a";
    for wrong in [opposite, &"ff".repeat(32), &"00".repeat(32)] {
        assert_eq!(whole(wrong), None, "{wrong}");
    }

    for (encoded, error) in [
        (format!("05{base}"), EncodingError::PointTag),
        (format!("04{base}"), EncodingError::PointTag),
        (format!("00{base}"), EncodingError::PointTag),
        ("00".repeat(33), EncodingError::PointTag),
        ("00".into(), EncodingError::Length),
        (String::new(), EncodingError::Length),
        (format!("04{base}{y}"), EncodingError::Length),
        // x = p + 5, where 5 is the x-coordinate of a point: the same point, not reduced.
        ("02ffffffff00000001000000000000000000000001000000000000000000000004".into(), EncodingError::NotOnCurve),
    ] {
        assert_eq!(Point::parse(&hex::decode(&encoded).unwrap()), Err(error), "{encoded}");
    }
    let reduced = format!("02{}5", "0".repeat(63));
    assert!(Point::parse(&hex::decode(reduced).unwrap()).is_ok());

    for (encoded, error) in [
        (format!("05{base}"), EncodingError::PointTag),
        (format!("06{base}{y}"), EncodingError::PointTag),
        (format!("07{base}{y}"), EncodingError::PointTag),
        ("00".into(), EncodingError::PointTag),
        (format!("04{base}"), EncodingError::Length),
        (format!("04{y}{base}"), EncodingError::NotOnCurve),
    ] {
        assert_eq!(Point::from_sec1_any(&hex::decode(&encoded).unwrap()), Err(error), "{encoded}");
    }
}

#[test]
fn an_element_that_frost_must_refuse_is_refused() {
    let Some(file) = json("frost/frost_p256_elements.json") else {
        return;
    };
    assert!(Point::parse(&bytes(&file["elements"], "invalid_element")).is_err());
}

#[test]
fn scalars_are_below_the_order() {
    let order: [u8; 32] = hex::decode(ORDER).unwrap().try_into().unwrap();
    let mut below = order;
    below[31] -= 1;
    assert_eq!(Scalar::from_bytes(&order), Err(EncodingError::ScalarRange));
    assert_eq!(Scalar::from_bytes(&[0xff; 32]), Err(EncodingError::ScalarRange));
    assert_eq!(Scalar::from_bytes(&below).unwrap().to_bytes(), below);
    assert!(Scalar::from_bytes(&[0; 32]).unwrap().is_zero());
    assert!(Scalar::reduce(&order).is_zero());
    assert_eq!(Challenge::Rfc9591.check(&order), Err(EncodingError::ScalarRange));
    assert_eq!(Challenge::EcSdsa.check(&order), Ok(()));
}

#[test]
fn der_has_one_spelling() {
    let der = "3006020101020101";
    assert!(Signature::from_der(&hex::decode(der).unwrap()).is_ok());
    for (name, der, error) in [
        ("empty", "", EncodingError::Der),
        ("long length", "308106020101020101", EncodingError::Der),
        ("indefinite", "30800201010201010000", EncodingError::Der),
        ("behind it", "300602010102010100", EncodingError::Der),
        ("inside behind", "300702010102010100", EncodingError::Der),
        ("padded", "300702020001020101", EncodingError::Der),
        ("negative", "3006020181020101", EncodingError::Der),
        ("no digits", "30050200020101", EncodingError::Der),
        ("zero", "3006020100020101", EncodingError::ScalarRange),
        ("one integer", "3003020101", EncodingError::Der),
    ] {
        assert_eq!(Signature::from_der(&hex::decode(der).unwrap()), Err(error), "{name}");
    }
    let long = format!("302602217f{}020101", "00".repeat(32));
    assert_eq!(Signature::from_der(&hex::decode(long).unwrap()), Err(EncodingError::ScalarRange));
}

#[test]
fn the_ec_sdsa_family_verifies_published_examples() {
    let Some(file) = json("ecsdsa/ecsdsa_p256.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    assert!(cases.len() >= 2);
    let all = [IsoVariant::EcSdsa, IsoVariant::EcSdsaOpt, IsoVariant::EcFsdsa];
    for case in cases {
        let variant = match string(case, "variant") {
            "EC-SDSA" => IsoVariant::EcSdsa,
            "EC-SDSA-opt" => IsoVariant::EcSdsaOpt,
            "EC-FSDSA" => IsoVariant::EcFsdsa,
            other => panic!("{other}"),
        };
        let key = Point::from_sec1_any(&bytes(case, "publicKeyHex")).unwrap();
        let (message, signature) = (bytes(case, "msgHex"), bytes(case, "signatureHex"));
        let expected = string(case, "want") == "valid";
        for each in all {
            let holds = each.verify(&key, &message, &signature).is_ok();
            assert_eq!(holds, expected && each == variant, "{} as {each:?}", case["id"]);
        }
        if variant == IsoVariant::EcSdsa {
            let c = signature[..32].try_into().unwrap();
            let z = Scalar::from_bytes(signature[32..].try_into().unwrap()).unwrap();
            assert_eq!(Challenge::EcSdsa.verify(&key, &[b"ab", b"c"], &c, &z), Ok(()));
            assert!(Challenge::Rfc9591.verify(&key, &[&message], &c, &z).is_err());
        }
    }
}

#[test]
fn expand_message_xmd_gives_the_published_bytes() {
    let Some(file) = json("h2c/expand_message_xmd_sha256.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    assert!(cases.len() >= 14);
    for case in cases {
        let len = case["lenInBytes"].as_u64().unwrap().try_into().unwrap();
        let message = string(case, "msg").as_bytes();
        let dst = string(case, "dst").as_bytes();
        let mut out = vec![0; len];
        h2f::expand_message_xmd(&[message], dst, &mut out).unwrap();
        assert_eq!(out, bytes(case, "uniformBytesHex"), "{}", case["id"]);

        let (head, tail) = message.split_at(message.len() / 2);
        let mut in_parts = vec![0; len];
        h2f::expand_message_xmd(&[head, &[], tail], dst, &mut in_parts).unwrap();
        assert_eq!(in_parts, out);
    }
    assert!(h2f::expand_message_xmd(&[], b"x", &mut [0; 8160]).is_ok());
    assert_eq!(h2f::expand_message_xmd(&[], b"x", &mut [0; 8161]), Err(h2f::TooLong));
}

#[test]
fn the_frost_hashes_give_the_published_values() {
    let Some(file) = json("frost/frost_p256_hashes.json") else {
        return;
    };
    let cases = cases(&file, "cases");
    assert!(cases.len() >= 8);
    for case in cases {
        let input = bytes(case, "inputHex");
        let output = match string(case, "fn") {
            "H1" => h2f::frost_h1(&[&input]).to_bytes(),
            "H2" => h2f::frost_h2(&[&input]).to_bytes(),
            "H3" => h2f::frost_h3(&[&input]).to_bytes(),
            "H4" => h2f::frost_h4(&input),
            "H5" => h2f::frost_h5(&input),
            other => panic!("{other}"),
        };
        assert_eq!(output[..], bytes(case, "outputHex"), "{}", case["id"]);
    }
}
