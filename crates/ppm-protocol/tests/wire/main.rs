//! The wire, byte for byte: every message, every kind of bad line, and the document that shows them.

#[cfg(test)]
mod bad_lines;
#[cfg(test)]
mod document;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod random;
#[cfg(test)]
mod values;
#[cfg(test)]
mod versions;
