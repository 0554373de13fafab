//! How long the core takes for what it does often, and for what makes people wait.
//!
//! `cargo bench -p ppm-core --bench core` measures; with `-- --save-baseline before`, and after a change `-- --baseline before`, it can
//! be compared. There is no clock, no file and no process in it: a turn is arithmetic.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may as well stop")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use ppm_core::config;
use ppm_core::event::{Action, ClientId, Event, From, Group, Pid};
use ppm_core::schedule::Schedule;
use ppm_core::supervisor::{Boot, Supervisor};
use ppm_core::time::{Mono, Now, Timestamp};
use ppm_core::watch::pattern::{Pattern, What};
use ppm_core::zone;
use ppm_protocol::line::Lines;
use ppm_protocol::message::Selection;
use ppm_protocol::{Exit, Request, RpcId};

const MANY: usize = 1000;

const BEGIN: Now = Now { mono: Mono(1_000_000_000_000), wall: Timestamp(1_767_323_045_000) };

/// Services as people write them.
fn text(count: usize) -> String {
    let mut text = String::from("shutdown_timeout: 20s\nservices:\n");
    for number in 0..count {
        write!(
            text,
            "  - name: service-{number}\n    command: /usr/bin/server --port {number} --name 'number {number}'\n    env: {{PORT: {number}, \
             LANG: C.UTF-8}}\n    restart: {{policy: always, interval: 0s}}\n    stop: {{signal: TERM, timeout: 10s}}\n"
        )
        .unwrap();
    }
    text
}

/// A supervisor of so many services that run, with its clock and its processes.
struct World {
    supervisor: Supervisor,
    now: Now,
    next: i32,
}

impl World {
    fn new(count: usize) -> World {
        let boot = Boot {
            config: config::parse(&text(count), "ppm.yml").unwrap(),
            zone: TimeZone::UTC,
            remembered: BTreeMap::new(),
            seed: 1,
            pid: Pid(1),
            version: "0".to_owned(),
            main: None,
        };
        let mut world = World { supervisor: Supervisor::new(boot, BEGIN), now: BEGIN, next: 100 };
        world.tell(Event::Tick);
        world
    }

    /// Tells of an event, and of the starts that follow from it.
    fn tell(&mut self, event: Event) {
        let spawns = |action: Action| match action {
            Action::Spawn { id, part, .. } => Some((id, part)),
            _ => None,
        };
        let mut starts: Vec<_> = self.supervisor.handle(self.now, event).filter_map(spawns).collect();
        while let Some((id, part)) = starts.pop() {
            self.next += 1;
            let spawned = Event::Spawned { id, part, pid: Pid(self.next) };
            starts.extend(self.supervisor.handle(self.now, spawned).filter_map(spawns));
        }
    }

    /// A service crashes and is started again: two turns.
    fn crash(&mut self) {
        let pid = self.supervisor.services().find_map(ppm_core::service::Service::pid).unwrap();
        self.now.mono = self.now.mono + Duration::from_millis(1);
        self.tell(Event::Exited { pid, exit: Exit::Code(1), group: Group::Empty, peak: None });
        self.tell(Event::Tick);
    }
}

fn turns(bench: &mut Criterion) {
    for count in [1, MANY] {
        let mut world = World::new(count);
        bench.bench_function(&format!("a crash and its restart, among {count}"), |bench| bench.iter(|| world.crash()));
        let world = &mut World::new(count);
        let request = || Event::Requested {
            from: From { client: ClientId(1), call: Some(RpcId::Number(1)) },
            request: Request::List(Selection { services: Vec::new() }),
        };
        bench.bench_function(&format!("the list of {count}"), |bench| {
            bench.iter_batched(request, |event| black_box(world.supervisor.handle(world.now, event).count()), BatchSize::SmallInput);
        });
        bench.bench_function(&format!("when to wake up next, of {count}"), |bench| bench.iter(|| black_box(world.supervisor.deadline())));
    }
}

fn reading(bench: &mut Criterion) {
    let many = text(MANY);
    bench.bench_function(&format!("a configuration of {MANY}, {} KiB", many.len() >> 10), |bench| {
        bench.iter(|| black_box(config::parse(&many, "ppm.yml").unwrap()));
    });
    let parsed = config::parse(&many, "ppm.yml").unwrap();
    bench.bench_function("the same, written", |bench| bench.iter(|| black_box(config::render(&parsed.settings, &parsed.services))));

    let requests: Vec<u8> = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\",\"params\":{}}\n".repeat(1000).into_bytes();
    bench.bench_function("1000 lines of requests, split", |bench| {
        bench.iter(|| {
            let mut lines = Lines::up_to(1 << 20);
            let mut count = 0;
            for part in requests.chunks(4096) {
                lines.push(part);
                while lines.next_line().is_some() {
                    count += 1;
                }
            }
            assert_eq!(count, 1000);
        });
    });
}

fn planning(bench: &mut Criterion) {
    let zone = zone::named("Europe/Berlin").unwrap();
    for expression in ["*/5 * * * *", "0 30 2 L * MON#1 *", "0 0 29 2 *"] {
        let schedule = Schedule::parse(expression).unwrap();
        bench.bench_function(&format!("the next run of `{expression}`"), |bench| {
            bench.iter(|| black_box(schedule.next(BEGIN.wall, &zone)));
        });
    }
    let path = b"pkg/in/some/folders/foo_test.go";
    let pattern = Pattern::parse("**/*_test.{go,rs}").unwrap();
    bench.bench_function("a pattern of files", |bench| {
        bench.iter(|| black_box(pattern.matches(path, path, What::File)));
    });
}

criterion_group!(benches, turns, reading, planning);
criterion_main!(benches);
