//! THE LOOP: waits for whatever comes first, tells the core, performs what it answers.
//!
//! One task owns all state. It never waits for anything but the next event, and takes events in small portions, so
//! that no source can keep the others from being heard.

use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use ppm_core::config::Config;
use ppm_core::event::{ClientId, Event, From, NoListener, Pid, ServiceId, turn};
use ppm_core::line_pattern::LinePattern;
use ppm_core::listening::{Holder, Whose, outcome};
use ppm_core::notification::Notification;
use ppm_core::oom::may_be_one;
use ppm_core::probe::Outcome;
use ppm_core::reload::NoConfig;
use ppm_core::report::{Depth, Report};
use ppm_core::supervisor::Supervisor;
use ppm_core::time::Mono;
use ppm_core::watch::Changes;
use ppm_protocol::message::{Answer, Asked};
use ppm_protocol::{Signal as Number, Watched};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::children::Taken;
use crate::clock::{self, Alarm, Rang};
use crate::sampler::Sample;
use crate::shell::Hands;
use crate::{host, oom};

/// How many changes of children are told at a time (R35): on each of them a service may be started, and clients wait
/// meanwhile.
const TOLD_AT_A_TIME: usize = 16;

/// How much of what came from elsewhere is taken up after each turn, whatever else there is to do: so clients are heard
/// beside services that crash without end, and cannot keep the loop from those (R35, R55).
const FROM_ELSEWHERE: usize = 16;

/// How long after the start or a reload it is over: services that it starts are started, and have begun what they do.
const SETTLED: Duration = Duration::from_secs(5);

/// How long the last replies may take to be read at the end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long the last output of services may take to be written at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What the loop can be woken by, other than signals and clocks.
#[derive(Debug)]
pub enum Wake {
    /// Some have connected; who waits for them to be taken up is told so when the sender is dropped.
    Connected(Vec<UnixStream>, oneshot::Sender<()>),
    /// Somebody would, but there is no file for the connection.
    Crowded,
    /// A client said something, and sent three descriptors along if it wants something executed.
    Asked(ClientId, Box<Asked>, Option<[OwnedFd; 3]>),
    /// A client is gone.
    Gone(ClientId),
    /// A stream to a client has ended.
    Streamed(ClientId),
    /// A sample was read.
    Sampled(Box<Sample>),
    /// An attempt to probe a service has ended.
    Probed(ServiceId, u64, Outcome),
    /// These processes hold the port that a service is to hold: is one of them of it?
    Held(ServiceId, u64, u16, Vec<Holder>),
    /// A process of this number and user has said something of its service.
    Notified(Pid, u32, Box<Notification>),
    /// A main process has said that its service is ready: by a line with this in it, if not otherwise.
    SaidReady(ServiceId, Pid, Option<LinePattern>),
    /// A configuration was read, or could not be.
    ConfigRead(u64, Box<Result<Config, NoConfig>>),
    /// Files changed that are watched for a service; the number tells since when they have been.
    FilesChanged(ServiceId, u64, Changes),
    /// Somebody who only looks wants to know whether the loop turns.
    Pulse(oneshot::Sender<()>),
    /// Somebody who only looks wants to know how things are.
    ReportAsked(Depth, oneshot::Sender<Box<Report>>),
    /// The address was changed at which those are answered, or could not be.
    Listened(u64, Result<(), NoListener>),
    /// What is watched, for a call.
    Watched(From, Box<Watched>),
    /// What must outlive the daemon was written, or could not be.
    Remembered(Result<(), String>),
}

/// The signals that the daemon answers to, SIGCHLD aside. Registered before the first child exists.
#[derive(Debug)]
pub struct Signals {
    child: Signal,
    others: Vec<(Number, Signal)>,
}

impl Signals {
    /// Registers the handlers of SIGCHLD and of these.
    pub fn register(others: impl Iterator<Item = Number>) -> io::Result<Signals> {
        let heard = |number: Number| Ok((number, signal(SignalKind::from_raw(number.number()))?));
        Ok(Signals { child: signal(SignalKind::child())?, others: others.map(heard).collect::<io::Result<_>>()? })
    }

    /// Waits for one that asks the daemon to end, while it cannot do anything else yet.
    pub async fn end(&mut self) {
        while !matches!(Signals::other(&mut self.others).await, Number::TERM | Number::INT | Number::QUIT) {}
    }

    async fn other(signals: &mut [(Number, Signal)]) -> Number {
        std::future::poll_fn(|context| {
            let came = signals.iter_mut().find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Everything the loop owns.
#[derive(Debug)]
pub struct Driver {
    supervisor: Supervisor,
    hands: Hands,
    signals: Signals,
    inbox: mpsc::Receiver<Wake>,
    alarm: Alarm,
    /// Of the changes of children.
    taken: Taken,
    oom_kills: oom::Counter,
    /// When what was needed for the start, or for a reload, is given back.
    gives_back_at: Option<Mono>,
}

enum Woken {
    Children,
    Signal(Number),
    Inbox(Wake),
    Clock(Rang),
    Due,
}

impl Driver {
    /// A loop that has not begun. Children that ended before are looked at first (R12).
    pub fn new(supervisor: Supervisor, hands: Hands, signals: Signals, inbox: mpsc::Receiver<Wake>) -> Driver {
        let (alarm, oom_kills) = (Alarm::default(), oom::Counter::find());
        let gives_back_at = Some(clock::now().mono + SETTLED);
        Driver { supervisor, hands, signals, inbox, alarm, taken: Taken::Some, oom_kills, gives_back_at }
    }

    /// Runs until the supervisor asks to leave; returns the exit code.
    pub async fn run(mut self) -> u8 {
        self.count_oom_kills();
        loop {
            if let Some(code) = self.hands.exit {
                self.reach_strays(true); // who was seen in the last moment
                self.finish_remembering().await;
                self.hands.logs.finish(LAST_LINES).await;
                self.hands.clients.flush(LAST_WORDS).await;
                return code;
            }
            match self.wait().await {
                Woken::Children => self.look_at_children(),
                Woken::Signal(number) => self.tell(Event::Signalled(number)),
                Woken::Inbox(wake) => self.open(wake),
                Woken::Clock(Rang::Stepped) => self.tell(Event::ClockStepped),
                Woken::Clock(Rang::Due) => self.tell(Event::Tick),
                Woken::Due => {
                    self.look_at_children(); // who ended just in time is not killed, and not said to be left behind
                    self.tell(Event::Tick);
                    self.give_back();
                }
            }
            for _ in 0..FROM_ELSEWHERE {
                let Ok(wake) = self.inbox.try_recv() else { break };
                self.open(wake);
            }
        }
    }

    fn give_back(&mut self) {
        if self.gives_back_at.take_if(|at| *at <= clock::now().mono).is_some() {
            host::give_back();
        }
    }

    /// Reaches for those that have left the groups of their services, if it was asked for, and is time.
    fn reach_strays(&mut self, idle: bool) {
        if self.hands.children.is_time_to_reach(idle) {
            self.hands.children.reach_strays(&|name| self.supervisor.id_of(name));
        }
    }

    /// Gives what must outlive the daemon a moment to come to the disk.
    async fn finish_remembering(&mut self) {
        let end = tokio::time::Instant::now() + LAST_WORDS;
        while self.hands.memory.is_behind() {
            match tokio::time::timeout_at(end, self.inbox.recv()).await {
                Ok(Some(Wake::Remembered(outcome))) => self.hands.memory.written(outcome),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let own = self.hands.children.looks_again_at().into_iter().chain(self.gives_back_at);
        let deadline = self.supervisor.deadline().into_iter().chain(own).min();
        let is_due = self.taken == Taken::Some || deadline.is_some_and(|at| at <= clock::now().mono);
        if is_due {
            tokio::task::yield_now().await; // what the kernel has to tell is heard even when there is always work
        }
        self.reach_strays(!is_due);
        self.alarm.set(self.supervisor.next_plan());
        let (children, due) = (self.taken == Taken::Some, deadline.filter(|_| !is_due));
        tokio::select! {
            _ = self.signals.child.recv() => Woken::Children,
            number = Signals::other(&mut self.signals.others) => Woken::Signal(number),
            Some(wake) = self.inbox.recv() => Woken::Inbox(wake),
            rang = self.alarm.rings() => Woken::Clock(rang),
            () = clock::sleep_until(due) => Woken::Due,
            () = std::future::ready(()), if is_due => if children { Woken::Children } else { Woken::Due },
        }
    }

    fn look_at_children(&mut self) {
        if !self.hands.children.has_untold() {
            self.taken = self.hands.take_changes(&|name| self.supervisor.id_of(name));
        }
        for _ in 0..TOLD_AT_A_TIME {
            let Some(event) = self.hands.next_change() else { return };
            if matches!(event, Event::Exited { exit, .. } if may_be_one(exit)) {
                self.count_oom_kills();
            }
            self.tell(event);
        }
        self.taken = Taken::Some; // to be told
    }

    fn count_oom_kills(&mut self) {
        if let Some(kills) = self.oom_kills.read() {
            self.tell(Event::OomKills { kills });
        }
    }

    fn open(&mut self, wake: Wake) {
        let now = clock::now().mono;
        match wake {
            Wake::Connected(streams, taken) => {
                streams.into_iter().for_each(|stream| self.connected(now, stream));
                let pause = self.hands.clients.pause(now);
                if !pause.is_zero() {
                    tokio::spawn(async move {
                        tokio::time::sleep(pause).await;
                        drop(taken);
                    });
                }
            }
            Wake::Crowded => {
                if let Some(event) = self.hands.clients.make_room() {
                    self.tell(event);
                }
            }
            Wake::Asked(client, asked, streams) => {
                if let Some((from, request)) = self.hands.clients.asked(now, client, *asked) {
                    self.hands.streams = streams;
                    self.tell(Event::Requested { from, request });
                    self.hands.streams = None;
                }
            }
            Wake::Gone(client) => self.gone(client),
            Wake::Streamed(client) => self.hands.streamed(client),
            Wake::FilesChanged(id, since, changes) => {
                if self.hands.watcher.is_current(id, since) {
                    self.tell(Event::FilesChanged { id, changes });
                }
            }
            Wake::Watched(to, watched) => self.hands.clients.reply(to, Ok(Answer::Watched(*watched))),
            Wake::Sampled(sample) => {
                let event = self.hands.sampled(*sample);
                self.tell(event);
            }
            Wake::Probed(id, attempt, outcome) => {
                self.hands.prober.ended(id, attempt);
                self.tell(Event::Probed { id, attempt, outcome });
            }
            Wake::Held(id, attempt, port, holders) => {
                let outcome = self.whose_port(id, port, &holders);
                self.hands.prober.ended(id, attempt);
                self.tell(Event::Probed { id, attempt, outcome });
            }
            Wake::Notified(sender, uid, notification) => {
                match self.hands.children.service_of(sender, &|name| self.supervisor.id_of(name)) {
                    Some(id) => self.tell(Event::Notified { id, notification: *notification }),
                    None => self.hands.notifier.tell_of_stranger(sender, uid),
                }
            }
            Wake::SaidReady(id, run, pattern) => {
                let is_awaited =
                    |pattern: &LinePattern| self.supervisor.service(id).is_some_and(|service| service.spec().awaits() == Some(pattern));
                if pattern.as_ref().is_none_or(is_awaited) && self.hands.children.is_led_by(id, run) {
                    self.tell(Event::Notified { id, notification: Notification::ready() });
                }
            }
            Wake::Pulse(to) => drop(to.send(())), // who does not wait any longer need not be told
            Wake::ReportAsked(depth, to) => {
                let number = self.hands.looks(to);
                self.tell(Event::ReportAsked { number, depth });
            }
            Wake::Listened(read, outcome) => self.tell(Event::Listened { read, outcome }),
            Wake::Remembered(outcome) => self.hands.memory.written(outcome),
            Wake::ConfigRead(read, config) => {
                self.hands.reading_ended();
                self.tell(Event::ConfigRead { read, config: *config });
                self.gives_back_at = Some(clock::now().mono + SETTLED);
            }
        }
    }

    /// What it means for a service that these processes hold the port. The last that is not its own is told of.
    fn whose_port(&mut self, id: ServiceId, port: u16, holders: &[Holder]) -> Outcome {
        let mut last = Outcome::Failed(format!("nobody listens on port {port}"));
        for holder in holders {
            let service = self.hands.children.service_of(holder.pid, &|name| self.supervisor.id_of(name));
            let name = service.and_then(|service| self.supervisor.service(service)).map(|service| service.spec().name.as_str());
            let whose = name.map_or(Whose::Nobodys, |name| if service == Some(id) { Whose::Own } else { Whose::Other(name) });
            last = outcome(port, holder, whose);
            if last == Outcome::Passed {
                break;
            }
        }
        last
    }

    fn connected(&mut self, now: Mono, stream: UnixStream) {
        for event in self.hands.clients.accept(now, stream) {
            self.tell(event);
        }
    }

    fn gone(&mut self, client: ClientId) {
        self.hands.clients.let_go(client);
        self.hands.given.remove(&client);
        self.tell(Event::Disconnected { client });
    }

    /// One turn, and one for each outcome of what it performed.
    fn tell(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            turn(&mut self.supervisor, &mut self.hands, clock::now(), event);
            next = self.hands.outcomes.pop_front().or_else(|| self.hands.conclude());
        }
        self.hands.past.collect();
    }
}
