//! Manifests: a Deployment for what runs on, a Job for what runs once, a CronJob for what is planned.
//!
//! Who waits for the good end of others has them as init containers; that something else is ready cannot be waited for there, but
//! in one pod ([`super::pod`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ppm_core::dependencies::Condition;
use ppm_core::hook::Hook;
use ppm_core::probe::Check;
use ppm_core::schedule::{Options, Overlap, Retry};
use ppm_core::target::Kind;
use ppm_protocol::Signal;

use super::calendar::{Planned, five_fields, without_zone};
use super::hints::Port;
use super::{Layout, Object, Role, Unit, Work, map, pod, port, seconds, text, words};
use crate::failure::{Code, Failure};
use crate::yaml::{Value, entry};

/// The ConfigMap of what all services share.
const COMMON: &str = "common-env";

/// Between the end of the polite time and SIGKILL of the kubelet, in seconds.
pub const MARGIN: u64 = 2;

/// The version of Kubernetes 1 from which on a container may say by which signal it is asked to end.
const STOP_SIGNAL: u32 = 33;

/// How long a sidecar may take to be ready, where the configuration knows no end of it: those after it wait for that alone.
const PATIENCE: Duration = Duration::from_secs(86_400);

const SECRETS: &str = "make it a Secret, with `valueFrom.secretKeyRef`";

/// What a container is in its pod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It runs on beside others like it.
    Main,
    /// It runs on, and those after it wait until it is ready.
    Sidecar,
    /// It runs once.
    Once,
}

/// A file for each object.
pub fn write(work: &mut Work<'_>) -> Result<Vec<Object>, Failure> {
    check_names(work)?;
    let mut objects = Vec::new();
    let common = work.variables(None, &work.config.settings.surroundings.common.env.clone(), SECRETS);
    work.has_common = !common.is_empty();
    if work.has_common {
        let data = common.into_iter().map(|(name, value)| (name, text(value))).collect();
        objects.push(object("v1", "ConfigMap", COMMON, vec![("data", Value::Map(data))]));
    }
    if work.layout == Layout::Pod {
        objects.extend(pod::write(work)?);
    }
    for unit in work.units.clone() {
        match (work.layout, unit.role()) {
            (_, Role::Planned) => objects.extend(cron_jobs(work, unit)),
            (Layout::Pod, Role::Server | Role::Task) => {}
            (Layout::Split, Role::Server) => {
                objects.push(deployment(work, unit));
                objects.extend(service(work, unit));
            }
            // Those that others wait for run where they are waited for.
            (Layout::Split, Role::Task) if work.is_waited_for(unit) => {}
            (Layout::Split, Role::Task) => objects.push(job(work, unit)),
        }
    }
    Ok(objects)
}

/// A name as DNS has them.
pub fn dns(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(letter).take(52).collect();
    name.trim_matches('-').to_owned()
}

fn check_names(work: &Work<'_>) -> Result<(), Failure> {
    let mut known: BTreeMap<String, &str> = BTreeMap::from([(COMMON.to_owned(), "what all services share")]);
    for unit in work.units.clone() {
        let name = dns(unit.name);
        let other = known.insert(name.clone(), unit.name);
        if name.is_empty() || other.is_some() {
            let message = match other {
                Some(other) => format!("`{}` and `{other}` would have the same name in Kubernetes, `{name}`", unit.name),
                None => format!("nothing is left of `{}` as a name in Kubernetes", unit.name),
            };
            return Err(Failure::new(Code::WrongConfiguration, message).hint("name it with small letters, digits and `-`"));
        }
    }
    Ok(())
}

pub fn object(api: &str, kind: &str, name: &str, rest: Vec<(&str, Value)>) -> Object {
    let mut out = String::new();
    entry(&mut out, "", "apiVersion", &text(api));
    entry(&mut out, "", "kind", &text(kind));
    entry(&mut out, "", "metadata", &map([("name", text(name)), ("labels", labels(name))]));
    for (key, value) in rest {
        entry(&mut out, "", key, &value);
    }
    Object { file: format!("{}-{name}.yaml", kind.to_lowercase()), text: out }
}

pub fn labels(name: &str) -> Value {
    map([("app.kubernetes.io/name", text(name))])
}

fn deployment(work: &mut Work<'_>, unit: Unit<'_>) -> Object {
    let replicas = if unit.is_suspended() { 0 } else { unit.replicas };
    let pod = pod_of(work, unit, "Always");
    deployment_of(&dns(unit.name), replicas, pod)
}

pub fn deployment_of(name: &str, replicas: usize, pod: Value) -> Object {
    let spec =
        map([("replicas", Value::word(replicas)), ("selector", map([("matchLabels", labels(name))])), ("template", template(name, pod))]);
    object("apps/v1", "Deployment", name, vec![("spec", spec)])
}

/// What pods are made of.
fn template(name: &str, pod: Value) -> Value {
    map([("metadata", map([("labels", labels(name))])), ("spec", pod)])
}

/// Where others find it, if it is known where it listens. Only several ports must have names.
fn service(work: &mut Work<'_>, unit: Unit<'_>) -> Option<Object> {
    service_of(work, &dns(unit.name), &[unit], |_, port, is_only| (!is_only).then(|| format!("port-{}", port.published)))
}

/// Where others find these by one name. `named` gives each port its name there; it is told whether the service has no other.
pub fn service_of<'a>(
    work: &mut Work<'_>,
    name: &str,
    units: &[Unit<'a>],
    mut named: impl FnMut(Unit<'a>, Port, bool) -> Option<String>,
) -> Option<Object> {
    let mut known = BTreeMap::new();
    let mut list = Vec::new();
    for unit in units {
        let ports = ports_of(*unit);
        for port in &ports {
            let name = named(*unit, *port, ports.len() == 1);
            if let Some(other) = known.get(&port.published) {
                work.remark(Some(unit.name), port.key, format!("{} is that of {other} already; it was left out", port.published));
                continue;
            }
            known.insert(port.published, unit.name);
            let numbers = [("port", Value::word(port.published)), ("targetPort", Value::word(port.own))];
            list.push(map(name.map(|name| ("name", text(name))).into_iter().chain(numbers)));
        }
    }
    if list.is_empty() {
        return None;
    }
    let spec = map([("selector", labels(name)), ("ports", Value::List(list))]);
    Some(object("v1", "Service", name, vec![("spec", spec)]))
}

/// Where it listens: as it is said, else as it is asked.
pub fn ports_of(unit: Unit<'_>) -> Vec<Port> {
    let said = unit.hints.all_ports();
    if !said.is_empty() {
        return said;
    }
    let (ready, health) = (unit.spec.ready.as_ref(), unit.spec.health.as_ref());
    let asked = ready.and_then(|ready| port(&ready.check)).map(|port| Port::same(port, "ready"));
    let asked = asked.or_else(|| health.and_then(|health| port(&health.check)).map(|port| Port::same(port, "health")));
    asked.into_iter().collect()
}

fn job(work: &mut Work<'_>, unit: Unit<'_>) -> Object {
    let mut spec = job_spec(work, unit);
    if unit.is_suspended() {
        spec.insert(0, ("suspend", Value::word(true)));
    }
    object("batch/v1", "Job", &dns(unit.name), vec![("spec", map(spec))])
}

fn job_spec(work: &mut Work<'_>, unit: Unit<'_>) -> Vec<(&'static str, Value)> {
    let options = unit.spec.schedule.as_ref().map(|schedule| schedule.options);
    let tries = match options {
        Some(options) if options.retry == Retry::Policy => unit.spec.restart.max_retries.max(1),
        Some(_) | None => 0,
    };
    if options.is_some_and(|options| options.retry == Retry::Policy) && unit.spec.restart.max_retries == 0 {
        work.remark(Some(unit.name), "restart", "a run that crashes is repeated once: `backoffLimit` has an end");
    }
    let mut spec = vec![("backoffLimit", Value::word(tries))];
    if unit.replicas > 1 {
        spec.extend([("completions", Value::word(unit.replicas)), ("parallelism", Value::word(unit.replicas))]);
    }
    if let Some(timeout) = options.and_then(|options| options.timeout) {
        spec.push(("activeDeadlineSeconds", Value::word(seconds(timeout))));
    }
    spec.push(("template", template(&dns(unit.name), pod_of(work, unit, "Never"))));
    spec
}

fn cron_jobs(work: &mut Work<'_>, unit: Unit<'_>) -> Vec<Object> {
    let Some(schedule) = &unit.spec.schedule else { return Vec::new() };
    let texts: Vec<&str> = schedule.texts().collect();
    let mut objects = Vec::new();
    let usual = schedule.zone().or(work.config.settings.timezone.as_ref()).and_then(|zone| zone.iana_name());
    for (number, expression) in texts.iter().enumerate() {
        let (expression, zone) = without_zone(expression);
        let when = match five_fields(expression) {
            Planned::As(when) => when,
            Planned::Nearly(when, why) => {
                work.remark(Some(unit.name), "schedule", why);
                when
            }
            Planned::Not(why) => {
                work.remark(Some(unit.name), "schedule", format!("`{expression}` was left out: {why}"));
                continue;
            }
        };
        let options = schedule.options;
        let mut spec = vec![("schedule", text(when))];
        spec.extend(zone.or(usual).map(|zone| ("timeZone", text(zone))));
        let concurrency = match options.overlap {
            Overlap::Restart => "Replace",
            Overlap::Skip => "Forbid",
            Overlap::Queue => {
                work.remark(Some(unit.name), "schedule", "a run that is due while the one before lasts is left out, not queued");
                "Forbid"
            }
        };
        spec.push(("concurrencyPolicy", text(concurrency)));
        if let Some(deadline) = options.deadline {
            spec.push(("startingDeadlineSeconds", Value::word(seconds(deadline).max(10))));
        }
        if options.history != Options::default().history {
            spec.push(("successfulJobsHistoryLimit", Value::word(options.history)));
        }
        if unit.is_suspended() {
            spec.push(("suspend", Value::word(true)));
        }
        if !options.jitter.is_zero() {
            work.remark(Some(unit.name), "schedule.jitter", "there is none");
        }
        if options.on_start {
            work.remark(Some(unit.name), "schedule.on_start", format!("kubectl create job --from=cronjob/{} first", dns(unit.name)));
        }
        let job = map(job_spec(work, unit));
        spec.push(("jobTemplate", map([("spec", job)])));
        let name = if texts.len() > 1 { format!("{}-{}", dns(unit.name), number + 1) } else { dns(unit.name) };
        objects.push(object("batch/v1", "CronJob", &name, vec![("spec", map(spec))]));
    }
    objects
}

fn pod_of(work: &mut Work<'_>, unit: Unit<'_>, restart: &str) -> Value {
    let before = work.before(unit);
    for unit in before.iter().chain([&unit]) {
        for need in unit.spec.depends_on.iter().filter(|need| need.condition != Condition::Finished) {
            let message = format!("nobody waits there: it must try again until {} answers", need.service);
            work.remark(Some(unit.name), "depends_on", message);
        }
    }
    for unit in &before {
        work.remark_replicas(*unit, "it runs once before each that waits for it");
    }
    let mut keys = Vec::new();
    let first: Vec<Value> = before.into_iter().map(|before| container(work, before, Part::Once)).collect();
    let last = container(work, unit, if restart == "Always" { Part::Main } else { Part::Once });
    keys.extend(system_of(work, &[unit]));
    if restart != "Always" {
        keys.push(("restartPolicy", text(restart)));
    }
    keys.push(("terminationGracePeriodSeconds", Value::word(seconds(unit.spec.stop.timeout) + MARGIN)));
    if !first.is_empty() {
        keys.push(("initContainers", Value::List(first)));
    }
    keys.push(("containers", Value::List(vec![last])));
    map(keys)
}

/// What a pod must say before a container of it may have a signal of its own.
pub fn system_of(work: &Work<'_>, units: &[Unit<'_>]) -> Option<(&'static str, Value)> {
    let has_own = |unit: &Unit<'_>| unit.role() == Role::Server && own_signal(*unit).is_some();
    (work.minor >= STOP_SIGNAL && units.iter().any(has_own)).then(|| ("os", map([("name", text("linux"))])))
}

/// By which signal it is asked to end, if that is not the usual one.
fn own_signal(unit: Unit<'_>) -> Option<Signal> {
    Some(unit.spec.stop.signal).filter(|signal| *signal != Signal::TERM)
}

pub fn container(work: &mut Work<'_>, unit: Unit<'_>, part: Part) -> Value {
    let spec = unit.spec;
    let words: Vec<String> = unit.words().map(|word| word.replace("$(", "$$(")).collect();
    let mut keys = vec![("name", text(dns(unit.name)))];
    if part == Part::Sidecar {
        keys.push(("restartPolicy", text("Always")));
    }
    if unit.hints.image.as_ref().is_some_and(|image| image.contains('$')) {
        work.remark(Some(unit.name), "x-export.image", "Kubernetes knows no variables there: write what it comes to");
    }
    keys.extend([("image", text(work.image_of(unit))), ("command", Value::texts(words))]);
    if let Some(folder) = spec.command.workdir.as_deref().and_then(|folder| work.plain(unit, "workdir", folder)) {
        keys.push(("workingDir", text(folder)));
    }
    if work.has_common {
        keys.push(("envFrom", Value::List(vec![map([("configMapRef", map([("name", text(COMMON))]))])])));
    }
    let variables = work.variables(Some(unit.name), &spec.command.env, SECRETS);
    if !variables.is_empty() {
        let one = |(name, value): (String, String)| map([("name", text(name)), ("value", text(value.replace("$(", "$$(")))]);
        keys.push(("env", Value::List(variables.into_iter().map(one).collect())));
    }
    let ports: BTreeSet<u16> = ports_of(unit).into_iter().filter(|_| part != Part::Once).map(|port| port.own).collect();
    if !ports.is_empty() {
        keys.push(("ports", Value::List(ports.into_iter().map(|port| map([("containerPort", Value::word(port))])).collect())));
    }
    if !unit.hints.volumes.is_empty() {
        work.remark(Some(unit.name), "x-export.volumes", "make a claim for each, and say where it is mounted: `volumes`, `volumeMounts`");
    }
    if let Some(bytes) = spec.max_memory {
        keys.push(("resources", map([("limits", map([("memory", text(bytes.to_string()))]))])));
        work.remark(Some(unit.name), "max_memory", "the kernel kills it there, where it was restarted in order before");
    }
    let mut security = Vec::new();
    if let Some((uid, gid)) = work.numbers(unit) {
        security.push(("runAsUser", Value::word(uid)));
        security.extend(gid.map(|gid| ("runAsGroup", Value::word(gid))));
    }
    if spec.command.attributes.no_new_privs {
        security.push(("allowPrivilegeEscalation", Value::word(false)));
    }
    if !security.is_empty() {
        keys.push(("securityContext", map(security)));
    }
    if part != Part::Once {
        keys.extend(probes(work, unit, part));
        keys.extend(lifecycle(work, unit).map(|lifecycle| ("lifecycle", lifecycle)));
    } else {
        remark_what_runs_once(work, unit);
    }
    map(keys)
}

/// What only means something for what runs on.
fn remark_what_runs_once(work: &mut Work<'_>, unit: Unit<'_>) {
    const BY_ITSELF: &str = "what runs once has none there: let the program do it";
    const NOT_FOUND: &str = "nobody finds what runs once by a port there";
    let spec = unit.spec;
    let keys = [
        ("hooks", !spec.hooks.is_empty(), BY_ITSELF),
        ("ready", spec.ready.is_some(), BY_ITSELF),
        ("health", spec.health.is_some(), BY_ITSELF),
        ("x-export.ports", !unit.hints.ports.is_empty(), NOT_FOUND),
        ("x-export.expose", !unit.hints.expose.is_empty(), NOT_FOUND),
        ("stop.command", spec.stop_command.is_some(), "what runs once gets a signal alone there"),
    ];
    for (key, _, message) in keys.into_iter().filter(|(_, is_there, _)| *is_there) {
        work.remark(Some(unit.name), key, message);
    }
}

fn probes(work: &mut Work<'_>, unit: Unit<'_>, part: Part) -> Vec<(&'static str, Value)> {
    let mut keys = Vec::new();
    if let Some(ready) = unit.spec.ready.as_deref()
        && let Some(question) = question(work, unit, "ready", &ready.check)
    {
        let period = seconds(ready.interval).max(1);
        let probe = |failures: u64| {
            let timing = [("periodSeconds", period), ("timeoutSeconds", 2), ("failureThreshold", failures)];
            let timing = timing.into_iter().map(|(key, number)| (key.to_owned(), Value::word(number)));
            Value::Map(std::iter::once(question.clone()).chain(timing).collect())
        };
        let timeout = ready.timeout.filter(|timeout| !timeout.is_zero());
        if let Some(timeout) = timeout.or((part == Part::Sidecar).then_some(PATIENCE)) {
            keys.push(("startupProbe", probe(seconds(timeout).div_ceil(period).max(1))));
        }
        keys.push(("readinessProbe", probe(3)));
    }
    if let Some(health) = unit.spec.health.as_deref()
        && let Some(question) = question(work, unit, "health", &health.check)
    {
        let timing = [
            ("initialDelaySeconds", seconds(health.start_period)),
            ("periodSeconds", seconds(health.interval).max(1)),
            ("timeoutSeconds", seconds(health.timeout).max(1)),
            ("failureThreshold", health.retries.into()),
        ];
        let timing = timing.into_iter().map(|(key, number)| (key.to_owned(), Value::word(number)));
        keys.push(("livenessProbe", Value::Map(std::iter::once(question).chain(timing).collect())));
    }
    keys
}

/// What the kubelet asks.
fn question(work: &mut Work<'_>, unit: Unit<'_>, key: &str, check: &Check) -> Option<(String, Value)> {
    let port = |port: u16| Some(("tcpSocket".to_owned(), map([("port", Value::word(port))])));
    match check {
        Check::Http(page) => {
            if page.status.is_some() || page.body.is_some() {
                work.remark(Some(unit.name), key, "the kubelet takes every status from 200 to 399 and looks at no body");
            }
            match page.url.kind() {
                Kind::Http { port, path, .. } => Some(("httpGet".to_owned(), map([("path", text(path)), ("port", Value::word(port))]))),
                _ => None,
            }
        }
        Check::Tcp(target) => match target.kind() {
            Kind::Tcp { port: number, .. } => port(*number),
            _ => {
                work.remark(Some(unit.name), key, "the kubelet cannot reach a socket by its path: write a command that asks");
                None
            }
        },
        Check::Listen(number) => port(*number),
        Check::Command(words) => Some(("exec".to_owned(), map([("command", Value::texts(words.clone()))]))),
        Check::File(_) | Check::Log(_) | Check::Notify(_) => {
            work.remark(Some(unit.name), key, "the kubelet cannot ask this: write a command that does, or a page");
            None
        }
    }
}

fn lifecycle(work: &mut Work<'_>, unit: Unit<'_>) -> Option<Value> {
    let mut keys = Vec::new();
    let program =
        |program: &ppm_core::hook::Program| map([("exec", map([("command", Value::texts(words(&program.path, &program.args)))]))]);
    let hooks = &unit.spec.hooks;
    let before = unit.spec.stop_command.as_deref().or(hooks.get(&Hook::PreStop).map(|hook| &hook.program));
    keys.extend(hooks.get(&Hook::PostStart).map(|hook| ("postStart", program(&hook.program))));
    keys.extend(before.map(|before| ("preStop", program(before))));
    for hook in hooks.keys().filter(|hook| !matches!(hook, Hook::PostStart | Hook::PreStop)) {
        let instead = if *hook == Hook::PreStart { "make it a service that this one waits for" } else { "there is none" };
        work.remark(Some(unit.name), &format!("hooks.{}", hook.name()), instead);
    }
    match own_signal(unit) {
        Some(signal) if work.minor >= STOP_SIGNAL => keys.push(("stopSignal", text(signal.to_string()))),
        Some(signal) => {
            let message = format!("{signal} is sent from Kubernetes 1.33 on: say --kube-version 1.33; before, SIGTERM is");
            work.remark(Some(unit.name), "stop.signal", message);
        }
        None => {}
    }
    (!keys.is_empty()).then(|| map(keys))
}
