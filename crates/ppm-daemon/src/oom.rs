//! How many processes of the container the kernel has killed because memory was short (R47).
//!
//! Counted in the control group that the daemon itself is in: `memory.events` of version 2, `memory.oom_control` of
//! version 1 (cgroups(7)). Where that is, is found out once; it is read only when somebody died as if it had been that.
//! Invariant: what cannot be found or read is not known, and nothing fails for it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::cgroup::{self, Folder, Version};
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
        cgroup::field(&content, "oom_kill")
    }
}

/// A file of the daemon's control group, of this controller in version 1, or of version 2.
pub fn group_file(controller: &str, version_1: &str, version_2: &str) -> Option<PathBuf> {
    let group = Folder::find(controller)?;
    let name = match group.version {
        Version::One => version_1,
        Version::Two => version_2,
    };
    Some(group.path.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
