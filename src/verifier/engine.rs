//! Which engine runs, and the one door to it.
//!
//! ```text
//! verify.engine = "auto"       the fastest that this processor has
//!                 "portable"   AWS-LC, on every processor
//!                 "vector"     eight lanes of AVX-512 IFMA, or no start
//! ```
//! An engine that does not pass its self-test is never used: where the vector engine does not, the portable one runs, and says
//! why. Vectors that the processor lacks are an error only for whoever asked for them by name.

use std::fmt;
use std::str::FromStr;

use scal3::batch::{Job, Verdict, VerifyBatch};
use scal3::point::{EncodingError, Point};

use crate::portable::Portable;
use crate::self_test::{self, WrongAnswer};
#[cfg(target_arch = "x86_64")]
use crate::vector::Vector;

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
    kind: Kind,
    fallback: Option<Fallback>,
}

/// Why the vector engine does not run although it was not ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// This processor cannot run it.
    #[error("this processor does not have {missing}")]
    Unsupported {
        /// The first feature that is missing.
        missing: &'static str,
    },
    /// It gave a wrong verdict. Nothing it says is to be believed, nor should this machine be.
    #[error("the vector engine failed its self-test: {0}")]
    SelfTest(#[from] WrongAnswer),
}

enum Kind {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Vector(Box<Vector>),
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
    pub fn with_key_tables(choice: Choice, keys: usize) -> Result<Engine, EngineError> {
        match choice {
            Choice::Portable => Engine::portable(None),
            Choice::Auto | Choice::Vector => Engine::choose(choice, vector(keys)),
        }
    }

    fn choose(choice: Choice, vector: Result<Kind, Fallback>) -> Result<Engine, EngineError> {
        match (vector, choice) {
            (Ok(kind), _) => Ok(Engine { kind, fallback: None }),
            (Err(Fallback::Unsupported { missing }), Choice::Vector) => Err(EngineError::Unsupported { missing }),
            (Err(reason), _) => Engine::portable(Some(reason)),
        }
    }

    fn portable(fallback: Option<Fallback>) -> Result<Engine, EngineError> {
        self_test::run(&Portable)?;
        Ok(Engine { kind: Kind::Portable(Portable), fallback })
    }

    /// The engine that runs, for the start-up line, `/v1/log` and the metric: `portable` or `vector`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Vector(_) => "vector",
        }
    }

    /// Reads many compressed points: for each what [`Point::from_bytes`] gives, which computes a square root for every one. The
    /// vector engine finds eight at a time, and the curve library checks them.
    pub fn points(&self, compressed: &[[u8; Point::LEN]]) -> Vec<Result<Point, EncodingError>> {
        let found = match &self.kind {
            Kind::Portable(_) => vec![None; compressed.len()],
            #[cfg(target_arch = "x86_64")]
            Kind::Vector(vector) => vector.points(compressed),
        };
        let read =
            |(found, bytes): (Option<Point>, &[u8; Point::LEN])| found.map_or_else(|| Point::from_bytes(bytes), Ok);
        found.into_iter().zip(compressed).map(read).collect()
    }

    /// Why the vector engine does not run although it was not ruled out. None when the engine that was asked for runs, or the
    /// vector engine.
    pub fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }
}

/// The vector engine, tested.
#[cfg(target_arch = "x86_64")]
fn vector(keys: usize) -> Result<Kind, Fallback> {
    let vector = Vector::new(keys).map_err(|missing| Fallback::Unsupported { missing })?;
    self_test::run(&vector)?;
    Ok(Kind::Vector(Box::new(vector)))
}

#[cfg(not(target_arch = "x86_64"))]
fn vector(_keys: usize) -> Result<Kind, Fallback> {
    Err(Fallback::Unsupported { missing: "AVX-512 IFMA" })
}

impl VerifyBatch for Engine {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        match &self.kind {
            Kind::Portable(portable) => portable.verify_batch(jobs),
            #[cfg(target_arch = "x86_64")]
            Kind::Vector(vector) => vector.verify_batch(jobs),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Vector(_) => "vector",
        })
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
    fn points_are_those_that_the_curve_library_reads() {
        use sha2::{Digest as _, Sha256};
        let prime = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
        let prime = scal3::Hash::from_hex(prime).expect("hex").0;
        let mut around = [prime; 4];
        around[0][31] -= 1;
        around[1][31] -= 2;
        around[2] = [0xff; 32];
        let drawn = (0..600u32).map(|i| <[u8; 32]>::from(Sha256::digest(i.to_be_bytes())));
        let mut compressed = Vec::new();
        for (at, x) in around.into_iter().chain([[0; 32]]).chain(drawn).enumerate() {
            for tag in if at % 7 == 0 { 0..6 } else { 2..4 } {
                let mut bytes = [tag; Point::LEN];
                bytes[1..].copy_from_slice(&x);
                compressed.push(bytes);
            }
        }
        let plain: Vec<_> = compressed.iter().map(Point::from_bytes).collect();
        let found = plain.iter().filter(|point| point.is_ok()).count();
        assert!((400..800).contains(&found), "{found} of {}", plain.len());
        for choice in [Choice::Auto, Choice::Portable] {
            let engine = Engine::new(choice).expect("an engine");
            for length in [0, 1, 8, 9, compressed.len()] {
                let read = engine.points(&compressed[..length]);
                assert_eq!(read, plain[..length], "{} of {length}", engine.name());
                let coordinates = |point: &Result<Point, _>| point.as_ref().ok().map(Point::coordinates);
                assert!(read.iter().map(coordinates).eq(plain[..length].iter().map(coordinates)));
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_vector_engine_finds_every_point_itself() {
        use sha2::{Digest as _, Sha256};
        let Ok(vector) = Vector::new(0) else { return };
        let drawn = (0..200u32).map(|i| <[u8; 32]>::from(Sha256::digest(i.to_be_bytes())));
        let compressed: Vec<[u8; Point::LEN]> = drawn
            .map(|x| {
                let mut bytes = [2 + (x[0] & 1); Point::LEN];
                bytes[1..].copy_from_slice(&x);
                bytes
            })
            .collect();
        let plain: Vec<_> = compressed.iter().map(|bytes| Point::from_bytes(bytes).ok()).collect();
        assert_eq!(vector.points(&compressed), plain);
    }

    #[test]
    fn a_vector_engine_that_errs_is_not_used_and_one_that_is_missing_is_an_error_where_it_was_named() {
        let missing = Fallback::Unsupported { missing: "AVX-512 IFMA" };
        let errs = Fallback::SelfTest(WrongAnswer { job: 7 });
        for (choice, vector) in [(Choice::Auto, missing), (Choice::Auto, errs), (Choice::Vector, errs)] {
            let engine = Engine::choose(choice, Err(vector)).expect("portable");
            assert_eq!((engine.name(), engine.fallback()), ("portable", Some(vector)));
        }
        let refused = Engine::choose(Choice::Vector, Err(missing)).expect_err("no engine");
        assert_eq!(refused, EngineError::Unsupported { missing: "AVX-512 IFMA" });
        let portable = Engine::new(Choice::Portable).expect("portable");
        assert_eq!((portable.name(), portable.fallback()), ("portable", None));
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [Choice::Auto, Choice::Portable, Choice::Vector] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("AUTO".parse::<Choice>(), Err(UnknownChoice));
    }
}
