//! The wire, byte for byte: every kind of bad line.

#[cfg(test)]
mod bad_lines;
