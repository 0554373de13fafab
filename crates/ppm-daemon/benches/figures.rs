//! The daemon's figures: footprint, idle cost, start-up, restart. Prints a table; judges nothing but the budgets.
//!
//! `cargo bench -p ppm-daemon` prints them; a budget that is exceeded (docs/performance.md) makes it exit 1. Times are of
//! this machine and this moment: compare them only with others of the same run.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may as well stop")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MANY: usize = 1000;
const KILLS: usize = 100;
const IDLE: Duration = Duration::from_secs(5);

/// PSS of a daemon without services, in KiB.
const BUDGET_EMPTY: u64 = 1792;
/// PSS for each service, in bytes.
const BUDGET_SERVICE: u64 = 3584;

fn main() -> ExitCode {
    let empty = Daemon::start(0);
    let pss_empty = empty.pss();
    let switches_empty = empty.switches_while_idle();
    drop(empty);

    let many = Daemon::start(MANY);
    let started = many.wait_for_all();
    let pss_many = many.pss();
    let switches_many = many.switches_while_idle();
    let (median, worst) = many.restarts();
    let list = many.list_time();
    drop(many);

    let each = (pss_many.saturating_sub(pss_empty)) * 1024 / MANY as u64;
    println!("| figure | value | budget |\n| --- | ---: | ---: |");
    println!("| PSS, 0 services | {pss_empty} KiB | {BUDGET_EMPTY} KiB |");
    println!("| PSS, each service of {MANY} | {each} B | {BUDGET_SERVICE} B |");
    println!("| wake-ups in {} s, 0 services | {switches_empty} | 0 |", IDLE.as_secs());
    println!("| wake-ups in {} s, {MANY} services | {switches_many} | 0 |", IDLE.as_secs());
    println!("| exec of the daemon to {MANY} services running | {started:.1?} | |");
    println!("| kill -9 to the next start, median of {KILLS} | {median:.2?} | |");
    println!("| kill -9 to the next start, worst | {worst:.2?} | |");
    println!("| `list` of {MANY} services, request to reply | {list:.2?} | |");
    let within = pss_empty <= BUDGET_EMPTY && each <= BUDGET_SERVICE && switches_empty == 0 && switches_many == 0;
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Daemon {
    child: Child,
    begun: Instant,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(services: usize) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let service =
            |n| json!({"name": format!("s{n}"), "command": ["sleep", "infinity"], "restart": {"policy": "always", "interval": "0ms"}});
        let config = json!({"services": (0..services).map(service).collect::<Vec<_>>()});
        fs::write(folder.path().join("config.yml"), config.to_string()).unwrap();
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_ppm-daemon"))
            .env("PPM_CONFIG", folder.path().join("config.yml"))
            .env("PPM_SOCKET", folder.path().join("socket"))
            .env("PPM_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon { child, begun, folder };
        while UnixStream::connect(daemon.folder.path().join("socket")).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon
    }

    fn client(&self) -> Client {
        Client::connect(&self.folder.path().join("socket"))
    }

    fn wait_for_all(&self) -> Duration {
        self.client().call("wait", &json!({"services": ["all"], "for": "running"}));
        self.begun.elapsed()
    }

    /// In KiB, when it has come to rest, and given back what the start took.
    fn pss(&self) -> u64 {
        std::thread::sleep(Duration::from_secs(6));
        field(&self.proc("smaps_rollup"), "Pss:")
    }

    fn switches_while_idle(&self) -> u64 {
        std::thread::sleep(Duration::from_millis(500));
        let switches = || field(&self.proc("status"), "voluntary_ctxt_switches:");
        let before = switches();
        std::thread::sleep(IDLE);
        switches() - before
    }

    /// The time from kill(1) of a service to the daemon's word that it runs again: median and worst.
    fn restarts(&self) -> (Duration, Duration) {
        let mut client = self.client();
        let rows = client.call("list", &json!({}));
        let pids: Vec<i64> = rows.as_array().unwrap().iter().map(|row| row["pid"].as_i64().unwrap()).collect();
        client.call("events", &json!({"last": 0, "follow": true}));
        let mut times: Vec<Duration> = pids.iter().take(KILLS).map(|pid| client.kill_and_wait(*pid)).collect();
        times.sort();
        (times[times.len() / 2], times[times.len() - 1])
    }

    fn list_time(&self) -> Duration {
        let mut client = self.client();
        client.call("list", &json!({}));
        let begun = Instant::now();
        client.call("list", &json!({}));
        begun.elapsed()
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.client().call("shutdown", &json!({}));
        self.child.wait().unwrap();
    }
}

struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn connect(path: &Path) -> Client {
        Client { stream: BufReader::new(UnixStream::connect(path).unwrap()) }
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
        self.next()["result"].take()
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn kill_and_wait(&mut self, pid: i64) -> Duration {
        let begun = Instant::now();
        let killed = nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), nix::sys::signal::Signal::SIGKILL);
        killed.unwrap();
        while self.next()["params"]["event"] != "started" {}
        begun.elapsed()
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}
