//! The services that are not well, as `health` tells of them.

use ppm_protocol::{Health, HealthRow};

use super::text::clean;

/// One line a service that is not as it should be: `worker: Crashed, exit code 1, retry 3 in 3.9s`.
pub fn unhealthy(health: &Health) -> String {
    let line = |row: &HealthRow| match row.reason.as_str() {
        "" => format!("{}: {}\n", clean(&row.name), row.status),
        reason => format!("{}: {}, {}\n", clean(&row.name), row.status, clean(reason)),
    };
    health.services.iter().filter(|row| !row.healthy).map(line).collect()
}

/// What to tell a person, for whom silence is no answer.
pub fn remark(health: &Health) -> String {
    let all = health.services.len();
    let lost: Vec<&str> = health.services.iter().filter(|row| !row.healthy).map(|row| row.name.as_str()).collect();
    match (lost.as_slice(), all) {
        ([], 0) => "there are no services".to_owned(),
        ([], 1) => "1 service is well".to_owned(),
        ([], _) => format!("all {all} services are well"),
        ([first, ..], _) => format!("{} of {all} not well: see 'ppm why {}'", lost.len(), clean(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppm_protocol::Status;

    fn row(name: &str, status: Status, reason: &str) -> HealthRow {
        HealthRow { id: 1, name: name.to_owned(), healthy: status == Status::Running, status, reason: reason.to_owned() }
    }

    fn health(services: Vec<HealthRow>) -> Health {
        Health { healthy: services.iter().all(|row| row.healthy), services }
    }

    #[test]
    fn only_those_that_are_not_well_are_told_of_each_with_its_reason() {
        let some = health(vec![
            row("web", Status::Running, "started with the daemon"),
            row("worker", Status::Crashed, "exit code 1, retry 3 in 3.9s"),
            row("db", Status::Created, ""),
        ]);
        assert_eq!(unhealthy(&some), "worker: Crashed, exit code 1, retry 3 in 3.9s\ndb: Created\n");
        assert_eq!(remark(&some), "2 of 3 not well: see 'ppm why worker'");
    }

    #[test]
    fn a_person_is_told_that_all_is_well() {
        let well = |count| health((0..count).map(|_| row("web", Status::Running, "")).collect());
        assert_eq!(unhealthy(&well(2)), "");
        assert_eq!([0, 1, 2].map(|count| remark(&well(count))), ["there are no services", "1 service is well", "all 2 services are well"]);
    }

    #[test]
    fn reasons_cannot_break_lines_r75() {
        assert_eq!(unhealthy(&health(vec![row("a", Status::Crashed, "x\ny\x1b[2J")])), "a: Crashed, x\\ny\\u{1b}[2J\n");
    }
}
