//! What a judge knows of one service: only from what went in and what came out, never from the core's own state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ppm_core::event::{Cause, Pid, ServiceId};
use ppm_core::hook::Hook;
use ppm_core::notification::Notification;
use ppm_core::probe::Outcome;
use ppm_core::schedule::{Missed, Options, Overlap, Retry};
use ppm_core::spec::{RestartWhen, ServiceSpec};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_core::watch::OnChange;
use ppm_protocol::{Exit, Signal, Status};

use crate::hooks::Work;
use crate::probed::Probes;

/// How long what got SIGKILL is waited for before it is told that it does not die.
pub const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Up,
    Down,
    Gone,
}

/// A main process from its exec to its reaping.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: Pid,
    pub since: Mono,
    pub paused: bool,
    /// A hook is, or was, at work to end it.
    pub closing: bool,
    /// When the command of `stop` began.
    pub command: Option<Mono>,
    pub asked: Option<Mono>,
    pub strays_asked: bool,
    pub killed: Option<Mono>,
    /// It was asked to end because it had lasted too long.
    pub timed_out: bool,
    /// It was asked to end because it used too much memory.
    pub outgrew: bool,
    /// When its memory was looked at last, or its limit known first.
    pub looked_at: Mono,
    /// What it was asked for may still follow, or a planned run that waits.
    pub by_policy: bool,
}

/// What a main process left behind.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub group: Pid,
    pub asked: bool,
    /// Since when there may be strays that have not been asked.
    pub strays_since: Option<Mono>,
    /// More turned up with this turn.
    pub strayed: bool,
    pub kill_at: Mono,
    pub killed: Option<Mono>,
}

/// How the last run ended.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub end: End,
    pub at: Mono,
    /// Whether the restart policy may follow.
    pub by_policy: bool,
    /// What the daemon leaves with if it ends with this.
    pub code: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Good,
    Crash,
    TimedOut,
    Outgrew,
    Obeyed,
    Disobeyed,
}

/// A service as it must be.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: ServiceId,
    pub spec: ServiceSpec,
    pub wish: Wish,
    pub boots: bool,
    /// Nobody has asked for it yet, nor against it.
    pub unasked: bool,
    /// A start for this cause waits for what it needs.
    pub waits: Option<Cause>,
    pub starting: bool,
    /// `pre_start` is at work, for a start of this cause.
    pub preparing: Option<Cause>,
    /// It has succeeded with this turn.
    pub prepared: Option<Cause>,
    /// Of a run, at most hooks are left.
    pub finishing: bool,
    /// `post_stop` has run after it.
    pub cleaned: bool,
    /// Hooks that are to begin with this turn.
    pub owed: BTreeSet<Hook>,
    /// There is no time left for hooks.
    pub hurried: bool,
    /// When it must have ended in a shutdown.
    pub latest: Option<Mono>,
    pub hooks: BTreeMap<Hook, Work>,
    pub process: Option<Process>,
    pub left: Option<Left>,
    /// A start that is owed as soon as nothing is left.
    pub coming: Option<Cause>,
    pub last: Option<Last>,
    pub empty_since: Mono,
    pub crashes: u32,
    pub starts: u64,
    pub attempts: u64,
    pub ends: u64,
    pub plan: Option<Timestamp>,
    /// Its planned time has come with this turn, and it is to run for this cause.
    pub fires: Option<Cause>,
    /// It has lasted too long with this turn.
    pub overstays: bool,
    /// It was seen to use too much memory with this turn.
    pub outgrows: bool,
    /// A planned run that waits for the end of the one before.
    pub queued: Option<Cause>,
    /// The last planned time that has come, and when the run was to begin.
    pub fired: Option<(Timestamp, Timestamp)>,
    /// Files changed, and nothing has been done about it.
    pub changed: bool,
    /// Something is to be done about it with this turn.
    pub answers: bool,
    /// When that was done last.
    pub acted: Option<Mono>,
    /// When a change was told last.
    pub heard: Option<Mono>,
    /// Whether a change has been told since something was done.
    pub again: bool,
    /// How often in a row that came within a second.
    pub in_a_row: u32,
    pub probes: Probes,
    /// An attempt that has taken too long with this turn.
    pub must_give_up: Option<u64>,
}

impl Known {
    pub fn new(id: ServiceId, spec: ServiceSpec, plan: Option<Timestamp>) -> Known {
        Known {
            id,
            wish: if spec.autostart { Wish::Up } else { Wish::Down },
            boots: spec.autostart && spec.starts_at_once(),
            unasked: !spec.autostart,
            waits: None,
            spec,
            starting: false,
            preparing: None,
            prepared: None,
            finishing: false,
            cleaned: false,
            owed: BTreeSet::new(),
            hurried: false,
            latest: None,
            hooks: BTreeMap::new(),
            process: None,
            left: None,
            coming: None,
            last: None,
            empty_since: Mono(0),
            crashes: 0,
            starts: 0,
            attempts: 0,
            ends: 0,
            plan,
            fires: None,
            overstays: false,
            outgrows: false,
            queued: None,
            fired: None,
            changed: false,
            answers: false,
            acted: None,
            heard: None,
            again: false,
            in_a_row: 0,
            probes: Probes::none(),
            must_give_up: None,
        }
    }

    /// Its process runs, and nobody has asked it to end, or paused it.
    pub fn is_up(&self) -> bool {
        self.process.is_some_and(|process| !process.is_ending() && !process.paused)
    }

    /// The same, and nobody is about to.
    pub fn is_probed(&self) -> bool {
        self.is_up() && self.is_wanted() && self.coming.is_none()
    }

    /// An attempt to probe it ended.
    pub fn probed(&mut self, now: Mono, outcome: &Outcome) {
        let was_ready = self.probes.ready;
        self.overstays |= self.probes.hears(&self.spec, now, outcome) && self.is_probed();
        if self.probes.ready && !was_ready {
            self.owes(Hook::OnReady);
        }
    }

    /// It says something of itself.
    pub fn says(&mut self, now: Mono, said: &Notification) {
        if self.process.is_some_and(|process| !process.is_ending()) {
            let was_ready = self.probes.ready;
            self.overstays |= self.probes.says(&self.spec, now, said) && self.is_probed();
            if self.probes.ready && !was_ready {
                self.owes(Hook::OnReady);
            }
        }
    }

    /// What has come due with a tick.
    pub fn times_out(&mut self, now: Mono) {
        self.overstays |= self.limit().is_some_and(|limit| limit <= now); // also if it is only now to stay
        if !self.is_probed() {
            return;
        }
        if self.probes.is_never_ready(now) || self.probes.is_silent(&self.spec, now) {
            self.overstays = true;
        } else if self.probes.too_late(&self.spec).is_some_and(|at| at <= now) {
            self.must_give_up = self.probes.asked.map(|(number, _)| number);
            self.probed(now, &Outcome::Failed(String::new()));
        }
    }

    /// The signal for its process when files change.
    pub fn reacts_with(&self) -> Option<Signal> {
        match self.spec.watch.as_ref()?.action {
            OnChange::Restart | OnChange::Exec(_) => None,
            OnChange::Signal(signal) => Some(signal),
        }
    }

    /// Whether it is restarted when files change.
    pub fn reacts_with_restart(&self) -> bool {
        self.spec.watch.as_ref().is_none_or(|watch| watch.action == OnChange::Restart)
    }

    /// A program is at work for files that changed, and has to end before another is run for the next.
    pub fn is_handling_changes(&self) -> bool {
        let runs_programs = self.spec.watch.as_ref().is_some_and(|watch| matches!(watch.action, OnChange::Exec(_)));
        runs_programs && self.hooks.contains_key(&Hook::OnChange)
    }

    /// That program has ended.
    pub fn changes_handled(&mut self, now: Mono) {
        if self.process.is_none_or(|process| process.is_ending()) {
            return;
        }
        self.acts(now);
        if self.changed {
            self.hears_of_changes(now);
        }
    }

    fn hears_of_changes(&mut self, now: Mono) {
        if self.heard.is_some_and(|heard| now.since(heard) >= Duration::from_secs(600)) {
            self.in_a_row = 0;
        }
        self.heard = Some(now);
        if let (Some(acted), false) = (self.acted, self.again) {
            self.again = true;
            self.in_a_row = if now.since(acted) <= Duration::from_secs(1) { self.in_a_row + 1 } else { 0 };
        }
    }

    pub fn files_changed(&mut self, now: Mono, interval: Duration) {
        let delay = self.spec.watch.as_ref().map_or(Duration::ZERO, |watch| watch.initial_delay);
        let is_young = self.process.is_some_and(|process| !process.is_ending() && now < process.since + delay);
        if !self.is_wanted() || self.spec.watch.is_none() || is_young {
            return;
        }
        if !self.hooks.contains_key(&Hook::OnChange) {
            self.hears_of_changes(now);
        }
        self.changed = true;
        self.crashes = 0;
        let is_ending = self.process.is_some_and(|process| process.is_ending());
        if is_ending || self.left.is_some() || self.finishing || self.is_preparing_in_vain() {
            self.coming = self.coming.or(Some(Cause::Watch));
            self.forgo_policy();
        }
        self.answers = self.is_to_answer(now, interval);
    }

    /// Its process runs, and changed files may be acted upon.
    pub fn is_to_answer(&self, now: Mono, interval: Duration) -> bool {
        let is_there = self.process.is_some_and(|process| !process.is_ending());
        self.changed && self.is_wanted() && is_there && self.coming.is_none() && self.earliest(interval) <= now
    }

    /// It is to end for changed files, if those have ended that need it.
    pub fn leaves_for_changes(&mut self) {
        let is_there = self.process.is_some_and(|process| !process.is_ending());
        if is_there && self.is_to_leave_for_changes() {
            self.coming = self.coming.or(Some(Cause::Watch));
        }
    }

    pub fn is_to_leave_for_changes(&self) -> bool {
        self.answers && self.changed && self.is_wanted() && self.reacts_with_restart()
    }

    /// Something is done about changed files.
    pub fn acts(&mut self, now: Mono) {
        self.acted = Some(now);
        self.again = false;
    }

    /// When that may be done again.
    pub fn earliest(&self, interval: Duration) -> Mono {
        let doubled = (4..self.in_a_row.min(20)).fold(interval, |distance, _| distance * 2);
        self.acted.map_or(Mono(0), |acted| acted + doubled.min(interval.max(Duration::from_secs(60))))
    }

    pub fn options(&self) -> Options {
        self.spec.schedule.as_deref().map_or(Options::default(), |schedule| schedule.options)
    }

    /// Looks at the plan with a tick: what is due, and what becomes of it. True if that has been before.
    pub fn looks_at_plan(&mut self, now: Now) -> bool {
        self.fires = None;
        let Some(plan) = self.plan.filter(|plan| *plan <= now.wall) else { return false };
        let options = self.options();
        let Grid { period, offset, kind } = Grid::of(self.spec.schedule.as_deref().unwrap().text().as_str());
        let from = if kind == Kind::Period { plan.0 } else { offset };
        let fire = Timestamp(from + (now.wall.0 - from).div_euclid(period) * period);
        let at = fire.max(plan);
        let late = Duration::from_millis((now.wall.0 - at.0).unsigned_abs());
        let is_on_time = late <= options.deadline.unwrap_or(Duration::from_secs(60)) || kind == Kind::Period && options.deadline.is_none();
        let makes_up = match options.missed {
            Missed::Once => true,
            Missed::Auto => kind == Kind::Fixed && late <= Duration::from_secs(3 * 3600),
            Missed::Skip => false,
        };
        self.fires = match (is_on_time, makes_up) {
            (true, _) => Some(Cause::Schedule),
            (false, true) => Some(Cause::Missed),
            (false, false) => None,
        };
        let again = kind == Kind::Fixed && self.fired.is_some_and(|(last, _)| last >= fire);
        self.fired = Some((fire, at));
        again
    }

    /// The wall clock was set while a period runs.
    pub fn clock_set(&mut self, by: i64) {
        let is_period = self.spec.schedule.as_deref().is_some_and(|schedule| schedule.period().is_some());
        if !is_period || self.plan.is_none() {
            return;
        }
        let planned = self.plan.iter_mut();
        planned.chain(self.fired.iter_mut().flat_map(|(fire, at)| [fire, at])).for_each(|time| time.0 += by);
    }

    /// When its process will have lasted too long.
    pub fn limit(&self) -> Option<Mono> {
        let process = self.process.filter(|process| !process.is_ending() && self.is_wanted() && self.coming.is_none())?;
        Some(process.since + self.options().timeout?)
    }

    /// Whether its memory is to be looked at.
    pub fn is_watched(&self) -> bool {
        let runs_on = self.is_wanted() && self.coming.is_none();
        self.spec.max_memory.is_some() && runs_on && self.process.is_some_and(|process| !process.is_ending())
    }

    /// It has lasted too long, and nothing else ends it.
    pub fn is_overdue(&self) -> bool {
        self.overstays && self.is_wanted() && self.coming.is_none()
    }

    pub fn may_be_cut_short(&self) -> bool {
        self.fires.is_some() && self.options().overlap == Overlap::Restart
    }

    /// A planned run meets what is there at the end of a turn.
    pub fn meets(&mut self) {
        let Some(cause) = self.fires.filter(|_| self.is_wanted()) else { return };
        let is_cancelled = self.is_preparing_in_vain();
        let settles = self.process.is_some_and(|process| process.is_ending()) || self.left.is_some() || self.finishing || is_cancelled;
        if settles {
            self.coming = self.coming.or(Some(cause));
        } else if self.process.is_some() && self.coming.is_some() {
            // The start that follows its end, for which it waits, is this run.
        } else if self.process.is_some() && self.options().overlap == Overlap::Queue {
            self.queued = self.queued.or(Some(cause));
        } else if self.may_be_cut_short() && self.process.is_some() {
            self.coming = self.coming.or(Some(cause)); // when those have ended that need it
        }
    }

    /// It was left alone after too many crashes.
    pub fn has_given_up(&self) -> bool {
        let policy = &self.spec.restart;
        let is_over = policy.max_retries > 0 && self.crashes > policy.max_retries;
        let crashed = self.last.is_some_and(|last| last.by_policy && matches!(last.end, End::Crash | End::TimedOut));
        is_over && crashed && policy.when != RestartWhen::Never && self.options().retry == Retry::Policy
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether its output is kept where it can be read; there are no keys for all services in these histories.
    pub fn keeps_output(&self) -> bool {
        self.spec.log.logger(None).is_some_and(|logger| logger.keeps())
    }

    /// Nothing of it runs, or is about to.
    pub fn is_idle(&self) -> bool {
        let prepares = self.preparing.is_some() || self.prepared.is_some();
        self.process.is_none() && !self.starting && self.left.is_none() && !prepares && !self.finishing
    }

    /// Nothing of it is there, hooks included.
    /// Until when it has time that was asked to end then: in a shutdown those are left some that it stands upon.
    pub fn has_time(&self) -> impl Fn(Mono) -> Mono + use<> {
        let (timeout, latest) = (self.spec.stop.timeout, self.latest);
        move |asked| latest.filter(|latest| *latest > asked).map_or(asked + timeout, |latest| latest.min(asked + timeout))
    }

    pub fn is_all_gone(&self) -> bool {
        self.is_idle() && self.hooks.is_empty()
    }

    /// `pre_start` is at work for a start that nobody wants any more.
    fn is_preparing_in_vain(&self) -> bool {
        self.preparing.is_some() && self.hooks.get(&Hook::PreStart).is_some_and(Work::is_cancelled)
    }

    /// Whether its process may be asked to end now.
    pub fn may_be_ended(&self) -> bool {
        let up = self.wish == Wish::Up;
        !up || self.coming.is_some() || self.may_be_cut_short() || self.overstays || self.outgrows || self.is_to_leave_for_changes()
    }

    /// Its process is asked to end, perhaps since what it needs was started anew.
    pub fn begins_to_end(&mut self, follows: bool) {
        if follows && self.coming.is_none() {
            self.coming = Some(Cause::Dependency);
        }
        let fires = self.wish == Wish::Up && self.may_be_cut_short();
        let overstays = self.wish == Wish::Up && self.overstays;
        let outgrows = self.wish == Wish::Up && self.outgrows && self.coming.is_none();
        if outgrows {
            self.coming = Some(Cause::Memory);
        }
        self.leaves_for_changes();
        if let Some(process) = &mut self.process {
            process.outgrew = outgrows;
            process.timed_out = overstays && self.coming.is_none();
        }
        if fires && self.coming.is_none() {
            self.coming = self.fires;
        }
    }

    /// It has outlived SIGKILL for longer than a process should.
    pub fn is_stuck(&self, now: Mono) -> bool {
        let killed = self.process.and_then(|process| process.killed).or(self.left.and_then(|left| left.killed));
        let is_waited_for = self.process.is_none() && !self.starting;
        let hook = is_waited_for && self.hooks.values().any(|work| work.is_stuck(now));
        hook || killed.is_some_and(|at| at + PATIENCE <= now)
    }

    pub fn is_wanted(&self) -> bool {
        self.wish == Wish::Up
    }

    pub fn wish_start(&mut self) {
        let prepares = self.preparing.is_some() && !self.is_preparing_in_vain();
        let runs = self.starting || prepares || self.process.is_some_and(|process| !process.is_ending());
        self.wish_up();
        if !runs {
            self.comes_by_request();
        }
    }

    pub fn wish_restart(&mut self) {
        self.wish_up();
        self.cancel(Hook::PreStart);
        if !self.starting && (self.preparing.is_none() || self.is_preparing_in_vain()) {
            self.comes_by_request();
        }
    }

    fn comes_by_request(&mut self) {
        let start = if self.waits.is_some() { &mut self.waits } else { &mut self.coming };
        *start = Some(Cause::Request);
    }

    /// Somebody needs it, and nobody has said anything of it.
    pub fn wish_needed(&mut self) {
        self.wish_up();
        self.coming = Some(Cause::Needed);
    }

    pub fn wish_rest(&mut self) {
        self.wish_up();
        let runs = self.starting || self.process.is_some_and(|process| !process.is_ending());
        self.changed &= runs && self.coming.is_none();
        (self.coming, self.waits) = (None, None);
        self.forgo_policy();
    }

    pub fn wish_down(&mut self, wish: Wish, now: Mono) {
        if self.wish != Wish::Gone {
            self.wish = wish;
        }
        (self.boots, self.unasked) = (false, false);
        (self.coming, self.waits) = (None, None);
        self.changed = false;
        self.cancel(Hook::PreStart);
        self.hurry_on_crash(now);
        self.cancel(Hook::OnChange);
        self.forgo_policy();
    }

    fn wish_up(&mut self) {
        if self.plan.is_none() {
            self.fired = None;
        }
        self.wish = Wish::Up;
        (self.boots, self.unasked) = (false, false);
        self.crashes = 0;
    }

    fn forgo_policy(&mut self) {
        if let Some(process) = self.process.as_mut().filter(|process| process.is_ending()) {
            process.by_policy = false;
        }
        if let Some(last) = &mut self.last {
            last.by_policy = false;
        }
    }

    pub fn came_up(&mut self, now: Mono, pid: Pid) {
        self.starting = false;
        self.starts += 1;
        self.process = Some(Process {
            pid,
            since: now,
            paused: false,
            closing: false,
            command: None,
            asked: None,
            strays_asked: false,
            killed: None,
            timed_out: false,
            outgrew: false,
            looked_at: now,
            by_policy: true,
        });
        self.queued = None;
        if self.is_wanted() {
            self.owes(Hook::PostStart);
        }
        self.probes.begin(&self.spec, now);
        if self.probes.ready && self.is_wanted() {
            self.owes(Hook::OnReady);
        }
    }

    pub fn did_not_come_up(&mut self, now: Mono, code: u8) {
        self.starting = false;
        self.crashes += 1;
        self.last = Some(Last { end: End::Crash, at: now, by_policy: true, code });
        self.owes(Hook::OnCrash);
        self.finish(now);
    }

    pub fn ended(&mut self, present: Now, exit: Exit, leaves: bool) {
        let now = present.mono;
        let Some(process) = self.process.take() else { return };
        self.crashes = self.crashes_of(now, Some(process));
        let good = match exit {
            Exit::Code(code) => process.is_ending() || code == 0 || self.spec.success_exit_codes.contains(&code),
            Exit::Signal(signal) => signal == Signal::TERM || process.is_ending() && signal == self.spec.stop.signal,
        };
        let overran = process.killed.is_some() && exit == Exit::Signal(Signal::KILL);
        let end = match (process.is_ending(), good && !overran) {
            _ if process.timed_out && self.is_wanted() => End::TimedOut,
            _ if process.outgrew && self.is_wanted() => End::Outgrew,
            (false, true) => End::Good,
            (false, false) => End::Crash,
            (true, true) => End::Obeyed,
            (true, false) => End::Disobeyed,
        };
        match end {
            End::Good => self.crashes = 0,
            End::Crash | End::TimedOut => self.crashes += 1,
            End::Outgrew | End::Obeyed | End::Disobeyed => {}
        }
        let follows = process.by_policy && self.coming.is_none() && (process.timed_out || !process.is_ending());
        let mut by_policy = follows;
        if let Some(cause) = self.queued.take().filter(|_| follows && self.is_wanted()) {
            let is_too_late = |deadline: Duration| {
                let at = self.fired.map_or(0, |(_, at)| at.0);
                at + i64::try_from(deadline.as_millis()).unwrap() < present.wall.0
            };
            if !self.options().deadline.is_some_and(is_too_late) {
                self.coming = Some(cause);
                by_policy = false;
            }
        }
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal.number(),
        };
        self.last = Some(Last { end, at: now, by_policy, code: code.try_into().unwrap() });
        self.cancel(Hook::PostStart);
        self.cancel(Hook::OnReady);
        if matches!(end, End::Crash | End::TimedOut) {
            self.owes(Hook::OnCrash);
        }
        if leaves {
            let grace = self.has_time()(process.command.or(process.asked).unwrap_or(now));
            let asked = process.asked.is_some() && self.spec.stop.reach == ppm_core::spec::Reach::Group;
            let kill_at = if process.killed.is_some() { now } else { grace };
            let asked = asked || process.killed.is_some();
            self.left = Some(Left { group: process.pid, asked, strays_since: Some(now), strayed: false, kill_at, killed: None });
        } else {
            self.finish(now);
        }
    }

    pub fn strayed(&mut self, now: Mono) {
        if let Some(left) = &mut self.left {
            left.strays_since = left.strays_since.or(Some(now));
            left.strayed = true;
        }
    }

    pub fn drained(&mut self, now: Mono) {
        self.left = None;
        self.finish(now);
    }

    /// When the policy starts it again: not before the first, at the latest at the second.
    pub fn restart_window(&self) -> Option<(Cause, Mono, Mono)> {
        let policy = &self.spec.restart;
        let last = self.last.filter(|last| last.by_policy && self.is_wanted() && self.options().retry == Retry::Policy)?;
        match (last.end, policy.when) {
            (End::Crash | End::TimedOut, RestartWhen::OnFailure | RestartWhen::Always) => {
                if policy.max_retries > 0 && self.crashes > policy.max_retries {
                    return None;
                }
                let cap = policy.max_interval.max(policy.interval);
                let plain = (1..self.crashes).fold(policy.interval, |delay, _| (delay * 2).min(cap));
                let most = (plain + plain * u32::from(policy.jitter_percent) / 100).min(cap);
                Some((Cause::Backoff, last.at + plain, last.at + most))
            }
            (End::Good, RestartWhen::Always) => Some((Cause::Restart, last.at + policy.interval, last.at + policy.interval)),
            (End::Crash | End::TimedOut | End::Good, RestartWhen::Never | RestartWhen::OnFailure)
            | (End::Outgrew | End::Obeyed | End::Disobeyed, _) => None,
        }
    }

    /// The exit code that the daemon must leave with, since this service is essential and nothing starts it again.
    pub fn ends_the_daemon(&self) -> Option<u8> {
        let last = self.last.filter(|last| last.by_policy && self.is_wanted() && self.is_idle() && self.spec.essential)?;
        let comes = self.coming.is_some() || self.waits.is_some() || self.changed || self.plan.is_some();
        let is_last = !comes && self.restart_window().is_none();
        is_last.then_some(last.code)
    }

    pub fn status(&self) -> Status {
        match self.process {
            Some(process) if process.paused && !process.is_ending() => return Status::Stopped,
            Some(_) => return Status::Running,
            None if self.left.is_some() => return Status::Running,
            None => {}
        }
        match self.last.map(|last| last.end) {
            None => Status::Created,
            Some(End::Good | End::Obeyed) => Status::Finished,
            Some(End::Crash | End::TimedOut | End::Outgrew | End::Disobeyed) => Status::Crashed,
        }
    }

    pub fn crashes_at(&self, now: Mono) -> u32 {
        self.crashes_of(now, self.process)
    }

    fn crashes_of(&self, now: Mono, process: Option<Process>) -> u32 {
        match process {
            Some(process) if now.since(process.since) > self.spec.restart.reset_after => 0,
            Some(_) | None => self.crashes,
        }
    }
}

impl Process {
    /// It was asked to end, or killed, by the supervisor.
    pub fn is_ending(&self) -> bool {
        self.closing || self.asked.is_some() || self.killed.is_some()
    }
}

/// When the schedules of these histories fire, known without reading them.
struct Grid {
    period: i64,
    offset: i64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Interval,
    Fixed,
    Period,
}

impl Grid {
    fn of(text: &str) -> Grid {
        let (period, offset, kind) = match text {
            "*/10 * * * * *" => (10_000, 0, Kind::Interval),
            "* * * * *" => (60_000, 0, Kind::Interval),
            "5 3 * * *" => (86_400_000, (3 * 60 + 5) * 60_000, Kind::Fixed),
            "@every 25s" => (25_000, 0, Kind::Period),
            other => unreachable!("{other} does not fire"),
        };
        Grid { period, offset, kind }
    }
}
