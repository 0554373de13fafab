//! Stopping: who is asked, who is killed, what is left, and who has the last word.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{DEAF, Daemon, Setup, TIDY, pid_of, shell, until};

fn with(script: &str, more: &Value) -> Daemon {
    Setup::new().services(&[shell("svc", script, more)]).start()
}

/// A service that cleans up until it may end, asked to stop and just cleaning up.
fn stopping() -> (Daemon, Client, i64) {
    let daemon = with(TIDY, &json!({"stop": {"timeout": "10m"}}));
    daemon.lines_in("ready.svc");
    let mut client = daemon.client();
    let stop = client.send("stop", &json!({"services": ["svc"]}));
    daemon.events().until("svc", "stopping");
    (daemon, client, stop)
}

#[test]
fn r20_a_paused_service_hears_the_request_to_stop() {
    let daemon = with("exec sleep 1000", &json!({"stop": {"timeout": "10m"}}));
    daemon.wait("svc", "running");
    daemon.tell("svc", "pause");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["exit"]), (&json!("finished"), &json!({"signal": "SIGTERM"})));
    assert_eq!(row["reason"], "stopped by request");
}

#[test]
fn r20_who_ignores_the_request_is_killed_after_its_timeout_which_counts_no_crash() {
    let daemon = with(DEAF, &json!({"stop": {"timeout": "100ms"}, "restart": "always"}));
    daemon.lines_in("ready.svc");
    let row = daemon.tell("svc", "stop");
    let found = (&row["status"], &row["exit"], &row["reason"]);
    assert_eq!(found, (&json!("crashed"), &json!({"signal": "SIGKILL"}), &json!("killed: did not stop within 100ms")));
    let rest = (&row["crashes"], &row["active"], &row["next_start"], &row["pid"]);
    assert_eq!(rest, (&json!(0), &json!(false), &Value::Null, &Value::Null));
    assert_eq!(daemon.events().until("svc", "killed")["reason"], "SIGKILL");
    assert!(daemon.descendants().is_empty());
}

#[test]
fn r18_whoever_ends_in_time_has_obeyed_whatever_its_exit_code() {
    let daemon = with("trap 'exit 9' TERM; echo > ready; while :; do sleep 0.02; done", &json!({}));
    daemon.lines_in("ready");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["exit"], &row["crashes"]), (&json!("finished"), &json!({"code": 9}), &json!(0)));
}

#[test]
fn a_service_is_asked_with_the_signal_of_its_own_choice() {
    let script = "trap 'echo asked > asked; exit' USR2; trap '' TERM; echo > ready; while :; do sleep 0.02; done";
    let daemon = with(script, &json!({"stop": {"signal": "USR2", "timeout": "10m"}}));
    daemon.lines_in("ready");
    assert_eq!(daemon.tell("svc", "stop")["status"], "finished");
    assert_eq!(daemon.lines_in("asked"), ["asked"]);
}

#[test]
fn r21_restarts_leave_nothing_of_the_earlier_runs() {
    let daemon = with("sleep 1000 & sleep 1000 & echo > ready; wait", &json!({}));
    for _ in 0..5 {
        daemon.lines_in("ready");
        std::fs::remove_file(daemon.path("ready")).unwrap();
        let leader = pid_of(&daemon.tell("svc", "restart")).as_raw();
        let left: Vec<_> = daemon.descendants().into_iter().filter(|process| process.group != leader).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    daemon.tell("svc", "stop");
    assert!(daemon.descendants().is_empty());
}

#[test]
fn r24_the_next_run_begins_when_all_of_the_last_has_ended() {
    let script = "[ -e alive ] && echo overlap > overlap
        (trap 'sleep 0.2; rm alive; exit' TERM; echo > alive; while :; do sleep 0.02; done) & wait";
    let daemon = with(script, &json!({"stop": {"timeout": "10m"}}));
    for _ in 0..3 {
        daemon.lines_in("alive");
        daemon.tell("svc", "restart");
    }
    assert!(!daemon.path("overlap").exists());
}

#[test]
fn r21_what_is_left_behind_and_deaf_is_killed_after_the_timeout() {
    let script = "(trap '' TERM; echo > ready; exec sleep 1000) & wait";
    let daemon = with(script, &json!({"stop": {"timeout": "1s"}}));
    daemon.lines_in("ready");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["reason"]), (&json!("finished"), &json!("stopped by request")));
    assert!(daemon.descendants().is_empty());
    assert_eq!(daemon.events().until("svc", "killed")["reason"], "SIGKILL to what it left behind");
}

/// What is left has a parent that left the group: when it ends, that parent is told, and nobody else.
#[test]
fn r21_a_group_that_empties_unnoticed_is_not_taken_for_stuck() {
    let member = "trap '' TERM; while [ ! -e gone ]; do sleep 0.02; done; echo > ready; while [ ! -e go ]; do sleep 0.02; done";
    let script = format!("(sh -c \"{member}\" & exec setsid sh -c 'echo > gone; sleep 1000 & wait') & wait");
    let daemon = with(&script, &json!({"stop": {"timeout": "1s"}}));
    daemon.lines_in("ready");
    let mut events = daemon.events();
    let mut client = daemon.client();
    let stop = client.send("stop", &json!({"services": ["svc"]}));
    events.until("svc", "exited");
    daemon.touch("go");
    client.reply(stop).unwrap();
    let told = daemon.call("events", &json!({}));
    let kinds: Vec<&str> = told["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"drained") && !kinds.contains(&"stuck"), "{kinds:?}");
    daemon.kill_descendants(); // the parent that went its own way
}

#[test]
fn r69_what_a_crash_leaves_behind_is_gone_before_the_next_start() {
    let script = "[ -e once ] && exec sleep 1000; echo > once; sleep 1000 & sleep 1000 & exit 1";
    let daemon = with(script, &json!({"restart": {"interval": "0s"}}));
    let mut events = daemon.events();
    for kind in ["started", "exited", "drained", "started"] {
        events.until("svc", kind);
    }
    let leader = pid_of(&daemon.row("svc")).as_raw();
    let left: Vec<_> = daemon.descendants().into_iter().filter(|process| process.pid != leader).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn r22_while_one_service_takes_its_time_to_stop_all_others_are_looked_after() {
    let services = [
        shell("slow", TIDY, &json!({"stop": {"timeout": "10m"}})),
        shell("other", "exec sleep 1000", &json!({"restart": {"interval": "0s"}})),
    ];
    let daemon = Setup::new().services(&services).start();
    daemon.lines_in("ready.slow");
    let mut client = daemon.client();
    let stop = client.send("stop", &json!({"services": ["slow"]}));
    let mut events = daemon.events();
    events.until("slow", "stopping");
    for _ in 0..3 {
        kill(pid_of(&daemon.wait("other", "running")), Signal::SIGKILL).unwrap();
        events.until("other", "exited");
        events.until("other", "started");
    }
    let row = daemon.row("slow");
    assert_eq!((&row["status"], &row["active"]), (&json!("running"), &json!(false)), "{row}");
    daemon.touch("go");
    assert_eq!(client.reply(stop).unwrap()["services"][0]["status"], "finished");
    daemon.lines_in("cleaned.slow");
}

#[test]
fn r23_a_stop_during_the_backoff_ends_it_and_a_start_begins_anew() {
    let script = "[ -e well ] && exec sleep 1000; exit 1";
    let daemon = with(script, &json!({"restart": {"interval": "1h", "max_interval": "1h"}}));
    assert_eq!(daemon.events().until("svc", "planned")["reason"], "exit code 1, retry 1 in 1h");
    let row = daemon.tell("svc", "stop");
    let found = (&row["status"], &row["active"], &row["next_start"]);
    assert_eq!(found, (&json!("crashed"), &json!(false), &Value::Null));
    daemon.touch("well");
    let row = daemon.tell("svc", "start");
    assert_eq!((&row["status"], &row["active"], &row["crashes"]), (&json!("running"), &json!(true), &json!(0)));
}

#[test]
fn r23_a_start_while_it_stops_comes_after_the_stop() {
    let (daemon, mut client, stop) = stopping();
    let first = pid_of(&daemon.row("svc"));
    let mut starter = daemon.client();
    let start = starter.send("start", &json!({"services": ["svc"]}));
    until("it is wanted again", || (daemon.row("svc")["active"] == true).then_some(()));
    daemon.touch("go");
    client.reply(stop).unwrap();
    let started = starter.reply(start).unwrap();
    let row = &started["services"][0];
    assert_eq!((&row["status"], &row["restarts"]), (&json!("running"), &json!(1)));
    assert_ne!(pid_of(row), first);
}

#[test]
fn r23_a_stop_takes_back_the_start_that_waits_for_the_last_stop() {
    let (daemon, mut client, stop) = stopping();
    let mut other = daemon.client();
    let start = other.send("start", &json!({"services": ["svc"]}));
    let second = other.send("stop", &json!({"services": ["svc"]}));
    assert_eq!(other.reply(start).unwrap()["failed"][0]["message"], "it was stopped by another request");
    daemon.touch("go");
    client.reply(stop).unwrap();
    let stopped = other.reply(second).unwrap();
    let row = &stopped["services"][0];
    assert_eq!((&row["status"], &row["active"], &row["restarts"]), (&json!("finished"), &json!(false), &json!(0)));
}

#[test]
fn r23_restarts_at_the_same_time_make_one_new_incarnation() {
    let daemon = with(TIDY, &json!({"stop": {"timeout": "10m"}}));
    daemon.lines_in("ready.svc");
    let first = pid_of(&daemon.row("svc"));
    let mut clients: Vec<Client> = (0..10).map(|_| daemon.client()).collect();
    let calls: Vec<i64> = clients.iter_mut().map(|client| client.send("restart", &json!({"services": ["svc"]}))).collect();
    for client in &mut clients {
        client.call("hello", &json!({})); // what was asked before is under way
    }
    daemon.touch("go");
    let pids: Vec<_> = clients.iter_mut().zip(calls).map(|(client, call)| pid_of(&client.reply(call).unwrap()["services"][0])).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0] && *pid != first), "{first} {pids:?}");
    assert_eq!(daemon.row("svc")["restarts"], 1);
}

#[test]
fn stopping_what_has_no_process_keeps_its_state() {
    let daemon = Daemon::start();
    daemon.add("bad", "exit 3");
    daemon.wait("bad", "stopped");
    let row = daemon.tell("bad", "stop");
    let found = (&row["status"], &row["active"], &row["reason"]);
    assert_eq!(found, (&json!("crashed"), &json!(false), &json!("exit code 3")));
}

#[test]
fn a_removed_service_is_gone_with_all_its_processes_and_its_name_is_free() {
    let daemon = Daemon::start();
    daemon.add("svc", "sleep 1000 & echo > ready; wait");
    daemon.lines_in("ready");
    assert_eq!(daemon.tell("svc", "remove")["status"], "finished");
    assert!(daemon.descendants().is_empty());
    assert_eq!(daemon.refused("info", &json!({"services": ["svc"]}))["code"], 1001);
    assert_eq!(daemon.add("svc", "exec sleep 1000")["id"], 2);
}
