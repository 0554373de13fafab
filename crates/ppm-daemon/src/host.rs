//! The daemon's own process: what it makes of itself before the first service starts.
//!
//! Most of it happens once, at start, before any thread exists.

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{getpgrp, getpid, getsid};
use ppm_core::attributes::Limit;
use ppm_core::supervisor::Main;
use ppm_protocol::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Timer;
use crate::spawn::in_words;

/// Whether who made this control group has marked it as given away: systemd's `Delegate=` (cgroups(7)).
pub fn is_delegated(group: &Path) -> bool {
    let Ok(path) = CString::new(group.as_os_str().as_bytes()) else { return false };
    let mut value = 0_u8;
    [c"trusted.delegate", c"user.delegate"].into_iter().any(|name| {
        // SAFETY: getxattr(2) reads two strings that end with NUL and writes at most the one byte that it is given.
        let read = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), (&raw mut value).cast(), 1) };
        read == 1 && value == b'1'
    })
}

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
    /// What the container gave, which services get (R8), if the daemon has taken more.
    pub given: Option<Limit>,
    /// What the daemon has by now.
    pub own: u64,
}

impl OpenFiles {
    /// Takes as many as may be useful, as far as that is allowed.
    pub fn raise() -> io::Result<OpenFiles> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let enough = hard.min(ENOUGH_FILES);
        let own = if soft < enough && setrlimit(Resource::RLIMIT_NOFILE, enough, hard).is_ok() { enough } else { soft };
        Ok(OpenFiles { given: (own != soft).then_some(Limit { soft: Some(soft), hard: Some(hard) }), own })
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

/// Room for the descriptors that a request may bring along, and for none that need be kept: the kernel closes more.
#[repr(C)]
union Ancillary {
    _header: libc::cmsghdr,
    room: [u8; 32],
}

/// Reads from a Unix socket, with the descriptors that came along, of which there are a few at most.
///
/// The library's call, since the wrapper of nix forgets descriptors, open as they are, when there were more than fit.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut ancillary = Ancillary { room: [0; 32] };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut descriptors = Vec::new();
    // SAFETY: recvmsg(2) fills `buffer` and `ancillary`, which outlive the call; the latter is aligned for what cmsg(3) reads
    // of it. Each number in a SCM_RIGHTS is a descriptor that the kernel has just opened for this process (unix(7)), and
    // nobody else knows of it.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut ancillary).cast();
        message.msg_controllen = size_of::<Ancillary>();
        let count = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(own) = header.as_ref() {
            if (own.cmsg_level, own.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let passed = own.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                descriptors.extend((0..passed).map(|at| OwnedFd::from_raw_fd(numbers.add(at).read_unaligned())));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        Ok((count, descriptors))
    }
}

/// How the service that inherits the daemon's input gets at the terminal that this is (R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// It is none, or not ours to give: somebody else has the foreground.
    None,
    /// As leader of a session of its own, which makes it its controlling terminal: nobody else's session has it.
    Leader,
    /// As foreground group of the session that the daemon is a member of, too.
    Member,
}

impl Terminal {
    /// Finds out, and lets the terminal go where the daemon leads its session, as process 1 of `docker run -t` does.
    pub fn offer() -> io::Result<Terminal> {
        // SAFETY: tcgetpgrp(3) takes a number.
        if unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) } != getpgrp().as_raw() {
            return Ok(Terminal::None);
        }
        if getsid(None) != Ok(getpid()) {
            return Ok(Terminal::Member);
        }
        // The foreground group gets SIGHUP and SIGCONT for it (ioctl_tty(2)): nobody but the daemon, which is not to
        // take it for a request.
        set_disposition(libc::SIGHUP, libc::SIG_IGN);
        // SAFETY: ioctl_tty(2): TIOCNOTTY has no argument.
        let result = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) };
        let error = io::Error::last_os_error();
        set_disposition(libc::SIGHUP, libc::SIG_DFL);
        if result == 0 { Ok(Terminal::Leader) } else { Err(error) }
    }

    /// Makes the daemon the foreground again, as it was found: who started it may go on at the terminal.
    pub fn take_back(self) {
        if self == Terminal::Member {
            // SAFETY: tcsetpgrp(3) takes numbers. SIGTTOU is ignored; a terminal may be gone.
            unsafe { libc::tcsetpgrp(libc::STDIN_FILENO, getpgrp().as_raw()) };
        }
    }
}

/// The signals that the daemon answers to (R30): its own, and where it stands before a command all that may be meant
/// for that one. Faults, and what the kernel and the terminal have to say to the daemon itself, are not.
pub fn signals_heard(main: Option<Main>) -> impl Iterator<Item = Signal> {
    let own = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1];
    let is_heard = move |number: &i32| own.contains(number) || main.is_some() && is_message(*number);
    (1..=64).filter(is_heard).filter_map(Signal::from_number)
}

/// Whether a signal is something that one process tells another.
fn is_message(number: i32) -> bool {
    match number {
        libc::SIGKILL | libc::SIGSTOP | libc::SIGCHLD | libc::SIGPIPE => false,
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => false, // job control (R33)
        32 | 33 => false,                                       // the library's own
        _ => !is_fault(number),
    }
}

/// Whether the kernel sends a signal to a program for what that did itself.
fn is_fault(number: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP].contains(&number)
}

/// Gives memory that loading took, and will not need again, back to the kernel.
pub fn trim_memory() {
    // SAFETY: malloc_trim(3) takes a number and is safe at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back what the start took and nothing needs now: memory, and the pages of the program itself. Those were read for
/// what happens once; the kernel finds them in their file again, and most are never needed.
pub fn give_back() {
    trim_memory();
    // SAFETY: dl_iterate_phdr(3) calls back before it returns; the callback needs no data.
    unsafe {
        libc::dl_iterate_phdr(Some(forget_pages), std::ptr::null_mut());
    }
}

/// Lets go of the pages of the program that nobody can have written to; of the first object, which is the program itself.
///
/// # Safety
/// As dl_iterate_phdr(3) calls it.
unsafe extern "C" fn forget_pages(object: *mut libc::dl_phdr_info, _size: libc::size_t, _data: *mut libc::c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3): the object and its program headers are there during the call. What is dropped are private
    // mappings of a file without PF_W, to which no relocation is applied either: they are filled from the file again
    // (madvise(2), MADV_DONTNEED).
    unsafe {
        let object = &*object;
        let page = libc::sysconf(libc::_SC_PAGESIZE).unsigned_abs();
        for segment in std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) {
            if segment.p_type == libc::PT_LOAD && segment.p_flags & libc::PF_W == 0 {
                let begin = (object.dlpi_addr + segment.p_vaddr) / page * page;
                let end = object.dlpi_addr + segment.p_vaddr + segment.p_memsz;
                libc::madvise(begin as *mut libc::c_void, usize::try_from(end - begin).unwrap_or(0), libc::MADV_DONTNEED);
            }
        }
    }
    1 // no other object
}

/// Lets the runtime tell when the timer goes off.
pub fn readiness_of(timer: Timer) -> io::Result<AsyncFd<Timer>> {
    // SAFETY: a Timer owns its descriptor, and neither closes nor replaces it while it lives.
    Ok(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?)
}

/// The same of /proc/self/mountinfo, which tells by exceptional conditions that something was mounted or unmounted (proc(5)).
pub fn changes_of(mounts: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: epoll_ctl(2). The file owns its descriptor, which stays open and the same until the file is dropped with this.
    Ok(unsafe { AsyncFd::register_with_interest(mounts, Interest::PRIORITY) }?)
}

/// What services read from, and what stands in for closed standard streams, cannot be done without.
fn no_null(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot open /dev/null: {}\n  hint: mount a /dev with the usual devices in it", in_words(error)))
}

/// A closed 0, 1 or 2 would be taken by the next file opened, and services would write into it.
fn open_standard_streams() -> io::Result<()> {
    loop {
        let file = File::options().read(true).write(true).open("/dev/null").map_err(|error| no_null(&error))?;
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

/// An empty mask, and nothing inherited that whatever started the daemon had ignored. What would end or stop the daemon
/// without being meant so is ignored, also where it is not process 1, to which the kernel does not deliver it (R7, R30).
/// The handled signals are registered before anything is started.
fn reset_signals() -> io::Result<()> {
    for number in 1..=64 {
        let is_kept = number == libc::SIGCHLD || is_fault(number) || signals_heard(None).any(|heard| heard.number() == number);
        set_disposition(number, if is_kept { libc::SIG_DFL } else { libc::SIG_IGN });
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// What cannot be changed (SIGKILL, SIGSTOP, the library's own) stays as it is.
fn set_disposition(number: i32, disposition: libc::sighandler_t) {
    // SAFETY: signal(2) with SIG_IGN or SIG_DFL installs no code.
    unsafe { libc::signal(number, disposition) };
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
