//! Commands that need no daemon: check, doctor, probe.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::sys::socket::{Backlog, listen};
use snapbox::str;

use crate::daemon::ppm;

const RIGHT: &str = "services:\n- name: web\n  command: web\n- name: db\n  command: db\n";
const WRONG: &str = "services:\n- name: web\n  command: web\n  shedule: \"0 3 * * *\"\n- name: db\n";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_configuration_that_is_right_is_counted() {
    let folder = folder(&[("ppm.yml", RIGHT)]);
    let check = |args: &str| ppm(args).current_dir(folder.path()).assert().code(0).stderr_eq("");
    check("check ppm.yml").stdout_eq("ppm.yml: 2 services, all right\n");
    check("check ppm.yml -q").stdout_eq("");
    check("check ppm.yml --grace 10s").stdout_eq("ppm.yml: 2 services, all right\n");
    check("check ppm.yml --json").stdout_eq("{\"services\":2,\"warnings\":[]}\n");
}

#[test]
fn all_that_is_wrong_is_shown_at_once() {
    let folder = folder(&[("ppm.yml", WRONG)]);
    let expected = str![[r#"
error: unknown key `shedule` in service `web`
 --> ppm.yml:4:3
  |
4 |   shedule: "0 3 * * *"
  |   ^^^^^^^ did you mean `schedule`?

error: service `db` has no `command`
 --> ppm.yml:5:3
  |
5 | - name: db
  |   ^^^^
  |
  = hint: add a line like `command: sleep 10`

error: 2 problems in ppm.yml

"#]];
    ppm("check ppm.yml").current_dir(folder.path()).assert().code(78).stdout_eq("").stderr_eq(expected.clone());
    let json = "{\"problems\":[{\"column\":3,\"hint\":null,\"line\":4,\"message\":\"unknown key `shedule` in service `web`\"},\
                {\"column\":3,\"hint\":\"add a line like `command: sleep 10`\",\"line\":5,\"message\":\"service `db` has no `command`\"}]}\n";
    ppm("check ppm.yml --json").current_dir(folder.path()).assert().code(78).stdout_eq(json).stderr_eq(expected);
}

#[test]
fn what_is_right_and_may_surprise_is_a_warning() {
    let slow = "services:\n- name: web\n  command: web\n  stop: {timeout: 1m}\n  schedule: \"0 0 */7 * 5\"\n";
    let folder = folder(&[("ppm.yml", slow)]);
    let check = |args: &str| ppm(args).current_dir(folder.path()).assert().code(0);
    check("check ppm.yml").stdout_eq("ppm.yml: 1 service, all right, with 2 warnings\n").stderr_eq(str![[r#"
warning: `web`: `*/7` and `5` must both match, as in crontab(5); some programs take either
warning: `web`: its stop timeout of 1m is cut short when the daemon ends: shutdown_timeout is 9s

"#]]);
    check("check ppm.yml -q").stdout_eq("").stderr_eq("");
    check("check ppm.yml --json").stderr_eq("").stdout_eq("{\"services\":1,\"warnings\":[\"`web`: `*/7`[..]\",\"`web`: its stop[..]\"]}\n");
}

#[test]
fn a_schedule_is_explained_without_a_daemon() {
    let cron = |args: &str| ppm(&format!("cron {args}")).env("TZ", "UTC").assert();
    let expected = str![[r#"
At 02:30 (Europe/Paris)
  Sun 29 Mar 2026 03:00:00 CEST  now  (moved: 02:30 does not exist)
  Mon 30 Mar 2026 02:30:00 CEST  now

"#]];
    cron("'30 2 * * *' -n 2 --timezone Europe/Paris --from 2026-03-28T12:00").code(0).stderr_eq("").stdout_eq(expected);
    let times = "[\"2026-10-25T02:30:00+02:00\",\"2026-10-26T02:30:00+01:00\"]\n";
    cron("'30 2 * * *' -n 2 --timezone Europe/Paris --from 2026-10-24T12:00Z --json").code(0).stderr_eq("").stdout_eq(times);
    cron("'0 0 */10 * FRI' -n 0").code(0).stdout_eq("At 00:00, on days 1, 11 and so on to 31 if that is Friday\n").stderr_eq(str![[r#"
warning: `*/10` and `FRI` must both match, as in crontab(5); some programs take either

"#]]);
    cron("'0 0 0 1 1 * 2020'").code(0).stdout_eq("At 00:00, on day 1, in January, in 2020\n").stderr_eq("warning: it does not run again\n");
}

#[test]
fn a_wrong_schedule_is_marked() {
    let wrong = |args: &str, message: snapbox::data::Inline| ppm(&format!("cron {args}")).assert().code(1).stdout_eq("").stderr_eq(message);
    wrong(
        "'*/90 9 * * *'",
        str![[r#"
error: the step 90 does not fit in 0-59 (in the minute field)
  */90 9 * * *
  ^^^^
  hint: `*/90` would match 0 alone: write `0` if that is meant, `@every 90m` for a period

"#]],
    );
    wrong(
        "'@daily' --timezone Pariz",
        str![[r#"
error: `Pariz` is not a time zone
  hint: did you mean `Europe/Paris`?

"#]],
    );
}

#[test]
fn a_stop_that_does_not_fit_into_the_grace_is_wrong() {
    let slow = "shutdown_timeout: 45s\nservices:\n- name: web\n  command: web\n  stop: {timeout: 30s}\n";
    let folder = folder(&[("ppm.yml", slow)]);
    ppm("check ppm.yml --grace 30s").current_dir(folder.path()).assert().code(78).stdout_eq("").stderr_eq(str![[r#"
error: the shutdown timeout (45s) does not fit into a grace of 30s
  in ppm.yml
  hint: write `shutdown_timeout: 29s`, or give the container more time
error: the stop timeout of `web` (30s) does not fit into a grace of 30s
  at ppm.yml:3
  hint: write `stop: {timeout: 29s}`, or give the container more time

"#]]);
    ppm("check ppm.yml --grace 50").current_dir(folder.path()).assert().code(0);
}

#[test]
fn the_configuration_is_the_one_that_the_daemon_would_find() {
    let folder = folder(&[("a.yml", RIGHT), (".partner-pm.yml", "")]);
    let check = |args: &str| ppm(args).current_dir(folder.path());
    check("check").assert().code(0).stdout_eq("./.partner-pm.yml: 0 services, all right\n");
    check("check").env("PPM_CONFIG", "a.yml").assert().code(0).stdout_eq("a.yml: 2 services, all right\n");
    check("check .partner-pm.yml").env("PPM_CONFIG", "a.yml").assert().code(0).stdout_eq(".partner-pm.yml: 0 services, all right\n");
    check("check -").stdin(RIGHT).assert().code(0).stdout_eq("<stdin>: 2 services, all right\n");
    check("check -").stdin("bogus: 1\n").assert().code(78).stderr_eq("...\n --> <stdin>:1:1\n...\n");
}

#[test]
fn a_configuration_that_is_not_there_is_wrong_too() {
    let folder = folder(&[("binary.yml", "")]);
    fs::write(folder.path().join("binary.yml"), b"\xff\xfe").unwrap();
    let wrong = |args: &str| ppm(args).current_dir(folder.path()).assert().code(78);
    wrong("check").stdout_eq("").stderr_eq(str![[r#"
error: there is no configuration
  looked for: ./.partner-pm.yml
  hint: name its file; 'ppm show-configuration' prints the one that runs

"#]]);
    wrong("check none.yml").stdout_eq("").stderr_eq(str![[r#"
error: cannot read the configuration none.yml: no such file
  hint: name a file that can be read, or set PPM_CONFIG

"#]]);
    wrong("check binary.yml").stderr_eq("error: cannot read the configuration binary.yml: it is not UTF-8\n...\n");
    wrong("check .").stderr_eq("error: cannot read the configuration .: is a directory\n...\n");
    let json = "{\"problems\":[{\"column\":0,\"hint\":\"name a file[..]\",\"line\":0,\"message\":\"cannot read[..]no such file\"}]}\n";
    wrong("check none.yml --json").stdout_eq(json);
}

#[test]
fn a_server_is_well_or_not_by_its_answer() {
    for (answer, code, stderr) in [
        ("HTTP/1.1 200 OK\r\n\r\n", 0, ""),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "error: http://[..]/health: it answered 503 Service Unavailable\n"),
        ("no\u{1b}[2J\n", 1, "error: http://[..]/health: it does not speak HTTP: it said `no[..]u{1b}[2J`\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            let _ = client.read(&mut [0; 4096]).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        });
        ppm(&format!("probe {url} --timeout 20s")).assert().code(code).stdout_eq("").stderr_eq(stderr);
        server.join().unwrap();
    }
}

#[test]
fn a_probe_tells_programs_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let url = format!("unix:{}", path.display());
    let well = format!("{{\"error\":null,\"healthy\":true,\"status\":null,\"url\":\"{url}\"}}\n");
    ppm(&format!("probe {url} --json")).assert().code(0).stdout_eq(well).stderr_eq("");
    drop(listener);
    let ill = format!("{{\"error\":\"cannot connect: nobody listens there\",\"healthy\":false,\"status\":null,\"url\":\"{url}\"}}\n");
    ppm(&format!("probe {url} --json"))
        .assert()
        .code(1)
        .stdout_eq(ill)
        .stderr_eq("error: unix:[..]: cannot connect: nobody listens there\n");
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let late = "error: http://[..]/: no answer within 100ms\n";
    ppm(&format!("probe {url} --timeout 100ms")).assert().code(1).stdout_eq("").stderr_eq(late);
}

/// connect(2) waits where as many as fit wait to be accepted.
#[test]
fn a_server_that_accepts_nobody_is_given_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let late = format!("error: unix:{}: no connection within 100ms\n", path.display());
    ppm(&format!("probe unix:{} --timeout 100ms", path.display())).assert().code(1).stdout_eq("").stderr_eq(late);
}

#[test]
fn the_schema_is_the_one_that_is_kept_equal_to_the_configuration() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/config.schema.json");
    let output = ppm("schema").output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), fs::read_to_string(file).unwrap());
}

#[test]
fn a_reader_who_has_gone_ends_these_quietly_too_r57() {
    let folder = folder(&[("ppm.yml", RIGHT), ("wrong.yml", WRONG)]);
    for (args, code) in [("check ppm.yml", 0), ("check wrong.yml --json -q", 0), ("completions zsh", 0), ("reload --help", 0)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(snapbox::cmd::cargo_bin!("ppm"));
        let output = command.args(args.split(' ')).current_dir(folder.path()).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args}");
        assert!(!String::from_utf8(output.stderr).unwrap().contains("pipe"), "{args}");
    }
}

#[test]
fn the_doctor_tells_what_keeps_a_container_from_running_and_what_does_not() {
    let folder = folder(&[("ppm.yml", RIGHT), ("wrong.yml", WRONG), ("slow.yml", "shutdown_timeout: 20s\n")]);
    let doctor =
        |args: &str| ppm(args).current_dir(folder.path()).env("PPM_SOCKET", folder.path().join("ppm.sock")).env("TZ", "UTC").assert();
    let out = doctor("doctor ppm.yml").code(0).stderr_eq("").get_output().stdout.clone();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("ok       configuration  ppm.yml: 2 services, all right\n"), "{out}");
    assert!(out.contains("/ppm.sock: can be made\n"), "{out}");
    doctor("doctor wrong.yml -q").code(1).stdout_eq("").stderr_eq("");
    doctor("doctor slow.yml -q").code(0);
    doctor("doctor slow.yml -q --strict").code(1);
    doctor("doctor slow.yml -q --strict --grace 30s").code(0);
    doctor("doctor none.yml -q").code(1);
    let json = doctor("doctor slow.yml --json").code(0).get_output().stdout.clone();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let stopping = json["checks"].as_array().unwrap().iter().find(|check| check["about"] == "stopping").unwrap();
    assert_eq!(
        (&stopping["verdict"], &stopping["found"]),
        (&"warning".into(), &"the shutdown timeout (20s) does not fit into a grace of 10s".into())
    );
    doctor("doctor ppm.yml -q --socket no/such/ppm.sock").code(1);
}

#[test]
fn without_a_configuration_the_doctor_looks_at_the_rest() {
    let folder = folder(&[]);
    let out =
        ppm("doctor").current_dir(folder.path()).env("HOME", folder.path()).env_remove("PPM_CONFIG").assert().get_output().stdout.clone();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("ok       configuration  there is none; the daemon starts without services\n"), "{out}");
}
