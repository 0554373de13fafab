//! The lives of services, as `why` tells them: a headline, and what happened, the newest last.

use std::borrow::Cow;

use ppm_protocol::types::{LastWords, Life};
use ppm_protocol::{EventKind, EventRow, LogLine, Stream};

use super::info::headline;
use super::text::{clean, cut, width, wrap};
use super::{BAD, Look, Medium, QUIET, events, units};

/// In front of each event.
const INDENT: usize = 2;

/// In front of what happened, where it stands below, and of what was written last.
const BELOW: usize = 4;

/// Between two columns.
const GAP: usize = 2;

/// The narrowest column for what happened: less is not worth a column, and a line of its own is used.
const NARROWEST: usize = 20;

/// Each service's story, with an empty line between two.
pub fn stories(lives: &[Life], look: &Look) -> String {
    lives.iter().map(|life| story(life, look)).collect::<Vec<_>>().join("\n")
}

fn story(life: &Life, look: &Look) -> String {
    let mut out = headline(&life.row, look);
    if life.events.is_empty() {
        out.push_str("  nothing has happened to it yet\n");
    }
    let times: Vec<String> = life.events.iter().map(|event| time(event, look)).collect();
    let kinds: Vec<String> = life.events.iter().map(|event| clean(&event.event.to_string()).into_owned()).collect();
    let time_width = times.iter().map(|time| width(time)).max().unwrap_or(0);
    let kind_width = kinds.iter().map(|kind| width(kind)).max().unwrap_or(0);
    for ((event, time), kind) in life.events.iter().zip(&times).zip(&kinds) {
        let (before, after) = (time_width - width(time), kind_width - width(kind) + GAP);
        let time = look.paint(QUIET, time);
        let kind = look.paint(events::style(event), kind);
        let margin = INDENT + time_width + GAP + kind_width + GAP;
        let what = match layout(&clean(&what(event)), margin, look) {
            Layout::Nothing => String::new(),
            Layout::Beside(lines) => format!("{:after$}{}", "", lines.join(&format!("\n{:margin$}", ""))),
            Layout::Below(lines) => lines.iter().map(|line| format!("\n{:BELOW$}{line}", "")).collect(),
        };
        out.push_str(&format!("{:INDENT$}{:before$}{time}{:GAP$}{kind}{what}\n", "", "", ""));
        for line in last_words(life, event) {
            let bar = if line.stream == Stream::Stderr { BAD } else { QUIET };
            let room = look.width().map_or(usize::MAX, |limit| limit.saturating_sub(BELOW + GAP));
            out.push_str(&format!("{:BELOW$}{} {}\n", "", look.paint(bar, "|"), cut(&clean(&line.message), room)));
        }
    }
    out
}

/// What the service wrote last before this end, if that is kept.
fn last_words<'a>(life: &'a Life, event: &EventRow) -> impl Iterator<Item = &'a LogLine> {
    let is_of = |words: &&LastWords| event.event == EventKind::Exited && (Some(words.pid), words.ended) == (event.pid, event.time);
    life.output.iter().find(is_of).into_iter().flat_map(|words| &words.lines)
}

/// On a terminal the day is told only where it is another.
fn time(event: &EventRow, look: &Look) -> String {
    match look.medium {
        Medium::Terminal(_) => units::clock(event.time, look),
        Medium::Pipe => units::stamp(event.time, look),
    }
}

/// Where a text stands, in lines.
enum Layout {
    Nothing,
    Beside(Vec<String>),
    Below(Vec<String>),
}

/// The text beside a margin, or below it where there is too little room.
fn layout(text: &str, margin: usize, look: &Look) -> Layout {
    let room = look.width().map_or(usize::MAX, |limit| limit.saturating_sub(margin));
    match look.width() {
        _ if text.is_empty() => Layout::Nothing,
        Some(limit) if room < NARROWEST && width(text) > room => Layout::Below(wrap(text, limit.saturating_sub(BELOW).max(1))),
        Some(_) => Layout::Beside(wrap(text, room)),
        None => Layout::Beside(vec![text.to_owned()]),
    }
}

/// Why, how it ended, how long it had run, with how much memory, as which process, and at whose wish.
fn what(event: &EventRow) -> String {
    let started = cause(&event.reason);
    let reason = match event.event {
        EventKind::Started => &*started,
        EventKind::Added
        | EventKind::Removed
        | EventKind::StartFailed
        | EventKind::Paused
        | EventKind::Resumed
        | EventKind::Stopping
        | EventKind::Killed
        | EventKind::Stuck
        | EventKind::Exited
        | EventKind::Drained
        | EventKind::Planned
        | EventKind::GaveUp
        | EventKind::Skipped
        | EventKind::TimedOut
        | EventKind::OverMemory
        | EventKind::HookFailed
        | EventKind::Ready
        | EventKind::Unready
        | EventKind::Unhealthy
        | EventKind::Deactivated
        | EventKind::Blocked
        | EventKind::Changed
        | EventKind::FilesChanged
        | EventKind::Other(_) => event.reason.as_str(),
    };
    let exit = event.exit.map(|exit| exit.to_string()).filter(|exit| !reason.contains(exit.as_str()));
    let end = match (reason, exit) {
        ("", exit) => exit,
        (reason, None) => Some(reason.to_owned()),
        (reason, Some(exit)) => Some(format!("{reason} ({exit})")),
    };
    let ran = event.ran_ms.map(|ran| format!("after {}", units::duration(ran)));
    let memory = event.peak_memory.map(|peak| format!("peak memory {}", units::size(peak)));
    let pid = event.pid.map(|pid| format!("pid {pid}"));
    let asked = event.uid.map(|uid| format!("uid {uid}")).or(event.by.map(|signal| signal.to_string()));
    let asked = asked.map(|who| format!("asked for by {who}"));
    [end, ran, memory, pid, asked].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Why a service was started, as after "started".
fn cause(reason: &str) -> Cow<'_, str> {
    if let Some(changes) = reason.strip_prefix("watch: ") {
        return format!("for changed files: {changes}").into();
    }
    Cow::Borrowed(match reason {
        "boot" => "with the daemon",
        "request" => "by request",
        "needed" => "because it is needed",
        "dependency" => "with what it needs",
        "schedule" => "by its schedule",
        "missed" => "by its schedule, for a time that was missed",
        "backoff" => "again after a crash",
        "restart" => "again as it shall always run",
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::super::services::tests::web;
    use super::super::tests::{piped, terminal};
    use super::*;
    use ppm_protocol::types::Why;
    use ppm_protocol::{Exit, NextStart, ServiceRow, Signal, Status};

    fn event(time: &str, event: EventKind, to: Status, reason: &str) -> EventRow {
        EventRow {
            time: time.parse().unwrap(),
            service: "web".to_owned(),
            id: 2,
            event,
            from: Status::Running,
            to,
            pid: None,
            exit: None,
            reason: reason.to_owned(),
            uid: None,
            by: None,
            ran_ms: None,
            peak_memory: None,
        }
    }

    fn last_lines() -> Vec<LogLine> {
        let line = |stream, message: &str| LogLine {
            time: "2026-11-23T11:59:55.900Z".parse().ok(),
            service: "web".to_owned(),
            id: Some(2),
            stream,
            message: message.to_owned(),
            bytes: None,
            partial: false,
        };
        let long = "panic: cannot listen on 0.0.0.0:80: address already in use (is another server running?)";
        vec![line(Stream::Stdout, "starting\x1b[2J"), line(Stream::Stderr, long)]
    }

    fn crashed() -> Life {
        let row = ServiceRow {
            status: Status::Crashed,
            pid: None,
            uptime_ms: None,
            ended_at: Some("2026-11-23T11:59:56.000Z".parse().unwrap()),
            exit: Some(Exit::Code(3)),
            reason: "exit code 3, retry 2 in 2s".to_owned(),
            next_start: Some(NextStart { at: "2026-11-23T12:00:02.000Z".parse().unwrap(), why: Why::Backoff }),
            ..web()
        };
        let started = |time, pid, reason| EventRow { pid: Some(pid), ..event(time, EventKind::Started, Status::Running, reason) };
        let exited = |time, pid, exit, ran, to, reason| EventRow {
            pid: Some(pid),
            exit: Some(exit),
            ran_ms: Some(ran),
            ..event(time, EventKind::Exited, to, reason)
        };
        let stopping = event("2026-11-22T23:10:00.000Z", EventKind::Stopping, Status::Running, "SIGTERM, SIGKILL in 5s");
        let obeyed = Exit::Signal(Signal::TERM);
        Life {
            row,
            events: vec![
                started("2026-11-22T09:00:00.000Z", 31, "boot"),
                EventRow { pid: Some(31), uid: Some(1000), ..stopping },
                exited("2026-11-22T23:10:01.500Z", 31, obeyed, 51_001_500, Status::Finished, "stopped by request"),
                started("2026-11-23T11:59:55.000Z", 77, "request"),
                exited("2026-11-23T11:59:56.000Z", 77, Exit::Code(3), 1000, Status::Crashed, "exit code 3"),
                event("2026-11-23T11:59:56.000Z", EventKind::Planned, Status::Crashed, "exit code 3, retry 2 in 2s"),
            ],
            output: vec![LastWords { pid: 77, ended: "2026-11-23T11:59:56.000Z".parse().unwrap(), lines: last_lines() }],
        }
    }

    #[test]
    fn piped_every_event_is_a_line_with_its_date() {
        let expected = "
web: Crashed 4s ago: exit code 3, retry 2 in 2s
  2026-11-22 09:00:00  started   with the daemon, pid 31
  2026-11-22 23:10:00  stopping  SIGTERM, SIGKILL in 5s, pid 31, asked for by uid 1000
  2026-11-22 23:10:01  exited    stopped by request (killed by SIGTERM), after 14h 10m, pid 31
  2026-11-23 11:59:55  started   by request, pid 77
  2026-11-23 11:59:56  exited    exit code 3, after 1s, pid 77
    | starting\\u{1b}[2J
    | panic: cannot listen on 0.0.0.0:80: address already in use (is another server running?)
  2026-11-23 11:59:56  planned   exit code 3, retry 2 in 2s
";
        assert_eq!(format!("\n{}", stories(&[crashed()], &piped())), expected);
    }

    #[test]
    fn on_80_columns_the_date_is_told_where_it_is_another_day() {
        let expected = "
● web: Crashed 4s ago: exit code 3, retry 2 in 2s
  Sun 22 Nov 09:00:00  started   with the daemon, pid 31
  Sun 22 Nov 23:10:00  stopping  SIGTERM, SIGKILL in 5s, pid 31, asked for by
                                 uid 1000
  Sun 22 Nov 23:10:01  exited    stopped by request (killed by SIGTERM), after
                                 14h 10m, pid 31
             11:59:55  started   by request, pid 77
             11:59:56  exited    exit code 3, after 1s, pid 77
    | starting\\u{1b}[2J
    | panic: cannot listen on 0.0.0.0:80: address already in use (is another se…
             11:59:56  planned   exit code 3, retry 2 in 2s
";
        assert_eq!(format!("\n{}", stories(&[crashed()], &terminal(80))), expected);
    }

    #[test]
    fn on_60_columns_lines_are_broken_between_words() {
        let expected = "
● web: Crashed 4s ago: exit code 3, retry 2 in 2s
  Sun 22 Nov 09:00:00  started   with the daemon, pid 31
  Sun 22 Nov 23:10:00  stopping  SIGTERM, SIGKILL in 5s, pid
                                 31, asked for by uid 1000
  Sun 22 Nov 23:10:01  exited    stopped by request (killed
                                 by SIGTERM), after 14h 10m,
                                 pid 31
             11:59:55  started   by request, pid 77
             11:59:56  exited    exit code 3, after 1s, pid
                                 77
    | starting\\u{1b}[2J
    | panic: cannot listen on 0.0.0.0:80: address already i…
             11:59:56  planned   exit code 3, retry 2 in 2s
";
        assert_eq!(format!("\n{}", stories(&[crashed()], &terminal(60))), expected);
    }

    #[test]
    fn on_44_columns_the_story_stands_below_its_time() {
        let expected = "
● web: Crashed 4s ago: exit code 3, retry 2 in 2s
  Sun 22 Nov 09:00:00  started
    with the daemon, pid 31
  Sun 22 Nov 23:10:00  stopping
    SIGTERM, SIGKILL in 5s, pid 31, asked
    for by uid 1000
  Sun 22 Nov 23:10:01  exited
    stopped by request (killed by SIGTERM),
    after 14h 10m, pid 31
             11:59:55  started
    by request, pid 77
             11:59:56  exited
    exit code 3, after 1s, pid 77
    | starting\\u{1b}[2J
    | panic: cannot listen on 0.0.0.0:80: a…
             11:59:56  planned
    exit code 3, retry 2 in 2s
";
        assert_eq!(format!("\n{}", stories(&[crashed()], &terminal(44))), expected);
    }

    #[test]
    fn what_a_signal_to_the_daemon_asked_for_is_told_so() {
        let row = event("2026-11-23T11:59:56.000Z", EventKind::Changed, Status::Running, "stop.timeout: 5s -> 20s");
        assert_eq!(what(&EventRow { by: Some(Signal::HUP), ..row }), "stop.timeout: 5s -> 20s, asked for by SIGHUP");
    }

    #[test]
    fn an_end_tells_the_most_memory_that_was_seen() {
        let row = event("2026-11-23T11:59:56.000Z", EventKind::Exited, Status::Crashed, "killed: out of memory");
        let row = EventRow { ran_ms: Some(1000), peak_memory: Some(190_840_832), pid: Some(7), ..row };
        assert_eq!(what(&row), "killed: out of memory, after 1s, peak memory 182 MiB, pid 7");
    }

    #[test]
    fn one_to_whom_nothing_happened_says_so() {
        let life =
            Life { row: ServiceRow { status: Status::Created, pid: None, uptime_ms: None, ..web() }, events: vec![], output: vec![] };
        assert_eq!(
            stories(&[life.clone(), life], &piped()),
            "web: Created\n  nothing has happened to it yet\n\nweb: Created\n  nothing has happened to it yet\n"
        );
    }

    #[test]
    fn reasons_cannot_break_lines_r75() {
        let mut life = crashed();
        life.events = vec![event("2026-11-23T11:59:56.000Z", EventKind::Exited, Status::Crashed, "a\nb\x1b[0m")];
        assert!(stories(&[life], &piped()).ends_with("  exited  a\\nb\\u{1b}[0m\n"));
    }
}
