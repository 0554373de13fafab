//! Restarts one after the other, as a judge expects them.

use std::collections::VecDeque;

use ppm_core::event::ServiceId;

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
    pub fn roll_on(&mut self) {
        let mut rolls = std::mem::take(&mut self.rolls);
        for roll in rolls.values_mut() {
            while roll.now.is_none_or(|(id, starts)| self.known.get(&id).is_some_and(|known| known.is_renewed(starts))) {
                let Some(id) = roll.rest.pop_front() else { break };
                roll.now = self.known.get(&id).map(|known| (id, known.starts));
                self.with(id, |known| {
                    if known.wish != Wish::Gone {
                        known.wish_restart();
                    }
                });
            }
        }
        self.rolls = rolls;
    }
}
