//! `ppm exec` and `ppm run`: a command that the daemon starts, with the input, output and error of this process.
//!
//! What it reads and writes is handed over, so that nothing of it passes through the daemon. Where a
//! person sits at a terminal, the command gets one of its own (pty(7)), as with `docker exec -it`: it has job control, and
//! Ctrl-C reaches it as usual. Invariant: the terminal is as it was before on every way out.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ppm_protocol::message::{Execute, Forward, Heard, RunService};
use ppm_protocol::{End, Exit, Request, RpcId, Signal};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use serde::de::IgnoredAny;

use crate::client::Client;
use crate::failure::{Code, Failure, Stop, io_words};

/// The id of the call that begins the command; signals have the next ones.
const CALL: i64 = 1;

/// How much is passed on at a time.
const PORTION: usize = 16 * 1024;

/// What is passed on to the command; the terminal sends most of them itself.
const FORWARDED: [(Number, Signal); 4] =
    [(Number::SIGINT, Signal::INT), (Number::SIGTERM, Signal::TERM), (Number::SIGHUP, Signal::HUP), (Number::SIGQUIT, Signal::QUIT)];

/// Runs the command to its end; the exit code is its own, 128 + n for signal n.
pub fn run(client: Client, path: &Path, mut request: Request, may_have_terminal: bool) -> Result<Code, Stop> {
    let failed = |what: &str, error: &io::Error| Failure::new(Code::Failed, format!("cannot {what}: {}", io_words(error)));
    let has_person = may_have_terminal && io::stdin().is_terminal() && io::stdout().is_terminal();
    // Before anything is started for which they could be meant.
    let signals = signals().map_err(|error| failed("wait for signals", &error.into()))?;
    if let Request::Exec(Execute { terminal, .. }) | Request::Run(RunService { terminal, .. }) = &mut request {
        *terminal = has_person;
    }
    let mut talk = Talk { client, path, next: CALL };
    if !has_person {
        talk.begin(&request, [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()])?;
        return talk.follow(&signals);
    }
    let (screen, theirs) = screen().map_err(|error| failed("make a terminal", &error))?;
    talk.begin(&request, [theirs.as_fd(), theirs.as_fd(), theirs.as_fd()])?;
    drop(theirs); // the command's alone, so that its end is seen
    let keyboard = Keyboard::take().map_err(|error| failed("use the terminal", &error))?;
    let outcome = talk.relay(&signals, &screen);
    drop(keyboard);
    outcome
}

/// The connection, and what is said on it.
struct Talk<'a> {
    client: Client,
    path: &'a Path,
    next: i64,
}

impl Talk<'_> {
    fn begin(&mut self, request: &Request, streams: [BorrowedFd<'_>; 3]) -> Result<(), Failure> {
        self.next += 1;
        self.client.send_with(CALL, request, streams)
    }

    fn forward(&mut self, signal: Signal) -> Result<(), Failure> {
        let call = self.next;
        self.next += 1;
        self.client.tell(call, &Request::Forward(Forward { signal }))
    }

    /// What the daemon has said by now; Some: the command has ended.
    fn ended(&mut self) -> Result<Option<Exit>, Failure> {
        loop {
            match self.client.heard::<IgnoredAny>()? {
                Some(Heard::End(End { exit: Some(exit), .. })) => return Ok(Some(exit)),
                Some(Heard::End(End { exit: None, .. })) => {
                    return Err(Failure::strange(self.path, "the command has ended, but the daemon does not tell how"));
                }
                Some(Heard::Reply { id: RpcId::Number(CALL) | RpcId::Null, result: Err(error) }) => return Err(Failure::said(error)),
                Some(Heard::Reply { .. } | Heard::Event(_) | Heard::Line(_) | Heard::Unknown) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits for the end of a command that has all it needs.
    fn follow(mut self, signals: &SignalFd) -> Result<Code, Stop> {
        loop {
            if let Some(exit) = self.ended()? {
                return Ok(code(exit));
            }
            let mut fds = [PollFd::new(self.client.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            wait(&mut fds)?;
            let [spoke, signalled] = fds.map(|fd| fd.any() == Some(true));
            if spoke {
                self.client.fill()?;
            }
            if signalled {
                self.hear(signals)?;
            }
        }
    }

    /// Passes on what is typed and shown.
    fn relay(mut self, signals: &SignalFd, screen: &OwnedFd) -> Result<Code, Stop> {
        let (stdin, mut stdout) = (io::stdin(), io::stdout());
        let mut typed: Vec<u8> = Vec::new();
        let mut buffer = vec![0; PORTION];
        let mut shows = true;
        loop {
            if let Some(exit) = self.ended()? {
                while shows && show(screen, &mut buffer, &mut stdout)? == Shown::Some {}
                return Ok(code(exit));
            }
            let reads = if typed.is_empty() { PollFlags::POLLIN } else { PollFlags::empty() };
            let mut screens = if shows { PollFlags::POLLIN } else { PollFlags::empty() };
            screens.set(PollFlags::POLLOUT, !typed.is_empty());
            let mut fds = [
                PollFd::new(self.client.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(screen.as_fd(), screens),
                PollFd::new(stdin.as_fd(), reads),
            ];
            // A terminal that nobody holds any more is always ready to say so.
            let count = if shows || !typed.is_empty() { 4 } else { 2 };
            wait(&mut fds[..count])?;
            let [spoke, signalled, moved, typing] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
            if !spoke.is_empty() {
                self.client.fill()?;
            }
            if !signalled.is_empty() {
                self.hear(signals)?;
                let _ = tcgetwinsize(&stdin).and_then(|size| tcsetwinsize(screen, size)); // SIGWINCH was one of them
            }
            if moved.contains(PollFlags::POLLOUT) {
                match nix::unistd::write(screen, &typed) {
                    Ok(count) => drop(typed.drain(..count)),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(_) => typed.clear(), // nobody reads it any more
                }
            }
            if shows && moved.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                shows = show(screen, &mut buffer, &mut stdout)? != Shown::Last;
            }
            if !typing.is_empty() && count == 4 {
                match nix::unistd::read(&stdin, &mut buffer) {
                    Ok(0) => return Err(Stop::ReaderGone), // the terminal is gone, and the command hears that from the daemon
                    Ok(count) => typed.extend_from_slice(&buffer[..count]),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(_) => return Err(Stop::ReaderGone),
                }
            }
        }
    }

    fn hear(&mut self, signals: &SignalFd) -> Result<(), Failure> {
        while let Ok(Some(heard)) = signals.read_signal() {
            let known = FORWARDED.iter().find(|(number, _)| u32::try_from(*number as i32) == Ok(heard.ssi_signo));
            if let Some((_, signal)) = known {
                self.forward(*signal)?;
            }
        }
        Ok(())
    }
}

/// What there was to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Some,
    /// Nothing yet.
    Nothing,
    /// There will be nothing more.
    Last,
}

fn show(screen: &OwnedFd, buffer: &mut [u8], stdout: &mut impl Write) -> Result<Shown, Stop> {
    match nix::unistd::read(screen, buffer) {
        Ok(0) => Ok(Shown::Last),
        Ok(count) => match stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(Shown::Some),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::ReaderGone),
            Err(error) => Err(Failure::unprintable(&error).into()),
        },
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Shown::Nothing),
        Err(_) => Ok(Shown::Last), // EIO: nobody holds the other end (pty(7))
    }
}

/// Signals are read when there is time for them, and none of them ends this process before the command.
fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::from(Number::SIGWINCH);
    FORWARDED.iter().for_each(|(number, _)| set.add(*number));
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// A terminal as large as ours: our end, which never makes us wait, and the command's.
fn screen() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = nix::pty::openpty(None, None)?;
    let flags = OFlag::from_bits_retain(fcntl(&pair.master, FcntlArg::F_GETFL)?);
    fcntl(&pair.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        tcsetwinsize(&pair.slave, size)?;
    }
    Ok((pair.master, pair.slave))
}

/// The terminal, which passes on each key as it is until this is dropped.
struct Keyboard {
    before: Termios,
}

impl Keyboard {
    fn take() -> io::Result<Keyboard> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Keyboard { before })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

fn wait(fds: &mut [PollFd<'_>]) -> Result<(), Failure> {
    match poll(fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(Failure::new(Code::Failed, format!("cannot wait for the command: {}", io_words(&error.into())))),
    }
}

fn code(exit: Exit) -> Code {
    Code::Passed(ppm_core::service::exit_code(exit))
}
