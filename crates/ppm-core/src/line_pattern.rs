//! What a service is to write to be ready: text that is somewhere in a line, with `*` and `?` in it.
//!
//! Pure; knows no pipe. Invariant: no pattern takes more time than its length by that of the line.

use std::fmt;

use crate::spec::{InvalidSpec, shown};

/// The longest pattern, in bytes: a line of a log is recognised by a few words.
const LONGEST: usize = 1000;

/// Text that is somewhere in a line: `*` any run of characters, `?` any one, all else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern(String);

impl LinePattern {
    /// The pattern as it is written.
    ///
    /// # Errors
    /// Why no line would tell anything by it, and what to write instead.
    pub fn new(text: &str) -> Result<LinePattern, InvalidSpec> {
        if text.contains('\n') {
            return Err(InvalidSpec::new("a pattern with a line break is in no line").hint("write words of one line"));
        }
        if text.len() > LONGEST {
            let hint = format!("write at most {LONGEST} bytes of the line, with `*` for what is between them");
            return Err(InvalidSpec::new(format!("a pattern of {} bytes is too long", text.len())).hint(hint));
        }
        if text.chars().all(|letter| matches!(letter, '*' | '?') || letter.is_whitespace()) {
            let message = format!("`{}` is in nearly every line", shown(text));
            return Err(InvalidSpec::new(message).hint("write what is only in the line that tells that it is ready"));
        }
        Ok(LinePattern(text.to_owned()))
    }

    /// Whether it is in this line.
    pub fn is_in(&self, line: &[u8]) -> bool {
        // Each piece where it is first found leaves the most for those that follow.
        let mut rest = Some(line);
        for piece in self.0.as_bytes().split(|byte| *byte == b'*') {
            rest = rest.and_then(|rest| after(piece, rest));
        }
        rest.is_some()
    }

    /// Whether it is in one of these lines; what stands behind the last end of a line is one too.
    pub fn is_in_one_of(&self, lines: &[u8]) -> bool {
        lines.split(|byte| *byte == b'\n').any(|line| self.is_in(line))
    }
}

impl fmt::Display for LinePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What follows where this piece of a pattern is found first.
fn after<'a>(piece: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    (0..=text.len()).find_map(|at| skip(piece, text.get(at..)?))
}

/// What follows if the text begins with this piece.
fn skip<'a>(piece: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    for byte in piece {
        let (first, others) = rest.split_first()?;
        rest = match *byte {
            b'?' => others.get(others.iter().take_while(|byte| is_continuation(**byte)).count()..)?,
            own if own == *first => others,
            _ => return None,
        };
    }
    Some(rest)
}

/// Whether it is not the first byte of a character in UTF-8.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> LinePattern {
        LinePattern::new(text).unwrap()
    }

    #[test]
    fn a_pattern_is_found_anywhere_in_a_line() {
        let found = [
            ("ready", "2026 [info] I am ready, at last"),
            ("ready", "ready"),
            ("accept*connections", "ready to accept TCP connections"),
            ("listening on *:80?0", "listening on 0.0.0.0:80, :8080"),
            ("a*a", "aa"),
            ("*x*", "x"),
            ("h?ß", "das heiß, häß"),
            ("port ?", "port \u{20ac}"),
            ("[info]", "\u{1b}[32m[info]\u{1b}[0m"),
            ("**ab", "aab"),
        ];
        for (text, line) in found {
            assert!(pattern(text).is_in(line.as_bytes()), "{text} in {line}");
        }
    }

    #[test]
    fn a_pattern_is_not_found_where_something_of_it_is_missing() {
        for (text, line) in [("ready", "read"), ("a*b", "b a"), ("a*a", "a"), ("x?", "x"), ("[a-z]b", "ab"), ("Ready", "ready"), ("x", "")]
        {
            assert!(!pattern(text).is_in(line.as_bytes()), "{text} in {line}");
        }
    }

    #[test]
    fn a_pattern_is_looked_for_line_by_line_and_in_any_bytes() {
        let lines = b"one\n\xff two\nthree";
        assert!(pattern("? two").is_in_one_of(lines) && pattern("three").is_in_one_of(lines));
        assert!(!pattern("one*two").is_in_one_of(lines));
    }

    #[test]
    fn a_hostile_line_takes_no_more_than_the_product_of_both() {
        let line = vec![b'a'; 64 << 10];
        assert!(!pattern(&("a".repeat(300) + "b")).is_in(&line));
        assert!(!pattern(&("a*".repeat(400) + "b")).is_in(&line));
    }

    #[test]
    fn patterns_that_tell_nothing_are_refused() {
        let wrong = |text: &str| LinePattern::new(text).unwrap_err().message;
        assert_eq!(wrong("a\nb"), "a pattern with a line break is in no line");
        assert_eq!(wrong("* ?"), "`* ?` is in nearly every line");
        assert_eq!(wrong(&"x".repeat(1001)), "a pattern of 1001 bytes is too long");
    }
}
