//! The daemon's own life: how it begins, what it answers to, and how it ends.

use std::fs;
use std::io::Write;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::harness::{DEAF, Daemon, Process, Setup, TIDY, open_pipe, shell, until};

/// The service of this name, which must not be killed for its slowness.
fn patient(name: &str, script: &str) -> Value {
    shell(name, script, &json!({"stop": {"timeout": "10m"}, "restart": "always"}))
}

fn is_gone(daemon: &Daemon) -> bool {
    let files = fs::read_dir(daemon.path("")).unwrap().flatten();
    let names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    !names.iter().any(|name| name.starts_with("ppm.sock"))
}

/// Asks it to end and waits until its services have heard of it.
fn ask_to_end(daemon: &Daemon, signal: Signal, service: &str) {
    let mut events = daemon.events();
    daemon.signal(signal);
    events.until(service, "stopping");
}

fn ends_in_order(setup: Setup, signal: Signal) {
    let long = json!({"shutdown_timeout": "10m", "services": [patient("one", TIDY), patient("two", TIDY), patient("three", "exit 1")]});
    let mut daemon = setup.config(&long).start();
    for name in ["ready.one", "ready.two"] {
        daemon.lines_in(name);
    }
    ask_to_end(&daemon, signal, "two");
    let refusal = daemon.refused("start", &json!({"services": ["all"]}));
    assert_eq!((&refusal["code"], &refusal["message"]), (&json!(1004), &json!("the daemon is shutting down; nothing is started any more")));
    assert_eq!(daemon.row("three")["next_start"], Value::Null);
    daemon.touch("go");
    assert_eq!(daemon.exit_code(), 0);
    for name in ["cleaned.one", "cleaned.two"] {
        assert!(daemon.path(name).exists(), "{name}");
    }
    assert!(is_gone(&daemon));
    assert!(daemon.processes().is_empty());
}

#[test]
fn r26_term_lets_all_services_clean_up_and_leaves_nothing() {
    ends_in_order(Setup::new(), Signal::SIGTERM);
}

#[test]
fn r26_int_is_as_good_as_term() {
    ends_in_order(Setup::new(), Signal::SIGINT);
}

#[test]
fn r26_process_one_lets_all_services_clean_up_and_leaves_nothing() {
    if let Some(setup) = Setup::as_process_one() {
        ends_in_order(setup, Signal::SIGTERM);
    }
}

#[test]
fn r21_what_left_its_service_ends_with_process_one() {
    let Some(setup) = Setup::as_process_one() else { return };
    let mut daemon = setup.start();
    daemon.add("svc", "setsid -f sleep 1000; exec sleep 1000");
    until("the sleeper has gone its own way", || (daemon.descendants().len() == 2).then_some(()));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    until("nothing is left", || daemon.processes().is_empty().then_some(()));
}

#[test]
fn r26_who_does_not_stop_is_killed_when_the_whole_time_is_over() {
    let config = json!({"shutdown_timeout": "200ms", "services": [patient("deaf", DEAF), patient("well", "exec sleep 1000")]});
    let mut daemon = Setup::new().config(&config).start();
    daemon.lines_in("ready.deaf");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.stderr().contains("no time left: SIGKILL to deaf"), "{}", daemon.stderr());
    assert!(daemon.processes().is_empty());
}

#[test]
fn r26_without_services_it_ends_at_once() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(is_gone(&daemon));
}

#[test]
fn r26_a_paused_service_hears_of_the_end() {
    let mut daemon = Setup::new().services(&[patient("svc", "exec sleep 1000")]).start();
    daemon.wait("svc", "running");
    daemon.tell("svc", "pause");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(!daemon.stderr().contains("SIGKILL to"), "{}", daemon.stderr());
}

#[test]
fn r60_hundreds_of_services_end_in_order() {
    let services: Vec<Value> = (0..300).map(|number| patient(&format!("svc-{number}"), "exec sleep 1000")).collect();
    let mut daemon = Setup::new().config(&json!({"shutdown_timeout": "10m", "services": services})).start();
    assert_eq!(daemon.call("wait", &json!({"services": ["all"], "for": "running"}))["failed"], json!([]));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.processes().is_empty());
}

/// Whatever started it may have blocked and ignored everything.
#[test]
fn r30_a_daemon_that_was_started_deaf_hears() {
    let deafen = || {
        // SAFETY: signal(2), sigfillset(3) and sigprocmask(2), the last two on a set of our own.
        unsafe {
            for signal in 1..=31 {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        Ok(())
    };
    let mut daemon = Setup::new().before_exec(deafen).start();
    daemon.add("svc", "exit 3");
    assert_eq!(daemon.wait("svc", "stopped")["exit"], json!({"code": 3}));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
}

fn one_patient(setup: Setup) -> Daemon {
    let daemon = setup.config(&json!({"shutdown_timeout": "10m", "services": [patient("svc", TIDY)]})).start();
    daemon.lines_in("ready.svc");
    daemon
}

#[test]
fn r27_term_again_changes_nothing() {
    let mut daemon = one_patient(Setup::new());
    ask_to_end(&daemon, Signal::SIGTERM, "svc");
    for _ in 0..10 {
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.row("svc")["status"], "running");
    }
    daemon.touch("go");
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.path("cleaned.svc").exists());
}

fn kills_at_once(setup: Setup, signals: &[Signal]) {
    let mut daemon = one_patient(setup);
    let (last, before) = signals.split_last().unwrap();
    for signal in before {
        ask_to_end(&daemon, *signal, "svc");
    }
    daemon.signal(*last);
    assert_eq!(daemon.exit_code(), 0);
    assert!(!daemon.path("cleaned.svc").exists());
    assert!(is_gone(&daemon));
    assert!(daemon.processes().is_empty());
}

#[test]
fn r27_a_second_int_ends_everything_now() {
    kills_at_once(Setup::new(), &[Signal::SIGINT, Signal::SIGINT]);
}

#[test]
fn r27_quit_ends_everything_now() {
    kills_at_once(Setup::new(), &[Signal::SIGQUIT]);
}

#[test]
fn r27_quit_cuts_a_shutdown_short() {
    kills_at_once(Setup::new(), &[Signal::SIGTERM, Signal::SIGQUIT]);
}

#[test]
fn r27_quit_ends_everything_now_in_process_one() {
    if let Some(setup) = Setup::as_process_one() {
        kills_at_once(setup, &[Signal::SIGQUIT]);
    }
}

fn survives_other_signals(daemon: &Daemon) {
    use Signal::{SIGCONT, SIGHUP, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH};
    let row = daemon.add("svc", "exec sleep 1000");
    for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGWINCH] {
        daemon.signal(signal);
        assert_eq!(daemon.row("svc")["pid"], row["pid"], "{signal}");
        assert_ne!(Process::find(daemon.pid.as_raw()).unwrap().state, 'T', "{signal}");
    }
    for number in [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO, libc::SIGPWR, libc::SIGXCPU].into_iter().chain(34..=64) {
        // SAFETY: kill(2) takes numbers.
        unsafe { libc::kill(daemon.pid.as_raw(), number) };
        assert_eq!(daemon.row("svc")["pid"], row["pid"], "{number}");
    }
}

#[test]
fn r30_no_other_signal_ends_or_stops_the_daemon() {
    survives_other_signals(&Daemon::start());
}

#[test]
fn r30_no_other_signal_ends_or_stops_process_one() {
    if let Some(setup) = Setup::as_process_one() {
        let daemon = setup.start();
        assert_eq!(daemon.call("hello", &json!({}))["pid"], 1);
        survives_other_signals(&daemon);
    }
}

/// The configuration is a pipe, so that the daemon is known to be reading it when the signals come.
fn hears_signals_from_the_start(mut setup: Setup) {
    let pipe = setup.path("config.yml");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    setup.command.arg("--config").arg(&pipe);
    let mut daemon = setup.launch();
    let mut config = open_pipe(&pipe);
    daemon.find_itself();
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM] {
        daemon.signal(signal);
    }
    let _ = config.write_all(b"services: [{name: svc, command: sleep 1000}]"); // it need not wait for this
    drop(config);
    assert_eq!(daemon.exit_code(), 0);
    assert!(is_gone(&daemon));
    assert!(daemon.processes().is_empty());
}

#[test]
fn r30_signals_are_heard_as_soon_as_the_daemon_begins() {
    hears_signals_from_the_start(Setup::new());
}

#[test]
fn r30_signals_are_heard_as_soon_as_process_one_begins() {
    if let Some(setup) = Setup::as_process_one() {
        hears_signals_from_the_start(setup);
    }
}

#[test]
fn a_request_to_shut_down_is_answered_before_and_over_when_the_connection_closes() {
    let mut daemon = one_patient(Setup::new());
    daemon.add("done", "exit 0");
    daemon.wait("done", "finished");
    let mut client = daemon.client();
    assert_eq!(client.call("shutdown", &json!({})), json!({"stopping": 1}));
    let mut waiting = daemon.client();
    let stop = waiting.send("stop", &json!({"services": ["svc"]}));
    waiting.call("hello", &json!({})); // what was asked before is under way
    daemon.touch("go");
    assert_eq!(waiting.reply(stop).unwrap()["services"][0]["status"], "finished");
    assert!(client.is_closed());
    assert!(is_gone(&daemon));
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn r63_a_configuration_that_was_named_must_be_there() {
    let missing = Setup::new();
    let path = missing.path("missing.yml");
    let mut by_flag = missing;
    by_flag.command.arg("--config").arg(&path);
    let by_variable = Setup::new().env("PPM_CONFIG", &path);
    let text = format!("error: cannot read the configuration {}: no such file or directory\n", path.display());
    for setup in [by_flag, by_variable] {
        let (code, stderr) = setup.fail();
        assert_eq!(code, 78);
        assert!(stderr.starts_with(&text), "{stderr}");
    }
}

#[test]
fn r63_a_folder_is_no_configuration() {
    let setup = Setup::new().env("PPM_CONFIG", "/");
    assert_eq!(setup.fail().0, 78);
}

#[test]
fn r63_a_wrong_configuration_starts_nothing() {
    let text = "services:\n  - name: good\n    command: touch started\n  - name: bad\n    comand: sleep 1\n    restart: 3\n";
    let mut daemon = Setup::new().config_text(text).launch();
    assert_eq!(daemon.exit_code(), 78);
    let stderr = daemon.stderr();
    for word in ["config.yml:5", "comand", "command", "config.yml:6"] {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
    assert!(!daemon.path("started").exists() && is_gone(&daemon));
}

#[test]
fn a_configuration_is_found_in_the_working_folder_and_at_home() {
    let text = json!({"services": [shell("svc", "exec sleep 1000", &json!({}))]}).to_string();
    for (name, home) in [(".partner-pm.yml", "/nowhere"), (".config/partner/partner-pm.yml", ""), ("xdg/partner/partner-pm.yml", "")] {
        let mut setup = Setup::new();
        let path = setup.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
        if !home.is_empty() {
            setup = setup.env("HOME", home);
        }
        if name.starts_with("xdg") {
            let folder = setup.path("xdg");
            setup = setup.env("XDG_CONFIG_HOME", folder);
        }
        assert_eq!(setup.start().wait("svc", "running")["status"], "running", "{name}");
    }
}

#[test]
fn ppm_log_chooses_how_much_is_said() {
    let said = |level: &str| {
        let daemon = Setup::new().env("PPM_LOG", level).start();
        daemon.add_with("bad", "exit 1", &json!({"restart": "never"}));
        daemon.wait("bad", "stopped");
        daemon.call("add", &json!({"name": "worse", "command": ["/nowhere"]}));
        let stderr = daemon.stderr();
        ["error: worse: cannot start", "warning: bad: exit code 1", "bad: started", "worse: planned"].map(|text| stderr.contains(text))
    };
    assert_eq!(said("error"), [true, false, false, false]);
    assert_eq!(said("warn"), [true, true, false, false]);
    assert_eq!(said("info"), [true, true, true, false]);
    assert_eq!(said("debug"), [true, true, true, true]);
    assert_eq!(said("nonsense"), [true, true, true, false]);
}

#[test]
fn wrong_usage_is_told_with_code_2() {
    for arg in ["--nonsense", "extra", "--config"] {
        let output = Setup::new().command.arg(arg).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arg}");
    }
}
