//! Reads from /proc what services use, with all of their processes.
//!
//! One pass over /proc, on a thread of its own that exists only while somebody has asked: thousands of files are not
//! read in the loop. Whose a process is and what the figures mean is the core's business. A process that is gone, or
//! hidden (hidepid), is simply not in the answer; where /proc does not show the daemon's processes, nothing is (R51).

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{SysconfVar, getpid, sysconf};
use ppm_core::event::{Detail, Pid, Running, ServiceId, Whose};
use ppm_core::gather::Gather;
use ppm_core::kin::Fact;
use ppm_core::ledger::{Escaped, Ledger};
use ppm_core::time::Mono;
use ppm_core::usage::{Container, Figures, Spent, Usage};
use tokio::sync::mpsc;

use crate::census::{Census, Names, Stat, pids};
use crate::children::Children;
use crate::driver::Wake;
use crate::groups::{Groups, Meter};
use crate::{cgroup, clock};

/// The thread needs little more than two lines of /proc.
const STACK: usize = 128 * 1024;

/// What is asked for.
#[derive(Debug)]
pub struct Question {
    /// Its number.
    pub sample: u64,
    /// Whose usage.
    pub whose: Vec<Whose>,
    /// All services with a main process.
    pub running: Vec<Running>,
    /// How much to read.
    pub detail: Detail,
}

/// What was read.
#[derive(Debug)]
pub struct Sample {
    /// The question's number.
    pub sample: u64,
    /// As far as it could be read.
    pub usages: Vec<(Whose, Usage)>,
    /// The container, where the daemon itself was asked for.
    pub container: Option<Container>,
    /// Those whose end is to be watched out for.
    pub escaped: Vec<Escaped>,
    /// Who belonged to whom, for the next.
    pub ledger: Ledger,
}

/// What counts for a service besides its processes.
#[derive(Debug)]
struct Account {
    spent: Spent,
    meter: Option<Meter>,
}

/// Takes samples, one after the other.
#[derive(Debug)]
pub struct Sampler {
    inbox: mpsc::Sender<Wake>,
    /// None: a sample is being read.
    ledger: Option<Ledger>,
    waiting: VecDeque<Question>,
}

impl Sampler {
    /// Nothing is read yet; samples will go to this inbox.
    pub fn new(inbox: mpsc::Sender<Wake>) -> Sampler {
        Sampler { inbox, ledger: Some(new_ledger()), waiting: VecDeque::new() }
    }

    /// Reads in the background, as soon as it is its turn. There are as many questions as calls at most.
    pub fn add(&mut self, question: Question, children: &Children) {
        self.waiting.push_back(question);
        self.begin_next(children);
    }

    /// The reading has ended that was under way.
    pub fn ended(&mut self, ledger: Ledger, children: &Children) {
        self.ledger = Some(ledger);
        self.begin_next(children);
    }

    /// What the dead have used is taken down before the living are read: who dies meanwhile may be missing from this
    /// sample, and is in no sample twice.
    fn begin_next(&mut self, children: &Children) {
        let Some(mut ledger) = self.ledger.take() else { return };
        let Some(question) = self.waiting.pop_front() else {
            self.ledger = Some(ledger);
            return;
        };
        let account = |id: ServiceId| Account {
            spent: children.expenses.of(id),
            meter: children.groups.as_ref().and_then(|groups| groups.meter(id)),
        };
        let accounts: BTreeMap<ServiceId, Account> = question.whose.iter().flatten().map(|id| (*id, account(*id))).gather();
        let names = children.groups.as_ref().map(Groups::names);
        let (sample, inbox, without_thread) = (question.sample, self.inbox.clone(), self.inbox.clone());
        let work = move || {
            let (usages, escaped) = read(&question, &accounts, names, &mut ledger);
            let is_own = question.whose.contains(&None);
            let container = is_own.then(cgroup::container);
            let _ = inbox.blocking_send(Wake::Sampled(Box::new(Sample { sample, usages, container, escaped, ledger })));
        };
        if std::thread::Builder::new().name("sampler".to_owned()).stack_size(STACK).spawn(work).is_err() {
            // No thread to be had (R50): figures are not worth more than services.
            let nothing = Sample { sample, usages: Vec::new(), container: None, escaped: Vec::new(), ledger: new_ledger() };
            tokio::spawn(async move { without_thread.send(Wake::Sampled(Box::new(nothing))).await });
        }
    }
}

fn new_ledger() -> Ledger {
    Ledger::new(me())
}

fn me() -> Pid {
    Pid(getpid().as_raw())
}

/// One pass over all processes, and a closer look at those that are asked for.
fn read(
    question: &Question,
    accounts: &BTreeMap<ServiceId, Account>,
    names: Option<Names>,
    ledger: &mut Ledger,
) -> (Vec<(Whose, Usage)>, Vec<Escaped>) {
    let Some(mut census) = Census::new(names) else { return (Vec::new(), Vec::new()) };
    let system = System::read();
    // In the order of their numbers, which is that of their births as a rule: whoever ends between the reading of its
    // parent and its own is missed this time, and not counted twice.
    let seen: Vec<Seen> = pids().into_iter().filter_map(|pid| Seen::read(pid, &mut census, &system)).collect();
    let facts: Vec<Fact> = seen.iter().map(|seen| seen.fact).collect();
    let owners = ledger.owners(&question.running, &facts, &mut |pid| Some(census.mark(pid)?.service));
    let mut members: BTreeMap<ServiceId, Vec<&Seen>> = BTreeMap::new();
    for (seen, owner) in seen.iter().zip(owners) {
        if let Some(id) = owner.filter(|id| accounts.contains_key(id)) {
            members.entry(id).or_default().push(seen);
        }
    }
    let usage = |whose: &Whose| match whose {
        None => own_usage(seen.iter().find(|seen| seen.fact.pid == me())?, question.detail),
        Some(id) => {
            let leader = question.running.iter().find(|running| running.id == *id)?.pid;
            let members = members.get(id)?;
            // Read at the same place of each pass: what the pass takes does not show in rates.
            let at = members.iter().find(|seen| seen.fact.pid == leader)?.at;
            let figures: Vec<Figures> = members.iter().filter_map(|seen| closer(seen, question.detail)).collect();
            let Account { spent, meter } = accounts.get(id)?;
            Some(Usage::sum(at, *spent, &figures).metered(meter.as_ref().and_then(Meter::read)))
        }
    };
    let usages = question.whose.iter().filter_map(|whose| Some((*whose, usage(whose)?))).collect();
    (usages, ledger.escaped(&facts))
}

/// A process, as the pass over all saw it.
struct Seen {
    at: Mono,
    fact: Fact,
    figures: Figures,
}

impl Seen {
    fn read(pid: Pid, census: &mut Census, system: &System) -> Option<Seen> {
        let at = clock::now().mono;
        let Stat { fact, is_dead, cpu, cpu_of_dead, threads, vsz, rss } = census.stat(pid)?;
        let figures = Figures {
            cpu: cpu_clock(pid).unwrap_or_else(|| system.time(cpu)),
            cpu_of_dead: system.time(cpu_of_dead),
            threads: if is_dead { 0 } else { threads },
            vsz,
            rss: rss.saturating_mul(system.page),
            ..Figures::default()
        };
        Some(Seen { at, fact, figures })
    }
}

/// The time that a process has spent on processors, to the nanosecond, where stat has it to the hundredth of a second
/// (clock_getcpuclockid(3)). A process that has ended has no such clock.
fn cpu_clock(pid: Pid) -> Option<Duration> {
    let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(pid.0)).ok()?;
    let nanos = clock_gettime(clock).ok()?.num_nanoseconds();
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// Adds what stands in files of its own; None: it is gone.
fn closer(seen: &Seen, detail: Detail) -> Option<Figures> {
    let pid = seen.fact.pid;
    let is_dead = seen.figures.threads == 0;
    let (of_files, of_pages) = match detail {
        Detail::Rss => return Some(seen.figures),
        Detail::Pss => (false, true),
        Detail::Cheap => (true, false),
        Detail::Full => (true, true),
    };
    let (io_read, io_write) = if of_files { told(read_io(Path::new(&format!("/proc/{pid}/io"))))?.unzip() } else { (None, None) };
    let fds = if of_files && !is_dead { told(count_descriptors(pid))? } else { None };
    let pss = if of_pages && !is_dead { told(read_pss(pid))? } else { None };
    Some(Figures { io_read, io_write, pss, fds, ..seen.figures })
}

/// The daemon's own figures. Those of its children are others': services that it has reaped count for it in /proc/PID/io,
/// so its threads are asked one by one.
fn own_usage(seen: &Seen, detail: Detail) -> Option<Usage> {
    let figures = closer(seen, detail)?;
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let io: Vec<(u64, u64)> = threads.filter_map(|thread| read_io(&thread.path().join("io")).ok()).collect();
    let sum = |of: fn(&(u64, u64)) -> u64| (!io.is_empty()).then(|| io.iter().map(of).sum());
    let figures = Figures { cpu_of_dead: Duration::ZERO, io_read: sum(|io| io.0), io_write: sum(|io| io.1), ..figures };
    Some(Usage::sum(seen.at, Spent::default(), &[figures]))
}

/// Some(None): it is not told. None: the process is gone.
fn told<T>(outcome: io::Result<T>) -> Option<Option<T>> {
    match outcome {
        Ok(value) => Some(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32) => None,
        Err(_) => Some(None),
    }
}

fn read_io(path: &Path) -> io::Result<(u64, u64)> {
    let text = read_file(path)?;
    let field = |name| field_of(&text, name).ok_or_else(|| io::Error::from(ErrorKind::InvalidData));
    Ok((field(b"read_bytes:")?, field(b"write_bytes:")?))
}

fn read_pss(pid: Pid) -> io::Result<u64> {
    let text = read_file(Path::new(&format!("/proc/{pid}/smaps_rollup")))?;
    let kilobytes = field_of(&text, b"Pss:").ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?;
    Ok(kilobytes.saturating_mul(1024))
}

/// Newer kernels tell the number as the folder's size (proc_pid_fd(5)), others are counted out.
fn count_descriptors(pid: Pid) -> io::Result<u32> {
    let folder = format!("/proc/{pid}/fd");
    let count = match fs::metadata(&folder)?.len() {
        0 => fs::read_dir(&folder)?.count(),
        size => usize::try_from(size).unwrap_or(usize::MAX),
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn field_of(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// The units of /proc.
struct System {
    ticks_per_second: u64,
    page: u64,
}

impl System {
    fn read() -> System {
        let value = |var, usual| sysconf(var).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(usual);
        System { ticks_per_second: value(SysconfVar::CLK_TCK, 100).max(1), page: value(SysconfVar::PAGE_SIZE, 4096) }
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_millis(ticks.saturating_mul(1000) / self.ticks_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(detail: Detail) -> Vec<(Whose, Usage)> {
        let question = Question { sample: 1, whose: vec![None], running: Vec::new(), detail };
        read(&question, &BTreeMap::new(), None, &mut new_ledger()).0
    }

    #[test]
    fn the_own_process_can_be_read() {
        let read = usages(Detail::Full);
        let [(None, usage)] = read.as_slice() else { panic!("{read:?}") };
        assert!(usage.rss > 0 && usage.vsz >= usage.rss && usage.threads >= 1 && usage.processes == 1, "{usage:?}");
        assert!(usage.fds.is_some_and(|fds| fds >= 3) && usage.cpu > Duration::ZERO, "{usage:?}");
        assert!(usage.pss.is_some_and(|pss| pss > 0 && pss <= usage.rss * 2), "{usage:?}");
        assert_eq!(usages(Detail::Cheap)[0].1.pss, None);
    }

    #[test]
    fn a_process_that_is_gone_is_told_from_one_that_is_hidden() {
        assert_eq!(told(read_io(Path::new("/proc/2147483647/io"))), None);
        assert_eq!(told::<u32>(Err(ErrorKind::PermissionDenied.into())), Some(None));
        assert_eq!(told(Ok(1)), Some(Some(1)));
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(field_of(b"Rss:  12 kB\nPss:    7 kB\n", b"Pss:"), Some(7));
        assert_eq!(field_of(b"Rss:  12 kB\n", b"Pss:"), None);
    }
}
