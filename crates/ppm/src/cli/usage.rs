//! What was typed wrongly, in the words and the form of every other failure.
//!
//! clap finds it; here it is only said: what is wrong, how the command is used, and what to write instead.

use std::error::Error;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use super::Cli;
use crate::failure::{Code, Failure};

/// The failure that clap's error is. `args` are all that was typed, the program's own name first.
pub fn failure(error: &clap::Error, args: &[OsString]) -> Failure {
    let mut whole = Cli::command();
    whole.build();
    let command = args.iter().skip(1).find_map(|arg| whole.find_subcommand(arg)).unwrap_or(&whole);
    let name = command.get_bin_name().unwrap_or("ppm");
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().next().unwrap_or_default();
    let failure = Failure::new(Code::Usage, message(error, name)).fact(format!("usage: {usage}"));
    failure.hint(remedy(error, command).unwrap_or_else(|| format!("'{name} --help' tells more")))
}

fn message(error: &clap::Error, name: &str) -> String {
    let said = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let arg = said(ContextKind::InvalidArg);
    let value = said(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("'{name}' needs {}", strings(error, ContextKind::InvalidArg).join(" and ")),
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("'{name}' has no option '{arg}'"),
        ErrorKind::UnknownArgument => format!("'{name}' does not take '{arg}'"),
        ErrorKind::InvalidSubcommand => format!("there is no command '{}'", said(ContextKind::InvalidSubcommand)),
        ErrorKind::MissingSubcommand => "there is no command".to_owned(),
        ErrorKind::InvalidValue if value.is_empty() => format!("'{arg}' needs a value"),
        ErrorKind::InvalidValue => format!("'{value}' is not a value of '{arg}'"),
        ErrorKind::ValueValidation => format!("'{arg}': {}", reason(error).0),
        ErrorKind::TooManyValues => format!("'{arg}' takes no value, but '{value}' is given"),
        ErrorKind::ArgumentConflict if arg == said(ContextKind::PriorArg) => format!("'{arg}' is given twice"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

fn remedy(error: &clap::Error, command: &Command) -> Option<String> {
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    if let Some(meant) = suggested.into_iter().find_map(|kind| strings(error, kind).into_iter().next()) {
        return Some(format!("did you mean '{meant}'?"));
    }
    let missing = strings(error, ContextKind::InvalidArg).join(" ");
    let takes_command = command.get_name() == "add";
    match error.kind() {
        ErrorKind::MissingRequiredArgument if missing.contains("<SERVICE>") => {
            Some("name services as 'ppm ls' shows them, or 'all'".to_owned())
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument if takes_command && !missing.contains("--") => {
            Some("write the program and its arguments behind '--'".to_owned())
        }
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => Some("'ppm --help' lists the commands".to_owned()),
        ErrorKind::InvalidValue => match strings(error, ContextKind::ValidValue).as_slice() {
            [] => None,
            valid => Some(format!("write one of {}", valid.join(", "))),
        },
        ErrorKind::ValueValidation => reason(error).1,
        _ => None,
    }
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(several)) => several.clone(),
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(_) | None => Vec::new(),
    }
}

/// What the reader of a value said: what is wrong, and on a second line what to write.
fn reason(error: &clap::Error) -> (String, Option<String>) {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    match said.split_once('\n') {
        Some((wrong, instead)) => (wrong.to_owned(), Some(instead.to_owned())),
        None => (said, None),
    }
}
