//! What becomes of a log that grows: the same questions to a small log and to a large one.

use std::time::{Duration, Instant};

use super::append::{Shape, Stage, Window};
use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;
use crate::chance::chance;
use crate::latency::Latencies;
use crate::transport::Connection;

/// Connections that ask for proofs at the same time, for their throughput.
const ASKING: usize = 32;

/// A log of one size.
pub struct Look {
    entries: u64,
    /// Seconds of the server's CPU time for one record.
    append_s: f64,
    proof: Duration,
    proofs_per_s: f64,
    rss: u64,
    open_s: f64,
}

impl Look {
    /// Looks at the log as it is: opened again, then under load.
    pub async fn at(stage: &mut Stage, scale: &Scale) -> Result<Look, Error> {
        let mut open = Vec::new();
        for _ in 0..scale.rounds {
            stage.stop()?;
            open.push(stage.start().await?.as_secs_f64());
        }
        let entries = stage.size().await?;
        let windows = stage.windows(scale, Shape::Look).await?;
        // The peak since it was opened: under full load, and not before.
        let rss = stage.served()?.usage()?.rss_peak;
        let mut proof = Vec::new();
        for round in 0..scale.rounds {
            proof.push(proofs(stage, entries, scale.proofs, round as u64).await?.percentile(50.0).as_secs_f64());
        }
        let proofs_per_s = throughput(stage, entries, scale).await?;
        Ok(Look {
            entries,
            append_s: median(windows.iter().map(|window| 1.0 / Window::per_cpu_second(window)).collect()),
            proof: Duration::from_secs_f64(median(proof)),
            proofs_per_s,
            rss,
            open_s: median(open),
        })
    }
}

/// The large log over the small one.
pub fn compare(small: &Look, large: &Look, figures: &mut Figures) {
    figures.set("growth_append", large.append_s / small.append_s);
    figures.set("growth_proof", large.proof.as_secs_f64() / small.proof.as_secs_f64());
    figures.set("growth_rss", large.rss as f64 / small.rss as f64);
    figures.set("growth_open", large.open_s / small.open_s);
    for (name, look) in [("small", small), ("large", large)] {
        figures.count(&format!("{name}_entries"), look.entries);
        figures.count(&format!("{name}_append_server_cpu_us"), rounded(look.append_s * 1e6));
        figures.count(&format!("{name}_proof_p50_us"), rounded(look.proof.as_secs_f64() * 1e6));
        figures.count(&format!("{name}_proofs_per_s"), rounded(look.proofs_per_s));
        figures.count(&format!("{name}_rss_peak_mib"), rounded(look.rss as f64 / f64::from(1 << 20)));
        figures.count(&format!("{name}_open_ms"), rounded(look.open_s * 1e3));
    }
}

/// Asks for inclusion proofs all over the log, one after another, and verifies each.
async fn proofs(stage: &Stage, entries: u64, count: usize, seed: u64) -> Result<Latencies, Error> {
    let mut connection = Connection::new(&stage.target.place);
    let mut waited = Latencies::default();
    for number in 0..count as u64 {
        let index = chance(seed << 32 | number) % entries.max(1);
        let began = Instant::now();
        let body = connection.get(&format!("/v1/proofs/inclusion?index={index}&size={entries}")).await?.body()?;
        waited.add(began.elapsed());
        stage.target.judge.inclusion(&body, index)?;
    }
    Ok(waited)
}

/// Proofs in a second, from many connections.
async fn throughput(stage: &Stage, entries: u64, scale: &Scale) -> Result<f64, Error> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..ASKING as u64 {
        let (target, lasting) = (stage.target.clone(), scale.reads);
        tasks.spawn(async move {
            let mut connection = Connection::new(&target.place);
            let mut done = 0_u64;
            while began.elapsed() < lasting {
                let index = chance(lane << 40 | done) % entries.max(1);
                let path = format!("/v1/proofs/inclusion?index={index}&size={entries}");
                target.judge.inclusion(&connection.get(&path).await?.body()?, index)?;
                done += 1;
            }
            Ok::<u64, Error>(done)
        });
    }
    let mut done = 0;
    while let Some(lane) = tasks.join_next().await {
        done += lane.map_err(|e| Error::System(e.to_string()))??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}
