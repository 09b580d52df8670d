//! Many people in lanes: a lane sends one request at a time, so that the records of a person arrive in their order.
//!
//! Making records is spread over all cores, ahead of the run. They stay in memory, about a kilobyte each, and can be sent for
//! [`crate::maker::USABLE_MS`].

use std::sync::Arc;

use scal3::Hash;
use tlog::TreeHead;

use crate::Error;
use crate::answers::{About, Judge, Level};
use crate::maker::{Made, Person, Provider, now_ms};
use crate::pairs::Pairs;
use crate::transport::{Body, Connection, Place};

/// Records in one request while a crowd is being enrolled.
const BATCH: usize = 64;

/// Requests at a time while a crowd is being enrolled.
const AT_ONCE: usize = 16;

/// People whose records one connection sends.
pub struct Lane {
    people: Vec<Person>,
    pairs: Pairs,
    turn: usize,
}

impl Lane {
    fn new(people: Vec<Person>) -> Result<Lane, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Make(format!("no randomness: {e}")))?;
        Ok(Lane { people, pairs: Pairs::from_seed(&seed), turn: 0 })
    }

    /// The next records: each person's in turn.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn make(&mut self, records: usize, seen: &TreeHead) -> Result<Vec<Made>, Error> {
        let now_ms = now_ms();
        let mut made = Vec::with_capacity(records);
        for _ in 0..records {
            let turn = self.turn % self.people.len().max(1);
            let person = self.people.get_mut(turn).ok_or_else(|| Error::Make("a lane without people".to_owned()))?;
            made.push(person.next(&mut self.pairs, seen, now_ms)?);
            self.turn += 1;
        }
        Ok(made)
    }
}

/// Everybody.
pub struct Crowd {
    /// The lanes.
    pub lanes: Vec<Lane>,
    /// A head that covers everybody's activation.
    pub seen: TreeHead,
}

/// Where a crowd is enrolled.
#[derive(Clone)]
pub struct Target {
    /// Where the log is.
    pub place: Place,
    /// Lets them append.
    pub token: Arc<str>,
    /// Judges the answers.
    pub judge: Arc<Judge>,
}

impl Target {
    /// Sends one record alone.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn single(&self, connection: &mut Connection, made: &Made, level: Level) -> Result<u64, Error> {
        let path = format!("/v1/records?until={}", level.as_str());
        let body = Body { token: &self.token, kind: "application/cbor", bytes: made.opening.clone().into() };
        self.judge.appended(&connection.post(&path, body).await?.body()?, Some(&made.commitment), level, false)
    }

    /// Sends one batch.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn batch(&self, connection: &mut Connection, made: &[Made], level: Level) -> Result<Vec<u64>, Error> {
        let (bytes, commitments) = sequence(made);
        let path = format!("/v1/records?until={}", level.as_str());
        let body = Body { token: &self.token, kind: "application/cbor-seq", bytes: bytes.into() };
        self.judge.batch(&connection.post(&path, body).await?.body()?, &commitments, level, false)
    }
}

/// Records as one body, and what their entries will commit to.
#[must_use]
pub fn sequence(made: &[Made]) -> (Vec<u8>, Vec<Hash>) {
    let bytes = made.iter().flat_map(|made| &made.opening).copied().collect();
    (bytes, made.iter().map(|made| made.commitment).collect())
}

impl Crowd {
    /// Enrols so many people, in so many lanes, and activates their credentials: three entries each.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn enrol(target: &Target, provider: &Provider, people: usize, lanes: usize) -> Result<Crowd, Error> {
        let lanes = lanes.clamp(1, people.max(1));
        let mut made = new_people(provider, people)?;
        let mut last = 0;
        let mut credentials: Vec<Vec<u8>> = made.iter_mut().map(|(_, credential)| std::mem::take(credential)).collect();
        let share = credentials.len().div_ceil(AT_ONCE).max(1);
        let mut tasks = tokio::task::JoinSet::new();
        while !credentials.is_empty() {
            let share = credentials.split_off(credentials.len().saturating_sub(share));
            tasks.spawn(issue(target.clone(), share));
        }
        while let Some(done) = tasks.join_next().await {
            last = last.max(done.map_err(|e| Error::Wrong(e.to_string()))??);
        }
        let seen = covering(target, last).await?;
        let mut rows: Vec<Vec<Person>> = (0..lanes).map(|_| Vec::new()).collect();
        for (at, (person, _)) in made.into_iter().enumerate() {
            rows[at % lanes].push(person);
        }
        let lanes = rows.into_iter().map(Lane::new).collect::<Result<_, _>>()?;
        let mut crowd = Crowd { lanes, seen };
        let last = crowd.activate(target).await?;
        crowd.seen = covering(target, last).await?;
        Ok(crowd)
    }

    /// Gives the highest place.
    async fn activate(&mut self, target: &Target) -> Result<u64, Error> {
        let mut last = 0;
        let mut connection = Connection::new(&target.place);
        for lane in &mut self.lanes {
            let activations = lane.make(lane.people.len(), &self.seen)?;
            for batch in activations.chunks(BATCH) {
                let places = target.batch(&mut connection, batch, Level::Sequenced).await?;
                last = places.into_iter().fold(last, u64::max);
            }
        }
        Ok(last)
    }

    /// So many records for every lane, made on all cores.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn make(&mut self, each: usize) -> Result<Vec<Vec<Made>>, Error> {
        let seen = self.seen;
        on_all_cores(&mut self.lanes, |lane| lane.make(each, &seen))
    }
}

/// Does the same for each, on all cores; results in their order.
fn on_all_cores<T: Send, R: Send>(
    items: &mut [T],
    work: impl Fn(&mut T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items
            .chunks_mut(share)
            .map(|share| scope.spawn(move || share.iter_mut().map(work).collect::<Result<Vec<R>, Error>>()))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| Error::Make("a thread died".to_owned()))??);
        }
        Ok(all)
    })
}

fn new_people(provider: &Provider, people: usize) -> Result<Vec<(Person, Vec<u8>)>, Error> {
    let now_ms = now_ms();
    on_all_cores(&mut vec![(); people], |()| Person::new(provider, now_ms))
}

/// Puts credentials into the log, one after another; gives the highest place.
async fn issue(target: Target, credentials: Vec<Vec<u8>>) -> Result<u64, Error> {
    let mut connection = Connection::new(&target.place);
    let mut last = 0;
    for credential in credentials {
        let body = Body { token: &target.token, kind: "application/cose", bytes: credential.into() };
        let answer = connection.post("/v1/credentials?until=sequenced", body).await?.body()?;
        last = last.max(target.judge.appended(&answer, None, Level::Sequenced, false)?);
    }
    Ok(last)
}

/// The newest signed head, once it covers that place.
async fn covering(target: &Target, index: u64) -> Result<TreeHead, Error> {
    let mut connection = Connection::new(&target.place);
    loop {
        let about = About::ask(&mut connection).await?;
        if about.integrated.size > index {
            return target.judge.head(&about.integrated.checkpoint, Level::Integrated);
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
