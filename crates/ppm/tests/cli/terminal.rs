//! What a person at a terminal sees, on a terminal of our own.

use std::fs::File;
use std::io::Read;

use nix::pty::{Winsize, openpty};

use crate::daemon::{Daemon, call, crashed, result, running};

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
