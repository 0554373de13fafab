//! One command from request to exit code.
//!
//! Here meet the request, the connection, and the two streams: stdout for what was asked for, stderr for what is
//! told beside it, and that only to a person at a terminal.

use std::cell::LazyCell;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::{env, fmt};

use anstream::{AutoStream, stream::RawStream};
use clap::ColorChoice;
use jiff::tz::TimeZone;
use nix::errno::Errno;
use ppm_protocol::message::PROTOCOL;
use ppm_protocol::types::{Changed, Configuration, Farewell, Greeting, History};
use ppm_protocol::{EventRow, InfoRow, PlanRow, Request, ServiceRow, StatsRow, Status, Timestamp, socket};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::cli::{Ask, Globals};
use crate::client::{Client, PATIENCE};
use crate::failure::{Code, Failure, Stop};
use crate::show::{self, Look, Medium};
use crate::{elsewhere, request, zone};

/// What lasts from the first to the last word of a command.
pub struct Session {
    path: PathBuf,
    json: bool,
    quiet: bool,
    look: Look,
    /// Whether a person reads stderr and wants to be told more than errors.
    chatty: bool,
    /// Whether errors may carry colour.
    colour: bool,
}

impl Session {
    /// Takes in the global options, the environment and what kind the streams are of.
    pub fn new(globals: Globals) -> Session {
        let (out, err) = (io::stdout(), io::stderr());
        let medium = if out.is_terminal() { Medium::Terminal(terminal_width()) } else { Medium::Pipe };
        let zone: fn() -> TimeZone = if globals.utc { || TimeZone::UTC } else { || zone::local(env::var("TZ").ok().as_deref()) };
        let look = Look {
            medium,
            colour: colour(globals.color, &out),
            headers: !globals.no_headers,
            wide: globals.wide,
            zone: LazyCell::new(zone),
            now: LazyCell::new(|| Timestamp::from_jiff(jiff::Timestamp::now())),
        };
        let path = socket::path(globals.socket.as_deref(), |name| env::var_os(name), uid());
        let chatty = err.is_terminal() && !globals.quiet;
        Session { path, json: globals.json, quiet: globals.quiet, look, chatty, colour: colour(globals.color, &err) }
    }

    /// Does what is asked, and tells what went wrong.
    pub fn perform(&self, ask: Ask) -> Code {
        match self.ask(ask) {
            Ok(code) => code,
            Err(Stop::ReaderGone) => Code::Done,
            Err(Stop::Failed(failure)) => {
                self.complain(&failure);
                failure.code
            }
        }
    }

    fn ask(&self, ask: Ask) -> Result<Code, Stop> {
        let request = request::meant(ask, env::current_dir)?;
        let mut client = match self.connect() {
            // The version is told without a daemon too.
            Err(_) if request == Request::Hello => return self.version(None),
            outcome => outcome?,
        };
        let answer = client.call(&request)?;
        match &request {
            Request::Hello => self.version(Some(&answer)),
            Request::List(_) => self.list(&answer),
            Request::Info(_) => self.info(&answer),
            Request::Stats(_) => self.rows::<StatsRow>(&answer, show::stats::table),
            Request::Scheduler(_) => self.rows::<PlanRow>(&answer, show::plans::table),
            Request::Configuration => self.configuration(&answer),
            Request::Events(watch) => self.events(client, &answer, watch.follow),
            Request::Shutdown => self.shutdown(client, &answer),
            Request::Health(_) | Request::Why(_) | Request::Reload(_) | Request::Check(_) => {
                self.print_line(&*answer)?;
                Ok(Code::Done)
            }
            Request::Add(_) | Request::Remove(_) | Request::Start(_) | Request::Stop(_) | Request::Restart(_) => {
                self.changed(&request, &answer)
            }
            Request::Reschedule(_) | Request::Pause(_) | Request::Resume(_) | Request::Signal(_) | Request::Wait(_) => {
                self.changed(&request, &answer)
            }
        }
    }

    fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.path, PATIENCE).map_err(|error| {
            if error == Errno::EAGAIN {
                return Failure::silent(&self.path, PATIENCE);
            }
            let others = elsewhere::seen(&self.path, |name| env::var_os(name));
            Failure::unreachable(&self.path, error, elsewhere::owner(&self.path), uid(), &others)
        })
    }

    fn list(&self, answer: &RawValue) -> Result<Code, Stop> {
        let services: Vec<ServiceRow> = self.read(answer)?;
        match (self.json, self.quiet) {
            (true, _) => self.print_line(answer)?,
            (false, true) => self.print(&show::services::names(&services))?,
            (false, false) => {
                self.print(&show::services::table(&services, &self.look))?;
                if self.look.medium != Medium::Pipe {
                    self.say(show::services::remark(&services));
                }
            }
        }
        Ok(Code::Done)
    }

    /// Also an answer by its exit code, which is all that `--quiet` leaves of it.
    fn info(&self, answer: &RawValue) -> Result<Code, Stop> {
        let services: Vec<InfoRow> = self.read(answer)?;
        match (self.json, self.quiet) {
            (true, _) => self.print_line(answer)?,
            (false, true) => {}
            (false, false) => self.print(&show::info::details(&services, &self.look))?,
        }
        let run = services.iter().all(|service| service.row.status == Status::Running);
        Ok(if run { Code::Done } else { Code::NotRunning })
    }

    fn rows<T: DeserializeOwned>(&self, answer: &RawValue, table: impl Fn(&[T], &Look) -> String) -> Result<Code, Stop> {
        let rows: Vec<T> = self.read(answer)?;
        if self.json {
            self.print_line(answer)?
        } else {
            self.print(&table(&rows, &self.look))?
        }
        Ok(Code::Done)
    }

    fn configuration(&self, answer: &RawValue) -> Result<Code, Stop> {
        let configuration: Configuration = self.read(answer)?;
        if self.json {
            self.print_line(answer)?
        } else {
            self.print(&configuration.yaml)?
        }
        Ok(Code::Done)
    }

    fn changed(&self, request: &Request, answer: &RawValue) -> Result<Code, Stop> {
        let changed: Changed = self.read(answer)?;
        if self.json {
            self.print_line(&json(&changed.services)?)?;
        }
        self.say(show::outcome::told(request, &changed, &self.look));
        let failures = show::outcome::failures(request, &changed);
        for failure in &failures {
            self.complain(failure);
        }
        Ok(failures.first().map_or(Code::Done, |failure| failure.code))
    }

    fn events(&self, mut client: Client, answer: &RawValue, follow: bool) -> Result<Code, Stop> {
        let history: History = self.read(answer)?;
        let mut lines = show::events::Lines::default();
        lines.expect(&history.events);
        let mut line = |event: &EventRow| {
            if self.json { json(event).map(|json| format!("{json}\n")) } else { Ok(lines.line(event, &self.look)) }
        };
        let past: Result<String, Failure> = history.events.iter().map(&mut line).collect();
        self.print(&past?)?;
        if !follow {
            return Ok(Code::Done);
        }
        loop {
            let event = client.next_event(&io::stdout().as_fd())?;
            self.print(&line(&event)?)?;
        }
    }

    fn shutdown(&self, client: Client, answer: &RawValue) -> Result<Code, Stop> {
        let farewell: Farewell = self.read(answer)?;
        match farewell.stopping {
            0 => {}
            1 => self.say(["stopping 1 service"]),
            several => self.say([format!("stopping {several} services")]),
        }
        client.wait_for_close()?;
        if self.json {
            self.print_line(answer)?;
        }
        Ok(Code::Done)
    }

    fn version(&self, answer: Option<&RawValue>) -> Result<Code, Stop> {
        let daemon: Option<Greeting> = answer.map(|answer| self.read(answer)).transpose()?;
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            self.print_line(&serde_json::json!({ "version": version, "protocol": PROTOCOL, "daemon": daemon }))?;
        } else {
            let daemon = match daemon {
                Some(greeting) => format!("{} (pid {})", show::text::clean(&greeting.version), greeting.pid),
                None => format!("none at {}", show::text::clean(&self.path.to_string_lossy())),
            };
            self.print(&format!("ppm     {version}\ndaemon  {daemon}\n"))?;
        }
        Ok(Code::Done)
    }

    fn read<T: DeserializeOwned>(&self, answer: &RawValue) -> Result<T, Failure> {
        serde_json::from_str(answer.get())
            .map_err(|error| Failure::strange(&self.path, format!("the daemon's answer is not understood: {error}")))
    }

    /// Prints to stdout, at once and whole.
    fn print(&self, text: &str) -> Result<(), Stop> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::ReaderGone),
            Err(error) => Err(Failure::unprintable(&error).into()),
        }
    }

    fn print_line(&self, value: &(impl fmt::Display + ?Sized)) -> Result<(), Stop> {
        self.print(&format!("{value}\n"))
    }

    /// Tells a person something beside what was asked for; nobody else hears it.
    fn say<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) {
        if self.chatty {
            let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Tells what went wrong. That stderr cannot be written is nothing that could be told.
    fn complain(&self, failure: &Failure) {
        let _ = io::stderr().write_all(show::failure::lines(failure, self.colour).as_bytes());
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Code::Failed, error.to_string()))
}

fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The columns of the terminal, else as `COLUMNS` has them.
fn terminal_width() -> Option<usize> {
    let asked = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
    asked.or_else(|| env::var("COLUMNS").ok()?.parse().ok())
}

/// Whether the stream gets colour: what was asked for, else what the environment and the stream say.
fn colour(asked: ColorChoice, stream: &impl RawStream) -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    match asked {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("FORCE_COLOR") && !set("NO_COLOR") => true,
        ColorChoice::Auto => AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}
