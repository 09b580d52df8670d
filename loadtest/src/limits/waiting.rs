//! How long people wait: at half of maximum load for `integrated`, and how much longer for `witnessed`.
//!
//! ```text
//! floor = one batch verification of what a round holds
//!       + a write and a sync of its keys
//!       + a write and a sync of its journal record      all in this folder, in files with room, as the journal has them
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use scal3::batch::VerifyBatch as _;
use verifier::{Choice, Engine};

use super::append::{Stage, Window};
use super::engines::{jobs, records};
use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;
use crate::answers::Level;
use crate::crowd::Target;
use crate::latency::{Latencies, ms};
use crate::maker::Made;
use crate::pace::{AsyncSend, Pace, Ticket, Tickets, drive};
use crate::transport::Connection;

/// What the journal has of an entry beside its opening: the entry, the seal, changes of the state. About that.
const BESIDE: usize = 600;

/// Room in the files of the floor: as a segment of the journal, written before it is used.
const ROOM: usize = 16 << 20;

/// A connection with what it will send, and how long that took.
struct Lane {
    connection: Connection,
    records: std::vec::IntoIter<Made>,
    waited: Latencies,
}

#[derive(Clone)]
struct Append {
    target: Target,
}

impl AsyncSend<Lane, Error> for Append {
    async fn send(&mut self, lane: &mut Lane, ticket: Ticket) -> Result<(), Error> {
        // Every lane has as many records as all lanes are asked to send.
        let made = lane.records.next().ok_or_else(|| Error::Make("too few records were made".to_owned()))?;
        self.target.single(&mut lane.connection, &made, Level::Integrated).await?;
        lane.waited.add(ticket.due.elapsed());
        Ok(())
    }
}

/// Open loop, one record a request, at half of what single requests reached.
pub async fn integrated(
    stage: &mut Stage,
    scale: &Scale,
    single: &[Window],
    figures: &mut Figures,
) -> Result<(), Error> {
    let most = median(single.iter().map(Window::per_second).collect());
    let pace = Pace::new(most / 2.0, scale.half_load);
    let (mut p50, mut p99, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let before = rounds(stage).await?;
    for _ in 0..scale.rounds {
        let (waited, generator) = half_load(stage, pace).await?;
        p50.push(waited.percentile(50.0).as_secs_f64());
        p99.push(waited.percentile(99.0).as_secs_f64());
        late.push(generator.percentile(99.0).as_secs_f64());
    }
    let after = rounds(stage).await?;
    let round = (after.entries - before.entries) / (after.rounds - before.rounds).max(1.0);
    let size = (round.round() as usize).max(1);
    let floor = tokio::task::block_in_place(|| floor(stage, size, scale))?;
    let (p50, p99) = (median(p50), median(p99));
    figures.set("integrated_p50_vs_floor", p50 / floor.as_secs_f64());
    figures.set("integrated_p99_vs_floor", p99 / floor.as_secs_f64());
    figures.count("integrated_rate_per_s", rounded(pace.rate));
    figures.count("integrated_p50_ms", rounded(p50 * 1e3));
    figures.count("integrated_p99_ms", rounded(p99 * 1e3));
    figures.count("integrated_round_entries", rounded(round));
    figures.count("integrated_generator_late_p99_ms", rounded(median(late) * 1e3));
    figures.count("floor_ms", rounded(floor.as_secs_f64() * 1e3));
    Ok(())
}

/// Gives the latencies, and how late the generator was.
async fn half_load(stage: &mut Stage, pace: Pace) -> Result<(Latencies, Latencies), Error> {
    // Free lanes take what is due: how many each will send is not known, so there is room for twice the mean, and what is
    // left over is sent afterwards.
    let count = usize::try_from(pace.count).unwrap_or(usize::MAX);
    let made = stage.make(2 * count + 8 * super::append::LANES)?;
    let lane = |made: Vec<Made>| Lane {
        connection: Connection::new(&stage.target.place),
        records: made.into_iter(),
        waited: Latencies::default(),
    };
    let lanes: Vec<Lane> = made.into_iter().map(lane).collect();
    let (lanes, paced) = drive(lanes, Tickets::due(pace), Append { target: stage.target.clone() }).await?;
    let mut waited = Latencies::default();
    for mut lane in lanes {
        waited.merge(&lane.waited);
        let left: Vec<Made> = lane.records.collect();
        for batch in left.chunks(512) {
            stage.target.batch(&mut lane.connection, batch, Level::Sequenced).await?;
        }
    }
    Ok((waited, paced.late))
}

/// What the log says of its rounds.
struct Rounds {
    rounds: f64,
    entries: f64,
}

async fn rounds(stage: &Stage) -> Result<Rounds, Error> {
    let text = Connection::new(&stage.target.place).get("/metrics").await?.body()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<f64>().ok())
            .ok_or_else(|| Error::System(format!("/metrics has no {name}")))
    };
    Ok(Rounds { rounds: of("solelog_round_entries_count")?, entries: of("solelog_round_entries_sum")? })
}

/// The least that a round of that size could take.
fn floor(stage: &Stage, size: usize, scale: &Scale) -> Result<Duration, Error> {
    let failed = |e: std::io::Error| Error::System(format!("the files of the floor: {e}"));
    let records = records(size)?;
    let jobs = jobs(&records)?;
    let engine = Engine::with_key_tables(Choice::Auto, 0).map_err(|e| Error::System(e.to_string()))?;
    let bytes: usize = records.iter().map(|(opening, _)| opening.len() + BESIDE).sum();
    let (keys, journal) = (file(stage, "floor-keys")?, file(stage, "floor-journal")?);
    let (keys_bytes, journal_bytes) = (vec![7; 32 * size], vec![7; bytes]);
    let mut took = Vec::new();
    for round in 0..scale.rounds * 20 {
        let began = Instant::now();
        if !engine.verify_batch(&jobs).iter().all(Result::is_ok) {
            return Err(Error::Wrong("the engine refuses a record that holds".to_owned()));
        }
        for (file, bytes) in [(&keys, &keys_bytes), (&journal, &journal_bytes)] {
            let at = round * bytes.len() % (ROOM - bytes.len()).max(1);
            file.write_all_at(bytes, at as u64).map_err(failed)?;
            file.sync_data().map_err(failed)?;
        }
        took.push(began.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(took)))
}

/// A file with room, beside the log's own.
fn file(stage: &Stage, name: &str) -> Result<File, Error> {
    let failed = |e: std::io::Error| Error::System(format!("{name}: {e}"));
    let path = stage.log.data.with_file_name(name);
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path).map_err(failed)?;
    file.write_all_at(&vec![0; ROOM], 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file)
}

/// What `witnessed` adds to `integrated`: one record at a time, the two levels in turn.
pub async fn witnessed(stage: &mut Stage, scale: &Scale, figures: &mut Figures) -> Result<(), Error> {
    let (mut added, mut all) = (Vec::new(), Vec::new());
    let mut connection = Connection::new(&stage.target.place);
    for round in 0..=scale.rounds {
        let made = stage.make(2 * scale.witnessed)?;
        let mut waited = [Latencies::default(), Latencies::default()];
        let made: Vec<Made> = made.into_iter().flatten().collect();
        for pair in made.chunks_exact(2) {
            for (made, (level, waited)) in
                pair.iter().zip([Level::Integrated, Level::Witnessed].into_iter().zip(&mut waited))
            {
                let began = Instant::now();
                stage.target.single(&mut connection, made, level).await?;
                waited.add(began.elapsed());
            }
        }
        // The first is for warming up.
        if round > 0 {
            let [integrated, witnessed] = waited.map(|waited| ms(waited.percentile(50.0)));
            added.push(witnessed - integrated);
            all.push(witnessed);
        }
    }
    figures.set("witnessed_added_ms_p50", median(added));
    figures.count("witnessed_p50_ms", rounded(median(all)));
    figures.count("witnesses", 3);
    Ok(())
}
