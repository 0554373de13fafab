//! Configurations: what is refused and in which words, what is read, and that what is written reads the same.
#![expect(clippy::disallowed_methods, reason = "what is decided without files is compared with what stands in them")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use ppm_core::config::{self, Config};
use ppm_core::environment::{EnvValue, Inherit, Surroundings, Variables};
use ppm_core::schedule::Schedule;
use ppm_core::spec::{Command, MAX_SERVICES, Reach, RestartPolicy, RestartWhen, ServiceSpec, Settings, StopPolicy, assign_ids};
use ppm_protocol::Signal;

/// Every `tests/config/*.yml` is wrong in some way; beside it stands what is said about it, letter by letter.
/// `UPDATE=1` writes it anew.
#[test]
fn wrong_configurations_are_refused_in_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut different = Vec::new();
    for file in files {
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
    assert_eq!(web.schedule.as_ref().unwrap().text(), "*/30 * * * * *");
    assert_eq!((web.source.as_str(), web.groups.len()), ("ppm.yml:12", 0));
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
    assert_eq!((three.source.as_str(), three.groups.join(" ").as_str()), ("ppm.yml:26", "frontend night"));
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
    (0..250).for_each(|number| writeln!(text, "  - {{name: s{number}, command: a, id: {number}, user: x}}").unwrap());
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
    assert_eq!(refused(&many_aliases), "the configuration has more than 1000000 values, aliases expanded");
    let long_text = format!("x: &a \"{}\"\ny: [{}]", "1".repeat(100_000), "*a,".repeat(1000));
    assert_eq!(refused(&long_text), "the configuration has more than 32 MiB of text, aliases expanded");
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

#[test]
fn what_is_written_reads_well() {
    let config = read(
        "restart_interval: 2s\nservices:\n\
         - {name: web, id: 1, command: 'sh -c \"while true; do echo world; sleep 30; done\"', env: {A: x, yes: 'no'}, workdir: /app}\n\
         - {name: job-2, id: 2, command: [/bin/a, --port=80, 'a:', 'a: b', '80'], autostart: false, success_exit_codes: [143], schedule: 0 3 * * *}\n\
         - {name: '1e3', id: 9, command: a, restart: {policy: always, interval: 1500ms, jitter: 5%}, stop: {signal: INT, timeout: 90, group: false}}\n\
         - {name: d, id: 10, command: a, restart: never}\n- {name: e, id: 11, command: a, restart: {max_retries: 3}, stop: {signal: 32}}\n\
         - {name: f, id: 12, command: a, groups: [x, \"1e3\"], env_file: [/a b, c], inherit_env: [A, B], workdir: '${HOME}/f'}\n\
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

#[test]
fn what_is_written_reads_the_same() {
    let mut chance = Chance(3);
    for round in 0..3000 {
        let config = any_config(&mut chance);
        let yaml = config::render(&config.settings, &config.services);
        let mut again = config::parse(&yaml, "f").unwrap_or_else(|problems| panic!("round {round}: {problems}\n{yaml}"));
        again.services.iter_mut().for_each(|service| service.source.clear());
        assert_eq!(again, config, "round {round}:\n{yaml}");
        assert_eq!(config::render(&again.settings, &again.services), yaml);
    }
}

fn read(text: &str) -> Config {
    config::parse(text, "ppm.yml").unwrap_or_else(|problems| panic!("{problems}"))
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

/// Texts that readers of YAML are known to take for something else.
const ODD: [&str; 70] = [
    "a",
    "web",
    "yes",
    "No",
    "on",
    "TRUE",
    "null",
    "Null",
    "~",
    "",
    " ",
    "  a",
    "a  ",
    "\n",
    "a\nb\n",
    "\t",
    "\ta",
    "a: b",
    "a:",
    ":a",
    ": ",
    "#",
    "a #b",
    "a#b",
    "'",
    "it's",
    "\"",
    "\\",
    "\\n",
    "é",
    "日本語",
    "\u{1f600}",
    "\u{feff}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{7f}",
    "\u{1}",
    "\u{ffff}",
    "\u{e000}",
    "-",
    "--",
    "-x",
    "---",
    "...",
    "- a",
    "0",
    "1e3",
    "0x1F",
    "1_000",
    "022",
    ".5",
    ".inf",
    ".NaN",
    "+1",
    "1:30",
    "2001-01-01",
    "=",
    "!x",
    "&a",
    "*a",
    "%a",
    "@a",
    "`a",
    "{a: b}",
    "[x]",
    "a,b",
    "? x",
    "|",
    ">-",
];

fn any_text(chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => (0..chance.below(4)).map(|_| ODD[chance.below(ODD.len())]).collect(),
        1 => ODD[chance.below(ODD.len())].repeat(1 + chance.below(200)),
        _ => ODD[chance.below(ODD.len())].into(),
    }
}

/// A text in which references may stand.
fn any_value(chance: &mut Chance) -> String {
    any_text(chance) + ["", "${A}", "$$", "$x", "${A:-${B:?c d}}"][chance.below(5)]
}

fn any_files(chance: &mut Chance) -> Vec<String> {
    (0..chance.below(3)).map(|_| format!("/{}", any_value(chance))).collect()
}

fn any_env(chance: &mut Chance) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for _ in 0..chance.below(4) {
        let name: String = any_text(chance).replace('=', "").chars().take(60).collect();
        let value = match chance.below(4) {
            0 => EnvValue::File(format!("/{}", any_value(chance)).into()),
            _ => any_value(chance).into(),
        };
        env.extend((!name.is_empty()).then_some((name, value)));
    }
    env
}

fn any_duration(chance: &mut Chance) -> Duration {
    match chance.below(3) {
        0 => Duration::from_secs(chance.below(100_000) as u64),
        1 => Duration::from_millis(chance.below(100_000) as u64),
        _ => Duration::from_nanos((chance.below(1 << 31) as u64) << chance.below(30)),
    }
}

fn any_config(chance: &mut Chance) -> Config {
    let mut settings = Settings::default();
    if chance.below(2) == 0 {
        let durations = [(); 4].map(|()| any_duration(chance));
        let [stats_interval, restart_interval, clock_check_interval, shutdown_timeout] = durations;
        settings = Settings { stats_interval, restart_interval, clock_check_interval, shutdown_timeout, ..settings };
    }
    if chance.below(2) == 0 {
        let common = Arc::new(Variables { files: any_files(chance), env: any_env(chance) });
        settings.surroundings = Arc::new(Surroundings { common, ..Surroundings::default() });
    }
    let mut services: Vec<ServiceSpec> = (0..chance.below(4)).map(|number| any_service(chance, &settings, number)).collect();
    assign_ids(&mut services);
    Config { settings, services }
}

fn any_service(chance: &mut Chance, settings: &Settings, number: usize) -> ServiceSpec {
    let name = format!("{}{number}", ["n", "true", "1e", "0x", "@", ".", "_-", "null."][chance.below(8)]);
    let path = ["a".to_owned(), any_text(chance)].into_iter().rfind(|path| !path.trim().is_empty()).unwrap();
    let mut command = Command {
        path,
        args: (0..chance.below(4)).map(|_| any_text(chance) + ["", "${x}"][chance.below(2)]).collect(),
        ..Command::default()
    };
    command.workdir = (chance.below(2) == 0).then(|| format!("{}/{}", ["", "${HOME}"][chance.below(2)], any_value(chance)));
    command.env = any_env(chance);
    let mut service = ServiceSpec::new(name, command, settings);
    if chance.below(3) == 0 {
        let names = any_env(chance).into_keys().collect();
        let inherit = [Inherit::All, Inherit::Only(Vec::new()), Inherit::Only(names)].into_iter().nth(chance.below(3)).unwrap();
        service.command.surroundings =
            Arc::new(Surroundings { files: any_files(chance), inherit, common: Arc::clone(&settings.surroundings.common) });
    }
    service.groups = ["web", "1e3", "no"].into_iter().take(chance.below(4)).map(str::to_owned).collect();
    service.id = (chance.below(3) == 0).then(|| u32::try_from(number * 7 + 1 + chance.below(7)).unwrap());
    service.autostart = chance.below(4) > 0;
    if chance.below(2) == 0 {
        service.restart.when = [RestartWhen::Never, RestartWhen::OnFailure, RestartWhen::Always][chance.below(3)];
        let durations = [&mut service.restart.interval, &mut service.restart.max_interval, &mut service.restart.reset_after];
        durations.into_iter().for_each(|duration| *duration = any_duration(chance));
        service.restart.jitter_percent = u8::try_from(chance.below(101)).unwrap();
        service.restart.max_retries = u32::try_from(chance.below(5)).unwrap();
    }
    if chance.below(2) == 0 {
        let signal = Signal::from_number(i32::try_from(1 + chance.below(64)).unwrap()).unwrap();
        service.stop = StopPolicy { signal, timeout: any_duration(chance), reach: [Reach::Leader, Reach::Group][chance.below(2)] };
    }
    if chance.below(2) == 0 {
        service.success_exit_codes = vec![0, i32::try_from(1 + chance.below(100)).unwrap(), 143];
    }
    service.schedule = (chance.below(2) == 0)
        .then(|| Schedule::parse(["* * * * *", "@daily", "0 0 3\t* * FRI", "1,2 * ? * 5#1"][chance.below(4)]).unwrap());
    service
}

/// A small generator of the numbers that tests need; the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}
