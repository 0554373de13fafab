//! Whatever a server answers to a probe, in whatever pieces: the verdict does not depend on the pieces, and is short.
//!
//! The first bytes choose what is wanted and the length of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::answer::{Answer, Illness};

/// The words about a server fit into a line of a table.
const LONGEST: usize = 500;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (wanted, piece, bytes) = input;
    let status = [None, Some(200), Some(503)][usize::from(wanted & 15) % 3];
    let text = [None, Some("ok"), Some("")][usize::from(wanted >> 4) % 3];
    let whole = verdict(Answer::wanted(status, text), bytes, bytes.len().max(1));
    let pieces = verdict(Answer::wanted(status, text), bytes, 1 + usize::from(piece));
    assert_eq!(whole, pieces);
});

/// Whether it is well.
fn verdict(mut answer: Answer, bytes: &[u8], piece: usize) -> bool {
    for piece in bytes.chunks(piece) {
        match answer.hear(piece) {
            Ok(Some(_)) => return true,
            Ok(None) => {}
            Err(illness) => return short(&illness),
        }
    }
    short(&answer.ended())
}

fn short(illness: &Illness) -> bool {
    let words = illness.to_string();
    assert!(words.len() < LONGEST && !words.contains(char::is_control), "{words:?}");
    false
}
