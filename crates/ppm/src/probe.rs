//! Asks a server whether it is well, without a daemon and without curl.
//!
//! One connection, one request, one limit of time for all of it: names are looked up, connections taken and answers
//! given by others, any of whom may hang. Never follows a redirect, never speaks TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ppm_core::answer::{Answer, Illness, Status};
use ppm_core::target::{Kind, Target};

use crate::failure::io_words;

/// What a server that is well answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// An HTTP status of 200 to 399, with its words.
    Status(Status),
    /// It took the connection.
    Connection,
}

/// How far the probe has come.
enum Step {
    Connected,
    Over(Result<Sign, Illness>),
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Status(status) => write!(f, "answered {status}"),
            Sign::Connection => f.write_str("took the connection"),
        }
    }
}

/// Reads what was typed.
///
/// # Errors
/// What it is not, and on a second line what to write instead.
pub fn read(typed: &str) -> Result<Target, String> {
    Target::read(typed).map_err(|wrong| format!("{}\n{}", wrong.message, wrong.hint.unwrap_or_default()).replace('`', "'"))
}

/// Probes it, for at most this long.
///
/// # Errors
/// Why it is not well.
pub fn probe(target: &Target, timeout: Duration) -> Result<Sign, Illness> {
    let start = Instant::now();
    let (steps, news) = mpsc::channel();
    let kind = target.kind().clone();
    let work = move || {
        let outcome = ask(&kind, &steps);
        let _ = steps.send(Step::Over(outcome));
    };
    thread::Builder::new().spawn(work).map_err(|error| Illness::Other(format!("cannot ask it: {}", io_words(&error))))?;
    let mut late = "no connection within";
    loop {
        match news.recv_timeout(timeout.saturating_sub(start.elapsed())) {
            Ok(Step::Connected) => late = "no answer within",
            Ok(Step::Over(outcome)) => return outcome,
            // The thread is left behind: nothing can interrupt a name that is being looked up.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(Illness::Other(format!("{late} {}", humantime::format_duration(timeout))));
            }
        }
    }
}

fn ask(kind: &Kind, steps: &Sender<Step>) -> Result<Sign, Illness> {
    let no_connection = |error: io::Error| Illness::Other(format!("cannot connect: {}", io_words(&error)));
    match kind {
        Kind::Unix(path) => UnixStream::connect(path).map(|_| Sign::Connection).map_err(no_connection),
        Kind::Tcp { host, port } | Kind::Http { host, port, .. } => {
            let mut stream = connect(host, *port).map_err(no_connection)?;
            let Some(request) = kind.request(env!("CARGO_PKG_VERSION")) else { return Ok(Sign::Connection) };
            let _ = steps.send(Step::Connected);
            stream.write_all(request.as_bytes()).map_err(no_answer)?;
            answer(&mut stream).map(Sign::Status)
        }
    }
}

fn answer(stream: &mut impl Read) -> Result<Status, Illness> {
    let mut answer = Answer::default();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(answer.ended()),
            Ok(length) => {
                if let Some(status) = answer.hear(&chunk[..length])? {
                    return Ok(status);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(no_answer(error)),
        }
    }
}

fn no_answer(error: io::Error) -> Illness {
    Illness::Other(format!("no answer: {}", io_words(&error)))
}

/// Tries one address after another; the last error is the one that is told.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (bare, port).to_socket_addrs().map_err(|_| io::Error::other(format!("there is no host '{bare}'")))?;
    TcpStream::connect(addresses.collect::<Vec<_>>().as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    /// Long enough for a machine that is busy with everything else.
    const LONG: Duration = Duration::from_secs(20);

    fn kind(typed: &str) -> Kind {
        read(typed).unwrap().kind().clone()
    }

    fn http(host: &str, port: u16, path: &str) -> Kind {
        Kind::Http { host: host.to_owned(), port, path: path.to_owned() }
    }

    /// What comes of probing a server that says this and hangs up, and what it was asked.
    fn asked(answer: &'static [u8]) -> (Result<Sign, Illness>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/health?all#top", listener.local_addr().unwrap().port());
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        let outcome = probe(&read(&url).unwrap(), LONG);
        (outcome, server.join().unwrap())
    }

    fn words(outcome: Result<Sign, Illness>) -> String {
        outcome.map_or_else(|illness| illness.to_string(), |sign| sign.to_string())
    }

    #[test]
    fn urls_are_read_with_and_without_what_may_be_left_out() {
        assert_eq!(kind("http://localhost"), http("localhost", 80, "/"));
        assert_eq!(kind("http://127.0.0.1:8080/health?x=1#y"), http("127.0.0.1", 8080, "/health?x=1"));
        assert_eq!(kind("http://[::1]:80?x"), http("[::1]", 80, "/?x"));
        assert_eq!(kind("http://[::1]/x"), http("[::1]", 80, "/x"));
        assert_eq!(kind("tcp://db:5432"), Kind::Tcp { host: "db".to_owned(), port: 5432 });
        assert_eq!(kind("unix:/run/app.sock"), Kind::Unix("/run/app.sock".to_owned()));
        assert_eq!(kind("unix:app.sock"), Kind::Unix("app.sock".to_owned()));
    }

    #[test]
    fn other_urls_are_refused_with_what_to_write_instead() {
        let refused = [
            ("localhost:8080/x", "'localhost:8080/x' does not say how to ask\nwrite http://localhost:8080/x, tcp://HOST:PORT or unix:PATH"),
            (
                "https://web/x",
                "'https://web/x' needs TLS, which ppm does not speak\nask the server itself with http://, or whether it listens with tcp://web:443",
            ),
            ("ftp://web", "'ftp://' is not supported\nwrite http://, tcp:// or unix:"),
            ("tcp://db", "'tcp://db' has no port\nwrite tcp://db:PORT"),
            ("tcp://db:1/x", "'tcp://db:1/x' has a path\nwrite tcp://db:1, or http:// to ask for a page"),
            ("http://:80/", "'http://:80/' has no host\nwrite one, like 127.0.0.1"),
            ("http://web:0/", "'0' is not a port\nwrite a number from 1 to 65535"),
            ("http://web:99999/", "'99999' is not a port\nwrite a number from 1 to 65535"),
            ("http://::1:80/", "'::1' is not a host\nwrite an IPv6 address in brackets: [::1]"),
            ("http://u:p@web/", "'http://u:p@web/' has a user in it, which ppm does not send\nleave out what is before '@'"),
            ("http://web/a b", "'http://web/a b' has a space or a control character in it\nwrite %20 for a space"),
            ("http://web/a\r\nX: y", "'http://web/a\\r\\nX: y' has a space or a control character in it\nwrite %20 for a space"),
            ("http://web/é", "'http://web/é' has letters beyond ASCII in its path\nwrite them as %XX"),
            ("unix:", "'unix:' names no socket\nwrite unix:/run/app.sock"),
        ];
        for (typed, error) in refused {
            assert_eq!(read(typed).unwrap_err(), error);
        }
    }

    #[test]
    fn a_server_is_asked_for_the_page_and_told_to_close() {
        let (outcome, request) = asked(b"HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(words(outcome), "answered 204 No Content");
        assert!(request.starts_with("GET /health?all HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
    }

    #[test]
    fn from_200_to_399_a_server_is_well() {
        assert!(asked(b"HTTP/1.0 200\r\n").0.is_ok());
        assert!(asked(b"HTTP/1.1 399 x\r\n").0.is_ok());
        assert_eq!(words(asked(b"HTTP/1.1 400 Bad Request\r\n").0), "it answered 400 Bad Request");
        assert_eq!(words(asked(b"HTTP/1.1 503 Service Unavailable\nX").0), "it answered 503 Service Unavailable");
        assert_eq!(words(asked(b"HTTP/1.1 503 \x1b[2Jgone\r\n").0), "it answered 503 \\u{1b}[2Jgone", "no word of a server moves a cursor");
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\n";
        assert_eq!(words(asked(answer).0), "it answered 500 Oops");
    }

    #[test]
    fn whatever_else_a_server_does_is_told() {
        assert_eq!(words(asked(b"").0), "it closed the connection without an answer");
        assert_eq!(words(asked(b"SSH-2.0-OpenSSH_9.2\r\n").0), "it does not speak HTTP: it said `SSH-2.0-OpenSSH_9.2`");
        assert_eq!(words(asked(b"220").0), "it does not speak HTTP: it said `220`");
        assert_eq!(words(asked(b"HTTP/1.1 20 x\r\n").0), "it does not speak HTTP: it said `HTTP/1.1 20 x`");
        assert_eq!(words(asked(b"HTTP/1.1 2").0), "it does not speak HTTP: it said `HTTP/1.1 2`");
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let outcome = probe(&read(&url).unwrap(), Duration::from_millis(200));
        assert_eq!(words(outcome), "no answer within 200ms");
    }

    #[test]
    fn a_connection_is_all_that_tcp_and_unix_want() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(words(probe(&read(&format!("tcp://{address}")).unwrap(), LONG)), "took the connection");
        // Bound, so that nobody else gets the port, but not listening.
        let silent = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(silent.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let address: SockaddrIn = getsockname(silent.as_raw_fd()).unwrap();
        assert_eq!(words(probe(&read(&format!("tcp://{address}")).unwrap(), LONG)), "cannot connect: nobody listens there");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let target = read(&format!("unix:{}", path.display())).unwrap();
        assert_eq!(words(probe(&target, LONG)), "cannot connect: no such file");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(words(probe(&target, LONG)), "took the connection");
    }

    #[test]
    fn a_host_that_there_is_not_is_told() {
        // `.invalid` is never resolved (RFC 2606), with or without a network.
        assert_eq!(words(probe(&read("tcp://web.invalid:80").unwrap(), LONG)), "cannot connect: there is no host 'web.invalid'");
    }
}
