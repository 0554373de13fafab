//! The client's end of the socket: blocking, one call at a time, one write a request.
//!
//! It never waits without a limit for what the daemon answers at once, and never interprets a result: that is its
//! caller's business.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket};
use ppm_protocol::line::{Lines, MAX_REPLY};
use ppm_protocol::message::{Call, Heard};
use ppm_protocol::{End, Request, RpcId};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::failure::{Code, Failure, Stop, io_words};

/// How long the daemon may take for what it answers at once.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a socket that refuses is tried again: its daemon may be about to listen (R67).
const STARTING: Duration = Duration::from_millis(300);

/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(5);

/// The id of the calls on a connection, which follow one another.
const CALL: i64 = 1;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    lines: Lines,
    path: PathBuf,
    patience: Duration,
}

impl Client {
    /// Connects to the daemon at `path`, which has `patience` to accept and later to answer.
    ///
    /// A socket that is not there fails at once, one that refuses is tried for a moment.
    pub fn connect(path: &Path, patience: Duration) -> Result<Client, Errno> {
        let start = Instant::now();
        let stream = loop {
            match dial(path, patience) {
                Err(Errno::ECONNREFUSED) if start.elapsed() < STARTING => thread::sleep(RETRY),
                outcome => break outcome?,
            }
        };
        Ok(Client { stream, lines: Lines::up_to(MAX_REPLY), path: path.to_owned(), patience })
    }

    /// Asks, and waits for the answer: the result as JSON, or read at once.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Failure> {
        self.ask(request)?;
        loop {
            match self.answer()? {
                Some(answer) => return Ok(answer),
                None => self.fill()?,
            }
        }
    }

    /// Asks, and waits for the answer; as long as that takes, `meanwhile` is called after `first` and then every `pause`.
    pub fn call_while<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        first: Duration,
        pause: Duration,
        mut meanwhile: impl FnMut(),
    ) -> Result<T, Failure> {
        self.ask(request)?;
        let mut wait = first;
        loop {
            match self.answer()? {
                Some(answer) => return Ok(answer),
                None if self.speaks_within(wait)? => self.fill()?,
                None => {
                    meanwhile();
                    wait = pause;
                }
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        self.be_patient(if waits(request) { None } else { Some(self.patience) })?;
        self.send(&Call::new(CALL, request).line())
    }

    /// Asks with three descriptors for the daemon to use (unix(7)); what comes of it is heard.
    pub fn send_with(&mut self, call: i64, request: &Request, streams: [BorrowedFd<'_>; 3]) -> Result<(), Failure> {
        let line = Call::new(call, request).line();
        let numbers = streams.map(|stream| stream.as_raw_fd());
        let sent = loop {
            let parts = [IoSlice::new(&line)];
            match sendmsg::<()>(self.stream.as_raw_fd(), &parts, &[ControlMessage::ScmRights(&numbers)], MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                outcome => break outcome.map_err(|error| self.broken(&error.into()))?,
            }
        };
        self.send(&line[sent..])
    }

    /// Asks, and does not wait; what comes of it is heard.
    pub fn tell(&mut self, call: i64, request: &Request) -> Result<(), Failure> {
        self.send(&Call::new(call, request).line())
    }

    /// The answer to the call, if it has come.
    fn answer<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            match self.heard()? {
                Some(Heard::Reply { id: RpcId::Number(CALL), result }) => return result.map(Some).map_err(Failure::said),
                // The daemon could not tell whose request it refuses; there is only this one.
                Some(Heard::Reply { id: RpcId::Null, result: Err(error) }) => return Err(Failure::said(error)),
                Some(Heard::Reply { .. } | Heard::Event(_) | Heard::Line(_) | Heard::End(_) | Heard::Unknown) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next event of a stream as JSON, waiting for it as long as `reader`, whom it is for, is there.
    pub fn next_event(&mut self, reader: &impl AsFd) -> Result<Box<RawValue>, Stop> {
        self.be_patient(None)?;
        loop {
            match self.heard::<Box<RawValue>>()? {
                Some(Heard::Event(event)) => return Ok(event),
                Some(Heard::Reply { .. } | Heard::Line(_) | Heard::End(_) | Heard::Unknown) => {}
                None => {
                    self.wait_beside(reader)?;
                    self.fill()?;
                }
            }
        }
    }

    /// The next line of a log; None: there are no more. Before it waits for one, as long as `reader` is there, it says so.
    pub fn next_line(
        &mut self,
        reader: &impl AsFd,
        mut before_waiting: impl FnMut() -> Result<(), Stop>,
    ) -> Result<Option<Box<RawValue>>, Stop> {
        self.be_patient(None)?;
        loop {
            match self.heard::<IgnoredAny>()? {
                Some(Heard::Line(line)) => return Ok(Some(line)),
                Some(Heard::End(End { error: None, .. })) => return Ok(None),
                Some(Heard::End(End { error: Some(error), .. })) => return Err(Failure::new(Code::Failed, error).into()),
                Some(Heard::Reply { .. } | Heard::Event(_) | Heard::Unknown) => {}
                None => {
                    before_waiting()?;
                    self.wait_beside(reader)?;
                    self.fill()?;
                }
            }
        }
    }

    /// Lets this time pass, as long as the daemon and the reader are there.
    pub fn pause(&mut self, time: Duration, reader: &impl AsFd) -> Result<(), Stop> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut both = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), PollFlags::empty())];
            match poll(&mut both, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) if left.is_zero() => return Ok(()),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if both[1].any() == Some(true) => return Err(Stop::ReaderGone),
                Ok(_) => self.fill()?, // it says nothing unasked: it has closed
                Err(error) => return Err(self.broken(&error.into()).into()),
            }
        }
    }

    /// Waits until the daemon closes the connection, whatever it says before.
    pub fn wait_for_close(mut self) -> Result<(), Failure> {
        self.be_patient(None)?;
        let mut rest = [0; 4096];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn send(&mut self, line: &[u8]) -> Result<(), Failure> {
        match self.stream.write_all(line) {
            // A daemon that hung up may have said why: what it said can still be read.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            outcome => outcome.map_err(|error| self.broken(&error)),
        }
    }

    /// The next line that has come, if one has.
    pub fn heard<T: DeserializeOwned>(&mut self) -> Result<Option<Heard<T>>, Failure> {
        match self.lines.next_line() {
            None => Ok(None),
            Some(Ok(line)) => Heard::read(line).map(Some).map_err(|what| Failure::strange(&self.path, what)),
            Some(Err(_)) => {
                Err(Failure::strange(&self.path, format!("the daemon's answer is longer than {MAX_REPLY} bytes"))
                    .hint("name fewer services"))
            }
        }
    }

    /// Takes in what the daemon has said, waiting for it if need be.
    pub fn fill(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Failure::closed(&self.path)),
                Ok(length) => {
                    self.lines.push(&chunk[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Whether the daemon says something, or hangs up, within this time.
    fn speaks_within(&self, time: Duration) -> Result<bool, Failure> {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut stream, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(self.broken(&error.into())),
        }
    }

    /// Waits until the daemon says something or the reader has gone, who would else be noticed by the next write only.
    fn wait_beside(&self, reader: &impl AsFd) -> Result<(), Stop> {
        let mut both = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut both, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(self.broken(&error.into()).into()),
                Ok(_) if both[1].any() == Some(true) => return Err(Stop::ReaderGone),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn be_patient(&self, patience: Option<Duration>) -> Result<(), Failure> {
        self.stream.set_read_timeout(patience).map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            Failure::silent(&self.path, self.patience)
        } else if error.kind() == ErrorKind::ConnectionReset {
            Failure::closed(&self.path)
        } else {
            Failure::strange(&self.path, format!("the connection broke: {}", io_words(error)))
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connects once. A daemon that is too busy to accept within `patience` gives EAGAIN.
pub fn dial(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let address = UnixAddr::new(path)?;
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    // The send timeout limits connect(2) too: unix(7) queues connections, and the queue may be full.
    stream.set_write_timeout(Some(patience)).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    connect(stream.as_raw_fd(), &address)?;
    Ok(stream)
}

/// Whether the answer may come late because the daemon waits for services.
fn waits(request: &Request) -> bool {
    match request {
        Request::Add(add) => add.wait,
        Request::Remove(targets)
        | Request::Start(targets)
        | Request::Stop(targets)
        | Request::Restart(targets)
        | Request::Reschedule(targets)
        | Request::Pause(targets)
        | Request::Resume(targets) => targets.wait,
        Request::Reload(_) | Request::Wait(_) | Request::Shutdown => true,
        Request::Hello | Request::Configuration | Request::Check(_) | Request::Exec(_) | Request::Forward(_) => false,
        Request::Run(run) => run.detach,
        Request::List(_) | Request::Info(_) | Request::Stats(_) | Request::Scheduler(_) => false,
        Request::Signal(_) | Request::Events(_) | Request::Log(_) | Request::Health(_) | Request::Why(_) | Request::Runs(_) => false,
        Request::Watched(_) | Request::History(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;
    use ppm_protocol::message::Selection;
    use std::os::unix::net::UnixListener;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_daemon_that_accepts_and_says_nothing_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut client = Client::connect(&path, SHORT).unwrap();
        let failure = client.call::<Box<RawValue>>(&Request::List(Selection::default())).unwrap_err();
        assert_eq!(failure.code, Code::Unreachable);
        assert_eq!(failure.message, format!("the daemon at {} does not answer (waited 20ms)", path.display()));
    }

    #[test]
    fn a_daemon_that_does_not_even_accept_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.sock");
        let listener = UnixListener::bind(&path).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let queued: Vec<_> = std::iter::from_fn(|| dial(&path, SHORT).ok()).collect();
        assert!(!queued.is_empty());
        assert_eq!(Client::connect(&path, SHORT).unwrap_err(), Errno::EAGAIN);
    }

    #[test]
    fn a_socket_that_is_not_there_fails_at_once_and_a_stale_one_after_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.sock");
        assert_eq!(Client::connect(&path, SHORT).unwrap_err(), Errno::ENOENT);
        drop(UnixListener::bind(&path).unwrap());
        let start = Instant::now();
        assert_eq!(Client::connect(&path, SHORT).unwrap_err(), Errno::ECONNREFUSED);
        assert!(start.elapsed() >= STARTING);
    }

    #[test]
    fn a_daemon_that_is_about_to_listen_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.sock");
        drop(UnixListener::bind(&path).unwrap());
        let client = thread::spawn({
            let path = path.clone();
            move || Client::connect(&path, PATIENCE)
        });
        // Rename, as the daemon does it: there is always a file.
        let new = folder.path().join("new.sock");
        let _listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(client.join().unwrap().is_ok());
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert_eq!(Client::connect(&path, SHORT).unwrap_err(), Errno::ENAMETOOLONG);
    }
}
