//! What services use, compared with what the kernel itself says.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, other_user, pid_of, until};

/// Uses a good part of a second of a processor.
const BURN: &str = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done";

/// A field of /proc/PID/stat, by its number in proc_pid_stat(5).
fn field(stat: &str, number: usize) -> u64 {
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_ascii_whitespace().nth(number - 3).unwrap().parse().unwrap()
}

/// So many milliseconds of processor time stand in these fields.
fn cpu_ms(stat: &str, fields: &[usize]) -> u64 {
    let ticks: u64 = fields.iter().map(|number| field(stat, *number)).sum();
    ticks * 1000 / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap().unsigned_abs()
}

const OWN: [usize; 2] = [14, 15];

const WITH_DEAD_CHILDREN: [usize; 4] = [14, 15, 16, 17];

/// The kernel cuts each of several figures to hundredths of a second.
const CUT: u64 = 60;

fn stat(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()
}

fn usage(daemon: &Daemon, name: &str) -> Value {
    let rows = daemon.call("stats", &json!({}));
    rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row}"))
}

#[test]
fn a_busy_process_has_used_what_the_kernel_says() {
    let daemon = Daemon::start();
    let pid = pid_of(&daemon.add("svc", "while :; do :; done"));
    until("it has been busy for a while", || (cpu_ms(&stat(pid), &OWN) > 500).then_some(()));
    let before = cpu_ms(&stat(pid), &OWN);
    let row = usage(&daemon, "svc");
    let after = cpu_ms(&stat(pid), &OWN);
    let told = number(&row, "cpu_time_ms");
    assert!(before <= told + CUT && told <= after + CUT, "{before} <= {told} <= {after}");
    assert!(row["cpu_percent"].as_f64().unwrap() > 0.0, "{row}");
}

#[test]
fn children_that_burnt_time_and_were_waited_for_count_once() {
    let daemon = Daemon::start();
    let pid = pid_of(&daemon.add("svc", &format!("for n in 1 2 3; do sh -c '{BURN}'; done; echo > ready; exec sleep 1000")));
    daemon.lines_in("ready");
    let stat = stat(pid);
    assert!(cpu_ms(&stat, &WITH_DEAD_CHILDREN) > 2 * cpu_ms(&stat, &OWN), "the children did the work: {stat}");
    let (told, expected) = (number(&usage(&daemon, "svc"), "cpu_time_ms"), cpu_ms(&stat, &WITH_DEAD_CHILDREN));
    assert!(told.abs_diff(expected) <= CUT, "{told}, not {expected}");
}

#[test]
fn orphans_that_the_daemon_reaped_count_for_their_service() {
    for setup in [Some(Setup::new()), Setup::as_process_one()].into_iter().flatten() {
        let daemon = setup.start();
        let orphan = format!("sh -c '{BURN}; cat /proc/$$/stat > burnt; echo >> burnt; while [ ! -e go ]; do sleep 0.02; done'");
        // In its first run only.
        daemon.add("svc", &format!("[ -e go ] || (({orphan}) &); exec sleep 1000"));
        let stat = daemon.lines_in("burnt")[0].clone();
        let before = usage(&daemon, "svc");
        daemon.touch("go");
        until("the orphan is gone", || (daemon.descendants().len() == 1).then_some(()));
        let after = until("it was reaped", || Some(usage(&daemon, "svc")).filter(|row| row["processes"] == 1));
        let (told, burnt) = (number(&after, "cpu_time_ms"), cpu_ms(&stat, &OWN));
        assert!(told + CUT >= burnt && told >= number(&before, "cpu_time_ms"), "{told}, {burnt} by the orphan; before {before}");
        let other = pid_of(&daemon.tell("svc", "restart"));
        let again = usage(&daemon, "svc");
        assert!(other.as_raw() > 0 && number(&again, "cpu_time_ms") < burnt, "a new run begins at nothing: {again}");
    }
}

#[test]
fn who_left_the_session_stays_counted_while_it_lives_and_afterwards() {
    let daemon = Daemon::start();
    let stray = format!("{BURN}; cat /proc/$$/stat > burnt; echo >> burnt; while [ ! -e go ]; do sleep 0.02; done");
    daemon.add("svc", &format!("(setsid sh -c '{stray}' &); exec sleep 1000"));
    let stat = daemon.lines_in("burnt")[0].clone();
    let burnt = cpu_ms(&stat, &OWN);
    let before = usage(&daemon, "svc");
    assert!(number(&before, "processes") >= 2 && number(&before, "cpu_time_ms") + CUT >= burnt, "{before}, {burnt} by the stray");
    daemon.touch("go");
    let after = until("it was reaped", || Some(usage(&daemon, "svc")).filter(|row| row["processes"] == 1));
    assert!(number(&after, "cpu_time_ms") >= number(&before, "cpu_time_ms"), "{after} after {before}");
    let fresh = number(&usage(&daemon, "svc"), "cpu_time_ms");
    assert!(fresh + CUT >= burnt, "{fresh}, {burnt} by the stray");
}

/// Lets a process of its own have the number of a dead one of another service; the next number may be chosen in a namespace of
/// its own (proc_sys_kernel(5)), where somebody else may take it first.
const HEIR: &str = "\
    number=$(cat escaped); kill -9 $number; while [ -e /proc/$number ]; do sleep 0.02; done
    until [ \"$(cat heir 2>/dev/null)\" = $number ]; do
        [ -z \"$heir\" ] || kill -9 $heir
        echo $((number - 1)) > /proc/sys/kernel/ns_last_pid
        setsid sh -c 'echo $$ > heir; exec sleep 1000' & heir=$!
        until [ -s heir ]; do sleep 0.02; done
        [ \"$(cat heir)\" = $number ] || { rm heir; wait $heir; }
    done
    echo > inherited; wait";

#[test]
fn r19_a_number_that_is_given_out_again_is_counted_for_whoever_has_it_now() {
    let Some(setup) = Setup::as_process_one() else { return };
    let daemon = setup.start();
    daemon.add("svc", "(env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > escaped; exec sleep 1000' & wait) & exec sleep 1000");
    daemon.lines_in("escaped");
    assert_eq!(number(&usage(&daemon, "svc"), "processes"), 3);
    daemon.add("other", HEIR);
    daemon.lines_in("inherited");
    assert_eq!(daemon.lines_in("heir"), daemon.lines_in("escaped"));
    until("the parent of the dead one has ended", || (number(&usage(&daemon, "svc"), "processes") == 1).then_some(()));
    let row = usage(&daemon, "other");
    assert_eq!(number(&row, "processes"), 2, "{row}");
    daemon.tell("svc", "stop");
    assert_eq!(number(&usage(&daemon, "other"), "processes"), 2, "nor is it stopped with the one before");
}

#[test]
fn every_process_of_a_service_is_counted_and_none_of_another() {
    let daemon = Daemon::start();
    let ways =
        "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &); setsid sh -c 'setsid sleep 1000 & wait' & echo > ready.$PPM_SERVICE; wait";
    for name in ["a", "b"] {
        daemon.add(name, ways);
        daemon.lines_in(&format!("ready.{name}"));
    }
    until("all have started", || (daemon.descendants().iter().filter(|process| process.name == "sleep").count() == 8).then_some(()));
    for name in ["a", "b"] {
        let row = usage(&daemon, name);
        assert_eq!((number(&row, "processes"), number(&row, "threads")), (6, 6), "{row}");
        assert!(number(&row, "fds") >= 6 && number(&row, "memory_vsz") >= number(&row, "memory_rss"), "{row}");
    }
    assert_eq!(usage(&daemon, "<ppm>")["processes"], 1);
}

#[test]
fn memory_that_processes_share_is_counted_once_in_the_proportional_figure() {
    let daemon = Daemon::start();
    let script = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); for n in 1 2 3; do (sleep 1000 & wait) & done; sleep 0; echo > ready; wait";
    daemon.add_with("svc", "exec bash -c \"$SCRIPT\"", &json!({"restart": "never", "env": {"SCRIPT": script}}));
    daemon.lines_in("ready");
    until("all are there", || (number(&usage(&daemon, "svc"), "processes") == 7).then_some(()));
    let row = usage(&daemon, "svc");
    let (rss, pss) = (number(&row, "memory_rss"), number(&row, "memory_pss"));
    assert!(rss > 80_000_000 && pss > 20_000_000 && pss < rss / 2, "{pss} of {rss}");
    let cheap = daemon.call("stats", &json!({"services": ["svc"], "pss": false}));
    assert!(cheap[0]["memory_pss"].is_null() && cheap[0]["memory_rss"].is_number(), "{cheap}");
}

#[test]
fn who_ends_between_two_readings_takes_nothing_along() {
    let daemon = Daemon::start();
    let child = format!("sh -c '{BURN}; echo $$ > child; while :; do sleep 0.02; done'");
    daemon.add("svc", &format!("trap : CHLD; {child} & while :; do sleep 0.02; done"));
    let child: i32 = daemon.lines_in("child")[0].parse().unwrap();
    let before = usage(&daemon, "svc");
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    until("it is gone", || (!fs::exists(format!("/proc/{child}")).unwrap()).then_some(()));
    let after = usage(&daemon, "svc");
    assert!(number(&after, "cpu_time_ms") >= number(&before, "cpu_time_ms"), "{after} after {before}");
}

#[test]
fn what_the_services_use_is_not_laid_to_the_daemon() {
    let daemon = Daemon::start();
    daemon.add("burner", BURN);
    daemon.wait("burner", "finished");
    let row = usage(&daemon, "<ppm>");
    let own = cpu_ms(&stat(daemon.pid), &OWN);
    assert!(number(&row, "cpu_time_ms") <= own + CUT, "{row}, but {own}");
    assert!(number(&row, "memory_rss") > 0 && row["io_read"].is_number(), "{row}");
}

#[test]
fn r51_where_nothing_can_be_read_figures_are_missing_and_not_zero() {
    let Some(setup) = Setup::with_foreign_proc() else { return };
    let daemon = setup.start();
    daemon.add("svc", "exec sleep 1000");
    let row = usage(&daemon, "svc");
    assert!(row["pid"].is_number() && row["uptime_ms"].is_number(), "{row}");
    for field in ["cpu_percent", "cpu_time_ms", "memory_rss", "memory_pss", "io_read", "io_read_rate", "processes", "threads", "fds"] {
        assert!(row[field].is_null(), "{field} in {row}");
    }
    let said = daemon.stderr();
    for _ in 0..3 {
        usage(&daemon, "svc");
    }
    assert_eq!(daemon.stderr(), said, "nothing is said of it again and again");
}

#[test]
fn who_is_not_root_sees_all_of_its_own_services() {
    let Some(uid) = other_user() else { return };
    let daemon = Setup::new().run_by(uid).start();
    daemon.add("svc", "sleep 1000 & wait");
    until("its child is there", || (usage(&daemon, "svc")["processes"] == 2).then_some(()));
    let row = usage(&daemon, "svc");
    for field in ["memory_rss", "memory_pss", "threads", "fds"] {
        assert!(number(&row, field) > 0, "{field} in {row}");
    }
    assert!(row["io_read"].is_number(), "{row}");
}

#[test]
fn r8_services_have_the_same_limit_of_files_before_and_after_figures_were_read() {
    let daemon = Setup::new().through_shell("ulimit -Sn 512").start();
    let before = daemon.output_of("ulimit -n");
    usage(&daemon, "<ppm>");
    assert_eq!((daemon.output_of("ulimit -n"), before.as_str()), (before.clone(), "512\n"));
}

/// Grows once, and is content when it is started again.
const GROWS: &str =
    "[ -e grown ] && exec sleep 1000; echo > grown; x=$(head -c 60000000 /dev/zero | tr '\\0' a); while :; do sleep 1000; done";

#[test]
fn who_has_outgrown_max_memory_is_started_anew_and_who_shares_its_pages_is_not() {
    let shares =
        "x=$(head -c 20000000 /dev/zero | tr '\\0' a); for n in 1 2 3 4; do (sleep 1000 & wait) & done; sleep 0; echo > ready; wait";
    let service = |name: &str, script: &str, max: &str| json!({"name": name, "command": ["bash", "-c", script], "max_memory": max});
    let shared = service("shared", shares, "64MiB");
    let daemon = Setup::new().services(std::slice::from_ref(&shared)).start();
    daemon.lines_in("ready");
    until("its pages are shared", || (number(&usage(&daemon, "shared"), "memory_rss") > 64 << 20).then_some(()));
    let mut events = daemon.events();
    daemon.reload(&json!({"services": [shared, service("grows", GROWS, "32MiB")]}));
    let told = events.until("grows", "over_memory");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.starts_with("memory: ") && reason.ends_with(" of 32.0 MiB"), "{told}");
    assert_eq!(events.until("grows", "exited")["reason"], reason);
    assert_eq!(events.until("grows", "started")["reason"], "memory");
    let row = daemon.row("grows");
    assert_eq!((&row["restarts"], &row["crashes"], row["reason"].as_str()), (&json!(1), &json!(0), Some(&*format!("restarted: {reason}"))));
    assert_eq!(daemon.row("shared")["restarts"], 0, "the same looks have seen it");
}

#[test]
fn the_end_of_a_run_tells_the_most_memory_that_one_of_its_processes_has_had() {
    let daemon = Daemon::start();
    daemon.add("big", "head -c 64M /dev/zero | tail -c 64M | wc -c");
    daemon.add("small", "exit 0");
    daemon.call("wait", &json!({"services": ["big", "small"], "for": "finished", "timeout_ms": 20_000}));
    let lives = daemon.call("why", &json!({"services": ["big", "small"]}));
    let peak = |at: usize| {
        let events = lives[at]["events"].as_array().unwrap();
        events.iter().find(|event| event["event"] == "exited").unwrap()["peak_memory"].as_u64()
    };
    assert!(peak(0).is_some_and(|peak| (64 << 20..128 << 20).contains(&peak)), "{lives}");
    assert_eq!(peak(1), None, "no more than the daemon, whose pages a child has until it executes its program: {lives}");
}

#[test]
fn what_was_read_stands_in_the_history_and_of_whom_nothing_was_read_nothing_does() {
    let daemon = Daemon::start();
    daemon.add("svc", "while :; do :; done");
    daemon.add("other", "sleep 1000");
    let history = || daemon.call("history", &json!({}));
    assert_eq!(history()[0]["memory_rss"], Value::Null);
    for _ in 0..2 {
        daemon.call("stats", &json!({"services": ["svc"]}));
    }
    let rows = history();
    let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["svc", "other", "<ppm>"]);
    assert!(rows[0]["cpu_percent"]["max"].as_f64().unwrap() > 0.0 && rows[0]["memory_rss"]["min"].as_u64().unwrap() > 0, "{rows}");
    assert_eq!((&rows[1]["memory_rss"], &rows[2]["memory_rss"]), (&Value::Null, &Value::Null));
}
