//! What the person, a monitor and a stranger make of the log.

use client::watch::What;
use monitor::{Class, Monitor, Options};
use scal3::attempts::Attempt;
use scal3::outcome::BLOCKED;
use tlog::tile::EntriesPath;
use tlog::{Frontier, LeafHash, bundle};

use super::{Error, Stage, Told};
use crate::cli::stage::Person;
use crate::history::FULL;

pub async fn watched(stage: &Stage, mut anna: Person, told: &mut Told) -> Result<(), Error> {
    told.chapter("Who watches. Anna's phone, a monitor with an auditor's token, a stranger with nothing");
    anna_looks(&mut anna, told).await?;
    monitor_passes(stage, told).await?;
    stranger_reads(stage, told).await
}

/// Everything about Anna, each entry verified, and none left out.
async fn anna_looks(anna: &mut Person, told: &mut Told) -> Result<(), Error> {
    let watch = anna.watch().await?;
    if let Some(finding) = watch.findings.first() {
        return Err(format!("Anna's phone finds: {finding:?}").into());
    }
    let count = |is: fn(&What) -> bool| watch.entries.iter().filter(|own| is(&own.what)).count();
    told.step(
        "Anna",
        format_args!(
            "{} entries about her: {} instructions, {} changes of status, {} wrong PINs, {} blocked; none is missing",
            watch.entries.len(),
            count(|what| matches!(what, What::Record { .. })),
            count(|what| matches!(what, What::Status { .. })),
            count(|what| matches!(what, What::Event { name, .. } if name == Attempt::Failed.name())),
            count(|what| matches!(what, What::Outcome { name, .. } if name == BLOCKED)),
        ),
    );
    Ok(())
}

/// Every entry and every record, judged by the rules by a program that shares no state with the server.
async fn monitor_passes(stage: &Stage, told: &mut Told) -> Result<(), Error> {
    let token = Some(monitor::Token::new(&stage.tokens.read)?);
    let report = Monitor::new(stage.trust()?.policy, &stage.url, Options { token, ..Options::default() })?.pass().await;
    if report.class() != Class::Ok {
        let findings: Vec<String> = report.findings.iter().map(|finding| format!("{finding:?}")).collect();
        return Err(format!("the monitor finds: {}", findings.join("; ")).into());
    }
    told.step(
        "monitor",
        format_args!("{} entries judged by the rules, {} records verified again: OK", report.entries, report.verified),
    );
    Ok(())
}

/// Reads every entry from the public bundles and makes the tree of them.
async fn stranger_reads(stage: &Stage, told: &mut Told) -> Result<(), Error> {
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
