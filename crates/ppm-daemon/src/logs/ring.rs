//! The last output of a service, in memory.
//!
//! Holds as many bytes as its configuration says, with what it costs to tell when each piece was written and to which
//! stream; memory is taken only as output comes. What has to go for new output goes by whole lines.

use std::collections::VecDeque;

use ppm_core::time::Timestamp;

use super::file::length;
use super::index::{Record, Source};
use super::lines::Piece;

/// What a piece costs besides its bytes.
const COST: usize = size_of::<Record>();

/// A byte of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which ring: no two have the same number.
    pub ring: u64,
    /// Which byte of all that it was ever given.
    pub byte: u64,
}

/// Some of what a ring holds.
#[derive(Debug)]
pub struct Excerpt {
    /// Its first byte: the one that was asked for, or the oldest that is left.
    pub begin: Place,
    /// What there is from there on.
    pub pieces: Vec<Piece>,
    /// Where the ring ends.
    pub end: Place,
    /// Whether the last output is here alone, as it cannot be written to files.
    pub stands_for_files: bool,
}

/// The last output of one service.
#[derive(Debug)]
pub struct Ring {
    number: u64,
    limit: usize,
    bytes: VecDeque<u8>,
    pieces: VecDeque<Record>,
    end: u64,
    /// A run has ended: what it left of a line is ended before anything else.
    ends_line: bool,
    stands_for_files: bool,
}

impl Ring {
    /// Of this number, for at most so many bytes.
    pub fn new(number: u64, limit: usize) -> Ring {
        let (bytes, pieces) = (VecDeque::new(), VecDeque::new());
        Ring { number, limit, bytes, pieces, end: 0, ends_line: false, stands_for_files: false }
    }

    /// For at most so many bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        if limit < self.limit {
            self.limit = limit;
            self.make_room(0);
            self.bytes.shrink_to(limit);
            self.pieces.shrink_to_fit();
        }
        self.limit = limit;
    }

    /// What comes next begins a line.
    pub fn end_line(&mut self) {
        self.ends_line = true;
    }

    /// Keeps output; `missing` of it could not be written to files.
    pub fn write(&mut self, time: Timestamp, source: Source, output: &[u8], missing: usize) {
        if output.is_empty() {
            return;
        }
        self.stands_for_files = missing > 0;
        if std::mem::take(&mut self.ends_line) && self.bytes.back().is_some_and(|last| *last != b'\n') {
            self.push(time, Source::Daemon, b"\n");
        }
        self.push(time, source, output);
    }

    fn push(&mut self, time: Timestamp, source: Source, output: &[u8]) {
        let room = self.limit.saturating_sub(COST);
        let fits = match output.len().checked_sub(room).filter(|skipped| *skipped > 0) {
            None => output,
            Some(skipped) => {
                let rest = &output[skipped..];
                let is_cut = output[skipped - 1] != b'\n';
                memchr::memchr(b'\n', rest).filter(|end| is_cut && end + 1 < rest.len()).map_or(rest, |end| &rest[end + 1..])
            }
        };
        if fits.len() < output.len() {
            // What is kept is one stretch: nothing from before what is skipped.
            self.bytes.clear();
            self.pieces.clear();
        }
        self.make_room(fits.len() + COST);
        self.end += length(output.len() - fits.len());
        let (start, added) = (self.end, u32::try_from(fits.len()).unwrap_or(u32::MAX));
        match self.pieces.back_mut() {
            Some(last) if last.time == time && last.source == source && last.start + u64::from(last.length) == start => {
                last.length += added
            }
            Some(_) | None => self.pieces.push_back(Record { time, source, start, length: added }),
        }
        self.reserve(fits.len());
        self.bytes.extend(fits);
        self.end += length(fits.len());
    }

    /// What is doubled as it grows would outgrow its limit by as much.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let wanted = needed.max((2 * self.bytes.capacity()).min(self.limit));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    /// Throws the oldest lines away until so many bytes fit.
    fn make_room(&mut self, wanted: usize) {
        loop {
            let size = self.bytes.len() + self.pieces.len() * COST;
            let Some(excess) = (size + wanted).checked_sub(self.limit).filter(|excess| *excess > 0) else { return };
            let Some(first) = self.pieces.front_mut() else { return };
            let whole = usize::try_from(first.length).unwrap_or(usize::MAX);
            let end = if excess < whole { self.bytes.range(excess - 1..whole).position(|byte| *byte == b'\n') } else { None };
            let cut = end.map_or(whole, |end| excess + end);
            self.bytes.drain(..cut);
            first.start += length(cut);
            first.length -= u32::try_from(cut).unwrap_or(first.length);
            if first.length == 0 {
                self.pieces.pop_front();
            }
        }
    }

    /// At most so many bytes from this place on, or from the oldest where there is no such place any more.
    pub fn excerpt(&self, from: Option<Place>, most: usize) -> Excerpt {
        let oldest = self.pieces.front().map_or(self.end, |first| first.start);
        let begin = from.filter(|place| place.ring == self.number).map_or(oldest, |place| place.byte.clamp(oldest, self.end));
        let mut left = length(most);
        let mut pieces = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.start + u64::from(piece.length) <= begin);
        for record in self.pieces.range(first..) {
            let start = record.start.max(begin);
            let end = (record.start + u64::from(record.length)).min(start.saturating_add(left));
            if start == end {
                break;
            }
            left -= end - start;
            let place = |byte: u64| usize::try_from(byte - oldest).unwrap_or(usize::MAX);
            let bytes = self.bytes.range(place(start)..place(end)).copied().collect();
            pieces.push(Piece { time: Some(record.time), source: record.source, bytes });
        }
        let place = |byte| Place { ring: self.number, byte };
        Excerpt { begin: place(begin), pieces, end: place(self.end), stands_for_files: self.stands_for_files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppm_core::chance::Chance;

    fn text(ring: &Ring) -> String {
        let pieces = ring.excerpt(None, usize::MAX).pieces;
        String::from_utf8(pieces.into_iter().flat_map(|piece| piece.bytes).collect()).unwrap()
    }

    #[test]
    fn the_last_whole_lines_are_kept_and_no_more_memory_is_taken_than_is_allowed() {
        let mut chance = Chance::new(5);
        for limit in [4096, 5000, 64 * 1024] {
            let (mut ring, mut all, mut time) = (Ring::new(1, limit), String::new(), 0);
            for number in 0..6000 {
                let line = format!("{number}{}\n", "x".repeat(usize::try_from(chance.next() % 90).unwrap()));
                time += i64::try_from(chance.next() % 3).unwrap();
                let source = [Source::Stdout, Source::Stderr][number % 2];
                ring.write(Timestamp(time), source, line.as_bytes(), 0);
                all.push_str(&line);
                let cost = ring.bytes.len() + ring.pieces.len() * COST;
                assert!(cost <= limit && ring.bytes.capacity() <= limit.next_power_of_two(), "{cost} of {limit}");
            }
            let kept = text(&ring);
            assert!(
                all.ends_with(&format!("\n{kept}")) && kept.len() + ring.pieces.len() * COST > limit - 200,
                "{} of {limit}",
                kept.len()
            );
            assert_eq!(ring.end, length(all.len()));
        }
    }

    #[test]
    fn of_a_block_that_is_too_large_its_last_lines_are_kept_and_of_a_line_its_end() {
        let mut ring = Ring::new(1, 4096);
        let block: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        ring.write(Timestamp(1), Source::Stdout, block.as_bytes(), 0);
        let kept = text(&ring);
        assert!(kept.starts_with("line ") && block.ends_with(&kept) && kept.len() > 4000, "{kept}");
        ring.write(Timestamp(2), Source::Stdout, "x".repeat(10_000).as_bytes(), 0);
        assert_eq!(text(&ring), "x".repeat(4096 - COST));
    }

    /// What lies between would be missing: what is kept is one stretch of the output.
    #[test]
    fn of_a_block_that_is_too_large_nothing_older_is_kept_however_little_of_it_is() {
        let mut ring = Ring::new(1, 4096);
        ring.write(Timestamp(1), Source::Stdout, b"old\n", 0);
        let block = format!("{}\nnew\n", "x".repeat(10_000));
        ring.write(Timestamp(2), Source::Stdout, block.as_bytes(), 0);
        assert_eq!(text(&ring), "new\n");
        assert_eq!(ring.end, length("old\n".len() + block.len()));
        ring.write(Timestamp(2), Source::Stdout, b"newest\n", 0);
        assert_eq!(text(&ring), "new\nnewest\n");
    }

    #[test]
    fn what_a_run_left_of_a_line_is_ended_before_the_next_one_writes() {
        let mut ring = Ring::new(1, 4096);
        ring.write(Timestamp(1), Source::Stdout, b"one", 0);
        ring.end_line();
        ring.write(Timestamp(2), Source::Stdout, b"two\n", 0);
        ring.end_line();
        ring.write(Timestamp(3), Source::Stderr, b"three", 5);
        let told = ring.excerpt(None, usize::MAX);
        let pieces: Vec<(Source, &[u8])> = told.pieces.iter().map(|piece| (piece.source, piece.bytes.as_slice())).collect();
        let expected: [(Source, &[u8]); 4] =
            [(Source::Stdout, b"one"), (Source::Daemon, b"\n"), (Source::Stdout, b"two\n"), (Source::Stderr, b"three")];
        assert_eq!((pieces, told.stands_for_files), (expected.to_vec(), true));
    }

    #[test]
    fn it_is_read_in_portions_and_what_has_gone_meanwhile_is_skipped() {
        let mut ring = Ring::new(7, 4096);
        ring.write(Timestamp(1), Source::Stdout, b"abc\n", 0);
        ring.write(Timestamp(2), Source::Stderr, b"defg\n", 0);
        let first = ring.excerpt(None, 6);
        assert_eq!(first.pieces.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [4, 2]);
        let next = Place { ring: 7, byte: 6 };
        assert_eq!(ring.excerpt(Some(next), 100).pieces[0].bytes, b"fg\n");
        assert!(ring.excerpt(Some(Place { ring: 7, byte: 9 }), 100).pieces.is_empty());
        ring.write(Timestamp(3), Source::Stdout, "x\n".repeat(2100).as_bytes(), 0);
        let begin = ring.excerpt(Some(next), 100).begin;
        assert!(begin.byte > 9 && begin.ring == 7, "{begin:?}");
        ring.set_limit(100);
        assert_eq!(text(&ring), "x\n".repeat(38));
        assert_eq!(ring.excerpt(Some(Place { ring: 6, byte: 0 }), 0).begin, ring.excerpt(None, 0).begin);
    }
}
