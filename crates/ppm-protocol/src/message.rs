//! The messages: JSON-RPC 2.0, one object a line.
//!
//! A [`Request`] is what a client may ask for, a [`Reply`] what it gets; [`Call`] and [`Heard`] are the client's
//! side of the same lines. Decoding is by hand where serde could not say what was wrong: every bad line gets an
//! error that names the method or the parameter. Unknown fields are ignored.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::line::{self, MAX_LINE, TooLong};
use crate::types::{
    Changed, Checked, Configuration, End, EventRow, Executed, Farewell, Forwarded, Greeting, Health, History, HistoryRow, InfoRow, Life,
    LogLine, LogSources, PlanRow, Reload, RunsRow, ServiceRow, Signal, StatsRow, Stream, Timestamp, Watched,
};

/// The protocol's version, as `hello` tells it.
pub const PROTOCOL: u32 = 1;

/// The deepest nesting of arrays and objects in a request; the deepest that one needs is three. A bound of our own
/// keeps the stack safe whatever reads the line next.
pub const MAX_DEPTH: usize = 64;

/// How many characters of a client's own text an error gives back.
const MAX_ECHO: usize = 200;

/// The longest `params` of which an error names the field, in bytes: enough for any that a person wrote, and
/// nobody can make the daemon search a mebibyte of fields.
const MAX_SEARCHED: usize = 1 << 16;

/// The services meant: names, ids, globs (`web-*`) or `all`. For requests that only show, none means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// As typed.
    #[serde(default)]
    pub services: Vec<String>,
}

/// Whose usage to read, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadStats {
    /// As typed; none means all, and the daemon itself.
    #[serde(default)]
    pub services: Vec<String>,
    /// Read the proportional memory too (default). It is costly: who asks again and again may do without.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub pss: bool,
    /// Wait a moment for a second reading where there is none yet on which rates can be based (default); else those are null.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub rates: bool,
}

impl Default for ReadStats {
    fn default() -> Self {
        ReadStats { services: Vec::new(), pss: true, rates: true }
    }
}

/// The services to change, and whether to answer only when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// As typed; at least one.
    pub services: Vec<String>,
    /// Answer when it is done (default), or at once.
    #[serde(default = "yes")]
    pub wait: bool,
    /// For `restart`: one after the other, the next only when the one before is ready; the first that does not come to be
    /// is the last.
    #[serde(default, skip_serializing_if = "is_no")]
    pub rolling: bool,
}

/// A service to add. Everything but `name` and `command` may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddService {
    /// Unique; letters, digits, `.`, `_`, `-`, `@`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder it runs in; absolute. Left out: the daemon's.
    #[serde(default)]
    pub workdir: Option<String>,
    /// The user it runs as: `app`, `app:app`, `1000`. Left out: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Added to the daemon's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `never`, `on-failure` or `always`.
    #[serde(default)]
    pub restart: Option<String>,
    /// Cron-like: 5 to 7 fields, a nickname like `@daily`, or `@every 90s`.
    #[serde(default)]
    pub schedule: Option<String>,
    /// What must be there before it starts: `db`, or `db:ready`, `db:finished`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Files and folders whose changes restart it; one that is not absolute begins at `workdir`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<String>,
    /// Start it now (default), or only add it.
    #[serde(default = "yes")]
    pub start: bool,
    /// Answer when it has started (default), or at once.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Take the place of a service of this name, which is stopped first. It keeps its id.
    #[serde(default)]
    pub replace: bool,
}

/// A command to be run in the surroundings of a service: its environment, folder, user, limits. It reads and writes what
/// comes with the request: three descriptors (`SCM_RIGHTS` of unix(7)), its standard input, output and error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execute {
    /// The service, by name or id.
    pub service: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The descriptors are a terminal, which becomes the controlling terminal of the command.
    #[serde(default)]
    pub terminal: bool,
}

/// A command to be run as a service that lives for its client. It reads and writes what comes with the request, as that of
/// [`Execute`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunService {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Unique, as for [`AddService`]. Left out: the program's, with a number if that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The folder it runs in; absolute. Left out: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The user it runs as. Left out: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Added to the daemon's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `never` (default), `on-failure` or `always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// The descriptors are a terminal, which becomes the controlling terminal of the command.
    #[serde(default)]
    pub terminal: bool,
    /// It is a service like others, needs no descriptors and stays: as `add`.
    #[serde(default)]
    pub detach: bool,
}

/// A signal for what this connection has executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The signal, as `SIGINT`.
    pub signal: Signal,
}

/// How to read the configuration again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAgain {
    /// Only tell what would be done.
    #[serde(default)]
    pub plan: bool,
}

/// A configuration to be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The text, YAML.
    pub text: String,
    /// Its name in messages.
    #[serde(default)]
    pub name: String,
    /// How many milliseconds the container is given to stop: what needs as long is wrong then. Left out: it does not
    /// matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// A signal for services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendSignal {
    /// As typed; at least one.
    pub services: Vec<String>,
    /// The signal, as `SIGHUP`.
    pub signal: Signal,
}

/// Which events to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// As typed; none means all, also those that come later.
    #[serde(default)]
    pub services: Vec<String>,
    /// How many past events to tell first, at most 100 (the default).
    #[serde(default)]
    pub last: Option<usize>,
    /// Then tell each new one as a notification `event`.
    #[serde(default)]
    pub follow: bool,
}

/// Which lines of which logs to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLog {
    /// As typed, at least one; `ppm-daemon` is the daemon itself.
    pub services: Vec<String>,
    /// Only so many lines from the end, over all services.
    #[serde(default)]
    pub last: Option<u64>,
    /// Then tell each new one.
    #[serde(default)]
    pub follow: bool,
    /// Only what was written at or after this time.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Only what was written before this time.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Only this stream.
    #[serde(default)]
    pub stream: Option<Stream>,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It has a process.
    Running,
    /// It is ready.
    Ready,
    /// Its last run ended well.
    Finished,
    /// It has no process.
    Stopped,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Goal::Running => "running",
            Goal::Ready => "ready",
            Goal::Finished => "finished",
            Goal::Stopped => "stopped",
        })
    }
}

/// Services to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Await {
    /// As typed; at least one.
    pub services: Vec<String>,
    /// What each of them must reach.
    #[serde(rename = "for")]
    pub goal: Goal,
    /// Give up after this many milliseconds; left out: never.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Everything a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who is there; may be skipped.
    Hello,
    /// Rows of services.
    List(Selection),
    /// Services in full.
    Info(Selection),
    /// A new service.
    Add(AddService),
    /// Stop and forget services.
    Remove(Targets),
    /// Want services to run, and start them now.
    Start(Targets),
    /// Want services not to run, and end them.
    Stop(Targets),
    /// End services that run, and start them now.
    Restart(Targets),
    /// Want services to run, at their next planned time.
    Reschedule(Targets),
    /// SIGSTOP to the whole service.
    Pause(Targets),
    /// SIGCONT to the whole service.
    Resume(Targets),
    /// Any signal to the whole service.
    Signal(SendSignal),
    /// Resource usage.
    Stats(ReadStats),
    /// Resource usage over the last hour.
    History(Selection),
    /// The running configuration as YAML.
    Configuration,
    /// What is planned.
    Scheduler(Selection),
    /// What happened, and what happens.
    Events(Watch),
    /// The logs of services.
    Log(ReadLog),
    /// Wait until services have reached something.
    Wait(Await),
    /// Whether all is well.
    Health(Selection),
    /// What happened to services lately.
    Why(Selection),
    /// What services have run lately.
    Runs(Selection),
    /// Which files are watched.
    Watched(Selection),
    /// Read the configuration again, and do what has changed.
    Reload(ReadAgain),
    /// Look at a configuration without using it.
    Check(Check),
    /// Run a command in the surroundings of a service.
    Exec(Execute),
    /// Run a command as a service that lives for its client.
    Run(RunService),
    /// Pass a signal on to it.
    Forward(Forward),
    /// End everything, in order.
    Shutdown,
}

/// The methods by their names on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the name of the request beside it")]
pub enum Method {
    Hello,
    List,
    Info,
    Add,
    Remove,
    Start,
    Stop,
    Restart,
    Reschedule,
    Pause,
    Resume,
    Signal,
    Stats,
    History,
    Configuration,
    Scheduler,
    Events,
    Log,
    Wait,
    Health,
    Why,
    Runs,
    Watched,
    Reload,
    Check,
    Exec,
    Run,
    Forward,
    Shutdown,
}

impl Method {
    /// All of them with their names.
    pub const ALL: [(&'static str, Method); 29] = [
        ("hello", Method::Hello),
        ("list", Method::List),
        ("info", Method::Info),
        ("add", Method::Add),
        ("remove", Method::Remove),
        ("start", Method::Start),
        ("stop", Method::Stop),
        ("restart", Method::Restart),
        ("reschedule", Method::Reschedule),
        ("pause", Method::Pause),
        ("resume", Method::Resume),
        ("signal", Method::Signal),
        ("stats", Method::Stats),
        ("history", Method::History),
        ("configuration", Method::Configuration),
        ("scheduler", Method::Scheduler),
        ("events", Method::Events),
        ("log", Method::Log),
        ("wait", Method::Wait),
        ("health", Method::Health),
        ("why", Method::Why),
        ("runs", Method::Runs),
        ("watched", Method::Watched),
        ("reload", Method::Reload),
        ("check", Method::Check),
        ("exec", Method::Exec),
        ("run", Method::Run),
        ("forward", Method::Forward),
        ("shutdown", Method::Shutdown),
    ];

    fn find(name: &str) -> Option<Method> {
        Method::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Method::ALL.iter().find(|(_, method)| method == self).map_or("", |(name, _)| name))
    }
}

impl Request {
    /// The method that carries it.
    pub fn method(&self) -> Method {
        match self {
            Request::Hello => Method::Hello,
            Request::List(_) => Method::List,
            Request::Info(_) => Method::Info,
            Request::Add(_) => Method::Add,
            Request::Remove(_) => Method::Remove,
            Request::Start(_) => Method::Start,
            Request::Stop(_) => Method::Stop,
            Request::Restart(_) => Method::Restart,
            Request::Reschedule(_) => Method::Reschedule,
            Request::Pause(_) => Method::Pause,
            Request::Resume(_) => Method::Resume,
            Request::Signal(_) => Method::Signal,
            Request::Stats(_) => Method::Stats,
            Request::History(_) => Method::History,
            Request::Configuration => Method::Configuration,
            Request::Scheduler(_) => Method::Scheduler,
            Request::Events(_) => Method::Events,
            Request::Log(_) => Method::Log,
            Request::Wait(_) => Method::Wait,
            Request::Health(_) => Method::Health,
            Request::Why(_) => Method::Why,
            Request::Runs(_) => Method::Runs,
            Request::Watched(_) => Method::Watched,
            Request::Reload(_) => Method::Reload,
            Request::Check(_) => Method::Check,
            Request::Exec(_) => Method::Exec,
            Request::Run(_) => Method::Run,
            Request::Forward(_) => Method::Forward,
            Request::Shutdown => Method::Shutdown,
        }
    }

    fn params(&self) -> Option<Box<RawValue>> {
        match self {
            Request::Hello | Request::Configuration | Request::Shutdown => None,
            Request::List(p) | Request::Info(p) | Request::Scheduler(p) | Request::History(p) => raw(p),
            Request::Stats(p) => raw(p),
            Request::Health(p) | Request::Why(p) | Request::Runs(p) | Request::Watched(p) => raw(p),
            Request::Add(p) => raw(p),
            Request::Remove(p) | Request::Start(p) | Request::Stop(p) | Request::Restart(p) => raw(p),
            Request::Reschedule(p) | Request::Pause(p) | Request::Resume(p) => raw(p),
            Request::Signal(p) => raw(p),
            Request::Events(p) => raw(p),
            Request::Log(p) => raw(p),
            Request::Wait(p) => raw(p),
            Request::Reload(p) => raw(p),
            Request::Check(p) => raw(p),
            Request::Exec(p) => raw(p),
            Request::Run(p) => raw(p),
            Request::Forward(p) => raw(p),
        }
    }

    fn read(method: Method, params: Option<&RawValue>) -> Result<Request, RpcError> {
        let targets = || targeted(method, params, |targets: &Targets| &targets.services);
        let nothing = || decode::<IgnoredAny>(method, params);
        Ok(match method {
            Method::Hello => nothing().map(|_| Request::Hello)?,
            Method::List => Request::List(decode(method, params)?),
            Method::Info => Request::Info(decode(method, params)?),
            Method::Add => Request::Add(decode(method, params)?),
            Method::Remove => Request::Remove(targets()?),
            Method::Start => Request::Start(targets()?),
            Method::Stop => Request::Stop(targets()?),
            Method::Restart => Request::Restart(targets()?),
            Method::Reschedule => Request::Reschedule(targets()?),
            Method::Pause => Request::Pause(targets()?),
            Method::Resume => Request::Resume(targets()?),
            Method::Signal => Request::Signal(targeted(method, params, |send: &SendSignal| &send.services)?),
            Method::Stats => Request::Stats(decode(method, params)?),
            Method::History => Request::History(decode(method, params)?),
            Method::Configuration => nothing().map(|_| Request::Configuration)?,
            Method::Scheduler => Request::Scheduler(decode(method, params)?),
            Method::Events => Request::Events(decode(method, params)?),
            Method::Log => Request::Log(targeted(method, params, |log: &ReadLog| &log.services)?),
            Method::Wait => Request::Wait(targeted(method, params, |wait: &Await| &wait.services)?),
            Method::Health => Request::Health(decode(method, params)?),
            Method::Why => Request::Why(targeted(method, params, |which: &Selection| &which.services)?),
            Method::Runs => Request::Runs(targeted(method, params, |which: &Selection| &which.services)?),
            Method::Watched => Request::Watched(decode(method, params)?),
            Method::Reload => Request::Reload(decode(method, params)?),
            Method::Check => Request::Check(decode(method, params)?),
            Method::Exec => Request::Exec(decode(method, params)?),
            Method::Run => Request::Run(decode(method, params)?),
            Method::Forward => Request::Forward(decode(method, params)?),
            Method::Shutdown => nothing().map(|_| Request::Shutdown)?,
        })
    }
}

/// A request's id: what the client chose, given back with the reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RpcId {
    /// Whole numbers only, as JSON-RPC advises.
    Number(i64),
    /// Any text.
    Text(String),
    /// In replies to lines whose id could not be read.
    Null,
}

impl RpcId {
    /// By its first byte: trying one kind after another, as serde does, would first copy whatever was sent.
    fn read(raw: &RawValue) -> Option<RpcId> {
        match raw.get() {
            "null" => Some(RpcId::Null),
            text if text.starts_with('"') => serde_json::from_str(text).ok().map(RpcId::Text),
            text => serde_json::from_str(text).ok().map(RpcId::Number),
        }
    }
}

/// One decoded line from a client: who asked (None: a notification, never answered) and what, or what is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The id to answer with.
    pub id: Option<RpcId>,
    /// The request, or the error to answer with.
    pub request: Result<Request, RpcError>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

impl Asked {
    /// Decodes a line as [`line::Lines`] gives it. Never fails: what is wrong becomes the answer.
    pub fn read(line: Result<&[u8], TooLong>) -> Asked {
        match Asked::text(line).and_then(Asked::envelope) {
            Ok(envelope) => Asked::open(&envelope),
            Err(error) => Asked { id: Some(RpcId::Null), request: Err(error) },
        }
    }

    /// The line as text that is safe to parse.
    fn text(line: Result<&[u8], TooLong>) -> Result<&str, RpcError> {
        let bytes = line.map_err(|TooLong| RpcError::new(ErrorCode::Invalid, format!("the line is longer than {MAX_LINE} bytes")))?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| RpcError::new(ErrorCode::Parse, format!("not UTF-8 at column {}", error.valid_up_to() + 1)))?;
        if line::depth(text) > MAX_DEPTH {
            return Err(RpcError::new(ErrorCode::Invalid, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(text)
    }

    fn envelope(text: &str) -> Result<Envelope<'_>, RpcError> {
        let first = text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next();
        // What is not even JSON is told so below, whatever it begins with.
        if first != Some('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
            let message =
                if first == Some('[') { "a batch is not supported; send one object a line" } else { "a request is a JSON object" };
            return Err(RpcError::new(ErrorCode::Invalid, message));
        }
        serde_json::from_str(text).map_err(|error| {
            let reason = reason(&error);
            if error.is_data() {
                RpcError::new(ErrorCode::Invalid, reason)
            } else {
                RpcError::new(ErrorCode::Parse, format!("not JSON at column {}: {reason}", error.column()))
            }
        })
    }

    fn open(envelope: &Envelope<'_>) -> Asked {
        let (id, bad_id) = match envelope.id.map(RpcId::read) {
            None => (None, false),
            Some(Some(id)) => (Some(id), false),
            Some(None) => (Some(RpcId::Null), true),
        };
        let request = if bad_id {
            Err(RpcError::new(ErrorCode::Invalid, "`id` must be a whole number of 64 bits, a string or null"))
        } else {
            Asked::request(envelope)
        };
        // An invalid request is answered even without an id: its sender made a mistake and should hear of it.
        let id = if request.is_err() { id.or(Some(RpcId::Null)) } else { id };
        Asked { id, request }
    }

    fn request(envelope: &Envelope<'_>) -> Result<Request, RpcError> {
        if envelope.jsonrpc.is_some_and(|version| version.get() != "\"2.0\"") {
            return Err(RpcError::new(ErrorCode::Invalid, "`jsonrpc` must be \"2.0\""));
        }
        let name = match envelope.method.map(|name| serde_json::from_str::<String>(name.get())) {
            Some(Ok(name)) => name,
            Some(Err(_)) => return Err(RpcError::new(ErrorCode::Invalid, "`method` must be a string")),
            None => return Err(RpcError::new(ErrorCode::Invalid, "`method` is missing")),
        };
        let Some(method) = Method::find(&name) else {
            let known: Vec<&str> = Method::ALL.iter().map(|(name, _)| *name).collect();
            let data = serde_json::json!({ "methods": known });
            return Err(RpcError {
                data: Some(data),
                ..RpcError::new(ErrorCode::UnknownMethod, format!("no method named `{}`", shorten(&name)))
            });
        };
        Request::read(method, envelope.params)
    }
}

/// Keeps `null` apart from nothing at all: `"id": null` asks for an answer.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The parameters of a method: an object; null is as good as nothing, and nothing as an empty object.
fn decode<T: DeserializeOwned>(method: Method, params: Option<&RawValue>) -> Result<T, RpcError> {
    let text = params.map(RawValue::get).filter(|text| *text != "null").unwrap_or("{}");
    if !text.starts_with('{') {
        return Err(bad_params(method, "`params` must be an object"));
    }
    serde_json::from_str(text).map_err(|error| {
        let reason = reason(&error);
        let reason = match field_at(text, &error) {
            // These two name it themselves, and lie at the end of the object.
            _ if reason.starts_with("missing field") || reason.starts_with("duplicate field") => reason,
            Some(field) => format!("`{}`: {reason}", shorten(&field)),
            None => reason,
        };
        bad_params(method, &reason)
    })
}

/// The parameters of a method that changes or waits for services, of which it must name at least one.
fn targeted<T: DeserializeOwned>(method: Method, params: Option<&RawValue>, services: fn(&T) -> &[String]) -> Result<T, RpcError> {
    let params = decode(method, params)?;
    if services(&params).is_empty() { Err(bad_params(method, "`services` is empty: name at least one, or `all`")) } else { Ok(params) }
}

fn bad_params(method: Method, reason: &str) -> RpcError {
    RpcError::new(ErrorCode::BadParams, format!("`{method}`: {reason}"))
}

/// What serde_json says, without the position it appends.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    shorten(text.strip_suffix(&position).unwrap_or(&text))
}

/// The field of the object `text` in which the error lies: the last one whose value does not begin after it.
fn field_at(text: &str, error: &serde_json::Error) -> Option<String> {
    // A line has no newline, but `read` takes what it is given.
    if text.len() > MAX_SEARCHED || error.line() != 1 {
        return None;
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let begin = |value: &RawValue| value.get().as_ptr().addr() - text.as_ptr().addr();
    let (field, _) = fields.into_iter().filter(|(_, value)| begin(value) <= error.column()).max_by_key(|(_, value)| begin(value))?;
    Some(field)
}

/// At most [`MAX_ECHO`] characters: an answer must not grow with the mistake.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_yes(yes: &bool) -> bool {
    *yes
}

fn is_no(value: &bool) -> bool {
    !value
}

/// What a request failed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCode {
    /// -32700: not JSON.
    Parse,
    /// -32600: JSON, but no request.
    Invalid,
    /// -32601: no such method.
    UnknownMethod,
    /// -32602: the method does not take these parameters.
    BadParams,
    /// 1001: no such service. Data: `service` as asked for; `services`, names there are; `count` of all; `similar`,
    /// the one that was probably meant.
    NoSuchService,
    /// 1002: the name is taken. Data: `service`.
    NameTaken,
    /// 1003: the service asked for cannot be. Data: `hint`, a remedy.
    InvalidService,
    /// 1004: not now, or not this.
    Refused,
    /// 1005: waited too long. Data: `waiting`, the names still waited for.
    TimedOut,
    /// 1006: what was waited for will not happen. Data: `service`.
    NotReached,
    /// 1007: the configuration is wrong; nothing was changed. Data: `text`, all problems as people read them, and
    /// `problems`, each with `line`, `column`, `message` and `hint`.
    WrongConfiguration,
    /// A code this side does not know.
    Other(i64),
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> i64 {
        match self {
            ErrorCode::Parse => -32700,
            ErrorCode::Invalid => -32600,
            ErrorCode::UnknownMethod => -32601,
            ErrorCode::BadParams => -32602,
            ErrorCode::NoSuchService => 1001,
            ErrorCode::NameTaken => 1002,
            ErrorCode::InvalidService => 1003,
            ErrorCode::Refused => 1004,
            ErrorCode::TimedOut => 1005,
            ErrorCode::NotReached => 1006,
            ErrorCode::WrongConfiguration => 1007,
            ErrorCode::Other(number) => number,
        }
    }

    fn from_number(number: i64) -> ErrorCode {
        use ErrorCode::{
            BadParams, Invalid, InvalidService, NameTaken, NoSuchService, NotReached, Other, Parse, Refused, TimedOut, UnknownMethod,
            WrongConfiguration,
        };
        let known = [Parse, Invalid, UnknownMethod, BadParams, NoSuchService, NameTaken, InvalidService, Refused, TimedOut, NotReached];
        let mut codes = known.into_iter().chain([WrongConfiguration]);
        codes.find(|code| code.number() == number).unwrap_or(Other(number))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.number())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(ErrorCode::from_number)
    }
}

/// An error as a reply carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// What kind.
    pub code: ErrorCode,
    /// In words, without a final stop.
    pub message: String,
    /// For programs: what the code's description says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: None }
    }
}

/// The result of a request. Each request has exactly one kind of answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `hello`.
    Greeting(Greeting),
    /// To `list`.
    Services(Vec<ServiceRow>),
    /// To `info`.
    Infos(Vec<InfoRow>),
    /// To whatever changes services, and to `wait`.
    Changed(Changed),
    /// To `stats`.
    Stats(Vec<StatsRow>),
    /// To `history`.
    Histories(Vec<HistoryRow>),
    /// To `configuration`.
    Configuration(Configuration),
    /// To `scheduler`.
    Plans(Vec<PlanRow>),
    /// To `events`.
    History(History),
    /// To `log`; the lines follow.
    Log(LogSources),
    /// To `health`.
    Health(Health),
    /// To `why`.
    Lives(Vec<Life>),
    /// To `runs`.
    Runs(Vec<RunsRow>),
    /// To `watched`.
    Watched(Watched),
    /// To `reload`.
    Reload(Reload),
    /// To `check`.
    Checked(Checked),
    /// To `exec` and `run`; how it ends follows.
    Executed(Executed),
    /// To `forward`.
    Forwarded(Forwarded),
    /// To `shutdown`.
    Farewell(Farewell),
}

/// A reply as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The request's.
    pub id: RpcId,
    /// What came of it.
    pub result: Result<Answer, RpcError>,
}

/// About how many bytes of JSON a service takes: a reply of a thousand of them is not to grow by copies.
const ROW_SIZE: usize = 320;

impl Reply {
    /// The line to send, with its newline.
    pub fn line(&self) -> Vec<u8> {
        let size = if let Ok(Answer::Services(rows)) = &self.result { rows.len() * ROW_SIZE } else { 0 };
        line::encode_into(Vec::with_capacity(size), self)
    }
}

impl Serialize for Reply {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Reply", 3)?;
        object.serialize_field("jsonrpc", "2.0")?;
        object.serialize_field("id", &self.id)?;
        match &self.result {
            Ok(answer) => object.serialize_field("result", answer)?,
            Err(error) => object.serialize_field("error", error)?,
        }
        object.end()
    }
}

/// A notification, as a stream carries it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notification<'a, T> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a T,
}

impl<'a> Notification<'a, EventRow> {
    /// Tells of one event.
    pub fn event(params: &'a EventRow) -> Self {
        Notification { jsonrpc: "2.0", method: "event", params }
    }
}

impl<'a> Notification<'a, LogLine> {
    /// Tells one line of a log.
    pub fn log(params: &'a LogLine) -> Self {
        Notification { jsonrpc: "2.0", method: "log", params }
    }
}

impl<'a> Notification<'a, End> {
    /// Tells that a stream has ended.
    pub fn end(params: &'a End) -> Self {
        Notification { jsonrpc: "2.0", method: "end", params }
    }
}

impl<T: Serialize> Notification<'_, T> {
    /// The line to send, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line::encode(self)
    }
}

/// A request as a client sends it.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    jsonrpc: &'static str,
    id: i64,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Box<RawValue>>,
}

impl Call {
    /// The request under this id.
    pub fn new(id: i64, request: &Request) -> Call {
        Call { jsonrpc: "2.0", id, method: request.method().to_string(), params: request.params() }
    }

    /// The line to send, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line::encode(self)
    }
}

/// A line as a client hears it, who wants results as `T`: as JSON, or read at once as what the method promises, which
/// saves looking at long ones twice.
#[derive(Clone, Debug)]
pub enum Heard<T = Box<RawValue>> {
    /// The answer to a call.
    Reply {
        /// The call's id.
        id: RpcId,
        /// What came of it.
        result: Result<T, RpcError>,
    },
    /// An event of a stream, as JSON: an [`EventRow`], of which a newer daemon may tell more than we know.
    Event(Box<RawValue>),
    /// A line of a log, as JSON: a [`LogLine`].
    Line(Box<RawValue>),
    /// A stream has ended.
    End(End),
    /// A notification that only a newer daemon sends; nothing has been lost by not knowing it.
    Unknown,
}

#[derive(Deserialize)]
struct Incoming<T> {
    id: Option<RpcId>,
    method: Option<String>,
    result: Option<T>,
    error: Option<RpcError>,
    params: Option<Box<RawValue>>,
}

fn not_understood(error: impl fmt::Display) -> String {
    format!("the daemon's answer is not understood: {error}")
}

impl<T: DeserializeOwned> Heard<T> {
    /// Decodes a line from the daemon; the error says what about it is strange.
    pub fn read(line: &[u8]) -> Result<Heard<T>, String> {
        // All of it at once, so that the parser need not look at each text of it again.
        let text = str::from_utf8(line).map_err(not_understood)?;
        let incoming: Incoming<T> = serde_json::from_str(text).map_err(not_understood)?;
        match incoming {
            Incoming { method: Some(method), params: Some(event), .. } if method == "event" => Ok(Heard::Event(event)),
            Incoming { method: Some(method), params: Some(line), .. } if method == "log" => Ok(Heard::Line(line)),
            Incoming { method: Some(method), params: Some(end), .. } if method == "end" => match serde_json::from_str(end.get()) {
                Ok(end) => Ok(Heard::End(end)),
                Err(error) => Err(format!("the end of a stream is not understood: {error}")),
            },
            Incoming { method: Some(_), .. } => Ok(Heard::Unknown),
            Incoming { id, error: Some(error), .. } => Ok(Heard::Reply { id: id.unwrap_or(RpcId::Null), result: Err(error) }),
            Incoming { id, result: Some(result), .. } => Ok(Heard::Reply { id: id.unwrap_or(RpcId::Null), result: Ok(result) }),
            Incoming { .. } => Err("the daemon's answer is neither a result nor an error".to_owned()),
        }
    }
}
