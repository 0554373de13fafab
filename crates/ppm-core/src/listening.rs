//! Who holds a port: what the kernel's list of sockets tells, and what follows in words.
//!
//! Reads nothing; is given lines of /proc/PID/net/tcp and tcp6 (proc_pid_net(5)). Invariant: whatever stands there, nothing
//! is taken for a listener that does not say so.

use crate::event::Pid;
use crate::probe::Outcome;

/// The state of a socket that takes connections.
const LISTEN: &str = "0A";

/// What a line of the list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A socket that takes connections at the port, with this number.
    Listener(u64),
    /// Another that takes connections.
    OtherListener,
    /// Nothing of that kind: there are no listeners behind it in the list.
    Else,
}

/// Reads a line of the list, but the first, which names the columns.
pub fn read(line: &str, port: u16) -> Line {
    let mut fields = line.split_ascii_whitespace();
    let (Some(local), Some(state), Some(inode)) = (fields.nth(1), fields.nth(1), fields.nth(5)) else { return Line::Else };
    if state != LISTEN {
        return Line::Else;
    }
    let own = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    match inode.parse() {
        Ok(inode) if own == Some(port) => Line::Listener(inode),
        Ok(_) | Err(_) => Line::OtherListener,
    }
}

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// It.
    pub pid: Pid,
    /// Its name, as the kernel has it.
    pub name: String,
    /// The service that it was started for, if its environment still tells.
    pub mark: Option<String>,
}

/// Whose the holder of a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The service's that is asked about.
    Own,
    /// Another's.
    Other(&'a str),
    /// That of no service of this daemon.
    Nobodys,
}

/// What it means for a service that this process holds the port.
pub fn outcome(port: u16, holder: &Holder, whose: Whose<'_>) -> Outcome {
    let Holder { pid, name, mark } = holder;
    let of = match (whose, mark) {
        (Whose::Own, _) => return Outcome::Passed,
        (Whose::Other(service), _) => format!(" of {service}"),
        (Whose::Nobodys, Some(service)) => format!(", left behind by an earlier run of {service}"),
        (Whose::Nobodys, None) => ", which is no service's".to_owned(),
    };
    Outcome::Failed(format!("port {port} is held by process {pid} ({name}){of}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_at_the_port_are_told_from_all_else() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0"
            )
        };
        assert_eq!(read(&line("0100007F:1F90", "0A"), 8080), Line::Listener(4711));
        assert_eq!(read(&line("00000000000000000000000000000000:1F90", "0A"), 8080), Line::Listener(4711));
        assert_eq!(read(&line("0100007F:1F91", "0A"), 8080), Line::OtherListener);
        assert_eq!(read(&line("0100007F:1F90", "01"), 8080), Line::Else);
        for odd in ["", "x", "0: nonsense x 0A", &line("nonsense", "0A")[..40]] {
            assert_eq!(read(odd, 8080), Line::Else, "{odd}");
        }
        assert_eq!(read(&line("nonsense", "0A"), 8080), Line::OtherListener);
    }

    #[test]
    fn whoever_holds_the_port_instead_is_named() {
        let told = |mark: Option<&str>, whose| {
            let holder = Holder { pid: Pid(7), name: "nginx".to_owned(), mark: mark.map(str::to_owned) };
            match outcome(80, &holder, whose) {
                Outcome::Failed(why) => why,
                Outcome::Passed | Outcome::NotAsked(_) => String::new(),
            }
        };
        assert_eq!(told(Some("web"), Whose::Own), "");
        assert_eq!(told(None, Whose::Other("db")), "port 80 is held by process 7 (nginx) of db");
        assert_eq!(told(Some("web"), Whose::Nobodys), "port 80 is held by process 7 (nginx), left behind by an earlier run of web");
        assert_eq!(told(None, Whose::Nobodys), "port 80 is held by process 7 (nginx), which is no service's");
    }
}
