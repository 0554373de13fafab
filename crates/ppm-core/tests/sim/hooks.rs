//! What a judge knows of the hooks of services, and the rules for them.

use std::time::Duration;

use ppm_core::event::{Cause, Group, Pid, ServiceId};
use ppm_core::hook::Hook;
use ppm_core::service::GRACE;
use ppm_core::time::{Mono, Now};
use ppm_protocol::{Exit, Signal};

use crate::judge::{Judge, TOO_SOON, Turn, Verdict, rule};
use crate::model::{Known, PATIENCE};

const OWNED: &str = "signals reach only what is owned";
const MUST: &str = "who is to stop is asked";
const ONLY: &str = "only who is to stop is asked";
const IN_TIME: &str = "sigkill comes in time";
const WHEN_IT_MUST: &str = "sigkill comes only when it must";
const TURN: &str = "a hook has its turn";

/// A hook from its spawn until nothing of it is left.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    limit: Duration,
    pid: Option<Pid>,
    since: Mono,
    /// Its process has ended, and left others behind.
    is_left: bool,
    /// How it ended, or why it is being ended.
    end: Option<End>,
    asked: Option<Mono>,
    killed: Option<Mono>,
    /// It has had all the time that there was.
    is_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Good,
    /// With the exit code that the daemon would leave with.
    Failed(u8),
    Cancelled,
}

impl Work {
    pub fn is_stuck(&self, now: Mono) -> bool {
        self.killed.is_some_and(|at| at + PATIENCE <= now)
    }

    pub fn is_killed(&self, pid: Pid) -> bool {
        self.pid == Some(pid) && self.killed.is_some()
    }

    pub fn is_cancelled(&self) -> bool {
        self.end == Some(End::Cancelled)
    }

    /// When its time is up.
    fn until(&self) -> Option<Mono> {
        (self.pid.is_some() && self.end.is_none() && !self.limit.is_zero()).then(|| self.since + self.limit)
    }
}

impl Known {
    /// Whether it has this hook, and there is time for it.
    pub fn has(&self, hook: Hook) -> bool {
        self.spec.hook(hook).is_some() && !self.hurried
    }

    pub fn owes(&mut self, hook: Hook) {
        if self.has(hook) && !self.hooks.contains_key(&hook) {
            self.owed.insert(hook);
        }
    }

    /// Nobody wants this hook any more.
    pub fn cancel(&mut self, hook: Hook) {
        if let Some(work) = self.hooks.get_mut(&hook) {
            work.end.get_or_insert(End::Cancelled);
        }
    }

    /// The main process is killed, so the command that was to end it is late too.
    pub fn gives_up_command(&mut self) {
        if let Some(work) = self.hooks.get_mut(&Hook::Stop) {
            work.is_late = true;
        }
    }

    /// Nothing is left of a main process, or it did not come up.
    pub fn finish(&mut self, now: Mono) {
        self.finishing = true;
        self.finish_if_done(now);
    }

    fn finish_if_done(&mut self, now: Mono) {
        if !self.finishing || self.hooks.keys().any(|hook| hook.belongs_to_run()) {
            return;
        }
        if self.has(Hook::PostStop) && !self.cleaned {
            return self.owes(Hook::PostStop);
        }
        (self.finishing, self.cleaned) = (false, false);
        self.empty_since = now;
        self.ends += 1;
    }

    pub fn hook_came_up(&mut self, now: Mono, hook: Hook, pid: Pid) {
        if let Some(work) = self.hooks.get_mut(&hook) {
            (work.pid, work.since) = (Some(pid), now);
        }
    }

    pub fn hook_did_not_come_up(&mut self, now: Mono, hook: Hook, code: u8) {
        if let Some(mut work) = self.hooks.remove(&hook) {
            self.hook_over(now, hook, *work.end.get_or_insert(End::Failed(code)));
        }
    }

    /// The process of a hook ended, if it is one of its.
    pub fn hook_ended(&mut self, now: Mono, pid: Pid, exit: Exit, group: Group) {
        let is_its = |(_, work): &(&Hook, &mut Work)| work.pid == Some(pid) && !work.is_left;
        let Some((hook, work)) = self.hooks.iter_mut().find(is_its) else { return };
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal.number(),
        };
        let end = if code == 0 { End::Good } else { End::Failed(code.try_into().unwrap()) };
        let (hook, end) = (*hook, *work.end.get_or_insert(end));
        work.is_left = group == Group::Left;
        work.killed = work.killed.map(|_| now); // and so is what it has left
        if group == Group::Empty {
            self.hooks.remove(&hook);
            self.hook_over(now, hook, end);
        }
    }

    pub fn hook_drained(&mut self, now: Mono, hook: Hook) {
        if let Some(Work { end: Some(end), .. }) = self.hooks.remove(&hook) {
            self.hook_over(now, hook, end);
        }
    }

    fn hook_over(&mut self, now: Mono, hook: Hook, end: End) {
        match (hook, end) {
            (Hook::PreStart, end) => {
                let Some(cause) = self.preparing.take() else { return };
                match end {
                    End::Good if self.is_wanted() => self.prepared = Some(cause),
                    End::Good | End::Cancelled => self.finish(now),
                    End::Failed(code) => self.did_not_come_up(now, code),
                }
            }
            (Hook::PostStop, _) => {
                self.cleaned = true;
                self.finish_if_done(now);
            }
            (Hook::OnChange, _) => self.changes_handled(now),
            (Hook::OnCrash | Hook::PostStart | Hook::OnReady | Hook::PreStop | Hook::Stop, _) => self.finish_if_done(now),
        }
    }
}

impl Judge {
    /// A hook is begun.
    pub fn see_hook(&mut self, now: Now, id: ServiceId, hook: Hook, cause: Cause) -> Verdict {
        let interval = self.settings.watch_restart_interval;
        let Some(known) = self.known.get_mut(&id) else {
            return rule(false, "what is stopped stays so", || format!("{id:?} is not known"));
        };
        rule(!known.hooks.contains_key(&hook), "a hook runs once at a time", || format!("{hook:?} of {known:?}"))?;
        let Some((_, limit)) = known.spec.hook(hook) else { return rule(false, TURN, || format!("{known:?} has no {hook:?}")) };
        match hook {
            Hook::PreStart => {
                self.see_start(now, id, cause)?;
                self.with(id, |known| known.preparing = Some(cause));
            }
            Hook::PreStop | Hook::Stop => {
                self.see_closing(now.mono, id, hook)?;
            }
            Hook::OnChange => {
                let is_there = known.process.is_some_and(|process| !process.is_ending());
                let text = format!("{hook:?} by {cause} of {known:?}");
                rule(known.changed && known.is_wanted() && is_there && cause == Cause::Watch, TURN, || text.clone())?;
                rule(known.earliest(interval) <= now.mono, TOO_SOON, || text)?;
                known.changed = false;
                known.acts(now.mono);
            }
            Hook::PostStart | Hook::OnReady | Hook::PostStop | Hook::OnCrash => {
                rule(known.owed.remove(&hook), TURN, || format!("{hook:?} of {known:?}"))?;
            }
        }
        let work = Work { limit, pid: None, since: now.mono, is_left: false, end: None, asked: None, killed: None, is_late: false };
        self.with(id, |known| known.hooks.extend([(hook, work)]));
        Ok(())
    }

    /// A hook readies a main process for its end, or asks it to end.
    fn see_closing(&mut self, now: Mono, id: ServiceId, hook: Hook) -> Verdict {
        let Some(known) = self.known.get_mut(&id) else { return Ok(()) };
        let text = format!("{hook:?} of {known:?}");
        let may_end = known.may_be_ended();
        let Some(process) = &mut known.process else { return rule(false, TURN, || text) };
        rule(process.asked.is_none() && process.killed.is_none(), TURN, || text.clone())?;
        if process.paused {
            self.resumed.insert(id);
        }
        if hook == Hook::Stop {
            process.command = Some(now);
        }
        if process.closing {
            return rule(hook == Hook::Stop && !known.hooks.contains_key(&Hook::PreStop), TURN, || text);
        }
        rule(may_end, ONLY, || text)?;
        rule(hook == Hook::PreStop || !known.has(Hook::PreStop), TURN, || format!("{known:?} has a pre_stop"))?;
        known.begins_to_end();
        if let Some(process) = &mut known.process {
            process.closing = true;
        }
        Ok(())
    }

    /// A hook gets a signal.
    pub fn see_hook_kill(&mut self, now: Mono, id: ServiceId, hook: Hook, pid: Pid, signal: Signal) -> Verdict {
        let is_killing = self.ending.is_some_and(|ending| ending.killing_since.is_some() || ending.kill_at <= now);
        let Some(known) = self.known.get_mut(&id) else { return rule(false, OWNED, || format!("{signal} to {pid} of {id:?}")) };
        let text = format!("{signal} to {hook:?} {pid} of {known:?}");
        let Some(work) = known.hooks.get_mut(&hook).filter(|work| work.pid == Some(pid)) else {
            return rule(false, OWNED, || text);
        };
        match signal {
            Signal::TERM => {
                let is_due = work.until().is_some_and(|at| at <= now);
                rule(is_due || work.end.is_some(), ONLY, || text.clone())?;
                rule(work.asked.is_none(), ONLY, || text)?;
                work.end.get_or_insert(End::Failed(126));
                work.asked = Some(now);
                Ok(())
            }
            Signal::CONT => rule(work.asked == Some(now), ONLY, || text),
            Signal::KILL => {
                let may = work.is_late || work.killed.is_some() || work.asked.is_some_and(|at| at + GRACE <= now) || is_killing;
                rule(may, WHEN_IT_MUST, || text)?;
                work.end.get_or_insert(End::Cancelled);
                work.killed = work.killed.or(Some(now));
                Ok(())
            }
            _ => rule(false, ONLY, || text),
        }
    }
}

/// What is owed to hooks at the end of a turn.
pub fn check_hooks(known: &mut Known, turn: &Turn<'_>, is_killing: bool) -> Verdict {
    let now = turn.now.mono;
    let wakes_by = |at: Mono| turn.deadline.is_some_and(|deadline| deadline <= at);
    if is_killing {
        known.hurried = true;
        known.owed.clear();
        if known.finishing {
            known.finish_if_done(now);
        }
    }
    let text = || format!("{known:?} at {now:?}, sleeps until {:?}", turn.deadline);
    rule(known.owed.is_empty(), TURN, text)?;
    rule(known.prepared.is_none(), "a start that is owed comes", text)?;
    for work in known.hooks.values().filter(|work| work.pid.is_some()) {
        let is_ending = work.asked.is_some() || work.killed.is_some();
        rule(work.end.is_none() || is_ending, MUST, text)?;
        rule(work.until().is_none_or(wakes_by), MUST, text)?;
        let due = work.asked.filter(|_| work.killed.is_none()).map(|at| at + GRACE);
        rule(due.is_none_or(wakes_by), IN_TIME, text)?;
        rule(!is_killing || work.killed.is_some(), IN_TIME, text)?;
    }
    Ok(())
}
