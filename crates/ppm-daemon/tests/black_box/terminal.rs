//! `ppm-daemon -- CMD` at a terminal: the command has its foreground (R7).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};

use crate::harness::{Daemon, Process, Setup, until};

/// A daemon at a terminal of its own, and the person in front of it.
struct Terminal {
    daemon: Daemon,
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

/// How the daemon comes to its terminal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum As {
    /// As leader of its session, as process 1 of `docker run -t`.
    Leader,
    /// As a child of the leader, as below `docker run -t --init`, or below a shell.
    Member,
}

impl Terminal {
    fn open(role: As, setup: impl Fn(Setup) -> Setup) -> Terminal {
        let (master, slave) = open_pair();
        let mut base = Setup::new();
        if role == As::Member {
            base = base.through_shell("\"$0\" \"$@\"; echo over $?; read line; echo got $line; exit; :");
        }
        for stream in 0..3 {
            let end = slave.try_clone().unwrap();
            match stream {
                0 => base.command.stdin(end),
                1 => base.command.stdout(end),
                _ => base.command.stderr(end),
            };
        }
        let lead = || {
            // SAFETY: setsid(2) and ioctl_tty(2) take numbers.
            let result = unsafe { if libc::setsid() < 0 { -1 } else { libc::ioctl(0, libc::TIOCSCTTY, 0) } };
            if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        let daemon = setup(base.before_exec(lead)).launch();
        drop(slave);
        let screen = Arc::new(Mutex::new(String::new()));
        let (seen, mut source) = (Arc::clone(&screen), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // When the last writer has gone, a terminal gives EIO instead of an end.
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Terminal { daemon, keyboard: master, screen }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn shows(&self, text: &str) {
        until(&format!("{text:?} on the screen"), || self.screen.lock().unwrap().contains(text).then_some(()));
    }
}

fn open_pair() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: openpty(3) writes two descriptors, which are ours from then on.
    unsafe {
        assert_eq!(libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()), 0);
        for fd in [master, slave] {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

/// Prints who has the terminal, as the command sees it: whether it leads its session, and whether it has the foreground.
const SHOW: &str = "read -r stat < /proc/$$/stat; set -- ${stat##*) }; \
    [ \"$4\" = $$ ] && echo leads || echo follows; [ \"$3\" = $$ ] && [ \"$6\" = $$ ] && echo foreground; ";

#[test]
fn r7_the_command_has_the_foreground_and_the_daemon_is_not_in_its_way() {
    for (role, place) in [(As::Leader, "leads"), (As::Member, "follows")] {
        let mut terminal = Terminal::open(role, |setup| {
            setup.main(&format!("{SHOW} trap 'echo int' INT; trap 'echo hung up' HUP; echo ready; while :; do sleep 0.02; done"))
        });
        terminal.shows("ready");
        for word in [place, "foreground"] {
            terminal.shows(word);
        }
        terminal.types("\x03");
        terminal.shows("int\r\n");
        // The daemon let its terminal go, and nobody is to hear of it.
        assert!(!terminal.screen.lock().unwrap().contains("hung up"));
        terminal.types("\x1c"); // SIGQUIT from the keyboard, for the command and not for the daemon
        if role == As::Member {
            terminal.shows("over 131");
            terminal.types("more\n"); // its shell has its terminal back
            terminal.shows("got more");
            assert_eq!(terminal.daemon.exit_code(), 0);
        } else {
            assert_eq!(terminal.daemon.exit_code(), 131);
        }
    }
}

#[test]
fn r7_a_shell_at_the_terminal_controls_its_jobs_and_its_exit_code_is_the_daemons() {
    let mut terminal = Terminal::open(As::Leader, |setup| setup.main_words(&["/bin/sh", "-i"]));
    terminal.types("echo $((40 + 2))\n");
    terminal.shows("42");
    terminal.types("sleep 1000\n");
    until("the job runs", || terminal.daemon.descendants().iter().any(|process| process.name == "sleep").then_some(()));
    terminal.types("\x1a");
    let is_stopped = |process: &Process| process.name == "sleep" && process.state == 'T';
    until("the job is stopped", || terminal.daemon.descendants().iter().any(is_stopped).then_some(()));
    terminal.types("echo code $?; fg\n");
    terminal.shows("code 148");
    until("the job goes on", || (!terminal.daemon.descendants().iter().any(is_stopped)).then_some(()));
    terminal.types("\x03");
    terminal.types("exit 5\n");
    assert_eq!(terminal.daemon.exit_code(), 5);
    assert!(!terminal.screen.lock().unwrap().contains("job control"), "{}", terminal.screen.lock().unwrap());
}

#[test]
fn r7_the_command_hears_of_the_terminals_size() {
    for role in [As::Leader, As::Member] {
        let mut terminal =
            Terminal::open(role, |setup| setup.main("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done"));
        terminal.shows("ready");
        let size = libc::winsize { ws_row: 31, ws_col: 71, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: ioctl_tty(2): TIOCSWINSZ reads a struct winsize.
        unsafe { libc::ioctl(terminal.keyboard.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        terminal.shows("31 71");
        terminal.types("\n");
        assert_eq!(terminal.daemon.exit_code(), 0);
    }
}

#[test]
fn r7_it_may_be_started_again_at_the_terminal() {
    let mut terminal =
        Terminal::open(As::Leader, |setup| setup.main(&format!("{SHOW} echo > ready; read line; echo got $line; read line")));
    for time in 1..=2 {
        terminal.daemon.lines_in("ready");
        std::fs::remove_file(terminal.daemon.path("ready")).unwrap();
        terminal.types(&format!("line{time}\n"));
        terminal.shows(&format!("got line{time}"));
        if time == 1 {
            terminal.daemon.tell("main", "restart");
        }
    }
    assert_eq!(terminal.screen.lock().unwrap().matches("foreground").count(), 2);
    kill(terminal.daemon.pid, Signal::SIGTERM).unwrap();
    assert_eq!(terminal.daemon.exit_code(), 143);
}

#[test]
fn r7_other_services_have_no_terminal() {
    let tty = "exec 2> /dev/null; (: < /dev/tty) && echo tty || echo none; exec sleep 1000";
    let side = crate::harness::shell("side", &format!("exec > side; {tty}"), &serde_json::json!({}));
    let mut terminal =
        Terminal::open(As::Leader, move |setup| setup.services(std::slice::from_ref(&side)).main("echo ready; exec sleep 1000"));
    terminal.shows("ready");
    assert_eq!(terminal.daemon.lines_in("side").last().unwrap(), "none");
    terminal.types("\x03");
    assert_eq!(terminal.daemon.exit_code(), 130);
}
