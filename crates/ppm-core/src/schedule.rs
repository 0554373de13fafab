//! Schedules: which instants a cron-like expression means.
//!
//! The crate `cron` reads the numeric fields; the dialect, the days and the clock are ours: `cron` counts weekdays
//! from 1, joins the two day fields by "and", and loses its way when clocks are put back. Never reads a clock, knows
//! no zone but the one it is given. Invariant: [`Schedule::next`] is always later than what it was asked after.

mod days;
mod field;
mod wall;

use std::fmt;
use std::str::FromStr;

use cron::TimeUnitSpec;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::spec::shown;
use crate::time::Timestamp;
use days::Days;
use field::{Field, HOUR, Item, MINUTE, MONTH, SECOND, YEAR};

/// The longest expression, in bytes.
const MAX_TEXT: usize = 512;

/// How far ahead a fire is looked for where the expression names no year: the rarest date there is, a weekday on a
/// 29th of February, comes back within 40 years.
const HORIZON_YEARS: i16 = 50;

/// Expressions that have a name.
const NICKNAMES: [(&str, &str); 8] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
];

/// A parsed schedule: sets of the values that each field may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    /// Sorted; None: every year.
    years: Option<Vec<i16>>,
    days: Days,
    pace: Pace,
    warnings: Vec<String>,
}

/// What a change of the clocks does to a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// It names its times of day: none is lost in a gap, none comes twice in an overlap.
    Fixed,
    /// One of second, minute and hour begins with `*`: it follows the hands of the clock.
    Interval,
}

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The field concerned (`minute`); None: the expression as a whole.
    pub field: Option<&'static str>,
    /// The part of the text that is wrong.
    pub item: String,
    /// What is wrong with it, in words that stand alone.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ScheduleError {
    fn new(item: &str, reason: impl Into<String>) -> Self {
        ScheduleError { field: None, item: item.to_owned(), reason: reason.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        ScheduleError { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{} (in the {field} field)", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl Schedule {
    /// Reads 5 fields (minute first), 6 (second first), 7 (second first, year last) or a nickname like `@daily`.
    ///
    /// # Errors
    /// The first thing that is wrong; also when no date can ever match.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(ScheduleError::new("", format!("a schedule of {} bytes is too long", text.len()))
                .hint(format!("use at most {MAX_TEXT} bytes")));
        }
        refuse_unsupported(text)?;
        let expression = expand_nickname(text)?;
        let tokens: Vec<&str> = expression.split_ascii_whitespace().collect();
        let (second, minute, hour, day, month, weekday, year) = match *tokens.as_slice() {
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
        let schedule = Schedule { text: text.to_owned(), seconds, minutes, hours, months, years: numbers.years, days, pace, warnings };
        schedule.refuse_never()?;
        Ok(schedule)
    }

    /// The expression as written, without white space around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What may not mean what its author thinks; empty for nearly every schedule.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The first instant strictly after `after` that is meant in `zone`, a whole second; None: never again.
    ///
    /// Times that the zone skips or repeats follow crontab(5): fixed times fire once, at the end of a gap of up to
    /// 3 hours or in the first pass of an overlap; intervals fire whenever the clock shows a matching time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = wall::next_instant(self, after.0.div_euclid(1000).checked_add(1)?, zone)?;
        Some(Timestamp(second * 1000))
    }

    fn refuse_never(&self) -> Result<(), ScheduleError> {
        let first = self.years.as_ref().map_or(Some(2000), |years| years.first().copied());
        let found = first.and_then(|year| Date::new(year, 1, 1).ok()).and_then(|date| self.next_day(date));
        match found {
            Some(_) => Ok(()),
            None => Err(ScheduleError::new(&self.text, format!("`{}` never fires: there is no such date", shown(&self.text)))
                .hint("look at the days and months: February has at most 29 days")),
        }
    }

    /// The first matching day at or after `from`.
    fn next_day(&self, from: Date) -> Option<Date> {
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
    fn next_time(&self, from: u32) -> Option<u32> {
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

/// What other programs have and this one will.
fn refuse_unsupported(text: &str) -> Result<(), ScheduleError> {
    let word = text.split_ascii_whitespace().next().unwrap_or_default();
    let unsupported = |item: &str| Err(ScheduleError::new(item, format!("`{item}` is not supported yet in a schedule")));
    match word.to_ascii_lowercase().as_str() {
        "@reboot" => unsupported("@reboot").map_err(|error| error.hint("leave `schedule` out: services start with the daemon")),
        "@every" => unsupported("@every"),
        lower if lower.starts_with("cron_tz=") => unsupported("CRON_TZ="),
        lower if lower.starts_with("tz=") => unsupported("TZ="),
        _ => Ok(()),
    }
}

fn expand_nickname(text: &str) -> Result<&str, ScheduleError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let known = NICKNAMES.iter().find(|(nickname, _)| nickname.eq_ignore_ascii_case(text));
    known.map(|(_, expression)| *expression).ok_or_else(|| {
        let near = crate::names::similar(&text.to_ascii_lowercase(), NICKNAMES.map(|(nickname, _)| nickname));
        let hint =
            near.map_or_else(|| "write fields, or `@daily`, `@hourly` and the like".into(), |near| format!("did you mean `{near}`?"));
        ScheduleError::new(text, format!("`{}` is not a schedule", shown(text))).hint(hint)
    })
}

fn wrong_count(count: usize) -> ScheduleError {
    let found = if count == 1 { "1 field".into() } else { format!("{count} fields") };
    let reason = if count == 0 { "a schedule must not be empty".into() } else { format!("a schedule cannot have {found}") };
    ScheduleError::new("", reason).hint("write 5 fields (minute hour day month weekday), or 6 with seconds in front")
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
