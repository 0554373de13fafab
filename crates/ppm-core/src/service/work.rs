//! The life of one hook: a process beside the main one, from its start until nothing of it is left.
//!
//! Less than a service: it starts once, has a time to end in, and is then ended like a service, with all that it has
//! left behind (R21): asked, and killed [`GRACE`] later. [`AtWork::step`] is its table. Invariant: [`AtWork::step`] gives
//! its end once, when nothing of it is left.

use std::time::Duration;

use ppm_protocol::{Exit, Signal};

use super::{STRAYS_AFTER, STUCK_AFTER};
use crate::event::{Group, NoStart, Pid};
use crate::spec::Reach;
use crate::time::{Mono, brief};

/// How long after it was asked to end a hook is killed. It has had its time before.
pub const GRACE: Duration = Duration::from_secs(5);

/// What a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookInput {
    /// The spawn came to a successful exec.
    Spawned(Pid),
    /// The spawn failed.
    SpawnFailed(NoStart),
    /// Its process ended.
    Exited(Exit, Group),
    /// What its process left behind ended.
    Drained,
    /// More turned up of what its process left behind.
    Strayed,
}

/// What follows for a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEffect {
    /// Start it.
    Spawn,
    /// Send a signal to its process or its group.
    Kill(Pid, Signal, Reach),
    /// Send a signal to its strays.
    KillStrays(Signal),
    /// Ask those of its strays to end that have not been asked.
    AskStrays(Signal),
    /// The kernel does not let it die (R25); of no effect but to be told.
    Stuck,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEnd {
    /// With exit code 0.
    Good,
    /// With another, or by a signal.
    Failed(Exit),
    /// It had not ended after this time, and was ended.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(NoStart),
    /// It was ended since nobody wanted it any more.
    Cancelled,
}

impl HookEnd {
    /// What failed, if it did.
    pub fn failure(&self) -> Option<NoStart> {
        match self {
            HookEnd::Good | HookEnd::Cancelled => None,
            HookEnd::Failed(exit) => Some(NoStart { why: exit.to_string(), code: super::exit_code(*exit) }),
            HookEnd::TimedOut(limit) => Some(format!("did not end within {}", brief(*limit)).into()),
            HookEnd::NotStarted(error) => Some(error.clone()),
        }
    }
}

/// What there is of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A spawn is under way.
    Starting,
    /// Its process runs.
    Running {
        /// It.
        pid: Pid,
        /// When its time is up; None: never.
        until: Option<Mono>,
    },
    /// Its process was asked to end.
    Stopping {
        /// It.
        pid: Pid,
        /// When its strays are asked; None: they have been.
        strays_at: Option<Mono>,
        /// When SIGKILL follows.
        kill_at: Mono,
    },
    /// Its process was sent SIGKILL.
    Killing {
        /// It.
        pid: Pid,
        /// When to tell that the kernel does not let it die; None: told.
        stuck_at: Option<Mono>,
    },
    /// Its process ended and left others behind, which were asked to end.
    Draining {
        /// Its group.
        group: Pid,
        /// When the strays are asked; None: they have been.
        strays_at: Option<Mono>,
        /// When SIGKILL follows.
        kill_at: Mono,
    },
    /// What its process left behind got SIGKILL.
    Purging {
        /// Its group.
        group: Pid,
        /// When to look again whether anybody is left.
        look_at: Mono,
        /// It was told that they do not die.
        is_stuck: bool,
    },
}

/// How much it is wanted, for the moment when its spawn comes to an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Run,
    End,
    Kill,
}

/// A hook at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    work: Work,
    /// Zero: none.
    limit: Duration,
    /// When nobody wants it any more; None: it has all its time.
    unwanted_at: Option<Mono>,
    wish: Wish,
    /// How it ended, or why it is being ended; None: it does its work.
    end: Option<HookEnd>,
}

impl AtWork {
    /// Begins one that may take this long; zero: as long as it takes.
    pub fn begin(limit: Duration, out: &mut Vec<HookEffect>) -> AtWork {
        out.push(HookEffect::Spawn);
        AtWork { work: Work::Starting, limit, unwanted_at: None, wish: Wish::Run, end: None }
    }

    /// What there is of it.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Its process, from its exec until it has been reaped.
    pub fn pid(&self) -> Option<Pid> {
        match self.work {
            Work::Running { pid, .. } | Work::Stopping { pid, .. } | Work::Killing { pid, .. } => Some(pid),
            Work::Starting | Work::Draining { .. } | Work::Purging { .. } => None,
        }
    }

    /// Whether it has outlived SIGKILL for longer than a process should (R25).
    pub fn is_stuck(&self) -> bool {
        matches!(self.work, Work::Killing { stuck_at: None, .. } | Work::Purging { is_stuck: true, .. })
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<Mono> {
        match self.work {
            Work::Starting => None,
            Work::Running { until, .. } => until.into_iter().chain(self.unwanted_at).min(),
            Work::Stopping { strays_at, kill_at, .. } | Work::Draining { strays_at, kill_at, .. } => {
                Some(strays_at.map_or(kill_at, |at| at.min(kill_at)))
            }
            Work::Killing { stuck_at, .. } => stuck_at,
            Work::Purging { look_at, .. } => Some(look_at),
        }
    }

    /// What happened to it: its whole life. Gives its end when nothing of it is left.
    ///
    /// # Errors
    /// This input cannot happen in its state.
    pub fn step(&mut self, now: Mono, input: &HookInput, out: &mut Vec<HookEffect>) -> Result<Option<HookEnd>, Impossible> {
        match (self.work, input) {
            (Work::Starting, HookInput::Spawned(pid)) => {
                let until = (!self.limit.is_zero()).then_some(now + self.limit);
                self.work = Work::Running { pid: *pid, until };
                match self.wish {
                    Wish::Run => {}
                    Wish::End => self.ask(now, *pid, out),
                    Wish::Kill => self.kill(now, out),
                }
                Ok(None)
            }
            (Work::Starting, HookInput::SpawnFailed(error)) => {
                Ok(Some(self.end.take().unwrap_or_else(|| HookEnd::NotStarted(error.clone()))))
            }
            (Work::Running { pid, .. } | Work::Stopping { pid, .. } | Work::Killing { pid, .. }, HookInput::Exited(exit, group)) => {
                let end = if *exit == Exit::Code(0) { HookEnd::Good } else { HookEnd::Failed(*exit) };
                let end = self.end.take().unwrap_or(end);
                if *group == Group::Empty {
                    return Ok(Some(end));
                }
                self.end = Some(end);
                self.clean_up(now, pid, out);
                Ok(None)
            }
            (Work::Draining { .. } | Work::Purging { .. }, HookInput::Drained) => Ok(Some(self.end.take().unwrap_or(HookEnd::Good))),
            (Work::Draining { group, strays_at, kill_at }, HookInput::Strayed) => {
                self.work = Work::Draining { group, strays_at: strays_at.or(Some(now + STRAYS_AFTER)), kill_at };
                Ok(None)
            }
            (Work::Purging { .. }, HookInput::Strayed) => {
                out.push(HookEffect::KillStrays(Signal::KILL));
                Ok(None)
            }
            (
                Work::Running { .. } | Work::Stopping { .. } | Work::Killing { .. } | Work::Draining { .. } | Work::Purging { .. },
                HookInput::Spawned(_) | HookInput::SpawnFailed(_),
            )
            | (Work::Starting | Work::Draining { .. } | Work::Purging { .. }, HookInput::Exited(..))
            | (
                Work::Starting | Work::Running { .. } | Work::Stopping { .. } | Work::Killing { .. },
                HookInput::Drained | HookInput::Strayed,
            ) => Err(Impossible),
        }
    }

    /// Its deadline may have passed.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<HookEffect>) {
        let is_due = |at: Option<Mono>| at.is_some_and(|at| at <= now);
        match self.work {
            Work::Starting => {}
            Work::Running { pid, until } => {
                if is_due(until) {
                    self.end = Some(HookEnd::TimedOut(self.limit));
                    self.ask(now, pid, out);
                } else if is_due(self.unwanted_at) {
                    self.cancel(now, out);
                }
            }
            Work::Stopping { kill_at, .. } | Work::Draining { kill_at, .. } if kill_at <= now => self.kill(now, out),
            Work::Stopping { pid, strays_at, kill_at } => {
                if is_due(strays_at) {
                    self.work = Work::Stopping { pid, strays_at: None, kill_at };
                    out.push(HookEffect::AskStrays(Signal::TERM));
                }
            }
            Work::Draining { group, strays_at, kill_at } => {
                if is_due(strays_at) {
                    self.work = Work::Draining { group, strays_at: None, kill_at };
                    out.push(HookEffect::AskStrays(Signal::TERM));
                }
            }
            Work::Killing { pid, stuck_at } => {
                if is_due(stuck_at) {
                    self.work = Work::Killing { pid, stuck_at: None };
                    out.push(HookEffect::Stuck);
                }
            }
            Work::Purging { group, look_at, is_stuck } => {
                if look_at <= now {
                    out.extend((!is_stuck).then_some(HookEffect::Stuck));
                    self.work = Work::Purging { group, look_at: now + STUCK_AFTER, is_stuck: true };
                    signal_all(group, Signal::KILL, out);
                }
            }
        }
    }

    /// Nobody wants it any more: it is asked to end, unless it has been, or has ended.
    pub fn cancel(&mut self, now: Mono, out: &mut Vec<HookEffect>) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(HookEnd::Cancelled);
        self.wish = self.wish.max(Wish::End);
        match self.work {
            Work::Running { pid, .. } => self.ask(now, pid, out),
            Work::Starting | Work::Stopping { .. } | Work::Killing { .. } | Work::Draining { .. } | Work::Purging { .. } => {}
        }
    }

    /// Nobody wants it from then on.
    pub fn is_unwanted_at(&mut self, time: Mono) {
        self.unwanted_at = self.unwanted_at.into_iter().chain([time]).min();
    }

    /// There is no time left for it: SIGKILL.
    pub fn kill(&mut self, now: Mono, out: &mut Vec<HookEffect>) {
        self.end.get_or_insert(HookEnd::Cancelled);
        self.wish = Wish::Kill;
        match self.work {
            Work::Running { pid, .. } | Work::Stopping { pid, .. } => {
                self.work = Work::Killing { pid, stuck_at: Some(now + STUCK_AFTER) };
                signal_all(pid, Signal::KILL, out);
            }
            Work::Draining { group, .. } => self.purge(now, group, out),
            Work::Starting | Work::Killing { .. } | Work::Purging { .. } => {}
        }
    }

    /// The polite signal, then SIGCONT, as for a service (R20).
    fn ask(&mut self, now: Mono, pid: Pid, out: &mut Vec<HookEffect>) {
        ask_group(pid, out);
        self.work = Work::Stopping { pid, strays_at: Some(now + STRAYS_AFTER), kill_at: now + GRACE };
    }

    /// Its process has ended, and others of it have not.
    fn clean_up(&mut self, now: Mono, group: Pid, out: &mut Vec<HookEffect>) {
        match self.work {
            Work::Killing { .. } => self.purge(now, group, out),
            Work::Stopping { kill_at, .. } => {
                self.work = Work::Draining { group, strays_at: Some(now + STRAYS_AFTER), kill_at };
            }
            Work::Running { .. } | Work::Starting | Work::Draining { .. } | Work::Purging { .. } => {
                ask_group(group, out);
                self.work = Work::Draining { group, strays_at: Some(now + STRAYS_AFTER), kill_at: now + GRACE };
            }
        }
    }

    fn purge(&mut self, now: Mono, group: Pid, out: &mut Vec<HookEffect>) {
        signal_all(group, Signal::KILL, out);
        self.work = Work::Purging { group, look_at: now + STUCK_AFTER, is_stuck: false };
    }
}

/// This input cannot happen in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;

fn ask_group(group: Pid, out: &mut Vec<HookEffect>) {
    out.extend([Signal::TERM, Signal::CONT].map(|signal| HookEffect::Kill(group, signal, Reach::Group)));
}

fn signal_all(group: Pid, signal: Signal, out: &mut Vec<HookEffect>) {
    out.extend([HookEffect::Kill(group, signal, Reach::Group), HookEffect::KillStrays(signal)]);
}
