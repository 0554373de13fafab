//! Probes of services, one attempt at a time for each.
//!
//! Who is asked may say nothing, or never end: so nothing here waits in the loop. Connections are tasks of the loop's
//! thread; files are looked at, and names looked up, on threads that exist as long as that takes, and of which there are
//! few; programs are children like all others. How long an attempt may take is the core's to know: it stops those that take
//! longer. What an attempt finds out comes back as [`Wake::Probed`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use ppm_core::answer::Answer;
use ppm_core::event::{NoStart, Pid, ServiceId};
use ppm_core::listening::{self, Holder, Line};
use ppm_core::probe::{Outcome, Page};
use ppm_core::target::{Kind, LOCAL, Target};
use ppm_core::time::Timestamp;
use ppm_protocol::Exit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::census::{Census, pids};
use crate::driver::Wake;
use crate::spawn::in_words;

/// Looking at a file or looking up a name takes little.
const STACK: usize = 64 * 1024;

/// More threads than this are not begun: what hangs, as a file system in a network may, is not to take them all (R50).
const MAX_THREADS: usize = 16;

/// Of the processes that hold a port so many are told of: workers share one.
const MAX_HOLDERS: usize = 16;

/// So many processes of a service are looked at one by one before all are.
const MAX_FAMILY: usize = 1000;

/// How long one waits for another to end: less than an attempt may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of the end of a program's output is kept, in bytes: a sentence or two.
const TAIL: usize = 200;

/// Of what a program has written but nobody has read yet when it ends no more is read than a pipe holds.
const LAST_READS: usize = 32;

/// The attempts under way.
#[derive(Debug)]
pub struct Prober {
    attempts: BTreeMap<ServiceId, Attempt>,
    threads: Arc<Semaphore>,
    inbox: mpsc::Sender<Wake>,
}

#[derive(Debug)]
struct Attempt {
    number: u64,
    /// What waits for the answer, where something does.
    task: Option<AbortHandle>,
    program: Option<Program>,
}

/// A program whose end is the answer.
#[derive(Debug)]
struct Program {
    pid: Pid,
    end: oneshot::Sender<Exit>,
}

impl Prober {
    /// No attempt yet.
    pub fn new(inbox: mpsc::Sender<Wake>) -> Prober {
        Prober { attempts: BTreeMap::new(), threads: Arc::new(Semaphore::new(MAX_THREADS)), inbox }
    }

    /// Asks for a connection.
    pub fn connect(&mut self, id: ServiceId, attempt: u64, target: Target) {
        let threads = Arc::clone(&self.threads);
        self.ask(id, attempt, async move { connect(target.kind(), &threads).await.map(drop) });
    }

    /// Asks for a page.
    pub fn get(&mut self, id: ServiceId, attempt: u64, page: Page) {
        let threads = Arc::clone(&self.threads);
        self.ask(id, attempt, async move { get(&page, &threads).await });
    }

    /// Looks for a file of this time or later.
    pub fn look_for(&mut self, id: ServiceId, attempt: u64, path: String, since: Timestamp) {
        let threads = Arc::clone(&self.threads);
        self.ask(id, attempt, async move { on_a_thread(&threads, move || look_for(&path, since)).await? });
    }

    /// Looks whether this main process, or one that it has started, holds the port. Where it is another, whose that is can
    /// only be told in the loop: [`Wake::Held`].
    pub fn find_holder(&mut self, id: ServiceId, attempt: u64, port: u16, main: Pid) {
        let threads = Arc::clone(&self.threads);
        self.answer(id, attempt, async move {
            let found = on_a_thread(&threads, move || holders(port, main)).await.and_then(|found| found);
            match found {
                Ok(Held::ByThat) => Wake::Probed(id, attempt, Outcome::Passed),
                Ok(Held::By(holders)) => Wake::Held(id, attempt, port, holders),
                Err(why) => Wake::Probed(id, attempt, why.into()),
            }
        });
    }

    /// Runs a program that `start` starts, writing there; gives its process.
    pub fn run(&mut self, id: ServiceId, attempt: u64, start: impl FnOnce(&OwnedFd) -> Result<Pid, NoStart>) -> Option<Pid> {
        let begun = output().map_err(|error| NotPassed::of(&error)).and_then(|(reader, writer)| {
            let pid = start(&writer).map_err(|error| match error.why.starts_with("fork:") {
                true => NotPassed::NotAsked(error.why),
                false => NotPassed::Failed(error.why),
            })?;
            Ok((pid, reader))
        });
        match begun {
            Ok((pid, reader)) => {
                let (end, ended) = oneshot::channel();
                self.ask(id, attempt, watch(reader, ended));
                if let Some(attempt) = self.attempts.get_mut(&id) {
                    attempt.program = Some(Program { pid, end });
                }
                Some(pid)
            }
            Err(why) => {
                self.ask(id, attempt, async { Err(why) });
                None
            }
        }
    }

    /// A program has ended, and was reaped.
    pub fn program_ended(&mut self, pid: Pid, exit: Exit) {
        let of = self.attempts.values_mut().find(|attempt| attempt.program.as_ref().is_some_and(|program| program.pid == pid));
        if let Some(program) = of.and_then(|attempt| attempt.program.take()) {
            let _ = program.end.send(exit);
        }
    }

    /// An attempt has ended by itself.
    pub fn ended(&mut self, id: ServiceId, attempt: u64) {
        if self.attempts.get(&id).is_some_and(|own| own.number == attempt) {
            self.attempts.remove(&id);
        }
    }

    /// Stops an attempt; gives the program that is to be killed.
    pub fn stop(&mut self, id: ServiceId, attempt: u64) -> Option<Pid> {
        if self.attempts.get(&id)?.number != attempt {
            return None;
        }
        let attempt = self.attempts.remove(&id)?;
        attempt.task.iter().for_each(AbortHandle::abort);
        attempt.program.map(|program| program.pid)
    }

    fn ask(&mut self, id: ServiceId, attempt: u64, question: impl Future<Output = Result<(), NotPassed>> + Send + 'static) {
        self.answer(id, attempt, async move { Wake::Probed(id, attempt, question.await.map_or_else(Outcome::from, |()| Outcome::Passed)) });
    }

    fn answer(&mut self, id: ServiceId, attempt: u64, answer: impl Future<Output = Wake> + Send + 'static) {
        let inbox = self.inbox.clone();
        let task = tokio::spawn(async move {
            let _ = inbox.send(answer.await).await;
        });
        self.attempts.insert(id, Attempt { number: attempt, task: Some(task.abort_handle()), program: None });
    }
}

/// Why an attempt did not pass.
enum NotPassed {
    /// What was asked is not well.
    Failed(String),
    /// It could not be asked.
    NotAsked(String),
}

impl From<NotPassed> for Outcome {
    fn from(why: NotPassed) -> Outcome {
        match why {
            NotPassed::Failed(why) => Outcome::Failed(why),
            NotPassed::NotAsked(why) => Outcome::NotAsked(why),
        }
    }
}

impl NotPassed {
    /// What the daemon itself lacks is nobody else's fault.
    fn of(error: &io::Error) -> NotPassed {
        let own = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
        let is_own = error.raw_os_error().is_some_and(|code| own.contains(&code));
        if is_own { NotPassed::NotAsked(in_words(error)) } else { NotPassed::Failed(in_words(error)) }
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(kind: &Kind, threads: &Arc<Semaphore>) -> Result<Box<dyn Stream>, NotPassed> {
    let (host, port) = match kind {
        Kind::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            return stream.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(|error| NotPassed::of(&error));
        }
        Kind::Tcp { host, port } | Kind::Http { host, port, .. } => (host, *port),
    };
    let mut last = NotPassed::Failed(format!("there is no host {host}"));
    for address in addresses(host, port, threads).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => last = NotPassed::of(&error),
        }
    }
    Err(last)
}

/// Numbers need no looking up, and neither does this machine; all else may take its time.
async fn addresses(host: &str, port: u16, threads: &Arc<Semaphore>) -> Result<Vec<SocketAddr>, NotPassed> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    if bare == LOCAL {
        return Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]);
    }
    let wanted = (bare.to_owned(), port);
    let found = on_a_thread(threads, move || wanted.to_socket_addrs().map(Iterator::collect));
    found.await?.map_err(|_| NotPassed::Failed(format!("there is no host {bare}")))
}

async fn get(page: &Page, threads: &Arc<Semaphore>) -> Result<(), NotPassed> {
    let mut stream = connect(page.url.kind(), threads).await?;
    let request = page.url.kind().request(env!("CARGO_PKG_VERSION")).unwrap_or_default();
    stream.write_all(request.as_bytes()).await.map_err(|error| NotPassed::of(&error))?;
    let mut answer = Answer::wanted(page.status, page.body.as_deref());
    let mut chunk = [0; 4096];
    loop {
        let illness = match stream.read(&mut chunk).await {
            Ok(0) => answer.ended(),
            Ok(length) => match answer.hear(&chunk[..length]) {
                Ok(None) => continue,
                Ok(Some(_)) => return Ok(()),
                Err(illness) => illness,
            },
            Err(error) => return Err(NotPassed::of(&error)),
        };
        return Err(NotPassed::Failed(illness.to_string()));
    }
}

/// Something that may take its time, on a thread of its own.
async fn on_a_thread<T: Send + 'static>(threads: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotPassed> {
    let Ok(Ok(permit)) = timeout(PATIENCE, Arc::clone(threads).acquire_owned()).await else {
        return Err(NotPassed::NotAsked(format!("{MAX_THREADS} others look at files or names, and do not come to an end")));
    };
    let (done, outcome) = oneshot::channel();
    let work = move || {
        let _ = done.send(work());
        drop(permit);
    };
    let thread = std::thread::Builder::new().name("probe".to_owned()).stack_size(STACK).spawn(work);
    thread.map_err(|error| NotPassed::NotAsked(format!("no thread for it: {}", in_words(&error))))?;
    outcome.await.map_err(|_| NotPassed::NotAsked("the thread for it ended early".to_owned()))
}

fn look_for(path: &str, since: Timestamp) -> Result<(), NotPassed> {
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotPassed::Failed(format!("there is no {path}")),
        _ => NotPassed::Failed(format!("{path}: {}", in_words(&error))),
    })?;
    let millis = |seconds: i64, nanos: i64| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000);
    // Renaming, as those do who put a file there whole, changes the second time only.
    let changed = millis(found.mtime(), found.mtime_nsec()).max(millis(found.ctime(), found.ctime_nsec()));
    if changed >= since.0 { Ok(()) } else { Err(NotPassed::Failed(format!("{path} is older than this start"))) }
}

/// Who holds a port.
enum Held {
    /// The main process, or one that it has started.
    ByThat,
    /// These.
    By(Vec<Holder>),
}

fn holders(port: u16, main: Pid) -> Result<Held, NotPassed> {
    let listeners = listeners(port, main)?;
    if listeners.is_empty() {
        return Err(NotPassed::Failed(format!("nobody listens on port {port}")));
    }
    if family(main).any(|pid| holds(pid, &listeners).unwrap_or(false)) {
        return Ok(Held::ByThat);
    }
    // Somebody else, or one of it that has left its parents: all processes are looked at.
    let Some(mut census) = Census::new(None) else {
        return Err(NotPassed::NotAsked(format!("who holds port {port} cannot be seen: /proc does not show this pid namespace")));
    };
    let mut is_hidden = false;
    let holders: Vec<Holder> = pids()
        .into_iter()
        .filter(|pid| {
            holds(*pid, &listeners).unwrap_or_else(|error| {
                is_hidden |= error.kind() == io::ErrorKind::PermissionDenied;
                false
            })
        })
        .take(MAX_HOLDERS)
        .map(|pid| Holder { pid, name: name_of(pid), mark: census.mark(pid).map(|mark| mark.service) })
        .collect();
    match (holders.is_empty(), is_hidden) {
        (false, _) => Ok(Held::By(holders)),
        (true, true) => {
            let why = "the daemon may not look at the files of other users' processes (CAP_SYS_PTRACE)";
            Err(NotPassed::NotAsked(format!("who holds port {port} cannot be seen: {why}")))
        }
        (true, false) => Err(NotPassed::Failed(format!("port {port} is held outside of this pid namespace"))),
    }
}

/// The sockets that take connections at the port, in the network that the process sees.
fn listeners(port: u16, main: Pid) -> Result<BTreeSet<u64>, NotPassed> {
    let mut found = BTreeSet::new();
    for list in ["tcp", "tcp6"] {
        let file = match File::open(format!("/proc/{main}/net/{list}")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // no IPv6, or no process
            Err(error) => return Err(NotPassed::NotAsked(format!("the list of sockets cannot be read: {}", in_words(&error)))),
        };
        for line in BufReader::new(file).lines().skip(1) {
            match line.map(|line| listening::read(&line, port)) {
                Ok(Line::Listener(inode)) => drop(found.insert(inode)),
                Ok(Line::OtherListener) => {}
                Ok(Line::Else) | Err(_) => break,
            }
        }
    }
    Ok(found)
}

/// A process and those that descend from it, as far as the kernel keeps lists of children.
fn family(main: Pid) -> impl Iterator<Item = Pid> {
    let mut next = vec![main];
    std::iter::from_fn(move || {
        let pid = next.pop()?;
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid));
        }
        Some(pid)
    })
    .take(MAX_FAMILY)
}

/// Whether one of these sockets is open in the process.
fn holds(pid: Pid, sockets: &BTreeSet<u64>) -> io::Result<bool> {
    let number = |target: PathBuf| {
        let text = target.into_os_string().into_string().ok()?;
        text.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    for file in std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        if std::fs::read_link(file.path()).ok().and_then(number).is_some_and(|number| sockets.contains(&number)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The name of a process, as the kernel has it: it may hold anything.
fn name_of(pid: Pid) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).chars().filter(|c| !c.is_control()).collect()
}

/// A pipe: where output is read, and where it is written.
fn output() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// Reads what a program writes, so that it is never held up, until it ends.
async fn watch(mut output: pipe::Receiver, mut ended: oneshot::Receiver<Exit>) -> Result<(), NotPassed> {
    let (mut tail, mut chunk, mut is_open) = (Vec::new(), [0; 2048], true);
    let exit = loop {
        tokio::select! {
            exit = &mut ended => break exit,
            read = output.read(&mut chunk), if is_open => match read {
                Ok(0) | Err(_) => is_open = false,
                Ok(length) => keep_end(&mut tail, &chunk[..length]),
            },
        }
    };
    for _ in 0..LAST_READS {
        match output.try_read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(length) => keep_end(&mut tail, &chunk[..length]),
        }
    }
    match exit {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(exit) => Err(NotPassed::Failed(match last_line(&tail) {
            line if line.is_empty() => exit.to_string(),
            line => format!("{exit}: {line}"),
        })),
        Err(_) => Err(NotPassed::NotAsked("nobody knows how the command ended".to_owned())),
    }
}

fn keep_end(tail: &mut Vec<u8>, more: &[u8]) {
    tail.extend_from_slice(more);
    let surplus = tail.len().saturating_sub(TAIL);
    tail.drain(..surplus);
}

/// The last line that says something.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}
