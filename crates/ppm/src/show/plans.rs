//! The table of `show-scheduler`.

use ppm_protocol::PlanRow;
use ppm_protocol::types::PlanEvent;

use super::table::{Column, Row, render};
use super::{Look, units};

const COLUMNS: [Column; 6] = [
    Column::text("NEXT").goes(2),
    Column::number("IN"),
    Column::text("SERVICE"),
    Column::text("WHAT").goes(3),
    Column::text("LAST").goes(1),
    Column::text("RULE").shrinks(),
];

/// What is planned, one a line, as the daemon ordered it.
pub fn table(plans: &[PlanRow], look: &Look) -> String {
    let rows = plans.iter().map(|plan| {
        Row::default()
            .cell(units::plan(plan.at, look))
            .cell(units::duration(plan.in_ms))
            .cell(&plan.name)
            .cell(match plan.event {
                PlanEvent::Schedule => "run".to_owned(),
                PlanEvent::Restart => "restart".to_owned(),
                PlanEvent::Watch => "file changed".to_owned(),
                PlanEvent::Other(word) => word.to_string(),
            })
            .cell(&plan.last)
            .cell(rule(plan))
    });
    render(&COLUMNS, rows.collect(), look)
}

/// The rule, and what is out of the ordinary.
fn rule(plan: &PlanRow) -> String {
    if plan.note.is_empty() { plan.rule.clone() } else { format!("{} ({})", plan.rule, plan.note) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;

    fn several() -> Vec<PlanRow> {
        let plan = |name: &str, event, at: &str, in_ms, last: &str, rule: &str| PlanRow {
            id: 1,
            name: name.to_owned(),
            event,
            at: at.parse().unwrap(),
            in_ms,
            last: last.to_owned(),
            rule: rule.to_owned(),
            note: String::new(),
        };
        vec![
            plan("worker", PlanEvent::Restart, "2026-11-23T12:00:32Z", 32_000, "exit code 1", "backoff, crash 3"),
            plan("cleanup", PlanEvent::Schedule, "2026-11-23T12:15:00Z", 900_000, "", "*/15 * * * *"),
            plan("report", PlanEvent::Schedule, "2026-11-29T09:00:00Z", 507_600_000, "exit code 0", "0 9 * * SUN"),
        ]
    }

    #[test]
    fn piped_every_plan_tells_its_last_result_and_its_rule() {
        let expected = "
NEXT                         IN  SERVICE  WHAT     LAST         RULE
Mon 23 Nov 12:00:32 UTC     32s  worker   restart  exit code 1  backoff, crash 3
Mon 23 Nov 12:15:00 UTC     15m  cleanup  run      -            */15 * * * *
Sun 29 Nov 09:00:00 UTC  5d 21h  report   run      exit code 0  0 9 * * SUN
";
        assert_eq!(format!("\n{}", table(&several(), &piped())), expected);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_told_beside_the_rule() {
        let mut plans = several();
        plans[1].note = "moved: 02:30 does not exist".to_owned();
        assert!(table(&plans, &piped()).contains("-            */15 * * * * (moved: 02:30 does not exist)\n"));
    }

    #[test]
    fn the_rule_is_cut_first_then_the_last_result_goes() {
        let mut plans = several();
        plans[2].rule = "0 9 * * SUN (at 09:00, only on Sunday)".to_owned();
        let last = |limit| table(&plans, &terminal(limit)).lines().last().unwrap().to_owned();
        assert_eq!(last(80), "Sun 29 Nov 09:00:00 UTC  5d 21h  report   run      exit code 0  0 9 * * SUN (at…");
        assert_eq!(last(79), "Sun 29 Nov 09:00:00 UTC  5d 21h  report   run      0 9 * * SUN (at 09:00, only…");
    }

    #[test]
    fn on_60_and_44_columns_the_time_is_left_as_how_long_it_is_until_then() {
        let expected = "
    IN  SERVICE  WHAT     RULE
   32s  worker   restart  backoff, crash 3
   15m  cleanup  run      */15 * * * *
5d 21h  report   run      0 9 * * SUN
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(60))), expected);
        assert_eq!(format!("\n{}", table(&several(), &terminal(44))), expected);
    }
}
