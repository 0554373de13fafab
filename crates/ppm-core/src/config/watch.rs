//! `watch`: which files are watched for a service, and what follows from a change.

use super::field::{Field, Map};
use super::keys::{ACTION_KEYS, WATCH_KEYS};
use super::read::Reader;
use super::tree::Value;
use crate::environment::path_from;
use crate::hook::Hook;
use crate::watch::pattern::{BadPattern, Pattern};
use crate::watch::{Compare, OnChange, Poll, SHORTEST_POLL, WatchSpec, check_path};

impl Reader {
    /// Paths that are not absolute begin at `folder`, if that is not empty.
    pub(super) fn watch(&mut self, field: Field<'_>, called: &str, folder: &str) -> Option<WatchSpec> {
        let Value::Map(entries) = &field.node.value else { return self.watched_paths(field, folder).map(WatchSpec::new) };
        let map = Map { place: format!(" in `watch` of {called}"), prefix: "watch.", entries };
        self.check_keys(&map, &WATCH_KEYS);
        let Some(paths) = map.get("paths") else {
            return self.required(&map, "paths", field.at(), "nothing is named to watch".into(), "add a line like `paths: [src]`");
        };
        let paths = self.watched_paths(paths, folder);
        let mut watch = WatchSpec::new(paths.clone().unwrap_or_default());
        self.set(map.get("include"), &mut watch.include, Self::patterns);
        self.set(map.get("only"), &mut watch.only, Self::patterns);
        self.set(map.get("exclude"), &mut watch.exclude, Self::patterns);
        self.set(map.get("default_excludes"), &mut watch.default_excludes, Self::boolean);
        self.set(map.get("gitignore"), &mut watch.gitignore, Self::boolean);
        self.set(map.get("max_depth"), &mut watch.max_depth, |reader, field| reader.whole(field, 1, 1000));
        self.set(map.get("compare"), &mut watch.compare, |reader, field| {
            reader.word(field, &[Compare::Auto, Compare::Content, Compare::Mtime], Compare::name)
        });
        self.set(map.get("settle"), &mut watch.settle, Self::duration);
        self.set(map.get("poll"), &mut watch.poll, Self::polling);
        self.set(map.get("initial_delay"), &mut watch.initial_delay, Self::duration);
        self.set(map.get("action"), &mut watch.action, |reader, field| reader.on_change(field, called));
        paths.map(|_| watch)
    }

    /// One, or a list of them; all that are wrong are told.
    fn watched_paths(&mut self, field: Field<'_>, folder: &str) -> Option<Vec<String>> {
        let hint = "write a path, a list of paths, or `{paths: [src], exclude: [\"*.o\"]}`";
        let nodes = match &field.node.value {
            Value::Text(_) => std::slice::from_ref(field.node),
            Value::List(nodes) if !nodes.is_empty() => nodes.as_slice(),
            Value::List(_) => return self.missing(field.at(), format!("`{}` is empty", field.name()), hint),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Map(_) => {
                self.wrong_type(field, "a path or a list of paths").hint = Some(hint.into());
                return None;
            }
        };
        let paths: Vec<Option<String>> = nodes
            .iter()
            .map(|node| {
                let path = self.text(Field { node, ..field }, "a path")?;
                self.valid(node.at, check_path(path))?;
                Some(path_from(folder, path))
            })
            .collect();
        paths.into_iter().collect()
    }

    fn patterns(&mut self, field: Field<'_>) -> Option<Vec<Pattern>> {
        let nodes = match &field.node.value {
            Value::Null => return Some(Vec::new()),
            Value::List(nodes) => nodes.as_slice(),
            Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Map(_) => std::slice::from_ref(field.node),
        };
        let patterns: Vec<Option<Pattern>> = nodes.iter().map(|node| self.pattern(Field { node, ..field })).collect();
        patterns.into_iter().collect()
    }

    fn pattern(&mut self, field: Field<'_>) -> Option<Pattern> {
        let text = match field.node.value.as_text() {
            Some(text) => text,
            None => {
                self.wrong_type(field, "a pattern like `*.log`").hint = Some("put it in quotes".into());
                return None;
            }
        };
        match Pattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(BadPattern { at, why }) => {
                let complaint = self.complain(field.node.at, why.message);
                (complaint.hint, complaint.part) = (why.hint, Some(at));
                None
            }
        }
    }

    fn polling(&mut self, field: Field<'_>) -> Option<Poll> {
        match field.node.value.as_text() {
            Some("auto") => return Some(Poll::Auto),
            Some("never") => return Some(Poll::Never),
            Some(_) | None => {}
        }
        let hint = "write `auto`, `never` or a duration of 10ms or more, like `1s`";
        match &field.node.value {
            Value::Text(_) | Value::Int(_) | Value::Float(_) => {}
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(field, "`auto`, `never` or a duration").hint = Some(hint.into());
                return None;
            }
        }
        let period = self.duration(field)?;
        if period < SHORTEST_POLL {
            self.complain(field.node.at, format!("`{}` must be 10ms or more", field.name())).hint = Some(hint.into());
            return None;
        }
        Some(Poll::Every(period))
    }

    fn on_change(&mut self, field: Field<'_>, called: &str) -> Option<OnChange> {
        if let Value::Map(entries) = &field.node.value {
            let map = Map { place: format!(" in `watch.action` of {called}"), prefix: "action.", entries };
            self.check_keys(&map, &ACTION_KEYS);
            return self.action_map(field, &map, called);
        }
        let wanted = "`restart`, `signal HUP` or `{exec: [./program]}`";
        let text = self.text(field, wanted)?;
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("restart"), None, None) => Some(OnChange::Restart),
            (Some("signal"), Some(name), None) => {
                let name = name.to_owned();
                self.signal_named(field.node.at, &name).map(OnChange::Signal)
            }
            _ => {
                self.wrong_type(field, wanted);
                None
            }
        }
    }

    /// One of a signal and a program.
    fn action_map(&mut self, field: Field<'_>, map: &Map<'_>, called: &str) -> Option<OnChange> {
        if let (Some(_), Some(second)) = (map.get("signal"), map.get("exec")) {
            let complaint = self.complain(second.key.at, "`action` has `signal` and `exec`, where one is asked".into());
            complaint.hint = Some("keep one of them; a program can send signals too: PPM_PID is the main process".into());
            return None;
        }
        match (map.get("signal"), map.get("exec")) {
            (Some(signal), _) => self.signal(signal).map(OnChange::Signal),
            (None, Some(program)) => self.hook(program, Hook::OnChange, called).map(OnChange::Exec),
            (None, None) => {
                let message = "the action has neither `signal` nor `exec`".to_owned();
                self.required(map, "exec", field.at(), message, "write `{signal: HUP}`, or `{exec: [./program]}`")
            }
        }
    }
}
