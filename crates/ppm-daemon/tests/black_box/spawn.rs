//! What a service finds when it begins, and what is said when it cannot.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process, Setup, other_user, pid_of};

/// Prints the shell's own file of /proc, without another process in between.
fn show_own(file: &str) -> String {
    format!("while read -r line; do echo \"$line\"; done < /proc/self/{file}")
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_else(|| panic!("{name} in {text}")).trim()
}

/// Blocks and ignores what some container runtimes leave blocked and ignored, and all real-time signals.
pub fn spoil_signals() -> io::Result<()> {
    const SIG_IGN: u64 = 1;
    let blocked: u64 = [libc::SIGUSR1, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, 40].iter().map(|signal| 1 << (signal - 1)).sum();
    let ignore = [SIG_IGN, 0, 0, 0];
    // SAFETY: sigaction(2) and sigprocmask(2) in their raw forms, which also take the signals that the library keeps.
    unsafe {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE].into_iter().chain(32..=64) {
            libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), std::ptr::null::<u64>(), 8);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked, std::ptr::null::<u64>(), 8);
    }
    Ok(())
}

#[test]
fn r1_services_begin_with_no_signal_blocked_and_none_ignored() {
    let mut control = Command::new("cat");
    // SAFETY: pre_exec: the function makes system calls only.
    let control = unsafe { control.arg("/proc/self/status").pre_exec(spoil_signals) }.output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    assert_eq!(field(&control, "SigBlk"), "0000008000380200", "what the daemon inherits");
    assert_eq!(field(&control, "SigIgn"), "ffffffff80001006", "what the daemon inherits");

    let daemon = Setup::new().before_exec(spoil_signals).start();
    let status = daemon.output_of(&show_own("status"));
    for name in ["SigBlk", "SigIgn"] {
        assert_eq!(field(&status, name), "0000000000000000", "{name} of a service");
    }
}

#[test]
fn r2_a_service_leads_its_own_session_without_a_terminal() {
    let daemon = Daemon::start();
    let row = daemon.add("svc", "exec sleep 1000");
    let process = Process::find(pid_of(&row).as_raw()).unwrap();
    assert_eq!((process.group, process.session), (process.pid, process.pid));
    assert_eq!(process.parent, daemon.pid.as_raw());
    let stat = daemon.output_of(&show_own("stat"));
    let terminal = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(4).unwrap();
    assert_eq!(terminal, "0", "{stat}");
}

#[test]
fn r2_a_service_that_signals_its_whole_group_hurts_nobody_else() {
    let daemon = Daemon::start();
    let bystander = daemon.add("bystander", "exec sleep 1000");
    daemon.add("wild", "kill -KILL 0");
    assert_eq!(daemon.wait("wild", "stopped")["exit"], json!({"signal": "SIGKILL"}));
    assert_eq!(daemon.row("bystander")["pid"], bystander["pid"]);
}

/// Adds a service that cannot start, and returns why.
fn why_not(daemon: &Daemon, name: &str, command: &Value, workdir: Option<&Path>) -> String {
    let add = json!({"name": name, "command": command, "workdir": workdir, "restart": "never"});
    let changed = daemon.call("add", &add);
    let row = &changed["services"][0];
    assert_eq!(row["status"], "crashed", "{changed}");
    assert_eq!((&row["pid"], &row["exit"]), (&Value::Null, &Value::Null), "{changed}");
    assert_eq!(changed["failed"], json!([{"service": name, "message": row["reason"]}]));
    row["reason"].as_str().unwrap().to_owned()
}

#[test]
fn r3_what_cannot_be_executed_is_told_exactly() {
    let setup = Setup::new();
    let file = |name: &str, text: &str, mode| {
        let path = setup.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let folder = setup.folder.path().to_str().unwrap().to_owned();
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let orphan = file("orphan", "#!/nowhere/sh\n", 0o755);
    let prose = file("prose", "echo hello\n", 0o755);
    for (target, name) in [("/nowhere", "dangling"), ("loop", "loop")] {
        symlink(target, setup.path(name)).unwrap();
    }
    let cases = [
        (json!(["/nowhere/foo"]), "exec: no such file: /nowhere/foo".to_owned()),
        (json!(["nowhere-to-be-found"]), "exec: no such file: nowhere-to-be-found".to_owned()),
        (json!([plain]), format!("exec: not executable: {plain}")),
        (json!([folder]), format!("exec: is a folder: {folder}")),
        (json!([orphan]), format!("exec: the interpreter of {orphan} does not exist")),
        (json!([prose]), format!("exec: neither a program nor a script with a #! line: {prose}")),
        (json!([format!("{plain}/x")]), format!("exec: no such file: {plain}/x")),
        (json!([format!("{folder}/dangling")]), format!("exec: no such file: {folder}/dangling")),
        (json!([format!("{folder}/loop")]), format!("exec: no such file: {folder}/loop")),
        (json!(["/bin/echo", "x".repeat(200_000)]), "exec: arguments and environment are too long: /bin/echo".to_owned()),
    ];
    // Folders that may not be searched would be another story.
    let daemon = setup.env("PATH", "/usr/bin:/bin").start();
    for (number, (command, reason)) in cases.iter().enumerate() {
        assert_eq!(why_not(&daemon, &format!("svc-{number}"), command, None), *reason);
    }
}

#[test]
fn r3_a_name_that_only_a_file_without_permission_has_is_told_as_not_executable() {
    let setup = Setup::new();
    let path = setup.path("tool");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let (folder, path) = (setup.folder.path().to_str().unwrap().to_owned(), path.to_str().unwrap().to_owned());
    let daemon = setup.env("PATH", format!("/nowhere:{folder}:/bin")).start();
    assert_eq!(why_not(&daemon, "svc", &json!(["tool"]), None), format!("exec: not executable: {path}"));
}

#[test]
fn r3_a_working_folder_that_cannot_be_is_told_exactly() {
    let daemon = Daemon::start();
    let stderr = daemon.path("stderr");
    let echo = json!(["/bin/echo"]);
    assert_eq!(why_not(&daemon, "missing", &echo, Some(Path::new("/nowhere"))), "workdir: no such folder: /nowhere");
    assert_eq!(why_not(&daemon, "file", &echo, Some(&stderr)), format!("workdir: not a folder: {}", stderr.display()));
}

#[test]
fn r3_an_argument_of_100_000_bytes_arrives_whole() {
    let daemon = Daemon::start();
    let add = json!({"name": "svc", "command": ["/bin/sh", "-c", "echo ${#1} > length", "sh", "x".repeat(100_000)], "restart": "never"});
    daemon.call("add", &add);
    assert_eq!(daemon.lines_in("length"), ["100000"]);
}

#[test]
fn r4_when_no_process_can_be_made_the_service_waits_and_starts_when_one_can() {
    let mut setup = Setup::new().through_shell("prlimit --pid $$ --nproc=1:");
    let mut raise = Command::new("prlimit");
    if Uid::effective().is_root() {
        if other_user().is_none() {
            return;
        }
        // Root is not limited; a user whom nobody else uses is, and has no processes that others make and end.
        let uid = 20_000 + std::process::id() % 40_000;
        setup.command.uid(uid);
        raise.uid(uid);
        std::os::unix::fs::chown(setup.folder.path(), Some(uid), None).unwrap();
    }
    let daemon = setup.start();
    let add = json!({"name": "svc", "command": ["/bin/sleep", "1000"]});
    let changed = daemon.call("add", &add);
    assert_eq!(changed["failed"][0]["message"], "fork: resource temporarily unavailable");
    let row = daemon.row("svc");
    assert_eq!((&row["status"], &row["next_start"]["why"]), (&json!("crashed"), &json!("backoff")), "{row}");
    assert!(raise.args(["--pid", &daemon.pid.to_string(), "--nproc=1000:"]).status().unwrap().success());
    let row = daemon.wait("svc", "running");
    assert!(row["crashes"].as_u64() >= Some(1), "{row}");
}

#[test]
fn r5_services_inherit_three_descriptors_whatever_the_daemon_was_started_with() {
    let daemon = Setup::new().through_shell("exec 7</etc/passwd 9>stray").start();
    let open = daemon.output_of("exec 2>&1; ls /proc/$$/fd");
    assert_eq!(open, "0\n1\n2\n");
}

#[test]
fn services_read_from_dev_null() {
    let daemon = Setup::new().through_shell("exec 0</etc/passwd").start();
    assert_eq!(daemon.output_of("readlink /proc/$$/fd/0; read -r line || echo end"), "/dev/null\nend\n");
}

#[test]
fn r5_a_daemon_without_standard_streams_gives_dev_null_to_its_services() {
    let daemon = Setup::new().through_shell("exec <&- >&- 2>&-").start();
    daemon.add("svc", "found=$(readlink /proc/$$/fd/[012]); echo \"$found\" > found");
    daemon.wait("svc", "stopped");
    assert_eq!(daemon.lines_in("found"), ["/dev/null"; 3]);
}

#[test]
fn r8_services_get_the_limits_mask_niceness_and_folder_that_the_daemon_was_started_with() {
    let daemon = Setup::new().through_shell("ulimit -S -n 777; ulimit -c 0; umask 027; renice -n 5 -p $$ > /dev/null").start();
    let found = daemon.output_of("ulimit -S -n; umask; nice; pwd");
    assert_eq!(found, format!("777\n0027\n5\n{}\n", daemon.path("").display().to_string().trim_end_matches('/')));
}

#[test]
fn r8_the_environment_arrives_byte_for_byte() {
    let bytes = b"\xff\xfe %s %% \xc3\x28\nnext";
    let daemon = Setup::new().env("BYTES", OsStr::from_bytes(bytes)).start();
    daemon.output_of("printf %s \"$BYTES\" > bytes");
    assert_eq!(fs::read(daemon.path("bytes")).unwrap(), bytes);
}

#[test]
fn r8_services_see_their_own_variables_and_not_the_daemons() {
    let setup = Setup::new();
    let config = setup.path("empty.yml");
    fs::write(&config, "").unwrap();
    let setup = setup.env("PPM_CONFIG", &config).env("PPM_SOCKET", "/nowhere/at/all").env("PPM_SERVICE", "outer");
    let daemon = setup.env("PPM_START_REASON", "outer").env("KEPT", "daemon").env("SET", "daemon").start();
    let params = json!({"restart": "never", "env": {"SET": "service", "OWN": "$HOME %s"}});
    daemon.add_with("svc", "env > env.tmp; mv env.tmp env", &params);
    let env = daemon.lines_in("env");
    let of = |name: &str| env.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect::<Vec<_>>();
    assert_eq!((of("PPM_CONFIG"), of("PPM_SOCKET")), (vec![], vec![]));
    assert_eq!((of("PPM_SERVICE"), of("PPM_START_REASON")), (vec!["svc"], vec!["request"]));
    assert_eq!((of("KEPT"), of("SET"), of("OWN")), (vec!["daemon"], vec!["service"], vec!["$HOME %s"]));
}

#[test]
fn r8_programs_are_found_without_any_path_in_the_environment() {
    let mut setup = Setup::new();
    setup.command.env_remove("PATH").env_remove("HOME");
    let daemon = setup.start();
    let row = daemon.call("add", &json!({"name": "svc", "command": ["sleep", "1000"]}))["services"][0].clone();
    assert_eq!(row["status"], "running", "{row}");
}

#[test]
fn r72_a_daemon_whose_folder_was_deleted_supervises() {
    let setup = Setup::new().through_shell("mkdir gone; cd gone; rmdir ../gone");
    let folder = setup.folder.path().to_owned();
    let daemon = setup.start();
    daemon.add("gone", &format!("echo here > {}/gone.out", folder.display()));
    assert_eq!(daemon.lines_in("gone.out"), ["here"]);
    daemon.add_with("elsewhere", "pwd > place", &json!({"restart": "never", "workdir": folder}));
    assert_eq!(daemon.lines_in("place"), [folder.to_str().unwrap()]);
}
