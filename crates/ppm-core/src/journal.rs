//! What happened: the last events, and the clients that follow.
//!
//! Bounded: the oldest event goes when a new one comes, and who does not read is the daemon's to drop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ppm_protocol::{EventKind, EventRow, Exit, Status};

use crate::event::{Action, ClientId, From, Notice, Pid};
use crate::names::glob_matches;
use crate::service::Service;
use crate::time::Now;

/// How many past events are kept, over all services.
pub const KEPT: usize = 100;

/// The past, and who wants to hear of the future.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    past: VecDeque<Arc<EventRow>>,
    followers: BTreeMap<From, Vec<String>>,
}

impl Journal {
    /// Keeps the event and tells the log and everybody who follows.
    pub(crate) fn tell(&mut self, row: EventRow, actions: &mut Vec<Action>) {
        let row = Arc::new(row);
        if self.past.len() == KEPT {
            self.past.pop_front();
        }
        self.past.push_back(row.clone());
        for (to, services) in &self.followers {
            if matches(services, &row) {
                actions.push(Action::Notify { to: to.clone(), event: row.clone() });
            }
        }
        actions.push(Action::Announce(Notice::Service(row)));
    }

    /// The last `last` events of these services, oldest first.
    pub(crate) fn past(&self, services: &[String], last: usize) -> Vec<EventRow> {
        let mut rows: Vec<EventRow> =
            self.past.iter().rev().filter(|row| matches(services, row)).take(last).map(|row| (**row).clone()).collect();
        rows.reverse();
        rows
    }

    /// From now on this call hears of these services.
    pub(crate) fn follow(&mut self, to: From, services: Vec<String>) {
        self.followers.insert(to, services);
    }

    pub(crate) fn unfollow(&mut self, client: ClientId) {
        self.followers.retain(|from, _| from.client != client);
    }
}

/// Whether an event tells of a bad end: worth a warning in the daemon's own log.
pub fn is_bad_end(row: &EventRow) -> bool {
    row.event == EventKind::Exited && row.to == Status::Crashed
}

/// An event of a service as it is now.
pub(crate) fn event_row(
    now: Now,
    service: &Service,
    event: EventKind,
    from: Status,
    pid: Option<Pid>,
    exit: Option<Exit>,
    reason: String,
) -> EventRow {
    let (name, id, to) = (service.spec().name.clone(), service.id().0, service.status());
    EventRow { time: now.wall, service: name, id, event, from, to, pid: pid.map(|pid| pid.0), exit, reason }
}

/// Whether an event is of one of the services meant: by name, number or glob. None at all means every service.
fn matches(services: &[String], row: &EventRow) -> bool {
    let is_meant = |wanted: &String| match wanted.parse::<u32>() {
        Ok(id) => id == row.id,
        Err(_) => wanted == "all" || glob_matches(wanted, &row.service),
    };
    services.is_empty() || services.iter().any(is_meant)
}
