//! The status page: one static document whose table is filled in here, so that it can be read without JavaScript. With
//! it the page asks for /status.json again and again, and shows that in the same way.
//!
//! Invariant: whatever a service is called or says of itself is text, never markup.

use std::fmt::Write;
use std::time::Duration;

use ppm_protocol::{ServiceRow, Status, Timestamp};

use crate::report::Report;
use crate::time::brief;

/// Small enough for a single read of it.
const DOCUMENT: &str = include_str!("status.html");

/// What the page may do: show itself and ask for the next snapshot. The icon is an empty one.
pub(super) const POLICY: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                                 connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

const ORDER: [Status; 5] = [Status::Running, Status::Crashed, Status::Stopped, Status::Finished, Status::Created];

/// The page.
pub(super) fn write(report: &Report) -> String {
    let mut rows = String::new();
    for service in &report.services {
        row(&mut rows, &service.row, report.at);
    }
    let since = report.started.to_string(); // with its milliseconds
    let since = since.split_once('.').map_or(since.as_str(), |(second, _)| second).replace('T', " ");
    let about = format!("ppm {}, process {}, since {since} UTC", report.version, report.pid);
    let (mut page, mut rest) = (String::with_capacity(DOCUMENT.len() + rows.len() + 200), DOCUMENT);
    while let Some((before, (name, after))) = rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?))) {
        page.push_str(before);
        match name {
            "summary" => escape(&mut page, &summary(report)),
            "about" => escape(&mut page, &about),
            _ => page.push_str(&rows),
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

fn summary(report: &Report) -> String {
    let count = |status: Status| report.services.iter().filter(|service| service.row.status == status).count();
    let words = |status: Status| Some(count(status)).filter(|count| *count > 0).map(|count| format!("{count} {}", word(status)));
    let words: Vec<String> = ORDER.into_iter().filter_map(words).collect();
    let ending = if report.is_ending { "shutting down, " } else { "" };
    format!("{ending}{}", if words.is_empty() { "no services".to_owned() } else { words.join(", ") })
}

fn row(out: &mut String, row: &ServiceRow, now: Timestamp) {
    let (kind, state) = match (row.status, row.ready) {
        (Status::Running, false) => ("waiting".to_owned(), "running, not ready".to_owned()),
        (status, _) => (word(status), word(status)),
    };
    let millis = |millis: i64| brief(Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    let uptime = row.uptime_ms.map(|millis| brief(Duration::from_millis(millis))).unwrap_or_default();
    let next = row.next_start.map(|next| format!("in {}", millis(next.at.0.saturating_sub(now.0)))).unwrap_or_default();
    let pid = row.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let state_class = format!("state {kind}");
    let cells = [
        ("name", &row.name),
        (&state_class, &state),
        ("n", &uptime),
        ("n minor", &number(row.restarts)),
        ("n minor", &pid),
        ("n minor", &next),
        ("why", &row.reason),
    ];
    out.push_str("<tr>");
    for (class, text) in cells {
        // Writing into a String cannot fail.
        let _ = write!(out, "<td class=\"{class}\">");
        escape(out, text);
    }
    out.push('\n');
}

fn word(status: Status) -> String {
    status.to_string().to_lowercase()
}

fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use ppm_protocol::{NextStart, Why};

    use super::*;
    use crate::http::tests::{report, row, service};

    #[test]
    fn the_document_is_small_and_has_its_places() {
        assert!(DOCUMENT.len() <= 8 * 1024, "{} bytes", DOCUMENT.len());
        for place in ["{{summary}}", "{{rows}}", "{{about}}"] {
            assert!(DOCUMENT.contains(place), "{place}");
        }
    }

    #[test]
    fn rows_are_there_without_a_script() {
        let crashed = ServiceRow {
            pid: None,
            uptime_ms: None,
            restarts: 3,
            reason: "exit code 1, retry 4 in 8s".to_owned(),
            next_start: Some(NextStart { at: Timestamp(70_000), why: Why::Backoff }),
            ..row("worker", Status::Crashed)
        };
        let slow = ServiceRow { ready: false, ..row("slow", Status::Running) };
        let page = write(&report(vec![service(row("web", Status::Running), true), service(crashed, false), service(slow, false)]));
        for text in [
            "<td class=\"name\">web<td class=\"state running\">running<td class=\"n\">1m 1s<td class=\"n minor\"><td class=\"n minor\">7",
            "<td class=\"name\">worker<td class=\"state crashed\">crashed<td class=\"n\"><td class=\"n minor\">3<td class=\"n minor\">",
            "<td class=\"n minor\">in 8s<td class=\"why\">exit code 1, retry 4 in 8s\n",
            "<td class=\"state waiting\">running, not ready",
            "<title>ppm: 2 running, 1 crashed</title>",
            "ppm 1.2.3, process 1, since 1970-01-01 00:00:00 UTC",
        ] {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
        assert!(!page.contains("{{"), "{page}");
    }

    #[test]
    fn what_services_say_is_text() {
        let reason = "<script>alert(\"1\")</script> {{rows}} & so on".to_owned();
        let page = write(&report(vec![service(ServiceRow { reason, ..row("web", Status::Crashed) }, false)]));
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; {{rows}} &amp; so on"), "{page}");
        assert_eq!(page.matches("<script>").count(), 1, "its own");
    }

    #[test]
    fn an_empty_table_and_an_end_are_told() {
        assert_eq!(summary(&report(Vec::new())), "no services");
        let ending = Report { is_ending: true, ..report(vec![service(row("web", Status::Running), true)]) };
        assert_eq!(summary(&ending), "shutting down, 1 running");
    }
}
