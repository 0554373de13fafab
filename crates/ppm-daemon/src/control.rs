//! The control socket: who may talk, in lines, without ever making the loop wait.
//!
//! Each connection is a task that turns bytes into requests for the loop's inbox and writes what the loop hands it.
//! A client that does not read is not read from, and dropped when too much has piled up for it; a client that says
//! nothing costs a descriptor, and when there are too many the longest idle one goes (R55, R57).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::Poll;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen as listen_to};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use ppm_core::event::{ClientId, Event, From};
use ppm_core::time::Mono;
use ppm_protocol::line::{Lines, MAX_LINE};
use ppm_protocol::message::{Answer, Asked, Notification, Reply};
use ppm_protocol::{End, ErrorCode, EventRow, Exit, Request, RpcError, RpcId, socket};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::driver::Wake;
use crate::host;
use crate::spawn::in_words;

/// More connections than this close the longest idle one, if there are files for as many.
const MAX_CLIENTS: usize = 64;

/// How many connections are taken up in one turn of the loop, at most, where files are not scarce. When services crash without
/// pause a turn takes long, and thousands may have connected meanwhile who do not wait for an answer: who does is behind them.
const AT_ONCE: usize = 16;

/// How many files are not for connections: those of the daemon itself, one that it reads, and the next connection, which
/// is accepted before another goes for it.
const OTHER_FILES: u64 = 15;

/// More calls of one client than this are refused.
const MAX_CALLS: usize = 32;

/// A client that gets another message while more than this many bytes wait to be read by it is dropped.
const MAX_UNREAD: usize = 8 << 20;

/// When more than this many bytes wait for all clients together, the one that most of them wait for is dropped.
const MAX_UNREAD_OF_ALL: usize = 32 << 20;

/// A stream waits while more than so many bytes wait to be read by its client.
const MAX_AHEAD: usize = 256 << 10;

/// How long accepting pauses after it failed, since there are no files or no memory left (R49).
const SCARCITY: Duration = Duration::from_millis(100);

/// How long a client that has stopped writing may take to read the replies to what it asked before.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// How many may have connected before they are accepted; others wait for their turn in connect(2). Many enough for those who come
/// while a turn of the loop takes long, few enough to be through with them soon.
const QUEUE: i32 = 64;

/// How long nobody new is accepted for whom one would have to go who has connected or spoken just now: what it says next may be
/// on its way. So many connections as there may be pass in this time, however many come.
const ON_ITS_WAY: Duration = Duration::from_millis(30);

/// A process that has more connections than this, and says nothing on one of them, has no claim that this one is waited for.
const CROWD: usize = 8;

const READ_SIZE: usize = 16 * 1024;

/// The socket in the file system, with the lock that keeps a second daemon away.
#[derive(Debug)]
pub struct Address {
    path: PathBuf,
    lock_path: PathBuf,
    inode: u64,
    _lock: Flock<fs::File>,
}

/// Why there is no socket, in words and with a remedy.
#[derive(Debug)]
pub struct NoSocket {
    /// What failed.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

const ELSEWHERE: &str = "choose another place with --socket or PPM_SOCKET";

/// Makes the socket: mode 0600, a stale one replaced, a live one respected.
pub fn bind(path: &Path) -> Result<(StdListener, Address), NoSocket> {
    let fail = |what: &str, error: &io::Error| NoSocket { message: format!("cannot {what}: {}", in_words(error)), hint: remedy(error) };
    if path.as_os_str().len() > socket::MAX_PATH {
        let message =
            format!("the socket's path is {} bytes long, {} are possible: {}", path.as_os_str().len(), socket::MAX_PATH, path.display());
        return Err(NoSocket { message, hint: ELSEWHERE });
    }
    make_folder(path).map_err(|error| fail(&format!("use the folder of {}", path.display()), &error))?;
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let lock = lock(&lock_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => in_use(path),
        _ => fail(&format!("make the socket {} and its lock beside it", path.display()), &error),
    })?;
    remove_stale(path)?;
    let mask = umask(Mode::from_bits_truncate(0o177));
    let listener = StdListener::bind(path);
    umask(mask);
    let listener = listener.map_err(|error| fail(&format!("make the socket {}", path.display()), &error))?;
    // The library's own queue holds thousands, behind all of whom one who asks would wait.
    let shortened = Backlog::new(QUEUE).and_then(|queue| listen_to(&listener, queue)).map_err(io::Error::from);
    let prepared = shortened.and_then(|()| listener.set_nonblocking(true)).and_then(|()| fs::symlink_metadata(path));
    let inode = prepared.map_err(|error| fail(&format!("make the socket {}", path.display()), &error))?.ino();
    Ok((listener, Address { path: path.to_owned(), lock_path, inode, _lock: lock }))
}

impl Drop for Address {
    /// Removes what is still ours (R54); the lock goes last.
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn in_use(path: &Path) -> NoSocket {
    NoSocket {
        message: format!("another daemon uses {}", path.display()),
        hint: "`ppm ls` shows what it runs, `ppm shutdown` ends it; a second one needs its own --socket",
    }
}

/// Locks the file, and makes sure that it is still the one that others would find under its name.
fn lock(path: &Path) -> io::Result<Flock<fs::File>> {
    loop {
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        let ours = lock.metadata()?;
        if fs::symlink_metadata(path).is_ok_and(|found| found.ino() == ours.ino() && found.dev() == ours.dev()) {
            return Ok(lock);
        }
    }
}

/// In a restarted container the socket of the last run is the normal case (R54).
fn remove_stale(path: &Path) -> Result<(), NoSocket> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        let message = format!("{} exists and is not a socket", path.display());
        return Err(NoSocket { message, hint: "remove it, or choose another place with --socket or PPM_SOCKET" });
    }
    if is_live(path) {
        return Err(in_use(path));
    }
    fs::remove_file(path).map_err(|error| NoSocket {
        message: format!("cannot replace the stale socket {}: {}", path.display(), in_words(&error)),
        hint: ELSEWHERE,
    })
}

/// Whether it may be somebody's: only a refused connection tells that nobody listens (R54). Does not wait for who
/// listens but accepts nobody.
pub fn is_live(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let attempt = UnixAddr::new(path).and_then(|address| {
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &address)
    });
    !matches!(attempt, Err(Errno::ECONNREFUSED | Errno::ENOENT))
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
            "mount a tmpfs there, or choose another place with --socket or PPM_SOCKET"
        }
        _ => ELSEWHERE,
    }
}

/// Makes the folders that are taken by default, where they are missing. An image that is nothing but a static program
/// has no /run; the folder under /tmp is used only if nobody else could have made it.
fn make_folder(path: &Path) -> io::Result<()> {
    let uid = Uid::effective().as_raw();
    let (parent, folder) = (path.parent(), socket::private_folder(uid));
    if parent == Some(Path::new("/run")) && !Path::new("/run").exists() {
        return Ok(nix::unistd::mkdir("/run", Mode::from_bits_truncate(0o755))?);
    }
    if parent != Some(&folder) {
        return Ok(());
    }
    match nix::unistd::mkdir(&folder, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let found = fs::symlink_metadata(&folder)?;
    let is_private = found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0;
    if is_private { Ok(()) } else { Err(io::Error::other(format!("{} is not a folder of mode 0700 of uid {uid}", folder.display()))) }
}

/// All connections.
#[derive(Debug)]
pub struct Clients {
    clients: BTreeMap<ClientId, Client>,
    next: u64,
    most: usize,
    at_once: usize,
    inbox: mpsc::Sender<Wake>,
}

/// How far a client is behind what it is sent.
#[derive(Debug)]
struct Ahead {
    unread: Arc<AtomicUsize>,
    taken: Arc<Notify>,
}

impl Ahead {
    fn was_taken(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.taken.notify_waiters();
    }

    /// Waits until a stream may send more.
    async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.unread.load(Ordering::Relaxed) <= MAX_AHEAD {
                return;
            }
            taken.await;
        }
    }
}

/// Where a stream to a client begins.
#[derive(Debug)]
pub struct Outlet {
    /// The call that it belongs to.
    pub call: RpcId,
    /// Takes whole lines, in portions.
    pub out: mpsc::Sender<Vec<u8>>,
    /// Takes what is to be poked when the client is gone.
    pub gone: oneshot::Sender<SyncSender<()>>,
}

#[derive(Debug)]
struct Client {
    outbox: mpsc::UnboundedSender<Vec<u8>>,
    unread: Arc<AtomicUsize>,
    taken: Arc<Notify>,
    task: AbortHandle,
    /// The process that has connected; None where the daemon's PID namespace has no number for it.
    pid: Option<i32>,
    heard: Mono,
    has_spoken: bool,
    calls: usize,
}

/// How much a connection is missed, the least first: who waits for nothing goes before who waits, who has never said anything
/// before who has, and one of many connections of a process before others; among equals who has been silent longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Missed {
    waits: bool,
    has_spoken: bool,
    is_apart: bool,
    heard: Mono,
    id: ClientId,
}

impl Missed {
    /// Until when its next words may be on their way to us; None if nobody has a claim that they are waited for.
    fn is_awaited_until(&self) -> Option<Mono> {
        (self.waits || self.has_spoken || self.is_apart).then(|| self.heard + ON_ITS_WAY)
    }
}

impl Clients {
    /// None yet; requests go to this inbox, and there are not more than fit among so many open files.
    pub fn new(inbox: mpsc::Sender<Wake>, files: u64) -> Clients {
        let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
        let at_once = if room < MAX_CLIENTS + AT_ONCE { 1 } else { AT_ONCE };
        Clients { clients: BTreeMap::new(), next: 1, most: room.clamp(1, MAX_CLIENTS), at_once, inbox }
    }

    /// How many connections to accept before the first of them is taken up, so that there are files for them.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// Where their requests go, and all else that the loop is to hear of.
    pub fn inbox(&self) -> mpsc::Sender<Wake> {
        self.inbox.clone()
    }

    /// Takes up a connection, if its peer is root or the daemon's own user; another may have to go for it.
    pub fn accept(&mut self, now: Mono, stream: UnixStream) -> Vec<Event> {
        let (uid, pid) = match permit(&stream) {
            Ok(peer) => (peer.uid(), peer.pid().filter(|pid| *pid > 0)),
            Err(error) => {
                refuse(&stream, &error);
                return Vec::new();
            }
        };
        let gone = if self.clients.len() >= self.most { self.make_room() } else { None };
        let id = ClientId(self.next);
        self.next += 1;
        let (read, write) = stream.into_split();
        let (outbox, queue) = mpsc::unbounded_channel();
        let (unread, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ahead = Ahead { unread: unread.clone(), taken: taken.clone() };
        let task = tokio::spawn(talk(id, read, write, queue, ahead, self.inbox.clone())).abort_handle();
        self.clients.insert(id, Client { outbox, unread, taken, task, pid, heard: now, has_spoken: false, calls: 0 });
        gone.into_iter().chain([Event::Connected { client: id, uid }]).collect()
    }

    /// Looks at a line: the request to be handled, if it is one and the client has not too many under way.
    pub fn asked(&mut self, now: Mono, client: ClientId, asked: Asked) -> Option<(From, Request)> {
        let entry = self.clients.get_mut(&client)?;
        entry.heard = now;
        entry.has_spoken = true;
        let error = match asked.request {
            Ok(request) if entry.calls < MAX_CALLS => {
                entry.calls += 1 + usize::from(asked.id.is_some() && is_stream(&request));
                return Some((From { client, call: asked.id }, request));
            }
            Ok(_) => RpcError::new(
                ErrorCode::Refused,
                format!("{MAX_CALLS} calls of this connection are under way; wait for one to be answered"),
            ),
            Err(error) => error,
        };
        if let Some(id) = asked.id {
            self.send(client, Reply { id, result: Err(error) }.line());
        }
        None
    }

    /// Answers a call. A call without an id gets no answer, but is under way until then like any other; one that has
    /// something executed is so until that has ended.
    pub fn reply(&mut self, to: From, result: Result<Answer, RpcError>) {
        let Some(client) = self.clients.get_mut(&to.client) else { return };
        if !matches!(result, Ok(Answer::Executed(_))) {
            client.calls = client.calls.saturating_sub(1);
        }
        if let Some(id) = to.call {
            self.send(to.client, Reply { id, result }.line());
        }
    }

    /// Tells a follower of an event.
    pub fn notify(&mut self, client: ClientId, event: &EventRow) {
        self.send(client, Notification::event(event).line());
    }

    /// Tells how that ended which a client had executed; until then its call was under way.
    pub fn tell_end(&mut self, to: From, exit: Exit) {
        self.streamed(to.client);
        if let Some(call) = to.call {
            self.send(to.client, Notification::end(&End { call, error: None, exit: Some(exit) }).line());
        }
    }

    /// A way to answer a call with more than a client may ever have unread: who sends waits for who reads. The call is under
    /// way until that has ended, which [`Wake::Streamed`] tells.
    pub fn stream(&mut self, to: ClientId, call: RpcId) -> Option<Outlet> {
        let client = self.clients.get_mut(&to)?;
        let (out, portions) = mpsc::channel(1);
        let (gone, poke) = oneshot::channel::<SyncSender<()>>();
        let ahead = Ahead { unread: client.unread.clone(), taken: client.taken.clone() };
        let (outbox, inbox) = (client.outbox.clone(), self.inbox.clone());
        tokio::spawn(async move {
            relay(&outbox, &ahead, portions).await;
            if let Ok(poke) = poke.await {
                let _ = poke.try_send(()); // who waits for something to send need not wait any longer
            }
            let _ = inbox.send(Wake::Streamed(to)).await;
        });
        Some(Outlet { call, out, gone })
    }

    /// What a client was sent by a stream has come to its end.
    pub fn streamed(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.calls = client.calls.saturating_sub(1);
        }
    }

    /// Forgets a client that says nothing any more; what is on its way to it is still delivered.
    pub fn let_go(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// How long to wait before more are accepted, so that nobody has to go for them who may not have been heard yet.
    pub fn pause(&self, now: Mono) -> Duration {
        let Some(last) = (self.clients.len() + self.at_once).checked_sub(self.most + 1) else { return Duration::ZERO };
        let all = self.by_missed();
        let until = all.get(last).or(all.last()).and_then(Missed::is_awaited_until);
        until.map_or(Duration::ZERO, |until| until.since(now))
    }

    /// Lets the connection go that is missed least.
    pub fn make_room(&mut self) -> Option<Event> {
        let client = self.by_missed().first()?.id;
        self.clients.remove(&client)?.task.abort();
        Some(Event::Disconnected { client })
    }

    /// All, those first who are missed least.
    fn by_missed(&self) -> Vec<Missed> {
        let mut pids: Vec<_> = self.clients.values().filter_map(|client| client.pid).collect();
        pids.sort_unstable();
        let are_many = |pid| pids.partition_point(|other| *other <= pid) - pids.partition_point(|other| *other < pid) > CROWD;
        let missed = |(id, client): (&ClientId, &Client)| Missed {
            waits: client.calls > 0 || client.unread.load(Ordering::Relaxed) > 0,
            has_spoken: client.has_spoken,
            is_apart: !client.pid.is_some_and(are_many),
            heard: client.heard,
            id: *id,
        };
        let mut all: Vec<_> = self.clients.iter().map(missed).collect();
        all.sort_unstable();
        all
    }

    /// Lets every client read what is on its way, but not for longer than `patience`.
    pub async fn flush(self, patience: Duration) {
        let unread: Vec<Arc<AtomicUsize>> = self.clients.values().map(|client| client.unread.clone()).collect();
        let written = async {
            while unread.iter().any(|unread| unread.load(Ordering::Relaxed) > 0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(patience, written).await;
    }

    fn send(&mut self, id: ClientId, bytes: Vec<u8>) {
        let Some(client) = self.clients.get(&id) else { return };
        let unread = client.unread.fetch_add(bytes.len(), Ordering::Relaxed);
        if unread > MAX_UNREAD || client.outbox.send(bytes).is_err() {
            return self.cut_off(id);
        }
        let all = || self.clients.iter().map(|(id, client)| (client.unread.load(Ordering::Relaxed), *id));
        if all().map(|(unread, _)| unread).sum::<usize>() > MAX_UNREAD_OF_ALL
            && let Some((_, most)) = all().max()
        {
            self.cut_off(most);
        }
    }

    /// Ends a connection whose client does not read, at once and with all that waits for it.
    fn cut_off(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(&id) else { return };
        client.task.abort();
        // The task's end does not tell of itself then.
        let gone = Wake::Gone(id);
        if let Err(mpsc::error::TrySendError::Full(gone)) = self.inbox.try_send(gone) {
            let inbox = self.inbox.clone();
            tokio::spawn(async move { inbox.send(gone).await });
        }
    }
}

/// Accepts connections for ever, so many at once: the next when those have been taken up, so that not more are open than are
/// counted.
pub async fn listen(listener: UnixListener, at_once: usize, inbox: mpsc::Sender<Wake>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut streams = vec![stream];
                while streams.len() < at_once {
                    let next = std::future::poll_fn(|context| Poll::Ready(listener.poll_accept(context))).await;
                    let Poll::Ready(Ok((stream, _))) = next else { break }; // an error comes again
                    streams.push(stream);
                }
                let (taken, is_taken) = oneshot::channel();
                if inbox.send(Wake::Connected(streams, taken)).await.is_err() {
                    return;
                }
                let _ = is_taken.await;
            }
            Err(error) => {
                if error.raw_os_error() == Some(libc::EMFILE) && inbox.send(Wake::Crowded).await.is_err() {
                    return;
                }
                tokio::time::sleep(SCARCITY).await;
            }
        }
    }
}

/// One connection's life. Reads nothing while its replies are not taken. Who stops writing has its last replies, as
/// far as they were there to be given.
async fn talk(
    id: ClientId,
    read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    ahead: Ahead,
    inbox: mpsc::Sender<Wake>,
) {
    let mut lines = Lines::up_to(MAX_LINE);
    let mut buffer = vec![0; READ_SIZE];
    let mut descriptors = Vec::new();
    // What was sent before it was accepted is heard before others are accepted, for whom it would have to go if it had said
    // nothing. Whether there is anything the runtime only knows later.
    let stream: &UnixStream = read.as_ref();
    if let Ok((count, came)) = host::receive(stream, &mut buffer) {
        lines.push(&buffer[..count]);
        descriptors = came;
    }
    loop {
        // Without this order much is read while little is written, and one client's replies fill the memory.
        let bytes = match queue.try_recv() {
            Ok(bytes) => Some(bytes),
            Err(mpsc::error::TryRecvError::Disconnected) => break,
            Err(mpsc::error::TryRecvError::Empty) => {
                if let Some(line) = lines.next_line() {
                    let asked = Box::new(Asked::read(line));
                    let has_streams = matches!(asked.request, Ok(Request::Exec(_) | Request::Run(_)));
                    let streams = if has_streams { std::mem::take(&mut descriptors).try_into().ok() } else { None };
                    if inbox.send(Wake::Asked(id, asked, streams)).await.is_err() {
                        return;
                    }
                    continue;
                }
                tokio::select! {
                    bytes = queue.recv() => bytes,
                    count = receive(&read, &mut buffer, &mut descriptors) => {
                        let Ok(count @ 1..) = count else { break };
                        lines.push(&buffer[..count]);
                        continue;
                    }
                }
            }
        };
        let Some(bytes) = bytes else { break };
        if write.write_all(&bytes).await.is_err() {
            break;
        }
        ahead.was_taken(bytes.len());
    }
    let _ = inbox.send(Wake::Gone(id)).await;
    let rest = async {
        while let Some(bytes) = queue.recv().await {
            if write.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LAST_REPLIES, rest).await;
}

/// Reads what has come. Descriptors that came along take the place of those before: whoever sends many has three at a time.
async fn receive(read: &OwnedReadHalf, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let stream: &UnixStream = read.as_ref();
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || host::receive(stream, buffer)) {
            Ok((count, came)) => {
                if !came.is_empty() {
                    *descriptors = came;
                }
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Passes portions on as fast as the client takes them, until it or their source is gone.
async fn relay(outbox: &mpsc::UnboundedSender<Vec<u8>>, ahead: &Ahead, mut portions: mpsc::Receiver<Vec<u8>>) {
    loop {
        let portion = tokio::select! {
            () = outbox.closed() => return,
            portion = portions.recv() => portion,
        };
        let Some(portion) = portion else { return };
        tokio::select! {
            () = outbox.closed() => return,
            () = ahead.room() => {}
        }
        ahead.unread.fetch_add(portion.len(), Ordering::Relaxed);
        if outbox.send(portion).is_err() {
            return;
        }
    }
}

/// Whether it stays under way when it has been answered: its client is not idle, and cannot begin any number of them.
fn is_stream(request: &Request) -> bool {
    matches!(request, Request::Events(watch) if watch.follow)
}

/// Root and the daemon's own user may (R53).
fn permit(stream: &UnixStream) -> Result<UCred, RpcError> {
    let own = Uid::effective().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Ok(peer),
        Ok(peer) => Err(RpcError {
            data: Some(serde_json::json!({ "permission": true })),
            ..RpcError::new(ErrorCode::Refused, format!("not permitted: you are uid {}, the daemon belongs to uid {own}", peer.uid()))
        }),
        Err(error) => Err(RpcError::new(ErrorCode::Refused, format!("not permitted: cannot tell who you are: {}", in_words(&error)))),
    }
}

fn refuse(stream: &UnixStream, error: &RpcError) {
    let line = Reply { id: RpcId::Null, result: Err(error.clone()) }.line();
    let _ = stream.try_write(&line); // a fresh socket takes a line; if not, the closed connection says enough
}
