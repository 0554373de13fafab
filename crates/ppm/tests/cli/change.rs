//! Commands that change the configuration or tell of changes: reload, add, why, health.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use snapbox::str;

use crate::daemon::{Daemon, call, crashed, error, ppm, result, running};

const APPLY: &str = r#"{"plan":false}"#;
const PLAN: &str = r#"{"plan":true}"#;

const CHANGES: &str = r#"{"applied":true,"settings":["shutdown_timeout: 9s -> 25s"],"services":[{"service":"cache","action":"add","changes":[]},{"service":"web","action":"restart","changes":["command: web --port 8080 -> web --port 9090","env: TOKEN changed"]},{"service":"db","action":"keep","changes":[]},{"service":"indexer","action":"remove","changes":[]}],"failed":[]}"#;

const WRONG: &str = r#"{"problems":[{"column":12,"hint":"write 10s","line":4,"message":"`10 parsecs` is not a duration"}],"text":"error: `10 parsecs` is not a duration\n --> ppm.yml:4:12\n  |\n4 | interval: 10 parsecs\n  |           ^^^^^^^^^^\n  |\n  = hint: write 10s\n\nerror: 1 problem in ppm.yml; nothing was changed"}"#;

/// What `add` sends for a service of this name that runs `true`.
fn add(name: &str, replace: bool) -> String {
    let params = format!(
        r#"{{"name":"{name}","command":["true"],"workdir":null,"env":{{}},"restart":null,"schedule":null,"start":true,"wait":true,"replace":{replace}}}"#
    );
    call("add", &params)
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_reload_shows_what_it_did_as_a_difference() {
    let daemon = Daemon::answering(call("reload", APPLY), result(CHANGES));
    daemon.ppm("reload").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
  ~ shutdown_timeout: 9s -> 25s
  + cache    start
  ~ web      restart     command: web --port 8080 -> web --port 9090; env: TOKEN changed
  - indexer  stop and remove
  = db       unchanged

"#]]);
    daemon.finish();
    for (args, stdout) in [("reload -q", String::new()), ("reload --json", format!("{CHANGES}\n"))] {
        let daemon = Daemon::answering(call("reload", APPLY), result(CHANGES));
        daemon.ppm(args).assert().code(0).stderr_eq("").stdout_eq(stdout);
        daemon.finish();
    }
}

#[test]
fn a_plan_is_what_was_asked_for_and_so_is_printed_to_the_quiet_too() {
    let plan = CHANGES.replace("\"applied\":true", "\"applied\":false");
    let daemon = Daemon::answering(call("reload", PLAN), result(&plan));
    let output = daemon.ppm("reload --plan -q").output().unwrap();
    assert!(output.stdout.starts_with(b"  ~ shutdown_timeout: 9s -> 25s\n"), "{output:?}");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    daemon.finish();
}

#[test]
fn a_service_that_a_reload_could_not_start_is_told_and_exit_code_1() {
    let answer = CHANGES.replace("\"failed\":[]", r#""failed":[{"service":"cache","message":"exec: no such file: cache"}]"#);
    let daemon = Daemon::answering(call("reload", APPLY), result(&answer));
    daemon.ppm("reload --json").assert().code(1).stdout_eq(format!("{answer}\n")).stderr_eq(str![[r#"
error: cannot start 'cache': exec: no such file: cache
  hint: 'ppm why cache' tells more

"#]]);
    daemon.finish();
}

#[test]
fn a_wrong_configuration_is_shown_where_it_is_wrong_and_exit_code_78() {
    for (args, params) in [("reload", APPLY), ("reload --plan --json", PLAN)] {
        let daemon = Daemon::answering(call("reload", params), error(1007, "1 problem in ppm.yml; nothing was changed", WRONG));
        daemon.ppm(args).assert().code(78).stdout_eq("").stderr_eq(str![[r#"
error: `10 parsecs` is not a duration
 --> ppm.yml:4:12
  |
4 | interval: 10 parsecs
  |           ^^^^^^^^^^
  |
  = hint: write 10s

error: 1 problem in ppm.yml; nothing was changed

"#]]);
        daemon.finish();
    }
    let unreadable = "cannot read the configuration ppm.yml: no such file; nothing was changed";
    let daemon = Daemon::answering(call("reload", APPLY), error(1007, unreadable, "null"));
    daemon.ppm("reload").assert().code(78).stdout_eq("").stderr_eq(format!("error: {unreadable}\n"));
    daemon.finish();
}

#[test]
fn why_tells_what_happened_to_each_service() {
    let events = r#"[{"time":"2026-11-23T04:07:41.250Z","service":"job","id":2,"event":"started","from":"created","to":"running","pid":31,"exit":null,"reason":"boot"},{"time":"2026-11-23T04:07:45.450Z","service":"job","id":2,"event":"exited","from":"running","to":"crashed","pid":31,"exit":{"code":1},"reason":"exit code 1","ran_ms":4200}]"#;
    let life = crashed(2, "job", "exit code 1").replace("\"schedule\":null", &format!("\"schedule\":null,\"events\":{events}"));
    let job = r#"{"services":["job"]}"#;
    let daemon = Daemon::answering(call("why", job), result(&format!("[{life}]")));
    daemon.ppm("why job").assert().code(0).stderr_eq("").stdout_eq(str![[r#"
job: Crashed: exit code 1
  2026-11-23 04:07:41  started  with the daemon, pid 31
  2026-11-23 04:07:45  exited   exit code 1, after 4.2s, pid 31

"#]]);
    daemon.finish();
    let daemon = Daemon::answering(call("why", job), result(&format!("[{life}]")));
    daemon.ppm("why job --json").assert().code(0).stderr_eq("").stdout_eq(format!("[{life}]\n"));
    daemon.finish();
    let daemon = Daemon::answering(call("why", job), error(1001, "no such service `job`", r#"{"similar":"jobs"}"#));
    daemon.ppm("why job").assert().code(4).stdout_eq("").stderr_eq("error: no such service `job`\n  hint: did you mean 'jobs'?\n");
    daemon.finish();
}

#[test]
fn health_is_an_exit_code_and_the_reasons() {
    let well =
        r#"{"healthy":true,"services":[{"id":1,"name":"web","healthy":true,"status":"running","reason":"started with the daemon"}]}"#;
    let ill = r#"{"healthy":false,"services":[{"id":1,"name":"web","healthy":true,"status":"running","reason":"x"},{"id":2,"name":"db","healthy":false,"status":"crashed","reason":"exit code 1, retry 3 in 3.9s"}]}"#;
    let reason = "db: Crashed, exit code 1, retry 3 in 3.9s\n";
    for (args, answer, code, stdout) in [
        ("health", well, 0, String::new()),
        ("health", ill, 3, reason.to_owned()),
        ("is-ready", ill, 3, reason.to_owned()),
        ("health -q", ill, 3, String::new()),
        ("health --json", ill, 3, format!("{ill}\n")),
        ("health --json", well, 0, format!("{well}\n")),
    ] {
        let daemon = Daemon::answering(call("health", r#"{"services":[]}"#), result(answer));
        daemon.ppm(args).assert().code(code).stderr_eq("").stdout_eq(stdout);
        daemon.finish();
    }
    let folder = tempfile::tempdir().unwrap();
    ppm("health").env("PPM_SOCKET", folder.path().join("none.sock")).assert().code(6).stdout_eq("");
}

#[test]
fn a_name_that_is_taken_comes_with_the_way_to_replace_it() {
    let taken = error(1002, "there is a service `web` already (Running, from ppm.yml:3)", r#"{"service":"web"}"#);
    let daemon = Daemon::answering(add("web", false), taken);
    daemon.ppm("add --name web -- true").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: there is a service `web` already (Running, from ppm.yml:3)
  hint: choose another name, or change the one there is with 'ppm add --replace'

"#]]);
    daemon.finish();
    let daemon = Daemon::answering(add("web", true), result(&format!(r#"{{"services":[{}]}}"#, running(1, "web"))));
    daemon.ppm("add --replace --name web -- true").assert().code(0).stdout_eq("").stderr_eq("");
    daemon.finish();
}

#[test]
fn what_was_added_is_saved_with_all_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ppm.yml");
    fs::write(&file, "# mine\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let added = result(&format!(r#"{{"services":[{}]}}"#, running(1, "web")));
    let daemon = Daemon::conversing(vec![
        (add("web", false), added),
        (call("configuration", ""), result(r#"{"yaml":"services:\n- name: web\n  command: 'true'\n"}"#)),
    ]);
    daemon.ppm("add --save ppm.yml --name web -- true").current_dir(folder.path()).assert().code(0).stdout_eq("").stderr_eq("");
    daemon.finish();
    assert_eq!(fs::read_to_string(&file).unwrap(), "services:\n- name: web\n  command: 'true'\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["ppm.yml"]);
}

#[test]
fn what_could_not_be_started_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let row = crashed(1, "web", "exec: no such file: true");
    let answer = format!(r#"{{"services":[{row}],"failed":[{{"service":"web","message":"exec: no such file: true"}}]}}"#);
    let daemon = Daemon::answering(add("web", false), result(&answer));
    let command = daemon.ppm("add --save ppm.yml --name web -- true").current_dir(folder.path());
    command.assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: cannot start 'web': exec: no such file: true
  it was added and is Crashed; 'ppm rm web' removes it
error: ppm.yml was not written

"#]]);
    daemon.finish();
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn where_nothing_can_be_saved_nothing_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::new(|mut client| assert_eq!(std::io::Read::read(&mut client, &mut [0; 1]).unwrap(), 0, "it asks nothing"));
    let command = daemon.ppm("add --save none/ppm.yml --name web -- true").current_dir(folder.path());
    command.assert().code(1).stdout_eq("").stderr_eq("error: cannot write none/ppm.yml: there is no folder none\n");
    daemon.finish();
}
