//! A configuration that is read again.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, open_pipe, pid_of, shell, until};

const SLEEPS: &str = "exec sleep 1000";

/// Services in the file, in the form of the file.
fn write(daemon: &Daemon, services: &[Value]) {
    fs::write(daemon.path("config.yml"), json!({ "services": services }).to_string()).unwrap();
}

fn service(name: &str, script: &str) -> Value {
    shell(name, script, &json!({}))
}

fn actions(reload: &Value) -> Vec<(&str, &str)> {
    reload["services"].as_array().unwrap().iter().map(|row| (row["service"].as_str().unwrap(), row["action"].as_str().unwrap())).collect()
}

#[test]
fn r61_only_what_changed_is_touched() {
    let daemon = Setup::new().services(&[service("kept", SLEEPS), service("changed", SLEEPS), service("gone", SLEEPS)]).start();
    for name in ["kept", "changed", "gone"] {
        daemon.wait(name, "running");
    }
    daemon.add("hand", SLEEPS);
    let before = (pid_of(&daemon.row("kept")), pid_of(&daemon.row("changed")), pid_of(&daemon.row("hand")));

    write(&daemon, &[service("kept", SLEEPS), service("changed", "exec sleep 2000"), service("new", SLEEPS)]);
    let plan = daemon.call("reload", &json!({"plan": true}));
    let expected = [("kept", "keep"), ("changed", "restart"), ("new", "add"), ("gone", "remove")];
    assert_eq!((actions(&plan).as_slice(), &plan["applied"]), (expected.as_slice(), &json!(false)));
    assert_eq!(pid_of(&daemon.row("changed")), before.1);

    let done = daemon.call("reload", &json!({}));
    assert_eq!((actions(&done).as_slice(), &done["applied"], &done["failed"]), (expected.as_slice(), &json!(true), &json!([])));
    assert_eq!((pid_of(&daemon.row("kept")), pid_of(&daemon.row("hand"))), (before.0, before.2));
    assert_ne!(pid_of(&daemon.row("changed")), before.1);
    assert_eq!(daemon.row("new")["status"], "running");
    daemon.refused("info", &json!({"services": ["gone"]}));
    let again = daemon.call("reload", &json!({}));
    assert!(actions(&again).iter().all(|(_, action)| *action == "keep"), "{again}");
}

#[test]
fn r61_a_wrong_file_changes_nothing_and_says_where() {
    let daemon = Setup::new().services(&[service("svc", SLEEPS)]).start();
    daemon.wait("svc", "running");
    let pid = pid_of(&daemon.row("svc"));
    for (text, place) in
        [("services:\n  - name: svc\n    comand: x\n", "config.yml:3:5"), ("services: [", "config.yml"), ("\0", "config.yml")]
    {
        fs::write(daemon.path("config.yml"), text).unwrap();
        let error = daemon.refused("reload", &json!({}));
        assert_eq!(error["code"], 1007, "{error}");
        assert!(error["data"]["text"].as_str().unwrap().contains(place), "{error}");
    }
    fs::remove_file(daemon.path("config.yml")).unwrap();
    let error = daemon.refused("reload", &json!({}));
    assert_eq!(error["code"], 1007);
    assert!(error["message"].as_str().unwrap().ends_with("no such file or directory; nothing was changed"), "{error}");
    assert_eq!(pid_of(&daemon.row("svc")), pid);
}

#[test]
fn r32_hup_reloads_and_keeps_every_plan() {
    let scheduled = shell("cron", "true", &json!({"schedule": "0 0 1 1 *"}));
    let daemon = Setup::new().services(std::slice::from_ref(&scheduled)).start();
    let planned = daemon.row("cron")["next_start"].clone();
    let mut events = daemon.events();
    write(&daemon, &[scheduled, service("new", SLEEPS)]);
    daemon.signal(Signal::SIGHUP);
    events.until("new", "started");
    assert_eq!(daemon.row("cron")["next_start"], planned);

    fs::write(daemon.path("config.yml"), "service: []\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    until("the daemon to tell what is wrong", || daemon.stderr().contains("unknown key `service`").then_some(()));
    assert_eq!(daemon.row("new")["status"], "running");
}

#[test]
fn r3_a_new_service_that_cannot_start_is_told_and_stays() {
    let daemon = Setup::new().services(&[]).start();
    write(&daemon, &[json!({"name": "svc", "command": ["/nowhere/at/all"]})]);
    let done = daemon.call("reload", &json!({}));
    assert_eq!(done["failed"], json!([{"service": "svc", "message": "exec: no such file: /nowhere/at/all"}]));
    assert_eq!(daemon.row("svc")["status"], "crashed");
}

#[test]
fn a_text_is_checked_without_being_used() {
    let daemon = Daemon::start();
    let right = daemon.call("check", &json!({"text": "services: [{name: a, command: b}]"}));
    assert_eq!(right, json!({"services": 1, "warnings": []}));
    let wrong = daemon.refused("check", &json!({"text": "services: [{name: a}]", "name": "x.yml"}));
    assert_eq!((&wrong["code"], &wrong["data"]["problems"][0]["line"]), (&json!(1007), &json!(1)), "{wrong}");
    assert_eq!(daemon.call("list", &json!({})), json!([]));
}

#[test]
fn why_tells_who_asked_and_how_long_it_ran() {
    let daemon = Daemon::start();
    daemon.add("svc", SLEEPS);
    daemon.tell("svc", "stop");
    let lives = daemon.call("why", &json!({"services": ["svc"]}));
    let events = lives[0]["events"].as_array().unwrap();
    let kinds: Vec<&str> = events.iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["added", "started", "stopping", "exited"]);
    assert_eq!(events[2]["uid"], json!(nix::unistd::getuid().as_raw()));
    assert!(events[3]["ran_ms"].is_u64(), "{lives}");
}

/// Puts a pipe in the configuration's place: whoever reads it waits for what the test will write.
fn replace_with_pipe(daemon: &Daemon) -> PathBuf {
    let path = daemon.path("config.yml");
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

#[test]
fn r61_a_slow_reading_is_not_overtaken_by_a_later_one() {
    let daemon = Setup::new().services(&[]).start();
    let pipe = replace_with_pipe(&daemon);
    let mut slow = daemon.client();
    let first = slow.send("reload", &json!({}));
    let mut old = open_pipe(&pipe);
    fs::remove_file(&pipe).unwrap();
    write(&daemon, &[service("new", SLEEPS)]);
    let mut quick = daemon.client();
    quick.send("reload", &json!({}));
    quick.send("hello", &json!({}));
    quick.line().unwrap();
    old.write_all(json!({"services": [service("old", SLEEPS)]}).to_string().as_bytes()).unwrap();
    drop(old);
    slow.reply(first).unwrap();
    quick.line().unwrap();
    let list = daemon.call("list", &json!({}));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &json!("new")), "{list}");
}

#[test]
fn r50_a_file_that_cannot_be_read_to_its_end_costs_one_thread_however_often_it_is_asked_for() {
    let daemon = Setup::new().services(&[service("svc", SLEEPS)]).start();
    replace_with_pipe(&daemon);
    for _ in 0..100 {
        daemon.signal(Signal::SIGHUP);
        daemon.call("list", &json!({}));
    }
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid)).unwrap().count();
    assert!(threads <= 3, "{threads} threads");
    daemon.tell("svc", "restart");
}
