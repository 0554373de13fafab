//! YAML as people write it: lists and maps in one line where they fit, texts with as few quotes as possible.
//!
//! yaml_serde writes neither comments nor short lines, so this writes what people are to read and edit. Invariant: what is written
//! is read as the same values.

use std::time::Duration;

use ppm_core::config::{quoted, write_duration};

/// The longest line of a list or a map in brackets; a longer one is written over several lines.
const MAX_LINE: usize = 110;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Written as it is: a number, a boolean, a time, a size, a word of ours.
    Word(String),
    /// Written with quotes where YAML needs them.
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A time.
    pub fn time(duration: Duration) -> Value {
        Value::Word(write_duration(duration))
    }

    /// Texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(texts.into_iter().map(|text| Value::Text(text.into())).collect())
    }

    /// A word or a number of ours.
    pub fn word(word: impl ToString) -> Value {
        Value::Word(word.to_string())
    }
}

/// A key with its value, in lines of their own where it does not fit into one.
pub fn entry(out: &mut String, indent: &str, key: &str, value: &Value) {
    let key = quoted(key);
    let deeper = format!("{indent}  ");
    match value {
        Value::Map(entries) if !entries.is_empty() && (key == "env" || !fits(indent, &key, value)) => {
            out.push_str(&format!("{indent}{key}:\n"));
            for (own, value) in entries {
                entry(out, &deeper, own, value);
            }
        }
        Value::List(items) if !items.is_empty() && !fits(indent, &key, value) => {
            out.push_str(&format!("{indent}{key}:\n"));
            for item in items {
                match item {
                    Value::Text(text) => out.push_str(&format!("{deeper}- {}\n", scalar(text, &format!("{deeper}  ")))),
                    Value::Map(entries) if !entries.is_empty() && !fits(&deeper, "", item) => {
                        let mut lines = String::new();
                        entries.iter().for_each(|(own, value)| entry(&mut lines, &format!("{deeper}  "), own, value));
                        out.push_str(&format!("{deeper}- {}", lines.trim_start()));
                    }
                    other => out.push_str(&format!("{deeper}- {}\n", flow(other))),
                }
            }
        }
        Value::Text(text) => out.push_str(&format!("{indent}{key}: {}\n", scalar(text, &deeper))),
        other => out.push_str(&format!("{indent}{key}: {}\n", flow(other))),
    }
}

/// Whether a value may stand in the line of its key.
fn fits(indent: &str, key: &str, value: &Value) -> bool {
    fn has_lines(value: &Value) -> bool {
        match value {
            Value::Word(_) => false,
            Value::Text(text) => text.contains('\n'),
            Value::List(items) => items.iter().any(has_lines),
            Value::Map(entries) => entries.iter().any(|(_, value)| has_lines(value)),
        }
    }
    !has_lines(value) && indent.len() + key.len() + 2 + flow(value).chars().count() <= MAX_LINE
}

/// A value in brackets.
fn flow(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Word(word) => word.clone(),
        Value::Text(text) => quoted(text),
        Value::List(items) => format!("[{}]", joined(items.iter().map(flow).collect())),
        Value::Map(entries) => {
            format!("{{{}}}", joined(entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value))).collect()))
        }
    }
}

/// A text behind its key or its dash: with as few quotes as it can be read with, in lines where it has some.
fn scalar(text: &str, indent: &str) -> String {
    let is_simple =
        |letter: char| !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let in_lines = lines.len() > 1
        && lines.iter().all(|line| line.chars().all(|letter| letter == '\t' || is_simple(letter)))
        && lines.first().is_some_and(|line| !line.starts_with([' ', '\t']) && !line.is_empty())
        && lines.last().is_some_and(|line| !line.trim().is_empty());
    if in_lines {
        let chomp = if text.ends_with('\n') { "" } else { "-" };
        let line = |line: &&str| if line.is_empty() { String::new() } else { format!("{indent}{line}") };
        return format!("|{chomp}\n{}", lines.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '_' | '.'));
    let misleads = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']) || !text.contains([' ', '/']);
    if begins && !misleads && text.chars().all(is_simple) {
        return text.to_owned();
    }
    if text.contains(['"', '\\']) && !text.contains('\'') && text.chars().all(is_simple) {
        return format!("'{text}'");
    }
    quoted(text)
}
