//! What docs and data say of metrics is what there is: the table, the alerts, the dashboard.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ppm_core::http::metrics::{Kind, METRICS};
use serde_json::Value;

use crate::agreement::json_of;
use crate::{compare, repository};

const BEGIN: &str = "cargo test -p ppm-core --test config -->\n";

const ALERTS: &str = "data/prometheus-alerts.yml";
const TRIALS: &str = "tests/monitoring/alerts.yml";
const DASHBOARD: &str = "data/grafana-dashboard.json";

#[test]
fn the_table_of_metrics_is_written_from_those_that_there_are() {
    let path = repository("docs/monitoring.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(BEGIN).unwrap();
    let mut now = format!("{before}{BEGIN}\n| metric | kind | labels | what it is |\n| --- | --- | --- | --- |\n");
    for metric in &METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(now, "| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help).unwrap();
    }
    compare(&path, &now);
}

#[test]
fn every_metric_that_is_named_anywhere_is_there() {
    let mut known: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    for metric in METRICS.iter().filter(|metric| metric.kind == Kind::Histogram) {
        known.extend(["_bucket", "_sum", "_count"].map(|ending| format!("{}{ending}", metric.name)));
    }
    for file in [ALERTS, DASHBOARD, "docs/monitoring.md"] {
        let text = fs::read_to_string(repository(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("ppm_")).collect();
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(named.len() > 5 && unknown.is_empty(), "{file}: {unknown:?} of {named:?}");
    }
}

/// All labels that queries choose or group by.
#[test]
fn every_label_that_queries_use_is_one_of_their_metric() {
    // `le` is that of every histogram; the last two are added by whoever scrapes.
    let known: BTreeSet<&str> = METRICS.iter().flat_map(|metric| metric.labels).copied().chain(["le", "instance", "job"]).collect();
    for query in alerts().into_iter().chain(dashboard()) {
        let chosen = query.split(['{', ',']).filter_map(|part| part.split_once(['=', '~']).map(|(label, _)| label));
        let grouped = ["by (", "on ("].into_iter().flat_map(|word| query.split(word).skip(1)).flat_map(|rest| rest.split(')').next());
        let labels = chosen.chain(grouped.flat_map(|list| list.split(", "))).filter(|label| label.chars().all(|c| c.is_ascii_lowercase()));
        for label in labels.filter(|label| !label.is_empty()) {
            assert!(known.contains(label), "{label} in {query}");
        }
    }
}

/// Where there is a promtool (Debian: `prometheus`).
#[test]
fn promtool_takes_the_alerts_and_the_queries_of_the_dashboard() {
    check_rules(&fs::read_to_string(repository(ALERTS)).unwrap());
    let rules: Vec<Value> =
        (0..).zip(dashboard()).map(|(number, expr)| serde_json::json!({"record": format!("q{number}"), "expr": expr})).collect();
    assert!(rules.len() > 15 && alerts().len() > 8);
    check_rules(&serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string());
}

#[test]
fn alerts_tell_of_what_they_are_for_and_every_one_is_tried() {
    let tried = fs::read_to_string(repository(TRIALS)).unwrap();
    for name in fs::read_to_string(repository(ALERTS)).unwrap().lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tried.contains(&format!("alertname: {name}\n")), "{name} is not tried in {TRIALS}");
    }
    promtool(&["test", "rules", repository(TRIALS).to_str().unwrap()], "");
}

fn alerts() -> Vec<String> {
    let file = json_of(&fs::read_to_string(repository(ALERTS)).unwrap()).unwrap();
    let rules = file["groups"][0]["rules"].as_array().unwrap();
    rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The queries of all panels, with what Grafana puts in place of its variables.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(repository(DASHBOARD)).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| target["expr"].as_str().unwrap());
    queries.map(|query| query.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$service", ".*")).collect()
}

fn check_rules(rules: &str) {
    promtool(&["check", "rules", "/dev/stdin"], rules);
}

fn promtool(arguments: &[&str], input: &str) {
    let begin = || Command::new("promtool").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = begin() else {
        eprintln!("skipped: there is no promtool");
        return;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}
