//! `ppm` against a real daemon that runs real services.

// The attribute tells clippy that helpers may unwrap here as tests may.
#[cfg(test)]
mod commands;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod tour;
