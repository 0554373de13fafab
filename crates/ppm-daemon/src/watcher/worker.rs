//! The thread that looks at files. It waits for hints and for what the loop tells, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};

use ppm_core::event::ServiceId;
use ppm_core::time::Mono;
use ppm_core::watch::Changes;
use ppm_core::watch::rules::Own;
use ppm_core::watch::settle::Settle;
use tokio::sync::mpsc;

use super::Job;
use super::kernel::{Hint, Kernel, Sign};
use super::root::{Dirt, Look, Root};
use crate::clock;
use crate::driver::Wake;

/// Of how many files at a time it is known that somebody writes them; the others are looked at as they are.
const WRITTEN: usize = 1024;

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
    /// Nothing is watched any more.
    End,
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
}

impl Watched {
    fn due(&self) -> Option<Mono> {
        let is_written = self.written.values().any(|in_vain| !in_vain);
        self.settle.map(|settle| settle.due(self.job.watch.settle, is_written))
    }

    fn mark(&mut self, root: usize, dirt: Dirt, now: Mono) {
        self.dirt.entry(root).or_default().insert(dirt);
        self.settle.get_or_insert_with(|| Settle::begin(now)).again(now);
    }
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
                    self.mark_all();
                }
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    fn watch(&mut self, id: ServiceId, since: u64, job: Job) {
        if let Some(known) = self.services.get_mut(&id).filter(|known| known.job.is_like(&job)) {
            known.since = since;
            return;
        }
        self.unwatch(id);
        let mut changes = Changes::default();
        let mut roots = Vec::with_capacity(job.paths.len());
        for (number, path) in job.paths.iter().enumerate() {
            let mut look = Look { kernel: &mut self.kernel, job: &job, own: &self.own, changes: &mut changes };
            roots.push(Root::new((id, number), path.clone(), &mut look));
        }
        let (folders, files) = roots.iter().map(Root::size).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        tracing::debug!("{}: watch: {folders} folders with {files} files, {} watches", job.name, self.kernel.count());
        let (dirt, written) = (BTreeMap::new(), BTreeMap::new());
        self.services.insert(id, Watched { since, job, roots, settle: None, dirt, written });
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
        let users: BTreeSet<_> = folder.iter().chain(self.kernel.users(&hint.path)).copied().collect();
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
            (0..watched.roots.len()).for_each(|number| watched.mark(number, Dirt::Anew, now));
        }
    }

    /// Looks at what is due.
    fn look(&mut self) {
        let now = clock::now().mono;
        let due: Vec<ServiceId> =
            self.services.iter().filter(|(_, watched)| watched.due().is_some_and(|due| due <= now)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(Watched { since, job, roots, settle, dirt, written }) = self.services.get_mut(&id) else { continue };
            *settle = None;
            written.values_mut().for_each(|in_vain| *in_vain = true);
            let mut changes = Changes::default();
            for (number, dirt) in std::mem::take(dirt) {
                if let Some(root) = roots.get_mut(number) {
                    root.look(dirt, &mut Look { kernel: &mut self.kernel, job, own: &self.own, changes: &mut changes });
                }
            }
            if changes.is_empty() {
                tracing::debug!("{}: watch: nothing has changed", job.name);
            }
            let since = *since;
            self.tell(id, since, changes);
        }
    }

    fn tell(&self, id: ServiceId, since: u64, changes: Changes) {
        if !changes.is_empty() {
            let _ = self.inbox.blocking_send(Wake::FilesChanged(id, since, changes));
        }
    }
}
