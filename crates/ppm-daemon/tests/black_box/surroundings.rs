//! Users, masks, limits and priorities of services, and what is said where they cannot be had.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process, Setup, may_unshare, other_user, pid_of, shell, until};

/// A user whom every system lists.
const NOBODY: &str = "nobody";

/// With a configuration that can be reloaded.
fn started(setup: Setup) -> Daemon {
    setup.config(&json!({})).start()
}

/// Prints the ids and groups of a shell.
const IDS: &str = "while read -r line; do case $line in Uid:*|Gid:*|Groups:*) echo $line;; esac; done < /proc/$$/status";

/// A daemon that finds these users and groups.
fn with_users(passwd: &str, group: &str) -> Option<Daemon> {
    let setup = Setup::with_mounts("mount --bind passwd /etc/passwd; mount --bind group /etc/group")?;
    fs::write(setup.path("passwd"), passwd).unwrap();
    fs::write(setup.path("group"), group).unwrap();
    fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(started(setup))
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:1235::/srv/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1235:\nweb:x:77:app,root\nlog:x:78:app\nother:x:79:root\n";

#[test]
fn a_service_runs_as_its_user_with_the_groups_of_it() {
    let Some(daemon) = with_users(PASSWD, GROUP) else { return };
    let ids = |user: Value| daemon.output_with(IDS, &json!({"user": user})).unwrap();
    let of = |uid: &str, gid: &str, groups: &str| {
        let four = |id: &str| [id; 4].join(" ");
        format!("Uid: {}\nGid: {}\nGroups:{groups}\n", four(uid), four(gid))
    };
    assert_eq!(ids(json!("app")), of("1234", "1235", " 77 78"));
    assert_eq!(ids(json!(1234)), of("1234", "1235", " 77 78"));
    assert_eq!(ids(json!("app:web")), of("1234", "77", ""));
    assert_eq!(ids(json!("4321:79")), of("4321", "79", ""));
    assert_eq!(ids(json!("4321")), of("4321", "0", ""));
    assert_eq!(ids(json!("root")), of("0", "0", " 77 79"));
}

#[test]
fn home_user_and_logname_are_those_of_the_user() {
    let Some(daemon) = with_users(PASSWD, GROUP) else { return };
    let script = "echo \"$HOME ${USER-unset} ${LOGNAME-unset}\"";
    let who = |keys: Value| daemon.output_with(script, &keys).unwrap();
    assert_eq!(who(json!({"user": "app"})), "/srv/app app app\n");
    assert_eq!(who(json!({"user": 4321})), "/ unset unset\n");
    assert_eq!(who(json!({"user": "app", "inherit_env": false})), "/srv/app app app\n");
    assert_eq!(who(json!({"user": "app", "env": {"HOME": "${HOME}/own", "USER": "x"}})), "/srv/app/own x app\n");
    assert_eq!(who(json!({})), format!("{} unset unset\n", daemon.path("").display().to_string().trim_end_matches('/')));
}

#[test]
fn r3_a_user_who_cannot_be_is_told() {
    let Some(daemon) = with_users(PASSWD, GROUP) else { return };
    let why = |user: &str| daemon.output_with("true", &json!({"user": user})).unwrap_err();
    assert_eq!(why("nobody"), "user: no such user in /etc/passwd: nobody");
    assert_eq!(why("app:nobody"), "user: no such group in /etc/group: nobody");
}

#[test]
fn a_user_who_is_added_later_is_found_by_the_next_start() {
    let Some(daemon) = with_users(PASSWD, GROUP) else { return };
    let service = shell("svc", "exec sleep 1000", &json!({"user": "late", "restart": {"interval": "10ms", "max_interval": "10ms"}}));
    daemon.reload(&json!({"services": [service]}));
    until("a failed start", || (daemon.row("svc")["crashes"].as_u64() >= Some(1)).then_some(()));
    fs::write(daemon.path("passwd"), format!("{PASSWD}late:x:5:5::/:/bin/sh\n")).unwrap();
    let row = daemon.wait("svc", "running");
    assert_eq!(fs::metadata(format!("/proc/{}", pid_of(&row))).unwrap().uid(), 5);
}

/// Neither is waited for nor read into memory.
#[test]
fn a_list_of_users_that_is_no_file_or_too_large_holds_nobody() {
    for (make, why) in [("mkfifo passwd", "not a regular file"), ("truncate -s 1G passwd", "larger than 1 MiB")] {
        let Some(setup) = Setup::with_mounts(&format!("{make}; mount --bind passwd /etc/passwd")) else { return };
        let daemon = started(setup);
        let failed = daemon.output_with("true", &json!({"user": "app"}));
        assert_eq!(failed, Err(format!("user: {why}: /etc/passwd")));
        assert!(daemon.memory() < 32 << 20);
    }
}

#[test]
fn r73_a_daemon_that_is_not_root_says_so_and_may_name_itself() {
    let Some(uid) = other_user() else { return };
    let daemon = started(Setup::new().run_by(uid));
    let why = daemon.output_with("true", &json!({"user": "root"})).unwrap_err();
    assert_eq!(why, format!("user: this daemon is not root but uid {uid}, and cannot become root"));
    let itself = daemon.output_with(IDS, &json!({"user": format!("{uid}:{uid}")})).unwrap();
    assert!(itself.starts_with(&format!("Uid: {uid} {uid} {uid} {uid}\n")), "{itself}");
}

#[test]
fn r73_root_without_the_right_to_change_users_says_so() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can give up its rights");
    }
    let daemon = started(Setup::new().through_shell("set -- setpriv --bounding-set -setuid,-setgid \"$0\" \"$@\"; exec \"$@\""));
    let why = daemon.output_with("true", &json!({"user": NOBODY})).unwrap_err();
    assert_eq!(why, "user: not permitted to become nobody: the daemon lacks the capabilities SETUID and SETGID");
}

#[test]
fn r3_what_its_user_may_not_do_is_told() {
    let Some(uid) = other_user() else { return };
    let setup = Setup::new();
    let tool = setup.path("tool");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o700)).unwrap();
    let folder = setup.path("closed");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = setup.start();
    let why = |command: Value, workdir: Value| {
        let add =
            json!({"name": "svc", "command": command, "workdir": workdir, "user": uid.to_string(), "restart": "never", "replace": true});
        daemon.call("add", &add)["failed"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(why(json!([tool]), Value::Null), format!("exec: {uid} may not execute it: {}", tool.display()));
    assert_eq!(why(json!(["/bin/true"]), json!(folder)), format!("workdir: {uid} may not enter it: {}", folder.display()));
}

/// The change of user clears what was asked of the kernel before (R10).
#[test]
fn r10_a_service_of_another_user_ends_with_the_daemon() {
    if other_user().is_none() {
        return;
    }
    let mut daemon = started(Setup::new());
    let changed = daemon.call("add", &json!({"name": "svc", "command": ["/bin/sleep", "1000"], "user": NOBODY}));
    let pid = pid_of(&changed["services"][0]);
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    until("the service ends", || Process::find(pid.as_raw()).is_none_or(|process| process.state == 'Z').then_some(()));
}

/// In a user namespace in which root is the only one who has a number.
#[test]
fn r73_a_user_of_whom_the_namespace_knows_nothing_is_told() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can say who is in a user namespace");
    }
    if !may_unshare(&["-U"]) {
        return;
    }
    let script = "(until echo 0 0 1 > /proc/$$/uid_map && echo 0 0 1 > /proc/$$/gid_map; do sleep 0.01; done) 2> /dev/null & \
        wait_for_root='until [ \"$(id -u) $(id -g)\" = \"0 0\" ]; do sleep 0.01; done; exec \"$0\" \"$@\"'; \
        exec unshare -U sh -c \"$wait_for_root\" \"$0\" \"$@\"";
    let daemon = started(Setup::new().through_shell(script));
    let why = daemon.output_with("true", &json!({"user": "1234:1234"})).unwrap_err();
    assert_eq!(why, "user: the numbers of 1234:1234 mean nothing in this user namespace");
}

/// execve(2) fails with EAGAIN where the user that the process has become has more processes than its limit.
#[test]
fn r49_a_user_with_too_many_processes_is_told() {
    let Some(uid) = other_user() else { return };
    let daemon = started(Setup::new());
    let why = daemon.output_with("true", &json!({"user": format!("{uid}:{uid}"), "limits": {"nproc": 0}})).unwrap_err();
    assert_eq!(why, "exec: its user has more processes than limits.nproc allows: /bin/sh");
}

#[test]
fn umask_nice_and_limits_are_as_given() {
    let daemon = started(Setup::new());
    let limits = json!({"nofile": "64:100", "core": 0, "fsize": "1MiB", "nproc": 777, "stack": "4MiB:unlimited"});
    let script = "umask; nice; ulimit -S -n; ulimit -H -n; ulimit -c; grep -E '^Max (file size|processes|stack)' /proc/self/limits";
    let found = daemon.output_with(script, &json!({"umask": "0027", "nice": 7, "limits": limits})).unwrap();
    let found: Vec<String> = found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let limits = ["Max file size 1048576 1048576 bytes", "Max stack size 4194304 unlimited bytes", "Max processes 777 777 processes"];
    assert_eq!(found[..5], ["0027", "7", "64", "100", "0"]);
    assert_eq!(found[5..], limits);
}

#[test]
fn no_new_privs_is_as_given_and_otherwise_as_the_daemon_has_it() {
    const FLAG: &str = "while read -r name value; do case $name in NoNewPrivs:) echo $value;; esac; done < /proc/self/status";
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")).unwrap().trim();
    let daemon = started(Setup::new());
    assert_eq!(daemon.output_with(FLAG, &json!({"no_new_privs": true})), Ok("1\n".to_owned()));
    assert_eq!(daemon.output_with(FLAG, &json!({})), Ok(format!("{own}\n")));
    if other_user().is_some() {
        assert_eq!(daemon.output_with(FLAG, &json!({"no_new_privs": true, "user": NOBODY})), Ok("1\n".to_owned()));
    }
}

#[test]
fn a_service_of_another_user_has_none_of_the_daemons_capabilities_however_it_got_them() {
    // Inheritable, permitted, effective, ambient: all but those that bound them.
    const SETS: &str = "while read -r name value; do case $name in Cap[IPEA]*) echo $value;; esac; done < /proc/self/status";
    const NONE: &str = "0000000000000000\n";
    const KEPT: &str = "00000000000000e0\n";
    let Some(uid) = other_user() else { return };
    let given = "--inh-caps=-all,+setuid,+setgid,+kill --ambient-caps=-all,+setuid,+setgid,+kill";
    let of_root = started(Setup::new().through_shell(&format!("exec setpriv {given} \"$0\" \"$@\"")));
    assert_eq!(of_root.output_with(SETS, &json!({"user": NOBODY})), Ok(NONE.repeat(4)), "of root");

    let setup = Setup::new().through_shell(&format!("exec setpriv --reuid={uid} --regid={uid} --clear-groups {given} \"$0\" \"$@\""));
    chown(setup.folder.path(), Some(uid), Some(uid)).unwrap();
    let of_another = started(setup);
    assert_eq!(of_another.output_with(SETS, &json!({"user": "1234:1234"})), Ok(NONE.repeat(4)), "of who is not root");
    assert_eq!(of_another.output_with(SETS, &json!({"user": format!("{uid}:{uid}")})), Ok(KEPT.repeat(4)), "of the daemon's own user");
}

#[test]
fn r73_limits_and_priorities_that_are_not_permitted_are_told() {
    let Some(uid) = other_user() else { return };
    let setup = Setup::new().through_shell("ulimit -n 100; echo 200 > /proc/self/oom_score_adj");
    let daemon = started(setup.run_by(uid));
    let why = |keys: Value| daemon.output_with("true", &keys).unwrap_err();
    assert_eq!(why(json!({"limits": {"nofile": 101}})), "limits.nofile: not permitted to be more than 100, the daemon's hard limit");
    assert_eq!(why(json!({"nice": -1})), "nice: not permitted to be less than the daemon's");
    assert_eq!(why(json!({"oom_score_adj": -1000})), "oom_score_adj: not permitted to be less than the daemon's");
}

#[test]
fn r47_services_are_killed_before_the_daemon_when_memory_is_short() {
    const SCORE: &str = "cat /proc/self/oom_score_adj";
    let least: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    for (own, wanted) in [("0", "100\n"), ("250", "350\n"), ("950", "1000\n"), ("1000", "1000\n")] {
        if own.parse().is_ok_and(|own: i32| own < least) {
            continue; // would need rights
        }
        let daemon = started(Setup::new().through_shell(&format!("echo {own} > /proc/self/oom_score_adj")));
        assert_eq!(daemon.output_of(SCORE), wanted, "of a daemon with {own}");
        assert_eq!(daemon.output_with(SCORE, &json!({"oom_score_adj": 1000})), Ok("1000\n".to_owned()));
        assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", daemon.pid)).unwrap().trim(), own);
    }
}

#[test]
fn a_service_of_another_user_may_use_what_belongs_to_it_and_nothing_else() {
    let Some(uid) = other_user() else { return };
    let setup = Setup::new();
    for (name, mode) in [("own", 0o600), ("secret", 0o600)] {
        fs::write(setup.path(name), name).unwrap();
        fs::set_permissions(setup.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    chown(setup.path("own"), Some(uid), Some(uid)).unwrap();
    fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = started(setup);
    let found =
        daemon.output_with("cat own; cat secret || echo none; cat /proc/$PPID/environ || echo none", &json!({"user": NOBODY})).unwrap();
    assert!(found.starts_with("own") && found.matches("none").count() == 2, "{found}");
}
