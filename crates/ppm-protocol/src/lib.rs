//! What the daemon and its clients say to each other.
//!
//! Values ([`types`]), messages ([`message`]) and the framing of lines ([`line`]); where the socket lies
//! ([`socket`]) is decided here too, so that both sides agree. This crate performs no I/O and reads no clock.

pub mod line;
pub mod message;
pub mod socket;
pub mod types;
mod word;

pub use message::{ErrorCode, Method, Reply, Request, RpcError, RpcId};
pub use types::*;
pub use word::Word;
