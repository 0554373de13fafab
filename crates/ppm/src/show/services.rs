//! The table of `ls`.

use std::borrow::Cow;

use anstyle::Style;
use ppm_protocol::types::Why;
use ppm_protocol::{NextStart, ServiceRow, Status};

use super::table::{Column, Row, render};
use super::{BAD, FAIR, GOOD, Look, PLAIN, QUIET, units};

const COLUMNS: [Column; 7] = [
    Column::number("ID").goes(4),
    Column::text("NAME"),
    Column::text("STATE"),
    Column::number("PID").goes(1),
    Column::number("UP").goes(3),
    Column::number("RESTARTS").goes(2),
    Column::text("NOTE").shrinks(),
];

/// All services, one a line.
pub fn table(services: &[ServiceRow], look: &Look) -> String {
    let rows = services.iter().map(|service| {
        let (dot, style) = mark(service);
        Row::marked(dot, style)
            .cell(service.id.to_string())
            .cell(&service.name)
            .styled(service.status.to_string(), style)
            .cell(service.pid.map_or(String::new(), |pid| pid.to_string()))
            .cell(service.uptime_ms.map_or(String::new(), units::duration))
            .cell(service.restarts.to_string())
            .cell(note(service, look))
    });
    render(&COLUMNS, rows.collect(), look)
}

/// Their names, one a line.
pub fn names(services: &[ServiceRow]) -> String {
    services.iter().map(|service| format!("{}\n", super::text::clean(&service.name))).collect()
}

/// What to tell a person below the table, if anything.
pub fn remark(services: &[ServiceRow]) -> Option<String> {
    let lost: Vec<&str> = services.iter().filter(|service| given_up(service)).map(|service| service.name.as_str()).collect();
    match lost.as_slice() {
        [] if services.is_empty() => Some("no services; 'ppm add --name NAME -- COMMAND' adds one".to_owned()),
        [] => None,
        [first, ..] => Some(format!("{} crashed: see 'ppm info {first}'", lost.len())),
    }
}

/// The dot in front of a service, and the colour of its state.
pub fn mark(service: &ServiceRow) -> (char, Style) {
    match service.status {
        Status::Running if service.ready => ('●', GOOD),
        Status::Running | Status::Stopped => ('●', FAIR),
        Status::Crashed if given_up(service) => ('●', BAD),
        Status::Crashed => ('●', FAIR),
        Status::Finished | Status::Created => ('○', QUIET),
        Status::Other(_) => ('●', PLAIN),
    }
}

/// The reason, and what comes next.
pub fn note<'a>(service: &'a ServiceRow, look: &Look) -> Cow<'a, str> {
    let next = service.next_start.and_then(|next| upcoming(next, &service.reason, look));
    let reason = match service.status_text.as_deref() {
        Some(text) if service.ready || service.reason.is_empty() => text.into(), // better than how it was started
        Some(text) => Cow::from(format!("{}; {text}", service.reason)),
        None => service.reason.as_str().into(),
    };
    match next {
        Some(next) if reason.is_empty() => next.into(),
        Some(next) => format!("{reason}; {next}").into(),
        None => reason,
    }
}

fn upcoming(next: NextStart, reason: &str, look: &Look) -> Option<String> {
    let until = units::until(next.at, *look.now);
    match next.why {
        // The daemon's own words for a backoff, "exit code 1, retry 3 in 3.9s", say it already.
        Why::Backoff => (!reason.contains("retry")).then(|| format!("retry {until}")),
        Why::Restart | Why::Watch => Some(format!("restart {until}")),
        Why::Schedule => Some(format!("next run {until} ({})", units::clock(next.at, look))),
        Why::Other(word) => Some(format!("{word} {until}")),
    }
}

/// It crashed, and nothing will start it again.
fn given_up(service: &ServiceRow) -> bool {
    service.status == Status::Crashed && service.next_start.is_none()
}

#[cfg(test)]
pub mod tests {
    use super::super::tests::{piped, terminal};
    use super::super::text::width;
    use super::*;
    use ppm_protocol::Exit;

    fn idle(id: u32, name: &str, status: Status, reason: &str) -> ServiceRow {
        ServiceRow {
            id,
            name: name.to_owned(),
            status,
            active: true,
            ready: false,
            pid: None,
            restarts: 0,
            crashes: 0,
            started_at: None,
            ended_at: None,
            uptime_ms: None,
            exit: None,
            reason: reason.to_owned(),
            next_start: None,
            schedule: None,
            status_text: None,
        }
    }

    fn next(why: Why, at: &str) -> Option<NextStart> {
        Some(NextStart { at: at.parse().unwrap(), why })
    }

    /// One that runs, as tests of other views use it.
    pub fn web() -> ServiceRow {
        ServiceRow {
            ready: true,
            pid: Some(31),
            restarts: 2,
            started_at: Some("2026-11-20T08:00:00.000Z".parse().unwrap()),
            uptime_ms: Some(273_600_000),
            exit: Some(Exit::Code(1)),
            ..idle(2, "web", Status::Running, "")
        }
    }

    /// One of each kind.
    fn several() -> Vec<ServiceRow> {
        let worker = idle(3, "worker", Status::Crashed, "exit code 1, retry 3 in 32s");
        let cleanup = idle(6, "cleanup", Status::Created, "");
        vec![
            ServiceRow { ready: true, pid: Some(12), uptime_ms: Some(273_600_000), ..idle(1, "db", Status::Running, "") },
            web(),
            ServiceRow { restarts: 7, crashes: 3, next_start: next(Why::Backoff, "2026-11-23T12:00:32Z"), ..worker },
            ServiceRow { restarts: 10, ..idle(4, "indexer", Status::Crashed, "killed by SIGSEGV; gave up after 10 tries") },
            idle(5, "migrate", Status::Finished, "exit code 0"),
            ServiceRow { next_start: next(Why::Schedule, "2026-11-23T12:07:12Z"), ..cleanup },
            ServiceRow { active: false, ..idle(11, "debug-shell", Status::Finished, "stopped by request") },
        ]
    }

    #[test]
    fn on_100_columns_everything_is_there() {
        let expected = "
   ID  NAME         STATE     PID     UP  RESTARTS  NOTE
●   1  db           Running    12  3d 4h         0
●   2  web          Running    31  3d 4h         2
●   3  worker       Crashed     -      -         7  exit code 1, retry 3 in 32s
●   4  indexer      Crashed     -      -        10  killed by SIGSEGV; gave up after 10 tries
○   5  migrate      Finished    -      -         0  exit code 0
○   6  cleanup      Created     -      -         0  next run in 7m 12s (12:07:12)
○  11  debug-shell  Finished    -      -         0  stopped by request
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(100))), expected);
    }

    #[test]
    fn on_80_columns_the_note_is_cut() {
        let expected = "
   ID  NAME         STATE     PID     UP  RESTARTS  NOTE
●   1  db           Running    12  3d 4h         0
●   2  web          Running    31  3d 4h         2
●   3  worker       Crashed     -      -         7  exit code 1, retry 3 in 32s
●   4  indexer      Crashed     -      -        10  killed by SIGSEGV; gave up…
○   5  migrate      Finished    -      -         0  exit code 0
○   6  cleanup      Created     -      -         0  next run in 7m 12s (12:07:1…
○  11  debug-shell  Finished    -      -         0  stopped by request
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(80))), expected);
    }

    #[test]
    fn on_60_columns_pid_and_restarts_are_gone() {
        let expected = "
   ID  NAME         STATE        UP  NOTE
●   1  db           Running   3d 4h
●   2  web          Running   3d 4h
●   3  worker       Crashed       -  exit code 1, retry 3 i…
●   4  indexer      Crashed       -  killed by SIGSEGV; gav…
○   5  migrate      Finished      -  exit code 0
○   6  cleanup      Created       -  next run in 7m 12s (12…
○  11  debug-shell  Finished      -  stopped by request
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(60))), expected);
    }

    #[test]
    fn on_44_columns_name_state_and_the_beginning_of_the_note_are_left() {
        let expected = "
   NAME         STATE     NOTE
●  db           Running
●  web          Running
●  worker       Crashed   exit code 1, retr…
●  indexer      Crashed   killed by SIGSEGV…
○  migrate      Finished  exit code 0
○  cleanup      Created   next run in 7m 12…
○  debug-shell  Finished  stopped by request
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(44))), expected);
    }

    #[test]
    fn no_width_is_exceeded_even_with_long_names_and_wide_letters() {
        let mut services = several();
        services[0].name = "n".repeat(64);
        services[1].reason = "日本語の理由".repeat(10);
        for limit in [30, 44, 60, 80, 100, 200] {
            for line in table(&services, &terminal(limit)).lines() {
                assert!(width(line) <= limit, "{limit}: {line}");
            }
        }
    }

    #[test]
    fn piped_there_is_no_dot_nothing_is_cut_and_no_hole() {
        let expected = "
ID  NAME         STATE     PID     UP  RESTARTS  NOTE
 1  db           Running    12  3d 4h         0  -
 2  web          Running    31  3d 4h         2  -
 3  worker       Crashed     -      -         7  exit code 1, retry 3 in 32s
 4  indexer      Crashed     -      -        10  killed by SIGSEGV; gave up after 10 tries
 5  migrate      Finished    -      -         0  exit code 0
 6  cleanup      Created     -      -         0  next run in 7m 12s (12:07:12)
11  debug-shell  Finished    -      -         0  stopped by request
";
        assert_eq!(format!("\n{}", table(&several(), &piped())), expected);
    }

    #[test]
    fn without_services_there_is_only_the_header() {
        assert_eq!(table(&[], &piped()), "ID  NAME  STATE  PID  UP  RESTARTS  NOTE\n");
        assert_eq!(table(&[], &Look { headers: false, ..piped() }), "");
        assert_eq!(remark(&[]).unwrap(), "no services; 'ppm add --name NAME -- COMMAND' adds one");
    }

    #[test]
    fn names_alone_are_one_a_line() {
        assert_eq!(names(&several()[..2]), "db\nweb\n");
    }

    #[test]
    fn states_have_their_colours() {
        let table = table(&several(), &Look { colour: true, ..terminal(80) });
        let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
        assert!(line("db").starts_with("\x1b[32m●\x1b[0m   1  db           \x1b[32mRunning\x1b[0m"), "{table:?}");
        assert!(line("worker").contains("\x1b[33mCrashed\x1b[0m"), "it will be tried again: {table:?}");
        assert!(line("indexer").contains("\x1b[31mCrashed\x1b[0m"), "{table:?}");
        assert!(line("migrate").contains("\x1b[2mFinished\x1b[0m"), "{table:?}");
    }

    #[test]
    fn what_a_service_writes_cannot_act_on_the_terminal_r75() {
        let mut bad = web();
        bad.reason = "exec: no such file: \x1b[2J\x1b]0;owned\x07\nfoo".to_owned();
        let text = table(&[bad], &piped());
        assert!(text.ends_with("exec: no such file: \\u{1b}[2J\\u{1b}]0;owned\\u{7}\\nfoo\n"), "{text}");
        assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
    }

    #[test]
    fn what_comes_next_is_told_once() {
        let told = |reason: &str, why| {
            let service = ServiceRow { reason: reason.to_owned(), next_start: next(why, "2026-11-23T12:00:32Z"), ..web() };
            note(&service, &piped()).into_owned()
        };
        assert_eq!(told("exit code 1, retry 3 in 32s", Why::Backoff), "exit code 1, retry 3 in 32s");
        assert_eq!(told("exit code 1", Why::Backoff), "exit code 1; retry in 32s");
        assert_eq!(told("exit code 0", Why::Restart), "exit code 0; restart in 32s");
        assert_eq!(told("exit code 0", Why::Schedule), "exit code 0; next run in 32s (12:00:32)");
        assert_eq!(told("", Why::Watch), "restart in 32s");
    }

    #[test]
    fn the_remark_counts_those_that_nothing_starts_again() {
        assert_eq!(remark(&several()).unwrap(), "1 crashed: see 'ppm info indexer'");
        assert_eq!(remark(&several()[..3]), None);
    }
}
