//! `solelog-loadtest limits`: how near the product is to what the machine allows, as ratios in one run.
//!
//! Each ratio compares two things measured in the same minutes on the same processor, so that it means something on any
//! machine, a shared one too. Throughputs are ours over the other; latencies are ours over the floor; growth is the large
//! log over the small one. What cannot be measured here is null, and says why.

mod append;
mod audit;
mod cosign;
mod engines;
mod figures;
mod growth;
mod machine;

mod tiles;
mod waiting;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

pub use figures::{Figures, KEYS};
pub use machine::describe as machine;

use crate::Error;
use crate::local::{Log, Program};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Measurements of which each figure is the median.
    pub rounds: usize,
    /// CPU time of one measurement of an engine.
    pub engine: Duration,
    /// People who take turns.
    pub people: usize,
    /// Records in one measurement of appends: in batches, alone, and in batches while the log is looked at.
    pub window: [usize; 3],
    /// How long requests are sent at half of maximum load, each time.
    pub half_load: Duration,
    /// Appends of each level, in turn, for what witnessing adds.
    pub witnessed: usize,
    /// Proofs that are asked for, for their latency.
    pub proofs: usize,
    /// The sizes between which growth is measured.
    pub sizes: [u64; 2],
    /// The size at which the whole log is audited.
    pub audited: u64,
    /// How long files are read, each time.
    pub reads: Duration,
    /// Logs whose heads are cosigned, and heads of each.
    pub cosigned: [usize; 2],
    /// How long all the runs of the audit may take; there is one at least.
    pub auditing: Duration,
    /// When growing has to end, whatever size was reached.
    pub grown_after: Duration,
}

impl Scale {
    /// At most fifteen minutes.
    #[must_use]
    pub fn whole() -> Scale {
        Scale {
            rounds: 5,
            engine: Duration::from_millis(200),
            people: 2048,
            window: [8_192, 8_192, 4_096],
            half_load: Duration::from_secs(4),
            witnessed: 50,
            proofs: 4000,
            sizes: [10_000, 1_000_000],
            audited: 100_000,
            reads: Duration::from_secs(2),
            cosigned: [64, 8],
            auditing: Duration::from_secs(60),
            grown_after: Duration::from_secs(600),
        }
    }

    /// At most a minute: small, and good for seeing that everything can be measured, not for quoting.
    #[must_use]
    pub fn quick() -> Scale {
        Scale {
            rounds: 3,
            engine: Duration::from_millis(20),
            people: 64,
            window: [512, 128, 256],
            half_load: Duration::from_millis(500),
            witnessed: 10,
            proofs: 200,
            sizes: [500, 4_000],
            audited: 2_500,
            reads: Duration::from_millis(200),
            cosigned: [8, 10],
            auditing: Duration::from_secs(3),
            grown_after: Duration::from_secs(30),
        }
    }
}

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What serves the log.
    pub program: Program,
    /// In which folder; without one, in a new one among the system's temporary files.
    pub folder: Option<PathBuf>,
    /// How much.
    pub scale: Scale,
    /// Only engines and appends, what changes the path of an append is judged by; the rest is null.
    pub appends_only: bool,
}

impl Limits {
    /// Measures everything, and gives the object.
    ///
    /// # Errors
    /// [`Error`] where the log or the machine fails; what is merely not there is a null in the object.
    pub async fn measure(&self) -> Result<Json, Error> {
        let began = Instant::now();
        let failed = |e: std::io::Error| Error::System(format!("a temporary folder: {e}"));
        let folder = match &self.folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        }
        .map_err(failed)?;
        let scale = &self.scale;
        let mut figures = Figures::default();
        figures.machine(machine::describe(folder.path()));
        figures.count("rounds", scale.rounds);

        say(began, "verification engines");
        let engines = tokio::task::block_in_place(|| engines::measure(scale, &mut figures))?;

        say(began, "a log without witnesses");
        let alone = folder.path().join("alone");
        std::fs::create_dir(&alone).map_err(failed)?;
        let log = Log::make(&self.program, &alone, 0).await?;
        let mut stage = append::Stage::up(log, scale.people).await?;
        stage.grow(scale.sizes[0], began + scale.grown_after).await?;
        say(began, "the small log");
        let small = growth::Look::at(&mut stage, scale).await?;
        say(began, "appends in batches");
        let batch = stage.windows(scale, append::Shape::Batch).await?;
        if self.appends_only {
            say(began, "appends one by one");
            let single = stage.windows(scale, append::Shape::Single).await?;
            figures.appends(&batch, &single, &engines);
            stage.stop()?;
            return Ok(figures.to_json());
        }
        say(began, "growing to the size that is audited");
        stage.grow(scale.audited, began + scale.grown_after).await?;
        stage.stop()?;
        say(began, "audit");
        tokio::task::block_in_place(|| audit::whole(&stage, scale, &mut figures))?;
        stage.start().await?;
        say(began, "appends one by one");
        let single = stage.windows(scale, append::Shape::Single).await?;
        figures.appends(&batch, &single, &engines);
        say(began, "half of maximum load");
        waiting::integrated(&mut stage, scale, &single, &mut figures).await?;
        say(began, "growing");
        stage.grow(scale.sizes[1], began + scale.grown_after).await?;
        say(began, "the large log");
        let large = growth::Look::at(&mut stage, scale).await?;
        growth::compare(&small, &large, &mut figures);
        say(began, "tiles");
        tiles::compare(&mut stage, scale, &alone, &mut figures).await?;
        stage.stop()?;
        say(began, "what is stored, and hashing it again");
        tokio::task::block_in_place(|| audit::hashes(&stage, scale, &mut figures))?;
        drop(stage);

        say(began, "three witnesses");
        let watched = folder.path().join("watched");
        std::fs::create_dir(&watched).map_err(failed)?;
        let log = Log::make(&self.program, &watched, 3).await?;
        let mut stage = append::Stage::up(log, append::LANES).await?;
        waiting::witnessed(&mut stage, scale, &mut figures).await?;
        stage.stop()?;
        say(began, "cosignatures");
        cosign::measure(&folder.path().join("cosigner"), scale, &mut figures).await?;
        figures.count("seconds", began.elapsed().as_secs());
        Ok(figures.to_json())
    }
}

/// Where we are.
fn say(began: Instant, what: &str) {
    eprintln!("{:>5.0} s  {what}", began.elapsed().as_secs_f64());
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
