//! The thread: reads whatever pipe has something, and writes it where it belongs.
//!
//! Blocks are copied as they come; an end of line is looked for only from the end of a block backwards, so that what a
//! service writes to its two streams is mixed by whole lines. What is left of a line waits for its rest, but not for
//! long. Nothing is done while nothing is written.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use memchr::memrchr;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use ppm_core::event::{Part, Pid, ServiceId, Tree};
use ppm_core::flood::Flood;
use ppm_core::last_words::ENDS;
use ppm_core::logging::Style;
use ppm_core::rotate::Begun;
use ppm_core::time::{Mono, Now};

use super::console::Console;
use super::file::{Folder, LogFile, length};
use super::index::Source;
use super::ring::{Place, Ring};
use super::{Command, Lost, Sinks};
use crate::clock;
use crate::notifier::Awaited;
use crate::spawn::in_words;

/// So much is read at a time: what a pipe holds.
const BLOCK: usize = 64 * 1024;

/// So much of a line waits for its rest; more is written as it is.
const HELD: usize = 4096;

/// How long the beginning of a line waits for its rest, and a file for its index.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many pipes are read before others are looked at again.
const READY: usize = 64;

/// How often those that are ready are served before a reader is: a service that never stops writing is always ready.
const ROUNDS: usize = 64;

/// The tokens of the bell and of the console; pipes have smaller ones.
const BELL: u64 = u64::MAX;
const CONSOLE: u64 = u64::MAX - 1;

/// How long the last lines for the console may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The thread's data.
#[derive(Debug)]
pub struct Collector {
    epoll: Epoll,
    bell: Arc<EventFd>,
    commands: mpsc::Receiver<Command>,
    buffer: Vec<u8>,
    streams: BTreeMap<u64, Stream>,
    next: u64,
    outputs: BTreeMap<ServiceId, Output>,
    /// The lines that say that services are ready, until they come.
    awaited: BTreeMap<ServiceId, Awaited>,
    folders: Vec<Folder>,
    /// What is kept in memory, by the names of services: it outlives their runs.
    rings: BTreeMap<String, Ring>,
    next_ring: u64,
    /// Where the last runs of services ended, by their names.
    ends: BTreeMap<String, VecDeque<End>>,
    /// Made when something is written to it.
    console: Option<Console>,
    /// Who is told when something was written for one of these services.
    followers: Vec<(BTreeSet<String>, mpsc::SyncSender<()>)>,
    /// The services for which something was written since they were told.
    written: BTreeSet<String>,
    /// When something must be written that waits; None: nothing does.
    due: Option<Mono>,
}

/// One pipe.
#[derive(Debug)]
struct Stream {
    read: OwnedFd,
    id: ServiceId,
    part: Part,
    run: Pid,
    source: Source,
    /// The beginning of a line.
    held: Vec<u8>,
    held_since: Mono,
}

/// Where the output of a service goes.
#[derive(Debug)]
struct Output {
    service: String,
    /// Its folder, by number, and its files there.
    file: Option<(usize, LogFile)>,
    console: Option<Style>,
    /// Where not all is let through.
    flood: Option<Box<Flood>>,
    /// Where is counted what is not.
    lost: Option<Lost>,
    /// How much the run has written by now, in bytes, and how much of it is in files.
    told: u64,
    written: u64,
}

/// Where the output of a run ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The run.
    pub run: Pid,
    /// How many bytes of it there are.
    pub told: u64,
    /// How many of them are in files.
    pub written: u64,
    /// In which file it ends, and where in that.
    pub file: Option<(Begun, u64)>,
    /// Where it ends in memory.
    pub ring: Option<Place>,
}

/// What there was in a pipe.
enum Found {
    Something(usize),
    Nothing,
    End,
}

impl Collector {
    /// A thread that has not begun.
    pub fn new(bell: Arc<EventFd>, commands: mpsc::Receiver<Command>) -> io::Result<Collector> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Collector {
            epoll,
            bell,
            commands,
            buffer: vec![0; HELD + BLOCK],
            streams: BTreeMap::new(),
            next: 0,
            outputs: BTreeMap::new(),
            awaited: BTreeMap::new(),
            folders: Vec::new(),
            rings: BTreeMap::new(),
            next_ring: 0,
            ends: BTreeMap::new(),
            console: None,
            followers: Vec::new(),
            written: BTreeSet::new(),
            due: None,
        })
    }

    /// Runs until the daemon ends.
    pub fn run(mut self) {
        let mut events = [EpollEvent::empty(); READY];
        loop {
            let timeout = match self.due {
                None => EpollTimeout::NONE,
                Some(at) => EpollTimeout::try_from(at.since(clock::now().mono) + Duration::from_millis(1)).unwrap_or(EpollTimeout::ZERO),
            };
            let count = self.wait(&mut events, timeout);
            // What was asked for before something was written holds for that: commands come first.
            while let Ok(command) = self.commands.try_recv() {
                if let Command::Finish { done } = command {
                    self.finish();
                    let _ = done.send(());
                    return;
                }
                self.obey(command);
            }
            self.serve(&events[..count]);
            self.poke_followers();
            if self.due.is_some_and(|at| at <= clock::now().mono) {
                self.write_what_waits();
            }
        }
    }

    /// Waits until something is ready; says how much is. The bell is silenced before anybody looks for commands: one that
    /// comes later rings again.
    fn wait(&self, events: &mut [EpollEvent; READY], timeout: EpollTimeout) -> usize {
        let count = self.epoll.wait(events, timeout).unwrap_or(0); // EINTR
        if events[..count].iter().any(|event| event.data() == BELL) {
            let _ = self.bell.read();
        }
        count
    }

    /// Does what there is to do.
    fn serve(&mut self, events: &[EpollEvent]) {
        for event in events {
            match event.data() {
                BELL => {}
                CONSOLE => self.console.iter_mut().for_each(Console::flush),
                pipe => self.pump(pipe),
            }
        }
    }

    /// Takes what services have written by now: who asks for a log asks for all of it.
    fn catch_up(&mut self) {
        let mut events = [EpollEvent::empty(); READY];
        for _ in 0..ROUNDS {
            let count = self.wait(&mut events, EpollTimeout::ZERO);
            if count == 0 {
                return;
            }
            self.serve(&events[..count]);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Started { tree, run, sinks, lost, read, awaited } => {
                self.start(tree, run, sinks, lost, read);
                if tree.part == Part::Main {
                    self.wait_for_line(tree.id, awaited);
                }
            }
            Command::Ended { run } => self.end_streams(|stream| stream.run == run),
            Command::SetSinks { id, sinks, lost, awaited } => {
                self.set_sinks(id, sinks, lost);
                self.wait_for_line(id, awaited);
            }
            Command::Forget { service } => {
                self.rings.remove(&service);
                self.ends.remove(&service);
            }
            Command::Ends { service, to } => {
                let _ = to.send(self.ends_of(&service));
            }
            Command::Copy { service, from, most, to } => {
                let _ = to.send(self.rings.get(&service).map(|ring| ring.excerpt(from, most)));
            }
            Command::Reopen => self.reopen(),
            Command::Sync { done } => {
                self.catch_up();
                self.write_indices();
                let _ = done.send(());
            }
            Command::Follow { services, poke } => self.followers.push((services, poke)),
            Command::Finish { .. } => {} // `run` ends with it
        }
    }

    fn start(&mut self, Tree { id, part }: Tree, run: Pid, sinks: Sinks, lost: Option<Lost>, read: [OwnedFd; 2]) {
        // What an earlier run has left behind and still holds its pipes is not read any longer.
        self.end_streams(|stream| stream.id == id && stream.part == part && stream.run != run);
        let name = sinks.service.clone();
        self.set_sinks(id, sinks, lost);
        for (read, source) in read.into_iter().zip([Source::Stdout, Source::Stderr]) {
            let token = self.next;
            self.next += 1;
            match self.epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN, token)) {
                Ok(()) => {
                    let stream = Stream { read, id, part, run, source, held: Vec::new(), held_since: Mono(0) };
                    self.streams.insert(token, stream);
                }
                Err(errno) => tracing::warn!("{name}: its output cannot be read: {}", in_words(&errno.into())),
            }
        }
    }

    fn set_sinks(&mut self, id: ServiceId, sinks: Sinks, lost: Option<Lost>) {
        self.keep(&sinks);
        let files = sinks.files.map(|(path, limits)| (self.folder(&path), limits));
        let output = self.outputs.entry(id).or_insert_with(|| Output {
            service: sinks.service.clone(),
            file: None,
            console: None,
            flood: None,
            lost: None,
            told: 0,
            written: 0,
        });
        (output.console, output.lost) = (sinks.console, lost);
        match (&mut output.flood, sinks.rate_limit) {
            (Some(flood), Some(limit)) => flood.set_limit(limit),
            (flood, limit) => *flood = limit.map(|limit| Box::new(Flood::new(limit))),
        }
        output.file = match (output.file.take(), files) {
            (Some((folder, mut file)), Some((wanted, limits))) if folder == wanted => {
                file.limits = limits;
                Some((folder, file))
            }
            (old, new) => {
                if let Some((folder, mut file)) = old {
                    file.close(&mut self.folders[folder]);
                }
                new.map(|(folder, limits)| (folder, LogFile::new(&sinks.service, limits)))
            }
        };
    }

    fn wait_for_line(&mut self, id: ServiceId, awaited: Option<Awaited>) {
        match awaited {
            Some(awaited) if self.streams.values().any(|stream| stream.id == id && stream.part == Part::Main) => {
                self.awaited.insert(id, awaited);
            }
            Some(_) | None => drop(self.awaited.remove(&id)),
        }
    }

    /// Looks whether this output of a main process says that its service is ready.
    fn look_for_line(&mut self, id: ServiceId, run: Pid, output: &[u8]) {
        if let Entry::Occupied(awaited) = self.awaited.entry(id)
            && awaited.get().pattern.is_in_one_of(output)
        {
            let _ = awaited.remove().found.send(run);
        }
    }

    /// Has memory for a service, or no more of it.
    fn keep(&mut self, sinks: &Sinks) {
        match (sinks.memory, self.rings.get_mut(&sinks.service)) {
            (None, None) => {}
            (None, Some(_)) => drop(self.rings.remove(&sinks.service)),
            (Some(limit), Some(ring)) => ring.set_limit(limit),
            (Some(limit), None) => {
                self.rings.insert(sinks.service.clone(), Ring::new(self.next_ring, limit));
                self.next_ring += 1;
            }
        }
    }

    /// The number of a folder. Folders are few and looked for rarely.
    fn folder(&mut self, path: &Path) -> usize {
        self.folders.iter().position(|folder| folder.path() == path).unwrap_or_else(|| {
            self.folders.push(Folder::new(path));
            self.folders.len() - 1
        })
    }

    /// Reads a block from a pipe and passes it on.
    fn pump(&mut self, token: u64) {
        if matches!(self.take(token), Found::End) {
            self.close(token);
        }
    }

    fn take(&mut self, token: u64) -> Found {
        let Some(stream) = self.streams.get_mut(&token) else { return Found::Nothing };
        let held = stream.held.len();
        self.buffer[..held].copy_from_slice(&stream.held);
        let count = match nix::unistd::read(&stream.read, &mut self.buffer[held..held + BLOCK]) {
            Ok(0) => return Found::End,
            Ok(count) => count,
            Err(Errno::EAGAIN | Errno::EINTR) => return Found::Nothing,
            Err(_) => return Found::End,
        };
        let now = clock::now();
        let buffer = std::mem::take(&mut self.buffer);
        let block = &buffer[..held + count];
        let whole = match memrchr(b'\n', block) {
            Some(end) if block.len() - end - 1 <= HELD => end + 1,
            None if block.len() <= HELD => 0,
            Some(_) | None => block.len(),
        };
        stream.held.clear();
        stream.held.extend_from_slice(&block[whole..]);
        if whole > 0 || held == 0 {
            stream.held_since = now.mono;
        }
        let waits = !stream.held.is_empty();
        let (id, part, run, source) = (stream.id, stream.part, stream.run, stream.source);
        if part == Part::Main && whole > 0 && !self.awaited.is_empty() {
            self.look_for_line(id, run, &block[..whole]);
        }
        self.deliver(now, id, source, &block[..whole]);
        self.buffer = buffer;
        if waits || whole > 0 {
            self.due = Some(self.due.unwrap_or(now.mono + PATIENCE));
        }
        Found::Something(count)
    }

    /// Gives up what waits in a stream for the rest of its line.
    fn release(&mut self, token: u64, now: Now) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        let (id, part, run, source, held) = (stream.id, stream.part, stream.run, stream.source, std::mem::take(&mut stream.held));
        if part == Part::Main {
            self.look_for_line(id, run, &held);
        }
        self.deliver(now, id, source, &held);
    }

    /// Writes what is let through of a service's output.
    fn deliver(&mut self, now: Now, id: ServiceId, source: Source, output: &[u8]) {
        let mut output = output;
        self.tell_of_flood(id, now, |flood| flood.told(now.mono));
        if let Some(flood) = self.outputs.get_mut(&id).and_then(|output| output.flood.as_mut()) {
            output = &output[..flood.admit(now.mono, output)];
            self.due = flood.deadline().into_iter().chain(self.due).min();
        }
        self.write(now, id, source, output);
    }

    /// Tells in a service's log what was left out of it.
    fn tell_of_flood(&mut self, id: ServiceId, now: Now, told: impl FnOnce(&mut Flood) -> Option<(u64, String)>) {
        let Some(output) = self.outputs.get_mut(&id) else { return };
        let Some((lines, line)) = output.flood.as_mut().and_then(|flood| told(flood)) else { return };
        if let Some(lost) = &output.lost {
            lost.fetch_add(lines, Ordering::Relaxed);
        }
        output.file.iter_mut().for_each(|(_, file)| file.end_line());
        self.rings.get_mut(&output.service).into_iter().for_each(Ring::end_line);
        self.write(now, id, Source::Daemon, line.as_bytes());
    }

    fn write(&mut self, now: Now, id: ServiceId, source: Source, output: &[u8]) {
        if output.is_empty() {
            return;
        }
        let to_console = pass_on(&mut self.outputs, &mut self.folders, &mut self.rings, now, id, source, output);
        if let Some((style, service, output)) = to_console {
            say(&mut self.console, &self.epoll, style, service, id, source, now, output);
        }
        self.note_written(id);
        self.keep_within(id, now);
    }

    fn note_written(&mut self, id: ServiceId) {
        if let (false, Some(output)) = (self.followers.is_empty(), self.outputs.get(&id)) {
            self.written.insert(output.service.clone());
        }
    }

    /// The last of a pipe.
    fn close(&mut self, token: u64) {
        let now = clock::now();
        self.release(token, now);
        let Some(stream) = self.streams.remove(&token) else { return };
        let _ = self.epoll.delete(&stream.read);
        self.tell_of_flood(stream.id, now, Flood::told_at_last);
        if stream.part == Part::Main && !self.streams.values().any(|other| other.run == stream.run) {
            self.note_end(stream.id, stream.run);
            self.awaited.remove(&stream.id);
        }
        if self.streams.values().any(|other| other.id == stream.id) {
            // What comes from the other one is not to be taken for the end of this one's last line.
            if let Some(Output { service, file, .. }) = self.outputs.get_mut(&stream.id) {
                file.iter_mut().for_each(|(_, file)| file.end_line());
                self.rings.get_mut(service).into_iter().for_each(Ring::end_line);
            }
        } else if let Some(Output { service, file, .. }) = self.outputs.remove(&stream.id) {
            self.rings.get_mut(&service).into_iter().for_each(Ring::end_line);
            if let Some((folder, mut file)) = file {
                file.close(&mut self.folders[folder]);
            }
        }
    }

    /// Keeps in mind where the output of a run ended.
    fn note_end(&mut self, id: ServiceId, run: Pid) {
        let Some(output) = self.outputs.get(&id) else { return };
        let Some(end) = output.end(run, &self.rings) else { return };
        let ends = self.ends.entry(output.service.clone()).or_default();
        ends.push_back(end);
        ends.drain(..ends.len().saturating_sub(ENDS));
    }

    /// Where the last runs of a service ended, and where those are that have not.
    fn ends_of(&self, service: &str) -> Vec<End> {
        let mut ends: Vec<End> = self.ends.get(service).into_iter().flatten().copied().collect();
        for stream in self.streams.values().filter(|stream| stream.part == Part::Main) {
            let output = self.outputs.get(&stream.id).filter(|output| output.service == service);
            ends.extend(output.and_then(|output| output.end(stream.run, &self.rings)));
        }
        ends
    }

    /// Reads pipes to their end, or as far as they are filled by now: who still holds one may write for ever (R42).
    fn end_streams(&mut self, which: impl Fn(&Stream) -> bool) {
        let tokens: Vec<u64> = self.streams.iter().filter(|(_, stream)| which(stream)).map(|(token, _)| *token).collect();
        for token in tokens {
            let Some(stream) = self.streams.get(&token) else { continue };
            let capacity = fcntl(&stream.read, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok());
            let mut left = capacity.unwrap_or(BLOCK);
            while let Found::Something(count) = self.take(token) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
            self.close(token);
        }
    }

    /// Throws away what is too much in the folder that a service writes to: the oldest files, and where there are none,
    /// what the largest of the others holds.
    fn keep_within(&mut self, id: ServiceId, now: Now) {
        let Some(Output { file: Some((number, file)), .. }) = self.outputs.get(&id) else { return };
        let Some(limit) = file.limits.total_size else { return };
        let number = *number;
        let folder = &mut self.folders[number];
        while folder.size() > limit {
            if folder.throw_oldest_away() {
                continue;
            }
            let files = self.outputs.values_mut().filter_map(|output| output.file.as_mut()).filter(|(own, _)| *own == number);
            let Some((_, largest)) = files.max_by_key(|(_, file)| file.size()).filter(|(_, file)| file.size() > 0) else { return };
            if largest.rotate(folder, now).is_err() {
                return;
            }
        }
    }

    fn reopen(&mut self) {
        self.folders.iter_mut().for_each(Folder::forget);
        for (folder, file) in self.outputs.values_mut().filter_map(|output| output.file.as_mut()) {
            file.reopen(&mut self.folders[*folder]);
        }
    }

    fn write_what_waits(&mut self) {
        let now = clock::now();
        let long_enough = |stream: &Stream| stream.held_since + PATIENCE <= now.mono;
        let held = self.streams.iter().filter(|(_, stream)| !stream.held.is_empty());
        let (ripe, young): (Vec<_>, Vec<_>) = held.map(|(token, stream)| (*token, stream)).partition(|(_, stream)| long_enough(stream));
        self.due = young.iter().map(|(_, stream)| stream.held_since + PATIENCE).min();
        let flooded = self.outputs.iter().filter(|(_, output)| output.flood.is_some()).map(|(id, _)| *id);
        let flooded: Vec<ServiceId> = flooded.collect();
        let ripe: Vec<u64> = ripe.into_iter().map(|(token, _)| token).collect();
        for token in ripe {
            self.release(token, now);
        }
        for id in flooded {
            self.tell_of_flood(id, now, |flood| flood.told(now.mono));
            let next = self.outputs.get(&id).and_then(|output| output.flood.as_ref()?.deadline());
            self.due = next.into_iter().chain(self.due).min();
        }
        self.write_indices();
    }

    fn write_indices(&mut self) {
        for (folder, file) in self.outputs.values_mut().filter_map(|output| output.file.as_mut()) {
            file.write_index(&self.folders[*folder]);
        }
    }

    /// Followers ask for the indices themselves. One who has not come since the last time needs no other poke.
    fn poke_followers(&mut self) {
        let written = std::mem::take(&mut self.written);
        if !written.is_empty() {
            let is_there = |(services, poke): &(BTreeSet<String>, mpsc::SyncSender<()>)| {
                services.is_disjoint(&written) || !matches!(poke.try_send(()), Err(mpsc::TrySendError::Disconnected(())))
            };
            self.followers.retain(is_there);
        }
    }

    fn finish(&mut self) {
        self.end_streams(|_| true);
        self.console.iter_mut().for_each(|console| console.drain(LAST_WORDS));
    }
}

impl Output {
    /// Where the output of its run ends by now; None: it is nowhere.
    fn end(&self, run: Pid, rings: &BTreeMap<String, Ring>) -> Option<End> {
        let file = self.file.as_ref().and_then(|(_, file)| file.end());
        let ring = rings.get(&self.service).map(|ring| ring.excerpt(None, 0).end);
        (file.is_some() || ring.is_some()).then_some(End { run, told: self.told, written: self.written, file, ring })
    }
}

/// Writes output of a service to its files and to memory. What is to go to the console besides, or could not be written, comes back.
fn pass_on<'a>(
    outputs: &'a mut BTreeMap<ServiceId, Output>,
    folders: &mut [Folder],
    rings: &mut BTreeMap<String, Ring>,
    now: Now,
    id: ServiceId,
    source: Source,
    output: &'a [u8],
) -> Option<(Style, &'a str, &'a [u8])> {
    let Output { service, file, console, told, written, .. } = outputs.get_mut(&id)?;
    let rest = match file {
        Some((folder, file)) => file.write(&mut folders[*folder], now, source, output),
        None => &[],
    };
    *told += length(output.len());
    *written += length(output.len() - rest.len());
    let ring = if rings.is_empty() { None } else { rings.get_mut(service) };
    ring.into_iter().for_each(|ring| ring.write(now.wall, source, output, rest.len()));
    match console {
        Some(style) => Some((*style, service, output)),
        None if rest.is_empty() => None,
        None => Some((Style::default(), service, rest)),
    }
}

/// Writes output of a service to the console, and has it told when that takes more.
#[expect(clippy::too_many_arguments, reason = "they are what a line consists of")]
fn say(console: &mut Option<Console>, epoll: &Epoll, style: Style, service: &str, id: ServiceId, source: Source, now: Now, output: &[u8]) {
    let is_new = console.is_none();
    let console = console.get_or_insert_with(Console::new);
    if is_new && let Ok(descriptor) = console.descriptor() {
        // Told once whenever it becomes ready. What is always ready, as a file is, cannot be asked for that.
        let _ = epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, CONSOLE));
    }
    console.say(style, service, id, source, now, output);
}
