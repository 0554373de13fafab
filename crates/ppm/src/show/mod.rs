//! Rows as text for people.
//!
//! Pure: width, colour, time zone and the present are in the [`Look`], so every text is known to the letter.
//! Invariant: text from the daemon passes through [`text::clean`] before it is printed, and nothing that is
//! printed needs colour to be understood.

pub mod cron;
pub mod doctor;
pub mod events;
pub mod failure;
pub mod health;
pub mod history;
pub mod info;
pub mod log;
pub mod outcome;
pub mod plans;
pub mod reload;
pub mod runs;
pub mod services;
pub mod spark;
pub mod stats;
mod table;
pub mod text;
pub mod units;
pub mod watched;
pub mod why;

use std::cell::LazyCell;

use anstyle::{AnsiColor, Color, Style};
use jiff::tz::TimeZone;
use ppm_protocol::Timestamp;

/// Runs and is well.
pub const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
/// On its way, or held up.
pub const FAIR: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
/// Needs somebody.
pub const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
/// Of no concern. Never bright black, which many terminals show as black.
pub const QUIET: Style = Style::new().dimmed();
/// What the eye should find.
pub const STRONG: Style = Style::new().bold();
/// As the rest.
pub const PLAIN: Style = Style::new();

/// How things are to look.
#[derive(Debug)]
pub struct Look {
    /// Where the text goes.
    pub medium: Medium,
    /// Whether it may carry colour.
    pub colour: bool,
    /// Whether tables begin with the names of their columns.
    pub headers: bool,
    /// Whether everything is shown, however wide the terminal.
    pub wide: bool,
    /// The zone of times; found when the first time is shown, as that reads files.
    pub zone: LazyCell<TimeZone>,
    /// The present: when the first duration is shown, which may be long after the command began.
    pub now: LazyCell<Timestamp>,
}

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// To a person: dots, cut to the width in columns, if that is known.
    Terminal(Option<usize>),
    /// To a program or a file: always the same columns, `-` for what is not there.
    Pipe,
}

impl Look {
    /// The most columns a line may take; None: as many as it needs.
    fn width(&self) -> Option<usize> {
        match self.medium {
            Medium::Terminal(width) if !self.wide => width,
            Medium::Terminal(_) | Medium::Pipe => None,
        }
    }

    /// The text in a style, if colour is wanted.
    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour && !style.is_plain() && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Noon of 2026-11-23 in UTC, a Monday.
    pub const NOW: &str = "2026-11-23T12:00:00.000Z";

    /// As piped, in UTC.
    pub fn piped() -> Look {
        Look {
            medium: Medium::Pipe,
            colour: false,
            headers: true,
            wide: false,
            zone: LazyCell::new(|| TimeZone::UTC),
            now: LazyCell::new(|| NOW.parse().unwrap()),
        }
    }

    /// As on a terminal of this many columns without colour, in UTC.
    pub fn terminal(width: usize) -> Look {
        Look { medium: Medium::Terminal(Some(width)), ..piped() }
    }

    #[test]
    fn no_style_is_bright_black() {
        for style in [GOOD, FAIR, BAD, QUIET, STRONG, PLAIN] {
            assert_ne!(style.get_fg_color(), Some(Color::Ansi(AnsiColor::BrightBlack)));
        }
    }
}
