//! What services have used over the last hour, as far as somebody had it read: nothing is read for the sake of history.
//!
//! One cell for each minute with a reading, so that a service costs the same however often it is read (at most
//! 4 KiB). A process that ends leaves the most that it was seen to use to the telling of its end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ppm_protocol::types::{Course, Growth, HistoryRow};

use crate::event::{ServiceId, Whose};
use crate::gather::Gather;
use crate::sampling::{Run, WINDOW};
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now};
use crate::usage::{Usage, millis, percent, tenths};

/// How far back it goes.
const MINUTES: u32 = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// Growth over less time is a start, or chance.
const LEAST_MINUTES: usize = 10;

/// Growth by less is noise: a twentieth of what is used, and this.
const LEAST_GROWTH: u64 = 1 << 20;

/// All readings of one minute.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Minutes since the monotonic clock's start.
    minute: u32,
    readings: u32,
    memory_least: u64,
    memory_most: u64,
    memory_sum: u64,
    /// Microseconds on processors between readings of one run of which the later is in this minute, and those that passed.
    busy: u64,
    over: u64,
    /// In percent of one core, between two readings.
    cpu_least: f32,
    cpu_most: f32,
}

impl Cell {
    fn new(minute: u32) -> Cell {
        Cell {
            minute,
            readings: 0,
            memory_least: u64::MAX,
            memory_most: 0,
            memory_sum: 0,
            busy: 0,
            over: 0,
            cpu_least: f32::INFINITY,
            cpu_most: 0.0,
        }
    }

    fn memory(&mut self, bytes: u64) {
        self.readings += 1;
        self.memory_least = self.memory_least.min(bytes);
        self.memory_most = self.memory_most.max(bytes);
        self.memory_sum = self.memory_sum.saturating_add(bytes);
    }

    fn has_rate(&self) -> bool {
        self.over > 0
    }

    fn percent(&self) -> f64 {
        percent(Duration::from_micros(self.busy), Duration::from_micros(self.over))
    }

    fn cpu(&mut self, busy: Duration, over: Duration) {
        #[expect(clippy::cast_possible_truncation, reason = "a percentage is told to the tenth")]
        let percent = percent(busy, over) as f32;
        self.busy = self.busy.saturating_add(micros(busy));
        self.over = self.over.saturating_add(micros(over));
        self.cpu_least = self.cpu_least.min(percent);
        self.cpu_most = self.cpu_most.max(percent);
    }
}

/// The past of one service, or of the daemon.
#[derive(Debug)]
struct Past {
    run: Run,
    /// The most memory that this run was seen to use.
    peak: u64,
    /// The last reading on which a rate can be based: when, and the time on processors until then.
    base: (Mono, Duration),
    cells: VecDeque<Cell>,
}

impl Past {
    fn new(run: Run, usage: &Usage) -> Past {
        Past { run, peak: 0, base: (usage.at, usage.cpu), cells: VecDeque::new() }
    }

    fn read(&mut self, run: Run, usage: &Usage) {
        if self.run != run {
            *self = Past { cells: std::mem::take(&mut self.cells), ..Past::new(run, usage) };
        }
        self.peak = self.peak.max(usage.rss);
        let at = minute(usage.at);
        self.cells.retain(|cell| cell.minute + MINUTES > at);
        if self.cells.back().is_none_or(|last| last.minute < at) {
            self.cells.push_back(Cell::new(at));
        }
        let Some(cell) = self.cells.back_mut() else { return };
        cell.memory(usage.rss);
        let (since, before) = self.base;
        let over = usage.at.since(since);
        if over >= WINDOW {
            cell.cpu(usage.cpu.saturating_sub(before), over);
            self.base = (usage.at, usage.cpu);
        }
    }

    fn row(&self, now: Now, id: Option<u32>, name: &str) -> HistoryRow {
        let present = minute(now.mono);
        let cells: Vec<&Cell> = self.cells.iter().filter(|cell| cell.minute + MINUTES > present).collect();
        let from = cells.first().map(|first| now.wall_at(Mono(0) + MINUTE * first.minute));
        HistoryRow {
            id,
            name: name.to_owned(),
            from,
            cpu_percent: cpu(&cells, present),
            memory_rss: memory(&cells, present),
            growth: self.growth(&cells),
        }
    }

    /// The least of each minute is looked at, which work that comes and goes leaves as it is: if nearly each later one is
    /// greater than nearly each earlier one, it grows, by the median of the slopes between them (Theil and Sen's estimate).
    fn growth(&self, cells: &[&Cell]) -> Option<Growth> {
        let settled = minute(self.run.1) + 1; // after this minute there is nothing but this run, beyond its start
        let cells: Vec<&Cell> = cells.iter().copied().filter(|cell| cell.minute > settled).collect();
        let (first, last) = (cells.first()?, cells.last()?);
        let pairs = || cells.iter().enumerate().flat_map(|(at, later)| cells[..at].iter().map(move |earlier| (earlier, later)));
        let rising = pairs().filter(|(earlier, later)| later.memory_least > earlier.memory_least).count();
        if cells.len() < LEAST_MINUTES || rising * 10 < pairs().count() * 9 {
            return None; // as most: only for the others the slopes are worth their cost
        }
        let slope = |(earlier, later): (&&Cell, &&Cell)| {
            (later.memory_least as f64 - earlier.memory_least as f64) / f64::from(later.minute - earlier.minute)
        };
        let mut slopes: Vec<f64> = pairs().map(slope).collect();
        let middle = slopes.len() / 2;
        let slope = *slopes.select_nth_unstable_by(middle, f64::total_cmp).1;
        let minutes = last.minute - first.minute;
        let least = (first.memory_least / 20).max(LEAST_GROWTH);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and below 2^53 in any machine")]
        (slope * f64::from(minutes) >= least as f64)
            .then(|| Growth { bytes_per_hour: (slope * 60.0) as u64, over_ms: millis(MINUTE * minutes) })
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    pasts: BTreeMap<Whose, Past>,
}

impl Histories {
    pub(crate) fn forget(&mut self, id: ServiceId) {
        self.pasts.remove(&Some(id));
    }

    /// Whose past is kept.
    pub(crate) fn kept(&self) -> impl Iterator<Item = ServiceId> + '_ {
        self.pasts.keys().filter_map(|whose| *whose)
    }

    /// The most memory that this run was seen to use.
    pub(crate) fn peak(&self, id: ServiceId, run: Run) -> Option<u64> {
        self.pasts.get(&Some(id)).filter(|past| past.run == run).map(|past| past.peak)
    }
}

impl Supervisor {
    /// Remembers what was read of the runs that are still the same.
    pub(crate) fn note_usage(&mut self, runs: &BTreeMap<Whose, Run>, usages: &[(Whose, Usage)]) {
        for (whose, usage) in usages {
            if let Some(run) = self.same_run(*whose, runs) {
                self.histories.pasts.entry(*whose).or_insert_with(|| Past::new(run, usage)).read(run, usage);
            }
        }
    }

    /// What these have used lately; of whom nothing was read, nothing is told but the name.
    pub(crate) fn histories(&self, now: Now, whose: &[Whose]) -> Vec<HistoryRow> {
        let row = |whose: &Whose| {
            let (id, name) = self.told_as(*whose)?;
            let past = self.histories.pasts.get(whose);
            Some(past.map_or_else(|| HistoryRow { id, name: name.to_owned(), ..HistoryRow::default() }, |past| past.row(now, id, name)))
        };
        whose.iter().filter_map(row).gather()
    }
}

fn minute(at: Mono) -> u32 {
    u32::try_from(at.since(Mono(0)).as_secs() / MINUTE.as_secs()).unwrap_or(u32::MAX) // 8,000 years
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One value a minute from the first of the cells until now.
fn minutes<T>(cells: &[&Cell], present: u32, value: impl Fn(&Cell) -> Option<T>) -> Vec<Option<T>> {
    let mut cells = cells.iter().peekable();
    let Some(first) = cells.peek().map(|first| first.minute) else { return Vec::new() };
    (first..=present).map(|minute| cells.next_if(|cell| cell.minute == minute).and_then(|cell| value(cell))).collect()
}

fn cpu(cells: &[&Cell], present: u32) -> Option<Course<f64>> {
    let rated = || cells.iter().filter(|cell| cell.has_rate());
    let least = rated().map(|cell| cell.cpu_least).min_by(f32::total_cmp)?;
    let most = rated().map(|cell| cell.cpu_most).max_by(f32::total_cmp)?;
    let sum = |part: fn(&Cell) -> u64| Duration::from_micros(rated().map(|cell| part(cell)).fold(0, u64::saturating_add));
    let avg = tenths(percent(sum(|cell| cell.busy), sum(|cell| cell.over)));
    let minutes = minutes(cells, present, |cell| cell.has_rate().then(|| tenths(cell.percent())));
    Some(Course { min: tenths(least.into()), avg, max: tenths(most.into()), minutes })
}

fn memory(cells: &[&Cell], present: u32) -> Option<Course<u64>> {
    let readings = cells.iter().map(|cell| u128::from(cell.readings)).sum::<u128>();
    let sum = cells.iter().map(|cell| u128::from(cell.memory_sum)).sum::<u128>();
    let min = cells.iter().map(|cell| cell.memory_least).min()?;
    let max = cells.iter().map(|cell| cell.memory_most).max()?;
    let avg = u64::try_from(sum.checked_div(readings)?).unwrap_or(u64::MAX);
    Some(Course { min, avg, max, minutes: minutes(cells, present, |cell| Some(cell.memory_most)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppm_protocol::Timestamp;

    use crate::event::Pid;

    const MIB: u64 = 1 << 20;

    const RUN: Run = (Pid(7), Mono(0));

    fn at(secs: u64) -> Mono {
        Mono(0) + Duration::from_secs(secs)
    }

    fn reading(secs: u64, cpu_ms: u64, rss: u64) -> Usage {
        Usage { at: at(secs), cpu: Duration::from_millis(cpu_ms), rss, ..Usage::default() }
    }

    fn past(readings: impl IntoIterator<Item = Usage>) -> Past {
        let mut readings = readings.into_iter();
        let first = readings.next().unwrap();
        let mut past = Past::new(RUN, &first);
        past.read(RUN, &first);
        readings.for_each(|usage| past.read(RUN, &usage));
        past
    }

    fn row(past: &Past, secs: u64) -> HistoryRow {
        past.row(Now { mono: at(secs), wall: Timestamp(1_000_000_000_000) }, Some(1), "web")
    }

    /// One reading a minute from the first on, of so much memory.
    fn minutely(memory: impl Fn(u64) -> u64) -> Past {
        past((0..60).map(|minute| reading(minute * 60, 0, memory(minute))))
    }

    #[test]
    fn a_minute_has_the_average_of_its_processor_time_and_the_most_of_its_memory() {
        let past = past([reading(60, 0, 3 * MIB), reading(90, 3000, 5 * MIB), reading(110, 3000, MIB), reading(250, 10_000, 4 * MIB)]);
        let row = row(&past, 299);
        assert_eq!(row.from, Some(Timestamp(1_000_000_000_000 - 239_000)));
        let cpu = row.cpu_percent.unwrap();
        assert_eq!((cpu.min, cpu.avg, cpu.max), (0.0, 5.3, 10.0));
        assert_eq!(cpu.minutes, [Some(6.0), None, None, Some(5.0)]);
        let memory = row.memory_rss.unwrap();
        assert_eq!((memory.min, memory.avg, memory.max), (MIB, 13 * MIB / 4, 5 * MIB));
        assert_eq!(memory.minutes, [Some(5 * MIB), None, None, Some(4 * MIB)]);
    }

    #[test]
    fn one_reading_tells_of_memory_only() {
        let row = row(&past([reading(60, 500, MIB)]), 61);
        assert_eq!((row.cpu_percent, row.memory_rss.map(|memory| memory.avg)), (None, Some(MIB)));
    }

    #[test]
    fn what_is_older_than_an_hour_is_forgotten_and_not_told() {
        let past = past([reading(0, 0, 9 * MIB), reading(60, 0, MIB), reading(3600, 0, 2 * MIB)]);
        assert_eq!(past.cells.len(), 2);
        assert_eq!(row(&past, 3600).memory_rss.unwrap().max, 2 * MIB);
        assert_eq!(row(&past, 3660).memory_rss.unwrap().min, 2 * MIB, "time passes without readings");
        assert_eq!(row(&past, 7200), HistoryRow { id: Some(1), name: "web".to_owned(), ..HistoryRow::default() });
    }

    #[test]
    fn however_often_it_is_read_it_stays_small() {
        let past = past((0..10_000).map(|second| reading(second, second * 10, MIB)));
        assert!(past.cells.len() <= 60, "{}", past.cells.len());
        let bytes = size_of::<Past>() + past.cells.capacity() * size_of::<Cell>();
        assert!(bytes <= 4096, "{bytes} bytes");
    }

    #[test]
    fn a_later_run_begins_at_nothing_and_has_a_peak_of_its_own() {
        let mut past = past([reading(0, 5000, 9 * MIB)]);
        let next = (Pid(7), at(60));
        past.read(next, &reading(60, 10, MIB));
        past.read(next, &reading(70, 1010, 2 * MIB));
        assert_eq!((past.peak, past.run), (2 * MIB, next));
        assert_eq!(row(&past, 70).cpu_percent.unwrap().max, 10.0);
        assert_eq!(row(&past, 70).memory_rss.unwrap().max, 9 * MIB, "the hour is the service's");
    }

    #[test]
    fn steady_growth_is_told_by_the_hour() {
        let growth = row(&minutely(|minute| 100 * MIB + minute * MIB / 5), 3541).growth.unwrap();
        assert_eq!((growth.bytes_per_hour / MIB, growth.over_ms), (12, 57 * 60_000));
        let uneven = row(&minutely(|minute| 100 * MIB + minute * MIB + (minute % 3) * MIB), 3541).growth.unwrap();
        assert_eq!(uneven.bytes_per_hour / MIB, 60);
    }

    #[test]
    fn what_comes_and_goes_starts_or_is_small_is_no_growth() {
        let cases: [(&str, &dyn Fn(u64) -> u64); 6] = [
            ("steady", &|_| 100 * MIB),
            ("a wave", &|minute| (100 + (minute % 20)) * MIB),
            ("shrinking", &|minute| (100 - minute) * MIB),
            ("its start", &|minute| if minute < 2 { MIB * (1 + minute) } else { 100 * MIB }),
            ("one step", &|minute| if minute < 30 { 100 * MIB } else { 200 * MIB }),
            ("noise", &|minute| 100 * MIB + minute * 4096),
        ];
        for (what, memory) in cases {
            assert_eq!(row(&minutely(memory), 3541).growth, None, "{what}");
        }
    }

    #[test]
    fn growth_is_of_one_run_and_not_of_a_few_minutes() {
        let mut past = minutely(|minute| (100 + minute) * MIB);
        let next = (Pid(8), at(3600));
        (60..71).for_each(|minute| past.read(next, &reading(minute * 60, 0, (100 + minute) * MIB)));
        assert_eq!(row(&past, 4260).growth, None, "nine minutes after its start");
        past.read(next, &reading(71 * 60, 0, 171 * MIB));
        assert_eq!(row(&past, 4261).growth, Some(Growth { bytes_per_hour: 60 * MIB, over_ms: 9 * 60_000 }));
    }
}
