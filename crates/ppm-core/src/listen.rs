//! Where the daemon answers HTTP: an address of this machine, or the path of a socket.
//!
//! Values only: `core::net` knows addresses and has no sockets. Looks up no name. Invariant: what [`Listen`] displays,
//! [`Listen::parse`] reads as the same.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt;

use ppm_protocol::socket::MAX_PATH;

use crate::spec::{InvalidSpec, shown};

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 is any that is free, and `[::]` every address of both kinds.
    Tcp(SocketAddr),
    /// The absolute path of a socket.
    Unix(String),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

const EXAMPLES: &str = "write 127.0.0.1:9180, or unix:/run/ppm-http.sock";

impl Listen {
    /// Reads `127.0.0.1:9180`, `[::1]:9180`, `localhost:9180`, `:9180` (every address) or `unix:/PATH`.
    ///
    /// # Errors
    /// What it is not, and what to write instead.
    pub fn parse(text: &str) -> Result<Listen, InvalidSpec> {
        let wrong = |message: String, hint: &str| Err(InvalidSpec::new(message).hint(hint));
        let written = shown(text);
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                _ if path.chars().any(char::is_control) => wrong(format!("`{written}` has a control character in it"), EXAMPLES),
                _ if !path.starts_with('/') => wrong(format!("`{written}` is not the absolute path of a socket"), EXAMPLES),
                _ if path.ends_with('/') => wrong(format!("`{written}` is the path of a folder"), EXAMPLES),
                _ if path.len() > MAX_PATH => wrong(
                    format!("the socket's path is {} bytes long, {MAX_PATH} are possible: `{written}`", path.len()),
                    "choose a shorter one",
                ),
                _ => Ok(Listen::Unix(path.to_owned())),
            };
        }
        if text.contains("//") {
            return wrong(format!("`{written}` is a URL, not an address to listen at"), EXAMPLES);
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) else {
            return wrong(format!("`{written}` is not an address and a port"), EXAMPLES);
        };
        let Some(port) = port.parse::<u16>().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())) else {
            return wrong(format!("`{}` is not a port", shown(port)), "write a number from 0 to 65535");
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let ip = match (host, bracketed) {
            ("", _) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            ("localhost", _) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            (_, Some(host)) => host.parse().ok().map(IpAddr::V6),
            (host, None) => host.parse().ok().map(IpAddr::V4),
        };
        match ip {
            Some(ip) => Ok(Listen::Tcp(SocketAddr::new(ip, port))),
            None if host.parse::<Ipv6Addr>().is_ok() => {
                wrong(format!("`{}` is not in brackets", shown(host)), &format!("write \"[{host}]:{port}\""))
            }
            None => {
                let hint = "write a number like 127.0.0.1, or nothing for every address: names are not looked up";
                wrong(format!("`{}` is not an address of this machine", shown(host)), hint)
            }
        }
    }

    /// Whether nobody outside of this machine, or of the pod that shares its addresses, can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let cases = [
            ("127.0.0.1:9180", "127.0.0.1:9180", true),
            ("127.8.8.8:80", "127.8.8.8:80", true),
            ("localhost:9180", "127.0.0.1:9180", true),
            ("[::1]:9180", "[::1]:9180", true),
            (":9180", "[::]:9180", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true),
            ("10.1.2.3:65535", "10.1.2.3:65535", false),
            ("unix:/run/a b.sock", "unix:/run/a b.sock", true),
        ];
        for (text, written, is_local) in cases {
            let listen = Listen::parse(text).unwrap();
            assert_eq!((listen.to_string().as_str(), listen.is_local()), (written, is_local), "{text}");
            assert_eq!(Listen::parse(written), Ok(listen));
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_what_to_write() {
        let cases = [
            ("", "`` is not an address and a port"),
            ("127.0.0.1", "`127.0.0.1` is not an address and a port"),
            ("9180", "`9180` is not an address and a port"),
            ("[::1]", "`[::1]` is not an address and a port"),
            ("127.0.0.1:http", "`http` is not a port"),
            ("127.0.0.1:+80", "`+80` is not a port"),
            ("127.0.0.1:65536", "`65536` is not a port"),
            ("127.0.0.256:80", "`127.0.0.256` is not an address of this machine"),
            ("web:80", "`web` is not an address of this machine"),
            ("::1:80", "`::1` is not in brackets"),
            ("http://127.0.0.1:80", "`http://127.0.0.1:80` is a URL, not an address to listen at"),
            ("unix:", "`unix:` is not the absolute path of a socket"),
            ("unix:a.sock", "`unix:a.sock` is not the absolute path of a socket"),
            ("unix:/run/", "`unix:/run/` is the path of a folder"),
        ];
        for (text, message) in cases {
            let error = Listen::parse(text).unwrap_err();
            assert_eq!(error.message, message);
            assert!(error.hint.is_some_and(|hint| hint.starts_with("write ")), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        assert!(Listen::parse(&long).unwrap_err().message.starts_with("the socket's path is 108 bytes long, 107 are possible"));
    }
}
