//! What was typed, as what is asked of the daemon.
//!
//! Pure but for the current folder, which is an argument. Nothing is expanded: what the shell left is what is meant.

use std::io;
use std::path::{Path, PathBuf};

use ppm_protocol::Request;
use ppm_protocol::message::{AddService, Await, Execute, Goal, ReadAgain, ReadStats, RunService, Selection, SendSignal, Targets, Watch};

use crate::cli::{Add, Ask, Changing, Events, Often, Restarting, Shown, Until, Wait};
use crate::failure::{Code, Failure, io_words};
use crate::log;
use crate::show::Look;

/// How many past events are shown when nobody says how many.
const EVENTS: usize = 100;

/// The request that is meant. `here` gives the current folder, and is asked only where a path depends on it; `look` has
/// the present and the zone.
pub fn meant(ask: Ask, here: impl Fn() -> io::Result<PathBuf>, look: &Look) -> Result<Request, Failure> {
    Ok(match ask {
        Ask::Often(Often::Info(shown)) if shown.services.is_empty() => Request::List(Selection::default()),
        Ask::Often(Often::Info(shown)) => Request::Info(selection(shown)),
        Ask::Often(Often::Ls(shown)) => Request::List(selection(shown)),
        Ask::Often(Often::Health(shown)) => Request::Health(selection(shown)),
        Ask::Add(add) => Request::Add(service(add, here)?),
        Ask::Rm(changing) => Request::Remove(targets(changing)),
        Ask::Start(changing) => Request::Start(targets(changing)),
        Ask::Stop(changing) => Request::Stop(targets(changing)),
        Ask::Restart(Restarting { changing, rolling }) => Request::Restart(Targets { rolling, ..targets(changing) }),
        Ask::Reschedule(changing) => Request::Reschedule(targets(changing)),
        Ask::Pause(changing) => Request::Pause(targets(changing)),
        Ask::Resume(changing) => Request::Resume(targets(changing)),
        Ask::Signal(typed) => Request::Signal(SendSignal { services: typed.services, signal: typed.signal }),
        Ask::Stats(stats) if stats.history => Request::History(Selection { services: stats.services }),
        Ask::Stats(stats) => Request::Stats(ReadStats { services: stats.services, pss: !stats.follow, rates: true }),
        Ask::ShowConfiguration => Request::Configuration,
        Ask::ShowScheduler(shown) => Request::Scheduler(selection(shown)),
        Ask::Reload(reload) => Request::Reload(ReadAgain { plan: reload.plan }),
        Ask::Runs(named) => Request::Runs(Selection { services: named.services }),
        Ask::ShowWatch(shown) => Request::Watched(selection(shown)),
        Ask::Why(named) => Request::Why(Selection { services: named.services }),
        Ask::Events(events) => Request::Events(watch(events)),
        Ask::Log(log) => Request::Log(log::request(log, look)?),
        Ask::Wait(wait) => Request::Wait(patience(wait)),
        Ask::Shutdown => Request::Shutdown,
        Ask::Exec(exec) => Request::Exec(Execute { service: exec.service, command: exec.command, terminal: false }),
        Ask::Run(run) => Request::Run(RunService {
            command: run.command,
            name: run.name,
            workdir: Some(absolute(run.workdir.as_deref().unwrap_or("."), here)?),
            user: run.user,
            env: run.env.into_iter().collect(),
            restart: run.restart,
            terminal: false,
            detach: run.detach,
        }),
        // What is not one request asks by itself.
        Ask::Version | Ask::Top(_) => Request::Hello,
    })
}

fn selection(shown: Shown) -> Selection {
    Selection { services: shown.services }
}

fn targets(changing: Changing) -> Targets {
    Targets { services: changing.services, wait: !changing.no_wait, rolling: false }
}

fn watch(events: Events) -> Watch {
    let last = events.last.unwrap_or(if events.follow { 0 } else { EVENTS });
    Watch { services: events.services, last: Some(last), follow: events.follow }
}

fn patience(wait: Wait) -> Await {
    let goal = match wait.until {
        Until::Running => Goal::Running,
        Until::Ready => Goal::Ready,
        Until::Finished => Goal::Finished,
        Until::Stopped => Goal::Stopped,
    };
    let timeout_ms = wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Await { services: wait.services, goal, timeout_ms }
}

fn service(add: Add, here: impl Fn() -> io::Result<PathBuf>) -> Result<AddService, Failure> {
    Ok(AddService {
        name: add.name,
        command: add.command,
        workdir: add.workdir.map(|folder| absolute(&folder, &here)).transpose()?,
        watch: add.watch.iter().map(|path| absolute(path, &here)).collect::<Result<_, _>>()?,
        user: add.user,
        env: add.env.into_iter().collect(),
        restart: add.restart,
        schedule: add.schedule,
        depends_on: add.depends_on,
        start: !add.no_start,
        wait: !add.no_wait,
        replace: add.replace,
    })
}

/// The file or folder as seen from the root: the daemon has another current folder than we. `..` stays, as it may
/// follow a link. What begins with a reference is known only when the service starts.
fn absolute(folder: &str, here: impl Fn() -> io::Result<PathBuf>) -> Result<String, Failure> {
    if Path::new(folder).is_absolute() || folder.starts_with("${") {
        return Ok(folder.to_owned());
    }
    let no = |why: String| Failure::new(Code::Usage, format!("cannot tell where '{folder}' is: {why}")).hint("name it from the root");
    let here = here().map_err(|error| no(format!("the current folder: {}", io_words(&error))))?;
    let here = here.into_os_string().into_string().map_err(|_| no("the current folder's name is not UTF-8".to_owned()))?;
    // Here a `$` is only a letter, in the daemon it may begin a reference.
    let whole: PathBuf = Path::new(&here.replace('$', "$$")).join(folder).components().collect();
    Ok(whole.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::show::tests::piped;
    use clap::Parser;
    use ppm_protocol::Signal;
    use ppm_protocol::message::Call;
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn asked(line: &str) -> Ask {
        match Cli::try_parse_from(shell_words::split(line).unwrap()).unwrap().command {
            Command::Ask(ask) => ask,
            Command::Daemon(_) | Command::Alone(_) => panic!("{line}"),
        }
    }

    fn request(line: &str) -> Request {
        meant(asked(line), || Ok("/here".into()), &piped()).unwrap()
    }

    fn names(services: &[&str]) -> Vec<String> {
        services.iter().map(|name| (*name).to_owned()).collect()
    }

    fn workdir(folder: &str) -> Option<String> {
        let Request::Add(add) = request(&format!("ppm add --name x --workdir {folder} -- true")) else { panic!("{folder}") };
        add.workdir
    }

    #[test]
    fn info_without_names_is_the_list() {
        for line in ["ppm info", "ppm ls", "ppm status", "ppm ps"] {
            assert_eq!(request(line), Request::List(Selection::default()), "{line}");
        }
        assert_eq!(request("ppm info web"), Request::Info(Selection { services: names(&["web"]) }));
        assert_eq!(request("ppm ls web 2"), Request::List(Selection { services: names(&["web", "2"]) }));
    }

    #[test]
    fn what_changes_services_waits_unless_told_not_to() {
        let targets = |wait| Targets { services: names(&["web", "db"]), wait, rolling: false };
        assert_eq!(request("ppm stop web db"), Request::Stop(targets(true)));
        assert_eq!(request("ppm stop web db --no-wait"), Request::Stop(targets(false)));
        assert_eq!(request("ppm restart --rolling web db"), Request::Restart(Targets { rolling: true, ..targets(true) }));
        assert_eq!(request("ppm rm web db"), Request::Remove(targets(true)));
        assert_eq!(request("ppm schedule web db"), Request::Reschedule(targets(true)));
        assert_eq!(request("ppm kill 15 web"), Request::Signal(SendSignal { services: names(&["web"]), signal: Signal::TERM }));
    }

    #[test]
    fn add_carries_everything_that_was_typed() {
        let line = "ppm add --name x --env A=1 --env A=2 --schedule '0 3 * * *' --user app:app --restart never --replace --depends-on db:ready --depends-on cache --watch conf --watch /etc/x --no-start --no-wait -- sh -c 'echo ${A}'";
        let expected = AddService {
            name: "x".to_owned(),
            command: names(&["sh", "-c", "echo ${A}"]),
            workdir: None,
            user: Some("app:app".to_owned()),
            env: BTreeMap::from([("A".to_owned(), "2".to_owned())]),
            restart: Some("never".to_owned()),
            schedule: Some("0 3 * * *".to_owned()),
            depends_on: names(&["db:ready", "cache"]),
            watch: names(&["/here/conf", "/etc/x"]),
            start: false,
            wait: false,
            replace: true,
        };
        assert_eq!(request(line), Request::Add(expected));
    }

    #[test]
    fn folders_are_seen_from_the_root() {
        assert_eq!(
            ["/app", "app", "./app/", ".", "../app"].map(workdir),
            ["/app", "/here/app", "/here/app", "/here", "/here/../app"].map(|folder| Some(folder.to_owned()))
        );
    }

    #[test]
    fn folders_that_begin_with_a_reference_are_left_to_the_daemon_and_our_own_is_taken_to_the_letter() {
        assert_eq!(workdir("'${HOME}/x'").unwrap(), "${HOME}/x");
        assert_eq!(absolute("${A:-/b}", || panic!("nobody asks")).unwrap(), "${A:-/b}");
        assert_eq!(absolute("x/${A}", || Ok("/a$${b}".into())).unwrap(), "/a$$$${b}/x/${A}");
    }

    #[test]
    fn a_current_folder_that_cannot_be_told_matters_only_to_relative_paths() {
        let gone = || Err(io::Error::from_raw_os_error(2));
        assert!(meant(asked("ppm add --name x --workdir /app -- true"), gone, &piped()).is_ok());
        let failure = meant(asked("ppm add --name x --workdir app -- true"), gone, &piped()).unwrap_err();
        assert_eq!(failure.message, "cannot tell where 'app' is: the current folder: no such file");
        let odd = || Ok(OsString::from_vec(b"/\xff".to_vec()).into());
        assert_eq!(meant(asked("ppm add --name x --workdir app -- true"), odd, &piped()).unwrap_err().code, Code::Usage);
    }

    #[test]
    fn the_configuration_is_read_again_and_done_unless_only_the_plan_is_wanted() {
        assert_eq!(request("ppm reload"), Request::Reload(ReadAgain { plan: false }));
        assert_eq!(request("ppm reload --plan"), Request::Reload(ReadAgain { plan: true }));
    }

    #[test]
    fn events_are_the_last_hundred_or_with_follow_only_new_ones() {
        let watch = |last, follow| Request::Events(Watch { services: vec![], last: Some(last), follow });
        assert_eq!(request("ppm events"), watch(100, false));
        assert_eq!(request("ppm events -f"), watch(0, true));
        assert_eq!(request("ppm events -f -n 5"), watch(5, true));
    }

    #[test]
    fn wait_tells_its_goal_and_its_limit_in_milliseconds() {
        let line = String::from_utf8(Call::new(1, &request("ppm wait web --for finished --timeout 1.5")).line()).unwrap();
        assert_eq!(
            line,
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wait\",\"params\":{\"services\":[\"web\"],\"for\":\"finished\",\"timeout_ms\":1500}}\n"
        );
    }

    #[test]
    fn logs_are_asked_for_by_number_time_and_stream() {
        let log = |line: &str| match request(line) {
            Request::Log(log) => log,
            other => panic!("{other:?}"),
        };
        let plain = log("ppm log web db");
        assert_eq!((plain.services.len(), plain.last, plain.follow, plain.stream), (2, None, false, None));
        assert_eq!(log("ppm logs -f web").last, Some(20));
        assert_eq!(log("ppm log -f -n 0 web").last, Some(0));
        assert_eq!(log("ppm log --tail 5 web").last, Some(5));
        assert_eq!(log("ppm log -n 5 --grep x web").last, None, "which match is found out here");
        assert_eq!(log("ppm log --stderr web").stream, Some(ppm_protocol::Stream::Stderr));
        let since = |time: &str| log(&format!("ppm log web --since '{time}'")).since.unwrap().to_string();
        assert_eq!(since("10m"), "2026-11-23T11:50:00.000Z");
        assert_eq!(since("90"), "2026-11-23T11:58:30.000Z");
        assert_eq!(since("2026-11-23"), "2026-11-23T00:00:00.000Z");
        assert_eq!(since("2026-11-23T04:00+02:00"), "2026-11-23T02:00:00.000Z");
        assert_eq!(log("ppm log web --until 2026-11-23T04:00").until.unwrap().to_string(), "2026-11-23T04:00:00.000Z");
        let failure = meant(asked("ppm log web --since yesterday"), || Ok("/here".into()), &piped()).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (Code::Usage, "'yesterday' is not a time"));
    }
}
