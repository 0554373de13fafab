//! Schedules: which instants a cron-like expression means.

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {}
