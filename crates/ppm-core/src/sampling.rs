//! `stats`: readings are taken when somebody asks, and only then.
//!
//! A rate needs two readings. The base is the last reading of the same process if it is neither too young nor
//! older than `stats_interval`; otherwise one is taken now and the other a short window later. Nobody asking costs
//! nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_protocol::StatsRow;
use ppm_protocol::message::Answer;

use crate::event::{Action, ClientId, Detail, From, Pid, ServiceId};
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now};
use crate::usage::{self, Usage};

/// The shortest time over which a rate means something (the kernel counts CPU time in steps of 10 ms).
const WINDOW: Duration = Duration::from_millis(200);

/// Whose usage: a service's, or the daemon's own.
type Whose = Option<ServiceId>;

/// The last reading of somebody, and of which process.
type Bases = BTreeMap<Whose, (Pid, Usage)>;

#[derive(Debug)]
struct Job {
    to: From,
    whose: Vec<Whose>,
    again_at: Option<Mono>,
    detail: Detail,
    /// What its rates are over; others who ask meanwhile do not change it.
    bases: Bases,
}

/// Readings kept as bases, and calls that wait for readings.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    last: Bases,
    jobs: BTreeMap<u64, Job>,
    next: u64,
}

impl Sampling {
    /// When the next second reading is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.jobs.values().filter_map(|job| job.again_at).min()
    }

    /// The calls not answered yet.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &From> {
        self.jobs.values().map(|job| &job.to)
    }

    /// Whose readings are kept.
    pub(crate) fn kept(&self) -> impl Iterator<Item = ServiceId> + '_ {
        self.last.keys().filter_map(|whose| *whose)
    }

    /// Forgets all calls: somebody else answers them.
    pub(crate) fn take_calls(&mut self) -> impl Iterator<Item = From> + use<> {
        std::mem::take(&mut self.jobs).into_values().map(|job| job.to)
    }

    pub(crate) fn forget(&mut self, id: ServiceId) {
        self.last.remove(&Some(id));
    }

    pub(crate) fn disconnect(&mut self, client: ClientId) {
        self.jobs.retain(|_, job| job.to.client != client);
    }
}

impl Supervisor {
    /// Takes up a call for the usage of these services, and of the daemon if `whose` holds None.
    pub(crate) fn sample(&mut self, now: Now, to: From, whose: Vec<Whose>) {
        let sample = self.sampling.next;
        self.sampling.next += 1;
        let detail = if whose.iter().all(|whose| self.has_base(now, *whose)) { Detail::Full } else { Detail::Cheap };
        let bases = match detail {
            Detail::Full => whose.iter().filter_map(|whose| Some((*whose, *self.sampling.last.get(whose)?))).collect(),
            Detail::Cheap => Bases::new(),
        };
        self.sampling.jobs.insert(sample, Job { to, whose, again_at: None, detail, bases });
        self.ask_for_sample(sample);
    }

    /// A reading is there: it is the second, or the second follows.
    pub(crate) fn sampled(&mut self, now: Now, sample: u64, usages: Vec<(Pid, Usage)>) {
        let Some(mut job) = self.sampling.jobs.remove(&sample) else { return };
        let usages: BTreeMap<Pid, Usage> = usages.into_iter().collect();
        let readings = self.readings(&job.whose, &usages);
        match job.detail {
            Detail::Cheap => {
                job.bases = readings.clone();
                job.again_at = Some(now.mono + WINDOW);
                self.sampling.jobs.insert(sample, job);
            }
            Detail::Full => {
                let rows = job.whose.iter().filter_map(|whose| self.stats_row(now, *whose, &job.bases, &usages)).collect();
                self.actions.push(Action::Respond { to: job.to, result: Ok(Answer::Stats(rows)) });
            }
        }
        self.sampling.last.extend(readings);
    }

    /// Takes the second readings that are due.
    pub(crate) fn sample_again(&mut self, now: Now) {
        let due: Vec<u64> =
            self.sampling.jobs.iter().filter(|(_, job)| job.again_at.is_some_and(|at| at <= now.mono)).map(|(sample, _)| *sample).collect();
        for sample in due {
            if let Some(job) = self.sampling.jobs.get_mut(&sample) {
                job.again_at = None;
                job.detail = Detail::Full;
            }
            self.ask_for_sample(sample);
        }
    }

    fn ask_for_sample(&mut self, sample: u64) {
        let Some(job) = self.sampling.jobs.get(&sample) else { return };
        let pids = job.whose.iter().filter_map(|whose| self.pid_of(*whose)).collect();
        self.actions.push(Action::Sample { sample, pids, detail: job.detail });
    }

    fn pid_of(&self, whose: Whose) -> Option<Pid> {
        match whose {
            None => Some(self.pid),
            Some(id) => self.service(id)?.pid(),
        }
    }

    fn has_base(&self, now: Now, whose: Whose) -> bool {
        let Some(pid) = self.pid_of(whose) else { return true };
        self.sampling.last.get(&whose).is_some_and(|(of, usage)| {
            let age = now.mono.since(usage.at);
            *of == pid && age >= WINDOW && age <= self.settings.stats_interval
        })
    }

    fn readings(&self, whose: &[Whose], usages: &BTreeMap<Pid, Usage>) -> Bases {
        let reading = |whose: &Whose| {
            let pid = self.pid_of(*whose)?;
            Some((*whose, (pid, *usages.get(&pid)?)))
        };
        whose.iter().filter_map(reading).collect()
    }

    fn stats_row(&self, now: Now, whose: Whose, bases: &Bases, usages: &BTreeMap<Pid, Usage>) -> Option<StatsRow> {
        let (id, name, since) = match whose {
            None => (None, "<ppm>", self.started.mono),
            Some(id) => {
                let service = self.service(id)?;
                let name = service.spec().name.as_str();
                let Some(live) = service.live() else { return Some(usage::empty_row(id.0, name)) };
                (Some(id.0), name, live.since)
            }
        };
        let pid = self.pid_of(whose)?;
        let Some(latest) = usages.get(&pid) else { return Some(usage::empty_row(id?, name)) };
        let earlier = bases.get(&whose).filter(|(of, _)| *of == pid).map_or(latest, |(_, usage)| usage);
        let uptime = u64::try_from(now.mono.since(since).as_millis()).unwrap_or(u64::MAX);
        Some(usage::row(id, name, pid, earlier, latest, uptime))
    }
}
