//! Which days a schedule means: day of month and day of week, and how the two join.
//!
//! Numbers of weekdays follow crontab(5): 0 and 7 are Sunday.

use jiff::civil::Date;

use super::ScheduleError;
use super::field::{DAY, Field, WEEKDAY, contains};

/// The days of both fields, as sets of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub month: MonthDays,
    pub week: WeekDays,
    pub join: Join,
}

/// What two day fields mean together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// Both must match: one of them begins with `*` or `?`, or `+` asks for it.
    Both,
    /// One is enough: both are restricted, crontab(5).
    Either,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MonthDays {
    /// Plain days, 1 to 31.
    pub plain: u64,
    /// `L-n`: n days before the last, 0 to 30.
    pub before_last: u64,
    /// `nW`: the weekday nearest to day n.
    pub nearest: u64,
    /// `LW`: the last weekday of the month (bit 0).
    pub last_weekday: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WeekDays {
    /// Plain weekdays, 0 to 6.
    pub plain: u64,
    /// `d#n`: bit 8 n + d.
    pub nth: u64,
    /// `dL`: the last of its kind in the month.
    pub last: u64,
}

impl Days {
    /// Both day fields, and what may surprise in them.
    pub(super) fn read(month: &str, week: &str) -> Result<(Days, Vec<String>), ScheduleError> {
        let (both_asked, week) = match week.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, week),
        };
        let starred = |token: &str| token.starts_with(['*', '?']);
        let join = if both_asked || starred(month) || starred(week) { Join::Both } else { Join::Either };
        let days = Days { month: MonthDays::read(month)?, week: WeekDays::read(week)?, join };
        Ok((days, warnings(month, week, both_asked)))
    }

    pub(super) fn include(&self, date: Date) -> bool {
        match self.join {
            Join::Both => self.month.include(date) && self.week.include(date),
            Join::Either => self.month.include(date) || self.week.include(date),
        }
    }
}

/// `*/n` beside a restricted field is where programs disagree: crontab(5) says both, others say either.
fn warnings(month: &str, week: &str, both_asked: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let stepped = |token: &str| token.starts_with("*/");
    let restricted = |token: &str| !token.starts_with(['*', '?']);
    if !both_asked && (stepped(month) && restricted(week) || stepped(week) && restricted(month)) {
        warnings.push(format!("`{month}` and `{week}` must both match, as in crontab(5); some programs take either"));
    }
    for item in week.split(',') {
        if item.split_once('/').is_some_and(|(base, _)| base != "*" && !base.contains('-')) {
            warnings.push(format!("`{item}` in the day-of-week field steps up to Saturday"));
        }
    }
    warnings
}

impl MonthDays {
    fn read(token: &str) -> Result<MonthDays, ScheduleError> {
        let mut days = MonthDays::default();
        if token == "?" {
            days.plain = all(&DAY);
            return Ok(days);
        }
        for item in token.split(',') {
            days.add(item)?;
        }
        Ok(days)
    }

    fn add(&mut self, item: &str) -> Result<(), ScheduleError> {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            self.before_last |= 1;
        } else if upper == "LW" {
            self.last_weekday = 1;
        } else if let Some(days) = upper.strip_prefix("L-") {
            let days = digits(days).filter(|days| (1..=30).contains(days));
            self.before_last |= 1 << days.ok_or_else(|| DAY.error(item, format!("`{item}` must be `L-1` to `L-30`")))?;
        } else if let Some(day) = upper.strip_suffix('W') {
            let day = digits(day).filter(|day| (1..=31).contains(day));
            self.nearest |= 1 << day.ok_or_else(|| DAY.error(item, format!("`{item}` must be `1W` to `31W`, or `LW`")))?;
        } else if upper.starts_with('+') {
            return Err(DAY.error(item, "`+` belongs in front of the day-of-week field").hint("write it as in `1 * +MON`"));
        } else {
            self.plain = DAY.read_item(item)?.values().fold(self.plain, |set, day| set | 1 << day);
        }
        Ok(())
    }

    fn include(&self, date: Date) -> bool {
        let (day, length) = (date.day().unsigned_abs(), date.days_in_month().unsigned_abs());
        contains(self.plain, day)
            || contains(self.before_last, length - day)
            || (self.last_weekday == 1 && day == nearest_weekday(date, length))
            || (self.nearest != 0 && (1..=length).any(|aim| contains(self.nearest, aim) && day == nearest_weekday(date, aim)))
    }
}

/// The weekday (Monday to Friday) of the date's month that is nearest to its day `aim`.
fn nearest_weekday(date: Date, aim: u8) -> u8 {
    let length = date.days_in_month().unsigned_abs();
    match weekday_of(date, aim) {
        6 if aim == 1 => 3,
        6 => aim - 1,
        0 if aim == length => aim - 2,
        0 => aim + 1,
        _ => aim,
    }
}

/// The weekday, 0 for Sunday, of another day of the date's month.
fn weekday_of(date: Date, day: u8) -> u8 {
    let own = date.weekday().to_sunday_zero_offset().unsigned_abs();
    (own + day + 35 - date.day().unsigned_abs()) % 7
}

impl WeekDays {
    fn read(token: &str) -> Result<WeekDays, ScheduleError> {
        let mut days = WeekDays::default();
        if token == "?" {
            days.plain = 0b111_1111;
            return Ok(days);
        }
        for item in token.split(',') {
            days.add(item)?;
        }
        Ok(days)
    }

    fn add(&mut self, item: &str) -> Result<(), ScheduleError> {
        if let Some((days, nth)) = item.split_once('#') {
            let days = WEEKDAY.read_item(days).ok().filter(|_| !days.contains(['/', '*']));
            let days = days.ok_or_else(|| WEEKDAY.error(item, format!("`{item}` needs a weekday before the `#`")))?;
            if nth.eq_ignore_ascii_case("L") {
                self.last = add_to(self.last, days.values());
                return Ok(());
            }
            let nth = digits(nth).filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| WEEKDAY.error(item, format!("`{item}` needs 1 to 5, or `L`, behind the `#`")))?;
            self.nth |= add_to(0, days.values()) << (8 * nth);
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            let wanted =
                || WEEKDAY.error(item, format!("`{item}` needs one weekday before the `L`")).hint("write `5L` for the last Friday");
            let day = WEEKDAY.read_value(day, item).map_err(|_| wanted())?;
            self.last = add_to(self.last, [day].into_iter());
        } else {
            self.plain = add_to(self.plain, WEEKDAY.read_item(item)?.values());
        }
        Ok(())
    }

    fn include(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset().unsigned_abs();
        let (day, length) = (date.day().unsigned_abs(), date.days_in_month().unsigned_abs());
        let nth = (day - 1) / 7 + 1;
        contains(self.plain, weekday) || contains(self.nth, 8 * nth + weekday) || (contains(self.last, weekday) && day + 7 > length)
    }
}

/// Adds weekdays to a set; 7 is Sunday too.
fn add_to(set: u64, days: impl Iterator<Item = u32>) -> u64 {
    days.fold(set, |set, day| set | 1 << (day % 7))
}

fn all(field: &Field) -> u64 {
    field.read_item("*").map_or(0, |item| item.values().fold(0, |set, value| set | 1 << value))
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
