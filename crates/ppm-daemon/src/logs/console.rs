//! Output of services on the daemon's standard output, for whoever collects that.
//!
//! Never waits for a reader: what it does not take waits here, within bounds; then the oldest goes, and how much is told
//! where the rest goes on (R40, R41).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use memchr::{memchr, memchr_iter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ppm_core::event::ServiceId;
use ppm_core::logging::{Format, Style};
use ppm_core::time::{Mono, Now};
use ppm_protocol::{LogLine, Stream};

use super::index::Source;
use crate::clock;

/// So much waits for a reader, in bytes.
const MOST_WAITING: usize = 256 * 1024;

/// The longest part of a line in JSON, in bytes: with all that stands around it, it stays below 16 KiB, at which runtimes
/// of containers cut lines.
const LONGEST_PART: usize = 8 * 1024;

/// So much is written at a time where standard output is shared: a pipe that is ready takes it whole (pipe(7)).
const AT_A_TIME: usize = 4096;

/// Colours of services in the terminal: cyan, yellow, green, magenta, blue.
const COLOURS: [u8; 5] = [36, 33, 32, 35, 34];

/// The daemon's standard output.
#[derive(Debug)]
pub struct Console {
    /// Opened once more, not to wait there; None: it can only be shared, and is looked at before each write.
    own: Option<File>,
    coloured: bool,
    waiting: VecDeque<Vec<u8>>,
    size: usize,
    /// How much of the first piece has been written.
    written: usize,
    /// How many lines have gone that nothing tells of yet.
    left_out: usize,
    /// Whether the first piece tells of such.
    tells_of_gap: bool,
    width: usize,
}

impl Console {
    /// Standard output as it is.
    pub fn new() -> Console {
        // A file never keeps anybody waiting, and where it was not opened to be appended to, who opens it once more has a place of
        // its own in it: the daemon's own lines, or those of services that share it, would be written over.
        let shared = io::stdout().as_fd().try_clone_to_owned().map(File::from).ok();
        let file = shared.filter(|shared| shared.metadata().is_ok_and(|found| found.is_file()));
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let own = file.or_else(|| File::options().write(true).custom_flags(flags).open("/proc/self/fd/1").ok());
        let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Console { own, coloured, waiting: VecDeque::new(), size: 0, written: 0, left_out: 0, tells_of_gap: false, width: 0 }
    }

    /// Whether something waits for a reader.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What becomes ready when a reader takes more.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.own {
            Some(own) => Ok(own.as_fd()),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Writes output of a service, line by line.
    pub fn say(&mut self, style: Style, service: &str, id: ServiceId, source: Source, now: Now, output: &[u8]) {
        self.width = self.width.max(service.len());
        let mut text = Vec::with_capacity(output.len() + output.len() / 2);
        let mut rest = output;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            match style.format {
                Format::Text => self.line(style, service, source, now, line, &mut text),
                Format::Json => parts(service, id, source, now, line, end.is_none(), &mut text),
            }
            rest = rest.get(line.len() + 1..).unwrap_or_default();
        }
        self.push(text);
        self.flush();
    }

    fn line(&self, style: Style, service: &str, source: Source, now: Now, line: &[u8], out: &mut Vec<u8>) {
        let (name, bar) = match (self.coloured, source) {
            (false, _) => (String::new(), String::new()),
            (true, Source::Stderr) => (colour(service), "\x1b[31m".to_owned()),
            (true, Source::Stdout | Source::Daemon) => (colour(service), colour(service)),
        };
        let end = if self.coloured { "\x1b[0m" } else { "" };
        let width = self.width;
        // Writing to a Vec cannot fail.
        let _ = match (style.prefix, style.timestamps) {
            (true, true) => write!(out, "{name}{service:width$} {bar}|{end} {} ", now.wall),
            (true, false) => write!(out, "{name}{service:width$} {bar}|{end} "),
            (false, true) => write!(out, "{} ", now.wall),
            (false, false) => Ok(()),
        };
        out.extend_from_slice(line);
        out.push(b'\n');
    }

    fn push(&mut self, text: Vec<u8>) {
        self.size += text.len();
        self.waiting.push_back(text);
        // A piece of which something has been written stays, or a line would end in the middle of another; and so does what
        // tells of those that have gone.
        let first = usize::from(self.written > 0 || self.tells_of_gap);
        while self.size > MOST_WAITING && self.waiting.len() > first + 1 {
            let Some(piece) = self.waiting.remove(first) else { break };
            self.size -= piece.len();
            self.left_out += memchr_iter(b'\n', &piece).count();
        }
    }

    /// Writes as much as is taken without waiting.
    pub fn flush(&mut self) {
        while let Some(piece) = self.waiting.front() {
            if self.written == 0 && self.left_out > 0 && !self.tells_of_gap {
                let note = format!("ppm | {} lines left out: nobody reads this\n", self.left_out).into_bytes();
                (self.left_out, self.tells_of_gap) = (0, true);
                self.size += note.len();
                self.waiting.push_front(note);
                continue;
            }
            match self.write(&piece[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody will ever read it, or there is no room: what was written stays, the rest is gone.
                Err(_) => self.written = piece.len(),
            }
            if self.waiting.front().is_some_and(|piece| self.written >= piece.len()) {
                self.size -= self.waiting.pop_front().map_or(0, |piece| piece.len());
                (self.written, self.tells_of_gap) = (0, false);
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut own) = self.own.as_ref() {
            return own.write(bytes);
        }
        let stdout = io::stdout();
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut fds, PollTimeout::ZERO)? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(nix::unistd::write(stdout.as_fd(), &bytes[..bytes.len().min(AT_A_TIME)])?)
    }

    /// Writes what waits, as long as it is taken and not for longer than `patience`.
    pub fn drain(&mut self, patience: Duration) {
        let until: Mono = clock::now().mono + patience;
        self.flush();
        while self.is_waiting() {
            let left = until.since(clock::now().mono);
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let stdout = io::stdout();
            let mut fds = [PollFd::new(self.descriptor().unwrap_or(stdout.as_fd()), PollFlags::POLLOUT)];
            if left.is_zero() || poll(&mut fds, timeout).is_ok_and(|ready| ready == 0) {
                return;
            }
            self.flush();
        }
    }
}

/// The same for the same name.
fn colour(service: &str) -> String {
    let hash = service.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    format!("\x1b[{}m", COLOURS[hash % COLOURS.len()])
}

/// A line as objects, one in a line; the last is partial if the line has not ended.
fn parts(service: &str, id: ServiceId, source: Source, now: Now, line: &[u8], is_open: bool, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    let mut rest: &str = &text;
    loop {
        let (part, later) = rest.split_at(rest.floor_char_boundary(LONGEST_PART));
        let told = LogLine {
            time: Some(now.wall),
            service: service.to_owned(),
            id: Some(id.0),
            stream: match source {
                Source::Stdout => Stream::Stdout,
                Source::Stderr => Stream::Stderr,
                Source::Daemon => Stream::Daemon,
            },
            message: part.to_owned(),
            bytes: None,
            partial: is_open || !later.is_empty(),
        };
        let _ = serde_json::to_writer(&mut *out, &told);
        out.push(b'\n');
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}
