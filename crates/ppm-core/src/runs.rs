//! What a service has run lately: a few records and some counters.
//!
//! Bounded: so many records as the schedule asks for, the oldest go. Invariant: at most the last record is open.

use std::collections::VecDeque;
use std::time::Duration;

use ppm_protocol::{Exit, Timestamp};

use crate::event::Cause;
use crate::service::How;

/// How many runs are kept where nothing else is said.
pub const USUAL: usize = 10;

/// How many runs are kept at most: more are for logs.
pub const MOST: u32 = 1000;

/// The last runs of a service.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    kept: VecDeque<Record>,
    /// What else is known.
    pub counters: Counters,
}

/// How often what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Planned runs that were started.
    pub fired: u64,
    /// Those that were left out because the run before still lasted.
    pub skipped: u64,
    /// Those that were left out because their time had passed.
    pub missed: u64,
    /// Runs that were ended because they lasted too long.
    pub timeouts: u64,
    /// How late a planned run has begun at most.
    pub latest: Duration,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Why it was started.
    pub cause: Cause,
    /// When it was to begin; None: it was not planned.
    pub planned: Option<Timestamp>,
    /// When it began, or could not begin.
    pub started: Timestamp,
    /// How it ended; None: it lasts.
    pub end: Option<Ended>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Of the main process, where there was one.
    pub exit: Option<Exit>,
    /// Whether that was well.
    pub outcome: Outcome,
}

/// What an end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself, well.
    Finished,
    /// It ended by itself, badly.
    Crashed,
    /// It was asked to end.
    Stopped,
    /// It lasted too long.
    TimedOut,
    /// It could not be started.
    NotStarted,
}

impl Outcome {
    /// What a way to end means.
    pub fn of(how: &How) -> Outcome {
        match how {
            How::Finished => Outcome::Finished,
            How::Crashed | How::OutOfMemory | How::Unwell(_) => Outcome::Crashed,
            How::Obeyed | How::DiedStopping | How::Overran(_) | How::Outgrew { .. } => Outcome::Stopped,
            How::TimedOut(_) => Outcome::TimedOut,
            How::NotStarted(_) => Outcome::NotStarted,
        }
    }
}

impl Record {
    /// How much later than planned it began; None: it was not planned.
    pub fn late(&self) -> Option<Duration> {
        let late = self.started.0.saturating_sub(self.planned?.0);
        Some(Duration::from_millis(u64::try_from(late).unwrap_or(0)))
    }
}

impl Runs {
    /// A run has begun.
    pub fn begin(&mut self, keep: usize, record: Record) {
        if let Some(late) = record.late() {
            self.counters.fired += 1;
            self.counters.latest = self.counters.latest.max(late);
        }
        while self.kept.len() >= keep.max(1) {
            self.kept.pop_front();
        }
        if keep > 0 {
            if self.kept.len() == self.kept.capacity() {
                // Most run once: room for what there is, twice as much each time, and never for more than is kept.
                let more = self.kept.len().clamp(1, keep - self.kept.len());
                self.kept.reserve_exact(more);
            }
            self.kept.push_back(record);
        }
    }

    /// The run has ended.
    pub fn end(&mut self, end: Ended) {
        if let Some(last) = self.kept.back_mut().filter(|last| last.end.is_none()) {
            last.end = Some(end);
        }
    }

    /// The runs kept, oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &Record> {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started: i64) -> Record {
        Record { cause: Cause::Schedule, planned: Some(Timestamp(started - 5)), started: Timestamp(started), end: None }
    }

    #[test]
    fn only_the_last_runs_are_kept_and_each_ends_once() {
        let mut runs = Runs::default();
        for started in 1..=5 {
            runs.begin(3, run(started));
            let end = |outcome| Ended { at: Timestamp(started), exit: Some(Exit::Code(0)), outcome };
            runs.end(end(Outcome::Finished));
            runs.end(end(Outcome::Crashed));
        }
        assert_eq!(runs.kept().map(|run| run.started.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(runs.kept().all(|run| run.end.is_some_and(|end| end.outcome == Outcome::Finished)));
        assert_eq!((runs.counters.fired, runs.counters.latest), (5, Duration::from_millis(5)));
    }

    #[test]
    fn none_may_be_kept_and_fewer_than_before() {
        let mut runs = Runs::default();
        runs.begin(0, run(1));
        assert_eq!(runs.kept().count(), 0);
        for started in 2..6 {
            runs.begin(10, run(started));
        }
        runs.begin(2, run(6));
        assert_eq!(runs.kept().map(|run| run.started.0).collect::<Vec<_>>(), [5, 6]);
    }
}
