//! What the documentation quotes is what is said.

use std::fs;
use std::path::Path;

/// A part of a message that is shorter says nothing.
const TELLING: usize = 6;

/// What is expected of a test is said: so a message that is in no test is on this page by mistake, or lacks a test.
#[test]
fn every_message_on_the_page_for_trouble_is_said_in_a_test() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(top.join("docs/troubleshooting.md")).unwrap();
    let expected = expectations(&top);
    let quoted: Vec<&str> = page.split("```text\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines()).collect();
    assert!(quoted.len() > 40, "{} messages", quoted.len());
    let mut unsaid = Vec::new();
    for message in quoted {
        let parts = parts(message);
        assert!(parts.iter().any(|part| part.len() >= TELLING), "it says nothing: {message}");
        if !expected.iter().any(|line| has_in_order(line, &parts)) {
            unsaid.push(message);
        }
    }
    assert!(unsaid.is_empty(), "no test expects: {unsaid:#?}");
}

#[test]
fn parts_are_what_is_between_the_dots() {
    assert_eq!(parts("error: cannot reach the daemon at ...: no such file"), ["reach the daemon at", "no such file"]);
    assert_eq!(parts("error: `...` is not a duration"), ["is not a duration"]);
    assert_eq!(parts("error: 2 problems in ...; nothing was changed"), ["problems in", "nothing was changed"]);
}

/// The fixed parts of a message, without what is put in front of many of them and without numbers.
fn parts(message: &str) -> Vec<&str> {
    let message =
        ["error: cannot ", "error: ", "warning: ", "hint: "].iter().find_map(|prefix| message.strip_prefix(prefix)).unwrap_or(message);
    let edge = |letter: char| !letter.is_alphabetic() && letter != '#';
    message.split("...").map(|part| part.trim_matches(edge)).filter(|part| !part.is_empty()).collect()
}

fn has_in_order(line: &str, parts: &[&str]) -> bool {
    let mut rest = line;
    parts.iter().all(|part| rest.split_once(part).map(|(_, after)| rest = after).is_some())
}

/// All lines of tests and of the outputs that they expect, strings that are broken into several as one.
fn expectations(top: &Path) -> Vec<String> {
    let mut folders = vec![top.join("crates")];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let is_code = path.extension().is_some_and(|extension| extension == "rs");
            let tests = match is_code && !path.iter().any(|folder| folder == "tests") {
                true => text.split_once("#[cfg(test)]\nmod tests {").map_or("", |(_, tests)| tests),
                false => &text,
            };
            lines.extend(if is_code { code(tests) } else { tests.lines().map(str::to_owned).collect() });
        }
    }
    assert!(lines.len() > 10_000, "the tests were not found");
    lines
}

/// Without comments, and with strings as they are read.
fn code(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        let (line, is_broken) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        let line = line.replace("\\\"", "\"");
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(&line),
            None => lines.push(line),
        }
        goes_on = is_broken;
    }
    lines
}

#[test]
fn a_string_over_several_lines_is_one() {
    let text = "// say(\"no\");\n    say(\"a \\\n        \\\"b\\\"\\n\");\n    end";
    assert_eq!(code(text), ["say(\"a \"b\"\\n\");", "end"]);
    assert!(has_in_order("at a, b and c", &["a", "c"]) && !has_in_order("c then a", &["a", "c"]));
}
