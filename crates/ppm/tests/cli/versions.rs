//! A daemon of another version: what it says is shown as far as it goes.

use std::path::PathBuf;

use snapbox::str;

use crate::daemon::{Daemon, call, error};

const ALL: &str = r#"{"services":[]}"#;

/// A line of the protocol's own files of what a newer daemon says.
fn newer(name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../ppm-protocol/tests/newer/{name}.json"))).unwrap()
}

#[test]
fn states_events_and_actions_that_are_new_to_us_are_shown_as_they_are() {
    let daemon = Daemon::answering(call("list", ALL), newer("list"));
    daemon.ppm("ls").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
ID  NAME  STATE      PID    UP  RESTARTS  NOTE
 1  web   degraded  4242  1.2s         0  two of five workers are gone; health now

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(call("why", r#"{"services":["web"]}"#), newer("why"));
    daemon.ppm("why web").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
web: degraded (pid 4242)
  2026-01-02 03:04:05  worker_lost  worker 2, pid 4243

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(call("reload", r#"{"plan":false}"#), newer("reload"));
    daemon.ppm("reload").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
  ~ web  migrate     cgroup: a -> b

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(call("scheduler", ALL), newer("scheduler"));
    daemon.ppm("show-scheduler --no-headers").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
Fri 2 Jan 03:15:00 UTC  1s  web  health_check  -  every 10s

"#]]);
    daemon.finish();
}

#[test]
fn a_stream_goes_on_over_what_is_new_to_us_and_programs_get_all_of_it() {
    let follow = call("events", r#"{"services":[],"last":0,"follow":true}"#);
    let stream = || format!("{}{}{}", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"events\":[]}}\n", newer("notification"), newer("event"));
    let daemon = Daemon::answering(follow.clone(), stream());
    daemon.ppm("events -f").assert().code(6).stdout_eq(str![[r#"
2026-01-02 03:04:05  web  worker_lost   Running -> degraded  pid 4243: worker 2

"#]]);
    daemon.finish();

    let daemon = Daemon::answering(follow, stream());
    let event = newer("event");
    let params = event.split_once("\"params\":").unwrap().1.rsplit_once(",\"seq\"").unwrap().0.to_owned();
    daemon.ppm("events -f --json").assert().code(6).stdout_eq(format!("{params}\n"));
    daemon.finish();
}

#[test]
fn what_an_older_daemon_cannot_do_is_told_with_the_reason() {
    let daemon = Daemon::answering(call("why", r#"{"services":["web"]}"#), error(-32601, "no method named `why`", "{}"));
    daemon.ppm("why web").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: no method named `why`
  hint: the daemon is older than this ppm, see 'ppm version'; start it anew to use what is new

"#]]);
    daemon.finish();
}
