//! What a process leaves behind: others of its group are asked to end, then killed, before anything starts again.

use ppm_core::event::Cause;
use ppm_core::spec::Reach;
use ppm_protocol::{EventKind, Signal, Status};

use crate::ask::{restart, start, stop};
use crate::story::{Span, code, done, failed, story, svc};

#[test]
fn what_a_crashed_process_left_behind_is_asked_to_end_then_killed_r21() {
    story(svc())
        .starts()
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .is(Status::Running, "exit code 1; ending what it left behind, SIGKILL in 5s")
        .row(|row| assert_eq!((row.pid, row.exit, row.ready), (None, Some(code(1)), false)))
        .after(4999.ms())
        .quiet()
        .after(1.ms())
        .sends(Signal::KILL)
        .is(Status::Running, "exit code 1; killed what it left behind")
        .drains()
        .starts_by(Cause::Backoff);
}

#[test]
fn nothing_starts_before_the_old_group_is_empty_r24() {
    story(svc())
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .exits_leaving_others(code(0))
        .quiet()
        .after(1.s())
        .quiet()
        .drains()
        .starts_by(Cause::Request)
        .replies(done());
}

#[test]
fn what_a_stopped_process_left_behind_has_the_rest_of_its_grace_r21() {
    story(svc())
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(2.s())
        .exits_leaving_others(code(0))
        .is(Status::Running, "stopped by request; ending what it left behind, SIGKILL in 3s")
        .after(2999.ms())
        .quiet()
        .after(1.ms())
        .sends(Signal::KILL)
        .drains()
        .replies(done())
        .is(Status::Finished, "stopped by request");
}

#[test]
fn without_group_what_is_left_behind_is_asked_before_it_is_killed_r21() {
    story(svc().with(|spec| spec.stop.reach = Reach::Leader))
        .starts()
        .request(stop("svc"))
        .sends_to(Signal::TERM, Reach::Leader)
        .sends_to(Signal::CONT, Reach::Group)
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .drains()
        .replies(done());
}

#[test]
fn what_a_killed_process_left_behind_is_killed_at_once() {
    story(svc())
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .exits_leaving_others(crate::story::by(Signal::KILL))
        .sends(Signal::KILL)
        .drains()
        .replies(done())
        .is(Status::Crashed, "killed: did not stop within 5s");
}

#[test]
fn leftovers_that_survive_sigkill_are_told_of_once_and_nothing_starts_beside_them_r25() {
    story(svc())
        .starts()
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .told(&[(EventKind::Started, "boot"), (EventKind::Exited, "exit code 1"), (EventKind::Killed, "SIGKILL to what it left behind")])
        .after(5.s())
        .sends(Signal::KILL)
        .told(&[(EventKind::Stuck, "what it left behind is still there 5s after SIGKILL")])
        .is(Status::Running, "exit code 1; killed what it left behind, but the kernel does not let it go")
        .request(stop("svc"))
        .replies(failed("still there 5s after SIGKILL"))
        .request(start("svc"))
        .replies(failed("still there 5s after SIGKILL"))
        .after(5.s())
        .sends(Signal::KILL)
        .told(&[])
        .quiet()
        .drains()
        .starts_by(Cause::Request);
}

#[test]
fn a_stop_while_it_drains_cancels_the_restart_r23() {
    story(svc())
        .starts()
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .request(stop("svc"))
        .quiet()
        .drains()
        .replies(done())
        .is(Status::Crashed, "exit code 1")
        .after(60.m());
}

#[test]
fn a_start_while_it_drains_comes_when_it_has_drained_without_a_delay_r23() {
    story(svc())
        .starts()
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .request(start("svc"))
        .quiet()
        .drains()
        .starts_by(Cause::Request)
        .replies(done());
}
