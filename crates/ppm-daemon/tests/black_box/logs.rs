//! The output of services in files: all of it, whatever happens to the service, the files and the daemon.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, shell, until};

/// Who wrote a piece of a log file, as its index says.
const STDOUT: u64 = 0;
const STDERR: u64 = 1;

/// The length of the header of an index, and of a record.
const HEADER: usize = 16;
const RECORD: usize = 16;

fn with_logger(setup: Setup, logger: &Value, services: &[Value]) -> Setup {
    let folder = setup.path("log");
    let mut keys = json!({"path": folder});
    keys.as_object_mut().unwrap().extend(logger.as_object().unwrap().clone());
    setup.config(&json!({"logger": keys, "services": services}))
}

fn start(logger: &Value, services: &[Value]) -> Daemon {
    with_logger(Setup::new(), logger, services).start()
}

/// A service that is run once, and only when asked.
fn task(name: &str, script: &str) -> Value {
    shell(name, script, &json!({"restart": "never", "autostart": false}))
}

fn run(daemon: &Daemon, name: &str) {
    daemon.tell(name, "start");
    daemon.wait(name, "stopped");
}

/// The log files of a service, oldest first.
fn files(folder: &Path, service: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    found.retain(|path| name(path).starts_with(&format!("{service}-2")) && name(path).ends_with(".log"));
    found.sort();
    found
}

fn content(folder: &Path, service: &str) -> Vec<u8> {
    files(folder, service).iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

fn text(folder: &Path, service: &str) -> String {
    String::from_utf8(content(folder, service)).unwrap()
}

/// What a service wrote to one of its streams, by the indices.
fn stream(folder: &Path, service: &str, wanted: u64) -> Vec<u8> {
    let mut all = Vec::new();
    for path in files(folder, service) {
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().replace(".log", ".idx");
        let index = fs::read(path.with_file_name(format!(".{name}"))).unwrap();
        assert!(index.starts_with(b"ppm-idx1"));
        let mut told = 0;
        for record in index[HEADER..].chunks_exact(RECORD) {
            let number =
                |range: std::ops::Range<usize>| record[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            let (source, end, length) =
                (number(0..6) >> 46, usize::try_from(number(6..12)).unwrap(), usize::try_from(number(12..16)).unwrap());
            assert_eq!(end - length, told, "a piece is missing in the index of {}", path.display());
            told = end;
            all.extend_from_slice(if source == wanted { &bytes[end - length..end] } else { &[] });
        }
        assert_eq!(told, bytes.len(), "the end is missing in the index of {}", path.display());
    }
    all
}

/// The same bytes for the same seed; `\n` is one of `lines`.
fn noise(seed: u64, length: usize, lines: u64) -> Vec<u8> {
    let mut state = seed;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (state >> 40).is_multiple_of(lines) { b'\n' } else { u8::try_from(state >> 56).unwrap() }
    };
    (0..length).map(byte).collect()
}

#[test]
fn whatever_bytes_a_service_writes_are_in_its_files_over_rotations_and_restarts() {
    let keys = json!({"max_files": 100_000, "max_file_size": "7KiB", "max_total_size": 0});
    let daemon = start(&keys, &[task("web", "cat out; cat err >&2")]);
    let folder = daemon.path("log");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    // Lines that fit, that are longer than a file, than what is read at once, and no line at all.
    for (round, lines) in [40, 20_000, 300_000, u64::MAX].into_iter().enumerate() {
        let written = [noise(round as u64, 250_000, lines), noise(round as u64 + 50, 30_000, lines)];
        fs::write(daemon.path("out"), &written[0]).unwrap();
        fs::write(daemon.path("err"), &written[1]).unwrap();
        out.extend_from_slice(&written[0]);
        err.extend_from_slice(&written[1]);
        run(&daemon, "web");
    }
    let _kept = daemon.ended();
    for (found, written) in [(stream(&folder, "web", STDOUT), out), (stream(&folder, "web", STDERR), err)] {
        let differs = found.iter().zip(&written).position(|(found, written)| found != written);
        assert_eq!((found.len(), differs), (written.len(), None));
    }
    let files = files(&folder, "web");
    assert!(files.len() > 50, "{} files", files.len());
    for path in files.iter().rev().skip(1) {
        let bytes = fs::read(path).unwrap();
        assert!(bytes.ends_with(b"\n") && bytes.len() <= 2 * 7 * 1024 + 100, "{}: {}", path.display(), bytes.len());
    }
}

#[test]
fn r42_what_a_killed_service_wrote_before_is_in_its_file() {
    let daemon = start(&json!({}), &[task("web", "head -c 60000 /dev/zero; echo; echo last; echo > written; kill -9 $$")]);
    run(&daemon, "web");
    let folder = daemon.path("log");
    until("all is in the file", || content(&folder, "web").ends_with(b"\0\nlast\n").then_some(()));
    assert_eq!(content(&folder, "web").len(), 60_006);
}

#[test]
fn r42_a_service_has_ended_although_somebody_else_holds_its_output() {
    // The other one is of another session, and so of another group.
    let daemon = start(
        &json!({}),
        &[task(
            "web",
            "setsid sh -c 'echo > held; while [ ! -e go ]; do sleep 0.02; done' & while [ ! -e held ]; do sleep 0.02; done; echo done",
        )],
    );
    run(&daemon, "web");
    let folder = daemon.path("log");
    until("its line is in the file", || (text(&folder, "web") == "done\n").then_some(()));
    run(&daemon, "web");
    until("its line is in the file again", || (text(&folder, "web") == "done\ndone\n").then_some(()));
    daemon.touch("go");
}

#[test]
fn an_unfinished_line_is_ended_before_the_next_run_writes() {
    let daemon = start(&json!({}), &[task("web", "printf one")]);
    let folder = daemon.path("log");
    for expected in ["one", "one\none", "one\none\none"] {
        run(&daemon, "web");
        until(expected, || (text(&folder, "web") == expected).then_some(()));
    }
}

#[test]
fn the_beginning_of_a_line_does_not_wait_for_ever() {
    let daemon = start(&json!({}), &[shell("web", "printf 'password: '; sleep 1000", &json!({}))]);
    let folder = daemon.path("log");
    until("the prompt is in the file", || (text(&folder, "web") == "password: ").then_some(()));
}

#[test]
fn another_daemon_goes_on_in_the_same_file() {
    let services = [task("web", "echo line; printf rest")];
    let daemon = start(&json!({}), &services);
    run(&daemon, "web");
    let (folder, kept) = (daemon.path("log"), daemon.ended());
    assert_eq!(text(&folder, "web"), "line\nrest");
    let next = Setup::new();
    let keys = json!({"path": folder});
    let daemon = next.config(&json!({"logger": keys, "services": services})).start();
    run(&daemon, "web");
    until("both runs are in one file", || (text(&folder, "web") == "line\nrest\nline\nrest").then_some(()));
    assert_eq!(files(&folder, "web").len(), 1);
    drop(daemon);
    drop(kept);
}

#[test]
fn only_so_many_files_and_bytes_are_kept() {
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $PPM_SERVICE $i; done; echo end of $PPM_SERVICE";
    let services: Vec<Value> = ["a", "b", "c"].map(|name| task(name, script)).into();
    let daemon = start(&json!({"max_files": 2, "max_file_size": "4KiB", "max_total_size": "10KiB"}), &services);
    let folder = daemon.path("log");
    for name in ["a", "b", "c"] {
        run(&daemon, name);
    }
    let _kept = daemon.ended();
    for name in ["a", "b", "c"] {
        let content = content(&folder, name);
        assert!(content.is_empty() || content.ends_with(format!("end of {name}\n").as_bytes()));
        assert!(files(&folder, name).len() <= 2);
    }
    let size: usize = ["a", "b", "c"].iter().map(|name| content(&folder, name).len()).sum();
    assert!(size <= 10 * 1024 && size > 4 * 1024, "{size}");
    let indices = fs::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert!(indices.count() <= 6, "indices go with their files");
}

#[test]
fn one_service_alone_cannot_take_more_than_all_may() {
    let daemon =
        start(&json!({"max_total_size": "20KiB"}), &[task("web", "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line $i; done")]);
    run(&daemon, "web");
    let folder = daemon.path("log");
    let _kept = daemon.ended();
    let content = content(&folder, "web");
    assert!(content.ends_with(b"line 9000\n") && content.len() <= 20 * 1024, "{}", content.len());
}

#[test]
fn usr1_begins_a_new_file_where_the_old_one_was_moved_away() {
    let daemon = start(&json!({}), &[task("web", "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two")]);
    let folder = daemon.path("log");
    daemon.tell("web", "start");
    until("one", || (text(&folder, "web") == "one\n").then_some(()));
    let old = files(&folder, "web").remove(0);
    fs::rename(&old, daemon.path("moved")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    let moved = fs::canonicalize(daemon.path("moved")).unwrap();
    until("the old one is closed", || (!daemon.open_files().contains(&moved)).then_some(()));
    daemon.touch("go");
    until("two", || (text(&folder, "web") == "two\n").then_some(()));
    assert_eq!(fs::read_to_string(daemon.path("moved")).unwrap(), "one\n");
}

#[test]
fn a_folder_that_was_removed_is_made_again() {
    let daemon = start(&json!({}), &[task("web", "i=0; while [ ! -e go ]; do i=$((i+1)); echo $i; sleep 0.02; done")]);
    let folder = daemon.path("log");
    daemon.tell("web", "start");
    until("output", || (!content(&folder, "web").is_empty()).then_some(()));
    fs::remove_dir_all(&folder).unwrap();
    until("output again", || (!content(&folder, "web").is_empty()).then_some(()));
    daemon.touch("go");
}

#[test]
fn r44_a_folder_that_cannot_be_used_costs_output_and_one_warning_but_no_service() {
    let services: Vec<Value> = ["a", "b"]
        .map(|name| shell(name, "i=0; while [ ! -e go ]; do i=$((i+1)); echo line $i; sleep 0.02; done; sleep 1000", &json!({})))
        .into();
    let setup = Setup::new();
    fs::write(setup.path("log"), "not a folder").unwrap();
    let daemon = with_logger(setup, &json!({}), &services).start();
    let folder = daemon.path("log");
    let shown = folder.display();
    let warning = format!("cannot write logs in {shown}: file exists; output goes to standard output until it can be written again");
    until("a warning", || daemon.stderr().contains(&warning).then_some(()));
    fs::remove_file(&folder).unwrap();
    for name in ["a", "b"] {
        until("its log is written again", || (text(&folder, name).lines().count() > 3).then_some(()));
        assert_eq!(daemon.row(name)["restarts"], 0);
    }
    daemon.touch("go");
    let all = [text(&folder, "a"), text(&folder, "b")].concat();
    assert!(
        all.contains(" bytes are missing here: file exists]\n") && daemon.stderr().contains(": its log can be written again; "),
        "{all}"
    );
    assert_eq!(daemon.stderr().matches("cannot write logs in").count(), 1, "{}", daemon.stderr());
}

#[test]
fn r44_a_full_disk_costs_output_but_no_service_and_heals() {
    let Some(setup) = Setup::with_mounts("mkdir log && mount -t tmpfs -o size=64k none log") else { return };
    let script = "while [ ! -e go ]; do head -c 8000 /dev/zero | tr '\\0' x; echo; sleep 0.01; done; while [ ! -e stop ]; do echo small; sleep 0.02; done; sleep 1000";
    let setup = with_logger(setup, &json!({}), &[shell("web", script, &json!({}))]);
    let daemon = setup.start();
    until("a warning", || daemon.stderr().contains("no space left on device").then_some(()));
    daemon.touch("go");
    // Somebody makes room.
    let folder = format!("/proc/{}/root{}", daemon.pid, daemon.path("log").display());
    until("the full file is gone", || files(Path::new(&folder), "web").first().and_then(|path| fs::remove_file(path).ok()));
    until("it is written again", || daemon.stderr().contains("web: its log can be written again; ").then_some(()));
    assert_eq!(daemon.row("web")["restarts"], 0);
    daemon.touch("stop");
}

#[test]
fn a_limit_of_the_process_to_the_size_of_files_only_makes_smaller_files() {
    let setup = Setup::new().through_shell("ulimit -f 16");
    let setup =
        with_logger(setup, &json!({"max_files": 100}), &[task("web", "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line $i; done")]);
    let daemon = setup.start();
    run(&daemon, "web");
    let folder = daemon.path("log");
    until("the end is there", || content(&folder, "web").ends_with(b"line 9000\n").then_some(()));
    assert!(files(&folder, "web").len() > 3 && text(&folder, "web").lines().count() == 9000);
}

#[test]
fn without_a_logger_there_is_no_thread_for_it_and_output_goes_where_the_daemons_goes() {
    let daemon = Setup::new().services(&[task("web", "echo out; echo err >&2")]).start();
    run(&daemon, "web");
    until("its output", || (fs::read_to_string(daemon.path("stdout")).unwrap() == "out\n").then_some(()));
    assert!(daemon.stderr().contains("err\n"), "{}", daemon.stderr());
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid)).unwrap().flatten();
    let names: Vec<String> = threads.map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap()).collect();
    assert_eq!(names, ["ppm-daemon\n", "loop\n"]);
}

#[test]
fn a_service_can_do_without_and_have_limits_and_a_folder_of_its_own() {
    let script = "echo $PPM_SERVICE";
    let with = |name: &str, log: Value| shell(name, script, &json!({"restart": "never", "autostart": false, "log": log}));
    let setup = Setup::new();
    let own = setup.path("own/${PPM_SERVICE}");
    let daemon =
        with_logger(setup, &json!({}), &[with("a", json!(true)), with("b", json!(false)), with("c", json!({"path": own}))]).start();
    for name in ["a", "b", "c"] {
        run(&daemon, name);
    }
    until("each where it belongs", || {
        let found = [text(&daemon.path("log"), "a"), fs::read_to_string(daemon.path("stdout")).unwrap(), text(&daemon.path("own/c"), "c")];
        (found == ["a\n", "b\n", "c\n"]).then_some(())
    });
}

#[test]
fn a_reload_changes_limits_and_folders_of_what_runs() {
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done";
    let setup = Setup::new();
    let config = setup.path("config.yml");
    let write = |folder: &str| {
        let keys = json!({"path": config.with_file_name(folder)});
        json!({"logger": keys, "services": [shell("web", script, &json!({}))]})
    };
    let daemon = setup.config(&write("log")).start();
    until("the old folder", || (!content(&daemon.path("log"), "web").is_empty()).then_some(()));
    fs::write(daemon.path("config.yml"), write("other").to_string()).unwrap();
    let answer = daemon.call("reload", &json!({}));
    assert_eq!((&answer["services"][0]["action"], &answer["services"][0]["changes"]), (&json!("update"), &json!(["log"])));
    until("the new folder", || (!content(&daemon.path("other"), "web").is_empty()).then_some(()));
    assert_eq!(daemon.row("web")["restarts"], 0);
}

#[test]
fn r6_a_service_of_another_user_can_open_its_standard_streams() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can give a service another user");
        return;
    }
    let more = json!({"restart": "never", "autostart": false, "user": 12345});
    let daemon = start(&json!({}), &[shell("web", "echo out > /dev/stdout; echo err > /dev/stderr", &more)]);
    run(&daemon, "web");
    let folder = daemon.path("log");
    until("both lines", || (text(&folder, "web").lines().count() == 2).then_some(()));
}

/// The lines that a log has now.
fn read(daemon: &Daemon, params: &Value) -> Vec<Value> {
    let mut client = daemon.client();
    client.call("log", params);
    let mut lines = Vec::new();
    loop {
        let told = client.line().unwrap();
        match told["method"].as_str().unwrap() {
            "log" => lines.push(told["params"].clone()),
            end => {
                assert_eq!((end, &told["params"]["error"]), ("end", &Value::Null));
                return lines;
            }
        }
    }
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[test]
fn log_tells_each_line_with_its_time_and_stream() {
    let daemon = start(&json!({}), &[task("web", "echo one; echo two >&2; printf '\\377 three'; echo >&2")]);
    let before = jiff_now(&daemon);
    run(&daemon, "web");
    let lines = read(&daemon, &json!({"services": ["web"]}));
    let found: Vec<(&str, &str)> = lines.iter().map(|line| (line["stream"].as_str().unwrap(), line["message"].as_str().unwrap())).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [("stderr", ""), ("stderr", "two"), ("stdout", "one"), ("stdout", "\u{fffd} three")]);
    for line in &lines {
        assert!(line["time"].as_str().unwrap() >= before.as_str() && line["service"] == "web" && line["id"] == 1, "{line}");
        let is_odd = line["message"] == "\u{fffd} three";
        assert_eq!(line.get("bytes").is_some_and(|bytes| bytes[0] == 255), is_odd, "{line}");
    }
    assert_eq!(messages(&read(&daemon, &json!({"services": ["web"], "stream": "stderr"}))), ["two", ""]);
}

/// The present as the daemon tells times.
fn jiff_now(daemon: &Daemon) -> String {
    daemon.add("clock", "true")["started_at"].as_str().unwrap().to_owned()
}

#[test]
fn the_last_lines_are_found_over_rotations_and_streams() {
    let script = "i=0; while [ $i -lt 900 ]; do i=$((i+1)); echo out $i; [ $((i%7)) = 0 ] && echo err $i >&2; done; true";
    let daemon = start(&json!({"max_files": 50, "max_file_size": "1KiB"}), &[task("web", script)]);
    run(&daemon, "web");
    let all = read(&daemon, &json!({"services": ["web"]}));
    assert_eq!(all.len(), 900 + 900 / 7);
    let out: Vec<&Value> = all.iter().filter(|line| line["stream"] == "stdout").collect();
    let err: Vec<&Value> = all.iter().filter(|line| line["stream"] == "stderr").collect();
    assert!(out.iter().zip(1..).all(|(line, number)| line["message"] == format!("out {number}")));
    for last in [0, 1, 2, 13, 127, 128, 500, 2000] {
        let found = read(&daemon, &json!({"services": ["web"], "last": last}));
        assert_eq!(found, all[all.len().saturating_sub(last)..], "the last {last}");
        for (stream, of_stream) in [("stdout", &out), ("stderr", &err)] {
            let found = read(&daemon, &json!({"services": ["web"], "last": last, "stream": stream}));
            assert!(found.iter().eq(of_stream[of_stream.len().saturating_sub(last)..].iter().copied()), "the last {last} of {stream}");
        }
    }
    let middle = all[400]["time"].clone();
    let since = read(&daemon, &json!({"services": ["web"], "since": middle}));
    let until = read(&daemon, &json!({"services": ["web"], "until": middle}));
    assert_eq!([until, since].concat(), all);
}

#[test]
fn a_follower_hears_over_rotations_restarts_and_even_removal() {
    let script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; done";
    let daemon = start(&json!({"max_files": 50, "max_file_size": "100"}), &[task("web", script)]);
    let mut client = daemon.client();
    // From the first line on: with none of what was written before, what is written while the reading begins may count as that.
    client.call("log", &json!({"services": ["web"], "follow": true, "last": 1000}));
    let mut hear = || {
        for number in 1..=40 {
            assert_eq!(client.line().unwrap()["params"]["message"], format!("line {number}"));
        }
    };
    run(&daemon, "web");
    hear();
    run(&daemon, "web");
    hear();
    daemon.tell("web", "remove");
    daemon.add("web", script);
    hear();
}

#[test]
fn who_follows_from_now_on_misses_nothing_that_is_written_after_the_answer() {
    let daemon = start(
        &json!({"memory": "64KiB"}),
        &[shell("files", "sleep 1000", &json!({})), shell("memory", "sleep 1000", &json!({"log": {"path": "/dev/null/none"}}))],
    );
    for name in ["files", "memory"] {
        let output = format!("/proc/{}/fd/1", daemon.wait(name, "running")["pid"]);
        let mut output = fs::File::options().write(true).open(output).unwrap();
        for number in 0..15 {
            let mut client = daemon.client();
            client.call("log", &json!({"services": [name], "follow": true, "last": 0}));
            writeln!(output, "line {number}").unwrap();
            assert_eq!(client.line().unwrap()["params"]["message"], format!("line {number}"));
        }
    }
}

#[test]
fn several_logs_are_one_in_the_order_of_time() {
    let daemon =
        start(&json!({}), &[task("a", "echo a1; echo > told; while [ ! -e go ]; do sleep 0.02; done; echo a2"), task("b", "echo b1")]);
    daemon.tell("a", "start");
    until("a has told", || daemon.path("told").exists().then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(5)); // times are told in milliseconds
    run(&daemon, "b");
    std::thread::sleep(std::time::Duration::from_millis(5));
    daemon.touch("go");
    daemon.wait("a", "stopped");
    assert_eq!(messages(&read(&daemon, &json!({"services": ["b", "a"]}))), ["a1", "b1", "a2"]);
    assert_eq!(messages(&read(&daemon, &json!({"services": ["all"], "last": 2}))), ["b1", "a2"]);
}

#[test]
fn the_daemons_own_log_can_be_read_and_followed() {
    let daemon = Setup::new().start();
    daemon.add("web", "true");
    daemon.wait("web", "stopped");
    let lines = read(&daemon, &json!({"services": ["ppm-daemon"]}));
    let messages = messages(&lines);
    assert!(messages[0].contains(", pid ") && messages[1] == "web: added", "{messages:?}");
    assert_eq!((&lines[1]["service"], &lines[1]["id"]), (&json!("ppm-daemon"), &Value::Null));
    let mut client = daemon.client();
    client.call("log", &json!({"services": ["ppm-daemon"], "follow": true, "last": 0}));
    daemon.add("next", "true");
    assert_eq!(client.line().unwrap()["params"]["message"], "next: added");
}

#[test]
fn r57_who_reads_slowly_is_waited_for_by_nobody_and_costs_no_memory() {
    let setup = Setup::new();
    fs::create_dir(setup.path("log")).unwrap();
    let line = format!("{}\n", "x".repeat(99));
    // Without an index: nobody knows when it was written.
    fs::write(setup.path("log/web-20260102T030405.678Z.log"), line.repeat(400_000)).unwrap();
    let daemon = with_logger(setup, &json!({"max_file_size": 0, "max_total_size": 0}), &[task("web", "echo more")]).start();
    let before = daemon.memory();
    let mut slow = daemon.client();
    slow.call("log", &json!({"services": ["web"], "follow": true}));
    run(&daemon, "web");
    let mut quick = daemon.client();
    quick.call("log", &json!({"services": ["web"], "last": 2}));
    let last = [quick.line().unwrap(), quick.line().unwrap()];
    assert_eq!((&last[0]["params"]["time"], &last[1]["params"]["message"]), (&Value::Null, &json!("more")));
    assert!(daemon.memory() < before + (4 << 20), "{} after {before}", daemon.memory());
    for _ in 0..400_000 {
        assert_eq!(slow.line().unwrap()["params"]["message"].as_str().unwrap().len(), 99);
    }
    assert_eq!(slow.line().unwrap()["params"]["message"], "more");
    assert!(daemon.memory() < before + (4 << 20), "{} after {before}", daemon.memory());
}

#[test]
fn whoever_has_gone_leaves_no_reader_behind() {
    let daemon = start(&json!({}), &[task("web", "true")]);
    let threads = || fs::read_dir(format!("/proc/{}/task", daemon.pid)).unwrap().count();
    let mut clients: Vec<_> = (0..33).map(|_| daemon.client()).collect();
    let query = json!({"services": ["web"], "follow": true});
    for client in &mut clients[..32] {
        client.call("log", &query);
    }
    let refused = clients[32].refused("log", &query);
    assert_eq!(refused["message"], "32 logs are being read already; wait for one to end");
    drop(clients);
    until("only the collector is left, beside the loop and who waits for it", || (threads() == 3).then_some(()));
    assert_eq!(read(&daemon, &json!({"services": ["web"]})), Vec::<Value>::new());
}

#[test]
fn a_line_that_is_longer_than_a_file_may_be_is_told_in_parts() {
    let daemon =
        start(&json!({"max_file_size": "1000", "max_files": 100}), &[task("web", "head -c 2500 /dev/zero | tr '\\0' x; echo; echo end")]);
    run(&daemon, "web");
    let lines = read(&daemon, &json!({"services": ["web"]}));
    let parts: Vec<(usize, bool)> = lines.iter().map(|line| (line["message"].as_str().unwrap().len(), line["partial"] == true)).collect();
    assert_eq!(parts, [(1000, true), (1000, true), (500, false), (3, false)]);
}

#[test]
fn the_console_has_each_line_with_its_service_and_files_have_the_bytes() {
    let plain = |name: &str| shell(name, "echo $PPM_SERVICE 1; printf 'no end'", &json!({"restart": "never", "autostart": false}));
    let json =
        shell("j", "printf '\\377 a\\tb'; echo; echo >&2", &json!({"restart": "never", "autostart": false, "log": {"format": "json"}}));
    let daemon = start(&json!({"console": true}), &[plain("longer"), plain("web"), json]);
    for name in ["longer", "web", "j"] {
        run(&daemon, name);
    }
    let daemon = daemon.ended();
    let console = fs::read_to_string(daemon.path("stdout")).unwrap();
    let lines: Vec<&str> = console.lines().collect();
    assert_eq!(lines[..4], ["longer | longer 1", "longer | no end", "web    | web 1", "web    | no end"]);
    let objects: Vec<Value> = lines[4..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<(&str, &str)> =
        objects.iter().map(|line| (line["stream"].as_str().unwrap(), line["message"].as_str().unwrap())).collect();
    assert!(found.contains(&("stdout", "\u{fffd} a\tb")) && found.contains(&("stderr", "")) && found.len() == 2, "{found:?}");
    assert!(objects.iter().all(|line| line["service"] == "j" && line["id"] == 3 && line["time"].is_string()));
    assert_eq!(text(&daemon.path("log"), "web"), "web 1\nno end");
}

#[test]
fn without_prefix_the_console_has_the_lines_as_they_are_and_with_json_parts_are_short() {
    let long = "head -c 20000 /dev/zero | tr '\\0' x; echo";
    let setup = Setup::new();
    let services = [
        shell("a", "echo one", &json!({"restart": "never", "log": {"prefix": false}})),
        shell("b", long, &json!({"restart": "never", "log": {"format": "json"}})),
    ];
    let daemon = setup.config(&json!({"logger": {"console": true}, "services": services})).start();
    daemon.wait("a", "stopped");
    daemon.wait("b", "stopped");
    let daemon = daemon.ended();
    let console = fs::read_to_string(daemon.path("stdout")).unwrap();
    assert!(console.lines().any(|line| line == "one"), "{console}");
    let parts: Vec<Value> = console.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(console.lines().all(|line| line.len() < 16 * 1024));
    let whole: String = parts.iter().map(|part| part["message"].as_str().unwrap()).collect();
    let is_partial: Vec<bool> = parts.iter().map(|part| part["partial"] == true).collect();
    let (last, others) = is_partial.split_last().unwrap();
    assert!(whole.len() == 20_000 && others.len() >= 2 && others.iter().all(|partial| *partial) && !last, "{is_partial:?}");
}

/// As a shell opens it for `ppm daemon > file 2>&1`.
#[test]
fn r46_a_file_that_is_the_console_of_all_loses_nobodys_lines() {
    let mut setup = Setup::new();
    let file = fs::File::create(setup.path("stderr")).unwrap();
    setup.command.stdout(file.try_clone().unwrap()).stderr(file);
    let counts = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo $PPM_SERVICE $i; done";
    let daemon = with_logger(setup, &json!({"console": true}), &[task("one", counts), task("two", counts)]).start();
    for _ in 0..5 {
        run(&daemon, "one");
        run(&daemon, "two");
    }
    let daemon = daemon.ended();
    let console = daemon.stderr();
    for service in ["one", "two"] {
        assert_eq!(console.matches(&format!("{service} | {service} ")).count(), 1000, "{console}");
        assert_eq!(console.matches(&format!("ppm | {service}: exit code 0")).count(), 5, "{console}");
    }
}

#[test]
fn r41_a_console_that_nobody_reads_holds_nobody_up_and_says_what_is_left_out() {
    let mut setup = Setup::new();
    let fifo = setup.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    setup.command.stdout(fs::File::options().write(true).open(&fifo).unwrap());
    let script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i; done";
    let daemon = with_logger(setup, &json!({"console": true}), &[task("web", script)]).start();
    run(&daemon, "web");
    assert_eq!(daemon.call("hello", &json!({}))["protocol"], 1);
    let mut seen = Vec::new();
    until("what was left out is told, and the last line", || {
        let mut block = vec![0; 65536];
        let count = std::io::Read::read(&mut reader, &mut block).unwrap();
        seen.extend_from_slice(&block[..count]);
        String::from_utf8_lossy(&seen).contains("web | line 60000\n").then_some(())
    });
    let seen = String::from_utf8(seen).unwrap();
    let number = |line: &str| line.strip_prefix("web | line ").map(|number| number.parse::<u64>().unwrap());
    let left_out: u64 = seen.lines().filter_map(|line| line.strip_prefix("ppm | ")?.split(' ').next()?.parse::<u64>().ok()).sum();
    let told: Vec<u64> = seen.lines().filter_map(number).collect();
    assert!(left_out > 0 && told.is_sorted() && u64::try_from(told.len()).unwrap() + left_out == 60_000, "{} + {left_out}", told.len());
    assert_eq!(text(&daemon.path("log"), "web").lines().count(), 60_000, "files have it all");
}

#[test]
fn r46_where_no_file_can_be_written_output_goes_to_the_console() {
    let setup = Setup::new();
    fs::write(setup.path("log"), "not a folder").unwrap();
    let daemon = with_logger(setup, &json!({}), &[task("web", "echo one; echo two")]).start();
    run(&daemon, "web");
    until("both lines", || (fs::read_to_string(daemon.path("stdout")).unwrap() == "web | one\nweb | two\n").then_some(()));
    assert_eq!(daemon.stderr().matches("cannot write logs in").count(), 1, "{}", daemon.stderr());
}

/// A daemon that keeps so much of each service in memory and nothing in files.
fn in_memory(memory: &str, services: &[Value]) -> Daemon {
    Setup::new().config(&json!({"logger": {"memory": memory}, "services": services})).start()
}

#[test]
fn r46_without_files_the_last_output_is_in_memory_over_restarts_and_until_the_service_is_removed() {
    let script = "echo one; echo two >&2; printf '\\377 three'";
    let daemon = in_memory("64KiB", &[task("web", script), task("other", "echo other")]);
    assert_eq!(read(&daemon, &json!({"services": ["web"]})), Vec::<Value>::new());
    run(&daemon, "web");
    run(&daemon, "web");
    let lines = read(&daemon, &json!({"services": ["web"]}));
    let of = |stream: &str| {
        messages(&lines).into_iter().zip(&lines).filter(|(_, line)| line["stream"] == stream).map(|(text, _)| text).collect::<Vec<_>>()
    };
    assert_eq!((of("stdout"), of("stderr")), (vec!["one", "\u{fffd} three", "one", "\u{fffd} three"], vec!["two", "two"]));
    assert!(lines.iter().all(|line| line["time"].is_string() && line["id"] == 1), "{lines:?}");
    assert_eq!(read(&daemon, &json!({"services": ["web"], "last": 3})), lines[3..]);
    assert_eq!(read(&daemon, &json!({"services": ["web"], "stream": "stderr", "last": 1}))[0]["message"], "two");
    assert_eq!(read(&daemon, &json!({"services": ["web"], "since": jiff_now(&daemon)})), Vec::<Value>::new());
    run(&daemon, "other");
    assert_eq!(messages(&read(&daemon, &json!({"services": ["all"], "last": 1}))), ["other"]);
    daemon.tell("web", "remove");
    daemon.add("web", "echo new");
    daemon.wait("web", "stopped");
    assert_eq!(messages(&read(&daemon, &json!({"services": ["web"]}))), ["new"]);
}

#[test]
fn memory_can_be_followed_over_restarts_and_removal_and_tells_what_it_did_not_keep() {
    let script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; done";
    let daemon = in_memory("4KiB", &[task("web", script)]);
    let mut client = daemon.client();
    client.call("log", &json!({"services": ["web"], "follow": true, "last": 1000}));
    let mut hear = || {
        for number in 1..=40 {
            assert_eq!(client.line().unwrap()["params"]["message"], format!("line {number}"));
        }
    };
    run(&daemon, "web");
    hear();
    run(&daemon, "web");
    hear();
    daemon.tell("web", "remove");
    daemon.add("web", script);
    hear();
    daemon.add("flood", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done");
    daemon.wait("flood", "stopped");
    let lines = read(&daemon, &json!({"services": ["flood"]}));
    assert!(lines.len() > 100 && lines.len() < 500 && lines.last().unwrap()["message"] == "line 3000", "{} lines", lines.len());
}

#[test]
fn r46_beside_files_memory_is_read_only_where_those_cannot_be_written() {
    let setup = Setup::new();
    fs::write(setup.path("log"), "not a folder").unwrap();
    let daemon = with_logger(setup, &json!({"memory": "16KiB"}), &[task("web", "echo one; echo two")]).start();
    run(&daemon, "web");
    assert_eq!(messages(&read(&daemon, &json!({"services": ["web"]}))), ["one", "two"]);
    fs::remove_file(daemon.path("log")).unwrap();
    run(&daemon, "web");
    let lines = read(&daemon, &json!({"services": ["web"]}));
    assert_eq!((messages(&lines), text(&daemon.path("log"), "web").as_str()), (vec!["one", "two"], "one\ntwo\n"), "memory has more");
}

#[test]
fn a_reload_changes_how_much_is_kept_and_ends_it() {
    let write = |logger: Value| json!({"logger": logger, "services": [shell("web", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; sleep 1000", &json!({}))]});
    let daemon = Setup::new().config(&write(json!({"memory": "64KiB"}))).start();
    let count = || read(&daemon, &json!({"services": ["web"]})).len();
    until("all lines", || (count() == 2000).then_some(()));
    let reload = |logger: Value| {
        fs::write(daemon.path("config.yml"), write(logger).to_string()).unwrap();
        daemon.call("reload", &json!({}))["services"][0]["action"].clone()
    };
    assert_eq!(reload(json!({"memory": "4KiB"})), "update");
    assert!(count() < 600 && daemon.row("web")["restarts"] == 0, "{}", count());
    assert_eq!(reload(json!({"memory": 0})), "restart");
    let refused = daemon.refused("log", &json!({"services": ["web"]}));
    assert!(refused["data"]["hint"].as_str().unwrap().contains("logger: {memory: 64KiB}"), "{refused}");
}

/// What a service wrote last before its last ends, as `why` tells it.
fn last_words(daemon: &Daemon, name: &str) -> Vec<Vec<String>> {
    let lives = daemon.call("why", &json!({"services": [name]}));
    let output = lives[0]["output"].as_array().cloned().unwrap_or_default();
    let ends: Vec<&Value> = lives[0]["events"].as_array().unwrap().iter().filter(|event| event["event"] == "exited").collect();
    let told = |words: &Value| {
        assert!(ends.iter().any(|end| end["pid"] == words["pid"] && end["time"] == words["ended"]), "{words} of {ends:?}");
        words["lines"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    output.iter().map(told).collect()
}

#[test]
fn why_tells_what_was_written_last_before_each_of_the_last_ends() {
    // Each run says how many there were, but one that says nothing.
    let script = "echo >> runs; run=$(wc -l < runs); [ $run = 3 ] && exit 1; for i in 1 2 3 4 5 6 7 8 9 10; do echo run $run line $i; done; printf 'end of %s' $run >&2; exit 1";
    let loggers = |folder: &Path| {
        [json!({"path": folder}), json!({"memory": "64KiB"}), json!({"path": folder, "max_file_size": "40", "max_files": 99})]
    };
    for number in 0..3 {
        let setup = Setup::new();
        let logger = loggers(&setup.path("log"))[number].clone();
        let daemon = setup.config(&json!({"logger": logger, "services": [task("web", script)]})).start();
        let run_of = |run: usize| -> Vec<String> {
            let lines = (2..=10).map(|line| format!("run {run} line {line}"));
            lines.chain([format!("end of {run}")]).collect()
        };
        let told = [vec![], vec![run_of(1)], vec![run_of(1), run_of(2)], vec![run_of(1), run_of(2)], vec![run_of(2), run_of(4)]];
        for expected in told {
            let mut found = last_words(&daemon, "web");
            found.iter_mut().for_each(|lines| lines.sort_by_key(|line| line.starts_with("end"))); // two streams are mixed as they come
            assert_eq!(found, expected, "with {logger}");
            run(&daemon, "web");
        }
    }
}

#[test]
fn why_is_bounded_and_tells_of_a_long_line_its_end() {
    let daemon = in_memory("64KiB", &[task("web", "head -c 20000 /dev/zero | tr '\\0' x; echo end; exit 3")]);
    run(&daemon, "web");
    let [words] = last_words(&daemon, "web").try_into().unwrap();
    assert_eq!((words.len(), words[0].len(), words[0].ends_with("xend")), (1, 4095, true));
}

#[test]
fn a_flood_is_cut_to_its_share_of_each_second_and_the_rest_is_told() {
    let script = "printf 'begun '; seq -f 'line %g' 3000; echo last >&2; sleep 1.1; echo after";
    let daemon = start(&json!({"rate_limit": "8KiB/s", "memory": "64KiB"}), &[task("web", script)]);
    run(&daemon, "web");
    let folder = daemon.path("log");
    let lines = read(&daemon, &json!({"services": ["web"]}));
    assert_eq!(text(&folder, "web").lines().collect::<Vec<_>>(), messages(&lines));
    let marks: Vec<&Value> = lines.iter().filter(|line| line["stream"] == "ppm").collect();
    let number = |text: &str, before: char| text.split(before).nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    let left_out: usize = marks.iter().map(|mark| number(mark["message"].as_str().unwrap(), '(')).sum();
    let written = "begun ".len() + (1..=3000).map(|i| format!("line {i}\n").len()).sum::<usize>() + "last\nafter\n".len();
    let kept: usize = lines.iter().filter(|line| line["stream"] != "ppm").map(|line| line["message"].as_str().unwrap().len() + 1).sum();
    assert_eq!(kept + left_out, written, "{marks:?}");
    assert!(left_out > 0 && lines.last().unwrap()["message"] == "after", "{marks:?}");
    assert!(marks[0]["message"].as_str().unwrap().ends_with(" bytes): more than 8KiB/s]"), "{marks:?}");
    assert_eq!(last_words(&daemon, "web")[0].last().unwrap(), "after");
}

#[test]
fn what_the_daemon_says_can_be_json_with_what_happened_in_fields() {
    let script = "echo $$; exit 3";
    let setup = Setup::new().env("PPM_LOG_FORMAT", "json").env("PPM_LOG", "debug").services(&[task("web", script)]);
    let daemon = setup.start();
    run(&daemon, "web");
    let daemon = daemon.ended();
    let lines: Vec<Value> = daemon.stderr().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["service"] == "ppm" && line["time"].is_string() && line["message"].is_string()), "{lines:?}");
    let exited = lines.iter().find(|line| line["event"] == "exited").unwrap();
    assert_eq!((&exited["level"], &exited["name"], &exited["id"]), (&json!("warn"), &json!("web"), &json!(1)));
    assert_eq!((&exited["from"], &exited["to"], &exited["exit"]), (&json!("running"), &json!("crashed"), &json!({"code": 3})));
    let text = exited["message"].as_str().unwrap();
    assert!(text.starts_with("web: exit code 3 after ") && text.ends_with(&format!(" (pid {})", exited["pid"])), "{text}");
    assert!(lines.iter().any(|line| line["level"] == "info" && line["event"] == "started"), "{lines:?}");
}

#[test]
fn a_journal_gets_priorities_and_a_prefix_can_be_left_out() {
    use std::os::unix::fs::MetadataExt;
    let setup = Setup::new();
    let stderr = fs::metadata(setup.path("stderr")).unwrap();
    let stream = format!("{}:{}", stderr.dev(), stderr.ino());
    let setup = setup.env("JOURNAL_STREAM", stream).env("PPM_LOG_PREFIX", "0").env("PPM_LOG", "loud,ppm_daemon=info");
    let daemon = setup.services(&[task("web", "exit 3")]).start();
    run(&daemon, "web");
    let daemon = daemon.ended();
    let text = daemon.stderr();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "<4>warning: PPM_LOG: `loud` is not a level: write `info`, or `ppm_daemon=debug,info`");
    assert!(lines[1].starts_with(&format!("<6>{}, pid ", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("<6>web: started by request (pid ")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("<4>warning: web: exit code 3 after ")), "{text}");
}

#[test]
fn two_daemons_do_not_write_into_one_folder() {
    let first = start(&json!({}), &[task("web", "echo first")]);
    run(&first, "web");
    let folder = first.path("log");
    until("its line is in the file", || (text(&folder, "web") == "first\n").then_some(()));
    let setup = Setup::new();
    let config = json!({"logger": {"path": folder}, "services": [task("web", "echo second")]});
    let second = setup.config(&config).start();
    run(&second, "web");
    until("a warning", || second.stderr().contains(": another daemon writes there; output goes to").then_some(()));
    assert_eq!(text(&folder, "web"), "first\n");
    let _kept = first.ended();
    until("the folder is free", || {
        run(&second, "web");
        text(&folder, "web").ends_with("second\n").then_some(())
    });
}
