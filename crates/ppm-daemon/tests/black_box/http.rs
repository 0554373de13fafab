//! Strangers who look over HTTP: what they are told, and that they can do nothing else.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, PATIENCE, Setup, TIDY, shell, until};

const SLEEPS: &str = "exec sleep 1000";

/// A daemon with these services, and the path where it answers.
fn looked_at(services: &[Value]) -> (Daemon, PathBuf) {
    let setup = Setup::new();
    let path = setup.path("http.sock");
    (setup.config(&at(&path, services)).start(), path)
}

fn at(path: &Path, services: &[Value]) -> Value {
    json!({"http": format!("unix:{}", path.display()), "services": services})
}

/// A daemon that answers at a port that the kernel has chosen.
fn on_network(services: &[Value]) -> (Daemon, String) {
    let daemon = Setup::new().config(&json!({"http": "127.0.0.1:0", "services": services})).start();
    let address = until("it says where it answers", || {
        let said = daemon.stderr();
        said.split_once(", http ")?.1.split_once('\n').map(|(address, _)| address.to_owned())
    });
    (daemon, address)
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Everything up to the end of the connection, which must be an orderly one.
    fn read(mut from: impl Read) -> Answer {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or_else(|| panic!("{head}"));
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = until("it listens", || UnixStream::connect(path).ok()); // the daemon answers at its own socket before
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(path: &Path, page: &str) -> Answer {
    ask(path, &format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn ask(path: &Path, request: &str) -> Answer {
    let mut stream = connect(path);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(stream)
}

fn ask_at(address: &str, host: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    Answer::read(stream)
}

/// The value of the sample that begins like this.
fn value(metrics: &str, sample: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)).unwrap_or_else(|| panic!("no {sample} in\n{metrics}"));
    line.trim().parse().unwrap()
}

#[test]
fn strangers_may_look_and_do_nothing_else() {
    let (daemon, path) = looked_at(&[shell("web", SLEEPS, &json!({})), shell("bad", "exit 3", &json!({"restart": "never"}))]);
    daemon.wait("web", "running");
    until("bad has crashed", || (daemon.row("bad")["status"] == "crashed").then_some(()));
    for page in ["/healthz", "/livez", "/readyz?exclude=bad"] {
        let answer = get(&path, page);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{page}");
    }
    let answer = get(&path, "/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "[+]web ready\n[-]bad crashed: exit code 3\nreadyz check failed\n"));
    let snapshot: Value = serde_json::from_str(&get(&path, "/status.json").body).unwrap();
    assert_eq!((&snapshot["services"][1], &snapshot["ending"]), (&daemon.row("bad"), &json!(false)));
    let page = get(&path, "/");
    assert!(page.head.contains("Content-Type: text/html") && page.head.contains("Content-Security-Policy: default-src 'none'"));
    assert!(page.body.contains("<td class=\"name\">bad<td class=\"state crashed\">crashed"), "{}", page.body);
    let head = ask(&path, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for (request, status) in [
        ("POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 405),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shutdown\"}\n", 400),
        ("GET /shutdown HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ] {
        assert_eq!(ask(&path, request).status, status, "{request}");
    }
    assert_eq!(daemon.row("web")["status"], "running");
}

#[test]
fn metrics_are_what_promtool_takes_and_tell_of_the_whole_service() {
    let setup = Setup::new();
    let (path, folder) = (setup.path("http.sock"), setup.path("").display().to_string());
    let web = shell("web", "sleep 1000 & echo > started; wait", &json!({"ready": {"file": format!("{folder}started")}, "workdir": folder}));
    let job = shell("job", "exit 4", &json!({"schedule": "0 0 1 1 *", "restart": "never"}));
    let daemon = setup.config(&at(&path, &[web, job])).start();
    daemon.wait("web", "ready");
    daemon.tell("job", "start");
    daemon.wait("job", "stopped");
    let metrics = until("both processes are seen", || {
        let answer = get(&path, "/metrics");
        assert!(answer.status == 200 && answer.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", answer.head);
        (value(&answer.body, "ppm_service_processes{service=\"web\"}") == 2.0).then_some(answer.body)
    });
    for (sample, expected) in [
        ("ppm_service_state{service=\"web\",state=\"running\"}", 1.0),
        ("ppm_service_state{service=\"job\",state=\"crashed\"}", 1.0),
        ("ppm_service_up{service=\"job\"}", 0.0),
        ("ppm_service_exits_total{service=\"job\",code=\"4\"}", 1.0),
        ("ppm_service_last_run_success{service=\"job\"}", 0.0),
        ("ppm_service_restarts_total{service=\"web\",reason=\"backoff\"}", 0.0),
        ("ppm_service_ready_duration_seconds_count{service=\"web\"}", 1.0),
        ("ppm_config_last_reload_successful", 1.0),
    ] {
        assert_eq!(value(&metrics, sample), expected, "{sample}");
    }
    assert!(value(&metrics, "ppm_service_resident_memory_bytes{service=\"web\"}") > 0.0);
    assert!(value(&metrics, "ppm_service_next_run_timestamp_seconds{service=\"job\"}") > value(&metrics, "ppm_start_time_seconds"));
    fs::write(daemon.path("config.yml"), "services: [{name: x}]").unwrap();
    daemon.refused("reload", &json!({}));
    assert_eq!(value(&get(&path, "/metrics").body, "ppm_config_last_reload_successful"), 0.0);
    check_with_promtool(&metrics);
}

/// Where there is a promtool (Debian: `prometheus`), it must have nothing to say.
fn check_with_promtool(metrics: &str) {
    let piped =
        || Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = piped() else {
        eprintln!("skipped: there is no promtool");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn lines_that_were_left_out_of_a_log_are_counted() {
    let setup = Setup::new();
    let path = setup.path("http.sock");
    let flood = "i=0; while [ $i -lt 2000 ]; do echo a line of some length; i=$((i + 1)); done; exec sleep 1000";
    let mut config = at(&path, &[shell("web", flood, &json!({})), shell("quiet", SLEEPS, &json!({"log": false}))]);
    config["logger"] = json!({"rate_limit": "8KiB/s", "memory": "64KiB"});
    let _daemon = setup.config(&config).start();
    until("the loss is counted", || {
        let metrics = get(&path, "/metrics").body;
        assert!(!metrics.contains("ppm_service_log_dropped_lines_total{service=\"quiet\"}"), "{metrics}");
        let lost = metrics.lines().find_map(|line| line.strip_prefix("ppm_service_log_dropped_lines_total{service=\"web\"} "))?;
        (lost.parse::<u64>().unwrap() >= 1000).then_some(())
    });
}

#[test]
fn nobody_is_ready_any_more_as_soon_as_the_shutdown_begins() {
    let (mut daemon, path) = looked_at(&[shell("web", TIDY, &json!({}))]);
    daemon.lines_in("ready.web");
    assert_eq!(get(&path, "/readyz").status, 200);
    daemon.signal(Signal::SIGTERM);
    let answer = until("the shutdown has begun", || Some(get(&path, "/readyz")).filter(|answer| answer.status == 503));
    assert!(answer.body.starts_with("[-]ppm shutting down\n"), "{}", answer.body);
    assert_eq!(get(&path, "/healthz").status, 200, "whoever ends in order is alive");
    daemon.touch("go");
    assert_eq!(daemon.exit_code(), 0);
    assert!(!path.exists(), "the socket is gone with the daemon");
}

#[test]
fn a_hundred_who_say_nothing_keep_nobody_out() {
    let (daemon, path) = looked_at(&[shell("web", SLEEPS, &json!({}))]);
    let mut silent: Vec<UnixStream> = (0..100).map(|_| connect(&path)).collect();
    for _ in 0..10 {
        assert_eq!(get(&path, "/healthz").status, 200);
    }
    let files = daemon.open_files().len();
    assert!(files < 32 + 40, "{files} files are open");
    // The first of them were let go for those who came later.
    let mut heard = String::new();
    assert_eq!(silent[0].read_to_string(&mut heard).unwrap_or(0), 0);
    daemon.tell("web", "restart");
}

#[test]
fn who_takes_too_long_to_ask_is_told_so() {
    let (_daemon, path) = looked_at(&[]);
    let mut slow = connect(&path);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(Answer::read(slow).status, 408);
}

#[test]
fn heads_may_come_byte_by_byte_and_have_an_end() {
    let (daemon, path) = looked_at(&[]);
    let mut slow = connect(&path);
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Answer::read(slow).status, 200);

    let before = daemon.memory();
    let mut endless = connect(&path);
    endless.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let line = [b"X: ".as_slice(), &[b'x'; 1000], b"\r\n"].concat();
    // It is not heard to its end, and may be cut off while it still speaks.
    let told = (0..100_000).find_map(|_| endless.write_all(&line).err()).unwrap();
    assert!(matches!(told.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{told}");
    let mut exact = connect(&path);
    exact.write_all(&[b"GET / HTTP/1.1\r\nHost: a\r\n", line.repeat(9).as_slice(), b"\r\n"].concat()).unwrap();
    assert_eq!(Answer::read(exact).status, 431);
    assert!(daemon.memory() < before + (4 << 20), "{} bytes, {before} before", daemon.memory());
}

#[test]
fn one_answer_is_the_end_whatever_else_was_asked() {
    let (daemon, path) = looked_at(&[]);
    let answer = ask(&path, &"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500));
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert!(answer.head.contains("Connection: close"));
    // Who has nothing more to say may still listen.
    let mut half = connect(&path);
    half.write_all(b"GET /status.json HTTP/1.0\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Answer::read(half).status, 200);
    // And who asks and goes is forgotten.
    for _ in 0..300 {
        connect(&path).write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    assert_eq!(get(&path, "/healthz").status, 200);
    daemon.call("list", &json!({}));
}

#[test]
fn a_page_of_another_site_cannot_look_at_what_is_local() {
    let (_daemon, address) = on_network(&[]);
    assert_eq!(ask_at(&address, &address).status, 200);
    assert_eq!(ask_at(&address, "localhost:9180").status, 200);
    let answer = ask_at(&address, "evil.example");
    assert_eq!((answer.status, answer.body.as_str()), (403, "this is not `evil.example`: ask for 127.0.0.1 or localhost\n"));
}

#[test]
fn the_socket_is_for_the_own_user_and_a_stale_one_is_replaced() {
    let setup = Setup::new();
    let path = setup.path("http.sock");
    drop(UnixListener::bind(&path).unwrap());
    let daemon = setup.config(&at(&path, &[])).start();
    assert_eq!(get(&path, "/healthz").status, 200);
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let daemon = daemon.ended();
    assert!(!path.exists(), "{}", daemon.stderr());
}

#[test]
fn an_address_that_cannot_be_had_is_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = json!({"http": address, "services": [shell("web", "echo > started", &json!({}))]});
    let mut daemon = Setup::new().config(&config).launch();
    assert_eq!((daemon.exit_code(), daemon.path("started").exists()), (73, false));
    let said = daemon.stderr();
    assert!(
        said.contains(&format!("error: cannot answer HTTP at {address}: address already in use\n  hint: another program has the port")),
        "{said}"
    );

    let setup = Setup::new();
    let path = setup.path("file");
    fs::write(&path, "precious").unwrap();
    let (code, said) = setup.config(&at(&path, &[])).fail();
    assert!(code == 73 && said.contains("there is a file that is not a socket"), "{code}: {said}");

    let setup = Setup::new();
    let path = setup.path("http.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let (code, said) = setup.config(&at(&path, &[])).fail();
    assert!(code == 73 && said.contains("address already in use"), "{code}: {said}");
}

#[test]
fn r61_a_reload_moves_the_address_and_one_that_is_taken_changes_nothing() {
    let (daemon, old) = looked_at(&[shell("web", SLEEPS, &json!({}))]);
    let pid = daemon.wait("web", "running")["pid"].clone();
    let new = daemon.path("new.sock");
    let services = [shell("web", SLEEPS, &json!({})), shell("more", SLEEPS, &json!({}))];
    let _other = UnixListener::bind(&new).unwrap();
    fs::write(daemon.path("config.yml"), at(&new, &services).to_string()).unwrap();
    let error = daemon.refused("reload", &json!({}));
    let message = format!("cannot answer HTTP at unix:{}: address already in use; nothing was changed", new.display());
    assert_eq!((&error["message"], error["data"]["hint"].is_string()), (&json!(message), true), "{error}");
    assert_eq!((get(&old, "/healthz").status, daemon.call("list", &json!({})).as_array().unwrap().len()), (200, 1));

    let newer = daemon.path("newer.sock");
    daemon.reload(&at(&newer, &services));
    assert_eq!((get(&newer, "/healthz").status, old.exists(), new.exists()), (200, false, true));
    daemon.reload(&json!({"services": services}));
    assert!(!newer.exists() && UnixStream::connect(&newer).is_err());
    daemon.reload(&at(&newer, &services));
    assert_eq!(get(&newer, "/healthz").status, 200);
    assert_eq!(daemon.row("web")["pid"], pid);
}

#[test]
fn an_address_is_opened_to_others_under_its_port() {
    let (daemon, address) = on_network(&[]);
    let (_, port) = address.rsplit_once(':').unwrap();
    daemon.reload(&json!({"http": format!("0.0.0.0:{port}")}));
    assert_eq!(ask_at(&address, "any.name").status, 200);
    daemon.reload(&json!({"http": format!("localhost:{port}")}));
    assert_eq!(ask_at(&address, "any.name").status, 403);
}

#[test]
fn whoever_asks_for_no_port_has_no_thread_for_one() {
    let threads = |daemon: &Daemon| -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid)).unwrap();
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap()).collect()
    };
    let daemon = Daemon::start();
    assert!(!threads(&daemon).contains(&"http\n".to_owned()), "{:?}", threads(&daemon));
    let (daemon, path) = looked_at(&[]);
    assert_eq!(get(&path, "/healthz").status, 200); // it has begun, and given itself its name
    assert!(threads(&daemon).contains(&"http\n".to_owned()), "{:?}", threads(&daemon));
}

#[test]
fn those_who_ask_without_end_and_do_not_read_keep_nobody_out() {
    let services: Vec<Value> = (0..300).map(|number| shell(&format!("s{number}"), "true", &json!({"autostart": false}))).collect();
    let (daemon, path) = looked_at(&services);
    // More than a socket takes, so that the answers wait.
    let unread: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = connect(&path);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for page in ["/healthz", "/readyz", "/status.json", "/metrics"] {
        assert_eq!(get(&path, page).status, 200, "{page}");
    }
    daemon.call("list", &json!({}));
    drop(unread);
}
