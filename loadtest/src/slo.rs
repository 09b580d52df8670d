//! Objectives: what a run must come to, for its exit code.
//!
//! ```text
//! p99(witnessed)<2s        p50(acknowledged)<=5ms        max(tile)<1s        mean(proof)<800us
//! errors<=0                rate>1000                     answers that said no; requests answered in a second
//! ```

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::outcome::{Kind, Outcome};

/// One objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    what: What,
    relation: Relation,
    bound: f64,
    text: String,
}

/// What is bounded: seconds, or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Percentile(f64, Kind),
    Max(Kind),
    Mean(Kind),
    Errors,
    Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Why a text is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SloError {
    /// There is no relation in it.
    #[error("an objective has one of <, <=, >, >=, as in p99(witnessed)<2s")]
    Relation,
    /// What stands before the relation.
    #[error("{0:?} is none of pNN(KIND), max(KIND), mean(KIND), errors, rate")]
    What(String),
    /// What stands in the brackets.
    #[error("{0:?} is none of acknowledged, integrated, witnessed, receipt, proof, tile")]
    Kind(String),
    /// What stands behind the relation.
    #[error("{0:?} is no duration, as 2s, 1.5ms, 800us, or no number where none of time is asked for")]
    Bound(String),
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Slo, SloError> {
        let at = text.find(['<', '>']).ok_or(SloError::Relation)?;
        let (what, rest) = text.split_at(at);
        let (relation, bound) =
            [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Less), (">", Relation::More)]
                .into_iter()
                .find_map(|(sign, relation)| Some((relation, rest.strip_prefix(sign)?)))
                .ok_or(SloError::Relation)?;
        let what = What::parse(what.trim())?;
        let bound = bound.trim();
        let value = match what {
            What::Errors | What::Rate => bound.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0),
            _ => duration(bound).map(|duration| duration.as_secs_f64()),
        };
        let bound = value.ok_or_else(|| SloError::Bound(bound.to_owned()))?;
        Ok(Slo { what, relation, bound, text: text.trim().to_owned() })
    }
}

impl What {
    fn parse(text: &str) -> Result<What, SloError> {
        let wrong = || SloError::What(text.to_owned());
        match text {
            "errors" => return Ok(What::Errors),
            "rate" => return Ok(What::Rate),
            _ => {}
        }
        let (measure, kind) = text.strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(wrong)?;
        let kind = kind.trim();
        let kind = Kind::from_name(kind).ok_or_else(|| SloError::Kind(kind.to_owned()))?;
        match measure.trim() {
            "max" => Ok(What::Max(kind)),
            "mean" => Ok(What::Mean(kind)),
            percentile => {
                let percent = percentile.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(wrong)?;
                Ok(What::Percentile(percent, kind))
            }
        }
    }
}

/// A number with its unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * scale).ok()
}

impl Slo {
    /// Whether a run meets it, and what was found: nothing where the run had no such request, which does not meet it.
    #[must_use]
    pub fn met(&self, outcome: &Outcome) -> (bool, Option<f64>) {
        let of = |kind: Kind| outcome.latencies.get(&kind).filter(|latencies| latencies.count() > 0);
        let found = match self.what {
            What::Percentile(percent, kind) => of(kind).map(|l| l.percentile(percent).as_secs_f64()),
            What::Max(kind) => of(kind).map(|l| l.max().as_secs_f64()),
            What::Mean(kind) => of(kind).map(|l| l.mean().as_secs_f64()),
            What::Errors => Some(outcome.errors as f64),
            What::Rate => Some(outcome.per_second()),
        };
        let met = found.is_some_and(|found| match self.relation {
            Relation::Less => found < self.bound,
            Relation::AtMost => found <= self.bound,
            Relation::More => found > self.bound,
            Relation::AtLeast => found >= self.bound,
        });
        (met, found)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for Slo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Slo, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn outcome() -> Outcome {
        let mut waited = Latencies::default();
        (1..=100).for_each(|number| waited.add(Duration::from_millis(number)));
        let mut outcome = Outcome { seconds: 2.0, requests: 100, errors: 1, ..Outcome::default() };
        outcome.latencies.insert(Kind::Witnessed, waited);
        outcome
    }

    #[test]
    fn objectives_are_met_or_not() {
        let outcome = outcome();
        for met in [
            "p99(witnessed)<100ms",
            "p50(witnessed) <= 0.051s",
            "max(witnessed)<1min",
            "mean(witnessed)>=50000us",
            "errors<=1",
            "rate>49",
            "p99.9(witnessed)>99ms",
        ] {
            assert!(slo(met).met(&outcome).0, "{met}: {:?}", slo(met).met(&outcome));
        }
        for missed in ["p99(witnessed)<99ms", "errors<1", "rate>=51", "max(witnessed)<=99ms"] {
            assert!(!slo(missed).met(&outcome).0, "{missed}");
        }
    }

    #[test]
    fn an_objective_about_nothing_is_not_met() {
        assert_eq!(slo("p99(tile)<1min").met(&outcome()), (false, None));
    }

    #[test]
    fn what_is_no_objective_is_said() {
        let refused = |text: &str| text.parse::<Slo>().expect_err(text);
        assert_eq!(refused("p99(witnessed)"), SloError::Relation);
        assert_eq!(refused("p99(witnessed)=2s"), SloError::Relation);
        assert_eq!(refused("p101(witnessed)<2s"), SloError::What("p101(witnessed)".into()));
        assert_eq!(refused("p99<2s"), SloError::What("p99".into()));
        assert_eq!(refused("p99(published)<2s"), SloError::Kind("published".into()));
        for bound in ["", "2", "2h", "s", "-1s", "1e400s", "NaNs"] {
            assert_eq!(refused(&format!("p99(witnessed)<{bound}")), SloError::Bound(bound.into()));
        }
        assert_eq!(refused("errors<=5ms"), SloError::Bound("5ms".into()));
    }
}
