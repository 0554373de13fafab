//! Starting a process: one child by clone(2), one list of steps, one exact error.
//!
//! The child shares the daemon's memory until its exec (CLONE_VM | CLONE_VFORK, as posix_spawn does; R9), so
//! nothing is copied however large the daemon is, and what failed is read from a plain variable. It runs on a
//! stack of its own with all signals blocked, calls nothing but system calls, and allocates nothing: everything
//! it needs was prepared before. The daemon stands still meanwhile, from the clone to the exec.
//!
//! Must be called from the thread that lives as long as the daemon: PR_SET_PDEATHSIG is about the parent *thread*
//! (R10).

use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use ppm_core::environment::{self, Help, Resolved};
use ppm_core::event::{Cause, Launch, NoStart, Pid, Stdin};

use crate::host::Terminal;
use crate::{files, reap};

/// Where programs are looked up when nobody says (R8c).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the child needs of stack: a few frames of system calls.
const STACK_WORDS: usize = 16 * 1024 / size_of::<u128>();

/// Starts processes, one at a time.
#[derive(Debug)]
pub struct Spawner {
    environment: Vec<(OsString, CString)>,
    null: OwnedFd,
    terminal: Terminal,
    stack: Vec<u128>,
    parent: libc::pid_t,
}

/// At which step the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Session,
    Parent,
    Workdir,
    Input,
    Exec,
}

/// Everything the child reads, and the one thing it writes.
struct Order {
    programs: *const *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    workdir: *const c_char,
    stdin: RawFd,
    terminal: Terminal,
    parent: libc::pid_t,
    failed: Option<(Stage, c_int)>,
}

/// A service that is to be started, and what was found out for it.
struct Start<'a> {
    launch: &'a Launch,
    own: Resolved,
    /// Where programs are looked up that are not paths.
    path: OsString,
}

impl Spawner {
    /// Remembers the daemon's environment, which services inherit, and the terminal for the one that inherits its input.
    pub fn new(environment: impl Iterator<Item = (OsString, OsString)>, terminal: Terminal) -> io::Result<Spawner> {
        let environment: Vec<(OsString, CString)> =
            environment.filter_map(|(key, value)| Some((key.clone(), assignment(key.as_bytes(), value.as_bytes())?))).collect();
        let null = fs::File::options().read(true).open("/dev/null")?.into();
        let parent = nix::unistd::getpid().as_raw();
        Ok(Spawner { environment, null, terminal, stack: vec![0; STACK_WORDS], parent })
    }

    /// Starts the program as leader of its own session; the error is for people: stage and cause.
    pub fn spawn(&mut self, launch: &Launch, cause: Cause) -> Result<Pid, NoStart> {
        let start = self.prepare(launch, cause)?;
        let command = &launch.command;
        let programs = start.programs();
        let argv = strings(std::iter::once(&command.path).chain(&command.args))?;
        let workdir = start.own.workdir.as_ref().map(|folder| c_string(&folder.path, "workdir")).transpose()?;
        let own: Vec<CString> = start.own.variables.iter().filter_map(|(key, value)| assignment(key, value)).collect();
        let envp: Vec<&CString> = self.inherited(&start).map(|(_, assignment)| assignment).chain(&own).collect();

        let (programs_ptr, argv_ptr, envp_ptr) = (pointers(&programs), pointers(&argv), pointers(envp));
        let (stdin, terminal) = match launch.stdin {
            Stdin::Null => (self.null.as_raw_fd(), Terminal::None),
            Stdin::Inherited => (libc::STDIN_FILENO, self.terminal),
        };
        let mut order = Order {
            programs: programs_ptr.as_ptr(),
            argv: argv_ptr.as_ptr(),
            envp: envp_ptr.as_ptr(),
            workdir: workdir.as_ref().map_or(ptr::null(), |folder| folder.as_ptr()),
            stdin,
            terminal,
            parent: self.parent,
            failed: None,
        };
        let pid = clone_and_wait_for_exec(&mut self.stack, &mut order).map_err(|error| format!("fork: {}", in_words(&error)))?;
        match order.failed {
            None => Ok(Pid(pid)),
            Some((stage, errno)) => {
                reap::discard(pid);
                let is_missing = (stage, errno) == (Stage::Exec, libc::ENOENT);
                let code = if is_missing { NoStart::NOT_FOUND } else { NoStart::NOT_EXECUTED };
                Err(NoStart { why: start.explain(stage, errno), code })
            }
        }
    }

    fn prepare<'a>(&self, launch: &'a Launch, cause: Cause) -> Result<Start<'a>, String> {
        let cause = cause.to_string();
        let help = Help {
            told: &[("PPM_SERVICE", launch.name.as_str()), ("PPM_START_REASON", cause.as_str())],
            inherited: &|name| self.variable(name),
            read: &files::read,
        };
        let own = environment::resolve(&launch.command, help)?;
        let mut start = Start { launch, own, path: DEFAULT_PATH.into() };
        let path = match start.own.variable(b"PATH") {
            Some(own) => Some(own.to_vec()),
            None => self.inherited(&start).any(|(key, _)| key == "PATH").then(|| self.variable(b"PATH")).flatten(),
        };
        if let Some(path) = path {
            start.path = OsString::from_vec(path);
        }
        Ok(start)
    }

    /// The value of one of the daemon's variables.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let (_, assignment) = self.environment.iter().find(|(key, _)| key.as_bytes() == name)?;
        assignment.as_bytes().get(name.len() + 1..).map(<[u8]>::to_vec)
    }

    /// What the container gave the daemon, byte for byte (R8), less what the service shall not have or sets itself.
    fn inherited<'a>(&'a self, start: &'a Start<'_>) -> impl Iterator<Item = (&'a OsStr, &'a CString)> {
        let inherit = &start.launch.command.surroundings.inherit;
        let is_kept = |key: &OsString| inherit.passes(key.as_bytes()) && start.own.variable(key.as_bytes()).is_none();
        self.environment.iter().filter(move |(key, _)| is_kept(key)).map(|(key, assignment)| (key.as_os_str(), assignment))
    }
}

impl Start<'_> {
    /// The files to try, in order: the path itself, or the name in each folder of the service's PATH.
    fn programs(&self) -> Vec<CString> {
        let program = &self.launch.command.path;
        if program.contains('/') {
            return c_string(program.as_bytes(), "exec").into_iter().collect();
        }
        std::env::split_paths(&self.path)
            .map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder })
            .filter_map(|folder| CString::new(folder.join(program).into_os_string().into_vec()).ok())
            .collect()
    }

    /// The failed step in words that name the culprit. Looks at the file system again, so it can only be a guess
    /// where things changed meanwhile.
    fn explain(&self, stage: Stage, errno: c_int) -> String {
        let program = &self.launch.command.path;
        let error = io::Error::from_raw_os_error(errno);
        match stage {
            Stage::Session => format!("setsid: {}", in_words(&error)),
            Stage::Parent => format!("prctl: {}", in_words(&error)),
            Stage::Input => format!("stdin: {}", in_words(&error)),
            Stage::Workdir => {
                let folder = self.own.workdir.as_ref().map_or("", |folder| folder.name.as_str());
                match errno {
                    libc::ENOENT => format!("workdir: no such folder: {folder}"),
                    libc::ENOTDIR => format!("workdir: not a folder: {folder}"),
                    _ => format!("workdir: {}: {folder}", in_words(&error)),
                }
            }
            Stage::Exec => {
                let found = self.found();
                match (errno, found) {
                    (libc::ENOENT, Some(file)) => format!("exec: the interpreter of {} does not exist", file.display()),
                    (libc::ENOENT, None) => format!("exec: no such file: {program}"),
                    (libc::EACCES, Some(file)) if file.is_dir() => format!("exec: is a folder: {program}"),
                    (libc::EACCES, Some(file)) if !is_executable(&file) => format!("exec: not executable: {}", file.display()),
                    (libc::ENOEXEC, _) => format!("exec: neither a program nor a script with a #! line: {program}"),
                    (libc::E2BIG, _) => format!("exec: arguments and environment are too long: {program}"),
                    _ => format!("exec: {}: {program}", in_words(&error)),
                }
            }
        }
    }

    fn found(&self) -> Option<PathBuf> {
        let base = self.own.workdir.as_ref().map_or_else(PathBuf::new, |folder| PathBuf::from(OsStr::from_bytes(&folder.path)));
        let program = Path::new(&self.launch.command.path);
        if self.launch.command.path.contains('/') {
            return Some(base.join(program)).filter(|file| file.exists());
        }
        std::env::split_paths(&self.path).map(|folder| base.join(folder).join(program)).find(|file| file.exists())
    }
}

/// Clones a child that runs [`child`], and returns when it has executed its program or ended.
fn clone_and_wait_for_exec(stack: &mut [u128], order: &mut Order) -> io::Result<libc::pid_t> {
    let mut before = ALL_SIGNALS;
    set_mask(&ALL_SIGNALS, Some(&mut before));
    // SAFETY: clone(2). The child runs on `stack`, whose end is its top and aligned to 16 bytes; it reads `order` and
    // what that points to, all of which outlive the call, since CLONE_VFORK holds this thread until the child has
    // left the shared memory by exec or exit. With all signals blocked no handler runs in the child.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(child, top, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, ptr::from_mut(order).cast())
    };
    let error = io::Error::last_os_error();
    set_mask(&before, None);
    if pid < 0 { Err(error) } else { Ok(pid) }
}

/// A signal mask as the kernel counts: bit n - 1 for signal n. The library's own signals 32 and 33 are included.
type KernelMask = u64;

const ALL_SIGNALS: KernelMask = !0;
const NO_SIGNALS: KernelMask = 0;

fn set_mask(mask: &KernelMask, before: Option<&mut KernelMask>) {
    let before = before.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: rt_sigprocmask(2) reads and writes eight bytes at these addresses. The raw call, since the library's
    // leaves out signals 32 and 33.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, ptr::from_ref(mask), before, size_of::<KernelMask>()) };
}

/// The child's whole life before its exec. Async-signal-safe: system calls only (signal-safety(7)).
extern "C" fn child(order: *mut c_void) -> c_int {
    // SAFETY: `order` is the Order that `clone_and_wait_for_exec` was given, and nobody else touches it meanwhile.
    let order = unsafe { &mut *order.cast::<Order>() };
    // SAFETY: the strings are as prepared by `spawn`.
    let failed = unsafe { become_service(order) };
    order.failed = Some(failed);
    // SAFETY: _exit(2) runs no handlers of the memory shared with the parent.
    unsafe { libc::_exit(127) }
}

/// Each step in turn; returns only with the step that failed and its errno.
///
/// # Safety
/// The pointers of `order` must be valid: NUL-terminated strings and NULL-terminated lists of them.
unsafe fn become_service(order: &Order) -> (Stage, c_int) {
    // SAFETY: plain system calls on this process; the pointers are valid by contract. The child has its own copy of
    // descriptors, dispositions and mask, so that none of this changes the parent (clone(2)).
    unsafe {
        let default = [0_u64; 4]; // the kernel's struct sigaction: SIG_DFL, no flags, no restorer, empty mask (R1)
        for signal in 1..=64_i64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<c_void>(), size_of::<KernelMask>());
        }
        match order.terminal {
            Terminal::None | Terminal::Leader => {
                if libc::setsid() < 0 {
                    return (Stage::Session, errno());
                }
            }
            // In the session whose terminal it is to have, which has another leader (setpgid(2)).
            Terminal::Member => {
                if libc::setpgid(0, 0) < 0 {
                    return (Stage::Session, errno());
                }
            }
        }
        take_terminal(order.terminal);
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            return (Stage::Parent, errno());
        }
        if libc::getppid() != order.parent {
            libc::_exit(127); // the daemon died before the request above could hold (R10)
        }
        if !order.workdir.is_null() && libc::chdir(order.workdir) < 0 {
            return (Stage::Workdir, errno());
        }
        if order.stdin != libc::STDIN_FILENO && libc::dup2(order.stdin, libc::STDIN_FILENO) < 0 {
            return (Stage::Input, errno());
        }
        set_mask(&NO_SIGNALS, None);
        (Stage::Exec, execute(order))
    }
}

/// Becomes the terminal's foreground (R7). A terminal that is gone meanwhile is no reason not to start.
///
/// # Safety
/// In the child only, with SIGTTOU blocked or ignored: it is in the background until then (tcsetpgrp(3)).
unsafe fn take_terminal(terminal: Terminal) {
    // SAFETY: ioctl_tty(2): TIOCSCTTY takes a number, TIOCSPGRP reads a process group, which outlives the call.
    unsafe {
        match terminal {
            Terminal::None => {}
            Terminal::Leader => drop(libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0)),
            Terminal::Member => {
                let group = libc::getpid();
                libc::ioctl(libc::STDIN_FILENO, libc::TIOCSPGRP, &raw const group);
            }
        }
    }
}

/// Tries each file in turn as execvp(3) does: a folder that cannot be used does not end the search, but a file
/// that may not be executed is what is told in the end.
///
/// # Safety
/// As [`become_service`].
unsafe fn execute(order: &Order) -> c_int {
    let mut result = libc::ENOENT;
    let mut program = order.programs;
    // SAFETY: `programs` is a NULL-terminated list; execve(2) reads the lists it is given.
    unsafe {
        while !(*program).is_null() {
            libc::execve(*program, order.argv, order.envp);
            match errno() {
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP | libc::ESTALE | libc::ENODEV => {}
                libc::EACCES => result = libc::EACCES,
                error => return error,
            }
            program = program.add(1);
        }
    }
    result
}

fn errno() -> c_int {
    // SAFETY: the address of the calling thread's errno is always valid (errno(3)).
    unsafe { *libc::__errno_location() }
}

/// The error's text without its number.
pub fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_lowercase()
}

fn is_executable(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn c_string(bytes: &[u8], stage: &str) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| format!("{stage}: a NUL byte in `{}`", bytes.escape_ascii()))
}

fn strings<'a>(texts: impl Iterator<Item = &'a String>) -> Result<Vec<CString>, String> {
    texts.map(|text| c_string(text.as_bytes(), "exec")).collect()
}

fn assignment(key: &[u8], value: &[u8]) -> Option<CString> {
    CString::new([key, b"=", value].concat()).ok()
}

fn pointers<'a>(strings: impl IntoIterator<Item = &'a CString>) -> Vec<*const c_char> {
    strings.into_iter().map(|string| string.as_ptr()).chain(std::iter::once(ptr::null())).collect()
}
