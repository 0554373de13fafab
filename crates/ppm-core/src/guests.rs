//! Commands that somebody runs in the surroundings of a service: `ppm exec`.
//!
//! A guest is no part of its service: it goes on when that is stopped, restarted or removed, and nothing of the service
//! waits for it. It belongs to the connection that asked for it, which has one at a time. When the connection is gone, or
//! the daemon ends, the guest gets SIGHUP, as from a terminal that was closed, and SIGKILL if it does not go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ppm_protocol::message::{Answer, Execute};
use ppm_protocol::{ErrorCode, Executed, Exit, Forwarded, RpcError, Signal};

use crate::event::{Action, ClientId, From, Launch, NoStart, Pid, Stdin};
use crate::probe::Voice;
use crate::requests::invalid;
use crate::spec::{Command, command_of};
use crate::supervisor::Supervisor;
use crate::time::{Mono, Now};

/// How long after SIGHUP a guest gets SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// More guests at a time are refused: each holds three of the daemon's descriptors for a moment, and a process.
const MOST: usize = 32;

/// All guests, by their connections, which are never used twice.
#[derive(Clone, Debug, Default)]
pub struct Guests {
    guests: BTreeMap<ClientId, Guest>,
}

#[derive(Clone, Debug)]
struct Guest {
    /// Who is to be told of its end.
    from: From,
    stay: Stay,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    /// Being started, and wanted or not.
    Arriving { wanted: bool },
    /// It runs.
    Here(Pid),
    /// It got SIGHUP; None: and SIGKILL.
    Leaving(Pid, Option<Mono>),
}

impl Guests {
    /// When somebody's time to leave is over.
    pub fn deadline(&self) -> Option<Mono> {
        let kill_at = |guest: &Guest| if let Stay::Leaving(_, kill_at) = guest.stay { kill_at } else { None };
        self.guests.values().filter_map(kill_at).min()
    }

    /// The calls that have not been answered.
    pub fn take_calls(&mut self) -> impl Iterator<Item = From> {
        let open = |guest: Guest| matches!(guest.stay, Stay::Arriving { .. }).then_some(guest.from);
        std::mem::take(&mut self.guests).into_values().filter_map(open)
    }

    /// Asks one to leave: it is not wanted any more.
    fn dismiss(guest: &mut Guest, now: Now, actions: &mut Vec<Action>) {
        match guest.stay {
            Stay::Arriving { .. } => guest.stay = Stay::Arriving { wanted: false },
            Stay::Here(pid) => {
                guest.stay = Stay::Leaving(pid, Some(now.mono + GRACE));
                actions.extend([Signal::HUP, Signal::CONT].map(|signal| Action::KillGuest { pid, signal }));
            }
            Stay::Leaving(..) => {}
        }
    }
}

impl Supervisor {
    /// Takes up an `exec`: answered when its program was executed, or could not be.
    pub(crate) fn exec(&mut self, from: From, request: &Execute) -> Result<(), RpcError> {
        self.refuse_when_ending()?;
        if from.call.is_none() {
            return Err(RpcError::new(ErrorCode::Invalid, "`exec` needs an `id`"));
        }
        let ids = self.targets(std::slice::from_ref(&request.service))?;
        let [id] = ids.as_slice() else {
            let message = format!("`{}` means {} services; a command runs in the surroundings of one", request.service, ids.len());
            return Err(RpcError::new(ErrorCode::Refused, message));
        };
        let command = command_of(&request.command).map_err(invalid)?;
        self.refuse_second_command(from.client)?;
        if self.guests.guests.len() >= MOST {
            return Err(RpcError::new(ErrorCode::Refused, format!("{MOST} commands are running already; wait for one to end")));
        }
        let Some(service) = self.service(*id) else { return Ok(()) };
        let launch = service.launch_data(Stdin::Null, None);
        let command = Command { path: command.path, args: command.args, ..launch.command };
        let launch = Launch { command, voice: Voice::default(), awaits: None, ..launch }; // it does not speak for the service
        self.guests.guests.insert(from.client, Guest { from: from.clone(), stay: Stay::Arriving { wanted: true } });
        self.actions.push(Action::Exec { client: from.client, launch: Arc::new(launch), terminal: request.terminal });
        Ok(())
    }

    /// A connection has one command at a time: signals and the end could be of either of two.
    pub(crate) fn refuse_second_command(&self, client: ClientId) -> Result<(), RpcError> {
        if self.guests.guests.contains_key(&client) || self.attached.of(client).is_some() {
            return Err(RpcError::new(ErrorCode::Refused, "this connection runs a command already; use another for a second one"));
        }
        Ok(())
    }

    /// Takes up a `forward`.
    pub(crate) fn forward(&mut self, now: Now, client: ClientId, signal: Signal) -> Forwarded {
        if self.signal_attached(now, client, signal) {
            return Forwarded { heard: true };
        }
        match self.guests.guests.get(&client).map(|guest| guest.stay) {
            Some(Stay::Here(pid) | Stay::Leaving(pid, _)) => {
                self.actions.push(Action::KillGuest { pid, signal });
                Forwarded { heard: true }
            }
            Some(Stay::Arriving { .. }) | None => Forwarded { heard: false },
        }
    }

    /// The program of a guest was executed, or could not be.
    pub(crate) fn executed(&mut self, now: Now, client: ClientId, outcome: Result<Pid, NoStart>) {
        let Some(guest) = self.guests.guests.get_mut(&client) else { return };
        let to = guest.from.clone();
        let is_wanted = guest.stay == Stay::Arriving { wanted: true };
        match outcome {
            Ok(pid) => {
                guest.stay = Stay::Here(pid);
                self.actions.push(Action::Respond { to, result: Ok(Answer::Executed(Executed { pid: pid.0, service: None })) });
                if !is_wanted {
                    Guests::dismiss(guest, now, &mut self.actions);
                }
            }
            Err(NoStart { why, code }) => {
                self.guests.guests.remove(&client);
                self.actions.push(Action::Respond { to, result: Err(not_executed(why, code)) });
            }
        }
    }

    /// A guest has ended, and with it all of its group.
    pub(crate) fn guest_ended(&mut self, client: ClientId, exit: Exit) {
        if let Some(guest) = self.guests.guests.remove(&client) {
            self.actions.push(Action::TellEnd { to: guest.from, exit });
        }
    }

    /// The connection is gone.
    pub(crate) fn dismiss_guest(&mut self, now: Now, client: ClientId) {
        if let Some(guest) = self.guests.guests.get_mut(&client) {
            Guests::dismiss(guest, now, &mut self.actions);
        }
    }

    /// The daemon ends. Who does not leave is dealt with as all that is left then.
    pub(crate) fn dismiss_guests(&mut self, now: Now) {
        for guest in self.guests.guests.values_mut() {
            Guests::dismiss(guest, now, &mut self.actions);
        }
    }

    /// Whoever's time is over gets SIGKILL.
    pub(crate) fn expel_guests(&mut self, now: Now) {
        for guest in self.guests.guests.values_mut() {
            if let Stay::Leaving(pid, Some(kill_at)) = guest.stay
                && kill_at <= now.mono
            {
                guest.stay = Stay::Leaving(pid, None);
                self.actions.push(Action::KillGuest { pid, signal: Signal::KILL });
            }
        }
    }
}

/// Why a client's command does not run, with what a shell would exit with.
pub(crate) fn not_executed(why: String, code: u8) -> RpcError {
    RpcError { data: Some(serde_json::json!({ "code": code })), ..RpcError::new(ErrorCode::Refused, why) }
}
