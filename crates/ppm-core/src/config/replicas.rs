//! `replicas`: several services alike, written once.
//!
//! Read as one; when all is right they become as many. Invariant: no two services have one name or number afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::field::Field;
use super::read::Reader;
use super::tree::At;
use crate::gather::Gather;
use crate::names;
use crate::spec::{MAX_SERVICES, ServiceSpec, replica_name, shown};

/// How many replicas there may be of a service: as many as there may be services.
#[expect(clippy::cast_possible_truncation, reason = "it is a small constant")]
pub const MOST_REPLICAS: u32 = MAX_SERVICES as u32;

/// A service that is to be several.
#[derive(Debug)]
pub(super) struct Several {
    /// Its name.
    pub name: String,
    /// The number of the first.
    pub id: Option<u32>,
    /// How many.
    pub count: u32,
    /// Where that is written.
    pub at: At,
}

impl Reader {
    pub(super) fn replicas(&mut self, field: Field<'_>, service: &ServiceSpec) {
        let Some(count) = self.whole(field, 1, MOST_REPLICAS) else { return };
        let last = replica_name(&service.name, count);
        if !service.name.is_empty() && self.valid(field.node.at, names::check(&last)).is_none() {
            return;
        }
        if let Some(replicas) = self.outcome.replicas.last_mut() {
            *replicas = Some(count);
        }
        self.several.push(Several { name: service.name.clone(), id: service.id, count, at: field.node.at });
    }

    /// Looks whether what replicas are called and numbered is free, and whether there are not too many of them.
    pub(super) fn check_replicas(&mut self, names: &BTreeMap<&str, At>, ids: &BTreeMap<i128, At>) {
        let several = std::mem::take(&mut self.several);
        let more: usize = several.iter().filter_map(|several| usize::try_from(several.count - 1).ok()).sum();
        if let Some(last) = several.last().filter(|_| names.len() + more > MAX_SERVICES) {
            let message = format!("{} services with all replicas are too many, at most {MAX_SERVICES} are allowed", names.len() + more);
            self.complain(last.at, message);
            return;
        }
        let counts: BTreeMap<&str, &Several> = several.iter().map(|several| (several.name.as_str(), several)).gather();
        for (name, at) in names {
            if let Some(of) = replicated(name, |of| counts.get(of).map(|several| several.count)) {
                self.complain(*at, format!("`{}` is what a replica of `{}` is called", shown(name), shown(of))).hint =
                    Some("choose another name, or fewer replicas".into());
            }
        }
        let mut taken: BTreeSet<i128> = ids.keys().copied().gather();
        for Several { id, count, at, name } in &several {
            let Some(first) = id else { continue };
            let others = (1..*count).map(|more| i128::from(*first) + i128::from(more));
            if let Some(id) = others.clone().find(|id| taken.contains(id) || *id > i128::from(u32::MAX)) {
                let message = format!("the replicas of `{}` would have the ids from {first} on, and {id} is not free", shown(name));
                self.complain(*at, message).hint = Some("choose an id that has so many free ones behind it, or leave it out".into());
            }
            taken.extend(others);
        }
        self.replicated = several.into_iter().map(|several| (several.name, several.count)).gather();
    }
}

/// Of what a service of this name would be a replica.
pub(super) fn replicated(name: &str, count: impl Fn(&str) -> Option<u32>) -> Option<&str> {
    let (of, number) = name.rsplit_once('-')?;
    let number: u32 = number.parse().ok()?;
    (name == replica_name(of, number) && (1..=count(of)?).contains(&number)).then_some(of)
}

/// Makes as many of each service as there are to be.
pub(super) fn expand(services: Vec<ServiceSpec>, replicas: &[Option<u32>]) -> Vec<ServiceSpec> {
    if replicas.iter().all(Option::is_none) {
        return services;
    }
    let mut all = Vec::new();
    for (service, count) in services.into_iter().zip(replicas) {
        match count {
            Some(count) => all.extend(service.replicas(*count)),
            None => all.push(service),
        }
    }
    all
}
