//! ECDSA, the EC-SDSA family, Ed25519, decoding of points, and hashing to scalars.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same},
};
use scal3::{
    ecdsa::Signature,
    h2f,
    point::{EncodingError, Point},
    schnorr::IsoVariant,
};
use tlog::key::verify_ed25519;

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    match source.stem {
        "ecdsa_secp256r1_sha256_p1363_test" => groups(source, judge, |g, c| ecdsa(g, c, Signature::parse)),
        "ecdsa_secp256r1_sha256_test" => groups(source, judge, |g, c| ecdsa(g, c, Signature::from_der)),
        "ecdh_secp256r1_ecpoint_test" => groups(source, judge, |_, c| point(c)),
        "ed25519_test" => groups(source, judge, ed25519),
        "cctv_edge_cases" => source.each(judge, ed25519_edge),
        "ecsdsa_p256" => source.each(judge, ecsdsa),
        "expand_message_xmd_sha256" => source.each(judge, expand),
        _ => super::unknown(source, judge),
    }
}

/// Wycheproof files: groups that share a key, tests in each.
fn groups(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged), one: impl Fn(&Case<'_>, &Case<'_>) -> Judged) {
    for group in source.cases("testGroups") {
        match group.list("tests") {
            Ok(tests) => tests.iter().for_each(|case| judge(&case.name(), one(&group, case))),
            Err(miss) => judge("a group", Err(miss)),
        }
    }
}

fn ecdsa(group: &Case<'_>, case: &Case<'_>, parse: fn(&[u8]) -> Result<Signature, EncodingError>) -> Judged {
    let key = group.at("publicKey")?.hex("uncompressed")?;
    let key = Point::from_sec1_any(&key).map_err(|e| Miss::Wrong(format!("the key: {e}")))?;
    let message = case.hex("msg")?;
    let holds = parse(&case.hex("sig")?).is_ok_and(|signature| signature.verify(&key, &message).is_ok());
    same(holds, case.str("result")? == "valid")
}

/// Any SEC1 form must be judged right; our formats take the compressed one alone.
fn point(case: &Case<'_>) -> Judged {
    let encoded = case.hex("public")?;
    let any = Point::from_sec1_any(&encoded);
    let strict = Point::parse(&encoded);
    if encoded.len() == 33 {
        same(strict, any)?;
    } else {
        accepted(strict, false)?;
    }
    accepted(any, case.str("result")? != "invalid")
}

fn ed25519(group: &Case<'_>, case: &Case<'_>) -> Judged {
    let key = group.at("publicKey")?.array("pk")?;
    same(holds(&key, &case.hex("msg")?, &case.hex("sig")?), case.str("result")? == "valid")
}

/// Our rule is the strict one: the cofactorless equation, and no key or commitment of small order.
fn ed25519_edge(case: &Case<'_>) -> Judged {
    let expected = if case.has("dalekVerifyStrict") { case.bool("dalekVerifyStrict")? } else { case.bool("ref10")? };
    same(holds(&case.array("key")?, case.str("msg")?.as_bytes(), &case.hex("sig")?), expected)
}

fn holds(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    signature.try_into().is_ok_and(|signature| verify_ed25519(key, message, signature))
}

fn ecsdsa(case: &Case<'_>) -> Judged {
    let variant = match case.str("variant")? {
        "EC-SDSA" => IsoVariant::EcSdsa,
        "EC-SDSA-opt" => IsoVariant::EcSdsaOpt,
        "EC-FSDSA" => IsoVariant::EcFsdsa,
        other => return Err(Miss::Unknown(format!("the variant {other}"))),
    };
    let key = Point::from_sec1_any(&case.hex("publicKeyHex")?).map_err(|e| Miss::Wrong(format!("the key: {e}")))?;
    accepted(variant.verify(&key, &case.hex("msgHex")?, &case.hex("signatureHex")?), case.str("want")? == "valid")
}

fn expand(case: &Case<'_>) -> Judged {
    let len = usize::try_from(case.u64("lenInBytes")?).map_err(|_| Miss::Unknown("a huge length".into()))?;
    let mut out = vec![0; len];
    h2f::expand_message_xmd(&[case.str("msg")?.as_bytes()], case.str("dst")?.as_bytes(), &mut out)
        .map_err(|e| Miss::Wrong(format!("{e:?}")))?;
    same(out, case.hex("uniformBytesHex")?)
}
