//! What users might configure and ask for, sense and nonsense.

use std::sync::Arc;
use std::time::Duration;

use ppm_core::dependencies::{Condition, Need, OnDependencyRestart};
use ppm_core::hook::{Hook, HookSpec, Program};
use ppm_core::logging::{LogChoice, LogKeys};
use ppm_core::probe::{self, Health, Readiness};
use ppm_core::schedule::{Missed, Options, Overlap, Retry, Schedule};
use ppm_core::spec::{Command, Reach, RestartWhen, ServiceSpec, Settings};
use ppm_core::supervisor::Main;
use ppm_core::watch::{OnChange, WatchSpec};
use ppm_protocol::message::{AddService, Await, Check, Goal, ReadAgain, ReadLog, ReadStats, Selection, SendSignal, Targets, Watch};
use ppm_protocol::{Request, Signal};

use crate::dice::Dice;

const NAMES: [&str; 6] = ["a", "b", "web-1", "web-2", "db", "x.y"];
const NONSENSE: [&str; 14] = ["nope", "", "a b", "*", "web-*", "z*", "all", "1", "2", "4294967295", "-1", "[", "ppm-daemon", "?"];
/// What a service may use that has a limit; the world knows amounts around it.
pub const MAX_MEMORY: u64 = 1000;

const SIGNALS: [&str; 7] = ["HUP", "USR1", "TERM", "KILL", "STOP", "CONT", "RTMIN+3"];

pub fn settings(dice: &mut Dice) -> Settings {
    Settings {
        watch_restart_interval: dice.pick_ms(&[0, 50, 700, 3000]),
        stats_interval: dice.pick_ms(&[500, 10_000]),
        shutdown_timeout: dice.pick_ms(&[0, 200, 2000, 9000]),
        clock_check_interval: dice.pick_ms(&[0, 10_000, 3_600_000]),
        ..Settings::default()
    }
}

/// Whether there is a command on the daemon's command line.
pub fn main(dice: &mut Dice) -> Option<Main> {
    *dice.pick(&[None, None, None, None, Some(Main::Alone), Some(Main::AmongOthers)])
}

pub fn services(dice: &mut Dice) -> Vec<ServiceSpec> {
    let count = 1 + dice.roll(NAMES.len() - 1);
    let mut services: Vec<ServiceSpec> = NAMES[..count].iter().map(|name| service(dice, name)).collect();
    for (spec, id) in services.iter_mut().zip([7, 2, 30, 1, 9, 40]) {
        spec.id = dice.one_in(10).then_some(id);
    }
    if dice.one_in(2) {
        let density = *dice.pick(&[1, 2, 3]);
        let ranks: Vec<usize> = services.iter().map(|_| dice.roll(100)).collect();
        for (by, spec) in services.iter_mut().enumerate() {
            let below = |on: &usize| (ranks[*on], *on) < (ranks[by], by);
            let names = (0..count).filter(below).filter(|_| dice.one_in(density)).map(|on| NAMES[on]);
            spec.depends_on = names.collect::<Vec<_>>().into_iter().map(|name| need(dice, name)).collect();
            spec.on_dependency_restart = *dice.pick(&[OnDependencyRestart::Keep, OnDependencyRestart::Restart]);
        }
    } else {
        services.iter_mut().for_each(|spec| hooks(dice, spec)); // the judge does not know what the two mean for each other
    }
    services
}

fn need(dice: &mut Dice, name: &str) -> Need {
    let condition = *dice.pick(&[Condition::Started, Condition::Started, Condition::Ready, Condition::Finished]);
    Need { service: name.to_owned(), condition }
}

fn service(dice: &mut Dice, name: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::new(name, Command { path: "/bin/x".to_owned(), ..Command::default() }, &Settings::default());
    spec.autostart = !dice.one_in(6);
    spec.restart.when = *dice.pick(&[RestartWhen::OnFailure, RestartWhen::OnFailure, RestartWhen::Always, RestartWhen::Never]);
    spec.restart.interval = dice.pick_ms(&[0, 10, 100, 1000, 1000]);
    spec.restart.max_interval = dice.pick_ms(&[10, 1000, 5000, 60_000]);
    spec.restart.jitter_percent = *dice.pick(&[0, 0, 20, 100]);
    spec.restart.max_retries = *dice.pick(&[0, 0, 1, 3]);
    spec.restart.reset_after = dice.pick_ms(&[500, 5000, 60_000]);
    spec.success_exit_codes = dice.pick(&[vec![0], vec![0, 3], vec![]]).clone();
    spec.stop.signal = dice.pick(&["TERM", "TERM", "INT", "QUIT", "HUP"]).parse().unwrap();
    spec.stop.timeout = dice.pick_ms(&[0, 50, 1000, 5000, 5000]);
    spec.stop.reach = *dice.pick(&[Reach::Group, Reach::Group, Reach::Leader]);
    let schedules = ["*/10 * * * * *", "*/10 * * * * *", "* * * * *", "5 3 * * *", "@every 25s", "0 0 0 1 1 * 2020"];
    let text = if dice.one_in(2) { "" } else { *dice.pick(&schedules) };
    spec.ready = dice.one_in(3).then(|| {
        let ready = Readiness::new(probe::Check::tcp("80").unwrap());
        let (interval, start_period) = (dice.pick_ms(&[10, 200, 3000]), dice.pick_ms(&[0, 100, 30_000]));
        let timeout = dice.one_in(3).then(|| dice.pick_ms(&[20, 1000, 5000]));
        let check = if dice.one_in(3) { probe::Check::Notify(probe::Channel::Socket) } else { ready.check };
        Box::new(Readiness { check, interval, timeout, start_period })
    });
    spec.health = dice.one_in(3).then(|| {
        let health = Health::new(probe::Check::tcp("80").unwrap());
        let (interval, timeout) = (dice.pick_ms(&[10, 500, 10_000]), dice.pick_ms(&[10, 300, 2000]));
        let check = if dice.one_in(3) { probe::Check::Notify(probe::Channel::Socket) } else { health.check };
        Box::new(Health { check, interval, timeout, retries: *dice.pick(&[1, 2, 3]), start_period: dice.pick_ms(&[0, 0, 3000]) })
    });
    spec.essential = dice.one_in(8);
    // By what was rolled before: a new key leaves the histories of all others as they are.
    let is_limited = spec.restart.reset_after == Duration::from_secs(5) && spec.restart.jitter_percent == 0;
    spec.max_memory = is_limited.then_some(MAX_MEMORY);
    let memory = LogKeys { memory: Some(4096), ..LogKeys::default() };
    spec.log = if name != "web-1" { LogChoice::Own(Box::new(memory)) } else { LogChoice::AsLogger };
    spec.watch = dice.one_in(3).then(|| Arc::new(watch(dice)));
    spec.schedule = (!text.is_empty()).then(|| Box::new(Schedule::parse(text).unwrap().with(options(dice, text))));
    spec
}

fn watch(dice: &mut Dice) -> WatchSpec {
    let exec = HookSpec { program: program(), timeout: dice.pick_ms(&[0, 50, 1000, 30_000]) };
    let action = dice.pick(&[OnChange::Signal(Signal::USR1), OnChange::Exec(exec), OnChange::Restart, OnChange::Restart]).clone();
    WatchSpec { action, initial_delay: dice.pick_ms(&[0, 0, 2000]), ..WatchSpec::new(vec!["/w".to_owned()]) }
}

fn hooks(dice: &mut Dice, spec: &mut ServiceSpec) {
    if dice.one_in(3) {
        return;
    }
    spec.stop_command = dice.one_in(3).then(|| Box::new(program()));
    for hook in Hook::ALL.into_iter().filter(|hook| hook.is_key()) {
        let timeout = dice.pick_ms(&[0, 50, 1000, 30_000]);
        spec.hooks.extend(dice.one_in(3).then(|| (hook, HookSpec { program: program(), timeout })));
    }
}

fn program() -> Program {
    Program { path: "/bin/hook".to_owned(), args: Vec::new() }
}

fn options(dice: &mut Dice, text: &str) -> Options {
    if dice.one_in(3) {
        return Options::default();
    }
    Options {
        overlap: *dice.pick(&[Overlap::Restart, Overlap::Skip, Overlap::Queue]),
        missed: *dice.pick(&[Missed::Auto, Missed::Skip, Missed::Once]),
        deadline: dice.one_in(3).then(|| dice.pick_ms(&[0, 500, 5000])),
        jitter: if text.starts_with('@') { Duration::ZERO } else { dice.pick_ms(&[0, 0, 3000]) },
        timeout: dice.one_in(3).then(|| dice.pick_ms(&[50, 2000, 8000])),
        retry: *dice.pick(&[Retry::Policy, Retry::Policy, Retry::Never]),
        on_start: dice.one_in(6),
        history: *dice.pick(&[0, 1, 10]),
    }
}

pub fn request(dice: &mut Dice) -> Request {
    match dice.roll(28) {
        0 | 1 => Request::List(selection(dice)),
        2 => dice.pick(&[Request::Hello, Request::Configuration]).clone(),
        3 => Request::Info(selection(dice)),
        4 | 5 => Request::Add(add(dice)),
        6 | 7 => Request::Remove(targets(dice)),
        8..=10 => Request::Start(targets(dice)),
        11..=13 => Request::Stop(targets(dice)),
        14..=16 => Request::Restart(restart(dice)),
        17 | 24 | 25 => Request::Reschedule(targets(dice)),
        18 => Request::Pause(targets(dice)),
        19 => Request::Resume(targets(dice)),
        20 => Request::Signal(SendSignal { services: words(dice), signal: signal(dice) }),
        21 if dice.one_in(2) => Request::Stats(ReadStats { services: words(dice), pss: dice.one_in(2), rates: dice.one_in(2) }),
        21 if dice.one_in(2) => Request::History(selection(dice)),
        21 => Request::Scheduler(selection(dice)),
        26 if dice.one_in(2) => Request::Health(selection(dice)),
        26 if dice.one_in(4) => Request::Watched(selection(dice)),
        26 if dice.one_in(2) => Request::Runs(selection(dice)),
        26 => Request::Why(selection(dice)),
        27 if dice.one_in(2) => Request::Reload(ReadAgain { plan: dice.one_in(2) }),
        27 => Request::Check(Check { text: String::new(), name: String::new(), grace_ms: None }),
        22 if dice.one_in(4) => Request::Log(ReadLog { services: words(dice), follow: dice.one_in(2), ..ReadLog::default() }),
        22 => Request::Events(Watch { services: words(dice), last: Some(dice.roll(3)), follow: dice.one_in(2) }),
        _ => Request::Wait(wait(dice)),
    }
}

pub fn signal(dice: &mut Dice) -> Signal {
    dice.pick(&SIGNALS).parse().unwrap()
}

fn words(dice: &mut Dice) -> Vec<String> {
    let count = *dice.pick(&[0, 1, 1, 1, 1, 1, 2, 3]);
    let mut word = || match dice.roll(8) {
        0 | 1 => *dice.pick(&NONSENSE),
        2..=4 => *dice.pick(&NAMES),
        _ => *dice.pick(&NAMES[..2]), // who is asked again and again is asked while it is on its way
    };
    (0..count).map(|_| word().to_owned()).collect()
}

fn selection(dice: &mut Dice) -> Selection {
    Selection { services: words(dice) }
}

fn targets(dice: &mut Dice) -> Targets {
    Targets { services: words(dice), wait: !dice.one_in(4), rolling: false }
}

fn restart(dice: &mut Dice) -> Targets {
    Targets { rolling: dice.one_in(4), ..targets(dice) }
}

fn add(dice: &mut Dice) -> AddService {
    let name = *dice.pick(&["a", "new", "new-2", "web-1", "", "7", "all", "a b"]);
    AddService {
        name: name.to_owned(),
        command: if dice.one_in(8) { Vec::new() } else { vec!["/bin/x".to_owned()] },
        restart: dice.pick(&[None, Some("always"), Some("never"), Some("sometimes")]).map(str::to_owned),
        schedule: dice.pick(&[None, None, None, Some("*/10 * * * * *"), Some("nonsense")]).map(str::to_owned),
        depends_on: if dice.one_in(2) {
            Vec::new()
        } else {
            vec![dice.pick(&["a", "b", "db:ready", "new", "web-1:finished", "z"]).to_string()]
        },
        start: !dice.one_in(4),
        wait: !dice.one_in(4),
        ..AddService::default()
    }
}

fn wait(dice: &mut Dice) -> Await {
    let goal = *dice.pick(&[Goal::Running, Goal::Ready, Goal::Finished, Goal::Stopped]);
    let timeout_ms = *dice.pick(&[None, Some(0), Some(700), Some(60_000)]);
    Await { services: words(dice), goal, timeout_ms }
}
