//! Whatever processes call themselves and put into their environment: what is read of /proc is theirs alone.
#![no_main]
#![expect(dead_code, reason = "modules of the daemon are here whole")]

use libfuzzer_sys::fuzz_target;
use ppm_core::event::Pid;

#[path = "../../crates/ppm-daemon/src/census.rs"]
mod census;

/// What the census knows of its neighbour.
mod spawn {
    pub const GUEST: &str = "exec";
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (name, rest) = input;
    let _ = census::Stat::parse(Pid(7), rest);
    // The name may hold anything, also parentheses and what looks like other fields; 15 bytes of it are kept.
    let name = &name[..name.len().min(15)];
    let after = b") S 1 7 7 0 -1 4194304 1 2 3 4 11 12 13 14 20 0 3 0 99 8192 5 18446744073709551615 1\n";
    let line = [b"7 (".as_slice(), name, after].concat();
    let stat = census::Stat::parse(Pid(7), &line).unwrap_or_else(|| panic!("not read: {}", line.escape_ascii()));
    assert_eq!((stat.fact.parent, stat.fact.birth.0, stat.cpu, stat.threads), (Pid(1), 99, 23, 3));
    assert!(!stat.is_dead);
    if let Some(mark) = census::Names::below(b"/ppm-1/".to_vec()).mark(rest) {
        assert!(!mark.service.contains('/') && rest.windows(mark.service.len()).any(|part| part == mark.service.as_bytes()));
    }
    if let Some(mark) = census::Mark::parse(rest) {
        let own = [b"PPM_SERVICE=".as_slice(), mark.service.as_bytes()].concat();
        assert!(rest.split(|byte| *byte == 0).any(|variable| variable == own));
    }
});
