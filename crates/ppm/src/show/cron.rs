//! A schedule in words, and its next runs.

use jiff::Zoned;

use super::Look;
use super::text::clean;
use super::units;
use crate::cron::Reading;

/// The words, then a line for each run: when, and in how long.
pub fn reading(reading: &Reading, look: &Look) -> String {
    let mut out = format!("{}\n", clean(&capitalised(&reading.words)));
    for run in &reading.runs {
        let until = units::until(ppm_protocol::Timestamp::from_jiff(run.at.timestamp()), *look.now);
        let note = if run.note.is_empty() { String::new() } else { format!("  ({})", run.note) };
        out.push_str(&format!("  {}  {until}{note}\n", written(&run.at)));
    }
    if reading.is_all && !reading.runs.is_empty() {
        out.push_str("  and then no more\n");
    }
    out
}

/// In columns, whatever the day.
fn written(at: &Zoned) -> String {
    at.strftime("%a %e %b %Y %H:%M:%S %Z").to_string()
}

fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, piped};
    use super::*;

    fn read(text: &str, zone: &str) -> String {
        let now = NOW.parse().unwrap();
        reading(&crate::cron::read(text, Some(zone), None, 3, now, || jiff::tz::TimeZone::UTC).unwrap(), &piped())
    }

    #[test]
    fn a_schedule_is_told_in_words_and_with_its_next_runs() {
        let expected = "
At 09:00, on Monday to Friday (Europe/Paris)
  Tue 24 Nov 2026 09:00:00 CET  in 20h
  Wed 25 Nov 2026 09:00:00 CET  in 1d 20h
  Thu 26 Nov 2026 09:00:00 CET  in 2d 20h
";
        assert_eq!(format!("\n{}", read("0 9 * * 1-5", "Europe/Paris")), expected);
    }

    #[test]
    fn one_that_comes_to_an_end_says_so() {
        let expected = "
At 00:00, on day 1, in January, in 2027 (UTC)
  Fri  1 Jan 2027 00:00:00 UTC  in 38d 12h
  and then no more
";
        assert_eq!(format!("\n{}", read("0 0 0 1 1 * 2027", "UTC")), expected);
    }
}
