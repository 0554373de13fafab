//! The documentation's examples are tried, as a reader would try them.
//!
//! Every `console` block after a `<!-- tour -->` mark is run line by line against a real daemon with
//! data/example.yml. Numbers, times and sizes differ from run to run, so that only their kind is compared.

#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A daemon with the example, in a folder of its own.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Returns when it listens: it says so in its first line.
    fn start(config: &Path) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_ppm")), folder.path());
        let mut child = command.arg("daemon").arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("socket"), "{first}");
        std::thread::spawn(move || lines.for_each(drop));
        Daemon { child, folder }
    }

    /// What a shell prints for this line: both streams, as at a terminal.
    fn run(&self, line: &str) -> String {
        let output = command(Path::new("sh"), self.folder.path()).args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where a test failed the daemon still runs; services die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, folder: &Path) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_ppm")).parent().unwrap();
    let path = std::env::join_paths([programs, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path).env("HOME", folder).env("PPM_SOCKET", folder.join("socket")).env("TZ", "UTC");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The lines of the block after the mark.
fn tour(text: &str) -> Vec<&str> {
    let after = text.split_once("<!-- tour -->\n```console\n").map(|(_, after)| after);
    after.unwrap_or_else(|| panic!("there is no tour")).lines().take_while(|line| *line != "```").collect()
}

/// Commands with what they should print.
fn steps<'a>(lines: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut steps: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command, Vec::new())),
            (None, Some((_, output))) => output.push(line),
            (None, None) => panic!("output before the first command: {line}"),
        }
    }
    steps
}

/// The kind of each word: numbers, durations, sizes and times look alike, and spaces do not count. When the next run
/// will be is said differently today and tomorrow, so that only that it will be counts.
fn kinds(text: &str) -> Vec<String> {
    let line_kinds = |line: &str| {
        let (line, end) = line.split_once("next run in").map_or((line, ""), |(before, _)| (before, "next run"));
        line.split_whitespace().map(kind).chain([end.to_owned()]).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line_kinds).collect()
}

fn kind(word: &str) -> String {
    let (open, word) = word.strip_prefix('(').map_or(("", word), |word| ("(", word));
    let is_measure = word.starts_with(|first: char| first.is_ascii_digit());
    let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".-:".contains(c));
    if is_measure { format!("{open}#{end}") } else { format!("{open}{word}") }
}

#[test]
fn the_tour_of_the_readme_goes_as_it_says() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    let daemon = Daemon::start(&top().join("data/example.yml"));
    // The example's one task has ended when a reader has typed the first command.
    daemon.run("ppm wait hello --for finished");
    for (command, expected) in steps(&tour(&readme)) {
        let printed = daemon.run(command);
        assert_eq!(kinds(&printed), kinds(&expected.join("\n")), "{command}\n{printed}");
    }
}

#[test]
fn the_readme_names_the_commands_that_it_promises() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    assert!(readme.contains("cargo run --release --bin ppm -- daemon --config data/example.yml"));
    assert!(readme.contains("<!-- test -->\n```bash\ncargo test --workspace --locked\n```"));
}

#[test]
fn every_configuration_in_the_documentation_loads() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(top().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(top().join("README.md"));
    let mut seen = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(file).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            ppm_core::config::parse(block, &file.display().to_string()).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
            seen += 1;
        }
    }
    let example = std::fs::read_to_string(top().join("data/example.yml")).unwrap();
    ppm_core::config::parse(&example, "data/example.yml").unwrap_or_else(|problems| panic!("{problems}"));
    assert!(seen >= 2, "{seen} blocks");
}
