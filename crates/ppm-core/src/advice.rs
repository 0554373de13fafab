//! What is right in a configuration, but may surprise; and what does not fit into the time that a container is given.
//!
//! One place for `ppm check`, which needs no daemon, and for the daemon's own `check`. Pure, and never an obstacle: a
//! configuration with warnings is used as it is.

use std::time::Duration;

use crate::config::{Config, write_duration};
use crate::schedule::Schedule;
use crate::spec::ServiceSpec;

/// What takes longer to stop than the container is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where the service stands in the file, from 1; 0: it is a setting of the file as a whole.
    pub line: usize,
    /// Lower case, without full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// What may surprise, each in one sentence.
pub fn warnings(config: &Config) -> Vec<String> {
    let shutdown = config.settings.shutdown_timeout;
    let of_services = config.services.iter().flat_map(|spec| of_schedule(spec).chain(of_stop(spec, shutdown)));
    let open = config.settings.http.iter().filter(|listen| !listen.is_local());
    let open = open.map(|listen| format!("`http: {listen}`: whoever can reach this address can read what the services are doing"));
    config.remarks.iter().cloned().chain(open).chain(of_services).collect()
}

fn of_schedule(spec: &ServiceSpec) -> impl Iterator<Item = String> {
    let warnings = spec.schedule.as_deref().into_iter().flat_map(Schedule::warnings);
    warnings.map(|warning| format!("`{}`: {warning}", spec.name))
}

fn of_stop(spec: &ServiceSpec, shutdown: Duration) -> Option<String> {
    let timeout = spec.stop.timeout;
    (timeout > shutdown).then(|| {
        let (timeout, shutdown) = (write_duration(timeout), write_duration(shutdown));
        format!("`{}`: its stop timeout of {timeout} is cut short when the daemon ends: shutdown_timeout is {shutdown}", spec.name)
    })
}

/// What may take as long as the container is given, or longer: the whole shutdown, and single services.
pub fn misfits(config: &Config, grace: Duration) -> Vec<Misfit> {
    let misfit = |line, what: String, instead: String| Misfit {
        line,
        message: format!("{what} does not fit into a grace of {}", write_duration(grace)),
        hint: format!("write `{instead}`, or give the container more time"),
    };
    let enough = write_duration(within(grace));
    let shutdown = config.settings.shutdown_timeout;
    let whole = (shutdown >= grace)
        .then(|| misfit(0, format!("the shutdown timeout ({})", write_duration(shutdown)), format!("shutdown_timeout: {enough}")));
    let of_services = config.services.iter().filter(|spec| spec.stop.timeout >= grace).map(|spec| {
        let what = format!("the stop timeout of `{}` ({})", spec.name, write_duration(spec.stop.timeout));
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

fn line_of(spec: &ServiceSpec) -> usize {
    spec.source.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const WEB: &str = "services:\n- name: web\n  command: web\n";

    fn warnings_of(text: &str) -> Vec<String> {
        warnings(&config::parse(text, "x.yml").unwrap())
    }

    fn misfits_of(text: &str, grace: u64) -> Vec<(usize, String)> {
        let misfits = misfits(&config::parse(text, "x.yml").unwrap(), Duration::from_secs(grace));
        misfits.into_iter().map(|misfit| (misfit.line, misfit.message)).collect()
    }

    #[test]
    fn a_service_that_is_killed_early_by_the_shutdown_is_a_warning() {
        let warnings = warnings_of(&format!("{WEB}  stop: {{timeout: 1m 30s}}\n  schedule: \"0 0 */7 * 1\"\n"));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("`web`: `*/7` and `1` must both match"), "{warnings:?}");
        assert_eq!(warnings[1], "`web`: its stop timeout of 1m 30s is cut short when the daemon ends: shutdown_timeout is 9s");
        assert_eq!(warnings_of(&format!("shutdown_timeout: 5s\n{WEB}")), Vec::<String>::new());
    }

    #[test]
    fn a_grace_must_be_longer_than_the_shutdown_and_every_stop() {
        assert_eq!(misfits_of(WEB, 10), []);
        assert_eq!(misfits_of(WEB, 9), [(0, "the shutdown timeout (9s) does not fit into a grace of 9s".to_owned())]);
        let slow = format!("shutdown_timeout: 10s\n{WEB}  stop: {{timeout: 30s}}\n");
        assert_eq!(misfits_of(&slow, 30), [(3, "the stop timeout of `web` (30s) does not fit into a grace of 30s".to_owned())]);
        assert_eq!(misfits_of(&slow, 31), []);
    }

    #[test]
    fn what_does_not_fit_comes_with_what_does() {
        let hint = |grace| {
            let config = config::parse("shutdown_timeout: 2m\n", "x.yml").unwrap();
            misfits(&config, Duration::from_secs(grace)).remove(0).hint
        };
        assert_eq!(hint(30), "write `shutdown_timeout: 29s`, or give the container more time");
        assert_eq!(hint(90), "write `shutdown_timeout: 1m 29s`, or give the container more time");
        assert_eq!(hint(1), "write `shutdown_timeout: 900ms`, or give the container more time");
        assert_eq!(misfits_of(&format!("shutdown_timeout: {}\n", write_duration(within(Duration::from_secs(1)))), 1), []);
    }
}
