//! The log files of a service, read as one after the other.
//!
//! A line's time and stream come from the index; what that does not tell is unknown. Files that were thrown away before
//! they were read are told as a gap.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ppm_core::rotate::{Begun, file_name, index_name, parse_name};
use ppm_core::time::Timestamp;
use ppm_protocol::Stream;

use super::index::{self, HEADER, RECORD, Record, Source};
use super::lines::{Line, Lines, Piece};

/// So much of a file is looked at at a time.
const BLOCK: usize = 64 * 1024;

/// So many records of an index are read at a time.
const RECORDS: usize = 256;

/// What is told where files are missing.
const LEFT_OUT: &[u8] = b"[ppm: lines are left out here: their files were thrown away before they were read]";

/// The files of a service.
#[derive(Debug, Default)]
pub struct Files {
    folder: PathBuf,
    service: String,
    open: Option<Open>,
    /// Where they ended when they were looked at: in which file, and where in that.
    end: Option<(Begun, u64)>,
    lines: Lines,
    /// No more is waited for.
    is_over: bool,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    begun: Begun,
    file: File,
    index: Option<File>,
    /// The next byte to be read, and where the file ended when it was looked at.
    at: u64,
    end: u64,
    /// The next record to be read, and those that were.
    record: u64,
    records: Vec<Record>,
}

impl Files {
    /// Those in this folder; nothing is opened yet.
    pub fn new(folder: PathBuf, service: String) -> Files {
        Files { folder, service, ..Files::default() }
    }

    /// Whether there are none.
    pub fn are_missing(&self) -> bool {
        self.list().is_empty()
    }

    /// Opens the first file where none is open, and looks how far they go.
    pub fn look(&mut self, since: Option<Timestamp>) {
        let all = self.list();
        let size = |begun| fs::metadata(self.folder.join(file_name(&self.service, begun))).map_or(0, |found| found.len());
        self.end = all.last().map(|begun| (*begun, size(*begun)));
        if self.open.is_none() {
            // A file holds nothing from after the next was begun.
            let skipped = since.map_or(0, |since| all.iter().filter(|begun| begun.0 < since.0).count().saturating_sub(1));
            self.open = all.into_iter().skip(skipped).find_map(|begun| Open::new(&self.folder, &self.service, begun));
        }
        if let Some(open) = &mut self.open {
            open.look(self.end);
        }
    }

    /// How many bytes they have from the open one on.
    pub fn size(&self) -> u64 {
        let Some(first) = self.open.as_ref().map(|open| open.begun) else { return 0 };
        let path = |begun| self.folder.join(file_name(&self.service, begun));
        let files = self.list().into_iter().filter(|begun| *begun >= first);
        files.filter_map(|begun| fs::metadata(path(begun)).ok()).map(|found| found.len()).sum()
    }

    fn list(&self) -> Vec<Begun> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut all: Vec<Begun> = names
            .filter_map(|name| parse_name(name.to_str()?).filter(|(service, _)| *service == self.service).map(|(_, begun)| begun))
            .collect();
        all.sort_unstable();
        all
    }

    /// The next line, as far as the files went when they were looked at.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.next() {
                return Some(line);
            }
            match self.open.as_mut().and_then(Open::next_piece) {
                Some(piece) => self.lines.take(piece),
                None if self.go_on() => {}
                None if self.is_over && self.lines.end() => {}
                None => return None,
            }
        }
    }

    /// There is no more: what is left of a line is the last.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Goes on in the next file, if there is one: the one before it is complete then.
    fn go_on(&mut self) -> bool {
        let Some((open, (last, _))) = self.open.as_mut().zip(self.end) else { return false };
        let current = open.begun;
        if current >= last {
            return false;
        }
        if open.look(self.end) {
            return true;
        }
        let Some(next) = self.list().into_iter().find(|begun| *begun > current && *begun <= last) else { return false };
        let Some(mut next) = Open::new(&self.folder, &self.service, next) else { return false };
        next.look(self.end);
        if next.previous().is_some_and(|previous| previous > current) {
            self.lines.say(Line { time: None, source: Source::Daemon, bytes: LEFT_OUT.to_vec(), partial: false });
        }
        self.open = Some(next);
        true
    }

    /// Begins only so many ends of lines before the end.
    pub fn go_back(&mut self, mut lines: u64, stream: Option<Stream>, since: Option<Timestamp>) {
        let Some(first) = self.open.as_ref().map(|open| open.begun) else { return };
        let last = self.end;
        for begun in self
            .list()
            .into_iter()
            .rev()
            .skip_while(|begun| last.is_some_and(|(last, _)| *begun > last))
            .take_while(|begun| *begun >= first)
        {
            let Some(mut open) = Open::new(&self.folder, &self.service, begun) else { continue };
            open.look(self.end);
            let found = open.go_back(lines, stream);
            self.open = Some(open);
            match found.checked_sub(lines) {
                Some(_) => return,
                None => lines -= found,
            }
            if since.is_some_and(|since| begun.0 < since.0) {
                return;
            }
        }
    }

    /// The same from here on, to read it twice.
    pub fn bookmark(&mut self) -> Files {
        let (folder, service) = (self.folder.clone(), self.service.clone());
        let open = self.open.as_ref().and_then(|open| {
            let again = Open::new(&folder, &service, open.begun)?;
            Some(Open { at: open.at, end: open.end, record: open.record, records: open.records.clone(), ..again })
        });
        Files { folder, service, open, end: self.end, is_over: self.is_over, ..Files::default() }
    }
}

/// The last so many bytes before this place, which is a file and a byte in it.
pub fn last_pieces(folder: &Path, service: &str, end: (Begun, u64), bytes: u64) -> Vec<Piece> {
    let (last, mut at) = end;
    let files = Files::new(folder.to_owned(), service.to_owned());
    let mut left = bytes;
    let mut parts = Vec::new();
    for begun in files.list().into_iter().rev().skip_while(|begun| *begun > last) {
        let Some(mut open) = Open::new(folder, service, begun) else { break };
        open.look(Some((last, at)));
        let begin = open.end.saturating_sub(left);
        left -= open.end - begin;
        open.begin_at(begin);
        parts.push(open);
        at = u64::MAX;
        if left == 0 {
            break;
        }
    }
    parts.into_iter().rev().flat_map(|mut open| std::iter::from_fn(move || open.next_piece())).collect()
}

impl Open {
    fn new(folder: &Path, service: &str, begun: Begun) -> Option<Open> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(folder.join(file_name(service, begun))).ok()?;
        let index = options.open(folder.join(index_name(service, begun))).ok();
        let open = Open { begun, file, index, at: 0, end: 0, record: 0, records: Vec::new() };
        open.file.metadata().ok().filter(fs::Metadata::is_file).map(|_| open)
    }

    /// The file before this one, if its index tells.
    fn previous(&self) -> Option<Begun> {
        let mut header = [0; HEADER];
        self.index.as_ref()?.read_exact_at(&mut header, 0).ok()?;
        index::previous(&header)
    }

    /// Looks where the file ends now, or ended when it was looked at as the last one, and whether that is farther than what
    /// has been read.
    fn look(&mut self, last: Option<(Begun, u64)>) -> bool {
        let size = self.file.metadata().map_or(self.end, |found| found.len());
        self.end = last.filter(|(begun, _)| *begun == self.begun).map_or(size, |(_, end)| size.min(end));
        self.at < self.end
    }

    fn next_piece(&mut self) -> Option<Piece> {
        if self.at >= self.end {
            return None;
        }
        let (time, source, end) = match self.next_record() {
            Some(record) if record.start > self.at => (None, Source::Stdout, record.start),
            Some(record) => (Some(record.time), record.source, record.start + u64::from(record.length)),
            None => (None, Source::Stdout, self.end),
        };
        let length = usize::try_from(end - self.at).unwrap_or(BLOCK).min(BLOCK);
        let mut bytes = vec![0; length];
        let count = self.file.read_at(&mut bytes, self.at).ok().filter(|count| *count > 0)?;
        bytes.truncate(count);
        self.at += u64::try_from(count).unwrap_or(0);
        Some(Piece { time, source, bytes })
    }

    /// The record of the next byte, or the first after it.
    fn next_record(&mut self) -> Option<Record> {
        loop {
            while let Some(record) = self.records.last() {
                if record.start + u64::from(record.length) > self.at {
                    return Some(*record);
                }
                self.records.pop();
            }
            let read = read_records(self.index.as_ref()?, self.record, RECORDS);
            self.record += u64::try_from(read.len()).unwrap_or(0);
            if read.is_empty() {
                return None;
            }
            self.records = read.into_iter().rev().collect();
        }
    }

    /// Goes to the place after which there are only so many ends of lines, or to the beginning; says how many it found.
    fn go_back(&mut self, lines: u64, stream: Option<Stream>) -> u64 {
        let wanted = |source: Source| match stream {
            Some(Stream::Stdout) => source == Source::Stdout,
            Some(Stream::Stderr) => source == Source::Stderr,
            Some(Stream::Daemon | Stream::Other(_)) | None => true,
        };
        let mut record = self.count_records();
        let (mut found, mut end) = (0, self.end);
        while record > 0 && end > 0 {
            let first = record.saturating_sub(RECORDS as u64);
            let Some(index) = &self.index else { break };
            let records = read_records(index, first, usize::try_from(record - first).unwrap_or(RECORDS));
            for piece in records.into_iter().rev() {
                let piece_end = piece.start + u64::from(piece.length);
                for (source, start, end) in [(Source::Stdout, piece_end, end), (piece.source, piece.start, piece_end.min(end))] {
                    if start < end
                        && wanted(source)
                        && let Some(at) = self.count_back(start, end, lines - found, &mut found)
                    {
                        self.begin_at(at);
                        return lines;
                    }
                }
                end = end.min(piece.start);
            }
            record = first;
        }
        if wanted(Source::Stdout)
            && let Some(at) = self.count_back(0, end, lines - found, &mut found)
        {
            self.begin_at(at);
            return lines;
        }
        found
    }

    /// Goes to this byte. Records are in the order of what they tell of, so the one of it need not be looked for from the
    /// beginning.
    fn begin_at(&mut self, at: u64) {
        (self.at, self.record) = (at, 0);
        self.records.clear();
        let Some(index) = &self.index else { return };
        let mut after = self.count_records();
        while self.record < after {
            let middle = self.record.midpoint(after);
            match read_records(index, middle, 1).first() {
                Some(record) if record.start + u64::from(record.length) <= at => self.record = middle + 1,
                Some(_) | None => after = middle,
            }
        }
    }

    fn count_records(&self) -> u64 {
        let size = self.index.as_ref().and_then(|index| index.metadata().ok()).map_or(0, |found| found.len());
        size.saturating_sub(HEADER as u64) / RECORD as u64
    }

    /// Counts ends of lines from `end` back to `start`. The place behind the last one, when there are more than `most`.
    fn count_back(&self, start: u64, end: u64, most: u64, found: &mut u64) -> Option<u64> {
        let (mut end, mut count) = (end, 0);
        while end > start {
            let from = end.saturating_sub(BLOCK as u64).max(start);
            let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(BLOCK)];
            self.file.read_exact_at(&mut bytes, from).ok()?;
            for at in memchr::memrchr_iter(b'\n', &bytes) {
                if count == most {
                    return Some(from + u64::try_from(at).unwrap_or(0) + 1);
                }
                (count, *found) = (count + 1, *found + 1);
            }
            end = from;
        }
        None
    }
}

/// So many records of an index from the one with this number on, as far as there are any.
fn read_records(index: &File, first: u64, most: usize) -> Vec<Record> {
    let mut bytes = vec![0; most * RECORD];
    let at = HEADER as u64 + first * RECORD as u64;
    let count = index.read_at(&mut bytes, at).unwrap_or(0);
    bytes[..count].as_chunks().0.iter().map(Record::decode).collect()
}
