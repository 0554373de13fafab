//! The simulation: random histories from a seed, with every invariant checked after every turn.
//!
//! The supervisor is driven by the same [`ppm_core::event::turn`] as in the daemon, against a make-believe kernel
//! and users who ask for anything. `PPM_SIM_RUNS` says how many histories are told, `PPM_SIM_SEED` tells one of them
//! alone. A failure prints the seed and the history.
#![expect(clippy::disallowed_methods, reason = "how many histories are told is asked of the environment")]
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events do not concern most rules")]

mod calls;
mod dice;
mod fault;
mod heard;
mod history;
mod hooks;
mod judge;
mod model;
mod needs;
mod probed;
mod whims;
mod world;

use std::fmt::Write;

use crate::fault::{Fault, TABLE};
use crate::history::{Told, Trace, tell};

/// How many histories are told unless `PPM_SIM_RUNS` says otherwise.
const RUNS: u64 = 10_000;

/// Within how many histories a planted fault must be found.
const FOUND_WITHIN: u64 = 1000;

#[test]
fn random_histories_keep_every_invariant() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PPM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PPM_SIM_RUNS").unwrap_or(RUNS),
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<Vec<u64>> = (0..workers).map(|worker| seeds.clone().skip(worker).step_by(workers).collect()).collect();
    std::thread::scope(|scope| {
        let told: Vec<_> = shares.iter().map(|share| scope.spawn(|| first_failure(share))).collect();
        let failures = told.into_iter().filter_map(|worker| worker.join().unwrap());
        if let Some(seed) = failures.min() {
            panic!("{}", in_full(seed, None));
        }
    });
}

#[test]
fn the_same_seed_tells_the_same_history() {
    let mut turns = 0;
    for seed in 0..100 {
        let (one, other) = (tell(seed, None, Trace::Kept), tell(seed, None, Trace::Kept));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        turns += one.turns;
    }
    assert!(turns > 5000, "the histories are too short to tell anything: {turns} turns");
}

#[test]
fn every_planted_fault_is_found_by_the_rule_that_forbids_it() {
    let missed: Vec<String> = TABLE.iter().filter_map(|(fault, rules)| why_missed(*fault, rules)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

fn first_failure(seeds: &[u64]) -> Option<u64> {
    seeds.iter().copied().find(|seed| tell(*seed, None, Trace::Dropped).verdict.is_err())
}

fn why_missed(fault: Fault, rules: &[&str]) -> Option<String> {
    for seed in 0..FOUND_WITHIN {
        if let Err(violation) = tell(seed, Some(fault), Trace::Dropped).verdict {
            let fits = rules.contains(&violation.rule);
            return (!fits).then(|| format!("{fault:?} is found with seed {seed}, but not by {rules:?}: {violation}"));
        }
    }
    Some(format!("{fault:?} is not found in {FOUND_WITHIN} histories"))
}

/// The whole of a failed history.
fn in_full(seed: u64, fault: Option<Fault>) -> String {
    let Told { verdict, trace, turns } = tell(seed, fault, Trace::Kept);
    let mut text = format!("seed {seed}, {turns} turns\n");
    for line in trace {
        writeln!(text, "{line}").unwrap();
    }
    let violation = verdict.err().map_or("nothing is broken".to_owned(), |violation| violation.to_string());
    write!(text, "{violation}\n    tell it alone with PPM_SIM_SEED={seed}").unwrap();
    text
}
