//! Floods of output as arithmetic: how much of what a service writes is let through.
//!
//! Counted by seconds, each beginning with the first output after the one before: what is over a second's share is
//! dropped, from the end of the last line that fits on, and told once when the second is over. Pure arithmetic; never
//! reads a clock.

use std::time::Duration;

use crate::config::write_size;
use crate::time::Mono;

/// What a share is for.
const SECOND: Duration = Duration::from_secs(1);

/// What one service has written in this second.
#[derive(Clone, Debug)]
pub struct Flood {
    /// How many bytes of a second are let through.
    limit: u64,
    since: Mono,
    passed: u64,
    dropped: Dropped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dropped {
    bytes: u64,
    lines: u64,
}

impl Flood {
    /// Nothing yet; so many bytes of a second are let through.
    pub fn new(limit: u64) -> Flood {
        Flood { limit, since: Mono(0), passed: 0, dropped: Dropped::default() }
    }

    /// So many bytes of a second are let through from now on.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// How many of these bytes are let through: all, or whole lines; the rest is dropped. Before it is asked
    /// [`Flood::told`] must have been.
    pub fn admit(&mut self, now: Mono, output: &[u8]) -> usize {
        if now >= self.since + SECOND {
            (self.since, self.passed) = (now, 0);
        }
        let room = usize::try_from(self.limit.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let admitted = match output.len() <= room && self.dropped == Dropped::default() {
            true => output.len(),
            false if self.dropped == Dropped::default() => output[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
            false => 0, // what has been cut is not taken up again in the middle
        };
        let rest = &output[admitted..];
        self.passed = self.passed.saturating_add(length(admitted));
        self.dropped.bytes = self.dropped.bytes.saturating_add(length(rest.len()));
        self.dropped.lines = self.dropped.lines.saturating_add(length(rest.iter().filter(|byte| **byte == b'\n').count()));
        admitted
    }

    /// How many lines were dropped and a line about it, when the second is over in which that was.
    pub fn told(&mut self, now: Mono) -> Option<(u64, String)> {
        if now >= self.since + SECOND { self.told_at_last() } else { None }
    }

    /// The same, since nothing more will be.
    pub fn told_at_last(&mut self) -> Option<(u64, String)> {
        let Dropped { bytes, lines } = std::mem::take(&mut self.dropped);
        let counted = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        (bytes > 0).then(|| (lines, format!("[ppm: {counted} left out ({bytes} bytes): more than {}/s]\n", write_size(self.limit))))
    }

    /// When something must be told although nothing more may come.
    pub fn deadline(&self) -> Option<Mono> {
        (self.dropped != Dropped::default()).then_some(self.since + SECOND)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(1_000_000_000_000) + Duration::from_millis(millis)
    }

    #[test]
    fn of_each_second_the_first_whole_lines_are_let_through_and_the_rest_is_told() {
        let mut flood = Flood::new(2048);
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let ten = line.repeat(10);
        assert_eq!([0, 300, 600].map(|time| flood.admit(at(time), &ten)), [1000, 1000, 0]);
        assert_eq!((flood.admit(at(700), b"y"), flood.told(at(999)), flood.deadline()), (0, None, Some(at(1000))));
        assert_eq!(flood.told(at(1000)).unwrap(), (10, "[ppm: 10 lines left out (1001 bytes): more than 2KiB/s]\n".to_owned()));
        assert_eq!((flood.told(at(1000)), flood.deadline()), (None, None));
        // The next second begins when something comes.
        assert_eq!([5000, 5900].map(|time| flood.admit(at(time), &ten)), [1000, 1000]);
        assert_eq!(flood.admit(at(5999), &line.repeat(3)), 0);
        assert_eq!(flood.told_at_last().unwrap(), (3, "[ppm: 3 lines left out (300 bytes): more than 2KiB/s]\n".to_owned()));
    }

    #[test]
    fn never_more_than_its_share_and_nothing_unsaid() {
        let mut chance = crate::chance::Chance::new(8);
        let mut flood = Flood::new(5000);
        let (mut now, mut written, mut passed, mut told, mut begin) = (at(0), 0, 0, 0, (at(0), 0));
        for _ in 0..5000 {
            now = now + Duration::from_millis(chance.next() % 80);
            let output: Vec<u8> = (0..chance.next() % 900).map(|_| if chance.next().is_multiple_of(30) { b'\n' } else { b'x' }).collect();
            told += flood.told(now).map_or(0, |(_, line)| line.split(['(', ' ']).nth(6).unwrap().parse::<usize>().unwrap());
            let admitted = flood.admit(now, &output);
            if now >= begin.0 + SECOND {
                begin = (now, 0);
            }
            begin.1 += admitted;
            assert!(begin.1 <= 5000);
            (written, passed) = (written + output.len(), passed + admitted);
        }
        told += flood.told_at_last().map_or(0, |(_, line)| line.split(['(', ' ']).nth(6).unwrap().parse::<usize>().unwrap());
        assert_eq!(passed + told, written);
        assert!(told > written / 4 && passed > written / 10, "{told} of {written}");
    }
}
