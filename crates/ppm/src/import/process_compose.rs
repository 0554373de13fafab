//! process-compose.yaml: each process is a service.
//!
//! Its commands are run by a shell, and `${NAME}` is put in everywhere before: in commands the shell does that here, in values
//! our own references do.

use std::collections::BTreeSet;
use std::time::Duration;

use ppm_protocol::Signal;

use super::draft::{Draft, Place, Service, Value, shown, variable};
use super::tree::{self, Node, Tree, boolean, number, scalar};
use super::{Failure, NOT_LOST, Source, command};
use crate::check;

/// The shell of a file that names none.
const SHELL: &str = "bash";

/// How long an attempt of a readiness probe may take here.
const ATTEMPT: u64 = 2;

/// What is not written, and is otherwise here.
const DEFAULTS: &str =
    "what is not written differs: it has 5s to stop (there 10s), and delays between restarts grow (there they are 1s): docs/migrating.md";

/// What is remarked of a template.
const TEMPLATE: &str = "`{{...}}` is nothing to us: put the value in";

pub fn read(source: &Source) -> Result<Draft, Failure> {
    let root = tree::read(&source.text, &source.name).map_err(|problems| check::wrong(problems).into_failure())?;
    let mut draft = Draft::default();
    source.dotenv("process-compose", &mut draft);
    let mut shell = SHELL.to_owned();
    for (key, node) in root.entries().unwrap_or_default() {
        let place = source.place(key.line);
        let told = match key.text.as_str() {
            "version" | "processes" => continue,
            "shell" => match node.get("shell_command").and_then(Node::scalar) {
                Some(named) => {
                    shell = named.to_owned();
                    continue;
                }
                None => "`shell_command` is wanted".to_owned(),
            },
            "environment" => {
                for (name, value) in variables(node, &place, source, |place, message| draft.remark(place, message)) {
                    draft.variable(&name, variable(value));
                }
                continue;
            }
            "env_file" => match files(node) {
                Some(files) => {
                    draft.set("env_file", files);
                    continue;
                }
                None => "the paths of files are wanted; it was left out".to_owned(),
            },
            "log_location" => match node.scalar() {
                Some(path) => {
                    draft.set("logger", Value::Map(vec![("path".to_owned(), Value::Text(folder_of(&source.absolute(&references(path)))))]));
                    "each service has files of its own, NAME-DATE.log".to_owned()
                }
                None => "a path is wanted; it was left out".to_owned(),
            },
            "log_configuration" => "`logger: {max_files: ..., max_file_size: ..., max_age: ...}` says how much is kept".to_owned(),
            "is_strict" | "is_tui_disabled" | "disable_env_expansion" | "log_level" | "log_length" | "log_format" | "theme" => {
                "not needed".to_owned()
            }
            "vars" => format!("no equivalent: {TEMPLATE}"),
            "extends" => "no equivalent: import that file too, and put both together".to_owned(),
            key if key.starts_with("x-") => continue,
            _ => "no equivalent".to_owned(),
        };
        draft.remark(&place, format!("{}: {told}", key.text));
    }
    let processes = root.get("processes");
    if let Some(node) = processes.filter(|node| node.entries().is_none() && !node.is_null()) {
        return Err(source.wrong(
            (node.line, 1),
            1,
            format!("`processes` must be a map, found {}", node.kind()),
            "write `NAME:` and its keys below",
        ));
    }
    let processes = processes.and_then(Node::entries).unwrap_or_default();
    let is_some = |node: &Node| node.get("command").is_some() || node.get("entrypoint").is_some();
    let names: BTreeSet<&str> = processes.iter().filter(|(_, node)| is_some(node)).map(|(key, _)| key.text.as_str()).collect();
    for (key, node) in processes {
        let place = source.place(key.line);
        let service = Service::new(&key.text, &place);
        let mut process = Process { node, source, service, shell: &shell, names: &names, grace: None };
        if !process.read() {
            draft.remark(&place, format!("{}: it has no command and was left out", key.text));
            continue;
        }
        draft.remark_once(&place, DEFAULTS);
        draft.stops_within(process.grace);
        draft.push(process.service);
    }
    draft.allow_for_slowest();
    Ok(draft)
}

struct Process<'a> {
    node: &'a Node,
    source: &'a Source,
    service: Service,
    shell: &'a str,
    /// The processes that become services.
    names: &'a BTreeSet<&'a str>,
    /// How long it may take to stop, where that is written.
    grace: Option<(Duration, Place)>,
}

impl Process<'_> {
    /// Whether there is a service in it.
    fn read(&mut self) -> bool {
        let has_command = match (self.node.get("command"), self.node.get("entrypoint")) {
            (Some(node), _) if node.scalar().is_some_and(|text| !text.trim().is_empty()) => {
                let line = node.scalar().unwrap_or_default().to_owned();
                let value = self.line(&line, node.line);
                self.service.set("command", value);
                true
            }
            (_, Some(node)) => {
                let words = node.items().unwrap_or_default().iter().filter_map(Node::scalar).map(|word| word.replace("$$", "$"));
                let words: Vec<String> = words.collect();
                let is_something = !words.is_empty();
                self.service.set("command", command::of_words(words));
                is_something
            }
            (_, None) => false,
        };
        if !has_command {
            return false;
        }
        // There a process is not started again unless that is written.
        self.service.set("restart.policy", Value::word("never"));
        for (key, node) in self.node.entries().unwrap_or_default() {
            let place = self.source.place(key.line);
            if let Err(why) = self.entry(&key.text, node, &place) {
                self.service.remark(&place, format!("{}: {why}", key.text));
            }
        }
        if self.service.part("restart", "policy") == Some(&Value::word("never")) {
            self.service.set("restart", Value::word("never"));
        }
        true
    }

    /// A line for the shell, in which `$$` was to be a `$`.
    fn line(&mut self, line: &str, number: usize) -> Value {
        if line.contains("{{") {
            self.service.remark(&self.source.place(number), format!("command: {TEMPLATE}"));
        }
        command::of_line(self.shell, &line.replace("$$", "$"))
    }

    fn entry(&mut self, key: &str, node: &Node, place: &Place) -> Result<(), String> {
        if node.is_null() {
            return Ok(());
        }
        match key {
            "command" | "entrypoint" => {}
            "description" => self.service.description = Some(scalar(node)?.trim().to_owned()),
            "environment" => {
                let mut remarks = Vec::new();
                let pairs = variables(node, place, self.source, |place, message| remarks.push((place.clone(), message.to_owned())));
                pairs.into_iter().for_each(|(name, value)| self.service.add("env", &name, variable(value)));
                remarks.into_iter().for_each(|(place, message)| self.service.remark(&place, message));
            }
            "env_file" => {
                let files = files(node).ok_or("the paths of files are wanted; it was left out")?;
                self.service.set("env_file", files);
            }
            "working_dir" => {
                let folder = self.source.absolute(&references(scalar(node)?));
                self.service.set("workdir", Value::Text(folder));
            }
            "depends_on" => self.needs(node)?,
            "availability" => self.availability(node),
            "readiness_probe" => self.probe("ready", node)?,
            "liveness_probe" => self.probe("health", node)?,
            "ready_log_line" => {
                let line = scalar(node)?;
                self.service.set("ready.log", Value::Text(line.to_owned()));
                if line.contains(['*', '?']) {
                    self.service.remark(place, "ready_log_line: `*` is any text here, and `?` any letter");
                }
                if self.node.get("log_location").is_none() {
                    self.service.set("log.memory", Value::word("64KiB"));
                    return Err("a line is only seen where output is kept: so it is kept in memory, for `ppm log`".to_owned());
                }
            }
            "shutdown" => self.shutdown(node),
            "log_location" if node.scalar() == Some("/dev/null") => return Err(NOT_LOST.to_owned()),
            "log_location" => {
                let path = self.source.absolute(&references(scalar(node)?));
                self.service.set("log.path", Value::Text(folder_of(&path)));
                let name = path.rsplit('/').next().unwrap_or_default();
                return Err(format!("the files are called {}-DATE.log, not {name}", self.service.name));
            }
            "log_configuration" => return Err("`log: {max_files: ..., max_file_size: ..., max_age: ...}` says how much is kept".to_owned()),
            "disabled" => {
                if boolean(node)? {
                    self.service.set("autostart", Value::word(false));
                }
            }
            "replicas" => match number(node)? {
                1 => {}
                0 => {
                    self.service.set("autostart", Value::word(false));
                    return Err("0: it is not started: `ppm start` does".to_owned());
                }
                count => {
                    self.service.set("replicas", Value::word(count));
                    return Err("PPM_REPLICA counts from 1, PC_REPLICA_NUM from 0".to_owned());
                }
            },
            "namespace" => {
                if scalar(node)? != "default" {
                    self.service.set("groups", Value::texts([scalar(node)?]));
                }
            }
            "schedule" => self.schedule(node)?,
            "is_elevated" => {
                if boolean(node)? {
                    self.service.set("user", Value::Text("root".to_owned()));
                }
            }
            "is_daemon" => {
                if boolean(node)? {
                    return Err("nothing is watched that leaves the foreground: run it in the foreground".to_owned());
                }
            }
            "launch_timeout_seconds" => return Err("it is about `is_daemon`, which there is not".to_owned()),
            "is_foreground" | "is_tty" | "is_interactive" => {
                if boolean(node)? {
                    return Err("no service has a terminal; `ppm exec` and `ppm run` give one to a command".to_owned());
                }
            }
            "vars" => return Err(format!("no equivalent: {TEMPLATE}")),
            "extends" => return Err("no equivalent; anchors and `<<` share keys".to_owned()),
            "watch" => self.watch(node)?,
            "disable_ansi_colors" | "is_template_disabled" | "disable_dotenv" | "is_disabled" | "truncate_log" => {}
            key if key.starts_with("x-") => {}
            _ => return Err("no equivalent".to_owned()),
        }
        Ok(())
    }

    fn needs(&mut self, node: &Node) -> Result<(), String> {
        let named: Vec<(&str, usize, &str)> = match &node.value {
            Tree::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.as_str(), key.line, node.get("condition").and_then(Node::scalar).unwrap_or("process_started")))
                .collect(),
            Tree::List(items) => items.iter().filter_map(|item| Some((item.scalar()?, item.line, "process_started"))).collect(),
            Tree::Scalar(_) | Tree::Null => return Err(format!("a map is wanted, {} was left out", node.kind())),
        };
        for (name, line, condition) in named {
            let place = self.source.place(line);
            if !self.names.contains(name) {
                self.service.remark(&place, format!("depends_on: there is no process {}; it was left out", shown(name)));
                continue;
            }
            let (word, remark) = match condition {
                "process_started" => ("started", None),
                "process_healthy" | "process_log_ready" => ("ready", None),
                "process_completed_successfully" => ("finished", None),
                "process_completed" => ("finished", Some("process_completed: a bad end of it is not enough here".to_owned())),
                other => ("started", Some(format!("{} is no condition that is known; `started` was written", shown(other)))),
            };
            self.service.add("depends_on", name, Value::word(word));
            if let Some(remark) = remark {
                self.service.remark(&place, format!("depends_on: {remark}"));
            }
        }
        Ok(())
    }

    fn availability(&mut self, node: &Node) {
        for (key, node) in node.entries().unwrap_or_default() {
            let place = self.source.place(key.line);
            let outcome = match key.text.as_str() {
                "restart" => self.restart(node),
                "backoff_seconds" => seconds(node).map(|delay| {
                    self.service.set("restart.interval", Value::time(delay));
                    self.service.set("restart.max_interval", Value::time(delay));
                }),
                "max_restarts" => number(node).map(|count| {
                    if count > 0 {
                        self.service.set("restart.max_retries", Value::word(count));
                    }
                }),
                "exit_on_end" => boolean(node).map(|ends| {
                    if ends {
                        self.service.set("essential", Value::word(true));
                    }
                }),
                "exit_on_skipped" => boolean(node).and_then(|ends| if ends { Err("no equivalent".to_owned()) } else { Ok(()) }),
                _ => Err("no equivalent".to_owned()),
            };
            if let Err(why) = outcome {
                self.service.remark(&place, format!("availability.{}: {why}", key.text));
            }
        }
    }

    fn restart(&mut self, node: &Node) -> Result<(), String> {
        let word = match scalar(node)? {
            "always" => "always",
            "on_failure" | "on-failure" => "on-failure",
            "no" | "false" | "never" => "never",
            "exit_on_failure" => {
                self.service.set("essential", Value::word(true));
                self.service.remark(
                    &self.source.place(node.line),
                    "availability.restart: exit_on_failure: `essential` ends the daemon with it after a good end too",
                );
                "never"
            }
            other => return Err(format!("{} is no policy that is known; `never` was written", shown(other))),
        };
        self.service.set("restart.policy", Value::word(word));
        Ok(())
    }

    /// A readiness or a liveness probe.
    fn probe(&mut self, key: &'static str, node: &Node) -> Result<(), String> {
        let is_health = key == "health";
        let mut asked = Vec::new();
        if let Some(exec) = node.get("exec") {
            let line = exec.get("command").and_then(Node::scalar).ok_or("exec.command: a text is wanted; it was left out")?.to_owned();
            asked.push(("command".to_owned(), self.line(&line, exec.line)));
            if let Some(folder) = exec.get("working_dir") {
                self.service.remark(&self.source.place(folder.line), "exec.working_dir: it runs in the service's own folder");
            }
        } else if let Some(get) = node.get("http_get").or_else(|| node.get("http")) {
            asked.push(("http".to_owned(), self.page(get)?));
        } else {
            return Err("neither exec nor http_get is in it; it was left out".to_owned());
        }
        for (part, node) in node.entries().unwrap_or_default() {
            let place = self.source.place(part.line);
            match (part.text.as_str(), is_health) {
                ("exec" | "http_get" | "http", _) => {}
                ("initial_delay_seconds", true) => asked.push(("start_period".to_owned(), Value::time(seconds(node)?))),
                // A service that is not ready yet is asked again, and nothing follows.
                ("initial_delay_seconds", false) => {}
                ("period_seconds", _) => asked.push(("interval".to_owned(), Value::time(seconds(node)?.max(Duration::from_secs(1))))),
                ("timeout_seconds", true) => asked.push(("timeout".to_owned(), Value::time(seconds(node)?.max(Duration::from_secs(1))))),
                ("timeout_seconds", false) if seconds(node)?.as_secs() > ATTEMPT => {
                    self.service.remark(&place, format!("readiness_probe.timeout_seconds: an attempt takes {ATTEMPT}s at the most"));
                }
                ("timeout_seconds", false) => {}
                ("failure_threshold", true) => asked.push(("retries".to_owned(), Value::word(number(node)?.max(1)))),
                ("failure_threshold", false) => {
                    self.service.remark(
                        &place,
                        "readiness_probe.failure_threshold: it may take as long as it takes; `ready: {timeout: ...}` bounds that",
                    );
                }
                ("success_threshold", _) => {
                    if number(node)? > 1 {
                        self.service.remark(&place, "success_threshold: one success is enough");
                    }
                }
                (other, _) => self.service.remark(&place, format!("{other}: no equivalent")),
            }
        }
        for (part, value) in asked {
            self.service.add(key, &part, value);
        }
        Ok(())
    }

    fn page(&mut self, get: &Node) -> Result<Value, String> {
        let text = |key: &str| get.get(key).and_then(Node::scalar);
        if text("scheme").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
            return Err("https is not spoken; `command` may be a program that does; it was left out".to_owned());
        }
        let (host, path) = (text("host").unwrap_or("127.0.0.1"), text("path").unwrap_or("/"));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let port = text("port").or_else(|| text("num_port"));
        if [Some(host), port, Some(path)].into_iter().flatten().any(|part| part.contains(['$', '{'])) {
            return Err("nothing is expanded in a URL; it was left out".to_owned());
        }
        let url = match port {
            Some(port) => format!("http://{host}:{port}{slash}{path}"),
            None => format!("http://{host}{slash}{path}"),
        };
        if let Some(headers) = get.get("headers") {
            self.service.remark(&self.source.place(headers.line), "http_get.headers: none are sent");
        }
        Ok(match text("status_code") {
            Some(status) => Value::Map(vec![
                ("url".to_owned(), Value::Text(url)),
                (
                    "status".to_owned(),
                    Value::Word(status.parse::<u16>().map_err(|_| format!("{} is not a status", shown(status)))?.to_string()),
                ),
            ]),
            None => Value::Text(url),
        })
    }

    /// There each path has patterns of its own, here they hold for all.
    fn watch(&mut self, node: &Node) -> Result<(), String> {
        let texts = |node: &Node, key: &str| -> Vec<String> {
            let items = node.get(key).and_then(Node::items).unwrap_or_default();
            items.iter().filter_map(Node::scalar).map(str::to_owned).collect()
        };
        let watched = node.get("paths").and_then(Node::items).unwrap_or_default();
        let has_folder = self.node.get("working_dir").is_some();
        let begin = |path: &str| if has_folder { references(path) } else { self.source.absolute(&references(path)) };
        let paths: Vec<String> = watched.iter().filter_map(|path| path.get("path")?.scalar()).map(begin).collect();
        if paths.is_empty() {
            return Err("`paths` with a `path` are wanted; it was left out".to_owned());
        }
        self.service.set("watch.paths", Value::texts(paths));
        for (key, ours) in [("include", "watch.only"), ("exclude", "watch.exclude")] {
            let patterns: BTreeSet<String> = watched.iter().flat_map(|path| texts(path, key)).collect();
            if !patterns.is_empty() {
                self.service.set(ours, Value::texts(patterns));
            }
            if watched.len() > 1 && watched.iter().any(|path| path.get(key).is_some()) {
                self.service.remark(&self.source.place(node.line), format!("watch: {key} of one path holds for all of them"));
            }
        }
        for (key, node) in node.entries().unwrap_or_default() {
            match (key.text.as_str(), node.scalar()) {
                ("paths" | "max_entries" | "buffer_size", _) => {}
                ("debounce", Some(time)) => self.service.set("watch.settle", Value::Text(time.to_owned())),
                ("disable_default_excludes", Some("true")) => self.service.set("watch.default_excludes", Value::word(false)),
                ("disable_default_excludes" | "cascade", Some("false")) => {}
                ("cascade", _) => {
                    let message = "watch.cascade: who depends on it says `on_dependency_restart: restart`";
                    self.service.remark(&self.source.place(key.line), message);
                }
                (other, _) => self.service.remark(&self.source.place(key.line), format!("watch.{other}: no equivalent")),
            }
        }
        Ok(())
    }

    fn shutdown(&mut self, node: &Node) {
        for (key, node) in node.entries().unwrap_or_default() {
            let place = self.source.place(key.line);
            let outcome = match key.text.as_str() {
                "signal" => scalar(node).and_then(|text| {
                    let signal: Signal = text.parse().map_err(|_| format!("{} is not a signal; it was left out", shown(text)))?;
                    if signal != Signal::TERM {
                        self.service.set("stop.signal", Value::word(signal.to_string().trim_start_matches("SIG")));
                    }
                    Ok(())
                }),
                "timeout_seconds" => seconds(node).map(|grace| {
                    self.service.set("stop.timeout", Value::time(grace));
                    self.grace = Some((grace, place.clone()));
                }),
                "parent_only" => boolean(node).map(|alone| {
                    if alone {
                        self.service.set("stop.group", Value::word(false));
                    }
                }),
                "command" => scalar(node).map(str::to_owned).map(|line| {
                    let value = self.line(&line, key.line);
                    self.service.set("stop.command", value);
                }),
                _ => Err("no equivalent".to_owned()),
            };
            if let Err(why) = outcome {
                self.service.remark(&place, format!("shutdown.{}: {why}", key.text));
            }
        }
    }

    fn schedule(&mut self, node: &Node) -> Result<(), String> {
        let text = |key: &str| node.get(key).and_then(Node::scalar);
        let expression = match (text("cron"), text("interval")) {
            (Some(cron), _) => cron.to_owned(),
            (None, Some(interval)) => format!("@every {interval}"),
            (None, None) => return Err("neither cron nor interval is in it; it was left out".to_owned()),
        };
        self.service.set("schedule.cron", Value::Text(expression));
        if let Some(zone) = text("timezone") {
            self.service.set("schedule.timezone", Value::Text(zone.to_owned()));
        }
        self.service.set("schedule.overlap", Value::word("skip"));
        if text("run_on_start") == Some("true") {
            self.service.set("schedule.on_start", Value::word(true));
        }
        match node.get("max_concurrent").filter(|node| node.scalar() != Some("1")) {
            Some(_) => Err("max_concurrent: never two runs at a time; `overlap: queue` has one wait".to_owned()),
            None => Ok(()),
        }
    }
}

/// `NAME=value` in a list, or a map; what is neither is told.
fn variables(node: &Node, place: &Place, source: &Source, mut tell: impl FnMut(&Place, &str)) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    match &node.value {
        Tree::List(items) => {
            for item in items {
                match item.scalar().and_then(|text| text.split_once('=')).filter(|(name, _)| !name.is_empty()) {
                    Some((name, value)) => pairs.push((name.trim().to_owned(), references(value))),
                    None => tell(&source.place(item.line), "environment: NAME=value is wanted; it was left out"),
                }
            }
        }
        Tree::Map(entries) => {
            for (key, node) in entries {
                match node.scalar() {
                    Some(value) => pairs.push((key.text.clone(), references(value))),
                    None => tell(&source.place(key.line), "environment: a text is wanted; it was left out"),
                }
            }
        }
        Tree::Scalar(_) | Tree::Null => tell(place, "environment: a list is wanted; it was left out"),
    }
    pairs
}

/// One path or several.
fn files(node: &Node) -> Option<Value> {
    match &node.value {
        Tree::Scalar(path) => Some(Value::Text(references(path))),
        Tree::List(items) => {
            items.iter().map(|item| item.scalar().map(|path| Value::Text(references(path)))).collect::<Option<Vec<_>>>().map(Value::List)
        }
        Tree::Map(_) | Tree::Null => None,
    }
}

/// `$NAME` and `${NAME}` as we write them; `$$` stays, it is a `$` in both.
fn references(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out.push('$');
            rest = behind;
            continue;
        }
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(rest.len());
        if end > 0 && !rest.starts_with(|first: char| first.is_ascii_digit()) {
            out.push_str(&format!("{{{}}}", &rest[..end]));
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

fn folder_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder.to_owned(),
        Some(_) | None => "/".to_owned(),
    }
}

fn seconds(node: &Node) -> Result<Duration, String> {
    number(node).map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_written_as_ours() {
        for (text, wanted) in [
            ("$A/b", "${A}/b"),
            ("${A}$B", "${A}${B}"),
            ("a$$b", "a$$b"),
            ("$", "$"),
            ("$1 $(x)", "$1 $(x)"),
            ("${A:-$B}", "${A:-${B}}"),
            ("", ""),
        ] {
            assert_eq!(references(text), wanted);
        }
    }
}
