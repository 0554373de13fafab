//! File monitoring, the policy: which paths count, what is a change, and when it is acted upon.
//!
//! What the system tells is a hint; what counts is the difference between two looks at the files ([`snapshot`]). Nothing
//! here looks: entries and times are given. Invariants: what a change was is never guessed; no two restarts for changes
//! come sooner after one another than the user allows ([`guard`]).

pub mod guard;
pub mod ignore;
pub mod pattern;
pub mod rules;
pub mod settle;
pub mod snapshot;

use std::fmt;
use std::time::Duration;

use ppm_protocol::Signal;

use crate::config::write_duration;
use crate::environment::check_references;
use crate::hook::HookSpec;
use crate::spec::{InvalidSpec, check_argument, printable, shown};
use pattern::Pattern;

/// How deep folders are watched where nobody says: deeper than people nest them, so that only a mistake ends there.
pub const MAX_DEPTH: u32 = 64;

/// How long nothing more must change where nobody says: one save is several events, a few milliseconds apart.
pub const SETTLE: Duration = Duration::from_millis(100);

/// How often it is looked where the system does not tell.
pub const POLL: Duration = Duration::from_secs(2);

/// The shortest time between two looks that may be asked for.
pub const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// How many changes are named to what is started for them (PPM_WATCH_CHANGED).
pub const NAMED: usize = 16;

/// How many changes a reason names.
const TOLD: usize = 3;

/// Where files are made that tell of the kernel and not of the service: they do not report changes, or without end.
const NOT_FILES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// File systems that do not tell of what others do to them, by their numbers in statfs(2): what lies there belongs to
/// another machine, or to the host.
const SILENT: [(u32, &str); 8] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x786f_4256, "vboxsf"),
    (0x00c3_6400, "ceph"),
];

/// The name of a file system that does not tell of all changes.
pub fn silent_file_system(number: u32) -> Option<&'static str> {
    SILENT.iter().find(|(own, _)| *own == number).map(|(_, name)| *name)
}

/// What is watched for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Files and folders. References are expanded when it begins; what is not absolute then begins at the working folder.
    pub paths: Vec<String>,
    /// What is watched although it is excluded.
    pub include: Vec<Pattern>,
    /// The only files that are watched; empty: all.
    pub only: Vec<Pattern>,
    /// What is not watched.
    pub exclude: Vec<Pattern>,
    /// Whether what nearly nobody wants to watch is excluded.
    pub default_excludes: bool,
    /// Whether what `.gitignore` files leave out is left out here too.
    pub gitignore: bool,
    /// How many folders deep; 1 is what lies in the folder itself.
    pub max_depth: u32,
    /// What makes a file a changed one.
    pub compare: Compare,
    /// How long nothing more must change before it is looked what has.
    pub settle: Duration,
    /// Whether it is looked without being told that there is something to see.
    pub poll: Poll,
    /// How long after a start changes are ignored.
    pub initial_delay: Duration,
    /// What follows from a change.
    pub action: OnChange,
}

/// What makes a file a changed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Its content, where there are not too many files to read them.
    #[default]
    Auto,
    /// Its content, where it is not too large to be read.
    Content,
    /// That it was written.
    Mtime,
}

impl Compare {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Compare::Auto => "auto",
            Compare::Content => "content",
            Compare::Mtime => "mtime",
        }
    }
}

/// Whether it is looked without being told that there is something to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Where the system does not tell, or not of everything.
    #[default]
    Auto,
    /// Always, so often.
    Every(Duration),
    /// Never.
    Never,
}

impl fmt::Display for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Poll::Auto => f.write_str("auto"),
            Poll::Every(period) => f.write_str(&write_duration(*period)),
            Poll::Never => f.write_str("never"),
        }
    }
}

/// What follows from a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// The service is restarted.
    #[default]
    Restart,
    /// Its main process gets this signal; a service that does not run is started.
    Signal(Signal),
    /// This program is run beside it; a service that does not run is started.
    Exec(HookSpec),
}

/// As people read it.
impl fmt::Display for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnChange::Restart => f.write_str("restart"),
            OnChange::Signal(signal) => write!(f, "signal {signal}"),
            OnChange::Exec(spec) => write!(f, "exec {}", shown(&spec.program.to_string())),
        }
    }
}

impl WatchSpec {
    /// Watches these, with every default.
    pub fn new(paths: Vec<String>) -> WatchSpec {
        WatchSpec {
            paths,
            include: Vec::new(),
            only: Vec::new(),
            exclude: Vec::new(),
            default_excludes: true,
            gitignore: false,
            max_depth: MAX_DEPTH,
            compare: Compare::Auto,
            settle: SETTLE,
            poll: Poll::Auto,
            initial_delay: Duration::ZERO,
            action: OnChange::Restart,
        }
    }
}

/// Checks a path that is to be watched.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn check_path(path: &str) -> Result<(), InvalidSpec> {
    check_argument(path)?;
    check_references(path)?;
    if path.trim().is_empty() {
        return Err(InvalidSpec::new("the path to watch is empty").hint("write one like `/app/config.yml` or `src`"));
    }
    if !path.is_empty() && path.trim_end_matches('/').is_empty() {
        return Err(InvalidSpec::new("`/` is everything there is, and cannot be watched").hint("name the folders that matter"));
    }
    let is_in = |folder: &&&str| path.strip_prefix(**folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(folder) = NOT_FILES.iter().find(is_in) {
        let message = format!("`{}` cannot be watched: what lies in {folder} is made by the kernel", shown(path));
        return Err(InvalidSpec::new(message).hint("name folders with files of the service"));
    }
    Ok(())
}

/// In which way a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there before.
    Created,
    /// It is another than before.
    Modified,
    /// It is not there any more.
    Removed,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangeKind::Created => "created",
            ChangeKind::Modified => "modified",
            ChangeKind::Removed => "removed",
        })
    }
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which way.
    pub kind: ChangeKind,
    /// Its whole path.
    pub path: Vec<u8>,
    /// How much of the path a reason leaves out: that of the folder that the service runs in, with the slash behind it.
    pub base: usize,
}

/// What changed, all of it one occasion to do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first of them, at most [`NAMED`].
    pub named: Vec<Change>,
    /// All of them.
    pub count: usize,
}

impl Changes {
    /// One more.
    pub fn add(&mut self, change: impl FnOnce() -> Change) {
        if self.named.len() < NAMED {
            self.named.push(change());
        }
        self.count += 1;
    }

    /// Those of another occasion come to these; a path is not named twice.
    pub fn merge(&mut self, later: Changes) {
        let unnamed = later.count.saturating_sub(later.named.len());
        for change in later.named {
            match self.named.iter_mut().find(|known| known.path == change.path) {
                Some(known) => known.kind = change.kind,
                None => self.add(|| change),
            }
        }
        self.count += unnamed;
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The paths for PPM_WATCH_CHANGED, with colons between them.
    pub fn paths(&self) -> Vec<u8> {
        self.named.iter().map(|change| change.path.as_slice()).collect::<Vec<_>>().join(&b':')
    }
}

impl Change {
    /// What people call it.
    pub fn name(&self) -> String {
        printable(self.path.get(self.base..).unwrap_or(&self.path))
    }
}

/// `modified w/f`, `4 files: a, b, c, ...`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named.as_slice() {
            [] => f.write_str("nothing"),
            [one] if self.count == 1 => write!(f, "{} {}", one.kind, one.name()),
            named => {
                let names: Vec<String> = named.iter().take(TOLD).map(Change::name).collect();
                let more = if self.count > TOLD { ", ..." } else { "" };
                write!(f, "{} files: {}{more}", self.count, names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(names: &[&str]) -> Changes {
        let mut changes = Changes::default();
        for name in names {
            changes.add(|| Change { kind: ChangeKind::Modified, path: format!("/app/{name}").into(), base: 5 });
        }
        changes
    }

    #[test]
    fn a_reason_names_one_change_or_the_first_few() {
        assert_eq!(changes(&["w/f"]).to_string(), "modified w/f");
        assert_eq!(changes(&["a", "b"]).to_string(), "2 files: a, b");
        assert_eq!(changes(&["a", "b", "c", "d"]).to_string(), "4 files: a, b, c, ...");
        let odd = Change { kind: ChangeKind::Removed, path: b"/x/\x1b[2J\xff".to_vec(), base: 3 };
        let mut changes = Changes::default();
        changes.add(|| odd);
        assert_eq!(changes.to_string(), "removed \\u{1b}[2J\u{fffd}");
    }

    #[test]
    fn the_first_few_are_named_and_all_are_counted() {
        let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
        let mut many = changes(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((many.named.len(), many.count), (NAMED, 20));
        many.merge(changes(&["f1", "new"]));
        assert_eq!((many.named.len(), many.count), (NAMED, 21), "f1 was known");
        assert!(many.paths().starts_with(b"/app/f0:/app/f1:"));
    }

    #[test]
    fn what_the_kernel_makes_is_not_watched() {
        for path in ["/", "//", "/proc", "/proc/1/fd", "/sys/x", "/dev", "", "  ", "a\0", "${X"] {
            assert!(check_path(path).is_err(), "{path}");
        }
        for path in ["/app", ".", "src", "/processes", "${HOME}/x", "/devel"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }
}
