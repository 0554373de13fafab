//! Hooks: what waits for them, what they change, and who has the last word.

use std::time::Duration;

use ppm_core::dependencies::Need;
use ppm_core::event::{Action, Event, Group, NoStart, Part, Pid};
use ppm_core::hook::{Hook, HookSpec, Program};
use ppm_protocol::message::{Answer, Selection};
use ppm_protocol::types::HookRow;
use ppm_protocol::{EventKind, Exit, Request, Signal, Status};

use crate::ask::{no_wait, remove, restart, start, stop};
use crate::story::{Make, Span, Story, by, code, done, failed, named, sig, story, svc};

fn program() -> Program {
    Program { path: "/bin/hook".to_owned(), args: Vec::new() }
}

impl Make {
    fn hook(self, hook: Hook) -> Make {
        self.hook_within(hook, 30.s())
    }

    fn hook_within(self, hook: Hook, timeout: Duration) -> Make {
        self.with(|spec| drop(spec.hooks.insert(hook, HookSpec { program: program(), timeout })))
    }

    fn stop_command(self) -> Make {
        self.with(|spec| spec.stop_command = Some(Box::new(program())))
    }
}

fn pid(hook: Hook) -> Pid {
    Pid(900 + Hook::ALL.iter().position(|other| *other == hook).map_or(0, |at| i32::try_from(at).unwrap()))
}

impl Story {
    /// It runs this hook.
    pub fn runs(mut self, hook: Hook) -> Story {
        let (id, wanted) = (self.id(), Part::Hook(hook));
        self.take(hook.name(), |action| matches!(action, Action::Spawn { part, .. } if *part == wanted));
        self.event(Event::Spawned { id, part: wanted, pid: pid(hook) })
    }

    pub fn told_to(mut self, hook: Hook, expected: &[(&str, &str)]) -> Story {
        let (id, wanted) = (self.id(), Part::Hook(hook));
        let action = self.take(hook.name(), |action| matches!(action, Action::Spawn { part, .. } if *part == wanted));
        let Action::Spawn { launch, .. } = action else { unreachable!("it was taken") };
        let told: Vec<(&str, &str)> = launch.told.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(told, expected);
        self.event(Event::Spawned { id, part: wanted, pid: pid(hook) })
    }

    pub fn hook_ends(self, hook: Hook, exit: Exit) -> Story {
        self.event(Event::Exited { pid: pid(hook), exit, group: Group::Empty, peak: None })
    }

    pub fn hook_is(mut self, hook: Hook, signals: &[Signal]) -> Story {
        for wanted in signals {
            let is_it = |action: &Action| match action {
                Action::Kill { part: Part::Hook(other), pid: to, signal, .. } => (*other, *to, signal) == (hook, pid(hook), wanted),
                _ => false,
            };
            self.take(&format!("{wanted} to {}", hook.name()), is_it);
        }
        self
    }

    /// SIGTERM, as a whole.
    fn ends_hook(self, hook: Hook) -> Story {
        self.hook_is(hook, &[Signal::TERM, Signal::CONT])
    }

    fn kills_hook(mut self, hook: Hook) -> Story {
        self.take("SIGKILL to strays", |action| matches!(action, Action::KillStrays { part: Part::Hook(_), signal: Signal::KILL, .. }));
        self.hook_is(hook, &[Signal::KILL])
    }
}

#[test]
fn its_details_tell_of_hooks_and_which_of_them_are_at_work() {
    let make = svc().hook_within(Hook::OnCrash, 0.s()).hook(Hook::PostStart).stop_command();
    let info = Request::Info(Selection { services: vec!["svc".to_owned()] });
    story(make).starts().runs(Hook::PostStart).request(info).replies(|reply| {
        let Ok(Answer::Infos(infos)) = reply else { panic!("no details, but {reply:?}") };
        let hook = |hook: &str, timeout_ms, pid| HookRow { hook: hook.to_owned(), command: vec!["/bin/hook".to_owned()], timeout_ms, pid };
        let running = Some(pid(Hook::PostStart).0);
        assert_eq!(infos[0].hooks, [hook("post_start", Some(30_000), running), hook("on_crash", None, None)]);
    });
}

#[test]
fn a_main_process_starts_when_its_pre_start_has_succeeded() {
    story(svc().hook(Hook::PreStart))
        .told_to(Hook::PreStart, &[("PPM_HOOK", "pre_start"), ("PPM_RESTARTS", "0"), ("PPM_CRASHES", "0")])
        .is(Status::Created, "starting: pre_start is at work")
        .after(10.s())
        .quiet()
        .hook_ends(Hook::PreStart, code(0))
        .starts()
        .told(&[(EventKind::Started, "boot")]);
}

#[test]
fn a_pre_start_that_fails_is_a_crash_and_backs_off() {
    story(svc().hook(Hook::PreStart))
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, code(3))
        .is(Status::Crashed, "pre_start: exit code 3, retry 1 in 1s")
        .row(|row| assert_eq!((row.crashes, row.exit, row.pid), (1, None, None)))
        .told(&[(EventKind::StartFailed, "pre_start: exit code 3"), (EventKind::Planned, "pre_start: exit code 3, retry 1 in 1s")])
        .after(1.s())
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, by(sig("SEGV")))
        .is(Status::Crashed, "pre_start: killed by SIGSEGV, retry 2 in 2s");
}

#[test]
fn a_pre_start_that_hangs_is_asked_to_end_and_killed() {
    story(svc().hook(Hook::PreStart))
        .runs(Hook::PreStart)
        .after(30.s())
        .ends_hook(Hook::PreStart)
        .after(5.s())
        .kills_hook(Hook::PreStart)
        .hook_ends(Hook::PreStart, by(Signal::KILL))
        .is(Status::Crashed, "pre_start: did not end within 30s, retry 1 in 1s");
}

#[test]
fn a_start_by_hand_tells_why_pre_start_failed() {
    story(svc().hook(Hook::PreStart).no_autostart())
        .request(start("svc"))
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, code(1))
        .replies(failed("pre_start: exit code 1"));
}

#[test]
fn r23_stop_and_start_while_pre_start_works_come_to_a_fresh_start() {
    story(svc().hook(Hook::PreStart).hook(Hook::PostStop))
        .runs(Hook::PreStart)
        .request(no_wait(stop("svc")))
        .replies(done())
        .ends_hook(Hook::PreStart)
        .request(start("svc"))
        .quiet()
        .hook_ends(Hook::PreStart, by(Signal::TERM))
        .runs(Hook::PostStop)
        .hook_ends(Hook::PostStop, code(0))
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, code(0))
        .starts()
        .replies(done());
}

#[test]
fn r23_a_restart_while_pre_start_works_begins_anew_and_a_start_does_not() {
    story(svc().hook(Hook::PreStart))
        .runs(Hook::PreStart)
        .request(no_wait(start("svc")))
        .replies(done())
        .quiet()
        .request(restart("svc"))
        .ends_hook(Hook::PreStart)
        .hook_ends(Hook::PreStart, by(Signal::TERM))
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, code(0))
        .starts()
        .replies(done());
}

#[test]
fn pre_stop_comes_before_the_signal_and_its_failure_is_told_and_changes_nothing() {
    story(svc().hook(Hook::PreStop))
        .starts()
        .request(stop("svc"))
        .runs(Hook::PreStop)
        .is(Status::Running, "stopping: pre_stop is at work")
        .hook_ends(Hook::PreStop, code(2))
        .asks_to_stop(Signal::TERM)
        .exits(by(Signal::TERM))
        .replies(done())
        .told(&[
            (EventKind::Started, "boot"),
            (EventKind::Stopping, "pre_stop, then SIGTERM"),
            (EventKind::HookFailed, "pre_stop: exit code 2"),
            (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
            (EventKind::Exited, "stopped by request"),
        ]);
}

#[test]
fn a_main_process_that_ends_while_pre_stop_works_is_not_asked_and_the_hook_may_finish() {
    story(svc().hook(Hook::PreStop))
        .starts()
        .request(stop("svc"))
        .runs(Hook::PreStop)
        .exits(code(0))
        .is(Status::Finished, "stopped by request; waiting for its hooks to end")
        .after(20.s())
        .hook_ends(Hook::PreStop, code(0))
        .replies(done())
        .is(Status::Finished, "stopped by request");
}

#[test]
fn the_command_of_stop_and_the_signal_share_one_timeout() {
    story(svc().stop_command())
        .starts()
        .request(stop("svc"))
        .runs(Hook::Stop)
        .is(Status::Running, "stopping: its stop command is at work, SIGKILL in 5s")
        .after(2.s())
        .hook_ends(Hook::Stop, code(0))
        .asks_to_stop(Signal::TERM)
        .is(Status::Running, "stopping: SIGTERM sent, SIGKILL in 3s")
        .after(3.s())
        .sends(Signal::KILL)
        .reaps()
        .replies(done())
        .is(Status::Crashed, "killed: did not stop within 5s");
}

#[test]
fn a_command_of_stop_that_hangs_is_killed_with_what_it_was_to_end() {
    story(svc().stop_command())
        .starts()
        .request(stop("svc"))
        .runs(Hook::Stop)
        .after(5.s())
        .ends_hook(Hook::Stop)
        .sends(Signal::KILL)
        .kills_hook(Hook::Stop)
        .reaps()
        .hook_ends(Hook::Stop, by(Signal::KILL))
        .replies(done());
}

#[test]
fn r24_the_next_start_waits_for_post_stop() {
    story(svc().hook(Hook::PostStop))
        .starts()
        .request(restart("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .told_to(
            Hook::PostStop,
            &[
                ("PPM_HOOK", "post_stop"),
                ("PPM_RESTARTS", "0"),
                ("PPM_CRASHES", "0"),
                ("PPM_EXIT_CODE", "0"),
                ("PPM_REASON", "stopped by request"),
            ],
        )
        .is(Status::Finished, "stopped by request; post_stop is at work")
        .quiet()
        .hook_ends(Hook::PostStop, code(1))
        .starts()
        .replies(done());
}

#[test]
fn a_removed_service_is_there_until_post_stop_has_ended() {
    story(svc().hook(Hook::PostStop))
        .starts()
        .request(remove("svc"))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .runs(Hook::PostStop)
        .hook_ends(Hook::PostStop, code(0))
        .replies(done())
        .vanished();
}

#[test]
fn what_accompanies_a_run_is_asked_to_end_with_it() {
    story(svc().hook(Hook::PostStart).hook(Hook::OnReady))
        .starts()
        .runs(Hook::PostStart)
        .runs(Hook::OnReady)
        .hook_ends(Hook::OnReady, code(0))
        .exits(code(1))
        .ends_hook(Hook::PostStart)
        .is(Status::Crashed, "exit code 1; waiting for its hooks to end")
        .hook_ends(Hook::PostStart, by(Signal::TERM))
        .is(Status::Crashed, "exit code 1, retry 1 in 1s");
}

#[test]
fn on_crash_holds_nothing_up_and_runs_once_at_a_time() {
    story(svc().hook_within(Hook::OnCrash, Duration::ZERO))
        .starts()
        .exits(code(1))
        .runs(Hook::OnCrash)
        .starts_after(1.s())
        .exits(code(1))
        .told_last(EventKind::HookFailed, "on_crash: left out, the one before is still at work")
        .request(stop("svc"))
        .hook_ends(Hook::OnCrash, code(0))
        .replies(done());
}

#[test]
fn a_stop_waits_for_what_tells_of_an_earlier_crash_and_gives_it_the_time_of_a_stop() {
    let stopping = || {
        let make = svc().hook_within(Hook::OnCrash, Duration::ZERO).with(|spec| spec.stop.timeout = 3.s());
        let story = story(make).starts().exits(code(1)).runs(Hook::OnCrash).starts_after(1.s());
        story.request(stop("svc")).asks_to_stop(Signal::TERM).exits(code(0)).quiet()
    };
    stopping().after(2999.ms()).quiet().hook_ends(Hook::OnCrash, code(0)).replies(done());
    let story = stopping().after(3.s()).ends_hook(Hook::OnCrash).after(5.s()).kills_hook(Hook::OnCrash);
    story.hook_ends(Hook::OnCrash, by(Signal::KILL)).replies(done()).is(Status::Finished, "stopped by request");
    let story = stopping().client(2).request(start("svc")).starts().replies(done());
    story.client(1).replies(done()).after(3.s()).ends_hook(Hook::OnCrash);
}

#[test]
fn a_restart_lets_what_tells_of_a_crash_finish() {
    let story = story(svc().hook_within(Hook::OnCrash, Duration::ZERO)).starts().exits(code(1)).runs(Hook::OnCrash);
    let story = story.request(restart("svc")).starts().replies(done()).after(3600.s()).quiet();
    story.hook_ends(Hook::OnCrash, code(0)).quiet();
}

#[test]
fn a_hook_that_cannot_be_started_is_told_of_and_changes_nothing() {
    let mut told = story(svc().hook(Hook::PostStart)).starts();
    let id = told.id();
    told.take("post_start", |action| matches!(action, Action::Spawn { part: Part::Hook(_), .. }));
    let error = NoStart { why: "exec: no such file: /bin/hook".to_owned(), code: NoStart::NOT_FOUND };
    told.event(Event::SpawnFailed { id, part: Part::Hook(Hook::PostStart), error })
        .is(Status::Running, "started with the daemon")
        .told(&[(EventKind::Started, "boot"), (EventKind::HookFailed, "post_start: exec: no such file: /bin/hook")]);
}

#[test]
fn a_shutdown_without_time_kills_hooks_and_begins_none() {
    story(svc().hook(Hook::PreStop).hook(Hook::PostStop))
        .starts()
        .event(Event::Signalled(Signal::TERM))
        .runs(Hook::PreStop)
        .event(Event::Signalled(Signal::QUIT))
        .kills_hook(Hook::PreStop)
        .sends(Signal::KILL)
        .reaps()
        .hook_ends(Hook::PreStop, by(Signal::KILL))
        .leaves(0);
}

/// `web` needs `db`; both have been started, `web` with these hooks.
fn web_on_db(hooks: &[Hook]) -> [Make; 2] {
    let web = hooks.iter().fold(named("web"), |web, hook| web.hook(*hook));
    [named("db"), web.with(|spec| spec.depends_on = vec![Need::parse("db").unwrap()])]
}

#[test]
fn what_a_service_needs_ends_when_its_hooks_have_ended() {
    story(web_on_db(&[Hook::PreStop, Hook::PostStop]))
        .starts()
        .on("web")
        .starts()
        .request(stop("all"))
        .runs(Hook::PreStop)
        .hook_ends(Hook::PreStop, code(0))
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .runs(Hook::PostStop)
        .quiet()
        .hook_ends(Hook::PostStop, code(0))
        .on("db")
        .asks_to_stop(Signal::TERM)
        .exits(code(0))
        .replies(done());
}

#[test]
fn pre_start_works_when_all_is_there_that_is_needed_and_again_when_it_has_gone_meanwhile() {
    story(web_on_db(&[Hook::PreStart]))
        .spawns()
        .on("web")
        .quiet()
        .on("db")
        .comes_up()
        .on("web")
        .runs(Hook::PreStart)
        .on("db")
        .exits(code(1))
        .on("web")
        .hook_ends(Hook::PreStart, code(0))
        .is(Status::Created, "waiting for db")
        .on("db")
        .starts_after(1.s())
        .on("web")
        .runs(Hook::PreStart)
        .hook_ends(Hook::PreStart, code(0))
        .starts();
}
