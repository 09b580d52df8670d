//! `solelog demo`: the whole story, from two factors to an offline proof, and every way to cheat that it must refuse.
//!
//! Everything is real: the devices are the SDK's, the authority and the log are the server's, two witnesses are servers of
//! their own, with HTTP between all of them. Nothing is claimed that was not checked on the way; the first thing that is
//! not as it should be ends the demo with exit code 1.
//!
//! | file | its chapters |
//! |---|---|
//! | `people.rs` | enrolling, authorising, a new PIN, a receipt |
//! | `factors.rs` | one factor without the other, yesterday's answer, a stolen phone |
//! | `records.rs` | a provider that makes its records elsewhere, and records that are not right |
//! | `outside.rs` | what the person, a monitor and a stranger see |
//! | `eve.rs` | somebody on the wire |

mod eve;
mod factors;
mod outside;
mod people;
mod records;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::cast::Error;
use super::stage::Stage;
use super::{Exit, Failure, Output, runtime};

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

    /// Something was refused, as it had to be.
    fn refused(&mut self, what: &str, why: impl std::fmt::Display) {
        self.step("refused", format_args!("{what:<44} {why}"));
    }

    fn line(&self, text: impl std::fmt::Display) {
        if !self.out.json {
            println!("             {text}");
        }
    }
}

async fn story(dir: &Path, told: &mut Told) -> Result<(), Error> {
    told.chapter("A provider's log and two witnesses, each a server of its own");
    let mut stage = Stage::up(dir, "log.example/demo", ([127, 0, 0, 1], 0).into()).await?;
    told.step("log", format_args!("{}   {}", stage.url, stage.vkey));
    for (url, vkey) in &stage.witnesses {
        told.step("witness", format_args!("{url}   {vkey}"));
    }
    let told_all = acts(&mut stage, told).await;
    stage.down().await;
    told_all
}

async fn acts(stage: &mut Stage, told: &mut Told) -> Result<(), Error> {
    let (anna, bram) = people::enrol(stage, told).await?;
    let (anna, receipt) = people::authorise(stage, anna, told).await?;
    people::receipt(stage, &receipt, told)?;
    let anna = factors::one_without_the_other(stage, anna, told).await?;
    let anna = factors::old_answers(stage, anna, told).await?;
    factors::stolen(stage, bram, told).await?;
    let anna = factors::stopped(stage, anna, told).await?;
    records::elsewhere(stage, told).await?;
    outside::watched(stage, anna, told).await?;
    told.chapter("To look at it yourself");
    let receipt = stage.folder.join(people::RECEIPT);
    told.line(format_args!("sole verify {} --policy {}", receipt.display(), stage.trust.display()));
    told.line(format_args!("solelog fsck --config {}", stage.config.display()));
    Ok(())
}
