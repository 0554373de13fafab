//! The command line of PPM: speaks and shows.
//!
//! What was typed (`cli`) becomes a request (`request`), goes over the socket and back (`client`) and is
//! shown (`show`); `session` strings these together. Nothing here decides anything about services, nothing
//! is asynchronous, and nothing ends the process but the return of `main`.

mod cli;
mod client;
mod elsewhere;
mod failure;
mod request;
mod session;
mod show;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Code;
use crate::session::Session;

/// Does what the arguments say, the program's own name first, and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(Cli { globals, command: Command::Daemon(daemon) }) => {
            ppm_daemon::run(&ppm_daemon::Options { config: daemon.config, socket: globals.socket })
        }
        Ok(Cli { globals, command: Command::Ask(ask) }) => Session::new(globals).perform(ask).into(),
        Err(error) => {
            // Help goes to stdout and mistakes to stderr; a reader who has gone is no reason to complain.
            let _ = error.print();
            if error.use_stderr() { Code::Usage.into() } else { Code::Done.into() }
        }
    }
}
