//! `ready` and `health`: what is asked, and how often.

use std::time::Duration;

use super::field::{Field, Map};
use super::keys::{HEALTH_KEYS, Known, PAGE_KEYS, READY_KEYS};
use super::read::Reader;
use super::tree::Value;
use super::value::write_duration;
use crate::line_pattern::LinePattern;
use crate::logging::LogChoice;
use crate::names;
use crate::probe::{Channel, Check, DESCRIPTORS, Health, Page, Readiness, SHORTEST};
use crate::spec::{InvalidSpec, ServiceSpec, Settings, shown};
use crate::target::Target;

/// The keys of which one is written.
const CHECKS: [&str; 7] = ["tcp", "http", "command", "file", "log", "listen", "notify"];

impl Reader {
    /// When a service is ready.
    pub(super) fn ready(&mut self, field: Field<'_>, called: &str) -> Option<Readiness> {
        if self.is_notify(field) {
            return Some(Readiness::new(Check::Notify(Channel::Socket)));
        }
        let map = self.probe_map(field, called, "ready.", "write `ready: {tcp: 8080}`, or `ready: notify`")?;
        let mut ready = Readiness::new(self.check(field, &map, &READY_KEYS)?);
        self.refuse_beside_own_word(&map, &ready.check, &["interval"]);
        self.set(map.get("interval"), &mut ready.interval, Self::interval);
        self.set(map.get("timeout"), &mut ready.timeout, |reader, field| {
            reader.duration(field).map(|timeout| (!timeout.is_zero()).then_some(timeout))
        });
        self.set(map.get("start_period"), &mut ready.start_period, Self::duration);
        Some(ready)
    }

    /// When a service is well.
    pub(super) fn health(&mut self, field: Field<'_>, called: &str) -> Option<Health> {
        if self.is_notify(field) {
            return Some(Health::new(Check::Notify(Channel::Socket)));
        }
        let map =
            self.probe_map(field, called, "health.", "write `health: {http: \"http://127.0.0.1:8080/health\"}`, or `health: notify`")?;
        let mut health = Health::new(self.check(field, &map, &HEALTH_KEYS)?);
        if let (Check::Notify(Channel::Descriptor(_)), Some(field)) = (&health.check, map.get("notify")) {
            self.wrong_type(field, "`true`").hint =
                Some("that a service is well is said to the socket in NOTIFY_SOCKET: WATCHDOG=1".into());
        }
        self.refuse_beside_own_word(&map, &health.check, &["interval", "retries"]);
        self.set(map.get("interval"), &mut health.interval, Self::interval);
        self.set(map.get("timeout"), &mut health.timeout, Self::interval);
        self.set(map.get("retries"), &mut health.retries, |reader, field| reader.whole(field, 1, u32::MAX));
        self.set(map.get("start_period"), &mut health.start_period, Self::duration);
        Some(health)
    }

    /// A line can only be awaited of a service whose output is captured.
    pub(super) fn check_capture(&mut self, ready: Option<Field<'_>>, service: &ServiceSpec, settings: &Settings) {
        let Some(Value::Map(entries)) = ready.map(|field| &field.node.value) else { return };
        let (Some(_), None) = (service.awaits(), service.log.logger(settings.logger.as_ref())) else { return };
        let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "log") else { return };
        let message = "`ready.log` waits for a line of output, and the output is not captured".to_owned();
        let hint = match service.log {
            LogChoice::Inherit => "leave out `log: false`, or find out by `tcp` or `listen` whether it is ready",
            LogChoice::AsLogger | LogChoice::Own(_) => {
                "add `log: {memory: 64KiB}` to keep it, or `log: {console: true, prefix: false}` to have it go where it went"
            }
        };
        self.complain(key.at, message).hint = Some(hint.into());
    }

    fn is_notify(&self, field: Field<'_>) -> bool {
        field.node.value.as_text() == Some("notify")
    }

    /// Who speaks itself is not asked.
    fn refuse_beside_own_word(&mut self, map: &Map<'_>, check: &Check, keys: &[&str]) {
        for field in keys.iter().filter_map(|key| map.get(key)).filter(|_| check.is_its_own_word()) {
            let complaint = self.complain(field.key.at, format!("`{}` means nothing beside `{}`", field.name(), check.key()));
            complaint.hint = Some("leave it out: nobody is asked, the service says it itself".into());
        }
    }

    fn probe_map<'a>(&mut self, field: Field<'a>, called: &str, prefix: &'static str, hint: &str) -> Option<Map<'a>> {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map or `notify`").hint = Some(hint.to_owned());
            return None;
        };
        Some(Map { place: format!(" in `{}` of {called}", field.name()), prefix, entries })
    }

    /// What is asked: exactly one thing.
    fn check(&mut self, field: Field<'_>, map: &Map<'_>, keys: &[Known]) -> Option<Check> {
        self.check_keys(map, keys);
        let checks = || CHECKS.into_iter().filter(|key| keys.iter().any(|known| known.name == *key));
        let given: Vec<Field<'_>> = checks().filter_map(|key| map.get(key)).collect();
        match given.as_slice() {
            [] => {
                let is_told =
                    |key: &str| keys.iter().all(|known| known.name != key || !known.is_read) && names::similar(key, CHECKS).is_some();
                if !map.entries.iter().any(|(key, _)| is_told(&key.text)) {
                    let message = format!("`{}` does not say what is to be asked", field.name());
                    let others: Vec<String> = checks().skip(1).map(|key| format!("`{key}`")).collect();
                    self.complain(field.at(), message).hint = Some(format!("write `tcp: 8080`, or one of {}", others.join(", ")));
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
            "log" => {
                let pattern = self.text(field, "text that is in a line")?;
                self.valid(field.node.at, LinePattern::new(pattern)).map(Check::Log)
            }
            "listen" => self.whole(field, 1, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()).map(Check::Listen),
            _ => self.channel(field).map(Check::Notify),
        }
    }

    fn channel(&mut self, field: Field<'_>) -> Option<Channel> {
        if let Value::Bool(true) = field.node.value {
            return Some(Channel::Socket);
        }
        let number = field.node.value.as_int().and_then(|number| u16::try_from(number).ok()).filter(|number| DESCRIPTORS.contains(number));
        if number.is_none() {
            let (first, last) = DESCRIPTORS.into_inner();
            let wanted = format!("`true`, or the number of a descriptor from {first} to {last}");
            self.wrong_type(field, &wanted).hint = Some("write `true` for the socket of sd_notify(3)".into());
        }
        number.map(Channel::Descriptor)
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
