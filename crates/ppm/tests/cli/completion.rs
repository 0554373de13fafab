//! What shells are told when somebody presses Tab, and the scripts with which they ask.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use snapbox::Data;

use crate::daemon::{Daemon, call, crashed, hear, ppm, result, running};

const ALL: &str = r#"{"services":[]}"#;

/// What fish is proposed for the last of these words: a word a line, and what it means behind a tab.
fn proposed(daemon: &Daemon, words: &[&str]) -> String {
    let output = asked("fish", words).env("PPM_SOCKET", daemon.socket()).output().unwrap();
    text(&output)
}

/// The same once the daemon was fast enough to be heard, which on a busy machine it need not be at the first try.
fn heard(daemon: &Daemon, words: &[&str]) -> String {
    until_heard(|| proposed(daemon, words))
}

fn until_heard(ask: impl FnMut() -> String) -> String {
    let is_heard = |text: &String| text.contains("web") || text.contains("job");
    std::iter::repeat_with(ask).take(100).find(is_heard).expect("the daemon was never heard")
}

fn asked(shell: &str, words: &[&str]) -> Command {
    let mut command = Command::new(snapbox::cmd::cargo_bin!("ppm"));
    command.env_clear().env("TZ", "UTC").env("COMPLETE", shell).env("PPM_SOCKET", "/nowhere/ppm.sock").arg("--").args(words);
    command.stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn without_daemon(words: &[&str]) -> Vec<String> {
    let text = text(&asked("fish", words).output().unwrap());
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// A daemon of two services, for whoever asks which there are.
fn two() -> Daemon {
    let rows = format!("[{},{}]", running(1, "web"), crashed(2, "job", "exit code 1\\u001b[2J, retry 3 in 3.9s"));
    Daemon::listening(move |listener| {
        loop {
            let mut client = listener.accept().unwrap().0;
            let mut request = vec![0; 1024];
            match client.read(&mut request).unwrap() {
                0 => break, // the test is over
                length => assert_eq!(String::from_utf8_lossy(&request[..length]), call("list", ALL)),
            }
            // Whoever has waited too long has gone.
            let _ = client.write_all(result(&rows).as_bytes());
        }
    })
}

#[test]
fn services_are_proposed_with_their_states() {
    let daemon = two();
    let expected = "web\tRunning\njob\tCrashed: exit code 1\\u{1b}[2J, retry 3 in 3.9s\nall\tall services\n";
    assert_eq!(heard(&daemon, &["ppm", "restart", ""]), expected);
    daemon.finish();
}

#[test]
fn what_was_typed_of_the_word_chooses() {
    for words in
        [["ppm", "info", "w"].as_slice(), &["ppm", "signal", "HUP", "w"], &["ppm", "add", "--depends-on", "w"], &["ppm", "exec", "w"]]
    {
        let daemon = two();
        assert_eq!(heard(&daemon, words), "web\tRunning\n", "{words:?}");
        daemon.finish();
    }
}

#[test]
fn the_daemon_is_the_one_whose_socket_was_typed() {
    let daemon = two();
    let socket = daemon.socket();
    let words = ["ppm", "--socket", socket.to_str().unwrap(), "stop", "j"];
    let text = until_heard(|| text(&asked("fish", &words).output().unwrap()));
    assert!(text.starts_with("job\tCrashed"), "{text}");
    daemon.finish();
}

#[test]
fn a_daemon_that_says_nothing_is_not_waited_for() {
    // It hangs up only after the shell was answered.
    let daemon = Daemon::new(|mut client| {
        hear(&mut client, &call("list", ALL));
        client.write_all(b"{\"jsonrpc\":\"2.0\",").unwrap();
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    });
    assert_eq!(proposed(&daemon, &["ppm", "log", ""]), "all\tall services\nppm-daemon\tthe daemon's own log\n");
    daemon.finish();
}

#[test]
fn a_daemon_that_refuses_or_speaks_another_language_is_nothing_to_tell() {
    for answer in ["hello\n".to_owned(), crate::daemon::error(-32601, "unknown", "null"), String::new()] {
        let daemon = Daemon::answering(call("list", ALL), answer);
        assert_eq!(proposed(&daemon, &["ppm", "start", ""]), "all\tall services\n");
        daemon.finish();
    }
    assert_eq!(without_daemon(&["ppm", "start", ""]), ["all"]);
}

#[test]
fn signals_states_zones_commands_and_options_are_proposed() {
    assert_eq!(without_daemon(&["ppm", "signal", "US"]), ["USR1", "USR2"]);
    assert_eq!(without_daemon(&["ppm", "wait", "web", "--for", ""]), ["running", "ready", "finished", "stopped"]);
    assert_eq!(without_daemon(&["ppm", "cron", "--timezone", "Europe/Paris"]), ["Europe/Paris"]);
    assert_eq!(without_daemon(&["ppm", "import", "--from", "p"]), ["pm2", "procfile", "process-compose"]);
    assert_eq!(without_daemon(&["ppm", "im"]), ["import"]);
    assert_eq!(without_daemon(&["ppm", "show-s"]), ["show-scheduler"]);
    assert_eq!(without_daemon(&["ppm", "add", "--sch"]), ["--schedule"]);
    assert_eq!(without_daemon(&["ppm", "completions", ""]), ["bash", "elvish", "fish", "zsh"]);
    let options = without_daemon(&["ppm", "daemon", ""]);
    assert!(options.contains(&"--config".to_owned()), "where there is no name, there are options: {options:?}");
}

#[test]
fn files_are_proposed_where_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ppm.yml"), "").unwrap();
    std::fs::create_dir(folder.path().join("pages")).unwrap();
    let proposed = |words: &[&str]| text(&asked("fish", words).current_dir(folder.path()).output().unwrap());
    assert_eq!(proposed(&["ppm", "check", "pp"]), "ppm.yml\n");
    assert_eq!(proposed(&["ppm", "import", "pp"]), "ppm.yml\n");
    assert_eq!(proposed(&["ppm", "add", "--workdir", "p"]), "pages/\n");
    assert_eq!(proposed(&["ppm", "run", "--", "pp"]), "ppm.yml\n");
}

#[test]
fn a_zone_may_be_unknown_to_the_system() {
    let zones = without_daemon(&["ppm", "cron", "--timezone", "America/Argentina/"]);
    assert!(zones.contains(&"America/Argentina/Ushuaia".to_owned()), "{zones:?}");
}

#[test]
fn the_variable_alone_changes_nothing() {
    let version = ppm("version").output().unwrap().stdout;
    for value in ["bash", "1", "", "tcsh"] {
        assert_eq!(ppm("version").env("COMPLETE", value).output().unwrap().stdout, version, "{value}");
        ppm("ls --socket none.sock").env("COMPLETE", value).assert().code(6);
    }
    ppm("").env("COMPLETE", "tcsh").assert().code(2);
    ppm("-- ls").env("COMPLETE", "tcsh").assert().code(2);
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "elvish", "fish", "zsh"] {
        let program = || {
            let mut command = Command::new(snapbox::cmd::cargo_bin!("ppm"));
            command.arg0("ppm").env_clear();
            command
        };
        let script = text(&program().args(["completions", shell]).output().unwrap());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/completions.{shell}"));
        snapbox::assert_data_eq!(&script, Data::read_from(&path, None).raw());
        // A package may also install a line that asks for it: COMPLETE=bash ppm
        assert_eq!(text(&program().env("COMPLETE", shell).output().unwrap()), script);
    }
}

#[test]
fn bash_completes_with_its_script() {
    let daemon = two();
    let script = text(&ppm("completions bash").output().unwrap());
    let typed = "COMP_WORDS=(ppm restart w); COMP_CWORD=2; COMP_TYPE=9; _clap_complete_ppm ppm w restart; echo \"${COMPREPLY[*]}\"; complete -p ppm";
    let said = until_heard(|| {
        let mut bash =
            Command::new("bash").env("PPM_SOCKET", daemon.socket()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        bash.stdin.take().unwrap().write_all(format!("{script}\n{typed}\n").as_bytes()).unwrap();
        String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap()
    });
    assert!(said.starts_with("web\ncomplete "), "{said}");
    daemon.finish();
}
