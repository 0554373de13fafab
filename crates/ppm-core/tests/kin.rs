//! Whose a process is: told case by case, and in random worlds in which few numbers are given out again and again.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeMap;

use ppm_core::chance::Chance;
use ppm_core::event::{Pid, ServiceId, Tree};
use ppm_core::kin::{Birth, Fact, Kin, Relative, descendants};

const DAEMON: Pid = Pid(1);
const WEB: Tree = Tree::main(ServiceId(1));
const DB: Tree = Tree::main(ServiceId(2));

fn fact(pid: i32, parent: i32, group: i32, session: i32, birth: u64) -> Fact {
    Fact { pid: Pid(pid), parent: Pid(parent), group: Pid(group), session: Pid(session), birth: Birth(birth) }
}

/// The daemon with web (10) and db (20).
fn kin() -> Kin {
    let mut kin = Kin::new(DAEMON);
    kin.lead(Pid(10), WEB);
    kin.lead(Pid(20), DB);
    kin
}

fn leaders() -> Vec<Fact> {
    vec![fact(10, 1, 10, 10, 100), fact(20, 1, 20, 20, 100)]
}

fn owner_of(kin: &mut Kin, facts: &[Fact], mark: Option<Tree>) -> Option<Tree> {
    let last = *facts.last().unwrap();
    kin.learn_all(facts, &mut |_| mark);
    kin.owner(last.pid, last.birth)
}

fn after_leaders(more: &[Fact]) -> Vec<Fact> {
    leaders().into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn whoever_is_in_the_session_of_a_leader_is_of_its_service() {
    assert_eq!(owner_of(&mut kin(), &after_leaders(&[fact(11, 1, 11, 10, 200)]), None), Some(WEB));
    assert_eq!(owner_of(&mut kin(), &after_leaders(&[fact(11, 1, 11, 12, 200)]), None), None);
}

#[test]
fn r21_whoever_left_the_session_is_known_by_descent() {
    let facts = after_leaders(&[fact(11, 10, 11, 11, 200), fact(12, 11, 12, 12, 300)]);
    assert_eq!(owner_of(&mut kin(), &facts, None), Some(WEB));
    let children_first: Vec<Fact> = facts.iter().rev().copied().collect();
    let mut kin = kin();
    kin.learn_all(&children_first, &mut |_| None);
    assert_eq!(kin.owner(Pid(12), Birth(300)), Some(WEB));
}

#[test]
fn whoever_was_known_by_descent_stays_known_as_an_orphan() {
    let mut kin = kin();
    kin.learn_all(&after_leaders(&[fact(11, 10, 11, 11, 200)]), &mut |_| None);
    assert_eq!(owner_of(&mut kin, &after_leaders(&[fact(11, 1, 11, 11, 200)]), None), Some(WEB));
    assert!(kin.has_orphans(WEB) && !kin.has_orphans(DB));
}

#[test]
fn r19_a_number_that_was_given_out_again_is_not_known() {
    let mut kin = kin();
    kin.learn_all(&after_leaders(&[fact(11, 10, 11, 11, 200)]), &mut |_| None);
    assert_eq!(owner_of(&mut kin, &after_leaders(&[fact(11, 1, 11, 11, 900)]), None), None);
}

#[test]
fn a_parent_younger_than_its_child_is_not_its_parent() {
    let facts = after_leaders(&[fact(30, 10, 30, 30, 500), fact(11, 30, 11, 11, 200)]);
    assert_eq!(owner_of(&mut kin(), &facts, None), None);
}

#[test]
fn an_orphan_is_known_by_its_mark_which_is_looked_at_once() {
    let mut kin = kin();
    let mut looks = 0;
    for _ in 0..3 {
        kin.learn_all(&after_leaders(&[fact(30, 1, 30, 30, 500), fact(31, 30, 31, 31, 600)]), &mut |pid| {
            assert_eq!(pid, Pid(30), "only orphans are looked at");
            looks += 1;
            Some(DB)
        });
    }
    assert_eq!((looks, kin.owner(Pid(30), Birth(500)), kin.owner(Pid(31), Birth(600))), (1, Some(DB), Some(DB)));
    let mut looks = 0;
    for _ in 0..3 {
        kin.learn_all(&after_leaders(&[fact(40, 1, 40, 40, 500)]), &mut |_| {
            looks += 1;
            None
        });
    }
    assert_eq!((looks, kin.owner(Pid(40), Birth(500))), (1, None));
}

#[test]
fn an_orphan_without_a_mark_is_known_by_the_dead_whose_session_or_group_it_is_in() {
    for orphan in [fact(12, 1, 12, 11, 300), fact(12, 1, 11, 9, 300)] {
        let mut kin = kin();
        kin.learn(&[fact(11, 1, 11, 11, 200)], &mut |_| Some(WEB));
        assert_eq!(kin.reaped(Pid(11)), None);
        assert!(kin.has_dead());
        kin.learn(&[orphan], &mut |_| None);
        assert_eq!(kin.owner(orphan.pid, orphan.birth), Some(WEB));
        kin.bury(|_| false);
        assert!(!kin.has_dead());
        kin.learn(&[Fact { pid: Pid(13), ..orphan }], &mut |_| None);
        assert_eq!(kin.owner(Pid(13), orphan.birth), None, "the number may be another's by now");
    }
}

#[test]
fn the_orphans_of_a_dead_leader_are_of_its_service() {
    let mut kin = kin();
    assert_eq!(kin.reaped(Pid(10)), Some(WEB));
    kin.learn(&[fact(11, 1, 11, 10, 200)], &mut |_| None);
    let expected = Relative { of: WEB, pid: Pid(11), birth: Birth(200), group: Pid(11), is_child: true, is_reached: false };
    assert_eq!(kin.relatives().collect::<Vec<_>>(), [expected]);
    assert_eq!(kin.leaders().collect::<Vec<_>>(), [(DB, Pid(20))]);
}

#[test]
fn r17_an_orphan_whose_mark_could_not_be_read_yet_is_examined_again() {
    let mut kin = kin();
    let orphan = fact(30, 1, 30, 30, 300);
    kin.learn(&[orphan, fact(31, 1, 31, 10, 300)], &mut |_| None);
    assert_eq!(kin.unknown(&[Pid(30), Pid(31)]), []);
    assert!(kin.doubt(Pid(30)));
    assert!(!kin.doubt(Pid(31)), "its session tells whose it is");
    assert_eq!(kin.unknown(&[Pid(30), Pid(31)]), [Pid(30)]);
    kin.learn(&[orphan], &mut |_| Some(WEB));
    assert_eq!(kin.owner(Pid(30), orphan.birth), Some(WEB));
    assert!(!kin.doubt(Pid(30)), "nobody doubts what is known");
}

#[test]
fn children_are_unknown_until_they_are_learnt_and_again_when_they_were_reaped() {
    let mut kin = kin();
    let children = [Pid(10), Pid(20), Pid(30)];
    assert_eq!(kin.unknown(&children), [Pid(30)]);
    kin.learn(&[fact(30, 1, 30, 30, 300)], &mut |_| None);
    assert_eq!(kin.unknown(&children), []);
    kin.reaped(Pid(30));
    assert_eq!(kin.unknown(&children), [Pid(30)]);
    kin.learn_all(&after_leaders(&[fact(11, 10, 11, 11, 200)]), &mut |_| None);
    assert_eq!(kin.unknown(&[Pid(11)]), [Pid(11)], "adopted since");
}

#[test]
fn a_stray_that_was_reached_is_remembered_until_it_ends() {
    let mut kin = kin();
    let stray = fact(11, 1, 11, 11, 200);
    kin.learn(&[stray], &mut |_| Some(WEB));
    assert!(kin.has_new_orphans(WEB, None) && kin.has_new_orphans(WEB, Some(Pid(10))));
    assert!(!kin.has_new_orphans(WEB, Some(Pid(11))), "who is in the group is reached with the group");
    kin.reached(Pid(11));
    kin.learn_all(&after_leaders(&[stray]), &mut |_| None);
    assert!(kin.has_orphans(WEB) && !kin.has_new_orphans(WEB, None));
    kin.learn_all(&after_leaders(&[Fact { birth: Birth(900), ..stray }]), &mut |_| Some(WEB));
    assert!(kin.has_new_orphans(WEB, None), "another of the same number");
}

#[test]
fn facts_that_contradict_each_other_lead_to_nobody_and_to_an_end() {
    let facts = after_leaders(&[fact(30, 31, 30, 30, 300), fact(31, 30, 31, 31, 300)]);
    assert_eq!(owner_of(&mut kin(), &facts, None), None);
    assert_eq!(descendants(DAEMON, &facts), leaders());
}

#[test]
fn descendants_are_all_below_and_nobody_else() {
    // R76: what was put into the container from outside has no parent in it.
    let facts = after_leaders(&[fact(1, 0, 1, 1, 1), fact(11, 10, 11, 11, 200), fact(90, 0, 90, 90, 400), fact(91, 90, 90, 90, 401)]);
    let found: Vec<Pid> = descendants(DAEMON, &facts).iter().map(|fact| fact.pid).collect();
    assert_eq!(found, [Pid(10), Pid(20), Pid(11)]);
}

/// A process of a random world, and whose it truly is.
#[derive(Clone, Copy)]
struct Real {
    fact: Fact,
    of: Tree,
    marked: bool,
    is_leader: bool,
}

/// Few numbers, so that they come round soon.
const NUMBERS: std::ops::Range<i32> = 2..24;

struct World {
    chance: Chance,
    alive: BTreeMap<Pid, Real>,
    clock: u64,
    all_marked: bool,
}

impl World {
    fn roll(&mut self, sides: u64) -> u64 {
        self.chance.next() % sides
    }

    /// A number that is nobody's, nor anybody's group or session (credentials(7)).
    fn free(&mut self) -> Option<Pid> {
        let is_taken = |pid: &Pid| self.alive.values().any(|real| [real.fact.pid, real.fact.group, real.fact.session].contains(pid));
        let free: Vec<Pid> = NUMBERS.map(Pid).filter(|pid| !is_taken(pid)).collect();
        let at = usize::try_from(self.roll(free.len().max(1) as u64)).unwrap();
        free.get(at).copied()
    }

    fn pick(&mut self) -> Option<Real> {
        let at = usize::try_from(self.roll(self.alive.len().max(1) as u64)).unwrap();
        self.alive.values().nth(at).copied()
    }

    fn start(&mut self, kin: &mut Kin) {
        let Some(pid) = self.free() else { return };
        self.clock += 1;
        let of = Tree::main(ServiceId(u32::try_from(self.clock).unwrap()));
        let fact = Fact { pid, parent: DAEMON, group: pid, session: pid, birth: Birth(self.clock) };
        self.alive.insert(pid, Real { fact, of, marked: true, is_leader: true });
        kin.lead(pid, of);
    }

    fn fork(&mut self) {
        let (Some(parent), Some(pid)) = (self.pick(), self.free()) else { return };
        self.clock += 1;
        let keeps = self.all_marked || self.roll(3) > 0;
        let fact = Fact { pid, parent: parent.fact.pid, birth: Birth(self.clock), ..parent.fact };
        self.alive.insert(pid, Real { fact, marked: parent.marked && keeps, is_leader: false, ..parent });
    }

    fn wander(&mut self) {
        let Some(mut real) = self.pick() else { return };
        if real.is_leader {
            return;
        }
        real.fact.group = real.fact.pid;
        if self.roll(2) == 0 {
            real.fact.session = real.fact.pid;
        }
        self.alive.insert(real.fact.pid, real);
    }

    /// It ends: its children are the daemon's, and so is it to reap if it was a child.
    fn end(&mut self, kin: &mut Kin) {
        let Some(real) = self.pick() else { return };
        self.alive.remove(&real.fact.pid);
        for child in self.alive.values_mut().filter(|child| child.fact.parent == real.fact.pid) {
            child.fact.parent = DAEMON;
        }
        if real.fact.parent == DAEMON {
            kin.reaped(real.fact.pid);
        }
        if kin.has_dead() {
            self.look_at_children(kin);
        }
    }

    fn look_at_children(&mut self, kin: &mut Kin) {
        let children: Vec<Pid> = self.facts().iter().filter(|fact| fact.parent == DAEMON).map(|fact| fact.pid).collect();
        let facts: Vec<Fact> = kin.unknown(&children).iter().map(|pid| self.alive[pid].fact).collect();
        kin.learn(&facts, &mut |pid| self.mark(pid));
        kin.bury(|_| false);
    }

    fn look_at_all(&mut self, kin: &mut Kin) {
        kin.learn_all(&self.facts(), &mut |pid| self.mark(pid));
    }

    fn facts(&self) -> Vec<Fact> {
        self.alive.values().map(|real| real.fact).collect()
    }

    fn mark(&self, pid: Pid) -> Option<Tree> {
        self.alive.get(&pid).filter(|real| real.marked).map(|real| real.of)
    }
}

#[test]
fn r19_numbers_that_come_round_never_mix_services_up() {
    for seed in 0..200 {
        let mut kin = Kin::new(DAEMON);
        let mut world = World { chance: Chance::new(seed), alive: BTreeMap::new(), clock: 0, all_marked: seed % 2 == 0 };
        for turn in 0..150 {
            match world.roll(12) {
                0 | 1 => world.start(&mut kin),
                2..=5 => world.fork(),
                6 | 7 => world.wander(),
                8..=10 => world.end(&mut kin),
                _ => world.look_at_all(&mut kin),
            }
            for real in world.alive.values() {
                let found = kin.owner(real.fact.pid, real.fact.birth);
                assert!(
                    found.is_none_or(|of| of == real.of),
                    "seed {seed}, turn {turn}: {:?} is {:?}'s, not {found:?}'s",
                    real.fact,
                    real.of
                );
            }
        }
        world.look_at_all(&mut kin);
        for real in world.alive.values().filter(|_| world.all_marked) {
            assert_eq!(kin.owner(real.fact.pid, real.fact.birth), Some(real.of), "seed {seed}: {:?}", real.fact);
        }
    }
}
