//! Who waits for what: a call that is answered when its services have got somewhere.
//!
//! Waiting is keeping the caller and answering later. Invariant: every call is answered exactly once: when all
//! its services are done, when one of them cannot get there any more, or when its time is up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ppm_protocol::message::{Answer, Goal};
use ppm_protocol::{Changed, ErrorCode, Failure, Reload, RpcError, ServiceRow, Status};

use crate::dependencies::{self, Lack};
use crate::event::{Action, ClientId, From, ServiceId};
use crate::gather::Gather;
use crate::service::{Input, Run, STUCK_AFTER, Service};
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now, brief};

/// What one service must reach for a call to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Nothing but being asked.
    Asked,
    /// A start that comes after this many tries, or a process that runs anyway.
    Started {
        /// Tries before.
        attempts: u64,
        /// Successful ones before.
        starts: u64,
    },
    /// The same, and being ready.
    Renewed {
        /// Tries before.
        attempts: u64,
        /// Successful ones before.
        starts: u64,
    },
    /// An end that comes after this many, or no process anyway.
    Ended {
        /// Ends before.
        ends: u64,
    },
    /// The end of the main process that there is.
    Over {
        /// Ends before.
        ends: u64,
    },
    /// Not being there.
    Removed,
    /// A paused process.
    Paused,
    /// A process that is not paused.
    Resumed,
    /// What `wait` asks for.
    Reached(Goal),
}

enum Progress {
    Pending,
    Done,
    Failed(String),
}

/// What becomes of a call when one of its services fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The others go on; the failures are listed.
    Change,
    /// It is answered with the failure at once.
    Await,
    /// One after the other: these are still to be restarted when all that are awaited are done, unless one has failed.
    Rolling(VecDeque<ServiceId>),
    /// The others go on; the answer is this, with the failures.
    Reload(Box<Reload>),
}

#[derive(Debug)]
struct Waiter {
    to: From,
    kind: Kind,
    services: Vec<ServiceId>,
    left: BTreeMap<ServiceId, Aim>,
    removed: BTreeMap<ServiceId, ServiceRow>,
    failed: Vec<Failure>,
    deadline: Option<Mono>,
}

/// All calls that wait for services.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiters: BTreeMap<u64, Waiter>,
    awaited: BTreeSet<(ServiceId, u64)>,
    deadlines: BTreeSet<(Mono, u64)>,
    next: u64,
}

impl Waiting {
    /// When the next call's time is up.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The calls not answered yet.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &From> {
        self.waiters.values().map(|waiter| &waiter.to)
    }

    /// Forgets all calls: somebody else answers them.
    pub(crate) fn take_calls(&mut self) -> impl Iterator<Item = From> + use<> {
        std::mem::take(self).waiters.into_values().map(|waiter| waiter.to)
    }

    /// Drops the calls of a client that is gone.
    pub(crate) fn forget(&mut self, client: ClientId) {
        let keys: Vec<u64> = self.waiters.iter().filter(|(_, waiter)| waiter.to.client == client).map(|(key, _)| *key).collect();
        for key in keys {
            self.take(key);
        }
    }

    /// What must hold between any two events; for tests.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let awaited: BTreeSet<(ServiceId, u64)> =
            self.waiters.iter().flat_map(|(key, waiter)| waiter.left.keys().map(|id| (*id, *key))).gather();
        let deadlines: BTreeSet<(Mono, u64)> = self.waiters.iter().filter_map(|(key, waiter)| Some((waiter.deadline?, *key))).gather();
        let idle: Vec<&From> = self.waiters.values().filter(|waiter| waiter.left.is_empty()).map(|waiter| &waiter.to).collect();
        if (&awaited, &deadlines) != (&self.awaited, &self.deadlines) {
            return Err(format!("awaited are {awaited:?} and {deadlines:?}, indexed {:?} and {:?}", self.awaited, self.deadlines));
        }
        if idle.is_empty() { Ok(()) } else { Err(format!("{idle:?} wait for nothing")) }
    }

    fn insert(&mut self, waiter: Waiter) -> u64 {
        let key = self.next;
        self.next += 1;
        self.awaited.extend(waiter.left.keys().map(|id| (*id, key)));
        self.deadlines.extend(waiter.deadline.map(|at| (at, key)));
        self.waiters.insert(key, waiter);
        key
    }

    fn take(&mut self, key: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&key)?;
        for id in waiter.left.keys() {
            self.awaited.remove(&(*id, key));
        }
        if let Some(at) = waiter.deadline {
            self.deadlines.remove(&(at, key));
        }
        Some(waiter)
    }

    /// Whether another call has just had this service restarted that had been started so often.
    fn is_renewed_from(&self, id: ServiceId, before: u64) -> bool {
        let awaits = |key| self.waiters.get(&key).and_then(|waiter| waiter.left.get(&id));
        self.of(id).into_iter().any(|key| matches!(awaits(key), Some(Aim::Renewed { starts, .. }) if *starts == before))
    }

    fn of(&self, id: ServiceId) -> Vec<u64> {
        self.awaited.range((id, 0)..=(id, u64::MAX)).map(|(_, key)| *key).collect()
    }
}

impl Supervisor {
    /// Keeps a call until its services are where it wants them. Must come before the steps that get them there.
    pub(crate) fn wait_for(&mut self, to: From, kind: Kind, aims: Vec<(ServiceId, Aim)>, failed: Vec<Failure>) -> u64 {
        let services = aims.iter().map(|(id, _)| *id).collect();
        let left = aims.into_iter().gather();
        self.waiting.insert(Waiter { to, kind, services, left, removed: BTreeMap::new(), failed, deadline: None })
    }

    /// Keeps a call about these services, of which none is awaited yet.
    pub(crate) fn wait_for_all(&mut self, to: From, kind: Kind, services: Vec<ServiceId>) -> u64 {
        let (left, removed) = (BTreeMap::new(), BTreeMap::new());
        self.waiting.insert(Waiter { to, kind, services, left, removed, failed: Vec::new(), deadline: None })
    }

    /// Restarts the next of a call, or answers it.
    pub(crate) fn roll_on(&mut self, now: Now, key: u64) {
        let Some(waiter) = self.waiting.waiters.get_mut(&key) else { return };
        let Kind::Rolling(rest) = &mut waiter.kind else { return self.finish(now, key) };
        let next = if waiter.failed.is_empty() { rest.pop_front() } else { None };
        let Some(id) = next else {
            let spared: Vec<ServiceId> = rest.drain(..).collect();
            return self.finish_rolling(now, key, &spared);
        };
        let Some(service) = self.service(id) else { return self.roll_on(now, key) };
        let aim = Aim::Renewed { attempts: service.attempts(), starts: service.starts() };
        let is_under_way = self.waiting.is_renewed_from(id, service.starts());
        if let Some(waiter) = self.waiting.waiters.get_mut(&key) {
            waiter.left.insert(id, aim);
            self.waiting.awaited.insert((id, key));
        }
        if !is_under_way {
            self.step(now, id, &Input::Restart);
        }
        self.check_waiter(now, id, key);
    }

    fn finish_rolling(&mut self, now: Now, key: u64, spared: &[ServiceId]) {
        let names: Vec<String> = spared.iter().filter_map(|id| self.service(*id)).map(|service| service.spec().name.clone()).collect();
        if let Some(waiter) = self.waiting.waiters.get_mut(&key) {
            let last = waiter.failed.last().map_or(String::new(), |failure| failure.service.clone());
            let message = format!("it was spared, as `{last}` came first and failed");
            waiter.failed.extend(names.into_iter().map(|service| Failure { service, message: message.clone() }));
        }
        self.finish(now, key);
    }

    /// Looks at a call that was just kept: it may be over already, or have no time.
    pub(crate) fn look_at_waiter(&mut self, now: Now, key: u64, timeout: Option<Duration>) {
        let Some(waiter) = self.waiting.waiters.get_mut(&key) else { return };
        waiter.deadline = timeout.map(|timeout| now.mono + timeout);
        self.waiting.deadlines.extend(waiter.deadline.map(|at| (at, key)));
        let ids: Vec<ServiceId> = waiter.left.keys().copied().collect();
        if ids.is_empty() {
            return self.finish(now, key);
        }
        for id in ids {
            self.check_waiter(now, id, key);
        }
    }

    /// A service has changed: whoever waits for it may be answered.
    pub(crate) fn answer_waiters(&mut self, now: Now, id: ServiceId) {
        for key in self.waiting.of(id) {
            self.check_waiter(now, id, key);
        }
    }

    /// A service is no more.
    pub(crate) fn answer_waiters_of_removed(&mut self, now: Now, service: &Service) {
        let id = service.id();
        let row = self.row_of(now, service);
        for waiter in self.waiting.waiters.values_mut().filter(|waiter| waiter.services.contains(&id)) {
            waiter.removed.insert(id, row.clone());
        }
        for key in self.waiting.of(id) {
            let Some(aim) = self.waiting.waiters.get(&key).and_then(|waiter| waiter.left.get(&id)) else { continue };
            let progress = match aim {
                Aim::Removed | Aim::Over { .. } | Aim::Ended { .. } | Aim::Asked | Aim::Reached(Goal::Stopped) => Progress::Done,
                Aim::Started { .. } | Aim::Renewed { .. } | Aim::Paused | Aim::Resumed | Aim::Reached(_) => {
                    Progress::Failed("it was removed".to_owned())
                }
            };
            self.progress(now, service.spec().name.clone(), id, key, progress);
        }
    }

    /// Answers the calls whose time is up.
    pub(crate) fn time_out_waiters(&mut self, now: Now) {
        while let Some((at, key)) = self.waiting.deadlines.first().copied() {
            if at > now.mono {
                return;
            }
            let Some(waiter) = self.waiting.take(key) else { return };
            let names: Vec<String> =
                waiter.left.keys().filter_map(|id| self.service(*id)).map(|service| service.spec().name.clone()).collect();
            let missing = waiter.left.iter().next().and_then(|(id, aim)| Some((self.service(*id)?, aim)));
            let message = match missing {
                Some((service, Aim::Reached(goal))) => {
                    format!("`{}` is not {goal} yet: {}", service.spec().name, self.state_in_words(now, service))
                }
                Some(_) | None => "waited too long".to_owned(),
            };
            let data = serde_json::json!({ "waiting": names });
            let error = RpcError { data: Some(data), ..RpcError::new(ErrorCode::TimedOut, message) };
            self.actions.push(Action::Respond { to: waiter.to, result: Err(error) });
        }
    }

    fn check_waiter(&mut self, now: Now, id: ServiceId, key: u64) {
        let Some(service) = self.service(id) else { return };
        let Some(aim) = self.waiting.waiters.get(&key).and_then(|waiter| waiter.left.get(&id)) else { return };
        let progress = progress_of(service, *aim);
        let progress = match progress {
            Progress::Failed(_) if matches!(aim, Aim::Reached(_)) => Progress::Failed(self.state_in_words(now, service)),
            Progress::Failed(_) | Progress::Pending | Progress::Done => progress,
        };
        self.progress(now, service.spec().name.clone(), id, key, progress);
    }

    fn progress(&mut self, now: Now, name: String, id: ServiceId, key: u64, progress: Progress) {
        let message = match progress {
            Progress::Pending => return,
            Progress::Done => None,
            Progress::Failed(message) => Some(message),
        };
        self.waiting.awaited.remove(&(id, key));
        let Some(waiter) = self.waiting.waiters.get_mut(&key) else { return };
        let aim = waiter.left.remove(&id);
        if let (Some(message), Kind::Await, Some(Aim::Reached(goal))) = (&message, &waiter.kind, aim) {
            let text = format!("`{name}` will not be {goal}: {message}");
            let data = serde_json::json!({ "service": name });
            let error = RpcError { data: Some(data), ..RpcError::new(ErrorCode::NotReached, text) };
            if let Some(waiter) = self.waiting.take(key) {
                self.actions.push(Action::Respond { to: waiter.to, result: Err(error) });
            }
            return;
        }
        waiter.failed.extend(message.map(|message| Failure { service: name, message }));
        if waiter.left.is_empty() {
            self.roll_on(now, key);
        }
    }

    fn finish(&mut self, now: Now, key: u64) {
        let Some(mut waiter) = self.waiting.take(key) else { return };
        let row = |id: &ServiceId| match self.service(*id) {
            Some(service) => Some(self.row_of(now, service)),
            None => waiter.removed.remove(id),
        };
        let services = waiter.services.iter().filter_map(row).collect();
        let answer = match waiter.kind {
            Kind::Change | Kind::Rolling(_) | Kind::Await => Answer::Changed(Changed { services, failed: waiter.failed }),
            Kind::Reload(reload) => Answer::Reload(Reload { failed: waiter.failed, ..*reload }),
        };
        self.actions.push(Action::Respond { to: waiter.to, result: Ok(answer) });
    }

    fn state_in_words(&self, now: Now, service: &Service) -> String {
        format!("{}, {}", service.status(), service.reason(now))
    }
}

fn progress_of(service: &Service, aim: Aim) -> Progress {
    match aim {
        Aim::Asked => Progress::Done,
        Aim::Over { ends } if service.ends() > ends || service.live().is_none() => Progress::Done,
        Aim::Over { .. } | Aim::Started { .. } | Aim::Renewed { .. } | Aim::Ended { .. } | Aim::Removed if service.is_stuck() => {
            Progress::Failed(format!("still there {} after SIGKILL", brief(STUCK_AFTER)))
        }
        Aim::Started { .. } if service.is_staying() => Progress::Done,
        Aim::Started { .. } if service.is_hopeless() => Progress::Failed(dependencies::hopeless_in_words(service.missing())),
        Aim::Started { .. } if matches!(service.run(), Run::Blocked { .. }) => Progress::Done,
        Aim::Started { attempts, starts } if service.attempts() > attempts => {
            if service.starts() > starts {
                Progress::Done
            } else {
                Progress::Failed(service.last_in_words())
            }
        }
        Aim::Started { .. } if !service.is_active() => Progress::Failed("it was stopped by another request".to_owned()),
        Aim::Started { .. } if !service.is_about_to_start() && !service.awaits_boot() => {
            Progress::Failed("it was rescheduled by another request".to_owned())
        }
        Aim::Renewed { attempts, starts } => progress_to_renewal(service, attempts, starts),
        Aim::Ended { ends } if service.ends() > ends || !service.is_busy() => Progress::Done,
        Aim::Ended { .. } if is_wanted_as_it_runs(service) => Progress::Failed("it was started by another request".to_owned()),
        Aim::Paused if matches!(service.run(), Run::Paused(_)) => Progress::Done,
        Aim::Resumed if matches!(service.run(), Run::Up(_)) => Progress::Done,
        Aim::Paused | Aim::Resumed => hope_for_a_pause(service.run()),
        Aim::Reached(goal) => progress_to(service, goal),
        Aim::Over { .. } | Aim::Started { .. } | Aim::Ended { .. } | Aim::Removed => Progress::Pending,
    }
}

/// How far a restart has come that is over when the service is ready again.
fn progress_to_renewal(service: &Service, attempts: u64, starts: u64) -> Progress {
    let is_stopped = service.missing().iter().any(|missing| missing.lack != Lack::Coming);
    match service.run() {
        _ if service.starts() > starts && service.is_staying() && service.is_ready() => Progress::Done,
        _ if !service.is_active() => Progress::Failed("it was stopped by another request".to_owned()),
        Run::Blocked { .. } if is_stopped => Progress::Failed(dependencies::in_words(service.missing())),
        Run::Up(_) | Run::Paused(_) | Run::Preparing { .. } | Run::Starting { .. } | Run::Blocked { .. } => Progress::Pending,
        Run::Closing { .. }
        | Run::Stopping { .. }
        | Run::Killing { .. }
        | Run::Draining { .. }
        | Run::Purging { .. }
        | Run::Finishing { .. }
        | Run::Cleaning { .. } => Progress::Pending,
        Run::Idle | Run::Waiting { .. } if service.attempts() > attempts => Progress::Failed(service.last_in_words()),
        Run::Idle | Run::Waiting { .. } => Progress::Failed("it was rescheduled by another request".to_owned()),
    }
}

/// Whether nobody ends it any more: a start overtook the stop before there was anything to be stopped (R23).
fn is_wanted_as_it_runs(service: &Service) -> bool {
    let comes = matches!(service.run(), Run::Preparing { .. } | Run::Starting { .. });
    service.is_active() && (service.is_staying() || comes)
}

/// Whether a process that is not paused, or not resumed, will be.
fn hope_for_a_pause(run: Run) -> Progress {
    match run {
        Run::Up(_) | Run::Paused(_) => Progress::Pending,
        Run::Closing { .. }
        | Run::Stopping { .. }
        | Run::Killing { .. }
        | Run::Draining { .. }
        | Run::Purging { .. }
        | Run::Finishing { .. } => Progress::Failed("it is being stopped".to_owned()),
        Run::Idle | Run::Blocked { .. } | Run::Preparing { .. } | Run::Starting { .. } | Run::Cleaning { .. } | Run::Waiting { .. } => {
            Progress::Failed("it is not running".to_owned())
        }
    }
}

fn progress_to(service: &Service, goal: Goal) -> Progress {
    let reached = match goal {
        Goal::Running => service.live().is_some() && service.status() == Status::Running,
        Goal::Ready => service.is_ready(),
        Goal::Finished => !service.is_busy() && service.status() == Status::Finished,
        Goal::Stopped => !service.is_busy(),
    };
    let is_at_rest = service.run() == Run::Idle && !service.is_busy() || service.is_hopeless();
    let nothing_is_coming = is_at_rest && service.plan().is_none() && !service.awaits_boot();
    match (reached, nothing_is_coming) {
        (true, _) => Progress::Done,
        (false, false) => Progress::Pending,
        (false, true) => Progress::Failed(String::new()),
    }
}
