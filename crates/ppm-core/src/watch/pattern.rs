//! Patterns of names and paths: what is included, excluded and exclusively watched.
//!
//! The syntax is that of globs: `?` is one character, `*` any of them, `[a-c]` and `[!a-c]` one of some, `{a,b}` either,
//! `\` takes the meaning from what follows; none of these crosses a `/`, only `**` between slashes does. Names are bytes
//! and need not be UTF-8. Invariant: matching ends in a time that is the product of the two lengths, whatever is written.

use std::ops::Range;

use crate::spec::{InvalidSpec, shown};

/// The longest pattern, in bytes: a path of the kernel's longest name.
const MAX_PATTERN: usize = 4096;

/// Into how many patterns without braces one may unfold.
const MAX_ALTERNATIVES: usize = 64;

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    place: Place,
    folders_only: bool,
    alternatives: Vec<Vec<Part>>,
}

/// What a pattern is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The last part of a path, at any depth.
    Name,
    /// The path below what is watched.
    Below,
    /// The whole path.
    Whole,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A folder.
    Folder,
    /// Anything else.
    File,
}

/// One part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any number of parts.
    AnyDepth,
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<[u8]>),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

/// Why a text is no pattern, and which bytes of it are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// In the text.
    pub at: Range<usize>,
    /// What is wrong, and what to write instead.
    pub why: InvalidSpec,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let bad = |at: Range<usize>, message: &str, hint: &str| BadPattern { at, why: InvalidSpec::new(message).hint(hint) };
        if text.trim().is_empty() {
            return Err(bad(0..text.len(), "the pattern is empty", "write one like `*.log` or `build/`"));
        }
        if text.len() > MAX_PATTERN {
            let hint = format!("use at most {MAX_PATTERN} bytes");
            return Err(bad(0..text.len(), &format!("the pattern is too long with {} bytes", text.len()), &hint));
        }
        if let Some(at) = text.find('\0') {
            return Err(bad(at..at + 1, "a NUL character cannot be in a name", "leave out `\\0`"));
        }
        check(text)?;
        let own = text.strip_prefix("./").unwrap_or(text);
        let folders_only = own.ends_with('/') && !own.ends_with("\\/");
        let own = own.trim_end_matches('/');
        if own.is_empty() {
            return Err(bad(0..text.len(), &format!("the pattern `{}` names nothing", shown(text)), "name what is meant: `build/`"));
        }
        let place = match own.strip_prefix('/') {
            Some(_) => Place::Whole,
            None if own.contains('/') || own == "**" => Place::Below,
            None => Place::Name,
        };
        let mut alternatives = Vec::new();
        unfold(own, &mut alternatives);
        if alternatives.len() > MAX_ALTERNATIVES {
            let message = format!("the braces stand for more than {MAX_ALTERNATIVES} patterns");
            return Err(bad(0..text.len(), &message, "write several patterns"));
        }
        let alternatives = alternatives.iter().map(|own| parts(own.trim_start_matches('/'))).collect();
        Ok(Pattern { text: text.into(), place, folders_only, alternatives })
    }

    /// Reads a line of a file like `.gitignore`, without its `!`: braces mean themselves there, a `/` at the beginning means
    /// the folder of the file, and `a/**` is not `a` itself. None: it names nothing.
    pub(super) fn of_ignored(text: &str) -> Option<Pattern> {
        if text.len() > MAX_PATTERN || text.contains('\0') {
            return None;
        }
        let folders_only = text.ends_with('/');
        let own = text.trim_end_matches('/');
        let place = if own.contains('/') { Place::Below } else { Place::Name };
        let mut parts = parts(own);
        if parts.len() > 1 && parts.last() == Some(&Part::AnyDepth) {
            parts.push(Part::Name(vec![Token::Many]));
        }
        (!parts.is_empty()).then(|| Pattern { text: text.into(), place, folders_only, alternatives: vec![parts] })
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it means the whole path.
    pub fn is_absolute(&self) -> bool {
        self.place == Place::Whole
    }

    /// Whether it means what lies at this path below what is watched, or at this whole path. Neither begins with a `/`.
    pub fn matches(&self, below: &[u8], whole: &[u8], what: What) -> bool {
        if self.folders_only && what == What::File {
            return false;
        }
        let path = match self.place {
            Place::Name => below.rsplit(|byte| *byte == b'/').next().unwrap_or(below),
            Place::Below => below,
            Place::Whole => whole,
        };
        let path: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        self.alternatives.iter().any(|parts| parts_match(parts, &path, what))
    }
}

/// Whether brackets and braces are closed, and nothing stands behind the last `\`.
fn check(text: &str) -> Result<(), BadPattern> {
    let open = |at: usize, what: char| {
        let (message, hint) = (format!("a `{what}` is not closed"), format!("close it, or write `\\{what}` for the character itself"));
        BadPattern { at: at..at + 1, why: InvalidSpec::new(message).hint(hint) }
    };
    let (bytes, mut at, mut braces) = (text.as_bytes(), 0, Vec::new());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if at + 1 == bytes.len() => {
                let why = InvalidSpec::new("nothing follows the last `\\`").hint("write `\\\\` for the character itself");
                return Err(BadPattern { at: at..at + 1, why });
            }
            b'\\' => at += 1,
            b'[' => at = end_of_class(bytes, at).ok_or_else(|| open(at, '['))?,
            b'{' => braces.push(at),
            b'}' => drop(braces.pop()),
            _ => {}
        }
        at += 1;
    }
    braces.last().map_or(Ok(()), |at| Err(open(*at, '{')))
}

/// Where the class that begins here is closed: a `]` at its beginning is one of its characters.
fn end_of_class(bytes: &[u8], start: usize) -> Option<usize> {
    let mut first = start + 1;
    if matches!(bytes.get(first), Some(b'!' | b'^')) {
        first += 1;
    }
    let length = bytes.get(first + 1..)?.iter().position(|byte| *byte == b']')?;
    let end = first + 1 + length;
    (!bytes.get(start..end)?.contains(&b'/')).then_some(end)
}

/// All patterns without braces that one stands for; stops as soon as they are too many.
fn unfold(text: &str, out: &mut Vec<String>) {
    let Some((open, close)) = first_braces(text) else { return out.push(text.to_owned()) };
    let (before, inside, after) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
    for choice in choices(inside) {
        if out.len() > MAX_ALTERNATIVES {
            return;
        }
        unfold(&format!("{before}{choice}{after}"), out);
    }
}

/// The first pair of braces that belong together.
fn first_braces(text: &str) -> Option<(usize, usize)> {
    let (bytes, mut at, mut open, mut depth) = (text.as_bytes(), 0, None, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = end_of_class(bytes, at).unwrap_or(at),
            b'{' => {
                open = open.or(Some(at));
                depth += 1;
            }
            b'}' if depth == 1 => return Some((open?, at)),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// What stands between the commas, those within further braces aside.
fn choices(inside: &str) -> Vec<&str> {
    let (bytes, mut choices, mut start, mut at, mut depth) = (inside.as_bytes(), Vec::new(), 0, 0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = end_of_class(bytes, at).unwrap_or(at),
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                choices.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    choices.push(&inside[start..]);
    choices
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty()) {
        match part {
            "**" if parts.last() == Some(&Part::AnyDepth) => {}
            "**" => parts.push(Part::AnyDepth),
            name => parts.push(Part::Name(tokens(name))),
        }
    }
    parts
}

fn tokens(name: &str) -> Vec<Token> {
    let (bytes, mut tokens, mut literal, mut at) = (name.as_bytes(), Vec::new(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let token = match byte {
            b'?' => Some(Token::One),
            b'*' => Some(Token::Many),
            b'[' => end_of_class(bytes, at).map(|end| {
                let class = class(&name[at + 1..end]);
                at = end;
                class
            }),
            _ => None,
        };
        match token {
            Some(token) => {
                if !literal.is_empty() {
                    tokens.push(Token::Literal(std::mem::take(&mut literal).into()));
                }
                if token != Token::Many || tokens.last() != Some(&Token::Many) {
                    tokens.push(token);
                }
            }
            None => {
                at += usize::from(*byte == b'\\');
                literal.extend(bytes.get(at));
            }
        }
        at += 1;
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal.into()));
    }
    tokens
}

fn class(inside: &str) -> Token {
    let own = inside.strip_prefix(['!', '^']);
    let members: Vec<char> = own.unwrap_or(inside).chars().collect();
    let (mut ranges, mut rest) = (Vec::new(), members.as_slice());
    while let [first, more @ ..] = rest {
        rest = match more {
            ['-', last, more @ ..] => {
                ranges.push((u32::from(*first), u32::from(*last)));
                more
            }
            _ => {
                ranges.push((u32::from(*first), u32::from(*first)));
                more
            }
        };
    }
    Token::Class { negated: own.is_some(), ranges }
}

/// Goes on after the last `**` when it comes to a difference: what lies before it need not be tried again.
fn parts_match(parts: &[Part], path: &[&[u8]], what: What) -> bool {
    let (mut part, mut at, mut retry) = (0, 0, None);
    loop {
        match parts.get(part) {
            Some(Part::AnyDepth) => {
                part += 1;
                retry = Some((part, at));
                // `a/**` is all that lies in `a`, and `a` itself where it is the folder.
                if part == parts.len() {
                    return at < path.len() || what == What::Folder;
                }
                continue;
            }
            Some(Part::Name(tokens)) if path.get(at).is_some_and(|name| tokens_match(tokens, name)) => {
                (part, at) = (part + 1, at + 1);
                continue;
            }
            None if at == path.len() => return true,
            Some(Part::Name(_)) | None => {}
        }
        match retry {
            Some((after, from)) if from < path.len() => {
                retry = Some((after, from + 1));
                (part, at) = (after, from + 1);
            }
            Some(_) | None => return false,
        }
    }
}

/// The same for the characters of a name and `*`.
fn tokens_match(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at, mut retry) = (0, 0, None);
    loop {
        let rest = name.get(at..).unwrap_or_default();
        let step = match tokens.get(token) {
            Some(Token::Many) => {
                token += 1;
                retry = Some((token, at));
                continue;
            }
            Some(Token::Literal(literal)) => rest.starts_with(literal).then_some(literal.len()),
            Some(Token::One) => first_char(rest).map(|(_, length)| length),
            Some(Token::Class { negated, ranges }) => first_char(rest)
                .filter(|(c, _)| ranges.iter().any(|(first, last)| (*first..=*last).contains(c)) != *negated)
                .map(|(_, length)| length),
            None if rest.is_empty() => return true,
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => (token, at) = (token + 1, at + length),
            (None, Some((after, from))) if from < name.len() => {
                retry = Some((after, from + 1));
                (token, at) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// The first character and how many bytes it takes; a byte that is none counts as one that no class names.
fn first_char(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    for length in 1..=bytes.len().min(4) {
        if let Some(c) = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next()) {
            return Some((u32::from(c), length));
        }
    }
    Some((0x11_0000 + u32::from(first), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let (path, what) = path.strip_suffix('/').map_or((path, What::File), |folder| (folder, What::Folder));
        let pattern = Pattern::parse(pattern).unwrap_or_else(|bad| panic!("{pattern}: {bad:?}"));
        pattern.matches(path.as_bytes(), format!("app/{path}").as_bytes(), what)
    }

    #[test]
    fn a_pattern_without_a_slash_means_names_at_any_depth() {
        for (pattern, path) in [
            ("*.log", "a.log"),
            ("*.log", "x/y/a.log"),
            ("a?c", "abc"),
            ("a?c", "aéc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[^a]x", "dx"),
            ("[]]", "]"),
            ("*.{rs,toml}", "src/a.toml"),
            ("{a,b{c,d}}", "bd"),
            ("a\\*", "a*"),
            ("\\{a", "{a"),
            ("*a*b*", "xxaxxbxx"),
            ("build/", "x/build/"),
            ("./x", "x"),
            ("*", "anything"),
            ("a}", "a}"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.log", "a.log.1"),
            ("*.log", "x.log/y"),
            ("a?c", "a/c"),
            ("[a-c]x", "dx"),
            ("build/", "x/build"),
            ("build", "builder"),
            ("a\\*", "ab"),
            ("*.{rs,toml}", "a.c"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_means_the_path_below_what_is_watched_and_no_star_crosses_one() {
        for (pattern, path) in [
            ("gen/**", "gen/x/y"),
            ("gen/**", "gen/"),
            ("gen/*", "gen/x"),
            ("**/gen", "gen"),
            ("**/gen", "a/b/gen"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("a/**/b/**/c", "a/b/b/x/c"),
            ("./src/*.c", "src/x.c"),
            ("src/{a,b}/x", "src/b/x"),
            ("{a,b/c}", "b/c"),
            ("/app/gen/*", "gen/x"),
            ("**", "a/b"),
            ("gen/x/", "gen/x/"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("gen/**", "gen"),
            ("gen/**", "other/gen/z"),
            ("gen/*", "gen/x/y"),
            ("src/*", "src/a/b"),
            ("src/*.c", "x/src/a.c"),
            ("/gen/*", "gen/x"),
            ("a/**/z", "b/a/z"),
            ("gen/x/", "gen/x"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn names_need_not_be_text() {
        let pattern = |text| Pattern::parse(text).unwrap();
        assert!(pattern("a*").matches(b"a\xff\xfe", b"", What::File));
        assert!(pattern("a?").matches(b"a\xff", b"", What::File));
        assert!(!pattern("[a-z]").matches(b"\xff", b"", What::File));
        assert!(pattern("[!a-z]").matches(b"\xff", b"", What::File));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let wrong = |text: &str| Pattern::parse(text).map_err(|bad| (bad.at, bad.why.message)).unwrap_err();
        assert_eq!(wrong("src/[a"), (4..5, "a `[` is not closed".to_owned()));
        assert_eq!(wrong("[a/b]"), (0..1, "a `[` is not closed".to_owned()));
        assert_eq!(wrong("*.{rs,{a,b}"), (2..3, "a `{` is not closed".to_owned()));
        assert_eq!(wrong("a\\"), (1..2, "nothing follows the last `\\`".to_owned()));
        assert_eq!(wrong(" "), (0..1, "the pattern is empty".to_owned()));
        assert_eq!(wrong("/"), (0..1, "the pattern `/` names nothing".to_owned()));
        assert_eq!(wrong("a\0"), (1..2, "a NUL character cannot be in a name".to_owned()));
        assert_eq!(wrong(&"{a,b}".repeat(7)).1, "the braces stand for more than 64 patterns");
        assert_eq!(wrong(&"a".repeat(5000)).1, "the pattern is too long with 5000 bytes");
        assert_eq!(wrong(&"{a,b}".repeat(800)).1, "the braces stand for more than 64 patterns");
    }

    #[test]
    fn a_pattern_of_nothing_but_stars_ends() {
        let names = "a/".repeat(100) + &"a".repeat(255);
        assert!(!matches(&("a*".repeat(1000) + "b"), &"a".repeat(255)));
        assert!(!matches(&("**/a*a*a*a*/".repeat(300) + "b"), &names));
    }
}
