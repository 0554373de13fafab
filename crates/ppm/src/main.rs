//! The program `ppm`: hands what was typed to the library, and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    ppm::run(std::env::args_os())
}
