//! Services that start by the wall clock.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
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

/// A clock that can be set for one process alone, by the library of Debian's package `faketime`.
const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn r36_schedules_go_on_whatever_happens_to_the_clock() {
    if !Path::new(FAKE_CLOCK).exists() {
        return eprintln!("skipped: there is no {FAKE_CLOCK}, install Debian's package faketime");
    }
    // That library sets nothing for the kernel, so its timers do not tell: the clocks are compared every half second.
    let every_second = shell("svc", "exit 0", &json!({"schedule": EVERY_SECOND, "restart": "never", "inherit_env": false}));
    let setup = Setup::new().config(&json!({"clock_check_interval": "500ms", "services": [every_second]}));
    let offset = setup.path("offset");
    fs::write(&offset, "+0\n").unwrap();
    let fake = setup.env("LD_PRELOAD", FAKE_CLOCK).env("FAKETIME_TIMESTAMP_FILE", &offset);
    let daemon = fake.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1").start();
    let mut events = daemon.events();
    let mut last = events.until("svc", "started")["time"].as_str().unwrap().to_owned();
    let steps = [("+3600", "forward", true), ("+0", "back", false), ("+86400", "forward", true), ("+0", "back", false)];
    for (number, (set, direction, is_later)) in steps.into_iter().enumerate() {
        let new = daemon.path("offset.new");
        fs::write(&new, format!("{set}\n")).unwrap();
        fs::rename(new, &offset).unwrap(); // never read in parts
        let told = until(direction, || daemon.stderr().split("the wall clock went ").nth(number + 1).map(str::to_owned));
        assert!(told.starts_with(direction), "{told}");
        events.until("svc", "started");
        let started = events.until("svc", "started")["time"].as_str().unwrap().to_owned();
        assert_eq!(started > last, is_later, "{direction}: {last}, then {started}");
        last = started;
    }
}

#[test]
fn what_was_missed_while_the_daemon_was_not_there_is_made_up_for_once() {
    let config = json!({"state_dir": "STATE", "services": [
        shell("svc", "echo $PPM_START_REASON >> reasons", &json!({"schedule": {"cron": "0 3 * * *", "missed": "once"}}))
    ]});
    let with_state = |setup: Setup| {
        let folder = setup.path("state");
        (setup.config_text(&config.to_string().replace("STATE", folder.to_str().unwrap())), folder.join("schedules.json"))
    };
    let (setup, file) = with_state(Setup::new());
    fs::create_dir(file.parent().unwrap()).unwrap();
    let long_ago = r#"{"version":1,"services":{"svc":{"rule":"0 3 * * *","planned":"2026-01-02T03:00:00.000Z"}}}"#;
    fs::write(&file, long_ago).unwrap();
    let mut daemon = setup.start();
    daemon.wait("svc", "finished");
    assert_eq!(daemon.lines_in("reasons"), ["missed"]);
    daemon.signal(Signal::SIGTERM);
    daemon.end();
    let kept = fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("2026-01-02T03:00") && kept.contains("T03:00:00.000Z"), "{kept}");

    let (setup, again) = with_state(Setup::new());
    fs::create_dir(again.parent().unwrap()).unwrap();
    fs::write(&again, kept).unwrap();
    let daemon = setup.start();
    let runs = daemon.call("runs", &json!({"services": ["svc"]}));
    assert_eq!((&runs[0]["fired"], &daemon.row("svc")["status"]), (&json!(0), &json!("created")));
}

#[test]
fn what_cannot_be_remembered_is_told_once_and_costs_no_run() {
    let setup = Setup::new();
    let folder = setup.path("state");
    fs::write(&folder, "no folder").unwrap();
    let schedule = json!({"cron": "* * * * * *", "missed": "once"});
    let config = json!({"state_dir": folder, "services": [shell("svc", "echo x >> runs", &json!({"schedule": schedule}))]});
    let daemon = setup.config(&config).start();
    until("two runs", || (daemon.lines_in("runs").len() > 1).then_some(()));
    let said = daemon.stderr();
    let why = format!("`missed: once` is not remembered: {}/schedules.json: file exists", folder.display());
    assert_eq!(said.matches(&why).count(), 1, "{said}");
}

#[test]
fn without_missed_once_there_is_no_state() {
    let services = [shell("svc", "exit 0", &json!({"schedule": EVERY_SECOND}))];
    let setup = Setup::new();
    let state = setup.path("state");
    let daemon = setup.env("XDG_STATE_HOME", &state).services(&services).start();
    daemon.events().until("svc", "started");
    assert!(!state.exists());
}

#[test]
fn a_run_that_lasts_too_long_is_ended_and_told() {
    let keys = json!({"schedule": {"cron": EVERY_SECOND, "overlap": "skip", "timeout": "1200ms", "retry": "never"}});
    let daemon = Setup::new().services(&[shell("svc", "exec sleep 1000", &keys)]).start();
    let mut events = daemon.events();
    let first = events.until("svc", "started");
    events.until("svc", "skipped");
    events.until("svc", "timed_out");
    let exited = events.until("svc", "exited");
    assert_eq!((&exited["pid"], &exited["to"], &exited["reason"]), (&first["pid"], &json!("crashed"), &json!("ran longer than 1.2s")));
    events.until("svc", "started");
    let runs = daemon.call("runs", &json!({"services": ["svc"]}));
    let run = &runs[0]["runs"][0];
    assert_eq!((&run["result"], &run["reason"], &run["exit"]), (&json!("timed_out"), &json!("schedule"), &json!({"signal": "SIGTERM"})));
    assert!(run["late_ms"].is_u64() && runs[0]["timeouts"].as_u64() >= Some(1) && runs[0]["skipped"].as_u64() >= Some(1), "{runs}");
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

/// Debian 13 has older names in a package of their own.
#[test]
fn a_time_zone_that_the_system_lacks_is_built_in() {
    // tzfile(5), version 1: a header, one type (no seconds east, no summer time, first name), its name.
    let counts: [u32; 6] = [0, 0, 0, 0, 1, 4];
    let mut bytes = [b"TZif".as_slice(), &[0; 16]].concat();
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend([0; 6]);
    bytes.extend(b"XYZ\0");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Here"), bytes).unwrap();
    let daemon = Setup::new().env("TZDIR", folder.path()).env("TZ", "US/Eastern").start();
    let row = add(&daemon, "exit 0", NEW_YEAR);
    assert!(row["next_start"]["at"].as_str().unwrap().ends_with("-01-01T05:00:00.000Z"), "{row}");
    assert!(!daemon.stderr().contains("schedules follow UTC"), "{}", daemon.stderr());
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
