//! One value for each golden file, and the folder they lie in.
//!
//! The matches without a wildcard below are here to stop compiling when a message is added without its file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ppm_protocol::message::{
    AddService, Answer, Await, Check, Execute, Forward, Goal, ReadAgain, ReadLog, ReadStats, RunService, Selection, SendSignal, Targets,
    Watch,
};
use ppm_protocol::types::{ContainerRow, Course, FoundChange, Growth, HistoryRow, Inotify, LastWords, PathKind};
use ppm_protocol::{
    Changed, Checked, Configuration, End, ErrorCode, EventKind, EventRow, Executed, Exit, Failure, Farewell, Forwarded, Greeting, Health,
    HealthRow, History, HookRow, InfoRow, Life, LogLine, LogSources, Method, NeedRow, NextStart, PlanEvent, PlanRow, Reload, ReloadAction,
    ReloadRow, Reply, Request, RpcError, RpcId, RunResult, RunRow, RunsRow, ServiceRow, Signal, StatsRow, Status, Stream, Timestamp,
    Watched, WatchedPath, WatchedRow, Why,
};
use serde_json::json;

/// A line of the protocol as the value it stands for.
#[derive(Clone, Debug)]
pub enum Line {
    /// From a client, under this id.
    Call(i64, Request),
    /// To a client that asked with this method.
    Reply(Method, Reply),
    /// To a client that follows.
    Event(EventRow),
    /// To a client that reads logs.
    Log(LogLine),
    /// To a client whose stream has ended.
    End(End),
}

/// The folder of the golden files.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// All golden files by name, without the ending.
pub fn files() -> BTreeMap<String, Vec<u8>> {
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// What each golden file means.
pub fn values() -> BTreeMap<String, Line> {
    let mut values = BTreeMap::new();
    let mut put = |name: String, line| assert!(values.insert(name.clone(), line).is_none(), "two values named {name}");
    for (name, method) in Method::ALL {
        put(format!("request-{name}"), Line::Call(1, request(method)));
        put(format!("reply-{name}"), reply(method, answer(method)));
    }
    for code in ERRORS {
        put(error_name(code), Line::Reply(Method::Stop, error(code)));
    }
    for event in EVENTS {
        put(format!("event-{}", event.to_string().replace(' ', "-")), Line::Event(event_row(event)));
    }
    put("request-add-user".to_owned(), Line::Call(1, Request::Add(AddService { user: Some("app:app".to_owned()), ..add_least() })));
    put(
        "request-add-needs".to_owned(),
        Line::Call(1, Request::Add(AddService { depends_on: vec!["db:ready".to_owned(), "cache".to_owned()], ..add_least() })),
    );
    let watch = vec!["src".to_owned(), "/etc/app/config.yml".to_owned()];
    put("request-add-watch".to_owned(), Line::Call(1, Request::Add(AddService { watch, ..add_least() })));
    put("request-add-least".to_owned(), Line::Call(-1, Request::Add(add_least())));
    put("request-events-all".to_owned(), Line::Call(i64::MAX, Request::Events(Watch::default())));
    let rolling = Targets { services: vec!["web".to_owned()], wait: true, rolling: true };
    put("request-restart-rolling".to_owned(), Line::Call(1, Request::Restart(rolling)));
    put("request-list-all".to_owned(), Line::Call(i64::MIN, Request::List(Selection::default())));
    put("reply-stats-container".to_owned(), reply(Method::Stats, Answer::Stats(stats_of_container())));
    put("request-stats-cheap".to_owned(), Line::Call(4, Request::Stats(ReadStats { pss: false, ..ReadStats::default() })));
    put("request-stats-once".to_owned(), Line::Call(4, Request::Stats(ReadStats { rates: false, ..ReadStats::default() })));
    put("request-wait-forever".to_owned(), Line::Call(0, Request::Wait(Await { timeout_ms: None, ..await_all(Goal::Running) })));
    let within = Check { text: "services: []\n".to_owned(), name: "ppm.yml".to_owned(), grace_ms: Some(30_000) };
    put("request-check-grace".to_owned(), Line::Call(3, Request::Check(within)));
    let line = LogLine {
        time: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
        service: "web".to_owned(),
        id: Some(1),
        stream: Stream::Stdout,
        message: "GET /cart 200 12ms".to_owned(),
        bytes: None,
        partial: false,
    };
    let odd = LogLine { time: None, message: "\u{fffd}(".to_owned(), bytes: Some(vec![0xc3, 0x28]), partial: true, ..line.clone() };
    let ended = event_row(EventKind::Exited);
    let lines = vec![LogLine { stream: Stream::Stderr, message: "fatal: queue unreachable".to_owned(), ..line.clone() }];
    let output = vec![LastWords { pid: ended.pid.unwrap(), ended: ended.time, lines }];
    let sources = LogSources { services: vec!["web".to_owned()], bytes: Some(62_914_560) };
    put("reply-log-bytes".to_owned(), reply(Method::Log, Answer::Log(sources)));
    put("reply-why-output".to_owned(), reply(Method::Why, Answer::Lives(vec![Life { output, ..life() }])));
    put("log-odd".to_owned(), Line::Log(odd));
    put("log".to_owned(), Line::Log(line));
    put("end".to_owned(), Line::End(End { call: RpcId::Number(1), error: None, exit: None }));
    put("end-exit".to_owned(), Line::End(End { call: RpcId::Number(1), error: None, exit: Some(Exit::Code(0)) }));
    let by_signal = EventRow { by: Some(Signal::HUP), ..event_row(EventKind::Changed) };
    put("event-by-signal".to_owned(), Line::Event(by_signal));
    put("event-exited-peak".to_owned(), Line::Event(EventRow { peak_memory: Some(190_840_832), ..event_row(EventKind::Exited) }));
    for goal in [Goal::Ready, Goal::Finished, Goal::Stopped] {
        put(format!("request-wait-{goal}"), Line::Call(2, Request::Wait(await_all(goal))));
    }
    put("reply-info-probed".to_owned(), reply(Method::Info, Answer::Infos(vec![info_of_the_probed()])));
    put("reply-info-user".to_owned(), reply(Method::Info, Answer::Infos(vec![info_of_a_user()])));
    put("reply-info-confined".to_owned(), reply(Method::Info, Answer::Infos(vec![info_of_the_confined()])));
    put("reply-info-needs".to_owned(), reply(Method::Info, Answer::Infos(vec![info_of_one_among_others()])));
    put("reply-info-hooks".to_owned(), reply(Method::Info, Answer::Infos(vec![info_of_one_with_hooks()])));
    let waiting = Changed { services: vec![crashed()], failed: Vec::new(), to_start: vec!["db".to_owned()] };
    put("reply-start-waiting".to_owned(), reply(Method::Start, Answer::Changed(waiting)));
    put("reply-list-none".to_owned(), reply(Method::List, Answer::Services(Vec::new())));
    put("reply-start-failed".to_owned(), reply(Method::Start, Answer::Changed(half_done())));
    put("reply-text-id".to_owned(), with_id(Method::Hello, RpcId::Text("a \"b\" \u{e9}\n".to_owned())));
    put("reply-null-id".to_owned(), with_id(Method::Hello, RpcId::Null));
    values
}

const ERRORS: [ErrorCode; 12] = [
    ErrorCode::Parse,
    ErrorCode::Invalid,
    ErrorCode::UnknownMethod,
    ErrorCode::BadParams,
    ErrorCode::NoSuchService,
    ErrorCode::NameTaken,
    ErrorCode::InvalidService,
    ErrorCode::Refused,
    ErrorCode::TimedOut,
    ErrorCode::NotReached,
    ErrorCode::WrongConfiguration,
    ErrorCode::Other(4711),
];

const EVENTS: [EventKind; 24] = [
    EventKind::Added,
    EventKind::Removed,
    EventKind::Started,
    EventKind::StartFailed,
    EventKind::Paused,
    EventKind::Resumed,
    EventKind::Stopping,
    EventKind::Killed,
    EventKind::Stuck,
    EventKind::Exited,
    EventKind::Drained,
    EventKind::Planned,
    EventKind::GaveUp,
    EventKind::Skipped,
    EventKind::TimedOut,
    EventKind::OverMemory,
    EventKind::HookFailed,
    EventKind::Ready,
    EventKind::Unready,
    EventKind::Unhealthy,
    EventKind::Deactivated,
    EventKind::Changed,
    EventKind::FilesChanged,
    EventKind::Blocked,
];

fn request(method: Method) -> Request {
    let selection = || Selection { services: vec!["web".to_owned(), "worker-*".to_owned()] };
    let targets = || Targets { services: vec!["web".to_owned()], wait: true, rolling: false };
    match method {
        Method::Hello => Request::Hello,
        Method::List => Request::List(selection()),
        Method::Info => Request::Info(selection()),
        Method::Add => Request::Add(add_all()),
        Method::Remove => Request::Remove(targets()),
        Method::Start => Request::Start(targets()),
        Method::Stop => Request::Stop(Targets { services: vec!["all".to_owned()], wait: false, rolling: false }),
        Method::Restart => Request::Restart(targets()),
        Method::Reschedule => Request::Reschedule(targets()),
        Method::Pause => Request::Pause(targets()),
        Method::Resume => Request::Resume(targets()),
        Method::Signal => Request::Signal(SendSignal { services: vec!["@frontend".to_owned()], signal: Signal::HUP }),
        Method::Stats => Request::Stats(ReadStats { services: selection().services, pss: true, rates: true }),
        Method::Configuration => Request::Configuration,
        Method::Scheduler => Request::Scheduler(selection()),
        Method::Log => Request::Log(ReadLog {
            services: vec!["web".to_owned(), "ppm-daemon".to_owned()],
            last: Some(20),
            follow: true,
            since: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
            until: None,
            stream: Some(Stream::Stderr),
        }),
        Method::Events => Request::Events(Watch { services: vec!["web".to_owned()], last: Some(20), follow: true }),
        Method::Wait => Request::Wait(await_all(Goal::Running)),
        Method::Health => Request::Health(selection()),
        Method::Why => Request::Why(selection()),
        Method::History => Request::History(selection()),
        Method::Runs => Request::Runs(selection()),
        Method::Watched => Request::Watched(selection()),
        Method::Reload => Request::Reload(ReadAgain { plan: true }),
        Method::Exec => Request::Exec(Execute { service: "web".to_owned(), command: vec!["id".to_owned()], terminal: false }),
        Method::Run => Request::Run(RunService { command: vec!["./migrate".to_owned(), "--all".to_owned()], ..RunService::default() }),
        Method::Forward => Request::Forward(Forward { signal: Signal::INT }),
        Method::Check => Request::Check(Check { text: "services: []\n".to_owned(), name: "ppm.yml".to_owned(), grace_ms: None }),
        Method::Shutdown => Request::Shutdown,
    }
}

fn answer(method: Method) -> Answer {
    match method {
        Method::Hello => Answer::Greeting(Greeting { protocol: 1, version: "0.1.0".to_owned(), pid: 1 }),
        Method::List => Answer::Services(vec![running(), crashed(), scheduled()]),
        Method::Info => Answer::Infos(vec![info()]),
        Method::Add | Method::Start | Method::Restart | Method::Resume | Method::Signal | Method::Wait => changed(running()),
        Method::Remove | Method::Stop => changed(stopped()),
        Method::Reschedule => changed(scheduled()),
        Method::Pause => changed(ServiceRow { status: Status::Stopped, ready: false, reason: "paused by request".to_owned(), ..running() }),
        Method::Stats => Answer::Stats(vec![stats(), stats_of_nothing(), stats_of_daemon()]),
        Method::Configuration => {
            Answer::Configuration(Configuration { yaml: "services:\n- name: web\n  command: [/app/web, --port, '8080']\n".to_owned() })
        }
        Method::Scheduler => Answer::Plans(plans()),
        Method::Log => Answer::Log(LogSources { services: vec!["web".to_owned(), "ppm-daemon".to_owned()], bytes: None }),
        Method::Events => Answer::History(History { events: vec![event_row(EventKind::Started), event_row(EventKind::Exited)] }),
        Method::Health => Answer::Health(health()),
        Method::Why => Answer::Lives(vec![life()]),
        Method::History => Answer::Histories(histories()),
        Method::Runs => Answer::Runs(vec![runs()]),
        Method::Watched => Answer::Watched(watched()),
        Method::Reload => Answer::Reload(reload()),
        Method::Exec => Answer::Executed(Executed { pid: 4711, service: None }),
        Method::Run => Answer::Executed(Executed { pid: 4711, service: Some("migrate".to_owned()) }),
        Method::Forward => Answer::Forwarded(Forwarded { heard: true }),
        Method::Check => {
            Answer::Checked(Checked { services: 2, warnings: vec!["`backup`: `*/10` beside a weekday means both".to_owned()] })
        }
        Method::Shutdown => Answer::Farewell(Farewell { stopping: 2 }),
    }
}

fn error_name(code: ErrorCode) -> String {
    let kind = match code {
        ErrorCode::Parse => "parse",
        ErrorCode::Invalid => "invalid",
        ErrorCode::UnknownMethod => "unknown-method",
        ErrorCode::BadParams => "bad-params",
        ErrorCode::NoSuchService => "no-such-service",
        ErrorCode::NameTaken => "name-taken",
        ErrorCode::InvalidService => "invalid-service",
        ErrorCode::Refused => "refused",
        ErrorCode::TimedOut => "timed-out",
        ErrorCode::NotReached => "not-reached",
        ErrorCode::WrongConfiguration => "wrong-configuration",
        ErrorCode::Other(_) => "other",
    };
    format!("error-{kind}")
}

fn error(code: ErrorCode) -> Reply {
    let (message, data) = match code {
        ErrorCode::Parse => ("not JSON at column 1: expected value", None),
        ErrorCode::Invalid => ("`method` is missing", None),
        ErrorCode::UnknownMethod => ("no method named `lsit`", Some(json!({ "methods": ["hello", "list"] }))),
        ErrorCode::BadParams => ("`stop`: missing field `services`", None),
        ErrorCode::NoSuchService => {
            ("no such service `wbe`", Some(json!({ "service": "wbe", "services": ["db", "web"], "count": 2, "similar": "web" })))
        }
        ErrorCode::NameTaken => ("there is a service `web` already (Running, from /etc/ppm/ppm.yml:3)", Some(json!({ "service": "web" }))),
        ErrorCode::InvalidService => {
            ("the name `2026` is made of digits only", Some(json!({ "hint": "add a letter; commands take a number for an id" })))
        }
        ErrorCode::Refused => ("the daemon is shutting down; nothing is started any more", None),
        ErrorCode::TimedOut => ("`db` is not ready yet: Running, not ready", Some(json!({ "waiting": ["db"] }))),
        ErrorCode::NotReached => ("`migrate` will not be finished: Crashed, exit code 1", Some(json!({ "service": "migrate" }))),
        ErrorCode::WrongConfiguration => ("1 problem in ppm.yml; nothing was changed", Some(wrong_configuration())),
        ErrorCode::Other(_) => ("something that only a newer daemon knows", None),
    };
    let unread = matches!(code, ErrorCode::Parse | ErrorCode::Invalid);
    let id = if unread { RpcId::Null } else { RpcId::Number(1) };
    Reply { id, result: Err(RpcError { code, message: message.to_owned(), data }) }
}

/// An event of the kind with what comes with it.
fn event_row(event: EventKind) -> EventRow {
    use Status::{Crashed, Created, Finished, Running, Stopped};
    let (from, to, pid, reason) = match event {
        EventKind::Added => (Created, Created, None, "from ppm.yml:3"),
        EventKind::Removed => (Finished, Finished, None, ""),
        EventKind::Started => (Created, Running, Some(4242), "started by request"),
        EventKind::StartFailed => (Crashed, Crashed, None, "exec: no such file: /app/wbe"),
        EventKind::Paused => (Running, Stopped, Some(4242), "paused by SIGTSTP"),
        EventKind::Resumed => (Stopped, Running, Some(4242), ""),
        EventKind::Stopping => (Running, Running, Some(4242), "stopped by request"),
        EventKind::Killed => (Running, Running, Some(4242), "killed: did not stop within 5s"),
        EventKind::Stuck => (Running, Running, Some(4242), "killed, and still there"),
        EventKind::Exited => (Running, Crashed, Some(4242), "exit code 1, retry 1 in 1s"),
        EventKind::Drained => (Finished, Finished, None, ""),
        EventKind::Planned => (Crashed, Crashed, None, "retry 1 in 1s"),
        EventKind::GaveUp => (Crashed, Crashed, None, "gave up after 5 retries"),
        EventKind::Skipped => (Running, Running, Some(4242), "the run before lasts since 1h 2m"),
        EventKind::TimedOut => (Running, Running, Some(4242), "it ran longer than 20m"),
        EventKind::OverMemory => (Running, Running, Some(4242), "memory: 601 MiB of 512 MiB"),
        EventKind::HookFailed => (Running, Running, None, "post_start: exit code 1"),
        EventKind::Ready => (Running, Running, Some(4242), "after 1.8s"),
        EventKind::Unready => (Running, Running, Some(4242), "not ready after 30s: connection refused"),
        EventKind::Unhealthy => (Running, Running, Some(4242), "3 of 3 probes failed: connection refused"),
        EventKind::Deactivated => (Finished, Finished, None, "stopped by request"),
        EventKind::Changed => (Running, Running, None, "stop: 5s -> 10s"),
        EventKind::FilesChanged => (Running, Running, Some(4242), "modified web.conf: SIGHUP"),
        EventKind::Blocked => (Created, Created, None, "waiting for db"),
        EventKind::Other(word) => panic!("a daemon of ours does not say {word}"),
    };
    let exit = (event == EventKind::Exited).then_some(Exit::Code(1));
    let ran_ms = exit.map(|_| 4200);
    let uid = (event == EventKind::Stopping).then_some(1000);
    EventRow {
        time: at("2026-01-02T03:04:06.912Z"),
        service: "web".to_owned(),
        id: 1,
        event,
        from,
        to,
        pid,
        exit,
        reason: reason.to_owned(),
        uid,
        by: None,
        ran_ms,
        peak_memory: None,
    }
}

fn histories() -> Vec<HistoryRow> {
    let web = HistoryRow {
        id: Some(1),
        name: "web".to_owned(),
        from: Some(at("2026-01-02T03:00:00.000Z")),
        cpu_percent: Some(Course { min: 0.0, avg: 5.3, max: 10.0, minutes: vec![Some(6.0), None, Some(5.0)] }),
        memory_rss: Some(Course { min: 1 << 20, avg: 3_407_872, max: 5 << 20, minutes: vec![Some(5 << 20), None, Some(4 << 20)] }),
        growth: Some(Growth { bytes_per_hour: 3_250_585, over_ms: 3_000_000 }),
    };
    vec![web, HistoryRow { name: "<ppm>".to_owned(), ..HistoryRow::default() }]
}

fn health() -> Health {
    let row =
        |id, name: &str, healthy, status, reason: &str| HealthRow { id, name: name.to_owned(), healthy, status, reason: reason.to_owned() };
    let web = row(1, "web", true, Status::Running, "started with the daemon");
    Health { healthy: false, services: vec![web, row(2, "db", false, Status::Crashed, "exit code 1, retry 3 in 3.9s")] }
}

fn runs() -> RunsRow {
    let planned = RunRow {
        planned: Some(at("2026-01-02T03:00:00.000Z")),
        started: at("2026-01-02T03:00:00.001Z"),
        late_ms: Some(1),
        ended: Some(at("2026-01-02T03:04:05.678Z")),
        exit: Some(Exit::Code(0)),
        reason: "schedule".to_owned(),
        result: RunResult::Finished,
    };
    let asked_for = RunRow {
        planned: None,
        started: at("2026-01-02T03:04:06.912Z"),
        late_ms: None,
        ended: None,
        exit: None,
        reason: "request".to_owned(),
        result: RunResult::Running,
    };
    let runs = vec![planned, asked_for];
    RunsRow { id: 3, name: "worker-2".to_owned(), fired: 12, skipped: 1, missed: 0, timeouts: 2, max_late_ms: 7, runs }
}

fn life() -> Life {
    Life { row: crashed(), events: vec![event_row(EventKind::Started), event_row(EventKind::Exited)], output: Vec::new() }
}

fn reload() -> Reload {
    let row = |service: &str, action, changes: &[&str]| ReloadRow {
        service: service.to_owned(),
        action,
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let services = vec![
        row("cache", ReloadAction::Add, &[]),
        row("web", ReloadAction::Restart, &["command: web --port 8080 -> web --port 9090"]),
        row("cleanup", ReloadAction::Reschedule, &["schedule: */15 * * * * -> */30 * * * *"]),
        row("worker", ReloadAction::Update, &["stop.timeout: 5s -> 10s"]),
        row("indexer", ReloadAction::Remove, &[]),
        row("db", ReloadAction::Keep, &[]),
    ];
    let failed = vec![Failure { service: "cache".to_owned(), message: "exec: no such file: cache".to_owned() }];
    Reload { applied: true, settings: vec!["shutdown_timeout: 9s -> 25s".to_owned()], services, failed }
}

fn wrong_configuration() -> serde_json::Value {
    let problem = json!({ "line": 4, "column": 12, "message": "`10 parsecs` is not a duration", "hint": "write a number and a unit" });
    json!({ "text": "error: `10 parsecs` is not a duration\n --> ppm.yml:4:12", "problems": [problem] })
}

fn reply(method: Method, answer: Answer) -> Line {
    Line::Reply(method, Reply { id: RpcId::Number(1), result: Ok(answer) })
}

fn with_id(method: Method, id: RpcId) -> Line {
    Line::Reply(method, Reply { id, result: Ok(answer(method)) })
}

fn changed(row: ServiceRow) -> Answer {
    Answer::Changed(Changed { services: vec![row], ..Changed::default() })
}

fn half_done() -> Changed {
    let failure = Failure { service: "worker-1".to_owned(), message: "exec: no such file: /app/wroker".to_owned() };
    Changed { services: vec![running(), crashed()], failed: vec![failure], to_start: Vec::new() }
}

fn add_all() -> AddService {
    AddService {
        name: "hello".to_owned(),
        command: ["sh", "-c", "echo \"$GREETING\""].map(str::to_owned).to_vec(),
        workdir: Some("/app".to_owned()),
        env: BTreeMap::from([("GREETING".to_owned(), "hi".to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]),
        restart: Some("always".to_owned()),
        schedule: Some("*/30 * * * * *".to_owned()),
        user: None,
        depends_on: Vec::new(),
        watch: Vec::new(),
        start: false,
        wait: false,
        replace: true,
    }
}

fn add_least() -> AddService {
    AddService { name: "hello".to_owned(), command: vec!["/app/hello".to_owned()], start: true, wait: true, ..AddService::default() }
}

fn await_all(goal: Goal) -> Await {
    Await { services: vec!["web".to_owned(), "db".to_owned()], goal, timeout_ms: Some(30_000) }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A row in which every field that can be null is null.
fn row(id: u32, name: &str, status: Status) -> ServiceRow {
    ServiceRow {
        id,
        name: name.to_owned(),
        status,
        active: true,
        ready: false,
        pid: None,
        restarts: 0,
        crashes: 0,
        started_at: None,
        ended_at: None,
        uptime_ms: None,
        exit: None,
        reason: String::new(),
        next_start: None,
        schedule: None,
        status_text: None,
    }
}

fn running() -> ServiceRow {
    ServiceRow {
        ready: true,
        pid: Some(4242),
        restarts: 1,
        started_at: Some(at("2026-01-02T03:04:05.678Z")),
        uptime_ms: Some(1234),
        exit: Some(Exit::Signal(Signal::KILL)),
        ..row(1, "web", Status::Running)
    }
}

fn stopped() -> ServiceRow {
    ServiceRow {
        active: false,
        restarts: 1,
        started_at: Some(at("2026-01-02T03:04:05.678Z")),
        ended_at: Some(at("2026-01-02T03:04:07.000Z")),
        exit: Some(Exit::Code(0)),
        reason: "stopped by request".to_owned(),
        ..row(1, "web", Status::Finished)
    }
}

fn crashed() -> ServiceRow {
    ServiceRow {
        restarts: 2,
        crashes: 3,
        started_at: Some(at("2026-01-02T03:04:05.678Z")),
        ended_at: Some(at("2026-01-02T03:04:06.912Z")),
        exit: Some(Exit::Code(1)),
        reason: "exit code 1, retry 3 in 3.9s".to_owned(),
        next_start: Some(NextStart { at: at("2026-01-02T03:04:10.812Z"), why: Why::Backoff }),
        ..row(2, "worker-1", Status::Crashed)
    }
}

fn scheduled() -> ServiceRow {
    ServiceRow {
        reason: "waiting for its schedule".to_owned(),
        next_start: Some(NextStart { at: at("2026-01-02T03:15:00.000Z"), why: Why::Schedule }),
        schedule: Some("0 */15 * * * *".to_owned()),
        ..row(3, "worker-2", Status::Created)
    }
}

fn info() -> InfoRow {
    InfoRow {
        row: running(),
        command: ["/app/web", "--port", "8080"].map(str::to_owned).to_vec(),
        workdir: Some("/app".to_owned()),
        env: vec!["PASSWORD".to_owned(), "PORT".to_owned()],
        restart: "on-failure, backoff 1s to 5m".to_owned(),
        stop: "SIGTERM, then SIGKILL after 5s".to_owned(),
        source: "/etc/ppm/ppm.yml:3".to_owned(),
        user: None,
        umask: None,
        limits: Vec::new(),
        nice: None,
        oom_score_adj: None,
        no_new_privs: false,
        readiness: None,
        health: None,
        needs: Vec::new(),
        needed_by: Vec::new(),
        hooks: Vec::new(),
    }
}

fn info_of_the_probed() -> InfoRow {
    InfoRow {
        row: ServiceRow { status_text: Some("serving 3 clients".to_owned()), ..running() },
        readiness: Some("tcp 8080: after 1.8s".to_owned()),
        health: Some("http://127.0.0.1:8080/health every 10s: ok 2s ago, next in 8s".to_owned()),
        ..info()
    }
}

fn info_of_one_among_others() -> InfoRow {
    let need = |service: &str, condition: &str, met| NeedRow {
        service: service.to_owned(),
        condition: condition.to_owned(),
        met,
        to_start: Vec::new(),
    };
    let needs = vec![need("migrate", "finished", true), need("db", "ready", false)];
    InfoRow { needs, needed_by: vec!["worker".to_owned()], ..info() }
}

fn info_of_one_with_hooks() -> InfoRow {
    let hook = |hook: &str, timeout_ms, pid| HookRow {
        hook: hook.to_owned(),
        command: vec!["/app/hook".to_owned(), hook.to_owned()],
        timeout_ms,
        pid,
    };
    let hooks = vec![hook("pre_start", Some(30_000), None), hook("on_ready", None, Some(4711))];
    let needs = vec![NeedRow {
        service: "db".to_owned(),
        condition: "ready".to_owned(),
        met: false,
        to_start: vec!["db-1".to_owned(), "db-2".to_owned()],
    }];
    InfoRow { hooks, needs, ..info() }
}

fn info_of_a_user() -> InfoRow {
    InfoRow {
        user: Some("app:app".to_owned()),
        umask: Some("027".to_owned()),
        limits: ["core=0", "nofile=1024:unlimited"].map(str::to_owned).to_vec(),
        nice: Some(-5),
        oom_score_adj: Some(500),
        ..info()
    }
}

fn info_of_the_confined() -> InfoRow {
    InfoRow { no_new_privs: true, ..info() }
}

fn plans() -> Vec<PlanRow> {
    let plan = |id, name: &str, event, time, in_ms, last: &str, rule: &str| PlanRow {
        id,
        name: name.to_owned(),
        event,
        at: at(time),
        in_ms,
        last: last.to_owned(),
        rule: rule.to_owned(),
        note: String::new(),
    };
    vec![
        plan(1, "web", PlanEvent::Watch, "2026-01-02T03:04:08.000Z", 0, "", "/app/web.conf"),
        plan(2, "worker-1", PlanEvent::Restart, "2026-01-02T03:04:10.812Z", 3900, "exit code 1", "backoff 1s to 5m"),
        plan(3, "worker-2", PlanEvent::Schedule, "2026-01-02T03:15:00.000Z", 653_088, "exit code 0", "0 */15 * * * *"),
    ]
}

fn watched() -> Watched {
    let config = WatchedPath {
        path: "/app/config.yml".to_owned(),
        leads_to: Some("/app/..data/config.yml".to_owned()),
        what: Some(PathKind::File),
        inotify: true,
        files: 1,
        ..WatchedPath::default()
    };
    let source = WatchedPath {
        path: "/app/src".to_owned(),
        leads_to: None,
        what: Some(PathKind::Folder),
        poll_ms: Some(2000),
        file_system: Some("fuse".to_owned()),
        folders: 12,
        unwatched: 2,
        files: 340,
        ..config.clone()
    };
    let unseen = WatchedPath { path: "src".to_owned(), ..WatchedPath::default() };
    let web = WatchedRow {
        id: 1,
        name: "web".to_owned(),
        watching: true,
        paths: vec![config, source],
        action: Some("restart".to_owned()),
        watches: 14,
        last_change: Some(FoundChange { at: at("2026-01-02T03:04:05.678Z"), what: "modified src/a.js".to_owned() }),
        changes: 4,
        acted_at: Some(at("2026-01-02T03:04:05.678Z")),
        acted: 3,
        unchanged: 5,
    };
    let stopped = WatchedRow {
        id: 2,
        name: "worker-1".to_owned(),
        watching: false,
        paths: vec![unseen],
        action: Some("signal SIGHUP".to_owned()),
        watches: 0,
        last_change: None,
        changes: 0,
        acted_at: None,
        acted: 0,
        unchanged: 0,
    };
    let inotify = Inotify { instances: 1, max_instances: Some(128), watches: 14, max_watches: Some(65_536) };
    Watched { services: vec![web, stopped], inotify }
}

fn stats() -> StatsRow {
    StatsRow {
        id: Some(1),
        name: "web".to_owned(),
        pid: Some(4242),
        cpu_percent: Some(12.5),
        cpu_time_ms: Some(8_042_120),
        memory_rss: Some(190_840_832),
        memory_pss: Some(171_966_464),
        memory_vsz: Some(1_073_741_824),
        io_read: Some(1_299_227_607),
        io_write: Some(325_058_560),
        io_read_rate: Some(1024),
        io_write_rate: Some(4096),
        processes: Some(4),
        threads: Some(12),
        fds: Some(112),
        uptime_ms: Some(273_600_000),
        memory_limit: None,
        container: None,
    }
}

fn stats_of_container() -> Vec<StatsRow> {
    let container = ContainerRow {
        cpu_percent: Some(14.1),
        cores: Some(2.0),
        memory: Some(242_221_056),
        memory_limit: Some(536_870_912),
        tasks: Some(27),
        tasks_limit: None,
        pressure_cpu: Some(1.53),
        pressure_memory: Some(0.0),
        pressure_io: None,
    };
    vec![StatsRow { memory_limit: Some(268_435_456), ..stats() }, StatsRow { container: Some(container), ..stats_of_daemon() }]
}

fn stats_of_nothing() -> StatsRow {
    StatsRow { id: Some(2), name: "worker-1".to_owned(), ..StatsRow::default() }
}

fn stats_of_daemon() -> StatsRow {
    StatsRow {
        id: None,
        name: "<ppm>".to_owned(),
        pid: Some(1),
        cpu_percent: Some(0.0),
        cpu_time_ms: Some(1200),
        memory_rss: Some(1_048_576),
        memory_vsz: Some(4_194_304),
        processes: Some(1),
        threads: Some(1),
        fds: Some(19),
        uptime_ms: Some(273_601_234),
        ..stats_of_nothing()
    }
}
