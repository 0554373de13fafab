//! What has happened to a service so often, for those who watch it over time.
//!
//! Counts only, from the daemon's start on; nothing is decided by them. Bounded: there are only so many causes and exits.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_protocol::{Exit, Timestamp};

use crate::event::Cause;

/// The counts of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Starts after the first, by their cause.
    pub restarts: BTreeMap<Cause, u64>,
    /// Ends of main processes.
    pub exits: BTreeMap<Exit, u64>,
    /// Starts that came to nothing.
    pub failed_starts: u64,
    /// When a run last came to a good end by itself.
    pub succeeded: Option<Timestamp>,
    /// How long it took to become ready; None: it never had to.
    pub readiness: Option<Box<Waits>>,
}

/// How long something took, so many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many took no longer than the bound beside it in [`BOUNDS`], and longer than the one before.
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// All together.
    pub sum: Duration,
}

/// In milliseconds: from programs that are ready at once to those that load for minutes.
pub const BOUNDS: [u64; 10] = [100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000];

impl Tally {
    /// It was started anew.
    pub fn restarted(&mut self, cause: Cause) {
        *self.restarts.entry(cause).or_default() += 1;
    }

    /// Its main process has ended.
    pub fn exited(&mut self, exit: Exit) {
        *self.exits.entry(exit).or_default() += 1;
    }

    /// It has become ready.
    pub fn ready(&mut self, after: Duration) {
        self.readiness.get_or_insert_default().add(after);
    }
}

impl Waits {
    fn add(&mut self, took: Duration) {
        if let Some(at) = BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound)) {
            self.within[at] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_counted_at_the_first_bound_that_it_keeps() {
        let mut tally = Tally::default();
        for millis in [0, 100, 101, 300_000, 300_001] {
            tally.ready(Duration::from_millis(millis));
        }
        let waits = tally.readiness.unwrap();
        assert_eq!((waits.within, waits.count, waits.sum), ([2, 1, 0, 0, 0, 0, 0, 0, 0, 1], 5, Duration::from_millis(600_202)));
    }
}
