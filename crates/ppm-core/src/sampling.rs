//! `stats`: readings are taken when somebody asks, and only then.
//!
//! A rate needs two readings. The base is the last reading of the same process if it is neither too young nor
//! older than `stats_interval`; otherwise one is taken now and the other a short window later, unless whoever asks would
//! rather have no rates than wait. Nobody asking costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_protocol::StatsRow;
use ppm_protocol::message::Answer;

use crate::event::{Action, ClientId, Detail, From, Pid, Running, ServiceId, Whose};
use crate::gather::Gather;
use crate::service::Service;
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now};
use crate::usage::{self, Container, Usage};

/// The shortest time over which a rate means something (the kernel counts CPU time in steps of 10 ms).
pub(crate) const WINDOW: Duration = Duration::from_millis(200);

/// A run: its main process, and when that was started. Of two runs with the same number the second is another.
pub(crate) type Run = (Pid, Mono);

/// The last reading of somebody, and of which run.
pub(crate) type Bases = BTreeMap<Whose, (Run, Usage)>;

#[derive(Debug)]
struct Job {
    to: From,
    whose: Vec<Whose>,
    /// The runs that were there when the last reading was asked for.
    runs: BTreeMap<Whose, Run>,
    stage: Stage,
    /// How much the second reading is to tell.
    wanted: Detail,
    /// What its rates are over; others who ask meanwhile do not change it.
    bases: Bases,
    /// The same for the container.
    container: Option<Container>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reading was asked for on which rates are based.
    First,
    /// It is there; the last is due then.
    Between(Mono),
    /// The reading was asked for that is told.
    Last,
}

impl Job {
    fn again_at(&self) -> Option<Mono> {
        match self.stage {
            Stage::Between(at) => Some(at),
            Stage::First | Stage::Last => None,
        }
    }
}

/// Readings kept as bases, and calls that wait for readings.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    last: Bases,
    container: Option<Container>,
    jobs: BTreeMap<u64, Job>,
    next: u64,
}

impl Sampling {
    /// When the next second reading is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.jobs.values().filter_map(Job::again_at).min()
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
    pub(crate) fn sample(&mut self, now: Now, to: From, whose: Vec<Whose>, wanted: Detail, may_wait: bool) {
        let sample = self.sampling.next;
        self.sampling.next += 1;
        let has_bases = whose.iter().all(|whose| self.has_base(now, *whose));
        let base = |whose: &Whose| Some((*whose, *self.sampling.last.get(whose)?));
        let bases = if has_bases { whose.iter().filter_map(base).gather() } else { Bases::new() };
        let container = self.sampling.container.filter(|_| has_bases);
        let stage = if has_bases || !may_wait { Stage::Last } else { Stage::First };
        self.sampling.jobs.insert(sample, Job { to, whose, runs: BTreeMap::new(), stage, wanted, bases, container });
        self.ask_for_sample(sample);
    }

    /// A reading is there: it is the second, or the second follows.
    pub(crate) fn sampled(&mut self, now: Now, sample: u64, usages: Vec<(Whose, Usage)>, container: Option<Container>) {
        if self.memory_read(now, sample, &usages) || self.report_read(now, sample, &usages) {
            return;
        }
        let Some(mut job) = self.sampling.jobs.remove(&sample) else { return };
        let readings = self.keep_readings(&job.runs, usages);
        self.sampling.container = container.or(self.sampling.container);
        match job.stage {
            Stage::First | Stage::Between(_) => {
                job.bases = readings;
                job.container = container;
                job.stage = Stage::Between(now.mono + WINDOW);
                self.sampling.jobs.insert(sample, job);
            }
            Stage::Last => {
                let mut rows: Vec<StatsRow> =
                    job.whose.iter().filter_map(|whose| self.stats_row(now, *whose, &job.bases, &readings)).collect();
                let own = rows.iter_mut().find(|row| row.id.is_none());
                if let (Some(own), Some(latest)) = (own, container) {
                    own.container = Some(usage::container_row(&job.container.unwrap_or(latest), &latest));
                }
                self.actions.push(Action::Respond { to: job.to, result: Ok(Answer::Stats(rows)) });
            }
        }
    }

    /// Takes the second readings that are due.
    pub(crate) fn sample_again(&mut self, now: Now) {
        let is_due = |job: &Job| job.again_at().is_some_and(|at| at <= now.mono);
        let due: Vec<u64> = self.sampling.jobs.iter().filter(|(_, job)| is_due(job)).map(|(sample, _)| *sample).collect();
        for sample in due {
            if let Some(job) = self.sampling.jobs.get_mut(&sample) {
                job.stage = Stage::Last;
            }
            self.ask_for_sample(sample);
        }
    }

    fn ask_for_sample(&mut self, sample: u64) {
        let Some(job) = self.sampling.jobs.get(&sample) else { return };
        let detail = if job.stage == Stage::Last { job.wanted } else { Detail::Cheap };
        let runs = self.have_read(sample, &job.whose.clone(), detail);
        self.sampling.jobs.entry(sample).and_modify(|job| job.runs = runs);
    }

    /// Has those read who run, under a number of its own: gives it, and the runs.
    pub(crate) fn ask_to_read(&mut self, whose: &[Whose], detail: Detail) -> (u64, BTreeMap<Whose, Run>) {
        let sample = self.sampling.next;
        self.sampling.next += 1;
        (sample, self.have_read(sample, whose, detail))
    }

    fn have_read(&mut self, sample: u64, whose: &[Whose], detail: Detail) -> BTreeMap<Whose, Run> {
        let runs: BTreeMap<Whose, Run> = whose.iter().filter_map(|whose| Some((*whose, self.run_of(*whose)?))).gather();
        let whose = whose.iter().filter(|whose| runs.contains_key(whose)).copied().collect();
        self.actions.push(Action::Sample { sample, whose, running: self.running(), detail });
        runs
    }

    fn running(&self) -> Vec<Running> {
        let running = |service: &Service| Some(Running { id: service.id(), pid: service.pid()?, name: service.spec().name.clone() });
        self.services().filter_map(running).collect()
    }

    pub(crate) fn run_of(&self, whose: Whose) -> Option<Run> {
        match whose {
            None => Some((self.pid, self.started.mono)),
            Some(id) => self.service(id)?.live().map(|live| (live.pid, live.since)),
        }
    }

    /// The run that there is, if it is the one that was to be read.
    pub(crate) fn same_run(&self, whose: Whose, runs: &BTreeMap<Whose, Run>) -> Option<Run> {
        self.run_of(whose).filter(|run| runs.get(&whose) == Some(run))
    }

    fn has_base(&self, now: Now, whose: Whose) -> bool {
        let Some(run) = self.run_of(whose) else { return true };
        let oldest = self.settings.stats_interval + self.settings.stats_interval / 20 + WINDOW; // who asks once an interval is a little late
        self.sampling.last.get(&whose).is_some_and(|(of, usage)| {
            let age = now.mono.since(usage.at);
            *of == run && age >= WINDOW && age <= oldest
        })
    }

    /// The last reading of somebody, and of which run.
    pub(crate) fn last_reading(&self, whose: Whose) -> Option<(Run, Usage)> {
        self.sampling.last.get(&whose).copied()
    }

    /// Keeps what was read of the runs that are still the same, with counters that do not go back; gives that.
    pub(crate) fn keep_readings(&mut self, runs: &BTreeMap<Whose, Run>, usages: Vec<(Whose, Usage)>) -> Bases {
        self.note_usage(runs, &usages);
        let readings = self.readings(runs, usages);
        self.sampling.last.extend(readings.clone());
        readings
    }

    fn readings(&self, runs: &BTreeMap<Whose, Run>, usages: Vec<(Whose, Usage)>) -> Bases {
        let reading = |(whose, usage): (Whose, Usage)| {
            let run = self.same_run(whose, runs)?;
            let earlier = self.sampling.last.get(&whose).filter(|(of, _)| *of == run);
            Some((whose, (run, earlier.map_or(usage, |(_, earlier)| usage.following(earlier)))))
        };
        usages.into_iter().filter_map(reading).gather()
    }

    fn stats_row(&self, now: Now, whose: Whose, bases: &Bases, readings: &Bases) -> Option<StatsRow> {
        let (id, name) = self.told_as(whose)?;
        let memory_limit = whose.and_then(|id| self.service(id)?.spec().max_memory);
        let row = self.figures(now, whose, id, name, bases, readings)?;
        Some(StatsRow { memory_limit, ..row })
    }

    /// The number and name under which it is told; None: it is no more.
    pub(crate) fn told_as(&self, whose: Whose) -> Option<(Option<u32>, &str)> {
        match whose {
            None => Some((None, "<ppm>")),
            Some(id) => Some((Some(id.0), self.service(id)?.spec().name.as_str())),
        }
    }

    fn figures(&self, now: Now, whose: Whose, id: Option<u32>, name: &str, bases: &Bases, readings: &Bases) -> Option<StatsRow> {
        let Some(run @ (pid, since)) = self.run_of(whose) else { return Some(usage::empty_row(id?, name)) };
        let uptime = usage::millis(now.mono.since(since));
        let Some((_, latest)) = readings.get(&whose).filter(|(of, _)| *of == run) else {
            return Some(usage::unread_row(id, name, pid, uptime));
        };
        let earlier = bases.get(&whose).filter(|(of, _)| *of == run).map(|(_, usage)| usage);
        Some(usage::row(id, name, pid, earlier, latest, uptime))
    }
}
