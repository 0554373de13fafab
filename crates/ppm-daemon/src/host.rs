//! The daemon's own process: what it makes of itself before the first service starts.
//!
//! Most of it happens once, at start, before any thread exists.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;

use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::stat::Mode;
use ppm_core::attributes::Limit;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Timer;

/// Puts the process in order, whatever it was started by.
pub fn prepare() -> io::Result<()> {
    open_standard_streams()?;
    close_strays_on_exec();
    reset_signals()?;
    adopt_orphans();
    keep_memory_small();
    Ok(())
}

/// How many open files the daemon would like to have: three for each service, and some for clients and itself. What it
/// does not open costs nothing.
const ENOUGH_FILES: u64 = 32 * 1024;

/// How many files the daemon must be able to open besides those it was started with: its own, one client and one file
/// that it reads.
const FEWEST_FILES: usize = 12;

/// How many files may be open at a time: RLIMIT_NOFILE of setrlimit(2).
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    /// What the container gave, which services get (R8): soft and hard.
    pub given: Limit,
    /// What the daemon has by now.
    pub own: u64,
}

impl OpenFiles {
    /// Takes as many as may be useful, as far as that is allowed.
    pub fn raise() -> io::Result<OpenFiles> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let enough = hard.min(ENOUGH_FILES);
        let own = if soft < enough && setrlimit(Resource::RLIMIT_NOFILE, enough, hard).is_ok() { enough } else { soft };
        Ok(OpenFiles { given: Limit { soft: Some(soft), hard: Some(hard) }, own })
    }

    /// Whether there is room for what the daemon cannot do without: rather said at once than found out one by one.
    ///
    /// # Errors
    /// How many more files can be opened, and that this is too few.
    pub fn check(self) -> Result<(), String> {
        let mut opened = Vec::new();
        while opened.len() < FEWEST_FILES {
            match open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
                Ok(file) => opened.push(file),
                Err(_) => break,
            }
        }
        let (own, found) = (self.own, opened.len());
        let message =
            format!("at most {own} files may be open at a time; the daemon needs {FEWEST_FILES} more than are, there is room for {found}");
        if found < FEWEST_FILES { Err(message) } else { Ok(()) }
    }
}

/// Gives memory that loading took, and will not need again, back to the kernel.
pub fn trim_memory() {
    // SAFETY: malloc_trim(3) takes a number and is safe at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets the runtime tell when the timer goes off.
pub fn readiness_of(timer: Timer) -> io::Result<AsyncFd<Timer>> {
    // SAFETY: a Timer owns its descriptor, and neither closes nor replaces it while it lives.
    Ok(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?)
}

/// The error with the file that it is about.
fn named(file: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{file}: {error}"))
}

/// A closed 0, 1 or 2 would be taken by the next file opened, and services would write into it.
fn open_standard_streams() -> io::Result<()> {
    loop {
        let file = File::options().read(true).write(true).open("/dev/null").map_err(|error| named("/dev/null", &error))?;
        let fd = file.into_raw_fd();
        if fd > 2 {
            nix::unistd::close(fd)?;
            return Ok(());
        }
        // SAFETY: fcntl(2) on a descriptor just opened. The library opens with O_CLOEXEC; services shall have these three.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    }
}

/// What leaked into the daemon from outside does not go on to services (R5). All that the daemon opens itself is
/// closed on exec anyway.
fn close_strays_on_exec() {
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC only sets flags.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return;
    }
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(fd) = number.filter(|fd| *fd > 2) {
            // SAFETY: fcntl(2) on a number; a closed one gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// An empty mask and no inherited dispositions but the few chosen here (R7, R30). The handled signals are registered
/// by the driver before it starts anything.
fn reset_signals() -> io::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        let action = match signal {
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            Signal::SIGPIPE | Signal::SIGUSR2 | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => &ignore,
            _ => &default,
        };
        // SAFETY: sigaction(2) with SIG_IGN or SIG_DFL installs no code.
        unsafe { sigaction(signal, action) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Orphans of services become children of the daemon even where it is not process 1 (R17). Kernels without
/// subreapers leave them to process 1, which is no reason not to start.
fn adopt_orphans() {
    // SAFETY: prctl(2) with numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// One arena: a second thread, when there is one, allocates next to nothing.
fn keep_memory_small() {
    // SAFETY: mallopt(3) before any other thread exists.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
