//! A configuration in the making: what another program's file says, in our words.
//!
//! Knows no dialect. Invariants: keys are written in one order, whatever order they were found in; every remark names the
//! line that it is about; no text of the file can end the comment that it stands in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ppm_core::config::{double_quoted, quoted, write_duration};
use ppm_core::names::{self, MAX_NAME};
use ppm_core::spec::MAX_SERVICES;
use serde::Serialize;

use crate::show::text::clean;
pub use crate::yaml::Value;
use crate::yaml::entry;

/// The keys of a service, as docs/configuration.md and most files have them.
const SERVICE: [&str; 27] = [
    "command",
    "workdir",
    "env",
    "env_file",
    "inherit_env",
    "user",
    "umask",
    "autostart",
    "restart",
    "success_exit_codes",
    "stop",
    "essential",
    "depends_on",
    "on_dependency_restart",
    "ready",
    "health",
    "schedule",
    "watch",
    "max_memory",
    "limits",
    "nice",
    "oom_score_adj",
    "no_new_privs",
    "hooks",
    "log",
    "replicas",
    "groups",
];

/// The same of the top.
const TOP: [&str; 6] = ["shutdown_timeout", "timezone", "env_file", "env", "logger", "http"];

/// The entries of maps in their order.
const PARTS: [(&str, &[&str]); 6] = [
    ("restart", &["policy", "interval", "max_interval", "jitter", "max_retries", "reset_after"]),
    ("stop", &["signal", "timeout", "group", "command"]),
    ("ready", &["http", "command", "log", "interval", "timeout", "start_period"]),
    ("health", &["http", "command", "interval", "timeout", "retries", "start_period"]),
    ("schedule", &["cron", "timezone", "overlap", "jitter", "on_start"]),
    ("log", &["path", "max_files", "max_file_size", "memory", "timestamps"]),
];

/// What a shutdown takes beside the stop of the slowest service.
const MARGIN: Duration = Duration::from_secs(1);

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
}

/// What did not map, or not exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    pub file: String,
    pub line: usize,
    pub message: String,
}

/// A service in the making.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub place: Place,
    /// What its author says of it.
    pub description: Option<String>,
    keys: BTreeMap<&'static str, Value>,
    /// The entries of its maps that are there.
    parts: BTreeSet<(&'static str, String)>,
    remarks: Vec<Remark>,
}

/// A configuration in the making.
#[derive(Debug, Default)]
pub struct Draft {
    keys: BTreeMap<&'static str, Value>,
    variables: BTreeMap<String, Value>,
    remarks: Vec<Remark>,
    /// What is not to be remarked again.
    told: BTreeSet<String>,
    services: Vec<Service>,
    names: BTreeSet<String>,
    /// How often a name was wanted that was not free.
    again: BTreeMap<String, usize>,
    /// The longest time that a service is given to stop, and where that is written.
    slowest: Option<(Duration, Place)>,
}

impl Place {
    fn remark(&self, message: &str) -> Remark {
        Remark { file: self.file.to_string(), line: self.line, message: message.to_owned() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What YAML takes for no character, or for the end of a line, is not even allowed in a comment.
        let text: String = clean(&format!("{}:{}: {}", self.file, self.line, self.message)).into_owned();
        f.write_str(&text.replace(['\u{feff}', '\u{fffe}', '\u{ffff}'], "?"))
    }
}

impl Service {
    pub fn new(name: &str, place: &Place) -> Service {
        let (keys, parts, remarks) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Service { name: name.to_owned(), place: place.clone(), description: None, keys, parts, remarks }
    }

    /// Says `key` of it, or `key.part`; what was said before of the same is forgotten.
    pub fn set(&mut self, key: &'static str, value: Value) {
        let (key, part) = key.split_once('.').map_or((key, None), |(key, part)| (key, Some(part)));
        match part {
            None => drop(self.keys.insert(key, value)),
            Some(part) => self.add(key, part, value),
        }
    }

    /// Says one entry of a map: a variable, a service that it needs.
    pub fn add(&mut self, key: &'static str, part: &str, value: Value) {
        let map = self.keys.entry(key).or_insert_with(|| Value::Map(Vec::new()));
        if !matches!(map, Value::Map(_)) {
            *map = Value::Map(Vec::new());
        }
        if let Value::Map(entries) = map {
            if !self.parts.insert((key, part.to_owned())) {
                entries.retain(|(own, _)| own != part);
            }
            entries.push((part.to_owned(), value));
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// One entry of a map.
    pub fn part(&self, key: &str, part: &str) -> Option<&Value> {
        match self.keys.get(key)? {
            Value::Map(entries) => entries.iter().find(|(own, _)| own == part).map(|(_, value)| value),
            Value::Word(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Remarks that something did not map: above the service, with the line.
    pub fn remark(&mut self, place: &Place, message: impl AsRef<str>) {
        self.remarks.push(place.remark(message.as_ref()));
    }
}

impl Draft {
    /// Says `key` of the top.
    pub fn set(&mut self, key: &'static str, value: Value) {
        self.keys.insert(key, value);
    }

    /// Says a variable for all services.
    pub fn variable(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Remarks that something did not map: at the top, with the line.
    pub fn remark(&mut self, place: &Place, message: impl AsRef<str>) {
        self.remarks.push(place.remark(message.as_ref()));
    }

    /// The same, if it has not been said of an earlier line.
    pub fn remark_once(&mut self, place: &Place, message: impl AsRef<str>) {
        if self.told.insert(message.as_ref().to_owned()) {
            self.remark(place, message);
        }
    }

    /// A name that is allowed and free, as near as possible to this one.
    pub fn free_name(&mut self, wanted: &str) -> String {
        let mut name = allowed(wanted);
        if self.names.contains(&name) {
            let wanted = name.clone();
            let number = self.again.entry(wanted.clone()).or_insert(1);
            while self.names.contains(&name) {
                *number += 1;
                name = format!("{wanted}-{number}");
            }
        }
        name
    }

    /// Takes a service in; where its name cannot stay, that is told. One more than there may be is enough.
    pub fn push(&mut self, mut service: Service) {
        if self.services.len() > MAX_SERVICES {
            return;
        }
        let name = self.free_name(&service.name);
        if name != service.name {
            let message = format!("the name `{}` became `{name}`", service.name);
            service.remarks.insert(0, service.place.remark(&message));
        }
        self.names.insert(name.clone());
        service.name = name;
        self.services.push(service);
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    pub fn services_mut(&mut self) -> &mut [Service] {
        &mut self.services
    }

    pub fn remarks(&self) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().chain(self.services.iter().flat_map(|service| &service.remarks))
    }

    /// A service is given so long to stop, where that is written.
    pub fn stops_within(&mut self, grace: Option<(Duration, Place)>) {
        let is_slowest = |(grace, _): &(Duration, Place)| self.slowest.as_ref().is_none_or(|(most, _)| grace > most);
        if let Some(slowest) = grace.filter(is_slowest) {
            self.slowest = Some(slowest);
        }
    }

    /// Gives the whole shutdown the time that the slowest service was given.
    pub fn allow_for_slowest(&mut self) {
        const USUAL: Duration = Duration::from_secs(9);
        let Some((slowest, place)) = self.slowest.take() else { return };
        if slowest + MARGIN > USUAL {
            let all = slowest + MARGIN;
            self.set("shutdown_timeout", Value::time(all));
            let all = write_duration(all);
            self.remark(&place, format!("a service is given so long to stop that the whole shutdown may take {all}; docker allows 10s unless it is told: docker stop -t"));
        }
    }

    /// The configuration as YAML. `from` says what it was made of.
    pub fn render(&self, from: &str) -> String {
        let mut out = format!("# ppm configuration, from {}\n", clean(from));
        if !self.remarks.is_empty() {
            out.push_str("#\n");
        }
        for remark in &self.remarks {
            out.push_str(&format!("# {remark}\n"));
        }
        out.push('\n');
        let mut keys = self.keys.clone();
        if !self.variables.is_empty() {
            keys.insert("env", Value::Map(self.variables.clone().into_iter().collect()));
        }
        for key in TOP {
            if let Some(value) = keys.get(key) {
                entry(&mut out, "", key, value);
            }
        }
        if !keys.is_empty() {
            out.push('\n');
        }
        out.push_str(if self.services.is_empty() { "services: []\n" } else { "services:\n" });
        let is_airy = self.services.iter().any(|service| service.keys.len() + service.remarks.len() > 2);
        for (number, service) in self.services.iter().enumerate() {
            if number > 0 && is_airy {
                out.push('\n');
            }
            service.render(&mut out);
        }
        out
    }
}

impl Service {
    fn render(&self, out: &mut String) {
        for line in self.description.iter().flat_map(|text| text.lines()) {
            out.push_str(format!("  # {}", clean(line).replace(['\u{feff}', '\u{fffe}', '\u{ffff}'], "?")).trim_end());
            out.push('\n');
        }
        for remark in &self.remarks {
            out.push_str(&format!("  # {remark}\n"));
        }
        out.push_str(&format!("  - name: {}\n", quoted(&self.name)));
        for key in SERVICE {
            if let Some(value) = self.keys.get(key) {
                entry(out, "    ", key, &shortest(key, value));
            }
        }
    }
}

/// The entries of a map in their order; a restart policy alone, and an expression alone, without the map.
fn shortest(key: &str, value: &Value) -> Value {
    let (Value::Map(entries), Some((_, order))) = (value, PARTS.iter().find(|(own, _)| *own == key)) else { return value.clone() };
    match (key, entries.as_slice()) {
        ("restart", [(part, value)]) if part == "policy" => value.clone(),
        ("schedule", [(part, value)]) if part == "cron" => value.clone(),
        (_, entries) => {
            let mut entries = entries.to_vec();
            entries.sort_by_key(|(part, _)| order.iter().position(|own| own == part));
            Value::Map(entries)
        }
    }
}

/// A name that a service may have, as near as possible to this one.
fn allowed(name: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | '@') { letter } else { '-' };
    let name: String = name.chars().map(keep).take(MAX_NAME - 12).collect();
    let name = name.trim_matches('-');
    match names::check(name) {
        Ok(()) => name.to_owned(),
        Err(_) => format!("service-{name}").trim_end_matches('-').to_owned(),
    }
}

/// A text that means itself where references are expanded.
pub fn literal(text: &str) -> String {
    if text.contains("${") || text.contains("$$") { text.replace('$', "$$") } else { text.to_owned() }
}

/// The value of a variable, whatever it looks like.
pub fn variable(text: impl Into<String>) -> Value {
    let text = text.into();
    let is_number = text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    if is_number { Value::Word(text) } else { Value::Text(text) }
}

/// A text in double quotes for a message.
pub fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() { double_quoted(&(cut + "…")) } else { double_quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize) -> Place {
        Place { file: "x.conf".into(), line }
    }

    fn rendered(value: Value) -> String {
        let mut draft = Draft::default();
        let mut service = Service::new("web", &place(1));
        service.set("command", Value::Text("web".to_owned()));
        service.set("env", Value::Map(vec![("A".to_owned(), value)]));
        draft.push(service);
        draft.render("x.conf")
    }

    fn read_back(value: Value) -> String {
        let text = rendered(value);
        let config = ppm_core::config::parse(&text, "x").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        format!("{:?}", config.services[0].command.env["A"])
    }

    #[test]
    fn every_text_is_read_as_it_was_meant() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            "true",
            "null",
            "~",
            "1",
            "1.10",
            "0x1f",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "a:",
            "'a' b",
            "\"a\" b",
            "\\ a/",
            "a\nb",
            "a\nb\n",
            "a\n\nb",
            "a\n b\n",
            " a\nb",
            "a\n\n",
            "a\tb",
            "\ta",
            "a\n\tb",
            "é/ü x",
            "a\u{2028}b c",
            "a\u{feff} b",
            "a\u{85} b",
            "&a b",
            "*a b",
            "!a b",
            "| b",
            "> b",
            "% b",
            "@ b",
            "` b",
            "{a} b",
            "[a] b",
            ", b",
            "? b",
            "/a: b",
            "/a, b]",
            "a \u{7f}",
            "/",
            "./x",
            "..",
            ".",
            "a ",
            "a\r\nb",
            "---",
            "--- a/",
            "... /",
            "_ b",
        ];
        for text in texts {
            let wanted = format!("{:?}", ppm_core::environment::EnvValue::from(text));
            assert_eq!(read_back(Value::Text(text.to_owned())), wanted, "{text:?}\n{}", rendered(Value::Text(text.to_owned())));
        }
    }

    #[test]
    fn remarks_cannot_end_their_comment() {
        let mut draft = Draft::default();
        for letter in ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{ffff}', '\0', '\u{1b}'] {
            draft.remark(&place(3), format!("a{letter}services: 1"));
        }
        let text = draft.render("x\n: y");
        ppm_core::config::parse(&text, "x").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), ["", "services: []"]);
    }

    #[test]
    fn names_are_made_fit_and_unique_and_that_is_told() {
        let mut draft = Draft::default();
        for name in ["web", "web", "my app", "7", "all", "--x", "日本", "web"] {
            draft.push(Service::new(name, &place(7)));
        }
        let names: Vec<&str> = draft.services().iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["web", "web-2", "my-app", "service-7", "service-all", "x", "service", "web-3"]);
        assert!(draft.remarks().any(|remark| remark.to_string() == "x.conf:7: the name `my app` became `my-app`"));
        assert_eq!(draft.remarks().count(), 7);
    }

    #[test]
    fn what_is_to_be_taken_as_it_is_has_its_dollars_doubled_where_it_matters() {
        for (text, wanted) in [("a$b", "a$b"), ("${A}", "$${A}"), ("a$$b", "a$$$$b"), ("$(x) ${y}", "$$(x) $${y}")] {
            assert_eq!(literal(text), wanted);
        }
    }

    #[test]
    fn every_key_is_one_of_the_configuration() {
        let schema = include_str!("../../../../data/config.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let has = |schema: &serde_json::Value, key: &str| schema["properties"].get(key).is_some();
        let service = &schema["properties"]["services"]["items"];
        let service = match service.get("$ref").and_then(|path| path.as_str()) {
            Some(path) => schema.pointer(path.trim_start_matches('#')).unwrap(),
            None => service,
        };
        for key in SERVICE {
            assert!(has(service, key), "{key}");
        }
        for key in TOP {
            assert!(has(&schema, key), "{key}");
        }
    }
}
