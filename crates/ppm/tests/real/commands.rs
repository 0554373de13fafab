//! Commands whose worth shows only with a real daemon: reload, check, why, health, add.

use std::fs;

use crate::daemon::{Daemon, Done};

const TWO: &str = "services:\n- name: web\n  command: sleep 1000\n- name: db\n  command: sleep 1000\n";

fn done(stdout: &str) -> Done {
    Done { code: 0, stdout: stdout.to_owned(), stderr: String::new() }
}

fn rewrite(daemon: &Daemon, config: &str) {
    fs::write(daemon.folder().join("ppm.yml"), config).unwrap();
}

/// The pid of a service that runs.
fn pid(daemon: &Daemon, service: &str) -> i64 {
    row(daemon, service)["pid"].as_i64().unwrap()
}

fn row(daemon: &Daemon, service: &str) -> serde_json::Value {
    let rows: serde_json::Value = serde_json::from_str(&daemon.ppm(&format!("ls {service} --json")).stdout).unwrap();
    rows[0].clone()
}

#[test]
fn a_reload_does_what_has_changed_in_the_file_and_nothing_else() {
    let daemon = Daemon::with(&format!("{TWO}- name: old\n  command: sleep 1000\n"));
    assert_eq!(daemon.ppm("wait all --for running").code, 0);
    let (web, db) = (pid(&daemon, "web"), pid(&daemon, "db"));
    rewrite(&daemon, &format!("shutdown_timeout: 5s\n{}- name: new\n  command: sleep 1000\n", TWO.replacen("1000", "2000", 1)));

    let difference = "  ~ shutdown_timeout: 9s -> 5s\n  ~ web  restart     command: sleep 1000 -> sleep 2000\n  \
                      + new  start\n  - old  stop and remove\n  = db   unchanged\n";
    assert_eq!(daemon.ppm("reload --plan"), done(difference));
    assert_eq!(daemon.ppm("ls -q"), done("web\ndb\nold\n"));
    assert_eq!(pid(&daemon, "web"), web);

    assert_eq!(daemon.ppm("reload"), done(difference));
    assert_eq!(daemon.ppm("ls -q"), done("web\ndb\nnew\n"));
    assert_eq!(pid(&daemon, "db"), db);
    assert_ne!(pid(&daemon, "web"), web);
    assert_eq!(daemon.ppm("reload"), done("  = web, db, new  unchanged\n"));
}

#[test]
fn a_wrong_file_changes_nothing_and_is_shown_where_it_is_wrong() {
    let daemon = Daemon::with(TWO);
    assert_eq!(daemon.ppm("wait all --for running").code, 0);
    let before = (pid(&daemon, "web"), pid(&daemon, "db"));
    rewrite(&daemon, "shutdown_timeout: 10 parsecs\nservices:\n- name: web\n  command: sleep 1\n");
    for args in ["reload", "reload --plan", "check ppm.yml"] {
        let wrong = daemon.ppm(args);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (78, ""), "{args}");
        assert!(wrong.stderr.starts_with("error: `10 parsecs` is not a duration\n"), "{}", wrong.stderr);
        assert!(wrong.stderr.contains("\n1 | shutdown_timeout: 10 parsecs\n"), "{}", wrong.stderr);
    }
    fs::remove_file(daemon.folder().join("ppm.yml")).unwrap();
    let gone = daemon.ppm("reload");
    assert_eq!(gone.code, 78);
    assert!(gone.stderr.starts_with("error: cannot read the configuration "), "{}", gone.stderr);
    assert_eq!((pid(&daemon, "web"), pid(&daemon, "db")), before);
}

#[test]
fn a_service_that_a_reload_cannot_start_is_told() {
    let daemon = Daemon::with(TWO);
    rewrite(&daemon, &format!("{TWO}- name: new\n  command: /nowhere/new\n"));
    let reload = daemon.ppm("reload -q");
    assert_eq!((reload.code, reload.stdout.as_str()), (1, ""));
    assert_eq!(reload.stderr, "error: cannot start 'new': exec: no such file: /nowhere/new\n  hint: 'ppm why new' tells more\n");
}

#[test]
fn why_tells_how_a_service_came_to_its_end() {
    let daemon = Daemon::with("services:\n- name: job\n  command: sh -c 'exit 3'\n  restart: never\n");
    assert_eq!(daemon.ppm("wait job --for finished").code, 3, "it crashes and is not started again");
    let why = daemon.ppm("why job");
    let lines: Vec<&str> = why.stdout.lines().collect();
    let [head, started, exited] = lines.as_slice() else { panic!("{}", why.stdout) };
    assert!(head.starts_with("job: Crashed ") && head.ends_with(" ago: exit code 3"), "{head}");
    assert!(started.contains("  started  with the daemon, pid "), "{started}");
    assert!(exited.contains("  exited   exit code 3, after ") && exited.contains("s, pid "), "{exited}"); // 0s or 7ms

    assert_eq!(daemon.ppm("why jbo"), Done { code: 4, stdout: String::new(), stderr: daemon.ppm("info jbo").stderr });
    let json: serde_json::Value = serde_json::from_str(&daemon.ppm("why job --json").stdout).unwrap();
    assert_eq!(json[0]["events"][1]["exit"]["code"], 3);
}

#[test]
fn why_tells_who_asked_for_it() {
    let daemon = Daemon::with(TWO);
    assert_eq!(daemon.ppm("wait web --for running").code, 0);
    assert_eq!(daemon.ppm("stop web").code, 0);
    let (why, uid) = (daemon.ppm("why web").stdout, nix::unistd::geteuid());
    assert!(why.contains(&format!(", asked for by uid {uid}\n")), "{why}");
    assert!(why.contains("  exited    stopped by request (killed by SIGTERM), after "), "{why}");
}

#[test]
fn health_is_0_while_all_is_well_and_3_when_not() {
    let daemon = Daemon::with(&format!("{TWO}- name: task\n  command: 'true'\n"));
    assert_eq!(daemon.ppm("wait web db --for running").code, 0);
    assert_eq!(daemon.ppm("wait task --for finished").code, 0);
    assert_eq!(daemon.ppm("health"), done(""));
    assert_eq!(daemon.ppm("stop db").code, 0);
    assert_eq!(daemon.ppm("health"), done(""), "what is not wanted need not run");
    assert_eq!(daemon.ppm("add --name lost --restart never -- /nowhere/lost").code, 1);
    let ill = Done { code: 3, ..done("lost: Crashed, exec: no such file: /nowhere/lost\n") };
    assert_eq!(daemon.ppm("is-ready"), ill);
    assert_eq!(daemon.ppm("health web"), done(""));
    assert_eq!(daemon.ppm("health nobody").code, 4);
}

#[test]
fn a_service_that_replaces_another_keeps_its_number() {
    let daemon = Daemon::with(TWO);
    assert_eq!(daemon.ppm("wait all --for running").code, 0);
    let (id, before) = (row(&daemon, "db")["id"].clone(), pid(&daemon, "db"));
    assert_eq!(daemon.ppm("add --name db -- sleep 2000").code, 1);
    assert_eq!(daemon.ppm("add --replace --name db -- sleep 2000"), done(""));
    assert_eq!(row(&daemon, "db")["id"], id);
    assert_ne!(pid(&daemon, "db"), before);
    assert!(daemon.ppm("info db").stdout.contains("     command   sleep 2000\n"));
}

#[test]
fn what_is_saved_is_right_and_the_same_as_what_runs() {
    let daemon = Daemon::with(TWO);
    assert_eq!(daemon.ppm("add --name job --env 'A=x y' --schedule '0 3 * * *' --save saved.yml -- sh -c 'echo \"$A\"'"), done(""));
    let saved = fs::read_to_string(daemon.folder().join("saved.yml")).unwrap();
    assert_eq!(daemon.ppm("show-configuration"), done(&saved));
    assert_eq!(daemon.ppm("check saved.yml"), done("saved.yml: 3 services, all right\n"));
    assert_eq!(daemon.ppm("show-configuration | ppm check -"), done("<stdin>: 3 services, all right\n"));

    assert_eq!(daemon.ppm("add --name lost --save saved.yml -- /nowhere/lost").code, 1);
    assert_eq!(fs::read_to_string(daemon.folder().join("saved.yml")).unwrap(), saved);
    let mut names: Vec<_> = fs::read_dir(daemon.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".saved")), "{names:?}");
}

/// A daemon that runs what is imported from this text.
fn imported(dialect: &str, text: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), text).unwrap();
    let mut import = std::process::Command::new(env!("CARGO_BIN_EXE_ppm"));
    let output = import.args(["import", "--from", dialect, "file"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Daemon::with(&String::from_utf8(output.stdout).unwrap())
}

fn written(daemon: &Daemon, file: &str) -> String {
    fs::read_to_string(daemon.folder().join(file)).unwrap()
}

#[test]
fn what_a_shell_looks_up_for_supervisord_has_the_same_value() {
    let daemon = imported(
        "supervisord",
        "[supervisord]\nenvironment=GREETING=\"good  day\",PRICE=\"${HOME} $$5\"\n[program:w]\nnumprocs=2\nautorestart=false\n\
         process_name=%(program_name)s_%(process_num)02d\nenvironment=NUMBER=\"%(process_num)d\"\n\
         command=env -u PATH -- /bin/sh -c 'echo \"$@ $PRICE $NUMBER\" > $HOME/$1' sh w%(process_num)02d '100%% %(ENV_GREETING)s'\n",
    );
    assert_eq!(daemon.ppm("wait w --for finished --timeout 30s").code, 0);
    assert_eq!(written(&daemon, "w00"), "w00 100% good  day ${HOME} $$5 1\n");
    assert_eq!(written(&daemon, "w01"), "w01 100% good  day ${HOME} $$5 2\n");
}

#[test]
fn a_procfile_has_its_port_and_its_shell() {
    let daemon = imported("procfile", "a: echo $PORT > a\nb: A=b sh -c 'echo $A' > b && echo $PORT >> b\n");
    assert_eq!(daemon.ppm("wait all --for finished --timeout 30s").code, 0);
    assert_eq!((written(&daemon, "a").as_str(), written(&daemon, "b").as_str()), ("5000\n", "b\n5100\n"));
}

#[test]
fn a_job_of_cron_runs_at_home_with_its_input_and_its_variables() {
    let daemon = imported("crontab", "PRICE='$$5 ${HOME}'\n@reboot cat > job; echo \"$PRICE\" 5\\% >> job%one%%two\n");
    assert_eq!(daemon.ppm("wait all --for finished --timeout 30s").code, 0);
    assert_eq!(written(&daemon, "job"), "one\n\ntwo\n$$5 ${HOME} 5%\n");
}
