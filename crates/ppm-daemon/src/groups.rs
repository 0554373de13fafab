//! A control group for each service, where the daemon may make some.
//!
//! Never required: in most containers the folder of the groups is read-only, and services are found as [`crate::children`]
//! has it. Where it is not, and who gave it means it to be used (cgroups(7), "Cgroup delegation"), every start is born into a
//! group (CLONE_INTO_CGROUP of clone(2)), so that nobody escapes, however it forks; `cgroup.kill` reaches all of them at
//! once, and `cpu.stat` has counted every nanosecond. No controller is switched on: that would take away from the daemon
//! its own place in the group above, and from others.
//!
//! A service's group, `ppm-PID/NAME`, has one below it for its main process, `main`, and one for each hook at work. They exist
//! while somebody is in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{geteuid, getpid};
use ppm_core::event::{Part, Pid, ServiceId, Tree};

use crate::census::{MAIN, Names, SUFFIX};
use crate::cgroup;
use crate::host;
use crate::spawn::in_words;

/// What the groups of a daemon are called, before its number.
const PREFIX: &str = "ppm-";

/// The groups of one daemon.
#[derive(Debug)]
pub struct Groups {
    top: PathBuf,
    names: Names,
    /// Those that somebody may be in, by the processes that were started into them.
    made: BTreeMap<Pid, (Tree, Group)>,
}

/// The group of one process that was started, and of all that descends from it.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    /// What the service's group had used before.
    before: Duration,
}

/// What a service has used since its start.
#[derive(Clone, Debug)]
pub struct Meter {
    service: PathBuf,
    before: Duration,
}

impl Groups {
    /// None: there are no groups, or they are not the daemon's to use.
    pub fn find() -> Option<Groups> {
        let own = cgroup::unified()?;
        if !is_given(&own.folder, &own.name) {
            return None;
        }
        let name = format!("{PREFIX}{}", getpid());
        remove_deserted(&own.folder);
        let top = own.folder.join(&name);
        let made = match fs::create_dir(&top) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()), // of one that had this number, and was killed
            made => made,
        };
        if let Err(error) = made {
            tracing::debug!("no control groups: {}: {}", top.display(), in_words(&error));
            return None;
        }
        let above = own.name.strip_suffix(b"/").unwrap_or(&own.name);
        let names = Names::below([above, b"/", name.as_bytes(), b"/"].concat());
        tracing::debug!("services have control groups below {}", top.display());
        Some(Groups { top, names, made: BTreeMap::new() })
    }

    /// How the groups are told in the files of processes.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// A group for what is to be started, and where to be born into it; None: this time without.
    pub fn make(&self, service: &str, part: Part) -> Option<(Group, OwnedFd)> {
        let folder = self.top.join(format!("{service}{SUFFIX}"));
        let before = match fs::create_dir(&folder) {
            Ok(()) => Duration::ZERO,
            Err(_) => cpu(&folder)?, // what follows tells whether it is there
        };
        let path = folder.join(match part {
            Part::Main => MAIN,
            Part::Hook(hook) => hook.name(),
        });
        let _ = fs::create_dir(&path); // of a run of which something is left, in which case it is there
        let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).open(&path);
        let open = opened.inspect_err(|error| tracing::debug!("{}: {}", path.display(), in_words(error))).ok()?;
        Some((Group { path, before }, open.into()))
    }

    /// This process was born into it.
    pub fn started(&mut self, tree: Tree, pid: Pid, group: Group) {
        self.made.insert(pid, (tree, group));
    }

    /// Of what this process had begun, nobody is left.
    pub fn ended(&mut self, pid: Pid) {
        self.made.remove(&pid);
    }

    /// Kills everybody in the group, at once, also those who are being born (cgroups(7)).
    pub fn kill(&self, tree: Tree) {
        for (_, group) in self.made.values().filter(|(of, _)| *of == tree) {
            if let Err(error) = fs::write(group.path.join("cgroup.kill"), "1") {
                tracing::debug!("{}: cgroup.kill: {}", group.path.display(), in_words(&error)); // Linux before 5.14
            }
        }
    }

    /// Counts what the service has used of the processor since its main process was started.
    pub fn meter(&self, id: ServiceId) -> Option<Meter> {
        // The last one started: an earlier run may have left somebody.
        let of_main = self.made.values().filter(|(tree, _)| *tree == Tree::main(id));
        let (_, group) = of_main.max_by_key(|(_, group)| group.before)?;
        Some(Meter { service: group.path.parent()?.to_owned(), before: group.before })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.made.clear();
        let _ = fs::remove_dir(&self.top);
    }
}

/// As long as somebody is in it, it stays all the same.
impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

impl Meter {
    /// None: it cannot be read any more.
    pub fn read(&self) -> Option<Duration> {
        Some(cpu(&self.service)?.saturating_sub(self.before))
    }
}

fn cpu(folder: &Path) -> Option<Duration> {
    let text = fs::read(folder.join("cpu.stat")).ok()?;
    cgroup::field(&text, "usage_usec").map(Duration::from_micros)
}

/// Whether the daemon's own group was given to it, or to its container, to make others in. The root of all groups never
/// is: it belongs to the machine.
fn is_given(folder: &Path, name: &[u8]) -> bool {
    if !folder.join("cgroup.type").exists() {
        return false;
    }
    let is_mine = || folder.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw() && !geteuid().is_root());
    name == b"/" || is_mine() || host::is_delegated(folder)
}

/// What daemons left that were killed. Groups with somebody in them stay.
fn remove_deserted(folder: &Path) {
    let below = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_daemons = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    for daemon in below(folder).filter(is_daemons) {
        for service in below(&daemon) {
            below(&service).for_each(|part| drop(fs::remove_dir(part)));
            let _ = fs::remove_dir(&service);
        }
        let _ = fs::remove_dir(&daemon);
    }
}
