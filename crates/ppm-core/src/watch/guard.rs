//! When a change is acted upon: the first at once, and no two sooner after one another than the user allows.
//!
//! A service that writes what it watches would restart for ever. It is told by its changes coming right after its starts:
//! after [`IN_A_ROW`] of those the distance doubles with each more, up to [`LONGEST`], until nothing has changed for
//! [`QUIET`]. Pure arithmetic. Invariant: nothing is forgotten; what comes too soon is put off, never left out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Mono;

/// A change that is found so soon after a start is probably the service's own doing.
const SOON: Duration = Duration::from_secs(1);

/// After so many of those in a row the distance grows.
const IN_A_ROW: u32 = 5;

/// To this at most, unless the user allows for more himself.
const LONGEST: Duration = Duration::from_secs(60);

/// After this long without a change all is as it was.
const QUIET: Duration = Duration::from_secs(600);

/// Actions that come within this time of one another are counted for people.
const LATELY: Duration = Duration::from_secs(10);

/// How many of those are remembered.
const REMEMBERED: usize = 10;

/// Keeps a service from being restarted too often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// When a change was acted upon last.
    acted: Option<Mono>,
    /// When one was found last.
    found: Option<Mono>,
    /// Whether it is known yet if the last start was followed by a change soon.
    is_judged: bool,
    in_a_row: u32,
    lately: VecDeque<Mono>,
}

/// What to do about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it may be acted upon.
    pub act_at: Mono,
    /// The distance, if it has begun to grow with this change, which is to be told.
    pub storm: Option<Duration>,
}

impl Guard {
    /// A change was found, where `interval` is the least distance that the user allows.
    pub fn found(&mut self, now: Mono, interval: Duration) -> Found {
        if self.found.is_some_and(|found| now.since(found) >= QUIET) {
            self.in_a_row = 0;
        }
        self.found = Some(now);
        let mut storm = None;
        if let (Some(acted), false) = (self.acted, self.is_judged) {
            self.is_judged = true;
            self.in_a_row = if now.since(acted) <= SOON { self.in_a_row.saturating_add(1) } else { 0 };
            storm = (self.in_a_row == IN_A_ROW).then(|| self.distance(interval));
        }
        Found { act_at: self.earliest(interval).max(now), storm }
    }

    /// When the next change may be acted upon.
    pub fn earliest(&self, interval: Duration) -> Mono {
        self.acted.map_or(Mono(0), |acted| acted + self.distance(interval))
    }

    /// It is acted upon now.
    pub fn act(&mut self, now: Mono) {
        self.acted = Some(now);
        self.is_judged = false;
        self.lately.retain(|at| now.since(*at) < LATELY);
        if self.lately.len() == REMEMBERED {
            self.lately.pop_front();
        }
        self.lately.push_back(now);
    }

    /// What was begun then has ended only now: it may have changed files all the while.
    pub fn act_ended(&mut self, now: Mono) {
        self.acted = Some(now);
        self.is_judged = false;
    }

    /// How often that was within the last 10 s, this time included.
    pub fn times_lately(&self) -> usize {
        self.lately.len()
    }

    fn distance(&self, interval: Duration) -> Duration {
        let doublings = (self.in_a_row + 1).saturating_sub(IN_A_ROW).min(16);
        interval.saturating_mul(1 << doublings).min(LONGEST.max(interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Mono {
        Mono(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn the_first_is_acted_upon_at_once_and_the_next_after_the_interval() {
        let mut guard = Guard::default();
        assert_eq!(guard.found(at(0), INTERVAL).act_at, at(0));
        guard.act(at(0));
        assert_eq!(guard.found(at(1500), INTERVAL).act_at, at(3000));
        guard.act(at(3000));
        assert_eq!(guard.found(at(60_000), INTERVAL).act_at, at(60_000));
        assert_eq!(guard.found(at(60_000), Duration::ZERO).act_at, at(60_000));
    }

    /// The distances between the restarts of a service that writes right after each start.
    fn storm(interval: Duration, rounds: usize) -> Vec<u64> {
        let (mut guard, mut now, mut distances) = (Guard::default(), at(0), Vec::new());
        for _ in 0..rounds {
            let then = guard.found(now + Duration::from_millis(150), interval).act_at;
            distances.push(then.since(now).as_millis().try_into().unwrap());
            guard.act(then);
            now = then;
        }
        distances
    }

    #[test]
    fn who_writes_what_it_watches_is_restarted_less_and_less_often() {
        let distances = [150, 3000, 3000, 3000, 3000, 6000, 12_000, 24_000, 48_000, 60_000, 60_000];
        assert_eq!(storm(INTERVAL, 11), distances);
        assert_eq!(storm(Duration::from_secs(90), 8)[7], 90_000, "who allows for more gets it");
    }

    #[test]
    fn the_storm_is_told_once_and_is_over_after_quiet_or_a_change_that_comes_later() {
        let mut guard = Guard::default();
        let mut told = Vec::new();
        let mut now = at(0);
        for _ in 0..8 {
            let Found { act_at, storm } = guard.found(now + Duration::from_millis(150), INTERVAL);
            told.push(storm);
            guard.found(act_at, INTERVAL);
            guard.act(act_at);
            now = act_at;
        }
        let six = Some(Duration::from_secs(6));
        assert_eq!(told, [None, None, None, None, None, six, None, None]);
        let later = guard.clone().found(now + Duration::from_secs(5), INTERVAL).act_at;
        assert_eq!(later, now + Duration::from_secs(5));
        let quiet = now + QUIET + Duration::from_secs(1);
        assert_eq!(guard.found(quiet, INTERVAL).act_at, quiet);
        assert_eq!(guard.earliest(INTERVAL), now + INTERVAL);
    }

    #[test]
    fn what_takes_long_and_writes_at_its_end_is_found_out_too() {
        let (mut guard, mut now) = (Guard::default(), at(0));
        let mut distances = Vec::new();
        for _ in 0..7 {
            guard.act(now);
            guard.act_ended(now + Duration::from_secs(20));
            let then = guard.found(now + Duration::from_millis(20_100), INTERVAL).act_at;
            distances.push(then.since(now + Duration::from_secs(20)).as_secs());
            now = then;
        }
        assert_eq!(distances, [3, 3, 3, 3, 6, 12, 24]);
    }

    #[test]
    fn how_often_it_was_lately_is_counted() {
        let mut guard = Guard::default();
        [0, 3000, 6000].into_iter().for_each(|millis| guard.act(at(millis)));
        assert_eq!(guard.times_lately(), 3);
        guard.act(at(14_000));
        assert_eq!(guard.times_lately(), 2);
    }
}
