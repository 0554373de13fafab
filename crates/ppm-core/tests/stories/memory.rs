//! `max_memory`: two looks, a warning, and a restart that is polite.

use ppm_core::event::{Action, Cause, Detail, Event, Part, Pid, ServiceId, Whose};
use ppm_core::usage::Usage;
use ppm_protocol::message::Answer;
use ppm_protocol::{EventKind, ReloadAction, Signal, Status};

use crate::ask::{reload, restart, stop};
use crate::story::{Make, Reply, Span, Story, by, code, done, named, sig, story, svc};

const MIB: u64 = 1 << 20;

const SVC: Whose = Some(ServiceId(1));

const REASON: &str = "memory: 601 MiB of 512 MiB";

fn limited() -> Make {
    svc().with(|spec| spec.max_memory = Some(512 * MIB))
}

/// It is looked at now, this closely, and these use so many mebibytes: resident, and proportional.
fn look(mut story: Story, detail: Detail, seen: &[(Whose, u64, Option<u64>)]) -> Story {
    let asked = story.take("a look", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, whose, detail: found, .. } = asked else { unreachable!() };
    assert_eq!((found, whose), (detail, seen.iter().map(|(whose, ..)| *whose).collect::<Vec<_>>()));
    let usage = |rss: u64, pss: Option<u64>| Usage { rss: rss * MIB, pss: pss.map(|pss| pss * MIB), ..Usage::default() };
    let usages = seen.iter().map(|(whose, rss, pss)| (*whose, usage(*rss, *pss))).collect();
    story.event(Event::Sampled { sample, usages, container: None })
}

/// Resident memory first, and then the proportional.
fn uses(story: Story, rss: u64, pss: u64) -> Story {
    look(look(story, Detail::Rss, &[(SVC, rss, None)]), Detail::Pss, &[(SVC, rss, Some(pss))])
}

/// It has been started and been looked at for the first time.
fn running() -> Story {
    look(story(limited()).starts().after(1.ms()), Detail::Rss, &[(SVC, 100, None)])
}

#[test]
fn who_has_outgrown_its_memory_is_started_anew_politely() {
    let story = running().after(2.s());
    let story = uses(story, 601, 601).asks_to_stop(Signal::TERM).is(Status::Running, "stopping: SIGTERM sent, SIGKILL in 5s");
    let story = story.exits(code(0)).starts_by(Cause::Memory).is(Status::Running, &format!("restarted: {REASON}"));
    story.row(|row| assert_eq!((row.restarts, row.crashes), (1, 0))).told(&[
        (EventKind::Started, "boot"),
        (EventKind::OverMemory, REASON),
        (EventKind::Stopping, "SIGTERM, SIGKILL in 5s"),
        (EventKind::Exited, REASON),
        (EventKind::Started, "memory"),
    ]);
}

#[test]
fn it_comes_back_whatever_its_restart_policy_and_however_it_ends() {
    for exit in [code(0), code(3), by(sig("TERM")), by(sig("SEGV"))] {
        let story =
            look(story(limited().restart(ppm_core::spec::RestartWhen::Never)).starts().after(1.ms()), Detail::Rss, &[(SVC, 601, None)]);
        let story = look(story, Detail::Pss, &[(SVC, 601, Some(601))]);
        story.asks_to_stop(Signal::TERM).exits(exit).starts_by(Cause::Memory);
    }
}

#[test]
fn who_does_not_end_is_killed_after_its_timeout() {
    let story = uses(running().after(2.s()), 601, 601).asks_to_stop(Signal::TERM).after(50.ms()).asks_strays(Signal::TERM);
    let story = story.after(5.s()).sends(Signal::KILL).reaps().starts_by(Cause::Memory);
    look(story, Detail::Rss, &[(SVC, 100, None)]).is(Status::Running, &format!("restarted: {REASON}"));
}

#[test]
fn a_command_that_comes_meanwhile_wins() {
    let growing = || uses(running().after(2.s()), 601, 601).asks_to_stop(Signal::TERM);
    let story = growing().request(stop("svc")).exits(code(0)).replies(done());
    story.is(Status::Finished, "stopped by request").after(10.m()).quiet();
    growing().request(restart("svc")).exits(code(0)).starts_by(Cause::Request).replies(done()).look(|_| ());
}

#[test]
fn nobody_is_restarted_for_pages_that_its_processes_share() {
    let story = uses(running().after(2.s()), 1800, 300).quiet();
    uses(story.after(2.s()), 1800, 300).quiet().is(Status::Running, "started with the daemon");
}

#[test]
fn where_the_proportional_figure_is_not_told_the_resident_one_holds() {
    let story = look(running().after(2.s()), Detail::Rss, &[(SVC, 601, None)]);
    look(story, Detail::Pss, &[(SVC, 601, None)]).asks_to_stop(Signal::TERM).exits(code(0)).starts_by(Cause::Memory);
}

#[test]
fn who_is_near_its_limit_is_warned_of_once_until_there_is_no_danger_any_more() {
    const WARNING: &str = "svc: memory: 480 MiB of 512 MiB; above that it is restarted";
    let mut story = uses(running().after(2.s()), 480, 480).announces(WARNING);
    story = uses(story.after(2.s()), 490, 490).quiet();
    story = look(story.after(2.s()), Detail::Rss, &[(SVC, 420, None)]).quiet();
    story = uses(story.after(2.s()), 480, 480).quiet();
    story = look(story.after(2.s()), Detail::Rss, &[(SVC, 300, None)]).quiet();
    uses(story.after(2.s()), 480, 480).announces(WARNING);
}

#[test]
fn only_those_are_looked_at_that_run_and_have_a_limit() {
    let other = named("other").with(|spec| spec.max_memory = None);
    let idle = story([other, limited().no_autostart()]).starts();
    let story = idle.after(10.m()).quiet();
    story.look(|story| assert_eq!(story.supervisor.deadline(), None, "nobody wakes"));
}

#[test]
fn a_look_waits_for_the_one_before() {
    let mut story = running().after(2.s());
    let asked = story.take("a look", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, .. } = asked else { unreachable!() };
    let story = story.after(1.m()).quiet();
    let story =
        story.event(Event::Sampled { sample, usages: vec![(SVC, Usage { rss: MIB, ..Usage::default() })], container: None }).after(1.ms());
    look(story, Detail::Rss, &[(SVC, 1, None)]).quiet();
}

#[test]
fn what_was_measured_of_the_run_before_is_not_held_against_the_next() {
    let mut story = running().after(2.s());
    story = look(story, Detail::Rss, &[(SVC, 601, None)]);
    let asked = story.take("a closer look", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, .. } = asked else { unreachable!() };
    let story = story.exits(code(1)).after(1.s()).spawns().event(Event::Spawned { id: ServiceId(1), part: Part::Main, pid: Pid(100) });
    let usages = vec![(SVC, Usage { rss: 601 * MIB, pss: Some(601 * MIB), ..Usage::default() })];
    let story = story.event(Event::Sampled { sample, usages, container: None }).after(1.s());
    look(story, Detail::Rss, &[(SVC, 1, None)]).quiet().is(Status::Running, "restarted after exit code 1");
}

#[test]
fn r51_memory_that_cannot_be_read_is_told_once() {
    let story = look(running().after(2.s()), Detail::Rss, &[(SVC, 100, None)]);
    let unread = |mut story: Story| {
        let asked = story.take("a look", |action| matches!(action, Action::Sample { .. }));
        let Action::Sample { sample, .. } = asked else { unreachable!() };
        story.event(Event::Sampled { sample, usages: Vec::new(), container: None })
    };
    let story = unread(story.after(2.s())).announces("svc: its memory cannot be read: `max_memory` has no effect");
    unread(story.after(2.s())).quiet().is(Status::Running, "started with the daemon");
}

#[test]
fn a_reload_sets_changes_and_lifts_the_limit_without_a_restart() {
    let changed = |limit: Option<u64>| svc().with(|spec| spec.max_memory = limit);
    let told = |words: &'static str| {
        move |reply: &Reply| {
            let Ok(Answer::Reload(reload)) = reply else { panic!("{reply:?}") };
            assert_eq!((reload.services[0].action, reload.services[0].changes.join(", ").as_str()), (ReloadAction::Update, words));
        }
    };
    let story = story(svc()).starts().after(1.m()).quiet().request(reload()).reads(changed(Some(512 * MIB)));
    let story = story.replies(told("max_memory: none -> 512MiB")).announces("reload: updated svc").after(1.ms());
    let story = look(story, Detail::Rss, &[(SVC, 100, None)]).request(reload()).reads(changed(Some(64 * MIB)));
    let story = story.replies(told("max_memory: 512MiB -> 64MiB")).announces("reload: updated svc").after(2.s());
    let story = look(story, Detail::Rss, &[(SVC, 60, None)]);
    let story = look(story, Detail::Pss, &[(SVC, 60, Some(50))]).quiet().request(reload()).reads(changed(None));
    story.replies(told("max_memory: 64MiB -> none")).announces("reload: updated svc").after(10.m()).quiet();
}
