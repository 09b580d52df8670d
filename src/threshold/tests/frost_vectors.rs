//! RFC 9591 and library vectors for P-256 through both suites.

mod common;

use std::collections::BTreeMap;

use common::{array, hex, vectors};
use frost_core::keys::{
    CoefficientCommitment, KeyPackage, PublicKeyPackage, SecretShare, SigningShare, VerifiableSecretSharingCommitment,
    VerifyingShare, dkg,
};
use frost_core::round1::{Nonce, SigningCommitments, SigningNonces};
use frost_core::{Ciphersuite, Field, Group, Identifier, Signature, SigningKey, SigningPackage, VerifyingKey};
use frost_p256::{P256Group, P256ScalarField};
use p256_frost::{ProjectivePoint, Scalar};
use serde_json::Value;
use threshold::suite::{EcSdsa, Rfc9591, ec_sdsa_challenge};

/// Both suites are over this group.
trait Suite: Ciphersuite<Group = P256Group> {}
impl Suite for EcSdsa {}
impl Suite for Rfc9591 {}

fn scalar(value: &Value) -> Scalar {
    P256ScalarField::deserialize(&array(value)).unwrap()
}

fn id<C: Suite>(value: &Value) -> Identifier<C> {
    u16::try_from(value.as_u64().unwrap()).unwrap().try_into().unwrap()
}

/// Runs the signing flow of a vector through a suite, checking every value up to the challenge,
/// which is where the suites part. Gives the shares and the signature.
fn flow<C: Suite>(vector: &Value) -> (Vec<Vec<u8>>, Signature<C>, VerifyingKey<C>, Vec<u8>) {
    let inputs = &vector["inputs"];
    let key = SigningKey::<C>::deserialize(&hex(&inputs["group_secret_key"])).unwrap();
    let verifying_key = VerifyingKey::from(&key);
    assert_eq!(verifying_key.serialize().unwrap(), hex(&inputs["verifying_key_key"]));
    let message = hex(&inputs["message"]);

    let slope = scalar(&inputs["share_polynomial_coefficients"][0]);
    let commitment = VerifiableSecretSharingCommitment::<C>::new(vec![
        CoefficientCommitment::new(verifying_key.to_element()),
        CoefficientCommitment::new(ProjectivePoint::GENERATOR * slope),
    ]);
    let packages: BTreeMap<_, _> = inputs["participant_shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| {
            let id = id::<C>(&share["identifier"]);
            let share = SigningShare::deserialize(&hex(&share["participant_share"])).unwrap();
            let share = SecretShare::new(id, share, commitment.clone());
            (id, KeyPackage::try_from(share).expect("the share fits its commitment"))
        })
        .collect();
    assert_eq!(packages.len(), 3);

    let rounds = vector["round_one_outputs"]["outputs"].as_array().unwrap();
    let mut nonces = BTreeMap::new();
    for round in rounds {
        let id = id::<C>(&round["identifier"]);
        let nonce = |random: &str, expected: &str| {
            let share = packages[&id].signing_share().serialize();
            let nonce = C::H3(&[hex(&round[random]), share].concat());
            assert_eq!(P256ScalarField::serialize(&nonce)[..], hex(&round[expected]));
            Nonce::<C>::from_scalar(nonce)
        };
        let pair = SigningNonces::from_nonces(
            nonce("hiding_nonce_randomness", "hiding_nonce"),
            nonce("binding_nonce_randomness", "binding_nonce"),
        );
        let commitments = SigningCommitments::from(&pair);
        assert_eq!(commitments.hiding().serialize().unwrap(), hex(&round["hiding_nonce_commitment"]));
        assert_eq!(commitments.binding().serialize().unwrap(), hex(&round["binding_nonce_commitment"]));
        nonces.insert(id, pair);
    }

    let commitments = nonces.iter().map(|(id, pair)| (*id, SigningCommitments::from(pair)));
    let package = SigningPackage::new(commitments.collect(), &message);
    let inputs = package.binding_factor_preimages(&verifying_key, &[]).unwrap();
    let factors = frost_core::compute_binding_factor_list(&package, &verifying_key, &[]).unwrap();
    for (round, (id, input)) in rounds.iter().zip(inputs) {
        assert_eq!(input, hex(&round["binding_factor_input"]));
        let factor = factors.get(&id).unwrap().serialize();
        assert_eq!(factor, hex(&round["binding_factor"]));
    }

    let shares: BTreeMap<_, _> = nonces
        .iter()
        .map(|(id, pair)| (*id, frost_core::round2::sign(&package, pair, &packages[id]).unwrap()))
        .collect();
    let public = packages.iter().map(|(id, package)| (*id, *package.verifying_share()));
    let public = PublicKeyPackage::new(public.collect(), verifying_key, Some(2));
    let signature = frost_core::aggregate(&package, &shares, &public).unwrap();
    verifying_key.verify(&message, &signature).unwrap();
    let shares = shares.values().map(|share| share.serialize()).collect();
    (shares, signature, verifying_key, message)
}

#[test]
fn rfc9591_signs_as_appendix_e() {
    let Some(vector) = vectors("frost/frost_p256_rfc9591.json") else {
        return;
    };
    let (shares, signature, _, _) = flow::<Rfc9591>(&vector);
    let expected = vector["round_two_outputs"]["outputs"].as_array().unwrap();
    assert_eq!(expected.len(), 2);
    for (share, expected) in shares.iter().zip(expected) {
        assert_eq!(*share, hex(&expected["sig_share"]));
    }
    assert_eq!(signature.serialize().unwrap(), hex(&vector["final_output"]["sig"]));
}

#[test]
fn ec_sdsa_parts_from_rfc9591_at_the_challenge_and_nowhere_before() {
    let Some(vector) = vectors("frost/frost_p256_rfc9591.json") else {
        return;
    };
    let (shares, signature, key, message) = flow::<EcSdsa>(&vector);
    let (others, other, ..) = flow::<Rfc9591>(&vector);
    assert_eq!(signature.R(), other.R());
    assert_ne!(shares, others);
    // The textbook's verification, by other code over another generation of the curve.
    let c = ec_sdsa_challenge(signature.R(), &message).unwrap();
    let key = scal3::point::Point::parse(&key.serialize().unwrap()).unwrap();
    let z = scal3::point::Scalar::from_bytes(&P256ScalarField::serialize(signature.z())).unwrap();
    scal3::schnorr::Challenge::EcSdsa.verify(&key, &[&message], &c, &z).unwrap();
    scal3::schnorr::Challenge::Rfc9591.verify(&key, &[&message], &c, &z).unwrap_err();
}

#[test]
fn ec_sdsa_challenge_is_the_textbooks() {
    let Some(vector) = vectors("ecsdsa/ecsdsa_p256.json") else {
        return;
    };
    let cases = vector["cases"].as_array().unwrap();
    for case in cases {
        let k = scalar(&case["kHex"]);
        let x = scalar(&case["privateKeyHex"]);
        let signature = hex(&case["signatureHex"]);
        let message = hex(&case["msgHex"]);
        let c = ec_sdsa_challenge(&(ProjectivePoint::GENERATOR * k), &message).unwrap();
        let plain = case["variant"] == "EC-SDSA";
        assert_eq!(c[..] == signature[..32], plain, "{}", case["id"]);
        if plain {
            let key = VerifyingKey::<EcSdsa>::new(ProjectivePoint::GENERATOR * x);
            let point = ProjectivePoint::GENERATOR * k;
            let e = EcSdsa::challenge(&point, &key, &message).unwrap().to_scalar();
            assert_eq!(P256ScalarField::serialize(&(k + e * x))[..], signature[32..]);
        }
    }
    assert!(cases.len() >= 2);
    ec_sdsa_challenge(&ProjectivePoint::IDENTITY, b"abc").unwrap_err();
}

fn hashes<C>(cases: &[Value])
where
    C: Ciphersuite<Group = P256Group, HashOutput = [u8; 32]>,
{
    for case in cases {
        let input = hex(&case["inputHex"]);
        let output = match case["fn"].as_str().unwrap() {
            "H1" => P256ScalarField::serialize(&C::H1(&input)),
            "H3" => P256ScalarField::serialize(&C::H3(&input)),
            "H4" => C::H4(&input),
            "H5" => C::H5(&input),
            other => panic!("a function we do not know: {other}"),
        };
        assert_eq!(output[..], hex(&case["outputHex"]), "{}", case["id"]);
    }
    assert!(cases.len() >= 8);
}

#[test]
fn the_hash_functions_are_those_of_the_rfc_in_both_suites() {
    let Some(vector) = vectors("frost/frost_p256_hashes.json") else {
        return;
    };
    hashes::<Rfc9591>(vector["cases"].as_array().unwrap());
    hashes::<EcSdsa>(vector["cases"].as_array().unwrap());
    assert_eq!(EcSdsa::ID, Rfc9591::ID);
    for input in [&b""[..], b"abc"] {
        assert_eq!(EcSdsa::H2(input), Rfc9591::H2(input));
        assert_eq!(EcSdsa::HDKG(input), Rfc9591::HDKG(input));
        assert_eq!(EcSdsa::HID(input), Rfc9591::HID(input));
    }
}

/// Distributed key generation: what participant `to` computes from what the others send.
fn dkg<C: Suite>(inputs: &Value) {
    let people = ["1", "2", "3"].map(|name| &inputs[name]);
    let commitment = |person: &Value| {
        VerifiableSecretSharingCommitment::<C>::deserialize(
            person["vss_commitments"].as_array().unwrap().iter().map(hex),
        )
        .unwrap()
    };
    let mut checked = 0;
    for (to, name) in people.iter().zip(["1", "2", "3"]) {
        let me = id::<C>(&to["identifier"]);
        let secret = scalar(&to["signing_key"]);
        let slope = scalar(&to["coefficient"]);
        assert_eq!(
            commitment(to).serialize().unwrap(),
            [secret, slope].map(|s| P256Group::serialize(&(ProjectivePoint::GENERATOR * s)).unwrap().to_vec())
        );
        let round1 = |person: &Value| {
            let proof = Signature::<C>::deserialize(&hex(&person["proof_of_knowledge"])).unwrap();
            dkg::round1::Package::new(commitment(person), proof)
        };
        let others: Vec<_> = people.iter().filter(|person| *person != to).collect();
        let packages: BTreeMap<_, _> =
            others.iter().map(|person| (id::<C>(&person["identifier"]), round1(person))).collect();
        let mine = dkg::round1::SecretPackage::new(me, vec![secret, slope], commitment(to), 2, 3);
        // Verifies every proof of knowledge.
        let (round2_secret, sent) = dkg::part2(mine, &packages).unwrap();
        for other in &others {
            let share = &sent[&id::<C>(&other["identifier"])];
            assert_eq!(share.signing_share().serialize(), hex(&other["signing_shares"][name]), "sent by {name}");
            checked += 1;
        }
        let received: BTreeMap<_, _> = others
            .iter()
            .map(|person| {
                let from = person["identifier"].to_string();
                let share = SigningShare::deserialize(&hex(&to["signing_shares"][&from])).unwrap();
                (id::<C>(&person["identifier"]), dkg::round2::Package::new(share))
            })
            .collect();
        let (package, public) = dkg::part3(&round2_secret, &packages, &received).unwrap();
        assert_eq!(package.signing_share().serialize(), hex(&to["signing_share"]));
        assert_eq!(package.verifying_share().serialize().unwrap(), hex(&to["verifying_share"]));
        assert_eq!(public.verifying_key().serialize().unwrap(), hex(&inputs["verifying_key"]));
        let share = public.verifying_shares()[&me];
        assert_eq!(share.serialize().unwrap(), hex(&to["verifying_share"]));
    }
    assert_eq!(checked, 6);
}

#[test]
fn key_generation_without_a_dealer_repeats_the_vectors_in_both_suites() {
    let Some(vector) = vectors("frost/frost_p256_dkg.json") else {
        return;
    };
    dkg::<Rfc9591>(&vector["inputs"]);
    dkg::<EcSdsa>(&vector["inputs"]);
}

#[test]
fn elements_that_are_none_are_refused() {
    let Some(vector) = vectors("frost/frost_p256_elements.json") else {
        return;
    };
    let bytes = hex(&vector["elements"]["invalid_element"]);
    assert!(VerifyingKey::<EcSdsa>::deserialize(&bytes).is_err());
    assert!(VerifyingShare::<EcSdsa>::deserialize(&bytes).is_err());
    let bytes: [u8; 33] = bytes.try_into().unwrap();
    assert!(threshold::KemPublicKey::parse(&bytes).is_err());
    let generator = P256Group::serialize(&ProjectivePoint::GENERATOR).unwrap();
    let commitment = [bytes, generator].concat().try_into().unwrap();
    assert!(threshold::Commitment::parse(&commitment).is_err());
}

#[test]
fn samples_serialise_as_upstream() {
    let Some(vector) = vectors("frost/frost_p256_samples.json") else {
        return;
    };
    let generator = ProjectivePoint::GENERATOR;
    assert_eq!(P256Group::serialize(&generator).unwrap()[..], hex(&vector["element1"]));
    assert_eq!(P256Group::serialize(&(generator + generator)).unwrap()[..], hex(&vector["element2"]));
    let identifier = Identifier::<EcSdsa>::try_from(42).unwrap();
    assert_eq!(identifier.serialize(), hex(&vector["identifier"]));
    let share = SigningShare::<EcSdsa>::deserialize(&hex(&vector["scalar1"])).unwrap();
    assert_eq!(share.serialize(), hex(&vector["scalar1"]));
    let proof = Signature::<EcSdsa>::deserialize(&hex(&vector["proof_of_knowledge"])).unwrap();
    assert_eq!(proof.serialize().unwrap(), hex(&vector["proof_of_knowledge"]));
    let pair = [hex(&vector["element1"]), hex(&vector["element2"])].concat();
    let commitment = threshold::Commitment::parse(&pair.clone().try_into().unwrap()).unwrap();
    assert_eq!(commitment.as_bytes()[..], pair);
}
