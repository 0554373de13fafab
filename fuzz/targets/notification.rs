//! Whatever a service sends to NOTIFY_SOCKET: what is kept of it is short and moves no cursor.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ppm_core::notification::Notification;

const LONGEST_STATUS: usize = 120;
const YEAR_AND_A_DAY: Duration = Duration::from_secs(366 * 86_400);

fuzz_target!(|message: &[u8]| {
    let told = Notification::parse(message);
    if let Some(status) = &told.status {
        assert!(status.chars().count() <= LONGEST_STATUS && !status.contains(char::is_control), "{status:?}");
    }
    for time in [told.patience, told.more_time].into_iter().flatten() {
        assert!(time <= YEAR_AND_A_DAY);
    }
    assert_ne!(told.patience, Some(Duration::ZERO), "a watchdog without patience");
    let again = [message, b"\n".as_slice(), message].concat();
    assert_eq!(Notification::parse(&again), told, "said twice it means the same");
});
