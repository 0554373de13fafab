//! A configuration as YAML: short where values are defaults, and read back as the same.
//!
//! Only what differs from a default is written, and every id, so that a service keeps it. Texts are plain where no
//! reader of YAML could take them for anything else, and in double quotes otherwise.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::value::{write_duration, write_size};
use crate::attributes::{Attributes, Limit, Unit, write_umask};
use crate::dependencies::{Condition, Need, OnDependencyRestart};
use crate::environment::{EnvValue, Inherit};
use crate::hook::{self, Hook, HookSpec, Program};
use crate::logging::{Format, LogChoice, LogKeys};
use crate::probe::{Channel, Check, Health, Page, Readiness};
use crate::schedule::{Options, Schedule};
use crate::spec::{Reach, RestartPolicy, RestartWhen, ServiceSpec, Settings, StopPolicy};
use crate::watch::{OnChange, WatchSpec};
use crate::zone;

/// Words that some reader of YAML takes for a boolean or for nothing.
const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];

/// The configuration as YAML that loads to the same; [`ServiceSpec::source`] is not part of it.
pub fn render<'a>(settings: &Settings, services: impl IntoIterator<Item = &'a ServiceSpec>) -> String {
    let mut out = String::from("# ppm configuration\n");
    let default = Settings::default();
    let durations = [
        ("stats_interval", settings.stats_interval, default.stats_interval),
        ("restart_interval", settings.restart_interval, default.restart_interval),
        ("watch_restart_interval", settings.watch_restart_interval, default.watch_restart_interval),
        ("clock_check_interval", settings.clock_check_interval, default.clock_check_interval),
        ("shutdown_timeout", settings.shutdown_timeout, default.shutdown_timeout),
    ];
    for (key, value, _) in durations.into_iter().filter(|(_, value, default)| value != default) {
        line(&mut out, key, &write_duration(value));
    }
    if let Some(zone) = &settings.timezone {
        line(&mut out, "timezone", &quoted(zone::name_of(zone)));
    }
    if let Some(folder) = &settings.state_dir {
        line(&mut out, "state_dir", &quoted(folder));
    }
    if let Some(files) = env_files(&settings.surroundings.common.files) {
        line(&mut out, "env_file", &files);
    }
    render_env(&mut out, "", &settings.surroundings.common.env);
    if let Some(logger) = &settings.logger {
        line(&mut out, "logger", &log_keys(logger));
    }
    if let Some(http) = &settings.http {
        line(&mut out, "http", &double_quoted(&http.to_string()));
    }
    let mut services = services.into_iter().peekable();
    line(&mut out, "services", if services.peek().is_some() { "" } else { "[]" });
    let services: Vec<&ServiceSpec> = services.collect();
    let mut replicas: BTreeMap<&str, Vec<&ServiceSpec>> = BTreeMap::new();
    for service in &services {
        if let Some(of) = &service.replica_of {
            replicas.entry(of).or_default().push(service);
        }
    }
    for service in services {
        let all = service.replica_of.as_deref().and_then(|of| replicas.get(of)).filter(|all| are_whole(all));
        match all.map(Vec::as_slice) {
            None => render_service(&mut out, service, settings),
            Some(all @ [first, ..]) if first.name == service.name => {
                let (of, count) = (service.written_name().to_owned(), u32::try_from(all.len()).ok());
                let id = service.id.filter(|id| all.iter().zip(*id..).all(|(service, id)| service.id == Some(id)));
                render_service(&mut out, &ServiceSpec { name: of, id, ..service.clone() }, settings);
                line(&mut out, "    replicas", &count.unwrap_or(u32::MAX).to_string());
            }
            Some(_) => {} // it is written with the first
        }
    }
    out
}

/// Whether these are all replicas of a service, in their order, so that they can be written as one.
fn are_whole(replicas: &[&ServiceSpec]) -> bool {
    replicas.iter().zip(1..).all(|(service, number)| service.command.replica == Some(number))
}

fn render_service(out: &mut String, service: &ServiceSpec, settings: &Settings) {
    line(out, "  - name", &quoted(&service.name));
    let mut field = |key: &str, value: &str| line(out, &format!("    {key}"), value);
    if let Some(id) = service.id {
        field("id", &id.to_string());
    }
    let command = &service.command;
    field("command", &list(std::iter::once(&command.path).chain(&command.args)));
    if let Some(workdir) = &command.workdir {
        field("workdir", &quoted(workdir));
    }
    if let Some(files) = env_files(&command.surroundings.files) {
        field("env_file", &files);
    }
    match &command.surroundings.inherit {
        Inherit::All => {}
        Inherit::Only(names) if names.is_empty() => field("inherit_env", "false"),
        Inherit::Only(names) => field("inherit_env", &list(names)),
    }
    render_env(out, "    ", &command.env);
    let mut field = |key: &str, value: &str| line(out, &format!("    {key}"), value);
    for (key, value) in attributes(&command.attributes) {
        field(key, &value);
    }
    if !service.autostart {
        field("autostart", "false");
    }
    if service.essential {
        field("essential", "true");
    }
    if let Some(max_memory) = service.max_memory {
        field("max_memory", &write_size(max_memory));
    }
    if let Some(restart) = restart(service, settings) {
        field("restart", &restart);
    }
    if service.success_exit_codes != [0] {
        let codes: Vec<String> = service.success_exit_codes.iter().map(i32::to_string).collect();
        field("success_exit_codes", &format!("[{}]", codes.join(", ")));
    }
    if let Some(stop) = stop(service.stop, service.stop_command.as_deref()) {
        field("stop", &stop);
    }
    if let Some(hooks) = hooks(&service.hooks) {
        field("hooks", &hooks);
    }
    if let Some(schedule) = &service.schedule {
        field("schedule", &render_schedule(schedule));
    }
    if let Some(watch) = &service.watch {
        field("watch", &render_watch(watch));
    }
    if let Some(ready) = &service.ready {
        field("ready", &render_ready(ready));
    }
    if let Some(health) = &service.health {
        field("health", &render_health(health));
    }
    match &service.log {
        LogChoice::AsLogger => {}
        LogChoice::Inherit => field("log", "false"),
        LogChoice::Own(keys) => field("log", &log_keys(keys)),
    }
    if !service.depends_on.is_empty() {
        field("depends_on", &needs(&service.depends_on));
    }
    if service.on_dependency_restart != OnDependencyRestart::default() {
        field("on_dependency_restart", service.on_dependency_restart.name());
    }
    if !service.groups.is_empty() {
        field("groups", &list(&service.groups));
    }
}

/// A list where that says it all.
fn needs(needs: &[Need]) -> String {
    if needs.iter().all(|need| need.condition == Condition::Started) {
        return list(needs.iter().map(|need| &need.service));
    }
    let needs: Vec<String> = needs.iter().map(|need| format!("{}: {}", quoted(&need.service), need.condition.name())).collect();
    format!("{{{}}}", needs.join(", "))
}

/// The text alone where that says it all.
fn render_schedule(schedule: &Schedule) -> String {
    let texts: Vec<String> = schedule.texts().map(double_quoted).collect();
    let cron = match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let mut entries = vec![format!("cron: {cron}")];
    entries.extend(schedule.zone().map(|zone| format!("timezone: {}", quoted(zone::name_of(zone)))));
    let (options, default) = (&schedule.options, Options::default());
    let mut differ = |key: &str, differs: bool, value: String| entries.extend(differs.then(|| format!("{key}: {value}")));
    differ("overlap", options.overlap != default.overlap, options.overlap.name().to_owned());
    differ("missed", options.missed != default.missed, options.missed.name().to_owned());
    differ("deadline", options.deadline != default.deadline, options.deadline.map(write_duration).unwrap_or_default());
    differ("jitter", options.jitter != default.jitter, write_duration(options.jitter));
    differ("timeout", options.timeout != default.timeout, options.timeout.map(write_duration).unwrap_or_default());
    differ("retry", options.retry != default.retry, options.retry.name().to_owned());
    differ("on_start", options.on_start != default.on_start, options.on_start.to_string());
    differ("history", options.history != default.history, options.history.to_string());
    if texts.len() == 1 && entries.len() == 1 { cron } else { format!("{{{}}}", entries.join(", ")) }
}

/// The paths alone where those say it all.
fn render_watch(watch: &WatchSpec) -> String {
    let default = WatchSpec::new(watch.paths.clone());
    let paths = match watch.paths.as_slice() {
        [one] => quoted(one),
        several => list(several),
    };
    let mut entries = vec![format!("paths: {paths}")];
    for (key, own) in [("include", &watch.include), ("only", &watch.only), ("exclude", &watch.exclude)] {
        let texts: Vec<String> = own.iter().map(|pattern| double_quoted(pattern.text())).collect();
        entries.extend((!texts.is_empty()).then(|| format!("{key}: [{}]", texts.join(", "))));
    }
    let WatchSpec {
        paths: _,
        include: _,
        only: _,
        exclude: _,
        default_excludes,
        gitignore,
        max_depth,
        compare,
        settle,
        poll,
        initial_delay,
        action,
    } = watch;
    let mut differ = |key: &str, differs: bool, value: String| entries.extend(differs.then(|| format!("{key}: {value}")));
    differ("default_excludes", *default_excludes != default.default_excludes, default_excludes.to_string());
    differ("gitignore", *gitignore != default.gitignore, gitignore.to_string());
    differ("max_depth", *max_depth != default.max_depth, max_depth.to_string());
    differ("compare", *compare != default.compare, compare.name().to_owned());
    differ("settle", *settle != default.settle, write_duration(*settle));
    differ("poll", *poll != default.poll, poll.to_string());
    differ("initial_delay", *initial_delay != default.initial_delay, write_duration(*initial_delay));
    differ("action", *action != default.action, render_action(action));
    if entries.len() == 1 { paths } else { format!("{{{}}}", entries.join(", ")) }
}

fn render_action(action: &OnChange) -> String {
    match action {
        OnChange::Restart | OnChange::Signal(_) => action.to_string(),
        OnChange::Exec(spec) => format!("{{exec: {}}}", render_hook(spec)),
    }
}

fn render_ready(ready: &Readiness) -> String {
    let Readiness { check, interval, timeout, start_period } = ready;
    let default = Readiness::new(check.clone());
    let mut entries = vec![render_check(check)];
    let mut differ =
        |key: &str, differs: bool, value: Duration| entries.extend(differs.then(|| format!("{key}: {}", write_duration(value))));
    differ("interval", *interval != default.interval, *interval);
    differ("timeout", *timeout != default.timeout, timeout.unwrap_or_default());
    differ("start_period", *start_period != default.start_period, *start_period);
    format!("{{{}}}", entries.join(", "))
}

fn render_health(health: &Health) -> String {
    let Health { check, interval, timeout, retries, start_period } = health;
    let default = Health::new(check.clone());
    let mut entries = vec![render_check(check)];
    let mut differ = |key: &str, differs: bool, value: String| entries.extend(differs.then(|| format!("{key}: {value}")));
    differ("interval", *interval != default.interval, write_duration(*interval));
    differ("timeout", *timeout != default.timeout, write_duration(*timeout));
    differ("retries", *retries != default.retries, retries.to_string());
    differ("start_period", *start_period != default.start_period, write_duration(*start_period));
    format!("{{{}}}", entries.join(", "))
}

fn render_check(check: &Check) -> String {
    let value = match check {
        Check::Tcp(target) => text_or_number(target.place()),
        Check::Http(Page { url, status: None, body: None }) => double_quoted(&url.to_string()),
        Check::Http(Page { url, status, body }) => {
            let mut entries = vec![format!("url: {}", double_quoted(&url.to_string()))];
            entries.extend(status.map(|status| format!("status: {status}")));
            entries.extend(body.as_ref().map(|body| format!("body: {}", quoted(body))));
            format!("{{{}}}", entries.join(", "))
        }
        Check::Command(words) => list(words),
        Check::File(path) => quoted(path),
        Check::Log(pattern) => quoted(&pattern.to_string()),
        Check::Listen(port) => port.to_string(),
        Check::Notify(Channel::Socket) => "true".to_owned(),
        Check::Notify(Channel::Descriptor(number)) => number.to_string(),
    };
    format!("{}: {value}", check.key())
}

fn render_env(out: &mut String, indent: &str, env: &BTreeMap<String, EnvValue>) {
    if !env.is_empty() {
        line(out, &format!("{indent}env"), "");
    }
    for (name, value) in env {
        let value = match value {
            EnvValue::Text(text) => quoted(text),
            EnvValue::File(path) => format!("{{file: {}}}", quoted(path)),
        };
        line(out, &format!("{indent}  {}", quoted(name)), &value);
    }
}

fn attributes(attributes: &Attributes) -> impl Iterator<Item = (&'static str, String)> {
    let Attributes { user, umask, limits, nice, oom_score_adj, no_new_privs } = attributes;
    let limit = |limit: Limit, unit| match unit {
        Unit::Bytes => limit.written(write_size),
        Unit::Pieces => limit.to_string(),
    };
    let limits: Vec<String> =
        limits.iter().map(|(resource, own)| format!("{}: {}", resource.name(), text_or_number(&limit(*own, resource.unit())))).collect();
    let written = [
        ("user", user.as_ref().map(|user| text_or_number(&user.to_string()))),
        ("umask", umask.map(|umask| double_quoted(&write_umask(umask)))),
        ("limits", (!limits.is_empty()).then(|| format!("{{{}}}", limits.join(", ")))),
        ("nice", nice.map(|nice| nice.to_string())),
        ("oom_score_adj", oom_score_adj.map(|score| score.to_string())),
        ("no_new_privs", no_new_privs.then(|| "true".to_owned())),
    ];
    written.into_iter().filter_map(|(key, value)| Some((key, value?)))
}

/// What may be read as a number where it is one.
fn text_or_number(text: &str) -> String {
    let is_number = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if is_number { text.to_owned() } else { quoted(text) }
}

fn env_files(files: &[String]) -> Option<String> {
    match files {
        [] => None,
        [file] => Some(quoted(file)),
        several => Some(list(several)),
    }
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn restart(service: &ServiceSpec, settings: &Settings) -> Option<String> {
    let policy = &service.restart;
    let absent = if service.essential { RestartWhen::Never } else { RestartWhen::OnFailure };
    let default = RestartPolicy { interval: settings.restart_interval, ..RestartPolicy::default() };
    let when = match policy.when {
        RestartWhen::Never => "never",
        RestartWhen::OnFailure => "on-failure",
        RestartWhen::Always => "always",
    };
    let mut differing = Vec::new();
    let mut differ = |key: &str, differs: bool, value: String| differing.extend(differs.then(|| format!("{key}: {value}")));
    differ("interval", policy.interval != default.interval, write_duration(policy.interval));
    differ("max_interval", policy.max_interval != default.max_interval, write_duration(policy.max_interval));
    differ("jitter", policy.jitter_percent != default.jitter_percent, format!("{}%", policy.jitter_percent));
    differ("max_retries", policy.max_retries != default.max_retries, policy.max_retries.to_string());
    differ("reset_after", policy.reset_after != default.reset_after, write_duration(policy.reset_after));
    match (differing.is_empty(), policy.when == default.when) {
        (true, _) => (policy.when != absent).then(|| when.into()),
        (false, true) => Some(format!("{{{}}}", differing.join(", "))),
        (false, false) => Some(format!("{{policy: {when}, {}}}", differing.join(", "))),
    }
}

/// The keys that are written.
fn log_keys(keys: &LogKeys) -> String {
    let LogKeys { path, max_files, max_file_size, max_total_size, max_age, memory, rate_limit, console, prefix, format, timestamps } = keys;
    let word = |format: &Format| match format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let written = [
        path.as_deref().map(|path| format!("path: {}", quoted(path))),
        max_files.map(|files| format!("max_files: {files}")),
        max_file_size.map(|size| format!("max_file_size: {}", write_size(size))),
        max_total_size.map(|size| format!("max_total_size: {}", write_size(size))),
        max_age.map(|age| format!("max_age: {}", write_duration(age))),
        memory.map(|bytes| format!("memory: {}", write_size(bytes))),
        rate_limit.map(|bytes| if bytes == 0 { "rate_limit: 0".to_owned() } else { format!("rate_limit: {}/s", write_size(bytes)) }),
        console.map(|console| format!("console: {console}")),
        prefix.map(|prefix| format!("prefix: {prefix}")),
        format.as_ref().map(|format| format!("format: {}", word(format))),
        timestamps.map(|timestamps| format!("timestamps: {timestamps}")),
    ];
    let written: Vec<String> = written.into_iter().flatten().collect();
    format!("{{{}}}", written.join(", "))
}

fn hooks(hooks: &BTreeMap<Hook, HookSpec>) -> Option<String> {
    let written: Vec<String> = hooks.iter().map(|(hook, spec)| format!("{}: {}", hook.name(), render_hook(spec))).collect();
    (!written.is_empty()).then(|| format!("{{{}}}", written.join(", ")))
}

fn render_hook(HookSpec { program, timeout }: &HookSpec) -> String {
    match *timeout {
        hook::TIMEOUT => list(program.words()),
        timeout => format!("{{command: {}, timeout: {}}}", list(program.words()), write_duration(timeout)),
    }
}

fn stop(policy: StopPolicy, command: Option<&Program>) -> Option<String> {
    let default = StopPolicy::default();
    let mut differing = Vec::new();
    if policy.signal != default.signal {
        differing.push(format!("signal: {}", policy.signal));
    }
    if policy.timeout != default.timeout {
        differing.push(format!("timeout: {}", write_duration(policy.timeout)));
    }
    if policy.reach != default.reach {
        differing.push(format!("group: {}", policy.reach == Reach::Group));
    }
    differing.extend(command.map(|program| format!("command: {}", list(program.words()))));
    (!differing.is_empty()).then(|| format!("{{{}}}", differing.join(", ")))
}

fn line(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push(':');
    if !value.is_empty() {
        out.push(' ');
        out.push_str(value);
    }
    out.push('\n');
}

/// A text as it stands in a list, in a map, as key or as value.
pub fn quoted(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { double_quoted(text) }
}

/// Whether a text without quotes is that text for every reader, in every place.
fn is_plain(text: &str) -> bool {
    let begins = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || text.starts_with(['/', '_']);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '%' | '+' | '=' | ':');
    begins && !text.ends_with(':') && text.chars().all(allowed) && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A text in double quotes, in one line, whatever is in it.
pub fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        // Writing into a String cannot fail.
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
    out
}
