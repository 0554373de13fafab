//! What can go wrong, in words for people and as an exit code for scripts.
//!
//! A [`Failure`] is complete: what was wanted, what was found, and a remedy where there is one. It is plain text
//! as the daemon or the user wrote it; [`crate::show`] makes it safe to print.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use ppm_protocol::socket::MAX_PATH;
use ppm_protocol::{ErrorCode, RpcError};
use serde::Deserialize;

use crate::elsewhere::Daemon;

/// How many services are named in "there are: ...".
const NAMED: usize = 3;

/// The exit codes, as the contract has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 0: done.
    Done,
    /// 1: it was tried and failed.
    Failed,
    /// 2: wrong use.
    Usage,
    /// 3: not running, not ready, or it will not be.
    NotRunning,
    /// 4: no such service.
    NoSuchService,
    /// 5: waited too long.
    TimedOut,
    /// 6: the daemon cannot be reached.
    Unreachable,
    /// 7: not permitted.
    Forbidden,
    /// 130: interrupted from the keyboard.
    Interrupted,
    /// 78: the configuration is wrong (sysexits.h: EX_CONFIG).
    WrongConfiguration,
    /// That of a command that was run: its own, 128 + n for signal n, 126 or 127 if it could not be executed.
    Passed(u8),
}

impl Code {
    /// The number for the shell.
    pub fn number(self) -> u8 {
        match self {
            Code::Done => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotRunning => 3,
            Code::NoSuchService => 4,
            Code::TimedOut => 5,
            Code::Unreachable => 6,
            Code::Forbidden => 7,
            Code::Interrupted => 130,
            Code::WrongConfiguration => 78,
            Code::Passed(code) => code,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code.number())
    }
}

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// Something went wrong.
    Failed(Failure),
    /// Nobody reads what it prints any more (`ppm ls | head -1`): nothing is wrong, and nothing is to be said.
    ReaderGone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the shell.
    pub code: Code,
    /// What was drawn to show where something is wrong, printed before all else; empty: nothing.
    pub excerpt: String,
    /// What was wanted and what was found, after `error: `.
    pub message: String,
    /// What else is known, one line each.
    pub facts: Vec<String>,
    /// What to do next, each after `hint: `.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of which no more is known.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, excerpt: String::new(), message: message.into(), facts: Vec::new(), hints: Vec::new() }
    }

    /// A configuration is wrong: `text` is all that is wrong with it as the core draws it, the message its last line.
    pub fn wrong_configuration(text: &str, message: impl Into<String>) -> Failure {
        let failure = Failure::new(Code::WrongConfiguration, message);
        let excerpt = text.strip_suffix(&format!("error: {}", failure.message)).unwrap_or(text);
        Failure { excerpt: excerpt.trim_end().to_owned(), ..failure }
    }

    /// The same with one more fact.
    pub fn fact(mut self, fact: impl Into<String>) -> Failure {
        self.facts.push(fact.into());
        self
    }

    /// The same with one more remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// Nobody could be reached at `path`. `owner` owns the socket, where that can be seen; `uid` is ours;
    /// `others` are the daemons that were seen at other places.
    pub fn unreachable(path: &Path, error: Errno, owner: Option<u32>, uid: u32, others: &[Daemon]) -> Failure {
        if matches!(error, Errno::EACCES | Errno::EPERM) {
            return Failure::forbidden(path, owner, uid);
        }
        let too_long = || format!("the path is longer than {MAX_PATH} bytes");
        let why = if error == Errno::ENAMETOOLONG { too_long() } else { words(error) };
        let failure = Failure::new(Code::Unreachable, format!("cannot reach the daemon at {}: {why}", path.display()));
        let seen = others.iter().map(|daemon| format!("there is a daemon of uid {} at {}", daemon.uid, daemon.path.display()));
        seen.fold(failure, Failure::hint).hint("start it with 'ppm daemon', or name another socket with --socket or PPM_SOCKET")
    }

    fn forbidden(path: &Path, owner: Option<u32>, uid: u32) -> Failure {
        let belongs = owner.map_or(String::new(), |owner| format!("it belongs to uid {owner}; "));
        let failure = Failure::new(Code::Forbidden, format!("not allowed to use {} ({belongs}you are uid {uid})", path.display()));
        match owner {
            None | Some(0) => failure.hint("run ppm as root, in a container with 'docker exec -u 0'"),
            Some(owner) => failure.hint(format!("run ppm as root or as uid {owner}, in a container with 'docker exec -u {owner}'")),
        }
    }

    /// The daemon took the connection but not the request, or never answered.
    pub fn silent(path: &Path, waited: Duration) -> Failure {
        let waited = crate::show::units::duration(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        Failure::new(Code::Unreachable, format!("the daemon at {} does not answer (waited {waited})", path.display()))
    }

    /// The daemon hung up.
    pub fn closed(path: &Path) -> Failure {
        Failure::new(Code::Unreachable, format!("the daemon at {} closed the connection before it had answered", path.display()))
    }

    /// The daemon, or who sits in its place, says what makes no sense.
    pub fn strange(path: &Path, what: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, what).fact(format!("it came from {}", path.display()))
    }

    /// The daemon says no.
    pub fn said(error: RpcError) -> Failure {
        let data: Data = error.data.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default();
        let code = match error.code {
            ErrorCode::NoSuchService => Code::NoSuchService,
            ErrorCode::TimedOut => Code::TimedOut,
            ErrorCode::NotReached => Code::NotRunning,
            ErrorCode::WrongConfiguration => Code::WrongConfiguration,
            ErrorCode::Refused if data.permission => Code::Forbidden,
            ErrorCode::Refused if data.code.is_some() => data.code.map_or(Code::Failed, Code::Passed),
            ErrorCode::Refused | ErrorCode::NameTaken | ErrorCode::InvalidService => Code::Failed,
            ErrorCode::Parse | ErrorCode::Invalid | ErrorCode::UnknownMethod | ErrorCode::BadParams | ErrorCode::Other(_) => Code::Failed,
        };
        let failure = match data.text {
            Some(text) if code == Code::WrongConfiguration => Failure::wrong_configuration(&text, error.message),
            Some(_) | None => Failure::new(code, error.message),
        };
        let failure = data.hint.into_iter().fold(failure, Failure::hint);
        if error.code == ErrorCode::UnknownMethod {
            return failure.hint("the daemon is older than this ppm, see 'ppm version'; start it anew to use what is new");
        }
        if error.code == ErrorCode::NameTaken {
            return failure.hint("choose another name, or change the one there is with 'ppm add --replace'");
        }
        match (data.similar, data.services, data.waiting.as_slice()) {
            (Some(similar), _, _) => failure.hint(format!("did you mean '{similar}'?")),
            (None, Some(services), _) => failure.fact(there_are(&services)),
            (None, None, []) => failure,
            (None, None, waiting) => failure.fact(format!("still waiting for: {}", waiting.join(", "))),
        }
    }

    /// What was to be printed could not be.
    pub fn unprintable(error: &io::Error) -> Failure {
        Failure::new(Code::Failed, format!("cannot write to stdout: {}", io_words(error)))
    }
}

/// What the daemon may tell with an error; what it does not tell is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    similar: Option<String>,
    services: Option<Vec<String>>,
    waiting: Vec<String>,
    permission: bool,
    /// What a shell would exit with.
    code: Option<u8>,
    hint: Option<String>,
    text: Option<String>,
}

fn there_are(services: &[String]) -> String {
    let named = services.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match services.len() {
        0 => "there are no services".to_owned(),
        1..=NAMED => format!("there are: {named}"),
        more => format!("there are: {named} and {} more (ppm ls)", more - NAMED),
    }
}

/// An error of the system in words that fit after a colon.
pub fn io_words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| words(Errno::from_raw(number)))
}

/// The same of an errno(3).
pub fn words(error: Errno) -> String {
    if error == Errno::ENOENT {
        return "no such file".to_owned();
    }
    if error == Errno::ECONNREFUSED {
        return "nobody listens there".to_owned();
    }
    let mut text = error.desc().chars();
    text.next().map_or(String::new(), |first| first.to_lowercase().chain(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(code: ErrorCode, data: serde_json::Value) -> Failure {
        Failure::said(RpcError { code, message: "no".to_owned(), data: Some(data) })
    }

    #[test]
    fn every_error_of_the_protocol_has_the_exit_code_of_the_contract() {
        let codes = [
            (ErrorCode::NoSuchService, 4),
            (ErrorCode::NameTaken, 1),
            (ErrorCode::InvalidService, 1),
            (ErrorCode::Refused, 1),
            (ErrorCode::TimedOut, 5),
            (ErrorCode::NotReached, 3),
            (ErrorCode::WrongConfiguration, 78),
            (ErrorCode::UnknownMethod, 1),
            (ErrorCode::Other(4711), 1),
        ];
        for (code, number) in codes {
            assert_eq!(said(code, json!({})).code.number(), number, "{code:?}");
        }
        assert_eq!(said(ErrorCode::Refused, json!({"permission": true})).code, Code::Forbidden);
    }

    #[test]
    fn an_unknown_service_is_answered_with_the_nearest_name_or_with_all() {
        assert_eq!(said(ErrorCode::NoSuchService, json!({"service": "wbe", "similar": "web"})).hints, ["did you mean 'web'?"]);
        let facts = |names: &[&str]| said(ErrorCode::NoSuchService, json!({"similar": null, "services": names})).facts;
        assert_eq!(facts(&[]), ["there are no services"]);
        assert_eq!(facts(&["a", "b", "c"]), ["there are: a, b, c"]);
        assert_eq!(facts(&["a", "b", "c", "d", "e"]), ["there are: a, b, c and 2 more (ppm ls)"]);
    }

    #[test]
    fn data_of_another_shape_is_passed_over() {
        for data in [json!(null), json!([1]), json!({"services": 7}), json!("web")] {
            assert_eq!(said(ErrorCode::NoSuchService, data), Failure::new(Code::NoSuchService, "no"));
        }
    }

    #[test]
    fn what_the_daemon_advises_is_passed_on() {
        assert_eq!(said(ErrorCode::InvalidService, json!({"hint": "write `never`"})).hints, ["write `never`"]);
        let taken = said(ErrorCode::NameTaken, json!({"service": "web"}));
        assert_eq!(taken.hints, ["choose another name, or change the one there is with 'ppm add --replace'"]);
    }

    #[test]
    fn a_wrong_configuration_is_shown_where_it_is_wrong_and_its_last_line_is_not_said_twice() {
        let failure = |text: &str| {
            let error =
                RpcError { data: Some(json!({ "text": text })), ..RpcError::new(ErrorCode::WrongConfiguration, "1 problem in x.yml") };
            Failure::said(error)
        };
        let drawn = failure("error: `a` is no time\n --> x.yml:1:2\n\nerror: 1 problem in x.yml");
        assert_eq!((drawn.excerpt.as_str(), drawn.message.as_str()), ("error: `a` is no time\n --> x.yml:1:2", "1 problem in x.yml"));
        assert_eq!(failure("whatever").excerpt, "whatever");
    }

    #[test]
    fn a_socket_that_is_not_ours_names_both_owners() {
        let failure = Failure::unreachable(Path::new("/run/ppm.sock"), Errno::EACCES, Some(0), 1000, &[]);
        assert_eq!(failure.code, Code::Forbidden);
        assert_eq!(failure.message, "not allowed to use /run/ppm.sock (it belongs to uid 0; you are uid 1000)");
        assert_eq!(failure.hints, ["run ppm as root, in a container with 'docker exec -u 0'"]);

        let hidden = Failure::unreachable(Path::new("/x/ppm.sock"), Errno::EACCES, None, 1000, &[]);
        assert_eq!(hidden.message, "not allowed to use /x/ppm.sock (you are uid 1000)");

        let other = Failure::unreachable(Path::new("/x/ppm.sock"), Errno::EACCES, Some(7), 1000, &[]);
        assert_eq!(other.hints, ["run ppm as root or as uid 7, in a container with 'docker exec -u 7'"]);
    }

    #[test]
    fn daemons_seen_elsewhere_come_before_the_advice_to_start_one() {
        let others = [Daemon { uid: 1000, path: "/run/user/1000/ppm.sock".into() }];
        let failure = Failure::unreachable(Path::new("/run/ppm.sock"), Errno::ECONNREFUSED, Some(0), 0, &others);
        assert_eq!(failure.message, "cannot reach the daemon at /run/ppm.sock: nobody listens there");
        assert_eq!(failure.hints[0], "there is a daemon of uid 1000 at /run/user/1000/ppm.sock");
        assert_eq!(failure.hints[1], "start it with 'ppm daemon', or name another socket with --socket or PPM_SOCKET");
    }

    #[test]
    fn a_daemon_that_is_silent_counts_as_unreachable() {
        let failure = Failure::silent(Path::new("/run/ppm.sock"), Duration::from_secs(5));
        assert_eq!((failure.code.number(), failure.message.as_str()), (6, "the daemon at /run/ppm.sock does not answer (waited 5s)"));
    }
}
