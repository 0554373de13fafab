//! What a server answers to a probe over HTTP, as it comes in.
//!
//! As much of RFC 9112 as tells whether it is well: the status, and whether a text is in the body. Bounded: of a server
//! that never ends no more is kept than [`MAX_HEAD`] and [`MAX_BODY`]. Reads nothing, is given bytes.

use std::fmt;

use crate::spec::printable;

/// The longest head of an answer that is read, in bytes: servers' own limits are about this.
pub const MAX_HEAD: usize = 64 << 10;

/// How much of a body a text is looked for in, in bytes.
pub const MAX_BODY: usize = 64 << 10;

/// How much of a server's words an error repeats, in characters.
const MAX_ECHO: usize = 60;

/// The status of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// 100 to 999.
    pub code: u16,
    /// What the server calls it; may be empty.
    pub words: String,
}

/// Why a server is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Illness {
    /// It answered with another status.
    Status(Status),
    /// It did not get so far: in words that fit after its URL.
    Other(String),
}

/// An answer that is coming in.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    heard: Vec<u8>,
    status: Option<u16>,
    body: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.words.is_empty() { write!(f, "{}", self.code) } else { write!(f, "{} {}", self.code, self.words) }
    }
}

impl fmt::Display for Illness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Illness::Status(status) => write!(f, "it answered {status}"),
            Illness::Other(why) => f.write_str(why),
        }
    }
}

impl Answer {
    /// Nothing yet of an answer that is to have this status (None: 200 to 399) and this text in its body (None: any).
    pub fn wanted(status: Option<u16>, body: Option<&str>) -> Answer {
        Answer { heard: Vec::new(), status, body: body.map(str::to_owned) }
    }

    /// More of it; None: that does not tell yet whether the server is well.
    ///
    /// # Errors
    /// Why it is not.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Option<Status>, Illness> {
        self.heard.extend_from_slice(bytes);
        while let Some((status, length)) = head(&self.heard)? {
            if !(100..200).contains(&status.code) {
                return self.judge(status);
            }
            self.heard.drain(..length); // an interim answer (RFC 9110 section 15.2)
        }
        if self.heard.len() > MAX_HEAD {
            return Err(Illness::Other("it answered with a head that does not end".to_owned()));
        }
        Ok(None)
    }

    /// There is no more of it, and what there was did not tell that the server is well.
    pub fn ended(&self) -> Illness {
        match head(&self.heard) {
            _ if self.heard.is_empty() => Illness::Other("it closed the connection without an answer".to_owned()),
            Ok(Some(_)) => self.lacks_text(),
            Ok(None) => strange(&self.heard),
            Err(illness) => illness,
        }
    }

    fn judge(&self, status: Status) -> Result<Option<Status>, Illness> {
        let is_wanted = self.status.map_or((200..400).contains(&status.code), |wanted| wanted == status.code);
        let Some(wanted) = &self.body else { return if is_wanted { Ok(Some(status)) } else { Err(Illness::Status(status)) } };
        if !is_wanted {
            return Err(Illness::Status(status));
        }
        let Some((head, body)) = split(&self.heard) else {
            let too_long = Illness::Other("it answered with a head that does not end".to_owned());
            return if self.heard.len() > MAX_HEAD { Err(too_long) } else { Ok(None) };
        };
        let (body, is_whole) = content(head, body);
        if body.windows(wanted.len().max(1)).any(|window| window == wanted.as_bytes()) {
            return Ok(Some(status));
        }
        if is_whole || body.len() >= MAX_BODY { Err(self.lacks_text()) } else { Ok(None) }
    }

    fn lacks_text(&self) -> Illness {
        let wanted = printable(self.body.as_deref().unwrap_or_default().as_bytes());
        let wanted: String = wanted.chars().take(MAX_ECHO).collect();
        Illness::Other(format!("it answered without the text `{wanted}`"))
    }
}

/// Head and body, when the head is whole.
fn split(heard: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = heard.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&heard[..blank], &heard[blank + 4..]))
}

/// What the body holds, as far as it is there, and whether that is all (RFC 9112 section 6).
fn content(head: &[u8], body: &[u8]) -> (Vec<u8>, bool) {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim);
    if field("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
        return chunks(body);
    }
    let length = field("content-length").and_then(|length| length.parse::<usize>().ok());
    match length {
        Some(length) if length <= body.len() => (body[..length].to_vec(), true),
        Some(_) | None => (body.to_vec(), false),
    }
}

/// The chunks of a body, put together, and whether the last is there (RFC 9112 section 7.1).
fn chunks(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut whole = Vec::new();
    while let Some(end) = body.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&body[..end]);
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        if size == 0 {
            return (whole, true);
        }
        let rest = &body[end + 1..];
        whole.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size.saturating_add(2)..) {
            Some(next) => body = next,
            None => break,
        }
    }
    (whole, false)
}

/// The status that the bytes begin with, and how long its head is, when it is there: of a final status the first line
/// is enough.
fn head(heard: &[u8]) -> Result<Option<(Status, usize)>, Illness> {
    let Some(end) = heard.iter().position(|byte| *byte == b'\n') else {
        let begin = &heard[..heard.len().min(5)];
        return if b"HTTP/".starts_with(begin) { Ok(None) } else { Err(strange(heard)) };
    };
    let status = status(&heard[..end]).ok_or_else(|| strange(heard))?;
    if !(100..200).contains(&status.code) {
        return Ok(Some((status, end + 1)));
    }
    let blank = heard.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(blank.map(|at| (status, at + 4)))
}

/// A status line: `HTTP/1.1 503 Service Unavailable`.
fn status(line: &[u8]) -> Option<Status> {
    let line = printable(line.trim_ascii_end());
    let mut words = line.splitn(3, ' ');
    let version = words.next()?;
    let code = words.next().filter(|code| code.len() == 3)?.parse().ok().filter(|code| *code >= 100)?;
    version.starts_with("HTTP/").then(|| Status { code, words: words.next().unwrap_or_default().chars().take(MAX_ECHO).collect() })
}

fn strange(heard: &[u8]) -> Illness {
    let line = heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let said: String = printable(line.trim_ascii_end()).chars().take(MAX_ECHO).collect();
    Illness::Other(format!("it does not speak HTTP: it said `{said}`"))
}
