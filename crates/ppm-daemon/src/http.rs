//! The `http:` of the configuration: lets strangers look, on a thread that exists from the first address on.
//!
//! The thread has all that strangers can make long: their connections, their heads, the making of texts. The loop sees
//! a request of theirs as one more small thing in its inbox, one at a time, and not more than a tenth of its time. What
//! is asked for and what is answered is decided in [`ppm_core::http`]; nothing can be changed from here.
//!
//! Bounded: so many connections, the bytes and the time for a head, the bytes of all answers, the time to read one. Who
//! comes when there is no room takes the place of who has said nothing for longest, else of who is there for longest, so
//! that nobody is kept out by those who only hold connections.

mod address;
mod connection;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ppm_core::event::NoListener;
use ppm_core::http::Reach;
use ppm_core::listen::Listen;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::driver::Wake;
use crate::spawn::in_words;
pub use address::Listener;
use connection::{Desk, Socket};

/// More connections than this are not open at a time.
const MAX_CONNECTIONS: usize = 32;

/// Where the files do not suffice for all connections of clients and of strangers, these leave so many to those.
const LEFT_TO_OTHERS: u64 = 15 + 64 + 4;

/// Who has said nothing for less than this may not have been heard yet.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// How long accepting pauses after it failed, since there are no files or no memory left (R49).
const SCARCITY: Duration = Duration::from_millis(100);

/// Formatting needs little; virtual, what is not touched costs nothing.
const STACK: usize = 256 * 1024;

/// The thread, if there is one, and how it is told where to listen.
#[derive(Debug)]
pub struct Server {
    inbox: mpsc::Sender<Wake>,
    most: usize,
    thread: Option<(mpsc::UnboundedSender<Move>, JoinHandle<()>)>,
}

/// A change of the address, and the number under which its outcome is told.
#[derive(Debug)]
struct Move {
    read: u64,
    to: Option<Listen>,
}

impl Server {
    /// Nobody can look yet. What is asked goes to this inbox; so many files may be open in all.
    pub fn new(inbox: mpsc::Sender<Wake>, files: u64) -> Server {
        let most = usize::try_from(files.saturating_sub(LEFT_TO_OTHERS)).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS);
        Server { inbox, most, thread: None }
    }

    /// Lets others look there.
    pub fn open(&mut self, listener: Listener) -> io::Result<()> {
        self.start(Some(listener))
    }

    /// Lets others look there and nowhere else; the outcome comes to the inbox under this number. The error: there is no
    /// thread to be had.
    pub fn move_to(&mut self, read: u64, to: Option<Listen>) -> Result<(), NoListener> {
        if self.thread.is_none() {
            self.start(None).map_err(|error| NoListener {
                message: format!("cannot answer HTTP: no thread: {}", in_words(&error)),
                hint: "raise the limit of processes and threads, then reload",
            })?;
        }
        if let Some((orders, _)) = &self.thread {
            let _ = orders.send(Move { read, to }); // it takes orders as long as there is somebody to give them
        }
        Ok(())
    }

    fn start(&mut self, listener: Option<Listener>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, waiting) = mpsc::unbounded_channel();
        let (inbox, most) = (self.inbox.clone(), self.most);
        let work = move || runtime.block_on(serve(listener, waiting, inbox, most));
        let thread = std::thread::Builder::new().name("http".to_owned()).stack_size(STACK).spawn(work)?;
        self.thread = Some((orders, thread));
        Ok(())
    }
}

impl Drop for Server {
    /// Closes all that is open, and removes the socket's path.
    fn drop(&mut self) {
        if let Some((orders, thread)) = self.thread.take() {
            drop(orders);
            let _ = thread.join();
        }
    }
}

/// The thread's whole life.
async fn serve(mut listener: Option<Listener>, mut orders: mpsc::UnboundedReceiver<Move>, inbox: mpsc::Sender<Wake>, most: usize) {
    listener = listener
        .and_then(|listener| listener.ready().inspect_err(|error| tracing::error!("http: nobody is answered: {}", in_words(error))).ok());
    let desk = Arc::new(Desk::new(inbox.clone()));
    let mut connections = Connections { most, open: Vec::new() };
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Move { read, to }) = order else { return };
                let outcome = move_to(&mut listener, to);
                let inbox = inbox.clone();
                tokio::spawn(async move { inbox.send(Wake::Listened(read, outcome)).await }); // the end is not to wait for the loop
            }
            (socket, reach) = accept(listener.as_ref()) => connections.add(socket, reach, &desk),
        }
    }
}

async fn accept(listener: Option<&Listener>) -> (Socket, Reach) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok(socket) => return (socket, listener.reach()),
            Err(_) => tokio::time::sleep(SCARCITY).await,
        }
    }
}

/// Takes another address; where it cannot be had, the old one stays. One that only differs in which of the machine's
/// addresses it has cannot be had before the old one is let go.
fn move_to(listener: &mut Option<Listener>, to: Option<Listen>) -> Result<(), NoListener> {
    let Some(to) = to else {
        *listener = None;
        return Ok(());
    };
    let open = |at: &Listen| Listener::bind(at)?.ready().map_err(|error| address::failure(at, &error));
    let new = match open(&to) {
        Err(_) if listener.as_ref().is_some_and(|old| old.shares_port(&to)) => {
            let old = listener.take().map(|old| old.at().clone());
            open(&to).inspect_err(|_| *listener = old.and_then(|old| open(&old).ok()))
        }
        outcome => outcome,
    }?;
    tracing::info!("http: {}", new.at());
    *listener = Some(new);
    Ok(())
}

/// Those that are open.
struct Connections {
    most: usize,
    open: Vec<Connection>,
}

struct Connection {
    task: AbortHandle,
    since: Instant,
    /// Its client has asked, and waits or reads.
    has_asked: Arc<AtomicBool>,
}

impl Connections {
    fn add(&mut self, socket: Socket, reach: Reach, desk: &Arc<Desk>) {
        self.open.retain(|connection| !connection.task.is_finished());
        if self.open.len() >= self.most {
            // The oldest are in front. If all have asked, they wait for one another, or do not read.
            let is_silent =
                |connection: &Connection| !connection.has_asked.load(Ordering::Relaxed) && connection.since.elapsed() > ON_ITS_WAY;
            let at = self.open.iter().position(is_silent).unwrap_or(0);
            self.open.remove(at).task.abort();
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(Arc::clone(desk).serve(socket, reach, Arc::clone(&has_asked))).abort_handle();
        self.open.push(Connection { task, since: Instant::now(), has_asked });
    }
}
