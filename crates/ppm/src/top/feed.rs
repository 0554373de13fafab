//! Asks the daemon for what is shown, on a thread of its own: keys are heard while it takes its time.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ppm_protocol::message::{ReadLog, ReadStats, Selection};
use ppm_protocol::types::Changed;
use ppm_protocol::{InfoRow, LogLine, LogSources, Request, ServiceRow, StatsRow, Stream};

use crate::client::Client;
use crate::failure::{Code, Failure, Stop};
use crate::show::outcome;

/// How many lines of a log are shown at most: more than a screen has.
const LINES: u64 = 200;

/// What is shown of all services.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The rows of `ls`.
    pub services: Vec<ServiceRow>,
    /// What they use, and the daemon.
    pub stats: Vec<StatsRow>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Do this.
    Do(Request),
    /// From now on read this beside the table.
    Read(Beside),
}

/// What is read beside the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// The end of this service's log.
    Log(String),
    /// All that is known of this service.
    Info(String),
}

/// What was read beside the table.
#[derive(Clone, Debug)]
pub enum Text {
    /// Lines of a log: of which stream, and what.
    Log(String, Vec<(Stream, String)>),
    /// All that is known of a service.
    Info(Box<InfoRow>),
    /// Why there is nothing to be seen.
    Nothing(String, String),
}

/// What this thread tells.
pub enum Told {
    /// How it stands.
    Seen(Box<Seen>),
    /// What is beside the table.
    Pane(Text),
    /// What came of a request: what went wrong, one line each.
    Done(Vec<String>),
    /// The daemon is not there any more.
    Lost(Failure),
}

/// The other end of the thread.
pub struct Feed {
    jobs: mpsc::Sender<Job>,
}

impl Feed {
    /// Begins to ask, and goes on until nobody listens.
    pub fn begin(path: &Path, client: Client, every: Duration, sender: mpsc::Sender<super::Told>) -> Feed {
        let (jobs, asked) = mpsc::channel();
        let worker = Worker { client, path: path.to_owned(), beside: Beside::Nothing, every, sender };
        thread::spawn(move || worker.work(&asked));
        Feed { jobs }
    }

    /// Asks for something.
    pub fn ask(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

struct Worker {
    client: Client,
    path: PathBuf,
    beside: Beside,
    every: Duration,
    sender: mpsc::Sender<super::Told>,
}

impl Worker {
    fn work(mut self, asked: &mpsc::Receiver<Job>) {
        let mut next = Instant::now();
        loop {
            let told = match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(job) => self.perform(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    next = Instant::now() + self.every;
                    self.look()
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let told = told.unwrap_or_else(|failure| vec![Told::Lost(failure)]);
            let is_last = told.iter().any(|told| matches!(told, Told::Lost(_)));
            if told.into_iter().any(|told| self.sender.send(super::Told::Daemon(told)).is_err()) || is_last {
                return;
            }
        }
    }

    fn perform(&mut self, job: Job) -> Result<Vec<Told>, Failure> {
        match job {
            Job::Do(request) => {
                let outcome = match self.client.call::<Changed>(&request) {
                    Ok(changed) => outcome::failures(&request, &changed).into_iter().map(|failure| failure.message).collect(),
                    Err(failure) if is_lost(&failure) => return Err(failure),
                    Err(failure) => vec![failure.message],
                };
                let mut told = self.look()?;
                told.push(Told::Done(outcome));
                Ok(told)
            }
            Job::Read(beside) => {
                self.beside = beside;
                self.read_beside()
            }
        }
    }

    fn look(&mut self) -> Result<Vec<Told>, Failure> {
        let services = self.client.call(&Request::List(Selection::default()))?;
        let stats = self.client.call(&Request::Stats(ReadStats { pss: false, ..ReadStats::default() }))?;
        let mut told = vec![Told::Seen(Box::new(Seen { services, stats }))];
        told.extend(self.read_beside()?);
        Ok(told)
    }

    fn read_beside(&mut self) -> Result<Vec<Told>, Failure> {
        let text = match self.beside.clone() {
            Beside::Nothing => return Ok(Vec::new()),
            Beside::Log(name) => {
                self.read_log(&name).map(|lines| Text::Log(name.clone(), lines)).or_else(|failure| why_not(&name, failure))
            }
            Beside::Info(name) => {
                let rows = self.client.call::<Vec<InfoRow>>(&Request::Info(Selection { services: vec![name.clone()] }));
                let row = rows.map(|rows| rows.into_iter().next());
                let text = |row: Option<InfoRow>| {
                    row.map_or(Text::Nothing(name.clone(), "it was removed".to_owned()), |row| Text::Info(Box::new(row)))
                };
                row.map(text).or_else(|failure| why_not(&name, failure))
            }
        };
        Ok(vec![Told::Pane(text?)])
    }

    fn read_log(&mut self, name: &str) -> Result<Vec<(Stream, String)>, Failure> {
        let read = ReadLog { services: vec![name.to_owned()], last: Some(LINES), follow: false, since: None, until: None, stream: None };
        let _: LogSources = self.client.call(&Request::Log(read))?;
        let mut lines = Vec::new();
        loop {
            let raw = match self.client.next_line(&super::reader(), || Ok(())) {
                Ok(Some(raw)) => raw,
                Ok(None) => return Ok(lines),
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::ReaderGone) => return Err(Failure::new(Code::Failed, "the terminal is gone")),
            };
            let line: LogLine =
                serde_json::from_str(raw.get()).map_err(|error| Failure::strange(&self.path, format!("a line of a log: {error}")))?;
            lines.push((line.stream, line.message));
        }
    }
}

/// What cannot be shown is told in its place; that the daemon is gone ends it all.
fn why_not(name: &str, failure: Failure) -> Result<Text, Failure> {
    if is_lost(&failure) { Err(failure) } else { Ok(Text::Nothing(name.to_owned(), failure.message)) }
}

fn is_lost(failure: &Failure) -> bool {
    failure.code == Code::Unreachable
}
