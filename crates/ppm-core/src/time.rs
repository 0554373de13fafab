//! Time as the core sees it: given with every event, never taken.
//!
//! Delays and deadlines are [`Mono`] (a clock that only goes forward, R36); what people planned is
//! [`Timestamp`] (the wall clock, which may be set).

use std::ops::Add;
use std::time::Duration;

pub use ppm_protocol::Timestamp;

/// An instant of a monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub u64);

impl Mono {
    /// The time that passed since `earlier`; zero if it is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    /// Saturates: the far future stays the far future (R34).
    fn add(self, duration: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The present, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For delays.
    pub mono: Mono,
    /// For plans and for telling people.
    pub wall: Timestamp,
}

impl Now {
    /// What the wall clock showed, or will show, at `mono`, if nobody sets it.
    pub fn wall_at(self, mono: Mono) -> Timestamp {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if mono >= self.mono {
            Timestamp(self.wall.0.saturating_add(millis(mono.since(self.mono))))
        } else {
            Timestamp(self.wall.0.saturating_sub(millis(self.mono.since(mono))))
        }
    }

    /// When the monotonic clock will have reached `wall`, if nobody sets the wall clock; at once if it has passed.
    pub fn mono_at(self, wall: Timestamp) -> Mono {
        self.mono + Duration::from_millis(u64::try_from(wall.0.saturating_sub(self.wall.0)).unwrap_or(0))
    }
}
