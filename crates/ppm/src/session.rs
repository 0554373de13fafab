//! One command that is asked of the daemon, from request to exit code.
//!
//! Here meet the request, the connection and what is shown of the answer.

use std::cell::RefCell;
use std::env;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use ppm_protocol::message::{PROTOCOL, ReadStats, Selection};
use ppm_protocol::types::{Changed, Configuration, Farewell, Greeting, Health, History, HistoryRow, Life, Reload, RunsRow, Watched};
use ppm_protocol::{InfoRow, LogLine, LogSources, PlanRow, Request, ServiceRow, StatsRow, Status, socket};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::cli::{Ask, Globals, Most, Stats};
use crate::client::{Client, PATIENCE};
use crate::failure::{Code, Failure, Stop};
use crate::log::Pickiness;
use crate::progress::{self, Deed, Progress};
use crate::save::Draft;
use crate::searching::Searching;
use crate::show::{self, Look, Medium};
use crate::streams::{self, Streams};
use crate::{editor, elsewhere, exec, request, top};

/// What lasts from the first to the last word of a command.
pub struct Session {
    path: PathBuf,
    streams: Streams,
}

impl Session {
    /// Takes in the global options and the environment.
    pub fn new(globals: &Globals) -> Session {
        let path = socket::path(globals.socket.as_deref(), |name| env::var_os(name), uid());
        Session { path, streams: Streams::new(globals) }
    }

    /// Does what is asked, and tells what went wrong.
    pub fn perform(&self, ask: Ask) -> Code {
        self.streams.end(self.ask(ask))
    }

    fn ask(&self, ask: Ask) -> Result<Code, Stop> {
        let pickiness = if let Ask::Log(log) = &ask { Some(Pickiness::of(log)) } else { None };
        let stats = if let Ask::Stats(stats) = &ask { Some(stats.clone()) } else { None };
        let save = if let Ask::Add(add) = &ask { add.save.clone() } else { None };
        let has_tty = match &ask {
            Ask::Exec(typed) => Some(!typed.no_tty),
            Ask::Run(typed) if !typed.detach => Some(!typed.no_tty),
            _ => None,
        };
        if let Ask::Top(typed) = ask {
            return top::run(&self.path, self.connect()?, typed.interval, &self.streams);
        }
        let request = request::meant(ask, env::current_dir, &self.streams.look)?;
        if let Some(has_tty) = has_tty {
            return exec::run(self.connect()?, &self.path, request, has_tty);
        }
        let mut client = match self.connect() {
            // The version is told without a daemon too.
            Err(_) if request == Request::Hello => return self.version(None),
            outcome => outcome?,
        };
        if matches!(request, Request::List(_)) {
            return self.list(&mut client, &request);
        }
        // Whether it can be written is found out before anything is changed for its sake.
        let draft = save.as_deref().map(Draft::of).transpose()?;
        let answer = self.call(&mut client, &request)?;
        match &request {
            Request::Hello => self.version(Some(&answer)),
            Request::Info(shown) => self.info(&mut client, &answer, &shown.services),
            Request::Stats(read) => self.stats(client, &answer, read, stats.as_ref()),
            Request::History(_) => self.history(&answer),
            Request::Scheduler(_) => self.rows::<PlanRow>(&answer, show::plans::table),
            Request::Runs(_) => self.rows::<RunsRow>(&answer, show::runs::tables),
            Request::Watched(_) => self.watched(&answer),
            Request::Why(_) => self.rows::<Life>(&answer, show::why::stories),
            Request::Health(_) => self.health(&answer),
            Request::Configuration => self.configuration(&answer),
            Request::Log(_) => self.log(client, &answer, pickiness.unwrap_or_default()),
            Request::Events(watch) => self.events(client, &answer, watch.follow),
            Request::Reload(_) => self.reload(&answer),
            Request::Shutdown => self.shutdown(client, &answer),
            Request::Run(_) => self.detached(&request, &answer),
            Request::Add(_) => self.added(client, &request, &answer, save.as_deref().zip(draft)),
            Request::Remove(_) | Request::Start(_) | Request::Stop(_) | Request::Restart(_) => self.changed(&request, &answer),
            Request::Reschedule(_) | Request::Pause(_) | Request::Resume(_) | Request::Signal(_) | Request::Wait(_) => {
                self.changed(&request, &answer)
            }
            // `ppm check` needs no daemon, a list has been shown, and a command has been run.
            Request::Check(_) | Request::List(_) | Request::Exec(_) | Request::Forward(_) => {
                Ok(self.streams.print_line(&*answer).map(|()| Code::Done)?)
            }
        }
    }

    /// Asks; a person who waits for several services is told how far they are.
    fn call(&self, client: &mut Client, request: &Request) -> Result<Box<RawValue>, Failure> {
        let deed = Deed::of(request).filter(|_| self.streams.chatty);
        let Some((deed, services)) = deed else { return client.call(request) };
        let named: Vec<ServiceRow> = client.call(&Request::List(Selection { services: services.to_vec() }))?;
        let mut progress = Progress::new(self.path.clone(), deed, &named);
        client.call_while(request, progress::FIRST, progress::EVERY, || progress.draw())
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

    /// People look at this many times a day, and at long ones: the answer is read once, at its coming.
    fn list(&self, client: &mut Client, request: &Request) -> Result<Code, Stop> {
        if self.streams.json {
            let answer: Box<RawValue> = client.call(request)?;
            self.read::<Vec<IgnoredAny>>(&answer)?;
            self.streams.print_line(&*answer)?;
            return Ok(Code::Done);
        }
        let services: Vec<ServiceRow> = client.call(request)?;
        if self.streams.quiet {
            self.streams.print(&show::services::names(&services))?;
            return Ok(Code::Done);
        }
        self.streams.print(&show::services::table(&services, &self.streams.look))?;
        if self.streams.look.medium != Medium::Pipe {
            self.streams.say(show::services::remark(&services));
        }
        Ok(Code::Done)
    }

    /// Also an answer by its exit code, which is all that `--quiet` leaves of it.
    fn info(&self, client: &mut Client, answer: &RawValue, meant: &[String]) -> Result<Code, Stop> {
        let services: Vec<InfoRow> = self.read(answer)?;
        // What they use is of the moment, and none of the facts: nobody waits for rates, and without it the rest is told.
        let at_once = Request::Stats(ReadStats { services: meant.to_vec(), pss: false, rates: false });
        self.answer_or_text(answer, || {
            let usage: Vec<StatsRow> = client.call(&at_once).unwrap_or_default();
            show::info::details(&services, &usage, &self.streams.look)
        })?;
        let run = services.iter().all(|service| service.row.status == Status::Running);
        Ok(if run { Code::Done } else { Code::NotRunning })
    }

    /// As [`Session::info`].
    fn health(&self, answer: &RawValue) -> Result<Code, Stop> {
        let health: Health = self.read(answer)?;
        self.answer_or_text(answer, || show::health::unhealthy(&health))?;
        if !self.streams.json {
            self.streams.say([show::health::remark(&health)]);
        }
        Ok(if health.healthy { Code::Done } else { Code::NotRunning })
    }

    fn watched(&self, answer: &RawValue) -> Result<Code, Stop> {
        let watched: Watched = self.read(answer)?;
        self.answer_or_text(answer, || show::watched::tables(&watched, &self.streams.look))?;
        Ok(Code::Done)
    }

    fn answer_or_text(&self, answer: &RawValue, text: impl FnOnce() -> String) -> Result<(), Stop> {
        match (self.streams.json, self.streams.quiet) {
            (true, _) => self.streams.print_line(answer),
            (false, true) => Ok(()),
            (false, false) => self.streams.print(&text()),
        }
    }

    fn rows<T: DeserializeOwned>(&self, answer: &RawValue, table: impl Fn(&[T], &Look) -> String) -> Result<Code, Stop> {
        let rows: Vec<T> = self.read(answer)?;
        if self.streams.json {
            self.streams.print_line(answer)?
        } else {
            self.streams.print(&table(&rows, &self.streams.look))?
        }
        Ok(Code::Done)
    }

    /// Once, or again and again.
    fn stats(&self, mut client: Client, answer: &RawValue, read: &ReadStats, typed: Option<&Stats>) -> Result<Code, Stop> {
        let sort = typed.and_then(|typed| typed.sort);
        let Some(pause) = typed.filter(|typed| typed.follow).map(|typed| typed.interval) else {
            let text = if self.streams.json { self.stats_json(answer, sort)? } else { self.stats_text(answer, sort, &self.streams.look)? };
            self.streams.print(&text)?;
            return Ok(Code::Done);
        };
        let mut answer = answer.to_owned();
        for round in 0.. {
            let now = streams::present();
            let look = self.streams.look_again();
            let text = match (self.streams.json, look.medium) {
                (true, _) => format!("{{\"time\":\"{now}\",\"services\":{}}}\n", self.stats_json(&answer, sort)?.trim_end()),
                (false, Medium::Pipe) if round == 0 => self.stats_text(&answer, sort, &look)?,
                (false, Medium::Pipe) => format!("\n{}", self.stats_text(&answer, sort, &look)?),
                (false, Medium::Terminal(_)) => show::stats::screen(&self.stats_text(&answer, sort, &look)?, streams::lines(&io::stdout())),
            };
            self.streams.print(&text)?;
            client.pause(pause, &io::stdout().as_fd())?;
            answer = client.call(&Request::Stats(read.clone()))?;
        }
        Ok(Code::Done)
    }

    fn history(&self, answer: &RawValue) -> Result<Code, Stop> {
        let services: Vec<HistoryRow> = self.read(answer)?;
        if self.streams.json {
            self.streams.print_line(answer)?;
            return Ok(Code::Done);
        }
        self.streams.print(&show::history::table(&services, &self.streams.look))?;
        if show::history::is_empty(&services) {
            self.streams.say([show::history::NOTHING]);
        }
        Ok(Code::Done)
    }

    fn stats_text(&self, answer: &RawValue, sort: Option<Most>, look: &Look) -> Result<String, Failure> {
        let rows: Vec<StatsRow> = self.read(answer)?;
        let order = show::stats::order(&rows, sort);
        Ok(show::stats::page(&order.into_iter().map(|at| rows[at].clone()).collect::<Vec<_>>(), look))
    }

    /// Programs get each row as the daemon told it, also what we know nothing of.
    fn stats_json(&self, answer: &RawValue, sort: Option<Most>) -> Result<String, Failure> {
        let rows: Vec<StatsRow> = self.read(answer)?;
        let raw: Vec<&RawValue> = serde_json::from_str(answer.get()).map_err(|error| Failure::strange(&self.path, error.to_string()))?;
        let order = show::stats::order(&rows, sort);
        let rows: Vec<&str> = order.into_iter().filter_map(|at| raw.get(at)).map(|row| row.get()).collect();
        Ok(format!("[{}]\n", rows.join(",")))
    }

    fn configuration(&self, answer: &RawValue) -> Result<Code, Stop> {
        let configuration: Configuration = self.read(answer)?;
        if self.streams.json {
            self.streams.print_line(answer)?
        } else {
            self.streams.print(&format!("{}{}", editor::first_line(), configuration.yaml))?
        }
        Ok(Code::Done)
    }

    fn added(&self, mut client: Client, request: &Request, answer: &RawValue, save: Option<(&Path, Draft)>) -> Result<Code, Stop> {
        let code = self.changed(request, answer)?;
        let (file, draft) = save.unzip();
        match (file, draft) {
            (Some(file), _) if code != Code::Done => {
                self.streams.complain(&Failure::new(code, format!("{} was not written", file.display())));
                return Ok(code);
            }
            (_, Some(draft)) => {
                let running: Configuration = client.call(&Request::Configuration)?;
                draft.keep(&running.yaml).map_err(|failure| failure.fact("the service was added"))?;
            }
            (_, None) => {}
        }
        if code == Code::Done {
            self.streams.say([show::outcome::kept(file)]);
        }
        Ok(code)
    }

    /// Nobody has chosen its name, or whoever has may as well be told that it is right.
    fn detached(&self, request: &Request, answer: &RawValue) -> Result<Code, Stop> {
        let code = self.changed(request, answer)?;
        if !self.streams.json && code == Code::Done {
            self.streams.print(&show::services::names(&self.read::<Changed>(answer)?.services))?;
        }
        Ok(code)
    }

    fn changed(&self, request: &Request, answer: &RawValue) -> Result<Code, Stop> {
        let changed: Changed = self.read(answer)?;
        if self.streams.json {
            self.streams.print_line(&self.read::<Rows>(answer)?.services)?;
        }
        self.streams.say(show::outcome::told(request, &changed, &self.streams.look));
        Ok(self.complain_of_all(&show::outcome::failures(request, &changed)))
    }

    fn reload(&self, answer: &RawValue) -> Result<Code, Stop> {
        let reload: Reload = self.read(answer)?;
        match (self.streams.json, self.streams.quiet && reload.applied) {
            (true, _) => self.streams.print_line(answer)?,
            (false, true) => {}
            (false, false) => self.streams.print(&show::reload::changes(&reload, &self.streams.look))?,
        }
        self.streams.say(show::reload::remark(&reload));
        Ok(self.complain_of_all(&show::reload::failures(&reload)))
    }

    /// The exit code of what went wrong, if anything did.
    fn complain_of_all(&self, failures: &[Failure]) -> Code {
        for failure in failures {
            self.streams.complain(failure);
        }
        failures.first().map_or(Code::Done, |failure| failure.code)
    }

    fn events(&self, mut client: Client, answer: &RawValue, follow: bool) -> Result<Code, Stop> {
        let past: Past = self.read(answer)?;
        let mut lines = show::events::Lines::default();
        if !self.streams.json {
            lines.expect(&self.read::<History>(answer)?.events);
        }
        // Programs get each event as the daemon told it, also what we know nothing of.
        let mut line = |event: &RawValue| {
            if self.streams.json { Ok(format!("{event}\n")) } else { Ok(lines.line(&self.read(event)?, &self.streams.look)) }
        };
        let text: Result<String, Failure> = past.events.iter().map(|event| line(event)).collect();
        self.streams.print(&text?)?;
        if !follow {
            return Ok(Code::Done);
        }
        loop {
            let event = client.next_event(&io::stdout().as_fd())?;
            self.streams.print(&line(&event)?)?;
        }
    }

    fn log(&self, mut client: Client, answer: &RawValue, mut pickiness: Pickiness) -> Result<Code, Stop> {
        let sources: LogSources = self.read(answer)?;
        let lines = show::log::Lines::new(&sources.services, pickiness.timestamps);
        let search = (pickiness.searches && self.streams.chatty).then(|| Searching::through(sources.bytes));
        let search = RefCell::new(search);
        let text = RefCell::new(Vec::new());
        let print = || {
            let text: Vec<u8> = std::mem::take(&mut *text.borrow_mut());
            search.borrow_mut().iter_mut().filter(|_| !text.is_empty()).for_each(Searching::step_aside);
            self.streams.print_bytes(&text)
        };
        let tell = |raw: &RawValue, line: &LogLine| -> Result<(), Stop> {
            let mut text = text.borrow_mut();
            if self.streams.json {
                text.extend_from_slice(raw.get().as_bytes());
                text.push(b'\n');
            } else {
                lines.line(line, &self.streams.look, &mut text);
            }
            let is_much = text.len() >= show::log::PORTION;
            drop(text);
            if is_much { print() } else { Ok(()) }
        };
        while let Some(raw) = client.next_line(&io::stdout().as_fd(), print)? {
            let line: LogLine = self.read(&raw)?;
            let is_wanted = pickiness.wants(&raw, &line);
            search.borrow_mut().iter_mut().for_each(|search| search.saw(line.message.len(), pickiness.found));
            if is_wanted {
                tell(&raw, &line)?;
            }
        }
        search.replace(None);
        for raw in pickiness.kept {
            tell(&raw, &self.read(&raw)?)?;
        }
        print()?;
        Ok(Code::Done)
    }

    fn shutdown(&self, client: Client, answer: &RawValue) -> Result<Code, Stop> {
        let farewell: Farewell = self.read(answer)?;
        match farewell.stopping {
            0 => {}
            1 => self.streams.say(["stopping 1 service"]),
            several => self.streams.say([format!("stopping {several} services")]),
        }
        client.wait_for_close()?;
        if self.streams.json {
            self.streams.print_line(answer)?;
        }
        Ok(Code::Done)
    }

    fn version(&self, answer: Option<&RawValue>) -> Result<Code, Stop> {
        let daemon: Option<Greeting> = answer.map(|answer| self.read(answer)).transpose()?;
        let version = env!("CARGO_PKG_VERSION");
        if let Some(daemon) = daemon.as_ref().map(|greeting| show::text::clean(&greeting.version)).filter(|daemon| *daemon != version) {
            self.streams.warn(&[format!("this ppm is {version}, the daemon {daemon}; start the daemon anew to use what is new")]);
        }
        if self.streams.json {
            self.streams.print_line(&serde_json::json!({ "version": version, "protocol": PROTOCOL, "daemon": daemon }))?;
        } else {
            let daemon = match daemon {
                Some(greeting) => format!("{} (pid {})", show::text::clean(&greeting.version), greeting.pid),
                None => format!("none at {}", show::text::clean(&self.path.to_string_lossy())),
            };
            self.streams.print(&format!("ppm     {version}\ndaemon  {daemon}\n"))?;
        }
        Ok(Code::Done)
    }

    fn read<T: DeserializeOwned>(&self, answer: &RawValue) -> Result<T, Failure> {
        serde_json::from_str(answer.get())
            .map_err(|error| Failure::strange(&self.path, format!("the daemon's answer is not understood: {error}")))
    }
}

/// The rows of a [`Changed`], as they are on the wire.
#[derive(Deserialize)]
struct Rows {
    services: Box<RawValue>,
}

/// The events of a [`History`], as they are on the wire.
#[derive(Deserialize)]
struct Past {
    events: Vec<Box<RawValue>>,
}

fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}
