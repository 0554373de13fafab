//! Resource usage as arithmetic: two readings and the time between them become a row.
//!
//! Never reads anything. Invariant: a rate is never negative and never infinite, whatever the counters did.

use ppm_protocol::StatsRow;

use crate::event::Pid;
use crate::time::Mono;

/// One reading of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was read.
    pub at: Mono,
    /// User and system time in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Proportional memory in bytes; None: not read, or not told.
    pub pss: Option<u64>,
    /// Virtual memory in bytes.
    pub vsz: u64,
    /// Bytes read from storage; None: the kernel does not tell.
    pub io_read: Option<u64>,
    /// Bytes written to storage; None: the kernel does not tell.
    pub io_write: Option<u64>,
    /// Threads.
    pub threads: u32,
    /// Open descriptors; None: not read, or not told.
    pub fds: Option<u32>,
}

/// The row of a process, given an earlier reading of the same process and the latest.
pub fn row(id: Option<u32>, name: &str, pid: Pid, earlier: &Usage, latest: &Usage, uptime_ms: u64) -> StatsRow {
    let seconds = latest.at.since(earlier.at).as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are below 2^53 and not negative")]
    let rate = |from: Option<u64>, to: Option<u64>| {
        let moved = to?.saturating_sub(from.or(to)?);
        Some(if seconds > 0.0 { (moved as f64 / seconds) as u64 } else { 0 })
    };
    let busy = latest.cpu_ms.saturating_sub(earlier.cpu_ms) as f64 / 1000.0;
    let percent = if seconds > 0.0 { busy / seconds * 100.0 } else { 0.0 };
    StatsRow {
        id,
        name: name.to_owned(),
        pid: Some(pid.0),
        cpu_percent: Some((percent * 10.0).round() / 10.0),
        cpu_time_ms: Some(latest.cpu_ms),
        memory_rss: Some(latest.rss),
        memory_pss: latest.pss,
        memory_vsz: Some(latest.vsz),
        io_read: latest.io_read,
        io_write: latest.io_write,
        io_read_rate: rate(earlier.io_read, latest.io_read),
        io_write_rate: rate(earlier.io_write, latest.io_write),
        processes: Some(1),
        threads: Some(latest.threads),
        fds: latest.fds,
        uptime_ms: Some(uptime_ms),
    }
}

/// The row of a service without a process: everything is null.
pub fn empty_row(id: u32, name: &str) -> StatsRow {
    StatsRow { id: Some(id), name: name.to_owned(), ..StatsRow::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(at_ms: u64, cpu_ms: u64, io: Option<u64>) -> Usage {
        Usage { at: Mono(at_ms * 1_000_000), cpu_ms, io_read: io, io_write: io, ..Usage::default() }
    }

    fn of(earlier: &Usage, latest: &Usage) -> StatsRow {
        row(Some(1), "web", Pid(7), earlier, latest, 1000)
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
    fn what_the_kernel_does_not_tell_stays_unknown() {
        let row = of(&usage(0, 0, None), &usage(500, 0, None));
        assert_eq!((row.io_read, row.io_read_rate), (None, None));
    }
}
