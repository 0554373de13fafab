//! From the hands of a clock to instants: what a zone's gaps and overlaps do to a schedule.
//!
//! Wall time is counted in seconds as if it were UTC. Between two transitions of a zone wall time and real time differ
//! by one offset, so each such stretch is searched by itself.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::times::{Pace, Times};

const DAY: i64 = 86_400;

/// A longer gap is a correction of the calendar, as when Samoa left out a day, and its times are nobody's.
const LONGEST_GAP: i64 = 3 * 3600;

/// More than offsets ever change by, so that a search may begin this long before what it looks for.
const MARGIN: i64 = 2 * DAY;

/// The first instant at or after `from` that the schedule means, in seconds since 1970.
pub(super) fn next_instant(times: &Times, from: i64, zone: &TimeZone) -> Option<i64> {
    let mut at = from;
    loop {
        let stretch = Stretch::around(at, zone)?;
        let mut wall = next_wall(times, stretch.earliest_wall(at, times.pace()))?;
        if wall < stretch.start_wall() && stretch.gap() > LONGEST_GAP {
            wall = next_wall(times, stretch.start_wall())?;
        }
        let instant = (wall - stretch.offset).max(stretch.start);
        if instant < stretch.end {
            return Some(instant);
        }
        at = stretch.end.max(instant - MARGIN);
    }
}

/// The first time of day, in seconds, that a gap left out and that fires at its end, which is `at`.
pub(super) fn left_out(times: &Times, at: i64, zone: &TimeZone) -> Option<u32> {
    let stretch = Stretch::around(at, zone)?;
    if times.pace() != Pace::Fixed || at != stretch.start || !(1..=LONGEST_GAP).contains(&stretch.gap()) {
        return None;
    }
    let wall = next_wall(times, stretch.start + stretch.offset_before)?;
    u32::try_from(wall.rem_euclid(DAY)).ok().filter(|_| wall < stretch.start_wall())
}

/// The time between two transitions of a zone.
struct Stretch {
    /// Its first second; the far past where there is no transition before.
    start: i64,
    /// The first second after it.
    end: i64,
    /// What is added to real time to get wall time.
    offset: i64,
    /// The same, before `start`.
    offset_before: i64,
}

impl Stretch {
    fn around(at: i64, zone: &TimeZone) -> Option<Stretch> {
        let instant = Timestamp::from_second(at).ok()?;
        let offset = i64::from(zone.to_offset(instant).seconds());
        let just_after = instant.checked_add(1.second()).ok()?;
        let start = zone.preceding(just_after).next().map(|transition| transition.timestamp());
        let end = zone.following(instant).next().map(|transition| transition.timestamp().as_second());
        let before = start.and_then(|start| start.checked_sub(1.second()).ok());
        Some(Stretch {
            start: start.map_or(i64::MIN / 2, Timestamp::as_second),
            end: end.unwrap_or(i64::MAX),
            offset,
            offset_before: before.map_or(offset, |before| i64::from(zone.to_offset(before).seconds())),
        })
    }

    fn start_wall(&self) -> i64 {
        self.start + self.offset
    }

    /// The wall time that is left out at its start; negative where it is repeated.
    fn gap(&self) -> i64 {
        self.offset - self.offset_before
    }

    /// The earliest wall time that may fire at or after `at`.
    ///
    /// For a fixed pace the stretches share out wall time without gap or overlap: what a gap leaves out belongs to the
    /// first second after it, what is repeated belongs to the first pass.
    fn earliest_wall(&self, at: i64, pace: Pace) -> i64 {
        match pace {
            Pace::Interval => at + self.offset,
            Pace::Fixed if at == self.start => self.start + self.offset_before,
            Pace::Fixed => (at + self.offset).max(self.start + self.offset_before),
        }
    }
}

/// The first wall time at or after `from` that matches.
fn next_wall(times: &Times, from: i64) -> Option<i64> {
    let epoch = Date::new(1970, 1, 1).ok()?;
    let day = epoch.checked_add(from.div_euclid(DAY).days()).ok()?;
    let seconds_of = |date: Date| Some(i64::from(epoch.until(date).ok()?.get_days()) * DAY);
    let found = times.next_day(day)?;
    let second = if found == day { u32::try_from(from.rem_euclid(DAY)).ok()? } else { 0 };
    match times.next_time(second) {
        Some(time) => Some(seconds_of(found)? + i64::from(time)),
        None => {
            let found = times.next_day(found.tomorrow().ok()?)?;
            Some(seconds_of(found)? + i64::from(times.next_time(0)?))
        }
    }
}
