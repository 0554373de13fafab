//! A compose.yaml: one project, each service from the same image.

use std::collections::{BTreeMap, BTreeSet};

use ppm_core::config::quoted;
use ppm_core::dependencies::Condition;
use ppm_core::hook::Hook;
use ppm_core::probe::Check;
use ppm_core::spec::RestartWhen;
use ppm_core::target::Kind;
use ppm_protocol::Signal;

use super::hints::{Port, source_of};
use super::{Object, Role, Unit, Work, map, seconds, text};
use crate::yaml::{Value, entry};

const SECRETS: &str = "make it a secret of Compose";

/// The one file.
pub fn write(work: &mut Work<'_>) -> Vec<Object> {
    let units = work.units.clone();
    let services = units.iter().map(|unit| (unit.name.to_owned(), escaped(&service(work, *unit)))).collect();
    remark_shared_ports(work, &units);
    let mut out = String::new();
    entry(&mut out, "", "services", &Value::Map(services));
    let named: BTreeSet<&str> = units.iter().flat_map(|unit| &unit.hints.volumes).filter_map(|volume| named(volume)).collect();
    if !named.is_empty() {
        let none = || Value::Map(Vec::new());
        entry(&mut out, "", "volumes", &Value::Map(named.into_iter().map(|name| (name.to_owned(), none())).collect()));
    }
    vec![Object { file: "compose.yaml".to_owned(), text: out }]
}

/// The name of a volume, where it is neither a folder of the machine nor in a variable of Compose.
fn named(volume: &str) -> Option<&str> {
    let (source, target) = source_of(volume);
    target?;
    let is_name = !source.starts_with('.') && source.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    is_name.then_some(source)
}

/// A port of the machine can be that of one alone.
fn remark_shared_ports(work: &mut Work<'_>, units: &[Unit<'_>]) {
    let mut known = BTreeMap::new();
    for (unit, port) in units.iter().flat_map(|unit| unit.hints.ports.iter().map(move |port| (unit, port))) {
        if let Some(other) = known.insert(port.published, unit.name) {
            let message = format!("{} is that of {other} already: only one of them can have it at a time", port.published);
            work.remark(Some(unit.name), port.key, message);
        }
    }
}

fn service(work: &mut Work<'_>, unit: Unit<'_>) -> Value {
    let spec = unit.spec;
    let attributes = &spec.command.attributes;
    let mut keys: Vec<(&str, Value)> = vec![("image", image(work, unit)), ("entrypoint", Value::texts(unit.words()))];
    if let Some(folder) = spec.command.workdir.as_deref().and_then(|folder| work.plain(unit, "workdir", folder)) {
        keys.push(("working_dir", text(folder)));
    }
    let common = &spec.command.surroundings.common;
    let mut variables = work.variables(None, &common.env, SECRETS);
    variables.extend(work.variables(Some(unit.name), &spec.command.env, SECRETS));
    let files: Vec<&str> = common.files.iter().chain(&spec.command.surroundings.files).map(String::as_str).collect();
    if !files.is_empty() {
        keys.push(("env_file", Value::texts(files)));
    }
    if !variables.is_empty() {
        let last: BTreeMap<String, String> = variables.into_iter().collect();
        keys.push(("environment", Value::Map(last.into_iter().map(|(name, value)| (name, text(value))).collect())));
    }
    if let Some(user) = &attributes.user {
        keys.push(("user", text(user.to_string())));
    }
    keys.extend(outside(work, unit));
    keys.push(("restart", restart(unit)));
    if spec.stop.signal != Signal::TERM {
        keys.push(("stop_signal", text(spec.stop.signal.to_string())));
    }
    keys.push(("stop_grace_period", Value::word(format!("{}s", seconds(spec.stop.timeout)))));
    let needs = needs(work, unit);
    if !needs.is_empty() {
        keys.push(("depends_on", Value::Map(needs)));
    }
    if let Some(check) = healthcheck(work, unit) {
        keys.push(("healthcheck", check));
    }
    if unit.replicas != 1 {
        keys.push(("deploy", map([("replicas", Value::word(unit.replicas))])));
    }
    if let Some(bytes) = spec.max_memory {
        keys.push(("mem_limit", Value::word(bytes)));
        work.remark(Some(unit.name), "max_memory", "the kernel kills it there, where it was restarted in order before");
    }
    if !attributes.limits.is_empty() {
        let number = |value: Option<u64>| value.map_or(Value::word(-1), Value::word);
        let limit = |(resource, limit): (&ppm_core::attributes::Resource, &ppm_core::attributes::Limit)| {
            (resource.name().to_owned(), map([("soft", number(limit.soft)), ("hard", number(limit.hard))]))
        };
        keys.push(("ulimits", Value::Map(attributes.limits.iter().map(limit).collect())));
    }
    if let Some(score) = attributes.oom_score_adj {
        keys.push(("oom_score_adj", Value::word(score)));
    }
    if attributes.no_new_privs {
        keys.push(("security_opt", Value::texts(["no-new-privileges:true"])));
    }
    let profile = match (unit.role(), spec.autostart) {
        (Role::Planned, _) => Some("scheduled"),
        (Role::Server | Role::Task, false) => Some("manual"),
        (Role::Server | Role::Task, true) => None,
    };
    keys.extend(profile.map(|profile| ("profiles", Value::texts([profile]))));
    if spec.hooks.contains_key(&Hook::PreStart) {
        work.remark(Some(unit.name), "hooks.pre_start", "make it a service that this one waits for");
    }
    map(keys)
}

/// How others reach it, and what lasts longer than it.
fn outside(work: &mut Work<'_>, unit: Unit<'_>) -> Vec<(&'static str, Value)> {
    let (hints, mut keys) = (unit.hints, Vec::new());
    if !hints.ports.is_empty() {
        let port = |port: &Port| map([("target", Value::word(port.own)), ("published", text(port.published.to_string()))]);
        keys.push(("ports", Value::List(hints.ports.iter().map(port).collect())));
        if unit.replicas > 1 {
            let message = "one of them alone can have a port of the machine: put a proxy before them, and `expose` theirs";
            work.remark(Some(unit.name), "x-export.ports", message);
        }
        if unit.role() == Role::Planned {
            work.remark(Some(unit.name), "x-export.ports", "`docker compose run` publishes them with --service-ports");
        }
    }
    if !hints.expose.is_empty() {
        keys.push(("expose", Value::texts(hints.expose.iter().map(|port| port.own.to_string()))));
    }
    if !hints.volumes.is_empty() {
        for volume in &hints.volumes {
            let (source, target) = source_of(volume);
            if target.is_some() && source.contains('$') && !source.starts_with(['/', '.', '~']) {
                work.remark(Some(unit.name), "x-export.volumes", format!("if {source} comes to a name, declare it below `volumes`"));
            }
        }
        // Compose's own words, variables with them: nothing is escaped.
        keys.push(("volumes", Value::List(hints.volumes.iter().map(|volume| Value::word(quoted(volume))).collect())));
    }
    keys
}

/// What the service says is in Compose's own words, variables with them.
fn image(work: &Work<'_>, unit: Unit<'_>) -> Value {
    unit.hints.image.as_ref().map_or_else(|| text(work.image_of(unit)), |image| Value::word(quoted(image)))
}

fn restart(unit: Unit<'_>) -> Value {
    let policy = &unit.spec.restart;
    match (unit.role(), policy.when) {
        (Role::Planned, _) | (_, RestartWhen::Never) => text("no"),
        (_, RestartWhen::Always) => text("always"),
        (_, RestartWhen::OnFailure) if policy.max_retries > 0 => text(format!("on-failure:{}", policy.max_retries)),
        (_, RestartWhen::OnFailure) => text("on-failure"),
    }
}

fn needs(work: &mut Work<'_>, unit: Unit<'_>) -> Vec<(String, Value)> {
    let mut needs = Vec::new();
    for need in &unit.spec.depends_on {
        let is_asked = work.unit(&need.service).is_some_and(|other| test_of(other).is_some());
        let condition = match need.condition {
            Condition::Finished => "service_completed_successfully",
            Condition::Ready if is_asked => "service_healthy",
            Condition::Ready => {
                let message = format!("nothing can be asked whether {} is ready: it is waited for its start only", need.service);
                work.remark(Some(unit.name), "depends_on", message);
                "service_started"
            }
            Condition::Started => "service_started",
        };
        needs.push((need.service.clone(), map([("condition", text(condition))])));
    }
    needs
}

/// What is executed in the container to ask.
fn test_of(unit: Unit<'_>) -> Option<Vec<String>> {
    let ready = unit.spec.ready.as_ref().map(|ready| &ready.check);
    let check = unit.spec.health.as_ref().map(|health| &health.check).or(ready)?;
    let probe = |target: String| Some(vec!["CMD".to_owned(), "ppm".to_owned(), "probe".to_owned(), target]);
    match check {
        Check::Http(page) => probe(page.url.to_string()),
        Check::Tcp(target) => match target.kind() {
            Kind::Tcp { host, port } => probe(format!("tcp://{host}:{port}")),
            Kind::Unix(path) => probe(format!("unix:{path}")),
            Kind::Http { .. } => probe(target.to_string()),
        },
        Check::Listen(port) => probe(format!("tcp://127.0.0.1:{port}")),
        Check::Command(words) => Some(std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()),
        Check::File(_) | Check::Log(_) | Check::Notify(_) => None,
    }
}

fn healthcheck(work: &mut Work<'_>, unit: Unit<'_>) -> Option<Value> {
    let (ready, health) = (unit.spec.ready.as_deref(), unit.spec.health.as_deref());
    let key = if health.is_some() { "health" } else { "ready" };
    if health.is_some() && ready.is_some() {
        work.remark(Some(unit.name), "ready", "Compose has one healthcheck: it is made of `health`");
    }
    if health.is_some() {
        work.remark(Some(unit.name), "health", "a container that is not healthy is told of and not restarted");
    }
    let Some(test) = test_of(unit) else {
        if health.is_some() || ready.is_some() {
            work.remark(Some(unit.name), key, "nothing can be executed that asks this: write a command that does");
        }
        return None;
    };
    if test.get(1).is_some_and(|program| program == "ppm") {
        work.remark(Some(unit.name), key, "`ppm probe` asks: the image must have ppm in it");
    }
    let whole = |duration| Value::word(format!("{}s", seconds(duration)));
    let (interval, timeout, retries, start) = match (health, ready) {
        (Some(health), _) => (whole(health.interval), whole(health.timeout), health.retries, whole(health.start_period)),
        (None, Some(ready)) => (whole(ready.interval), Value::word("2s"), 3, whole(ready.start_period)),
        (None, None) => return None,
    };
    Some(map([
        ("test", Value::texts(test)),
        ("interval", interval),
        ("timeout", timeout),
        ("retries", Value::word(retries)),
        ("start_period", start),
    ]))
}

/// Compose would take in variables of its own for `$`.
fn escaped(value: &Value) -> Value {
    match value {
        Value::Word(word) => Value::Word(word.clone()),
        Value::Text(text) => Value::Text(text.replace('$', "$$")),
        Value::List(items) => Value::List(items.iter().map(escaped).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(|(key, value)| (key.clone(), escaped(value))).collect()),
    }
}
