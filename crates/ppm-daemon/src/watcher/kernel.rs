//! What the kernel is asked to tell of: folders and files, each once, however many services are interested.
//!
//! inotify(7) by way of `notify`, without its recursion: it would watch what is excluded. Hints only: what has happened is
//! found out by looking. Invariant: the queue is bounded; what does not fit into it is told of as one hint for everything.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{Config, ErrorKind, Event, EventKind, EventKindMask, INotifyWatcher, RecursiveMode, Watcher};
use ppm_core::watch::pattern::What;

use super::worker::Told;

/// How many hints may wait while it is looked at others.
const WAITING: usize = 8192;

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
    /// None: there is none to be had.
    watcher: Option<INotifyWatcher>,
    users: HashMap<PathBuf, Vec<User>>,
    waiting: Arc<AtomicUsize>,
    worker: Sender<Told>,
    /// Whether a watch was not to be had.
    has_run_out: bool,
}

impl Kernel {
    /// Tells this worker.
    pub fn new(worker: Sender<Told>) -> Kernel {
        let mut kernel = Kernel { watcher: None, users: HashMap::new(), waiting: Arc::default(), worker, has_run_out: false };
        kernel.try_again();
        kernel
    }

    /// Where there was no instance of inotify to be had, there may be one by now.
    pub fn try_again(&mut self) {
        if self.watcher.is_some() {
            return;
        }
        let (worker, count) = (self.worker.clone(), Arc::clone(&self.waiting));
        let tell = move |event: notify::Result<Event>| hints(event, |told| send(&worker, &count, told));
        let config = Config::default().with_follow_symlinks(false).with_event_kinds(EventKindMask::CORE | EventKindMask::ACCESS_CLOSE);
        self.watcher = INotifyWatcher::new(tell, config).map_err(|error| tracing::debug!("inotify: {error}")).ok();
    }

    /// Whether there was no watch to be had for something.
    pub fn has_run_out(&self) -> bool {
        self.has_run_out
    }

    /// Whether the kernel tells of anything at all.
    pub fn tells(&self) -> bool {
        self.watcher.is_some()
    }

    /// A hint was taken up.
    pub fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many paths are watched.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// How many of them for a service.
    pub fn count_of(&self, id: ppm_core::event::ServiceId) -> usize {
        self.users.values().filter(|users| users.iter().any(|(user, _)| *user == id)).count()
    }

    /// Who is interested in this path.
    pub fn users(&self, path: &Path) -> &[User] {
        self.users.get(path).map_or(&[], Vec::as_slice)
    }

    /// Tells of a path from now on, for this user too.
    pub fn watch(&mut self, path: &Path, user: User) -> Result<(), NotWatched> {
        if let Some(users) = self.users.get_mut(path) {
            if !users.contains(&user) {
                users.push(user);
            }
            return Ok(());
        }
        self.add(path).inspect_err(|why| self.has_run_out |= matches!(why, NotWatched::Limit))?;
        self.users.insert(path.to_owned(), vec![user]);
        Ok(())
    }

    /// The path may be another file or folder than the one that is watched.
    pub fn renew(&mut self, path: &Path) -> Result<(), NotWatched> {
        if !self.users.contains_key(path) {
            return Ok(());
        }
        self.remove(path);
        self.add(path).inspect_err(|_| drop(self.users.remove(path)))
    }

    /// The user has no interest in a path any more.
    pub fn release(&mut self, path: &Path, user: User) {
        let Some(users) = self.users.get_mut(path) else { return };
        users.retain(|own| *own != user);
        if users.is_empty() {
            self.users.remove(path);
            self.remove(path);
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), NotWatched> {
        let Some(watcher) = &mut self.watcher else { return Err(NotWatched::Limit) };
        let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) else { return Ok(()) };
        Err(match error.kind {
            ErrorKind::MaxFilesWatch => NotWatched::Limit,
            ErrorKind::PathNotFound => NotWatched::Gone,
            ErrorKind::Io(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => NotWatched::Gone,
            ErrorKind::Io(error) => NotWatched::Error(error),
            ErrorKind::Generic(_) | ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => {
                // Its thread could not be had; to drop it would be to wait for that thread.
                std::mem::forget(self.watcher.take());
                NotWatched::Limit
            }
        })
    }

    /// What is gone by itself is not watched any more either.
    fn remove(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(path);
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
