//! Pieces of output as lines.
//!
//! What a service writes to its two streams is mixed by pieces: each line is put together from those of its stream, and
//! has the time of its beginning.

use std::collections::BTreeMap;

use ppm_core::time::Timestamp;
use ppm_protocol::{LogLine, Stream};

use super::file::CUT;
use super::index::Source;

/// A longer line is told in parts, in bytes.
const LONGEST: usize = 64 * 1024;

/// A piece of output as it is kept.
#[derive(Debug)]
pub struct Piece {
    /// When it was written, if that is known.
    pub time: Option<Timestamp>,
    /// By whom.
    pub source: Source,
    /// What.
    pub bytes: Vec<u8>,
}

/// A line as it was found.
#[derive(Debug)]
pub struct Line {
    /// When its beginning was written, if that is known.
    pub time: Option<Timestamp>,
    /// By whom.
    pub source: Source,
    /// Without its end.
    pub bytes: Vec<u8>,
    /// Whether it goes on in the next one.
    pub partial: bool,
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Line {
        Line { time: line.time, source: Source::Stderr, bytes: line.message.into_bytes(), partial: false }
    }
}

impl Line {
    /// As it is told.
    pub fn told(self, id: Option<u32>, service: &str) -> LogLine {
        let stream = match self.source {
            Source::Stdout => Stream::Stdout,
            Source::Stderr => Stream::Stderr,
            Source::Daemon => Stream::Daemon,
        };
        let (message, bytes) = match String::from_utf8(self.bytes) {
            Ok(message) => (message, None),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes())),
        };
        LogLine { time: self.time, service: service.to_owned(), id, stream, message, bytes, partial: self.partial }
    }
}

/// Pieces go in, lines come out.
#[derive(Debug, Default)]
pub struct Lines {
    /// Lines that have begun, by who writes them.
    begun: BTreeMap<Source, (Option<Timestamp>, Vec<u8>)>,
    /// Whole lines, newest first.
    whole: Vec<Line>,
}

impl Lines {
    /// The next whole line.
    pub fn next(&mut self) -> Option<Line> {
        self.whole.pop()
    }

    /// This line comes next.
    pub fn say(&mut self, line: Line) {
        self.whole.push(line);
    }

    /// Sorts a piece into lines.
    pub fn take(&mut self, piece: Piece) {
        let (mut found, mut rest) = (Vec::new(), piece.bytes.as_slice());
        if piece.source == Source::Daemon {
            // Whatever the daemon writes ends the lines that have begun.
            let is_cut = piece.bytes == CUT;
            found = self.give_up_begun(is_cut);
            rest = if is_cut { &[] } else { rest.strip_prefix(b"\n").unwrap_or(rest) };
        }
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (time, mut bytes) = self.begun.remove(&piece.source).unwrap_or((piece.time, Vec::new()));
            bytes.extend_from_slice(&rest[..end]);
            found.push(Line { time, source: piece.source, bytes, partial: false });
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            let (time, begun) = self.begun.entry(piece.source).or_insert((piece.time, Vec::new()));
            begun.extend_from_slice(rest);
            if begun.len() >= LONGEST {
                found.push(Line { time: *time, source: piece.source, bytes: std::mem::take(begun), partial: true });
            }
        }
        self.whole.extend(found.into_iter().rev());
    }

    /// There is no more: what has begun of lines is all of them. Whether there was any.
    pub fn end(&mut self) -> bool {
        let last = self.give_up_begun(false);
        let is_any = !last.is_empty();
        self.whole.extend(last.into_iter().rev());
        is_any
    }

    /// The lines that have begun: there is no more of them.
    fn give_up_begun(&mut self, partial: bool) -> Vec<Line> {
        let begun = std::mem::take(&mut self.begun).into_iter().filter(|(_, (_, bytes))| !bytes.is_empty());
        begun.map(|(source, (time, bytes))| Line { time, source, bytes, partial }).collect()
    }
}
