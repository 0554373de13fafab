//! `ppm export`: what a configuration says, in the words of those who run services on a whole machine or on many.
//!
//! One reader, one table of what becomes of each key ([`fates`]), and a writer for each format. Nothing is dropped in silence:
//! a key of the file that did not map, or not exactly, is remarked with its line. Deterministic: the same file gives the same
//! bytes. Nothing is printed before all was made.

mod calendar;
mod compose;
mod fates;
mod hints;
mod kubernetes;
mod pod;
mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use ppm_core::attributes::Who;
use ppm_core::config::Config;
use ppm_core::dependencies::{Condition, Need};
use ppm_core::environment::EnvValue;
use ppm_core::probe::Check;
use ppm_core::spec::{RestartWhen, ServiceSpec};
use ppm_core::target::Kind;
use serde::Serialize;

use crate::check::{self, Wrong};
use crate::cli::Export;
use crate::failure::{Code, Failure, Stop, io_words};
use crate::import::tree::{self, Node};
use crate::show::text::clean;
use crate::yaml::Value;
use fates::Fate;
use hints::Hints;

/// The version of Kubernetes 1 from which on an init container may run on beside those after it.
const SIDECARS: u32 = 29;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A compose.yaml of Docker or Podman
    Compose,
    /// Manifests: Deployments, Jobs, CronJobs, Services
    Kubernetes,
    /// Units: services and timers
    Systemd,
}

impl Format {
    /// As it is written in `--format`.
    fn name(self) -> &'static str {
        match self {
            Format::Compose => "compose",
            Format::Kubernetes => "kubernetes",
            Format::Systemd => "systemd",
        }
    }
}

/// How many pods services become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// One for each
    #[default]
    Split,
    /// One for all
    Pod,
}

/// A file of what was made.
#[derive(Debug, Serialize)]
pub struct Object {
    /// Its name.
    pub file: String,
    pub text: String,
}

/// What did not map, or not exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remark {
    /// Of the configuration, from 1; 0: of none.
    pub line: usize,
    /// The key, with its service.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, clean(&self.key), clean(&self.message))
    }
}

/// What was made of a configuration.
#[derive(Debug)]
pub struct Exported {
    pub objects: Vec<Object>,
    pub remarks: Vec<Remark>,
    /// Says where it comes from and what did not map, as comments.
    pub head: String,
    format: Format,
}

/// What is exported, and what is remarked of it.
struct Work<'a> {
    format: Format,
    image: Option<&'a str>,
    /// Numbers of users that are named.
    uids: &'a BTreeMap<String, (u32, u32)>,
    config: &'a Config,
    layout: Layout,
    /// What all is called together.
    name: String,
    /// The version of Kubernetes 1 that is written for.
    minor: u32,
    /// Whether services have variables in common.
    has_common: bool,
    /// In the order of the configuration.
    units: Vec<Unit<'a>>,
    /// Where each of them is, by its name.
    places: BTreeMap<&'a str, usize>,
    /// Those whose good end somebody waits for.
    waited_for: BTreeSet<&'a str>,
    lines: Lines,
    remarks: BTreeSet<Remark>,
}

/// Where what stands: by service, or none, and key.
#[derive(Default)]
struct Lines(BTreeMap<(Option<String>, String), usize>);

/// A service, once for all of its replicas.
#[derive(Clone, Copy)]
struct Unit<'a> {
    name: &'a str,
    spec: &'a ServiceSpec,
    replicas: usize,
    hints: &'a Hints,
}

/// What a service is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It runs until somebody ends it.
    Server,
    /// It runs once.
    Task,
    /// It runs when it is time.
    Planned,
}

impl Unit<'_> {
    fn role(&self) -> Role {
        match (&self.spec.schedule, self.spec.restart.when) {
            (Some(_), _) => Role::Planned,
            (None, RestartWhen::Never) => Role::Task,
            (None, RestartWhen::OnFailure | RestartWhen::Always) => Role::Server,
        }
    }

    /// Whether nobody is to start it yet.
    fn is_suspended(&self) -> bool {
        !self.spec.autostart || self.replicas == 0
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        words(&self.spec.command.path, &self.spec.command.args)
    }
}

impl Exported {
    /// All in one.
    pub fn stream(&self) -> String {
        let mut out = self.head.clone();
        for object in &self.objects {
            match self.format {
                Format::Compose => out.push('\n'),
                Format::Kubernetes => out.push_str("---\n"),
                Format::Systemd => out.push_str(&format!("\n# ---- {}\n", object.file)),
            }
            out.push_str(&object.text);
        }
        out
    }

    /// Into files of their own, and what did not map into none: it is said on stderr.
    ///
    /// # Errors
    /// The folder or a file cannot be made.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let failed = |path: &Path, error: &std::io::Error| {
            Failure::new(Code::Failed, format!("cannot write {}: {}", path.display(), io_words(error))).hint("name another folder with -d")
        };
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        for object in &self.objects {
            let path = folder.join(&object.file);
            fs::write(&path, format!("{}\n{}", self.head, object.text)).map_err(|error| failed(&path, &error))?;
        }
        Ok(())
    }
}

/// Reads the configuration and makes what was asked for.
///
/// # Errors
/// The configuration is wrong, or something is missing that only the user knows.
pub fn export(typed: &Export) -> Result<Exported, Stop> {
    let source = check::read(typed.file.clone(), |name| env::var_os(name))?;
    let config = check::parse(&source).map_err(Wrong::into_failure)?;
    let tree = tree::read(source.text(), &source.name).map_err(|problems| check::wrong(problems).into_failure())?;
    let uids = typed.uid.iter().map(|one| uid(one)).collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let (hints, left_out) = hints::read(&tree);
    let units = units(&config, &hints);
    let is_wanted = typed.image.is_none() && typed.format != Format::Systemd;
    if let Some(unit) = units.iter().find(|unit| is_wanted && unit.hints.image.is_none()) {
        let mut message = format!("--image is wanted: what the containers of {} are made from", source.name);
        if !hints.is_empty() {
            message.push_str(&format!("; {} has no image below x-export", clean(unit.name)));
            let why = left_out.iter().find(|(service, key, _)| service == unit.name && key == "x-export.image");
            message.extend(why.map(|(_, _, why)| format!(": {}", clean(why))));
        }
        let failure = Failure::new(Code::Usage, message);
        return Err(failure.hint("ppm export --format compose --image registry.example.com/shop:1.4.0").into());
    }
    let needs = config.services.iter().flat_map(|spec| &spec.depends_on);
    let mut work = Work {
        format: typed.format,
        image: typed.image.as_deref(),
        uids: &uids,
        config: &config,
        layout: typed.layout,
        name: typed.file.as_deref().and_then(Path::file_stem).map_or("ppm".into(), |stem| stem.to_string_lossy().into_owned()),
        minor: typed.kube_version.unwrap_or(SIDECARS),
        has_common: false,
        places: units.iter().enumerate().map(|(at, unit)| (unit.name, at)).collect(),
        waited_for: needs.filter(|need| need.condition == Condition::Finished).map(|need| need.service.as_str()).collect(),
        units,
        lines: Lines::of(&tree),
        remarks: BTreeSet::new(),
    };
    work.remark_keys();
    for (service, key, why) in left_out {
        work.remark(Some(&service), &key, why);
    }
    let objects = match typed.format {
        Format::Compose => compose::write(&mut work),
        Format::Kubernetes => kubernetes::write(&mut work)?,
        Format::Systemd => systemd::write(&mut work)?,
    };
    let remarks: Vec<Remark> = work.remarks.into_iter().collect();
    let head = head(typed.format, &source.name, &remarks);
    Ok(Exported { objects, remarks, head, format: typed.format })
}

fn head(format: Format, file: &str, remarks: &[Remark]) -> String {
    let mut head = format!("# Made of {} by 'ppm export --format {}'.\n", clean(file), format.name());
    if !remarks.is_empty() {
        head.push_str("# Not mapped, or not exactly:\n");
    }
    for Remark { line, key, message } in remarks {
        head.push_str(&format!("#   {}:{line}  {}: {}\n", clean(file), clean(key), clean(message)));
    }
    head
}

/// Reads a version of Kubernetes: 1.29 is 29.
///
/// # Errors
/// It is none.
pub fn minor(typed: &str) -> Result<u32, String> {
    let minor = typed.trim_start_matches('v').strip_prefix("1.").and_then(|minor| minor.parse().ok());
    minor.ok_or_else(|| "a version of Kubernetes is wanted, such as 1.33".to_owned())
}

/// `www-data=33:33`, or `www-data=33`.
fn uid(typed: &str) -> Result<(String, (u32, u32)), Failure> {
    let read = || {
        let (name, numbers) = typed.split_once('=')?;
        let (uid, gid) = numbers.split_once(':').unwrap_or((numbers, numbers));
        Some((name.to_owned(), (uid.parse().ok()?, gid.parse().ok()?)))
    };
    read().ok_or_else(|| Failure::new(Code::Usage, format!("--uid '{typed}' is not NAME=UID:GID")).hint("--uid www-data=33:33"))
}

impl Lines {
    fn of(tree: &Node) -> Lines {
        let mut lines = Lines::default();
        for (key, node) in tree.entries().unwrap_or_default() {
            lines.0.insert((None, key.text.clone()), key.line);
            if key.text != "services" {
                continue;
            }
            for service in node.items().unwrap_or_default() {
                let Some(name) = service.get("name").and_then(Node::scalar) else { continue };
                lines.0.insert((Some(name.to_owned()), String::new()), service.line);
                lines.add(name, "", service);
            }
        }
        lines
    }

    fn add(&mut self, service: &str, above: &str, node: &Node) {
        for (key, below) in node.entries().unwrap_or_default() {
            let path = if above.is_empty() { key.text.clone() } else { format!("{above}.{}", key.text) };
            self.0.insert((Some(service.to_owned()), path.clone()), key.line);
            if above.is_empty() {
                self.add(service, &path, below);
            }
        }
    }
}

impl<'a> Work<'a> {
    /// The service of this name, for all of its replicas.
    fn unit(&self, name: &str) -> Option<Unit<'a>> {
        self.places.get(name).and_then(|at| self.units.get(*at)).copied()
    }

    /// Remarks what the table says of the keys of the file.
    fn remark_keys(&mut self) {
        let keys: Vec<(Option<String>, String)> = self.lines.0.keys().cloned().collect();
        for (service, key) in keys {
            let own = |key: &str| fates::of(service.is_some(), key).map(|fate| fate.in_format(self.format));
            if let Some(Fate::Remark(message)) = own(&key) {
                self.remark(service.as_deref(), &key, message);
            }
        }
    }

    fn remark(&mut self, service: Option<&str>, key: &str, message: impl Into<String>) {
        let above = key.split('.').next().unwrap_or_default();
        let at = |key: &str| self.lines.0.get(&(service.map(str::to_owned), key.to_owned())).copied();
        let line = at(key).or_else(|| at(above)).or_else(|| at("")).unwrap_or(0);
        let key = match (service, key) {
            (Some(service), "") => service.to_owned(),
            (Some(service), key) => format!("{service}.{key}"),
            (None, key) => key.to_owned(),
        };
        self.remarks.insert(Remark { line, key, message: message.into() });
    }

    /// Remarks what becomes of how many there are, where that is not one.
    fn remark_replicas(&mut self, unit: Unit<'_>, message: &str) {
        if unit.replicas != 1 {
            let key = if unit.hints.replicas.is_some() { "x-export.replicas" } else { "replicas" };
            self.remark(Some(unit.name), key, message);
        }
    }

    fn image_of<'s>(&'s self, unit: Unit<'s>) -> &'s str {
        unit.hints.image.as_deref().or(self.image).unwrap_or_default()
    }

    /// Variables that are texts; others are remarked with what to do instead.
    fn variables(&mut self, service: Option<&str>, env: &BTreeMap<String, EnvValue>, instead: &str) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (name, value) in env {
            let key = if service.is_some() { format!("env.{name}") } else { "env".to_owned() };
            match value {
                EnvValue::Text(text) => match literal(text) {
                    Some(text) => texts.push((name.clone(), text)),
                    None => self.remark(service, &key, format!("`{text}` takes in other variables: write what it comes to")),
                },
                EnvValue::File(file) => self.remark(service, &key, format!("is the content of {file}: {instead}")),
            }
        }
        texts
    }

    /// A text in which nothing is expanded, or a remark.
    fn plain(&mut self, unit: Unit<'_>, key: &str, text: &str) -> Option<String> {
        let plain = literal(text);
        if plain.is_none() {
            self.remark(Some(unit.name), key, format!("`{text}` takes in variables: write what it comes to"));
        }
        plain
    }

    /// User and group by number, as far as they are known.
    fn numbers(&mut self, unit: Unit<'_>) -> Option<(u32, Option<u32>)> {
        let user = unit.spec.command.attributes.user.as_deref()?;
        let number = |who: &Who, of: fn(&(u32, u32)) -> u32| match who {
            Who::Number(number) => Some(*number),
            Who::Name(name) if name == "root" => Some(0),
            Who::Name(name) => self.uids.get(name).map(of),
        };
        let uid = number(&user.user, |numbers| numbers.0);
        let gid = match (&user.group, &user.user) {
            (Some(group), _) => number(group, |numbers| numbers.1),
            (None, Who::Name(name)) => self.uids.get(name).map(|numbers| numbers.1),
            (None, Who::Number(_)) => None,
        };
        if uid.is_none() {
            self.remark(Some(unit.name), "user", format!("names cannot be looked up in an image: say --uid {}=UID:GID", user.user));
        }
        uid.map(|uid| (uid, gid))
    }

    /// Those whose good end this one waits for, and those whose good end they wait for, first things first.
    fn before(&self, unit: Unit<'a>) -> Vec<Unit<'a>> {
        let mut found = Vec::new();
        self.add_in_order(unit, &|need, _| need.condition == Condition::Finished, &mut found);
        found.pop(); // itself
        found
    }

    /// Adds it after those that it needs, as far as these count, each once. Circles were refused when the configuration was read.
    fn add_in_order(&self, unit: Unit<'a>, counts: &impl Fn(&Need, Unit<'a>) -> bool, found: &mut Vec<Unit<'a>>) {
        if found.iter().any(|known| known.name == unit.name) {
            return;
        }
        for need in &unit.spec.depends_on {
            if let Some(other) = self.unit(&need.service).filter(|other| counts(need, *other)) {
                self.add_in_order(other, counts, found);
            }
        }
        found.push(unit);
    }

    /// Whether somebody waits for its good end.
    fn is_waited_for(&self, unit: Unit<'_>) -> bool {
        self.waited_for.contains(unit.name)
    }
}

/// A text with `$$` for `$` and nothing to expand; None: there is.
fn literal(text: &str) -> Option<String> {
    let without = text.replace("$$", "");
    (!without.contains("${")).then(|| text.replace("$$", "$"))
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The port that a probe asks of this machine.
fn port(check: &Check) -> Option<u16> {
    let of = |kind: &Kind| match kind {
        Kind::Http { port, .. } | Kind::Tcp { port, .. } => Some(*port),
        _ => None,
    };
    match check {
        Check::Tcp(target) => of(target.kind()),
        Check::Http(page) => of(page.url.kind()),
        Check::Listen(port) => Some(*port),
        Check::Command(_) | Check::File(_) | Check::Log(_) | Check::Notify(_) => None,
    }
}

/// The services, each once for all replicas, which follow one another; as many as `x-export` says.
fn units<'a>(config: &'a Config, hints: &'a BTreeMap<String, Hints>) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    for spec in &config.services {
        let name = spec.replica_of.as_deref().unwrap_or(&spec.name);
        match units.last_mut() {
            Some(unit) if unit.name == name => unit.replicas += 1,
            _ => units.push(Unit { name, spec, replicas: 1, hints: hints.get(name).unwrap_or(&hints::NONE) }),
        }
    }
    units.iter_mut().for_each(|unit| unit.replicas = unit.hints.replicas.unwrap_or(unit.replicas));
    units
}

/// The words of a command.
fn words<'a>(path: &'a str, args: &'a [String]) -> impl Iterator<Item = &'a str> {
    std::iter::once(path).chain(args.iter().map(String::as_str))
}

fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}
