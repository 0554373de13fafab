//! `logger` and `log`: what becomes of the output of services.
//!
//! Both take the same keys. Where they lead to nothing that is written to, that is remarked.

use super::field::{Field, Map};
use super::keys::LOGGER_KEYS;
use super::read::Reader;
use super::tree::Value;
use super::value::write_size;
use crate::logging::{Format, LogChoice, LogKeys, MEMORY};
use crate::spec::Settings;

impl Reader {
    /// What holds for all services.
    pub(super) fn logger(&mut self, field: Field<'_>) -> Option<LogKeys> {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map").hint = Some("write `logger: {path: /var/log/ppm}`".into());
            return None;
        };
        let map = Map { place: " in `logger`".to_owned(), prefix: "logger.", entries };
        let keys = self.log_keys(&map);
        if !keys.has_sink() {
            self.writes_nowhere(field, "logger");
        }
        Some(keys)
    }

    /// What holds for one service.
    pub(super) fn log(&mut self, field: Field<'_>, called: &str, settings: &Settings) -> Option<LogChoice> {
        let entries = match &field.node.value {
            Value::Bool(true) => return Some(LogChoice::AsLogger),
            Value::Bool(false) => return Some(LogChoice::Inherit),
            Value::Map(entries) => entries,
            Value::Null | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                let hint =
                    "write `false` to let it write where the daemon writes, or keys of `logger` for this service: `log: {max_files: 5}`";
                self.wrong_type(field, "`true`, `false` or a map").hint = Some(hint.into());
                return None;
            }
        };
        let map = Map { place: format!(" in `log` of {called}"), prefix: "log.", entries };
        let keys = self.log_keys(&map);
        if keys.is_empty() {
            return Some(LogChoice::AsLogger);
        }
        let choice = LogChoice::Own(Box::new(keys));
        if choice.logger(settings.logger.as_ref()).is_none() {
            self.writes_nowhere(field, &format!("`log` of {called}"));
        }
        Some(choice)
    }

    fn log_keys(&mut self, map: &Map<'_>) -> LogKeys {
        self.check_keys(map, &LOGGER_KEYS);
        let mut keys = LogKeys::default();
        self.set(map.get("path"), &mut keys.path, |reader, field| reader.folder(field).map(Some));
        self.set(map.get("max_files"), &mut keys.max_files, |reader, field| reader.whole(field, 1, u32::MAX).map(Some));
        self.set(map.get("max_file_size"), &mut keys.max_file_size, |reader, field| reader.size(field).map(Some));
        self.set(map.get("max_total_size"), &mut keys.max_total_size, |reader, field| reader.size(field).map(Some));
        self.set(map.get("max_age"), &mut keys.max_age, |reader, field| reader.duration(field).map(Some));
        self.set(map.get("memory"), &mut keys.memory, |reader, field| reader.memory(field).map(Some));
        self.set(map.get("rate_limit"), &mut keys.rate_limit, |reader, field| reader.rate(field).map(Some));
        self.set(map.get("console"), &mut keys.console, |reader, field| reader.boolean(field).map(Some));
        self.set(map.get("prefix"), &mut keys.prefix, |reader, field| reader.boolean(field).map(Some));
        self.set(map.get("format"), &mut keys.format, |reader, field| reader.log_format(field).map(Some));
        self.set(map.get("timestamps"), &mut keys.timestamps, |reader, field| reader.boolean(field).map(Some));
        keys
    }

    fn memory(&mut self, field: Field<'_>) -> Option<u64> {
        let bytes = self.size(field)?;
        if bytes == 0 || MEMORY.contains(&bytes) {
            return Some(bytes);
        }
        let bounds = format!("from {} to {}", write_size(*MEMORY.start()), write_size(*MEMORY.end()));
        let complaint = self.complain(field.node.at, format!("`{}` must be {bounds}, found {}", field.name(), write_size(bytes)));
        complaint.hint = Some("that much is kept of each service; `0` keeps nothing, and files (`path`) keep more".into());
        None
    }

    fn log_format(&mut self, field: Field<'_>) -> Option<Format> {
        match field.node.value.as_text() {
            Some("text") => Some(Format::Text),
            Some("json") => Some(Format::Json),
            Some(_) | None => {
                self.wrong_type(field, "`text` or `json`");
                None
            }
        }
    }

    fn writes_nowhere(&mut self, field: Field<'_>, what: &str) {
        let remark = format!(
            "{what} names nothing to write to, so nothing is captured: add `path: /var/log/ppm`, `memory: 64KiB` or `console: true`"
        );
        self.outcome.remarks.push((field.key.at, remark));
    }
}
