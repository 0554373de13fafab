//! One watched path: where it leads, and what lies there.
//!
//! A path is looked up in one folder after the other, through links; in each of them a name may come to mean something
//! else. So those folders are watched for those names, and a path that leads nowhere is watched as far as it leads. Below
//! a folder that is reached, real folders are watched and looked into; links to folders are not followed. Folders are
//! watched first and read then, so that what comes meanwhile is told of. Invariant: what is watched for a root is known to
//! it, and released with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read};
use std::iter::once;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use ppm_core::gather::Gather;
use ppm_core::size;
use ppm_core::watch::ignore::{self, Ignored};
use ppm_core::watch::pattern::What;
use ppm_core::watch::rules::{Own, Rules};
use ppm_core::watch::snapshot::{Difference, Entry, Kind, Method, READ_SO_MANY, READ_UP_TO, Stamp, compare};
use ppm_core::watch::{Change, ChangeKind, Changes, Compare, WatchSpec, silent_file_system};
use ppm_protocol::PathKind;

use super::kernel::{Hint, Kernel, NotWatched, Sign, User};
use super::{Job, now_of_files};
use crate::spawn::in_words;

/// Links that lead on and on lead nowhere after so many, as for the kernel (path_resolution(7)).
const LINKS: usize = 40;

/// Links to files within a folder are followed; not more than these, since each has folders to be watched.
const LINKED: usize = 256;

/// One watched path.
pub struct Root {
    user: User,
    path: PathBuf,
    /// In which folders which names lead to what is watched.
    chain: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// The same for links to files that lie in it.
    links: BTreeMap<PathBuf, BTreeSet<OsString>>,
    target: Target,
    method: Method,
    complained: BTreeSet<PathBuf>,
    /// The folders of the tree that cannot be watched: they are looked at from time to time.
    blind: BTreeSet<Vec<u8>>,
    /// Whether something else of it cannot be watched: the way to it, or the file itself.
    is_way_blind: bool,
    /// The name of its file system, if that does not tell of all changes.
    silent: Option<&'static str>,
    /// What `.gitignore` files leave out; None: they do not count.
    ignored: Option<Ignored>,
    /// Those of them that were read, by the paths of their folders.
    ignore_files: BTreeMap<Vec<u8>, Stamp>,
    /// Those that are others by now.
    outdated: BTreeSet<Vec<u8>>,
    /// Only what was changed after this time has changed: before it, other files counted. In nanoseconds since the epoch.
    quiet_before: Option<i64>,
}

/// Where a path leads.
enum Target {
    Nowhere,
    File { real: PathBuf, entry: Entry },
    Folder { real: PathBuf, node: (u64, u64), folders: Folders },
}

/// What each folder held, by its path below the root.
type Folders = BTreeMap<Vec<u8>, Listed>;

/// What a folder held when it was looked at.
#[derive(Default)]
struct Listed {
    entries: Vec<Entry>,
    /// In nanoseconds since the epoch.
    at: i64,
}

/// What a hint means to a root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dirt {
    /// Where the path leads may be another place.
    Way,
    /// This folder, by its path below the root, is to be looked at.
    Folder(Vec<u8>),
    /// The same, and it may be another folder than the one that is watched.
    Other(Vec<u8>),
    /// All of it is.
    Whole,
    /// All of it is, and anything may be another than it was.
    Anew,
}

/// What a look needs to know.
pub struct Look<'a> {
    pub kernel: &'a mut Kernel,
    pub job: &'a Job,
    pub own: &'a Own,
    pub changes: &'a mut Changes,
}

impl Look<'_> {
    fn spec(&self) -> &WatchSpec {
        &self.job.watch
    }

    fn warn(&self, path: &Path, why: &str) {
        tracing::warn!("{}: watch: {}: {why}, not watched", self.job.name, path.display());
    }
}

impl Root {
    /// Looks at it for the first time. What has changed since the job began is a change.
    pub fn new(user: User, path: PathBuf, look: &mut Look<'_>) -> Root {
        let method = match look.spec().compare {
            Compare::Content => Method::Content,
            Compare::Auto => Method::Cheap,
            Compare::Mtime => Method::Mtime,
        };
        let mut root = Root {
            user,
            path,
            chain: BTreeMap::new(),
            links: BTreeMap::new(),
            target: Target::Nowhere,
            method,
            complained: BTreeSet::new(),
            blind: BTreeSet::new(),
            is_way_blind: false,
            silent: None,
            ignored: look.spec().gitignore.then(Ignored::default),
            ignore_files: BTreeMap::new(),
            outdated: BTreeSet::new(),
            quiet_before: None,
        };
        let mut unknown = Changes::default();
        root.look_at_all(&mut Look { kernel: &mut *look.kernel, job: look.job, own: look.own, changes: &mut unknown }, Extent::All);
        if matches!(root.target, Target::Nowhere) {
            tracing::info!("{}: watch: {} does not exist yet; waiting for it", look.job.name, root.path.display());
        }
        root.settle_method();
        root.tell_what_is_new(look);
        root
    }

    /// Lets go of everything that is watched for it.
    pub fn release(&mut self, kernel: &mut Kernel) {
        for folder in std::mem::take(&mut self.chain).into_keys().chain(std::mem::take(&mut self.links).into_keys()) {
            kernel.release(&folder, self.user);
        }
        match std::mem::replace(&mut self.target, Target::Nowhere) {
            Target::Nowhere => {}
            Target::File { real, .. } => kernel.release(&real, self.user),
            Target::Folder { real, folders, .. } => {
                folders.keys().for_each(|below| kernel.release(&join(&real, below), self.user));
            }
        }
    }

    /// What a hint means to it, if anything.
    pub fn dirt(&self, hint: &Hint, job: &Job, own: &Own) -> Option<Dirt> {
        let (folder, name) = (hint.path.parent()?, hint.path.file_name()?);
        let leads = |names: &BTreeMap<PathBuf, BTreeSet<OsString>>| names.get(folder).is_some_and(|names| names.contains(name));
        if leads(&self.chain) {
            return Some(if hint.sign == Sign::Moved { Dirt::Anew } else { Dirt::Whole });
        }
        if leads(&self.links) {
            return Some(Dirt::Whole);
        }
        match &self.target {
            Target::Nowhere => None,
            Target::File { real, .. } => (*real == hint.path).then_some(Dirt::Whole),
            Target::Folder { real, folders, .. } => {
                let below = below(real, folder)?;
                folders.get(&below)?;
                if self.ignored.is_some() && name == ignore::NAME {
                    return Some(Dirt::Folder(below));
                }
                let rules = Rules { spec: &job.watch, own, ignored: self.ignored.as_ref() };
                let own_below = child(&below, name.as_bytes());
                let root = self.path.as_os_str().as_bytes();
                let is_admitted = match hint.what {
                    Some(What::File) => rules.counts(root, &own_below),
                    Some(What::Folder) => rules.walks(root, &own_below),
                    None => rules.counts(root, &own_below) || rules.walks(root, &own_below),
                };
                let may_be_another = matches!(hint.sign, Sign::Moved | Sign::Touched);
                let is_another = may_be_another && folders.contains_key(&own_below);
                match (is_admitted, is_another) {
                    (false, _) => None,
                    (true, true) => Some(Dirt::Other(own_below)),
                    (true, false) => Some(Dirt::Folder(below)),
                }
            }
        }
    }

    /// Looks at what is dirty, and tells what has changed.
    pub fn look(&mut self, dirt: BTreeSet<Dirt>, look: &mut Look<'_>) {
        let begin = now_of_files();
        self.look_at(dirt, look);
        if !self.outdated.is_empty() {
            self.count_otherwise(begin, look);
        }
    }

    /// Other files count by now: those that do not any more have not gone, and those that do have not come.
    fn count_otherwise(&mut self, since: i64, look: &mut Look<'_>) {
        if let Target::Folder { real, .. } = &self.target {
            let real = real.clone();
            for below in std::mem::take(&mut self.outdated) {
                self.read_ignored(&join(&real, &below), below, look);
            }
        }
        self.outdated.clear();
        self.quiet_before = Some(since);
        self.look_at_all(look, Extent::All);
        self.quiet_before = None;
    }

    fn look_at(&mut self, dirt: BTreeSet<Dirt>, look: &mut Look<'_>) {
        let extent = match (dirt.contains(&Dirt::Anew), dirt.contains(&Dirt::Whole), dirt.contains(&Dirt::Way)) {
            (true, ..) => Some(Extent::Anew),
            (false, true, _) => Some(Extent::All),
            (false, false, true) => Some(Extent::Way),
            (false, false, false) => None,
        };
        if let Some(extent) = extent {
            self.look_at_all(look, extent);
        }
        if matches!(extent, Some(Extent::All | Extent::Anew)) {
            return;
        }
        for one in dirt {
            match one {
                Dirt::Folder(below) => self.look_at_folder(below, Depth::One, look),
                Dirt::Other(below) => {
                    self.look_at_folder(parent(&below).to_vec(), Depth::One, look);
                    if self.knows(&below) {
                        self.look_at_folder(below, Depth::Anew, look);
                    }
                }
                Dirt::Way | Dirt::Whole | Dirt::Anew => {}
            }
        }
        self.follow_links(look);
    }

    /// How many folders and files it holds.
    pub fn size(&self) -> (usize, usize) {
        match &self.target {
            Target::Nowhere => (0, 0),
            Target::File { .. } => (0, 1),
            Target::Folder { folders, .. } => {
                let files = |listed: &Listed| listed.entries.iter().filter(|entry| entry.kind != Kind::Folder).count();
                (folders.len(), folders.values().map(files).sum())
            }
        }
    }

    /// What is there.
    pub fn what(&self) -> PathKind {
        match &self.target {
            Target::Nowhere => PathKind::Missing,
            Target::File { .. } => PathKind::File,
            Target::Folder { .. } => PathKind::Folder,
        }
    }

    /// Where it leads.
    pub fn real(&self) -> Option<&Path> {
        match &self.target {
            Target::Nowhere => None,
            Target::File { real, .. } | Target::Folder { real, .. } => Some(real),
        }
    }

    /// The folders that cannot be watched, by their paths below the root.
    pub fn blind(&self) -> &BTreeSet<Vec<u8>> {
        &self.blind
    }

    /// The folders that lie in it, by their paths below the root.
    pub fn folders(&self) -> impl Iterator<Item = &[u8]> {
        let folders = match &self.target {
            Target::Folder { folders, .. } => Some(folders),
            Target::Nowhere | Target::File { .. } => None,
        };
        folders.into_iter().flat_map(|folders| folders.keys().map(Vec::as_slice))
    }

    /// The name of its file system, if that does not tell of all changes.
    pub fn silent(&self) -> Option<&'static str> {
        self.silent
    }

    /// As it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What must be looked at without being told, where `all` says whether everything must.
    pub fn unseen(&self, all: bool) -> BTreeSet<Dirt> {
        if all {
            return once(Dirt::Whole).gather();
        }
        let folders = self.blind.iter().cloned().map(Dirt::Folder);
        folders.chain(self.is_way_blind.then_some(Dirt::Way)).gather()
    }

    fn knows(&self, below: &[u8]) -> bool {
        matches!(&self.target, Target::Folder { folders, .. } if folders.contains_key(below))
    }

    /// Finds out where the path leads by now, and looks at all that lies there.
    fn look_at_all(&mut self, look: &mut Look<'_>, extent: Extent) {
        let mut chain = BTreeMap::new();
        let user = self.user;
        let mut is_blind = false;
        let found = lead(&self.path, &mut chain, |folder| is_blind |= !watch(folder, user, look));
        self.is_way_blind = is_blind;
        for folder in self.chain.keys().filter(|folder| !chain.contains_key(*folder)).cloned().collect::<Vec<_>>() {
            self.release_unless_needed(&folder, look.kernel);
        }
        self.chain = chain;
        match found {
            None => self.leads_to_nothing(look),
            Some((real, found)) if found.is_dir() => self.leads_to_folder(real, &found, look, extent),
            Some((real, found)) => self.leads_to_file(real, &found, look, extent),
        }
        self.follow_links(look);
    }

    fn leads_to_nothing(&mut self, look: &mut Look<'_>) {
        match std::mem::replace(&mut self.target, Target::Nowhere) {
            Target::Nowhere => {}
            Target::File { real, .. } => {
                look.changes.add(|| self.change(ChangeKind::Removed, b"", look.job));
                look.kernel.release(&real, self.user);
            }
            Target::Folder { real, folders, .. } => self.forget(&real, folders, look),
        }
    }

    fn leads_to_file(&mut self, real: PathBuf, found: &Metadata, look: &mut Look<'_>, extent: Extent) {
        self.silent = silent(&real);
        if found.nlink() == 0 && self.complained.insert(real.clone()) {
            let path = self.path.display();
            let why = "was replaced on the host, but the container still has the old file; mount its folder instead";
            tracing::warn!("{}: watch: {path} {why}", look.job.name);
        }
        let new = entry(b"", found);
        let old = match std::mem::replace(&mut self.target, Target::Nowhere) {
            Target::Nowhere => None,
            Target::File { real: old_real, entry } => {
                if old_real != real {
                    look.kernel.release(&old_real, self.user);
                } else if extent == Extent::Anew {
                    let _ = look.kernel.renew(&real);
                }
                Some(entry)
            }
            Target::Folder { real: old_real, folders, .. } => {
                self.forget(&old_real, folders, look);
                None
            }
        };
        self.is_way_blind |= !watch(&real, self.user, look);
        let method = if self.method == Method::Mtime { Method::Mtime } else { Method::Content };
        let new = read_print(&real, new, old.as_ref(), i64::MIN, method);
        let told = match &old {
            None => Some(ChangeKind::Created),
            Some(old) => compare(std::slice::from_ref(old), std::slice::from_ref(&new)).first().and_then(Difference::kind),
        };
        if let Some(kind) = told {
            look.changes.add(|| self.change(kind, b"", look.job));
        }
        self.target = Target::File { real, entry: new };
    }

    fn leads_to_folder(&mut self, real: PathBuf, found: &Metadata, look: &mut Look<'_>, extent: Extent) {
        let node = (found.dev(), found.ino());
        let is_known = matches!(&self.target, Target::Folder { real: old, node: old_node, .. } if (old, *old_node) == (&real, node));
        if extent == Extent::Way && is_known {
            return;
        }
        self.silent = silent(&real);
        let mut is_another = extent == Extent::Anew;
        let folders = match std::mem::replace(&mut self.target, Target::Nowhere) {
            Target::Nowhere => Folders::new(),
            Target::File { real: old_real, .. } => {
                look.changes.add(|| self.change(ChangeKind::Removed, b"", look.job));
                look.kernel.release(&old_real, self.user);
                Folders::new()
            }
            Target::Folder { real: old_real, node: old_node, folders } => {
                if old_real != real {
                    folders.keys().for_each(|below| look.kernel.release(&join(&old_real, below), self.user));
                }
                is_another |= old_node != node;
                folders
            }
        };
        if let Some(ignored) = self.ignored.as_mut().filter(|_| !is_known) {
            ignored.outer = ignored_above(&real);
        }
        self.target = Target::Folder { real, node, folders };
        self.look_at_folder(Vec::new(), if is_another { Depth::Anew } else { Depth::All }, look);
    }

    /// Looks at a folder that is there, and at those in it that are new; or at all of them.
    fn look_at_folder(&mut self, below: Vec<u8>, depth: Depth, look: &mut Look<'_>) {
        let Target::Folder { real, .. } = &self.target else { return };
        let real = real.clone();
        let mut waiting = VecDeque::from([(below, depth)]);
        while let Some((below, depth)) = waiting.pop_front() {
            let path = join(&real, &below);
            if depth == Depth::Anew {
                let _ = look.kernel.renew(&path);
            }
            if watch(&path, self.user, look) {
                self.blind.remove(&below);
            } else {
                self.blind.insert(below.clone());
            }
            let Target::Folder { folders, .. } = &mut self.target else { return };
            let old = folders.remove(&below);
            if self.ignored.is_some() {
                self.look_at_ignored(&path, &below, old.is_some(), look);
            }
            let listed = match list(&path, &below, &self.path, old.as_ref(), self.method, self.ignored.as_ref(), look) {
                Ok(listed) => listed,
                Err(error) => {
                    // Somebody must permit it first, and that is told of.
                    self.blind.remove(&below);
                    if error.kind() == io::ErrorKind::PermissionDenied && self.complained.insert(path.clone()) {
                        look.warn(&path, &in_words(&error));
                    }
                    Listed::default()
                }
            };
            let old = old.unwrap_or_default();
            let (mut deeper, mut gone) = (Vec::new(), Vec::new());
            for difference in compare(&old.entries, &listed.entries) {
                let own = |entry: &Entry| child(&below, &entry.name);
                if let Some(kind) = difference.kind().filter(|_| !self.is_no_news(&difference)) {
                    let (Difference::Came(entry) | Difference::Went(entry) | Difference::Stayed(entry, ..)) = &difference;
                    look.changes.add(|| self.change(kind, &own(entry), look.job));
                }
                match difference {
                    Difference::Came(new) if new.kind == Kind::Folder => deeper.push((own(new), Depth::All)),
                    Difference::Went(old) if old.kind == Kind::Folder => gone.push(own(old)),
                    Difference::Stayed(old, new, _) => match (old.kind, new.kind) {
                        (Kind::Folder, Kind::Folder) => {
                            let is_another = old.stamp.node != new.stamp.node;
                            match depth {
                                Depth::One if !is_another => {}
                                Depth::All if !is_another => deeper.push((own(new), Depth::All)),
                                Depth::One | Depth::All | Depth::Anew => deeper.push((own(new), Depth::Anew)),
                            }
                        }
                        (Kind::Folder, Kind::File | Kind::Other) => gone.push(own(old)),
                        (Kind::File | Kind::Other, Kind::Folder) => deeper.push((own(new), Depth::All)),
                        (Kind::File | Kind::Other, Kind::File | Kind::Other) => {}
                    },
                    Difference::Came(_) | Difference::Went(_) => {}
                }
            }
            if let Target::Folder { folders, .. } = &mut self.target {
                folders.insert(below, listed);
            }
            for below in gone {
                let lost = self.take_below(&below);
                self.forget(&real, lost, look);
            }
            let most = usize::try_from(look.spec().max_depth).unwrap_or(usize::MAX);
            let is_too_deep = |below: &[u8]| below.split(|byte| *byte == b'/').count() >= most;
            let Some((first, _)) = deeper.first().filter(|(below, _)| is_too_deep(below)) else {
                waiting.extend(deeper);
                continue;
            };
            if self.complained.insert(PathBuf::from("depth")) {
                let path = join(&real, first);
                tracing::info!("{}: watch: {} and what is as deep is not watched: max_depth is {most}", look.job.name, path.display());
            }
        }
    }

    /// The folder at this path and all that lie in it.
    fn take_below(&mut self, below: &[u8]) -> Folders {
        let Target::Folder { folders, .. } = &mut self.target else { return Folders::new() };
        let is_in = |path: &[u8]| path == below || path.strip_prefix(below).is_some_and(|rest| rest.starts_with(b"/"));
        let keys: Vec<Vec<u8>> =
            folders.range(below.to_vec()..).take_while(|(path, _)| path.starts_with(below)).map(|(path, _)| path.clone()).collect();
        keys.into_iter().filter(|path| is_in(path)).filter_map(|path| Some((path.clone(), folders.remove(&path)?))).gather()
    }

    /// Folders are gone, and all files in them.
    fn forget(&mut self, real: &Path, folders: Folders, look: &mut Look<'_>) {
        for (below, listed) in folders {
            self.blind.remove(&below);
            self.ignore_files.remove(&below);
            if let Some(ignored) = &mut self.ignored {
                ignored.inner.remove(&below);
            }
            look.kernel.release(&join(real, &below), self.user);
            let told = listed.entries.iter().filter(|entry| entry.kind != Kind::Folder && self.quiet_before.is_none());
            for file in told {
                look.changes.add(|| self.change(ChangeKind::Removed, &child(&below, &file.name), look.job));
            }
        }
    }

    /// Whether a difference is one only because other files count than before.
    fn is_no_news(&self, difference: &Difference<'_>) -> bool {
        self.quiet_before.is_some_and(|since| match difference {
            Difference::Came(new) => new.stamp.ctime < since,
            Difference::Went(_) => true,
            Difference::Stayed(..) => false,
        })
    }

    /// Reads the file of a folder that says what is left out in it; of one that is known, later.
    fn look_at_ignored(&mut self, folder: &Path, below: &[u8], is_known: bool, look: &mut Look<'_>) {
        let found = fs::symlink_metadata(folder.join(ignore::NAME)).ok().filter(Metadata::is_file);
        if found.as_ref().map(stamp) == self.ignore_files.get(below).copied() {
            return;
        }
        if is_known {
            self.outdated.insert(below.to_vec());
        } else {
            self.read_ignored(folder, below.to_vec(), look);
        }
    }

    fn read_ignored(&mut self, folder: &Path, below: Vec<u8>, look: &mut Look<'_>) {
        let Some(ignored) = &mut self.ignored else { return };
        let path = folder.join(ignore::NAME);
        match read_rules(&path) {
            Ok((stamp, rules)) => {
                ignored.inner.insert(below.clone(), rules);
                self.ignore_files.insert(below, stamp);
            }
            Err(error) => {
                ignored.inner.remove(&below);
                self.ignore_files.remove(&below);
                if error.kind() != io::ErrorKind::NotFound && self.complained.insert(path.clone()) {
                    look.warn(&path, &in_words(&error));
                }
            }
        }
    }

    /// With few files their content decides from now on.
    fn settle_method(&mut self) {
        if self.method != Method::Cheap || self.size().1 > READ_SO_MANY {
            return;
        }
        self.method = Method::Content;
        let Target::Folder { real, folders, .. } = &mut self.target else { return };
        for (below, listed) in folders {
            let folder = join(real, below);
            for entry in &mut listed.entries {
                let path = folder.join(OsStr::from_bytes(&entry.name));
                *entry = read_print(&path, entry.clone(), None, i64::MIN, Method::Content);
            }
            listed.at = now_of_files();
        }
    }

    /// What was written since the job began, while nobody had looked yet.
    fn tell_what_is_new(&self, look: &mut Look<'_>) {
        let since = look.job.since;
        let mut tell = |below: &[u8], entry: &Entry| {
            if entry.kind == Kind::File && entry.stamp.ctime > since {
                look.changes.add(|| self.change(ChangeKind::Modified, below, look.job));
            }
        };
        match &self.target {
            Target::Nowhere => {}
            Target::File { entry, .. } => tell(b"", entry),
            Target::Folder { folders, .. } => {
                for (below, listed) in folders {
                    listed.entries.iter().for_each(|entry| tell(&child(below, &entry.name), entry));
                }
            }
        }
    }

    /// Watches the folders in which links to files lead on.
    fn follow_links(&mut self, look: &mut Look<'_>) {
        let mut links = BTreeMap::new();
        if let Target::Folder { real, folders, .. } = &self.target {
            let linked = folders.iter().flat_map(|(below, listed)| {
                let folder = join(real, below);
                listed.entries.iter().filter(|entry| entry.is_link).map(move |entry| folder.join(OsStr::from_bytes(&entry.name)))
            });
            let linked: Vec<PathBuf> = linked.take(LINKED).collect();
            for path in linked {
                lead(&path, &mut links, |folder| {
                    watch(folder, self.user, look);
                });
            }
        }
        for folder in self.links.keys().filter(|folder| !links.contains_key(*folder)).cloned().collect::<Vec<_>>() {
            self.links.remove(&folder);
            self.release_unless_needed(&folder, look.kernel);
        }
        self.links = links;
    }

    fn release_unless_needed(&self, folder: &Path, kernel: &mut Kernel) {
        let is_in_tree = match &self.target {
            Target::Folder { real, folders, .. } => below(real, folder).is_some_and(|below| folders.contains_key(&below)),
            Target::Nowhere | Target::File { .. } => false,
        };
        let is_in_links = self.links.contains_key(folder);
        if !is_in_tree && !is_in_links {
            kernel.release(folder, self.user);
        }
    }

    fn change(&self, kind: ChangeKind, below: &[u8], job: &Job) -> Change {
        let path = join(&self.path, below).into_os_string().into_vec();
        let folder = job.folder.as_ref().map(|folder| folder.as_os_str().as_bytes());
        let base =
            folder.filter(|folder| path.starts_with(folder) && path.get(folder.len()) == Some(&b'/')).map_or(0, |folder| folder.len() + 1);
        Change { kind, path, base }
    }
}

/// Whether the kernel tells of a path from now on, or there is nothing to be told of.
fn watch(path: &Path, user: User, look: &mut Look<'_>) -> bool {
    match look.kernel.watch(path, user) {
        Ok(()) | Err(NotWatched::Gone) => true,
        Err(NotWatched::Limit) => false,
        Err(NotWatched::Error(error)) => {
            tracing::debug!("{}: watch: {}: {error}", look.job.name, path.display());
            false
        }
    }
}

/// The name of a path's file system, if that does not tell of all changes.
fn silent(path: &Path) -> Option<&'static str> {
    let kind = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    silent_file_system(u32::try_from(i128::from(kind) & 0xffff_ffff).ok()?)
}

/// How much of a root is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Where it leads; and what lies there only if that is another place.
    Way,
    /// All of it.
    All,
    /// The same, and each folder may be another than the one that is watched.
    Anew,
}

/// How much of a folder is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// It alone, and what is new in it.
    One,
    /// All folders in it too.
    All,
    /// The same, and each may be another than the one that is watched under its name: also where the number of the inode
    /// is the same, which file systems give again at once.
    Anew,
}

/// Where a path leads, and what is there; `chain` is told in which folders which names were looked up, and each folder is
/// watched before.
fn lead(path: &Path, chain: &mut BTreeMap<PathBuf, BTreeSet<OsString>>, mut watch: impl FnMut(&Path)) -> Option<(PathBuf, Metadata)> {
    let mut rest: VecDeque<OsString> = parts(path);
    let (mut real, mut links, mut last) = (PathBuf::from("/"), 0, fs::metadata("/").ok()?);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            real.pop();
            last = fs::metadata(&real).ok()?;
            continue;
        }
        if !chain.contains_key(&real) {
            watch(&real);
        }
        chain.entry(real.clone()).or_default().insert(name.clone());
        let found = fs::symlink_metadata(real.join(&name)).ok()?;
        if !found.is_symlink() {
            real.push(name);
            last = found;
            continue;
        }
        links += 1;
        let target = fs::read_link(real.join(&name)).ok().filter(|_| links <= LINKS)?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        let mut target = parts(&target);
        target.append(&mut rest);
        rest = target;
    }
    Some((real, last))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// What counts in a folder, in the order of the names.
fn list(
    path: &Path,
    below: &[u8],
    root: &Path,
    old: Option<&Listed>,
    method: Method,
    ignored: Option<&Ignored>,
    look: &Look<'_>,
) -> io::Result<Listed> {
    let rules = Rules { spec: look.spec(), own: look.own, ignored };
    let root = root.as_os_str().as_bytes();
    let at = now_of_files();
    let mut entries = Vec::new();
    for found in fs::read_dir(path)? {
        let found = found?;
        let name = found.file_name();
        let own = child(below, name.as_bytes());
        let is_folder = found.file_type().is_ok_and(|kind| kind.is_dir());
        let is_admitted = if is_folder { rules.walks(root, &own) } else { rules.counts(root, &own) };
        let Some(metadata) = is_admitted.then(|| found.metadata().ok()).flatten() else { continue };
        let target = metadata.is_symlink().then(|| fs::metadata(found.path()).ok()).flatten().filter(Metadata::is_file);
        let mut new = entry(name.as_bytes(), target.as_ref().unwrap_or(&metadata));
        new.is_link = target.is_some();
        let old_entry = old.and_then(|old| find(&old.entries, &new.name));
        entries.push(read_print(&found.path(), new, old_entry, old.map_or(i64::MIN, |old| old.at), method));
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    entries.shrink_to_fit();
    Ok(Listed { entries, at })
}

fn find<'a>(entries: &'a [Entry], name: &[u8]) -> Option<&'a Entry> {
    entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok().and_then(|at| entries.get(at))
}

fn entry(name: &[u8], metadata: &Metadata) -> Entry {
    let kind = match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => Kind::Folder,
        (_, true) => Kind::File,
        _ => Kind::Other,
    };
    Entry { name: name.into(), kind, stamp: stamp(metadata), print: None, is_link: false }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        node: metadata.ino(),
        size: metadata.size(),
        mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// With what stands for the content, where that is needed and not known; `looked_at` is when `old` was looked at.
fn read_print(path: &Path, new: Entry, old: Option<&Entry>, looked_at: i64, method: Method) -> Entry {
    if !new.must_be_read(old, method, now_of_files()) {
        return new;
    }
    if let Some(known) = old.and_then(|old| new.known_print(old, looked_at)) {
        return Entry { print: Some(known), ..new };
    }
    match read(path) {
        Ok((stamp, print)) => Entry { stamp, print: Some(print), ..new },
        Err(_) => new,
    }
}

/// Reads a file. Its stamp is that of what was read: a write that comes later changes it.
fn read(path: &Path) -> io::Result<(Stamp, u64)> {
    // It may be a pipe by now, whose writer never comes.
    let mut file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let before = stamp(&file.metadata()?);
    let mut content = Vec::new();
    (&mut file).take(READ_UP_TO + 1).read_to_end(&mut content)?;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&content);
    Ok((before, hasher.finish()))
}

/// Reads what a file leaves out, with the stamp of what was read.
fn read_rules(path: &Path) -> io::Result<(Stamp, Vec<ignore::Rule>)> {
    let mut file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > ignore::LARGEST {
        return Err(io::Error::other(format!("no file of up to {}", size::brief(ignore::LARGEST))));
    }
    let mut text = Vec::new();
    (&mut file).take(ignore::LARGEST).read_to_end(&mut text)?;
    Ok((stamp(&found), ignore::parse(&text)))
}

/// What the files leave out that lie above a folder in its repository, the nearest first, and last what the repository's own
/// file does. Nothing, if there is no repository.
fn ignored_above(folder: &Path) -> Vec<(Vec<u8>, Vec<ignore::Rule>)> {
    let Some(top) = folder.ancestors().find(|above| above.join(".git").exists()) else { return Vec::new() };
    let rules = |above: &Path, file: &Path| {
        let way = folder.strip_prefix(above).ok()?.as_os_str().as_bytes().to_vec();
        Some((way, read_rules(file).ok()?.1))
    };
    let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(top));
    let own = rules(top, &top.join(".git/info/exclude"));
    above.filter_map(|above| rules(above, &above.join(ignore::NAME))).chain(own).collect()
}

fn child(below: &[u8], name: &[u8]) -> Vec<u8> {
    if below.is_empty() { name.to_vec() } else { [below, b"/", name].concat() }
}

fn parent(below: &[u8]) -> &[u8] {
    below.iter().rposition(|byte| *byte == b'/').and_then(|at| below.get(..at)).unwrap_or_default()
}

fn join(real: &Path, below: &[u8]) -> PathBuf {
    if below.is_empty() { real.to_owned() } else { real.join(OsStr::from_bytes(below)) }
}

fn below(real: &Path, path: &Path) -> Option<Vec<u8>> {
    path.strip_prefix(real).ok().map(|below| below.as_os_str().as_bytes().to_vec())
}
