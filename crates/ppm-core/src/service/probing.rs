//! The probes of a run: what is asked next, and what follows from the answers.
//!
//! A run is `Starting` until its probe has found it ready once, and `Ready` from then on; that is when its health begins
//! to be asked for. Invariants: one attempt at a time, and only of what is up; an attempt that is not wanted any more is
//! stopped, and its answer, should it come all the same, means nothing, since no number is used twice.

use std::time::Duration;

use ppm_protocol::EventKind;

use super::{Context, Effect, Input, Limit, Live, Next, Run, Service};
use crate::event::{Launch, Question, Stdin};
use crate::hook::Hook;
use crate::notification::{Notification, Watchdog};
use crate::probe::{ATTEMPT, Check, Outcome, Voice};
use crate::spec::{Command, shown};
use crate::time::{Mono, Now, brief};

/// So much earlier than a start may a file seem to be that was made after it: file systems use a clock that ticks.
const TICK_MS: i64 = 20;

/// How far the probes of a run have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// What is asked for.
    pub stage: Stage,
    /// What is being done about it.
    pub attempt: Attempt,
    /// Failures in a row, as far as they count.
    pub failures: u32,
}

/// What the probes of a run ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Whether it is ready.
    Starting {
        /// When it is told that it is not; None: it has been.
        told_at: Option<Mono>,
        /// When it must be.
        limit: Option<Mono>,
    },
    /// It has been found ready, or need not be: whether it is well.
    Ready {
        /// Until then failures do not count.
        lenient_until: Mono,
    },
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// There is nothing to be asked.
    None,
    /// Nobody is asked: its own word is waited for, and no longer than until then.
    Listening {
        /// When it has been silent for too long; None: it may be.
        until: Option<Mono>,
    },
    /// The next one begins then.
    Due(Mono),
    /// This one is being made.
    UnderWay {
        /// Its number.
        number: u64,
        /// When it has taken too long.
        until: Mono,
    },
}

impl Probing {
    /// When there is something to be done.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let attempt = match self.attempt {
            Attempt::None => None,
            Attempt::Listening { until } => until,
            Attempt::Due(at) | Attempt::UnderWay { until: at, .. } => Some(at),
        };
        let (told_at, limit) = match self.stage {
            Stage::Starting { told_at, limit } => (told_at, limit),
            Stage::Ready { .. } => (None, None),
        };
        [attempt, told_at, limit].into_iter().flatten().min()
    }

    /// It has so much time at least.
    fn extend(&mut self, time: Mono) {
        if let Stage::Starting { told_at, limit } = &mut self.stage {
            told_at.iter_mut().chain(limit).for_each(|at| *at = (*at).max(time));
        }
        if let Attempt::Listening { until: Some(until) } = &mut self.attempt {
            *until = (*until).max(time);
        }
    }

    /// The same while nothing is asked.
    pub(super) fn at_rest(self) -> Probing {
        Probing { attempt: Attempt::None, ..self }
    }
}

fn attempt_of(run: Run) -> Option<u64> {
    match run {
        Run::Up(Live { probing: Probing { attempt: Attempt::UnderWay { number, .. }, .. }, .. }) => Some(number),
        Run::Up(_)
        | Run::Idle
        | Run::Blocked { .. }
        | Run::Preparing { .. }
        | Run::Starting { .. }
        | Run::Paused(_)
        | Run::Closing { .. }
        | Run::Stopping { .. }
        | Run::Killing { .. }
        | Run::Draining { .. }
        | Run::Purging { .. }
        | Run::Finishing { .. }
        | Run::Cleaning { .. }
        | Run::Waiting { .. } => None,
    }
}

impl Service {
    /// What is to be found out by the attempt that is under way.
    pub fn question(&self) -> Option<Question> {
        let check = match self.live()?.probing.stage {
            Stage::Starting { .. } => &self.spec.ready.as_ref()?.check,
            Stage::Ready { .. } => &self.spec.health.as_ref()?.check,
        };
        Some(match check {
            Check::Tcp(target) => Question::Connection(target.clone()),
            Check::Http(page) => Question::Page(page.clone()),
            Check::Command(words) => Question::Command { launch: self.launch_of(words).into(), cause: self.live()?.cause },
            Check::File(path) => {
                let since = crate::time::Timestamp(self.launched.0 - TICK_MS);
                Question::File { path: path.clone(), since }
            }
            Check::Listen(port) => Question::Held { port: *port, main: self.live()?.pid },
            Check::Notify(_) | Check::Log(_) => return None,
        })
    }

    /// Another program, run as the service is.
    fn launch_of(&self, words: &[String]) -> Launch {
        let (path, args) = words.split_first().map_or((String::new(), Vec::new()), |(path, args)| (path.clone(), args.to_vec()));
        let command = Command { path, args, ..self.spec.command.clone() };
        Launch {
            name: self.spec.name.clone(),
            command,
            logger: None,
            stdin: Stdin::Null,
            voice: Voice::default(),
            awaits: None,
            told: Vec::new(),
        }
    }

    /// Where the probes of a run begin.
    pub(super) fn first_probing(&self, ctx: &Context<'_>) -> Probing {
        let now = ctx.now.mono;
        match &self.spec.ready {
            Some(ready) => {
                let stage = Stage::Starting { told_at: Some(now + ready.start_period), limit: ready.timeout.map(|timeout| now + timeout) };
                let attempt = if ready.check.is_its_own_word() { Attempt::Listening { until: None } } else { Attempt::Due(now) };
                Probing { stage, attempt, failures: 0 }
            }
            None => self.probing_of_ready(ctx, now),
        }
    }

    /// Where the probes of a run begin that is ready, and was started then.
    fn probing_of_ready(&self, ctx: &Context<'_>, since: Mono) -> Probing {
        let (attempt, leniency) = match &self.spec.health {
            Some(health) if health.check.is_its_own_word() => {
                let until = (ctx.now.mono + self.patience.unwrap_or(health.timeout)).max(since + health.start_period);
                (Attempt::Listening { until: Some(until) }, health.start_period)
            }
            Some(health) => (Attempt::Due(ctx.now.mono + health.first_delay(ctx.chance)), health.start_period),
            None => (Attempt::None, Duration::ZERO),
        };
        Probing { stage: Stage::Ready { lenient_until: since + leniency }, attempt, failures: 0 }
    }

    /// Probes begin anew, as it is to be probed otherwise. What is ready stays so.
    pub(super) fn probe_anew(&mut self, ctx: &Context<'_>, live: Live) {
        self.probe(ctx, live, |anew| anew);
    }

    /// Probes begin again after a pause, or as it is not to end any more: once it was well, failures count.
    pub(super) fn probe_on(&mut self, ctx: &Context<'_>, live: Live) {
        self.probe(ctx, live, |anew| Probing { stage: live.probing.stage, ..anew });
    }

    fn probe(&mut self, ctx: &Context<'_>, live: Live, of_ready: impl Fn(Probing) -> Probing) {
        let probing = match live.probing.stage {
            _ if live.leaving.is_some() => live.probing.at_rest(), // it is to end, whatever they would say
            Stage::Starting { .. } => self.first_probing(ctx),
            Stage::Ready { .. } => of_ready(self.probing_of_ready(ctx, live.since)),
        };
        self.run = Run::Up(Live { probing, ..live });
        self.probed = None;
    }

    /// Whatever an input has led to: when it started is kept in mind, and an attempt that was under way and is not any more
    /// is stopped, unless it has just ended by itself.
    pub(super) fn keep_in_step(&mut self, ctx: &Context<'_>, before: Run, input: &Input, out: &mut Vec<Effect>) {
        let begins = |run: Run| matches!(run, Run::Preparing { .. } | Run::Starting { .. });
        if begins(self.run) && !begins(before) {
            self.launched = ctx.now.wall;
        }
        let Some(number) = attempt_of(before).filter(|_| attempt_of(before) != attempt_of(self.run)) else { return };
        if !matches!(input, Input::Probed(ended, _) if *ended == number) {
            out.push(Effect::StopProbe(number));
        }
    }

    /// Something about its probes has come due.
    pub(super) fn probe_what_is_due(&mut self, ctx: &Context<'_>, mut live: Live, out: &mut Vec<Effect>) {
        let now = ctx.now.mono;
        match live.probing.stage {
            Stage::Starting { limit: Some(limit), .. } if limit <= now => return self.never_ready(ctx, live, out),
            Stage::Starting { told_at: Some(at), limit } if at <= now => {
                live.probing.stage = Stage::Starting { told_at: None, limit };
                self.run = Run::Up(live);
                let reason = self.with_last_failure(format!("not ready after {}", brief(now.since(live.since))));
                self.tell(EventKind::Unready, Some(live.pid), reason, out);
            }
            Stage::Starting { .. } | Stage::Ready { .. } => {}
        }
        match live.probing.attempt {
            Attempt::Due(at) if at <= now => {
                let timeout = match live.probing.stage {
                    Stage::Starting { .. } => ATTEMPT,
                    Stage::Ready { .. } => self.spec.health.as_ref().map_or(ATTEMPT, |health| health.timeout),
                };
                self.probes += 1;
                let attempt = Attempt::UnderWay { number: self.probes, until: now + timeout };
                self.run = Run::Up(Live { probing: Probing { attempt, ..live.probing }, ..live });
                out.push(Effect::Probe(self.probes));
            }
            Attempt::UnderWay { until, .. } if until <= now => {
                let timeout = match (live.probing.stage, &self.spec.health) {
                    (Stage::Ready { .. }, Some(health)) => health.timeout,
                    (Stage::Ready { .. } | Stage::Starting { .. }, _) => ATTEMPT,
                };
                self.take_outcome(ctx, live, Outcome::Failed(format!("no answer within {}", brief(timeout))), out);
            }
            Attempt::Listening { until: Some(until) } if until <= now => {
                let patience = self.patience.or(self.spec.health.as_ref().map(|health| health.timeout)).unwrap_or_default();
                self.not_well(ctx, live, format!("no WATCHDOG=1 within {}", brief(patience)), out);
            }
            Attempt::None | Attempt::Listening { .. } | Attempt::Due(_) | Attempt::UnderWay { .. } => {}
        }
    }

    /// It has said something of itself, perhaps before it was paused.
    pub(super) fn notified(&mut self, ctx: &Context<'_>, mut live: Live, said: &Notification, out: &mut Vec<Effect>) {
        let now = ctx.now.mono;
        self.note_status(said);
        self.patience = said.patience.or(self.patience);
        if let Some(more_time) = said.more_time {
            live.probing.extend(now + more_time);
        }
        let is_its_own_word = |check: Option<&Check>| check.is_some_and(Check::is_its_own_word);
        let is_starting = matches!(live.probing.stage, Stage::Starting { .. });
        if said.is_ready && is_starting && is_its_own_word(self.spec.ready.as_ref().map(|ready| &ready.check)) {
            live.probing = self.probing_of_ready(ctx, live.since);
            self.tell_ready(ctx, live, out);
        }
        let watchdog = self.spec.health.as_ref().filter(|health| health.check.is_its_own_word() && !is_starting);
        if let (Some(health), true) = (watchdog, said.watchdog == Some(Watchdog::Alive) || said.patience.is_some()) {
            let until = (now + self.patience.unwrap_or(health.timeout)).max(live.since + health.start_period);
            live.probing.attempt = Attempt::Listening { until: Some(until) };
            self.probed = Some((now, Outcome::Passed));
        }
        if said.is_stopping || live.leaving.is_some() {
            live.probing = live.probing.at_rest();
        }
        match &mut self.run {
            Run::Up(own) => *own = live,
            Run::Paused(own) => *own = Live { probing: live.probing.at_rest(), ..live },
            Run::Idle
            | Run::Preparing { .. }
            | Run::Blocked { .. }
            | Run::Starting { .. }
            | Run::Closing { .. }
            | Run::Stopping { .. }
            | Run::Killing { .. }
            | Run::Draining { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. }
            | Run::Waiting { .. } => {}
        }
        let is_triggered = self.spec.voice().watchdog.is_some() && said.watchdog == Some(Watchdog::Trigger);
        if is_triggered && matches!(self.run, Run::Up(_)) && live.leaving.is_none() {
            self.not_well(ctx, live, "it asked for it with WATCHDOG=trigger".to_owned(), out);
        }
    }

    /// What it says it does.
    pub(super) fn note_status(&mut self, said: &Notification) {
        if let Some(status) = &said.status {
            self.status_text.clone_from(status);
        }
    }

    /// An attempt has ended. Of an earlier one nobody wants to know any more.
    pub(super) fn attempt_ended(&mut self, ctx: &Context<'_>, live: Live, attempt: u64, outcome: &Outcome, out: &mut Vec<Effect>) {
        if matches!(live.probing.attempt, Attempt::UnderWay { number, .. } if number == attempt) {
            self.take_outcome(ctx, live, outcome.clone(), out);
        }
    }

    fn take_outcome(&mut self, ctx: &Context<'_>, live: Live, outcome: Outcome, out: &mut Vec<Effect>) {
        let (now, probing) = (ctx.now.mono, live.probing);
        let next = match (probing.stage, &outcome) {
            (Stage::Starting { .. }, Outcome::Passed) => {
                self.probed = Some((now, outcome));
                return self.became_ready(ctx, live, out);
            }
            (Stage::Starting { .. }, Outcome::Failed(_) | Outcome::NotAsked(_)) => {
                let failures = probing.failures.saturating_add(1);
                let delay = self.spec.ready.as_ref().map_or(ATTEMPT, |ready| ready.delay(failures, ctx.chance));
                Probing { attempt: Attempt::Due(now + delay), failures, ..probing }
            }
            (Stage::Ready { lenient_until }, outcome) => {
                let Some(health) = &self.spec.health else { return };
                let attempt = Attempt::Due(now + health.interval);
                let (failures, lenient_until) = match outcome {
                    // One good answer ends the time in which bad ones are expected.
                    Outcome::Passed => (0, lenient_until.min(now)),
                    Outcome::Failed(_) if now < lenient_until => (0, lenient_until),
                    Outcome::Failed(_) => (probing.failures.saturating_add(1), lenient_until),
                    Outcome::NotAsked(_) => (probing.failures, lenient_until),
                };
                Probing { stage: Stage::Ready { lenient_until }, attempt, failures }
            }
        };
        self.probed = Some((now, outcome));
        if matches!(next.stage, Stage::Ready { .. }) && self.spec.health.as_ref().is_some_and(|health| next.failures >= health.retries) {
            let sentence = format!("{0} of {0} probes failed", next.failures);
            let why = self.with_last_failure(sentence);
            return self.not_well(ctx, live, why, out);
        }
        self.run = Run::Up(Live { probing: next, ..live });
    }

    fn became_ready(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        self.run = Run::Up(Live { probing: self.probing_of_ready(ctx, live.since), ..live });
        self.tell_ready(ctx, live, out);
    }

    fn tell_ready(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let after = ctx.now.mono.since(live.since);
        self.ready_after = Some(after);
        self.tally.ready(after);
        self.tell(EventKind::Ready, Some(live.pid), format!("after {}", brief(after)), out);
        self.begin_hook(ctx, Hook::OnReady, out);
    }

    fn never_ready(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let timeout = self.spec.ready.as_ref().and_then(|ready| ready.timeout).unwrap_or_default();
        let why = self.with_last_failure(format!("not ready within {}", brief(timeout)));
        self.end_unwell(ctx, live, EventKind::Unready, why.clone(), why, out);
    }

    fn not_well(&mut self, ctx: &Context<'_>, live: Live, why: String, out: &mut Vec<Effect>) {
        self.end_unwell(ctx, live, EventKind::Unhealthy, why.clone(), format!("health: {why}"), out);
    }

    fn end_unwell(&mut self, ctx: &Context<'_>, live: Live, kind: EventKind, told: String, why: String, out: &mut Vec<Effect>) {
        self.tell(kind, Some(live.pid), told, out);
        self.unwell = why;
        self.begin_stop(ctx, Live { limit: Limit::Unwell, ..live }, Next::Policy, out);
    }

    /// The sentence, and why the last attempt failed.
    fn with_last_failure(&self, sentence: String) -> String {
        match &self.probed {
            Some((_, Outcome::Failed(why) | Outcome::NotAsked(why))) => format!("{sentence}: {why}"),
            Some((_, Outcome::Passed)) | None => sentence + &self.missing_line(),
        }
    }

    /// That the line is still to come by which it says that it is ready; or nothing.
    fn missing_line(&self) -> String {
        let is_starting = self.live().is_some_and(|live| matches!(live.probing.stage, Stage::Starting { .. }));
        match self.spec.ready.as_ref().map(|ready| &ready.check) {
            Some(Check::Log(pattern)) if is_starting => format!(": no line with `{}` yet", shown(&pattern.to_string())),
            Some(_) | None => String::new(),
        }
    }

    /// What it says of itself while it runs.
    pub fn status_text(&self) -> Option<&str> {
        self.live().map(|_| self.status_text.as_str()).filter(|text| !text.is_empty())
    }

    /// How it is found out whether it is ready, and what came of that.
    pub fn readiness_in_words(&self) -> Option<String> {
        let check = &self.spec.ready.as_ref()?.check;
        let outcome = match (self.live().map(|live| live.probing.stage), self.ready_after) {
            (Some(Stage::Ready { .. }), Some(after)) => format!(": after {}", brief(after)),
            (Some(Stage::Ready { .. }), None) | (None, _) => String::new(),
            (Some(Stage::Starting { .. }), _) => self.with_last_failure(String::new()),
        };
        Some(format!("{check}{outcome}"))
    }

    /// How it is found out whether it is well, what came of that last, and when it is asked again.
    pub fn health_in_words(&self, now: Now) -> Option<String> {
        let health = self.spec.health.as_ref()?;
        let how = match health.check.is_its_own_word() {
            true => format!("WATCHDOG=1 within {}", brief(self.patience.unwrap_or(health.timeout))),
            false => format!("{} every {}", health.check, brief(health.interval)),
        };
        let Some(Stage::Ready { .. }) = self.live().map(|live| live.probing.stage) else { return Some(how) };
        let last = match &self.probed {
            Some((at, Outcome::Passed)) if self.is_about_health(*at) => format!(": ok {} ago", brief(now.mono.since(*at))),
            Some((at, Outcome::Failed(why))) => format!(": failed {} ago: {why}", brief(now.mono.since(*at))),
            Some((at, Outcome::NotAsked(why))) => format!(": not asked {} ago: {why}", brief(now.mono.since(*at))),
            Some((_, Outcome::Passed)) | None => String::new(),
        };
        let next = match self.live().map(|live| live.probing.attempt) {
            Some(Attempt::Due(at)) => format!(", next in {}", brief(at.since(now.mono))),
            Some(Attempt::UnderWay { .. }) => ", being asked".to_owned(),
            Some(Attempt::None | Attempt::Listening { .. }) | None => String::new(),
        };
        Some(format!("{how}{last}{next}"))
    }

    /// Whether what came out then was not that it is ready.
    fn is_about_health(&self, at: Mono) -> bool {
        self.live().is_some_and(|live| self.ready_after.is_none_or(|after| live.since + after < at))
    }

    /// What is to be said of its probes while it runs, if it is not ready or not well.
    pub(super) fn complaint(&self, live: Live) -> Option<String> {
        match (live.probing, &self.spec.health) {
            (Probing { stage: Stage::Starting { .. }, .. }, _) => Some(self.with_last_failure("waiting to be ready".to_owned())),
            (Probing { failures: failures @ 1.., .. }, Some(health)) => {
                Some(self.with_last_failure(format!("health: {failures} of {} probes failed", health.retries)))
            }
            (Probing { .. }, _) => None,
        }
    }
}
