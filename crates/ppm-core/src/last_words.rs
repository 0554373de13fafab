//! What services wrote last before they ended, for `why`.
//!
//! Nothing is kept for it: the lines are read again from where the output is kept, when somebody asks. Decided here is
//! of which ends, and how much; bounded, whatever services write and however often they end.

use std::sync::Arc;

use ppm_protocol::message::Answer;
use ppm_protocol::types::LastWords;
use ppm_protocol::{EventKind, EventRow};

use crate::event::{Action, From, ServiceId, Stdin};
use crate::logging::Logger;
use crate::supervisor::Supervisor;
use crate::time::Now;

/// Of how many of the last ends of a service the output is told.
pub const ENDS: usize = 3;

/// How many lines are told of one end.
pub const LINES: usize = 10;

/// How many bytes are looked at for them: a longer line is told from its middle on.
pub const BYTES: usize = 4096;

/// How many bytes of lines one answer has; ends that come after are told without.
pub const BYTES_OF_ALL: usize = 256 * 1024;

impl Supervisor {
    /// Answers `why`: at once where no output is kept, else when it was read.
    pub(crate) fn why(&mut self, now: Now, from: From, ids: &[ServiceId]) {
        let common = self.settings.logger.as_ref();
        let mut lives = self.lives(now, ids);
        let mut kept = Vec::new();
        for life in &mut lives {
            let Some(service) = self.service(ServiceId(life.row.id)) else { continue };
            let launch = service.launch_data(Stdin::Null, common);
            life.output = ends(&life.events);
            if from.call.is_some() && !life.output.is_empty() && launch.logger.as_ref().is_some_and(Logger::keeps) {
                kept.push((service.id(), Arc::new(launch)));
            } else {
                life.output.clear();
            }
        }
        self.actions.push(match kept.is_empty() {
            true => Action::Respond { to: from, result: Ok(Answer::Lives(lives)) },
            false => Action::TellLives { to: from, lives, kept },
        });
    }
}

/// The last ends, of which nothing is known yet but when they were.
fn ends(events: &[EventRow]) -> Vec<LastWords> {
    let ends = events.iter().filter(|event| event.event == EventKind::Exited);
    let ends = ends.filter_map(|event| Some(LastWords { pid: event.pid?, ended: event.time, lines: Vec::new() }));
    let mut last: Vec<LastWords> = ends.rev().take(ENDS).collect();
    last.reverse();
    last
}
