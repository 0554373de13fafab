//! What is refused and in which words, and what is read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use ppm_core::attributes::{Attributes, Limit, Resource, User, Who};
use ppm_core::config::{self, Config};
use ppm_core::environment::{EnvValue, Inherit, Surroundings};
use ppm_core::spec::{MAX_SERVICES, Reach, RestartPolicy, RestartWhen, ServiceSpec, StopPolicy};
use ppm_protocol::Signal;

use crate::any::Chance;
use crate::{read, wrong_files};

/// Every `tests/config/*.yml` is wrong in some way; beside it stands what is said about it, letter by letter.
/// `UPDATE=1` writes it anew.
#[test]
fn wrong_configurations_are_refused_in_these_words() {
    let mut different = Vec::new();
    for file in wrong_files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let said = match config::parse(&fs::read_to_string(&file).unwrap(), &name) {
            Ok(_) => panic!("{name} is accepted"),
            Err(problems) => format!("{problems}\n"),
        };
        let wanted = file.with_extension("txt");
        if env::var_os("UPDATE").is_some() {
            fs::write(&wanted, said).unwrap();
        } else if fs::read_to_string(&wanted).unwrap_or_default() != said {
            different.push(said);
        }
    }
    assert!(different.is_empty(), "now it says:\n{}", different.join("\n"));
}

#[test]
fn sizes_that_others_read_otherwise_are_remarked_with_their_lines() {
    let config = read(
        "logger:\n  path: /l\n  max_file_size: 20M\n  max_total_size: 200MiB\n\
         services:\n- {name: a, command: b, log: {max_file_size: 1.5 gb}}\n",
    );
    let wanted = [
        "line 3: `logger.max_file_size: 20M` means 20MiB: units are powers of 1024",
        "line 6: `log.max_file_size: 1.5 gb` means 1536MiB: units are powers of 1024",
    ];
    assert_eq!(config.remarks, wanted);
}

#[test]
fn a_configuration_without_services_is_one() {
    for text in [
        "",
        "\n\n",
        "# nothing yet\n",
        "~",
        "null\n",
        "---\n",
        "{}",
        "services:",
        "services: []\n",
        "x-note: [a, {b: c}]\n",
        "\u{feff}",
        "\u{feff}# x\r\n",
    ] {
        assert_eq!(config::parse(text, "f").map_err(|problems| problems.to_string()), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"
        x-defaults: &defaults
          restart: {policy: always, interval: 250ms, max_interval: 1m 30s, jitter: 10 %, max_retries: 3, reset_after: 2}
          env: {COMMON: "1"}
        stats_interval: 0.5
        restart_interval: 3s
        clock_check_interval: 0
        shutdown_timeout: 20
        env: {TOP: "1", SECRET: {file: /run/top}}
        env_file: top.env
        services:
          - name: web
            id: 7
            command: nginx -g "daemon off;" 'it''s' \$HOME ${X}
            workdir: /srv
            env: {PLAIN: text, EMPTY: ""}
            autostart: false
            restart: never
            success_exit_codes: [143, 3, 3]
            stop: {signal: 1, timeout: 1m, group: false}
            schedule: "*/30 * * * * *"
            user: app:33
            umask: "027"
            limits: {nofile: 1024:65536, core: 0, stack: "8MiB:unlimited", as: unlimited}
            nice: -5
            oom_score_adj: 500
            no_new_privs: true
            x-note: anything
          - <<: *defaults
            name: two
            command: [sh, -c, "echo ${A} $$"]
          - name: three
            command:
              path: /bin/sh
              args: ["-c", ""]
              workdir: /inner
              env: {A: inner, B: inner}
            env: {B: outer}
            schedule: {cron: ["0 3 * * *"]}
            env_file: [/etc/three.env, "${CONF}/three.env"]
            inherit_env: [HOME, PPM_SOCKET]
            groups: [frontend, night, frontend]
        "#,
    );
    let settings = &config.settings;
    let seconds = [settings.stats_interval, settings.restart_interval, settings.clock_check_interval, settings.shutdown_timeout];
    assert_eq!(seconds.map(|duration| duration.as_millis()), [500, 3000, 0, 20_000]);
    let common = &settings.surroundings.common;
    assert_eq!((common.env["TOP"].clone(), common.env["SECRET"].clone()), ("1".into(), EnvValue::File("/run/top".into())));
    assert_eq!(common.files, ["top.env"]);
    let [web, two, three] = config.services.as_slice() else { panic!("{config:?}") };

    let words: Vec<&str> = web.command.args.iter().map(String::as_str).collect();
    assert_eq!((web.command.path.as_str(), words), ("nginx", vec!["-g", "daemon off;", "its", "$HOME", "${X}"]));
    assert_eq!((web.name.as_str(), web.id, web.autostart, web.command.workdir.as_deref()), ("web", Some(7), false, Some("/srv")));
    assert_eq!(env_of(web), [("EMPTY", ""), ("PLAIN", "text")]);
    assert_eq!((web.restart.when, web.restart.interval), (RestartWhen::Never, Duration::from_secs(3)));
    assert_eq!(web.success_exit_codes, [0, 3, 143]);
    assert_eq!(web.stop, StopPolicy { signal: Signal::HUP, timeout: Duration::from_secs(60), reach: Reach::Leader });
    assert_eq!(web.schedule.as_deref().unwrap().text(), "*/30 * * * * *");
    assert_eq!((web.source.as_str(), web.groups.len()), ("ppm.yml:12", 0));
    let limit = |soft, hard| Limit { soft, hard };
    let attributes = Attributes {
        user: Some(Box::new(User { user: Who::Name("app".into()), group: Some(Who::Number(33)) })),
        umask: Some(0o27),
        limits: BTreeMap::from([
            (Resource::Nofile, limit(Some(1024), Some(65_536))),
            (Resource::Core, limit(Some(0), Some(0))),
            (Resource::Stack, limit(Some(8 << 20), None)),
            (Resource::As, limit(None, None)),
        ]),
        nice: Some(-5),
        oom_score_adj: Some(500),
        no_new_privs: true,
    };
    assert_eq!(web.command.attributes, attributes);
    assert!(Arc::ptr_eq(&web.command.surroundings, &settings.surroundings), "the services share what is common");

    assert_eq!((two.command.args.join(" ").as_str(), two.id, two.autostart), ("-c echo ${A} $$", None, true));
    let policy = RestartPolicy {
        when: RestartWhen::Always,
        interval: Duration::from_millis(250),
        max_interval: Duration::from_secs(90),
        jitter_percent: 10,
        max_retries: 3,
        reset_after: Duration::from_secs(2),
    };
    assert_eq!((&two.restart, env_of(two)), (&policy, vec![("COMMON", "1")]));
    assert_eq!((two.stop, two.success_exit_codes.as_slice()), (StopPolicy::default(), [0].as_slice()));

    assert_eq!(
        (three.command.args.as_slice(), three.command.workdir.as_deref()),
        (["-c".into(), String::new()].as_slice(), Some("/inner"))
    );
    assert_eq!(env_of(three), [("A", "inner"), ("B", "outer")]);
    let Surroundings { common: shared, files, inherit } = &*three.command.surroundings;
    assert!(Arc::ptr_eq(shared, common), "the services share what is common");
    assert_eq!(
        (files.join(" ").as_str(), inherit),
        ("/etc/three.env ${CONF}/three.env", &Inherit::Only(vec!["HOME".into(), "PPM_SOCKET".into()]))
    );
    assert_eq!((three.source.as_str(), three.groups.join(" ").as_str()), ("ppm.yml:32", "frontend night"));
}

#[test]
fn numbers_and_booleans_reach_a_service_as_they_are_written() {
    let written = [
        "1.10",
        "022",
        "0x1F",
        "+5",
        "-0",
        "1e3",
        "1_000",
        "True",
        "false",
        ".inf",
        "0o17",
        "8080",
        "-1",
        "12345678901234567890123456789012345678901234567890",
        "2001-01-01",
        "yes",
        "~x",
    ];
    for (number, value) in written.into_iter().enumerate() {
        for text in [format!("{{A: {value}}}"), format!("\n      A: {value}\n      B: x")] {
            let config = read(&format!("services:\n  - name: s{number}\n    command: a\n    env: {text}\n"));
            assert_eq!(config.services[0].command.env["A"], value.into());
            let config = read(&format!("env: {text}\nservices: [{{name: a, command: a}}]\n"));
            assert_eq!(config.settings.surroundings.common.env["A"], value.into());
            assert!(Arc::ptr_eq(&config.settings.surroundings, &config.services[0].command.surroundings));
        }
    }
    let both = read(
        "services:\n  - {name: a, command: {path: a, env: {A: 1.50, B: 2.50}}, env: {A: text}}\n  - {name: b, command: a, env: {A: 3.50}}\n",
    );
    assert_eq!((env_of(&both.services[0]), env_of(&both.services[1])), (vec![("A", "text"), ("B", "2.50")], vec![("A", "3.50")]));
}

#[test]
fn own_entries_win_over_merged_ones_and_earlier_maps_over_later_ones() {
    let config = read(
        "x-a: &a {workdir: /a, restart: never}\nx-b: &b {<<: *a, workdir: /b, autostart: false}\nservices:\n\
         - {<<: [*a, *b], name: one, command: x}\n- {name: two, <<: *b, workdir: /own, command: x}\n- &three {name: three, command: y}\n",
    );
    let seen: Vec<_> =
        config.services.iter().map(|service| (service.command.workdir.as_deref(), service.autostart, service.restart.when)).collect();
    assert_eq!(
        seen,
        [(Some("/a"), false, RestartWhen::Never), (Some("/own"), false, RestartWhen::Never), (None, true, RestartWhen::OnFailure)]
    );
}

#[test]
fn no_more_problems_are_shown_than_anyone_reads() {
    let mut text = String::from("services:\n");
    (0..250).for_each(|number| writeln!(text, "  - {{name: s{number}, command: a, id: {number}, unknown: x}}").unwrap());
    let problems = config::parse(&text, "f").unwrap_err();
    assert_eq!((problems.list.len(), problems.omitted), (100, 151));
    assert!(problems.to_string().ends_with("error: 251 problems in f (100 are shown); nothing was changed"), "{problems}");
    assert!(problems.list.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn more_than_is_reasonable_is_refused_and_not_built_first() {
    let refused = |text: &str| config::parse(text, "f").unwrap_err().list.remove(0).message;
    assert_eq!(refused(&" ".repeat(config::MAX_FILE + 1)), "a configuration of 8388609 bytes is too large, at most 8388608 are read");
    assert_eq!(
        refused(&format!("services: [{}]", "a,".repeat(MAX_SERVICES + 1))),
        "10001 services are too many, at most 10000 are allowed"
    );
    let many_aliases = format!("x: &a [{}]\ny: [{}]", "1,".repeat(2000), "*a,".repeat(1000));
    assert_eq!(refused(&many_aliases), "the configuration has more than 500000 values, aliases expanded");
    let long_text = format!("x: &a \"{}\"\ny: [{}]", "1".repeat(100_000), "*a,".repeat(1000));
    assert_eq!(refused(&long_text), "the configuration has more than 32 MiB of text, aliases expanded");
    let lines_and_items = "the configuration has more than 250000 lines and items";
    for broad in ["- a\n", "k: v\n", "- {}\n", "# x\n- [a, b]\r\n"].map(|line| line.repeat(250_001)) {
        assert_eq!(refused(&broad), lines_and_items);
    }
    for flow in ["a,", "[],", "{a: b},", "\n,"].map(|item| format!("x: [{}]", item.repeat(250_001))) {
        assert_eq!(refused(&flow), lines_and_items);
    }
    assert!(config::parse(&"# nothing\n\n".repeat(400_000), "f").is_ok(), "comments are not read");
    for nested in ["- ", "? ", "- ? ", "-\t"].map(|begin| format!("x:\n{}a", begin.repeat(101))) {
        assert_eq!(refused(&nested), "more than 100 lists or maps begin in one line");
    }
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(10_000), "[{".repeat(600)] {
        assert!(config::parse(&deep, "f").is_err());
    }
}

#[test]
fn no_text_makes_it_panic_and_every_mark_is_in_its_line() {
    let mut chance = Chance(11);
    let seeds = [
        "stats_interval: 10s\nservices:\n  - name: web\n    id: 1\n    command: sh -c \"x\"\n    env: {A: 1.5, B: 'é'}\n    restart: {policy: always, jitter: 10%}\n",
        "x: &a {b: [1, 2]}\nservices:\n- <<: *a\n  name: \"ü\"\n  command: {path: a, args: [b]}\n  schedule: '* * * * *'\n  stop: {signal: TERM}\r\n",
    ];
    let pieces = [
        "\t", "\n", ": ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "\"", "'", "#", "|\n", "!x ", "\u{feff}", "日", "\0", "\u{85}",
        "---\n", "?", "%", ",", "0", "~",
    ];
    for round in 0..4000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..=chance.below(4) {
            let (from, length) = (chance.below(text.len()), chance.below(6));
            let piece = pieces[chance.below(pieces.len())].chars();
            text.splice(from..(from + length).min(text.len()), piece);
        }
        let text: String = text.into_iter().collect();
        let Err(problems) = config::parse(&text, "f") else { continue };
        for problem in &problems.list {
            assert!(problem.line == 0 || problem.column >= 1 && problem.width >= 1, "{problem:?}\n{text}");
            assert!(!problem.message.chars().any(char::is_control), "{problem:?}\n{text}");
        }
        assert!(!problems.to_string().contains('\t'), "{problems}");
    }
}

fn env_of(service: &ServiceSpec) -> Vec<(&str, &str)> {
    service.command.env.iter().map(|(name, value)| (name.as_str(), text_of(value))).collect()
}

fn text_of(value: &EnvValue) -> &str {
    match value {
        EnvValue::Text(text) => text,
        EnvValue::File(path) => panic!("the content of {path}"),
    }
}
