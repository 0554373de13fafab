//! When it is looked what has changed: as soon as nothing more is told of, and not much later in any case.
//!
//! One save is several events, and a checkout of a branch is thousands. Invariant: what goes on without end is looked at
//! in the end, again and again.

use std::time::Duration;

use crate::time::Mono;

/// What goes on changing is looked at after this long at the latest.
const AT_MOST: Duration = Duration::from_secs(1);

/// A file that somebody still writes is waited for so long: it would be seen half written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Hints that have not been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    first: Mono,
    last: Mono,
}

impl Settle {
    /// The first hint.
    pub fn begin(now: Mono) -> Settle {
        Settle { first: now, last: now }
    }

    /// One more.
    pub fn again(&mut self, now: Mono) {
        self.last = now;
    }

    /// When to look. `quiet` is how long nothing more must be told of; `is_written` whether somebody writes a file still.
    pub fn due(&self, quiet: Duration, is_written: bool) -> Mono {
        if is_written {
            return self.first + WRITTEN_WITHIN.max(quiet);
        }
        (self.last + quiet).min(self.first + AT_MOST.max(quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(millis * 1_000_000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_is_looked_when_nothing_more_comes_or_when_it_does_not_end() {
        let mut settle = Settle::begin(at(0));
        assert_eq!(settle.due(ms(100), false), at(100));
        settle.again(at(60));
        assert_eq!(settle.due(ms(100), false), at(160));
        settle.again(at(950));
        assert_eq!(settle.due(ms(100), false), at(1000));
        assert_eq!(settle.due(ms(5000), false), at(5000), "who wants to wait longer does");
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for_but_not_for_ever() {
        let settle = Settle::begin(at(0));
        assert_eq!(settle.due(ms(100), true), at(30_000));
    }
}
