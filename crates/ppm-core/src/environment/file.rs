//! The lines of an `env_file`.
//!
//! `NAME=value`, one a line, an optional `export ` in front; blank lines and lines that begin with `#` mean nothing.
//! In single quotes a value is taken as it is; in double quotes `\n`, `\"`, `\\` and `\$` are escapes; both may run over
//! several lines. Without quotes it ends with the line or with a `#` after a blank. Bytes, not text. Invariant: no
//! complaint contains anything of a value, which may be secret.

use super::template;

/// An assignment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The line it begins in, from 1.
    pub line: usize,
    pub name: Vec<u8>,
    /// With `${NAME}` and `$$`; what was to be taken as it is has been escaped.
    pub value: Vec<u8>,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// From 1.
    pub line: usize,
    pub what: &'static str,
}

/// Reads the assignments in their order.
///
/// # Errors
/// The first line that is none.
pub(super) fn read(content: &[u8]) -> Result<Vec<Assignment>, BadLine> {
    let mut text = Text { rest: content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content), line: 1 };
    let mut assignments = Vec::new();
    while let Some(line) = text.next_assignment() {
        let assignment = text.assignment(line).map_err(|what| BadLine { line, what })?;
        template::well_formed(&assignment.value).map_err(|malformed| BadLine { line, what: malformed.in_words() })?;
        assignments.push(assignment);
    }
    Ok(assignments)
}

/// What has not been read.
struct Text<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Text<'a> {
    /// Skips what means nothing; the number of the line that comes next, if there is one.
    fn next_assignment(&mut self) -> Option<usize> {
        loop {
            match self.rest.first()? {
                b'#' => drop(self.take_line()),
                byte if byte.is_ascii_whitespace() => drop(self.take(1)),
                _ => return Some(self.line),
            }
        }
    }

    fn assignment(&mut self, line: usize) -> Result<Assignment, &'static str> {
        let length = self.rest.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap_or(self.rest.len());
        let name = name(self.take(length))?;
        if self.rest.first() != Some(&b'=') {
            return Err("`=` is missing");
        }
        self.take(1);
        let value = self.value()?;
        if value.contains(&0) {
            return Err("a NUL byte cannot be in a variable");
        }
        Ok(Assignment { line, name, value })
    }

    fn value(&mut self) -> Result<Vec<u8>, &'static str> {
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let value = match self.rest.get(blanks) {
            Some(b'\'') => {
                self.take(blanks + 1);
                self.single_quoted()?
            }
            Some(b'"') => {
                self.take(blanks + 1);
                self.double_quoted()?
            }
            _ => return Ok(without_comment(self.take_line()).trim_ascii().to_vec()),
        };
        if without_comment(self.take_line()).trim_ascii().is_empty() { Ok(value) } else { Err("something follows the closing quote") }
    }

    fn single_quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        let end = self.rest.iter().position(|byte| *byte == b'\'').ok_or("the quote is not closed")?;
        let mut value = Vec::with_capacity(end);
        for byte in self.take(end) {
            value.extend_from_slice(if *byte == b'$' { b"$$" } else { std::slice::from_ref(byte) });
        }
        self.take(1);
        Ok(value)
    }

    fn double_quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        let mut value = Vec::new();
        loop {
            let (own, length): (&[u8], usize) = match self.rest {
                [] => return Err("the quote is not closed"),
                [b'"', ..] => {
                    self.take(1);
                    return Ok(value);
                }
                [b'\\', b'n', ..] => (b"\n", 2),
                [b'\\', b'"', ..] => (b"\"", 2),
                [b'\\', b'\\', ..] => (b"\\", 2),
                [b'\\', b'$', ..] => (b"$$", 2),
                [byte, ..] => (std::slice::from_ref(byte), 1),
            };
            value.extend_from_slice(own);
            self.take(length);
        }
    }

    /// The rest of the line, and its end.
    fn take_line(&mut self) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let line = self.take(length);
        self.take(1);
        line
    }

    /// So many bytes, or all that are left.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += taken.iter().filter(|byte| **byte == b'\n').count();
        self.rest = rest;
        taken
    }
}

fn name(written: &[u8]) -> Result<Vec<u8>, &'static str> {
    let written = written.trim_ascii();
    let name = match written.strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(u8::is_ascii_whitespace) => rest.trim_ascii(),
        _ => written,
    };
    if name.is_empty() {
        return Err("the name is missing");
    }
    if name.iter().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'"' | b'\'' | b'#')) {
        return Err("a line is `NAME=value`; a name has no blanks and no quotes");
    }
    Ok(name.to_vec())
}

/// What stands before a `#` that follows a blank.
fn without_comment(line: &[u8]) -> &[u8] {
    let begins = line.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#']));
    begins.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(content: &str) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        read(content.as_bytes()).unwrap().into_iter().map(|line| (text(line.name), text(line.value))).collect()
    }

    fn value(line: &str) -> String {
        let mut assigned = assigned(line);
        assert_eq!(assigned.len(), 1, "{line}");
        assigned.remove(0).1
    }

    #[test]
    fn values_without_quotes_end_with_the_line_or_a_comment() {
        for (line, wanted) in [
            ("A=b", "b"),
            ("A=", ""),
            ("A=  b c \t", "b c"),
            ("A = b", "b"),
            ("\t export  A=b\r\n", "b"),
            ("export=b", "b"),
            ("exported=b", "b"),
            ("A=b=c", "b=c"),
            ("A=b#c", "b#c"),
            ("A=#b", "#b"),
            ("A=b # c", "b"),
            ("A=b\t#c", "b"),
            ("A= # c", ""),
            (r"A=a\nb\", r"a\nb\"),
            ("A=it's \"quoted\"", "it's \"quoted\""),
            ("A=${B:-c}$$", "${B:-c}$$"),
            ("\u{feff}A=b", "b"),
        ] {
            assert_eq!(value(line), wanted, "{line}");
        }
    }

    #[test]
    fn quoted_values_keep_what_is_in_them() {
        for (line, wanted) in [
            ("A='  b # c '", "  b # c "),
            (r"A='a\n$B ${C} $$'", r"a\n$$B $${C} $$$$"),
            ("A='a\nb' # c", "a\nb"),
            (r#"A="a\nb\"c\\d\$e$f""#, "a\nb\"c\\d$$e$f"),
            (r#"A="\t\x""#, r"\t\x"),
            ("A=\"a\nb # c\"  ", "a\nb # c"),
            ("A=\"\"", ""),
            ("A= ''\r\n", ""),
        ] {
            assert_eq!(value(line), wanted, "{line}");
        }
    }

    #[test]
    fn blank_lines_and_comments_mean_nothing_and_the_order_is_kept() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(assigned(""), []);
        assert_eq!(assigned("\n \n# A=b\n  # c"), []);
        assert_eq!(assigned("\r\nB=1\r\n#\r\n\r\nA=2\nB=3"), [pair("B", "1"), pair("A", "2"), pair("B", "3")]);
        assert_eq!(assigned("a.b-c/d=1"), [pair("a.b-c/d", "1")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let lines = read(b"A=\xff\xfe\nB='\xc3'\nC=\"\x80\\n\"\n\xe9=1").unwrap();
        let values: Vec<&[u8]> = lines.iter().map(|line| line.value.as_slice()).collect();
        assert_eq!(values, [b"\xff\xfe".as_slice(), b"\xc3", b"\x80\n", b"1"]);
        assert_eq!(lines[3].name, b"\xe9");
    }

    #[test]
    fn a_line_that_is_no_assignment_is_told_with_its_number_and_without_its_value() {
        for (content, line, what) in [
            ("A=1\nsecret", 2, "`=` is missing"),
            ("# x\n\n  export A\nB=1", 3, "`=` is missing"),
            ("=secret", 1, "the name is missing"),
            ("A B=secret", 1, "a line is `NAME=value`; a name has no blanks and no quotes"),
            ("\"A\"=secret", 1, "a line is `NAME=value`; a name has no blanks and no quotes"),
            ("A='x\ny'\nB='secret\n\n", 3, "the quote is not closed"),
            ("A=\"secret\\\"", 1, "the quote is not closed"),
            ("A='x'secret", 1, "something follows the closing quote"),
            ("A=\"x\" secret", 1, "something follows the closing quote"),
            ("A=secret\0", 1, "a NUL byte cannot be in a variable"),
            ("\n\nA=${secret", 3, "a `${` is not closed"),
            ("A=${sec ret}", 1, "what stands in `${...}` is not a reference to a variable"),
        ] {
            assert_eq!(read(content.as_bytes()), Err(BadLine { line, what }), "{content:?}");
        }
    }

    #[test]
    fn no_content_makes_it_panic_and_every_number_is_of_a_line() {
        let pieces: [&[u8]; 16] =
            [b"A", b"=", b"\n", b"'", b"\"", b"\\", b"$", b"${", b"}", b"#", b" ", b"export ", b"\xff", b"\0", b"\r\n", b":-"];
        let mut chance: u64 = 5;
        for _ in 0..20_000 {
            let mut content = Vec::new();
            for _ in 0..12 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                content.extend_from_slice(pieces[usize::try_from(chance >> 60).unwrap()]);
            }
            let lines = content.iter().filter(|byte| **byte == b'\n').count() + 1;
            match read(&content) {
                Ok(assignments) => assert!(assignments.iter().all(|assignment| (1..=lines).contains(&assignment.line)), "{content:?}"),
                Err(bad) => assert!((1..=lines).contains(&bad.line), "{content:?}"),
            }
        }
    }
}
