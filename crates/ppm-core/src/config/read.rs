//! From the tree of a file to settings and services.
//!
//! Goes on after a problem, so that all are told at once. Decides nothing about names, commands and schedules itself:
//! the checks are those of `ppm add`. Invariant: without a complaint the services are right.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use ppm_protocol::Signal;

use super::Config;
use super::env::Env;
use super::field::{Draft, Field, Map, describe};
use super::keys;
use super::needs::Link;
use super::replicas::Several;
use super::tree::{At, Node, Tree, Value};
use super::value::write_size;
use crate::attributes::{Attributes, Limit, Resource, User, read_umask};
use crate::environment::Surroundings;
use crate::gather::Gather;
use crate::hook::{self, Hook, HookSpec, Program};
use crate::listen::Listen;
use crate::names;
use crate::runs;
use crate::schedule::{Missed, Options, Overlap, Retry, Schedule};
use crate::spec::{self, Command, InvalidSpec, MAX_SERVICES, Reach, RestartPolicy, RestartWhen, ServiceSpec, Settings, shown};
use crate::zone;

/// Less memory than this no program lives with: it would be restarted without end.
const LEAST_MEMORY: u64 = 1 << 20;

/// Without these in the text every integer and boolean is written as we would write it.
const UNUSUAL: [&str; 9] = ["0x", "0o", "0b", "+", "-0", "True", "TRUE", "False", "FALSE"];

/// An environment variable whose value is a number or a boolean, to be passed as it is written.
#[derive(Debug)]
pub(super) struct Verbatim {
    pub service: usize,
    pub name: String,
    pub at: At,
}

/// What is made of a tree.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub config: Config,
    pub drafts: Vec<Draft>,
    pub verbatim: Vec<Verbatim>,
    /// Of each service that was read, the scalar it begins with.
    pub starts: Vec<At>,
    /// Of each service that was read, how many there are to be.
    pub replicas: Vec<Option<u32>>,
    /// What is right but may be meant otherwise.
    pub remarks: Vec<(At, String)>,
}

/// Reads the tree of a text that stands in this folder.
pub(super) fn read(tree: &Tree, text: &str, folder: &str) -> Outcome {
    let canonical = !UNUSUAL.iter().any(|unusual| text.contains(unusual));
    let mut reader = Reader {
        outcome: Outcome::default(),
        canonical,
        folder: folder.to_owned(),
        links: Vec::new(),
        several: Vec::new(),
        replicated: BTreeMap::new(),
    };
    for key in &tree.duplicates {
        reader.complain(key.at, format!("the key `{}` is there twice", shown(&key.text)));
    }
    reader.top(&tree.root, text);
    reader.outcome
}

/// Goes through the tree and collects; how single values are read stands in `field.rs`.
pub(super) struct Reader {
    pub outcome: Outcome,
    /// Whether integers and booleans are all written as we would write them.
    pub canonical: bool,
    /// Where paths begin that are not absolute.
    pub folder: String,
    /// Services that are to be several, and how many, by name, when they have been looked at.
    pub several: Vec<Several>,
    pub replicated: BTreeMap<String, u32>,
    /// What services need, by where it is written.
    pub links: Vec<Link>,
}

impl Reader {
    fn top(&mut self, root: &Node, text: &str) {
        if matches!(root.value, Value::Null) {
            return;
        }
        let Value::Map(entries) = &root.value else {
            let found = describe(&root.value);
            let complaint = self.complain(root.at, format!("a configuration is a map of settings and `services`, found {found}"));
            complaint.hint = Some("write `services:` in front, and `- name: web` for each below it".into());
            return;
        };
        let map = Map { place: String::new(), prefix: "", entries };
        self.check_keys(&map, &keys::TOP_KEYS);
        let mut settings = Settings::default();
        let durations = [
            ("stats_interval", &mut settings.stats_interval),
            ("restart_interval", &mut settings.restart_interval),
            ("watch_restart_interval", &mut settings.watch_restart_interval),
            ("clock_check_interval", &mut settings.clock_check_interval),
            ("shutdown_timeout", &mut settings.shutdown_timeout),
        ];
        for (key, setting) in durations {
            self.set(map.get(key), setting, Self::duration);
        }
        self.set(map.get("timezone"), &mut settings.timezone, |reader, field| reader.timezone(field).map(Some));
        self.set(map.get("state_dir"), &mut settings.state_dir, |reader, field| {
            let folder = reader.text(field, "the absolute path of a folder")?;
            reader.valid(field.node.at, spec::check_absolute(folder))?;
            Some(Some(folder.to_owned()))
        });
        let common = Arc::new(self.variables(&map, text));
        settings.surroundings = Arc::new(Surroundings { common, ..Surroundings::default() });
        self.set(map.get("logger"), &mut settings.logger, |reader, field| reader.logger(field).map(Some));
        self.set(map.get("http"), &mut settings.http, |reader, field| {
            let Some(text) = field.node.value.as_text() else {
                let complaint = reader.wrong_type(field, "an address and a port, or `unix:/PATH`");
                complaint.hint = Some("write 127.0.0.1:9180, or :9180 for every address of this machine".into());
                return None;
            };
            reader.valid(field.node.at, Listen::parse(text)).map(Some)
        });
        if let Some(field) = map.get("services") {
            self.services(field, &settings);
        }
        self.outcome.config.settings = settings;
    }

    fn services(&mut self, field: Field<'_>, settings: &Settings) {
        if field.node.value.is_null() {
            return;
        }
        let Some(nodes) = field.node.value.as_list() else {
            self.wrong_type(field, "a list").hint = Some("write `- name: web` for each service".into());
            return;
        };
        if nodes.len() > MAX_SERVICES {
            self.complain(field.key.at, format!("{} services are too many, at most {MAX_SERVICES} are allowed", nodes.len()));
            return;
        }
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for (number, node) in (1_usize..).zip(nodes) {
            let Value::Map(entries) = &node.value else {
                let message = format!("service {number} must be a map, found {}", describe(&node.value));
                self.complain(node.at, message).hint = Some("write `- name: web`, and `command: ...` below it".into());
                continue;
            };
            let name = entries.iter().find(|(key, _)| key.text == "name").and_then(|(_, node)| node.value.as_text());
            let called = name.map_or_else(|| format!("service {number}"), |name| format!("service `{}`", shown(name)));
            let map = Map { place: format!(" in {called}"), prefix: "", entries };
            if let Some(field) = map.get("name")
                && let Some(name) = field.node.value.as_text()
                && let first = *names.entry(name).or_insert(field.node.at)
                && first != field.node.at
            {
                self.complain_twice(field.node.at, first, format!("there is a service named `{}` already", shown(name)));
            }
            if let Some(field) = map.get("id")
                && let Some(id) = field.node.value.as_int()
                && let first = *ids.entry(id).or_insert(field.node.at)
                && first != field.node.at
            {
                self.complain_twice(field.node.at, first, format!("there is a service with the id {id} already"));
            }
            self.service(node.at, &called, &map, settings);
        }
        self.check_replicas(&names, &ids);
        self.check_links(&names.into_keys().gather());
    }

    fn service(&mut self, at: At, called: &str, map: &Map<'_>, settings: &Settings) {
        self.check_keys(map, &keys::SERVICE_KEYS);
        let name = match map.get("name") {
            Some(field) => self.name(field),
            None => self.required(map, "name", at, format!("{called} has no `name`"), "add a line like `name: web`"),
        };
        let command = match map.get("command") {
            Some(field) => self.command(field, called),
            None => self.required(map, "command", at, format!("{called} has no `command`"), "add a line like `command: sleep 10`"),
        };
        let (command, env) = command.unwrap_or_default();
        let mut service = ServiceSpec::new(name.unwrap_or_default(), command, settings);
        self.set(map.get("workdir"), &mut service.command.workdir, |reader, field| reader.folder(field).map(Some));
        self.service_env(map, env, &mut service);
        self.set(map.get("id"), &mut service.id, |reader, field| reader.whole(field, 1, u32::MAX).map(Some));
        self.set(map.get("autostart"), &mut service.autostart, Self::boolean);
        self.set(map.get("success_exit_codes"), &mut service.success_exit_codes, Self::exit_codes);
        self.set(map.get("schedule"), &mut service.schedule, |reader, field| {
            reader.schedule(field, called).map(|schedule| Some(Box::new(schedule)))
        });
        let folder = if service.command.workdir.is_none() { self.folder.clone() } else { String::new() };
        self.set(map.get("watch"), &mut service.watch, |reader, field| {
            reader.watch(field, called, &folder).map(|watch| Some(Arc::new(watch)))
        });
        self.set(map.get("ready"), &mut service.ready, |reader, field| reader.ready(field, called).map(|ready| Some(Box::new(ready))));
        self.set(map.get("health"), &mut service.health, |reader, field| reader.health(field, called).map(|health| Some(Box::new(health))));
        self.set(map.get("log"), &mut service.log, |reader, field| reader.log(field, called, settings));
        self.check_capture(map.get("ready"), &service, settings);
        self.set(map.get("groups"), &mut service.groups, Self::groups);
        let name = service.name.clone();
        self.set(map.get("depends_on"), &mut service.depends_on, |reader, field| reader.depends_on(field, &name));
        self.set(map.get("on_dependency_restart"), &mut service.on_dependency_restart, Self::on_dependency_restart);
        self.attributes(map, called, &mut service.command.attributes);
        self.set(map.get("essential"), &mut service.essential, Self::boolean);
        self.set(map.get("max_memory"), &mut service.max_memory, |reader, field| reader.some_memory(field).map(Some));
        match map.get("restart") {
            Some(field) => self.restart(field, called, &mut service.restart),
            None if service.essential => service.restart.when = RestartWhen::Never,
            None => {}
        }
        if let Some(field) = map.get("stop") {
            self.stop(field, called, &mut service);
        }
        if let Some(field) = map.get("hooks") {
            self.hooks(field, called, &mut service.hooks);
        }
        self.outcome.replicas.push(None);
        if let Some(field) = map.get("replicas") {
            self.replicas(field, &service);
        }
        self.outcome.config.services.push(service);
        self.outcome.starts.push(at);
    }

    fn name(&mut self, field: Field<'_>) -> Option<String> {
        let name = match field.node.value.as_int() {
            Some(number) => number.to_string(), // the check says what is wrong with it
            None if matches!(field.node.value, Value::Bool(_) | Value::Float(_)) => {
                self.wrong_type(field, "text").hint = Some("put it in quotes".into());
                return None;
            }
            None => self.text(field, "text")?.to_owned(),
        };
        self.valid(field.node.at, names::check(&name))?;
        Some(name)
    }

    fn command(&mut self, field: Field<'_>, called: &str) -> Option<(Command, Env)> {
        match &field.node.value {
            Value::Map(entries) => {
                let map = Map { place: format!(" in `command` of {called}"), prefix: "command.", entries };
                self.command_map(field, &map)
            }
            Value::Text(_) | Value::List(_) => {
                let mut words = self.words(field)?.into_iter();
                Some((Command { path: words.next()?, args: words.collect(), ..Command::default() }, Env::new()))
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                self.wrong_type(field, "text, a list or a map");
                None
            }
        }
    }

    /// A program and its arguments, as text or as a list.
    pub(super) fn words(&mut self, field: Field<'_>) -> Option<Vec<String>> {
        let words = match &field.node.value {
            Value::Text(line) => self.split(field.node.at, line)?,
            Value::List(_) => self.arguments(field)?,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Map(_) => {
                self.wrong_type(field, "text or a list");
                return None;
            }
        };
        let Some(path) = words.first() else {
            return self.missing(field.at(), "the command is empty".into(), "write a program and its arguments");
        };
        self.valid(field.node.at, spec::check_program(path))?;
        Some(words)
    }

    /// Splits a line like a shell does; no shell is run and nothing is expanded.
    fn split(&mut self, at: At, line: &str) -> Option<Vec<String>> {
        self.valid(at, spec::check_argument(line))?;
        let Ok(words) = shell_words::split(line) else {
            return self.missing(at, "a quote in the command is not closed".into(), "close it, or write the command as a list");
        };
        Some(words)
    }

    fn command_map(&mut self, field: Field<'_>, map: &Map<'_>) -> Option<(Command, Env)> {
        self.check_keys(map, &keys::COMMAND_KEYS);
        let (mut command, mut env) = (Command::default(), Env::new());
        match map.get("path") {
            Some(field) => self.set(Some(field), &mut command.path, Self::program),
            None => self
                .required(map, "path", field.at(), "the command has no `path`".into(), "add a line like `path: /bin/sh`")
                .unwrap_or_default(),
        }
        self.set(map.get("args"), &mut command.args, Self::arguments);
        self.set(map.get("workdir"), &mut command.workdir, |reader, field| reader.folder(field).map(Some));
        self.set(map.get("env"), &mut env, |reader, field| Some(reader.env(field)));
        Some((command, env))
    }

    fn program(&mut self, field: Field<'_>) -> Option<String> {
        let path = self.text(field, "text")?;
        self.valid(field.node.at, spec::check_program(path))?;
        Some(path.to_owned())
    }

    fn arguments(&mut self, field: Field<'_>) -> Option<Vec<String>> {
        if field.node.value.is_null() {
            return Some(Vec::new());
        }
        let Some(nodes) = field.node.value.as_list() else {
            self.wrong_type(field, "a list").hint = Some("write it in brackets: `[one, two]`".into());
            return None;
        };
        let mut arguments = Some(Vec::new());
        for node in nodes {
            match (self.argument(node), &mut arguments) {
                (Some(argument), Some(arguments)) => arguments.push(argument),
                _ => arguments = None,
            }
        }
        arguments
    }

    fn argument(&mut self, node: &Node) -> Option<String> {
        let Some(argument) = node.value.as_text() else {
            let message = format!("an argument must be text, found {}", describe(&node.value));
            self.complain(node.at, message).hint = Some("put it in quotes".into());
            return None;
        };
        self.valid(node.at, spec::check_argument(argument))?;
        Some(argument.to_owned())
    }

    pub(super) fn folder(&mut self, field: Field<'_>) -> Option<String> {
        let folder = self.text(field, "text")?;
        self.valid(field.node.at, spec::check_folder(folder))?;
        Some(folder.to_owned())
    }

    fn attributes(&mut self, map: &Map<'_>, called: &str, attributes: &mut Attributes) {
        self.set(map.get("user"), &mut attributes.user, |reader, field| reader.user(field).map(|user| Some(Box::new(user))));
        self.set(map.get("umask"), &mut attributes.umask, |reader, field| reader.umask(field).map(Some));
        self.set(map.get("nice"), &mut attributes.nice, |reader, field| reader.integer(field, -20, 19).map(Some));
        self.set(map.get("oom_score_adj"), &mut attributes.oom_score_adj, |reader, field| reader.integer(field, -1000, 1000).map(Some));
        self.set(map.get("no_new_privs"), &mut attributes.no_new_privs, Self::boolean);
        if let Some(field) = map.get("limits") {
            self.limits(field, called, &mut attributes.limits);
        }
    }

    fn user(&mut self, field: Field<'_>) -> Option<User> {
        let text = match field.node.value.as_int() {
            Some(number) => number.to_string(),
            None => self.text(field, "a user")?.to_owned(),
        };
        self.valid(field.node.at, User::parse(&text))
    }

    fn umask(&mut self, field: Field<'_>) -> Option<u16> {
        let umask = field.node.value.as_text().and_then(read_umask);
        if umask.is_none() {
            let complaint = self.wrong_type(field, "octal digits as text, up to `777`");
            complaint.hint = Some("write it in quotes, like `\"022\"`".into());
        }
        umask
    }

    fn limits(&mut self, field: Field<'_>, called: &str, limits: &mut BTreeMap<Resource, Limit>) {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map").hint = Some("write `limits: {nofile: 65536, core: 0}`".into());
            return;
        };
        let map = Map { place: format!(" in `limits` of {called}"), prefix: "limits.", entries };
        self.check_keys(&map, &keys::LIMITS_KEYS);
        for resource in Resource::ALL {
            let limit = map.get(resource.name()).and_then(|field| self.limit(field, resource.unit()));
            limits.extend(limit.map(|limit| (resource, limit)));
        }
    }

    /// A size that a program could live with.
    fn some_memory(&mut self, field: Field<'_>) -> Option<u64> {
        let bytes = self.size(field)?;
        if bytes >= LEAST_MEMORY {
            return Some(bytes);
        }
        let message = format!("`max_memory` must be at least {}, found {}", write_size(LEAST_MEMORY), write_size(bytes));
        self.complain(field.node.at, message).hint =
            Some("a program uses more than that as soon as it starts; leave it out for no limit".into());
        None
    }

    fn exit_codes(&mut self, field: Field<'_>) -> Option<Vec<i32>> {
        let Some(nodes) = field.node.value.as_list() else {
            self.wrong_type(field, "a list of numbers").hint = Some("write it in brackets: `[0, 143]`".into());
            return None;
        };
        let mut codes = vec![0];
        for node in nodes {
            match node.value.as_int().filter(|code| (0..=255).contains(code)) {
                Some(code) => codes.extend(i32::try_from(code)),
                None => drop(self.complain(node.at, format!("an exit code is a number from 0 to 255, found {}", describe(&node.value)))),
            }
        }
        codes.sort_unstable();
        codes.dedup();
        Some(codes)
    }

    fn restart(&mut self, field: Field<'_>, called: &str, policy: &mut RestartPolicy) {
        let Value::Map(entries) = &field.node.value else {
            return self.set(Some(field), &mut policy.when, Self::restart_when);
        };
        let map = Map { place: format!(" in `restart` of {called}"), prefix: "restart.", entries };
        self.check_keys(&map, &keys::RESTART_KEYS);
        self.set(map.get("policy"), &mut policy.when, Self::restart_when);
        self.set(map.get("interval"), &mut policy.interval, Self::duration);
        self.set(map.get("max_interval"), &mut policy.max_interval, Self::duration);
        self.set(map.get("jitter"), &mut policy.jitter_percent, Self::percent);
        self.set(map.get("max_retries"), &mut policy.max_retries, |reader, field| reader.whole(field, 0, u32::MAX));
        self.set(map.get("reset_after"), &mut policy.reset_after, Self::duration);
    }

    fn restart_when(&mut self, field: Field<'_>) -> Option<RestartWhen> {
        let word = if let Value::Bool(word) = field.node.value {
            word.to_string() // meant as a word: `restart: false`
        } else {
            self.text(field, "`never`, `on-failure` or `always`")?.to_owned()
        };
        self.valid(field.node.at, spec::restart_when(&word))
    }

    fn stop(&mut self, field: Field<'_>, called: &str, service: &mut ServiceSpec) {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map").hint = Some("write `stop: {signal: TERM, timeout: 5s}`".into());
            return;
        };
        let map = Map { place: format!(" in `stop` of {called}"), prefix: "stop.", entries };
        self.check_keys(&map, &keys::STOP_KEYS);
        let policy = &mut service.stop;
        self.set(map.get("signal"), &mut policy.signal, Self::signal);
        self.set(map.get("timeout"), &mut policy.timeout, Self::duration);
        self.set(map.get("group"), &mut policy.reach, |reader, field| {
            reader.boolean(field).map(|group| if group { Reach::Group } else { Reach::Leader })
        });
        self.set(map.get("command"), &mut service.stop_command, |reader, field| {
            reader.program_of(field).map(|program| Some(Box::new(program)))
        });
    }

    fn hooks(&mut self, field: Field<'_>, called: &str, hooks: &mut BTreeMap<Hook, HookSpec>) {
        let Value::Map(entries) = &field.node.value else {
            self.wrong_type(field, "a map").hint = Some("write `hooks: {pre_start: ./prepare}`".into());
            return;
        };
        let map = Map { place: format!(" in `hooks` of {called}"), prefix: "hooks.", entries };
        self.check_keys(&map, &keys::HOOKS_KEYS);
        for hook in Hook::ALL.into_iter().filter(|hook| hook.is_key()) {
            let spec = map.get(hook.name()).and_then(|field| self.hook(field, hook, called));
            hooks.extend(spec.map(|spec| (hook, spec)));
        }
    }

    /// A program that may take so long.
    pub(super) fn hook(&mut self, field: Field<'_>, hook: Hook, called: &str) -> Option<HookSpec> {
        let Value::Map(entries) = &field.node.value else {
            return Some(HookSpec { program: self.program_of(field)?, timeout: hook::TIMEOUT });
        };
        let place = if hook.is_key() { format!("hooks.{}", hook.name()) } else { "watch.action.exec".to_owned() };
        let map = Map { place: format!(" in `{place}` of {called}"), prefix: "", entries };
        self.check_keys(&map, &keys::HOOK_KEYS);
        let mut timeout = hook::TIMEOUT;
        self.set(map.get("timeout"), &mut timeout, Self::duration);
        let program = match map.get("command") {
            Some(field) => self.program_of(field),
            None => {
                let message = format!("the hook `{}` has no `command`", hook.name());
                self.required(&map, "command", field.at(), message, "add `command: ./program`")
            }
        };
        Some(HookSpec { program: program?, timeout })
    }

    fn program_of(&mut self, field: Field<'_>) -> Option<Program> {
        let words = self.words(field)?;
        self.valid(field.node.at, Program::from_words(words))
    }

    pub(super) fn signal(&mut self, field: Field<'_>) -> Option<Signal> {
        let name = match field.node.value.as_int() {
            Some(number) => number.to_string(),
            None => self.text(field, "a signal")?.to_owned(),
        };
        self.signal_named(field.node.at, &name)
    }

    pub(super) fn signal_named(&mut self, at: At, name: &str) -> Option<Signal> {
        let hint = "write a name like `TERM`, or a number from 1 to 64";
        self.valid(at, name.parse().map_err(|_| InvalidSpec::new(format!("`{}` is not a signal", shown(name))).hint(hint)))
    }

    fn schedule(&mut self, field: Field<'_>, called: &str) -> Option<Schedule> {
        let Value::Map(entries) = &field.node.value else { return self.cron(field, None) };
        let map = Map { place: format!(" in `schedule` of {called}"), prefix: "schedule.", entries };
        self.check_keys(&map, &keys::SCHEDULE_KEYS);
        let mut zone = None;
        self.set(map.get("timezone"), &mut zone, |reader, field| reader.timezone(field).map(Some));
        let Some(cron) = map.get("cron") else {
            return self.required(&map, "cron", field.at(), "the schedule has no `cron`".into(), "add a line like `cron: \"0 3 * * *\"`");
        };
        let options = self.schedule_options(&map);
        Some(self.crons(cron)?.in_zone(zone).with(options))
    }

    fn schedule_options(&mut self, map: &Map<'_>) -> Options {
        let mut options = Options::default();
        self.set(map.get("overlap"), &mut options.overlap, |reader, field| {
            reader.word(field, &[Overlap::Restart, Overlap::Skip, Overlap::Queue], Overlap::name)
        });
        self.set(map.get("missed"), &mut options.missed, |reader, field| {
            reader.word(field, &[Missed::Auto, Missed::Skip, Missed::Once], Missed::name)
        });
        self.set(map.get("retry"), &mut options.retry, |reader, field| reader.word(field, &[Retry::Policy, Retry::Never], Retry::name));
        self.set(map.get("deadline"), &mut options.deadline, |reader, field| match field.node.value {
            Value::Bool(false) => Some(None),
            Value::Text(ref word) if word == "off" => Some(None),
            Value::Null | Value::Bool(true) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                reader.duration(field).map(Some)
            }
        });
        self.set(map.get("jitter"), &mut options.jitter, Self::duration);
        self.set(map.get("timeout"), &mut options.timeout, |reader, field| {
            reader.duration(field).map(|timeout| (!timeout.is_zero()).then_some(timeout))
        });
        self.set(map.get("on_start"), &mut options.on_start, Self::boolean);
        self.set(map.get("history"), &mut options.history, |reader, field| {
            reader.whole(field, 0, runs::MOST).and_then(|runs| usize::try_from(runs).ok())
        });
        options
    }

    /// One expression, or a list of them; all that are wrong are told.
    fn crons(&mut self, cron: Field<'_>) -> Option<Schedule> {
        let Some(nodes) = cron.node.value.as_list() else { return self.cron(cron, None) };
        if nodes.is_empty() {
            return self.missing(cron.at(), "the schedule is empty".into(), "write one like `\"0 3 * * *\"`");
        }
        let (mut schedule, mut wrong) = (None, false);
        for node in nodes {
            match self.cron(Field { node, ..cron }, schedule.clone()) {
                Some(whole) => schedule = Some(whole),
                None => wrong = true,
            }
        }
        schedule.filter(|_| !wrong)
    }

    /// One more expression of a schedule, or its first.
    fn cron(&mut self, field: Field<'_>, schedule: Option<Schedule>) -> Option<Schedule> {
        let text = self.text(field, "text like `\"0 3 * * *\"`")?;
        let whole = match schedule {
            Some(schedule) => schedule.and(text),
            None => Schedule::parse(text),
        };
        match whole {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                let part = Some(error.at.clone());
                let InvalidSpec { message, hint } = error.into();
                let complaint = self.complain(field.node.at, message);
                (complaint.hint, complaint.part) = (hint, part);
                None
            }
        }
    }

    fn timezone(&mut self, field: Field<'_>) -> Option<TimeZone> {
        let name = self.text(field, "the name of a time zone")?;
        self.valid(field.node.at, zone::named(name))
    }
}
