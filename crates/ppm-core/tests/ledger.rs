//! To whose account processes are put, from look to look.

use ppm_core::event::{Pid, Running, ServiceId};
use ppm_core::kin::{Birth, Fact};
use ppm_core::ledger::{Escaped, Ledger};

const DAEMON: Pid = Pid(1);
const WEB: ServiceId = ServiceId(1);
const DB: ServiceId = ServiceId(2);

fn fact(pid: i32, parent: i32, session: i32, birth: u64) -> Fact {
    Fact { pid: Pid(pid), parent: Pid(parent), group: Pid(session), session: Pid(session), birth: Birth(birth) }
}

fn running(id: ServiceId, pid: i32, name: &str) -> Running {
    Running { id, pid: Pid(pid), name: name.to_owned() }
}

/// The daemon, web as 10 and db as 20, and then these.
fn facts(more: &[Fact]) -> Vec<Fact> {
    [fact(1, 0, 1, 1), fact(10, 1, 10, 100), fact(20, 1, 20, 100)].into_iter().chain(more.iter().copied()).collect()
}

/// The owners of those after the first three.
fn look(ledger: &mut Ledger, facts: &[Fact], mark: Option<&str>) -> Vec<Option<ServiceId>> {
    let both = [running(WEB, 10, "web"), running(DB, 20, "db")];
    let owners = ledger.owners(&both, facts, &mut |_| mark.map(str::to_owned));
    assert_eq!(owners[..3], [None, Some(WEB), Some(DB)], "the daemon is nobody's, a main process its service's");
    owners[3..].to_vec()
}

#[test]
fn session_descent_and_mark_tell_whose_a_process_is() {
    let mut ledger = Ledger::new(DAEMON);
    let all = facts(&[fact(11, 10, 10, 200), fact(12, 11, 12, 300), fact(21, 1, 20, 300), fact(30, 1, 30, 300)]);
    assert_eq!(look(&mut ledger, &all, Some("db")), [Some(WEB), Some(WEB), Some(DB), Some(DB)]);
    let escaped = |pid, of, birth| Escaped { of, pid: Pid(pid), birth: Birth(birth) };
    assert_eq!(ledger.escaped(&all), [escaped(12, WEB, 300), escaped(30, DB, 300)], "whom the session does not tell of");
}

#[test]
fn who_was_known_by_descent_stays_known_as_an_orphan_without_a_mark() {
    let mut ledger = Ledger::new(DAEMON);
    assert_eq!(look(&mut ledger, &facts(&[fact(11, 10, 11, 200)]), None), [Some(WEB)]);
    assert_eq!(look(&mut ledger, &facts(&[fact(11, 1, 11, 200)]), None), [Some(WEB)]);
    assert_eq!(look(&mut ledger, &facts(&[fact(11, 1, 11, 900)]), None), [None], "another with the same number");
}

#[test]
fn r19_who_is_gone_is_forgotten_children_of_the_daemon_too() {
    let mut ledger = Ledger::new(DAEMON);
    assert_eq!(look(&mut ledger, &facts(&[fact(11, 1, 11, 200)]), Some("web")), [Some(WEB)]);
    assert_eq!(look(&mut ledger, &facts(&[]), None), []);
    assert_eq!(look(&mut ledger, &facts(&[fact(12, 11, 11, 300)]), None), [None], "whoever has its number by now");
}

#[test]
fn a_main_process_whose_number_is_anothers_by_now_leads_nobody() {
    let mut ledger = Ledger::new(DAEMON);
    let stranger = [fact(1, 0, 1, 1), fact(10, 5, 10, 900), fact(11, 10, 10, 950)];
    assert_eq!(ledger.owners(&[running(WEB, 10, "web")], &stranger, &mut |_| None), [None, None, None]);
}

#[test]
fn an_orphan_that_becomes_a_main_process_is_one() {
    let mut ledger = Ledger::new(DAEMON);
    let early = [fact(1, 0, 1, 1), fact(10, 1, 10, 100)];
    assert_eq!(ledger.owners(&[], &early, &mut |_| Some("web".to_owned())), [None, None], "its start was not told yet");
    assert_eq!(*ledger.owners(&[running(WEB, 10, "web")], &early, &mut |_| None).last().unwrap(), Some(WEB));
}
