//! All services in one pod, as they are in one container now: they share its address, and start and end in the same order.
//!
//! What others need, and what runs once, are init containers in their order; of those the ones that run on are sidecars, which others
//! after them wait for (`restartPolicy: Always`, `startupProbe`). The kubelet ends them last, in the reverse order.

use std::collections::BTreeSet;

use super::kubernetes::{MARGIN, Part, container, deployment_of, dns, service_of, system_of};
use super::{Object, Role, SIDECARS, Unit, Work, map, seconds};
use crate::failure::{Code, Failure};
use crate::yaml::Value;

/// The services of a pod.
struct Crew<'a> {
    /// One after the other.
    first: Vec<Unit<'a>>,
    /// Then, at once.
    then: Vec<Unit<'a>>,
}

/// The Deployment, and the Service by which it is found if it is known where it listens.
pub fn write(work: &mut Work<'_>) -> Result<Vec<Object>, Failure> {
    if work.minor < SIDECARS {
        let message = format!("Kubernetes 1.{} has no containers that run on and that others wait for", work.minor);
        return Err(Failure::new(Code::Usage, message).hint("--kube-version 1.29 or later, or --layout split"));
    }
    let crew = crew(work)?;
    let name = dns(&work.name);
    let all: Vec<Unit<'_>> = crew.first.iter().chain(&crew.then).copied().collect();
    for unit in &all {
        work.remark_replicas(*unit, "there is one of it in a pod: scale the whole Deployment, or this one apart with --layout split");
    }
    let part = |unit: &Unit<'_>| if unit.role() == Role::Server { Part::Sidecar } else { Part::Once };
    let first: Vec<Value> = crew.first.iter().map(|unit| container(work, *unit, part(unit))).collect();
    let then: Vec<Value> = crew.then.iter().map(|unit| container(work, *unit, Part::Main)).collect();
    let mut pod = Vec::new();
    pod.extend(system_of(work, &all));
    pod.push(("terminationGracePeriodSeconds", Value::word(grace(&crew))));
    if !first.is_empty() {
        pod.push(("initContainers", Value::List(first)));
    }
    pod.push(("containers", Value::List(then)));
    let mut objects = vec![deployment_of(&name, 1, map(pod))];
    objects.extend(service(work, &name, &all));
    Ok(objects)
}

/// Who comes first, in an order in which nobody comes before those that it needs.
fn crew<'a>(work: &mut Work<'a>) -> Result<Crew<'a>, Failure> {
    let together: Vec<Unit<'a>> = work.units.iter().filter(|unit| unit.role() != Role::Planned).copied().collect();
    let needed = needed(work, &together);
    let mut crew = Crew { first: Vec::new(), then: Vec::new() };
    for unit in together {
        let is_needed = needed.contains(unit.name);
        if !unit.spec.autostart && !is_needed {
            work.remark(Some(unit.name), "autostart", "was left out: nothing starts one container of a pod by hand");
        } else if is_needed || unit.role() == Role::Task {
            if !is_needed {
                work.remark(Some(unit.name), "restart", "what runs on begins when this has ended well, at each start of the pod");
            }
            work.add_in_order(unit, &|_, other| other.role() != Role::Planned, &mut crew.first);
        } else {
            crew.then.push(unit);
        }
    }
    if crew.then.is_empty() {
        let runs_on = crew.first.iter().rposition(|unit| unit.role() == Role::Server);
        let Some(at) = runs_on else {
            let failure = Failure::new(Code::WrongConfiguration, "nothing of it runs on, so there is no pod to be kept");
            return Err(failure.hint("leave --layout out: what runs once becomes a Job, what is planned a CronJob"));
        };
        let last = crew.first.remove(at);
        work.remark(
            Some(last.name),
            "",
            "starts last, as a pod must have a container that is not among the first: those that need it must try again",
        );
        crew.then.push(last);
    }
    Ok(crew)
}

/// Those that somebody needs who starts with the pod, or who is needed in turn.
fn needed<'a>(work: &Work<'a>, together: &[Unit<'a>]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut looked_at: Vec<Unit<'a>> = together.iter().filter(|unit| unit.spec.autostart).copied().collect();
    while let Some(unit) = looked_at.pop() {
        let news = unit.spec.depends_on.iter().map(|need| need.service.as_str()).filter(|name| found.insert(*name));
        looked_at.extend(news.filter_map(|name| work.unit(name)));
    }
    found
}

/// How long the longest way to the end may take: those that run side by side, then the sidecars one after the other.
fn grace(crew: &Crew<'_>) -> u64 {
    let time = |unit: &Unit<'_>| seconds(unit.spec.stop.timeout);
    let sidecars = crew.first.iter().filter(|unit| unit.role() == Role::Server).map(time);
    let together = crew.then.iter().map(time).max().unwrap_or(0);
    sidecars.fold(together, u64::saturating_add).saturating_add(MARGIN)
}

fn service(work: &mut Work<'_>, name: &str, all: &[Unit<'_>]) -> Option<Object> {
    let servers: Vec<Unit<'_>> = all.iter().filter(|unit| unit.role() == Role::Server).copied().collect();
    let mut names = BTreeSet::new();
    service_of(work, name, &servers, |unit, port, is_only| {
        let usual = if is_only { dns(unit.name) } else { format!("{}-{}", dns(unit.name), port.published) };
        // `a` at 80 and `a-80` would have the same: numbers are different in any case.
        let others = (0..).map(|more| format!("port-{}-{more}", port.published));
        std::iter::once(usual).chain(others).find(|name| names.insert(name.clone()))
    })
}
