//! What the documentation quotes is what is said.

use std::fs;
use std::path::Path;

/// A part of a message that is shorter says nothing.
const TELLING: usize = 6;

#[test]
fn every_message_on_the_page_for_trouble_is_in_the_sources() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(top.join("docs/troubleshooting.md")).unwrap();
    let sources = sources(&top);
    let quoted: Vec<&str> = page.split("```text\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines()).collect();
    assert!(quoted.len() > 40, "{} messages", quoted.len());
    for message in quoted {
        let parts = parts(message);
        assert!(parts.iter().any(|part| part.len() >= TELLING), "it says nothing: {message}");
        for part in &parts {
            assert!(sources.iter().any(|source| source.contains(part)), "nothing says `{part}`, quoted in: {message}");
        }
        // The parts of one message that say something stand in one file, but for what the system or a name adds.
        let telling: Vec<_> = parts.iter().filter(|part| part.len() >= TELLING).collect();
        let together = sources.iter().any(|source| telling.iter().filter(|part| source.contains(**part)).count() * 2 > telling.len());
        assert!(together, "its parts are of different messages: {message}");
    }
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

/// All that says something: the code of all crates without its comments, and the expected outputs beside it.
fn sources(top: &Path) -> Vec<String> {
    let mut folders = vec![top.join("crates")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") if !path.iter().any(|folder| folder == "tests") => texts.push(code(&fs::read_to_string(path).unwrap())),
                Some("txt") => texts.push(fs::read_to_string(path).unwrap()),
                Some(_) => {}
                None if path.is_dir() => folders.push(path),
                None => {}
            }
        }
    }
    assert!(texts.len() > 100, "the sources were not found");
    texts
}

fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n").replace("\\\"", "\"")
}
