//! Named histories under a clock of our own: what a service does when, and what its users are told.
//!
//! Each story proves a rule; those of the numbered requirements carry their number.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected is a failure")]

mod ask;
mod story;

mod command_line;
mod commands;
mod essential;
mod events;
mod hooks;
mod leftovers;
mod logging;
mod looking;
mod memory;
mod needing;
mod pausing;
mod planning;
mod probing;
mod reload;
mod requests;
mod restarting;
mod scheduling;
mod shutdown;
mod starting;
mod stats;
mod stopping;
mod strays;
mod waiting;
mod watching;
mod why;
