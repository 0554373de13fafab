//! The documentation's examples are tried, as a reader would try them.
//!
//! Every `console` block after a `<!-- tour -->` mark is run line by line against a real daemon with
//! data/example.yml. Numbers, times and sizes differ from run to run, so that only their kind is compared.

use std::path::{Path, PathBuf};

use crate::daemon::Daemon;

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
