//! The messages: JSON-RPC 2.0, one object a line.
//!
//! A [`Request`] is what a client may ask for, a [`Reply`] what it gets; [`Call`] and [`Heard`] are the client's
//! side of the same lines. Decoding is by hand where serde could not say what was wrong: every bad line gets an
//! error that names the method or the parameter. Unknown fields are ignored.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::line::{self, MAX_LINE, TooLong};
use crate::types::{Changed, Configuration, EventRow, Farewell, Greeting, History, InfoRow, PlanRow, ServiceRow, Signal, StatsRow};

/// The protocol's version, as `hello` tells it.
pub const PROTOCOL: u32 = 1;

/// The services meant: names, ids, globs (`web-*`) or `all`. For requests that only show, none means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// As typed.
    #[serde(default)]
    pub services: Vec<String>,
}

/// The services to change, and whether to answer only when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// As typed; at least one.
    pub services: Vec<String>,
    /// Answer when it is done (default), or at once.
    #[serde(default = "yes")]
    pub wait: bool,
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
    /// Added to the daemon's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `never`, `on-failure` or `always`.
    #[serde(default)]
    pub restart: Option<String>,
    /// Cron-like, 5 or 6 fields.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Start it now (default), or only add it.
    #[serde(default = "yes")]
    pub start: bool,
    /// Answer when it has started (default), or at once.
    #[serde(default = "yes")]
    pub wait: bool,
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
    Stats(Selection),
    /// The running configuration as YAML.
    Configuration,
    /// What is planned.
    Scheduler(Selection),
    /// What happened, and what happens.
    Events(Watch),
    /// Wait until services have reached something.
    Wait(Await),
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
    Configuration,
    Scheduler,
    Events,
    Wait,
    Shutdown,
}

impl Method {
    /// All of them with their names.
    pub const ALL: [(&'static str, Method); 18] = [
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
        ("configuration", Method::Configuration),
        ("scheduler", Method::Scheduler),
        ("events", Method::Events),
        ("wait", Method::Wait),
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
            Request::Configuration => Method::Configuration,
            Request::Scheduler(_) => Method::Scheduler,
            Request::Events(_) => Method::Events,
            Request::Wait(_) => Method::Wait,
            Request::Shutdown => Method::Shutdown,
        }
    }

    fn params(&self) -> Option<Box<RawValue>> {
        match self {
            Request::Hello | Request::Configuration | Request::Shutdown => None,
            Request::List(p) | Request::Info(p) | Request::Stats(p) | Request::Scheduler(p) => raw(p),
            Request::Add(p) => raw(p),
            Request::Remove(p) | Request::Start(p) | Request::Stop(p) | Request::Restart(p) => raw(p),
            Request::Reschedule(p) | Request::Pause(p) | Request::Resume(p) => raw(p),
            Request::Signal(p) => raw(p),
            Request::Events(p) => raw(p),
            Request::Wait(p) => raw(p),
        }
    }

    fn read(method: Method, params: Option<&RawValue>) -> Result<Request, RpcError> {
        Ok(match method {
            Method::Hello => Request::Hello,
            Method::List => Request::List(optional(method, params)?),
            Method::Info => Request::Info(optional(method, params)?),
            Method::Add => Request::Add(required(method, params)?),
            Method::Remove => Request::Remove(required(method, params)?),
            Method::Start => Request::Start(required(method, params)?),
            Method::Stop => Request::Stop(required(method, params)?),
            Method::Restart => Request::Restart(required(method, params)?),
            Method::Reschedule => Request::Reschedule(required(method, params)?),
            Method::Pause => Request::Pause(required(method, params)?),
            Method::Resume => Request::Resume(required(method, params)?),
            Method::Signal => Request::Signal(required(method, params)?),
            Method::Stats => Request::Stats(optional(method, params)?),
            Method::Configuration => Request::Configuration,
            Method::Scheduler => Request::Scheduler(optional(method, params)?),
            Method::Events => Request::Events(optional(method, params)?),
            Method::Wait => Request::Wait(required(method, params)?),
            Method::Shutdown => Request::Shutdown,
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
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl Asked {
    /// Decodes a line as [`line::Lines`] gives it. Never fails: what is wrong becomes the answer.
    pub fn read(line: Result<&[u8], TooLong>) -> Asked {
        let refuse = |error| Asked { id: Some(RpcId::Null), request: Err(error) };
        let bytes = match line {
            Ok(bytes) => bytes,
            Err(TooLong) => {
                return refuse(RpcError::new(ErrorCode::Invalid, format!("the line is longer than {MAX_LINE} bytes")));
            }
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return refuse(RpcError::new(ErrorCode::Parse, format!("not UTF-8: {error}"))),
        };
        match text.trim_start().as_bytes().first() {
            Some(b'[') => {
                return refuse(RpcError::new(ErrorCode::Invalid, "a batch is not supported; send one object a line"));
            }
            Some(b'{') | None => {}
            Some(_) if serde_json::from_str::<&RawValue>(text).is_ok() => {
                return refuse(RpcError::new(ErrorCode::Invalid, "a request is a JSON object"));
            }
            Some(_) => {}
        }
        match serde_json::from_str::<Envelope<'_>>(text) {
            Ok(envelope) => Asked::open(&envelope),
            Err(error) if error.is_data() => refuse(RpcError::new(ErrorCode::Invalid, error.to_string())),
            Err(error) => refuse(RpcError::new(ErrorCode::Parse, format!("not JSON: {error}"))),
        }
    }

    fn open(envelope: &Envelope<'_>) -> Asked {
        let (id, bad_id) = match envelope.id.map(|id| serde_json::from_str::<RpcId>(id.get())) {
            None => (None, false),
            Some(Ok(id)) => (Some(id), false),
            Some(Err(_)) => (Some(RpcId::Null), true),
        };
        let request = if bad_id {
            Err(RpcError::new(ErrorCode::Invalid, "`id` must be a whole number, a string or null"))
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
            return Err(RpcError { data: Some(data), ..RpcError::new(ErrorCode::UnknownMethod, format!("no method named `{name}`")) });
        };
        Request::read(method, envelope.params)
    }
}

/// Keeps `null` apart from nothing at all: `"id": null` asks for an answer.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn required<T: DeserializeOwned>(method: Method, params: Option<&RawValue>) -> Result<T, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err(RpcError::new(ErrorCode::BadParams, format!("`{method}`: `params` must be an object")));
    }
    serde_json::from_str(text).map_err(|error| {
        // The position would count from the start of `params`, which no client sees.
        let text = error.to_string();
        let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        RpcError::new(ErrorCode::BadParams, format!("`{method}`: {reason}"))
    })
}

fn optional<T: DeserializeOwned + Default>(method: Method, params: Option<&RawValue>) -> Result<T, RpcError> {
    if params.is_none_or(|params| params.get() == "null") { Ok(T::default()) } else { required(method, params) }
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

fn yes() -> bool {
    true
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
    /// 1001: no such service. Data: `service`, and `similar` or `services`.
    NoSuchService,
    /// 1002: the name is taken.
    NameTaken,
    /// 1003: the service asked for cannot be.
    InvalidService,
    /// 1004: not now, or not this.
    Refused,
    /// 1005: waited too long. Data: `waiting`, the names still waited for.
    TimedOut,
    /// 1006: what was waited for will not happen. Data: `service`.
    NotReached,
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
            ErrorCode::Other(number) => number,
        }
    }

    fn from_number(number: i64) -> ErrorCode {
        use ErrorCode::{
            BadParams, Invalid, InvalidService, NameTaken, NoSuchService, NotReached, Other, Parse, Refused, TimedOut, UnknownMethod,
        };
        [Parse, Invalid, UnknownMethod, BadParams, NoSuchService, NameTaken, InvalidService, Refused, TimedOut, NotReached]
            .into_iter()
            .find(|code| code.number() == number)
            .unwrap_or(Other(number))
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
    /// To `configuration`.
    Configuration(Configuration),
    /// To `scheduler`.
    Plans(Vec<PlanRow>),
    /// To `events`.
    History(History),
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

/// A notification `event`, as a stream carries it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a EventRow,
}

impl<'a> Notification<'a> {
    /// Tells of one event.
    pub fn event(params: &'a EventRow) -> Self {
        Notification { jsonrpc: "2.0", method: "event", params }
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

/// A line as a client hears it.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The answer to a call; the result is still to be read as what the method promises.
    Reply {
        /// The call's id.
        id: RpcId,
        /// The result as JSON, or the error.
        result: Result<Box<RawValue>, RpcError>,
    },
    /// An event of a stream.
    Event(EventRow),
}

#[derive(Deserialize)]
struct Incoming {
    #[serde(default)]
    id: Option<RpcId>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<RpcError>,
    #[serde(default)]
    params: Option<EventRow>,
}

impl Heard {
    /// Decodes a line from the daemon; the error says what about it is strange.
    pub fn read(line: &[u8]) -> Result<Heard, String> {
        let incoming: Incoming = serde_json::from_slice(line).map_err(|error| format!("the daemon's answer is not understood: {error}"))?;
        match incoming {
            Incoming { params: Some(event), .. } => Ok(Heard::Event(event)),
            Incoming { id, error: Some(error), .. } => Ok(Heard::Reply { id: id.unwrap_or(RpcId::Null), result: Err(error) }),
            Incoming { id: Some(id), result: Some(result), .. } => Ok(Heard::Reply { id, result: Ok(result) }),
            Incoming { .. } => Err("the daemon's answer is neither a result nor an error".to_owned()),
        }
    }
}
