//! The two streams: stdout for what was asked for, stderr for what is told beside it.
//!
//! Hints and progress are for a person at a terminal, errors for everybody. Invariant: a reader of stdout who has
//! gone ends the command without a word.

use std::cell::LazyCell;
use std::io::{self, IsTerminal, Write};
use std::{env, fmt};

use anstream::{AutoStream, stream::RawStream};
use clap::ColorChoice;
use jiff::tz::TimeZone;
use ppm_protocol::Timestamp;

use crate::cli::Globals;
use crate::failure::{Code, Failure, Stop};
use crate::show::{self, Look, Medium};
use crate::zone;

/// How a command speaks.
pub struct Streams {
    /// Whether stdout gets JSON.
    pub json: bool,
    /// Whether only what was asked for is said.
    pub quiet: bool,
    /// How text on stdout looks.
    pub look: Look,
    /// Whether a person reads stderr and wants to be told more than errors.
    pub chatty: bool,
    /// Whether errors may carry colour.
    colour: bool,
    /// Finds the zone of times.
    zone: fn() -> TimeZone,
}

impl Streams {
    /// Takes in the global options, the environment and what kind the streams are of.
    pub fn new(globals: &Globals) -> Streams {
        let (out, err) = (io::stdout(), io::stderr());
        let medium = if out.is_terminal() { Medium::Terminal(columns(&out)) } else { Medium::Pipe };
        let zone: fn() -> TimeZone = if globals.utc { || TimeZone::UTC } else { || zone::local(env::var("TZ").ok().as_deref()) };
        let look = Look {
            medium,
            colour: colour(globals.color, &out),
            headers: !globals.no_headers,
            wide: globals.wide,
            zone: LazyCell::new(zone),
            now: LazyCell::new(present),
        };
        let chatty = err.is_terminal() && !globals.quiet;
        Streams { json: globals.json, quiet: globals.quiet, look, chatty, colour: colour(globals.color, &err), zone }
    }

    /// How text on stdout looks by now: a terminal may have been resized, and time has passed.
    pub fn look_again(&self) -> Look {
        let medium = match self.look.medium {
            Medium::Terminal(_) => Medium::Terminal(columns(&io::stdout())),
            Medium::Pipe => Medium::Pipe,
        };
        let Look { colour, headers, wide, .. } = self.look;
        Look { medium, colour, headers, wide, zone: LazyCell::new(self.zone), now: LazyCell::new(present) }
    }

    /// The exit code of a command that ended like this; tells what went wrong.
    pub fn end(&self, outcome: Result<Code, Stop>) -> Code {
        match outcome {
            Ok(code) => code,
            Err(Stop::ReaderGone) => Code::Done,
            Err(Stop::Failed(failure)) => {
                self.complain(&failure);
                failure.code
            }
        }
    }

    /// Prints to stdout, at once and whole.
    pub fn print(&self, text: &str) -> Result<(), Stop> {
        self.print_bytes(text.as_bytes())
    }

    /// The same, of what need not be text.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Stop> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::ReaderGone),
            Err(error) => Err(Failure::unprintable(&error).into()),
        }
    }

    /// Prints a line to stdout.
    pub fn print_line(&self, value: &(impl fmt::Display + ?Sized)) -> Result<(), Stop> {
        self.print(&format!("{value}\n"))
    }

    /// Prints a value to stdout as JSON in one line.
    pub fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Stop> {
        self.print_line(&json(value)?)
    }

    /// Tells a person something beside what was asked for; nobody else hears it.
    pub fn say<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) {
        if self.chatty {
            let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Tells what is right but may surprise, unless told to be quiet.
    pub fn warn(&self, warnings: &[String]) {
        if !self.quiet {
            let _ = io::stderr().write_all(show::failure::warnings(warnings, self.colour).as_bytes());
        }
    }

    /// Tells what went wrong. That stderr cannot be written is nothing that could be told.
    pub fn complain(&self, failure: &Failure) {
        let _ = io::stderr().write_all(show::failure::lines(failure, self.colour).as_bytes());
    }
}

/// The present.
pub fn present() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// Prints to stdout when it is not known how the user wants to be spoken to, and complains to nobody.
pub fn print_alone(text: &str) -> Code {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Code::Done,
        Err(_) => Code::Failed,
    }
}

/// Tells what was typed wrongly, when it is not known how the user wants to be spoken to.
pub fn complain_of_use(failure: &Failure) {
    let colour = colour(ColorChoice::Auto, &io::stderr());
    let _ = io::stderr().write_all(show::failure::lines(failure, colour).as_bytes());
}

/// A value as JSON in one line.
pub fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Code::Failed, error.to_string()))
}

/// The columns of the terminal, else as `COLUMNS` has them.
pub fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let asked = terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
    asked.or_else(|| env::var("COLUMNS").ok()?.parse().ok())
}

/// The lines of the terminal, if they are known.
pub fn lines(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(_, height)| usize::from(height.0)).filter(|height| *height > 0)
}

/// Whether the stream gets colour: what was asked for, else what the environment and the stream say.
fn colour(asked: ColorChoice, stream: &impl RawStream) -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    match asked {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("FORCE_COLOR") && !set("NO_COLOR") => true,
        ColorChoice::Auto => AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}
