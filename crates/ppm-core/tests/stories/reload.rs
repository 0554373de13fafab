//! Reload: only what changed is touched, and a wrong file changes nothing.

use ppm_core::attributes::{Attributes, Limit, Resource, User};
use ppm_core::config::{self, Config};
use ppm_core::event::{Action, Cause, ClientId, Event};
use ppm_core::reload::NoConfig;
use ppm_core::spec::{RestartWhen, Settings};
use ppm_protocol::message::{Answer, Check, ReadAgain};
use ppm_protocol::{ErrorCode, EventKind, ReloadAction, Request, Signal, Status};

use crate::ask::{add, reload, remove, start, stop};
use crate::story::{Make, Reply, Span, Story, code, done, named, refused, story, svc};

/// The answer to a reload: each service with what became of it, and what had changed.
fn reloaded(expected: &'static [(&'static str, ReloadAction, &'static str)]) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Reload(reload)) => {
            let rows: Vec<(&str, ReloadAction, String)> =
                reload.services.iter().map(|row| (row.service.as_str(), row.action, row.changes.join(", "))).collect();
            let expected: Vec<_> = expected.iter().map(|(name, action, changes)| (*name, *action, (*changes).to_owned())).collect();
            assert_eq!(rows, expected);
        }
        other => panic!("no reload, but {other:#?}"),
    }
}

fn running() -> Story {
    story(svc()).starts()
}

fn with_args(args: &str) -> Make {
    svc().with(|spec| spec.command.args = vec![args.to_owned()])
}

#[test]
fn what_did_not_change_is_not_touched_r61() {
    running()
        .request(reload())
        .reads(svc())
        .replies(reloaded(&[("svc", ReloadAction::Keep, "")]))
        .announces("reload: nothing has changed")
        .is(Status::Running, "started with the daemon");
}

#[test]
fn another_command_is_a_restart_answered_when_it_runs() {
    running()
        .request(reload())
        .reads(with_args("-v"))
        .announces("reload: restarted svc")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .spawns()
        .look(|story| assert_eq!(story.supervisor.services().next().unwrap().spec().command.args, ["-v"]))
        .comes_up()
        .replies(reloaded(&[("svc", ReloadAction::Restart, "command: /bin/svc -> /bin/svc -v")]))
        .row(|row| assert_eq!((row.id, row.restarts), (1, 1)));
}

#[test]
fn another_user_limit_or_priority_is_a_restart() {
    let limit = |hard| Limit { soft: Some(1024), hard };
    let before = Attributes { umask: Some(0o22), limits: [(Resource::Nofile, limit(None))].into(), nice: Some(5), ..Attributes::default() };
    let after = Attributes {
        user: Some(Box::new(User::parse("app:app").unwrap())),
        umask: Some(0o27),
        limits: [(Resource::Nofile, limit(Some(2048))), (Resource::Core, Limit { soft: Some(0), hard: Some(0) })].into(),
        nice: None,
        oom_score_adj: Some(500),
        no_new_privs: true,
    };
    let with = |attributes: &Attributes| {
        let attributes = attributes.clone();
        svc().with(|spec| spec.command.attributes = attributes)
    };
    let expected: &[_] = &[(
        "svc",
        ReloadAction::Restart,
        "user: none -> app:app, umask: 022 -> 027, nice: 5 -> none, oom_score_adj: none -> 500, no_new_privs: false -> true, \
        limits.core: none -> 0, limits.nofile: 1024:unlimited -> 1024:2048",
    )];
    let plan = Request::Reload(ReadAgain { plan: true });
    story(with(&before)).starts().request(plan).reads(with(&after)).replies(reloaded(expected));
}

#[test]
fn values_of_the_environment_are_compared_but_never_told() {
    let with_env = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        svc().with(|spec| spec.command.env = pairs.into_iter().collect())
    };
    story(with_env(&[("KEPT", "1"), ("PASSWORD", "old"), ("GONE", "x")]))
        .starts()
        .request(Request::Reload(ReadAgain { plan: true }))
        .reads(with_env(&[("KEPT", "1"), ("PASSWORD", "new"), ("NEW", "y")]))
        .replies(reloaded(&[("svc", ReloadAction::Restart, "env: NEW added, env: PASSWORD changed, env: GONE removed")]));
}

#[test]
fn another_policy_is_taken_over_without_a_restart() {
    running()
        .request(reload())
        .reads(svc().restart(RestartWhen::Never).with(|spec| spec.stop.timeout = 20.s()))
        .replies(reloaded(&[("svc", ReloadAction::Update, "restart.policy: on-failure -> never, stop.timeout: 5s -> 20s")]))
        .announces("reload: updated svc")
        .told(&[(EventKind::Started, "boot"), (EventKind::Changed, "restart.policy: on-failure -> never, stop.timeout: 5s -> 20s")])
        .exits(code(1))
        .after(10.m())
        .is(Status::Crashed, "exit code 1");
}

#[test]
fn services_come_and_go_with_the_file() {
    running()
        .request(reload())
        .reads(named("new"))
        .announces("reload: added new; removed svc")
        .asks_to_stop(Signal::TERM)
        .on("new")
        .starts_by(Cause::Reload)
        .row(|row| assert_eq!(row.id, 2))
        .on("svc")
        .exits(code(0))
        .replies(reloaded(&[("new", ReloadAction::Add, ""), ("svc", ReloadAction::Remove, "")]))
        .vanished();
}

#[test]
fn a_new_service_that_cannot_start_is_told() {
    running()
        .request(reload())
        .reads([svc(), named("new")])
        .announces("reload: added new")
        .on("new")
        .fails_to_start("exec: no such file: /bin/new")
        .replies(|reply| match reply {
            Ok(Answer::Reload(reload)) => assert_eq!(reload.failed.len(), 1, "{reload:#?}"),
            other => panic!("no reload, but {other:#?}"),
        });
}

#[test]
fn services_added_by_hand_stay() {
    running()
        .request(Request::Add(add("hand")))
        .on("hand")
        .starts()
        .replies(done())
        .request(reload())
        .reads(svc())
        .replies(reloaded(&[("svc", ReloadAction::Keep, "")]))
        .announces("reload: nothing has changed")
        .is(Status::Running, "started by request");
}

#[test]
fn what_is_common_to_all_services_is_common_to_those_added_by_hand_too_from_their_next_start_on() {
    let config = config::parse("env: {A: new}\nservices: []", "ppm.yml").unwrap();
    const CHANGE: &str = "env of all services, from its next start on";
    story([])
        .request(Request::Add(add("hand")))
        .on("hand")
        .starts_by(Cause::Request)
        .replies(done())
        .request(reload())
        .reads_config(Ok(config.clone()))
        .replies(reloaded(&[("hand", ReloadAction::Update, CHANGE)]))
        .told(&[(EventKind::Added, ""), (EventKind::Started, "request"), (EventKind::Changed, CHANGE)])
        .look(|story| {
            let common = &story.supervisor.services().next().unwrap().spec().command.surroundings.common;
            assert_eq!(common.env.keys().collect::<Vec<_>>(), ["A"]);
        })
        .request(reload())
        .reads_config(Ok(config))
        .replies(reloaded(&[]))
        .is(Status::Running, "started by request");
}

#[test]
fn a_service_added_by_hand_belongs_to_the_file_once_that_names_it() {
    story([])
        .request(Request::Add(add("svc")))
        .on("svc")
        .starts()
        .replies(done())
        .request(reload())
        .reads(svc().with(|spec| spec.command.path = "/bin/true".to_owned()))
        .replies(reloaded(&[("svc", ReloadAction::Keep, "")]))
        .announces("reload: nothing has changed")
        .request(reload())
        .reads([])
        .announces("reload: removed svc")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(reloaded(&[("svc", ReloadAction::Remove, "")]));
}

#[test]
fn a_service_that_was_stopped_stays_stopped_and_starts_with_its_new_command() {
    running()
        .request(stop("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .request(reload())
        .reads(with_args("-v"))
        .replies(reloaded(&[("svc", ReloadAction::Update, "command: /bin/svc -> /bin/svc -v")]))
        .announces("reload: updated svc")
        .after(10.m())
        .is(Status::Finished, "stopped by request")
        .request(start("svc"))
        .starts()
        .replies(done());
}

#[test]
fn a_crashed_service_is_tried_at_once_when_its_command_was_mended() {
    story(svc())
        .fails_to_start("exec: no such file: /bin/svc")
        .request(reload())
        .reads(svc().with(|spec| spec.command.path = "/bin/mended".to_owned()))
        .announces("reload: restarted svc")
        .starts()
        .replies(reloaded(&[("svc", ReloadAction::Restart, "command: /bin/svc -> /bin/mended")]))
        .row(|row| assert_eq!(row.crashes, 0));
}

#[test]
fn a_task_that_has_ended_is_not_run_again_for_a_new_command() {
    running()
        .exits(code(0))
        .request(reload())
        .reads(with_args("-v"))
        .replies(reloaded(&[("svc", ReloadAction::Update, "command: /bin/svc -> /bin/svc -v")]))
        .announces("reload: updated svc")
        .after(10.m())
        .is(Status::Finished, "exit code 0");
}

#[test]
fn another_schedule_is_planned_anew_and_the_same_keeps_its_plan() {
    story(svc().scheduled("0 * * * *"))
        .request(reload())
        .reads(svc().scheduled("30 * * * *"))
        .replies(reloaded(&[("svc", ReloadAction::Reschedule, "schedule: 0 * * * * -> 30 * * * *")]))
        .announces("reload: rescheduled svc")
        .row(|row| assert_eq!(row.next_start.unwrap().at.to_string(), "2026-01-02T03:30:00.000Z"))
        .request(reload())
        .reads(svc().scheduled("30 * * * *").with(|spec| spec.command.args = vec!["-v".to_owned()]))
        .replies(reloaded(&[("svc", ReloadAction::Update, "command: /bin/svc -> /bin/svc -v")]))
        .announces("reload: updated svc")
        .row(|row| assert_eq!(row.next_start.unwrap().at.to_string(), "2026-01-02T03:30:00.000Z"));
}

#[test]
fn a_plan_only_tells() {
    running()
        .request(Request::Reload(ReadAgain { plan: true }))
        .reads([with_args("-v"), named("new")])
        .replies(reloaded(&[("svc", ReloadAction::Restart, "command: /bin/svc -> /bin/svc -v"), ("new", ReloadAction::Add, "")]))
        .look(|story| assert_eq!(story.supervisor.services().count(), 1))
        .is(Status::Running, "started with the daemon");
}

#[test]
fn settings_are_taken_over() {
    let config =
        Config { settings: Settings { shutdown_timeout: 25.s(), ..Settings::default() }, services: vec![svc().0], ..Config::default() };
    running()
        .request(reload())
        .reads_config(Ok(config))
        .announces("reload: shutdown_timeout: 9s -> 25s")
        .replies(|reply| assert!(matches!(reply, Ok(Answer::Reload(reload)) if reload.settings == ["shutdown_timeout: 9s -> 25s"])));
}

#[test]
fn a_wrong_file_changes_nothing_and_says_where_r61() {
    let wrong = || config::parse("services:\n  - nam: x\n", "ppm.yml").unwrap_err();
    let text = wrong().to_string();
    running()
        .request(reload())
        .reads_config(Err(NoConfig::Wrong(wrong())))
        .replies(move |reply| {
            let error = reply.as_ref().unwrap_err();
            assert_eq!(error.code, ErrorCode::WrongConfiguration);
            let data = error.data.as_ref().unwrap();
            assert_eq!(data["text"], text.as_str());
            assert_eq!(data["problems"][0]["line"], 2);
        })
        .is(Status::Running, "started with the daemon");
    running()
        .request(reload())
        .reads_config(Err(NoConfig::Unreadable("cannot read the configuration ppm.yml: no such file".to_owned())))
        .replies(refused(ErrorCode::WrongConfiguration, "cannot read the configuration ppm.yml: no such file; nothing was changed"));
}

#[test]
fn a_name_that_is_still_being_removed_makes_the_whole_reload_wait_for_another_time() {
    running()
        .request(remove("svc"))
        .asks_to_stop(Signal::TERM)
        .ask("again", reload())
        .reads([svc(), named("new")])
        .answers("again", refused(ErrorCode::Refused, "`svc` is still being removed; try again"))
        .look(|story| assert_eq!(story.supervisor.services().count(), 1))
        .exits(code(0))
        .replies(done());
}

#[test]
fn a_number_that_is_taken_makes_the_whole_reload_fail() {
    running()
        .request(reload())
        .reads([svc(), named("new").with(|spec| spec.id = Some(1))])
        .replies(refused(ErrorCode::Refused, "id 1 of `new` belongs to `svc` until the daemon starts again"));
}

#[test]
fn nothing_is_reloaded_while_the_daemon_ends() {
    running()
        .ask("again", reload())
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .reads([svc(), named("new")])
        .answers("again", refused(ErrorCode::Refused, "the daemon is shutting down; nothing is started any more"))
        .ask("late", reload())
        .answers("late", refused(ErrorCode::Refused, "the daemon is shutting down; nothing is started any more"))
        .exits(code(0))
        .leaves(0);
}

#[test]
fn a_client_that_is_gone_gets_no_answer_but_its_reload_is_done() {
    running()
        .request(reload())
        .event(Event::Disconnected { client: ClientId(1) })
        .reads([svc(), named("new")])
        .announces("reload: added new")
        .on("new")
        .starts_by(Cause::Reload);
}

/// Of two that read at once the earlier could come to its end last, and bring the older file back.
#[test]
fn a_reload_that_comes_while_another_reads_is_begun_after_it() {
    running()
        .ask("first", reload())
        .ask("second", reload())
        .event(Event::Signalled(Signal::HUP))
        .event(Event::Signalled(Signal::HUP))
        .reads([svc(), named("new")])
        .announces("reload: added new")
        .on("new")
        .starts_by(Cause::Reload)
        .answers("first", reloaded(&[("svc", ReloadAction::Keep, ""), ("new", ReloadAction::Add, "")]))
        .reads_again()
        .announces("reload: nothing has changed")
        .answers("second", reloaded(&[("svc", ReloadAction::Keep, ""), ("new", ReloadAction::Keep, "")]))
        .quiet();
}

#[test]
fn a_reload_that_waits_is_done_also_when_both_who_asked_are_gone() {
    running()
        .ask("first", Request::Reload(ReadAgain { plan: true }))
        .ask("second", reload())
        .ask("third", reload())
        .event(Event::Disconnected { client: ClientId(1) })
        .reads_again()
        .reads([svc(), named("new")])
        .announces("reload: added new")
        .on("new")
        .starts_by(Cause::Reload)
        .quiet();
}

#[test]
fn a_reload_that_waits_for_another_is_answered_when_the_daemon_ends() {
    let over = || refused(ErrorCode::Refused, "the daemon has shut down");
    let mut story = running().ask("first", reload()).ask("second", Request::Reload(ReadAgain { plan: true }));
    story.take("a configuration to be read", |action| matches!(action, Action::ReadConfig { .. }));
    story
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .answers("first", over())
        .answers("second", over())
        .leaves(0);
}

#[test]
fn a_configuration_is_checked_without_being_used() {
    let check = Request::Check(Check { text: "services: []".to_owned(), name: "x.yml".to_owned(), grace_ms: None });
    running()
        .request(check)
        .reads([svc(), named("new"), named("often").scheduled("0 0 */10 * FRI")])
        .replies(|reply| match reply {
            Ok(Answer::Checked(checked)) => assert_eq!((checked.services, checked.warnings.len()), (3, 1), "{checked:#?}"),
            other => panic!("not checked, but {other:#?}"),
        })
        .look(|story| assert_eq!(story.supervisor.services().count(), 1));
}

#[test]
fn add_with_replace_takes_the_place_of_a_service_under_its_number() {
    let again = |start| {
        let mut add = add("svc");
        (add.replace, add.start) = (true, start);
        Request::Add(add)
    };
    running()
        .request(again(true))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .starts()
        .replies(done())
        .row(|row| assert_eq!((row.id, row.restarts), (1, 1)))
        .request(again(false))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done())
        .is(Status::Finished, "stopped by request");
}

#[test]
fn add_with_replace_of_nothing_is_a_plain_add() {
    let mut first = add("svc");
    first.replace = true;
    story([]).request(Request::Add(first)).on("svc").starts().replies(done());
}

#[test]
fn what_a_reload_does_is_done_in_the_name_of_who_asked_for_it_even_if_they_have_gone() {
    running()
        .event(Event::Connected { client: ClientId(1), uid: 1000 })
        .ask("first", reload())
        .event(Event::Disconnected { client: ClientId(1) })
        .reads([with_args("-v"), named("new")])
        .asks_to_stop(Signal::TERM)
        .look(|story| assert_eq!(behind(story, EventKind::Changed), (Some(1000), None)))
        .look(|story| assert_eq!(behind(story, EventKind::Stopping), (Some(1000), None)))
        .look(|story| assert_eq!(behind(story, EventKind::Added), (Some(1000), None)))
        .on("new")
        .starts_by(Cause::Reload);
}

#[test]
fn what_a_signal_to_the_daemon_does_is_done_in_the_name_of_the_signal() {
    running()
        .event(Event::Signalled(Signal::HUP))
        .reads(svc().restart(RestartWhen::Never))
        .look(|story| assert_eq!(behind(story, EventKind::Changed), (None, Some(Signal::HUP))))
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .look(|story| assert_eq!(behind(story, EventKind::Stopping), (None, Some(Signal::TERM))))
        .exits(code(0))
        .look(|story| assert_eq!(behind(story, EventKind::Exited), (None, None)))
        .leaves(0);
}

/// Who is behind the last event of a kind: a user, or a signal.
fn behind(story: &Story, kind: EventKind) -> (Option<u32>, Option<Signal>) {
    let row = story.told.iter().rfind(|row| row.event == kind).unwrap_or_else(|| panic!("no {kind} was told"));
    (row.uid, row.by)
}

#[test]
fn two_durations_that_read_alike_in_words_differ_all_the_same() {
    let interval = |millis: u64| svc().with(move |spec| spec.restart.reset_after = millis.ms());
    story(interval(1510)).starts().request(reload()).reads(interval(1520)).replies(reloaded(&[(
        "svc",
        ReloadAction::Update,
        "restart.reset_after: 1s 510ms -> 1s 520ms",
    )]));
}

#[test]
fn a_configuration_that_needs_longer_to_stop_than_its_grace_is_wrong() {
    let check = |grace_ms| Request::Check(Check { text: String::new(), name: "x.yml".to_owned(), grace_ms });
    let slow = || svc().with(|spec| (spec.stop.timeout, spec.source) = (30.s(), "x.yml:7".to_owned()));
    running()
        .request(check(Some(30_000)))
        .reads(slow())
        .replies(|reply| {
            let error = reply.as_ref().unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (ErrorCode::WrongConfiguration, "1 problem in x.yml"));
            let data = error.data.as_ref().unwrap();
            assert_eq!(data["problems"][0]["line"], 7);
            let text = "error: the stop timeout of `svc` (30s) does not fit into a grace of 30s\n --> x.yml:7\n";
            assert!(data["text"].as_str().unwrap().starts_with(text), "{data}");
        })
        .request(check(None))
        .reads(slow())
        .replies(|reply| match reply {
            Ok(Answer::Checked(checked)) => assert!(checked.warnings[0].contains("is cut short"), "{checked:?}"),
            other => panic!("not checked, but {other:#?}"),
        });
}
