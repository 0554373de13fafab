//! Names of services: which are allowed, which a pattern means, which one was probably meant.
//!
//! Reads nothing but its arguments. Invariant: no pattern takes more than linear time in itself and quadratic time
//! in the name, and names are short.

use crate::spec::{InvalidSpec, shown};

/// The longest name, in bytes: it prefixes log lines and names log files.
pub const MAX_NAME: usize = 100;

/// The longest pattern that is tried, in bytes; a longer one matches nothing.
const MAX_PATTERN: usize = 1000;

/// Words that mean something else where a service is named.
const RESERVED: [&str; 2] = ["all", "ppm-daemon"];

/// Checks that a service may be called `name`.
///
/// # Errors
/// Names the rule that is broken, and the remedy.
pub fn check(name: &str) -> Result<(), InvalidSpec> {
    let wrong = |reason: String, hint: &str| Err(InvalidSpec::new(reason).hint(hint));
    if name.is_empty() {
        return wrong("a name must not be empty".into(), "write a short word, like `web`");
    }
    if name.len() > MAX_NAME {
        return wrong(format!("a name of {} bytes is too long", name.len()), &format!("use at most {MAX_NAME} bytes"));
    }
    if let Some(other) = name.chars().find(|c| !is_allowed(*c)) {
        return wrong(
            format!("`{}` is not allowed in a name", shown(other.encode_utf8(&mut [0; 4]))),
            "use letters, digits and `.` `_` `-` `@`",
        );
    }
    if name.starts_with('-') {
        return wrong(format!("the name `{name}` begins with `-`"), "begin it with a letter; commands take `-` for an option");
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(format!("the name `{name}` is made of digits only"), "add a letter; commands take a number for an id");
    }
    if RESERVED.contains(&name) {
        return wrong(format!("the name `{name}` is reserved"), "choose another name");
    }
    Ok(())
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@')
}

/// Whether the whole of `name` is meant by `pattern`: `*` any run of characters, `?` any one, `[a-z]` one of these,
/// `[!x]` one that is not. A `[` that is never closed means itself.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut retry = None; // after the last `*`: where its rest begins in the pattern, and in the name
    loop {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, n));
        } else if p == pattern.len() && n == name.len() {
            return true;
        } else if let Some(length) = name.get(n).and_then(|c| match_one(pattern.get(p..).unwrap_or_default(), *c)) {
            p += length;
            n += 1;
        } else if let Some((rest, start)) = retry.filter(|(_, start)| *start < name.len()) {
            retry = Some((rest, start + 1));
            (p, n) = (rest, start + 1);
        } else {
            return false;
        }
    }
}

/// The length of the pattern's first item if it matches `c`.
fn match_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set_end(pattern) {
            Some(end) => in_set(pattern.get(1..end).unwrap_or_default(), c).then_some(end + 1),
            None => (c == '[').then_some(1),
        },
        own => (*own == c).then_some(1),
    }
}

/// Where the set that begins the pattern closes; a `]` that comes first in it is one of its members.
fn set_end(pattern: &[char]) -> Option<usize> {
    let first = if pattern.get(1) == Some(&'!') { 3 } else { 2 };
    (first..pattern.len()).find(|at| pattern.get(*at) == Some(&']'))
}

fn in_set(set: &[char], c: char) -> bool {
    let (negated, mut members) = match set {
        ['!', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    loop {
        members = match members {
            [low, '-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&c);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == c;
                rest
            }
            [] => return found != negated,
        };
    }
}

/// The one of `candidates` that `name` was probably meant to be, if one is near enough.
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None; // nobody meant this, and the comparison takes quadratic time
    }
    let limit = (name.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_allowed_kind_are_accepted() {
        let longest = "n".repeat(MAX_NAME);
        for name in ["web", "a", "web-1", "Web_2.b@host", "1a", "0x", ".hidden", "_", "@x", "all2", "All", "web-", &longest] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let too_long = "n".repeat(MAX_NAME + 1);
        for name in ["", " ", "a b", "a/b", "é", "1", "007", "all", "ppm-daemon", "-", "-x", "a\n", "a\0b", "a*", "@é", &too_long] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn globs_match_whole_names() {
        let matching = [
            ("*", ""),
            ("*", "web"),
            ("web", "web"),
            ("web-*", "web-"),
            ("web-*", "web-12"),
            ("*-1", "web-1"),
            ("w?b", "web"),
            ("w*b*1", "web-web-1"),
            ("a*b*c", "aXbXbc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[abc]", "c"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[a-]", "-"),
            ("[-a]", "-"),
            ("a[", "a["),
            ("***a", "a"),
            ("", ""),
            ("é?", "éü"),
        ];
        for (pattern, name) in matching {
            assert!(glob_matches(pattern, name), "{pattern} {name}");
        }
        let different = [
            ("", "a"),
            ("web", "web1"),
            ("web?", "web"),
            ("*-1", "web-11"),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("[!a]", ""),
            ("a[", "a"),
            ("?", ""),
            ("[]]", "["),
            ("[]", "a"),
            ("[z-a]", "m"),
            ("*a", "ab"),
        ];
        for (pattern, name) in different {
            assert!(!glob_matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_of_stars_ends() {
        let name = "a".repeat(MAX_NAME);
        assert!(!glob_matches(&("a*".repeat(MAX_PATTERN / 2 - 1) + "b"), &name));
        assert!(!glob_matches(&"*".repeat(MAX_PATTERN + 1), &name));
    }

    #[test]
    fn the_nearest_name_is_proposed_and_nothing_far_away() {
        let known = ["schedule", "stop", "name"];
        assert_eq!(similar("shedule", known), Some("schedule"));
        assert_eq!(similar("nmae", known), Some("name"));
        assert_eq!(similar("start", known), None);
        assert_eq!(similar("", known), None);
        assert_eq!(similar(&"schedule".repeat(100), known), None);
    }
}
