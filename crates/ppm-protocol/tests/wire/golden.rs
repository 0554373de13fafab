//! Every message against its file, both ways; what an older or a newer side would send is read all the same.

use ppm_protocol::line::encode;
use ppm_protocol::message::{Answer, Asked, Call, Heard, Notification};
use ppm_protocol::{EventRow, LogLine, Method, Reply, Request, RpcId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::values::{Line, files, folder, values};

/// `GOLDEN=new` writes the files that do not exist yet; one that exists is never touched.
#[test]
fn every_message_is_its_golden_file_and_every_golden_file_its_message() {
    let mut files = files();
    for (name, value) in values() {
        let line = bytes(&value);
        if !files.contains_key(&name) && std::env::var_os("GOLDEN").is_some_and(|mode| mode == "new") {
            std::fs::write(folder().join(format!("{name}.json")), &line).unwrap();
            continue;
        }
        let file = files.remove(&name).unwrap_or_else(|| panic!("{name}.json is missing; GOLDEN=new writes it"));
        assert_eq!(text(&line), text(&file), "{name}.json");
        check(&name, &file, &value);
    }
    assert!(files.is_empty(), "files of no message: {:?}", files.keys());
}

#[test]
fn fields_of_a_newer_writer_are_ignored_wherever_they_stand() {
    for (name, value) in values() {
        let line: Value = serde_json::from_slice(&bytes(&value)).unwrap();
        check(&name, &encode(&with_new_fields(&line)), &value);
    }
}

#[test]
fn a_field_that_is_null_may_as_well_be_missing() {
    for (name, value) in values() {
        let line: Value = serde_json::from_slice(&bytes(&value)).unwrap();
        check(&name, &encode(&without_nulls(&line)), &value);
    }
}

#[test]
fn what_a_request_leaves_out_has_its_default() {
    let table = [
        (r#"{"id":1,"method":"list"}"#, "request-list-all"),
        (r#"{"id":1,"method":"list","params":null}"#, "request-list-all"),
        (r#"{"id":1,"method":"list","params":{}}"#, "request-list-all"),
        (r#"{"id":1,"method":"events"}"#, "request-events-all"),
        (r#"{"id":1,"method":"start","params":{"services":["web"]}}"#, "request-start"),
        (r#"{"id":1,"method":"add","params":{"name":"hello","command":["/app/hello"]}}"#, "request-add-least"),
        (r#"{"id":1,"method":"wait","params":{"services":["web","db"],"for":"running"}}"#, "request-wait-forever"),
        (r#" {"params":{"x":[1]} ,	"method":"shutdown","id":"\u0031"}"#, "request-shutdown"),
    ];
    let values = values();
    for (line, name) in table {
        let Line::Call(_, request) = &values[name] else { panic!("{name} is no request") };
        assert_eq!(Asked::read(Ok(line.as_bytes())).request.as_ref(), Ok(request), "{line}");
    }
}

/// The line on the wire.
fn bytes(value: &Line) -> Vec<u8> {
    match value {
        Line::Call(id, request) => Call::new(*id, request).line(),
        Line::Reply(_, reply) => reply.line(),
        Line::Event(row) => Notification::event(row).line(),
        Line::Log(line) => Notification::log(line).line(),
        Line::End(end) => Notification::end(end).line(),
    }
}

/// The line means the value.
fn check(name: &str, line: &[u8], value: &Line) {
    match value {
        Line::Call(id, request) => {
            let asked = Asked { id: Some(RpcId::Number(*id)), request: Ok(request.clone()) };
            assert_eq!(Asked::read(Ok(line)), asked, "{name}");
        }
        Line::Reply(method, reply) => match <Heard>::read(line) {
            Ok(Heard::Reply { id, result }) => {
                let result = result.map(|answer| read_answer(*method, &answer));
                assert_eq!(Reply { id, result }, *reply, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        },
        Line::Event(row) => match <Heard>::read(line) {
            Ok(Heard::Event(heard)) => assert_eq!(serde_json::from_str::<EventRow>(heard.get()).unwrap(), *row, "{name}"),
            other => panic!("{name}: {other:?}"),
        },
        Line::Log(line_of_log) => match Heard::<Box<RawValue>>::read(line) {
            Ok(Heard::Line(heard)) => assert_eq!(serde_json::from_str::<LogLine>(heard.get()).unwrap(), *line_of_log, "{name}"),
            other => panic!("{name}: {other:?}"),
        },
        Line::End(end) => match Heard::<Box<RawValue>>::read(line) {
            Ok(Heard::End(heard)) => assert_eq!(heard, *end, "{name}"),
            other => panic!("{name}: {other:?}"),
        },
    }
}

fn read_answer(method: Method, answer: &RawValue) -> Answer {
    fn read<T: DeserializeOwned>(answer: &RawValue) -> T {
        serde_json::from_str(answer.get()).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
    match method {
        Method::Hello => Answer::Greeting(read(answer)),
        Method::List => Answer::Services(read(answer)),
        Method::Info => Answer::Infos(read(answer)),
        Method::Add | Method::Remove | Method::Start | Method::Stop | Method::Restart => Answer::Changed(read(answer)),
        Method::Reschedule | Method::Pause | Method::Resume | Method::Signal | Method::Wait => Answer::Changed(read(answer)),
        Method::Stats => Answer::Stats(read(answer)),
        Method::Configuration => Answer::Configuration(read(answer)),
        Method::Scheduler => Answer::Plans(read(answer)),
        Method::Events => Answer::History(read(answer)),
        Method::Log => Answer::Log(read(answer)),
        Method::Health => Answer::Health(read(answer)),
        Method::Why => Answer::Lives(read(answer)),
        Method::History => Answer::Histories(read(answer)),
        Method::Runs => Answer::Runs(read(answer)),
        Method::Watched => Answer::Watched(read(answer)),
        Method::Reload => Answer::Reload(read(answer)),
        Method::Check => Answer::Checked(read(answer)),
        Method::Exec | Method::Run => Answer::Executed(read(answer)),
        Method::Forward => Answer::Forwarded(read(answer)),
        Method::Shutdown => Answer::Farewell(read(answer)),
    }
}

/// The document with an unknown field at both ends of every object whose keys are not the user's own.
fn with_new_fields(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(with_new_fields).collect(),
        Value::Object(fields) => {
            let unknown = serde_json::json!({"services": [null, 1.5e300], "code": "\u{0}"});
            let known = fields.iter().map(|(key, value)| match key.as_str() {
                "env" | "data" => (key.clone(), value.clone()),
                _ => (key.clone(), with_new_fields(value)),
            });
            let ends = [("!new".to_owned(), unknown.clone()), ("~new".to_owned(), unknown)];
            known.chain(ends).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Object(fields) => {
            // Of all nulls only this one is not the same as nothing: it asks for an answer.
            let kept = fields.iter().filter(|(key, value)| key.as_str() == "id" || !value.is_null());
            kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn text(line: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(line)
}

/// Not in the files, since a client of ours never sends one.
#[test]
fn a_request_without_an_id_is_never_answered() {
    let asked = Asked::read(Ok(br#"{"jsonrpc":"2.0","method":"shutdown"}"#));
    assert_eq!(asked, Asked { id: None, request: Ok(Request::Shutdown) });
}
