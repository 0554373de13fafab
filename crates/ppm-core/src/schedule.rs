//! Schedules: which instants cron-like expressions mean.
//!
//! The crate `cron` reads the numeric fields; the dialect, the days and the clock are ours: `cron` counts weekdays
//! from 1, joins the two day fields by "and", and loses its way when clocks are put back. Never reads a clock, knows
//! no zone but those it is given or that are built in. Invariant: [`Schedule::next`] is always later than what it was
//! asked after.

mod days;
mod field;
mod times;
mod wall;
mod words;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::value::{DURATION_HINT, read_duration};
use crate::runs;
use crate::spec::{InvalidSpec, shown};
use crate::time::Timestamp;
use crate::zone;
use times::{Pace, Times};

/// The longest expression, in bytes.
const MAX_TEXT: usize = 512;

/// How many expressions a schedule may have: far more than anybody wrote, and a bound for each look at it.
pub const MAX_EXPRESSIONS: usize = 100;

/// Fires are told apart by the second; so is the shortest period.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

/// Expressions that have a name.
const NICKNAMES: [(&str, &str); 8] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
];

/// In front of an expression: the zone it is read in.
const ZONE_PREFIXES: [&str; 2] = ["cron_tz=", "tz="];

/// When a service runs by the clock: one expression or several, each of which counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// At least one.
    expressions: Vec<Expression>,
    /// The zone of expressions that do not name their own; None: the daemon's.
    zone: Option<TimeZone>,
    /// How its runs are run.
    pub options: Options,
}

/// How planned runs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What happens when a run is due while the one before lasts.
    pub overlap: Overlap,
    /// What happens to runs whose time has passed.
    pub missed: Missed,
    /// A run that would begin later than so much is missed; None: what [`crate::planning`] says.
    pub deadline: Option<Duration>,
    /// By how much chance may delay a run; never into the next.
    pub jitter: Duration,
    /// How long a run may last; None: as long as it takes.
    pub timeout: Option<Duration>,
    /// Whether a run that crashes is repeated.
    pub retry: Retry,
    /// Whether it runs also when the daemon starts, or when it comes.
    pub on_start: bool,
    /// How many runs are remembered.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            overlap: Overlap::Restart,
            missed: Missed::Auto,
            deadline: None,
            jitter: Duration::ZERO,
            timeout: None,
            retry: Retry::Policy,
            on_start: false,
            history: runs::USUAL,
        }
    }
}

/// What happens when a run is due while the one before lasts. Never two at a time (R24, R37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The one that lasts is ended first.
    Restart,
    /// The one that is due is left out.
    Skip,
    /// The one that is due waits; one at most does.
    Queue,
}

/// What happens to a run whose time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It is made up for if it names its time of day, as cron(8) does.
    Auto,
    /// It is left out.
    Skip,
    /// It is made up for in any case, once, also when the daemon was not there at its time.
    Once,
}

/// Whether a planned run that crashes is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// As the service's restart policy says.
    Policy,
    /// Not before the next planned time.
    Never,
}

impl Overlap {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Overlap::Restart => "restart",
            Overlap::Skip => "skip",
            Overlap::Queue => "queue",
        }
    }
}

impl Missed {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Missed::Auto => "auto",
            Missed::Skip => "skip",
            Missed::Once => "once",
        }
    }
}

impl Retry {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Retry::Policy => "policy",
            Retry::Never => "never",
        }
    }
}

/// One expression.
#[derive(Clone, Debug, PartialEq)]
struct Expression {
    text: String,
    zone: Option<TimeZone>,
    when: When,
}

/// What an expression means.
#[derive(Clone, Debug, PartialEq)]
enum When {
    /// Times of the calendar.
    Times(Box<Times>),
    /// `@every`: again and again after this long.
    Every(Duration),
    /// `@reboot`: once, when the daemon starts.
    Boot,
}

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The field concerned (`minute`); None: the expression as a whole.
    pub field: Option<&'static str>,
    /// The part of the text that is wrong.
    pub item: String,
    /// Where it stands in the text, in bytes.
    pub at: Range<usize>,
    /// What is wrong with it, in words that stand alone.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ScheduleError {
    fn new(item: &str, reason: impl Into<String>) -> Self {
        ScheduleError { field: None, item: item.to_owned(), at: 0..0, reason: reason.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        ScheduleError { hint: Some(hint.into()), ..self }
    }

    /// The same, its place being this part of the text.
    fn within(self, text: &str, part: &str) -> Self {
        let begin = text.find(part).unwrap_or_default();
        ScheduleError { at: begin..begin + part.len(), ..self }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{} (in the {field} field)", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl From<ScheduleError> for InvalidSpec {
    fn from(error: ScheduleError) -> Self {
        InvalidSpec { message: error.to_string(), hint: error.hint }
    }
}

impl Schedule {
    /// Reads one expression: 5 fields (minute first), 6 (second first), 7 (second first, year last), a nickname like
    /// `@daily`, `@every 90s` or `@reboot`. `CRON_TZ=Europe/Paris` may stand in front.
    ///
    /// # Errors
    /// The first thing that is wrong; also when no date can ever match.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        Ok(Schedule { expressions: vec![Expression::parse(text)?], zone: None, options: Options::default() })
    }

    /// The same schedule with one more expression.
    ///
    /// # Errors
    /// What is wrong with the expression, or with it beside the others.
    pub fn and(mut self, text: &str) -> Result<Schedule, ScheduleError> {
        let expression = Expression::parse(text)?;
        let whole = |reason: &str| ScheduleError { at: 0..text.len(), ..ScheduleError::new(text, reason) };
        if self.expressions.len() >= MAX_EXPRESSIONS {
            return Err(whole("there are too many expressions").hint(format!("use at most {MAX_EXPRESSIONS}")));
        }
        let is_period = |expression: &Expression| matches!(expression.when, When::Every(_));
        if is_period(&expression) || self.expressions.iter().any(is_period) {
            return Err(whole("`@every` stands alone").hint("use several services, or expressions with fields"));
        }
        self.expressions.push(expression);
        Ok(self)
    }

    /// The same schedule, run in this way.
    pub fn with(self, options: Options) -> Schedule {
        Schedule { options, ..self }
    }

    /// The same schedule, read in this zone where an expression does not name its own.
    pub fn in_zone(self, zone: Option<TimeZone>) -> Schedule {
        Schedule { zone, ..self }
    }

    /// The expressions as written, without white space around them.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.expressions.iter().map(|expression| expression.text.as_str())
    }

    /// All expressions in one line.
    pub fn text(&self) -> String {
        self.texts().collect::<Vec<_>>().join("; ")
    }

    /// The same with the zone written beside them.
    pub fn rule(&self) -> String {
        let zone = self.zone.as_ref().map(|zone| format!(" {}", zone::name_of(zone)));
        self.text() + &zone.unwrap_or_default()
    }

    /// The zone written beside the expressions.
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// The zone that its only expression names.
    pub fn only_zone(&self) -> Option<&TimeZone> {
        match self.expressions.as_slice() {
            [only] => only.zone.as_ref(),
            _ => None,
        }
    }

    /// What may not mean what its author thinks; empty for nearly every schedule.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.expressions.iter().flat_map(Expression::warnings).map(String::as_str)
    }

    /// The period, for `@every`.
    pub fn period(&self) -> Option<Duration> {
        self.expressions.iter().find_map(|expression| match expression.when {
            When::Every(period) => Some(period),
            When::Times(_) | When::Boot => None,
        })
    }

    /// Whether it means the start of the daemon too, or the moment when the service comes: `@reboot`, `on_start`.
    pub fn starts_at_boot(&self) -> bool {
        self.options.on_start || self.expressions.iter().any(|expression| matches!(expression.when, When::Boot))
    }

    /// The first instant strictly after `after` that is meant; None: never again. `@every` counts from `after`.
    ///
    /// Expressions without a zone of their own are read in `zone`. Times that a zone skips or repeats follow
    /// crontab(5): fixed times fire once, at the end of a gap of up to 3 hours or in the first pass of an overlap;
    /// intervals fire whenever the clock shows a matching time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.next_by(zone, |_| Some(after))
    }

    /// As [`Schedule::next`], of the expressions that name their times of day.
    pub fn next_fixed(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.next_by(zone, |expression| expression.is_fixed().then_some(after))
    }

    /// The first instant after `now` that is meant, the clock having been set back: up to `over` fixed times have been.
    pub fn next_unrepeated(&self, now: Timestamp, over: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.next_by(zone, |expression| Some(if expression.is_fixed() { now.max(over) } else { now }))
    }

    /// Whether both mean the same times, delayed in the same way.
    pub fn has_same_times(&self, other: &Schedule) -> bool {
        self.expressions == other.expressions && self.zone == other.zone && self.options.jitter == other.options.jitter
    }

    fn next_by(&self, zone: &TimeZone, after: impl Fn(&Expression) -> Option<Timestamp>) -> Option<Timestamp> {
        let default = self.zone.as_ref().unwrap_or(zone);
        self.expressions.iter().filter_map(|expression| expression.next(after(expression)?, default)).min()
    }
}

impl Expression {
    fn is_fixed(&self) -> bool {
        match &self.when {
            When::Times(times) => times.pace() == Pace::Fixed,
            When::Every(_) | When::Boot => false,
        }
    }

    fn parse(text: &str) -> Result<Expression, ScheduleError> {
        if text.len() > MAX_TEXT {
            let error = ScheduleError::new("", format!("a schedule of {} bytes is too long", text.len()));
            return Err(ScheduleError { at: 0..text.len(), ..error.hint(format!("use at most {MAX_TEXT} bytes")) });
        }
        let (zone, bare) = read_zone(text)?;
        let offset = text.len() - bare.len();
        let when = When::parse(bare).map_err(|error| {
            let at = if error.at.is_empty() { 0..bare.trim_end().len() } else { error.at.clone() };
            ScheduleError { at: at.start + offset..at.end + offset, ..error }
        })?;
        Ok(Expression { text: text.trim().to_owned(), zone, when })
    }

    fn warnings(&self) -> &[String] {
        match &self.when {
            When::Times(times) => times.warnings(),
            When::Every(_) | When::Boot => &[],
        }
    }

    fn next(&self, after: Timestamp, default: &TimeZone) -> Option<Timestamp> {
        match &self.when {
            When::Times(times) => times.next(after, self.zone.as_ref().unwrap_or(default)),
            When::Every(period) => after.0.checked_add(i64::try_from(period.as_millis()).ok()?).map(Timestamp),
            When::Boot => None,
        }
    }
}

impl When {
    fn parse(text: &str) -> Result<When, ScheduleError> {
        let word = text.split_ascii_whitespace().next().unwrap_or_default();
        if !word.starts_with('@') {
            return Times::parse(text).map(|times| When::Times(Box::new(times)));
        }
        if word.eq_ignore_ascii_case("@every") {
            let written = text.get(word.len()..).unwrap_or_default().trim();
            let place = |error: ScheduleError| error.within(text, if written.is_empty() { word } else { written });
            return read_period(written).map(When::Every).map_err(place);
        }
        if text.trim().eq_ignore_ascii_case("@reboot") {
            return Ok(When::Boot);
        }
        Times::parse(expand_nickname(text.trim())?).map(|times| When::Times(Box::new(times)))
    }
}

/// A zone in front of the expression, and what follows it, from its first letter on.
fn read_zone(text: &str) -> Result<(Option<TimeZone>, &str), ScheduleError> {
    let text_begins = text.trim_start();
    let word = text_begins.split_ascii_whitespace().next().unwrap_or_default();
    let prefix = ZONE_PREFIXES.iter().find(|prefix| word.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)));
    let Some(prefix) = prefix else { return Ok((None, text_begins)) };
    let name = word.get(prefix.len()..).unwrap_or_default();
    let zone = zone::named(name).map_err(|InvalidSpec { message, hint }| {
        let error = ScheduleError { hint, ..ScheduleError::new(name, message) };
        error.within(text, if name.is_empty() { word } else { name })
    })?;
    Ok((Some(zone), text_begins.get(word.len()..).unwrap_or_default().trim_start()))
}

/// What follows `@every`.
fn read_period(written: &str) -> Result<Duration, ScheduleError> {
    let period = read_duration(written).map_err(|why| {
        let error = ScheduleError::new(written, format!("`@every {}` has no period: {why}", shown(written)));
        error.hint(DURATION_HINT.replace("write", "write `@every` and").as_str())
    })?;
    if period < SHORTEST_PERIOD {
        return Err(ScheduleError::new(written, format!("`@every {}` is too often", shown(written))).hint("the shortest period is `1s`"));
    }
    Ok(period)
}

fn expand_nickname(text: &str) -> Result<&'static str, ScheduleError> {
    let known = NICKNAMES.iter().find(|(nickname, _)| nickname.eq_ignore_ascii_case(text));
    known.map(|(_, expression)| *expression).ok_or_else(|| {
        let all = NICKNAMES.iter().map(|(nickname, _)| *nickname).chain(["@every 90s", "@reboot"]);
        let near = crate::names::similar(&text.to_ascii_lowercase(), all);
        let hint =
            near.map_or_else(|| "write fields, or `@daily`, `@hourly` and the like".into(), |near| format!("did you mean `{near}`?"));
        ScheduleError::new(text, format!("`{}` is not a schedule", shown(text))).hint(hint)
    })
}
