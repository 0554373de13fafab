//! Decides everything about services and performs nothing.
//!
//! Events go in, actions come out; time is an argument. No clock, file, process, thread or lock is touched here:
//! the absences are held by `clippy.toml` and `tests/tidy.rs`.

#![warn(clippy::wildcard_enum_match_arm)] // a new state or input must be answered everywhere

pub mod account;
pub mod advice;
pub mod answer;
mod attached;
pub mod attributes;
pub mod backoff;
pub mod chance;
pub mod config;
pub mod dependencies;
pub mod diff;
pub mod environment;
pub mod event;
mod farewell;
pub mod flood;
pub mod gather;
mod guests;
mod history;
pub mod hook;
pub mod http;
pub mod journal;
pub mod kin;
pub mod last_words;
pub mod ledger;
pub mod line_pattern;
pub mod listen;
pub mod listening;
pub mod logging;
pub mod max_memory;
pub mod names;
pub mod notification;
pub mod oom;
pub mod planning;
pub mod probe;
pub mod reload;
pub mod report;
mod requests;
pub mod rotate;
pub mod runs;
mod sampling;
pub mod schedule;
pub mod service;
pub mod size;
pub mod spec;
pub mod supervisor;
pub mod tally;
pub mod target;
pub mod time;
pub mod usage;
mod waiting;
pub mod watch;
mod welcome;
pub mod zone;
