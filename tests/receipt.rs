//! Receipts from a real log: one that is good, and one fault at a time.

mod common;

use client::base64::Bytes;
use client::receipt::Receipt;
use client::verify::{Outcome, Report, Verdict, verify};
use common::Log;
use scal3::Opening;
use scal3::instruction::Value;
use solelog::cli::cast::document;
use tlog::policy::Policy;

/// A log, a receipt of its second record with the text inside, and the trust file.
async fn good() -> (Log, Receipt, Policy) {
    let log = Log::start().await;
    let mut anna = log.active().await;
    let document = document("document.sign", &[("title", Value::Text("Contract 7".into()))]).expect("document");
    let (_, answer) = log.append(&mut anna, &document).await;
    let path = format!("/v1/receipts/{}", answer["index"]);
    let receipt = log.get_as_reader(&path).header("accept", "application/json").send().await.expect("answer");
    let mut receipt: Receipt = receipt.json().await.expect("a receipt");
    receipt.document = Some(Bytes(document.to_bytes()));
    let trust = log.trust().await;
    (log, receipt, trust)
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| check.outcome == Outcome::Failed).map(|check| check.id).collect()
}

/// Changes one byte.
fn flip(bytes: &mut Option<Bytes>, from_end: usize) {
    let bytes = &mut bytes.as_mut().expect("it is there").0;
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
}

/// The same receipt about an opening with a changed record: the entry is made to commit to it, so that only what is
/// inside is wrong. Nobody can do that to a log, so the inclusion fails as well.
fn respell(receipt: &mut Receipt, change: impl FnOnce(&mut Opening)) {
    let mut opening = Opening::parse(receipt.opening.as_ref().expect("opening").as_ref()).expect("opening");
    change(&mut opening);
    receipt.opening = Some(Bytes(opening.to_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_05_a_good_receipt_is_an_authorisation_and_says_what_it_cannot_show() {
    let (_log, receipt, trust) = good().await;
    let report = verify(&receipt, &trust);
    assert_eq!(report.verdict, Verdict::Authorised, "{report:#?}");
    for id in
        ["log", "included", "opening", "genesis", "credential", "binding", "device", "joint", "place", "seen", "text"]
    {
        assert_eq!(report.outcome(id), Some(Outcome::Ok), "{id}: {report:#?}");
    }
    for id in ["witnesses", "sequence", "policy", "issuing-key", "revocation"] {
        assert_eq!(report.outcome(id), Some(Outcome::NotShown), "{id}: {report:#?}");
    }
    // It survives its own file format.
    let text = serde_json::to_string(&receipt).expect("JSON");
    assert_eq!(serde_json::from_str::<Receipt>(&text).expect("JSON"), receipt);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_found_by_the_check_that_is_for_it() {
    let (log, receipt, trust) = good().await;
    let spoil = |what: &str, expected: &[&str], change: &dyn Fn(&mut Receipt)| {
        let mut spoilt = receipt.clone();
        change(&mut spoilt);
        let report = verify(&spoilt, &trust);
        assert_eq!(failed(&report), expected, "{what}: {report:#?}");
        assert_eq!(report.verdict, Verdict::Failed, "{what}");
    };
    spoil("another version", &["format"], &|r| r.version = "solelog/receipt/v2".into());
    spoil("no proof", &["format"], &|r| r.proof = "c2sp.org/tlog-proof@v1\n".into());
    spoil("a changed size", &["log"], &|r| {
        let size = r.proof.lines().skip_while(|line| !line.is_empty()).nth(2).expect("size").to_owned();
        let bigger = format!("{}9", size);
        r.proof = r.proof.replace(&format!("\n{size}\n"), &format!("\n{bigger}\n"));
    });
    spoil("another index", &["included"], &|r| r.proof = r.proof.replace("\nindex ", "\nindex 1"));
    spoil("a changed entry", &["included"], &|r| {
        let at = r.entry.0.len() - 1;
        r.entry.0[at] ^= 1;
    });
    spoil("a changed opening", &["opening"], &|r| flip(&mut r.opening, 40));
    spoil("another record inside", &["opening"], &|r| {
        respell(r, |o| {
            let at = o.record.len() - 1;
            o.record[at] ^= 1;
        })
    });
    spoil("another text", &["text"], &|r| {
        let other = document("document.sign", &[("title", Value::Text("Contract 8".into()))]).expect("document");
        r.document = Some(Bytes(other.to_bytes()));
    });
    spoil("a changed genesis", &["genesis"], &|r| {
        let genesis = r.genesis.as_mut().expect("genesis");
        let at = genesis.entry.0.len() - 1;
        genesis.entry.0[at] ^= 1;
    });
    spoil("a genesis elsewhere", &["genesis"], &|r| r.genesis.as_mut().expect("genesis").index = 1);
    spoil("a changed credential", &["credential"], &|r| flip(&mut r.credential, 1));
    spoil("the issuing entry elsewhere", &["credential"], &|r| r.issued.as_mut().expect("issued").index += 1);
    spoil("the issuing entry's opening changed", &["credential"], &|r| {
        flip(&mut r.issued.as_mut().expect("issued").opening, 1);
    });
    spoil("a changed proof of what was seen", &["seen"], &|r| {
        let seen = r.seen.as_mut().expect("seen");
        match seen.first_mut() {
            Some(hash) => hash.0[0] ^= 1,
            None => seen.push(Bytes(vec![0; 32])),
        }
    });

    // Another person's receipt, with this one's credential.
    let mut ben = log.active().await;
    let other = document("document.sign", &[("title", Value::Text("Contract 9".into()))]).expect("document");
    let (_, answer) = log.append(&mut ben, &other).await;
    let path = format!("/v1/receipts/{}", answer["index"]);
    let answer = log.get_as_reader(&path).header("accept", "application/json").send().await.expect("answer");
    let bens: Receipt = answer.json().await.expect("a receipt");
    assert_eq!(verify(&bens, &trust).verdict, Verdict::Authorised);
    let mixed = Receipt { credential: receipt.credential.clone(), ..bens.clone() };
    assert_eq!(failed(&verify(&mixed, &trust)), ["credential"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_not_shown_and_never_an_authorisation() {
    let (_log, receipt, trust) = good().await;
    let strip = |id: &str, change: &dyn Fn(&mut Receipt)| {
        let mut stripped = receipt.clone();
        change(&mut stripped);
        let report = verify(&stripped, &trust);
        assert_eq!(report.outcome(id), Some(Outcome::NotShown), "{id}: {report:#?}");
        assert_eq!(report.verdict, Verdict::Included, "{id}");
    };
    strip("opening", &|r| r.opening = None);
    strip("genesis", &|r| r.genesis = None);
    strip("credential", &|r| r.credential = None);
    strip("credential", &|r| r.issued = None);
    strip("seen", &|r| r.seen = None);
    // The text is the reader's own copy: without it the authorisation stands, and what it says is not shown.
    let report = verify(&Receipt { document: None, ..receipt.clone() }, &trust);
    assert_eq!((report.verdict, report.outcome("text")), (Verdict::Authorised, Some(Outcome::NotShown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counts_only_for_the_log_and_the_quorum_that_the_trust_file_names() {
    let (_log, receipt, _) = good().await;
    let other = tlog::key::Signer::note(tlog::key::KeyName::new(common::ORIGIN).expect("name"), &[8; 32]);
    let trust = Policy::parse(format!("log {}\nquorum none\n", other.vkey())).expect("policy");
    assert_eq!(failed(&verify(&receipt, &trust)), ["log"]);
    let elsewhere = tlog::key::Signer::note(tlog::key::KeyName::new("other.example/log").expect("name"), &[7; 32]);
    let trust = Policy::parse(format!("log {}\nquorum none\n", elsewhere.vkey())).expect("policy");
    assert_eq!(failed(&verify(&receipt, &trust)), ["log"]);
    let log = tlog::key::Signer::note(tlog::key::KeyName::new(common::ORIGIN).expect("name"), &[7; 32]);
    let witness = tlog::key::Signer::cosigner(tlog::key::KeyName::new("w.example/1").expect("name"), &[9; 32]);
    let trust = format!("log {}\nwitness w {}\nquorum w\n", log.vkey(), witness.vkey());
    assert_eq!(failed(&verify(&receipt, &Policy::parse(trust).expect("policy"))), ["witnesses"]);
}
