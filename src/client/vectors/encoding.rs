//! CBOR, COSE and base64.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same, unhex},
};
use crate::base64::strict;
use scal3::{cbor, cose, point::Point};

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    match source.stem {
        "deterministic" => source.each(judge, deterministic),
        "rfc8949_appendix_a" => source.each(judge, appendix_a),
        "rfc8949_not_well_formed" => source.each(judge, |c| accepted(cbor::check_deterministic(&c.hex("hex")?), false)),
        "sign1" => source.each(judge, sign1),
        "base64" => source.each(judge, base64),
        _ => super::unknown(source, judge),
    }
}

/// Examples that came with RFC 7049; RFC 8949 took some of them back, and says so.
fn appendix_a(case: &Case<'_>) -> Judged {
    let taken_back = case.str("rfc8949").is_ok_and(|note| note.starts_with("not well-formed"));
    accepted(cbor::check_deterministic(&case.hex("hex")?), case.bool("roundtrip")? && !taken_back)
}

fn deterministic(case: &Case<'_>) -> Judged {
    if case.has("sortedKeysHex") {
        return key_order(case);
    }
    accepted(cbor::check_deterministic(&case.hex("hex")?), case.bool("deterministic")?)
}

/// A map with these keys, in this order, is deterministic in the bytewise order of RFC 8949 §4.2.1
/// and must be refused in the older length-first order.
fn key_order(case: &Case<'_>) -> Judged {
    let keys = case.list("sortedKeysHex")?;
    let mut map = vec![
        0xa0 | u8::try_from(keys.len())
            .ok()
            .filter(|n| *n < 24)
            .ok_or_else(|| Miss::Unknown("too many keys".into()))?,
    ];
    for key in keys {
        map.extend(key.as_str().and_then(unhex).ok_or_else(|| Miss::Unknown("a key is not hex".into()))?);
        map.push(0);
    }
    accepted(cbor::check_deterministic(&map), !case.name().contains("length-first"))
}

fn sign1(case: &Case<'_>) -> Judged {
    let key = case.at("key")?;
    let key = match (key.str("kty")?, key.str("crv")?) {
        ("EC", "P-256") => {
            let sec1 = [&[4][..], &key.hex("xHex")?, &key.hex("yHex")?].concat();
            cose::Key::Es256(Point::from_sec1_any(&sec1).map_err(|e| Miss::Wrong(format!("the key: {e}")))?)
        }
        ("OKP", "Ed25519") => cose::Key::EdDsa(key.array("xHex")?),
        (kty, crv) => return Err(Miss::Unknown(format!("keys of {kty} {crv}"))),
    };
    let aad = if case.has("externalAadHex") { case.hex("externalAadHex")? } else { Vec::new() };
    let ours = cose::verify_sign1(&case.hex("cborHex")?, &aad, &key);
    let expected = case.str("want")? == "ok";
    if let (Ok(payload), true) = (&ours, expected && case.has("payloadHex")) {
        same(payload, &case.hex("payloadHex")?)?;
    }
    accepted(ours, expected)
}

fn base64(case: &Case<'_>) -> Judged {
    let ours = strict(case.str("encoded")?);
    match case.str("strict")? {
        "accept" => same(ours, Some(case.hex("decodedHex")?)),
        _ => same(ours, None),
    }
}
