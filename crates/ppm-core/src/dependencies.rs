//! Who needs whom, and what is missing.
//!
//! Only the supervisor knows the graph: a service knows the names of what it needs, and is told what of it is missing.
//! An event costs those it concerns and nobody else: they are noted here, and looked at by the next ticks, so that one
//! that becomes ready does not start a thousand others in one turn (R35). Invariants: who starts has all it needs at
//! that moment; who is to end waits for those that need it and are ending too; nobody needs itself, however indirectly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::once;
use std::time::Duration;

use ppm_protocol::types::NeedRow;

use crate::event::ServiceId;
use crate::gather::Gather;
use crate::names;
use crate::service::{Input, Run, Service, Want};
use crate::spec::{InvalidSpec, ServiceSpec, shown};
use crate::supervisor::{Phase, Supervisor};
use crate::time::{Mono, Now};

/// So much time is left in a shutdown for each layer of services that others stand upon: enough to be asked and to obey, for
/// most.
const FOR_A_LAYER: Duration = Duration::from_secs(1);

/// A service that another needs, and how far it must have come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Its name.
    pub service: String,
    /// How far.
    pub condition: Condition,
}

/// How far a service must have come before one that needs it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It runs, or has run to a good end.
    Started,
    /// It is ready.
    Ready,
    /// It has run to a good end, and does not run again.
    Finished,
}

impl Need {
    /// What a command names: `db`, or `db:ready`.
    ///
    /// # Errors
    /// It is not a name, or not a condition.
    pub fn parse(text: &str) -> Result<Need, InvalidSpec> {
        let (service, condition) = text.split_once(':').unwrap_or((text, Condition::Started.name()));
        names::check(service)?;
        let found = Condition::ALL.into_iter().find(|known| known.name() == condition).ok_or_else(|| {
            let message = format!("`{}` is not how far a service can have come", shown(condition));
            InvalidSpec::new(message).hint(format!("write `{service}:started`, `{service}:ready` or `{service}:finished`"))
        })?;
        Ok(Need { service: service.to_owned(), condition: found })
    }
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 3] = [Condition::Started, Condition::Ready, Condition::Finished];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Started => "started",
            Condition::Ready => "ready",
            Condition::Finished => "finished",
        }
    }
}

/// What becomes of a service that runs when one that it needs has been started anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDependencyRestart {
    /// It goes on.
    #[default]
    Keep,
    /// It is restarted too.
    Restart,
}

impl OnDependencyRestart {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            OnDependencyRestart::Keep => "keep",
            OnDependencyRestart::Restart => "restart",
        }
    }
}

/// A service that another needs and that has not come so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub service: String,
    /// Why not.
    pub lack: Lack,
}

/// Why a service has not come as far as another needs it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is on its way, or will be by itself.
    Coming,
    /// Somebody stopped it.
    Stopped,
    /// It has crashed, and nothing starts it again.
    Crashed,
    /// It has ended, and nothing starts it again.
    Ended,
    /// There is no such service.
    Absent,
}

impl Lack {
    /// Whether it takes somebody to start it or to change something.
    pub fn is_hopeless(self) -> bool {
        match self {
            Lack::Crashed | Lack::Ended | Lack::Absent => true,
            Lack::Coming | Lack::Stopped => false,
        }
    }

    /// Whether it is there, and does not come before somebody starts it.
    pub fn needs_a_start(self) -> bool {
        match self {
            Lack::Stopped | Lack::Crashed | Lack::Ended => true,
            Lack::Coming | Lack::Absent => false,
        }
    }
}

/// What these wait for, and what does not come before somebody starts it, by name; each once.
pub(crate) fn to_start<'a>(waiting: impl Iterator<Item = &'a Service>) -> Vec<String> {
    let missing = waiting.flat_map(Service::missing).filter(|missing| missing.lack.needs_a_start());
    missing.map(|missing| missing.service.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the graph means for one service at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What it needs and does not have.
    pub missing: Vec<Missing>,
    /// Somebody needs it who is ending: it ends later.
    pub is_held: bool,
    /// Something that it needs has been started anew since it runs.
    pub is_outdated: bool,
}

impl Needs {
    /// Of a service that has nothing to do with others.
    pub const NONE: Needs = Needs { missing: Vec::new(), is_held: false, is_outdated: false };
}

/// What is missing, in words: what it takes somebody to mend comes first and alone.
pub fn in_words(missing: &[Missing]) -> String {
    if missing.iter().any(|missing| missing.lack.is_hopeless()) {
        return format!("cannot start: {}", hopeless_in_words(missing));
    }
    format!("waiting for {}", listed(missing.iter()))
}

/// What of it does not come by itself.
pub fn hopeless_in_words(missing: &[Missing]) -> String {
    listed(missing.iter().filter(|missing| missing.lack.is_hopeless()))
}

fn listed<'a>(missing: impl Iterator<Item = &'a Missing>) -> String {
    const SHOWN: usize = 5;
    let told: Vec<&Missing> = missing.collect();
    let more = if told.len() > SHOWN { format!(" and {} more", told.len() - SHOWN) } else { String::new() };
    let names: Vec<String> = told.into_iter().take(SHOWN).map(ToString::to_string).collect();
    format!("{}{more}", names.join(", "))
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.service;
        match self.lack {
            Lack::Coming => write!(f, "{name}"),
            Lack::Stopped => write!(f, "{name} (stopped)"),
            Lack::Crashed => write!(f, "{name} has crashed"),
            Lack::Ended => write!(f, "{name} has ended"),
            Lack::Absent => write!(f, "there is no service {name}"),
        }
    }
}

/// Why a service has not come so far; None: it has.
pub fn lack_of(service: &Service, condition: Condition) -> Option<Lack> {
    let is_there = match condition {
        Condition::Started => service.is_staying() || service.has_finished(),
        Condition::Ready => service.is_staying() && service.is_ready(),
        Condition::Finished => service.has_finished(),
    };
    let is_coming = service.run() != Run::Idle || service.plan().is_some() || service.awaits_boot();
    match service.want() {
        _ if is_there => None,
        Want::Up { .. } if is_coming => Some(Lack::Coming),
        Want::Up { .. } if service.status() == ppm_protocol::Status::Crashed => Some(Lack::Crashed),
        Want::Up { .. } => Some(Lack::Ended),
        Want::Unasked => Some(Lack::Coming), // who needs it has it started
        Want::Down | Want::Gone => Some(Lack::Stopped),
    }
}

/// Who needs whom, by name, and whom to look at.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    /// Who needs the service of this name.
    dependants: BTreeMap<String, BTreeSet<ServiceId>>,
    /// The replicas of which this is the common name.
    replicas: BTreeMap<String, BTreeSet<ServiceId>>,
    /// Those for whom something may have changed.
    concerned: BTreeSet<ServiceId>,
    /// Those that nobody has asked for, but somebody needs.
    needed: BTreeSet<ServiceId>,
}

impl Dependencies {
    /// There is a service.
    pub(crate) fn insert(&mut self, id: ServiceId, spec: &ServiceSpec) {
        for need in &spec.depends_on {
            self.dependants.entry(need.service.clone()).or_default().insert(id);
        }
        if let Some(of) = &spec.replica_of {
            self.replicas.entry(of.clone()).or_default().insert(id);
        }
    }

    /// There is no such service any more.
    pub(crate) fn remove(&mut self, id: ServiceId, spec: &ServiceSpec) {
        for need in &spec.depends_on {
            remove_from(&mut self.dependants, &need.service, id);
        }
        if let Some(of) = &spec.replica_of {
            remove_from(&mut self.replicas, of, id);
        }
        self.concerned.remove(&id);
        self.needed.remove(&id);
    }

    /// Whether a tick has something to do.
    pub(crate) fn is_due(&self) -> bool {
        !self.concerned.is_empty() || !self.needed.is_empty()
    }

    /// The next service to look at, and what it is told.
    pub(crate) fn next(&mut self) -> Option<(ServiceId, Input)> {
        let needed = self.needed.pop_first().map(|id| (id, Input::Needed));
        needed.or_else(|| self.concerned.pop_first().map(|id| (id, Input::Needs)))
    }

    /// Nothing is started any more.
    pub(crate) fn start_nothing(&mut self) {
        self.needed.clear();
    }

    /// The replicas of which this is the common name.
    pub(crate) fn replicas(&self, of: &str) -> impl Iterator<Item = ServiceId> {
        self.replicas.get(of).into_iter().flatten().copied()
    }

    /// Who needs this service, by its name or by that of its replicas.
    fn of(&self, spec: &ServiceSpec) -> impl Iterator<Item = ServiceId> {
        let names = once(&spec.name).chain(&spec.replica_of);
        names.filter_map(|name| self.dependants.get(name)).flatten().copied()
    }
}

fn remove_from(index: &mut BTreeMap<String, BTreeSet<ServiceId>>, name: &str, id: ServiceId) {
    if let Some(ids) = index.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(name);
        }
    }
}

/// How others see a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    lacks: [Option<Lack>; 3],
    is_leaving: bool,
    has_run: bool,
    is_stuck: bool,
    starts: u64,
}

impl Standing {
    pub(crate) fn of(service: &Service) -> Standing {
        Standing {
            lacks: Condition::ALL.map(|condition| lack_of(service, condition)),
            is_leaving: service.is_leaving(),
            has_run: service.has_run(),
            is_stuck: service.is_stuck(),
            starts: service.starts(),
        }
    }
}

impl Supervisor {
    /// What the graph means for a service now.
    pub(crate) fn needs_of(&self, id: ServiceId) -> Needs {
        let Some(service) = self.service(id) else { return Needs::NONE };
        let depends_on = &service.spec().depends_on;
        if depends_on.is_empty() && self.dependencies.dependants.is_empty() {
            return Needs::NONE;
        }
        Needs {
            missing: depends_on.iter().flat_map(|need| self.missing(need)).collect(),
            is_held: self.is_held(id),
            is_outdated: depends_on.iter().any(|need| self.is_outdated(service, need)),
        }
    }

    fn missing(&self, need: &Need) -> Vec<Missing> {
        let ids = self.ids_of(&need.service);
        if ids.is_empty() {
            return vec![Missing { service: need.service.clone(), lack: Lack::Absent }];
        }
        let missing = |service: &Service| {
            let lack = lack_of(service, need.condition)?;
            Some(Missing { service: service.spec().name.clone(), lack })
        };
        ids.into_iter().filter_map(|id| missing(self.service(id)?)).collect()
    }

    /// Whether what is needed has been started anew while the service ran, and has come as far as it must.
    fn is_outdated(&self, service: &Service, need: &Need) -> bool {
        let Some(since) = service.live().map(|live| live.since) else { return false };
        let is_newer = |other: &Service| {
            let restarted = other.starts() > 1 && other.live().is_some_and(|live| live.since > since);
            restarted && lack_of(other, need.condition).is_none()
        };
        self.ids_of(&need.service).into_iter().filter_map(|id| self.service(id)).any(is_newer)
    }

    /// Whether somebody is ending who needs it: directly, or by way of services that do not run, or that the kernel does not let go.
    fn is_held(&self, id: ServiceId) -> bool {
        let (mut seen, mut left): (BTreeSet<_>, _) = (once(id).gather(), vec![id]);
        while let Some(id) = left.pop() {
            for dependant in self.dependants_of(id) {
                let Some(service) = self.service(dependant).filter(|_| seen.insert(dependant)) else { continue };
                if service.is_leaving() {
                    return true;
                }
                if !service.has_run() || service.is_stuck() {
                    left.push(dependant);
                }
            }
        }
        false
    }

    fn dependants_of(&self, id: ServiceId) -> Vec<ServiceId> {
        if self.dependencies.dependants.is_empty() {
            return Vec::new();
        }
        self.service(id).map_or(Vec::new(), |service| self.dependencies.of(service.spec()).collect())
    }

    /// All that a service needs.
    fn needs(&self, service: &Service) -> impl Iterator<Item = ServiceId> {
        service.spec().depends_on.iter().flat_map(|need| self.ids_of(&need.service))
    }

    /// The services that a name means: that of a service, or of its replicas.
    pub(crate) fn ids_of(&self, name: &str) -> Vec<ServiceId> {
        match self.names.get(name) {
            Some(id) => vec![*id],
            None => self.dependencies.replicas(name).collect(),
        }
    }

    /// How others saw a service before it took a step; None: nobody looks.
    pub(crate) fn standing(&self, id: ServiceId) -> Option<Standing> {
        self.service(id).filter(|_| !self.dependencies.dependants.is_empty()).map(Standing::of)
    }

    /// A service has taken a step: whoever is concerned is looked at soon.
    pub(crate) fn tell_the_concerned(&mut self, id: ServiceId, before: Option<Standing>) {
        let (Some(service), Some(before)) = (self.service(id), before) else { return };
        let after = Standing::of(service);
        let stays = before.is_leaving && !after.is_leaving && service.live().is_some();
        if matches!(service.run(), Run::Blocked { .. }) && self.phase == Phase::Running {
            let is_unasked = |id: &ServiceId| self.service(*id).is_some_and(|needed| needed.want() == Want::Unasked);
            let needed: Vec<ServiceId> = self.needs(service).filter(is_unasked).collect();
            self.dependencies.needed.extend(needed);
        }
        if (before.lacks, before.starts) != (after.lacks, after.starts) {
            self.concern_dependants(id);
        }
        if stays {
            self.dependencies.concerned.insert(id); // unless it is outdated
        }
        if (before.is_leaving, before.has_run, before.is_stuck) != (after.is_leaving, after.has_run, after.is_stuck) {
            self.concern_needs(id);
        }
    }

    /// Those who wait for it, and those who follow it when it is started anew.
    fn concern_dependants(&mut self, id: ServiceId) {
        let looks = |id: &ServiceId| {
            self.service(*id).is_some_and(|service| {
                let follows = service.spec().on_dependency_restart == OnDependencyRestart::Restart;
                matches!(service.run(), Run::Blocked { .. }) || follows && service.live().is_some()
            })
        };
        let concerned: Vec<ServiceId> = self.dependants_of(id).into_iter().filter(looks).collect();
        self.dependencies.concerned.extend(concerned);
    }

    /// Whoever waited for its end to end too.
    pub(crate) fn concern_needs(&mut self, id: ServiceId) {
        let (mut seen, mut left): (BTreeSet<_>, _) = (once(id).gather(), vec![id]);
        while let Some(id) = left.pop() {
            let Some(service) = self.service(id) else { continue };
            let needs: Vec<ServiceId> = self.needs(service).collect();
            for need in needs.into_iter().filter(|need| seen.insert(*need)) {
                let Some(service) = self.service(need) else { continue };
                if service.live().is_some_and(|live| live.leaving.is_some()) {
                    self.dependencies.concerned.insert(need);
                } else if !service.has_run() || service.is_stuck() {
                    left.push(need);
                }
            }
        }
    }

    /// There is a service of this name, or there is none any more: for whoever needs it, that is news.
    pub(crate) fn concern_those_who_need(&mut self, spec: &ServiceSpec) {
        let concerned: Vec<ServiceId> = self.dependencies.of(spec).collect();
        self.dependencies.concerned.extend(concerned);
    }

    /// A service needs others than before.
    pub(crate) fn change_needs(&mut self, id: ServiceId, old: &ServiceSpec) {
        if let Some(entry) = self.services.get(&id) {
            self.dependencies.remove(id, old);
            self.dependencies.insert(id, entry.service.spec());
            self.dependencies.concerned.insert(id);
        }
        self.concern_all_leaving();
    }

    /// The graph is another: whoever waits for others to end first may wait for nobody.
    pub(crate) fn concern_all_leaving(&mut self) {
        let is_leaving = |service: &&Service| service.live().is_some_and(|live| live.leaving.is_some());
        let leaving: Vec<ServiceId> = self.services().filter(is_leaving).map(Service::id).collect();
        self.dependencies.concerned.extend(leaving);
    }

    /// Looks at some of those for whom something may have changed.
    pub(crate) fn look_at_the_concerned(&mut self, now: Now, most: usize) {
        for _ in 0..most {
            let Some((id, input)) = self.dependencies.next() else { return };
            if input != Input::Needed || self.is_waited_for(id) {
                self.step(now, id, &input);
            }
        }
    }

    fn is_waited_for(&self, id: ServiceId) -> bool {
        let waits = |id| self.service(id).is_some_and(|service| matches!(service.run(), Run::Blocked { .. }));
        self.dependants_of(id).into_iter().any(waits)
    }

    /// These services in the order in which they are to be told: what needs comes before what it needs where something is
    /// to end, and after it where it is to start. A restart ends those that run first.
    pub(crate) fn in_order(&self, mut ids: Vec<ServiceId>, input: &Input) -> Vec<ServiceId> {
        if self.dependencies.dependants.is_empty() || ids.len() < 2 {
            return ids;
        }
        let depths = self.depths();
        let ends = |id: &ServiceId| {
            let restarts = *input == Input::Restart && self.service(*id).is_some_and(Service::has_run);
            restarts || matches!(input, Input::Stop | Input::Remove | Input::KillNow)
        };
        // What ends comes first, the highest before what it stands upon; then what starts, from the ground up.
        let place = |id: &ServiceId| {
            let depth = depths.get(id).copied().unwrap_or(0);
            if ends(id) { (0, usize::MAX - depth) } else { (1, depth) }
        };
        ids.sort_by_cached_key(place);
        ids
    }

    /// When those that stand upon others must have ended, at the latest, in a shutdown that begins now and may take so long:
    /// for each of the layers below them some time is left, though not more than half of all.
    pub(crate) fn latest_ends(&self, now: Mono, timeout: Duration) -> BTreeMap<ServiceId, Mono> {
        if self.dependencies.dependants.is_empty() {
            return BTreeMap::new();
        }
        let layers: Vec<(ServiceId, u32)> = self
            .depths()
            .into_iter()
            .map(|(id, depth)| (id, u32::try_from(depth).unwrap_or(u32::MAX)))
            .filter(|(_, depth)| *depth > 0)
            .collect();
        let deepest = layers.iter().map(|(_, depth)| *depth).max().unwrap_or(1);
        let each = FOR_A_LAYER.min(timeout / 2 / deepest);
        layers.into_iter().map(|(id, depth)| (id, now + timeout.saturating_sub(each.saturating_mul(depth)))).collect()
    }

    /// How many services stand one upon the other below each.
    fn depths(&self) -> BTreeMap<ServiceId, usize> {
        let needs = |id: ServiceId| self.service(id).map_or(Vec::new(), |service| self.needs(service).collect());
        let mut depths: BTreeMap<ServiceId, usize> = BTreeMap::new();
        for id in self.services.keys() {
            let mut path = vec![*id];
            while let Some(top) = path.last().copied() {
                let below = needs(top);
                match below.iter().find(|need| !depths.contains_key(need)) {
                    Some(need) => path.push(*need),
                    None => {
                        depths.insert(top, below.iter().filter_map(|need| depths.get(need)).max().map_or(0, |most| most + 1));
                        path.pop();
                    }
                }
            }
        }
        depths
    }

    /// Checks that a service from a request needs only what there is, and not itself.
    ///
    /// # Errors
    /// Names what is wrong, and what may have been meant.
    pub(crate) fn check_needs(&self, spec: &ServiceSpec) -> Result<(), InvalidSpec> {
        for Need { service, .. } in &spec.depends_on {
            if *service == spec.name {
                return Err(on_itself(service));
            }
            if self.ids_of(service).is_empty() {
                let near = names::similar(service, self.names.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                let error = InvalidSpec::new(format!("`{}` needs `{}`, and there is no such service", spec.name, shown(service)));
                return Err(match near {
                    Some(near) => error.hint(near),
                    None => error,
                });
            }
        }
        let others = self.services().map(Service::spec).filter(|other| other.name != spec.name);
        let written = |name: &'_ str| {
            let service = self.ids_of(name).first().and_then(|id| self.service(*id));
            service.map_or_else(|| name.to_owned(), |service| service.spec().written_name().to_owned())
        };
        let links = |spec: &ServiceSpec| -> Vec<String> { spec.depends_on.iter().map(|need| written(&need.service)).collect() };
        let graph: Vec<(&str, Vec<String>)> = others.chain([spec]).map(|spec| (spec.written_name(), links(spec))).collect();
        let graph = graph.iter().map(|(name, needs)| (*name, needs.iter().map(String::as_str).collect()));
        match find_cycles(&graph.gather()).first() {
            Some(cycle) => Err(in_a_cycle(cycle)),
            None => Ok(()),
        }
    }

    /// The services that need this one, by name.
    pub(crate) fn names_of_dependants(&self, id: ServiceId) -> Vec<String> {
        self.dependants_of(id).into_iter().filter_map(|id| self.service(id)).map(|service| service.spec().name.clone()).collect()
    }

    /// What a service needs, as it is shown.
    pub(crate) fn need_row(&self, need: &Need) -> NeedRow {
        let missing = self.missing(need);
        NeedRow {
            service: need.service.clone(),
            condition: need.condition.name().to_owned(),
            met: missing.is_empty(),
            to_start: missing.into_iter().filter(|missing| missing.lack.needs_a_start()).map(|missing| missing.service).collect(),
        }
    }

    /// What must hold between any two events; for tests.
    pub(crate) fn check_dependencies(&self) -> Result<(), String> {
        let mut dependants: BTreeMap<String, BTreeSet<ServiceId>> = BTreeMap::new();
        for service in self.services() {
            for need in &service.spec().depends_on {
                dependants.entry(need.service.clone()).or_default().insert(service.id());
            }
            let needs = self.needs_of(service.id());
            let id = service.id();
            let is_noted = self.dependencies.concerned.contains(&id);
            if matches!(service.run(), Run::Blocked { .. }) && needs.missing.is_empty() && !is_noted {
                return Err(format!("{} waits for nothing", service.spec().name));
            }
            let is_leaving =
                service.live().is_some_and(|live| live.leaving.is_some()) && matches!(service.run(), Run::Up(_) | Run::Paused(_));
            if is_leaving && !needs.is_held && !is_noted {
                return Err(format!("{} is to end and waits for nobody", service.spec().name));
            }
        }
        if dependants == self.dependencies.dependants {
            Ok(())
        } else {
            Err(format!("indexed are {:?}, not {dependants:?}", self.dependencies.dependants))
        }
    }
}

/// One that needs itself.
pub(crate) fn on_itself(name: &str) -> InvalidSpec {
    InvalidSpec::new(format!("`{}` needs itself", shown(name))).hint("leave it out of its own `depends_on`")
}

/// Several that need each other, in a circle.
pub(crate) fn in_a_cycle(cycle: &[&str]) -> InvalidSpec {
    const SHOWN: usize = 8;
    let name = |name: &&str| format!("`{}`", shown(name));
    let first = cycle.first().map_or(String::new(), name);
    let mut others: Vec<String> = cycle.iter().skip(1).take(SHOWN).map(name).collect();
    if cycle.len() > SHOWN + 1 {
        others.push(format!("{} more", cycle.len() - SHOWN - 1));
    }
    others.push(first.clone());
    let message = format!("services that need each other never start: {first} needs {}", others.join(", which needs "));
    InvalidSpec::new(message).hint("leave one of them out of `depends_on`")
}

/// Circles in a graph of names, one for each that a walk in the order of names meets; a name that the graph does not hold
/// leads nowhere.
pub(crate) fn find_cycles<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut cycles = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in graph.keys() {
        let mut path: Vec<(&'a str, usize)> = vec![(start, 0)];
        let mut on_path: BTreeSet<&'a str> = once(*start).gather();
        while let Some((name, next)) = path.last_mut() {
            let need = graph.get(name).filter(|_| !done.contains(name)).and_then(|needs| needs.get(*next)).copied();
            *next += 1;
            match need {
                None => {
                    done.insert(name);
                    on_path.remove(name);
                    path.pop();
                }
                Some(need) if on_path.contains(need) => {
                    let cycle = path.iter().map(|(name, _)| *name).skip_while(|name| *name != need).collect();
                    cycles.push(cycle);
                }
                Some(need) if done.contains(need) => {}
                Some(need) => {
                    on_path.insert(need);
                    path.push((need, 0));
                }
            }
        }
    }
    cycles
}
