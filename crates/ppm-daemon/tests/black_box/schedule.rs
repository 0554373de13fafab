//! Services that start by the wall clock.

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, pid_of, shell, until};

const EVERY_SECOND: &str = "*/1 * * * * *";
const NEW_YEAR: &str = "0 0 1 1 *";

fn add(daemon: &Daemon, script: &str, schedule: &str) -> Value {
    daemon.add_with("svc", script, &json!({"schedule": schedule, "restart": "never"}))
}

#[test]
fn r36_a_schedule_fires_at_its_seconds_and_goes_on() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    let row = add(&daemon, "echo $PPM_START_REASON >> reasons", EVERY_SECOND);
    assert_eq!((&row["status"], &row["active"], &row["reason"]), (&json!("created"), &json!(true), &json!("waiting for its schedule")));
    let mut planned = row["next_start"]["at"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert!(planned.ends_with(".000Z"), "{planned}");
        let started = events.until("svc", "started")["time"].as_str().unwrap().to_owned();
        assert!(started >= planned, "planned for {planned}, started at {started}");
        let next = daemon.row("svc")["next_start"].clone();
        assert_eq!(next["why"], "schedule");
        let next = next["at"].as_str().unwrap().to_owned();
        assert!(next > planned, "planned for {planned}, then for {next}");
        planned = next;
    }
    daemon.tell("svc", "stop");
    assert!(daemon.lines_in("reasons").iter().all(|reason| reason == "schedule"));
}

#[test]
fn r37_a_run_that_still_lasts_at_the_next_fire_is_ended_first() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    add(&daemon, "sleep 1000 & wait", EVERY_SECOND);
    for _ in 0..2 {
        let first = events.until("svc", "started");
        events.until("svc", "stopping");
        assert_eq!(events.until("svc", "exited")["pid"], first["pid"]);
    }
    daemon.tell("svc", "stop");
    assert!(daemon.descendants().is_empty());
}

#[test]
fn a_scheduled_service_can_be_started_stopped_and_planned_again() {
    let daemon = Daemon::start();
    let row = add(&daemon, "exec sleep 1000", NEW_YEAR);
    let planned = row["next_start"].clone();
    assert_eq!((&planned["why"], &row["pid"]), (&json!("schedule"), &Value::Null));

    let row = daemon.tell("svc", "start");
    assert_eq!((&row["status"], &row["next_start"], &row["reason"]), (&json!("running"), &planned, &json!("started by request")));

    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["active"], &row["next_start"]), (&json!("finished"), &json!(false), &Value::Null));
    assert_eq!(daemon.call("scheduler", &json!({})), json!([]));

    let row = daemon.tell("svc", "reschedule");
    let found = (&row["status"], &row["active"], &row["next_start"], &row["pid"]);
    assert_eq!(found, (&json!("finished"), &json!(true), &planned, &Value::Null));
    let plans = daemon.call("scheduler", &json!({}));
    let found = (&plans[0]["name"], &plans[0]["event"], &plans[0]["at"], &plans[0]["rule"]);
    assert_eq!(found, (&json!("svc"), &json!("schedule"), &planned["at"], &json!(NEW_YEAR)));

    let first = pid_of(&daemon.tell("svc", "restart"));
    assert_eq!(pid_of(&daemon.tell("svc", "reschedule")), first);
}

#[test]
fn a_schedule_that_is_stopped_fires_no_more_and_goes_on_when_it_is_wanted_again() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    add(&daemon, "exit 0", EVERY_SECOND);
    events.until("svc", "started");
    let stopped = daemon.tell("svc", "stop")["restarts"].clone();
    // Another service's schedule shows that time goes by.
    daemon.add_with("clock", "exit 0", &json!({"schedule": EVERY_SECOND, "restart": "never"}));
    for _ in 0..2 {
        events.until("clock", "started");
    }
    assert_eq!(daemon.row("svc")["restarts"], stopped);
    daemon.tell("svc", "reschedule");
    events.until("svc", "started");
}

#[test]
fn only_a_service_with_a_schedule_can_be_planned() {
    let daemon = Daemon::start();
    daemon.add("svc", "exit 0");
    let error = daemon.refused("reschedule", &json!({"services": ["svc"]}));
    assert_eq!((&error["code"], &error["message"]), (&json!(1004), &json!("`svc` has no schedule")));
}

#[test]
fn schedules_of_the_configuration_wait_for_their_time_and_for_autostart() {
    let services = [
        shell("active", "exit 0", &json!({"schedule": NEW_YEAR})),
        shell("idle", "exit 0", &json!({"schedule": EVERY_SECOND, "autostart": false})),
        shell("clock", "exit 0", &json!({"schedule": EVERY_SECOND})),
    ];
    let daemon = Setup::new().services(&services).start();
    let mut events = daemon.events();
    for _ in 0..2 {
        events.until("clock", "started");
    }
    for (name, active) in [("active", true), ("idle", false)] {
        let row = daemon.row(name);
        assert_eq!((&row["status"], &row["active"], row["next_start"].is_null()), (&json!("created"), &json!(active), !active), "{row}");
    }
    daemon.tell("idle", "reschedule");
    events.until("idle", "started");
}

#[test]
fn a_time_zone_that_is_misspelt_is_told_and_utc_is_used() {
    let daemon = Setup::new().env("TZ", "Europe/Pariss").start();
    let row = add(&daemon, "exit 0", NEW_YEAR);
    assert!(row["next_start"]["at"].as_str().unwrap().ends_with("-01-01T00:00:00.000Z"), "{row}");
    assert!(daemon.stderr().contains("warning: schedules follow UTC: "), "{}", daemon.stderr());

    let daemon = Setup::new().env("TZ", "Europe/Paris").start();
    let row = add(&daemon, "exit 0", NEW_YEAR);
    assert!(row["next_start"]["at"].as_str().unwrap().ends_with("-12-31T23:00:00.000Z"), "{row}");
}

#[test]
fn a_schedule_that_makes_no_sense_is_refused() {
    let daemon = Daemon::start();
    for schedule in ["", "* * *", "61 * * * * *", "every day"] {
        let mut service = shell("svc", "exit 0", &json!({}));
        service["schedule"] = json!(schedule);
        assert_eq!(daemon.refused("add", &service)["code"], 1003, "{schedule}");
    }
    assert_eq!(daemon.call("list", &json!({})), json!([]));
    until("nothing was kept", || (daemon.call("scheduler", &json!({})) == json!([])).then_some(()));
}
