//! Whatever a client sends, in whatever pieces: every line is a request or gets its error.
//!
//! The first byte says how long pieces are and how long lines may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_protocol::line::{Lines, TooLong, encode};
use ppm_protocol::message::{Asked, Call, Heard};

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let (piece, limit) = (1 + usize::from(first & 15), if first & 16 == 0 { 1 << 20 } else { 64 });
    let mut lines = Lines::up_to(limit);
    let mut heard = Vec::new();
    for piece in bytes.chunks(piece) {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            heard.push(line.map(<[u8]>::to_vec));
        }
    }
    assert_eq!(heard, expected(bytes, limit, piece));
    for line in heard {
        answer(line.as_deref().map_err(|too_long| *too_long));
    }
    let _ = Heard::<serde_json::Value>::read(bytes);
});

/// The whole lines, and one that has not ended but is too long already.
fn expected(bytes: &[u8], limit: usize, piece: usize) -> Vec<Result<Vec<u8>, TooLong>> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    let line = |line: &&[u8]| match line.len() > limit {
        true => Err(TooLong),
        false => Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
    };
    let mut expected: Vec<_> = lines.iter().map(line).collect();
    if rest.len() > limit && !bytes.is_empty() && piece > 0 {
        expected.push(Err(TooLong));
    }
    expected
}

fn answer(line: Result<&[u8], TooLong>) {
    let asked = Asked::read(line);
    match asked.request {
        Err(error) => {
            assert!(asked.id.is_some(), "a mistake is answered");
            let answer = encode(&error);
            assert!(answer.len() < 4096, "{} bytes of error", answer.len());
        }
        Ok(request) => {
            let sent = Call::new(7, &request).line();
            let again = Asked::read(Ok(sent.strip_suffix(b"\n").unwrap_or(&sent)));
            assert_eq!(again.request.as_ref(), Ok(&request), "{}", sent.escape_ascii());
        }
    }
}
