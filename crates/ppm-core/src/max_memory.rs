//! `max_memory`: whoever has outgrown it is started anew, and whoever is about to is told of.
//!
//! Looked at on a timer of its own, and only while a service runs that has such a limit. The quick look adds up resident
//! memory, which counts what processes share for each of them; so whoever seems to be near the limit is looked at closely,
//! by the proportional figure. Invariant: nobody is restarted for pages that its processes share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Action, Detail, Notice, ServiceId, Whose};
use crate::gather::Gather;
use crate::sampling::Run;
use crate::service::Input;
use crate::size;
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now};
use crate::usage::Usage;

/// How often it is looked at: a leak takes minutes, and a look one pass over /proc.
pub const EVERY: Duration = Duration::from_secs(2);

/// From this share of the limit on its user is warned, in percent.
const NEAR: u64 = 90;

/// Below this share there is no danger any more, and the next warning is news.
const FAR: u64 = 80;

/// A look that is under way.
#[derive(Debug)]
struct Look {
    sample: u64,
    detail: Detail,
    runs: BTreeMap<Whose, Run>,
}

/// What is known of those that have a limit.
#[derive(Debug, Default)]
pub(crate) struct MemoryWatch {
    /// Those that run.
    limited: BTreeSet<ServiceId>,
    next: Mono,
    look: Option<Look>,
    /// Who was warned of, in which run.
    warned: BTreeMap<ServiceId, Run>,
}

impl MemoryWatch {
    /// When the next look is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        (self.look.is_none() && !self.limited.is_empty()).then_some(self.next)
    }

    /// A service has begun or ceased to run with a limit.
    pub(crate) fn set_limited(&mut self, id: ServiceId, is_limited: bool) {
        if is_limited {
            self.limited.insert(id);
        } else {
            self.limited.remove(&id);
        }
    }

    /// How many run with a limit.
    pub(crate) fn count(&self) -> usize {
        self.limited.len()
    }

    pub(crate) fn forget(&mut self, id: ServiceId) {
        self.limited.remove(&id);
        self.warned.remove(&id);
    }
}

impl Supervisor {
    /// Takes the look that is due.
    pub(crate) fn look_at_memory(&mut self, now: Now) {
        if self.memory.deadline().is_some_and(|at| at <= now.mono) {
            let all: Vec<Whose> = self.memory.limited.iter().copied().map(Some).collect();
            self.memory.next = now.mono + EVERY;
            self.ask_for_memory(all, Detail::Rss);
        }
    }

    fn ask_for_memory(&mut self, whose: Vec<Whose>, detail: Detail) {
        let (sample, runs) = self.ask_to_read(&whose, detail);
        self.memory.look = Some(Look { sample, detail, runs });
    }

    /// What a look has shown; false: the sample was no look.
    pub(crate) fn memory_read(&mut self, now: Now, sample: u64, usages: &[(Whose, Usage)]) -> bool {
        let Some(look) = self.memory.look.take_if(|look| look.sample == sample) else { return false };
        self.note_usage(&look.runs, usages);
        let usages: BTreeMap<Whose, &Usage> = usages.iter().map(|(whose, usage)| (*whose, usage)).gather();
        let mut near = Vec::new();
        for (whose, run) in look.runs {
            let Some((id, max)) = whose.and_then(|id| Some((id, self.service(id)?.spec().max_memory?))) else { continue };
            if self.run_of(whose) != Some(run) || !self.memory.limited.contains(&id) {
                continue; // it has ended meanwhile, or is about to
            }
            let Some(usage) = usages.get(&whose) else {
                self.warn_once(id, run, "its memory cannot be read: `max_memory` has no effect");
                continue;
            };
            let used = usage.pss.unwrap_or(usage.rss);
            let is_near = is_share(used, max, NEAR);
            if is_near && look.detail == Detail::Rss {
                near.push(whose);
            } else if used > max {
                self.step(now, id, &Input::Outgrew { used, max });
            } else if is_near {
                let text = format!("memory: {} of {}; above that it is restarted", size::brief(used), size::brief(max));
                self.warn_once(id, run, &text);
            } else if !is_share(used, max, FAR) {
                self.memory.warned.remove(&id);
            }
        }
        if !near.is_empty() {
            self.ask_for_memory(near, Detail::Pss);
        }
        true
    }

    fn warn_once(&mut self, id: ServiceId, run: Run, text: &str) {
        let Some(name) = self.service(id).map(|service| service.spec().name.clone()) else { return };
        if self.memory.warned.insert(id, run) != Some(run) {
            self.actions.push(Action::Announce(Notice::Warning(format!("{name}: {text}"))));
        }
    }
}

/// Whether so much is at least this share.
fn is_share(used: u64, max: u64, percent: u64) -> bool {
    u128::from(used) * 100 >= u128::from(max) * u128::from(percent)
}
