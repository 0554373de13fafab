//! Probes of services, one attempt at a time for each.
//!
//! Who is asked may say nothing, or never end: so nothing here waits in the loop. Connections are tasks of the loop's
//! thread; files are looked at, and names looked up, on threads that exist as long as that takes, and of which there are
//! few; programs are children like all others. How long an attempt may take is the core's to know: it stops those that take
//! longer. What an attempt finds out comes back as [`Wake::Probed`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use ppm_core::answer::Answer;
use ppm_core::event::{NoStart, Pid, ServiceId};
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

use crate::driver::Wake;
use crate::spawn::in_words;

/// Looking at a file or looking up a name takes little.
const STACK: usize = 64 * 1024;

/// More threads than this are not begun: what hangs, as a file system in a network may, is not to take them all (R50).
const MAX_THREADS: usize = 16;

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
        let inbox = self.inbox.clone();
        let task = tokio::spawn(async move {
            let outcome = match question.await {
                Ok(()) => Outcome::Passed,
                Err(NotPassed::Failed(why)) => Outcome::Failed(why),
                Err(NotPassed::NotAsked(why)) => Outcome::NotAsked(why),
            };
            let _ = inbox.send(Wake::Probed(id, attempt, outcome)).await;
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
