//! What a service shows of itself: derived from its want, its run and its last end, never stored.

use ppm_protocol::{Exit, NextStart, Status, Why};

use super::{AtWork, Closing, End, How, Live, Next, Run, Service, Stage, Want};
use crate::dependencies::{self, Missing};
use crate::event::{Cause, Group, Pid, ServiceId};
use crate::planning::Plan;
use crate::runs::Runs;
use crate::size;
use crate::spec::ServiceSpec;
use crate::tally::Tally;
use crate::time::{Mono, Now, Timestamp, brief};
use crate::watch::OnChange;

impl Service {
    /// The next instant at which [`Input::Tick`] would change something.
    pub fn deadline(&self) -> Option<Mono> {
        let of_hooks = self.hooks.values().filter_map(AtWork::deadline);
        of_hooks.chain(self.deadline_of_run()).min()
    }

    fn deadline_of_run(&self) -> Option<Mono> {
        match self.run {
            Run::Stopping { strays_at, kill_at, .. } | Run::Draining { strays_at, kill_at, .. } => {
                Some(strays_at.map_or(kill_at, |at| at.min(kill_at)))
            }
            Run::Closing { stage: Closing::Command { kill_at }, .. } => Some(kill_at),
            Run::Killing { stuck_at, .. } => stuck_at,
            Run::Purging { look_at, .. } => Some(look_at),
            Run::Waiting { until, .. } => Some(until),
            Run::Up(live) if live.leaving.is_none() => {
                live.lasts_until().into_iter().chain(live.answer_at).chain(live.probing.deadline()).min()
            }
            Run::Paused(live) if live.leaving.is_none() => live.lasts_until().into_iter().chain(live.answer_at).min(),
            Run::Up(live) | Run::Paused(live) => live.lasts_until(),
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Closing { stage: Closing::PreStop, .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. } => None,
        }
    }

    /// The next wall-clock time at which [`Input::Fire`] is due.
    pub fn plan(&self) -> Option<Timestamp> {
        self.planned().map(|plan| plan.at)
    }

    /// The next planned run.
    pub fn planned(&self) -> Option<Plan> {
        match self.want {
            Want::Up { plan } => plan,
            Want::Unasked | Want::Down | Want::Gone => None,
        }
    }

    /// The last planned run whose time has come, unless the clock was corrected since.
    pub fn fired(&self) -> Option<Plan> {
        self.fired
    }

    /// How often what has happened to it.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What it has run lately.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The main process, from its exec until it has been reaped.
    pub fn pid(&self) -> Option<Pid> {
        self.live().map(|live| live.pid)
    }

    /// Whether others of it have outlived its main process.
    pub fn is_draining(&self) -> bool {
        matches!(self.run, Run::Draining { .. } | Run::Purging { .. })
    }

    /// Whether anything of it runs, or is about to.
    pub fn is_busy(&self) -> bool {
        self.has_run() || !self.hooks.is_empty()
    }

    /// Whether it is ending, or will as soon as it may, and the kernel lets it.
    pub fn is_leaving(&self) -> bool {
        match self.run {
            Run::Closing { .. }
            | Run::Stopping { .. }
            | Run::Killing { .. }
            | Run::Draining { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. } => !self.is_stuck(),
            Run::Up(live) | Run::Paused(live) => live.leaving.is_some(),
            Run::Preparing { .. } | Run::Starting { .. } => !self.is_active(),
            Run::Idle | Run::Blocked { .. } | Run::Waiting { .. } => false,
        }
    }

    /// Whether it runs, and nobody is about to end it.
    pub fn is_staying(&self) -> bool {
        matches!(self.run, Run::Up(live) | Run::Paused(live) if live.leaving.is_none())
    }

    /// Whether its last run came to a good end by itself, and it does not run again.
    pub fn has_finished(&self) -> bool {
        !self.has_run() && matches!(self.last.as_ref().map(|end| &end.how), Some(How::Finished))
    }

    /// What it waits for; empty where it does not.
    pub fn missing(&self) -> &[Missing] {
        if matches!(self.run, Run::Blocked { .. }) { &self.missing } else { &[] }
    }

    /// Whether it waits for what does not come by itself.
    pub fn is_hopeless(&self) -> bool {
        self.missing().iter().any(|missing| missing.lack.is_hopeless())
    }

    /// Whether a start is under way, or follows as soon as nothing is left of the run that is ending.
    pub fn is_about_to_start(&self) -> bool {
        match self.run {
            Run::Preparing { .. } => self.is_active(),
            Run::Starting { .. } => true,
            Run::Closing { then, .. }
            | Run::Stopping { then, .. }
            | Run::Killing { then, .. }
            | Run::Draining { then, .. }
            | Run::Purging { then, .. }
            | Run::Finishing { then }
            | Run::Cleaning { then } => matches!(then, Next::Start(_)),
            Run::Up(live) | Run::Paused(live) => matches!(live.leaving, Some(Next::Start(_))),
            Run::Idle | Run::Blocked { .. } | Run::Waiting { .. } => false,
        }
    }

    /// Whether it is to be removed and nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.want == Want::Gone && !self.is_busy()
    }

    /// Whether it, or a hook that is waited for, has outlived SIGKILL for longer than a process should (R25).
    pub fn is_stuck(&self) -> bool {
        let is_waited_for = self.live().is_none() && !matches!(self.run, Run::Starting { .. });
        matches!(self.run, Run::Killing { stuck_at: None, .. } | Run::Purging { is_stuck: true, .. })
            || is_waited_for && self.hooks.values().any(AtWork::is_stuck)
    }

    /// Whether it got SIGKILL, or what it left behind did.
    pub fn is_being_killed(&self) -> bool {
        matches!(self.run, Run::Killing { .. } | Run::Purging { .. })
    }

    /// One of the five public states.
    pub fn status(&self) -> Status {
        match self.run {
            Run::Up(_) | Run::Closing { .. } | Run::Stopping { .. } | Run::Killing { .. } | Run::Draining { .. } | Run::Purging { .. } => {
                Status::Running
            }
            Run::Paused(_) => Status::Stopped,
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. }
            | Run::Waiting { .. } => match self.last.as_ref().map(End::is_good) {
                None => Status::Created,
                Some(true) => Status::Finished,
                Some(false) => Status::Crashed,
            },
        }
    }

    /// Whether dependants may start: as soon as its probe has found it ready, without one as soon as it runs.
    pub fn is_ready(&self) -> bool {
        matches!(self.run, Run::Up(live) if matches!(live.probing.stage, Stage::Ready { .. }))
    }

    /// Whether the daemon will start it as soon as its turn comes.
    pub fn awaits_boot(&self) -> bool {
        self.is_active() && self.run == Run::Idle && self.attempts == 0 && self.spec.starts_at_once()
    }

    /// Whether its user wants it.
    pub fn is_active(&self) -> bool {
        matches!(self.want, Want::Up { .. })
    }

    /// When and why it next starts by itself.
    pub fn next_start(&self, now: Now) -> Option<NextStart> {
        let planned = self.plan().map(|at| NextStart { at, why: Why::Schedule });
        [self.restart_at(now), planned].into_iter().flatten().min_by_key(|next| next.at)
    }

    /// When it starts again after a delay.
    pub fn restart_at(&self, now: Now) -> Option<NextStart> {
        match self.run {
            Run::Waiting { until, cause: Cause::Backoff } => Some(NextStart { at: now.wall_at(until), why: Why::Backoff }),
            Run::Waiting { until, cause: Cause::Watch } => Some(NextStart { at: now.wall_at(until), why: Why::Watch }),
            Run::Waiting { until, .. } => Some(NextStart { at: now.wall_at(until), why: Why::Restart }),
            Run::Up(live) | Run::Paused(live) => {
                let restarts = self.spec.watch.as_ref().is_some_and(|watch| watch.action == OnChange::Restart);
                live.answer_at.filter(|_| restarts).map(|at| NextStart { at: now.wall_at(at), why: Why::Watch })
            }
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Closing { .. }
            | Run::Stopping { .. }
            | Run::Killing { .. }
            | Run::Draining { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. } => None,
        }
    }

    /// When something other than a restart is done because files have changed, and what.
    pub fn answer_at(&self, now: Now) -> Option<(Timestamp, String)> {
        let what = match &self.spec.watch.as_ref()?.action {
            OnChange::Restart => return None,
            OnChange::Signal(signal) => signal.to_string(),
            action @ OnChange::Exec(_) => action.to_string(),
        };
        let (Run::Up(live) | Run::Paused(live)) = self.run else { return None };
        Some((now.wall_at(live.answer_at?), what))
    }

    /// Why it is in its state, in one short sentence.
    pub fn reason(&self, now: Now) -> String {
        let until = |at: Mono| brief(at.since(now.mono));
        match self.run {
            Run::Idle => self.reason_at_rest(),
            Run::Blocked { .. } => dependencies::in_words(&self.missing),
            Run::Preparing { .. } => "starting: pre_start is at work".to_owned(),
            Run::Starting { .. } => "starting".to_owned(),
            Run::Up(Live { leaving: Some(_), .. }) => "ends when those have ended that need it".to_owned(),
            Run::Up(live) => match (self.complaint(live), live.cause) {
                (Some(complaint), _) => complaint,
                (None, cause) => self.start_in_words(cause),
            },
            Run::Paused(_) => "paused by a stop signal".to_owned(),
            Run::Closing { stage: Closing::PreStop, .. } => "stopping: pre_stop is at work".to_owned(),
            Run::Closing { stage: Closing::Command { kill_at }, .. } => {
                format!("stopping: its stop command is at work, SIGKILL in {}", until(kill_at))
            }
            Run::Stopping { kill_at, .. } => format!("stopping: {} sent, SIGKILL in {}", self.spec.stop.signal, until(kill_at)),
            Run::Killing { stuck_at: Some(_), grace: Some(grace), .. } => format!("did not stop within {}, SIGKILL sent", brief(grace)),
            Run::Killing { stuck_at: Some(_), grace: None, .. } => "no time was left to wait for it, SIGKILL sent".to_owned(),
            Run::Killing { stuck_at: None, .. } => "killed, but the kernel does not let it go".to_owned(),
            Run::Draining { kill_at, .. } => {
                format!("{}; ending what it left behind, SIGKILL in {}", self.last_in_words(), until(kill_at))
            }
            Run::Purging { is_stuck: false, .. } => format!("{}; killed what it left behind", self.last_in_words()),
            Run::Purging { is_stuck: true, .. } => {
                format!("{}; killed what it left behind, but the kernel does not let it go", self.last_in_words())
            }
            Run::Finishing { .. } => format!("{}; waiting for its hooks to end", self.reason_at_rest()),
            Run::Cleaning { .. } => format!("{}; post_stop is at work", self.reason_at_rest()),
            Run::Waiting { until: at, cause: Cause::Backoff } => {
                format!("{}, retry {} in {}", self.last_in_words(), self.crashes, until(at))
            }
            Run::Waiting { until: at, cause: Cause::Watch } => format!("{}, start in {}", self.changes_in_words(), until(at)),
            Run::Waiting { until: at, .. } => format!("{}, restart in {}", self.last_in_words(), until(at)),
        }
    }

    fn start_in_words(&self, cause: Cause) -> String {
        match cause {
            Cause::Boot => "started with the daemon".to_owned(),
            Cause::Reload => "started with the configuration that was read again".to_owned(),
            Cause::Request => "started by request".to_owned(),
            Cause::Needed => "started because it is needed".to_owned(),
            Cause::Dependency => "restarted with what it needs".to_owned(),
            Cause::Schedule => "started by its schedule".to_owned(),
            Cause::Missed => "started by its schedule, for a time that was missed".to_owned(),
            Cause::Backoff | Cause::Restart => format!("restarted after {}", self.last_in_words()),
            Cause::Memory => format!("restarted: {}", self.last_in_words()),
            Cause::Watch => format!("started for changed files: {}", self.begun_by_in_words()),
        }
    }

    /// Its number.
    pub fn id(&self) -> ServiceId {
        self.id
    }

    /// How it should be.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// What its user asked for last.
    pub fn want(&self) -> Want {
        self.want
    }

    /// What there is of it.
    pub fn run(&self) -> Run {
        self.run
    }

    /// How its last run ended.
    pub fn last(&self) -> Option<&End> {
        self.last.as_ref()
    }

    /// The consecutive crashes: zero again after a run longer than `reset_after`, even while it lasts.
    pub fn crashes(&self, now: Now) -> u32 {
        match self.live() {
            Some(live) if now.mono.since(live.since) > self.spec.restart.reset_after => 0,
            Some(_) | None => self.crashes,
        }
    }

    /// Successful starts.
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Starts tried: a start is over when this has grown.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Runs over, with all that belonged to them.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// When the current or last run started.
    pub fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// When the last run ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended
    }

    /// The main process and its circumstances.
    pub fn live(&self) -> Option<Live> {
        let mut run = self.run;
        run.live_mut().copied()
    }

    /// How the last run ended, in words.
    pub fn last_in_words(&self) -> String {
        let Some(end) = &self.last else { return String::new() };
        match (&end.how, end.exit) {
            (How::Finished, Some(exit @ Exit::Code(_))) if end.left == Group::Left => {
                format!("{exit}, but it left processes behind: run it in the foreground") // R68
            }
            (How::Finished | How::Crashed, Some(exit)) => exit.to_string(),
            (How::OutOfMemory, Some(Exit::Code(code))) => format!("exit code {code}: out of memory"),
            (How::OutOfMemory, _) => "killed by the kernel: out of memory".to_owned(),
            (How::Obeyed, _) => "stopped by request".to_owned(),
            (How::DiedStopping, Some(exit)) => format!("{exit} while stopping"),
            (How::Overran(Some(grace)), _) => format!("killed: did not stop within {}", brief(*grace)),
            (How::Overran(None), _) => "killed: no time was left to wait for it".to_owned(),
            (How::TimedOut(limit), _) => format!("ran longer than {}", brief(*limit)),
            (How::Outgrew { used, max }, _) => memory(*used, *max),
            (How::Unwell(why), _) => why.clone(),
            (How::NotStarted(error), _) => error.why.clone(),
            (How::Finished | How::Crashed | How::DiedStopping, None) => String::new(),
        }
    }

    pub(super) fn reason_at_rest(&self) -> String {
        match (&self.last, self.want) {
            (None, Want::Up { plan: Some(_) }) if !self.spec.starts_at_once() => "waiting for its schedule".to_owned(),
            (None, Want::Up { plan: None }) if !self.spec.starts_at_once() => "its schedule has no time left".to_owned(),
            (None, Want::Up { .. }) => "waiting to be started".to_owned(),
            (None, Want::Unasked | Want::Down | Want::Gone) => "not started".to_owned(),
            (Some(_), _) if self.gave_up => {
                format!("{}, gave up after {} retries", self.last_in_words(), self.spec.restart.max_retries)
            }
            (Some(_), _) => self.last_in_words(),
        }
    }
}

/// So much memory of so much.
pub(super) fn memory(used: u64, max: u64) -> String {
    format!("memory: {} of {}", size::brief(used), size::brief(max))
}
