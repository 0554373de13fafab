//! Text that is safe to print, and how many columns it takes.
//!
//! Whatever a service wrote into its name, its arguments or its errors, it cannot move the cursor, change the
//! colour, break a line or turn the direction of what follows (R75).

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with all that would act instead of being seen written out, as `\u{1b}` or `\n`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if acts(letter) { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    Cow::Owned(out)
}

/// Controls of ASCII and Latin-1, line and paragraph separators, and what turns the direction of writing.
fn acts(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether all of it are letters of ASCII, each of one column: so is most of what is shown, and soon told.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The columns the text takes on a terminal.
pub fn width(text: &str) -> usize {
    if is_plain(text) { text.len() } else { text.width() }
}

/// The text, or its beginning and `…` where it is wider than `limit` columns.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if width(text) <= limit {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut room = limit.saturating_sub(1);
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        out.push(letter);
    }
    out.truncate(out.trim_end().len());
    if limit > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// The text in lines of at most `limit` columns, broken between words, and within those that fit into no line.
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in text.split(' ').flat_map(|word| pieces(word, limit)) {
        if !line.is_empty() && width(&line) + 1 + width(piece) > limit {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(piece);
    }
    lines.push(line);
    lines
}

/// The word in pieces of at most `limit` columns, but of one letter at least.
fn pieces(word: &str, limit: usize) -> Vec<&str> {
    let (mut pieces, mut begin, mut taken) = (Vec::new(), 0, 0);
    for (at, letter) in word.char_indices() {
        let wide = letter.width().unwrap_or(0);
        if taken + wide > limit && at > begin {
            pieces.push(&word[begin..at]);
            (begin, taken) = (at, 0);
        }
        taken += wide;
    }
    pieces.push(&word[begin..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_survives_r75() {
        assert_eq!(clean("exit\x1b[2Jcode\r\n\t\u{7f}\u{9b}1m"), "exit\\u{1b}[2Jcode\\r\\n\\t\\u{7f}\\u{9b}1m");
        assert_eq!(clean("a\u{202e}b\u{2028}c\u{2066}d"), "a\\u{202e}b\\u{2028}c\\u{2066}d");
        for letter in '\0'..='\u{ffff}' {
            assert!(!clean(&letter.to_string()).contains(char::is_control), "{letter:?}");
        }
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for text in ["", "exec: no such file: foo", "é…日本", "C:\\path 'q'"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_cut_never_exceeds_its_limit_and_says_that_it_cut() {
        assert_eq!(cut("exit code 1", 11), "exit code 1");
        assert_eq!(cut("exit code 1", 10), "exit code…");
        assert_eq!(cut("exit code 1", 5), "exit…");
        assert_eq!(cut("exit code 1", 6), "exit…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        for limit in 0..20 {
            assert!(width(&cut("日本語 e\u{301}te\u{301} and more", limit)) <= limit, "{limit}");
        }
    }

    #[test]
    fn lines_break_between_words_and_lose_nothing() {
        assert_eq!(wrap("exit code 3, retry 1 in 1s", 12), ["exit code 3,", "retry 1 in", "1s"]);
        assert_eq!(wrap("", 12), [""]);
        assert_eq!(wrap("exec: /usr/local/bin/program x", 10), ["exec:", "/usr/local", "/bin/progr", "am x"]);
        assert_eq!(wrap("日本語 x", 4), ["日本", "語 x"]);
        for limit in 0..40 {
            let text = "exec: no such file: /usr/local/bin/日本語, retry 3";
            let lines = wrap(text, limit);
            assert!(lines.iter().all(|line| width(line) <= limit.max(2)), "{limit}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""), "{limit}");
        }
    }
}
