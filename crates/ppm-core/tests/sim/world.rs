//! A make-believe kernel: processes that obey or do not, groups, and pids that are given again at once.
//!
//! What is done to it has its effects later; [`World::happen`] turns them into the events that the daemon would see.
//! A child is reaped when its event is taken, never before: until then its number is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ppm_core::event::{Action, Detail, Event, Group, NoStart, Part, Pid, ServiceId, Tree, Whose};
use ppm_core::hook::Hook;
use ppm_core::notification::Notification;
use ppm_core::probe::Outcome;
use ppm_core::reload::NoConfig;
use ppm_core::spec::Reach;
use ppm_core::time::Mono;
use ppm_core::usage::Usage;
use ppm_protocol::{Exit, Signal};

use crate::dice::Dice;
use crate::whims::MAX_MEMORY;

/// The daemon's own process.
pub const DAEMON: Pid = Pid(1);

/// No start takes longer.
const SLOWEST_START: Duration = Duration::from_millis(3001);

/// What will happen to whom; the number tells a process from an earlier one of the same pid.
#[derive(Debug)]
enum Happening {
    Born {
        of: Tree,
        pid: Pid,
    },
    NotBorn {
        of: Tree,
    },
    Dies {
        pid: Pid,
        birth: u64,
        exit: Exit,
    },
    /// By SIGKILL, after it was told how often memory was short.
    DiesCounted {
        pid: Pid,
        birth: u64,
    },
    OthersEnd {
        pid: Pid,
        birth: u64,
    },
    StraysEnd {
        pid: Pid,
        birth: u64,
        round: u32,
    },
    StraysFork {
        pid: Pid,
        birth: u64,
    },
    StrangersEnd,
    LookedAround,
    Reported {
        pid: Pid,
        birth: u64,
    },
    Read {
        sample: u64,
        whose: Vec<(Whose, Pid)>,
        detail: Detail,
    },
    NotRead {
        read: u64,
    },
    Says {
        pid: Pid,
        birth: u64,
    },
    /// Also when nobody wants to know any more.
    Answered {
        id: ServiceId,
        attempt: u64,
    },
}

/// What a process does when it is asked to end.
#[derive(Clone, Copy, Debug)]
enum Temper {
    /// It ends, after a while.
    Obeys { delay: Duration, exit: Option<i32> },
    /// It does not care.
    Deaf,
}

/// A main process or that of a hook, the group that it leads, and those of it that have left the group.
#[derive(Debug)]
struct Process {
    of: Tree,
    birth: u64,
    /// The daemon has heard of it.
    told: bool,
    temper: Temper,
    /// Survives SIGKILL for long.
    stuck: bool,
    reaped: bool,
    /// Its end is certain, and comes soon.
    dying: bool,
    killed: bool,
    stopped: bool,
    reported: bool,
    held: Vec<Signal>,
    /// Ended while it was stopped: it does so when it goes on.
    overdue: Option<Exit>,
    others: Option<Others>,
    strays: Option<Others>,
}

/// The other members of a group, or those that have left it, or whoever is nobody's.
#[derive(Debug, Default)]
struct Others {
    deaf: bool,
    outlive: bool,
    stuck: bool,
    stopped: bool,
    asked: bool,
    killed: bool,
    /// How often they have become more, whom no signal has reached.
    round: u32,
}

/// The kernel.
pub struct World {
    dice: Dice,
    due: BTreeMap<(Mono, u64), Happening>,
    processes: BTreeMap<Pid, Process>,
    /// The daemon's children that belong to no service.
    strangers: Option<Others>,
    /// It is to be told when the daemon has no child any more.
    watched: bool,
    unborn: usize,
    count: u64,
    /// How ill everything is: one in so many starts fails or crashes at once.
    luck: usize,
    calm: bool,
    /// How many the kernel has killed because memory was short.
    oom_kills: u64,
}

impl World {
    pub fn new(mut dice: Dice) -> World {
        let luck = *dice.pick(&[2, 4, 10]);
        let strangers = dice.one_in(3).then(|| Others { deaf: dice.one_in(3), stuck: dice.one_in(6), ..Others::default() });
        let (due, processes) = (BTreeMap::new(), BTreeMap::new());
        World { dice, due, processes, strangers, watched: false, unborn: 0, count: 0, luck, calm: false, oom_kills: 0 }
    }

    /// From now on whatever starts lives and obeys, and nothing withstands SIGKILL.
    pub fn calm_down(&mut self, now: Mono) {
        self.calm = true;
        let mut released = Vec::new();
        let mut done = Vec::new();
        for (pid, process) in &mut self.processes {
            process.stuck = false;
            process.temper = Temper::Obeys { delay: Duration::from_millis(3), exit: None };
            if process.of.part != Part::Main && !process.reaped {
                process.stopped = false;
                done.push(Happening::Dies { pid: *pid, birth: process.birth, exit: Exit::Code(0) });
            }
            if process.killed && !process.reaped {
                released.push(Happening::Dies { pid: *pid, birth: process.birth, exit: Exit::Signal(Signal::KILL) });
            }
            if let Some(others) = &mut process.others {
                (others.stuck, others.deaf) = (false, false);
                if others.killed {
                    released.push(Happening::OthersEnd { pid: *pid, birth: process.birth });
                }
            }
            if let Some(strays) = &mut process.strays {
                (strays.stuck, strays.deaf) = (false, false);
                if strays.killed {
                    released.push(Happening::StraysEnd { pid: *pid, birth: process.birth, round: strays.round });
                }
            }
        }
        for happening in released {
            self.plan(now, Duration::from_millis(1), happening);
        }
        for happening in done {
            self.plan(now, SLOWEST_START, happening); // those that are not born yet are then
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Mono> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is told at the start, before anything happens.
    pub fn begins(&self) -> Event {
        Event::OomKills { kills: self.oom_kills }
    }

    /// Lets the next thing happen that has come due, and tells of it if there is something to be told.
    pub fn happen(&mut self, now: Mono) -> Option<Event> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, happening) = self.due.pop_first()?;
            if let Some(event) = self.perform_happening(now, happening) {
                return Some(event);
            }
        }
        None
    }

    /// Whether a signal for this process, or for this group, is one for a service of which there is anybody at all.
    pub fn exists(&self, pid: Pid, reach: Reach) -> bool {
        self.processes.get(&pid).is_some_and(|process| match reach {
            Reach::Leader => !process.reaped,
            Reach::Group => !process.reaped || process.others.is_some() || process.strays.is_some(),
        })
    }

    /// Known main processes of which somebody has not been sentenced: whom no exit may leave behind.
    pub fn spared(&self) -> Vec<Pid> {
        self.processes.iter().filter(|(_, process)| process.is_spared()).map(|(pid, _)| *pid).collect()
    }

    /// The same, of those that must be gone before this part of a service starts.
    pub fn spared_before(&self, id: ServiceId, part: Part) -> Vec<Pid> {
        let must_be_gone = |other: Part| match part {
            Part::Main | Part::Hook(Hook::PreStart | Hook::PostStop) => !matches!(other, Part::Hook(hook) if !hook.belongs_to_run()),
            Part::Hook(_) => other == part,
        };
        let is_spared = |process: &Process| process.of.id == id && must_be_gone(process.of.part) && process.is_spared();
        self.processes.iter().filter(|(_, process)| is_spared(process)).map(|(pid, _)| *pid).collect()
    }

    /// Whether children that are nobody's have not been sentenced.
    pub fn spares_strangers(&self) -> bool {
        self.strangers.as_ref().is_some_and(|strangers| !strangers.killed)
    }

    /// Somebody else sends a signal to a process.
    pub fn meddle(&mut self, now: Mono, signal: Signal) {
        let lives = |process: &Process| process.told && !process.reaped;
        let leaders: Vec<Pid> = self.processes.iter().filter(|(_, process)| lives(process)).map(|(pid, _)| *pid).collect();
        if !leaders.is_empty() {
            let pid = *self.dice.pick(&leaders);
            self.signal(now, pid, signal, Reach::Leader);
        }
    }

    /// Does what the daemon asks for.
    pub fn perform(&mut self, now: Mono, action: &Action) {
        match action {
            Action::Spawn { id, part, .. } => self.spawn(now, Tree { id: *id, part: *part }),
            Action::Kill { pid, signal, reach, .. } => self.signal(now, *pid, *signal, *reach),
            Action::KillStrays { id, part, signal } => self.signal_strays(now, Tree { id: *id, part: *part }, &[*signal]),
            Action::AskStrays { id, part, signal } => {
                self.signal_strays(now, Tree { id: *id, part: *part }, &[*signal, Signal::CONT]);
            }
            Action::Sweep { signal } => self.sweep(now, *signal),
            Action::Sample { sample, whose, running, detail } => {
                let delay = self.dice.up_to_ms(20);
                let pid = |whose: &Whose| whose.map_or(Some(DAEMON), |id| running.iter().find(|one| one.id == id).map(|one| one.pid));
                let whose = whose.iter().filter_map(|whose| Some((*whose, pid(whose)?))).collect();
                self.plan(now, delay, Happening::Read { sample: *sample, whose, detail: *detail });
            }
            Action::ReadConfig { read, .. } => {
                let delay = self.dice.up_to_ms(200);
                self.plan(now, delay, Happening::NotRead { read: *read });
            }
            Action::Probe { id, attempt, .. } => {
                let delay = if !self.calm && self.dice.one_in(5) { self.dice.up_to_ms(5000) } else { self.dice.up_to_ms(20) };
                self.plan(now, delay, Happening::Answered { id: *id, attempt: *attempt });
            }
            Action::StopProbe { .. } | Action::Exec { .. } | Action::KillGuest { .. } | Action::TellEnd { .. } => {}
            Action::Remember { .. } | Action::Respond { .. } | Action::Notify { .. } | Action::Announce(_) | Action::Exit { .. } => {}
            Action::Watch { .. } | Action::Unwatch { .. } | Action::Listen { .. } | Action::Report { .. } => {}
            Action::SetLogger { .. }
            | Action::ForgetOutput { .. }
            | Action::ReadLog { .. }
            | Action::TellLives { .. }
            | Action::TellWatched { .. }
            | Action::ReopenLogs => {}
        }
    }

    fn plan(&mut self, now: Mono, delay: Duration, happening: Happening) {
        self.count += 1;
        self.due.insert((now + delay, self.count), happening);
    }

    fn spawn(&mut self, now: Mono, of: Tree) {
        let delay = if self.dice.one_in(5) { self.dice.up_to_ms(3000) } else { self.dice.up_to_ms(5) };
        self.unborn += 1;
        if !self.calm && self.dice.one_in(self.luck * 2) {
            return self.plan(now, delay, Happening::NotBorn { of });
        }
        let taken: BTreeSet<Pid> = self.processes.keys().copied().collect();
        let pid = (2..).map(Pid).find(|pid| !taken.contains(pid)).unwrap_or(Pid(i32::MAX));
        self.plan(now, delay, Happening::Born { of, pid });
        self.count += 1;
        let birth = self.count;
        let process = self.new_process(of, birth);
        self.processes.insert(pid, process);
        let (life, exit) = if of.part == Part::Main { (self.life(), self.exit()) } else { self.fate_of_hook() };
        if let Some(life) = life {
            self.plan(now, delay + life, Happening::Dies { pid, birth, exit });
        }
    }

    fn new_process(&mut self, of: Tree, birth: u64) -> Process {
        let dice = &mut self.dice;
        let ill = !self.calm && dice.one_in(self.luck);
        let delay = if ill { dice.up_to_ms(12_000) } else { dice.up_to_ms(30) };
        let exit = *dice.pick(&[None, None, Some(0), Some(1), Some(143)]);
        let temper = if ill && dice.one_in(2) { Temper::Deaf } else { Temper::Obeys { delay, exit } };
        let others = dice.one_in(2).then(|| Others {
            deaf: ill && dice.one_in(2),
            outlive: dice.one_in(2),
            stuck: ill && dice.one_in(4),
            ..Others::default()
        });
        let strays = dice.one_in(3).then(|| Others { deaf: ill && dice.one_in(2), stuck: ill && dice.one_in(4), ..Others::default() });
        Process {
            of,
            birth,
            told: false,
            temper,
            stuck: ill && dice.one_in(6),
            reaped: false,
            dying: false,
            killed: false,
            stopped: false,
            reported: false,
            held: Vec::new(),
            overdue: None,
            others,
            strays,
        }
    }

    /// How long it would live if it were left alone; None: for ever.
    fn life(&mut self) -> Option<Duration> {
        if self.calm {
            return None;
        }
        let most = match self.dice.roll(6) {
            0 => 5,
            1 => 300,
            2 => 3000,
            3 => 90_000,
            _ => return None,
        };
        Some(self.dice.up_to_ms(most))
    }

    /// How long a hook would work, and how it would end: well and soon, as a rule.
    fn fate_of_hook(&mut self) -> (Option<Duration>, Exit) {
        let exit = if self.calm || !self.dice.one_in(self.luck) { Exit::Code(0) } else { self.exit() };
        let most = match self.dice.roll(6) {
            _ if self.calm => 5,
            0 | 1 => 5,
            2 | 3 => 300,
            4 => 3000,
            _ => return (None, exit),
        };
        (Some(self.dice.up_to_ms(most)), exit)
    }

    fn exit(&mut self) -> Exit {
        let codes = [0, 0, 1, 1, 3, 255];
        let signals = ["TERM", "KILL", "SEGV", "QUIT", "RTMIN+5"];
        if self.dice.one_in(4) { Exit::Signal(self.dice.pick(&signals).parse().unwrap()) } else { Exit::Code(*self.dice.pick(&codes)) }
    }

    fn perform_happening(&mut self, now: Mono, happening: Happening) -> Option<Event> {
        match happening {
            Happening::Born { of: Tree { id, part }, pid } => {
                self.unborn -= 1;
                let process = self.processes.get_mut(&pid)?;
                process.told = true;
                let birth = process.birth;
                let soon = if self.calm { Duration::ZERO } else { self.dice.up_to_ms(3000) };
                self.plan(now, soon, Happening::Says { pid, birth });
                Some(Event::Spawned { id, part, pid })
            }
            Happening::NotBorn { of: Tree { id, part } } => {
                self.unborn -= 1;
                self.look_around(now);
                Some(Event::SpawnFailed { id, part, error: no_such_file() })
            }
            Happening::Dies { pid, birth, exit: Exit::Signal(Signal::KILL) } => {
                self.oom_kills += u64::from(self.dice.one_in(3));
                self.due.insert((now, 0), Happening::DiesCounted { pid, birth }); // before all others
                Some(Event::OomKills { kills: self.oom_kills })
            }
            Happening::DiesCounted { pid, birth } => self.reap(now, pid, birth, Exit::Signal(Signal::KILL)),
            Happening::Dies { pid, birth, exit } => self.reap(now, pid, birth, exit),
            Happening::OthersEnd { pid, birth } => {
                self.of(pid, birth)?.others.take()?;
                self.drain(now, pid)
            }
            Happening::StraysEnd { pid, birth, round } => {
                let process = self.of(pid, birth)?;
                process.strays.take_if(|strays| strays.round == round)?;
                self.drain(now, pid)
            }
            Happening::StraysFork { pid, birth } => {
                let process = self.of(pid, birth).filter(|process| process.reaped)?;
                let strays = process.strays.as_mut()?;
                *strays = Others { round: strays.round + 1, deaf: strays.deaf, ..Others::default() };
                Some(Event::Strayed { id: process.of.id, part: process.of.part })
            }
            Happening::StrangersEnd => {
                self.strangers = None;
                self.look_around(now);
                None
            }
            Happening::LookedAround => {
                let alone = self.unborn == 0 && self.processes.is_empty() && self.strangers.is_none();
                (alone && std::mem::take(&mut self.watched)).then_some(Event::Alone)
            }
            Happening::Reported { pid, birth } => {
                let process = self.of(pid, birth).filter(|process| !process.reaped)?;
                if process.stopped == process.reported {
                    return None; // both came and went: levels are told, not a history
                }
                process.reported = process.stopped;
                Some(if process.stopped { Event::Paused { pid } } else { Event::Resumed { pid } })
            }
            Happening::Read { sample, whose, detail } => {
                let alive = |(_, pid): &&(Whose, Pid)| *pid == DAEMON || self.exists(*pid, Reach::Leader);
                let alive: Vec<Whose> = whose.iter().filter(alive).map(|(whose, _)| *whose).collect();
                let usages = alive.into_iter().map(|whose| (whose, World::usage(now, detail))).collect();
                Some(Event::Sampled { sample, usages, container: None })
            }
            Happening::Says { pid, birth } => {
                let Tree { id, part } = self.of(pid, birth).filter(|process| !process.reaped)?.of;
                if part != Part::Main {
                    return None;
                }
                if !self.calm && !self.dice.one_in(4) {
                    let later = self.dice.up_to_ms(2500);
                    self.plan(now, later, Happening::Says { pid, birth });
                }
                let message = match self.dice.roll(if self.calm { 1 } else { 12 }) {
                    0..=3 => "READY=1",
                    4 => "READY=1\nWATCHDOG=1\nWATCHDOG_USEC=700000",
                    5 => "EXTEND_TIMEOUT_USEC=2000000",
                    6 => "STOPPING=1",
                    7 => "WATCHDOG=trigger",
                    _ => "WATCHDOG=1",
                };
                Some(Event::Notified { id, notification: Notification::parse(message.as_bytes()) })
            }
            Happening::Answered { id, attempt } => {
                let luck = if self.calm { 0 } else { self.dice.roll(self.luck) };
                let outcome = match luck {
                    0 => Outcome::Passed,
                    1 => Outcome::Failed("connection refused".to_owned()),
                    2 => Outcome::NotAsked("too many open files".to_owned()),
                    _ => Outcome::Passed,
                };
                Some(Event::Probed { id, attempt, outcome })
            }
            Happening::NotRead { read } => {
                let config = Err(NoConfig::Unreadable("no such file".to_owned()));
                Some(Event::ConfigRead { read, config })
            }
        }
    }

    /// Mostly well below what a service may use that has a limit, sometimes near it, or above.
    fn usage(now: Mono, detail: Detail) -> Usage {
        let mut dice = Dice::new(now.0); // of its own: who only asks changes nothing
        let rss = MAX_MEMORY / 100 * *dice.pick(&[10, 50, 85, 95, 120, 150]);
        let pss = *dice.pick(&[None, Some(rss), Some(rss), Some(rss / 2), Some(MAX_MEMORY)]);
        let pss = pss.filter(|_| matches!(detail, Detail::Pss | Detail::Full));
        Usage { at: now, rss, pss: pss.map(|pss| pss.min(rss)), ..Usage::default() }
    }

    fn of(&mut self, pid: Pid, birth: u64) -> Option<&mut Process> {
        self.processes.get_mut(&pid).filter(|process| process.birth == birth)
    }

    fn reap(&mut self, now: Mono, pid: Pid, birth: u64, exit: Exit) -> Option<Event> {
        let process = self.of(pid, birth).filter(|process| !process.reaped)?;
        if process.stopped && exit != Exit::Signal(Signal::KILL) {
            process.overdue = Some(exit);
            return None;
        }
        process.reaped = true;
        if process.others.as_ref().is_some_and(|others| !(others.outlive && !others.killed || others.stuck)) {
            process.others = None;
        }
        if process.others.is_none() && process.strays.is_none() {
            self.processes.remove(&pid);
            self.look_around(now);
            return Some(Event::Exited { pid, exit, group: Group::Empty, peak: None });
        }
        let (strays, round) = (process.strays.is_some(), process.strays.as_ref().map_or(0, |strays| strays.round));
        if self.dice.one_in(3) {
            let life = self.dice.up_to_ms(8000);
            self.plan(now, life, Happening::OthersEnd { pid, birth });
            self.plan(now, life, Happening::StraysEnd { pid, birth, round });
        }
        if strays && !self.calm && self.dice.one_in(3) {
            let delay = self.dice.up_to_ms(12_000);
            self.plan(now, delay, Happening::StraysFork { pid, birth });
        }
        Some(Event::Exited { pid, exit, group: Group::Left, peak: None })
    }

    fn drain(&mut self, now: Mono, pid: Pid) -> Option<Event> {
        let process = self.processes.get(&pid)?;
        let Tree { id, part } = process.of;
        if !process.reaped || process.others.is_some() || process.strays.is_some() {
            return None; // they go before their leader, or others stay, and nobody is told
        }
        self.processes.remove(&pid);
        self.look_around(now);
        Some(Event::Drained { id, part })
    }

    /// Whoever is to be told that the daemon is alone is told soon.
    fn look_around(&mut self, now: Mono) {
        if self.watched {
            self.plan(now, Duration::ZERO, Happening::LookedAround);
        }
    }

    fn signal_strays(&mut self, now: Mono, of: Tree, signals: &[Signal]) {
        let mut planned = Vec::new();
        for (pid, process) in self.processes.iter_mut().filter(|(_, process)| process.told && process.of == of) {
            let (pid, birth) = (*pid, process.birth);
            let Some(strays) = &mut process.strays else { continue };
            let ends = signals.iter().filter_map(|signal| strays.hear(*signal)).last();
            planned.extend(ends.map(|delay| (delay, Happening::StraysEnd { pid, birth, round: strays.round })));
        }
        self.plan_all(now, planned);
    }

    fn sweep(&mut self, now: Mono, signal: Signal) {
        self.watched = true;
        let told = self.processes.iter().filter(|(_, process)| process.told);
        let pids: Vec<(Pid, Tree)> = told.map(|(pid, process)| (*pid, process.of)).collect();
        for (pid, of) in pids {
            for signal in [signal, Signal::CONT] {
                self.signal(now, pid, signal, Reach::Group);
                self.signal_strays(now, of, &[signal]);
            }
        }
        let hears = |strangers: &mut Others| [signal, Signal::CONT].into_iter().filter_map(|signal| strangers.hear(signal)).next();
        let ends = self.strangers.as_mut().and_then(hears);
        self.plan_all(now, ends.map(|delay| (delay, Happening::StrangersEnd)));
        self.look_around(now);
    }

    fn plan_all(&mut self, now: Mono, happenings: impl IntoIterator<Item = (Duration, Happening)>) {
        for (delay, happening) in happenings {
            let lag = self.dice.up_to_ms(10);
            self.plan(now, delay + lag, happening);
        }
    }

    fn signal(&mut self, now: Mono, pid: Pid, signal: Signal, reach: Reach) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let birth = process.birth;
        let mut planned = Vec::new();
        if !process.reaped {
            planned.extend(process.hears(pid, signal));
        }
        if let (Reach::Group, Some(others)) = (reach, &mut process.others) {
            planned.extend(others.hear(signal).map(|delay| (delay, Happening::OthersEnd { pid, birth })));
        }
        self.plan_all(now, planned);
    }
}

impl Process {
    /// The daemon knows of it, and somebody of it has not been sentenced.
    fn is_spared(&self) -> bool {
        let leader = !self.reaped && !self.killed;
        let others = [&self.others, &self.strays].into_iter().flatten().any(|others| !others.killed);
        self.told && (leader || others)
    }

    fn hears(&mut self, pid: Pid, signal: Signal) -> Vec<(Duration, Happening)> {
        let (birth, soon) = (self.birth, Duration::ZERO);
        let report = || Happening::Reported { pid, birth };
        match signal {
            Signal::KILL => {
                self.killed = true;
                let delay = if self.stuck { Duration::from_secs(20) } else { soon };
                vec![(delay, Happening::Dies { pid, birth, exit: Exit::Signal(Signal::KILL) })]
            }
            Signal::STOP => {
                self.stopped = true;
                vec![(soon, report())]
            }
            Signal::CONT => {
                self.stopped = false;
                let mut planned = vec![(soon, report())];
                planned.extend(self.overdue.take().map(|exit| (soon, Happening::Dies { pid, birth, exit })));
                for held in std::mem::take(&mut self.held) {
                    planned.extend(self.hears(pid, held));
                }
                planned
            }
            other if self.stopped => {
                self.held.push(other);
                Vec::new()
            }
            other => match self.temper {
                Temper::Obeys { delay, exit } if !self.dying => {
                    self.dying = true;
                    let exit = exit.map_or(Exit::Signal(other), Exit::Code);
                    vec![(delay, Happening::Dies { pid, birth, exit })]
                }
                Temper::Obeys { .. } | Temper::Deaf => Vec::new(),
            },
        }
    }
}

impl Others {
    /// They end so much later.
    fn hear(&mut self, signal: Signal) -> Option<Duration> {
        match signal {
            Signal::KILL => {
                self.killed = true;
                return Some(if self.stuck { Duration::from_secs(30) } else { Duration::ZERO });
            }
            Signal::STOP => self.stopped = true,
            Signal::CONT => self.stopped = false,
            _ => self.asked = true,
        }
        (self.asked && !self.stopped && !self.deaf).then_some(Duration::from_millis(20))
    }
}

fn no_such_file() -> NoStart {
    NoStart { why: "exec: no such file: x".to_owned(), code: NoStart::NOT_FOUND }
}
