//! Whatever a stranger writes to the port of `http`: it is waited for, refused, or answered, and the answer is whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::http::{Answer, Asked, MAX_HEAD, Reach};
use ppm_core::report::Report;
use ppm_protocol::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    for reach in [Reach::Local, Reach::Open] {
        match Asked::read(bytes, reach) {
            Ok(None) => assert!(bytes.len() < MAX_HEAD, "a head has an end"),
            Ok(Some(asked)) => {
                let _ = asked.needs();
                check(asked.answer(&report()));
                check(asked.alive());
            }
            Err(answer) => check(answer),
        }
    }
});

fn report() -> Report {
    Report {
        version: "1.2.3".to_owned(),
        pid: 1,
        at: Timestamp(2),
        started: Timestamp(1),
        is_ending: false,
        is_configured: true,
        configured: Timestamp(1),
        services: Vec::new(),
        own: None,
    }
}

/// One head, whose length is that of what follows it, unless that was not wanted.
fn check(answer: Answer) {
    let bytes = answer.into_bytes();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("the head is text");
    assert!(head.starts_with("HTTP/1.1 ") && head.chars().all(|c| c == '\r' || c == '\n' || !c.is_control()), "{head:?}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let body = bytes.len() - end - 4;
    assert!(body == 0 || length == body.to_string(), "{length}, but {body} bytes");
}
