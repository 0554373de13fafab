//! Which deaths are the kernel's doing because memory was short (R47).
//!
//! The kernel tells nobody whom it killed, only how many, and counts before it kills. So a death by SIGKILL of which
//! nobody else is known is one of them, if more have been counted since. Invariant: no more deaths are explained than
//! kills were counted.

use std::time::Duration;

use ppm_protocol::{Exit, Signal};

use crate::time::Mono;

/// A kill explains deaths for this long: of one that happens later it was not the cause, and somebody of whom the
/// daemon does not hear died of it.
const RECENT: Duration = Duration::from_secs(5);

/// What a shell exits with when SIGKILL ended what it ran.
const KILLED_BELOW: Exit = Exit::Code(128 + 9);

/// The kills that were counted.
#[derive(Debug, Default)]
pub(crate) struct OomKills {
    /// None: nobody has counted yet, and what was before is not known.
    counted: Option<u64>,
    unexplained: u64,
    seen: Mono,
}

impl OomKills {
    /// So many there are by now.
    pub fn count(&mut self, now: Mono, kills: u64) {
        let more = self.counted.map_or(0, |counted| kills.saturating_sub(counted));
        if more > 0 {
            self.forget_old(now);
            self.unexplained = self.unexplained.saturating_add(more);
            self.seen = now;
        }
        self.counted = Some(kills);
    }

    /// Whether a death of that kind is one of them, which then explains no other.
    pub fn explain(&mut self, now: Mono, exit: Exit) -> bool {
        self.forget_old(now);
        let is_one = self.unexplained > 0 && may_be_one(exit);
        self.unexplained -= u64::from(is_one);
        is_one
    }

    fn forget_old(&mut self, now: Mono) {
        if now.since(self.seen) > RECENT {
            self.unexplained = 0;
        }
    }
}

/// Whether a death looks as if the kernel had killed for want of memory: then it is time to count.
pub fn may_be_one(exit: Exit) -> bool {
    exit == Exit::Signal(Signal::KILL) || exit == KILLED_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit::Signal(Signal::KILL);

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn as_many_deaths_are_explained_as_kills_were_counted() {
        let mut kills = OomKills::default();
        kills.count(at(1), 7);
        assert!(!kills.explain(at(1), KILLED), "what was before the first count");
        kills.count(at(2), 9);
        assert!(!kills.explain(at(2), Exit::Code(1)) && !kills.explain(at(2), Exit::Signal(Signal::TERM)));
        assert!(kills.explain(at(2), KILLED) && kills.explain(at(3), KILLED_BELOW));
        assert!(!kills.explain(at(3), KILLED));
        kills.count(at(4), 9);
        assert!(!kills.explain(at(4), KILLED));
    }

    #[test]
    fn a_kill_of_somebody_unknown_is_not_laid_to_a_death_much_later() {
        let mut kills = OomKills::default();
        kills.count(at(1), 0);
        kills.count(at(2), 1);
        assert!(!kills.explain(at(8), KILLED));
        kills.count(at(20), 2);
        assert!(kills.explain(at(20), KILLED) && !kills.explain(at(20), KILLED));
    }

    #[test]
    fn a_count_that_shrinks_is_a_new_beginning() {
        let mut kills = OomKills::default();
        kills.count(at(1), 5);
        kills.count(at(2), 1);
        assert!(!kills.explain(at(2), KILLED));
        kills.count(at(3), 2);
        assert!(kills.explain(at(3), KILLED));
    }
}
