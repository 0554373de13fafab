//! What follows when a process ends by itself: the restart policy and its delays.

use ppm_core::event::{Cause, Event, Group, Pid};
use ppm_core::spec::RestartWhen;
use ppm_protocol::{EventKind, Exit, Signal, Status, Why};

use crate::ask::{reschedule, start, stop};
use crate::story::{Span, Story, by, code, done, sig, story, story_with, svc};

/// The delays before the restarts of a process that crashes as soon as it runs.
fn delays(mut story: Story, crashes: usize) -> Vec<u64> {
    let mut delays = Vec::new();
    story = story.starts();
    for _ in 0..crashes {
        story = story.exits(code(1));
        let from = story.now.mono;
        let at = story.supervisor.deadline().expect("a restart is planned");
        delays.push(u64::try_from(at.since(from).as_millis()).unwrap());
        story = story.after(at.since(from)).starts_by(Cause::Backoff);
    }
    delays
}

#[test]
fn r47_a_death_that_the_kernel_counts_as_its_own_is_named_as_such() {
    let kills = |kills| Event::OomKills { kills };
    story(svc())
        .event(kills(3))
        .starts()
        .event(kills(3))
        .exits(by(Signal::KILL))
        .is(Status::Crashed, "killed by SIGKILL, retry 1 in 1s")
        .starts_after(1.s())
        .event(kills(4))
        .exits(by(Signal::KILL))
        .is(Status::Crashed, "killed by the kernel: out of memory, retry 2 in 2s")
        .starts_after(2.s())
        .event(kills(5))
        .exits(code(137))
        .is(Status::Crashed, "exit code 137: out of memory, retry 3 in 4s")
        .starts_after(4.s())
        .event(kills(6))
        .event(Event::Exited { pid: Pid(4000), exit: by(Signal::KILL), group: Group::Empty, peak: None })
        .exits(by(Signal::KILL))
        .is(Status::Crashed, "killed by SIGKILL, retry 4 in 8s");
}

#[test]
fn r47_who_is_killed_for_want_of_memory_while_it_stops_did_not_obey() {
    story(svc())
        .event(Event::OomKills { kills: 0 })
        .starts()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .event(Event::OomKills { kills: 1 })
        .exits(by(Signal::KILL))
        .replies(done())
        .is(Status::Crashed, "killed by the kernel: out of memory");
}

#[test]
fn crashes_are_followed_by_restarts_after_1_2_4_8_times_the_interval_r34() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(1))
        .starts_after(2.s())
        .exits(by(sig("SEGV")))
        .starts_after(4.s())
        .exits(code(255))
        .starts_after(8.s());
}

#[test]
fn delays_stop_growing_at_the_longest_r34() {
    let capped = svc().with(|spec| spec.restart.max_interval = 5.s());
    assert_eq!(delays(story(capped), 6), [1000, 2000, 4000, 5000, 5000, 5000]);
    assert_eq!(delays(story(svc()), 40).last(), Some(&300_000), "five minutes, also after forty crashes");
}

#[test]
fn jitter_lengthens_a_delay_by_at_most_its_share_and_never_beyond_the_cap_r34() {
    let jittery = svc().with(|spec| {
        spec.restart.jitter_percent = 50;
        spec.restart.max_interval = 100.s();
    });
    let delays = delays(story(jittery), 12);
    for (n, delay) in (0..).zip(&delays) {
        let plain = (1000_u64 << n).min(100_000);
        assert!((plain..=(plain * 3 / 2).min(100_000)).contains(delay), "crash {n}: {delay}");
    }
    assert!(delays[..6].iter().any(|delay| delay % 1000 != 0), "chance plays a part: {delays:?}");
}

#[test]
fn the_reason_counts_the_retry_and_the_time_to_it() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(1))
        .starts_after(2.s())
        .exits(code(1))
        .is(Status::Crashed, "exit code 1, retry 3 in 4s")
        .after(100.ms())
        .is(Status::Crashed, "exit code 1, retry 3 in 3.9s")
        .row(|row| assert_eq!((row.crashes, row.restarts, row.exit), (3, 2, Some(Exit::Code(1)))))
        .row(|row| assert_eq!((row.active, row.ready, row.pid, row.uptime_ms), (true, false, None, None)))
        .request(stop("svc"))
        .replies(done());
}

#[test]
fn a_run_longer_than_reset_after_makes_earlier_crashes_forgotten_r34() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(1))
        .starts_after(2.s())
        .row(|row| assert_eq!(row.crashes, 2))
        .after(60.s())
        .row(|row| assert_eq!(row.crashes, 2, "not longer than reset_after yet"))
        .after(1.ms())
        .row(|row| assert_eq!(row.crashes, 0, "even while it runs"))
        .exits(code(1))
        .row(|row| assert_eq!(row.crashes, 1))
        .starts_after(1.s());
}

#[test]
fn a_run_just_as_long_as_reset_after_changes_nothing_r34() {
    story(svc()).starts().exits(code(1)).starts_after(1.s()).after(60.s()).exits(code(1)).starts_after(2.s());
}

#[test]
fn a_good_end_makes_earlier_crashes_forgotten_r34() {
    story(svc().restart(RestartWhen::Always))
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(0))
        .starts_after(1.s())
        .exits(code(1))
        .starts_after(1.s());
}

#[test]
fn after_max_retries_it_gives_up_and_says_so() {
    story(svc().with(|spec| spec.restart.max_retries = 2))
        .starts()
        .exits(code(7))
        .starts_after(1.s())
        .exits(code(7))
        .starts_after(2.s())
        .told(&[
            (EventKind::Started, "boot"),
            (EventKind::Exited, "exit code 7"),
            (EventKind::Planned, "exit code 7, retry 1 in 1s"),
            (EventKind::Started, "backoff"),
            (EventKind::Exited, "exit code 7"),
            (EventKind::Planned, "exit code 7, retry 2 in 2s"),
            (EventKind::Started, "backoff"),
        ])
        .exits(code(7))
        .told(&[(EventKind::Exited, "exit code 7"), (EventKind::GaveUp, "exit code 7, gave up after 2 retries")])
        .after(60.m())
        .is(Status::Crashed, "exit code 7, gave up after 2 retries")
        .row(|row| assert_eq!((row.active, row.next_start), (true, None)));
}

#[test]
fn a_start_by_hand_begins_counting_anew_r23() {
    story(svc().with(|spec| spec.restart.max_retries = 1))
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(1))
        .is(Status::Crashed, "exit code 1, gave up after 1 retries")
        .request(start("svc"))
        .starts_by(Cause::Request)
        .replies(done())
        .exits(code(1))
        .starts_after(1.s());
}

#[test]
fn a_finished_service_stays_finished_r39() {
    story(svc())
        .starts()
        .exits(code(0))
        .after(60.m())
        .is(Status::Finished, "exit code 0")
        .row(|row| assert_eq!((row.active, row.ready, row.next_start), (true, false, None)));
}

#[test]
fn a_death_by_sigterm_is_a_good_end_r18() {
    story(svc()).starts().exits(by(Signal::TERM)).after(60.m()).is(Status::Finished, "killed by SIGTERM");
}

#[test]
fn a_death_by_any_other_signal_is_a_crash_r18() {
    for name in ["HUP", "INT", "KILL", "SEGV", "RTMIN", "RTMIN+3"] {
        let (signal, reason) = (sig(name), format!("killed by {}, retry 1 in 1s", sig(name)));
        story(svc()).starts().exits(by(signal)).is(Status::Crashed, &reason).starts_after(1.s());
    }
}

#[test]
fn exit_codes_that_are_listed_mean_a_good_end() {
    story(svc().with(|spec| spec.success_exit_codes = vec![0, 3]))
        .starts()
        .exits(code(3))
        .is(Status::Finished, "exit code 3")
        .after(60.m());
}

#[test]
fn zero_is_a_good_end_also_where_only_others_are_listed() {
    story(svc().with(|spec| spec.success_exit_codes = vec![3])).starts().exits(code(0)).is(Status::Finished, "exit code 0");
}

#[test]
fn always_restarts_a_finished_service_after_a_delay_that_does_not_grow_r39() {
    let mut story = story(svc().restart(RestartWhen::Always)).starts();
    for _ in 0..5 {
        story = story
            .exits(code(0))
            .is(Status::Finished, "exit code 0, restart in 1s")
            .row(|row| assert_eq!(row.next_start.map(|next| next.why), Some(Why::Restart)))
            .starts_after(1.s())
            .is(Status::Running, "restarted after exit code 0");
    }
}

#[test]
fn never_restarts_nothing_r39() {
    for exit in [code(0), code(1), by(Signal::KILL)] {
        story(svc().restart(RestartWhen::Never)).starts().exits(exit).after(60.m()).row(|row| assert_eq!(row.next_start, None));
    }
}

#[test]
fn an_interval_of_zero_means_at_once_and_does_not_grow() {
    let mut story = story(svc().interval(0.s())).starts();
    for _ in 0..20 {
        story = story.exits(code(1)).starts_by(Cause::Backoff);
    }
}

#[test]
fn a_start_while_it_backs_off_is_at_once_and_counts_anew_r23() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .exits(code(1))
        .after(500.ms())
        .request(start("svc"))
        .starts_by(Cause::Request)
        .replies(done())
        .exits(code(1))
        .starts_after(1.s());
}

#[test]
fn crashes_before_a_long_run_are_forgotten_also_when_it_was_stopped() {
    story(svc())
        .starts()
        .exits(code(1))
        .starts_after(1.s())
        .after(2.m())
        .row(|row| assert_eq!(row.crashes, 0))
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .row(|row| assert_eq!(row.crashes, 0));
}

#[test]
fn the_backoff_counts_from_the_end_of_the_process_not_of_what_it_left_behind() {
    story(svc()).starts().exits_leaving_others(code(1)).asks_to_stop(Signal::TERM).after(400.ms()).drains().starts_after(600.ms());
}

#[test]
fn a_late_tick_restarts_each_service_once() {
    story(svc()).starts().exits(code(1)).look(|_| ()).jump(10.m()).starts_by(Cause::Backoff).jump(10.m());
}

#[test]
fn the_restart_interval_of_the_settings_is_the_first_delay() {
    let settings = ppm_core::spec::Settings { restart_interval: 3.s(), ..Default::default() };
    let spec = ppm_core::spec::ServiceSpec::new("svc", Default::default(), &settings);
    story_with(settings, crate::story::Make(spec)).starts().exits(code(1)).starts_after(3.s());
}

#[test]
fn reschedule_while_a_crashed_group_drains_does_not_restart_it() {
    let every_minute = svc().scheduled("* * * * *");
    story(every_minute)
        .after(55.s())
        .starts_by(Cause::Schedule)
        .exits_leaving_others(code(1))
        .asks_to_stop(Signal::TERM)
        .request(reschedule("svc"))
        .replies(done())
        .drains()
        .after(59.s())
        .quiet()
        .after(1.s())
        .starts_by(Cause::Schedule);
}
