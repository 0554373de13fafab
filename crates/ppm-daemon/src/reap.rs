//! Children that changed, and signals to those that did not: the only wait and the only kill of the daemon.
//!
//! One owner for both, so that a signal can never reach a number that belongs to somebody else by now (R11, R14):
//! a leader's number is its own until [`next`] has reaped it, a group's while it has members. Raw waitid(2), since
//! the wrappers lose exits by real-time signals (R15). Nothing here ever waits.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ppm_core::event::{Group, Pid};
use ppm_core::spec::Reach;
use ppm_core::usage::Spent;
use ppm_protocol::{Exit, Signal};

/// The kernel counts pages for each processor apart, and puts that together now and then: two counts of the same memory may
/// differ by so many bytes.
const INACCURACY: u64 = 256 * 1024;

/// Something that happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended and has been reaped.
    Exited {
        /// Which.
        pid: Pid,
        /// How.
        exit: Exit,
        /// What it used, with the children it had waited for.
        spent: Spent,
        /// The most resident memory that it or one of them has had; None: no more than the daemon.
        peak: Option<u64>,
    },
    /// It was stopped by a signal.
    Paused(Pid),
    /// It goes on.
    Resumed(Pid),
}

/// The next change of any child, own or adopted; None: nothing changed any more.
///
/// Looks first (WNOWAIT), so that there is a moment at which a dead child still holds its number (R13): `look` is shown
/// it then.
pub fn next(mut look: impl FnMut(Pid)) -> Option<Change> {
    let seen = wait(libc::P_ALL, 0, libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOWAIT)?;
    let pid = Pid(seen.pid);
    match seen.code {
        libc::CLD_STOPPED | libc::CLD_TRAPPED => {
            wait(libc::P_PID, seen.pid, libc::WSTOPPED);
            // A tracer's stop is the tracer's business (R16).
            if seen.code == libc::CLD_STOPPED { Some(Change::Paused(pid)) } else { next(look) }
        }
        libc::CLD_CONTINUED => {
            wait(libc::P_PID, seen.pid, libc::WCONTINUED);
            Some(Change::Resumed(pid))
        }
        code => {
            look(pid);
            let (spent, peak) =
                wait(libc::P_PID, seen.pid, libc::WEXITED).map_or_else(Default::default, |reaped| (reaped.spent, reaped.peak));
            let exit = match (code, Signal::from_number(seen.status)) {
                (libc::CLD_KILLED | libc::CLD_DUMPED, Some(signal)) => Exit::Signal(signal),
                _ => Exit::Code(seen.status),
            };
            Some(Change::Exited { pid, exit, spent, peak: peak.filter(|peak| is_its_own(*peak)) })
        }
    }
}

/// Reaps a child that is known to have ended, and whose end is of no interest.
pub fn discard(pid: libc::pid_t) {
    wait(libc::P_PID, pid, libc::WEXITED);
}

/// Sends a signal to a leader that has not been reaped, or to a group that has members.
pub fn signal(pid: Pid, signal: Signal, reach: Reach) -> io::Result<()> {
    let target = match reach {
        Reach::Leader => pid.0,
        Reach::Group => -pid.0,
    };
    kill(target, signal.number())
}

/// Sends a signal to a process that need not be a child, if it is still the one that is meant (R14, R19): that is seen
/// while a descriptor of it holds its identity, where the kernel has such.
pub fn signal_stray(pid: Pid, signal: Signal, is_still_it: impl FnOnce() -> bool) -> io::Result<()> {
    // SAFETY: pidfd_open(2) takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    let Some(fd) = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(()),
            _ if is_still_it() => kill(pid.0, signal.number()),
            _ => Ok(()),
        };
    };
    // SAFETY: the descriptor was just opened, and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if !is_still_it() {
        return Ok(());
    }
    // SAFETY: pidfd_send_signal(2) with a descriptor that is open; without a siginfo it fills in one like kill(2).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal.number(), ptr::null::<libc::siginfo_t>(), 0) };
    match (result, io::Error::last_os_error()) {
        (0, _) => Ok(()),
        (_, error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        (_, error) => Err(error),
    }
}

/// Whether there is any child, dead or alive.
pub fn has_children() -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let which = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) fills in `info`, which is large enough, and with WNOHANG never blocks.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), which) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

/// Whether the group has members, also such as may not be signalled (R73). Its dead are reaped first where they are
/// ours, and told of: they count as members.
pub fn what_is_left(group: Pid, mut reaped: impl FnMut(Pid)) -> Group {
    while let Some(seen) = wait(libc::P_PGID, group.0, libc::WEXITED) {
        reaped(Pid(seen.pid));
    }
    match kill(-group.0, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Group::Empty,
        Ok(()) | Err(_) => Group::Left,
    }
}

struct Seen {
    pid: libc::pid_t,
    code: libc::c_int,
    status: libc::c_int,
    spent: Spent,
    peak: Option<u64>,
}

fn wait(what: libc::idtype_t, id: libc::pid_t, which: libc::c_int) -> Option<Seen> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: waitid(2), "C library/kernel differences": the raw call has a fifth argument, a rusage as in wait4(2). It
        // fills in both, which are large enough, and with WNOHANG never blocks.
        let result = unsafe { libc::syscall(libc::SYS_waitid, what, id, info.as_mut_ptr(), which | libc::WNOHANG, usage.as_mut_ptr()) };
        if result == 0 {
            break;
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None; // ECHILD: there is none
        }
    }
    // SAFETY: all zeroes is a valid siginfo_t and a valid rusage. waitid(2) sets the fields of SIGCHLD, and getrusage(2)
    // those of the other, or leaves them zero.
    let (pid, code, status, usage) = unsafe {
        let info = info.assume_init();
        (info.si_pid(), info.si_code, info.si_status(), usage.assume_init())
    };
    (pid != 0).then_some(Seen { pid, code, status, spent: spent(&usage), peak: peak(&usage) })
}

/// In bytes; the kernel counts KiB (getrusage(2)).
fn peak(usage: &libc::rusage) -> Option<u64> {
    u64::try_from(usage.ru_maxrss).ok().map(|kib| kib.saturating_mul(1024))
}

/// Whether that much was the child's. It shares the daemon's memory until it executes its program (vfork(2)), and the kernel
/// counts that as the child's: only what is more is its own. What the daemon has had is read again when it may have grown,
/// so that a storm of small children costs nothing.
fn is_its_own(peak: u64) -> bool {
    static OWN: AtomicU64 = AtomicU64::new(0);
    if peak <= OWN.load(Ordering::Relaxed) {
        return false;
    }
    let own = own_peak().saturating_add(INACCURACY);
    OWN.store(own, Ordering::Relaxed);
    peak > own
}

/// The most that the daemon has had since it was executed (VmHWM of proc_pid_status(5)); where there is no /proc, since its
/// process was made, which may have been a larger program before.
fn own_peak() -> u64 {
    let kib = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = fs::read_to_string("/proc/self/status").ok().and_then(kib) {
        return kib.saturating_mul(1024);
    }
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage(2) fills in `usage`, of which all zeroes is a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    peak(&usage).unwrap_or(0)
}

/// The kernel counts blocks of 512 bytes, whatever the file system's are.
fn spent(usage: &libc::rusage) -> Spent {
    let time = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_usec).unwrap_or(0));
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    let bytes = |blocks: libc::c_long| u64::try_from(blocks).unwrap_or(0).saturating_mul(512);
    Spent { cpu: time(usage.ru_utime) + time(usage.ru_stime), io_read: bytes(usage.ru_inblock), io_write: bytes(usage.ru_oublock) }
}

fn kill(target: libc::pid_t, number: libc::c_int) -> io::Result<()> {
    // SAFETY: kill(2) takes numbers only.
    match unsafe { libc::kill(target, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn r73_members_that_may_not_be_signalled_are_there() {
        const NOBODY: libc::c_long = 65534;
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("skipped: only root can become somebody who may not");
            return;
        }
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let group = Pid(child.id().cast_signed());
        let seen = std::thread::spawn(move || {
            // SAFETY: setresuid(2) with numbers only. The raw call changes this thread alone, which ends soon.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            (result, kill(-group.0, 0).unwrap_err().raw_os_error(), what_is_left(group, |_| {}))
        });
        let seen = seen.join();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.unwrap(), (0, Some(libc::EPERM), Group::Left));
        assert_eq!(what_is_left(group, |_| {}), Group::Empty);
    }
}
