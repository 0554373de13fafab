//! The daemon ends with its essential service, and with its exit code.

use serde_json::{Value, json};

use crate::harness::{Setup, shell};

fn essential(script: &str) -> Value {
    shell("main", script, &json!({"essential": true}))
}

/// With what the daemon leaves whose essential service does this, beside one that would go on for ever.
fn code_of(setup: Setup, main: Value) -> i32 {
    setup.services(&[shell("side", "exec sleep 1000", &json!({})), main]).fail().0
}

fn passes_codes_on(setup: impl Fn() -> Setup) {
    for code in [0, 1, 2, 32, 64, 127, 254, 255] {
        assert_eq!(code_of(setup(), essential(&format!("exit {code}"))), code);
    }
    for signal in [15, 1, 3, 9, 34, 64] {
        assert_eq!(code_of(setup(), essential(&format!("kill -{signal} $$; sleep 1000"))), 128 + signal);
    }
    for (program, code) in [("/nowhere/at/all", 127), ("not-to-be-found", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        assert_eq!(code_of(setup(), json!({"name": "main", "command": [program], "essential": true})), code, "{program}");
    }
}

#[test]
fn r28_the_daemon_leaves_with_the_code_of_its_essential_service() {
    passes_codes_on(Setup::new);
}

#[test]
fn r28_process_one_leaves_with_the_code_of_its_essential_service() {
    if Setup::as_process_one().is_some() {
        passes_codes_on(|| Setup::as_process_one().unwrap());
    }
}

#[test]
fn r26_the_others_end_in_order_before_it() {
    let side = shell("side", "trap 'echo > cleaned; exit 0' TERM; echo > ready; while :; do sleep 0.02; done", &json!({}));
    let mut daemon = Setup::new().services(&[side, essential("while [ ! -e ready ]; do sleep 0.02; done; exit 3")]).launch();
    assert_eq!(daemon.exit_code(), 3);
    assert!(daemon.path("cleaned").exists());
    assert!(
        daemon.stderr().contains("warning: main is essential and has ended (exit code 3): stopping 1 services\n"),
        "{}",
        daemon.stderr()
    );
}

#[test]
fn it_may_be_stopped_and_started_by_hand() {
    let mut daemon = Setup::new().services(&[essential("while [ ! -e go ]; do sleep 0.02; done; exit 4")]).start();
    daemon.wait("main", "running");
    assert_eq!(daemon.tell("main", "stop")["status"], "finished");
    assert_eq!(daemon.tell("main", "start")["status"], "running");
    daemon.touch("go");
    assert_eq!(daemon.exit_code(), 4);
}
