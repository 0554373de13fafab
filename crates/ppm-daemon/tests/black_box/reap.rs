//! How ends, pauses and orphans are noticed and judged.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process, Setup, pid_of, until};

fn no_zombies_of(daemon: &Daemon) {
    until("all zombies are reaped", || {
        let zombies = Process::all().into_iter().filter(|process| process.parent == daemon.pid.as_raw() && process.state == 'Z');
        (zombies.count() == 0).then_some(())
    });
}

#[test]
fn r10_when_the_daemon_is_killed_its_services_die() {
    let mut daemon = Daemon::start();
    let rows = [daemon.add("obedient", "sleep 1000 & wait"), daemon.add("deaf", "trap '' TERM HUP INT; echo > deaf; sleep 1000 & wait")];
    daemon.lines_in("deaf");
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    for row in rows {
        until("the service is dead", || Process::find(pid_of(&row).as_raw()).is_none_or(|process| process.state == 'Z').then_some(()));
    }
    daemon.kill_descendants(); // what services started is only the kernel's to end, as in a container
}

fn adopts_and_reaps_orphans(daemon: &Daemon) {
    // The nest stays: what had not yet left its group would be ended with it.
    daemon.add("nest", "for n in $(seq 500); do setsid -f sleep 1000; done; echo > full; exec tail -f /dev/null");
    daemon.lines_in("full");
    let orphans = until("500 orphans are adopted", || {
        let mut orphans = daemon.descendants();
        orphans.retain(|process| process.parent == daemon.pid.as_raw() && process.name == "sleep");
        (orphans.len() == 500).then_some(orphans)
    });
    for orphan in &orphans {
        kill(Pid::from_raw(orphan.pid), Signal::SIGKILL).unwrap();
    }
    no_zombies_of(daemon);
    assert_eq!(daemon.call("list", &json!({})).as_array().unwrap().len(), 1);
}

#[test]
fn r17_orphans_are_adopted_and_reaped_however_many_end_at_once() {
    adopts_and_reaps_orphans(&Daemon::start());
}

#[test]
fn r17_orphans_are_adopted_and_reaped_by_process_one() {
    if let Some(setup) = Setup::as_process_one() {
        adopts_and_reaps_orphans(&setup.start());
    }
}

fn reaps_ten_thousand(daemon: &Daemon) {
    daemon.add("nest", "n=0; while [ $n -lt 10000 ]; do (: &); n=$((n + 1)); done");
    assert_eq!(daemon.wait("nest", "stopped")["status"], "finished");
    no_zombies_of(daemon);
}

#[test]
fn r17_of_ten_thousand_orphans_none_is_left() {
    reaps_ten_thousand(&Daemon::start());
}

#[test]
fn r17_of_ten_thousand_orphans_process_one_leaves_none() {
    if let Some(setup) = Setup::as_process_one() {
        reaps_ten_thousand(&setup.start());
    }
}

#[test]
fn r11_services_that_fork_twice_leave_no_zombies_and_their_own_end_is_what_counts() {
    let daemon = Daemon::start();
    for number in 0..20 {
        daemon.add(&format!("svc-{number}"), "for n in 1 2 3 4 5; do (sh -c 'exit 7' &); done; exit 3");
    }
    for row in daemon.call("wait", &json!({"services": ["all"], "for": "stopped"}))["services"].as_array().unwrap() {
        assert_eq!(row["exit"], json!({"code": 3}), "{row}");
    }
    no_zombies_of(&daemon);
}

#[test]
fn r12_children_that_end_together_are_all_noticed() {
    let daemon = Daemon::start();
    let pids: Vec<Pid> = (0..50).map(|number| pid_of(&daemon.add(&format!("svc-{number}"), "exec sleep 1000"))).collect();
    daemon.signal(Signal::SIGSTOP); // the kernel merges what is not taken
    for pid in &pids {
        kill(*pid, Signal::SIGKILL).unwrap();
    }
    daemon.signal(Signal::SIGCONT);
    daemon.call("wait", &json!({"services": ["all"], "for": "stopped"}));
    no_zombies_of(&daemon);
}

#[test]
fn r18_an_end_is_judged_by_its_code_or_signal() {
    let cases = [
        ("exit 0", "finished", json!({"code": 0}), "exit code 0"),
        ("exit 3", "crashed", json!({"code": 3}), "exit code 3"),
        ("exit 255", "crashed", json!({"code": 255}), "exit code 255"),
        ("kill -TERM $$", "finished", json!({"signal": "SIGTERM"}), "killed by SIGTERM"),
        ("kill -KILL $$", "crashed", json!({"signal": "SIGKILL"}), "killed by SIGKILL"),
        ("kill -SEGV $$", "crashed", json!({"signal": "SIGSEGV"}), "killed by SIGSEGV"),
        ("kill -HUP $$", "crashed", json!({"signal": "SIGHUP"}), "killed by SIGHUP"),
    ];
    judges(&Daemon::start(), &cases);
}

#[test]
fn r15_an_end_by_a_real_time_signal_is_not_lost() {
    let cases = [
        ("kill -34 $$", "crashed", json!({"signal": "SIGRTMIN"}), "killed by SIGRTMIN"),
        ("kill -37 $$", "crashed", json!({"signal": "SIGRTMIN+3"}), "killed by SIGRTMIN+3"),
        ("kill -64 $$", "crashed", json!({"signal": "SIGRTMIN+30"}), "killed by SIGRTMIN+30"),
    ];
    judges(&Daemon::start(), &cases);
}

fn judges(daemon: &Daemon, cases: &[(&str, &str, Value, &str)]) {
    for (number, (script, status, exit, reason)) in cases.iter().enumerate() {
        let name = format!("svc-{number}");
        daemon.add(&name, script);
        let row = daemon.wait(&name, "stopped");
        let found = (&row["status"], &row["exit"], &row["reason"], &row["pid"]);
        assert_eq!(found, (&json!(status), exit, &json!(reason), &Value::Null), "{script}");
        assert_eq!(row["crashes"], u64::from(*status == "crashed"), "{script}");
    }
}

#[test]
fn r16_a_pause_by_hand_is_seen_and_so_is_its_end() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    let pid = pid_of(&daemon.add("svc", "exec sleep 1000"));
    for _ in 0..3 {
        kill(pid, Signal::SIGSTOP).unwrap();
        assert_eq!(events.until("svc", "paused")["to"], "stopped");
        let row = daemon.row("svc");
        assert_eq!((&row["status"], &row["ready"], pid_of(&row)), (&json!("stopped"), &json!(false), pid));
        kill(pid, Signal::SIGCONT).unwrap();
        assert_eq!(events.until("svc", "resumed")["to"], "running");
        assert_eq!(daemon.row("svc")["status"], "running");
    }
    kill(pid, Signal::SIGSTOP).unwrap();
    events.until("svc", "paused");
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(events.until("svc", "exited")["exit"], json!({"signal": "SIGKILL"}));
}

#[test]
fn r16_pause_and_resume_on_request_reach_the_whole_group() {
    let daemon = Daemon::start();
    let pid = pid_of(&daemon.add("svc", "sleep 1000 & echo $! > child; wait"));
    let child = daemon.lines_in("child")[0].parse().unwrap();
    let both_are = |state| {
        until("both processes change", || {
            [pid.as_raw(), child].iter().all(|pid| Process::find(*pid).is_some_and(|process| process.state == state)).then_some(())
        });
    };
    assert_eq!(daemon.tell("svc", "pause")["status"], "stopped");
    both_are('T');
    assert_eq!(daemon.tell("svc", "resume")["status"], "running");
    both_are('S');
}

/// The kernel takes no notice of SIGTSTP where nobody of the session could continue the group (setpgid(2)).
#[test]
fn r16_stop_signals_of_terminals_do_not_pause_a_service_without_one() {
    let daemon = Daemon::start();
    let pid = pid_of(&daemon.add("svc", "trap 'echo alive > alive' USR1; echo > ready; while :; do sleep 0.02; done"));
    daemon.lines_in("ready");
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGUSR1] {
        kill(pid, signal).unwrap();
    }
    assert_eq!(daemon.lines_in("alive"), ["alive"]);
    assert_eq!(daemon.row("svc")["status"], "running");
}
