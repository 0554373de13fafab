//! Pause, resume, and any other signal.

use ppm_protocol::{EventKind, Signal, Status};

use crate::ask::{pause, resume, signal};
use crate::story::{Span, by, code, done, failed, named, sig, story, svc};

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
        .replies(done())
        .reaps()
        .is(Status::Crashed, "killed by SIGKILL, retry 1 in 1s")
        .starts_after(1.s());
}
