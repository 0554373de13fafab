//! The values on the wire: service rows, plans, statistics, events.
//!
//! These are views made for readers. They are neither the runtime types of the core nor the types of the
//! configuration file; a field is never removed or renamed within protocol 1, and a new one has a default. Where a word
//! tells one of several, a newer side may have more: those are kept as they are.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::message::RpcId;
use crate::word::{Reader, Word, words};

/// An instant of the wall clock in milliseconds since 1970-01-01T00:00:00Z.
///
/// On the wire it is RFC 3339 in UTC with exactly three digits of the second: `2026-01-02T03:04:05.678Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The same instant for calendar arithmetic; instants beyond jiff's range are clamped to its ends.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX })
    }

    /// The instant, cut to whole milliseconds.
    pub fn from_jiff(at: jiff::Timestamp) -> Self {
        Timestamp(at.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(timestamp) = own_form(text) {
            return Ok(timestamp);
        }
        text.parse().map(Timestamp::from_jiff).map_err(|error| format!("`{text}` is not an RFC 3339 time: {error}"))
    }
}

/// The form that daemons write, which is read without looking for all others that there are: a table has thousands.
fn own_form(text: &str) -> Option<Timestamp> {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let has_form = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !bytes.iter().zip(FORM).all(has_form) {
        return None;
    }
    let number = |from: usize, to: usize| bytes[from..to].iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'));
    let small = |from: usize| i8::try_from(number(from, from + 2)).ok();
    let nanosecond = i32::from(number(20, 23)) * 1_000_000;
    let date_time = DateTime::new(number(0, 4), small(5)?, small(8)?, small(11)?, small(14)?, small(17)?, nanosecond).ok()?;
    Offset::UTC.to_timestamp(date_time).ok().map(Timestamp::from_jiff)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reader(str::parse))
    }
}

/// A signal by its Linux number, 1 to 64. Displayed as `SIGTERM`, `SIGRTMIN+3`.
///
/// The numbers are those of x86, ARM, RISC-V, PowerPC and s390 (signal(7)); SIGRTMIN is 34, as glibc counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

const SIGNAL_NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// Hangup; by custom a request to read the configuration again.
    pub const HUP: Signal = Signal(1);
    /// Interrupt from the keyboard.
    pub const INT: Signal = Signal(2);
    /// Quit from the keyboard.
    pub const QUIT: Signal = Signal(3);
    /// Ends a process; cannot be caught.
    pub const KILL: Signal = Signal(9);
    /// SIGUSR1.
    pub const USR1: Signal = Signal(10);
    /// The polite request to end.
    pub const TERM: Signal = Signal(15);
    /// Continues a stopped process.
    pub const CONT: Signal = Signal(18);
    /// Stops (pauses) a process; cannot be caught.
    pub const STOP: Signal = Signal(19);
    /// Stop typed at the terminal.
    pub const TSTP: Signal = Signal(20);

    /// The signal with this number, if it is one of 1 to 64.
    pub fn from_number(number: i32) -> Option<Signal> {
        u8::try_from(number).ok().filter(|n| (1..=RTMAX).contains(n)).map(Signal)
    }

    /// The number for kill(2).
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNAL_NAMES.get(usize::from(self.0).wrapping_sub(1)) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "SIG{}", self.0), // 32 and 33 belong to the threads library and have no name
        }
    }
}

impl FromStr for Signal {
    type Err = String;

    /// `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not a signal");
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        // Also behind the prefix: signals without a name are displayed as `SIG32`.
        if let Ok(number) = name.parse::<i32>() {
            return Signal::from_number(number).ok_or_else(|| format!("{} (signals are 1 to {RTMAX})", unknown()));
        }
        if let Some(at) = SIGNAL_NAMES.iter().position(|known| *known == name) {
            return Signal::from_number(i32::try_from(at + 1).unwrap_or(0)).ok_or_else(unknown);
        }
        let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
            Some(digits) => digits.parse::<u8>().ok(),
            None => rest.is_empty().then_some(0),
        };
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => offset(rest, '+').and_then(|n| RTMIN.checked_add(n)),
            (_, Some(rest)) => offset(rest, '-').and_then(|n| RTMAX.checked_sub(n)),
            (None, None) => None,
        };
        number.filter(|n| (RTMIN..=RTMAX).contains(n)).map(Signal).ok_or_else(unknown)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How a process ended: `{"code":1}` or `{"signal":"SIGKILL"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It ended by itself with this exit code, 0 to 255.
    Code(i32),
    /// It was ended by this signal.
    Signal(Signal),
}

/// An exit as far as we know what it says: one day there may be other ends than these.
fn known_exit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Exit>, D::Error> {
    #[derive(Deserialize)]
    struct Fields {
        code: Option<i32>,
        signal: Option<String>,
    }
    let fields = Option::<Fields>::deserialize(deserializer)?;
    let signal = |name: String| name.parse().ok().map(Exit::Signal);
    Ok(fields.and_then(|Fields { code, signal: name }| name.and_then(signal).or(code.map(Exit::Code))))
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "killed by {signal}"),
        }
    }
}

/// The five states of a service, lower case on the wire, capitalised for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It has never run.
    Created,
    /// It has a process; also while it is being stopped.
    Running,
    /// Its last run ended well, or it obeyed a request to stop.
    Finished,
    /// Its process is paused (SIGSTOP, SIGTSTP).
    Stopped,
    /// Its last run ended badly, or it could not be started.
    Crashed,
    /// What only a newer daemon says.
    Other(Word),
}

words!(Status {
    Created = "created",
    Running = "running",
    Finished = "finished",
    Stopped = "stopped",
    Crashed = "crashed",
});

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Created => "Created",
            Status::Running => "Running",
            Status::Finished => "Finished",
            Status::Stopped => "Stopped",
            Status::Crashed => "Crashed",
            Status::Other(word) => return word.fmt(f),
        })
    }
}

/// Why a service will start by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The delay after a crash.
    Backoff,
    /// The delay of `restart: always` after a good end.
    Restart,
    /// Its schedule.
    Schedule,
    /// A watched file changed.
    Watch,
    /// What only a newer daemon says.
    Other(Word),
}

words!(Why {
    Backoff = "backoff",
    Restart = "restart",
    Schedule = "schedule",
    Watch = "watch",
});

/// When a service will next start by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStart {
    /// The planned time.
    pub at: Timestamp,
    /// What planned it.
    pub why: Why,
}

/// One service as `list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// 1 or greater, kept over restarts of the service.
    pub id: u32,
    /// Unique.
    pub name: String,
    /// One of the five states.
    pub status: Status,
    /// Whether its user wants it to run; `stop` clears it.
    pub active: bool,
    /// Whether dependants may start.
    pub ready: bool,
    /// Of the main process, while there is one.
    pub pid: Option<i32>,
    /// Starts after the first.
    pub restarts: u64,
    /// Consecutive crashes: the n of the backoff.
    pub crashes: u32,
    /// Of the current or last run.
    pub started_at: Option<Timestamp>,
    /// Of the last run, once it ended.
    pub ended_at: Option<Timestamp>,
    /// Milliseconds since `started_at`, while it runs.
    pub uptime_ms: Option<u64>,
    /// The last exit, also while it runs again.
    #[serde(default, deserialize_with = "known_exit")]
    pub exit: Option<Exit>,
    /// One short sentence: why it is in this state.
    pub reason: String,
    /// When and why it next starts by itself.
    pub next_start: Option<NextStart>,
    /// The schedule as written.
    pub schedule: Option<String>,
    /// What it says of itself (`STATUS=` of sd_notify); missing: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
}

/// One service in full: the row and how it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoRow {
    /// What `list` shows.
    #[serde(flatten)]
    pub row: ServiceRow,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder it runs in; null: the daemon's.
    pub workdir: Option<String>,
    /// The user it runs as: `app`, `app:app`, `1000`; missing: the daemon's. So are the next ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// By their names in setrlimit(2): `core=0`, `nofile=1024:unlimited` (soft and hard).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// -20 to 19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// -1000 to 1000; missing: the daemon's and 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
    /// Whether nothing that it executes may give it rights that it lacks; missing: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privs: bool,
    /// The names of its own environment variables; values may be secret and are not shown.
    pub env: Vec<String>,
    /// The restart policy in words, as `on-failure, backoff 1s to 5m`.
    pub restart: String,
    /// How it is stopped in words, as `SIGTERM, then SIGKILL after 5s`.
    pub stop: String,
    /// What must be there before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NeedRow>,
    /// The services that need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// What is run beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRow>,
    /// Where it comes from: `file:line` of the configuration, or `ppm add`.
    pub source: String,
    /// How it is found out whether it is ready, and what came of that, as `tcp 8080: after 1.8s`; missing: it need not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<String>,
    /// How it is found out whether it is well, as `tcp 8080 every 10s: ok 2s ago, next in 8s`; missing: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

/// A service that another needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedRow {
    /// Its name.
    pub service: String,
    /// How far it must have come: `started`, `ready` or `finished`.
    pub condition: String,
    /// Whether it has.
    pub met: bool,
    /// Those of its services that do not come before somebody starts them; missing: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_start: Vec<String>,
}

/// A program that is run at a turn of a service's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRow {
    /// When, by its key: `pre_start`.
    pub hook: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take, in milliseconds; null: as long as it takes.
    pub timeout_ms: Option<u64>,
    /// Its process, while it is at work.
    pub pid: Option<i32>,
}

/// Something planned, as `scheduler` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// The service's id.
    pub id: u32,
    /// The service's name.
    pub name: String,
    /// What will happen.
    pub event: PlanEvent,
    /// When.
    pub at: Timestamp,
    /// In how many milliseconds; 0 when it is due.
    pub in_ms: u64,
    /// How the last run ended, in words; empty before the first.
    #[serde(default)]
    pub last: String,
    /// The schedule as written, or the backoff in words.
    #[serde(default)]
    pub rule: String,
    /// What is out of the ordinary about it, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What kind of thing is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanEvent {
    /// A start by the service's schedule.
    Schedule,
    /// A restart after a crash or an end.
    Restart,
    /// A restart because of a changed file.
    Watch,
    /// What only a newer daemon says.
    Other(Word),
}

words!(PlanEvent {
    Schedule = "schedule",
    Restart = "restart",
    Watch = "watch",
});

/// Who wrote a line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The service, to its standard output.
    Stdout,
    /// The service, to its standard error.
    Stderr,
    /// The daemon, about the log.
    Daemon,
    /// Something that only a newer daemon knows.
    Other(Word),
}

words!(Stream {
    Stdout = "stdout",
    Stderr = "stderr",
    Daemon = "ppm",
});

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When its beginning was written; null: nobody knows.
    pub time: Option<Timestamp>,
    /// The service's name; `ppm-daemon` for the daemon.
    pub service: String,
    /// The service's id; null for the daemon.
    pub id: Option<u32>,
    /// Who wrote it.
    pub stream: Stream,
    /// The line without its end. What is not UTF-8 is replaced.
    pub message: String,
    /// The line as it is, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Vec<u8>>,
    /// Whether the line goes on in the next message of its stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// The answer to `log`; the lines follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSources {
    /// The names of the services whose logs are read.
    pub services: Vec<String>,
    /// About how many bytes there are to be read, where all are that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What ends a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The id of the call that began it.
    pub call: RpcId,
    /// Why it ended too early; null: that was all.
    pub error: Option<String>,
    /// How the command ended that `exec` or `run` has begun; missing for other streams.
    #[serde(default, deserialize_with = "known_exit", skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// A command that `exec` or `run` has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Its process, which leads a session and group of its own.
    pub pid: i32,
    /// The name of the service that it is; missing for `exec`, whose command is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A signal that was passed on, or came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// Whether there was still somebody to hear it.
    pub heard: bool,
}

/// Resource usage of one service with all of its processes, or of the daemon alone (`<ppm>`, id null). Null without a
/// process, and what the kernel does not tell of one of them is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsRow {
    /// Null for the daemon.
    pub id: Option<u32>,
    /// `<ppm>` for the daemon.
    pub name: String,
    /// Of the main process.
    pub pid: Option<i32>,
    /// Percent of one core since the last sample, or over a window taken now.
    pub cpu_percent: Option<f64>,
    /// User and system time in milliseconds, of the processes that have ended too.
    pub cpu_time_ms: Option<u64>,
    /// Resident memory in bytes: what processes share is counted for each of them.
    pub memory_rss: Option<u64>,
    /// Proportional share of resident memory in bytes: what processes share is counted once.
    pub memory_pss: Option<u64>,
    /// Virtual memory in bytes.
    pub memory_vsz: Option<u64>,
    /// Bytes read from storage.
    pub io_read: Option<u64>,
    /// Bytes written to storage.
    pub io_write: Option<u64>,
    /// Bytes a second read from storage.
    pub io_read_rate: Option<u64>,
    /// Bytes a second written to storage.
    pub io_write_rate: Option<u64>,
    /// Living processes.
    pub processes: Option<u32>,
    /// Their threads.
    pub threads: Option<u32>,
    /// Their open descriptors.
    pub fds: Option<u32>,
    /// Milliseconds since the start.
    pub uptime_ms: Option<u64>,
    /// Bytes of memory that it may use before it is restarted; left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// With the daemon's row: the container as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRow>,
}

/// What the container uses as a whole, of what it may. Null is what the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerRow {
    /// Percent of one core since the last sample, or over a window taken now.
    pub cpu_percent: Option<f64>,
    /// How many cores it may use.
    pub cores: Option<f64>,
    /// Bytes, without the pages of files that were not used lately.
    pub memory: Option<u64>,
    /// The least of what its groups and the machine allow, in bytes.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How many of them there may be; null: any.
    pub tasks_limit: Option<u64>,
    /// Percent of the last ten seconds in which somebody waited for a processor (PSI).
    pub pressure_cpu: Option<f64>,
    /// The same for memory.
    pub pressure_memory: Option<f64>,
    /// The same for storage.
    pub pressure_io: Option<f64>,
}

/// What one service, or the daemon (`<ppm>`, id null), has used over the last hour, as far as somebody had it read. Null
/// is what was not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Null for the daemon.
    pub id: Option<u32>,
    /// `<ppm>` for the daemon.
    pub name: String,
    /// When the first minute began of which something is told.
    pub from: Option<Timestamp>,
    /// Percent of one core; of a minute, the average.
    pub cpu_percent: Option<Course<f64>>,
    /// Resident memory in bytes; of a minute, the most.
    pub memory_rss: Option<Course<u64>>,
    /// How its memory grows, as it looks; null: it does not, or there is too little to tell.
    pub growth: Option<Growth>,
}

/// A figure over the last hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course<T> {
    /// The least that was read.
    pub min: T,
    /// The average over time for what is a rate, else over all readings.
    pub avg: T,
    /// The most that was read.
    pub max: T,
    /// One value a minute, from the row's first minute until now; null: it was not read in it.
    pub minutes: Vec<Option<T>>,
}

/// Growth that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// By so much.
    pub bytes_per_hour: u64,
    /// Seen over this time.
    pub over_ms: u64,
}

/// What happened to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is now known to the daemon.
    Added,
    /// It is no longer known.
    Removed,
    /// Its program was executed.
    Started,
    /// Its program could not be executed.
    StartFailed,
    /// Its process was paused.
    Paused,
    /// Its process goes on.
    Resumed,
    /// It was asked to stop.
    Stopping,
    /// It did not stop in time and got SIGKILL.
    Killed,
    /// It was killed and is still there.
    Stuck,
    /// Its process ended.
    Exited,
    /// The last of what its process left behind ended.
    Drained,
    /// It will start by itself at a later time.
    Planned,
    /// It crashed too often and is left alone.
    GaveUp,
    /// A planned run was left out: the one before lasted, or its time had passed.
    Skipped,
    /// It ran longer than its schedule allows and was asked to end.
    TimedOut,
    /// It used more memory than it may, and was asked to end.
    OverMemory,
    /// A program that it has run at this turn of its life failed.
    HookFailed,
    /// It is ready, as its probe has found.
    Ready,
    /// It is still not ready.
    Unready,
    /// It is not well, as its probes have found, and is ended.
    Unhealthy,
    /// It is no longer wanted.
    Deactivated,
    /// Its start waits for other services.
    Blocked,
    /// Its configuration is another now.
    Changed,
    /// Files changed that are watched for it, and it got a signal for that.
    FilesChanged,
    /// What only a newer daemon says.
    Other(Word),
}

words!(EventKind {
    Added = "added",
    Removed = "removed",
    Started = "started",
    StartFailed = "start_failed",
    Paused = "paused",
    Resumed = "resumed",
    Stopping = "stopping",
    Killed = "killed",
    Stuck = "stuck",
    Exited = "exited",
    Drained = "drained",
    Planned = "planned",
    GaveUp = "gave_up",
    Skipped = "skipped",
    TimedOut = "timed_out",
    OverMemory = "over_memory",
    HookFailed = "hook_failed",
    Ready = "ready",
    Unready = "unready",
    Unhealthy = "unhealthy",
    Deactivated = "deactivated",
    Blocked = "blocked",
    Changed = "changed",
    FilesChanged = "files_changed",
});

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EventKind::Added => "added",
            EventKind::Removed => "removed",
            EventKind::Started => "started",
            EventKind::StartFailed => "start failed",
            EventKind::Paused => "paused",
            EventKind::Resumed => "resumed",
            EventKind::Stopping => "stopping",
            EventKind::Killed => "killed",
            EventKind::Stuck => "stuck",
            EventKind::Exited => "exited",
            EventKind::Drained => "drained",
            EventKind::Planned => "planned",
            EventKind::GaveUp => "gave up",
            EventKind::Skipped => "skipped",
            EventKind::TimedOut => "timed out",
            EventKind::OverMemory => "over memory",
            EventKind::HookFailed => "hook failed",
            EventKind::Ready => "ready",
            EventKind::Unready => "not ready",
            EventKind::Unhealthy => "unhealthy",
            EventKind::Deactivated => "deactivated",
            EventKind::Blocked => "blocked",
            EventKind::Changed => "changed",
            EventKind::FilesChanged => "files changed",
            EventKind::Other(word) => return word.fmt(f),
        })
    }
}

/// One state change, as `events` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// When.
    pub time: Timestamp,
    /// The service's name.
    pub service: String,
    /// The service's id.
    pub id: u32,
    /// What happened.
    pub event: EventKind,
    /// The state before.
    pub from: Status,
    /// The state after.
    pub to: Status,
    /// The process concerned, where there is one.
    pub pid: Option<i32>,
    /// How it ended, for `exited`.
    #[serde(default, deserialize_with = "known_exit")]
    pub exit: Option<Exit>,
    /// Why, in one short sentence; may be empty.
    pub reason: String,
    /// The user who asked for it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The signal to the daemon that asked for it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Signal>,
    /// How long it had run, for `exited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
    /// The most memory in bytes that it was seen to use, for `exited`: of all its processes together, or of one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

/// The life of one service, as `why` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The service as it is now.
    #[serde(flatten)]
    pub row: ServiceRow,
    /// Its last state changes, oldest first.
    pub events: Vec<EventRow>,
    /// What it wrote last before some of its last ends, oldest first, as far as that is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<LastWords>,
}

/// What a service wrote last before an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// The process that ended.
    pub pid: i32,
    /// When: the time of the event.
    pub ended: Timestamp,
    /// Its last lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// What one service has run lately, as `runs` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsRow {
    /// The service's id.
    pub id: u32,
    /// The service's name.
    pub name: String,
    /// Planned runs that were started.
    pub fired: u64,
    /// Planned runs that were left out because the one before lasted.
    pub skipped: u64,
    /// Planned runs that were left out because their time had passed.
    pub missed: u64,
    /// Runs that were ended because they lasted too long.
    pub timeouts: u64,
    /// How late a planned run has begun at most, in milliseconds.
    pub max_late_ms: u64,
    /// The last runs, oldest first.
    pub runs: Vec<RunRow>,
}

/// One run of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// When it was planned for; null for a run that was not planned.
    pub planned: Option<Timestamp>,
    /// When it began.
    pub started: Timestamp,
    /// How much later than planned, in milliseconds.
    pub late_ms: Option<u64>,
    /// When it ended; null while it lasts.
    pub ended: Option<Timestamp>,
    /// How its main process ended.
    #[serde(default, deserialize_with = "known_exit")]
    pub exit: Option<Exit>,
    /// Why it began: `boot`, `request`, `schedule`, `missed`, `backoff` or `restart`.
    pub reason: String,
    /// What became of it.
    pub result: RunResult,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// It lasts.
    Running,
    /// It ended by itself, well.
    Finished,
    /// It ended by itself, badly.
    Crashed,
    /// It was asked to end.
    Stopped,
    /// It was ended because it lasted too long.
    TimedOut,
    /// It could not be started.
    NotStarted,
    /// What only a newer daemon says.
    Other(Word),
}

words!(RunResult {
    Running = "running",
    Finished = "finished",
    Crashed = "crashed",
    Stopped = "stopped",
    TimedOut = "timed_out",
    NotStarted = "not_started",
});

/// Which files are watched, as `watched` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The services looked at.
    pub services: Vec<WatchedRow>,
    /// What the kernel is asked to tell, for all services together.
    pub inotify: Inotify,
}

/// What inotify(7) gives, and how much of it there may be. Null is what the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inotify {
    /// Instances that the daemon has: one while anything is watched, if one was to be had.
    pub instances: u64,
    /// How many all programs of its user may have.
    pub max_instances: Option<u64>,
    /// Folders and files that it watches.
    pub watches: u64,
    /// How many all programs of its user may watch.
    pub max_watches: Option<u64>,
}

/// Which files are watched for a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedRow {
    /// The service's id.
    pub id: u32,
    /// The service's name.
    pub name: String,
    /// Whether they are watched now: they are not while the service is stopped.
    pub watching: bool,
    /// The paths that it names; none: it has no files watched.
    pub paths: Vec<WatchedPath>,
    /// What follows from a change, as in the configuration; null without paths.
    pub action: Option<String>,
    /// Watches of inotify that are used for it, those included that are used for others too.
    pub watches: u64,
    /// What was found last.
    pub last_change: Option<FoundChange>,
    /// How often something was found since the service was added: once for all that changed together.
    pub changes: u64,
    /// When it was acted upon last.
    pub acted_at: Option<Timestamp>,
    /// How often it was acted upon.
    pub acted: u64,
    /// How often something was written, and no file was another afterwards; since the files have been watched.
    pub unchanged: u64,
}

/// One path of those that a service names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedPath {
    /// The path; as it is written where it is not watched now.
    pub path: String,
    /// Where it leads, if that is another path; null too where it leads nowhere.
    pub leads_to: Option<String>,
    /// What is there; null: nobody has looked.
    pub what: Option<PathKind>,
    /// Whether the kernel tells of changes.
    pub inotify: bool,
    /// How often it, or what the kernel does not tell of, is looked at, in milliseconds; null: never.
    pub poll_ms: Option<u64>,
    /// Its file system, if that does not tell of all changes.
    pub file_system: Option<String>,
    /// Folders in it that are watched, itself included.
    pub folders: u64,
    /// How many of them the kernel does not tell of.
    pub unwatched: u64,
    /// Files in it that count.
    pub files: u64,
}

/// What lies at a watched path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Nothing yet, or no more.
    Missing,
    /// What only a newer daemon says.
    Other(Word),
}

words!(PathKind {
    File = "file",
    Folder = "folder",
    Missing = "missing",
});

/// Files that were found to be others, all of it one occasion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundChange {
    /// When.
    pub at: Timestamp,
    /// Which, in words: `modified src/a.js`, `4 files: a, b, c, ...`.
    pub what: String,
}

/// Whether all is well, as `health` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether every active service that should run does, and is ready.
    pub healthy: bool,
    /// The services looked at.
    pub services: Vec<HealthRow>,
}

/// Whether one service is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRow {
    /// The service's id.
    pub id: u32,
    /// The service's name.
    pub name: String,
    /// Whether it is as it should be: ready, or not wanted, or ended well, or waiting for its schedule.
    pub healthy: bool,
    /// One of the five states.
    pub status: Status,
    /// Why it is in this state.
    pub reason: String,
}

/// What a reload does to one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadAction {
    /// It is new.
    Add,
    /// What it executes has changed: it is restarted if it runs.
    Restart,
    /// Its schedule has changed: it is planned again.
    Reschedule,
    /// Only its policies have changed: nothing is touched.
    Update,
    /// It is not in the configuration any more: it is stopped and removed.
    Remove,
    /// Nothing has changed.
    Keep,
    /// What only a newer daemon says.
    Other(Word),
}

words!(ReloadAction {
    Add = "add",
    Restart = "restart",
    Reschedule = "reschedule",
    Update = "update",
    Remove = "remove",
    Keep = "keep",
});

/// One service in a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRow {
    /// The service's name.
    pub service: String,
    /// What is done to it.
    pub action: ReloadAction,
    /// What has changed, each in words: `command: nginx -> nginx -q`.
    pub changes: Vec<String>,
}

/// The answer to `reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Whether it was done, or only planned.
    pub applied: bool,
    /// The settings that have changed, each in words.
    pub settings: Vec<String>,
    /// Every service of the configuration, and those removed from it.
    pub services: Vec<ReloadRow>,
    /// Those that could not be started.
    #[serde(default)]
    pub failed: Vec<Failure>,
}

/// The answer to `check`: a right configuration. A wrong one is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The services that it holds.
    pub services: usize,
    /// What is right but may surprise.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a changing command did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The services concerned as they are now; a removed one as it was last.
    pub services: Vec<ServiceRow>,
    /// Those for which it could not be done. Empty: all is well.
    #[serde(default)]
    pub failed: Vec<Failure>,
    /// What the services concerned wait for, and what does not come before somebody starts it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_start: Vec<String>,
}

/// One service for which a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The service's name.
    pub service: String,
    /// Why, in words that fit after its name.
    pub message: String,
}

/// The answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Of this protocol: 1.
    pub protocol: u32,
    /// Of the daemon's program.
    pub version: String,
    /// The daemon's.
    pub pid: i32,
}

/// The answer to `configuration`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The running configuration, which loads to the same.
    pub yaml: String,
}

/// The answer to `events`: the past; with `follow` each new event comes as a notification after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Oldest first.
    pub events: Vec<EventRow>,
}

/// The answer to `shutdown`, given before it begins; when it is over the connection closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// How many services have a process that must end.
    pub stopping: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_with_and_without_prefix_and_by_number() {
        for (text, number) in
            [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("1", 1), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("64", 64)]
        {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "TERMINATE", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMAX+1"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_signal_survives_its_own_name() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn times_in_our_own_form_are_read_as_any_other() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "2026-02-29T00:00:00.000Z",
            "2028-02-29T23:59:59.999Z",
            "9999-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00.001Z",
        ] {
            let otherwise = text.parse().map(Timestamp::from_jiff);
            assert_eq!(own_form(text), otherwise.ok(), "{text}");
        }
        for text in ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05.678Z", "2026-01-02T03:04:05.678+", "2026-01-02T03:04:0x.678Z", "", "ä"] {
            assert_eq!(own_form(text), None, "{text}");
        }
    }

    #[test]
    fn times_have_exactly_three_digits_of_the_second() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!("2026-01-02T03:04:05.678Z".parse::<Timestamp>().unwrap().to_string(), "2026-01-02T03:04:05.678Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert_eq!(Timestamp(i64::MAX).to_jiff(), jiff::Timestamp::MAX);
    }
}
