//! Planted faults: what a broken core would do, made by distorting what goes into a right one and what comes out.
//!
//! The judge sees the events as they were and the actions as they became. Each fault says by which rules it may be
//! found; one that is not found, or by another rule, is a hole in the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ppm_core::config::Config;
use ppm_core::event::{Action, Cause, ClientId, Detail, Event, From, Group, Notice, Part, Pid, Running, ServiceId, Stdin, Whose};
use ppm_core::hook::Hook;
use ppm_core::probe::Outcome;
use ppm_core::spec::Reach;
use ppm_core::supervisor::Main;
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_core::usage::Usage;
use ppm_protocol::message::{Answer, Targets};
use ppm_protocol::{Changed, EventKind, EventRow, Exit, Request, Signal};

use crate::needs::{HAS_ITS_NEEDS, OUTLIVES_NOBODY};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NeverKills,
    KillsAtOnce,
    KillsTheLeaderOnly,
    SparesStrays,
    NeverAsksStrays,
    ForgetsLateStrays,
    NeverSweeps,
    NeverAsks,
    AsksTheWrongOne,
    LeavesThePausedAsleep,
    SignalsTheReaped,
    SpawnsTwice,
    RestartsTooEarly,
    ForgetsToRestart,
    ForgetsTheSchedule,
    ForgetsWhoWaits,
    RunsTheMissed,
    RunsATimeTwice,
    LetsOneOverstay,
    LiesAboutTheCause,
    StartsAfterStop,
    StartsAtItsRemoval,
    LosesAnExit,
    AnswersTwice,
    ForgetsAnAnswer,
    ForgetsWhoWaitsForTheRemoved,
    AnswersTooSoon,
    AnswersTheGone,
    RefusesNothing,
    ShowsADeadPid,
    ReadsTheReaped,
    RemovesTheLiving,
    ForgetsAFollower,
    OversleepsDeadlines,
    SpinsAtDeadlines,
    ExitsEarly,
    LeavesStrangers,
    ExitsUnasked,
    ActsAfterTheExit,
    NeverExits,
    ExitsBadly,
    OutlivesTheEssential,
    KeepsSignalsFromMain,
    BlamesMemory,
    NeverLooksAtMemory,
    SparesTheOutgrown,
    EndsTheModest,
    QuotesNobody,
    WatchesOn,
    ForgetsChanges,
    ActsTooSoonOnChanges,
    StartsUnprepared,
    RunsAHookTwice,
    ForgetsAHook,
    NeverAsksHooks,
    NeverKillsHooks,
    AsksBesideTheHook,
    StartsBeforeItsNeeds,
    WaitsForNothing,
    ForgetsTheBlocked,
    ForgetsTheNeeded,
    EndsTheNeededFirst,
    NeverProbes,
    ProbesTwice,
    LetsProbesGoOn,
    HearsLateAnswers,
    TakesFailuresForGood,
    IsDeaf,
}

const STAYS: &str = "what is stopped stays so";
const SHOWN: &str = "what is shown is true";
const ONCE: &str = "every call is answered once";
const OWED: &str = "a start that is owed comes";
const OWNED: &str = "signals reach only what is owned";
const MUST: &str = "who is to stop is asked";
const OUTLIVES: &str = "nothing of a service outlives its run";
const WATCHED: &str = "what is wanted is watched, and nothing else";
const PROBED: &str = "what runs is probed in time";
const IN_TIME: &str = "sigkill comes in time";

/// Every fault, and the rules that may find it.
pub const TABLE: [(Fault, &[&str]); 68] = [
    // Whoever is killed is asked no more, strays neither.
    (Fault::NeverKills, &[IN_TIME, "strays are asked too"]),
    (Fault::KillsAtOnce, &["sigkill comes only when it must", "only who is to stop is asked"]),
    (Fault::KillsTheLeaderOnly, &["signals go to the whole service", OWNED]),
    (Fault::SparesStrays, &["signals go to the whole service"]),
    (Fault::NeverAsksStrays, &["strays are asked too"]),
    (Fault::ForgetsLateStrays, &["strays are asked too", IN_TIME, OUTLIVES, "no child is left behind"]),
    (Fault::NeverSweeps, &["the daemon leaves when all have ended", "no child is left behind"]),
    (Fault::NeverAsks, &[MUST, "only who is to stop is asked", "signals go to the whole service"]),
    (Fault::AsksTheWrongOne, &[OWNED]),
    (Fault::LeavesThePausedAsleep, &["who is asked to stop is woken", "signals go to the whole service"]),
    // The number may be another's by then.
    (Fault::SignalsTheReaped, &[OWNED, "only who is to stop is asked"]),
    (Fault::SpawnsTwice, &["there is one incarnation at most", "a hook runs once at a time"]),
    (
        Fault::RestartsTooEarly,
        &[
            "a restart comes after its delay",
            "sigkill comes only when it must",
            SHOWN,
            "changed files are not acted upon too soon",
            "only who is to stop is asked",
        ],
    ),
    (Fault::ForgetsToRestart, &[OWED]),
    (Fault::ForgetsTheSchedule, &[OWED]),
    (Fault::ForgetsWhoWaits, &[OWED, "a hook has its turn"]),
    (
        Fault::RunsTheMissed,
        &["a start has a cause", "there is one incarnation at most", OUTLIVES, HAS_ITS_NEEDS, "nothing starts unprepared"],
    ),
    // Who makes up for what is long past may do so before.
    (Fault::RunsATimeTwice, &["no planned time comes twice", "a start has a cause", "only who is to stop is asked", OWED]),
    (Fault::LetsOneOverstay, &[MUST, "signals go to the whole service"]),
    (Fault::LiesAboutTheCause, &["a start has a cause"]),
    (Fault::StartsAfterStop, &[STAYS, SHOWN, "a start has a cause"]),
    (Fault::StartsAtItsRemoval, &[STAYS]),
    (
        Fault::LosesAnExit,
        &[
            SHOWN,
            MUST,
            "only what is gone is removed",
            OWED,
            "ticks make progress",
            IN_TIME,
            "the daemon leaves when all have ended",
            "something is done about changed files",
        ],
    ),
    (Fault::AnswersTwice, &[ONCE]),
    (Fault::ForgetsAnAnswer, &[ONCE]),
    (Fault::ForgetsWhoWaitsForTheRemoved, &[ONCE]),
    (Fault::AnswersTooSoon, &["answers are true"]),
    (Fault::AnswersTheGone, &[ONCE, "who follows hears it all"]),
    (Fault::RefusesNothing, &["answers are true"]),
    (Fault::ShowsADeadPid, &[SHOWN]),
    (Fault::ReadsTheReaped, &["only living processes are read"]),
    (Fault::RemovesTheLiving, &["only what is gone is removed"]),
    (Fault::ForgetsAFollower, &["who follows hears it all"]),
    (Fault::OversleepsDeadlines, &["strays are asked too", IN_TIME, OWED, "the shutdown ends in time", PROBED]),
    (Fault::SpinsAtDeadlines, &["ticks make progress"]),
    (Fault::ExitsEarly, &["no child is left behind"]),
    (Fault::LeavesStrangers, &["no child is left behind", "the exit code is right", ONCE]),
    (Fault::ExitsUnasked, &["the daemon ends only when asked to", "the exit code is right", "no child is left behind"]),
    (Fault::ActsAfterTheExit, &["the exit is the last action"]),
    (Fault::NeverExits, &["the daemon leaves when all have ended", "the shutdown ends in time"]),
    (Fault::ExitsBadly, &["the exit code is right"]),
    (Fault::OutlivesTheEssential, &[MUST, SHOWN, WATCHED, "the daemon leaves when all have ended", "the shutdown ends in time"]),
    (Fault::KeepsSignalsFromMain, &["the command hears what the daemon gets"]),
    (Fault::QuotesNobody, &["last words are of those that ended"]),
    (Fault::BlamesMemory, &["memory is blamed only for what the kernel did"]),
    (Fault::NeverLooksAtMemory, &["memory is looked at in time"]),
    (Fault::SparesTheOutgrown, &[MUST]),
    (Fault::EndsTheModest, &["only who is to stop is asked"]),
    (Fault::StartsUnprepared, &["nothing starts unprepared", SHOWN]),
    (Fault::RunsAHookTwice, &["a hook runs once at a time"]),
    (Fault::ForgetsAHook, &["a hook has its turn", MUST]),
    (Fault::NeverAsksHooks, &[MUST, "only who is to stop is asked"]),
    (Fault::NeverKillsHooks, &[IN_TIME, MUST]),
    (Fault::AsksBesideTheHook, &["the signal comes after the hooks", "only who is to stop is asked"]),
    (Fault::WatchesOn, &[WATCHED]),
    (Fault::ForgetsChanges, &["something is done about changed files", SHOWN, MUST]),
    (Fault::ActsTooSoonOnChanges, &["changed files are not acted upon too soon", "only who is to stop is asked"]),
    (Fault::StartsBeforeItsNeeds, &[HAS_ITS_NEEDS]),
    (Fault::WaitsForNothing, &["who waits has a reason", "a start has a cause"]),
    (Fault::ForgetsTheBlocked, &[OWED, "a hook has its turn"]),
    (Fault::ForgetsTheNeeded, &[OWED, "what is wanted is watched, and nothing else"]),
    (Fault::EndsTheNeededFirst, &[OUTLIVES_NOBODY, "the signal comes after the hooks"]),
    (
        Fault::NeverProbes,
        &["only who is to stop is asked", PROBED, "what is ready was found so", "an attempt that is not wanted is stopped"],
    ),
    (Fault::ProbesTwice, &["only what runs is probed"]),
    (Fault::LetsProbesGoOn, &["an attempt that is not wanted is stopped"]),
    (
        Fault::HearsLateAnswers,
        &[
            "a hook has its turn",
            "an attempt that is not wanted is stopped",
            "what is ready was found so",
            MUST,
            "only who is to stop is asked",
            "only what runs is probed",
            PROBED,
        ],
    ),
    (
        Fault::IsDeaf,
        &[
            "what is ready was found so",
            MUST,
            PROBED,
            "only who is to stop is asked",
            "only what runs is probed",
            "an attempt that is not wanted is stopped",
        ],
    ),
    (Fault::TakesFailuresForGood, &["what is ready was found so", MUST, PROBED, HAS_ITS_NEEDS]),
];

/// The client that the faults themselves use.
const GHOST: ClientId = ClientId(u64::MAX);

/// A fault at work, or none.
#[derive(Debug, Default)]
pub struct Planted {
    fault: Option<Fault>,
    count: usize,
    reaped: Option<Pid>,
    alive: Vec<Pid>,
    main: BTreeMap<ServiceId, Pid>,
    /// Processes of `pre_start`.
    preparing: BTreeSet<Pid>,
    owners: BTreeMap<Pid, ServiceId>,
    /// Those that have got any signal.
    asked: BTreeSet<Pid>,
    answered: Option<From>,
    /// The last attempt of each service.
    probes: BTreeMap<ServiceId, u64>,
}

impl Planted {
    pub fn new(fault: Option<Fault>) -> Planted {
        Planted { fault, ..Planted::default() }
    }

    /// The command of the command line, where the fault may have one: one that makes the daemon leave knows no exit code.
    pub fn main(&self, main: Option<Main>) -> Option<Main> {
        main.filter(|_| self.fault != Some(Fault::LeavesStrangers))
    }

    /// What the core is made to be, instead of this.
    pub fn is_made(&self, config: Config) -> Config {
        let mut config = config;
        if self.fault == Some(Fault::ActsTooSoonOnChanges) {
            config.settings.watch_restart_interval /= 2;
        }
        if self.fault == Some(Fault::OutlivesTheEssential) {
            config.services.iter_mut().for_each(|spec| spec.essential = false);
        }
        if self.fault == Some(Fault::EndsTheNeededFirst) {
            for spec in &mut config.services {
                (spec.stop.signal, spec.stop.reach) = (Signal::TERM, Reach::Group);
                (spec.stop_command, spec.hooks) = (None, Default::default());
            }
        }
        config
    }

    /// When the core believes it to be.
    pub fn clock(&self, now: Now, event: &Event) -> Now {
        match (self.fault, event) {
            (Some(Fault::RestartsTooEarly), Event::Exited { group: Group::Empty, .. }) => {
                Now { mono: Mono(now.mono.0 - 400_000_000), ..now } // 400 ms ago
            }
            (Some(Fault::RunsATimeTwice), Event::ClockStepped) => {
                Now { wall: Timestamp(now.wall.0 - 5 * 3_600_000), ..now } // what has run is forgotten
            }
            _ => now,
        }
    }

    /// What the core is told instead.
    pub fn hears(&mut self, event: &Event) -> Vec<Event> {
        self.note(event);
        match (self.fault, event) {
            (Some(Fault::LosesAnExit), Event::Exited { .. }) if self.now_and_then(3) => Vec::new(),
            (Some(Fault::AnswersTooSoon), Event::Requested { from, request: Request::Stop(targets) }) => {
                let request = Request::Stop(Targets { wait: false, ..targets.clone() });
                vec![Event::Requested { from: from.clone(), request }]
            }
            (Some(Fault::StartsAfterStop), Event::Requested { request: Request::Stop(targets), .. }) => {
                let from = From { client: GHOST, call: None };
                let request = Request::Start(Targets { wait: false, ..targets.clone() });
                vec![event.clone(), Event::Requested { from, request }]
            }
            (Some(Fault::StartsUnprepared), Event::Exited { pid, exit, group, .. })
                if self.preparing.contains(pid) && *exit != Exit::Code(0) =>
            {
                vec![Event::Exited { pid: *pid, exit: Exit::Code(0), group: *group, peak: None }]
            }
            (Some(Fault::RunsATimeTwice), Event::ClockStepped) => vec![event.clone(), Event::Resumed { pid: Pid(0) }],
            (Some(Fault::BlamesMemory), Event::OomKills { kills }) => {
                self.count += 1;
                vec![Event::OomKills { kills: kills + self.count as u64 }]
            }
            (Some(Fault::SparesTheOutgrown), Event::Sampled { sample, usages, .. }) => vec![with_memory(*sample, usages, 0)],
            (Some(Fault::EndsTheModest), Event::Sampled { sample, usages, .. }) => vec![with_memory(*sample, usages, u64::MAX)],
            (Some(Fault::ForgetsChanges), Event::FilesChanged { .. }) if self.now_and_then(3) => Vec::new(),
            (Some(Fault::HearsLateAnswers), Event::Probed { id, attempt, outcome }) => {
                let attempt = self.probes.get(id).copied().unwrap_or(*attempt);
                vec![Event::Probed { id: *id, attempt, outcome: outcome.clone() }]
            }
            (Some(Fault::TakesFailuresForGood), Event::Probed { id, attempt, .. }) => {
                vec![Event::Probed { id: *id, attempt: *attempt, outcome: Outcome::Passed }]
            }
            (Some(Fault::IsDeaf), Event::Notified { .. }) => Vec::new(),
            (Some(Fault::AnswersTheGone), Event::Disconnected { .. }) => Vec::new(),
            (Some(Fault::ForgetsLateStrays), Event::Strayed { .. }) => Vec::new(),
            _ => vec![event.clone()],
        }
    }

    /// What is done instead.
    pub fn does(&mut self, event: &Event, actions: Vec<Action>) -> Vec<Action> {
        let mut actions: Vec<Action> =
            actions.into_iter().filter(|action| !matches!(action, Action::Respond { to, .. } if to.client == GHOST)).collect();
        let probes =
            actions.iter().filter_map(|action| if let Action::Probe { id, attempt, .. } = action { Some((*id, *attempt)) } else { None });
        self.probes.extend(probes);
        let Some(fault) = self.fault else { return actions };
        self.asked.extend(actions.iter().filter_map(|action| if let Action::Kill { pid, .. } = action { Some(*pid) } else { None }));
        let has = |actions: &[Action], is: fn(&Action) -> bool| actions.iter().any(is);
        match fault {
            Fault::NeverKills => {
                actions.retain(|action| {
                    !matches!(action, Action::Kill { signal: Signal::KILL, .. } | Action::KillStrays { signal: Signal::KILL, .. })
                });
            }
            Fault::NeverLooksAtMemory => actions.retain(|action| !matches!(action, Action::Sample { detail: Detail::Rss, .. })),
            Fault::WatchesOn => actions.retain(|action| !matches!(action, Action::Unwatch { .. })),
            Fault::NeverAsks => actions.retain(|action| !matches!(action, Action::Kill { signal: Signal::TERM, .. })),
            Fault::NeverAsksHooks => {
                actions.retain(|action| !matches!(action, Action::Kill { part: Part::Hook(_), signal: Signal::TERM, .. }));
            }
            Fault::NeverKillsHooks => {
                actions.retain(|action| !matches!(action, Action::Kill { part: Part::Hook(_), signal: Signal::KILL, .. }));
            }
            Fault::ForgetsAHook => actions.retain(|action| {
                !matches!(action, Action::Spawn { part: Part::Hook(Hook::PostStop | Hook::OnCrash | Hook::PostStart), .. })
            }),
            Fault::RunsAHookTwice => {
                let spawn = actions.iter().find(|action| matches!(action, Action::Spawn { part: Part::Hook(_), .. })).cloned();
                actions.extend(spawn);
            }
            Fault::AsksBesideTheHook => {
                let closing = actions.iter().find_map(|action| match action {
                    Action::Spawn { id, part: Part::Hook(Hook::PreStop | Hook::Stop), .. } => self.main.get(id).map(|pid| (*id, *pid)),
                    _ => None,
                });
                actions.extend(closing.map(|(id, pid)| Action::Kill {
                    id,
                    part: Part::Main,
                    pid,
                    signal: Signal::TERM,
                    reach: Reach::Group,
                }));
            }
            Fault::SparesStrays => actions.retain(|action| !matches!(action, Action::KillStrays { .. })),
            Fault::NeverAsksStrays => actions.retain(|action| !matches!(action, Action::AskStrays { .. })),
            Fault::NeverSweeps => actions.retain(|action| !matches!(action, Action::Sweep { .. })),
            Fault::LeavesStrangers if has(&actions, |action| matches!(action, Action::Sweep { signal: Signal::TERM })) => {
                actions.push(Action::Exit { code: 0 });
            }
            Fault::LeavesThePausedAsleep => actions.retain(|action| !matches!(action, Action::Kill { signal: Signal::CONT, .. })),
            Fault::ForgetsToRestart => actions.retain(|action| !matches!(action, Action::Spawn { cause: Cause::Backoff, .. })),
            Fault::ForgetsTheSchedule => actions.retain(|action| !matches!(action, Action::Spawn { cause: Cause::Schedule, .. })),
            Fault::ForgetsWhoWaits if matches!(event, Event::Exited { .. }) => {
                actions.retain(|action| !matches!(action, Action::Spawn { cause: Cause::Schedule | Cause::Missed, .. }));
            }
            Fault::RunsTheMissed => {
                let missed =
                    actions.iter().find_map(|action| told(action, EventKind::Skipped)).filter(|row| row.reason.starts_with("missed"));
                actions.extend(missed.map(|row| spawn_of(ServiceId(row.id), Cause::Schedule)));
            }
            Fault::StartsBeforeItsNeeds => {
                let blocked = actions.iter().find_map(|action| told(action, EventKind::Blocked)).map(|row| ServiceId(row.id));
                actions.extend(blocked.map(|id| spawn_of(id, Cause::Request)));
            }
            Fault::WaitsForNothing if has(&actions, |action| matches!(action, Action::Spawn { .. })) => {
                for action in &mut actions {
                    let Action::Announce(Notice::Service(row)) = action else { continue };
                    *row = Arc::new(EventRow { event: EventKind::Blocked, ..(**row).clone() });
                }
            }
            Fault::ForgetsTheBlocked if matches!(event, Event::Spawned { .. }) => {
                actions.retain(|action| !matches!(action, Action::Spawn { .. }));
            }
            Fault::ForgetsTheNeeded => actions.retain(|action| !matches!(action, Action::Spawn { cause: Cause::Needed, .. })),
            Fault::EndsTheNeededFirst if matches!(event, Event::Signalled(Signal::TERM)) && has(&actions, is_stop_signal) => {
                let spared: Vec<Pid> = self.alive.iter().copied().filter(|pid| !self.asked.contains(pid)).collect();
                for (pid, id) in spared.into_iter().filter_map(|pid| Some((pid, *self.owners.get(&pid)?))) {
                    let kill = |signal| Action::Kill { id, part: Part::Main, pid, signal, reach: Reach::Group };
                    actions.extend([kill(Signal::TERM), kill(Signal::CONT)]);
                }
            }
            Fault::LetsOneOverstay if actions.iter().any(|action| told(action, EventKind::TimedOut).is_some()) => {
                actions.retain(|action| {
                    !matches!(action, Action::Kill { part: Part::Main, .. } | Action::KillStrays { part: Part::Main, .. })
                });
            }
            Fault::ForgetsWhoWaitsForTheRemoved if has(&actions, is_removal) => {
                actions.retain(|action| !matches!(action, Action::Respond { .. }));
            }
            Fault::ForgetsAnAnswer if self.now_and_then(20) => actions.retain(|action| !matches!(action, Action::Respond { .. })),
            Fault::ForgetsAFollower => actions.retain(|action| !matches!(action, Action::Notify { .. })),
            Fault::KeepsSignalsFromMain if matches!(event, Event::Signalled(signal) if signal.number() > 20) => {
                actions.retain(|action| !matches!(action, Action::Kill { reach: Reach::Leader, .. }));
            }
            Fault::NeverProbes => actions.retain(|action| !matches!(action, Action::Probe { .. })),
            Fault::LetsProbesGoOn => actions.retain(|action| !matches!(action, Action::StopProbe { .. })),
            Fault::ProbesTwice => {
                let probe = actions.iter().find(|action| matches!(action, Action::Probe { .. })).cloned();
                actions.extend(probe);
            }
            Fault::NeverExits => actions.retain(|action| !matches!(action, Action::Exit { .. })),
            Fault::SignalsTheReaped => {
                if let (Some(pid), Event::Tick, false) = (self.reaped, event, has(&actions, is_exit)) {
                    actions.push(Action::Kill { id: ServiceId(1), part: Part::Main, pid, signal: Signal::TERM, reach: Reach::Group });
                }
            }
            Fault::AnswersTwice if self.now_and_then(20) => {
                if let Some(to) = self.answered.clone() {
                    actions.push(Action::Respond { to, result: Ok(Answer::Changed(Changed::default())) });
                }
            }
            Fault::SpawnsTwice => {
                let spawn = actions.iter().find(|action| matches!(action, Action::Spawn { .. })).cloned();
                actions.extend(spawn);
            }
            Fault::StartsAtItsRemoval => {
                let gone = actions.iter().find_map(removed_by);
                actions.extend(gone.map(|id| spawn_of(id, Cause::Request)));
            }
            Fault::ExitsEarly if has(&actions, is_stop_signal) && matches!(event, Event::Signalled(_)) => {
                actions.push(Action::Exit { code: 0 });
            }
            Fault::ExitsUnasked if matches!(event, Event::Signalled(Signal::HUP)) => actions.push(Action::Exit { code: 0 }),
            Fault::ActsAfterTheExit if has(&actions, is_exit) => actions.push(Action::Announce(Notice::Info("bye".to_owned()))),
            _ => actions.iter_mut().for_each(|action| self.distort(fault, action)),
        }
        self.answered =
            actions.iter().rev().find_map(|action| if let Action::Respond { to, .. } = action { Some(to.clone()) } else { None });
        actions
    }

    /// When the daemon is woken instead.
    pub fn wakes(&self, now: Now, deadline: Option<Mono>) -> Option<Mono> {
        match self.fault {
            Some(Fault::OversleepsDeadlines) => deadline.map(|at| at + Duration::from_secs(2)),
            Some(Fault::SpinsAtDeadlines) => deadline.map(|_| now.mono),
            Some(_) | None => deadline,
        }
    }

    fn distort(&mut self, fault: Fault, action: &mut Action) {
        match (fault, action) {
            (Fault::KillsAtOnce, Action::Kill { signal, reach, .. }) if *signal == Signal::TERM => {
                (*signal, *reach) = (Signal::KILL, Reach::Group);
            }
            (Fault::KillsTheLeaderOnly, Action::Kill { signal: Signal::KILL, reach, .. }) => *reach = Reach::Leader,
            (Fault::AsksTheWrongOne, Action::Kill { pid, signal: Signal::TERM, .. }) => {
                let other = self.alive.iter().find(|alive| *alive != pid);
                *pid = other.copied().unwrap_or(*pid);
            }
            (Fault::LiesAboutTheCause, Action::Spawn { cause, .. }) if *cause == Cause::Backoff => *cause = Cause::Request,
            (Fault::ReadsTheReaped, Action::Sample { running, .. }) => {
                let reaped = self.reaped.filter(|pid| !self.alive.contains(pid));
                running.extend(reaped.map(|pid| Running { id: ServiceId(1), pid, name: String::new() }));
            }
            (Fault::RefusesNothing, Action::Respond { result, .. }) if result.is_err() => *result = Ok(Answer::Changed(Changed::default())),
            (Fault::ShowsADeadPid, Action::Respond { result: Ok(Answer::Services(rows)), .. }) => {
                for row in rows.iter_mut().filter(|row| row.pid.is_none()) {
                    row.pid = self.reaped.map(|pid| pid.0);
                }
            }
            (Fault::RemovesTheLiving, Action::Announce(Notice::Service(row))) if row.event == EventKind::Stopping => {
                *row = Arc::new(EventRow { event: EventKind::Removed, ..(**row).clone() });
            }
            (Fault::QuotesNobody, Action::TellLives { lives, .. }) => {
                lives.iter_mut().flat_map(|life| &mut life.output).for_each(|words| words.pid += 1);
            }
            (Fault::ExitsBadly, Action::Exit { code }) => *code ^= 1,
            _ => {}
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Spawned { id, part, pid } => {
                self.alive.push(*pid);
                self.preparing.remove(pid);
                match part {
                    Part::Main => drop(self.main.insert(*id, *pid)),
                    Part::Hook(Hook::PreStart) => drop(self.preparing.insert(*pid)),
                    Part::Hook(_) => {}
                }
                self.owners.remove(pid);
                self.owners.extend((*part == Part::Main).then_some((*pid, *id)));
                self.asked.remove(pid);
            }
            Event::Exited { pid, exit, .. } => {
                self.alive.retain(|alive| alive != pid);
                self.reaped = (*exit != Exit::Code(77)).then_some(*pid);
            }
            _ => {}
        }
    }

    fn now_and_then(&mut self, every: usize) -> bool {
        self.count += 1;
        self.count.is_multiple_of(every)
    }
}

/// The same, but with this much proportional memory.
fn with_memory(sample: u64, usages: &[(Whose, Usage)], bytes: u64) -> Event {
    let usages = usages.iter().map(|(whose, usage)| (*whose, Usage { pss: usage.pss.map(|_| bytes), ..*usage })).collect();
    Event::Sampled { sample, usages, container: None }
}

fn is_exit(action: &Action) -> bool {
    matches!(action, Action::Exit { .. })
}

fn is_stop_signal(action: &Action) -> bool {
    matches!(action, Action::Kill { signal: Signal::CONT, .. })
}

fn is_removal(action: &Action) -> bool {
    removed_by(action).is_some()
}

fn spawn_of(id: ServiceId, cause: Cause) -> Action {
    let command = ppm_core::spec::Command::default();
    let launch = ppm_core::event::Launch {
        name: "x".to_owned(),
        command,
        logger: None,
        stdin: Stdin::Null,
        voice: Default::default(),
        awaits: None,
        told: Vec::new(),
    };
    Action::Spawn { id, part: Part::Main, launch: Arc::new(launch), cause }
}

/// What is told of a service, if it is of this kind.
fn told(action: &Action, kind: EventKind) -> Option<&EventRow> {
    match action {
        Action::Announce(Notice::Service(row)) if row.event == kind => Some(row),
        _ => None,
    }
}

fn removed_by(action: &Action) -> Option<ServiceId> {
    told(action, EventKind::Removed).map(|row| ServiceId(row.id))
}
