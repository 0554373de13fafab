//! Who needs whom, as a judge sees it: by names, and slowly.

use std::collections::BTreeSet;

use ppm_core::dependencies::{Condition, Need, OnDependencyRestart};
use ppm_core::event::{Cause, ServiceId};
use ppm_core::spec::ServiceSpec;
use ppm_core::time::{Mono, Now};
use ppm_protocol::EventRow;

use crate::judge::{Judge, Verdict, rule};
use crate::model::{End, Known};

/// Who starts has all that it needs.
pub const HAS_ITS_NEEDS: &str = "who starts has what it needs";

/// Who is to end does so after those that need it and end too.
pub const OUTLIVES_NOBODY: &str = "nobody outlives what it needs";

impl Known {
    /// Whether it has come as far as this.
    fn has_come(&self, condition: Condition) -> bool {
        let stays = self.stays();
        let has_finished = self.is_idle() && self.last.is_some_and(|last| last.end == End::Good);
        match condition {
            Condition::Started => stays || has_finished,
            Condition::Ready => stays && self.is_up() && self.probes.ready,
            Condition::Finished => has_finished,
        }
    }

    /// Whether it runs, and is not to end.
    pub fn stays(&self) -> bool {
        self.process.is_some_and(|process| !process.is_ending()) && self.is_wanted() && self.coming.is_none()
    }

    /// Whether it is ending, or is to.
    fn is_leaving(&self) -> bool {
        let is_unwanted = !self.is_wanted() || self.coming.is_some();
        self.process.is_some_and(|process| process.is_ending() || is_unwanted) || self.left.is_some() || self.starting && !self.is_wanted()
    }
}

impl Judge {
    fn named(&self, name: &str) -> Option<&Known> {
        self.known.values().find(|known| known.name() == name)
    }

    /// Whether something is missing that it needs.
    pub fn misses(&self, known: &Known) -> bool {
        known.spec.depends_on.iter().any(|need| !self.named(&need.service).is_some_and(|other| other.has_come(need.condition)))
    }

    fn dependants(&self, name: &str) -> impl Iterator<Item = &Known> {
        self.known.values().filter(move |known| known.spec.depends_on.iter().any(|need| need.service == name))
    }

    /// How many stand one upon the other below it.
    pub fn depth(&self, known: &Known) -> usize {
        let needs = known.spec.depends_on.iter().filter_map(|need| self.named(&need.service));
        needs.map(|below| self.depth(below) + 1).max().unwrap_or(0)
    }

    /// Those that need it, directly or by way of services that do not run, and are ending.
    pub fn holders(&self, known: &Known) -> Vec<&Known> {
        let (mut seen, mut left, mut found) = (BTreeSet::from([known.id]), vec![known], Vec::new());
        while let Some(known) = left.pop() {
            for dependant in self.dependants(known.name()) {
                if !seen.insert(dependant.id) {
                    continue;
                }
                if dependant.is_leaving() {
                    found.push(dependant);
                }
                if dependant.is_idle() || dependant.is_leaving() {
                    left.push(dependant);
                }
            }
        }
        found
    }

    /// Whether somebody that needs it is ending, and not held by the kernel.
    pub fn is_held(&self, known: &Known, now: Mono) -> bool {
        self.holders(known).into_iter().any(|holder| !holder.is_stuck(now))
    }

    /// Whether it is to be restarted, since what it needs was.
    pub fn is_outdated(&self, known: &Known) -> bool {
        let Some(process) = known.process.filter(|process| !process.is_ending()) else { return false };
        let renewed = |need: &Need| {
            let other = self.named(&need.service).filter(|other| other.starts > 1 && other.has_come(need.condition));
            other.and_then(|other| other.process).is_some_and(|other| other.since > process.since)
        };
        known.is_wanted()
            && known.coming.is_none()
            && known.spec.on_dependency_restart == OnDependencyRestart::Restart
            && known.spec.depends_on.iter().any(renewed)
    }

    /// Whether it is to be restarted as what it needs was, when those have ended that need it.
    pub fn follows_later(&self, known: &Known) -> bool {
        self.is_outdated(known) && !self.holders(known).is_empty()
    }

    /// Whether one that is to be restarted as what it needs was is restarted for that: what has become of others is looked at
    /// before what is due.
    pub fn follows_now(&self, is_outdated: bool, is_held: bool) -> bool {
        is_outdated && !is_held && self.ticks()
    }

    /// Whether somebody waits for it whom nobody has asked for.
    fn is_waited_for(&self, known: &Known) -> bool {
        self.dependants(known.name()).any(|dependant| dependant.waits.is_some())
    }

    /// A service starts because another needs it.
    pub fn is_asked_by_need(&mut self, id: ServiceId) -> Verdict {
        let Some(known) = self.known.get(&id) else { return Ok(()) };
        let fine = known.unasked && self.is_waited_for(known) && self.ending.is_none();
        rule(fine, "a start has a cause", || format!("nobody needs {known:?}"))?;
        self.with(id, Known::wish_needed);
        Ok(())
    }

    /// It is told that a start waits for others.
    pub fn see_blocked(&mut self, now: Now, row: &EventRow) -> Verdict {
        let id = ServiceId(row.id);
        if self.known.get(&id).is_some_and(|known| known.unasked) {
            self.is_asked_by_need(id)?;
        }
        let Some(known) = self.known.get(&id) else { return Ok(()) };
        let is_due = |(cause, first, _)| (first <= now.mono).then_some(cause);
        let boots = known.boots.then_some(Cause::Boot);
        let is_changed = known.changed && known.earliest(self.settings.watch_restart_interval) <= now.mono;
        let changes = is_changed.then_some(Cause::Watch);
        let coming = known.coming.filter(|cause| *cause != Cause::Watch || is_changed);
        let owed = known.waits.or(coming).or(boots).or(changes).or(known.fires).or(known.restart_window().and_then(is_due));
        let text = || format!("{row:?}: {known:?}");
        // In one tick one may begin to leave, for files that changed or its next run, and another come to need it.
        let leaves = |name: &str| self.named(name).is_some_and(Known::may_be_ended);
        let may_miss = known.spec.depends_on.iter().any(|need| leaves(&need.service));
        rule(self.misses(known) || may_miss, "who waits has a reason", text)?;
        rule(known.is_idle() && known.is_wanted() && owed.is_some(), "a start has a cause", text)?;
        self.with(id, |known| {
            if known.waits.is_none() && known.coming.is_none() && known.fires.is_some() && known.has_given_up() {
                known.crashes = 0;
            }
            (known.waits, known.coming, known.boots, known.fires) = (owed, None, false, None);
        });
        Ok(())
    }

    /// Whoever waits and misses nothing starts, and so does what it needs and nobody has asked for.
    pub fn check_waiting(&self, known: &Known, wakes_at_once: bool) -> Verdict {
        let text = || format!("{known:?}");
        rule(known.waits.is_none() || self.misses(known) || wakes_at_once, "a start that is owed comes", text)?;
        rule(!self.is_outdated(known) || wakes_at_once, "a start that is owed comes", text)?;
        let owed = known.unasked && self.ending.is_none() && self.is_waited_for(known);
        rule(!owed || wakes_at_once, "a start that is owed comes", text)
    }

    /// Whether a service that is to be added needs only what there is, and not itself.
    pub fn can_need(&self, spec: &ServiceSpec) -> bool {
        let (mut left, mut seen) = (vec![spec], BTreeSet::new());
        while let Some(one) = left.pop() {
            for need in &one.depends_on {
                if need.service == spec.name {
                    return false;
                }
                match self.named(&need.service) {
                    None if one.name == spec.name => return false,
                    None => {}
                    Some(known) if seen.insert(known.id) => left.push(&known.spec),
                    Some(_) => {}
                }
            }
        }
        true
    }
}
