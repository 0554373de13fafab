//! supervisord.conf: each `[program:x]` is a service, each `[group:x]` a group.
//!
//! `%(...)s` is expanded where its value is known here. What only the environment knows, and the number of a process, become
//! references in variables and folders, and in a command a shell that looks them up, since ours expands nothing.

mod expand;
mod ini;

use std::collections::BTreeMap;
use std::time::Duration;

use ppm_core::config::write_size;
use ppm_protocol::Signal;

use super::draft::{Draft, Place, Service, Value, shown, variable};
use super::{Failure, NOT_LOST, Source};
use expand::{Known, Piece};
use ini::{Section, Setting};

/// Whence the numbers of processes count where nothing is written.
const FIRST: i64 = 0;

/// Paths that mean the supervisor's own output.
const OWN_OUTPUT: [&str; 10] = [
    "/dev/stdout",
    "/dev/stderr",
    "/dev/fd/1",
    "/dev/fd/2",
    "/proc/self/fd/1",
    "/proc/self/fd/2",
    "/proc/1/fd/1",
    "/proc/1/fd/2",
    "/dev/tty",
    "/dev/console",
];

/// What is not written, and is otherwise here.
const DEFAULTS: &str = "what is not written differs: it has 5s to stop (there 10s), all its processes are asked to (there the first alone), \
                        and it is tried again for ever (there 3 times): docs/migrating.md";

pub fn read(source: &Source) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let sections = ini::sections(source, &mut draft)?;
    let is_here = |option: &Setting| option.value.contains("%(here)");
    if sections.iter().any(|section| section.options.iter().any(is_here)) {
        source.is_base.set(true);
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for section in &sections {
        match section.name.split_once(':') {
            Some(("program", _)) => {}
            Some(("group", name)) => group(section, name.trim(), &mut groups, &mut draft),
            Some(("eventlistener", _)) => {
                draft.remark(
                    &section.place,
                    format!("[{}]: no equivalent; `hooks` and `ppm events -f --json` tell what happens", section.name),
                );
            }
            Some(("fcgi-program", _)) => {
                draft.remark(
                    &section.place,
                    format!("[{}]: no equivalent: nobody opens a socket for it; let it listen itself", section.name),
                );
            }
            Some(("rpcinterface" | "ctlplugin", _)) => draft.remark(&section.place, format!("[{}]: no equivalent", section.name)),
            Some(_) | None => daemon(section, source, &mut draft),
        }
    }
    let mut priorities: BTreeMap<String, (i64, Place)> = BTreeMap::new();
    for section in &sections {
        if let Some(("program", name)) = section.name.split_once(':') {
            let name = name.trim();
            let mut program = Program { section, source, service: Service::new(name, &section.place), grace: None };
            if !program.read(name) {
                draft.remark(&section.place, format!("[{}]: it has no command and was left out", section.name));
                continue;
            }
            draft.remark_once(&section.place, DEFAULTS);
            if let Some(groups) = groups.get(name) {
                program.service.set("groups", Value::texts(groups.iter().cloned()));
            }
            draft.stops_within(program.grace);
            draft.push(program.service);
            if let Some(option) = section.get("priority")
                && let (Ok(number), Some(service)) = (option.value.parse(), draft.services().last())
            {
                priorities.insert(service.name.clone(), (number, option.place.clone()));
            }
        }
    }
    tell_order(&priorities, &mut draft);
    draft.allow_for_slowest();
    Ok(draft)
}

/// supervisord starts by numbers, we by needs: so it is told what began before.
fn tell_order(priorities: &BTreeMap<String, (i64, Place)>, draft: &mut Draft) {
    const NAMED: usize = 4;
    for service in draft.services_mut() {
        let Some((number, place)) = priorities.get(&service.name) else { continue };
        let earlier = priorities.iter().filter(|(_, (other, _))| other < number).map(|(name, _)| name.as_str());
        let earlier: Vec<&str> = earlier.take(NAMED + 1).collect();
        let message = match earlier.as_slice() {
            [] => format!("priority={number}: there is no order by numbers; `depends_on` of others says that they need it"),
            names if names.len() > NAMED => format!("priority={number}: there is no order by numbers; `depends_on` says what it needs"),
            names => format!(
                "priority={number}: there is no order by numbers; if it needs what came before: `depends_on: [{}]`",
                names.join(", ")
            ),
        };
        service.remark(place, message);
    }
}

fn group(section: &Section, name: &str, groups: &mut BTreeMap<String, Vec<String>>, draft: &mut Draft) {
    for option in &section.options {
        match option.key.as_str() {
            "programs" => {
                for program in option.value.split([',', '\n']).map(str::trim).filter(|program| !program.is_empty()) {
                    groups.entry(program.to_owned()).or_default().push(name.to_owned());
                }
            }
            key => draft.remark(&option.place, format!("[{}] {key}: no equivalent", section.name)),
        }
    }
}

/// What is said of supervisord itself.
fn daemon(section: &Section, source: &Source, draft: &mut Draft) {
    let known = Known { folder: source.folder.display().to_string(), ..Known::default() };
    match section.name.as_str() {
        "supervisord" => {}
        "unix_http_server" | "supervisorctl" => {
            draft.remark(&section.place, format!("[{}]: not needed: ppm has a socket of its own, PPM_SOCKET or --socket", section.name));
            return;
        }
        "inet_http_server" => {
            draft.remark(
                &section.place,
                "[inet_http_server]: no equivalent; `http: 127.0.0.1:9180` shows the state to be looked at, and changes nothing",
            );
            return;
        }
        _ => {
            draft.remark(&section.place, format!("[{}]: no equivalent", section.name));
            return;
        }
    }
    for option in &section.options {
        let told = match option.key.as_str() {
            "nodaemon" => "not needed: the daemon stays in the foreground",
            "environment" => {
                let (pairs, wrong) = expand::variables(&option.value, &known);
                pairs.into_iter().for_each(|(name, value)| draft.variable(&name, variable(value)));
                if let Some(why) = wrong {
                    draft.remark(&option.place, format!("[supervisord] environment: {why}"));
                }
                continue;
            }
            "user" => "no equivalent at the top: run the daemon as that user, or write `user` for each service",
            "umask" => "no equivalent at the top: write `umask` for each service",
            "minfds" | "minprocs" => "no equivalent at the top: `limits: {nofile: ..., nproc: ...}` of a service",
            "logfile" | "logfile_maxbytes" | "logfile_backups" | "loglevel" => {
                "not needed: the daemon's own log goes to its standard error"
            }
            "pidfile" => "not needed: the socket tells whether it runs",
            "childlogdir" => "no equivalent: `logger: {path: ...}` is a folder for the output of all services",
            _ => "no equivalent",
        };
        draft.remark(&option.place, format!("[supervisord] {}: {told}", option.key));
    }
}

struct Program<'a> {
    section: &'a Section,
    source: &'a Source,
    service: Service,
    /// How long it may take to stop, where that is written.
    grace: Option<(Duration, Place)>,
}

impl Program<'_> {
    /// Whether there is a service in it.
    fn read(&mut self, name: &str) -> bool {
        let number = |key: &str| self.section.get(key).and_then(|option| option.value.parse::<i64>().ok());
        let known = Known {
            name: name.to_owned(),
            folder: self.source.folder.display().to_string(),
            first: number("numprocs_start").unwrap_or(FIRST),
            count: number("numprocs").unwrap_or(1),
        };
        let has_command = self.section.get("command").is_some_and(|option| !option.value.is_empty());
        for option in self.section.options.iter().filter(|_| has_command) {
            if let Err(why) = self.option(option, &known) {
                self.service.remark(&option.place, format!("{}: {why}", option.key));
            }
        }
        if self.service.part("restart", "policy") == Some(&Value::word("never")) {
            self.service.set("restart", Value::word("never"));
        }
        has_command
    }

    fn option(&mut self, option: &Setting, known: &Known) -> Result<(), String> {
        let Setting { key, value, place } = option;
        let value = value.as_str();
        match key.as_str() {
            "command" => self.command(option, known)?,
            "directory" => {
                let folder = expand::reference(&expand::pieces(value, known)?);
                self.service.set("workdir", Value::Text(self.source.absolute(&folder)));
                self.tell_numbers(option, known);
            }
            "environment" => {
                let (pairs, wrong) = expand::variables(value, known);
                pairs.into_iter().for_each(|(name, value)| self.service.add("env", &name, variable(value)));
                self.tell_numbers(option, known);
                return wrong.map_or(Ok(()), Err);
            }
            "user" => self.service.set("user", Value::Text(value.to_owned())),
            "umask" => {
                let mask = u32::from_str_radix(value, 8).map_err(|_| not(value, "an octal number"))?;
                self.service.set("umask", Value::Word(format!("\"{mask:03o}\"")));
            }
            "autostart" => {
                if !boolean(value)? {
                    self.service.set("autostart", Value::word(false));
                }
            }
            "autorestart" => match value.to_lowercase().as_str() {
                "unexpected" => {}
                other => self.service.set("restart.policy", Value::word(if boolean(other)? { "always" } else { "never" })),
            },
            "exitcodes" => {
                let codes: Result<Vec<u8>, _> = value.split(',').map(|code| code.trim().parse::<u8>()).collect();
                let codes = codes.map_err(|_| not(value, "a list of exit codes"))?;
                if codes != [0] {
                    self.service.set("success_exit_codes", Value::List(codes.iter().map(Value::word).collect()));
                }
            }
            "startsecs" => match whole(value)? {
                0 => self.service.remark(place, "startsecs=0: there even the shortest run is a good one; here its exit code tells"),
                seconds => self.service.set("restart.reset_after", Value::time(Duration::from_secs(seconds))),
            },
            "startretries" => match whole(value)? {
                0 => {
                    self.service.set("restart.max_retries", Value::word(1));
                    self.service.remark(place, "startretries=0: one retry is the least; `restart: never` makes none");
                }
                retries => self.service.set("restart.max_retries", Value::word(retries)),
            },
            "stopsignal" => {
                let signal: Signal = value.parse().map_err(|_| not(value, "a signal"))?;
                if signal != Signal::TERM {
                    self.service.set("stop.signal", Value::word(signal.to_string().trim_start_matches("SIG")));
                }
            }
            "stopwaitsecs" => {
                let grace = Duration::from_secs(whole(value)?);
                self.service.set("stop.timeout", Value::time(grace));
                self.grace = Some((grace, place.clone()));
            }
            "stopasgroup" => {
                if !boolean(value)? {
                    self.service.set("stop.group", Value::word(false));
                }
            }
            "killasgroup" => {
                if !boolean(value)? {
                    return Err("what does not end in time is always killed with all that it has started".to_owned());
                }
            }
            "numprocs" => match whole(value)? {
                0 | 1 => {}
                count => self.service.set("replicas", Value::word(count)),
            },
            "numprocs_start" => {
                if whole(value)? != 1 && known.count > 1 {
                    return Err("no equivalent; replicas count from 1".to_owned());
                }
            }
            "process_name" => {
                let is_usual = value == "%(program_name)s" || value.contains("%(process_num)");
                if !is_usual {
                    return Err(format!("no equivalent; it is called {}", shown(&known.name)));
                }
                if known.count > 1 {
                    self.service.remark(
                        place,
                        format!("process_name: replicas are called {0}-1 to {0}-{1}; `{0}` means all", known.name, known.count),
                    );
                }
            }
            "priority" => drop(value.parse::<i64>().map_err(|_| not(value, "a number"))?),
            "redirect_stderr" => drop(boolean(value)?), // both always go the same way
            "stdout_logfile" => self.log(option, known)?,
            "stderr_logfile" => {
                let separate = !is_own(value) && self.section.get("stdout_logfile").is_none_or(|out| out.value != value);
                if separate && self.section.get("redirect_stderr").is_none_or(|option| !boolean(&option.value).unwrap_or(false)) {
                    return Err("both streams go to one log; `ppm log --stderr` shows this one alone".to_owned());
                }
            }
            "stdout_logfile_maxbytes" => {
                let bytes = size(value)?;
                if self.has_files() {
                    self.service.set("log.max_file_size", Value::Word(write_size(bytes)));
                }
            }
            "stdout_logfile_backups" => {
                let backups = whole(value)?;
                if self.has_files() {
                    self.service.set("log.max_files", Value::word(backups.saturating_add(1)));
                }
            }
            "stderr_logfile_maxbytes" | "stderr_logfile_backups" => {}
            "stdout_syslog" | "stderr_syslog" => {
                if boolean(value)? {
                    return Err("no equivalent: pipe it to logger(1)".to_owned());
                }
            }
            "stdout_capture_maxbytes" | "stderr_capture_maxbytes" | "stdout_events_enabled" | "stderr_events_enabled" => {
                if !matches!(value.to_lowercase().as_str(), "0" | "false" | "off" | "no") {
                    return Err("no equivalent; `ppm log -f --json` gives lines to programs".to_owned());
                }
            }
            _ => return Err("no equivalent".to_owned()),
        }
        Ok(())
    }

    /// A command is split like a shell does and not expanded, neither there nor here; only what is known later needs a shell.
    fn command(&mut self, option: &Setting, known: &Known) -> Result<(), String> {
        let pieces = match expand::pieces(&option.value, known) {
            Ok(pieces) => pieces,
            Err(why) => {
                self.service.set("command", Value::Text(option.value.replace('\n', " ")));
                return Err(why);
            }
        };
        // Quotes that are not closed are told when the whole is looked at.
        let value = expand::command(&pieces).unwrap_or_else(Value::Text);
        self.service.set("command", value);
        if pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))) {
            self.service.remark(&option.place, "command: nothing is expanded in a command here, so a shell looks up what was %(...)s");
        }
        Ok(())
    }

    /// Where a number of a process has become one that counts otherwise.
    fn tell_numbers(&mut self, option: &Setting, known: &Known) {
        if option.value.contains("%(process_num)") && known.first != 1 {
            let message = format!("{}: PPM_REPLICA counts from 1, %(process_num) from {}", option.key, known.first);
            self.service.remark(&option.place, message);
        }
    }

    fn has_files(&self) -> bool {
        self.section.get("stdout_logfile").is_some_and(|option| !is_own(&option.value))
    }

    fn log(&mut self, option: &Setting, known: &Known) -> Result<(), String> {
        let value = option.value.as_str();
        match value.to_lowercase().as_str() {
            "none" | "off" | "/dev/null" => return Err(NOT_LOST.to_owned()),
            "syslog" => return Err("no equivalent: pipe it to logger(1)".to_owned()),
            _ if is_own(value) => return Ok(()),
            _ => {}
        }
        let path = self.source.absolute(&expand::reference(&expand::pieces(value, known)?));
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        self.service.set("log.path", Value::Text(folder.to_owned()));
        let name = path.rsplit('/').next().unwrap_or_default();
        Err(format!("the files are called {}-DATE.log, not {name}", self.service.name))
    }
}

/// Whether it is where the supervisor itself writes, or nowhere in particular.
fn is_own(value: &str) -> bool {
    OWN_OUTPUT.contains(&value) || matches!(value.to_lowercase().as_str(), "" | "auto" | "none" | "off" | "syslog" | "/dev/null")
}

fn not(value: &str, wanted: &str) -> String {
    format!("{} is not {wanted}; it was left out", shown(value))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(not(value, "true or false")),
    }
}

fn whole(value: &str) -> Result<u64, String> {
    value.parse::<u32>().map(u64::from).map_err(|_| not(value, "a number"))
}

/// A size as supervisord has it: a number, or one with KB, MB or GB, powers of 1024.
fn size(value: &str) -> Result<u64, String> {
    let lower = value.to_lowercase();
    let unit = [("kb", 10), ("mb", 20), ("gb", 30)].into_iter().find_map(|(unit, bits)| Some((lower.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((&lower, 0));
    number.trim().parse::<u32>().map(|number| u64::from(number) << bits).map_err(|_| not(value, "a size"))
}
