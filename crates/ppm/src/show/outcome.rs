//! What a changing command did, told to a person, and what of it failed.

use std::path::Path;

use ppm_protocol::types::{Changed, Checked};
use ppm_protocol::{Request, ServiceRow, Status};

use super::services::note;
use super::{Look, text::clean, units};
use crate::failure::{Code, Failure};

/// One line a service that was changed, and for `add` how to see more of it.
pub fn told(request: &Request, changed: &Changed, look: &Look) -> Vec<String> {
    let well = changed.services.iter().filter(|service| !changed.failed.iter().any(|failure| failure.service == service.name));
    let mut lines: Vec<String> =
        well.map(|service| clean(&format!("{}: {}", service.name, did(request, service, look))).into_owned()).collect();
    if let (Request::Add(add), true) = (request, changed.failed.is_empty()) {
        lines.push(format!("  see it:   ppm info {}", add.name));
    }
    if changed.failed.is_empty() {
        lines.extend(to_start(&changed.to_start).map(|command| format!("hint: {command}")));
    }
    lines
}

/// The command that starts these, if there are any.
pub fn to_start<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| clean(&format!("ppm start {}", names.join(" "))).into_owned())
}

/// What could not be done, one failure a service.
pub fn failures(request: &Request, changed: &Changed) -> Vec<Failure> {
    let failed = changed.failed.iter().map(|failure| {
        let name = &failure.service;
        let told = Failure::new(Code::Failed, format!("cannot {} '{name}': {}", verb(request), failure.message));
        match (request, changed.services.iter().find(|service| service.name == *name)) {
            (Request::Add(add), Some(row)) => {
                let done = if add.replace { "has its new form" } else { "was added" };
                told.fact(format!("it {done} and is {}; 'ppm rm {name}' removes it", row.status))
            }
            _ => told,
        }
    });
    let mut failures: Vec<Failure> = failed.collect();
    if let (Some(last), Some(command)) = (failures.last_mut(), to_start(&changed.to_start)) {
        last.hints.push(command);
    }
    failures
}

/// Where the configuration was written, or how to.
pub fn kept(saved: Option<&Path>) -> String {
    match saved {
        Some(file) => format!("  kept in:  {}", clean(&file.to_string_lossy())),
        None => "  keep it:  ppm show-configuration > ~/.partner-pm.yml".to_owned(),
    }
}

/// A configuration that is right, as a line.
pub fn checked(checked: &Checked, file: &str) -> String {
    let warnings = match checked.warnings.len() {
        0 => String::new(),
        count => format!(", with {}", units::counted(count as u64, "warning")),
    };
    format!("{}: {}, all right{warnings}\n", clean(file), units::counted(checked.services as u64, "service"))
}

/// What `ppm import` has made, as a line for a person.
pub fn imported(services: usize, remarks: usize) -> String {
    let services = units::counted(services as u64, "service");
    match remarks {
        0 => format!("{services}; all did map"),
        count => format!("{services}; {} above them: read them, then 'ppm check'", units::counted(count as u64, "comment")),
    }
}

/// How many things were made, and how many remarked.
pub fn exported(objects: usize, count: usize) -> String {
    let objects = units::counted(objects as u64, "object");
    match count {
        0 => format!("{objects}; all did map"),
        count => format!("{objects}; {} at the top: read them", remarks(count)),
    }
}

/// `3 comments`.
pub fn remarks(count: usize) -> String {
    units::counted(count as u64, "comment")
}

fn did(request: &Request, service: &ServiceRow, look: &Look) -> String {
    match request {
        Request::Remove(targets) if targets.wait => "removed".to_owned(),
        Request::Remove(targets) | Request::Start(targets) | Request::Stop(targets) | Request::Restart(targets) if !targets.wait => {
            format!("asked to {}", verb(request))
        }
        Request::Signal(sent) => format!("{} sent", sent.signal),
        Request::Wait(wait) => wait.goal.to_string(),
        Request::Add(_) | Request::Remove(_) | Request::Start(_) | Request::Stop(_) | Request::Restart(_) => state(service, look),
        Request::Reschedule(_) | Request::Pause(_) | Request::Resume(_) => state(service, look),
        Request::Hello | Request::List(_) | Request::Info(_) | Request::Stats(_) => state(service, look),
        Request::Configuration | Request::Scheduler(_) | Request::Events(_) | Request::Log(_) | Request::Shutdown => state(service, look),
        Request::Health(_) | Request::Why(_) | Request::Runs(_) | Request::Reload(_) | Request::Check(_) => state(service, look),
        Request::Watched(_) | Request::History(_) => state(service, look),
        Request::Exec(_) | Request::Run(_) | Request::Forward(_) => state(service, look),
    }
}

fn state(service: &ServiceRow, look: &Look) -> String {
    let status = service.status.to_string().to_lowercase();
    match (service.pid, note(service, look)) {
        (Some(pid), _) if service.status == Status::Running => format!("{status} (pid {pid})"),
        (_, note) if note.is_empty() => status,
        (_, note) => format!("{status}: {note}"),
    }
}

/// What was to be done, as after "cannot".
fn verb(request: &Request) -> &'static str {
    match request {
        Request::Add(_) | Request::Start(_) => "start",
        Request::Remove(_) => "remove",
        Request::Stop(_) => "stop",
        Request::Restart(_) => "restart",
        Request::Reschedule(_) => "reschedule",
        Request::Pause(_) => "pause",
        Request::Resume(_) => "resume",
        Request::Signal(_) => "signal",
        Request::Wait(_) => "wait for",
        Request::Hello | Request::List(_) | Request::Info(_) | Request::Stats(_) => "show",
        Request::Configuration
        | Request::Scheduler(_)
        | Request::Events(_)
        | Request::Log(_)
        | Request::Health(_)
        | Request::Why(_)
        | Request::Runs(_)
        | Request::Watched(_)
        | Request::History(_) => "show",
        Request::Reload(_) => "start",
        Request::Check(_) => "check",
        Request::Exec(_) | Request::Forward(_) => "run",
        Request::Run(_) => "start",
        Request::Shutdown => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::super::services::tests::web;
    use super::super::tests::piped;
    use super::*;
    use ppm_protocol::Signal;
    use ppm_protocol::message::{AddService, Await, Goal, SendSignal, Targets};
    use ppm_protocol::types::Failure as Failed;

    fn targets(wait: bool) -> Targets {
        Targets { services: vec!["web".to_owned()], wait, rolling: false }
    }

    fn line(request: &Request, service: ServiceRow) -> String {
        told(request, &Changed { services: vec![service], ..Changed::default() }, &piped()).remove(0)
    }

    fn stopped() -> ServiceRow {
        ServiceRow { status: Status::Finished, pid: None, reason: "stopped by request".to_owned(), ..web() }
    }

    #[test]
    fn each_command_tells_what_became_of_the_service() {
        let services = vec!["web".to_owned()];
        assert_eq!(line(&Request::Start(targets(true)), web()), "web: running (pid 31)");
        assert_eq!(line(&Request::Stop(targets(true)), stopped()), "web: finished: stopped by request");
        assert_eq!(line(&Request::Stop(targets(false)), web()), "web: asked to stop");
        assert_eq!(line(&Request::Remove(targets(true)), stopped()), "web: removed");
        assert_eq!(line(&Request::Signal(SendSignal { services: services.clone(), signal: Signal::HUP }), web()), "web: SIGHUP sent");
        assert_eq!(line(&Request::Wait(Await { services, goal: Goal::Ready, timeout_ms: None }), web()), "web: ready");
        let paused = ServiceRow { status: Status::Stopped, ..web() };
        assert_eq!(line(&Request::Pause(targets(true)), paused), "web: stopped");
    }

    #[test]
    fn a_new_service_comes_with_what_to_do_next() {
        let add = Request::Add(AddService { name: "web".to_owned(), ..AddService::default() });
        let lines = told(&add, &Changed { services: vec![web()], ..Changed::default() }, &piped());
        assert_eq!(lines, ["web: running (pid 31)", "  see it:   ppm info web"]);
        assert_eq!(kept(None), "  keep it:  ppm show-configuration > ~/.partner-pm.yml");
        assert_eq!(kept(Some(Path::new("x\n.yml"))), "  kept in:  x\\n.yml");
    }

    #[test]
    fn what_failed_is_told_as_a_failure_and_not_as_an_outcome() {
        let failed = vec![Failed { service: "web".to_owned(), message: "exec: no such file: /bin/ehco".to_owned() }];
        let services = vec![ServiceRow { status: Status::Crashed, pid: None, ..web() }];
        let changed = Changed { services, failed, ..Changed::default() };
        let add = Request::Add(AddService { name: "web".to_owned(), ..AddService::default() });
        assert_eq!(told(&add, &changed, &piped()), Vec::<String>::new());
        let expected = Failure::new(Code::Failed, "cannot start 'web': exec: no such file: /bin/ehco")
            .fact("it was added and is Crashed; 'ppm rm web' removes it");
        assert_eq!(failures(&add, &changed), [expected]);
        let replace = Request::Add(AddService { name: "web".to_owned(), replace: true, ..AddService::default() });
        assert_eq!(failures(&replace, &changed)[0].facts, ["it has its new form and is Crashed; 'ppm rm web' removes it"]);
        let restart = Request::Restart(targets(true));
        assert_eq!(failures(&restart, &changed), [Failure::new(Code::Failed, "cannot restart 'web': exec: no such file: /bin/ehco")]);
    }

    #[test]
    fn who_waits_for_what_somebody_must_start_is_told_how() {
        let waiting = ServiceRow { status: Status::Created, pid: None, reason: "waiting for db (stopped)".to_owned(), ..web() };
        let changed = Changed { services: vec![waiting], failed: vec![], to_start: vec!["db".to_owned()] };
        let start = Request::Start(targets(true));
        assert_eq!(told(&start, &changed, &piped()), ["web: created: waiting for db (stopped)", "hint: ppm start db"]);
        let failed = vec![Failed { service: "web".to_owned(), message: "db has crashed".to_owned() }];
        let failures = failures(&start, &Changed { failed, ..changed });
        assert_eq!(failures, [Failure::new(Code::Failed, "cannot start 'web': db has crashed").hint("ppm start db")]);
    }

    #[test]
    fn a_configuration_that_is_right_is_counted() {
        let told = |services, warnings: &[&str]| {
            let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
            checked(&Checked { services, warnings }, "ppm.yml")
        };
        assert_eq!(told(4, &[]), "ppm.yml: 4 services, all right\n");
        assert_eq!(told(1, &["a"]), "ppm.yml: 1 service, all right, with 1 warning\n");
        assert_eq!(told(0, &["a", "b"]), "ppm.yml: 0 services, all right, with 2 warnings\n");
    }
}
