//! A daemon that has too little of something: it goes on, or says why not, and heals when there is more.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Daemon, Setup, open_pipe, pid_of, shell, until};

/// What must work whatever there is too little of.
fn supervises(daemon: &Daemon) {
    let row = daemon.wait("svc", "running");
    kill(pid_of(&row), Signal::SIGKILL).unwrap();
    until("it runs again", || {
        let now = daemon.row("svc");
        (now["status"] == "running" && now["pid"] != row["pid"]).then_some(())
    });
}

fn with_service(setup: Setup) -> Daemon {
    setup.services(&[shell("svc", "exec sleep 1000", &json!({"restart": {"interval": "0s"}}))]).start()
}

#[test]
fn r49_with_16_open_files_a_crowd_that_says_nothing_locks_nobody_out() {
    let close_what_was_handed_down = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";
    let daemon = with_service(Setup::new().through_shell(&format!("{close_what_was_handed_down}; ulimit -n 16")));
    let crowd: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&daemon.socket).unwrap()).collect();
    supervises(&daemon);
    assert_eq!(daemon.tell("svc", "restart")["status"], "running");
    drop(crowd);
    supervises(&daemon);
    assert!(!daemon.stderr().contains("oo many"), "{}", daemon.stderr());
}

/// Its limit is lowered below what is open already, so that nothing at all can be opened.
#[test]
fn r49_who_connects_while_no_file_can_be_opened_is_served_when_one_can() {
    let daemon = with_service(Setup::new());
    let limit = |limit: &str| {
        let status = Command::new("prlimit").args(["--pid", &daemon.pid.to_string(), &format!("--nofile={limit}:")]).status();
        assert!(status.unwrap().success());
    };
    let mut idle = daemon.client();
    idle.call("hello", &json!({}));
    limit("5");
    let mut waiting = Client::connect(&daemon.socket).unwrap();
    let call = waiting.send("hello", &json!({}));
    assert!(idle.is_closed(), "who is idle goes first");
    limit("500");
    assert_eq!(waiting.reply(call).unwrap()["protocol"], 1);
    supervises(&daemon);
}

#[test]
fn r49_a_start_that_cannot_open_its_files_waits_and_heals() {
    let setup = Setup::new();
    fs::write(setup.path("web.env"), "A=1\n").unwrap();
    let daemon =
        setup.services(&[shell("svc", "exec sleep 1000", &json!({"env_file": "web.env", "restart": {"interval": "10ms"}}))]).start();
    daemon.wait("svc", "running");
    let mut client = daemon.client();
    client.call("hello", &json!({}));
    let limit = |limit: &str| {
        let status = Command::new("prlimit").args(["--pid", &daemon.pid.to_string(), &format!("--nofile={limit}:")]).status();
        assert!(status.unwrap().success());
    };
    limit("5");
    kill(pid_of(&client.call("list", &json!({}))[0]), Signal::SIGKILL).unwrap();
    let reason = until("a start that fails", || {
        let row = client.call("list", &json!({}))[0].clone();
        row["reason"].as_str().filter(|reason| reason.contains("web.env")).map(str::to_owned)
    });
    assert!(reason.starts_with("env_file: too many open files: "), "{reason}");
    limit("500");
    daemon.wait("svc", "running");
}

#[test]
fn r8_the_daemon_takes_more_open_files_for_itself_and_gives_its_services_what_it_was_given() {
    let daemon = Setup::new().through_shell("ulimit -S -n 100; ulimit -H -n 900").start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid)).unwrap();
    let own: Vec<&str> = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(own[3..5], ["900", "900"]);
    assert_eq!(daemon.output_of("ulimit -S -n; ulimit -H -n"), "100\n900\n");
}

#[test]
fn r49_too_few_open_files_to_begin_with_are_told() {
    for limit in 4..13 {
        let mut setup = Setup::new().through_shell(&format!("ulimit -n {limit}"));
        setup.command.env_remove("PATH");
        let (code, said) = setup.fail();
        assert_eq!(code, 1, "{said}");
        let begin = format!("error: at most {limit} files may be open at a time; the daemon needs 12 more than are, there is room for ");
        assert!(said.starts_with(&begin) && said.contains("\n  hint: raise the limit"), "{said}");
    }
}

#[test]
fn r30_a_daemon_that_waits_for_its_configuration_can_be_ended() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let setup = Setup::new();
        mkfifo(&setup.path("fifo"), Mode::S_IRWXU).unwrap();
        let mut daemon = setup.env("PPM_CONFIG", "fifo").launch();
        until("it reads", || daemon.stderr().contains("reading the configuration from fifo, which is no regular file").then_some(()));
        daemon.signal(signal);
        assert_eq!(daemon.exit_code(), 0);
    }
}

#[test]
fn a_configuration_may_come_through_a_pipe() {
    let setup = Setup::new();
    mkfifo(&setup.path("fifo"), Mode::S_IRWXU).unwrap();
    let daemon = setup.env("PPM_CONFIG", "fifo").launch();
    let mut pipe = open_pipe(&daemon.path("fifo"));
    pipe.write_all(b"services: [{name: svc, command: sleep 1000}]\n").unwrap();
    drop(pipe);
    until("the daemon answers", || Client::connect(&daemon.socket).ok());
    assert_eq!(daemon.wait("svc", "running")["status"], "running");
}

/// A control group, removed with the test that made it, which must have ended its daemon by then.
pub struct Group(pub PathBuf);

impl Group {
    /// With little memory; None, and a word about it, where none can be made.
    fn with_memory(bytes: usize) -> Option<Group> {
        let name = format!("ppm-test-{}-{bytes}", std::process::id());
        let versions = [
            ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]),
            ("/sys/fs/cgroup", ["memory.max", "memory.swap.max"]),
        ];
        for (root, [limit, swap]) in versions {
            let group = Group(Path::new(root).join(&name));
            if fs::create_dir(&group.0).is_err() {
                continue;
            }
            if fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                let swap_limit = if swap == "memory.swap.max" { 0 } else { bytes };
                let _ = fs::write(group.0.join(swap), swap_limit.to_string()); // there need not be any
                return Some(group);
            }
        }
        eprintln!("skipped: no control group for memory can be made here");
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn r47_who_was_killed_because_memory_was_short_is_told_from_who_was_killed_otherwise() {
    let Some(group) = Group::with_memory(48 << 20) else { return };
    let setup = Setup::new().through_shell(&format!("echo $$ > {}/cgroup.procs", group.0.display()));
    let hog = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let services =
        [shell("hog", hog, &json!({"restart": "never"})), shell("svc", "exec sleep 1000", &json!({"restart": {"interval": "0s"}}))];
    let mut daemon = setup.services(&services).start();
    let row = until("the end of the hog", || Some(daemon.row("hog")).filter(|row| !row["exit"].is_null()));
    assert_eq!((&row["exit"], &row["reason"]), (&json!({"signal": "SIGKILL"}), &json!("killed by the kernel: out of memory")));
    let events = daemon.call("why", &json!({"services": ["hog"]}))[0]["events"].to_string();
    assert!(events.contains("killed by the kernel: out of memory"), "{events}");

    kill(pid_of(&daemon.wait("svc", "running")), Signal::SIGKILL).unwrap();
    let row = until("it runs again", || Some(daemon.row("svc")).filter(|row| row["restarts"] == 1));
    assert_eq!(row["reason"], "restarted after killed by SIGKILL");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0, "the daemon itself has been spared");
}
