//! Reports for those who only look, and where they may look.

use std::time::Duration;

use ppm_core::config::Config;
use ppm_core::event::{Action, Cause, Detail, Event, NoListener, ServiceId, Whose};
use ppm_core::listen::Listen;
use ppm_core::report::{Depth, Report};
use ppm_core::spec::Settings;
use ppm_core::usage::Usage;
use ppm_protocol::message::Answer;
use ppm_protocol::{ErrorCode, Exit, Request, Signal, Status};

use crate::ask::reload;
use crate::story::{Cast, Span, Story, code, named, refused, story, svc};

fn asks(story: Story, depth: Depth) -> Story {
    story.event(Event::ReportAsked { number: 7, depth })
}

fn reported(mut story: Story, check: impl Fn(&Report)) -> Story {
    let action = story.take("a report", |action| matches!(action, Action::Report { number: 7, .. }));
    let Action::Report { report, .. } = action else { unreachable!() };
    check(&report);
    story
}

/// The reading that was asked for is taken: everybody has used this much CPU time.
fn read(mut story: Story, cpu_ms: u64) -> Story {
    let asked = story.take("a reading", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, whose, detail, .. } = asked else { unreachable!() };
    assert_eq!(detail, Detail::Cheap);
    let usage = |whose: Whose| (whose, Usage { at: story.now.mono, cpu: Duration::from_millis(cpu_ms), ..Usage::default() });
    let usages = whose.into_iter().map(usage).collect();
    story.event(Event::Sampled { sample, usages, container: None })
}

fn cpu(report: &Report) -> Option<u128> {
    Some(report.services[0].figures.as_ref()?.usage?.cpu.as_millis())
}

#[test]
fn how_services_are_is_told_at_once_and_reads_nothing() {
    let story = story([svc(), named("other").no_autostart()]).on("svc").starts();
    reported(asks(story, Depth::State), |report| {
        let rows: Vec<_> = report.services.iter().map(|service| (service.row.name.as_str(), service.row.status, service.is_well)).collect();
        assert_eq!(rows, [("svc", Status::Running, true), ("other", Status::Created, true)]);
        assert!(report.services.iter().all(|service| service.figures.is_none()) && report.own.is_none());
        assert_eq!((report.version.as_str(), report.pid, report.is_ending, report.is_configured), ("1.2.3", 1, false, true));
    })
    .quiet();
}

#[test]
fn figures_are_read_when_they_are_asked_for_but_not_twice_a_second() {
    let story = asks(story(svc()).starts(), Depth::Figures);
    let story = reported(read(story, 1000), |report| {
        assert_eq!((cpu(report), report.own.map(|own| own.cpu.as_millis())), (Some(1000), Some(1000)))
    });
    let story = reported(asks(story.after(999.ms()), Depth::Figures), |report| assert_eq!(cpu(report), Some(1000)));
    let story = asks(story.after(1.ms()), Depth::Figures);
    // A process that ended while all were read may be missing from the sum: counters never go back.
    reported(read(story, 900), |report| assert_eq!(cpu(report), Some(1000)));
}

#[test]
fn what_has_happened_is_counted() {
    let story = story(svc()).starts().exits(code(1)).after(1.s()).starts().exits(Exit::Signal(Signal::KILL)).after(2.s());
    let story = asks(story.fails_to_start("exec: no such file: x"), Depth::Figures);
    reported(read(story, 1), |report| {
        let figures = report.services[0].figures.as_ref().unwrap();
        let exits: Vec<_> = figures.tally.exits.iter().map(|(exit, count)| (*exit, *count)).collect();
        assert_eq!(exits, [(Exit::Code(1), 1), (Exit::Signal(Signal::KILL), 1)]);
        let restarts: Vec<_> = figures.tally.restarts.iter().map(|(cause, count)| (*cause, *count)).collect();
        assert_eq!((restarts.as_slice(), figures.tally.failed_starts), ([(Cause::Backoff, 1)].as_slice(), 1));
        assert_eq!((figures.ended_well, figures.tally.succeeded, figures.usage), (Some(false), None, None));
    });
}

#[test]
fn the_end_shows_as_soon_as_it_begins() {
    let story = story(svc()).starts().request(Request::Shutdown).asks_to_stop(Signal::TERM).replies(|_| ());
    let story = reported(asks(story, Depth::State), |report| assert!(report.is_ending));
    story.exits(code(0)).leaves(0);
}

/// The configuration is read again, and wants this.
fn wants(story: Story, http: &str) -> Story {
    let settings = Settings { http: Listen::parse(http).ok(), ..Settings::default() };
    story.request(reload()).reads_config(Ok(Config { settings, services: svc().list(), ..Config::default() }))
}

fn listens(mut story: Story, at: &str, outcome: Result<(), NoListener>) -> Story {
    let action = story.take("to listen", |action| matches!(action, Action::Listen { .. }));
    let Action::Listen { read, at: found } = action else { unreachable!() };
    assert_eq!(found, Listen::parse(at).ok());
    story.event(Event::Listened { read, outcome })
}

fn busy() -> Result<(), NoListener> {
    Err(NoListener { message: "cannot answer HTTP at 127.0.0.1:80: address in use".to_owned(), hint: "choose another port" })
}

#[test]
fn another_address_is_taken_before_anything_else_is_changed() {
    let story = wants(story(svc()).starts(), "127.0.0.1:80");
    let story = listens(story, "127.0.0.1:80", Ok(())).announces("reload: http: none -> 127.0.0.1:80");
    let story = story.replies(|reply| assert!(matches!(reply, Ok(Answer::Reload(reload)) if reload.applied), "{reply:?}"));
    let story = wants(story, "127.0.0.1:80").announces("reload: nothing has changed").replies(|_| ());
    listens(wants(story, ""), "", Ok(())).announces("reload: http: 127.0.0.1:80 -> none").replies(|_| ()).quiet();
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing_and_is_tried_again_with_the_next_reload() {
    let mut story = story(svc()).starts();
    for _ in 0..2 {
        let message = "cannot answer HTTP at 127.0.0.1:80: address in use; nothing was changed";
        story = listens(wants(story, "127.0.0.1:80"), "127.0.0.1:80", busy())
            .announces(&format!("reload: {message}"))
            .replies(refused(ErrorCode::Refused, message));
        story = reported(asks(story, Depth::State), |report| assert!(!report.is_configured));
    }
    let story =
        listens(wants(story, "127.0.0.1:80"), "127.0.0.1:80", Ok(())).announces("reload: http: none -> 127.0.0.1:80").replies(|_| ());
    reported(asks(story, Depth::State), |report| assert!(report.is_configured));
}

#[test]
fn a_reload_that_comes_while_one_waits_for_its_address_has_its_turn_after_it() {
    let story = wants(story(svc()).starts(), "127.0.0.1:80").client(2).request(reload()).client(1);
    let story = listens(story, "127.0.0.1:80", Ok(())).announces("reload: http: none -> 127.0.0.1:80").replies(|_| ());
    let settings = Settings { http: Listen::parse("127.0.0.1:80").ok(), ..Settings::default() };
    let story = story.reads_config(Ok(Config { settings, services: svc().list(), ..Config::default() }));
    story.announces("reload: nothing has changed").client(2).replies(|_| ());
}

#[test]
fn an_end_that_comes_meanwhile_gives_the_old_address_back() {
    let story = wants(story(svc()).starts(), "127.0.0.1:80")
        .client(2)
        .request(Request::Shutdown)
        .asks_to_stop(Signal::TERM)
        .replies(|_| ())
        .client(1);
    let story = listens(story, "127.0.0.1:80", Ok(()));
    let story = listens(story, "", Ok(())).replies(refused(ErrorCode::Refused, "the daemon is shutting down; nothing is started any more"));
    let story = story.announces("reload: the daemon is shutting down; nothing is started any more");
    assert_eq!(story.supervisor.service(ServiceId(1)).unwrap().status(), Status::Running);
    story.exits(code(0)).leaves(0);
}
