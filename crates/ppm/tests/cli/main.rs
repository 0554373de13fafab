//! `ppm` from its arguments to its streams and its exit code, against a make-believe daemon.

// The attribute tells clippy that helpers may unwrap here as tests may.
#[cfg(test)]
mod alone;
#[cfg(test)]
mod change;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod export;
mod help;
#[cfg(test)]
mod import;
mod log;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod wrong;
