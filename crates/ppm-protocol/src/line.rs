//! Framing: one JSON document a line.
//!
//! [`Lines`] turns bytes as they come into lines as they end. A line longer than its limit is reported once
//! and skipped to its end, so that a bad line costs its sender an error and nobody the connection. Memory is
//! bounded by the limit.

use serde::Serialize;

/// The longest line either side accepts, in bytes, less the newline.
pub const MAX_LINE: usize = 1 << 20;

/// The longest reply a client accepts, in bytes: many times the longest table.
pub const MAX_REPLY: usize = 64 << 20;

/// Bytes in, lines out.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    buffer: Vec<u8>,
    read: usize,
    /// Bytes after `read` known to hold no newline: a line that trickles in is looked at once.
    scanned: usize,
    skipping: bool,
}

/// A line beyond the limit was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Lines of at most `limit` bytes: [`MAX_LINE`] for requests, [`MAX_REPLY`] for replies.
    pub fn up_to(limit: usize) -> Lines {
        Lines { limit, buffer: Vec::new(), read: 0, scanned: 0, skipping: false }
    }

    /// Takes bytes in; all complete lines should be taken out with [`Lines::next_line`] before more come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        if bytes.len() > self.buffer.capacity() - self.buffer.len() {
            // A line that has grown will grow on: room for thrice as much more, so that little is moved.
            self.buffer.reserve(bytes.len().max(self.limit.min(3 * self.buffer.len())));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line without its newline (and without a carriage return before it).
    pub fn next_line(&mut self) -> Option<Result<&[u8], TooLong>> {
        loop {
            let start = self.read;
            let unseen = start + self.scanned;
            let Some(found) = memchr::memchr(b'\n', &self.buffer[unseen..]) else {
                return self.unfinished();
            };
            let length = self.scanned + found;
            self.scanned = 0;
            self.read = start + length + 1;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if length > self.limit {
                return Some(Err(TooLong));
            }
            let line = &self.buffer[start..start + length];
            return Some(Ok(line.strip_suffix(b"\r").unwrap_or(line)));
        }
    }

    /// Gives up a line that is too long before it has ended, and the memory it took.
    fn unfinished(&mut self) -> Option<Result<&[u8], TooLong>> {
        if self.skipping {
            self.read = self.buffer.len();
            self.scanned = 0;
            return None;
        }
        self.scanned = self.buffer.len() - self.read;
        if self.scanned <= self.limit {
            return None;
        }
        self.buffer = Vec::new();
        self.read = 0;
        self.scanned = 0;
        self.skipping = true;
        Some(Err(TooLong))
    }
}

/// The value as one line with its newline, ready for one write.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    encode_into(Vec::new(), value)
}

/// The same into an empty buffer that may have room for it.
pub(crate) fn encode_into(mut line: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    if serde_json::to_writer(&mut line, value).is_err() {
        line = b"null".to_vec();
    }
    line.push(b'\n');
    line
}

/// How deep the arrays and objects of a JSON text nest; what stands in strings does not count. The text need not
/// be valid, and no stack is used however deep it is.
pub(crate) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Goes past the quote that ends a string.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut lines = Lines::up_to(MAX_LINE);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line() {
                out.push(line.map(<[u8]>::to_vec));
            }
        }
        out
    }

    #[test]
    fn lines_come_out_whole_however_they_came_in() {
        let text = b"one\r\ntwo\n\nthree";
        let expected = vec![Ok(b"one".to_vec()), Ok(b"two".to_vec()), Ok(Vec::new())];
        assert_eq!(lines_of(&[text]), expected);
        assert_eq!(lines_of(&text.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn brackets_nest_unless_they_stand_in_a_string() {
        for (text, expected) in
            [("", 0), ("1", 0), ("{}", 1), (r#"{"a":[[],[{}]]}"#, 4), ("]]]][", 1), (r#""[[" [ "\"[[" "#, 1), (r#""\"#, 0)]
        {
            assert_eq!(depth(text), expected, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_the_next_is_read() {
        let long = vec![b'x'; MAX_LINE + 1];
        for size in [1000, MAX_LINE, MAX_LINE * 3] {
            let mut text = long.clone();
            text.extend_from_slice(&long);
            text.extend_from_slice(b"\nnext\n");
            assert_eq!(lines_of(&text.chunks(size).collect::<Vec<_>>()), vec![Err(TooLong), Ok(b"next".to_vec())], "{size}");
        }
        let mut exact = long[..MAX_LINE].to_vec();
        exact.push(b'\n');
        assert_eq!(lines_of(&[&exact]), vec![Ok(long[..MAX_LINE].to_vec())]);
    }
}
