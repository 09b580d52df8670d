//! `solelog rebuild`: the key-value view, made again from what is true. Nothing else changes, and nothing is signed.

use clap::Args;
use serde_json::json;

use super::config::check;
use super::serve::engine_config;
use super::{Failure, Output, Which};
use crate::recovery;

/// Throw the key-value view away and build it again.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Which log. It must not be running.
    #[command(flatten)]
    which: Which,
}

impl Rebuild {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let config = self.which.load()?.config;
        let (engine, _) = engine_config(&config, check(&config)?);
        let bar = out.bar(0, "entries");
        let head = recovery::rebuild(&engine, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        out.say(
            format!("the view has {} entries again", head.size),
            json!({ "size": head.size.get(), "root": head.root.to_base64() }),
        )
    }
}
