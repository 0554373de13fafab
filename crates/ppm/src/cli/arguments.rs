//! The arguments of each command, and how their values are read.
//!
//! What is wrong with a value is told in two lines: what it is not, and what to write instead ([`super::usage`]
//! shows the second as a hint).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use ppm_protocol::Signal;
use regex_lite::Regex;

use ppm_core::target::Target;

use crate::completion::Shell;
use crate::export::{self, Format, Layout};
use crate::import::Dialect;
use crate::probe;

/// `ppm daemon`.
#[derive(Args, Debug)]
pub struct Daemon {
    /// The configuration file, which must exist [env: PPM_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A program and its arguments: the service 'main', with whose end the daemon ends
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Services to show.
#[derive(Args, Debug)]
pub struct Shown {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// `ppm stats`.
#[derive(Args, Clone, Debug)]
pub struct Stats {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show it again and again, until interrupted; without PSS, which is costly to read
    #[arg(short, long)]
    pub follow: bool,
    /// How often, with --follow
    #[arg(long, value_name = "TIME", value_parser = pause, default_value = "10s")]
    pub interval: Duration,
    /// Those that use most of it first
    #[arg(long, value_name = "WHAT", value_enum)]
    pub sort: Option<Most>,
    /// What they have used over the last hour, as far as somebody had it read
    #[arg(long, conflicts_with_all = ["follow", "interval", "sort"])]
    pub history: bool,
}

/// `ppm top`.
#[derive(Args, Debug)]
pub struct Top {
    /// How often the daemon is asked
    #[arg(long, value_name = "TIME", value_parser = pause, default_value = "2s")]
    pub interval: Duration,
}

/// What services use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Most {
    /// Processor
    Cpu,
    /// Resident memory
    Memory,
    /// Reading from and writing to storage
    Io,
}

/// Services to change.
#[derive(Args, Debug)]
pub struct Changing {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
    /// Return at once instead of when it is done
    #[arg(long)]
    pub no_wait: bool,
}

/// `ppm restart`.
#[derive(Args, Debug)]
pub struct Restarting {
    #[command(flatten)]
    pub changing: Changing,
    /// One after the other: the next only when the one before is ready; stops at the first that fails
    #[arg(long, conflicts_with = "no_wait")]
    pub rolling: bool,
}

/// Services that must be named.
#[derive(Args, Debug)]
pub struct Named {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
}

/// `ppm signal`.
#[derive(Args, Debug)]
pub struct SignalTo {
    /// The signal: HUP, SIGHUP or 1
    #[arg(value_name = "SIGNAL", value_parser = signal)]
    pub signal: Signal,
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
}

/// `ppm add`.
#[derive(Args, Debug)]
pub struct Add {
    /// Its name: letters, digits and . _ - @
    #[arg(long)]
    pub name: String,
    /// An environment variable of its own; may be given again
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// When to run it: cron fields, '@daily' and the like, '@every 90s' (see 'ppm cron')
    #[arg(long, value_name = "CRON")]
    pub schedule: Option<String>,
    /// A service that must be there before it starts: 'db', or 'db:ready', 'db:finished'; may be given again
    #[arg(long, value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
    pub depends_on: Vec<String>,
    /// A file or folder whose changes restart it, relative to the current one; may be given again
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub watch: Vec<String>,
    /// The folder to run it in; relative to the current one
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub workdir: Option<String>,
    /// The user to run it as: a name or a number, with or without a group ('app:app')
    #[arg(long, value_name = "USER", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,
    /// After which ends it is started again
    #[arg(long, value_name = "POLICY", value_parser = ["never", "on-failure", "always"])]
    pub restart: Option<String>,
    /// Take the place of a service of this name, which is stopped first; it keeps its id
    #[arg(long)]
    pub replace: bool,
    /// Then write the running configuration to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Only add it; 'ppm start' starts it
    #[arg(long)]
    pub no_start: bool,
    /// Return at once instead of when its program was executed
    #[arg(long)]
    pub no_wait: bool,
    /// The program and its arguments, as they are: no shell, no expansion
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// `ppm exec`.
#[derive(Args, Debug)]
pub struct Exec {
    /// The service, by name or id
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Pass on the input and output as they are, also at a terminal
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// The program and its arguments, as they are: no shell, no expansion
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// `ppm run`.
#[derive(Args, Debug)]
pub struct Run {
    /// What to call it [default: the program's name, with a number if that is taken]
    #[arg(long)]
    pub name: Option<String>,
    /// An environment variable of its own; may be given again
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// The folder to run it in [default: the current one]
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub workdir: Option<String>,
    /// The user to run it as: a name or a number, with or without a group ('app:app')
    #[arg(long, value_name = "USER", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,
    /// After which ends it is started again [default: never]
    #[arg(long, value_name = "POLICY", value_parser = ["never", "on-failure", "always"])]
    pub restart: Option<String>,
    /// Return when it has started; it stays, as what 'ppm add' adds
    #[arg(short, long)]
    pub detach: bool,
    /// Pass on the input and output as they are, also at a terminal
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// The program and its arguments, as they are: no shell, no expansion
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// `ppm reload`.
#[derive(Args, Debug)]
pub struct Reload {
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
}

/// `ppm log`.
#[derive(Args, Debug)]
pub struct Log {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'; 'ppm-daemon' is the daemon's own log
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
    /// Only the last N lines; with --grep, the last N that match [default: all, with --follow 20]
    #[arg(short = 'n', long = "last", visible_alias = "tail", value_name = "N", value_parser = number)]
    pub last: Option<usize>,
    /// Go on with new lines as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Only what was written since: 10m (ago), 2026-03-28T12:00, 2026-03-28T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was written before
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only lines that match this regular expression; '(?i)' in front ignores case
    #[arg(long, value_name = "RE", value_parser = pattern)]
    pub grep: Option<Regex>,
    /// Only standard error
    #[arg(long)]
    pub stderr: bool,
    /// Show when each line was written
    #[arg(short, long)]
    pub timestamps: bool,
}

/// `ppm events`.
#[derive(Args, Debug)]
pub struct Events {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on with new events as they happen
    #[arg(short, long)]
    pub follow: bool,
    /// How many past events to show [default: 100, with --follow none]
    #[arg(short = 'n', long = "last", value_name = "N", value_parser = number)]
    pub last: Option<usize>,
}

/// `ppm wait`.
#[derive(Args, Debug)]
pub struct Wait {
    /// Names, ids, globs ('web-*'), groups ('@front') or 'all'
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE")]
    pub until: Until,
    /// Give up after this long: 30s, 1m 30s, or seconds [default: never]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub timeout: Option<Duration>,
}

/// What `ppm wait` can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// It has a process
    Running,
    /// It is ready
    Ready,
    /// Its last run ended well
    Finished,
    /// It has no process left
    Stopped,
}

/// `ppm check`.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration, '-' for stdin [env: PPM_CONFIG] [default: the one that 'ppm daemon' would find]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also fail if the services may need longer to stop than they are given: docker gives 10s, kubernetes 30s
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub grace: Option<Duration>,
}

/// `ppm doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// The configuration, '-' for stdin [env: PPM_CONFIG] [default: the one that 'ppm daemon' would find]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How long the container is given to stop: docker gives 10s, kubernetes 30s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    pub grace: Duration,
    /// Fail where something will not work as well, too
    #[arg(long)]
    pub strict: bool,
}

/// `ppm export`.
#[derive(Args, Debug)]
pub struct Export {
    /// For whom
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Format,
    /// What the containers are made from; wanted for compose and kubernetes
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// For kubernetes: whether all services share a pod
    #[arg(long, value_name = "LAYOUT", value_enum, default_value_t)]
    pub layout: Layout,
    /// For kubernetes: the version that is to read it [default: 1.29]
    #[arg(long, value_name = "1.MINOR", value_parser = export::minor)]
    pub kube_version: Option<u32>,
    /// The numbers of a user of the configuration; may be given several times
    #[arg(long, value_name = "NAME=UID:GID")]
    pub uid: Vec<String>,
    /// A file for each object, in this folder [default: all of them on stdout]
    #[arg(short, long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
    /// Fail if anything does not map
    #[arg(long)]
    pub strict: bool,
    /// The configuration, '-' for stdin [default: that of the daemon]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `ppm import`.
#[derive(Args, Debug)]
pub struct Import {
    /// What it is for [default: what its name or its contents say, where they leave no doubt]
    #[arg(long, value_name = "PROGRAM", value_enum)]
    pub from: Option<Dialect>,
    /// The file, '-' for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `ppm cron`.
#[derive(Args, Debug)]
pub struct Cron {
    /// Cron fields in quotes: minute hour day month weekday, with seconds in front or not; or '@daily', '@every 90s'
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub expression: String,
    /// How many runs to show
    #[arg(short = 'n', long = "next", value_name = "N", default_value = "5", value_parser = count)]
    pub count: usize,
    /// The zone to read it in, as Europe/Paris [default: the local one]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Show the runs after this time: 2026-03-28T12:00 in the zone, or with an offset [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
}

/// `ppm probe`.
#[derive(Args, Debug)]
pub struct Probe {
    /// http://HOST[:PORT][/PATH], tcp://HOST:PORT or unix:PATH
    #[arg(value_name = "URL", value_parser = probe::read)]
    pub target: Target,
    /// Give up after this long: 2s, 500ms, or seconds
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = period)]
    pub timeout: Duration,
}

/// `ppm completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("there is no name in front of the '=' of '{text}'\nwrite KEY=VALUE")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("there is no '=' in '{text}'\nwrite KEY=VALUE")),
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|_| format!("'{text}' is not a signal\nwrite a name or a number: HUP, SIGHUP, 1, RTMIN+3"))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number\nwrite one like 20, or 0 for none"))
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        format!("'{text}' is not a regular expression: {error}\nput '\\' before what is meant as it stands: . * + ? ( ) [ ] {{ }} | ^ $")
    })
}

/// As many runs as anybody reads; they are kept before they are shown.
fn count(text: &str) -> Result<usize, String> {
    const MOST: usize = 10_000;
    number(text)?;
    let no = || format!("'{text}' runs are too many\nwrite at most {MOST}");
    text.parse().ok().filter(|count| *count <= MOST).ok_or_else(no)
}

pub fn period(text: &str) -> Result<Duration, String> {
    let no = || format!("'{text}' is not a duration\nwrite a number and a unit: 10s, 1m 30s, 500ms");
    if text.starts_with(|first: char| first.is_ascii_digit())
        && let Ok(seconds) = text.parse::<f64>()
    {
        return Duration::try_from_secs_f64(seconds).map_err(|_| no());
    }
    humantime::parse_duration(text).map_err(|_| no())
}

/// A time that leaves the daemon something else to do.
fn pause(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(200);
    let time = period(text)?;
    if time < LEAST { Err(format!("'{text}' is too often\nwrite 200ms or more")) } else { Ok(time) }
}
