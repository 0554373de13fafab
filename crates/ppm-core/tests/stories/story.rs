//! The language of the stories: a supervisor, a clock that moves only when told, and processes that do what the
//! story says.
//!
//! What the supervisor does (spawns, signals, answers, leaving) is kept until the story tells it. A story that does
//! not tell all of it fails when it ends, and so does one that tells what did not happen.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_core::config::Config;
use ppm_core::event::{Action, Cause, ClientId, Event, From, Group, Notice, Part, Pid, Planned, ServiceId};
use ppm_core::reload::NoConfig;
use ppm_core::schedule::{Options, Schedule};
use ppm_core::service::Service;
use ppm_core::spec::{Command, Reach, RestartWhen, ServiceSpec, Settings};
use ppm_core::supervisor::{Boot, Main, Supervisor};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_protocol::message::Answer;
use ppm_protocol::{Changed, ErrorCode, EventKind, EventRow, Exit, Request, RpcError, RpcId, ServiceRow, Signal, Status};

/// The daemon's own process.
pub const DAEMON: Pid = Pid(1);

/// 2026-01-02T03:04:05Z, by both clocks.
const BEGIN: Now = Now { mono: Mono(1_000_000_000_000), wall: Timestamp(1_767_323_045_000) };

/// Durations as people say them: `5.s()`.
pub trait Span {
    fn ms(self) -> Duration;
    fn s(self) -> Duration;
    fn m(self) -> Duration;
}

impl Span for u64 {
    fn ms(self) -> Duration {
        Duration::from_millis(self)
    }

    fn s(self) -> Duration {
        Duration::from_secs(self)
    }

    fn m(self) -> Duration {
        Duration::from_secs(self * 60)
    }
}

/// A service to be told of.
#[derive(Clone)]
pub struct Make(pub ServiceSpec);

/// The usual one: `svc`, with every default.
pub fn svc() -> Make {
    named("svc")
}

/// One of several.
pub fn named(name: &str) -> Make {
    let command = Command { path: format!("/bin/{name}"), ..Command::default() };
    Make(ServiceSpec { source: "test.yml:1".to_owned(), ..ServiceSpec::new(name, command, &Settings::default()) })
}

impl Make {
    pub fn with(mut self, change: impl FnOnce(&mut ServiceSpec)) -> Make {
        change(&mut self.0);
        self
    }

    pub fn restart(self, when: RestartWhen) -> Make {
        self.with(|spec| spec.restart.when = when)
    }

    pub fn interval(self, interval: Duration) -> Make {
        self.with(|spec| spec.restart.interval = interval)
    }

    pub fn scheduled(self, text: &str) -> Make {
        self.with(|spec| spec.schedule = Some(Box::new(Schedule::parse(text).unwrap())))
    }

    /// The daemon ends with it.
    /// The same, its runs being run in this way.
    pub fn options(self, change: impl FnOnce(&mut Options)) -> Make {
        self.with(|spec| change(&mut spec.schedule.as_mut().expect("a schedule").options))
    }

    pub fn essential(self) -> Make {
        self.with(|spec| (spec.essential, spec.restart.when) = (true, RestartWhen::Never))
    }

    pub fn no_autostart(self) -> Make {
        self.with(|spec| spec.autostart = false)
    }
}

/// What a story is told of.
pub trait Cast {
    fn list(self) -> Vec<ServiceSpec>;
}

impl Cast for Make {
    fn list(self) -> Vec<ServiceSpec> {
        vec![self.0]
    }
}

impl<const N: usize> Cast for [Make; N] {
    fn list(self) -> Vec<ServiceSpec> {
        self.into_iter().map(|make| make.0).collect()
    }
}

impl Cast for Vec<ServiceSpec> {
    fn list(self) -> Vec<ServiceSpec> {
        self
    }
}

/// Begins a story: the daemon has just started with these services, and none of them has.
pub fn story(cast: impl Cast) -> Story {
    story_with(Settings::default(), cast)
}

/// The same, with settings of one's own.
pub fn story_with(settings: Settings, cast: impl Cast) -> Story {
    begin(settings, cast.list(), None)
}

/// The daemon has just started with the command of its command line, and with these services where it has a configuration.
pub fn story_of_main(main: Main, others: impl IntoIterator<Item = Make>) -> Story {
    let settings = Settings::default();
    let command = ServiceSpec::main(&["/bin/main".to_owned()], &settings).unwrap();
    begin(settings, others.into_iter().map(|make| make.0).chain([command]).collect(), Some(main)).on("main")
}

/// The daemon has just started, and remembers this.
pub fn story_remembering(service: &str, rule: &str, fire: &str, cast: impl Cast) -> Story {
    let planned = Planned { rule: rule.to_owned(), fire: fire.parse().unwrap() };
    begin_with(Settings::default(), cast.list(), None, BTreeMap::from([(service.to_owned(), planned)]))
}

fn begin(settings: Settings, services: Vec<ServiceSpec>, main: Option<Main>) -> Story {
    begin_with(settings, services, main, BTreeMap::new())
}

fn begin_with(settings: Settings, services: Vec<ServiceSpec>, main: Option<Main>, remembered: BTreeMap<String, Planned>) -> Story {
    let current = services.first().map_or(String::new(), |spec| spec.name.clone());
    let config = Config { settings, services, ..Config::default() };
    let boot = Boot { config, zone: TimeZone::UTC, remembered, seed: 7, pid: DAEMON, version: "1.2.3".to_owned(), main };
    let supervisor = Supervisor::new(boot, BEGIN);
    let mut story = Story {
        supervisor,
        now: BEGIN,
        current,
        client: 1,
        pids: BTreeMap::new(),
        next_pid: 100,
        happened: Vec::new(),
        welcomes: Vec::new(),
        told: Vec::new(),
        notices: Vec::new(),
        strays: Vec::new(),
        orphans: Orphans::None,
    };
    story.turn(Event::Tick);
    story
}

/// A story under way.
pub struct Story {
    pub supervisor: Supervisor,
    pub now: Now,
    current: String,
    client: u64,
    pids: BTreeMap<String, Pid>,
    next_pid: i32,
    happened: Vec<Action>,
    /// That all have come up, of which most stories have nothing to tell.
    welcomes: Vec<String>,
    pub told: Vec<EventRow>,
    notices: Vec<String>,
    /// Whose strays were asked to end. This follows every stop that takes its time: only stories about it tell it.
    strays: Vec<(ServiceId, Signal)>,
    orphans: Orphans,
}

/// Children of the daemon that belong to no service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Orphans {
    /// None: the daemon is alone as soon as its services are gone. It has not asked yet.
    None,
    /// None, and it has asked.
    NoneAndAsked,
    /// There are some.
    Some,
}

/// Who acts.
impl Story {
    /// From here on it is about this service.
    pub fn on(mut self, name: &str) -> Story {
        self.current = name.to_owned();
        self
    }

    /// From here on this client speaks.
    pub fn client(mut self, client: u64) -> Story {
        self.client = client;
        self
    }

    /// The process of the service, as it was last seen.
    pub fn pid(&self) -> Pid {
        *self.pids.get(&self.current).unwrap_or_else(|| panic!("{} has had no process yet", self.current))
    }

    pub fn id(&self) -> ServiceId {
        self.service().id()
    }

    fn service(&self) -> &Service {
        self.supervisor.services().find(|service| service.spec().name == self.current).expect("a service of the story")
    }
}

/// What happens to the supervisor.
impl Story {
    /// An event; what follows from it waits to be told.
    pub fn event(mut self, event: Event) -> Story {
        self.turn(event);
        self
    }

    /// A client asks; the answer is told by [`Story::replies`].
    pub fn request(self, request: Request) -> Story {
        self.ask("", request)
    }

    /// The same, under a name, for [`Story::answers`].
    pub fn ask(self, call: &str, request: Request) -> Story {
        let from = From { client: ClientId(self.client), call: Some(RpcId::Text(call.to_owned())) };
        self.event(Event::Requested { from, request })
    }

    /// Time passes, and the daemon wakes whenever it asked to be woken.
    pub fn after(mut self, duration: Duration) -> Story {
        let end = self.now.mono + duration;
        for _ in 0..10_000 {
            let plan = self.supervisor.next_plan().map(|at| self.now.mono_at(at));
            match self.supervisor.deadline().into_iter().chain(plan).min() {
                Some(wake) if wake < end => self.advance_to(wake.max(self.now.mono)),
                Some(_) | None => {
                    self.advance_to(end);
                    return self;
                }
            }
        }
        panic!("the supervisor does not come to rest within {duration:?}");
    }

    /// The configuration file is read again, and holds these services now.
    pub fn reads(self, cast: impl Cast) -> Story {
        self.reads_config(Ok(Config { settings: Settings::default(), services: cast.list(), ..Config::default() }))
    }

    /// The configuration file is read again, and holds what it held.
    pub fn reads_again(self) -> Story {
        let services = self.supervisor.services().map(|service| ServiceSpec { id: None, ..service.spec().clone() }).collect();
        self.reads_config(Ok(Config { settings: Settings::default(), services, ..Config::default() }))
    }

    /// The configuration file is read again, with this outcome.
    pub fn reads_config(mut self, config: Result<Config, NoConfig>) -> Story {
        let Action::ReadConfig { read, .. } = self.take("a configuration to be read", |action| matches!(action, Action::ReadConfig { .. }))
        else {
            unreachable!("it was taken")
        };
        self.event(Event::ConfigRead { read, config })
    }

    /// Time passes while the daemon cannot run at all: it wakes once, and late.
    pub fn jump(mut self, duration: Duration) -> Story {
        self.advance_to(self.now.mono + duration);
        self
    }

    /// Somebody sets the wall clock forward by this many milliseconds, or back.
    pub fn steps(mut self, millis: i64) -> Story {
        self.now.wall.0 += millis;
        self
    }

    /// A reading of resources is asked for, and does not come.
    pub fn samples(mut self) -> Story {
        self.take("a reading", |action| matches!(action, Action::Sample { .. }));
        self
    }

    /// The kernel tells that the process was stopped.
    pub fn paused(self) -> Story {
        let pid = self.pid();
        self.event(Event::Paused { pid })
    }

    /// The kernel tells that the process goes on.
    pub fn resumed(self) -> Story {
        let pid = self.pid();
        self.event(Event::Resumed { pid })
    }

    /// The process of the service ends by itself and leaves nothing behind.
    pub fn exits(self, exit: Exit) -> Story {
        self.exited(exit, Group::Empty)
    }

    /// The process of the service ends and leaves others of its group behind.
    pub fn exits_leaving_others(self, exit: Exit) -> Story {
        self.exited(exit, Group::Left)
    }

    /// It dies of the SIGKILL it got.
    pub fn reaps(self) -> Story {
        self.exits(by(Signal::KILL))
    }

    /// The daemon has adopted processes that are nobody's.
    pub fn adopts_strangers(mut self) -> Story {
        self.orphans = Orphans::Some;
        self
    }

    /// The last of the daemon's children ends.
    pub fn last_child_ends(self) -> Story {
        self.event(Event::Alone)
    }

    /// More turns up of what it left behind.
    pub fn strays_turn_up(self) -> Story {
        let id = self.id();
        self.event(Event::Strayed { id, part: Part::Main })
    }

    /// The last of what it left behind ends.
    pub fn drains(self) -> Story {
        let id = self.id();
        self.event(Event::Drained { id, part: Part::Main })
    }

    fn exited(self, exit: Exit, group: Group) -> Story {
        let pid = self.pid();
        self.event(Event::Exited { pid, exit, group, peak: None })
    }

    fn advance_to(&mut self, mono: Mono) {
        self.now = Now { mono, wall: self.now.wall_at(mono) };
        self.turn(Event::Tick);
    }

    /// One turn, and a tick where one is due at once, as the daemon does it.
    fn turn(&mut self, event: Event) {
        let is_tick = matches!(event, Event::Tick);
        self.one_turn(event);
        let is_due = !is_tick && self.supervisor.deadline().is_some_and(|at| at <= self.now.mono);
        if is_due || self.supervisor.next_plan().is_some_and(|at| at <= self.now.wall) {
            self.one_turn(Event::Tick);
        }
    }

    fn one_turn(&mut self, event: Event) {
        let actions: Vec<Action> = self.supervisor.handle(self.now, event).collect();
        self.supervisor.check_invariants().unwrap();
        let exit = actions.iter().position(|action| matches!(action, Action::Exit { .. }));
        assert!(exit.is_none_or(|at| at + 1 == actions.len()), "an action after the last: {actions:#?}");
        for action in actions {
            match action {
                Action::Announce(Notice::Service(row)) => self.told.push((*row).clone()),
                Action::Announce(Notice::Impossible(text)) => panic!("{text}"),
                Action::Announce(Notice::Info(text)) if text.starts_with("up in ") => self.welcomes.push(text),
                Action::Announce(Notice::Info(text) | Notice::Warning(text)) => self.notices.push(text),
                Action::AskStrays { id, signal, .. } => self.strays.push((id, signal)),
                Action::Sweep { .. } if self.orphans != Orphans::Some => self.orphans = Orphans::NoneAndAsked,
                other => self.happened.push(other),
            }
        }
        let alone = !self.supervisor.is_over() && self.supervisor.services().all(|service| !service.is_busy());
        if alone && self.orphans == Orphans::NoneAndAsked {
            self.one_turn(Event::Alone);
        }
    }
}

/// What the supervisor does.
impl Story {
    /// It starts the service, and that succeeds.
    pub fn starts(self) -> Story {
        self.spawns().comes_up()
    }

    /// It starts the service, for this cause, and that succeeds.
    pub fn starts_by(self, cause: Cause) -> Story {
        self.spawns_by(cause).comes_up()
    }

    /// It starts the service, which fails.
    pub fn fails_to_start(self, error: &str) -> Story {
        let story = self.spawns();
        let id = story.id();
        story.event(Event::SpawnFailed { id, part: Part::Main, error: error.to_owned().into() })
    }

    /// It begins to start the service. How that ends is not known yet.
    pub fn spawns(mut self) -> Story {
        let service = self.id();
        self.take("spawn", |action| matches!(action, Action::Spawn { id, part: Part::Main, .. } if *id == service));
        self
    }

    fn spawns_by(mut self, expected: Cause) -> Story {
        let service = self.id();
        self.take(
            &format!("spawn for {expected}"),
            |action| matches!(action, Action::Spawn { id, part: Part::Main, cause, .. } if (*id, *cause) == (service, expected)),
        );
        self
    }

    /// What was begun by [`Story::spawns`] succeeds.
    pub fn comes_up(mut self) -> Story {
        let (id, pid) = (self.id(), Pid(self.next_pid));
        self.next_pid += 1;
        self.pids.insert(self.current.clone(), pid);
        self.event(Event::Spawned { id, part: Part::Main, pid })
    }

    /// Nothing happens for exactly this long, then it starts.
    pub fn starts_after(self, delay: Duration) -> Story {
        self.after(delay - 1.ms()).quiet().after(1.ms()).starts()
    }

    /// The polite stop: the signal and SIGCONT to the group.
    pub fn asks_to_stop(self, signal: Signal) -> Story {
        self.sends_to(signal, Reach::Group).sends_to(Signal::CONT, Reach::Group)
    }

    /// It sends this signal to all of the service: its group, and whoever has left it.
    pub fn sends(mut self, signal: Signal) -> Story {
        let wanted = Action::KillStrays { id: self.id(), part: Part::Main, signal };
        self.take(&format!("{signal} to strays"), |action| *action == wanted);
        self.sends_to(signal, Reach::Group)
    }

    /// It sends this signal.
    pub fn sends_to(mut self, signal: Signal, reach: Reach) -> Story {
        let (id, pid) = (self.id(), self.pid());
        let wanted = Action::Kill { id, part: Part::Main, pid, signal, reach };
        self.take(&format!("{signal} to {pid} {reach:?}"), |action| *action == wanted);
        self
    }

    /// It sends this signal to everything that descends from it.
    pub fn sweeps(mut self, signal: Signal) -> Story {
        self.take(&format!("{signal} to all"), |action| *action == Action::Sweep { signal });
        self
    }

    /// It asks those of the service to end that have left its group, and did not before.
    pub fn asks_strays(mut self, signal: Signal) -> Story {
        assert_eq!(std::mem::take(&mut self.strays), [(self.id(), signal)]);
        self
    }

    /// It has not asked any strays.
    pub fn asks_no_strays(self) -> Story {
        assert_eq!(self.strays, []);
        self
    }

    /// It remembers that this planned time has come.
    pub fn remembers(mut self, fire: &str) -> Story {
        let action = self.take("something to be remembered", |action| matches!(action, Action::Remember { .. }));
        let Action::Remember { planned, .. } = action else { unreachable!("it was taken") };
        assert_eq!(planned.fire.to_string(), format!("2026-01-{fire}.000Z"));
        self
    }

    /// It answers the last request of this client.
    pub fn replies(self, expected: impl Fn(&Reply)) -> Story {
        self.answers("", expected)
    }

    /// It answers the call of this name.
    pub fn answers(mut self, call: &str, expected: impl Fn(&Reply)) -> Story {
        let wanted = From { client: ClientId(self.client), call: Some(RpcId::Text(call.to_owned())) };
        let action = self.take(&format!("an answer to {wanted:?}"), |action| matches!(action, Action::Respond { to, .. } if *to == wanted));
        let Action::Respond { result, .. } = action else { unreachable!() };
        expected(&result);
        self
    }

    /// It leaves with this exit code: the last thing it does.
    pub fn leaves(mut self, code: u8) -> Story {
        assert_eq!(self.happened.last(), Some(&Action::Exit { code }), "of {:#?}", self.happened);
        self.happened.pop();
        assert!(self.supervisor.is_over());
        self
    }

    /// It does nothing that has not been told.
    pub fn quiet(self) -> Story {
        assert!(self.happened.is_empty(), "not quiet, but {:#?}", self.happened);
        self
    }

    /// Takes an action that no other `take` has told; for what has no word of its own.
    pub fn take(&mut self, what: &str, is: impl Fn(&Action) -> bool) -> Action {
        match self.happened.iter().position(is) {
            Some(at) => self.happened.remove(at),
            None => panic!("wanted {what} for {}, found {:#?}", self.current, self.happened),
        }
    }
}

/// What its users see.
impl Story {
    /// The service's state and reason.
    pub fn is(self, status: Status, reason: &str) -> Story {
        self.row(|row| assert_eq!((row.status, row.reason.as_str()), (status, reason)))
    }

    /// The service's row.
    pub fn row(mut self, check: impl Fn(&ServiceRow)) -> Story {
        let which = ppm_protocol::message::Selection { services: vec![self.current.clone()] };
        let from = From { client: ClientId(u64::MAX), call: Some(RpcId::Text("row".to_owned())) };
        let actions: Vec<Action> = self.supervisor.handle(self.now, Event::Requested { from, request: Request::List(which) }).collect();
        match actions.as_slice() {
            [Action::Respond { result: Ok(Answer::Services(rows)), .. }] => check(&rows[0]),
            other => panic!("no row of {}, but {other:#?}", self.current),
        }
        self
    }

    /// All that was told of the service since the story last looked.
    pub fn told(mut self, expected: &[(EventKind, &str)]) -> Story {
        let told: Vec<(EventKind, String)> =
            self.told.iter().filter(|row| row.service == self.current).map(|row| (row.event, row.reason.clone())).collect();
        let expected: Vec<(EventKind, String)> = expected.iter().map(|(kind, reason)| (*kind, (*reason).to_owned())).collect();
        assert_eq!(told, expected);
        self.told.retain(|row| row.service != self.current);
        self
    }

    /// The last of this kind that was told of the service.
    pub fn told_last(self, kind: EventKind, reason: &str) -> Story {
        let last = self.told.iter().rfind(|row| row.service == self.current && row.event == kind);
        assert_eq!(last.map(|row| row.reason.as_str()), Some(reason));
        self
    }

    /// When it is planned, by the core's own word: nothing is asked for, so that nothing is noticed.
    pub fn planned_for(self, at: &str) -> Story {
        assert_eq!(self.service().plan().map(|at| at.to_string()), Some(format!("2026-01-{at}.000Z")));
        self
    }

    /// It has said so far, and once, that all have come up.
    pub fn welcomes(self, line: &str) -> Story {
        assert_eq!(self.welcomes, [line]);
        self
    }

    /// The daemon's own log holds this line, and no other since the story last looked.
    pub fn announces(mut self, line: &str) -> Story {
        assert_eq!(std::mem::take(&mut self.notices), [line]);
        self
    }

    /// There is no such service.
    pub fn vanished(self) -> Story {
        assert!(self.supervisor.services().all(|service| service.spec().name != self.current));
        self
    }

    /// For whatever has no word of its own.
    pub fn look(self, check: impl FnOnce(&Story)) -> Story {
        check(&self);
        self
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.happened.is_empty(), "the story does not tell of {:#?}", self.happened);
        }
    }
}

/// An answer.
pub type Reply = Result<Answer, RpcError>;

/// Done, for every service.
pub fn done() -> impl Fn(&Reply) {
    changed(|changed| assert_eq!(changed.failed, [], "{changed:#?}"))
}

/// Done for some, but one failed, in these words.
pub fn failed(message: &'static str) -> impl Fn(&Reply) {
    changed(move |changed| {
        let messages: Vec<&str> = changed.failed.iter().map(|failure| failure.message.as_str()).collect();
        assert_eq!(messages, [message]);
    })
}

/// What changed.
pub fn changed(check: impl Fn(&Changed)) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Changed(changed)) => check(changed),
        other => panic!("not what changed, but {other:#?}"),
    }
}

/// An error, in these words.
pub fn refused(code: ErrorCode, message: &'static str) -> impl Fn(&Reply) {
    move |reply| match reply {
        Err(error) => assert_eq!((error.code, error.message.as_str()), (code, message)),
        Ok(answer) => panic!("not refused, but {answer:#?}"),
    }
}

/// An exit code.
pub fn code(code: i32) -> Exit {
    Exit::Code(code)
}

/// A death by a signal.
pub fn by(signal: Signal) -> Exit {
    Exit::Signal(signal)
}

/// The signal of this name.
pub fn sig(name: &str) -> Signal {
    name.parse().unwrap()
}
