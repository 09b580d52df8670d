//! `solelog demo`: the whole story, from two factors to an offline proof, and every way to cheat that it must refuse.
//!
//! Everything is real: the cryptography of both halves, the log's disk, two witnesses as servers of their own, HTTP
//! between them. Nothing is claimed that was not checked on the way; the first thing that is not as it should be ends
//! the demo with exit code 1.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::Args;
use client::receipt::Receipt;
use client::verify::{Outcome, Report, Verdict, verify};
use scal3::Opening;
use scal3::instruction::Value as Field;
use serde_json::{Value, json};
use threshold::{Profile1, Profile2};
use tlog::policy::Policy;
use tlog::tile::EntriesPath;
use tlog::{Frontier, LeafHash, bundle};

use super::cast::{Error, activation, document};
use super::stage::{Stage, expect};
use super::{Exit, Failure, Output, runtime};
use crate::engine::wall_clock_ms;
use crate::history::FULL;

/// Watch the whole story.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the log, the witnesses and the receipts are kept, to be looked at afterwards.
    #[arg(long, default_value = "demo-data")]
    dir: PathBuf,
}

impl Demo {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let runtime = runtime()?;
        let mut told = Told { out, began: Instant::now(), steps: Vec::new() };
        let failed = runtime.block_on(story(&self.dir, &mut told)).err();
        let seconds = told.began.elapsed().as_secs_f64();
        let summary = json!({ "ok": failed.is_none(), "seconds": seconds, "steps": told.steps });
        if let Some(error) = failed {
            if out.json {
                out.say("", summary)?;
            }
            return Err(
                Failure::new(Exit::Failed, error).next("this should not happen; please report it with the lines above")
            );
        }
        out.say(format!("\nAll of it held, in {seconds:.1} s."), summary)
    }
}

/// What has been told so far.
struct Told {
    out: Output,
    began: Instant,
    steps: Vec<Value>,
}

impl Told {
    fn chapter(&self, title: &str) {
        if !self.out.json {
            println!("\n{title}");
        }
    }

    fn step(&mut self, what: &str, detail: impl std::fmt::Display) {
        let at = self.began.elapsed().as_millis();
        if !self.out.json {
            println!("  {at:>6} ms  {what:<12} {detail}");
        }
        self.steps.push(json!({ "at_ms": at, "step": what, "detail": detail.to_string() }));
    }

    fn line(&self, text: impl std::fmt::Display) {
        if !self.out.json {
            println!("             {text}");
        }
    }
}

async fn story(dir: &std::path::Path, told: &mut Told) -> Result<(), Error> {
    told.chapter("A log and two witnesses, each a server of its own");
    let stage = Stage::up(dir, "log.example/demo", ([127, 0, 0, 1], 0).into()).await?;
    told.step("log", format_args!("{}   {}", stage.url, stage.vkey));
    for (url, vkey) in &stage.witnesses {
        told.step("witness", format_args!("{url}   {vkey}"));
    }
    let told_all = acts(&stage, told).await;
    stage.down().await;
    told_all
}

async fn acts(stage: &Stage, told: &mut Told) -> Result<(), Error> {
    told.chapter("Anna enrols: her device deals a key between itself and the provider; neither can sign alone");
    let (mut anna, issued) = stage.enrol::<Profile1>("24680").await?;
    told.step("credential", format_args!("{}…  entry {}", &anna.id().to_hex()[..16], issued["index"]));
    let opening = anna
        .authorise(anna.metadata("credential.activate", &stage.published().await?, wall_clock_ms()), &activation()?)?;
    let answer = expect(stage.append(&opening).await?, 201).await?;
    anna.logged(&opening)?;
    told.step(
        "activated",
        format_args!("with device and PIN, entry {}, {}", answer["index"], answer["reached"].as_str().unwrap_or("")),
    );

    told.chapter("Anna signs a contract. What she sees is what her two factors sign");
    let contract = document(
        "document.sign",
        &[
            ("title", Field::Text("Lease, Kerkstraat 17".into())),
            ("sha256", Field::Bytes(vec![0xc0; 32])),
            ("party", Field::Text("Woningstichting Example".into())),
        ],
    )?;
    let before = Instant::now();
    let contract_opening =
        anna.authorise(anna.metadata(&contract.class, &stage.published().await?, wall_clock_ms()), &contract)?;
    told.step(
        "authorised",
        format_args!(
            "joint, device and one-time signature: {} bytes, {} ms",
            contract_opening.len(),
            before.elapsed().as_millis()
        ),
    );
    let before = Instant::now();
    let answer = expect(stage.append(&contract_opening).await?, 201).await?;
    if answer["reached"] != "witnessed" {
        return Err(format!("the record is {} and not witnessed", answer["reached"]).into());
    }
    anna.logged(&contract_opening)?;
    let index = answer["index"].as_u64().ok_or("no index")?;
    told.step(
        "witnessed",
        format_args!(
            "entry {index}: verified, on disk, in the tree, cosigned by both witnesses: {} ms",
            before.elapsed().as_millis()
        ),
    );
    let payment = document(
        "payment",
        &[
            ("amount", Field::Uint(1250)),
            ("currency", Field::Text("EUR".into())),
            ("to", Field::Text("NL00EXMP0000000000".into())),
        ],
    )?;
    let opening =
        anna.authorise(anna.metadata(&payment.class, &stage.published().await?, wall_clock_ms()), &payment)?;
    let answer = expect(stage.append(&opening).await?, 201).await?;
    anna.logged(&opening)?;
    told.step("payment", format_args!("entry {}, chained to the one before by Anna's own signatures", answer["index"]));
    let (mut bram, _) = stage.enrol::<Profile2>("13579").await?;
    let opening = bram
        .authorise(bram.metadata("credential.activate", &stage.published().await?, wall_clock_ms()), &activation()?)?;
    let answer = expect(stage.append(&opening).await?, 201).await?;
    bram.logged(&opening)?;
    told.step("Bram", format_args!("entry {}, with a wallet that makes records of the other profile", answer["index"]));

    told.chapter("Anna keeps a receipt. It proves itself offline, with the trust file and nothing else");
    let mut receipt: Receipt = stage.get(&format!("/v1/receipts/{index}")).await?.json().await?;
    receipt.document = Some(client::base64::Bytes(contract.to_bytes()));
    let file = stage.folder.join("anna-contract.receipt.json");
    fs::write(&file, serde_json::to_vec_pretty(&receipt)?)?;
    let trust = Policy::parse(fs::read(&stage.trust)?)?;
    let report = verify(&receipt, &trust);
    told.step("receipt", file.display());
    show(&report, told);
    if report.verdict != Verdict::Authorised {
        return Err("the receipt does not verify".into());
    }
    by_another_program(stage, &file, told)?;

    told.chapter("A stranger reads the whole log and gets the same root");
    stranger(stage, told).await?;

    told.chapter("Now the cheating");
    let mut tampered = receipt.clone();
    let bytes = &mut tampered.opening.as_mut().ok_or("no opening")?.0;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let file = stage.folder.join("tampered.receipt.json");
    fs::write(&file, serde_json::to_vec_pretty(&tampered)?)?;
    let report = verify(&tampered, &trust);
    if report.verdict != Verdict::Failed || report.outcome("opening") != Some(Outcome::Failed) {
        return Err("a tampered receipt was not refused for its opening".into());
    }
    let says = report.checks.iter().find(|c| c.outcome == Outcome::Failed).map_or("", |c| &c.says);
    told.step("refused", format_args!("a receipt with one bit flipped       opening: {says}"));

    let size = stage.published().await?.size;
    let next = document("payment", &[("amount", Field::Uint(1)), ("currency", Field::Text("EUR".into()))])?;
    let good = anna.authorise(anna.metadata(&next.class, &stage.published().await?, wall_clock_ms()), &next)?;
    let mut broken = Opening::parse(&good)?;
    *broken.record.last_mut().ok_or("no record")? ^= 1;
    refused(stage.append(&broken.to_bytes()).await?, 422, "binding", "a record with one bit flipped", told).await?;
    let mut metadata = anna.metadata(&next.class, &stage.published().await?, wall_clock_ms());
    metadata.origin = "other.example/log".into();
    refused(
        stage.append(&anna.authorise(metadata, &next)?).await?,
        422,
        "credential",
        "a record made for another log",
        told,
    )
    .await?;
    let mut metadata = anna.metadata(&contract.class, &stage.published().await?, wall_clock_ms());
    metadata.sequence -= 1;
    refused(
        stage.append(&anna.authorise(metadata, &contract)?).await?,
        409,
        "metadata",
        "a used sequence, another signature",
        told,
    )
    .await?;
    let again = expect(stage.append(&contract_opening).await?, 200).await?;
    if again["index"] != index || again["existing"] != true {
        return Err("the same record again got another answer".into());
    }
    told.step("same again", format_args!("the contract sent once more             entry {index}, as before"));
    let now = stage.published().await?.size;
    if now != size {
        return Err(format!("the log has grown from {size} to {now}").into());
    }
    told.step("not grown", format_args!("{now} entries, as before the cheating"));

    told.chapter("To look at it yourself");
    told.line(format_args!(
        "sole verify {} --policy {}",
        stage.folder.join("anna-contract.receipt.json").display(),
        stage.trust.display()
    ));
    told.line(format_args!("solelog fsck --config {}", stage.config.display()));
    Ok(())
}

/// A refusal with that status, for that check.
async fn refused(
    answer: reqwest::Response,
    status: u16,
    check: &str,
    what: &str,
    told: &mut Told,
) -> Result<(), Error> {
    let problem = expect(answer, status).await?;
    if problem["check"] != check {
        return Err(format!("{what} was refused for another reason: {problem}").into());
    }
    told.step("refused", format_args!("{what:<37}{}", problem["detail"].as_str().unwrap_or("")));
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
fn by_another_program(stage: &Stage, receipt: &std::path::Path, told: &mut Told) -> Result<(), Error> {
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

/// Reads every entry from the public bundles and makes the tree of them.
async fn stranger(stage: &Stage, told: &mut Told) -> Result<(), Error> {
    let head = stage.published().await?;
    let mut tree = Frontier::new();
    let mut bytes = 0;
    for index in 0..head.size.get().div_ceil(FULL) {
        let path = EntriesPath::at(index, head.size).ok_or("no such bundle")?.path();
        let read = stage.get(&format!("/{path}")).await?.bytes().await?;
        for entry in bundle::parse(&read)? {
            bytes += entry.len();
            tree.push(LeafHash::of(entry))?;
        }
    }
    if tree.head() != head {
        return Err("the entries do not make the published root".into());
    }
    told.step(
        "same root",
        format_args!(
            "{} entries, {} bytes each on average, and none of them names anybody",
            head.size,
            bytes as u64 / head.size.get().max(1)
        ),
    );
    Ok(())
}
