//! Probes: how it is found out whether a service is ready, and whether it stays well.
//!
//! What is asked, how often, and what follows from the answers. Nobody is asked here. Invariant: a check that exists can
//! be made, since what it is made of has been looked at.

use std::fmt;
use std::time::Duration;

use crate::line_pattern::LinePattern;
use crate::spec::{InvalidSpec, check_argument, shown};
use crate::target::Target;

/// The first attempt to find a service ready comes so long after the last one that failed, and so on, twice as long each
/// time up to the interval: who is ready quickly is found so quickly.
const FIRST_DELAY: Duration = Duration::from_millis(50);

/// How long one attempt to find a service ready may take.
pub const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a service may be silent that is to say that it is well, where nobody says.
const SILENCE: Duration = Duration::from_secs(30);

/// The descriptors that a service may be given for a line: not one of the standard streams, and within every limit.
pub const DESCRIPTORS: std::ops::RangeInclusive<u16> = 3..=255;

/// The shortest interval: more often is a load rather than a probe.
pub const SHORTEST: Duration = Duration::from_millis(10);

/// When dependants of a service may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What must hold for it.
    pub check: Check,
    /// How long after an attempt the next is made, at the most.
    pub interval: Duration,
    /// How long it may take to become ready before that counts as a crash; None: as long as it takes.
    pub timeout: Option<Duration>,
    /// How long it may take before it is told that it is not ready.
    pub start_period: Duration,
}

/// When a service is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What must hold for it.
    pub check: Check,
    /// How long after an attempt the next is made.
    pub interval: Duration,
    /// How long one attempt may take, or how long it may be silent that is to say itself that it is well.
    pub timeout: Duration,
    /// How many attempts in a row must fail before it is ended; at least 1.
    pub retries: u32,
    /// How long after its start failures do not count, until an attempt succeeds.
    pub start_period: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether a connection is taken.
    Tcp(Target),
    /// How a page answers.
    Http(Page),
    /// Whether a program ends with 0: its path or name, and its arguments.
    Command(Vec<String>),
    /// Whether this file was made or written to since the service was started.
    File(String),
    /// Whether it has written a line with this in it.
    Log(LinePattern),
    /// Whether it holds this port itself.
    Listen(u16),
    /// What it says itself, as in sd_notify(3): that it is ready, or that it is still well.
    Notify(Channel),
}

/// How a service says that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// To the socket in NOTIFY_SOCKET (sd_notify(3)).
    Socket,
    /// With a line to this descriptor, which it is given for that.
    Descriptor(u16),
}

/// What a service is given to say how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voice {
    /// Whether it is told of the socket.
    pub socket: bool,
    /// After which silence it is taken to hang, where it is to say that it does not.
    pub watchdog: Option<Duration>,
    /// A descriptor for a line.
    pub descriptor: Option<u16>,
}

/// A page, and how it is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it is.
    pub url: Target,
    /// With which status; None: any from 200 to 399.
    pub status: Option<u16>,
    /// Containing this text; None: any.
    pub body: Option<String>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not, or nobody answered in time: why, in words.
    Failed(String),
    /// It could not be asked, for which it cannot be blamed (R50): why, in words.
    NotAsked(String),
}

impl Readiness {
    /// With the defaults.
    pub fn new(check: Check) -> Readiness {
        Readiness { check, interval: Duration::from_secs(1), timeout: None, start_period: Duration::from_secs(30) }
    }

    /// How long after so many attempts that failed the next is made; `chance`, uniform over all of u64, shortens it a
    /// little, so that many services are not asked at one instant.
    pub fn delay(&self, failures: u32, chance: u64) -> Duration {
        let grown = FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(16));
        earlier(grown.min(self.interval), chance, 4)
    }
}

impl Health {
    /// With the defaults.
    pub fn new(check: Check) -> Health {
        let timeout = if check.is_its_own_word() { SILENCE } else { ATTEMPT };
        let interval = Duration::from_secs(10);
        Health { check, interval, timeout, retries: 3, start_period: Duration::ZERO }
    }

    /// How long after the service is ready the first attempt is made: at any time within the interval, so that the probes
    /// of services that were started together are spread over it.
    pub fn first_delay(&self, chance: u64) -> Duration {
        earlier(self.interval, chance, 1)
    }
}

/// Less than this by chance, by up to one of so many parts.
fn earlier(delay: Duration, chance: u64, parts: u32) -> Duration {
    let share = u32::try_from(chance >> 32).unwrap_or(u32::MAX);
    let most = u64::try_from((delay / parts).as_nanos()).unwrap_or(u64::MAX);
    delay - Duration::from_nanos(u64::try_from((u128::from(most) * u128::from(share)) >> 32).unwrap_or(0))
}

impl Check {
    /// A port on this machine, `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// What it is not, and what to write instead.
    pub fn tcp(text: &str) -> Result<Check, InvalidSpec> {
        check_argument(text)?;
        if let Ok(port) = text.parse::<u64>() {
            let port = u16::try_from(port).ok().filter(|port| *port > 0);
            let port = port.ok_or_else(|| InvalidSpec::new(format!("`{text}` is not a port")).hint("write a number from 1 to 65535"))?;
            return Ok(Check::Tcp(Target::local(port)));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let message = format!("`{}` is a URL, and `tcp` wants a place to connect to", shown(text));
            let hint = if scheme == "http" { "write `http: URL`, or leave out what is before the host" } else { "write `tcp: HOST:PORT`" };
            return Err(InvalidSpec::new(message).hint(hint));
        }
        let typed = if text.starts_with("unix:") { text.to_owned() } else { format!("tcp://{text}") };
        let target = Target::read(&typed).map_err(|wrong| {
            let plain = |text: String| text.replace("tcp://", "");
            InvalidSpec { message: plain(wrong.message), hint: wrong.hint.map(plain) }
        })?;
        Ok(Check::Tcp(target))
    }

    /// A page by its URL.
    ///
    /// # Errors
    /// What it is not, and what to write instead.
    pub fn http(url: &str) -> Result<Target, InvalidSpec> {
        check_argument(url)?;
        if !url.contains("://") && !url.starts_with("unix:") {
            return Err(InvalidSpec::new(format!("`{}` is not a URL", shown(url))).hint(format!("write `http://{}`", shown(url))));
        }
        let target = Target::read(url)?;
        match target.is_page() {
            true => Ok(target),
            false => Err(InvalidSpec::new(format!("`{}` names no page", shown(url))).hint("write one like `http://127.0.0.1:8080/health`")),
        }
    }

    /// A file by its absolute path.
    ///
    /// # Errors
    /// What it is not, and what to write instead.
    pub fn file(path: &str) -> Result<Check, InvalidSpec> {
        crate::spec::check_absolute(path)?;
        Ok(Check::File(path.to_owned()))
    }

    /// Whether nobody is asked, since the service says it itself.
    pub fn is_its_own_word(&self) -> bool {
        matches!(self, Check::Notify(_) | Check::Log(_))
    }

    /// Its key in the configuration.
    pub fn key(&self) -> &'static str {
        match self {
            Check::Tcp(_) => "tcp",
            Check::Http(_) => "http",
            Check::Command(_) => "command",
            Check::File(_) => "file",
            Check::Log(_) => "log",
            Check::Listen(_) => "listen",
            Check::Notify(_) => "notify",
        }
    }
}

impl fmt::Display for Check {
    /// As people would name it: `http://127.0.0.1:8080/health`, `tcp 8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Tcp(target) => write!(f, "tcp {}", target.place()),
            Check::Http(page) => write!(f, "{}", page.url),
            Check::Command(words) => write!(f, "command {}", shown(&shell_words::join(words))),
            Check::File(path) => write!(f, "file {path}"),
            Check::Log(pattern) => write!(f, "log `{}`", shown(&pattern.to_string())),
            Check::Listen(port) => write!(f, "listen {port}"),
            Check::Notify(Channel::Socket) => f.write_str("notify"),
            Check::Notify(Channel::Descriptor(number)) => write!(f, "notify on descriptor {number}"),
        }
    }
}
