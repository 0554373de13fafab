//! The invariants, checked with every turn against what a judge knows from the outside.
//!
//! Each rule has a name; a planted fault says by which of them it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ppm_core::event::{Action, Cause, Detail, Event, From, Notice, Part, Pid, Running, ServiceId, Whose};
use ppm_core::hook::Hook;
use ppm_core::max_memory::EVERY;
use ppm_core::names::glob_matches;
use ppm_core::schedule::Missed;
use ppm_core::service::STRAYS_AFTER;
use ppm_core::spec::{MAIN, Reach, Settings};
use ppm_core::supervisor::{Main, Supervisor};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_protocol::message::Answer;
use ppm_protocol::{EventKind, EventRow, Inotify, RpcError, Signal, Watched};

use crate::calls::Calls;
use crate::hooks::check_hooks;
use crate::model::{Known, PATIENCE, Wish};
use crate::needs::{HAS_ITS_NEEDS, OUTLIVES_NOBODY};
use crate::rolling::Roll;
use crate::world::World;

/// How long a shutdown waits for what got the last SIGKILL.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// A step of the wall clock is one of more than so many milliseconds.
const STEP: i64 = 500;

/// How many turns in a row may leave something due: a turn has a limit, but not that many are reached here.
const HURRY: usize = 3;

pub const TOO_SOON: &str = "changed files are not acted upon too soon";

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}\n    {}", self.rule, self.detail)
    }
}

pub type Verdict = Result<(), Violation>;

/// Breaks the rule unless it holds.
pub fn rule(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation { rule, detail: detail() }) }
}

/// A look at memory that is under way.
#[derive(Debug)]
pub struct Look {
    pub sample: u64,
    /// How close.
    pub detail: Detail,
    /// At whom, and since when they run.
    pub runs: Vec<(ServiceId, Mono)>,
}

/// An event and what followed from it.
pub struct Turn<'a> {
    pub now: Now,
    pub event: &'a Event,
    pub actions: &'a [Action],
    /// Whether a tick was part of it: what has come due is done then, and not before.
    pub ticks: bool,
    /// When the next tick is due afterwards, by each clock.
    pub deadline: Option<Mono>,
    pub plan: Option<Timestamp>,
}

/// How far the end of the daemon has come.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    pub kill_at: Mono,
    pub killing_since: Option<Mono>,
    /// Everything that descends from the daemon was asked to end, or killed.
    pub swept: bool,
    /// It was told that it has no child any more.
    pub alone: bool,
    /// Of the essential service with which the daemon ends.
    pub code: Option<u8>,
    /// Whether the command of the command line was there when the end began: its code is passed on then.
    pub with_main: bool,
}

pub struct Judge {
    pub known: BTreeMap<ServiceId, Known>,
    pub calls: Calls,
    pub settings: Settings,
    pub next_id: u32,
    /// Some service needs another, or has.
    pub is_graph: bool,
    pub ending: Option<Ending>,
    /// Whether what is due is done in this turn.
    ticks: bool,
    pub interrupts: u32,
    pub exited: bool,
    pub hurry: usize,
    /// The clocks as they were with the turn before.
    pub seen: Now,
    /// By how many milliseconds the wall clock went back in steps too small to be noticed: so far ahead of it may be what
    /// came before.
    gone_back: i64,
    pub oom_kills: Option<u64>,
    /// Kills by the kernel that no death was laid to.
    pub blamable: u64,
    pub look: Option<Look>,
    pub followers: BTreeMap<From, Vec<String>>,
    /// Restarts of several, one after the other.
    pub rolls: BTreeMap<From, Roll>,
    pub main: Option<(ServiceId, Main)>,
    /// For which services files are watched.
    pub watched: BTreeSet<ServiceId>,
    /// Reports that were asked for and are not there yet.
    pub reports: BTreeSet<u64>,
    /// How the command of the command line ended, when it was removed.
    pub code_of_removed: Option<u8>,
    // Of one turn:
    /// What the command of the command line is to hear.
    pub passed: Option<Signal>,
    pub user_signals: BTreeMap<ServiceId, Signal>,
    pub paused: BTreeSet<ServiceId>,
    pub resumed: BTreeSet<ServiceId>,
    pub asked: BTreeSet<ServiceId>,
    pub woken: BTreeSet<ServiceId>,
    /// What went to a whole group that was not the request to end, and what went to strays.
    pub to_groups: BTreeSet<(ServiceId, i32)>,
    pub to_strays: BTreeSet<(ServiceId, i32)>,
    pub told: Vec<EventRow>,
    pub notified: Vec<(From, EventRow)>,
}

impl Judge {
    pub fn new(settings: Settings, supervisor: &Supervisor, main: Option<Main>, now: Now) -> Judge {
        let known: BTreeMap<ServiceId, Known> =
            supervisor.services().map(|service| (service.id(), Known::new(service.id(), service.spec().clone(), service.plan()))).collect();
        Judge {
            next_id: known.keys().map(|id| id.0 + 1).max().unwrap_or(1),
            calls: Calls::default(),
            is_graph: known.values().any(|known| !known.spec.depends_on.is_empty()),
            settings,
            ending: None,
            ticks: false,
            interrupts: 0,
            exited: false,
            hurry: 0,
            seen: now,
            gone_back: 0,
            oom_kills: None,
            blamable: 0,
            look: None,
            followers: BTreeMap::new(),
            rolls: BTreeMap::new(),
            main: known.values().find(|known| known.name() == MAIN).map(|known| known.id).zip(main),
            known,
            watched: BTreeSet::new(),
            reports: BTreeSet::new(),
            code_of_removed: None,
            passed: None,
            user_signals: BTreeMap::new(),
            paused: BTreeSet::new(),
            resumed: BTreeSet::new(),
            asked: BTreeSet::new(),
            woken: BTreeSet::new(),
            to_groups: BTreeSet::new(),
            to_strays: BTreeSet::new(),
            told: Vec::new(),
            notified: Vec::new(),
        }
    }

    /// Whether the last action has been given.
    pub fn has_seen_the_exit(&self) -> bool {
        self.exited
    }

    /// Looks at a turn; the world is as it was before its actions.
    pub fn watch(&mut self, turn: &Turn<'_>, world: &World, supervisor: &Supervisor) -> Verdict {
        self.begin(turn)?;
        self.hear(turn.now, turn.event);
        self.roll_on(turn.now.mono);
        self.mourn(turn.now);
        // Who is to stay after all may have lasted too long meanwhile.
        for known in self.known.values_mut() {
            known.overstays |= turn.ticks && known.limit().is_some_and(|limit| limit <= turn.now.mono);
        }
        if turn.ticks {
            let interval = self.settings.watch_restart_interval;
            self.known.values_mut().for_each(|known| {
                known.answers |= !known.overstays && known.is_to_answer(turn.now.mono, interval);
                if !known.answers || !known.reacts_with_restart() {
                    known.times_out(turn.now.mono);
                }
            });
        }
        for (at, action) in turn.actions.iter().enumerate() {
            rule(!self.exited, "the exit is the last action", || format!("{action:?}"))?;
            self.see(turn.now, action, world)?;
            if matches!(action, Action::Exit { .. }) {
                rule(at + 1 == turn.actions.len(), "the exit is the last action", || format!("{:?}", turn.actions))?;
            }
        }
        self.conclude(turn)?;
        self.compare(turn.now, supervisor)
    }

    /// Whether what is due is done in this turn.
    pub fn ticks(&self) -> bool {
        self.ticks
    }

    fn begin(&mut self, turn: &Turn<'_>) -> Verdict {
        self.passed = None;
        self.ticks = turn.ticks;
        self.user_signals.clear();
        self.paused.clear();
        self.resumed.clear();
        self.asked.clear();
        self.woken.clear();
        self.to_groups.clear();
        self.to_strays.clear();
        self.told.clear();
        self.notified.clear();
        let by = turn.now.wall.0 - self.seen.wall_at(turn.now.mono).0;
        self.seen = turn.now;
        self.gone_back += if by < 0 && by.abs() <= STEP { -by } else { 0 };
        for known in self.known.values_mut() {
            known.left.iter_mut().for_each(|left| left.strayed = false);
            if by.abs() > STEP {
                known.clock_set(by);
            }
            known.fires = None;
            known.outgrows = false;
            known.must_give_up = None;
            known.answers = false;
            let comes_twice = turn.ticks && known.looks_at_plan(turn.now);
            rule(!comes_twice, "no planned time comes twice", || format!("{known:?}"))?;
            known.overstays = turn.ticks && known.limit().is_some_and(|limit| limit <= turn.now.mono);
        }
        Ok(())
    }
}

/// What came out.
impl Judge {
    fn see(&mut self, now: Now, action: &Action, world: &World) -> Verdict {
        match action {
            Action::Spawn { id, part, cause, .. } => {
                let left = world.spared_before(*id, *part);
                rule(left.is_empty(), "nothing of a service outlives its run", || {
                    format!("{part:?} of {id:?} starts, and of {left:?} somebody lives")
                })?;
                match part {
                    Part::Main => self.see_spawn(now, *id, *cause),
                    Part::Hook(hook) => self.see_hook(now, *id, *hook, *cause),
                }
            }
            Action::Exec { .. } | Action::KillGuest { .. } | Action::TellEnd { .. } => {
                rule(false, "nothing is executed that nobody asked for", || format!("{action:?}"))
            }
            Action::KillStrays { id, part: Part::Main, signal } => {
                self.to_strays.insert((*id, signal.number()));
                Ok(())
            }
            Action::AskStrays { id, part: Part::Main, signal } => self.see_strays_asked(now, *id, *signal),
            Action::KillStrays { .. } | Action::AskStrays { .. } => Ok(()),
            Action::Kill { id, part: Part::Hook(hook), pid, signal, reach } => {
                rule(world.exists(*pid, *reach), "signals reach only what is owned", || format!("{signal} to {pid}, which is not"))?;
                self.see_hook_kill(now.mono, *id, *hook, *pid, *signal)
            }
            Action::Sweep { signal } => self.see_sweep(now, *signal),
            Action::Kill { id, part: Part::Main, pid, signal, reach } => {
                let is_its =
                    |known: &Known| known.process.is_some_and(|p| p.pid == *pid) || known.left.is_some_and(|left| left.group == *pid);
                rule(self.known.get(id).is_some_and(is_its), "signals reach only what is owned", || {
                    format!("{signal} to {pid}, not of {id:?}")
                })?;
                rule(world.exists(*pid, *reach), "signals reach only what is owned", || format!("{signal} to {pid}, which is not"))?;
                self.see_kill(now, *pid, *signal, *reach)
            }
            Action::Probe { id, attempt, .. } => {
                let Some(known) = self.known.get_mut(id) else {
                    return rule(false, "only what runs is probed", || format!("{id:?} is not known"));
                };
                let fine = known.is_probed() && known.probes.asked.is_none() && known.probes.is_wanted(&known.spec);
                rule(fine && *attempt > known.probes.last, "only what runs is probed", || format!("attempt {attempt}: {known:?}"))?;
                (known.probes.asked, known.probes.last) = (Some((*attempt, now.mono)), *attempt);
                Ok(())
            }
            Action::StopProbe { id, attempt } => {
                let Some(known) = self.known.get_mut(id) else { return Ok(()) };
                let is_under_way = known.probes.asked.is_some_and(|(asked, _)| asked == *attempt);
                let is_late = known.must_give_up.take_if(|late| late == attempt).is_some();
                if is_under_way {
                    known.probes.asked = None;
                }
                rule(is_under_way || is_late, "an attempt that is not wanted is stopped", || format!("{attempt}: {known:?}"))
            }
            Action::Sample { sample, whose, running, detail } => {
                if matches!(detail, Detail::Rss | Detail::Pss) {
                    self.see_look(now, *sample, whose, *detail)?;
                }
                let is_known = |one: &Running| self.known.get(&one.id).is_some_and(|known| known.process.is_some_and(|p| p.pid == one.pid));
                let runs = |whose: &Whose| whose.is_none_or(|id| running.iter().any(|one| one.id == id));
                let holds = running.iter().all(is_known) && whose.iter().all(runs);
                rule(holds, "only living processes are read", || format!("{whose:?} of {running:?}"))
            }
            Action::Respond { to, result } => self.see_answer(now, to, result),
            Action::ReadLog { to, answer, .. } => self.see_answer(now, to, &Ok(Answer::Log(answer.clone()))),
            Action::TellWatched { to, services } => {
                let watched = Watched { services: services.clone(), inotify: Inotify::default() };
                self.see_answer(now, to, &Ok(Answer::Watched(watched)))
            }
            Action::TellLives { to, lives, .. } => self.see_answer(now, to, &Ok(Answer::Lives(lives.clone()))),
            Action::Notify { to, event } => {
                self.notified.push((to.clone(), (**event).clone()));
                Ok(())
            }
            Action::Remember { service, planned } => {
                let known = self.known.values().find(|known| known.name() == service);
                let is_asked_for = known.is_some_and(|known| known.options().missed == Missed::Once);
                let has_come = planned.fire.0 <= now.wall.0 + self.gone_back;
                rule(is_asked_for && has_come, "what is remembered is asked for", || format!("{service}: {planned:?}"))
            }
            Action::Watch { id, .. } => {
                self.watched.insert(*id);
                Ok(())
            }
            Action::Unwatch { id } => {
                self.watched.remove(id);
                Ok(())
            }
            Action::Report { number, report } => {
                let was_asked = self.reports.remove(number);
                rule(was_asked && report.services.len() == self.known.len(), "a report is whole, and told once to whoever asked", || {
                    format!("{number}: {report:?}")
                })
            }
            Action::Listen { .. }
            | Action::ReadConfig { .. }
            | Action::SetLogger { .. }
            | Action::ForgetOutput { .. }
            | Action::ReopenLogs => Ok(()),
            Action::Announce(notice) => self.see_notice(now, notice),
            Action::Exit { code } => {
                self.exited = true;
                self.see_exit(now, world)?;
                let right = self.exit_code();
                rule(*code == right, "the exit code is right", || format!("{code}, not {right}"))
            }
        }
    }

    fn see_answer(&mut self, now: Now, to: &From, result: &Result<Answer, RpcError>) -> Verdict {
        self.rolls.remove(to);
        let Some(call) = self.calls.take(to) else {
            return rule(false, "every call is answered once", || format!("{to:?} has no open call"));
        };
        call.check(now, result, self)
    }

    /// That of the essential service that came to its end first, else of the command of the command line, else 0.
    fn exit_code(&self) -> u8 {
        let Some(ending) = self.ending else { return 0 };
        let main = self
            .main
            .and_then(|(id, _)| self.known.get(&id))
            .filter(|main| main.process.is_none() && !main.starting)
            .and_then(|main| main.last);
        let unreaped = self.main.and_then(|(id, _)| self.known.get(&id)).and_then(|main| main.process).map(|_| 137);
        let of_main = main.map(|last| last.code).or(self.code_of_removed).filter(|_| ending.with_main);
        ending.code.or(of_main).or(unreaped).unwrap_or(0)
    }

    /// A main process is started: if there is a `pre_start`, only when that has succeeded, which was the beginning of it.
    fn see_spawn(&mut self, now: Now, id: ServiceId, cause: Cause) -> Verdict {
        if self.known.get(&id).is_some_and(|known| known.has(Hook::PreStart)) {
            let mut prepared = None;
            self.with(id, |known| (prepared, known.starting) = (known.prepared.take(), true));
            return rule(prepared == Some(cause), "nothing starts unprepared", || format!("{:?}", self.known.get(&id)));
        }
        self.see_start(now, id, cause)?;
        self.with(id, |known| known.starting = true);
        Ok(())
    }

    /// A start begins.
    pub fn see_start(&mut self, now: Now, id: ServiceId, cause: Cause) -> Verdict {
        let (is_ending, interval) = (self.ending.is_some(), self.settings.watch_restart_interval);
        if cause == Cause::Needed && self.known.get(&id).is_some_and(|known| known.unasked) {
            self.is_asked_by_need(id)?;
        }
        if let Some(known) = self.known.get(&id) {
            rule(!self.misses(known), HAS_ITS_NEEDS, || format!("spawn by {cause} of {known:?}, of {:?}", self.known))?;
        }
        let Some(known) = self.known.get_mut(&id) else {
            return rule(false, "what is stopped stays so", || format!("{id:?} is not known"));
        };
        let text = || format!("spawn by {cause} of {known:?}");
        rule(known.is_idle(), "there is one incarnation at most", text)?;
        rule(known.is_wanted() && !is_ending, "what is stopped stays so", text)?;
        let window = known.restart_window().filter(|(of, _, _)| *of == cause);
        match cause {
            _ if known.waits == Some(cause) => {}
            Cause::Boot | Cause::Reload => rule(known.boots, "a start has a cause", text)?,
            Cause::Request | Cause::Needed | Cause::Dependency | Cause::Memory => {
                rule(known.coming == Some(cause), "a start has a cause", text)?
            }
            Cause::Schedule | Cause::Missed => {
                rule(known.coming == Some(cause) || known.fires == Some(cause), "a start has a cause", text)?
            }
            Cause::Watch => {
                rule(known.changed, "a start has a cause", text)?;
                rule(known.earliest(interval) <= now.mono, TOO_SOON, text)?;
            }
            Cause::Backoff | Cause::Restart => {
                rule(window.is_some(), "a start has a cause", text)?;
                rule(window.is_some_and(|(_, first, _)| first <= now.mono), "a restart comes after its delay", text)?;
            }
        }
        let is_planned = matches!(cause, Cause::Schedule | Cause::Missed);
        if is_planned && known.coming.is_none() && known.waits.is_none() && known.has_given_up() {
            known.crashes = 0;
        }
        known.boots = false;
        (known.coming, known.waits) = (None, None);
        known.changed = false;
        if cause == Cause::Watch {
            known.acts(now.mono);
        }
        known.attempts += 1;
        Ok(())
    }

    fn see_kill(&mut self, now: Now, pid: Pid, signal: Signal, reach: Reach) -> Verdict {
        let is_killing = self.ending.is_some_and(|ending| ending.killing_since.is_some() || ending.kill_at <= now.mono);
        let interval = self.settings.watch_restart_interval;
        let owns = |known: &&mut Known| known.process.is_some_and(|p| p.pid == pid) || known.left.is_some_and(|left| left.group == pid);
        let id = self.known.values_mut().find(owns).map(|known| known.id);
        let seen = id.and_then(|id| self.known.get(&id));
        let is_held = seen.is_some_and(|known| self.is_held(known, now.mono));
        let is_outdated = seen.is_some_and(|known| self.is_outdated(known));
        let follows = self.follows_now(is_outdated, is_held);
        let Some(known) = id.and_then(|id| self.known.get_mut(&id)) else {
            return rule(false, "signals reach only what is owned", || format!("{signal} to {pid}, which is nobody's"));
        };
        let (wish, coming, process, left) = (known.wish, known.coming, known.process, known.left);
        let text = || format!("{signal} to {reach:?} of {pid}: wish {wish:?}, coming {coming:?}, {process:?}, {left:?}");
        if reach == Reach::Leader && known.reacts_with() == Some(signal) && known.changed && known.is_wanted() {
            rule(known.earliest(interval) <= now.mono, TOO_SOON, text)?;
            known.changed = false;
            known.acts(now.mono);
            return Ok(());
        }
        let (id, stop) = (known.id, known.spec.stop.signal);
        let due = known.has_time();
        if self.passed == Some(signal) && self.main.is_some_and(|(main, _)| main == id) {
            self.passed = None;
            return rule(reach == Reach::Leader, "the command hears what the daemon gets", text);
        }
        if self.user_signals.get(&id) == Some(&signal) {
            self.user_signals.remove(&id);
            self.to_groups.insert((id, signal.number()));
            return rule(reach == Reach::Group, "signals go to the whole service", text);
        }
        if let Some(left) = known.left.as_mut().filter(|left| left.group == pid) {
            rule(reach == Reach::Group, "signals go to the whole service", text)?;
            if signal == stop && !left.asked {
                left.asked = true;
                self.asked.insert(id);
                return Ok(());
            }
            if signal == Signal::KILL {
                rule(left.kill_at <= now.mono || is_killing, "sigkill comes only when it must", text)?;
                left.killed = left.killed.or(Some(now.mono));
                self.to_groups.insert((id, signal.number()));
                return Ok(());
            }
        } else if let Some(process) = &mut known.process {
            if signal == stop && process.asked.is_none() && reach == known.spec.stop.reach {
                process.asked = Some(now.mono);
                if process.closing {
                    let hooks = [Hook::PreStop, Hook::Stop];
                    let is_over = hooks.into_iter().all(|hook| !known.hooks.contains_key(&hook));
                    rule(is_over, "the signal comes after the hooks", text)?;
                } else {
                    let is_first = [Hook::PreStop, Hook::Stop].into_iter().all(|hook| !known.has(hook));
                    rule(is_first, "the signal comes after the hooks", text)?;
                    rule(known.may_be_ended() || is_outdated, "only who is to stop is asked", text)?;
                    let lasts_too_long = known.overstays && coming.is_none() && wish == Wish::Up;
                    rule(!is_held || lasts_too_long, OUTLIVES_NOBODY, text)?;
                    known.begins_to_end(follows);
                }
                if is_outdated && known.coming.is_none() {
                    known.coming = Some(Cause::Dependency);
                }
                self.asked.insert(id);
                return Ok(());
            }
            if signal == Signal::KILL {
                rule(reach == Reach::Group, "signals go to the whole service", text)?;
                let is_due = process.command.or(process.asked).is_some_and(|at| due(at) <= now.mono);
                rule(is_due || is_killing, "sigkill comes only when it must", text)?;
                process.killed = process.killed.or(Some(now.mono));
                known.gives_up_command();
                self.to_groups.insert((id, signal.number()));
                return Ok(());
            }
        }
        match signal {
            Signal::CONT if self.asked.contains(&id) => drop(self.woken.insert(id)),
            Signal::CONT | Signal::STOP => {
                let meant = if signal == Signal::CONT { &self.resumed } else { &self.paused };
                rule(meant.contains(&id), "only who is to stop is asked", text)?;
                self.to_groups.insert((id, signal.number()));
            }
            _ => rule(false, "only who is to stop is asked", text)?,
        }
        rule(reach == Reach::Group, "signals go to the whole service", text)
    }

    /// Only who has a limit and runs is looked at, one look at a time.
    fn see_look(&mut self, now: Now, sample: u64, whose: &[Whose], detail: Detail) -> Verdict {
        let known: Vec<&Known> = whose.iter().filter_map(|whose| self.known.get(&(*whose)?)).collect();
        let fits = known.len() == whose.len() && known.iter().all(|known| known.is_watched());
        rule(fits && self.look.is_none(), "memory is looked at where it is limited", || format!("{whose:?}, beside {:?}", self.look))?;
        let runs = known.iter().filter_map(|known| Some((known.id, known.process?.since))).collect();
        self.look = Some(Look { sample, detail, runs });
        for id in whose.iter().flatten() {
            self.with(*id, |known| known.process.iter_mut().for_each(|process| process.looked_at = now.mono));
        }
        Ok(())
    }

    fn see_strays_asked(&mut self, now: Now, id: ServiceId, signal: Signal) -> Verdict {
        let Some(known) = self.known.get_mut(&id) else {
            return rule(false, "only who is to stop is asked", || format!("strays of {id:?}, which is not known"));
        };
        let text = format!("strays, at {now:?}: {known:?}");
        let by_group = known.spec.stop.reach == Reach::Group;
        let asked = match (&mut known.process, &mut known.left) {
            (Some(process), _) if process.asked.is_some() && by_group => {
                process.strays_asked = true;
                true
            }
            (None, Some(left)) => left.strays_since.take().is_some(),
            _ => false,
        };
        rule(asked && signal == known.spec.stop.signal, "only who is to stop is asked", || text)
    }

    fn see_sweep(&mut self, now: Now, signal: Signal) -> Verdict {
        let alone = self.known.values().all(|known| known.is_all_gone());
        let Some(ending) = &mut self.ending else {
            return rule(false, "only who is to stop is asked", || format!("all get {signal}, and nothing ends"));
        };
        ending.swept = true;
        let killing = ending.killing_since.is_some() || ending.kill_at <= now.mono;
        rule(alone || killing, "only who is to stop is asked", || format!("all get {signal}"))?;
        rule(signal == Signal::TERM || killing, "sigkill comes only when it must", || format!("all get {signal}"))
    }

    fn see_notice(&mut self, now: Now, notice: &Notice) -> Verdict {
        match notice {
            Notice::Service(row) => {
                self.told.push((**row).clone());
                if row.event == EventKind::Exited && row.reason.contains("out of memory") {
                    rule(self.blamable > 0, "memory is blamed only for what the kernel did", || format!("{row:?}"))?;
                    self.blamable -= 1;
                }
                if row.event == EventKind::Unhealthy {
                    // It was to wait for others before it ends for its memory, and ends at once, as one that crashed.
                    self.with(ServiceId(row.id), |known| known.outgrows = false);
                }
                if row.event == EventKind::Blocked {
                    self.see_blocked(now, row)?;
                }
                if row.event == EventKind::Removed {
                    let Some(known) = self.known.remove(&ServiceId(row.id)) else { return Ok(()) };
                    if self.main.is_some_and(|(main, _)| main == known.id) {
                        self.code_of_removed = known.last.map(|last| last.code);
                    }
                    let fine = known.wish == Wish::Gone && known.is_all_gone();
                    return rule(fine, "only what is gone is removed", || format!("{known:?}"));
                }
                Ok(())
            }
            Notice::Impossible(text) => rule(false, "the impossible does not happen", || text.clone()),
            Notice::Info(_) | Notice::Warning(_) => Ok(()),
        }
    }

    fn see_exit(&self, now: Now, world: &World) -> Verdict {
        let Some(ending) = self.ending else {
            return rule(false, "the daemon ends only when asked to", String::new);
        };
        let is_over = ending.killing_since.is_some_and(|since| since + LAST_WAIT <= now.mono);
        let alone = self.known.values().all(|known| known.is_all_gone());
        rule(alone || is_over, "no child is left behind", || format!("{:?}", self.known))?;
        let sentenced = |pid: &Pid| {
            let mut mains = self.known.values().filter_map(|known| known.process);
            let mut hooks = self.known.values().flat_map(|known| known.hooks.values());
            mains.any(|process| process.pid == *pid && process.killed.is_some()) || hooks.any(|work| work.is_killed(*pid))
        };
        // Those who have just been seen are killed with the daemon's last breath.
        let killed_now = |pid: &Pid| {
            let mut left = self.known.values().filter_map(|known| Some((known.id, known.left?)));
            left.any(|(id, left)| left.group == *pid && left.killed.is_some() && self.to_strays.contains(&(id, Signal::KILL.number())))
        };
        let spared: Vec<Pid> = world.spared().into_iter().filter(|pid| !sentenced(pid) && !killed_now(pid)).collect();
        rule(spared.is_empty(), "no child is left behind", || format!("{spared:?} live"))?;
        rule(!world.spares_strangers(), "no child is left behind", || "strangers live".to_owned())?;
        rule(self.calls.is_empty(), "every call is answered once", || format!("left open at the exit: {:?}", self.calls))
    }
}

/// What is owed at the end of a turn.
impl Judge {
    fn conclude(&mut self, turn: &Turn<'_>) -> Verdict {
        let now = turn.now.mono;
        rule(self.passed.is_none(), "the command hears what the daemon gets", || format!("{:?} was not passed on", self.passed))?;
        rule(self.asked == self.woken, "who is asked to stop is woken", || format!("{:?} asked, {:?} woken", self.asked, self.woken))?;
        let killed_late = |(id, signal): &(ServiceId, i32)| {
            *signal == Signal::KILL.number() && self.known.get(id).and_then(|known| known.left).is_some_and(|left| left.strayed)
        };
        let to_strays: BTreeSet<_> =
            self.to_strays.iter().copied().filter(|hit| self.to_groups.contains(hit) || !killed_late(hit)).collect();
        rule(self.to_groups == to_strays, "signals go to the whole service", || {
            format!("{:?} went to groups, {:?} to strays", self.to_groups, self.to_strays)
        })?;
        self.check_followers()?;
        if self.exited {
            return Ok(());
        }
        if let Some(ending) = self.ending.as_mut().filter(|ending| turn.ticks && ending.kill_at <= now) {
            ending.killing_since = ending.killing_since.or(Some(now));
        }
        let is_killing = self.ending.is_some_and(|ending| ending.killing_since.is_some());
        let wanted = self.known.values().filter(|known| known.is_wanted() && known.spec.watch.is_some()).map(|known| known.id);
        let wanted: BTreeSet<ServiceId> = wanted.collect();
        rule(self.watched == wanted, "what is wanted is watched, and nothing else", || format!("{:?}, not {wanted:?}", self.watched))?;
        let interval = self.settings.watch_restart_interval;
        let wakes_at_once = turn.deadline.is_some_and(|at| at <= now);
        for known in self.known.values_mut() {
            known.leaves_for_changes();
            known.meets();
        }
        let follow: Vec<ServiceId> =
            self.known.values().filter(|known| !wakes_at_once && self.follows_later(known)).map(|known| known.id).collect();
        for id in follow {
            self.with(id, |known| known.coming = Some(Cause::Dependency));
        }
        for known in self.known.values() {
            let may_wait = !self.holders(known).is_empty() || self.is_graph && wakes_at_once;
            check_ending(known, now, turn.deadline, is_killing, may_wait)?;
            self.check_waiting(known, wakes_at_once)?;
        }
        for known in self.known.values_mut() {
            check_hooks(known, turn, is_killing)?;
            check_probes(known, turn)?;
            if !known.is_watched() {
                known.process.iter_mut().for_each(|process| process.looked_at = now); // if it stays after all, it counts from here
            }
            let looks_by = known.process.filter(|_| known.is_watched() && self.look.is_none()).map(|process| process.looked_at + EVERY);
            rule(looks_by.is_none_or(|at| turn.deadline.is_some_and(|deadline| deadline <= at)), "memory is looked at in time", || {
                format!("{known:?}, sleeps until {:?}", turn.deadline)
            })?;
            let late = known.left.filter(|left| left.strayed && left.killed.is_some_and(|at| at < now));
            let hit = self.to_strays.contains(&(known.id, Signal::KILL.number()));
            rule(late.is_none() || hit, "sigkill comes in time", || format!("not to those that turned up of {known:?}"))?;
            check_starting(known, turn)?;
            check_changes(known, turn, interval)?;
            known.boots &= !turn.ticks;
        }
        let stuck = self.calls.stuck(now, self);
        rule(stuck.is_empty() || !turn.ticks, "nobody waits for what is stuck", || format!("{stuck:?}"))?;
        let is_due = turn.deadline.is_some_and(|at| at <= now) || turn.plan.is_some_and(|at| at <= turn.now.wall);
        self.hurry = if is_due { self.hurry + usize::from(turn.ticks) } else { 0 };
        rule(self.hurry <= HURRY, "ticks make progress", || format!("{:?} or {:?} is due again and again", turn.deadline, turn.plan))?;
        self.check_end(turn)
    }

    fn check_end(&self, turn: &Turn<'_>) -> Verdict {
        let Some(ending) = self.ending else { return Ok(()) };
        let now = turn.now.mono;
        let alone = self.known.values().all(|known| known.is_all_gone());
        rule(!alone || ending.swept, "the daemon leaves when all have ended", || "nothing is left, and it is still there".to_owned())?;
        rule(!ending.alone, "the daemon leaves when all have ended", || "it was told, and is still there".to_owned())?;
        let wake = ending.killing_since.map_or(ending.kill_at, |since| since + LAST_WAIT);
        rule(wake > now || !turn.ticks, "the shutdown ends in time", || format!("{ending:?} at {now:?}"))?;
        rule(turn.deadline.is_some_and(|at| at <= wake), "the shutdown ends in time", || format!("sleeps until {:?}", turn.deadline))
    }

    fn check_followers(&mut self) -> Verdict {
        let hears = |words: &[String], row: &EventRow| {
            let is_meant = |word: &String| match word.parse::<u32>() {
                Ok(number) => number == row.id,
                Err(_) => word == "all" || glob_matches(word, &row.service),
            };
            words.is_empty() || words.iter().any(is_meant)
        };
        let followers = &self.followers;
        let to_all = |row: &EventRow| {
            let row = row.clone();
            followers.iter().filter(move |(_, words)| hears(words, &row)).map(|(from, _)| from.clone()).collect::<Vec<_>>()
        };
        let wanted: Vec<(From, EventRow)> =
            self.told.iter().flat_map(|row| to_all(row).into_iter().map(|from| (from, row.clone()))).collect();
        rule(wanted == self.notified, "who follows hears it all", || format!("{:?} instead of {wanted:?}", self.notified))
    }

    /// The core's own view must be the judge's.
    fn compare(&self, now: Now, supervisor: &Supervisor) -> Verdict {
        supervisor.check_invariants().or_else(|text| rule(false, "the indices are right", || text))?;
        let seen: BTreeSet<ServiceId> = supervisor.services().map(|service| service.id()).collect();
        let known: BTreeSet<ServiceId> = self.known.keys().copied().collect();
        rule(seen == known, "what is shown is true", || format!("{seen:?}, not {known:?}"))?;
        for service in supervisor.services() {
            let known = &self.known[&service.id()];
            let shown = (service.status(), service.pid(), service.is_active(), service.crashes(now), service.starts());
            let pid = known.process.map(|process| process.pid);
            let is = (known.status(), pid, known.is_wanted(), known.crashes_at(now.mono), known.starts);
            rule(shown == is || self.exited, "what is shown is true", || format!("{shown:?}, not {is:?}: {known:?}"))?;
            let is_ready = known.is_up() && known.probes.ready;
            rule(service.is_ready() == is_ready || self.exited, "what is ready was found so", || format!("{known:?}"))?;
        }
        let pending: BTreeSet<&From> = supervisor.pending().into_iter().collect();
        let open: BTreeSet<&From> = self.calls.open().collect();
        rule(pending == open, "every call is answered once", || format!("the core keeps {pending:?}, open are {open:?}"))
    }

    /// Notes when services are planned, for the next turn.
    pub fn note_plans(&mut self, supervisor: &Supervisor) {
        for service in supervisor.services() {
            self.with(service.id(), |known| known.plan = service.plan());
        }
    }
}

/// Whoever is to end was asked to, and is killed in time.
fn check_ending(known: &Known, now: Mono, deadline: Option<Mono>, is_killing: bool, may_wait: bool) -> Verdict {
    let wakes_by = |at: Mono| deadline.is_some_and(|deadline| deadline <= at);
    let text = || format!("{known:?} at {now:?}, sleeps until {deadline:?}");
    if let Some(process) = known.process {
        let must_end =
            known.wish != Wish::Up || known.coming.is_some() || known.may_be_cut_short() && process.since < now || known.is_overdue();
        rule(!known.outgrows || process.is_ending() || may_wait, "who is to stop is asked", text)?;
        rule(!must_end || process.is_ending() || may_wait && !known.is_overdue(), "who is to stop is asked", text)?;
        rule(!is_killing || process.killed.is_some(), "sigkill comes in time", text)?;
        rule(known.limit().is_none_or(wakes_by), "who is to stop is asked", text)?;
        let closes = [Hook::PreStop, Hook::Stop].into_iter().any(|hook| known.hooks.contains_key(&hook));
        rule(process.asked.is_some() || process.killed.is_some() || !process.closing || closes, "who is to stop is asked", text)?;
        if let (Some(begun), None) = (process.command.or(process.asked), process.killed) {
            rule(wakes_by(known.has_time()(begun)), "sigkill comes in time", text)?;
        }
        if let (Some(asked), None) = (process.asked, process.killed) {
            let due = known.has_time()(process.command.unwrap_or(asked));
            let owed = known.spec.stop.reach == Reach::Group && !process.strays_asked;
            rule(!owed || wakes_by(due.min(asked + STRAYS_AFTER)), "strays are asked too", text)?;
        }
    }
    if let Some(left) = known.left {
        rule(left.asked, "who is to stop is asked", text)?;
        let owed = left.strays_since.filter(|_| left.killed.is_none() && left.kill_at > now);
        rule(owed.is_none_or(|since| wakes_by(left.kill_at.min(since + STRAYS_AFTER))), "strays are asked too", text)?;
        rule(!is_killing || left.killed.is_some(), "sigkill comes in time", text)?;
        let due = left.killed.map_or(left.kill_at, |at| (at + PATIENCE).max(now + PATIENCE));
        rule(wakes_by(due), "sigkill comes in time", text)?;
    }
    Ok(())
}

/// Something is done about changed files as soon as that is allowed.
fn check_changes(known: &Known, turn: &Turn<'_>, interval: Duration) -> Verdict {
    let is_owed = match known.process {
        Some(process) => !process.is_ending() && known.coming.is_none() && !known.is_handling_changes(),
        None => known.is_idle() && known.waits.is_none(),
    };
    if !is_owed || !known.changed || !known.is_wanted() {
        return Ok(());
    }
    let due = known.earliest(interval);
    rule(turn.deadline.is_some_and(|deadline| deadline <= due), "something is done about changed files", || {
        format!("{known:?} at {:?}, due at {due:?}, sleeps until {:?}", turn.now, turn.deadline)
    })
}

/// Whatever runs is probed in time, and nothing else.
fn check_probes(known: &Known, turn: &Turn<'_>) -> Verdict {
    let text = || format!("{known:?} at {:?}, sleeps until {:?}", turn.now, turn.deadline);
    let is_wanted = known.is_probed() && known.probes.is_wanted(&known.spec);
    let is_in_vain = known.probes.asked.is_some() && !is_wanted || known.must_give_up.is_some();
    rule(!is_in_vain, "an attempt that is not wanted is stopped", text)?;
    let wake = known.probes.wake(&known.spec).filter(|_| known.is_probed());
    rule(wake.is_none_or(|at| turn.deadline.is_some_and(|deadline| deadline <= at)), "what runs is probed in time", text)
}

/// Whoever is to start does so in time.
fn check_starting(known: &Known, turn: &Turn<'_>) -> Verdict {
    let text = || format!("{known:?} at {:?}, sleeps until {:?}", turn.now, turn.deadline);
    if !known.is_idle() || !known.is_wanted() {
        return Ok(());
    }
    let boots = known.boots && turn.ticks;
    if known.waits.is_some() {
        return Ok(()); // for others
    }
    if known.changed && known.coming.is_none_or(|cause| cause == Cause::Watch) {
        return Ok(()); // that comes first
    }
    rule(known.coming.is_none() && !boots && known.fires.is_none(), "a start that is owed comes", text)?;
    match known.restart_window() {
        None => Ok(()),
        Some((_, _, last)) => {
            let due = last.max(known.empty_since);
            rule(turn.deadline.is_some_and(|deadline| deadline <= due), "a start that is owed comes", text)
        }
    }
}
