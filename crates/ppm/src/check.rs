//! A configuration looked at without a daemon: what `ppm check` finds.
//!
//! Finds and reads the file as the daemon would; what is right is the core's to say. Nothing is changed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ppm_core::config::{self, Config, MAX_FILE, Problems};
use ppm_core::schedule::Schedule;
use ppm_core::spec::ServiceSpec;
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

/// Whether the configuration is right and, if a grace is given, can be stopped within it.
pub fn check(source: &Source, grace: Option<Duration>) -> Result<Checked, Wrong> {
    let config = config::parse(&source.text, &source.name).map_err(wrong)?;
    let misfits = grace.map_or(Vec::new(), |grace| misfits(&config, &source.name, grace));
    if !misfits.is_empty() {
        let (problems, failures) = misfits.into_iter().unzip();
        return Err(Wrong { problems, failures });
    }
    Ok(Checked { services: config.services.len(), warnings: warnings(&config) })
}

fn find(asked: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    let named = asked.or_else(|| env("PPM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    if let Some(path) = named {
        return Ok(path);
    }
    let places = config::candidates(env);
    places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        Failure::new(Code::WrongConfiguration, "there is no configuration")
            .fact(format!("looked for: {}", places.join(", ")))
            .hint("name it: 'ppm check FILE'; 'ppm show-configuration' prints the one that runs")
    })
}

/// At most one byte more than is allowed, so that the parser can say that it is too much.
fn read_text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

fn wrong(problems: Problems) -> Wrong {
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

fn warnings(config: &Config) -> Vec<String> {
    config.services.iter().flat_map(|spec| of_schedule(spec).into_iter().chain(of_stop(spec, config.settings.shutdown_timeout))).collect()
}

fn of_schedule(spec: &ServiceSpec) -> Vec<String> {
    let warnings = spec.schedule.iter().flat_map(Schedule::warnings);
    warnings.map(|warning| format!("`{}`: {warning}", spec.name)).collect()
}

fn of_stop(spec: &ServiceSpec, shutdown: Duration) -> Option<String> {
    let timeout = spec.stop.timeout;
    (timeout > shutdown).then(|| {
        let (timeout, shutdown) = (written(timeout), written(shutdown));
        format!("`{}`: its stop timeout of {timeout} is cut short when the daemon ends: shutdown_timeout is {shutdown}", spec.name)
    })
}

/// What may take longer to stop than the container is given, each for programs and for people.
fn misfits(config: &Config, file: &str, grace: Duration) -> Vec<(Place, Failure)> {
    let misfit = |line: usize, what: String, instead: String| {
        let message = format!("{what} does not fit into a grace of {}", written(grace));
        let hint = format!("write `{instead}`, or give the container more time");
        let failure = Failure::new(Code::WrongConfiguration, message.clone());
        let failure = if line == 0 { failure.fact(format!("in {file}")) } else { failure.fact(format!("at {file}:{line}")) };
        (Place { line, column: 0, message, hint: Some(hint.clone()) }, failure.hint(hint))
    };
    let enough = written(within(grace));
    let shutdown = config.settings.shutdown_timeout;
    let whole = (shutdown >= grace)
        .then(|| misfit(0, format!("the shutdown timeout ({})", written(shutdown)), format!("shutdown_timeout: {enough}")));
    let of_services = config.services.iter().filter(|spec| spec.stop.timeout >= grace).map(|spec| {
        let what = format!("the stop timeout of `{}` ({})", spec.name, written(spec.stop.timeout));
        misfit(line_of(spec), what, format!("stop: {{timeout: {enough}}}"))
    });
    whole.into_iter().chain(of_services).collect()
}

/// A time that fits: a second less, as is left between docker's 10 s and the default, or a tenth less where there is
/// no second to spare.
fn within(grace: Duration) -> Duration {
    let second = Duration::from_secs(1);
    if grace > second * 2 { grace - second } else { Duration::from_millis(u64::try_from(grace.as_millis() * 9 / 10).unwrap_or(0)) }
}

/// As the configuration has it: `1m 30s`.
fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn line_of(spec: &ServiceSpec) -> usize {
    spec.source.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "services:\n- name: web\n  command: web\n";

    fn checked(text: &str, grace: Option<u64>) -> Result<Checked, Wrong> {
        check(&Source { name: "x.yml".to_owned(), text: text.to_owned() }, grace.map(Duration::from_secs))
    }

    fn misfits_of(text: &str, grace: u64) -> Vec<(usize, String)> {
        checked(text, Some(grace)).unwrap_err().problems.into_iter().map(|place| (place.line, place.message)).collect()
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
    fn a_service_that_is_killed_early_by_the_shutdown_is_a_warning() {
        let text = format!("{WEB}  stop: {{timeout: 1m 30s}}\n  schedule: \"0 0 */7 * 1\"\n");
        let warnings = checked(&text, None).unwrap().warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("`web`: `*/7` and `1` must both match"), "{warnings:?}");
        assert_eq!(warnings[1], "`web`: its stop timeout of 1m 30s is cut short when the daemon ends: shutdown_timeout is 9s");
        let as_long = format!("shutdown_timeout: 5s\n{WEB}");
        assert_eq!(checked(&as_long, None).unwrap().warnings, Vec::<String>::new());
    }

    #[test]
    fn a_grace_must_be_longer_than_the_shutdown_and_every_stop() {
        assert!(checked(WEB, Some(10)).is_ok());
        let shutdown = (0, "the shutdown timeout (9s) does not fit into a grace of 9s".to_owned());
        assert_eq!(misfits_of(WEB, 9), [shutdown]);
        let slow = format!("shutdown_timeout: 10s\n{WEB}  stop: {{timeout: 30s}}\n");
        assert_eq!(misfits_of(&slow, 30), [(3, "the stop timeout of `web` (30s) does not fit into a grace of 30s".to_owned())]);
        assert!(checked(&slow, Some(31)).is_ok());
    }

    #[test]
    fn what_does_not_fit_comes_with_what_does() {
        let hint = |grace| checked("shutdown_timeout: 2m\n", Some(grace)).unwrap_err().failures[0].hints[0].clone();
        assert_eq!(hint(30), "write `shutdown_timeout: 29s`, or give the container more time");
        assert_eq!(hint(90), "write `shutdown_timeout: 1m 29s`, or give the container more time");
        assert_eq!(hint(1), "write `shutdown_timeout: 900ms`, or give the container more time");
        assert!(checked(&format!("shutdown_timeout: {}\n", written(within(Duration::from_secs(1)))), Some(1)).is_ok());
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
