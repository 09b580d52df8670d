//! The log server.
