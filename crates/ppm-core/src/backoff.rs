//! Backoff: how long a crashed service waits.
//!
//! Pure arithmetic; never reads a clock, and chance is an argument. Invariant: the delay never shrinks while
//! crashes follow one another, and never exceeds the ceiling (R34).

use std::time::Duration;

use crate::spec::RestartPolicy;

/// The delay before the restart after the `crash`-th consecutive crash, 1 or greater.
///
/// `interval * 2^(crash - 1)`, lengthened by up to `jitter` of itself, at most `max_interval`. `chance` is uniform
/// over all of u64. An interval of zero means at once and does not grow.
pub fn delay(policy: &RestartPolicy, crash: u32, chance: u64) -> Duration {
    let doublings = crash.saturating_sub(1).min(63);
    let grown = policy.interval.as_nanos().saturating_mul(1 << doublings);
    let room = grown.saturating_mul(u128::from(policy.jitter_percent)) / 100;
    let extra = (u128::from(chance) * room.min(u128::from(u64::MAX))) >> 64;
    let nanos = grown.saturating_add(extra).min(policy.max_interval.max(policy.interval).as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(interval: u64, max_interval: u64, jitter_percent: u8) -> RestartPolicy {
        let millis = Duration::from_millis;
        RestartPolicy { interval: millis(interval), max_interval: millis(max_interval), jitter_percent, ..RestartPolicy::default() }
    }

    #[test]
    fn delays_are_one_two_four_times_the_interval_r34() {
        let delays: Vec<u128> = (1..=6).map(|n| delay(&policy(1000, 20_000, 0), n, u64::MAX).as_millis()).collect();
        assert_eq!(delays, [1000, 2000, 4000, 8000, 16_000, 20_000]);
    }

    #[test]
    fn no_number_of_crashes_overflows_or_returns_to_zero_r34() {
        for crash in [31, 32, 33, 63, 64, 65, 128, u32::MAX] {
            assert_eq!(delay(&policy(1, 300_000, 0), crash, 0), Duration::from_secs(300), "{crash}");
            assert_eq!(delay(&policy(u64::MAX, u64::MAX, 100), crash, u64::MAX), Duration::from_nanos(u64::MAX), "{crash}");
        }
    }

    #[test]
    fn an_interval_of_zero_is_at_once_and_does_not_grow() {
        assert_eq!(delay(&policy(0, 300_000, 100), 40, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn jitter_only_lengthens_and_never_beyond_the_ceiling() {
        let at = |chance| delay(&policy(1000, 4000, 50), 2, chance).as_millis();
        assert_eq!((at(0), at(u64::MAX / 2), at(u64::MAX)), (2000, 2499, 2999));
        assert_eq!(delay(&policy(1000, 4000, 50), 3, u64::MAX).as_millis(), 4000);
    }

    #[test]
    fn a_ceiling_below_the_interval_is_the_interval() {
        assert_eq!(delay(&policy(2000, 1000, 0), 1, 0), Duration::from_secs(2));
    }
}
