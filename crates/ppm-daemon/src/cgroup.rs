//! The control group that the daemon itself is in: in a container, the container.
//!
//! Where it is, is put together from `cgroup` and `mountinfo` of proc(5), for both versions of cgroups(7). Invariant: what
//! cannot be found or read is not known, and nothing fails for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ppm_core::usage::{Container, Pressure};

use crate::{clock, files};

/// Of the two kinds of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// The folder of a control group, and the topmost that can be seen above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// What its files are called.
    pub version: Version,
    /// The daemon's own.
    pub path: PathBuf,
    top: PathBuf,
}

/// The daemon's own group of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    /// Its folder.
    pub folder: PathBuf,
    /// How the kernel calls it to processes of the daemon's cgroup namespace.
    pub name: Vec<u8>,
}

/// None: it is not to be found.
pub fn unified() -> Option<Unified> {
    let read = |path: &str| files::read(path.as_bytes()).ok();
    locate_unified(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
}

fn locate_unified(groups: &[u8], mounts: &[u8]) -> Option<Unified> {
    let name = lines(groups).find_map(|line| line.strip_prefix(b"0::"))?;
    let folder = lines(mounts).filter_map(Mount::read).filter(|mount| mount.kind == b"cgroup2").find_map(|mount| mount.leads_to(name))?;
    Some(Unified { folder, name: name.to_owned() })
}

impl Folder {
    /// That of the daemon, as far as this controller counts.
    pub fn find(controller: &str) -> Option<Folder> {
        let read = |path: &str| files::read(path.as_bytes()).ok();
        Folder::locate(controller.as_bytes(), &read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
    }

    /// Where both versions are in use, a controller is the business of the one that has it, version 1.
    pub fn locate(controller: &[u8], groups: &[u8], mounts: &[u8]) -> Option<Folder> {
        let groups: Vec<Vec<&[u8]>> = lines(groups).map(|line| line.splitn(3, |byte| *byte == b':').collect()).collect();
        let version_1 = groups.iter().find_map(|fields| match fields.as_slice() {
            [_, controllers, path] if has(controllers, controller) => Some(*path),
            _ => None,
        });
        let version_2 = groups.iter().find_map(|fields| match fields.as_slice() {
            [b"0", b"", path] => Some(*path),
            _ => None,
        });
        let (path, kind, version) = match (version_1, version_2) {
            (Some(path), _) => (path, &b"cgroup"[..], Version::One),
            (None, path) => (path?, &b"cgroup2"[..], Version::Two),
        };
        let is_it = |mount: &Mount<'_>| mount.kind == kind && (version == Version::Two || has(mount.options, controller));
        let mount = lines(mounts).filter_map(Mount::read).find(is_it)?;
        Some(Folder { version, path: mount.leads_to(path)?, top: mount.top() })
    }

    fn read(&self, file: &str) -> Option<Vec<u8>> {
        read_in(&self.path, file)
    }

    fn number(&self, file: &str) -> Option<u64> {
        number(&self.read(file)?)
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        field(&self.read(file)?, name)
    }

    /// The least that it and those above it, as far as they can be seen, say.
    fn least<T: PartialOrd>(&self, limit: impl Fn(&Path) -> Option<T>) -> Option<T> {
        let folders = self.path.ancestors().take_while(|folder| folder.starts_with(&self.top));
        folders.filter_map(limit).reduce(|least, one| if one < least { one } else { least })
    }
}

/// What the container uses, and what it may.
pub fn container() -> Container {
    let [memory, cpu, account, pids] = ["memory", "cpu", "cpuacct", "pids"].map(Folder::find);
    Container {
        at: clock::now().mono,
        cpu: account.as_ref().or(cpu.as_ref()).and_then(cpu_time),
        cores: cores(cpu.as_ref()),
        memory: memory.as_ref().and_then(memory_used),
        memory_limit: memory_limit(memory.as_ref()),
        tasks: pids.as_ref().and_then(|pids| pids.number("pids.current")),
        tasks_limit: pids.as_ref().and_then(|pids| pids.least(|folder| number(&read_in(folder, "pids.max")?))),
        pressure: cpu.as_ref().filter(|group| group.version == Version::Two).map(pressure).unwrap_or_default(),
    }
}

fn cpu_time(group: &Folder) -> Option<Duration> {
    match group.version {
        Version::One => group.number("cpuacct.usage").map(Duration::from_nanos),
        Version::Two => group.field("cpu.stat", "usage_usec").map(Duration::from_micros),
    }
}

/// As its quota allows, else as many as there are for the daemon.
fn cores(group: Option<&Folder>) -> Option<f64> {
    let quota = group.and_then(|group| {
        group.least(|folder| match group.version {
            Version::One => {
                let micros = |file| read_in(folder, file).and_then(|text| number(&text));
                share(micros("cpu.cfs_quota_us")?, micros("cpu.cfs_period_us")?)
            }
            Version::Two => {
                let text = read_in(folder, "cpu.max")?;
                let mut fields = text.split(|byte| *byte == b' ');
                share(number(fields.next()?)?, number(fields.next()?)?)
            }
        })
    });
    let all = || std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()).map(f64::from);
    quota.or_else(all)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of less than a day")]
fn share(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// Without the pages of files that nobody has used lately, which the kernel gives back when memory is short: what
/// `docker stats` shows.
fn memory_used(group: &Folder) -> Option<u64> {
    let (current, idle) = match group.version {
        Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
        Version::Two => ("memory.current", "inactive_file"),
    };
    Some(group.number(current)?.saturating_sub(group.field("memory.stat", idle).unwrap_or(0)))
}

/// What the groups say, and the machine has.
fn memory_limit(group: Option<&Folder>) -> Option<u64> {
    let said = group.and_then(|group| {
        let file = match group.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        group.least(|folder| number(&read_in(folder, file)?))
    });
    let machine =
        files::read(b"/proc/meminfo").ok().and_then(|text| field(&text, "MemTotal:")).map(|kilobytes| kilobytes.saturating_mul(1024));
    [said, machine].into_iter().flatten().min()
}

fn pressure(group: &Folder) -> Pressure {
    let some = |file| {
        let text = group.read(file)?;
        let average = lines(&text).find_map(|line| line.strip_prefix(b"some avg10="))?;
        std::str::from_utf8(average).ok()?.split_ascii_whitespace().next()?.parse().ok()
    };
    Pressure { cpu: some("cpu.pressure"), memory: some("memory.pressure"), io: some("io.pressure") }
}

fn read_in(folder: &Path, file: &str) -> Option<Vec<u8>> {
    files::read(folder.join(file).as_os_str().as_bytes()).ok()
}

/// A line of `mountinfo`: `36 35 98:0 /root /point rw,noatime master:1 - cgroup cgroup rw,memory`.
struct Mount<'a> {
    root: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn read(line: &'a [u8]) -> Option<Mount<'a>> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, _source, options) = (rest.next()?, rest.next()?, rest.next()?);
        Some(Mount { root, point, kind, options })
    }

    /// Where this group is found. What is mounted may be the group itself, as in most containers, or one above it.
    fn leads_to(&self, group: &[u8]) -> Option<PathBuf> {
        let root = unescaped(self.root);
        let below = group.strip_prefix(root.as_slice()).filter(|below| root == b"/" || below.is_empty() || below.starts_with(b"/"))?;
        Some(self.top().join(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below))))
    }

    fn top(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescaped(self.point)))
    }
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n')
}

fn has(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| one == wanted)
}

/// `max`, -1 and the like are none.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The number behind this name, in lines of names and numbers.
pub fn field(content: &[u8], name: &str) -> Option<u64> {
    lines(content).find_map(|line| {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        (words.next() == Some(name.as_bytes())).then(|| number(words.next()?)).flatten()
    })
}

/// Blanks and the like stand in `mountinfo` as `\040`.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let octal = rest.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                text = &rest[3..];
            }
            _ => {
                plain.push(*first);
                text = rest;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MOUNTS_1: &str = "25 1 0:22 / /proc rw,nosuid - proc proc rw\n\
        31 26 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        33 26 0:29 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:12 - cgroup cgroup rw,memory\n\
        34 26 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const MOUNTS_2: &str = "30 25 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n";

    fn file(groups: &str, mounts: &str) -> Option<String> {
        let folder = Folder::locate(b"memory", groups.as_bytes(), mounts.as_bytes())?;
        let file = if folder.version == Version::One { "memory.oom_control" } else { "memory.events" };
        Some(folder.path.join(file).display().to_string())
    }

    #[test]
    fn the_group_is_found_below_what_is_mounted_of_it() {
        let found = |path: &str| Some(path.to_owned());
        assert_eq!(file("0::/\n", MOUNTS_2), found("/sys/fs/cgroup/memory.events"));
        assert_eq!(file("0::/user/app\n", MOUNTS_2), found("/sys/fs/cgroup/user/app/memory.events"));
        let host = MOUNTS_2.replace(" / /sys", " /docker/abc /sys");
        assert_eq!(file("0::/docker/abc\n", &host), found("/sys/fs/cgroup/memory.events"));
        assert_eq!(file("0::/docker/abc/x\n", &host), found("/sys/fs/cgroup/x/memory.events"));
        assert_eq!(file("0::/docker/abcd\n", &host), None);
        let both = "4:memory:/docker/abc\n3:cpu,cpuacct:/x\n1:name=systemd:/\n0::/\n";
        assert_eq!(file(both, MOUNTS_1), found("/sys/fs/cgroup/memory/memory.oom_control"));
        assert_eq!(file("2:freezer,memory:/docker/abc/in\n", MOUNTS_1), found("/sys/fs/cgroup/memory/in/memory.oom_control"));
        let odd = MOUNTS_2.replace("/sys/fs/cgroup ro", "/a\\040b\\134c ro");
        assert_eq!(file("0::/\n", &odd), found("/a b\\c/memory.events"));
    }

    #[test]
    fn where_nothing_counts_nothing_is_found() {
        for (groups, mounts) in
            [("", ""), ("0::/\n", ""), ("", MOUNTS_2), ("0::/\n", "x\n- - -\n"), ("4:memory:/\n", MOUNTS_2), ("::\n0", MOUNTS_1)]
        {
            assert_eq!(file(groups, mounts), None, "{groups:?}");
        }
    }

    #[test]
    fn the_least_limit_that_can_be_seen_holds_and_no_limit_is_none() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("pod/app");
        fs::create_dir_all(&path).unwrap();
        let group = Folder { version: Version::Two, path: path.clone(), top: top.path().to_owned() };
        let write = |folder: &str, file: &str, text: &str| fs::write(top.path().join(folder).join(file), text).unwrap();
        assert_eq!((cores(None).is_some(), memory_used(&group), cpu_time(&group)), (true, None, None));
        write("pod/app", "memory.max", "max\n");
        write("pod", "memory.max", "1048576\n");
        write("pod/app", "cpu.max", "150000 100000\n");
        write("pod", "cpu.max", "max 100000\n");
        assert_eq!((memory_limit(Some(&group)), cores(Some(&group))), (Some(1 << 20), Some(1.5)));
        write("pod/app", "memory.current", "5000\n");
        write("pod/app", "memory.stat", "anon 1\ninactive_file 1000\n");
        write("pod/app", "cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
        assert_eq!((memory_used(&group), cpu_time(&group)), (Some(4000), Some(Duration::from_millis(2500))));
        write("pod/app", "cpu.pressure", "some avg10=1.53 avg60=0.87 avg300=0.23 total=1\nfull avg10=0.00 avg60=0.00\n");
        assert_eq!(pressure(&group), Pressure { cpu: Some(1.53), memory: None, io: None });
        write("pod/app", "pids.max", "max");
        assert_eq!(group.least(|folder| number(&read_in(folder, "pids.max")?)), None);
    }

    #[test]
    fn version_1_has_other_names() {
        let top = tempfile::tempdir().unwrap();
        let group = Folder { version: Version::One, path: top.path().to_owned(), top: top.path().to_owned() };
        let write = |file: &str, text: &str| fs::write(top.path().join(file), text).unwrap();
        write("memory.usage_in_bytes", "5000\n");
        write("memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n");
        write("memory.limit_in_bytes", "1048576\n");
        write("cpu.cfs_quota_us", "50000\n");
        write("cpu.cfs_period_us", "100000\n");
        write("cpuacct.usage", "2500000000\n");
        assert_eq!((memory_used(&group), memory_limit(Some(&group)), cores(Some(&group))), (Some(4000), Some(1 << 20), Some(0.5)));
        assert_eq!(cpu_time(&group), Some(Duration::from_millis(2500)));
        write("cpu.cfs_quota_us", "-1\n");
        assert_eq!(cores(Some(&group)), cores(None), "no quota");
    }
}
