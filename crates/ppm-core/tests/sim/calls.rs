//! Calls that are open, and whether their answers are true.

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_core::event::{ClientId, From, ServiceId};
use ppm_core::last_words::ENDS;
use ppm_core::time::{Mono, Now};
use ppm_protocol::message::{Answer, Goal};
use ppm_protocol::types::{HistoryRow, LastWords};
use ppm_protocol::{
    Changed, ErrorCode, EventKind, EventRow, HealthRow, Request, RpcError, RunResult, ServiceRow, Signal, Status, WatchedRow,
};

use crate::judge::{Judge, Verdict, rule};
use crate::model::Known;

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Call {
    pub request: Request,
    pub ids: Vec<ServiceId>,
    pub at: Mono,
    /// It must be answered with an error.
    pub refused: bool,
    /// The starts and the ends of its services before.
    pub before: BTreeMap<ServiceId, (u64, u64)>,
}

/// All that are open.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<From, Call>,
}

impl Calls {
    pub fn insert(&mut self, from: &From, call: Call) {
        self.open.insert(from.clone(), call);
    }

    /// The service that a call has added.
    pub fn added(&mut self, from: &From, id: ServiceId) {
        if let Some(call) = self.open.get_mut(from) {
            call.ids.push(id);
            call.before.insert(id, (0, 0));
        }
    }

    pub fn take(&mut self, from: &From) -> Option<Call> {
        self.open.remove(from)
    }

    pub fn forget(&mut self, client: ClientId) {
        self.open.retain(|from, _| from.client != client);
    }

    pub fn open(&self) -> impl Iterator<Item = &From> {
        self.open.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Those that may not be open when everything has come to rest: only who waits for what lives may be disappointed.
    pub fn unanswered(&self, judge: &Judge) -> Vec<&Call> {
        let lives = |id: &ServiceId| judge.known.get(id).is_some_and(|known| known.process.is_some() || known.waits.is_some());
        let may_stay =
            |call: &Call| matches!(&call.request, Request::Wait(wait) if wait.timeout_ms.is_none()) && call.ids.iter().any(lives);
        // Who restarts one after the other waits until each is ready, which one that has to say so may never be, nor one that
        // waits for others that do so, nor one that is paused.
        let is_silent = |id: &ServiceId| {
            let Some(known) = judge.known.get(id) else { return false };
            known.waits.is_some() || known.process.is_some_and(|process| process.paused || !known.probes.ready)
        };
        let rolls = |call: &Call| matches!(&call.request, Request::Restart(targets) if targets.rolling) && call.ids.iter().any(is_silent);
        self.open.values().filter(|call| !may_stay(call) && !rolls(call)).collect()
    }

    /// Those that wait for the end of nothing but what the kernel does not let go.
    pub fn stuck(&self, now: Mono, judge: &Judge) -> Vec<&Call> {
        let is_stuck = |id: &ServiceId| judge.known.get(id).is_some_and(|known| known.is_stuck(now));
        let waits = |request: &Request| matches!(request, Request::Start(_) | Request::Restart(_) | Request::Stop(_) | Request::Remove(_));
        self.open.values().filter(|call| waits(&call.request) && call.ids.iter().all(is_stuck)).collect()
    }
}

const TRUE: &str = "answers are true";

impl Call {
    /// Whether the answer is true now.
    pub fn check(&self, now: Now, result: &Result<Answer, RpcError>, judge: &Judge) -> Verdict {
        match result {
            Err(error) => self.check_error(now, error),
            Ok(answer) => {
                rule(!self.refused, TRUE, || format!("{self:?} should be refused, got {answer:?}"))?;
                self.check_answer(now, answer, judge)
            }
        }
    }

    fn check_error(&self, now: Now, error: &RpcError) -> Verdict {
        let has_passed = |timeout: Duration| self.at + timeout <= now.mono;
        let fine = match (&self.request, error.code) {
            _ if self.refused => true,
            (Request::Wait(wait), ErrorCode::TimedOut) => wait.timeout_ms.is_some_and(|ms| has_passed(Duration::from_millis(ms))),
            (Request::Wait(_), ErrorCode::NotReached) => true,
            (Request::Reload(_) | Request::Check(_), ErrorCode::WrongConfiguration) => true,
            (Request::Pause(_) | Request::Resume(_), ErrorCode::TimedOut) => has_passed(Duration::from_secs(5)),
            (_, code) => code == ErrorCode::Refused && error.message == "the daemon has shut down",
        };
        rule(fine, TRUE, || format!("{self:?} got {error:?}"))
    }

    fn check_answer(&self, now: Now, answer: &Answer, judge: &Judge) -> Verdict {
        match answer {
            Answer::Services(rows) => self.check_rows(now, rows.iter(), judge),
            Answer::Infos(infos) => self.check_rows(now, infos.iter().map(|info| &info.row), judge),
            Answer::Changed(changed) => self.check_changed(now, changed, judge),
            Answer::Stats(rows) => {
                let lives = |id: &ServiceId, pid: i32| judge.known.get(id).is_some_and(|k| k.process.is_some_and(|p| p.pid.0 == pid));
                let fine = rows.iter().filter_map(|row| Some((row.id?, row.pid?))).all(|(id, pid)| lives(&ServiceId(id), pid));
                rule(fine, TRUE, || format!("{rows:?}"))
            }
            Answer::Histories(rows) => {
                let told: Vec<ServiceId> = rows.iter().filter_map(|row| row.id.map(ServiceId)).collect();
                let fits = |row: &HistoryRow| {
                    let memory = row.memory_rss.as_ref().is_none_or(|it| it.min <= it.avg && it.avg <= it.max && it.minutes.len() <= 60);
                    let cpu = row.cpu_percent.as_ref().is_none_or(|it| it.min <= it.max && it.minutes.len() <= 60);
                    memory && cpu
                };
                rule(told == self.ids && rows.iter().all(fits), TRUE, || format!("{self:?} got {rows:?}"))
            }
            Answer::Plans(rows) => {
                let sorted = rows.windows(2).all(|pair| pair[0].at <= pair[1].at);
                rule(sorted && rows.iter().all(|row| judge.known[&ServiceId(row.id)].is_wanted()), TRUE, || format!("{rows:?}"))
            }
            Answer::Runs(rows) => {
                rule(rows.iter().map(|row| ServiceId(row.id)).eq(self.ids.iter().copied()), TRUE, || format!("{self:?} got {rows:?}"))?;
                for row in rows {
                    let known = &judge.known[&ServiceId(row.id)];
                    let last = row.runs.last().map(|run| run.result);
                    let lasts = last == Some(RunResult::Running);
                    let keeps = known.options().history;
                    let fine = row.runs.len() <= keeps && (keeps == 0 || lasts == known.process.is_some()) && row.fired <= known.attempts;
                    rule(fine, "what is shown is true", || format!("{row:?} of {known:?}"))?;
                }
                Ok(())
            }
            Answer::Watched(watched) => {
                let are_named = matches!(&self.request, Request::Watched(which) if !which.services.is_empty());
                let is_meant = |id: &ServiceId| are_named || judge.known[id].spec.watch.is_some();
                let told = watched.services.iter().map(|row| ServiceId(row.id));
                rule(told.eq(self.ids.iter().copied().filter(is_meant)), TRUE, || format!("{self:?} got {watched:?}"))?;
                let fine = |row: &WatchedRow| row.watching == judge.watched.contains(&ServiceId(row.id));
                rule(watched.services.iter().all(fine), TRUE, || format!("{watched:?}, not {:?}", judge.watched))
            }
            Answer::Lives(lives) => {
                for life in lives {
                    let has_ended = |words: &LastWords| {
                        let is_end = |event: &EventRow| event.event == EventKind::Exited && event.pid == Some(words.pid);
                        life.events.iter().any(|event| is_end(event) && event.time == words.ended)
                    };
                    let fine = life.output.iter().all(has_ended) && life.output.len() <= ENDS;
                    rule(fine, "last words are of those that ended", || format!("{life:?}"))?;
                }
                self.check_rows(now, lives.iter().map(|life| &life.row), judge)
            }
            Answer::Health(health) => {
                let wanted = |row: &&HealthRow| judge.known[&ServiceId(row.id)].is_wanted();
                let ill = health.services.iter().filter(|row| !row.healthy).count();
                let fine = health.healthy == (ill == 0) && health.services.iter().filter(|row| !row.healthy).all(|row| wanted(&row));
                rule(fine, TRUE, || format!("{health:?}"))
            }
            Answer::Log(sources) => {
                let asks_itself = matches!(&self.request, Request::Log(query) if query.services.iter().any(|name| name == "ppm-daemon"));
                let is_meant = |name: &String| {
                    let is_one =
                        self.ids.iter().any(|id| judge.known.get(id).is_some_and(|known| known.name() == name && known.keeps_output()));
                    is_one || asks_itself && name == "ppm-daemon"
                };
                let fine = !sources.services.is_empty() && sources.services.iter().all(is_meant);
                rule(fine, TRUE, || format!("{self:?} got {sources:?}"))
            }
            // The file cannot be read.
            Answer::Reload(_) | Answer::Checked(_) => rule(false, TRUE, || format!("{answer:?}")),
            Answer::Executed(_) | Answer::Forwarded(_) => rule(false, TRUE, || format!("nobody asked for {answer:?}")),
            Answer::Greeting(_) | Answer::Configuration(_) | Answer::History(_) | Answer::Farewell(_) => Ok(()),
        }
    }

    fn check_rows<'a>(&self, now: Now, rows: impl Iterator<Item = &'a ServiceRow>, judge: &Judge) -> Verdict {
        let rows: Vec<&ServiceRow> = rows.collect();
        rule(rows.iter().map(|row| ServiceId(row.id)).eq(self.ids.iter().copied()), TRUE, || format!("{self:?} got {rows:?}"))?;
        for row in rows {
            let known = &judge.known[&ServiceId(row.id)];
            let shown = (row.status, row.pid, row.active, row.crashes, row.restarts, row.name.as_str());
            let pid = known.process.map(|process| process.pid.0);
            let restarts = known.starts.saturating_sub(1);
            let is = (known.status(), pid, known.is_wanted(), known.crashes_at(now.mono), restarts, known.name());
            rule(shown == is, "what is shown is true", || format!("{shown:?}, not {is:?}: {known:?}"))?;
            rule(!row.reason.is_empty(), "what is shown is true", || format!("no reason in {row:?}"))?;
            let plans = row.next_start.is_none() || row.active;
            rule(plans, "what is shown is true", || format!("what is not wanted is planned in {row:?}"))?;
        }
        Ok(())
    }

    fn check_changed(&self, now: Now, changed: &Changed, judge: &Judge) -> Verdict {
        let text = || format!("{self:?} got {changed:?}");
        rule(changed.services.iter().map(|row| ServiceId(row.id)).eq(self.ids.iter().copied()), TRUE, text)?;
        let mut done = 0;
        for row in &changed.services {
            let id = ServiceId(row.id);
            let known = judge.known.get(&id);
            let lives = known.is_some_and(|k| k.process.is_some_and(|p| Some(p.pid.0) == row.pid));
            rule(row.pid.is_none() || lives, "what is shown is true", || format!("{row:?} of {known:?}"))?;
            let failure = changed.failed.iter().find(|failure| failure.service == row.name);
            let is_done = self.is_done(id, known);
            // Of what SIGKILL should have reached nothing is there afterwards, whether or not anything was before.
            let is_kill = matches!(&self.request, Request::Signal(sent) if sent.signal == Signal::KILL);
            // Who waits for what will not come by itself is told so, and goes on waiting.
            let waits = known.is_some_and(|known| known.is_idle() && known.is_wanted() && judge.misses(known));
            let is_done = is_done || waits && self.is_start();
            let may_fail = is_kill || waits || known.is_some_and(|known| known.is_stuck(now.mono));
            let is_lie = failure.is_some_and(|failure| failure.message.is_empty() || is_done && self.ids.len() == 1 && !may_fail);
            rule(!is_lie, TRUE, || format!("{self:?} got {changed:?}, but {known:?}"))?;
            done += usize::from(failure.is_some() || is_done);
        }
        // With several, one may have been there and gone on since; the last to get there is there now.
        rule(done > 0 || changed.services.is_empty(), TRUE, || format!("{self:?} got {changed:?}, but {:?}", judge.known))
    }

    fn is_start(&self) -> bool {
        matches!(self.request, Request::Start(_) | Request::Restart(_) | Request::Add(_))
    }

    /// Whether what was asked for is so, or has been.
    fn is_done(&self, id: ServiceId, known: Option<&Known>) -> bool {
        let (starts, ends) = self.before.get(&id).copied().unwrap_or_default();
        let process = known.and_then(|known| known.process);
        let has_started = known.is_some_and(|known| known.starts > starts || known.stays());
        let is_idle = known.is_none_or(|known| known.is_all_gone());
        let has_ended = is_idle || known.is_some_and(|known| known.ends > ends);
        match &self.request {
            Request::Restart(targets) if targets.rolling => known.is_some_and(|known| known.is_renewed(starts)),
            Request::Start(targets) | Request::Restart(targets) => !targets.wait || has_started,
            Request::Add(add) => !add.wait || !add.start || add.schedule.is_some() || has_started,
            // What tells of an earlier crash is of the service too.
            Request::Stop(targets) => !targets.wait || has_ended && known.is_none_or(|known| known.hooks.is_empty() || known.is_wanted()),
            Request::Remove(targets) => !targets.wait || known.is_none(),
            Request::Pause(targets) => !targets.wait || process.is_some_and(|process| process.paused && !process.is_ending()),
            Request::Resume(targets) => !targets.wait || process.is_some_and(|process| !process.paused && !process.is_ending()),
            Request::Wait(wait) => {
                let status = known.map(|known| known.status());
                match wait.goal {
                    Goal::Running => status == Some(Status::Running) && process.is_some(),
                    Goal::Ready => process.is_some_and(|process| !process.paused && !process.is_ending()),
                    Goal::Finished => is_idle && status == Some(Status::Finished),
                    Goal::Stopped => is_idle,
                }
            }
            Request::Signal(sent) if sent.signal == Signal::KILL => process.is_none() || has_ended,
            Request::Signal(_) => known.is_some_and(|known| known.process.is_some() || known.left.is_some()),
            _ => true,
        }
    }
}
