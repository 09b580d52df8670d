//! A witness for any C2SP log.
