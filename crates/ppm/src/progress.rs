//! One line on stderr that tells how far a long command has come.
//!
//! For a person at a terminal only, drawn in place and taken away at the end. It asks the daemon on a connection of
//! its own and keeps silent about whatever goes wrong there: it never changes what a command does, says or returns.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use ppm_protocol::message::Selection;
use ppm_protocol::types::Timestamp;
use ppm_protocol::{Request, ServiceRow};

use crate::client::Client;
use crate::show::text::{clean, cut};
use crate::streams;

/// A command that takes less is not worth a word.
pub const FIRST: Duration = Duration::from_millis(300);

/// The time between two looks.
pub const EVERY: Duration = Duration::from_millis(500);

/// How long the daemon may take to say how far it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many services are named.
const NAMED: usize = 2;

/// How far a command on several services is.
pub struct Progress {
    path: PathBuf,
    deed: Deed,
    /// What was there before: names and starts by id.
    before: BTreeMap<u32, (String, Option<Timestamp>)>,
    client: Option<Client>,
    drawn: bool,
}

/// What is done to the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They get a process.
    Start,
    /// They get another process.
    Restart,
    /// They lose their process.
    Stop,
    /// They go.
    Remove,
}

impl Deed {
    /// What the request does, if it is worth telling how far it is, and the services it names.
    pub fn of(request: &Request) -> Option<(Deed, &[String])> {
        let (deed, targets) = match request {
            Request::Start(targets) => (Deed::Start, targets),
            Request::Restart(targets) => (Deed::Restart, targets),
            Request::Stop(targets) => (Deed::Stop, targets),
            Request::Remove(targets) => (Deed::Remove, targets),
            _ => return None,
        };
        let several = |name: &String| name == "all" || name.starts_with('@') || name.contains(['*', '?', '[']);
        (targets.wait && (targets.services.len() > 1 || targets.services.iter().any(several))).then_some((deed, &targets.services))
    }

    fn is_done(self, started_before: Option<Timestamp>, now: Option<&ServiceRow>) -> bool {
        let runs = |row: &ServiceRow| row.pid.is_some();
        match (self, now) {
            (Deed::Remove | Deed::Stop, None) => true,
            (Deed::Start | Deed::Restart, None) | (Deed::Remove, Some(_)) => false,
            (Deed::Stop, Some(row)) => !runs(row),
            (Deed::Start, Some(row)) => runs(row),
            (Deed::Restart, Some(row)) => runs(row) && row.started_at != started_before,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Deed::Start => "starting",
            Deed::Restart => "restarting",
            Deed::Stop => "stopping",
            Deed::Remove => "removing",
        }
    }
}

impl Progress {
    /// Begins to look at these services, as they are before it begins.
    pub fn new(path: PathBuf, deed: Deed, services: &[ServiceRow]) -> Progress {
        let before = services.iter().map(|row| (row.id, (row.name.clone(), row.started_at))).collect();
        Progress { path, deed, before, client: None, drawn: false }
    }

    /// Looks, and draws what it sees.
    pub fn draw(&mut self) {
        let Some(rows) = self.look() else { return };
        let line = line(self.deed, &self.before, &rows);
        let limit = streams::columns(&io::stderr()).unwrap_or(80).saturating_sub(1);
        self.write(&format!("\r\x1b[2K{}", cut(&clean(&line), limit)));
        self.drawn = true;
    }

    fn look(&mut self) -> Option<Vec<ServiceRow>> {
        let mut client = self.client.take().or_else(|| Client::connect(&self.path, PATIENCE).ok())?;
        // All of them: a name of one that has gone would be an error.
        let services = client.call(&Request::List(Selection::default())).ok()?;
        self.client = Some(client);
        Some(services)
    }

    fn write(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            self.write("\r\x1b[2K");
        }
    }
}

/// `stopping 63/100, waiting for web-17, web-31 and 35 more`.
fn line(deed: Deed, before: &BTreeMap<u32, (String, Option<Timestamp>)>, rows: &[ServiceRow]) -> String {
    let now: BTreeMap<u32, &ServiceRow> = rows.iter().map(|row| (row.id, row)).collect();
    let is_left = |(id, (_, started)): &(&u32, &(String, Option<Timestamp>))| !deed.is_done(*started, now.get(*id).copied());
    let left: Vec<&str> = before.iter().filter(is_left).map(|(_, (name, _))| name.as_str()).collect();
    let (verb, done, all) = (deed.verb(), before.len() - left.len(), before.len());
    let named = left.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match left.len() {
        0 => format!("{verb} {done}/{all}"),
        1..=NAMED => format!("{verb} {done}/{all}, waiting for {named}"),
        more => format!("{verb} {done}/{all}, waiting for {named} and {} more", more - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::services::tests::web;
    use ppm_protocol::message::Targets;

    fn rows(count: u32) -> Vec<ServiceRow> {
        (1..=count).map(|id| ServiceRow { id, name: format!("web-{id}"), ..web() }).collect()
    }

    fn gone(row: &ServiceRow) -> ServiceRow {
        ServiceRow { pid: None, ..row.clone() }
    }

    fn told(deed: Deed, before: &[ServiceRow], now: &[ServiceRow]) -> String {
        line(deed, &Progress::new(PathBuf::new(), deed, before).before, now)
    }

    #[test]
    fn only_what_is_done_to_several_and_waited_for_is_worth_a_word() {
        let deed = |services: &[&str], wait| {
            let services = services.iter().map(|name| (*name).to_owned()).collect();
            Deed::of(&Request::Stop(Targets { services, wait, rolling: false })).map(|(deed, _)| deed)
        };
        assert_eq!(deed(&["a", "b"], true), Some(Deed::Stop));
        assert_eq!(deed(&["web-*"], true), Some(Deed::Stop));
        assert_eq!(deed(&["all"], true), Some(Deed::Stop));
        assert_eq!(deed(&["@front"], true), Some(Deed::Stop));
        assert_eq!(deed(&["a@1"], true), None);
        assert_eq!(deed(&["a", "b"], false), None);
        assert!(Deed::of(&Request::Shutdown).is_none());
    }

    #[test]
    fn the_first_that_are_left_are_named() {
        let before = rows(4);
        assert_eq!(told(Deed::Stop, &before, &before), "stopping 0/4, waiting for web-1, web-2 and 2 more");
        let some: Vec<ServiceRow> = before.iter().enumerate().map(|(at, row)| if at % 2 == 0 { gone(row) } else { row.clone() }).collect();
        assert_eq!(told(Deed::Stop, &before, &some), "stopping 2/4, waiting for web-2, web-4");
        assert_eq!(told(Deed::Stop, &before, &before.iter().map(gone).collect::<Vec<_>>()), "stopping 4/4");
    }

    #[test]
    fn each_deed_knows_when_it_is_done() {
        let before = rows(1);
        let again = vec![ServiceRow { started_at: Some("2026-11-23T12:00:00.000Z".parse().unwrap()), ..before[0].clone() }];
        let nothing = vec![gone(&before[0])];
        for (deed, now, done) in [
            (Deed::Remove, &nothing, 0),
            (Deed::Remove, &vec![], 1),
            (Deed::Stop, &vec![], 1),
            (Deed::Restart, &before, 0),
            (Deed::Restart, &nothing, 0),
            (Deed::Restart, &again, 1),
            (Deed::Start, &nothing, 0),
            (Deed::Start, &before, 1),
            (Deed::Start, &vec![], 0),
        ] {
            assert!(told(deed, &before, now).contains(&format!(" {done}/1")), "{deed:?} {now:?}");
        }
    }
}
