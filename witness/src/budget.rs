//! What a log may ask for in a day.
//!
//! Days are those of UTC. Only what the log alone can cause is counted, a new head that it has
//! signed: were replays of its public checkpoint counted too, anybody could use up its day.

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What was spent today.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Budget {
    day: u64,
    spent: u32,
}

impl Budget {
    /// Spends one of `limit` at `now`, or says how many seconds there are until there are more.
    pub(crate) fn spend(&mut self, limit: u32, now: u64) -> Result<(), u64> {
        let day = now / DAY;
        // A clock that was set back does not give the day again.
        if day > self.day {
            *self = Budget { day, spent: 0 };
        }
        if self.spent >= limit {
            return Err((self.day + 1).saturating_mul(DAY).saturating_sub(now).max(1));
        }
        self.spent += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_limit_and_the_next_one_has_its_own() {
        let mut budget = Budget::default();
        let noon = 5 * DAY + DAY / 2;
        assert_eq!(budget.spend(2, noon), Ok(()));
        assert_eq!(budget.spend(2, noon + 1), Ok(()));
        assert_eq!(budget.spend(2, noon + 2), Err(DAY / 2 - 2));
        assert_eq!(budget.spend(2, 4 * DAY), Err(2 * DAY));
        assert_eq!(budget.spend(2, 6 * DAY), Ok(()));
        assert_eq!(budget.spend(0, 6 * DAY), Err(DAY));
    }
}
