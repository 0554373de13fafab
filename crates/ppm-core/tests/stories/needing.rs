//! Services that need others: they wait for them, visibly, and end before them.

use std::time::Duration;

use ppm_core::dependencies::{Condition, Need, OnDependencyRestart};
use ppm_core::event::{Cause, Event};
use ppm_core::spec::{RestartWhen, ServiceSpec, Settings};
use ppm_protocol::message::{AddService, Targets};
use ppm_protocol::{ErrorCode, EventKind, Request, Signal, Status};

use crate::ask::{add, no_wait, remove, reschedule, restart, roll, start, stop};
use crate::story::{Cast, Make, Span, Story, by, changed, code, done, failed, named, refused, sig, story, story_with};

/// What this service needs: `db`, `db:ready`.
fn needs(make: Make, others: &str) -> Make {
    make.with(|spec| spec.depends_on = others.split_whitespace().map(|other| Need::parse(other).unwrap()).collect())
}

fn web(others: &str) -> Make {
    needs(named("web"), others)
}

fn waits(reason: &'static str) -> impl Fn(&crate::story::Reply) {
    changed(move |changed| {
        assert_eq!(changed.failed, []);
        let reasons: Vec<&str> = changed.services.iter().map(|row| row.reason.as_str()).collect();
        assert_eq!(reasons, [reason]);
    })
}

#[test]
fn a_service_starts_when_what_it_needs_has_started() {
    story([web("db"), named("db")])
        .is(Status::Created, "waiting for db")
        .told(&[(EventKind::Blocked, "waiting for db")])
        .on("db")
        .spawns()
        .on("web")
        .quiet()
        .on("db")
        .comes_up()
        .on("web")
        .starts_by(Cause::Boot)
        .told(&[(EventKind::Started, "boot")]);
}

#[test]
fn a_service_waits_for_all_that_it_needs_and_only_as_far_as_it_says() {
    let migrate = named("migrate").restart(RestartWhen::Never);
    story([web("db:ready migrate:finished"), needs(migrate, "db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .is(Status::Created, "waiting for migrate")
        .on("migrate")
        .starts()
        .on("web")
        .quiet()
        .on("migrate")
        .exits(code(0))
        .on("web")
        .starts();
}

#[test]
fn what_has_run_to_a_good_end_has_been_started() {
    story([web("setup"), named("setup")])
        .on("setup")
        .starts()
        .on("web")
        .starts()
        .exits(code(1))
        .on("setup")
        .exits(code(0))
        .on("web")
        .starts_after(1.s());
}

#[test]
fn a_service_survives_the_crash_of_what_it_needs_and_waits_for_it_only_when_it_starts() {
    story([web("db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .starts()
        .on("db")
        .exits(code(1))
        .on("web")
        .is(Status::Running, "started with the daemon")
        .exits(code(1))
        .after(1.s())
        .is(Status::Crashed, "waiting for db")
        .on("db")
        .starts()
        .on("web")
        .starts_by(Cause::Backoff);
}

#[test]
fn that_it_can_never_start_is_told_and_mended_by_whoever_starts_what_it_needs() {
    let migrate = named("migrate").restart(RestartWhen::Never);
    story([web("migrate:finished"), migrate])
        .on("migrate")
        .starts()
        .exits(code(3))
        .on("web")
        .is(Status::Created, "cannot start: migrate has crashed")
        .told(&[(EventKind::Blocked, "waiting for migrate"), (EventKind::Blocked, "cannot start: migrate has crashed")])
        .request(start("web"))
        .replies(failed("migrate has crashed"))
        .on("migrate")
        .request(start("migrate"))
        .starts()
        .replies(done())
        .on("web")
        .is(Status::Created, "waiting for migrate")
        .on("migrate")
        .exits(code(0))
        .on("web")
        .starts_by(Cause::Request);
}

#[test]
fn one_that_has_ended_is_never_ready_again_by_itself() {
    let job = named("job").restart(RestartWhen::Never);
    story([web("job:ready").no_autostart(), job])
        .on("job")
        .starts()
        .exits(code(0))
        .on("web")
        .request(start("web"))
        .replies(failed("job has ended"))
        .is(Status::Created, "cannot start: job has ended");
}

#[test]
fn what_its_user_stopped_is_not_started_by_those_who_need_it() {
    story([web("db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .starts()
        .request(stop("db"))
        .on("db")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .on("web")
        .is(Status::Running, "started with the daemon")
        .request(restart("web"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(changed(|changed| assert_eq!(changed.to_start, ["db"])))
        .is(Status::Finished, "waiting for db (stopped)")
        .request(start("db"))
        .on("db")
        .starts()
        .replies(done())
        .on("web")
        .starts_by(Cause::Request);
}

#[test]
fn what_nobody_has_asked_for_is_started_by_those_who_need_it() {
    let lazy = |name: &str, others: &str| needs(named(name), others).no_autostart();
    story([lazy("web", "app"), lazy("app", "db"), lazy("db", "")])
        .quiet()
        .request(start("web"))
        .replies(waits("waiting for app"))
        .on("db")
        .starts_by(Cause::Needed)
        .is(Status::Running, "started because it is needed")
        .on("app")
        .starts_by(Cause::Needed)
        .on("web")
        .starts_by(Cause::Request);
}

#[test]
fn what_was_stopped_before_it_ever_ran_stays_so() {
    story([web("db").no_autostart(), named("db").no_autostart()])
        .request(stop("db"))
        .replies(done())
        .request(start("web"))
        .replies(waits("waiting for db (stopped)"))
        .on("db")
        .quiet();
}

#[test]
fn the_last_command_wins_while_a_service_waits_r23() {
    let waiting = || story([web("db"), named("db")]).on("db").spawns().on("web");
    waiting().request(stop("web")).replies(done()).is(Status::Created, "not started").on("db").comes_up().on("web").quiet();
    waiting()
        .request(stop("web"))
        .replies(done())
        .request(restart("web"))
        .replies(waits("waiting for db"))
        .request(start("web"))
        .replies(waits("waiting for db"))
        .on("db")
        .comes_up()
        .on("web")
        .starts_by(Cause::Request);
    waiting().request(remove("web")).replies(done()).vanished().on("db").comes_up();
    let scheduled = web("db").scheduled("0 4 * * *").options(|options| options.on_start = true);
    story([scheduled, named("db")])
        .on("db")
        .spawns()
        .on("web")
        .request(reschedule("web"))
        .replies(done())
        .on("db")
        .comes_up()
        .on("web")
        .quiet()
        .planned_for("02T04:00:00");
}

#[test]
fn restarts_and_starts_while_it_waits_make_one_service_of_it_r24() {
    let mut story = story([web("db"), named("db")]).on("db").spawns();
    for _ in 0..20 {
        story = story.request(no_wait(restart("web"))).replies(done()).request(no_wait(start("web"))).replies(done());
    }
    story.comes_up().on("web").starts().quiet();
}

#[test]
fn a_dependency_that_flaps_starts_those_who_wait_once() {
    let db = named("db").interval(0.ms());
    story([web("db:ready"), db])
        .on("db")
        .spawns()
        .comes_up()
        .exits(code(1))
        .spawns()
        .comes_up()
        .on("web")
        .starts()
        .on("db")
        .exits(code(1))
        .spawns()
        .comes_up()
        .on("web")
        .quiet();
}

#[test]
fn a_restart_is_passed_on_to_those_who_want_it() {
    let follower = web("db").with(|spec| spec.on_dependency_restart = OnDependencyRestart::Restart);
    story([follower, needs(named("keeper"), "db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .starts()
        .on("keeper")
        .starts()
        .on("db")
        .exits(code(1))
        .on("web")
        .quiet()
        .on("db")
        .starts_after(1.s())
        .on("web")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts_by(Cause::Dependency)
        .is(Status::Running, "restarted with what it needs")
        .quiet();
}

#[test]
fn several_that_are_started_together_start_in_their_order() {
    story([web("db").no_autostart(), named("db").no_autostart()])
        .request(start("web db"))
        .on("db")
        .starts()
        .on("web")
        .spawns()
        .replies(changed(|changed| assert_eq!(changed.failed, [])))
        .comes_up();
}

#[test]
fn what_is_removed_is_waited_for_until_it_is_there_again() {
    story([web("db").no_autostart(), named("db")])
        .on("db")
        .starts()
        .request(remove("db"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .on("web")
        .request(start("web"))
        .replies(failed("there is no service db"))
        .is(Status::Created, "cannot start: there is no service db")
        .request(Request::Add(add("db")))
        .on("db")
        .starts()
        .replies(done())
        .on("web")
        .starts();
}

#[test]
fn a_service_that_is_added_may_need_what_there_is() {
    let adds = |name: &str, others: &[&str]| {
        let depends_on = others.iter().map(|other| (*other).to_owned()).collect();
        Request::Add(AddService { depends_on, ..add(name) })
    };
    story([named("db"), web("db")])
        .starts()
        .on("web")
        .starts()
        .request(adds("x", &["dbb"]))
        .replies(refused(ErrorCode::InvalidService, "`x` needs `dbb`, and there is no such service"))
        .request(adds("x", &["db:up"]))
        .replies(refused(ErrorCode::InvalidService, "`up` is not how far a service can have come"))
        .request(adds("x", &["x"]))
        .replies(refused(ErrorCode::InvalidService, "`x` needs itself"))
        .request(remove("db"))
        .on("db")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .request(adds("db", &["web"]))
        .replies(refused(ErrorCode::InvalidService, "services that need each other never start: `db` needs `web`, which needs `db`"))
        .request(adds("job", &["web:finished"]))
        .replies(waits_for_web())
        .on("web")
        .exits(code(0))
        .on("job")
        .starts_by(Cause::Request);
}

fn waits_for_web() -> impl Fn(&crate::story::Reply) {
    waits("waiting for web")
}

#[test]
fn those_who_need_it_end_first_and_side_by_side() {
    story([web("db"), needs(named("app"), "db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .starts()
        .on("app")
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .on("web")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("db")
        .quiet()
        .is(Status::Running, "ends when those have ended that need it")
        .on("app")
        .exits(by(Signal::TERM))
        .on("db")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .leaves(0);
}

#[test]
fn a_conditions_kind_does_not_matter_for_the_end() {
    let ends = |condition: Condition| {
        let story = story([web(&format!("db:{}", condition.name())), named("db")]).on("db").starts().on("web").starts();
        story.request(stop("all")).asks_to_stop(Signal::TERM).on("db").quiet().on("web").exits(code(0)).on("db").asks_to_stop(Signal::TERM)
    };
    ends(Condition::Started).exits(code(0)).replies(done());
    ends(Condition::Ready).exits(code(0)).replies(done());
}

/// Three alike.
fn replicas(make: Make, count: u32) -> Vec<ServiceSpec> {
    make.0.replicas(count).collect()
}

#[test]
fn the_name_of_replicas_means_all_of_them() {
    let mut cast = replicas(named("web").no_autostart(), 3);
    cast.extend(needs(named("proxy"), "web").no_autostart().list());
    story(cast)
        .request(start("proxy"))
        .replies(waits("waiting for web-1, web-2, web-3"))
        .on("web-1")
        .starts_by(Cause::Needed)
        .on("web-2")
        .starts_by(Cause::Needed)
        .on("proxy")
        .is(Status::Created, "waiting for web-3")
        .on("web-3")
        .starts_by(Cause::Needed)
        .on("proxy")
        .starts()
        .request(stop("web"))
        .on("web-1")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("web-2")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("web-3")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(changed(|changed| assert_eq!(changed.services.len(), 3)))
        .request(Request::Add(add("web")))
        .replies(refused(ErrorCode::NameTaken, "there is a service `web` already (Finished, from test.yml:1)"));
}

#[test]
fn of_replicas_only_what_is_too_many_is_stopped() {
    let cast = |count| replicas(named("web"), count);
    story(cast(3))
        .on("web-1")
        .starts()
        .on("web-2")
        .starts()
        .on("web-3")
        .starts()
        .event(Event::Signalled(sig("HUP")))
        .reads(cast(2))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .vanished()
        .event(Event::Signalled(sig("HUP")))
        .reads(cast(4))
        .starts()
        .on("web-4")
        .starts();
}

#[test]
fn a_rolling_restart_takes_the_next_when_the_last_is_ready() {
    story(replicas(named("web"), 3))
        .on("web-1")
        .starts()
        .on("web-2")
        .starts()
        .on("web-3")
        .starts()
        .request(roll("web"))
        .on("web-1")
        .asks_to_stop(Signal::TERM)
        .quiet()
        .exits(code(0))
        .spawns()
        .quiet()
        .comes_up()
        .on("web-2")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts()
        .on("web-3")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts()
        .replies(done());
}

#[test]
fn a_rolling_restart_ends_with_the_first_that_fails() {
    let failures = |changed: &ppm_protocol::Changed| {
        let failed: Vec<(&str, &str)> = changed.failed.iter().map(|failure| (failure.service.as_str(), failure.message.as_str())).collect();
        assert_eq!(failed, [("web-1", "exec: no such file: web"), ("web-2", "it was spared, as `web-1` came first and failed")]);
    };
    story(replicas(named("web"), 2))
        .on("web-1")
        .starts()
        .on("web-2")
        .starts()
        .request(roll("web"))
        .on("web-1")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .fails_to_start("exec: no such file: web")
        .replies(changed(failures))
        .on("web-2")
        .is(Status::Running, "started with the daemon")
        .request(stop("web-1"))
        .replies(done())
        .request(Request::Restart(Targets { services: vec!["web".to_owned()], wait: false, rolling: true }))
        .replies(refused(ErrorCode::BadParams, "`restart`: `rolling` waits for each, so `wait` must be true"));
}

#[test]
fn a_rolling_restart_begins_with_what_is_needed() {
    story([web("db"), named("db")])
        .on("db")
        .starts()
        .on("web")
        .starts()
        .request(roll("all"))
        .on("db")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts()
        .on("web")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts()
        .replies(done());
}

/// `web` needs `app`, which needs `db`: all of them run, and none obeys.
fn deaf_layers(shutdown_timeout: Duration, timeout: Duration) -> Story {
    let deaf = |make: Make| make.with(|spec| spec.stop.timeout = timeout);
    let settings = Settings { shutdown_timeout, ..Settings::default() };
    let layers = [deaf(web("app")), deaf(needs(named("app"), "db")), deaf(named("db"))];
    story_with(settings, layers).on("db").starts().on("app").starts().on("web").starts()
}

#[test]
fn in_a_shutdown_every_layer_is_asked_before_anything_is_killed_for_want_of_time_r26() {
    let story = deaf_layers(9.s(), 20.s()).event(Event::Signalled(Signal::TERM));
    let story = story.asks_to_stop(Signal::TERM).after(6999.ms()).quiet().after(1.ms()).sends(Signal::KILL).reaps();
    let story = story.is(Status::Crashed, "killed: no time was left to wait for it");
    let story = story.on("app").asks_to_stop(Signal::TERM).after(999.ms()).quiet().after(1.ms()).sends(Signal::KILL).reaps();
    let story = story.on("db").asks_to_stop(Signal::TERM).after(999.ms()).quiet().exits(code(0));
    story.leaves(0);
}

#[test]
fn who_needs_less_time_than_there_is_leaves_the_rest_to_others() {
    let story = deaf_layers(9.s(), 5.s()).event(Event::Signalled(Signal::TERM)).asks_to_stop(Signal::TERM);
    let story = story.after(100.ms()).exits(code(0)).on("app").asks_to_stop(Signal::TERM).after(4999.ms()).quiet();
    let story = story.after(1.ms()).sends(Signal::KILL).reaps().is(Status::Crashed, "killed: did not stop within 5s");
    story.on("db").asks_to_stop(Signal::TERM).exits(code(0)).leaves(0);
}

#[test]
fn where_there_is_little_time_half_of_it_is_for_the_first_to_end() {
    let story = deaf_layers(1.s(), 5.s()).event(Event::Signalled(Signal::TERM)).asks_to_stop(Signal::TERM);
    let story = story.after(499.ms()).quiet().after(1.ms()).sends(Signal::KILL).reaps();
    story.on("app").asks_to_stop(Signal::TERM).exits(code(0)).on("db").asks_to_stop(Signal::TERM).exits(code(0)).leaves(0);
}

#[test]
fn who_was_asked_before_a_shutdown_began_has_no_more_time_than_others() {
    let story = deaf_layers(9.s(), 20.s()).request(stop("web")).asks_to_stop(Signal::TERM).after(1.s());
    let story = story.event(Event::Signalled(Signal::TERM)).after(6999.ms()).quiet().after(1.ms()).sends(Signal::KILL).reaps();
    story.on("app").asks_to_stop(Signal::TERM).exits(code(0)).on("db").asks_to_stop(Signal::TERM).exits(code(0)).replies(done()).leaves(0);
}
