//! One entry of a map: reading a value of a kind, or complaining about it.
//!
//! Knows no key of the configuration. Invariant: where nothing is read, something has been said.

use std::time::Duration;

use super::keys::{Known, SERVICE_KEYS};
use super::problem::Complaint;
use super::read::Reader;
use super::tree::{At, Key, Node, Value};
use super::value::{
    DURATION_HINT, RATE_HINT, SIZE_HINT, Size, limit_hint, read_amount, read_duration, read_percent, read_rate, read_seconds, read_size,
    write_size,
};
use crate::attributes::{Limit, Unit};
use crate::names;
use crate::spec::{InvalidSpec, shown};

/// For so many problems it is looked what may have been meant: far more than are told, as nobody knows yet which those
/// will be.
const MAX_GUESSES: usize = 1000;

/// A complaint, and the scalar that it is about.
#[derive(Debug)]
pub(super) struct Draft {
    pub at: At,
    /// Where the first of two stands, when this is the second.
    pub first: Option<At>,
    pub complaint: Complaint,
}

/// A map of the file: what it is called in messages, and its entries.
pub(super) struct Map<'a> {
    /// ` in `stop` of service `web``, or nothing for the root.
    pub place: String,
    /// `stop.`, for keys that stand in it; empty for the root and for services.
    pub prefix: &'static str,
    pub entries: &'a [(Key, Node)],
}

impl<'a> Map<'a> {
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|(own, _)| own.text == key).map(|(key, node)| Field { key, node, prefix: self.prefix })
    }
}

/// An entry of a map whose key is known.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub key: &'a Key,
    pub node: &'a Node,
    pub prefix: &'static str,
}

impl Field<'_> {
    /// As messages call it: `stop.timeout`.
    pub(super) fn name(&self) -> String {
        format!("{}{}", self.prefix, shown(&self.key.text))
    }

    /// What to point at: the value, or the key where the value is nothing or more than a scalar.
    pub(super) fn at(&self) -> At {
        match self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => self.key.at,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => self.node.at,
        }
    }
}

impl Reader {
    pub(super) fn duration(&mut self, field: Field<'_>) -> Option<Duration> {
        let (written, duration) = match &field.node.value {
            Value::Text(text) => (text.clone(), read_duration(text)),
            Value::Int(seconds) => (seconds.to_string(), read_duration(&seconds.to_string())),
            Value::Float(seconds) => (write_float(*seconds), read_seconds(*seconds)),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(field, "a duration").hint = Some(DURATION_HINT.into());
                return None;
            }
        };
        match duration {
            Ok(duration) => Some(duration),
            Err(label) => {
                let complaint = self.complain(field.node.at, format!("`{}` is not a duration", shown(&written)));
                complaint.label = Some(label);
                complaint.hint = Some(DURATION_HINT.into());
                None
            }
        }
    }

    /// A number of bytes.
    pub(super) fn size(&mut self, field: Field<'_>) -> Option<u64> {
        self.size_or_rate(field, "a size", SIZE_HINT, read_size)
    }

    /// A number of bytes a second.
    pub(super) fn rate(&mut self, field: Field<'_>) -> Option<u64> {
        self.size_or_rate(field, "a rate", RATE_HINT, read_rate)
    }

    fn size_or_rate(&mut self, field: Field<'_>, what: &str, hint: &'static str, read: fn(&str) -> Result<Size, String>) -> Option<u64> {
        let written = match &field.node.value {
            Value::Text(text) => text.clone(),
            Value::Int(bytes) => bytes.to_string(),
            Value::Float(bytes) => write_float(*bytes),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(field, what).hint = Some(hint.into());
                return None;
            }
        };
        match read(&written) {
            Ok(size) => {
                if size.ambiguous {
                    let remark = format!("`{}: {}` means {}", field.name(), shown(&written), write_size(size.bytes));
                    self.outcome.remarks.push((field.node.at, format!("{remark}: units are powers of 1024")));
                }
                Some(size.bytes)
            }
            Err(label) => {
                let complaint = self.complain(field.node.at, format!("`{}` is not {what}", shown(&written)));
                complaint.label = Some(label);
                complaint.hint = Some(hint.into());
                None
            }
        }
    }

    pub(super) fn percent(&mut self, field: Field<'_>) -> Option<u8> {
        let percent = field.node.value.as_text().and_then(read_percent);
        if percent.is_none() {
            self.wrong_type(field, "a percentage").hint = Some("write a whole number from 0 to 100 and `%`: `10%`".into());
        }
        percent
    }

    pub(super) fn whole(&mut self, field: Field<'_>, min: u32, max: u32) -> Option<u32> {
        let number = field.node.value.as_int().and_then(|number| u32::try_from(number).ok()).filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.wrong_type(field, &format!("a whole number from {min} to {max}"));
        }
        number
    }

    pub(super) fn integer<T: TryFrom<i128>>(&mut self, field: Field<'_>, min: i32, max: i32) -> Option<T> {
        let number = field.node.value.as_int().filter(|number| (min.into()..=max.into()).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong_type(field, &format!("a whole number from {min} to {max}"));
        }
        number
    }

    /// One value or `soft:hard`.
    pub(super) fn limit(&mut self, field: Field<'_>, unit: Unit) -> Option<Limit> {
        let written = match &field.node.value {
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Float(_) | Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(field, "a limit").hint = Some(limit_hint(unit).into());
                return None;
            }
        };
        match Limit::parse(&written, |text| read_amount(text, unit)) {
            Ok(limit) => Some(limit),
            Err(label) => {
                let complaint = self.complain(field.node.at, format!("`{}` is not a limit", shown(&written)));
                complaint.label = Some(label);
                complaint.hint = Some(limit_hint(unit).into());
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, field: Field<'_>) -> Option<bool> {
        if let Value::Bool(value) = field.node.value {
            return Some(value);
        }
        self.wrong_type(field, "`true` or `false`").hint = meant_boolean(&field.node.value).map(str::to_owned);
        None
    }

    /// One of these values by its name.
    pub(super) fn word<T: Copy>(&mut self, field: Field<'_>, values: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", name(*value))).collect();
        let wanted = match names.as_slice() {
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        let text = self.text(field, &wanted)?;
        let found = values.iter().copied().find(|value| name(*value) == text);
        if found.is_none() {
            let near = names::similar(text, values.iter().map(|value| name(*value))).map(|near| format!("did you mean `{near}`?"));
            self.wrong_type(field, &wanted).label = near;
        }
        found
    }

    pub(super) fn text<'a>(&mut self, field: Field<'a>, wanted: &str) -> Option<&'a str> {
        let text = field.node.value.as_text();
        if text.is_none() {
            self.wrong_type(field, wanted);
        }
        text
    }

    /// Complains about keys that mean nothing here, or nothing yet.
    pub(super) fn check_keys(&mut self, map: &Map<'_>, keys: &[Known]) {
        for (key, _) in map.entries {
            let name = key.text.as_str();
            let known = keys.iter().find(|known| known.name == name);
            if known.is_some_and(|known| known.is_read) || (map.prefix.is_empty() && name.starts_with("x-")) {
                continue;
            }
            let is_worth_a_guess = self.outcome.drafts.len() < MAX_GUESSES;
            if known.is_some() {
                self.complain(key.at, format!("`{}{name}` is not supported yet", map.prefix));
            } else if name == "<<" {
                self.complain(key.at, "`<<` merges in a map or a list of maps, found something else".into());
            } else {
                let complaint = self.complain(key.at, format!("unknown key `{}`{}", shown(name), map.place));
                if is_worth_a_guess {
                    let near = names::similar(name, keys.iter().map(|known| known.name));
                    complaint.label = match near {
                        Some(near) => Some(format!("did you mean `{near}`?")),
                        None => SERVICE_KEYS.iter().any(|known| known.name == name).then(|| "it is a key of a service".into()),
                    };
                }
            }
        }
    }

    /// Puts the field's value, where there is a field and it is right, in the place of the default.
    pub(super) fn set<'a, T>(&mut self, field: Option<Field<'a>>, target: &mut T, read: impl FnOnce(&mut Self, Field<'a>) -> Option<T>) {
        if let Some(value) = field.and_then(|field| read(self, field)) {
            *target = value;
        }
    }

    pub(super) fn valid<T>(&mut self, at: At, result: Result<T, InvalidSpec>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(InvalidSpec { message, hint }) => {
                self.complain(at, message).hint = hint;
                None
            }
        }
    }

    /// Complains about a key that is not there, unless it is there in a wrong spelling, which has been told.
    pub(super) fn required<T>(&mut self, map: &Map<'_>, key: &str, at: At, message: String, hint: &str) -> Option<T> {
        let misspelt = map.entries.iter().any(|(own, _)| names::similar(&own.text, [key]).is_some());
        if misspelt { None } else { self.missing(at, message, hint) }
    }

    pub(super) fn missing<T>(&mut self, at: At, message: String, hint: &str) -> Option<T> {
        self.complain(at, message).hint = Some(hint.into());
        None
    }

    pub(super) fn wrong_type(&mut self, field: Field<'_>, wanted: &str) -> &mut Complaint {
        self.complain(field.at(), format!("`{}` must be {wanted}, found {}", field.name(), describe(&field.node.value)))
    }

    pub(super) fn complain_twice(&mut self, at: At, first: At, message: String) {
        self.outcome.drafts.push(Draft { at, first: Some(first), complaint: Complaint { message, ..Complaint::default() } });
    }

    pub(super) fn complain(&mut self, at: At, message: String) -> &mut Complaint {
        let drafts = &mut self.outcome.drafts;
        drafts.push(Draft { at, first: None, complaint: Complaint { message, ..Complaint::default() } });
        let last = drafts.len() - 1;
        &mut drafts[last].complaint
    }
}

/// What to write instead of a word that some take for a boolean.
pub(super) fn meant_boolean(value: &Value) -> Option<&'static str> {
    match value.as_text()?.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some("write `true`, without quotes"),
        "no" | "off" | "n" | "false" => Some("write `false`, without quotes"),
        _ => None,
    }
}

/// A value in words, after "found".
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Int(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {}", write_float(*value)),
        Value::Text(text) => format!("the text `{}`", shown(text)),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
    }
}

/// Without hundreds of zeros.
fn write_float(value: f64) -> String {
    if value.abs() < 1e15 { value.to_string() } else { format!("{value:e}") }
}
