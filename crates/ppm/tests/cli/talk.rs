//! What is asked, what is shown, and the exit code, command by command.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use snapbox::str;

use crate::daemon::{Daemon, call, crashed, error, hear, in_full, ppm, result, running};

const ALL: &str = r#"{"services":[]}"#;
const WEB: &str = r#"{"services":["web"]}"#;
const WAIT_WEB: &str = r#"{"services":["web"],"wait":true}"#;

fn event(kind: &str, from: &str, to: &str) -> String {
    format!(
        r#"{{"time":"2026-11-23T04:07:41.250Z","service":"web","id":1,"event":"{kind}","from":"{from}","to":"{to}","pid":31,"exit":null,"reason":""}}"#
    )
}

fn notification(event: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{event}}}\n")
}

#[test]
fn ls_prints_a_table_that_programs_can_cut() {
    let rows = format!("[{},{}]", running(1, "web"), crashed(12, "job", "exec: no such file: /bin/ehco"));
    let daemon = Daemon::answering(call("list", ALL), result(&rows));
    daemon.ppm("ls").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
ID  NAME  STATE     PID      UP  RESTARTS  NOTE
 1  web   Running  4242  2h 14m         2  -
12  job   Crashed     -       -         0  exec: no such file: /bin/ehco

"#]]);
    daemon.finish();
}

#[test]
fn ls_without_its_header_or_with_names_only() {
    let rows = format!("[{}]", running(1, "web"));
    let daemon = Daemon::answering(call("list", WEB), result(&rows));
    daemon.ppm("ls web --no-headers").assert().code(0).stdout_eq("1  web  Running  4242  2h 14m  2  -\n");
    daemon.finish();

    let daemon = Daemon::answering(call("list", ALL), result(&rows));
    daemon.ppm("ls -q").assert().code(0).stdout_eq("web\n");
    daemon.finish();
}

#[test]
fn json_is_what_the_daemon_said_with_fields_that_are_new_to_us() {
    let row = running(1, "web").replace("\"id\":1", "\"colour\":\"blue\",\"id\":1");
    for (args, method) in [("ls --json", "list"), ("--json info", "list")] {
        let daemon = Daemon::answering(call(method, ALL), result(&format!("[{row}]")));
        daemon.ppm(args).assert().code(0).stderr_eq("").stdout_eq(format!("[{row}]\n"));
        daemon.finish();
    }
}

#[test]
fn info_of_one_that_runs_is_exit_code_0_and_of_one_that_does_not_3() {
    let daemon = Daemon::answering(call("info", WEB), result(&format!("[{}]", in_full(&running(1, "web")))));
    daemon.ppm("info web").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
web: Running for 2h 14m (pid 4242)
          id   1
     command   /app/web --port 80
         env   PORT
        from   ppm add
       ready   yes
     started   2026-01-02 03:04:05 UTC
    restarts   2
     restart   on-failure
        stop   SIGTERM, then SIGKILL after 5s

"#]]);
    daemon.finish();

    let lost = format!("[{},{}]", in_full(&running(1, "web")), in_full(&crashed(2, "job", "exit code 1")));
    let both = r#"{"services":["web","job"]}"#;
    for (args, stdout) in [("status -q web job", String::new()), ("info web job --json", format!("{lost}\n"))] {
        let daemon = Daemon::answering(call("info", both), result(&lost));
        daemon.ppm(args).assert().code(3).stderr_eq("").stdout_eq(stdout);
        daemon.finish();
    }
}

#[test]
fn stats_and_the_scheduler_have_tables_and_arrays() {
    let stats = r#"[{"id":1,"name":"web","pid":31,"cpu_percent":12.4,"cpu_time_ms":1200,"memory_rss":1048576,"memory_pss":null,"memory_vsz":2097152,"io_read":0,"io_write":4096,"io_read_rate":0,"io_write_rate":12,"processes":1,"threads":2,"fds":9,"uptime_ms":5000}]"#;
    let daemon = Daemon::answering(call("stats", ALL), result(stats));
    daemon.ppm("stats").assert().code(0).stdout_eq(str![[r#"
ID  NAME    CPU  CPU TIME       MEM  PSS  LIMIT  READ/s  WRITE/s  READ   WRITTEN  PROCS  THREADS  FDS
 1  web   12.4%      1.2s  1.00 MiB    -      -       0     12 B     0  4.00 KiB      1        2    9

"#]]);
    daemon.finish();
    let daemon = Daemon::answering(call("stats", WEB), result(stats));
    daemon.ppm("details web --json").assert().code(0).stdout_eq(format!("{stats}\n"));
    daemon.finish();

    let plans = r#"[{"id":1,"name":"web","event":"schedule","at":"2099-01-02T03:04:05.000Z","in_ms":432000,"last":"","rule":"0 3 * * *"}]"#;
    let daemon = Daemon::answering(call("scheduler", ALL), result(plans));
    daemon.ppm("show-scheduler").assert().code(0).stdout_eq(str![[r#"
NEXT                             IN  SERVICE  WHAT  LAST  RULE
Fri 2 Jan 2099 03:04:05 UTC  7m 12s  web      run   -     0 3 * * *

"#]]);
    daemon.finish();
    let daemon = Daemon::answering(call("scheduler", ALL), result(plans));
    daemon.ppm("show-scheduler --json").assert().code(0).stdout_eq(format!("{plans}\n"));
    daemon.finish();
}

#[test]
fn what_is_watched_has_a_table_and_an_object() {
    let watched = r#"{"services":[{"id":1,"name":"web","watching":true,"paths":[{"path":"/app/conf","leads_to":null,"what":"file","inotify":true,"poll_ms":null,"file_system":null,"folders":0,"unwatched":0,"files":1}],"action":"restart","watches":2,"last_change":null,"changes":0,"acted_at":null,"acted":0,"unchanged":0}],"inotify":{"instances":1,"max_instances":128,"watches":2,"max_watches":null}}"#;
    let daemon = Daemon::answering(call("watched", ALL), result(watched));
    daemon.ppm("show-watch").assert().code(0).stdout_eq(str![[r#"
web: restart
PATH       HOW      FOLDERS  FILES
/app/conf  inotify        -      1

inotify: 2 watches, 1 of 128 instances

"#]]);
    daemon.finish();
    let daemon = Daemon::answering(call("watched", WEB), result(watched));
    daemon.ppm("show-watch web --json").assert().code(0).stdout_eq(format!("{watched}\n"));
    daemon.finish();
}

#[test]
fn the_configuration_is_printed_as_it_is() {
    let daemon = Daemon::answering(call("configuration", ""), result(r#"{"yaml":"services:\n- name: web\n"}"#));
    daemon.ppm("show-configuration").assert().code(0).stderr_eq("").stdout_eq("services:\n- name: web\n");
    daemon.finish();
}

#[test]
fn a_change_that_went_well_is_silent_where_nobody_watches() {
    let changed = format!(r#"{{"services":[{}]}}"#, running(1, "web"));
    for (args, method, stdout) in [
        ("start web", "start", String::new()),
        ("stop web", "stop", String::new()),
        ("restart web", "restart", String::new()),
        ("remove web", "remove", String::new()),
        ("reschedule web", "reschedule", String::new()),
        ("pause web", "pause", String::new()),
        ("resume web --json", "resume", format!("[{}]\n", running(1, "web"))),
    ] {
        let daemon = Daemon::answering(call(method, WAIT_WEB), result(&changed));
        daemon.ppm(args).assert().code(0).stderr_eq("").stdout_eq(stdout);
        daemon.finish();
    }
}

#[test]
fn a_signal_goes_by_its_name() {
    let params = r#"{"services":["web"],"signal":"SIGUSR1"}"#;
    let daemon = Daemon::answering(call("signal", params), result(r#"{"services":[],"failed":[]}"#));
    daemon.ppm("kill usr1 web").assert().code(0).stdout_eq("").stderr_eq("");
    daemon.finish();
}

#[test]
fn a_start_that_failed_says_why_and_is_exit_code_1() {
    let answer = |row: &str| {
        result(&format!(r#"{{"services":[{row}],"failed":[{{"service":"hello","message":"exec: no such file: /bin/ehco"}}]}}"#))
    };
    let row = crashed(1, "hello", "exec: no such file: /bin/ehco");
    let params = r#"{"name":"hello","command":["/bin/ehco","hi"],"workdir":null,"env":{},"restart":null,"schedule":null,"start":true,"wait":true,"replace":false}"#;
    let daemon = Daemon::answering(call("add", params), answer(&row));
    daemon.ppm("add --name hello -- /bin/ehco hi").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: cannot start 'hello': exec: no such file: /bin/ehco
  it was added and is Crashed; 'ppm rm hello' removes it

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(call("start", r#"{"services":["hello"],"wait":true}"#), answer(&row));
    daemon.ppm("start hello --json").assert().code(1).stdout_eq(format!("[{row}]\n")).stderr_eq(str![[r#"
error: cannot start 'hello': exec: no such file: /bin/ehco

"#]]);
    daemon.finish();
}

#[test]
fn a_folder_is_meant_as_seen_from_here() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path().canonicalize().unwrap();
    let params = format!(
        r#"{{"name":"x","command":["true"],"workdir":"{}","env":{{"A":"1"}},"restart":null,"schedule":null,"start":true,"wait":true,"replace":false}}"#,
        here.join("sub").display()
    );
    std::fs::create_dir_all(&here).unwrap();
    let daemon = Daemon::answering(call("add", &params), result(r#"{"services":[]}"#));
    daemon.ppm("add --name x --env A=1 --workdir ./sub -- true").current_dir(&here).assert().code(0).stderr_eq("");
    daemon.finish();
}

#[test]
fn an_unknown_service_is_exit_code_4_with_what_was_meant() {
    let params = r#"{"services":["wbe"],"wait":true}"#;
    let daemon = Daemon::answering(call("stop", params), error(1001, "no service named `wbe`", r#"{"service":"wbe","similar":"web"}"#));
    daemon.ppm("stop wbe").assert().code(4).stdout_eq("").stderr_eq(str![[r#"
error: no service named `wbe`
  hint: did you mean 'web'?

"#]]);
    daemon.finish();

    let data = r#"{"service":"wbe","services":["cache","db","worker","x"]}"#;
    let daemon = Daemon::answering(call("list", r#"{"services":["wbe"]}"#), error(1001, "no service named `wbe`", data));
    daemon.ppm("ls wbe --json").assert().code(4).stdout_eq("").stderr_eq(str![[r#"
error: no service named `wbe`
  there are: cache, db, worker and 1 more (ppm ls)

"#]]);
    daemon.finish();
}

#[test]
fn a_wait_ends_with_0_3_or_5() {
    let params = r#"{"services":["web"],"for":"ready","timeout_ms":30000}"#;
    let answers = [
        (result(&format!(r#"{{"services":[{}]}}"#, running(1, "web"))), 0, ""),
        (error(1006, "`web` has given up", r#"{"service":"web"}"#), 3, "error: `web` has given up\n"),
        (
            error(1005, "`web` is not ready after 30s", r#"{"waiting":["web"]}"#),
            5,
            "error: `web` is not ready after 30s\n  still waiting for: web\n",
        ),
    ];
    for (answer, code, stderr) in answers {
        let daemon = Daemon::answering(call("wait", params), answer);
        daemon.ppm("wait web --for ready --timeout 30s").assert().code(code).stdout_eq("").stderr_eq(stderr);
        daemon.finish();
    }
}

#[test]
fn other_refusals_are_exit_code_1() {
    for code in [1003, 1004, -32602, 9999] {
        let daemon = Daemon::answering(call("start", WAIT_WEB), error(code, "it is being removed", "null"));
        daemon.ppm("start web").assert().code(1).stdout_eq("").stderr_eq("error: it is being removed\n");
        daemon.finish();
    }
}

#[test]
fn nothing_that_a_daemon_says_acts_on_the_terminal_r75() {
    let daemon = Daemon::answering(call("start", WAIT_WEB), error(1004, r"no \u001b[2J\nway", "null"));
    let output = daemon.ppm("start web").output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: no \\u{1b}[2J\\nway\n");
    daemon.finish();
}

#[test]
fn no_socket_is_exit_code_6_and_tells_of_daemons_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sock");
    ppm(&format!("ls --socket {}", missing.display())).assert().code(6).stdout_eq("").stderr_eq(str![[r#"
error: cannot reach the daemon at [..]/missing.sock: no such file
...
  hint: start it with 'ppm daemon', or name another socket with --socket or PPM_SOCKET

"#]]);

    let other = Daemon::new(drop);
    let session = other.socket().parent().unwrap().to_owned();
    let command = ppm(&format!("ls --socket {}", missing.display())).env("XDG_RUNTIME_DIR", &session);
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let uid = nix::unistd::geteuid();
    assert!(stderr.contains(&format!("\n  hint: there is a daemon of uid {uid} at {}\n", other.socket().display())), "{stderr}");
    other.finish();
}

#[test]
fn a_socket_that_nobody_listens_on_is_exit_code_6() {
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("ppm.sock");
    drop(UnixListener::bind(&stale).unwrap());
    ppm("ls").env("PPM_SOCKET", &stale).assert().code(6).stdout_eq("").stderr_eq(str![[r#"
error: cannot reach the daemon at [..]/ppm.sock: nobody listens there
...
  hint: start it with 'ppm daemon', or name another socket with --socket or PPM_SOCKET

"#]]);
}

#[test]
fn a_daemon_that_lets_only_others_in_is_exit_code_7() {
    let refusal = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1004,\"message\":\"not permitted: you are uid 7, the daemon is of uid 0\",\"data\":{\"permission\":true}}}\n";
    // It hangs up before it has read anything.
    let daemon = Daemon::new(move |mut client| client.write_all(refusal.as_bytes()).unwrap());
    daemon.ppm("ls").assert().code(7).stdout_eq("").stderr_eq("error: not permitted: you are uid 7, the daemon is of uid 0\n");
    daemon.finish();
}

#[test]
fn an_answer_that_makes_no_sense_is_exit_code_1() {
    for (answer, what) in [
        ("HTTP/1.1 400 Bad Request\r\n".to_owned(), "the daemon's answer is not understood: expected value at line 1 column 1"),
        ("{}\n".to_owned(), "the daemon's answer is neither a result nor an error"),
        (result("7"), "the daemon's answer is not understood: invalid type: integer `7`, expected a sequence at line 1 column [..]"),
    ] {
        for args in ["ls", "ls --json"] {
            let daemon = Daemon::answering(call("list", ALL), answer.clone());
            let stderr = format!("error: {what}\n  it came from {}\n", daemon.socket().display());
            daemon.ppm(args).assert().code(1).stdout_eq("").stderr_eq(stderr);
            daemon.finish();
        }
    }
}

#[test]
fn an_answer_that_never_ends_is_given_up() {
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &call("list", ALL));
        while client.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    daemon.ppm("ls").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: the daemon's answer is longer than 67108864 bytes
  it came from [..]/ppm.sock
  hint: name fewer services

"#]]);
    daemon.finish();
}

#[test]
fn a_daemon_that_hangs_up_is_exit_code_6() {
    for answer in ["", "{\"jsonrpc\":\"2.0\",\"id\":1,\"resu"] {
        let daemon = Daemon::answering(call("stop", WAIT_WEB), answer.to_owned());
        daemon.ppm("stop web").assert().code(6).stdout_eq("").stderr_eq(str![[r#"
error: the daemon at [..]/ppm.sock closed the connection before it had answered

"#]]);
        daemon.finish();
    }
    let daemon = Daemon::new(drop);
    daemon.ppm("ls").assert().code(6);
    daemon.finish();
}

#[test]
fn a_reader_who_has_gone_ends_it_quietly_r57() {
    let daemon = Daemon::answering(call("list", ALL), result(&format!("[{}]", running(1, "web"))));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = daemon.spawn("ls").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    daemon.finish();
}

#[test]
fn a_follower_notices_that_its_reader_has_gone_without_another_event_r57() {
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &call("events", r#"{"services":[],"last":1,"follow":true}"#));
        client.write_all(result(&format!(r#"{{"events":[{}]}}"#, event("started", "created", "running"))).as_bytes()).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "it hangs up");
    });
    let mut child = daemon.spawn("events -f -n 1").stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "2026-11-23 04:07:41  web  started       Created -> Running  pid 31\n");
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    daemon.finish();
}

#[test]
fn a_full_disk_is_told() {
    let daemon = Daemon::answering(call("list", ALL), result("[]"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = daemon.spawn("ls").stdout(full).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: cannot write to stdout: no space left on device\n");
    assert_eq!(output.status.code(), Some(1));
    daemon.finish();
}

#[test]
fn events_are_told_as_lines_and_end_without_follow() {
    let history = format!(r#"{{"events":[{},{}]}}"#, event("started", "created", "running"), event("exited", "running", "finished"));
    let past = call("events", r#"{"services":[],"last":100,"follow":false}"#);
    let daemon = Daemon::answering(past.clone(), result(&history));
    daemon.ppm("events").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
2026-11-23 04:07:41  web  started       Created -> Running  pid 31
2026-11-23 04:07:41  web  exited        Running -> Finished  pid 31

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(past, result(&history));
    let lines = format!("{}\n{}\n", event("started", "created", "running"), event("exited", "running", "finished"));
    daemon.ppm("events --json").assert().code(0).stdout_eq(lines);
    daemon.finish();
}

#[test]
fn a_stream_goes_on_until_the_daemon_ends_it() {
    let follow = call("events", r#"{"services":["web"],"last":0,"follow":true}"#);
    let stream = format!(
        "{}{}{}",
        result(r#"{"events":[]}"#),
        notification(&event("started", "created", "running")),
        notification(&event("exited", "running", "crashed"))
    );
    let daemon = Daemon::answering(follow.clone(), stream.clone());
    daemon.ppm("events -f web --json").assert().code(6).stdout_eq(format!(
        "{}\n{}\n",
        event("started", "created", "running"),
        event("exited", "running", "crashed")
    ));
    daemon.finish();

    let daemon = Daemon::answering(follow, stream);
    daemon.ppm("events -f web").assert().code(6).stdout_eq(str![[r#"
2026-11-23 04:07:41  web  started       Created -> Running  pid 31
2026-11-23 04:07:41  web  exited        Running -> Crashed  pid 31

"#]]);
    daemon.finish();
}

#[test]
fn interrupted_it_dies_of_the_signal_which_shells_show_as_130() {
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &call("events", r#"{"services":[],"last":0,"follow":true}"#));
        let first = notification(&event("started", "created", "running"));
        client.write_all(format!("{}{first}", result(r#"{"events":[]}"#)).as_bytes()).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    });
    let mut child = daemon.spawn("events -f").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    daemon.finish();
}

#[test]
fn shutdown_returns_when_the_daemon_has_gone() {
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &call("shutdown", ""));
        client.write_all(result(r#"{"stopping":2}"#).as_bytes()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let waiting = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "it must stay until the end");
    });
    daemon.ppm("shutdown").assert().code(0).stdout_eq("").stderr_eq("");
    daemon.finish();

    let daemon = Daemon::answering(call("shutdown", ""), result(r#"{"stopping":2}"#));
    daemon.ppm("shutdown --json").assert().code(0).stdout_eq("{\"stopping\":2}\n");
    daemon.finish();
}

#[test]
fn the_version_is_told_with_and_without_a_daemon() {
    let daemon = Daemon::answering(call("hello", ""), result(r#"{"protocol":1,"version":"9.8.7","pid":1}"#));
    let warning = "warning: this ppm is [..], the daemon 9.8.7; start the daemon anew to use what is new\n";
    daemon.ppm("version").assert().code(0).stderr_eq(warning).stdout_eq("ppm     [..]\ndaemon  9.8.7 (pid 1)\n");
    daemon.finish();

    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.sock");
    ppm("version").env("PPM_SOCKET", &none).assert().code(0).stderr_eq("").stdout_eq("ppm     [..]\ndaemon  none at [..]/none.sock\n");
    let alone = format!("{{\"daemon\":null,\"protocol\":1,\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"));
    ppm("version --json").env("PPM_SOCKET", &none).assert().code(0).stdout_eq(alone);
}

#[test]
fn times_are_local_or_utc() {
    let row = format!("[{}]", in_full(&running(1, "web")));
    for (args, started) in [("info web", "04:04:05 CET"), ("info web --utc", "03:04:05 UTC")] {
        let daemon = Daemon::answering(call("info", WEB), result(&row));
        let output = daemon.ppm(args).env("TZ", "CET-1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("started   2026-01-02 {started}\n")), "{text}");
        daemon.finish();
    }
}

#[test]
fn the_option_wins_over_the_environment() {
    let daemon = Daemon::answering(call("list", ALL), result("[]"));
    let args = format!("--socket {} ls", daemon.socket().display());
    ppm(&args).env("PPM_SOCKET", "/nowhere/ppm.sock").assert().code(0).stdout_eq("ID  NAME  STATE  PID  UP  RESTARTS  NOTE\n");
    daemon.finish();
}

#[test]
fn colour_is_as_asked_for_then_as_the_environment_says() {
    let green = "\u{1b}[32mRunning\u{1b}[0m";
    let cases = [
        ("ls", "", false),
        ("ls --color always", "NO_COLOR", true),
        ("ls", "CLICOLOR_FORCE", true),
        ("ls", "FORCE_COLOR", true),
        ("ls", "CLICOLOR_FORCE FORCE_COLOR NO_COLOR", false),
        ("ls --color never", "CLICOLOR_FORCE", false),
    ];
    for (args, set, colourful) in cases {
        let daemon = Daemon::answering(call("list", ALL), result(&format!("[{}]", running(1, "web"))));
        let output = daemon.ppm(args).envs(set.split_whitespace().map(|name| (name, "1"))).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().contains(green), colourful, "{args} {set}");
        daemon.finish();
    }
}

#[test]
fn wrong_use_is_exit_code_2_on_stderr() {
    for args in ["stop", "ls --bogus", "sta", "add --name x", "signal HUP", "wait web", "events -n many"] {
        let output = ppm(args).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args}");
        assert!(output.stderr.starts_with(b"error: "), "{args}");
    }
    let bad = std::ffi::OsString::from_vec(b"\xff".to_vec());
    ppm("add --name x --").arg(bad).assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: an argument is not UTF-8
  usage: ppm add [OPTIONS] --name <NAME> -- <COMMAND>...
  hint: 'ppm add --help' tells more

"#]]);
}
