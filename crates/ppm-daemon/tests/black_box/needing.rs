//! Services that need others, with real processes.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, pid_of, shell, until};

/// Writes what it does to the file `order`, and ends when it is asked to, or when there is a file of its own name.
const TELLS: &str = "\
    trap 'echo - $PPM_SERVICE >> order; exit 0' TERM
    echo + $PPM_SERVICE >> order; while [ ! -e end.$PPM_SERVICE ]; do sleep 0.02; done";

fn tells(name: &str, more: &Value) -> Value {
    shell(name, TELLS, more)
}

fn three() -> Daemon {
    let web = tells("web", &json!({"depends_on": {"app": "ready"}}));
    let app = tells("app", &json!({"depends_on": {"db": "ready", "migrate": "finished"}}));
    let migrate = shell("migrate", "while [ ! -e migrate ]; do sleep 0.02; done; echo migrate >> order", &json!({"depends_on": ["db"]}));
    Setup::new().services(&[web, app, migrate, tells("db", &json!({}))]).start()
}

/// The first so many lines, when they are there.
fn order(daemon: &Daemon, count: usize) -> Vec<String> {
    until("more to be told", || Some(daemon.lines_in("order")).filter(|lines| lines.len() >= count))
}

fn ends(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with('-')).collect()
}

#[test]
fn services_start_after_what_they_need_and_end_before_it() {
    let mut daemon = three();
    daemon.wait("migrate", "running");
    assert_eq!(daemon.events().until("app", "blocked")["reason"], "waiting for db, migrate");
    assert_eq!(daemon.row("web")["reason"], "waiting for app");
    daemon.touch("migrate");
    daemon.wait("web", "running");
    let begun = order(&daemon, 4);
    let at = |line: &str| begun.iter().position(|own| own == line);
    assert!(at("migrate") < at("+ app"), "{begun:?}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert_eq!(ends(&order(&daemon, 7)), ["- web", "- app", "- db"]);
}

#[test]
fn several_are_stopped_and_restarted_in_their_order() {
    let daemon = three();
    daemon.touch("migrate");
    order(&daemon, 4);
    daemon.call("stop", &json!({"services": ["db", "web", "app"]}));
    assert_eq!(ends(&order(&daemon, 7)), ["- web", "- app", "- db"]);
    daemon.call("start", &json!({"services": ["db", "web", "app"]}));
    order(&daemon, 10);
    daemon.call("restart", &json!({"services": ["db", "app"]}));
    assert_eq!(ends(&order(&daemon, 14))[3..], ["- app", "- db"]);
    assert_eq!(daemon.row("web")["restarts"], 1);
}

#[test]
fn replicas_know_their_numbers_and_are_restarted_one_after_the_other() {
    // What makes it ready must not be left to the next process: that would be ready before it has said anything.
    let script = "trap 'rm ready.$PPM_REPLICA; echo - $PPM_REPLICA >> order; exit 0' TERM
        echo + $PPM_REPLICA >> order; touch ready.$PPM_REPLICA; while :; do sleep 0.02; done";
    let ready = json!({"command": ["sh", "-c", "test -e ready.$PPM_REPLICA"], "interval": "10ms"});
    let web = shell("web", script, &json!({"replicas": 3, "ready": ready}));
    let daemon = Setup::new().services(&[web]).start();
    daemon.call("wait", &json!({"services": ["web"], "for": "ready"}));
    let rows = daemon.call("restart", &json!({"services": ["web"], "rolling": true}));
    assert_eq!(rows["failed"], json!([]));
    let lines = order(&daemon, 9);
    let restarts: Vec<&str> = lines[3..].iter().map(String::as_str).collect();
    assert_eq!(restarts, ["- 1", "+ 1", "- 2", "+ 2", "- 3", "+ 3"]);
    let yaml = daemon.call("configuration", &json!({}))["yaml"].as_str().unwrap().to_owned();
    assert!(yaml.contains("name: web\n    id: 1\n") && yaml.contains("replicas: 3\n"), "{yaml}");
}

/// Starts that were begun, and those that have ended, of a service that tells.
fn lives(daemon: &Daemon, name: &str) -> (usize, usize) {
    let lines = daemon.lines_in("order");
    let count = |sign: &str| lines.iter().filter(|line| **line == format!("{sign} {name}")).count();
    (count("+"), count("-"))
}

/// One process of this service runs, and it is the one that is shown.
fn is_one(daemon: &Daemon, name: &str) {
    let pid = pid_of(&daemon.row(name)).as_raw();
    assert!(daemon.children().contains(&pid), "{:?} without {pid}", daemon.children());
    until("each start but the last has ended", || {
        let (begun, ended) = lives(daemon, name);
        (begun == ended + 1).then_some(())
    });
}

#[test]
fn r23_twenty_restarts_at_once_leave_one_that_runs() {
    let daemon = Setup::new().services(&[tells("db", &json!({}))]).start();
    order(&daemon, 1);
    let mut clients: Vec<_> = (0..20).map(|_| daemon.client()).collect();
    let calls: Vec<i64> = clients.iter_mut().map(|client| client.send("restart", &json!({"services": ["db"]}))).collect();
    for (client, call) in clients.iter_mut().zip(calls) {
        let changed = client.reply(call).unwrap();
        assert_eq!(changed["failed"], json!([]), "{changed}");
    }
    assert_eq!(daemon.row("db")["status"], "running");
    is_one(&daemon, "db");
    assert_eq!(daemon.children().len(), 1);
}

#[test]
fn r23_a_restart_of_who_waits_for_another_is_one_start_when_that_is_ready() {
    let setup = Setup::new();
    let db = tells("db", &json!({"ready": {"file": setup.path("ready")}}));
    let daemon = setup.services(&[db, tells("web", &json!({"depends_on": {"db": "ready"}}))]).start();
    order(&daemon, 1);
    for method in ["restart", "start", "restart"] {
        daemon.call(method, &json!({"services": ["web"], "wait": false}));
        assert_eq!(daemon.row("web")["reason"], "waiting for db");
    }
    daemon.touch("ready");
    daemon.wait("web", "running");
    is_one(&daemon, "web");
    assert_eq!(lives(&daemon, "web"), (1, 0));
}

#[test]
fn r23_a_stop_overtakes_the_restart_before_it_and_a_start_the_stop() {
    let script = format!("{TELLS_SLOWLY}; while :; do sleep 0.02; done");
    let daemon = Setup::new().services(&[shell("db", &script, &json!({"stop": {"timeout": "30s"}}))]).start();
    order(&daemon, 1);
    daemon.call("restart", &json!({"services": ["db"], "wait": false}));
    daemon.call("stop", &json!({"services": ["db"], "wait": false}));
    daemon.touch("go");
    until("it has stopped", || (daemon.row("db")["pid"] == Value::Null).then_some(()));
    assert_eq!((&daemon.row("db")["active"], lives(&daemon, "db")), (&json!(false), (1, 1)));
    daemon.call("start", &json!({"services": ["db"]}));
    daemon.call("stop", &json!({"services": ["db"], "wait": false}));
    daemon.call("start", &json!({"services": ["db"]}));
    daemon.wait("db", "running");
    is_one(&daemon, "db");
}

/// Tells of its start, and of its end when there is a file `go`.
const TELLS_SLOWLY: &str = "\
    trap 'while [ ! -e go ]; do sleep 0.02; done; echo - $PPM_SERVICE >> order; exit 0' TERM; echo + $PPM_SERVICE >> order";

#[test]
fn who_is_added_late_waits_for_what_it_needs_like_the_others() {
    let setup = Setup::new();
    let db = tells("db", &json!({"ready": {"file": setup.path("ready")}}));
    let daemon = setup.services(&[db]).start();
    order(&daemon, 1);
    daemon.add_with("late", TELLS, &json!({"workdir": daemon.path(""), "depends_on": ["db:ready"], "wait": false}));
    assert_eq!(daemon.row("late")["reason"], "waiting for db");
    daemon.touch("ready");
    daemon.wait("late", "running");
    daemon.add_with("later", TELLS, &json!({"workdir": daemon.path(""), "depends_on": ["late", "db:ready"]}));
    daemon.wait("later", "running");
    assert_eq!(order(&daemon, 3), ["+ db", "+ late", "+ later"]);
}

#[test]
fn a_dependency_that_comes_and_goes_starts_who_needs_it_once_and_ends_nothing() {
    let flaps = "echo x >> flaps; [ $(wc -l < flaps) -ge 6 ] && exec sleep 1000; sleep 0.05; exit 1";
    let db = shell("db", flaps, &json!({"restart": {"policy": "always", "interval": "10ms", "max_interval": "10ms"}}));
    let daemon = Setup::new().services(&[db, tells("web", &json!({"depends_on": ["db"]}))]).start();
    until("it stays", || (daemon.row("db")["restarts"] == 5).then_some(()));
    daemon.wait("web", "running");
    is_one(&daemon, "web");
    assert_eq!((lives(&daemon, "web"), &daemon.row("web")["restarts"]), ((1, 0), &json!(0)));
}
