//! `ppm log`: what is asked of the daemon, and which of its lines are shown.
//!
//! Times, streams and numbers of lines are the daemon's business; what matches is found out here.

use std::collections::VecDeque;

use ppm_protocol::message::ReadLog;
use ppm_protocol::{LogLine, Stream, Timestamp};
use regex_lite::Regex;
use serde_json::value::RawValue;

use crate::cli::{Log, period};
use crate::cron::moment;
use crate::failure::Failure;
use crate::show::Look;

/// How many lines are shown before those that come, when nobody says how many.
const BEFORE_FOLLOWING: usize = 20;

/// The request that is meant.
pub fn request(log: Log, look: &Look) -> Result<ReadLog, Failure> {
    let time = |text: Option<String>| text.map(|text| at(&text, look)).transpose();
    let last = log.last.or(log.follow.then_some(BEFORE_FOLLOWING));
    // Of what matches the last lines are not known before all were looked at.
    let is_known = log.grep.is_none() || log.follow;
    Ok(ReadLog {
        services: log.services,
        last: last.filter(|_| is_known).and_then(|last| u64::try_from(last).ok()),
        follow: log.follow,
        since: time(log.since)?,
        until: time(log.until)?,
        stream: log.stderr.then_some(Stream::Stderr),
    })
}

/// A time, or how long ago it was.
fn at(text: &str, look: &Look) -> Result<Timestamp, Failure> {
    if let Ok(ago) = period(text)
        && !text.contains('-')
    {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(look.now.0.saturating_sub(ago)));
    }
    moment(text, &look.zone).map_err(|failure| failure.hint("or as how long ago it was: 10m, 2h"))
}

/// Which lines are shown, and how.
#[derive(Default)]
pub struct Pickiness {
    grep: Option<Regex>,
    /// With `grep`: so many of the last.
    last: Option<usize>,
    /// Those that may be the last.
    pub kept: VecDeque<Box<RawValue>>,
    /// How many lines were wanted by now.
    pub found: u64,
    /// Whether times are shown.
    pub timestamps: bool,
    /// Whether it may take long until there is something to show.
    pub searches: bool,
}

impl Pickiness {
    /// As it was typed.
    pub fn of(log: &Log) -> Pickiness {
        let last = log.last.filter(|_| log.grep.is_some() && !log.follow);
        let searches = log.grep.is_some() && !log.follow;
        Pickiness { grep: log.grep.clone(), last, kept: VecDeque::new(), found: 0, timestamps: log.timestamps, searches }
    }

    /// Whether a line is shown now.
    pub fn wants(&mut self, raw: &RawValue, line: &LogLine) -> bool {
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&line.message)) {
            return false;
        }
        self.found += 1;
        let Some(last) = self.last else { return true };
        self.kept.push_back(raw.to_owned());
        if self.kept.len() > last {
            self.kept.pop_front();
        }
        false
    }
}
