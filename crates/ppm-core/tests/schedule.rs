//! Schedules against tables of facts: next fires and refusals as other programs' tests and manuals state them.

#![expect(clippy::disallowed_methods, reason = "how often a property is tried is asked of the environment")]
#![expect(clippy::unwrap_used, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::fmt::Write;

use jiff::SignedDuration;
use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use ppm_core::schedule::Schedule;
use ppm_core::time::Timestamp;
use ppm_core::zone;

#[test]
fn every_row_of_the_table_fires_when_it_says() {
    let mut wrong = String::new();
    for row in rows(include_str!("cases/cron_next.csv")) {
        let [expression, zone, from, wanted @ .., _source, _note] = row.as_slice() else { panic!("{row:?}") };
        let (zone, schedule) = (zone::named(zone).unwrap(), Schedule::parse(expression).unwrap());
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
            "`*/90` would match 0 alone: write `0` if that is meant, `@every 90m` for a period",
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
        ("@every", "`@every ` has no period: nothing is written", "write `@every` and a number and a unit: `10s`, `1m 30s`, `2h`"),
        ("@every 5x", "`@every 5x` has no period: unknown unit `x`", "write `@every` and a number and a unit: `10s`, `1m 30s`, `2h`"),
        ("@every 900ms", "`@every 900ms` is too often", "the shortest period is `1s`"),
        ("CRON_TZ=Paris 0 3 * * *", "`Paris` is not a time zone", "did you mean `Europe/Paris`?"),
        ("@reboots", "`@reboots` is not a schedule", "did you mean `@reboot`?"),
        ("*/5/7 * * * *", "the step in `*/5/7` is not a number (in the minute field)", ""),
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
    let warnings = |text| Schedule::parse(text).unwrap().warnings().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(warnings("0 0 */10 * FRI"), ["`*/10` and `FRI` must both match, as in crontab(5); some programs take either"]);
    assert_eq!(warnings("0 0 1 * 4/2").len(), 1);
    for text in ["0 0 1 * FRI", "0 0 * * FRI", "0 0 */10 * *", "0 0 */10 * +FRI", "*/10 * * * *", "0 0 * * 1-5/2", "0 0 * * */2"] {
        assert!(warnings(text).is_empty(), "{text}");
    }
}

#[test]
fn refusals_name_the_place_of_what_is_wrong() {
    let marked = |text: &str| {
        let at = Schedule::parse(text).unwrap_err().at;
        format!("{}[{}]{}", &text[..at.start], &text[at.clone()], &text[at.end..])
    };
    for wanted in [
        "[61] * * * *",
        "  1,[61],2 * * * *  ",
        "6 [61] 61 * * * *",
        "1 1 1,2 * *,[FRI-MON]",
        "* * * * * * [99]",
        "1[,],2 * * * *",
        "* * * * 1[,]",
        "[,]1 * * * *",
        "* * [+1] * MON",
        "[* * *]",
        " [0 0 30 2 *]",
        "@every [soon]",
        " @every [1ms]",
        "[@dayly]",
        "CRON_TZ=[Pariz] 0 3 * * *",
        "[TZ=] 0 3 * * *",
        " tz=UTC 0 [25] * * *",
        "tz=UTC [0 25 * *]",
        "TZ=UTC @every [x]",
    ] {
        let text = wanted.replace(['[', ']'], "");
        assert_eq!(marked(&text), wanted);
    }
}

#[test]
fn an_expression_may_name_its_zone() {
    let next = |text: &str, zone: Option<&str>| {
        let schedule = Schedule::parse(text).unwrap().in_zone(zone.map(|zone| zone::named(zone).unwrap()));
        schedule.next(instant("2026-07-01T00:00:00Z"), &TimeZone::UTC).unwrap().to_string()
    };
    assert_eq!(next("0 3 * * *", None), "2026-07-01T03:00:00.000Z");
    assert_eq!(next("0 3 * * *", Some("Europe/Paris")), "2026-07-01T01:00:00.000Z");
    assert_eq!(next("CRON_TZ=Asia/Tokyo 0 3 * * *", Some("Europe/Paris")), "2026-07-01T18:00:00.000Z");
    assert_eq!(next("tz=asia/tokyo @daily", None), "2026-07-01T15:00:00.000Z");
}

#[test]
fn of_several_expressions_each_counts() {
    let mut schedule = Schedule::parse("0 3 * * *").unwrap();
    for text in ["0 15 * * SAT", "CRON_TZ=Asia/Tokyo 0 0 1 * *", "@reboot"] {
        schedule = schedule.and(text).unwrap();
    }
    assert_eq!(schedule.text(), "0 3 * * *; 0 15 * * SAT; CRON_TZ=Asia/Tokyo 0 0 1 * *; @reboot");
    assert!(schedule.starts_at_boot());
    let mut fires = Vec::new();
    let mut after = instant("2026-10-30T12:00:00Z");
    for _ in 0..5 {
        after = schedule.next(after, &TimeZone::UTC).unwrap();
        fires.push(after.to_string());
    }
    let wanted = ["10-31T03:00", "10-31T15:00", "10-31T15:00", "11-01T03:00", "11-02T03:00", "11-03T03:00"];
    let wanted: Vec<String> = wanted.into_iter().skip(1).map(|at| format!("2026-{at}:00.000Z")).collect();
    assert_eq!(fires[0], "2026-10-31T03:00:00.000Z");
    assert_eq!(fires[1..], wanted[1..]);
}

#[test]
fn a_period_stands_alone_and_counts_from_where_it_is_asked() {
    let every = Schedule::parse(" @EVERY 1h30m ").unwrap();
    assert_eq!(every.next(Timestamp(1_001), &TimeZone::UTC), Some(Timestamp(5_401_001)));
    assert_eq!(every.period().unwrap().as_secs(), 5400);
    assert_eq!(every.and("0 3 * * *").unwrap_err().reason, "`@every` stands alone");
    assert_eq!(Schedule::parse("0 3 * * *").unwrap().and("@every 1m").unwrap_err().reason, "`@every` stands alone");
    assert_eq!(Schedule::parse("@every 99y").map(|every| every.next(Timestamp(i64::MAX - 5), &TimeZone::UTC)), Ok(None));
}

/// How often a property is tried; `PPM_FUZZ_RUNS` says how many times that.
fn runs(usual: usize) -> usize {
    usual * std::env::var("PPM_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// Whether a day is meant.
type Day = fn(Date) -> bool;

/// An expression whose meaning is known without reading it.
struct Known {
    text: String,
    seconds: Vec<i8>,
    minutes: Vec<i8>,
    hours: Vec<i8>,
    months: Vec<i8>,
    day: Day,
    fixed: bool,
}

impl Known {
    fn any(chance: &mut Chance) -> Known {
        let mut fixed = true;
        let mut field = |min: i8, max: i8| match chance.below(6) {
            0 => {
                fixed = false;
                ("*".to_owned(), (min..=max).collect())
            }
            1 => {
                fixed = false;
                let step = 2 + chance.below(9);
                (format!("*/{step}"), (min..=max).step_by(step).collect())
            }
            2 => {
                let first = min + i8::try_from(chance.below(usize::try_from(max - min).unwrap())).unwrap();
                (format!("{first}-{max}"), (first..=max).collect())
            }
            3 => (format!("{max},{min}"), vec![min, max]),
            _ => {
                let one = min + i8::try_from(chance.below(usize::try_from(max - min).unwrap() + 1)).unwrap();
                (one.to_string(), vec![one])
            }
        };
        let ((second, seconds), (minute, minutes), (hour, hours)) = (field(0, 59), field(0, 59), field(0, 23));
        let (month, months) = match chance.below(4) {
            0 => ("2,OCT", vec![2, 10]),
            1 => ("MAR-11/2", vec![3, 5, 7, 9, 11]),
            _ => ("*", (1..=12).collect()),
        };
        let days: [(&str, Day); 12] = [
            ("* % *", |_| true),
            ("29-31 % *", |date| date.day() >= 29),
            ("* % SUN", |date| date.weekday() == Weekday::Sunday),
            ("? % 7", |date| date.weekday() == Weekday::Sunday),
            ("13 % 5", |date| date.day() == 13 || date.weekday() == Weekday::Friday),
            ("13 % +5", |date| date.day() == 13 && date.weekday() == Weekday::Friday),
            ("*/10 % fri", |date| [1, 11, 21, 31].contains(&date.day()) && date.weekday() == Weekday::Friday),
            ("L % *", |date| date.day() == date.days_in_month()),
            ("L-3 % *", |date| date.day() == date.days_in_month() - 3),
            ("* % SUNL", |date| date.weekday() == Weekday::Sunday && date.day() + 7 > date.days_in_month()),
            ("* % MON#1", |date| date.weekday() == Weekday::Monday && date.day() <= 7),
            ("LW % *", |date| {
                let last = (1..=date.days_in_month()).rev().map(|day| date.with().day(day).build().unwrap());
                last.into_iter().find(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)) == Some(date)
            }),
        ];
        let (days, day) = days[chance.below(days.len())];
        let text = format!("{second} {minute} {hour} {}", days.replace('%', month));
        Known { text, seconds, minutes, hours, months, day, fixed }
    }

    /// The first fire after this instant within 400 days, day by day and time by time.
    fn next(&self, after: jiff::Timestamp, zone: &TimeZone) -> Option<jiff::Timestamp> {
        let mut day = zone.to_datetime(after).date().yesterday().unwrap();
        for _ in 0..402 {
            // What a gap moves may belong to the next day, and an offset may bring the day before the one after.
            let near = [day, day.tomorrow().unwrap()];
            let found = near.into_iter().flat_map(|day| self.of_day(day, zone)).filter(|at| *at > after).min();
            if found.is_some() {
                return found;
            }
            day = day.tomorrow().unwrap();
        }
        None
    }

    fn of_day(&self, day: Date, zone: &TimeZone) -> Vec<jiff::Timestamp> {
        let mut fires = Vec::new();
        if !self.months.contains(&day.month()) || !(self.day)(day) {
            return fires;
        }
        for (hour, minute) in self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute))) {
            for second in &self.seconds {
                let wall = day.at(hour, minute, *second, 0);
                match (zone.to_ambiguous_timestamp(wall).offset(), self.fixed) {
                    (AmbiguousOffset::Unambiguous { offset }, _) => fires.push(offset.to_timestamp(wall).unwrap()),
                    (AmbiguousOffset::Fold { before, .. }, true) => fires.push(before.to_timestamp(wall).unwrap()),
                    (AmbiguousOffset::Fold { before, after }, false) => {
                        fires.extend([before, after].map(|offset| offset.to_timestamp(wall).unwrap()));
                    }
                    (AmbiguousOffset::Gap { .. }, false) => {}
                    (AmbiguousOffset::Gap { before, after }, true) => {
                        let end = zone.preceding(before.to_timestamp(wall).unwrap() + SignedDuration::from_secs(1)).next().unwrap();
                        fires.extend((after.seconds() - before.seconds() <= 3 * 3600).then_some(end.timestamp()));
                    }
                }
            }
        }
        fires
    }
}

/// A slow second opinion, with another's way to find an instant for a time of the wall.
#[test]
fn every_expression_fires_when_a_slow_reading_says() {
    let zones = [
        ("Europe/Paris", "2026-03-28T12:00:00Z"),
        ("Europe/Paris", "2026-10-24T22:00:00Z"),
        ("America/New_York", "2026-10-31T22:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
        ("America/Sao_Paulo", "2018-11-03T12:00:00Z"),
        ("Africa/Casablanca", "2026-02-14T12:00:00Z"),
        ("Pacific/Apia", "2011-12-29T00:00:00Z"),
        ("Asia/Kathmandu", "1985-12-31T00:00:00Z"),
        ("America/Caracas", "2016-04-30T00:00:00Z"),
        ("Africa/Cairo", "2026-04-23T12:00:00Z"),
    ];
    let mut chance = Chance(11);
    let (mut compared, mut found) = (0, 0);
    for _ in 0..runs(50) {
        let known = Known::any(&mut chance);
        let schedule = Schedule::parse(&known.text).unwrap_or_else(|error| panic!("{}: {error}", known.text));
        let (name, from) = zones[chance.below(zones.len())];
        let zone = zone::named(name).unwrap();
        let mut after = Timestamp(instant(from).0 + i64::try_from(chance.below(2 * 86_400_000)).unwrap());
        for _ in 0..4 {
            compared += 1;
            let Some(slow) = known.next(after.to_jiff(), &zone) else {
                let end = Timestamp(after.0 + 400 * 86_400_000);
                assert!(schedule.next(after, &zone).is_none_or(|next| next > end), "{} in {name} after {after}", known.text);
                break;
            };
            found += 1;
            let next = schedule.next(after, &zone).map(|next| next.to_string());
            assert_eq!(next, Some(Timestamp::from_jiff(slow).to_string()), "{} in {name} after {after}", known.text);
            after = Timestamp::from_jiff(slow);
        }
    }
    assert!(found * 10 > compared * 8, "{found} of {compared} fire at all");
}

#[test]
fn whatever_is_typed_nothing_panics_and_time_goes_forward() {
    let mut chance = Chance(7);
    let clock = ["*", "0", "*/7", "1-5", "2-9/3", "4/6", "0,20,21", "23"];
    let day = ["*", "?", "1", "31", "*/10", "L", "LW", "15W", "31W", "L-30", "1-7,L", "20-10"];
    let month = ["*", "2", "feb", "JAN-6", "4/4"];
    let week = ["*", "?", "1", "MON-SUN", "5L", "1#5", "+SAT", "0,7", "*/2", "fri#l"];
    let year = ["", "", "", "*", "2030-2040/3", "1999"];
    let garbage = ["-", "/", ",", "#", "+", "L", "é", "99999999999", "\t", "\0", "*", " ", "@every 1s", "TZ=Asia/Tokyo ", "="];
    let zones = ["UTC", "Europe/Paris", "Pacific/Apia", "America/New_York"].map(|zone| zone::named(zone).unwrap());
    let (mut read, tries) = (0, runs(10_000));
    for _ in 0..tries {
        let mut pick = |from: &[&'static str]| from[chance.below(from.len())];
        let mut text = [pick(&clock), pick(&clock), pick(&clock), pick(&day), pick(&month), pick(&week), pick(&year)].join(" ");
        if chance.below(3) == 0 {
            let at = chance.below(text.len());
            text.insert_str(at, garbage[chance.below(garbage.len())]);
        }
        let schedule = match Schedule::parse(&text) {
            Ok(schedule) => schedule,
            Err(error) => {
                assert!(text.get(error.at.clone()).is_some_and(|part| !part.is_empty()), "{text:?}: {error:?}");
                continue;
            }
        };
        read += 1;
        let after = Timestamp(i64::try_from(chance.below(4_000_000_000)).unwrap() * 1000 + 999);
        if let Some(next) = schedule.next(after, &zones[chance.below(zones.len())]) {
            let is_second = next.0 % 1000 == 0 || schedule.period().is_some();
            assert!(next > after && is_second, "{text} after {after}: {next}");
        }
    }
    assert!(read > tries / 4, "only {read} were schedules");
}

#[test]
fn the_ends_of_time_are_no_trap() {
    let [schedule, fixed] = ["* * * * * *", "0 0 * * *"].map(|text| Schedule::parse(text).unwrap());
    let zone = zone::named("Europe/Paris").unwrap();
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

#[test]
fn schedules_are_told_in_words() {
    let words = [
        ("0 9 * * 1-5", "at 09:00, on Monday to Friday"),
        ("0 3 * * *", "at 03:00"),
        ("15 10 3 * * *", "at 03:10:15"),
        ("0 3,15 * * SAT", "at 03:00 and 15:00, on Saturday"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/7 * * * *", "every 7 minutes, from 0 again each hour"),
        ("*/30 * * * * *", "every 30 seconds"),
        ("* * * * * *", "every second"),
        ("* * * * *", "every minute"),
        ("0 * * * *", "every hour"),
        ("0 */2 * * *", "every 2 hours"),
        ("30 */2 * * *", "at minute 30 of every 2nd hour"),
        ("*/10 9-17 * * MON-FRI", "every 10 minutes from 09:00 to 17:59, on Monday to Friday"),
        ("0-10,30 * * * *", "at minutes 0 to 10 and 30"),
        ("0 0 8-20 * * *", "at 08:00 to 20:00"),
        ("0 0 13 * 5", "at 00:00, on day 13 and on Friday"),
        ("0 0 13 * +5", "at 00:00, on day 13 if that is Friday"),
        ("0 0 */10 * FRI", "at 00:00, on days 1, 11 and so on to 31 if that is Friday"),
        ("0 0 1,15 * *", "at 00:00, on days 1 and 15"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 L-3,15W * *", "at 00:00, 3 days before the last of the month and on the working day nearest to day 15"),
        ("0 0 LW JAN,7-9 *", "at 00:00, on the last working day of the month, in January and July to September"),
        ("0 0 * * MON#1,5L", "at 00:00, on the first Monday of the month and the last Friday of the month"),
        ("0 0 * * SAT,SUN", "at 00:00, on Saturday and Sunday"),
        ("0 0 0 1 1 * 2030-2032,2040", "at 00:00, on day 1, in January, in 2030 to 2032 and 2040"),
        ("@every 90s", "every 1m 30s"),
        ("@reboot", "when the daemon starts"),
        ("TZ=Asia/Tokyo @daily", "at 00:00 (Asia/Tokyo)"),
    ];
    for (text, wanted) in words {
        assert_eq!(Schedule::parse(text).unwrap().words(), [wanted], "{text}");
    }
}

#[test]
fn a_fire_that_a_gap_has_moved_is_noted() {
    let zone = zone::named("Europe/Paris").unwrap();
    let note = |text: &str, from: &str| {
        let schedule = Schedule::parse(text).unwrap();
        let at = schedule.next(instant(from), &zone).unwrap();
        schedule.note(at, &zone)
    };
    assert_eq!(note("30 2 * * *", "2026-03-28T12:00:00Z").unwrap(), "moved: 02:30 does not exist");
    assert_eq!(note("30 2 * * *", "2026-03-29T12:00:00Z"), None);
    assert_eq!(note("0 3 * * *", "2026-03-28T12:00:00Z"), None);
    assert_eq!(note("*/30 * * * *", "2026-03-29T00:59:00Z"), None);
}
