//! A configuration looked at without a daemon: what `ppm check` finds.
//!
//! Finds and reads the file as the daemon would; what is right is the core's to say. Nothing is changed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ppm_core::advice::{self, Misfit};
use ppm_core::config::{self, Config, MAX_FILE, Problems};
use ppm_protocol::Checked;
use serde::Serialize;

use crate::failure::{Code, Failure, io_words};

/// The name that stands for stdin, and how it is called in messages.
const STDIN: (&str, &str) = ("-", "<stdin>");

/// A file that was read, by its name for people.
pub struct Source {
    /// The path, or `<stdin>`.
    pub name: String,
    text: String,
}

impl Source {
    /// What stands in it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why a configuration does not pass.
#[derive(Debug)]
pub struct Wrong {
    /// For programs.
    pub problems: Vec<Place>,
    /// For people.
    pub failures: Vec<Failure>,
}

/// One thing that is wrong, for programs: as the protocol's error 1007 tells it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1; 0: the file as a whole.
    line: usize,
    /// From 1, in characters; 0: the line as a whole.
    column: usize,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    /// What is wrong, for a command that can be right or wrong only as a whole.
    pub fn into_failure(self) -> Failure {
        let first = self.failures.into_iter().next();
        first.unwrap_or_else(|| Failure::new(Code::WrongConfiguration, "the configuration is wrong"))
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        let place = Place { line: 0, column: 0, message: failure.message.clone(), hint: failure.hints.first().cloned() };
        Wrong { problems: vec![place], failures: vec![failure] }
    }
}

/// Reads the configuration that is meant: the file asked for, else that of `PPM_CONFIG`, else the first that exists of
/// the places where the daemon looks.
pub fn read(asked: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<Source, Failure> {
    let path = find(asked, env)?;
    let (name, text) = if path == Path::new(STDIN.0) {
        (STDIN.1.to_owned(), read_text(io::stdin()))
    } else {
        (path.display().to_string(), File::open(&path).and_then(read_text))
    };
    match text {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => {
            let why = if error.kind() == io::ErrorKind::InvalidData { "it is not UTF-8".to_owned() } else { io_words(&error) };
            let failure = Failure::new(Code::WrongConfiguration, format!("cannot read the configuration {name}: {why}"));
            Err(failure.hint("name a file that can be read, or set PPM_CONFIG"))
        }
    }
}

/// What the configuration says, if it is right.
pub fn parse(source: &Source) -> Result<Config, Wrong> {
    config::parse(&source.text, &source.name).map_err(wrong)
}

/// Whether the configuration is right and, if a grace is given, can be stopped within it.
pub fn check(source: &Source, grace: Option<Duration>) -> Result<Checked, Wrong> {
    let config = parse(source)?;
    let misfits = grace.map_or(Vec::new(), |grace| advice::misfits(&config, grace));
    if !misfits.is_empty() {
        let (problems, failures) = misfits.into_iter().map(|own| misfit(own, &source.name)).unzip();
        return Err(Wrong { problems, failures });
    }
    Ok(Checked { services: config.services.len(), warnings: advice::warnings(&config) })
}

/// The configuration that is meant: see [`read`]. It need not be there if it was named.
pub fn meant(asked: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = asked.or_else(|| env("PPM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    named.or_else(|| config::candidates(env).into_iter().find(|path| path.exists()))
}

fn find(asked: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    meant(asked, &env).ok_or_else(|| {
        let places = config::candidates(env);
        let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        Failure::new(Code::WrongConfiguration, "there is no configuration")
            .fact(format!("looked for: {}", places.join(", ")))
            .hint("name its file; 'ppm show-configuration' prints the one that runs")
    })
}

/// At most one byte more than is allowed, so that the parser can say that it is too much.
fn read_text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// What is wrong, for programs and for people.
pub fn wrong(problems: Problems) -> Wrong {
    let count = problems.list.len() + problems.omitted;
    let message = format!("{count} problem{} in {}", if count == 1 { "" } else { "s" }, problems.file);
    let drawn = problems.to_string();
    // The core ends with how many there are; that nothing was changed goes without saying here.
    let drawn = drawn.rsplit_once("\n\nerror: ").map_or(drawn.as_str(), |(places, _)| places);
    let failures = vec![Failure::wrong_configuration(drawn, message)];
    let place =
        |problem: config::Problem| Place { line: problem.line, column: problem.column, message: problem.message, hint: problem.hint };
    Wrong { problems: problems.list.into_iter().map(place).collect(), failures }
}

/// What does not fit into the grace, for programs and for people.
fn misfit(misfit: Misfit, file: &str) -> (Place, Failure) {
    let Misfit { line, message, hint } = misfit;
    let place = if line == 0 { format!("in {file}") } else { format!("at {file}:{line}") };
    let failure = Failure::new(Code::WrongConfiguration, message.clone()).fact(place).hint(hint.clone());
    (Place { line, column: 0, message, hint: Some(hint) }, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "services:\n- name: web\n  command: web\n";

    fn checked(text: &str, grace: Option<u64>) -> Result<Checked, Wrong> {
        check(&Source { name: "x.yml".to_owned(), text: text.to_owned() }, grace.map(Duration::from_secs))
    }

    #[test]
    fn a_right_one_is_counted() {
        assert_eq!(checked(WEB, None).unwrap(), Checked { services: 1, warnings: vec![] });
        assert_eq!(checked("", Some(10)).unwrap(), Checked { services: 0, warnings: vec![] });
    }

    #[test]
    fn a_wrong_one_tells_every_place_to_programs_and_to_people() {
        let wrong = checked("restart_interval: 10 parsecs\nbogus: 1\n", None).unwrap_err();
        assert_eq!(wrong.problems.iter().map(|place| (place.line, place.column)).collect::<Vec<_>>(), [(1, 19), (2, 1)]);
        let [failure] = wrong.failures.as_slice() else { panic!("{wrong:?}") };
        assert_eq!((failure.code, failure.message.as_str()), (Code::WrongConfiguration, "2 problems in x.yml"));
        assert!(failure.excerpt.starts_with("error: `10 parsecs` is not a duration\n --> x.yml:1:19\n"), "{}", failure.excerpt);
        assert!(!failure.excerpt.contains("nothing was changed"), "{}", failure.excerpt);
    }

    #[test]
    fn the_file_is_the_one_asked_for_else_that_of_the_environment_else_the_first_there_is() {
        let home = tempfile::tempdir().unwrap();
        let env = |name: &str| match name {
            "PPM_CONFIG" => Some(OsString::from("/env.yml")),
            _ => None,
        };
        assert_eq!(find(Some("x.yml".into()), env).unwrap(), Path::new("x.yml"));
        assert_eq!(find(None, env).unwrap(), Path::new("/env.yml"));
        let env = |name: &str| match name {
            "HOME" => Some(home.path().as_os_str().to_owned()),
            "PPM_CONFIG" => Some(OsString::new()),
            _ => None,
        };
        let failure = find(None, env).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (Code::WrongConfiguration, "there is no configuration"));
        assert!(failure.facts[0].contains("/.config/partner/partner-pm.yml, "), "{failure:?}");
        std::fs::write(home.path().join(".partner-pm.yml"), "").unwrap();
        assert_eq!(find(None, env).unwrap(), home.path().join(".partner-pm.yml"));
    }
}
