//! The environment of a service: where its variables come from, and what `${NAME}` means in their values.
//!
//! Decides which files are read and in which order, and reads none: that is done by a function it is given. Invariants:
//! it ends for every input, within bounds of time and memory; no error contains anything of a file.
//!
//! A definition hides those of the same name beneath it. From bottom to top: the daemon's environment, the files of the
//! top, its `env`, the service's files, its `env`, and what the daemon tells every service. A reference means what the
//! service will see, wherever it is defined. Where that leads back to itself, directly or in a circle, it means the
//! definition beneath the one that it came back to; so `PATH: /opt/bin:${PATH}` adds to the PATH that was there.

mod file;
mod template;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::spec::{Command, InvalidSpec, printable, shown};
use template::{Otherwise, Piece, pieces};

/// The largest file that is read for an environment, in bytes: far more than the kernel passes on.
pub const MAX_FILE: usize = 1 << 20;

/// What a start may cost in bytes that are read, written and looked up: more than any environment that the kernel
/// takes, little enough to be done at once.
const MAX_WORK: usize = 16 << 20;

/// What looking up a variable costs.
const LOOKUP: usize = 64;

/// How many variables may refer to one another in a row; people write three or four.
const MAX_CHAIN: usize = 32;

/// The longest message of `${NAME:?message}` that is shown, in characters.
const MAX_MESSAGE: usize = 200;

/// Not inherited unless by name: where the daemon itself listens and what it reads.
const PRIVATE: [&[u8]; 2] = [b"PPM_SOCKET", b"PPM_CONFIG"];

/// The value of an environment variable, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// Text in which references are expanded at each start.
    Text(Box<str>),
    /// At each start, the content of this file without its last end of line. References in the path are expanded.
    File(Box<str>),
}

impl From<&str> for EnvValue {
    fn from(text: &str) -> Self {
        EnvValue::Text(text.into())
    }
}

impl From<String> for EnvValue {
    fn from(text: String) -> Self {
        EnvValue::Text(text.into())
    }
}

/// Variables of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Files that are read at each start; later ones win. References in the paths are expanded, for which only the
    /// daemon's variables and what it tells the service are known.
    pub files: Vec<String>,
    /// Wins over the files.
    pub env: BTreeMap<String, EnvValue>,
}

/// What a service sees besides its own `env`; most services share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Of all services.
    pub common: Arc<Variables>,
    /// Of this one; they win over all that is common.
    pub files: Vec<String>,
    /// What it gets of the daemon's environment.
    pub inherit: Inherit,
}

/// What a service gets of the daemon's environment. References are not bound by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inherit {
    /// All but what is the daemon's own business: PPM_SOCKET and PPM_CONFIG.
    #[default]
    All,
    /// The variables with these names.
    Only(Vec<String>),
}

impl Inherit {
    /// Whether the daemon's variable of this name is passed on.
    pub fn passes(&self, name: &[u8]) -> bool {
        match self {
            Inherit::All => !PRIVATE.contains(&name),
            Inherit::Only(names) => names.iter().any(|own| own.as_bytes() == name),
        }
    }
}

/// The content of the file at a path; or, in words, why there is none.
pub type Read<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// What is known only where it is used: how the daemon helps with an environment.
#[derive(Clone, Copy)]
pub struct Help<'a> {
    /// What the service is told, on top of everything.
    pub told: &'a [(&'a str, &'a str)],
    /// The value of one of the daemon's variables.
    pub inherited: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    /// Reads at most [`MAX_FILE`] bytes of the file at this path; or says why not: `no such file`.
    pub read: &'a Read<'a>,
}

/// What a service gets at one start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Its own variables and their values, in the order of their names; they hide inherited ones.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// The folder to run in, absolute.
    pub workdir: Option<Folder>,
    /// The folder of its log files, absolute.
    pub logs: Option<Folder>,
}

impl Resolved {
    /// The value of one of its own variables.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.variables.binary_search_by(|(own, _)| own.as_slice().cmp(name)).ok()?;
        self.variables.get(at).map(|(_, value)| value.as_slice())
    }
}

/// A folder, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: Vec<u8>,
    /// For people: the path, or what is written for it where that contains a secret.
    pub name: String,
}

/// Gathers and expands everything anew. `logs` is the folder of log files as it is written.
///
/// # Errors
/// The first thing that is wrong, in words that show where it stands: `env_file: no such file: /etc/web.env`.
pub fn resolve<'a>(command: &'a Command, logs: Option<&str>, help: Help<'a>) -> Result<Resolved, String> {
    let (definitions, budget) = gather(command, help)?;
    let mut expansion = Expansion::new(&definitions, help, budget);
    let mut variables = Vec::with_capacity(definitions.by_name.len());
    for name in definitions.by_name.keys() {
        variables.push((name.to_vec(), expansion.value(name)?.unwrap_or_default()));
    }
    let workdir = command.workdir.as_deref().map(|written| expansion.folder(written, Place::Workdir)).transpose()?;
    let logs = logs.map(|written| expansion.folder(written, Place::Logs)).transpose()?;
    Ok(Resolved { variables, workdir, logs })
}

/// The folder that a service runs in, and paths that it watches, with what references in them mean to it.
///
/// # Errors
/// The first thing that is wrong, as with [`resolve`].
pub fn resolve_watched<'a>(command: &'a Command, paths: &[String], help: Help<'a>) -> Result<(Option<Folder>, Vec<Vec<u8>>), String> {
    let (definitions, budget) = gather(command, help)?;
    let mut expansion = Expansion::new(&definitions, help, budget);
    let workdir = command.workdir.as_deref().map(|written| expansion.folder(written, Place::Workdir)).transpose()?;
    let paths = paths.iter().map(|written| Ok(expansion.folder(written, Place::Watch)?.path)).collect::<Result<_, String>>()?;
    Ok((workdir, paths))
}

/// Everything that defines a variable of a service.
fn gather<'a>(command: &'a Command, help: Help<'a>) -> Result<(Definitions<'a>, Budget), String> {
    let Surroundings { common, files, inherit: _ } = &*command.surroundings;
    let mut definitions = Definitions::default();
    let mut budget = Budget(MAX_WORK);
    for path in &common.files {
        definitions.add_file(path, help, &mut budget)?;
    }
    definitions.add_env(&common.env);
    for path in files {
        definitions.add_file(path, help, &mut budget)?;
    }
    definitions.add_env(&command.env);
    definitions.add_told(help.told);
    Ok((definitions, budget))
}

/// Checks that references in a value or a path are written well.
///
/// # Errors
/// What is wrong with the first that is not.
pub(crate) fn check_references(text: &str) -> Result<(), InvalidSpec> {
    template::check(text)
}

/// The path of a file that a configuration in `folder` names by `path`.
pub(crate) fn path_from(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.starts_with('/') || path.starts_with("${") {
        return path.to_owned();
    }
    format!("{}/{path}", template::escape(folder.trim_end_matches('/')))
}

/// Everything that defines a variable, from bottom to top.
#[derive(Default)]
struct Definitions<'a> {
    list: Vec<Definition<'a>>,
    /// Where in the list the definitions of a name stand.
    by_name: BTreeMap<Cow<'a, [u8]>, Vec<usize>>,
}

struct Definition<'a> {
    place: Place<'a>,
    value: Written<'a>,
}

enum Written<'a> {
    Told(&'a [u8]),
    Template(Cow<'a, [u8]>),
    File(&'a str),
}

/// Where a definition stands, for messages.
#[derive(Clone)]
enum Place<'a> {
    Env(&'a str),
    Line(Rc<str>, usize, String),
    Workdir,
    Logs,
    Watch,
    FilePath,
}

impl Place<'_> {
    fn error(&self, why: &str) -> String {
        match self {
            Place::Env(name) => format!("env: {}: {why}", shown(name)),
            Place::Line(file, line, name) => format!("env_file: {file}:{line}: {}: {why}", shown(name)),
            Place::Workdir => format!("workdir: {why}"),
            Place::Logs => format!("logger.path: {why}"),
            Place::Watch => format!("watch: {why}"),
            Place::FilePath => format!("env_file: {why}"),
        }
    }
}

impl<'a> Definitions<'a> {
    fn add(&mut self, name: Cow<'a, [u8]>, place: Place<'a>, value: Written<'a>) {
        self.by_name.entry(name).or_default().push(self.list.len());
        self.list.push(Definition { place, value });
    }

    fn add_env(&mut self, env: &'a BTreeMap<String, EnvValue>) {
        for (name, value) in env {
            let value = match value {
                EnvValue::Text(text) => Written::Template(text.as_bytes().into()),
                EnvValue::File(path) => Written::File(path),
            };
            self.add(name.as_bytes().into(), Place::Env(name), value);
        }
    }

    fn add_told(&mut self, told: &[(&'a str, &'a str)]) {
        for (name, value) in told {
            self.add(name.as_bytes().into(), Place::Env(name), Written::Told(value.as_bytes()));
        }
    }

    fn add_file(&mut self, written: &'a str, help: Help<'a>, budget: &mut Budget) -> Result<(), String> {
        let mut told = Definitions::default();
        told.add_told(help.told);
        let path = Expansion::new(&told, help, Budget(budget.0)).path(written, &Place::FilePath)?;
        let content = (help.read)(&path).map_err(|why| format!("env_file: {why}: {}", printable(&path)))?;
        budget.spend(content.len()).map_err(|why| Place::FilePath.error(why))?;
        let file: Rc<str> = printable(&path).into();
        let lines = file::read(&content).map_err(|bad| format!("env_file: {file}:{}: {}", bad.line, bad.what))?;
        for file::Assignment { line, name, value } in lines {
            let place = Place::Line(Rc::clone(&file), line, printable(&name));
            self.add(name.into(), place, Written::Template(value.into()));
        }
        Ok(())
    }
}

/// What may still be spent on a start.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, cost: usize) -> Result<(), &'static str> {
        self.0 = self.0.checked_sub(cost).ok_or("the environment is too large: more than 16 MiB are needed to make it")?;
        Ok(())
    }
}

/// Expanding what was defined.
struct Expansion<'a> {
    definitions: &'a Definitions<'a>,
    help: Help<'a>,
    budget: Budget,
    /// What is being expanded: each because of the one before.
    active: Vec<usize>,
    /// The files that have been read.
    contents: Vec<(usize, Rc<[u8]>)>,
    /// How often something of a file has been used.
    secrets: usize,
}

impl<'a> Expansion<'a> {
    fn new(definitions: &'a Definitions<'a>, help: Help<'a>, budget: Budget) -> Self {
        Expansion { definitions, help, budget, active: Vec::new(), contents: Vec::new(), secrets: 0 }
    }

    /// What a name means here: the topmost definition of it, or the one beneath that which is being expanded.
    fn value(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let definitions = self.definitions;
        let own = definitions.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let above = own.iter().position(|at| self.active.contains(at)).unwrap_or(own.len());
        let found = above.checked_sub(1).and_then(|at| own.get(at)).and_then(|at| Some((*at, definitions.list.get(*at)?)));
        let Some((at, definition)) = found else { return Ok((self.help.inherited)(name)) };
        if self.active.len() == MAX_CHAIN {
            return Err(definition.place.error(&format!("more than {MAX_CHAIN} variables refer to one another")));
        }
        self.active.push(at);
        let value = match &definition.value {
            Written::Told(value) => value.to_vec(),
            Written::Template(text) => {
                let mut value = Vec::new();
                self.expand(text, &definition.place, &mut value)?;
                value
            }
            Written::File(path) => self.content(at, path, &definition.place)?.to_vec(),
        };
        self.active.pop();
        Ok(Some(value))
    }

    fn expand(&mut self, text: &[u8], place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        for piece in pieces(text) {
            let before = out.len();
            match piece.map_err(|malformed| place.error(malformed.in_words()))? {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Reference(name, otherwise) => {
                    self.spend(LOOKUP, place)?;
                    let value = self.value(name)?.unwrap_or_default();
                    match otherwise {
                        Otherwise::Default(default) if value.is_empty() => self.expand(default, place, out)?,
                        Otherwise::Refuse(message) if value.is_empty() => return Err(place.error(&refusal(name, message))),
                        Otherwise::Empty | Otherwise::Default(_) | Otherwise::Refuse(_) => out.extend_from_slice(&value),
                    }
                }
            }
            self.spend(out.len() - before, place)?;
        }
        Ok(())
    }

    /// What stands in the file of a definition; read once.
    fn content(&mut self, at: usize, written: &str, place: &Place<'_>) -> Result<Rc<[u8]>, String> {
        let content = if let Some((_, content)) = self.contents.iter().find(|(own, _)| *own == at) {
            Rc::clone(content)
        } else {
            let before = self.secrets;
            let path = self.path(written, place)?;
            let name = if self.secrets == before { printable(&path) } else { printable(written.as_bytes()) };
            let content = (self.help.read)(&path).map_err(|why| place.error(&format!("{why}: {name}")))?;
            if content.contains(&0) {
                return Err(place.error(&format!("a NUL byte cannot be in a variable: {name}")));
            }
            let content: Rc<[u8]> = without_newline(&content).into();
            self.contents.push((at, Rc::clone(&content)));
            content
        };
        self.secrets += 1;
        self.spend(content.len(), place)?;
        Ok(content)
    }

    /// The path that is written; one that begins with a variable must be absolute.
    fn path(&mut self, written: &str, place: &Place<'_>) -> Result<Vec<u8>, String> {
        let mut path = Vec::new();
        self.expand(written.as_bytes(), place, &mut path)?;
        if written.starts_with("${") && !path.starts_with(b"/") {
            return Err(place.error(&format!("not an absolute path: {}", printable(written.as_bytes()))));
        }
        Ok(path)
    }

    fn folder(&mut self, written: &str, place: Place<'_>) -> Result<Folder, String> {
        let before = self.secrets;
        let path = self.path(written, &place)?;
        let name = if self.secrets == before { printable(&path) } else { printable(written.as_bytes()) };
        if path.contains(&0) {
            return Err(place.error(&format!("a NUL byte cannot be in a path: {name}")));
        }
        Ok(Folder { path, name })
    }

    fn spend(&mut self, cost: usize, place: &Place<'_>) -> Result<(), String> {
        self.budget.spend(cost).map_err(|why| place.error(why))
    }
}

/// The message of `${NAME:?message}`, as it is written.
fn refusal(name: &[u8], message: &[u8]) -> String {
    let (name, message) = (printable(name), printable(message));
    let message: String = message.trim().chars().take(MAX_MESSAGE).collect();
    if message.is_empty() { format!("{name} is unset or empty") } else { message }
}

fn without_newline(content: &[u8]) -> &[u8] {
    content.strip_suffix(b"\n").map_or(content, |line| line.strip_suffix(b"\r").unwrap_or(line))
}
