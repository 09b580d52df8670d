//! Which engine runs, and the one door to it.
//!
//! ```text
//! verify.engine = "auto"       the fastest that this processor has
//!                 "portable"   AWS-LC, on every processor
//!                 "vector"     eight lanes of AVX-512 IFMA, or no start
//! ```
//! An engine that does not pass its self-test is never used.

use std::fmt;
use std::str::FromStr;

use scal3::batch::{Job, Verdict, VerifyBatch};

use crate::portable::Portable;
use crate::self_test::{self, WrongAnswer};

/// Which engine is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// AWS-LC, on every processor.
    Portable,
    /// Eight lanes of AVX-512 IFMA, or an error where the processor has none.
    Vector,
}

/// A name that no engine has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no engine of this name: auto, portable or vector")]
pub struct UnknownChoice;

/// Why there is no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The vector engine was asked for, and this processor cannot run it.
    #[error("the vector engine needs {missing}, which this processor does not have")]
    Unsupported {
        /// The first feature that is missing.
        missing: &'static str,
    },
    /// Even the portable engine gave a wrong verdict: program or machine is broken.
    #[error("the portable engine failed its self-test: {0}")]
    SelfTest(#[from] WrongAnswer),
}

/// How many keys have a table unless somebody says otherwise.
pub const KEY_TABLES: usize = 2048;

/// A chosen engine that has passed its self-test. It is shared by reference between threads.
#[derive(Debug)]
pub struct Engine {
    portable: Portable,
}

impl Engine {
    /// Chooses an engine and tests it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn new(choice: Choice) -> Result<Engine, EngineError> {
        Engine::with_key_tables(choice, KEY_TABLES)
    }

    /// Chooses an engine that keeps tables for at most so many keys (with 0, for none), and tests it. Only the vector engine
    /// keeps any.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn with_key_tables(choice: Choice, _keys: usize) -> Result<Engine, EngineError> {
        if choice == Choice::Vector {
            return Err(EngineError::Unsupported { missing: "an engine that this version has" });
        }
        self_test::run(&Portable)?;
        Ok(Engine { portable: Portable })
    }

    /// The engine that runs, for the start-up line, `/v1/log` and the metric: `portable` or `vector`.
    pub fn name(&self) -> &'static str {
        "portable"
    }

    /// Why the vector engine does not run although it was not ruled out: the processor lacks it, or it failed its
    /// self-test. None when the engine that was asked for runs.
    pub fn fallback(&self) -> Option<&'static str> {
        None
    }
}

impl VerifyBatch for Engine {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        self.portable.verify_batch(jobs)
    }
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Choice, UnknownChoice> {
        match text {
            "auto" => Ok(Choice::Auto),
            "portable" => Ok(Choice::Portable),
            "vector" => Ok(Choice::Vector),
            _ => Err(UnknownChoice),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Auto => "auto",
            Choice::Portable => "portable",
            Choice::Vector => "vector",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Engine>();
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [Choice::Auto, Choice::Portable, Choice::Vector] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("AUTO".parse::<Choice>(), Err(UnknownChoice));
    }
}
