//! What clients ask for, and what they are told.
//!
//! A request names services by name, number, glob or `all`; all names are looked up before anything is done, so
//! that a misspelt one changes nothing. What shows is answered at once; what changes is answered when it is done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_protocol::message::{AddService, Answer, Await, PROTOCOL, ReadAgain, ReadLog, ReadStats, SendSignal, Targets, Watch};
use ppm_protocol::types::HookRow;
use ppm_protocol::{
    Configuration, ErrorCode, EventKind, Failure, Farewell, Greeting, Health, HealthRow, History, InfoRow, Life, LogSources, PlanEvent,
    PlanRow, Request, RpcError, RunResult, RunRow, RunsRow, ServiceRow, Signal, Status, Stream, Why,
};

use crate::attributes::write_umask;
use crate::config;
use crate::diff::{self, name_of};
use crate::event::{Action, Detail, From, Launch, Own, ServiceId, Stdin, Whose};
use crate::hook::Hook;
use crate::journal::KEPT;
use crate::logging::Logger;
use crate::names::{glob_matches, similar};
use crate::planning::Plan;
use crate::runs::{Counters, Outcome, Record};
use crate::schedule::Schedule;
use crate::service::{Input, Run, Service, Want};
use crate::spec::{InvalidSpec, MAX_SERVICES, RestartWhen, ServiceSpec};
use crate::supervisor::{Origin, Phase, Supervisor, shortened};
use crate::time::{Now, brief};
use crate::waiting::{Aim, Kind};

/// A process pauses and resumes at once, but the kernel may never tell of it (R16); who asked is not kept longer.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// What the daemon is called where services are named; none can have that name.
const DAEMON: &str = "ppm-daemon";

impl Supervisor {
    /// Takes up a call. It is answered now or later, but exactly once.
    pub(crate) fn requested(&mut self, now: Now, from: From, request: Request) {
        let to = from.clone();
        let answer = match request {
            Request::Hello => Ok(Some(Answer::Greeting(self.greeting()))),
            Request::List(which) => self.chosen(&which.services).map(|ids| Some(Answer::Services(self.rows(now, &ids)))),
            Request::Info(which) => self.chosen(&which.services).map(|ids| Some(Answer::Infos(self.infos(now, &ids)))),
            Request::Configuration => Ok(Some(Answer::Configuration(self.configuration()))),
            Request::Scheduler(which) => self.chosen(&which.services).map(|ids| Some(Answer::Plans(self.plan_rows(now, &ids)))),
            Request::Events(watch) => self.events(from, watch).map(|history| Some(Answer::History(history))),
            Request::Log(query) => self.log(from, query).map(|()| None),
            Request::Stats(which) => self.stats(now, from, &which).map(|()| None),
            Request::History(which) => self.whose(&which.services).map(|whose| Some(Answer::Histories(self.histories(now, &whose)))),
            Request::Add(add) => self.add(now, from, &add).map(|()| None),
            Request::Start(targets) => self.change(now, from, &targets, &Input::Start).map(|()| None),
            Request::Restart(targets) if targets.rolling => self.roll(now, from, &targets).map(|()| None),
            Request::Restart(targets) => self.change(now, from, &targets, &Input::Restart).map(|()| None),
            Request::Reschedule(targets) => self.change(now, from, &targets, &Input::Reschedule).map(|()| None),
            Request::Stop(targets) => self.change(now, from, &targets, &Input::Stop).map(|()| None),
            Request::Remove(targets) => self.change(now, from, &targets, &Input::Remove).map(|()| None),
            Request::Pause(targets) => self.change(now, from, &targets, &Input::Pause).map(|()| None),
            Request::Resume(targets) => self.change(now, from, &targets, &Input::Resume).map(|()| None),
            Request::Signal(signal) => self.signal(now, from, &signal).map(|()| None),
            Request::Wait(wait) => self.wait(now, from, &wait).map(|()| None),
            Request::Health(which) => self.chosen(&which.services).map(|ids| Some(Answer::Health(self.health(now, &ids)))),
            Request::Runs(which) => self.targets(&which.services).map(|ids| Some(Answer::Runs(self.runs(&ids)))),
            Request::Watched(which) => self.chosen(&which.services).map(|ids| {
                self.watched(from, &ids, !which.services.is_empty());
                None
            }),
            Request::Why(which) => self.targets(&which.services).map(|ids| {
                self.why(now, from, &ids);
                None
            }),
            Request::Reload(ReadAgain { plan: false }) => self.refuse_when_ending().map(|()| {
                self.reload(Some(from));
                None
            }),
            Request::Reload(ReadAgain { plan: true }) => {
                self.plan_reload(from);
                Ok(None)
            }
            Request::Check(check) => {
                self.check(from, check);
                Ok(None)
            }
            Request::Exec(execute) => self.exec(from, &execute).map(|()| None),
            Request::Run(run) => self.run(now, from, run).map(|()| None),
            Request::Forward(forward) => Ok(Some(Answer::Forwarded(self.forward(now, from.client, forward.signal)))),
            Request::Shutdown => {
                let farewell = Farewell { stopping: self.busy() };
                self.actions.push(Action::Respond { to, result: Ok(Answer::Farewell(farewell)) });
                return self.shut_down(now);
            }
        };
        match answer {
            Ok(Some(answer)) => self.actions.push(Action::Respond { to, result: Ok(answer) }),
            Ok(None) => {}
            Err(error) => self.actions.push(Action::Respond { to, result: Err(error) }),
        }
    }

    /// A service as `list` shows it.
    pub(crate) fn row_of(&self, now: Now, service: &Service) -> ServiceRow {
        let live = service.live();
        ServiceRow {
            id: service.id().0,
            name: service.spec().name.clone(),
            status: service.status(),
            active: service.is_active(),
            ready: service.is_ready(),
            pid: live.map(|live| live.pid.0),
            restarts: service.starts().saturating_sub(1),
            crashes: service.crashes(now),
            started_at: service.started(),
            ended_at: if live.is_some() { None } else { service.ended_at() },
            uptime_ms: live.map(|live| u64::try_from(now.mono.since(live.since).as_millis()).unwrap_or(u64::MAX)),
            exit: service.last().and_then(|end| end.exit),
            reason: service.reason(now),
            next_start: service.next_start(now),
            schedule: service.spec().schedule.as_deref().map(Schedule::text),
            status_text: service.status_text().map(str::to_owned),
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting { protocol: PROTOCOL, version: self.version.clone(), pid: self.pid.0 }
    }

    fn configuration(&self) -> Configuration {
        let kept = self.services().filter(|service| service.want() != Want::Gone && !self.attached.has(service.id()));
        Configuration { yaml: config::render(&self.settings, kept.map(Service::spec)) }
    }

    fn rows(&self, now: Now, ids: &[ServiceId]) -> Vec<ServiceRow> {
        ids.iter().filter_map(|id| self.service(*id)).map(|service| self.row_of(now, service)).collect()
    }

    fn infos(&self, now: Now, ids: &[ServiceId]) -> Vec<InfoRow> {
        let info = |service: &Service| {
            let spec = service.spec();
            let attributes = &spec.command.attributes;
            InfoRow {
                row: self.row_of(now, service),
                command: std::iter::once(&spec.command.path).chain(&spec.command.args).cloned().collect(),
                workdir: spec.command.workdir.clone(),
                user: attributes.user.as_ref().map(ToString::to_string),
                umask: attributes.umask.map(write_umask),
                limits: attributes.limits.iter().map(|(resource, limit)| format!("{}={limit}", resource.name())).collect(),
                nice: attributes.nice,
                oom_score_adj: attributes.oom_score_adj,
                no_new_privs: attributes.no_new_privs,
                env: spec.command.env.keys().cloned().collect(),
                restart: restart_in_words(spec),
                stop: stop_in_words(spec),
                needs: spec.depends_on.iter().map(|need| self.need_row(need)).collect(),
                needed_by: self.names_of_dependants(service.id()),
                hooks: hooks_of(service),
                source: spec.source.clone(),
                readiness: service.readiness_in_words(),
                health: service.health_in_words(now),
            }
        };
        ids.iter().filter_map(|id| self.service(*id)).map(info).collect()
    }

    fn runs(&self, ids: &[ServiceId]) -> Vec<RunsRow> {
        ids.iter().filter_map(|id| self.service(*id)).map(runs_of).collect()
    }

    /// Tells what is watched: of those that watch nothing too, if they were named.
    fn watched(&mut self, to: From, ids: &[ServiceId], are_named: bool) {
        let rows = ids.iter().filter_map(|id| self.service(*id)).map(Service::watched_row);
        let services = rows.filter(|row| are_named || !row.paths.is_empty()).collect();
        self.actions.push(Action::TellWatched { to, services });
    }

    pub(crate) fn lives(&self, now: Now, ids: &[ServiceId]) -> Vec<Life> {
        let life =
            |service: &Service| Life { row: self.row_of(now, service), events: self.journal.life(service.id().0), output: Vec::new() };
        ids.iter().filter_map(|id| self.service(*id)).map(life).collect()
    }

    /// Whether every active service that should run does, and is ready. What ended well and what waits for its schedule
    /// should not run.
    fn health(&self, now: Now, ids: &[ServiceId]) -> Health {
        let row = |service: &Service| HealthRow {
            id: service.id().0,
            name: service.spec().name.clone(),
            healthy: is_well(service),
            status: service.status(),
            reason: service.reason(now),
        };
        let services: Vec<HealthRow> = ids.iter().filter_map(|id| self.service(*id)).map(row).collect();
        Health { healthy: services.iter().all(|row| row.healthy), services }
    }

    /// Everything that will happen by itself, the soonest first.
    fn plan_rows(&self, now: Now, ids: &[ServiceId]) -> Vec<PlanRow> {
        let services = ids.iter().filter_map(|id| self.service(*id));
        let mut rows: Vec<PlanRow> = services.flat_map(|service| plans_of(now, &self.zone, service)).collect();
        rows.sort_by_key(|row| (row.at, row.id));
        rows
    }

    fn events(&mut self, from: From, watch: Watch) -> Result<History, RpcError> {
        let last = watch.last.unwrap_or(KEPT).min(KEPT);
        let services = self.with_replicas(&watch.services);
        let history = History { events: self.journal.past(&services, last) };
        if watch.follow {
            if from.call.is_none() {
                return Err(RpcError::new(ErrorCode::Invalid, "`events` with `follow` needs an `id`"));
            }
            self.journal.follow(from, services);
        }
        Ok(history)
    }

    /// What was typed, with the names of replicas in place of their common one.
    fn with_replicas(&self, typed: &[String]) -> Vec<String> {
        let names = |wanted: &String| -> Vec<String> {
            let replicas = self.dependencies.replicas(wanted).filter_map(|id| self.service(id));
            let names: Vec<String> = replicas.map(|service| service.spec().name.clone()).collect();
            if names.is_empty() { vec![wanted.clone()] } else { names }
        };
        typed.iter().flat_map(names).collect()
    }

    /// What is read of logs is no business of the loop; who may read and what there is to be read is decided here.
    fn log(&mut self, from: From, query: ReadLog) -> Result<(), RpcError> {
        if from.call.is_none() {
            return Err(RpcError::new(ErrorCode::Invalid, "`log` needs an `id`"));
        }
        if let Some(Stream::Daemon | Stream::Other(_)) = query.stream {
            return Err(RpcError::new(ErrorCode::BadParams, "`log`: `stream` must be `stdout` or `stderr`"));
        }
        let is_own = |wanted: &String| wanted == DAEMON;
        let own = if query.services.iter().any(is_own) { Own::Meant } else { Own::NotMeant };
        let others: Vec<String> = query.services.iter().filter(|wanted| !is_own(wanted)).cloned().collect();
        let ids = if others.is_empty() { Vec::new() } else { self.targets(&others)? };
        let common = self.settings.logger.as_ref();
        let launches = ids.iter().filter_map(|id| Some((*id, self.service(*id)?.launch_data(Stdin::Null, common))));
        let services: Vec<(ServiceId, Arc<Launch>)> = launches
            .filter(|(_, launch)| launch.logger.as_ref().is_some_and(Logger::keeps))
            .map(|(id, launch)| (id, Arc::new(launch)))
            .collect();
        if services.is_empty() && own == Own::NotMeant {
            return Err(self.no_log(&ids));
        }
        let names = services.iter().map(|(_, launch)| launch.name.clone());
        let names = names.chain((own == Own::Meant).then(|| DAEMON.to_owned())).collect();
        self.actions.push(Action::ReadLog { to: from, answer: LogSources { services: names, bytes: None }, services, own, query });
        Ok(())
    }

    fn no_log(&self, ids: &[ServiceId]) -> RpcError {
        let names: Vec<&str> = ids.iter().filter_map(|id| self.service(*id)).map(|service| service.spec().name.as_str()).collect();
        let message = match names.as_slice() {
            [] => "there are no services".to_owned(),
            [name] => format!("there is no log of `{name}`: it writes where the daemon writes"),
            names => format!("there are no logs of {}: they write where the daemon writes", shortened(names)),
        };
        let hint = "to have its output kept, give the configuration `logger: {path: /var/log/ppm}`, or `logger: {memory: 64KiB}` where no \
                    file can be written";
        RpcError { data: Some(serde_json::json!({ "hint": hint })), ..RpcError::new(ErrorCode::Refused, message) }
    }

    fn stats(&mut self, now: Now, from: From, which: &ReadStats) -> Result<(), RpcError> {
        let whose = self.whose(&which.services)?;
        self.sample(now, from, whose, if which.pss { Detail::Full } else { Detail::Cheap }, which.rates);
        Ok(())
    }

    /// The services that are chosen; with all of them, the daemon too.
    fn whose(&self, services: &[String]) -> Result<Vec<Whose>, RpcError> {
        let chosen = self.chosen(services)?.into_iter().map(Some);
        Ok(if services.is_empty() { chosen.chain([None]).collect() } else { chosen.collect() })
    }

    /// The service that is asked for, if it can be.
    pub(crate) fn spec_of(&self, add: &AddService) -> Result<ServiceSpec, RpcError> {
        let mut spec = ServiceSpec::from_request(add, &self.settings).map_err(invalid)?;
        spec.autostart = add.start;
        self.check_needs(&spec).map_err(invalid)?;
        Ok(spec)
    }

    /// Whether there is room for this service beside the others.
    pub(crate) fn refuse_new(&self, spec: &ServiceSpec) -> Result<(), RpcError> {
        self.refuse_taken(&spec.name)?;
        if self.services.len() >= MAX_SERVICES {
            return Err(RpcError::new(ErrorCode::Refused, format!("there are {MAX_SERVICES} services already; more are not supported")));
        }
        if self.next_id.is_none() {
            return Err(RpcError::new(ErrorCode::Refused, "there is no number left for another service"));
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, now: Now, from: From, add: &AddService) -> Result<(), RpcError> {
        self.refuse_when_ending()?;
        let spec = self.spec_of(add)?;
        if let Some(id) = self.names.get(&spec.name).copied().filter(|id| add.replace && self.is_staying(*id)) {
            self.replace(now, from, add, id, spec);
            return Ok(());
        }
        self.refuse_new(&spec)?;
        let id = self.insert(now, spec, Origin::Hand);
        let Some(service) = self.service(id) else { return Ok(()) };
        let is_planned = !service.spec().starts_at_once();
        let aim = if add.wait && add.start && !is_planned { started_from(service) } else { Aim::Asked };
        self.tell_of(now, id, EventKind::Added, String::new());
        let key = self.wait_for(from, Kind::Change, vec![(id, aim)], Vec::new());
        if add.start && !is_planned {
            self.step(now, id, &Input::Start);
        }
        self.look_at_waiter(now, key, None);
        Ok(())
    }

    /// A service takes another's place under its name and number: no moment without it, and never two of them.
    fn replace(&mut self, now: Now, from: From, add: &AddService, id: ServiceId, spec: ServiceSpec) {
        let input = match (add.start, spec.starts_at_once()) {
            (true, true) => Input::Restart,
            (true, false) => Input::Reschedule,
            (false, _) => Input::Stop,
        };
        let loggers = (self.settings.logger.as_ref(), self.settings.logger.as_ref());
        let changes = self.service(id).map(|service| diff::services(service.spec(), &spec, loggers).1).unwrap_or_default();
        self.configure(now, id, spec, Origin::Hand);
        self.tell_of(now, id, EventKind::Changed, changes.join(", "));
        let aim = self.service(id).filter(|_| add.wait).map_or(Aim::Asked, |service| aim_of(service, &input));
        let key = self.wait_for(from, Kind::Change, vec![(id, aim)], Vec::new());
        self.step(now, id, &input);
        self.look_at_waiter(now, key, None);
    }

    fn is_staying(&self, id: ServiceId) -> bool {
        self.service(id).is_some_and(|service| service.want() != Want::Gone)
    }

    fn change(&mut self, now: Now, from: From, targets: &Targets, input: &Input) -> Result<(), RpcError> {
        let ids = self.suitable(&targets.services, input)?;
        let aims: Vec<(ServiceId, Aim)> =
            ids.iter().filter_map(|id| Some((*id, if targets.wait { aim_of(self.service(*id)?, input) } else { Aim::Asked }))).collect();
        let key = self.wait_for(from, Kind::Change, aims, Vec::new());
        for id in self.in_order(ids, input) {
            if *input == Input::Reschedule {
                self.boot_no_more(id);
            }
            self.step(now, id, input);
        }
        let timeout = matches!(input, Input::Pause | Input::Resume).then_some(HEARD_WITHIN);
        self.look_at_waiter(now, key, timeout);
        Ok(())
    }

    /// Restarts one after the other. Whoever asks is waited for: when nobody does any more, it comes to an end.
    fn roll(&mut self, now: Now, from: From, targets: &Targets) -> Result<(), RpcError> {
        if !targets.wait {
            return Err(RpcError::new(ErrorCode::BadParams, "`restart`: `rolling` waits for each, so `wait` must be true"));
        }
        let ids = self.suitable(&targets.services, &Input::Restart)?;
        let rest = self.in_order(ids.clone(), &Input::Start).into();
        let key = self.wait_for_all(from, Kind::Rolling(rest), ids);
        self.roll_on(now, key);
        Ok(())
    }

    fn signal(&mut self, now: Now, from: From, request: &SendSignal) -> Result<(), RpcError> {
        let ids = self.targets(&request.services)?;
        let nobody = |service: &&Service| service.pid().is_none() && !service.is_draining();
        let idle = |id: &ServiceId| self.service(*id).filter(nobody);
        let failed = ids
            .iter()
            .filter_map(idle)
            .map(|service| Failure { service: service.spec().name.clone(), message: "it is not running".to_owned() });
        let failed = failed.collect();
        // What gets SIGKILL is over in a moment, and who sent it wants it over; other signals may mean anything.
        let ends = |id: &ServiceId| self.service(*id).filter(|_| request.signal == Signal::KILL).map(Service::ends);
        let aims = ids.iter().map(|id| (*id, ends(id).map_or(Aim::Asked, |ends| Aim::Over { ends }))).collect();
        let key = self.wait_for(from, Kind::Change, aims, failed);
        for id in ids {
            self.step(now, id, &Input::Signal(request.signal));
        }
        self.look_at_waiter(now, key, None);
        Ok(())
    }

    fn wait(&mut self, now: Now, from: From, request: &Await) -> Result<(), RpcError> {
        let ids = self.targets(&request.services)?;
        let aims = ids.iter().map(|id| (*id, Aim::Reached(request.goal))).collect();
        let key = self.wait_for(from, Kind::Await, aims, Vec::new());
        self.look_at_waiter(now, key, request.timeout_ms.map(Duration::from_millis));
        Ok(())
    }

    /// The services to show: none named means all.
    fn chosen(&self, typed: &[String]) -> Result<Vec<ServiceId>, RpcError> {
        if typed.is_empty() { Ok(self.services.keys().copied().collect()) } else { self.targets(typed) }
    }

    /// The services to change, each once, by number.
    pub(crate) fn targets(&self, typed: &[String]) -> Result<Vec<ServiceId>, RpcError> {
        if typed.is_empty() {
            return Err(RpcError::new(ErrorCode::BadParams, "`services` is empty: name at least one, or `all`"));
        }
        let mut ids = BTreeSet::new();
        for wanted in typed {
            ids.extend(self.find(wanted)?);
        }
        Ok(ids.into_iter().collect())
    }

    /// The services meant that can do what is asked. One that was named and cannot is an error; `all`, a glob and a group
    /// mean those that can.
    fn suitable(&self, typed: &[String], input: &Input) -> Result<Vec<ServiceId>, RpcError> {
        self.targets(typed)?; // a misspelt name comes before all else
        if wants_up(input) {
            self.refuse_when_ending()?;
        }
        let mut ids = BTreeSet::new();
        for wanted in typed {
            let is_one = self.named(wanted).is_some();
            for service in self.find(wanted)?.into_iter().filter_map(|id| self.service(id)) {
                match unsuitable(service, input) {
                    Some(why) if is_one => return Err(RpcError::new(ErrorCode::Refused, why)),
                    Some(_) => {}
                    None => drop(ids.insert(service.id())),
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    fn find(&self, wanted: &str) -> Result<Vec<ServiceId>, RpcError> {
        if wanted == "all" {
            return Ok(self.services.keys().copied().collect());
        }
        if let Some(id) = self.names.get(wanted) {
            return Ok(vec![*id]);
        }
        let replicas = self.ids_of(wanted);
        if !replicas.is_empty() {
            return Ok(replicas);
        }
        if let Some(group) = wanted.strip_prefix('@') {
            let is_member = |service: &&Service| service.spec().groups.iter().any(|own| own == group);
            let members: Vec<ServiceId> = self.services().filter(is_member).map(Service::id).collect();
            return if members.is_empty() { Err(self.no_such_service(wanted)) } else { Ok(members) };
        }
        if let Ok(number) = wanted.parse() {
            let id = ServiceId(number);
            return if self.services.contains_key(&id) { Ok(vec![id]) } else { Err(self.no_such_service(wanted)) };
        }
        let found: Vec<ServiceId> = self.names.iter().filter(|(name, _)| glob_matches(wanted, name)).map(|(_, id)| *id).collect();
        if found.is_empty() { Err(self.no_such_service(wanted)) } else { Ok(found) }
    }

    /// The one service that has this name or number.
    fn named(&self, wanted: &str) -> Option<&Service> {
        let id = self.names.get(wanted).copied().or_else(|| wanted.parse().ok().map(ServiceId))?;
        self.service(id)
    }

    fn no_such_service(&self, wanted: &str) -> RpcError {
        const SHOWN: usize = 20;
        let is_glob = wanted.contains(['*', '?', '[']);
        let message = match wanted.strip_prefix('@') {
            Some(group) => format!("no service is in the group `{group}`"),
            None if is_glob => format!("no service matches `{wanted}`"),
            None => format!("no such service `{wanted}`"),
        };
        let names = || self.names.keys().map(String::as_str);
        let mut data =
            serde_json::json!({ "service": wanted, "services": names().take(SHOWN).collect::<Vec<_>>(), "count": self.names.len() });
        if let (Some(similar), Some(object)) = (similar(wanted, names()), data.as_object_mut()) {
            object.insert("similar".to_owned(), similar.into());
        }
        RpcError { data: Some(data), ..RpcError::new(ErrorCode::NoSuchService, message) }
    }

    fn refuse_taken(&self, name: &str) -> Result<(), RpcError> {
        let Some(service) = self.ids_of(name).first().and_then(|id| self.service(*id)) else { return Ok(()) };
        let (state, source) = match service.want() {
            Want::Gone => ("being removed".to_owned(), &service.spec().source),
            Want::Up { .. } | Want::Unasked | Want::Down => (service.status().to_string(), &service.spec().source),
        };
        let data = serde_json::json!({ "service": name });
        let message = format!("there is a service `{name}` already ({state}, from {source})");
        Err(RpcError { data: Some(data), ..RpcError::new(ErrorCode::NameTaken, message) })
    }

    pub(crate) fn refuse_when_ending(&self) -> Result<(), RpcError> {
        match self.phase {
            Phase::Running => Ok(()),
            Phase::Stopping { .. } | Phase::Sweeping { .. } | Phase::Killing { .. } | Phase::Over => {
                Err(RpcError::new(ErrorCode::Refused, "the daemon is shutting down; nothing is started any more"))
            }
        }
    }
}

/// Why something is no service, as an answer.
pub(crate) fn invalid(invalid: InvalidSpec) -> RpcError {
    let data = invalid.hint.map(|hint| serde_json::json!({ "hint": hint }));
    RpcError { data, ..RpcError::new(ErrorCode::InvalidService, invalid.message) }
}

fn wants_up(input: &Input) -> bool {
    matches!(input, Input::Start | Input::Restart | Input::Reschedule)
}

/// Why a service cannot do what is asked; None: it can.
fn unsuitable(service: &Service, input: &Input) -> Option<String> {
    let name = &service.spec().name;
    if wants_up(input) && service.want() == Want::Gone {
        return Some(format!("`{name}` is being removed"));
    }
    (*input == Input::Reschedule && service.spec().schedule.is_none()).then(|| format!("`{name}` has no schedule"))
}

pub(crate) fn is_well(service: &Service) -> bool {
    let waits_for_schedule = service.plan().is_some() && !service.is_busy() && service.status() != Status::Crashed;
    let has_ended_well = service.run() == Run::Idle && service.status() == Status::Finished;
    !service.is_active() || service.is_ready() || waits_for_schedule || has_ended_well
}

fn started_from(service: &Service) -> Aim {
    Aim::Started { attempts: service.attempts(), starts: service.starts() }
}

fn aim_of(service: &Service, input: &Input) -> Aim {
    match input {
        Input::Start | Input::Restart => started_from(service),
        Input::Stop => Aim::Ended { ends: service.ends() },
        Input::Remove => Aim::Removed,
        Input::Pause => Aim::Paused,
        Input::Resume => Aim::Resumed,
        Input::Reschedule
        | Input::Boot(_)
        | Input::Needed
        | Input::Needs
        | Input::Signal(_)
        | Input::KillNow
        | Input::Fire
        | Input::ClockSet(_)
        | Input::Replan
        | Input::Outgrew { .. }
        | Input::FilesChanged(_)
        | Input::Tick
        | Input::Spawned(_)
        | Input::SpawnFailed(_)
        | Input::PassOn(_)
        | Input::Exited(..)
        | Input::Drained
        | Input::Strayed
        | Input::WasPaused
        | Input::WasResumed
        | Input::Hook(..)
        | Input::Probed(..)
        | Input::Reprobe
        | Input::Notified(_) => Aim::Asked,
    }
}

fn plans_of(now: Now, zone: &TimeZone, service: &Service) -> Vec<PlanRow> {
    let row = |event, at: ppm_protocol::Timestamp, rule, note| PlanRow {
        id: service.id().0,
        name: service.spec().name.clone(),
        event,
        at,
        in_ms: u64::try_from(at.0.saturating_sub(now.wall.0)).unwrap_or(0),
        last: service.last_in_words(),
        rule,
        note,
    };
    let planned = service
        .planned()
        .zip(service.spec().schedule.as_deref())
        .map(|(plan, schedule)| row(PlanEvent::Schedule, plan.at, schedule.rule(), note_on(plan, schedule, zone)));
    let delayed = service.restart_at(now).map(|next| {
        let rule = match next.why {
            Why::Backoff => format!("backoff, retry {}", service.crashes(now)),
            Why::Watch => service.changes_in_words(),
            Why::Restart | Why::Schedule | Why::Other(_) => "restart: always".to_owned(),
        };
        let event = if next.why == Why::Watch { PlanEvent::Watch } else { PlanEvent::Restart };
        row(event, next.at, rule, String::new())
    });
    let answered = service.answer_at(now).map(|(at, what)| row(PlanEvent::Watch, at, service.changes_in_words(), what));
    planned.into_iter().chain(delayed).chain(answered).collect()
}

/// What is out of the ordinary about a plan, and what may surprise in its schedule.
fn note_on(plan: Plan, schedule: &Schedule, zone: &TimeZone) -> String {
    let delay = Duration::from_millis(u64::try_from(plan.at.0 - plan.fire.0).unwrap_or(0));
    let jitter = (!delay.is_zero()).then(|| format!("jitter {}", brief(delay)));
    let notes: Vec<String> =
        schedule.note(plan.fire, zone).into_iter().chain(jitter).chain(schedule.warnings().map(str::to_owned)).collect();
    notes.join("; ")
}

fn runs_of(service: &Service) -> RunsRow {
    let Counters { fired, skipped, missed, timeouts, latest } = service.runs().counters;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let run = |record: &Record| RunRow {
        planned: record.planned,
        started: record.started,
        late_ms: record.late().map(millis),
        ended: record.end.map(|end| end.at),
        exit: record.end.and_then(|end| end.exit),
        reason: record.cause.to_string(),
        result: record.end.map_or(RunResult::Running, |end| match end.outcome {
            Outcome::Finished => RunResult::Finished,
            Outcome::Crashed => RunResult::Crashed,
            Outcome::Stopped => RunResult::Stopped,
            Outcome::TimedOut => RunResult::TimedOut,
            Outcome::NotStarted => RunResult::NotStarted,
        }),
    };
    let runs = service.runs().kept().map(run).collect();
    let name = service.spec().name.clone();
    RunsRow { id: service.id().0, name, fired, skipped, missed, timeouts, max_late_ms: millis(latest), runs }
}

/// What is run beside a service, in the order in which it would be.
fn hooks_of(service: &Service) -> Vec<HookRow> {
    let hooks = Hook::ALL.into_iter().filter(|hook| *hook != Hook::Stop); // its command is told with how it is stopped
    let row = |hook: Hook| {
        let (program, limit) = service.spec().hook(hook)?;
        Some(HookRow {
            hook: hook.name().to_owned(),
            command: std::iter::once(&program.path).chain(&program.args).cloned().collect(),
            timeout_ms: (!limit.is_zero()).then(|| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            pid: service.hook_pid(hook).map(|pid| pid.0),
        })
    };
    hooks.filter_map(row).collect()
}

fn restart_in_words(spec: &ServiceSpec) -> String {
    let policy = &spec.restart;
    let end = if spec.essential { "; its end ends the daemon" } else { "" };
    let when = name_of(policy.when);
    if policy.when == RestartWhen::Never {
        return format!("{when}{end}");
    }
    let retries = if policy.max_retries == 0 { String::new() } else { format!(", at most {} retries", policy.max_retries) };
    format!("{when}, backoff {} to {}{retries}{end}", brief(policy.interval), brief(policy.max_interval.max(policy.interval)))
}

fn stop_in_words(spec: &ServiceSpec) -> String {
    let command = spec.stop_command.as_ref().map_or(String::new(), |command| format!("{command}, then "));
    format!("{command}{}, then SIGKILL after {}", spec.stop.signal, brief(spec.stop.timeout))
}
