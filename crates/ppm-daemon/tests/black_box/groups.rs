//! Where the daemon may make control groups, each service has one, from which nobody escapes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, pid_of, shell, until};

/// A daemon in a control group that was given to it, as to a container with a writable /sys/fs/cgroup.
struct Grouped {
    daemon: Daemon,
    given: Given,
}

/// Removed when the daemon has ended.
struct Given(PathBuf);

impl Drop for Given {
    fn drop(&mut self) {
        if std::thread::panicking() {
            remove(&self.0);
        } else {
            until("the daemon left no group behind", || fs::remove_dir(&self.0).is_ok().then_some(()));
        }
    }
}

/// With what lies in it; a group cannot be removed otherwise.
fn remove(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().map(|entry| entry.unwrap().path());
    below.filter(|path| path.is_dir()).for_each(|path| remove(&path));
    let _ = fs::remove_dir(group);
}

impl Grouped {
    /// None, and a word about it, where that is not permitted.
    fn start(services: &[Value]) -> Option<Grouped> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let top = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2");
        let Some(top) = top.map(|fields| PathBuf::from(fields[1])) else {
            eprintln!("skipped: there is no cgroup2 here");
            return None;
        };
        // A group with the name of the daemon's folder, in which this begins.
        let enter = format!("echo 0 > \"{}/$(basename \"$PWD\")/cgroup.procs\"; mkdir groups", top.display());
        let inside = "mount -t cgroup2 none groups && exec \"$0\" \"$@\"";
        let setup = Setup::with_mounts(&format!("{enter}; exec unshare --cgroup sh -c '{inside}' \"$0\" \"$@\""))?;
        let given = top.join(setup.folder.path().file_name().unwrap());
        if let Err(error) = fs::create_dir(&given) {
            eprintln!("skipped: no control group can be made here: {error}");
            return None;
        }
        let given = Given(given);
        let daemon = setup.env("PPM_LOG", "debug").services(services).start();
        Some(Grouped { daemon, given })
    }

    /// The groups below that of the daemon's services.
    fn groups(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.given.0.clone()];
        while let Some(folder) = folders.pop() {
            let below = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
            folders.extend(below.filter(|path| path.is_dir()).inspect(|path| found.push(self.name(path))));
        }
        found.sort();
        found
    }

    fn name(&self, path: &Path) -> String {
        let name = path.strip_prefix(&self.given.0).unwrap().to_str().unwrap();
        name.split_once('/').map_or("", |(_, rest)| rest).to_owned()
    }

    fn file(&self, name: &str) -> String {
        let path = self.given.0.join(format!("ppm-{}/{name}", self.daemon.pid));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.daemon.stderr()))
    }
}

/// A session of its own, no environment, and no parent before anybody could look: nothing tells whose it is.
const ESCAPE: &str = "(env -i PATH=\"$PATH\" setsid sh -c 'echo > ready; exec sleep 1000' &); exec sleep 1000";

#[test]
fn r21_nobody_escapes_from_a_group_and_it_is_gone_with_the_last_one() {
    let services = [shell("svc", ESCAPE, &json!({"stop": {"timeout": "10m"}})), shell("two", "exec sleep 1000", &json!({}))];
    let Some(svc) = Grouped::start(&services) else { return };
    svc.daemon.lines_in("ready");
    assert_eq!(svc.groups(), ["", "svc.service", "svc.service/main", "two.service", "two.service/main"]);
    let main = pid_of(&svc.daemon.row("svc")).to_string();
    let procs = svc.file("svc.service/main/cgroup.procs");
    assert_eq!((procs.lines().count(), procs.lines().any(|pid| pid == main)), (2, true), "{procs}");
    svc.daemon.tell("svc", "stop");
    assert_eq!(svc.daemon.descendants().len(), 1, "that of the other");
    assert_eq!(svc.groups(), ["", "two.service", "two.service/main"]);
    svc.daemon.tell("svc", "start");
    assert_eq!(svc.groups().len(), 5);
}

#[test]
fn r21_a_whole_group_is_killed_at_once_however_it_forks() {
    // Each begets its successor in a session of its own and ends.
    let runner = "#!/bin/sh\n[ -e ready ] || echo > ready\nexec 2>/dev/null; env -i PATH=\"$PATH\" setsid ./runner & exit\n";
    let script = "printf '%s' \"$RUNNER\" > runner; chmod +x runner; ./runner; trap '' TERM; while :; do sleep 1000; done";
    let more = json!({"env": {"RUNNER": runner}, "stop": {"timeout": "0s"}});
    let Some(svc) = Grouped::start(&[shell("svc", script, &more)]) else { return };
    svc.daemon.lines_in("ready");
    svc.daemon.tell("svc", "stop");
    assert_eq!(svc.groups(), [""], "{:?}", svc.daemon.descendants());
}

#[test]
fn time_on_processors_is_what_the_kernel_has_counted_for_the_group() {
    let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let script =
        format!("[ -e ready ] || {{ ({burn}); (setsid sh -c '{burn}; echo > escaped' &); {burn}; echo > ready; }}; exec sleep 1000");
    let Some(svc) = Grouped::start(&[shell("svc", &script, &json!({}))]) else { return };
    let counted = |svc: &Grouped| -> u64 {
        let stat = svc.file("svc.service/cpu.stat");
        stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap().parse().unwrap()
    };
    let told = |svc: &Grouped| svc.daemon.call("stats", &json!({"services": ["svc"]}))[0]["cpu_time_ms"].as_u64().unwrap();
    svc.daemon.lines_in("ready");
    svc.daemon.lines_in("escaped");
    until("the escapee has ended", || (svc.daemon.descendants().len() == 1).then_some(()));
    let (before, told_once, after) = (counted(&svc) / 1000, told(&svc), counted(&svc) / 1000);
    assert!(before <= told_once && told_once <= after && before > 0, "{before} <= {told_once} <= {after}");
    svc.daemon.tell("svc", "restart");
    assert!(told(&svc) < told_once, "what was used before the start does not count");
}

#[test]
fn hooks_have_groups_of_their_own_and_starts_that_fail_leave_none() {
    let hook = json!({"pre_stop": {"command": ["/bin/sh", "-c", "echo > hook; while [ ! -e go ]; do sleep 0.02; done"], "timeout": "10m"}});
    let bad = json!({"name": "bad", "command": "/nowhere/to/be/found"});
    let Some(svc) = Grouped::start(&[shell("svc", "exec sleep 1000", &json!({"hooks": hook})), bad]) else { return };
    let why = |svc: &Grouped| svc.daemon.row("bad")["reason"].as_str().map(str::to_owned);
    until("the bad one was tried", || why(&svc).filter(|why| why.starts_with("exec: no such file: /nowhere/to/be/found, retry")));
    let main = pid_of(&svc.daemon.row("svc"));
    svc.daemon.call("stop", &json!({"services": ["svc"], "wait": false}));
    svc.daemon.lines_in("hook");
    let groups = svc.groups();
    assert!(groups.contains(&"svc.service/pre_stop".to_owned()), "{groups:?}");
    let hook = svc.file("svc.service/pre_stop/cgroup.procs");
    assert!(!hook.is_empty() && !hook.contains(&main.to_string()), "{hook}");
    svc.daemon.touch("go");
    until("it is stopped", || (svc.daemon.row("svc")["status"] == "finished").then_some(()));
    until("no group is left", || (svc.groups() == [""]).then_some(()));
}

#[test]
fn who_becomes_another_user_is_born_into_its_group_too() {
    let Some(uid) = crate::harness::other_user() else { return };
    let service = shell("svc", "exec sleep 1000", &json!({"user": format!("{uid}:{uid}"), "workdir": "/"}));
    let Some(svc) = Grouped::start(&[service]) else { return };
    svc.daemon.wait("svc", "running");
    assert_eq!(svc.file("svc.service/main/cgroup.procs").trim(), pid_of(&svc.daemon.row("svc")).to_string());
}
