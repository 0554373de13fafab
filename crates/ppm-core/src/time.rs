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

/// A duration in words, at most two units and two digits: `431ms`, `3.9s`, `2m 5s`, `3d 4h`. Cut, not rounded up: nobody
/// is told of a time that has not passed yet.
pub fn brief(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    let two = |big: u64, unit: char, small: u64, unit_small: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit} {small}{unit_small}"),
    };
    match seconds {
        0 if millis == 0 && !duration.is_zero() => "1ms".to_owned(),
        0 if millis > 0 => format!("{millis}ms"),
        0..10 if !millis.is_multiple_of(1000) => format!("{seconds}.{}s", millis % 1000 / 100),
        0..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3600..86_400 => two(seconds / 3600, 'h', seconds % 3600 / 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds % 86_400 / 3600, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_people_say_them() {
        let cases = [(0, "0s"), (431, "431ms"), (1800, "1.8s"), (1000, "1s"), (5000, "5s"), (3999, "3.9s"), (59_999, "59s")];
        let long = [(125_000, "2m 5s"), (60_000, "1m"), (3_600_000, "1h"), (273_600_000, "3d 4h"), (86_400_000, "1d")];
        let edges = [(999, "999ms"), (9999, "9.9s"), (10_000, "10s"), (86_399_999, "23h 59m"), (u64::MAX, "213503982334d 14h")];
        for (millis, text) in cases.into_iter().chain(long).chain(edges) {
            assert_eq!(brief(Duration::from_millis(millis)), text);
        }
        assert_eq!(brief(Duration::from_micros(3)), "1ms");
    }

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        assert_eq!(Mono(5) + Duration::MAX, Mono(u64::MAX));
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
    }

    #[test]
    fn the_two_clocks_are_converted_by_their_distance_from_now() {
        let now = Now { mono: Mono(10_000_000_000), wall: Timestamp(50_000) };
        assert_eq!(now.wall_at(Mono(12_000_000_000)), Timestamp(52_000));
        assert_eq!(now.wall_at(Mono(9_000_000_000)), Timestamp(49_000));
        assert_eq!(now.mono_at(Timestamp(52_000)), Mono(12_000_000_000));
        assert_eq!(now.mono_at(Timestamp(1)), now.mono);
    }
}
