//! `why` and `health`: what happened, and whether all is well.

use std::time::Duration;

use ppm_core::event::{Action, ClientId, Event};
use ppm_core::journal::KEPT_EACH;
use ppm_core::logging::{LogChoice, LogKeys};
use ppm_core::spec::{RestartWhen, Settings};
use ppm_protocol::message::{Answer, Selection};
use ppm_protocol::{EventKind, EventRow, Request, Signal};

use crate::ask::{remove, stop, why};
use crate::story::{Reply, Span, code, done, named, story, story_with, svc};

fn life(check: impl Fn(&[EventRow])) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Lives(lives)) => check(&lives[0].events),
        other => panic!("no lives, but {other:#?}"),
    }
}

fn health(expected: &'static [bool]) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Health(health)) => {
            let each: Vec<bool> = health.services.iter().map(|row| row.healthy).collect();
            assert_eq!((each.as_slice(), health.healthy), (expected, !expected.contains(&false)), "{health:#?}");
        }
        other => panic!("no health, but {other:#?}"),
    }
}

fn asked_health() -> Request {
    Request::Health(Selection::default())
}

#[test]
fn a_life_tells_what_happened_how_long_it_ran_and_who_asked() {
    story([svc(), named("other")])
        .starts()
        .on("other")
        .starts()
        .on("svc")
        .after(4.s())
        .exits(code(3))
        .starts_after(1.s())
        .event(Event::Connected { client: ClientId(1), uid: 1000 })
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .request(why("svc"))
        .replies(life(|events| {
            let told: Vec<_> = events.iter().map(|row| (row.event, row.reason.as_str(), row.ran_ms, row.uid)).collect();
            let expected = [
                (EventKind::Started, "boot", None, None),
                (EventKind::Exited, "exit code 3", Some(4000), None),
                (EventKind::Planned, "exit code 3, retry 1 in 1s", None, None),
                (EventKind::Started, "backoff", None, None),
                (EventKind::Stopping, "SIGTERM, SIGKILL in 5s", None, Some(1000)),
                (EventKind::Exited, "stopped by request", Some(0), None),
            ];
            assert_eq!(told, expected);
        }));
}

#[test]
fn a_life_is_bounded_and_one_service_does_not_push_out_another_r48() {
    let mut story = story([svc().interval(0.ms()), named("quiet")]).starts().on("quiet").starts().on("svc");
    for _ in 0..KEPT_EACH {
        story = story.exits(code(1)).starts();
    }
    story
        .ask("svc", why("svc"))
        .answers("svc", life(|events| assert_eq!(events.len(), KEPT_EACH)))
        .ask("quiet", why("quiet"))
        .answers("quiet", life(|events| assert_eq!(events[0].event, EventKind::Started)));
}

#[test]
fn a_removed_service_leaves_no_life_behind() {
    story(svc())
        .starts()
        .request(remove("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .request(Request::Add(crate::ask::add("svc")))
        .starts()
        .replies(done())
        .request(why("svc"))
        .replies(life(|events| assert_eq!(events[0].event, EventKind::Added)));
}

#[test]
fn running_finished_scheduled_and_stopped_services_are_well() {
    story([svc(), named("task"), named("nightly").scheduled("0 3 * * *"), named("off").no_autostart()])
        .starts()
        .on("task")
        .starts()
        .exits(code(0))
        .request(asked_health())
        .replies(health(&[true, true, true, true]));
}

#[test]
fn services_that_do_not_run_as_they_should_are_not_well() {
    story([svc(), named("dead").restart(RestartWhen::Never), named("frozen")])
        .starts()
        .exits(code(1))
        .on("dead")
        .starts()
        .exits(code(1))
        .on("frozen")
        .starts()
        .paused()
        .request(asked_health())
        .replies(health(&[false, false, false]))
        .on("svc")
        .starts_after(1.s())
        .request(Request::Health(Selection { services: vec!["svc".to_owned()] }))
        .replies(health(&[true]));
}

#[test]
fn of_the_last_ends_the_output_is_read_where_it_is_kept() {
    let kept = LogKeys { memory: Some(4096), ..LogKeys::default() };
    let kept = Settings { logger: Some(kept), ..Settings::default() };
    let silent = named("silent").with(|spec| spec.log = LogChoice::Inherit);
    let mut story = story_with(kept, [svc().interval(Duration::ZERO), silent]).starts().on("silent").starts().exits(code(0)).on("svc");
    let mut pids = Vec::new();
    for _ in 0..5 {
        pids.push(story.pid().0);
        story = story.exits(code(1)).starts();
    }
    story = story.request(why("all"));
    let Action::TellLives { lives, kept, .. } = story.take("lives to be told", |action| matches!(action, Action::TellLives { .. })) else {
        panic!()
    };
    let asked: Vec<Vec<i32>> = lives.iter().map(|life| life.output.iter().map(|words| words.pid).collect()).collect();
    assert_eq!(asked, [pids[2..].to_vec(), Vec::new()]);
    assert_eq!(kept.iter().map(|(_, launch)| launch.name.as_str()).collect::<Vec<_>>(), ["svc"]);
}
