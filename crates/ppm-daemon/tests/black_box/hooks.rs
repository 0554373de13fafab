//! Hooks: what they are told, whose they are, what their failures do, and that nothing of them is left.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{DEAF, Daemon, Setup, TIDY, pid_of, shell, until};

fn with(script: &str, more: &Value) -> Daemon {
    Setup::new().services(&[shell("svc", script, more)]).start()
}

fn sh(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

const LASTS: &str = "exec sleep 1000";

#[test]
fn hooks_run_in_the_order_of_a_life() {
    let note = |word: &str| sh(&format!("echo {word} >> log"));
    let hooks = json!({"pre_start": note("pre_start"), "pre_stop": note("pre_stop"), "post_stop": note("post_stop")});
    let script = "echo main >> log; trap 'echo asked >> log; exit 0' TERM; echo > ready; while :; do sleep 0.02; done";
    let daemon = with(script, &json!({"hooks": hooks}));
    daemon.lines_in("ready");
    daemon.tell("svc", "stop");
    assert_eq!(daemon.lines_in("log"), ["pre_start", "main", "pre_stop", "asked", "post_stop"]);
}

#[test]
fn a_hook_is_told_what_it_is_about_and_has_the_surroundings_of_its_service() {
    let tell = |name: &str| sh(&format!("env > {name}.new; pwd > {name}.pwd; umask > {name}.umask; mv {name}.new {name}"));
    let hooks = json!({"pre_start": tell("pre_start"), "on_crash": tell("on_crash"), "post_start": tell("post_start")});
    let keys = json!({"hooks": hooks, "env": {"OWN": "mine"}, "umask": "027", "restart": "never"});
    let daemon = with("while [ ! -e post_start ]; do sleep 0.02; done; kill -SEGV $$", &keys);
    daemon.wait("svc", "stopped");
    let env = |name: &str| daemon.lines_in(name);
    for name in ["pre_start", "on_crash", "post_start"] {
        for line in ["PPM_SERVICE=svc", "PPM_START_REASON=boot", "OWN=mine", "PPM_RESTARTS=0", &format!("PPM_HOOK={name}")] {
            assert!(env(name).contains(&line.to_owned()), "{line} is not in {:?}", env(name));
        }
        assert_eq!(daemon.lines_in(&format!("{name}.umask")), ["0027"]);
    }
    let told = env("on_crash");
    for line in ["PPM_EXIT_SIGNAL=SIGSEGV", "PPM_REASON=killed by SIGSEGV", "PPM_CRASHES=1"] {
        assert!(told.contains(&line.to_owned()), "{line} is not in {told:?}");
    }
    let pid = |line: &String| line.starts_with("PPM_PID=");
    assert!(env("post_start").iter().any(pid) && !told.iter().any(pid));
}

#[test]
fn a_start_whose_pre_start_fails_is_a_crash_that_says_so() {
    let daemon = with("echo > started; exec sleep 1000", &json!({"hooks": {"pre_start": sh("exit 3")}, "restart": "never"}));
    assert_eq!(daemon.events().until("svc", "start_failed")["reason"], "pre_start: exit code 3");
    let row = daemon.row("svc");
    assert_eq!((&row["status"], &row["crashes"], &row["reason"]), (&json!("crashed"), &json!(1), &json!("pre_start: exit code 3")));
    let answer = daemon.call("start", &json!({"services": ["svc"]}));
    assert_eq!(answer["failed"][0]["message"], "pre_start: exit code 3");
    assert!(!daemon.path("started").exists());
}

#[test]
fn a_hook_that_cannot_be_started_says_why() {
    let daemon = with(LASTS, &json!({"hooks": {"pre_start": "/nowhere/hook"}, "restart": "never"}));
    assert_eq!(daemon.events().until("svc", "start_failed")["reason"], "pre_start: exec: no such file: /nowhere/hook");
}

#[test]
fn r24_what_a_hook_leaves_behind_is_gone_before_anything_follows() {
    let leave = "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo > left";
    let daemon = with(LASTS, &json!({"hooks": {"pre_start": sh(leave)}}));
    let pid = pid_of(&daemon.wait("svc", "running")).as_raw();
    daemon.lines_in("left");
    let others: Vec<_> = daemon.descendants().into_iter().filter(|process| process.pid != pid).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn r21_a_deaf_hook_is_killed_when_its_time_is_up_with_all_that_it_has_started() {
    let deaf = "trap '' TERM; setsid sh -c \"trap '' TERM; echo > ready; sleep 1000\" & sleep 1000 & wait";
    let hook = json!({"command": sh(deaf), "timeout": "100ms"});
    let daemon = with(LASTS, &json!({"hooks": {"pre_stop": hook}}));
    daemon.wait("svc", "running");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["reason"]), (&json!("finished"), &json!("stopped by request")));
    assert_eq!(daemon.events().until("svc", "hook_failed")["reason"], "pre_stop: did not end within 100ms");
    assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
}

#[test]
fn r23_a_stop_while_pre_start_works_leaves_nothing_and_starts_nothing() {
    let hooks = json!({"pre_start": sh("echo > preparing; sleep 1000 & wait"), "post_stop": sh("echo > cleaned")});
    let daemon = with("echo > started; sleep 1000", &json!({"hooks": hooks}));
    daemon.lines_in("preparing");
    assert_eq!(daemon.row("svc")["reason"], "starting: pre_start is at work");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["active"]), (&json!("created"), &json!(false)));
    assert!(daemon.descendants().is_empty() && !daemon.path("started").exists());
    daemon.lines_in("cleaned");
}

#[test]
fn r23_a_restart_while_pre_stop_works_comes_to_one_fresh_run() {
    let hooks = json!({"pre_stop": sh("echo >> stopping; while [ ! -e go ]; do sleep 0.02; done")});
    let daemon = with(LASTS, &json!({"hooks": hooks}));
    let before = pid_of(&daemon.wait("svc", "running"));
    let mut client = daemon.client();
    let stop = client.send("stop", &json!({"services": ["svc"]}));
    daemon.lines_in("stopping");
    let mut others: Vec<_> = (0..20).map(|_| daemon.client()).collect();
    let calls: Vec<i64> = others.iter_mut().map(|other| other.send("restart", &json!({"services": ["svc"]}))).collect();
    daemon.call("list", &json!({}));
    daemon.touch("go");
    for (other, call) in others.iter_mut().zip(calls) {
        assert_eq!(other.reply(call).unwrap()["failed"], json!([]));
    }
    client.reply(stop).unwrap();
    assert_ne!(pid_of(&daemon.row("svc")), before);
    assert_eq!((daemon.row("svc")["restarts"].clone(), daemon.lines_in("stopping").len()), (json!(1), 1));
    assert_eq!(daemon.descendants().len(), 1, "{:?}", daemon.descendants());
}

#[test]
fn the_command_of_stop_ends_it_and_the_signal_does_not_follow_whom_it_has_ended() {
    let script = "trap 'echo term > asked; exit 1' TERM; trap 'exit 0' USR1; echo > ready; while :; do sleep 0.02; done";
    let command = sh("kill -USR1 $PPM_PID; while kill -0 $PPM_PID; do sleep 0.02; done 2>&-");
    let daemon = with(script, &json!({"stop": {"command": command, "timeout": "10m"}}));
    daemon.lines_in("ready");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["status"], &row["exit"]), (&json!("finished"), &json!({"code": 0})));
    assert!(!daemon.path("asked").exists());
}

#[test]
fn a_command_of_stop_that_fails_is_followed_by_the_signal_and_one_that_hangs_by_sigkill() {
    let daemon = with(LASTS, &json!({"stop": {"command": sh("exit 7"), "timeout": "10m"}}));
    daemon.wait("svc", "running");
    let row = daemon.tell("svc", "stop");
    assert_eq!((&row["exit"], &row["reason"]), (&json!({"signal": "SIGTERM"}), &json!("stopped by request")));
    assert_eq!(daemon.events().until("svc", "hook_failed")["reason"], "stop: exit code 7");

    let daemon = with(DEAF, &json!({"stop": {"command": sh(DEAF), "timeout": "200ms"}}));
    daemon.lines_in("ready.svc");
    assert_eq!(daemon.tell("svc", "stop")["reason"], "killed: did not stop within 200ms");
    assert!(daemon.descendants().is_empty());
}

#[test]
fn hooks_that_accompany_a_run_end_with_it_and_one_for_a_crash_outlasts_it() {
    let lasts = sh("echo > lasts; exec sleep 1000");
    let crash = sh("echo > crash.$PPM_RESTARTS; while [ ! -e go ]; do sleep 0.02; done");
    let hooks = json!({"post_start": lasts, "on_crash": crash});
    let script = "while [ ! -e lasts ]; do sleep 0.02; done; [ -e second ] && exec sleep 1000; echo > second; exit 1";
    let daemon = with(script, &json!({"hooks": hooks, "restart": {"interval": "0s"}}));
    daemon.lines_in("crash.0");
    daemon.lines_in("second");
    daemon.wait("svc", "running"); // while the hook for the crash is still at work
    assert!(!daemon.path("crash.1").exists());
    daemon.touch("go");
    // It looks for that now and then. What runs and what accompanies it are left.
    until("the hook for the crash ends", || (daemon.descendants().len() == 2).then_some(()));
    daemon.tell("svc", "stop");
    assert!(daemon.descendants().is_empty(), "{:?}", daemon.descendants());
}

#[test]
fn the_daemon_that_ends_with_an_essential_service_waits_for_what_tells_of_its_crash() {
    let hooks = json!({"on_crash": sh("sleep 0.3; echo $PPM_EXIT_CODE > told")});
    let mut daemon = with("while [ ! -e go ]; do sleep 0.02; done; exit 9", &json!({"hooks": hooks, "essential": true}));
    daemon.touch("go");
    assert_eq!(daemon.exit_code(), 9);
    assert_eq!(daemon.lines_in("told"), ["9"]);
}

#[test]
fn r26_hooks_are_part_of_the_time_that_a_shutdown_may_take() {
    let hooks = json!({"pre_stop": sh(DEAF), "on_crash": sh(DEAF)});
    let services = [shell("svc", TIDY, &json!({"hooks": hooks}))];
    let mut daemon = Setup::new().config(&json!({"shutdown_timeout": "300ms", "services": services})).start();
    daemon.wait("svc", "running");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.descendants().is_empty());
}

#[test]
fn a_removed_service_is_gone_when_its_last_hook_is() {
    let hooks = json!({"post_stop": sh("echo > cleaning; while [ ! -e go ]; do sleep 0.02; done")});
    let daemon = with(LASTS, &json!({"hooks": hooks}));
    daemon.wait("svc", "running");
    let mut client = daemon.client();
    let remove = client.send("remove", &json!({"services": ["svc"]}));
    daemon.lines_in("cleaning");
    assert_eq!(daemon.row("svc")["reason"], "stopped by request; post_stop is at work");
    daemon.touch("go");
    client.reply(remove).unwrap();
    assert_eq!(daemon.call("list", &json!({})), json!([]));
}

#[test]
fn what_a_hook_writes_goes_where_its_service_writes() {
    let folder = tempfile::tempdir().unwrap();
    let service = shell(
        "svc",
        "echo main; exec sleep 1000",
        &json!({"hooks": {"pre_start": sh("echo before"), "post_start": sh("echo beside; echo said > said")}}),
    );
    let daemon = Setup::new().config(&json!({"logger": {"path": folder.path()}, "services": [service]})).start();
    daemon.lines_in("said");
    daemon.tell("svc", "stop");
    let log = until("all is written", || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension() == Some("log".as_ref()));
        let text: String = logs.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        (text.lines().count() == 3).then_some(text)
    });
    let mut lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.first(), Some(&"before"));
    lines.sort_unstable();
    assert_eq!(lines, ["before", "beside", "main"]);
}
