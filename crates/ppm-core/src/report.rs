//! What there is to be told of the daemon and its services to those who only look: the state behind metrics, readiness
//! and the status page.
//!
//! A report is a view of one moment. With figures it is what a reading of all processes has shown, taken when it is
//! asked for, but not more than once a second. Nobody asking costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_protocol::{ServiceRow, Timestamp};

use crate::event::{Action, Detail, Whose};
use crate::requests::is_well;
use crate::runs::Counters;
use crate::sampling::Run;
use crate::service::{End, Service};
use crate::supervisor::{Phase, Supervisor};
use crate::tally::Tally;
use crate::time::{Mono, Now};
use crate::usage::Usage;

/// Whoever asks more often gets the figures of the last reading: strangers may ask, and a reading looks at every process.
const FRESH: Duration = Duration::from_secs(1);

/// How much there is to be in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// How the services are.
    State,
    /// Also what they use, and what has happened to them.
    Figures,
}

/// One moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The daemon's.
    pub version: String,
    /// The daemon's process.
    pub pid: i32,
    /// The moment.
    pub at: Timestamp,
    /// When the daemon was started.
    pub started: Timestamp,
    /// The shutdown has begun.
    pub is_ending: bool,
    /// Whether the configuration could be used when it was last read.
    pub is_configured: bool,
    /// When the configuration was read that is in use.
    pub configured: Timestamp,
    /// All of them, by number.
    pub services: Vec<ServiceReport>,
    /// What the daemon itself uses; None: that was not asked for, or cannot be read.
    pub own: Option<Usage>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceReport {
    /// As `list` shows it.
    pub row: ServiceRow,
    /// It is as it should be, as `health` finds.
    pub is_well: bool,
    /// The name that it shares with others that are alike.
    pub replica_of: Option<String>,
    /// What it uses, and what has happened to it; None: that was not asked for.
    pub figures: Option<Box<Figures>>,
}

/// The figures of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// What it uses, while it runs.
    pub usage: Option<Usage>,
    /// What has happened to it.
    pub tally: Tally,
    /// What has become of its planned runs; None: it has no schedule.
    pub plans: Option<Counters>,
    /// When its next planned run is due.
    pub next_run: Option<Timestamp>,
    /// Whether its last run ended well; None: none has ended.
    pub ended_well: Option<bool>,
    /// How many lines of its output were left out since there were too many; None: all are let through. The daemon counts them.
    pub lost_lines: Option<u64>,
    /// How many bytes of memory it may use; None: any.
    pub memory_limit: Option<u64>,
}

/// Reports that wait for a reading, by its number.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pending: BTreeMap<u64, Pending>,
    /// When the last reading for one was there.
    read: Option<Mono>,
}

#[derive(Debug)]
struct Pending {
    report: u64,
    runs: BTreeMap<Whose, Run>,
}

impl Supervisor {
    /// A report is asked for under this number.
    pub(crate) fn report_asked(&mut self, now: Now, number: u64, depth: Depth) {
        if depth == Depth::State || self.reports.read.is_some_and(|at| now.mono.since(at) < FRESH) {
            return self.report(now, number, depth);
        }
        let whose: Vec<Whose> = self.services.keys().copied().map(Some).chain([None]).collect();
        let (sample, runs) = self.ask_to_read(&whose, Detail::Cheap);
        self.reports.pending.insert(sample, Pending { report: number, runs });
    }

    /// A reading is there; false: it was not for a report.
    pub(crate) fn report_read(&mut self, now: Now, sample: u64, usages: &[(Whose, Usage)]) -> bool {
        let Some(Pending { report, runs }) = self.reports.pending.remove(&sample) else { return false };
        self.keep_readings(&runs, usages.to_vec());
        self.reports.read = Some(now.mono);
        self.report(now, report, Depth::Figures);
        true
    }

    fn report(&mut self, now: Now, number: u64, depth: Depth) {
        let service = |service: &Service| ServiceReport {
            row: self.row_of(now, service),
            is_well: is_well(service),
            replica_of: service.spec().replica_of.clone(),
            figures: (depth == Depth::Figures).then(|| Box::new(self.figures_of(service))),
        };
        let report = Report {
            version: self.version.clone(),
            pid: self.pid.0,
            at: now.wall,
            started: self.started.wall,
            is_ending: self.phase != Phase::Running,
            is_configured: self.reading.is_right(),
            configured: self.reading.since().unwrap_or(self.started.wall),
            services: self.services().map(service).collect(),
            own: if depth == Depth::Figures { self.last_usage(None) } else { None },
        };
        self.actions.push(Action::Report { number, report: Box::new(report) });
    }

    fn figures_of(&self, service: &Service) -> Figures {
        Figures {
            usage: self.last_usage(Some(service.id())),
            tally: service.tally().clone(),
            plans: service.spec().schedule.as_deref().map(|_| service.runs().counters),
            next_run: service.plan(),
            ended_well: service.last().map(End::is_good),
            lost_lines: None,
            memory_limit: service.spec().max_memory,
        }
    }

    /// What was last read of the run that there is.
    fn last_usage(&self, whose: Whose) -> Option<Usage> {
        let run = self.run_of(whose)?;
        self.last_reading(whose).filter(|(of, _)| *of == run).map(|(_, usage)| usage)
    }
}
