//! Resource usage as arithmetic: readings of processes become that of a service, and two of those a row.
//!
//! Never reads anything. Invariant: a counter never goes back while a service runs, and a rate is never negative and
//! never infinite, whatever the kernel showed.

use std::time::Duration;

use ppm_protocol::{ContainerRow, StatsRow};

use crate::event::Pid;
use crate::time::Mono;

/// What one process shows. A dead one that has not been reaped has used what it has used, and holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Its own time on processors.
    pub cpu: Duration,
    /// That of the children it has waited for, and of theirs.
    pub cpu_of_dead: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Proportional memory in bytes; None: not read, or not told.
    pub pss: Option<u64>,
    /// Virtual memory in bytes.
    pub vsz: u64,
    /// Bytes read from storage, by the children it has waited for too; None: not read, or not told.
    pub io_read: Option<u64>,
    /// Bytes written to storage, likewise.
    pub io_write: Option<u64>,
    /// Threads; 0: it is dead.
    pub threads: u32,
    /// Open descriptors; None: not read, or not told.
    pub fds: Option<u32>,
}

/// What those have used, all told, whom the daemon itself has reaped: no living process shows it any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time on processors, with that of the children they had waited for.
    pub cpu: Duration,
    /// Bytes read from storage.
    pub io_read: u64,
    /// Bytes written to storage.
    pub io_write: u64,
}

impl Spent {
    /// Both together.
    pub fn and(self, other: Spent) -> Spent {
        Spent {
            cpu: self.cpu.saturating_add(other.cpu),
            io_read: self.io_read.saturating_add(other.io_read),
            io_write: self.io_write.saturating_add(other.io_write),
        }
    }
}

/// One reading of all processes of a service together, or of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was read.
    pub at: Mono,
    /// Time on processors, of the living and of those who have ended.
    pub cpu: Duration,
    /// Resident memory in bytes: what several share is counted for each of them.
    pub rss: u64,
    /// Proportional memory in bytes: what several share is counted once; None: not read, or not told of all.
    pub pss: Option<u64>,
    /// Virtual memory in bytes.
    pub vsz: u64,
    /// Bytes read from storage; None: not read, or not told of all.
    pub io_read: Option<u64>,
    /// Bytes written to storage; None: not read, or not told of all.
    pub io_write: Option<u64>,
    /// Living processes.
    pub processes: u32,
    /// Their threads.
    pub threads: u32,
    /// Open descriptors; None: not read, or not told of all.
    pub fds: Option<u32>,
}

impl Usage {
    /// The sum over all processes, and what is left of those that are no more.
    ///
    /// Who is waited for by its parent goes over into that one's figures, who is reaped by the daemon into `spent`: so
    /// everybody is counted once. A figure that is not told of one process is not told of all.
    pub fn sum(at: Mono, spent: Spent, processes: &[Figures]) -> Usage {
        let nobody = Usage {
            at,
            cpu: spent.cpu,
            pss: Some(0),
            io_read: Some(spent.io_read),
            io_write: Some(spent.io_write),
            fds: Some(0),
            ..Usage::default()
        };
        processes.iter().fold(nobody, |sum, one| {
            let lives = one.threads > 0;
            let all = |sum: Option<u64>, one: Option<u64>| Some(sum?.saturating_add(if lives { one? } else { one.unwrap_or(0) }));
            Usage {
                at,
                cpu: sum.cpu.saturating_add(one.cpu).saturating_add(one.cpu_of_dead),
                rss: sum.rss.saturating_add(one.rss),
                pss: all(sum.pss, one.pss),
                vsz: sum.vsz.saturating_add(one.vsz),
                io_read: all(sum.io_read, one.io_read),
                io_write: all(sum.io_write, one.io_write),
                processes: sum.processes.saturating_add(u32::from(lives)),
                threads: sum.threads.saturating_add(one.threads),
                fds: all(sum.fds.map(u64::from), one.fds.map(u64::from)).map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            }
        })
    }

    /// The same, with the time on processors that the kernel has counted for all of them together, if it has.
    pub fn metered(self, cpu: Option<Duration>) -> Usage {
        Usage { cpu: cpu.unwrap_or(self.cpu), ..self }
    }

    /// The same, with counters that are no less than they were: who ended while all were read may be missing from one
    /// sum, and is in the next.
    pub fn following(self, earlier: &Usage) -> Usage {
        Usage {
            cpu: self.cpu.max(earlier.cpu),
            io_read: self.io_read.map(|bytes| bytes.max(earlier.io_read.unwrap_or(0))),
            io_write: self.io_write.map(|bytes| bytes.max(earlier.io_write.unwrap_or(0))),
            ..self
        }
    }
}

/// The container as a whole, or what the daemon shares a control group with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Container {
    /// When it was read.
    pub at: Mono,
    /// Time on processors since the group was made.
    pub cpu: Option<Duration>,
    /// How many cores it may use.
    pub cores: Option<f64>,
    /// Bytes, without pages of files that were not used lately.
    pub memory: Option<u64>,
    /// The least of what its groups and the machine allow.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How many of them there may be; None: any, as far as is known.
    pub tasks_limit: Option<u64>,
    /// How much is waited for what is short.
    pub pressure: Pressure,
}

/// Percent of the last ten seconds in which somebody waited for it (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// A processor.
    pub cpu: Option<f64>,
    /// Memory.
    pub memory: Option<f64>,
    /// Storage.
    pub io: Option<f64>,
}

/// The row of the container, given an earlier reading and the latest.
pub fn container_row(earlier: &Container, latest: &Container) -> ContainerRow {
    let busy = earlier.cpu.zip(latest.cpu).map(|(earlier, latest)| latest.saturating_sub(earlier));
    ContainerRow {
        cpu_percent: busy.map(|busy| tenths(percent(busy, latest.at.since(earlier.at)))),
        cores: latest.cores,
        memory: latest.memory,
        memory_limit: latest.memory_limit,
        tasks: latest.tasks,
        tasks_limit: latest.tasks_limit,
        pressure_cpu: latest.pressure.cpu,
        pressure_memory: latest.pressure.memory,
        pressure_io: latest.pressure.io,
    }
}

/// Of one core; nothing where no time has passed.
pub(crate) fn percent(busy: Duration, over: Duration) -> f64 {
    if over.is_zero() { 0.0 } else { busy.as_secs_f64() / over.as_secs_f64() * 100.0 }
}

pub(crate) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The row of a run, given the latest reading and an earlier one of the same run: without that, nothing is known of rates.
pub fn row(id: Option<u32>, name: &str, pid: Pid, earlier: Option<&Usage>, latest: &Usage, uptime_ms: u64) -> StatsRow {
    let totals = StatsRow {
        cpu_time_ms: Some(millis(latest.cpu)),
        memory_rss: Some(latest.rss),
        memory_pss: latest.pss,
        memory_vsz: Some(latest.vsz),
        io_read: latest.io_read,
        io_write: latest.io_write,
        processes: Some(latest.processes),
        threads: Some(latest.threads),
        fds: latest.fds,
        ..unread_row(id, name, pid, uptime_ms)
    };
    let Some(earlier) = earlier else { return totals };
    let over = latest.at.since(earlier.at);
    let seconds = over.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are below 2^53 and not negative")]
    let rate = |from: Option<u64>, to: Option<u64>| {
        let moved = to?.saturating_sub(from.or(to)?);
        Some(if seconds > 0.0 { (moved as f64 / seconds) as u64 } else { 0 })
    };
    StatsRow {
        cpu_percent: Some(tenths(percent(latest.cpu.saturating_sub(earlier.cpu), over))),
        io_read_rate: rate(earlier.io_read, latest.io_read),
        io_write_rate: rate(earlier.io_write, latest.io_write),
        ..totals
    }
}

/// The row of a run of which nothing can be read: what the daemon knows itself.
pub fn unread_row(id: Option<u32>, name: &str, pid: Pid, uptime_ms: u64) -> StatsRow {
    StatsRow { id, name: name.to_owned(), pid: Some(pid.0), uptime_ms: Some(uptime_ms), ..StatsRow::default() }
}

/// The row of a service without a process: everything is null.
pub fn empty_row(id: u32, name: &str) -> StatsRow {
    StatsRow { id: Some(id), name: name.to_owned(), ..StatsRow::default() }
}

/// In whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn usage(at_ms: u64, cpu_ms: u64, io: Option<u64>) -> Usage {
        Usage { at: Mono(at_ms * 1_000_000), cpu: ms(cpu_ms), io_read: io, io_write: io, ..Usage::default() }
    }

    fn of(earlier: &Usage, latest: &Usage) -> StatsRow {
        row(Some(1), "web", Pid(7), Some(earlier), latest, 1000)
    }

    fn process(cpu: u64, cpu_of_dead: u64, rss: u64, io: Option<u64>) -> Figures {
        let figures = Figures { cpu: ms(cpu), cpu_of_dead: ms(cpu_of_dead), rss, vsz: 2 * rss, threads: 2, ..Figures::default() };
        Figures { pss: Some(rss / 2), io_read: io, io_write: io, fds: Some(3), ..figures }
    }

    #[test]
    fn rates_are_over_the_time_between_the_readings() {
        let row = of(&usage(0, 100, Some(1000)), &usage(500, 350, Some(6000)));
        assert_eq!((row.cpu_percent, row.io_read_rate, row.cpu_time_ms), (Some(50.0), Some(10_000), Some(350)));
    }

    #[test]
    fn counters_that_go_back_or_stand_still_in_time_give_zero() {
        let row = of(&usage(500, 350, Some(6000)), &usage(500, 100, Some(1000)));
        assert_eq!((row.cpu_percent, row.io_read_rate), (Some(0.0), Some(0)));
        let row = of(&usage(0, 350, Some(6000)), &usage(500, 100, Some(1000)));
        assert_eq!((row.cpu_percent, row.io_write_rate), (Some(0.0), Some(0)));
    }

    #[test]
    fn one_reading_makes_no_rate() {
        let row = row(Some(1), "web", Pid(7), None, &usage(500, 350, Some(6000)), 1000);
        assert_eq!((row.cpu_percent, row.io_read_rate, row.io_write_rate), (None, None, None));
        assert_eq!((row.cpu_time_ms, row.io_read), (Some(350), Some(6000)));
    }

    #[test]
    fn what_the_kernel_does_not_tell_stays_unknown() {
        let row = of(&usage(0, 0, None), &usage(500, 0, None));
        assert_eq!((row.io_read, row.io_read_rate), (None, None));
    }

    #[test]
    fn a_service_is_all_of_its_processes_and_of_those_that_are_no_more() {
        let spent = Spent { cpu: ms(7), io_read: 5, io_write: 5 };
        let sum = Usage::sum(Mono(1), spent, &[process(100, 20, 4096, Some(10)), process(3, 0, 8192, Some(1))]);
        let expected = Usage { cpu: ms(130), rss: 12_288, pss: Some(6144), vsz: 24_576, ..usage(0, 0, Some(16)) };
        assert_eq!(sum, Usage { at: Mono(1), processes: 2, threads: 4, fds: Some(6), ..expected });
    }

    #[test]
    fn a_process_that_its_parent_waited_for_is_counted_once() {
        let both = [process(100, 0, 0, Some(10)), process(40, 0, 0, Some(5))];
        let after = [process(100, 40, 0, Some(15))];
        let of = |processes: &[Figures]| Usage::sum(Mono(0), Spent::default(), processes);
        assert_eq!((of(&both).cpu, of(&both).io_read), (of(&after).cpu, of(&after).io_read));
    }

    #[test]
    fn a_dead_process_that_nobody_has_waited_for_counts_for_what_it_used_only() {
        let dead = Figures { cpu: ms(50), ..Figures::default() };
        let sum = Usage::sum(Mono(0), Spent::default(), &[process(1, 0, 4096, Some(10)), dead]);
        assert_eq!((sum.cpu, sum.processes, sum.threads, sum.io_read, sum.fds), (ms(51), 1, 2, Some(10), Some(3)));
    }

    #[test]
    fn a_figure_that_is_not_told_of_one_process_is_not_told_of_the_service() {
        let hidden = Figures { io_read: None, pss: None, fds: None, ..process(1, 0, 4096, Some(10)) };
        let sum = Usage::sum(Mono(0), Spent::default(), &[process(1, 0, 4096, Some(10)), hidden]);
        assert_eq!((sum.io_read, sum.io_write, sum.pss, sum.fds, sum.rss), (None, Some(20), None, None, 8192));
    }

    #[test]
    fn the_container_has_a_share_of_its_cores_and_what_is_not_told_stays_unknown() {
        let at = |at_ms: u64, cpu| Container { at: Mono(at_ms * 1_000_000), cpu, cores: Some(2.0), ..Container::default() };
        let row = container_row(&at(0, Some(ms(1000))), &at(500, Some(ms(1250))));
        assert_eq!((row.cpu_percent, row.cores, row.memory), (Some(50.0), Some(2.0), None));
        assert_eq!(container_row(&at(0, None), &at(500, Some(ms(1250)))).cpu_percent, None);
        assert_eq!(container_row(&at(0, Some(ms(9))), &at(0, Some(ms(9)))).cpu_percent, Some(0.0));
    }

    #[test]
    fn counters_never_run_backwards() {
        let earlier = Usage { rss: 10, ..usage(0, 350, Some(6000)) };
        let next = usage(500, 100, Some(1000)).following(&earlier);
        assert_eq!((next.at, next.cpu, next.io_read, next.io_write, next.rss), (Mono(500_000_000), ms(350), Some(6000), Some(6000), 0));
        assert_eq!(usage(500, 400, None).following(&earlier).io_read, None, "not told any more");
        assert_eq!(usage(500, 400, Some(7)).following(&usage(0, 0, None)).io_read, Some(7));
    }
}
