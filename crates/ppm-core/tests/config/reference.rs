//! The reference part of docs/configuration.md, written from the table of keys; and that every line of the table is true.

use std::fmt::Write;
use std::fs;

use ppm_core::attributes::Unit;
use ppm_core::config::keys::{
    ACTION, Absent, COMMAND, FILE, HEALTH, HOOK, HOOKS, Key, Kind, LIMITS, LOGGER, PAGE, READY, RESTART, SCHEDULE, SERVICE, STOP, Stage,
    TOP, Table, WATCH,
};
use ppm_core::config::{self, Config};
use serde_json::{Value, json};

use crate::schema::value_of;
use crate::{compare, repository};

const BEGIN: &str = "<!-- From here on written by a test from the table of keys: UPDATE=1 cargo test -p ppm-core --test config -->\n";

/// Puts the keys of a table where they belong in a configuration.
type Place = fn(Value) -> Value;

/// All tables, with a heading, and where they stand.
pub const TABLES: [(&Table, &str, Place); 16] = [
    (&TOP, "Top", |keys| keys),
    (&SERVICE, "Service", |keys| json!({"services": [keys, {"name": "db", "command": "a"}, {"name": "migrate", "command": "a"}]})),
    (&COMMAND, "`command`", |keys| json!({"services": [{"name": "web", "command": keys}]})),
    (&HOOKS, "`hooks`", |keys| json!({"services": [{"name": "web", "command": "a", "hooks": keys}]})),
    (&HOOK, "A hook as a map", |keys| json!({"services": [{"name": "web", "command": "a", "hooks": {"pre_start": keys}}]})),
    (&LIMITS, "`limits`", |keys| json!({"services": [{"name": "web", "command": "a", "limits": keys}]})),
    (&RESTART, "`restart`", |keys| json!({"services": [{"name": "web", "command": "a", "restart": keys}]})),
    (&STOP, "`stop`", |keys| json!({"services": [{"name": "web", "command": "a", "stop": keys}]})),
    (&SCHEDULE, "`schedule`", |keys| json!({"services": [{"name": "web", "command": "a", "schedule": keys}]})),
    (&WATCH, "`watch`", |keys| json!({"services": [{"name": "web", "command": "a", "watch": keys}]})),
    (&ACTION, "`action`", |keys| json!({"services": [{"name": "web", "command": "a", "watch": {"paths": "src", "action": keys}}]})),
    (&READY, "`ready`", |keys| json!({"services": [{"name": "web", "command": "a", "log": {"memory": "64KiB"}, "ready": keys}]})),
    (&HEALTH, "`health`", |keys| json!({"services": [{"name": "web", "command": "a", "health": keys}]})),
    (&PAGE, "`http` of `ready` and `health`", |keys| json!({"services": [{"name": "web", "command": "a", "health": {"http": keys}}]})),
    (&LOGGER, "`logger`", |keys| json!({"logger": keys})),
    (&FILE, "Values from files", |keys| json!({"services": [{"name": "web", "command": "a", "env": {"PASSWORD": keys}}]})),
];

#[test]
fn the_reference_is_written_from_the_table_of_keys() {
    let path = repository("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (introduction, _) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{} lacks the line {BEGIN}", path.display()));
    compare(&path, &format!("{introduction}{BEGIN}{}", reference()));
}

#[test]
fn every_example_is_read_and_every_default_means_the_same_as_nothing() {
    for (table, _, place) in TABLES {
        for key in table.keys {
            let Stage::Here { absent, example, .. } = key.stage else { continue };
            let read = |value: Option<&str>| read_whole(&place(keys(table, key, value.map(|value| written(key, value)))));
            let with = read(Some(example));
            if !matches!(absent, Absent::Required | Absent::OneOf) {
                assert_ne!(with, read(None), "the example of {} changes nothing", key.name);
            }
            if let Absent::Value(default) = absent {
                assert_eq!(read(Some(default)), read(None), "the default of {} changes something", key.name);
            }
        }
    }
}

#[test]
fn keys_that_are_not_supported_yet_are_refused_by_name() {
    for (table, _, place) in TABLES {
        for key in table.keys.iter().filter(|key| matches!(key.stage, Stage::Later)) {
            let problems = config::parse(&place(keys(table, key, Some(json!("x")))).to_string(), "f").unwrap_err();
            let messages: Vec<&str> = problems.list.iter().map(|problem| problem.message.as_str()).collect();
            assert!(matches!(messages.as_slice(), [one] if one.ends_with(&format!("{}` is not supported yet", key.name))), "{problems}");
        }
    }
}

/// A table with this key, if it has a value, and with all keys that it must have.
pub fn keys(table: &Table, key: &Key, value: Option<Value>) -> Value {
    let is_one_of = |key: &Key| matches!(key.stage, Stage::Here { absent: Absent::OneOf, .. });
    let first = table.keys.iter().find(|first| is_one_of(first) && !is_one_of(key)).map(|first| first.name);
    let is_required =
        |key: &&Key| matches!(key.stage, Stage::Here { absent: Absent::Required, .. }) || first.is_some_and(|first| key.name == first);
    let required = table.keys.iter().filter(is_required).map(|key| match key.stage {
        Stage::Here { example, .. } => (key.name.to_owned(), written(key, example)),
        Stage::Later => panic!("{} cannot be required", key.name),
    });
    let own = value.map(|value| (key.name.to_owned(), value));
    Value::Object(required.filter(|(name, _)| name != key.name).chain(own).collect())
}

/// The value of a key as it is read in a line of its own.
fn written(key: &Key, value: &str) -> Value {
    value_of(&format!("{}: {value}\n", key.name))[key.name].take()
}

fn read_whole(value: &Value) -> Config {
    let mut config = config::parse(&value.to_string(), "/etc/ppm/ppm.yml").unwrap_or_else(|problems| panic!("{problems}"));
    config.services.iter_mut().for_each(|service| service.source.clear());
    config
}

fn reference() -> String {
    let mut out = String::from("\n## Reference\n");
    for (table, heading, _) in TABLES {
        write!(out, "\n### {heading}\n\n| key | takes | default | what it does | example |\n| --- | --- | --- | --- | --- |\n").unwrap();
        let (mut later, mut name) = (Vec::new(), String::new());
        for key in table.keys {
            name.clear();
            write!(name, "`{}`", key.name).unwrap();
            let Stage::Here { kind, absent, about, example } = &key.stage else {
                later.push(name.clone());
                continue;
            };
            let default = default_in_words(absent);
            writeln!(out, "| {name} | {} | {default} | {about} | `{}: {example}` |", in_words(kind), key.name).unwrap();
        }
        if !later.is_empty() {
            writeln!(out, "\nNot supported yet, and refused: {}.", later.join(", ")).unwrap();
        }
    }
    out
}

pub fn default_in_words(absent: &Absent) -> String {
    match absent {
        Absent::Required => "must be there".to_owned(),
        Absent::OneOf => "one of these".to_owned(),
        Absent::Value(value) => format!("`{value}`"),
        Absent::Otherwise(words) => (*words).to_owned(),
    }
}

pub fn in_words(kind: &Kind) -> String {
    match kind {
        Kind::Text | Kind::AnyText => "text".to_owned(),
        Kind::Place => "port or place".to_owned(),
        Kind::Listen => "address and port, or `unix:/PATH`".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::Group => "group".to_owned(),
        Kind::Variable => "name".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Rate => "size a second".to_owned(),
        Kind::OrOff => "duration or `off`".to_owned(),
        Kind::Whole(min, u32::MAX) => format!("number from {min}"),
        Kind::Whole(min, max) => format!("number, {min} to {max}"),
        Kind::Integer(min, max) => format!("number, {min} to {max}"),
        Kind::User => "user".to_owned(),
        Kind::Umask => "octal digits".to_owned(),
        Kind::Limit(Unit::Bytes) => "size, or `unlimited`".to_owned(),
        Kind::Limit(Unit::Pieces) => "number, or `unlimited`".to_owned(),
        Kind::Percent => "percentage".to_owned(),
        Kind::Signal => "signal".to_owned(),
        Kind::Pattern => "pattern".to_owned(),
        Kind::Polling => "`auto`, `never` or duration".to_owned(),
        Kind::Reaction => "`restart` or `signal NAME`".to_owned(),
        Kind::Cron => "cron expression".to_owned(),
        Kind::Zone => "time zone".to_owned(),
        Kind::File | Kind::Absolute | Kind::Folder => "path".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::List(of, _, 1) => format!("list of one {}", in_words(of)),
        Kind::List(of, ..) => format!("list of {}", plural(of)),
        Kind::Map(table) if table.name == SERVICE.name => "[service](#service)".to_owned(),
        Kind::Map(table) => format!("[map](#{})", table.name),
        Kind::Needs => "map of services and `started`, `ready` or `finished`".to_owned(),
        Kind::Env => "map of [variables](#variables)".to_owned(),
        Kind::Either(kinds) => kinds.iter().map(in_words).collect::<Vec<_>>().join(", or "),
        Kind::OrNothing(kind) => in_words(kind),
    }
}

fn plural(kind: &Kind) -> String {
    match kind {
        Kind::Map(table) if table.name == SERVICE.name => "[services](#service)".to_owned(),
        Kind::AnyText | Kind::Text => "texts".to_owned(),
        Kind::Whole(min, max) => format!("numbers, {min} to {max}"),
        other => format!("{}s", in_words(other)),
    }
}
