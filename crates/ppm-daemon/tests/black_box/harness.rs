//! A daemon in a folder of its own, and everything that descends from it.
//!
//! All processes of a test carry its mark in their environment, so that none can be left unnoticed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Events};

/// How long a failure takes to be seen; nothing that works waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

const PROGRAM: &str = env!("CARGO_BIN_EXE_ppm-daemon");

/// The variable that marks the processes of one test.
const MARK: &str = "PPM_TEST";

/// Looks until there is something to be seen.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

// Shells with a trap wait in short sleeps in the foreground: a background one that was just being forked when its group
// got the signal would not be hit by it, and then be waited for.

/// A service that writes `ready.NAME`, and asked to end cleans up until there is a file `go`, then writes `cleaned.NAME`.
pub const TIDY: &str = "\
    trap 'while [ ! -e go ]; do sleep 0.02; done; echo > cleaned.$PPM_SERVICE; exit 0' TERM
    echo > ready.$PPM_SERVICE; while :; do sleep 0.02; done";

/// A service that writes `ready.NAME` and cannot be asked to end.
pub const DEAF: &str = "trap '' TERM; echo > ready.$PPM_SERVICE; while :; do sleep 1000; done";

/// A daemon that is not yet started. Its folder is also its working folder and its home.
pub struct Setup {
    pub command: Command,
    pub folder: TempDir,
    pub socket: PathBuf,
    main: Vec<String>,
    mark: String,
    launcher: Launcher,
}

/// What stands between the started process and the daemon.
#[derive(Clone, Copy, PartialEq)]
enum Launcher {
    /// Nothing, or what becomes the daemon.
    None,
    /// The daemon's parent.
    Unshare,
}

impl Setup {
    pub fn new() -> Setup {
        Setup::with(Command::new(PROGRAM), Launcher::None)
    }

    /// As process 1 of its own namespace, as in a container; None, and a word about it, where that is not permitted.
    pub fn as_process_one() -> Option<Setup> {
        Setup::in_a_namespace(&["--pid", "--fork", "--mount-proc", "--kill-child"])
    }

    /// The same, but /proc is that of the namespace outside.
    pub fn with_foreign_proc() -> Option<Setup> {
        Setup::in_a_namespace(&["--pid", "--fork", "--kill-child"])
    }

    fn in_a_namespace(how: &[&str]) -> Option<Setup> {
        let mut command = Command::new("unshare");
        command.args(how);
        if !may_unshare(how) {
            return None;
        }
        command.arg(PROGRAM);
        Some(Setup::with(command, Launcher::Unshare))
    }

    /// With mounts of its own, which a shell makes; None, and a word about it, where that is not permitted.
    pub fn with_mounts(script: &str) -> Option<Setup> {
        const UNSHARE: [&str; 3] = ["--mount", "--propagation", "private"];
        Setup::through_namespace(&UNSHARE, &format!("set -e; {script}"))
    }

    /// In namespaces of its own, made as unshare(1) is told, in which a shell does something before it becomes the daemon. None,
    /// and a word about it, where that is not permitted.
    pub fn through_namespace(how: &[&str], script: &str) -> Option<Setup> {
        if !may_unshare(how) {
            return None;
        }
        let mut setup = Setup::new().through_shell(script);
        let shell = std::mem::replace(&mut setup.command, Command::new("unshare"));
        setup.command.args(how).arg(shell.get_program()).args(shell.get_args());
        Setup::prepare(&mut setup.command, &setup.folder, &setup.mark);
        Some(setup)
    }

    /// Run by this user, to whom its folder belongs.
    pub fn run_by(mut self, uid: u32) -> Setup {
        self.command.uid(uid).gid(uid);
        std::os::unix::fs::chown(self.folder.path(), Some(uid), Some(uid)).unwrap();
        self
    }

    /// Lets a shell do something before it becomes the daemon. Must come before arguments.
    pub fn through_shell(mut self, script: &str) -> Setup {
        let program = std::mem::replace(&mut self.command, Command::new("/bin/sh"));
        self.command.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\"")).arg(program.get_program());
        Setup::prepare(&mut self.command, &self.folder, &self.mark);
        self
    }

    fn with(mut command: Command, launcher: Launcher) -> Setup {
        let folder = tempfile::Builder::new().prefix("ppm-test-").tempdir().unwrap();
        let mark = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        Setup::prepare(&mut command, &folder, &mark);
        let socket = folder.path().join("ppm.sock");
        Setup { command, folder, socket, main: Vec::new(), mark, launcher }
    }

    fn prepare(command: &mut Command, folder: &TempDir, mark: &str) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env(MARK, mark).env("HOME", folder.path()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(open(folder, "stdout")).stderr(open(folder, "stderr"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Setup {
        self.command.env(key, value);
        self
    }

    /// With this configuration; JSON is YAML too.
    pub fn config(self, config: &Value) -> Setup {
        self.config_text(&config.to_string())
    }

    pub fn config_text(mut self, text: &str) -> Setup {
        let path = self.path("config.yml");
        fs::write(&path, text).unwrap();
        self.command.arg("--config").arg(path);
        self
    }

    /// With these services.
    pub fn services(self, services: &[Value]) -> Setup {
        self.config(&json!({"services": services}))
    }

    /// With this shell script as its command.
    pub fn main(self, script: &str) -> Setup {
        self.main_words(&["/bin/sh", "-c", script])
    }

    /// With this command.
    pub fn main_words(mut self, words: &[&str]) -> Setup {
        self.main = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Lets the daemon's process do something before it becomes the daemon.
    pub fn before_exec(mut self, act: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Setup {
        // SAFETY: std::os::unix::process::CommandExt::pre_exec. All that is given here calls nothing but system calls.
        unsafe { self.command.pre_exec(act) };
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Daemon {
        self.launch().answering()
    }

    /// Starts it without telling it on the command line where its socket is to be.
    pub fn start_without_flag(mut self, socket: &Path) -> Daemon {
        let child = self.command.spawn().unwrap();
        socket.clone_into(&mut self.socket);
        self.watch(child).answering()
    }

    /// Starts it and waits for its early end: the exit code, and what it says.
    pub fn fail(self) -> (i32, String) {
        let mut daemon = self.launch();
        (daemon.exit_code(), daemon.stderr())
    }

    /// Starts it and does not wait for anything.
    pub fn launch(mut self) -> Daemon {
        self.command.arg("--socket").arg(&self.socket);
        if !self.main.is_empty() {
            self.command.arg("--").args(&self.main);
        }
        let child = self.command.spawn().unwrap();
        self.watch(child)
    }

    fn watch(self, child: Child) -> Daemon {
        let pid = Pid::from_raw(child.id().cast_signed());
        Daemon { pid, child, socket: self.socket, folder: self.folder, mark: self.mark, launcher: self.launcher }
    }
}

/// A service that runs a shell script, with these further keys.
pub fn shell(name: &str, script: &str, more: &Value) -> Value {
    let mut service = json!({"name": name, "command": ["/bin/sh", "-c", script]});
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service
}

fn open(folder: &TempDir, name: &str) -> File {
    File::options().create(true).append(true).open(folder.path().join(name)).unwrap()
}

/// A daemon that was started. Dropped, it is ended, and nothing of it may be left.
pub struct Daemon {
    /// As seen from here.
    pub pid: Pid,
    pub socket: PathBuf,
    child: Child,
    folder: TempDir,
    mark: String,
    launcher: Launcher,
}

impl Daemon {
    pub fn start() -> Daemon {
        Setup::new().start()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }

    pub fn events(&self) -> Events {
        Events::follow(self.client())
    }

    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.client().call(method, params)
    }

    pub fn refused(&self, method: &str, params: &Value) -> Value {
        self.client().refused(method, params)
    }

    /// Adds a shell script as a service that is never restarted, and returns its row.
    pub fn add(&self, name: &str, script: &str) -> Value {
        self.add_with(name, script, &json!({"restart": "never"}))
    }

    /// Adds a shell script with these further parameters.
    pub fn add_with(&self, name: &str, script: &str, params: &Value) -> Value {
        self.call("add", &shell(name, script, params))["services"][0].clone()
    }

    /// Does this to one service, for which it must not fail, and returns its row.
    pub fn tell(&self, name: &str, method: &str) -> Value {
        let mut changed = self.call(method, &json!({"services": [name]}));
        assert_eq!(changed["failed"], json!([]), "{method} {name}");
        changed["services"][0].take()
    }

    /// Waits until the service has come so far, and returns its row.
    pub fn wait(&self, name: &str, goal: &str) -> Value {
        self.call("wait", &json!({"services": [name], "for": goal}))["services"][0].clone()
    }

    pub fn row(&self, name: &str) -> Value {
        self.call("list", &json!({"services": [name]}))[0].clone()
    }

    /// What a service writes that runs this script to its end.
    pub fn output_of(&self, script: &str) -> String {
        let name = format!("output-{}", fs::read_dir(self.folder.path()).unwrap().count());
        self.add(&name, &format!("exec > {name}; {script}"));
        self.wait(&name, "stopped");
        fs::read_to_string(self.path(&name)).unwrap()
    }

    /// The whole lines that some service writes into this file, once there is one.
    pub fn lines_in(&self, name: &str) -> Vec<String> {
        until(&format!("a line in {name}"), || {
            let text = fs::read_to_string(self.path(name)).ok()?;
            text.ends_with('\n').then(|| text.lines().map(str::to_owned).collect())
        })
    }

    /// How much memory the daemon itself uses, in bytes.
    pub fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Adds a shell script with these further keys as `restart: never` and returns what it writes, or why it does not run.
    pub fn output_with(&self, script: &str, keys: &Value) -> Result<String, String> {
        let name = format!("output-{}", fs::read_dir(self.folder.path()).unwrap().count());
        let folder = self.folder.path().display();
        let mut service = shell(&name, &format!("exec 2>&1; {{ {script}; }} > {folder}/{name}"), &json!({"restart": "never"}));
        service.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        // Anybody may write it: who runs the service is up to the keys.
        fs::write(self.path(&name), "").unwrap();
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o666)).unwrap();
        self.reload(&json!({"services": [service]}));
        let row = until("its end", || Some(self.row(&name)).filter(|row| row["pid"].is_null() && row["status"] != "created"));
        let text = fs::read_to_string(self.path(&name)).unwrap();
        if row["exit"].is_null() { Err(row["reason"].as_str().unwrap().to_owned()) } else { Ok(text) }
    }

    /// Gives it this configuration, which must be the file that it was started with.
    pub fn reload(&self, config: &Value) {
        fs::write(self.path("config.yml"), config.to_string()).unwrap();
        let answer = self.call("reload", &json!({}));
        assert!(!answer.to_string().contains("error"), "{answer}");
    }

    /// Writes an empty file, for scripts that wait for it.
    pub fn touch(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("stderr")).unwrap()).into_owned()
    }

    /// The other end of its input, where that is a pipe; its end is the input's.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the daemon ends", || child.try_wait().unwrap())
    }

    /// Ends it in order, and returns its folder with what it wrote.
    pub fn ended(mut self) -> Daemon {
        self.call("shutdown", &json!({}));
        assert_eq!(self.exit_code(), 0, "{}", self.stderr());
        self
    }

    /// Waits for its end, which must be by exiting.
    pub fn exit_code(&mut self) -> i32 {
        let status = self.end();
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.stderr()))
    }

    /// Everything that carries the mark: the daemon, its services, and what descends from them.
    pub fn processes(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.mark);
        let is_marked = |process: &Process| {
            let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        Process::all().into_iter().filter(is_marked).collect()
    }

    /// Everything that carries the mark but the daemon and what it was started with.
    pub fn descendants(&self) -> Vec<Process> {
        let own = [self.pid.as_raw(), self.child.id().cast_signed()];
        self.processes().into_iter().filter(|process| !own.contains(&process.pid)).collect()
    }

    /// The main processes of services, and orphans: whose parent the daemon is.
    pub fn children(&self) -> Vec<i32> {
        self.descendants().into_iter().filter(|process| process.parent == self.pid.as_raw()).map(|process| process.pid).collect()
    }

    /// What the daemon has open.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        open.filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok()).collect()
    }

    fn answering(mut self) -> Daemon {
        until("the daemon answers", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.stderr());
            Client::connect(&self.socket).ok()
        });
        self.find_itself();
        self
    }

    /// Ends it, if it has not ended, and looks at what is left.
    fn end_well(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGQUIT);
            assert_eq!(self.exit_code(), 0, "{}", self.stderr());
        }
        let begin = Instant::now();
        while !self.processes().is_empty() {
            assert!(begin.elapsed() < PATIENCE, "left behind: {:?}", self.processes());
            std::thread::sleep(LOOK_AGAIN);
        }
        for word in ["a bug in ppm", "panicked"] {
            assert!(!self.stderr().contains(word), "{word}");
        }
    }

    /// Shows the last of what it said, and kills whatever there is: a test that failed leaves no more than others.
    fn end_anyhow(&mut self) {
        let lines: Vec<String> = self.stderr().lines().map(|line| line.chars().take(200).collect()).collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        for process in std::iter::repeat_with(|| self.processes()).take_while(|left| !left.is_empty()).take(100).flatten() {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }

    /// Under `unshare` the daemon is its only child.
    pub fn find_itself(&mut self) {
        if self.launcher == Launcher::Unshare {
            let started = self.child.id().cast_signed();
            let child = Process::all().into_iter().find(|process| process.parent == started).unwrap();
            self.pid = Pid::from_raw(child.pid);
        }
    }

    /// For tests that leave something behind on purpose.
    pub fn kill_descendants(&self) {
        for process in self.descendants() {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let fault = if std::thread::panicking() { None } else { catch_unwind(AssertUnwindSafe(|| self.end_well())).err() };
        if fault.is_some() || std::thread::panicking() {
            self.end_anyhow();
        }
        if let Some(fault) = fault {
            resume_unwind(fault);
        }
    }
}

/// The writing end of a named pipe, as soon as somebody reads it (fifo(7)).
pub fn open_pipe(path: &Path) -> File {
    let open = || File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).ok();
    until("somebody reads the pipe", open)
}

/// The main process that a row tells of.
pub fn pid_of(row: &Value) -> Pid {
    Pid::from_raw(row["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or_else(|| panic!("no process: {row}")))
}

/// A process as /proc shows it.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// As in proc(5): `S`, `T`, `Z`...
    pub state: char,
    pub name: String,
}

impl Process {
    pub fn all() -> Vec<Process> {
        let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(Process::find).collect()
    }

    pub fn find(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(')')?;
        let name = start.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        let state = fields.first()?.chars().next()?;
        Some(Process { pid, parent: number(1)?, group: number(2)?, session: number(3)?, state, name })
    }
}

/// Whether these namespaces may be had; says so where not.
pub fn may_unshare(how: &[&str]) -> bool {
    let may = Command::new("unshare").args(how).arg("true").output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: unshare is not permitted here");
    }
    may
}

/// A user without rights: nobody where the tests run as root, and where the program lies in no folder of root's alone.
pub fn other_user() -> Option<u32> {
    let may_pass = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can be somebody else");
    } else if let Some(barred) = Path::new(PROGRAM).ancestors().find(|path| !may_pass(path)) {
        eprintln!("skipped: somebody else may not enter {}", barred.display());
    } else {
        return Some(65534);
    }
    None
}
