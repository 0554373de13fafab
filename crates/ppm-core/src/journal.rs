//! What happened: the last events, and the clients that follow.
//!
//! Bounded: the oldest event goes when a new one comes, and who does not read is the daemon's to drop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ppm_protocol::{EventKind, EventRow, Exit, Signal, Status};

use crate::event::{Action, ClientId, From, Notice, Pid};
use crate::names::glob_matches;
use crate::service::Service;
use crate::time::{Now, Timestamp};

/// How many past events are kept, over all services.
pub const KEPT: usize = 100;

/// How many past events of one service are kept besides.
pub const KEPT_EACH: usize = 50;

/// A reason is told up to this many characters: it may hold a path or a command, and is kept many times (R48).
pub const LONGEST_REASON: usize = 300;

/// On whose behalf something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Of the user with this number.
    User(u32),
    /// Of whoever sent the daemon this signal; the kernel does not say who that was.
    Signal(Signal),
}

/// The past, and who wants to hear of the future.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    past: VecDeque<Arc<EventRow>>,
    lives: BTreeMap<u32, VecDeque<Arc<EventRow>>>,
    followers: BTreeMap<From, Vec<String>>,
}

impl Journal {
    /// Keeps the event, with who is behind it, and tells the log and everybody who follows.
    pub(crate) fn tell(&mut self, row: EventRow, actor: Option<Actor>, actions: &mut Vec<Action>) {
        let row = Arc::new(match actor {
            Some(Actor::User(uid)) => EventRow { uid: Some(uid), ..row },
            Some(Actor::Signal(signal)) => EventRow { by: Some(signal), ..row },
            None => row,
        });
        keep(&mut self.past, KEPT, &row);
        keep(self.lives.entry(row.id).or_default(), KEPT_EACH, &row);
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

    /// The last events of one service, oldest first.
    pub(crate) fn life(&self, id: u32) -> Vec<EventRow> {
        self.lives.get(&id).into_iter().flatten().map(|row| (**row).clone()).collect()
    }

    /// Forgets a service; what happened to it stays in the common past.
    pub(crate) fn forget(&mut self, id: u32) {
        self.lives.remove(&id);
    }

    /// From now on this call hears of these services.
    pub(crate) fn follow(&mut self, to: From, services: Vec<String>) {
        self.followers.insert(to, services);
    }

    pub(crate) fn unfollow(&mut self, client: ClientId) {
        self.followers.retain(|from, _| from.client != client);
    }
}

fn keep(rows: &mut VecDeque<Arc<EventRow>>, most: usize, row: &Arc<EventRow>) {
    if rows.len() == most {
        rows.pop_front();
    }
    rows.push_back(row.clone());
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
    let reason = reason.chars().take(LONGEST_REASON).collect();
    let ran = |started: Timestamp| u64::try_from(now.wall.0.saturating_sub(started.0)).unwrap_or(0);
    let ran_ms = exit.and(service.started()).map(ran);
    EventRow {
        time: now.wall,
        service: name,
        id,
        event,
        from,
        to,
        pid: pid.map(|pid| pid.0),
        exit,
        reason,
        uid: None,
        by: None,
        ran_ms,
        peak_memory: None,
    }
}

/// Whether an event is of one of the services meant: by name, number or glob. None at all means every service.
fn matches(services: &[String], row: &EventRow) -> bool {
    let is_meant = |wanted: &String| match wanted.parse::<u32>() {
        Ok(id) => id == row.id,
        Err(_) => wanted == "all" || glob_matches(wanted, &row.service),
    };
    services.is_empty() || services.iter().any(is_meant)
}
