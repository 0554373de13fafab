//! What a service does about changed files.
//!
//! A change is kept from when it is told until something has been done about it: any start will do, since what starts sees
//! the files as they are. Invariant: nothing is kept for a service that is not wanted.

use ppm_protocol::{EventKind, FoundChange, Timestamp, WatchedPath, WatchedRow};

use super::{Context, Effect, Live, Next, Run, Service};
use crate::event::Cause;
use crate::hook::{Hook, HookSpec};
use crate::journal::LONGEST_REASON;
use crate::spec::Reach;
use crate::time::{Mono, Now, brief};
use crate::watch::guard::Guard;
use crate::watch::{Changes, OnChange};

/// What has become of changed files: nothing, for most services for ever, and then it takes no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Changing(Option<Box<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// What nothing has been done about.
    pending: Changes,
    /// What the current or last run was started for.
    begun_by: Option<Changes>,
    /// What the program at work, or the last one, was run for.
    handed: Changes,
    guard: Guard,
    /// What was found last.
    last: Option<FoundChange>,
    /// How often something was found.
    found: u64,
    /// When it was acted upon last.
    acted_at: Option<Timestamp>,
    /// How often it was.
    acted: u64,
}

impl Known {
    /// Something is done about changes.
    fn act(&mut self, now: Now) {
        self.guard.act(now.mono);
        (self.acted_at, self.acted) = (Some(now.wall), self.acted.saturating_add(1));
    }
}

impl Changing {
    fn known(&mut self) -> &mut Known {
        self.0.get_or_insert_default()
    }

    /// A start begins.
    pub fn starts(&mut self, now: Now, cause: Cause) {
        let Some(known) = &mut self.0 else { return };
        let changes = std::mem::take(&mut known.pending);
        if cause != Cause::Watch {
            known.begun_by = None;
        } else if changes.is_empty() {
            known.guard.act(now.mono); // the same start once more
        } else {
            known.act(now);
            known.begun_by = Some(changes);
        }
    }

    /// What is told to what starts: the files because of which it does.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        self.begun_by().map(|changes| ("PPM_WATCH_CHANGED", paths(changes))).into_iter().collect()
    }

    /// What is told to the program that is run for changed files: those.
    pub fn handed_over(&self) -> String {
        self.0.as_ref().map_or(String::new(), |known| paths(&known.handed))
    }

    fn begun_by(&self) -> Option<&Changes> {
        self.0.as_ref()?.begun_by.as_ref()
    }

    pub fn forget(&mut self) {
        if let Some(known) = &mut self.0 {
            known.pending = Changes::default();
        }
    }

    pub fn has_any(&self) -> bool {
        self.0.as_ref().is_some_and(|known| !known.pending.is_empty())
    }
}

fn paths(changes: &Changes) -> String {
    String::from_utf8_lossy(&changes.paths()).into_owned()
}

impl Service {
    /// Keeps them, and says when something may be done about them. Who has changed something has mended it, perhaps: the
    /// backoff starts over.
    pub(super) fn note_changes(&mut self, ctx: &Context<'_>, changes: &Changes, out: &mut Vec<Effect>) {
        self.crashes = 0;
        self.gave_up = false;
        self.changing.known().pending.merge(changes.clone());
        // While a program is at work for earlier ones it may be what changes files: that is judged when it has ended.
        if !self.hooks.contains_key(&Hook::OnChange) {
            self.look_out_for_storms(ctx, changes, out);
        }
        let what = changes.to_string().chars().take(LONGEST_REASON).collect();
        let known = self.changing.known();
        known.found = known.found.saturating_add(1);
        known.last = Some(FoundChange { at: ctx.now.wall, what });
    }

    fn look_out_for_storms(&mut self, ctx: &Context<'_>, changes: &Changes, out: &mut Vec<Effect>) {
        let found = self.changing.known().guard.found(ctx.now.mono, ctx.watch_interval);
        if let Some(distance) = found.storm {
            out.push(Effect::Advise(self.storm(changes, &brief(distance))));
        }
    }

    /// The program has ended that was run for changed files. What has changed meanwhile is its turn now, or its own doing.
    pub(super) fn changes_handled(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) {
        let (Run::Up(live) | Run::Paused(live)) = self.run else { return };
        self.changing.known().guard.act_ended(ctx.now.mono);
        if !self.changing.has_any() {
            return;
        }
        let changes = self.changing.known().pending.clone();
        self.look_out_for_storms(ctx, &changes, out);
        if live.leaving.is_none() {
            self.plan_answer(ctx, live, out);
        }
    }

    /// Nothing of it runs: it is started, unless that was done for changes a moment ago. `until` is when it would start
    /// anyway.
    pub(super) fn change_at_rest(&mut self, ctx: &Context<'_>, changes: &Changes, until: Option<Mono>, out: &mut Vec<Effect>) {
        self.note_changes(ctx, changes, out);
        self.start_for_changes(ctx, until, out);
    }

    /// Starts it as soon as it may be, or at `until` if that comes first.
    pub(super) fn start_for_changes(&mut self, ctx: &Context<'_>, until: Option<Mono>, out: &mut Vec<Effect>) {
        let earliest = self.changing.known().guard.earliest(ctx.watch_interval);
        if earliest <= ctx.now.mono {
            return self.launch(ctx, Cause::Watch, out);
        }
        let is_for_changes = matches!(self.run, Run::Waiting { cause: Cause::Watch, .. });
        if until.is_some_and(|until| until < earliest) && !is_for_changes {
            return;
        }
        self.run = Run::Waiting { until: earliest, cause: Cause::Watch };
        let reason = self.reason(ctx.now);
        self.tell(EventKind::Planned, None, reason, out);
    }

    pub(super) fn change_while_up(&mut self, ctx: &Context<'_>, live: Live, changes: &Changes, out: &mut Vec<Effect>) {
        let delay = self.spec.watch.as_ref().map(|watch| watch.initial_delay).unwrap_or_default();
        if ctx.now.mono < live.since + delay {
            return;
        }
        self.note_changes(ctx, changes, out);
        match live.leaving {
            None => self.plan_answer(ctx, live, out),
            Some(Next::Start(_)) => {}
            Some(Next::Rest | Next::Policy) => {
                if let Some(live) = self.run.live_mut() {
                    live.leaving = Some(Next::Start(Cause::Watch));
                }
            }
        }
    }

    /// Acts upon changes now, or when that may be.
    pub(super) fn plan_answer(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let earliest = self.changing.known().guard.earliest(ctx.watch_interval);
        if earliest <= ctx.now.mono {
            self.answer_changes(ctx, live, out);
        } else if let Some(live) = self.run.live_mut() {
            live.answer_at = Some(earliest);
        }
    }

    /// Acts upon changes: there is a process.
    pub(super) fn answer_changes(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        if let Some(live) = self.run.live_mut() {
            live.answer_at = None;
        }
        match self.spec.watch.as_ref().map(|watch| watch.action.clone()).unwrap_or_default() {
            OnChange::Restart => {
                self.leave(ctx, Live { answer_at: None, ..live }, Next::Start(Cause::Watch), out);
            }
            OnChange::Signal(signal) => {
                let known = self.changing.known();
                let changes = std::mem::take(&mut known.pending);
                known.act(ctx.now);
                out.push(Effect::Kill(live.pid, signal, Reach::Leader));
                self.tell(EventKind::FilesChanged, Some(live.pid), format!("{changes}: {signal}{}", self.nth_time()), out);
            }
            OnChange::Exec(_) if self.hooks.contains_key(&Hook::OnChange) => {} // when that has ended
            action @ OnChange::Exec(_) => {
                let known = self.changing.known();
                known.handed = std::mem::take(&mut known.pending);
                known.act(ctx.now);
                let changes = known.handed.to_string();
                self.tell(EventKind::FilesChanged, None, format!("{changes}: {action}{}", self.nth_time()), out);
                self.begin_hook(ctx, Hook::OnChange, out);
            }
        }
    }

    /// What a run was started for, for the journal: `watch: modified w/f, 3rd time in 10s`.
    pub(super) fn cause_in_words(&self, cause: Cause) -> String {
        match (self.changing.begun_by(), cause) {
            (Some(changes), Cause::Watch) => format!("{cause}: {changes}{}", self.nth_time()),
            _ => cause.to_string(),
        }
    }

    /// What is found for it, as far as the core knows: which files those are is known to who looks at them.
    pub fn watched_row(&self) -> WatchedRow {
        let known = self.changing.0.as_deref();
        let watch = self.spec.watch.as_deref();
        let path = |path: &String| WatchedPath { path: path.clone(), ..WatchedPath::default() };
        WatchedRow {
            id: self.id.0,
            name: self.spec.name.clone(),
            watching: watch.is_some() && self.is_active(),
            paths: watch.map_or(Vec::new(), |watch| watch.paths.iter().map(path).collect()),
            action: watch.map(|watch| watch.action.to_string()),
            watches: 0,
            last_change: known.and_then(|known| known.last.clone()),
            changes: known.map_or(0, |known| known.found),
            acted_at: known.and_then(|known| known.acted_at),
            acted: known.map_or(0, |known| known.acted),
            unchanged: 0,
        }
    }

    /// The changes that nothing has been done about.
    pub fn changes_in_words(&self) -> String {
        self.changing.0.as_ref().map_or(String::new(), |known| known.pending.to_string())
    }

    /// The changes that its run was started for.
    pub(super) fn begun_by_in_words(&self) -> String {
        self.changing.begun_by().map_or(String::new(), Changes::to_string)
    }

    /// Nothing is to be done about changes that have been told.
    pub(super) fn forget_changes(&mut self) {
        self.changing.forget();
        if let Some(live) = self.run.live_mut() {
            live.answer_at = None;
        }
    }

    fn nth_time(&self) -> String {
        match self.changing.0.as_ref().map_or(0, |known| known.guard.times_lately()) {
            0 | 1 => String::new(),
            2 => ", 2nd time in 10s".to_owned(),
            3 => ", 3rd time in 10s".to_owned(),
            more => format!(", {more}th time in 10s"),
        }
    }

    fn storm(&self, changes: &Changes, distance: &str) -> String {
        let name = &self.spec.name;
        let file = changes.named.first().map(|change| change.name()).unwrap_or_default();
        let what = match self.spec.watch.as_ref().map(|watch| watch.action.clone()).unwrap_or_default() {
            OnChange::Restart => {
                format!("each start, so probably {name} writes it itself; it is restarted every {distance} at most")
            }
            OnChange::Signal(signal) => {
                format!("each {signal}, so probably {name} writes it itself; it gets one every {distance} at most")
            }
            OnChange::Exec(HookSpec { program, .. }) => {
                format!("each run of `{program}`, so probably that writes it; it is run every {distance} at most")
            }
        };
        format!("{name}: watch: {file} changes right after {what}. If that is so, add to its `watch`: `exclude: [{file:?}]`")
    }
}
