//! Which paths below a watched one count.
//!
//! In this order: what belongs to the daemon never does; `include` re-admits what the rest would leave out; `exclude`
//! leaves out; then what nearly nobody wants to watch is left out, unless `default_excludes` is off, and what `.gitignore` files
//! leave out, if they are to count. Of the files that
//! are left only those count that `only` names, if it names any. A folder that is left out is not looked into. Invariant:
//! the watched path itself always counts.

use std::collections::BTreeSet;

use super::WatchSpec;
use super::ignore::Ignored;
use super::pattern::{Pattern, What};
use crate::rotate;

/// Folders that hold what is made from what is written, and may be huge. Hidden ones, like `.git`, are left out anyway.
const FOLDERS: [&str; 2] = ["node_modules", "__pycache__"];

/// The same, by how they begin.
const FOLDERS_BEGIN: [&str; 2] = ["target", "build"];

/// Files that are made from others, or while others are written.
const FILES_END: [&str; 6] = [".o", ".pyo", ".pyc", "~", ".log", ".tmp"];

/// What vim writes to find out whether it can.
const FILES: [&str; 1] = ["4913"];

/// What belongs to the daemon: what it writes would set off what makes it write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its socket, its lock, its log: whole paths. Log files of services are known by their names.
    pub files: BTreeSet<Vec<u8>>,
}

/// The rules of one service.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What its user says.
    pub spec: &'a WatchSpec,
    /// What belongs to the daemon.
    pub own: &'a Own,
    /// What `.gitignore` files leave out, where they count.
    pub ignored: Option<&'a Ignored>,
}

impl Rules<'_> {
    /// Whether a folder below `root` is looked into. `root` is the path of what is watched.
    pub fn walks(&self, root: &[u8], below: &[u8]) -> bool {
        self.admits(root, below, What::Folder)
    }

    /// Whether a file below `root`, or what else is no folder, is one whose changes count.
    pub fn counts(&self, root: &[u8], below: &[u8]) -> bool {
        self.admits(root, below, What::File) && !self.is_own(root, below)
    }

    fn admits(&self, root: &[u8], below: &[u8], what: What) -> bool {
        let WatchSpec { include, only, exclude, default_excludes, .. } = self.spec;
        let is_whole_needed = [include, only, exclude].into_iter().flatten().any(Pattern::is_absolute);
        let whole = if is_whole_needed { whole(root, below) } else { Vec::new() };
        let whole = whole.strip_prefix(b"/").unwrap_or(&whole);
        let is_in = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(below, whole, what));
        if is_in(include) {
            return true;
        }
        if is_in(exclude) || (*default_excludes && is_left_out(name_of(below), what)) || self.is_ignored(below, what) {
            return false;
        }
        what == What::Folder || only.is_empty() || is_in(only)
    }

    fn is_ignored(&self, below: &[u8], what: What) -> bool {
        self.ignored.is_some_and(|ignored| ignored.leaves_out(below, what))
    }

    fn is_own(&self, root: &[u8], below: &[u8]) -> bool {
        is_log(name_of(below)) || (!self.own.files.is_empty() && self.own.files.contains(&whole(root, below)))
    }
}

/// Whether this is the name of one of our log files, or of its index.
fn is_log(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let index = name.strip_prefix('.').and_then(|name| name.strip_suffix(".idx"));
    index.map_or_else(|| rotate::parse_name(name).is_some(), |name| rotate::parse_name(&format!("{name}.log")).is_some())
}

fn whole(root: &[u8], below: &[u8]) -> Vec<u8> {
    if below.is_empty() { root.to_vec() } else { [root, b"/", below].concat() }
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn is_left_out(name: &[u8], what: What) -> bool {
    let (begins, ends) = (|with: &&str| name.starts_with(with.as_bytes()), |with: &&str| name.ends_with(with.as_bytes()));
    if name.starts_with(b".") {
        return true;
    }
    match what {
        What::Folder => FOLDERS.iter().any(|folder| folder.as_bytes() == name) || FOLDERS_BEGIN.iter().any(begins),
        What::File => {
            let is_swap = name.len() > 4 && matches!(name.get(name.len() - 4..), Some([b'.', b's', b'w', _]));
            let is_emacs = name.len() > 2 && name.starts_with(b"#") && name.ends_with(b"#");
            is_swap || is_emacs || FILES_END.iter().any(ends) || FILES.iter().any(|file| file.as_bytes() == name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::pattern::Pattern;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn spec(include: &[&str], only: &[&str], exclude: &[&str]) -> WatchSpec {
        WatchSpec {
            include: patterns(include),
            only: patterns(only),
            exclude: patterns(exclude),
            ..WatchSpec::new(vec!["/app".to_owned()])
        }
    }

    fn counts(spec: &WatchSpec, path: &str) -> bool {
        let own = Own::default();
        let rules = Rules { spec, own: &own, ignored: None };
        match path.strip_suffix('/') {
            Some(folder) => rules.walks(b"/app", folder.as_bytes()),
            None => rules.counts(b"/app", path.as_bytes()),
        }
    }

    #[test]
    fn what_nearly_nobody_wants_to_watch_is_left_out() {
        let usual = spec(&[], &[], &[]);
        for path in [
            ".git/",
            ".hidden",
            "node_modules/",
            "x/__pycache__/",
            "target/",
            "target-x/",
            "build/",
            "build2/",
            "a.o",
            "a.pyc",
            "f~",
            "x.swp",
            ".f.swp",
            "4913",
            "#f#",
            ".#f",
            "a.log",
            "a.tmp",
        ] {
            assert!(!counts(&usual, path), "{path}");
            assert!(counts(&WatchSpec { default_excludes: false, ..usual.clone() }, path), "{path}");
        }
        for path in ["f", "builder.rs", "targets.json", "src/", "nodes/", "a.logs", "#", "x/y.z", "swp", "a.c"] {
            assert!(counts(&usual, path), "{path}");
        }
    }

    #[test]
    fn include_wins_over_exclude_which_wins_over_what_is_built_in() {
        let own = spec(&["*.log", "/app/gen/keep.c"], &[], &["*_test.go", "gen/**"]);
        for path in ["a.log", "x/a.log", "gen/keep.c", "other/gen/z"] {
            assert!(counts(&own, path), "{path}");
        }
        for path in ["a_test.go", "pkg/in/foo_test.go", "gen/x/y", "gen/"] {
            assert!(!counts(&own, path), "{path}");
        }
        assert!(counts(&spec(&["build/"], &[], &[]), "build/"), "a folder is re-admitted by its own name");
    }

    #[test]
    fn only_is_for_files_and_does_not_re_admit() {
        let own = spec(&["x.txt"], &["*.rs"], &["gen.rs"]);
        for path in ["a.rs", "src/", "x.txt"] {
            assert!(counts(&own, path), "{path}");
        }
        for path in ["a.c", "gen.rs", ".a.rs"] {
            assert!(!counts(&own, path), "{path}");
        }
    }

    #[test]
    fn what_belongs_to_the_daemon_never_counts() {
        let spec = WatchSpec { default_excludes: false, ..spec(&["*"], &[], &[]) };
        let own = Own { files: [b"/app/ppm.sock".to_vec()].into() };
        let counts = |path: &str| Rules { spec: &spec, own: &own, ignored: None }.counts(b"/app", path.as_bytes());
        for path in ["ppm.sock", "logs/web-20260102T030405.678Z.log", "logs/.web-20260102T030405.678Z.idx"] {
            assert!(!counts(path), "{path}");
        }
        for path in ["x/ppm.sock", "web-20260102.log", "logs/web.log"] {
            assert!(counts(path), "{path}");
        }
    }
}
