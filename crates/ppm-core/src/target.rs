//! Whom a probe asks: a page, a port or a socket, as it was typed and as it is meant.
//!
//! Reads no name and connects to nothing. Invariant: a target can be asked as it stands; nothing in it ends a line of the
//! request early.

use std::fmt;

use crate::spec::InvalidSpec;

/// What is to be asked, as it was typed and as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    typed: String,
    kind: Kind,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For a page.
    Http {
        /// As a URL has it, so that an IPv6 address is in brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
        /// With its query, beginning with `/`.
        path: String,
    },
    /// For a connection.
    Tcp {
        /// As a URL has it.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// For a connection, at the path of a socket.
    Unix(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl Target {
    /// Reads `http://HOST[:PORT][/PATH]`, `tcp://HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// What it is not, and what to write instead.
    pub fn read(typed: &str) -> Result<Target, InvalidSpec> {
        if typed.contains(|letter: char| letter.is_control() || letter == ' ') {
            return wrong(format!("`{}` has a space or a control character in it", typed.escape_default()), "write %20 for a space");
        }
        let kind = match typed.split_once(':') {
            Some(("unix", "")) => return wrong("`unix:` names no socket".to_owned(), "write unix:/run/app.sock"),
            Some(("unix", path)) => Kind::Unix(path.to_owned()),
            Some((scheme, rest)) if rest.starts_with("//") => Kind::on_network(typed, scheme, &rest[2..])?,
            Some(_) | None => {
                return wrong(format!("`{typed}` does not say how to ask"), format!("write http://{typed}, tcp://HOST:PORT or unix:PATH"));
            }
        };
        Ok(Target { typed: typed.to_owned(), kind })
    }

    /// A port of this machine.
    pub fn local(port: u16) -> Target {
        Target { typed: port.to_string(), kind: Kind::Tcp { host: LOCAL.to_owned(), port } }
    }

    /// How it is asked.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is asked for a page, and not only for a connection.
    pub fn is_page(&self) -> bool {
        matches!(self.kind, Kind::Http { .. })
    }

    /// Without what says how it is asked, where that goes without saying.
    pub fn place(&self) -> &str {
        self.typed.strip_prefix("tcp://").unwrap_or(&self.typed)
    }
}

/// The name of this machine for itself, which is looked up nowhere.
pub const LOCAL: &str = "localhost";

impl Kind {
    fn on_network(typed: &str, scheme: &str, rest: &str) -> Result<Kind, InvalidSpec> {
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        match scheme {
            "http" => {
                let (host, port) = host_and_port(typed, place)?;
                let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
                if !path.is_ascii() {
                    return wrong(format!("`{typed}` has letters beyond ASCII in its path"), "write them as %XX");
                }
                Ok(Kind::Http { host, port: port.unwrap_or(80), path })
            }
            "tcp" if !path.is_empty() => {
                wrong(format!("`{typed}` has a path"), format!("write tcp://{place}, or http:// to ask for a page"))
            }
            "tcp" => match host_and_port(typed, place)? {
                (host, Some(port)) => Ok(Kind::Tcp { host, port }),
                (host, None) => wrong(format!("`{typed}` has no port"), format!("write tcp://{host}:PORT")),
            },
            "https" => {
                let port = if place.contains(':') { "" } else { ":443" };
                let hint = format!("ask the server itself with http://, or whether it listens with tcp://{place}{port}");
                wrong(format!("`{typed}` needs TLS, which ppm does not speak"), hint)
            }
            _ => wrong(format!("`{scheme}://` is not supported"), "write http://, tcp:// or unix:"),
        }
    }

    /// What a page is asked with; None: a connection is all that is wanted.
    pub fn request(&self, version: &str) -> Option<String> {
        let Kind::Http { host, port, path } = self else { return None };
        let authority = if *port == 80 { host.clone() } else { format!("{host}:{port}") };
        Some(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ppm/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"))
    }
}

/// The host, in brackets if it is an IPv6 address, and the port, if there is one.
fn host_and_port(typed: &str, place: &str) -> Result<(String, Option<u16>), InvalidSpec> {
    if place.contains('@') {
        return wrong(format!("`{typed}` has a user in it, which ppm does not send"), "leave out what is before `@`");
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (place, None),
    };
    if host.is_empty() {
        return wrong(format!("`{typed}` has no host"), "write one, like 127.0.0.1");
    }
    if host.contains(':') != host.starts_with('[') || host.starts_with('[') != host.ends_with(']') {
        return wrong(format!("`{host}` is not a host"), "write an IPv6 address in brackets: [::1]");
    }
    let number = |port: &str| match port.parse() {
        Ok(0) | Err(_) => wrong(format!("`{port}` is not a port"), "write a number from 1 to 65535"),
        Ok(port) => Ok(port),
    };
    Ok((host.to_owned(), port.map(number).transpose()?))
}

fn wrong<T>(message: String, hint: impl Into<String>) -> Result<T, InvalidSpec> {
    Err(InvalidSpec::new(message).hint(hint))
}
