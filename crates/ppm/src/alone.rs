//! Commands that need no daemon, from arguments to exit code.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use jiff::tz::TimeZone;
use ppm_protocol::Checked;
use serde_json::json;

use crate::check::{self, Wrong};
use crate::cli::{Alone, Check, Completions, Cron, Doctor, Export, Import, Probe};
use crate::completion;
use crate::cron;
use crate::doctor::facts::{self, Facts};
use crate::doctor::{self, Configured, Verdict};
use crate::export;
use crate::failure::{Code, Failure, Stop};
use crate::import;
use ppm_core::answer::Illness;

use crate::probe::{self, Sign};
use crate::show;
use crate::streams::Streams;

/// What a configuration may hold; ppm-core's tests keep it equal to what is read.
const SCHEMA: &str = include_str!("../../../data/config.schema.json");

/// Does what is asked, and tells what went wrong. `socket` is the one asked for, `program` the name we were called by.
pub fn perform(streams: &Streams, alone: Alone, socket: Option<&Path>, program: Option<&OsString>) -> Code {
    streams.end(match alone {
        Alone::Check(typed) => check(streams, typed),
        Alone::Doctor(typed) => doctor(streams, typed, socket),
        Alone::Export(typed) => export(streams, &typed),
        Alone::Import(typed) => import(streams, &typed),
        Alone::Cron(typed) => cron(streams, &typed),
        Alone::Probe(typed) => probe(streams, &typed),
        Alone::Schema => streams.print(SCHEMA).map(|()| Code::Done),
        Alone::Completions(typed) => completions(streams, &typed, program.map_or(OsStr::new("ppm"), OsString::as_os_str)),
    })
}

fn check(streams: &Streams, typed: Check) -> Result<Code, Stop> {
    let source = check::read(typed.file, |name| env::var_os(name));
    let outcome = source.map_err(Wrong::from).and_then(|source| Ok((check::check(&source, typed.grace)?, source.name)));
    match outcome {
        Ok((checked, file)) => right(streams, &checked, &file),
        Err(Wrong { problems, failures }) => {
            for failure in &failures {
                streams.complain(failure);
            }
            if streams.json {
                streams.print_line(&json!({ "problems": problems }))?;
            }
            Ok(Code::WrongConfiguration)
        }
    }
}

fn right(streams: &Streams, checked: &Checked, file: &str) -> Result<Code, Stop> {
    match (streams.json, streams.quiet) {
        (true, _) => streams.print_json(checked)?,
        (false, true) => {}
        (false, false) => {
            streams.print(&show::outcome::checked(checked, file))?;
            streams.warn(&checked.warnings);
        }
    }
    Ok(Code::Done)
}

fn doctor(streams: &Streams, typed: Doctor, socket: Option<&Path>) -> Result<Code, Stop> {
    let env = |name: &str| env::var_os(name);
    let meant = check::meant(typed.file, env);
    let source = meant.map(|path| check::read(Some(path), env).map_err(Wrong::from));
    let configured = match source.map(|source| source.and_then(|source| Ok((check::parse(&source)?, source.name)))) {
        None => Configured::Nothing,
        Some(Ok((config, name))) => Configured::As(name, Box::new(config)),
        Some(Err(wrong)) => Configured::Wrong(wrong.failures.first().map_or(String::new(), |failure| failure.message.clone())),
    };
    let path = ppm_protocol::socket::path(socket, env, nix::unistd::geteuid().as_raw());
    let findings = doctor::examine(&Facts::gather(path, env), &configured, typed.grace, facts::place_made);
    if streams.json {
        streams.print_json(&json!({ "checks": findings }))?;
    } else if !streams.quiet {
        streams.print(&show::doctor::findings(&findings, &streams.look))?;
    }
    let bearable = if typed.strict { Verdict::Ok } else { Verdict::Warning };
    let is_well = findings.iter().all(|finding| finding.verdict <= bearable);
    Ok(if is_well { Code::Done } else { Code::Failed })
}

fn export(streams: &Streams, typed: &Export) -> Result<Code, Stop> {
    let exported = export::export(typed)?;
    let count = exported.remarks.len();
    if typed.strict && count > 0 {
        let failure = Failure::new(Code::Failed, format!("not everything maps: {}", show::outcome::remarks(count)));
        let told = exported.remarks.iter().fold(failure, |failure, remark| failure.fact(remark.to_string()));
        return Err(told.hint("leave it out of the configuration, or do without --strict").into());
    }
    match (&typed.directory, streams.json) {
        (Some(folder), _) => exported.write(folder)?,
        (None, true) => streams.print_json(&json!({ "objects": exported.objects, "remarks": exported.remarks }))?,
        (None, false) => streams.print(&exported.stream())?,
    }
    streams.say([show::outcome::exported(exported.objects.len(), count)]);
    Ok(Code::Done)
}

fn import(streams: &Streams, typed: &Import) -> Result<Code, Stop> {
    let imported = import::import(typed.from, &typed.file)?;
    if streams.json {
        streams.print_json(&json!({ "configuration": imported.text, "remarks": imported.remarks }))?;
    } else {
        streams.print(&imported.text)?;
        streams.say([show::outcome::imported(imported.services, imported.remarks.len())]);
    }
    Ok(Code::Done)
}

fn cron(streams: &Streams, typed: &Cron) -> Result<Code, Stop> {
    let look = &streams.look;
    let zone = || TimeZone::clone(&look.zone);
    let reading = cron::read(&typed.expression, typed.timezone.as_deref(), typed.from.as_deref(), typed.count, *look.now, zone)?;
    if streams.json {
        let times: Vec<String> = reading.runs.iter().map(|run| run.at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()).collect();
        streams.print_json(&times)?;
    } else {
        streams.print(&show::cron::reading(&reading, look))?;
    }
    streams.warn(&reading.warnings);
    Ok(Code::Done)
}

fn probe(streams: &Streams, typed: &Probe) -> Result<Code, Stop> {
    let outcome = probe::probe(&typed.target, typed.timeout);
    if streams.json {
        let (status, error) = match &outcome {
            Ok(Sign::Status(status)) => (Some(status.code), None),
            Ok(Sign::Connection) => (None, None),
            Err(illness @ Illness::Status(status)) => (Some(status.code), Some(illness.to_string())),
            Err(illness @ Illness::Other(_)) => (None, Some(illness.to_string())),
        };
        let url = typed.target.to_string();
        streams.print_line(&json!({ "url": url, "healthy": outcome.is_ok(), "status": status, "error": error }))?;
    }
    match outcome {
        Ok(sign) => {
            streams.say([show::text::clean(&format!("{}: {sign}", typed.target))]);
            Ok(Code::Done)
        }
        Err(illness) => Err(Failure::new(Code::Failed, format!("{}: {illness}", typed.target)).into()),
    }
}

fn completions(streams: &Streams, typed: &Completions, program: &OsStr) -> Result<Code, Stop> {
    streams.print(&completion::script(typed.shell, program))?;
    Ok(Code::Done)
}
