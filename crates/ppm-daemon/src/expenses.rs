//! What those of a service have used whom the daemon itself has reaped.
//!
//! Orphans, that is: whoever is waited for by its own parent goes over into that one's figures. The kernel tells it with
//! the reaping, so that it costs nothing to know. Invariant: what a run has used never counts for another.

use std::collections::BTreeMap;

use nix::unistd;
use ppm_core::event::{Pid, ServiceId};
use ppm_core::gather::Gather;
use ppm_core::kin::{Birth, Kin};
use ppm_core::ledger::Escaped;
use ppm_core::usage::Spent;

use crate::census::Census;

/// What was spent, by service.
#[derive(Debug, Default)]
pub struct Expenses {
    spent: BTreeMap<ServiceId, Spent>,
    /// Those whose session does not tell whose they are, as they were last seen.
    escaped: BTreeMap<Pid, (Birth, ServiceId)>,
}

impl Expenses {
    /// A run has begun or ended: what comes is another's.
    pub fn close(&mut self, id: ServiceId) {
        self.spent.remove(&id);
    }

    /// The service on whose account this child dies: it has ended and not been reaped, and led none.
    pub fn owner(&self, pid: Pid, kin: &Kin, census: Option<&mut Census>) -> Option<ServiceId> {
        let known = kin.owner_of_child(pid).map(|tree| tree.id);
        let by_session = || {
            let session = unistd::getsid(Some(unistd::Pid::from_raw(pid.0))).ok()?;
            kin.led_by(Pid(session.as_raw())).map(|tree| tree.id)
        };
        let escaped = || {
            let (birth, id) = *self.escaped.get(&pid)?;
            (census?.birth(pid) == Some(birth)).then_some(id)
        };
        known.or_else(by_session).or_else(escaped)
    }

    /// It has been reaped.
    pub fn add(&mut self, id: ServiceId, spent: Spent) {
        let before = self.of(id);
        self.spent.insert(id, before.and(spent));
    }

    /// What has been spent since the run began.
    pub fn of(&self, id: ServiceId) -> Spent {
        self.spent.get(&id).copied().unwrap_or_default()
    }

    /// Whose end is to be watched out for, from now on.
    pub fn watch_out_for(&mut self, escaped: Vec<Escaped>) {
        self.escaped = escaped.into_iter().map(|escaped| (escaped.pid, (escaped.birth, escaped.of))).gather();
    }
}
