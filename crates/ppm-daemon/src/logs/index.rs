//! The index beside a log file: when each piece of it was written, and to which stream.
//!
//! A log file holds bytes as a service wrote them, which say neither. The index is a header and then a record for each
//! piece, in the order of the pieces. It is written behind and without care: whoever reads it takes only what fits the
//! file, and what it does not tell is unknown.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ppm_core::rotate::Begun;
use ppm_core::time::Timestamp;

/// The first bytes of an index; the digit is its version. When the file before was begun follows, in milliseconds.
const MAGIC: [u8; 8] = *b"ppm-idx1";

/// The length of the header, in bytes.
pub const HEADER: usize = 16;

/// The length of a record, in bytes.
pub const RECORD: usize = 16;

/// So many records are gathered before they are written.
const GATHERED: usize = 256;

/// A piece is told apart from the next one of the same stream and the same moment only from this length on.
const LONGEST: u32 = 1 << 30;

/// Who wrote a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The service, to its standard output.
    Stdout,
    /// The service, to its standard error.
    Stderr,
    /// The daemon: an end of line that was missing, or a word about what is missing.
    Daemon,
}

/// A piece of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was written.
    pub time: Timestamp,
    /// By whom.
    pub source: Source,
    /// Its first byte in the file.
    pub start: u64,
    /// How many bytes it has.
    pub length: u32,
}

impl Record {
    /// Six bytes of time, six of its end, four of its length; the source is in the highest bits of the time.
    pub fn encode(self) -> [u8; RECORD] {
        let source = match self.source {
            Source::Stdout => 0,
            Source::Stderr => 1,
            Source::Daemon => 2,
        };
        let time = u64::try_from(self.time.0).unwrap_or(0) & (u64::MAX >> 18) | source << 46;
        let end = self.start + u64::from(self.length);
        let mut bytes = [0; RECORD];
        bytes[..6].copy_from_slice(&time.to_le_bytes()[..6]);
        bytes[6..12].copy_from_slice(&end.to_le_bytes()[..6]);
        bytes[12..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The same, read.
    pub fn decode(bytes: &[u8; RECORD]) -> Record {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let (time, end, length) = (number(&bytes[..6]), number(&bytes[6..12]), number(&bytes[12..]));
        let source = match time >> 46 {
            0 => Source::Stdout,
            1 => Source::Stderr,
            _ => Source::Daemon,
        };
        let time = Timestamp(i64::try_from(time & (u64::MAX >> 18)).unwrap_or(0));
        Record { time, source, start: end.saturating_sub(length), length: u32::try_from(length).unwrap_or(u32::MAX) }
    }
}

/// The records of the active file that are not written yet.
#[derive(Debug, Default)]
pub struct Index {
    records: Vec<Record>,
}

impl Index {
    /// Adds a piece that follows the last one. Says whether there are many by now.
    pub fn add(&mut self, time: Timestamp, source: Source, start: u64, length: usize) -> bool {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        match self.records.last_mut() {
            Some(last) if last.time == time && last.source == source && last.length < LONGEST && length < LONGEST => last.length += length,
            Some(_) | None => self.records.push(Record { time, source, start, length }),
        }
        self.records.len() >= GATHERED
    }

    /// Writes what there is. What cannot be written is forgotten, and nothing half is left of it.
    pub fn write(&mut self, path: &Path, previous: Option<Begun>) {
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            let _ = append(path, &records, previous);
        }
    }
}

/// When the file before was begun, by a header.
pub fn previous(header: &[u8; HEADER]) -> Option<Begun> {
    let (magic, begun) = header.split_first_chunk::<8>()?;
    let begun = i64::from_le_bytes(begun.try_into().ok()?);
    (*magic == MAGIC && begun != 0).then_some(Begun(begun))
}

fn append(path: &Path, records: &[Record], previous: Option<Begun>) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(path)?;
    let before = file.metadata()?.len();
    let header = [MAGIC, previous.map_or(0, |begun| begun.0).to_le_bytes()].concat();
    let header = if before == 0 { header.as_slice() } else { &[] };
    let bytes: Vec<u8> = header.iter().copied().chain(records.iter().flat_map(|record| record.encode())).collect();
    let written = file.write_all(&bytes);
    if written.is_err() {
        file.set_len(before)?;
    }
    written
}
