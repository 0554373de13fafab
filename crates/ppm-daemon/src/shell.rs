//! Actions become calls. Decides nothing.

use std::collections::VecDeque;

use ppm_core::event::{Action, Event, Pid, ServiceId, Shell};
use tokio::sync::mpsc;

use crate::children::Children;
use crate::control::Clients;
use crate::driver::Wake;
use crate::loader::{Loader, Readings};
use crate::spawn::Spawner;
use crate::{log, sampler};

/// The hands of the supervisor.
#[derive(Debug)]
pub struct Hands {
    /// The connections.
    pub clients: Clients,
    /// Main processes, and all that descends from them.
    pub children: Children,
    /// The exit code, once the supervisor asked to leave.
    pub exit: Option<u8>,
    /// What came of actions, to be told to the supervisor next.
    pub outcomes: VecDeque<Event>,
    spawner: Spawner,
    readings: Readings,
    inbox: mpsc::Sender<Wake>,
}

impl Hands {
    /// Hands that hold nothing yet.
    pub fn new(spawner: Spawner, loader: Loader, inbox: mpsc::Sender<Wake>) -> Hands {
        Hands {
            clients: Clients::new(inbox.clone()),
            children: Children::new(),
            exit: None,
            outcomes: VecDeque::new(),
            spawner,
            readings: Readings::new(loader, inbox.clone()),
            inbox,
        }
    }

    /// A reading has ended: the next may begin.
    pub fn reading_ended(&mut self) {
        self.readings.begin_next();
    }

    fn spawned(&mut self, id: ServiceId, pid: Pid) {
        self.outcomes.extend(self.children.started(id, pid));
        self.outcomes.push_back(Event::Spawned { id, pid });
    }
}

impl Shell for Hands {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { id, launch, cause } => match self.spawner.spawn(&launch, cause) {
                Ok(pid) => self.spawned(id, pid),
                Err(error) => self.outcomes.push_back(Event::SpawnFailed { id, error }),
            },
            Action::Kill { id, pid, signal, reach } => self.children.kill(id, pid, signal, reach),
            Action::KillStrays { id, signal } => self.children.kill_strays(id, signal),
            Action::AskStrays { id, signal } => self.children.ask_strays(id, signal),
            Action::Sweep { signal } => self.children.sweep(signal),
            Action::Sample { sample, pids, detail } => sampler::read(sample, pids, detail, self.inbox.clone()),
            Action::ReadConfig { read, text } => {
                if let Err(why) = self.readings.add(read, text) {
                    self.outcomes.push_back(Event::ConfigRead { read, config: Err(why) });
                }
            }
            Action::Respond { to, result } => self.clients.reply(to, result),
            Action::Notify { to, event } => self.clients.notify(to.client, &event),
            Action::Announce(notice) => log::tell(&notice),
            Action::Exit { code } => self.exit = Some(code),
        }
    }
}
