//! What a service is meant to be: validated, complete, with every default filled in.
//!
//! The only way in: a service from the configuration file and one from `ppm add` pass the same checks here.
//! A `ServiceSpec` that exists is right.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_protocol::Signal;

use crate::schedule::Schedule;

/// The settings that are not of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How old a resource sample may be to serve as the base of a rate.
    pub stats_interval: Duration,
    /// First restart delay of services that do not say their own.
    pub restart_interval: Duration,
    /// At the latest then a step of the wall clock is noticed; zero: never by this.
    pub clock_check_interval: Duration,
    /// How long the whole shutdown may take.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            stats_interval: Duration::from_secs(10),
            restart_interval: Duration::from_secs(1),
            clock_check_interval: Duration::from_secs(3600),
            shutdown_timeout: Duration::from_secs(9),
        }
    }
}

/// A service as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Unique: letters, digits, `.`, `_`, `-`, `@`; not only digits.
    pub name: String,
    /// Asked for explicitly; None: the next free number.
    pub id: Option<u32>,
    /// What to execute.
    pub command: Command,
    /// Whether it starts (or, with a schedule, is planned) with the daemon.
    pub autostart: bool,
    /// When it starts again by itself.
    pub restart: RestartPolicy,
    /// Exit codes that mean a good end.
    pub success_exit_codes: Vec<i32>,
    /// How it is ended.
    pub stop: StopPolicy,
    /// When it starts by the wall clock.
    pub schedule: Option<Schedule>,
    /// Where it comes from, for people: `file:line`, or `ppm add`.
    pub source: String,
}

/// What to execute. Nothing in it is expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program: a path, or a name to be looked up in the service's PATH.
    pub path: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// The folder to run in, absolute; None: the daemon's own.
    pub workdir: Option<String>,
    /// Added to the daemon's environment.
    pub env: BTreeMap<String, String>,
}

/// Which ends are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// None.
    Never,
    /// The bad ones.
    OnFailure,
    /// All.
    Always,
}

/// When and how fast a service is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends.
    pub when: RestartWhen,
    /// The first delay.
    pub interval: Duration,
    /// The longest delay.
    pub max_interval: Duration,
    /// How much a delay may be lengthened by chance, 0 to 100.
    pub jitter_percent: u8,
    /// Give up when this many consecutive restarts have crashed; zero: never.
    pub max_retries: u32,
    /// A run longer than this makes earlier crashes forgotten.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            when: RestartWhen::OnFailure,
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(300),
            jitter_percent: 0,
            max_retries: 0,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// How a service is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopPolicy {
    /// The polite signal.
    pub signal: Signal,
    /// How long after it SIGKILL follows.
    pub timeout: Duration,
    /// Whether the polite signal goes to the whole process group or to the main process alone.
    pub reach: Reach,
}

impl Default for StopPolicy {
    fn default() -> Self {
        StopPolicy { signal: Signal::TERM, timeout: Duration::from_secs(5), reach: Reach::Group }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The main process alone.
    Leader,
    /// Its whole process group.
    Group,
}
