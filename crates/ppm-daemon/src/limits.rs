//! What the container may use, for the first words of the daemon.
//!
//! Read once from the control group that the daemon is in. Invariant: what cannot be found or read is not told.

use std::os::unix::ffi::OsStrExt;

use ppm_core::config::write_size;

use crate::files;
use crate::oom::group_file;

/// More than this is what version 1 says where there is no limit.
const NONE: u64 = 1 << 60;

/// `2.00 cores, 512MiB of memory`; None: neither is limited.
pub fn in_words() -> Option<String> {
    let told = words(
        read("cpu", "cpu.cfs_quota_us", "cpu.max").as_deref(),
        read("cpu", "cpu.cfs_period_us", "cpu.max").as_deref(),
        read("memory", "memory.limit_in_bytes", "memory.max").as_deref(),
    );
    (!told.is_empty()).then(|| told.join(", "))
}

fn read(controller: &str, version_1: &str, version_2: &str) -> Option<String> {
    let file = group_file(controller, version_1, version_2)?;
    String::from_utf8(files::read(file.as_os_str().as_bytes()).ok()?).ok()
}

/// The time of processors in a period, the period (in version 2 both are in one file), and the bytes of memory.
fn words(quota: Option<&str>, period: Option<&str>, memory: Option<&str>) -> Vec<String> {
    let number = |text: &str| text.parse::<u32>().ok();
    let quota = quota.and_then(|text| number(text.split_whitespace().next()?));
    let period = period.and_then(|text| number(text.split_whitespace().last()?)).filter(|period| *period > 0);
    let cores = quota.zip(period).map(|(quota, period)| format!("{:.2} cores", f64::from(quota) / f64::from(period)));
    let memory = memory.and_then(|text| text.trim().parse::<u64>().ok()).filter(|bytes| *bytes < NONE);
    cores.into_iter().chain(memory.map(|bytes| format!("{} of memory", write_size(bytes)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_both_versions_and_where_there_are_none_nothing_is() {
        let of_2 = |cpu, memory| words(Some(cpu), Some(cpu), Some(memory));
        assert_eq!(of_2("150000 100000\n", "536870912\n"), ["1.50 cores", "512MiB of memory"]);
        assert_eq!(of_2("max 100000\n", "max\n"), Vec::<String>::new());
        assert_eq!(words(Some("50000\n"), Some("100000\n"), Some("9223372036854771712\n")), ["0.50 cores"]);
        assert_eq!(words(Some("-1\n"), Some("100000\n"), None), Vec::<String>::new());
        assert_eq!(words(None, None, Some("1048576\n")), ["1MiB of memory"]);
    }
}
