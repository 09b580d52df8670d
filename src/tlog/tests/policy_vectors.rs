//! Policies against vectors made by others.

mod vectors;

use std::collections::BTreeSet;

use serde_json::Value;
use tlog::key::{KeyName, Kind, Vkey};
use tlog::policy::{Policy, PolicyFault};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

/// Rewrites the words of a policy that are keys in another dialect.
fn rewrite(policy: &str, word: impl Fn(&str, &str) -> Option<String>) -> String {
    policy
        .split_inclusive('\n')
        .map(|line| {
            let keyword = line.split_whitespace().next().unwrap_or("");
            let mut words: Vec<String> = Vec::new();
            for found in line.split(' ') {
                let (bare, end) = found.split_at(found.trim_end_matches('\n').len());
                let new = word(keyword, bare).unwrap_or_else(|| bare.to_owned());
                words.push(new + end);
            }
            words.join(" ")
        })
        .collect()
}

/// Sigsum's dialect has bare hex keys where tlog-policy has vkeys.
fn from_sigsum(policy: &str) -> String {
    rewrite(policy, |keyword, word| {
        let key: [u8; 32] = hex::decode(word).ok()?.try_into().ok()?;
        let name = KeyName::new(&format!("{keyword}.example/{}", &word[..4])).unwrap();
        Some(match keyword {
            "log" => Vkey::ed25519(name, key).to_string(),
            _ => Vkey::cosignature_v1(name, key).to_string(),
        })
    })
}

/// One library writes type 0x01 keys for witnesses and reads them as type 0x04.
fn with_cosignature_keys(policy: &str) -> String {
    rewrite(policy, |keyword, word| {
        let vkey = Vkey::parse(word).ok()?;
        if keyword != "witness" || vkey.kind() != Kind::Ed25519 {
            return None;
        }
        let key = vkey.public_key().try_into().unwrap();
        Some(Vkey::cosignature_v1(vkey.name().clone(), key).to_string())
    })
}

#[test]
fn policies_are_read_and_evaluated_as_listed() {
    let Some(file) = vectors::load("policy/tlog_policy.json") else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    let mut quorums = 0;
    for case in cases {
        let id = text(case, "id");
        let mut policy = text(case, "policy").to_owned();
        if case["keyFormat"] == "hex" {
            policy = from_sigsum(&policy);
        }
        if text(case, "src").starts_with("transparency-dev/formats") {
            // As it stands it has witnesses that could not cosign, which we say.
            if case["want"] == "accept" {
                let fault = Policy::parse(&policy).unwrap_err().fault;
                assert_eq!(fault, PolicyFault::WitnessKey(0x01), "{id}");
            }
            policy = with_cosignature_keys(&policy);
        }
        let read = Policy::parse(&policy);
        match text(case, "want") {
            "reject" => assert!(read.is_err(), "{id}"),
            // What one library accepts and tlog-policy does not.
            "accept-upstream" => {
                let fault = read.unwrap_err().fault;
                let expected = match text(case, "comment") {
                    c if c.starts_with("end-of-line") => PolicyFault::Words,
                    c if c.starts_with("w2 and w3 carry") => PolicyFault::DuplicateKey,
                    other => panic!("{id}: {other}"),
                };
                assert_eq!(fault, expected, "{id}");
            }
            "accept" => {
                let read = read.unwrap_or_else(|e| panic!("{id}: {e}"));
                for row in case["quorum"].as_array().into_iter().flatten() {
                    let cosigned: BTreeSet<&str> =
                        row["cosigned"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                    let met = read.quorum_met(&|name| cosigned.contains(name));
                    assert_eq!(met, row["satisfied"], "{id}: {cosigned:?}");
                    quorums += 1;
                }
                if let Some(counts) = case["counts"].as_object() {
                    let logs = read.logs();
                    let witnesses = read.witnesses();
                    let urls = |n: usize| n as u64;
                    assert_eq!(urls(logs.len()), counts["logs"], "{id}");
                    assert_eq!(urls(witnesses.len()), counts["witnesses"], "{id}");
                    let with_url = logs.iter().filter(|log| log.url.is_some()).count();
                    assert_eq!(urls(with_url), counts["logsWithUrl"], "{id}");
                    let with_url = witnesses.iter().filter(|w| w.url.is_some()).count();
                    assert_eq!(urls(with_url), counts["witnessesWithUrl"], "{id}");
                }
            }
            other => panic!("{id}: {other}"),
        }
    }
    assert!(cases.len() >= 40, "{}", cases.len());
    assert!(quorums >= 25, "{quorums}");
}
