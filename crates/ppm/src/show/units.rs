//! Durations, sizes and times for people.
//!
//! Two units at most, three significant digits, and never more than is true: everything is cut, not rounded up,
//! where a person would be told of something that has not happened yet.

use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;
pub use ppm_core::size::brief as size;
use ppm_core::time::brief;
use ppm_protocol::Timestamp;

use super::Look;

/// Milliseconds as `431ms`, `1.8s`, `32s`, `7m 12s`, `2h 14m`, `3d 4h`: as the daemon tells durations in its reasons.
pub fn duration(ms: u64) -> String {
    brief(Duration::from_millis(ms))
}

/// So much, and of how much where that is known: `182 MiB of 256 MiB (71%)`.
pub fn size_of(used: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit @ 1..) => {
            let percent = u128::from(used) * 100 / u128::from(limit);
            format!("{} of {} ({percent}%)", size(used), size(limit))
        }
        Some(0) | None => size(used),
    }
}

/// `1 watch`, `2 watches`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = if what.ends_with("ch") { "es" } else { "s" };
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}{plural}") }
}

/// The time of day where it is today, else the date too: `04:15:00`, `Tue 24 Nov 03:00:00`, `Fri 1 Jan 2027 00:00:00`.
pub fn clock(at: Timestamp, look: &Look) -> String {
    let (at, now) = (zoned(at, look), zoned(*look.now, look));
    if at.date() == now.date() {
        at.strftime("%H:%M:%S").to_string()
    } else if at.year() == now.year() {
        at.strftime("%a %-d %b %H:%M:%S").to_string()
    } else {
        at.strftime("%a %-d %b %Y %H:%M:%S").to_string()
    }
}

/// Date, time and zone: `2026-11-19 22:58:41 CET`.
pub fn moment(at: Timestamp, look: &Look) -> String {
    zoned(at, look).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Date and time, for columns: `2026-11-19 22:58:41`.
pub fn stamp(at: Timestamp, look: &Look) -> String {
    zoned(at, look).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// RFC 3339 with milliseconds and offset: `2026-11-19T22:58:41.250+01:00`.
pub fn exact(at: Timestamp, look: &Look) -> String {
    zoned(at, look).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// A planned time with its day and zone: `Tue 24 Nov 03:00:00 CET`.
pub fn plan(at: Timestamp, look: &Look) -> String {
    let at = zoned(at, look);
    let format = if at.year() == zoned(*look.now, look).year() { "%a %-d %b %H:%M:%S %Z" } else { "%a %-d %b %Y %H:%M:%S %Z" };
    at.strftime(format).to_string()
}

/// How long until a time: `in 32s`, or `now` where it is due.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    match u64::try_from(at.0.saturating_sub(now.0)) {
        Ok(ms) if ms > 0 => format!("in {}", duration(ms)),
        _ => "now".to_owned(),
    }
}

/// How long since a time: `3d ago`.
pub fn since(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0)))
}

fn zoned(at: Timestamp, look: &Look) -> Zoned {
    at.to_jiff().to_zoned(TimeZone::clone(&look.zone))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, piped};
    use super::*;
    use std::cell::LazyCell;

    #[test]
    fn sizes_have_three_significant_digits() {
        let texts = [
            (0, "0"),
            (12, "12 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (4096, "4.00 KiB"),
            (10_239, "10.0 KiB"),
            (98_304, "96.0 KiB"),
            (50_541_363, "48.2 MiB"),
            (190_840_832, "182 MiB"),
            (1_048_064, "1.00 MiB"),
            (1_299_227_607, "1.21 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in texts {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn the_day_is_told_only_where_it_is_another() {
        let clock = |at: &str| clock(at.parse().unwrap(), &piped());
        assert_eq!(clock("2026-11-23T04:15:00Z"), "04:15:00");
        assert_eq!(clock("2026-11-24T03:00:00Z"), "Tue 24 Nov 03:00:00");
        assert_eq!(clock("2027-01-01T00:00:00Z"), "Fri 1 Jan 2027 00:00:00");
    }

    #[test]
    fn times_are_in_the_zone_of_the_look() {
        let look = Look { zone: LazyCell::new(|| TimeZone::posix("CET-1").unwrap()), ..piped() };
        assert_eq!(moment("2026-11-19T21:58:41.500Z".parse().unwrap(), &look), "2026-11-19 22:58:41 CET");
        assert_eq!(stamp("2026-11-19T21:58:41.500Z".parse().unwrap(), &look), "2026-11-19 22:58:41");
        assert_eq!(plan("2026-11-23T12:30:00Z".parse().unwrap(), &look), "Mon 23 Nov 13:30:00 CET");
        assert_eq!(plan("2027-11-23T12:30:00Z".parse().unwrap(), &look), "Tue 23 Nov 2027 13:30:00 CET");
    }

    #[test]
    fn what_is_due_is_now_and_never_negative() {
        let now = NOW.parse::<Timestamp>().unwrap();
        assert_eq!(until(Timestamp(now.0 + 432_000), now), "in 7m 12s");
        assert_eq!(until(now, now), "now");
        assert_eq!(until(Timestamp(i64::MIN), now), "now");
        assert_eq!(since(Timestamp(now.0 - 7_200_000), now), "2h ago");
        assert_eq!(since(Timestamp(i64::MAX), now), "0s ago");
    }
}
