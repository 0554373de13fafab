//! Who used the time of a shutdown, so that somebody can do something about it.
//!
//! Pure. Bounded: of any number of services only the slowest are kept by name.

use std::time::Duration;

use crate::event::Notice;
use crate::supervisor::shortened;
use crate::time::{Mono, brief};

/// A shutdown that is not longer is not worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// How many services are named.
const NAMED: usize = 5;

/// What is noted while the daemon ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Farewell {
    since: Mono,
    stopped: usize,
    /// How long they took, the longest first.
    slowest: Vec<Took>,
    /// How many of those that would be named are not.
    more: usize,
    /// Since when all services have been gone, and others were asked to end.
    swept: Option<Mono>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Took {
    time: Duration,
    name: String,
    killed: bool,
}

impl Farewell {
    /// Everything is asked to end.
    pub(crate) fn begin(now: Mono) -> Farewell {
        Farewell { since: now, ..Farewell::default() }
    }

    /// Nothing is left of a service, which had to be killed or not.
    pub(crate) fn stopped(&mut self, now: Mono, name: &str, killed: bool) {
        self.stopped += 1;
        let time = now.since(self.since);
        if time >= WORTH_A_LINE || killed {
            let at = self.slowest.partition_point(|other| other.time >= time);
            self.slowest.insert(at, Took { time, name: name.to_owned(), killed });
            self.more += usize::from(self.slowest.len() > NAMED);
            self.slowest.truncate(NAMED);
        }
    }

    /// What belongs to no service is asked to end.
    pub(crate) fn swept(&mut self, now: Mono) {
        self.swept = Some(now);
    }

    /// The daemon leaves, and these services have not gone even after SIGKILL: what there is to say about it.
    pub(crate) fn tell(&self, now: Mono, left: &[&str]) -> Option<Notice> {
        let total = now.since(self.since);
        if total < WORTH_A_LINE && left.is_empty() {
            return None;
        }
        let took = |Took { time, name, killed }: &Took| {
            let end = if *killed { " and had to be killed" } else { "" };
            format!("{name} took {}{end}", brief(*time))
        };
        let mut who: Vec<String> = self.slowest.iter().map(took).collect();
        who.extend((self.more > 0).then(|| format!("{} more took less", self.more)));
        let others = self.swept.map(|since| now.since(since)).filter(|time| *time >= WORTH_A_LINE);
        who.extend(others.map(|time| format!("processes that belong to no service took {}", brief(time))));
        who.extend((!left.is_empty()).then(|| format!("the kernel does not let go: {}", shortened(left))));
        let services = if self.stopped == 1 { "1 service".to_owned() } else { format!("{} services", self.stopped) };
        let text = format!("stopped {services} in {}: {}", brief(total), who.join(", "));
        let is_bad = !left.is_empty() || self.slowest.iter().any(|took| took.killed);
        Some(if is_bad { Notice::Warning(text) } else { Notice::Info(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn told(ends: &[(u64, &str, bool)], total: u64, left: &[&str]) -> Option<Notice> {
        let mut farewell = Farewell::begin(at(0));
        for (ms, name, killed) in ends {
            farewell.stopped(at(*ms), name, *killed);
        }
        farewell.tell(at(total), left)
    }

    #[test]
    fn a_short_shutdown_is_not_worth_a_line() {
        assert_eq!(told(&[(10, "web", false), (999, "db", false)], 999, &[]), None);
        assert_eq!(told(&[(10, "web", true)], 11, &[]), None);
    }

    #[test]
    fn the_slowest_are_named_first_and_the_quick_not_at_all() {
        let text = "stopped 3 services in 3.2s: db took 3.2s, web took 1.5s";
        assert_eq!(told(&[(10, "log", false), (1500, "web", false), (3200, "db", false)], 3200, &[]), Some(Notice::Info(text.to_owned())));
    }

    #[test]
    fn whoever_had_to_be_killed_is_named_so() {
        let text = "stopped 2 services in 9s: db took 9s and had to be killed, web took 2s";
        assert_eq!(told(&[(2000, "web", false), (9000, "db", true)], 9000, &[]), Some(Notice::Warning(text.to_owned())));
    }

    #[test]
    fn of_many_the_slowest_five_are_named() {
        let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
        let ends: Vec<(u64, &str, bool)> = names.iter().zip(0..).map(|(name, number)| (1000 + number, name.as_str(), false)).collect();
        let text = "stopped 20 services in 1s: s19 took 1s, s18 took 1s, s17 took 1s, s16 took 1s, s15 took 1s, 15 more took less";
        let Some(Notice::Info(told)) = told(&ends, 1020, &[]) else { panic!("nothing told") };
        assert_eq!(told.replace("1.0s", "1s"), text);
    }

    #[test]
    fn what_is_nobodys_and_what_the_kernel_holds_is_told_too() {
        let mut farewell = Farewell::begin(at(0));
        farewell.stopped(at(100), "web", false);
        farewell.swept(at(100));
        let text = "stopped 1 service in 2.6s: processes that belong to no service took 2.5s";
        assert_eq!(farewell.tell(at(2600), &[]), Some(Notice::Info(text.to_owned())));
        let text = "stopped 0 services in 500ms: the kernel does not let go: db";
        assert_eq!(told(&[], 500, &["db"]), Some(Notice::Warning(text.to_owned())));
    }
}
