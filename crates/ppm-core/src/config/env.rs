//! Variables of the file: `env`, `env_file` and `inherit_env`.
//!
//! Reads none of the files that are named. Invariant: what is written as a number or a boolean is passed on as it is
//! written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::field::{Field, Map, describe, meant_boolean};
use super::keys::FILE_KEYS;
use super::read::{Reader, Verbatim};
use super::tree::{At, Node, Value, locate};
use crate::environment::{EnvValue, Inherit, Surroundings, Variables, path_from};
use crate::gather::Gather;
use crate::spec::{self, ServiceSpec};

/// The value of an environment variable.
pub(super) enum Written {
    Value(EnvValue),
    /// A number or a boolean: what is passed is what is written there.
    At(At),
}

pub(super) type Env = BTreeMap<String, Written>;

impl Reader {
    /// What stands at the top.
    pub(super) fn variables(&mut self, map: &Map<'_>, text: &str) -> Variables {
        let mut variables = Variables::default();
        self.set(map.get("env_file"), &mut variables.files, Self::env_files);
        let env = map.get("env").map(|field| self.env(field)).unwrap_or_default();
        let places = env.values().filter_map(|value| if let Written::At(at) = value { Some(*at) } else { None }).gather();
        let found = if env.is_empty() { BTreeMap::new() } else { locate(text, &places) };
        for (name, value) in env {
            let value = match value {
                Written::Value(value) => Some(value),
                Written::At(at) => found.get(&at).map(|token| token.text.as_str().into()),
            };
            variables.env.extend(value.map(|value| (name, value)));
        }
        variables
    }

    /// What stands in a service, and in its command, whose variables were read before.
    pub(super) fn service_env(&mut self, map: &Map<'_>, mut env: Env, service: &mut ServiceSpec) {
        if let Some(field) = map.get("env") {
            env.extend(self.env(field));
        }
        for (name, value) in env {
            match value {
                Written::Value(value) => drop(service.command.env.insert(name, value)),
                Written::At(at) => self.outcome.verbatim.push(Verbatim { service: self.outcome.config.services.len(), name, at }),
            }
        }
        let mut surroundings = Surroundings::clone(&service.command.surroundings);
        self.set(map.get("env_file"), &mut surroundings.files, Self::env_files);
        self.set(map.get("inherit_env"), &mut surroundings.inherit, Self::inherit);
        if surroundings != *service.command.surroundings {
            service.command.surroundings = Arc::new(surroundings);
        }
    }

    pub(super) fn env(&mut self, field: Field<'_>) -> Env {
        let entries = field.node.value.as_map();
        if entries.is_none() && !field.node.value.is_null() {
            self.wrong_type(field, "a map").hint = Some("write `NAME: value` for each variable".into());
        }
        let mut env = Env::new();
        for (key, node) in entries.unwrap_or_default() {
            self.valid(key.at, spec::check_env_name(&key.text));
            if let Some(value) = self.env_value(Field { key, node, prefix: "env." }) {
                env.insert(key.text.clone(), value);
            }
        }
        env
    }

    fn env_value(&mut self, field: Field<'_>) -> Option<Written> {
        match &field.node.value {
            Value::Text(value) => {
                self.valid(field.node.at, spec::check_env_value(value))?;
                Some(Written::Value(value.as_str().into()))
            }
            Value::Bool(value) if self.canonical => Some(Written::Value(value.to_string().into())),
            Value::Int(value) if self.canonical => Some(Written::Value(value.to_string().into())),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => Some(Written::At(field.node.at)),
            Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "file") => {
                let map = Map { place: format!(" in `{}`", field.name()), prefix: "file.", entries };
                self.check_keys(&map, &FILE_KEYS);
                let file = map.get("file")?;
                let Some(path) = file.node.value.as_text() else {
                    let found = describe(&file.node.value);
                    self.complain(file.at(), format!("`{}.file` must be the path of a file, found {found}", field.name()));
                    return None;
                };
                Some(Written::Value(EnvValue::File(self.file(file.node.at, path)?.into())))
            }
            Value::Null => {
                self.wrong_type(field, "text").hint = Some("write `\"\"` for an empty value".into());
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.wrong_type(field, "text or `{file: PATH}`");
                None
            }
        }
    }

    fn env_files(&mut self, field: Field<'_>) -> Option<Vec<String>> {
        match &field.node.value {
            Value::Null => Some(Vec::new()),
            Value::Text(path) => Some(vec![self.file(field.node.at, path)?]),
            Value::List(nodes) => Some(self.texts(nodes, "the path of a file", Self::file)),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Map(_) => {
                self.wrong_type(field, "the path of a file or a list of them");
                None
            }
        }
    }

    fn file(&mut self, at: At, path: &str) -> Option<String> {
        self.valid(at, spec::check_file(path))?;
        Some(path_from(&self.folder, path))
    }

    fn inherit(&mut self, field: Field<'_>) -> Option<Inherit> {
        match &field.node.value {
            Value::Bool(true) => Some(Inherit::All),
            Value::Bool(false) => Some(Inherit::Only(Vec::new())),
            Value::List(nodes) => {
                let name = |reader: &mut Self, at, name: &str| {
                    reader.valid(at, spec::check_env_name(name))?;
                    Some(name.to_owned())
                };
                Some(Inherit::Only(self.texts(nodes, "the name of a variable", name)))
            }
            Value::Null | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
                let hint = meant_boolean(&field.node.value).unwrap_or("write `false` for none, or the names in brackets: `[HOME, LANG]`");
                self.wrong_type(field, "`true`, `false` or a list of names").hint = Some(hint.into());
                None
            }
        }
    }

    pub(super) fn groups(&mut self, field: Field<'_>) -> Option<Vec<String>> {
        if field.node.value.is_null() {
            return Some(Vec::new());
        }
        let Some(nodes) = field.node.value.as_list() else {
            self.wrong_type(field, "a list").hint = Some("write it in brackets: `[frontend]`".into());
            return None;
        };
        let mut groups: Vec<String> = Vec::new();
        let name = |reader: &mut Self, at, name: &str| {
            reader.valid(at, spec::check_group(name))?;
            Some(name.to_owned())
        };
        for group in self.texts(nodes, "the name of a group", name) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        Some(groups)
    }

    /// Each of a list that must be text.
    fn texts(&mut self, nodes: &[Node], wanted: &str, read: impl Fn(&mut Self, At, &str) -> Option<String>) -> Vec<String> {
        let mut texts = Vec::new();
        for node in nodes {
            match node.value.as_text() {
                Some(text) => texts.extend(read(self, node.at, text)),
                None => {
                    let is_scalar = matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_));
                    let complaint = self.complain(node.at, format!("{wanted} must be text, found {}", describe(&node.value)));
                    complaint.hint = is_scalar.then(|| "put it in quotes".into());
                }
            }
        }
        texts
    }
}
