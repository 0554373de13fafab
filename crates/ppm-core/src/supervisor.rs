//! All services together: the machine that the daemon and the simulator drive.
//!
//! [`Supervisor::handle`] takes one event and gives the actions that follow from it. It cannot fail, reads no
//! clock and performs nothing. What is looked up by number, name, process or time stands in an index that
//! [`Supervisor::step`] keeps, so that nothing is proportional to the number of services for one event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use std::sync::Arc;

use jiff::tz::TimeZone;
use ppm_protocol::{ErrorCode, EventRow, Exit, RpcError, Signal};

use crate::advice;
use crate::attached::Attached;
use crate::chance::Chance;
use crate::config::Config;
use crate::dependencies::Dependencies;
use crate::event::{Action, Cause, ClientId, Event, From, Notice, Part, Pid, Planned, ServiceId, Stdin};
use crate::farewell::Farewell;
use crate::guests::Guests;
use crate::history::Histories;
use crate::hook::Hook;
use crate::journal::{Actor, Journal, event_row};
use crate::logging::LogKeys;
use crate::max_memory::MemoryWatch;
use crate::oom::OomKills;
use crate::planning::Plan;
use crate::reload::Reading;
use crate::report::Reports;
use crate::sampling::Sampling;
use crate::schedule::Missed;
use crate::service::{Context, Effect, End, HookEffect, HookInput, Input, Run, Service, exit_code};
use crate::spec::{MAIN, ServiceSpec, Settings, assign_ids};
use crate::time::{Mono, Now, Timestamp, brief};
use crate::waiting::Waiting;
use crate::welcome::Welcome;

/// How many services are started or timed out by one tick (R35): others are heard between.
const DUE_PER_TICK: usize = 16;

/// After the last SIGKILL of a shutdown the daemon waits this long for the kernel, and no longer (R25).
const LAST_WAIT: Duration = Duration::from_millis(500);

/// A step of the wall clock is one of more than this; less is the clock being disciplined.
const STEP: u64 = 500;

/// What the supervisor is made of.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The settings and the services of the configuration.
    pub config: Config,
    /// The zone of schedules where the configuration names none.
    pub zone: TimeZone,
    /// What was remembered of services, by name: see [`Action::Remember`].
    pub remembered: BTreeMap<String, Planned>,
    /// Makes its chances repeatable.
    pub seed: u64,
    /// The daemon's own process.
    pub pid: Pid,
    /// The daemon's version.
    pub version: String,
    /// Whether there is the service [`MAIN`] of the command line.
    pub main: Option<Main>,
}

/// What the daemon is for the command of its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    /// There is no configuration: the daemon stands for this command, which hears every signal.
    Alone,
    /// There is one: the command hears the signals for which the daemon has no use itself.
    AmongOthers,
}

/// How far the daemon's own life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It supervises.
    Running,
    /// It is ending: everything was asked to stop.
    Stopping { kill_at: Mono },
    /// All services have ended; orphans that belong to none of them were asked to.
    Sweeping { kill_at: Mono },
    /// There is no time left: everything got SIGKILL.
    Killing { exit_at: Mono },
    /// The last action was given.
    Over,
}

/// A service and where it stands in the indices.
#[derive(Debug)]
pub(crate) struct Entry {
    /// In a box: the nodes of a map that was filled in order are half empty.
    pub(crate) service: Box<Service>,
    pub(crate) origin: Origin,
    keys: Keys,
}

/// Who added a service: a reload touches only what the file added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration file.
    File,
    /// A request.
    Hand,
    /// The command line.
    CommandLine,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keys {
    pid: Option<Pid>,
    deadline: Option<Mono>,
    plan: Option<Timestamp>,
    busy: bool,
    limited: bool,
    watched: bool,
}

/// The clock as it was when it was last looked at.
#[derive(Clone, Copy, Debug)]
struct ClockWatch {
    seen: Now,
    next: Mono,
}

/// All services, and everybody who waits for something.
#[derive(Debug)]
pub struct Supervisor {
    pub(crate) settings: Settings,
    /// The zone of the daemon's surroundings.
    local: TimeZone,
    /// The zone of schedules that do not name their own.
    pub(crate) zone: TimeZone,
    pub(crate) pid: Pid,
    pub(crate) version: String,
    pub(crate) started: Now,
    pub(crate) services: BTreeMap<ServiceId, Entry>,
    pub(crate) names: BTreeMap<String, ServiceId>,
    /// None: all have been given.
    pub(crate) next_id: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) journal: Journal,
    pub(crate) waiting: Waiting,
    pub(crate) sampling: Sampling,
    pub(crate) memory: MemoryWatch,
    pub(crate) histories: Histories,
    pub(crate) guests: Guests,
    pub(crate) attached: Attached,
    pub(crate) reading: Reading,
    pub(crate) reports: Reports,
    pub(crate) dependencies: Dependencies,
    uids: BTreeMap<ClientId, u32>,
    /// Who is behind what is being handled.
    pub(crate) acting: Option<Actor>,
    pub(crate) actions: Vec<Action>,
    pids: BTreeMap<Pid, ServiceId>,
    /// The processes of hooks.
    hooks: BTreeMap<Pid, (ServiceId, Hook)>,
    deadlines: BTreeSet<(Mono, ServiceId)>,
    plans: BTreeSet<(Timestamp, ServiceId)>,
    busy: usize,
    boot: VecDeque<(ServiceId, Cause)>,
    clock: ClockWatch,
    interrupts: u32,
    pub(crate) welcome: Welcome,
    farewell: Farewell,
    /// When those at the latest must have ended in a shutdown who stand upon others: these are to have some time too.
    latest: BTreeMap<ServiceId, Mono>,
    main: Option<(ServiceId, Main)>,
    /// Of the essential service with which the daemon ends.
    exit_code: Option<u8>,
    oom_kills: OomKills,
    /// Whether the end that is being handled is the kernel's doing because memory was short.
    out_of_memory: bool,
    /// The most memory that the run was seen to use whose end is being handled.
    peak_memory: Option<u64>,
    pub(crate) chance: Chance,
    effects: Vec<Effect>,
}

impl Supervisor {
    /// Knows all services; the first ticks start them.
    pub fn new(boot: Boot, now: Now) -> Supervisor {
        let Boot { mut config, zone, remembered, seed, pid, version, main } = boot;
        let warnings = advice::warnings(&config);
        assign_ids(&mut config.services);
        let mut supervisor = Supervisor {
            zone: config.settings.timezone.clone().unwrap_or_else(|| zone.clone()),
            local: zone,
            settings: config.settings,
            pid,
            version,
            started: now,
            services: BTreeMap::new(),
            names: BTreeMap::new(),
            next_id: Some(1),
            phase: Phase::Running,
            journal: Journal::default(),
            waiting: Waiting::default(),
            sampling: Sampling::default(),
            memory: MemoryWatch::default(),
            histories: Histories::default(),
            guests: Guests::default(),
            attached: Attached::default(),
            reading: Reading::default(),
            reports: Reports::default(),
            dependencies: Dependencies::default(),
            uids: BTreeMap::new(),
            acting: None,
            actions: Vec::new(),
            pids: BTreeMap::new(),
            hooks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            plans: BTreeSet::new(),
            busy: 0,
            boot: VecDeque::new(),
            clock: ClockWatch { seen: now, next: now.mono },
            interrupts: 0,
            welcome: Welcome::default(),
            farewell: Farewell::default(),
            latest: BTreeMap::new(),
            main: None,
            exit_code: None,
            oom_kills: OomKills::default(),
            out_of_memory: false,
            peak_memory: None,
            chance: Chance::new(seed),
            effects: Vec::new(),
        };
        supervisor.plan_clock_check(now);
        supervisor.warn(&warnings);
        for spec in config.services {
            let main = main.filter(|_| spec.name == MAIN);
            let planned = remembered.get(&spec.name);
            let id = supervisor.insert(now, spec, if main.is_some() { Origin::CommandLine } else { Origin::File });
            if let Some(planned) = planned {
                supervisor.recall(now, id, planned);
            }
            supervisor.main = supervisor.main.or(main.map(|main| (id, main)));
            supervisor.welcome.expect(id);
            supervisor.boot.push_back((id, Cause::Boot));
        }
        supervisor
    }

    /// Lets an event happen. The actions must be performed, in order, before the next: the borrow sees to it.
    #[must_use = "what is not performed is lost"]
    pub fn handle(&mut self, now: Now, event: Event) -> std::vec::Drain<'_, Action> {
        if self.is_over() {
            return self.actions.drain(..); // none: the last one has been given
        }
        self.look_at_clock(now);
        match event {
            Event::Connected { client, uid } => drop(self.uids.insert(client, uid)),
            Event::Requested { from, request } => {
                self.acting = self.uids.get(&from.client).copied().map(Actor::User);
                self.requested(now, from, request);
                self.acting = None;
            }
            Event::Disconnected { client } => {
                self.disconnected(client);
                self.dismiss_guest(now, client);
                self.cut_tie(now, client);
            }
            Event::Spawned { id, part: Part::Main, pid } => self.step(now, id, &Input::Spawned(pid)),
            Event::Spawned { id, part: Part::Hook(hook), pid } => {
                self.hooks.insert(pid, (id, hook));
                self.step(now, id, &Input::Hook(hook, HookInput::Spawned(pid)));
            }
            Event::SpawnFailed { id, part: Part::Main, error } => self.step(now, id, &Input::SpawnFailed(error)),
            Event::SpawnFailed { id, part: Part::Hook(hook), error } => {
                self.step(now, id, &Input::Hook(hook, HookInput::SpawnFailed(error)));
            }
            Event::OomKills { kills } => self.oom_kills.count(now.mono, kills),
            Event::Exited { pid, exit, group, peak } => {
                self.peak_memory = self.seen_peak(pid).max(peak);
                self.out_of_memory = self.oom_kills.explain(now.mono, exit);
                match self.hooks.remove(&pid) {
                    Some((id, hook)) => self.step(now, id, &Input::Hook(hook, HookInput::Exited(exit, group))),
                    None => self.step_owner(now, pid, &Input::Exited(exit, group)),
                }
                self.out_of_memory = false;
                self.peak_memory = None;
            }
            Event::Paused { pid } => self.step_owner(now, pid, &Input::WasPaused),
            Event::Resumed { pid } => self.step_owner(now, pid, &Input::WasResumed),
            Event::Drained { id, part: Part::Main } => self.step(now, id, &Input::Drained),
            Event::Drained { id, part: Part::Hook(hook) } => self.step(now, id, &Input::Hook(hook, HookInput::Drained)),
            Event::Strayed { id, part: Part::Main } => self.step(now, id, &Input::Strayed),
            Event::Strayed { id, part: Part::Hook(hook) } => self.step(now, id, &Input::Hook(hook, HookInput::Strayed)),
            Event::Probed { id, attempt, outcome } => self.step(now, id, &Input::Probed(attempt, outcome)),
            Event::Notified { id, notification } => self.step(now, id, &Input::Notified(notification)),
            Event::Executed { client, outcome } => self.executed(now, client, outcome),
            Event::GuestEnded { client, exit } => self.guest_ended(client, exit),
            Event::Alone => self.alone(now),
            Event::FilesChanged { id, changes } => self.step(now, id, &Input::FilesChanged(changes)),
            Event::Sampled { sample, usages, container } => self.sampled(now, sample, usages, container),
            Event::ConfigRead { read, config } => self.config_read(now, read, config),
            Event::Listened { read, outcome } => self.listened(now, read, outcome),
            Event::ReportAsked { number, depth } => self.report_asked(now, number, depth),
            Event::Signalled(signal) => {
                self.acting = Some(Actor::Signal(signal));
                self.signalled(now, signal);
                self.acting = None;
            }
            Event::ClockStepped => {} // it has been looked at, as with every event
            Event::Tick => self.tick(now),
        }
        self.leave_if_done(now);
        self.actions.drain(..)
    }

    /// When the next [`Event::Tick`] is due. In the past: at once. None: never, unless something happens.
    ///
    /// Planned times of the wall clock are not in it: see [`Supervisor::next_plan`].
    pub fn deadline(&self) -> Option<Mono> {
        if self.is_over() {
            return None;
        }
        let at_once = (!self.boot.is_empty() || self.dependencies.is_due()).then_some(Mono(0));
        let service = self.deadlines.first().map(|(at, _)| *at);
        let phase = match self.phase {
            Phase::Stopping { kill_at } | Phase::Sweeping { kill_at } => Some(kill_at),
            Phase::Killing { exit_at } => Some(exit_at),
            Phase::Running | Phase::Over => None,
        };
        let clock = (self.checks_clock() && !self.plans.is_empty()).then_some(self.clock.next);
        let deadlines = [
            at_once,
            service,
            phase,
            clock,
            self.waiting.deadline(),
            self.sampling.deadline(),
            self.guests.deadline(),
            self.memory.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The wall-clock time at which an [`Event::Tick`] is due because a service is planned for it.
    pub fn next_plan(&self) -> Option<Timestamp> {
        self.plans.first().map(|(at, _)| *at).filter(|_| !self.is_over())
    }

    /// The service with this number.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id).map(|entry| &*entry.service)
    }

    /// The service of this name.
    pub fn id_of(&self, name: &str) -> Option<ServiceId> {
        self.names.get(name).copied()
    }

    /// All services, by number.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(|entry| &*entry.service)
    }

    /// Whether the last action has been given.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Gives a service its input, performs the bookkeeping, and tells everybody who should know.
    pub(crate) fn step(&mut self, now: Now, id: ServiceId, input: &Input) {
        let (needs, standing) = (self.needs_of(id), self.standing(id));
        let Some(entry) = self.services.get_mut(&id) else { return };
        let (out_of_memory, watch_interval) = (self.out_of_memory, self.settings.watch_restart_interval);
        let latest = self.latest.get(&id).copied();
        let context = Context { now, zone: &self.zone, chance: self.chance.next(), needs: &needs, out_of_memory, watch_interval, latest };
        let (before, was_busy) = (entry.service.status(), entry.service.is_busy());
        let fired = entry.service.fired();
        let was_killed = entry.service.is_being_killed();
        let mut effects = std::mem::take(&mut self.effects);
        entry.service.step(&context, input, &mut effects);
        self.watch(id);
        self.apply(now, id, before, &mut effects);
        self.effects = effects;
        self.index(id);
        self.remember(id, fired);
        self.tell_the_concerned(id, standing);
        if was_busy && self.is_main(id) {
            self.note_end_of_main(id);
        }
        if was_busy && self.phase != Phase::Running {
            self.note_if_stopped(now, id, was_killed);
        }
        self.after_step(now, id);
    }

    /// What a service must know when the daemon starts again, if that has changed.
    fn remember(&mut self, id: ServiceId, before: Option<Plan>) {
        let Some(service) = self.services.get(&id).map(|entry| &entry.service) else { return };
        let schedule = service.spec().schedule.as_deref().filter(|schedule| schedule.options.missed == Missed::Once);
        if let (Some(plan), Some(schedule)) = (service.fired().filter(|plan| Some(*plan) != before), schedule) {
            let planned = Planned { rule: schedule.rule(), fire: plan.fire };
            self.actions.push(Action::Remember { service: service.spec().name.clone(), planned });
        }
    }

    /// Gives a service back what was remembered of it.
    fn recall(&mut self, now: Now, id: ServiceId, planned: &Planned) {
        let context = Context::quiet(now, &self.zone, self.chance.next());
        if let Some(entry) = self.services.get_mut(&id) {
            entry.service.recall(&context, planned);
        }
        self.index(id);
    }

    /// Adds a service under its number, which must be free; without one, `next_id` must have one left.
    pub(crate) fn insert(&mut self, now: Now, mut spec: ServiceSpec, origin: Origin) -> ServiceId {
        let id = ServiceId(spec.id.or(self.next_id).unwrap_or(u32::MAX));
        spec.id = Some(id.0);
        self.next_id = self.next_id.and_then(|next| Some(next.max(id.0.checked_add(1)?)));
        let context = Context::quiet(now, &self.zone, self.chance.next());
        let service = Service::new(id, spec, &context);
        self.names.insert(service.spec().name.clone(), id);
        self.dependencies.insert(id, service.spec());
        self.concern_those_who_need(service.spec());
        self.services.insert(id, Entry { service: Box::new(service), origin, keys: Keys::default() });
        self.watch(id);
        self.index(id);
        id
    }

    /// Starts a service with the next ticks, if it is still wanted then.
    pub(crate) fn boot_later(&mut self, id: ServiceId, cause: Cause) {
        self.boot.push_back((id, cause));
    }

    /// Whatever it would have started for, it is to wait for its planned time now.
    pub(crate) fn boot_no_more(&mut self, id: ServiceId) {
        self.boot.retain(|(waiting, _)| *waiting != id);
    }

    /// Begins the end of everything.
    pub(crate) fn shut_down(&mut self, now: Now) {
        if self.phase != Phase::Running {
            return;
        }
        self.welcome.forget();
        self.start_nothing();
        self.farewell = Farewell::begin(now.mono);
        self.phase = Phase::Stopping { kill_at: now.mono + self.settings.shutdown_timeout };
        self.latest = self.latest_ends(now.mono, self.settings.shutdown_timeout);
        self.dismiss_guests(now);
        self.step_all(now, &Input::Stop);
    }

    /// How many services have a process, or will have one in a moment.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    fn start_nothing(&mut self) {
        self.boot.clear();
        self.dependencies.start_nothing();
    }

    fn tick(&mut self, now: Now) {
        self.look_at_the_concerned(now, DUE_PER_TICK);
        for _ in 0..DUE_PER_TICK {
            let Some((id, cause)) = self.boot.pop_front() else { break };
            self.step(now, id, &Input::Boot(cause));
        }
        for _ in 0..DUE_PER_TICK {
            match self.deadlines.first().copied() {
                Some((at, id)) if at <= now.mono => self.step(now, id, &Input::Tick),
                Some(_) | None => break,
            }
        }
        for _ in 0..DUE_PER_TICK {
            match self.plans.first().copied() {
                Some((at, id)) if at <= now.wall => self.step(now, id, &Input::Fire),
                Some(_) | None => break,
            }
        }
        self.time_out_waiters(now);
        self.expel_guests(now);
        self.sample_again(now);
        self.look_at_memory(now);
        if matches!(self.phase, Phase::Stopping { kill_at } | Phase::Sweeping { kill_at } if kill_at <= now.mono) {
            self.kill_everything(now);
        }
    }

    /// A child that is no service's main process is an adopted orphan: reaped, and of no interest (R17).
    fn step_owner(&mut self, now: Now, pid: Pid, input: &Input) {
        if let Some(id) = self.pids.get(&pid).copied() {
            self.step(now, id, input);
        }
    }

    /// The most memory that the service of this process was seen to use in this run.
    fn seen_peak(&self, pid: Pid) -> Option<u64> {
        let id = *self.pids.get(&pid)?;
        self.histories.peak(id, self.run_of(Some(id))?)
    }

    fn step_all(&mut self, now: Now, input: &Input) {
        for id in self.in_order(self.services.keys().copied().collect(), input) {
            self.step(now, id, input);
        }
    }

    fn apply(&mut self, now: Now, id: ServiceId, before: ppm_protocol::Status, effects: &mut Vec<Effect>) {
        let Some(entry) = self.services.get(&id) else { return };
        let service = &entry.service;
        let mut from = before;
        for effect in effects.drain(..) {
            match effect {
                Effect::Spawn(cause) => {
                    let usual = if self.is_main(id) { Stdin::Inherited } else { Stdin::Null };
                    let stdin = self.attached.stdin(id).unwrap_or(usual);
                    let launch = service.launch_data(stdin, self.settings.logger.as_ref());
                    self.actions.push(Action::Spawn { id, part: Part::Main, launch: Arc::new(launch), cause });
                }
                Effect::Kill(pid, signal, reach) => self.actions.push(Action::Kill { id, part: Part::Main, pid, signal, reach }),
                Effect::KillStrays(signal) => self.actions.push(Action::KillStrays { id, part: Part::Main, signal }),
                Effect::AskStrays(signal) => self.actions.push(Action::AskStrays { id, part: Part::Main, signal }),
                Effect::Hook(hook, effect) => self.actions.extend(hook_action(service, hook, &effect, self.settings.logger.as_ref())),
                Effect::Probe(attempt) => {
                    self.actions.extend(service.question().map(|question| Action::Probe { id, attempt, question }));
                }
                Effect::StopProbe(attempt) => self.actions.push(Action::StopProbe { id, attempt }),
                Effect::EndDaemon => self.exit_code = self.exit_code.or_else(|| service.last().map(End::code)),
                Effect::Advise(text) => self.actions.push(Action::Announce(Notice::Warning(text))),
                Effect::Impossible(text) => self.actions.push(Action::Announce(Notice::Impossible(text))),
                Effect::Told { kind, pid, exit, reason } => {
                    let peak_memory = exit.and(self.peak_memory);
                    let row = EventRow { peak_memory, ..event_row(now, service, kind, from, pid, exit, reason) };
                    from = row.to;
                    self.journal.tell(row, self.acting, &mut self.actions);
                }
            }
        }
    }

    /// Has files watched for a service as long as it is wanted, also while it is stopped and started: before it starts, so
    /// that no change is missed.
    fn watch(&mut self, id: ServiceId) {
        let Some(Entry { service, keys, .. }) = self.services.get_mut(&id) else { return };
        let watch = service.spec().watch.as_ref().filter(|_| service.is_active()).map(Arc::clone);
        let was_watched = std::mem::replace(&mut keys.watched, watch.is_some());
        match (was_watched, watch) {
            (false, Some(watch)) => {
                let launch = Arc::new(service.launch_data(Stdin::Null, self.settings.logger.as_ref()));
                self.actions.push(Action::Watch { id, launch, watch });
            }
            (true, None) => self.actions.push(Action::Unwatch { id }),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The same, of a service whose form has changed: what was watched may mean something else now.
    pub(crate) fn watch_anew(&mut self, id: ServiceId) {
        if let Some(Entry { service, keys, .. }) = self.services.get_mut(&id) {
            keys.watched &= service.spec().watch.is_none();
        }
        self.watch(id);
    }

    /// Brings the indices in line with a service that may have changed.
    pub(crate) fn index(&mut self, id: ServiceId) {
        let Some(Entry { service, keys, .. }) = self.services.get_mut(&id) else { return };
        let limited = service.spec().max_memory.is_some() && matches!(service.run(), Run::Up(_) | Run::Paused(_)) && !service.is_leaving();
        let (pid, deadline, plan, busy) = (service.pid(), service.deadline(), service.plan(), service.is_busy());
        let new = Keys { pid, deadline, plan, busy, limited, ..*keys };
        let old = std::mem::replace(keys, new);
        if old.pid != new.pid {
            old.pid.map(|pid| self.pids.remove(&pid));
            new.pid.map(|pid| self.pids.insert(pid, id));
        }
        if old.deadline != new.deadline {
            old.deadline.map(|at| self.deadlines.remove(&(at, id)));
            new.deadline.map(|at| self.deadlines.insert((at, id)));
        }
        if old.plan != new.plan {
            old.plan.map(|at| self.plans.remove(&(at, id)));
            new.plan.map(|at| self.plans.insert((at, id)));
        }
        if old.limited != new.limited {
            self.memory.set_limited(id, new.limited);
        }
        self.busy = self.busy + usize::from(new.busy) - usize::from(old.busy);
    }

    fn after_step(&mut self, now: Now, id: ServiceId) {
        let Some(Entry { service, .. }) = self.services.get(&id) else { return };
        if matches!(
            (self.phase, service.run()),
            (Phase::Killing { .. }, Run::Closing { .. } | Run::Stopping { .. } | Run::Up(_) | Run::Paused(_))
        ) {
            return self.step(now, id, &Input::KillNow); // its spawn came to an end too late for a polite stop
        }
        self.answer_waiters(now, id);
        self.look_at_tie(now, id);
        if let Some(line) = self.welcome(now, id) {
            self.announce(Notice::Info(line));
        }
        if let (Some(code), Phase::Running) = (self.exit_code, self.phase) {
            self.end_with(now, id, code);
        }
        let gone = self.services.get(&id).is_some_and(|entry| entry.service.is_gone());
        if gone {
            self.remove(now, id);
        }
    }

    /// An essential service has come to its end, and the daemon with it.
    fn end_with(&mut self, now: Now, id: ServiceId, code: u8) {
        let Some(service) = self.service(id) else { return };
        let (name, reason) = (&service.spec().name, service.reason(now));
        let text = format!("{name} is essential and has ended ({reason}): stopping {} services", self.busy);
        self.announce(if code == 0 { Notice::Info(text) } else { Notice::Warning(text) });
        self.shut_down(now);
    }

    fn remove(&mut self, now: Now, id: ServiceId) {
        self.concern_needs(id); // who waits for others by way of it waits no more
        let Some(Entry { service, .. }) = self.services.remove(&id) else { return };
        self.names.remove(&service.spec().name);
        self.dependencies.remove(id, service.spec());
        self.concern_those_who_need(service.spec());
        if service.spec().log.logger(self.settings.logger.as_ref()).is_some_and(|logger| logger.keeps()) {
            self.actions.push(Action::ForgetOutput { service: service.spec().name.clone() });
        }
        let row = event_row(now, &service, ppm_protocol::EventKind::Removed, service.status(), None, None, String::new());
        self.tell(row);
        self.journal.forget(id.0);
        self.sampling.forget(id);
        self.memory.forget(id);
        self.histories.forget(id);
        if let Some(line) = self.welcome(now, id) {
            self.announce(Notice::Info(line));
        }
        self.answer_waiters_of_removed(now, &service);
    }

    fn disconnected(&mut self, client: ClientId) {
        self.uids.remove(&client);
        self.reading.disconnect(client);
        self.journal.unfollow(client);
        self.waiting.forget(client);
        self.sampling.disconnect(client);
    }

    fn signalled(&mut self, now: Now, signal: Signal) {
        match signal {
            Signal::TERM => self.asked_to_end(now, signal),
            Signal::INT => {
                self.interrupts += 1;
                if self.interrupts > 1 { self.kill_everything(now) } else { self.asked_to_end(now, signal) }
            }
            Signal::QUIT if !self.stands_for_main() || self.phase != Phase::Running => self.kill_everything(now),
            Signal::HUP if !self.stands_for_main() => self.reload(None),
            Signal::USR1 if !self.stands_for_main() => self.actions.push(Action::ReopenLogs),
            _ => self.pass_on(now, signal),
        }
    }

    /// Whether the daemon is nothing but the parent of one command.
    fn stands_for_main(&self) -> bool {
        matches!(self.main, Some((_, Main::Alone)))
    }

    fn is_main(&self, id: ServiceId) -> bool {
        self.main.is_some_and(|(main, _)| main == id)
    }

    fn pass_on(&mut self, now: Now, signal: Signal) {
        if let Some((id, _)) = self.main {
            self.step(now, id, &Input::PassOn(signal));
        }
    }

    /// Whoever started the daemon for a command wants to know how that ended, also when it asked for the end (R28).
    fn note_end_of_main(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id).map(|entry| &entry.service) else { return };
        if self.phase != Phase::Running && service.pid().is_none() && !service.is_about_to_start() {
            self.exit_code = self.exit_code.or_else(|| service.last().map(End::code));
        }
    }

    /// The command of the command line hears the signal itself that ends the daemon.
    fn asked_to_end(&mut self, now: Now, signal: Signal) {
        if self.phase == Phase::Running {
            if let Some(Entry { service, .. }) = self.main.and_then(|(id, _)| self.services.get_mut(&id)) {
                service.ask_with(signal);
            }
            self.announce(Notice::Info(format!("{signal}: stopping {} services", self.busy)));
        }
        self.shut_down(now);
    }

    fn kill_everything(&mut self, now: Now) {
        match self.phase {
            Phase::Over | Phase::Killing { .. } => return,
            Phase::Running => self.farewell = Farewell::begin(now.mono),
            Phase::Stopping { .. } => {}
            Phase::Sweeping { .. } => self.announce(Notice::Warning("no time left: SIGKILL to what belongs to no service".to_owned())),
        }
        self.start_nothing();
        if self.busy > 0 {
            let names: Vec<&str> =
                self.services().filter(|service| service.is_busy()).map(|service| service.spec().name.as_str()).collect();
            let text = format!("no time left: SIGKILL to {}", shortened(&names));
            self.announce(Notice::Warning(text));
        }
        self.phase = Phase::Killing { exit_at: now.mono + LAST_WAIT };
        self.step_all(now, &Input::KillNow);
        self.actions.push(Action::Sweep { signal: Signal::KILL });
    }

    /// When all services have ended, what is nobody's is asked to: what runs was started by them or for them. When
    /// there is no time left, nothing is waited for.
    fn leave_if_done(&mut self, now: Now) {
        match self.phase {
            Phase::Running | Phase::Over | Phase::Sweeping { .. } => {}
            Phase::Stopping { kill_at } if self.busy == 0 => {
                self.phase = Phase::Sweeping { kill_at };
                self.farewell.swept(now.mono);
                self.actions.push(Action::Sweep { signal: Signal::TERM });
            }
            Phase::Stopping { .. } => {}
            Phase::Killing { exit_at } if exit_at <= now.mono => self.leave(now),
            Phase::Killing { .. } => {}
        }
    }

    /// The last child is gone.
    fn alone(&mut self, now: Now) {
        match self.phase {
            Phase::Running | Phase::Stopping { .. } | Phase::Over => {}
            Phase::Sweeping { .. } | Phase::Killing { .. } => self.leave(now),
        }
    }

    fn note_if_stopped(&mut self, now: Now, id: ServiceId, was_killed: bool) {
        let Some(service) = self.services.get(&id).map(|entry| &entry.service) else { return };
        if !service.is_busy() {
            self.farewell.stopped(now.mono, &service.spec().name, was_killed);
        }
    }

    /// Gives the last action. Who used the time is told, and whoever still waits.
    fn leave(&mut self, now: Now) {
        self.phase = Phase::Over;
        let left: Vec<&str> = self.services().filter(|service| service.is_busy()).map(|service| service.spec().name.as_str()).collect();
        let notice = self.farewell.tell(now.mono, &left);
        self.actions.extend(notice.map(Action::Announce));
        let calls = self.waiting.take_calls().chain(self.sampling.take_calls()).chain(self.reading.take_calls());
        for to in calls.chain(self.guests.take_calls()).chain(self.attached.take_calls()) {
            let error = RpcError::new(ErrorCode::Refused, "the daemon has shut down");
            self.actions.push(Action::Respond { to, result: Err(error) });
        }
        let code = self.exit_code.or_else(|| self.code_of_unreaped_main()).unwrap_or(0); // 0: a requested shutdown (R28)
        self.actions.push(Action::Exit { code });
    }

    /// The command of the command line got SIGKILL, and is not waited for any longer.
    fn code_of_unreaped_main(&self) -> Option<u8> {
        let main = self.main.and_then(|(id, _)| self.service(id))?;
        main.pid().map(|_| exit_code(Exit::Signal(Signal::KILL)))
    }

    /// Keeps an event and tells it, with who is behind it.
    pub(crate) fn tell(&mut self, row: EventRow) {
        self.journal.tell(row, self.acting, &mut self.actions);
    }

    /// Replaces the settings; timers that depend on them start over.
    pub(crate) fn set_settings(&mut self, now: Now, settings: Settings) {
        let zone = settings.timezone.clone().unwrap_or_else(|| self.local.clone());
        self.settings = settings;
        self.plan_clock_check(now);
        if zone != self.zone {
            self.zone = zone;
            self.step_planned(now, &Input::Replan);
        }
    }

    /// Tells the first few; `ppm check` tells them all.
    fn warn(&mut self, warnings: &[String]) {
        const TOLD: usize = 5;
        for text in warnings.iter().take(TOLD) {
            self.announce(Notice::Warning(text.clone()));
        }
        if let Some(more @ 1..) = warnings.len().checked_sub(TOLD) {
            self.announce(Notice::Warning(format!("{more} more like these: `ppm check` shows them all")));
        }
    }

    fn announce(&mut self, notice: Notice) {
        self.actions.push(Action::Announce(notice));
    }

    fn checks_clock(&self) -> bool {
        !self.settings.clock_check_interval.is_zero()
    }

    fn plan_clock_check(&mut self, now: Now) {
        self.clock = ClockWatch { seen: now, next: now.mono + self.settings.clock_check_interval };
    }

    /// Compares the two clocks with what they showed at the event before. A daemon sleeps for long, so every event is
    /// a chance to notice before anything is done by the wall clock; small differences are the clock being disciplined,
    /// and do not add up.
    fn look_at_clock(&mut self, now: Now) {
        let expected = self.clock.seen.wall_at(now.mono);
        let by = now.wall.0.saturating_sub(expected.0);
        self.plan_clock_check(now);
        if by.unsigned_abs() <= STEP || self.plans.is_empty() {
            return;
        }
        let direction = if by > 0 { "forward" } else { "back" };
        let size = brief(Duration::from_millis(by.unsigned_abs()));
        let text = format!("the wall clock went {direction} by {size}: it shows {}, {expected} was expected", now.wall);
        self.announce(Notice::Warning(text));
        self.step_planned(now, &Input::ClockSet(by));
    }

    fn step_planned(&mut self, now: Now, input: &Input) {
        let planned: Vec<ServiceId> = self.plans.iter().map(|(_, id)| *id).collect();
        for id in planned {
            self.step(now, id, input);
        }
    }

    /// What must hold between any two events; for tests.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.waiting.check_invariants()?;
        self.check_dependencies()?;
        if let Some(id) = self.sampling.kept().chain(self.histories.kept()).find(|id| !self.services.contains_key(id)) {
            return Err(format!("a reading of {id:?} is kept, which is no more"));
        }
        let limited = self.services().filter(|service| service.spec().max_memory.is_some() && service.pid().is_some());
        if self.memory.count() > limited.count() {
            return Err("the memory of somebody is watched who has no limit, or no process".to_owned());
        }
        let busy = self.services().filter(|service| service.is_busy()).count();
        if busy != self.busy {
            return Err(format!("{busy} services are busy, {} counted", self.busy));
        }
        let of_hooks = |service: &Service| service.hooks().filter_map(|(_, work)| work.pid()).count();
        if self.hooks.len() != self.services().map(of_hooks).sum::<usize>() {
            return Err(format!("{:?} are indexed as hooks", self.hooks));
        }
        for service in self.services() {
            let id = service.id();
            let known = [
                service.pid().is_none_or(|pid| self.pids.get(&pid) == Some(&id)),
                service.deadline().is_none_or(|at| self.deadlines.contains(&(at, id))),
                service.plan().is_none_or(|at| self.plans.contains(&(at, id))),
                self.names.get(&service.spec().name) == Some(&id),
            ];
            if known.contains(&false) {
                return Err(format!("{:?} is not indexed as it is: {known:?}", service.run()));
            }
        }
        let indexed = [self.pids.len(), self.deadlines.len(), self.plans.len()];
        let counted = [
            self.services().filter_map(Service::pid).count(),
            self.services().filter_map(Service::deadline).count(),
            self.services().filter_map(Service::plan).count(),
        ];
        if indexed == counted { Ok(()) } else { Err(format!("indices hold {indexed:?}, services {counted:?}")) }
    }

    /// The calls that have not been answered yet; for tests.
    pub fn pending(&self) -> Vec<&From> {
        self.waiting.calls().chain(self.sampling.calls()).chain(self.reading.calls()).collect()
    }
}

/// What is done for a hook.
fn hook_action(service: &Service, hook: Hook, effect: &HookEffect, logger: Option<&LogKeys>) -> Option<Action> {
    let (id, part) = (service.id(), Part::Hook(hook));
    match *effect {
        HookEffect::Spawn => {
            let launch = Arc::new(service.hook_launch(hook, logger)?);
            Some(Action::Spawn { id, part, launch, cause: service.cause_of(hook) })
        }
        HookEffect::Kill(pid, signal, reach) => Some(Action::Kill { id, part, pid, signal, reach }),
        HookEffect::KillStrays(signal) => Some(Action::KillStrays { id, part, signal }),
        HookEffect::AskStrays(signal) => Some(Action::AskStrays { id, part, signal }),
        HookEffect::Stuck => None,
    }
}

/// The first few names, and how many more there are.
pub(crate) fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
