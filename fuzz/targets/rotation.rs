//! Whatever is written to log files, and whatever lies in their folder: nothing is lost, files end with whole lines, and no
//! other file is taken for one of them.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ppm_core::flood::Flood;
use ppm_core::rotate::{Begun, Fill, Shelf, Then, file_name, parse_name};
use ppm_core::time::{Mono, Timestamp};

fuzz_target!(|input: (u8, u8, &str, &[u8])| {
    let (limit, piece, name, output) = input;
    cut(output, 1 + u64::from(limit), 1 + usize::from(piece));
    if let Some((service, begun)) = parse_name(name) {
        assert_eq!(file_name(service, begun), name);
    }
    shelf(output);
    flood(output, u64::from(limit) << (piece & 7));
});

fn cut(output: &[u8], limit: u64, piece: usize) {
    let (mut files, mut fill) = (vec![Vec::new()], Fill::default());
    for mut piece in output.chunks(piece) {
        loop {
            let cut = fill.cut(piece, limit);
            fill = fill.with(&piece[..cut.bytes]);
            let last = files.last_mut().unwrap_or_else(|| unreachable!("there is always one"));
            last.extend_from_slice(&piece[..cut.bytes]);
            piece = &piece[cut.bytes..];
            if cut.then == Then::Done {
                break;
            }
            assert!(last.ends_with(b"\n") || cut.then == Then::CutLine);
            files.push(Vec::new());
            fill = Fill::default();
        }
        assert!(fill.size <= 2 * limit, "{fill:?}, {limit}");
    }
    assert_eq!(files.concat(), output);
}

/// Each two bytes put a file on the shelf, or take one away.
fn shelf(input: &[u8]) {
    let mut shelf = Shelf::default();
    for pair in input.chunks_exact(2) {
        let (service, begun) = (["a", "b", "c"][usize::from(pair[0]) % 3], Begun(i64::from(pair[1] & 31)));
        match pair[1] >> 5 {
            0..=4 => shelf.add(service, begun, u64::from(pair[0])),
            5 => drop(shelf.remove(service, begun)),
            _ => {
                let age = Some(Duration::from_millis(u64::from(pair[0])));
                for surplus in shelf.surplus(service, usize::from(pair[0] & 3), age, begun, Timestamp(i64::from(pair[1]))) {
                    assert!(shelf.remove(service, surplus).is_some(), "surplus that is not there");
                }
            }
        }
    }
    let mut sum = 0;
    let size = shelf.size();
    while let Some((service, begun)) = shelf.oldest() {
        sum += shelf.remove(&service, begun).unwrap_or_default();
    }
    assert_eq!((sum, shelf.size()), (size, 0));
}

fn flood(input: &[u8], limit: u64) {
    if limit == 0 {
        return;
    }
    let (mut flood, mut now) = (Flood::new(limit), Mono(0));
    for piece in input.chunks(7) {
        now.0 += u64::from(piece[0]) << 22;
        assert!(flood.admit(now, piece) <= piece.len());
        let _ = (flood.told(now), flood.deadline());
    }
    let _ = flood.told_at_last();
}
