//! Whatever services write, in whatever pieces: lines are those of each stream, and memory keeps the end of it all.
//!
//! The first byte says how much memory keeps. Then each piece has a byte for its stream and its length before it.
#![no_main]
#![expect(dead_code, reason = "modules of the daemon are here whole")]

use libfuzzer_sys::fuzz_target;
use ppm_core::time::Timestamp;

mod logs;

use logs::index::{RECORD, Record, Source};
use logs::lines::{Line, Lines, Piece};
use logs::ring::Ring;

fuzz_target!(|input: &[u8]| {
    let Some((kept, mut rest)) = input.split_first() else { return };
    let limit = usize::from(*kept) * 8;
    let (mut ring, mut lines) = (Ring::new(1, limit), Lines::default());
    let (mut written, mut of, mut heard) = (Vec::new(), [Vec::new(), Vec::new()], Vec::new());
    let mut time = 0;
    while let Some((head, more)) = rest.split_first() {
        let (piece, later) = more.split_at(usize::from(head & 63).min(more.len()));
        rest = later;
        let stream = usize::from(head >> 7);
        let source = [Source::Stdout, Source::Stderr][stream];
        time += i64::from(head >> 6 & 1);
        ring.write(Timestamp(time), source, piece, 0);
        written.extend_from_slice(piece);
        of[stream].extend_from_slice(piece);
        lines.take(Piece { time: Some(Timestamp(time)), source, bytes: piece.to_vec() });
        while let Some(line) = lines.next() {
            heard.push(line);
        }
    }
    lines.end();
    heard.extend(std::iter::from_fn(|| lines.next()));
    for (source, bytes) in [Source::Stdout, Source::Stderr].into_iter().zip(&of) {
        let found: Vec<&[u8]> = heard.iter().filter(|line| line.source == source).map(|line| line.bytes.as_slice()).collect();
        let mut wanted: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        wanted.pop_if(|last| last.is_empty());
        assert_eq!(found, wanted);
    }
    let excerpt = ring.excerpt(None, usize::MAX);
    let kept: Vec<u8> = excerpt.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    assert!(written.ends_with(&kept), "what is kept is not the end of what was written");
    assert!(kept.len() <= limit, "{} bytes are kept of at most {limit}", kept.len());
    assert_eq!(excerpt.end.byte, written.len() as u64);
    for line in heard {
        let is_text = std::str::from_utf8(&line.bytes).is_ok();
        assert_eq!(Line::told(line, Some(1), "svc").bytes.is_none(), is_text);
    }
    if let Some(record) = input.first_chunk::<RECORD>() {
        let record = Record::decode(record);
        assert_eq!(Record::decode(&record.encode()), record);
    }
});
