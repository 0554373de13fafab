//! The output of services: captured by one thread of its own, and never by the loop.
//!
//! The loop hands pipes over and is not in the way of what flows through them. The thread exists from the first service
//! that is captured on. What is said to it arrives in order, so what a service wrote before its end is in its files
//! when anybody asks for it later.

mod collector;
mod console;
mod file;
mod files;
mod index;
mod kept;
mod last_words;
mod lines;
mod reader;
mod ring;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Gid, Uid, fchown, pipe2};
use ppm_core::event::{Pid, ServiceId, Tree};
use ppm_core::gather::Gather;
use ppm_core::logging::{Limits, Style};
use ppm_core::report::Report;
use ppm_protocol::message::{Answer, ReadLog, Reply};
use ppm_protocol::types::Life;
use ppm_protocol::{LogSources, RpcId};
use tokio::sync::oneshot;

use crate::control::Outlet;
use crate::log::Past;

use collector::{Collector, End};
pub use last_words::without_output;
use reader::Reading;
pub use reader::Stored;
use ring::{Excerpt, Place};

/// The thread's own data is on the heap.
const STACK: usize = 128 * 1024;

/// How long a reader waits for the thread: a disk may hold that up, and what is in the files can be read all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pipe for each of the two streams of a service.
#[derive(Debug)]
pub struct Pipes {
    /// What the service writes to.
    pub write: [OwnedFd; 2],
    /// What is read here, without ever waiting.
    pub read: [OwnedFd; 2],
}

impl Pipes {
    /// Two of them, closed on exec (R5). They belong to this user and group, who may so open /dev/stdout (R6).
    pub fn new(owner: Option<(u32, u32)>) -> io::Result<Pipes> {
        let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?; // of this end alone: services block as usual
            if let Some((uid, gid)) = owner {
                fchown(&write, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            Ok((read, write))
        };
        let ((out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?);
        Ok(Pipes { write: [out_write, err_write], read: [out_read, err_read] })
    }
}

/// Where the output of a service goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinks {
    /// The service's name.
    pub service: String,
    /// The folder of its files, and what is kept there.
    pub files: Option<(PathBuf, Limits)>,
    /// How many bytes of it are kept in memory, if any.
    pub memory: Option<usize>,
    /// How many bytes of it are let through in a second, if not all.
    pub rate_limit: Option<u64>,
    /// How it is copied to the daemon's standard output, if it is.
    pub console: Option<Style>,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    /// A service or a hook of it has started; its standard output and error come from these pipes.
    Started { tree: Tree, run: Pid, sinks: Sinks, lost: Option<Lost>, read: [OwnedFd; 2] },
    /// Nothing is left of a run: what is in its pipes by now is all (R42).
    Ended { run: Pid },
    /// Output of a service goes elsewhere from now on.
    SetSinks { id: ServiceId, sinks: Sinks, lost: Option<Lost> },
    /// Forget what memory keeps of a service, and where its runs ended.
    Forget { service: String },
    /// Say where the last runs of a service ended.
    Ends { service: String, to: mpsc::Sender<Vec<End>> },
    /// Give so many bytes of what memory keeps of a service, from this place on; None: nothing is kept.
    Copy { service: String, from: Option<Place>, most: usize, to: mpsc::Sender<Option<Excerpt>> },
    /// Close all files, to open them again under their names.
    Reopen,
    /// Write what services have written by now, bring all indices up to date, and say so.
    Sync { done: mpsc::Sender<()> },
    /// Poke whenever something was written for one of these services.
    Follow { services: BTreeSet<String>, poke: mpsc::SyncSender<()> },
    /// The daemon ends: write what there is, and say so.
    Finish { done: oneshot::Sender<()> },
}

/// How many lines of a service were left out since there were too many; the thread counts, the loop reads.
type Lost = Arc<AtomicU64>;

/// The loop's end of the thread.
#[derive(Debug, Default)]
pub struct Logs {
    thread: Option<Thread>,
    /// By name, of the services of which not all is let through.
    lost: BTreeMap<String, Lost>,
}

#[derive(Clone, Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    bell: Arc<EventFd>,
}

impl Logs {
    /// Has the thread there, so that pipes can be handed over.
    pub fn prepare(&mut self) -> io::Result<()> {
        if self.thread.is_some() {
            return Ok(());
        }
        let bell = Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (commands, receiver) = mpsc::channel();
        let collector = Collector::new(Arc::clone(&bell), receiver)?;
        std::thread::Builder::new().name("logs".to_owned()).stack_size(STACK).spawn(move || collector.run())?;
        self.thread = Some(Thread { commands, bell });
        Ok(())
    }

    /// A service or a hook of it has started, and writes to these pipes.
    pub fn started(&mut self, tree: Tree, run: Pid, sinks: Sinks, read: [OwnedFd; 2]) {
        let lost = self.lost_of(&sinks);
        self.tell(Command::Started { tree, run, sinks, lost, read });
    }

    /// Nothing is left of a run.
    pub fn ended(&self, run: Pid) {
        self.tell(Command::Ended { run });
    }

    /// Output of a service goes elsewhere from now on.
    pub fn set_sinks(&mut self, id: ServiceId, sinks: Sinks) {
        let lost = self.lost_of(&sinks);
        self.tell(Command::SetSinks { id, sinks, lost });
    }

    fn lost_of(&mut self, sinks: &Sinks) -> Option<Lost> {
        sinks.rate_limit.map(|_| Arc::clone(self.lost.entry(sinks.service.clone()).or_default()))
    }

    /// Tells how many lines of each service were left out since there were too many, and forgets those that are no more
    /// before there are more of them than services.
    pub fn tell_lost(&mut self, report: &mut Report) {
        if self.lost.len() > report.services.len() {
            let names: BTreeSet<&str> = report.services.iter().map(|service| service.row.name.as_str()).gather();
            self.lost.retain(|name, _| names.contains(name.as_str()));
        }
        for service in &mut report.services {
            if let (Some(lost), Some(figures)) = (self.lost.get(&service.row.name), &mut service.figures) {
                figures.lost_lines = Some(lost.load(Ordering::Relaxed));
            }
        }
    }

    /// Forgets what memory keeps of a service, and where its runs ended.
    pub fn forget(&self, service: String) {
        self.tell(Command::Forget { service });
    }

    /// Closes all files, to open them again under their names.
    pub fn reopen(&self) {
        self.tell(Command::Reopen);
    }

    /// Answers a client when it is known how far the logs go, and reads them to it.
    pub fn read(&mut self, query: ReadLog, answer: LogSources, logs: Vec<Stored>, own: Option<&mut Past>, to: Outlet) -> io::Result<()> {
        let (poke, poked) = mpsc::sync_channel(1);
        if query.follow && !logs.is_empty() {
            self.prepare()?; // some of them may start later
            let services = logs.iter().map(|log| log.service.clone()).gather();
            self.tell(Command::Follow { services, poke: poke.clone() });
        }
        let own = own.map(|own| own.read(query.follow.then(|| poke.clone())));
        let collector = self.thread.as_ref().filter(|_| !logs.is_empty()).cloned();
        let Outlet { call, out, gone } = to;
        // The last to hold it: nobody waits for a poke of a client that is gone.
        let _ = gone.send(poke);
        let reading = Reading { logs, own, query, answer, call, out, collector, poked };
        std::thread::Builder::new().name("reader".to_owned()).stack_size(STACK).spawn(move || reader::read(reading))?;
        Ok(())
    }

    /// Answers a client with lives, when what was written before their ends was read.
    /// Where there is no thread for that, the lives come back.
    pub fn tell_lives(&self, call: RpcId, lives: Vec<Life>, logs: Vec<Stored>, to: Outlet) -> Result<(), Vec<Life>> {
        let Some(collector) = self.thread.clone() else { return Err(lives) }; // nothing was ever captured
        let (give, take) = mpsc::channel();
        let work = move || {
            let Ok(lives) = take.recv() else { return };
            let lives = last_words::told(lives, &logs, &collector);
            let _ = to.out.blocking_send(Reply { id: call, result: Ok(Answer::Lives(lives)) }.line());
        };
        match std::thread::Builder::new().name("reader".to_owned()).stack_size(STACK).spawn(work) {
            Ok(_) => give.send(lives).map_err(|mpsc::SendError(lives)| lives),
            Err(_) => Err(lives),
        }
    }

    /// Returns when everything is written, but after `patience` at the latest.
    pub async fn finish(self, patience: Duration) {
        if self.thread.is_some() {
            let (done, written) = oneshot::channel();
            self.tell(Command::Finish { done });
            let _ = tokio::time::timeout(patience, written).await;
        }
    }

    fn tell(&self, command: Command) {
        if let Some(thread) = &self.thread {
            thread.tell(command);
        }
    }
}

impl Thread {
    fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = self.bell.write(1);
        }
    }

    /// So many bytes of what memory keeps of a service, from this place on; None: nothing is kept.
    fn excerpt(&self, service: &str, from: Option<Place>, most: usize) -> Option<Excerpt> {
        let (to, answer) = mpsc::channel();
        self.tell(Command::Copy { service: service.to_owned(), from, most, to });
        answer.recv_timeout(PATIENCE).ok()?
    }

    /// Where the last runs of a service ended.
    fn ends(&self, service: &str) -> Vec<End> {
        let (to, answer) = mpsc::channel();
        self.tell(Command::Ends { service: service.to_owned(), to });
        answer.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// Returns when all is in the files that services have written by now, and the indices tell of it: whether that is so.
    fn write_indices(&self) -> bool {
        let (done, written) = mpsc::channel();
        self.tell(Command::Sync { done });
        written.recv_timeout(PATIENCE).is_ok()
    }
}
