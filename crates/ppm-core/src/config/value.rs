//! Values that are written as text: durations and percentages.
//!
//! Reading and writing stand side by side. Invariant: what is written reads as the same value.

use std::time::Duration;

use humantime::DurationError;

use crate::spec::shown;

/// No duration is longer: 100 years of 365 days.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Longer texts are no duration; with the limit on digits it also keeps sums far from overflowing.
const MAX_DURATION_TEXT: usize = 64;
const MAX_DIGITS: usize = 10;

/// What to write where a duration is wanted.
pub(crate) const DURATION_HINT: &str = "write a number and a unit: `10s`, `1m 30s`, `2h`";

/// Units for writing, in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// Reads `10s`, `1h 30m` or a number of seconds.
///
/// # Errors
/// A few words about what is wrong; they stand beside the mark.
pub(crate) fn read_duration(text: &str) -> Result<Duration, String> {
    let too_long = || "too long".to_owned();
    if text.len() > MAX_DURATION_TEXT || text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MAX_DIGITS) {
        return Err(too_long());
    }
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return read_seconds(seconds);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) | Err(DurationError::NumberOverflow) => Err(too_long()),
        Err(DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => Err("a unit is missing".into()),
        Err(DurationError::UnknownUnit { unit, .. }) => Err(format!("unknown unit `{}`", shown(&unit))),
        Err(DurationError::Empty) => Err("nothing is written".into()),
        Err(DurationError::InvalidCharacter(_) | DurationError::NumberExpected(_)) => Err("not a number and a unit".into()),
    }
}

/// Reads a bare number.
pub(super) fn read_seconds(seconds: f64) -> Result<Duration, String> {
    if seconds.is_sign_negative() && seconds != 0.0 {
        return Err("it cannot be negative".into());
    }
    let duration = Duration::try_from_secs_f64(seconds.abs()).ok().filter(|duration| *duration <= MAX_DURATION);
    duration.ok_or_else(|| if seconds.is_nan() { "not a number".into() } else { "too long".into() })
}

/// Writes the shortest sum of whole units.
pub(super) fn write_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// Reads `10%` or `10 %`, 0 to 100.
pub(super) fn read_percent(text: &str) -> Option<u8> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|percent| whole && *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_as_seconds() {
        let millis = |text| read_duration(text).map(|duration| duration.as_millis());
        for (text, wanted) in [
            ("10s", 10_000),
            ("1m 30s", 90_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("10", 10_000),
            ("0.25", 250),
            (" 2 ", 2000),
            ("0", 0),
            ("0s", 0),
            ("30d", 2_592_000_000),
            ("5 min", 300_000),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(millis(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_explained() {
        for (text, wanted) in [
            ("10 parsecs", "unknown unit `parsecs`"),
            ("1m 30", "a unit is missing"),
            ("", "nothing is written"),
            ("-5s", "not a number and a unit"),
            ("-5", "it cannot be negative"),
            ("s", "not a number and a unit"),
            ("36501d", "too long"),
            ("99999999999s", "too long"),
            ("nan", "not a number"),
            ("inf", "too long"),
            ("1e300", "too long"),
            ("584542046090y 18446744073709551615s 1000000000ns", "too long"),
            ("5S", "unknown unit `S`"),
        ] {
            assert_eq!(read_duration(text), Err(wanted.into()), "{text}");
        }
    }

    #[test]
    fn every_written_duration_reads_the_same() {
        for nanos in [0, 1, 999, 1000, 1_500_000_000, 90_000_000_000, 86_400_000_000_001, u64::MAX / 10] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(read_duration(&write_duration(duration)), Ok(duration));
        }
        assert_eq!(read_duration(&write_duration(MAX_DURATION)), Ok(MAX_DURATION));
        assert_eq!(write_duration(Duration::from_millis(5_400_250)), "1h 30m 250ms");
    }

    #[test]
    fn percentages_are_whole_and_at_most_a_hundred() {
        assert_eq!(["0%", "10%", "10 %", "100%"].map(read_percent), [Some(0), Some(10), Some(10), Some(100)]);
        for text in ["", "%", "10", "101%", "-1%", "+5%", "1.5%", "ten%", "10%%", "300%"] {
            assert_eq!(read_percent(text), None, "{text}");
        }
    }
}
