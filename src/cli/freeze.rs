//! `solelog freeze`: the end of a log. Its last entry says so, and its final head covers that entry.

use clap::Args;
use scal3::Hash;
use scal3::key_change::{KeyChange, Role, SignedKey, change_hash};
use serde_json::json;

use super::config::check;
use super::serve::engine_config;
use super::{Exit, Failure, Output, Which, path_value, runtime};
use crate::engine::Engine;
use crate::progress::State;
use crate::signers::Signers;
use crate::submission::{Reached, Submission, Until};

/// End a log for good. It must not be running; it can be served afterwards, and takes nothing any more.
#[derive(Debug, Args)]
pub struct Freeze {
    /// Which log.
    #[command(flatten)]
    which: Which,
    /// The origin of the log, to say that you mean it.
    #[arg(long, value_name = "ORIGIN")]
    confirm: String,
}

impl Freeze {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let config = self.which.load()?.config;
        if self.confirm != config.origin {
            return Err(Failure::new(Exit::Usage, format!("this log is {}, not {}", config.origin, self.confirm))
                .next(format!("nothing takes a freeze back. If you mean it: --confirm {}", config.origin)));
        }
        let (engine_config, _) = engine_config(&config, check(&config)?);
        let quorum = engine_config.asks_for_quorum();
        let until = if quorum { Until::Witnessed } else { Until::Integrated };
        let change = change(&engine_config.signers, &config.origin);
        let checkpoint = config.log_dir().join("checkpoint");
        runtime()?.block_on(async {
            let engine = Engine::open(engine_config).await?;
            let appended = engine.append(Submission::KeyChange(Box::new(change)), until).await;
            if let (Ok(appended), false) = (&appended, quorum) {
                // It is published right behind the answer, or the log has died.
                let covers = |state: &State| state.fault.is_some() || state.heads.publishes(appended.index).is_some();
                let _ = engine.subscribe().wait_for(covers).await;
            }
            let published = engine.checkpoint();
            engine.shutdown().await;
            let appended = appended.map_err(|e| {
                Failure::new(Exit::Failed, format!("no final head: {e}"))
                    .next("run it again: it goes on where it was")
            })?;
            if quorum && !matches!(appended.reached, Reached::Witnessed(_)) {
                let fault = format!("entry {} is the last, and its head has no quorum of witnesses yet", appended.index.get());
                return Err(Failure::new(Exit::Failed, fault)
                    .next("bring the witnesses back, and run it again: it goes on where it was"));
            }
            let (index, note) = (appended.index.get(), published.map(|note| String::from_utf8_lossy(&note).into_owned()));
            out.say(
                format!(
                    "{} is frozen: entry {index} is its last\n  final checkpoint  {}\n  next: tell its monitors. Keep serving it; or solelog export it, and destroy its keys",
                    config.origin,
                    checkpoint.display()
                ),
                json!({ "origin": config.origin, "index": index, "existing": appended.existing, "file": path_value(&checkpoint), "checkpoint": note }),
            )
        })
    }
}

/// The log's key goes, and none comes.
fn change(signers: &Signers, origin: &str) -> KeyChange {
    let old = signers.vkey().public_key();
    let Hash(signed) = change_hash(origin, Role::Log, Some(old), &[]);
    KeyChange {
        role: Role::Log,
        old: Some(SignedKey { key: old.to_vec(), signature: signers.sign_other(&signed).to_vec() }),
        new: SignedKey { key: Vec::new(), signature: Vec::new() },
    }
}
