//! `${NAME}` in a text: what is written, and whether it is written well.
//!
//! Knows no variable's value. Bytes, since what stands in files and in the daemon's environment need not be UTF-8.
//! Invariant: a text that [`check`] accepts has only [`Piece`]s in it, also within defaults.

use std::borrow::Cow;

use crate::spec::{InvalidSpec, shown};

/// How many references may stand in one another's defaults; people write one or two. The message says 8.
const MAX_NESTING: usize = 8;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Stands for itself.
    Literal(&'a [u8]),
    /// Stands for the value of a variable.
    Reference(&'a [u8], Otherwise<'a>),
}

/// What a reference to a variable that is unset means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise<'a> {
    /// `${NAME}`: nothing.
    Empty,
    /// `${NAME:-text}`: this text, in which again there may be references; also for an empty variable.
    Default(&'a [u8]),
    /// `${NAME:?message}`: the end of the attempt; also for an empty variable.
    Refuse(&'a [u8]),
}

/// Why a text cannot be taken to pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed<'a> {
    /// `${` without its `}`.
    Unclosed,
    /// What stands between the braces.
    NoReference(&'a [u8]),
    /// Too many defaults in defaults.
    TooDeep,
}

impl Malformed<'_> {
    /// The fault without anything of the text, which may be secret.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Malformed::Unclosed => "a `${` is not closed",
            Malformed::NoReference(_) => "what stands in `${...}` is not a reference to a variable",
            Malformed::TooDeep => "more than 8 `${` stand in one another",
        }
    }
}

/// Checks that every `${` begins a reference.
///
/// # Errors
/// What is wrong with the first that does not, for whoever wrote it.
pub(super) fn check(text: &str) -> Result<(), InvalidSpec> {
    well_formed(text.as_bytes()).map_err(|malformed| {
        let message = match malformed {
            Malformed::NoReference(inner) => format!("`${{{}}}` is not a reference to a variable", shown(&String::from_utf8_lossy(inner))),
            Malformed::Unclosed | Malformed::TooDeep => malformed.in_words().to_owned(),
        };
        InvalidSpec::new(message).hint("write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`; `$$` stands for a `$`")
    })
}

/// As [`check`], for any bytes.
pub(super) fn well_formed(text: &[u8]) -> Result<(), Malformed<'_>> {
    for piece in pieces(text) {
        if let Piece::Reference(_, Otherwise::Default(inner)) = piece? {
            well_formed(inner)?;
        }
    }
    Ok(())
}

/// The text that stands for `text`.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.contains('$') { text.replace('$', "$$").into() } else { text.into() }
}

/// Takes a text to pieces; ends after a fault.
pub(super) fn pieces(text: &[u8]) -> impl Iterator<Item = Result<Piece<'_>, Malformed<'_>>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, length) = match first(rest) {
            Ok((piece, length)) => (Ok(piece), length),
            Err(malformed) => (Err(malformed), rest.len()),
        };
        rest = rest.get(length..).unwrap_or_default();
        Some(piece)
    })
}

/// The first piece, and how many bytes it takes.
fn first(text: &[u8]) -> Result<(Piece<'_>, usize), Malformed<'_>> {
    let literal = |length: usize| Piece::Literal(text.get(..length).unwrap_or_default());
    match text {
        [b'$', b'$', ..] => Ok((literal(1), 2)),
        [b'$', b'{', rest @ ..] => {
            let inner = rest.get(..end(rest)?).unwrap_or_default();
            Ok((reference(inner)?, inner.len() + 3))
        }
        _ => {
            let length = text.iter().skip(1).position(|byte| *byte == b'$').map_or(text.len(), |at| at + 1);
            Ok((literal(length), length))
        }
    }
}

/// Where the `}` stands that closes a `${`; others in between are closed by their own.
fn end(text: &[u8]) -> Result<usize, Malformed<'_>> {
    let (mut at, mut open) = (0, 1);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest {
            [b'$', b'$', ..] => 2,
            [b'$', b'{', ..] if open == MAX_NESTING => return Err(Malformed::TooDeep),
            [b'$', b'{', ..] => {
                open += 1;
                2
            }
            [b'}', ..] if open == 1 => return Ok(at),
            [b'}', ..] => {
                open -= 1;
                1
            }
            _ => 1,
        };
    }
    Err(Malformed::Unclosed)
}

fn reference(inner: &[u8]) -> Result<Piece<'_>, Malformed<'_>> {
    let length = inner.iter().position(|byte| *byte == b':').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    let otherwise = match rest {
        [] => Otherwise::Empty,
        [b':', b'-', default @ ..] => Otherwise::Default(default),
        [b':', b'?', message @ ..] => Otherwise::Refuse(message),
        _ => return Err(Malformed::NoReference(inner)),
    };
    if is_name(name) { Ok(Piece::Reference(name, otherwise)) } else { Err(Malformed::NoReference(inner)) }
}

/// As a shell has them: no other program reads more of them as one name.
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit()) && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Vec<Piece<'_>> {
        pieces(text.as_bytes()).map(Result::unwrap).collect()
    }

    #[test]
    fn references_of_three_kinds_are_told_from_what_stands_for_itself() {
        use Otherwise::{Default, Empty, Refuse};
        use Piece::{Literal, Reference};
        assert_eq!(taken(""), []);
        assert_eq!(taken("a b"), [Literal(b"a b")]);
        assert_eq!(taken("${A}"), [Reference(b"A", Empty)]);
        assert_eq!(taken("x${_a1}y"), [Literal(b"x"), Reference(b"_a1", Empty), Literal(b"y")]);
        assert_eq!(taken("${A:-}${A:-b c}"), [Reference(b"A", Default(b"")), Reference(b"A", Default(b"b c"))]);
        assert_eq!(taken("${A:?}${A:?set ${A}!}"), [Reference(b"A", Refuse(b"")), Reference(b"A", Refuse(b"set ${A}!"))]);
        assert_eq!(taken("${A:-${B:-c}}}"), [Reference(b"A", Default(b"${B:-c}")), Literal(b"}")]);
        assert_eq!(taken("${A:-$$}"), [Reference(b"A", Default(b"$$"))]);
        assert_eq!(taken("${A:-$}"), [Reference(b"A", Default(b"$"))]);
    }

    #[test]
    fn a_dollar_that_begins_no_reference_stands_for_itself() {
        let literal = |text: &str| {
            let bytes = taken(text).into_iter().flat_map(|piece| match piece {
                Piece::Literal(bytes) => bytes.to_vec(),
                Piece::Reference(..) => panic!("a reference in {text}"),
            });
            String::from_utf8(bytes.collect()).unwrap()
        };
        for (text, meant) in [
            ("$", "$"),
            ("$$", "$"),
            ("$$$", "$$"),
            ("$$$$", "$$"),
            ("$HOME $1 $( $", "$HOME $1 $( $"),
            ("$${A}", "${A}"),
            ("a$$b$c", "a$b$c"),
            ("}", "}"),
            ("{A}", "{A}"),
        ] {
            assert_eq!(literal(text), meant, "{text}");
            assert_eq!(literal(&escape(meant)), meant);
        }
    }

    #[test]
    fn what_cannot_be_a_reference_is_refused_also_within_a_default() {
        let cases = [
            ("${", Malformed::Unclosed),
            ("a${A", Malformed::Unclosed),
            ("${A:-${B}", Malformed::Unclosed),
            ("${A:-$$}${", Malformed::Unclosed),
            ("${}", Malformed::NoReference(b"")),
            ("${1}", Malformed::NoReference(b"1")),
            ("${A B}", Malformed::NoReference(b"A B")),
            ("${A-b}", Malformed::NoReference(b"A-b")),
            ("${A:b}", Malformed::NoReference(b"A:b")),
            ("${A:}", Malformed::NoReference(b"A:")),
            ("${A:+b}", Malformed::NoReference(b"A:+b")),
            ("${#A}", Malformed::NoReference(b"#A")),
            ("${é}", Malformed::NoReference("é".as_bytes())),
            ("${A:-${B:-${C D}}}", Malformed::NoReference(b"C D")),
            ("${${A}}", Malformed::NoReference(b"${A}")),
        ];
        for (text, malformed) in cases {
            assert_eq!(well_formed(text.as_bytes()), Err(malformed), "{text}");
        }
    }

    #[test]
    fn no_nesting_is_too_deep_for_the_stack() {
        let nested = |depth: usize| format!("{}x{}", "${A:-".repeat(depth), "}".repeat(depth));
        assert_eq!(well_formed(nested(MAX_NESTING).as_bytes()), Ok(()));
        assert_eq!(well_formed(nested(MAX_NESTING + 1).as_bytes()), Err(Malformed::TooDeep));
        assert_eq!(well_formed(nested(100_000).as_bytes()), Err(Malformed::TooDeep));
    }
}
