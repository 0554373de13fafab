//! A schedule looked at without a daemon: what `ppm cron` tells.
//!
//! Reads and computes with the core, as the daemon does. Never reads a clock: the present is an argument.

use jiff::Zoned;
use jiff::civil;
use jiff::tz::TimeZone;
use ppm_core::schedule::{Schedule, ScheduleError};
use ppm_core::zone;
use ppm_protocol::Timestamp;

use crate::failure::{Code, Failure};

/// A schedule in words, and when it fires.
#[derive(Debug)]
pub struct Reading {
    /// What it means.
    pub words: String,
    /// The next runs.
    pub runs: Vec<Run>,
    /// Whether there are no more than these.
    pub is_all: bool,
    /// What may not mean what its author thinks.
    pub warnings: Vec<String>,
}

/// One run.
#[derive(Debug)]
pub struct Run {
    /// When, in the zone of the schedule.
    pub at: Zoned,
    /// What is out of the ordinary about it; empty: nothing.
    pub note: String,
}

/// Reads the expression and finds its first `count` runs after `from`, which is a time as typed, or the present.
///
/// `zone` names the zone that the expression is read in; without it that is `local`.
pub fn read(
    text: &str,
    zone: Option<&str>,
    from: Option<&str>,
    count: usize,
    now: Timestamp,
    local: impl FnOnce() -> TimeZone,
) -> Result<Reading, Failure> {
    let schedule = Schedule::parse(text).map_err(|error| refused(text, &error))?;
    let named = zone.map(zone::named).transpose().map_err(|invalid| {
        let failure = Failure::new(Code::Failed, invalid.message);
        invalid.hint.into_iter().fold(failure, Failure::hint)
    })?;
    let schedule = schedule.in_zone(named.clone());
    let zone = schedule.only_zone().cloned().or(named).unwrap_or_else(local);
    let from = from.map_or(Ok(now), |from| moment(from, &zone))?;
    let mut runs = Vec::new();
    let mut after = from;
    while runs.len() < count
        && let Some(at) = schedule.next(after, &zone)
    {
        let note = schedule.note(at, &zone).unwrap_or_default();
        runs.push(Run { at: at.to_jiff().to_zoned(zone.clone()), note });
        after = at;
    }
    let is_all = schedule.next(after, &zone).is_none();
    let mut warnings: Vec<String> = schedule.warnings().map(str::to_owned).collect();
    if is_all && after == from && !schedule.starts_at_boot() {
        warnings.push("it does not run again".to_owned());
    }
    Ok(Reading { words: schedule.words().join("; "), runs, is_all, warnings })
}

/// The error with a mark below what is wrong.
fn refused(text: &str, error: &ScheduleError) -> Failure {
    let failure = Failure::new(Code::Failed, error.to_string());
    let hints = error.hint.clone();
    let is_shown = !text.chars().any(char::is_control);
    let marked = text.get(..error.at.start).zip(text.get(error.at.clone())).filter(|_| is_shown);
    let failure = match marked {
        Some((before, part)) if !part.is_empty() => {
            let mark = "^".repeat(crate::show::text::width(part).max(1));
            failure.fact(text).fact(format!("{:1$}{mark}", "", crate::show::text::width(before)))
        }
        Some(_) | None => failure,
    };
    hints.into_iter().fold(failure, Failure::hint)
}

/// An instant as people write it: with an offset, or a date and perhaps a time in the zone.
pub fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    let civil = || {
        let date = text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0));
        text.parse::<civil::DateTime>().or(date).and_then(|at| zone.to_timestamp(at)).ok()
    };
    let at = text.parse::<jiff::Timestamp>().ok().or_else(civil);
    at.map(Timestamp::from_jiff).ok_or_else(|| {
        let failure = Failure::new(Code::Usage, format!("'{text}' is not a time"));
        failure.hint("write it as 2026-03-28T12:00, or with an offset as 2026-03-28T12:00:00+01:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn read(text: &str, zone: Option<&str>, from: Option<&str>) -> Result<Reading, Failure> {
        super::read(text, zone, from, 3, NOW.parse().unwrap(), || TimeZone::UTC)
    }

    fn runs(reading: &Reading) -> Vec<String> {
        reading.runs.iter().map(|run| format!("{}{}", run.at.strftime("%F %T %Z"), run.note)).collect()
    }

    #[test]
    fn runs_are_found_in_the_zone_that_is_named_from_the_time_that_is_named() {
        let reading = read("30 2 * * *", Some("Europe/Paris"), Some("2026-03-28T12:00")).unwrap();
        let moved = "2026-03-29 03:00:00 CESTmoved: 02:30 does not exist";
        assert_eq!(runs(&reading), [moved, "2026-03-30 02:30:00 CEST", "2026-03-31 02:30:00 CEST"]);
        assert_eq!(reading.words, "at 02:30 (Europe/Paris)");
        let own = read("TZ=Asia/Tokyo 0 3 * * *", None, Some("2026-03-28")).unwrap();
        assert_eq!(runs(&own)[0], "2026-03-28 03:00:00 JST");
        assert_eq!(runs(&read("0 3 * * *", None, None).unwrap())[0], "2026-11-24 03:00:00 UTC");
        assert_eq!(runs(&read("0 3 * * *", None, Some("2026-01-01T04:00:00+02:00")).unwrap())[0], "2026-01-01 03:00:00 UTC");
    }

    #[test]
    fn one_that_is_over_says_so() {
        let over = read("0 0 0 1 1 * 2020", None, None).unwrap();
        assert_eq!((over.runs.len(), over.is_all, over.warnings.as_slice()), (0, true, ["it does not run again".to_owned()].as_slice()));
        let last = read("0 0 0 1 1 * 2027", None, None).unwrap();
        assert_eq!((last.runs.len(), last.is_all, last.warnings.len()), (1, true, 0));
        assert!(read("@reboot", None, None).unwrap().warnings.is_empty());
    }

    #[test]
    fn what_is_wrong_is_marked() {
        let wrong = read("0 25 * * *", None, None).unwrap_err();
        assert_eq!(wrong.facts, ["0 25 * * *", "  ^^"]);
        assert_eq!(read("é 25 * * *", None, None).unwrap_err().facts, ["é 25 * * *", "^"]);
        assert!(read("0\t25 * * *", None, None).unwrap_err().facts.is_empty());
        assert!(read("", None, None).unwrap_err().facts.is_empty());
        assert_eq!(read("@daily", Some("Paris"), None).unwrap_err().hints, ["did you mean `Europe/Paris`?"]);
        assert_eq!(read("@daily", None, Some("soon")).unwrap_err().code, Code::Usage);
    }
}
