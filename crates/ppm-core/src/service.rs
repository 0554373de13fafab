//! The life of one service: [`Service::step`] is the whole of it, one total table.
//!
//! Two things are kept apart. [`Want`] is what its user asked for last; [`Run`] is what there is. Commands change
//! the want and set the run moving; what the kernel tells moves the run, and when no process is left the want
//! decides what comes next. The five public states are derived, never stored.
//!
//! | run | there is | ends with |
//! |---|---|---|
//! | `Idle` | nothing, nothing is coming | a start |
//! | `Blocked` | nothing, a start waits for what it needs | what it needs, or a stop |
//! | `Preparing` | `pre_start` at work | its end |
//! | `Starting` | a spawn under way | its outcome |
//! | `Up`, `Paused` | the main process | its exit, or a stop |
//! | `Closing` | the main process, and `pre_stop` or the command of `stop` at work | their end, its exit, or `kill_at` |
//! | `Stopping` | the main process, asked to end | its exit, or `kill_at` |
//! | `Killing` | the main process, sent SIGKILL | its exit |
//! | `Draining` | no main process, but others of the service, asked to end | their end, or `kill_at` |
//! | `Purging` | the same, sent SIGKILL | their end |
//! | `Finishing` | nothing but hooks of the run | their end |
//! | `Cleaning` | `post_stop` at work | its end |
//! | `Waiting` | nothing, a start is coming | `until` |
//!
//! A service is all of its processes. Its group gets a signal at once; its strays, those that have left the group (a
//! session of their own, job control, a daemon), have to be looked for, and are asked a moment later, so that a service
//! that ends at once costs nothing (R21).
//!
//! Hooks are processes of their own beside the main one, each with its own small life (`service/work.rs`). `pre_start`,
//! `pre_stop`, the command of `stop` and `post_stop` are waited for, in a run of their own; `post_start` and `on_ready` end
//! with their run; `on_crash` may outlast it, and holds nothing up.
//!
//! What a service needs of others is looked at whenever it starts, whatever for. One that is to end while others end that
//! need it goes on until they have ended ([`Live::leaving`]): nobody outlives what it needs.
//!
//! While it is `Up` it is probed, until it is ready, and from then on whether it is well. How far that has come is a part of
//! [`Live`], so that it ends with the run.
//!
//! Invariants: at most one incarnation (R24): only a run without any process leads to `Starting`. The last command
//! wins (R23). A timer is a field of the run that needs it, so leaving the run cancels it. Nothing here waits.

mod changing;
mod hooks;
mod probing;
mod view;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_protocol::{EventKind, Exit, Signal};

use crate::backoff;
use crate::dependencies::{self, Missing, Needs, OnDependencyRestart};
use crate::event::{Cause, Group, Launch, NoStart, Pid, Planned, ServiceId, Stdin};
use crate::hook::Hook;
use crate::journal::LONGEST_REASON;
use crate::logging::LogKeys;
use crate::notification::Notification;
use crate::planning::{Due, Plan, Planner};
use crate::probe::Outcome as Probed;
use crate::runs::{self, Ended, Outcome, Record, Runs};
use crate::schedule::{Missed, Overlap, Retry};
use crate::spec::{Reach, RestartWhen, ServiceSpec};
use crate::tally::Tally;
use crate::time::{Mono, Now, Timestamp, brief};
use crate::watch::Changes;
use changing::Changing;

pub use probing::{Attempt, Probing, Stage};
pub use work::{AtWork, GRACE, HookEffect, HookEnd, HookInput, Work};

/// After SIGKILL a process is gone at once, unless the kernel holds it (R25); after this long that is told.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// After this long without an end the strays of a service are looked for and asked to end too.
pub const STRAYS_AFTER: Duration = Duration::from_millis(50);

/// What its user asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To run, by its policy and at its planned times.
    Up {
        /// The next planned run, for a service with a schedule that will fire again.
        plan: Option<Plan>,
    },
    /// Not to run, as nobody has asked for it yet: one that needs it has it started.
    Unasked,
    /// Not to run, as its user has said.
    Down,
    /// Not to be: it is removed as soon as nothing of it is left. Never changes again.
    Gone,
}

/// What there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// No process, and none is coming by a delay.
    Idle,
    /// A start is under way, and `pre_start` is at work.
    Preparing {
        /// Why it starts.
        cause: Cause,
        /// What comes instead, if the hook is ended since nobody wants this start any more.
        then: Next,
    },
    /// No process: it waits for what it needs.
    Blocked {
        /// Why it starts then.
        cause: Cause,
    },
    /// A spawn is under way.
    Starting {
        /// Why it starts.
        cause: Cause,
    },
    /// The main process runs.
    Up(Live),
    /// The main process was stopped by a signal.
    Paused(Live),
    /// The main process is to end, and a hook is at work before it is sent a signal.
    Closing {
        /// It.
        live: Live,
        /// Which hook.
        stage: Closing,
        /// What comes when it has ended.
        then: Next,
    },
    /// The main process was asked to end.
    Stopping {
        /// It.
        live: Live,
        /// When its strays are asked; None: they have been, or are not to be.
        strays_at: Option<Mono>,
        /// When SIGKILL follows.
        kill_at: Mono,
        /// What comes when it has ended.
        then: Next,
    },
    /// SIGKILL was sent.
    Killing {
        /// The main process.
        live: Live,
        /// How long it had been given to end; None: there was no time left to wait.
        grace: Option<Duration>,
        /// When to tell that the kernel does not let it die; None: told.
        stuck_at: Option<Mono>,
        /// What comes when it has ended.
        then: Next,
    },
    /// The main process ended and left others behind, which were asked to end.
    Draining {
        /// Its group.
        group: Pid,
        /// When the strays are asked; None: they have been.
        strays_at: Option<Mono>,
        /// When SIGKILL follows.
        kill_at: Mono,
        /// What comes when they have ended.
        then: Next,
    },
    /// What the main process left behind got SIGKILL.
    Purging {
        /// Its group.
        group: Pid,
        /// When to look again whether anybody is left: some end without a word to the daemon, and the kernel may not let
        /// others die.
        look_at: Mono,
        /// It was told that they do not die.
        is_stuck: bool,
        /// What comes when they have ended.
        then: Next,
    },
    /// Nothing is left but hooks that belong to the run: those that were asked to end with it, and those that still may.
    Finishing {
        /// What comes when they have ended.
        then: Next,
    },
    /// Nothing is left, and `post_stop` is at work.
    Cleaning {
        /// What comes when it has ended.
        then: Next,
    },
    /// A start is coming after a delay.
    Waiting {
        /// When.
        until: Mono,
        /// [`Cause::Backoff`], [`Cause::Restart`] or [`Cause::Watch`].
        cause: Cause,
    },
}

/// What is at work before a main process that is to end is sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// `pre_stop`.
    PreStop,
    /// The command of `stop`.
    Command {
        /// When SIGKILL follows, as after the signal.
        kill_at: Mono,
    },
}

impl Run {
    /// The main process and its circumstances, while there is one.
    fn live_mut(&mut self) -> Option<&mut Live> {
        match self {
            Run::Up(live) | Run::Paused(live) | Run::Closing { live, .. } | Run::Stopping { live, .. } | Run::Killing { live, .. } => {
                Some(live)
            }
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Draining { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. }
            | Run::Waiting { .. } => None,
        }
    }
}

/// What comes when nothing is left of a run that is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It ended by itself: what the restart policy says.
    Policy,
    /// It was stopped, or is to wait for its planned time: nothing.
    Rest,
    /// A start, for this cause.
    Start(Cause),
}

/// A main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// It leads its own session and group under this number.
    pub pid: Pid,
    /// Since when.
    pub since: Mono,
    /// Why it was started.
    pub cause: Cause,
    /// How long it may last.
    pub limit: Limit,
    /// A planned run that waits for its end (`overlap: queue`).
    pub queued: Option<Cause>,
    /// When changed files are acted upon that came too soon after the last.
    pub answer_at: Option<Mono>,
    /// It is to end as soon as those have that need it and are ending, and this comes then.
    pub leaving: Option<Next>,
    /// How far its probes have come.
    pub probing: Probing,
}

/// How long a run may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as it takes.
    None,
    /// Until then.
    Until(Mono),
    /// It has lasted this long, which was too long, and was asked to end.
    Passed(Duration),
    /// It has used so many bytes of so many that it may, and was asked to end.
    Outgrown {
        /// Used.
        used: u64,
        /// `max_memory`.
        max: u64,
    },
    /// It did not become ready in time, or was not well, and was asked to end.
    Unwell,
}

/// How the last run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// In which way.
    pub how: How,
    /// Of the main process, where there was one.
    pub exit: Option<Exit>,
    /// What it left behind.
    pub left: Group,
    /// When the main process ended.
    pub at: Mono,
}

/// In which way a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, well.
    Finished,
    /// By itself, badly.
    Crashed,
    /// By the kernel, because memory was short.
    OutOfMemory,
    /// On request, in time.
    Obeyed,
    /// On request, but by another signal than the one it was asked with.
    DiedStopping,
    /// By SIGKILL, since it did not stop within this time; None: since there was no time left to wait for it.
    Overran(Option<Duration>),
    /// It was asked to end, since it had lasted this long, which was too long.
    TimedOut(Duration),
    /// It was asked to end, since it used so many bytes of so many that it may.
    Outgrew {
        /// Used.
        used: u64,
        /// `max_memory`.
        max: u64,
    },
    /// It was asked to end, since its probes failed; in words.
    Unwell(String),
    /// It could not be started, for this cause.
    NotStarted(NoStart),
}

impl Live {
    /// When it will have lasted too long; None: never, or it is to end anyway.
    pub fn lasts_until(self) -> Option<Mono> {
        match (self.leaving, self.limit) {
            (None, Limit::Until(at)) => Some(at),
            (Some(_), _) | (None, Limit::None | Limit::Passed(_) | Limit::Outgrown { .. } | Limit::Unwell) => None,
        }
    }
}

impl End {
    /// Whether it was a good one: by itself, or as it was asked to.
    pub fn is_good(&self) -> bool {
        match self.how {
            How::Finished | How::Obeyed => true,
            How::Crashed
            | How::OutOfMemory
            | How::DiedStopping
            | How::Overran(_)
            | How::TimedOut(_)
            | How::Unwell(_)
            | How::Outgrew { .. }
            | How::NotStarted(_) => false,
        }
    }

    /// The exit code that tells of it to whoever started the daemon: its own, 128 + n for signal n, and the shell's for
    /// what could not be executed (R28).
    pub fn code(&self) -> u8 {
        match (&self.how, self.exit) {
            (_, Some(exit)) => exit_code(exit),
            (How::NotStarted(error), None) => error.code,
            (
                How::Finished
                | How::Crashed
                | How::OutOfMemory
                | How::Obeyed
                | How::DiedStopping
                | How::Overran(_)
                | How::TimedOut(_)
                | How::Unwell(_),
                None,
            )
            | (How::Outgrew { .. }, None) => 0,
        }
    }
}

/// The exit code that tells of this end of a process, as a shell gives it.
pub fn exit_code(exit: Exit) -> u8 {
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal.number(),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// What a service is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The daemon starts, and its services with it; or the configuration has it now.
    Boot(Cause),
    /// Wanted: a running service.
    Start,
    /// Wanted: a freshly started service.
    Restart,
    /// Wanted: its next planned run, but none now.
    Reschedule,
    /// Wanted: no process.
    Stop,
    /// Wanted: no service.
    Remove,
    /// Somebody needs it: wanted, unless its user has said otherwise.
    Needed,
    /// What it needs, or who needs it, has changed: [`Context::needs`].
    Needs,
    /// Wanted: a paused process.
    Pause,
    /// Wanted: a process that goes on.
    Resume,
    /// Wanted: this signal for all of it.
    Signal(Signal),
    /// The daemon got this signal in place of its main process.
    PassOn(Signal),
    /// There is no time left: SIGKILL.
    KillNow,
    /// Its planned time has come.
    Fire,
    /// The wall clock was set, forward or back by so many milliseconds.
    ClockSet(i64),
    /// The zone of schedules is another: plan again.
    Replan,
    /// All its processes together use so many bytes, which is more than it may.
    Outgrew {
        /// Used.
        used: u64,
        /// `max_memory`.
        max: u64,
    },
    /// Files changed that are watched for it.
    FilesChanged(Changes),
    /// Its deadline may have passed.
    Tick,
    /// The spawn came to a successful exec.
    Spawned(Pid),
    /// The spawn failed.
    SpawnFailed(NoStart),
    /// The main process ended.
    Exited(Exit, Group),
    /// What the main process left behind ended.
    Drained,
    /// More turned up of what the main process left behind.
    Strayed,
    /// The main process was stopped by a signal.
    WasPaused,
    /// The main process goes on.
    WasResumed,
    /// Something happened to a hook.
    Hook(Hook, HookInput),
    /// An attempt to probe it has ended.
    Probed(u64, Probed),
    /// It is to be probed otherwise.
    Reprobe,
    /// It has said something of itself.
    Notified(Notification),
}

/// What follows from an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start it.
    Spawn(Cause),
    /// Send a signal to the main process or its group.
    Kill(Pid, Signal, Reach),
    /// Send a signal to the strays.
    KillStrays(Signal),
    /// Ask the strays to end that have not been asked.
    AskStrays(Signal),
    /// Do this for a hook.
    Hook(Hook, HookEffect),
    /// Probe it: the attempt of this number.
    Probe(u64),
    /// Nobody wants to know any more what comes of this attempt.
    StopProbe(u64),
    /// Tell of it.
    Told {
        /// What happened.
        kind: EventKind,
        /// The process concerned.
        pid: Option<Pid>,
        /// How it ended, for [`EventKind::Exited`].
        exit: Option<Exit>,
        /// Why, in one short sentence.
        reason: String,
    },
    /// It is essential, and nothing starts it again: the daemon ends with it.
    EndDaemon,
    /// Advise its user, in the daemon's log.
    Advise(String),
    /// This input cannot happen in this state.
    Impossible(String),
}

/// What a step may know of the world.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The present.
    pub now: Now,
    /// The zone of schedules.
    pub zone: &'a TimeZone,
    /// Uniform over all of u64.
    pub chance: u64,
    /// What it needs of others, and others of it.
    pub needs: &'a Needs,
    /// Whether a main process that ended was killed by the kernel because memory was short.
    pub out_of_memory: bool,
    /// The least time between two actions because of changed files.
    pub watch_interval: Duration,
    /// When it must have ended at the latest, so that those are left some time which it stands upon; None: it has its own.
    pub latest: Option<Mono>,
}

impl<'a> Context<'a> {
    /// For what is no step: nothing has ended, and nothing has changed.
    pub fn quiet(now: Now, zone: &'a TimeZone, chance: u64) -> Context<'a> {
        Context { now, zone, chance, needs: const { &Needs::NONE }, out_of_memory: false, watch_interval: Duration::ZERO, latest: None }
    }
}

impl Context<'_> {
    /// When it must have ended, while that can still be kept.
    fn time_left(&self) -> Option<Mono> {
        self.latest.filter(|at| *at > self.now.mono)
    }
}

/// "Can't happen", written out: a panic in tests; in production it is told and the state is kept.
macro_rules! never {
    ($self:ident, $input:ident, $out:ident) => {{
        debug_assert!(false, "{:?} in {:?}", $input, $self.run);
        $out.push(Effect::Impossible(format!("{}: {:?} in {:?}", $self.spec.name, $input, $self.run)));
    }};
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    id: ServiceId,
    spec: ServiceSpec,
    want: Want,
    run: Run,
    last: Option<End>,
    crashes: u32,
    gave_up: bool,
    starts: u64,
    attempts: u64,
    ends: u64,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// The last planned run whose time has come.
    fired: Option<Plan>,
    /// What it waits for, while it is [`Run::Blocked`].
    missing: Vec<Missing>,
    runs: Runs,
    tally: Tally,
    /// Planned runs that were left out since the run before lasted; of this run.
    skips: u32,
    advised: bool,
    /// What has become of changed files.
    changing: Changing,
    /// Those at work.
    hooks: BTreeMap<Hook, AtWork>,
    /// Why it was started last.
    cause: Cause,
    /// The daemon ends, and has no time left: no hook begins any more.
    is_hurried: bool,
    /// When its last start was begun.
    launched: Timestamp,
    /// Attempts to probe it, over all its runs: so a number is never used twice.
    probes: u64,
    /// What came of the last one of this run.
    probed: Option<(Mono, Probed)>,
    /// Why this run was asked to end, where that was for its probes.
    unwell: String,
    /// How long after the start it was found ready in this run.
    ready_after: Option<Duration>,
    /// What it says of itself; empty: nothing.
    status_text: String,
    /// How long it has said that it may be silent in this run.
    patience: Option<Duration>,
}

impl Service {
    /// A service that has never run. Wanted up if `autostart`, but nothing starts before [`Input::Boot`] or a command.
    pub fn new(id: ServiceId, spec: ServiceSpec, ctx: &Context<'_>) -> Service {
        let want = if spec.autostart { Want::Up { plan: first_plan(&spec, ctx) } } else { Want::Unasked };
        Service {
            id,
            spec,
            want,
            run: Run::Idle,
            last: None,
            crashes: 0,
            gave_up: false,
            starts: 0,
            attempts: 0,
            ends: 0,
            started: None,
            ended: None,
            fired: None,
            missing: Vec::new(),
            runs: Runs::default(),
            tally: Tally::default(),
            skips: 0,
            advised: false,
            changing: Changing::default(),
            hooks: BTreeMap::new(),
            cause: Cause::Boot,
            is_hurried: false,
            launched: ctx.now.wall,
            probes: 0,
            probed: None,
            unwell: String::new(),
            ready_after: None,
            status_text: String::new(),
            patience: None,
        }
    }

    /// THE TABLE: every input in every run. No `_`: a new input must be answered everywhere.
    pub fn step(&mut self, ctx: &Context<'_>, input: &Input, out: &mut Vec<Effect>) {
        if *input == Input::Tick {
            self.tick_hooks(ctx, out);
        }
        let before = self.run;
        match (self.run, input) {
            (Run::Idle, Input::Boot(cause)) => self.boot(ctx, *cause, out),
            (_, Input::Boot(_)) => {} // a command was quicker

            (_, Input::Start | Input::Restart | Input::Reschedule) if self.want == Want::Gone => {}
            (_, Input::Fire) if self.plan().is_none() => never!(self, input, out),

            (Run::Idle, Input::Needed) if self.want == Want::Unasked => {
                self.wish_up(ctx);
                self.launch(ctx, Cause::Needed, out);
            }
            (_, Input::Needed) => {} // it is wanted already, or its user has stopped it since
            (Run::Blocked { cause }, Input::Needs) => self.look_again(ctx, cause, out),
            (Run::Up(live) | Run::Paused(live), Input::Needs) => self.follow(ctx, live, out),
            (
                Run::Idle
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Needs,
            ) => {}

            (Run::Idle | Run::Waiting { .. }, Input::Start | Input::Restart) => {
                self.wish_up(ctx);
                self.launch(ctx, Cause::Request, out);
            }
            (Run::Blocked { .. }, Input::Start | Input::Restart) => {
                self.wish_up(ctx);
                self.run = Run::Blocked { cause: Cause::Request };
                self.look_again(ctx, Cause::Request, out);
            }
            (Run::Starting { .. }, Input::Start | Input::Restart) => self.wish_up(ctx),
            (Run::Preparing { .. }, Input::Start | Input::Restart) => {
                self.wish_up(ctx);
                self.and_then(Next::Start(Cause::Request));
                if *input == Input::Restart {
                    self.cancel_hook(ctx, Hook::PreStart, out);
                }
            }
            (Run::Up(live) | Run::Paused(live), Input::Start) => {
                self.wish_up(ctx);
                if live.leaving == Some(Next::Rest) {
                    self.stay(ctx, live);
                }
            }
            (Run::Up(live) | Run::Paused(live), Input::Restart) => {
                self.wish_up(ctx);
                self.leave(ctx, live, Next::Start(Cause::Request), out);
            }
            (
                Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. },
                Input::Start | Input::Restart,
            ) => {
                self.wish_up(ctx);
                self.and_then(Next::Start(Cause::Request));
            }

            (Run::Idle | Run::Starting { .. }, Input::Reschedule) => self.wish_up(ctx),
            (Run::Up(live) | Run::Paused(live), Input::Reschedule) => {
                self.wish_up(ctx);
                if live.leaving.is_some() {
                    self.stay(ctx, live);
                }
            }
            (Run::Waiting { .. } | Run::Blocked { .. }, Input::Reschedule) => {
                self.wish_up(ctx);
                self.changing.forget();
                self.run = Run::Idle;
            }
            (
                Run::Preparing { .. }
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. },
                Input::Reschedule,
            ) => {
                self.wish_up(ctx);
                self.changing.forget();
                self.and_then(Next::Rest);
            }

            (Run::Idle, Input::Stop | Input::Remove | Input::KillNow) => self.wish_down(ctx, input, out),
            (Run::Waiting { .. } | Run::Blocked { .. }, Input::Stop | Input::Remove | Input::KillNow) => {
                self.wish_down(ctx, input, out);
                self.run = Run::Idle;
            }
            (Run::Preparing { .. }, Input::Stop | Input::Remove | Input::KillNow) => {
                self.wish_down(ctx, input, out);
                self.and_then(Next::Rest);
                self.cancel_hook(ctx, Hook::PreStart, out);
            }
            (Run::Starting { .. }, Input::Stop | Input::Remove | Input::KillNow) => self.wish_down(ctx, input, out),
            (Run::Up(live) | Run::Paused(live), Input::Stop | Input::Remove) => {
                self.wish_down(ctx, input, out);
                self.leave(ctx, live, Next::Rest, out);
            }
            (
                Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. },
                Input::Stop | Input::Remove,
            ) => {
                self.wish_down(ctx, input, out);
                self.and_then(Next::Rest);
            }
            (Run::Up(live) | Run::Paused(live) | Run::Closing { live, .. } | Run::Stopping { live, .. }, Input::KillNow) => {
                self.wish_down(ctx, input, out);
                self.kill_leader(ctx, live, None, Next::Rest, out);
            }
            (Run::Draining { group, .. }, Input::KillNow) => {
                self.wish_down(ctx, input, out);
                self.kill_group(ctx, group, Next::Rest, out);
            }
            (Run::Killing { .. } | Run::Purging { .. } | Run::Finishing { .. } | Run::Cleaning { .. }, Input::KillNow) => {
                self.wish_down(ctx, input, out);
                self.and_then(Next::Rest);
            }

            (Run::Idle | Run::Waiting { .. }, Input::Fire) => {
                if let Some(cause) = self.take_plan(ctx, out) {
                    self.begin_anew();
                    self.launch(ctx, cause, out);
                }
            }
            // This start is the run, or the one that follows.
            (
                Run::Starting { .. }
                | Run::Blocked { .. }
                | Run::Up(Live { leaving: Some(_), .. })
                | Run::Paused(Live { leaving: Some(_), .. }),
                Input::Fire,
            ) => drop(self.take_plan(ctx, out)),
            (Run::Up(live) | Run::Paused(live), Input::Fire) => {
                if let Some(cause) = self.take_plan(ctx, out) {
                    self.overlap(ctx, live, cause, out);
                }
            }
            (Run::Closing { then, .. } | Run::Stopping { then, .. } | Run::Killing { then, .. }, Input::Fire)
            | (Run::Draining { then, .. } | Run::Purging { then, .. }, Input::Fire)
            | (Run::Preparing { then, .. } | Run::Finishing { then } | Run::Cleaning { then }, Input::Fire) => {
                let cause = self.take_plan(ctx, out);
                if let (Some(cause), Next::Policy | Next::Rest) = (cause, then) {
                    self.and_then(Next::Start(cause));
                }
            }
            (_, Input::ClockSet(by)) => self.set_clock(ctx, *by),
            (_, Input::Replan) if self.plan().is_some_and(|at| at <= ctx.now.wall) => {} // due: it fires, once
            (_, Input::Replan) => self.plan_anew(ctx),

            (_, Input::FilesChanged(_)) if !self.is_active() || self.spec.watch.is_none() => {} // found before it was told to look no more
            (Run::Idle, Input::FilesChanged(changes)) => self.change_at_rest(ctx, changes, None, out),
            (Run::Waiting { until, .. }, Input::FilesChanged(changes)) => self.change_at_rest(ctx, changes, Some(until), out),
            (Run::Blocked { .. } | Run::Starting { .. }, Input::FilesChanged(changes)) => self.note_changes(ctx, changes, out),
            (Run::Up(live) | Run::Paused(live), Input::FilesChanged(changes)) => self.change_while_up(ctx, live, changes, out),
            (Run::Closing { then, .. } | Run::Stopping { then, .. } | Run::Killing { then, .. }, Input::FilesChanged(changes))
            | (Run::Draining { then, .. } | Run::Purging { then, .. }, Input::FilesChanged(changes))
            | (Run::Preparing { then, .. } | Run::Finishing { then } | Run::Cleaning { then }, Input::FilesChanged(changes)) => {
                self.note_changes(ctx, changes, out);
                if let Next::Policy | Next::Rest = then {
                    self.and_then(Next::Start(Cause::Watch));
                }
            }

            // Sent whatever is known of the process: what was told last may be overtaken already (R16, R23).
            (Run::Up(live) | Run::Paused(live), Input::Pause) => signal_all(live.pid, Signal::STOP, out),
            (Run::Up(live) | Run::Paused(live), Input::Resume) => signal_all(live.pid, Signal::CONT, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Pause | Input::Resume,
            ) => {}
            (
                Run::Up(live) | Run::Paused(live) | Run::Closing { live, .. } | Run::Stopping { live, .. } | Run::Killing { live, .. },
                Input::Signal(signal),
            ) => signal_all(live.pid, *signal, out),
            (Run::Draining { group, .. } | Run::Purging { group, .. }, Input::Signal(signal)) => signal_all(group, *signal, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Signal(_),
            ) => {}
            // Not to its group: what it tells the others itself they would hear twice.
            (
                Run::Up(live) | Run::Paused(live) | Run::Closing { live, .. } | Run::Stopping { live, .. } | Run::Killing { live, .. },
                Input::PassOn(signal),
            ) => out.push(Effect::Kill(live.pid, *signal, Reach::Leader)),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::PassOn(_),
            ) => {}

            (Run::Up(live) | Run::Paused(live), Input::Outgrew { used, max }) => self.outgrew(ctx, live, *used, *max, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Outgrew { .. },
            ) => {} // what was measured is ending, or has ended

            (_, Input::Hook(hook, input)) => self.step_hook(ctx, *hook, input, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. },
                Input::Tick,
            ) => {}
            (Run::Closing { live, stage, then }, Input::Tick) => match stage {
                Closing::Command { kill_at } if kill_at <= ctx.now.mono => {
                    self.kill_leader(ctx, live, self.grace_until(ctx, kill_at), then, out);
                    self.kill_hook(ctx, Hook::Stop, out);
                }
                Closing::Command { .. } | Closing::PreStop => {}
            },
            (Run::Up(live) | Run::Paused(live), Input::Tick) => {
                if is_due(ctx, live.lasts_until()) {
                    self.time_out(ctx, live, out);
                } else if is_due(ctx, live.answer_at) && live.leaving.is_none() {
                    self.answer_changes(ctx, live, out);
                } else if matches!(self.run, Run::Up(_)) && live.leaving.is_none() {
                    self.probe_what_is_due(ctx, live, out);
                }
            }
            (Run::Stopping { live, strays_at, kill_at, then }, Input::Tick) => {
                if kill_at <= ctx.now.mono {
                    self.kill_leader(ctx, live, self.grace_until(ctx, kill_at), then, out);
                } else if is_due(ctx, strays_at) {
                    self.run = Run::Stopping { live, strays_at: None, kill_at, then };
                    out.push(Effect::AskStrays(self.spec.stop.signal));
                }
            }
            (Run::Killing { live, grace, stuck_at, then }, Input::Tick) => {
                if is_due(ctx, stuck_at) {
                    self.run = Run::Killing { live, grace, stuck_at: None, then };
                    self.tell(EventKind::Stuck, Some(live.pid), format!("still there {} after SIGKILL", brief(STUCK_AFTER)), out);
                }
            }
            (Run::Draining { group, strays_at, kill_at, then }, Input::Tick) => {
                if kill_at <= ctx.now.mono {
                    self.kill_group(ctx, group, then, out);
                } else if is_due(ctx, strays_at) {
                    self.run = Run::Draining { group, strays_at: None, kill_at, then };
                    out.push(Effect::AskStrays(self.spec.stop.signal));
                }
            }
            // Nothing starts before they are gone (R24), and nobody is told twice (R25).
            (Run::Purging { group, look_at, is_stuck, then }, Input::Tick) => {
                if look_at <= ctx.now.mono {
                    if !is_stuck {
                        let reason = format!("what it left behind is still there {} after SIGKILL", brief(STUCK_AFTER));
                        self.tell(EventKind::Stuck, None, reason, out);
                    }
                    self.run = Run::Purging { group, look_at: ctx.now.mono + STUCK_AFTER, is_stuck: true, then };
                    signal_all(group, Signal::KILL, out);
                }
            }
            (Run::Waiting { until, cause }, Input::Tick) => {
                if until <= ctx.now.mono {
                    self.launch(ctx, cause, out);
                }
            }

            (Run::Starting { cause }, Input::Spawned(pid)) => self.spawned(ctx, *pid, cause, out),
            (Run::Starting { cause }, Input::SpawnFailed(error)) => self.spawn_failed(ctx, cause, error, out),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Up(_)
                | Run::Paused(_)
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Spawned(_) | Input::SpawnFailed(_),
            ) => never!(self, input, out),

            (Run::Up(live) | Run::Paused(live), Input::Exited(exit, group)) => self.ended(ctx, live, *exit, *group, out),
            (Run::Closing { live, stage, then }, Input::Exited(exit, group)) => {
                self.stopped(ctx, live, *exit, *group, self.judge_stop(ctx, *exit), out);
                let then = self.after_the_end(ctx, live, then, out);
                match group {
                    Group::Empty => self.settle(ctx, then, out),
                    Group::Left => {
                        self.ask_group(live.pid, out);
                        self.drain(ctx, live.pid, self.kill_at(ctx, stage), then);
                    }
                }
            }
            (Run::Stopping { live, kill_at, then, .. }, Input::Exited(exit, group)) => {
                self.stopped(ctx, live, *exit, *group, self.judge_stop(ctx, *exit), out);
                let then = self.after_the_end(ctx, live, then, out);
                match group {
                    Group::Empty => self.settle(ctx, then, out),
                    Group::Left => {
                        if self.spec.stop.reach == Reach::Leader {
                            self.ask_group(live.pid, out);
                        }
                        self.drain(ctx, live.pid, kill_at, then);
                    }
                }
            }
            (Run::Killing { live, grace, then, .. }, Input::Exited(exit, group)) => {
                let overran = *exit == Exit::Signal(Signal::KILL);
                let how = if overran { How::Overran(grace) } else { self.judge_stop(ctx, *exit) };
                self.stopped(ctx, live, *exit, *group, how, out);
                let then = self.after_the_end(ctx, live, then, out);
                match group {
                    Group::Empty => self.settle(ctx, then, out),
                    Group::Left => self.kill_group(ctx, live.pid, then, out),
                }
            }
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Exited(..),
            ) => never!(self, input, out),

            (Run::Draining { then, .. } | Run::Purging { then, .. }, Input::Drained) => {
                self.tell(EventKind::Drained, None, "what it left behind has ended".to_owned(), out);
                self.settle(ctx, then, out);
            }
            (Run::Draining { group, strays_at, kill_at, then }, Input::Strayed) => {
                let strays_at = strays_at.or(Some(ctx.now.mono + STRAYS_AFTER));
                self.run = Run::Draining { group, strays_at, kill_at, then };
            }
            (Run::Purging { .. }, Input::Strayed) => out.push(Effect::KillStrays(Signal::KILL)),
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Up(_)
                | Run::Paused(_)
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Drained | Input::Strayed,
            ) => never!(self, input, out),

            (Run::Up(live), Input::WasPaused) => {
                self.run = Run::Paused(Live { probing: live.probing.at_rest(), ..live });
                self.tell(EventKind::Paused, Some(live.pid), "paused by a stop signal".to_owned(), out);
            }
            (Run::Paused(live), Input::WasResumed) => {
                self.run = Run::Up(live);
                self.tell(EventKind::Resumed, Some(live.pid), String::new(), out);
                self.probe_on(ctx, live);
            }
            // The kernel tells of stops and continues as levels, not as a history (R16).
            (Run::Paused(_) | Run::Closing { .. } | Run::Stopping { .. } | Run::Killing { .. }, Input::WasPaused) => {}
            (Run::Up(_) | Run::Closing { .. } | Run::Stopping { .. } | Run::Killing { .. }, Input::WasResumed) => {}
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::WasPaused | Input::WasResumed,
            ) => never!(self, input, out),

            (Run::Up(live), Input::Probed(attempt, outcome)) => self.attempt_ended(ctx, live, *attempt, outcome, out),
            (Run::Up(live), Input::Reprobe) => self.probe_anew(ctx, live),
            (Run::Up(live) | Run::Paused(live), Input::Notified(notification)) => self.notified(ctx, live, notification, out),
            (Run::Closing { .. } | Run::Stopping { .. } | Run::Killing { .. }, Input::Notified(notification)) => {
                self.note_status(notification);
            }
            (
                Run::Idle
                | Run::Preparing { .. }
                | Run::Blocked { .. }
                | Run::Starting { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Notified(_),
            ) => {} // sent before its end
            (
                Run::Idle
                | Run::Blocked { .. }
                | Run::Preparing { .. }
                | Run::Starting { .. }
                | Run::Paused(_)
                | Run::Closing { .. }
                | Run::Stopping { .. }
                | Run::Killing { .. }
                | Run::Draining { .. }
                | Run::Purging { .. }
                | Run::Finishing { .. }
                | Run::Cleaning { .. }
                | Run::Waiting { .. },
                Input::Probed(..) | Input::Reprobe,
            ) => {}
        }
        self.end_in_time(ctx);
        self.keep_in_step(ctx, before, input, out);
    }

    /// What is needed to start it with this input, where this `logger` holds for all services.
    pub fn launch_data(&self, stdin: Stdin, logger: Option<&LogKeys>) -> Launch {
        let spec = &self.spec;
        Launch {
            name: spec.name.clone(),
            command: spec.command.clone(),
            logger: spec.log.logger(logger),
            stdin,
            voice: spec.voice(),
            awaits: spec.awaits().cloned(),
            told: self.changing.told(),
        }
    }

    /// From now on it is asked to end with this signal.
    pub fn ask_with(&mut self, signal: Signal) {
        self.spec.stop.signal = signal;
    }

    /// Takes another form: what runs goes on as it is, and everything that comes follows the new one. A schedule that
    /// did not change keeps its plan.
    pub fn configure(&mut self, spec: ServiceSpec, ctx: &Context<'_>) {
        let has_same_times = match (&self.spec.schedule, &spec.schedule) {
            (Some(old), Some(new)) => new.has_same_times(old),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.spec = spec;
        if self.spec.watch.is_none() {
            self.forget_changes();
        }
        if !has_same_times {
            self.fired = None;
            self.plan_anew(ctx);
        }
    }

    /// Takes up again what it knew when the daemon ended: a time that has come since is due now. What another schedule has
    /// planned means nothing, and neither does what a clock that was wrong has.
    pub fn recall(&mut self, ctx: &Context<'_>, planned: &Planned) {
        let (Some(planner), Some(_)) = (planner(&self.spec, ctx), self.planned()) else { return };
        let is_ours = planner.schedule.options.missed == Missed::Once && planner.schedule.rule() == planned.rule;
        if !is_ours || planned.fire > ctx.now.wall {
            return;
        }
        self.want = Want::Up { plan: planner.after(planned.fire) };
        self.fired = Some(Plan { fire: planned.fire, at: planned.fire });
    }

    fn boot(&mut self, ctx: &Context<'_>, cause: Cause, out: &mut Vec<Effect>) {
        if self.awaits_boot() {
            self.launch(ctx, cause, out);
        }
    }

    /// A start asked for by hand is a new beginning: the backoff starts over (R23).
    fn wish_up(&mut self, ctx: &Context<'_>) {
        let plan = self.planned().or_else(|| first_plan(&self.spec, ctx));
        self.want = Want::Up { plan };
        self.crashes = 0;
        self.gave_up = false;
    }

    /// Who is not planned is not told of a clock that is set, so the time that came last is not kept either.
    fn wish_down(&mut self, ctx: &Context<'_>, input: &Input, out: &mut Vec<Effect>) {
        let was_active = self.is_active();
        if *input == Input::KillNow {
            self.kill_hooks(ctx, out);
        }
        self.fired = None;
        self.forget_changes();
        self.cancel_hook(ctx, Hook::OnChange, out);
        if *input == Input::Remove {
            self.want = Want::Gone;
        } else if self.want != Want::Gone {
            self.want = Want::Down;
        }
        self.hurry_on_crash(ctx);
        if was_active && !self.has_run() {
            self.tell(EventKind::Deactivated, None, "stopped by request".to_owned(), out);
        }
    }

    fn plan_anew(&mut self, ctx: &Context<'_>) {
        if self.is_active() {
            self.want = Want::Up { plan: first_plan(&self.spec, ctx) };
        }
    }

    fn set_clock(&mut self, ctx: &Context<'_>, by: i64) {
        let (Some(planner), Some(plan)) = (planner(&self.spec, ctx), self.planned()) else { return };
        let (plan, fired) = planner.clock_set(plan, self.fired, by, ctx.now.wall);
        self.want = Want::Up { plan };
        self.fired = fired;
    }

    /// The plan's time has come: the next is made, and it is said for what cause this one is run, if it is.
    fn take_plan(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) -> Option<Cause> {
        let planner = planner(&self.spec, ctx)?;
        let due = planner.due(self.planned()?, ctx.now.wall);
        let (plan, cause) = match due {
            Due::OnTime(plan) => (plan, Some(Cause::Schedule)),
            Due::CatchUp(plan) => (plan, Some(Cause::Missed)),
            Due::Missed(plan) => (plan, None),
        };
        self.want = Want::Up { plan: planner.following(plan, ctx.now.wall) };
        self.fired = Some(plan);
        if cause.is_none() {
            self.miss(ctx, plan, out);
        }
        cause
    }

    /// A planned run is left out: it would begin too late.
    fn miss(&mut self, ctx: &Context<'_>, plan: Plan, out: &mut Vec<Effect>) {
        self.runs.counters.missed += 1;
        let late = brief(Duration::from_millis(u64::try_from(ctx.now.wall.0.saturating_sub(plan.at.0)).unwrap_or(0)));
        self.tell(EventKind::Skipped, None, format!("missed: it was planned for {}, {late} ago", plan.at), out);
    }

    /// A planned run is due while the one before lasts (R37).
    fn overlap(&mut self, ctx: &Context<'_>, live: Live, cause: Cause, out: &mut Vec<Effect>) {
        let overlap = self.spec.schedule.as_deref().map_or(Overlap::Restart, |schedule| schedule.options.overlap);
        match overlap {
            Overlap::Restart => {
                self.advise(ctx, live, out);
                self.leave(ctx, live, Next::Start(cause), out);
            }
            Overlap::Queue if live.queued.is_none() => {
                if let Some(live) = self.run.live_mut() {
                    live.queued = Some(cause);
                }
            }
            Overlap::Queue | Overlap::Skip => {
                self.runs.counters.skipped += 1;
                self.skips = self.skips.saturating_add(1);
                if self.skips == 1 {
                    let since = brief(ctx.now.mono.since(live.since));
                    self.tell(EventKind::Skipped, Some(live.pid), format!("the run before lasts since {since}"), out);
                }
            }
        }
    }

    /// Who schedules what ends by itself rarely wants it cut short; it is said once.
    fn advise(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let ended_by_itself = matches!(self.last.as_ref().map(|end| &end.how), Some(How::Finished | How::Crashed));
        if self.advised || !ended_by_itself {
            return;
        }
        self.advised = true;
        let (name, ran) = (&self.spec.name, brief(ctx.now.mono.since(live.since)));
        out.push(Effect::Advise(format!(
            "{name}: its planned time comes while it runs, since {ran}; it is ended and started again. \
             If runs should be finished, set `overlap: skip` or `queue` in its `schedule`"
        )));
    }

    /// It has lasted too long.
    fn time_out(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        let ran = ctx.now.mono.since(live.since);
        let limit = self.spec.schedule.as_deref().and_then(|schedule| schedule.options.timeout).unwrap_or(ran);
        let live = Live { limit: Limit::Passed(limit), ..live };
        self.runs.counters.timeouts += 1;
        self.tell(EventKind::TimedOut, Some(live.pid), format!("it ran longer than {}", brief(limit)), out);
        self.begin_stop(ctx, live, Next::Policy, out);
    }

    /// It uses more memory than it may: it is asked to end like everybody, and comes back at once. While others that need it
    /// are ending it has to wait for them; it is looked at again soon.
    fn outgrew(&mut self, ctx: &Context<'_>, live: Live, used: u64, max: u64, out: &mut Vec<Effect>) {
        if live.leaving.is_some() || ctx.needs.is_held {
            return;
        }
        let live = Live { limit: Limit::Outgrown { used, max }, ..live };
        self.tell(EventKind::OverMemory, Some(live.pid), view::memory(used, max), out);
        self.begin_stop(ctx, live, Next::Start(Cause::Memory), out);
    }

    /// The main process ended after it was asked to, by its user or because it lasted too long or used too much.
    fn stopped(&mut self, ctx: &Context<'_>, live: Live, exit: Exit, left: Group, how: How, out: &mut Vec<Effect>) {
        match live.limit {
            Limit::Passed(limit) if self.is_active() => {
                self.record(ctx, exit, left, How::TimedOut(limit), live.pid, out);
                self.crashes = self.crashes.saturating_add(1);
                self.begin_hook(ctx, Hook::OnCrash, out);
            }
            Limit::Unwell if self.is_active() => {
                let why = std::mem::take(&mut self.unwell);
                self.record(ctx, exit, left, How::Unwell(why), live.pid, out);
                self.crashes = self.crashes.saturating_add(1);
                self.begin_hook(ctx, Hook::OnCrash, out);
            }
            Limit::Outgrown { used, max } if self.is_active() => {
                self.record(ctx, exit, left, How::Outgrew { used, max }, live.pid, out);
            }
            Limit::Passed(_) | Limit::Outgrown { .. } | Limit::Unwell | Limit::None | Limit::Until(_) => {
                self.record(ctx, exit, left, how, live.pid, out)
            }
        }
    }

    /// What comes after a run that ended by itself, or lasted too long: a planned run that waits, unless it is too late
    /// for that.
    fn after_the_end(&mut self, ctx: &Context<'_>, live: Live, then: Next, out: &mut Vec<Effect>) -> Next {
        let (Next::Policy, Some(cause), true) = (then, live.queued, self.is_active()) else { return then };
        let deadline = self.spec.schedule.as_deref().and_then(|schedule| schedule.options.deadline);
        match (self.fired, deadline) {
            (Some(plan), Some(deadline)) if plan.at.0.saturating_add(millis(deadline)) < ctx.now.wall.0 => {
                self.miss(ctx, plan, out);
                then
            }
            _ => Next::Start(cause),
        }
    }

    /// A planned run after the retries of the one before were given up gets retries of its own.
    fn begin_anew(&mut self) {
        if self.gave_up {
            self.crashes = 0;
        }
    }

    /// Changes what comes after the end of a run that is ending.
    fn and_then(&mut self, next: Next) {
        match &mut self.run {
            Run::Preparing { then, .. }
            | Run::Closing { then, .. }
            | Run::Stopping { then, .. }
            | Run::Killing { then, .. }
            | Run::Draining { then, .. }
            | Run::Purging { then, .. }
            | Run::Finishing { then }
            | Run::Cleaning { then } => *then = next,
            Run::Idle | Run::Blocked { .. } | Run::Starting { .. } | Run::Up(_) | Run::Paused(_) | Run::Waiting { .. } => {}
        }
    }

    /// Starts it, or has it wait for what it needs.
    fn launch(&mut self, ctx: &Context<'_>, cause: Cause, out: &mut Vec<Effect>) {
        self.gave_up = false;
        self.cause = cause;
        self.missing.clone_from(&ctx.needs.missing);
        if !self.missing.is_empty() {
            self.run = Run::Blocked { cause };
            return self.tell(EventKind::Blocked, None, dependencies::in_words(&self.missing), out);
        }
        self.changing.starts(ctx.now, cause);
        if self.begin_hook(ctx, Hook::PreStart, out) {
            self.run = Run::Preparing { cause, then: Next::Rest };
        } else {
            self.spawn(cause, out);
        }
    }

    fn spawn(&mut self, cause: Cause, out: &mut Vec<Effect>) {
        self.run = Run::Starting { cause };
        out.push(Effect::Spawn(cause));
    }

    /// What it needs may be there now. That it will not be there by itself is told; all else is shown to who asks.
    fn look_again(&mut self, ctx: &Context<'_>, cause: Cause, out: &mut Vec<Effect>) {
        let was_hopeless = self.is_hopeless();
        if ctx.needs.missing.is_empty() {
            return self.launch(ctx, cause, out);
        }
        self.missing.clone_from(&ctx.needs.missing);
        if self.is_hopeless() && !was_hopeless {
            self.tell(EventKind::Blocked, None, dependencies::in_words(&self.missing), out);
        }
    }

    /// Those who need it may have ended, or what it needs may have been started anew.
    fn follow(&mut self, ctx: &Context<'_>, live: Live, out: &mut Vec<Effect>) {
        match live.leaving {
            Some(next) if !ctx.needs.is_held => self.begin_stop(ctx, live, next, out),
            Some(_) => {}
            None if ctx.needs.is_outdated && self.spec.on_dependency_restart == OnDependencyRestart::Restart => {
                self.leave(ctx, live, Next::Start(Cause::Dependency), out);
            }
            None => {}
        }
    }

    /// It is to end: at once, or when those have ended that need it and are ending.
    fn leave(&mut self, ctx: &Context<'_>, live: Live, next: Next, out: &mut Vec<Effect>) {
        if !ctx.needs.is_held {
            return self.begin_stop(ctx, live, next, out);
        }
        if let Some(live) = self.run.live_mut() {
            (live.leaving, live.probing) = (Some(next), live.probing.at_rest());
        }
    }

    /// It was to end later, and is not to any more.
    fn stay(&mut self, ctx: &Context<'_>, live: Live) {
        self.changing.forget();
        let live = Live { leaving: None, answer_at: None, ..live };
        match self.run {
            Run::Paused(_) => self.run = Run::Paused(live),
            Run::Up(_) => self.probe_on(ctx, live),
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Closing { .. }
            | Run::Stopping { .. }
            | Run::Killing { .. }
            | Run::Draining { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. }
            | Run::Waiting { .. } => {}
        }
    }

    /// The polite signal, then SIGCONT for all: a stopped process does not hear the first before the second, and one
    /// that hears it alone may wait for others that are stopped (R20).
    fn ask_to_end(&mut self, ctx: &Context<'_>, live: Live, kill_at: Mono, then: Next, out: &mut Vec<Effect>) {
        let stop = self.spec.stop;
        let live = Live { leaving: None, ..live };
        out.push(Effect::Kill(live.pid, stop.signal, stop.reach));
        out.push(Effect::Kill(live.pid, Signal::CONT, Reach::Group));
        let strays_at = (stop.reach == Reach::Group).then_some(ctx.now.mono + STRAYS_AFTER);
        self.run = Run::Stopping { live, strays_at, kill_at, then };
        let grace = kill_at.since(ctx.now.mono);
        self.tell(EventKind::Stopping, Some(live.pid), format!("{}, SIGKILL in {}", stop.signal, brief(grace)), out);
    }

    /// Asks those to end whom the main process left behind and who have not been asked yet (R21).
    fn ask_group(&self, group: Pid, out: &mut Vec<Effect>) {
        out.push(Effect::Kill(group, self.spec.stop.signal, Reach::Group));
        out.push(Effect::Kill(group, Signal::CONT, Reach::Group));
    }

    /// Waits for the end of what the main process left behind. Strays that turned up since the last were asked are
    /// asked a moment later, as are those that nobody has looked for yet.
    fn drain(&mut self, ctx: &Context<'_>, group: Pid, kill_at: Mono, then: Next) {
        self.run = Run::Draining { group, strays_at: Some(ctx.now.mono + STRAYS_AFTER), kill_at, then };
    }

    fn kill_leader(&mut self, ctx: &Context<'_>, live: Live, grace: Option<Duration>, then: Next, out: &mut Vec<Effect>) {
        signal_all(live.pid, Signal::KILL, out);
        self.run = Run::Killing { live, grace, stuck_at: Some(ctx.now.mono + STUCK_AFTER), then };
        self.tell(EventKind::Killed, Some(live.pid), "SIGKILL".to_owned(), out);
    }

    fn kill_group(&mut self, ctx: &Context<'_>, group: Pid, then: Next, out: &mut Vec<Effect>) {
        signal_all(group, Signal::KILL, out);
        self.run = Run::Purging { group, look_at: ctx.now.mono + STUCK_AFTER, is_stuck: false, then };
        self.tell(EventKind::Killed, None, "SIGKILL to what it left behind".to_owned(), out);
    }

    fn spawned(&mut self, ctx: &Context<'_>, pid: Pid, cause: Cause, out: &mut Vec<Effect>) {
        let timeout = self.spec.schedule.as_deref().and_then(|schedule| schedule.options.timeout);
        let limit = timeout.map_or(Limit::None, |timeout| Limit::Until(ctx.now.mono + timeout));
        (self.probed, self.ready_after, self.patience) = (None, None, None);
        self.status_text.clear();
        let (queued, leaving, answer_at) = (None, None, None);
        let live = Live { pid, since: ctx.now.mono, cause, limit, queued, leaving, answer_at, probing: self.first_probing(ctx) };
        self.run = Run::Up(live);
        self.attempts += 1;
        self.starts += 1;
        if self.starts > 1 {
            self.tally.restarted(cause);
        }
        self.started = Some(ctx.now.wall);
        self.skips = 0;
        self.note_run(ctx, cause);
        self.tell(EventKind::Started, Some(pid), self.cause_in_words(cause), out);
        if self.is_active() {
            self.begin_hook(ctx, Hook::PostStart, out);
            if self.is_ready() {
                self.begin_hook(ctx, Hook::OnReady, out);
            }
            if self.changing.has_any() {
                self.plan_answer(ctx, live, out); // who knows whether it saw them
            }
        } else {
            self.leave(ctx, live, Next::Rest, out);
        }
    }

    fn spawn_failed(&mut self, ctx: &Context<'_>, cause: Cause, error: &NoStart, out: &mut Vec<Effect>) {
        self.attempts += 1;
        self.tally.failed_starts += 1;
        self.crashes = self.crashes.saturating_add(1);
        self.ended = Some(ctx.now.wall);
        let why: String = error.why.chars().take(LONGEST_REASON).collect();
        let how = How::NotStarted(NoStart { why: why.clone(), code: error.code });
        self.note_run(ctx, cause);
        self.runs.end(Ended { at: ctx.now.wall, exit: None, outcome: Outcome::of(&how) });
        self.last = Some(End { how, exit: None, left: Group::Empty, at: ctx.now.mono });
        self.tell(EventKind::StartFailed, None, why, out);
        self.begin_hook(ctx, Hook::OnCrash, out);
        self.settle(ctx, Next::Policy, out);
    }

    /// A run has begun, or could not.
    fn note_run(&mut self, ctx: &Context<'_>, cause: Cause) {
        let keep = self.spec.schedule.as_deref().map_or(runs::USUAL, |schedule| schedule.options.history);
        let planned = match cause {
            Cause::Schedule | Cause::Missed => self.fired.map(|plan| plan.at),
            Cause::Boot
            | Cause::Reload
            | Cause::Request
            | Cause::Needed
            | Cause::Dependency
            | Cause::Backoff
            | Cause::Restart
            | Cause::Memory
            | Cause::Watch => None,
        };
        self.runs.begin(keep, Record { cause, planned, started: ctx.now.wall, end: None });
    }

    /// The main process ended by itself.
    fn ended(&mut self, ctx: &Context<'_>, live: Live, exit: Exit, group: Group, out: &mut Vec<Effect>) {
        let good = match exit {
            Exit::Code(code) => code == 0 || self.spec.success_exit_codes.contains(&code),
            Exit::Signal(signal) => signal == Signal::TERM,
        };
        let how = match (good, ctx.out_of_memory) {
            (true, _) => How::Finished,
            (false, true) => How::OutOfMemory,
            (false, false) => How::Crashed,
        };
        self.record(ctx, exit, group, how, live.pid, out);
        if good {
            self.crashes = 0;
        } else {
            self.crashes = self.crashes.saturating_add(1);
            self.begin_hook(ctx, Hook::OnCrash, out);
        }
        let then = self.after_the_end(ctx, live, live.leaving.unwrap_or(Next::Policy), out);
        match group {
            Group::Empty => self.settle(ctx, then, out),
            Group::Left => {
                self.ask_group(live.pid, out);
                self.drain(ctx, live.pid, self.stop_by(ctx), then);
            }
        }
    }

    /// When one is killed that is asked to end now.
    fn stop_by(&self, ctx: &Context<'_>) -> Mono {
        let own = ctx.now.mono + self.spec.stop.timeout;
        ctx.time_left().map_or(own, |latest| latest.min(own))
    }

    /// How long it was waited for that is killed then: as long as it may take, or, None, as long as others could wait.
    fn grace_until(&self, ctx: &Context<'_>, kill_at: Mono) -> Option<Duration> {
        (ctx.latest != Some(kill_at)).then_some(self.spec.stop.timeout)
    }

    /// What was asked to end before a shutdown has no more time than there is.
    fn end_in_time(&mut self, ctx: &Context<'_>) {
        let Some(latest) = ctx.time_left() else { return };
        match &mut self.run {
            Run::Stopping { kill_at, .. } | Run::Draining { kill_at, .. } | Run::Closing { stage: Closing::Command { kill_at }, .. } => {
                *kill_at = latest.min(*kill_at);
            }
            Run::Idle
            | Run::Blocked { .. }
            | Run::Preparing { .. }
            | Run::Starting { .. }
            | Run::Up(_)
            | Run::Paused(_)
            | Run::Closing { stage: Closing::PreStop, .. }
            | Run::Killing { .. }
            | Run::Purging { .. }
            | Run::Finishing { .. }
            | Run::Cleaning { .. }
            | Run::Waiting { .. } => {}
        }
    }

    /// It obeyed if it ended by itself, however, or by the signal it was asked with (contract: stopping).
    fn judge_stop(&self, ctx: &Context<'_>, exit: Exit) -> How {
        match exit {
            Exit::Signal(_) if ctx.out_of_memory => How::OutOfMemory,
            Exit::Code(_) => How::Obeyed,
            Exit::Signal(signal) if signal == self.spec.stop.signal || signal == Signal::TERM => How::Obeyed,
            Exit::Signal(_) => How::DiedStopping,
        }
    }

    fn record(&mut self, ctx: &Context<'_>, exit: Exit, left: Group, how: How, pid: Pid, out: &mut Vec<Effect>) {
        self.crashes = self.crashes(ctx.now); // a run longer than `reset_after`, however it ended, makes them forgotten
        self.ended = Some(ctx.now.wall);
        self.runs.end(Ended { at: ctx.now.wall, exit: Some(exit), outcome: Outcome::of(&how) });
        self.tally.exited(exit);
        if how == How::Finished {
            self.tally.succeeded = Some(ctx.now.wall);
        }
        self.last = Some(End { how, exit: Some(exit), left, at: ctx.now.mono });
        let reason = self.last_in_words();
        out.push(Effect::Told { kind: EventKind::Exited, pid: Some(pid), exit: Some(exit), reason });
        self.end_hooks_of_run(ctx, out);
    }

    /// Nothing of the run is left, its hooks included.
    fn rest(&mut self, ctx: &Context<'_>, then: Next, out: &mut Vec<Effect>) {
        self.ends += 1;
        self.run = Run::Idle;
        self.decide(ctx, then, out);
    }

    /// No process: the want, the last command, and the policy decide what comes next.
    fn decide(&mut self, ctx: &Context<'_>, then: Next, out: &mut Vec<Effect>) {
        match (self.want, then) {
            (Want::Unasked | Want::Down | Want::Gone, _) | (Want::Up { .. }, Next::Rest) => {}
            (Want::Up { .. }, Next::Start(Cause::Watch)) => self.start_for_changes(ctx, None, out),
            (Want::Up { .. }, Next::Start(cause)) => self.launch(ctx, cause, out),
            // Whatever else was to follow: something has been done about what made it end.
            (Want::Up { .. }, Next::Policy) if self.changing.has_any() => self.start_for_changes(ctx, None, out),
            (Want::Up { .. }, Next::Policy) => {
                self.follow_policy(ctx, out);
                if self.spec.essential && self.next_start(ctx.now).is_none() {
                    out.push(Effect::EndDaemon);
                }
            }
        }
    }

    fn follow_policy(&mut self, ctx: &Context<'_>, out: &mut Vec<Effect>) {
        let policy = &self.spec.restart;
        let Some(end) = &self.last else { return };
        if self.spec.schedule.as_deref().is_some_and(|schedule| schedule.options.retry == Retry::Never) {
            return;
        }
        let (delay, cause) = match (&end.how, policy.when) {
            (
                How::Crashed | How::OutOfMemory | How::TimedOut(_) | How::Unwell(_) | How::NotStarted(_),
                RestartWhen::OnFailure | RestartWhen::Always,
            ) => {
                if policy.max_retries > 0 && self.crashes > policy.max_retries {
                    self.gave_up = true;
                    let reason = self.reason_at_rest();
                    return self.tell(EventKind::GaveUp, None, reason, out);
                }
                (backoff::delay(policy, self.crashes, ctx.chance), Cause::Backoff)
            }
            (How::Finished, RestartWhen::Always) => (policy.interval, Cause::Restart),
            (How::Finished, RestartWhen::Never | RestartWhen::OnFailure)
            | (How::Crashed | How::OutOfMemory | How::TimedOut(_) | How::Unwell(_) | How::NotStarted(_), RestartWhen::Never)
            | (How::Obeyed | How::DiedStopping | How::Overran(_) | How::Outgrew { .. }, _) => return,
        };
        let until = end.at + delay;
        self.run = Run::Waiting { until, cause };
        let reason = self.reason(ctx.now);
        self.tell(EventKind::Planned, None, reason, out);
    }

    fn tell(&self, kind: EventKind, pid: Option<Pid>, reason: String, out: &mut Vec<Effect>) {
        out.push(Effect::Told { kind, pid, exit: None, reason });
    }
}

/// To the group at once, and to whoever has left it.
fn signal_all(group: Pid, signal: Signal, out: &mut Vec<Effect>) {
    out.extend([Effect::Kill(group, signal, Reach::Group), Effect::KillStrays(signal)]);
}

fn is_due(ctx: &Context<'_>, at: Option<Mono>) -> bool {
    at.is_some_and(|at| at <= ctx.now.mono)
}

fn planner<'a>(spec: &'a ServiceSpec, ctx: &Context<'a>) -> Option<Planner<'a>> {
    Some(Planner { schedule: spec.schedule.as_deref()?, zone: ctx.zone, chance: ctx.chance })
}

fn first_plan(spec: &ServiceSpec, ctx: &Context<'_>) -> Option<Plan> {
    planner(spec, ctx)?.after(ctx.now.wall)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
