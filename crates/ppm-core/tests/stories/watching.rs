//! What a service does about changed files.

use ppm_core::dependencies::Need;
use ppm_core::event::{Action, Cause, Event};
use ppm_core::hook::{Hook, HookSpec, Program};
use ppm_core::spec::{Reach, RestartWhen, Settings};
use ppm_core::watch::{Change, ChangeKind, Changes, OnChange, WatchSpec};
use ppm_protocol::{EventKind, Exit, PlanEvent, PlanRow, Signal, Status, Why};

use crate::ask::{no_wait, reschedule, restart, scheduler, start, stop};
use crate::planning::plans;
use crate::story::{Make, Span, Story, code, done, named, sig, story, story_with, svc};

fn watching(change: impl FnOnce(&mut WatchSpec)) -> Make {
    let mut watch = WatchSpec::new(vec!["w".to_owned()]);
    change(&mut watch);
    svc().with(|spec| spec.watch = Some(watch.into()))
}

/// It runs, and its files are watched.
fn up(make: Make) -> Story {
    story(make).begins_to_watch().starts_by(Cause::Boot)
}

impl Story {
    fn begins_to_watch(mut self) -> Story {
        let service = self.id();
        self.take("files to be watched", |action| matches!(action, Action::Watch { id, .. } if *id == service));
        self
    }

    fn watches_no_more(mut self) -> Story {
        let id = self.id();
        self.take("files to be watched no more", |action| *action == Action::Unwatch { id });
        self
    }

    /// This file changes.
    fn changes(self, name: &str) -> Story {
        let mut changes = Changes::default();
        changes.add(|| Change { kind: ChangeKind::Modified, path: format!("/app/{name}").into(), base: 5 });
        let id = self.id();
        self.event(Event::FilesChanged { id, changes })
    }

    /// It is stopped for a change, and started again.
    fn restarts(self) -> Story {
        self.asks_to_stop(Signal::TERM).exits(code(0)).starts_by(Cause::Watch)
    }
}

#[test]
fn r38_a_change_restarts_at_once_and_is_the_reason() {
    up(watching(|_| {})).changes("w/f").restarts().is(Status::Running, "started for changed files: modified w/f").told(&[
        (EventKind::Started, "boot"),
        (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
        (EventKind::Exited, "stopped by request"),
        (EventKind::Started, "watch: modified w/f"),
    ]);
}

#[test]
fn r38_changes_that_come_sooner_are_one_restart_at_the_end_of_the_interval() {
    up(watching(|_| {}))
        .changes("a")
        .restarts()
        .after(1.s())
        .changes("b")
        .changes("c")
        .row(|row| assert_eq!(row.next_start.map(|next| next.why), Some(Why::Watch)))
        .after(1999.ms())
        .quiet()
        .after(1.ms())
        .restarts()
        .is(Status::Running, "started for changed files: 2 files: b, c")
        .after(60.s())
        .quiet();
}

#[test]
fn a_signal_that_waits_for_the_end_of_the_interval_is_planned_like_a_restart() {
    let plan = |row: &PlanRow| (row.event, row.in_ms, row.rule.clone(), row.note.clone());
    up(watching(|watch| watch.action = OnChange::Signal(Signal::HUP)))
        .changes("a")
        .sends_to(Signal::HUP, Reach::Leader)
        .after(1.s())
        .changes("b")
        .request(scheduler())
        .replies(plans(|rows| {
            let expected = [(PlanEvent::Watch, 2000, "modified b".to_owned(), "SIGHUP".to_owned())];
            assert_eq!(rows.iter().map(plan).collect::<Vec<_>>(), expected);
        }))
        .row(|row| assert_eq!(row.next_start, None, "it goes on"))
        .after(2.s())
        .sends_to(Signal::HUP, Reach::Leader);
}

/// It runs, and a program is run when its files change.
fn with_program() -> Make {
    let program = Program { path: "make".to_owned(), args: vec!["all".to_owned()] };
    watching(|watch| watch.action = OnChange::Exec(HookSpec { program, timeout: 30.s() }))
}

#[test]
fn a_program_is_run_for_changes_beside_the_service_and_told_which() {
    up(with_program())
        .changes("w/f")
        .told_to(
            Hook::OnChange,
            &[("PPM_HOOK", "watch"), ("PPM_RESTARTS", "0"), ("PPM_CRASHES", "0"), ("PPM_PID", "100"), ("PPM_WATCH_CHANGED", "/app/w/f")],
        )
        .hook_ends(Hook::OnChange, code(2))
        .is(Status::Running, "started with the daemon")
        .told(&[
            (EventKind::Started, "boot"),
            (EventKind::FilesChanged, "modified w/f: exec make all"),
            (EventKind::HookFailed, "watch: exit code 2"),
        ]);
}

#[test]
fn what_changes_while_the_program_is_at_work_has_it_run_once_more_and_not_sooner_than_the_interval_allows() {
    up(with_program())
        .changes("a")
        .runs(Hook::OnChange)
        .after(10.s())
        .changes("b")
        .changes("c")
        .after(10.s())
        .quiet()
        .hook_ends(Hook::OnChange, code(0))
        .after(2999.ms())
        .quiet()
        .after(1.ms())
        .runs(Hook::OnChange)
        .hook_ends(Hook::OnChange, code(0))
        .after(90.s())
        .told_last(EventKind::FilesChanged, "2 files: b, c: exec make all");
}

#[test]
fn a_program_that_takes_too_long_is_ended_and_told_of() {
    let ends = [Signal::TERM, Signal::CONT];
    up(with_program())
        .changes("a")
        .runs(Hook::OnChange)
        .after(30.s())
        .hook_is(Hook::OnChange, &ends)
        .hook_ends(Hook::OnChange, Exit::Signal(Signal::TERM))
        .told_last(EventKind::HookFailed, "watch: did not end within 30s");
}

#[test]
fn nothing_waits_for_the_program_but_who_stops_its_service() {
    let story = up(with_program()).changes("a").runs(Hook::OnChange).request(restart("svc")).asks_to_stop(Signal::TERM).exits(code(0));
    let story = story.starts_by(Cause::Request).replies(done());
    let story = story.ask("stop", stop("svc")).watches_no_more().hook_is(Hook::OnChange, &[Signal::TERM, Signal::CONT]);
    story.asks_to_stop(Signal::TERM).exits(code(0)).hook_ends(Hook::OnChange, Exit::Signal(Signal::TERM)).answers("stop", done());
}

#[test]
fn who_has_ended_is_started_for_changes_and_no_program_is_run() {
    let story = up(with_program()).exits(code(0)).after(9.s()).changes("f").starts_by(Cause::Watch);
    story.told_last(EventKind::Started, "watch: modified f");
}

#[test]
fn a_program_that_writes_what_is_watched_is_run_less_and_less_often_and_found_out() {
    let mut story = up(with_program()).after(9.s()).changes("w/out").runs(Hook::OnChange);
    for _ in 0..4 {
        story = story.after(20.s()).changes("w/out").hook_ends(Hook::OnChange, code(0)).after(3.s()).runs(Hook::OnChange);
    }
    let words = "svc: watch: w/out changes right after each run of `make all`, so probably that writes it; it is run every 6s at most. \
                 If that is so, add to its `watch`: `exclude: [\"w/out\"]`";
    let story = story.after(20.s()).changes("w/out").hook_ends(Hook::OnChange, code(0)).announces(words);
    story.after(5999.ms()).quiet().after(1.ms()).runs(Hook::OnChange);
}

#[test]
fn changes_without_end_starve_nobody() {
    let settings = Settings { watch_restart_interval: 1.s(), ..Settings::default() };
    let mut story = story_with(settings, watching(|_| {})).begins_to_watch().starts_by(Cause::Boot);
    let mut restarts = Vec::new();
    for half in 0..16_u64 {
        story = story.after(500.ms()).changes("f");
        if story.supervisor.service(story.id()).unwrap().is_about_to_start() {
            restarts.push(half);
            story = story.restarts();
        }
    }
    assert!((5..=9).contains(&restarts.len()), "{restarts:?}");
}

#[test]
fn a_service_that_writes_what_it_watches_restarts_less_and_less_often_and_is_told_how_to_stop_that() {
    let mut story = up(watching(|_| {})).after(9.s()).changes("w/out.txt").restarts();
    for distance in [3, 3, 3, 3] {
        story = story.after(100.ms()).changes("w/out.txt").after(distance.s() - 100.ms()).restarts();
    }
    let words = "svc: watch: w/out.txt changes right after each start, so probably svc writes it itself; it is restarted every 6s at most. \
                 If that is so, add to its `watch`: `exclude: [\"w/out.txt\"]`";
    story = story.after(100.ms()).changes("w/out.txt").announces(words);
    story = story.after(5899.ms()).quiet().after(1.ms()).restarts();
    story = story.after(100.ms()).changes("w/out.txt").after(11_899.ms()).quiet().after(1.ms()).restarts();
    // It has been quiet for long.
    story = story.after(700.s()).changes("f").restarts().after(100.ms()).changes("f").after(2899.ms()).quiet();
    story.after(1.ms()).restarts();
}

#[test]
fn who_crashed_or_has_finished_starts_at_once_and_its_backoff_starts_over() {
    let story = up(watching(|_| {})).exits(code(1)).starts_after(1.s()).exits(code(1)).after(500.ms());
    let story = story.is(Status::Crashed, "exit code 1, retry 2 in 1.5s").changes("f").starts_by(Cause::Watch);
    let story = story.row(|row| assert_eq!(row.crashes, 0)).exits(code(1)).starts_after(1.s());
    story.exits(code(0)).after(90.s()).is(Status::Finished, "exit code 0").changes("f").starts_by(Cause::Watch);
}

#[test]
fn who_gave_up_tries_again() {
    let make = watching(|_| {}).with(|spec| spec.restart.max_retries = 1);
    let story = up(make).exits(code(1)).starts_after(1.s()).exits(code(1)).after(90.s());
    story.is(Status::Crashed, "exit code 1, gave up after 1 retries").changes("f").starts_by(Cause::Watch);
}

#[test]
fn who_crashes_at_once_is_not_started_sooner_than_the_interval_allows() {
    let story = up(watching(|_| {}).restart(RestartWhen::Never)).exits(code(1)).changes("a").starts_by(Cause::Watch).exits(code(1));
    let story = story.after(1.s()).changes("b").is(Status::Crashed, "modified b, start in 2s").after(1999.ms()).quiet();
    story.after(1.ms()).starts_by(Cause::Watch);
}

#[test]
fn who_is_stopped_stays_so_and_watches_nothing() {
    let story = up(watching(|_| {})).request(stop("svc")).watches_no_more().asks_to_stop(Signal::TERM);
    let story = story.changes("found before").exits(code(0)).replies(done()).changes("found before").after(90.s()).quiet();
    story.request(start("svc")).begins_to_watch().starts_by(Cause::Request).replies(done());
}

#[test]
fn what_changes_while_it_stops_or_starts_is_not_lost() {
    // It was to rest: now it is to start.
    let slow = || watching(|_| {}).scheduled("0 0 1 1 *").with(|spec| spec.stop.timeout = 60.s());
    let begun = story(slow()).begins_to_watch().request(start("svc")).starts_by(Cause::Request).replies(done());
    let story = begun.ask("stop", stop("svc")).watches_no_more().asks_to_stop(Signal::TERM).request(reschedule("svc")).replies(done());
    story.begins_to_watch().changes("f").exits(code(0)).starts_by(Cause::Watch).answers("stop", |_| {});
    // Whatever starts next sees the files as they are.
    let story = up(watching(|_| {})).request(restart("svc")).asks_to_stop(Signal::TERM).changes("f").exits(code(0));
    let story = story.starts_by(Cause::Request).replies(done()).after(60.s()).quiet();
    // Of what is just being started nobody knows what it has seen.
    let story = story.request(restart("svc")).asks_to_stop(Signal::TERM).exits(code(0)).spawns().changes("g").comes_up().replies(done());
    story.asks_to_stop(Signal::TERM).exits(code(0)).starts_by(Cause::Watch);
}

#[test]
fn what_waits_for_the_interval_when_it_ends_is_not_lost() {
    let story = up(watching(|_| {})).changes("a").restarts().after(1.s()).changes("b").exits(code(0));
    story.is(Status::Finished, "modified b, start in 2s").after(2.s()).starts_by(Cause::Watch);
}

#[test]
fn changes_right_after_a_start_may_be_ignored() {
    let story = up(watching(|watch| watch.initial_delay = 2.s())).after(1999.ms()).changes("f").quiet();
    story.after(1.ms()).quiet().changes("f").restarts();
}

#[test]
fn a_signal_goes_to_the_main_process_and_starts_who_does_not_run() {
    let make = watching(|watch| watch.action = OnChange::Signal(sig("HUP")));
    let leader = Reach::Leader;
    let story = up(make).changes("a").sends_to(Signal::HUP, leader).after(1.s()).changes("b").after(1999.ms()).quiet();
    let story = story.after(1.ms()).sends_to(Signal::HUP, leader).told(&[
        (EventKind::Started, "boot"),
        (EventKind::FilesChanged, "modified a: SIGHUP"),
        (EventKind::FilesChanged, "modified b: SIGHUP, 2nd time in 10s"),
    ]);
    story.exits(code(0)).after(9.s()).changes("c").starts_by(Cause::Watch);
}

#[test]
fn what_was_to_be_done_about_changes_is_forgotten_with_the_restart_that_a_new_plan_replaces() {
    let signalled = watching(|watch| watch.action = OnChange::Signal(sig("HUP"))).scheduled("0 4 * * *");
    let web = named("web").with(|spec| spec.depends_on = vec![Need::parse("svc").unwrap()]);
    let story = story([signalled.options(|options| options.on_start = true), web]).begins_to_watch().starts().on("web").starts().on("svc");
    let story = story.changes("a").sends_to(Signal::HUP, Reach::Leader).changes("b"); // answered when the interval is over
    let story = story.request(no_wait(stop("web"))).replies(done()).on("web").asks_to_stop(Signal::TERM);
    let story = story.on("svc").request(no_wait(restart("svc"))).replies(done()).quiet(); // as long as web ends
    story.request(reschedule("svc")).replies(done()).after(3.s()).quiet();
}
