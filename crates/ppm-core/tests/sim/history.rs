//! One random history: chaos, then calm, then the end of the daemon.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_core::config::Config;
use ppm_core::event::{Action, ClientId, Event, From, ServiceId, Shell, turn};
use ppm_core::report::Depth;
use ppm_core::spec::Settings;
use ppm_core::supervisor::{Boot, Supervisor};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_core::watch::{Change, ChangeKind, Changes};
use ppm_protocol::{Request, RpcId, Signal};

use crate::dice::Dice;
use crate::fault::{Fault, Planted};
use crate::judge::{Judge, Turn, Verdict, Violation, rule};
use crate::whims;
use crate::world::{DAEMON, World};

/// Turns of chaos at most; enough for several lives of several services.
const CHAOS: usize = 120;

/// Turns in which everything that behaves must have come to rest.
const REST: usize = 400;

/// What came of a history.
pub struct Told {
    pub turns: usize,
    pub verdict: Verdict,
    /// Line by line, where it was asked for.
    pub trace: Vec<String>,
}

/// Whether a history is written down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    Kept,
    Dropped,
}

/// Tells the history of this seed.
pub fn tell(seed: u64, fault: Option<Fault>, trace: Trace) -> Told {
    let mut history = History::new(seed, fault, trace);
    let verdict = catch_unwind(AssertUnwindSafe(|| history.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { rule: "the core does not panic", detail: text.unwrap_or_default() })
    });
    Told { turns: history.turns, verdict, trace: history.lines }
}

/// Collects what is to be done; the world does it when the judge has seen it.
struct Hands(Vec<Action>);

impl Shell for Hands {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

struct History {
    dice: Dice,
    now: Now,
    supervisor: Supervisor,
    world: World,
    judge: Judge,
    planted: Planted,
    settings: Settings,
    has_hooks: bool,
    clients: u64,
    calls: i64,
    turns: usize,
    trace: Trace,
    lines: Vec<String>,
}

impl History {
    fn new(seed: u64, fault: Option<Fault>, trace: Trace) -> History {
        let mut dice = Dice::new(seed);
        let now = Now { mono: Mono(1_000_000_000_000), wall: Timestamp(1_767_323_045_000) };
        let settings = whims::settings(&mut dice);
        let planted = Planted::new(fault);
        let mut config = Config { settings: settings.clone(), services: whims::services(&mut dice), ..Config::default() };
        let main = planted.main(whims::main(&mut dice));
        if main.is_some() {
            config.add_main(&["/bin/x".to_owned()]).unwrap();
        }
        let essential: BTreeSet<String> = config.services.iter().filter(|spec| spec.essential).map(|spec| spec.name.clone()).collect();
        let has_hooks = config.services.iter().any(|spec| !spec.hooks.is_empty() || spec.stop_command.is_some());
        let config = planted.is_made(config);
        let boot = Boot { config, zone: TimeZone::UTC, remembered: Default::default(), seed, pid: DAEMON, version: "0".to_owned(), main };
        let supervisor = Supervisor::new(boot, now);
        let mut judge = Judge::new(settings.clone(), &supervisor, main, now);
        judge.known.values_mut().for_each(|known| known.spec.essential = essential.contains(known.name()));
        let world = World::new(dice.split());
        History {
            dice,
            now,
            supervisor,
            world,
            judge,
            planted,
            settings,
            has_hooks,
            clients: 3,
            calls: 0,
            turns: 0,
            trace,
            lines: Vec::new(),
        }
    }

    fn run(&mut self) -> Verdict {
        if self.trace == Trace::Kept {
            self.lines.extend(self.supervisor.services().map(|service| format!("{:?}", service.spec())));
            self.lines.push(format!("{:?}", self.settings));
        }
        self.turn(self.world.begins())?;
        let turns = 20 + self.dice.roll(CHAOS);
        while self.turns < turns && !self.is_over() {
            self.chaos()?;
        }
        if self.dice.one_in(2) && !self.is_over() {
            self.rest()?;
        }
        self.end()
    }

    fn is_over(&self) -> bool {
        self.judge.has_seen_the_exit()
    }

    /// Anything may happen.
    fn chaos(&mut self) -> Verdict {
        match self.dice.roll(44) {
            0..=21 => self.next_thing(),
            22..=31 => {
                let request = whims::request(&mut self.dice);
                self.request(request)
            }
            32 if self.turns.is_multiple_of(2) => {
                let depth = if self.turns.is_multiple_of(4) { Depth::State } else { Depth::Figures };
                self.turn(Event::ReportAsked { number: self.turns as u64, depth })
            }
            32 => self.turn(Event::Tick), // early
            33 => {
                let jump = self.dice.pick_ms(&[1, 50, 700, 6000, 70_000]);
                self.advance(self.now.mono + jump);
                self.turn(Event::Tick)
            }
            34 | 35 => {
                let signal = whims::signal(&mut self.dice);
                self.world.meddle(self.now.mono, signal);
                Ok(())
            }
            36 => {
                let client = ClientId(self.dice.roll(usize::try_from(self.clients).unwrap()) as u64);
                self.clients += 1; // numbers of clients are never used twice, but in these histories they may be
                self.turn(Event::Disconnected { client })
            }
            37 => {
                let step = *self.dice.pick(&[-3_600_000, -30_000, -400, 400, 30_000, 3_600_000]);
                self.now.wall.0 += step;
                self.turn(Event::ClockStepped)
            }
            40..=43 => self.files_change(),
            38 if self.dice.one_in(8) => {
                let signal = self.dice.pick(&["TERM", "INT", "INT", "QUIT"]).parse().unwrap();
                self.turn(Event::Signalled(signal))
            }
            _ => {
                let signal = self.dice.pick(&["HUP", "USR1", "WINCH", "RTMIN+3"]).parse().unwrap();
                self.turn(Event::Signalled(signal))
            }
        }
    }

    /// The next thing that happens by itself: in the world, or because the supervisor asked to be woken.
    fn next_thing(&mut self) -> Verdict {
        let wake = self.wake();
        match (self.world.next(), wake) {
            (None, None) => Ok(()),
            (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                self.advance(at);
                match self.world.happen(self.now.mono) {
                    Some(event) => self.turn(event),
                    None => Ok(()),
                }
            }
            (_, Some(wake)) => {
                let late = if self.dice.one_in(4) { self.dice.up_to_ms(30) } else { Duration::ZERO };
                self.advance(wake + late);
                self.turn(Event::Tick)
            }
            (Some(_), None) => Ok(()),
        }
    }

    /// Of a service that is watched; or of one that was, as somebody looked before it was told to look no more.
    fn files_change(&mut self) -> Verdict {
        let watched: Vec<ServiceId> = self.judge.watched.iter().copied().collect();
        let known: Vec<ServiceId> = self.judge.known.keys().copied().collect();
        let from = if watched.is_empty() || self.dice.one_in(8) { known } else { watched };
        if from.is_empty() {
            return Ok(());
        }
        let id = *self.dice.pick(&from);
        let mut changes = Changes::default();
        changes.add(|| Change { kind: ChangeKind::Modified, path: b"/w/f".to_vec(), base: 3 });
        self.turn(Event::FilesChanged { id, changes })
    }

    fn wake(&self) -> Option<Mono> {
        let deadline = self.planted.wakes(self.now, self.supervisor.deadline());
        let plan = self.supervisor.next_plan().map(|at| self.now.mono_at(at));
        deadline.into_iter().chain(plan).min()
    }

    fn advance(&mut self, at: Mono) {
        if at > self.now.mono {
            self.now = Now { mono: at, wall: self.now.wall_at(at) };
        }
    }

    fn request(&mut self, mut request: Request) -> Verdict {
        if let (Request::Add(add), true) = (&mut request, self.has_hooks) {
            add.depends_on.clear();
        }
        self.calls += 1;
        let client = ClientId(self.dice.roll(usize::try_from(self.clients).unwrap()) as u64);
        let from = From { client, call: Some(RpcId::Number(self.calls)) };
        self.turn(Event::Requested { from, request })
    }

    fn tell(&mut self, event: &Event, hands: &mut Hands) {
        for told in self.planted.hears(event) {
            let now = self.planted.clock(self.now, &told);
            turn(&mut self.supervisor, hands, now, told);
        }
    }

    fn is_due(&self) -> bool {
        let deadline = self.supervisor.deadline().is_some_and(|at| at <= self.now.mono);
        deadline || self.supervisor.next_plan().is_some_and(|at| at <= self.now.wall)
    }

    fn turn(&mut self, event: Event) -> Verdict {
        self.turns += 1;
        let mut hands = Hands(Vec::new());
        self.tell(&event, &mut hands);
        let ticks = matches!(event, Event::Tick) || self.is_due() && !self.dice.one_in(4);
        if ticks && !matches!(event, Event::Tick) {
            self.tell(&Event::Tick, &mut hands); // as the daemon does before it waits, unless something else is there
        }
        let actions = self.planted.does(&event, hands.0);
        if self.trace == Trace::Kept {
            self.write_down(&event, &actions);
        }
        let deadline = self.planted.wakes(self.now, self.supervisor.deadline());
        let seen = Turn { now: self.now, event: &event, actions: &actions, ticks, deadline, plan: self.supervisor.next_plan() };
        self.judge.watch(&seen, &self.world, &self.supervisor)?;
        self.judge.note_plans(&self.supervisor);
        for action in &actions {
            self.world.perform(self.now.mono, action);
        }
        Ok(())
    }

    /// Nobody asks for anything any more, and everything behaves: it must come to rest.
    fn rest(&mut self) -> Verdict {
        self.world.calm_down(self.now.mono);
        for _ in 0..REST {
            let sleeps = self.wake().is_none_or(|wake| wake.since(self.now.mono) > Duration::from_secs(600));
            if self.is_over() || sleeps && self.world.next().is_none() {
                break;
            }
            self.next_thing()?;
        }
        let is_planned = self.supervisor.next_plan().is_some();
        let is_limited = self.supervisor.services().any(|service| {
            service.is_active() && service.spec().max_memory.is_some()
                || service.is_active() && service.spec().schedule.as_deref().is_some_and(|schedule| schedule.options.timeout.is_some())
        });
        let is_watched = self.supervisor.services().any(|service| service.is_active() && service.spec().health.is_some());
        let is_ending = self.judge.ending.is_some(); // as late as that: whether it does is asked in the end
        if self.is_over() || is_ending || is_planned || is_limited || is_watched {
            return Ok(()); // what is planned goes on for ever, and so does what lasts too long again and again
        }
        rule(self.world.next().is_none() && self.wake().is_none(), "without anything from outside it comes to rest", || {
            format!("the world goes on at {:?}, the supervisor at {:?}", self.world.next(), self.wake())
        })?;
        let open = self.judge.calls.unanswered(&self.judge);
        rule(open.is_empty(), "every call is answered once", || format!("at rest, open are {open:?}"))
    }

    /// The daemon is asked to end, in one way or another, and must.
    fn end(&mut self) -> Verdict {
        if self.is_over() {
            return Ok(());
        }
        match self.dice.roll(4) {
            0 => self.request(Request::Shutdown)?,
            1 => self.turn(Event::Signalled(Signal::TERM))?,
            2 => self.turn(Event::Signalled(Signal::INT))?,
            _ if self.judge.is_alone_with_main() => self.turn(Event::Signalled(Signal::TERM))?, // which hears the other
            _ => self.turn(Event::Signalled(Signal::QUIT))?,
        }
        let last = self.now.mono + self.settings.shutdown_timeout + Duration::from_millis(600);
        for _ in 0..REST {
            if self.is_over() {
                return Ok(());
            }
            if self.dice.one_in(6) {
                let request = whims::request(&mut self.dice);
                self.request(request)?;
            } else {
                self.next_thing()?;
            }
            rule(self.now.mono <= last || self.is_over(), "the shutdown ends in time", || format!("{:?} > {last:?}", self.now.mono))?;
        }
        rule(self.is_over(), "the shutdown ends in time", || "it goes on and on".to_owned())
    }

    fn write_down(&mut self, event: &Event, actions: &[Action]) {
        let at = self.now.mono.since(Mono(1_000_000_000_000));
        self.lines.push(format!("{:>4} {at:?} {event:?}", self.turns));
        self.lines.extend(actions.iter().map(|action| format!("       -> {action:?}")));
    }
}
