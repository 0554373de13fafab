//! Random bytes and damaged golden lines, the same ones in every run.

use ppm_protocol::line::{Lines, MAX_LINE, encode};
use ppm_protocol::message::{Asked, Heard};
use ppm_protocol::{ErrorCode, Reply};

use crate::values::files;

#[test]
fn random_bytes_get_one_answer_a_line() {
    let mut random = Random(1);
    for _ in 0..2_000 {
        let length = random.below(300);
        let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        send(&mut random, &bytes);
    }
}

#[test]
fn damaged_lines_get_one_answer_each() {
    let lines: Vec<Vec<u8>> = files().into_values().collect();
    let mut random = Random(2);
    for _ in 0..20_000 {
        let mut line = lines[random.below(lines.len())].clone();
        for _ in 0..=random.below(4) {
            let other = &lines[random.below(lines.len())];
            damage(&mut random, &mut line, other);
        }
        send(&mut random, &line);
    }
}

/// Sends the bytes in pieces, as a socket might, and looks at what each line gives.
fn send(random: &mut Random, bytes: &[u8]) {
    let mut lines = Lines::up_to(MAX_LINE);
    let mut rest = bytes;
    let mut count = 0;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(1 + random.below(rest.len()));
        rest = later;
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            count += 1;
            if let Ok(line) = line {
                drop(<Heard>::read(line));
            }
            answer(Asked::read(line));
        }
    }
    assert_eq!(count, bytes.iter().filter(|byte| **byte == b'\n').count(), "{}", bytes.escape_ascii());
}

/// A mistake is always answered, in one line, with one of the four codes that the codec gives.
fn answer(asked: Asked) {
    let Err(error) = asked.request else { return };
    let id = asked.id.expect("a mistake is answered");
    assert!(matches!(error.code, ErrorCode::Parse | ErrorCode::Invalid | ErrorCode::UnknownMethod | ErrorCode::BadParams), "{error:?}");
    let line = encode(&Reply { id, result: Err(error.clone()) });
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    match <Heard>::read(&line) {
        Ok(Heard::Reply { result: Err(heard), .. }) => assert_eq!(heard, error),
        other => panic!("{other:?}"),
    }
}

/// One small mishap.
fn damage(random: &mut Random, line: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(line.len() + 1);
    let end = at + random.below(line.len() - at + 1);
    let piece = &other[random.below(other.len())..];
    match random.below(7) {
        0 => line.truncate(at),
        1 => line.insert(at, random.byte()),
        2 => line.insert(at, b"{}[]\",:\\0-n\n"[random.below(12)]),
        3 => drop(line.drain(at..end)),
        4 => drop(line.splice(at..end, piece.iter().copied())),
        5 => line.extend_from_within(at..end),
        _ => line.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to one below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
