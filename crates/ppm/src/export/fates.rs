//! What becomes of each key of the configuration in each format.
//!
//! The one table of it. A test holds it against the table of keys, so that a new key must say what becomes of it.

use super::Format;

/// What becomes of a key in one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It maps, or means nothing there; the writer remarks what it cannot say exactly.
    Maps,
    /// It does not map, for this reason, and so is to be done instead.
    Remark(&'static str),
}

use Fate::{Maps, Remark};

/// What becomes of a key in the formats.
#[derive(Debug)]
pub struct Row {
    /// `restart.jitter`, or a key alone.
    pub key: &'static str,
    compose: Fate,
    kubernetes: Fate,
    systemd: Fate,
}

impl Row {
    pub fn in_format(&self, format: Format) -> Fate {
        match format {
            Format::Compose => self.compose,
            Format::Kubernetes => self.kubernetes,
            Format::Systemd => self.systemd,
        }
    }
}

const fn row(key: &'static str, compose: Fate, kubernetes: Fate, systemd: Fate) -> Row {
    Row { key, compose, kubernetes, systemd }
}

const fn maps(key: &'static str) -> Row {
    row(key, Maps, Maps, Maps)
}

const fn none(key: &'static str, why: &'static str) -> Row {
    row(key, Remark(why), Remark(why), Remark(why))
}

/// Keys of the top.
pub const TOP: &[Row] = &[
    maps("services"),
    maps("stats_interval"),
    row("restart_interval", Remark("the engine has its own delays"), Remark("the kubelet has its own delays: 10s, 20s, up to 5m"), Maps),
    maps("watch_restart_interval"),
    maps("clock_check_interval"),
    none("shutdown_timeout", "each service has its own time to stop"),
    row("timezone", Remark("nothing plans there"), Maps, Maps),
    maps("state_dir"),
    maps("env"),
    row("env_file", Maps, Remark("make a ConfigMap of it: kubectl create configmap --from-env-file"), Maps),
    row(
        "logger",
        Remark("output goes to the engine: `logging` chooses its driver and limits"),
        Remark("output goes to the kubelet, which rotates it"),
        Remark("output goes to the journal: journald.conf(5) has its limits"),
    ),
    row(
        "http",
        Remark("the engine answers for that: docker compose ps"),
        Remark("the API server answers for that"),
        Remark("systemctl answers for that"),
    ),
];

/// Keys of a service; of maps those of their entries that differ.
pub const SERVICE: &[Row] = &[
    maps("name"),
    maps("id"),
    maps("command"),
    maps("workdir"),
    maps("env"),
    row("env_file", Maps, Remark("make a ConfigMap of it: kubectl create configmap --from-env-file"), Maps),
    none("inherit_env", "nothing is inherited there but what the image or the manager sets"),
    row("autostart", Maps, Maps, Maps),
    maps("restart"),
    row("restart.interval", Remark("the engine has its own delays"), Remark("the kubelet has its own delays: 10s, 20s, up to 5m"), Maps),
    row(
        "restart.max_interval",
        Remark("the engine has its own delays"),
        Remark("the kubelet has its own delays: 10s, 20s, up to 5m"),
        Remark("delays do not grow: systemd 254 has RestartSteps= and RestartMaxDelaySec="),
    ),
    none("restart.jitter", "there is none"),
    row("restart.max_retries", Maps, Remark("a Deployment tries for ever; look at it with an alert"), Maps),
    none("restart.reset_after", "there is none"),
    row(
        "success_exit_codes",
        Remark("only 0 is a good end: let the program end with it"),
        Remark("only 0 is a good end: let the program end with it"),
        Maps,
    ),
    maps("stop"),
    row("stop.group", Remark("the main process alone gets the signal"), Remark("the main process alone gets the signal"), Maps),
    row("stop.command", Remark("there is none: let the program obey a signal"), Maps, Maps),
    row(
        "schedule",
        Remark("Compose plans nothing: `docker compose run --rm NAME` from cron(8); it has the profile `scheduled`"),
        Maps,
        Maps,
    ),
    row("schedule.missed", Maps, Remark("a run that was missed begins when it can, within `startingDeadlineSeconds`"), Maps),
    row("schedule.deadline", Maps, Maps, Remark("there is none")),
    row("schedule.retry", Maps, Maps, Remark("a run that crashes is not repeated before its time")),
    row("schedule.history", Maps, Maps, Remark("journalctl -u tells what was")),
    row(
        "log",
        Remark("output goes to the engine: `logging`"),
        Remark("output goes to the kubelet, which rotates it"),
        Remark("output goes to the journal"),
    ),
    row(
        "essential",
        Remark("nothing ends the others: docker compose up --abort-on-container-exit"),
        Remark("Deployments end apart from each other"),
        Remark("nothing ends the others"),
    ),
    row("groups", Remark("use `profiles`"), Remark("use labels"), Remark("use a target that wants them")),
    maps("user"),
    row("umask", Remark("let the program set it"), Remark("let the program set it"), Maps),
    maps("depends_on"),
    row(
        "on_dependency_restart",
        Remark("write `restart: true` under `depends_on`"),
        Remark("let the program connect again"),
        Remark("write PartOf="),
    ),
    maps("ready"),
    row("ready.timeout", Remark("a container that does not become healthy is not ended"), Maps, Maps),
    maps("health"),
    row(
        "watch",
        Remark("write `develop.watch`"),
        Remark("give the ConfigMap a name with the hash of its content, so that the Deployment rolls"),
        Remark("write a .path unit that restarts it"),
    ),
    maps("max_memory"),
    row("limits", Maps, Remark("it is what the node's container runtime gives"), Maps),
    row("nice", Remark("there is none"), Remark("there is none: use requests and limits"), Maps),
    row("oom_score_adj", Maps, Remark("it follows from requests and limits"), Maps),
    maps("no_new_privs"),
    row("hooks", Remark("`post_start` and `pre_stop` of newer versions are the same"), Maps, Maps),
    maps("replicas"),
];

/// What becomes of a key of the top, or of a service; None: the table does not name it, and the one above it decides.
pub fn of(is_of_service: bool, key: &str) -> Option<&'static Row> {
    let table = if is_of_service { SERVICE } else { TOP };
    table.iter().find(|row| row.key == key)
}

#[cfg(test)]
mod tests {
    use ppm_core::config::keys;

    use super::*;

    #[test]
    fn every_key_of_the_configuration_has_a_row() {
        for (rows, table) in [(TOP, &keys::TOP), (SERVICE, &keys::SERVICE)] {
            let missing: Vec<&str> =
                table.keys.iter().map(|key| key.name).filter(|name| !rows.iter().any(|row| row.key == *name)).collect();
            assert!(missing.is_empty(), "what becomes of {missing:?} in other formats?");
            let strange: Vec<&str> = rows
                .iter()
                .map(|row| row.key.split('.').next().unwrap_or_default())
                .filter(|name| !table.keys.iter().any(|key| key.name == *name))
                .collect();
            assert!(strange.is_empty(), "no keys: {strange:?}");
        }
    }
}
