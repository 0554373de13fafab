//! Draws the table as a diagram in docs/architecture.md: which input leads from which kind of state to which.
//!
//! `UPDATE=1 cargo test -p ppm-core` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture.md");

/// In the order of a life.
const RUNS: [&str; 14] = [
    "Idle",
    "Blocked",
    "Preparing",
    "Starting",
    "Up",
    "Paused",
    "Closing",
    "Stopping",
    "Killing",
    "Draining",
    "Purging",
    "Finishing",
    "Cleaning",
    "Waiting",
];

/// In these nothing runs, or its start is under way: which of them comes when the last process has gone, the want says.
const AFTER: [&str; 4] = ["Idle", "Preparing", "Starting", "Waiting"];

/// Where that is decided.
const OVER: &str = "over";

#[test]
fn the_diagram_is_that_of_the_table() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once("```mermaid\n").unwrap();
    let (shown, after) = rest.split_once("```\n").unwrap();
    let drawn = diagram(&crate::TABLE);
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(PAGE, format!("{before}```mermaid\n{drawn}```\n{after}")).unwrap();
    }
    assert_eq!(shown, drawn, "the table has changed; UPDATE=1 draws it anew");
}

fn diagram(table: &str) -> String {
    let mut labels: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    let mut from = None;
    for line in table.lines() {
        if let Some(title) = line.strip_prefix("want ") {
            from = kind(title);
        } else if let (Some(from), Some((input, next))) = (from, line.strip_prefix("  ").and_then(cell))
            && let Some(to) = kind(next).filter(|to| *to != from)
        {
            labels.entry((from, to)).or_default().insert(word(input));
        }
    }
    for (at, run) in RUNS.iter().enumerate() {
        assert!(labels.keys().any(|(from, to)| *from == at || *to == at), "no state of the table is {run}");
    }
    draw(&labels)
}

/// The kind of a state such as `Up, Waiting 2, Crashed`: it stands after the want.
fn kind(state: &str) -> Option<usize> {
    let word = state.split(", ").nth(1)?.split(' ').next()?;
    RUNS.iter().position(|run| *run == word)
}

/// A cell that leads somewhere: `input`, two spaces or as many as fit, the state.
fn cell(line: &str) -> Option<(&str, &str)> {
    let at = ["Up, ", "Down, ", "Gone, ", "Unasked, "].iter().filter_map(|want| line.find(&format!(" {want}"))).min()?;
    Some((line[..at].trim(), line[at..].trim()))
}

/// The input without what makes no difference here: how it exited, of which hook the outcome is.
fn word(input: &str) -> &str {
    match input.split([' ', ',']).next().unwrap_or(input) {
        "Exited" if input.ends_with(", left") => "Exited and left others",
        "pre_start" | "pre_stop" | "stop" | "post_stop" => "its hook ends",
        word => word,
    }
}

fn draw(labels: &BTreeMap<(usize, usize), BTreeSet<&str>>) -> String {
    let mut out = String::from("stateDiagram-v2\n    state over <<choice>>\n    [*] --> Idle\n");
    let mut ends: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut nexts = BTreeSet::new();
    let mut edge = |from: &str, to: &str, labels: &BTreeSet<&str>| {
        let labels: Vec<&str> = labels.iter().copied().collect();
        writeln!(out, "    {from} --> {to}: {}", labels.join(", ")).unwrap();
    };
    for (&(from, to), labels) in labels {
        let (from, to) = (RUNS[from], RUNS[to]);
        let is_over = AFTER.contains(&to) && !["Idle", "Blocked", "Waiting"].contains(&from) && (from, to) != ("Preparing", "Starting");
        if is_over {
            ends.entry(from).or_default().extend(labels);
            nexts.insert(to);
        } else {
            edge(from, to, labels);
        }
    }
    for (from, labels) in &ends {
        edge(from, OVER, labels);
    }
    for to in AFTER.iter().filter(|to| nexts.contains(**to)) {
        writeln!(out, "    {OVER} --> {to}").unwrap();
    }
    out
}
