//! Commands that meet each other: the last one wins, and there is never more than one incarnation.

use ppm_core::event::Cause;
use ppm_protocol::{Signal, Status};

use crate::ask::{no_wait, remove, reschedule, restart, signal, start, stop};
use crate::story::{Span, by, code, done, failed, named, story, svc};

#[test]
fn a_restart_stops_waits_and_starts_r24() {
    story(svc())
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .after(1.s())
        .quiet()
        .exits(code(0))
        .starts_by(Cause::Request)
        .replies(done())
        .row(|row| assert_eq!((row.restarts, row.crashes), (1, 0)));
}

#[test]
fn a_restart_of_one_that_must_be_killed_starts_it_all_the_same_r24() {
    story(svc())
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .quiet()
        .reaps()
        .starts()
        .replies(done())
        .row(|row| assert_eq!(row.crashes, 0));
}

#[test]
fn restarts_that_come_together_are_one_r23() {
    story(svc())
        .starts()
        .ask("1", restart("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("2", restart("svc"))
        .client(2)
        .ask("3", restart("svc"))
        .exits(code(0))
        .spawns()
        .ask("4", restart("svc"))
        .comes_up()
        .answers("3", done())
        .answers("4", done())
        .client(1)
        .answers("1", done())
        .answers("2", done())
        .row(|row| assert_eq!(row.restarts, 1))
        .after(60.m());
}

#[test]
fn a_restart_of_a_stopped_service_starts_it() {
    story(svc().no_autostart()).request(restart("svc")).starts_by(Cause::Request).replies(done()).row(|row| assert!(row.active));
}

#[test]
fn a_stop_cancels_the_start_of_a_restart_r23() {
    story(svc())
        .starts()
        .ask("restart", restart("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("stop", stop("svc"))
        .answers("restart", failed("it was stopped by another request"))
        .exits(code(0))
        .answers("stop", done())
        .is(Status::Finished, "stopped by request")
        .after(60.m());
}

#[test]
fn a_reschedule_cancels_the_start_of_a_restart_r23() {
    story(svc().scheduled("0 * * * *"))
        .request(start("svc"))
        .starts()
        .replies(done())
        .ask("restart", restart("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("reschedule", reschedule("svc"))
        .answers("reschedule", done())
        .answers("restart", failed("it was rescheduled by another request"))
        .exits(code(0))
        .is(Status::Finished, "stopped by request")
        .after(55.m())
        .quiet();
}

#[test]
fn a_start_while_it_stops_comes_after_the_stop_r23() {
    story(svc())
        .starts()
        .ask("stop", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("start", start("svc"))
        .quiet()
        .exits(code(0))
        .answers("stop", done())
        .starts_by(Cause::Request)
        .answers("start", done());
}

#[test]
fn of_stop_start_stop_the_last_wins_r23() {
    story(svc())
        .starts()
        .ask("1", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("2", start("svc"))
        .ask("3", stop("svc"))
        .answers("2", failed("it was stopped by another request"))
        .exits(code(0))
        .answers("1", done())
        .answers("3", done())
        .after(60.m());
}

#[test]
fn a_start_that_overtakes_a_stop_while_it_starts_is_told_to_who_stopped_r23() {
    story(svc())
        .spawns()
        .ask("stop", stop("svc"))
        .ask("start", start("svc"))
        .answers("stop", failed("it was started by another request"))
        .comes_up()
        .answers("start", done())
        .after(60.m())
        .is(Status::Running, "started with the daemon");
}

#[test]
fn a_start_of_what_runs_changes_nothing_and_is_done() {
    story(svc()).starts().request(start("svc")).replies(done()).after(60.m()).row(|row| assert_eq!(row.restarts, 0));
}

#[test]
fn a_start_does_not_wait_when_asked_not_to() {
    story(svc().no_autostart()).request(no_wait(start("svc"))).replies(done()).starts().quiet();
}

#[test]
fn a_removed_service_is_stopped_first_and_then_gone() {
    story(svc())
        .starts()
        .request(remove("svc"))
        .asks_to_stop(Signal::TERM)
        .row(|row| assert!(!row.active))
        .exits(code(0))
        .replies(crate::story::changed(|changed| {
            assert_eq!(changed.services.len(), 1, "as it was last");
            assert_eq!(changed.services[0].status, Status::Finished);
        }))
        .vanished();
}

#[test]
fn what_is_removed_while_it_stops_is_gone_when_it_has_ended() {
    story(svc())
        .starts()
        .ask("stop", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("remove", remove("svc"))
        .quiet()
        .exits(code(0))
        .answers("stop", done())
        .answers("remove", done())
        .vanished();
}

#[test]
fn what_is_removed_while_it_backs_off_is_gone_at_once() {
    story(svc()).starts().exits(code(1)).request(remove("svc")).replies(done()).vanished().after(60.m());
}

#[test]
fn what_is_removed_while_it_starts_is_stopped_and_gone() {
    story(svc()).spawns().request(remove("svc")).quiet().comes_up().asks_to_stop(Signal::TERM).exits(code(0)).replies(done()).vanished();
}

#[test]
fn nothing_starts_what_is_being_removed() {
    story(svc())
        .starts()
        .ask("remove", remove("svc"))
        .asks_to_stop(Signal::TERM)
        .request(start("svc"))
        .replies(crate::story::refused(ppm_protocol::ErrorCode::Refused, "`svc` is being removed"))
        .exits(code(0))
        .answers("remove", done())
        .vanished();
}

#[test]
fn a_removed_service_is_in_the_answer_of_who_waits_for_another() {
    story([named("a").no_autostart(), named("b").no_autostart()])
        .ask("start", start("a b"))
        .starts()
        .ask("remove", remove("a"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .answers("remove", done())
        .on("b")
        .starts()
        .answers(
            "start",
            crate::story::changed(|changed| {
                let names: Vec<&str> = changed.services.iter().map(|row| row.name.as_str()).collect();
                assert_eq!(names, ["a", "b"]);
            }),
        );
}

#[test]
fn sigkill_is_answered_when_the_process_is_gone_and_any_other_signal_at_once() {
    story(svc())
        .starts()
        .request(signal(Signal::HUP, "svc"))
        .sends(Signal::HUP)
        .replies(done())
        .ask("kill", signal(Signal::KILL, "svc"))
        .sends(Signal::KILL)
        .quiet()
        .exits(by(Signal::KILL))
        .answers("kill", done())
        .is(Status::Crashed, "killed by SIGKILL, retry 1 in 1s");
}
