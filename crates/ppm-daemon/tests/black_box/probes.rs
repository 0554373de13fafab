//! Services that are probed, by real servers, programs and files.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, other_user, shell, until};

/// Runs until it is asked to end.
const SLEEPS: &str = "while :; do sleep 0.02; done";

fn probed(keys: &Value) -> Daemon {
    Setup::new().services(&[shell("web", SLEEPS, keys)]).start()
}

/// A server of pages that answers each connection with the next of these, and then with the last; and where it is.
fn server(answers: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answers[number.min(answers.len() - 1)]);
        }
    });
    port
}

/// The reason, once it is one that holds this.
fn reason(daemon: &Daemon, part: &str) -> String {
    until(part, || daemon.row("web")["reason"].as_str().filter(|reason| reason.contains(part)).map(str::to_owned))
}

#[test]
fn a_service_is_ready_when_its_port_takes_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = probed(&json!({"ready": {"tcp": port}}));
    assert_eq!(daemon.wait("web", "ready")["ready"], true);
    assert_eq!(daemon.row("web")["reason"], "started with the daemon");
    drop(listener);
}

#[test]
fn a_service_whose_port_is_closed_is_not_ready_and_says_why() {
    let setup = Setup::new();
    let path = setup.path("app.sock");
    let daemon = setup.services(&[shell("web", SLEEPS, &json!({"ready": {"tcp": format!("unix:{}", path.display())}}))]).start();
    reason(&daemon, "waiting to be ready: no such file or directory");
    let listener = UnixListener::bind(&path).unwrap();
    daemon.wait("web", "ready");
    drop(listener);
}

#[test]
fn a_service_is_ready_when_its_page_answers_as_it_should() {
    let port = server(&[
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nstarting",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nI am \r\n2\r\nUP\r\n0\r\n\r\n",
    ]);
    let url = format!("http://localhost:{port}/health");
    let daemon = probed(&json!({"ready": {"http": {"url": url, "status": 200, "body": "am UP"}}}));
    daemon.wait("web", "ready");
}

#[test]
fn a_service_is_ready_when_a_program_says_so_in_its_surroundings() {
    let check = ["/bin/sh", "-c", "echo no $NAME here; echo 1>&2; test -e go"];
    let daemon = probed(&json!({"ready": {"command": check}, "env": {"NAME": "file"}}));
    assert_eq!(reason(&daemon, "no file"), "waiting to be ready: exit code 1: no file here");
    fs::write(daemon.path("go"), "").unwrap();
    daemon.wait("web", "ready");
}

#[test]
fn a_program_that_cannot_be_run_is_told() {
    let daemon = probed(&json!({"ready": {"command": "no-such-program -x"}}));
    assert_eq!(reason(&daemon, "exec"), "waiting to be ready: exec: no such file: no-such-program");
}

#[test]
fn a_file_counts_that_was_made_or_changed_since_the_start() {
    let setup = Setup::new();
    let path = setup.path("ready");
    fs::write(&path, "").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    // Its change of time is itself a change: wait until that has become old too.
    until("a later tick of the clock", || {
        fs::write(setup.path("later"), "").unwrap();
        let time = |name: &str| {
            let found = fs::metadata(setup.path(name)).unwrap();
            found.ctime() * 1_000_000_000 + found.ctime_nsec()
        };
        (time("later") - time("ready") > 50_000_000).then_some(())
    });
    let daemon = setup.services(&[shell("web", SLEEPS, &json!({"ready": {"file": path}}))]).start();
    assert!(reason(&daemon, "older").ends_with("is older than this start"));
    fs::rename(&path, daemon.path("moved")).unwrap();
    assert!(reason(&daemon, "there is no").contains("/ready"));
    fs::rename(daemon.path("moved"), &path).unwrap();
    daemon.wait("web", "ready");
}

#[test]
fn who_takes_the_connection_and_says_nothing_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let daemon = probed(&json!({"health": {"http": url, "interval": "20ms", "timeout": "30ms", "retries": 2}, "restart": "never"}));
    let row = until("its end", || Some(daemon.row("web")).filter(|row| row["status"] == "crashed"));
    assert_eq!(row["reason"], "health: 2 of 2 probes failed: no answer within 30ms");
}

#[test]
fn an_answer_that_never_ends_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    let url = format!("http://127.0.0.1:{port}/");
    let daemon = probed(&json!({"ready": {"http": {"url": url, "body": "never"}}}));
    reason(&daemon, "it answered without the text `never`");
}

#[test]
fn a_program_that_hangs_is_killed_with_all_it_has_started() {
    let check = ["/bin/sh", "-c", "sleep 1000 & echo $! >> pids; sleep 1000"];
    let daemon = probed(&json!({"health": {"command": check, "interval": "10ms", "timeout": "2s", "retries": 1}, "restart": "never"}));
    let row = until("its end", || Some(daemon.row("web")).filter(|row| row["status"] == "crashed"));
    assert_eq!(row["reason"], "health: 1 of 1 probes failed: no answer within 2s");
    for pid in daemon.lines_in("pids") {
        until("the end of what the program has started", || (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(()));
    }
}

#[test]
fn a_program_that_ends_leaves_nothing_of_its_group_behind() {
    let check = ["/bin/sh", "-c", "sleep 1000 & echo $! > pid"];
    let daemon = probed(&json!({"ready": {"command": check}}));
    daemon.wait("web", "ready");
    let pid = &daemon.lines_in("pid")[0];
    until("the end of what the program has left", || (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(()));
}

#[test]
fn what_a_program_writes_is_nobodys_output_and_never_holds_it_up() {
    let check = ["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo far too much; exit 3"];
    let daemon = probed(&json!({"ready": {"command": check}}));
    assert_eq!(reason(&daemon, "exit code"), "waiting to be ready: exit code 3: far too much");
    assert!(!fs::read_to_string(daemon.path("stdout")).unwrap().contains("xxx"));
}

#[test]
fn a_probe_ends_with_its_service() {
    let daemon = probed(&json!({"ready": {"command": ["/bin/sh", "-c", "trap '' TERM; echo $$ > pid; while :; do sleep 1000; done"]}}));
    let pid = daemon.lines_in("pid")[0].clone();
    daemon.tell("web", "stop");
    until("the end of the program", || (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(()));
}

#[test]
fn health_makes_a_hung_service_start_again() {
    let port = server(&[b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 Oops\r\n\r\n", b"HTTP/1.1 500 Oops\r\n\r\n", b"HTTP/1.1 204 x\r\n\r\n"]);
    let health = json!({"http": format!("http://127.0.0.1:{port}/"), "interval": "20ms", "retries": 2});
    let daemon = probed(&json!({"health": health, "restart": {"interval": "10ms"}}));
    let row = until("a restart", || Some(daemon.row("web")).filter(|row| row["restarts"] == 1 && row["ready"] == true));
    assert_eq!(row["reason"], "restarted after health: 2 of 2 probes failed: it answered 500 Oops");
}

#[test]
fn many_services_are_probed_at_once() {
    let port = server(&[b"HTTP/1.1 200 OK\r\n\r\n"]);
    let service = |number: usize| json!({"name": format!("s{number}"), "command": "sleep 1000", "ready": {"tcp": port}});
    let services: Vec<Value> = (0..300).map(service).collect();
    let daemon = Setup::new().services(&services).start();
    let answer = daemon.call("wait", &json!({"services": ["all"], "for": "ready"}));
    assert_eq!(answer["services"].as_array().unwrap().len(), 300);
}

#[test]
fn names_that_cannot_be_looked_up_are_told() {
    let daemon = probed(&json!({"ready": {"tcp": "web.invalid:80"}}));
    assert_eq!(reason(&daemon, "there is no host"), "waiting to be ready: there is no host web.invalid");
}

/// Writes what is put into the file `say`, and what is put into `scold` to its error output, as soon as they are there.
const SPEAKS: &str = "\
    echo starting; while :; do
    if [ -e say ]; then cat say; rm say; fi
    if [ -e scold ]; then cat scold >&2; rm scold; fi
    sleep 0.02; done";

fn awaits(pattern: &str) -> Value {
    json!({"ready": {"log": pattern}, "log": {"memory": "64KiB"}})
}

/// Has the service say it, all at once.
fn put(daemon: &Daemon, file: &str, text: &str) {
    fs::write(daemon.path("new"), text).unwrap();
    fs::rename(daemon.path("new"), daemon.path(file)).unwrap();
    until("that it was said", || (!fs::exists(daemon.path(file)).unwrap()).then_some(()));
}

/// All that the service has written has been read, up to these words.
fn is_logged(daemon: &Daemon, words: &str) {
    until(words, || {
        let mut client = daemon.client();
        client.call("log", &json!({"services": ["web"]}));
        let mut found = false;
        loop {
            let told = client.line().unwrap();
            match told["method"].as_str() {
                Some("log") => found |= told["params"]["message"].as_str().is_some_and(|message| message.contains(words)),
                _ => return found.then_some(()),
            }
        }
    });
}

#[test]
fn a_service_is_ready_when_it_has_written_its_line_to_either_stream() {
    for file in ["say", "scold"] {
        let daemon = Setup::new().services(&[shell("web", SPEAKS, &awaits("listening on *:80?0"))]).start();
        assert_eq!(reason(&daemon, "no line"), "waiting to be ready: no line with `listening on *:80?0` yet");
        put(&daemon, file, "listening\non port :8080\nlistening on 8080\nenough\n");
        is_logged(&daemon, "enough");
        assert_eq!(daemon.row("web")["ready"], false);
        put(&daemon, file, "one\n[info] listening on 0.0.0.0:8080 (http)\ntwo\n");
        daemon.wait("web", "ready");
    }
}

#[test]
fn a_line_that_has_no_end_yet_says_that_a_service_is_ready_too() {
    let daemon = Setup::new().services(&[shell("web", SPEAKS, &awaits("> "))]).start();
    put(&daemon, "say", "prompt> ");
    daemon.wait("web", "ready");
}

#[test]
fn each_run_has_to_write_its_line_and_hooks_write_it_for_nobody() {
    let mut keys = awaits("ready at last");
    keys["hooks"] = json!({"post_start": ["/bin/sh", "-c", "echo ready at last; echo > hooked"]});
    let daemon = Setup::new().services(&[shell("web", SPEAKS, &keys)]).start();
    until("the hook", || fs::exists(daemon.path("hooked")).unwrap().then_some(()));
    is_logged(&daemon, "ready at last");
    assert_eq!(daemon.row("web")["ready"], false);
    put(&daemon, "say", "ready at last\n");
    daemon.wait("web", "ready");
    daemon.tell("web", "restart");
    is_logged(&daemon, "ready at last");
    assert_eq!(daemon.row("web")["ready"], false);
    put(&daemon, "say", "ready at last\n");
    daemon.wait("web", "ready");
}

#[test]
fn a_pattern_that_a_reload_brings_is_looked_for_without_a_restart() {
    let write = |pattern: &str| json!({"services": [shell("web", SPEAKS, &awaits(pattern))]});
    let daemon = Setup::new().config(&write("one")).start();
    let pid = daemon.wait("web", "running")["pid"].clone();
    daemon.reload(&write("two"));
    put(&daemon, "say", "one\n");
    is_logged(&daemon, "one");
    assert_eq!(daemon.row("web")["ready"], false);
    put(&daemon, "say", "two\n");
    assert_eq!(daemon.wait("web", "ready")["pid"], pid);
}

#[test]
fn a_line_that_a_flood_hides_from_the_log_says_that_a_service_is_ready_all_the_same() {
    let script = "yes flood | head -n 100000; echo ready at last; sleep 1000";
    let keys = json!({"ready": {"log": "ready at last"}, "log": {"memory": "64KiB", "rate_limit": "10KiB/s"}});
    let daemon = Setup::new().services(&[shell("web", script, &keys)]).start();
    daemon.wait("web", "ready");
}

/// Takes connections at the port that it is given, as soon as nobody else does, and writes `bound`: itself, or far from its
/// main process, in a session of its own.
const LISTENS: &str = "\
    import os, socket, sys, time\n\
    if len(sys.argv) > 2:\n\
    \x20   if os.fork(): time.sleep(1000)\n\
    \x20   os.setsid()\n\
    \x20   if os.fork(): os._exit(0)\n\
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n\
    while True:\n\
    \x20   try: s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); break\n\
    \x20   except OSError: time.sleep(0.02)\n\
    time.sleep(1000)\n";

fn has_python() -> bool {
    let is_there = std::process::Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("skipped: there is no python3 here");
    }
    is_there
}

#[test]
fn a_service_is_ready_when_it_holds_its_port_itself_and_whoever_holds_it_instead_is_named() {
    if !has_python() {
        return;
    }
    for how in [&[][..], &["far"]] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let word = port.to_string();
        let command: Vec<&str> = ["python3", "-c", LISTENS, &word].iter().chain(how).copied().collect();
        let services = [
            json!({"name": "web", "command": command, "ready": {"listen": port}}),
            shell("other", SLEEPS, &json!({"ready": {"listen": port}})),
        ];
        let daemon = Setup::new().services(&services).start();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let held = format!("waiting to be ready: port {port} is held by process {} ({}), which is no", std::process::id(), name.trim());
        assert!(reason(&daemon, "is held by").starts_with(&held));
        drop(listener);
        daemon.wait("web", "ready");
        let of_web = until("who holds it now", || {
            daemon.row("other")["reason"].as_str().filter(|reason| reason.ends_with(" of web")).map(str::to_owned)
        });
        assert!(of_web.starts_with(&format!("waiting to be ready: port {port} is held by process ")), "{of_web}");
        assert_eq!(daemon.row("other")["ready"], false);
    }
}

#[test]
fn that_the_holder_of_a_port_cannot_be_seen_is_told() {
    let Some(uid) = other_user() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = Setup::new().run_by(uid).services(&[shell("web", SLEEPS, &json!({"ready": {"listen": port}}))]).start();
    let why = "the daemon may not look at the files of other users' processes (CAP_SYS_PTRACE)";
    let reason = reason(&daemon, "CAP_SYS_PTRACE");
    assert_eq!(reason, format!("waiting to be ready: who holds port {port} cannot be seen: {why}"));
}

#[test]
fn a_port_that_nobody_holds_is_told() {
    // That of a connection: so nobody else gets it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = connection.local_addr().unwrap().port();
    let daemon = probed(&json!({"ready": {"listen": port}}));
    assert_eq!(reason(&daemon, "nobody"), format!("waiting to be ready: nobody listens on port {port}"));
}

#[test]
fn a_service_whose_port_is_held_by_another_is_not_well() {
    let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = probed(&json!({"health": {"listen": port, "interval": "10ms", "retries": 2}, "restart": "never"}));
    let row = until("its end", || Some(daemon.row("web")).filter(|row| row["status"] == "crashed"));
    assert!(
        row["reason"].as_str().unwrap().starts_with(&format!("health: 2 of 2 probes failed: port {port} is held by process ")),
        "{row}"
    );
}
