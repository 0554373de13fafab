//! What a daemon of another version says is understood as far as it can be, and never refused.
//!
//! The files in `newer` hold states, events, fields and methods that there are not yet, those in `older` lack what came
//! later. They stay as they are when the protocol grows; a word that comes into use is replaced by another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ppm_protocol::message::Heard;
use ppm_protocol::{
    Changed, Checked, ErrorCode, EventKind, EventRow, Exit, Greeting, Life, PlanEvent, PlanRow, Reload, ReloadAction, RpcError, RpcId,
    ServiceRow, Status, Why, Word,
};
use serde::de::DeserializeOwned;

/// The lines of a folder by their names.
fn said(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())).collect()
}

fn answered(line: &[u8]) -> Result<String, RpcError> {
    match <Heard>::read(line.trim_ascii_end()).unwrap() {
        Heard::Reply { id: RpcId::Number(1), result } => result.map(|result| result.get().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn answer<T: DeserializeOwned>(line: &[u8]) -> T {
    serde_json::from_str(&answered(line).unwrap()).unwrap()
}

fn event(line: &[u8]) -> EventRow {
    match <Heard>::read(line.trim_ascii_end()).unwrap() {
        Heard::Event(event) => serde_json::from_str(event.get()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_a_newer_daemon_says_is_kept_as_it_is() {
    let newer = said("newer");
    let degraded = Status::Other(Word::new("degraded"));

    let [web] = answer::<Vec<ServiceRow>>(&newer["list"]).try_into().unwrap();
    assert_eq!((web.status, web.exit), (degraded, None));
    assert_eq!(web.next_start.unwrap().why, Why::Other(Word::new("health")));
    assert_eq!(serde_json::to_value(&web).unwrap()["status"], "degraded");

    let [life] = answer::<Vec<Life>>(&newer["why"]).try_into().unwrap();
    let lost = EventKind::Other(Word::new("worker_lost"));
    assert_eq!((life.events[0].event, life.events[0].to, life.events[0].exit), (lost, degraded, None));
    assert_eq!((lost.to_string(), degraded.to_string()), ("worker_lost".to_owned(), "degraded".to_owned()));

    let event = event(&newer["event"]);
    assert_eq!((event.event, event.from, event.to, event.exit), (lost, Status::Running, degraded, Some(Exit::Code(7))));

    let reload: Reload = answer(&newer["reload"]);
    assert_eq!(reload.services[0].action, ReloadAction::Other(Word::new("migrate")));
    let [plan] = answer::<Vec<PlanRow>>(&newer["scheduler"]).try_into().unwrap();
    assert_eq!(plan.event, PlanEvent::Other(Word::new("health_check")));
    assert_eq!(answer::<Greeting>(&newer["hello"]).version, "9.0.0-rc.1");
    let error = answered(&newer["error"]).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Other(1099), "the quota of restarts is used up"));
    assert!(matches!(<Heard>::read(&newer["notification"]), Ok(Heard::Unknown)));
    assert_eq!(newer.len(), 8, "a file is not looked at");
}

#[test]
fn what_an_older_daemon_does_not_say_has_its_default() {
    let older = said("older");
    assert_eq!(answer::<Changed>(&older["stop"]), Changed::default());
    assert_eq!(answer::<Checked>(&older["check"]), Checked { services: 2, warnings: Vec::new() });
    assert_eq!(answer::<Reload>(&older["reload"]).failed, []);
    let [plan] = answer::<Vec<PlanRow>>(&older["scheduler"]).try_into().unwrap();
    assert_eq!((plan.last.as_str(), plan.rule.as_str()), ("", ""));
    let event = event(&older["event"]);
    assert_eq!((event.uid, event.ran_ms), (None, None));
    assert_eq!(answered(&older["error"]).unwrap_err().code, ErrorCode::UnknownMethod);
    assert_eq!(older.len(), 6, "a file is not looked at");
}
