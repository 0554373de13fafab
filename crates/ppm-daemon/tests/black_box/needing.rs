//! Services that need others, with real processes.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, shell, until};

/// Writes what it does to the file `order`, and ends when it is asked to, or when there is a file of its own name.
const TELLS: &str = "\
    trap 'echo - $PPM_SERVICE >> order; exit 0' TERM
    echo + $PPM_SERVICE >> order; while [ ! -e end.$PPM_SERVICE ]; do sleep 0.02; done";

fn tells(name: &str, more: &Value) -> Value {
    shell(name, TELLS, more)
}

fn three() -> Daemon {
    let web = tells("web", &json!({"depends_on": {"app": "ready"}}));
    let app = tells("app", &json!({"depends_on": {"db": "ready", "migrate": "finished"}}));
    let migrate = shell("migrate", "while [ ! -e migrate ]; do sleep 0.02; done; echo migrate >> order", &json!({"depends_on": ["db"]}));
    Setup::new().services(&[web, app, migrate, tells("db", &json!({}))]).start()
}

/// The first so many lines, when they are there.
fn order(daemon: &Daemon, count: usize) -> Vec<String> {
    until("more to be told", || Some(daemon.lines_in("order")).filter(|lines| lines.len() >= count))
}

fn ends(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with('-')).collect()
}

#[test]
fn services_start_after_what_they_need_and_end_before_it() {
    let mut daemon = three();
    daemon.wait("migrate", "running");
    assert_eq!(daemon.events().until("app", "blocked")["reason"], "waiting for db, migrate");
    assert_eq!(daemon.row("web")["reason"], "waiting for app");
    daemon.touch("migrate");
    daemon.wait("web", "running");
    let begun = order(&daemon, 4);
    let at = |line: &str| begun.iter().position(|own| own == line);
    assert!(at("migrate") < at("+ app"), "{begun:?}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert_eq!(ends(&order(&daemon, 7)), ["- web", "- app", "- db"]);
}

#[test]
fn several_are_stopped_and_restarted_in_their_order() {
    let daemon = three();
    daemon.touch("migrate");
    order(&daemon, 4);
    daemon.call("stop", &json!({"services": ["db", "web", "app"]}));
    assert_eq!(ends(&order(&daemon, 7)), ["- web", "- app", "- db"]);
    daemon.call("start", &json!({"services": ["db", "web", "app"]}));
    order(&daemon, 10);
    daemon.call("restart", &json!({"services": ["db", "app"]}));
    assert_eq!(ends(&order(&daemon, 14))[3..], ["- app", "- db"]);
    assert_eq!(daemon.row("web")["restarts"], 1);
}
