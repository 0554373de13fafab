//! Configurations: what is refused and in which words, what is read, and that what is written reads the same. And the
//! table of keys: that the schema and the reference are written from it, and that the schema says what the parser says.

#![recursion_limit = "256"] // of the list of values in `agreement`
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what is decided without files is compared with what stands in them"
)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

mod agreement;
mod any;
mod checker;
mod documents;
mod manual;
mod monitoring;
mod reading;
mod reference;
mod schema;
mod writing;

use std::path::{Path, PathBuf};
use std::{env, fs};

use ppm_core::config::{self, Config};

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Configurations that are wrong in some way.
fn wrong_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 60, "only {} files", files.len());
    files
}

/// Reads what must be right.
fn read(text: &str) -> Config {
    config::parse(text, "ppm.yml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// Compares with what is kept in a file; `UPDATE=1` keeps what there is now.
fn compare(path: &Path, now: &str) {
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == now {
        return;
    }
    if env::var_os("UPDATE").is_some() {
        return fs::write(path, now).unwrap();
    }
    let line = kept.lines().zip(now.lines()).take_while(|(kept, now)| kept == now).count();
    let wanted = now.lines().nth(line).unwrap_or("the end");
    panic!("{}:{} should now be\n{wanted}\nUPDATE=1 writes it anew", path.display(), line + 1);
}
