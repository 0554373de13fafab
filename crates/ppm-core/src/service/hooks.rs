//! When the hooks of a service run, and what their ends mean for it.
//!
//! What happens to a hook itself stands in `work.rs`. Failures are told; only those of `pre_start` and of the command of
//! `stop` change anything.

use ppm_protocol::{EventKind, Exit, Signal};

use super::{AtWork, Closing, Context, Effect, HookEffect, HookEnd, HookInput, Live, Next, Run, Service};
use crate::event::{Cause, Launch, NoStart, Pid, Stdin};
use crate::hook::{Hook, Program};
use crate::logging::LogKeys;
use crate::probe::Voice;
use crate::spec::Reach;
use crate::time::{Mono, brief};

impl Service {
    /// Whether anything of a run is there, or is about to be; `on_crash` belongs to none.
    pub(crate) fn has_run(&self) -> bool {
        !matches!(self.run, Run::Idle | Run::Blocked { .. } | Run::Waiting { .. })
    }

    /// The hooks at work.
    pub fn hooks(&self) -> impl Iterator<Item = (Hook, &AtWork)> {
        self.hooks.iter().map(|(hook, work)| (*hook, work))
    }

    /// What is needed to run a hook, if the service has it. What it is told depends on how far the service has come.
    pub fn hook_launch(&self, hook: Hook, logger: Option<&LogKeys>) -> Option<Launch> {
        let Program { path, args } = self.spec.hook(hook)?.0.clone();
        let mut launch = self.launch_data(Stdin::Null, logger);
        launch.voice = Voice::default(); // it does not speak for the service
        (launch.command.path, launch.command.args) = (path, args);
        launch.told = self.told_to(hook);
        Some(launch)
    }

    /// Why a hook is run: the one for changed files for those, the others for what the service was started for last.
    pub fn cause_of(&self, hook: Hook) -> Cause {
        if hook == Hook::OnChange { Cause::Watch } else { self.cause }
    }

    /// Why it was started last.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    fn told_to(&self, hook: Hook) -> Vec<(&'static str, String)> {
        let mut told = vec![
            ("PPM_HOOK", hook.name().to_owned()),
            ("PPM_RESTARTS", self.starts.saturating_sub(1).to_string()),
            ("PPM_CRASHES", self.crashes.to_string()),
        ];
        match (self.live(), &self.last) {
            (Some(live), _) => told.push(("PPM_PID", live.pid.to_string())),
            (None, Some(end)) => {
                told.extend(end.exit.map(|exit| match exit {
                    Exit::Code(code) => ("PPM_EXIT_CODE", code.to_string()),
                    Exit::Signal(signal) => ("PPM_EXIT_SIGNAL", signal.to_string()),
                }));
                told.push(("PPM_REASON", self.last_in_words()));
            }
            (None, None) => {}
        }
        if hook == Hook::OnChange {
            told.push(("PPM_WATCH_CHANGED", self.changing.handed_over()));
        }
        told
    }

    /// Begins a hook, if there is one and time for it. One that is still at work is not begun a second time.
    pub(super) fn begin_hook(&mut self, hook: Hook, out: &mut Vec<Effect>) -> bool {
        let Some((_, limit)) = self.spec.hook(hook).filter(|_| !self.is_hurried) else { return false };
        if self.hooks.contains_key(&hook) {
            self.tell(EventKind::HookFailed, None, format!("{}: left out, the one before is still at work", hook.name()), out);
            return false;
        }
        let mut effects = Vec::new();
        self.hooks.insert(hook, AtWork::begin(limit, &mut effects));
        self.pass_on(hook, effects, out);
        true
    }

    /// Something happened to a hook.
    pub(super) fn step_hook(&mut self, ctx: &Context<'_>, hook: Hook, input: &HookInput, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        let end = self.hooks.get_mut(&hook).map(|work| work.step(ctx.now.mono, input, &mut effects));
        self.pass_on(hook, effects, out);
        match end {
            Some(Ok(None)) => {}
            Some(Ok(Some(end))) => {
                self.hooks.remove(&hook);
                self.hook_over(ctx, hook, &end, out);
            }
            None | Some(Err(_)) => {
                debug_assert!(false, "{hook:?} {input:?} in {:?}", self.hooks.get(&hook));
                out.push(Effect::Impossible(format!("{}: {hook:?} {input:?} in {:?}", self.spec.name, self.hooks.get(&hook))));
            }
        }
    }

    /// Deadlines of hooks may have passed.
    pub(super) fn tick_hooks(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) {
        self.each_hook(|_| true, |work, effects| work.tick(ctx.now.mono, effects), out);
    }

    /// Asks a hook to end, if it is at work.
    pub(super) fn cancel_hook(&mut self, ctx: &Context<'_>, hook: Hook, out: &mut Vec<Effect>) {
        self.each_hook(|other| other == hook, |work, effects| work.cancel(ctx.now.mono, effects), out);
    }

    /// The main process has ended: what accompanied it is asked to end too. What was begun to end it may finish.
    pub(super) fn end_hooks_of_run(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) {
        self.cancel_hook(ctx, Hook::PostStart, out);
        self.cancel_hook(ctx, Hook::OnReady, out);
    }

    pub(super) fn kill_hook(&mut self, ctx: &Context<'_>, hook: Hook, out: &mut Vec<Effect>) {
        self.each_hook(|other| other == hook, |work, effects| work.kill(ctx.now.mono, effects), out);
    }

    /// There is no time left: none begins any more, and those at work are killed.
    pub(super) fn kill_hooks(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) {
        self.is_hurried = true;
        self.each_hook(|_| true, |work, effects| work.kill(ctx.now.mono, effects), out);
    }

    /// A main process is to end: `pre_stop` comes first.
    pub(super) fn begin_stop(&mut self, ctx: &Context<'_>, live: Live, then: Next, out: &mut Vec<Effect>) {
        if !self.begin_hook(Hook::PreStop, out) {
            return self.close(ctx, live, then, out);
        }
        self.wake_up(live, out);
        self.run = Run::Closing { live, stage: Closing::PreStop, then };
        self.tell(EventKind::Stopping, Some(live.pid), format!("pre_stop, then {}", self.asked_by()), out);
    }

    /// `pre_stop` is over: the command of `stop`, or the signal.
    fn close(&mut self, ctx: &Context<'_>, live: Live, then: Next, out: &mut Vec<Effect>) {
        let timeout = self.spec.stop.timeout;
        let kill_at = ctx.now.mono + timeout;
        if !self.begin_hook(Hook::Stop, out) {
            return self.ask_to_end(ctx, live, kill_at, then, out);
        }
        self.wake_up(live, out);
        self.run = Run::Closing { live, stage: Closing::Command { kill_at }, then };
        self.tell(EventKind::Stopping, Some(live.pid), format!("its stop command, SIGKILL in {}", brief(timeout)), out);
    }

    /// When what is left of a run that a hook was to end is killed.
    pub(super) fn kill_at(&self, ctx: &Context<'_>, stage: Closing) -> Mono {
        match stage {
            Closing::PreStop => ctx.now.mono + self.spec.stop.timeout,
            Closing::Command { kill_at } => kill_at,
        }
    }

    /// Nothing of the main process is left. Hooks of the run may be, and `post_stop` follows.
    pub(super) fn settle(&mut self, ctx: &Context<'_>, then: Next, out: &mut Vec<Effect>) {
        if self.hooks.keys().any(|hook| hook.belongs_to_run()) {
            self.run = Run::Finishing { then };
        } else if self.begin_hook(Hook::PostStop, out) {
            self.run = Run::Cleaning { then };
        } else {
            self.rest(ctx, then, out);
        }
    }

    /// Nothing of a hook is left. After `pre_start` the last command decides (R23): whoever wants it down, or a fresh start,
    /// has had the hook cancelled.
    fn hook_over(&mut self, ctx: &Context<'_>, hook: Hook, end: &HookEnd, out: &mut Vec<Effect>) {
        let failure = end.failure().map(|NoStart { why, code }| NoStart { why: format!("{}: {why}", hook.name()), code });
        if let (Run::Preparing { cause, then }, Hook::PreStart) = (self.run, hook) {
            return match (failure, end, self.is_active()) {
                (Some(failure), _, _) => self.spawn_failed(ctx, cause, &failure, out),
                (None, HookEnd::Cancelled, _) | (None, _, false) => self.settle(ctx, then, out),
                (None, _, true) if ctx.needs.missing.is_empty() => self.spawn(cause, out),
                (None, _, true) => self.launch(ctx, cause, out), // what it needs has gone meanwhile: all begins anew when it is back
            };
        }
        if let Some(NoStart { why, .. }) = failure {
            self.tell(EventKind::HookFailed, None, why, out);
        }
        if hook == Hook::OnChange {
            return self.changes_handled(ctx, out);
        }
        match (self.run, hook) {
            (Run::Closing { live, stage: Closing::PreStop, then }, Hook::PreStop) => self.close(ctx, live, then, out),
            (Run::Closing { live, stage: Closing::Command { kill_at }, then }, Hook::Stop) => {
                self.ask_to_end(ctx, live, kill_at, then, out); // as if there were no command: who has ended does not hear it
            }
            (Run::Finishing { then }, _) => self.settle(ctx, then, out),
            (Run::Cleaning { then }, Hook::PostStop) => self.rest(ctx, then, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Up(_)
                | Run::Paused(_)
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                _,
            ) => {} // nobody waits for it
        }
    }

    /// What asks it to end, in words.
    fn asked_by(&self) -> String {
        match self.spec.stop_command {
            Some(_) => "its stop command".to_owned(),
            None => self.spec.stop.signal.to_string(),
        }
    }

    /// A paused process could neither be readied for its end nor obey a command.
    fn wake_up(&self, live: Live, out: &mut Vec<Effect>) {
        if matches!(self.run, Run::Paused(_)) {
            out.extend([Effect::Kill(live.pid, Signal::CONT, Reach::Group), Effect::KillStrays(Signal::CONT)]);
        }
    }

    fn each_hook(&mut self, which: impl Fn(Hook) -> bool, act: impl Fn(&mut AtWork, &mut Vec<HookEffect>), out: &mut Vec<Effect>) {
        let mut all = Vec::new();
        for (hook, work) in self.hooks.iter_mut().filter(|(hook, _)| which(**hook)) {
            let mut effects = Vec::new();
            act(work, &mut effects);
            all.push((*hook, effects));
        }
        for (hook, effects) in all {
            self.pass_on(hook, effects, out);
        }
    }

    fn pass_on(&self, hook: Hook, effects: Vec<HookEffect>, out: &mut Vec<Effect>) {
        for effect in effects {
            if effect == HookEffect::Stuck {
                let after = brief(super::STUCK_AFTER);
                self.tell(EventKind::Stuck, None, format!("{} is still there {after} after SIGKILL", hook.name()), out);
            } else {
                out.push(Effect::Hook(hook, effect));
            }
        }
    }

    /// The process of a hook.
    pub fn hook_pid(&self, hook: Hook) -> Option<Pid> {
        self.hooks.get(&hook)?.pid()
    }
}
