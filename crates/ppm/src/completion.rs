//! What a shell may propose for the word that is being typed: commands, options, and the names of services as they are.
//!
//! The shell's script (`ppm completions SHELL`) calls `ppm` again at each Tab, with `COMPLETE` in the environment and
//! what was typed behind `--`. Nothing but proposals is ever printed then, and nobody waits for a daemon longer than
//! [`PATIENCE`]: whoever presses Tab looks at the prompt.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, ValueEnum, ValueHint};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Zsh};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use ppm_protocol::message::Selection;
use ppm_protocol::{Request, ServiceRow, Signal, socket};

use crate::cli::Cli;
use crate::client::Client;
use crate::show::text::clean;

/// How long the daemon may take to say which services there are: the whole answer is to come within 200 ms.
const PATIENCE: Duration = Duration::from_millis(180);

/// The variable that makes of `ppm` what proposes: its value is the shell.
const VARIABLE: &str = "COMPLETE";

/// The shells whose scripts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Zsh,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Shell::Bash => &Bash,
            Shell::Elvish => &Elvish,
            Shell::Fish => &Fish,
            Shell::Zsh => &Zsh,
        }
    }
}

/// The script that makes `shell` ask `program`, which is `ppm` as it was called.
pub fn script(shell: Shell, program: &OsStr) -> String {
    let mut program = PathBuf::from(program);
    // What was called by a relative path is to be found from other folders too.
    if program.components().count() > 1
        && let Ok(folder) = env::current_dir()
    {
        program = folder.join(program);
    }
    let mut script = Vec::new();
    // Writing into memory does not fail.
    let _ = shell.completer().write_registration(VARIABLE, "ppm", "ppm", &program.to_string_lossy(), &mut script);
    format!("{}\n", String::from_utf8_lossy(&script).trim())
}

/// What to print if it is a shell that asks: its script, or proposals for the words behind `--`.
///
/// Nobody types `ppm -- ...`, so the variable alone changes nothing where a daemon runs with it by chance.
pub fn asked(args: &[OsString]) -> Option<String> {
    let shell = Shell::from_str(env::var_os(VARIABLE)?.to_str()?, false).ok()?;
    match args {
        [program] => Some(script(shell, program)),
        [_, dashes, words @ ..] if dashes == "--" && !words.is_empty() => Some(proposals(shell, words)),
        _ => None,
    }
}

fn proposals(shell: Shell, words: &[OsString]) -> String {
    let at = match env::var("_CLAP_COMPLETE_INDEX") {
        Ok(index) => index.parse().unwrap_or(words.len()),
        Err(_) => words.len() - 1,
    };
    let mut command = definition(&words[..at.min(words.len())], words.get(at).map_or(OsStr::new(""), OsString::as_os_str));
    let mut text = Vec::new();
    let folder = env::current_dir().ok();
    match shell.completer().write_complete(&mut command, words.to_vec(), folder.as_deref(), &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

/// All commands, their arguments told what may stand in their place. `word` is being typed behind the words `before`.
fn definition(before: &[OsString], word: &OsStr) -> Command {
    let mut whole = Cli::command();
    whole.build();
    let wants_option = word.as_encoded_bytes().starts_with(b"-");
    let is_behind_dashes = before.iter().skip(1).any(|word| word == "--");
    let told = |command: &str, arg: Arg| -> Arg {
        let several = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        let arg = match arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str()) {
            Some("SERVICE") => arg.add(services(socket_of(before), own_words(command, several))),
            Some("SIGNAL") => arg.add(ArgValueCandidates::new(signals)),
            Some("ZONE") => arg.add(ArgValueCandidates::new(zones)),
            Some("DIR") => arg.value_hint(ValueHint::DirPath),
            Some("FILE" | "PATH") => arg.value_hint(ValueHint::AnyPath),
            Some("COMMAND") if is_behind_dashes => arg.value_hint(ValueHint::AnyPath),
            Some(_) | None => arg,
        };
        // Who has not typed a dash wants a name first, and an option only where there is nothing else.
        if arg.is_positional() { arg } else { arg.hide(!wants_option) }
    };
    whole.mut_args(|arg| told("", arg)).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|arg| told(&name, arg))
    })
}

/// What is accepted in the place of a service and is none.
fn own_words(command: &str, several: bool) -> &'static [(&'static str, &'static str)] {
    match (command, several) {
        ("log", _) => &[("all", "all services"), ("ppm-daemon", "the daemon's own log")],
        (_, true) => &[("all", "all services")],
        (_, false) => &[],
    }
}

/// The socket that the words ask for. Bash hands `--socket=PATH` over in three words.
fn socket_of(words: &[OsString]) -> Option<PathBuf> {
    words.iter().enumerate().find_map(|(at, word)| match word.to_str()?.strip_prefix("--socket")? {
        "" => words[at + 1..].iter().find(|word| *word != "=").map(PathBuf::from),
        rest => rest.strip_prefix('=').map(PathBuf::from),
    })
}

fn services(socket: Option<PathBuf>, words: &'static [(&'static str, &'static str)]) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let path = socket::path(socket.as_deref(), |name| env::var_os(name), nix::unistd::geteuid().as_raw());
        let services = running(path).unwrap_or_default();
        let named = services.into_iter().map(|service| {
            let state =
                if service.reason.is_empty() { service.status.to_string() } else { format!("{}: {}", service.status, service.reason) };
            CompletionCandidate::new(service.name).help(Some(clean(&state).into_owned().into()))
        });
        let others = words.iter().map(|(word, meaning)| CompletionCandidate::new(*word).help(Some((*meaning).into())));
        named.chain(others).collect()
    })
}

/// The services of the daemon at `path`, unless it needs too long to tell.
///
/// It is asked beside the thread that waits: a connection, an answer in many pieces and a path on a file system that hangs
/// are then bounded by one limit.
fn running(path: PathBuf) -> Option<Vec<ServiceRow>> {
    let (teller, told) = mpsc::channel();
    let ask = move |path: &Path| Client::connect(path, PATIENCE).ok()?.call(&Request::List(Selection::default())).ok();
    thread::Builder::new().spawn(move || teller.send(ask(&path))).ok()?;
    told.recv_timeout(PATIENCE).ok()?
}

fn signals() -> Vec<CompletionCandidate> {
    let all = (1..=31).filter_map(Signal::from_number).map(|signal| signal.to_string());
    all.map(|name| CompletionCandidate::new(name.trim_start_matches("SIG").to_owned()).help(Some(name.into()))).collect()
}

fn zones() -> Vec<CompletionCandidate> {
    ppm_core::zone::all().into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_socket_is_the_one_that_was_typed() {
        for line in ["ppm --socket /x restart", "ppm restart --socket=/x web", "ppm --socket = /x restart"] {
            assert_eq!(socket_of(&words(line)), Some(PathBuf::from("/x")), "{line}");
        }
        for line in ["ppm restart web", "ppm restart --socket", "ppm --sockets /x", "ppm"] {
            assert_eq!(socket_of(&words(line)), None, "{line}");
        }
    }

    #[test]
    fn a_script_calls_the_program_from_any_folder() {
        let here = env::current_dir().unwrap();
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::Zsh] {
            let text = script(shell, OsStr::new("../ppm"));
            assert!(text.contains(&here.join("../ppm").display().to_string()), "{text}");
            let text = script(shell, OsStr::new("ppm"));
            assert!(!text.contains("/ppm"), "{text}");
        }
    }
}
