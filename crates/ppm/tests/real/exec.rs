//! `ppm exec` from a pipe and at a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{Daemon, Done};

const WEB: &str = "services:\n- {name: web, command: sleep 1000, env: {A: hello}, workdir: /usr, umask: \"027\", limits: {nofile: 77}}\n\
                   - {name: db, command: sleep 1000}\n";

fn running() -> Daemon {
    let daemon = Daemon::with(WEB);
    assert_eq!(daemon.ppm("wait all --for running").code, 0);
    daemon
}

fn printed(stdout: &str, code: i32) -> Done {
    Done { code, stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn a_command_runs_in_the_surroundings_of_its_service() {
    let daemon = running();
    let command = "exec web -- sh -c 'echo $A $PPM_SERVICE $PPM_START_REASON; pwd; umask; ulimit -n'";
    assert_eq!(daemon.ppm(command), printed("hello web exec\n/usr\n0027\n77\n", 0));
}

#[test]
fn what_it_reads_and_writes_is_ours_and_its_exit_code_too() {
    let daemon = running();
    assert_eq!(daemon.ppm("exec db -- true && echo input | ppm exec web -- tr a-z A-Z").stdout, "INPUT\n");
    assert_eq!(
        daemon.ppm("exec web -- sh -c 'echo out; echo err >&2; exit 7'"),
        Done { stderr: "err\n".to_owned(), ..printed("out\n", 7) }
    );
    assert_eq!(daemon.ppm("exec web -- sh -c 'kill -9 $$'"), printed("", 137));
    assert_eq!(daemon.ppm("exec web -- head -c 3000000 /dev/zero | wc -c").stdout.trim(), "3000000");
}

#[test]
fn what_cannot_be_executed_is_told_as_a_shell_would() {
    let daemon = running();
    let failed = |stderr: &str, code| Done { stderr: stderr.to_owned(), ..printed("", code) };
    assert_eq!(daemon.ppm("exec web -- nosuch"), failed("error: exec: no such file: nosuch\n", 127));
    assert_eq!(daemon.ppm("exec web -- /etc/passwd"), failed("error: exec: not executable: /etc/passwd\n", 126));
    assert_eq!(daemon.ppm("exec wbe -- true"), failed("error: no such service `wbe`\n  hint: did you mean 'web'?\n", 4));
    let several = "error: `all` means 2 services; a command runs in the surroundings of one\n";
    assert_eq!(daemon.ppm("exec all -- true"), failed(several, 1));
    assert_eq!(daemon.ppm("exec web").code, 2);
}

/// Begins a command that writes its pid first.
fn begin(daemon: &Daemon, script: &str) -> (Child, Pid, BufReader<std::process::ChildStdout>) {
    let mut command = daemon.command("exec web -- sh -c");
    let mut child = command.arg(format!("echo $$; {script}")).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    (child, Pid::from_raw(line.trim().parse().unwrap()), out)
}

fn is_there(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it does not come");
}

#[test]
fn signals_are_passed_on_and_the_command_decides() {
    let daemon = running();
    let (mut child, _, mut out) = begin(&daemon, "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("heard\n"), "{rest}");
    let (mut child, ..) = begin(&daemon, "exec sleep 1000");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn when_we_are_gone_it_is_hung_up() {
    let daemon = running();
    let (mut child, pid, _out) = begin(&daemon, "exec sleep 1000");
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| !is_there(pid));
}

#[test]
fn it_goes_on_while_its_service_is_restarted_and_ends_with_the_daemon() {
    let daemon = running();
    let (mut child, pid, _out) = begin(&daemon, "sleep 1000 & wait");
    assert_eq!(daemon.ppm("restart web").code, 0);
    assert_eq!(daemon.ppm("stop web").code, 0);
    assert!(is_there(pid));
    assert_eq!(daemon.ppm("shutdown").code, 0);
    assert!(!is_there(pid));
    assert_ne!(child.wait().unwrap().code(), Some(0));
}

/// A person at a terminal.
struct Person {
    screen: File,
    child: Child,
    seen: String,
}

impl Person {
    fn at(mut command: Command) -> Person {
        let size = Winsize { ws_row: 24, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(Some(&size), None).unwrap();
        let slave = || terminal.slave.try_clone().unwrap();
        let child = command.env("TERM", "dumb").stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(command);
        Person { screen: File::from(terminal.master), child, seen: String::new() }
    }

    fn types(&mut self, keys: &str) -> &mut Person {
        self.screen.write_all(keys.as_bytes()).unwrap();
        self
    }

    fn sees(&mut self, text: &str) -> &mut Person {
        let mut buffer = [0; 1024];
        while !self.seen.contains(text) {
            let mut screen = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut screen, PollTimeout::from(30_000_u16)), Ok(1), "'{text}' does not come after {:?}", self.seen);
            let count = self.screen.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "'{text}' does not come after {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        self.seen = self.seen.split_once(text).unwrap().1.to_owned();
        self
    }
}

/// Of sh for root; others have a dollar sign.
const PROMPT: &str = " ";

#[test]
fn at_a_terminal_it_has_one_of_its_own_with_job_control() {
    let daemon = running();
    let mut person = Person::at(daemon.command("exec web -- sh -i"));
    person.sees(PROMPT).types("stty size; tty\n").sees("24 70\r\n").sees("/dev/pts/").sees(PROMPT);
    // Ctrl-C ends what the shell runs, and neither the shell nor us. Whoever says that it has begun has the terminal.
    person
        .types("sh -c 'echo be\"\"gun; exec sleep 1000'\n")
        .sees("begun\r\n")
        .types("\x03")
        .sees(PROMPT)
        .types("echo still he''re; exit 5\n")
        .sees("still here");
    assert_eq!(person.child.wait().unwrap().code(), Some(5));
}

#[test]
fn without_a_terminal_of_its_own_it_has_ours() {
    let daemon = running();
    let mut person = Person::at(daemon.command("exec -T web -- sh -c 'test -t 0 && echo a terminal; stty size'"));
    person.sees("a terminal\r\n").sees("24 70\r\n");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_run_is_a_service_with_our_input_and_output_and_its_exit_code_is_ours() {
    let daemon = running();
    assert_eq!(daemon.ppm("run -- sh -c 'cat; echo $PPM_SERVICE; pwd; exit 3' < /dev/null").code, 3);
    let done = daemon.ppm("run --name import --env A=1 --workdir /usr -- sh -c 'echo $PPM_SERVICE $A; pwd'");
    assert_eq!(done, printed("import 1\n/usr\n", 0));
    assert_eq!(daemon.ppm("ls -q"), printed("web\ndb\n", 0));
    let failed = |stderr: &str, code| Done { stderr: stderr.to_owned(), ..printed("", code) };
    assert_eq!(daemon.ppm("run -- nosuch"), failed("error: exec: no such file: nosuch\n", 127));
    assert_eq!(daemon.ppm("run -- sh -c 'kill -9 $$'").code, 137);
    assert_eq!(daemon.ppm("ls -q"), printed("web\ndb\n", 0));
}

#[test]
fn a_run_ends_with_us_and_a_detached_one_stays() {
    let daemon = running();
    let mut command = daemon.command("run -- sh -c 'echo $$; exec sleep 1000'");
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = Pid::from_raw(line.trim().parse().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| !is_there(pid));
    until(|| daemon.ppm("ls -q").stdout == "web\ndb\n");
    assert_eq!(daemon.ppm("run -d -- sleep 1000"), printed("sleep\n", 0));
    assert_eq!(daemon.ppm("run -d -- sleep 1000"), printed("sleep-2\n", 0));
    assert_eq!(daemon.ppm("ls -q"), printed("web\ndb\nsleep\nsleep-2\n", 0));
}

#[test]
fn at_a_terminal_a_run_hears_ctrl_c() {
    let daemon = running();
    let mut person = Person::at(daemon.command("run -- sh -c 'test -t 0 && echo re''ady; exec sleep 1000'"));
    person.sees("ready\r\n").types("\x03");
    assert_eq!(person.child.wait().unwrap().code(), Some(130));
}
