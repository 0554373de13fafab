//! `wait`: until services have got somewhere, cannot any more, or time is up.

use ppm_protocol::message::Goal;
use ppm_protocol::{ErrorCode, Signal};

use crate::ask::{add, remove, start, stop, wait};
use crate::story::{Span, code, done, named, refused, story, svc};

#[test]
fn what_is_reached_already_is_answered_at_once() {
    for goal in [Goal::Running, Goal::Ready] {
        story(svc()).starts().request(wait("svc", goal, None)).replies(done());
    }
    story(svc()).starts().exits(code(0)).request(wait("svc", Goal::Finished, None)).replies(done());
    story(svc()).starts().exits(code(0)).request(wait("svc", Goal::Stopped, None)).replies(done());
    story(svc().no_autostart()).request(wait("svc", Goal::Stopped, None)).replies(done());
}

#[test]
fn each_goal_is_answered_when_it_is_reached() {
    for goal in [Goal::Running, Goal::Ready] {
        story(svc()).spawns().request(wait("svc", goal, None)).quiet().comes_up().replies(done());
    }
    for goal in [Goal::Finished, Goal::Stopped] {
        story(svc()).starts().request(wait("svc", goal, None)).after(60.m()).quiet().exits(code(0)).replies(done());
    }
}

#[test]
fn a_service_that_backs_off_has_no_process() {
    story(svc()).starts().request(wait("svc", Goal::Stopped, None)).exits(code(1)).replies(done());
}

#[test]
fn a_wait_lasts_through_crashes_while_there_is_hope() {
    story(svc())
        .starts()
        .request(wait("svc", Goal::Finished, None))
        .exits(code(1))
        .quiet()
        .starts_after(1.s())
        .exits(code(0))
        .replies(done());
}

#[test]
fn what_has_given_up_will_not_be_ready() {
    story(svc().with(|spec| spec.restart.max_retries = 1))
        .starts()
        .exits(code(1))
        .request(wait("svc", Goal::Ready, None))
        .after(1.s())
        .fails_to_start("exec: no such file: svc")
        .replies(refused(ErrorCode::NotReached, "`svc` will not be ready: Crashed, exec: no such file: svc, gave up after 1 retries"));
}

#[test]
fn what_finished_will_not_run() {
    story(svc())
        .starts()
        .exits(code(0))
        .request(wait("svc", Goal::Running, Some(10.s())))
        .replies(refused(ErrorCode::NotReached, "`svc` will not be running: Finished, exit code 0"));
}

#[test]
fn what_was_killed_when_stopped_is_not_finished() {
    story(svc())
        .starts()
        .request(wait("svc", Goal::Finished, None))
        .ask("stop", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .reaps()
        .answers("stop", done())
        .replies(refused(ErrorCode::NotReached, "`svc` will not be finished: Crashed, killed: did not stop within 5s"));
}

#[test]
fn time_is_up_to_the_millisecond_and_says_what_is_missing() {
    story(svc())
        .starts()
        .exits(code(1))
        .request(wait("svc", Goal::Finished, Some(300.ms())))
        .after(299.ms())
        .quiet()
        .after(1.ms())
        .replies(refused(ErrorCode::TimedOut, "`svc` is not finished yet: Crashed, exit code 1, retry 1 in 700ms"))
        .starts_after(700.ms());
}

#[test]
fn no_time_at_all_is_a_question() {
    story(svc())
        .spawns()
        .request(wait("svc", Goal::Running, Some(0.s())))
        .replies(refused(ErrorCode::TimedOut, "`svc` is not running yet: Created, starting"))
        .comes_up();
}

#[test]
fn what_is_removed_cannot_be_reached_but_has_stopped() {
    story(svc())
        .starts()
        .ask("finished", wait("svc", Goal::Finished, None))
        .ask("stopped", wait("svc", Goal::Stopped, None))
        .ask("ready", wait("svc", Goal::Ready, None))
        .answers("ready", done())
        .ask("remove", remove("svc"))
        .asks_to_stop(Signal::TERM)
        .exits_leaving_others(code(0))
        .drains()
        .answers("remove", done())
        .answers("stopped", done())
        .answers("finished", done());
}

#[test]
fn who_waits_for_a_start_of_what_is_removed_hears_of_it() {
    story(svc().no_autostart())
        .request(wait("svc", Goal::Running, None))
        .replies(refused(ErrorCode::NotReached, "`svc` will not be running: Created, not started"));
    story(svc())
        .starts()
        .exits(code(1))
        .request(wait("svc", Goal::Running, None))
        .ask("remove", remove("svc"))
        .answers("remove", done())
        .replies(refused(ErrorCode::NotReached, "`svc` will not be running: Crashed, exit code 1"));
}

#[test]
fn a_wait_for_several_is_answered_by_the_last() {
    story([named("a"), named("b")]).request(wait("*", Goal::Running, None)).starts().on("b").spawns().quiet().comes_up().replies(done());
}

#[test]
fn a_wait_for_several_fails_with_the_first() {
    story([named("a"), named("b").restart(ppm_core::spec::RestartWhen::Never)])
        .request(wait("a b", Goal::Running, None))
        .on("b")
        .fails_to_start("exec: no such file: b")
        .replies(refused(ErrorCode::NotReached, "`b` will not be running: Crashed, exec: no such file: b"))
        .on("a")
        .starts();
}

#[test]
fn who_waits_for_what_was_added_without_a_start_is_told_so() {
    story(svc().no_autostart())
        .request(ppm_protocol::Request::Add(ppm_protocol::message::AddService { start: false, ..add("new") }))
        .replies(done())
        .on("new")
        .row(|row| assert!(!row.active))
        .request(wait("new", Goal::Running, None))
        .replies(refused(ErrorCode::NotReached, "`new` will not be running: Created, not started"));
}

#[test]
fn what_is_planned_for_a_time_that_is_over_will_not_run() {
    story(svc().scheduled("0 0 0 1 1 * 2020"))
        .request(wait("svc", Goal::Running, None))
        .replies(refused(ErrorCode::NotReached, "`svc` will not be running: Created, its schedule has no time left"));
}

#[test]
fn a_client_that_is_gone_gets_no_answer() {
    story(svc().no_autostart())
        .client(2)
        .ask("start", start("svc"))
        .spawns()
        .ask("wait", wait("svc", Goal::Finished, Some(10.s())))
        .event(ppm_core::event::Event::Disconnected { client: ppm_core::event::ClientId(2) })
        .comes_up()
        .after(60.s())
        .exits(code(0))
        .quiet()
        .look(|story| assert!(story.supervisor.pending().is_empty()));
}
