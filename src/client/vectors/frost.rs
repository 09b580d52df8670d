//! FROST(P-256, SHA-256): RFC 9591 signing, key generation without a dealer, hashes, encodings.
//!
//! Run through the suite of `threshold`, whose EC-SDSA twin differs from it in the challenge alone.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same, unhex},
};
use frost_core::{
    Ciphersuite, Field, Group, Identifier, Signature, SigningKey, SigningPackage, VerifyingKey,
    keys::{
        CoefficientCommitment, KeyPackage, PublicKeyPackage, SecretShare, SigningShare,
        VerifiableSecretSharingCommitment, dkg,
    },
    round1::{Nonce, SigningCommitments, SigningNonces},
    round2,
};
use scal3::h2f;
use std::collections::BTreeMap;
use threshold::suite::Rfc9591 as Suite;

type Curve = <Suite as Ciphersuite>::Group;
type Scalars = <Curve as Group>::Field;
type Scalar = <Scalars as Field>::Scalar;
type Error = frost_core::Error<Suite>;

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    let whole = Case::new(source.json);
    match source.stem {
        "frost_p256_hashes" => source.each(judge, hash),
        "frost_p256_rfc9591" => judge("signing", signing(&whole)),
        "frost_p256_dkg" => {
            for name in ["1", "2", "3"] {
                judge(&format!("participant {name}"), key_generation(&whole, name));
            }
        }
        "frost_p256_elements" => judge("invalid_element", invalid_element(&whole)),
        "frost_p256_samples" => samples(&whole, judge),
        _ => super::unknown(source, judge),
    }
}

fn failed(error: Error) -> Miss {
    Miss::Wrong(format!("refused: {error}"))
}

fn hash(case: &Case<'_>) -> Judged {
    let input = case.hex("inputHex")?;
    let output = match case.str("fn")? {
        "H1" => h2f::frost_h1(&[&input]).to_bytes(),
        "H2" => h2f::frost_h2(&[&input]).to_bytes(),
        "H3" => h2f::frost_h3(&[&input]).to_bytes(),
        "H4" => h2f::frost_h4(&input),
        "H5" => h2f::frost_h5(&input),
        other => return Err(Miss::Unknown(format!("the function {other}"))),
    };
    same(output.to_vec(), case.hex("outputHex")?)
}

fn scalar(case: &Case<'_>, member: &str) -> Result<Scalar, Miss> {
    let bytes: [u8; 32] = case.array(member)?;
    Scalars::deserialize(&bytes).map_err(|e| Miss::Wrong(format!("`{member}`: {e}")))
}

fn identifier(case: &Case<'_>) -> Result<Identifier<Suite>, Miss> {
    let number = u16::try_from(case.u64("identifier")?).map_err(|_| Miss::Unknown("a huge identifier".into()))?;
    Identifier::try_from(number).map_err(failed)
}

/// RFC 9591, appendix E.4: each intermediate value, then the signature.
fn signing(whole: &Case<'_>) -> Judged {
    let inputs = whole.at("inputs")?;
    let key = SigningKey::<Suite>::deserialize(&inputs.hex("group_secret_key")?).map_err(failed)?;
    let verifying_key = VerifyingKey::from(&key);
    same(verifying_key.serialize().map_err(failed)?, inputs.hex("verifying_key_key")?)?;
    let message = inputs.hex("message")?;

    let slopes = inputs.list("share_polynomial_coefficients")?;
    let mut commitment = vec![CoefficientCommitment::new(verifying_key.to_element())];
    for slope in slopes {
        let bytes: [u8; 32] = slope
            .as_str()
            .and_then(unhex)
            .and_then(|b| b.try_into().ok())
            .ok_or_else(|| Miss::Unknown("a coefficient".into()))?;
        let slope = Scalars::deserialize(&bytes).map_err(|e| Miss::Wrong(e.to_string()))?;
        commitment.push(CoefficientCommitment::new(Curve::generator() * slope));
    }
    let commitment = VerifiableSecretSharingCommitment::<Suite>::new(commitment);
    let mut packages = BTreeMap::new();
    for share in inputs.list("participant_shares")? {
        let id = identifier(&share)?;
        let share = SigningShare::deserialize(&share.hex("participant_share")?).map_err(failed)?;
        packages.insert(id, KeyPackage::try_from(SecretShare::new(id, share, commitment.clone())).map_err(failed)?);
    }
    let package =
        |id: &Identifier<Suite>| packages.get(id).ok_or_else(|| Miss::Unknown("a signer without a share".into()));

    let rounds = whole.at("round_one_outputs")?.list("outputs")?;
    let mut nonces = BTreeMap::new();
    for round in &rounds {
        let id = identifier(round)?;
        let share = package(&id)?.signing_share().serialize();
        let nonce = |random: &str, expected: &str| {
            let nonce = Suite::H3(&[round.hex(random)?, share.clone()].concat());
            same(Scalars::serialize(&nonce).to_vec(), round.hex(expected)?)?;
            Ok::<_, Miss>(Nonce::<Suite>::from_scalar(nonce))
        };
        let pair = SigningNonces::from_nonces(
            nonce("hiding_nonce_randomness", "hiding_nonce")?,
            nonce("binding_nonce_randomness", "binding_nonce")?,
        );
        let commitments = SigningCommitments::from(&pair);
        same(commitments.hiding().serialize().map_err(failed)?, round.hex("hiding_nonce_commitment")?)?;
        same(commitments.binding().serialize().map_err(failed)?, round.hex("binding_nonce_commitment")?)?;
        nonces.insert(id, pair);
    }

    let commitments = nonces.iter().map(|(id, pair)| (*id, SigningCommitments::from(pair))).collect();
    let signing = SigningPackage::new(commitments, &message);
    let factors = frost_core::compute_binding_factor_list(&signing, &verifying_key, &[]).map_err(failed)?;
    for round in &rounds {
        let factor = factors.get(&identifier(round)?).ok_or_else(|| Miss::Wrong("no binding factor".into()))?;
        same(factor.serialize(), round.hex("binding_factor")?)?;
    }

    let mut shares = BTreeMap::new();
    for output in whole.at("round_two_outputs")?.list("outputs")? {
        let id = identifier(&output)?;
        let pair = nonces.get(&id).ok_or_else(|| Miss::Unknown("a share without nonces".into()))?;
        let share = round2::sign(&signing, pair, package(&id)?).map_err(failed)?;
        same(share.serialize(), output.hex("sig_share")?)?;
        shares.insert(id, share);
    }
    let public = packages.iter().map(|(id, package)| (*id, *package.verifying_share())).collect();
    let public = PublicKeyPackage::new(public, verifying_key, Some(2));
    let signature = frost_core::aggregate(&signing, &shares, &public).map_err(failed)?;
    same(signature.serialize().map_err(failed)?, whole.at("final_output")?.hex("sig")?)?;
    verifying_key.verify(&message, &signature).map_err(failed)
}

/// What one participant computes from what the others send, proofs of knowledge verified.
fn key_generation(whole: &Case<'_>, name: &str) -> Judged {
    let inputs = whole.at("inputs")?;
    let me = inputs.at(name)?;
    let commitment = |person: &Case<'_>| {
        let list: Option<Vec<_>> = person.list("vss_commitments")?.iter().map(|c| c.as_str().and_then(unhex)).collect();
        let list = list.ok_or_else(|| Miss::Unknown("`vss_commitments`".into()))?;
        VerifiableSecretSharingCommitment::<Suite>::deserialize(list).map_err(failed)
    };
    let mut others = Vec::new();
    for other in ["1", "2", "3"].into_iter().filter(|other| *other != name) {
        others.push((other, inputs.at(other)?));
    }
    let mut round1 = BTreeMap::new();
    let mut round2 = BTreeMap::new();
    for (other, person) in &others {
        let proof = Signature::<Suite>::deserialize(&person.hex("proof_of_knowledge")?).map_err(failed)?;
        round1.insert(identifier(person)?, dkg::round1::Package::new(commitment(person)?, proof));
        let share = SigningShare::deserialize(&me.at("signing_shares")?.hex(other)?).map_err(failed)?;
        round2.insert(identifier(person)?, dkg::round2::Package::new(share));
    }
    let secret = vec![scalar(&me, "signing_key")?, scalar(&me, "coefficient")?];
    let secret = dkg::round1::SecretPackage::new(identifier(&me)?, secret, commitment(&me)?, 2, 3);
    let (secret, sent) = dkg::part2(secret, &round1).map_err(failed)?;
    for (_, person) in &others {
        let share = sent.get(&identifier(person)?).ok_or_else(|| Miss::Wrong("no share for a participant".into()))?;
        same(share.signing_share().serialize(), person.at("signing_shares")?.hex(name)?)?;
    }
    let (package, public) = dkg::part3(&secret, &round1, &round2).map_err(failed)?;
    same(package.signing_share().serialize(), me.hex("signing_share")?)?;
    same(package.verifying_share().serialize().map_err(failed)?, me.hex("verifying_share")?)?;
    same(public.verifying_key().serialize().map_err(failed)?, inputs.hex("verifying_key")?)
}

fn invalid_element(whole: &Case<'_>) -> Judged {
    accepted(VerifyingKey::<Suite>::deserialize(&whole.at("elements")?.hex("invalid_element")?), false)
}

fn samples(whole: &Case<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    let point = |member: &str, times: u64| -> Judged {
        let mut point = Curve::identity();
        (0..times).for_each(|_| point += Curve::generator());
        let bytes = Curve::serialize(&point).map_err(|e| Miss::Wrong(e.to_string()))?;
        same(bytes.to_vec(), whole.hex(member)?)
    };
    judge("element1", point("element1", 1));
    judge("element2", point("element2", 2));
    let identifier = || same(Identifier::<Suite>::try_from(42).map_err(failed)?.serialize(), whole.hex("identifier")?);
    judge("identifier", identifier());
    let share = || {
        let bytes = whole.hex("scalar1")?;
        same(SigningShare::<Suite>::deserialize(&bytes).map_err(failed)?.serialize(), bytes)
    };
    judge("scalar1", share());
    let proof = || {
        let bytes = whole.hex("proof_of_knowledge")?;
        same(Signature::<Suite>::deserialize(&bytes).map_err(failed)?.serialize().map_err(failed)?, bytes)
    };
    judge("proof_of_knowledge", proof());
}
