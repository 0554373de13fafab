//! Pause, resume, and any other signal.

use ppm_protocol::{ErrorCode, EventKind, Signal, Status};

use crate::ask::{no_wait, pause, resume, signal, stop};
use crate::story::{Span, by, code, done, failed, named, refused, sig, story, svc};

#[test]
fn a_paused_service_is_stopped_until_it_is_resumed_r16() {
    story(svc())
        .starts()
        .ask("pause", pause("svc"))
        .sends(Signal::STOP)
        .quiet()
        .paused()
        .answers("pause", done())
        .is(Status::Stopped, "paused by a stop signal")
        .row(|row| assert!(row.active && !row.ready && row.pid.is_some()))
        .ask("resume", resume("svc"))
        .sends(Signal::CONT)
        .quiet()
        .resumed()
        .answers("resume", done())
        .is(Status::Running, "started with the daemon")
        .told(&[(EventKind::Started, "boot"), (EventKind::Paused, "paused by a stop signal"), (EventKind::Resumed, "")]);
}

#[test]
fn a_process_that_stops_itself_is_shown_as_stopped_r16() {
    story(svc()).starts().paused().is(Status::Stopped, "paused by a stop signal").resumed().row(|row| assert!(row.ready));
}

#[test]
fn a_paused_process_may_die() {
    story(svc()).starts().paused().exits(by(Signal::KILL)).is(Status::Crashed, "killed by SIGKILL, retry 1 in 1s").starts_after(1.s());
}

#[test]
fn what_does_not_run_is_neither_paused_nor_resumed() {
    for request in [pause("svc"), resume("svc")] {
        story(svc().no_autostart()).request(request).replies(failed("it is not running"));
    }
}

#[test]
fn what_is_being_stopped_is_neither_paused_nor_resumed() {
    story(svc())
        .starts()
        .ask("stop", stop("svc"))
        .asks_to_stop(Signal::TERM)
        .request(pause("svc"))
        .replies(failed("it is being stopped"))
        .request(resume("svc"))
        .replies(failed("it is being stopped"))
        .exits(code(0))
        .answers("stop", done());
}

#[test]
fn of_a_pause_and_a_resume_that_come_together_the_last_wins_r23() {
    story(svc())
        .starts()
        .request(no_wait(pause("svc")))
        .replies(done())
        .sends(Signal::STOP)
        .request(no_wait(resume("svc")))
        .replies(done())
        .sends(Signal::CONT)
        .paused()
        .resumed()
        .request(no_wait(pause("svc")))
        .replies(done())
        .sends(Signal::STOP)
        .paused()
        .request(no_wait(resume("svc")))
        .replies(done())
        .sends(Signal::CONT)
        .request(no_wait(pause("svc")))
        .replies(done())
        .sends(Signal::STOP);
}

#[test]
fn a_pause_that_the_kernel_does_not_tell_of_is_answered_in_the_end_r16() {
    story(svc())
        .starts()
        .request(pause("svc"))
        .sends(Signal::STOP)
        .after(4999.ms())
        .quiet()
        .after(1.ms())
        .replies(refused(ErrorCode::TimedOut, "waited too long"));
}

#[test]
fn a_pause_is_answered_when_the_process_ends_instead() {
    story(svc())
        .starts()
        .request(pause("svc"))
        .sends(Signal::STOP)
        .exits(code(0))
        .replies(failed("it is not running"))
        .is(Status::Finished, "exit code 0");
}

#[test]
fn a_signal_goes_to_the_whole_service() {
    story(svc()).starts().request(signal(Signal::HUP, "svc")).sends(Signal::HUP).replies(done());
    story(svc()).starts().request(signal(sig("RTMIN+3"), "1")).sends(sig("RTMIN+3")).replies(done());
}

#[test]
fn a_signal_for_what_does_not_run_fails_and_reaches_the_others() {
    story([named("a").no_autostart(), named("b")])
        .on("b")
        .starts()
        .request(signal(sig("USR1"), "all"))
        .sends(sig("USR1"))
        .replies(failed("it is not running"));
}

#[test]
fn a_kill_by_hand_is_a_crash_like_any_other() {
    story(svc())
        .starts()
        .request(signal(Signal::KILL, "svc"))
        .sends(Signal::KILL)
        .reaps()
        .replies(done())
        .is(Status::Crashed, "killed by SIGKILL, retry 1 in 1s")
        .starts_after(1.s());
}

#[test]
fn a_signal_reaches_what_a_process_left_behind() {
    story(svc())
        .starts()
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .request(signal(Signal::KILL, "svc"))
        .sends(Signal::KILL)
        .replies(done())
        .drains();
}
