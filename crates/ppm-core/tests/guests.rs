//! Commands that are executed in the surroundings of a service: what becomes of them, whatever happens to their clients.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_core::chance::Chance;
use ppm_core::config;
use ppm_core::event::{Action, ClientId, Event, From, Launch, NoStart, Pid};
use ppm_core::supervisor::{Boot, Supervisor};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_protocol::message::{Answer, Execute, Forward};
use ppm_protocol::{ErrorCode, Exit, Request, RpcError, RpcId, Signal};

const CONFIG: &str = "services:\n- {name: web, command: web --loud, env: {A: b}, workdir: /w, user: app, autostart: false}\n\
                      - {name: db, command: db, autostart: false}\n";

const ONE: ClientId = ClientId(1);
const TWO: ClientId = ClientId(2);

struct Daemon {
    supervisor: Supervisor,
    now: Now,
    calls: i64,
}

impl Daemon {
    fn new() -> Daemon {
        let now = Now { mono: Mono(1_000_000_000), wall: Timestamp(1_767_323_045_000) };
        let config = config::parse(CONFIG, "ppm.yml").unwrap();
        let boot =
            Boot { config, zone: TimeZone::UTC, remembered: BTreeMap::new(), seed: 1, pid: Pid(1), version: String::new(), main: None };
        let mut daemon = Daemon { supervisor: Supervisor::new(boot, now), now, calls: 0 };
        daemon.told(Event::Tick);
        daemon
    }

    fn told(&mut self, event: Event) -> Vec<Action> {
        self.supervisor.handle(self.now, event).filter(|action| !matches!(action, Action::Announce(_) | Action::Sweep { .. })).collect()
    }

    fn asked(&mut self, client: ClientId, request: Request) -> Vec<Action> {
        self.calls += 1;
        self.told(Event::Requested { from: From { client, call: Some(RpcId::Number(self.calls)) }, request })
    }

    fn refused(&mut self, client: ClientId, request: Request) -> RpcError {
        match self.asked(client, request).as_slice() {
            [Action::Respond { result: Err(error), .. }] => error.clone(),
            others => panic!("{others:?}"),
        }
    }

    /// The client has a process.
    fn runs(&mut self, client: ClientId, pid: i32) {
        self.asked(client, exec("web"));
        let actions = self.told(Event::Executed { client, outcome: Ok(Pid(pid)) });
        assert!(matches!(actions.as_slice(), [Action::Respond { result: Ok(Answer::Executed(_)), .. }]), "{actions:?}");
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall };
        self.told(Event::Tick)
    }
}

fn exec(service: &str) -> Request {
    Request::Exec(Execute { service: service.to_owned(), command: vec!["id".to_owned(), "-u".to_owned()], terminal: true })
}

fn kills(actions: &[Action]) -> Vec<(Pid, Signal)> {
    let kill = |action: &Action| match action {
        Action::KillGuest { pid, signal } => Some((*pid, *signal)),
        _ => None,
    };
    actions.iter().filter_map(kill).collect()
}

const GOODBYE: [(Pid, Signal); 2] = [(Pid(7), Signal::HUP), (Pid(7), Signal::CONT)];

#[test]
fn a_command_has_the_surroundings_of_its_service_and_a_program_of_its_own() {
    let mut daemon = Daemon::new();
    let actions = daemon.asked(ONE, exec("web"));
    let [Action::Exec { client: ONE, launch, terminal: true }] = actions.as_slice() else { panic!("{actions:?}") };
    let Launch { name, command, logger, .. } = &**launch;
    assert_eq!((name.as_str(), command.path.as_str(), command.args.as_slice()), ("web", "id", &["-u".to_owned()][..]));
    assert_eq!((command.workdir.as_deref(), command.env.len(), logger), (Some("/w"), 1, &None));
    assert_eq!(command.attributes.user.as_ref().unwrap().to_string(), "app");
}

#[test]
fn its_end_is_told_to_who_asked_and_then_another_may_be_asked_for() {
    let mut daemon = Daemon::new();
    daemon.runs(ONE, 7);
    let refused = daemon.refused(ONE, exec("db"));
    assert_eq!(refused.message, "this connection runs a command already; use another for a second one");
    let actions = daemon.told(Event::GuestEnded { client: ONE, exit: Exit::Code(3) });
    let from = From { client: ONE, call: Some(RpcId::Number(1)) };
    assert_eq!(actions, [Action::TellEnd { to: from, exit: Exit::Code(3) }]);
    daemon.runs(ONE, 7);
}

#[test]
fn what_could_not_be_executed_is_an_answer_with_the_exit_code_of_a_shell() {
    let mut daemon = Daemon::new();
    daemon.asked(ONE, exec("web"));
    let error = NoStart { why: "exec: no such file: id".to_owned(), code: 127 };
    let actions = daemon.told(Event::Executed { client: ONE, outcome: Err(error) });
    let [Action::Respond { result: Err(error), .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((error.message.as_str(), error.data.as_ref().unwrap()["code"].as_u64()), ("exec: no such file: id", Some(127)));
    daemon.runs(ONE, 7);
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_executed() {
    let mut daemon = Daemon::new();
    assert_eq!(daemon.refused(ONE, exec("wbe")).code, ErrorCode::NoSuchService);
    assert_eq!(daemon.refused(ONE, exec("all")).message, "`all` means 2 services; a command runs in the surroundings of one");
    let nothing = Request::Exec(Execute { service: "web".to_owned(), command: Vec::new(), terminal: false });
    assert_eq!(daemon.refused(ONE, nothing).code, ErrorCode::InvalidService);
    let actions = daemon.told(Event::Requested { from: From { client: ONE, call: None }, request: exec("web") });
    assert!(matches!(actions.as_slice(), [Action::Respond { result: Err(_), .. }]), "nobody could be told of its end: {actions:?}");
    for client in 10..42 {
        daemon.runs(ClientId(client), 1000 + i32::try_from(client).unwrap());
    }
    assert_eq!(daemon.refused(TWO, exec("web")).message, "32 commands are running already; wait for one to end");
    daemon.asked(TWO, Request::Shutdown);
    assert_eq!(daemon.refused(TWO, exec("web")).code, ErrorCode::Refused);
}

#[test]
fn when_its_client_is_gone_it_is_hung_up_and_killed_if_it_does_not_go() {
    let mut daemon = Daemon::new();
    daemon.runs(ONE, 7);
    assert_eq!(kills(&daemon.told(Event::Disconnected { client: ONE })), GOODBYE);
    assert_eq!(daemon.supervisor.deadline(), Some(daemon.now.mono + Duration::from_secs(5)));
    assert_eq!(kills(&daemon.after(Duration::from_millis(4999))), []);
    assert_eq!(kills(&daemon.after(Duration::from_millis(1))), [(Pid(7), Signal::KILL)]);
    assert_eq!(daemon.supervisor.deadline(), None, "it is killed once");
    daemon.told(Event::GuestEnded { client: ONE, exit: Exit::Signal(Signal::KILL) });
}

#[test]
fn a_client_that_is_gone_before_the_start_is_known_leaves_nothing_behind() {
    let mut daemon = Daemon::new();
    daemon.asked(ONE, exec("web"));
    assert_eq!(kills(&daemon.told(Event::Disconnected { client: ONE })), []);
    assert_eq!(kills(&daemon.told(Event::Executed { client: ONE, outcome: Ok(Pid(7)) })), GOODBYE);
}

#[test]
fn it_goes_on_without_its_service_and_ends_with_the_daemon() {
    let mut daemon = Daemon::new();
    daemon.runs(ONE, 7);
    let remove = Request::Remove(ppm_protocol::message::Targets { services: vec!["web".to_owned()], wait: true, rolling: false });
    assert_eq!(kills(&daemon.asked(TWO, remove)), []);
    assert_eq!(kills(&daemon.asked(TWO, Request::Shutdown)), GOODBYE);
    assert_eq!(kills(&daemon.told(Event::Disconnected { client: ONE })), [], "it has been asked already");
}

#[test]
fn signals_are_passed_on_as_long_as_somebody_is_there() {
    let mut daemon = Daemon::new();
    let heard = |actions: Vec<Action>| match actions.last() {
        Some(Action::Respond { result: Ok(Answer::Forwarded(forwarded)), .. }) => (kills(&actions), forwarded.heard),
        others => panic!("{others:?}"),
    };
    let int = || Request::Forward(Forward { signal: Signal::INT });
    assert_eq!(heard(daemon.asked(ONE, int())), (vec![], false));
    daemon.runs(ONE, 7);
    assert_eq!(heard(daemon.asked(ONE, int())), (vec![(Pid(7), Signal::INT)], true));
    assert_eq!(heard(daemon.asked(TWO, int())), (vec![], false), "that of another connection is none of its business");
    daemon.told(Event::GuestEnded { client: ONE, exit: Exit::Signal(Signal::INT) });
    assert_eq!(heard(daemon.asked(ONE, int())), (vec![], false));
}

/// What a client and its command are in a random history.
#[derive(Default)]
struct Seen {
    gone: bool,
    asked: bool,
    pid: Option<Pid>,
    hung_up: Option<Mono>,
    killed: bool,
}

#[test]
fn whatever_comes_in_whatever_order_nothing_is_left_over_and_nobody_else_is_hurt() {
    for seed in 0..3000 {
        random_history(seed);
    }
}

fn random_history(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut daemon = Daemon::new();
    let mut seen: BTreeMap<ClientId, Seen> = BTreeMap::new();
    let mut next_client = 1;
    let mut ending = false;
    for _ in 0..60 {
        let present: Vec<ClientId> = seen.iter().filter(|(_, seen)| !seen.gone).map(|(id, _)| *id).collect();
        let arriving: Vec<ClientId> = seen.iter().filter(|(_, seen)| seen.asked && seen.pid.is_none()).map(|(id, _)| *id).collect();
        let running: Vec<ClientId> = seen.iter().filter(|(_, seen)| seen.pid.is_some()).map(|(id, _)| *id).collect();
        let one = |of: &[ClientId], chance: &mut Chance| (!of.is_empty()).then(|| of[chance.below(of.len())]);
        let actions = match chance.below(9) {
            0 => {
                seen.insert(ClientId(next_client), Seen::default());
                next_client += 1;
                continue;
            }
            1 | 2 => {
                let Some(client) = one(&present, &mut chance) else { continue };
                let may = !ending && !seen[&client].asked;
                let actions = daemon.asked(client, exec("web"));
                let is_begun = actions.iter().any(|action| matches!(action, Action::Exec { .. }));
                assert_eq!(is_begun, may, "seed {seed}");
                seen.get_mut(&client).unwrap().asked |= is_begun;
                actions
            }
            3 => {
                let Some(client) = one(&arriving, &mut chance) else { continue };
                let outcome = if chance.below(4) == 0 { Err(NoStart::from("no".to_owned())) } else { Ok(free_pid(&seen)) };
                let seen = seen.get_mut(&client).unwrap();
                (seen.asked, seen.pid) = (outcome.is_ok(), outcome.clone().ok());
                let actions = daemon.told(Event::Executed { client, outcome });
                let answers = actions.iter().filter(|action| matches!(action, Action::Respond { .. })).count();
                assert_eq!(answers, 1, "seed {seed}: answered once");
                actions
            }
            4 => {
                let Some(client) = one(&running, &mut chance) else { continue };
                seen.insert(client, Seen { gone: seen[&client].gone, ..Seen::default() });
                let actions = daemon.told(Event::GuestEnded { client, exit: Exit::Code(0) });
                assert!(matches!(actions.as_slice(), [Action::TellEnd { to, .. }] if to.client == client), "seed {seed}: {actions:?}");
                actions
            }
            5 => {
                let Some(client) = one(&present, &mut chance) else { continue };
                seen.get_mut(&client).unwrap().gone = true;
                daemon.told(Event::Disconnected { client })
            }
            6 => {
                let Some(client) = one(&present, &mut chance) else { continue };
                let actions = daemon.asked(client, Request::Forward(Forward { signal: Signal::INT }));
                let expected: Vec<_> = seen[&client].pid.map(|pid| (pid, Signal::INT)).into_iter().collect();
                assert_eq!(kills(&actions), expected, "seed {seed}");
                continue;
            }
            7 if chance.below(8) == 0 => {
                ending = true;
                daemon.told(Event::Signalled(Signal::TERM))
            }
            _ => daemon.after(Duration::from_millis(chance.below(4000) as u64)),
        };
        judge(seed, &daemon, &mut seen, ending, &kills(&actions));
        if daemon.supervisor.is_over() {
            let answered = actions.iter().filter(|action| matches!(action, Action::Respond { result: Err(_), .. })).count();
            assert_eq!(
                answered,
                seen.values().filter(|seen| seen.asked && seen.pid.is_none()).count(),
                "seed {seed}: no call is left open"
            );
            return;
        }
    }
}

/// The numbers of those that have ended are given again at once.
fn free_pid(seen: &BTreeMap<ClientId, Seen>) -> Pid {
    let taken: BTreeSet<Pid> = seen.values().filter_map(|seen| seen.pid).collect();
    (100..).map(Pid).find(|pid| !taken.contains(pid)).unwrap()
}

fn judge(seed: u64, daemon: &Daemon, seen: &mut BTreeMap<ClientId, Seen>, ending: bool, kills: &[(Pid, Signal)]) {
    let now = daemon.now.mono;
    for (pid, signal) in kills {
        let of =
            seen.values_mut().find(|seen| seen.pid == Some(*pid)).unwrap_or_else(|| panic!("seed {seed}: {signal} to {pid}, which is not"));
        match *signal {
            Signal::HUP => {
                assert!(of.hung_up.is_none() && (of.gone || ending), "seed {seed}: hung up twice, or for nothing");
                of.hung_up = Some(now);
            }
            Signal::CONT => assert_eq!(of.hung_up, Some(now), "seed {seed}"),
            Signal::KILL => {
                let waited = of.hung_up.is_some_and(|at| at + Duration::from_secs(5) <= now);
                assert!(waited && !of.killed, "seed {seed}: killed without need, or twice");
                of.killed = true;
            }
            other => panic!("seed {seed}: {other}"),
        }
    }
    for seen in seen.values().filter(|seen| seen.pid.is_some()) {
        assert_eq!(seen.hung_up.is_some(), seen.gone || ending, "seed {seed}: who is not wanted is asked to go");
        let is_over = seen.hung_up.is_some_and(|at| at + Duration::from_secs(5) <= now);
        let awaits = daemon.supervisor.deadline().is_some_and(|at| at <= now);
        assert!(!is_over || seen.killed || awaits || daemon.supervisor.is_over(), "seed {seed}: who does not go is killed");
    }
}

/// `ppm run`: a service that lives for its client.
mod attached {
    use super::*;
    use ppm_core::event::{Group, Part, ServiceId, Stdin};
    use ppm_core::spec::MAIN;
    use ppm_protocol::message::{RunService, Selection, Targets};

    fn run(words: &[&str]) -> RunService {
        RunService { command: words.iter().map(|word| (*word).to_owned()).collect(), ..RunService::default() }
    }

    fn begins(daemon: &mut Daemon, client: ClientId, request: RunService) -> (ServiceId, String, Stdin) {
        match daemon.asked(client, Request::Run(request)).as_slice() {
            [Action::Spawn { id, part: Part::Main, launch, .. }] => (*id, launch.name.clone(), launch.stdin),
            [.., Action::Spawn { id, part: Part::Main, launch, .. }] => (*id, launch.name.clone(), launch.stdin),
            others => panic!("{others:?}"),
        }
    }

    fn up(daemon: &mut Daemon, id: ServiceId, pid: i32) -> Vec<Action> {
        daemon.told(Event::Spawned { id, part: Part::Main, pid: Pid(pid) })
    }

    fn names(daemon: &mut Daemon) -> Vec<String> {
        match daemon.asked(TWO, Request::List(Selection::default())).as_slice() {
            [Action::Respond { result: Ok(Answer::Services(rows)), .. }] => rows.iter().map(|row| row.name.clone()).collect(),
            others => panic!("{others:?}"),
        }
    }

    fn ends(actions: &[Action]) -> Vec<(ClientId, Exit)> {
        let end = |action: &Action| if let Action::TellEnd { to, exit } = action { Some((to.client, *exit)) } else { None };
        actions.iter().filter_map(end).collect()
    }

    #[test]
    fn it_reads_and_writes_what_its_client_sent_and_is_a_service_until_it_ends() {
        let mut daemon = Daemon::new();
        let (id, name, stdin) = begins(&mut daemon, ONE, RunService { terminal: true, ..run(&["/bin/import", "-v"]) });
        assert_eq!((name.as_str(), stdin), ("import", Stdin::Given { client: ONE, terminal: true }));
        let actions = up(&mut daemon, id, 7);
        let answered = actions.iter().any(|action| {
            matches!(action, Action::Respond { result: Ok(Answer::Executed(executed)), .. } if executed.service.as_deref() == Some("import"))
        });
        assert!(answered, "{actions:?}");
        assert_eq!(names(&mut daemon), ["web", "db", "import"]);
        let actions = daemon.asked(TWO, Request::Configuration);
        let [Action::Respond { result: Ok(Answer::Configuration(yaml)), .. }] = actions.as_slice() else { panic!("{actions:?}") };
        assert!(!yaml.yaml.contains("import"), "it is in no configuration: {}", yaml.yaml);
        let actions = daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Code(3), group: Group::Empty, peak: None });
        assert_eq!(ends(&actions), [(ONE, Exit::Code(3))]);
        assert_eq!(names(&mut daemon), ["web", "db"]);
    }

    #[test]
    fn what_it_left_behind_ends_before_its_end_is_told() {
        let mut daemon = Daemon::new();
        let (id, ..) = begins(&mut daemon, ONE, run(&["import"]));
        up(&mut daemon, id, 7);
        assert_eq!(ends(&daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Code(0), group: Group::Left, peak: None })), []);
        assert_eq!(ends(&daemon.told(Event::Drained { id, part: Part::Main })), [(ONE, Exit::Code(0))]);
    }

    #[test]
    fn with_a_policy_its_end_is_the_last_one() {
        let mut daemon = Daemon::new();
        let (id, ..) = begins(&mut daemon, ONE, RunService { restart: Some("on-failure".to_owned()), ..run(&["import"]) });
        up(&mut daemon, id, 7);
        assert_eq!(ends(&daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Code(1), group: Group::Empty, peak: None })), []);
        let actions = daemon.after(Duration::from_secs(1));
        assert!(matches!(actions.as_slice(), [.., Action::Spawn { .. }]), "{actions:?}");
        let actions = up(&mut daemon, id, 8);
        assert!(!actions.iter().any(|action| matches!(action, Action::Respond { .. })), "it is answered once: {actions:?}");
        assert_eq!(
            ends(&daemon.told(Event::Exited { pid: Pid(8), exit: Exit::Code(0), group: Group::Empty, peak: None })),
            [(ONE, Exit::Code(0))]
        );
    }

    #[test]
    fn what_could_not_be_executed_is_an_answer_and_leaves_no_service() {
        let mut daemon = Daemon::new();
        let (id, ..) = begins(&mut daemon, ONE, run(&["nosuch"]));
        let error = NoStart { why: "exec: no such file: nosuch".to_owned(), code: 127 };
        let actions = daemon.told(Event::SpawnFailed { id, part: Part::Main, error });
        let refused = actions.iter().find_map(|action| match action {
            Action::Respond { result: Err(error), .. } => Some(error.clone()),
            _ => None,
        });
        let refused = refused.unwrap();
        assert_eq!((refused.message.as_str(), refused.data.unwrap()["code"].as_u64()), ("exec: no such file: nosuch", Some(127)));
        assert_eq!(names(&mut daemon), ["web", "db"]);
    }

    #[test]
    fn names_are_found_that_are_free_and_a_chosen_one_must_be() {
        let mut daemon = Daemon::new();
        let name = |daemon: &mut Daemon, client: u64, request| begins(daemon, ClientId(client), request).1;
        assert_eq!(name(&mut daemon, 10, run(&["/usr/bin/web"])), "web-2");
        assert_eq!(name(&mut daemon, 11, run(&["web"])), "web-3");
        assert_eq!(name(&mut daemon, 12, run(&["/bin/7"])), "run", "digits are an id");
        assert_eq!(name(&mut daemon, 13, run(&["/bin/[", "a", "]"])), "run-2");
        assert_eq!(daemon.refused(ONE, Request::Run(RunService { name: Some("db".to_owned()), ..run(&["x"]) })).code, ErrorCode::NameTaken);
        assert_eq!(daemon.refused(ONE, Request::Run(run(&[]))).code, ErrorCode::InvalidService);
        assert_eq!(daemon.refused(ClientId(10), Request::Run(run(&["x"]))).code, ErrorCode::Refused, "one at a time");
        assert_eq!(daemon.refused(ClientId(10), exec("web")).code, ErrorCode::Refused);
    }

    #[test]
    fn when_its_client_is_gone_it_is_stopped_and_removed_and_signals_reach_it_before() {
        let mut daemon = Daemon::new();
        let (id, ..) = begins(&mut daemon, ONE, run(&["import"]));
        up(&mut daemon, id, 7);
        let sent = |actions: &[Action], wanted: Signal| {
            actions.iter().any(|action| matches!(action, Action::Kill { pid: Pid(7), signal, .. } if *signal == wanted))
        };
        assert!(sent(&daemon.asked(ONE, Request::Forward(Forward { signal: Signal::INT })), Signal::INT));
        assert!(sent(&daemon.told(Event::Disconnected { client: ONE }), Signal::TERM));
        let actions = daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Signal(Signal::TERM), group: Group::Empty, peak: None });
        assert_eq!(ends(&actions), [], "nobody is there to be told");
        assert_eq!(names(&mut daemon), ["web", "db"]);
    }

    #[test]
    fn whoever_stops_it_ends_it_and_so_does_the_end_of_the_daemon() {
        for request in [
            Request::Stop(Targets { services: vec!["import".to_owned()], wait: true, rolling: false }),
            Request::Remove(Targets { services: vec!["import".to_owned()], wait: true, rolling: false }),
            Request::Shutdown,
        ] {
            let mut daemon = Daemon::new();
            let (id, ..) = begins(&mut daemon, ONE, run(&["import"]));
            up(&mut daemon, id, 7);
            daemon.asked(TWO, request.clone());
            let actions = daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Signal(Signal::TERM), group: Group::Empty, peak: None });
            assert_eq!(ends(&actions), [(ONE, Exit::Signal(Signal::TERM))], "{request:?}");
        }
    }

    #[test]
    fn detached_it_is_a_service_like_others() {
        let mut daemon = Daemon::new();
        let (id, name, stdin) = begins(&mut daemon, ONE, RunService { detach: true, ..run(&["import"]) });
        assert_eq!((name.as_str(), stdin), ("import", Stdin::Null));
        up(&mut daemon, id, 7);
        daemon.told(Event::Disconnected { client: ONE });
        daemon.told(Event::Exited { pid: Pid(7), exit: Exit::Code(0), group: Group::Empty, peak: None });
        assert_eq!(names(&mut daemon), ["web", "db", "import"]);
        assert_ne!(name, MAIN);
    }
}
