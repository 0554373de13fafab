//! How planned runs are run: overlap, late and missed runs, limits, retries, and what is remembered.
//!
//! Stories begin at 03:04:05, so the next whole minute is 55 s ahead.

use ppm_core::event::{Cause, Event};
use ppm_core::schedule::{Missed, Overlap, Retry};
use ppm_core::spec::RestartWhen;
use ppm_protocol::message::{Answer, Selection};
use ppm_protocol::{EventKind, Request, RunResult, RunsRow, Signal, Status, Why};

use crate::ask::{reschedule, start, stop};
use crate::story::{Make, Reply, Span, Story, by, changed, code, done, sig, story, story_remembering, svc};

const HOUR: i64 = 3_600_000;

fn minutely() -> Make {
    svc().scheduled("* * * * *")
}

fn nightly() -> Make {
    svc().scheduled("30 3 * * *")
}

fn overlapping(overlap: Overlap) -> Make {
    minutely().options(|options| options.overlap = overlap)
}

/// The first run of a minutely one, under way.
fn running(make: Make) -> Story {
    story(make).after(55.s()).starts_by(Cause::Schedule)
}

fn runs(check: impl Fn(&RunsRow)) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Runs(rows)) => check(&rows[0]),
        other => panic!("no runs, but {other:?}"),
    }
}

fn asked_for_runs() -> Request {
    Request::Runs(Selection { services: vec!["svc".to_owned()] })
}

#[test]
fn what_ended_by_itself_before_and_is_cut_short_is_told_once_r37() {
    let words = "svc: its planned time comes while it runs, since 1m; it is ended and started again. \
                 If runs should be finished, set `overlap: skip` or `queue` in its `schedule`";
    let story = running(minutely()).exits(code(0)).after(60.s()).starts_by(Cause::Schedule).after(60.s()).announces(words);
    let story = story.asks_to_stop(Signal::TERM).exits(code(0)).starts_by(Cause::Schedule).exits(code(0));
    let story = story.after(60.s()).starts_by(Cause::Schedule).after(60.s());
    story.asks_to_stop(Signal::TERM);
}

#[test]
fn with_skip_a_run_that_lasts_is_left_alone_r37() {
    running(overlapping(Overlap::Skip))
        .told(&[(EventKind::Started, "schedule")])
        .after(180.s())
        .quiet()
        .told(&[(EventKind::Skipped, "the run before lasts since 1m")])
        .exits(code(0))
        .after(59.s())
        .quiet()
        .after(1.s())
        .starts_by(Cause::Schedule)
        .request(asked_for_runs())
        .replies(runs(|row| assert_eq!((row.fired, row.skipped, row.missed), (2, 3, 0))));
}

#[test]
fn with_skip_a_run_that_is_ending_is_followed_by_the_planned_one_r37() {
    let slow = overlapping(Overlap::Skip).with(|spec| spec.stop.timeout = 300.s());
    running(slow)
        .after(59.s())
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .request(reschedule("svc"))
        .replies(done())
        .after(1.s())
        .quiet()
        .exits(code(0))
        .answers("", changed(|_| {}))
        .starts_by(Cause::Schedule);
}

#[test]
fn with_queue_one_run_at_most_waits_r37() {
    running(overlapping(Overlap::Queue))
        .after(150.s())
        .quiet()
        .exits(code(1))
        .starts_by(Cause::Schedule)
        .row(|row| assert_eq!(row.crashes, 1))
        .exits(code(0))
        .quiet()
        .request(asked_for_runs())
        .replies(runs(|row| assert_eq!((row.fired, row.skipped), (2, 1))))
        .after(30.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn a_stop_forgets_the_run_that_waits() {
    running(overlapping(Overlap::Queue))
        .after(60.s())
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .quiet();
}

#[test]
fn a_run_that_has_waited_for_longer_than_its_deadline_is_missed() {
    let make = overlapping(Overlap::Queue).options(|options| options.deadline = Some(10.s()));
    running(make.clone()).after(60.s()).after(10.s()).exits(code(0)).starts_by(Cause::Schedule);
    let story = running(make).after(60.s()).after(10.s() + 1.ms()).exits(code(0)).quiet();
    story.request(asked_for_runs()).replies(runs(|row| assert_eq!((row.fired, row.missed), (1, 1))));
}

#[test]
fn a_run_that_lasts_too_long_is_stopped_then_killed_and_counts_as_a_crash() {
    let make = minutely().options(|options| options.timeout = Some(20.s()));
    running(make)
        .after(20.s() - 1.ms())
        .quiet()
        .after(1.ms())
        .asks_to_stop(Signal::TERM)
        .after(5.s())
        .sends(Signal::KILL)
        .exits(by(Signal::KILL))
        .is(Status::Crashed, "ran longer than 20s, retry 1 in 1s")
        .starts_after(1.s())
        .after(20.s())
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .is(Status::Crashed, "ran longer than 20s, retry 2 in 2s")
        .request(asked_for_runs())
        .replies(runs(|row| {
            assert_eq!(row.timeouts, 2);
            assert!(row.runs.iter().all(|run| run.result == RunResult::TimedOut));
        }));
}

#[test]
fn a_run_that_ends_in_time_was_not_too_long() {
    let make = minutely().options(|options| options.timeout = Some(20.s()));
    running(make).after(19.s()).exits(code(0)).after(40.s()).quiet().is(Status::Finished, "exit code 0");
}

#[test]
fn what_lasts_too_long_and_is_stopped_by_its_user_meanwhile_has_obeyed() {
    let make = minutely().options(|options| options.timeout = Some(20.s()));
    let story = running(make).after(20.s()).asks_to_stop(Signal::TERM).request(stop("svc")).exits(code(3)).replies(done());
    story.is(Status::Finished, "stopped by request").row(|row| assert_eq!(row.crashes, 0));
}

#[test]
fn without_retries_a_crash_waits_for_the_next_time() {
    for when in [RestartWhen::OnFailure, RestartWhen::Always] {
        let make = minutely().restart(when).options(|options| options.retry = Retry::Never);
        let story = running(make).exits(code(1)).is(Status::Crashed, "exit code 1").after(59.s()).quiet().after(1.s());
        story.starts_by(Cause::Schedule).exits(code(0)).after(59.s()).quiet();
    }
}

#[test]
fn a_planned_run_after_giving_up_gets_retries_of_its_own() {
    let make = svc().scheduled("0 * * * *").with(|spec| spec.restart.max_retries = 1);
    let story = story(make).after(55.m() + 55.s()).starts_by(Cause::Schedule).exits(code(1)).starts_after(1.s()).exits(code(1));
    let story = story.is(Status::Crashed, "exit code 1, gave up after 1 retries").after(60.m() - 1.s()).starts_by(Cause::Schedule);
    story.exits(code(1)).is(Status::Crashed, "exit code 1, retry 1 in 1s");
}

#[test]
fn a_good_run_ends_the_backoff() {
    let make = svc().scheduled("* * * * *").interval(40.s());
    let story = running(make).exits(code(1)).after(40.s()).starts_by(Cause::Backoff).exits(code(1));
    let story = story.row(|row| assert_eq!((row.crashes, row.next_start.unwrap().why), (2, Why::Schedule)));
    story.after(20.s()).starts_by(Cause::Schedule).exits(code(0)).row(|row| assert_eq!(row.crashes, 0)).after(59.s()).quiet();
}

#[test]
fn on_start_it_runs_with_the_daemon_and_at_its_times() {
    let make = minutely().options(|options| options.on_start = true);
    story(make).starts_by(Cause::Boot).exits(code(0)).after(55.s()).starts_by(Cause::Schedule);
}

#[test]
fn chance_delays_a_run_by_no_more_than_it_may() {
    let make = nightly().options(|options| options.jitter = 60.s());
    let story = story(make).after(25.m() + 55.s()).quiet().after(60.s()).starts_by(Cause::Schedule);
    story.request(asked_for_runs()).replies(runs(|row| {
        let planned = row.runs[0].planned.unwrap().to_string();
        assert!(planned.as_str() > "2026-01-02T03:30:00.000Z" && planned.as_str() <= "2026-01-02T03:31:00.000Z", "{planned}");
    }));
}

#[test]
fn what_a_step_forward_leaves_out_is_made_up_for_once_if_it_names_its_time_r36() {
    let story = story(nightly()).steps(2 * HOUR).event(Event::ClockStepped).after(1.ms()).starts_by(Cause::Missed);
    let story = story.is(Status::Running, "started by its schedule, for a time that was missed").exits(code(0));
    story.planned_for("03T03:30:00").after(60.m()).quiet();
}

#[test]
fn what_a_step_forward_leaves_out_of_an_interval_is_not_made_up_for_r36() {
    let story = story(svc().scheduled("0 * * * *")).steps(2 * HOUR).event(Event::ClockStepped).after(1.ms()).quiet();
    story.planned_for("02T06:00:00").told(&[(EventKind::Skipped, "missed: it was planned for 2026-01-02T05:00:00.000Z, 4m 5s ago")]);
}

#[test]
fn a_step_forward_of_more_than_three_hours_is_a_correction_r36() {
    story(nightly()).steps(4 * HOUR).event(Event::ClockStepped).after(1.ms()).quiet().planned_for("03T03:30:00");
}

#[test]
fn what_a_step_back_brings_again_does_not_run_again_r36() {
    let story = story(nightly()).after(25.m() + 55.s()).starts_by(Cause::Schedule).exits(code(0)).after(10.m());
    let story = story.steps(-HOUR).event(Event::ClockStepped).planned_for("03T03:30:00").after(120.m()).quiet();
    story.steps(-4 * HOUR).event(Event::ClockStepped).planned_for("02T03:30:00");
}

#[test]
fn a_period_is_not_touched_when_the_clock_is_set_r36() {
    let make = || svc().scheduled("@every 10m");
    for step in [-5 * HOUR, -HOUR, HOUR, 5 * HOUR] {
        let story = story(make()).after(4.m()).steps(step).event(Event::ClockStepped).after(6.m() - 1.ms()).quiet();
        story.after(1.ms()).starts_by(Cause::Schedule);
    }
}

#[test]
fn what_a_frozen_daemon_left_out_is_run_once_r36() {
    story(nightly()).jump(120.m()).starts_by(Cause::Missed).exits(code(0)).planned_for("03T03:30:00");
    story(nightly()).jump(300.m()).quiet().planned_for("03T03:30:00");
    story(minutely()).jump(10.m()).starts_by(Cause::Schedule).exits(code(0)).after(54.s()).quiet();
}

#[test]
fn missed_says_what_becomes_of_what_is_missed() {
    let with = |missed| nightly().options(|options| options.missed = missed);
    story(with(Missed::Skip)).jump(120.m()).quiet();
    story(with(Missed::Once)).jump(300.m()).remembers("02T03:30:00").starts_by(Cause::Missed).exits(code(0));
    let story = story(with(Missed::Once)).steps(5 * HOUR).event(Event::ClockStepped).after(1.ms());
    story.remembers("02T03:30:00").starts_by(Cause::Missed);
}

#[test]
fn once_a_time_at_which_the_daemon_was_not_there_is_made_up_for() {
    let make = || svc().scheduled("30 2 * * *").options(|options| options.missed = Missed::Once);
    let story = |rule: &str, fire: &str| story_remembering("svc", rule, fire, make());
    // It is 03:04:05: the run of 02:30 is missing.
    story("30 2 * * *", "2025-12-24T02:30:00Z").remembers("02T02:30:00").starts_by(Cause::Missed).planned_for("03T02:30:00");
    story("30 2 * * *", "2026-01-02T02:30:00Z").planned_for("03T02:30:00").quiet();
    story("30 3 * * *", "2025-12-24T02:30:00Z").planned_for("03T02:30:00").quiet();
    story("30 2 * * *", "2027-01-01T02:30:00Z").planned_for("03T02:30:00").quiet();
    story_remembering("svc", "30 2 * * *", "2025-12-24T02:30:00Z", svc().scheduled("30 2 * * *")).quiet();
}

#[test]
fn the_last_runs_are_remembered_with_their_ends() {
    let make = minutely().options(|options| options.history = 3);
    let story = running(make).exits(code(0)).request(start("svc")).starts_by(Cause::Request).replies(done()).exits(by(sig("SEGV")));
    let story = story.after(1.s()).fails_to_start("exec: no such file: svc").after(2.s()).starts_by(Cause::Backoff);
    story.request(asked_for_runs()).replies(runs(|row| {
        let runs: Vec<(&str, RunResult, bool)> =
            row.runs.iter().map(|run| (run.reason.as_str(), run.result, run.planned.is_some())).collect();
        assert_eq!(
            runs,
            [("request", RunResult::Crashed, false), ("backoff", RunResult::NotStarted, false), ("backoff", RunResult::Running, false)]
        );
        assert_eq!((row.name.as_str(), row.fired, row.max_late_ms), ("svc", 1, 0));
    }));
}
