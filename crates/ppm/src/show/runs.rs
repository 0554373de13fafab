//! The tables of `runs`: what a service has run lately.

use ppm_protocol::{RunResult, RunRow, RunsRow};

use super::table::{Column, Row, render};
use super::text::clean;
use super::{BAD, Look, PLAIN, units};

const COLUMNS: [Column; 5] = [
    Column::text("STARTED"),
    Column::number("LATE").goes(1),
    Column::number("RAN"),
    Column::text("WHY").goes(2),
    Column::text("RESULT").shrinks(),
];

/// A line of figures and a table for each service, oldest run first.
pub fn tables(services: &[RunsRow], look: &Look) -> String {
    services.iter().map(|service| table(service, look)).collect::<Vec<_>>().join("\n")
}

fn table(service: &RunsRow, look: &Look) -> String {
    let title = format!("{}: {}\n", clean(&service.name), figures(service));
    if service.runs.is_empty() {
        return title;
    }
    title + &render(&COLUMNS, service.runs.iter().map(|run| row(run, look)).collect(), look)
}

/// `12 planned runs, 1 skipped, at most 7ms late`; what has not happened is not told.
fn figures(service: &RunsRow) -> String {
    let RunsRow { fired, skipped, missed, timeouts, max_late_ms, .. } = *service;
    let some = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let planned = match fired {
        0 if service.runs.is_empty() => "has not run yet".to_owned(),
        0 => "no planned runs".to_owned(),
        1 => "1 planned run".to_owned(),
        several => format!("{several} planned runs"),
    };
    let late = (fired > 0).then(|| format!("at most {} late", units::duration(max_late_ms)));
    let rest = [some(skipped, "skipped"), some(missed, "missed"), some(timeouts, "timed out"), late];
    std::iter::once(planned).chain(rest.into_iter().flatten()).collect::<Vec<_>>().join(", ")
}

fn row<'a>(run: &'a RunRow, look: &Look) -> Row<'a> {
    let end = run.ended.unwrap_or(*look.now);
    let ran = u64::try_from(end.0.saturating_sub(run.started.0)).unwrap_or(0);
    let is_bad = matches!(run.result, RunResult::Crashed | RunResult::TimedOut | RunResult::NotStarted);
    Row::default()
        .cell(units::stamp(run.started, look))
        .cell(run.late_ms.map_or(String::new(), units::duration))
        .cell(if run.result == RunResult::NotStarted { String::new() } else { units::duration(ran) })
        .cell(&run.reason)
        .styled(result(run), if is_bad { BAD } else { PLAIN })
}

fn result(run: &RunRow) -> String {
    let exit = run.exit.map(|exit| exit.to_string());
    match (run.result, exit) {
        (RunResult::Running, _) => "runs".to_owned(),
        (RunResult::Finished | RunResult::Crashed, Some(exit)) => exit,
        (RunResult::Finished, None) => "finished".to_owned(),
        (RunResult::Crashed, None) => "crashed".to_owned(),
        (RunResult::Stopped, Some(exit)) => format!("stopped, {exit}"),
        (RunResult::Stopped, None) => "stopped".to_owned(),
        (RunResult::TimedOut, Some(exit)) => format!("lasted too long, {exit}"),
        (RunResult::TimedOut, None) => "lasted too long".to_owned(),
        (RunResult::NotStarted, _) => "could not be started".to_owned(),
        (RunResult::Other(word), _) => word.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;
    use ppm_protocol::{Exit, Signal, Timestamp};

    fn run(started: &str, ended: Option<&str>, late_ms: Option<u64>, reason: &str, exit: Option<Exit>, result: RunResult) -> RunRow {
        let at = |text: &str| format!("2026-11-{text}Z").parse::<Timestamp>().unwrap();
        let started = at(started);
        let planned = late_ms.map(|late| Timestamp(started.0 - i64::try_from(late).unwrap()));
        RunRow { planned, started, late_ms, ended: ended.map(at), exit, reason: reason.to_owned(), result }
    }

    fn backup() -> RunsRow {
        let runs = vec![
            run("21T03:00:00", Some("21T03:04:05"), Some(1), "schedule", Some(Exit::Code(0)), RunResult::Finished),
            run("22T03:00:00", Some("22T03:20:00"), Some(7), "schedule", Some(Exit::Signal(Signal::TERM)), RunResult::TimedOut),
            run("22T03:20:01", Some("22T03:20:01"), None, "backoff", None, RunResult::NotStarted),
            run("23T11:59:00", None, None, "request", None, RunResult::Running),
        ];
        RunsRow { id: 3, name: "backup".to_owned(), fired: 12, skipped: 1, missed: 0, timeouts: 1, max_late_ms: 7, runs }
    }

    #[test]
    fn every_run_is_a_line_with_how_late_how_long_and_how_it_ended() {
        let expected = "
backup: 12 planned runs, 1 skipped, 1 timed out, at most 7ms late
STARTED              LATE    RAN  WHY       RESULT
2026-11-21 03:00:00   1ms  4m 5s  schedule  exit code 0
2026-11-22 03:00:00   7ms    20m  schedule  lasted too long, killed by SIGTERM
2026-11-22 03:20:01     -      -  backoff   could not be started
2026-11-23 11:59:00     -     1m  request   runs
";
        assert_eq!(format!("\n{}", tables(&[backup()], &piped())), expected);
        assert_eq!(format!("\n{}", tables(&[backup()], &terminal(80))), expected);
    }

    #[test]
    fn one_that_has_not_run_says_so() {
        let none = RunsRow { fired: 0, skipped: 0, timeouts: 0, runs: Vec::new(), ..backup() };
        assert_eq!(tables(&[none.clone(), none], &piped()), "backup: has not run yet\n\nbackup: has not run yet\n");
    }
}
