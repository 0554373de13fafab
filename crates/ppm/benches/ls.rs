//! How long `ppm ls` takes, the whole process from its start to its end, and how long while 500 services crash.
//!
//! `cargo bench -p ppm` prints a table and judges nothing: times are of this machine and this moment, so `true` of the
//! same moment stands beside them.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may as well stop")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// So often each is measured.
const TIMES: usize = 60;

/// How long the services crash before it is looked how the daemon answers.
const STORM: Duration = Duration::from_secs(2);

fn main() {
    println!("| the whole process, of {TIMES} | least | median | worst |\n| --- | ---: | ---: | ---: |");
    row("`true`", || Command::new("true"));
    for count in [1, 100, 1000] {
        let daemon = Daemon::start(&services(count, "[sleep, infinity]", ""));
        daemon.ppm(&["wait", "all", "--for", "running"]).output().unwrap();
        row(&format!("`ppm ls`, {count} services"), || daemon.ppm(&["ls"]));
        row(&format!("`ppm ls --json`, {count} services"), || daemon.ppm(&["ls", "--json"]));
    }
    let daemon = Daemon::start(&services(500, "'false'", ", restart: {policy: always, interval: 0s}"));
    std::thread::sleep(STORM);
    row("`ppm ls`, 500 services that crash at once and are started at once", || daemon.ppm(&["ls"]));
}

fn services(count: usize, command: &str, more: &str) -> String {
    (0..count).fold("services:\n".to_owned(), |mut text, number| {
        writeln!(text, "- {{name: service-{number}, command: {command}{more}}}").unwrap();
        text
    })
}

fn row(what: &str, mut command: impl FnMut() -> Command) {
    let mut times: Vec<Duration> = std::iter::repeat_with(|| {
        let mut command = command();
        let begun = Instant::now();
        assert!(command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success());
        begun.elapsed()
    })
    .take(TIMES)
    .collect();
    times.sort();
    println!("| {what} | {:.2?} | {:.2?} | {:.2?} |", times[0], times[TIMES / 2], times[TIMES - 1]);
}

struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(config: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ppm.yml");
        fs::write(&file, config).unwrap();
        let mut daemon = ppm(folder.path());
        daemon.args(["daemon", "--config"]).arg(&file).env("PPM_LOG", "error").stdin(Stdio::null()).stdout(Stdio::null());
        let daemon = Daemon { child: daemon.spawn().unwrap(), folder };
        while !daemon.ppm(&["version", "--json"]).output().unwrap().stdout.windows(6).any(|text| text == b"\"pid\":") {
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn ppm(&self, args: &[&str]) -> Command {
        let mut command = ppm(self.folder.path());
        command.args(args);
        command
    }
}

fn ppm(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ppm"));
    command.env("PPM_SOCKET", folder.join("socket"));
    command
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.ppm(&["shutdown"]).output().unwrap();
        self.child.wait().unwrap();
    }
}
