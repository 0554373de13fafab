//! What follows an end: backoff, policies, storms.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, pid_of, shell, until};

fn with(script: &str, more: &Value) -> Daemon {
    Setup::new().services(&[shell("svc", script, more)]).start()
}

#[test]
fn r34_every_crash_doubles_the_delay_and_the_row_tells_of_it() {
    let daemon = with("exit 1", &json!({"restart": {"interval": "10ms"}}));
    let mut events = daemon.events();
    for (number, delay) in [(1, "10ms"), (2, "20ms"), (3, "40ms"), (4, "80ms"), (5, "160ms")] {
        assert_eq!(events.until("svc", "planned")["reason"], format!("exit code 1, retry {number} in {delay}"));
    }
    let row = until("a later retry is planned", || Some(daemon.row("svc")).filter(|row| row["next_start"] != Value::Null));
    let (crashes, restarts) = (row["crashes"].as_u64().unwrap(), row["restarts"].as_u64().unwrap());
    assert!(crashes >= 5 && restarts + 1 == crashes, "{row}");
    assert_eq!((&row["next_start"]["why"], &row["status"], &row["active"]), (&json!("backoff"), &json!("crashed"), &json!(true)));
    let plan = &daemon.call("scheduler", &json!({}))[0];
    assert_eq!((&plan["name"], &plan["event"]), (&json!("svc"), &json!("restart")), "{plan}");
}

#[test]
fn r34_the_delay_is_capped_and_a_long_run_makes_crashes_forgotten() {
    let script = "[ -e crashed ] || { echo > crashed; exit 1; }; exec sleep 1000";
    let daemon = with(script, &json!({"restart": {"interval": "10m", "max_interval": "1ms", "reset_after": "1ms"}}));
    let mut events = daemon.events();
    // The cap is never below the interval.
    assert_eq!(events.until("svc", "planned")["reason"], "exit code 1, retry 1 in 10m");
    daemon.tell("svc", "start");
    until("the crash is forgotten", || (daemon.row("svc")["crashes"] == 0).then_some(()));
}

#[test]
fn r34_a_service_that_keeps_crashing_is_given_up_and_can_be_started_again() {
    let daemon = with("[ -e well ] && exec sleep 1000; exit 7", &json!({"restart": {"interval": "0s", "max_retries": 3}}));
    assert_eq!(daemon.events().until("svc", "gave_up")["reason"], "exit code 7, gave up after 3 retries");
    let row = daemon.row("svc");
    assert_eq!((&row["restarts"], &row["crashes"], &row["next_start"]), (&json!(3), &json!(4), &Value::Null));
    let error = daemon.refused("wait", &json!({"services": ["svc"], "for": "running"}));
    assert_eq!((&error["code"], &error["data"]["service"]), (&json!(1006), &json!("svc")), "{error}");
    daemon.touch("well");
    let row = daemon.tell("svc", "start");
    assert_eq!((&row["status"], &row["crashes"]), (&json!("running"), &json!(0)));
}

#[test]
fn r39_policies_decide_what_follows_which_end() {
    let interval = "0s";
    let services = [
        shell("never", "exit 1", &json!({"restart": "never"})),
        shell("good", "exit 0", &json!({"restart": {"policy": "on-failure", "interval": interval}})),
        shell("listed", "exit 42", &json!({"restart": {"policy": "on-failure", "interval": interval}, "success_exit_codes": [0, 42]})),
        shell("always", "exit 0", &json!({"restart": {"policy": "always", "interval": interval}})),
    ];
    let daemon = Setup::new().services(&services).start();
    let mut events = daemon.events();
    for _ in 0..3 {
        events.until("always", "started");
    }
    for (name, status, code) in [("never", "crashed", 1), ("good", "finished", 0), ("listed", "finished", 42)] {
        let row = daemon.wait(name, "stopped");
        let found = (&row["status"], &row["exit"]["code"], &row["restarts"], &row["next_start"]);
        assert_eq!(found, (&json!(status), &json!(code), &json!(0), &Value::Null), "{name}");
    }
    assert_eq!(daemon.row("always")["crashes"], 0);
}

#[test]
fn what_cannot_be_executed_is_tried_again_with_a_growing_delay() {
    let setup = Setup::new();
    let program = setup.path("late").to_str().unwrap().to_owned();
    let daemon = setup.services(&[json!({"name": "svc", "command": [program], "restart": {"interval": "10ms"}})]).start();
    let mut events = daemon.events();
    for number in 1..=3 {
        let reason = events.until("svc", "planned")["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with(&format!("exec: no such file: {program}, retry {number} in ")), "{reason}");
    }
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    assert_eq!(daemon.wait("svc", "finished")["exit"], json!({"code": 0}));
}

#[test]
fn r35_fifty_services_that_crash_without_pause_keep_nobody_waiting() {
    let mut services: Vec<Value> =
        (0..50).map(|number| shell(&format!("storm-{number}"), "exit 1", &json!({"restart": {"interval": "0s"}}))).collect();
    services.push(shell("healthy", "exec sleep 1000", &json!({"restart": {"interval": "0s"}})));
    let daemon = Setup::new().services(&services).start();
    for _ in 0..5 {
        let row = daemon.wait("healthy", "running");
        kill(pid_of(&row), Signal::SIGKILL).unwrap();
        until("the healthy one runs again", || (daemon.row("healthy")["restarts"].as_u64() > row["restarts"].as_u64()).then_some(()));
        assert_eq!(daemon.call("list", &json!({})).as_array().unwrap().len(), 51);
    }
    assert!(daemon.row("storm-49")["restarts"].as_u64() > Some(0));
    let stopped = daemon.call("stop", &json!({"services": ["storm-*"]}));
    assert_eq!((stopped["services"].as_array().unwrap().len(), &stopped["failed"]), (50, &json!([])));
}

#[test]
fn services_that_are_not_to_start_with_the_daemon_wait_for_a_word() {
    let services = [shell("later", "exec sleep 1000", &json!({"autostart": false})), shell("now", "exec sleep 1000", &json!({}))];
    let daemon = Setup::new().services(&services).start();
    daemon.wait("now", "running");
    let row = daemon.row("later");
    assert_eq!((&row["status"], &row["active"], &row["reason"]), (&json!("created"), &json!(false), &json!("not started")));
    assert_eq!(daemon.tell("later", "start")["status"], "running");
}
