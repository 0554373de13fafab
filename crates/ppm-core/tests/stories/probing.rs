//! Services that are probed: when they are ready, and whether they stay well.

use ppm_core::event::{Action, Cause, Question};
use ppm_core::line_pattern::LinePattern;
use ppm_core::logging::{LogChoice, LogKeys};
use ppm_core::notification::Notification;
use ppm_core::probe::{Channel, Check, Health, Outcome, Readiness};
use ppm_protocol::message::{Await, Goal, Targets};
use ppm_protocol::{ErrorCode, EventKind, Request, Signal, Status};

use crate::story::{Make, Span, Story, by, code, done, named, refused, story, svc};

/// Ready when it takes a connection.
fn probed() -> Make {
    svc().with(|spec| spec.ready = Some(Box::new(Readiness::new(Check::tcp("80").unwrap()))))
}

/// Well while it takes one.
fn watched() -> Make {
    svc().with(|spec| spec.health = Some(Box::new(Health { retries: 3, ..Health::new(Check::tcp("80").unwrap()) })))
}

fn ready(make: Make, change: impl FnOnce(&mut Readiness)) -> Make {
    make.with(|spec| change(spec.ready.as_mut().unwrap()))
}

fn health(make: Make, change: impl FnOnce(&mut Health)) -> Make {
    make.with(|spec| change(spec.health.as_mut().unwrap()))
}

fn refuses() -> Outcome {
    Outcome::Failed("connection refused".to_owned())
}

impl Story {
    /// It begins to probe the service, which is the attempt of this number.
    fn probes(mut self, number: u64) -> Story {
        let service = self.id();
        let is_it = |action: &Action| matches!(action, Action::Probe { id, attempt, .. } if (*id, *attempt) == (service, number));
        self.take(&format!("probe {number}"), is_it);
        self
    }

    /// The next thing that it does by itself is to probe the service: the attempt of this number.
    fn comes_to_probe(self, number: u64) -> Story {
        let wake = self.supervisor.deadline().expect("something to be due");
        let wait = wake.since(self.now.mono);
        self.after(wait).probes(number)
    }

    /// It gives up the attempt of this number.
    fn stops_probe(mut self, number: u64) -> Story {
        let wanted = Action::StopProbe { id: self.id(), attempt: number };
        self.take(&format!("the end of probe {number}"), |action| *action == wanted);
        self
    }

    fn probe_ends(self, number: u64, outcome: Outcome) -> Story {
        let id = self.id();
        self.event(ppm_core::event::Event::Probed { id, attempt: number, outcome })
    }

    fn shows_ready(self, ready: bool) -> Story {
        self.row(|row| assert_eq!(row.ready, ready))
    }
}

fn await_ready() -> Request {
    Request::Wait(Await { services: vec!["svc".to_owned()], goal: Goal::Ready, timeout_ms: None })
}

#[test]
fn without_a_probe_a_service_is_ready_as_soon_as_it_runs() {
    story(svc()).shows_ready(false).starts().shows_ready(true).after(3600.s()).quiet();
}

#[test]
fn a_service_is_ready_when_its_probe_has_found_it_so() {
    let story = story(probed()).starts().shows_ready(false).request(await_ready()).probes(1);
    let story = story.probe_ends(1, refuses()).is(Status::Running, "waiting to be ready: connection refused").quiet();
    let story = story.after(50.ms()).probes(2).probe_ends(2, Outcome::Passed).replies(done()).shows_ready(true);
    let story = story.told(&[(EventKind::Started, "boot"), (EventKind::Ready, "after 50ms")]);
    story.is(Status::Running, "started with the daemon").after(3600.s()).quiet();
}

#[test]
fn attempts_come_at_longer_and_longer_intervals_up_to_the_one_that_was_given() {
    let mut story = story(ready(probed(), |ready| (ready.interval, ready.start_period) = (300.ms(), 3600.s()))).starts().probes(1);
    let shortest = |delay: u64| delay * 3 / 4; // chance may take away a quarter
    for (number, delay) in (1..).zip([50, 100, 200, 300, 300]) {
        story = story.probe_ends(number, refuses()).after(shortest(delay).ms() - 1.ms()).quiet();
        story = story.after((delay - shortest(delay)).ms() + 1.ms()).probes(number + 1);
    }
}

#[test]
fn who_does_not_answer_has_failed_and_is_not_waited_for() {
    let story = story(probed()).starts().probes(1).after(2.s() - 1.ms()).quiet().after(1.ms()).stops_probe(1);
    let story = story.is(Status::Running, "waiting to be ready: no answer within 2s");
    story.after(50.ms()).probes(2).probe_ends(1, Outcome::Passed).shows_ready(false).probe_ends(2, Outcome::Passed).shows_ready(true);
}

#[test]
fn that_a_service_is_not_ready_is_told_once() {
    let make = ready(probed(), |ready| (ready.interval, ready.start_period) = (3600.s(), 30.s()));
    let mut story = story(make).starts().probes(1).probe_ends(1, refuses());
    for number in 2..=10 {
        story = story.comes_to_probe(number).probe_ends(number, refuses());
    }
    story
        .after(30.s() - 12_600.ms())
        .quiet()
        .told(&[(EventKind::Started, "boot"), (EventKind::Unready, "not ready after 30s: connection refused")]);
}

#[test]
fn who_is_not_ready_in_time_is_ended_as_if_it_had_crashed() {
    let make = ready(probed(), |ready| ready.timeout = Some(40.ms()));
    let story = story(make).starts().probes(1).probe_ends(1, refuses()).after(40.ms()).asks_to_stop(Signal::TERM);
    let story = story.exits(by(Signal::TERM)).is(Status::Crashed, "not ready within 40ms: connection refused, retry 1 in 1s");
    let story = story.told(&[
        (EventKind::Started, "boot"),
        (EventKind::Unready, "not ready within 40ms: connection refused"),
        (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
        (EventKind::Exited, "not ready within 40ms: connection refused"),
        (EventKind::Planned, "not ready within 40ms: connection refused, retry 1 in 1s"),
    ]);
    story.after(1.s()).starts_by(Cause::Backoff).probes(2).row(|row| assert_eq!((row.ready, row.crashes), (false, 1)));
}

#[test]
fn who_waits_for_readiness_is_told_that_it_will_not_be() {
    let make = ready(probed(), |ready| ready.timeout = Some(40.ms())).with(|spec| spec.restart.max_retries = 1);
    let story = story(make).starts().probes(1).request(await_ready()).after(40.ms()).stops_probe(1).asks_to_stop(Signal::TERM);
    let story = story.exits(code(0)).quiet().after(1.s()).starts().probes(2).after(40.ms()).stops_probe(2).asks_to_stop(Signal::TERM);
    let why = "`svc` will not be ready: Crashed, not ready within 40ms, gave up after 1 retries";
    story.exits(code(0)).replies(refused(ErrorCode::NotReached, why));
}

#[test]
fn a_service_that_fails_its_health_is_restarted_by_its_policy() {
    let story = story(watched()).starts().shows_ready(true).comes_to_probe(1).probe_ends(1, Outcome::Passed);
    let story = story.comes_to_probe(2).probe_ends(2, refuses()).is(Status::Running, "health: 1 of 3 probes failed: connection refused");
    let story = story.comes_to_probe(3).probe_ends(3, refuses()).quiet();
    let story = story.comes_to_probe(4).probe_ends(4, refuses()).asks_to_stop(Signal::TERM);
    let story = story.exits(code(0)).is(Status::Crashed, "health: 3 of 3 probes failed: connection refused, retry 1 in 1s");
    let story = story.told(&[
        (EventKind::Started, "boot"),
        (EventKind::Unhealthy, "3 of 3 probes failed: connection refused"),
        (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
        (EventKind::Exited, "health: 3 of 3 probes failed: connection refused"),
        (EventKind::Planned, "health: 3 of 3 probes failed: connection refused, retry 1 in 1s"),
    ]);
    story.starts_after(1.s()).is(Status::Running, "restarted after health: 3 of 3 probes failed: connection refused");
}

#[test]
fn one_good_answer_makes_bad_ones_forgotten() {
    let mut story = story(watched()).starts();
    for number in 1..=12 {
        let outcome = if number % 3 == 0 { Outcome::Passed } else { refuses() };
        story = story.comes_to_probe(number).probe_ends(number, outcome).quiet();
    }
}

#[test]
fn failures_while_a_service_starts_do_not_count_until_it_has_answered_once() {
    let make = || health(watched(), |health| (health.retries, health.start_period) = (1, 60.s()));
    let story1 = story(make()).starts().comes_to_probe(1).probe_ends(1, refuses()).is(Status::Running, "started with the daemon");
    let story1 = story1.comes_to_probe(2).probe_ends(2, Outcome::Passed).comes_to_probe(3).probe_ends(3, refuses());
    story1.asks_to_stop(Signal::TERM);
    let mut story2 = story(make()).starts();
    let start = story2.now.mono;
    for number in 1.. {
        story2 = story2.comes_to_probe(number).probe_ends(number, refuses());
        if story2.now.mono.since(start) >= 60.s() {
            break;
        }
        story2 = story2.quiet();
    }
    story2.asks_to_stop(Signal::TERM);
}

#[test]
fn r50_a_service_is_not_blamed_for_what_the_daemon_lacks() {
    let mut story = story(health(watched(), |health| health.retries = 1)).starts();
    for number in 1..=5 {
        let lack = Outcome::NotAsked("too many open files".to_owned());
        story = story.comes_to_probe(number).probe_ends(number, lack).quiet();
    }
}

#[test]
fn health_is_asked_for_when_the_service_is_ready() {
    let make = probed().with(|spec| spec.health = watched().0.health);
    let story = story(make).starts().probes(1).after(1500.ms()).quiet().probe_ends(1, Outcome::Passed);
    story.comes_to_probe(2);
}

#[test]
fn a_probe_ends_with_its_service_and_its_answer_means_nothing_then() {
    let stop = || Request::Stop(Targets { services: vec!["svc".to_owned()], wait: false, rolling: false });
    let story = story(health(watched(), |health| health.retries = 1)).starts().comes_to_probe(1);
    let story = story.request(stop()).replies(done()).asks_to_stop(Signal::TERM).stops_probe(1).probe_ends(1, refuses()).exits(code(0));
    story.is(Status::Finished, "stopped by request").probe_ends(1, refuses()).is(Status::Finished, "stopped by request");
}

#[test]
fn the_answer_to_an_earlier_run_says_nothing_of_this_one() {
    let story = story(probed()).starts().probes(1).exits(code(1)).stops_probe(1).starts_after(1.s()).probes(2);
    story.probe_ends(1, Outcome::Passed).shows_ready(false).probe_ends(2, Outcome::Passed).shows_ready(true);
}

#[test]
fn who_is_paused_is_not_asked_and_not_blamed() {
    let story = story(health(watched(), |health| health.retries = 1)).starts().comes_to_probe(1);
    let story = story.paused().stops_probe(1).probe_ends(1, refuses()).after(3600.s()).quiet().resumed();
    story.comes_to_probe(2).probe_ends(2, Outcome::Passed).shows_ready(true);
}

#[test]
fn a_pause_does_not_make_failures_of_who_was_well_forgiven_again() {
    let make = health(watched(), |health| (health.retries, health.start_period) = (1, 3600.s()));
    let story = story(make).starts().comes_to_probe(1).probe_ends(1, Outcome::Passed);
    story.paused().after(1.s()).resumed().comes_to_probe(2).probe_ends(2, refuses()).asks_to_stop(Signal::TERM);
}

#[test]
fn who_is_paused_before_it_is_ready_has_all_its_time_when_it_goes_on() {
    let story = story(ready(probed(), |ready| ready.timeout = Some(1.s()))).starts().probes(1).paused().stops_probe(1);
    let story = story.after(60.s()).quiet().resumed().probes(2).after(999.ms()).quiet();
    story.after(1.ms()).stops_probe(2).asks_to_stop(Signal::TERM);
}

/// It says that it is ready, and that it is well.
fn speaks() -> Make {
    let notify = || Check::Notify(Channel::Socket);
    svc().with(|spec| {
        spec.ready = Some(Box::new(Readiness::new(notify())));
        spec.health = Some(Box::new(Health::new(notify())));
    })
}

impl Story {
    fn says(self, message: &str) -> Story {
        let id = self.id();
        self.event(ppm_core::event::Event::Notified { id, notification: Notification::parse(message.as_bytes()) })
    }
}

#[test]
fn a_service_is_ready_when_it_says_so() {
    let story = story(speaks()).starts().shows_ready(false).is(Status::Running, "waiting to be ready").request(await_ready());
    let story = story.after(2.s()).says("STATUS=reading").quiet().row(|row| assert_eq!(row.status_text.as_deref(), Some("reading")));
    let story = story.says("READY=1\nSTATUS=").replies(done()).shows_ready(true).row(|row| assert_eq!(row.status_text, None));
    story.told(&[(EventKind::Started, "boot"), (EventKind::Ready, "after 2s")]);
}

#[test]
fn who_is_probed_otherwise_is_not_ready_because_it_says_so() {
    story(probed()).starts().probes(1).says("READY=1").shows_ready(false);
}

#[test]
fn a_service_that_falls_silent_is_ended() {
    let story = story(speaks()).starts().says("READY=1").after(29.s()).says("WATCHDOG=1").after(29.s()).says("WATCHDOG=1").quiet();
    let story = story.after(30.s()).asks_to_stop(Signal::TERM).exits(code(0));
    let story = story.is(Status::Crashed, "health: no WATCHDOG=1 within 30s, retry 1 in 1s");
    story.starts_after(1.s()).after(3600.s()).quiet(); // silence before it is ready is no silence
}

#[test]
fn a_service_may_ask_for_more_time_and_for_its_own_end() {
    let make = || ready(speaks(), |ready| ready.timeout = Some(10.s()));
    let told = story(make()).starts().after(9.s()).says("EXTEND_TIMEOUT_USEC=5000000").after(4999.ms()).quiet().after(1.ms());
    told.asks_to_stop(Signal::TERM);
    let told = story(make()).starts().says("READY=1\nWATCHDOG_USEC=2000000").after(1999.ms()).quiet().after(1.ms());
    told.asks_to_stop(Signal::TERM).exits(code(0)).is(Status::Crashed, "health: no WATCHDOG=1 within 2s, retry 1 in 1s");
    let told = story(make()).starts().says("READY=1").says("WATCHDOG=trigger").asks_to_stop(Signal::TERM).exits(code(0));
    told.is(Status::Crashed, "health: it asked for it with WATCHDOG=trigger, retry 1 in 1s");
}

#[test]
fn who_ends_by_itself_is_not_asked_any_more() {
    story(speaks()).starts().says("READY=1").says("STOPPING=1").after(60.s()).quiet().exits(code(0)).is(Status::Finished, "exit code 0");
}

#[test]
fn what_was_said_before_a_pause_counts_after_it() {
    let story = story(speaks()).starts().paused().says("READY=1").shows_ready(false).after(3600.s()).quiet();
    story.resumed().shows_ready(true).after(30.s()).asks_to_stop(Signal::TERM);
}

fn awaits(pattern: &str) -> Make {
    svc().with(|spec| {
        let keys = LogKeys { memory: Some(65536), ..LogKeys::default() };
        spec.log = LogChoice::Own(Box::new(keys));
        spec.ready = Some(Box::new(Readiness::new(Check::Log(LinePattern::new(pattern).unwrap()))));
    })
}

#[test]
fn a_service_is_ready_when_it_has_written_its_line() {
    let story = story(awaits("up on *")).starts().is(Status::Running, "waiting to be ready: no line with `up on *` yet");
    let story =
        story.after(30.s()).told(&[(EventKind::Started, "boot"), (EventKind::Unready, "not ready after 30s: no line with `up on *` yet")]);
    let story = story.after(1.s()).says("READY=1").shows_ready(true).told(&[(EventKind::Ready, "after 31s")]);
    story.exits(code(1)).starts_after(1.s()).shows_ready(false);
}

#[test]
fn whoever_reads_its_output_is_told_of_the_line_at_a_start_and_when_it_is_another() {
    let mut story = story(awaits("one"));
    let Action::Spawn { launch, .. } = story.take("a spawn", |action| matches!(action, Action::Spawn { .. })) else { panic!() };
    assert_eq!(launch.awaits, Some(LinePattern::new("one").unwrap()));
    let reload = Request::Reload(ppm_protocol::message::ReadAgain { plan: false });
    let mut story = story.comes_up().request(reload).reads(awaits("two")).replies(|reply| assert!(reply.is_ok()));
    let told = story.take("another line", |action| matches!(action, Action::SetLogger { .. }));
    let Action::SetLogger { launch, .. } = told else { panic!("{told:?}") };
    assert_eq!(launch.awaits, Some(LinePattern::new("two").unwrap()));
    story.told(&[(EventKind::Started, "boot"), (EventKind::Changed, "ready: log `one` -> log `two`")]);
}

#[test]
fn whether_a_service_holds_a_port_is_asked_of_its_main_process() {
    let make = svc().with(|spec| spec.ready = Some(Box::new(Readiness::new(Check::Listen(8080)))));
    let mut story = story(make).starts();
    let asked = story.take("a probe", |action| matches!(action, Action::Probe { .. }));
    let Action::Probe { question: Question::Held { port: 8080, main }, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(main, story.pid());
}

#[test]
fn what_a_service_is_given_at_its_start_is_changed_by_a_restart() {
    let reload = Request::Reload(ppm_protocol::message::ReadAgain { plan: false });
    let story = story(svc()).starts().request(reload).reads(speaks()).asks_to_stop(Signal::TERM).exits(code(0)).starts();
    story.replies(|reply| assert!(reply.is_ok())).shows_ready(false);
}

#[test]
fn a_changed_probe_is_applied_to_what_runs() {
    let story = story(probed()).starts().probes(1).probe_ends(1, refuses());
    let other = svc().with(|spec| spec.ready = Some(Box::new(Readiness::new(Check::tcp("81").unwrap()))));
    let reload = Request::Reload(ppm_protocol::message::ReadAgain { plan: false });
    let mut story = story.request(reload.clone()).reads(other).replies(|reply| assert!(reply.is_ok()));
    let asked = story.take("another probe", |action| matches!(action, Action::Probe { attempt: 2, .. }));
    let Action::Probe { question: Question::Connection(target), .. } = asked else { panic!("{asked:?}") };
    assert_eq!(target.to_string(), "81");
    let story = story.told(&[(EventKind::Started, "boot"), (EventKind::Changed, "ready: tcp 80 -> tcp 81")]);
    let story = story.request(reload).reads(svc()).replies(|reply| assert!(reply.is_ok())).stops_probe(2);
    story.shows_ready(true).told(&[(EventKind::Changed, "ready: tcp 81 -> none")]);
}

#[test]
fn what_is_ready_stays_so_when_its_probe_is_changed() {
    let reload = Request::Reload(ppm_protocol::message::ReadAgain { plan: false });
    let story = story(svc()).starts().request(reload).reads(probed()).replies(|reply| assert!(reply.is_ok()));
    story.shows_ready(true).after(60.s()).quiet();
}

#[test]
fn what_is_not_well_but_shall_not_be_restarted_is_ended_all_the_same() {
    let make = health(watched(), |health| health.retries = 1).essential();
    let story = story([make, named("other")])
        .starts()
        .on("other")
        .starts()
        .on("svc")
        .comes_to_probe(1)
        .probe_ends(1, refuses())
        .asks_to_stop(Signal::TERM)
        .exits(code(3));
    story.on("other").asks_to_stop(Signal::TERM).exits(code(0)).leaves(3);
}
