//! The modules of the daemon's `logs` that touch nothing, and what they need of their neighbours.

#[path = "../../../crates/ppm-daemon/src/logs/index.rs"]
pub mod index;
#[path = "../../../crates/ppm-daemon/src/logs/lines.rs"]
pub mod lines;
#[path = "../../../crates/ppm-daemon/src/logs/ring.rs"]
pub mod ring;

pub mod file {
    pub const CUT: &[u8] = b" [ppm: this line goes on in the next file]\n";

    pub fn length(bytes: usize) -> u64 {
        bytes as u64
    }
}
