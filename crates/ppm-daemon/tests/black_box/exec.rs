//! Commands in the surroundings of a service, asked for with descriptors over the socket.

use std::fs::File;
use std::io::{IoSlice, Read, pipe};
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;

use crate::client::Client;
use crate::harness::{Daemon, until};

impl Client {
    /// Sends bytes and descriptors with them.
    fn raw_with(&mut self, bytes: &str, descriptors: &[RawFd]) {
        let parts = [IoSlice::new(bytes.as_bytes())];
        let passed = [ControlMessage::ScmRights(descriptors)];
        assert_eq!(sendmsg::<()>(self.as_raw_fd(), &parts, &passed, MsgFlags::empty(), None), Ok(bytes.len()));
    }

    fn exec(&mut self, script: &str, descriptors: &[RawFd]) -> i64 {
        let params = json!({"service": "web", "command": ["sh", "-c", script]});
        let call = json!({"jsonrpc": "2.0", "id": 99, "method": "exec", "params": params});
        self.raw_with(&format!("{call}\n"), descriptors);
        99
    }
}

fn web() -> Daemon {
    let daemon = Daemon::start();
    daemon.add("web", "sleep 1000");
    daemon
}

#[test]
fn a_command_reads_and_writes_what_came_with_its_request_and_its_end_is_told() {
    let daemon = web();
    let before = daemon.open_files().len();
    let mut client = daemon.client();
    let null = File::open("/dev/null").unwrap();
    let (mut read, write) = pipe().unwrap();
    let call = client.exec("echo out; echo err >&2; cat; exit 4", &[null.as_raw_fd(), write.as_raw_fd(), write.as_raw_fd()]);
    drop(write);
    assert!(client.reply(call).unwrap()["pid"].as_i64().unwrap() > 0);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\nerr\n");
    let end = client.line().unwrap();
    assert_eq!((&end["method"], &end["params"]), (&json!("end"), &json!({"call": call, "error": null, "exit": {"code": 4}})));
    assert_eq!(client.call("list", &json!({}))[0]["restarts"], 0, "the connection goes on");
    drop(client);
    until("the daemon keeps none of the descriptors", || (daemon.open_files().len() <= before).then_some(()));
}

#[test]
fn without_its_descriptors_a_command_is_refused_and_the_connection_lives() {
    let daemon = web();
    let mut client = daemon.client();
    let null = File::open("/dev/null").unwrap();
    for descriptors in [&[][..], &[null.as_raw_fd()], &[null.as_raw_fd(); 2]] {
        let call = client.exec("true", descriptors);
        let error = client.reply(call).unwrap_err();
        assert_eq!(error["code"], 1004);
        assert!(error["message"].as_str().unwrap().starts_with("its input, output and error did not come"), "{error}");
    }
    let call = client.exec("true", &[null.as_raw_fd(); 3]);
    assert!(client.reply(call).is_ok());
}

#[test]
fn r5_descriptors_that_nobody_asked_for_are_not_kept_and_reach_no_service() {
    let daemon = web();
    let before = daemon.open_files().len();
    let mut client = daemon.client();
    let null = File::open("/dev/null").unwrap();
    for _ in 0..200 {
        client.raw_with("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}\n", &[null.as_raw_fd(); 40]);
        client.reply(1).unwrap();
    }
    assert!(daemon.open_files().len() <= before + 6, "{} after {before}", daemon.open_files().len());
    assert_eq!(daemon.output_of("exec 2>&1; ls /proc/$$/fd"), "0\n1\n2\n");
    drop(client);
    until("the daemon closes them with the connection", || (daemon.open_files().len() <= before).then_some(()));
}

#[test]
fn what_a_command_leaves_in_its_group_ends_with_it() {
    let daemon = web();
    let mut client = daemon.client();
    let null = File::open("/dev/null").unwrap();
    let (mut read, write) = pipe().unwrap();
    client.exec("sleep 1000 & echo done", &[null.as_raw_fd(), write.as_raw_fd(), null.as_raw_fd()]);
    drop(write);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap(); // ends when the last that holds the pipe has ended
    assert_eq!(text, "done\n");
    assert_eq!(daemon.row("web")["status"], "running");
}

#[test]
fn a_client_that_asks_and_goes_at_once_leaves_nothing_running() {
    let daemon = web();
    let null = File::open("/dev/null").unwrap();
    for _ in 0..20 {
        let (mut read, write) = pipe().unwrap();
        let mut client = daemon.client();
        client.exec("sleep 1000", &[null.as_raw_fd(), write.as_raw_fd(), null.as_raw_fd()]);
        drop((client, write));
        assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody holds it any more");
    }
    assert_eq!(daemon.row("web")["restarts"], 0);
}
