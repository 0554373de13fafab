//! A daemon that finds little of what a system usually has: it supervises, or says what it cannot do without.

use std::fs;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::harness::{Daemon, Setup, other_user, pid_of, shell, until};
use crate::scarcity::Group;

/// A root with programs and libraries, the daemon and its folder, and nothing else: no /proc, /dev, /etc, /tmp, /run.
const BARE_ROOT: &str = "\
    mkdir root; mount --bind root root; \
    for name in usr bin sbin lib lib32 lib64; do \
        if [ -L /$name ]; then cp -P /$name root/$name; \
        elif [ -d /$name ]; then mkdir root/$name; mount --bind /$name root/$name; fi; \
    done; \
    mkdir -p \"root$PWD\" \"root${0%/*}\"; mount --bind \"$PWD\" \"root$PWD\"; mount --bind \"${0%/*}\" \"root${0%/*}\"";

const WITH_NULL: &str = "mkdir root/dev; touch root/dev/null; mount --bind /dev/null root/dev/null";

/// A daemon that sees nothing but that, after something more was done to it.
fn in_bare_root(more: &str) -> Option<Setup> {
    Setup::with_mounts(&format!("{BARE_ROOT}; {more}; exec chroot root \"$0\" \"$@\""))
}

/// What must work whatever is missing.
fn supervises(daemon: &Daemon) {
    daemon.add_with("svc", "exec sleep 1000", &json!({"restart": "always"}));
    let row = daemon.wait("svc", "running");
    kill(pid_of(&row), Signal::SIGKILL).unwrap();
    until("it runs again", || (daemon.row("svc")["restarts"] == 1).then_some(()));
    assert_eq!(daemon.tell("svc", "restart")["status"], "running");
    let stats = daemon.call("stats", &json!({"services": ["svc"]}));
    assert_eq!(stats[0]["name"], "svc");
    assert_eq!(daemon.tell("svc", "stop")["status"], "finished");
}

#[test]
fn r51_without_proc_and_tmp_services_are_supervised() {
    let Some(setup) = in_bare_root(WITH_NULL) else { return };
    let daemon = setup.start();
    supervises(&daemon);
    assert!(daemon.call("stats", &json!({"services": ["svc"]}))[0]["memory_rss"].is_null(), "there is nothing to read it from");
}

#[test]
fn r51_without_proc_what_needs_it_is_told() {
    let Some(setup) = in_bare_root(WITH_NULL) else { return };
    let daemon = setup.config(&json!({})).start();
    let why = |keys| daemon.output_with("true", &keys).unwrap_err();
    assert_eq!(why(json!({"oom_score_adj": 500})), "oom_score_adj: there is no /proc/self/oom_score_adj");
    assert_eq!(why(json!({"user": "app"})), "user: no such user in /etc/passwd: app");
    assert_eq!(daemon.output_with("id -u", &json!({"user": "1234:1234"})), Ok("1234\n".to_owned()));
}

#[test]
fn without_dev_null_it_is_said_that_there_is_none() {
    let Some(setup) = in_bare_root(":") else { return };
    let (code, said) = setup.fail();
    let why = "error: the daemon cannot run: cannot open /dev/null: no such file or directory\n  \
        hint: mount a /dev with the usual devices in it\n";
    assert_eq!((code, said.as_str()), (1, why));
}

#[test]
fn r46_with_a_read_only_root_it_needs_one_place_for_its_socket() {
    let Some(setup) = in_bare_root(&format!("{WITH_NULL}; mount -o remount,ro,bind root")) else { return };
    supervises(&setup.start());
    let Some(mut setup) = in_bare_root(&format!("{WITH_NULL}; mount -o remount,ro,bind root")) else { return };
    setup.socket = "/ppm.sock".into();
    let (code, said) = setup.fail();
    let why = "error: cannot make the socket /ppm.sock and its lock beside it: read-only file system\n  \
        hint: mount a tmpfs there, or choose another place with --socket or PPM_SOCKET\n";
    assert_eq!((code, said.as_str()), (73, why));
}

/// Who made it might put something else in the socket's place.
#[test]
fn r54_a_folder_below_tmp_that_others_may_enter_is_not_used() {
    let Some(mut setup) = in_bare_root(&format!("{WITH_NULL}; mkdir -p root/tmp/ppm-0; chmod 755 root/tmp/ppm-0")) else { return };
    setup.socket = "/tmp/ppm-0/ppm.sock".into();
    let (code, said) = setup.fail();
    let why = "error: cannot use the folder of /tmp/ppm-0/ppm.sock: /tmp/ppm-0 is not a folder of mode 0700 of uid 0\n  \
        hint: choose another place with --socket or PPM_SOCKET\n";
    assert_eq!((code, said.as_str()), (73, why));
}

/// Other users' processes are hidden from it, also process 1.
#[test]
fn r51_with_a_proc_that_hides_others_its_own_services_are_seen() {
    let Some(uid) = other_user() else { return };
    let become_other = format!("exec setpriv --reuid {uid} --regid {uid} --clear-groups -- \"$0\" \"$@\"");
    let Some(setup) = Setup::with_mounts(&format!("mount -t proc -o hidepid=2 proc /proc; chown {uid} .; {become_other}")) else { return };
    let daemon = setup.start();
    supervises(&daemon);
    daemon.tell("svc", "start");
    assert!(daemon.call("stats", &json!({"services": ["svc"]}))[0]["memory_rss"].as_u64() > Some(0));
    assert_eq!(daemon.output_of("ls -d /proc/1 2> /dev/null || echo hidden"), "hidden\n");
}

#[test]
fn r72_whatever_the_umask_and_wherever_it_stands_it_supervises() {
    for (umask, folder) in [("077", "."), ("000", "."), ("777", "closed")] {
        let script = format!("mkdir -p closed; chmod 000 closed; cd {folder}; umask {umask}");
        let setup = Setup::new().through_shell(&script);
        supervises(&setup.start());
    }
}

#[test]
fn r50_with_a_limit_of_12_processes_those_run_that_can_and_the_others_follow() {
    const SERVICES: usize = 20;
    let group = Group(format!("/sys/fs/cgroup/pids/ppm-test-{}", std::process::id()).into());
    if fs::create_dir(&group.0).is_err() {
        return eprintln!("skipped: no control group for processes can be made here");
    }
    let services: Vec<_> = (0..SERVICES)
        .map(|number| shell(&format!("svc-{number}"), "exec sleep 1000", &json!({"restart": {"interval": "10ms", "max_interval": "20ms"}})))
        .collect();
    fs::write(group.0.join("pids.max"), "12").unwrap();
    let setup = Setup::new().through_shell(&format!("echo $$ > {}/cgroup.procs", group.0.display()));
    let mut daemon = setup.services(&services).start();
    let running = |daemon: &Daemon| {
        let rows = daemon.call("list", &json!({}));
        rows.as_array().unwrap().iter().filter(|row| row["status"] == "running").count()
    };
    let most = 10; // the daemon is two: its loop, and who waits for that
    until("as many run as can", || (running(&daemon) == most).then_some(()));
    let rows = daemon.call("list", &json!({}));
    let waiting = rows.as_array().unwrap().iter().find(|row| row["status"] == "crashed").unwrap();
    assert!(waiting["reason"].as_str().unwrap().starts_with("fork: resource temporarily unavailable, retry "), "{waiting}");
    // Neither has a thread to run in, and both are answered.
    assert!(daemon.call("stats", &json!({})).as_array().unwrap().len() >= SERVICES);
    let refused = daemon.refused("reload", &json!({}))["message"].as_str().unwrap().to_owned();
    assert!(refused.contains("no thread: resource temporarily unavailable"), "{refused}");
    fs::write(group.0.join("pids.max"), "100").unwrap();
    until("all run", || (running(&daemon) == SERVICES).then_some(()));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
}
