//! `ready` and `health`: what is asked, and how often.

use std::time::Duration;

use super::field::{Field, Map};
use super::keys::{HEALTH_KEYS, Known, PAGE_KEYS, READY_KEYS};
use super::read::Reader;
use super::tree::Value;
use super::value::write_duration;
use crate::names;
use crate::probe::{Check, Health, Page, Readiness, SHORTEST};
use crate::spec::{InvalidSpec, shown};
use crate::target::Target;

/// The keys of which one is written.
const CHECKS: [&str; 4] = ["tcp", "http", "command", "file"];

impl Reader {
    /// When a service is ready.
    pub(super) fn ready(&mut self, field: Field<'_>, called: &str) -> Option<Readiness> {
        let map = self.probe_map(field, called, "ready.", "write `ready: {tcp: 8080}`")?;
        let mut ready = Readiness::new(self.check(field, &map, &READY_KEYS)?);
        self.set(map.get("interval"), &mut ready.interval, Self::interval);
        self.set(map.get("timeout"), &mut ready.timeout, |reader, field| {
            reader.duration(field).map(|timeout| (!timeout.is_zero()).then_some(timeout))
        });
        self.set(map.get("start_period"), &mut ready.start_period, Self::duration);
        Some(ready)
    }

    /// When a service is well.
    pub(super) fn health(&mut self, field: Field<'_>, called: &str) -> Option<Health> {
        let map = self.probe_map(field, called, "health.", "write `health: {http: \"http://127.0.0.1:8080/health\"}`")?;
        let mut health = Health::new(self.check(field, &map, &HEALTH_KEYS)?);
        self.set(map.get("interval"), &mut health.interval, Self::interval);
        self.set(map.get("timeout"), &mut health.timeout, Self::interval);
        self.set(map.get("retries"), &mut health.retries, |reader, field| reader.whole(field, 1, u32::MAX));
        self.set(map.get("start_period"), &mut health.start_period, Self::duration);
        Some(health)
    }

    fn probe_map<'a>(&mut self, field: Field<'a>, called: &str, prefix: &'static str, hint: &str) -> Option<Map<'a>> {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map").hint = Some(hint.to_owned());
            return None;
        };
        Some(Map { place: format!(" in `{}` of {called}", field.name()), prefix, entries })
    }

    /// What is asked: exactly one thing.
    fn check(&mut self, field: Field<'_>, map: &Map<'_>, keys: &[Known]) -> Option<Check> {
        self.check_keys(map, keys);
        let given: Vec<Field<'_>> = CHECKS.into_iter().filter_map(|key| map.get(key)).collect();
        match given.as_slice() {
            [] => {
                let is_told =
                    |key: &str| keys.iter().all(|known| known.name != key || !known.is_read) && names::similar(key, CHECKS).is_some();
                if !map.entries.iter().any(|(key, _)| is_told(&key.text)) {
                    let message = format!("`{}` does not say what is to be asked", field.name());
                    self.complain(field.at(), message).hint = Some("write `tcp: 8080`, or one of `http`, `command` and `file`".into());
                }
                None
            }
            [one] => self.one_check(*one, map),
            [first, second, ..] => {
                let message = format!("`{}` has `{}` and `{}`, where one is asked", field.name(), first.key.text, second.key.text);
                self.complain(second.key.at, message).hint = Some("keep one of them; a `command` can ask several things".into());
                None
            }
        }
    }

    fn one_check(&mut self, field: Field<'_>, map: &Map<'_>) -> Option<Check> {
        match field.key.text.as_str() {
            "tcp" => {
                let place = match field.node.value.as_int() {
                    Some(port) => port.to_string(),
                    None => self.text(field, "a port, or text like `db:5432`")?.to_owned(),
                };
                self.valid(field.node.at, Check::tcp(&place))
            }
            "http" => self.page(field, map).map(Check::Http),
            "command" => self.words(field).map(Check::Command),
            "file" => {
                let path = self.text(field, "the absolute path of a file")?;
                self.valid(field.node.at, Check::file(path))
            }
            _ => None,
        }
    }

    /// A page by its URL, or with how it must answer.
    fn page(&mut self, field: Field<'_>, map: &Map<'_>) -> Option<Page> {
        let Value::Map(entries) = &field.node.value else {
            return self.url(field).map(|url| Page { url, status: None, body: None });
        };
        let map = Map { place: format!(" in `http`{}", map.place.replacen(" in ", " of ", 1)), prefix: "http.", entries };
        self.check_keys(&map, &PAGE_KEYS);
        let (mut status, mut body) = (None, None);
        self.set(map.get("status"), &mut status, |reader, field| {
            reader.whole(field, 100, 999).and_then(|status| u16::try_from(status).ok()).map(Some)
        });
        self.set(map.get("body"), &mut body, |reader, field| {
            let text = reader.text(field, "text")?;
            let empty =
                InvalidSpec::new("the text that is to be in the answer is empty").hint("leave out `body`, or write what must be there");
            reader.valid(field.node.at, if text.trim().is_empty() { Err(empty) } else { Ok(Some(text.to_owned())) })
        });
        let Some(url) = map.get("url") else {
            let hint = "add one like `url: \"http://127.0.0.1:8080/health\"`";
            return self.required(&map, "url", field.at(), "`http` has no `url`".into(), hint);
        };
        Some(Page { url: self.url(url)?, status, body })
    }

    fn url(&mut self, field: Field<'_>) -> Option<Target> {
        let url = self.text(field, "text like `http://127.0.0.1:8080/health`")?;
        self.valid(field.node.at, Check::http(url))
    }

    fn interval(&mut self, field: Field<'_>) -> Option<Duration> {
        let duration = self.duration(field)?;
        if duration < SHORTEST {
            let message = format!("`{}` must be {} or more", shown(&field.name()), write_duration(SHORTEST));
            self.complain(field.node.at, message);
            return None;
        }
        Some(duration)
    }
}
