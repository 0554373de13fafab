//! Reads the configuration file: at start, and again when the core asks for it.
//!
//! Again on a thread of its own: a file may be large, or lie on a file system that hangs, and services are not to wait
//! for either. What it means is the core's business.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ppm_core::config::{self, Config, MAX_FILE};
use ppm_core::event::Text;
use ppm_core::reload::NoConfig;
use tokio::sync::{mpsc, oneshot};

use crate::driver::Wake;
use crate::spawn::in_words;

/// More readings than this do not wait for their turn.
const MAX_WAITING: usize = 64;

/// Where the configuration is.
#[derive(Clone, Debug)]
pub struct Loader {
    path: Option<PathBuf>,
}

impl Loader {
    /// The file that was asked for, else the one of `PPM_CONFIG`, else the first that exists of the usual places. The
    /// choice is made once: when the file is gone later that is an error, and not the next place's turn.
    pub fn new(asked: Option<&Path>) -> Loader {
        let from_environment = || std::env::var_os("PPM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        Loader { path: asked.map(Path::to_owned).or_else(from_environment).or_else(search) }
    }

    /// Whether there is one.
    pub fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// The file's name for people.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or("no configuration".to_owned(), |path| path.display().to_string())
    }

    /// Reads and checks it: it must exist (R63). Where there was none, there may be one by now; else it is empty.
    pub fn read(&self) -> Result<Config, NoConfig> {
        let Some(path) = self.path.clone().or_else(search) else { return Ok(Config::default()) };
        let name = path.display().to_string();
        let text = read_text(&path)
            .map_err(|error| NoConfig::Unreadable(format!("cannot read the configuration {name}: {}", in_words(&error))))?;
        // Files that it names lie beside it, wherever the daemon stands.
        let name = std::path::absolute(&path).map_or(name, |path| path.display().to_string());
        config::parse(&text, &name).map_err(NoConfig::Wrong)
    }

    /// Reads it without keeping anybody waiting: the writer of a pipe may come late, or never.
    pub async fn read_aside(&self) -> Result<Config, NoConfig> {
        if self.path.as_ref().and_then(|path| path.metadata().ok()).is_none_or(|found| found.is_file()) {
            return self.read();
        }
        tracing::info!("reading the configuration from {}, which is no regular file", self.name());
        let (sender, outcome) = oneshot::channel();
        let loader = self.clone();
        let work = move || drop(sender.send(loader.read()));
        match std::thread::Builder::new().name("loader".to_owned()).spawn(work) {
            Ok(_) => outcome.await.unwrap_or_else(|_| self.read()),
            Err(_) => self.read(),
        }
    }

    fn read_text_or_file(&self, text: Text) -> Result<Config, NoConfig> {
        match text {
            Text::File => self.read(),
            Text::Given { text, name } => config::parse(&text, &name).map_err(NoConfig::Wrong),
        }
    }
}

/// The readings asked for. One at a time and in their order: a slow one that was overtaken would bring back what stood
/// in the file before, and a file that hangs costs one thread, however often it is asked for (R50).
#[derive(Debug)]
pub struct Readings {
    loader: Loader,
    inbox: mpsc::Sender<Wake>,
    reading: bool,
    waiting: VecDeque<(u64, Text)>,
}

impl Readings {
    /// None yet; their outcomes go to this inbox.
    pub fn new(loader: Loader, inbox: mpsc::Sender<Wake>) -> Readings {
        Readings { loader, inbox, reading: false, waiting: VecDeque::new() }
    }

    /// Reads the file, or a given text, in its turn; the outcome comes under this number. The error: there are too many.
    pub fn add(&mut self, read: u64, text: Text) -> Result<(), NoConfig> {
        if self.waiting.len() >= MAX_WAITING {
            let why = format!("cannot read the configuration: {MAX_WAITING} readings wait for one that does not end");
            return Err(NoConfig::Unreadable(why));
        }
        self.waiting.push_back((read, text));
        if !self.reading {
            self.begin_next();
        }
        Ok(())
    }

    /// Begins the next reading, the last one having ended.
    pub fn begin_next(&mut self) {
        let next = self.waiting.pop_front();
        self.reading = next.is_some();
        let Some((read, text)) = next else { return };
        let (loader, inbox) = (self.loader.clone(), self.inbox.clone());
        let work = move || {
            let _ = inbox.blocking_send(Wake::ConfigRead(read, Box::new(loader.read_text_or_file(text))));
        };
        if let Err(error) = std::thread::Builder::new().name("loader".to_owned()).spawn(work) {
            let why = NoConfig::Unreadable(format!("cannot read the configuration: no thread: {}", in_words(&error)));
            let inbox = self.inbox.clone();
            tokio::spawn(async move { inbox.send(Wake::ConfigRead(read, Box::new(Err(why)))).await });
        }
    }
}

fn search() -> Option<PathBuf> {
    config::candidates(|name| std::env::var_os(name)).into_iter().find(|path| path.exists())
}

/// At most one byte more than is allowed, so that the parser can say that it is too much.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
