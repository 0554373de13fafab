//! The configuration file: text in, validated services out, and back.
//!
//! Reads no file: the text is given, and so are the variables that say where it is looked for. Invariants: a
//! configuration is right as a whole or not there at all, and what [`render`] writes, [`parse`] reads as the same.

mod env;
mod field;
pub mod keys;
mod log;
mod needs;
mod probes;
mod problem;
mod read;
mod render;
mod replicas;
mod tree;
pub(crate) mod value;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

pub use problem::{Problem, Problems};
pub use render::{double_quoted, quoted, render};
pub use value::{write_duration, write_size};

use crate::gather::Gather;
use crate::spec::{InvalidSpec, MAIN, ServiceSpec, Settings};
use field::Draft;
use problem::{Complaint, MAX_PROBLEMS, Source, Token};
use read::{Outcome, Verbatim};
use tree::{At, Extent, NotYaml};

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 8 << 20;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What is not of one service.
    pub settings: Settings,
    /// In the order of the file; ids only where they were written.
    pub services: Vec<ServiceSpec>,
    /// What is right but may be meant otherwise, each with its line; told by `check`.
    pub remarks: Vec<String>,
}

impl Config {
    /// Adds the command of the daemon's command line as the service [`MAIN`].
    ///
    /// # Errors
    /// The name is taken, or the words are no command.
    pub fn add_main(&mut self, words: &[String]) -> Result<(), InvalidSpec> {
        if let Some(other) = self.services.iter().find(|service| service.written_name() == MAIN) {
            let message = format!("the command of the command line becomes the service `{MAIN}`, and there is one in {}", other.source);
            return Err(InvalidSpec::new(message).hint("give that service another name, or leave out the command"));
        }
        self.services.push(ServiceSpec::main(words, &self.settings)?);
        Ok(())
    }
}

/// Reads a configuration; `file` is its name in messages and in [`ServiceSpec::source`], and files that it names are
/// looked for from its folder: so it had better be absolute.
///
/// An empty document is a configuration without services.
///
/// # Errors
/// Everything that is wrong with it; then nothing of it is to be used.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_FILE {
        let message = format!("a configuration of {} bytes is too large, at most {MAX_FILE} are read", text.len());
        return Err(Problems::new(file, vec![Source::new("").problem(Complaint { message, ..Complaint::default() })]));
    }
    let tree = tree::read(text).map_err(|not_yaml| Problems::new(file, vec![not_yaml_problem(&Source::new(text), not_yaml)]))?;
    let Outcome { mut config, drafts, verbatim, starts, remarks, replicas } = read::read(&tree, text, folder_of(file));
    if !drafts.is_empty() {
        return Err(problems(text, file, drafts));
    }
    for (service, start) in config.services.iter_mut().zip(starts) {
        service.source = match tree.services.get(&start) {
            Some(token) => format!("{file}:{}", token.mark.line),
            None => file.to_owned(),
        };
    }
    let wanted: BTreeSet<At> = verbatim.iter().map(|verbatim| verbatim.at).chain(remarks.iter().map(|(at, _)| *at)).gather();
    if !wanted.is_empty() {
        let found = tree::locate(text, &wanted);
        for Verbatim { service, name, at } in verbatim {
            if let (Some(service), Some(token)) = (config.services.get_mut(service), found.get(&at)) {
                service.command.env.insert(name, token.text.as_str().into());
            }
        }
        let line = |at: &At| found.get(at).map_or(0, |token| token.mark.line);
        config.remarks = remarks.into_iter().map(|(at, remark)| format!("line {}: {remark}", line(&at))).collect();
    }
    config.services = replicas::expand(config.services, &replicas);
    Ok(config)
}

/// Why YAML is not even to be parsed: it would take minutes, or all memory. [`parse`] finds that out itself.
///
/// # Errors
/// Says of what there is too much.
pub fn check_size_of_yaml(text: &str) -> Result<(), InvalidSpec> {
    tree::refuse_slow(text).map_err(|NotYaml { message, hint, .. }| InvalidSpec { message, hint })
}

/// The part of a path before the file's name, empty if there is none.
fn folder_of(file: &str) -> &str {
    match file.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}

/// Looks up where what is wrong stands; nothing is located that will not be shown.
fn problems(text: &str, file: &str, mut drafts: Vec<Draft>) -> Problems {
    drafts.sort_by_key(|draft| draft.at);
    let omitted = drafts.len().saturating_sub(MAX_PROBLEMS);
    drafts.truncate(MAX_PROBLEMS);
    let wanted: BTreeSet<At> = drafts.iter().flat_map(|draft| [Some(draft.at), draft.first]).flatten().gather();
    let (source, found) = (Source::new(text), tree::locate(text, &wanted));
    let list = drafts.into_iter().map(|draft| draft_problem(&source, &found, draft)).collect();
    Problems { omitted, ..Problems::new(file, list) }
}

/// Where a configuration is looked for when none is named, in this order.
///
/// `env` gives the value of an environment variable; an empty one counts as unset.
pub fn candidates(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME");
    let folder = set("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut files: Vec<PathBuf> = folder.map(|folder| folder.join("partner/partner-pm.yml")).into_iter().collect();
    files.extend(home.map(|home| home.join(".partner-pm.yml")));
    files.push(PathBuf::from("./.partner-pm.yml"));
    files
}

fn not_yaml_problem(source: &Source<'_>, not_yaml: NotYaml) -> Problem {
    let complaint = Complaint { message: not_yaml.message, hint: not_yaml.hint, ..Complaint::default() };
    match (not_yaml.mark, not_yaml.extent) {
        (Some(mark), Extent::Character) => source.problem_at(mark, 1, complaint),
        (Some(mark), Extent::Word) => source.problem_at(mark, source.word(mark), complaint),
        (None, _) => source.problem(complaint),
    }
}

fn draft_problem(source: &Source<'_>, found: &BTreeMap<At, Token>, draft: Draft) -> Problem {
    let Draft { at, first, mut complaint } = draft;
    if let Some(first) = first.and_then(|first| found.get(&first)) {
        complaint.label = Some(format!("the first is in line {}", first.mark.line));
    }
    match found.get(&at) {
        Some(token) => source.problem_with(token, complaint),
        None => source.problem(complaint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_for(variables: &[(&str, &str)]) -> Vec<String> {
        let env = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value));
        candidates(env).into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn configurations_are_looked_for_from_the_most_particular_place_on() {
        let here = "./.partner-pm.yml";
        assert_eq!(looked_for(&[]), [here]);
        assert_eq!(looked_for(&[("HOME", "/h")]), ["/h/.config/partner/partner-pm.yml", "/h/.partner-pm.yml", here]);
        assert_eq!(looked_for(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), ["/x/partner/partner-pm.yml", "/h/.partner-pm.yml", here]);
        assert_eq!(looked_for(&[("HOME", ""), ("XDG_CONFIG_HOME", "/x")]), ["/x/partner/partner-pm.yml", here]);
        assert_eq!(looked_for(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "")]).first().unwrap(), "/h/.config/partner/partner-pm.yml");
    }
}
