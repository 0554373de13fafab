//! Hooks: programs that a service has run beside its main one, at turns of its life.
//!
//! What they are; when they run is decided in `service.rs`, and how each of them ends in `service/work.rs`.

use std::fmt;
use std::time::Duration;

use crate::spec::{InvalidSpec, check_argument, check_program};

/// How long a hook may take that does not say it: long enough for a migration of a small database, short enough that
/// nobody waits for the night.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A turn of a service's life at which a program may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before the main process, which starts only if this succeeds.
    PreStart,
    /// Beside the main process, as soon as that has been executed.
    PostStart,
    /// Beside the main process, as soon as it is ready.
    OnReady,
    /// Before the main process is asked to end.
    PreStop,
    /// Asks the main process to end: the command of `stop`.
    Stop,
    /// When nothing of a run is left, before the next begins.
    PostStop,
    /// When a run has ended badly, or could not begin; the next does not wait for it.
    OnCrash,
    /// When files have changed: the program of `watch`. Nothing waits for it but the next of its kind.
    OnChange,
}

impl Hook {
    /// All of them, in the order of a service's life.
    pub const ALL: [Hook; 8] =
        [Hook::PreStart, Hook::PostStart, Hook::OnReady, Hook::PreStop, Hook::Stop, Hook::PostStop, Hook::OnCrash, Hook::OnChange];

    /// Whether it is a key of `hooks`; the others stand where their turn is configured.
    pub fn is_key(self) -> bool {
        !matches!(self, Hook::Stop | Hook::OnChange)
    }

    /// Whether it is one of a run, whose end waits for it.
    pub fn belongs_to_run(self) -> bool {
        !matches!(self, Hook::OnCrash | Hook::OnChange)
    }

    /// Its key in `hooks`, and PPM_HOOK; that of the command of `stop` is `stop`, that of the program of `watch` is `watch`.
    pub fn name(self) -> &'static str {
        match self {
            Hook::PreStart => "pre_start",
            Hook::PostStart => "post_start",
            Hook::OnReady => "on_ready",
            Hook::PreStop => "pre_stop",
            Hook::Stop => "stop",
            Hook::PostStop => "post_stop",
            Hook::OnCrash => "on_crash",
            Hook::OnChange => "watch",
        }
    }

    /// The hook of this name.
    pub fn named(name: &str) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| hook.name() == name)
    }
}

/// A program and its arguments, as they are; it has the surroundings of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// A path, or a name to be looked up in the service's PATH.
    pub path: String,
    /// Without its own name.
    pub args: Vec<String>,
}

impl Program {
    /// A program from its words.
    ///
    /// # Errors
    /// There is no word, or one that cannot be passed to a program.
    pub fn from_words(words: Vec<String>) -> Result<Program, InvalidSpec> {
        let mut words = words.into_iter();
        let path = words.next().ok_or_else(|| InvalidSpec::new("the command is empty").hint("write a program and its arguments"))?;
        check_program(&path)?;
        let args: Vec<String> = words.collect();
        args.iter().try_for_each(|word| check_argument(word))?;
        Ok(Program { path, args })
    }

    /// Its words, the program first.
    pub fn words(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.path).chain(&self.args)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell_words::join(self.words()))
    }
}

/// A hook of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// What to execute.
    pub program: Program,
    /// How long it may take until it is ended; zero: as long as it takes.
    pub timeout: Duration,
}
