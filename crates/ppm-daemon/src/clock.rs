//! The two clocks, and an alarm on the wall clock that notices when it is set.
//!
//! The alarm is one timerfd, made when the first service has a schedule: a daemon without schedules has none. It
//! fires at a time of the wall clock whatever happens to that clock, also after a suspend, and at once when
//! somebody sets it (timerfd_create(2): TFD_TIMER_CANCEL_ON_SET; R36).

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use ppm_core::time::{Mono, Now, Timestamp};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::host;

/// Where timers on the wall clock are refused it is looked at this often.
const SLICE: Duration = Duration::from_secs(30);

/// The present, by both clocks.
pub fn now() -> Now {
    let read = |clock| clock_gettime(clock).unwrap_or_else(|_| TimeSpec::seconds(0));
    let mono = read(nix::time::ClockId::CLOCK_MONOTONIC).num_nanoseconds();
    let wall = read(nix::time::ClockId::CLOCK_REALTIME).num_milliseconds();
    Now { mono: Mono(u64::try_from(mono).unwrap_or(0)), wall: Timestamp(wall) }
}

/// Sleeps until a monotonic instant; for ever without one.
pub async fn sleep_until(deadline: Option<Mono>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(Instant::now() + at.since(now().mono)).await,
        None => std::future::pending().await,
    }
}

/// Why the alarm went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rang {
    /// The time has come.
    Due,
    /// Somebody set the clock, or may have.
    Stepped,
}

/// The alarm on the wall clock.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<AsyncFd<Timer>>,
    armed: Option<Timestamp>,
}

impl Alarm {
    /// Sets the alarm; None silences it.
    pub fn set(&mut self, at: Option<Timestamp>) {
        if at == self.armed {
            return;
        }
        self.armed = at;
        if self.timer.is_none() {
            self.timer = Timer::new().and_then(host::readiness_of).ok();
        }
        let armed = self.timer.as_ref().map_or(Ok(()), |timer| timer.get_ref().arm(at));
        if armed.is_err() {
            self.timer = None;
        }
    }

    /// Waits for the alarm; for ever while it is silent.
    pub async fn rings(&mut self) -> Rang {
        let rang = match (&self.timer, self.armed) {
            (_, None) => std::future::pending().await,
            (Some(timer), Some(_)) => wait(timer).await,
            (None, Some(at)) => {
                let present = now();
                let left = present.mono_at(at).since(present.mono);
                tokio::time::sleep(left.min(SLICE)).await;
                Rang::Stepped
            }
        };
        self.armed = None;
        rang
    }
}

async fn wait(timer: &AsyncFd<Timer>) -> Rang {
    loop {
        match timer.readable().await {
            Ok(mut ready) => match ready.try_io(|timer| timer.get_ref().read()) {
                Ok(Ok(())) => return Rang::Due,
                Ok(Err(_)) => return Rang::Stepped, // ECANCELED
                Err(_would_block) => {}
            },
            Err(_) => std::future::pending().await,
        }
    }
}

/// A timer on the wall clock, as a descriptor that becomes readable.
#[derive(Debug)]
pub struct Timer(TimerFd);

impl Timer {
    fn new() -> io::Result<Timer> {
        Ok(Timer(TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?))
    }

    fn arm(&self, at: Option<Timestamp>) -> io::Result<()> {
        let Some(at) = at else { return Ok(self.0.unset()?) };
        let expiration = Expiration::OneShot(TimeSpec::milliseconds(at.0.max(1)));
        let absolute = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        match self.0.set(expiration, absolute | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET) {
            Err(Errno::EINVAL) => Ok(self.0.set(expiration, absolute)?), // sandboxes that know only the first flag
            other => Ok(other?),
        }
    }

    fn read(&self) -> io::Result<()> {
        let mut count = [0; 8];
        nix::unistd::read(self.0.as_fd(), &mut count)?;
        Ok(())
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
