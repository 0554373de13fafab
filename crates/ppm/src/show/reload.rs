//! What a reload does, or would do: a difference, one line a service.

use ppm_protocol::types::Reload;
use ppm_protocol::{ReloadAction, ReloadRow};

use super::text::{clean, width, wrap};
use super::{BAD, FAIR, GOOD, Look, QUIET, paint};
use crate::failure::{Code, Failure};

/// How far changes that need lines of their own are moved in.
const INDENT: usize = 6;

/// The widest word for what is done, `stop and remove`, is worth no column for all others.
const ACTION: usize = 10;

/// One line a service that is touched, after the settings, and one for all that are not.
pub fn changes(reload: &Reload, look: &Look) -> String {
    let touched = || reload.services.iter().filter(|row| row.action != ReloadAction::Keep);
    let names = touched().map(|row| width(&clean(&row.service))).max().unwrap_or(0);
    let settings = reload.settings.iter().map(|setting| setting_line(setting, look));
    let services = touched().map(|row| line(row, names, look));
    let kept = unchanged(&reload.services, names, look);
    settings.chain(services).chain(kept).collect()
}

/// What to tell a person who only wanted the plan, or sees nothing happen.
pub fn remark(reload: &Reload) -> Option<String> {
    let is_same = reload.settings.is_empty() && reload.services.iter().all(|row| row.action == ReloadAction::Keep);
    match (reload.applied, is_same) {
        (_, true) => Some("nothing has changed".to_owned()),
        (false, false) => Some("nothing was changed; 'ppm reload' does it".to_owned()),
        (true, false) => None,
    }
}

/// What could not be started, one failure a service.
pub fn failures(reload: &Reload) -> Vec<Failure> {
    let failure = |failed: &ppm_protocol::types::Failure| {
        Failure::new(Code::Failed, format!("cannot start '{}': {}", failed.service, failed.message))
            .hint(format!("'ppm why {}' tells more", failed.service))
    };
    reload.failed.iter().map(failure).collect()
}

fn setting_line(setting: &str, look: &Look) -> String {
    let lines = match look.width() {
        Some(limit) => wrap(&clean(setting), limit.saturating_sub(INDENT).max(1)),
        None => vec![clean(setting).into_owned()],
    };
    format!("  {} {}\n", look.paint(FAIR, "~"), lines.join(&format!("\n{:INDENT$}", "")))
}

/// The service with what is done to it; what has changed stands beside it where there is room, else below.
fn line(row: &ReloadRow, names: usize, look: &Look) -> String {
    let other;
    let (mark, style, action) = match row.action {
        ReloadAction::Add => ('+', GOOD, "start"),
        ReloadAction::Restart => ('~', FAIR, "restart"),
        ReloadAction::Reschedule => ('~', FAIR, "reschedule"),
        ReloadAction::Update => ('~', FAIR, "update"),
        ReloadAction::Remove => ('-', BAD, "stop and remove"),
        ReloadAction::Keep => ('=', QUIET, "unchanged"),
        ReloadAction::Other(word) => {
            other = clean(&word.to_string()).into_owned();
            ('~', FAIR, other.as_str())
        }
    };
    let name = clean(&row.service);
    let gap = names - width(&name);
    let changes: Vec<_> = row.changes.iter().map(|change| clean(change)).collect();
    let beside = changes.join("; ");
    let room = look.width().map(|limit| limit.saturating_sub(2 + 2 + names + 2 + ACTION + 2));
    let mut out = format!("  {} {name}{:gap$}  ", look.paint(style, &mark.to_string()), "");
    match room {
        _ if changes.is_empty() => out.push_str(action),
        Some(room) if width(&beside) > room => {
            out.push_str(action);
            let limit = look.width().unwrap_or(usize::MAX).saturating_sub(INDENT + 2).max(1);
            for change in changes {
                let lines = wrap(&change, limit);
                out.push_str(&format!("\n{:INDENT$}{}", "", lines.join(&format!("\n{:1$}", "", INDENT + 2))));
            }
        }
        Some(_) | None => out.push_str(&format!("{action:ACTION$}  {beside}")),
    }
    out.push('\n');
    out
}

/// All that stay as they are, in one line: on a terminal as many names as fit.
fn unchanged(rows: &[ReloadRow], names: usize, look: &Look) -> Option<String> {
    const END: &str = "  unchanged";
    let kept: Vec<_> = rows.iter().filter(|row| row.action == ReloadAction::Keep).map(|row| clean(&row.service)).collect();
    let limit = look.width().map_or(usize::MAX, |limit| limit.saturating_sub(4 + END.len()));
    let text = |shown: usize| match kept.len() - shown {
        0 => kept.join(", "),
        rest => format!("{} and {rest} more", kept.get(..shown).unwrap_or_default().join(", ")),
    };
    let fitting = (1..=kept.len()).rev().map(text).find(|text| width(text) <= limit);
    let list = fitting.or_else(|| (!kept.is_empty()).then(|| format!("{} services", kept.len())))?;
    let gap = names.saturating_sub(width(&list));
    Some(paint(look.colour, QUIET, &format!("  = {list}{:gap$}{END}", "")) + "\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;

    fn row(service: &str, action: ReloadAction, changes: &[&str]) -> ReloadRow {
        ReloadRow { service: service.to_owned(), action, changes: changes.iter().map(|change| (*change).to_owned()).collect() }
    }

    fn several() -> Reload {
        Reload {
            applied: false,
            settings: vec!["shutdown_timeout: 9s -> 25s".to_owned()],
            services: vec![
                row("cache", ReloadAction::Add, &[]),
                row("web", ReloadAction::Restart, &["command: web --port 8080 -> web --port 9090", "env: TOKEN changed"]),
                row("cleanup", ReloadAction::Reschedule, &["schedule: */15 * * * * -> */30 * * * *"]),
                row("worker", ReloadAction::Update, &["stop.timeout: 5s -> 10s"]),
                row("db", ReloadAction::Keep, &[]),
                row("migrate", ReloadAction::Keep, &[]),
                row("indexer", ReloadAction::Remove, &[]),
            ],
            failed: vec![],
        }
    }

    #[test]
    fn piped_every_service_is_one_line() {
        let expected = "
  ~ shutdown_timeout: 9s -> 25s
  + cache    start
  ~ web      restart     command: web --port 8080 -> web --port 9090; env: TOKEN changed
  ~ cleanup  reschedule  schedule: */15 * * * * -> */30 * * * *
  ~ worker   update      stop.timeout: 5s -> 10s
  - indexer  stop and remove
  = db, migrate  unchanged
";
        assert_eq!(format!("\n{}", changes(&several(), &piped())), expected);
    }

    #[test]
    fn on_80_columns_what_has_no_room_beside_its_service_stands_below_it() {
        let expected = "
  ~ shutdown_timeout: 9s -> 25s
  + cache    start
  ~ web      restart
      command: web --port 8080 -> web --port 9090
      env: TOKEN changed
  ~ cleanup  reschedule  schedule: */15 * * * * -> */30 * * * *
  ~ worker   update      stop.timeout: 5s -> 10s
  - indexer  stop and remove
  = db, migrate  unchanged
";
        assert_eq!(format!("\n{}", changes(&several(), &terminal(80))), expected);
    }

    #[test]
    fn on_60_and_44_columns_long_changes_are_broken() {
        let expected_at_60 = "
  ~ shutdown_timeout: 9s -> 25s
  + cache    start
  ~ web      restart
      command: web --port 8080 -> web --port 9090
      env: TOKEN changed
  ~ cleanup  reschedule
      schedule: */15 * * * * -> */30 * * * *
  ~ worker   update      stop.timeout: 5s -> 10s
  - indexer  stop and remove
  = db, migrate  unchanged
";
        let expected_at_44 = "
  ~ shutdown_timeout: 9s -> 25s
  + cache    start
  ~ web      restart
      command: web --port 8080 -> web
        --port 9090
      env: TOKEN changed
  ~ cleanup  reschedule
      schedule: */15 * * * * -> */30 * * *
        *
  ~ worker   update
      stop.timeout: 5s -> 10s
  - indexer  stop and remove
  = db, migrate  unchanged
";
        assert_eq!(format!("\n{}", changes(&several(), &terminal(60))), expected_at_60);
        assert_eq!(format!("\n{}", changes(&several(), &terminal(44))), expected_at_44);
    }

    #[test]
    fn of_many_that_are_unchanged_a_terminal_names_those_that_fit() {
        let services = (1..=40).map(|number| row(&format!("web-{number}"), ReloadAction::Keep, &[])).collect();
        let reload = Reload { settings: vec![], services, ..several() };
        assert_eq!(changes(&reload, &terminal(44)), "  = web-1, web-2 and 38 more  unchanged\n");
        assert_eq!(changes(&reload, &terminal(30)), "  = 40 services  unchanged\n");
        assert!(changes(&reload, &piped()).ends_with(", web-39, web-40  unchanged\n"));
        assert_eq!(changes(&Reload { services: vec![], ..reload }, &piped()), "");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for limit in 30..120 {
            for line in changes(&several(), &terminal(limit)).lines() {
                assert!(width(line) <= limit, "{limit}: {line}");
            }
        }
    }

    #[test]
    fn marks_have_colour_and_move_nothing() {
        let colourful = changes(&several(), &Look { colour: true, ..terminal(80) });
        assert!(colourful.contains("  \x1b[32m+\x1b[0m cache"), "{colourful:?}");
        assert!(colourful.contains("  \x1b[31m-\x1b[0m indexer"), "{colourful:?}");
        assert_eq!(anstream::adapter::strip_str(&colourful).to_string(), changes(&several(), &terminal(80)));
    }

    #[test]
    fn a_plan_says_that_it_is_one() {
        assert_eq!(remark(&several()).unwrap(), "nothing was changed; 'ppm reload' does it");
        assert_eq!(remark(&Reload { applied: true, ..several() }), None);
        let same = Reload { settings: vec![], services: vec![row("db", ReloadAction::Keep, &[])], ..several() };
        assert_eq!(remark(&same).unwrap(), "nothing has changed");
    }

    #[test]
    fn what_failed_to_start_is_told_and_nothing_acts_r75() {
        let failed = vec![ppm_protocol::types::Failure { service: "cache".to_owned(), message: "exec: no such file: cache".to_owned() }];
        let reload = Reload { failed, settings: vec!["a\x1b: b".to_owned()], services: vec![], applied: true };
        let expected = Failure::new(Code::Failed, "cannot start 'cache': exec: no such file: cache").hint("'ppm why cache' tells more");
        assert_eq!(failures(&reload), [expected]);
        assert_eq!(changes(&reload, &piped()), "  ~ a\\u{1b}: b\n");
    }
}
