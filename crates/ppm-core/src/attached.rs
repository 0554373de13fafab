//! Services that live for somebody at the other end of a connection: `ppm run`.
//!
//! Such a service is one like all others, but it reads and writes what its client has sent along, its end is told to that
//! client, and it is removed when nothing will start it again, or when the client is gone. It is in no configuration.

use std::collections::BTreeMap;

use ppm_protocol::message::{AddService, Answer, RunService};
use ppm_protocol::{ErrorCode, Executed, Exit, RpcError, Signal};

use crate::event::{Action, ClientId, From, NoStart, ServiceId, Stdin};
use crate::guests::not_executed;
use crate::logging::LogChoice;
use crate::names;
use crate::service::{How, Input, Run};
use crate::spec::ServiceSpec;
use crate::supervisor::{Origin, Supervisor};
use crate::time::Now;

/// What a service is called whose program has no name that one could have.
const NAMELESS: &str = "run";

/// Which services live for whom.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    ties: BTreeMap<ServiceId, Tie>,
}

#[derive(Clone, Debug)]
struct Tie {
    from: From,
    terminal: bool,
    /// The call was answered: its program was executed.
    is_answered: bool,
}

impl Attached {
    /// Whether this service lives for a client.
    pub fn has(&self, id: ServiceId) -> bool {
        self.ties.contains_key(&id)
    }

    /// What this service reads and writes, if it lives for a client.
    pub fn stdin(&self, id: ServiceId) -> Option<Stdin> {
        self.ties.get(&id).map(|tie| Stdin::Given { client: tie.from.client, terminal: tie.terminal })
    }

    /// The service that lives for this client.
    pub fn of(&self, client: ClientId) -> Option<ServiceId> {
        self.ties.iter().find(|(_, tie)| tie.from.client == client).map(|(id, _)| *id)
    }

    /// The calls that have not been answered.
    pub fn take_calls(&mut self) -> impl Iterator<Item = From> {
        std::mem::take(&mut self.ties).into_values().filter(|tie| !tie.is_answered).map(|tie| tie.from)
    }
}

impl Supervisor {
    /// Takes up a `run`: answered when its program was executed, or could not be.
    pub(crate) fn run(&mut self, now: Now, from: From, request: RunService) -> Result<(), RpcError> {
        let name = request.name.unwrap_or_else(|| self.name_for(&request.command));
        let add = AddService {
            name,
            command: request.command,
            workdir: request.workdir,
            user: request.user,
            env: request.env,
            restart: Some(request.restart.unwrap_or_else(|| "never".to_owned())),
            start: true,
            wait: true,
            ..AddService::default()
        };
        if request.detach {
            return self.add(now, from, &add);
        }
        self.refuse_when_ending()?;
        if from.call.is_none() {
            return Err(RpcError::new(ErrorCode::Invalid, "`run` needs an `id`"));
        }
        self.refuse_second_command(from.client)?;
        let spec = self.spec_of(&add)?;
        self.refuse_new(&spec)?;
        let spec = ServiceSpec { log: LogChoice::Inherit, source: "ppm run".into(), ..spec };
        let id = self.insert(now, spec, Origin::Hand);
        self.attached.ties.insert(id, Tie { from, terminal: request.terminal, is_answered: false });
        self.tell_of(now, id, ppm_protocol::EventKind::Added, String::new());
        self.step(now, id, &Input::Start);
        Ok(())
    }

    /// A name that is free: the program's own, with a number if that is taken.
    fn name_for(&self, command: &[String]) -> String {
        let program = command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let base = if names::check(program).is_ok() { program } else { NAMELESS };
        let mut others = (2_u64..).map(|number| format!("{base}-{number}"));
        let is_free = |name: &String| !self.names.contains_key(name);
        std::iter::once(base.to_owned()).find(is_free).or_else(|| others.find(is_free)).unwrap_or_default()
    }

    /// Tells who waits for it that a service has started, or has ended for good.
    pub(crate) fn look_at_tie(&mut self, now: Now, id: ServiceId) {
        let Some(tie) = self.attached.ties.get_mut(&id) else { return };
        let Some(service) = self.services.get(&id).map(|entry| &entry.service) else { return };
        if let (Some(live), false) = (service.live(), tie.is_answered) {
            tie.is_answered = true;
            let executed = Executed { pid: live.pid.0, service: Some(service.spec().name.clone()) };
            self.actions.push(Action::Respond { to: tie.from.clone(), result: Ok(Answer::Executed(executed)) });
        }
        if service.run() != Run::Idle || service.next_start(now).is_some() {
            return;
        }
        let Some(end) = service.last() else { return };
        let action = match (tie.is_answered, &end.how, end.exit) {
            (true, _, exit) => Action::TellEnd { to: tie.from.clone(), exit: exit.unwrap_or(Exit::Code(i32::from(end.code()))) },
            (false, how, _) => {
                let (why, code) = if let How::NotStarted(NoStart { why, code }) = how {
                    (why.clone(), *code)
                } else {
                    ("it was stopped before it had started".to_owned(), end.code())
                };
                Action::Respond { to: tie.from.clone(), result: Err(not_executed(why, code)) }
            }
        };
        self.actions.push(action);
        self.attached.ties.remove(&id);
        self.step(now, id, &Input::Remove);
    }

    /// The connection is gone, and nobody reads what its service writes.
    pub(crate) fn cut_tie(&mut self, now: Now, client: ClientId) {
        if let Some(id) = self.attached.of(client) {
            self.attached.ties.remove(&id);
            self.step(now, id, &Input::Remove);
        }
    }

    /// A signal for what lives for this client; whether something does.
    pub(crate) fn signal_attached(&mut self, now: Now, client: ClientId, signal: Signal) -> bool {
        let Some(id) = self.attached.of(client) else { return false };
        self.step(now, id, &Input::Signal(signal));
        true
    }
}
