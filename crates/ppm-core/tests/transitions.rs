//! Prints THE TABLE of a service's life, every cell of it, and compares it with `transitions.txt`.
//!
//! The states are not listed here: they are explored from a fresh service by every input there is, so that a state
//! stands in the table exactly when it can be reached, with the shortest history that leads to it. `never` is a
//! cell that the core holds to be impossible. `UPDATE=1 cargo test -p ppm-core --test transitions` writes the file
//! anew; its diff is the review.
#![expect(clippy::disallowed_methods, reason = "what is decided without files is compared with what stands in them")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[path = "transitions/diagram.rs"]
mod diagram;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_core::dependencies::{Lack, Missing, Needs, OnDependencyRestart};
use ppm_core::event::{Cause, Group, NoStart, Pid, ServiceId};
use ppm_core::hook::{Hook, HookSpec, Program};
use ppm_core::notification::Notification;
use ppm_core::probe::{Channel, Check, Health, Outcome, Readiness};
use ppm_core::schedule::{Options, Overlap, Retry, Schedule};
use ppm_core::service::{Attempt, Closing, Context, Effect, HookEffect, HookInput, Input, Live, Next, Run, Service, Stage, Want, Work};
use ppm_core::spec::{Command, Reach, RestartWhen, ServiceSpec, Settings};
use ppm_core::time::{Mono, Now, Timestamp, brief};
use ppm_core::watch::{Change, ChangeKind, Changes, OnChange, WatchSpec};
use ppm_protocol::{Exit, Signal, Status};

/// Between two inputs of a history.
const STEP: Duration = Duration::from_secs(1);

/// How many inputs a history may have: enough for every state, and a bound for the search.
const DEEPEST: usize = 12;

/// The input that comes with short memory.
const OUT_OF_MEMORY: &str = "Exited KILL, no memory";

/// Inputs that come while others matter.
const WAITS: &str = "Needs, waits";
const HOPELESS: &str = "Needs, in vain";
const OUTDATED: &str = "Needs, renewed";
const START_WAITS: &str = "Start, waits";
const RESTART_WAITS: &str = "Restart, waits";
const STOP_HELD: &str = "Stop, held";
const RESTART_HELD: &str = "Restart, held";

const CRASHED_BEFORE: &str = ", crashed before";

/// Explored once for all who look at it.
static TABLE: LazyLock<String> = LazyLock::new(print_all);

#[test]
fn the_table_is_the_one_that_was_reviewed() {
    let printed = TABLE.as_str();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, printed).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    if printed != reviewed {
        let differs = printed.lines().zip(reviewed.lines()).find(|(new, old)| new != old);
        let (new, old) = differs.unwrap_or(("(more lines)", "(or fewer)"));
        panic!("the table has changed; UPDATE=1 writes it anew, review the diff. First:\n- {old}\n+ {new}");
    }
}

fn print_all() -> String {
    let default = spec();
    let cells = explore(&default);
    let mut out = String::from(
        "The life of a service, every cell of it. Written by tests/transitions.rs; read the diff.\n\
         `input` in the state of the heading leads to the state and the effects beside it; `.` is: nothing changes.\n\
         Steps are 1s apart. Restart 1s 2s 4s ..., at most 5m; stop TERM, 5s; what got SIGKILL is stuck after 5s.\n",
    );
    write!(out, "\n==== restart: on-failure (the default)\n").unwrap();
    print_table(&mut out, &cells, |_, _| true);
    for (title, spec) in variants() {
        write!(out, "\n==== {title}: only what differs\n").unwrap();
        print_table(&mut out, &explore(&spec), |state, cell| match cells.get(&state.without_count()) {
            // How a hook itself comes to its end does not concern its service before it has.
            None if ["killing", "draining", "purging"].iter().any(|stage| state.title.ends_with(stage)) => false,
            Some(known) if cell.next == "never" => known.cells.iter().any(|default| default.input == cell.input && default != cell),
            Some(known) => !known.cells.iter().any(|default| default.is_like(cell)),
            None => !matches!(cell.next.as_str(), "." | "never" | "no deadline"), // a state of its own
        });
    }
    out
}

fn spec() -> ServiceSpec {
    let command = Command { path: "svc".to_owned(), ..Command::default() };
    ServiceSpec::new("svc", command, &Settings::default())
}

fn variants() -> Vec<(&'static str, ServiceSpec)> {
    let with = |change: fn(&mut ServiceSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    vec![
        ("schedule: \"* * * * *\"", with(|spec| spec.schedule = Some(Box::new(Schedule::parse("* * * * *").unwrap())))),
        (
            "schedule: {cron: \"* * * * *\", overlap: skip, timeout: 20s, retry: never}",
            with(|spec| {
                let options = Options { overlap: Overlap::Skip, timeout: Some(20 * STEP), retry: Retry::Never, ..Options::default() };
                spec.schedule = Some(Box::new(Schedule::parse("* * * * *").unwrap().with(options)));
            }),
        ),
        (
            "schedule: {cron: \"* * * * *\", overlap: queue}",
            with(|spec| {
                let options = Options { overlap: Overlap::Queue, ..Options::default() };
                spec.schedule = Some(Box::new(Schedule::parse("* * * * *").unwrap().with(options)));
            }),
        ),
        (
            "watch: {paths: [.], action: signal HUP}",
            with(|spec| {
                let watch = WatchSpec { action: OnChange::Signal(Signal::HUP), ..WatchSpec::new(vec![".".to_owned()]) };
                spec.watch = Some(Arc::new(watch));
            }),
        ),
        (
            "watch: {paths: [.], action: {exec: [hook]}}",
            with(|spec| {
                let program = Program { path: "hook".to_owned(), args: Vec::new() };
                let action = OnChange::Exec(HookSpec { program, timeout: 2 * STEP });
                spec.watch = Some(Arc::new(WatchSpec { action, ..WatchSpec::new(vec![".".to_owned()]) }));
            }),
        ),
        ("autostart: false", with(|spec| spec.autostart = false)),
        ("on_dependency_restart: restart", with(|spec| spec.on_dependency_restart = OnDependencyRestart::Restart)),
        ("restart: never", with(|spec| spec.restart.when = RestartWhen::Never)),
        ("restart: always", with(|spec| spec.restart.when = RestartWhen::Always)),
        ("restart: {max_retries: 1}", with(|spec| spec.restart.max_retries = 1)),
        ("restart: {interval: 0s}", with(|spec| spec.restart.interval = Duration::ZERO)),
        ("essential: true, restart: never", with(|spec| (spec.essential, spec.restart.when) = (true, RestartWhen::Never))),
        ("essential: true, restart: {max_retries: 1}", with(|spec| (spec.essential, spec.restart.max_retries) = (true, 1))),
        (
            "essential: true, restart: never, schedule: \"* * * * *\"",
            with(|spec| {
                (spec.essential, spec.restart.when) = (true, RestartWhen::Never);
                spec.schedule = Some(Box::new(Schedule::parse("* * * * *").unwrap()));
            }),
        ),
        (
            "ready: {tcp: 80, timeout: 10s, start_period: 5s}",
            with(|spec| {
                let ready = Readiness::new(Check::tcp("80").unwrap());
                spec.ready = Some(Box::new(Readiness { timeout: Some(10 * STEP), start_period: 5 * STEP, ..ready }));
            }),
        ),
        (
            "health: {tcp: 80, retries: 2}",
            with(|spec| spec.health = Some(Box::new(Health { retries: 2, ..Health::new(Check::tcp("80").unwrap()) }))),
        ),
        (
            "ready: notify, health: notify",
            with(|spec| {
                spec.ready = Some(Box::new(Readiness::new(Check::Notify(Channel::Socket))));
                spec.health = Some(Box::new(Health::new(Check::Notify(Channel::Socket))));
            }),
        ),
        ("success_exit_codes: [0, 1]", with(|spec| spec.success_exit_codes = vec![0, 1])),
        ("hooks: {pre_start: hook}", with(|spec| add(spec, Hook::PreStart))),
        ("hooks: {pre_stop: hook}, restart: never", with(|spec| (add(spec, Hook::PreStop), spec.restart.when = RestartWhen::Never).0)),
        (
            "stop: {command: hook}, restart: never",
            with(|spec| {
                spec.stop_command = Some(Box::new(program()));
                spec.restart.when = RestartWhen::Never;
            }),
        ),
        ("hooks: {post_stop: hook}", with(|spec| add(spec, Hook::PostStop))),
        (
            "stop: {signal: SEGV, group: false}",
            with(|spec| {
                spec.stop.signal = "SEGV".parse().unwrap();
                spec.stop.reach = Reach::Leader;
            }),
        ),
    ]
}

fn program() -> Program {
    Program { path: "hook".to_owned(), args: Vec::new() }
}

fn add(spec: &mut ServiceSpec, hook: Hook) {
    spec.hooks.insert(hook, HookSpec { program: program(), timeout: 10 * STEP });
}

/// A state as far as the table tells states apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    want: u8,
    run: u8,
    title: String,
}

impl State {
    /// Told apart only where crashes are counted towards giving up.
    fn without_count(&self) -> State {
        State { title: self.title.trim_end_matches(CRASHED_BEFORE).to_owned(), ..self.clone() }
    }
}

struct Row {
    history: Vec<String>,
    cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    input: &'static str,
    next: String,
    effects: String,
}

impl Cell {
    /// Whether the outcome is the same but for the number of crashes.
    fn is_like(&self, other: &Cell) -> bool {
        let plain = |next: &str| next.split(" n=").next().unwrap_or_default().to_owned();
        self.input == other.input && plain(&self.next) == plain(&other.next) && self.effects == other.effects
    }
}

/// Every state that can be reached, and what every input does there.
fn explore(spec: &ServiceSpec) -> BTreeMap<State, Row> {
    std::panic::set_hook(Box::new(|_| {})); // `never` panics, and is caught
    let mut rows = BTreeMap::new();
    let fresh = Service::new(ServiceId(1), spec.clone(), &context(Mono(0)));
    let mut frontier = vec![(fresh, Mono(0), Vec::new())];
    while let Some((service, at, history)) = frontier.pop() {
        let state = state_of(&service);
        if rows.contains_key(&state) || history.len() > DEEPEST {
            continue;
        }
        let mut cells = Vec::new();
        for (name, input) in inputs(spec) {
            let (cell, next) = try_cell(&service, at, name, &input);
            cells.push(cell);
            if let Some((service, at)) = next {
                frontier.insert(0, (service, at, history.iter().cloned().chain([name.to_owned()]).collect()));
            }
        }
        rows.insert(state, Row { history, cells });
    }
    drop(std::panic::take_hook());
    rows
}

fn inputs(spec: &ServiceSpec) -> Vec<(&'static str, Input)> {
    let signal = |name: &str| Exit::Signal(name.parse().unwrap());
    let exited = |exit, group| Input::Exited(exit, group);
    vec![
        ("Boot", Input::Boot(Cause::Boot)),
        ("Start", Input::Start),
        ("Restart", Input::Restart),
        ("Reschedule", Input::Reschedule),
        ("Stop", Input::Stop),
        ("Remove", Input::Remove),
        ("Needed", Input::Needed),
        ("Needs, all there", Input::Needs),
        (WAITS, Input::Needs),
        (HOPELESS, Input::Needs),
        (OUTDATED, Input::Needs),
        (START_WAITS, Input::Start),
        (RESTART_WAITS, Input::Restart),
        (STOP_HELD, Input::Stop),
        (RESTART_HELD, Input::Restart),
        ("Pause", Input::Pause),
        ("Resume", Input::Resume),
        ("Signal HUP", Input::Signal(Signal::HUP)),
        ("PassOn WINCH", Input::PassOn("WINCH".parse().unwrap())),
        ("KillNow", Input::KillNow),
        ("Fire", Input::Fire),
        ("ClockSet", Input::ClockSet(-3_600_000)),
        ("Replan", Input::Replan),
        ("Outgrew", Input::Outgrew { used: 601 << 20, max: 512 << 20 }),
        ("FilesChanged", Input::FilesChanged(changes())),
        ("Tick, early", Input::Tick),
        ("Tick, due", Input::Tick),
        ("Spawned", Input::Spawned(Pid(7))),
        ("SpawnFailed", Input::SpawnFailed(NoStart { why: "exec: no such file: svc".to_owned(), code: NoStart::NOT_FOUND })),
        ("Exited 0", exited(Exit::Code(0), Group::Empty)),
        ("Exited 1", exited(Exit::Code(1), Group::Empty)),
        ("Exited TERM", exited(signal("TERM"), Group::Empty)),
        ("Exited KILL", exited(signal("KILL"), Group::Empty)),
        (OUT_OF_MEMORY, exited(signal("KILL"), Group::Empty)),
        ("Exited SEGV", exited(signal("SEGV"), Group::Empty)),
        ("Exited 0, left", exited(Exit::Code(0), Group::Left)),
        ("Exited 1, left", exited(Exit::Code(1), Group::Left)),
        ("Exited TERM, left", exited(signal("TERM"), Group::Left)),
        ("Exited KILL, left", exited(signal("KILL"), Group::Left)),
        ("Exited SEGV, left", exited(signal("SEGV"), Group::Left)),
        ("Drained", Input::Drained),
        ("Strayed", Input::Strayed),
        ("WasPaused", Input::WasPaused),
        ("WasResumed", Input::WasResumed),
        ("Probed, passed", Input::Probed(0, Outcome::Passed)),
        ("Probed, failed", Input::Probed(0, Outcome::Failed("connection refused".to_owned()))),
        ("Probed, not asked", Input::Probed(0, Outcome::NotAsked("too many open files".to_owned()))),
        ("Reprobe", Input::Reprobe),
        ("Notified READY=1", Input::Notified(Notification::parse(b"READY=1"))),
        ("Notified WATCHDOG=1", Input::Notified(Notification::parse(b"WATCHDOG=1"))),
        ("Notified WATCHDOG=trigger", Input::Notified(Notification::parse(b"WATCHDOG=trigger"))),
        ("Notified STOPPING=1", Input::Notified(Notification::parse(b"STOPPING=1"))),
    ]
    .into_iter()
    .chain(Hook::ALL.into_iter().filter(|hook| spec.hook(*hook).is_some()).flat_map(inputs_of))
    .collect()
}

fn inputs_of(hook: Hook) -> [(&'static str, Input); 6] {
    let names = match hook {
        Hook::PreStart => ["pre_start runs", "pre_start cannot", "pre_start 0", "pre_start 1", "pre_start 0, left", "pre_start drained"],
        Hook::PreStop => ["pre_stop runs", "pre_stop cannot", "pre_stop 0", "pre_stop 1", "pre_stop 0, left", "pre_stop drained"],
        Hook::Stop => ["stop runs", "stop cannot", "stop 0", "stop 1", "stop 0, left", "stop drained"],
        Hook::PostStop => ["post_stop runs", "post_stop cannot", "post_stop 0", "post_stop 1", "post_stop 0, left", "post_stop drained"],
        Hook::OnChange => ["watch runs", "watch cannot", "watch 0", "watch 1", "watch 0, left", "watch drained"],
        Hook::OnCrash => ["on_crash runs", "on_crash cannot", "on_crash 0", "on_crash 1", "on_crash 0, left", "on_crash drained"],
        Hook::PostStart => {
            ["post_start runs", "post_start cannot", "post_start 0", "post_start 1", "post_start 0, left", "post_start drained"]
        }
        Hook::OnReady => ["on_ready runs", "on_ready cannot", "on_ready 0", "on_ready 1", "on_ready 0, left", "on_ready drained"],
    };
    let no_start = NoStart { why: "exec: no such file: hook".to_owned(), code: NoStart::NOT_FOUND };
    let exited = |code, group| HookInput::Exited(Exit::Code(code), group);
    let inputs = [
        HookInput::Spawned(Pid(8)),
        HookInput::SpawnFailed(no_start),
        exited(0, Group::Empty),
        exited(1, Group::Empty),
        exited(0, Group::Left),
        HookInput::Drained,
    ];
    let mut inputs = inputs.into_iter();
    names.map(|name| (name, Input::Hook(hook, inputs.next().unwrap())))
}

fn changes() -> Changes {
    let mut changes = Changes::default();
    changes.add(|| Change { kind: ChangeKind::Modified, path: b"/app/f".to_vec(), base: 5 });
    changes
}

fn try_cell(service: &Service, at: Mono, name: &'static str, input: &Input) -> (Cell, Option<(Service, Mono)>) {
    let cell = |next: &str, effects: &str| Cell { input: name, next: next.to_owned(), effects: effects.to_owned() };
    let at = match (name, service.deadline()) {
        ("Tick, due", None) => return (cell("no deadline", ""), None),
        ("Tick, due", Some(due)) => due,
        ("Tick, early", _) => at,
        _ => at + STEP,
    };
    let before = service;
    let input = &match input {
        Input::Probed(_, outcome) => Input::Probed(attempt_of(service).unwrap_or(99), outcome.clone()),
        other => other.clone(),
    };
    let mut service = service.clone();
    let mut effects = Vec::new();
    let step = catch_unwind(AssertUnwindSafe(|| {
        let needs = needs_of(name);
        let context = Context { out_of_memory: name == OUT_OF_MEMORY, needs: &needs, ..context(at) };
        service.step(&context, input, &mut effects);
        (service, effects)
    }));
    let Ok((service, effects)) = step else { return (cell("never", ""), None) };
    let effects = effects.iter().map(effect_in_words).collect::<Vec<_>>().join(", ");
    let (old, new) = (in_words(before, at), in_words(&service, at));
    let unchanged = before.want() == service.want() && before.run() == service.run() && before.status() == service.status();
    let next = if unchanged && old == new { ".".to_owned() } else { new };
    (Cell { input: name, next, effects }, Some((service, at)))
}

/// What it needs of others, or they of it, when this input comes.
fn needs_of(name: &str) -> Needs {
    let missing = |lack| vec![Missing { service: "db".to_owned(), lack }];
    match name {
        WAITS | START_WAITS | RESTART_WAITS => Needs { missing: missing(Lack::Coming), ..Needs::NONE },
        HOPELESS => Needs { missing: missing(Lack::Crashed), ..Needs::NONE },
        OUTDATED => Needs { is_outdated: true, ..Needs::NONE },
        STOP_HELD | RESTART_HELD => Needs { is_held: true, ..Needs::NONE },
        _ => Needs::NONE,
    }
}

fn context(at: Mono) -> Context<'static> {
    let wall = Timestamp(1_000_000 + i64::try_from(at.0 / 1_000_000).unwrap());
    let (now, zone, needs) = (Now { mono: at, wall }, const { &TimeZone::UTC }, const { &Needs::NONE });
    Context { now, zone, chance: 0, needs, out_of_memory: false, watch_interval: 3 * STEP, latest: None }
}

fn state_of(service: &Service) -> State {
    let want = match service.want() {
        Want::Up { .. } => 0,
        Want::Unasked => 1,
        Want::Down => 2,
        Want::Gone => 3,
    };
    let cause = |then| match then {
        Next::Policy => ", then by policy",
        Next::Rest => "",
        Next::Start(_) => ", then start",
    };
    let strays = |at: Option<Mono>| if at.is_some() { "" } else { ", strays asked" };
    let (run, title) = match service.run() {
        Run::Idle if service.attempts() == 0 => (0, "Idle, never run".to_owned()),
        Run::Idle if is_given_up(service) => (1, "Idle, gave up".to_owned()),
        Run::Idle => (1, "Idle, ran before".to_owned()),
        Run::Blocked { .. } if service.is_hopeless() => (1, "Blocked in vain".to_owned()),
        Run::Blocked { .. } => (1, "Blocked".to_owned()),
        Run::Starting { .. } => (2, "Starting".to_owned()),
        Run::Preparing { then, .. } => (12, format!("Preparing{}", cause(then))),
        Run::Closing { stage: Closing::PreStop, then, .. } => (13, format!("Closing by pre_stop{}", cause(then))),
        Run::Closing { stage: Closing::Command { .. }, then, .. } => (14, format!("Closing by command{}", cause(then))),
        Run::Finishing { then } => (15, format!("Finishing{}{}", after(service), cause(then))),
        Run::Cleaning { then } => (16, format!("Cleaning{}{}", after(service), cause(then))),
        Run::Up(live) => (3, format!("Up{}{}{}", queued(live), leaving(live), probed(live))),
        Run::Paused(live) => (4, format!("Paused{}{}{}", queued(live), leaving(live), probed(live))),
        Run::Stopping { strays_at, then, .. } => (5, format!("Stopping{}{}", strays(strays_at), cause(then))),
        Run::Killing { then, stuck_at: Some(_), .. } => (6, format!("Killing{}", cause(then))),
        Run::Killing { then, stuck_at: None, .. } => (7, format!("Killing, stuck{}", cause(then))),
        Run::Draining { strays_at, then, .. } => (8, format!("Draining{}{}{}", strays(strays_at), after(service), cause(then))),
        Run::Purging { is_stuck: false, then, .. } => (9, format!("Purging{}{}", after(service), cause(then))),
        Run::Purging { is_stuck: true, then, .. } => (10, format!("Purging, stuck{}{}", after(service), cause(then))),
        Run::Waiting { cause, .. } => (11, format!("Waiting ({cause})")),
    };
    let counts = service.spec().restart.max_retries > 0 && service.crashes(context(Mono(0)).now) > 0;
    let tried = if counts { CRASHED_BEFORE } else { "" };
    State { want, run, title: format!("want {}, {title}{tried}{}", want_in_words(service), hooks_in_words(service)) }
}

fn hooks_in_words(service: &Service) -> String {
    let stage = |work: Work| match work {
        Work::Starting => "starting",
        Work::Running { .. } => "running",
        Work::Stopping { .. } => "stopping",
        Work::Killing { .. } => "killing",
        Work::Draining { .. } => "draining",
        Work::Purging { .. } => "purging",
    };
    service.hooks().map(|(hook, work)| format!(", {} {}", hook.name(), stage(work.work()))).collect()
}

fn queued(live: Live) -> &'static str {
    match (live.queued.is_some(), live.answer_at.is_some()) {
        (false, false) => "",
        (true, false) => ", one waits",
        (false, true) => ", changes wait",
        (true, true) => ", one waits and changes",
    }
}

fn leaving(live: Live) -> &'static str {
    match live.leaving {
        None => "",
        Some(Next::Rest | Next::Policy) => ", held",
        Some(Next::Start(_)) => ", held, then start",
    }
}

/// How far its probes have come, as far as states are told apart by it.
fn probed(live: Live) -> String {
    let stage = match live.probing.stage {
        Stage::Starting { told_at: Some(_), .. } => ", not ready",
        Stage::Starting { told_at: None, .. } => ", not ready, which was told",
        Stage::Ready { .. } => "",
    };
    let attempt = match live.probing.attempt {
        Attempt::None => "",
        Attempt::Listening { .. } => ", listened to",
        Attempt::Due(_) => ", probe due",
        Attempt::UnderWay { .. } => ", probed",
    };
    let failures = match (live.probing.stage, live.probing.failures) {
        (Stage::Ready { .. }, failures @ 1..) => format!(", failed {failures}"),
        (Stage::Ready { .. } | Stage::Starting { .. }, _) => String::new(),
    };
    format!("{stage}{attempt}{failures}")
}

/// The same, with its times.
fn probed_in_full(live: Live, at: Mono) -> String {
    let until = |time: Mono| brief(time.since(at));
    let times = match (live.probing.attempt, live.probing.stage) {
        (Attempt::Due(due), _) | (Attempt::UnderWay { until: due, .. } | Attempt::Listening { until: Some(due) }, _) => {
            format!(" {}", until(due))
        }
        (Attempt::None | Attempt::Listening { until: None }, _) => String::new(),
    };
    format!("{}{times}", probed(live))
}

fn attempt_of(service: &Service) -> Option<u64> {
    match service.live()?.probing.attempt {
        Attempt::UnderWay { number, .. } => Some(number),
        Attempt::None | Attempt::Listening { .. } | Attempt::Due(_) => None,
    }
}

/// Whose leftovers these are: what comes next depends on it.
fn after(service: &Service) -> &'static str {
    use ppm_core::service::How;
    match service.last().map(|end| &end.how) {
        Some(How::Finished) => " after a good end",
        Some(How::Crashed | How::OutOfMemory | How::TimedOut(_) | How::Unwell(_) | How::NotStarted(_)) => " after a crash",
        Some(How::Obeyed | How::DiedStopping | How::Overran(_) | How::Outgrew { .. }) => " after a stop",
        None => " after nothing",
    }
}

fn is_given_up(service: &Service) -> bool {
    service.reason(context(Mono(0)).now).contains("gave up")
}

fn want_in_words(service: &Service) -> &'static str {
    match service.want() {
        Want::Up { .. } => "Up",
        Want::Unasked => "Unasked",
        Want::Down => "Down",
        Want::Gone => "Gone",
    }
}

/// The state in full, with its times as seen from `at`, and what its users see of it.
fn in_words(service: &Service, at: Mono) -> String {
    let until = |time: Mono| brief(time.since(at));
    let then = |then| match then {
        Next::Policy => " then by policy".to_owned(),
        Next::Rest => String::new(),
        Next::Start(cause) => format!(" then {cause}"),
    };
    let strays = |time: Option<Mono>| time.map_or(String::new(), |at| format!("{}, ", until(at)));
    let answer = |live: Live| live.answer_at.map_or(String::new(), |at| format!(" {}", until(at)));
    let run = match service.run() {
        Run::Idle => "Idle".to_owned(),
        Run::Preparing { cause, then: next } => format!("Preparing {cause}{}", then(next)),
        Run::Closing { stage: Closing::PreStop, then: next, .. } => format!("Closing by pre_stop{}", then(next)),
        Run::Closing { stage: Closing::Command { kill_at }, then: next, .. } => format!("Closing {}{}", until(kill_at), then(next)),
        Run::Finishing { then: next } => format!("Finishing{}", then(next)),
        Run::Cleaning { then: next } => format!("Cleaning{}", then(next)),
        Run::Blocked { cause } => format!("Blocked{} {cause}", if service.is_hopeless() { " in vain" } else { "" }),
        Run::Starting { cause } => format!("Starting {cause}"),
        Run::Up(live) => format!("Up{}{}{}{}", answer(live), queued(live), leaving(live), probed_in_full(live, at)),
        Run::Paused(live) => format!("Paused{}{}{}{}", answer(live), queued(live), leaving(live), probed_in_full(live, at)),
        Run::Stopping { strays_at, kill_at, then: next, .. } => {
            format!("Stopping {}{}{}", strays(strays_at), until(kill_at), then(next))
        }
        Run::Killing { stuck_at: Some(stuck), then: next, .. } => format!("Killing {}{}", until(stuck), then(next)),
        Run::Killing { stuck_at: None, then: next, .. } => format!("Killing stuck{}", then(next)),
        Run::Draining { strays_at, kill_at, then: next, .. } => {
            format!("Draining {}{}{}", strays(strays_at), until(kill_at), then(next))
        }
        Run::Purging { look_at, is_stuck, then: next, .. } => {
            format!("Purging{} {}{}", if is_stuck { " stuck" } else { "" }, until(look_at), then(next))
        }
        Run::Waiting { until: end, cause } => format!("Waiting {} {cause}", until(end)),
    };
    let status = match service.status() {
        Status::Created => "Created",
        Status::Running => "Running",
        Status::Finished => "Finished",
        Status::Stopped => "Stopped",
        Status::Crashed => "Crashed",
        Status::Other(word) => panic!("a service of ours cannot be {word}"),
    };
    let crashes = service.crashes(context(at).now);
    let crashes = if crashes == 0 { String::new() } else { format!(" n={crashes}") };
    format!("{}, {run}{}, {status}{crashes}", want_in_words(service), hooks_in_words(service))
}

fn signal_in_words(signal: Signal) -> String {
    signal.to_string().trim_start_matches("SIG").to_owned()
}

fn hook_effect_in_words(hook: Hook, effect: &HookEffect) -> String {
    let hook = hook.name();
    match effect {
        HookEffect::Spawn => format!("spawn {hook}"),
        HookEffect::Kill(pid, signal, _) => {
            assert_eq!(*pid, Pid(8), "a signal for a stranger");
            format!("{} to {hook}", signal_in_words(*signal))
        }
        HookEffect::KillStrays(signal) => format!("{} to strays of {hook}", signal_in_words(*signal)),
        HookEffect::AskStrays(signal) => format!("{} to strays of {hook} not asked", signal_in_words(*signal)),
        HookEffect::Stuck => unreachable!("it is told"),
    }
}

fn effect_in_words(effect: &Effect) -> String {
    match effect {
        Effect::Spawn(cause) => format!("spawn({cause})"),
        Effect::Hook(hook, effect) => hook_effect_in_words(*hook, effect),
        Effect::Kill(pid, signal, reach) => {
            assert_eq!(*pid, Pid(7), "a signal for a stranger");
            let name = signal_in_words(*signal);
            match reach {
                Reach::Group => format!("{name} to group"),
                Reach::Leader => format!("{name} to leader"),
            }
        }
        Effect::KillStrays(signal) => format!("{} to strays", signal_in_words(*signal)),
        Effect::AskStrays(signal) => format!("{} to strays not asked", signal_in_words(*signal)),
        Effect::Told { kind, reason, .. } if reason.is_empty() => format!("tell {kind}"),
        Effect::Told { kind, reason, .. } => format!("tell {kind}: {reason:?}"),
        Effect::Probe(_) => "probe".to_owned(),
        Effect::StopProbe(_) => "stop the probe".to_owned(),
        Effect::EndDaemon => "end the daemon".to_owned(),
        Effect::Advise(_) => "advise".to_owned(),
        Effect::Impossible(text) => panic!("in a test the impossible is a panic: {text}"),
    }
}

fn print_table(out: &mut String, rows: &BTreeMap<State, Row>, keep: impl Fn(&State, &Cell) -> bool) {
    for (state, row) in rows {
        let cells: Vec<&Cell> = row.cells.iter().filter(|cell| keep(state, cell)).collect();
        if cells.is_empty() {
            continue;
        }
        let history = if row.history.is_empty() { "at first".to_owned() } else { format!("after {}", row.history.join("; ")) };
        write!(out, "\n{}  ({history})\n", state.title).unwrap();
        for Cell { input, next, effects } in cells {
            let line = format!("  {input:<18} {next:<40} {effects}");
            writeln!(out, "{}", line.trim_end()).unwrap();
        }
    }
}
