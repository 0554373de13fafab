//! Reload: the configuration file is read again, and what has changed is done.
//!
//! The whole file is read and found right before anything happens; a wrong one changes nothing (R61). Services are
//! told apart by name. Those that were added by hand stay, with what is common to all services, and so does what nobody
//! changed: reloading twice does nothing the second time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ppm_protocol::message::{Answer, Check};
use ppm_protocol::{Checked, ErrorCode, EventKind, Reload, ReloadAction, ReloadRow, RpcError};

use crate::advice;
use crate::config::{Config, Problems};
use crate::diff;
use crate::environment::Surroundings;
use crate::event::{Action, Cause, ClientId, From, NoListener, Notice, ServiceId, Stdin, Text};
use crate::gather::Gather;
use crate::journal::{Actor, event_row};
use crate::logging::Logger;
use crate::service::{Context, Input, Service, Want};
use crate::spec::{Command, MAIN, MAX_SERVICES, ServiceSpec, Settings};
use crate::supervisor::{Entry, Origin, Supervisor, shortened};
use crate::time::{Now, Timestamp};
use crate::waiting::{Aim, Kind};

/// Why a configuration could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoConfig {
    /// There is no file, or it cannot be read: why, in words.
    Unreadable(String),
    /// It is wrong.
    Wrong(Problems),
}

/// What is to become of a configuration that is being read.
#[derive(Clone, Debug)]
enum Purpose {
    Apply { to: Option<From>, by: Option<Actor> },
    Plan(From),
    Check(From, LookedAt),
}

/// A text that is checked.
#[derive(Clone, Debug)]
struct LookedAt {
    /// Its name in messages.
    file: String,
    /// How long the container is given to stop, where that matters.
    grace: Option<Duration>,
}

/// The configurations that are being read.
///
/// The file is read by one at a time: of two the earlier could come to its end last, and would bring back what the file
/// held before.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    purposes: BTreeMap<u64, Purpose>,
    /// The number under which the file is being read, whether or not anybody still wants it.
    file: Option<u64>,
    /// Those for whom it is read next.
    waiting: VecDeque<Purpose>,
    next: u64,
    /// A configuration that is used as soon as the daemon answers where it wants it to.
    listening: Option<(u64, Box<Config>)>,
    /// The file could not be used when it was last read to be.
    is_wrong: bool,
    /// When that was read which is in use; None: when the daemon started.
    since: Option<Timestamp>,
}

impl Reading {
    /// Whether the file could be used when it was last read to be.
    pub(crate) fn is_right(&self) -> bool {
        !self.is_wrong
    }

    /// When that was read which is in use; None: when the daemon started.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The calls not answered yet.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &From> {
        self.purposes.values().chain(&self.waiting).filter_map(Purpose::call)
    }

    /// Forgets all calls: somebody else answers them.
    pub(crate) fn take_calls(&mut self) -> impl Iterator<Item = From> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        std::mem::take(&mut self.purposes).into_values().chain(waiting).filter_map(|purpose| purpose.call().cloned())
    }

    /// What a client that is gone has begun goes on; only nobody is told.
    pub(crate) fn disconnect(&mut self, client: ClientId) {
        for purpose in self.purposes.values_mut() {
            purpose.disconnect(client);
        }
        let is_theirs = |purpose: &Purpose| purpose.call().is_some_and(|from| from.client == client);
        self.purposes.retain(|_, purpose| !is_theirs(purpose));
        let mut begun = self.waiting.iter().filter(|purpose| is_theirs(purpose)).find(|purpose| purpose.is_apply()).cloned();
        self.waiting.retain(|purpose| !is_theirs(purpose));
        if let Some(purpose) = &mut begun {
            purpose.disconnect(client);
        }
        self.waiting.extend(begun.filter(|purpose| !self.is_in_vain(purpose)));
    }

    /// One reload more that nobody waits for adds nothing to one that has not begun.
    fn is_in_vain(&self, purpose: &Purpose) -> bool {
        matches!(purpose, Purpose::Apply { to: None, .. }) && self.waiting.iter().any(Purpose::is_apply)
    }
}

impl Purpose {
    fn call(&self) -> Option<&From> {
        match self {
            Purpose::Apply { to, .. } => to.as_ref(),
            Purpose::Plan(from) | Purpose::Check(from, _) => Some(from),
        }
    }

    fn is_apply(&self) -> bool {
        matches!(self, Purpose::Apply { .. })
    }

    /// What this client has asked to be done is done all the same, but nobody is told.
    fn disconnect(&mut self, client: ClientId) {
        if let Purpose::Apply { to, .. } = self
            && to.as_ref().is_some_and(|from| from.client == client)
        {
            *to = None;
        }
    }
}

/// What a service must be told once it has its new form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    Nothing,
    Boot,
    Restart,
    Remove,
}

/// One service of a reload, decided.
struct Step {
    row: ReloadRow,
    target: Target,
}

enum Target {
    Comes(ServiceSpec),
    Stays(ServiceId, ServiceSpec, Origin),
    Goes(ServiceId),
}

impl Supervisor {
    /// Asks for the configuration file, to do what has changed.
    pub(crate) fn reload(&mut self, to: Option<From>) {
        self.read_file(Purpose::Apply { to, by: self.acting });
    }

    /// Asks for the configuration file, to tell what would be done.
    pub(crate) fn plan_reload(&mut self, from: From) {
        self.read_file(Purpose::Plan(from));
    }

    /// Has a configuration looked at.
    pub(crate) fn check(&mut self, from: From, check: Check) {
        let Check { text, name, grace_ms } = check;
        let looked_at = LookedAt { file: name.clone(), grace: grace_ms.map(Duration::from_millis) };
        self.read(Purpose::Check(from, looked_at), Text::Given { text, name });
    }

    /// A configuration has been read, or could not be.
    pub(crate) fn config_read(&mut self, now: Now, read: u64, config: Result<Config, NoConfig>) {
        if let Some(purpose) = self.reading.purposes.remove(&read) {
            self.use_config(now, read, purpose, config);
        }
        if self.reading.listening.is_none() {
            self.read_next(read);
        }
    }

    /// The daemon answers HTTP where a configuration wants it to, which is used now; or it cannot, and nothing is changed.
    pub(crate) fn listened(&mut self, now: Now, read: u64, outcome: Result<(), NoListener>) {
        let Some((_, config)) = self.reading.listening.take_if(|(of, _)| *of == read) else { return };
        if let Some(Purpose::Apply { to, by }) = self.reading.purposes.remove(&read) {
            match (outcome, self.steps(now, &config)) {
                (Ok(()), Ok(steps)) => self.apply_config(now, to, by, *config, steps),
                (Ok(()), Err(error)) => {
                    self.actions.push(Action::Listen { read, at: self.settings.http.clone() });
                    self.refuse_reload(to, error);
                }
                (Err(why), _) => self.refuse_reload(to, no_listener(why)),
            }
        }
        self.read_next(read);
    }

    /// The file has been read and dealt with, if that was it: those that wait have their turn.
    fn read_next(&mut self, read: u64) {
        if self.reading.file == Some(read) {
            self.reading.file = None;
            if let Some(next) = self.reading.waiting.pop_front() {
                self.read_file(next);
            }
        }
    }

    fn use_config(&mut self, now: Now, read: u64, purpose: Purpose, config: Result<Config, NoConfig>) {
        match (purpose, config) {
            (Purpose::Check(to, looked_at), Ok(config)) => self.answer(to, checked(&config, &looked_at)),
            (Purpose::Plan(to), Ok(config)) => match self.steps(now, &config) {
                Ok(steps) => self.answer(to, Ok(Answer::Reload(self.outlook(&config, &steps)))),
                Err(error) => self.answer(to, Err(error)),
            },
            (Purpose::Apply { to, by }, Ok(config)) => match self.steps(now, &config) {
                Ok(_) if config.settings.http != self.settings.http => {
                    self.actions.push(Action::Listen { read, at: config.settings.http.clone() });
                    self.reading.purposes.insert(read, Purpose::Apply { to, by });
                    self.reading.listening = Some((read, Box::new(config)));
                }
                Ok(steps) => self.apply_config(now, to, by, config, steps),
                Err(error) => self.refuse_reload(to, error),
            },
            (Purpose::Plan(to) | Purpose::Check(to, _), Err(why)) => self.answer(to, Err(no_config(why))),
            (Purpose::Apply { to, .. }, Err(why)) => self.refuse_reload(to, no_config(why)),
        }
    }

    fn read_file(&mut self, purpose: Purpose) {
        if self.reading.file.is_none() {
            self.reading.file = Some(self.reading.next);
            self.read(purpose, Text::File);
        } else if !self.reading.is_in_vain(&purpose) {
            self.reading.waiting.push_back(purpose);
        }
    }

    fn read(&mut self, purpose: Purpose, text: Text) {
        let read = self.reading.next;
        self.reading.next += 1;
        self.reading.purposes.insert(read, purpose);
        self.actions.push(Action::ReadConfig { read, text });
    }

    fn answer(&mut self, to: From, result: Result<Answer, RpcError>) {
        self.actions.push(Action::Respond { to, result });
    }

    fn refuse_reload(&mut self, to: Option<From>, error: RpcError) {
        self.reading.is_wrong = true;
        let text = error.data.as_ref().and_then(|data| data.get("text")?.as_str()).unwrap_or(&error.message);
        self.actions.push(Action::Announce(Notice::Warning(format!("reload: {}", text.replace('\n', "; ")))));
        if let Some(to) = to {
            self.answer(to, Err(error));
        }
    }

    /// What the configuration means for each service, in its order, then what it has no more.
    fn steps(&self, now: Now, config: &Config) -> Result<Vec<Step>, RpcError> {
        self.refuse_when_ending()?;
        let mut steps = Vec::with_capacity(config.services.len());
        for spec in &config.services {
            steps.push(self.step_to(now, spec, &config.settings)?);
        }
        let kept: BTreeSet<&str> = config.services.iter().map(|spec| spec.name.as_str()).gather();
        for entry in self.services.values().filter(|entry| entry.origin == Origin::File && entry.service.want() != Want::Gone) {
            let name = &entry.service.spec().name;
            if !kept.contains(name.as_str()) {
                let row = ReloadRow { service: name.clone(), action: ReloadAction::Remove, changes: Vec::new() };
                steps.push(Step { row, target: Target::Goes(entry.service.id()) });
            }
        }
        steps.extend(self.services.values().filter_map(|entry| self.step_by_hand(entry, &kept, config)));
        let added = steps.iter().filter(|step| matches!(step.target, Target::Comes(_))).count();
        if self.services.len() + added > MAX_SERVICES {
            return Err(RpcError::new(ErrorCode::Refused, format!("more than {MAX_SERVICES} services are not supported")));
        }
        Ok(steps)
    }

    fn step_to(&self, now: Now, spec: &ServiceSpec, settings: &Settings) -> Result<Step, RpcError> {
        let row = |action, changes| ReloadRow { service: spec.name.clone(), action, changes };
        let Some(service) = self.names.get(&spec.name).and_then(|id| self.service(*id)) else {
            if let Some(other) = spec.id.and_then(|id| self.service(ServiceId(id))) {
                let message =
                    format!("id {} of `{}` belongs to `{}` until the daemon starts again", other.id().0, spec.name, other.spec().name);
                return Err(RpcError::new(ErrorCode::Refused, message));
            }
            return Ok(Step { row: row(ReloadAction::Add, Vec::new()), target: Target::Comes(spec.clone()) });
        };
        if self.services.get(&service.id()).is_some_and(|entry| entry.origin == Origin::CommandLine) {
            let message = format!("`{MAIN}` is the command of the daemon's command line; give the service in the file another name");
            return Err(RpcError::new(ErrorCode::Refused, message));
        }
        if service.want() == Want::Gone {
            return Err(RpcError::new(ErrorCode::Refused, format!("`{}` is still being removed; try again", spec.name)));
        }
        let loggers = (self.settings.logger.as_ref(), settings.logger.as_ref());
        let (action, changes) = match diff::services(service.spec(), spec, loggers) {
            (ReloadAction::Restart, changes) if !runs(now, service) => (ReloadAction::Update, changes),
            difference => difference,
        };
        Ok(Step { row: row(action, changes), target: Target::Stays(service.id(), spec.clone(), Origin::File) })
    }

    /// What was added by hand stays as it is, but what is common to all services is common to it too. It is not
    /// restarted for that: nobody who changes the file need know of it.
    fn step_by_hand(&self, entry: &Entry, in_file: &BTreeSet<&str>, config: &Config) -> Option<Step> {
        let (spec, common) = (entry.service.spec(), &config.settings.surroundings.common);
        let is_concerned = entry.origin == Origin::Hand && entry.service.want() != Want::Gone && !in_file.contains(spec.name.as_str());
        if !is_concerned || spec.command.surroundings.common == *common {
            return None;
        }
        let surroundings = Arc::new(Surroundings { common: Arc::clone(common), ..(*spec.command.surroundings).clone() });
        let new = ServiceSpec { command: Command { surroundings, ..spec.command.clone() }, ..spec.clone() };
        let changes = vec!["env of all services, from its next start on".to_owned()];
        let row = ReloadRow { service: spec.name.clone(), action: ReloadAction::Update, changes };
        Some(Step { row, target: Target::Stays(entry.service.id(), new, Origin::Hand) })
    }

    fn outlook(&self, config: &Config, steps: &[Step]) -> Reload {
        Reload {
            applied: false,
            settings: diff::settings(&self.settings, &config.settings),
            services: steps.iter().map(|step| step.row.clone()).collect(),
            failed: Vec::new(),
        }
    }

    fn apply_config(&mut self, now: Now, to: Option<From>, by: Option<Actor>, config: Config, steps: Vec<Step>) {
        (self.reading.is_wrong, self.reading.since) = (false, Some(now.wall));
        self.acting = by;
        let outlook = Reload { applied: true, ..self.outlook(&config, &steps) };
        self.actions.push(Action::Announce(Notice::Info(in_words(&outlook))));
        let loggers = self.loggers();
        self.set_settings(now, config.settings);
        let mut todo = Vec::with_capacity(steps.len());
        for step in steps {
            todo.push(self.change_service(now, step));
        }
        self.set_loggers(&loggers);
        let aims = todo.iter().filter_map(|(id, todo)| Some((*id, self.aim_of_reload(*id, *todo)?))).collect();
        let key = to.map(|to| self.wait_for(to, Kind::Reload(Box::new(outlook)), aims, Vec::new()));
        let order = self.in_order(todo.iter().map(|(id, _)| *id).collect(), &Input::Restart);
        let todo: BTreeMap<ServiceId, Todo> = todo.into_iter().gather();
        for (id, todo) in order.into_iter().filter_map(|id| Some((id, *todo.get(&id)?))) {
            match todo {
                Todo::Nothing => {}
                Todo::Boot => self.boot_later(id, Cause::Reload),
                Todo::Restart => self.step(now, id, &Input::Restart),
                Todo::Remove => self.step(now, id, &Input::Remove),
            }
        }
        if let Some(key) = key {
            self.look_at_waiter(now, key, None);
        }
        self.acting = None;
    }

    /// What becomes of the output of each service.
    fn loggers(&self) -> BTreeMap<ServiceId, Option<Logger>> {
        let common = self.settings.logger.as_ref();
        self.services().map(|service| (service.id(), service.spec().log.logger(common))).gather()
    }

    /// Tells where output goes by now that went elsewhere before. What is not captured is so until its next start, and
    /// what is not captured any more is not kept either.
    fn set_loggers(&mut self, before: &BTreeMap<ServiceId, Option<Logger>>) {
        for service in self.services.values().map(|entry| &entry.service) {
            let launch = service.launch_data(Stdin::Null, self.settings.logger.as_ref());
            let before = before.get(&service.id()).and_then(Option::as_ref);
            match (before, &launch.logger) {
                (Some(before), Some(now)) if before != now => {
                    self.actions.push(Action::SetLogger { id: service.id(), launch: Arc::new(launch) });
                }
                (Some(before), None) if before.keeps() => self.actions.push(Action::ForgetOutput { service: launch.name }),
                (Some(_) | None, _) => {}
            }
        }
    }

    /// Gives a service its new form, and says what it must be told then.
    fn change_service(&mut self, now: Now, step: Step) -> (ServiceId, Todo) {
        match step.target {
            Target::Stays(id, spec, origin) => {
                let (ready, health) = (spec.ready.clone(), spec.health.clone());
                let is_probed_otherwise = self.service(id).is_some_and(|old| (&old.spec().ready, &old.spec().health) != (&ready, &health));
                self.configure(now, id, spec, origin);
                if is_probed_otherwise {
                    self.step(now, id, &Input::Reprobe);
                }
                if step.row.action != ReloadAction::Keep {
                    self.tell_of(now, id, EventKind::Changed, step.row.changes.join(", "));
                }
                (id, if step.row.action == ReloadAction::Restart { Todo::Restart } else { Todo::Nothing })
            }
            Target::Comes(spec) => {
                let starts = spec.autostart && spec.starts_at_once();
                let id = self.insert(now, spec, Origin::File);
                self.tell_of(now, id, EventKind::Added, String::new());
                (id, if starts { Todo::Boot } else { Todo::Nothing })
            }
            Target::Goes(id) => (id, Todo::Remove),
        }
    }

    /// Gives a service another form under its number.
    pub(crate) fn configure(&mut self, now: Now, id: ServiceId, spec: ServiceSpec, origin: Origin) {
        if let Some(entry) = self.services.get_mut(&id) {
            let old = entry.service.spec().clone();
            entry.origin = origin;
            let context = Context::quiet(now, &self.zone, self.chance.next());
            entry.service.configure(ServiceSpec { id: Some(id.0), ..spec }, &context);
            let is_watched_as_before = (&old.watch, &old.command) == (&entry.service.spec().watch, &entry.service.spec().command);
            if !is_watched_as_before {
                self.watch_anew(id);
            }
            self.change_needs(id, &old);
        }
        self.index(id);
    }

    fn aim_of_reload(&self, id: ServiceId, todo: Todo) -> Option<Aim> {
        let service = self.service(id)?;
        match todo {
            Todo::Nothing => None,
            Todo::Remove => Some(Aim::Removed),
            Todo::Boot | Todo::Restart => Some(Aim::Started { attempts: service.attempts(), starts: service.starts() }),
        }
    }

    /// Tells that something happened to a service other than by a step of its own.
    pub(crate) fn tell_of(&mut self, now: Now, id: ServiceId, kind: EventKind, reason: String) {
        let Some(service) = self.service(id) else { return };
        let row = event_row(now, service, kind, service.status(), None, None, reason);
        self.tell(row);
    }
}

/// Whether it runs, or is about to, because its user wants it to.
fn runs(now: Now, service: &Service) -> bool {
    service.is_active() && (service.is_busy() || service.restart_at(now).is_some())
}

/// The answer to `check`: what the configuration holds, or what does not fit into the grace, if one is given.
fn checked(config: &Config, looked_at: &LookedAt) -> Result<Answer, RpcError> {
    let misfits = looked_at.grace.map_or(Vec::new(), |grace| advice::misfits(config, grace));
    if misfits.is_empty() {
        return Ok(Answer::Checked(Checked { services: config.services.len(), warnings: advice::warnings(config) }));
    }
    let file = &looked_at.file;
    let place = |line| if line == 0 { file.clone() } else { format!("{file}:{line}") };
    let text: Vec<String> =
        misfits.iter().map(|misfit| format!("error: {}\n --> {}\n  = hint: {}", misfit.message, place(misfit.line), misfit.hint)).collect();
    let problems: Vec<serde_json::Value> = misfits
        .iter()
        .map(|misfit| serde_json::json!({ "line": misfit.line, "column": 0, "message": misfit.message, "hint": misfit.hint }))
        .collect();
    let message = format!("{} in {file}", counted(problems.len(), "problem"));
    let data = serde_json::json!({ "text": text.join("\n\n"), "problems": problems });
    Err(RpcError { data: Some(data), ..RpcError::new(ErrorCode::WrongConfiguration, message) })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn no_listener(why: NoListener) -> RpcError {
    let NoListener { message, hint } = why;
    RpcError {
        data: Some(serde_json::json!({ "hint": hint })),
        ..RpcError::new(ErrorCode::Refused, format!("{message}; nothing was changed"))
    }
}

fn no_config(why: NoConfig) -> RpcError {
    match why {
        NoConfig::Unreadable(message) => RpcError::new(ErrorCode::WrongConfiguration, format!("{message}; nothing was changed")),
        NoConfig::Wrong(problems) => {
            let count = problems.list.len() + problems.omitted;
            let list: Vec<serde_json::Value> = problems
                .list
                .iter()
                .map(|problem| serde_json::json!({ "line": problem.line, "column": problem.column, "message": problem.message, "hint": problem.hint }))
                .collect();
            let data = serde_json::json!({ "text": problems.to_string(), "problems": list });
            let message = format!("{} in {}; nothing was changed", counted(count, "problem"), problems.file);
            RpcError { data: Some(data), ..RpcError::new(ErrorCode::WrongConfiguration, message) }
        }
    }
}

fn in_words(reload: &Reload) -> String {
    let of = |action, verb: &str| {
        let names: Vec<&str> = reload.services.iter().filter(|row| row.action == action).map(|row| row.service.as_str()).collect();
        (!names.is_empty()).then(|| format!("{verb} {}", shortened(&names)))
    };
    let kinds = [
        of(ReloadAction::Add, "added"),
        of(ReloadAction::Restart, "restarted"),
        of(ReloadAction::Reschedule, "rescheduled"),
        of(ReloadAction::Update, "updated"),
        of(ReloadAction::Remove, "removed"),
    ];
    let words: Vec<String> = kinds.into_iter().flatten().chain(reload.settings.iter().cloned()).collect();
    if words.is_empty() { "reload: nothing has changed".to_owned() } else { format!("reload: {}", words.join("; ")) }
}
