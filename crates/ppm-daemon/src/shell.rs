//! Actions become calls. Decides nothing.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ppm_core::event::{Action, Cause, ClientId, Event, From, Launch, NoStart, Own, Pid, Question, ServiceId, Shell, Stdin, Tree};
use ppm_core::report::Report;
use ppm_protocol::message::{Answer, ReadLog, Reply};
use ppm_protocol::types::Life;
use ppm_protocol::{ErrorCode, LogSources, RpcError, Signal};
use tokio::sync::oneshot;

use crate::children::{Children, Names, Taken};
use crate::control::Clients;
use crate::http::Server;
use crate::loader::{Loader, Readings};
use crate::log;
use crate::log::Past;
use crate::logs::{Logs, Sinks, Stored, without_output};
use crate::memory::Memory;
use crate::notifier::Notifier;
use crate::prober::Prober;
use crate::sampler::{self, Sample, Sampler};
use crate::spawn::{Spawner, Started, in_words};
use crate::watcher::{Job, Watcher};

/// More readers of logs than this are refused: each is a thread.
const MAX_READERS: usize = 32;

/// The hands of the supervisor.
#[derive(Debug)]
pub struct Hands {
    /// The connections.
    pub clients: Clients,
    /// Main processes, and all that descends from them.
    pub children: Children,
    /// The exit code, once the supervisor asked to leave.
    pub exit: Option<u8>,
    /// What must outlive the daemon.
    pub memory: Memory,
    /// The output of services that is captured.
    pub logs: Logs,
    /// The probes of services.
    pub prober: Prober,
    /// What services say of themselves.
    pub notifier: Notifier,
    /// What the daemon itself has said.
    pub past: Past,
    /// The files that are watched.
    pub watcher: Watcher,
    /// The descriptors that came with the request that is being handled.
    pub streams: Option<[OwnedFd; 3]>,
    /// What the services that live for clients read and write.
    pub given: BTreeMap<ClientId, [OwnedFd; 3]>,
    /// What was executed for clients, by its processes.
    guests: BTreeMap<Pid, ClientId>,
    /// What came of actions, to be told to the supervisor next.
    pub outcomes: VecDeque<Event>,
    spawner: Spawner,
    readings: Readings,
    readers: usize,
    sampler: Sampler,
    http: Server,
    /// Who waits for a report, by its number.
    lookers: BTreeMap<u64, oneshot::Sender<Box<Report>>>,
    looks: u64,
}

impl Hands {
    /// Hands that hold nothing yet.
    pub fn new(spawner: Spawner, loader: Loader, clients: Clients, past: Past, memory: Memory, watcher: Watcher, http: Server) -> Hands {
        let inbox = clients.inbox();
        Hands {
            clients,
            children: Children::new(),
            exit: None,
            memory,
            logs: Logs::default(),
            prober: Prober::new(inbox.clone()),
            notifier: Notifier::new(inbox.clone()),
            past,
            watcher,
            readers: 0,
            streams: None,
            given: BTreeMap::new(),
            guests: BTreeMap::new(),
            outcomes: VecDeque::new(),
            spawner,
            readings: Readings::new(loader, inbox.clone()),
            sampler: Sampler::new(inbox),
            http,
            lookers: BTreeMap::new(),
            looks: 0,
        }
    }

    /// Takes what has changed from the kernel, for [`Hands::next_change`].
    pub fn take_changes(&mut self, names: Names<'_>) -> Taken {
        let taken = self.children.take(names);
        self.end_runs();
        taken
    }

    /// What was taken, one by one, and what follows.
    pub fn next_change(&mut self) -> Option<Event> {
        self.outcomes.pop_front().or_else(|| self.children.next_event()).or_else(|| self.conclude())
    }

    /// What follows from all that was told: somebody left nothing any more, or the daemon is alone.
    pub fn conclude(&mut self) -> Option<Event> {
        let event = self.children.conclude();
        self.end_runs();
        event
    }

    fn end_runs(&mut self) {
        for run in self.children.take_over() {
            self.logs.ended(run);
            self.notifier.ended(run);
        }
        for (pid, exit) in std::mem::take(&mut self.children.ended) {
            match self.guests.remove(&pid) {
                Some(client) => self.outcomes.push_back(Event::GuestEnded { client, exit }),
                None => self.prober.program_ended(pid, exit),
            }
        }
    }

    /// A reading has ended: the next may begin.
    pub fn reading_ended(&mut self) {
        self.readings.begin_next();
    }

    /// Somebody waits for a report: its number.
    pub fn looks(&mut self, to: oneshot::Sender<Box<Report>>) -> u64 {
        self.looks += 1;
        self.lookers.insert(self.looks, to);
        self.looks
    }

    /// A sample was read: the next may begin.
    pub fn sampled(&mut self, sample: Sample) -> Event {
        let Sample { sample, usages, container, escaped, ledger } = sample;
        self.children.expenses.watch_out_for(escaped);
        self.sampler.ended(ledger, &self.children);
        Event::Sampled { sample, usages, container }
    }

    fn spawn(&mut self, tree: Tree, launch: &Launch, cause: Cause) -> Result<(), NoStart> {
        if launch.logger.is_some() {
            self.logs.prepare().map_err(|error| format!("logger: {}", in_words(&error)))?;
        }
        // What came with the request that is being handled stays with the service that it has made, for all its starts.
        let given = match launch.stdin {
            Stdin::Null | Stdin::Inherited => None,
            Stdin::Given { client, .. } => Some(&*match self.given.entry(client) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(place) => place.insert(taken(&mut self.streams)?),
            }),
        };
        let socket = launch.voice.socket.then(|| self.notifier.address()).transpose();
        let socket = socket.map_err(|error| format!("notify: {}", in_words(&error)))?;
        let group = self.children.groups.as_ref().and_then(|groups| groups.make(&launch.name, tree.part));
        let birthplace = group.as_ref().map(|(_, open)| open.as_fd());
        let Started { pid, is_grouped, captured, line } = self.spawner.spawn(launch, cause, socket, given, birthplace)?;
        self.outcomes.extend(self.children.started(tree, pid));
        self.end_runs();
        if let Some((group, _)) = group {
            self.children.born(tree, pid, is_grouped.then_some(group));
        }
        if let Some((sinks, read)) = captured {
            let awaited = launch.awaits.clone().map(|pattern| self.notifier.await_line(tree.id, pattern));
            self.logs.started(tree, pid, sinks, read, awaited);
        }
        if let Some(line) = line
            && let Err(error) = self.notifier.read(tree.id, pid, line)
        {
            tracing::warn!("{}: whether it is ready cannot be read: {}", launch.name, in_words(&error));
        }
        self.outcomes.push_back(Event::Spawned { id: tree.id, part: tree.part, pid });
        Ok(())
    }

    fn probe(&mut self, id: ServiceId, attempt: u64, question: Question) {
        match question {
            Question::Connection(target) => self.prober.connect(id, attempt, target),
            Question::Page(page) => self.prober.get(id, attempt, page),
            Question::Held { port, main } => self.prober.find_holder(id, attempt, port, main),
            Question::File { path, since } => self.prober.look_for(id, attempt, path, since),
            Question::Command { launch, cause } => {
                let spawner = &mut self.spawner;
                if let Some(pid) = self.prober.run(id, attempt, |output| spawner.spawn_beside(&launch, cause, output)) {
                    self.children.started_beside(pid);
                }
            }
        }
    }

    /// Executes a program with the descriptors that came with the request that is being handled.
    fn exec(&mut self, client: ClientId, launch: &Launch, terminal: bool) -> Result<Pid, NoStart> {
        let streams = taken(&mut self.streams)?;
        let pid = self.spawner.spawn_guest(launch, &streams, terminal)?;
        self.children.started_beside(pid);
        self.guests.insert(pid, client);
        Ok(pid)
    }

    fn stop_probe(&mut self, id: ServiceId, attempt: u64) {
        if let Some(pid) = self.prober.stop(id, attempt) {
            self.children.signal_program(pid, Signal::KILL);
        }
    }

    /// A stream to a client has ended.
    pub fn streamed(&mut self, client: ClientId) {
        self.readers = self.readers.saturating_sub(1);
        self.clients.streamed(client);
    }

    fn read_log(&mut self, to: From, answer: LogSources, services: &[(ServiceId, Arc<Launch>)], own: Own, query: ReadLog) {
        if self.readers >= MAX_READERS {
            let message = format!("{MAX_READERS} logs are being read already; wait for one to end");
            return self.clients.reply(to, Err(RpcError::new(ErrorCode::Refused, message)));
        }
        let Some(call) = to.call else { return };
        let Some(outlet) = self.clients.stream(to.client, call.clone()) else { return };
        self.readers += 1;
        let out = outlet.out.clone();
        let logs = self.stored(services);
        let own = (own == Own::Meant).then_some(&mut self.past);
        if let Err(error) = self.logs.read(query, answer, logs, own, outlet) {
            let refused = RpcError::new(ErrorCode::Refused, format!("no thread to read logs: {}", in_words(&error)));
            let _ = out.try_send(Reply { id: call, result: Err(refused) }.line());
        }
    }

    /// Where a thread cannot be had for it, lives are told without output: what happened is worth more.
    fn tell_lives(&mut self, to: From, lives: Vec<Life>, kept: &[(ServiceId, Arc<Launch>)]) {
        let Some(call) = to.call.clone() else { return };
        if self.readers >= MAX_READERS {
            return self.clients.reply(to, Ok(Answer::Lives(without_output(lives))));
        }
        let Some(outlet) = self.clients.stream(to.client, call.clone()) else { return };
        self.readers += 1;
        let out = outlet.out.clone();
        if let Err(lives) = self.logs.tell_lives(call.clone(), lives, self.stored(kept), outlet) {
            let _ = out.try_send(Reply { id: call, result: Ok(Answer::Lives(without_output(lives))) }.line());
        }
    }

    /// Where the output of services is kept.
    fn stored(&self, services: &[(ServiceId, Arc<Launch>)]) -> Vec<Stored> {
        let stored = |(id, launch): &(ServiceId, Arc<Launch>)| match self.spawner.sinks(launch) {
            Ok(sinks) => sinks.map(|Sinks { service, files, .. }| Stored { id: id.0, service, folder: files.map(|(folder, _)| folder) }),
            Err(error) => {
                tracing::warn!("{}: its log cannot be read: {error}", launch.name);
                None
            }
        };
        services.iter().filter_map(stored).collect()
    }
}

/// The descriptors that came with a request, for a client's command.
fn taken(streams: &mut Option<[OwnedFd; 3]>) -> Result<[OwnedFd; 3], NoStart> {
    let missing = "its input, output and error did not come with the request: three descriptors, as unix(7) passes them";
    streams.take().ok_or_else(|| NoStart::from(missing.to_owned()))
}

impl Shell for Hands {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { id, part, launch, cause } => {
                if let Err(error) = self.spawn(Tree { id, part }, &launch, cause) {
                    self.outcomes.push_back(Event::SpawnFailed { id, part, error });
                }
            }
            Action::SetLogger { id, launch } => match self.spawner.sinks(&launch) {
                Ok(Some(sinks)) => {
                    let awaited = launch.awaits.clone().map(|pattern| self.notifier.await_line(id, pattern));
                    self.logs.set_sinks(id, sinks, awaited);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("{}: its output goes where it went: {error}", launch.name),
            },
            Action::ForgetOutput { service } => self.logs.forget(service),
            Action::ReadLog { to, answer, services, own, query } => self.read_log(to, answer, &services, own, query),
            Action::TellLives { to, lives, kept } => self.tell_lives(to, lives, &kept),
            Action::ReopenLogs => self.logs.reopen(),
            Action::Exec { client, launch, terminal } => {
                let outcome = self.exec(client, &launch, terminal);
                self.outcomes.push_back(Event::Executed { client, outcome });
            }
            Action::KillGuest { pid, signal } => self.children.signal_program(pid, signal),
            Action::TellEnd { to, exit } => {
                self.given.remove(&to.client);
                self.clients.tell_end(to, exit);
            }
            Action::Kill { id, part, pid, signal, reach } => self.children.kill(Tree { id, part }, pid, signal, reach),
            Action::KillStrays { id, part, signal } => self.children.kill_strays(Tree { id, part }, signal),
            Action::AskStrays { id, part, signal } => self.children.ask_strays(Tree { id, part }, signal),
            Action::Sweep { signal } => self.children.sweep(signal),
            Action::Watch { id, launch, watch } => match self.spawner.watched(&launch, &watch.paths) {
                Ok((folder, paths)) => self.watcher.watch(id, Job::new(launch.name.clone(), folder, paths, watch)),
                Err(error) => {
                    tracing::warn!("{}: {error}; nothing is watched until it is stopped and started", launch.name);
                    self.watcher.unwatch(id);
                }
            },
            Action::Unwatch { id } => self.watcher.unwatch(id),
            Action::TellWatched { to, services } => {
                if let Some((to, watched)) = self.watcher.tell(to, services) {
                    self.clients.reply(to, Ok(Answer::Watched(watched)));
                }
            }
            Action::Probe { id, attempt, question } => self.probe(id, attempt, question),
            Action::StopProbe { id, attempt } => self.stop_probe(id, attempt),
            Action::Sample { sample, whose, running, detail } => {
                self.sampler.add(sampler::Question { sample, whose, running, detail }, &self.children);
            }
            Action::Remember { service, planned } => self.memory.remember(service, planned),
            Action::ReadConfig { read, text } => {
                if let Err(why) = self.readings.add(read, text) {
                    self.outcomes.push_back(Event::ConfigRead { read, config: Err(why) });
                }
            }
            Action::Listen { read, at } => {
                if let Err(why) = self.http.move_to(read, at) {
                    self.outcomes.push_back(Event::Listened { read, outcome: Err(why) });
                }
            }
            Action::Report { number, mut report } => {
                self.logs.tell_lost(&mut report);
                if let Some(looker) = self.lookers.remove(&number) {
                    let _ = looker.send(report); // who does not wait any longer need not be told
                }
            }
            Action::Respond { to, result } => self.clients.reply(to, result),
            Action::Notify { to, event } => self.clients.notify(to.client, &event),
            Action::Announce(notice) => log::tell(&notice),
            Action::Exit { code } => self.exit = Some(code),
        }
    }
}
