//! `ppm` from its arguments to its streams and its exit code, against a make-believe daemon.

mod daemon;
mod help;
mod talk;
mod terminal;
