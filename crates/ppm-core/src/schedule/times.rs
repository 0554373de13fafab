//! Times of the calendar: the fields of an expression, as sets of the values that each may have.
//!
//! Wall time only: what a zone makes of it stands in `wall.rs`. Invariant: some date matches.

use std::ops::Range;
use std::str::FromStr;

use cron::TimeUnitSpec;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::days::Days;
use super::field::{self, Field, HOUR, Item, MINUTE, MONTH, SECOND, YEAR};
use super::{ScheduleError, wall};
use crate::spec::shown;
use crate::time::Timestamp;

/// How far ahead a fire is looked for where the expression names no year: the rarest date there is, a weekday on a
/// 29th of February, comes back within 40 years.
const HORIZON_YEARS: i16 = 50;

/// The fields by how many are written.
const FIVE: [&str; 5] = ["minute", "hour", "day-of-month", "month", "day-of-week"];
const SEVEN: [&str; 7] = ["second", "minute", "hour", "day-of-month", "month", "day-of-week", "year"];

/// The fields of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Times {
    pub seconds: u64,
    pub minutes: u64,
    pub hours: u64,
    pub months: u64,
    /// Sorted; None: every year.
    pub years: Option<Vec<i16>>,
    pub days: Days,
    pace: Pace,
    warnings: Vec<String>,
}

/// What a change of the clocks does to a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It names its times of day: none is lost in a gap, none comes twice in an overlap.
    Fixed,
    /// One of second, minute and hour begins with `*`: it follows the hands of the clock.
    Interval,
}

impl Times {
    /// Reads 5, 6 or 7 fields.
    pub(super) fn parse(text: &str) -> Result<Times, ScheduleError> {
        let tokens: Vec<&str> = text.split_ascii_whitespace().collect();
        Times::read(text, &tokens).map_err(|error| ScheduleError { at: place(text, &tokens, &error), ..error })
    }

    fn read(text: &str, tokens: &[&str]) -> Result<Times, ScheduleError> {
        let (second, minute, hour, day, month, weekday, year) = match *tokens {
            [minute, hour, day, month, weekday] => ("0", minute, hour, day, month, weekday, None),
            [second, minute, hour, day, month, weekday] => (second, minute, hour, day, month, weekday, None),
            [second, minute, hour, day, month, weekday, year] => (second, minute, hour, day, month, weekday, Some(year)),
            _ => return Err(wrong_count(tokens.len())),
        };
        let fields = [SECOND.read(second)?, MINUTE.read(minute)?, HOUR.read(hour)?, MONTH.read(month)?];
        let years = year.filter(|year| *year != "*").map(|year| YEAR.read(year)).transpose()?;
        let (days, warnings) = Days::read(day, weekday)?;
        let numbers = read_numbers(&fields, years.as_deref()).map_err(|error| ScheduleError::new(text, error.to_string()))?;
        let starred = [second, minute, hour].iter().any(|token| token.starts_with('*'));
        let pace = if starred { Pace::Interval } else { Pace::Fixed };
        let [seconds, minutes, hours, months] = numbers.sets;
        let times = Times { seconds, minutes, hours, months, years: numbers.years, days, pace, warnings };
        times.refuse_never(text)?;
        Ok(times)
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// The first instant strictly after `after` that is meant in `zone`, a whole second.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = wall::next_instant(self, after.0.div_euclid(1000).checked_add(1)?, zone)?;
        Some(Timestamp(second * 1000))
    }

    /// The time of day, in seconds, that the zone leaves out and for which the fire at this instant stands.
    pub(super) fn moved_from(&self, at: Timestamp, zone: &TimeZone) -> Option<u32> {
        wall::left_out(self, at.0.div_euclid(1000), zone)
    }

    fn refuse_never(&self, text: &str) -> Result<(), ScheduleError> {
        let first = self.years.as_ref().map_or(Some(2000), |years| years.first().copied());
        let found = first.and_then(|year| Date::new(year, 1, 1).ok()).and_then(|date| self.next_day(date));
        match found {
            Some(_) => Ok(()),
            None => Err(ScheduleError::new(text, format!("`{}` never fires: there is no such date", shown(text.trim())))
                .hint("look at the days and months: February has at most 29 days")),
        }
    }

    /// The first matching day at or after `from`.
    pub(super) fn next_day(&self, from: Date) -> Option<Date> {
        let mut day = from;
        let last_year = match &self.years {
            Some(years) => *years.last()?,
            None => from.year().saturating_add(HORIZON_YEARS),
        };
        while day.year() <= last_year {
            if self.years.as_ref().is_some_and(|years| years.binary_search(&day.year()).is_err()) {
                day = Date::new(day.year().checked_add(1)?, 1, 1).ok()?;
            } else if !field::contains(self.months, day.month().unsigned_abs()) {
                day = day.last_of_month().tomorrow().ok()?;
            } else if self.days.include(day) {
                return Some(day);
            } else {
                day = day.tomorrow().ok()?;
            }
        }
        None
    }

    /// The first matching second of a day at or after `from`, both counted from midnight.
    pub(super) fn next_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let at = |hour: u32, minute: u32, second: u32| hour * 3600 + minute * 60 + second;
        if field::next_in(self.hours, hour) == Some(hour) {
            let this_minute = field::next_in(self.minutes, minute) == Some(minute);
            if let Some(second) = field::next_in(self.seconds, second).filter(|_| this_minute) {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = field::next_in(self.minutes, minute + 1) {
                return Some(at(hour, minute, field::next_in(self.seconds, 0)?));
            }
        }
        Some(at(field::next_in(self.hours, hour + 1)?, field::next_in(self.minutes, 0)?, field::next_in(self.seconds, 0)?))
    }
}

fn wrong_count(count: usize) -> ScheduleError {
    let found = if count == 1 { "1 field".into() } else { format!("{count} fields") };
    let reason = if count == 0 { "a schedule must not be empty".into() } else { format!("a schedule cannot have {found}") };
    ScheduleError::new("", reason).hint("write 5 fields (minute hour day month weekday), or 6 with seconds in front")
}

/// Where the item of an error stands: the first that is like it in its field, since that would have failed as well.
fn place(text: &str, tokens: &[&str], error: &ScheduleError) -> Range<usize> {
    let names: &[&str] = match tokens.len() {
        5 => &FIVE,
        _ => &SEVEN,
    };
    let Some(number) = error.field.and_then(|field| names.iter().position(|name| *name == field)) else { return 0..0 };
    let mut begin = 0;
    let mut rest = tokens;
    // Only white space stands between the end of one token and the next.
    while let [token, more @ ..] = rest {
        begin += text.get(begin..).and_then(|tail| tail.find(token)).unwrap_or_default();
        if rest.len() + number == tokens.len() {
            let end = begin + token.len();
            for item in token.split(',') {
                if item == error.item {
                    // Where nothing is written the comma before it is shown, or the one behind.
                    let first = if item.is_empty() { begin.max(end - token.len() + 1) - 1 } else { begin };
                    return first..first + item.len().max(1);
                }
                begin += item.len() + 1;
            }
            return end - token.len()..end;
        }
        begin += token.len();
        rest = more;
    }
    0..0
}

struct Numbers {
    sets: [u64; 4],
    years: Option<Vec<i16>>,
}

/// Has `cron` make sets of the numeric fields; both day fields are `*` for it.
fn read_numbers(fields: &[Vec<Item>; 4], years: Option<&[Item]>) -> Result<Numbers, cron::error::Error> {
    let [second, minute, hour, month] = fields.each_ref().map(|items| Field::write(items));
    let year = years.map(Field::write).unwrap_or_default();
    let parsed = cron::Schedule::from_str(&format!("{second} {minute} {hour} * {month} * {year}"))?;
    let set = |unit: &mut dyn Iterator<Item = u32>| unit.fold(0, |set, value| set | 1 << value);
    let sets = [
        set(&mut parsed.seconds().iter()),
        set(&mut parsed.minutes().iter()),
        set(&mut parsed.hours().iter()),
        set(&mut parsed.months().iter()),
    ];
    let years = years.map(|_| parsed.years().iter().filter_map(|year| i16::try_from(year).ok()).collect());
    Ok(Numbers { sets, years })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_reads_the_numbers_as_we_do() {
        for text in ["* * * * *", "*/7 1-5/2 1,3,22-23 * jan-6", "59/1 0 1 1 1", "0 0-23/23 * * DECEMBER,feb-4/2 *"] {
            let tokens: Vec<&str> = text.split(' ').collect();
            for (field, token) in [(MINUTE, tokens.first()), (HOUR, tokens.get(1)), (MONTH, tokens.get(4))] {
                let Ok(items) = field.read(token.unwrap()) else { continue };
                let ours = items.iter().flat_map(|item| item.values()).fold(0, |set, value| set | 1u64 << value);
                let blank = |own: &str| if field.name == own { Field::write(&items) } else { "*".into() };
                let line = format!("* {} {} * {} *", blank("minute"), blank("hour"), blank("month"));
                let cron = cron::Schedule::from_str(&line).unwrap();
                let theirs: Vec<u32> = match field.name {
                    "minute" => cron.minutes().iter().collect(),
                    "hour" => cron.hours().iter().collect(),
                    _ => cron.months().iter().collect(),
                };
                assert_eq!(theirs.iter().fold(0, |set, value| set | 1u64 << value), ours, "{text} {}", field.name);
            }
        }
    }
}
