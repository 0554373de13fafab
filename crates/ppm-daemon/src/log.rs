//! The daemon's own log: what it says on standard error, and what it has said lately.

mod filter;
mod lines;

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;

use ppm_core::event::Notice;
use ppm_core::journal::is_bad_end;
use ppm_core::time::brief;
use ppm_protocol::{EventKind, EventRow, LogLine};
use tracing::Level;

use filter::Filter;
use lines::{Lines, Look};

/// How much of the past is kept, in bytes of its lines.
const KEPT: usize = 64 * 1024;

/// How many new lines wait for a reader; more are left out.
const WAITING: usize = 1000;

/// Starts logging as the environment says: `PPM_LOG`, else `RUST_LOG`, chooses what (see [`Filter`]), else it is what has
/// this level; `PPM_LOG_FORMAT` and `PPM_LOG_PREFIX` choose how. What is said from now on is kept by what this returns.
pub fn start(env: impl Fn(&str) -> Option<String>, usual: Level) -> Past {
    let named = |name: &'static str| env(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let chosen = named("PPM_LOG").or_else(|| named("RUST_LOG"));
    let (filter, unknown) = chosen.as_ref().map_or((Filter::all(usual), Vec::new()), |(_, text)| Filter::parse(text, usual));
    let (look, no_look) = Look::of(&env);
    let (said, past) = mpsc::channel();
    // A second daemon in one process would find a logger that serves as well.
    let _ = tracing::subscriber::set_global_default(Lines::new(filter, look, said));
    // Of RUST_LOG others may understand more.
    for word in unknown.into_iter().filter(|_| chosen.as_ref().is_some_and(|(name, _)| *name == "PPM_LOG")) {
        tracing::warn!("PPM_LOG: `{word}` is not a level: write `info`, or `ppm_daemon=debug,info`");
    }
    no_look.into_iter().for_each(|text| tracing::warn!("{text}"));
    Past::new(past)
}

/// The daemon's last lines, and who wants to hear of the next.
#[derive(Debug)]
pub struct Past {
    said: mpsc::Receiver<LogLine>,
    lines: VecDeque<LogLine>,
    size: usize,
    followers: Vec<(mpsc::SyncSender<LogLine>, mpsc::SyncSender<()>)>,
}

impl Past {
    fn new(said: mpsc::Receiver<LogLine>) -> Past {
        Past { said, lines: VecDeque::new(), size: 0, followers: Vec::new() }
    }

    /// Takes up what was said since.
    pub fn collect(&mut self) {
        while let Ok(line) = self.said.try_recv() {
            self.followers.retain(|(lines, poke)| {
                let is_there = !matches!(lines.try_send(line.clone()), Err(mpsc::TrySendError::Disconnected(_)));
                let _ = poke.try_send(());
                is_there
            });
            self.size += line.message.len();
            self.lines.push_back(line);
            while self.size > KEPT {
                self.size -= self.lines.pop_front().map_or(self.size, |line| line.message.len());
            }
        }
    }

    /// What is kept; and what comes, if there is somebody to be poked for it.
    pub fn read(&mut self, poke: Option<mpsc::SyncSender<()>>) -> (Vec<LogLine>, mpsc::Receiver<LogLine>) {
        self.collect();
        let (lines, live) = mpsc::sync_channel(WAITING);
        self.followers.extend(poke.map(|poke| (lines, poke)));
        (self.lines.iter().cloned().collect(), live)
    }
}

/// Logs what the core has to say.
pub fn tell(notice: &Notice) {
    match notice {
        Notice::Service(row) => tell_service(row),
        Notice::Info(text) => tracing::info!("{text}"),
        Notice::Warning(text) => tracing::warn!("{text}"),
        Notice::Impossible(text) => tracing::error!("a bug in ppm, please report it: {text}"),
    }
}

fn tell_service(row: &EventRow) {
    let (level, text) = in_words(row);
    tracing::dispatcher::get_default(|dispatch| {
        if let Some(lines) = dispatch.downcast_ref::<Lines>() {
            lines.say(level, module_path!(), &text, Some(row));
        }
    });
}

/// How much an event matters, and what is said of it.
fn in_words(row: &EventRow) -> (Level, String) {
    let EventRow { service: name, reason, .. } = row;
    let pid = row.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    let ran = row.ran_ms.map_or(String::new(), |ran| format!(" after {}", brief(Duration::from_millis(ran))));
    match row.event {
        EventKind::Added => (Level::INFO, format!("{name}: added")),
        EventKind::Removed => (Level::INFO, format!("{name}: removed")),
        EventKind::Changed => (Level::INFO, format!("{name}: changed: {reason}")),
        EventKind::Started => (Level::INFO, format!("{name}: started{}{pid}", because(reason))),
        EventKind::StartFailed => (Level::ERROR, format!("{name}: cannot start: {reason}")),
        EventKind::Exited if is_bad_end(row) => (Level::WARN, format!("{name}: {reason}{ran}{pid}")),
        EventKind::Exited => (Level::INFO, format!("{name}: {reason}{ran}{pid}")),
        EventKind::Stopping => (Level::INFO, format!("{name}: stopping ({reason})")),
        EventKind::Killed | EventKind::Stuck | EventKind::Skipped | EventKind::TimedOut | EventKind::OverMemory | EventKind::HookFailed => {
            (Level::WARN, format!("{name}: {}: {reason}", row.event))
        }
        EventKind::Blocked if row.reason.starts_with("waiting") => (Level::INFO, format!("{name}: {reason}")),
        EventKind::Blocked => (Level::WARN, format!("{name}: {reason}")),
        EventKind::Ready => (Level::INFO, format!("{name}: ready {reason}")),
        EventKind::Unready => (Level::WARN, format!("{name}: {reason}")),
        EventKind::Unhealthy => (Level::WARN, format!("{name}: unhealthy: {reason}")),
        EventKind::GaveUp => (Level::ERROR, format!("{name}: {reason}")),
        EventKind::FilesChanged => (Level::INFO, format!("{name}: {reason}{pid}")),
        EventKind::Paused | EventKind::Resumed => (Level::INFO, format!("{name}: {}", row.event)),
        EventKind::Drained | EventKind::Planned | EventKind::Deactivated | EventKind::Other(_) => {
            (Level::DEBUG, format!("{name}: {}: {reason}", row.event))
        }
    }
}

/// Why a service was started, after "started". With the daemon goes without saying.
fn because(cause: &str) -> String {
    match cause {
        "boot" => String::new(),
        "request" => " by request".to_owned(),
        "reload" => " by a reload".to_owned(),
        "needed" => " because it is needed".to_owned(),
        "dependency" => " with what it needs".to_owned(),
        "schedule" => " by its schedule".to_owned(),
        "missed" => " by its schedule, for a time that was missed".to_owned(),
        "watch" => " again after a change of files".to_owned(),
        "backoff" => " again after a crash".to_owned(),
        "restart" => " again as it shall always run".to_owned(),
        other => format!(", {other}"),
    }
}
