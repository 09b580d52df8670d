//! Watching: round after round, and nobody left untold.
//!
//! ```text
//! look ── findings ──▶ outbox ── delivered ──▶ settle: the cursor moves
//!                        └── not delivered ──▶ it stays, and the next round tells again
//! ```
//! What lasts is told once. What is tampering stays told; everything else is told anew when it comes back after it was
//! gone. Trouble of servers, networks and disks is told only when it lasts for some rounds: it says nothing about the log.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::Monitor;
use crate::alert::{self, Channels};
use crate::canary::Canary;
use crate::report::{Class, Finding, Report, What};

/// How to watch.
#[derive(Debug, Default)]
pub struct Watching {
    /// Who is told.
    pub channels: Channels,
    /// A record of our own, and when it has to appear.
    pub canary: Option<Canary>,
    /// In how many rounds in a row something could not be checked before that is told; at least 1.
    pub infrastructure_after: u32,
}

/// A monitor that tells.
#[derive(Debug)]
pub struct Watch {
    monitor: Monitor,
    watching: Watching,
    /// How many rounds in a row could not check something.
    troubled: u32,
}

impl Watch {
    /// Watches a log.
    #[must_use]
    pub fn new(monitor: Monitor, watching: Watching) -> Watch {
        Watch { monitor, watching, troubled: 0 }
    }

    /// The monitor.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// How many alerts wait for somebody to take them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.monitor.kept.outbox.len()
    }

    /// Looks once, tells what is new, and accepts what was read if everybody was told.
    pub async fn round(&mut self) -> Report {
        let mut report = self.monitor.look().await;
        if let Some(canary) = &mut self.watching.canary {
            canary.check(&mut report).await;
        }
        self.collect(&report);
        self.monitor.save(&mut report);
        match self.deliver().await {
            Ok(()) => self.monitor.settle(&mut report),
            Err(error) => report.add(What::Alert(error)),
        }
        report
    }

    /// Puts what is new into the outbox.
    fn collect(&mut self, report: &Report) {
        let trouble = report.of(Class::Infrastructure).next().is_some();
        self.troubled = if trouble { self.troubled.saturating_add(1) } else { 0 };
        // What nobody could be told stays to be told.
        if self.watching.channels.is_empty() {
            return;
        }
        let lasts = self.troubled >= self.watching.infrastructure_after.max(1);
        let tell = |finding: &&Finding| match finding.class {
            Class::Ok => false,
            Class::Infrastructure => lasts,
            Class::Suspicious | Class::Tamper => true,
        };
        let told: Vec<(String, &Finding)> = (report.findings.iter().filter(tell))
            .map(|finding| (format!("{} {}", finding.class, alert::key(&finding.what)), finding))
            .collect();
        let kept = &mut self.monitor.kept;
        for (key, finding) in &told {
            if kept.open.insert(key.clone()) {
                alert::put(&mut kept.outbox, alert::about(report, &finding.what, finding.class));
            }
        }
        // A round that did not get to the end has not seen that anything is over.
        let complete = report.findings.iter().any(|finding| matches!(finding.what, What::Rebuilt { .. }));
        if complete {
            let now: BTreeSet<&String> = told.iter().map(|(key, _)| key).collect();
            let tamper = format!("{} ", Class::Tamper);
            kept.open.retain(|key| key.starts_with(&tamper) || now.contains(key));
        }
    }

    /// Delivers what waits, in its order.
    async fn deliver(&mut self) -> Result<(), alert::AlertError> {
        while let Some(alert) = self.monitor.kept.outbox.first().cloned() {
            self.watching.channels.deliver(&alert).await?;
            self.monitor.kept.outbox.remove(0);
            // So that a crash repeats one alert at most. Where the disk says no, the round's report has said so.
            let _ = self.monitor.folder.as_ref().map(|folder| folder.save(&self.monitor.kept));
        }
        Ok(())
    }
}

/// The time until the next round: a quarter more or less, so that many monitors do not come at once.
#[must_use]
pub fn jittered(interval: Duration) -> Duration {
    // Keyed by the system, anew each time.
    let dice = RandomState::new().hash_one(interval);
    let share = f64::from((dice >> 32) as u32) / f64::from(u32::MAX);
    interval.mul_f64(0.75 + share / 2.0)
}
