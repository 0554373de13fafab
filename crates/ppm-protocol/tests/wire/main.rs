//! The wire, byte for byte: every message, and every kind of bad line.

#[cfg(test)]
mod bad_lines;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod random;
#[cfg(test)]
mod values;
