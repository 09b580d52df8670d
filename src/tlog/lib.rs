//! Transparency-log formats and decisions for any C2SP log, over public bytes.
