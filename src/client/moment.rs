//! Moments as people and other programs write them, in UTC.

/// A moment in UTC, by the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// Seconds since midnight.
    pub second_of_day: u64,
}

impl Utc {
    /// The moment that many milliseconds after 1970 began.
    #[must_use]
    pub fn of(time_ms: u64) -> Utc {
        let seconds = time_ms / 1000;
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        // A year that begins in March ends with the day that leap years add.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Utc { year: era * 400 + year_of_era + u64::from(month <= 2), month, day, second_of_day }
    }

    /// The day: `2026-11-21`.
    #[must_use]
    pub fn day(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The time of the day: `12:00:05`.
    #[must_use]
    pub fn time(&self) -> String {
        let second = self.second_of_day;
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

/// A moment as RFC 3339 writes it, to the second: `2026-11-21T12:00:05Z`.
#[must_use]
pub fn rfc3339(time_ms: u64) -> String {
    let utc = Utc::of(time_ms);
    format!("{}T{}Z", utc.day(), utc.time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_795_256_279, "2026-11-21T10:17:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1000 + 7), text);
        }
    }
}
