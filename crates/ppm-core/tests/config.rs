//! Configurations: what is refused and in which words, what is read, and that what is written reads the same.

#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::path::Path;
use std::{env, fs};

use ppm_core::config;

/// Every `tests/config/*.yml` is wrong in some way; beside it stands what is said about it, letter by letter.
/// `UPDATE=1` writes it anew.
#[test]
fn wrong_configurations_are_refused_in_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut different = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let said = match config::parse(&fs::read_to_string(&file).unwrap(), &name) {
            Ok(_) => panic!("{name} is accepted"),
            Err(problems) => format!("{problems}\n"),
        };
        let wanted = file.with_extension("txt");
        if env::var_os("UPDATE").is_some() {
            fs::write(&wanted, said).unwrap();
        } else if fs::read_to_string(&wanted).unwrap_or_default() != said {
            different.push(said);
        }
    }
    assert!(different.is_empty(), "now it says:\n{}", different.join("\n"));
}
