//! What a judge hears: how each event changes what must be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ppm_core::event::{Cause, ClientId, Detail, Event, From, Group, Part, Pid, ServiceId, Whose};
use ppm_core::names::glob_matches;
use ppm_core::spec::ServiceSpec;
use ppm_core::supervisor::Main;
use ppm_core::time::{Mono, Now};
use ppm_core::usage::Usage;
use ppm_protocol::{Request, Signal};

use crate::calls::Call;
use crate::judge::{Ending, Judge, Look};
use crate::model::{Known, Wish};

/// What names the daemon's own log.
const OWN_LOG: &str = "ppm-daemon";

impl Judge {
    pub fn hear(&mut self, now: Now, event: &Event) {
        match event {
            Event::Requested { from, request } => self.requested(now, from, request),
            Event::Disconnected { client } => self.disconnected(*client),
            Event::Spawned { id, part: Part::Main, pid } => {
                let interval = self.settings.watch_restart_interval;
                self.with(*id, |known| {
                    known.came_up(now.mono, *pid);
                    known.answers = known.is_to_answer(now.mono, interval);
                });
            }
            Event::Spawned { id, part: Part::Hook(hook), pid } => self.with(*id, |known| known.hook_came_up(now.mono, *hook, *pid)),
            Event::SpawnFailed { id, part: Part::Main, error } => self.with(*id, |known| known.did_not_come_up(now.mono, error.code)),
            Event::SpawnFailed { id, part: Part::Hook(hook), error } => {
                self.with(*id, |known| known.hook_did_not_come_up(now.mono, *hook, error.code));
            }
            Event::Exited { pid, exit, group, .. } => {
                self.with_process(*pid, |known| known.ended(now, *exit, *group == Group::Left));
                self.known.values_mut().for_each(|known| known.hook_ended(now.mono, *pid, *exit, *group));
            }
            Event::Drained { id, part: Part::Hook(hook) } => self.with(*id, |known| known.hook_drained(now.mono, *hook)),
            Event::Drained { id, part: Part::Main } => self.with(*id, |known| {
                if known.left.is_some() {
                    known.drained(now.mono);
                }
            }),
            Event::Strayed { id, part: Part::Main } => self.with(*id, |known| known.strayed(now.mono)),
            Event::Strayed { .. } => {}
            Event::Alone => self.ending.iter_mut().for_each(|ending| ending.alone = true),
            Event::Paused { pid } => self.with_process(*pid, |known| known.process.iter_mut().for_each(|process| process.paused = true)),
            Event::Resumed { pid } => self.with_process(*pid, |known| {
                let was_paused = known.process.is_some_and(|process| process.paused && !process.is_ending());
                known.process.iter_mut().for_each(|process| process.paused = false);
                if was_paused {
                    known.probes.go_on(&known.spec, now.mono);
                }
            }),
            Event::Notified { id, notification } => self.with(*id, |known| known.says(now.mono, notification)),
            Event::Probed { id, attempt, outcome } => self.with(*id, |known| {
                if known.is_probed() && known.probes.asked.is_some_and(|(asked, _)| asked == *attempt) {
                    known.probed(now.mono, outcome);
                }
            }),
            Event::Signalled(signal) => self.signalled(now, *signal),
            Event::Sampled { sample, usages, .. } => self.memory_read(*sample, usages),
            Event::OomKills { kills } => {
                self.blamable += kills.saturating_sub(self.oom_kills.unwrap_or(*kills));
                self.oom_kills = Some(*kills);
            }
            Event::FilesChanged { id, .. } => {
                let interval = self.settings.watch_restart_interval;
                self.with(*id, |known| known.files_changed(now.mono, interval));
            }
            // Guests have histories of their own: tests/guests.rs.
            Event::Executed { .. } | Event::GuestEnded { .. } => {}
            Event::ReportAsked { number, .. } => {
                self.reports.insert(*number);
            }
            Event::Connected { .. } | Event::ConfigRead { .. } | Event::Listened { .. } | Event::ClockStepped | Event::Tick => {}
        }
    }

    /// Who was looked at closely and uses too much is to end.
    fn memory_read(&mut self, sample: u64, usages: &[(Whose, Usage)]) {
        let Some(Look { detail, runs, .. }) = self.look.take_if(|look| look.sample == sample) else { return };
        for (id, since) in runs {
            let used = usages.iter().find(|(whose, _)| *whose == Some(id)).map(|(_, usage)| usage.pss.unwrap_or(usage.rss));
            self.with(id, |known| {
                let max = known.spec.max_memory.unwrap_or(u64::MAX);
                let is_same = known.process.is_some_and(|process| process.since == since && !process.is_ending());
                known.outgrows = is_same && detail == Detail::Pss && used.is_some_and(|used| used > max);
            });
        }
    }

    pub fn with(&mut self, id: ServiceId, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.get_mut(&id) {
            change(known);
        }
    }

    fn with_process(&mut self, pid: Pid, change: impl FnOnce(&mut Known)) {
        let is_owner = |known: &&mut Known| known.process.is_some_and(|process| process.pid == pid);
        if let Some(known) = self.known.values_mut().find(is_owner) {
            change(known);
        }
    }

    fn disconnected(&mut self, client: ClientId) {
        self.calls.forget(client);
        self.followers.retain(|from, _| from.client != client);
        self.rolls.retain(|from, _| from.client != client);
    }

    fn signalled(&mut self, now: Now, signal: Signal) {
        let is_alone = self.is_alone_with_main();
        match signal {
            Signal::TERM => self.end_by(now, signal),
            Signal::INT => {
                self.interrupts += 1;
                self.end_by(now, signal);
                if self.interrupts > 1 {
                    self.kill(now);
                }
            }
            Signal::QUIT if !is_alone || self.ending.is_some() => {
                self.end(now, None);
                self.kill(now);
            }
            Signal::HUP | Signal::USR1 if !is_alone => {}
            _ => {
                let main = self.main.and_then(|(id, _)| self.known.get(&id));
                self.passed = main.and_then(|main| main.process).map(|_| signal);
            }
        }
    }

    pub fn is_alone_with_main(&self) -> bool {
        matches!(self.main, Some((_, Main::Alone)))
    }

    fn end_by(&mut self, now: Now, signal: Signal) {
        if let (Some((id, _)), None) = (self.main, self.ending) {
            self.with(id, |main| main.spec.stop.signal = signal);
        }
        self.end(now, None);
    }

    /// An essential service that has come to its end takes the daemon with it.
    pub fn mourn(&mut self, now: Now) {
        if let Some(code) = self.known.values().find_map(Known::ends_the_daemon) {
            self.end(now, Some(code));
        }
    }

    fn end(&mut self, now: Now, code: Option<u8>) {
        if self.ending.is_none() {
            let with_main = self.main.and_then(|(id, _)| self.known.get(&id)).is_some_and(|main| !main.is_idle());
            let kill_at = now.mono + self.settings.shutdown_timeout;
            self.ending = Some(Ending { kill_at, killing_since: None, swept: false, alone: false, code, with_main });
            self.known.values_mut().for_each(|known| known.wish_down(Wish::Down, now.mono));
            self.share_the_time(now.mono);
        }
    }

    /// Each layer has a second at the end for itself, or its share of half of the time, if that is less.
    fn share_the_time(&mut self, now: Mono) {
        let timeout = self.settings.shutdown_timeout;
        let depths: BTreeMap<ServiceId, usize> = self.known.values().map(|known| (known.id, self.depth(known))).collect();
        let deepest = depths.values().copied().max().unwrap_or(0);
        for known in self.known.values_mut() {
            let below = u32::try_from(depths[&known.id]).unwrap();
            if below > 0 {
                let each = Duration::from_secs(1).min(timeout / 2 / u32::try_from(deepest).unwrap());
                let latest = now + (timeout - each * below);
                known.latest = Some(latest);
                let cut = |at: &mut Mono| *at = if latest > now { latest.min(*at) } else { *at };
                known.left.iter_mut().for_each(|left| cut(&mut left.kill_at));
            }
        }
    }

    fn kill(&mut self, now: Now) {
        if let Some(Ending { killing_since: since @ None, .. }) = &mut self.ending {
            *since = Some(now.mono);
            self.known.values_mut().for_each(|known| known.hurried = true);
        }
    }

    fn requested(&mut self, now: Now, from: &From, request: &Request) {
        let ids = self.meant(request);
        let refused = ids.is_none() || self.refuses(request, ids.as_deref().unwrap_or_default());
        let ids = ids.unwrap_or_default();
        let before = ids.iter().filter_map(|id| self.known.get(id)).map(|known| (known.id, (known.starts, known.ends))).collect();
        self.calls.insert(from, Call { request: request.clone(), ids: ids.clone(), at: now.mono, refused, before });
        if refused {
            return;
        }
        if let Request::Events(watch) = request
            && watch.follow
        {
            self.followers.insert(from.clone(), watch.services.clone());
        }
        if *request == Request::Shutdown {
            self.end(now, None);
        }
        if let Request::Add(add) = request {
            let mut spec = ServiceSpec::from_request(add, &self.settings).unwrap();
            (spec.autostart, spec.id) = (add.start, Some(self.next_id));
            let mut known = Known::new(ServiceId(self.next_id), spec, None);
            self.is_graph |= !known.spec.depends_on.is_empty();
            known.boots = false;
            known.unasked = !add.start;
            known.coming = (add.start && known.spec.starts_at_once()).then_some(Cause::Request);
            self.calls.added(from, known.id);
            self.known.insert(known.id, known);
            self.next_id += 1;
        }
        if let Request::Restart(targets) = request
            && targets.rolling
        {
            let roll = self.rolls(ids);
            self.rolls.insert(from.clone(), roll);
            return;
        }
        for id in ids {
            let was_to_end = self.known.get(&id).is_some_and(|known| known.is_up() && !known.is_probed());
            match request {
                Request::Start(_) => self.with(id, Known::wish_start),
                Request::Restart(_) => self.with(id, Known::wish_restart),
                Request::Reschedule(_) => self.with(id, Known::wish_rest),
                Request::Stop(_) => self.with(id, |known| known.wish_down(Wish::Down, now.mono)),
                Request::Remove(_) => self.with(id, |known| known.wish_down(Wish::Gone, now.mono)),
                Request::Signal(signal) => drop(self.user_signals.insert(id, signal.signal)),
                Request::Pause(_) => drop(self.paused.insert(id)),
                Request::Resume(_) => drop(self.resumed.insert(id)),
                _ => {}
            }
            if was_to_end {
                self.with(id, |known| {
                    if known.is_probed() {
                        known.probes.go_on(&known.spec, now.mono);
                    }
                });
            }
        }
    }

    /// The services that a request means; None: it means none that there is.
    fn meant(&self, request: &Request) -> Option<Vec<ServiceId>> {
        let (words, needs_some) = match request {
            Request::List(which) | Request::Info(which) | Request::Scheduler(which) => (&which.services, false),
            Request::Stats(which) => (&which.services, false),
            Request::History(which) => (&which.services, false),
            Request::Start(targets) | Request::Stop(targets) | Request::Restart(targets) | Request::Remove(targets) => {
                (&targets.services, true)
            }
            Request::Reschedule(targets) | Request::Pause(targets) | Request::Resume(targets) => (&targets.services, true),
            Request::Signal(signal) => (&signal.services, true),
            Request::Wait(wait) => (&wait.services, true),
            Request::Health(which) | Request::Watched(which) => (&which.services, false),
            Request::Why(which) | Request::Runs(which) => (&which.services, true),
            Request::Log(log) => (&log.services, true),
            Request::Hello | Request::Configuration | Request::Add(_) | Request::Events(_) | Request::Shutdown => return Some(Vec::new()),
            Request::Reload(_) | Request::Check(_) | Request::Exec(_) | Request::Run(_) | Request::Forward(_) => return Some(Vec::new()),
        };
        match (words.as_slice(), needs_some) {
            ([], false) => return Some(self.known.keys().copied().collect()),
            ([], true) => return None,
            _ => {}
        }
        let mut ids = BTreeSet::new();
        let own_log = |word: &&String| matches!(request, Request::Log(_)) && *word == OWN_LOG;
        for word in words.iter().filter(|word| !own_log(word)) {
            let found: Vec<&Known> = self.known.values().filter(|known| means(word, known)).collect();
            if found.is_empty() && word != "all" {
                return None;
            }
            let is_one = self.names_one(word);
            ids.extend(found.into_iter().filter(|known| is_one || suits(request, known)).map(|known| known.id));
        }
        Some(ids.into_iter().collect())
    }

    fn names_one(&self, word: &str) -> bool {
        word.parse::<u32>().is_ok() || self.known.values().any(|known| known.name() == word)
    }

    fn refuses(&self, request: &Request, ids: &[ServiceId]) -> bool {
        let is_any_unfit = || ids.iter().filter_map(|id| self.known.get(id)).any(|known| !suits(request, known));
        match request {
            Request::Restart(targets) if targets.rolling && !targets.wait => true,
            Request::Start(_) | Request::Restart(_) | Request::Reschedule(_) => self.ending.is_some() || is_any_unfit(),
            Request::Reload(again) => !again.plan && self.ending.is_some(),
            Request::Log(log) => {
                let is_any_kept = ids.iter().filter_map(|id| self.known.get(id)).any(Known::keeps_output);
                !is_any_kept && !log.services.iter().any(|word| word == OWN_LOG)
            }
            Request::Add(add) => {
                let taken = self.known.values().any(|known| known.name() == add.name);
                let spec = ServiceSpec::from_request(add, &self.settings);
                self.ending.is_some() || taken || !spec.is_ok_and(|spec| self.can_need(&spec))
            }
            _ => false,
        }
    }
}

/// Whether a service can do what is asked.
fn suits(request: &Request, known: &Known) -> bool {
    match request {
        Request::Start(_) | Request::Restart(_) => known.wish != Wish::Gone,
        Request::Reschedule(_) => known.wish != Wish::Gone && known.spec.schedule.is_some(),
        _ => true,
    }
}

/// Whether a word as typed means a service.
fn means(word: &str, known: &Known) -> bool {
    match word.parse::<u32>() {
        Ok(number) => known.id.0 == number,
        Err(_) => word == "all" || glob_matches(word, known.name()),
    }
}
