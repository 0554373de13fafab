//! Watches files: the loop's side of it. The work is done on a thread that exists only while something is watched.
//!
//! What counts and what is a change is the core's; here it is looked. Nothing in the loop waits for a file system: what
//! was found comes as [`Wake::FilesChanged`].

mod kernel;
mod limits;
mod root;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self as channel, SendError};

use nix::time::{ClockId, clock_gettime};
use ppm_core::environment::Folder;
use ppm_core::event::{From, ServiceId};
use ppm_core::gather::Gather;
use ppm_core::watch::WatchSpec;
use ppm_core::watch::rules::Own;
use ppm_protocol::{Watched, WatchedRow};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::driver::Wake;
use crate::host;
use crate::spawn::in_words;
use worker::{Told, Worker};

/// A walk goes as deep as folders are nested, without recursion; what is read at once is small.
const STACK: usize = 256 * 1024;

/// What is watched for a service.
#[derive(Clone, Debug)]
pub struct Job {
    /// The service's name, for the log.
    pub name: String,
    /// The folder that it runs in, which names of files leave out; None: the daemon's.
    pub folder: Option<PathBuf>,
    /// Absolute, as they are written otherwise.
    pub paths: Vec<PathBuf>,
    /// Which files below them count.
    pub watch: Arc<WatchSpec>,
    /// When it began, in nanoseconds since the epoch: what changed later is a change, also where nobody had looked before.
    pub since: i64,
}

impl Job {
    /// Begins now. Paths that are not absolute begin at the folder.
    pub fn new(name: String, folder: Option<Folder>, paths: Vec<PathBuf>, watch: Arc<WatchSpec>) -> Job {
        let folder = folder.map(|folder| PathBuf::from(std::ffi::OsString::from_vec(folder.path)));
        let own = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let base = folder.clone().unwrap_or_else(own);
        let paths = paths.iter().map(|path| plain(&base.join(path))).collect();
        Job { name, folder: folder.map(|folder| plain(&folder)), paths, watch, since: now_of_files() }
    }

    /// Whether it is the same, but for when it began.
    fn is_like(&self, other: &Job) -> bool {
        (&self.name, &self.folder, &self.paths, &self.watch) == (&other.name, &other.folder, &other.paths, &other.watch)
    }
}

/// Without `.` and needless slashes; `..` stays, since where it leads depends on links.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// No file was written later than this, in nanoseconds since the epoch. The clock of file systems may be a tick behind, but
/// never ahead.
pub fn now_of_files() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok();
    now.map_or(0, |now| now.tv_sec().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec()))
}

/// The files of the daemon itself: its socket, the lock beside it, and what its own output goes to.
pub fn own_files(socket: &Path) -> Own {
    let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    let mut lock = socket.clone().into_os_string();
    lock.push(".lock");
    let output = ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter().filter_map(|link| std::fs::read_link(link).ok());
    let files: BTreeSet<PathBuf> = [socket, PathBuf::from(lock)].into_iter().chain(output).gather();
    Own { files: files.iter().map(|file| file.as_os_str().as_bytes().to_vec()).gather() }
}

/// What is mounted over a path hides what is watched there, and inotify(7) does not tell of it; proc(5) does.
async fn tell_of_mounts(worker: channel::Sender<Told>) {
    let Ok(mounts) = std::fs::File::open("/proc/self/mountinfo") else { return };
    let Ok(mounts) = host::changes_of(mounts) else { return };
    while let Ok(mut changed) = mounts.ready(Interest::PRIORITY).await {
        changed.clear_ready();
        if worker.send(Told::Mounts).is_err() {
            return;
        }
    }
}

/// What is watched, for whom.
#[derive(Debug)]
pub struct Watcher {
    own: Own,
    inbox: mpsc::Sender<Wake>,
    /// The thread, while there is one.
    worker: Option<channel::Sender<Told>>,
    /// Tells it of mounts.
    mounts: Option<AbortHandle>,
    /// For each service since when: what was found before that is of no interest any more.
    current: BTreeMap<ServiceId, u64>,
    count: u64,
}

impl Watcher {
    /// Watches nothing yet. What belongs to the daemon is never watched.
    pub fn new(own: Own, inbox: mpsc::Sender<Wake>) -> Watcher {
        Watcher { own, inbox, worker: None, mounts: None, current: BTreeMap::new(), count: 0 }
    }

    /// From now on this is watched for a service, and nothing else.
    pub fn watch(&mut self, id: ServiceId, job: Job) {
        self.count += 1;
        self.current.insert(id, self.count);
        let told = Told::Watch(id, self.count, Box::new(job));
        if let Some(worker) = &self.worker {
            let _ = worker.send(told);
            return;
        }
        let (sender, inbox) = channel::channel();
        let _ = sender.send(told);
        let worker = Worker::new(self.own.clone(), self.inbox.clone(), sender.clone());
        let thread = std::thread::Builder::new().name("watcher".to_owned()).stack_size(STACK);
        match thread.spawn(move || worker.run(&inbox)) {
            Ok(_) => {
                self.mounts = Some(tokio::spawn(tell_of_mounts(sender.clone())).abort_handle());
                self.worker = Some(sender);
            }
            Err(error) => {
                tracing::warn!("files cannot be watched: no thread: {}", in_words(&error));
                self.current.remove(&id);
            }
        }
    }

    /// Nothing is watched for a service any more.
    pub fn unwatch(&mut self, id: ServiceId) {
        self.current.remove(&id);
        let Some(worker) = &self.worker else { return };
        let _ = worker.send(Told::Unwatch(id));
        if self.current.is_empty() {
            let _ = worker.send(Told::End);
            self.worker = None;
            if let Some(mounts) = self.mounts.take() {
                mounts.abort();
            }
        }
    }

    /// Adds to what is known of services which files those are. Whoever looks at them answers later; where nobody does, this
    /// is the answer.
    pub fn tell(&self, to: From, services: Vec<WatchedRow>) -> Option<(From, Watched)> {
        let Some(worker) = &self.worker else { return Some((to, Watched { services, inotify: limits::inotify(0, 0) })) };
        match worker.send(Told::Describe(to, services)) {
            Ok(()) => None,
            Err(SendError(Told::Describe(to, services))) => Some((to, Watched { services, inotify: limits::inotify(0, 0) })),
            Err(_) => None,
        }
    }

    /// Whether what was found since then is still of interest.
    pub fn is_current(&self, id: ServiceId, since: u64) -> bool {
        self.current.get(&id) == Some(&since)
    }
}
