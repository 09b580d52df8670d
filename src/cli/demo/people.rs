//! Anna and Bram enrol, Anna authorises, changes her PIN, and keeps a receipt.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use client::receipt::Receipt;
use client::verify::{Outcome, Report, Verdict, verify};
use client::{Document, Pin, Profile, Value, instruction};

use super::{Error, Stage, Told};
use crate::cli::stage::Person;

/// The file with Anna's receipt.
pub const RECEIPT: &str = "anna-contract.receipt.json";

/// Anna's PIN before she changes it, and after.
const FIRST_PIN: &str = "24680";
pub const ANNAS_PIN: &str = "97531";
pub const BRAMS_PIN: &str = "13579";

/// A small payment. No two are the same.
pub fn payment(cents: u64) -> Result<Document, Error> {
    let fields = [
        ("amount", Value::Uint(cents)),
        ("currency", Value::Text("EUR".into())),
        ("to", Value::Text("NL00EXMP0000000000".into())),
    ];
    Ok(instruction("payment", &fields)?)
}

pub async fn enrol(stage: &Stage, told: &mut Told) -> Result<(Person, Person), Error> {
    told.chapter("Anna enrols: her phone deals a key between itself and the provider; neither can sign alone");
    let invitation = stage.invite(None, false).await?;
    told.step("invited", "the provider's backend, which knows Anna, began an enrolment and gave her phone the ticket");
    let mut anna = stage.person("anna", &stage.url)?;
    let activated = anna.enrol(&invitation, Profile::EcSdsa, &Pin::new(FIRST_PIN)).await?;
    let id = anna.credential().ok_or("no credential")?.to_hex();
    told.step("credential", format_args!("{}…  every claim in it compared with what the phone sent", &id[..16]));
    told.step("activated", format_args!("with phone and PIN: entry {}, witnessed", activated.index));
    let mut bram = stage.person("bram", &stage.url)?;
    let activated = bram.enrol(&stage.invite(None, false).await?, Profile::Transcript, &Pin::new(BRAMS_PIN)).await?;
    told.step("Bram", format_args!("too, with records of the other profile: entry {}", activated.index));
    Ok((anna, bram))
}

pub async fn authorise(stage: &Stage, mut anna: Person, told: &mut Told) -> Result<(Person, Receipt), Error> {
    told.chapter("Anna signs a contract. What she sees is what her two factors sign");
    let contract = instruction(
        "document.sign",
        &[
            ("title", Value::Text("Lease, Kerkstraat 17".into())),
            ("sha256", Value::Bytes(vec![0xc0; 32])),
            ("party", Value::Text("Woningstichting Example".into())),
        ],
    )?;
    let pin = Pin::new(FIRST_PIN);
    let before = Instant::now();
    let done = anna.authorise_showing(&contract, &pin, |field| field == "sha256").await?;
    told.step(
        "authorised",
        format_args!(
            "entry {}: challenge, both factors, counted, verified, on disk, cosigned: {} ms",
            done.index,
            before.elapsed().as_millis()
        ),
    );
    told.step("hidden", "the provider was shown the hash; title and party only if Anna shows them");
    let paid = anna.authorise(&payment(1250)?, &pin).await?;
    told.step("payment", format_args!("entry {}, chained to the one before by Anna's own signatures", paid.index));

    told.chapter("Anna changes her PIN. The provider never sees one: a new credential follows the old");
    let before = anna.credential();
    let new = Pin::new(ANNAS_PIN);
    anna.change_pin(&stage.invite(before, false).await?, &pin, &new).await?;
    if anna.credential() == before {
        return Err("the credential is the old one".into());
    }
    told.step("changed", "the old PIN spoke for the new credential, the new one activated it, the old is revoked");
    match anna.authorise(&payment(1)?, &pin).await {
        Err(client::Error::WrongPin { attempts_left: Some(left) }) => {
            told.refused("the old PIN", format_args!("wrong, {left} attempts left"));
        }
        other => return Err(format!("the old PIN: {other:?}").into()),
    }
    let paid = anna.authorise(&payment(2)?, &new).await?;
    told.step("new PIN", format_args!("entry {}; the count of wrong ones begins anew", paid.index));
    Ok((anna, done.receipt))
}

pub fn receipt(stage: &Stage, receipt: &Receipt, told: &mut Told) -> Result<(), Error> {
    told.chapter("Anna keeps a receipt. It proves itself offline, with the trust file and nothing else");
    let file = stage.folder.join(RECEIPT);
    fs::write(&file, serde_json::to_vec_pretty(receipt)?)?;
    let trust = stage.trust()?.policy;
    let report = verify(receipt, &trust);
    told.step("receipt", file.display());
    show(&report, told);
    if report.verdict != Verdict::Authorised {
        return Err("the receipt does not verify".into());
    }
    by_another_program(stage, &file, told)?;

    let mut tampered = receipt.clone();
    let bytes = &mut tampered.opening.as_mut().ok_or("no opening")?.0;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(stage.folder.join("tampered.receipt.json"), serde_json::to_vec_pretty(&tampered)?)?;
    let report = verify(&tampered, &trust);
    if report.verdict != Verdict::Failed || report.outcome("opening") != Some(Outcome::Failed) {
        return Err("a tampered receipt was not refused for its opening".into());
    }
    let says = report.checks.iter().find(|c| c.outcome == Outcome::Failed).map_or("", |c| &c.says);
    told.refused("the receipt with one bit flipped", says);
    Ok(())
}

fn show(report: &Report, told: &Told) {
    for check in &report.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotShown => "not shown",
        };
        told.line(format_args!("{outcome:<9}  {:<11} {}", check.id, check.says));
    }
}

/// Where the user's command was built too, it has the last word; it is another program.
fn by_another_program(stage: &Stage, receipt: &Path, told: &mut Told) -> Result<(), Error> {
    let sole = std::env::current_exe()?.with_file_name("sole");
    if !sole.exists() {
        return Ok(());
    }
    let done = Command::new(sole).arg("verify").arg(receipt).arg("--policy").arg(&stage.trust).output()?;
    if !done.status.success() {
        return Err(format!("`sole verify` says: {}", String::from_utf8_lossy(&done.stdout)).into());
    }
    let last = String::from_utf8_lossy(&done.stdout).lines().last().unwrap_or("").to_owned();
    told.step("sole verify", format_args!("says the same: {last}"));
    Ok(())
}
