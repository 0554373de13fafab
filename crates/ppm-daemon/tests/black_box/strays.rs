//! A service is all of its processes: those too that have left its group, its session, or its parents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process, Setup, pid_of, shell, until};

/// Ways out of a process group. Each writes `ready` when there is a process outside.
const ESCAPES: &[(&str, &str)] = &[
    ("a session of its own", "setsid sh -c 'echo > ready; exec sleep 1000' & wait"),
    ("a group of its own", "exec bash -c 'set -m; sleep 1000 & echo > ready; wait'"),
    ("forked twice", "(setsid sh -c 'echo > ready; exec sleep 1000' &); while :; do sleep 0.02; done"),
    ("deaf to hangups", "setsid nohup sh -c 'echo > ready; exec sleep 1000' >/dev/null 2>&1 & wait"),
    ("a tree of sessions", "setsid sh -c 'setsid sh -c \"setsid sleep 1000 & echo > ready; wait\" & wait' & wait"),
    ("in a session of its own and a group of its own there", "setsid bash -c 'set -m; sleep 1000 & echo > ready; wait' & wait"),
];

/// A daemon with this one service, once it is ready.
fn with(setup: Setup, script: &str, more: &Value) -> Daemon {
    let daemon = setup.services(&[shell("svc", script, more)]).start();
    daemon.lines_in("ready");
    daemon
}

fn setups() -> impl Iterator<Item = Setup> {
    [Some(Setup::new()), Setup::as_process_one()].into_iter().flatten()
}

/// The main process of the service, by its number as seen from here: in a namespace of its own it has another.
fn main_process(daemon: &Daemon) -> Pid {
    let inner = pid_of(&daemon.row("svc")).to_string();
    let is_it = |process: &Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        numbers.split_ascii_whitespace().next_back() == Some(&inner)
    };
    Pid::from_raw(daemon.descendants().into_iter().find(is_it).unwrap().pid)
}

#[test]
fn r21_a_stop_ends_whoever_left_the_group_however() {
    for (how, script) in ESCAPES {
        for setup in setups() {
            let daemon = with(setup, script, &json!({"stop": {"timeout": "10m"}}));
            daemon.tell("svc", "stop");
            assert!(daemon.descendants().is_empty(), "{how}: {:?}", daemon.descendants());
        }
    }
}

#[test]
fn r21_a_removal_ends_whoever_left_the_group() {
    for setup in setups() {
        let daemon = with(setup, ESCAPES[0].1, &json!({"stop": {"timeout": "10m"}}));
        daemon.tell("svc", "remove");
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
    }
}

/// Whoever is there of an earlier run writes it down.
fn restarts_alone(escape: &str, act: impl Fn(&Daemon)) {
    let script = format!("[ -e alive ] && echo overlap > overlap; {escape}");
    for setup in setups() {
        let daemon = with(setup, &script, &json!({"restart": {"policy": "always", "interval": "0s"}, "stop": {"timeout": "10m"}}));
        let mut events = daemon.events();
        for _ in 0..3 {
            daemon.lines_in("ready");
            fs::remove_file(daemon.path("ready")).unwrap();
            act(&daemon);
            events.until("svc", "exited");
            events.until("svc", "started");
        }
        daemon.lines_in("ready");
        daemon.tell("svc", "stop");
        assert!(!daemon.path("overlap").exists());
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
    }
}

/// It says good-bye, and takes its time for it.
const SLOW_STRAY: &str =
    "setsid sh -c \"trap 'sleep 0.1; rm alive; exit' TERM; echo > alive; echo > ready; while :; do sleep 0.02; done\" &";

#[test]
fn r24_a_restart_waits_for_whoever_left_the_group() {
    restarts_alone(&format!("{SLOW_STRAY} wait"), |daemon| drop(daemon.tell("svc", "restart")));
}

#[test]
fn r69_what_a_killed_main_process_leaves_in_other_sessions_is_gone_before_the_next_start() {
    restarts_alone(&format!("{SLOW_STRAY} wait"), |daemon| kill(main_process(daemon), Signal::SIGKILL).unwrap());
}

#[test]
fn r69_what_has_long_been_an_orphan_is_gone_before_the_next_start_too() {
    let twice = format!("({SLOW_STRAY}); while :; do sleep 0.02; done");
    restarts_alone(&twice, |daemon| kill(main_process(daemon), Signal::SIGKILL).unwrap());
}

#[test]
fn r21_a_stray_that_ignores_the_request_is_killed_after_the_timeout() {
    let script = "setsid sh -c \"trap '' TERM; echo > ready; while :; do sleep 0.02; done\" & wait";
    for setup in setups() {
        let daemon = with(setup, script, &json!({"stop": {"timeout": "300ms"}}));
        let row = daemon.tell("svc", "stop");
        assert_eq!(row["reason"], "stopped by request");
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
        assert_eq!(daemon.events().until("svc", "killed")["reason"], "SIGKILL to what it left behind");
    }
}

#[test]
fn r20_strays_that_are_paused_hear_the_request_to_stop() {
    for setup in setups() {
        let daemon = with(setup, ESCAPES[0].1, &json!({"stop": {"timeout": "10m"}}));
        let main = main_process(&daemon).as_raw();
        for stray in daemon.descendants().into_iter().filter(|process| process.group != main) {
            kill(Pid::from_raw(stray.pid), Signal::SIGSTOP).unwrap();
        }
        daemon.tell("svc", "stop");
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
    }
}

/// It is known by descent while its parents live, whatever it has made of its environment.
#[test]
fn r21_a_stray_without_an_environment_ends_with_a_service_that_takes_its_time_to_stop() {
    let script = "env -i setsid sh -c 'echo > ready; exec sleep 1000' & trap 'while [ ! -e go ]; do sleep 0.02; done; exit' TERM
        while :; do sleep 0.02; done";
    let daemon = with(Setup::new(), script, &json!({"stop": {"timeout": "10m"}}));
    let stray = until("the stray sleeps", || unmarked_sleeper(&daemon));
    let mut client = daemon.client();
    let stop = client.send("stop", &json!({"services": ["svc"]}));
    until("the stray has ended", || Process::find(stray).is_none_or(|process| process.state == 'Z').then_some(()));
    daemon.touch("go");
    client.reply(stop).unwrap();
}

/// A process that does not carry the mark of the test, but works in its folder.
fn unmarked_sleeper(daemon: &Daemon) -> Option<i32> {
    let works_here =
        |pid: i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == daemon.path("").canonicalize().unwrap());
    let unmarked =
        |pid: i32| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| !bytes.windows(9).any(|part| part == b"PPM_TEST="));
    Process::all()
        .into_iter()
        .find(|process| process.name == "sleep" && works_here(process.pid) && unmarked(process.pid))
        .map(|process| process.pid)
}

#[test]
fn r26_what_cannot_be_told_whose_it_is_ends_with_the_daemon() {
    for setup in setups() {
        let mut daemon = with(setup, "(env -i setsid sh -c 'echo > ready; exec sleep 1000' &); exec sleep 1000", &json!({}));
        let stray = until("the stray sleeps", || unmarked_sleeper(&daemon));
        daemon.tell("svc", "stop");
        assert!(Process::find(stray).is_some(), "it may be anybody's");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), 0);
        until("it has ended", || Process::find(stray).is_none().then_some(()));
    }
}

#[test]
fn r26_orphans_are_asked_before_they_are_killed() {
    let script = "(env -i PATH=\"$PATH\" setsid sh -c \"trap 'echo bye > bye; exit' TERM; echo > ready; while :; do sleep 0.02; done\" &); exec sleep 1000";
    for setup in setups() {
        let mut daemon = with(setup, script, &json!({}));
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), 0);
        assert_eq!(daemon.lines_in("bye"), ["bye"]);
    }
}

#[test]
fn r26_orphans_that_do_not_end_are_killed_when_the_whole_time_is_over() {
    let script = "(env -i PATH=\"$PATH\" setsid sh -c \"trap '' TERM; echo > ready; exec sleep 1000\" &); exec sleep 1000";
    for setup in setups() {
        let config = json!({"shutdown_timeout": "200ms", "services": [shell("svc", script, &json!({}))]});
        let mut daemon = setup.config(&config).start();
        daemon.lines_in("ready");
        let stray = until("the stray sleeps", || unmarked_sleeper(&daemon));
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), 0);
        until("it has ended", || Process::find(stray).is_none().then_some(()));
    }
}

#[test]
fn r26_a_shutdown_ends_all_escapes_at_once_and_leaves_nothing() {
    let patient = |(number, (_, script)): (usize, &(&str, &str))| {
        let script = script.replace("ready", &format!("ready.{number}"));
        shell(&format!("svc-{number}"), &script, &json!({"stop": {"timeout": "10m"}}))
    };
    let services: Vec<Value> = ESCAPES.iter().enumerate().map(patient).collect();
    for setup in setups() {
        let mut daemon = setup.config(&json!({"shutdown_timeout": "10m", "services": services})).start();
        for number in 0..ESCAPES.len() {
            daemon.lines_in(&format!("ready.{number}"));
        }
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), 0);
        assert!(daemon.processes().is_empty(), "{:?}", daemon.processes());
    }
}

#[test]
fn r27_quit_kills_all_escapes_at_once_and_leaves_nothing() {
    let script = "trap '' TERM; setsid sh -c \"trap '' TERM; (setsid sleep 1000 &); echo > ready; exec sleep 1000\" & exec sleep 1000";
    for setup in setups() {
        let mut daemon = with(setup, script, &json!({"stop": {"timeout": "10m"}}));
        daemon.signal(Signal::SIGQUIT);
        assert_eq!(daemon.exit_code(), 0);
        assert!(daemon.processes().is_empty(), "{:?}", daemon.processes());
    }
}

#[test]
fn signals_reach_whoever_left_the_group() {
    let script = "trap : USR1; setsid sh -c \"trap 'echo heard > heard' USR1; echo > ready; while :; do sleep 0.02; done\" &
        while :; do sleep 0.02; done";
    let daemon = with(Setup::new(), script, &json!({}));
    daemon.call("signal", &json!({"services": ["svc"], "signal": "USR1"}));
    assert_eq!(daemon.lines_in("heard"), ["heard"]);
}

// No shell that starts others: one that is stopped between its vfork(2) and the child's exec does not stop.
#[test]
fn pauses_reach_whoever_left_the_group() {
    let daemon = with(Setup::new(), "setsid sh -c 'echo > ready; exec sleep 1000' & exec sleep 1000", &json!({}));
    let main = main_process(&daemon).as_raw();
    let stray = |daemon: &Daemon| daemon.descendants().into_iter().find(|process| process.name == "sleep" && process.pid != main);
    let pid = until("the stray sleeps", || stray(&daemon)).pid;
    daemon.tell("svc", "pause");
    until("the stray is paused", || Process::find(pid).filter(|process| process.state == 'T'));
    daemon.tell("svc", "resume");
    until("the stray goes on", || Process::find(pid).filter(|process| process.state != 'T'));
}

/// Each starts the next and ends: whoever is looked at is gone when it is reached.
#[test]
fn r21_a_service_that_forks_faster_than_it_ends_is_killed_to_the_last() {
    for setup in setups() {
        let script = setup.path("leapfrog");
        fs::write(&script, "#!/bin/sh\ntrap '' TERM\n[ -e ready ] || echo > ready\n\"$0\" &\n\"$0.once\" & exit\n").unwrap();
        fs::write(setup.path("leapfrog.once"), "#!/bin/sh\ntrap '' TERM\nexec sleep 1000\n").unwrap();
        for name in ["leapfrog", "leapfrog.once"] {
            fs::set_permissions(setup.path(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let start = format!("setsid {} & trap '' TERM; exec sleep 1000", script.display());
        let daemon = with(setup, &start, &json!({"stop": {"timeout": "200ms"}}));
        daemon.tell("svc", "stop");
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
    }
}

#[test]
fn r76_what_was_put_into_the_container_from_outside_is_left_alone() {
    let Some(setup) = Setup::as_process_one() else { return };
    let mut daemon = setup.services(&[shell("svc", "setsid sleep 1000 & echo > ready; wait", &json!({}))]).start();
    daemon.lines_in("ready");
    let guest = "trap 'echo > asked; exit' TERM; echo > entered; while :; do sleep 0.02; done";
    let mut enter = Command::new("nsenter");
    enter.args(["--pid", "--target", &daemon.pid.to_string(), "sh", "-c", guest]).current_dir(daemon.path(""));
    let mut guest = enter.spawn().unwrap();
    daemon.lines_in("entered");
    daemon.tell("svc", "stop");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(!guest.wait().unwrap().success(), "the kernel ends it with process 1");
    assert!(!daemon.path("asked").exists());
}

/// Another daemon in between is a subreaper itself: what is below it is its own.
#[test]
fn r21_the_services_of_another_daemon_below_are_not_taken_for_own_ones() {
    let inner = "services: [{name: svc, command: [sh, -c, 'setsid sleep 1000 & echo > ready; wait']}]";
    let setup = Setup::new();
    fs::write(setup.path("inner.yml"), inner).unwrap();
    let below = json!({"name": "below", "command": [env!("CARGO_BIN_EXE_ppm-daemon"), "--config", "inner.yml", "--socket", "inner.sock"]});
    let daemon = setup.services(&[below, shell("svc", "exec sleep 1000", &json!({}))]).start();
    daemon.lines_in("ready");
    daemon.tell("svc", "restart");
    daemon.tell("svc", "stop");
    assert_eq!(daemon.descendants().len(), 3, "{:?}", daemon.descendants());
    daemon.tell("below", "stop");
    assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
}

#[test]
fn r68_a_service_that_goes_into_the_background_is_ended_and_told_to_stay_in_the_foreground() {
    let script = "setsid sh -c 'echo > ready; exec sleep 1000' & while [ ! -e ready ]; do sleep 0.02; done";
    for setup in setups() {
        let daemon = with(setup, script, &json!({"stop": {"timeout": "10m"}}));
        let row = daemon.wait("svc", "finished");
        assert_eq!(row["reason"], "exit code 0, but it left processes behind: run it in the foreground");
        assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
    }
}

#[test]
fn r26_the_daemon_says_who_used_the_time_of_its_end() {
    let script = "setsid sh -c \"trap '' TERM; echo > ready; exec sleep 1000\" & wait";
    let services = [shell("svc", script, &json!({})), shell("quick", "exec sleep 1000", &json!({}))];
    let mut daemon = Setup::new().config(&json!({"shutdown_timeout": "1100ms", "services": services})).start();
    daemon.lines_in("ready");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    let stderr = daemon.stderr();
    let line = stderr.lines().last().unwrap();
    assert!(line.starts_with("ppm | warning: stopped 2 services in ") && line.ends_with(" and had to be killed"), "{line}");
    assert!(line.contains(": svc took ") && !line.contains("quick"), "{line}");
}

#[test]
fn r27_nobody_is_said_to_be_left_whom_a_second_interrupt_killed() {
    for setup in setups() {
        let mut daemon =
            with(setup, "trap '' TERM; sleep 1000 & echo > ready; while :; do sleep 1000; done", &json!({"stop": {"timeout": "10m"}}));
        let mut events = daemon.events();
        daemon.signal(Signal::SIGINT);
        events.until("svc", "stopping");
        daemon.signal(Signal::SIGINT);
        assert_eq!(daemon.exit_code(), 0);
        let stderr = daemon.stderr();
        assert!(stderr.contains("killed: no time was left to wait for it") && !stderr.contains("does not let go"), "{stderr}");
    }
}

/// Numbers of another namespace must not be taken for own ones: whoever has them there would be killed.
#[test]
fn r51_without_a_proc_of_its_own_the_daemon_ends_groups_and_takes_nobody_for_a_stray() {
    let Some(setup) = Setup::with_foreign_proc() else { return };
    let services = [
        shell("svc", "sleep 1000 & (env -i setsid sleep 1000 &); echo > ready; wait", &json!({"stop": {"timeout": "10m"}})),
        shell("other", "exec sleep 1000", &json!({})),
    ];
    let mut daemon = setup.config(&json!({"shutdown_timeout": "10m", "services": services})).start();
    daemon.lines_in("ready");
    assert!(daemon.stderr().contains("/proc does not show this pid namespace"), "{}", daemon.stderr());
    assert_eq!(daemon.tell("svc", "stop")["status"], "finished");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.processes().is_empty(), "{:?}", daemon.processes());
}

/// However many services there are, a look at what was left is a look at orphans.
#[test]
fn r60_the_list_of_children_that_is_looked_at_holds_nobody_but_orphans() {
    for setup in setups() {
        let daemon = with(setup, "(setsid sh -c 'echo > ready; exec sleep 1000' &); exec sleep 1000", &json!({}));
        let main = main_process(&daemon).as_raw();
        let listed = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid)).unwrap();
        let orphan = daemon.descendants().into_iter().find(|process| process.pid != main && process.parent == daemon.pid.as_raw()).unwrap();
        assert_eq!(listed().trim(), orphan.pid.to_string());
    }
}
