//! Reads the resource usage of processes from /proc.
//!
//! On a thread of its own, which exists only while somebody has asked: thousands of files are not read in the
//! loop. Arithmetic is the core's. A process that is gone, or hidden (hidepid), is simply not in the answer.

use std::fs;
use std::io::Read;

use nix::unistd::{SysconfVar, sysconf};
use ppm_core::event::{Detail, Pid};
use ppm_core::usage::Usage;
use tokio::sync::mpsc;

use crate::clock;
use crate::driver::Wake;

/// The thread needs little more than two lines of /proc.
const STACK: usize = 64 * 1024;

/// Reads these processes in the background; what could be read goes to the inbox as the sample of this number.
pub fn read(sample: u64, pids: Vec<Pid>, detail: Detail, inbox: mpsc::Sender<Wake>) {
    let without_thread = inbox.clone();
    let work = move || {
        let _ = inbox.blocking_send(Wake::Sampled(sample, read_all(&pids, detail)));
    };
    let thread = std::thread::Builder::new().name("sampler".to_owned()).stack_size(STACK).spawn(work);
    if thread.is_err() {
        // No thread to be had (R50): figures are not worth more than services.
        tokio::spawn(async move { without_thread.send(Wake::Sampled(sample, Vec::new())).await });
    }
}

fn read_all(pids: &[Pid], detail: Detail) -> Vec<(Pid, Usage)> {
    let system = System::read();
    pids.iter().filter_map(|pid| Some((*pid, read_one(*pid, detail, &system)?))).collect()
}

/// The units of /proc.
struct System {
    tick_ms: u64,
    page: u64,
}

impl System {
    fn read() -> System {
        let value = |var, default| sysconf(var).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(default);
        System { tick_ms: 1000 / value(SysconfVar::CLK_TCK, 100).max(1), page: value(SysconfVar::PAGE_SIZE, 4096) }
    }
}

fn read_one(pid: Pid, detail: Detail, system: &System) -> Option<Usage> {
    let at = clock::now().mono;
    let stat = read_file(pid, "stat")?;
    // The name stands in parentheses and may hold anything, also parentheses (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let io = read_file(pid, "io");
    let io_field = |name| io.as_deref().and_then(|text| field_of(text, name));
    let full = detail == Detail::Full;
    let pss = if full { read_file(pid, "smaps_rollup").and_then(|text| field_of(&text, "Pss:")) } else { None };
    Some(Usage {
        at,
        cpu_ms: (number(14)? + number(15)?) * system.tick_ms,
        rss: number(24)? * system.page,
        pss: pss.map(|kilobytes| kilobytes * 1024),
        vsz: number(23)?,
        io_read: io_field("read_bytes:"),
        io_write: io_field("write_bytes:"),
        threads: u32::try_from(number(20)?).unwrap_or(u32::MAX),
        fds: if full { count_descriptors(pid) } else { None },
    })
}

/// A process chooses its own name, which need not be UTF-8; figures are.
fn read_file(pid: Pid, name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(1024);
    fs::File::open(format!("/proc/{pid}/{name}")).ok()?.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn field_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn count_descriptors(pid: Pid) -> Option<u32> {
    u32::try_from(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_can_be_read_and_a_missing_one_is_left_out() {
        let me = Pid(nix::unistd::getpid().as_raw());
        let read = read_all(&[me, Pid(i32::MAX)], Detail::Full);
        let [(pid, usage)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(*pid, me);
        assert!(usage.rss > 0 && usage.vsz >= usage.rss && usage.threads >= 1, "{usage:?}");
        assert!(usage.fds.is_some_and(|fds| fds >= 3), "{usage:?}");
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(field_of("Rss:  12 kB\nPss:    7 kB\n", "Pss:"), Some(7));
        assert_eq!(field_of("Rss:  12 kB\n", "Pss:"), None);
    }
}
