//! Reads logs to a client, on a thread that exists as long as the client reads.
//!
//! Nothing is held but one block of each file: whoever reads slowly is written to slowly, and falls behind. A line's
//! time and stream come from the index; what that does not tell is unknown. Files that were thrown away before they were
//! read are told as a gap.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use ppm_core::rotate::{Begun, file_name, index_name, parse_name};
use ppm_core::time::Timestamp;
use ppm_protocol::message::{Notification, ReadLog};
use ppm_protocol::{LogLine, RpcId, Stream};
use tokio::sync::mpsc;

use super::Thread;
use super::file::CUT;
use super::index::{self, HEADER, RECORD, Record, Source};

/// So much of a file is looked at at a time.
const BLOCK: usize = 64 * 1024;

/// So many records of an index are read at a time.
const RECORDS: usize = 256;

/// A longer line is told in parts, in bytes.
const LONGEST: usize = 64 * 1024;

/// So much is handed on at a time, in bytes.
const PORTION: usize = 32 * 1024;

/// How many lines more are looked at from the end than were asked for: two streams may each have begun one.
const SPARE: u64 = 8;

/// What is told where files are missing.
const LEFT_OUT: &[u8] = b"[ppm: lines are left out here: their files were thrown away before they were read]";

/// What is to be read.
#[derive(Debug)]
pub struct Reading {
    /// The services that have files, and their folders.
    pub files: Vec<(u32, String, PathBuf)>,
    /// The daemon's own lines, if they are meant: those that there are, and those to come.
    pub own: Option<(Vec<LogLine>, Receiver<LogLine>)>,
    /// Which lines.
    pub query: ReadLog,
    /// The call.
    pub call: RpcId,
    /// Where they go.
    pub out: mpsc::Sender<Vec<u8>>,
    /// Who writes the files, if anybody does.
    pub collector: Option<Thread>,
    /// Something new may be there.
    pub poked: Receiver<()>,
}

/// The reader has gone.
struct Gone;

/// Reads to the end, or for as long as the client is there.
pub fn read(reading: Reading) {
    let Reading { files, own, query, call, out, collector, poked } = reading;
    let mut out = Out { out, waiting: Vec::new() };
    let mut logs: Vec<Log> = files.into_iter().map(|(id, service, folder)| Log::of_files(id, service, folder, &query)).collect();
    if let Some((lines, live)) = own {
        logs.push(Log::of_daemon(lines, live, &query));
    }
    let mut merge = Merge { logs, query, collector };
    let outcome = merge.history(&mut out).and_then(|()| merge.follow(&mut out, &poked));
    if outcome.is_ok() {
        let end = Notification::end(&ppm_protocol::End { call, error: None }).line();
        let _ = out.push(&end).and_then(|()| out.flush());
    }
}

/// Lines on their way, in portions.
struct Out {
    out: mpsc::Sender<Vec<u8>>,
    waiting: Vec<u8>,
}

impl Out {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PORTION { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.out.blocking_send(std::mem::take(&mut self.waiting)).map_err(|_| Gone)
    }
}

/// Several logs as one, in the order of their times.
struct Merge {
    logs: Vec<Log>,
    query: ReadLog,
    collector: Option<Thread>,
}

impl Merge {
    /// What there is by now.
    fn history(&mut self, out: &mut Out) -> Result<(), Gone> {
        self.look();
        if !self.query.follow {
            self.logs.iter_mut().for_each(Log::end);
        }
        let Some(last) = self.query.last else { return self.drain(|line| out.push(&told(line))).and_then(|()| out.flush()) };
        // Twice over the same: counting takes no memory, however many lines are wanted.
        if self.query.until.is_none() {
            let stream = self.query.stream;
            self.logs.iter_mut().for_each(|log| log.go_back(last, stream));
        }
        let begin: Vec<Log> = self.logs.iter_mut().map(Log::bookmark).collect();
        let mut count = 0_u64;
        self.drain(|_| {
            count += 1;
            Ok(())
        })?;
        let ahead = std::mem::replace(&mut self.logs, begin);
        let mut skip = count.saturating_sub(last);
        let mut left = count.min(last);
        self.drain(|line| {
            if skip > 0 {
                skip -= 1;
                return Ok(());
            }
            left = left.saturating_sub(1);
            out.push(&told(line))
        })?;
        for (log, ahead) in self.logs.iter_mut().zip(ahead) {
            log.take_live(ahead);
        }
        out.flush()
    }

    /// What comes, for as long as somebody reads.
    fn follow(&mut self, out: &mut Out, poked: &Receiver<()>) -> Result<(), Gone> {
        if !self.query.follow {
            return Ok(());
        }
        while poked.recv().is_ok() && !out.out.is_closed() {
            self.look();
            self.drain(|line| out.push(&told(line)))?;
            out.flush()?;
        }
        Err(Gone)
    }

    /// Looks how far the logs go when all is in them that has been written by now. After the files the indices are
    /// brought up to date once more: so these tell all of those.
    fn look(&mut self) {
        self.collector.iter().for_each(Thread::write_indices);
        self.logs.iter_mut().for_each(Log::look);
        self.collector.iter().for_each(Thread::write_indices);
    }

    /// Tells whole lines, the oldest first, until there is none.
    fn drain(&mut self, mut tell: impl FnMut(&LogLine) -> Result<(), Gone>) -> Result<(), Gone> {
        loop {
            for log in &mut self.logs {
                log.fill();
            }
            let next = self.logs.iter_mut().filter(|log| log.next.is_some()).min_by_key(|log| log.at);
            let Some(line) = next.and_then(|log| log.next.take()) else { return Ok(()) };
            if self.query.stream.is_none_or(|stream| stream == line.stream || line.stream == Stream::Daemon) {
                tell(&line)?;
            }
        }
    }
}

fn told(line: &LogLine) -> Vec<u8> {
    Notification::log(line).line()
}

/// One log, as a source of lines.
struct Log {
    id: Option<u32>,
    service: String,
    /// The next line, if it is known.
    next: Option<LogLine>,
    /// Its place among others: its time, or that of the last line whose time is known.
    at: Timestamp,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    kind: Kind,
}

enum Kind {
    Files(Files),
    Daemon { lines: std::collections::VecDeque<LogLine>, live: Option<Receiver<LogLine>> },
}

impl Log {
    fn of_files(id: u32, service: String, folder: PathBuf, query: &ReadLog) -> Log {
        let kind = Kind::Files(Files { folder, service: service.clone(), ..Files::default() });
        Log { id: Some(id), service, next: None, at: Timestamp(0), since: query.since, until: query.until, kind }
    }

    fn of_daemon(lines: Vec<LogLine>, live: Receiver<LogLine>, query: &ReadLog) -> Log {
        let kind = Kind::Daemon { lines: lines.into(), live: Some(live) };
        Log { id: None, service: "ppm-daemon".to_owned(), next: None, at: Timestamp(0), since: query.since, until: query.until, kind }
    }

    fn look(&mut self) {
        match &mut self.kind {
            Kind::Files(files) => files.look(self.since),
            Kind::Daemon { lines, live } => lines.extend(live.iter().flat_map(Receiver::try_iter)),
        }
    }

    /// Skips all but the last so many lines, and a few more.
    fn go_back(&mut self, last: u64, stream: Option<Stream>) {
        match &mut self.kind {
            Kind::Files(files) => files.go_back(last.saturating_add(SPARE), stream, self.since),
            Kind::Daemon { .. } => {}
        }
    }

    /// The same log from here, to read it twice. What comes live stays where it is.
    fn bookmark(&mut self) -> Log {
        let kind = match &mut self.kind {
            Kind::Files(files) => Kind::Files(files.bookmark()),
            Kind::Daemon { lines, .. } => Kind::Daemon { lines: lines.clone(), live: None },
        };
        Log { kind, service: self.service.clone(), next: self.next.clone(), ..*self }
    }

    fn take_live(&mut self, ahead: Log) {
        if let (Kind::Daemon { live, .. }, Kind::Daemon { live: other, .. }) = (&mut self.kind, ahead.kind) {
            *live = other;
        }
    }

    /// There is no more: what is left of a line is the last.
    fn end(&mut self) {
        if let Kind::Files(files) = &mut self.kind {
            files.is_over = true;
        }
    }

    /// Has the next line ready, if there is one.
    fn fill(&mut self) {
        while self.next.is_none() {
            let line = match &mut self.kind {
                Kind::Files(files) => files.next_line(),
                Kind::Daemon { lines, .. } => lines.pop_front().map(Line::from),
            };
            let Some(line) = line else { return };
            self.at = line.time.unwrap_or(self.at).max(self.at);
            let is_wanted = self.since.is_none_or(|since| self.at >= since) && self.until.is_none_or(|until| self.at < until);
            if is_wanted {
                self.next = Some(line.told(self.id, &self.service));
            }
        }
    }
}

/// A line as it was found.
struct Line {
    time: Option<Timestamp>,
    source: Source,
    bytes: Vec<u8>,
    partial: bool,
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Line {
        Line { time: line.time, source: Source::Stderr, bytes: line.message.into_bytes(), partial: false }
    }
}

impl Line {
    fn told(self, id: Option<u32>, service: &str) -> LogLine {
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

/// The files of a service, as one after the other.
#[derive(Default)]
struct Files {
    folder: PathBuf,
    service: String,
    open: Option<Open>,
    /// Lines that have begun, by who writes them.
    begun: BTreeMap<Source, (Option<Timestamp>, Vec<u8>)>,
    /// Whole lines, newest first.
    lines: Vec<Line>,
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

/// A piece of a file.
struct Piece {
    time: Option<Timestamp>,
    source: Source,
    bytes: Vec<u8>,
}

impl Files {
    /// Opens the first file where none is open, and looks how far the open one goes.
    fn look(&mut self, since: Option<Timestamp>) {
        if self.open.is_none() {
            let all = self.list();
            // A file holds nothing from after the next was begun.
            let skipped = since.map_or(0, |since| all.iter().filter(|begun| begun.0 < since.0).count().saturating_sub(1));
            self.open = all.into_iter().skip(skipped).find_map(|begun| Open::new(&self.folder, &self.service, begun));
        }
        if let Some(open) = &mut self.open {
            open.look();
        }
    }

    fn list(&self) -> Vec<Begun> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut all: Vec<Begun> = names
            .filter_map(|name| parse_name(name.to_str()?).filter(|(service, _)| *service == self.service).map(|(_, begun)| begun))
            .collect();
        all.sort_unstable();
        all
    }

    fn next_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.pop() {
                return Some(line);
            }
            match self.open.as_mut().and_then(Open::next_piece) {
                Some(piece) => self.take(piece),
                None if self.go_on() => {}
                None if self.is_over && !self.begun.is_empty() => {
                    let last = self.give_up_begun(false);
                    self.lines.extend(last.into_iter().rev());
                }
                None => return None,
            }
        }
    }

    /// Goes on in the next file, if there is one: the one before it is complete then.
    fn go_on(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        let current = open.begun;
        let Some(next) = self.list().into_iter().find(|begun| *begun > current) else { return false };
        let Some(open) = &mut self.open else { return false };
        if open.look() {
            return true;
        }
        let Some(mut next) = Open::new(&self.folder, &self.service, next) else { return false };
        next.look();
        if next.previous().is_some_and(|previous| previous > current) {
            self.lines.push(Line { time: None, source: Source::Daemon, bytes: LEFT_OUT.to_vec(), partial: false });
        }
        self.open = Some(next);
        true
    }

    /// Sorts a piece into lines.
    fn take(&mut self, piece: Piece) {
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
        self.lines.extend(found.into_iter().rev());
    }

    /// The lines that have begun: there is no more of them.
    fn give_up_begun(&mut self, partial: bool) -> Vec<Line> {
        let begun = std::mem::take(&mut self.begun).into_iter().filter(|(_, (_, bytes))| !bytes.is_empty());
        begun.map(|(source, (time, bytes))| Line { time, source, bytes, partial }).collect()
    }

    /// Begins only so many ends of lines before the end.
    fn go_back(&mut self, mut lines: u64, stream: Option<Stream>, since: Option<Timestamp>) {
        let Some(first) = self.open.as_ref().map(|open| open.begun) else { return };
        for begun in self.list().into_iter().rev().take_while(|begun| *begun >= first) {
            let Some(mut open) = Open::new(&self.folder, &self.service, begun) else { continue };
            open.look();
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

    fn bookmark(&mut self) -> Files {
        let (folder, service) = (self.folder.clone(), self.service.clone());
        let open = self.open.as_ref().and_then(|open| {
            let again = Open::new(&folder, &service, open.begun)?;
            Some(Open { at: open.at, end: open.end, record: open.record, records: open.records.clone(), ..again })
        });
        Files { folder, service, open, is_over: self.is_over, ..Files::default() }
    }
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

    /// Looks where the file ends now, and whether that is farther than what has been read.
    fn look(&mut self) -> bool {
        self.end = self.file.metadata().map_or(self.end, |found| found.len());
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
        let count = self.index.as_ref().map_or(0, |index| index.metadata().map_or(0, |found| found.len()));
        let mut record = count.saturating_sub(HEADER as u64) / RECORD as u64;
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

    fn begin_at(&mut self, at: u64) {
        (self.at, self.record) = (at, 0);
        self.records.clear();
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
