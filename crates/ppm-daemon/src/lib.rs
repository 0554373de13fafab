//! The supervisor's daemon: performs what ppm-core decides, and decides nothing.
//!
//! [`run`] is all there is: it reads the configuration, makes the socket, and turns the loop until the core asks to
//! leave. `ppm daemon` and the small binary `ppm-daemon` both call it.

mod census;
mod cgroup;
mod children;
mod clock;
mod control;
mod driver;
mod expenses;
mod files;
mod groups;
mod host;
mod http;
mod limits;
mod loader;
mod log;
mod logs;
mod memory;
mod notifier;
mod oom;
mod prober;
mod reap;
mod sampler;
mod shell;
mod spawn;
mod watcher;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::tz::TimeZone;
use nix::unistd::Uid;
use ppm_core::config::Config;
use ppm_core::event::{NoListener, Pid, Planned};
use ppm_core::reload::NoConfig;
use ppm_core::schedule::Missed;
use ppm_core::spec::{InvalidSpec, ServiceSpec};
use ppm_core::supervisor::{Boot, Main, Supervisor};
use ppm_core::time::brief;
use ppm_core::zone;
use ppm_protocol::socket;
use tokio::sync::mpsc;
use tracing::Level;

use crate::control::Clients;
use crate::driver::{Driver, Signals};
use crate::host::{OpenFiles, Terminal};
use crate::loader::Loader;
use crate::memory::Memory;
use crate::shell::Hands;
use crate::spawn::{Spawner, in_words};
use crate::watcher::Watcher;

/// The configuration is wrong (sysexits.h: EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// The command line is wrong.
const EXIT_USAGE: u8 = 2;

/// The socket cannot be made (sysexits.h: EX_CANTCREAT).
const EXIT_SOCKET: u8 = 73;

/// How many requests may wait for the loop; their senders wait then, not the loop.
const INBOX: usize = 64;

/// What the daemon is asked for on its command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file; None: `PPM_CONFIG`, else the first that exists of the usual places.
    pub config: Option<PathBuf>,
    /// The control socket; None: `PPM_SOCKET`, else the usual place.
    pub socket: Option<PathBuf>,
    /// A program and its arguments, to become the service `main`; empty: none.
    pub command: Vec<OsString>,
}

/// Virtual, as large as a main thread's: what is not touched costs nothing.
const STACK: usize = 8 * 1024 * 1024;

/// Runs the daemon in the foreground until it is asked to end. Must be called from the main thread of a process
/// that has no other.
///
/// The loop has a thread of its own, and the main thread only waits for its end: the kernel keeps a list of children for
/// each thread, and gives orphans to the main one. So that list holds nobody but orphans, and a look at it costs nothing
/// however many services run. Without a second thread all is on one list, which is right too.
pub fn run(options: &Options) -> ExitCode {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("loop".to_owned()).stack_size(STACK);
        match thread.spawn_scoped(scope, || serve_and_tell(options)) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => serve_and_tell(options),
        }
    })
}

fn serve_and_tell(options: &Options) -> ExitCode {
    match serve(options) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { message, code }) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

/// Why the daemon did not come to run, in words.
struct Failure {
    message: String,
    code: u8,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure { message: format!("error: the daemon cannot run: {}", in_words(&error)), code: 1 }
    }
}

fn too_few_files(message: String) -> Failure {
    let hint = "raise the limit with `ulimit -n 1024`, or `docker run --ulimit nofile=1024`";
    Failure { message: format!("error: {message}\n  hint: {hint}"), code: 1 }
}

fn serve(options: &Options) -> Result<u8, Failure> {
    let open_files = OpenFiles::raise()?;
    open_files.check().map_err(too_few_files)?;
    host::prepare()?;
    let loader = Loader::new(options.config.as_deref());
    let main = main_of(options, &loader);
    let terminal = if main.is_some() { Terminal::offer()? } else { Terminal::None };
    // Alone with a command it is not to be noticed, as little as the program that it stands in for.
    let quiet = if main == Some(Main::Alone) { Level::ERROR } else { Level::INFO };
    let past = log::start(|name| std::env::var(name).ok(), quiet);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything that may take its time: process 1 never hears what it does not handle, others die of it (R30).
    let mut signals = runtime.block_on(async { Signals::register(host::signals_heard(main)) })?;
    let reading = runtime.block_on(async {
        tokio::select! {
            biased; // who asks for the end of a daemon that has come so far gets an orderly one
            config = loader.read_aside() => Some(config),
            () = signals.end() => None,
        }
    });
    let Some(config) = reading else { return Ok(0) };
    let mut config = config.map_err(wrong_config)?;
    if main.is_some() {
        config.add_main(&words(&options.command)?).map_err(wrong_command)?;
    }
    let path = socket::path(options.socket.as_deref(), |name| std::env::var_os(name), Uid::effective().as_raw());
    let (listener, address) = control::bind(&path)
        .map_err(|error| Failure { message: format!("error: {}\n  hint: {}", error.message, error.hint), code: EXIT_SOCKET })?;
    let http = config.settings.http.as_ref().map(http::Listener::bind).transpose().map_err(no_listener)?;
    runtime.block_on(async {
        let (sender, inbox) = mpsc::channel(INBOX);
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let source = loader.name();
        let spawner = Spawner::new(std::env::vars_os(), open_files.given, terminal)?;
        let clients = Clients::new(sender.clone(), open_files.own);
        let at_once = clients.at_once();
        let folder = memory::folder(config.settings.state_dir.as_deref(), |name| std::env::var_os(name), Uid::effective().as_raw());
        let remembered = recall(&config, folder.as_deref());
        let memory = Memory::new(folder, remembered.clone(), sender.clone());
        let watcher = Watcher::new(watcher::own_files(&path), sender.clone());
        let mut server = http::Server::new(sender.clone(), open_files.own);
        let http_at = http.as_ref().map_or(String::new(), |listener| format!(", http {}", listener.at()));
        if let Some(listener) = http {
            server.open(listener)?;
        }
        let hands = Hands::new(spawner, loader, clients, past, memory, watcher, server);
        tokio::spawn(control::listen(listener, at_once, sender));
        tracing::info!(
            "{}, pid {}, {source}: {} services, socket {}{http_at}",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            config.services.len(),
            path.display()
        );
        if let Some(limits) = limits::in_words() {
            let patience = brief(config.settings.shutdown_timeout);
            tracing::info!("the container has {limits}; a shutdown takes at most {patience}");
        }
        let supervisor = Supervisor::new(boot(config, main, remembered), clock::now());
        host::trim_memory();
        let code = Driver::new(supervisor, hands, signals, inbox).run().await;
        terminal.take_back();
        drop(address); // before the connections close: who sees that may start the next daemon
        Ok(code)
    })
}

/// What is remembered of the services that ask for it; a file is looked for only if one does.
fn recall(config: &Config, folder: Option<&Path>) -> BTreeMap<String, Planned> {
    let asks = |spec: &ServiceSpec| spec.schedule.as_ref().is_some_and(|schedule| schedule.options.missed == Missed::Once);
    let asking: Vec<&str> = config.services.iter().filter(|spec| asks(spec)).map(|spec| spec.name.as_str()).collect();
    let Some(folder) = folder.filter(|_| !asking.is_empty()) else { return BTreeMap::new() };
    let mut remembered = memory::read(folder).unwrap_or_else(|why| {
        tracing::warn!("what was missed is not known: {why}");
        BTreeMap::new()
    });
    remembered.retain(|name, _| asking.contains(&name.as_str()));
    remembered
}

fn boot(config: Config, main: Option<Main>, remembered: BTreeMap<String, Planned>) -> Boot {
    let now = clock::now();
    Boot {
        config,
        zone: zone(),
        remembered,
        seed: now.mono.0 ^ now.wall.0.cast_unsigned(),
        pid: Pid(nix::unistd::getpid().as_raw()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        main,
    }
}

/// What the daemon is for the command that it was given.
fn main_of(options: &Options, loader: &Loader) -> Option<Main> {
    let main = if loader.has_file() { Main::AmongOthers } else { Main::Alone };
    (!options.command.is_empty()).then_some(main)
}

fn words(command: &[OsString]) -> Result<Vec<String>, Failure> {
    let word = |word: &OsString| {
        let shown = word.as_encoded_bytes().escape_ascii();
        let message = || format!("error: the argument `{shown}` is not UTF-8\n  hint: pass it in the environment, or in a file");
        word.to_str().map(str::to_owned).ok_or_else(|| Failure { message: message(), code: EXIT_USAGE })
    };
    command.iter().map(word).collect()
}

fn wrong_command(why: InvalidSpec) -> Failure {
    let hint = why.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    Failure { message: format!("error: {why}{hint}"), code: EXIT_CONFIG }
}

fn no_listener(why: NoListener) -> Failure {
    Failure { message: format!("error: {}\n  hint: {}", why.message, why.hint), code: EXIT_SOCKET }
}

fn wrong_config(why: NoConfig) -> Failure {
    let message = match why {
        NoConfig::Unreadable(why) => format!("error: {why}\n  hint: name a file that can be read with --config or PPM_CONFIG"),
        NoConfig::Wrong(problems) => problems.to_string(),
    };
    Failure { message, code: EXIT_CONFIG }
}

/// The zone of `TZ`, else the system's; UTC where there is none. A name that the system's database lacks may be built in: Debian 13 has
/// older ones (`US/Eastern`) in a package of their own. A misspelt one is told, not guessed.
fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or_else(|error| {
        let name = std::env::var("TZ").unwrap_or_default();
        let built_in = zone::find(name.strip_prefix(':').unwrap_or(&name));
        if built_in.is_none() && !name.is_empty() {
            tracing::warn!("schedules follow UTC: {error}");
        }
        built_in.unwrap_or(TimeZone::UTC)
    })
}
