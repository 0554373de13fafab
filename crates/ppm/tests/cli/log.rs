//! `ppm log`: what is asked, and what becomes of the lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use snapbox::str;

use crate::daemon::{Daemon, call, error, hear, result};

fn line(service: &str, id: u32, stream: &str, message: &str) -> String {
    let time = "2026-11-23T04:07:41.250Z";
    let params = format!(r#"{{"time":"{time}","service":"{service}","id":{id},"stream":"{stream}","message":"{message}"}}"#);
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"log\",\"params\":{params}}}\n")
}

const END: &str = "{\"jsonrpc\":\"2.0\",\"method\":\"end\",\"params\":{\"call\":1,\"error\":null}}\n";

/// The request with only these services, and one more field in the place of the same.
fn asked(services: &str, more: &[(&str, &str)]) -> String {
    let mut params = format!(r#"{{"services":[{services}],"last":null,"follow":false,"since":null,"until":null,"stream":null}}"#);
    for (key, value) in more {
        let field = format!("\"{key}\":{value}");
        params = params.replace(&format!("\"{key}\":null"), &field).replace(&format!("\"{key}\":false"), &field);
    }
    call("log", &params)
}

fn answer(services: &str, lines: &[String]) -> String {
    format!("{}{}{END}", result(&format!(r#"{{"services":[{services}]}}"#)), lines.concat())
}

#[test]
fn one_service_is_shown_as_it_wrote_and_several_with_their_names() {
    let lines = [line("web", 1, "stdout", "GET /cart"), line("web", 1, "stderr", "oh no")];
    let daemon = Daemon::answering(asked(r#""web""#, &[]), answer(r#""web""#, &lines));
    daemon.ppm("log web").assert().code(0).stderr_eq("").stdout_eq("GET /cart\noh no\n");
    daemon.finish();

    let lines = [line("web", 1, "stdout", "GET /cart"), line("worker", 2, "stderr", "fatal: queue unreachable")];
    let daemon = Daemon::answering(asked(r#""all""#, &[("last", "2")]), answer(r#""web","worker""#, &lines));
    daemon.ppm("log all -n 2").assert().code(0).stdout_eq(str![[r#"
web    | GET /cart
worker | fatal: queue unreachable

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(asked(r#""all""#, &[]), answer(r#""web","worker""#, &lines));
    daemon.ppm("log all -t --color always").assert().code(0).stdout_eq(
        "\u{1b}[2m2026-11-23T04:07:41.250+00:00\u{1b}[0m \u{1b}[36mweb\u{1b}[0m    \u{1b}[36m|\u{1b}[0m GET /cart\n\
         \u{1b}[2m2026-11-23T04:07:41.250+00:00\u{1b}[0m \u{1b}[36mworker\u{1b}[0m \u{1b}[31m|\u{1b}[0m fatal: queue unreachable\n",
    );
    daemon.finish();
}

#[test]
fn programs_get_each_line_as_the_daemon_told_it() {
    let told = line("web", 1, "stdout", "GET /cart").replace("\"id\":1,", "\"id\":1,\"colour\":\"blue\",");
    let daemon = Daemon::answering(asked(r#""web""#, &[]), answer(r#""web""#, &[told]));
    daemon.ppm("log web --json").assert().code(0).stdout_eq(
        "{\"time\":\"2026-11-23T04:07:41.250Z\",\"service\":\"web\",\"id\":1,\"colour\":\"blue\",\"stream\":\"stdout\",\"message\":\"GET /cart\"}\n",
    );
    daemon.finish();
}

#[test]
fn with_grep_the_last_lines_are_those_that_match() {
    let lines: Vec<String> = (1..=30).map(|number| line("web", 1, "stdout", &format!("line {number}"))).collect();
    let daemon = Daemon::answering(asked(r#""web""#, &[]), answer(r#""web""#, &lines));
    daemon.ppm("log web --grep 'e [12]?5$' -n 2").assert().code(0).stdout_eq("line 15\nline 25\n");
    daemon.finish();
    let daemon = Daemon::answering(asked(r#""web""#, &[("stream", "\"stderr\"")]), answer(r#""web""#, &lines));
    daemon.ppm("log web --stderr --grep 'LINE 7'").assert().code(0).stdout_eq("");
    daemon.finish();
}

#[test]
fn that_there_is_no_log_is_an_error_with_a_way_out() {
    let refused = error(1004, "there is no log of `web`: it writes where the daemon writes", r#"{"hint":"give it a logger"}"#);
    let daemon = Daemon::answering(asked(r#""web""#, &[]), refused);
    daemon.ppm("log web").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: there is no log of `web`: it writes where the daemon writes
  hint: give it a logger

"#]]);
    daemon.finish();
}

#[test]
fn a_log_that_ends_too_early_says_why() {
    let end = END.replace("null", "\"too many logs are being read\"");
    let daemon =
        Daemon::answering(asked(r#""web""#, &[]), format!("{}{}{end}", result(r#"{"services":["web"]}"#), line("web", 1, "stdout", "one")));
    daemon.ppm("log web").assert().code(1).stderr_eq("error: too many logs are being read\n");
    daemon.finish();
}

#[test]
fn a_follower_of_logs_notices_that_its_reader_has_gone_r57() {
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &asked(r#""web""#, &[("last", "20"), ("follow", "true")]));
        let begin = format!("{}{}", result(r#"{"services":["web"]}"#), line("web", 1, "stdout", "one"));
        client.write_all(begin.as_bytes()).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "it hangs up");
    });
    let mut child = daemon.spawn("logs -f web").stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    daemon.finish();
}

#[test]
fn a_service_must_be_named_and_an_expression_must_be_one() {
    crate::daemon::ppm("log").assert().code(2).stdout_eq("");
    crate::daemon::ppm("log web --grep (").assert().code(2).stderr_eq(str![[r#"
error: '--grep': '(' is not a regular expression: found open group without closing ')'
  usage: ppm log [OPTIONS] <SERVICE>...
  hint: put '/' before what is meant as it stands: . * + ? ( ) [ ] { } | ^ $

"#]]);
}
