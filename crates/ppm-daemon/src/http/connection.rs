//! One stranger: a head, an answer, the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ppm_core::http::{Answer, Asked, MAX_HEAD, Needs, Reach};
use ppm_core::report::{Depth, Report};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::driver::Wake;
use crate::host;

/// How long a client may take to say what it wants.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read its answer.
const READ_TIME: Duration = Duration::from_secs(30);

/// How long the loop may take to answer before it is said not to turn.
const LOOP_TIME: Duration = Duration::from_secs(10);

/// How long and how much of what a client says after its head is heard, so that its answer is not cut off (RFC 9112, 9.6).
const LINGER_TIME: Duration = Duration::from_secs(1);

/// See above, in bytes.
const LINGER_BYTES: usize = 64 * 1024;

/// No answer is made while more bytes than this wait to be read by clients.
const MAX_UNREAD: usize = 32 << 20;

/// What an answer took that is larger than this goes back to the kernel, in bytes.
const LARGE: usize = 1 << 20;

/// After a question the loop has so many times as long as that took for everything else.
const REST: u32 = 9;

/// But no longer than this: who asks whether all is ready is not to be kept waiting.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// A connection of any kind.
pub type Socket = Box<dyn Stream + Send>;

/// What can be read and written.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Where questions are brought to the loop.
#[derive(Debug)]
pub struct Desk {
    inbox: mpsc::Sender<Wake>,
    /// One question about the state and one about figures is with the loop at a time: a reading may take its time.
    state: Arc<Semaphore>,
    figures: Arc<Semaphore>,
    unread: AtomicUsize,
}

/// Bytes that wait to be read by a client.
struct Unread<'a>(&'a Desk, usize);

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        self.0.unread.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Desk {
    /// Questions go to this inbox.
    pub fn new(inbox: mpsc::Sender<Wake>) -> Desk {
        let one = || Arc::new(Semaphore::new(1));
        Desk { inbox, state: one(), figures: one(), unread: AtomicUsize::new(0) }
    }

    /// A connection's whole life.
    pub async fn serve(self: Arc<Self>, mut socket: Socket, reach: Reach, has_asked: Arc<AtomicBool>) {
        let asked = match timeout(HEAD_TIME, read_head(&mut socket, reach)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(_)) => return, // it is gone
            Err(_) => Err(Answer::timeout()),
        };
        has_asked.store(true, Ordering::Relaxed);
        let answer = match asked {
            Ok(asked) => self.answer(&asked).await,
            Err(answer) => answer,
        };
        let bytes = answer.into_bytes();
        self.unread.fetch_add(bytes.len(), Ordering::Relaxed);
        let unread = Unread(&self, bytes.len());
        if let Ok(Ok(())) = timeout(READ_TIME, socket.write_all(&bytes)).await {
            let is_large = bytes.len() > LARGE;
            drop((bytes, unread));
            if is_large {
                host::trim_memory();
            }
            let _ = timeout(LINGER_TIME, linger(&mut socket)).await;
        }
    }

    async fn answer(&self, asked: &Asked) -> Answer {
        if self.unread.load(Ordering::Relaxed) > MAX_UNREAD {
            return asked.in_vain("too much waits to be read by others");
        }
        let said = match asked.needs() {
            Needs::Pulse => self.ask(&self.state, Wake::Pulse).await.map(|()| asked.alive()),
            Needs::Report(depth @ Depth::State) => self.report(&self.state, depth).await.map(|report| asked.answer(&report)),
            Needs::Report(depth @ Depth::Figures) => self.report(&self.figures, depth).await.map(|report| asked.answer(&report)),
        };
        said.unwrap_or_else(|| asked.in_vain("the daemon does not answer"))
    }

    async fn report(&self, turns: &Arc<Semaphore>, depth: Depth) -> Option<Box<Report>> {
        self.ask(turns, |to| Wake::ReportAsked(depth, to)).await
    }

    /// Asks the loop, when it is one's turn. None: it does not answer.
    async fn ask<T: Send + 'static>(&self, turns: &Arc<Semaphore>, question: impl FnOnce(oneshot::Sender<T>) -> Wake) -> Option<T> {
        let asked = async {
            let turn = Arc::clone(turns).acquire_owned().await.ok()?;
            let (to, said) = oneshot::channel();
            let (question, inbox) = (question(to), self.inbox.clone());
            let (pass_on, answer) = oneshot::channel();
            // The turn lasts until the loop has answered, also where the client who asked does not wait for that.
            tokio::spawn(async move {
                let begin = Instant::now();
                if inbox.send(question).await.is_ok()
                    && let Ok(said) = said.await
                {
                    let _ = pass_on.send(said);
                }
                sleep((begin.elapsed() * REST).min(LONGEST_REST)).await;
                drop(turn);
            });
            answer.await.ok()
        };
        timeout(LOOP_TIME, asked).await.ok()?
    }
}

/// Reads until it is known what is asked for.
async fn read_head(socket: &mut Socket, reach: Reach) -> io::Result<Result<Asked, Answer>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match Asked::read(&head, reach) {
            Ok(None) => {}
            Ok(Some(asked)) => return Ok(Ok(asked)),
            Err(answer) => return Ok(Err(answer)),
        }
        let room = buffer.len().min(MAX_HEAD - head.len());
        match socket.read(&mut buffer[..room]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Lets the client see the end, and hears what it still says until it has.
async fn linger(socket: &mut Socket) -> io::Result<()> {
    socket.shutdown().await?;
    let (mut heard, mut buffer) = (0, [0; 1024]);
    while heard < LINGER_BYTES {
        match socket.read(&mut buffer).await? {
            0 => break,
            count => heard += count,
        }
    }
    Ok(())
}
