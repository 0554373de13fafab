//! `ppm import`: what another program's file says, as a configuration of ours.
//!
//! A reader for each dialect makes a [`Draft`]; one writer makes YAML of it. Nothing is printed before all has been read,
//! and what is printed is first read as the daemon would read it. The file is never executed and nothing is changed.

mod command;
mod crontab;
pub mod draft;
mod pm2;
mod process_compose;
mod procfile;
mod supervisord;
pub mod tree;

use std::cell::Cell;
use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::ValueEnum;
use ppm_core::config::{self, Problems};

use crate::check;
use crate::editor;
use crate::failure::{Code, Failure, io_words};
pub use draft::Remark;
use draft::{Draft, Place};

/// What is remarked of output that was to be lost.
const NOT_LOST: &str = "nothing throws output away: it goes where the daemon writes";

/// The largest file that is read, in bytes: generated ones have some hundred kilobytes.
const MAX_FILE: usize = 5 << 20;

/// The name that stands for stdin, and how it is called in messages.
const STDIN: (&str, &str) = ("-", "<stdin>");

/// What the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// A supervisord.conf
    Supervisord,
    /// An ecosystem file of pm2, in JSON or YAML
    Pm2,
    /// A Procfile of foreman, honcho, overmind or Heroku
    Procfile,
    /// A crontab of a user or of the system
    Crontab,
    /// A process-compose.yaml
    ProcessCompose,
}

/// A text, and how it is called.
pub struct Source {
    /// As it was named.
    pub name: Rc<str>,
    pub text: String,
    /// The folder that it stands in, absolute; for stdin the current one.
    pub folder: PathBuf,
    /// Where it stands; None: stdin.
    pub path: Option<PathBuf>,
    /// Whether a path was taken to begin at its folder.
    is_base: Cell<bool>,
}

/// What became of it.
#[derive(Debug)]
pub struct Imported {
    /// A configuration that is right.
    pub text: String,
    /// What did not map; it stands in the text too.
    pub remarks: Vec<Remark>,
    /// How many services there are.
    pub services: usize,
}

impl Dialect {
    /// As it is written in `--from`.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Supervisord => "supervisord",
            Dialect::Pm2 => "pm2",
            Dialect::Procfile => "procfile",
            Dialect::Crontab => "crontab",
            Dialect::ProcessCompose => "process-compose",
        }
    }

    /// The dialect of a file, where its name or what is in it leaves no doubt.
    fn of(source: &Source) -> Option<Dialect> {
        source.path.as_deref().and_then(Dialect::of_name).or_else(|| Dialect::of_text(&source.text))
    }

    fn of_name(path: &Path) -> Option<Dialect> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let is_script = [".js", ".cjs", ".mjs"].iter().any(|extension| name.ends_with(extension));
        if name == "procfile" || name.starts_with("procfile.") || name.ends_with(".procfile") {
            return Some(Dialect::Procfile);
        }
        if name.starts_with("supervisor") && (name.ends_with(".conf") || name.ends_with(".ini")) {
            return Some(Dialect::Supervisord);
        }
        if name.starts_with("process-compose.") || name.starts_with("process_compose.") {
            return Some(Dialect::ProcessCompose);
        }
        if name.starts_with("ecosystem.") || name.starts_with("pm2.") || is_script {
            return Some(Dialect::Pm2);
        }
        let is_cron = name == "crontab" || name.ends_with(".crontab") || name.ends_with(".cron") || crontab::is_of_system(path);
        is_cron.then_some(Dialect::Crontab)
    }

    fn of_text(text: &str) -> Option<Dialect> {
        let has_line = |begin: &str| text.lines().any(|line| line.starts_with(begin));
        if ["[program:", "[supervisord]", "[fcgi-program:"].iter().any(|begin| has_line(begin)) {
            return Some(Dialect::Supervisord);
        }
        let is_json = text.trim_start().starts_with('{');
        let has_key = |key: &str| has_line(&format!("{key}:")) || is_json && text.contains(&format!("\"{key}\""));
        match (has_key("apps"), has_key("processes")) {
            (true, false) => Some(Dialect::Pm2),
            (false, true) => Some(Dialect::ProcessCompose),
            (true, true) | (false, false) => None,
        }
    }
}

impl Source {
    /// A line of it.
    fn place(&self, line: usize) -> Place {
        Place { file: self.name.clone(), line }
    }

    /// Takes in the variables that stand beside it, where they do.
    fn dotenv(&self, reader: &str, draft: &mut Draft) {
        if self.path.is_some() && self.folder.join(".env").is_file() {
            draft.set("env_file", draft::Value::Text(".env".to_owned()));
            draft.remark(
                &self.place(1),
                format!("there is a `.env` beside it, which {reader} reads: `env_file` begins at the configuration's folder"),
            );
        }
    }

    /// Something wrong with `width` letters of it.
    fn wrong(&self, at: (usize, usize), width: usize, message: impl Into<String>, hint: &str) -> Failure {
        check::wrong(Problems::at(&self.name, &self.text, at, width, message, Some(hint))).into_failure()
    }

    /// A path as it is from anywhere: one that is not absolute begins at the file's folder.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with(['/', '$']) {
            return path.to_owned();
        }
        if let Some(rest) = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return format!("${{HOME}}{rest}");
        }
        self.is_base.set(true);
        let mut whole = self.folder.clone();
        for part in Path::new(path).components() {
            match part {
                std::path::Component::ParentDir => drop(whole.pop()),
                std::path::Component::Normal(name) => whole.push(name),
                std::path::Component::CurDir | std::path::Component::RootDir | std::path::Component::Prefix(_) => {}
            }
        }
        whole.display().to_string()
    }
}

/// Reads the file, makes a configuration of it, and looks whether that is right.
///
/// # Errors
/// It cannot be read, it is none of this dialect, or what it says cannot be a configuration.
pub fn import(from: Option<Dialect>, file: &Path) -> Result<Imported, Failure> {
    convert(from, if file == Path::new(STDIN.0) { read_stdin() } else { read(file, &file.display().to_string()) }?)
}

fn convert(from: Option<Dialect>, source: Source) -> Result<Imported, Failure> {
    let dialect = from.or_else(|| Dialect::of(&source)).ok_or_else(|| unknown(&source))?;
    let mut draft = make(dialect, &source)?;
    if source.is_base.get() {
        let message = format!("paths that are not absolute were taken to begin at {}: put in where it will be", source.folder.display());
        draft.remark(&source.place(1), message);
    }
    if draft.services().is_empty() {
        return Err(nothing(dialect, &source));
    }
    let text = editor::first_line() + &draft.render(&format!("{} ({})", source.name, dialect.name()));
    // What is printed is right, or nothing is.
    let remarks = draft.remarks().cloned().collect();
    match config::parse(&text, "<output>") {
        Ok(config) => Ok(Imported { text, remarks, services: config.services.len() }),
        Err(problems) => {
            let from = problems.list.first().and_then(|problem| origin(&draft, &text, problem.line));
            let failure = from.into_iter().fold(check::wrong(problems).into_failure(), |failure, place| {
                failure.fact(format!("it comes from {}:{}", place.file, place.line))
            });
            let message = format!("what {} says would not be a right configuration", source.name);
            Err(Failure { message, ..failure }.hint("mend the file, or take out what is shown above, and import it again"))
        }
    }
}

/// Where the service begins that a line of the output is of.
fn origin<'a>(draft: &'a Draft, text: &str, line: usize) -> Option<&'a Place> {
    let begun = text.lines().take(line).filter(|line| line.starts_with("  - name: ")).count();
    draft.services().get(begun.checked_sub(1)?).map(|service| &service.place)
}

fn make(dialect: Dialect, source: &Source) -> Result<Draft, Failure> {
    match dialect {
        Dialect::Supervisord => supervisord::read(source),
        Dialect::Pm2 => pm2::read(source),
        Dialect::Procfile => procfile::read(source),
        Dialect::Crontab => crontab::read(source),
        Dialect::ProcessCompose => process_compose::read(source),
    }
}

/// Reads a file; `name` is how it is called in messages.
fn read(path: &Path, name: &str) -> Result<Source, Failure> {
    let text = File::open(path).and_then(read_bytes).map_err(|error| unreadable(name, &io_words(&error)))?;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = whole.parent().map_or(PathBuf::from("/"), Path::to_owned);
    Ok(Source { name: name.into(), text: text_of(name, text)?, folder, path: Some(whole), is_base: Cell::new(false) })
}

fn read_stdin() -> Result<Source, Failure> {
    let text = read_bytes(io::stdin()).map_err(|error| unreadable(STDIN.1, &io_words(&error)))?;
    Ok(Source {
        name: STDIN.1.into(),
        text: text_of(STDIN.1, text)?,
        folder: env::current_dir().unwrap_or_default(),
        path: None,
        is_base: Cell::new(false),
    })
}

/// At most one byte more than is allowed.
fn read_bytes(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text, without the mark of its order of bytes.
fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > MAX_FILE {
        let failure = Failure::new(Code::WrongConfiguration, format!("cannot import {name}: it is larger than {} MiB", MAX_FILE >> 20));
        return Err(failure.hint("import it in parts, or look whether it is the file that is meant"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = valid.matches('\n').count() + 1;
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let failure = Failure::new(Code::WrongConfiguration, format!("cannot import {name}: it is not UTF-8"));
        failure.fact(format!("at {name}:{line}:{column}")).hint("make UTF-8 of it: iconv -f latin1 -t utf-8 FILE | ppm import --from ... -")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn unreadable(name: &str, why: &str) -> Failure {
    Failure::new(Code::WrongConfiguration, format!("cannot import {name}: {why}")).hint("name a file that can be read, or '-' for stdin")
}

fn unknown(source: &Source) -> Failure {
    let failure = Failure::new(Code::Usage, format!("it is not certain what {} is for", source.name));
    failure.hint("say it: --from supervisord, pm2, procfile, crontab or process-compose")
}

fn nothing(dialect: Dialect, source: &Source) -> Failure {
    let wanted = match dialect {
        Dialect::Supervisord => "a section like `[program:web]` with a `command`",
        Dialect::Pm2 => "an app with a `script` in `apps`",
        Dialect::Procfile => "a line like `web: ./web`",
        Dialect::Crontab => "a line like `0 3 * * * /app/cleanup`",
        Dialect::ProcessCompose => "a process with a `command` in `processes`",
    };
    let failure = Failure::new(Code::WrongConfiguration, format!("there is nothing to import in {}: wanted {wanted}", source.name));
    failure.hint(format!("it was read for {}: --from says another", dialect.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_one_program_are_known() {
        for (name, dialect) in [
            ("Procfile", Some(Dialect::Procfile)),
            ("app/Procfile.dev", Some(Dialect::Procfile)),
            ("/etc/supervisor/supervisord.conf", Some(Dialect::Supervisord)),
            ("supervisor.ini", Some(Dialect::Supervisord)),
            ("process-compose.yml", Some(Dialect::ProcessCompose)),
            ("process-compose.override.yaml", Some(Dialect::ProcessCompose)),
            ("ecosystem.config.js", Some(Dialect::Pm2)),
            ("ecosystem.config.json", Some(Dialect::Pm2)),
            ("pm2.yml", Some(Dialect::Pm2)),
            ("crontab", Some(Dialect::Crontab)),
            ("/etc/cron.d/php", Some(Dialect::Crontab)),
            ("backup.cron", Some(Dialect::Crontab)),
            ("compose.yml", None),
            ("nginx.conf", None),
            ("x", None),
        ] {
            assert_eq!(Dialect::of_name(Path::new(name)), dialect, "{name}");
        }
    }

    fn source(text: String) -> Source {
        Source { name: "x".into(), text, folder: "/srv/app".into(), path: None, is_base: Cell::new(false) }
    }

    #[test]
    fn whatever_is_lost_or_doubled_in_a_file_the_outcome_is_right_or_told() {
        let files = [
            (Dialect::Supervisord, include_str!("../tests/import/supervisord/web.conf")),
            (Dialect::Pm2, include_str!("../tests/import/pm2/ecosystem.config.json")),
            (Dialect::Pm2, include_str!("../tests/import/pm2/processes.yml")),
            (Dialect::Procfile, include_str!("../tests/import/procfile/Procfile")),
            (Dialect::Crontab, include_str!("../tests/import/crontab/crontab")),
            (Dialect::Crontab, include_str!("../tests/import/crontab/user.txt")),
            (Dialect::ProcessCompose, include_str!("../tests/import/process-compose/process-compose.yaml")),
        ];
        let mut state: u32 = 1;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % limit.max(1)
        };
        let (mut right, mut wrong) = (0, 0);
        for (dialect, text) in files {
            for _ in 0..60 {
                let mut letters: Vec<char> = text.chars().collect();
                for _ in 0..=below(3) {
                    let (begin, length) = (below(letters.len()), below(12));
                    let end = (begin + length).min(letters.len());
                    let part: Vec<char> = letters[begin..end].to_vec();
                    match below(3) {
                        0 => drop(letters.drain(begin..end)),
                        1 => drop(letters.splice(begin..begin, part)),
                        _ => drop(letters.splice(begin..end, "%$\"'{[:\n\t é\u{2028}".chars().cycle().skip(begin).take(length))),
                    }
                }
                match convert(Some(dialect), source(letters.iter().collect())) {
                    Ok(imported) => {
                        config::parse(&imported.text, "x").unwrap_or_else(|problems| panic!("{problems}"));
                        right += 1;
                    }
                    Err(failure) => {
                        assert!(!failure.hints.is_empty() || failure.excerpt.contains(" --> "), "{failure:?}");
                        wrong += 1;
                    }
                }
            }
        }
        assert!(right > 120 && wrong > 40, "{right} right, {wrong} wrong");
    }

    #[test]
    fn more_services_than_there_may_be_are_told_and_soon() {
        let many = |line: &str| source(line.repeat(MAX_FILE / 8 / line.len()));
        for (dialect, text) in [
            (Dialect::Procfile, many("a: b\n")),
            (Dialect::Crontab, many("A=1\n* * * * * a\n")),
            (
                Dialect::Supervisord,
                source((0..15_000).map(|number| format!("[program:{number}]\ncommand=a\npriority={number}\n")).collect()),
            ),
            (
                Dialect::ProcessCompose,
                source(format!(
                    "processes:\n{}",
                    (0..15_000).map(|number| format!("  p{number}: {{command: a, depends_on: [p0]}}\n")).collect::<String>()
                )),
            ),
        ] {
            let failure = convert(Some(dialect), text).unwrap_err();
            assert!(failure.excerpt.contains("too many") || failure.message.contains("too large"), "{failure:?}");
        }
    }

    #[test]
    fn contents_that_mean_one_program_are_known() {
        for (text, dialect) in [
            ("[program:web]\ncommand=web\n", Some(Dialect::Supervisord)),
            ("apps:\n  - script: a.js\n", Some(Dialect::Pm2)),
            ("{\"apps\": []}", Some(Dialect::Pm2)),
            ("version: \"0.5\"\nprocesses:\n  web: {}\n", Some(Dialect::ProcessCompose)),
            ("apps: []\nprocesses: {}\n", None),
            ("web: ./web\n", None),
            ("0 3 * * * /app/cleanup\n", None),
            ("", None),
        ] {
            assert_eq!(Dialect::of_text(text), dialect, "{text}");
        }
    }
}
