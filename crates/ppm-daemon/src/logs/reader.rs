//! Reads logs to a client, on a thread that exists as long as the client reads.
//!
//! Nothing is held but one block of each log: whoever reads slowly is written to slowly, and falls behind. A log is read
//! from files where there are such and they can be written, else from memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use ppm_core::time::Timestamp;
use ppm_protocol::message::{Answer, Notification, ReadLog, Reply};
use ppm_protocol::{LogLine, LogSources, RpcId, Stream};
use tokio::sync::mpsc;

use super::Thread;
use super::file::length;
use super::files::Files;
use super::kept::Kept;
use super::lines::Line;

/// So much is handed on at a time, in bytes.
const PORTION: usize = 32 * 1024;

/// How many lines more are looked at from the end than were asked for: two streams may each have begun one.
const SPARE: u64 = 8;

/// What is to be read.
#[derive(Debug)]
pub struct Reading {
    /// The services.
    pub logs: Vec<Stored>,
    /// The daemon's own lines, if they are meant: those that there are, and those to come.
    pub own: Option<(Vec<LogLine>, Receiver<LogLine>)>,
    /// Which lines.
    pub query: ReadLog,
    /// What is told before all else.
    pub answer: LogSources,
    /// The call.
    pub call: RpcId,
    /// Where they go.
    pub out: mpsc::Sender<Vec<u8>>,
    /// Who writes the files, if anybody does.
    pub collector: Option<Thread>,
    /// Something new may be there.
    pub poked: Receiver<()>,
}

/// Where the log of a service is.
#[derive(Debug)]
pub struct Stored {
    /// The service's number.
    pub id: u32,
    /// Its name.
    pub service: String,
    /// The folder of its files, if it has such.
    pub folder: Option<PathBuf>,
}

/// The reader has gone.
struct Gone;

/// Reads to the end, or for as long as the client is there.
pub fn read(reading: Reading) {
    let Reading { logs, own, query, answer, call, out, collector, poked } = reading;
    let mut out = Out { out, waiting: Vec::new() };
    let mut logs: Vec<Log> = logs.into_iter().map(|log| Log::of_service(log, collector.as_ref(), &query)).collect();
    if let Some((lines, live)) = own {
        logs.push(Log::of_daemon(lines, live, &query));
    }
    let mut merge = Merge { logs, query, collector };
    merge.look();
    // From now on it is known what is new: what is written after this answer.
    let answer = LogSources { bytes: merge.size(), ..answer };
    let answer = Reply { id: call.clone(), result: Ok(Answer::Log(answer)) };
    let answered = out.push(&answer.line()).and_then(|()| out.flush());
    let outcome = answered.and_then(|()| merge.history(&mut out)).and_then(|()| merge.follow(&mut out, &poked));
    if outcome.is_ok() {
        let end = Notification::end(&ppm_protocol::End { call, error: None, exit: None }).line();
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
    /// How many bytes there are to be read, where all are.
    fn size(&self) -> Option<u64> {
        let ReadLog { services: _, last, follow, since, until, stream } = &self.query;
        let is_all = last.is_none() && !follow && since.is_none() && until.is_none() && stream.is_none();
        is_all.then(|| self.logs.iter().map(Log::size).sum())
    }

    /// What there was when it was looked at.
    fn history(&mut self, out: &mut Out) -> Result<(), Gone> {
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
        let answers = self.collector.as_ref().is_some_and(Thread::write_indices);
        self.logs.iter_mut().for_each(Log::look);
        self.collector.as_ref().filter(|_| answers).map(Thread::write_indices);
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
    Kept(Kept),
    Daemon { lines: VecDeque<LogLine>, live: Option<Receiver<LogLine>> },
}

impl Log {
    fn of_service(stored: Stored, collector: Option<&Thread>, query: &ReadLog) -> Log {
        let Stored { id, service, folder } = stored;
        let kept = collector.map(|collector| Kept::new(service.clone(), collector.clone()));
        let kind = match (folder, kept) {
            (None, Some(kept)) => Kind::Kept(kept),
            (Some(folder), kept) => {
                let files = Files::new(folder, service.clone());
                let stands_for_them = |kept: &Kept| kept.stands_for_files() || files.are_missing() && kept.is_there();
                kept.filter(stands_for_them).map_or(Kind::Files(files), Kind::Kept)
            }
            (None, None) => Kind::Files(Files::default()), // nobody has written anything yet
        };
        Log { id: Some(id), service, next: None, at: Timestamp(0), since: query.since, until: query.until, kind }
    }

    fn of_daemon(lines: Vec<LogLine>, live: Receiver<LogLine>, query: &ReadLog) -> Log {
        let kind = Kind::Daemon { lines: lines.into(), live: Some(live) };
        Log { id: None, service: "ppm-daemon".to_owned(), next: None, at: Timestamp(0), since: query.since, until: query.until, kind }
    }

    fn look(&mut self) {
        match &mut self.kind {
            Kind::Files(files) => files.look(self.since),
            Kind::Kept(kept) => kept.look(),
            Kind::Daemon { lines, live } => lines.extend(live.iter().flat_map(Receiver::try_iter)),
        }
    }

    /// How many bytes there are from here to where it ended when it was looked at.
    fn size(&self) -> u64 {
        match &self.kind {
            Kind::Files(files) => files.size(),
            Kind::Kept(kept) => kept.size(),
            Kind::Daemon { lines, .. } => lines.iter().map(|line| length(line.message.len())).sum(),
        }
    }

    /// Skips all but the last so many lines, and a few more.
    fn go_back(&mut self, last: u64, stream: Option<Stream>) {
        match &mut self.kind {
            Kind::Files(files) => files.go_back(last.saturating_add(SPARE), stream, self.since),
            Kind::Kept(_) | Kind::Daemon { .. } => {} // there is not much of it
        }
    }

    /// The same log from here, to read it twice. What comes live stays where it is.
    fn bookmark(&mut self) -> Log {
        let kind = match &mut self.kind {
            Kind::Files(files) => Kind::Files(files.bookmark()),
            Kind::Kept(kept) => Kind::Kept(kept.bookmark()),
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
        match &mut self.kind {
            Kind::Files(files) => files.end(),
            Kind::Kept(kept) => kept.end(),
            Kind::Daemon { .. } => {}
        }
    }

    /// Has the next line ready, if there is one.
    fn fill(&mut self) {
        while self.next.is_none() {
            let line = match &mut self.kind {
                Kind::Files(files) => files.next_line(),
                Kind::Kept(kept) => kept.next_line(),
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
