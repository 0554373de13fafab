//! The control socket as a file: who may use it, who may replace it, and what is refused.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{Backlog, listen};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Daemon, Setup, other_user};

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn r53_the_socket_and_its_lock_belong_to_the_owner_alone() {
    for mask in ["000", "077", "777"] {
        let daemon = Setup::new().through_shell(&format!("umask {mask}")).start();
        assert_eq!((mode_of(&daemon.socket), mode_of(&daemon.path("ppm.sock.lock"))), (0o600, 0o600), "umask {mask}");
    }
}

/// Connects as another user. Only the calling thread becomes one, and it ends.
fn connect_as(uid: u32, socket: &Path) -> io::Result<UnixStream> {
    let connect = || {
        // SAFETY: setresuid(2) in its raw form takes numbers, and is about this thread only.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, uid, -1) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        UnixStream::connect(socket)
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

#[test]
fn r53_another_user_is_kept_out_by_the_file_and_told_why_by_the_daemon() {
    let Some(uid) = other_user() else { return };
    let daemon = Daemon::start();
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(connect_as(uid, &daemon.socket).unwrap_err().kind(), io::ErrorKind::PermissionDenied);

    fs::set_permissions(&daemon.socket, fs::Permissions::from_mode(0o666)).unwrap();
    let mut client = Client::new(connect_as(uid, &daemon.socket).unwrap());
    let line = client.line().unwrap();
    let error = &line["error"];
    let text = format!("not permitted: you are uid {uid}, the daemon belongs to uid 0");
    assert_eq!((&error["code"], &error["message"], &error["data"]["permission"]), (&json!(1004), &json!(text), &json!(true)));
    assert!(client.is_closed());
    daemon.call("list", &json!({}));
}

#[test]
fn r53_root_may_talk_to_a_daemon_of_another_user() {
    use std::os::unix::process::CommandExt;
    let Some(uid) = other_user() else { return };
    let mut setup = Setup::new();
    setup.command.uid(uid);
    std::os::unix::fs::chown(setup.folder.path(), Some(uid), None).unwrap();
    let daemon = setup.start();
    assert_eq!(daemon.output_of("id -u"), format!("{uid}\n"));
}

/// A daemon that shall use the socket of another.
fn beside(other: &Daemon) -> Setup {
    let mut setup = Setup::new();
    setup.socket.clone_from(&other.socket);
    setup
}

#[test]
fn r54_the_socket_of_a_daemon_that_was_killed_is_replaced() {
    let mut killed = Daemon::start();
    killed.signal(Signal::SIGKILL);
    killed.end();
    assert!(killed.socket.exists());
    let mut daemon = beside(&killed).start();
    assert_eq!(daemon.call("hello", &json!({}))["pid"], daemon.pid.as_raw());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(!killed.socket.exists() && !killed.path("ppm.sock.lock").exists());
}

#[test]
fn r54_a_second_daemon_is_refused_and_the_first_is_not_disturbed() {
    let daemon = Daemon::start();
    let (code, stderr) = beside(&daemon).fail();
    assert_eq!(code, 73);
    assert!(stderr.starts_with(&format!("error: another daemon uses {}\n  hint: ", daemon.socket.display())), "{stderr}");
    assert_eq!(daemon.call("hello", &json!({}))["pid"], daemon.pid.as_raw());
}

#[test]
fn r54_of_daemons_that_start_together_one_gets_the_socket() {
    for _ in 0..5 {
        let first = Setup::new();
        let socket = first.socket.clone();
        let mut daemons = vec![first.launch()];
        for _ in 0..3 {
            let mut setup = Setup::new();
            setup.socket.clone_from(&socket);
            daemons.push(setup.launch());
        }
        let winner = crate::harness::until("one answers", || {
            let mut client = Client::connect(&socket).ok()?;
            client.call("hello", &json!({}))["pid"].as_i64()
        });
        for daemon in &mut daemons {
            if i64::from(daemon.pid.as_raw()) != winner {
                assert_eq!(daemon.exit_code(), 73, "{}", daemon.stderr());
            }
        }
        assert_eq!(Client::connect(&socket).unwrap().call("hello", &json!({}))["pid"], winner);
    }
}

#[test]
fn r54_what_is_not_a_socket_is_left_alone() {
    let setup = Setup::new();
    fs::write(&setup.socket, "precious").unwrap();
    let daemon = setup.launch();
    refuses(daemon, " exists and is not a socket\n  hint: remove it, or choose another place", |daemon| {
        assert_eq!(fs::read_to_string(&daemon.socket).unwrap(), "precious");
    });
}

fn refuses(mut daemon: Daemon, text: &str, check: impl Fn(&Daemon)) {
    assert_eq!(daemon.exit_code(), 73);
    let stderr = daemon.stderr();
    assert!(stderr.starts_with("error: ") && stderr.contains(text), "{stderr}");
    check(&daemon);
}

#[test]
fn r54_a_path_that_is_too_long_is_refused() {
    let mut setup = Setup::new();
    setup.socket = setup.path(&"x".repeat(200));
    let length = setup.socket.as_os_str().len();
    refuses(setup.launch(), &format!("the socket's path is {length} bytes long, 107 are possible"), |_| {});
}

#[test]
fn r54_a_folder_that_is_missing_is_named() {
    let mut setup = Setup::new();
    setup.socket = setup.path("missing/ppm.sock");
    let text = format!("error: cannot make the socket {} and its lock beside it: no such file or directory\n", setup.socket.display());
    refuses(setup.launch(), &text, |_| {});
}

#[test]
fn r54_the_socket_of_another_program_is_respected() {
    let setup = Setup::new();
    let listener = UnixListener::bind(&setup.socket).unwrap();
    refuses(setup.launch(), "another daemon uses ", |daemon| assert!(daemon.socket.exists()));
    drop(listener);
}

#[test]
fn r54_a_socket_of_another_kind_is_respected() {
    let setup = Setup::new();
    let _log = UnixDatagram::bind(&setup.socket).unwrap();
    refuses(setup.launch(), "another daemon uses ", |daemon| assert!(daemon.socket.exists()));
}

/// A connection to it would wait until somebody accepts one of those before.
#[test]
fn r54_a_live_socket_that_accepts_nobody_is_respected() {
    let setup = Setup::new();
    let listener = UnixListener::bind(&setup.socket).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&setup.socket).unwrap();
    refuses(setup.launch(), "another daemon uses ", |daemon| assert!(daemon.socket.exists()));
}

#[test]
fn r54_only_the_own_socket_is_removed_in_the_end() {
    let mut daemon = Daemon::start();
    fs::remove_file(&daemon.socket).unwrap();
    let _other = UnixListener::bind(&daemon.socket).unwrap();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    assert!(daemon.socket.exists());
}

#[test]
fn the_socket_is_found_by_the_environment() {
    for (variable, value) in [("PPM_SOCKET", "by-name.sock"), ("XDG_RUNTIME_DIR", "")] {
        let mut setup = Setup::new();
        let value = setup.path(value);
        setup.command.env(variable, &value);
        let socket = if variable == "PPM_SOCKET" { value } else { setup.path("ppm.sock") };
        let daemon = setup.start_without_flag(&socket);
        assert_eq!(daemon.call("hello", &json!({}))["protocol"], 1, "{variable}");
    }
}

#[test]
fn the_daemon_outlives_its_own_socket() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    fs::remove_file(&daemon.socket).unwrap();
    assert_eq!(client.call("list", &json!({})), Value::Array(Vec::new()));
    assert!(Client::connect(&daemon.socket).is_err());
}
