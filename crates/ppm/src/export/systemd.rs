//! Units: a .service for each service, and a .timer beside it for what is planned.

use std::collections::BTreeSet;
use std::fmt::Write;

use ppm_core::dependencies::Condition;
use ppm_core::hook::{Hook, Program};
use ppm_core::probe::{Channel, Check};
use ppm_core::schedule::{Missed, Overlap};
use ppm_core::spec::{Reach, RestartWhen, ServiceSpec};
use ppm_protocol::Signal;

use super::calendar::{calendar, without_zone};
use super::hints;
use super::{Object, Role, Unit, Work, seconds, words};
use crate::failure::{Code, Failure};

const SECRETS: &str = "use LoadCredential=";

/// A unit in the making.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{gap}[{name}]");
    }

    fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key}={value}");
    }
}

/// All units. Replicas are units of their own.
pub fn write(work: &mut Work<'_>) -> Result<Vec<Object>, Failure> {
    let mut objects: Vec<Object> = Vec::new();
    let mut names = BTreeSet::new();
    for spec in &work.config.services {
        let unit = Unit { name: spec.replica_of.as_deref().unwrap_or(&spec.name), spec, replicas: 1, hints: &hints::NONE };
        let name = name(&spec.name);
        if !names.insert(name.clone()) {
            let message = format!("two services would have the unit `{name}.service`");
            return Err(Failure::new(Code::WrongConfiguration, message).hint("rename one of them"));
        }
        objects.push(Object { file: format!("{name}.service"), text: service(work, unit) });
        if let Some(timer) = timer(work, unit) {
            objects.push(Object { file: format!("{name}.timer"), text: timer });
        }
    }
    Ok(objects)
}

/// As systemd.unit(5) has them: `@` would make a template of it.
fn name(service: &str) -> String {
    service.replace('@', "-")
}

fn service(work: &mut Work<'_>, unit: Unit<'_>) -> String {
    let spec = unit.spec;
    let mut out = Text::default();
    out.section("Unit");
    out.set("Description", escaped(&spec.name));
    for need in &spec.depends_on {
        let ones: Vec<String> = (work.config.services.iter())
            .filter(|other| other.name == need.service || other.replica_of.as_deref() == Some(&need.service))
            .map(|other| format!("{}.service", name(&other.name)))
            .collect();
        out.set(if need.condition == Condition::Finished { "Requires" } else { "Wants" }, ones.join(" "));
        out.set("After", ones.join(" "));
        if need.condition == Condition::Ready && !tells_itself(work, &need.service) {
            let message =
                format!("systemd waits until {} is executed: only with `ready: notify` it waits until that is ready", need.service);
            work.remark(Some(unit.name), "depends_on", message);
        }
    }
    // Retries have no end unless one is said.
    out.set("StartLimitIntervalSec", 0);
    out.section("Service");
    run(work, unit, &mut out);
    ends(work, unit, &mut out);
    attributes(work, unit, &mut out);
    if spec.autostart && spec.schedule.is_none() {
        out.section("Install");
        out.set("WantedBy", "multi-user.target");
    }
    out.0
}

/// Whether it tells systemd when it is ready.
fn tells_itself(work: &Work<'_>, service: &str) -> bool {
    work.config.services.iter().any(|spec| spec.name == service && is_notify(spec))
}

fn is_notify(spec: &ServiceSpec) -> bool {
    spec.ready.as_ref().is_some_and(|ready| ready.check == Check::Notify(Channel::Socket))
}

fn run(work: &mut Work<'_>, unit: Unit<'_>, out: &mut Text) {
    let spec = unit.spec;
    let is_task = unit.role() != Role::Server;
    out.set(
        "Type",
        if is_notify(spec) {
            "notify"
        } else if is_task {
            "oneshot"
        } else {
            "exec"
        },
    );
    if unit.role() == Role::Task && work.is_waited_for(unit) {
        out.set("RemainAfterExit", "yes");
    }
    if spec.ready.is_some() && !is_notify(spec) {
        work.remark(Some(unit.name), "ready", "systemd asks nobody: let the program say it itself (sd_notify(3), Type=notify)");
    }
    match spec.health.as_deref() {
        Some(health) if health.check == Check::Notify(Channel::Socket) => out.set("WatchdogSec", format!("{}s", seconds(health.timeout))),
        Some(_) => work.remark(Some(unit.name), "health", "systemd asks nobody: let the program tell it itself (WatchdogSec=)"),
        None => {}
    }
    let hook = |hook: Hook| spec.hooks.get(&hook).map(|hook| command(&hook.program));
    for (key, which) in [("ExecStartPre", Hook::PreStart), ("ExecStartPost", Hook::PostStart), ("ExecStopPost", Hook::PostStop)] {
        if let Some(command) = hook(which) {
            out.set(key, command);
        }
    }
    for hook in spec.hooks.keys().filter(|hook| !matches!(hook, Hook::PreStart | Hook::PostStart | Hook::PostStop)) {
        let instead = if *hook == Hook::OnCrash { "write OnFailure= with a unit" } else { "there is none" };
        work.remark(Some(unit.name), &format!("hooks.{}", hook.name()), instead);
    }
    if spec.command.path.starts_with('.') {
        work.remark(Some(unit.name), "command", "systemd wants the program with its whole path, or by a name alone");
    }
    let words: Vec<String> = unit.words().map(word).collect();
    out.set("ExecStart", words.join(" "));
    if let Some(stop) = &spec.stop_command {
        out.set("ExecStop", command(stop));
    }
    if let Some(folder) = spec.command.workdir.as_deref().and_then(|folder| work.plain(unit, "workdir", folder)) {
        out.set("WorkingDirectory", escaped(&folder));
    }
    let common = &spec.command.surroundings.common;
    for file in common.files.iter().chain(&spec.command.surroundings.files) {
        if !file.starts_with('/') {
            work.remark(Some(unit.name), "env_file", "systemd wants the file with its whole path");
        }
        out.set("EnvironmentFile", escaped(file));
    }
    let mut variables = work.variables(None, &common.env, SECRETS);
    variables.extend(work.variables(Some(unit.name), &spec.command.env, SECRETS));
    if let Some(number) = spec.command.replica {
        variables.push(("PPM_REPLICA".to_owned(), number.to_string()));
    }
    for (name, value) in variables {
        out.set("Environment", assignment(&format!("{name}={value}")));
    }
}

fn ends(work: &mut Work<'_>, unit: Unit<'_>, out: &mut Text) {
    let spec = unit.spec;
    let policy = &spec.restart;
    let when = match (unit.role(), policy.when) {
        // A planned one is started again by its timer alone, and a oneshot may not be `always`.
        (Role::Planned, _) | (_, RestartWhen::Never) => "no",
        (_, RestartWhen::OnFailure) => "on-failure",
        (_, RestartWhen::Always) => "always",
    };
    out.set("Restart", when);
    if when != "no" {
        out.set("RestartSec", format!("{}ms", policy.interval.as_millis()));
    }
    if policy.max_retries > 0 && when != "no" {
        let message = format!("write StartLimitBurst={} and StartLimitIntervalSec= as long as that takes", policy.max_retries);
        work.remark(Some(unit.name), "restart.max_retries", message);
    }
    let good: Vec<String> = spec.success_exit_codes.iter().filter(|code| **code != 0).map(ToString::to_string).collect();
    if !good.is_empty() {
        out.set("SuccessExitStatus", good.join(" "));
    }
    if spec.stop.signal != Signal::TERM {
        out.set("KillSignal", spec.stop.signal);
    }
    if spec.stop.reach == Reach::Leader {
        out.set("KillMode", "mixed");
    }
    out.set("TimeoutStopSec", format!("{}s", seconds(spec.stop.timeout)));
    if let Some(timeout) = spec.ready.as_ref().and_then(|ready| ready.timeout).filter(|_| is_notify(spec)) {
        out.set("TimeoutStartSec", format!("{}s", seconds(timeout)));
    }
    if let Some(timeout) = spec.schedule.as_ref().and_then(|schedule| schedule.options.timeout) {
        out.set("TimeoutStartSec", format!("{}s", seconds(timeout)));
    }
}

fn attributes(work: &mut Work<'_>, unit: Unit<'_>, out: &mut Text) {
    let attributes = &unit.spec.command.attributes;
    if let Some(user) = &attributes.user {
        out.set("User", &user.user);
        if let Some(group) = &user.group {
            out.set("Group", group);
        }
    }
    if let Some(umask) = attributes.umask {
        out.set("UMask", format!("{umask:04o}"));
    }
    for (resource, limit) in &attributes.limits {
        let number = |value: Option<u64>| value.map_or("infinity".to_owned(), |value| value.to_string());
        out.set(&format!("Limit{}", resource.name().to_uppercase()), format!("{}:{}", number(limit.soft), number(limit.hard)));
    }
    if let Some(nice) = attributes.nice {
        out.set("Nice", nice);
    }
    if let Some(score) = attributes.oom_score_adj {
        out.set("OOMScoreAdjust", score);
    }
    if attributes.no_new_privs {
        out.set("NoNewPrivileges", "yes");
    }
    if let Some(bytes) = unit.spec.max_memory {
        out.set("MemoryMax", bytes);
        work.remark(Some(unit.name), "max_memory", "the kernel kills it there, where it was restarted in order before");
    }
}

fn timer(work: &mut Work<'_>, unit: Unit<'_>) -> Option<String> {
    let schedule = unit.spec.schedule.as_ref()?;
    let mut out = Text::default();
    out.section("Unit");
    out.set("Description", format!("When {} runs", escaped(&unit.spec.name)));
    out.section("Timer");
    let usual = schedule.zone().or(work.config.settings.timezone.as_ref()).and_then(|zone| zone.iana_name());
    let mut is_due = false;
    for expression in schedule.texts() {
        let (expression, zone) = without_zone(expression);
        match calendar(expression, zone.or(usual)) {
            Ok(lines) => {
                is_due = true;
                out.0.extend(lines.into_iter().map(|line| line + "\n"));
            }
            Err(why) => work.remark(Some(unit.name), "schedule", format!("`{expression}` was left out: {why}")),
        }
    }
    if !is_due {
        return None;
    }
    out.set("AccuracySec", "1s");
    let options = schedule.options;
    if options.missed == Missed::Once {
        out.set("Persistent", "yes");
    }
    if !options.jitter.is_zero() {
        out.set("RandomizedDelaySec", format!("{}s", seconds(options.jitter)));
    }
    match options.overlap {
        Overlap::Skip => {}
        Overlap::Restart | Overlap::Queue => {
            work.remark(Some(unit.name), "schedule", "a run that is due while the one before lasts is left out");
        }
    }
    if options.on_start {
        work.remark(Some(unit.name), "schedule.on_start", "write OnActiveSec=0 into the timer");
    }
    if unit.spec.autostart {
        out.section("Install");
        out.set("WantedBy", "timers.target");
    }
    Some(out.0)
}

fn command(program: &Program) -> String {
    let words: Vec<String> = words(&program.path, &program.args).map(word).collect();
    words.join(" ")
}

/// A word of a command line (systemd.service(5), "Command lines"): `%` and `$` would be expanded.
fn word(text: &str) -> String {
    quoted(&text.replace('%', "%%").replace('$', "$$"))
}

/// A whole assignment of Environment= (systemd.exec(5)), in which `$` means itself.
fn assignment(text: &str) -> String {
    quoted(&escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// Quotes and backslashes as in C (systemd.syntax(7)).
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "%$_-./=:,+@".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
