//! A service is all of its processes: those that have left its group end with it too, and what is nobody's ends with
//! the daemon.

use ppm_core::event::{Cause, Event};
use ppm_core::service::STRAYS_AFTER;
use ppm_core::spec::Reach;
use ppm_protocol::{Signal, Status};

use crate::ask::{pause, restart, resume, signal, stop};
use crate::story::{Span, code, done, story, svc};

#[test]
fn who_ends_at_once_is_not_searched_for_strays_r21() {
    story(svc())
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(STRAYS_AFTER - 1.ms())
        .asks_no_strays()
        .exits(code(0))
        .replies(done())
        .after(60.m())
        .asks_no_strays();
}

#[test]
fn who_takes_its_time_to_stop_has_its_strays_asked_once_r21() {
    story(svc().with(|spec| spec.stop.signal = Signal::QUIT))
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::QUIT)
        .after(STRAYS_AFTER)
        .asks_strays(Signal::QUIT)
        .request(stop("svc"))
        .after(4.s())
        .asks_no_strays()
        .quiet();
}

#[test]
fn a_grace_shorter_than_the_search_goes_straight_to_sigkill() {
    story(svc().with(|spec| spec.stop.timeout = 10.ms()))
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .after(10.ms())
        .sends(Signal::KILL)
        .reaps()
        .replies(done())
        .asks_no_strays();
}

#[test]
fn strays_are_asked_when_the_main_process_has_ended_by_itself_and_nothing_starts_before_they_have_ended_r69() {
    story(svc().interval(0.ms()))
        .starts()
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .after(STRAYS_AFTER)
        .asks_strays(Signal::TERM)
        .quiet()
        .drains()
        .starts_by(Cause::Backoff);
}

#[test]
fn strays_that_are_left_by_a_stop_are_asked_even_if_others_were_before_r21() {
    story(svc())
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .after(1.s())
        .asks_strays(Signal::TERM)
        .exits_leaving_others(code(0))
        .after(STRAYS_AFTER)
        .asks_strays(Signal::TERM)
        .quiet()
        .drains()
        .starts_by(Cause::Request)
        .replies(done());
}

#[test]
fn without_group_strays_are_asked_when_the_main_process_has_ended_r21() {
    story(svc().with(|spec| spec.stop.reach = Reach::Leader))
        .starts()
        .request(stop("svc"))
        .sends_to(Signal::TERM, Reach::Leader)
        .sends_to(Signal::CONT, Reach::Group)
        .after(1.s())
        .asks_no_strays()
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .after(STRAYS_AFTER)
        .asks_strays(Signal::TERM)
        .drains()
        .replies(done());
}

#[test]
fn strays_that_turn_up_late_are_asked_too_and_killed_at_the_end_of_the_same_grace_r21() {
    story(svc())
        .starts()
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .after(STRAYS_AFTER)
        .asks_strays(Signal::TERM)
        .strays_turn_up()
        .strays_turn_up()
        .after(STRAYS_AFTER)
        .asks_strays(Signal::TERM)
        .after(4.s())
        .quiet()
        .after(1.s())
        .sends(Signal::KILL)
        .drains();
}

#[test]
fn strays_that_turn_up_after_sigkill_get_it_too_r21() {
    let mut story = story(svc()).starts().exits_leaving_others(code(1)).asks_to_stop(Signal::TERM).after(5.s()).sends(Signal::KILL);
    for _ in 0..2 {
        story = story.strays_turn_up();
        let id = story.id();
        story.take("SIGKILL to strays", |action| {
            *action == ppm_core::event::Action::KillStrays { id, part: ppm_core::event::Part::Main, signal: Signal::KILL }
        });
    }
    story.quiet().drains().starts_by(Cause::Backoff);
}

#[test]
fn a_signal_a_pause_and_its_end_reach_strays_too() {
    story(svc())
        .starts()
        .request(signal(Signal::HUP, "svc"))
        .sends(Signal::HUP)
        .replies(done())
        .request(pause("svc"))
        .sends(Signal::STOP)
        .paused()
        .replies(done())
        .request(resume("svc"))
        .sends(Signal::CONT)
        .resumed()
        .replies(done());
}

#[test]
fn a_service_that_goes_into_the_background_is_told_to_stay_in_the_foreground_r68() {
    story(svc())
        .starts()
        .exits_leaving_others(code(0))
        .asks_to_stop(Signal::TERM)
        .drains()
        .is(Status::Finished, "exit code 0, but it left processes behind: run it in the foreground");
}

#[test]
fn what_is_nobodys_is_asked_when_all_services_have_ended_and_waited_for_r26() {
    story(svc())
        .starts()
        .adopts_strangers()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .after(1.s())
        .quiet()
        .exits(code(0))
        .sweeps(Signal::TERM)
        .after(7.s())
        .quiet()
        .last_child_ends()
        .leaves(0);
}

#[test]
fn what_is_nobodys_is_killed_when_the_time_of_the_shutdown_is_over_r26() {
    story(svc())
        .starts()
        .adopts_strangers()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .sweeps(Signal::TERM)
        .after(9.s())
        .sweeps(Signal::KILL)
        .after(499.ms())
        .quiet()
        .after(1.ms())
        .leaves(0);
}

#[test]
fn a_second_interrupt_kills_what_is_nobodys_at_once_r27() {
    story(svc())
        .starts()
        .adopts_strangers()
        .event(Event::Signalled(Signal::INT))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .sweeps(Signal::TERM)
        .event(Event::Signalled(Signal::INT))
        .sweeps(Signal::KILL)
        .last_child_ends()
        .leaves(0);
}

#[test]
fn what_is_nobodys_concerns_no_service_while_the_daemon_runs_r17() {
    story(svc()).starts().adopts_strangers().last_child_ends().is(Status::Running, "started with the daemon").quiet();
}
