//! The daemon's children, and all that descends from them: what became of them, and signals to them.
//!
//! The main processes are known from their start, and their groups are reached by one call. Whoever has left its
//! group becomes the daemon's child when its parent ends, since the daemon is process 1 or a subreaper (R17): so when
//! a main process has ended, a look at the daemon's own children shows what it left, and all others are below those.
//! What is to be sent to strays waits until the loop has nothing else to do, and then one pass over /proc serves all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nix::unistd::getpid;
use ppm_core::event::{Event, Group, Part, Pid, ServiceId, Tree};
use ppm_core::gather::Gather;
use ppm_core::hook::Hook;
use ppm_core::kin::{self, Birth, Fact, Kin, descendants};
use ppm_core::oom::may_be_one;
use ppm_core::spec::Reach;
use ppm_core::time::Mono;
use ppm_protocol::{Exit, Signal};

use crate::census::{Census, Mark, Marked};
use crate::clock;
use crate::expenses::Expenses;
use crate::groups::{self, Groups};
use crate::reap::{self, Change};
use crate::spawn::in_words;

/// How many changes are taken at a time. All that there are, as a rule: reaping is many times faster than forking, and the
/// dead that are not reaped are in the way of the look at the living.
const AT_A_TIME: usize = 16_384;

/// How often all processes are looked at for such as were born while others were killed: whoever is killed has no more
/// children, so that it takes many rounds only if they fork faster than they are killed.
const ROUNDS: usize = 32;

/// From child to parent one goes so far to find whose a process is.
const DEEPEST: usize = 64;

/// How long a child may show nothing before it is nobody's: execve(2) takes microseconds, more on a busy machine, but a file
/// system can make it last for ever.
const LONGEST_DOUBT: Duration = Duration::from_secs(1);

/// After so long it is looked at again for the first time.
const FIRST_DOUBT: Duration = Duration::from_millis(1);

/// How often the loop may have something else to do before strays are looked for.
const MOST_OTHERS: usize = 64;

/// Names to services.
pub type Names<'a> = &'a dyn Fn(&str) -> Option<ServiceId>;

/// All that descends from the daemon.
#[derive(Debug)]
pub struct Children {
    me: Pid,
    kin: Kin,
    /// None: there is no /proc, and nobody but main processes and their groups can be found.
    census: Option<Census>,
    /// None: there are none to be had.
    pub groups: Option<Groups>,
    over: Vec<Pid>,
    /// Programs beside main processes, each the leader of a group that ends with it.
    programs: BTreeSet<Pid>,
    /// Those of them that have ended.
    pub ended: Vec<(Pid, Exit)>,
    /// What was taken from the kernel and not told yet.
    events: VecDeque<Event>,
    leftovers: BTreeMap<Tree, Leftover>,
    /// Children of which it cannot be told yet whose they are: until then nothing is said to be all gone.
    doubts: BTreeMap<Pid, Doubt>,
    wanted: Vec<Wanted>,
    sweep: Option<Signal>,
    /// Whether to tell when there is no child any more.
    is_watched: bool,
    others_first: usize,
    /// What the dead have used.
    pub expenses: Expenses,
}

/// What a main process left behind.
#[derive(Clone, Copy, Debug)]
struct Leftover {
    /// It; None: its number is another's by now, and the run was said to be over.
    run: Option<Pid>,
    /// Its group, while that has members.
    group: Option<Pid>,
}

/// A child in the midst of execve(2).
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Mono,
    /// When it is looked at again: after as long as it has lasted.
    again: Mono,
}

/// [`Kin::learn`] or [`Kin::learn_all`].
type Learn = fn(&mut Kin, &[Fact], kin::Mark<'_>);

/// A signal for the strays of a service.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    of: Tree,
    signal: Signal,
    whom: Whom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    All,
    /// Those that were not asked before; SIGCONT follows.
    Unasked,
}

/// Whether there may be more changes than were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There were none left.
    All,
    /// There may be.
    Some,
}

impl Children {
    /// None yet.
    pub fn new() -> Children {
        let me = Pid(getpid().as_raw());
        let groups = Groups::find();
        let census = Census::new(groups.as_ref().map(Groups::names));
        if census.is_none() {
            tracing::warn!("/proc does not show this pid namespace: processes that leave their service's group are not found");
        }
        Children {
            me,
            kin: Kin::new(me),
            census,
            groups,
            over: Vec::new(),
            programs: BTreeSet::new(),
            ended: Vec::new(),
            events: VecDeque::new(),
            leftovers: BTreeMap::new(),
            doubts: BTreeMap::new(),
            wanted: Vec::new(),
            sweep: None,
            is_watched: false,
            others_first: 0,
            expenses: Expenses::default(),
        }
    }

    /// A process was started, a main one or that of a hook. Whoever had its number before is gone, and what is still to be told of it comes
    /// first: gives that.
    pub fn started(&mut self, tree: Tree, pid: Pid) -> VecDeque<Event> {
        self.kin.lead(pid, tree);
        if tree.part == Part::Main {
            self.expenses.close(tree.id);
        }
        self.wanted.retain(|wanted| wanted.of != tree); // was meant for the run before, of which nothing is left
        // The kernel gave the number out again, so the group is empty; it must not be taken for the new one's.
        for leftover in self.leftovers.values_mut().filter(|leftover| leftover.run == Some(pid)) {
            self.over.extend(leftover.run.take());
            leftover.group = None;
        }
        let (of_another, others) = self.events.drain(..).partition(|event| concerns(event, pid));
        self.events = others;
        of_another
    }

    /// It was born into its group; or could not be, and then nobody ever can.
    pub fn born(&mut self, tree: Tree, pid: Pid, group: Option<groups::Group>) {
        match (&mut self.groups, group) {
            (Some(groups), Some(group)) => groups.started(tree, pid, group),
            (groups, _) => *groups = None,
        }
    }

    /// A program was started beside a main process, as leader of a group that is to end with it.
    pub fn started_beside(&mut self, pid: Pid) {
        self.programs.insert(pid);
    }

    /// Sends a signal to such a program and its group, if it has not ended.
    pub fn signal_program(&self, pid: Pid, signal: Signal) {
        if self.programs.contains(&pid)
            && let Err(error) = reap::signal(pid, signal, Reach::Group)
        {
            tracing::warn!("cannot send {signal} to process {pid}: {error}");
        }
    }

    /// Whether this is the main process of the service.
    pub fn is_led_by(&self, id: ServiceId, pid: Pid) -> bool {
        self.kin.led_by(pid) == Some(Tree::main(id))
    }

    /// The service that a process belongs to, which need not be a child, nor still live.
    pub fn service_of(&mut self, pid: Pid, names: Names<'_>) -> Option<ServiceId> {
        let mut at = pid;
        for _ in 0..DEEPEST {
            if let Some(tree) = self.kin.led_by(at) {
                return Some(tree.id);
            }
            let fact = self.census.as_mut()?.stat(at)?.fact;
            if let Some(tree) = self.kin.led_by(fact.session).or_else(|| self.kin.owner(at, fact.birth)) {
                return Some(tree.id);
            }
            if fact.parent == self.me {
                return self.census.as_mut()?.mark(at).and_then(|mark| names(&mark.service));
            }
            at = fact.parent;
        }
        None
    }

    /// Takes what has changed from the kernel, for [`Children::next_event`].
    pub fn take(&mut self, names: Names<'_>) -> Taken {
        let mut taken = Taken::All;
        let mut changes = Vec::new();
        let mut ended = Vec::new();
        let mut count = 0;
        while let Some((change, owner)) = self.next_change() {
            let is_told = match change {
                Change::Exited { pid, exit, .. } if self.programs.remove(&pid) => {
                    self.kin.reaped(pid);
                    self.ended.push((pid, exit));
                    false
                }
                Change::Exited { pid, exit, spent, .. } => {
                    let led = self.kin.reaped(pid);
                    led.into_iter().filter(|tree| tree.part == Part::Main).for_each(|tree| self.expenses.close(tree.id));
                    owner.into_iter().for_each(|id| self.expenses.add(id, spent));
                    ended.extend(led.map(|id| (pid, id)));
                    led.is_some() || may_be_one(exit)
                }
                Change::Paused(pid) | Change::Resumed(pid) => self.kin.led_by(pid).is_some(),
            };
            changes.extend(is_told.then_some(change)); // nothing follows from the end of an orphan of nobody
            count += 1;
            if count == AT_A_TIME {
                taken = Taken::Some;
                break;
            }
        }
        self.look_at_leftovers();
        let ended: Vec<_> = ended.into_iter().map(|(pid, id)| (pid, id, self.if_left(pid))).collect();
        // While somebody is waited for, any child that ended may have left others, though it was not known itself.
        if self.kin.has_dead() || !self.leftovers.is_empty() || !self.doubts.is_empty() {
            self.adopt(names);
        }
        let has_new = |(id, leftover): &(&Tree, &Leftover)| self.kin.has_new_orphans(**id, leftover.group);
        let strayed: Vec<Tree> = self.leftovers.iter().filter(has_new).map(|(id, _)| *id).collect();
        let mut left = BTreeMap::new();
        for (pid, id, group) in ended {
            if self.may_be_left(group, id) {
                left.insert(pid, (id, Leftover { run: Some(pid), group }));
            } else {
                self.over.push(pid);
            }
        }
        self.events.extend(changes.into_iter().map(|change| match change {
            Change::Exited { pid, exit, peak, .. } => {
                let group = if left.contains_key(&pid) { Group::Left } else { Group::Empty };
                Event::Exited { pid, exit, group, peak }
            }
            Change::Paused(pid) => Event::Paused { pid },
            Change::Resumed(pid) => Event::Resumed { pid },
        }));
        self.events.extend(strayed.into_iter().map(|Tree { id, part }| Event::Strayed { id, part }));
        self.leftovers.extend(left.into_values());
        let groups: BTreeSet<Pid> = self.groups_left().map(|(_, group)| group).gather();
        self.kin.bury(|pid| groups.contains(&pid));
        taken
    }

    /// The next change of a child; with the end of an orphan, the service that it belonged to.
    fn next_change(&mut self) -> Option<(Change, Option<ServiceId>)> {
        let (kin, census, expenses, programs) = (&self.kin, &mut self.census, &self.expenses, &self.programs);
        let mut owner = None;
        let change = reap::next(|pid| {
            if programs.contains(&pid) {
                let _ = reap::signal(pid, Signal::KILL, Reach::Group); // who may not be killed is left to the end of the service
            }
            owner = if kin.led_by(pid).is_some() { None } else { expenses.owner(pid, kin, census.as_mut()) };
        })?;
        Some((change, owner))
    }

    /// The runs of which nothing is left, by their main processes; each once.
    pub fn take_over(&mut self) -> Vec<Pid> {
        let over = std::mem::take(&mut self.over);
        if let Some(groups) = &mut self.groups {
            over.iter().for_each(|run| groups.ended(*run));
        }
        over
    }

    /// Whether there is something to be told that was taken.
    pub fn has_untold(&self) -> bool {
        !self.events.is_empty()
    }

    /// What was taken, one by one.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What follows from all that was told: somebody left nothing any more, or the daemon is alone.
    pub fn conclude(&mut self) -> Option<Event> {
        if !self.events.is_empty() {
            return None; // the end of a main process is told before that of what it left
        }
        let is_alone = self.is_watched && self.is_alone();
        let drained = self.leftovers.iter().find(|(id, leftover)| is_alone || !self.may_be_left(leftover.group, **id));
        if let Some((tree, leftover)) = drained.map(|(tree, leftover)| (*tree, *leftover)) {
            self.leftovers.remove(&tree);
            self.over.extend(leftover.run);
            return Some(Event::Drained { id: tree.id, part: tree.part });
        }
        if is_alone {
            self.is_watched = false;
            return Some(Event::Alone);
        }
        None
    }

    /// Whether somebody is left of a run: its group, those that have left it, or, perhaps, who shows nothing yet.
    fn may_be_left(&self, group: Option<Pid>, id: Tree) -> bool {
        group.is_some() || self.kin.has_orphans(id) || !self.doubts.is_empty()
    }

    /// Whether there is no child any more, as far as that can be known.
    fn is_alone(&self) -> bool {
        match self.census {
            Some(_) => !reap::has_children(),
            None => self.kin.leaders().next().is_none() && self.leftovers.is_empty(),
        }
    }

    /// Sends a signal to a main process, or to its group.
    pub fn kill(&mut self, id: Tree, pid: Pid, signal: Signal, reach: Reach) {
        let is_led = self.kin.led_by(pid) == Some(id);
        let is_group = reach == Reach::Group && self.leftovers.get(&id).and_then(|leftover| leftover.group) == Some(pid);
        if !is_led && !is_group {
            return; // gone since it was decided; its number may be somebody else's
        }
        match reap::signal(pid, signal, reach) {
            Ok(()) => {}
            // Its last member had a parent elsewhere, and only that parent was told.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                self.leftovers.entry(id).and_modify(|leftover| leftover.group = None);
            }
            Err(error) => tracing::warn!("cannot send {signal} to process {pid}: {}", in_words(&error)),
        }
    }

    /// Sends a signal to all of a service outside its main process's group, soon.
    pub fn kill_strays(&mut self, of: Tree, signal: Signal) {
        self.wanted.push(Wanted { of, signal, whom: Whom::All });
    }

    /// Sends this signal and SIGCONT to those that have not been asked before, soon.
    pub fn ask_strays(&mut self, of: Tree, signal: Signal) {
        self.wanted.push(Wanted { of, signal, whom: Whom::Unasked });
    }

    /// Sends this signal and SIGCONT to all that descends from the daemon, soon, and tells when it is alone.
    pub fn sweep(&mut self, signal: Signal) {
        self.is_watched = true;
        self.sweep = Some(signal);
    }

    /// Whether strays are to be looked for now, `idle` being whether the loop has nothing else to do.
    pub fn is_time_to_reach(&mut self, idle: bool) -> bool {
        if self.wanted.is_empty() && self.sweep.is_none() {
            return false;
        }
        self.others_first += 1;
        idle || self.others_first > MOST_OTHERS
    }

    /// Does what [`Children::kill_strays`], [`Children::ask_strays`] and [`Children::sweep`] were asked for.
    pub fn reach_strays(&mut self, names: Names<'_>) {
        self.others_first = 0;
        let (wanted, sweep) = (std::mem::take(&mut self.wanted), self.sweep.take());
        let kills: Vec<Wanted> = wanted.iter().copied().filter(|wanted| wanted.signal == Signal::KILL).collect();
        if let Some(groups) = &self.groups {
            kills.iter().for_each(|wanted| groups.kill(wanted.of));
        }
        let Some(mut census) = self.census.take() else { return };
        let mut killed = BTreeSet::new();
        let known = self.targets(&kills); // before they beget others: a pass over all takes its time
        self.kill_groups(&kills, &mut census);
        reach(&mut census, known, &mut killed);
        for round in 0..ROUNDS {
            let facts = census.all();
            self.learn(&mut census, &facts, Kin::learn_all, names);
            self.kill_groups(&kills, &mut census);
            let mut targets = self.targets(if round == 0 { &wanted } else { &kills });
            if let Some(signal) = sweep {
                let all = descendants(self.me, &facts);
                targets.extend(all.iter().flat_map(|fact| [signal, Signal::CONT].map(|signal| (fact.pid, fact.birth, signal))));
            }
            if !reach(&mut census, targets, &mut killed) {
                break;
            }
        }
        self.census = Some(census);
    }

    /// Whom the wanted signals concern now. Whoever is asked or killed is remembered as reached.
    fn targets(&mut self, wanted: &[Wanted]) -> Vec<(Pid, Birth, Signal)> {
        let mut of: BTreeMap<Tree, Vec<Wanted>> = BTreeMap::new();
        for wanted in wanted {
            of.entry(wanted.of).or_default().push(*wanted);
        }
        let groups: BTreeMap<Tree, Pid> = self.kin.leaders().chain(self.groups_left()).gather();
        let mut targets = Vec::new();
        let mut reached = Vec::new();
        for relative in self.kin.relatives().filter(|relative| groups.get(&relative.of) != Some(&relative.group)) {
            for Wanted { signal, whom, .. } in of.get(&relative.of).into_iter().flatten() {
                match whom {
                    Whom::All => targets.push((relative.pid, relative.birth, *signal)),
                    Whom::Unasked if relative.is_reached => continue,
                    Whom::Unasked => targets.extend([*signal, Signal::CONT].map(|signal| (relative.pid, relative.birth, signal))),
                }
                if *whom == Whom::Unasked || *signal == Signal::KILL {
                    reached.push(relative.pid);
                }
            }
        }
        reached.into_iter().for_each(|pid| self.kin.reached(pid));
        targets
    }

    /// Kills all groups of strays that are pinned by a child of the daemon: nobody escapes that by forking and ending, as
    /// a process may that is killed by its number.
    fn kill_groups(&self, kills: &[Wanted], census: &mut Census) {
        let killed: BTreeSet<Tree> = kills.iter().map(|wanted| wanted.of).gather();
        let main: BTreeSet<Pid> = self.kin.leaders().chain(self.groups_left()).map(|(_, group)| group).gather();
        let children = self.kin.relatives().filter(|relative| relative.is_child && killed.contains(&relative.of));
        let groups: BTreeSet<Pid> = children.filter_map(|child| census.group(child.pid)).gather();
        for group in groups.difference(&main) {
            let _ = reap::signal(*group, Signal::KILL, Reach::Group); // who may not be killed is told of one by one
        }
    }

    fn groups_left(&self) -> impl Iterator<Item = (Tree, Pid)> {
        self.leftovers.iter().filter_map(|(id, leftover)| Some((*id, leftover.group?)))
    }

    /// Examines those children that are not known yet, and learns whose they are.
    fn adopt(&mut self, names: Names<'_>) {
        let Some(mut census) = self.census.take() else { return };
        let unknown = self.kin.unknown(&census.children());
        let facts: Vec<_> = unknown.into_iter().filter_map(|pid| census.fact(pid)).collect();
        self.learn(&mut census, &facts, Kin::learn, names);
        self.census = Some(census);
    }

    /// Learns whose these are. Children that show nothing yet are kept in doubt, for a while.
    fn learn(&mut self, census: &mut Census, facts: &[Fact], learn: Learn, names: Names<'_>) {
        let mut unread = Vec::new();
        learn(&mut self.kin, facts, &mut |pid| match census.marked(pid) {
            Marked::As(mark) => tree_of(&mark, names),
            Marked::Not => None,
            Marked::NotYet => {
                unread.push(pid);
                None
            }
        });
        let now = clock::now().mono;
        let before = std::mem::take(&mut self.doubts);
        for pid in unread {
            let since = before.get(&pid).map_or(now, |doubt| doubt.since);
            let age = now.since(since);
            if age < LONGEST_DOUBT && self.kin.doubt(pid) {
                self.doubts.insert(pid, Doubt { since, again: now + age.max(FIRST_DOUBT) });
            }
        }
    }

    /// When those are to be looked at again who show nothing yet.
    pub fn looks_again_at(&self) -> Option<Mono> {
        self.doubts.values().map(|doubt| doubt.again).min()
    }

    fn look_at_leftovers(&mut self) {
        let groups: Vec<(Tree, Pid)> = self.groups_left().collect();
        for (id, group) in groups {
            if self.if_left(group).is_none() {
                self.kin.forget(group);
                self.leftovers.entry(id).and_modify(|leftover| leftover.group = None);
            }
        }
    }

    /// The group, if anybody of it is left.
    fn if_left(&mut self, group: Pid) -> Option<Pid> {
        let kin = &mut self.kin;
        let left = reap::what_is_left(group, |dead| {
            kin.reaped(dead);
        });
        (left == Group::Left).then_some(group)
    }
}

/// Sends the signals, SIGKILL to nobody twice; whether somebody got it who had not.
fn reach(census: &mut Census, targets: Vec<(Pid, Birth, Signal)>, killed: &mut BTreeSet<(Pid, Birth)>) -> bool {
    let mut is_new = false;
    for (pid, birth, signal) in targets {
        if signal == Signal::KILL {
            if !killed.insert((pid, birth)) {
                continue;
            }
            is_new = true;
        }
        let is_still_it = || census.fact(pid).is_some_and(|fact| fact.birth == birth);
        if let Err(error) = reap::signal_stray(pid, signal, is_still_it) {
            tracing::warn!("cannot send {signal} to process {pid}: {}", in_words(&error));
        }
    }
    is_new
}

/// Whose a process is, by its mark. The name of no hook is that of nothing we know: it is the main process's then.
fn tree_of(mark: &Mark, names: Names<'_>) -> Option<Tree> {
    let part = mark.hook.as_deref().and_then(Hook::named).map_or(Part::Main, Part::Hook);
    Some(Tree { id: names(&mark.service)?, part })
}

fn concerns(event: &Event, of: Pid) -> bool {
    match event {
        Event::Exited { pid, .. } | Event::Paused { pid } | Event::Resumed { pid } => *pid == of,
        _ => false,
    }
}
