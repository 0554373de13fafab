//! A client that speaks JSON lines by hand: what the daemon says is judged as any program would see it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::PATIENCE;

/// A daemon that takes nothing for so long will not take more before its replies are read. When it would have, the
/// flood is only smaller.
const NO_MORE: Duration = Duration::from_millis(500);

/// One connection.
pub struct Client {
    write: UnixStream,
    read: BufReader<UnixStream>,
    last_id: i64,
}

impl Client {
    pub fn connect(socket: &Path) -> std::io::Result<Client> {
        Ok(Client::new(UnixStream::connect(socket)?))
    }

    pub fn new(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { write: stream.try_clone().unwrap(), read: BufReader::new(stream), last_id: 0 }
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.write.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends this again and again until the daemon takes no more, and says how often it did.
    pub fn flood(&mut self, bytes: &[u8], times: usize) -> usize {
        self.write.set_write_timeout(Some(NO_MORE)).unwrap();
        (0..times).take_while(|_| self.write.write_all(bytes).is_ok()).count()
    }

    /// Sends a call and returns its id.
    pub fn send(&mut self, method: &str, params: &Value) -> i64 {
        self.last_id += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.raw(format!("{call}\n"));
        self.last_id
    }

    /// The next whole line; None when the daemon has closed the connection.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(_) if !line.ends_with('\n') => None, // nothing, or what a dropped client gets of a line
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line from the daemon: {error}"),
        }
    }

    /// The reply to this call: its result, or its error.
    pub fn reply(&mut self, id: i64) -> Result<Value, Value> {
        let mut line = self.line().unwrap_or_else(|| panic!("closed before the reply to {id}"));
        assert_eq!(line["id"], id, "{line}");
        match line["error"].take() {
            Value::Null => Ok(line["result"].take()),
            error => Err(error),
        }
    }

    /// Calls and expects a result.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.reply(id).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Calls and expects an error.
    pub fn refused(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.reply(id).unwrap_err()
    }

    /// Says that nothing more will be sent.
    pub fn stop_writing(&self) {
        self.write.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the daemon closes this connection (or has done so) without a further word.
    pub fn is_closed(&mut self) -> bool {
        self.line().is_none()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.write.as_raw_fd()
    }
}

/// All that happened and happens, in order.
pub struct Events {
    client: Client,
    past: std::vec::IntoIter<Value>,
    seen: Vec<String>,
}

impl Events {
    /// From the oldest that the daemon remembers.
    pub fn follow(mut client: Client) -> Events {
        let mut history = client.call("events", &json!({"follow": true}));
        let Value::Array(past) = history["events"].take() else { panic!("{history}") };
        Events { client, past: past.into_iter(), seen: Vec::new() }
    }

    /// The next event.
    pub fn next(&mut self) -> Value {
        let event = self.past.next().unwrap_or_else(|| self.heard());
        self.seen.push(format!("{} {} {}", event["service"], event["event"], event["reason"]));
        event
    }

    /// Skips to the next event of this kind of this service.
    pub fn until(&mut self, service: &str, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["service"] == service && event["event"] == kind {
                return event;
            }
        }
    }

    fn heard(&mut self) -> Value {
        let Some(mut line) = self.client.line() else { panic!("the stream ended after {:#?}", self.seen) };
        assert_eq!(line["method"], "event", "{line}");
        line["params"].take()
    }
}
