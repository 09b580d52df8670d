//! Records made a little ahead of when they are sent, on a thread of their own: enough that nobody waits, few enough that
//! none gets too old to be taken.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::Error;
use crate::crowd::{Crowd, Lane};
use crate::maker::Made;

/// Records made for one lane before the next one's turn.
const PORTION: usize = 32;

/// The records of one lane, in their order.
pub struct Stock {
    records: Receiver<Made>,
    starved: u64,
}

impl Stock {
    /// The next record.
    ///
    /// # Errors
    /// [`Error::Make`] if the maker has stopped.
    pub async fn take(&mut self) -> Result<Made, Error> {
        if let Ok(made) = self.records.try_recv() {
            return Ok(made);
        }
        self.starved += 1;
        self.records.recv().await.ok_or_else(|| Error::Make("the maker of records has stopped".to_owned()))
    }

    /// How often a record was not ready.
    #[must_use]
    pub fn starved(&self) -> u64 {
        self.starved
    }
}

/// Starts a thread that makes records for all lanes, so many ahead for each, until their stocks are dropped. Gives the
/// stocks when they are full.
#[must_use]
pub fn fill(crowd: Crowd, ahead: usize) -> Vec<Stock> {
    let Crowd { lanes, seen } = crowd;
    let (mut makers, mut stocks): (Vec<(Lane, Sender<Made>)>, Vec<Stock>) = lanes
        .into_iter()
        .map(|lane| {
            let (sender, records) = channel(ahead.max(1));
            ((lane, sender), Stock { records, starved: 0 })
        })
        .unzip();
    let (full, filled) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut full = Some(full);
        while !makers.is_empty() {
            let mut idle = true;
            makers.retain_mut(|(lane, sender)| {
                let room = sender.capacity().min(PORTION);
                if room == 0 || sender.is_closed() {
                    return !sender.is_closed();
                }
                idle = false;
                match lane.make(room, &seen) {
                    Ok(made) => made.into_iter().all(|made| sender.try_send(made).is_ok()),
                    // The lane ends, and whoever sends for it is told.
                    Err(_) => false,
                }
            });
            if idle {
                drop(full.take());
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    // It ends when everything is full for the first time.
    let _ = tokio::task::block_in_place(|| filled.recv() as Result<(), _>);
    stocks.shrink_to_fit();
    stocks
}
