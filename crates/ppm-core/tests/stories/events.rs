//! What happened, and what happens: history and followers.

use ppm_core::event::{Action, ClientId, Event, From};
use ppm_protocol::message::{Answer, Watch};
use ppm_protocol::{ErrorCode, EventKind, EventRow, Request, Signal, Status};

use crate::ask::{add, events, remove, start, stop};
use crate::story::{Reply, Span, Story, code, done, named, story, svc};

fn history(check: impl Fn(&[EventRow])) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::History(history)) => check(&history.events),
        other => panic!("no history, but {other:?}"),
    }
}

fn kinds(expected: &'static [(&'static str, EventKind)]) -> impl Fn(&Reply) {
    history(move |rows| {
        let kinds: Vec<(&str, EventKind)> = rows.iter().map(|row| (row.service.as_str(), row.event)).collect();
        assert_eq!(kinds, expected);
    })
}

/// The next notification for this client.
fn hears(mut story: Story, client: u64, service: &str, kind: EventKind) -> Story {
    let is = |action: &Action| matches!(action, Action::Notify { to, .. } if to.client == ClientId(client));
    let Action::Notify { event, .. } = story.take(&format!("a notification for {client}"), is) else { unreachable!() };
    assert_eq!((event.service.as_str(), event.event), (service, kind));
    story
}

#[test]
fn history_is_told_oldest_first_and_only_of_the_services_meant() {
    story([named("a"), named("b")])
        .starts()
        .on("b")
        .starts()
        .exits(code(0))
        .request(Request::Events(events("", None)))
        .replies(kinds(&[("a", EventKind::Started), ("b", EventKind::Started), ("b", EventKind::Exited)]))
        .request(Request::Events(events("b", None)))
        .replies(kinds(&[("b", EventKind::Started), ("b", EventKind::Exited)]))
        .request(Request::Events(events("1", None)))
        .replies(kinds(&[("a", EventKind::Started)]))
        .request(Request::Events(events("[b-z]", Some(1))))
        .replies(kinds(&[("b", EventKind::Exited)]))
        .request(Request::Events(events("all", Some(0))))
        .replies(kinds(&[]))
        .request(Request::Events(events("nobody", None)))
        .replies(kinds(&[]));
}

#[test]
fn an_event_tells_the_states_before_and_after_the_exit_and_the_reason() {
    story(svc()).starts().exits(code(3)).request(Request::Events(events("", Some(2)))).replies(history(|rows| {
        let exited = &rows[0];
        assert_eq!((exited.from, exited.to, exited.pid, exited.exit), (Status::Running, Status::Crashed, Some(100), Some(code(3))));
        assert_eq!((exited.id, exited.reason.as_str()), (1, "exit code 3"));
        let planned = &rows[1];
        assert_eq!((planned.event, planned.from, planned.to), (EventKind::Planned, Status::Crashed, Status::Crashed));
        assert_eq!(planned.reason, "exit code 3, retry 1 in 1s");
    }));
}

#[test]
fn only_the_last_hundred_events_are_kept_r48() {
    let mut story = story(svc().interval(0.s()));
    for _ in 0..60 {
        story = story.starts().exits(code(1));
    }
    story.starts().request(Request::Events(events("", Some(1000)))).replies(history(|rows| assert_eq!(rows.len(), 100)));
}

#[test]
fn who_follows_hears_of_what_happens_from_then_on_and_of_nobody_else() {
    let follow = |services: &str| Request::Events(Watch { follow: true, ..events(services, Some(0)) });
    let story = story([named("a"), named("b")])
        .client(2)
        .request(follow("b"))
        .replies(kinds(&[]))
        .client(3)
        .request(follow(""))
        .replies(kinds(&[]))
        .client(1)
        .starts();
    let story = hears(story, 3, "a", EventKind::Started).on("b").starts();
    let story = hears(story, 2, "b", EventKind::Started);
    let story = hears(story, 3, "b", EventKind::Started).quiet().event(Event::Disconnected { client: ClientId(3) }).exits(code(0));
    let story = hears(story, 2, "b", EventKind::Exited).quiet();
    story.event(Event::Disconnected { client: ClientId(2) }).on("a").exits(code(0)).quiet();
}

#[test]
fn who_follows_hears_of_services_that_come_and_go() {
    let story = story(svc().no_autostart()).client(2).request(Request::Events(Watch { follow: true, ..events("ne*", None) }));
    let story = story.replies(kinds(&[])).client(1).request(Request::Add(add("new"))).on("new");
    let story = hears(story, 2, "new", EventKind::Added).starts().replies(done());
    let story = hears(story, 2, "new", EventKind::Started).request(remove("new")).asks_to_stop(Signal::TERM);
    let story = hears(story, 2, "new", EventKind::Stopping).exits(code(0)).replies(done());
    let story = hears(story, 2, "new", EventKind::Exited);
    hears(story, 2, "new", EventKind::Removed).quiet();
}

#[test]
fn to_follow_needs_a_call_that_can_be_answered() {
    let from = From { client: ClientId(1), call: None };
    let watch = Watch { follow: true, ..Watch::default() };
    let mut story = story(svc()).event(Event::Requested { from: from.clone(), request: Request::Events(watch) });
    let action = story.take("a refusal", |action| matches!(action, Action::Respond { to, .. } if *to == from));
    assert!(matches!(action, Action::Respond { result: Err(error), .. } if error.code == ErrorCode::Invalid));
    story.starts().quiet();
}

#[test]
fn the_whole_of_a_stop_can_be_followed() {
    story(svc().no_autostart())
        .request(start("svc"))
        .starts()
        .replies(done())
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits_leaving_others(code(0))
        .after(5.s())
        .sends(Signal::KILL)
        .drains()
        .replies(done())
        .told(&[
            (EventKind::Started, "request"),
            (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
            (EventKind::Exited, "stopped by request"),
            (EventKind::Killed, "SIGKILL to what it left behind"),
            (EventKind::Drained, "what it left behind has ended"),
        ]);
}
