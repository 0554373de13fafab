//! The daemon's figures: footprint, idle cost, start-up, restart, file monitoring. Prints a table; judges nothing but the budgets.
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
const BUDGET_SERVICE: u64 = 3072;

/// A tree of this many folders, with two files each.
const FOLDERS: u64 = 10_000;
const EXCLUDED: u64 = 200_000;
const WRITES: usize = 20;
/// From the word that watching begins to all folders being watched.
const BUDGET_WALK: Duration = Duration::from_secs(1);
/// PSS more than before, in KiB.
const BUDGET_TREE: u64 = 14 << 10;
/// From a write to the start that follows from it.
const BUDGET_REACTION: Duration = Duration::from_millis(250);
/// Of the processor, for the files in an excluded folder.
const BUDGET_EXCLUDED: Duration = Duration::from_millis(20);

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
    if watching() && within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What it costs to watch a large tree. Whether that is within the budgets.
fn watching() -> bool {
    let tree = tempfile::tempdir().unwrap();
    for folder in 0..FOLDERS {
        let path = tree.path().join(format!("{}/{folder}", folder % 100));
        fs::create_dir_all(&path).unwrap();
        for file in ["one", "two"] {
            fs::write(path.join(file), "some content").unwrap();
        }
    }
    let excluded = tree.path().join("node_modules");
    fs::create_dir(&excluded).unwrap();
    let service = |name: &str| json!({"name": name, "command": ["sleep", "infinity"]});
    let mut watcher = service("watcher");
    watcher["watch"] = json!(tree.path());
    watcher["autostart"] = json!(false);
    let config = json!({
        "watch_restart_interval": 0,
        "services": [watcher, {"name": "other", "command": ["sleep", "infinity"], "restart": {"policy": "always", "interval": "0ms"}}],
    });
    let daemon = Daemon::with(&config);
    let before = daemon.pss();

    let mut client = daemon.client();
    client.call("events", &json!({"last": 0, "follow": true}));
    let other = daemon.client().call("list", &json!({"services": ["other"]}))[0]["pid"].as_i64().unwrap();
    let begun = Instant::now();
    daemon.client().call("start", &json!({"services": ["watcher"]}));
    let meanwhile = client.kill_and_wait(other, "other");
    let watched = daemon.client().call("watched", &json!({"services": ["watcher"]}))["services"][0]["paths"][0].take();
    let walk = begun.elapsed();
    let folders = watched["folders"].as_u64().unwrap();
    assert!(folders >= FOLDERS && watched["files"] == FOLDERS * 2, "{watched}");
    let tree_pss = daemon.pss().saturating_sub(before);

    let mut reactions: Vec<Duration> = (0..WRITES)
        .map(|number| {
            let begun = Instant::now();
            fs::write(tree.path().join("42/42/one"), number.to_string()).unwrap();
            client.wait_for_start("watcher");
            begun.elapsed()
        })
        .collect();
    reactions.sort();
    let (median, worst) = (reactions[WRITES / 2], reactions[WRITES - 1]);

    std::thread::sleep(Duration::from_secs(1));
    let processor = daemon.processor();
    for number in 0..EXCLUDED {
        fs::write(excluded.join(number.to_string()), "").unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    let processor = daemon.processor() - processor;

    println!("| {folders} folders, {} files, until all are watched | {walk:.0?} | {BUDGET_WALK:.0?} |", FOLDERS * 2);
    println!("| kill -9 of another service to its next start meanwhile | {meanwhile:.2?} | |");
    println!("| PSS for them | {tree_pss} KiB | {BUDGET_TREE} KiB |");
    println!("| write to the next start, median of {WRITES} | {median:.0?} | {BUDGET_REACTION:.0?} |");
    println!("| write to the next start, worst | {worst:.0?} | |");
    println!("| processor for {EXCLUDED} files in an excluded folder | {processor:.1?} | {BUDGET_EXCLUDED:.0?} |");
    walk <= BUDGET_WALK && tree_pss <= BUDGET_TREE && median <= BUDGET_REACTION && processor <= BUDGET_EXCLUDED
}

struct Daemon {
    child: Child,
    begun: Instant,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(services: usize) -> Daemon {
        let service =
            |n| json!({"name": format!("s{n}"), "command": ["sleep", "infinity"], "restart": {"policy": "always", "interval": "0ms"}});
        Daemon::with(&json!({"services": (0..services).map(service).collect::<Vec<_>>()}))
    }

    fn with(config: &Value) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.yml"), config.to_string()).unwrap();
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ppm-daemon"))
            .env("PPM_CONFIG", folder.path().join("config.yml"))
            .env("PPM_SOCKET", folder.path().join("socket"))
            .env("PPM_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        while UnixStream::connect(folder.path().join("socket")).is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "the daemon has ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        Daemon { child, begun, folder }
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
        let mut times: Vec<Duration> = (0..).zip(&pids).take(KILLS).map(|(n, pid)| client.kill_and_wait(*pid, &format!("s{n}"))).collect();
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

    /// What all its threads have used of the processor.
    fn processor(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap();
        let used = tasks.map(|task| of(task.unwrap()).split(' ').next().unwrap().parse::<u64>().unwrap());
        Duration::from_nanos(used.sum())
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

    fn kill_and_wait(&mut self, pid: i64, name: &str) -> Duration {
        let begun = Instant::now();
        let killed = nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), nix::sys::signal::Signal::SIGKILL);
        killed.unwrap();
        self.wait_for_start(name);
        begun.elapsed()
    }

    fn wait_for_start(&mut self, name: &str) {
        while !matches!(&self.next()["params"], event if event["event"] == "started" && event["service"] == name) {}
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}
