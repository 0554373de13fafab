//! The help of every command, to the letter: `SNAPSHOTS=overwrite cargo test -p ppm` writes it anew.

use std::path::Path;

use snapbox::Data;

use crate::daemon::ppm;

const COMMANDS: [&str; 36] = [
    "daemon",
    "info",
    "ls",
    "health",
    "add",
    "rm",
    "start",
    "stop",
    "restart",
    "reschedule",
    "pause",
    "resume",
    "signal",
    "stats",
    "top",
    "show-configuration",
    "show-scheduler",
    "show-watch",
    "reload",
    "runs",
    "why",
    "events",
    "log",
    "exec",
    "run",
    "wait",
    "shutdown",
    "version",
    "check",
    "doctor",
    "export",
    "import",
    "cron",
    "probe",
    "schema",
    "completions",
];

fn snapshot(name: &str) -> Data {
    Data::read_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt")), None)
}

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        ppm(&format!("{command} --help")).assert().code(0).stderr_eq("").stdout_eq(snapshot(command));
    }
}

#[test]
fn every_help_fits_80_columns_and_has_an_example_and_the_exit_codes() {
    for command in COMMANDS.iter().chain(&[""]) {
        let output = ppm(&format!("{command} --help")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}");
        for part in ["\nExamples:\n", "\nExit codes:\n"] {
            assert!(text.contains(part), "{command}: no {part:?}");
        }
    }
}

#[test]
fn the_program_explains_itself() {
    ppm("--help").assert().code(0).stderr_eq("").stdout_eq(snapshot("ppm"));
}

#[test]
fn ppm_alone_prints_the_short_help_and_is_wrong_use() {
    ppm("").assert().code(2).stdout_eq("").stderr_eq(snapshot("ppm-short"));
}

#[test]
fn no_command_is_without_a_snapshot() {
    let help = ppm("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let section = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   "); // others go on with the line above
    let names = section.lines().filter(begins).map(|line| line.split_whitespace().next().unwrap());
    let listed: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert_eq!(listed, COMMANDS);
}
