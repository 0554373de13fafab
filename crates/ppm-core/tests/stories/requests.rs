//! Whom a request means, and what it may not do.

use ppm_protocol::message::{AddService, Answer, Selection, Targets};
use ppm_protocol::{ErrorCode, Request, Signal, Status};

use crate::ask::{add, list, no_wait, remove, reschedule, restart, start, stop};
use crate::story::{Reply, Span, changed, code, done, failed, named, refused, story, svc};

/// The names in an answer to `list` or to a change.
fn names(expected: &'static [&'static str]) -> impl Fn(&Reply) {
    move |reply| {
        let rows = match reply {
            Ok(Answer::Services(rows)) => rows,
            Ok(Answer::Changed(changed)) => &changed.services,
            other => panic!("no rows, but {other:#?}"),
        };
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

fn three() -> crate::story::Story {
    story([named("web-1").no_autostart(), named("web-2").no_autostart(), named("db").no_autostart()])
}

#[test]
fn services_are_meant_by_name_number_glob_or_all_each_once() {
    three()
        .request(list(""))
        .replies(names(&["web-1", "web-2", "db"]))
        .request(list("db"))
        .replies(names(&["db"]))
        .request(list("2"))
        .replies(names(&["web-2"]))
        .request(list("web-*"))
        .replies(names(&["web-1", "web-2"]))
        .request(list("web-[2-9]"))
        .replies(names(&["web-2"]))
        .request(list("all"))
        .replies(names(&["web-1", "web-2", "db"]))
        .request(list("db 3 d? web-2"))
        .replies(names(&["web-2", "db"]));
}

#[test]
fn an_unknown_name_among_known_ones_changes_nothing() {
    three()
        .request(start("web-1 nope db"))
        .replies(refused(ErrorCode::NoSuchService, "no such service `nope`"))
        .quiet()
        .request(start("web-1 x*"))
        .replies(refused(ErrorCode::NoSuchService, "no service matches `x*`"))
        .request(start("4"))
        .replies(refused(ErrorCode::NoSuchService, "no such service `4`"))
        .request(start("0"))
        .replies(refused(ErrorCode::NoSuchService, "no such service `0`"))
        .request(list("-1"))
        .replies(refused(ErrorCode::NoSuchService, "no such service `-1`"))
        .request(start(""))
        .replies(refused(ErrorCode::BadParams, "`services` is empty: name at least one, or `all`"))
        .quiet();
}

#[test]
fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
    three().request(stop("wbe-1")).replies(|reply| {
        let data = reply.as_ref().unwrap_err().data.clone().unwrap();
        assert_eq!(data, serde_json::json!({"service": "wbe-1", "services": ["db", "web-1", "web-2"], "count": 3, "similar": "web-1"}));
    });
}

#[test]
fn a_change_of_all_without_any_service_is_done() {
    story(svc().no_autostart()).request(remove("all")).replies(done()).request(stop("all")).replies(names(&[]));
}

#[test]
fn a_change_of_several_lists_those_that_failed() {
    story([named("a").no_autostart(), named("b").no_autostart()])
        .request(start("all"))
        .starts()
        .on("b")
        .fails_to_start("exec: no such file: b")
        .replies(changed(|changed| {
            assert_eq!(changed.services.len(), 2);
            assert_eq!(changed.failed.len(), 1);
            assert_eq!((changed.failed[0].service.as_str(), changed.failed[0].message.as_str()), ("b", "exec: no such file: b"));
        }));
}

#[test]
fn an_added_service_starts_and_is_answered_when_it_runs() {
    story(svc().no_autostart())
        .request(Request::Add(add("new")))
        .on("new")
        .spawns()
        .quiet()
        .comes_up()
        .replies(done())
        .is(Status::Running, "started by request")
        .row(|row| assert_eq!((row.id, row.active), (2, true)));
}

#[test]
fn an_added_service_that_cannot_start_stays_crashed() {
    story(svc().no_autostart())
        .request(Request::Add(add("new")))
        .on("new")
        .fails_to_start("exec: no such file: /bin/true")
        .replies(failed("exec: no such file: /bin/true"))
        .is(Status::Crashed, "exec: no such file: /bin/true, retry 1 in 1s")
        .request(stop("new"))
        .replies(done());
}

#[test]
fn an_added_service_may_be_left_alone() {
    story(svc().no_autostart())
        .request(Request::Add(AddService { start: false, ..add("new") }))
        .replies(done())
        .on("new")
        .after(60.m())
        .is(Status::Created, "not started")
        .row(|row| assert!(!row.active))
        .request(no_wait(Request::Add(add("quick"))))
        .replies(done())
        .on("quick")
        .starts();
}

#[test]
fn an_added_service_that_is_scheduled_waits_for_its_time() {
    let scheduled = AddService { schedule: Some("0 * * * *".to_owned()), ..add("new") };
    let unplanned = AddService { start: false, schedule: Some("0 * * * *".to_owned()), ..add("never") };
    story(svc().no_autostart())
        .request(Request::Add(scheduled))
        .replies(done())
        .on("new")
        .is(Status::Created, "waiting for its schedule")
        .request(Request::Add(unplanned))
        .replies(done())
        .on("never")
        .row(|row| assert_eq!(row.next_start, None))
        .on("new")
        .after(60.m())
        .starts_by(ppm_core::event::Cause::Schedule);
}

#[test]
fn an_invalid_service_is_refused_with_a_remedy() {
    story(svc().no_autostart()).request(Request::Add(add("a b"))).replies(|reply| {
        let error = reply.as_ref().unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::InvalidService, "` ` is not allowed in a name"));
        assert_eq!(error.data.clone().unwrap()["hint"], "use letters, digits and `.` `_` `-` `@`");
    });
}

#[test]
fn a_name_is_taken_until_its_service_is_gone() {
    story(svc())
        .starts()
        .request(Request::Add(add("svc")))
        .replies(refused(ErrorCode::NameTaken, "there is a service `svc` already (Running, from test.yml:1)"))
        .ask("remove", remove("svc"))
        .asks_to_stop(Signal::TERM)
        .request(Request::Add(add("svc")))
        .replies(refused(ErrorCode::NameTaken, "there is a service `svc` already (being removed, from test.yml:1)"))
        .exits(code(0))
        .answers("remove", done())
        .request(Request::Add(add("svc")))
        .starts()
        .replies(done())
        .row(|row| assert_eq!(row.id, 2, "a number is not given twice"));
}

#[test]
fn the_last_number_there_is_is_given_once() {
    story(svc().no_autostart().with(|spec| spec.id = Some(u32::MAX)))
        .request(Request::Add(add("new")))
        .replies(refused(ErrorCode::Refused, "there is no number left for another service"))
        .row(|row| assert_eq!(row.id, u32::MAX));
}

#[test]
fn what_has_no_schedule_cannot_be_rescheduled() {
    story(svc()).starts().request(reschedule("svc")).replies(refused(ErrorCode::Refused, "`svc` has no schedule"));
}

#[test]
fn a_call_that_waits_is_answered_once_for_all_its_services() {
    let both = Targets { services: vec!["a".to_owned(), "b".to_owned(), "a".to_owned()], wait: true, rolling: false };
    story([named("a"), named("b")])
        .starts()
        .on("b")
        .starts()
        .request(Request::Stop(both))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .on("a")
        .asks_to_stop(Signal::TERM)
        .quiet()
        .exits(code(0))
        .replies(names(&["a", "b"]));
}

#[test]
fn who_asks_learns_who_is_there() {
    story(svc().no_autostart()).request(Request::Hello).replies(|reply| match reply {
        Ok(Answer::Greeting(greeting)) => assert_eq!((greeting.protocol, greeting.version.as_str(), greeting.pid), (1, "1.2.3", 1)),
        other => panic!("no greeting, but {other:?}"),
    });
}

#[test]
fn a_row_holds_what_is_known_and_null_where_nothing_is() {
    story(svc())
        .row(|row| assert_eq!((row.started_at, row.ended_at, row.exit, row.pid), (None, None, None, None)))
        .starts()
        .after(1234.ms())
        .row(|row| assert_eq!((row.uptime_ms, row.pid, row.restarts, row.ended_at), (Some(1234), Some(100), 0, None)))
        .row(|row| assert_eq!(row.started_at.unwrap().to_string(), "2026-01-02T03:04:05.000Z"))
        .exits(code(1))
        .row(|row| assert_eq!(row.ended_at.unwrap().to_string(), "2026-01-02T03:04:06.234Z"))
        .starts_after(1.s())
        .row(|row| assert_eq!((row.exit, row.ended_at, row.restarts), (Some(code(1)), None, 1), "the last exit, also while it runs"));
}

#[test]
fn details_say_how_it_is_configured_but_not_what_its_variables_hold() {
    let secret = svc().no_autostart().with(|spec| {
        spec.command.args = vec!["-c".to_owned()];
        spec.command.env.insert("TOKEN".to_owned(), "hunter2".into());
        spec.restart.max_retries = 4;
    });
    story(secret).request(Request::Info(Selection { services: vec!["svc".to_owned()] })).replies(|reply| {
        let Ok(Answer::Infos(infos)) = reply else { panic!("no details, but {reply:?}") };
        assert_eq!(infos[0].command, ["/bin/svc", "-c"]);
        assert_eq!(infos[0].env, ["TOKEN"]);
        assert_eq!(infos[0].restart, "on-failure, backoff 1s to 5m, at most 4 retries");
        assert_eq!(infos[0].stop, "SIGTERM, then SIGKILL after 5s");
        assert!(!serde_json::to_string(infos).unwrap().contains("hunter2"));
    });
}

#[test]
fn a_restart_is_known_by_whoever_lists() {
    story(svc())
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .is(Status::Running, "stopping: SIGTERM sent, SIGKILL in 5s")
        .exits(code(0))
        .is(Status::Finished, "starting")
        .starts()
        .replies(done())
        .is(Status::Running, "started by request");
}

#[test]
fn a_group_is_addressed_by_its_name_behind_an_at_sign() {
    let of = |name, groups: &[&str]| named(name).with(|spec| spec.groups = groups.iter().map(|group| (*group).to_owned()).collect());
    story([of("web", &["front", "all-day"]), of("api", &["front"]), of("db", &[])])
        .starts()
        .on("api")
        .starts()
        .on("db")
        .starts()
        .request(list("@front"))
        .replies(|reply| match reply {
            Ok(Answer::Services(rows)) => {
                let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
                assert_eq!(names, ["web", "api"]);
            }
            other => panic!("no rows, but {other:#?}"),
        })
        .request(list("@back"))
        .replies(refused(ErrorCode::NoSuchService, "no service is in the group `back`"));
}

#[test]
fn all_means_those_that_can_and_a_name_means_that_one() {
    story([svc(), named("leaving"), named("nightly").scheduled("0 3 * * *")])
        .starts()
        .on("leaving")
        .starts()
        .ask("remove", remove("leaving"))
        .asks_to_stop(Signal::TERM)
        .ask("all", start("svc nightl*"))
        .on("nightly")
        .starts()
        .answers("all", done())
        .ask("start", start("all"))
        .answers("start", done())
        .ask("plan", reschedule("all"))
        .answers("plan", changed(|changed| assert_eq!(changed.services.len(), 1, "{changed:#?}")))
        .ask("named", start("all leaving"))
        .answers("named", refused(ErrorCode::Refused, "`leaving` is being removed"))
        .on("leaving")
        .exits(code(0))
        .answers("remove", done());
}
