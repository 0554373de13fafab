//! Ecosystem files of pm2, in JSON or YAML: each app is a service.
//!
//! One in JavaScript would have to be executed: it is refused with how to make JSON of it.

use std::time::Duration;

use ppm_core::config::write_size;
use ppm_protocol::Signal;

use super::draft::{Draft, Place, Service, Value, literal, shown, variable};
use super::tree::{self, Key, Node, Tree, boolean, number, scalar};
use super::{Failure, NOT_LOST, Source, command};
use crate::check;

/// Which program runs a script, by its extension.
const INTERPRETERS: [(&str, &str); 12] = [
    (".js", "node"),
    (".cjs", "node"),
    (".mjs", "node"),
    (".sh", "bash"),
    (".py", "python3"),
    (".rb", "ruby"),
    (".php", "php"),
    (".pl", "perl"),
    (".ts", "bun"),
    (".tsx", "bun"),
    (".coffee", "coffee"),
    (".ls", "lsc"),
];

/// The names of the key for what is run.
const SCRIPT: [&str; 4] = ["script", "exec", "cmd", "command"];

/// How to make JSON of JavaScript.
const TO_JSON: &str = "make JSON of it: node -p 'JSON.stringify(require(\"./FILE\"))' | ppm import --from pm2 -";

/// The signal that pm2 asks a process with to end.
const SIGNAL: &str = "INT";

/// The longest delay of a growing one.
const LONGEST: Duration = Duration::from_secs(15);

/// What is not written, and is otherwise here.
const DEFAULTS: &str = "what is not written differs: it has 5s to stop (there 1.6s), and it is tried again for ever, more and more slowly \
                        (there 16 times at once): docs/migrating.md";

pub fn read(source: &Source) -> Result<Draft, Failure> {
    let name = source.path.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str()).unwrap_or_default();
    let is_script = [".js", ".cjs", ".mjs"].iter().any(|extension| name.ends_with(extension));
    let begin = source.text.lines().position(|line| line.contains("module.exports") || line.starts_with("export default"));
    if is_script || begin.is_some() {
        let line = begin.unwrap_or(0);
        let width = source.text.lines().nth(line).map_or(1, |line| line.chars().count()).max(1);
        let hint = if name.is_empty() { TO_JSON.to_owned() } else { TO_JSON.replace("FILE", name) };
        return Err(source.wrong((line + 1, 1), width, "JSON or YAML is wanted, this is JavaScript", &hint));
    }
    let root = tree::read(&source.text, &source.name).map_err(|problems| check::wrong(problems).into_failure())?;
    let mut draft = Draft::default();
    let apps: Vec<&Node> = match (&root.value, root.get("apps")) {
        (Tree::List(items), _) => items.iter().collect(),
        (_, Some(apps)) => apps.items().map_or(vec![apps], |items| items.iter().collect()),
        (_, None) => vec![&root],
    };
    for (key, _) in root.entries().unwrap_or_default().iter().filter(|_| root.get("apps").is_some()) {
        if key.text != "apps" {
            draft.remark(&source.place(key.line), format!("{}: it is about no app and was left out", key.text));
        }
    }
    for node in apps {
        let place = source.place(node.line);
        let Some(entries) = node.entries() else {
            draft.remark(&place, format!("an app is wanted, {} was left out", node.kind()));
            continue;
        };
        let mut app = App { node, source, service: Service::new("", &place), grace: None };
        if !app.read(entries) {
            if root.get("apps").is_some() || root.items().is_some() {
                draft.remark(&place, "an app without a `script` was left out");
            }
            continue;
        }
        draft.remark_once(&place, DEFAULTS);
        draft.stops_within(app.grace);
        draft.push(app.service);
    }
    draft.allow_for_slowest();
    Ok(draft)
}

struct App<'a> {
    node: &'a Node,
    source: &'a Source,
    service: Service,
    /// How long it may take to stop, where that is written.
    grace: Option<(Duration, Place)>,
}

impl App<'_> {
    /// Whether there is a service in it.
    fn read(&mut self, entries: &[(Key, Node)]) -> bool {
        let Some(script) = self.text(&SCRIPT) else { return false };
        let file = script.rsplit('/').next().unwrap_or_default();
        let bare = file.rsplit_once('.').map_or(file, |(bare, _)| bare);
        self.service.name = self.text(&["name"]).unwrap_or_else(|| bare.split_whitespace().next().unwrap_or("app").to_owned());
        self.service.set("restart.policy", Value::word("always"));
        self.service.set("stop.signal", Value::word(SIGNAL));
        self.command(&script);
        for (key, node) in entries {
            let place = self.source.place(key.line);
            if let Err(why) = self.entry(&key.text, node, &place) {
                self.service.remark(&place, format!("{}: {why}", key.text));
            }
        }
        if self.service.part("restart", "policy") == Some(&Value::word("never")) {
            self.service.set("restart", Value::word("never"));
        }
        if self.service.get("schedule").is_some() {
            self.service.set("schedule.on_start", Value::word(true));
        }
        true
    }

    /// The text of the first of these keys that is there.
    fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.node.get(key)?.scalar().filter(|text| !text.trim().is_empty()).map(str::to_owned))
    }

    /// The words of the first of these keys that is there: a list, or a text that is split.
    fn words(&self, keys: &[&str]) -> Vec<String> {
        let Some(node) = keys.iter().find_map(|key| self.node.get(key)) else { return Vec::new() };
        match &node.value {
            Tree::List(items) => items.iter().filter_map(Node::scalar).map(str::to_owned).collect(),
            Tree::Scalar(text) => shell_words::split(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect()),
            Tree::Map(_) | Tree::Null => Vec::new(),
        }
    }

    fn command(&mut self, script: &str) {
        let place = self.source.place(SCRIPT.iter().find_map(|key| self.node.get(key)).map_or(self.node.line, |node| node.line));
        // What has a blank in it is a line for bash, and the arguments are forgotten.
        if script.trim().contains(' ') {
            self.service.set("command", command::of_line("bash", script));
            if self.node.get("args").is_some() {
                self.service.remark(&place, "args: not heard, there as here, beside a script with blanks");
            }
            return;
        }
        let by_extension = INTERPRETERS.iter().find(|(extension, _)| script.ends_with(extension)).map(|(_, program)| (*program).to_owned());
        let named = self.text(&["interpreter", "exec_interpreter"]);
        if named.is_none() && by_extension.is_none() && script.contains('/') {
            let message =
                format!("script: {script} is executed as it is; where it is a script of node without `#!`: `command: [node, {script}]`");
            self.service.remark(&place, message);
        }
        let mut words: Vec<String> = named.or(by_extension).filter(|program| program != "none").into_iter().collect();
        if let Some(program) = words.first() {
            if program.contains("python") {
                self.service.add("env", "PYTHONUNBUFFERED", variable("1"));
            }
            if program.starts_with("node@") {
                self.service.remark(&place, format!("interpreter: {program} is installed by nobody: write the path of that node"));
            }
            words.extend(self.words(&["interpreter_args", "interpreterArgs", "node_args", "nodeArgs"]));
        }
        words.push(script.to_owned());
        words.extend(self.words(&["args"]));
        self.service.set("command", command::of_words(words));
    }

    #[expect(clippy::too_many_lines, reason = "a table of keys and what becomes of each")]
    fn entry(&mut self, key: &str, node: &Node, place: &Place) -> Result<(), String> {
        if node.is_null() {
            return Ok(());
        }
        match key {
            "name" | "script" | "exec" | "cmd" | "command" | "args" | "interpreter" | "exec_interpreter" => {}
            "interpreter_args" | "interpreterArgs" | "node_args" | "nodeArgs" => {}
            "cwd" => {
                let folder = self.source.absolute(&literal(scalar(node)?));
                self.service.set("workdir", Value::Text(folder));
            }
            "env" => self.variables(node)?,
            "env_file" => self.service.set("env_file", Value::Text(scalar(node)?.to_owned())),
            "port" => self.service.add("env", "PORT", variable(scalar(node)?)),
            "uid" | "user" => self.user(scalar(node)?, "gid"),
            "gid" => {
                if self.text(&["uid", "user"]).is_none() {
                    return Err("a group alone is none here: write `user: USER:GROUP`".to_owned());
                }
            }
            "autostart" => self.service.set("autostart", Value::word(boolean(node)?)),
            "autorestart" | "auto_restart" => {
                if !boolean(node)? {
                    self.service.set("restart.policy", Value::word("never"));
                }
            }
            "stop_exit_codes" => {
                let codes = node.items().map_or(vec![node], |items| items.iter().collect());
                let codes: Option<Vec<u8>> = codes.iter().map(|code| code.scalar()?.parse().ok()).collect();
                let codes = codes.ok_or("exit codes are wanted; it was left out")?;
                self.service.set("restart.policy", Value::word("on-failure"));
                if codes != [0] {
                    self.service.set("success_exit_codes", Value::List(codes.iter().map(Value::word).collect()));
                }
            }
            "max_restarts" => match number(node)? {
                0 => return Err("0: it is never given up here; `restart: never` makes no retry".to_owned()),
                count => self.service.set("restart.max_retries", Value::word(count)),
            },
            "min_uptime" => {
                let time = time(node)?;
                self.service.set("restart.reset_after", time);
            }
            "restart_delay" => {
                let time = time(node)?;
                self.service.set("restart.interval", time.clone());
                self.service.set("restart.max_interval", time);
            }
            "exp_backoff_restart_delay" => {
                let delay = time(node)?;
                self.service.set("restart.interval", delay);
                self.service.set("restart.max_interval", Value::time(LONGEST));
            }
            "kill_timeout" => {
                let grace = duration(node)?;
                self.service.set("stop.timeout", Value::time(grace));
                self.grace = Some((grace, place.clone()));
            }
            "kill_signal" | "stop_signal" => {
                let text = scalar(node)?;
                let signal: Signal = text.parse().map_err(|_| format!("{} is not a signal; it was left out", shown(text)))?;
                self.service.set("stop.signal", Value::word(signal.to_string().trim_start_matches("SIG")));
            }
            "treekill" => {
                if !boolean(node)? {
                    self.service.set("stop.group", Value::word(false));
                    return Err("what is left of a run is ended before the next one all the same".to_owned());
                }
            }
            "wait_ready" => {
                if boolean(node)? {
                    return Err(
                        "process.send('ready') is not heard: write `ready: {tcp: PORT}`, or `ready: notify` and READY=1 to NOTIFY_SOCKET"
                            .to_owned(),
                    );
                }
            }
            "listen_timeout" => return Err("no equivalent; `ready: {tcp: PORT, timeout: ...}` ends what does not become ready".to_owned()),
            "instances" => match scalar(node)? {
                "max" | "0" => return Err("it would be one for each processor: write `replicas` with a number".to_owned()),
                text => match text.parse::<u32>() {
                    Ok(1) => {}
                    Ok(count) => self.service.set("replicas", Value::word(count)),
                    Err(_) => return Err(format!("{} is not a number that is known here: write `replicas` with one", shown(text))),
                },
            },
            "exec_mode" => {
                if scalar(node)?.starts_with("cluster") {
                    return Err("no cluster: each replica is a program of its own, which listens with SO_REUSEPORT or on a port of its own (PPM_REPLICA)".to_owned());
                }
            }
            "instance_var" | "increment_var" => return Err("no equivalent; PPM_REPLICA counts from 1".to_owned()),
            "max_memory_restart" => {
                let bytes = size(scalar(node)?)?;
                self.service.set("max_memory", Value::Word(write_size(bytes)));
            }
            "cron_restart" | "cron" => match scalar(node)? {
                "0" | "" => {}
                expression => {
                    self.service.set("schedule.cron", Value::Text(expression.to_owned()));
                    return Err("it is started with the daemon (`on_start`), and anew at these times".to_owned());
                }
            },
            "watch" => self.watch(node)?,
            "ignore_watch" => {
                if self.node.get("watch").is_some_and(|watch| watch.scalar() != Some("false")) {
                    let is_regular = |pattern: &String| pattern.contains(['\\', '^', '$', '(', '[']);
                    let (regular, patterns): (Vec<String>, Vec<String>) = self.words(&["ignore_watch"]).into_iter().partition(is_regular);
                    if !patterns.is_empty() {
                        self.service.set("watch.exclude", Value::texts(patterns));
                    }
                    if let Some(first) = regular.first() {
                        return Err(format!(
                            "{} is a regular expression, and patterns like `*.log` are wanted; it was left out",
                            shown(first)
                        ));
                    }
                }
            }
            "watch_delay" => {
                if self.node.get("watch").is_some_and(|watch| watch.scalar() != Some("false")) {
                    let time = time(node)?;
                    self.service.set("watch.settle", time);
                }
            }
            "out_file" | "out" | "output" | "out_log" => self.log(scalar(node)?)?,
            "error_file" | "error" | "err" | "err_file" | "err_log" => {
                if node.scalar().map(str::to_owned) == self.text(&["out_file", "out", "output", "out_log"]) {
                    return Ok(());
                }
                return Err("both streams go to one log; `ppm log --stderr` shows this one alone".to_owned());
            }
            "log" | "log_file" => {
                if !["true", "false"].contains(&scalar(node)?) {
                    self.log(scalar(node)?)?;
                }
            }
            "log_date_format" | "time" => {
                if node.scalar() != Some("false") {
                    return Err("files have no times in front; `ppm log -t` shows when each line was written".to_owned());
                }
            }
            "log_type" => return Err("`logger: {console: true, format: json}` writes the output of all services as JSON".to_owned()),
            "merge_logs" | "combine_logs" => {
                return Err("each replica has a log of its own; `ppm log` shows them together by name".to_owned());
            }
            "disable_logs" => {
                if boolean(node)? {
                    return Err(NOT_LOST.to_owned());
                }
            }
            "namespace" => {
                if scalar(node)? != "default" {
                    self.service.set("groups", Value::texts([scalar(node)?]));
                }
            }
            "filter_env" => {
                return Err("`inherit_env: [NAMES]` says what it gets of the daemon's environment, and keeps out the rest".to_owned());
            }
            "shutdown_with_message" => return Err("no message is sent, but the signal; `stop: {command: ...}` runs a program".to_owned()),
            "post_update" | "pre_setup" => return Err("no equivalent: nothing is deployed".to_owned()),
            // What is about pm2 itself, or the default of node by now.
            "source_map_support"
            | "disable_source_map_support"
            | "vizion"
            | "pmx"
            | "automation"
            | "force"
            | "version"
            | "trace"
            | "windowsHide"
            | "km_link" => {}
            key if key.starts_with("env_") => {
                return Err("no equivalent: one environment is in one file; `env_file` may be another in each place".to_owned());
            }
            _ => return Err("no equivalent".to_owned()),
        }
        Ok(())
    }

    fn variables(&mut self, node: &Node) -> Result<(), String> {
        let entries = node.entries().ok_or_else(|| format!("a map is wanted, {} was left out", node.kind()))?;
        for (key, node) in entries {
            match (&node.value, is_variable(&key.text)) {
                (Tree::Scalar(text), true) => self.service.add("env", &key.text, variable(literal(text))),
                (Tree::Null, _) => {}
                (Tree::Scalar(_) | Tree::List(_) | Tree::Map(_), _) => {
                    let message = format!("env.{}: a name and a text are wanted, it was left out", key.text);
                    self.service.remark(&self.source.place(key.line), message);
                }
            }
        }
        Ok(())
    }

    fn user(&mut self, user: &str, group: &str) {
        let whole = self.text(&[group]).map_or(user.to_owned(), |group| format!("{user}:{group}"));
        self.service.set("user", Value::Text(whole));
    }

    fn watch(&mut self, node: &Node) -> Result<(), String> {
        let paths = match &node.value {
            Tree::Scalar(text) if text == "false" => return Ok(()),
            Tree::Scalar(text) if text == "true" => vec![".".to_owned()],
            _ => self.words(&["watch"]),
        };
        let folder = self.text(&["cwd"]).map_or_else(|| self.source.absolute("."), |folder| self.source.absolute(&folder));
        let begin = |path: &String| match path.trim_start_matches("./") {
            "" | "." => literal(&folder),
            path if path.starts_with('/') => literal(path),
            path => literal(&format!("{folder}/{path}")),
        };
        if paths.iter().any(|path| path.contains(['*', '?'])) {
            return Err("paths are wanted, not patterns: `watch: {paths: [...], only: [...]}`; it was left out".to_owned());
        }
        self.service.set("watch.paths", Value::texts(paths.iter().map(begin)));
        Ok(())
    }

    fn log(&mut self, path: &str) -> Result<(), String> {
        match path {
            "/dev/null" | "NULL" => return Err(NOT_LOST.to_owned()),
            "/dev/stdout" | "/dev/stderr" => return Ok(()),
            _ => {}
        }
        let path = self.source.absolute(&literal(path));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("/", &path));
        let folder = if folder.is_empty() { "/" } else { folder };
        self.service.set("log.path", Value::Text(folder.to_owned()));
        Err(format!("the files are called {}-DATE.log, not {name}", self.service.name))
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_graphic() && letter != '=')
}

fn time(node: &Node) -> Result<Value, String> {
    duration(node).map(Value::time)
}

/// Milliseconds, or a number with `s`, `m` or `h`.
fn duration(node: &Node) -> Result<Duration, String> {
    let text = scalar(node)?;
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => [("s", 1000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)))
            .unwrap_or((text, 1)),
    };
    let millis = number.trim().parse::<u32>().map(|number| u64::from(number) * unit);
    millis.map(Duration::from_millis).map_err(|_| format!("{} is not a time; it was left out", shown(text)))
}

/// Bytes, or a number with K, M or G, powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_suffix('B').unwrap_or(&upper);
    let unit = [('K', 10), ('M', 20), ('G', 30)].into_iter().find_map(|(unit, bits)| Some((bare.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((bare, 0));
    let bytes = number.trim().parse::<u64>().ok().filter(|number| *number > 0).and_then(|number| number.checked_mul(1 << bits));
    bytes.ok_or_else(|| format!("{} is not a size; it was left out", shown(text)))
}
