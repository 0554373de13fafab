//! Schedules: which instants a cron-like expression means.

use std::fmt;

use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
}

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The field concerned (`minute`), or nothing for the whole.
    pub field: Option<&'static str>,
    /// The part of the text that is wrong.
    pub item: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ScheduleError {}

impl Schedule {
    /// Reads an expression of 5 fields (minute first) or 6 (second first).
    ///
    /// # Errors
    /// Names field, item and reason.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        Ok(Schedule { text: text.trim().to_owned() })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first instant strictly after `after` that it means in `zone`, a whole second; None: never again.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let _ = (after, zone);
        None
    }
}
