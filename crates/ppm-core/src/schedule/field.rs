//! The fields of a schedule: lists of numbers, names, ranges and steps.
//!
//! Reads text only. Invariant: an [`Item`] that exists lies within its field and matches at least one value, and a
//! step of it at least two.

use super::ScheduleError;

/// What may stand in a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// As messages call it.
    pub name: &'static str,
    min: u32,
    max: u32,
    /// Full English names of the values from `min` on; the first three letters do as well.
    names: &'static [&'static str],
}

pub(super) const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
pub(super) const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day-of-month", min: 1, max: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"],
};
/// Sunday is both 0 and 7, so that ranges may end with it.
pub(super) const WEEKDAY: Field =
    Field { name: "day-of-week", min: 0, max: 7, names: &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"] };
pub(super) const YEAR: Field = Field { name: "year", min: 1970, max: 2100, names: &[] };

/// One item of a list: every `step`-th value from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub first: u32,
    pub last: u32,
    pub step: u32,
}

impl Item {
    pub(super) fn values(self) -> impl Iterator<Item = u32> {
        (self.first..=self.last).step_by(usize::try_from(self.step).unwrap_or(usize::MAX))
    }
}

/// How an item begins, before its step.
#[derive(Clone, Copy)]
enum Base {
    Star,
    One(u32),
    Range(u32, u32),
}

impl Field {
    /// The items of a comma list.
    pub(super) fn read(&self, token: &str) -> Result<Vec<Item>, ScheduleError> {
        token.split(',').map(|item| self.read_item(item)).collect()
    }

    /// The same list in digits, as `cron` takes it.
    pub(super) fn write(items: &[Item]) -> String {
        let write = |item: &Item| match *item {
            Item { first, last, .. } if first == last => first.to_string(),
            Item { first, last, step: 1 } => format!("{first}-{last}"),
            Item { first, last, step } => format!("{first}-{last}/{step}"),
        };
        items.iter().map(write).collect::<Vec<_>>().join(",")
    }

    pub(super) fn read_item(&self, item: &str) -> Result<Item, ScheduleError> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(step)),
            None => (item, None),
        };
        let base = self.read_base(base, item)?;
        let end = if self.is_week() { 6 } else { self.max }; // a week has no eighth day to step to
        let (first, last) = match (base, step) {
            (Base::Star, _) => (self.min, end),
            (Base::One(7), Some(_)) if self.is_week() => (0, end),
            (Base::One(first), Some(_)) => (first, end),
            (Base::One(first), None) => (first, first),
            (Base::Range(first, last), _) => (first, last),
        };
        let Some(step) = step else { return Ok(Item { first, last, step: 1 }) };
        let span = if self.is_week() && matches!(base, Base::Star) { 7 } else { last - first };
        Ok(Item { first, last, step: self.read_step(step, item, (first, last, span))? })
    }

    fn read_base(&self, base: &str, item: &str) -> Result<Base, ScheduleError> {
        match base {
            "" if item.is_empty() => Err(self.error(item, "an item of a list is empty").hint("remove the comma that is too many")),
            "" => Err(self.error(item, format!("`{item}` has nothing before the `/`")).hint(format!("write `*{item}`"))),
            "*" => Ok(Base::Star),
            "?" => Err(self.error(item, "`?` may only stand alone, in the day-of-month or the day-of-week field").hint("write `*`")),
            _ => match base.split_once('-') {
                Some((first, last)) => self.read_range(first, last, item),
                None => self.read_value(base, item).map(Base::One),
            },
        }
    }

    fn read_range(&self, first: &str, last: &str, item: &str) -> Result<Base, ScheduleError> {
        let (low, high) = (self.read_value(first, item)?, self.read_value(last, item)?);
        let high = if self.is_week() && high == 0 && low > 0 { 7 } else { high };
        if low > high {
            return Err(self.error(item, format!("the range `{item}` runs backwards")).hint(self.unwrapped(first, last, high)));
        }
        Ok(Base::Range(low, high))
    }

    fn is_week(&self) -> bool {
        self.max == 7
    }

    /// A backwards range as the two it probably means.
    fn unwrapped(&self, first: &str, last: &str, high: u32) -> String {
        let (end, begin, lowest) = match self.names.first() {
            Some(_) if self.is_week() && !first.bytes().all(|b| b.is_ascii_digit()) => ("SUN".into(), "MON".into(), 1),
            Some(_) if !first.bytes().all(|b| b.is_ascii_digit()) => ("DEC".into(), "JAN".into(), 1),
            _ if self.is_week() => ("7".into(), "1".into(), 1),
            _ => (self.max.to_string(), self.min.to_string(), self.min),
        };
        let tail = if high == lowest { begin } else { format!("{begin}-{last}") };
        format!("write `{first}-{end},{tail}`")
    }

    /// A number or a name.
    pub(super) fn read_value(&self, text: &str, item: &str) -> Result<u32, ScheduleError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let value = text.parse().ok().filter(|value| (self.min..=self.max).contains(value));
            return value.ok_or_else(|| self.error(item, format!("`{text}` is not within {}-{}", self.min, self.max)));
        }
        let named = self
            .names
            .iter()
            .zip(self.min..)
            .find(|(name, _)| text.eq_ignore_ascii_case(name) || name.get(..3).is_some_and(|short| text.eq_ignore_ascii_case(short)));
        named.map(|(_, value)| value).ok_or_else(|| self.not_a_value(text, item))
    }

    fn not_a_value(&self, text: &str, item: &str) -> ScheduleError {
        let shown = if text.is_empty() { item } else { text };
        let wanted = if self.names.is_empty() { "a number" } else { "a number or a name" };
        let error = self.error(item, format!("`{}` is not {wanted}", crate::spec::shown(shown)));
        match crate::names::similar(&text.to_ascii_lowercase(), self.names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    fn read_step(&self, step: &str, item: &str, (first, last, span): (u32, u32, u32)) -> Result<u32, ScheduleError> {
        let number = (!step.is_empty() && step.bytes().all(|b| b.is_ascii_digit())).then(|| step.parse::<u32>().unwrap_or(u32::MAX));
        match number {
            None => Err(self.error(item, format!("the step in `{item}` is not a number"))),
            Some(0) => Err(self.error(item, format!("the step in `{item}` is 0")).hint("steps begin at 1")),
            Some(step) if step > span => {
                Err(self.error(item, format!("the step {step} does not fit in {first}-{last}")).hint(self.without_step(step, item, first)))
            }
            Some(step) => Ok(step),
        }
    }

    /// The step from the field's first value to its end of which a sorted set is made, if it is.
    pub(super) fn step_of(&self, set: &[u32]) -> Option<u32> {
        let [first, second, ..] = set else { return None };
        let end = if self.is_week() { 6 } else { self.max };
        let step = second.checked_sub(*first)?;
        let all = Item { first: self.min, last: end, step };
        (*first == self.min && all.values().eq(set.iter().copied())).then_some(step)
    }

    /// A value by its name, capitalised, or as a number.
    pub(super) fn called(&self, value: u32) -> String {
        let name = value.checked_sub(self.min).and_then(|at| self.names.get(usize::try_from(at).ok()?));
        let Some(name) = name else { return value.to_string() };
        let (first, rest) = name.split_at(1);
        first.to_ascii_uppercase() + rest
    }

    /// What to write instead of a step that is too large: who writes `*/90` mostly wants a period.
    fn without_step(&self, step: u32, item: &str, first: u32) -> String {
        let unit = match self.name {
            "second" => 's',
            "minute" => 'm',
            "hour" => 'h',
            _ => return format!("`{item}` would match {first} alone; if that is meant, write `{first}`"),
        };
        format!("`{item}` would match {first} alone: write `{first}` if that is meant, `@every {step}{unit}` for a period")
    }

    pub(super) fn error(&self, item: &str, reason: impl Into<String>) -> ScheduleError {
        ScheduleError { field: Some(self.name), ..ScheduleError::new(item, reason) }
    }
}

/// Whether `value` is in a set of bits.
pub(super) fn contains(set: u64, value: u8) -> bool {
    set.checked_shr(u32::from(value)).unwrap_or(0) & 1 == 1
}

/// The smallest value of a set of bits at or above `from`.
pub(super) fn next_in(set: u64, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}
