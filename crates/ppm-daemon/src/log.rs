//! The daemon's own log: lines on standard error that never wait for a reader.
//!
//! A line that would block is dropped and counted; the count is told as soon as lines pass again (R41).

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use ppm_core::event::Notice;
use ppm_core::journal::is_bad_end;
use ppm_protocol::{EventKind, EventRow, LogLine, Stream};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::clock;

/// Lines up to this length are written whole or not at all to a pipe (pipe(7): PIPE_BUF).
const LONGEST_LINE: usize = 4096;

/// What stands in front of each line.
const PREFIX: &str = "ppm | ";

/// How much of the past is kept, in bytes of its lines.
const KEPT: usize = 64 * 1024;

/// How many new lines wait for a reader; more are left out.
const WAITING: usize = 1000;

/// Writes events as `ppm | text` to standard error.
#[derive(Debug)]
struct Lines {
    most: Level,
    said: mpsc::Sender<LogLine>,
    dropped: AtomicU64,
    own: Option<File>,
}

/// Starts logging at the level that `PPM_LOG` names, `error`, `warn`, `info`, `debug` or `trace`, else at the given one.
/// What is said from now on is kept by what this returns.
pub fn start(level: Option<&str>, otherwise: Level) -> Past {
    let most = level.and_then(|level| level.parse().ok()).unwrap_or(otherwise);
    let (said, past) = mpsc::channel();
    // A second daemon in one process would find a logger that serves as well.
    let _ = tracing::subscriber::set_global_default(Lines { most, said, dropped: AtomicU64::new(0), own: own_pipe() });
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
    let name = &row.service;
    let reason = &row.reason;
    let pid = row.pid.unwrap_or(0);
    match row.event {
        EventKind::Added => tracing::info!("{name}: added"),
        EventKind::Removed => tracing::info!("{name}: removed"),
        EventKind::Changed => tracing::info!("{name}: changed: {reason}"),
        EventKind::Started => tracing::info!("{name}: started (pid {pid}, {reason})"),
        EventKind::StartFailed => tracing::error!("{name}: cannot start: {reason}"),
        EventKind::Exited if is_bad_end(row) => tracing::warn!("{name}: {reason} (pid {pid})"),
        EventKind::Exited => tracing::info!("{name}: {reason} (pid {pid})"),
        EventKind::Stopping => tracing::info!("{name}: stopping ({reason})"),
        EventKind::Killed | EventKind::Stuck | EventKind::Skipped | EventKind::TimedOut | EventKind::OverMemory | EventKind::HookFailed => {
            tracing::warn!("{name}: {}: {reason}", row.event)
        }
        EventKind::Blocked if row.reason.starts_with("waiting") => tracing::info!("{name}: {reason}"),
        EventKind::Blocked => tracing::warn!("{name}: {reason}"),
        EventKind::Ready => tracing::info!("{name}: ready {reason}"),
        EventKind::Unready => tracing::warn!("{name}: {reason}"),
        EventKind::Unhealthy => tracing::warn!("{name}: unhealthy: {reason}"),
        EventKind::GaveUp => tracing::error!("{name}: {reason}"),
        EventKind::FilesChanged => tracing::info!("{name}: {reason} (pid {pid})"),
        EventKind::Paused | EventKind::Resumed => tracing::info!("{name}: {}", row.event),
        EventKind::Drained | EventKind::Planned | EventKind::Deactivated | EventKind::Other(_) => {
            tracing::debug!("{name}: {}: {reason}", row.event)
        }
    }
}

impl Lines {
    fn write(&self, text: &str) {
        let missed = self.dropped.swap(0, Ordering::Relaxed);
        if missed > 0 && !self.write_if_ready(&format!("ppm | {missed} lines left out: nobody reads this\n")) {
            self.dropped.fetch_add(missed + 1, Ordering::Relaxed);
            return;
        }
        if !self.write_if_ready(text) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_if_ready(&self, text: &str) -> bool {
        if let Some(own) = &self.own {
            return nix::unistd::write(own, text.as_bytes()).is_ok();
        }
        let stderr = std::io::stderr();
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        ready && nix::unistd::write(stderr.as_fd(), text.as_bytes()).is_ok()
    }
}

/// Standard error opened once more, if it is a pipe: between a look at a shared one and the write to it a service can
/// fill it. Not to wait is a property of the opening, which services must not inherit.
fn own_pipe() -> Option<File> {
    let mode = fstat(std::io::stderr()).ok()?.st_mode;
    let is_pipe = SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
    is_pipe.then(|| File::options().write(true).custom_flags(libc::O_NONBLOCK).open("/proc/self/fd/2").ok())?
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::from(PREFIX));
        match *event.metadata().level() {
            Level::ERROR => line.0.push_str("error: "),
            Level::WARN => line.0.push_str("warning: "),
            _ => {}
        }
        event.record(&mut line);
        let message = line.0.trim_start_matches(PREFIX).to_owned();
        let _ = self.said.send(LogLine {
            time: Some(clock::now().wall),
            service: "ppm-daemon".to_owned(),
            id: None,
            stream: Stream::Stderr,
            message,
            bytes: None,
            partial: false,
        });
        let mut cut = line.0.len().min(LONGEST_LINE - 1);
        while !line.0.is_char_boundary(cut) {
            cut -= 1;
        }
        line.0.truncate(cut);
        line.0.push('\n');
        self.write(&line.0);
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.most.into())
    }

    // The daemon has no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// One line in the making; control characters cannot get into it (R75).
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(Clean(&mut self.0), "{value:?}");
        }
    }
}

struct Clean<'a>(&'a mut String);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() { self.0.extend(character.escape_default()) } else { self.0.push(character) }
        }
        Ok(())
    }
}
