//! The command line of PPM: speaks and shows.
//!
//! What was typed (`cli`) becomes a request (`request`), goes over the socket and back (`client`) and is
//! shown (`show`); `session` strings these together. What needs no daemon is done by `alone`. Nothing here decides
//! anything about services, nothing is asynchronous, and nothing ends the process but the return of `main`.

mod alone;
mod check;
mod cli;
mod client;
mod completion;
mod cron;
mod doctor;
mod editor;
mod elsewhere;
mod exec;
mod export;
mod failure;
mod import;
mod log;
mod probe;
mod progress;
mod request;
mod save;
mod searching;
mod session;
mod show;
mod streams;
mod top;
mod yaml;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::cli::{Cli, Command};
use crate::failure::Code;
use crate::session::Session;
use crate::streams::Streams;

/// Does what the arguments say, the program's own name first, and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(text) = completion::asked(&args) {
        return streams::print_alone(&text).into();
    }
    match Cli::read(&args) {
        Ok(Cli { globals, command }) => match command {
            Command::Daemon(daemon) => {
                ppm_daemon::run(&ppm_daemon::Options { config: daemon.config, socket: globals.socket, command: daemon.command })
            }
            Command::Ask(ask) => Session::new(&globals).perform(ask).into(),
            Command::Alone(alone) => alone::perform(&Streams::new(&globals), alone, globals.socket.as_deref(), args.first()).into(),
        },
        Err(error) => not_understood(&error, &args).into(),
    }
}

/// Help goes to stdout and mistakes to stderr; a reader who has gone is no reason to complain.
fn not_understood(error: &clap::Error, args: &[OsString]) -> Code {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            Code::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Code::Usage
        }
        _ => {
            streams::complain_of_use(&cli::usage::failure(error, args));
            Code::Usage
        }
    }
}
