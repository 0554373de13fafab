//! `ppm doctor`: whether the daemon can do its work here, and what will not work.
//!
//! [`facts`] looks, this judges: pure, so that every finding has a test. What stops the daemon, or a service of the
//! configuration, is an error; what takes something away is a warning. For the build of an image and for who wonders.

pub mod facts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use ppm_core::advice;
use ppm_core::config::{Config, write_duration};
use serde::Serialize;

use crate::failure::words;
use crate::show::units::{self, counted};

use facts::{Facts, Place, Proc, Socket};

/// What the daemon opens itself, and room for a few clients.
const OWN_FILES: u64 = 32;

/// Pipes and files of a service whose output is captured.
const FILES_OF_A_LOGGED: u64 = 4;

/// The daemon's own tasks, with those that come and go.
const OWN_TASKS: u64 = 4;

/// CAP_SETGID and CAP_SETUID of capabilities(7), as bits.
const CHANGE_USER: u64 = 1 << 6 | 1 << 7;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something will not work, or not as well.
    Warning,
    /// The daemon or a service cannot run.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, one word.
    pub about: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn new(about: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
        Finding { about, verdict, found: found.into(), hint: None }
    }

    fn ok(about: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Ok, found)
    }

    fn warning(about: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Warning, found)
    }

    fn error(about: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Error, found)
    }

    fn hint(self, hint: impl Into<String>) -> Finding {
        Finding { hint: Some(hint.into()), ..self }
    }
}

/// The configuration that the daemon would read.
#[derive(Clone, Debug)]
pub enum Configured {
    /// This one, by the name of its file.
    As(String, Box<Config>),
    /// None is found: the daemon would start empty.
    Nothing,
    /// One that it would refuse, with the reason.
    Wrong(String),
}

/// What is made of a container, or of a machine, for this configuration. `grace` is how long the container is given to
/// stop; `place` tells whether the daemon can make files in a folder, which it would make.
pub fn examine(facts: &Facts, configured: &Configured, grace: Duration, place: impl Fn(&Path) -> Place) -> Vec<Finding> {
    let mut findings = vec![process(facts), socket(facts), configuration(facts, configured)];
    if let Configured::As(_, config) = configured {
        findings.extend(stopping(config, grace));
        findings.extend(users(facts, config));
        findings.extend(folders(config, &place));
    }
    let config = match configured {
        Configured::As(_, config) => Some(&**config),
        Configured::Nothing | Configured::Wrong(_) => None,
    };
    findings.extend([proc(facts), files(facts, config), processes(facts, config), memory(facts), zone(facts)]);
    findings.extend(null(facts));
    findings.extend(inotify(facts));
    findings
}

fn process(facts: &Facts) -> Finding {
    const ABOUT: &str = "process";
    let below = facts.init.as_ref().map_or(String::new(), |init| format!(" below '{init}'"));
    // A subreaper adopts what its services leave behind, as process 1 does (R17).
    let as_good = "which is as good as being process 1";
    match &facts.socket {
        Socket::Answers(daemon) if daemon.pid == 1 => Finding::ok(ABOUT, format!("the daemon {} is process 1", daemon.version)),
        Socket::Answers(daemon) => Finding::ok(ABOUT, format!("the daemon {} is process {}{below}, {as_good}", daemon.version, daemon.pid)),
        Socket::Silent(_) | Socket::Forbidden | Socket::Stale(_) | Socket::Missing(_) | Socket::Other | Socket::TooLong => {
            let would = if facts.pid == 1 { "be process 1".to_owned() } else { format!("run{below}, {as_good}") };
            Finding::ok(ABOUT, format!("no daemon answers; one would {would}"))
        }
    }
}

fn socket(facts: &Facts) -> Finding {
    const ABOUT: &str = "socket";
    let path = facts.socket_path.display();
    let elsewhere = "name another place with PPM_SOCKET, for the daemon and for ppm: a folder in a tmpfs, or /tmp";
    match &facts.socket {
        Socket::Answers(_) => Finding::ok(ABOUT, format!("{path}: the daemon answers")),
        Socket::Silent(why) => Finding::error(ABOUT, format!("{path}: there is a daemon, but {why}")),
        Socket::Forbidden => {
            Finding::error(ABOUT, format!("{path}: it belongs to another user")).hint("run ppm as root or as the user of the daemon")
        }
        Socket::Stale(Place::Writable) => {
            Finding::ok(ABOUT, format!("{path}: left behind by a daemon that has ended; a new one replaces it"))
        }
        Socket::Missing(Place::Writable) => Finding::ok(ABOUT, format!("{path}: can be made")),
        Socket::Stale(place) | Socket::Missing(place) => {
            Finding::error(ABOUT, format!("{path}: cannot be made, {}", closed(*place))).hint(elsewhere)
        }
        Socket::Other => Finding::error(ABOUT, format!("{path}: what is there is no socket")).hint(elsewhere),
        Socket::TooLong => {
            let most = ppm_protocol::socket::MAX_PATH;
            Finding::error(ABOUT, format!("{path}: longer than the {most} bytes that a socket's path may have")).hint(elsewhere)
        }
    }
}

fn configuration(facts: &Facts, configured: &Configured) -> Finding {
    const ABOUT: &str = "configuration";
    match configured {
        Configured::As(name, config) => {
            let services = counted(config.services.len() as u64, "service");
            match advice::warnings(config).as_slice() {
                [] => Finding::ok(ABOUT, format!("{name}: {services}, all right")),
                [warning] => Finding::warning(ABOUT, format!("{name}: {services}; {warning}")),
                [warning, others @ ..] => {
                    let found = format!("{name}: {services}; {warning}; and {} more", others.len());
                    Finding::warning(ABOUT, found).hint("see 'ppm check'")
                }
            }
        }
        Configured::Nothing if matches!(facts.socket, Socket::Answers(_)) => {
            Finding::ok(ABOUT, "none is found here; 'ppm show-configuration' shows what the daemon has")
        }
        Configured::Nothing => Finding::ok(ABOUT, "there is none; the daemon starts without services"),
        Configured::Wrong(why) => Finding::error(ABOUT, why).hint("see 'ppm check'"),
    }
}

/// Whether everything ends in the time that the container is given (R26).
fn stopping(config: &Config, grace: Duration) -> Vec<Finding> {
    const ABOUT: &str = "stopping";
    let misfits = advice::misfits(config, grace);
    if misfits.is_empty() {
        let shutdown = write_duration(config.settings.shutdown_timeout);
        return vec![Finding::ok(ABOUT, format!("all ends within {shutdown}, in the {} that a container is given", write_duration(grace)))];
    }
    misfits.into_iter().map(|misfit| Finding::warning(ABOUT, misfit.message).hint(misfit.hint)).collect()
}

/// Only root, or who may become another user, can run services as others (R73).
fn users(facts: &Facts, config: &Config) -> Option<Finding> {
    const ABOUT: &str = "user";
    let named: Vec<&str> = with_user(config).collect();
    let may = facts.capabilities.map_or(facts.uid == 0, |capabilities| capabilities & CHANGE_USER == CHANGE_USER);
    match named.as_slice() {
        [] if facts.uid == 0 => None,
        [] => Some(Finding::ok(ABOUT, format!("uid {}, which all services run as", facts.uid))),
        _ if may => None,
        [first, ..] => {
            let others = if named.len() > 1 { format!(" (and {} more)", named.len() - 1) } else { String::new() };
            let found = format!("`{first}`{others} is to run as another user, which uid {} may not do here", facts.uid);
            Some(Finding::error(ABOUT, found).hint("run the daemon as root with the capabilities SETUID and SETGID, or leave `user` out"))
        }
    }
}

fn with_user(config: &Config) -> impl Iterator<Item = &str> {
    config.services.iter().filter(|spec| spec.command.attributes.user.is_some()).map(|spec| spec.name.as_str())
}

/// Where the configuration has something written.
fn folders(config: &Config, place: impl Fn(&Path) -> Place) -> Vec<Finding> {
    let logger = config.settings.logger.as_ref();
    let files = config.services.iter().filter_map(|spec| spec.log.logger(logger)?.files);
    // What holds a reference is known only when the service starts.
    let folders: BTreeSet<PathBuf> = files.map(|files| files.path).filter(|path| !path.contains("${")).map(PathBuf::from).collect();
    let state = config.settings.state_dir.iter().map(|path| ("state", PathBuf::from(path)));
    let all = folders.into_iter().map(|path| ("logs", path)).chain(state);
    let found = all.map(|(about, path)| match place(&path) {
        Place::Writable => Finding::ok(about, format!("{}: can be written", path.display())),
        place => {
            let hint = match about {
                "logs" => "mount a volume or a tmpfs there, or keep output in memory: `logger: {memory: 64KiB}`",
                _ => "mount a volume there",
            };
            Finding::error(about, format!("{}: cannot be written, {}", path.display(), closed(place))).hint(hint)
        }
    });
    found.collect()
}

fn proc(facts: &Facts) -> Finding {
    const ABOUT: &str = "/proc";
    match facts.proc {
        Proc::Whole => Finding::ok(ABOUT, "there, and shows all processes"),
        Proc::Hides => Finding::warning(ABOUT, "hides processes of other users: `ppm stats` shows nothing of services with another `user`"),
        Proc::Missing => {
            let found = "not there: no `ppm stats`, and what leaves its service's session is not found when that stops";
            Finding::warning(ABOUT, found).hint("mount proc")
        }
    }
}

fn null(facts: &Facts) -> Option<Finding> {
    let found = "not there, or no device: the daemon does not start, since services read from it";
    (!facts.has_null).then(|| Finding::error("/dev/null", found).hint("give the container its usual /dev"))
}

/// The daemon raises its soft limit itself, so that the hard one counts.
fn files(facts: &Facts, config: Option<&Config>) -> Finding {
    const ABOUT: &str = "open files";
    let Some((soft, hard)) = facts.files else { return Finding::warning(ABOUT, "the limit cannot be read") };
    let logged = config.map_or(0, |config| {
        let logger = config.settings.logger.as_ref();
        config.services.iter().filter(|spec| spec.log.logger(logger).is_some()).count() as u64
    });
    let need = OWN_FILES + logged * FILES_OF_A_LOGGED;
    if hard >= need {
        return Finding::ok(ABOUT, format!("up to {}; services get {}", limit(hard), limit(soft)));
    }
    let found = format!("up to {hard}, where the daemon needs {need} for {}", counted(logged, "logged service"));
    Finding::error(ABOUT, found).hint(format!("docker run --ulimit nofile={need}"))
}

fn limit(value: u64) -> String {
    // As RLIM_INFINITY of getrlimit(2).
    if value == u64::MAX { "any number".to_owned() } else { value.to_string() }
}

fn processes(facts: &Facts, config: Option<&Config>) -> Finding {
    const ABOUT: &str = "processes";
    let services = config.map_or(0, |config| config.services.len() as u64);
    let need = OWN_TASKS + services;
    match facts.processes {
        None => Finding::ok(ABOUT, "no limit of the container is seen"),
        Some(most) if most >= need => Finding::ok(ABOUT, format!("the container may have {most}")),
        Some(most) => {
            let found = format!("the container may have {most}, where {} and the daemon need {need}", counted(services, "service"));
            Finding::error(ABOUT, found).hint(format!("docker run --pids-limit {need}, and more for what services start"))
        }
    }
}

fn memory(facts: &Facts) -> Finding {
    const ABOUT: &str = "memory";
    let limit = facts
        .memory
        .map_or("no limit of the container is seen".to_owned(), |limit| format!("the container may use {}", units::size(limit)));
    match facts.group_version {
        Some(version) => Finding::ok(ABOUT, format!("{limit}; control groups of version {version}")),
        None => Finding::warning(ABOUT, format!("{limit}; no control groups: kills for lack of memory are not recognised")),
    }
}

fn zone(facts: &Facts) -> Finding {
    const ABOUT: &str = "time zone";
    match (&facts.tz, facts.has_zone) {
        (Some(tz), true) => Finding::ok(ABOUT, format!("{tz}, as TZ says")),
        (Some(tz), false) => Finding::warning(ABOUT, format!("'{tz}', as TZ says, is no zone: schedules follow UTC"))
            .hint("name one like Europe/Paris; they are built in"),
        (None, true) => Finding::ok(ABOUT, "that of /etc/localtime"),
        (None, false) => Finding::ok(ABOUT, "UTC; TZ or `timezone` sets another, all zones are built in"),
    }
}

fn inotify(facts: &Facts) -> Option<Finding> {
    let (instances, watches) = facts.inotify?;
    Some(Finding::ok("inotify", format!("{} and {} for all of a user", counted(instances, "instance"), counted(watches, "watch"))))
}

fn closed(place: Place) -> String {
    match place {
        Place::Writable => String::new(),
        Place::Missing => "the folder is not there".to_owned(),
        Place::Closed(Errno::EROFS) => "the file system is read-only".to_owned(),
        Place::Closed(error) => words(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppm_core::config;
    use ppm_protocol::types::Greeting;

    const GRACE: Duration = Duration::from_secs(10);

    /// A container as docker makes it, in which no daemon runs yet.
    fn usual() -> Facts {
        Facts {
            pid: 1,
            init: Some("ppm".to_owned()),
            uid: 0,
            capabilities: Some(0xa804_25fb),
            socket: Socket::Missing(Place::Writable),
            socket_path: "/run/ppm.sock".into(),
            proc: Proc::Whole,
            has_null: true,
            files: Some((1024, 524_288)),
            group_version: Some(2),
            processes: None,
            memory: Some(512 << 20),
            inotify: Some((128, 65_536)),
            tz: None,
            has_zone: false,
        }
    }

    fn configured(text: &str) -> Configured {
        Configured::As("ppm.yml".to_owned(), Box::new(config::parse(text, "ppm.yml").unwrap()))
    }

    fn all(facts: &Facts, configured: &Configured) -> Vec<Finding> {
        examine(facts, configured, GRACE, |_| Place::Writable)
    }

    /// What is not as it should be.
    fn complaints(facts: &Facts, configured: &Configured) -> Vec<(&'static str, Verdict, String)> {
        let bad = all(facts, configured).into_iter().filter(|finding| finding.verdict != Verdict::Ok);
        bad.map(|finding| (finding.about, finding.verdict, finding.found)).collect()
    }

    fn one(facts: &Facts, configured: &Configured) -> (&'static str, Verdict, String) {
        let mut complaints = complaints(facts, configured);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        complaints.remove(0)
    }

    #[test]
    fn a_usual_container_is_well_with_and_without_services() {
        assert_eq!(complaints(&usual(), &Configured::Nothing), []);
        let web = configured("logger: {path: /var/log/ppm}\nservices:\n- {name: web, command: web, user: app}\n");
        assert_eq!(complaints(&usual(), &web), []);
    }

    #[test]
    fn every_way_to_be_no_process_1_is_as_good() {
        let greeting = |pid| Greeting { protocol: 1, version: "1.2.3".to_owned(), pid };
        let process = |facts: &Facts| all(facts, &Configured::Nothing)[0].found.clone();
        let below = Facts { pid: 7, init: Some("docker-init".to_owned()), ..usual() };
        assert_eq!(process(&usual()), "no daemon answers; one would be process 1");
        assert_eq!(process(&below), "no daemon answers; one would run below 'docker-init', which is as good as being process 1");
        let runs = Facts { socket: Socket::Answers(greeting(1)), ..usual() };
        assert_eq!(process(&runs), "the daemon 1.2.3 is process 1");
        let runs = Facts { socket: Socket::Answers(greeting(12)), ..below };
        assert_eq!(process(&runs), "the daemon 1.2.3 is process 12 below 'docker-init', which is as good as being process 1");
    }

    /// The daemon may have been given one that nobody finds from here, as that of a unit is.
    #[test]
    fn a_daemon_that_answers_is_not_said_to_have_no_configuration() {
        let found = |facts: &Facts| all(facts, &Configured::Nothing)[2].found.clone();
        assert_eq!(found(&usual()), "there is none; the daemon starts without services");
        let runs = Facts { socket: Socket::Answers(Greeting { protocol: 1, version: "1.2.3".to_owned(), pid: 1 }), ..usual() };
        assert_eq!(found(&runs), "none is found here; 'ppm show-configuration' shows what the daemon has");
    }

    #[test]
    fn a_socket_that_cannot_be_made_is_an_error_with_another_place() {
        for (socket, found) in [
            (Socket::Missing(Place::Closed(Errno::EROFS)), "/run/ppm.sock: cannot be made, the file system is read-only"),
            (Socket::Missing(Place::Missing), "/run/ppm.sock: cannot be made, the folder is not there"),
            (Socket::Stale(Place::Closed(Errno::EACCES)), "/run/ppm.sock: cannot be made, permission denied"),
            (Socket::Other, "/run/ppm.sock: what is there is no socket"),
            (Socket::TooLong, "/run/ppm.sock: longer than the 107 bytes that a socket's path may have"),
            (Socket::Forbidden, "/run/ppm.sock: it belongs to another user"),
            (Socket::Silent("it does not answer".to_owned()), "/run/ppm.sock: there is a daemon, but it does not answer"),
        ] {
            assert_eq!(one(&Facts { socket, ..usual() }, &Configured::Nothing), ("socket", Verdict::Error, found.to_owned()));
        }
    }

    #[test]
    fn a_configuration_that_is_wrong_or_may_surprise_is_told() {
        let wrong = Configured::Wrong("1 problem in ppm.yml".to_owned());
        assert_eq!(one(&usual(), &wrong), ("configuration", Verdict::Error, "1 problem in ppm.yml".to_owned()));
        let slow = configured("shutdown_timeout: 5s\nservices:\n- {name: web, command: web, stop: {timeout: 8s}}\n");
        let (about, verdict, found) = one(&usual(), &slow);
        assert_eq!((about, verdict), ("configuration", Verdict::Warning));
        assert!(found.starts_with("ppm.yml: 1 service; `web`: its stop timeout of 8s is cut short"), "{found}");
    }

    #[test]
    fn r26_what_needs_longer_than_the_container_is_given_is_a_warning() {
        let slow = configured("shutdown_timeout: 20s\n");
        let expected = "the shutdown timeout (20s) does not fit into a grace of 10s";
        assert_eq!(one(&usual(), &slow), ("stopping", Verdict::Warning, expected.to_owned()));
    }

    #[test]
    fn r73_who_may_not_change_users_is_told_which_services_want_to() {
        let config = configured("services:\n- {name: web, command: web, user: app}\n- {name: db, command: db, user: db}\n");
        let nobody = Facts { uid: 1000, capabilities: Some(0), ..usual() };
        let expected = "`web` (and 1 more) is to run as another user, which uid 1000 may not do here";
        assert_eq!(one(&nobody, &config), ("user", Verdict::Error, expected.to_owned()));
        let dropped = Facts { capabilities: Some(1 << 7), ..usual() };
        assert_eq!(one(&dropped, &config).0, "user");
        let hidden = Facts { capabilities: None, ..usual() };
        assert_eq!(complaints(&hidden, &config), []);
        let alone = all(&nobody, &configured("services: []"));
        assert!(alone.contains(&Finding::ok("user", "uid 1000, which all services run as")), "{alone:?}");
    }

    #[test]
    fn r46_folders_that_cannot_be_written_are_errors_and_those_with_references_are_not_known() {
        let text = "logger: {path: /log}\nstate_dir: /state\nservices:\n- {name: a, command: a}\n- {name: b, command: b, log: {path: \"${X}/y\"}}\n";
        let findings = examine(&usual(), &configured(text), GRACE, |_| Place::Closed(Errno::EROFS));
        let bad: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Error).collect();
        let found: Vec<&str> = bad.iter().map(|finding| finding.found.as_str()).collect();
        assert_eq!(
            found,
            ["/log: cannot be written, the file system is read-only", "/state: cannot be written, the file system is read-only"]
        );
        assert!(bad[0].hint.as_deref().unwrap().contains("logger: {memory: 64KiB}"), "{bad:?}");
    }

    #[test]
    fn r50_limits_that_are_too_low_for_the_services_are_errors() {
        let many: String = (0..20).map(|number| format!("- {{name: s{number}, command: x}}\n")).collect();
        let many = configured(&format!("logger: {{path: /log}}\nservices:\n{many}"));
        let few_files = Facts { files: Some((64, 64)), ..usual() };
        let expected = "up to 64, where the daemon needs 112 for 20 logged services";
        assert_eq!(one(&few_files, &many), ("open files", Verdict::Error, expected.to_owned()));
        assert_eq!(complaints(&few_files, &Configured::Nothing), []);
        let few_processes = Facts { processes: Some(12), ..usual() };
        let expected = "the container may have 12, where 20 services and the daemon need 24";
        assert_eq!(one(&few_processes, &many), ("processes", Verdict::Error, expected.to_owned()));
    }

    #[test]
    fn r51_r47_r74_what_is_missing_or_hidden_is_a_warning_that_says_what_it_costs() {
        for (facts, about) in [
            (Facts { proc: Proc::Missing, ..usual() }, "/proc"),
            (Facts { proc: Proc::Hides, ..usual() }, "/proc"),
            (Facts { group_version: None, ..usual() }, "memory"),
            (Facts { tz: Some("Mars/Phobos".to_owned()), ..usual() }, "time zone"),
            (Facts { files: None, ..usual() }, "open files"),
        ] {
            let (found, verdict, _) = one(&facts, &Configured::Nothing);
            assert_eq!((found, verdict), (about, Verdict::Warning));
        }
        assert_eq!(one(&Facts { has_null: false, ..usual() }, &Configured::Nothing).1, Verdict::Error);
    }
}
