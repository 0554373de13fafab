//! The supervisor: performs what ppm-core decides.

use std::path::PathBuf;
use std::process::ExitCode;

/// How the daemon was asked to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file asked for; None: look for one.
    pub config: Option<PathBuf>,
    /// The control socket asked for; None: the usual place.
    pub socket: Option<PathBuf>,
}

/// Runs the daemon until it is told to end; the code is the one to exit with.
pub fn run(_options: Options) -> ExitCode {
    ExitCode::SUCCESS
}
