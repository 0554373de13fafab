//! What the daemon says when everything that it began with has come to something.
//!
//! Said once: `up in 4.0s: 2 ready, 1 done, 1 waiting`. Who is added later does not count.

use std::collections::BTreeSet;

use ppm_protocol::Status;

use crate::event::ServiceId;
use crate::service::Service;
use crate::supervisor::Supervisor;
use crate::time::{Now, brief};

/// Who has not come to anything yet, and what has become of the others.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    left: BTreeSet<ServiceId>,
    come: Vec<ServiceId>,
}

impl Welcome {
    /// One more of those with which the daemon begins.
    pub(crate) fn expect(&mut self, id: ServiceId) {
        self.left.insert(id);
    }

    /// Nothing is said any more.
    pub(crate) fn forget(&mut self) {
        *self = Welcome::default();
    }
}

impl Supervisor {
    /// Looks at one that may have come to something; the line, if it was the last.
    pub(crate) fn welcome(&mut self, now: Now, id: ServiceId) -> Option<String> {
        if !self.welcome.left.contains(&id) || !self.service(id).is_none_or(has_come_to_something) {
            return None;
        }
        self.welcome.left.remove(&id);
        self.welcome.come.push(id);
        if !self.welcome.left.is_empty() {
            return None;
        }
        let come = std::mem::take(&mut self.welcome.come);
        let count = |is: fn(&Service) -> bool| come.iter().filter_map(|id| self.service(*id)).filter(|service| is(service)).count();
        let counts = [
            (count(Service::is_ready), "ready"),
            (count(|service| service.status() == Status::Finished && service.plan().is_none()), "done"),
            (count(|service| service.status() == Status::Crashed), "crashed"),
            (count(|service| service.plan().is_some() && !service.is_ready() && service.status() != Status::Crashed), "waiting"),
        ];
        let told: Vec<String> = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let took = brief(now.mono.since(self.started.mono));
        Some(if told.is_empty() { format!("up in {took}") } else { format!("up in {took}: {}", told.join(", ")) })
    }
}

/// It is ready, has ended, waits for its time, or was not to start.
fn has_come_to_something(service: &Service) -> bool {
    let has_tried = service.attempts() > 0 && !service.is_busy();
    service.is_ready() || has_tried || service.plan().is_some() || !service.is_active()
}
