//! The first start, and starts that fail.

use ppm_core::event::Cause;
use ppm_core::spec::RestartWhen;
use ppm_protocol::{EventKind, Status, Why};

use crate::ask::start;
use crate::story::{Span, code, done, failed, named, story, svc};

#[test]
fn every_service_starts_with_the_daemon() {
    story([named("a"), named("b")])
        .is(Status::Created, "starting")
        .starts_by(Cause::Boot)
        .is(Status::Running, "started with the daemon")
        .on("b")
        .starts_by(Cause::Boot);
}

#[test]
fn a_service_without_autostart_waits_for_its_start() {
    story(svc().no_autostart())
        .after(10.m())
        .is(Status::Created, "not started")
        .row(|row| assert!(!row.active))
        .request(start("svc"))
        .starts_by(Cause::Request)
        .replies(done())
        .is(Status::Running, "started by request")
        .row(|row| assert!(row.active && row.ready));
}

#[test]
fn many_services_start_in_portions_that_let_others_be_heard_r35() {
    let many: Vec<_> = (0..100).map(|n| named(&format!("s{n}"))).collect();
    let many: [_; 100] = many.try_into().ok().unwrap();
    let mut story = story(many);
    let mut ticks = 1;
    while story.supervisor.deadline().is_some() {
        story = story.event(ppm_core::event::Event::Tick);
        ticks += 1;
    }
    assert_eq!(ticks, 7, "16 a tick");
    for n in 0..100 {
        story = story.on(&format!("s{n}")).starts();
    }
}

#[test]
fn a_failed_exec_is_a_crash_with_its_own_words_r3() {
    story(svc())
        .fails_to_start("exec: no such file: foo")
        .is(Status::Crashed, "exec: no such file: foo, retry 1 in 1s")
        .row(|row| assert_eq!((row.exit, row.crashes, row.restarts, row.pid), (None, 1, 0, None)))
        .row(|row| assert_eq!(row.next_start.map(|next| next.why), Some(Why::Backoff)))
        .told(&[(EventKind::StartFailed, "exec: no such file: foo"), (EventKind::Planned, "exec: no such file: foo, retry 1 in 1s")])
        .starts_after(1.s())
        .is(Status::Running, "restarted after exec: no such file: foo");
}

#[test]
fn a_spawn_that_fails_for_want_of_memory_is_tried_again_and_again_r4() {
    let mut story = story(svc());
    for delay in [1, 2, 4, 8] {
        story = story.fails_to_start("fork: Resource temporarily unavailable").after(delay.s() - 1.ms()).quiet().after(1.ms());
    }
    story.starts().is(Status::Running, "restarted after fork: Resource temporarily unavailable");
}

#[test]
fn a_start_that_fails_is_answered_with_its_cause_and_tried_again_r3() {
    story(svc().no_autostart())
        .request(start("svc"))
        .fails_to_start("exec: permission denied: /etc/passwd")
        .replies(failed("exec: permission denied: /etc/passwd"))
        .is(Status::Crashed, "exec: permission denied: /etc/passwd, retry 1 in 1s")
        .starts_after(1.s());
}

#[test]
fn without_restarts_a_failed_start_is_the_end_of_it() {
    story(svc().restart(RestartWhen::Never))
        .fails_to_start("exec: no such file: foo")
        .after(10.m())
        .is(Status::Crashed, "exec: no such file: foo");
}

#[test]
fn a_reason_is_kept_short_whatever_the_path_r48() {
    let error: &'static str = Box::leak(format!("exec: no such file: /{}", "x".repeat(100_000)).into_boxed_str());
    story(svc()).fails_to_start(error).row(|row| assert!(row.reason.len() < 400, "{}", row.reason.len()));
}

#[test]
fn when_all_have_come_to_something_it_says_so_once() {
    let cast = [
        svc().interval(1.s()),
        named("task").restart(RestartWhen::Never),
        named("later").scheduled("5 3 * * *"),
        named("off").no_autostart(),
    ];
    story(cast)
        .starts()
        .on("task")
        .starts()
        .after(2.s())
        .exits(code(1))
        .welcomes("up in 0s: 2 ready, 1 waiting")
        .on("svc")
        .exits(code(1))
        .starts_after(1.s())
        .welcomes("up in 0s: 2 ready, 1 waiting");
}
