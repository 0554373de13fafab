//! Actions become calls. Decides nothing.

use std::collections::{BTreeSet, VecDeque};

use ppm_core::event::{Action, Cause, Event, Group, Launch, NoStart, Pid, ServiceId, Shell};
use ppm_core::spec::Reach;
use ppm_protocol::Signal;
use tokio::sync::mpsc;

use crate::control::Clients;
use crate::driver::Wake;
use crate::loader::{Loader, Readings};
use crate::logs::Logs;
use crate::reap::{self, Change};
use crate::spawn::{Spawner, Started, in_words};
use crate::{log, sampler};

/// The hands of the supervisor.
#[derive(Debug)]
pub struct Hands {
    /// The connections.
    pub clients: Clients,
    /// The exit code, once the supervisor asked to leave.
    pub exit: Option<u8>,
    /// The output of services that is captured.
    pub logs: Logs,
    /// What came of actions, to be told to the supervisor next.
    pub outcomes: VecDeque<Event>,
    spawner: Spawner,
    readings: Readings,
    leaders: BTreeSet<Pid>,
    leftovers: BTreeSet<Pid>,
    inbox: mpsc::Sender<Wake>,
}

impl Hands {
    /// Hands that hold nothing yet.
    pub fn new(spawner: Spawner, loader: Loader, clients: Clients, inbox: mpsc::Sender<Wake>) -> Hands {
        Hands {
            clients,
            exit: None,
            logs: Logs::default(),
            outcomes: VecDeque::new(),
            spawner,
            readings: Readings::new(loader, inbox.clone()),
            leaders: BTreeSet::new(),
            leftovers: BTreeSet::new(),
            inbox,
        }
    }

    /// The next change of a child as an event.
    pub fn next_change(&mut self) -> Option<Event> {
        Some(match reap::next()? {
            Change::Exited(pid, exit, group) => {
                let was_leader = self.leaders.remove(&pid);
                match group {
                    Group::Left if was_leader => drop(self.leftovers.insert(pid)),
                    Group::Left | Group::Empty => self.logs.ended(pid),
                }
                Event::Exited { pid, exit, group }
            }
            Change::Paused(pid) => Event::Paused { pid },
            Change::Resumed(pid) => Event::Resumed { pid },
        })
    }

    /// The groups without leaders that have lost their last member since.
    pub fn drained(&mut self) -> Vec<Event> {
        let empty: Vec<Pid> = self.leftovers.iter().copied().filter(|group| reap::what_is_left(*group) == Group::Empty).collect();
        for group in &empty {
            self.leftovers.remove(group);
            self.logs.ended(*group);
        }
        empty.into_iter().map(|group| Event::Drained { group }).collect()
    }

    /// A reading has ended: the next may begin.
    pub fn reading_ended(&mut self) {
        self.readings.begin_next();
    }

    fn spawn(&mut self, id: ServiceId, launch: &Launch, cause: Cause) -> Result<Pid, NoStart> {
        if launch.logger.is_some() {
            self.logs.prepare().map_err(|error| format!("logger: {}", in_words(&error)))?;
        }
        let Started { pid, captured } = self.spawner.spawn(launch, cause)?;
        if let Some((sinks, read)) = captured {
            self.logs.started(id, pid, sinks, read);
        }
        Ok(pid)
    }

    fn spawned(&mut self, id: ServiceId, pid: Pid) {
        if self.leftovers.remove(&pid) {
            // The kernel gave the number out again, so the group is empty; it must not be taken for the new one's.
            self.logs.ended(pid);
            self.outcomes.push_back(Event::Drained { group: pid });
        }
        self.leaders.insert(pid);
        self.outcomes.push_back(Event::Spawned { id, pid });
    }

    fn kill(&mut self, pid: Pid, signal: Signal, reach: Reach) {
        let is_ours = self.leaders.contains(&pid) || (reach == Reach::Group && self.leftovers.contains(&pid));
        if !is_ours {
            return; // gone since it was decided; its number may be somebody else's
        }
        match reap::signal(pid, signal, reach) {
            Ok(()) => {}
            // Its last member had a parent elsewhere, and only that parent was told.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                if self.leftovers.remove(&pid) {
                    self.logs.ended(pid);
                    self.outcomes.push_back(Event::Drained { group: pid });
                }
            }
            Err(error) => tracing::warn!("cannot send {signal} to process {pid}: {error}"),
        }
    }
}

impl Shell for Hands {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { id, launch, cause } => match self.spawn(id, &launch, cause) {
                Ok(pid) => self.spawned(id, pid),
                Err(error) => self.outcomes.push_back(Event::SpawnFailed { id, error }),
            },
            Action::SetLogger { id, launch } => match self.spawner.sinks(&launch) {
                Ok(Some(sinks)) => self.logs.set_sinks(id, sinks),
                Ok(None) => {}
                Err(error) => tracing::warn!("{}: its output goes where it went: {error}", launch.name),
            },
            Action::ReopenLogs => self.logs.reopen(),
            Action::Kill { pid, signal, reach } => self.kill(pid, signal, reach),
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
