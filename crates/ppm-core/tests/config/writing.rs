//! What is written reads well, and reads the same.

use ppm_core::config;
use ppm_core::spec::Settings;

use crate::any::{Chance, any_config};
use crate::read;

#[test]
fn what_is_written_reads_well() {
    let config = read(
        "restart_interval: 2s\nservices:\n\
         - {name: web, id: 1, command: 'sh -c \"while true; do echo world; sleep 30; done\"', env: {A: x, yes: 'no'}, workdir: /app}\n\
         - {name: job-2, id: 2, command: [/bin/a, --port=80, 'a:', 'a: b', '80'], autostart: false, success_exit_codes: [143], schedule: 0 3 * * *}\n\
         - {name: '1e3', id: 9, command: a, restart: {policy: always, interval: 1500ms, jitter: 5%}, stop: {signal: INT, timeout: 90, group: false}}\n\
         - {name: d, id: 10, command: a, restart: never}\n- {name: e, id: 11, command: a, restart: {max_retries: 3}, stop: {signal: 32}}\n\
         - {name: f, id: 12, command: a, groups: [x, \"1e3\"], env_file: [/a b, c], inherit_env: [A, B], workdir: '${HOME}/f'}\n\
         - {name: h, id: 14, command: a, user: 1000:app, umask: \"7\", limits: {stack: 8MiB:unlimited, nofile: 10, core: unlimited}, nice: 19, oom_score_adj: -1, no_new_privs: true}\n\
         - {name: g, id: 13, command: a, env: {PW: {file: /run/pw}, A: '${B:-c}$$'}, env_file: /a, inherit_env: []}\n\
         env_file: [top.env]\nenv: {TOP: 1.50, T: {file: pw}}\n",
    );
    let wanted = "\
# ppm configuration
restart_interval: 2s
env_file: top.env
env:
  T: {file: pw}
  TOP: \"1.50\"
services:
  - name: web
    id: 1
    command: [sh, -c, \"while true; do echo world; sleep 30; done\"]
    workdir: /app
    env:
      A: x
      \"yes\": \"no\"
  - name: job-2
    id: 2
    command: [/bin/a, --port=80, \"a:\", \"a: b\", \"80\"]
    autostart: false
    success_exit_codes: [0, 143]
    schedule: \"0 3 * * *\"
  - name: \"1e3\"
    id: 9
    command: [a]
    restart: {policy: always, interval: 1s 500ms, jitter: 5%}
    stop: {signal: SIGINT, timeout: 1m 30s, group: false}
  - name: d
    id: 10
    command: [a]
    restart: never
  - name: e
    id: 11
    command: [a]
    restart: {max_retries: 3}
    stop: {signal: SIG32}
  - name: f
    id: 12
    command: [a]
    workdir: \"${HOME}/f\"
    env_file: [\"/a b\", c]
    inherit_env: [A, B]
    groups: [x, \"1e3\"]
  - name: h
    id: 14
    command: [a]
    user: \"1000:app\"
    umask: \"007\"
    limits: {core: unlimited, nofile: 10, stack: \"8MiB:unlimited\"}
    nice: 19
    oom_score_adj: -1
    no_new_privs: true
  - name: g
    id: 13
    command: [a]
    env_file: /a
    inherit_env: false
    env:
      A: \"${B:-c}$$\"
      PW: {file: /run/pw}
";
    assert_eq!(config::render(&config.settings, &config.services), wanted);
    assert_eq!(config::render(&Settings::default(), []), "# ppm configuration\nservices: []\n");
}

/// `PPM_CONFIG_RUNS=10000` tries so many configurations.
#[test]
fn what_is_written_reads_the_same() {
    let rounds = std::env::var("PPM_CONFIG_RUNS").map_or(3000, |rounds| rounds.parse().unwrap());
    let mut chance = Chance(3);
    for round in 0..rounds {
        let config = any_config(&mut chance);
        let yaml = config::render(&config.settings, &config.services);
        let mut again = config::parse(&yaml, "f").unwrap_or_else(|problems| panic!("round {round}: {problems}\n{yaml}"));
        again.services.iter_mut().for_each(|service| service.source.clear());
        again.remarks.clear();
        assert_eq!(again, config, "round {round}:\n{yaml}");
        assert_eq!(config::render(&again.settings, &again.services), yaml);
    }
}
