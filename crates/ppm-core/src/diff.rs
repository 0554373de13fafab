//! What differs between two versions of a service, in words, and how much it matters.
//!
//! Values of environment variables may be secret: they are compared, never told. Every field of a service is named
//! here, so that a new one cannot be forgotten.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_protocol::ReloadAction;

use crate::attributes::{Attributes, Resource, write_umask};
use crate::config::{write_duration, write_size};
use crate::dependencies::Need;
use crate::environment::{EnvValue, Surroundings};
use crate::hook::{Hook, HookSpec};
use crate::logging::{LogKeys, Logger};
use crate::probe::{Check, Health, Readiness};
use crate::schedule::{Options, Schedule};
use crate::spec::{Command, Reach, RestartPolicy, RestartWhen, ServiceSpec, Settings, StopPolicy};
use crate::zone;

/// The differences found so far.
#[derive(Debug, Default)]
struct Changes {
    words: Vec<String>,
    of_process: bool,
    of_schedule: bool,
}

/// What it takes to get from the old service to the new one, and what has changed.
///
/// What is executed is renewed by a restart. A service with a schedule is not restarted for it: its next run is soon
/// enough. Whether output is captured is decided at a start, all else about it can change at any time. `loggers` are
/// the old and the new keys for all services.
pub fn services(old: &ServiceSpec, new: &ServiceSpec, loggers: (Option<&LogKeys>, Option<&LogKeys>)) -> (ReloadAction, Vec<String>) {
    let mut changes = Changes::default();
    let ServiceSpec {
        name: _,
        id,
        command,
        autostart,
        restart,
        success_exit_codes,
        stop,
        stop_command,
        hooks,
        schedule,
        watch,
        ready,
        health,
        log,
        essential,
        max_memory,
        depends_on,
        on_dependency_restart,
        replica_of: _,
        groups,
        source: _,
    } = old;
    changes.command(command, &new.command);
    changes.schedule(schedule.as_deref(), new.schedule.as_deref());
    if *watch != new.watch {
        changes.words.push("watch".to_owned());
    }
    changes.restart(restart, &new.restart);
    changes.stop(*stop, new.stop);
    changes.compare("stop.command", or_none(stop_command.as_ref()), or_none(new.stop_command.as_ref()));
    changes.hooks(hooks, &new.hooks);
    changes.compare("autostart", autostart, &new.autostart);
    changes.compare("success_exit_codes", format!("{success_exit_codes:?}"), format!("{:?}", new.success_exit_codes));
    changes.logger(log.logger(loggers.0), new.log.logger(loggers.1));
    changes.ready(ready.as_deref(), new.ready.as_deref());
    changes.health(health.as_deref(), new.health.as_deref());
    changes.of_process |= old.voice() != new.voice(); // it is told at its start
    changes.compare("essential", essential, &new.essential);
    changes.compare("max_memory", or_none(max_memory.map(write_size)), or_none(new.max_memory.map(write_size)));
    changes.compare("depends_on", needs_in_words(depends_on), needs_in_words(&new.depends_on));
    changes.compare("on_dependency_restart", on_dependency_restart.name(), new.on_dependency_restart.name());
    changes.compare("groups", groups.join(" "), new.groups.join(" "));
    if new.id.is_some() && *id != new.id {
        let number = |id: Option<u32>| id.map_or(String::new(), |id| id.to_string());
        changes.words.push(format!("id: {} -> {} (when the daemon starts again)", number(*id), number(new.id)));
    }
    let action = match (changes.of_process, changes.of_schedule, changes.words.is_empty()) {
        (true, _, _) if new.schedule.is_none() => ReloadAction::Restart,
        (_, true, _) => ReloadAction::Reschedule,
        (_, false, false) => ReloadAction::Update,
        (_, false, true) => ReloadAction::Keep,
    };
    (action, changes.words)
}

/// The settings that differ, in words.
pub fn settings(old: &Settings, new: &Settings) -> Vec<String> {
    let mut changes = Changes::default();
    let Settings {
        stats_interval,
        restart_interval,
        watch_restart_interval,
        clock_check_interval,
        shutdown_timeout,
        ref timezone,
        ref state_dir,
        ref surroundings,
        ref logger,
        ref http,
    } = *old;
    changes.compare("stats_interval", write_duration(stats_interval), write_duration(new.stats_interval));
    changes.compare("restart_interval", write_duration(restart_interval), write_duration(new.restart_interval));
    changes.compare("watch_restart_interval", write_duration(watch_restart_interval), write_duration(new.watch_restart_interval));
    changes.compare("clock_check_interval", write_duration(clock_check_interval), write_duration(new.clock_check_interval));
    changes.compare("shutdown_timeout", write_duration(shutdown_timeout), write_duration(new.shutdown_timeout));
    changes.compare("timezone", zone_in_words(timezone.as_ref()), zone_in_words(new.timezone.as_ref()));
    changes.compare("state_dir (when the daemon starts again)", or_none(state_dir.as_ref()), or_none(new.state_dir.as_ref()));
    changes.compare("env_file", surroundings.common.files.join(" "), new.surroundings.common.files.join(" "));
    changes.environment(&surroundings.common.env, &new.surroundings.common.env);
    if *logger != new.logger {
        changes.words.push("logger".to_owned());
    }
    changes.compare("http", or_none(http.as_ref()), or_none(new.http.as_ref()));
    changes.words
}

impl Changes {
    fn compare<T: PartialEq + Display>(&mut self, key: &str, old: T, new: T) -> bool {
        if old == new {
            return false;
        }
        self.words.push(format!("{key}: {old} -> {new}"));
        true
    }

    fn command(&mut self, old: &Command, new: &Command) {
        let Command { path, args, workdir, env, surroundings, attributes, replica } = old;
        let before = self.words.len();
        let line = |path: &String, args: &[String]| shell_words::join(std::iter::once(path).chain(args));
        self.compare("command", line(path, args), line(&new.path, &new.args));
        self.compare("workdir", or_none(workdir.as_ref()), or_none(new.workdir.as_ref()));
        self.environment(env, &new.env);
        self.surroundings(surroundings, &new.surroundings);
        self.attributes(attributes, &new.attributes);
        self.compare("replica", or_none(*replica), or_none(new.replica));
        self.of_process |= self.words.len() > before;
    }

    fn attributes(&mut self, old: &Attributes, new: &Attributes) {
        let Attributes { user, umask, limits, nice, oom_score_adj, no_new_privs } = old;
        self.compare("user", or_none(user.as_ref()), or_none(new.user.as_ref()));
        self.compare("umask", or_none(umask.map(write_umask)), or_none(new.umask.map(write_umask)));
        self.compare("nice", or_none(*nice), or_none(new.nice));
        self.compare("oom_score_adj", or_none(*oom_score_adj), or_none(new.oom_score_adj));
        self.compare("no_new_privs", no_new_privs.to_string(), new.no_new_privs.to_string());
        for resource in Resource::ALL {
            let (old, new) = (limits.get(&resource), new.limits.get(&resource));
            self.compare(&format!("limits.{}", resource.name()), or_none(old), or_none(new));
        }
    }

    /// What is common to all services is told with the settings.
    fn surroundings(&mut self, old: &Surroundings, new: &Surroundings) {
        let Surroundings { common, files, inherit } = old;
        self.compare("env_file", files.join(" "), new.files.join(" "));
        if *inherit != new.inherit {
            self.words.push("inherit_env".to_owned());
        }
        if *common != new.common {
            self.words.push("env of all services".to_owned());
        }
    }

    fn environment(&mut self, old: &BTreeMap<String, EnvValue>, new: &BTreeMap<String, EnvValue>) {
        let changed = new.iter().filter_map(|(key, value)| match old.get(key) {
            None => Some(format!("env: {key} added")),
            Some(before) if before != value => Some(format!("env: {key} changed")),
            Some(_) => None,
        });
        let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| format!("env: {key} removed"));
        self.words.extend(changed.chain(removed));
    }

    fn schedule(&mut self, old: Option<&Schedule>, new: Option<&Schedule>) {
        let text = |schedule: Option<&Schedule>| schedule.map_or("none".to_owned(), Schedule::text);
        self.of_schedule |= self.compare("schedule", text(old), text(new));
        if let (Some(old), Some(new)) = (old, new) {
            self.of_schedule |= self.compare("schedule.timezone", zone_in_words(old.zone()), zone_in_words(new.zone()));
            self.schedule_options(&old.options, &new.options);
        }
    }

    fn schedule_options(&mut self, old: &Options, new: &Options) {
        let Options { overlap, missed, deadline, jitter, timeout, retry, on_start, history } = *old;
        let limit = |limit: Option<Duration>| limit.map_or("off".to_owned(), write_duration);
        self.of_schedule |= self.compare("schedule.jitter", write_duration(jitter), write_duration(new.jitter));
        self.compare("schedule.overlap", overlap.name(), new.overlap.name());
        self.compare("schedule.missed", missed.name(), new.missed.name());
        self.compare("schedule.deadline", limit(deadline), limit(new.deadline));
        self.compare("schedule.timeout", limit(timeout), limit(new.timeout));
        self.compare("schedule.retry", retry.name(), new.retry.name());
        self.compare("schedule.on_start", on_start, new.on_start);
        self.compare("schedule.history", history, new.history);
    }

    fn restart(&mut self, old: &RestartPolicy, new: &RestartPolicy) {
        let RestartPolicy { when, interval, max_interval, jitter_percent, max_retries, reset_after } = *old;
        self.compare("restart.policy", name_of(when), name_of(new.when));
        self.compare("restart.interval", write_duration(interval), write_duration(new.interval));
        self.compare("restart.max_interval", write_duration(max_interval), write_duration(new.max_interval));
        self.compare("restart.jitter", format!("{jitter_percent}%"), format!("{}%", new.jitter_percent));
        self.compare("restart.max_retries", max_retries, new.max_retries);
        self.compare("restart.reset_after", write_duration(reset_after), write_duration(new.reset_after));
    }

    fn logger(&mut self, old: Option<Logger>, new: Option<Logger>) {
        if old != new {
            let is_captured = |captured| if captured { "captured" } else { "not captured" };
            match (old.is_some(), new.is_some()) {
                (true, true) => self.words.push("log".to_owned()),
                (old, new) => self.of_process |= self.compare("log", is_captured(old), is_captured(new)),
            }
        }
    }

    fn hooks(&mut self, old: &BTreeMap<Hook, HookSpec>, new: &BTreeMap<Hook, HookSpec>) {
        for hook in Hook::ALL {
            let (old, new) = (old.get(&hook), new.get(&hook));
            let key = format!("hooks.{}", hook.name());
            self.compare(&key, or_none(old.map(|hook| &hook.program)), or_none(new.map(|hook| &hook.program)));
            if let (Some(old), Some(new)) = (old, new) {
                self.compare(&format!("{key}.timeout"), write_duration(old.timeout), write_duration(new.timeout));
            }
        }
    }

    fn ready(&mut self, old: Option<&Readiness>, new: Option<&Readiness>) {
        let (Some(old), Some(new)) = (old, new) else {
            self.compare("ready", or_none(old.map(|old| &old.check)), or_none(new.map(|new| &new.check)));
            return;
        };
        let Readiness { check, interval, timeout, start_period } = old;
        let limit = |limit: Option<Duration>| limit.map_or("off".to_owned(), write_duration);
        self.check("ready", check, &new.check);
        self.compare("ready.interval", write_duration(*interval), write_duration(new.interval));
        self.compare("ready.timeout", limit(*timeout), limit(new.timeout));
        self.compare("ready.start_period", write_duration(*start_period), write_duration(new.start_period));
    }

    fn health(&mut self, old: Option<&Health>, new: Option<&Health>) {
        let (Some(old), Some(new)) = (old, new) else {
            self.compare("health", or_none(old.map(|old| &old.check)), or_none(new.map(|new| &new.check)));
            return;
        };
        let Health { check, interval, timeout, retries, start_period } = old;
        self.check("health", check, &new.check);
        self.compare("health.interval", write_duration(*interval), write_duration(new.interval));
        self.compare("health.timeout", write_duration(*timeout), write_duration(new.timeout));
        self.compare("health.retries", retries, &new.retries);
        self.compare("health.start_period", write_duration(*start_period), write_duration(new.start_period));
    }

    /// Named in short; what the short name leaves out may differ too.
    fn check(&mut self, key: &str, old: &Check, new: &Check) {
        if !self.compare(key, old.to_string(), new.to_string()) && old != new {
            self.words.push(format!("{key}: {old} is asked otherwise"));
        }
    }

    fn stop(&mut self, old: StopPolicy, new: StopPolicy) {
        let StopPolicy { signal, timeout, reach } = old;
        self.compare("stop.signal", signal, new.signal);
        self.compare("stop.timeout", write_duration(timeout), write_duration(new.timeout));
        self.compare("stop.group", reach == Reach::Group, new.reach == Reach::Group);
    }
}

fn needs_in_words(needs: &[Need]) -> String {
    let needs: Vec<String> = needs.iter().map(|need| format!("{} {}", need.service, need.condition.name())).collect();
    if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") }
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

fn zone_in_words(zone: Option<&TimeZone>) -> &str {
    zone.map_or("none", zone::name_of)
}

/// The policy's name in the configuration.
pub fn name_of(when: RestartWhen) -> &'static str {
    match when {
        RestartWhen::Never => "never",
        RestartWhen::OnFailure => "on-failure",
        RestartWhen::Always => "always",
    }
}
