//! HTTP, as far as it takes to be looked at: what a request asks for, and the bytes of an answer.
//!
//! Opens nothing and waits for nothing: bytes and reports go in, bytes come out. Answers tell how things are and change
//! nothing; each ends its connection. Whatever the client writes is bounded by [`MAX_HEAD`].

pub mod metrics;
mod page;
mod readiness;

use core::net::IpAddr;
use std::fmt::Write;

use serde::Serialize;

use ppm_protocol::{ServiceRow, Timestamp};

use crate::report::{Depth, Report};
use readiness::Readiness;

/// The longest head of a request, in bytes: more than any browser sends without cookies.
pub const MAX_HEAD: usize = 8 * 1024;

/// More lines of a head than this are refused.
const MAX_HEADERS: usize = 64;

/// How many bytes of a client's own text an answer gives back.
const MAX_ECHO: usize = 100;

/// The first bytes of a client that begins with TLS (RFC 8446: a handshake record).
const TLS: [u8; 2] = [0x16, 0x03];

/// Who may reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine alone. A page of a foreign site, whose name was made to mean this address, is refused: browsers tell
    /// which name they were sent to.
    Local,
    /// Others too, by whatever name.
    Open,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    page: Page,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    Table,
    Json,
    Alive,
    Ready(Readiness),
    Metrics,
}

/// Whether the answer's body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Wanted,
    /// HEAD asks for what stands above it.
    LeftOut,
}

/// What must be known to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// That the loop turns.
    Pulse,
    /// A report.
    Report(Depth),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: Status,
    kind: &'static str,
    text: String,
    body: Body,
}

/// A status of RFC 9110.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u16, &'static str);

const OK: Status = Status(200, "OK");
const BAD_REQUEST: Status = Status(400, "Bad Request");
const FORBIDDEN: Status = Status(403, "Forbidden");
const NOT_FOUND: Status = Status(404, "Not Found");
const NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
const TIMEOUT: Status = Status(408, "Request Timeout");
const TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
const UNAVAILABLE: Status = Status(503, "Service Unavailable");
const VERSION: Status = Status(505, "HTTP Version Not Supported");

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

const PAGES: &str = "/ /status.json /healthz /livez /readyz /metrics";

impl Asked {
    /// Looks at what a client has written so far; None: its head is not whole.
    ///
    /// # Errors
    /// The answer to what is no request, or not for us.
    pub fn read(bytes: &[u8], reach: Reach) -> Result<Option<Asked>, Answer> {
        if bytes.starts_with(&TLS) {
            return Err(Answer::plain(BAD_REQUEST, "this is plain HTTP: write http://, not https://"));
        }
        let head = &bytes[..bytes.len().min(MAX_HEAD)];
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                let text = format!("a head has at most {MAX_HEAD} bytes and {MAX_HEADERS} lines here");
                return Err(Answer::plain(TOO_LARGE, &text));
            }
            Err(httparse::Error::Version) => return Err(Answer::plain(VERSION, "HTTP/1.1 and HTTP/1.0 are spoken here")),
            Err(error) => return Err(Answer::plain(BAD_REQUEST, &format!("this is no HTTP request: {error}"))),
        }
        let body = match request.method {
            Some("GET") => Body::Wanted,
            Some("HEAD") => Body::LeftOut,
            _ => return Err(Answer::plain(NOT_ALLOWED, "only GET and HEAD: nothing can be changed here")),
        };
        let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host")).map(|header| header.value);
        match (hosts.next(), hosts.next()) {
            (None, None) if request.version == Some(0) => {}
            (Some(host), None) if reach == Reach::Open || is_local(host) => {}
            (Some(host), None) => {
                let text = format!("this is not `{}`: ask for 127.0.0.1 or localhost", host[..host.len().min(MAX_ECHO)].escape_ascii());
                return Err(Answer { body, ..Answer::plain(FORBIDDEN, &text) });
            }
            _ => return Err(Answer { body, ..Answer::plain(BAD_REQUEST, "a request of HTTP/1.1 has one `Host`") }),
        }
        let page = Page::named(request.path.unwrap_or_default()).map_err(|answer| Answer { body, ..answer })?;
        Ok(Some(Asked { page, body }))
    }

    /// What must be known to answer it.
    pub fn needs(&self) -> Needs {
        match self.page {
            Page::Alive => Needs::Pulse,
            Page::Table | Page::Json | Page::Ready(_) => Needs::Report(Depth::State),
            Page::Metrics => Needs::Report(Depth::Figures),
        }
    }

    /// The answer to what needs a pulse.
    pub fn alive(&self) -> Answer {
        Answer { body: self.body, ..Answer::plain(OK, "ok") }
    }

    /// The answer to what needs this report.
    pub fn answer(&self, report: &Report) -> Answer {
        let answer = match &self.page {
            Page::Alive => Answer::plain(OK, "ok"),
            Page::Table => Answer::new(OK, HTML, page::write(report)),
            Page::Json => Answer::new(OK, JSON, json(report)),
            Page::Metrics => Answer::new(OK, metrics::CONTENT_TYPE, metrics::write(report)),
            Page::Ready(readiness) => {
                let (is_ready, text) = readiness.look(report);
                Answer::new(if is_ready { OK } else { UNAVAILABLE }, PLAIN, text)
            }
        };
        Answer { body: self.body, ..answer }
    }

    /// The answer where there is nothing to answer from.
    pub fn in_vain(&self, why: &str) -> Answer {
        Answer { body: self.body, ..Answer::plain(UNAVAILABLE, why) }
    }
}

impl Page {
    fn named(target: &str) -> Result<Page, Answer> {
        // A proxy is asked for the whole URL (RFC 9112, 3.2.2).
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/" => Ok(Page::Table),
            "/status.json" => Ok(Page::Json),
            "/healthz" | "/livez" => Ok(Page::Alive),
            "/readyz" => Ok(Page::Ready(Readiness::read(query))),
            "/metrics" => Ok(Page::Metrics),
            _ => Err(Answer::plain(NOT_FOUND, &format!("there is no such page; there are {PAGES}"))),
        }
    }
}

/// Whether a client that says this of where it was sent to was sent to this machine by its own name or by number.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let number = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || number.parse::<IpAddr>().is_ok()
}

impl Answer {
    /// Its client took too long to ask.
    pub fn timeout() -> Answer {
        Answer::plain(TIMEOUT, "the request did not come in time")
    }

    fn new(status: Status, kind: &'static str, text: String) -> Answer {
        Answer { status, kind, text, body: Body::Wanted }
    }

    fn plain(status: Status, text: &str) -> Answer {
        Answer::new(status, PLAIN, format!("{text}\n"))
    }

    /// As it is sent.
    pub fn into_bytes(self) -> Vec<u8> {
        let Answer { status: Status(code, words), kind, text, body } = self;
        let mut head = String::with_capacity(400);
        // Writing into a String cannot fail.
        let _ = write!(head, "HTTP/1.1 {code} {words}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", text.len());
        head.push_str("Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
        if kind == HTML {
            head.push_str(page::POLICY);
        }
        if code == NOT_ALLOWED.0 {
            head.push_str("Allow: GET, HEAD\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if body == Body::Wanted {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

/// What /status.json has.
#[derive(Serialize)]
struct Snapshot<'a> {
    version: &'a str,
    pid: i32,
    at: Timestamp,
    started_at: Timestamp,
    ending: bool,
    services: Vec<&'a ServiceRow>,
}

fn json(report: &Report) -> String {
    let snapshot = Snapshot {
        version: &report.version,
        pid: report.pid,
        at: report.at,
        started_at: report.started,
        ending: report.is_ending,
        services: report.services.iter().map(|service| &service.row).collect(),
    };
    let mut text = serde_json::to_string(&snapshot).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ServiceReport;

    pub(crate) fn row(name: &str, status: ppm_protocol::Status) -> ServiceRow {
        ServiceRow {
            id: 1,
            name: name.to_owned(),
            status,
            active: true,
            ready: true,
            pid: Some(7),
            restarts: 0,
            crashes: 0,
            started_at: Some(Timestamp(1_000)),
            ended_at: None,
            uptime_ms: Some(61_000),
            exit: None,
            reason: "started with the daemon".to_owned(),
            next_start: None,
            schedule: None,
            status_text: None,
        }
    }

    pub(crate) fn report(services: Vec<ServiceReport>) -> Report {
        Report {
            version: "1.2.3".to_owned(),
            pid: 1,
            at: Timestamp(62_000),
            started: Timestamp(500),
            is_ending: false,
            is_configured: true,
            configured: Timestamp(500),
            services,
            own: None,
        }
    }

    pub(crate) fn service(row: ServiceRow, is_well: bool) -> ServiceReport {
        ServiceReport { row, is_well, replica_of: None, figures: None }
    }

    fn code(head: &str, reach: Reach) -> u16 {
        match Asked::read(head.as_bytes(), reach) {
            Ok(Some(_)) => 200,
            Ok(None) => 0,
            Err(answer) => answer.status.0,
        }
    }

    #[test]
    fn requests_get_the_status_that_they_deserve() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
        let fits = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS - 1));
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("HEAD /metrics HTTP/1.1\r\nhost:a\r\n\r\n", 200),
            ("GET /readyz?verbose&exclude=a HTTP/1.0\r\n\r\n", 200),
            ("GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", 200),
            (&fits, 200),
            ("", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"shutdown\"}\n", 400),
            ("\0\0", 400),
            ("\u{16}\u{3}\u{1}", 400),
            ("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /healthz/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /../metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            (&long, 431),
            (&many, 431),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ];
        for (head, expected) in cases {
            assert_eq!(code(head, Reach::Open), expected, "{:.60}", head.escape_debug());
        }
    }

    #[test]
    fn a_local_listener_answers_to_no_foreign_name() {
        let head = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for host in ["127.0.0.1:9180", "localhost", "LOCALHOST:1", "[::1]:9180", "[::1]", "", "10.0.0.1"] {
            assert_eq!(code(&head(host), Reach::Local), 200, "{host}");
        }
        for host in ["evil.example", "evil.example:9180", "localhost.evil.example", "[::1]evil", "127.0.0.1.nip.io:80"] {
            assert_eq!((code(&head(host), Reach::Local), code(&head(host), Reach::Open)), (403, 200), "{host}");
        }
    }

    #[test]
    fn a_head_in_pieces_is_the_same_as_in_one() {
        let head = b"GET /readyz?exclude=a%20b HTTP/1.1\r\nHost: a\r\n\r\n";
        let whole = Asked::read(head, Reach::Open).unwrap().unwrap();
        for end in 0..head.len() {
            assert_eq!(Asked::read(&head[..end], Reach::Open), Ok(None), "{end}");
        }
        assert_eq!(whole.needs(), Needs::Report(Depth::State));
    }

    #[test]
    fn whatever_is_written_is_answered_or_waited_for() {
        let mut chance = crate::chance::Chance::new(4);
        let pieces: [&[u8]; 10] = [b"GET ", b"/", b"HTTP/1.1", b"\r\n", b"Host: ", b"a", b" ", b"\xff", b"?exclude=%", b"Host: a\r\n\r\n"];
        let mut seen = [0; 3];
        for _ in 0..20_000 {
            let mut head = b"GET / HTTP/1.1\r\n"[..usize::try_from(chance.next() % 17).unwrap()].to_vec();
            for _ in 0..chance.next() % 12 {
                head.extend_from_slice(pieces[usize::try_from(chance.next() % 10).unwrap()]);
            }
            seen[match Asked::read(&head, Reach::Open) {
                Ok(None) => 0,
                Ok(Some(_)) => 1,
                Err(answer) => {
                    assert!((400..506).contains(&answer.status.0));
                    2
                }
            }] += 1;
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }

    #[test]
    fn head_leaves_out_the_body_and_nothing_else() {
        let report = report(vec![service(row("web", ppm_protocol::Status::Running), true)]);
        for path in ["/", "/status.json", "/healthz", "/readyz", "/metrics", "/nowhere"] {
            let bytes = |method: &str| {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
                let asked = Asked::read(head.as_bytes(), Reach::Open);
                let answer = asked.map(|asked| asked.unwrap().answer(&report)).unwrap_or_else(|answer| answer);
                String::from_utf8(answer.into_bytes()).unwrap()
            };
            let (get, head) = (bytes("GET"), bytes("HEAD"));
            let body = get.strip_prefix(&head).unwrap();
            assert!(head.ends_with("\r\n\r\n") && head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert!(body.ends_with('\n') && head.contains("Connection: close\r\n"), "{path}");
        }
    }

    #[test]
    fn the_snapshot_has_the_rows_of_the_list() {
        let report = report(vec![service(row("web", ppm_protocol::Status::Running), true)]);
        let value: serde_json::Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!((&value["version"], &value["at"]), (&"1.2.3".into(), &"1970-01-01T00:01:02.000Z".into()));
        assert_eq!(value["services"][0], serde_json::to_value(&report.services[0].row).unwrap());
    }
}
