//! Decides everything about services and performs nothing.
//!
//! Events go in, actions come out; time is an argument. No clock, file, process, thread or lock is touched here:
//! the absences are held by `clippy.toml` and `tests/tidy.rs`.

pub mod backoff;
pub mod config;
pub mod names;
pub mod schedule;
pub mod spec;
pub mod time;
