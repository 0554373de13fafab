//! What must outlive the daemon: the planned times that have come, of schedules with `missed: once`.
//!
//! A daemon that is not asked to remember has no file. It is written by a thread that lives as long as the write does,
//! one at a time and always the newest, so that a file system that hangs costs one thread and no supervision; and in such
//! a way that a crash at any moment leaves either what was there or what is new (rename(2), fsync(2)).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ppm_core::event::Planned;
use ppm_core::gather::Gather;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::driver::Wake;
use crate::spawn::in_words;

/// The file in the folder of the state.
const FILE: &str = "schedules.json";

/// A larger file is not ours: it holds a line for each of at most 10,000 services.
const MAX_FILE: u64 = 8 << 20;

/// What is remembered, and where.
#[derive(Debug)]
pub struct Memory {
    folder: Option<PathBuf>,
    known: BTreeMap<String, Planned>,
    inbox: mpsc::Sender<Wake>,
    lag: Lag,
    complained: bool,
}

/// How far the file is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lag {
    /// It holds all.
    Done,
    /// It is being written.
    Busy,
    /// It is being written, and something is new since.
    Behind,
}

impl Memory {
    /// A memory in this folder, which holds what was read from it.
    pub fn new(folder: Option<PathBuf>, known: BTreeMap<String, Planned>, inbox: mpsc::Sender<Wake>) -> Memory {
        Memory { folder, known, inbox, lag: Lag::Done, complained: false }
    }

    /// Keeps this, in a moment also on the disk.
    pub fn remember(&mut self, service: String, planned: Planned) {
        self.known.insert(service, planned);
        match self.lag {
            Lag::Done => self.begin(),
            Lag::Busy | Lag::Behind => self.lag = Lag::Behind,
        }
    }

    /// A write has ended.
    pub fn written(&mut self, outcome: Result<(), String>) {
        match &outcome {
            Err(why) if !self.complained => tracing::warn!("`missed: once` is not remembered: {why}"),
            Err(_) | Ok(()) => {}
        }
        self.complained = outcome.is_err();
        if self.lag == Lag::Behind { self.begin() } else { self.lag = Lag::Done }
    }

    /// Whether something is not on the disk yet.
    pub fn is_behind(&self) -> bool {
        self.lag != Lag::Done
    }

    fn begin(&mut self) {
        self.lag = Lag::Busy;
        let (folder, text, inbox) = (self.folder.clone(), write(&self.known), self.inbox.clone());
        let work = move || {
            let outcome = match folder {
                Some(folder) => save(&folder, &text).map_err(|error| format!("{}: {}", folder.join(FILE).display(), in_words(&error))),
                None => Err("no folder for it is known: name one with `state_dir`".to_owned()),
            };
            let _ = inbox.blocking_send(Wake::Remembered(outcome));
        };
        if let Err(error) = std::thread::Builder::new().name("memory".to_owned()).spawn(work) {
            self.lag = Lag::Done;
            tracing::warn!("`missed: once` is not remembered: no thread: {}", in_words(&error));
        }
    }
}

/// The folder that is meant: the one asked for, else the usual one.
pub fn folder(asked: Option<&str>, env: impl Fn(&str) -> Option<std::ffi::OsString>, uid: u32) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = || match uid {
        0 => Some(PathBuf::from("/var/lib/ppm")),
        _ => set("HOME").map(|home| home.join(".local/state/ppm")),
    };
    asked.map(PathBuf::from).or_else(|| set("XDG_STATE_HOME").map(|state| state.join("ppm"))).or_else(usual)
}

/// What the folder's file holds; nothing where there is none yet.
///
/// # Errors
/// It cannot be read, or is not ours; in words.
pub fn read(folder: &Path) -> Result<BTreeMap<String, Planned>, String> {
    let path = folder.join(FILE);
    let told = |why: String| format!("{}: {why}", path.display());
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
        Ok(_) => parse(&text).ok_or_else(|| told("it is not what ppm writes".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(told(in_words(&error))),
    }
}

fn parse(text: &str) -> Option<BTreeMap<String, Planned>> {
    let whole: Value = serde_json::from_str(text).ok()?;
    let planned = |value: &Value| {
        let rule = value.get("rule")?.as_str()?.to_owned();
        Some(Planned { rule, fire: value.get("planned")?.as_str()?.parse().ok()? })
    };
    let mut all = BTreeMap::new();
    for (name, value) in whole.get("services")?.as_object()? {
        all.insert(name.clone(), planned(value)?);
    }
    Some(all)
}

fn write(known: &BTreeMap<String, Planned>) -> String {
    let entry = |(name, planned): (&String, &Planned)| {
        let value = json!({ "rule": planned.rule, "planned": planned.fire.to_string() });
        (name.clone(), value)
    };
    let services: Map<String, Value> = known.iter().map(entry).gather();
    format!("{:#}\n", json!({ "version": 1, "services": services }))
}

/// Whatever happens, the file holds the old or the new whole.
fn save(folder: &Path, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn known() -> BTreeMap<String, Planned> {
        let planned = Planned { rule: "0 3 * * * Europe/Paris".to_owned(), fire: "2026-01-02T02:00:00.000Z".parse().unwrap() };
        BTreeMap::from([("backup".to_owned(), planned)])
    }

    #[test]
    fn what_is_written_is_read_again_and_replaces_what_was_there() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("not/there/yet");
        assert_eq!(read(&folder), Ok(BTreeMap::new()));
        for known in [known(), BTreeMap::new(), known()] {
            save(&folder, &write(&known)).unwrap();
            assert_eq!(read(&folder), Ok(known));
        }
        let names: Vec<OsString> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn what_ppm_did_not_write_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for text in
            ["", "[]", "{", "{\"services\":[]}", "{\"services\":{\"a\":1}}", "{\"services\":{\"a\":{\"rule\":\"x\",\"planned\":\"y\"}}}"]
        {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(read(folder.path()).unwrap_err().ends_with("schedules.json: it is not what ppm writes"), "{text}");
        }
        fs::remove_file(folder.path().join(FILE)).unwrap();
        fs::create_dir(folder.path().join(FILE)).unwrap();
        assert!(read(folder.path()).is_err() && save(folder.path(), "").is_err());
    }

    #[test]
    fn the_folder_is_the_one_asked_for_else_the_usual_one() {
        let found = |asked, variables: &[(&str, &str)], uid| {
            let env = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value));
            folder(asked, env, uid).map(|folder| folder.display().to_string()).unwrap_or_default()
        };
        let both = [("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        assert_eq!(found(Some("/x"), &both, 0), "/x");
        assert_eq!(found(None, &both, 0), "/s/ppm");
        assert_eq!(found(None, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")], 0), "/var/lib/ppm");
        assert_eq!(found(None, &[("HOME", "/h")], 1000), "/h/.local/state/ppm");
        assert_eq!(found(None, &[], 1000), "");
    }
}
