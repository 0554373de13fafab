//! The end of the daemon: orderly, in time, and with exactly one exit.

use ppm_core::event::{Event, Group};
use ppm_core::spec::Settings;
use ppm_protocol::message::{Answer, Goal};
use ppm_protocol::{ErrorCode, Request, Signal, Status};

use crate::ask::{add, list, remove, restart, signal, start, stats, stop, wait};
use crate::story::{Reply, Span, Story, by, code, done, failed, named, refused, story, story_with, svc};

fn farewell(stopping: usize) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Farewell(farewell)) => assert_eq!(farewell.stopping, stopping),
        other => panic!("no farewell, but {other:?}"),
    }
}

fn two() -> Story {
    story([named("a"), named("b")]).starts().on("b").starts()
}

#[test]
fn everybody_is_asked_to_end_and_the_daemon_leaves_with_the_last_r26() {
    two()
        .event(Event::Signalled(Signal::TERM))
        .announces("SIGTERM: stopping 2 services")
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .quiet()
        .on("b")
        .exits(by(Signal::TERM))
        .leaves(0);
}

#[test]
fn a_request_ends_the_daemon_and_is_answered_before_r26() {
    two()
        .request(Request::Shutdown)
        .replies(farewell(2))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .exits(code(1))
        .on("b")
        .exits_leaving_others(code(0))
        .quiet()
        .drains()
        .leaves(0);
}

#[test]
fn without_anything_to_stop_the_daemon_leaves_at_once() {
    story(svc().no_autostart()).request(Request::Shutdown).leaves(0).replies(farewell(0));
    story(svc()).starts().exits(code(0)).event(Event::Signalled(Signal::INT)).leaves(0);
}

#[test]
fn leaving_is_the_last_thing_the_daemon_does() {
    story([named("a"), named("b")])
        .starts()
        .exits(code(1))
        .on("b")
        .starts()
        .exits(code(1))
        .event(Event::Signalled(Signal::TERM))
        .leaves(0)
        .request(list(""))
        .event(Event::Tick)
        .event(Event::Signalled(Signal::TERM))
        .quiet()
        .look(|story| assert_eq!((story.supervisor.deadline(), story.supervisor.next_plan()), (None, None)));
}

#[test]
fn who_does_not_end_in_time_is_killed_and_reaped_r26() {
    let patient = named("b").with(|spec| spec.stop.timeout = 60.s());
    story([named("a"), patient])
        .starts()
        .on("b")
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .reaps()
        .after(3999.ms())
        .quiet()
        .after(1.ms())
        .on("b")
        .sends(Signal::KILL)
        .quiet()
        .reaps()
        .leaves(0);
}

#[test]
fn the_daemon_says_who_used_the_time_r26() {
    story([named("a"), named("b"), named("c")])
        .starts()
        .on("b")
        .starts()
        .on("c")
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .announces("SIGTERM: stopping 3 services")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("a")
        .asks_to_stop(Signal::TERM)
        .after(2.s())
        .exits(code(0))
        .on("b")
        .asks_to_stop(Signal::TERM)
        .after(3.s())
        .sends(Signal::KILL)
        .reaps()
        .leaves(0)
        .announces("stopped 3 services in 5s: b took 5s and had to be killed, a took 2s");
}

#[test]
fn who_is_killed_without_waiting_is_not_said_to_have_overrun_its_time_r27() {
    two()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::QUIT))
        .is(Status::Running, "no time was left to wait for it, SIGKILL sent")
        .sends(Signal::KILL)
        .reaps()
        .is(Status::Crashed, "killed: no time was left to wait for it")
        .on("b")
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn a_stop_that_may_take_longer_than_the_shutdown_is_told_at_the_start() {
    let text = "`svc`: its stop timeout of 1m is cut short when the daemon ends: shutdown_timeout is 9s";
    story(svc().with(|spec| spec.stop.timeout = 60.s())).announces(text).starts();
}

#[test]
fn the_time_for_the_whole_shutdown_can_be_set() {
    let settings = Settings { shutdown_timeout: 2.s(), ..Settings::default() };
    story_with(settings, svc())
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .after(2.s())
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn the_daemon_does_not_wait_for_the_unkillable_r25() {
    two()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("b")
        .after(5.s())
        .sends(Signal::KILL)
        .after(4.s())
        .quiet()
        .after(499.ms())
        .quiet()
        .after(1.ms())
        .leaves(0);
}

#[test]
fn a_second_term_changes_nothing_r27() {
    story(svc())
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::TERM))
        .event(Event::Signalled(Signal::TERM))
        .quiet()
        .after(1.s())
        .event(Event::Signalled(Signal::TERM))
        .quiet()
        .after(4.s())
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn a_second_int_kills_everything_now_r27() {
    two()
        .event(Event::Signalled(Signal::INT))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::INT))
        .sends(Signal::KILL)
        .reaps()
        .on("b")
        .sends(Signal::KILL)
        .quiet()
        .reaps()
        .leaves(0);
}

#[test]
fn an_int_after_a_term_is_the_first_r27() {
    story(svc())
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::INT))
        .quiet()
        .event(Event::Signalled(Signal::INT))
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn a_quit_kills_everything_now_r27() {
    two()
        .event(Event::Signalled(Signal::QUIT))
        .announces("no time left: SIGKILL to a, b")
        .sends(Signal::KILL)
        .reaps()
        .on("a")
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn a_quit_kills_what_a_process_left_behind_too_r27() {
    story(svc())
        .starts()
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::QUIT))
        .sends(Signal::KILL)
        .drains()
        .leaves(0);
}

#[test]
fn nothing_starts_during_the_shutdown_r26() {
    let refusal = "the daemon is shutting down; nothing is started any more";
    story([named("a"), named("crashed")])
        .starts()
        .on("crashed")
        .starts()
        .exits(code(1))
        .on("a")
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .request(start("crashed"))
        .replies(refused(ErrorCode::Refused, refusal))
        .request(restart("a"))
        .replies(refused(ErrorCode::Refused, refusal))
        .request(Request::Add(add("new")))
        .replies(refused(ErrorCode::Refused, refusal))
        .request(Request::Shutdown)
        .replies(farewell(1))
        .after(3.s())
        .quiet()
        .exits(code(1))
        .leaves(0);
}

#[test]
fn what_shows_and_what_stops_is_answered_during_the_shutdown() {
    story(svc())
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .request(list(""))
        .replies(|reply| assert!(matches!(reply, Ok(Answer::Services(rows)) if rows.len() == 1)))
        .request(signal(Signal::HUP, "svc"))
        .sends(Signal::HUP)
        .replies(done())
        .ask("stop", stop("svc"))
        .ask("remove", remove("svc"))
        .quiet()
        .exits(code(0))
        .leaves(0)
        .answers("stop", done())
        .answers("remove", done());
}

#[test]
fn a_spawn_that_succeeds_during_the_shutdown_is_stopped_r26() {
    story(svc()).spawns().event(Event::Signalled(Signal::TERM)).quiet().comes_up().asks_to_stop(Signal::TERM).exits(code(0)).leaves(0);
}

#[test]
fn a_spawn_that_fails_during_the_shutdown_is_the_end_of_it_r26() {
    let story = story(svc()).spawns().event(Event::Signalled(Signal::TERM)).quiet();
    let id = story.id();
    story.event(Event::SpawnFailed { id, part: ppm_core::event::Part::Main, error: "exec: no such file".to_owned().into() }).leaves(0);
}

#[test]
fn a_spawn_that_succeeds_when_there_is_no_time_left_is_killed_r26() {
    story(svc())
        .spawns()
        .event(Event::Signalled(Signal::QUIT))
        .quiet()
        .comes_up()
        .asks_to_stop(Signal::TERM)
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn services_that_have_not_been_started_yet_are_not_started_by_a_shutdown_r26() {
    let many: Vec<_> = (0..40).map(|n| named(&format!("s{n}"))).collect();
    let many: [_; 40] = many.try_into().ok().unwrap();
    let mut story = story(many).event(Event::Signalled(Signal::QUIT));
    for n in 0..16 {
        story = story.on(&format!("s{n}")).spawns();
        let id = story.id();
        story = story.event(Event::SpawnFailed { id, part: ppm_core::event::Part::Main, error: "exec".to_owned().into() });
    }
    story.leaves(0);
}

#[test]
fn whoever_still_waits_when_the_daemon_leaves_is_answered() {
    two()
        .ask("wait", wait("b", Goal::Finished, None))
        .ask("stats", stats("b"))
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .on("a")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("b")
        .ask("stop", stop("b"))
        .samples()
        .after(5.s())
        .sends(Signal::KILL)
        .after(4500.ms())
        .leaves(0)
        .answers("wait", refused(ErrorCode::Refused, "the daemon has shut down"))
        .answers("stats", refused(ErrorCode::Refused, "the daemon has shut down"))
        .answers("stop", refused(ErrorCode::Refused, "the daemon has shut down"));
}

#[test]
fn who_waits_for_a_start_hears_that_it_will_not_come() {
    story(svc())
        .starts()
        .ask("restart", restart("svc"))
        .asks_to_stop(Signal::TERM)
        .event(Event::Signalled(Signal::TERM))
        .answers("restart", failed("it was stopped by another request"))
        .event(Event::Exited { pid: ppm_core::event::Pid(100), exit: code(0), group: Group::Empty, peak: None })
        .leaves(0);
}

#[test]
fn signals_of_no_concern_are_ignored_r30() {
    let mut story = story(svc()).starts();
    for name in ["USR2", "WINCH", "TSTP", "CHLD", "RTMIN"] {
        story = story.event(Event::Signalled(crate::story::sig(name))).quiet();
    }
}
