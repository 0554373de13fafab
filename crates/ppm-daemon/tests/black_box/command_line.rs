//! `ppm-daemon -- CMD`: the daemon in the place of tini, dumb-init or catatonit.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::harness::{Daemon, Process, Setup, pid_of, shell, until};

/// Once as an ordinary process and, where that is permitted, once as process 1.
fn both_ways(test: impl Fn(Setup)) {
    test(Setup::new());
    if let Some(setup) = Setup::as_process_one() {
        test(setup);
    }
}

/// Runs the test on a daemon with this script as its command, which has written `ready`.
fn with_main(script: &str, test: impl Fn(Daemon)) {
    both_ways(|setup| {
        let daemon = setup.main(script).start();
        daemon.lines_in("ready");
        test(daemon);
    });
}

#[test]
fn r28_the_exit_code_of_the_command_is_the_daemons_and_nothing_is_said() {
    for (script, expected) in
        [("exit 0", 0), ("exit 1", 1), ("exit 254", 254), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("kill -64 $$", 192)]
    {
        both_ways(|setup| assert_eq!(setup.main(script).fail(), (expected, String::new()), "{script}"));
    }
}

#[test]
fn r3_what_cannot_be_executed_is_told_and_is_127_or_126() {
    for (program, code, why) in [
        ("not-to-be-found", 127, "exec: no such file: not-to-be-found"),
        ("/nowhere/at/all", 127, "exec: no such file: /nowhere/at/all"),
        ("/etc/passwd", 126, "exec: not executable: /etc/passwd"),
        ("/etc", 126, "exec: is a folder: /etc"),
    ] {
        both_ways(|setup| {
            assert_eq!(setup.main_words(&[program]).fail(), (code, format!("ppm | error: main: cannot start: {why}\n")), "{program}");
        });
    }
}

#[test]
fn r28_the_signal_that_ends_the_daemon_is_passed_on_and_so_is_what_comes_of_it() {
    for (trap, signal, code) in [
        ("", Signal::SIGTERM, 143),
        ("", Signal::SIGINT, 130),
        ("trap 'exit 9' TERM;", Signal::SIGTERM, 9),
        ("trap 'exit 8' INT;", Signal::SIGINT, 8),
    ] {
        // A shell that is process 1 of nothing dies of what it does not handle, as everybody does.
        with_main(&format!("{trap} echo > ready; while :; do sleep 0.02; done"), |mut daemon| {
            daemon.signal(signal);
            assert_eq!(daemon.exit_code(), code, "{trap} {signal}");
        });
    }
}

#[test]
fn r30_all_other_signals_are_passed_on_to_the_command_alone() {
    let signals =
        [libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGWINCH, libc::SIGCONT, libc::SIGIO, 34, 37, 64];
    let traps: Vec<String> = signals.iter().map(|number| format!("trap 'echo {number} >> heard' {number}")).collect();
    // What its own child hears it tells, too; that is nothing.
    let script = format!("{}; sleep 1000 & echo > ready; while :; do sleep 0.02; done", traps.join("; "));
    with_main(&script, |mut daemon| {
        for (count, number) in (1..).zip(signals) {
            // SAFETY: kill(2) takes numbers.
            unsafe { libc::kill(daemon.pid.as_raw(), number) };
            until("it hears", || (daemon.path("heard").exists() && daemon.lines_in("heard").len() == count).then_some(()));
            assert_eq!(daemon.lines_in("heard").last(), Some(&number.to_string()));
        }
        let sleepers = daemon.descendants().into_iter().filter(|process| process.name == "sleep").count();
        assert!(sleepers >= 1, "its child has heard nothing of it");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), 143);
    });
}

#[test]
fn it_reads_what_the_daemon_was_given_to_read() {
    both_ways(|mut setup| {
        setup.command.stdin(Stdio::piped());
        let mut daemon = setup.main("cat > copy; exit 3").launch();
        daemon.input().write_all(b"one\ntwo\n").unwrap(); // and with this its end
        assert_eq!(daemon.exit_code(), 3);
        assert_eq!(daemon.lines_in("copy"), ["one", "two"]);
    });
}

#[test]
fn r2_what_it_does_to_its_group_is_nothing_to_the_daemon() {
    both_ways(|setup| assert_eq!(setup.main("trap '' TERM; kill -TERM 0; kill -WINCH 0; exit 6").fail(), (6, String::new())));
}

#[test]
fn r69_whom_it_leaves_behind_is_asked_to_end_before_the_daemon_does() {
    let left = "(trap 'echo > told; exit' TERM; echo > left; while :; do sleep 0.02; done) &";
    both_ways(|setup| {
        let mut daemon = setup.main(&format!("{left} while [ ! -e left ]; do sleep 0.02; done; exit 3")).launch();
        assert_eq!(daemon.exit_code(), 3);
        assert!(daemon.path("told").exists());
        assert!(daemon.processes().is_empty());
    });
}

#[test]
fn r76_it_is_a_service_that_can_be_asked_for() {
    with_main("echo > ready; exec sleep 1000", |mut daemon| {
        let row = daemon.row("main");
        assert_eq!((&row["name"], &row["status"], &row["id"]), (&json!("main"), &json!("running"), &json!(1)), "{row}");
        let process = Process::all().into_iter().find(|process| process.parent == daemon.pid.as_raw()).unwrap();
        assert_eq!((process.group, process.session), (process.pid, process.pid));
        assert_eq!(daemon.tell("main", "stop")["status"], "finished");
        assert_eq!(daemon.tell("main", "start")["status"], "running");
        kill(daemon.pid, Signal::SIGTERM).unwrap();
        assert_eq!(daemon.exit_code(), 143);
    });
}

#[test]
fn beside_a_configuration_the_daemon_keeps_the_signals_that_mean_something_to_it() {
    let setup = Setup::new().services(&[shell("side", "exec sleep 1000", &json!({}))]);
    let mut daemon = setup.main("trap 'echo > winch' WINCH; trap 'echo > hup' HUP; echo > ready; while :; do sleep 0.02; done").start();
    daemon.lines_in("ready");
    let (main, side) = (daemon.row("main"), daemon.row("side"));
    daemon.signal(Signal::SIGWINCH);
    daemon.lines_in("winch");
    daemon.signal(Signal::SIGHUP);
    until("it has read the file again", || daemon.stderr().contains("reload: nothing has changed").then_some(()));
    assert!(!daemon.path("hup").exists());
    assert_eq!((pid_of(&daemon.row("main")), pid_of(&daemon.row("side"))), (pid_of(&main), pid_of(&side)));
    daemon.signal(Signal::SIGQUIT);
    assert_eq!(daemon.exit_code(), 137);
}

#[test]
fn a_service_of_the_same_name_or_a_command_that_is_none_is_told_before_anything_starts() {
    let services = [shell("main", "exit 0", &json!({})), shell("other", "echo > started", &json!({}))];
    let setup = Setup::new().services(&services).main("echo > started");
    let started = setup.path("started");
    let (code, stderr) = setup.fail();
    assert_eq!(code, 78);
    assert!(stderr.starts_with("error: the command of the command line becomes the service `main`, and there is one in "), "{stderr}");
    assert!(stderr.ends_with("  hint: give that service another name, or leave out the command\n"), "{stderr}");
    assert!(!started.exists());
    assert_eq!(Setup::new().main_words(&[""]).fail().0, 78);
    let mut setup = Setup::new();
    setup.command.arg("--").arg(OsStr::from_bytes(b"/bin/echo\xff")).stderr(Stdio::piped());
    let output = setup.command.output().unwrap();
    let said = "error: the argument `/bin/echo\\xff` is not UTF-8\n  hint: pass it in the environment, or in a file\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(2), said));
}

#[test]
fn without_the_two_dashes_a_command_is_wrong_usage_and_nothing_behind_them_is_no_command() {
    let output = Setup::new().command.args(["sleep", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let mut setup = Setup::new();
    let socket = setup.socket.clone();
    setup.command.arg("--socket").arg(&socket).arg("--");
    let mut daemon = setup.start_without_flag(&socket);
    assert_eq!(daemon.call("list", &json!({})), json!([]));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
}

/// Whatever started the daemon may have blocked and ignored what it liked (R1).
#[test]
fn r1_the_command_begins_with_no_signal_blocked_and_none_ignored() {
    let mut daemon = Setup::new().before_exec(crate::spawn::spoil_signals).main("exec cat /proc/self/status > status").launch();
    assert_eq!(daemon.exit_code(), 0);
    for name in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(daemon.lines_in("status").iter().any(|line| line == name), "{name}");
    }
}
