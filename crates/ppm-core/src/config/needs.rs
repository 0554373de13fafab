//! `depends_on`: what must be there before a service starts.
//!
//! Each service is read by itself; whether what it needs is there, and whether a circle comes of it, is looked at when
//! all have been read.

use std::collections::{BTreeMap, BTreeSet};

use super::field::{Field, describe};
use super::read::Reader;
use super::tree::{At, Value};
use crate::dependencies::{self, Condition, Need, OnDependencyRestart};
use crate::names;
use crate::spec::{InvalidSpec, shown};

/// An entry of a `depends_on`, for when all services have been read.
#[derive(Debug)]
pub(super) struct Link {
    /// Who needs.
    pub by: String,
    /// Whom.
    pub service: String,
    /// Where that is written.
    pub at: At,
}

impl Reader {
    pub(super) fn depends_on(&mut self, field: Field<'_>, by: &str) -> Option<Vec<Need>> {
        let mut needs = Vec::new();
        match &field.node.value {
            Value::Null => {}
            Value::Text(name) => self.need(&mut needs, field.node.at, name, Some(Condition::Started)),
            Value::List(nodes) => {
                for node in nodes {
                    match node.value.as_text() {
                        Some(name) => self.need(&mut needs, node.at, name, Some(Condition::Started)),
                        None => {
                            let message = format!("a service is named by text, found {}", describe(&node.value));
                            self.complain(node.at, message).hint =
                                Some("write its name; how far it must have come goes into a map: `{db: ready}`".into());
                        }
                    }
                }
            }
            Value::Map(entries) => {
                for (key, node) in entries {
                    let condition = self.condition(Field { key, node, prefix: "depends_on." });
                    self.need(&mut needs, key.at, &key.text, condition);
                }
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let hint = "write `[db]`, or `{db: ready, migrate: finished}`";
                self.wrong_type(field, "a list or a map of services").hint = Some(hint.into());
                return None;
            }
        }
        let links = needs.iter().map(|(need, at)| Link { by: by.to_owned(), service: need.service.clone(), at: *at });
        self.links.extend(links);
        Some(needs.into_iter().map(|(need, _)| need).collect())
    }

    fn need(&mut self, needs: &mut Vec<(Need, At)>, at: At, name: &str, condition: Option<Condition>) {
        if self.valid(at, names::check(name)).is_none() {
            return;
        }
        if let Some((_, first)) = needs.iter().find(|(need, _)| need.service == name) {
            let first = *first;
            return self.complain_twice(at, first, format!("`{name}` is there twice"));
        }
        needs.extend(condition.map(|condition| (Need { service: name.to_owned(), condition }, at)));
    }

    fn condition(&mut self, field: Field<'_>) -> Option<Condition> {
        let written = field.node.value.as_text();
        let found = Condition::ALL.into_iter().find(|condition| written == Some(condition.name()));
        if found.is_none() {
            let complaint = self.wrong_type(field, "`started`, `ready` or `finished`");
            complaint.hint = meant_condition(&field.node.value).map(|meant| format!("write `{}`", meant.name()));
        }
        found
    }

    pub(super) fn on_dependency_restart(&mut self, field: Field<'_>) -> Option<OnDependencyRestart> {
        self.word(field, &[OnDependencyRestart::Keep, OnDependencyRestart::Restart], OnDependencyRestart::name)
    }

    /// Looks whether all that is needed is there, and whether anybody needs itself.
    pub(super) fn check_links(&mut self, names: &BTreeSet<&str>) {
        let links = std::mem::take(&mut self.links);
        let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for link in &links {
            if link.by == link.service {
                self.complain_of(link.at, dependencies::on_itself(&link.by));
            } else if names.contains(link.service.as_str()) {
                graph.entry(&link.by).or_default().push(&link.service);
            } else if !link.by.is_empty() {
                let near = names::similar(&link.service, names.iter().copied());
                let label = near.map_or_else(|| "no such service".to_owned(), |near| format!("did you mean `{near}`?"));
                let message = format!("`{}` needs `{}`, and there is no such service", shown(&link.by), shown(&link.service));
                self.complain(link.at, message).label = Some(label);
            }
        }
        for cycle in dependencies::find_cycles(&graph) {
            let (first, last) = (cycle.first().copied(), cycle.last().copied());
            let closes = |link: &&Link| Some(link.by.as_str()) == last && Some(link.service.as_str()) == first;
            if let Some(link) = links.iter().find(closes) {
                self.complain_of(link.at, dependencies::in_a_cycle(&cycle));
            }
        }
    }

    fn complain_of(&mut self, at: At, InvalidSpec { message, hint }: InvalidSpec) {
        self.complain(at, message).hint = hint;
    }
}

/// Words of other supervisors.
fn meant_condition(value: &Value) -> Option<Condition> {
    let word = match value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.text == "condition")?.1.value.as_text()?,
        Value::Text(word) => word,
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => return None,
    };
    match word {
        "started" | "service_started" | "process_started" | "start" | "running" | "up" => Some(Condition::Started),
        "ready" | "service_healthy" | "process_healthy" | "process_log_ready" | "healthy" => Some(Condition::Ready),
        "finished" | "service_completed_successfully" | "process_completed_successfully" | "process_completed" | "completed" | "done" => {
            Some(Condition::Finished)
        }
        _ => None,
    }
}
