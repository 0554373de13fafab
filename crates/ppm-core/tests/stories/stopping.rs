//! Stopping: in every state, obeyed or not.

use ppm_core::event::Cause;
use ppm_core::spec::{Reach, RestartWhen};
use ppm_protocol::{EventKind, Signal, Status};

use crate::ask::{no_wait, start, stop};
use crate::story::{Span, Story, by, code, done, failed, sig, story, svc};

#[test]
fn a_service_that_ignores_term_is_killed_after_its_grace_r20() {
    story(svc())
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .is(Status::Running, "stopping: SIGTERM sent, SIGKILL in 5s")
        .after(4999.ms())
        .quiet()
        .after(1.ms())
        .sends(Signal::KILL)
        .is(Status::Running, "did not stop within 5s, SIGKILL sent")
        .reaps()
        .replies(done())
        .after(60.m());
}

#[test]
fn the_polite_signal_and_the_grace_are_those_of_the_service_r20() {
    let own = svc().with(|spec| {
        spec.stop.signal = sig("QUIT");
        spec.stop.timeout = 300.ms();
    });
    story(own)
        .starts()
        .request(stop("svc"))
        .asks_to_stop(sig("QUIT"))
        .is(Status::Running, "stopping: SIGQUIT sent, SIGKILL in 300ms")
        .after(300.ms())
        .sends(Signal::KILL)
        .reaps()
        .replies(done());
}

#[test]
fn a_service_that_obeyed_is_finished_whatever_its_exit_code_r18() {
    for exit in [code(0), code(1), code(143), by(Signal::TERM)] {
        story(svc())
            .starts()
            .request(stop("svc"))
            .asks_to_stop(Signal::TERM)
            .exits(exit)
            .replies(done())
            .is(Status::Finished, "stopped by request")
            .row(|row| assert_eq!((row.active, row.crashes, row.exit), (false, 0, Some(exit))))
            .after(60.m());
    }
}

#[test]
fn a_service_that_died_of_its_own_stop_signal_obeyed() {
    story(svc().with(|spec| spec.stop.signal = Signal::INT))
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::INT)
        .exits(by(Signal::INT))
        .replies(done())
        .is(Status::Finished, "stopped by request");
}

#[test]
fn a_service_that_had_to_be_killed_is_crashed_but_counts_no_crash_r18() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .reaps()
        .replies(done())
        .is(Status::Crashed, "killed: did not stop within 5s")
        .row(|row| assert_eq!((row.active, row.crashes), (false, 1)))
        .after(60.m());
}

#[test]
fn a_service_that_crashes_while_it_stops_is_crashed_and_stays_down() {
    story(svc().restart(RestartWhen::Always))
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(by(sig("SEGV")))
        .replies(done())
        .is(Status::Crashed, "killed by SIGSEGV while stopping")
        .row(|row| assert_eq!((row.active, row.crashes), (false, 0)))
        .after(60.m());
}

#[test]
fn a_paused_service_is_woken_to_be_stopped_r20() {
    story(svc())
        .starts()
        .paused()
        .is(Status::Stopped, "paused by a stop signal")
        .request(stop("svc"))
        .sends_to(Signal::TERM, Reach::Group)
        .sends_to(Signal::CONT, Reach::Group)
        .is(Status::Running, "stopping: SIGTERM sent, SIGKILL in 5s")
        .resumed()
        .exits(by(Signal::TERM))
        .replies(done())
        .is(Status::Finished, "stopped by request");
}

#[test]
fn a_stop_while_it_backs_off_cancels_the_restart_and_keeps_the_state_r23() {
    story(svc())
        .starts()
        .exits(code(1))
        .told(&[(EventKind::Started, "boot"), (EventKind::Exited, "exit code 1"), (EventKind::Planned, "exit code 1, retry 1 in 1s")])
        .request(stop("svc"))
        .replies(done())
        .told(&[(EventKind::Deactivated, "stopped by request")])
        .is(Status::Crashed, "exit code 1")
        .row(|row| assert_eq!((row.active, row.next_start), (false, None)))
        .after(60.m());
}

#[test]
fn a_stop_of_what_does_not_run_is_done_and_keeps_the_state() {
    story(svc().no_autostart()).request(stop("svc")).replies(done()).is(Status::Created, "not started");
    story(svc()).starts().exits(code(0)).request(stop("svc")).replies(done()).is(Status::Finished, "exit code 0");
}

#[test]
fn a_stop_while_it_starts_ends_it_as_soon_as_it_runs_r23() {
    story(svc())
        .spawns()
        .request(stop("svc"))
        .quiet()
        .row(|row| assert!(!row.active))
        .comes_up()
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .is(Status::Finished, "stopped by request")
        .after(60.m());
}

#[test]
fn a_stop_while_its_start_fails_leaves_it_down_r23() {
    let story = story(svc()).spawns().request(stop("svc")).quiet();
    let id = story.id();
    story
        .event(ppm_core::event::Event::SpawnFailed {
            id,
            part: ppm_core::event::Part::Main,
            error: "exec: no such file: svc".to_owned().into(),
        })
        .replies(done())
        .is(Status::Crashed, "exec: no such file: svc")
        .after(60.m());
}

#[test]
fn a_second_stop_does_not_lengthen_the_grace() {
    story(svc())
        .starts()
        .ask("first", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(4.s())
        .ask("second", stop("svc"))
        .quiet()
        .after(1.s())
        .sends(Signal::KILL)
        .ask("third", stop("svc"))
        .reaps()
        .answers("first", done())
        .answers("second", done())
        .answers("third", done());
}

#[test]
fn a_stop_that_does_not_wait_is_answered_at_once_and_done_all_the_same() {
    story(svc())
        .starts()
        .request(no_wait(stop("svc")))
        .replies(done())
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .is(Status::Finished, "stopped by request");
}

/// A service that survives SIGKILL, and is known to.
fn stuck() -> Story {
    story(svc())
        .starts()
        .ask("stop", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .told(&[(EventKind::Started, "boot"), (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"), (EventKind::Killed, "SIGKILL")])
        .after(5.s())
        .told(&[(EventKind::Stuck, "still there 5s after SIGKILL")])
        .is(Status::Running, "killed, but the kernel does not let it go")
}

#[test]
fn a_stuck_process_is_told_of_and_its_stop_answered_r25() {
    stuck()
        .answers("stop", failed("still there 5s after SIGKILL"))
        .request(stop("svc"))
        .replies(failed("still there 5s after SIGKILL"))
        .after(60.m())
        .reaps()
        .is(Status::Crashed, "killed: did not stop within 5s");
}

#[test]
fn no_second_copy_is_started_beside_a_stuck_one_r25() {
    stuck()
        .answers("stop", failed("still there 5s after SIGKILL"))
        .request(start("svc"))
        .replies(failed("still there 5s after SIGKILL"))
        .after(60.m())
        .quiet()
        .reaps()
        .starts_by(Cause::Request);
}

#[test]
fn without_group_only_the_main_process_is_asked_but_all_are_woken_and_killed() {
    story(svc().with(|spec| spec.stop.reach = Reach::Leader))
        .starts()
        .request(stop("svc"))
        .sends_to(Signal::TERM, Reach::Leader)
        .sends_to(Signal::CONT, Reach::Group)
        .after(5.s())
        .asks_no_strays()
        .sends(Signal::KILL)
        .reaps()
        .replies(done());
}

#[test]
fn a_stopped_service_is_not_restarted_by_always_r39() {
    story(svc().restart(RestartWhen::Always))
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .after(60.m())
        .is(Status::Finished, "stopped by request");
}
