//! Whose account a process is put to, from one look at all of them to the next.
//!
//! Has a memory of its own of who belongs to whom, beside that of whoever ends services: it is asked on another thread,
//! with what was read a moment ago, and nothing may be decided by that but figures. Reads nothing. Invariant: a number
//! that was given out again is not taken for the process that had it before (R19). Hooks are put to the account of their
//! service: their mark tells of it.

use std::collections::BTreeMap;

use crate::event::{Pid, Running, ServiceId, Tree};
use crate::gather::Gather;
use crate::kin::{Birth, Fact, Kin};

/// The name of the service in the environment of a process, if it can be read.
pub type Mark<'a> = &'a mut dyn FnMut(Pid) -> Option<String>;

/// Who belonged to whom at the last look.
#[derive(Debug)]
pub struct Ledger {
    daemon: Pid,
    kin: Kin,
}

/// A process of a service that its session does not tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped {
    /// Whose it is.
    pub of: ServiceId,
    /// Its number.
    pub pid: Pid,
    /// When it was born.
    pub birth: Birth,
}

impl Ledger {
    /// Nobody is known yet.
    pub fn new(daemon: Pid) -> Ledger {
        Ledger { daemon, kin: Kin::new(daemon) }
    }

    /// The service of each of these: all processes that there are, with the dead that have not been reaped. `running` are
    /// all services with a main process; one whose process is not the daemon's child any more has ended since.
    pub fn owners(&mut self, running: &[Running], facts: &[Fact], mark: Mark<'_>) -> Vec<Option<ServiceId>> {
        let parents: BTreeMap<Pid, Pid> = facts.iter().map(|fact| (fact.pid, fact.parent)).gather();
        let live = running.iter().filter(|running| parents.get(&running.pid) == Some(&self.daemon));
        self.kin.lead_only(live.map(|running| (running.pid, Tree::main(running.id))).gather());
        self.kin.keep_only(facts);
        let names: BTreeMap<&str, ServiceId> = running.iter().map(|running| (running.name.as_str(), running.id)).gather();
        self.kin.learn(facts, &mut |pid| names.get(mark(pid)?.as_str()).copied().map(Tree::main));
        facts.iter().map(|fact| Some(self.kin.owner(fact.pid, fact.birth)?.id)).collect()
    }

    /// Those whose end is to be watched out for: when the daemon reaps them, nothing else tells whose they were.
    pub fn escaped(&self, facts: &[Fact]) -> Vec<Escaped> {
        let of = |fact: &Fact| self.kin.owner(fact.pid, fact.birth).filter(|_| self.kin.led_by(fact.session).is_none());
        facts.iter().filter_map(|fact| Some(Escaped { of: of(fact)?.id, pid: fact.pid, birth: fact.birth })).collect()
    }
}
