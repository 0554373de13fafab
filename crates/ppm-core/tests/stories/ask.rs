//! What clients ask for, in short.

use std::time::Duration;

use ppm_protocol::message::{AddService, Await, Goal, ReadAgain, ReadStats, Selection, SendSignal, Targets, Watch};
use ppm_protocol::{Request, Signal};

fn words(services: &str) -> Vec<String> {
    services.split_whitespace().map(str::to_owned).collect()
}

fn targets(services: &str) -> Targets {
    Targets { services: words(services), wait: true, rolling: false }
}

pub fn start(services: &str) -> Request {
    Request::Start(targets(services))
}

pub fn stop(services: &str) -> Request {
    Request::Stop(targets(services))
}

pub fn restart(services: &str) -> Request {
    Request::Restart(targets(services))
}

pub fn roll(services: &str) -> Request {
    Request::Restart(Targets { rolling: true, ..targets(services) })
}

pub fn reschedule(services: &str) -> Request {
    Request::Reschedule(targets(services))
}

pub fn remove(services: &str) -> Request {
    Request::Remove(targets(services))
}

pub fn pause(services: &str) -> Request {
    Request::Pause(targets(services))
}

pub fn resume(services: &str) -> Request {
    Request::Resume(targets(services))
}

/// The same request, answered at once.
pub fn no_wait(request: Request) -> Request {
    match request {
        Request::Start(targets) => Request::Start(Targets { wait: false, ..targets }),
        Request::Stop(targets) => Request::Stop(Targets { wait: false, ..targets }),
        Request::Restart(targets) => Request::Restart(Targets { wait: false, ..targets }),
        Request::Remove(targets) => Request::Remove(Targets { wait: false, ..targets }),
        Request::Pause(targets) => Request::Pause(Targets { wait: false, ..targets }),
        Request::Resume(targets) => Request::Resume(Targets { wait: false, ..targets }),
        Request::Add(add) => Request::Add(AddService { wait: false, ..add }),
        other => panic!("{other:?} does not wait"),
    }
}

pub fn signal(signal: Signal, services: &str) -> Request {
    Request::Signal(SendSignal { services: words(services), signal })
}

pub fn add(name: &str) -> AddService {
    AddService { name: name.to_owned(), command: words("/bin/true"), start: true, wait: true, ..AddService::default() }
}

pub fn wait(services: &str, goal: Goal, timeout: Option<Duration>) -> Request {
    let timeout_ms = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap());
    Request::Wait(Await { services: words(services), goal, timeout_ms })
}

pub fn list(services: &str) -> Request {
    Request::List(Selection { services: words(services) })
}

pub fn stats(services: &str) -> Request {
    Request::Stats(ReadStats { services: words(services), pss: true, rates: true })
}

pub fn history(services: &str) -> Request {
    Request::History(Selection { services: words(services) })
}

pub fn why(services: &str) -> Request {
    Request::Why(Selection { services: words(services) })
}

pub fn reload() -> Request {
    Request::Reload(ReadAgain { plan: false })
}

pub fn scheduler() -> Request {
    Request::Scheduler(Selection::default())
}

pub fn events(services: &str, last: Option<usize>) -> Watch {
    Watch { services: words(services), last, follow: false }
}
