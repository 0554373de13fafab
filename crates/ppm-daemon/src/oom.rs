//! How many processes of the container the kernel has killed because memory was short (R47).
//!
//! Counted in the control group that the daemon itself is in: `memory.events` of version 2, `memory.oom_control` of
//! version 1 (cgroups(7)). Where that is, is found out once; it is read only when somebody died as if it had been that.
//! Invariant: what cannot be found or read is not known, and nothing fails for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::files;

/// Where the kernel counts.
#[derive(Debug)]
pub struct Counter {
    file: Option<PathBuf>,
}

impl Counter {
    /// Finds it, if there is one.
    pub fn find() -> Counter {
        Counter { file: group_file("memory", "memory.oom_control", "memory.events") }
    }

    /// The count by now.
    pub fn read(&self) -> Option<u64> {
        let content = files::read(self.file.as_ref()?.as_os_str().as_bytes()).ok()?;
        lines(&content).find_map(|line| number(line.strip_prefix(b"oom_kill ")?))
    }
}

/// A file of the daemon's control group, of this controller in version 1, or of version 2.
pub fn group_file(controller: &str, version_1: &str, version_2: &str) -> Option<PathBuf> {
    let read = |path: &str| files::read(path.as_bytes()).ok();
    locate(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?, controller.as_bytes(), [version_1, version_2])
}

/// The same, by `cgroup` and `mountinfo` of proc(5). Where both versions are in use, it is the business of the one that has
/// the controller, version 1.
fn locate(groups: &[u8], mounts: &[u8], controller: &[u8], names: [&str; 2]) -> Option<PathBuf> {
    let groups: Vec<Vec<&[u8]>> = lines(groups).map(|line| line.splitn(3, |byte| *byte == b':').collect()).collect();
    let version_1 = groups.iter().find_map(|fields| match fields.as_slice() {
        [_, controllers, path] if has(controllers, controller) => Some(*path),
        _ => None,
    });
    let version_2 = groups.iter().find_map(|fields| match fields.as_slice() {
        [b"0", b"", path] => Some(*path),
        _ => None,
    });
    let (path, kind, file) = match (version_1, version_2) {
        (Some(path), _) => (path, &b"cgroup"[..], names[0]),
        (None, path) => (path?, &b"cgroup2"[..], names[1]),
    };
    let mount =
        lines(mounts).filter_map(Mount::read).find(|mount| mount.kind == kind && (kind == b"cgroup2" || has(mount.options, controller)))?;
    let root = unescaped(mount.root);
    // What is mounted may be the group itself, as in most containers, or one above it.
    let below = path.strip_prefix(root.as_slice()).filter(|below| root == b"/" || below.is_empty() || below.starts_with(b"/"))?;
    let below = below.strip_prefix(b"/").unwrap_or(below);
    let mount = PathBuf::from(OsString::from_vec(unescaped(mount.point)));
    Some(mount.join(OsStr::from_bytes(below)).join(file))
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
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n')
}

fn has(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| one == wanted)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
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
        locate(groups.as_bytes(), mounts.as_bytes(), b"memory", ["memory.oom_control", "memory.events"])
            .map(|path| path.display().to_string())
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
    fn the_count_is_read_of_either_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let counter = Counter { file: Some(file.clone()) };
        assert_eq!(counter.read(), None);
        for (content, count) in [
            ("low 0\nhigh 0\nmax 5\noom 2\noom_kill 7\noom_group_kill 3\n", Some(7)),
            ("oom_kill_disable 1\nunder_oom 0\noom_kill 18446744073709551615\n", Some(u64::MAX)),
            ("oom_kill_disable 0\nunder_oom 0\n", None),
            ("oom_kill x\n", None),
            ("", None),
        ] {
            fs::write(&file, content).unwrap();
            assert_eq!(counter.read(), count, "{content}");
        }
        assert_eq!(Counter { file: None }.read(), None);
    }
}
