//! A service with whose end the daemon ends: which ends count, and with which exit code.

use ppm_core::event::{Event, NoStart};
use ppm_core::spec::RestartWhen;
use ppm_protocol::{Exit, Request, Signal, Status};

use crate::ask::{reload, remove, restart, start, stop};
use crate::story::{Span, Story, by, code, named, story, svc};

/// An essential service and one that is not, both running.
fn two() -> Story {
    story([named("main").essential(), named("side")]).starts().on("side").starts().on("main")
}

#[test]
fn its_end_asks_all_others_to_end_and_its_code_is_the_daemons_r28() {
    two()
        .exits(code(3))
        .announces("main is essential and has ended (exit code 3): stopping 1 services")
        .on("side")
        .asks_to_stop(Signal::TERM)
        .quiet()
        .exits(code(7))
        .leaves(3);
}

#[test]
fn every_code_is_passed_on_and_128_more_than_the_signal_r28() {
    let leaves = |exit: Exit, code| drop(story(svc().essential()).starts().exits(exit).leaves(code));
    for number in [0, 1, 2, 32, 64, 127, 254, 255] {
        leaves(code(number), number.try_into().unwrap());
    }
    for (name, expected) in [("TERM", 143), ("HUP", 129), ("QUIT", 131), ("KILL", 137), ("RTMAX", 192)] {
        leaves(by(name.parse().unwrap()), expected);
    }
}

#[test]
fn what_cannot_be_started_ends_the_daemon_as_a_shell_would_r3() {
    for number in [NoStart::NOT_FOUND, NoStart::NOT_EXECUTED] {
        let story = story(svc().essential()).spawns();
        let error = NoStart { why: "exec: no".to_owned(), code: number };
        let id = story.id();
        story.event(Event::SpawnFailed { id, part: ppm_core::event::Part::Main, error }).leaves(number);
    }
}

#[test]
fn only_an_end_after_which_nothing_starts_it_counts() {
    story(svc().essential().restart(RestartWhen::OnFailure).with(|spec| spec.restart.max_retries = 1))
        .starts()
        .exits(code(1))
        .quiet()
        .starts_after(1.s())
        .exits(code(2))
        .announces("svc is essential and has ended (exit code 2, gave up after 1 retries): stopping 0 services")
        .leaves(2);
    story(svc().essential().restart(RestartWhen::OnFailure)).starts().exits(code(1)).starts_after(1.s()).exits(code(0)).leaves(0);
    story(svc().essential().restart(RestartWhen::Always)).starts().exits(code(0)).starts_after(1.s());
}

#[test]
fn with_a_planned_time_to_come_it_has_not_ended() {
    story(svc().essential().scheduled("* * * * *"))
        .quiet()
        .after(55.s())
        .starts()
        .exits(code(1))
        .after(59.s())
        .quiet()
        .after(1.s())
        .starts();
}

#[test]
fn the_first_of_several_decides_r28() {
    let both = [named("a").essential(), named("b").essential()];
    story(both.clone()).starts().on("b").starts().exits(code(5)).on("a").asks_to_stop(Signal::TERM).exits(code(9)).leaves(5);
    story(both)
        .starts()
        .on("b")
        .starts()
        .event(Event::Signalled(Signal::QUIT))
        .sends(Signal::KILL)
        .reaps()
        .on("a")
        .sends(Signal::KILL)
        .reaps()
        .leaves(0);
}

#[test]
fn what_it_left_behind_ends_first() {
    two()
        .exits_leaving_others(code(4))
        .asks_to_stop(Signal::TERM)
        .quiet()
        .drains()
        .on("side")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .leaves(4);
}

#[test]
fn an_end_that_was_asked_for_does_not_end_the_daemon() {
    two()
        .request(stop("main"))
        .asks_to_stop(Signal::TERM)
        .exits(code(1))
        .replies(|reply| assert!(reply.is_ok()))
        .request(start("main"))
        .starts()
        .replies(|reply| assert!(reply.is_ok()))
        .request(restart("main"))
        .asks_to_stop(Signal::TERM)
        .exits(by(Signal::TERM))
        .starts()
        .replies(|reply| assert!(reply.is_ok()))
        .request(remove("main"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(|reply| assert!(reply.is_ok()))
        .on("side")
        .is(Status::Running, "started with the daemon");
}

#[test]
fn after_a_requested_shutdown_its_code_does_not_matter_r28() {
    for event in [Event::Signalled(Signal::TERM), Event::Signalled(Signal::INT)] {
        story(svc().essential()).starts().event(event).asks_to_stop(Signal::TERM).exits(code(1)).leaves(0);
    }
    story(svc().essential())
        .starts()
        .request(Request::Shutdown)
        .replies(|reply| assert!(reply.is_ok()))
        .asks_to_stop(Signal::TERM)
        .exits(code(1))
        .leaves(0);
}

#[test]
fn its_code_outlives_its_removal() {
    two()
        .exits(code(3))
        .request(remove("main"))
        .replies(|reply| assert!(reply.is_ok()))
        .on("side")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .leaves(3);
}

#[test]
fn a_reload_makes_a_service_essential_and_no_longer_so() {
    let made = story(svc().no_autostart()).event(Event::Signalled(Signal::HUP)).reads(svc().essential().no_autostart());
    let made = made.request(start("svc")).starts().replies(|reply| assert!(reply.is_ok()));
    let free = made.request(reload()).reads(svc().restart(RestartWhen::Never)).replies(|reply| assert!(reply.is_ok()));
    let kept = free.exits(code(1)).quiet().request(reload()).reads(svc().essential()).replies(|reply| assert!(reply.is_ok()));
    kept.request(start("svc")).starts().replies(|reply| assert!(reply.is_ok())).exits(code(6)).leaves(6);
}
