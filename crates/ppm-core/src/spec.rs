//! What a service is meant to be: validated, complete, with every default filled in.
//!
//! The only way in: a service from the configuration file and one from `ppm add` pass the same checks here.
//! A `ServiceSpec` that exists is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ppm_protocol::Signal;
use ppm_protocol::message::AddService;

use crate::attributes::{Attributes, User};
use crate::dependencies::{Need, OnDependencyRestart};
use crate::environment::{EnvValue, Surroundings, check_references};
use crate::gather::Gather;
use crate::hook::{Hook, HookSpec, Program};
use crate::line_pattern::LinePattern;
use crate::listen::Listen;
use crate::logging::{LogChoice, LogKeys};
use crate::names;
use crate::probe::{Channel, Check, Health, Readiness, Voice};
use crate::schedule::Schedule;
use crate::watch::{self, OnChange, WatchSpec};

/// How many services a daemon takes: far more than a container holds, few enough to bound its memory.
pub const MAX_SERVICES: usize = 10_000;

/// The service that the command of the daemon's command line becomes.
pub const MAIN: &str = "main";

/// The settings that are not of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How old a resource sample may be to serve as the base of a rate.
    pub stats_interval: Duration,
    /// First restart delay of services that do not say their own.
    pub restart_interval: Duration,
    /// The least time between two restarts of a service because of changed files.
    pub watch_restart_interval: Duration,
    /// At the latest then a step of the wall clock is noticed; zero: never by this.
    pub clock_check_interval: Duration,
    /// How long the whole shutdown may take.
    pub shutdown_timeout: Duration,
    /// The zone of schedules that do not name their own; None: that of the daemon's surroundings.
    pub timezone: Option<TimeZone>,
    /// Where the daemon remembers what must outlive it; None: the usual place.
    pub state_dir: Option<String>,
    /// Of services that do not say more: `env` and `env_file` of the top.
    pub surroundings: Arc<Surroundings>,
    /// What becomes of the output of services; None: they write where the daemon writes.
    pub logger: Option<LogKeys>,
    /// Where the daemon answers HTTP; None: nowhere.
    pub http: Option<Listen>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            stats_interval: Duration::from_secs(10),
            restart_interval: Duration::from_secs(1),
            watch_restart_interval: Duration::from_secs(3),
            clock_check_interval: Duration::from_secs(3600),
            shutdown_timeout: Duration::from_secs(9),
            timezone: None,
            state_dir: None,
            surroundings: Arc::default(),
            logger: None,
            http: None,
        }
    }
}

/// A service as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Unique: letters, digits, `.`, `_`, `-`, `@`; not only digits.
    pub name: String,
    /// Asked for explicitly; None: the next free number.
    pub id: Option<u32>,
    /// What to execute.
    pub command: Command,
    /// Whether it starts (or, with a schedule, is planned) with the daemon.
    pub autostart: bool,
    /// When it starts again by itself.
    pub restart: RestartPolicy,
    /// Exit codes that mean a good end.
    pub success_exit_codes: Vec<i32>,
    /// How it is ended.
    pub stop: StopPolicy,
    /// What asks it to end instead of the signal.
    pub stop_command: Option<Box<Program>>,
    /// What is run at turns of its life; the command of `stop` is not among them.
    pub hooks: BTreeMap<Hook, HookSpec>,
    /// When it starts by the wall clock.
    pub schedule: Option<Box<Schedule>>,
    /// The files whose changes it is to hear of.
    pub watch: Option<Arc<WatchSpec>>,
    /// When it is ready; None: as soon as it runs.
    pub ready: Option<Box<Readiness>>,
    /// When it is well; None: as long as it runs.
    pub health: Option<Box<Health>>,
    /// What becomes of its output.
    pub log: LogChoice,
    /// Whether its end, when nothing starts it again and nobody asked for it, ends the daemon.
    pub essential: bool,
    /// How many bytes of memory all its processes together may use before it is started anew; None: any.
    pub max_memory: Option<u64>,
    /// What must be there before it starts, as written; each service once.
    pub depends_on: Vec<Need>,
    /// What becomes of it when one of these is started anew.
    pub on_dependency_restart: OnDependencyRestart,
    /// The name that means all replicas of it, itself one of them; its number is [`Command::replica`].
    pub replica_of: Option<String>,
    /// What it can be addressed by together with others: `@frontend`. Each once, in the order they are written.
    pub groups: Vec<String>,
    /// Where it comes from, for people: `file:line`, or `ppm add`.
    pub source: String,
}

/// What to execute, and where. Nothing in the program and its arguments is expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program: a path, or a name to be looked up in the service's PATH.
    pub path: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// The folder to run in; None: the daemon's own. References are expanded at each start, after which it must be
    /// absolute.
    pub workdir: Option<String>,
    /// Its own variables: the topmost but for what the daemon tells it.
    pub env: BTreeMap<String, EnvValue>,
    /// Where its other variables come from.
    pub surroundings: Arc<Surroundings>,
    /// User, umask, limits and priorities.
    pub attributes: Attributes,
    /// Which of several alike it is, from 1: PPM_REPLICA.
    pub replica: Option<u32>,
}

/// Which ends are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// None.
    Never,
    /// The bad ones.
    OnFailure,
    /// All.
    Always,
}

/// When and how fast a service is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends.
    pub when: RestartWhen,
    /// The first delay.
    pub interval: Duration,
    /// The longest delay.
    pub max_interval: Duration,
    /// How much a delay may be lengthened by chance, 0 to 100.
    pub jitter_percent: u8,
    /// Give up when this many consecutive restarts have crashed; zero: never.
    pub max_retries: u32,
    /// A run longer than this makes earlier crashes forgotten.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            when: RestartWhen::OnFailure,
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(300),
            jitter_percent: 0,
            max_retries: 0,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// How a service is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopPolicy {
    /// The polite signal.
    pub signal: Signal,
    /// How long after it SIGKILL follows.
    pub timeout: Duration,
    /// Whether the polite signal goes to the whole process group or to the main process alone.
    pub reach: Reach,
}

impl Default for StopPolicy {
    fn default() -> Self {
        StopPolicy { signal: Signal::TERM, timeout: Duration::from_secs(5), reach: Reach::Group }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The main process alone.
    Leader,
    /// Its whole process group.
    Group,
}

/// The longest name of an environment variable, in bytes: as a key in YAML, which is limited to 1024, it may grow
/// fourfold.
const MAX_ENV_NAME: usize = 255;

/// Why something is not a service: one sentence, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSpec {
    /// Lower case, without full stop; fits after `error: `.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl InvalidSpec {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        InvalidSpec { message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        InvalidSpec { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidSpec {}

impl ServiceSpec {
    /// A service as it is when only its name and command are given.
    pub fn new(name: impl Into<String>, command: Command, settings: &Settings) -> Self {
        ServiceSpec {
            name: name.into(),
            id: None,
            command: Command { surroundings: Arc::clone(&settings.surroundings), ..command },
            autostart: true,
            restart: RestartPolicy { interval: settings.restart_interval, ..RestartPolicy::default() },
            success_exit_codes: vec![0],
            stop: StopPolicy::default(),
            stop_command: None,
            hooks: BTreeMap::new(),
            schedule: None,
            watch: None,
            ready: None,
            health: None,
            log: LogChoice::AsLogger,
            essential: false,
            max_memory: None,
            depends_on: Vec::new(),
            replica_of: None,
            on_dependency_restart: OnDependencyRestart::Keep,
            groups: Vec::new(),
            source: String::new(),
        }
    }

    /// So many of it, `web-1` and so on, with numbers that follow one another if its own is given.
    pub fn replicas(self, count: u32) -> impl Iterator<Item = ServiceSpec> {
        (1..=count).map(move |number| ServiceSpec {
            name: replica_name(&self.name, number),
            id: self.id.and_then(|id| id.checked_add(number - 1)),
            command: Command { replica: Some(number), ..self.command.clone() },
            replica_of: Some(self.name.clone()),
            ..self.clone()
        })
    }

    /// The name of the service in the configuration: all its replicas have one.
    pub fn written_name(&self) -> &str {
        self.replica_of.as_deref().unwrap_or(&self.name)
    }

    /// Whether it starts as soon as it is there and wanted, and does not wait for a planned time.
    pub fn starts_at_once(&self) -> bool {
        self.schedule.as_deref().is_none_or(Schedule::starts_at_boot)
    }

    /// What it is given to say how it is.
    pub fn voice(&self) -> Voice {
        let ready = self.ready.as_ref().map(|ready| &ready.check);
        let health = self.health.as_ref().filter(|health| health.check.is_its_own_word());
        Voice {
            socket: ready == Some(&Check::Notify(Channel::Socket)) || health.is_some(),
            watchdog: health.map(|health| health.timeout),
            descriptor: match ready {
                Some(Check::Notify(Channel::Descriptor(number))) => Some(*number),
                Some(_) | None => None,
            },
        }
    }

    /// What is in the line by which it says that it is ready.
    pub fn awaits(&self) -> Option<&LinePattern> {
        match &self.ready.as_ref()?.check {
            Check::Log(pattern) => Some(pattern),
            Check::Tcp(_) | Check::Http(_) | Check::Command(_) | Check::File(_) | Check::Listen(_) | Check::Notify(_) => None,
        }
    }

    /// What it has run at this turn, and how long that may take (zero: as long as it takes).
    pub fn hook(&self, hook: Hook) -> Option<(&Program, Duration)> {
        match hook {
            Hook::Stop => Some((self.stop_command.as_ref()?, self.stop.timeout)),
            Hook::OnChange => match &self.watch.as_ref()?.action {
                OnChange::Exec(spec) => Some((&spec.program, spec.timeout)),
                OnChange::Restart | OnChange::Signal(_) => None,
            },
            Hook::PreStart | Hook::PostStart | Hook::OnReady | Hook::PreStop | Hook::PostStop | Hook::OnCrash => {
                self.hooks.get(&hook).map(|hook| (&hook.program, hook.timeout))
            }
        }
    }

    /// The service that the command of the daemon's command line becomes: essential, and to be waited for as long as the
    /// whole shutdown may take, since it is all that whoever stops the daemon knows of.
    ///
    /// # Errors
    /// The first rule that its words break.
    pub fn main(words: &[String], settings: &Settings) -> Result<ServiceSpec, InvalidSpec> {
        let command = command_of(words)?;
        let mut spec = ServiceSpec::new(MAIN, command, settings);
        spec.log = LogChoice::Inherit; // it stands for the daemon's own program, at whose terminal it may be
        spec.essential = true;
        spec.restart.when = RestartWhen::Never;
        spec.stop.timeout = settings.shutdown_timeout;
        spec.source = "the command line".into();
        Ok(spec)
    }

    /// The service that `ppm add` asks for. Whether its name is free is not known here.
    ///
    /// # Errors
    /// The first rule it breaks; they are those of the configuration file.
    pub fn from_request(add: &AddService, settings: &Settings) -> Result<ServiceSpec, InvalidSpec> {
        names::check(&add.name)?;
        let command = command_of(&add.command)?;
        add.workdir.iter().try_for_each(|workdir| check_folder(workdir))?;
        let mut env = BTreeMap::new();
        for (name, value) in &add.env {
            check_env_name(name)?;
            check_env_value(value)?;
            env.insert(name.clone(), value.as_str().into());
        }
        let user = add.user.as_deref().map(User::parse).transpose()?;
        let attributes = Attributes { user: user.map(Box::new), ..Attributes::default() };
        let command = Command { workdir: add.workdir.clone(), env, attributes, ..command };
        let mut spec = ServiceSpec::new(&add.name, command, settings);
        if let Some(restart) = &add.restart {
            spec.restart.when = restart_when(restart)?;
        }
        for path in &add.watch {
            watch::check_path(path)?;
            if add.workdir.is_none() && !path.starts_with('/') && !path.starts_with("${") {
                let message = format!("`{}` is not an absolute path, and there is no `workdir` where it begins", shown(path));
                return Err(InvalidSpec::new(message).hint("write the whole path, beginning with `/`"));
            }
        }
        spec.watch = (!add.watch.is_empty()).then(|| Arc::new(WatchSpec::new(add.watch.clone())));
        spec.depends_on = add.depends_on.iter().map(|text| Need::parse(text)).collect::<Result<_, _>>()?;
        spec.schedule = add.schedule.as_deref().map(Schedule::parse).transpose()?.map(Box::new);
        spec.source = "ppm add".into();
        Ok(spec)
    }
}

/// What a replica is called.
pub fn replica_name(of: &str, number: u32) -> String {
    format!("{of}-{number}")
}

/// Gives every service without an id the next free number, from 1, in order.
pub fn assign_ids(services: &mut [ServiceSpec]) {
    let taken: BTreeSet<u32> = services.iter().filter_map(|service| service.id).gather();
    let mut free = (1..).filter(|id| !taken.contains(id));
    for service in services.iter_mut().filter(|service| service.id.is_none()) {
        service.id = free.next();
    }
}

/// A program and its arguments, as they are.
pub(crate) fn command_of(words: &[String]) -> Result<Command, InvalidSpec> {
    let (path, args) =
        words.split_first().ok_or_else(|| InvalidSpec::new("the command is empty").hint("write a program and its arguments"))?;
    check_program(path)?;
    args.iter().try_for_each(|word| check_argument(word))?;
    Ok(Command { path: path.clone(), args: args.to_vec(), ..Command::default() })
}

/// As much of a user's text as reads well in a sentence, and nothing that moves the cursor.
pub(crate) fn shown(text: &str) -> String {
    const LENGTH: usize = 40;
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == LENGTH => return shown + "…",
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// All of it, without what moves the cursor.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut printable = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() { printable.extend(c.escape_default()) } else { printable.push(c) }
    }
    printable
}

pub(crate) fn check_program(path: &str) -> Result<(), InvalidSpec> {
    if path.trim().is_empty() {
        return Err(InvalidSpec::new("the program's name is empty").hint("write a path or a name, like `/bin/sh` or `sh`"));
    }
    check_argument(path)
}

pub(crate) fn check_argument(argument: &str) -> Result<(), InvalidSpec> {
    if argument.contains('\0') {
        return Err(InvalidSpec::new("a NUL character cannot be passed to a program").hint("leave out `\\0`"));
    }
    Ok(())
}

pub(crate) fn check_folder(workdir: &str) -> Result<(), InvalidSpec> {
    check_argument(workdir)?;
    check_references(workdir)?;
    if !workdir.starts_with('/') && !workdir.starts_with("${") {
        return Err(
            InvalidSpec::new(format!("`{}` is not an absolute path", shown(workdir))).hint("write the whole path, beginning with `/`")
        );
    }
    Ok(())
}

/// A folder that is used as it is written.
pub(crate) fn check_absolute(folder: &str) -> Result<(), InvalidSpec> {
    check_argument(folder)?;
    if !folder.starts_with('/') {
        return Err(
            InvalidSpec::new(format!("`{}` is not an absolute path", shown(folder))).hint("write the whole path, beginning with `/`")
        );
    }
    Ok(())
}

/// A file that is read for variables.
pub(crate) fn check_file(path: &str) -> Result<(), InvalidSpec> {
    check_argument(path)?;
    check_references(path)?;
    if path.trim().is_empty() {
        return Err(InvalidSpec::new("the path of a file is empty").hint("write one like `/run/secrets/password`"));
    }
    Ok(())
}

pub(crate) fn check_env_name(name: &str) -> Result<(), InvalidSpec> {
    if name.is_empty() {
        return Err(InvalidSpec::new("the name of an environment variable is empty").hint("write it as `NAME: value`"));
    }
    if name.len() > MAX_ENV_NAME {
        let message = format!("the name of an environment variable is too long with {} bytes", name.len());
        return Err(InvalidSpec::new(message).hint(format!("use at most {MAX_ENV_NAME} bytes")));
    }
    if name == "<<" {
        return Err(InvalidSpec::new("`<<` cannot name an environment variable, it merges maps").hint("choose another name"));
    }
    if name.contains(['=', '\0']) {
        return Err(InvalidSpec::new(format!("`{}` cannot name an environment variable", shown(name))).hint("leave out `=` and NUL"));
    }
    Ok(())
}

pub(crate) fn check_env_value(value: &str) -> Result<(), InvalidSpec> {
    check_argument(value)?;
    check_references(value)
}

/// Groups are named like services, without the `@` of their address.
pub(crate) fn check_group(name: &str) -> Result<(), InvalidSpec> {
    if let Some(bare) = name.strip_prefix('@') {
        let hint = format!("write `{}`; the `@` comes where a command names the group", shown(bare));
        return Err(InvalidSpec::new(format!("the name of the group `{}` begins with `@`", shown(name))).hint(hint));
    }
    names::check(name)
}

pub(crate) fn restart_when(word: &str) -> Result<RestartWhen, InvalidSpec> {
    match word {
        "never" => Ok(RestartWhen::Never),
        "on-failure" => Ok(RestartWhen::OnFailure),
        "always" => Ok(RestartWhen::Always),
        other => Err(InvalidSpec::new(format!("`{}` is not a restart policy", shown(other))).hint(restart_hint(other))),
    }
}

/// Words of other supervisors, and those that people take for YAML's booleans.
fn restart_hint(word: &str) -> &'static str {
    match word {
        "no" | "No" | "NO" | "off" | "none" | "false" => "write `never`",
        "on" | "yes" | "true" | "unless-stopped" => "write `always`",
        "on_failure" | "onfailure" | "unexpected" | "on-abnormal" => "write `on-failure`",
        _ => "write `never`, `on-failure` or `always`",
    }
}
