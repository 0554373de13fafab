//! The daemon from outside: the real program, real processes, a real socket, a folder of its own for each test.
//!
//! Nothing here sleeps and hopes: a test waits for a reply, an event or a condition, and [`harness::PATIENCE`] only
//! bounds how long a failure takes. When a test ends, no process of it may be left.

#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

mod bare;
mod client;
mod command_line;
mod essential;
mod exec;
mod groups;
mod harness;
mod hooks;
mod hostile;
mod http;
mod logs;
mod needing;
mod notify;
mod probes;
mod reap;
mod reload;
mod requests;
mod restart;
mod scarcity;
mod schedule;
mod shutdown;
mod socket;
mod spawn;
mod stop;
mod strays;
mod surroundings;
mod terminal;
mod usage;
mod watch;
