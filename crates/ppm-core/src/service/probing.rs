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
use crate::probe::{ATTEMPT, Check, Outcome};
use crate::spec::Command;
use crate::time::{Mono, brief};

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
            Attempt::Due(at) | Attempt::UnderWay { until: at, .. } => Some(at),
        };
        let (told_at, limit) = match self.stage {
            Stage::Starting { told_at, limit } => (told_at, limit),
            Stage::Ready { .. } => (None, None),
        };
        [attempt, told_at, limit].into_iter().flatten().min()
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
        })
    }

    /// Another program, run as the service is.
    fn launch_of(&self, words: &[String]) -> Launch {
        let (path, args) = words.split_first().map_or((String::new(), Vec::new()), |(path, args)| (path.clone(), args.to_vec()));
        let command = Command { path, args, ..self.spec.command.clone() };
        Launch { name: self.spec.name.clone(), command, logger: None, stdin: Stdin::Null, told: Vec::new() }
    }

    /// Where the probes of a run begin.
    pub(super) fn first_probing(&self, ctx: &Context<'_>) -> Probing {
        let now = ctx.now.mono;
        match &self.spec.ready {
            Some(ready) => {
                let stage = Stage::Starting { told_at: Some(now + ready.start_period), limit: ready.timeout.map(|timeout| now + timeout) };
                Probing { stage, attempt: Attempt::Due(now), failures: 0 }
            }
            None => self.probing_of_ready(ctx, now),
        }
    }

    /// Where the probes of a run begin that is ready, and was started then.
    fn probing_of_ready(&self, ctx: &Context<'_>, since: Mono) -> Probing {
        let (attempt, leniency) = match &self.spec.health {
            Some(health) => (Attempt::Due(ctx.now.mono + health.first_delay(ctx.chance)), health.start_period),
            None => (Attempt::None, Duration::ZERO),
        };
        Probing { stage: Stage::Ready { lenient_until: since + leniency }, attempt, failures: 0 }
    }

    /// Probes begin anew: it goes on after a pause, or is to be probed otherwise. What is ready stays so.
    pub(super) fn probe_anew(&mut self, ctx: &Context<'_>, live: Live) {
        let probing = match live.probing.stage {
            _ if live.leaving.is_some() => live.probing.at_rest(), // it is to end, whatever they would say
            Stage::Starting { .. } => self.first_probing(ctx),
            Stage::Ready { .. } => self.probing_of_ready(ctx, live.since),
        };
        self.run = Run::Up(Live { probing, ..live });
        self.probed = None;
    }

    /// Whatever an input has led to: when it started is kept in mind, and an attempt that was under way and is not any more
    /// is stopped, unless it has just ended by itself.
    pub(super) fn keep_in_step(&mut self, ctx: &Context<'_>, before: Run, input: &Input, out: &mut Vec<Effect>) {
        if matches!(self.run, Run::Starting { .. }) && before != self.run {
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
            Attempt::None | Attempt::Due(_) | Attempt::UnderWay { .. } => {}
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
            return self.not_well(ctx, live, next.failures, out);
        }
        self.run = Run::Up(Live { probing: next, ..live });
    }

    fn became_ready(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        self.run = Run::Up(Live { probing: self.probing_of_ready(ctx, live.since), ..live });
        let after = brief(ctx.now.mono.since(live.since));
        self.tell(EventKind::Ready, Some(live.pid), format!("after {after}"), out);
        self.begin_hook(Hook::OnReady, out);
    }

    fn never_ready(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let timeout = self.spec.ready.as_ref().and_then(|ready| ready.timeout).unwrap_or_default();
        let why = self.with_last_failure(format!("not ready within {}", brief(timeout)));
        self.end_unwell(ctx, live, EventKind::Unready, why.clone(), why, out);
    }

    fn not_well(&mut self, ctx: &Context<'_>, live: Live, failures: u32, out: &mut Vec<Effect>) {
        let retries = self.spec.health.as_ref().map_or(failures, |health| health.retries);
        let why = self.with_last_failure(format!("{failures} of {retries} probes failed"));
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
            Some((_, Outcome::Passed)) | None => sentence,
        }
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
