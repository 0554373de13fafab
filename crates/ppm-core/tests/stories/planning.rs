//! Schedules, what is planned, and steps of the wall clock.

use std::time::Duration;

use ppm_core::config::Config;
use ppm_core::event::{Cause, Event};
use ppm_core::spec::{ServiceSpec, Settings};
use ppm_core::zone;
use ppm_protocol::message::Answer;
use ppm_protocol::{PlanEvent, PlanRow, Request, ServiceRow, Signal, Status, Why};

use crate::ask::{reschedule, scheduler, start, stop};
use crate::story::{Reply, Span, Story, code, done, named, story, story_with, svc};

pub fn plans(check: impl Fn(&[PlanRow])) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Plans(rows)) => check(rows),
        other => panic!("no plans, but {other:?}"),
    }
}

/// Stories begin at 03:04:05: the next whole minute is 55s ahead, the next hour 55min 55s.
fn hourly() -> Story {
    story(svc().scheduled("0 * * * *"))
}

#[test]
fn a_scheduled_service_waits_for_its_first_time_and_runs_at_each() {
    hourly()
        .is(Status::Created, "waiting for its schedule")
        .row(|row| {
            assert_eq!(
                row.next_start.map(|next| (next.at.to_string(), next.why)),
                Some(("2026-01-02T04:00:00.000Z".to_owned(), Why::Schedule))
            )
        })
        .after(55.m() + 54999.ms())
        .quiet()
        .after(1.ms())
        .starts_by(Cause::Schedule)
        .is(Status::Running, "started by its schedule")
        .exits(code(0))
        .is(Status::Finished, "exit code 0")
        .after(60.m() - 1.ms())
        .quiet()
        .after(1.ms())
        .starts_by(Cause::Schedule);
}

#[test]
fn a_service_that_still_runs_at_its_next_time_is_restarted_r37() {
    hourly()
        .after(55.m() + 55.s())
        .starts_by(Cause::Schedule)
        .after(60.m())
        .asks_to_stop(Signal::TERM)
        .quiet()
        .exits(code(0))
        .starts_by(Cause::Schedule);
}

#[test]
fn a_fire_while_it_backs_off_takes_the_place_of_the_retry_r37() {
    story(svc().scheduled("* * * * *").interval(10.m()))
        .after(55.s())
        .starts_by(Cause::Schedule)
        .exits(code(1))
        .after(60.s())
        .starts_by(Cause::Schedule)
        .exits(code(0))
        .after(59.s())
        .quiet();
}

#[test]
fn a_fire_while_it_starts_is_that_start() {
    story(svc().scheduled("* * * * *")).after(55.s()).spawns().after(60.s()).quiet().comes_up().row(|row| assert_eq!(row.restarts, 0));
}

#[test]
fn a_period_goes_on_from_the_time_it_was_planned_for() {
    story(svc().scheduled("@every 90s"))
        .is(Status::Created, "waiting for its schedule")
        .after(90.s() - 1.ms())
        .quiet()
        .after(1.ms())
        .starts_by(Cause::Schedule)
        .exits(code(0))
        .jump(100.s()) // ten seconds late
        .starts_by(Cause::Schedule)
        .exits(code(0))
        .after(80.s() - 1.ms())
        .quiet()
        .after(1.ms())
        .starts_by(Cause::Schedule)
        .exits(code(0))
        .jump(1000.s())
        .starts_by(Cause::Schedule)
        .exits(code(0))
        .after(79.s())
        .quiet()
        .after(1.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn what_runs_at_reboot_starts_with_the_daemon_and_is_not_planned_again() {
    story(svc().scheduled("@reboot"))
        .starts_by(Cause::Boot)
        .exits(code(0))
        .is(Status::Finished, "exit code 0")
        .row(|row| assert_eq!((row.active, row.next_start), (true, None)))
        .after(1000.m())
        .quiet();
}

#[test]
fn a_schedule_is_read_in_its_zone_else_in_that_of_the_configuration() {
    let zone = |name| Some(zone::named(name).unwrap());
    let own = |spec: &mut ServiceSpec| spec.schedule = spec.schedule.take().map(|schedule| Box::new(schedule.in_zone(zone("Asia/Tokyo"))));
    let cast = || [named("common").scheduled("0 6 * * *"), named("own").scheduled("0 6 * * *").with(own)];
    let next = |at: &'static str| move |row: &ServiceRow| assert_eq!(row.next_start.unwrap().at.to_string(), at);
    let story = story_with(Settings { timezone: zone("Europe/Paris"), ..Settings::default() }, cast());
    let story = story.on("common").row(next("2026-01-02T05:00:00.000Z")).on("own").row(next("2026-01-02T21:00:00.000Z"));

    let services = cast().map(|make| make.0).to_vec();
    let moved = Config { settings: Settings { timezone: zone("America/New_York"), ..Settings::default() }, services, ..Config::default() };
    story
        .event(Event::Signalled(Signal::HUP))
        .reads_config(Ok(moved))
        .announces("reload: timezone: Europe/Paris -> America/New_York")
        .on("common")
        .row(next("2026-01-02T11:00:00.000Z"))
        .on("own")
        .row(next("2026-01-02T21:00:00.000Z"));
}

#[test]
fn a_stopped_service_is_not_planned_and_a_started_one_is_again() {
    hourly()
        .request(stop("svc"))
        .replies(done())
        .row(|row| assert_eq!((row.active, row.next_start), (false, None)))
        .after(120.m())
        .quiet()
        .request(reschedule("svc"))
        .replies(done())
        .row(|row| assert!(row.active))
        .is(Status::Created, "waiting for its schedule")
        .after(55.m() + 55.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn a_start_runs_it_now_and_keeps_the_plan() {
    hourly()
        .request(start("svc"))
        .starts_by(Cause::Request)
        .replies(done())
        .exits(code(0))
        .after(55.m() + 55.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn without_autostart_nothing_is_planned() {
    story(svc().scheduled("* * * * *").no_autostart()).after(60.m()).quiet().is(Status::Created, "not started");
}

#[test]
fn reschedule_drops_the_retry_and_keeps_the_plan() {
    story(svc().scheduled("* * * * *").interval(10.s()))
        .after(55.s())
        .starts_by(Cause::Schedule)
        .exits(code(1))
        .request(reschedule("svc"))
        .replies(done())
        .row(|row| assert_eq!((row.next_start.map(|next| next.why), row.crashes), (Some(Why::Schedule), 0)))
        .after(60.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn the_scheduler_shows_what_is_planned_the_soonest_first() {
    let story = story([named("hourly").scheduled("0 * * * *"), named("crashing"), named("minutely").scheduled("* * * * *")]);
    let story = story.on("crashing").starts().exits(code(1));
    story.after(100.ms()).request(scheduler()).replies(plans(|rows| {
        let rows: Vec<(&str, PlanEvent, u64, &str, &str)> =
            rows.iter().map(|row| (row.name.as_str(), row.event, row.in_ms, row.last.as_str(), row.rule.as_str())).collect();
        assert_eq!(
            rows,
            [
                ("crashing", PlanEvent::Restart, 900, "exit code 1", "backoff, retry 1"),
                ("minutely", PlanEvent::Schedule, 54_900, "", "* * * * *"),
                ("hourly", PlanEvent::Schedule, 3_354_900, "", "0 * * * *"),
            ]
        );
    }));
}

#[test]
fn a_small_step_of_the_clock_changes_nothing_r36() {
    hourly().steps(400).event(Event::ClockStepped).quiet().after(55.m() + 54600.ms()).starts_by(Cause::Schedule);
}

#[test]
fn after_a_step_forward_the_plan_is_kept_and_nothing_is_lost_r36() {
    hourly().steps(30 * 60_000).event(Event::ClockStepped).quiet().after(25.m() + 55.s()).starts_by(Cause::Schedule);
}

#[test]
fn after_a_step_backward_an_interval_is_planned_anew_from_then_r36() {
    hourly()
        .steps(-30 * 60_000)
        .event(Event::ClockStepped)
        .announces("the wall clock went back by 30m: it shows 2026-01-02T02:34:05.000Z, 2026-01-02T03:04:05.000Z was expected")
        .planned_for("02T03:00:00")
        .after(25.m() + 55.s())
        .starts_by(Cause::Schedule);
}

#[test]
fn a_step_that_nobody_tells_of_is_noticed_after_the_check_interval_or_with_whatever_happens_before_r36() {
    let story = |interval| {
        let settings = Settings { clock_check_interval: interval, ..Settings::default() };
        story_with(settings, svc().scheduled("0 * * * *")).steps(-30 * 60_000).planned_for("02T04:00:00")
    };
    story(10.s())
        .look(|story| assert_eq!(story.supervisor.deadline(), Some(story.now.mono + 10.s())))
        .after(10.s())
        .planned_for("02T03:00:00");
    story(Duration::ZERO).look(|story| assert_eq!(story.supervisor.deadline(), None)).event(Event::Tick).planned_for("02T03:00:00");
}

#[test]
fn the_clock_does_not_touch_delays_r36() {
    story([svc(), named("other").scheduled("0 * * * *")])
        .starts()
        .exits(code(1))
        .steps(-3_600_000)
        .event(Event::ClockStepped)
        .starts_after(1.s());
}

#[test]
fn missed_times_are_run_once_not_replayed_r36() {
    story(svc().scheduled("* * * * *")).jump(10.m()).starts_by(Cause::Schedule).exits(code(0)).after(54.s()).quiet();
}

#[test]
fn a_hup_that_changes_nothing_keeps_every_plan_r32() {
    let mut story = hourly();
    for _ in 0..3 {
        story = story.event(Event::Signalled(Signal::HUP)).reads_again().announces("reload: nothing has changed");
    }
    story.after(55.m() + 55.s()).starts_by(Cause::Schedule).look(|story| assert_eq!(story.supervisor.services().count(), 1));
}

#[test]
fn the_configuration_is_told_as_yaml() {
    story(svc().no_autostart()).request(Request::Configuration).replies(|reply| {
        assert!(matches!(reply, Ok(Answer::Configuration(configuration)) if !configuration.yaml.is_empty()));
    });
}
