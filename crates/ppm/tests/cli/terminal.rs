//! What a person at a terminal sees, on a terminal of our own.

use std::fs::File;
use std::io::{Read, Write};

use nix::pty::{Winsize, openpty};
use serde_json::json;

use crate::daemon::{Daemon, call, crashed, hear, result, running};

/// What the command writes to a terminal of this width that is its stdout and its stderr.
fn seen(mut command: std::process::Command, columns: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).unwrap();
    let mut child = command.env("TERM", "xterm").stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave).spawn().unwrap();
    drop(command); // and with it our ends of the terminal, so that the end of the child is the end of the text
    let mut text = Vec::new();
    // When the last writer has gone, a terminal gives EIO instead of an end.
    let _ = File::from(terminal.master).read_to_end(&mut text);
    child.wait().unwrap();
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

#[test]
fn ls_has_dots_and_colour_and_fits_the_terminal() {
    let rows = format!("[{},{}]", running(1, "web"), crashed(2, "job", "exec: no such file: /usr/local/bin/some-program"));
    let daemon = Daemon::answering(call("list", r#"{"services":[]}"#), result(&rows));
    let expected = "   ID  NAME  STATE    NOTE\n\
                    \u{1b}[32m●\u{1b}[0m   1  web   \u{1b}[32mRunning\u{1b}[0m\n\
                    \u{1b}[31m●\u{1b}[0m   2  job   \u{1b}[31mCrashed\u{1b}[0m  exec: no such file: /…\n\
                    1 crashed: see 'ppm info job'\n";
    assert_eq!(seen(daemon.spawn("ls"), 44), expected);
    daemon.finish();
}

/// The row of a service in a picture: its name, state, process, seconds of life, restarts, and what is said of it.
type Drawn = (&'static str, &'static str, Option<u32>, Option<u64>, u32, &'static str);

#[test]
fn the_picture_in_the_readme_is_what_is_shown() {
    let services: [Drawn; 6] = [
        ("db", "running", Some(14), Some(273_900), 0, "started with the daemon"),
        ("web", "running", Some(92), Some(8040), 2, "restarted after exit code 1"),
        ("worker-1", "running", Some(31), Some(273_840), 0, "started with the daemon"),
        ("worker-2", "crashed", None, None, 4, "killed by SIGSEGV, retry 5 in 16s"),
        ("migrate", "finished", None, None, 0, "exit code 0"),
        ("report", "created", None, None, 0, "waiting for worker-2"),
    ];
    let row = |(index, (name, status, pid, seconds, restarts, reason)): (usize, &Drawn)| {
        let service = json!({
            "id": index + 1, "name": name, "status": status, "active": true, "ready": pid.is_some(), "pid": pid,
            "restarts": restarts, "crashes": 0, "started_at": null, "ended_at": null,
            "uptime_ms": seconds.map(|seconds| seconds * 1000), "exit": null, "reason": reason,
            "next_start": null, "schedule": null,
        });
        service.to_string()
    };
    let rows: Vec<String> = services.iter().enumerate().map(row).collect();
    let daemon = Daemon::answering(call("list", r#"{"services":[]}"#), result(&format!("[{}]", rows.join(","))));
    let text = format!("$ ppm ls\n{}", seen(daemon.spawn("ls"), 88).trim_end());
    snapbox::assert_data_eq!(anstyle_svg::Term::new().render_svg(&text), snapbox::file!["../../../../data/ppm_ls.svg"].raw());
    daemon.finish();
}

#[test]
fn wide_and_no_color_are_obeyed() {
    let rows = format!("[{}]", crashed(2, "job", "exec: no such file: /usr/local/bin/some-program"));
    let daemon = Daemon::answering(call("list", r#"{"services":[]}"#), result(&rows));
    let mut command = daemon.spawn("ls --wide --no-headers");
    command.env("NO_COLOR", "1");
    let text = seen(command, 44);
    assert!(text.starts_with("●  2  job  Crashed  -  -  0  exec: no such file: /usr/local/bin/some-program\n"), "{text}");
    daemon.finish();
}

#[test]
fn a_change_tells_its_outcome_unless_told_to_be_quiet() {
    let changed = result(&format!(r#"{{"services":[{}]}}"#, running(1, "web")));
    for (args, text) in [("start web", "web: running (pid 4242)\n"), ("start web -q", "")] {
        let daemon = Daemon::answering(call("start", r#"{"services":["web"],"wait":true}"#), changed.clone());
        assert_eq!(seen(daemon.spawn(args), 80), text);
        daemon.finish();
    }
}

#[test]
fn a_new_service_comes_with_what_to_do_next() {
    let params = r#"{"name":"web","command":["true"],"workdir":null,"env":{},"restart":null,"schedule":null,"start":true,"wait":true,"replace":false}"#;
    let changed = result(&format!(r#"{{"services":[{}]}}"#, running(1, "web")));
    let daemon = Daemon::answering(call("add", params), changed);
    let expected = "web: running (pid 4242)\n  see it:   ppm info web\n  keep it:  ppm show-configuration > ~/.partner-pm.yml\n";
    assert_eq!(seen(daemon.spawn("add --name web -- true"), 80), expected);
    daemon.finish();
}

/// Rows for three services, of which some have no process any more.
fn three(gone: [bool; 3]) -> String {
    let row = |(at, gone): (usize, &bool)| {
        let row = running(u32::try_from(at).unwrap() + 1, &format!("web-{}", at + 1));
        if *gone { row.replace("4242", "null").replace("running", "finished") } else { row }
    };
    gone.iter().enumerate().map(row).collect::<Vec<_>>().join(",")
}

const SEVERAL: &str = r#"{"services":["web-*"],"wait":true}"#;

#[test]
fn who_waits_for_several_sees_how_far_they_are_until_they_are_there() {
    let daemon = Daemon::listening(|listener| {
        let mut client = listener.accept().unwrap().0;
        hear(&mut client, &call("list", r#"{"services":["web-*"]}"#));
        client.write_all(result(&format!("[{}]", three([false; 3]))).as_bytes()).unwrap();
        hear(&mut client, &call("stop", SEVERAL));
        let mut curious = listener.accept().unwrap().0;
        for gone in [[false; 3], [true, false, false]] {
            hear(&mut curious, &call("list", r#"{"services":[]}"#));
            curious.write_all(result(&format!("[{}]", three(gone))).as_bytes()).unwrap();
        }
        // The next look comes when both lines are drawn.
        hear(&mut curious, &call("list", r#"{"services":[]}"#));
        client.write_all(result(&format!(r#"{{"services":[{}]}}"#, three([true; 3]))).as_bytes()).unwrap();
        curious.write_all(result("[]").as_bytes()).unwrap();
    });
    let expected = "\r\u{1b}[2Kstopping 0/3, waiting for web-1, web-2 and 1 m…\
                    \r\u{1b}[2Kstopping 1/3, waiting for web-2, web-3\
                    \r\u{1b}[2Kstopping 3/3\
                    \r\u{1b}[2Kweb-1: finished\nweb-2: finished\nweb-3: finished\n";
    assert_eq!(seen(daemon.spawn("stop 'web-*'"), 48), expected);
    daemon.finish();
}

#[test]
fn a_daemon_that_does_not_say_how_far_it_is_changes_nothing() {
    let daemon = Daemon::listening(|listener| {
        let mut client = listener.accept().unwrap().0;
        hear(&mut client, &call("list", r#"{"services":["web-*"]}"#));
        client.write_all(result(&format!("[{}]", three([false; 3]))).as_bytes()).unwrap();
        hear(&mut client, &call("stop", SEVERAL));
        drop(listener.accept().unwrap());
        client.write_all(result(&format!(r#"{{"services":[{}]}}"#, three([true; 3]))).as_bytes()).unwrap();
    });
    assert_eq!(seen(daemon.spawn("stop 'web-*'"), 80), "web-1: finished\nweb-2: finished\nweb-3: finished\n");
    daemon.finish();
}

#[test]
fn who_is_quiet_or_no_person_is_not_told_how_far_they_are() {
    let changed = result(&format!(r#"{{"services":[{}]}}"#, three([true; 3])));
    let daemon = Daemon::answering(call("stop", SEVERAL), changed.clone());
    assert_eq!(seen(daemon.spawn("stop 'web-*' -q"), 80), "");
    daemon.finish();
    let daemon = Daemon::answering(call("stop", SEVERAL), changed);
    daemon.ppm("stop 'web-*'").assert().code(0).stdout_eq("").stderr_eq("");
    daemon.finish();
}

#[test]
fn a_person_is_told_that_all_is_well_and_that_a_plan_is_only_one() {
    let well = r#"{"healthy":true,"services":[{"id":1,"name":"web","healthy":true,"status":"running","reason":""}]}"#;
    let daemon = Daemon::answering(call("health", r#"{"services":[]}"#), result(well));
    assert_eq!(seen(daemon.spawn("health"), 80), "1 service is well\n");
    daemon.finish();
    let plan = r#"{"applied":false,"settings":[],"services":[{"service":"web","action":"add","changes":[]}],"failed":[]}"#;
    let daemon = Daemon::answering(call("reload", r#"{"plan":true}"#), result(plan));
    let expected = "  \u{1b}[32m+\u{1b}[0m web  start\nnothing was changed; 'ppm reload' does it\n";
    assert_eq!(seen(daemon.spawn("reload --plan"), 80), expected);
    daemon.finish();
}
