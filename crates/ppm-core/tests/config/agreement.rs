//! The schema says what the parser says, as far as a schema can tell.

use std::fs;

use ppm_core::config;
use serde_json::{Value, json};

use crate::any::{Chance, any_config};
use crate::checker::errors;
use crate::reference::{TABLES, keys};
use crate::schema::schema;
use crate::wrong_files;

/// What only the parser finds wrong: the file, and in which of its services (0: above them).
const ONLY_THE_PARSER: [(&str, usize); 45] = [
    ("command-empty", 6), // a command of nothing but quotes
    ("command-empty", 7), // and in a list
    ("command-nul", 1),
    ("command-nul", 2),
    ("command-nul", 3),
    ("command-quote", 1), // how a line is split
    ("command-quote", 2),
    ("depends-on-circle", 1), // what the others are
    ("depends-on-circle", 2),
    ("depends-on-circle", 3),
    ("depends-on-circle", 5),
    ("expansion", 0), // references in one another
    ("expansion", 1),
    ("logger-values", 3), // a NUL
    ("logger-values", 4), // a reference
    ("logger-values", 7), // how much a size may be
    ("max-memory", 2),    // how little a size may be
    ("max-memory", 3),
    ("notify", 2), // what goes together
    ("notify", 5),
    ("notify", 7),
    ("ready-output", 1), // whether output is captured, and what is in a line
    ("ready-output", 2),
    ("ready-output", 3),
    ("ready-output", 5),
    ("ready-output", 6),
    ("ready", 11),   // how short an interval may be
    ("replicas", 1), // what the others are, and what replicas are called
    ("replicas", 3),
    ("replicas", 4),
    ("replicas", 5),
    ("replicas", 8),
    ("schedule-several", 2), // what goes together
    ("schedule-wrong", 1),   // what the fields may be
    ("schedule-wrong", 3),
    ("schedule-wrong", 4),
    ("timezone", 0), // which zones there are
    ("timezone", 1),
    ("timezone", 2),
    ("timezone", 4),
    ("user", 6),        // the largest number
    ("watch-paths", 4), // which paths make no sense
    ("watch-paths", 5),
    ("watch-paths", 6), // a reference
    ("workdir", 3),     // a NUL
];

#[test]
fn schema_and_parser_refuse_the_same_parts_of_wrong_files() {
    let schema = schema();
    let (mut only_the_parser, mut compared) = (Vec::new(), 0);
    for file in wrong_files() {
        let Some(value) = json_of(&fs::read_to_string(&file).unwrap()) else { continue };
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        for (number, part) in parts(&value).into_iter().enumerate() {
            compared += 1;
            match verdict(&schema, &part) {
                Verdict::Same => {}
                Verdict::OnlyParser(_) => only_the_parser.push((name.clone(), number)),
                Verdict::OnlySchema(refused) => panic!("{name}: the schema refuses what is right: {refused:?}"),
            }
        }
    }
    assert!(compared > 150, "only {compared} parts");
    assert_eq!(only_the_parser, ONLY_THE_PARSER.map(|(name, number)| (name.to_owned(), number)));
}

/// What a schema could tell with more effort than it is worth.
const NOT_IN_A_SCHEMA: [&str; 13] = [
    "`watch.poll` must be 10ms or more",
    "`* * * * *` is in nearly every line",
    "`* * *` is in nearly every line",
    "a `${` is not closed",
    "a NUL character cannot be passed to a program",
    "the program's name is empty",
    "a `{` is not closed",
    "a NUL character cannot be in a name",
    "`ready.interval` must be 10ms or more",
    "`health.interval` must be 10ms or more",
    "`health.timeout` must be 10ms or more",
    "`ready.notify` must be `true`, or the number of a descriptor from 3 to 255, found `false`",
    "`health.notify` must be `true`, or the number of a descriptor from 3 to 255, found `false`",
];

#[test]
fn schema_and_parser_refuse_the_same_values_of_every_key() {
    let schema = schema();
    let values = json!([
        null, true, 0, 1, 65, 300, -1, 1.5, -0.5, 5_000_000_000_u64, "", " ", "x", "a b", "/x", "${X}", "${X", "$X", "all", "7", "@x", "-x", "10s", "1h 30m",
        "10 parsecs", "-5s", "unlimited", "1:2", "0022", "app:web", "app:", ":app", "20MiB", "10MiB/s", "5 /s", "1.5 g", "64kb", "20 MX", "0.5", "10%", "110%", "TERM", "sigrtmin+3", "TE RM", "never", "no", "@daily", "* * * * *", "* * *", "A=B", "a\u{0}",
        [], [null], [0], [300], ["x"], ["a b", "c"], ["* * * * *"], [""], [[]], {}, {"x": "y"}, {"x-note": 1}, {"file": "/x"}, {"A": {"file": ""}},
        {"A": 1.5}, {"A": null}, {"A=B": "c"}, {"path": "x"}, {"policy": "always"}, {"signal": 0}, {"nofile": 1}, {"core": "1:unlimited"}, {"cron": "@daily"}, {"cron": []},
        {"tcp": 80}, {"tcp": 80, "file": "/x"}, {"tcp": 0}, {"http": {"url": "http://web/"}}, {"http": {"status": 200}}, "http://web:80/x", "db:5432", {"notify": true}, {"listen": 80}, {"listen": 0}
    ]);
    for (table, _, place) in TABLES {
        for key in table.keys {
            for value in values.as_array().unwrap() {
                let whole = place(keys(table, key, Some(value.clone())));
                match verdict(&schema, &whole) {
                    Verdict::Same => {}
                    Verdict::OnlyParser(why) if why.ends_with("is not a time zone") || why.contains("must be from 4KiB to 64MiB") => {}
                    Verdict::OnlyParser(why) if why.contains("must be at least 1MiB") => {}
                    Verdict::OnlyParser(why) if why.ends_with("there is no such service") => {}
                    Verdict::OnlyParser(why) => assert!(NOT_IN_A_SCHEMA.contains(&why.as_str()), "{}: {value}: {why}", key.name),
                    Verdict::OnlySchema(refused) => panic!("{whole}: the schema refuses what is right: {refused:?}"),
                }
            }
        }
    }
}

enum Verdict {
    Same,
    OnlyParser(String),
    OnlySchema(Vec<String>),
}

/// JSON is YAML, so that both can look at the same.
fn verdict(schema: &Value, whole: &Value) -> Verdict {
    let refused = errors(schema, whole);
    match (config::parse(&whole.to_string(), "f"), refused.is_empty()) {
        (Ok(_), true) | (Err(_), false) => Verdict::Same,
        (Ok(_), false) => Verdict::OnlySchema(refused),
        (Err(problems), true) => Verdict::OnlyParser(problems.list[0].message.clone()),
    }
}

#[test]
fn the_schema_takes_whatever_can_be_written() {
    let schema = schema();
    let mut chance = Chance(17);
    for round in 0..1000 {
        let config = any_config(&mut chance);
        let yaml = config::render(&config.settings, &config.services);
        let refused = errors(&schema, &json_of(&yaml).unwrap());
        assert!(refused.is_empty(), "round {round}: {refused:?}\n{yaml}");
    }
}

/// A text of YAML as JSON, if it can be; merge keys are applied.
pub fn json_of(yaml: &str) -> Option<Value> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(yaml).ok()?;
    value.apply_merge().ok()?;
    serde_json::to_value(value).ok()
}

/// What stands above the services, and each service, as configurations of their own.
fn parts(whole: &Value) -> Vec<Value> {
    let (Some(top), Some(services)) = (whole.as_object(), whole.get("services").and_then(Value::as_array)) else {
        return vec![whole.clone()];
    };
    let mut above = top.clone();
    above.remove("services");
    let alone = services.iter().map(|service| json!({"services": [service]}));
    [Value::Object(above)].into_iter().chain(alone).collect()
}
