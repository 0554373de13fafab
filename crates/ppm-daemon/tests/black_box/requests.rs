//! What clients may ask for, and that each of them gets exactly what it asked for.

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, TIDY, pid_of, shell, until};

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn names_that_cannot_be_are_refused_with_the_rule_and_a_remedy() {
    let daemon = Daemon::start();
    daemon.add("before", "exec sleep 1000");
    let long = "x".repeat(10_000);
    let bad = ["", "a/b", "/", "../x", "a b", "\t", "naïve", "服务", "42", "-x", "--", "all", "ppm-daemon", "a\nb", "a\0b", "*", &long];
    for name in bad {
        let error = daemon.refused("add", &shell(name, "exec sleep 1000", &json!({})));
        assert_eq!(error["code"], 1003, "{name:?}: {error}");
        let (message, hint) = (error["message"].as_str().unwrap(), error["data"]["hint"].as_str().unwrap());
        assert!(!message.is_empty() && message.len() < 200 && !hint.is_empty(), "{error}");
    }
    let list = daemon.call("list", &json!({}));
    assert_eq!((names(&list), &list[0]["status"]), (vec!["before"], &json!("running")));
    for good in ["a", "A.b_c-d@1", "1a", "_", ".x"] {
        assert_eq!(daemon.add(good, "exec sleep 1000")["status"], "running", "{good}");
    }
}

#[test]
fn services_that_cannot_be_are_refused_and_nothing_is_kept() {
    let daemon = Daemon::start();
    let cases = [
        json!({"name": "svc", "command": []}),
        json!({"name": "svc", "command": [""]}),
        json!({"name": "svc", "command": ["a\u{0}b"]}),
        json!({"name": "svc", "command": ["true"], "workdir": "relative"}),
        json!({"name": "svc", "command": ["true"], "env": {"A=B": "x"}}),
        json!({"name": "svc", "command": ["true"], "env": {"": "x"}}),
        json!({"name": "svc", "command": ["true"], "restart": "sometimes"}),
    ];
    for case in cases {
        assert_eq!(daemon.refused("add", &case)["code"], 1003, "{case}");
    }
    assert_eq!(daemon.call("list", &json!({})), json!([]));
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let daemon = Daemon::start();
    let row = daemon.add("svc", "exec sleep 1000");
    let error = daemon.refused("add", &shell("svc", "exit 0", &json!({})));
    let found = (&error["code"], &error["message"]);
    assert_eq!(found, (&json!(1002), &json!("there is a service `svc` already (Running, from ppm add)")));
    assert_eq!(daemon.row("svc")["pid"], row["pid"]);
}

#[test]
fn services_are_named_by_name_number_glob_or_all() {
    let daemon = Daemon::start();
    for name in ["web-1", "web-2", "db"] {
        daemon.add(name, "exec sleep 1000");
    }
    let cases: [(Value, &[&str]); 6] = [
        (json!([]), &["web-1", "web-2", "db"]),
        (json!(["all"]), &["web-1", "web-2", "db"]),
        (json!(["web-*"]), &["web-1", "web-2"]),
        (json!(["3", "web-1"]), &["web-1", "db"]),
        (json!(["?b", "db", "3"]), &["db"]),
        (json!(["[a-d]*"]), &["db"]),
    ];
    for (services, expected) in cases {
        assert_eq!(names(&daemon.call("list", &json!({"services": services}))), expected, "{services}");
    }
}

#[test]
fn a_name_that_is_not_there_changes_nothing_and_the_nearest_is_proposed() {
    let daemon = Daemon::start();
    let row = daemon.add("website", "exec sleep 1000");
    for method in ["start", "stop", "restart", "remove", "pause", "resume"] {
        let error = daemon.refused(method, &json!({"services": ["website", "wepsite"]}));
        assert_eq!((&error["code"], &error["message"]), (&json!(1001), &json!("no such service `wepsite`")), "{method}");
        assert_eq!((&error["data"]["similar"], &error["data"]["count"]), (&json!("website"), &json!(1)), "{method}");
    }
    for name in ["99", "nothing-*", "x".repeat(100_000).as_str()] {
        assert_eq!(daemon.refused("info", &json!({"services": [name]}))["code"], 1001);
    }
    assert_eq!(daemon.row("website")["pid"], row["pid"]);
}

#[test]
fn what_changes_something_never_takes_nothing_for_everything() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    for method in ["start", "stop", "restart", "remove", "reschedule", "pause", "resume", "signal", "wait"] {
        for params in [json!({}), json!({"services": []})] {
            assert_eq!(daemon.refused(method, &params)["code"], -32602, "{method} {params}");
        }
    }
    assert_eq!(daemon.row("svc")["status"], "running");
}

#[test]
fn r56_requests_have_come_true_when_they_are_answered() {
    let daemon = Daemon::start();
    let first = daemon.add("svc", "exec sleep 1000");
    assert_eq!((&first["status"], &first["restarts"]), (&json!("running"), &json!(0)));
    assert_eq!(daemon.tell("svc", "start")["pid"], first["pid"], "what runs is not started again");
    let second = daemon.tell("svc", "restart");
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["restarts"], 1);
    for _ in 0..2 {
        let row = daemon.tell("svc", "stop");
        assert_eq!((&row["status"], &row["pid"]), (&json!("finished"), &Value::Null));
    }
    assert_ne!(daemon.tell("svc", "restart")["pid"], second["pid"]);
}

#[test]
fn who_does_not_want_to_wait_is_answered_at_once() {
    let services = [shell("svc", TIDY, &json!({"stop": {"timeout": "10m"}}))];
    let daemon = Setup::new().services(&services).start();
    daemon.lines_in("ready.svc");
    let row = daemon.call("stop", &json!({"services": ["svc"], "wait": false}))["services"][0].clone();
    assert_eq!((&row["status"], &row["active"]), (&json!("running"), &json!(false)));
    daemon.touch("go");
    daemon.wait("svc", "stopped");
}

#[test]
fn one_service_that_cannot_start_does_not_spoil_the_others() {
    let services = [
        shell("good", "exec sleep 1000", &json!({"autostart": false})),
        json!({"name": "bad", "command": ["/nowhere"], "autostart": false, "restart": "never"}),
    ];
    let daemon = Setup::new().services(&services).start();
    let changed = daemon.call("start", &json!({"services": ["all"]}));
    assert_eq!(names(&changed["services"]), ["good", "bad"]);
    assert_eq!(changed["failed"], json!([{"service": "bad", "message": "exec: no such file: /nowhere"}]));
    assert_eq!(daemon.row("good")["status"], "running");
}

#[test]
fn a_signal_reaches_the_whole_service_and_needs_a_process() {
    let daemon = Daemon::start();
    let script = "trap 'echo leader >> got' USR1; (trap 'echo child >> got' USR1; echo > ready; while :; do sleep 0.02; done) &
        while :; do wait; done";
    daemon.add("svc", script);
    daemon.add("done", "exit 0");
    daemon.wait("done", "finished");
    daemon.lines_in("ready");
    let changed = daemon.call("signal", &json!({"services": ["svc", "done"], "signal": "USR1"}));
    assert_eq!(changed["failed"], json!([{"service": "done", "message": "it is not running"}]));
    until("both have got it", || {
        let mut lines = daemon.lines_in("got");
        lines.sort();
        (lines == ["child", "leader"]).then_some(())
    });
    for bad in [json!("NOSUCH"), json!(0), json!("65")] {
        assert_eq!(daemon.refused("signal", &json!({"services": ["svc"], "signal": bad}))["code"], -32602, "{bad}");
    }
}

#[test]
fn pausing_what_does_not_run_is_told() {
    let daemon = Daemon::start();
    daemon.add("svc", "exit 0");
    daemon.wait("svc", "finished");
    for method in ["pause", "resume"] {
        let changed = daemon.call(method, &json!({"services": ["svc"]}));
        assert_eq!(changed["failed"], json!([{"service": "svc", "message": "it is not running"}]), "{method}");
    }
}

#[test]
fn wait_is_answered_when_the_goal_is_reached_or_cannot_be_any_more() {
    let daemon = Daemon::start();
    daemon.add("svc", "while [ ! -e go ]; do sleep 0.02; done; exit 0");
    for goal in ["running", "ready"] {
        assert_eq!(daemon.wait("svc", goal)["status"], "running");
    }
    let mut client = daemon.client();
    let wait = client.send("wait", &json!({"services": ["svc"], "for": "finished"}));
    daemon.touch("go");
    assert_eq!(client.reply(wait).unwrap()["services"][0]["status"], "finished");
    daemon.wait("svc", "stopped");
    let error = daemon.refused("wait", &json!({"services": ["svc"], "for": "running"}));
    assert_eq!((&error["code"], &error["message"]), (&json!(1006), &json!("`svc` will not be running: Finished, exit code 0")));

    daemon.add_with("gone", "exit 0", &json!({"schedule": "0 0 1 1 *"}));
    let wait = client.send("wait", &json!({"services": ["gone"], "for": "running"}));
    daemon.tell("gone", "remove");
    let error = client.reply(wait).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["service"]), (&json!(1006), &json!("gone")), "{error}");
}

#[test]
fn wait_gives_up_when_its_time_is_over() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    for timeout in [0, 50] {
        let error = daemon.refused("wait", &json!({"services": ["svc"], "for": "stopped", "timeout_ms": timeout}));
        assert_eq!((&error["code"], &error["data"]["waiting"]), (&json!(1005), &json!(["svc"])), "{error}");
        assert!(error["message"].as_str().unwrap().starts_with("`svc` is not stopped yet: Running, "), "{error}");
    }
}

#[test]
fn events_tell_the_whole_story_in_order() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    let pid = daemon.add("svc", "exec sleep 1000")["pid"].clone();
    daemon.tell("svc", "pause");
    daemon.tell("svc", "resume");
    daemon.tell("svc", "stop");
    daemon.tell("svc", "remove");
    let story: [(&str, &str, &str, bool); 7] = [
        ("added", "created", "created", false),
        ("started", "created", "running", true),
        ("paused", "running", "stopped", true),
        ("resumed", "stopped", "running", true),
        ("stopping", "running", "running", true),
        ("exited", "running", "finished", true),
        ("removed", "finished", "finished", false),
    ];
    let mut past = daemon.call("events", &json!({}))["events"].as_array().unwrap().clone().into_iter();
    for (event, from, to, has_pid) in story {
        let told = events.next();
        let pid = if has_pid { &pid } else { &Value::Null };
        let found = (&told["event"], &told["from"], &told["to"], &told["pid"], &told["service"]);
        assert_eq!(found, (&json!(event), &json!(from), &json!(to), pid, &json!("svc")), "{told}");
        assert_eq!(past.next(), Some(told));
    }
    assert_eq!(past.next(), None);
}

#[test]
fn events_can_be_asked_of_some_services_and_only_the_last() {
    let daemon = Daemon::start();
    for name in ["one", "two"] {
        daemon.add(name, "exec sleep 1000");
    }
    let told = daemon.call("events", &json!({"services": ["two"], "last": 1}));
    let events = told["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["service"], &events[0]["event"]), (1, &json!("two"), &json!("started")));
    let mut client = daemon.client();
    client.call("events", &json!({"services": ["two"], "last": 0, "follow": true}));
    daemon.tell("one", "stop");
    daemon.tell("two", "stop");
    assert_eq!(client.line().unwrap()["params"]["service"], "two");
}

#[test]
fn statistics_are_of_the_services_and_of_the_daemon() {
    let daemon = Daemon::start();
    let pid = pid_of(&daemon.add("svc", "exec sleep 1000"));
    daemon.add("done", "exit 0");
    daemon.wait("done", "finished");
    let rows = daemon.call("stats", &json!({}));
    assert_eq!(names(&rows), ["svc", "done", "<ppm>"]);
    let (service, done, own) = (&rows[0], &rows[1], &rows[2]);
    assert_eq!((&service["pid"], &own["pid"], &own["id"]), (&json!(pid.as_raw()), &json!(daemon.pid.as_raw()), &Value::Null));
    for row in [service, own] {
        assert!(row["memory_rss"].as_u64() > Some(0) && row["cpu_percent"].is_number() && row["io_read_rate"].is_number(), "{row}");
    }
    assert!(done["pid"].is_null() && done["memory_rss"].is_null() && done["uptime_ms"].is_null(), "{done}");
}

#[test]
fn the_running_configuration_loads_to_the_same() {
    let services =
        [shell("svc", "exec sleep 1000", &json!({"restart": {"interval": "7s"}, "env": {"A": "b c"}, "stop": {"signal": "INT"}}))];
    let daemon = Setup::new().services(&services).start();
    daemon.add_with("added", "exit 0", &json!({"schedule": "0 3 * * *"}));
    let yaml = daemon.call("configuration", &json!({}))["yaml"].as_str().unwrap().to_owned();
    let again = Setup::new().config_text(&yaml).start();
    assert_eq!(again.call("configuration", &json!({}))["yaml"], yaml);
    let strip = |daemon: &Daemon| {
        let mut rows = daemon.call("info", &json!({}));
        for row in rows.as_array_mut().unwrap() {
            for key in ["pid", "started_at", "uptime_ms", "source", "reason"] {
                row.as_object_mut().unwrap().remove(key);
            }
        }
        rows
    };
    again.wait("svc", "running");
    assert_eq!(strip(&again), strip(&daemon));
}

#[test]
fn ids_of_the_configuration_are_kept_and_others_fill_the_gaps() {
    let services = [
        shell("a", "exit 0", &json!({"id": 2, "autostart": false})),
        shell("b", "exit 0", &json!({"autostart": false})),
        shell("c", "exit 0", &json!({"autostart": false})),
    ];
    let daemon = Setup::new().services(&services).start();
    let id = |name: &str| daemon.row(name)["id"].as_u64().unwrap();
    assert_eq!((id("b"), id("a"), id("c")), (1, 2, 3));
}
