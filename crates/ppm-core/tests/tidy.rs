//! Holds the house in order: who may import whom, where unsafe may stand, and what must not be anywhere.
//!
//! The architecture is a set of absences (docs/architecture.md), and absences are kept only by looking for them. Reads
//! every `Cargo.toml` and every `.rs` file of the workspace; comments, texts and unit tests are left out where the
//! rule is about code.
#![expect(clippy::disallowed_methods, reason = "what is decided without files is compared with what stands in them")]
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Every dependency there may be, and why it costs less than it saves.
const DEPENDENCIES: &[(&str, &str, &str)] = &[
    ("ppm-protocol", "jiff", "times on the wire are RFC 3339"),
    ("ppm-protocol", "memchr", "finds the ends of lines; comes with serde_json"),
    ("ppm-protocol", "serde", "the values on the wire"),
    ("ppm-protocol", "serde_json", "the lines on the wire"),
    ("ppm-core", "criterion", "in benches only: times that can be compared"),
    ("ppm-core", "cron", "reads the numeric fields of a schedule"),
    ("ppm-core", "httparse", "reads the heads of requests of strangers"),
    ("ppm-core", "humantime", "durations as people write them"),
    ("ppm-core", "jiff", "zones, their changes of clocks, and civil dates"),
    ("ppm-core", "ppm-protocol", "requests, answers and rows"),
    ("ppm-core", "serde", "the configuration as typed"),
    ("ppm-core", "regex-lite", "in tests only: the patterns of the schema"),
    ("ppm-core", "serde_json", "what errors carry for programs"),
    ("ppm-core", "serde_yaml", "the configuration is YAML"),
    ("ppm-core", "shell-words", "splits a command like a shell does"),
    ("ppm-core", "strsim", "proposes the name that was meant"),
    ("ppm-daemon", "jiff", "finds the local zone; carries the zones where the system has none"),
    ("ppm-daemon", "lexopt", "six flags do not need clap"),
    ("ppm-daemon", "libc", "clone, waitid and kill as the kernel has them"),
    ("ppm-daemon", "memchr", "finds the last end of line in output; comes with serde_json"),
    ("ppm-daemon", "nix", "safe names for the other system calls"),
    ("ppm-daemon", "notify", "inotify(7): tells that files may have changed"),
    ("ppm-daemon", "ppm-core", "decides"),
    ("ppm-daemon", "ppm-protocol", "reads and writes the lines of its clients"),
    ("ppm-daemon", "serde_json", "writes the lines of its clients"),
    ("ppm-daemon", "tempfile", "a folder for each test"),
    ("ppm-daemon", "tokio", "one thread that waits for sockets, signals and timers"),
    ("ppm-daemon", "tracing", "the daemon's own log"),
    ("ppm", "anstream", "knows whether a stream wants colour; comes with clap"),
    ("ppm", "anstyle", "the colours; comes with clap"),
    ("ppm", "clap", "the command line and its help"),
    ("ppm", "clap_complete", "what a shell proposes, out of the same definition as the help"),
    ("ppm", "humantime", "durations as people write them"),
    ("ppm", "jiff", "local times for people"),
    ("ppm", "nix", "the terminal, and whose socket it is"),
    ("ppm", "ppm-core", "checks a configuration without a daemon"),
    ("ppm", "ppm-daemon", "`ppm daemon`, one call"),
    ("ppm", "ppm-protocol", "asks and hears"),
    ("ppm", "ratatui", "the screen of `ppm top`, and what a test sees of it"),
    ("ppm", "regex-lite", "`ppm log --grep`"),
    ("ppm", "rustix", "the modes and the size of a terminal; comes with terminal_size"),
    ("ppm", "serde", "machine output"),
    ("ppm", "serde_json", "machine output"),
    ("ppm", "serde_yaml", "reads what `ppm import` takes in"),
    ("ppm", "shell-words", "shows a command as a shell would take it"),
    ("ppm", "terminal_size", "the width of a table; comes with clap"),
    ("ppm", "unicode-width", "how many columns a text takes"),
    ("ppm", "anstyle-svg", "draws the README's picture from what is printed"),
    ("ppm", "snapbox", "compares what is printed with what was reviewed"),
    ("ppm", "tempfile", "a folder for each test"),
];

/// The arrows: whom each crate of the workspace may name.
const ARROWS: [(&str, &[&str]); 4] = [
    ("ppm-protocol", &[]),
    ("ppm-core", &["ppm-protocol"]),
    ("ppm-daemon", &["ppm-core", "ppm-protocol"]),
    ("ppm", &["ppm-core", "ppm-daemon", "ppm-protocol"]),
];

/// What code must not contain: where, what, except in which files, and why.
const ABSENCES: [Absence; 17] = [
    Absence { under: "ppm-core/src", words: &["tokio", "nix", "libc", "notify", "tracing"], except: &[], why: "the core performs nothing" },
    Absence {
        under: "ppm-core/src",
        words: &["std::fs", "std::net", "std::process", "std::thread", "std::env", "std::io", "std::os"],
        except: &[],
        why: "the core performs nothing",
    },
    Absence {
        under: "ppm-core/src",
        words: &["Mutex", "RwLock", "Condvar", "mpsc", "Atomic", "OnceLock", "LazyLock", "thread_local"],
        except: &[],
        why: "one task owns all state",
    },
    Absence {
        under: "ppm-core/src",
        words: &["Instant", "SystemTime", "Timestamp::now", "Zoned::now", "TimeZone::system"],
        except: &[],
        why: "time is an argument",
    },
    Absence { under: "ppm-core/src", words: &["HashMap", "HashSet"], except: &[], why: "the same seed tells the same history" },
    Absence { under: "ppm-core/src", words: &["std::{"], except: &[], why: "one import a line, or these rules could be passed by" },
    Absence {
        under: "ppm-protocol/src",
        words: &["std::fs", "std::net", "std::process", "std::thread", "Instant", "SystemTime", "tokio"],
        except: &[],
        why: "values and lines need nothing from the system",
    },
    Absence { under: "ppm/src", words: &["tokio", "async fn"], except: &[], why: "the command line blocks" },
    Absence {
        under: "",
        words: &["unsafe"],
        except: &["ppm-daemon/src/spawn.rs", "ppm-daemon/src/reap.rs", "ppm-daemon/src/host.rs", BLACK_BOX],
        why: "few files are read with the manual beside them",
    },
    Absence {
        under: "",
        words: &["waitid", "waitpid", "wait4"],
        except: &["ppm-daemon/src/reap.rs"],
        why: "one reaper owns all waits (R11)",
    },
    Absence {
        under: "ppm-daemon/src",
        words: &["libc::kill", "signal::kill", "killpg", "pidfd_send_signal", "tgkill"],
        except: &["ppm-daemon/src/reap.rs", "ppm-daemon/src/spawn.rs"],
        why: "who signals must know who has been reaped (R14)",
    },
    Absence { under: "", words: &["tokio::process"], except: &[], why: "its reaper and ours would steal exits from each other (R11)" },
    Absence { under: "ppm-daemon/src", words: &["Command::new"], except: &[], why: "there is one way to start a process" },
    Absence { under: "ppm-daemon/src", words: &["Status::"], except: &[], why: "the daemon never asks what state a service is in" },
    Absence { under: "ppm-daemon/src", words: &["Mutex", "RwLock"], except: &[], why: "one task owns all state" },
    Absence {
        under: "",
        words: &["#[ignore", "#[allow(", "#![allow("],
        except: &[],
        why: "a lint is expected for a reason, a test is run",
    },
    Absence { under: "", words: &["todo!", "unimplemented!", "dbg!"], except: &[], why: "what is there works" },
];

/// These tests start the daemon as a careless parent would: they act between its fork and its exec.
const BLACK_BOX: &str = "ppm-daemon/tests/black_box";

struct Absence {
    under: &'static str,
    words: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

#[test]
fn the_crates_name_each_other_only_along_the_arrows() {
    let mut wrong = String::new();
    for (krate, dependency) in dependencies() {
        let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == krate).unwrap_or_else(|| panic!("where does {krate} belong?"));
        if dependency.starts_with("ppm") && !allowed.contains(&dependency.as_str()) {
            writeln!(wrong, "{krate} -> {dependency}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_dependency_has_a_reason() {
    let known: BTreeSet<(&str, &str)> = DEPENDENCIES.iter().map(|(krate, name, _)| (*krate, *name)).collect();
    let found = dependencies();
    let missing: Vec<_> = found.iter().filter(|(krate, name)| !known.contains(&(krate.as_str(), name.as_str()))).collect();
    assert!(missing.is_empty(), "without a reason in tests/tidy.rs: {missing:?}");
}

#[test]
fn what_must_not_be_is_not() {
    let files = sources();
    assert!(files.len() > 30, "the workspace was not found: {files:?}");
    let mut wrong = String::new();
    for (path, text) in &files {
        let code = code_of(text);
        for Absence { under, words, except, why } in &ABSENCES {
            if !path.starts_with(under) || except.iter().any(|exception| path.starts_with(exception)) || path.ends_with("tidy.rs") {
                continue;
            }
            for (number, line) in (1..).zip(code.lines()) {
                for word in words.iter().filter(|word| has_word(line, word)) {
                    writeln!(wrong, "crates/{path}:{number}: `{word}`, but {why}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_case_of_watching_has_its_test() {
    let sources = sources();
    let is_test = |test: &str| {
        let (file, name) = test.split_once("::").unwrap();
        let place = format!("/{file}.rs");
        let heads = ["", "    "].map(|indent| format!("#[test]\n{indent}fn {name}() {{\n"));
        sources.iter().any(|(path, text)| path.ends_with(&place) && heads.iter().any(|head| text.contains(head)))
    };
    let table = include_str!("cases/watch_cases.csv");
    let rows = table.lines().skip(1).map(|row| row.rsplit_once(',').unwrap());
    let lost: Vec<&str> = rows.filter(|(_, test)| !is_test(test)).map(|(row, _)| row).collect();
    assert!(table.lines().count() > 30 && lost.is_empty(), "without a test: {lost:#?}");
    assert!(!is_test("watch::nobody_has_written_this"));
}

#[test]
fn nothing_is_left_to_be_done() {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|halves| halves.concat());
    let mut wrong = String::new();
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            if marks.iter().any(|mark| has_word(line, mark)) {
                writeln!(wrong, "crates/{path}:{number}: {}", line.trim()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "without `//!`: {silent:?}");
}

#[test]
fn the_core_holds_its_own_clippy_to_the_same_words() {
    let root = fs::read_to_string(crates().join("../clippy.toml")).unwrap();
    let own = fs::read_to_string(crates().join("ppm-core/clippy.toml")).unwrap();
    let lost: Vec<&str> = root.lines().filter(|line| line.starts_with("allow-")).filter(|line| !own.contains(line)).collect();
    assert!(lost.is_empty(), "a crate's clippy.toml replaces that of the workspace; it lacks {lost:?}");
}

#[test]
fn the_rules_find_what_they_forbid() {
    let code = code_of("let a = \"unsafe\"; // unsafe\n/* unsafe */ let b = '\"'; let c = r#\"unsafe \" \"#;\nunsafe { d() }\n");
    let found: Vec<usize> = (1..).zip(code.lines()).filter(|(_, line)| has_word(line, "unsafe")).map(|(number, _)| number).collect();
    assert_eq!(found, [3], "{code}");
    assert!(has_word("use std::fs;", "std::fs") && has_word("std::fs::read", "std::fs") && !has_word("std::fstab", "std::fs"));
    assert!(has_word("x: &Instant)", "Instant") && !has_word("Instantly", "Instant") && !has_word("AnInstant", "Instant"));
    assert!(has_word("#[allow(dead_code)]", "#[allow("));
    assert!(!code_of("fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").contains("std::fs"), "unit tests may");
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every dependency of every crate, of whatever kind: (crate, dependency).
fn dependencies() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(crates()).unwrap() {
        let folder = entry.unwrap();
        let Ok(manifest) = fs::read_to_string(folder.path().join("Cargo.toml")) else { continue };
        let krate = folder.file_name().into_string().unwrap();
        let mut in_section = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_section = line.trim_end_matches(']').ends_with("dependencies");
            } else if let (true, Some((name, _))) = (in_section, line.split_once(['.', '=', ' '])) {
                found.push((krate.clone(), name.trim().to_owned()));
            }
        }
    }
    assert!(found.len() > 20, "the manifests were not read: {found:?}");
    found
}

/// Every Rust file of the workspace by its path below `crates`.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![crates()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(crates()).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The text with its lines, but without comments, the insides of literals, and unit tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kept, skipped) = match skip(rest) {
            Some(length) => ("", length),
            None => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        code.push_str(kept);
        code.extend(rest[..skipped].chars().filter(|c| kept.is_empty() && *c == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// The length of the comment or the literal that begins here.
fn skip(text: &str) -> Option<usize> {
    let until = |start: usize, end: &str| Some(text[start..].find(end).map_or(text.len(), |at| start + at + end.len()));
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return until(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if text.starts_with("'\\") {
        return until(3, "'"); // an escaped character
    }
    let mut chars = text.char_indices();
    match (chars.next(), chars.next(), chars.next()) {
        (Some((_, '\'')), Some(_), Some((at, '\''))) => Some(at + 1),
        (Some((_, '"')), ..) => Some(end_of_string(text)),
        _ => None,
    }
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Whether the line has this word, not merely these letters.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (begins, ends) = (word.starts_with(is_part), word.ends_with(is_part));
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        !(begins && before || ends && after)
    })
}
