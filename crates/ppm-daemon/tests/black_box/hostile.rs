//! Clients and readers that do what they should not: none of it delays the others, and all of it is bounded.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Daemon, Setup, other_user, pid_of, shell, until};

/// More than the daemon ever needs for well-behaved clients, far less than what is thrown at it here.
const MUCH_MEMORY: usize = 64 << 20;

/// What must work whatever others do.
fn serves(daemon: &Daemon) {
    let mut client = daemon.client();
    client.call("hello", &json!({}));
    client.call("list", &json!({}));
    let memory = daemon.memory();
    assert!(memory < MUCH_MEMORY, "{memory} bytes");
}

#[test]
fn r55_every_bad_line_gets_an_error_and_the_connection_lives() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let long = [b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"", "x".repeat(2 << 20).as_bytes(), b"\"}"].concat();
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let deep_params = format!(r#"{{"id":1,"method":"list","params":{}{}}}"#, "{\"a\":".repeat(1000), "1".to_owned() + &"}".repeat(1000));
    let cases: Vec<(&[u8], Value, i64)> = vec![
        (b"hello", Value::Null, -32700),
        (b"", Value::Null, -32700),
        (br#"{"jsonrpc":"2.0","id":1,"method":"li"#, Value::Null, -32700),
        (b"{\"id\":1,\"method\":\"\xff\xfe\"}", Value::Null, -32700),
        (b"\0\0\0\0", Value::Null, -32700),
        (b"[{\"id\":1,\"method\":\"list\"}]", Value::Null, -32600),
        (b"[]", Value::Null, -32600),
        (b"42", Value::Null, -32600),
        (b"null", Value::Null, -32600),
        (b"\"list\"", Value::Null, -32600),
        (b"{}", Value::Null, -32600),
        (br#"{"id":1}"#, json!(1), -32600),
        (br#"{"id":1.5,"method":"list"}"#, Value::Null, -32600),
        (br#"{"id":{},"method":"list"}"#, Value::Null, -32600),
        (br#"{"id":1,"method":7}"#, json!(1), -32600),
        (br#"{"id":1,"jsonrpc":"1.0","method":"list"}"#, json!(1), -32600),
        (br#"{"id":"me","method":"lisst"}"#, json!("me"), -32601),
        (br#"{"id":1,"method":"LIST"}"#, json!(1), -32601),
        (br#"{"id":1,"method":"list","params":[]}"#, json!(1), -32602),
        (br#"{"id":1,"method":"list","params":{"services":"web"}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"list","params":{"services":[1]}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"stop","params":{"services":["a"],"wait":"no"}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"wait","params":{"services":["a"],"for":"ever"}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"wait","params":{"services":["a"],"for":"ready","timeout_ms":-1}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"add","params":{"name":"a"}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"add","params":{"name":"a","command":"sleep 1"}}"#, json!(1), -32602),
        (br#"{"id":1,"method":"events","params":{"last":-1}}"#, json!(1), -32602),
        (&long, Value::Null, -32600),
        (&deep, Value::Null, -32600),
        (deep_params.as_bytes(), Value::Null, -32600),
    ];
    for (bytes, id, code) in cases {
        client.raw([bytes, b"\n"].concat());
        let line = client.line().unwrap();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
        assert_eq!((&line["id"], &line["error"]["code"]), (&id, &json!(code)), "{shown}: {line}");
        let message = line["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && message.len() < 500, "{shown}: {message}");
        assert_eq!(client.call("hello", &json!({}))["protocol"], 1, "{shown}");
    }
}

#[test]
fn r55_a_request_may_come_in_any_pieces_and_several_in_one() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for byte in br#"{"id":1,"method":"hello"}"#.iter().chain(b"\r\n") {
        client.raw([*byte]);
    }
    assert_eq!(client.reply(1).unwrap()["protocol"], 1);
    client.raw("{\"id\":2,\"method\":\"hello\"}\n{\"method\":\"hello\"}\n{\"id\":3,\"method\":\"list\",\"unknown\":1}\n");
    assert_eq!(client.reply(2).unwrap()["protocol"], 1);
    assert_eq!(client.reply(3).unwrap(), json!([]));
}

#[test]
fn r55_half_a_line_and_a_hang_up_hurt_nobody() {
    let daemon = Daemon::start();
    for _ in 0..100 {
        daemon.client().raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    }
    serves(&daemon);
}

#[test]
fn r55_a_line_that_never_ends_costs_no_memory() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    (0..1600).for_each(|_| client.raw([b'x'; 1 << 16]));
    client.raw("\n");
    assert_eq!(client.line().unwrap()["error"]["code"], -32600);
    serves(&daemon);
    client.call("hello", &json!({}));
}

#[test]
fn r55_of_too_many_connections_the_longest_idle_is_closed() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    let mut busy = daemon.client();
    let wait = busy.send("wait", &json!({"services": ["svc"], "for": "stopped"}));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..70 {
        let mut client = daemon.client();
        client.call("hello", &json!({}));
        clients.push(client);
    }
    let served = clients.split_off(7);
    for client in &mut clients {
        assert!(client.is_closed());
    }
    assert_eq!(served.len(), 63);
    for mut client in served {
        client.call("list", &json!({}));
        drop(client);
    }
    daemon.tell("svc", "stop");
    busy.reply(wait).unwrap();
}

/// Tells [`is_one_of_a_crowd`] where to connect, and how many connections to keep.
const CROWDED: [&str; 2] = ["PPM_TEST_CROWDED_SOCKET", "PPM_TEST_CROWD_KEEPS"];

/// Processes that connect without end and never say anything.
struct Crowd(Vec<Child>);

impl Crowd {
    /// So many processes, each of which keeps so many connections.
    fn of(processes: usize, connections: usize, daemon: &Daemon) -> Crowd {
        let program = std::env::current_exe().unwrap();
        let connects = |_| {
            let mut command = Command::new(&program);
            command.args(["--exact", "hostile::is_one_of_a_crowd"]).stdout(Stdio::null());
            command.env(CROWDED[0], &daemon.socket).env(CROWDED[1], connections.to_string()).spawn().unwrap()
        };
        Crowd((0..processes).map(connects).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What a process of a [`Crowd`] does, until it is killed or the daemon has gone; nothing where it is no such process.
#[test]
fn is_one_of_a_crowd() {
    let [Ok(socket), Ok(connections)] = CROWDED.map(std::env::var) else { return };
    let mut kept: VecDeque<UnixStream> = VecDeque::new();
    while let Ok(stream) = UnixStream::connect(&socket) {
        kept.push_back(stream);
        if kept.len() > connections.parse().unwrap() {
            kept.pop_front();
        }
    }
}

/// So many more connect than may be connected that each asks among others who came after it.
#[test]
fn r55_who_asks_is_answered_however_many_only_connect() {
    let daemon = Daemon::start();
    let _crowd = Crowd::of(40, 8, &daemon);
    for _ in 0..30 {
        serves(&daemon);
    }
    // Who takes a moment to ask is not let go for those meanwhile; most of the time, as the moment may last on a busy machine.
    let answered = (0..40).filter(|_| asks_late(&daemon).is_some()).count();
    assert!(answered >= 15, "{answered} of 40 were answered");
}

/// The connections of who has many go first, however long another has been silent.
#[test]
fn r57_a_process_that_connects_without_end_takes_nobody_elses_place() {
    let daemon = Daemon::start();
    let mut silent = UnixStream::connect(&daemon.socket).unwrap();
    let _crowd = Crowd::of(1, 200, &daemon);
    for _ in 0..30 {
        serves(&daemon);
    }
    assert_eq!((0..20).filter(|_| asks_late(&daemon).is_none()).count(), 0);
    assert!(asks(&mut silent).is_some());
}

/// Connects, asks 20 ms later, and hears the answer; None if the connection was closed before.
fn asks_late(daemon: &Daemon) -> Option<String> {
    let mut stream = UnixStream::connect(&daemon.socket).unwrap();
    thread::sleep(Duration::from_millis(20));
    asks(&mut stream)
}

/// What it hears; None if the connection has been closed.
fn asks(stream: &mut UnixStream) -> Option<String> {
    stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}\n").ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    Some(answer).filter(|answer| answer.ends_with('\n'))
}

#[test]
fn r55_who_asks_and_never_reads_delays_nobody() {
    let services: Vec<Value> = (0..20).map(|number| shell(&format!("svc-{number}"), "exec sleep 1000", &json!({}))).collect();
    let daemon = Setup::new().services(&services).start();
    let mut greedy: Vec<Client> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut greedy {
        let taken = client.flood(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\"}\n", 100_000);
        assert!(taken < 100_000, "the daemon goes on reading what it cannot answer");
    }
    serves(&daemon);
    let pid = pid_of(&daemon.wait("svc-7", "running"));
    kill(pid, Signal::SIGKILL).unwrap();
    daemon.tell("svc-8", "restart");
    until("a crash is noticed", || (daemon.row("svc-7")["crashes"] == 1).then_some(()));
    drop(greedy);
    serves(&daemon);
}

/// Its answers are far more than is kept for one client, so as long as it does not read them it is not read from.
#[test]
fn r55_who_asks_much_at_once_and_reads_later_gets_every_answer() {
    const AT_ONCE: usize = 100;
    let services: Vec<Value> = (0..20).map(|number| shell(&format!("svc-{number}"), "exec sleep 1000", &json!({}))).collect();
    let daemon = Setup::new().services(&services).start();
    daemon.wait("all", "running");
    let before = daemon.memory();
    let mut client = daemon.client();
    let asked = AT_ONCE * client.flood(&b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\"}\n".repeat(AT_ONCE), 1000);
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for a client that does not read");
    for answered in 0..asked {
        assert!(client.line().is_some(), "asked {asked} times, dropped after {answered} answers");
    }
    serves(&daemon);
}

#[test]
fn r55_calls_under_way_are_limited_for_each_connection() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    let mut client = daemon.client();
    let wait = json!({"services": ["svc"], "for": "stopped"});
    let calls: Vec<i64> = (0..32).map(|_| client.send("wait", &wait)).collect();
    let error = client.refused("list", &json!({}));
    let text = "32 calls of this connection are under way; wait for one to be answered";
    assert_eq!((&error["code"], &error["message"]), (&json!(1004), &json!(text)));
    serves(&daemon);
    daemon.tell("svc", "stop");
    for call in calls {
        client.reply(call).unwrap();
    }
    client.call("list", &json!({}));
}

/// Each event is written once for every stream.
#[test]
fn r55_streams_are_calls_that_stay_under_way() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let follow = json!({"follow": true, "last": 0});
    for _ in 0..32 {
        client.call("events", &follow);
    }
    assert_eq!(client.refused("events", &follow)["code"], 1004);
    assert_eq!(client.refused("list", &json!({}))["code"], 1004);
    daemon.add("svc", "exec sleep 1000");
    for _ in 0..64 {
        assert_eq!(client.line().unwrap()["params"]["service"], "svc");
    }
}

#[test]
fn r57_who_follows_is_not_idle() {
    let daemon = Daemon::start();
    let mut events = daemon.events();
    let mut crowd: Vec<Client> = (0..70).map(|_| daemon.client()).collect();
    for client in crowd.iter_mut().rev().take(63) {
        client.call("hello", &json!({}));
    }
    daemon.add("svc", "exec sleep 1000");
    events.until("svc", "started");
}

#[test]
fn r55_calls_that_want_no_answer_are_limited_as_well() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    let mut client = daemon.client();
    let wait = b"{\"method\":\"wait\",\"params\":{\"services\":[\"svc\"],\"for\":\"stopped\"}}\n";
    client.raw(wait.repeat(100_000));
    assert_eq!(client.refused("list", &json!({}))["code"], 1004);
    serves(&daemon);
    daemon.tell("svc", "stop");
    until("they are no longer under way", || {
        let id = client.send("list", &json!({}));
        client.reply(id).ok()
    });
}

#[test]
fn r55_who_asks_and_stops_writing_is_answered() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.raw("{\"id\":1,\"method\":\"list\"}\n{\"id\":2,\"method\":\"hello\"}\n{\"id\":3");
    client.stop_writing();
    assert_eq!(client.reply(1).unwrap(), json!([]));
    assert_eq!(client.reply(2).unwrap()["protocol"], 1);
    assert!(client.is_closed());
}

#[test]
fn r55_who_goes_while_waiting_is_forgotten() {
    let daemon = Daemon::start();
    daemon.add("svc", "exec sleep 1000");
    for _ in 0..200 {
        let mut client = daemon.client();
        client.send("wait", &json!({"services": ["svc"], "for": "stopped"}));
        client.send("restart", &json!({"services": ["svc"]}));
    }
    serves(&daemon);
    assert_eq!(daemon.tell("svc", "stop")["status"], "finished");
    serves(&daemon);
}

/// Events are short, so this client follows as often as it may, and each event is told it as often.
#[test]
fn r57_a_follower_that_does_not_read_is_dropped() {
    const STARTS: usize = 1000;
    let daemon = Daemon::start();
    let mut follower = daemon.client();
    for _ in 0..32 {
        follower.call("events", &json!({"follow": true, "last": 0}));
    }
    let program = format!("/nowhere/{}", "x".repeat(1000));
    daemon.call("add", &json!({"name": "svc", "command": [program], "restart": "never"}));
    let mut client = daemon.client();
    for _ in 0..STARTS {
        let changed = client.call("start", &json!({"services": ["svc"]}));
        assert_eq!(changed["failed"][0]["service"], "svc");
    }
    let mut heard = 0;
    while follower.line().is_some() {
        heard += 1;
    }
    assert!(heard < STARTS * 32, "{heard} events for a client that did not read");
    serves(&daemon);
}

/// Each asks for less than it may have, all together for more.
#[test]
fn r48_many_who_ask_much_and_do_not_read_cost_no_more_than_some() {
    let daemon = Setup::new().services(&[shell("svc", &"x".repeat(200_000), &json!({"autostart": false}))]).start();
    let mut greedy: Vec<Client> = (0..12).map(|_| daemon.client()).collect();
    for client in &mut greedy {
        client.raw(b"{\"id\":1,\"method\":\"info\"}\n".repeat(32));
        serves(&daemon);
    }
    drop(greedy);
    serves(&daemon);
}

const PIPE_SIZE: usize = 1 << 16;

/// A pipe with nothing free in it. Its flags stay as they are: they are shared with the daemon.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE.try_into().unwrap())).unwrap();
    writer.write_all(&[b'.'; PIPE_SIZE]).unwrap();
    (reader, writer)
}

#[test]
fn r41_a_standard_error_that_nobody_reads_stops_nothing() {
    let (mut reader, writer) = full_pipe();
    let mut setup = Setup::new();
    setup.command.stderr(writer);
    let mut daemon = setup.start();
    daemon.add_with("svc", "exec sleep 1000", &json!({"restart": "always"}));
    daemon.tell("svc", "restart");
    kill(pid_of(&daemon.row("svc")), Signal::SIGKILL).unwrap();
    until("it runs again", || (daemon.row("svc")["restarts"] == 2).then_some(()));
    reader.read_exact(&mut [0; PIPE_SIZE]).unwrap();
    daemon.tell("svc", "restart");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
    drop(daemon);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("ppm | ") && said.contains(" lines left out: nobody reads this\nppm | "), "{said}");
}

/// Services write to the same pipe, and take what room there is while the daemon is about to.
#[test]
fn r41_services_that_fill_the_daemons_standard_error_do_not_make_it_wait() {
    let (mut reader, writer) = full_pipe();
    let mut services: Vec<Value> =
        (0..5).map(|number| shell(&format!("storm-{number}"), "exit 1", &json!({"restart": {"interval": "0s"}}))).collect();
    services.push(shell("loud", "yes >&2 & yes >&2 & yes >&2 & wait", &json!({})));
    let mut setup = Setup::new().services(&services);
    setup.command.stderr(writer);
    let daemon = setup.start();
    let mut client = daemon.client();
    for _ in 0..200 {
        reader.read_exact(&mut [0; 4096]).unwrap();
        client.call("hello", &json!({}));
    }
}

#[test]
fn r41_a_standard_error_whose_reader_is_gone_stops_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut setup = Setup::new();
    setup.command.stderr(writer);
    let mut daemon = setup.start();
    drop(reader);
    daemon.add("svc", "exec sleep 1000");
    daemon.tell("svc", "restart");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn r48_a_crowd_that_floods_and_vanishes_leaves_the_daemon_as_it_was() {
    let daemon = Daemon::start();
    for _ in 0..10 {
        let crowd: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(&daemon.socket).unwrap()).collect();
        for mut stream in &crowd {
            let _ = stream
                .write_all(b"{\"id\":1,\"method\":\"list\"}\nnonsense\n{\"id\":2,\"method\":\"events\",\"params\":{\"follow\":true}}\n");
        }
    }
    serves(&daemon);
}

/// What must go on whatever other services do: clients are answered, and a service that is well is looked after.
fn looks_after_the_healthy(daemon: &Daemon) {
    let mut client = daemon.client();
    for _ in 0..5 {
        let row = daemon.wait("healthy", "running");
        kill(pid_of(&row), Signal::SIGKILL).unwrap();
        until("the healthy one runs again", || {
            let now = &client.call("list", &json!({"services": ["healthy"]}))[0];
            (now["status"] == "running" && now["pid"] != row["pid"]).then_some(())
        });
    }
}

fn healthy() -> Value {
    shell("healthy", "exec sleep 1000", &json!({"restart": {"interval": "0s"}}))
}

/// Its limit is of a user whom nobody else uses, so that the storm stays its own.
#[test]
fn r50_a_service_that_forks_without_end_takes_no_more_than_its_limit_and_is_ended_whole() {
    if other_user().is_none() {
        return;
    }
    let uid = 20_000 + std::process::id() % 40_000;
    let storm = "while :; do (while :; do : | :; done) & done 2> /dev/null";
    let keys = json!({"user": format!("{uid}:{uid}"), "limits": {"nproc": 50}, "restart": {"interval": "0s"}});
    let daemon = Setup::new().services(&[healthy(), shell("storm", storm, &keys)]).start();
    until("the limit is reached", || (daemon.row("storm")["crashes"].as_u64() > Some(0) || daemon.descendants().len() > 40).then_some(()));
    looks_after_the_healthy(&daemon);
    daemon.tell("storm", "stop");
    assert_eq!(daemon.descendants().len(), 1, "{:?}", daemon.descendants());
}

#[test]
fn r35_thousands_of_ends_a_second_keep_nobody_from_being_heard() {
    let mut services: Vec<Value> =
        (0..10).map(|number| shell(&format!("storm-{number}"), "exit 1", &json!({"restart": {"interval": "0s"}}))).collect();
    services.push(shell("orphans", "while :; do (: & : & : & : &); done", &json!({})));
    services.push(healthy());
    let mut daemon = Setup::new().services(&services).start();
    until("the storm rises", || (daemon.row("storm-9")["restarts"].as_u64() > Some(20)).then_some(()));
    looks_after_the_healthy(&daemon);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn r35_five_hundred_services_that_crash_without_end_do_not_keep_the_daemon_from_answering() {
    let policy = json!({"policy": "always", "interval": 0});
    let services: Vec<Value> = (0..500).map(|n| json!({"name": format!("s{n}"), "command": "false", "restart": policy})).collect();
    let daemon = Setup::new().services(&services).env("PPM_LOG", "error").start();
    until("every service to have crashed", || {
        let rows = daemon.call("list", &json!({}));
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), services.len());
        rows.iter().all(|row| row["crashes"].as_u64() > Some(1)).then_some(())
    });
    serves(&daemon);
    let stopped = daemon.call("stop", &json!({"services": ["all"]}));
    assert_eq!(stopped["failed"], json!([]));
}

/// Whoever is stopped between becoming that user and executing its program holds nobody else.
#[test]
fn r9_a_service_that_stops_all_of_its_user_without_end_does_not_stop_the_daemon() {
    const STARTS: usize = 100;
    if other_user().is_none() {
        return;
    }
    let uid = 20_000 + std::process::id() % 40_000;
    let keys = json!({"user": format!("{uid}:{uid}"), "stop": {"timeout": "200ms"}});
    let stopper = "trap '' CONT; while :; do kill -s STOP -- -1; done 2> /dev/null";
    let daemon = Setup::new().services(&[shell("stopper", stopper, &keys), shell("victim", "exec sleep 1000", &keys), healthy()]).start();
    until("the victim is stopped", || (daemon.row("victim")["status"] == "stopped").then_some(()));
    let mut client = daemon.client();
    for _ in 0..STARTS {
        let id = client.send("restart", &json!({"services": ["victim"]}));
        client.reply(id).unwrap();
    }
    looks_after_the_healthy(&daemon);
}
