//! The command line of PPM.
fn main() {}
