//! The thread that looks at files. It waits for hints and for what the loop tells, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use ppm_core::config::write_duration;
use ppm_core::event::{From, ServiceId};
use ppm_core::gather::Gather;
use ppm_core::time::Mono;
use ppm_core::watch::rules::Own;
use ppm_core::watch::settle::Settle;
use ppm_core::watch::{Changes, POLL, Poll};
use ppm_protocol::{Watched as Answer, WatchedPath, WatchedRow};
use tokio::sync::mpsc;

use super::Job;
use super::kernel::{Hint, Kernel, Sign};
use super::limits::{self, INSTANCES, Limit, WATCHES};
use super::root::{Dirt, Look, Root};
use crate::clock;
use crate::driver::Wake;

/// Of how many files at a time it is known that somebody writes them; the others are looked at as they are.
const WRITTEN: usize = 1024;

/// Looking takes this part of the time at most.
const LOOKS_PER_COST: u32 = 20;

/// What the thread is told.
#[derive(Debug)]
pub enum Told {
    /// Watch this for a service, in place of what was watched for it.
    Watch(ServiceId, u64, Box<Job>),
    /// Watch nothing for it.
    Unwatch(ServiceId),
    /// Something may have happened.
    Hint(Hint),
    /// So much has happened that all must be looked at.
    Overflow,
    /// Something was mounted, or is not any more.
    Mounts,
    /// Say what is watched, in answer to a call.
    Describe(From, Vec<WatchedRow>),
    /// Nothing is watched any more.
    End,
}

/// Why changes are not told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blindness {
    /// This path's file system does not.
    FileSystem(PathBuf),
    /// There is no instance of inotify.
    Instances,
    /// There are no more watches.
    Watches,
}

/// The thread's own.
pub struct Worker {
    own: Own,
    inbox: mpsc::Sender<Wake>,
    kernel: Kernel,
    services: BTreeMap<ServiceId, Watched>,
}

/// What is watched for a service.
struct Watched {
    since: u64,
    job: Job,
    roots: Vec<Root>,
    /// When to look; None: nothing is dirty.
    settle: Option<Settle>,
    dirt: BTreeMap<usize, BTreeSet<Dirt>>,
    /// Files that somebody writes, and whether they were waited for before in vain.
    written: BTreeMap<PathBuf, bool>,
    /// When it is looked next at what nobody tells of; None: all is told of, or it shall not be looked.
    poll_at: Option<Mono>,
    /// How long it was to that from the look before.
    pace: Option<Duration>,
    /// What has been said of that.
    said: BTreeSet<Blindness>,
    /// How often there was something to see, and nothing had changed.
    unchanged: u64,
}

impl Watched {
    fn due(&self) -> Option<Mono> {
        let is_written = self.written.values().any(|in_vain| !in_vain);
        let settled = self.settle.map(|settle| settle.due(self.job.watch.settle, is_written));
        settled.into_iter().chain(self.poll_at).min()
    }

    /// How often it is looked at what nobody tells of.
    fn period(&self) -> Option<Duration> {
        let is_blind = |root: &Root| root.silent().is_some() || !root.unseen(false).is_empty();
        match self.job.watch.poll {
            Poll::Every(period) => Some(period),
            Poll::Auto => self.roots.iter().any(is_blind).then_some(POLL),
            Poll::Never => None,
        }
    }

    /// What is looked at then, of one root.
    fn unseen(&self, root: &Root) -> BTreeSet<Dirt> {
        root.unseen(matches!(self.job.watch.poll, Poll::Every(_)) || root.silent().is_some())
    }

    /// Tells of what is not told of, and what follows; each once.
    fn explain(&mut self, kernel: &Kernel) {
        let then = match self.job.watch.poll {
            Poll::Never => "not watched, since `poll` is `never`".to_owned(),
            Poll::Every(_) | Poll::Auto => format!("polled every {}", write_duration(self.period().unwrap_or(POLL))),
        };
        let mut words = Vec::new();
        for root in &self.roots {
            if let Some(name) = root.silent() {
                let text = format!("{} is on {name}, which does not report changes by others; {then}", root.path().display());
                words.push((Blindness::FileSystem(root.path().to_owned()), text));
            }
        }
        let blind: usize = self.roots.iter().map(|root| root.blind().len()).sum();
        let is_way_blind = self.roots.iter().any(|root| !root.unseen(false).is_empty());
        if !kernel.tells() {
            let limit = Limit::read(INSTANCES);
            words.push((Blindness::Instances, format!("no inotify instance left ({limit} for this user); {then}")));
        } else if kernel.has_run_out() && (blind > 0 || is_way_blind) {
            words.push((Blindness::Watches, self.out_of_watches(blind, &then)));
        }
        for (what, text) in words {
            if self.said.insert(what) {
                tracing::warn!("{}: watch: {text}", self.job.name);
            }
        }
    }

    /// `inotify limit reached after 8123 of 10001 folders`, with what is in the way and what helps.
    fn out_of_watches(&self, blind: usize, then: &str) -> String {
        let mut largest: BTreeMap<(usize, &[u8]), usize> = BTreeMap::new();
        for (number, root) in self.roots.iter().enumerate() {
            for folder in root.folders() {
                let top = folder.split(|byte| *byte == b'/').next().unwrap_or_default();
                *largest.entry((number, top)).or_default() += 1;
            }
        }
        let all: usize = largest.values().sum();
        let limit = Limit::read(WATCHES);
        let enough = all.saturating_mul(2).next_power_of_two().max(524_288);
        let culprit = largest.into_iter().filter(|((_, top), count)| !top.is_empty() && count * 2 > all).max_by_key(|(_, count)| *count);
        let exclude = culprit.map_or(String::new(), |((_, top), count)| {
            format!(", or exclude `{}/` ({count} folders)", String::from_utf8_lossy(top).escape_debug())
        });
        format!(
            "inotify limit reached after {} of {all} folders ({limit}). The other {blind} are {then}. Raise it on the host: \
             sysctl fs.inotify.max_user_watches={enough}{exclude}",
            all.saturating_sub(blind)
        )
    }

    fn describe(&self, root: &Root, kernel: &Kernel) -> WatchedPath {
        let (folders, files) = root.size();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let is_polled = !self.unseen(root).is_empty();
        WatchedPath {
            path: text(root.path()),
            leads_to: root.real().filter(|real| *real != root.path()).map(text),
            what: Some(root.what()),
            inotify: kernel.tells(),
            poll_ms: self.pace.filter(|_| is_polled).map(|pace| u64::try_from(pace.as_millis()).unwrap_or(u64::MAX)),
            file_system: root.silent().map(str::to_owned),
            folders: whole(folders),
            unwatched: whole(root.blind().len()),
            files: whole(files),
        }
    }

    fn mark(&mut self, root: usize, dirt: Dirt, now: Mono) {
        self.dirt.entry(root).or_default().insert(dirt);
        self.settle.get_or_insert_with(|| Settle::begin(now)).again(now);
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Worker {
    /// A worker that tells this inbox what it finds, and is told by this sender what may have happened.
    pub fn new(own: Own, inbox: mpsc::Sender<Wake>, hints: Sender<Told>) -> Worker {
        Worker { own, inbox, kernel: Kernel::new(hints), services: BTreeMap::new() }
    }

    /// Works until nothing is watched any more.
    pub fn run(mut self, told: &Receiver<Told>) {
        loop {
            let due = self.services.values().filter_map(Watched::due).min();
            let next = match due {
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => told.recv_timeout(due.since(clock::now().mono)),
            };
            match next {
                Ok(Told::Watch(id, since, job)) => self.watch(id, since, *job),
                Ok(Told::Unwatch(id)) => self.unwatch(id),
                Ok(Told::Hint(hint)) => {
                    self.kernel.taken();
                    self.take(&hint);
                }
                Ok(Told::Overflow) => {
                    self.kernel.taken();
                    tracing::debug!("watch: overflow: full rescan");
                    self.kernel.begin_anew();
                }
                Ok(Told::Mounts) => self.kernel.begin_anew(),
                Ok(Told::Describe(to, services)) => self.describe(to, services),
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
            if self.kernel.settle() {
                self.mark_all();
            }
        }
    }

    fn watch(&mut self, id: ServiceId, since: u64, job: Job) {
        if let Some(known) = self.services.get_mut(&id).filter(|known| known.job.is_like(&job)) {
            known.since = since;
            return;
        }
        self.unwatch(id);
        self.kernel.try_again();
        let mut changes = Changes::default();
        let mut roots = Vec::with_capacity(job.paths.len());
        for (number, path) in job.paths.iter().enumerate() {
            let mut look = Look { kernel: &mut self.kernel, job: &job, own: &self.own, changes: &mut changes };
            roots.push(Root::new((id, number), path.clone(), &mut look));
        }
        let (folders, files) = roots.iter().map(Root::size).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        tracing::debug!("{}: watch: {folders} folders with {files} files, {} watches", job.name, self.kernel.count());
        let (dirt, written, said) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut watched = Watched { since, job, roots, settle: None, dirt, written, poll_at: None, pace: None, said, unchanged: 0 };
        watched.explain(&self.kernel);
        watched.pace = watched.period();
        watched.poll_at = watched.pace.map(|period| clock::now().mono + period);
        self.services.insert(id, watched);
        self.tell(id, since, changes);
    }

    fn unwatch(&mut self, id: ServiceId) {
        if let Some(watched) = self.services.remove(&id) {
            for mut root in watched.roots {
                root.release(&mut self.kernel);
            }
        }
    }

    fn take(&mut self, hint: &Hint) {
        let now = clock::now().mono;
        let folder = hint.path.parent().map_or(&[][..], |folder| self.kernel.users(folder));
        let users: BTreeSet<_> = folder.iter().chain(self.kernel.users(&hint.path)).copied().gather();
        for (id, number) in users {
            let Some(watched) = self.services.get_mut(&id) else { continue };
            let Some(dirt) = watched.roots.get(number).and_then(|root| root.dirt(hint, &watched.job, &self.own)) else { continue };
            match hint.sign {
                Sign::Written if watched.written.len() < WRITTEN => drop(watched.written.entry(hint.path.clone()).or_insert(false)),
                Sign::Closed | Sign::Moved => drop(watched.written.remove(&hint.path)),
                Sign::Written | Sign::Touched => {}
            }
            watched.mark(number, dirt, now);
        }
    }

    fn mark_all(&mut self) {
        let now = clock::now().mono;
        for watched in self.services.values_mut() {
            watched.written.clear();
            (0..watched.roots.len()).for_each(|number| watched.mark(number, Dirt::Whole, now));
        }
    }

    /// Looks at what is due.
    fn look(&mut self) {
        let now = clock::now().mono;
        let due: Vec<ServiceId> =
            self.services.iter().filter(|(_, watched)| watched.due().is_some_and(|due| due <= now)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(watched) = self.services.get_mut(&id) else { continue };
            let is_polled = watched.poll_at.is_some_and(|at| at <= now);
            if is_polled {
                for number in 0..watched.roots.len() {
                    let unseen = watched.roots.get(number).map(|root| watched.unseen(root)).unwrap_or_default();
                    watched.dirt.entry(number).or_default().extend(unseen);
                }
            }
            let was_told = watched.settle.is_some();
            let Watched { since, job, roots, settle, dirt, written, .. } = watched;
            *settle = None;
            written.values_mut().for_each(|in_vain| *in_vain = true);
            let mut changes = Changes::default();
            for (number, dirt) in std::mem::take(dirt) {
                if let Some(root) = roots.get_mut(number) {
                    root.look(dirt, &mut Look { kernel: &mut self.kernel, job, own: &self.own, changes: &mut changes });
                }
            }
            if changes.is_empty() && was_told {
                watched.unchanged = watched.unchanged.saturating_add(1);
                tracing::debug!("{}: watch: nothing has changed", job.name);
            }
            let since = *since;
            // What takes long to look at is looked at less often.
            let end = clock::now().mono;
            watched.explain(&self.kernel);
            let period = watched.period().map(|period| period.max(end.since(now) * LOOKS_PER_COST));
            if is_polled || watched.poll_at.is_none() || period.is_none() {
                watched.pace = period;
                watched.poll_at = period.map(|period| end + period);
            }
            self.tell(id, since, changes);
        }
    }

    fn describe(&self, to: From, mut services: Vec<WatchedRow>) {
        for row in &mut services {
            let id = ServiceId(row.id);
            let Some(watched) = self.services.get(&id) else { continue };
            row.paths = watched.roots.iter().map(|root| watched.describe(root, &self.kernel)).collect();
            row.watches = whole(self.kernel.count_of(id));
            row.unchanged = watched.unchanged;
        }
        let inotify = limits::inotify(u64::from(self.kernel.tells()), whole(self.kernel.count()));
        let _ = self.inbox.blocking_send(Wake::Watched(to, Box::new(Answer { services, inotify })));
    }

    fn tell(&self, id: ServiceId, since: u64, changes: Changes) {
        if !changes.is_empty() {
            let _ = self.inbox.blocking_send(Wake::FilesChanged(id, since, changes));
        }
    }
}
