//! What a service says of itself, in the words of sd_notify(3).
//!
//! Lines of `NAME=value`; names that mean nothing here are passed over. Invariant: what is kept of it is short, and moves no
//! cursor.

use std::time::Duration;

use crate::spec::printable;

/// The longest message that is read, in bytes: systemd's own limit (PIPE_BUF).
pub const LONGEST: usize = 4096;

/// How much of a status is kept, in characters: one line of a terminal.
const LONGEST_STATUS: usize = 120;

/// So much more time may be asked for at once, and so long may a watchdog be patient.
const MOST: Duration = Duration::from_secs(366 * 86_400);

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// `READY=1`.
    pub is_ready: bool,
    /// `STOPPING=1`: it ends by itself, and is not to be asked anything any more.
    pub is_stopping: bool,
    /// `STATUS=`: what it does, for people. Empty: nothing to be said.
    pub status: Option<String>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`: how long it may be silent from now on.
    pub patience: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`: so much more time from now on for what it does.
    pub more_time: Option<Duration>,
}

/// What it says to its watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// `WATCHDOG=1`: it is well.
    Alive,
    /// `WATCHDOG=trigger`: it is not.
    Trigger,
}

impl Notification {
    /// What a line on the descriptor says that a service was given for that.
    pub fn ready() -> Notification {
        Notification { is_ready: true, ..Notification::default() }
    }

    /// Reads a message. Of a name that is there twice the last counts.
    pub fn parse(message: &[u8]) -> Notification {
        let mut notification = Notification::default();
        for line in message.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..at], &line[at + 1..]);
            match (name, value) {
                (b"READY", b"1") => notification.is_ready = true,
                (b"STOPPING", b"1") => notification.is_stopping = true,
                (b"STATUS", text) => notification.status = Some(printable(text).chars().take(LONGEST_STATUS).collect()),
                (b"WATCHDOG", b"1") => notification.watchdog = Some(Watchdog::Alive),
                (b"WATCHDOG", b"trigger") => notification.watchdog = Some(Watchdog::Trigger),
                (b"WATCHDOG_USEC", micros) => notification.patience = duration(micros).filter(|patience| !patience.is_zero()),
                (b"EXTEND_TIMEOUT_USEC", micros) => notification.more_time = duration(micros),
                _ => {}
            }
        }
        notification
    }
}

fn duration(micros: &[u8]) -> Option<Duration> {
    let micros = std::str::from_utf8(micros).ok()?.trim().parse().ok()?;
    Some(Duration::from_micros(micros).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_line_by_line() {
        let message = b"READY=1\nSTATUS=serving 3 clients\x1b[0m\nMAINPID=7\n\nWATCHDOG=1\nX\n=\nSTOPPING=0\nEXTEND_TIMEOUT_USEC=1500000";
        let read = Notification::parse(message);
        let expected = Notification {
            is_ready: true,
            status: Some("serving 3 clients\\u{1b}[0m".to_owned()),
            watchdog: Some(Watchdog::Alive),
            more_time: Some(Duration::from_millis(1500)),
            ..Notification::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn nonsense_says_nothing() {
        for message in
            [b"".as_slice(), b"READY", b"READY=", b"READY=yes", b"ready=1", b"WATCHDOG_USEC=soon", b"\xff=\xff", b"WATCHDOG_USEC=-1"]
        {
            assert_eq!(Notification::parse(message), Notification::default(), "{message:?}");
        }
        let long = [b"STATUS=".as_slice(), &[b'x'; 4000]].concat();
        assert_eq!(Notification::parse(&long).status.unwrap().len(), LONGEST_STATUS);
        assert_eq!(Notification::parse(b"WATCHDOG_USEC=18446744073709551615").patience, Some(MOST));
    }
}
