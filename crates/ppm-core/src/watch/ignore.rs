//! What `.gitignore` files leave out, as gitignore(5) has it.
//!
//! A rule holds for what lies below the folder of its file; the last that fits decides, and the file that lies nearest is
//! asked first. What one file leaves out another cannot bring back, since folders that are left out are not looked into.
//! Nothing here reads a file. Invariant: no line is an error; one that means nothing to git means nothing here.

use std::collections::BTreeMap;

use super::pattern::{Pattern, What};

/// The name of these files.
pub const NAME: &str = ".gitignore";

/// Larger ones are not read, in bytes: nobody writes as much by hand.
pub const LARGEST: u64 = 256 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it brings back what a line before leaves out.
    brings_back: bool,
    pattern: Pattern,
}

/// Reads one file.
pub fn parse(text: &[u8]) -> Vec<Rule> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').filter_map(|line| Rule::parse(std::str::from_utf8(line).ok()?)).collect()
}

impl Rule {
    fn parse(line: &str) -> Option<Rule> {
        let line = without_blanks(line.strip_suffix('\r').unwrap_or(line));
        if line.starts_with('#') {
            return None;
        }
        let (brings_back, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        Some(Rule { brings_back, pattern: Pattern::of_ignored(pattern)? })
    }
}

/// Without the blanks at its end, but for one behind a `\`.
fn without_blanks(line: &str) -> &str {
    let bare = line.trim_end_matches(' ');
    let escapes = bare.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if escapes % 2 == 1 && bare.len() < line.len() { &line[..=bare.len()] } else { bare }
}

/// The rules of all files that concern a watched folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Of the folders above it in the same repository, the nearest first, each with the path from there to the watched one.
    pub outer: Vec<(Vec<u8>, Vec<Rule>)>,
    /// Of the folders in it, by their paths below it.
    pub inner: BTreeMap<Vec<u8>, Vec<Rule>>,
}

impl Ignored {
    /// Whether what lies at this path below the watched folder is left out. The folders on the way to it are not.
    pub fn leaves_out(&self, below: &[u8], what: What) -> bool {
        let slashes = below.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let folders = slashes.map(|at| (&below[..at], &below[at + 1..])).chain([(&b""[..], below)]);
        let inner = folders.filter_map(|(folder, rest)| Some((self.inner.get(folder)?, rest.to_vec())));
        let outer =
            self.outer.iter().map(|(way, rules)| (rules, if way.is_empty() { below.to_vec() } else { [way, &b"/"[..], below].concat() }));
        let verdict = inner.chain(outer).find_map(|(rules, path)| {
            rules.iter().rev().find(|rule| rule.pattern.matches(&path, &path, what)).map(|rule| !rule.brings_back)
        });
        verdict.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of these paths is left out by these files; a path that ends with `/` is a folder. As git does, nothing is looked
    /// at below a folder that is left out.
    fn left_out<'a>(files: &[(&str, &str)], paths: &[&'a str]) -> Vec<&'a str> {
        let rules = |(folder, text): &(&str, &str)| (folder.as_bytes().to_vec(), parse(text.as_bytes()));
        let ignored = Ignored { outer: Vec::new(), inner: files.iter().map(rules).collect() };
        let is_out = |path: &str| {
            let (path, what) = path.strip_suffix('/').map_or((path, What::File), |path| (path, What::Folder));
            let above = path.match_indices('/').any(|(at, _)| ignored.leaves_out(&path.as_bytes()[..at], What::Folder));
            above || ignored.leaves_out(path.as_bytes(), what)
        };
        paths.iter().copied().filter(|path| is_out(path)).collect()
    }

    #[test]
    fn names_hold_at_any_depth_and_paths_from_the_folder_of_the_file() {
        let paths = ["a.o", "x/a.o", "dist/", "x/dist/", "x/dist", "doc/f", "x/doc/f", "top", "x/top"];
        assert_eq!(left_out(&[("", "*.o\ndist/\ndoc/f\n/top\n")], &paths), ["a.o", "x/a.o", "dist/", "x/dist/", "doc/f", "top"]);
    }

    #[test]
    fn the_last_line_that_fits_decides_but_nothing_comes_back_from_a_folder_that_is_left_out() {
        let paths = ["a.log", "keep.log", "out/", "out/keep.log", "gen/x", "gen/keep", "gen/"];
        let text = "*.log\n!keep.log\nout/\n!out/keep.log\ngen/*\n!gen/keep\n";
        assert_eq!(left_out(&[("", text)], &paths), ["a.log", "out/", "out/keep.log", "gen/x"]);
    }

    #[test]
    fn two_stars_are_any_folders_and_all_that_lies_in_one() {
        let paths = ["abc/", "abc/x", "abc/y/z", "abc/keep", "foo/bar", "x/foo/bar", "a/b", "a/x/y/b", "b"];
        let text = "abc/**\n!abc/keep\n**/foo/bar\na/**/b\n";
        assert_eq!(left_out(&[("", text)], &paths), ["abc/x", "abc/y/z", "foo/bar", "x/foo/bar", "a/b", "a/x/y/b"]);
    }

    #[test]
    fn a_file_that_lies_nearer_is_asked_first_and_holds_below_it() {
        let paths = ["a.o", "sub/a.o", "sub/b.o", "sub/deep/a.o", "x/sub/a.o", "sub/only", "only"];
        let files = [("", "*.o\n"), ("sub", "!a.o\n/only\n"), ("sub/deep", "a.o\n")];
        assert_eq!(left_out(&files, &paths), ["a.o", "sub/b.o", "sub/deep/a.o", "x/sub/a.o", "sub/only"]);
    }

    #[test]
    fn files_above_hold_with_the_path_from_there_and_the_nearest_is_asked_first() {
        let outer = vec![(b"src".to_vec(), parse(b"!/src/x.o\n")), (b"app/src".to_vec(), parse(b"/app/src/gen\n*.o\n"))];
        let ignored = Ignored { outer, inner: BTreeMap::new() };
        assert!(ignored.leaves_out(b"gen", What::Folder) && ignored.leaves_out(b"x/a.o", What::File));
        assert!(!ignored.leaves_out(b"x/gen", What::Folder) && !ignored.leaves_out(b"x.o", What::File));
    }

    #[test]
    fn lines_are_read_as_git_reads_them() {
        let paths = ["#a", "!b", "c ", "c", "{d,e}", "d", "f", "g\\", "[h", "i", "j"];
        let text = "\u{feff}# a comment\r\n\r\n   \n\\#a\n\\!b\nc\\ \n{d,e}\nf   \n[h\n/\n!\ni\r\n[!a-i]\n";
        assert_eq!(left_out(&[("", text)], &paths), ["#a", "!b", "c ", "{d,e}", "f", "[h", "i", "j"]);
        assert_eq!(parse(b"\xff\n\n#\n"), []);
    }
}
