//! What a judge knows of the probes of one service.

use std::time::Duration;

use ppm_core::notification::{Notification, Watchdog};
use ppm_core::probe::{ATTEMPT, Outcome};
use ppm_core::spec::ServiceSpec;
use ppm_core::time::Mono;

/// Of one run.
#[derive(Clone, Copy, Debug)]
pub struct Probes {
    /// It was found ready, or need not be.
    pub ready: bool,
    /// The attempt under way, and since when.
    pub asked: Option<(u64, Mono)>,
    /// The number of the last attempt of all runs.
    pub last: u64,
    pub failures: u32,
    /// When it must be ready.
    limit: Option<Mono>,
    lenient_until: Mono,
    /// When an attempt was made last, or might have begun to be.
    rest_since: Mono,
    /// How long it has said that it may be silent, and when it has been for too long.
    patience: Option<Duration>,
    silent_until: Mono,
    /// Before that silence means nothing.
    word_from: Mono,
    /// It has said that it ends: nobody asks it anything.
    left_alone: bool,
}

impl Probes {
    pub fn none() -> Probes {
        Probes {
            ready: false,
            asked: None,
            last: 0,
            failures: 0,
            limit: None,
            lenient_until: Mono(0),
            rest_since: Mono(0),
            patience: None,
            silent_until: Mono(0),
            word_from: Mono(0),
            left_alone: false,
        }
    }

    /// A run begins.
    pub fn begin(&mut self, spec: &ServiceSpec, now: Mono) {
        let leniency = spec.health.as_ref().map_or(Duration::ZERO, |health| health.start_period);
        let (lenient_until, word_from) = (now + leniency, now + leniency);
        *self = Probes { ready: spec.ready.is_none(), lenient_until, word_from, asked: self.asked, last: self.last, ..Probes::none() };
        self.go_on(spec, now);
    }

    /// It goes on after a pause.
    pub fn go_on(&mut self, spec: &ServiceSpec, now: Mono) {
        self.limit = spec.ready.as_ref().filter(|_| !self.ready).and_then(|ready| Some(now + ready.timeout?));
        self.failures = 0;
        self.rest_since = now;
        self.left_alone = false;
        self.speaks(spec, now);
    }

    /// It may be silent from now on.
    fn speaks(&mut self, spec: &ServiceSpec, now: Mono) {
        let patience = self.patience.or(spec.health.as_ref().map(|health| health.timeout)).unwrap_or_default();
        self.silent_until = (now + patience).max(self.word_from);
    }

    /// It says something. Says whether that it is not well.
    pub fn says(&mut self, spec: &ServiceSpec, now: Mono, said: &Notification) -> bool {
        let was_ready = self.ready;
        self.patience = said.patience.or(self.patience);
        if let Some(more_time) = said.more_time {
            self.limit = self.limit.map(|limit| limit.max(now + more_time));
            self.silent_until = self.silent_until.max(now + more_time);
        }
        if said.is_ready && !self.ready && speaks_of_readiness(spec) {
            (self.ready, self.limit, self.failures, self.left_alone) = (true, None, 0, false);
            self.rest_since = now;
            self.speaks(spec, now);
        }
        if was_ready && speaks_of_health(spec) && (said.watchdog == Some(Watchdog::Alive) || said.patience.is_some()) {
            self.left_alone = false;
            self.speaks(spec, now);
        }
        self.left_alone |= said.is_stopping;
        speaks_of_health(spec) && said.watchdog == Some(Watchdog::Trigger)
    }

    /// It was to say that it is well, and did not.
    pub fn is_silent(&self, spec: &ServiceSpec, now: Mono) -> bool {
        self.ready && !self.left_alone && speaks_of_health(spec) && self.silent_until <= now
    }

    /// An attempt ended. Says whether that is one failure too many.
    pub fn hears(&mut self, spec: &ServiceSpec, now: Mono, outcome: &Outcome) -> bool {
        self.asked = None;
        self.rest_since = now;
        match (outcome, self.ready) {
            (Outcome::Passed, false) => {
                self.ready = true;
                self.limit = None;
                self.speaks(spec, now);
            }
            (Outcome::Passed, true) => {
                self.failures = 0;
                self.lenient_until = self.lenient_until.min(now);
            }
            (Outcome::Failed(_), true) if now >= self.lenient_until => self.failures += 1,
            (Outcome::Failed(_), true) => self.failures = 0,
            (Outcome::Failed(_), false) | (Outcome::NotAsked(_), _) => {}
        }
        spec.health.as_ref().is_some_and(|health| self.ready && self.failures >= health.retries)
    }

    /// When the attempt under way has taken too long.
    pub fn too_late(&self, spec: &ServiceSpec) -> Option<Mono> {
        let timeout = spec.health.as_ref().filter(|_| self.ready).map_or(ATTEMPT, |health| health.timeout);
        self.asked.map(|(_, since)| since + timeout)
    }

    pub fn is_never_ready(&self, now: Mono) -> bool {
        !self.ready && self.limit.is_some_and(|limit| limit <= now)
    }

    /// At the latest then something is to be done.
    pub fn wake(&self, spec: &ServiceSpec) -> Option<Mono> {
        let interval = match self.ready {
            false => spec.ready.as_ref().map(|ready| ready.interval),
            true => spec.health.as_ref().map(|health| health.interval),
        };
        let silence = (self.ready && !self.left_alone && speaks_of_health(spec)).then_some(self.silent_until);
        let next = self.too_late(spec).or_else(|| Some(self.rest_since + interval.filter(|_| self.is_wanted(spec))?));
        next.into_iter().chain(self.limit).chain(silence).min()
    }

    /// Whether there is anything to be asked.
    pub fn is_wanted(&self, spec: &ServiceSpec) -> bool {
        let check = match self.ready {
            true => spec.health.as_ref().map(|health| &health.check),
            false => spec.ready.as_ref().map(|ready| &ready.check),
        };
        !self.left_alone && check.is_some_and(|check| !check.is_its_own_word())
    }
}

fn speaks_of_readiness(spec: &ServiceSpec) -> bool {
    spec.ready.as_ref().is_some_and(|ready| ready.check.is_its_own_word())
}

fn speaks_of_health(spec: &ServiceSpec) -> bool {
    spec.health.as_ref().is_some_and(|health| health.check.is_its_own_word())
}
