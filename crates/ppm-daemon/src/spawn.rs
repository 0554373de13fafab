//! Starting a process: one child by clone(2), one list of steps, one exact error.
//!
//! The child shares the daemon's memory until its exec (CLONE_VM | CLONE_VFORK, as posix_spawn does; R9), so
//! nothing is copied however large the daemon is, and what failed is read from a plain variable. It runs on a
//! stack of its own with all signals blocked, calls nothing but system calls, and allocates nothing: everything
//! it needs was prepared before. The daemon stands still meanwhile, from the clone to the exec.
//!
//! A child that is born into a control group shares nothing either, since that takes clone3(2), whose child would need a
//! stack that no library sets up for it.
//!
//! A child that becomes another user shares nothing: processes of that user may signal it as soon as it is theirs, and
//! one that was stopped just then would hold the daemon for ever. It is waited for with patience, not with trust.
//!
//! Must be called from the thread that lives as long as the daemon: PR_SET_PDEATHSIG is about the parent *thread*
//! (R10).

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ppm_core::account::{self, Account};
use ppm_core::attributes::{Attributes, Limit, Resource};
use ppm_core::environment::{self, Folder, Help, Resolved};
use ppm_core::event::{Cause, Launch, NoStart, Pid, Stdin};
use ppm_core::spec::Reach;
use ppm_protocol::Signal;

use crate::host::Terminal;
use crate::logs::{Pipes, Sinks};
use crate::{files, reap};

/// Where programs are looked up when nobody says (R8c).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a process finds and chooses how readily the kernel kills it when memory is short (proc(5)).
const OOM_SCORE: &CStr = c"/proc/self/oom_score_adj";

/// How much sooner than the daemon a service is killed when memory is short, if nothing else is given: without the
/// daemon there is nobody to start it again, and as process 1 it takes the container with it (R47).
const SOONER: i16 = 100;

/// The variables that tell who a process is. Those of the daemon do not tell it of another user.
const WHO: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// Tells a hook from a service, so a daemon that was itself started by a hook does not pass it on.
const HOOK: &[u8] = b"PPM_HOOK";

/// How long a child of another user may take to execute its program before the daemon goes on without knowing. It is
/// asked to go on, should it have been stopped, after each of so many waits.
const WAITS: usize = 25;
const WAIT_MS: u8 = 10;

/// What the child needs of stack: a few frames of system calls.
const STACK_WORDS: usize = 16 * 1024 / size_of::<u128>();

/// What PPM_START_REASON is for a command in the surroundings of a service: by it what that starts is told from what is
/// the service's.
pub const GUEST: &str = "exec";

/// What a program reads and writes.
#[derive(Clone, Copy)]
enum Streams<'a> {
    /// As the service has it.
    Own,
    /// It writes there, and reads what the service reads.
    Output(&'a OwnedFd),
    /// These are its input, output and error, and may be its terminal.
    Given { streams: &'a [OwnedFd; 3], terminal: bool },
}

/// Starts processes, one at a time.
#[derive(Debug)]
pub struct Spawner {
    environment: Vec<(OsString, CString)>,
    null: OwnedFd,
    terminal: Terminal,
    stack: Vec<u128>,
    parent: libc::pid_t,
    /// How readily the kernel kills the daemon itself; None: nobody knows.
    oom_score: Option<i16>,
    /// The container's limit, if the daemon has raised it for itself.
    open_files: Option<Limit>,
}

/// At which step the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Session,
    Input,
    Output,
    Line,
    OomScore,
    Limit(Resource),
    Nice,
    Groups,
    Group,
    User,
    Capabilities,
    Privileges,
    Parent,
    Workdir,
    Exec,
}

/// Everything the child reads, and the one thing it writes.
struct Order<'a> {
    programs: *const *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    workdir: *const c_char,
    /// What becomes standard output and error; None: what the daemon has.
    output: Option<[RawFd; 2]>,
    oom_score: Option<&'a OomScore>,
    limits: &'a [(Resource, KernelLimit)],
    nice: Option<c_int>,
    umask: Option<libc::mode_t>,
    no_new_privs: bool,
    ids: Option<Ids<'a>>,
    stdin: RawFd,
    /// What is given to it besides, and under which number.
    line: Option<(RawFd, RawFd)>,
    terminal: Terminal,
    parent: libc::pid_t,
    /// Where the child writes what failed, if it does not share the daemon's memory.
    report: Option<RawFd>,
    failed: Option<Failed>,
}

/// At which step, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed {
    stage: Stage,
    errno: c_int,
}

/// A service that was started.
#[derive(Debug)]
pub struct Started {
    /// Its main process.
    pub pid: Pid,
    /// Whether it was born into the group that was given.
    pub is_grouped: bool,
    /// Where its output is to go, and where it can be read.
    pub captured: Option<(Sinks, [OwnedFd; 2])>,
    /// Where it says in a line that it is ready, if it was given a descriptor for that.
    pub line: Option<OwnedFd>,
}

/// What is written to [`OOM_SCORE`].
struct OomScore {
    text: String,
    /// Whether it was asked for: then it is an error if it is not to be had.
    asked: bool,
}

/// Whom the child becomes.
#[derive(Clone, Copy)]
struct Ids<'a> {
    uid: libc::uid_t,
    gid: libc::gid_t,
    /// None: those that the daemon has.
    groups: Option<&'a [libc::gid_t]>,
    /// Whether it keeps what capabilities it has: root, and who was that user before.
    keeps_capabilities: bool,
}

/// A service that is to be started, and what was found out for it.
struct Start<'a> {
    launch: &'a Launch,
    /// Whom it becomes, if that is given.
    account: Option<Account>,
    /// Where it can say how it is.
    socket: Option<&'a str>,
    own: Resolved,
    /// Where programs are looked up that are not paths.
    path: OsString,
}

impl Spawner {
    /// Remembers the daemon's environment, which services inherit, how many files they may open, and the terminal for the
    /// one that inherits its input.
    pub fn new(
        environment: impl Iterator<Item = (OsString, OsString)>,
        open_files: Option<Limit>,
        terminal: Terminal,
    ) -> io::Result<Spawner> {
        let environment: Vec<(OsString, CString)> =
            environment.filter_map(|(key, value)| Some((key.clone(), assignment(key.as_bytes(), value.as_bytes())?))).collect();
        let null = fs::File::options().read(true).open("/dev/null")?.into();
        let parent = nix::unistd::getpid().as_raw();
        let oom_score = own_oom_score();
        Ok(Spawner { environment, null, terminal, stack: vec![0; STACK_WORDS], parent, oom_score, open_files })
    }

    /// Starts the program as leader of its own session; the error is for people: stage and cause. What a client has sent
    /// along is `given`, for [`Stdin::Given`]; `socket` is where it can say how it is, and `group` the control group that it
    /// is born into, if that is possible.
    pub fn spawn(
        &mut self,
        launch: &Launch,
        cause: Cause,
        socket: Option<&str>,
        given: Option<&[OwnedFd; 3]>,
        group: Option<BorrowedFd<'_>>,
    ) -> Result<Started, NoStart> {
        let streams = match (launch.stdin, given) {
            (Stdin::Given { terminal, .. }, Some(streams)) => Streams::Given { streams, terminal },
            (Stdin::Null | Stdin::Inherited | Stdin::Given { .. }, _) => Streams::Own,
        };
        self.start(launch, &cause.to_string(), socket, streams, group)
    }

    /// Starts a program in the surroundings of a service, with these as its standard input, output and error.
    pub fn spawn_guest(&mut self, launch: &Launch, streams: &[OwnedFd; 3], terminal: bool) -> Result<Pid, NoStart> {
        self.start(launch, GUEST, None, Streams::Given { streams, terminal }, None).map(|started| started.pid)
    }

    /// Starts a program that looks after a service, in the same way; it writes there.
    pub fn spawn_beside(&mut self, launch: &Launch, cause: Cause, output: &OwnedFd) -> Result<Pid, NoStart> {
        self.start(launch, &cause.to_string(), None, Streams::Output(output), None).map(|started| started.pid)
    }

    fn start(
        &mut self,
        launch: &Launch,
        reason: &str,
        socket: Option<&str>,
        streams: Streams<'_>,
        group: Option<BorrowedFd<'_>>,
    ) -> Result<Started, NoStart> {
        let start = self.prepare(launch, reason, socket)?;
        let command = &launch.command;
        let programs = start.programs();
        let argv = strings(std::iter::once(&command.path).chain(&command.args))?;
        let workdir = start.own.workdir.as_ref().map(|folder| c_string(&folder.path, "workdir")).transpose()?;
        let own: Vec<CString> = start.own.variables.iter().filter_map(|(key, value)| assignment(key, value)).collect();
        let who: Vec<CString> = start.who().filter_map(|(name, value)| assignment(name.as_bytes(), value)).collect();
        let envp: Vec<&CString> = self.inherited(&start).map(|(_, assignment)| assignment).chain(&who).chain(&own).collect();
        let Attributes { user: _, umask, limits, nice, oom_score_adj, no_new_privs } = &command.attributes;
        let open_files = self.open_files.filter(|_| !limits.contains_key(&Resource::Nofile)).map(|given| (Resource::Nofile, given));
        let limits = limits.iter().map(|(resource, limit)| (*resource, *limit)).chain(open_files);
        let limits: Vec<(Resource, KernelLimit)> = limits.map(|(resource, limit)| (resource, limit.into())).collect();
        let oom_score = self.oom_score_of(*oom_score_adj);

        let sinks = start.sinks();
        let owner = start.account.as_ref().map(|account| (account.uid, account.gid));
        let pipes = sinks.is_some().then(|| Pipes::new(owner)).transpose().map_err(|error| format!("stdout: {}", in_words(&error)))?;

        let line = launch.voice.descriptor.map(line).transpose().map_err(|error| format!("ready.notify: {}", in_words(&error)))?;

        let (programs_ptr, argv_ptr, envp_ptr) = (pointers(&programs), pointers(&argv), pointers(envp));
        let (stdin, terminal) = match (streams, launch.stdin) {
            (Streams::Given { streams: [input, ..], terminal: true }, _) => (input.as_raw_fd(), Terminal::Leader),
            (Streams::Given { streams: [input, ..], terminal: false }, _) => (input.as_raw_fd(), Terminal::None),
            (Streams::Own | Streams::Output(_), Stdin::Null | Stdin::Given { .. }) => (self.null.as_raw_fd(), Terminal::None),
            (Streams::Own | Streams::Output(_), Stdin::Inherited) => (libc::STDIN_FILENO, self.terminal),
        };
        let output = match streams {
            Streams::Own => pipes.as_ref().map(|pipes| pipes.write.each_ref().map(AsRawFd::as_raw_fd)),
            Streams::Output(output) => Some([output.as_raw_fd(); 2]),
            Streams::Given { streams: [_, out, err], .. } => Some([out.as_raw_fd(), err.as_raw_fd()]),
        };
        let mut order = Order {
            programs: programs_ptr.as_ptr(),
            argv: argv_ptr.as_ptr(),
            envp: envp_ptr.as_ptr(),
            workdir: workdir.as_ref().map_or(ptr::null(), |folder| folder.as_ptr()),
            output,
            oom_score: oom_score.as_ref(),
            limits: &limits,
            nice: nice.map(c_int::from),
            umask: umask.map(libc::mode_t::from),
            no_new_privs: *no_new_privs,
            ids: start.account.as_ref().map(ids),
            stdin,
            line: line.as_ref().map(|(_, write, number)| (write.as_raw_fd(), *number)),
            terminal,
            parent: self.parent,
            report: None,
            failed: None,
        };
        let grouped = group.and_then(|group| {
            let born = fork_and_wait(&mut order, |order| clone_into(group, order));
            born.inspect_err(|error| tracing::debug!("{}: without a control group: {}", launch.name, in_words(error))).ok()
        });
        let stack = &mut self.stack;
        let pid = match grouped {
            Some(pid) => Ok(pid),
            None if order.ids.is_some() => fork_and_wait(&mut order, |order| clone(stack, order, 0)),
            None => clone(stack, &mut order, libc::CLONE_VM | libc::CLONE_VFORK),
        };
        let pid = pid.map_err(|error| format!("fork: {}", in_words(&error)))?;
        match order.failed {
            None => Ok(Started {
                pid: Pid(pid),
                is_grouped: grouped.is_some(),
                captured: sinks.zip(pipes.map(|pipes| pipes.read)),
                line: line.map(|(read, _, _)| read),
            }),
            Some(Failed { stage, errno }) => {
                reap::discard(pid);
                let is_missing = (stage, errno) == (Stage::Exec, libc::ENOENT);
                let code = if is_missing { NoStart::NOT_FOUND } else { NoStart::NOT_EXECUTED };
                Err(NoStart { why: start.explain(stage, errno), code })
            }
        }
    }

    /// Where the output of a service would go if it started now; None: it would not be captured.
    pub fn sinks(&self, launch: &Launch) -> Result<Option<Sinks>, String> {
        Ok(self.prepare(launch, "", None)?.sinks())
    }

    fn prepare<'a>(&self, launch: &'a Launch, reason: &str, socket: Option<&'a str>) -> Result<Start<'a>, String> {
        let user = launch.command.attributes.user.as_deref();
        let account = user.map(|user| account::find(user, &|path| files::read_if_there(path.as_bytes()))).transpose()?;
        let mut start = Start { launch, account, socket, own: Resolved::default(), path: DEFAULT_PATH.into() };
        let logs = launch.logger.as_ref().and_then(|logger| logger.files.as_ref()).map(|files| files.path.as_str());
        start.own = self.with_help(&start, reason, |help| environment::resolve(&launch.command, logs, help))?;
        let path = match start.own.variable(b"PATH") {
            Some(own) => Some(own.to_vec()),
            None => self.inherited(&start).any(|(key, _)| key == "PATH").then(|| self.variable(b"PATH")).flatten(),
        };
        if let Some(path) = path {
            start.path = OsString::from_vec(path);
        }
        Ok(start)
    }

    /// The folder that a service runs in and the paths that it watches, as it would see them if it started now.
    pub fn watched(&self, launch: &Launch, paths: &[String]) -> Result<(Option<Folder>, Vec<PathBuf>), String> {
        let start = self.prepare(launch, "", None)?;
        let (folder, paths) = self.with_help(&start, "", |help| environment::resolve_watched(&launch.command, paths, help))?;
        Ok((folder, paths.into_iter().map(|path| PathBuf::from(OsString::from_vec(path))).collect()))
    }

    fn with_help<T>(&self, start: &Start<'_>, reason: &str, resolve: impl FnOnce(Help<'_>) -> T) -> T {
        let replica = start.launch.command.replica.map(|replica| replica.to_string());
        let mut told = vec![("PPM_SERVICE", start.launch.name.as_str()), ("PPM_START_REASON", reason)];
        let watchdog = start.launch.voice.watchdog.map(|patience| patience.as_micros().to_string());
        told.extend(start.socket.map(|socket| ("NOTIFY_SOCKET", socket)));
        told.extend(watchdog.as_deref().map(|micros| ("WATCHDOG_USEC", micros)));
        told.extend(replica.as_deref().map(|replica| ("PPM_REPLICA", replica)));
        told.extend(start.launch.told.iter().map(|(name, value)| (*name, value.as_str())));
        resolve(Help {
            told: &told,
            inherited: &|name| match start.hides(name) {
                true => start.who().find(|(own, _)| own.as_bytes() == name).map(|(_, value)| value.to_vec()),
                false => self.variable(name),
            },
            read: &files::read,
        })
    }

    /// The value of one of the daemon's variables.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let (_, assignment) = self.environment.iter().find(|(key, _)| key.as_bytes() == name)?;
        assignment.as_bytes().get(name.len() + 1..).map(<[u8]>::to_vec)
    }

    /// What the container gave the daemon, byte for byte (R8), less what the service shall not have or sets itself.
    fn inherited<'a>(&'a self, start: &'a Start<'_>) -> impl Iterator<Item = (&'a OsStr, &'a CString)> {
        let inherit = &start.launch.command.surroundings.inherit;
        let is_kept = |key: &[u8]| inherit.passes(key) && key != HOOK && !start.hides(key) && start.own.variable(key).is_none();
        self.environment.iter().filter(move |(key, _)| is_kept(key.as_bytes())).map(|(key, assignment)| (key.as_os_str(), assignment))
    }

    /// What to choose for a service; None: as the daemon has it.
    fn oom_score_of(&self, asked: Option<i16>) -> Option<OomScore> {
        let sooner = self.oom_score.map(|own| own.saturating_add(SOONER).min(1000));
        let chosen = asked.or(sooner.filter(|sooner| Some(*sooner) != self.oom_score))?;
        Some(OomScore { text: chosen.to_string(), asked: asked.is_some() })
    }
}

impl Start<'_> {
    /// Where its output goes, if it is captured.
    fn sinks(&self) -> Option<Sinks> {
        let logger = self.launch.logger.as_ref()?;
        let folder = self.own.logs.as_ref().map(|folder| PathBuf::from(OsStr::from_bytes(&folder.path)));
        let files = folder.zip(logger.files.as_ref().map(|files| files.limits));
        let memory = logger.memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Some(Sinks { service: self.launch.name.clone(), files, memory, rate_limit: logger.rate_limit, console: logger.console })
    }

    /// The variables of [`WHO`] for another user, as far as they are known and the service does not set them itself.
    fn who(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let account = self.account.as_ref();
        let value = move |name| match (account, name) {
            (None, _) => None,
            (Some(account), "HOME") => Some(account.home.as_slice()),
            (Some(account), _) => account.name.as_deref(),
        };
        let known = WHO.into_iter().filter_map(move |name| Some((name, value(name)?)));
        known.filter(|(name, _)| self.own.variable(name.as_bytes()).is_none())
    }

    /// Whether the daemon's variable of this name tells of another user.
    fn hides(&self, name: &[u8]) -> bool {
        self.account.is_some() && WHO.iter().any(|own| own.as_bytes() == name)
    }

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
            Stage::Output => format!("stdout: {}", in_words(&error)),
            Stage::Line => format!("ready.notify: {}", in_words(&error)),
            Stage::OomScore => match errno {
                libc::EACCES | libc::EPERM => "oom_score_adj: not permitted to be less than the daemon's".to_owned(),
                libc::ENOENT => format!("oom_score_adj: there is no {}", OOM_SCORE.to_string_lossy()),
                _ => format!("oom_score_adj: {}", in_words(&error)),
            },
            Stage::Limit(resource) => {
                let name = resource.name();
                match (errno, hard_limit(resource)) {
                    (libc::EPERM, Some(hard)) => format!("limits.{name}: not permitted to be more than {hard}, the daemon's hard limit"),
                    _ => format!("limits.{name}: {}", in_words(&error)),
                }
            }
            Stage::Nice => match errno {
                libc::EACCES | libc::EPERM => "nice: not permitted to be less than the daemon's".to_owned(),
                _ => format!("nice: {}", in_words(&error)),
            },
            Stage::Groups | Stage::Group | Stage::User => self.explain_ids(errno),
            Stage::Capabilities => format!("user: cannot give up the daemon's capabilities: {}", in_words(&error)),
            Stage::Privileges => format!("no_new_privs: {}", in_words(&error)),
            Stage::Workdir => {
                let folder = self.own.workdir.as_ref().map_or("", |folder| folder.name.as_str());
                match errno {
                    libc::ENOENT => format!("workdir: no such folder: {folder}"),
                    libc::ENOTDIR => format!("workdir: not a folder: {folder}"),
                    libc::EACCES if self.account.is_some() => format!("workdir: {} may not enter it: {folder}", self.user()),
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
                    (libc::EACCES, Some(_)) if self.account.is_some() => format!("exec: {} may not execute it: {program}", self.user()),
                    (libc::EAGAIN, _) => format!("exec: its user has more processes than limits.nproc allows: {program}"),
                    (libc::ENOEXEC, _) => format!("exec: neither a program nor a script with a #! line: {program}"),
                    (libc::E2BIG, _) => format!("exec: arguments and environment are too long: {program}"),
                    _ => format!("exec: {}: {program}", in_words(&error)),
                }
            }
        }
    }

    /// Why the kernel did not let it become somebody else (R73).
    fn explain_ids(&self, errno: c_int) -> String {
        let (user, own) = (self.user(), nix::unistd::geteuid());
        match errno {
            libc::EPERM if own.is_root() => {
                format!("user: not permitted to become {user}: the daemon lacks the capabilities SETUID and SETGID")
            }
            libc::EPERM => format!("user: this daemon is not root but uid {own}, and cannot become {user}"),
            libc::EINVAL => format!("user: the numbers of {user} mean nothing in this user namespace"),
            _ => format!("user: cannot become {user}: {}", in_words(&io::Error::from_raw_os_error(errno))),
        }
    }

    fn user(&self) -> String {
        self.launch.command.attributes.user.as_ref().map_or(String::new(), |user| user.to_string())
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

/// Starts a child with a copy of the daemon's memory; returns when it has executed its program or ended, or when it
/// is late with both. Then it is on its own, and if it fails after that, its exit code tells so.
fn fork_and_wait(order: &mut Order<'_>, fork: impl FnOnce(&mut Order<'_>) -> io::Result<libc::pid_t>) -> io::Result<libc::pid_t> {
    let (told, report) = io::pipe()?;
    let mut report = OwnedFd::from(report);
    if order.line.is_some_and(|(_, number)| number == report.as_raw_fd()) {
        report = report.try_clone()?; // under another number: that one is taken in the child
    }
    order.report = Some(report.as_raw_fd());
    let forked = fork(order);
    order.report = None;
    let pid = forked?;
    drop(report); // from now on the child's alone, and closed by its exec or end
    for _ in 0..WAITS {
        match poll(&mut [PollFd::new(told.as_fd(), PollFlags::POLLIN)], PollTimeout::from(WAIT_MS)) {
            Ok(0) => drop(reap::signal(Pid(pid), Signal::CONT, Reach::Leader)),
            Ok(_) => {
                order.failed = read_report(told);
                break;
            }
            Err(_) => {} // interrupted
        }
    }
    Ok(pid)
}

/// What the child has written; nothing if it executed its program, or was killed before.
fn read_report(mut told: PipeReader) -> Option<Failed> {
    let mut bytes = [0; size_of::<Failed>()];
    told.read_exact(&mut bytes).ok()?;
    // SAFETY: the bytes are a Failed, which the child copied from its memory; nobody else has the writing end.
    Some(unsafe { ptr::from_ref(&bytes).cast::<Failed>().read_unaligned() })
}

fn clone(stack: &mut [u128], order: &mut Order<'_>, flags: c_int) -> io::Result<libc::pid_t> {
    let mut before = ALL_SIGNALS;
    set_mask(&ALL_SIGNALS, Some(&mut before));
    // SAFETY: clone(2). The child runs on `stack`, whose end is its top and aligned to 16 bytes; it reads `order` and
    // what that points to. It has copies of them all, or they outlive the call, since CLONE_VFORK, which stands with
    // CLONE_VM, holds this thread until the child has left the shared memory by exec or exit. With all signals blocked
    // no handler runs in the child.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(child, top, flags | libc::SIGCHLD, ptr::from_mut(order).cast())
    };
    let error = io::Error::last_os_error();
    set_mask(&before, None);
    if pid < 0 { Err(error) } else { Ok(pid) }
}

/// What clone3(2) is told: struct clone_args of Linux 5.7.
#[derive(Default)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// CLONE_INTO_CGROUP, a flag that does not fit into clone(2).
const INTO_GROUP: u64 = 1 << 33;

/// Starts a child with a copy of the daemon's memory in a control group, so that it never is in another.
fn clone_into(group: BorrowedFd<'_>, order: &mut Order<'_>) -> io::Result<libc::pid_t> {
    let number = |number: c_int| u64::try_from(number).unwrap_or_default();
    let args =
        CloneArgs { flags: INTO_GROUP, exit_signal: number(libc::SIGCHLD), cgroup: number(group.as_raw_fd()), ..CloneArgs::default() };
    let mut before = ALL_SIGNALS;
    set_mask(&ALL_SIGNALS, Some(&mut before));
    // SAFETY: clone3(2) reads the struct that it is given the size of. The child goes on here, with copies of all memory, also of
    // this stack, and with all signals blocked; it calls what is async-signal-safe and never returns.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        if pid == 0 {
            child(ptr::from_mut(order).cast());
            libc::_exit(127);
        }
        pid
    };
    let error = io::Error::last_os_error();
    set_mask(&before, None);
    libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(error)
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
    let order = unsafe { &mut *order.cast::<Order<'_>>() };
    // SAFETY: the strings are as prepared by `spawn`.
    let (stage, errno) = unsafe { become_service(order) };
    let failed = order.failed.insert(Failed { stage, errno });
    if let Some(report) = order.report {
        // SAFETY: write(2) of as many bytes as there are; the other side reads them as what they are.
        unsafe { libc::write(report, ptr::from_ref(failed).cast(), size_of::<Failed>()) };
    }
    // SAFETY: _exit(2) runs no handlers of the memory shared with the parent.
    unsafe { libc::_exit(127) }
}

/// Each step in turn; returns only with the step that failed and its errno.
///
/// # Safety
/// The pointers of `order` must be valid: NUL-terminated strings and NULL-terminated lists of them.
unsafe fn become_service(order: &Order<'_>) -> (Stage, c_int) {
    // SAFETY: plain system calls on this process; the pointers are valid by contract. The child has its own copy of
    // descriptors, dispositions, mask, limits and credentials, so that none of this changes the parent (clone(2)).
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
        if order.stdin != libc::STDIN_FILENO && libc::dup2(order.stdin, libc::STDIN_FILENO) < 0 {
            return (Stage::Input, errno());
        }
        take_terminal(order.terminal);
        if let Some([out, err]) = order.output
            && (libc::dup2(out, libc::STDOUT_FILENO) < 0 || libc::dup2(err, libc::STDERR_FILENO) < 0)
        {
            return (Stage::Output, errno());
        }
        if let Some((from, to)) = order.line
            && (if from == to { libc::fcntl(from, libc::F_SETFD, 0) } else { libc::dup2(from, to) }) < 0
        {
            return (Stage::Line, errno());
        }
        if let Some(score) = order.oom_score
            && let Err(error) = write_oom_score(&score.text)
            && score.asked
        {
            return (Stage::OomScore, error);
        }
        for (resource, limit) in order.limits {
            if let Err(error) = exchange_limit(*resource, Some(limit), None) {
                return (Stage::Limit(*resource), error);
            }
        }
        if let Some(nice) = order.nice
            && libc::setpriority(libc::PRIO_PROCESS, 0, nice) < 0
        {
            return (Stage::Nice, errno());
        }
        if let Some(umask) = order.umask {
            libc::umask(umask);
        }
        if let Some(ids) = order.ids
            && let Err(failed) = become_user(ids)
        {
            return failed;
        }
        // Takes nothing away from the steps here, only from the exec and what follows (prctl(2)).
        let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0); // read as words, whatever they are here
        if order.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) < 0 {
            return (Stage::Privileges, errno());
        }
        // After the change of user, which clears it (prctl(2)).
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            return (Stage::Parent, errno());
        }
        if libc::getppid() != order.parent {
            libc::_exit(127); // the daemon died before the request above could hold (R10)
        }
        if !order.workdir.is_null() && libc::chdir(order.workdir) < 0 {
            return (Stage::Workdir, errno());
        }
        set_mask(&NO_SIGNALS, None);
        (Stage::Exec, execute(order))
    }
}

/// Chooses how readily the kernel kills this process. Of processes that share memory it is the child's alone, as long
/// as it is between vfork(2) and exec.
fn write_oom_score(text: &str) -> Result<(), c_int> {
    // SAFETY: open(2), write(2) and close(2) with a path and bytes that live longer than the calls.
    unsafe {
        let file = libc::open(OOM_SCORE.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return Err(errno());
        }
        let written = libc::write(file, text.as_ptr().cast(), text.len());
        let error = errno();
        libc::close(file);
        if written < 0 { Err(error) } else { Ok(()) }
    }
}

/// Groups, group, user, capabilities: in this order, as each takes away the right to the one before.
fn become_user(ids: Ids<'_>) -> Result<(), (Stage, c_int)> {
    let result = |stage, result: libc::c_long| if result < 0 { Err((stage, errno())) } else { Ok(()) };
    // SAFETY: setgroups(2), setresgid(2), setresuid(2) and capset(2) with numbers and lists that live longer than the calls. The
    // raw calls, since the library's speak to all threads of the process that it believes to be in.
    unsafe {
        if let Some(groups) = ids.groups {
            result(Stage::Groups, libc::syscall(SET_GROUPS, groups.len(), groups.as_ptr()))?;
        }
        result(Stage::Group, libc::syscall(SET_GID, ids.gid, ids.gid, ids.gid))?;
        result(Stage::User, libc::syscall(SET_UID, ids.uid, ids.uid, ids.uid))?;
        if ids.keeps_capabilities {
            return Ok(());
        }
        // The change of user leaves the inheritable ones, and all of them to who was not root before (capabilities(7)).
        let header: [u32; 2] = [CAPABILITIES_VERSION, 0];
        let none = [0_u32; 6]; // two times effective, permitted, inheritable; with the last go the ambient ones
        result(Stage::Capabilities, libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()))
    }
}

/// _LINUX_CAPABILITY_VERSION_3 of capset(2): sets of 64 bits.
const CAPABILITIES_VERSION: u32 = 0x2008_0522;

/// On some machines the oldest calls of these names take numbers of 16 bits.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SET_GROUPS: libc::c_long = libc::SYS_setgroups;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SET_GID: libc::c_long = libc::SYS_setresgid;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SET_UID: libc::c_long = libc::SYS_setresuid;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SET_GROUPS: libc::c_long = libc::SYS_setgroups32;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SET_GID: libc::c_long = libc::SYS_setresgid32;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SET_UID: libc::c_long = libc::SYS_setresuid32;

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
unsafe fn execute(order: &Order<'_>) -> c_int {
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

/// A pipe for a line: where it is read, without ever waiting, where it is written, and under which number that is given.
fn line(number: u16) -> io::Result<(OwnedFd, OwnedFd, RawFd)> {
    let (read, write) = io::pipe()?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read.into(), write.into(), number.into()))
}

/// Whom to become. Who is that user already changes nothing of its groups, for which it would need rights.
fn ids(account: &Account) -> Ids<'_> {
    let is_itself = account.uid == nix::unistd::geteuid().as_raw() && account.gid == nix::unistd::getegid().as_raw();
    let groups = (account.uid == 0 || !is_itself).then_some(account.groups.as_slice());
    Ids { uid: account.uid, gid: account.gid, groups, keeps_capabilities: account.uid == 0 || is_itself }
}

/// A limit as the kernel counts, on every machine: struct rlimit64 of prlimit(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct KernelLimit {
    soft: u64,
    hard: u64,
}

/// No limit, for the kernel.
const UNLIMITED: u64 = u64::MAX;

impl From<Limit> for KernelLimit {
    fn from(limit: Limit) -> Self {
        KernelLimit { soft: limit.soft.unwrap_or(UNLIMITED), hard: limit.hard.unwrap_or(UNLIMITED) }
    }
}

/// Sets a limit of this process, and reads the one before.
fn exchange_limit(resource: Resource, new: Option<&KernelLimit>, old: Option<&mut KernelLimit>) -> Result<(), c_int> {
    let (new, old) = (new.map_or(ptr::null(), ptr::from_ref), old.map_or(ptr::null_mut(), ptr::from_mut));
    // SAFETY: prlimit(2) reads and writes sixteen bytes at these addresses. The raw call, whose numbers have 64 bits on
    // every machine.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, number_of(resource), new, old) };
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// The daemon's own hard limit, in words.
fn hard_limit(resource: Resource) -> Option<String> {
    let mut limit = KernelLimit::default();
    exchange_limit(resource, None, Some(&mut limit)).ok()?;
    Some(if limit.hard == UNLIMITED { "unlimited".to_owned() } else { limit.hard.to_string() })
}

/// What the C library takes for the number of a resource.
#[cfg(target_env = "gnu")]
type ResourceNumber = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type ResourceNumber = c_int;

fn number_of(resource: Resource) -> ResourceNumber {
    match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}

fn own_oom_score() -> Option<i16> {
    fs::read_to_string(OsStr::from_bytes(OOM_SCORE.to_bytes())).ok()?.trim().parse().ok()
}

fn errno() -> c_int {
    // SAFETY: the address of the calling thread's errno is always valid (errno(3)).
    unsafe { *libc::__errno_location() }
}

/// The error's text without its number; one that is in words already stays as it is.
pub fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) if error.raw_os_error().is_some() => words.to_lowercase(),
        Some(_) | None => text,
    }
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

#[cfg(test)]
mod tests {
    use nix::sys::prctl;
    use ppm_core::attributes::User;
    use ppm_core::probe::Voice;
    use ppm_core::spec::Command;

    use super::*;

    /// Else nobody but root could look into the daemon any more, and no core of it be written.
    #[test]
    fn r8_a_start_as_another_user_does_not_hide_the_daemons_memory() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can become somebody else");
            return;
        }
        let user = Some(Box::new(User::parse("65534:65534").unwrap()));
        let command =
            Command { path: "/bin/true".to_owned(), attributes: Attributes { user, ..Attributes::default() }, ..Command::default() };
        let launch = Launch {
            name: "svc".to_owned(),
            command,
            logger: None,
            stdin: Stdin::Null,
            voice: Voice::default(),
            awaits: None,
            told: Vec::new(),
        };
        let mut spawner = Spawner::new(std::iter::empty(), None, Terminal::None).unwrap();
        prctl::set_dumpable(true).unwrap();
        let Pid(pid) = spawner.spawn(&launch, Cause::Request, None, None, None).unwrap().pid;
        assert_eq!(prctl::get_dumpable(), Ok(true));
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    }
}
