//! What a judge knows of the probes of one service.

use std::time::Duration;

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
}

impl Probes {
    pub fn none() -> Probes {
        Probes { ready: false, asked: None, last: 0, failures: 0, limit: None, lenient_until: Mono(0), rest_since: Mono(0) }
    }

    /// A run begins.
    pub fn begin(&mut self, spec: &ServiceSpec, now: Mono) {
        let leniency = spec.health.as_ref().map_or(Duration::ZERO, |health| health.start_period);
        *self = Probes { ready: spec.ready.is_none(), lenient_until: now + leniency, asked: self.asked, last: self.last, ..Probes::none() };
        self.go_on(spec, now);
    }

    /// It goes on after a pause.
    pub fn go_on(&mut self, spec: &ServiceSpec, now: Mono) {
        self.limit = spec.ready.as_ref().filter(|_| !self.ready).and_then(|ready| Some(now + ready.timeout?));
        self.failures = 0;
        self.rest_since = now;
        self.lenient_until = self.lenient_until.max(Mono(1));
    }

    /// An attempt ended. Says whether that is one failure too many.
    pub fn hears(&mut self, spec: &ServiceSpec, now: Mono, outcome: &Outcome) -> bool {
        self.asked = None;
        self.rest_since = now;
        match (outcome, self.ready) {
            (Outcome::Passed, false) => {
                self.ready = true;
                self.limit = None;
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
        let next = self.too_late(spec).or_else(|| Some(self.rest_since + interval?));
        next.into_iter().chain(self.limit).min()
    }

    /// Whether there is anything to be asked.
    pub fn is_wanted(&self, spec: &ServiceSpec) -> bool {
        if self.ready { spec.health.is_some() } else { spec.ready.is_some() }
    }
}
