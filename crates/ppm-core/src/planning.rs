//! Planning: from a schedule and the clocks to the next run, and what becomes of one that comes late.
//!
//! The rules are those of cron(8) (and of table A4 of the specification): what a clock that is set, a machine that
//! sleeps or a daemon that is frozen leaves out is made up for once, if the schedule names its times of day and the
//! time left out is not longer than [`CORRECTION`]; what a clock that is set back brings again does not run again.
//! Pure: time and chance are arguments. Invariant: a fire is planned once, never early, and none is planned before one
//! that is over, unless the clock was corrected.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::schedule::{Missed, Schedule};
use crate::time::Timestamp;

/// A clock that is set by more than this was wrong before, and what it showed is forgotten (cron(8)).
pub const CORRECTION: Duration = Duration::from_secs(3 * 3600);

/// A run that comes so late at most is not missed: the finest time of most schedules is the minute.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// A planned run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The time that the schedule means.
    pub fire: Timestamp,
    /// The same, delayed by chance where the schedule asks for it.
    pub at: Timestamp,
}

/// What a plan whose time has come turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// To be run.
    OnTime(Plan),
    /// Missed, and to be run all the same, once.
    CatchUp(Plan),
    /// Missed, and left out.
    Missed(Plan),
}

/// What plans are made from.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// The zone of expressions that name none.
    pub zone: &'a TimeZone,
    /// Uniform over all of u64.
    pub chance: u64,
}

impl Planner<'_> {
    /// The first plan after this time.
    pub fn after(&self, time: Timestamp) -> Option<Plan> {
        self.delayed(self.schedule.next(time, self.zone)?)
    }

    /// The plan that follows on one that is over.
    ///
    /// A period goes on from the time it was planned for, so that starts that come late do not add up.
    pub fn following(&self, over: Plan, now: Timestamp) -> Option<Plan> {
        match self.schedule.period() {
            Some(period) => self.delayed(periods_after(over.fire, period, now.max(over.fire))),
            None => self.after(now.max(over.fire)),
        }
    }

    /// What has become of a plan whose time has come.
    pub fn due(&self, plan: Plan, now: Timestamp) -> Due {
        let options = &self.schedule.options;
        let fire = self.latest(plan.fire, now, |after| self.schedule.next(after, self.zone));
        // Of several that are over the last one counts, and chance has no part in it any more.
        let latest = if fire == plan.fire { plan } else { Plan { fire, at: fire } };
        let patience = options.deadline.unwrap_or(ON_TIME);
        let has_patience = options.deadline.is_none() && self.schedule.period().is_some();
        if has_patience || late(latest.at, now) <= patience {
            return Due::OnTime(latest);
        }
        match options.missed {
            Missed::Once => Due::CatchUp(latest),
            Missed::Skip => Due::Missed(latest),
            Missed::Auto => match self.latest_fixed(plan.fire, now).filter(|fire| late(*fire, now) <= CORRECTION) {
                Some(_) => Due::CatchUp(latest),
                None => Due::Missed(latest),
            },
        }
    }

    /// The plan after the wall clock was set, forward or back by so many milliseconds; `over` is the last one that is over.
    ///
    /// Where a plan is due by now it stays: [`Planner::due`] says what becomes of it. No plan that is over is to be
    /// remembered after a correction.
    pub fn clock_set(&self, plan: Plan, over: Option<Plan>, by: i64, now: Timestamp) -> (Option<Plan>, Option<Plan>) {
        if self.schedule.period().is_some() {
            return (Some(plan.moved(by)), over.map(|over| over.moved(by)));
        }
        let is_correction = by.unsigned_abs() > u64::try_from(CORRECTION.as_millis()).unwrap_or(u64::MAX);
        let is_made_up_for = !is_correction || self.schedule.options.missed == Missed::Once;
        match (by >= 0, is_correction) {
            (true, _) if plan.at > now || is_made_up_for => (Some(plan), over),
            (true, _) | (false, true) => (self.after(now), None),
            (false, false) => {
                let fire = self.schedule.next_unrepeated(now, over.map_or(now, |over| over.fire), self.zone);
                (fire.and_then(|fire| self.delayed(fire)), over)
            }
        }
    }

    /// Delays a fire by chance, but not into the next one.
    fn delayed(&self, fire: Timestamp) -> Option<Plan> {
        let jitter = i64::try_from(self.schedule.options.jitter.as_millis()).unwrap_or(i64::MAX);
        let room = match self.schedule.next(fire, self.zone) {
            Some(next) if jitter > 0 => jitter.min(next.0 - fire.0 - 1),
            Some(_) | None => jitter,
        };
        let delay = (u128::from(self.chance) * (u128::from(room.max(0).unsigned_abs()) + 1)) >> 64;
        Some(Plan { fire, at: Timestamp(fire.0.checked_add(i64::try_from(delay).ok()?)?) })
    }

    /// The last fire up to `now` that is meant as a time of day.
    fn latest_fixed(&self, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let next = |after| self.schedule.next_fixed(after, self.zone);
        let first = next(Timestamp(first.0.saturating_sub(1))).filter(|fire| *fire <= now)?;
        Some(self.latest(first, now, next))
    }

    /// The last fire up to `now`; `first` is one. The span is halved again and again: there may be many fires in it.
    fn latest(&self, first: Timestamp, now: Timestamp, next: impl Fn(Timestamp) -> Option<Timestamp>) -> Timestamp {
        if let Some(period) = self.schedule.period() {
            return Timestamp(periods_after(first, period, now).0.saturating_sub(millis(period)).max(first.0));
        }
        let (mut known, mut end) = (first.0, now.0);
        while known < end {
            let middle = known + (end - known) / 2;
            match next(Timestamp(middle)).filter(|fire| fire.0 <= now.0) {
                Some(fire) => known = fire.0,
                None => end = middle,
            }
        }
        Timestamp(known)
    }
}

impl Plan {
    /// What a period becomes when the wall clock is set: it does not follow it.
    fn moved(self, by: i64) -> Plan {
        Plan { fire: Timestamp(self.fire.0.saturating_add(by)), at: Timestamp(self.at.0.saturating_add(by)) }
    }
}

fn late(planned: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.0.saturating_sub(planned.0)).unwrap_or(0))
}

/// The first of the instants `from`, one period later, and so on, that is later than `now`, but not `from` itself.
fn periods_after(from: Timestamp, period: Duration, now: Timestamp) -> Timestamp {
    let period = millis(period).max(1);
    let past = now.0.saturating_sub(from.0).div_euclid(period).max(0);
    Timestamp(from.0.saturating_add((past + 1).saturating_mul(period)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Options;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}Z").parse().unwrap()
    }

    fn schedule(text: &str, options: Options) -> Schedule {
        Schedule::parse(text).unwrap().with(options)
    }

    fn planner(schedule: &Schedule) -> Planner<'_> {
        Planner { schedule, zone: const { &TimeZone::UTC }, chance: 0 }
    }

    /// What becomes of the first plan after a time when the daemon wakes at another.
    fn due(text: &str, options: Options, from: &str, now: &str) -> (&'static str, String) {
        let schedule = schedule(text, options);
        let plan = planner(&schedule).after(at(from)).unwrap();
        let (what, plan) = match planner(&schedule).due(plan, at(now)) {
            Due::OnTime(plan) => ("on time", plan),
            Due::CatchUp(plan) => ("catch up", plan),
            Due::Missed(plan) => ("missed", plan),
        };
        (what, plan.fire.to_string().get(8..19).unwrap().to_owned())
    }

    #[test]
    fn what_comes_late_is_on_time_for_a_minute_then_made_up_for_if_it_names_its_time() {
        let auto = |text, now| due(text, Options::default(), "01T02:00:00", now);
        let (nightly, five) = ("0 3 * * *", "*/5 * * * *");
        assert_eq!(auto(nightly, "01T03:00:00"), ("on time", "01T03:00:00".into()));
        assert_eq!(auto(nightly, "01T03:01:00"), ("on time", "01T03:00:00".into()));
        assert_eq!(auto(nightly, "01T03:01:01"), ("catch up", "01T03:00:00".into()));
        assert_eq!(auto(nightly, "01T06:00:00"), ("catch up", "01T03:00:00".into()));
        assert_eq!(auto(nightly, "01T06:00:01"), ("missed", "01T03:00:00".into()));
        assert_eq!(auto(nightly, "03T03:00:07"), ("on time", "03T03:00:00".into()));
        assert_eq!(auto(five, "01T02:06:00"), ("on time", "01T02:05:00".into()));
        assert_eq!(auto(five, "01T02:07:00"), ("missed", "01T02:05:00".into()));
        assert_eq!(auto(five, "02T02:25:30"), ("on time", "02T02:25:00".into()));
        assert_eq!(auto("* * * * * *", "01T04:00:00.500"), ("on time", "01T04:00:00".into()));
    }

    #[test]
    fn a_period_is_never_missed_unless_it_has_a_deadline() {
        let every = |deadline, now| due("@every 1h", Options { deadline, ..Options::default() }, "01T02:00:00", now);
        assert_eq!(every(None, "01T03:59:00"), ("on time", "01T03:00:00".into()));
        assert_eq!(every(None, "09T03:59:00"), ("on time", "09T03:00:00".into()));
        let deadline = Some(Duration::from_secs(600));
        assert_eq!(every(deadline, "01T03:10:00"), ("on time", "01T03:00:00".into()));
        assert_eq!(every(deadline, "01T03:10:01"), ("missed", "01T03:00:00".into()));
    }

    #[test]
    fn a_deadline_says_what_is_missed_and_missed_what_then() {
        let deadline = Some(Duration::from_secs(10));
        let with = |missed, text, now| due(text, Options { deadline, missed, ..Options::default() }, "01T02:00:00", now);
        assert_eq!(with(Missed::Skip, "0 3 * * *", "01T03:00:10").0, "on time");
        assert_eq!(with(Missed::Skip, "0 3 * * *", "01T03:00:11").0, "missed");
        assert_eq!(with(Missed::Auto, "0 3 * * *", "01T03:00:11").0, "catch up");
        assert_eq!(with(Missed::Once, "*/5 * * * *", "02T03:00:11").0, "catch up");
        assert_eq!(with(Missed::Once, "0 3 * * *", "02T02:00:00"), ("catch up", "01T03:00:00".into()));
    }

    #[test]
    fn the_clock_is_set() {
        let set = |text: &str, plan: &str, over: Option<&str>, to: &str, by: i64| {
            let schedule = schedule(text, Options::default());
            let [plan, now] = [plan, to].map(at);
            let over = over.map(|over| Plan { fire: at(over), at: at(over) });
            let (plan, over) = planner(&schedule).clock_set(Plan { fire: plan, at: plan }, over, by, now);
            (plan.unwrap().fire.to_string().get(8..19).unwrap().to_owned(), over.is_some())
        };
        let (nightly, five, hour) = ("30 3 * * *", "*/5 * * * *", 3_600_000);
        // Back by no more than three hours: not repeated, but what has not been yet is planned.
        assert_eq!(set(nightly, "02T03:30:00", Some("01T03:30:00"), "01T03:00:00", -hour), ("02T03:30:00".into(), true));
        assert_eq!(set(nightly, "02T03:30:00", None, "01T03:00:00", -hour), ("01T03:30:00".into(), false));
        assert_eq!(set(five, "01T04:05:00", Some("01T04:00:00"), "01T03:01:00", -hour), ("01T03:05:00".into(), true));
        // Back by more: a correction.
        assert_eq!(set(nightly, "02T03:30:00", Some("01T03:30:00"), "01T03:00:00", -4 * hour), ("01T03:30:00".into(), false));
        // Forward: a plan that is due stays for three hours at most, one that is to come always.
        assert_eq!(set(nightly, "01T03:30:00", None, "01T05:00:00", 2 * hour), ("01T03:30:00".into(), false));
        assert_eq!(set(nightly, "01T03:30:00", None, "01T07:00:00", 4 * hour), ("02T03:30:00".into(), false));
        assert_eq!(set(nightly, "01T23:30:00", None, "01T07:00:00", 4 * hour), ("01T23:30:00".into(), false));
        // A period does not look at the wall.
        assert_eq!(set("@every 1h", "01T03:10:00", None, "01T01:00:00", -2 * hour), ("01T01:10:00".into(), false));
    }

    #[test]
    fn chance_delays_by_no_more_than_it_may_and_not_into_the_next() {
        let jitter = |text: &str, jitter, chance| {
            let schedule = schedule(text, Options { jitter: Duration::from_secs(jitter), ..Options::default() });
            let plan = Planner { chance, ..planner(&schedule) }.after(at("01T02:00:00")).unwrap();
            plan.at.0 - plan.fire.0
        };
        assert_eq!([0, u64::MAX / 2, u64::MAX].map(|chance| jitter("0 3 * * *", 30, chance)), [0, 15_000, 30_000]);
        assert_eq!([0, u64::MAX].map(|chance| jitter("* * * * *", 90, chance)), [0, 59_999]);
        assert_eq!(jitter("@every 1m", 90, u64::MAX), 59_999);
        assert_eq!(jitter("0 3 * * *", 0, u64::MAX), 0);
    }
}
