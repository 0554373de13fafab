//! Which process belongs to which service.
//!
//! A service is all that descends from its main process (and a hook of it all that descends from the hook's), also what left its group and session and what was adopted
//! by the daemon since. Nobody keeps a record of descent, so it is put together from what the kernel shows: the
//! session, the parent, what was known before, and for orphans a mark in their environment. Pure: reads nothing, is
//! given [`Fact`]s. Invariant: a number that was given out again never makes a process a member of a service, since
//! all that is remembered of a number is remembered together with its [`Birth`], or while nobody else can have it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use crate::event::{Pid, Tree};
use crate::gather::Gather;

/// When a process was born, in clock ticks since the machine started (proc_pid_stat(5), field 22): together with the
/// number it tells a process from every other (R19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Birth(pub u64);

/// What the kernel shows of a living process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its number.
    pub pid: Pid,
    /// Its parent's, the daemon's for an orphan.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// When it was born.
    pub birth: Birth,
}

/// The mark of a process: the service, and the hook of it, whose names its environment holds, if there are such.
pub type Mark<'a> = &'a mut dyn FnMut(Pid) -> Option<Tree>;

/// All that is known of who belongs to whom.
#[derive(Debug)]
pub struct Kin {
    daemon: Pid,
    leaders: BTreeMap<Pid, Tree>,
    /// Dead leaders and members whose numbers others still hold as their session or group.
    dead: BTreeMap<Pid, Tree>,
    members: BTreeMap<Pid, Member>,
}

/// A process that is no service's main one.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// None: an orphan of nobody, remembered so that it is examined once.
    of: Option<Tree>,
    birth: Birth,
    group: Pid,
    /// A child of the daemon: its number is its own until it has been reaped.
    is_child: bool,
    is_reached: bool,
}

/// A process of a service that is not its main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relative {
    /// Whose it is.
    pub of: Tree,
    /// Its number.
    pub pid: Pid,
    /// When it was born.
    pub birth: Birth,
    /// Its process group, as it was last seen.
    pub group: Pid,
    /// Whether it is a child of the daemon: until it has been reaped, its number is its own, and its group's that of
    /// its group.
    pub is_child: bool,
    /// Whether [`Kin::reached`] was told of it.
    pub is_reached: bool,
}

impl Kin {
    /// Nobody, in the eyes of this daemon.
    pub fn new(daemon: Pid) -> Kin {
        Kin { daemon, leaders: BTreeMap::new(), dead: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// This process was started as the service's main one. Whoever had the number before is gone.
    pub fn lead(&mut self, pid: Pid, id: Tree) {
        self.dead.remove(&pid);
        self.members.remove(&pid);
        self.leaders.insert(pid, id);
    }

    /// From now on these are the main processes, and nobody else is. Whoever had their numbers before is gone.
    pub fn lead_only(&mut self, leaders: BTreeMap<Pid, Tree>) {
        self.members.retain(|pid, _| !leaders.contains_key(pid));
        self.leaders = leaders;
    }

    /// The service whose main process this is.
    pub fn led_by(&self, pid: Pid) -> Option<Tree> {
        self.leaders.get(&pid).copied()
    }

    /// This child was reaped. Its number speaks for those that hold it as their session or group until
    /// [`Kin::bury`]. Gives the service whose main process it was.
    pub fn reaped(&mut self, pid: Pid) -> Option<Tree> {
        let led = self.leaders.remove(&pid);
        let was_member = self.members.remove(&pid).and_then(|member| member.of);
        self.dead.extend(led.or(was_member).map(|id| (pid, id)));
        led
    }

    /// Whether somebody was reaped whose children are the daemon's now.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The number of a dead one is nobody's any more.
    pub fn forget(&mut self, pid: Pid) {
        self.dead.remove(&pid);
    }

    /// Forgets the numbers of the dead but those that are kept: of groups that still have members.
    pub fn bury(&mut self, keep: impl Fn(Pid) -> bool) {
        self.dead.retain(|pid, _| keep(*pid));
    }

    /// Those of the daemon's children that are neither leaders nor known as adopted.
    pub fn unknown(&self, children: &[Pid]) -> Vec<Pid> {
        let is_known = |pid: &Pid| self.leaders.contains_key(pid) || self.members.get(pid).is_some_and(|member| member.is_child);
        children.iter().copied().filter(|pid| !is_known(pid)).collect()
    }

    /// Learns from some processes whose they are. The mark is asked for of orphans, once.
    pub fn learn(&mut self, facts: &[Fact], mark: Mark<'_>) {
        let by_pid: BTreeMap<Pid, &Fact> = facts.iter().map(|fact| (fact.pid, fact)).gather();
        let mut owners = BTreeMap::new();
        for fact in facts {
            self.find_owner(fact, &by_pid, &mut owners, mark);
        }
        for fact in facts.iter().filter(|fact| fact.pid != self.daemon && !self.leaders.contains_key(&fact.pid)) {
            let of = owners.get(&fact.pid).copied().flatten();
            let is_child = fact.parent == self.daemon;
            let before = self.members.remove(&fact.pid).filter(|before| before.birth == fact.birth);
            if of.is_some() || is_child {
                let is_reached = before.is_some_and(|before| before.is_reached);
                self.members.insert(fact.pid, Member { of, birth: fact.birth, group: fact.group, is_child, is_reached });
            }
        }
    }

    /// Learns from all processes that there are; whoever is not among them, and no child, is no more.
    pub fn learn_all(&mut self, facts: &[Fact], mark: Mark<'_>) {
        let alive: BTreeSet<(Pid, Birth)> = facts.iter().map(|fact| (fact.pid, fact.birth)).gather();
        self.members.retain(|pid, member| member.is_child || alive.contains(&(*pid, member.birth)));
        self.learn(facts, mark);
    }

    /// An orphan that was learnt to be nobody's could not be read: it is to be examined again. Whether it was one.
    pub fn doubt(&mut self, pid: Pid) -> bool {
        let is_nobodys = self.members.get(&pid).is_some_and(|member| member.of.is_none());
        if is_nobodys {
            self.members.remove(&pid);
        }
        is_nobodys
    }

    /// Forgets whoever is not among these: all processes that there are, with the dead that have not been reaped.
    pub fn keep_only(&mut self, facts: &[Fact]) {
        let there: BTreeSet<(Pid, Birth)> = facts.iter().map(|fact| (fact.pid, fact.birth)).gather();
        self.members.retain(|pid, member| there.contains(&(*pid, member.birth)));
    }

    /// The service that this child of the daemon belongs to, which has not been reaped yet, as far as was learnt.
    pub fn owner_of_child(&self, pid: Pid) -> Option<Tree> {
        self.members.get(&pid).filter(|member| member.is_child)?.of
    }

    /// The service that this process belongs to, as far as was learnt.
    pub fn owner(&self, pid: Pid, birth: Birth) -> Option<Tree> {
        let member = || self.members.get(&pid).filter(|member| member.birth == birth)?.of;
        self.led_by(pid).or_else(member)
    }

    /// The services that have a main process, and those.
    pub fn leaders(&self) -> impl Iterator<Item = (Tree, Pid)> {
        self.leaders.iter().map(|(pid, id)| (*id, *pid))
    }

    /// All known members but the main processes.
    pub fn relatives(&self) -> impl Iterator<Item = Relative> {
        self.members.iter().filter_map(|(pid, member)| {
            let Member { of, birth, group, is_child, is_reached } = *member;
            Some(Relative { of: of?, pid: *pid, birth, group, is_child, is_reached })
        })
    }

    /// Whether the daemon has adopted members of this service that live.
    pub fn has_orphans(&self, id: Tree) -> bool {
        self.orphans(id).next().is_some()
    }

    /// Whether the daemon has adopted members of this service, outside its group, that were not reached.
    pub fn has_new_orphans(&self, id: Tree, group: Option<Pid>) -> bool {
        self.orphans(id).any(|member| !member.is_reached && Some(member.group) != group)
    }

    /// A process was reached by the end of its service: asked, or killed.
    pub fn reached(&mut self, pid: Pid) {
        if let Some(member) = self.members.get_mut(&pid) {
            member.is_reached = true;
        }
    }

    fn orphans(&self, id: Tree) -> impl Iterator<Item = &Member> {
        self.members.values().filter(move |member| member.is_child && member.of == Some(id))
    }

    /// Goes from a process to the one that tells whose it is, and so on, until one is known.
    fn find_owner(&self, fact: &Fact, by_pid: &BTreeMap<Pid, &Fact>, owners: &mut BTreeMap<Pid, Option<Tree>>, mark: Mark<'_>) {
        let mut way = Vec::new();
        let mut at = *fact;
        let owner = loop {
            if let Some(known) = owners.get(&at.pid) {
                break *known;
            }
            owners.insert(at.pid, None); // facts that contradict each other must not lead round in circles
            way.push(at.pid);
            match self.look_at(&at, by_pid, mark) {
                Looked::Known(owner) => break owner,
                Looked::LikeThat(other) => at = other,
            }
        };
        owners.extend(way.into_iter().map(|pid| (pid, owner)));
    }

    fn look_at(&self, fact: &Fact, by_pid: &BTreeMap<Pid, &Fact>, mark: Mark<'_>) -> Looked {
        let id = |pid: Pid| self.leaders.get(&pid).or_else(|| self.dead.get(&pid)).copied();
        let before = self.members.get(&fact.pid).filter(|member| member.birth == fact.birth);
        if fact.pid == self.daemon {
            return Looked::Known(None);
        }
        if let Some(of) = self.led_by(fact.pid).or_else(|| before?.of) {
            return Looked::Known(Some(of));
        }
        if before.is_some_and(|member| member.is_child) {
            return Looked::Known(None); // examined before
        }
        if let Some(of) = id(fact.session) {
            return Looked::Known(Some(of));
        }
        if fact.parent != self.daemon {
            // A parent is no younger: one that is has its number from the real one, which ended meanwhile.
            let parent = by_pid.get(&fact.parent).filter(|parent| parent.birth <= fact.birth);
            return parent.map_or(Looked::Known(None), |parent| Looked::LikeThat(**parent));
        }
        if let Some(of) = mark(fact.pid).or_else(|| id(fact.group)) {
            return Looked::Known(Some(of));
        }
        let leader = by_pid.get(&fact.session).filter(|leader| leader.pid != fact.pid && leader.birth <= fact.birth);
        let known_leader = || self.members.get(&fact.session).filter(|leader| leader.is_child && leader.birth <= fact.birth);
        match leader {
            Some(leader) => Looked::LikeThat(**leader),
            None => Looked::Known(known_leader().and_then(|leader| leader.of)),
        }
    }
}

/// What a process tells of whose it is.
enum Looked {
    Known(Option<Tree>),
    LikeThat(Fact),
}

/// All that descends from this process.
pub fn descendants(of: Pid, facts: &[Fact]) -> Vec<Fact> {
    let by_pid: BTreeMap<Pid, &Fact> = facts.iter().map(|fact| (fact.pid, fact)).gather();
    let mut known: BTreeMap<Pid, bool> = once((of, true)).gather();
    for fact in facts {
        let mut way = Vec::new();
        let mut at = fact;
        let descends = loop {
            if let Some(known) = known.get(&at.pid) {
                break *known;
            }
            known.insert(at.pid, false);
            way.push(at.pid);
            match by_pid.get(&at.parent) {
                _ if at.parent == of => break true,
                Some(parent) if parent.birth <= at.birth => at = parent,
                Some(_) | None => break false,
            }
        };
        known.extend(way.into_iter().map(|pid| (pid, descends)));
    }
    facts.iter().filter(|fact| fact.pid != of && known.get(&fact.pid) == Some(&true)).copied().collect()
}
