//! Whatever is written as a schedule: it is refused with its place, or its times follow one another.
//!
//! The first byte chooses a zone, the next four an hour.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use ppm_core::schedule::Schedule;
use ppm_core::time::Timestamp;
use ppm_core::zone;

/// With two changes of clocks a year, with one of half an hour, with a midnight that is skipped, with a day that was.
const ZONES: [&str; 6] = ["UTC", "Europe/Paris", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca"];

/// So many times are looked at.
const TIMES: usize = 4;

fuzz_target!(|input: (u8, u32, &str)| {
    let (zone, hour, text) = input;
    let zone = zone::named(ZONES[usize::from(zone) % ZONES.len()]).unwrap_or(TimeZone::UTC);
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => {
            let _ = error.to_string();
            assert!(text.get(error.at.clone()).is_some(), "the place {:?} is not in {text:?}", error.at);
            return;
        }
    };
    assert!(!schedule.words().concat().is_empty());
    let again = Schedule::parse(&schedule.text()).unwrap_or_else(|error| panic!("{:?}: {error}", schedule.text()));
    assert!(schedule.has_same_times(&again));
    let mut after = Timestamp(i64::from(hour) * 3_600_000 / 400);
    for _ in 0..TIMES {
        let Some(next) = schedule.next(after, &zone) else { break };
        assert!(next > after, "{next:?} does not follow {after:?}");
        let _ = schedule.note(next, &zone);
        if schedule.period().is_none() {
            assert_eq!(schedule.next(Timestamp(next.0 - 1), &zone), Some(next), "after {after:?}");
        }
        after = next;
    }
});
