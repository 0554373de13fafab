//! What a folder held when it was looked at, and what has changed since.
//!
//! Arithmetic over entries that were read elsewhere. A file is another one when its content is, where that is known of
//! both, else when it is another file, has another size or was written. Folders count by what is in them. Invariant: two
//! looks at what nobody touched do not differ.

use std::cmp::Ordering;

use super::ChangeKind;

/// Files up to this size, in bytes, are compared by content: they are read as fast as they are noticed.
pub const READ_UP_TO: u64 = 256 * 1024;

/// With more files than this their content is not read unless that is asked for.
pub const READ_SO_MANY: usize = 2000;

/// A file that was written so shortly before it was looked at may be written again within the same tick of the kernel's
/// clock (at most 10 ms), which nothing but its content would tell. In nanoseconds.
const SAME_TICK: i64 = 20_000_000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file, or a link to one.
    File,
    /// Something else: a link to a folder or to nothing, a socket, a pipe, a device.
    Other,
}

/// One entry of a folder, as lstat(2) or, for a link to a file, stat(2) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: Kind,
    /// Whether it is a link; what it leads to is what is looked at, if that is a file.
    pub is_link: bool,
    /// What tells it from others.
    pub stamp: Stamp,
    /// What stands for its content; None: it was not read.
    pub print: Option<u64>,
}

/// What tells a file from another, and from itself at another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Inode.
    pub node: u64,
    /// Bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since the epoch.
    pub mtime: i64,
    /// When anything about it changed, in nanoseconds since the epoch.
    pub ctime: i64,
}

/// How files are compared in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By content.
    Content,
    /// By what stat(2) tells, and by content where that cannot tell.
    Cheap,
    /// By what stat(2) tells.
    Mtime,
}

impl Entry {
    /// Whether the content must be read to compare it, now or later. `old` is the same entry when it was looked at
    /// before; `now` the present in nanoseconds since the epoch.
    pub fn must_be_read(&self, old: Option<&Entry>, method: Method, now: i64) -> bool {
        let is_readable = self.kind == Kind::File && self.stamp.size <= READ_UP_TO;
        is_readable
            && match method {
                Method::Content => true,
                Method::Cheap => self.is_fresh(now) || old.is_some_and(|old| old.print.is_some()),
                Method::Mtime => false,
            }
    }

    /// What is known of its content from a look before, which was at that time: nothing has touched the file since.
    pub fn known_print(&self, old: &Entry, looked_at: i64) -> Option<u64> {
        let is_same = old.kind == self.kind && old.stamp == self.stamp && !old.is_fresh(looked_at);
        old.print.filter(|_| is_same)
    }

    /// Whether it may be written once more without a sign.
    fn is_fresh(&self, now: i64) -> bool {
        self.stamp.ctime.saturating_add(SAME_TICK) >= now
    }

    /// Whether it is another than before.
    fn differs(&self, old: &Entry) -> bool {
        match (old.kind, self.kind) {
            (Kind::File, Kind::File) => match (old.print, self.print) {
                (Some(old_print), Some(print)) => (old.stamp.size, old_print) != (self.stamp.size, print),
                _ => (old.stamp.node, old.stamp.size, old.stamp.mtime) != (self.stamp.node, self.stamp.size, self.stamp.mtime),
            },
            (Kind::Other, Kind::Other) => old.stamp.node != self.stamp.node,
            (Kind::Folder, Kind::Folder) => false,
            (Kind::Folder | Kind::File | Kind::Other, _) => true,
        }
    }
}

/// What became of an entry between two looks at a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// It was not there.
    Came(&'a Entry),
    /// It is not there any more.
    Went(&'a Entry),
    /// It is still there: as it was, or not.
    Stayed(&'a Entry, &'a Entry, bool),
}

impl Difference<'_> {
    /// What is to be told of it; folders are told of by what is in them.
    pub fn kind(&self) -> Option<ChangeKind> {
        match self {
            Difference::Came(new) => (new.kind != Kind::Folder).then_some(ChangeKind::Created),
            Difference::Went(old) => (old.kind != Kind::Folder).then_some(ChangeKind::Removed),
            Difference::Stayed(_, _, differs) => differs.then_some(ChangeKind::Modified),
        }
    }
}

/// Compares two looks at a folder; both are in the order of the names.
pub fn compare<'a>(old: &'a [Entry], new: &'a [Entry]) -> Vec<Difference<'a>> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut differences = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return differences,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let went = if order == Ordering::Greater { None } else { old.next() };
        let came = if order == Ordering::Less { None } else { new.next() };
        differences.extend(match (went, came) {
            (Some(old), Some(new)) => Some(Difference::Stayed(old, new, new.differs(old))),
            (Some(old), None) => Some(Difference::Went(old)),
            (None, Some(new)) => Some(Difference::Came(new)),
            (None, None) => None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, node: u64, mtime: i64, print: Option<u64>) -> Entry {
        let stamp = Stamp { node, size: 10, mtime, ctime: mtime };
        Entry { name: name.as_bytes().into(), kind: Kind::File, is_link: false, stamp, print }
    }

    fn told(old: &[Entry], new: &[Entry]) -> Vec<(String, ChangeKind)> {
        let name = |entry: &Entry| String::from_utf8_lossy(&entry.name).into_owned();
        let named = compare(old, new).into_iter().filter_map(|difference| {
            let entry = match difference {
                Difference::Came(entry) | Difference::Went(entry) | Difference::Stayed(entry, _, _) => entry,
            };
            Some((name(entry), difference.kind()?))
        });
        named.collect()
    }

    #[test]
    fn what_came_went_and_changed_is_told() {
        let old = [file("a", 1, 5, None), file("b", 2, 5, None), file("d", 4, 5, None)];
        let new = [file("a", 1, 5, None), file("c", 3, 5, None), file("d", 4, 6, None)];
        let expected = [("b", ChangeKind::Removed), ("c", ChangeKind::Created), ("d", ChangeKind::Modified)];
        assert_eq!(told(&old, &new), expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(told(&old, &old), []);
    }

    #[test]
    fn content_decides_where_it_is_known_of_both() {
        let one = |node, mtime, print| [file("a", node, mtime, print)];
        assert_eq!(told(&one(1, 5, Some(7)), &one(2, 6, Some(7))), [], "the same written anew");
        assert_eq!(told(&one(1, 5, Some(7)), &one(1, 5, Some(8))).len(), 1, "written within the tick of the clock");
        assert_eq!(told(&one(1, 5, None), &one(2, 5, Some(7))).len(), 1, "another file");
    }

    #[test]
    fn folders_count_by_what_is_in_them_but_not_what_takes_the_place_of_one() {
        let folder = |node| Entry { kind: Kind::Folder, ..file("a", node, 5, None) };
        assert_eq!(told(&[], &[folder(1)]), []);
        assert_eq!(told(&[folder(1)], &[folder(2)]), []);
        assert_eq!(told(&[folder(1)], &[file("a", 1, 5, None)]).len(), 1);
    }

    #[test]
    fn what_was_written_just_now_is_read_since_its_time_may_not_tell_of_the_next_write() {
        let second = 1_000_000_000;
        let at = |mtime| file("a", 1, mtime, None);
        assert!(at(5 * second).must_be_read(None, Method::Cheap, 5 * second + 1000));
        assert!(!at(5 * second).must_be_read(None, Method::Cheap, 6 * second));
        assert!(at(5 * second).must_be_read(Some(&file("a", 1, 5, Some(7))), Method::Cheap, 6 * second));
        assert!(at(5 * second).must_be_read(None, Method::Content, 6 * second));
        assert!(!at(5 * second).must_be_read(None, Method::Mtime, 5 * second));
        let known = file("a", 1, 5 * second, Some(7));
        assert_eq!(at(5 * second).known_print(&known, 6 * second), Some(7));
        assert_eq!(at(5 * second).known_print(&known, 5 * second + 1000), None);
        let large = Entry { stamp: Stamp { size: READ_UP_TO + 1, ..known.stamp }, ..known };
        assert!(!large.must_be_read(None, Method::Content, 6 * second));
    }
}
