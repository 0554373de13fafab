//! What the kernel is asked to tell of: folders and files, each once, however many services are interested.
//!
//! inotify(7) by way of `notify`, without its recursion: it would watch what is excluded. Hints only: what has happened is
//! found out by looking. Invariant: the queue is bounded; what does not fit into it is told of as one hint for everything.
//!
//! `notify` looks through all that it watches to let go of one path. So where many are let go, its instance is replaced by a
//! new one, and everything is looked at and watched again.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{Config, ErrorKind, Event, EventKind, EventKindMask, INotifyWatcher, RecursiveMode, Watcher};
use ppm_core::watch::pattern::What;

use super::worker::Told;

/// How many hints may wait while it is looked at others.
const WAITING: usize = 8192;

/// To watch a path costs about as much as to look through this many that are watched.
const LOOKED_THROUGH: usize = 1000;

/// How long it is waited at most for the end of an instance that is let go: it counts towards the limits until then.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Something may have happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which.
    pub path: PathBuf,
    /// What.
    pub sign: Sign,
    /// What it is, where that is known.
    pub what: Option<What>,
}

/// What may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It was written, by somebody who may go on.
    Written,
    /// Who wrote it has closed it.
    Closed,
    /// It came, went, or has another name.
    Moved,
    /// Something about it is another.
    Touched,
}

/// Who is interested in a path: a service's number, and which of its roots.
pub type User = (ppm_core::event::ServiceId, usize);

/// Why a path is not watched.
#[derive(Debug)]
pub enum NotWatched {
    /// It is not there.
    Gone,
    /// No more watches, or no instance of inotify, are to be had.
    Limit,
    /// Something else.
    Error(io::Error),
}

/// The one instance of inotify.
pub struct Kernel {
    /// None: there is none to be had, or nothing to be watched.
    instance: Option<Instance>,
    /// How many instances there were before.
    replaced: u32,
    watched: HashMap<PathBuf, Watched>,
    /// What nobody is interested in any more, and is watched still.
    unwanted: HashSet<PathBuf>,
    /// How many paths were let go one by one since it settled.
    let_go: usize,
    /// Whether what an instance before has watched is to be watched again.
    is_anew: bool,
    waiting: Arc<AtomicUsize>,
    worker: Sender<Told>,
    /// Whether a watch was not to be had.
    has_run_out: bool,
}

struct Instance {
    watcher: INotifyWatcher,
    /// Closed when it has ended.
    end: Receiver<Infallible>,
}

/// A path that somebody is interested in.
struct Watched {
    users: Vec<User>,
    /// By which instance: how many were before it.
    by: u32,
}

impl Kernel {
    /// Tells this worker.
    pub fn new(worker: Sender<Told>) -> Kernel {
        let mut kernel = Kernel {
            instance: None,
            replaced: 0,
            watched: HashMap::new(),
            unwanted: HashSet::new(),
            let_go: 0,
            is_anew: false,
            waiting: Arc::default(),
            worker,
            has_run_out: false,
        };
        kernel.try_again();
        kernel
    }

    /// Where there was no instance of inotify to be had, there may be one by now.
    pub fn try_again(&mut self) {
        if self.instance.is_some() {
            return;
        }
        let (worker, count, (ends, end)) = (self.worker.clone(), Arc::clone(&self.waiting), mpsc::channel());
        let tell = move |event: notify::Result<Event>| {
            let _until_it_ends = &ends;
            hints(event, |told| send(&worker, &count, told));
        };
        let config = Config::default().with_follow_symlinks(false).with_event_kinds(EventKindMask::CORE | EventKindMask::ACCESS_CLOSE);
        let watcher = INotifyWatcher::new(tell, config).map_err(|error| tracing::debug!("inotify: {error}"));
        self.instance = watcher.ok().map(|watcher| Instance { watcher, end });
    }

    /// Watches by a new instance from now on: what is watched is to be looked at, which watches it again.
    pub fn begin_anew(&mut self) {
        if let Some(Instance { watcher, end }) = self.instance.take() {
            drop(watcher);
            let _ = end.recv_timeout(ENDS_WITHIN);
        }
        self.unwanted.clear();
        self.let_go = 0;
        self.replaced = self.replaced.wrapping_add(1);
        self.is_anew = !self.watched.is_empty();
        if self.is_anew {
            self.try_again();
        }
    }

    /// Lets go of what nobody is interested in. Whether everything is to be looked at.
    #[must_use]
    pub fn settle(&mut self) -> bool {
        let all = self.unwanted.len() + self.watched.len();
        if self.unwanted.len().saturating_mul(all) > self.watched.len().saturating_mul(LOOKED_THROUGH) {
            self.begin_anew();
        }
        for path in std::mem::take(&mut self.unwanted) {
            self.remove(&path);
        }
        self.let_go = 0;
        std::mem::take(&mut self.is_anew)
    }

    /// Whether there was no watch to be had for something.
    pub fn has_run_out(&self) -> bool {
        self.has_run_out
    }

    /// Whether the kernel tells of anything at all.
    pub fn tells(&self) -> bool {
        self.instance.is_some()
    }

    /// A hint was taken up.
    pub fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many paths are watched.
    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// How many of them for a service.
    pub fn count_of(&self, id: ppm_core::event::ServiceId) -> usize {
        self.watched.values().filter(|watched| watched.users.iter().any(|(user, _)| *user == id)).count()
    }

    /// Who is interested in this path.
    pub fn users(&self, path: &Path) -> &[User] {
        self.watched.get(path).map_or(&[], |watched| &watched.users)
    }

    /// Tells of a path from now on, for this user too.
    pub fn watch(&mut self, path: &Path, user: User) -> Result<(), NotWatched> {
        if let Some(watched) = self.watched.get_mut(path) {
            if !watched.users.contains(&user) {
                watched.users.push(user);
            }
            if watched.by == self.replaced {
                return Ok(());
            }
            return self.watch_again(path);
        }
        if self.unwanted.remove(path) {
            self.remove(path);
        }
        self.add(path)?;
        self.watched.insert(path.to_owned(), Watched { users: vec![user], by: self.replaced });
        Ok(())
    }

    /// The path may be another file or folder than the one that is watched.
    pub fn renew(&mut self, path: &Path) -> Result<(), NotWatched> {
        let Some(watched) = self.watched.get(path) else { return Ok(()) };
        if watched.by == self.replaced {
            self.remove(path);
        }
        self.watch_again(path)
    }

    fn watch_again(&mut self, path: &Path) -> Result<(), NotWatched> {
        self.add(path).inspect_err(|_| drop(self.watched.remove(path)))?;
        if let Some(watched) = self.watched.get_mut(path) {
            watched.by = self.replaced;
        }
        Ok(())
    }

    /// The user has no interest in a path any more.
    pub fn release(&mut self, path: &Path, user: User) {
        let Some(watched) = self.watched.get_mut(path) else { return };
        watched.users.retain(|own| *own != user);
        if watched.users.is_empty() && self.watched.remove(path).is_some_and(|watched| watched.by == self.replaced) {
            self.unwanted.insert(path.to_owned());
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), NotWatched> {
        self.ask_for(path).inspect_err(|why| self.has_run_out |= matches!(why, NotWatched::Limit))
    }

    fn ask_for(&mut self, path: &Path) -> Result<(), NotWatched> {
        let Some(instance) = &mut self.instance else { return Err(NotWatched::Limit) };
        let Err(error) = instance.watcher.watch(path, RecursiveMode::NonRecursive) else { return Ok(()) };
        Err(match error.kind {
            ErrorKind::MaxFilesWatch => NotWatched::Limit,
            ErrorKind::PathNotFound => NotWatched::Gone,
            ErrorKind::Io(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => NotWatched::Gone,
            ErrorKind::Io(error) => NotWatched::Error(error),
            ErrorKind::Generic(_) | ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => {
                // Its thread could not be had; to drop it would be to wait for that thread.
                std::mem::forget(self.instance.take());
                NotWatched::Limit
            }
        })
    }

    /// What is gone by itself is not watched any more either.
    fn remove(&mut self, path: &Path) {
        self.let_go += 1;
        if self.let_go > LOOKED_THROUGH {
            self.begin_anew();
        } else if let Some(instance) = &mut self.instance {
            let _ = instance.watcher.unwatch(path);
        }
    }
}

/// Never waits: what does not fit is one hint for everything.
fn send(worker: &Sender<Told>, waiting: &AtomicUsize, told: Told) {
    let before = waiting.fetch_add(1, Ordering::Relaxed);
    let told = match before {
        ..WAITING => told,
        WAITING => Told::Overflow,
        _ => {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    };
    let _ = worker.send(told);
}

fn hints(event: notify::Result<Event>, send: impl Fn(Told)) {
    let event = match event {
        Ok(event) => event,
        Err(error) => return tracing::debug!("inotify: {error}"),
    };
    if event.need_rescan() {
        return send(Told::Overflow);
    }
    let (sign, what) = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (Sign::Closed, Some(What::File)),
        EventKind::Modify(ModifyKind::Data(_)) => (Sign::Written, Some(What::File)),
        EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File) => (Sign::Moved, Some(What::File)),
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => (Sign::Moved, Some(What::Folder)),
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => (Sign::Moved, None),
        EventKind::Modify(_) | EventKind::Access(_) | EventKind::Any | EventKind::Other => (Sign::Touched, None),
    };
    for path in event.paths {
        send(Told::Hint(Hint { path, sign, what }));
    }
}
