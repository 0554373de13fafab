//! What a judge knows of one service: only from what went in and what came out, never from the core's own state.

use std::time::Duration;

use ppm_core::event::{Cause, Pid, ServiceId};
use ppm_core::spec::{RestartWhen, ServiceSpec};
use ppm_core::time::{Mono, Timestamp};
use ppm_protocol::{Exit, Signal, Status};

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
    pub asked: Option<Mono>,
    pub strays_asked: bool,
    pub killed: Option<Mono>,
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
    pub starting: bool,
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
    /// Its planned time has come with this turn.
    pub may_fire: bool,
}

impl Known {
    pub fn new(id: ServiceId, spec: ServiceSpec, plan: Option<Timestamp>) -> Known {
        Known {
            id,
            wish: if spec.autostart { Wish::Up } else { Wish::Down },
            boots: spec.autostart && spec.starts_at_once(),
            spec,
            starting: false,
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
            may_fire: false,
        }
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Nothing of it runs, or is about to.
    pub fn is_idle(&self) -> bool {
        self.process.is_none() && !self.starting && self.left.is_none()
    }

    /// It has outlived SIGKILL for longer than a process should.
    pub fn is_stuck(&self, now: Mono) -> bool {
        let killed = self.process.and_then(|process| process.killed).or(self.left.and_then(|left| left.killed));
        killed.is_some_and(|at| at + PATIENCE <= now)
    }

    pub fn is_wanted(&self) -> bool {
        self.wish == Wish::Up
    }

    pub fn wish_start(&mut self) {
        let runs = self.starting || self.process.is_some_and(|process| !process.is_ending());
        self.wish_up();
        if !runs {
            self.coming = Some(Cause::Request);
        }
    }

    pub fn wish_restart(&mut self) {
        self.wish_up();
        if !self.starting {
            self.coming = Some(Cause::Request);
        }
    }

    pub fn wish_rest(&mut self) {
        self.wish_up();
        self.coming = None;
        self.forgo_policy();
    }

    pub fn wish_down(&mut self, wish: Wish) {
        if self.wish != Wish::Gone {
            self.wish = wish;
        }
        self.boots = false;
        self.coming = None;
        self.forgo_policy();
    }

    fn wish_up(&mut self) {
        self.wish = Wish::Up;
        self.boots = false;
        self.crashes = 0;
    }

    fn forgo_policy(&mut self) {
        if let Some(last) = &mut self.last {
            last.by_policy = false;
        }
    }

    pub fn came_up(&mut self, now: Mono, pid: Pid) {
        self.starting = false;
        self.starts += 1;
        self.process = Some(Process { pid, since: now, paused: false, asked: None, strays_asked: false, killed: None });
    }

    pub fn did_not_come_up(&mut self, now: Mono, code: u8) {
        self.starting = false;
        self.crashes += 1;
        self.last = Some(Last { end: End::Crash, at: now, by_policy: true, code });
        self.empty_since = now;
    }

    pub fn ended(&mut self, now: Mono, exit: Exit, leaves: bool) {
        let Some(process) = self.process.take() else { return };
        self.crashes = self.crashes_of(now, Some(process));
        let good = match exit {
            Exit::Code(code) => process.is_ending() || code == 0 || self.spec.success_exit_codes.contains(&code),
            Exit::Signal(signal) => signal == Signal::TERM || process.is_ending() && signal == self.spec.stop.signal,
        };
        let overran = process.killed.is_some() && exit == Exit::Signal(Signal::KILL);
        let end = match (process.is_ending(), good && !overran) {
            (false, true) => End::Good,
            (false, false) => End::Crash,
            (true, true) => End::Obeyed,
            (true, false) => End::Disobeyed,
        };
        match end {
            End::Good => self.crashes = 0,
            End::Crash => self.crashes += 1,
            End::Obeyed | End::Disobeyed => {}
        }
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal.number(),
        };
        self.last = Some(Last { end, at: now, by_policy: !process.is_ending(), code: code.try_into().unwrap() });
        self.empty_since = now;
        if leaves {
            let grace = process.asked.unwrap_or(now) + self.spec.stop.timeout;
            let asked = process.asked.is_some() && self.spec.stop.reach == ppm_core::spec::Reach::Group;
            let kill_at = if process.killed.is_some() { now } else { grace };
            let asked = asked || process.killed.is_some();
            self.left = Some(Left { group: process.pid, asked, strays_since: Some(now), strayed: false, kill_at, killed: None });
        } else {
            self.ends += 1;
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
        self.empty_since = now;
        self.ends += 1;
    }

    /// When the policy starts it again: not before the first, at the latest at the second.
    pub fn restart_window(&self) -> Option<(Cause, Mono, Mono)> {
        let policy = &self.spec.restart;
        let last = self.last.filter(|last| last.by_policy && self.is_wanted())?;
        match (last.end, policy.when) {
            (End::Crash, RestartWhen::OnFailure | RestartWhen::Always) => {
                if policy.max_retries > 0 && self.crashes > policy.max_retries {
                    return None;
                }
                let cap = policy.max_interval.max(policy.interval);
                let plain = (1..self.crashes).fold(policy.interval, |delay, _| (delay * 2).min(cap));
                let most = (plain + plain * u32::from(policy.jitter_percent) / 100).min(cap);
                Some((Cause::Backoff, last.at + plain, last.at + most))
            }
            (End::Good, RestartWhen::Always) => Some((Cause::Restart, last.at + policy.interval, last.at + policy.interval)),
            (End::Crash | End::Good, RestartWhen::Never | RestartWhen::OnFailure) | (End::Obeyed | End::Disobeyed, _) => None,
        }
    }

    /// The exit code that the daemon must leave with, since this service is essential and nothing starts it again.
    pub fn ends_the_daemon(&self) -> Option<u8> {
        let last = self.last.filter(|last| last.by_policy && self.is_wanted() && self.is_idle() && self.spec.essential)?;
        let is_last = self.coming.is_none() && self.plan.is_none() && self.restart_window().is_none();
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
            Some(End::Crash | End::Disobeyed) => Status::Crashed,
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
        self.asked.is_some() || self.killed.is_some()
    }
}
