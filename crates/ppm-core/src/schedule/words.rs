//! Schedules in words, for people who read them.
//!
//! Said of the sets that were read, not of the text, so that the words are as true as the fires. Nothing else uses this:
//! a program that explains nothing does not contain it.

use super::days::{Days, Join, MonthDays, WeekDays};
use super::field::{DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, contains};
use super::times::Times;
use super::{Expression, Schedule, When};
use crate::time::{Timestamp, brief};
use crate::zone;
use jiff::tz::TimeZone;

/// So many times of a day are told one by one.
const FEW: usize = 6;

impl Schedule {
    /// What each expression means, as `at 09:00, Monday to Friday`, with its zone where one is written.
    pub fn words(&self) -> Vec<String> {
        self.expressions.iter().map(|expression| expression.words(self.zone())).collect()
    }

    /// What is out of the ordinary about the fire at this instant: `moved: 02:30 does not exist`.
    pub fn note(&self, at: Timestamp, zone: &TimeZone) -> Option<String> {
        let default = self.zone().unwrap_or(zone);
        let of = |expression: &Expression| match &expression.when {
            When::Times(times) => times.moved_from(at, expression.zone.as_ref().unwrap_or(default)),
            When::Every(_) | When::Boot => None,
        };
        let skipped = self.expressions.iter().find_map(of)?;
        Some(format!("moved: {} does not exist", time(skipped)))
    }
}

impl Expression {
    fn words(&self, zone: Option<&TimeZone>) -> String {
        let (words, has_zone) = match &self.when {
            When::Times(times) => (times.words(), true),
            When::Every(period) => (format!("every {}", brief(*period)), false),
            When::Boot => ("when the daemon starts".to_owned(), false),
        };
        match self.zone.as_ref().or(zone).map(zone::name_of).filter(|_| has_zone) {
            Some(zone) => format!("{words} ({zone})"),
            None => words,
        }
    }
}

impl Times {
    fn words(&self) -> String {
        let mut words = self.time_in_words();
        let days = self.days.words();
        if !days.is_empty() {
            words = format!("{words}, {days}");
        }
        let months = values(self.months, 1, 12);
        if months.len() < 12 {
            let ranges = ranges(&months, MONTH.step_of(&months), |month| MONTH.called(month));
            words = format!("{words}, in {ranges}");
        }
        if let Some(years) = &self.years {
            let years: Vec<u32> = years.iter().map(|year| u32::from(year.unsigned_abs())).collect();
            words = format!("{words}, in {}", ranges(&years, None, |year| year.to_string()));
        }
        words
    }

    fn time_in_words(&self) -> String {
        let (seconds, minutes, hours) = (values(self.seconds, 0, 59), values(self.minutes, 0, 59), values(self.hours, 0, 23));
        if seconds.len() * minutes.len() * hours.len() <= FEW {
            let at = |hour: &u32| {
                let minutes = minutes.iter().map(move |minute| hour * 3600 + minute * 60);
                minutes.flat_map(|minute| seconds.iter().map(move |second| time(minute + second))).collect::<Vec<_>>()
            };
            return format!("at {}", list(&hours.iter().flat_map(at).collect::<Vec<_>>()));
        }
        let mut parts = Vec::new();
        if seconds != [0] {
            parts.push(unit(&seconds, 60, ["second", "seconds"], SECOND.step_of(&seconds)));
        }
        let hourly = minutes == [0] && parts.is_empty();
        let goes_without_saying = minutes.len() == 60 && !parts.is_empty();
        if !goes_without_saying && !hourly {
            parts.push(unit(&minutes, 60, ["minute", "minutes"], MINUTE.step_of(&minutes)));
        }
        match (hours.len(), hourly) {
            (24, true) => parts.push("every hour".to_owned()),
            (24, false) => {}
            (_, true) if HOUR.step_of(&hours).is_some() => parts.push(unit(&hours, 24, ["hour", "hours"], HOUR.step_of(&hours))),
            (_, true) => parts.push(format!("at {}", ranges(&hours, HOUR.step_of(&hours), |hour| time(hour * 3600)))),
            (_, false) if HOUR.step_of(&hours).is_some() => {
                parts.extend(HOUR.step_of(&hours).map(|step| format!("of every {} hour", ordinal(step))));
            }
            (_, false) => {
                let last = |hour: u32| hour * 3600 + 59 * 60 + seconds.last().copied().unwrap_or_default();
                let span = |first: u32, end: u32| format!("from {} to {}", time(first * 3600), time(last(end)));
                parts.push(list(&spans(&hours).into_iter().map(|(first, end)| span(first, end)).collect::<Vec<_>>()));
            }
        }
        parts.join(" ")
    }
}

/// `every 15 minutes`, `at minutes 0 to 10 and 30`.
fn unit(set: &[u32], whole: u32, [one, several]: [&str; 2], step: Option<u32>) -> String {
    match step {
        Some(1) => format!("every {one}"),
        Some(step) if whole.is_multiple_of(step) => format!("every {step} {several}"),
        Some(step) => format!(
            "every {step} {several}, from 0 again each {}",
            if whole == 24 {
                "day"
            } else if one == "second" {
                "minute"
            } else {
                "hour"
            }
        ),
        None => format!("at {} {}", if set.len() == 1 { one } else { several }, ranges(set, None, |value| value.to_string())),
    }
}

impl Days {
    fn words(&self) -> String {
        let (month, week) = (self.month.words(), self.week.words());
        match (month.is_empty(), week.is_empty(), self.join) {
            (true, _, _) => week,
            (_, true, _) => month,
            (false, false, Join::Both) => format!("{month} if that is {}", week.strip_prefix("on ").unwrap_or(&week)),
            (false, false, Join::Either) => format!("{month} and {week}"),
        }
    }
}

impl MonthDays {
    /// Empty: every day.
    fn words(&self) -> String {
        let plain = values(self.plain, 1, 31);
        if plain.len() == 31 {
            return String::new();
        }
        let mut parts = Vec::new();
        if !plain.is_empty() {
            let days = if plain.len() == 1 { "day" } else { "days" };
            parts.push(format!("on {days} {}", ranges(&plain, DAY.step_of(&plain), |day| day.to_string())));
        }
        for before in (0..=30).filter(|before| contains(self.before_last, *before)) {
            parts.push(match before {
                0 => "on the last day of the month".to_owned(),
                1 => "on the day before the last of the month".to_owned(),
                days => format!("{days} days before the last of the month"),
            });
        }
        parts.extend((1..=31).filter(|day| contains(self.nearest, *day)).map(|day| format!("on the working day nearest to day {day}")));
        parts.extend((self.last_weekday == 1).then(|| "on the last working day of the month".to_owned()));
        list(&parts)
    }
}

impl WeekDays {
    /// Empty: every day.
    fn words(&self) -> String {
        if self.plain == 0b111_1111 {
            return String::new();
        }
        // A week begins with Monday where Sunday ends it.
        let monday_first = |day: &u32| if *day == 0 { 7 } else { *day };
        let mut plain = values(self.plain, 0, 6);
        plain.sort_by_key(monday_first);
        let plain: Vec<u32> = plain.iter().map(monday_first).collect();
        let called = |day: u32| WEEKDAY.called(day % 7);
        let mut parts = Vec::new();
        if !plain.is_empty() {
            parts.push(ranges(&plain, None, called));
        }
        for nth in 1..=5_u8 {
            let ordinal = ["first", "second", "third", "fourth", "fifth"][usize::from(nth) - 1];
            let days = (0..7).filter(|day| contains(self.nth, 8 * nth + day));
            parts.extend(days.map(|day| format!("the {ordinal} {} of the month", called(day.into()))));
        }
        parts.extend((0..7).filter(|day| contains(self.last, *day)).map(|day| format!("the last {} of the month", called(day.into()))));
        format!("on {}", list(&parts))
    }
}

fn values(set: u64, min: u8, max: u8) -> Vec<u32> {
    (min..=max).filter(|value| contains(set, *value)).map(u32::from).collect()
}

/// Neighbours together: each first and last.
fn spans(sorted: &[u32]) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for value in sorted {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *value => *last = *value,
            Some(_) | None => spans.push((*value, *value)),
        }
    }
    spans
}

/// `1 to 5 and 7`; with a step `1, 11 and so on to 31`.
fn ranges(sorted: &[u32], step: Option<u32>, called: impl Fn(u32) -> String) -> String {
    if let (Some(step), [first, .., last]) = (step.filter(|step| *step > 1), sorted)
        && sorted.len() > 3
    {
        return format!("{}, {} and so on to {}", called(*first), called(first + step), called(*last));
    }
    let span = |(first, last): (u32, u32)| match last - first {
        0 => vec![called(first)],
        1 => vec![called(first), called(last)],
        _ => vec![format!("{} to {}", called(first), called(last))],
    };
    list(&spans(sorted).into_iter().flat_map(span).collect::<Vec<_>>())
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        (_, _) => "th",
    };
    format!("{number}{ending}")
}

fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Seconds since midnight as a clock shows them.
fn time(second: u32) -> String {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    if second == 0 { format!("{hour:02}:{minute:02}") } else { format!("{hour:02}:{minute:02}:{second:02}") }
}
