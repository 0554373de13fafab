//! `stats`: two readings make a rate.

use std::time::Duration;

use ppm_core::event::{Action, Detail, Event, Group, Pid, ServiceId, Whose};
use ppm_core::usage::Usage;
use ppm_protocol::message::{Answer, ReadStats};
use ppm_protocol::types::HistoryRow;
use ppm_protocol::{EventKind, Request, StatsRow};

use crate::ask::{history, stats, why};
use crate::story::{Reply, Span, Story, code, named, story, svc};

fn rows(check: impl Fn(&[StatsRow])) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Stats(rows)) => check(rows),
        other => panic!("no rows, but {other:?}"),
    }
}

/// The reading that was asked for is taken now: these processes have used this much CPU time.
fn reading(mut story: Story, detail: Detail, cpu_ms: &[(Whose, u64)]) -> Story {
    let asked = story.take("a reading", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, whose, running, detail: found } = asked else { unreachable!() };
    assert_eq!(found, detail);
    assert_eq!(whose, cpu_ms.iter().map(|(whose, _)| *whose).collect::<Vec<_>>());
    assert!(whose.iter().all(|whose| whose.is_none_or(|id| running.iter().any(|one| one.id == id))), "{running:?}");
    let at = story.now.mono;
    let usage = |cpu_ms| Usage { at, cpu: Duration::from_millis(cpu_ms), rss: 1 << 20, processes: 1, ..Usage::default() };
    let usages = cpu_ms.iter().map(|(whose, cpu_ms)| (*whose, usage(*cpu_ms))).collect();
    story.event(Event::Sampled { sample, usages, container: None })
}

/// It starts with the number that it had before.
fn starts_again(story: Story) -> Story {
    story.spawns().event(Event::Spawned { id: ServiceId(1), part: ppm_core::event::Part::Main, pid: Pid(100) })
}

const SVC: Whose = Some(ServiceId(1));

const OWN: Whose = None;

#[test]
fn the_first_question_takes_a_window_of_200_ms() {
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 1000)]).quiet().after(199.ms()).quiet().after(1.ms());
    reading(story, Detail::Full, &[(SVC, 1100)]).replies(rows(|rows| {
        assert_eq!((rows.len(), rows[0].id, rows[0].pid), (1, Some(1), Some(100)));
        assert_eq!((rows[0].cpu_percent, rows[0].cpu_time_ms, rows[0].memory_rss), (Some(50.0), Some(1100), Some(1 << 20)));
        assert_eq!(rows[0].uptime_ms, Some(200));
    }));
}

#[test]
fn a_question_soon_after_is_over_the_time_since_the_last() {
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 0)]).after(200.ms());
    let story = reading(story, Detail::Full, &[(SVC, 0)]).replies(rows(|_| ())).after(2.s()).request(stats("svc"));
    reading(story, Detail::Full, &[(SVC, 500)]).replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(25.0))));
}

#[test]
fn a_base_that_is_too_young_or_too_old_is_not_used() {
    for wait in [100.ms(), 11.s()] {
        let story = story(svc()).starts().request(stats("svc"));
        let story = reading(story, Detail::Cheap, &[(SVC, 0)]).after(200.ms());
        let story = reading(story, Detail::Full, &[(SVC, 0)]).replies(rows(|_| ())).after(wait).request(stats("svc"));
        let story = reading(story, Detail::Cheap, &[(SVC, 1000)]).quiet().after(200.ms());
        reading(story, Detail::Full, &[(SVC, 1020)]).replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(10.0))));
    }
}

#[test]
fn two_who_ask_at_nearly_the_same_time_each_get_a_whole_window() {
    let story = story(svc()).starts().client(1).request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 0)]).after(190.ms()).client(2).request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 95)]).quiet().after(10.ms());
    let story = reading(story, Detail::Full, &[(SVC, 100)]).client(1).replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(50.0))));
    let story = story.after(190.ms());
    reading(story, Detail::Full, &[(SVC, 195)]).client(2).replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(50.0))));
}

#[test]
fn what_does_not_run_has_no_figures_and_costs_no_window() {
    let story = story(svc().no_autostart()).request(stats("svc"));
    reading(story, Detail::Full, &[]).replies(rows(|rows| {
        assert_eq!(
            (rows[0].id, rows[0].pid, rows[0].cpu_percent, rows[0].memory_rss, rows[0].uptime_ms),
            (Some(1), None, None, None, None)
        );
    }));
}

#[test]
fn the_daemon_itself_is_the_last_row_when_no_service_is_named() {
    let story = story([named("a"), named("b").no_autostart()]).starts().after(5.s()).request(stats(""));
    let story = reading(story, Detail::Cheap, &[(SVC, 0), (OWN, 0)]).after(200.ms());
    reading(story, Detail::Full, &[(SVC, 0), (OWN, 10)]).replies(rows(|rows| {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "<ppm>"]);
        assert_eq!((rows[2].id, rows[2].pid, rows[2].cpu_percent, rows[2].uptime_ms), (None, Some(1), Some(5.0), Some(5200)));
    }));
}

#[test]
fn a_service_that_ends_within_the_window_has_no_figures() {
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 0)]).exits(code(0)).after(200.ms());
    reading(story, Detail::Full, &[]).replies(rows(|rows| assert_eq!((rows[0].pid, rows[0].cpu_percent), (None, None))));
}

#[test]
fn a_process_that_cannot_be_read_has_no_figures() {
    let mut story = story(svc()).starts().request(stats("svc"));
    for _ in 0..2 {
        let asked = story.take("a reading", |action| matches!(action, Action::Sample { .. }));
        let Action::Sample { sample, .. } = asked else { unreachable!() };
        story = story.event(Event::Sampled { sample, usages: Vec::new(), container: None }).after(200.ms());
    }
    story.replies(rows(|rows| {
        assert_eq!((rows[0].id, rows[0].pid, rows[0].uptime_ms), (Some(1), Some(100), Some(200)), "what the daemon knows itself");
        assert_eq!((rows[0].cpu_percent, rows[0].memory_rss, rows[0].processes), (None, None, None));
    }));
}

#[test]
fn who_is_gone_gets_no_figures() {
    let client = ppm_core::event::ClientId(1);
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 0)]).event(Event::Disconnected { client });
    story.after(10.s()).quiet().look(|story| assert_eq!(story.supervisor.deadline(), None));
}

#[test]
fn unknown_names_are_refused_before_anything_is_read() {
    story(svc())
        .starts()
        .request(stats("nope"))
        .replies(crate::story::refused(ppm_protocol::ErrorCode::NoSuchService, "no such service `nope`"))
        .quiet();
}

#[test]
fn r19_a_run_that_has_the_number_of_the_one_before_begins_at_nothing() {
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 5000)]).after(200.ms());
    let story = reading(story, Detail::Full, &[(SVC, 5000)]).replies(rows(|_| ()));
    let story = story.exits(code(1)).after(2.s());
    let story = starts_again(story).after(1.s()).request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 10)]).after(200.ms());
    reading(story, Detail::Full, &[(SVC, 30)])
        .replies(rows(|rows| assert_eq!((rows[0].cpu_time_ms, rows[0].cpu_percent), (Some(30), Some(10.0)))));
}

#[test]
fn r19_what_was_read_of_a_run_that_has_ended_meanwhile_is_nobodys() {
    let mut story = story(svc()).starts().request(stats("svc"));
    let asked = story.take("a reading", |action| matches!(action, Action::Sample { .. }));
    let Action::Sample { sample, .. } = asked else { unreachable!() };
    let story = story.exits(code(1)).after(2.s());
    let story = starts_again(story);
    let usages = vec![(SVC, Usage { at: story.now.mono, cpu: Duration::from_secs(9), ..Usage::default() })];
    let story = story.event(Event::Sampled { sample, usages, container: None }).after(200.ms());
    reading(story, Detail::Full, &[(SVC, 30)])
        .replies(rows(|rows| assert_eq!((rows[0].cpu_time_ms, rows[0].cpu_percent), (Some(30), None))));
}

#[test]
fn counters_never_run_backwards_while_a_service_runs() {
    let story = story(svc()).starts().request(stats("svc"));
    let story = reading(story, Detail::Cheap, &[(SVC, 5000)]).after(200.ms());
    reading(story, Detail::Full, &[(SVC, 4000)])
        .replies(rows(|rows| assert_eq!((rows[0].cpu_time_ms, rows[0].cpu_percent), (Some(5000), Some(0.0)))));
}

#[test]
fn who_asks_once_an_interval_gets_rates_over_the_interval() {
    let mut story = story(svc()).starts().request(stats("svc"));
    story = reading(story, Detail::Cheap, &[(SVC, 0)]).after(200.ms());
    story = reading(story, Detail::Full, &[(SVC, 0)]).replies(rows(|_| ()));
    for round in 1..4 {
        story = story.after(10_100.ms()).request(stats("svc"));
        story = reading(story, Detail::Full, &[(SVC, round * 1010)]).replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(10.0))));
    }
}

#[test]
fn proportional_memory_is_left_out_where_it_is_not_asked_for() {
    let cheap = Request::Stats(ReadStats { services: vec!["svc".to_owned()], pss: false, rates: true });
    let story = story(svc()).starts().request(cheap);
    let story = reading(story, Detail::Cheap, &[(SVC, 0)]).after(200.ms());
    reading(story, Detail::Cheap, &[(SVC, 0)]).replies(rows(|rows| assert_eq!(rows[0].memory_pss, None)));
}

fn pasts(check: impl Fn(&[HistoryRow])) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Histories(rows)) => check(rows),
        other => panic!("no history, but {other:?}"),
    }
}

/// `stats` as often as somebody who follows, so that each answer needs one reading.
fn follow(mut story: Story, times: u64) -> Story {
    story = reading(story.request(stats("svc")), Detail::Cheap, &[(SVC, 0)]).after(200.ms());
    story = reading(story, Detail::Full, &[(SVC, 100)]).replies(rows(|_| ()));
    for time in 1..=times {
        story = story.after(10.s()).request(stats("svc"));
        story = reading(story, Detail::Full, &[(SVC, 100 + time * 100)]).replies(rows(|_| ()));
    }
    story
}

#[test]
fn who_would_rather_not_wait_gets_no_rates() {
    let once = || Request::Stats(ReadStats { services: vec!["svc".to_owned()], pss: false, rates: false });
    let story = reading(story(svc()).starts().request(once()), Detail::Cheap, &[(SVC, 1000)]);
    let story = story.replies(rows(|rows| {
        assert_eq!((rows[0].cpu_percent, rows[0].cpu_time_ms, rows[0].memory_rss), (None, Some(1000), Some(1 << 20)));
    }));
    let story = reading(story.after(2.s()).request(once()), Detail::Cheap, &[(SVC, 1100)]);
    story.replies(rows(|rows| assert_eq!(rows[0].cpu_percent, Some(5.0), "the last reading is a base")));
}

#[test]
fn what_was_read_is_the_history_and_nothing_is_read_for_it() {
    let story = story([svc(), named("other")]).starts().on("other").starts().on("svc").request(history(""));
    let story = story.replies(pasts(|rows| {
        let known: Vec<_> = rows.iter().map(|row| (row.id, row.name.as_str(), row.memory_rss.is_some())).collect();
        assert_eq!(known, [(Some(1), "svc", false), (Some(2), "other", false), (None, "<ppm>", false)]);
    }));
    let story = follow(story.quiet(), 12).request(history("svc"));
    let story = story.replies(pasts(|rows| {
        assert_eq!(rows.len(), 1);
        let cpu = rows[0].cpu_percent.as_ref().unwrap();
        assert_eq!((cpu.min, cpu.max, cpu.minutes.len()), (1.0, 50.0, 3));
        assert_eq!(rows[0].memory_rss.as_ref().unwrap().avg, 1 << 20);
    }));
    story.quiet().look(|story| assert_eq!(story.supervisor.deadline(), None, "it costs nothing"));
}

/// The most memory that the ends of the service tell of.
fn peaks(expected: &'static [Option<u64>]) -> impl Fn(&Reply) {
    move |reply| match reply {
        Ok(Answer::Lives(lives)) => {
            let ends = lives[0].events.iter().filter(|row| row.event == EventKind::Exited);
            assert_eq!(ends.map(|row| row.peak_memory).collect::<Vec<_>>(), expected);
        }
        other => panic!("no lives, but {other:?}"),
    }
}

#[test]
fn an_end_tells_the_most_memory_that_its_run_was_seen_to_use() {
    let story = follow(story(svc()).starts(), 1).exits(code(1)).after(2.s());
    starts_again(story).exits(code(1)).request(why("svc")).replies(peaks(&[Some(1 << 20), None]));
}

#[test]
fn an_end_tells_the_most_memory_that_the_kernel_has_seen_if_that_is_more() {
    for (peak, expected) in [(5 << 20, const { &[Some(5 << 20)] }), (1, const { &[Some(1 << 20)] })] {
        let end = Event::Exited { pid: Pid(100), exit: code(1), group: Group::Empty, peak: Some(peak) };
        follow(story(svc()).starts(), 1).event(end).request(why("svc")).replies(peaks(expected));
    }
}
