//! How much of inotify(7) there may be: two limits of the machine, and the same two of a user namespace. The lower counts.

use std::fmt;

use ppm_protocol::Inotify;

/// Of the watches of a user.
pub const WATCHES: [&str; 2] = ["fs/inotify/max_user_watches", "user/max_inotify_watches"];

/// Of the instances of a user.
pub const INSTANCES: [&str; 2] = ["fs/inotify/max_user_instances", "user/max_inotify_instances"];

/// A limit as it is in force.
pub struct Limit {
    value: Option<u64>,
    /// Its path in /proc/sys.
    path: &'static str,
}

impl Limit {
    /// The lower of two, by their paths in /proc/sys.
    pub fn read(paths: [&'static str; 2]) -> Limit {
        let read = |path: &'static str| Some((std::fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()?, path));
        let lowest = paths.into_iter().filter_map(read).min();
        Limit { value: lowest.map(|(value, _)| value), path: lowest.map_or(paths[0], |(_, path)| path) }
    }
}

/// `fs.inotify.max_user_watches = 8192`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.replace('/', "."))?;
        self.value.map_or(Ok(()), |value| write!(f, " = {value}"))
    }
}

/// What is used, and how much there may be.
pub fn inotify(instances: u64, watches: u64) -> Inotify {
    let value = |paths| Limit::read(paths).value;
    Inotify { instances, max_instances: value(INSTANCES), watches, max_watches: value(WATCHES) }
}
