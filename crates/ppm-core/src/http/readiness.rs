//! /readyz: whether all that should run does and is ready, in words that an orchestrator's users know.
//!
//! The form is that of Kubernetes' own servers: `?verbose` tells of each, `?exclude=NAME` leaves one out.

use std::fmt::Write;

use crate::names::glob_matches;
use crate::report::{Report, ServiceReport};

/// How it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    verbose: bool,
    /// Names, common names of replicas, and globs.
    exclude: Vec<String>,
}

impl Readiness {
    /// Reads the part of a URL behind `?`; what means nothing is passed over.
    pub(super) fn read(query: &str) -> Readiness {
        let mut readiness = Readiness::default();
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("verbose", _) => readiness.verbose = true,
                ("exclude", name) => readiness.exclude.push(decode(name)),
                _ => {}
            }
        }
        readiness
    }

    /// Whether it is ready, and the text that says so. What is not ready is told in any case.
    pub(super) fn look(&self, report: &Report) -> (bool, String) {
        let mut text = String::new();
        if report.is_ending {
            text.push_str("[-]ppm shutting down\n");
        }
        let mut is_ready = !report.is_ending;
        for service in &report.services {
            let (name, state) = (&service.row.name, state_of(service));
            // Writing into a String cannot fail.
            let _ = if self.exclude.iter().any(|meant| is_meant(meant, service)) {
                writeln!(text, "[+]{name} excluded: {state}")
            } else if service.is_well {
                writeln!(text, "[+]{name} {state}")
            } else {
                is_ready = false;
                writeln!(text, "[-]{name} {state}")
            };
        }
        for meant in self.exclude.iter().filter(|meant| !report.services.iter().any(|service| is_meant(meant, service))) {
            let _ = writeln!(text, "warn: no service matches exclude=\"{}\"", meant.escape_debug());
        }
        if is_ready && !self.verbose {
            return (true, "ok\n".to_owned());
        }
        text.push_str(if is_ready { "readyz check passed\n" } else { "readyz check failed\n" });
        (is_ready, text)
    }
}

fn is_meant(meant: &str, service: &ServiceReport) -> bool {
    service.replica_of.as_deref() == Some(meant) || glob_matches(meant, &service.row.name)
}

/// `ready`, or its state and why.
fn state_of(service: &ServiceReport) -> String {
    let row = &service.row;
    if row.ready { "ready".to_owned() } else { format!("{}: {}", row.status.to_string().to_lowercase(), row.reason) }
}

/// `%20` and `+` are what they stand for; what is not written so stays as it is.
fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use ppm_protocol::{ServiceRow, Status};

    use super::*;
    use crate::http::tests::{report, row, service};

    fn three() -> Report {
        let crashed = ServiceRow { ready: false, reason: "exit code 1, retry 3 in 3.9s".to_owned(), ..row("worker", Status::Crashed) };
        let waits = ServiceRow { ready: false, reason: "waits for its time".to_owned(), ..row("job-1", Status::Created) };
        let job = ServiceReport { replica_of: Some("job".to_owned()), ..service(waits, true) };
        report(vec![service(row("web", Status::Running), true), service(crashed, false), job])
    }

    fn look(query: &str) -> (bool, String) {
        Readiness::read(query).look(&three())
    }

    #[test]
    fn what_is_not_ready_is_told_also_where_nobody_asked() {
        let text =
            "[+]web ready\n[-]worker crashed: exit code 1, retry 3 in 3.9s\n[+]job-1 created: waits for its time\nreadyz check failed\n";
        assert_eq!(look(""), (false, text.to_owned()));
        assert_eq!(look("verbose=0&x=y&&"), (false, text.to_owned()));
    }

    #[test]
    fn what_is_excluded_does_not_count() {
        assert_eq!(look("exclude=worker"), (true, "ok\n".to_owned()));
        assert_eq!(look("exclude=w%6frk%2A"), (true, "ok\n".to_owned()));
        let (is_ready, text) = look("verbose&exclude=job&exclude=worker&exclude=no+%zz%");
        assert!(is_ready && text.contains("[+]worker excluded: crashed: exit") && text.contains("[+]job-1 excluded: created"), "{text}");
        assert!(text.ends_with("warn: no service matches exclude=\"no %zz%\"\nreadyz check passed\n"), "{text}");
    }

    #[test]
    fn nothing_is_ready_while_everything_ends() {
        let (is_ready, text) = Readiness::default().look(&Report { is_ending: true, ..report(Vec::new()) });
        assert_eq!((is_ready, text.as_str()), (false, "[-]ppm shutting down\nreadyz check failed\n"));
        assert_eq!(Readiness::default().look(&report(Vec::new())), (true, "ok\n".to_owned()));
    }
}
