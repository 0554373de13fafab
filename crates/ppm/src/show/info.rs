//! Services in full, as `info NAME` shows them.

use ppm_protocol::types::{HookRow, NeedRow};
use ppm_protocol::{InfoRow, ServiceRow, StatsRow, Status};

use super::services::{mark, note};
use super::text::clean;
use super::{Look, Medium, STRONG, units};

/// Each service as a headline, its facts and what it uses as far as that is known, with an empty line between two.
pub fn details(services: &[InfoRow], usage: &[StatsRow], look: &Look) -> String {
    let used = |service: &InfoRow| usage.iter().find(|row| (row.id, row.pid) == (Some(service.row.id), service.row.pid));
    services.iter().map(|service| one(service, used(service), look)).collect::<Vec<_>>().join("\n")
}

fn one(service: &InfoRow, usage: Option<&StatsRow>, look: &Look) -> String {
    let mut out = headline(&service.row, look);
    for (label, value) in facts(service, look).into_iter().chain(usage.map(used).unwrap_or_default()) {
        out.push_str(&format!("{label:>12}   {}\n", clean(&value)));
    }
    out
}

/// The service, its state, since when and why: `web: Running for 3d 4h (pid 31)`.
pub fn headline(row: &ServiceRow, look: &Look) -> String {
    let (dot, style) = mark(row);
    let dot = match look.medium {
        Medium::Terminal(_) => format!("{} ", look.paint(style, &dot.to_string())),
        Medium::Pipe => String::new(),
    };
    let name = look.paint(STRONG, &clean(&row.name));
    let state = look.paint(style, &clean(&row.status.to_string()));
    format!("{dot}{name}: {state}{}\n", clean(&since(row, look)))
}

/// What stands behind the state in the headline.
fn since(row: &ServiceRow, look: &Look) -> String {
    let mut text = match (row.status, row.uptime_ms, row.ended_at) {
        (Status::Running | Status::Stopped, Some(uptime), _) => format!(" for {}", units::duration(uptime)),
        (Status::Finished | Status::Crashed, _, Some(ended)) => format!(" {}", units::since(ended, *look.now)),
        (Status::Created | Status::Running | Status::Stopped | Status::Finished | Status::Crashed | Status::Other(_), _, _) => {
            String::new()
        }
    };
    if let Some(pid) = row.pid {
        text.push_str(&format!(" (pid {pid})"));
    }
    match note(row, look) {
        note if note.is_empty() => text,
        note => format!("{text}: {note}"),
    }
}

fn facts(service: &InfoRow, look: &Look) -> Vec<(&'static str, String)> {
    let row = &service.row;
    let time = |at| units::moment(at, look);
    let some = |label, value: Option<String>| value.map(|value| (label, value));
    let all = [
        some("id", Some(row.id.to_string())),
        some("command", Some(shell_words::join(&service.command))),
        some("cwd", service.workdir.clone()),
        some("user", service.user.clone()),
        some("umask", service.umask.clone()),
        some("limits", Some(service.limits.join(" ")).filter(|limits| !limits.is_empty())),
        some("nice", service.nice.map(|nice| nice.to_string())),
        some("oom score", service.oom_score_adj.map(|score| format!("{score:+}"))),
        some("new privs", service.no_new_privs.then(|| "none: no program gives it rights that it lacks".to_owned())),
        some("env", Some(service.env.join(" ")).filter(|names| !names.is_empty())),
        some("from", Some(service.source.clone())),
        some("active", (!row.active).then(|| "no: it is not started again by itself".to_owned())),
        some("ready", readiness(service)),
        some("health", service.health.clone()),
        some("says", row.status_text.clone()),
        some("started", row.started_at.map(time)),
        some("ended", row.ended_at.map(time)),
        some("last exit", row.exit.map(|exit| exit.to_string())),
        some("restarts", Some(restarts(row))),
        some("restart", Some(service.restart.clone())),
        some("stop", Some(service.stop.clone())),
        some("needs", Some(service.needs.iter().map(need).collect::<Vec<_>>().join(", ")).filter(|needs| !needs.is_empty())),
        some("needed by", Some(service.needed_by.join(", ")).filter(|names| !names.is_empty())),
        some("schedule", row.schedule.clone()),
        some("next start", row.next_start.map(|next| format!("{}, {}", time(next.at), units::until(next.at, *look.now)))),
    ];
    let hooks = service.hooks.iter().zip(std::iter::once("hooks").chain(std::iter::repeat("")));
    let to_start = super::outcome::to_start(service.needs.iter().flat_map(|need| &need.to_start));
    let hint = to_start.map(|hint| ("hint", hint)).filter(|_| row.active && row.pid.is_none());
    all.into_iter().flatten().chain(hooks.map(|(row, label)| (label, hook(row)))).chain(hint).collect()
}

/// What it uses at the moment, with all of its processes.
fn used(usage: &StatsRow) -> Vec<(&'static str, String)> {
    let cpu = usage.cpu_time_ms.map(|all| {
        let now = usage.cpu_percent.map_or(String::new(), |percent| format!("{percent:.1}% now, "));
        format!("{now}{} in all", units::duration(all))
    });
    let memory = usage.memory_rss.map(|used| units::size_of(used, usage.memory_limit));
    let moved = usage.io_read.zip(usage.io_write);
    let moved = moved.map(|(read, written)| format!("read {}, written {}", units::size(read), units::size(written)));
    let processes = usage.processes.map(|processes| {
        let threads = usage.threads.map(|threads| units::counted(threads.into(), "thread"));
        let files = usage.fds.map(|fds| units::counted(fds.into(), "open file"));
        [Some(processes.to_string()), threads, files].into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    let all = [("cpu", cpu), ("memory", memory), ("i/o", moved), ("processes", processes)];
    all.into_iter().filter_map(|(label, value)| Some((label, value?))).collect()
}

/// When, what, and for how long: `on_ready: warm-up --all (up to 30s), running (pid 31)`.
fn hook(hook: &HookRow) -> String {
    let HookRow { hook, command, timeout_ms, pid } = hook;
    let limit = timeout_ms.map_or(String::new(), |millis| format!(" (up to {})", units::duration(millis)));
    let running = pid.map_or(String::new(), |pid| format!(", running (pid {pid})"));
    format!("{hook}: {}{limit}{running}", shell_words::join(command))
}

/// Whether it is ready, and how that is found out.
fn readiness(service: &InfoRow) -> Option<String> {
    let how = service.readiness.as_deref();
    match (service.row.pid, service.row.ready) {
        (None, _) => how.map(str::to_owned),
        (Some(_), ready) => {
            let ready = if ready { "yes" } else { "not yet" };
            Some(how.map_or(ready.to_owned(), |how| format!("{ready}, {how}")))
        }
    }
}

/// A service that must be there before it starts, and whether it is.
fn need(need: &NeedRow) -> String {
    let NeedRow { service, condition, met, to_start: _ } = need;
    if *met { format!("{service} ({condition})") } else { format!("{service} (not {condition} yet)") }
}

fn restarts(row: &ServiceRow) -> String {
    match row.crashes {
        0 => row.restarts.to_string(),
        1 => format!("{}, after 1 crash", row.restarts),
        crashes => format!("{}, after {crashes} crashes in a row", row.restarts),
    }
}

#[cfg(test)]
mod tests {
    use super::super::services::tests::web;
    use super::super::tests::{piped, terminal};
    use super::*;
    use ppm_protocol::types::Why;
    use ppm_protocol::{Exit, NextStart};

    fn running() -> InfoRow {
        InfoRow {
            row: web(),
            command: ["/app/web", "--title", "Hello World"].map(str::to_owned).to_vec(),
            workdir: Some("/app".to_owned()),
            env: vec!["LANG".to_owned(), "PASSWORD".to_owned()],
            restart: "on-failure, backoff 1s to 5m".to_owned(),
            stop: "SIGTERM, then SIGKILL after 5s".to_owned(),
            source: "/etc/ppm.yml:9".to_owned(),
            user: None,
            umask: None,
            limits: vec![],
            nice: None,
            oom_score_adj: None,
            no_new_privs: false,
            readiness: None,
            health: None,
            needs: vec![],
            needed_by: vec![],
            hooks: vec![],
        }
    }

    fn crashed() -> InfoRow {
        let row = ServiceRow {
            name: "job".to_owned(),
            status: Status::Crashed,
            active: false,
            ready: false,
            pid: None,
            crashes: 3,
            ended_at: Some("2026-11-23T11:48:00.000Z".parse().unwrap()),
            uptime_ms: None,
            exit: Some(Exit::Code(3)),
            reason: "exit code 3".to_owned(),
            next_start: Some(NextStart { at: "2026-11-24T03:00:00.000Z".parse().unwrap(), why: Why::Schedule }),
            schedule: Some("0 3 * * *".to_owned()),
            ..web()
        };
        InfoRow { row, command: vec!["job".to_owned()], workdir: None, env: vec![], source: "ppm add".to_owned(), ..running() }
    }

    #[test]
    fn one_that_runs_tells_how_it_is_kept_running() {
        let expected = "
● web: Running for 3d 4h (pid 31)
          id   2
     command   /app/web --title 'Hello World'
         cwd   /app
         env   LANG PASSWORD
        from   /etc/ppm.yml:9
       ready   yes
     started   2026-11-20 08:00:00 UTC
   last exit   exit code 1
    restarts   2
     restart   on-failure, backoff 1s to 5m
        stop   SIGTERM, then SIGKILL after 5s
";
        assert_eq!(format!("\n{}", details(&[running()], &[], &terminal(80))), expected);
    }

    #[test]
    fn what_it_uses_is_told_as_far_as_it_is_known() {
        let usage = StatsRow {
            id: Some(2),
            pid: Some(31),
            cpu_percent: Some(12.44),
            cpu_time_ms: Some(8_040_000),
            memory_rss: Some(190_840_832),
            memory_limit: Some(268_435_456),
            io_read: Some(1_299_227_607),
            io_write: Some(325_058_560),
            processes: Some(4),
            threads: Some(9),
            fds: Some(1),
            ..StatsRow::default()
        };
        let lines = |usage: &StatsRow| {
            let text = details(&[running()], std::slice::from_ref(usage), &piped());
            text.lines()
                .skip_while(|line| !line.trim_start().starts_with("stop "))
                .skip(1)
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        let expected = "         cpu   12.4% now, 2h 14m in all
      memory   182 MiB of 256 MiB (71%)
         i/o   read 1.21 GiB, written 310 MiB
   processes   4, 9 threads, 1 open file
";
        assert_eq!(lines(&usage), expected);
        let once = StatsRow { cpu_percent: None, memory_limit: None, io_read: None, fds: None, ..usage.clone() };
        assert_eq!(lines(&once), "         cpu   2h 14m in all\n      memory   182 MiB\n   processes   4, 9 threads\n");
        assert_eq!(lines(&StatsRow { id: Some(2), pid: Some(31), ..StatsRow::default() }), "");
        assert_eq!(lines(&StatsRow { pid: Some(32), ..usage }), "", "of another run");
    }

    #[test]
    fn one_that_crashed_tells_when_why_and_what_comes_next() {
        let expected = "
job: Crashed 12m ago: exit code 3; next run in 15h (Tue 24 Nov 03:00:00)
          id   2
     command   job
        from   ppm add
      active   no: it is not started again by itself
     started   2026-11-20 08:00:00 UTC
       ended   2026-11-23 11:48:00 UTC
   last exit   exit code 3
    restarts   2, after 3 crashes in a row
     restart   on-failure, backoff 1s to 5m
        stop   SIGTERM, then SIGKILL after 5s
    schedule   0 3 * * *
  next start   2026-11-24 03:00:00 UTC, in 15h
";
        assert_eq!(format!("\n{}", details(&[crashed()], &[], &piped())), expected);
    }

    #[test]
    fn what_is_given_of_its_user_and_limits_is_told() {
        let service = InfoRow {
            user: Some("app:app".to_owned()),
            umask: Some("027".to_owned()),
            limits: ["core=0", "nofile=1024:unlimited"].map(str::to_owned).to_vec(),
            nice: Some(-5),
            oom_score_adj: Some(500),
            no_new_privs: true,
            ..running()
        };
        let expected = "
        user   app:app
       umask   027
      limits   core=0 nofile=1024:unlimited
        nice   -5
   oom score   +500
   new privs   none: no program gives it rights that it lacks
         env   LANG PASSWORD
";
        let text = details(&[service], &[], &piped());
        assert!(text.contains(&expected[1..]), "{text}");
    }

    #[test]
    fn what_it_needs_and_who_needs_it_is_told_with_what_is_missing() {
        let need = |service: &str, condition: &str, met| NeedRow {
            service: service.to_owned(),
            condition: condition.to_owned(),
            met,
            to_start: Vec::new(),
        };
        let needs = vec![need("migrate", "finished", true), need("db", "ready", false)];
        let text = details(&[InfoRow { needs, needed_by: vec!["worker".to_owned(), "proxy".to_owned()], ..running() }], &[], &piped());
        let expected = "
       needs   migrate (finished), db (not ready yet)
   needed by   worker, proxy
";
        assert!(text.contains(&expected[1..]), "{text}");
    }

    #[test]
    fn what_is_run_beside_it_is_told_and_what_of_that_is_at_work() {
        let hook = |hook: &str, timeout_ms, pid| HookRow {
            hook: hook.to_owned(),
            command: vec!["warm".to_owned(), "a b".to_owned()],
            timeout_ms,
            pid,
        };
        let hooks = vec![hook("pre_start", None, None), hook("on_ready", Some(30_000), Some(32))];
        let text = details(&[InfoRow { hooks, ..running() }], &[], &piped());
        let expected = "
       hooks   pre_start: warm 'a b'
               on_ready: warm 'a b' (up to 30s), running (pid 32)
";
        assert!(text.ends_with(&expected[1..]), "{text}");
    }

    #[test]
    fn who_waits_for_what_somebody_must_start_is_told_how() {
        let to_start = vec!["db-1".to_owned(), "db-2".to_owned()];
        let needs = vec![NeedRow { service: "db".to_owned(), condition: "started".to_owned(), met: false, to_start }];
        let waiting = ServiceRow { pid: None, status: Status::Created, reason: "waiting for db-1 (stopped)".to_owned(), ..web() };
        let text = details(&[InfoRow { row: waiting, needs: needs.clone(), ..running() }], &[], &piped());
        assert!(text.ends_with("        hint   ppm start db-1 db-2\n"), "{text}");
        let text = details(&[InfoRow { needs, ..running() }], &[], &piped());
        assert!(!text.contains("hint"), "it runs: {text}");
    }

    #[test]
    fn several_have_an_empty_line_between_them() {
        let text = details(&[running(), crashed()], &[], &piped());
        assert!(text.contains("SIGKILL after 5s\n\njob: Crashed"), "{text}");
    }

    #[test]
    fn arguments_cannot_act_on_the_terminal_r75() {
        let mut service = running();
        service.command = vec!["sh".to_owned(), "\x1b[2J\nroot: Running".to_owned()];
        let text = details(&[service], &[], &piped());
        assert!(text.contains("command   sh '\\u{1b}[2J\\nroot: Running'\n"), "{text}");
    }
}
