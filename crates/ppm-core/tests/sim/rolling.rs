//! Restarts one after the other, as a judge expects them.

use std::collections::VecDeque;

use ppm_core::event::{From, ServiceId};
use ppm_core::time::Mono;

use crate::judge::Judge;
use crate::model::{Known, Wish};

/// One that is under way.
#[derive(Debug)]
pub struct Roll {
    /// Who is being restarted, and how often it had been started before.
    now: Option<(ServiceId, u64)>,
    rest: VecDeque<ServiceId>,
}

impl Known {
    /// It has been started more often than that, and is ready.
    pub fn is_renewed(&self, starts: u64) -> bool {
        self.starts > starts && self.stays() && self.is_up() && self.probes.ready
    }
}

impl Judge {
    /// Somebody asks for these to be restarted one after the other.
    pub fn rolls(&self, mut ids: Vec<ServiceId>) -> Roll {
        ids.sort_by_key(|id| self.known.get(id).map_or(0, |known| self.depth(known)));
        Roll { now: None, rest: ids.into() }
    }

    /// Goes on with the next where the one before is ready.
    pub fn roll_on(&mut self, now: Mono) {
        let interval = self.settings.watch_restart_interval;
        // Files that changed while it started: it is ended again as soon as it runs.
        let goes_again = |known: &Known| known.reacts_with_restart() && known.is_to_answer(now, interval);
        let mut rolls = std::mem::take(&mut self.rolls);
        let calls: Vec<From> = rolls.keys().cloned().collect();
        for call in calls {
            loop {
                let roll = &rolls[&call];
                let is_done = |(id, starts): (ServiceId, u64)| {
                    self.known.get(&id).is_some_and(|known| known.is_renewed(starts) && !goes_again(known))
                };
                let (true, Some(id)) = (roll.now.is_none_or(is_done), roll.rest.front().copied()) else { break };
                let now = self.known.get(&id).map(|known| (id, known.starts));
                let is_under_way = now.is_some() && rolls.values().any(|other| other.now == now);
                if let Some(roll) = rolls.get_mut(&call) {
                    roll.rest.pop_front();
                    roll.now = now;
                }
                self.with(id, |known| {
                    if known.wish != Wish::Gone && !is_under_way {
                        known.wish_restart();
                    }
                });
            }
        }
        self.rolls = rolls;
    }
}
