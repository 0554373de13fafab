//! What is wrong with a configuration, where, and what to write instead.
//!
//! Draws plain text: no colour, no terminal. Invariant: the mark stands below the first character it means, whatever
//! is before it in the line.

use std::fmt;
use std::ops::Range;

/// So many problems are kept; nobody reads more at once.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Longer lines are cut around the mark, in columns of the screen.
const MAX_COLUMNS: usize = 160;

/// How much of a long line is shown before the mark.
const CONTEXT_COLUMNS: usize = 60;

/// What is wrong with a configuration: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, as given.
    pub file: String,
    /// In the order of the file, at least one and at most 100.
    pub list: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are wrong, at least 1.
    pub width: usize,
    /// What is wrong: lower case, without full stop.
    pub message: String,
    /// What stands beside the mark.
    pub label: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
    /// The source line, fit to be shown.
    pub excerpt: String,
    /// How many columns of the screen stand before the mark in `excerpt`, and how many it takes.
    mark: (usize, usize),
}

/// A place in a text as the parser counts: from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A scalar in the text: where it begins, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub mark: Mark,
    pub text: String,
}

/// What is to be said, before it is known where.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaint {
    pub message: String,
    pub label: Option<String>,
    pub hint: Option<String>,
    /// The part of the value that is wrong, in bytes; None: all of it.
    pub part: Option<Range<usize>>,
}

/// The lines of a file, told apart as the parser does.
pub(super) struct Source<'a> {
    pub lines: Vec<&'a str>,
}

impl Mark {
    /// The character that stands there.
    pub(super) fn char_in(self, text: &str) -> Option<char> {
        Source::new(text).line(self.line).chars().nth(self.column.saturating_sub(1))
    }

    /// Whether nothing stands there or after it.
    pub(super) fn is_behind(self, text: &str) -> bool {
        let source = Source::new(text);
        let rest_of_line: String = source.line(self.line).chars().skip(self.column.saturating_sub(1)).collect();
        rest_of_line.trim().is_empty() && source.lines.iter().skip(self.line).all(|line| line.trim().is_empty())
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut rest = text;
        let mut lines = Vec::new();
        while let Some(end) = rest.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
            let (line, tail) = rest.split_at(end);
            lines.push(line);
            let width = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(1, char::len_utf8) };
            rest = tail.get(width..).unwrap_or_default();
        }
        lines.push(rest);
        Source { lines }
    }

    fn line(&self, number: usize) -> &'a str {
        number.checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or_default()
    }

    /// How long the word is that begins there.
    pub(super) fn word(&self, mark: Mark) -> usize {
        let rest = self.line(mark.line).chars().skip(mark.column.saturating_sub(1));
        rest.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')).count().max(1)
    }

    /// A problem with the file as a whole.
    pub(super) fn problem(&self, complaint: Complaint) -> Problem {
        let Complaint { message, label, hint, part: _ } = complaint;
        Problem { line: 0, column: 0, width: 0, message, label, hint, excerpt: String::new(), mark: (0, 0) }
    }

    /// A problem with one place.
    pub(super) fn problem_at(&self, mark: Mark, width: usize, complaint: Complaint) -> Problem {
        let line = self.line(mark.line);
        let (excerpt, mark_columns) = excerpt(line, mark.column.saturating_sub(1), width);
        Problem { line: mark.line, column: mark.column, width, excerpt, mark: mark_columns, ..self.problem(complaint) }
    }

    /// A problem with a scalar.
    pub(super) fn problem_with(&self, token: &Token, complaint: Complaint) -> Problem {
        let line = self.line(token.mark.line);
        let offset = line.char_indices().nth(token.mark.column.saturating_sub(1)).map_or(line.len(), |(offset, _)| offset);
        let rest = line.get(offset..).unwrap_or_default();
        let value = skip_properties(rest);
        let skipped = rest.chars().count() - value.chars().count();
        let mark = Mark { column: token.mark.column + skipped, ..token.mark };
        match complaint.part.as_ref().and_then(|part| place_of_part(value, &token.text, part)) {
            Some((before, width)) => self.problem_at(Mark { column: mark.column + before, ..mark }, width, complaint),
            None => self.problem_at(mark, width(value, &token.text), complaint),
        }
    }
}

/// What follows the anchor and the tag in front of a value.
fn skip_properties(mut rest: &str) -> &str {
    while rest.starts_with(['&', '!']) {
        match rest.split_once([' ', '\t']) {
            Some((_, value)) => rest = value.trim_start(),
            None => break,
        }
    }
    rest
}

/// How many characters a scalar takes where it begins, up to the end of the line.
fn width(source: &str, text: &str) -> usize {
    let quoted = match source.chars().next() {
        Some('"') => end_of_double_quoted(source),
        Some('\'') => end_of_single_quoted(source),
        _ if source.starts_with(text) => Some(text.len()),
        _ => None,
    };
    let own = quoted.and_then(|end| source.get(..end)).unwrap_or(source.trim_end());
    own.chars().count().max(1)
}

/// Where a part of a text begins in what is written, and how many characters it takes; None where the text is not
/// written as it is.
fn place_of_part(source: &str, text: &str, part: &Range<usize>) -> Option<(usize, usize)> {
    let quotes = usize::from(source.starts_with(['"', '\'']));
    let written = source.get(quotes..)?;
    let (before, own) = (text.get(..part.start)?, text.get(part.clone())?);
    written.starts_with(text).then(|| (quotes + before.chars().count(), own.chars().count().max(1)))
}

fn end_of_double_quoted(source: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        match c {
            '"' if !escaped => return Some(at + 1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn end_of_single_quoted(source: &str) -> Option<usize> {
    let mut quotes = source.char_indices().skip(1).filter(|(_, c)| *c == '\'').map(|(at, _)| at).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The line as it can be shown, and where the mark comes to stand: columns before it, columns below it.
fn excerpt(line: &str, before: usize, width: usize) -> (String, (usize, usize)) {
    let (head, rest) = split_at_char(line, before);
    let (marked, _) = split_at_char(rest, width);
    let mut head = head.to_owned();
    if columns(&head) > CONTEXT_COLUMNS && columns(&head) + columns(marked) > MAX_COLUMNS {
        let mut room = CONTEXT_COLUMNS;
        let fits = |c: &char| room.checked_sub(columns_of(*c)).map(|rest| room = rest).is_some();
        let near = head.chars().rev().take_while(fits).count();
        head = format!("…{}", split_at_char(&head, head.chars().count() - near).1);
    }
    let before = columns(&head);
    let below = columns(marked).clamp(1, MAX_COLUMNS.saturating_sub(before).max(1));
    (cut(head.chars().chain(rest.chars())), (before, below))
}

/// As much as may be shown, without what would move the cursor.
fn cut(text: impl Iterator<Item = char>) -> String {
    let (mut shown, mut room) = (String::new(), MAX_COLUMNS);
    for c in text {
        match room.checked_sub(columns_of(c)) {
            Some(rest) => room = rest,
            None => return shown + "…",
        }
        shown.push(if c.is_control() { ' ' } else { c });
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn split_at_char(text: &str, at: usize) -> (&str, &str) {
    text.split_at(text.char_indices().nth(at).map_or(text.len(), |(offset, _)| offset))
}

fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// How many columns of a terminal a character takes: East Asian wide ones two, combining ones none.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfeff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

impl Problems {
    /// One place of a text that is wrong, drawn like those of a configuration; also of a text that is none. `line` and
    /// `column` count from 1, `column` and `width` in characters.
    pub fn at(
        file: &str,
        text: &str,
        (line, column): (usize, usize),
        width: usize,
        message: impl Into<String>,
        hint: Option<&str>,
    ) -> Self {
        let complaint = Complaint { message: message.into(), hint: hint.map(str::to_owned), ..Complaint::default() };
        Problems::new(file, vec![Source::new(text).problem_at(Mark { line, column }, width, complaint)])
    }

    /// At least one problem of a file; the same one twice counts once.
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Problems { file: file.to_owned(), list, omitted: 0 }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            problem.draw(f, &self.file)?;
            writeln!(f)?;
        }
        let count = match self.list.len() + self.omitted {
            1 => "1 problem".into(),
            several => format!("{several} problems"),
        };
        write!(f, "error: {count} in {}", self.file)?;
        if self.omitted > 0 {
            write!(f, " ({} are shown)", self.list.len())?;
        }
        f.write_str("; nothing was changed")
    }
}

impl std::error::Error for Problems {}

impl Problem {
    fn draw(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        let Problem { line, column, message, excerpt, mark: (before, below), .. } = self;
        writeln!(f, "error: {message}")?;
        let margin = " ".repeat(line.to_string().len());
        if *line == 0 {
            writeln!(f, "{margin}--> {file}")?;
        } else {
            writeln!(f, "{margin}--> {file}:{line}:{column}")?;
            writeln!(f, "{margin} |")?;
            writeln!(f, "{line} | {excerpt}")?;
            write!(f, "{margin} | {:before$}{}", "", "^".repeat(*below))?;
            match &self.label {
                Some(label) => writeln!(f, " {label}")?,
                None => writeln!(f)?,
            }
        }
        match &self.hint {
            Some(hint) => writeln!(f, "{margin} |\n{margin} = hint: {hint}"),
            None => Ok(()),
        }
    }
}
