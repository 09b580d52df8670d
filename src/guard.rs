//! The rollback guard: before anything is signed after a start, is this disk the newest the world has seen?
//!
//! A restored backup, or a copied virtual machine, looks perfectly well from inside: the lock is free, the journal ends
//! cleanly, every hash is right. Only something outside the folder can tell. The witnesses can, because they keep the
//! newest head that they cosigned, with our signature on it. With n witnesses and a quorum of k it takes n − k + 1
//! answers: then the silent rest is too few to have made a quorum without us knowing. Without witnesses a high-water
//! file does it, on a path outside the folder, which the operator must not restore together with it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlog::checkpoint::Origin;
use tlog::note::Note;
use tlog::policy::Policy;
use tokio::task::JoinSet;

use crate::cosign::{Last, Witness};
use crate::history::History;
use crate::publisher::contradiction;
use crate::signers::Signers;

/// How long to wait before the silent witnesses are asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Why nothing may be signed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Someone holds our signature over a head that this disk does not continue.
    #[error(
        "{holder} holds a head that this log has signed and this disk does not continue: {what}. A backup was restored, or the folder was copied; signing would fork the log"
    )]
    RolledBack {
        /// Which witness, or which file.
        holder: String,
        /// What it holds, against what is here.
        what: String,
    },
    /// Too few witnesses have answered to know.
    #[error("too few witnesses answer to know whether a backup was restored; silent: {}", silent.join(", "))]
    TooFewAnswers {
        /// Who did not answer, and why.
        silent: Vec<String>,
    },
    /// The high-water file can't be used.
    #[error("the high-water file {}: {what}", path.display())]
    HighWater {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Asks every witness what it last cosigned, until enough have answered.
///
/// The sizes they name are remembered for the first cosignatures.
pub async fn ask_witnesses(
    policy: &Policy,
    witnesses: Vec<Witness>,
    history: &History,
    origin: &Origin,
    signers: &Arc<Signers>,
    patience: Duration,
    published: Option<&Note>,
) -> Result<Vec<Witness>, GuardError> {
    // Its cosignature is on our checkpoint, so "never seen" cannot be its answer: it is some other page's.
    let has_cosigned = |name: &str| {
        let key = policy.witnesses().iter().find(|w| w.name == name).map(|w| &w.vkey);
        key.is_some_and(|key| published.is_some_and(|note| note.signatures().iter().any(|line| key.matches(line))))
    };
    let began = Instant::now();
    let mut answered: Vec<Witness> = Vec::new();
    let mut silent = witnesses;
    loop {
        let mut asking = JoinSet::new();
        for witness in silent.drain(..) {
            let (origin, signers) = (origin.clone(), Arc::clone(signers));
            asking.spawn(async move {
                let last = witness.last(&origin, &signers).await;
                (witness, last)
            });
        }
        let mut reasons = Vec::new();
        while let Some(asked) = asking.join_next().await {
            let Ok((mut witness, last)) = asked else { continue };
            match last {
                Ok(Last::Nothing) if has_cosigned(witness.name()) => {
                    reasons.push(format!("{} (it has cosigned our checkpoint, and shows none)", witness.name()));
                    silent.push(witness);
                }
                Ok(last) => {
                    if let Some(what) = contradiction(&last, history) {
                        return Err(GuardError::RolledBack { holder: format!("the witness {}", witness.name()), what });
                    }
                    if let Last::Head(head) = last {
                        witness.knows(head.size);
                    }
                    answered.push(witness);
                }
                Err(why) => {
                    tracing::warn!(witness = witness.name(), why, "no answer to the rollback guard");
                    reasons.push(format!("{} ({why})", witness.name()));
                    silent.push(witness);
                }
            }
        }
        // The silent ones alone could not have made a quorum, so whatever one has seen, someone who answered has too.
        if !policy.quorum_met(&|name| !answered.iter().any(|w| w.name() == name)) {
            answered.append(&mut silent);
            return Ok(answered);
        }
        if began.elapsed() >= patience {
            return Err(GuardError::TooFewAnswers { silent: reasons });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether a file lies in a folder, by whatever way: links are followed, and what is not there yet is judged by what is.
pub fn lies_in(file: &Path, folder: &Path) -> bool {
    real(file).starts_with(real(folder))
}

/// Where a path leads. Of a path whose end is not there yet, the part that is there is resolved.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in absolute.ancestors() {
        let Ok(mut real) = there.canonicalize() else { continue };
        for part in absolute.strip_prefix(there).into_iter().flat_map(Path::components) {
            match part {
                Component::ParentDir => real.pop(),
                part => {
                    real.push(part);
                    true
                }
            };
        }
        return real;
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_does_not_hide_that_the_file_lies_in_the_folder() {
        let temp = tempfile::tempdir().expect("folder");
        let at = |name: &str| temp.path().join(name);
        std::fs::create_dir_all(at("data/log")).expect("folder");
        std::fs::create_dir(at("other")).expect("folder");
        std::os::unix::fs::symlink(at("data"), at("link")).expect("link");
        std::os::unix::fs::symlink(at("other"), at("data/out")).expect("link");
        for (file, folder, lies) in [
            ("data/hw", "data", true),
            ("data/later/hw", "data", true),
            ("link/log/hw", "data", true),
            ("data/hw", "link", true),
            ("other/../data/hw", "data", true),
            ("later/../data/hw", "data", true),
            ("hw", "data", false),
            ("data-2/hw", "data", false),
            ("data/../hw", "data", false),
            ("data/out/hw", "data", false),
            ("link/../hw", "data", false),
            ("later/hw", "later", true),
        ] {
            assert_eq!(lies_in(&at(file), &at(folder)), lies, "{file} in {folder}");
        }
    }
}
