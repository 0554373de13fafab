//! The lines of `events`.

use anstyle::Style;
use ppm_protocol::{EventRow, Status};

use super::text::{clean, width};
use super::{BAD, FAIR, GOOD, Look, PLAIN, QUIET, units};

/// The widest word for what happened, `start failed`.
const EVENT: usize = 12;

/// Lines of one stream: the services' names stand in a column that grows with the longest so far.
#[derive(Debug, Default)]
pub struct Lines {
    name: usize,
}

impl Lines {
    /// Makes room for the names of these events, so that their lines are aligned from the first on.
    pub fn expect(&mut self, events: &[EventRow]) {
        self.name = events.iter().map(|event| width(&clean(&event.service))).max().unwrap_or(0).max(self.name);
    }

    /// One event as a line with its line feed.
    pub fn line(&mut self, event: &EventRow, look: &Look) -> String {
        self.expect(std::slice::from_ref(event));
        let name = clean(&event.service);
        let gap = self.name.saturating_sub(width(&name));
        let time = look.paint(QUIET, &units::stamp(event.time, look));
        let what = event.event.to_string();
        let what = clean(&what);
        let line = format!("{time}  {name}{:gap$}  {what:EVENT$}  {}{}", "", state(event, look), clean(&note(event)));
        format!("{}\n", line.trim_end())
    }
}

/// The colour of the state that the event led to.
pub fn style(event: &EventRow) -> Style {
    match event.to {
        Status::Running => GOOD,
        Status::Stopped => FAIR,
        Status::Crashed => BAD,
        Status::Created | Status::Finished => QUIET,
        Status::Other(_) => PLAIN,
    }
}

fn state(event: &EventRow, look: &Look) -> String {
    let to = look.paint(style(event), &clean(&event.to.to_string()));
    if event.from == event.to { to } else { format!("{} -> {to}", clean(&event.from.to_string())) }
}

fn note(event: &EventRow) -> String {
    let reason = match event.exit {
        Some(exit) if event.reason.is_empty() => exit.to_string(),
        Some(_) | None => event.reason.clone(),
    };
    let pid = event.pid.map(|pid| format!("pid {pid}"));
    let parts: Vec<String> = pid.into_iter().chain(Some(reason).filter(|reason| !reason.is_empty())).collect();
    if parts.is_empty() { String::new() } else { format!("  {}", parts.join(": ")) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::piped;
    use super::*;
    use ppm_protocol::{EventKind, Exit, Signal};

    fn event(service: &str, event: EventKind, from: Status, to: Status) -> EventRow {
        let time = "2026-11-23T04:07:41.250Z".parse().unwrap();
        EventRow {
            time,
            service: service.to_owned(),
            id: 1,
            event,
            from,
            to,
            pid: None,
            exit: None,
            reason: String::new(),
            uid: None,
            by: None,
            ran_ms: None,
            peak_memory: None,
        }
    }

    fn several() -> Vec<EventRow> {
        let exited = event("worker", EventKind::Exited, Status::Running, Status::Crashed);
        vec![
            EventRow { pid: Some(31), ..event("web", EventKind::Started, Status::Created, Status::Running) },
            EventRow { pid: Some(40), exit: Some(Exit::Code(1)), reason: "exit code 1, retry 3 in 4s".to_owned(), ..exited.clone() },
            EventRow { exit: Some(Exit::Signal(Signal::KILL)), ..exited },
            event("web", EventKind::StartFailed, Status::Crashed, Status::Crashed),
        ]
    }

    #[test]
    fn lines_tell_when_who_what_and_why() {
        let mut lines = Lines::default();
        lines.expect(&several());
        let text: String = several().iter().map(|event| lines.line(event, &piped())).collect();
        let expected = "\
2026-11-23 04:07:41  web     started       Created -> Running  pid 31
2026-11-23 04:07:41  worker  exited        Running -> Crashed  pid 40: exit code 1, retry 3 in 4s
2026-11-23 04:07:41  worker  exited        Running -> Crashed  killed by SIGKILL
2026-11-23 04:07:41  web     start failed  Crashed
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_column_of_names_only_grows() {
        let mut lines = Lines::default();
        let at = |lines: &mut Lines, name| {
            lines.line(&event(name, EventKind::Started, Status::Created, Status::Running), &piped()).find("started").unwrap()
        };
        assert_eq!([at(&mut lines, "web"), at(&mut lines, "a-long-name"), at(&mut lines, "web")], [26, 34, 34]);
    }

    #[test]
    fn reasons_cannot_break_lines_r75() {
        let bad = EventRow { reason: "a\nb\x1b[0m".to_owned(), ..event("web", EventKind::Exited, Status::Running, Status::Crashed) };
        assert!(Lines::default().line(&bad, &piped()).ends_with("  a\\nb\\u{1b}[0m\n"));
    }
}
