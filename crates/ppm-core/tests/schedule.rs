//! Schedules against tables of facts: next fires and refusals as other programs' tests and manuals state them.

#![expect(clippy::unwrap_used, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::fmt::Write;

use jiff::tz::TimeZone;
use ppm_core::schedule::Schedule;
use ppm_core::time::Timestamp;

#[test]
fn every_row_of_the_table_fires_when_it_says() {
    let mut wrong = String::new();
    for row in rows(include_str!("cases/cron_next.csv")) {
        let [expression, zone, from, wanted @ .., _source, _note] = row.as_slice() else { panic!("{row:?}") };
        let (zone, schedule) = (TimeZone::get(zone).unwrap(), Schedule::parse(expression).unwrap());
        let mut after = instant(from);
        for wanted in wanted.iter().take_while(|wanted| !wanted.is_empty()) {
            match schedule.next(after, &zone) {
                Some(next) if next == instant(wanted) => after = next,
                other => {
                    let other = other.map(|next| next.to_jiff().to_zoned(zone.clone()).to_string());
                    writeln!(wrong, "{expression}: after {from} wanted {wanted}, got {other:?}").unwrap();
                    break;
                }
            }
        }
        if wanted.iter().any(String::is_empty) && schedule.next(after, &zone).is_some() {
            writeln!(wrong, "{expression} fires again").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_wrong_row_is_refused() {
    for row in rows(include_str!("cases/cron_invalid.csv")) {
        let [expression, why, _source] = row.as_slice() else { panic!("{row:?}") };
        assert!(Schedule::parse(expression).is_err(), "{expression}: {why}");
    }
}

#[test]
fn every_nickname_and_every_upper_case_is_read() {
    let same =
        [("@DAILY", "0 0 * * *"), ("@Minutely", "* * * * *"), ("0 0 L DEC FRI", "0 0 l december friday"), ("0 0 ? * ?", "0 0 * * *")];
    let from = instant("2026-01-01T00:00:00Z");
    for (one, other) in same {
        let next = |text| Schedule::parse(text).unwrap().next(from, &TimeZone::UTC);
        assert_eq!(next(one), next(other), "{one}");
    }
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    let refusals = [
        ("", "a schedule must not be empty", "write 5 fields (minute hour day month weekday), or 6 with seconds in front"),
        ("5", "a schedule cannot have 1 field", "write 5 fields (minute hour day month weekday), or 6 with seconds in front"),
        ("61 * * * *", "`61` is not within 0-59 (in the minute field)", ""),
        ("61 * * * * *", "`61` is not within 0-59 (in the second field)", ""),
        ("* * 0 * *", "`0` is not within 1-31 (in the day-of-month field)", ""),
        (
            "*/90 * * * *",
            "the step 90 does not fit in 0-59 (in the minute field)",
            "`*/90` would match 0 alone; if that is meant, write `0`",
        ),
        ("*/0 * * * *", "the step in `*/0` is 0 (in the minute field)", "steps begin at 1"),
        ("/5 * * * *", "`/5` has nothing before the `/` (in the minute field)", "write `*/5`"),
        ("1,,2 * * * *", "an item of a list is empty (in the minute field)", "remove the comma that is too many"),
        ("* 22-2 * * *", "the range `22-2` runs backwards (in the hour field)", "write `22-23,0-2`"),
        ("* * * NOV-FEB *", "the range `NOV-FEB` runs backwards (in the month field)", "write `NOV-DEC,JAN-FEB`"),
        ("* * * * FRI-MON", "the range `FRI-MON` runs backwards (in the day-of-week field)", "write `FRI-SUN,MON`"),
        ("* * * * 5-2", "the range `5-2` runs backwards (in the day-of-week field)", "write `5-7,1-2`"),
        ("* * * * tuseday", "`tuseday` is not a number or a name (in the day-of-week field)", "did you mean `tuesday`?"),
        ("x * * * *", "`x` is not a number (in the minute field)", ""),
        ("* * +1 * MON", "`+` belongs in front of the day-of-week field (in the day-of-month field)", "write it as in `1 * +MON`"),
        ("* * * * L", "`L` needs one weekday before the `L` (in the day-of-week field)", "write `5L` for the last Friday"),
        ("0 0 31 4 *", "`0 0 31 4 *` never fires: there is no such date", "look at the days and months: February has at most 29 days"),
        ("@every 5m", "`@every` is not supported yet in a schedule", ""),
        ("@reboot", "`@reboot` is not supported yet in a schedule", "leave `schedule` out: services start with the daemon"),
        ("CRON_TZ=Europe/Paris 0 3 * * *", "`CRON_TZ=` is not supported yet in a schedule", ""),
        ("@dayly", "`@dayly` is not a schedule", "did you mean `@daily`?"),
    ];
    for (text, message, hint) in refusals {
        let error = Schedule::parse(text).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.hint.as_deref().unwrap_or_default()), (message, hint), "{text}");
    }
    assert!(Schedule::parse(&format!("{} * * * *", "1,".repeat(300))).unwrap_err().to_string().contains("too long"));
}

#[test]
fn what_programs_read_differently_is_warned_about() {
    let warnings = |text| Schedule::parse(text).unwrap().warnings().to_vec();
    assert_eq!(warnings("0 0 */10 * FRI"), ["`*/10` and `FRI` must both match, as in crontab(5); some programs take either"]);
    assert_eq!(warnings("0 0 1 * 4/2").len(), 1);
    for text in ["0 0 1 * FRI", "0 0 * * FRI", "0 0 */10 * *", "0 0 */10 * +FRI", "*/10 * * * *", "0 0 * * 1-5/2", "0 0 * * */2"] {
        assert!(warnings(text).is_empty(), "{text}");
    }
}

/// A slow second opinion: every minute of the days around a change of the clocks is asked whether it fires. What wall
/// times match is taken from UTC, where the tables above hold and no clock ever changes.
#[test]
fn around_every_change_of_the_clocks_the_minutes_agree() {
    let changes = [
        ("Europe/Paris", "2026-03-28T12:00:00Z"),
        ("Europe/Paris", "2026-10-24T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
        ("America/Sao_Paulo", "2018-11-03T12:00:00Z"),
        ("Africa/Casablanca", "2026-02-14T12:00:00Z"),
        ("Pacific/Apia", "2011-12-29T00:00:00Z"),
        ("Asia/Kathmandu", "1985-12-31T00:00:00Z"),
    ];
    let expressions = [
        "30 2 * * *",
        "15 2,3 * * *",
        "0 0 * * *",
        "45 1 * * *",
        "*/20 * * * *",
        "7 */2 * * *",
        "1-59/9 0-4 * * *",
        "30 0-23 * * *",
        "* 1-3 * * *",
        "0 12 30 * *",
        "0 0 29-31 * SUN",
        "59 23 * * *",
    ];
    for (zone_name, from) in changes {
        let zone = TimeZone::get(zone_name).unwrap();
        for text in expressions {
            let schedule = Schedule::parse(text).unwrap();
            let fixed = !text.split(' ').take(2).any(|field| field.starts_with('*'));
            let (mut after, end) = (instant(from), instant(from).0 + 2 * 86_400_000);
            for minute in (after.0..end).step_by(60_000).skip(1) {
                if fires(&schedule, &zone, minute / 1000, fixed) {
                    let next = schedule.next(after, &zone).unwrap();
                    assert_eq!(next.to_string(), Timestamp(minute).to_string(), "{text} in {zone_name}");
                    after = next;
                }
            }
            assert!(schedule.next(after, &zone).unwrap().0 >= end, "{text} in {zone_name} fires once more");
        }
    }
}

fn fires(schedule: &Schedule, zone: &TimeZone, at: i64, fixed: bool) -> bool {
    let offset = |at: i64| i64::from(zone.to_offset(Timestamp(at * 1000).to_jiff()).seconds());
    let matches = |wall: i64| schedule.next(Timestamp(wall * 1000 - 1), &TimeZone::UTC) == Some(Timestamp(wall * 1000));
    let wall = at + offset(at);
    if !fixed {
        return matches(wall);
    }
    let passed_before = || (1..=180).any(|ago| at - ago * 60 + offset(at - ago * 60) == wall);
    let left_out = (at - 60 + offset(at - 60) + 60..wall).step_by(60);
    let after_gap = left_out.clone().count() <= 180 && left_out.clone().any(matches);
    matches(wall) && !passed_before() || after_gap
}

#[test]
fn whatever_is_typed_nothing_panics_and_time_goes_forward() {
    let mut chance = Chance(7);
    let clock = ["*", "0", "*/7", "1-5", "2-9/3", "4/6", "0,20,21", "23"];
    let day = ["*", "?", "1", "31", "*/10", "L", "LW", "15W", "31W", "L-30", "1-7,L", "20-10"];
    let month = ["*", "2", "feb", "JAN-6", "4/4"];
    let week = ["*", "?", "1", "MON-SUN", "5L", "1#5", "+SAT", "0,7", "*/2", "fri#l"];
    let year = ["", "", "", "*", "2030-2040/3", "1999"];
    let garbage = ["-", "/", ",", "#", "+", "L", "é", "99999999999", "\t", "\0", "*", " "];
    let zones = ["UTC", "Europe/Paris", "Pacific/Apia", "America/New_York"].map(|zone| TimeZone::get(zone).unwrap());
    let mut read = 0;
    for _ in 0..10_000 {
        let mut pick = |from: &[&'static str]| from[chance.below(from.len())];
        let mut text = [pick(&clock), pick(&clock), pick(&clock), pick(&day), pick(&month), pick(&week), pick(&year)].join(" ");
        if chance.below(3) == 0 {
            let at = chance.below(text.len());
            text.insert_str(at, garbage[chance.below(garbage.len())]);
        }
        let Ok(schedule) = Schedule::parse(&text) else { continue };
        read += 1;
        let after = Timestamp(i64::try_from(chance.below(4_000_000_000)).unwrap() * 1000 + 999);
        if let Some(next) = schedule.next(after, &zones[chance.below(zones.len())]) {
            assert!(next > after && next.0 % 1000 == 0, "{text} after {after}: {next}");
        }
    }
    assert!(read > 3000, "only {read} were schedules");
}

#[test]
fn the_ends_of_time_are_no_trap() {
    let [schedule, fixed] = ["* * * * * *", "0 0 * * *"].map(|text| Schedule::parse(text).unwrap());
    let zone = TimeZone::get("Europe/Paris").unwrap();
    for after in [i64::MIN, i64::MAX, Timestamp::from_jiff(jiff::Timestamp::MAX).0, Timestamp::from_jiff(jiff::Timestamp::MIN).0 - 1001] {
        assert_eq!(schedule.next(Timestamp(after), &zone), None, "{after}");
        assert_eq!(fixed.next(Timestamp(after), &zone), None, "{after}");
    }
    assert_eq!(schedule.next(Timestamp(-1), &zone), Some(Timestamp(0)));
    assert_eq!(schedule.next(Timestamp(0), &zone), Some(Timestamp(1000)));
}

/// A small generator of the numbers that tests need; the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn instant(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().unwrap())
}

/// The rows of a comma-separated file without its head; fields may be in double quotes.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().skip(1).map(fields).collect()
}

fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}
