//! Rotation as arithmetic: what log files are called, where they are cut, and which of them have to go.
//!
//! A file is `NAME-DATE.log`, DATE being when it was begun, in UTC and to the millisecond. Invariants: two files of a
//! service never have the same name, and the order of their dates is the order of what is in them, however fast they
//! follow one another and wherever the clock is set to. A file ends with the end of a line, unless that line alone is
//! longer than a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::names;
use crate::time::Timestamp;

/// How a date is written in the name of a file: no colon, which programs take for the end of a host's name.
const DATE: &str = "%Y%m%dT%H%M%S";

/// The characters of a date with milliseconds and zone: `20260102T030405.678Z`.
const DATE_LENGTH: usize = 20;

/// Close to the end of the year 9999, after which there are no names.
const LATEST: i64 = 253_402_200_000_000;

/// When a log file was begun: its place among those of its service, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Begun(pub i64);

impl Begun {
    /// For the file that follows `last`: the present, or later than that where files follow one another faster than
    /// the clock, or the clock was set back.
    pub fn after(last: Option<Begun>, now: Timestamp) -> Begun {
        let present = now.0.clamp(0, LATEST);
        Begun(last.map_or(present, |last| present.max(last.0.saturating_add(1))))
    }

    fn parse(text: &str) -> Option<Begun> {
        let (date, millis) = text.strip_suffix('Z')?.split_once('.')?;
        let millis: i64 = if millis.len() == 3 { millis.parse().ok()? } else { return None };
        let date = DateTime::strptime(DATE, date).ok()?;
        let begun = Begun(TimeZone::UTC.to_timestamp(date).ok()?.as_millisecond().checked_add(millis)?);
        (begun.text() == text).then_some(begun)
    }

    fn text(self) -> String {
        let date = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().to_zoned(TimeZone::UTC);
        format!("{}.{:03}Z", date.strftime(DATE), self.0.rem_euclid(1000))
    }
}

/// The name of a log file.
pub fn file_name(service: &str, begun: Begun) -> String {
    format!("{service}-{}.log", begun.text())
}

/// The name of the index of a log file; hidden.
pub fn index_name(service: &str, begun: Begun) -> String {
    format!(".{service}-{}.idx", begun.text())
}

/// Whose log file this is and when it was begun; None: it is none.
pub fn parse_name(file: &str) -> Option<(&str, Begun)> {
    let stem = file.strip_suffix(".log")?;
    let (service, date) = stem.split_at_checked(stem.len().checked_sub(DATE_LENGTH)?)?;
    let service = service.strip_suffix('-').filter(|service| names::check(service).is_ok())?;
    Some((service, Begun::parse(date)?))
}

/// How full the active file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Its size, in bytes.
    pub size: u64,
    /// How much of that comes after its last end of line.
    pub line: u64,
}

/// What of a piece of output goes into the active file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first so many bytes.
    pub bytes: usize,
    /// What comes after them.
    pub then: Then,
}

/// What comes after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: that was all.
    Done,
    /// The rest goes into the next file.
    Rotate,
    /// So it does, but a line was cut.
    CutLine,
}

impl Fill {
    /// Where to cut output that goes into a file of at most `limit` bytes, which is at least 1.
    ///
    /// What fits is taken whole. Else the file ends with the last line that fits; a line that has begun is ended in the
    /// same file as long as it is not longer than a file may be. So no file is larger than twice the limit.
    pub fn cut(self, output: &[u8], limit: u64) -> Cut {
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let room = length(limit.saturating_sub(self.size));
        if output.len() <= room {
            return Cut { bytes: output.len(), then: Then::Done };
        }
        if let Some(end) = output[..room].iter().rposition(|byte| *byte == b'\n') {
            return Cut { bytes: end + 1, then: Then::Rotate };
        }
        if self.line == 0 && self.size > 0 {
            return Cut { bytes: 0, then: Then::Rotate };
        }
        let rest_of_line = length(limit.saturating_sub(self.line));
        match output.iter().take(rest_of_line).position(|byte| *byte == b'\n') {
            Some(end) if end + 1 == output.len() => Cut { bytes: output.len(), then: Then::Done },
            Some(end) => Cut { bytes: end + 1, then: Then::Rotate },
            None if output.len() <= rest_of_line => Cut { bytes: output.len(), then: Then::Done },
            None => Cut { bytes: rest_of_line, then: Then::CutLine },
        }
    }

    /// What it is when this has been written.
    pub fn with(self, written: &[u8]) -> Fill {
        let length = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let line = match written.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => length(written.len() - end - 1),
            None => self.line.saturating_add(length(written.len())),
        };
        Fill { size: self.size.saturating_add(length(written.len())), line }
    }
}

/// The log files of a folder that are not written to any more, of all services.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    services: BTreeMap<Arc<str>, BTreeMap<Begun, u64>>,
    by_age: BTreeSet<(Begun, Arc<str>)>,
    size: u64,
}

impl Shelf {
    /// Puts a file there, of this size.
    pub fn add(&mut self, service: &str, begun: Begun, size: u64) {
        self.remove(service, begun);
        let key = self.services.get_key_value(service).map_or_else(|| Arc::from(service), |(key, _)| Arc::clone(key));
        self.by_age.insert((begun, Arc::clone(&key)));
        self.services.entry(key).or_default().insert(begun, size);
        self.size = self.size.saturating_add(size);
    }

    /// Takes a file away, and gives its size.
    pub fn remove(&mut self, service: &str, begun: Begun) -> Option<u64> {
        let (key, files) = self.services.get_key_value(service)?;
        let (key, is_last) = (Arc::clone(key), files.len() == 1);
        let size = self.services.get_mut(service)?.remove(&begun)?;
        self.by_age.remove(&(begun, key));
        if is_last {
            self.services.remove(service);
        }
        self.size -= size;
        Some(size)
    }

    /// The newest file of a service, and its size.
    pub fn newest(&self, service: &str) -> Option<(Begun, u64)> {
        self.services.get(service)?.last_key_value().map(|(begun, size)| (*begun, *size))
    }

    /// What all files take together, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The oldest file of all.
    pub fn oldest(&self) -> Option<(Arc<str>, Begun)> {
        self.by_age.first().map(|(begun, service)| (Arc::clone(service), *begun))
    }

    /// The files of a service that have to go, oldest first: what there are more of than `most`, and what was last
    /// written to longer ago than `age`. A file was last written to when the next was begun; the last one when
    /// `active` was, which is the active file.
    pub fn surplus(&self, service: &str, most: usize, age: Option<Duration>, active: Begun, now: Timestamp) -> Vec<Begun> {
        let Some(files) = self.services.get(service) else { return Vec::new() };
        let spare = files.len().saturating_sub(most);
        let ended = files.keys().skip(1).copied().chain([active]);
        let expired = |ended: Begun| age.is_some_and(|age| is_past(ended, age, now));
        let files = files.keys().copied().zip(ended).enumerate();
        files.filter(|(number, (_, ended))| *number < spare || expired(*ended)).map(|(_, (begun, _))| begun).collect()
    }
}

/// Whether something is older than an age.
pub fn is_past(begun: Begun, age: Duration, now: Timestamp) -> bool {
    u128::try_from(now.0.saturating_sub(begun.0)).is_ok_and(|past| past > age.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn below(chance: &mut Chance, limit: u64) -> usize {
        usize::try_from(chance.next() % limit).unwrap()
    }

    #[test]
    fn r44_names_are_unique_and_ordered_however_fast_and_wherever_the_clock_is_set_to() {
        let mut chance = Chance::new(44);
        let (mut last, mut names) = (None, Vec::new());
        for _ in 0..2000 {
            // The same millisecond, back, and far from now: before the epoch, and when years have five digits.
            let now = [1_767_323_045_678, 1_767_323_045_000, -5, i64::MIN, 4_000_000_000_000][below(&mut chance, 5)];
            let begun = Begun::after(last, Timestamp(now));
            last = Some(begun);
            let name = file_name("web-1", begun);
            assert_eq!(parse_name(&name), Some(("web-1", begun)), "{name}");
            names.push(name);
        }
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(file_name("web", Begun(1_767_323_045_678)), "web-20260102T030405.678Z.log");
        assert_eq!(index_name("web", Begun(0)), ".web-19700101T000000.000Z.idx");
        assert_eq!(Begun::after(None, Timestamp(i64::MAX)).text(), "99991230T200000.000Z");
    }

    #[test]
    fn only_whole_names_of_log_files_are_taken_for_such() {
        let dated = "a-20260102T030405.678Z";
        assert_eq!(parse_name(&format!("{dated}.log")).map(|(service, _)| service), Some("a"));
        assert_eq!(parse_name(&format!("{dated}-20260102T030405.678Z.log")).map(|(service, _)| service), Some(dated));
        for name in [
            "",
            ".log",
            "a.log",
            "a-2026.log",
            "a-20260102T030405.678Z",
            "a-20260102T030405.678Z.log.gz",
            "20260102T030405.678Z.log",
            "-20260102T030405.678Z.log",
            "a-20261302T030405.678Z.log",
            "a-20260102T030405.67Z.log",
            "a-20260102T030405.+78Z.log",
            "a-20260102T030460.678Z.log",
            "é-20260102T030405.678Z.log",
            "a b-20260102T030405.678Z.log",
            "a-é0260102T030405.678Z.log",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    /// Every output of up to 6 bytes in every file of up to 6 bytes, with every limit up to 5.
    #[test]
    fn r44_whatever_is_written_is_cut_at_ends_of_lines_and_nothing_is_lost() {
        let mut cases = 0_u32;
        for limit in 1..=5_u64 {
            for (size, line) in (0..=6_u64).flat_map(|size| (0..=size.min(limit)).map(move |line| (size, line))) {
                for (length, bits) in (1..=6_u32).flat_map(|length| (0..1_u32 << length).map(move |bits| (length, bits))) {
                    let output: Vec<u8> = (0..length).map(|at| if bits >> at & 1 == 1 { b'\n' } else { b'x' }).collect();
                    check_cut(Fill { size, line }, &output, limit);
                    cases += 1;
                }
            }
        }
        assert!(cases > 10_000);
    }

    fn check_cut(fill: Fill, output: &[u8], limit: u64) {
        let cut = fill.cut(output, limit);
        let case = format!("{fill:?} {:?} {limit}: {cut:?}", output.escape_ascii().to_string());
        let after = fill.with(&output[..cut.bytes]);
        assert!(cut.bytes <= output.len(), "{case}");
        assert!(cut.bytes > 0 || fill.size > 0 || cut.then == Then::CutLine && fill.line >= limit, "no progress: {case}");
        match cut.then {
            Then::Done => assert_eq!(cut.bytes, output.len(), "{case}"),
            Then::Rotate => assert!(after.line == 0 && after.size > 0, "cut in a line: {case}"),
            Then::CutLine => assert!(after.line >= limit, "a line was cut that may be longer: {case}"),
        }
        let fits = fill.size + u64::try_from(output.len()).unwrap() <= limit;
        assert!(!fits || cut.then == Then::Done, "cut too early: {case}");
        let is_end_of_line = !output[..cut.bytes.saturating_sub(1)].contains(&b'\n');
        assert!(after.size <= limit || is_end_of_line, "larger than it must be: {case}");
        assert!(after.line <= limit.max(fill.line), "a line longer than a file may be: {case}");
    }

    #[test]
    fn r44_files_hold_whole_lines_and_together_all_that_was_written() {
        let mut chance = Chance::new(7);
        for round in 0..300 {
            let limit = 1 + chance.next() % 60;
            let text: Vec<u8> = (0..below(&mut chance, 600)).map(|_| b"\nab\0\xff\n"[below(&mut chance, 6)]).collect();
            let (mut files, mut fill) = (vec![Vec::new()], Fill::default());
            let mut rest = text.as_slice();
            while !rest.is_empty() {
                let (mut piece, later) = rest.split_at((1 + below(&mut chance, 80)).min(rest.len()));
                rest = later;
                loop {
                    let cut = fill.cut(piece, limit);
                    fill = fill.with(&piece[..cut.bytes]);
                    files.last_mut().unwrap().extend_from_slice(&piece[..cut.bytes]);
                    piece = &piece[cut.bytes..];
                    if cut.then == Then::Done {
                        break;
                    }
                    let last = files.last().unwrap();
                    assert!(last.ends_with(b"\n") || cut.then == Then::CutLine, "round {round}");
                    files.push(Vec::new());
                    fill = Fill::default();
                }
                assert!(fill.size <= 2 * limit, "round {round}: {fill:?}, {limit}");
            }
            assert_eq!(files.concat(), text, "round {round}");
        }
    }

    #[test]
    fn a_shelf_knows_what_is_too_much_and_too_old() {
        let mut shelf = Shelf::default();
        for (service, begun, size) in [("a", 1, 10), ("a", 3, 20), ("a", 5, 30), ("b", 2, 100), ("a", 5, 31)] {
            shelf.add(service, Begun(begun), size);
        }
        assert_eq!((shelf.size(), shelf.newest("a"), shelf.newest("c")), (161, Some((Begun(5), 31)), None));
        let surplus = |most, age, now| shelf.surplus("a", most, age, Begun(7), Timestamp(now));
        assert_eq!(surplus(2, None, 100), [Begun(1)]);
        assert_eq!(surplus(3, None, 100), []);
        assert_eq!(surplus(0, None, 100), [Begun(1), Begun(3), Begun(5)]);
        let age = Some(Duration::from_millis(4));
        assert_eq!(
            [surplus(9, age, 7), surplus(9, age, 10), surplus(9, age, 12)],
            [vec![], vec![Begun(1), Begun(3)], vec![Begun(1), Begun(3), Begun(5)]]
        );
        assert_eq!(surplus(2, age, 0), [Begun(1)], "a clock that was set back makes nothing older");
        assert_eq!(shelf.oldest(), Some(("a".into(), Begun(1))));
        assert_eq!((shelf.remove("a", Begun(1)), shelf.remove("a", Begun(1)), shelf.remove("c", Begun(1))), (Some(10), None, None));
        assert_eq!((shelf.oldest(), shelf.size()), (Some(("b".into(), Begun(2))), 151));
    }
}
