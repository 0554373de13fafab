//! What was typed wrongly, in the words and the form of every other failure.
//!
//! clap finds it; here it is only said: what is wrong, how the command is used, and what to write instead.

use std::error::Error;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};
use ppm_core::names::similar;

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
    failure.hint(remedy(error, command, &whole).unwrap_or_else(|| format!("'{name} --help' tells more")))
}

fn message(error: &clap::Error, name: &str) -> String {
    let arg = said(error, ContextKind::InvalidArg);
    let option = arg.split(' ').next().unwrap_or_default();
    let value = said(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("'{name}' needs {}", missing(error).join(" and ")),
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("'{name}' has no option '{arg}'"),
        ErrorKind::UnknownArgument => format!("'{name}' does not take '{arg}'"),
        ErrorKind::InvalidSubcommand => format!("there is no command '{}'", said(error, ContextKind::InvalidSubcommand)),
        ErrorKind::MissingSubcommand => "there is no command".to_owned(),
        ErrorKind::InvalidValue if value.is_empty() => format!("'{option}' needs a value"),
        ErrorKind::InvalidValue => format!("'{value}' is not a value of '{option}'"),
        ErrorKind::ValueValidation if arg.starts_with('-') => format!("'{option}': {}", reason(error).0),
        ErrorKind::ValueValidation => reason(error).0,
        ErrorKind::TooManyValues => format!("'{option}' takes no value, but '{value}' is given"),
        ErrorKind::ArgumentConflict if arg == said(error, ContextKind::PriorArg) => format!("'{option}' is given twice"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

fn remedy(error: &clap::Error, command: &Command, whole: &Command) -> Option<String> {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => to_add(&missing(error), command),
        ErrorKind::UnknownArgument => to_change(&said(error, ContextKind::InvalidArg), command),
        ErrorKind::InvalidSubcommand => {
            let names = whole.get_subcommands().flat_map(Command::get_name_and_visible_aliases);
            let meant = did_you_mean(&said(error, ContextKind::InvalidSubcommand), names);
            meant.or_else(|| Some("'ppm --help' lists the commands".to_owned()))
        }
        ErrorKind::MissingSubcommand => Some("'ppm --help' lists the commands".to_owned()),
        ErrorKind::InvalidValue => {
            let valid = strings(error, ContextKind::ValidValue);
            let meant = did_you_mean(&said(error, ContextKind::InvalidValue), valid.iter().map(String::as_str));
            meant.or_else(|| (!valid.is_empty()).then(|| format!("write one of {}", valid.join(", "))))
        }
        ErrorKind::ValueValidation => reason(error).1,
        _ => None,
    }
}

/// What to write where something is missing.
fn to_add(missing: &[String], command: &Command) -> Option<String> {
    let first = missing.first()?;
    let values: Vec<String> = command
        .get_arguments()
        .find(|arg| arg.to_string() == *first)
        .map(Arg::get_possible_values)
        .into_iter()
        .flatten()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !values.is_empty() {
        return Some(format!("{} is one of {}", first.split(' ').next().unwrap_or_default(), values.join(", ")));
    }
    match missing.last()?.as_str() {
        "<SERVICE>..." => Some("name services as 'ppm ls' shows them, or 'all'".to_owned()),
        "<COMMAND>..." => Some("write the program and its arguments behind '--'".to_owned()),
        _ => None,
    }
}

/// What to write in place of an argument that the command does not know.
fn to_change(arg: &str, command: &Command) -> Option<String> {
    if let Some(name) = arg.strip_prefix("--") {
        let name = name.split('=').next().unwrap_or_default();
        if name == "all" {
            return Some("write 'all' where services are named".to_owned());
        }
        return similar(name, command.get_arguments().filter_map(Arg::get_long)).map(|meant| format!("did you mean '--{meant}'?"));
    }
    match command.get_name() {
        "add" => Some("write the program and its arguments behind '--'".to_owned()),
        "daemon" => Some("name the configuration with '--config'".to_owned()),
        _ => None,
    }
}

fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    similar(typed, known).map(|meant| format!("did you mean '{meant}'?"))
}

fn said(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}

fn missing(error: &clap::Error) -> Vec<String> {
    strings(error, ContextKind::InvalidArg)
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(several)) => several.clone(),
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
