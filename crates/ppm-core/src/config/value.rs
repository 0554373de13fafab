//! Values that are written as text: durations, sizes, limits and percentages.
//!
//! Reading and writing stand side by side. Invariant: what is written reads as the same value.

use std::time::Duration;

use humantime::DurationError;

use crate::attributes::Unit;
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

/// Writes the shortest sum of whole units: `1m 30s`, `1s 500ms`.
pub fn write_duration(duration: Duration) -> String {
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

/// What to write where a size is wanted.
pub(super) const SIZE_HINT: &str = "write a number and a unit: `512KiB`, `20MiB`, `1GiB`; a bare number is bytes";

/// The letters of the units of size, from 1024 bytes on, each 1024 times the one before.
const SIZE_UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];

/// No size is larger, in bytes: kernels count in numbers with a sign.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// How many digits may follow the point of a size: enough for a byte of a tebibyte.
const MAX_SIZE_DECIMALS: usize = 12;

/// A number of bytes, and how it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// At most [`MAX_SIZE`].
    pub bytes: u64,
    /// Whether others would take the unit for a power of 1000: `256M`, `20MB`, not `256MiB`.
    pub ambiguous: bool,
}

/// Reads `20MiB`, `1.5G`, `64 kb` or a number of bytes. A unit is a power of 1024 in every spelling, in capitals or
/// not, as docker(1) and systemd(1) have it.
///
/// # Errors
/// A few words about what is wrong; they stand beside the mark.
pub(super) fn read_size(text: &str) -> Result<Size, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("nothing is written".into());
    }
    if text.starts_with('-') {
        return Err("it cannot be negative".into());
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let unit = unit.trim();
    let (exponent, ambiguous) = size_unit(unit).ok_or_else(|| format!("unknown unit `{}`", shown(unit)))?;
    let (whole, decimals) = number.split_once('.').map_or((number, None), |(whole, decimals)| (whole, Some(decimals)));
    let no_number = || "not a number and a unit".to_owned();
    if whole.is_empty() || decimals.is_some_and(|decimals| decimals.is_empty() || decimals.contains('.')) {
        return Err(no_number());
    }
    let decimals = decimals.unwrap_or_default();
    if decimals.len() > MAX_SIZE_DECIMALS {
        return Err("too many digits after the point".into());
    }
    if exponent == 0 && !decimals.is_empty() {
        return Err("there are no parts of a byte".into());
    }
    let unit = 1_u128 << (10 * exponent);
    let too_large = || "too large".to_owned();
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let scale = 10_u128.pow(u32::try_from(decimals.len()).unwrap_or(0));
    let part = decimals.parse().unwrap_or(0_u128) * unit / scale; // cut to whole bytes
    let bytes = whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part)).and_then(|bytes| u64::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| *bytes <= MAX_SIZE).ok_or_else(too_large)?;
    Ok(Size { bytes, ambiguous })
}

/// The power of 1024 that a unit stands for, and whether others would take it for one of 1000.
fn size_unit(unit: &str) -> Option<(u32, bool)> {
    let unit = unit.to_ascii_uppercase();
    if unit.is_empty() || unit == "B" {
        return Some((0, false));
    }
    let letter = unit.chars().next()?;
    let exponent = (1..).zip(SIZE_UNITS).find(|(_, own)| *own == letter).map(|(exponent, _)| exponent)?;
    match &unit[1..] {
        "I" | "IB" => Some((exponent, false)),
        "" | "B" => Some((exponent, true)),
        _ => None,
    }
}

/// Writes a size in the largest unit that holds it without a rest.
pub fn write_size(bytes: u64) -> String {
    let (mut rest, mut unit) = (bytes, None);
    for letter in SIZE_UNITS {
        if rest == 0 || !rest.is_multiple_of(1024) {
            break;
        }
        rest /= 1024;
        unit = Some(letter);
    }
    unit.map_or_else(|| bytes.to_string(), |letter| format!("{rest}{letter}iB"))
}

/// What to write where a rate is wanted.
pub(super) const RATE_HINT: &str = "write a size for each second: `512KiB/s`, `10MiB/s`; `0` for any";

/// Reads `10MiB/s`, or `0`; how many bytes a second that is.
///
/// # Errors
/// A few words about what is wrong; they stand beside the mark.
pub(super) fn read_rate(text: &str) -> Result<Size, String> {
    match text.trim().strip_suffix("/s") {
        Some(size) => read_size(size),
        None if text.trim() == "0" => read_size(text),
        None => Err("it does not end with `/s`".into()),
    }
}

/// What to write where a limit is wanted.
pub(super) fn limit_hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "write a size or `unlimited`, or both limits as `soft:hard`: `64MiB`, `8MiB:unlimited`",
        Unit::Pieces => "write a number or `unlimited`, or both limits as `soft:hard`: `1024`, `1024:65536`",
    }
}

/// Reads how much of a unit is allowed.
///
/// # Errors
/// A few words about what is wrong.
pub(super) fn read_amount(text: &str, unit: Unit) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match unit {
        _ if text == "-1" => Err("for no limit write `unlimited`".into()),
        Unit::Bytes => read_size(text).map(|size| size.bytes),
        Unit::Pieces if is_number => text.parse().ok().filter(|number| *number <= MAX_SIZE).ok_or_else(|| "too large".into()),
        Unit::Pieces => Err("not a number".into()),
    }
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
    fn sizes_are_read_with_units_of_1024_and_as_bytes() {
        const K: u64 = 1024;
        for (text, wanted) in [
            ("0", 0),
            ("512", 512),
            (" 512 B ", 512),
            ("1KiB", K),
            ("64 KiB", 64 * K),
            ("20MiB", 20 * K * K),
            ("20mib", 20 * K * K),
            ("20Mi", 20 * K * K),
            ("1.5GiB", 3 * K * K * K / 2),
            ("0.3KiB", 307),
            ("1TiB", K * K * K * K),
            ("8191PiB", 8191 * K * K * K * K * K),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
        ] {
            assert_eq!(read_size(text), Ok(Size { bytes: wanted, ambiguous: false }), "{text}");
        }
        for text in ["256M", "256m", "256MB", "256 mb", "256.0M"] {
            assert_eq!(read_size(text), Ok(Size { bytes: 256 * K * K, ambiguous: true }), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_explained() {
        for (text, wanted) in [
            ("", "nothing is written"),
            ("  ", "nothing is written"),
            ("-1", "it cannot be negative"),
            ("MiB", "not a number and a unit"),
            (".5M", "not a number and a unit"),
            ("1.M", "not a number and a unit"),
            ("1.2.3M", "not a number and a unit"),
            ("1.5", "there are no parts of a byte"),
            ("20 MX", "unknown unit `MX`"),
            ("20MiBs", "unknown unit `MiBs`"),
            ("1é", "unknown unit `é`"),
            ("Mé", "unknown unit `Mé`"),
            ("1K1M", "unknown unit `K1M`"),
            ("1e3", "unknown unit `e3`"),
            ("+1", "unknown unit `+1`"),
            ("9223372036854775808", "too large"),
            ("8192PiB", "too large"),
            ("1E", "unknown unit `E`"),
            ("999999999999999999999999999999999999999999999999", "too large"),
            ("340282366920938463463374607431768211455PiB", "too large"),
            ("1.0000000000000M", "too many digits after the point"),
        ] {
            assert_eq!(read_size(text), Err(wanted.into()), "{text}");
        }
    }

    #[test]
    fn every_written_size_reads_the_same() {
        for bytes in [0, 1, 1023, 1024, 1025, 20 << 20, (1 << 20) + 1024, 1 << 60, 1 << 62, MAX_SIZE] {
            assert_eq!(read_size(&write_size(bytes)), Ok(Size { bytes, ambiguous: false }));
        }
        assert_eq!([20 << 20, 1536, 1000].map(write_size), ["20MiB", "1536", "1000"]);
    }

    #[test]
    fn percentages_are_whole_and_at_most_a_hundred() {
        assert_eq!(["0%", "10%", "10 %", "100%"].map(read_percent), [Some(0), Some(10), Some(10), Some(100)]);
        for text in ["", "%", "10", "101%", "-1%", "+5%", "1.5%", "ten%", "10%%", "300%"] {
            assert_eq!(read_percent(text), None, "{text}");
        }
    }
}
