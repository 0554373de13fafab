//! What services say of themselves: sd_notify(3), and a line on a descriptor.

use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::json;

use crate::harness::{Daemon, Setup, shell, until};

/// Writes what it was told, and runs.
const TELLS: &str = "echo $NOTIFY_SOCKET $WATCHDOG_USEC > told; while :; do sleep 0.02; done";

/// Sends messages as a descendant of the service, far from its main process, in a session of its own.
const SAYS: &str = "\
    import os, socket, sys, time\n\
    if os.fork(): os.wait(); time.sleep(1000)\n\
    os.setsid()\n\
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])\n\
    for message in sys.argv[1:]: s.send(message.encode().replace(b'|', b'\\n'))\n\
    time.sleep(1000)\n";

fn says(keys: &serde_json::Value, messages: &[&str]) -> Option<Daemon> {
    if !std::process::Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3 here");
        return None;
    }
    let command: Vec<&str> = ["python3", "-c", SAYS].iter().chain(messages).copied().collect();
    let mut service = json!({"name": "web", "command": command});
    service.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    Some(Setup::new().services(&[service]).start())
}

/// The socket of services, for somebody who is none.
fn socket_of(daemon: &Daemon) -> UnixDatagram {
    let told = daemon.lines_in("told")[0].clone();
    let name = told.split(' ').next().unwrap().strip_prefix('@').unwrap().to_owned();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    socket
}

#[test]
fn a_descendant_may_say_that_its_service_is_ready_and_what_it_does() {
    let Some(daemon) = says(&json!({"ready": "notify"}), &["STATUS=loading", "MAINPID=1|READY=1", "STATUS=serving"]) else { return };
    daemon.wait("web", "ready");
    until("the last status", || (daemon.row("web")["status_text"] == "serving").then_some(()));
}

#[test]
fn a_stranger_is_not_listened_to_and_is_told_of_once() {
    let daemon = Setup::new().services(&[shell("web", TELLS, &json!({"ready": "notify"}))]).start();
    let socket = socket_of(&daemon);
    for _ in 0..40 {
        socket.send(b"READY=1").unwrap();
    }
    let told = until("a word about it", || Some(daemon.stderr()).filter(|text| text.contains("is no service's")));
    assert_eq!(told.matches("is no service's").count(), 1, "{told}");
    assert_eq!(daemon.row("web")["ready"], false);
}

#[test]
fn descriptors_that_come_with_a_message_are_closed() {
    let daemon = Setup::new().services(&[shell("web", TELLS, &json!({"ready": "notify"}))]).start();
    let socket = socket_of(&daemon);
    let (mut read, write) = std::io::pipe().unwrap();
    let bytes = [std::io::IoSlice::new(b"BARRIER=1")];
    let rights = [write.as_raw_fd()];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &bytes, &[ControlMessage::ScmRights(&rights)], MsgFlags::empty(), None).unwrap();
    drop(write);
    assert_eq!(std::io::Read::read(&mut read, &mut [0]).unwrap(), 0, "the other end is closed everywhere");
    drop(daemon);
}

#[test]
fn who_is_to_say_that_it_is_well_is_told_how_often() {
    let health = json!({"notify": true, "timeout": "40s"});
    let daemon = Setup::new().services(&[shell("web", TELLS, &json!({"health": health}))]).start();
    assert!(daemon.lines_in("told")[0].ends_with(" 40000000"));
    assert!(daemon.row("web")["ready"] == true);
}

#[test]
fn who_falls_silent_is_started_again() {
    let keys = json!({"health": {"notify": true, "timeout": "200ms"}, "restart": {"interval": "10ms"}});
    let daemon = Setup::new().services(&[shell("web", TELLS, &keys)]).start();
    let row = until("a restart", || Some(daemon.row("web")).filter(|row| row["restarts"].as_u64() > Some(0) && !row["pid"].is_null()));
    assert_eq!(row["exit"], json!({"signal": "SIGTERM"}));
    assert_eq!(daemon.call("why", &json!({"services": ["web"]}))[0]["events"][1]["reason"], "no WATCHDOG=1 within 200ms");
}

#[test]
fn nobody_is_told_of_a_socket_who_has_no_use_for_it() {
    let daemon = Setup::new().services(&[shell("web", TELLS, &json!({"ready": {"notify": 3}}))]).start();
    assert_eq!(daemon.lines_in("told"), [""]);
}

#[test]
fn a_line_on_its_descriptor_says_that_a_service_is_ready() {
    for number in [3, 9] {
        let script = format!("printf not-yet >&{number}; while [ ! -e go ]; do sleep 0.02; done; echo >&{number}; sleep 1000");
        let daemon = Setup::new().services(&[shell("web", &script, &json!({"ready": {"notify": number}}))]).start();
        assert_eq!(daemon.row("web")["ready"], false);
        std::fs::write(daemon.path("go"), "").unwrap();
        daemon.wait("web", "ready");
    }
}

#[test]
fn every_descriptor_can_be_the_one_for_a_line() {
    // Among them are those that the daemon itself uses just then.
    let services: Vec<_> = (3..=40)
        .map(|number| {
            shell(&format!("s{number}"), &format!("echo > /proc/self/fd/{number}; sleep 1000"), &json!({"ready": {"notify": number}}))
        })
        .collect();
    let daemon = Setup::new().services(&services).start();
    daemon.call("wait", &json!({"services": ["all"], "for": "ready"}));
    let of_a_user: Vec<_> = services
        .into_iter()
        .map(|mut service| {
            service["user"] = json!("0:0");
            service
        })
        .collect();
    drop(daemon);
    if nix::unistd::Uid::effective().is_root() {
        let daemon = Setup::new().services(&of_a_user).start();
        daemon.call("wait", &json!({"services": ["all"], "for": "ready"}));
    }
}
