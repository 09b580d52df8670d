//! A monitor that re-checks a solelog.
