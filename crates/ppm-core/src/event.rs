//! The border of the core: what it is told and what it asks for.
//!
//! An [`Event`] has happened and cannot be refused; an [`Action`] is to be performed, in order, before the next
//! event. Outcomes of actions come back as events. [`turn`] is the one way to connect the two, for the daemon and
//! for the simulator alike.

use std::fmt;
use std::sync::Arc;

use ppm_protocol::message::{Answer, ReadLog};
use ppm_protocol::types::Life;
use ppm_protocol::{EventRow, Exit, LogSources, Request, RpcError, RpcId, Signal, WatchedRow};

use crate::config::Config;
use crate::hook::Hook;
use crate::line_pattern::LinePattern;
use crate::listen::Listen;
use crate::logging::Logger;
use crate::notification::Notification;
use crate::probe::{Outcome, Page, Voice};
use crate::reload::NoConfig;
use crate::report::{Depth, Report};
use crate::spec::{Command, Reach};
use crate::supervisor::Supervisor;
use crate::target::Target;
use crate::time::{Now, Timestamp};
use crate::usage::{Container, Usage};
use crate::watch::{Changes, WatchSpec};

/// A service's number, 1 or greater; never given to another service while the daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// Which of a service's processes, each with all that descends from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The main one.
    Main,
    /// One that is run beside it.
    Hook(Hook),
}

/// A process that the daemon starts for a service, with all that descends from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    /// The service.
    pub id: ServiceId,
    /// Which of its processes.
    pub part: Part,
}

impl Tree {
    /// That of the main process.
    pub const fn main(id: ServiceId) -> Tree {
        Tree { id, part: Part::Main }
    }
}

/// A process, or the group it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection to a client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Whom to answer: the client and the id it gave its call. Without an id nobody waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct From {
    /// The connection.
    pub client: ClientId,
    /// The call.
    pub call: Option<RpcId>,
}

/// Whether anything else of a service was there when its main process had been reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The leader was alone.
    Empty,
    /// Others live: members of its group, or such as have left it.
    Left,
}

/// Why a service could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStart {
    /// Stage and cause in words: `exec: no such file: foo`.
    pub why: String,
    /// The exit code that a shell gives for it: [`NoStart::NOT_FOUND`] or [`NoStart::NOT_EXECUTED`].
    pub code: u8,
}

impl NoStart {
    /// There is no such program (the shell's convention; R3).
    pub const NOT_FOUND: u8 = 127;

    /// There may be, but it could not be executed.
    pub const NOT_EXECUTED: u8 = 126;
}

impl std::convert::From<String> for NoStart {
    fn from(why: String) -> NoStart {
        NoStart { why, code: NoStart::NOT_EXECUTED }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks for something.
    Requested {
        /// Who.
        from: From,
        /// What.
        request: Request,
    },
    /// A client is there, and this user runs it.
    Connected {
        /// Which.
        client: ClientId,
        /// As the kernel tells.
        uid: u32,
    },
    /// A client is gone: nothing it waited for need be answered.
    Disconnected {
        /// Which.
        client: ClientId,
    },
    /// A [`Action::Spawn`] came to a successful exec.
    Spawned {
        /// The service.
        id: ServiceId,
        /// Of this.
        part: Part,
        /// Its new process, leader of its own session and group.
        pid: Pid,
    },
    /// A [`Action::Spawn`] failed; there is no process.
    SpawnFailed {
        /// The service.
        id: ServiceId,
        /// Of this.
        part: Part,
        /// Why.
        error: NoStart,
    },
    /// The kernel has killed so many processes of the container by now because memory was short. Told at the start, and
    /// before the end of a child that may be one of them ([`crate::oom::may_be_one`]).
    OomKills {
        /// As the kernel counts.
        kills: u64,
    },
    /// A child ended and has been reaped; its number is free again.
    Exited {
        /// Which; also adopted orphans.
        pid: Pid,
        /// How.
        exit: Exit,
        /// What is left of what it led.
        group: Group,
        /// The most resident memory in bytes that it has had, or one of its children that it has waited for; None: no more
        /// than the daemon, and the kernel does not tell how much.
        peak: Option<u64>,
    },
    /// Nothing is left of what was [`Group::Left`].
    Drained {
        /// Of this service.
        id: ServiceId,
        /// Of this.
        part: Part,
    },
    /// More of what was [`Group::Left`] turned up than had been reached.
    Strayed {
        /// Of this service.
        id: ServiceId,
        /// Of this.
        part: Part,
    },
    /// What came of an [`Action::Exec`].
    Executed {
        /// Who asked.
        client: ClientId,
        /// The process, leader of its own session and group; or why there is none.
        outcome: Result<Pid, NoStart>,
    },
    /// What was executed has ended, and was reaped.
    GuestEnded {
        /// Who asked for it.
        client: ClientId,
        /// How.
        exit: Exit,
    },
    /// After a [`Action::Sweep`]: the daemon has no child any more.
    Alone,
    /// A child was stopped by a signal.
    Paused {
        /// Which.
        pid: Pid,
    },
    /// A stopped child goes on.
    Resumed {
        /// Which.
        pid: Pid,
    },
    /// An attempt asked for with [`Action::Probe`] has ended.
    Probed {
        /// The service.
        id: ServiceId,
        /// The action's.
        attempt: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// A service has said something of itself.
    Notified {
        /// Which.
        id: ServiceId,
        /// What.
        notification: Notification,
    },
    /// The sample asked for with [`Action::Sample`].
    Sampled {
        /// The action's.
        sample: u64,
        /// One entry for each of those asked for that could be read.
        usages: Vec<(Whose, Usage)>,
        /// The container, where the daemon's own usage was asked for.
        container: Option<Container>,
    },
    /// Files changed that are watched for a service ([`Action::Watch`]).
    FilesChanged {
        /// Which.
        id: ServiceId,
        /// What changed, all of it together.
        changes: Changes,
    },
    /// The configuration asked for with [`Action::ReadConfig`].
    ConfigRead {
        /// The action's.
        read: u64,
        /// The configuration, or why there is none.
        config: Result<Config, NoConfig>,
    },
    /// What came of [`Action::Listen`].
    Listened {
        /// The action's.
        read: u64,
        /// An error: the daemon answers where it did before.
        outcome: Result<(), NoListener>,
    },
    /// Somebody who only looks wants to know how things are; answered by [`Action::Report`].
    ReportAsked {
        /// To be given back.
        number: u64,
        /// How much of it.
        depth: Depth,
    },
    /// The daemon got a signal.
    Signalled(Signal),
    /// The wall clock was set, or may have been.
    ClockStepped,
    /// A deadline may have passed.
    Tick,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a process; answered by [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn {
        /// For this service.
        id: ServiceId,
        /// As this.
        part: Part,
        /// The program and its surroundings.
        launch: Arc<Launch>,
        /// Why it starts: PPM_START_REASON.
        cause: Cause,
    },
    /// Send a signal to a main process that has not been reaped, or to a group that has members.
    Kill {
        /// Of this service.
        id: ServiceId,
        /// Of this.
        part: Part,
        /// The process, or its group.
        pid: Pid,
        /// The signal.
        signal: Signal,
        /// Which of the two.
        reach: Reach,
    },
    /// Send a signal to all of a part of a service that are not in its group.
    KillStrays {
        /// The service.
        id: ServiceId,
        /// Of this.
        part: Part,
        /// The signal.
        signal: Signal,
    },
    /// Ask those of a part of a service to end, with this signal and SIGCONT, that are not in its group and have not been
    /// asked before.
    AskStrays {
        /// The service.
        id: ServiceId,
        /// Of this.
        part: Part,
        /// The signal.
        signal: Signal,
    },
    /// Send a signal, and SIGCONT, to all that descends from the daemon; answered by [`Event::Alone`] when it has no
    /// child any more.
    Sweep {
        /// The signal.
        signal: Signal,
    },
    /// Find out something about a service, once; answered by [`Event::Probed`], unless it is stopped before.
    Probe {
        /// The service.
        id: ServiceId,
        /// To be given back; never used twice for a service.
        attempt: u64,
        /// What.
        question: Question,
    },
    /// Nobody wants to know any more what comes of an attempt.
    StopProbe {
        /// The service.
        id: ServiceId,
        /// Which.
        attempt: u64,
    },
    /// Read what services use with all of their processes; answered by [`Event::Sampled`].
    Sample {
        /// To be given back.
        sample: u64,
        /// Whose usage is asked for.
        whose: Vec<Whose>,
        /// All services that have a main process: whose a process is, is told by those that it is not of, too.
        running: Vec<Running>,
        /// How much to read.
        detail: Detail,
    },
    /// Watch files for a service, in place of those that were watched for it before; tells of every change by
    /// [`Event::FilesChanged`] until [`Action::Unwatch`].
    Watch {
        /// The service.
        id: ServiceId,
        /// What it runs in: paths may begin at its folder and refer to its variables.
        launch: Arc<Launch>,
        /// Which files.
        watch: Arc<WatchSpec>,
    },
    /// Watch nothing for this service any more.
    Unwatch {
        /// The service.
        id: ServiceId,
    },
    /// Keep in mind, also when the daemon has ended, that this planned time of a service has come.
    Remember {
        /// The service's name.
        service: String,
        /// The time.
        planned: Planned,
    },
    /// Read a configuration; answered by [`Event::ConfigRead`].
    ReadConfig {
        /// To be given back.
        read: u64,
        /// Where it stands.
        text: Text,
    },
    /// Answer HTTP there from now on, and nowhere else; answered by [`Event::Listened`].
    Listen {
        /// To be given back.
        read: u64,
        /// None: nowhere.
        at: Option<Listen>,
    },
    /// How things are, for whoever has asked with [`Event::ReportAsked`].
    Report {
        /// The event's.
        number: u64,
        /// This.
        report: Box<Report>,
    },
    /// Answer a call.
    Respond {
        /// Whom.
        to: From,
        /// With what.
        result: Result<Answer, RpcError>,
    },
    /// Answer a call for lives when the output before the ends that they name was read, as far as it is kept: see
    /// [`crate::last_words`].
    TellLives {
        /// Whom.
        to: From,
        /// The answer.
        lives: Vec<Life>,
        /// The services whose output is kept, with what they would be started with.
        kept: Vec<(ServiceId, Arc<Launch>)>,
    },
    /// Answer a call for what is watched when who looks at the files has added what they are.
    TellWatched {
        /// Whom.
        to: From,
        /// What is known without them.
        services: Vec<WatchedRow>,
    },
    /// Tell a client that follows.
    Notify {
        /// Whom.
        to: From,
        /// Of what.
        event: Arc<EventRow>,
    },
    /// What becomes of the output of a service, or what is awaited in it, has changed; what it writes by now goes there.
    SetLogger {
        /// The service.
        id: ServiceId,
        /// As for a start.
        launch: Arc<Launch>,
    },
    /// Answer a call for logs as soon as it is known how far they go, then read them to the client, and go on with what is
    /// written after the answer if that is asked for.
    ReadLog {
        /// Whom.
        to: From,
        /// The answer, but for how much there is to be read.
        answer: LogSources,
        /// Which services, with what they would be started with.
        services: Vec<(ServiceId, Arc<Launch>)>,
        /// Whether the daemon's own log is among them.
        own: Own,
        /// Which of their lines.
        query: ReadLog,
    },
    /// What is kept in memory of the output of the service of this name, and about it, may go.
    ForgetOutput {
        /// The name.
        service: String,
    },
    /// Execute a program with the descriptors that came with a client's request; answered by [`Event::Executed`].
    Exec {
        /// Who asked.
        client: ClientId,
        /// The program and its surroundings, those of a service.
        launch: Arc<Launch>,
        /// Whether the descriptors are a terminal, which becomes its controlling terminal.
        terminal: bool,
    },
    /// Send a signal to the group of what was executed, if that has not ended.
    KillGuest {
        /// Its leader.
        pid: Pid,
        /// The signal.
        signal: Signal,
    },
    /// Tell a client how that ended which it had executed.
    TellEnd {
        /// Who had.
        to: From,
        /// How.
        exit: Exit,
    },
    /// Close all log files; each is opened again under its name, or begun anew where it is not there any more.
    ReopenLogs,
    /// Write to the daemon's own log.
    Announce(Notice),
    /// Leave, with this exit code. The last action ever.
    Exit {
        /// 0 to 255.
        code: u8,
    },
}

/// A planned time that has come, and by which schedule it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The schedule as written: what was planned by another means nothing to it.
    pub rule: String,
    /// The time.
    pub fire: Timestamp,
}

/// Why the daemon cannot answer at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoListener {
    /// Lower case, without full stop.
    pub message: String,
    /// The remedy.
    pub hint: &'static str,
}

/// Where a configuration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// In the daemon's configuration file.
    File,
    /// Here.
    Given {
        /// The text.
        text: String,
        /// Its name in messages.
        name: String,
    },
}

/// Whether the daemon's own log is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It is.
    Meant,
    /// It is not.
    NotMeant,
}

/// Whose usage: a service's, or, None, the daemon's own.
pub type Whose = Option<ServiceId>;

/// A service with a main process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The service.
    pub id: ServiceId,
    /// Its main process.
    pub pid: Pid,
    /// Its name: the mark of its processes.
    pub name: String,
}

/// How much of each process is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What stands in the first of them: resident memory and time on processors.
    Rss,
    /// The same, and the proportional memory.
    Pss,
    /// What stands in a few short files.
    Cheap,
    /// Also the proportional memory, for which the kernel looks at every page.
    Full,
}

/// What must be known to start a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The service's name: PPM_SERVICE.
    pub name: String,
    /// What to execute.
    pub command: Command,
    /// What becomes of its output; None: it goes where the daemon's goes.
    pub logger: Option<Logger>,
    /// What it reads.
    pub stdin: Stdin,
    /// What it is given to say how it is.
    pub voice: Voice,
    /// What is in the line by which it says that it is ready: the first such is told by [`Event::Notified`].
    pub awaits: Option<LinePattern>,
    /// What it is told besides its name and why it starts: variables of its environment.
    pub told: Vec<(&'static str, String)>,
}

/// What a probe is to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether a connection is taken there.
    Connection(Target),
    /// Whether a page answers as it should.
    Page(Page),
    /// Whether this program ends with 0.
    Command {
        /// It, and its surroundings.
        launch: Arc<Launch>,
        /// Why the service was started that it looks at.
        cause: Cause,
    },
    /// Whether there is a file that was made or changed at this time or later.
    File {
        /// Its absolute path.
        path: String,
        /// The time.
        since: Timestamp,
    },
    /// Whether the service holds a port itself.
    Held {
        /// The port.
        port: u16,
        /// The service's main process.
        main: Pid,
    },
}

/// Where a service's standard input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// /dev/null (R6).
    Null,
    /// The daemon's own, and the terminal's foreground if it is one (R7).
    Inherited,
    /// What a client has sent along, which is its output too.
    Given {
        /// Which client.
        client: ClientId,
        /// Whether that is a terminal, which becomes its controlling terminal.
        terminal: bool,
    },
}

/// Why a service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The daemon started.
    Boot,
    /// The configuration was read again and has it now.
    Reload,
    /// Somebody asked for it.
    Request,
    /// A service needs it that is to start.
    Needed,
    /// What it needs was started anew.
    Dependency,
    /// Its planned time came.
    Schedule,
    /// Its planned time had passed, and is made up for.
    Missed,
    /// It crashed before.
    Backoff,
    /// It ended before, and shall always run.
    Restart,
    /// It had outgrown its `max_memory`.
    Memory,
    /// Files changed that are watched for it.
    Watch,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cause::Boot => "boot",
            Cause::Reload => "reload",
            Cause::Request => "request",
            Cause::Needed => "needed",
            Cause::Dependency => "dependency",
            Cause::Schedule => "schedule",
            Cause::Missed => "missed",
            Cause::Backoff => "backoff",
            Cause::Restart => "restart",
            Cause::Memory => "memory",
            Cause::Watch => "watch",
        })
    }
}

/// A line of the daemon's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Something happened to a service.
    Service(Arc<EventRow>),
    /// Worth knowing.
    Info(String),
    /// Worth a look.
    Warning(String),
    /// The core met what it holds to be impossible and kept its state.
    Impossible(String),
}

/// Performs actions. The daemon's does it with system calls, the simulator's with make-believe.
pub trait Shell {
    /// Performs one action. Its outcome, if it has one, comes back as an event later.
    fn perform(&mut self, action: Action);
}

/// Lets one event happen and has everything performed that follows from it.
pub fn turn(supervisor: &mut Supervisor, shell: &mut impl Shell, now: Now, event: Event) {
    for action in supervisor.handle(now, event) {
        shell.perform(action);
    }
}
