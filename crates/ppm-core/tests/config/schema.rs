//! The schema of the configuration, written from the table of keys.

use ppm_core::attributes::Unit;
use ppm_core::config::keys::{
    ACTION, ANY, Absent, COMMAND, FILE, HEALTH, HOOK, HOOKS, Kind, LIMITS, LOGGER, Notes, PAGE, READY, RESTART, SCHEDULE, SERVICE, STOP,
    Stage, TOP, Table, WATCH,
};
use ppm_core::dependencies::Condition;
use ppm_core::schedule::Schedule;
use ppm_protocol::Signal;
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use crate::{compare, repository};

/// Numbers without a unit, as seconds; and sums of numbers with one.
const DURATION: &str = concat!(
    r"^\s*(\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|([0-9]+(\.[0-9]+)?\s*",
    "(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y)",
    r"\s*)+)\s*$",
);
/// Bytes, or a number and a unit of them.
const SIZE: &str = r"^\s*([0-9]+\s*[Bb]?|[0-9]+(\.[0-9]{1,12})?\s*[KkMmGgTtPp]([Ii]?[Bb]?))\s*$";
/// The name or number of a user or group.
const WHO: &str = "[A-Za-z0-9._][A-Za-z0-9._@+-]*";
const NAME: &str = "^[A-Za-z0-9._@][A-Za-z0-9._@-]*$";
const GROUP: &str = "^[A-Za-z0-9._][A-Za-z0-9._@-]*$";
const RESERVED: &str = "^([0-9]+|all|ppm-daemon)$";
const VARIABLE: &str = r"^[^=\u0000]+$";
const NICKNAMES: [&str; 8] = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly", "minutely"];
/// A hundred years, in seconds.
const LONGEST: u64 = 100 * 365 * 86_400;

#[test]
fn the_schema_is_written_from_the_table_of_keys() {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap();
    text.push('\n');
    compare(&repository("data/config.schema.json"), &text);
}

/// The whole schema.
pub fn schema() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let minor = version.rsplit_once('.').unwrap().0;
    let mut schema = table(&TOP);
    let mut definitions: Map<String, Value> =
        [&SERVICE, &COMMAND, &HOOKS, &HOOK, &LIMITS, &RESTART, &STOP, &SCHEDULE, &WATCH, &ACTION, &READY, &HEALTH, &PAGE, &LOGGER, &FILE]
            .into_iter()
            .map(|own| (own.name.to_owned(), table(own)))
            .collect();
    definitions.insert("duration".to_owned(), duration());
    definitions.insert("env".to_owned(), env());
    let about = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:ppm:configuration:{minor}"),
        "title": "PPM configuration",
        "description": "The configuration of ppm daemon and ppm-daemon; docs/configuration.md says more.",
        "$defs": definitions,
    });
    add(&mut schema, about);
    schema["type"] = json!(["object", "null"]);
    schema
}

/// The value of a text of YAML.
pub fn value_of(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap()
}

fn table(table: &Table) -> Value {
    let (mut properties, mut required, mut one_of) = (Map::new(), Vec::new(), Vec::new());
    for key in table.keys {
        let Stage::Here { kind, absent, about, example } = &key.stage else { continue };
        let mut schema = json!({"description": about, "examples": [value_of(example)]});
        add(&mut schema, kind_of(kind));
        match absent {
            Absent::Required => required.push(key.name),
            Absent::OneOf => one_of.push(json!({"required": [key.name]})),
            Absent::Value(yaml) => schema["default"] = value_of(yaml),
            Absent::Otherwise(_) => {}
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !one_of.is_empty() {
        schema["oneOf"] = json!(one_of);
    }
    if table.notes == Notes::Allowed {
        schema["patternProperties"] = json!({"^x-": {"description": "Means nothing: for notes, and for anchors."}});
    }
    schema
}

fn kind_of(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string", "pattern": r"\S"}),
        Kind::AnyText => json!({"type": "string"}),
        Kind::Name => named(NAME),
        Kind::Group => named(GROUP),
        Kind::Variable => json!({"type": "string", "pattern": VARIABLE, "maxLength": 255}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Duration => json!({"$ref": "#/$defs/duration"}),
        Kind::Size => json!({"type": ["string", "integer"], "minimum": 0, "maximum": i64::MAX, "pattern": SIZE}),
        Kind::Rate => {
            let rate = format!(r"{}/s\s*$|^\s*0\s*$", SIZE.trim_end_matches('$'));
            json!({"type": ["string", "integer"], "minimum": 0, "maximum": 0, "pattern": rate})
        }
        Kind::OrOff => json!({"oneOf": [{"enum": ["off", false]}, {"$ref": "#/$defs/duration"}]}),
        Kind::Whole(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::User => json!({"type": ["string", "integer"], "minimum": 0, "maximum": u32::MAX - 1, "pattern": format!("^{WHO}(:{WHO})?$")}),
        Kind::Umask => json!({"type": "string", "pattern": "^0?[0-7]{1,3}$"}),
        Kind::Limit(unit) => limit(*unit),
        Kind::Percent => json!({"type": "string", "pattern": r"^\s*0*(100|[0-9]{1,2})\s*%\s*$"}),
        Kind::Signal => json!({"type": ["string", "integer"], "minimum": 1, "maximum": 64, "pattern": signal()}),
        Kind::Zone => json!({"type": "string"}),
        Kind::Pattern => json!({"type": "string", "pattern": r"\S", "maxLength": 4096}),
        Kind::Polling => json!({"oneOf": [{"enum": ["auto", "never"]}, {"$ref": "#/$defs/duration"}]}),
        Kind::Reaction => json!({"type": "string", "pattern": reaction()}),
        Kind::Cron => json!({"type": "string", "pattern": cron()}),
        Kind::File => json!({"type": "string", "pattern": r"\S"}),
        Kind::Place => json!({"type": ["string", "integer"], "minimum": 1, "maximum": u16::MAX, "pattern": place()}),
        Kind::Url => json!({"type": "string", "pattern": r"^http://([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?([/?#][!-~]*)?$"}),
        Kind::Listen => json!({"type": "string", "pattern": listen()}),
        Kind::Absolute => json!({"type": "string", "pattern": "^/"}),
        Kind::Folder => json!({"type": "string", "pattern": r"^(/|\$\{)"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::List(of, min, max) => list(kind_of(of), *min, *max),
        Kind::Map(table) => json!({"$ref": format!("#/$defs/{}", table.name)}),
        Kind::Needs => json!({
            "type": "object",
            "propertyNames": kind_of(&Kind::Name),
            "additionalProperties": {"enum": Condition::ALL.map(Condition::name)},
        }),
        Kind::Env => json!({"$ref": "#/$defs/env"}),
        Kind::Either(kinds) => either(kinds),
        Kind::OrNothing(Kind::Env) => kind_of(&Kind::Env), // may be nothing itself
        Kind::OrNothing(kind) => merged([kind_of(kind), json!({"type": "null"})]),
    }
}

fn named(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern, "maxLength": 100, "not": {"type": "string", "pattern": RESERVED}})
}

fn list(items: Value, min: usize, max: usize) -> Value {
    let mut schema = json!({"type": "array", "items": items});
    if min > 0 {
        schema["minItems"] = json!(min);
    }
    if max != ANY {
        schema["maxItems"] = json!(max);
    }
    schema
}

/// Forms that are no maps are one schema, since their rules do not touch one another; a map is another.
fn either(kinds: &[Kind]) -> Value {
    let is_map = |kind: &&Kind| matches!(kind, Kind::Map(_));
    let scalar = merged(kinds.iter().filter(|kind| !is_map(kind)).map(kind_of));
    match kinds.iter().find(is_map) {
        None => scalar,
        Some(map) => json!({"oneOf": [scalar, kind_of(map)]}),
    }
}

fn merged(schemas: impl IntoIterator<Item = Value>) -> Value {
    let (mut all, mut types) = (json!({}), Vec::new());
    for mut schema in schemas {
        match schema.as_object_mut().unwrap().remove("type").unwrap() {
            Value::Array(several) => types.extend(several),
            one => types.push(one),
        }
        add(&mut all, schema);
    }
    all["type"] = json!(types);
    all
}

/// Adds the entries of a map to another, which must not have them.
fn add(schema: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("{more} is no map") };
    for (keyword, rule) in more {
        assert!(schema.get(&keyword).is_none(), "{keyword} would be there twice");
        schema[keyword] = rule;
    }
}

fn duration() -> Value {
    let about = "A number and a unit, or several: `10s`, `1h 30m`. A bare number is seconds.";
    json!({"description": about, "type": ["string", "number"], "minimum": 0, "maximum": LONGEST, "pattern": DURATION})
}

/// One value, or two with a colon between them.
fn limit(unit: Unit) -> Value {
    let amount = match unit {
        Unit::Bytes => SIZE.trim_start_matches('^').trim_end_matches('$'),
        Unit::Pieces => r"\s*[0-9]{1,19}\s*",
    };
    let value = format!(r"(\s*unlimited\s*|{amount})");
    json!({"type": ["string", "integer"], "minimum": 0, "maximum": i64::MAX, "pattern": format!("^{value}(:{value})?$")})
}

/// A port, a host and a port, or the path of a socket.
fn place() -> String {
    let port = r"\+?0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    format!(r"^(([^\s:/@?#\[\]]+:|\[[0-9A-Fa-f:.]+\]:)?{port}|unix:[^\s]+)$")
}

/// An address and a port, or the path of a socket.
fn listen() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let port = "0*(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    format!(r"^((localhost|{byte}(\.{byte}){{3}}|\[[0-9A-Fa-f:.]+\])?:{port}|unix:/[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/])$")
}

/// Five to seven fields, or a nickname.
fn cron() -> String {
    let nicknames: Vec<String> = NICKNAMES.iter().map(|name| any_case(name)).collect();
    let (zone, every, reboot) = (format!("({})?{}", any_case("CRON_"), any_case("TZ")), any_case("every"), any_case("reboot"));
    let fields = r"[^\s@=]+(\s+\S+){4,6}";
    format!(r"^\s*({zone}=\S+\s+)?(@({}|{reboot}|{every}\s+[0-9].*)|{fields})\s*$", nicknames.join("|"))
}

/// Names with and without `SIG`, and numbers.
fn signal() -> String {
    let named = (1..=31).map(|number| Signal::from_number(number).unwrap().to_string());
    let names: Vec<String> = named.map(|name| any_case(name.strip_prefix("SIG").unwrap())).collect();
    let (prefix, min, max) = (any_case("SIG"), any_case("RTMIN"), any_case("RTMAX"));
    let offset = r"\+?0*([0-9]|[12][0-9]|30)";
    let real_time = format!(r"{min}(\+{offset})?|{max}(-{offset})?");
    format!(r"^({prefix})?({}|{real_time}|\+?0*([1-9]|[1-5][0-9]|6[0-4]))$", names.join("|"))
}

/// A restart, or a signal by its name or number.
fn reaction() -> String {
    let signal = signal();
    format!(r"^\s*(restart|signal\s+{})\s*$", signal.trim_start_matches('^').trim_end_matches('$'))
}

/// Patterns know capitals from small letters, the parser does not.
fn any_case(word: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    word.chars().map(letter).collect()
}

#[test]
fn every_signal_and_nickname_is_in_the_schema() {
    let (signal, cron) = (Regex::new(&signal()).unwrap(), Regex::new(&cron()).unwrap());
    for number in 1..=64 {
        let name = Signal::from_number(number).unwrap().to_string();
        for text in [&name, name.strip_prefix("SIG").unwrap(), &name.to_lowercase(), &number.to_string()] {
            assert!(signal.is_match(text), "{text}");
        }
    }
    for text in ["", "SIG", "SIGFOO", "0", "65", "TERM ", "RTMIN+31", "RTMIN-1", "RTMAX+1"] {
        assert!(!signal.is_match(text) && text.parse::<Signal>().is_err(), "{text}");
    }
    assert!(NICKNAMES.iter().all(|name| cron.is_match(&format!("@{name}")) && Schedule::parse(&format!("@{name}")).is_ok()));
}

fn env() -> Value {
    let text = "What is passed on; `${NAME}`, `${NAME:-default}` and `${NAME:?message}` are expanded, `$$` stands for a `$`.";
    let value = json!({"oneOf": [{"description": text, "type": ["string", "number", "boolean"]}, kind_of(&Kind::Map(&FILE))]});
    let name = json!({"pattern": VARIABLE, "maxLength": 255});
    json!({"description": "Variables and their values.", "type": ["object", "null"], "propertyNames": name, "additionalProperties": value})
}
