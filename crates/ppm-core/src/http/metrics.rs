//! /metrics: the text format of Prometheus, version 0.0.4.
//!
//! One table says which metrics there are; docs/monitoring.md is kept equal to it by a test. Labels have few values:
//! never a process, never a time. Invariant: all samples of a metric stand together, below their HELP and TYPE.

use std::fmt::{self, Write};
use std::time::Duration;

use ppm_protocol::{Exit, Status, Timestamp};

use crate::event::Cause;
use crate::report::{Figures, Report, ServiceReport};
use crate::tally::BOUNDS;
use crate::usage::Usage;

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// As it is written; a histogram's without the endings of its samples.
    pub name: &'static str,
    /// What can be done with its values.
    pub kind: Kind,
    /// What its samples are told apart by.
    pub labels: &'static [&'static str],
    /// One line.
    pub help: &'static str,
    samples: fn(&Report, &mut Samples<'_>),
}

/// What can be done with the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until what it counts begins anew.
    Counter,
    /// Counts by bounds.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        })
    }
}

const SERVICE: &[&str] = &["service"];

const STATES: [Status; 5] = [Status::Created, Status::Running, Status::Finished, Status::Stopped, Status::Crashed];

/// All there are, in their order.
pub const METRICS: [Metric; 33] = [
    gauge("ppm_build_info", &["version"], "Always 1; the version of the daemon.", |report, out| {
        out.sample("", &[("version", &report.version)], 1);
    }),
    gauge("ppm_start_time_seconds", &[], "When the daemon was started.", |report, out| out.sample("", &[], seconds(report.started))),
    gauge(
        "ppm_config_last_reload_successful",
        &[],
        "Whether the configuration could be used when it was last read; 1 after the start.",
        |report, out| out.sample("", &[], u8::from(report.is_configured)),
    ),
    gauge("ppm_config_last_reload_timestamp_seconds", &[], "When the configuration was read that is in use.", |report, out| {
        out.sample("", &[], seconds(report.configured))
    }),
    gauge("ppm_service_state", &["service", "state"], "1 for the state that the service is in, 0 for the others.", |report, out| {
        for row in report.services.iter().map(|service| &service.row) {
            for state in STATES {
                let word = state.to_string().to_lowercase();
                out.sample("", &[("service", &row.name), ("state", &word)], u8::from(row.status == state));
            }
        }
    }),
    gauge("ppm_service_up", SERVICE, "Whether it has a process.", |report, out| {
        out.of_each(report, |service| Some(u8::from(service.row.pid.is_some())));
    }),
    gauge("ppm_service_active", SERVICE, "Whether its user wants it to run; `ppm stop` clears it.", |report, out| {
        out.of_each(report, |service| Some(u8::from(service.row.active)));
    }),
    gauge("ppm_service_ready", SERVICE, "Whether it is ready, so that those may start that need it.", |report, out| {
        out.of_each(report, |service| Some(u8::from(service.row.ready)));
    }),
    gauge(
        "ppm_service_healthy",
        SERVICE,
        "Whether it is as it should be: what should run does and is ready; what has finished, waits for its schedule or is not wanted is well.",
        |report, out| out.of_each(report, |service| Some(u8::from(service.is_well))),
    ),
    gauge("ppm_service_consecutive_crashes", SERVICE, "Crashes in a row: the n of the backoff.", |report, out| {
        out.of_each(report, |service| Some(service.row.crashes));
    }),
    counter(
        "ppm_service_restarts_total",
        &["service", "reason"],
        "Starts after the first, by what they were for: backoff (it had crashed), restart, request, reload, dependency, schedule, missed, memory, watch.",
        |report, out| {
            for (name, figures) in figures(report) {
                if !figures.tally.restarts.contains_key(&Cause::Backoff) {
                    out.sample("", &[("service", name), ("reason", &Cause::Backoff.to_string())], 0);
                }
                for (cause, count) in &figures.tally.restarts {
                    out.sample("", &[("service", name), ("reason", &cause.to_string())], count);
                }
            }
        },
    ),
    counter("ppm_service_failed_starts_total", SERVICE, "Starts that came to nothing: no such program, no permission.", |report, out| {
        out.of_figures(report, |figures| Some(figures.tally.failed_starts));
    }),
    counter(
        "ppm_service_exits_total",
        &["service", "code"],
        "Ends of its main process, by exit code or by the signal's name.",
        |report, out| {
            for (name, figures) in figures(report) {
                for (exit, count) in &figures.tally.exits {
                    let code = match exit {
                        Exit::Code(code) => code.to_string(),
                        Exit::Signal(signal) => signal.to_string(),
                    };
                    out.sample("", &[("service", name), ("code", &code)], count);
                }
            }
        },
    ),
    gauge("ppm_service_start_time_seconds", SERVICE, "When the run began that lasts.", |report, out| {
        out.of_each(report, |service| service.row.started_at.filter(|_| service.row.pid.is_some()).map(seconds));
    }),
    histogram(
        "ppm_service_ready_duration_seconds",
        SERVICE,
        "How long after its starts it was found ready; of services with `ready`.",
        |report, out| {
            for (name, figures) in figures(report) {
                let Some(waits) = &figures.tally.readiness else { continue };
                let mut count = 0;
                for (bound, within) in BOUNDS.iter().zip(waits.within) {
                    count += within;
                    let bound = Duration::from_millis(*bound).as_secs_f64().to_string();
                    out.sample("_bucket", &[("service", name), ("le", &bound)], count);
                }
                out.sample("_bucket", &[("service", name), ("le", "+Inf")], waits.count);
                out.sample("_sum", &[("service", name)], waits.sum.as_secs_f64());
                out.sample("_count", &[("service", name)], waits.count);
            }
        },
    ),
    gauge(
        "ppm_service_next_run_timestamp_seconds",
        SERVICE,
        "When its next planned run is due; of services with a schedule.",
        |report, out| {
            out.of_figures(report, |figures| figures.next_run.map(seconds));
        },
    ),
    counter(
        "ppm_service_planned_runs_total",
        &["service", "result"],
        "Planned runs: started, skipped since the run before lasted, missed since their time had passed; of services with a schedule.",
        |report, out| {
            for (name, figures) in figures(report) {
                let Some(plans) = figures.plans else { continue };
                for (result, count) in [("started", plans.fired), ("skipped", plans.skipped), ("missed", plans.missed)] {
                    out.sample("", &[("service", name), ("result", result)], count);
                }
            }
        },
    ),
    counter(
        "ppm_service_run_timeouts_total",
        SERVICE,
        "Runs that were ended since they lasted too long; of services with a schedule.",
        |report, out| {
            out.of_figures(report, |figures| figures.plans.map(|plans| plans.timeouts));
        },
    ),
    gauge(
        "ppm_service_last_run_success",
        SERVICE,
        "Whether its last run ended well; there is none before the first has ended.",
        |report, out| {
            out.of_figures(report, |figures| figures.ended_well.map(u8::from));
        },
    ),
    gauge("ppm_service_last_success_timestamp_seconds", SERVICE, "When a run last came to a good end by itself.", |report, out| {
        out.of_figures(report, |figures| figures.tally.succeeded.map(seconds));
    }),
    counter(
        "ppm_service_cpu_seconds_total",
        SERVICE,
        "Time on processors of all its processes, those that have ended too; of the run that lasts.",
        |report, out| out.of_usage(report, |usage| Some(usage.cpu.as_secs_f64())),
    ),
    gauge(
        "ppm_service_resident_memory_bytes",
        SERVICE,
        "Resident memory of all its processes; what they share is counted for each.",
        |report, out| out.of_usage(report, |usage| Some(usage.rss)),
    ),
    gauge("ppm_service_memory_limit_bytes", SERVICE, "Its `max_memory`, above which it is restarted.", |report, out| {
        out.of_figures(report, |figures| figures.memory_limit);
    }),
    counter(
        "ppm_service_io_bytes_total",
        &["service", "direction"],
        "Bytes read from storage and written to it; of the run that lasts, where the kernel tells.",
        |report, out| {
            for (name, figures) in figures(report) {
                let Some(usage) = figures.usage else { continue };
                for (direction, bytes) in [("read", usage.io_read), ("write", usage.io_write)] {
                    if let Some(bytes) = bytes {
                        out.sample("", &[("service", name), ("direction", direction)], bytes);
                    }
                }
            }
        },
    ),
    gauge("ppm_service_processes", SERVICE, "Its living processes.", |report, out| {
        out.of_usage(report, |usage| Some(usage.processes));
    }),
    gauge("ppm_service_threads", SERVICE, "Their threads.", |report, out| out.of_usage(report, |usage| Some(usage.threads))),
    gauge("ppm_service_open_fds", SERVICE, "Their open descriptors, where the kernel tells.", |report, out| {
        out.of_usage(report, |usage| usage.fds);
    }),
    counter(
        "ppm_service_log_dropped_lines_total",
        SERVICE,
        "Lines of its output that were left out since there were too many; of services with a `rate_limit`.",
        |report, out| out.of_figures(report, |figures| figures.lost_lines),
    ),
    counter("ppm_self_cpu_seconds_total", &[], "Time on processors of the daemon itself.", |report, out| {
        out.of_own(report, |own| Some(own.cpu.as_secs_f64()));
    }),
    gauge("ppm_self_resident_memory_bytes", &[], "Resident memory of the daemon itself.", |report, out| {
        out.of_own(report, |own| Some(own.rss))
    }),
    gauge("ppm_self_virtual_memory_bytes", &[], "Virtual memory of the daemon itself.", |report, out| {
        out.of_own(report, |own| Some(own.vsz))
    }),
    gauge("ppm_self_threads", &[], "Threads of the daemon itself.", |report, out| out.of_own(report, |own| Some(own.threads))),
    gauge("ppm_self_open_fds", &[], "Open descriptors of the daemon itself.", |report, out| out.of_own(report, |own| own.fds)),
];

type Fill = fn(&Report, &mut Samples<'_>);

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str, samples: Fill) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, samples }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str, samples: Fill) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, samples }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str, samples: Fill) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help, samples }
}

/// The whole text.
pub fn write(report: &Report) -> String {
    let mut text = String::new();
    for metric in &METRICS {
        let before = text.len();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind);
        let head = text.len();
        (metric.samples)(report, &mut Samples { name: metric.name, text: &mut text });
        if text.len() == head {
            text.truncate(before); // nothing to be said of it
        }
    }
    text
}

/// Takes the samples of one metric.
struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Samples<'_> {
    fn sample(&mut self, ending: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.text.push_str(self.name);
        self.text.push_str(ending);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if at == 0 { '{' } else { ',' });
            for letter in value.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    letter => self.text.push(letter),
                }
            }
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn of_each<T: fmt::Display>(&mut self, report: &Report, value: impl Fn(&ServiceReport) -> Option<T>) {
        for service in &report.services {
            if let Some(value) = value(service) {
                self.sample("", &[("service", &service.row.name)], value);
            }
        }
    }

    fn of_figures<T: fmt::Display>(&mut self, report: &Report, value: impl Fn(&Figures) -> Option<T>) {
        self.of_each(report, |service| value(service.figures.as_deref()?));
    }

    fn of_usage<T: fmt::Display>(&mut self, report: &Report, value: impl Fn(&Usage) -> Option<T>) {
        self.of_figures(report, |figures| value(figures.usage.as_ref()?));
    }

    fn of_own<T: fmt::Display>(&mut self, report: &Report, value: impl Fn(&Usage) -> Option<T>) {
        if let Some(value) = report.own.as_ref().and_then(value) {
            self.sample("", &[], value);
        }
    }
}

fn figures(report: &Report) -> impl Iterator<Item = (&str, &Figures)> {
    report.services.iter().filter_map(|service| Some((service.row.name.as_str(), service.figures.as_deref()?)))
}

fn seconds(at: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
    let millis = at.0 as f64;
    millis / 1000.0
}

#[cfg(test)]
mod tests {
    use ppm_protocol::Signal;

    use super::*;
    use crate::http::tests::{report, row, service};
    use crate::runs::Counters;
    use crate::tally::Tally;
    use crate::time::Mono;

    fn full() -> Report {
        let mut tally = Tally { failed_starts: 2, succeeded: Some(Timestamp(1_500)), ..Tally::default() };
        tally.restarted(Cause::Watch);
        tally.exited(Exit::Code(0));
        tally.exited(Exit::Signal(Signal::KILL));
        tally.ready(Duration::from_millis(1250));
        let usage = Usage {
            at: Mono(1),
            cpu: Duration::from_millis(1500),
            rss: 4096,
            vsz: 8192,
            io_read: Some(7),
            fds: Some(3),
            ..Usage::default()
        };
        let plans = Some(Counters { fired: 4, skipped: 1, ..Counters::default() });
        let figures = Figures {
            usage: Some(usage),
            tally,
            plans,
            next_run: Some(Timestamp(9_000)),
            ended_well: Some(true),
            memory_limit: Some(1 << 20),
            lost_lines: Some(9),
        };
        let one = ServiceReport { figures: Some(Box::new(figures)), ..service(row("web", Status::Running), true) };
        Report { own: Some(usage), ..report(vec![one]) }
    }

    #[test]
    fn every_metric_is_told_once_with_help_and_type() {
        let text = write(&full());
        for metric in &METRICS {
            let named = |line: &&str| line.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']));
            assert_eq!(text.matches(&format!("# HELP {} ", metric.name)).count(), 1, "{}", metric.name);
            assert_eq!(text.matches(&format!("# TYPE {} {}\n", metric.name, metric.kind)).count(), 1, "{}", metric.name);
            let sample = text.lines().find(named).unwrap_or_else(|| panic!("{} has no sample", metric.name));
            for label in metric.labels {
                assert!(sample.contains(&format!("{label}=\"")), "{sample}");
            }
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
        let names: std::collections::BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn values_are_what_the_report_has() {
        let text = write(&full());
        for line in [
            "ppm_build_info{version=\"1.2.3\"} 1",
            "ppm_start_time_seconds 0.5",
            "ppm_service_state{service=\"web\",state=\"running\"} 1",
            "ppm_service_state{service=\"web\",state=\"crashed\"} 0",
            "ppm_service_restarts_total{service=\"web\",reason=\"backoff\"} 0",
            "ppm_service_restarts_total{service=\"web\",reason=\"watch\"} 1",
            "ppm_service_exits_total{service=\"web\",code=\"0\"} 1",
            "ppm_service_exits_total{service=\"web\",code=\"SIGKILL\"} 1",
            "ppm_service_cpu_seconds_total{service=\"web\"} 1.5",
            "ppm_service_io_bytes_total{service=\"web\",direction=\"read\"} 7",
            "ppm_service_ready_duration_seconds_bucket{service=\"web\",le=\"1\"} 0",
            "ppm_service_ready_duration_seconds_bucket{service=\"web\",le=\"2.5\"} 1",
            "ppm_service_ready_duration_seconds_bucket{service=\"web\",le=\"+Inf\"} 1",
            "ppm_service_ready_duration_seconds_sum{service=\"web\"} 1.25",
            "ppm_service_planned_runs_total{service=\"web\",result=\"started\"} 4",
            "ppm_self_open_fds 3",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("direction=\"write\""), "what is not told is left out:\n{text}");
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let version = "a\"} 1\nppm_up \\".to_owned();
        let text = write(&Report { version, ..report(Vec::new()) });
        assert!(text.contains("ppm_build_info{version=\"a\\\"} 1\\nppm_up \\\\\"} 1\n"), "{text}");
    }

    #[test]
    fn of_what_there_is_not_nothing_is_said() {
        let text = write(&report(Vec::new()));
        assert!(!text.contains("ppm_service") && !text.contains("ppm_self") && text.ends_with('\n'), "{text}");
    }
}
