//! A make-believe daemon for one conversation, and `ppm` told to talk to it.
//!
//! Each has a folder of its own, so tests run beside one another; nothing outside that folder is touched.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

/// The call of a method with these parameters, as the client must send it.
pub fn call(method: &str, params: &str) -> String {
    let params = if params.is_empty() { String::new() } else { format!(",\"params\":{params}") };
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\"{params}}}\n")
}

/// The answer to it.
pub fn result(result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{result}}}\n")
}

/// The other answer to it.
pub fn error(code: i64, message: &str, data: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{{\"code\":{code},\"message\":\"{message}\",\"data\":{data}}}}}\n")
}

/// A row of `list` for a service that runs, with more fields in front of its end.
pub fn running(id: u32, name: &str) -> String {
    format!(
        "{{\"id\":{id},\"name\":\"{name}\",\"status\":\"running\",\"active\":true,\"ready\":true,\"pid\":4242,\"restarts\":2,\"crashes\":0,\
         \"started_at\":\"2026-01-02T03:04:05.678Z\",\"ended_at\":null,\"uptime_ms\":8040000,\"exit\":null,\"reason\":\"\",\
         \"next_start\":null,\"schedule\":null}}"
    )
}

/// A row of `list` for a service that crashed and is left alone.
pub fn crashed(id: u32, name: &str, reason: &str) -> String {
    format!(
        "{{\"id\":{id},\"name\":\"{name}\",\"status\":\"crashed\",\"active\":true,\"ready\":false,\"pid\":null,\"restarts\":0,\"crashes\":1,\
         \"started_at\":null,\"ended_at\":null,\"uptime_ms\":null,\"exit\":{{\"code\":1}},\"reason\":\"{reason}\",\
         \"next_start\":null,\"schedule\":null}}"
    )
}

/// What `info` adds to a row of `list`.
pub fn in_full(row: &str) -> String {
    let row = row.strip_suffix('}').unwrap();
    format!(
        "{row},\"command\":[\"/app/web\",\"--port\",\"80\"],\"workdir\":null,\"env\":[\"PORT\"],\
         \"restart\":\"on-failure\",\"stop\":\"SIGTERM, then SIGKILL after 5s\",\"source\":\"ppm add\"}}"
    )
}

/// A listener in a folder of its own that holds one conversation in a thread of its own.
pub struct Daemon {
    folder: TempDir,
    thread: JoinHandle<()>,
}

impl Daemon {
    /// Accepts one client and talks to it as told.
    pub fn new(talk: impl FnOnce(UnixStream) + Send + 'static) -> Daemon {
        Daemon::listening(move |listener| talk(listener.accept().unwrap().0))
    }

    /// Talks to as many clients as it wants to.
    pub fn listening(serve: impl FnOnce(UnixListener) + Send + 'static) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("ppm.sock")).unwrap();
        let thread = thread::spawn(move || serve(listener));
        Daemon { folder, thread }
    }

    /// Expects this one request, gives this answer and hangs up.
    pub fn answering(request: String, answer: String) -> Daemon {
        Daemon::conversing(vec![(request, answer)])
    }

    /// Expects these requests from one client, gives each its answer and hangs up.
    pub fn conversing(turns: Vec<(String, String)>) -> Daemon {
        Daemon::new(move |mut client| {
            for (request, answer) in turns {
                hear(&mut client, &request);
                client.write_all(answer.as_bytes()).unwrap();
            }
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("ppm.sock")
    }

    /// `ppm` told by the environment to talk to it.
    pub fn ppm(&self, args: &str) -> snapbox::cmd::Command {
        ppm(args).env("PPM_SOCKET", self.socket())
    }

    /// The same for tests that need its pipes.
    pub fn spawn(&self, args: &str) -> std::process::Command {
        let mut command = std::process::Command::new("/usr/bin/env");
        // What a shell starts in the background ignores Ctrl-C, these tests too.
        command.arg("--default-signal=INT").arg(snapbox::cmd::cargo_bin!("ppm"));
        command.env_clear().env("TZ", "UTC").env("PPM_SOCKET", self.socket()).args(words(args)).stdin(std::process::Stdio::null());
        command
    }

    /// Fails if the conversation was not as expected.
    pub fn finish(self) {
        // A client that never came must not keep the thread, and with it the test, waiting.
        drop(UnixStream::connect(self.socket()));
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// `ppm` with these arguments and nothing in its environment but a time zone.
pub fn ppm(args: &str) -> snapbox::cmd::Command {
    snapbox::cmd::Command::new(snapbox::cmd::cargo_bin!("ppm")).env_clear().env("TZ", "UTC").args(words(args)).stdin("")
}

/// Reads one request, which must come whole by one write, and compares it.
pub fn hear(client: &mut UnixStream, request: &str) {
    let mut buffer = vec![0; 1 << 16];
    let length = client.read(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), request);
}

fn words(args: &str) -> Vec<String> {
    shell_words::split(args).unwrap()
}
