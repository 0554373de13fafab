//! What becomes of output when the configuration changes, and when log files are to be opened again.

use ppm_core::config::Config;
use ppm_core::event::{Action, Event, Own};
use ppm_core::logging::{LogChoice, LogKeys, Logger};
use ppm_core::spec::Settings;
use ppm_protocol::message::{Answer, ReadAgain, ReadLog};
use ppm_protocol::{ErrorCode, ReloadAction, Request, Signal};

use crate::ask::*;
use crate::story::*;

fn captured(files: u32) -> Settings {
    let keys = LogKeys { path: Some("/logs".to_owned()), max_files: Some(files), ..LogKeys::default() };
    Settings { logger: Some(keys), ..Settings::default() }
}

/// What `reload` does to the one service that is there when these settings take the place of others.
fn reload(before: Settings, after: Settings) -> Story {
    let config = Config { settings: after, services: vec![svc().0], ..Config::default() };
    story_with(before, svc()).starts().request(Request::Reload(ReadAgain { plan: false })).reads_config(Ok(config))
}

fn files_of(logger: Option<&Logger>) -> Option<u32> {
    logger?.files.as_ref().map(|files| files.limits.files)
}

fn is_set_logger(action: &Action) -> bool {
    matches!(action, Action::SetLogger { .. })
}

fn launched(story: &mut Story) -> Option<u32> {
    let Action::Spawn { launch, .. } = story.take("a spawn", |action| matches!(action, Action::Spawn { .. })) else { panic!() };
    files_of(launch.logger.as_ref())
}

#[test]
fn a_service_starts_with_its_own_keys_over_those_for_all() {
    let own = |choice: LogChoice| svc().with(|spec| spec.log = choice);
    let five = LogKeys { max_files: Some(5), ..LogKeys::default() };
    assert_eq!(launched(&mut story_with(captured(2), svc())), Some(2));
    assert_eq!(launched(&mut story_with(captured(2), own(LogChoice::Own(Box::new(five))))), Some(5));
    assert_eq!(launched(&mut story_with(captured(2), own(LogChoice::Inherit))), None);
    assert_eq!(launched(&mut story(svc())), None);
}

#[test]
fn other_limits_hold_at_once_without_a_restart() {
    let mut story = reload(captured(2), captured(3));
    let Action::SetLogger { launch, .. } = story.take("another logger", is_set_logger) else { panic!() };
    assert_eq!(files_of(launch.logger.as_ref()), Some(3));
    story.announces("reload: updated svc; logger").replies(|reply| {
        let Ok(Answer::Reload(reload)) = reply else { panic!("{reply:?}") };
        assert_eq!((reload.services[0].action, reload.services[0].changes.join(" ")), (ReloadAction::Update, "log".to_owned()));
    });
}

#[test]
fn capturing_begins_and_ends_with_a_restart() {
    let was = |before, after, change: &'static str| {
        reload(before, after).announces("reload: restarted svc; logger").asks_to_stop(Signal::TERM).exits(code(0)).starts().replies(
            move |reply| {
                let Ok(Answer::Reload(reload)) = reply else { panic!("{reply:?}") };
                assert_eq!((reload.services[0].action, reload.services[0].changes.join(" ")), (ReloadAction::Restart, change.to_owned()));
            },
        )
    };
    was(Settings::default(), captured(2), "log: not captured -> captured").quiet();
    let mut story = was(captured(2), Settings::default(), "log: captured -> not captured");
    story.take("its output to be forgotten", |action| matches!(action, Action::ForgetOutput { .. }));
    story.quiet();
}

fn log(services: &[&str]) -> Request {
    Request::Log(ReadLog { services: services.iter().map(|name| (*name).to_owned()).collect(), ..ReadLog::default() })
}

#[test]
fn logs_are_read_of_what_is_captured_and_of_the_daemon() {
    let mut story = story_with(captured(2), [svc(), named("plain").with(|spec| spec.log = LogChoice::Inherit)]).starts();
    story = story.on("plain").starts().request(log(&["all", "ppm-daemon"]));
    let Action::ReadLog { services, own, answer, .. } = story.take("a log to be read", |action| matches!(action, Action::ReadLog { .. }))
    else {
        panic!()
    };
    let names: Vec<&str> = services.iter().map(|(_, launch)| launch.name.as_str()).collect();
    assert_eq!((names, own), (vec!["svc"], Own::Meant));
    assert_eq!(answer.services, ["svc", "ppm-daemon"]);
}

#[test]
fn what_memory_keeps_of_a_service_goes_with_it_and_with_the_wish_for_it() {
    let forgotten = || Action::ForgetOutput { service: "svc".to_owned() };
    let kept = Settings { logger: Some(LogKeys { memory: Some(4096), ..LogKeys::default() }), ..Settings::default() };
    let mut story = story_with(kept.clone(), svc()).starts().request(remove("svc")).asks_to_stop(Signal::TERM).exits(code(0));
    story.take("its output to be forgotten", |action| *action == forgotten());
    story.replies(|reply| assert!(reply.is_ok()));
    let mut story = reload(kept.clone(), Settings::default()).asks_to_stop(Signal::TERM);
    story.take("its output to be forgotten", |action| *action == forgotten());
    story.exits(code(0)).starts().replies(|reply| assert!(reply.is_ok()));
    let mut story = reload(kept, captured(2));
    story.take("another logger", is_set_logger);
    story.replies(|reply| assert!(reply.is_ok()));
}

#[test]
fn what_goes_to_the_console_alone_cannot_be_read_again() {
    let console = Settings { logger: Some(LogKeys { console: Some(true), ..LogKeys::default() }), ..Settings::default() };
    let wanted = "there is no log of `svc`: it writes where the daemon writes";
    story_with(console, svc()).starts().request(log(&["svc"])).replies(refused(ErrorCode::Refused, wanted));
}

#[test]
fn a_service_that_is_not_captured_has_no_log_and_the_error_says_how_to_get_one() {
    story(svc()).starts().request(log(&["svc"])).replies(|reply| {
        let error = reply.as_ref().unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::Refused, "there is no log of `svc`: it writes where the daemon writes")
        );
        assert!(error.data.as_ref().unwrap()["hint"].as_str().unwrap().contains("logger: {path: "));
    });
    story(svc()).starts().request(log(&["other"])).replies(refused(ErrorCode::NoSuchService, "no such service `other`"));
}

#[test]
fn usr1_has_log_files_opened_again() {
    let mut story = story_with(captured(2), svc()).starts().event(Event::Signalled(Signal::USR1));
    story.take("log files to be opened again", |action| *action == Action::ReopenLogs);
    story.quiet();
}
