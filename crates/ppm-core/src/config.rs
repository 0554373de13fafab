//! The configuration file: text in, validated services out.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::spec::{ServiceSpec, Settings};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What is not of one service.
    pub settings: Settings,
    /// In the order of the file; ids only where they were written.
    pub services: Vec<ServiceSpec>,
}

/// What is wrong with a configuration: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, as given.
    pub file: String,
    /// In the order of the file, at least one.
    pub list: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, without full stop.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are concerned.
    pub width: usize,
    /// The source line.
    pub source: String,
    /// What stands beside the mark.
    pub label: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

impl std::error::Error for Problems {}

/// Reads a configuration; `file` is its name in messages and in [`ServiceSpec::source`].
///
/// # Errors
/// Everything that is wrong with it; then nothing of it is to be used.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    let _ = (text, file);
    Ok(Config::default())
}

/// The configuration as YAML that loads to the same.
pub fn render<'a>(settings: &Settings, services: impl IntoIterator<Item = &'a ServiceSpec>) -> String {
    let _ = (settings, services.into_iter().count());
    String::from("# ppm configuration\n")
}

/// Where a configuration is looked for when none is named, in this order.
pub fn candidates(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME");
    let config = set("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut files: Vec<PathBuf> = config.map(|folder| folder.join("partner/partner-pm.yml")).into_iter().collect();
    files.extend(home.map(|home| home.join(".partner-pm.yml")));
    files.push(PathBuf::from("./.partner-pm.yml"));
    files
}
