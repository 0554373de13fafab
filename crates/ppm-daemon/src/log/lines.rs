//! Lines on standard error that never wait for a reader: as text, as JSON, and for a journal.
//!
//! A line that would block is dropped and counted; the count is told as soon as lines pass again (R41). Control
//! characters cannot get into one (R75).

use std::fmt::{self, Write as _};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use ppm_core::logging::Format;
use ppm_core::time::Timestamp;
use ppm_protocol::{EventRow, LogLine, Stream};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::filter::Filter;
use crate::clock;

/// Lines up to this length are written whole or not at all to a pipe (pipe(7): PIPE_BUF).
const LONGEST_LINE: usize = 4096;

/// What stands in front of each line of text.
const PREFIX: &str = "ppm | ";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Text or JSON.
    pub format: Format,
    /// Whether lines of text begin with the daemon's name.
    pub prefix: bool,
    /// Whether each begins with its priority, for a journal (sd-daemon(3)).
    pub priority: bool,
}

impl Look {
    /// As the environment says: `PPM_LOG_FORMAT`, `PPM_LOG_PREFIX`, and `JOURNAL_STREAM` where that is standard error. And
    /// what in it means nothing.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> (Look, Option<String>) {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let (format, unknown) = match set("PPM_LOG_FORMAT").as_deref() {
            None | Some("text") => (Format::Text, None),
            Some("json") => (Format::Json, None),
            Some(other) => (Format::Text, Some(format!("PPM_LOG_FORMAT: `{other}` is neither `text` nor `json`"))),
        };
        let prefix = !set("PPM_LOG_PREFIX").is_some_and(|value| ["0", "false", "no", "off"].contains(&value.as_str()));
        (Look { format, prefix, priority: set("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)) }, unknown)
    }
}

/// Whether a journal reads standard error (systemd.exec(5): `JOURNAL_STREAM`, device and inode).
fn is_stderr(stream: &str) -> bool {
    let found = fstat(std::io::stderr()).ok();
    found.is_some_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Writes lines to standard error, and hands them on to whoever keeps them.
#[derive(Debug)]
pub struct Lines {
    filter: Filter,
    look: Look,
    said: mpsc::Sender<LogLine>,
    dropped: AtomicU64,
    own: Option<File>,
}

impl Lines {
    /// What passes the filter.
    pub fn new(filter: Filter, look: Look, said: mpsc::Sender<LogLine>) -> Lines {
        Lines { filter, look, said, dropped: AtomicU64::new(0), own: own_pipe() }
    }

    /// Says a line, of what happened to a service if that is what it tells.
    pub fn say(&self, level: Level, target: &str, text: &str, row: Option<&EventRow>) {
        if !self.filter.passes(level, target) {
            return;
        }
        let mut message = String::new();
        let _ = Clean(&mut message).write_str(text); // writing to a String cannot fail
        let time = clock::now().wall;
        self.write(&self.line(level, time, &message, row));
        let message = format!("{}{message}", word(level));
        let (service, stream) = ("ppm-daemon".to_owned(), Stream::Stderr);
        let _ = self.said.send(LogLine { time: Some(time), service, id: None, stream, message, bytes: None, partial: false });
    }

    fn line(&self, level: Level, time: Timestamp, message: &str, row: Option<&EventRow>) -> String {
        let priority = match (self.look.priority, level) {
            (false, _) => "",
            (true, Level::ERROR) => "<3>",
            (true, Level::WARN) => "<4>",
            (true, Level::INFO) => "<6>",
            (true, _) => "<7>",
        };
        let room = LONGEST_LINE - priority.len() - 1;
        let line = match self.look.format {
            Format::Text => {
                let prefix = if self.look.prefix { PREFIX } else { "" };
                cut(&format!("{prefix}{}{message}", word(level)), room).to_owned()
            }
            Format::Json => short_json(level, time, message, row, room),
        };
        format!("{priority}{line}\n")
    }

    fn write(&self, line: &str) {
        let missed = self.dropped.swap(0, Ordering::Relaxed);
        let text = format!("{missed} lines left out: nobody reads this");
        if missed > 0 && !self.write_if_ready(&self.line(Level::INFO, clock::now().wall, &text, None)) {
            self.dropped.fetch_add(missed + 1, Ordering::Relaxed);
            return;
        }
        if !self.write_if_ready(line) {
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

/// What stands in front of what is out of the ordinary.
fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error: ",
        Level::WARN => "warning: ",
        _ => "",
    }
}

/// A line as an object: its fields stand in the order in which they are read.
fn json(level: Level, time: Timestamp, message: &str, row: Option<&EventRow>) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let mut fields = vec![("time", json!(time)), ("level", json!(level)), ("service", json!("ppm"))];
    if let Some(row) = row {
        fields.extend([("event", json!(row.event)), ("name", json!(row.service)), ("id", json!(row.id))]);
        fields.extend([("from", json!(row.from)), ("to", json!(row.to)), ("pid", json!(row.pid))]);
        fields.extend([("exit", json!(row.exit)), ("reason", json!(row.reason))]);
        fields.extend(row.ran_ms.map(|ran| ("ran_ms", json!(ran))));
        fields.extend(row.peak_memory.map(|peak| ("peak_memory", json!(peak))));
    }
    fields.push(("message", json!(message)));
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The same with as much of the message as there is room for. A character of it is one of JSON, or two.
fn short_json(level: Level, time: Timestamp, message: &str, row: Option<&EventRow>, room: usize) -> String {
    let mut kept = message;
    loop {
        let line = json(level, time, kept, row);
        match line.len().checked_sub(room).filter(|excess| *excess > 0 && !kept.is_empty()) {
            None => return line,
            Some(excess) => kept = cut(kept, kept.len().saturating_sub(excess.div_ceil(2))),
        }
    }
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
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
        self.filter.passes(*metadata.level(), metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.say(*event.metadata().level(), event.metadata().target(), &message.0, None);
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.filter.most().into())
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

/// The text of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(look: Look) -> Lines {
        let (said, _) = mpsc::channel();
        Lines { filter: Filter::all(Level::INFO), look, said, dropped: AtomicU64::new(0), own: None }
    }

    const TEXT: Look = Look { format: Format::Text, prefix: true, priority: false };

    #[test]
    fn lines_of_text_have_name_priority_and_word_as_it_is_asked_for() {
        let told = |look, level| lines(look).line(level, Timestamp(0), "web: added", None);
        assert_eq!(told(TEXT, Level::INFO), "ppm | web: added\n");
        assert_eq!(told(TEXT, Level::WARN), "ppm | warning: web: added\n");
        assert_eq!(told(Look { prefix: false, ..TEXT }, Level::ERROR), "error: web: added\n");
        assert_eq!(told(Look { priority: true, ..TEXT }, Level::ERROR), "<3>ppm | error: web: added\n");
        assert_eq!(told(Look { priority: true, prefix: false, ..TEXT }, Level::DEBUG), "<7>web: added\n");
    }

    #[test]
    fn r41_no_line_is_longer_than_a_pipe_takes_whole() {
        for (format, text) in [(Format::Text, "é"), (Format::Json, "é"), (Format::Json, "\"\\")] {
            let line = lines(Look { format, priority: true, ..TEXT }).line(Level::WARN, Timestamp(0), &text.repeat(4000), None);
            assert!(line.len() <= LONGEST_LINE && line.len() > 1000 && line.ends_with('\n'), "{}", line.len());
            let json = line.trim_start_matches("<4>");
            assert!(format == Format::Text || serde_json::from_str::<serde_json::Value>(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn the_environment_says_how_lines_look() {
        let look = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Look::of(|name| set.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(look(&[]), (TEXT, None));
        assert_eq!(
            look(&[("PPM_LOG_FORMAT", "json"), ("PPM_LOG_PREFIX", "0")]),
            (Look { format: Format::Json, prefix: false, ..TEXT }, None)
        );
        assert_eq!(look(&[("PPM_LOG_PREFIX", "1"), ("JOURNAL_STREAM", "0:0")]), (TEXT, None));
        let unknown = "PPM_LOG_FORMAT: `xml` is neither `text` nor `json`";
        assert_eq!(look(&[("PPM_LOG_FORMAT", "xml")]), (TEXT, Some(unknown.to_owned())));
    }
}
