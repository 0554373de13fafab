//! Any configuration: every key, and texts that readers of YAML are known to take for something else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_core::attributes::{Attributes, Limit, Resource, User};
use ppm_core::config::Config;
use ppm_core::dependencies::{Condition, Need, OnDependencyRestart};
use ppm_core::environment::{EnvValue, Inherit, Surroundings, Variables};
use ppm_core::hook::{self, Hook, HookSpec, Program};
use ppm_core::line_pattern::LinePattern;
use ppm_core::listen::Listen;
use ppm_core::logging::{Format, LogChoice, LogKeys};
use ppm_core::probe::{Channel, Check, Health, Page, Readiness, SHORTEST};
use ppm_core::schedule::{Missed, Options, Overlap, Retry, Schedule};
use ppm_core::spec::{Command, Reach, RestartWhen, ServiceSpec, Settings, StopPolicy, assign_ids};
use ppm_core::watch::pattern::Pattern;
use ppm_core::watch::{Compare, OnChange, Poll, SHORTEST_POLL, WatchSpec};
use ppm_core::zone;
use ppm_protocol::Signal;

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

pub fn any_config(chance: &mut Chance) -> Config {
    let mut settings = Settings::default();
    if chance.below(2) == 0 {
        let durations = [(); 5].map(|()| any_duration(chance));
        let [stats_interval, restart_interval, watch_restart_interval, clock_check_interval, shutdown_timeout] = durations;
        settings =
            Settings { stats_interval, restart_interval, watch_restart_interval, clock_check_interval, shutdown_timeout, ..settings };
        settings.timezone = any_zone(chance);
        settings.state_dir = (chance.below(2) == 0).then(|| format!("/{}", any_text(chance)));
    }
    if chance.below(2) == 0 {
        let common = Arc::new(Variables { files: any_files(chance), env: any_env(chance) });
        settings.surroundings = Arc::new(Surroundings { common, ..Surroundings::default() });
    }
    settings.http = Listen::parse(["127.0.0.1:9180", "[::1]:1", ":80", "unix:/run/x y", ""][chance.below(5)]).ok();
    settings.logger = (chance.below(2) == 0).then(|| any_log_keys(chance));
    let mut services: Vec<ServiceSpec> = (0..chance.below(4)).map(|number| any_service(chance, &settings, number)).collect();
    for by in 1..services.len() {
        let need = |on: usize, chance: &mut Chance| Need { service: services[on].name.clone(), condition: Condition::ALL[chance.below(3)] };
        let needs = (0..by).filter(|_| chance.below(2) == 0).collect::<Vec<_>>().into_iter().map(|on| need(on, chance)).collect();
        services[by].depends_on = needs;
    }
    if chance.below(4) == 0 {
        let one = ServiceSpec { name: "many".to_owned(), id: Some(1000), ..any_service(chance, &settings, 9) };
        services.extend(one.replicas(u32::try_from(1 + chance.below(3)).unwrap()));
    }
    assign_ids(&mut services);
    Config { settings, services, ..Config::default() }
}

fn any_log_keys(chance: &mut Chance) -> LogKeys {
    let size = |chance: &mut Chance| (chance.below(2) == 0).then(|| (chance.below(1 << 31) as u64) << chance.below(30));
    LogKeys {
        path: (chance.below(2) == 0).then(|| format!("{}/{}", ["", "${HOME}"][chance.below(2)], any_value(chance))),
        max_files: (chance.below(2) == 0).then(|| u32::try_from(1 + chance.below(9)).unwrap()),
        max_file_size: size(chance),
        max_total_size: size(chance),
        max_age: (chance.below(2) == 0).then(|| any_duration(chance)),
        rate_limit: [None, Some(0), Some(4097), Some(10 << 20)][chance.below(4)],
        memory: [None, Some(0), Some(4096), Some(64 << 10), Some(64 << 20)][chance.below(5)],
        console: [None, Some(true), Some(false)][chance.below(3)],
        prefix: [None, Some(true), Some(false)][chance.below(3)],
        format: [None, Some(Format::Text), Some(Format::Json)][chance.below(3)],
        timestamps: [None, Some(true), Some(false)][chance.below(3)],
    }
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
    command.attributes = any_attributes(chance);
    let mut service = ServiceSpec::new(name, command, settings);
    if chance.below(3) == 0 {
        let names = any_env(chance).into_keys().collect();
        let inherit = [Inherit::All, Inherit::Only(Vec::new()), Inherit::Only(names)].into_iter().nth(chance.below(3)).unwrap();
        service.command.surroundings =
            Arc::new(Surroundings { files: any_files(chance), inherit, common: Arc::clone(&settings.surroundings.common) });
    }
    service.log = match chance.below(4) {
        0 => LogChoice::Inherit,
        1 => LogChoice::Own(Box::new(LogKeys { max_files: Some(7), ..any_log_keys(chance) })),
        _ => LogChoice::AsLogger,
    };
    service.groups = ["web", "1e3", "no"].into_iter().take(chance.below(4)).map(str::to_owned).collect();
    service.id = (chance.below(3) == 0).then(|| u32::try_from(number * 7 + 1 + chance.below(7)).unwrap());
    service.on_dependency_restart = [OnDependencyRestart::Keep, OnDependencyRestart::Restart][chance.below(2)];
    service.autostart = chance.below(4) > 0;
    service.essential = chance.below(4) == 0;
    service.max_memory = (chance.below(4) == 0).then(|| (1 << 20) + u64::try_from(chance.below(1 << 30)).unwrap());
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
    service.watch = (chance.below(2) == 0).then(|| Arc::new(any_watch(chance, service.command.workdir.is_some())));
    if chance.below(3) == 0 {
        let descriptor = Check::Notify(Channel::Descriptor(3));
        let mut ready = Readiness::new(if chance.below(6) == 0 { descriptor } else { any_check(chance) });
        if chance.below(2) == 0 {
            ready.start_period = any_duration(chance);
            if !ready.check.is_its_own_word() {
                ready.interval = SHORTEST + any_duration(chance);
            }
            ready.timeout = (chance.below(2) == 0).then(|| any_duration(chance)).filter(|timeout| !timeout.is_zero());
        }
        service.ready = Some(Box::new(ready));
    } else if chance.below(2) == 0 && service.log.logger(settings.logger.as_ref()).is_some() {
        let text = any_text(chance);
        service.ready = LinePattern::new(&text).ok().map(|pattern| Box::new(Readiness::new(Check::Log(pattern))));
    }
    if chance.below(3) == 0 {
        let mut health = Health::new(any_check(chance));
        if chance.below(2) == 0 {
            (health.timeout, health.start_period) = (SHORTEST + any_duration(chance), any_duration(chance));
            if !health.check.is_its_own_word() {
                (health.interval, health.retries) = (SHORTEST + any_duration(chance), u32::try_from(1 + chance.below(5)).unwrap());
            }
        }
        service.health = Some(Box::new(health));
    }
    service.schedule = (chance.below(2) == 0).then(|| Box::new(any_schedule(chance)));
    service.stop_command = (chance.below(3) == 0).then(|| Box::new(any_program(chance)));
    for hook in Hook::ALL.into_iter().filter(|hook| hook.is_key()) {
        if chance.below(4) == 0 {
            let timeout = if chance.below(2) == 0 { hook::TIMEOUT } else { any_duration(chance) };
            service.hooks.insert(hook, HookSpec { program: any_program(chance), timeout });
        }
    }
    service
}

/// Without a folder to run in, paths are absolute once they are read.
fn any_watch(chance: &mut Chance, has_folder: bool) -> WatchSpec {
    let begin = ["/x/", "${HOME}/", if has_folder { "src/" } else { "/x/" }];
    let paths = (0..=chance.below(3)).map(|_| format!("{}{}", begin[chance.below(3)], any_value(chance))).collect();
    let mut watch = WatchSpec::new(paths);
    if chance.below(2) == 0 {
        return watch;
    }
    let mut patterns = || (0..chance.below(3)).filter_map(|_| Pattern::parse(&any_text(chance)).ok()).collect();
    (watch.include, watch.only, watch.exclude) = (patterns(), patterns(), patterns());
    watch.default_excludes = chance.below(2) == 0;
    watch.gitignore = chance.below(2) == 0;
    watch.max_depth = u32::try_from(1 + chance.below(1000)).unwrap();
    watch.compare = [Compare::Auto, Compare::Content, Compare::Mtime][chance.below(3)];
    (watch.settle, watch.initial_delay) = (any_duration(chance), any_duration(chance));
    watch.poll = [Poll::Auto, Poll::Never, Poll::Every(SHORTEST_POLL + any_duration(chance))][chance.below(3)];
    let signal = Signal::from_number(i32::try_from(1 + chance.below(64)).unwrap()).unwrap();
    let exec = HookSpec { program: any_program(chance), timeout: any_duration(chance) };
    watch.action = [OnChange::Restart, OnChange::Signal(signal), OnChange::Exec(exec)][chance.below(3)].clone();
    watch
}

fn any_program(chance: &mut Chance) -> Program {
    let path = ["a".to_owned(), any_text(chance)].into_iter().rfind(|path| !path.trim().is_empty()).unwrap();
    Program { path, args: (0..chance.below(3)).map(|_| any_text(chance)).collect() }
}

fn any_check(chance: &mut Chance) -> Check {
    let urls = ["http://127.0.0.1:8080/health", "http://[::1]/?a=%20&b#c", "http://web"];
    let url = Check::http(urls[chance.below(urls.len())]).unwrap();
    let text = Some(any_text(chance)).filter(|text| !text.trim().is_empty());
    match chance.below(7) {
        5 => Check::Notify(Channel::Socket),
        6 => Check::Listen([1, 8080, u16::MAX][chance.below(3)]),
        0 => Check::tcp(["8080", "1:30", "[::1]:80", "unix:/run/x", "no:1"][chance.below(5)]).unwrap(),
        1 => Check::Http(Page { url, status: None, body: None }),
        2 => Check::Http(Page { url, status: [None, Some(204)][chance.below(2)], body: text }),
        3 => Check::Command(vec!["/bin/x".to_owned(), any_text(chance)]),
        _ => Check::File(format!("/{}", any_text(chance))),
    }
}

fn any_attributes(chance: &mut Chance) -> Attributes {
    if chance.below(3) > 0 {
        return Attributes::default();
    }
    let users = ["app", "no", "0", "1000", "007", "1e3", "1000:1000", "app:web", "0:0", "null:_x", ".5"];
    let umasks = [None, Some(0), Some(0o22), Some(0o777)];
    let amounts = [None, Some(0), Some(7), Some(8 << 20), Some(i64::MAX.unsigned_abs())];
    let mut limits = BTreeMap::new();
    for _ in 0..chance.below(4) {
        let hard = amounts[chance.below(amounts.len())];
        let soft = amounts[chance.below(amounts.len())].filter(|soft| hard.is_none_or(|hard| *soft <= hard)).or(hard);
        limits.insert(Resource::ALL[chance.below(Resource::ALL.len())], Limit { soft, hard });
    }
    Attributes {
        user: (chance.below(2) == 0).then(|| Box::new(User::parse(users[chance.below(users.len())]).unwrap())),
        umask: umasks[chance.below(umasks.len())],
        limits,
        nice: [None, Some(-20), Some(0), Some(19)][chance.below(4)],
        oom_score_adj: [None, Some(-1000), Some(0), Some(1000)][chance.below(4)],
        no_new_privs: chance.below(2) == 0,
    }
}

fn any_zone(chance: &mut Chance) -> Option<TimeZone> {
    let name = ["Europe/Paris", "UTC", "Etc/GMT+2"].get(chance.below(6))?;
    Some(zone::named(name).unwrap())
}

fn any_options(chance: &mut Chance) -> Options {
    let mut options = Options::default();
    if chance.below(2) == 0 {
        return options;
    }
    options.overlap = [Overlap::Restart, Overlap::Skip, Overlap::Queue][chance.below(3)];
    options.missed = [Missed::Auto, Missed::Skip, Missed::Once][chance.below(3)];
    options.retry = [Retry::Policy, Retry::Never][chance.below(2)];
    options.deadline = (chance.below(2) == 0).then(|| any_duration(chance));
    options.jitter = any_duration(chance);
    options.timeout = (chance.below(2) == 0).then(|| any_duration(chance)).filter(|timeout| !timeout.is_zero());
    options.on_start = chance.below(2) == 0;
    options.history = chance.below(1001);
    options
}

fn any_schedule(chance: &mut Chance) -> Schedule {
    let options = any_options(chance);
    any_times(chance).with(options)
}

fn any_times(chance: &mut Chance) -> Schedule {
    let zone = any_zone(chance);
    if chance.below(6) == 0 {
        return Schedule::parse("@every 1m 30s").unwrap().in_zone(zone);
    }
    let mut expression =
        || ["* * * * *", "@daily", "0 0 3\t* * FRI", "1,2 * ? * 5#1", "TZ=Asia/Tokyo 0 3 * * *", "@reboot"][chance.below(6)];
    let mut schedule = Schedule::parse(expression()).unwrap();
    for _ in 0..expression().len() % 3 {
        schedule = schedule.and(expression()).unwrap();
    }
    schedule.in_zone(zone)
}

/// A small generator of the numbers that tests need; the same seed gives the same numbers.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}
