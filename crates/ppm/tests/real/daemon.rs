//! A real daemon, and `ppm` told to talk to it.
//!
//! Each has a folder of its own, in which its socket and its files are; nothing outside of it is touched.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A daemon in a folder of its own.
pub struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Returns when it listens: it says so in its first line.
    pub fn start(config: &Path) -> Daemon {
        Daemon::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// The same with this text as `ppm.yml` in its folder.
    pub fn with(config: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.yml");
        std::fs::write(&path, config).unwrap();
        Daemon::start_in(folder, &path)
    }

    /// Its folder, which is the current one of its commands.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `ppm` does with these arguments, as typed into a shell.
    pub fn ppm(&self, args: &str) -> Done {
        let output = command(Path::new("sh"), self.folder.path()).args(["-c", &format!("ppm {args}")]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// `ppm` with these arguments, as typed into a shell, not yet started.
    pub fn command(&self, args: &str) -> Command {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_ppm")), self.folder.path());
        command.args(shell_words::split(args).unwrap());
        command
    }

    fn start_in(folder: tempfile::TempDir, config: &Path) -> Daemon {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_ppm")), folder.path());
        let mut child = command.arg("daemon").arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("socket"), "{first}");
        std::thread::spawn(move || lines.for_each(drop));
        Daemon { child, folder }
    }

    /// What a shell prints for this line: both streams, as at a terminal.
    pub fn run(&self, line: &str) -> String {
        let output = command(Path::new("sh"), self.folder.path()).args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where a test failed the daemon still runs; services die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, folder: &Path) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_ppm")).parent().unwrap();
    let path = std::env::join_paths([programs, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path).env("HOME", folder).env("PPM_SOCKET", folder.join("socket")).env("TZ", "UTC");
    command.current_dir(folder).stdin(Stdio::null());
    command
}
