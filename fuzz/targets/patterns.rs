//! Whatever is written as a pattern of files, and whatever files are called: it is refused with its place, or it matches
//! what a slow and simple reading of it matches.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::watch::pattern::{Pattern, What};

fuzz_target!(|input: (bool, &str, &[u8])| {
    let (is_folder, text, path) = input;
    let what = if is_folder { What::Folder } else { What::File };
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(bad) => {
            assert!(text.get(bad.at.clone()).is_some(), "the place {:?} is not in {text:?}", bad.at);
            return;
        }
    };
    let matches = pattern.matches(path, path, what);
    let is_plain = !text.contains(['[', '{', '\\', '/']) && path.is_ascii();
    if is_plain {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let expected = if text == "**" { return } else { slowly(text.as_bytes(), name) };
        assert_eq!(matches, expected, "{text:?} and {:?}", path.escape_ascii().to_string());
    }
    assert!(Pattern::parse(pattern.text()).is_ok_and(|again| again == pattern));
});

/// One row of a table for each byte of the pattern: where in the name it may have come to.
fn slowly(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut bytes = pattern.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'*' {
            let first = reached.iter().position(|here| *here).unwrap_or(reached.len());
            reached[first..].fill(true);
            continue;
        }
        // A character of several bytes is a literal here, and no name has such.
        let step = |at: usize| reached[at] && (byte == b'?' || byte == name[at]);
        let next: Vec<bool> = (0..name.len()).map(step).collect();
        reached = std::iter::once(false).chain(next).collect();
    }
    reached.last().copied().unwrap_or(false)
}
