//! Every key of the configuration: where it stands, what it takes, what it does.
//!
//! The one table of them. The reader knows its keys from here; the schema and the reference are written from it by the
//! tests (`data/config.schema.json`, `docs/configuration.md`). It is all constants: a program that has no use for the
//! descriptions does not contain them. Invariant: every example and every default is read without complaint.

use crate::attributes::Unit;
use crate::config::replicas::MOST_REPLICAS;
use crate::schedule::MAX_EXPRESSIONS;

/// A kind of map.
#[derive(Debug)]
pub struct Table {
    /// What it is called, also in the schema.
    pub name: &'static str,
    /// In the order of the reference.
    pub keys: &'static [Key],
    /// Whether there may be keys that begin with `x-`, which mean nothing.
    pub notes: Notes,
}

/// Whether keys that begin with `x-` are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// They are, and mean nothing.
    Allowed,
    /// They are not.
    Refused,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// Whether there is more to say of it.
    pub stage: Stage,
}

/// How far a key has come.
#[derive(Debug)]
pub enum Stage {
    /// Does what it says.
    Here {
        /// What may follow it.
        kind: Kind,
        /// What holds where it is not written.
        absent: Absent,
        /// One line.
        about: &'static str,
        /// A value, as YAML.
        example: &'static str,
    },
    /// Known, but refused: its behaviour comes later.
    Later,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// It must be written.
    Required,
    /// Exactly one of the keys of its table that are so must be written.
    OneOf,
    /// This value, as YAML.
    Value(&'static str),
    /// In words.
    Otherwise(&'static str),
}

/// What a value can be.
#[derive(Debug)]
pub enum Kind {
    /// Text that is not blank.
    Text,
    /// Any text.
    AnyText,
    /// The name of a service.
    Name,
    /// The name of a group of services.
    Group,
    /// The name of an environment variable.
    Variable,
    /// `true` or `false`.
    Boolean,
    /// `10s`, or a number of seconds.
    Duration,
    /// The same, or `off`.
    OrOff,
    /// `20MiB`, or a number of bytes.
    Size,
    /// `10MiB/s`, or `0`.
    Rate,
    /// A whole number from and to these.
    Whole(u32, u32),
    /// A whole number from and to these, which may be negative.
    Integer(i32, i32),
    /// `10%`.
    Percent,
    /// `TERM`, `SIGTERM` or 15.
    Signal,
    /// `app`, `app:app` or 1000.
    User,
    /// Octal digits, as text.
    Umask,
    /// `1024`, `unlimited` or `1024:4096`.
    Limit(Unit),
    /// When something happens, like crontab(5).
    Cron,
    /// A pattern of names or paths.
    Pattern,
    /// `restart`, or `signal HUP`.
    Reaction,
    /// `auto`, `never` or a duration.
    Polling,
    /// The name of a time zone.
    Zone,
    /// The path of a file; references are expanded.
    File,
    /// An absolute path, as it is.
    Absolute,
    /// A port, `host:port` or `unix:PATH`.
    Place,
    /// `address:port` or `unix:/PATH`.
    Listen,
    /// The URL of a page.
    Url,
    /// The absolute path of a folder; references are expanded.
    Folder,
    /// One of these words.
    Word(&'static [&'static str]),
    /// So many of them, at least and at most.
    List(&'static Kind, usize, usize),
    /// A map of that kind.
    Map(&'static Table),
    /// Variables and their values.
    Env,
    /// Services, and how far each must have come.
    Needs,
    /// A value of one of these kinds.
    Either(&'static [Kind]),
    /// A value of this kind, or nothing, which means an empty one.
    OrNothing(&'static Kind),
}

/// No limit to the length of a list but what a configuration may have.
pub const ANY: usize = usize::MAX;

const fn here(name: &'static str, kind: Kind, absent: Absent, about: &'static str, example: &'static str) -> Key {
    Key { name, stage: Stage::Here { kind, absent, about, example } }
}

use Absent::{OneOf, Otherwise, Required, Value};

const ENV_FILE: Kind = Kind::OrNothing(&Kind::Either(&[Kind::File, Kind::List(&Kind::File, 0, ANY)]));
const ENV: Kind = Kind::OrNothing(&Kind::Env);
const ARGUMENTS: Kind = Kind::List(&Kind::AnyText, 0, ANY);

/// The configuration as a whole.
pub const TOP: Table = Table {
    name: "top",
    notes: Notes::Allowed,
    keys: &[
        here(
            "stats_interval",
            Kind::Duration,
            Value("10s"),
            "Statistics refreshing period: how old a sample may be from which `ppm stats` computes rates.",
            "1m",
        ),
        here(
            "restart_interval",
            Kind::Duration,
            Value("1s"),
            "First delay before a crashed service is started again, for services that do not say their own; it doubles with every crash.",
            "250ms",
        ),
        here(
            "watch_restart_interval",
            Kind::Duration,
            Value("3s"),
            "The least time between two restarts of a service because of changed files: the first comes at once, later changes are gathered. It grows for a service that changes what it watches itself.",
            "10s",
        ),
        here(
            "clock_check_interval",
            Kind::Duration,
            Value("1h"),
            "After this time at the latest a change of the system clock is noticed, also where the kernel does not tell; `0` leaves it to the kernel.",
            "10m",
        ),
        here(
            "shutdown_timeout",
            Kind::Duration,
            Value("9s"),
            "How long the whole shutdown may take; what is left then is killed. Keep it below the patience of whoever stops the container (10s for Docker).",
            "25s",
        ),
        here(
            "timezone",
            Kind::Zone,
            Otherwise("that of `TZ`, else the system's, else UTC"),
            "The time zone in which schedules are read. The zones are built in.",
            "Europe/Paris",
        ),
        here("env", ENV, Value("{}"), "Variables for every service.", "{TZ: Europe/Paris, LOG_FILE: '/var/log/${PPM_SERVICE}.log'}"),
        here(
            "env_file",
            ENV_FILE,
            Value("[]"),
            "Files with variables for every service, read at each start. A path that is not absolute begins at the configuration's folder.",
            ".env",
        ),
        here(
            "services",
            Kind::OrNothing(&Kind::List(&Kind::Map(&SERVICE), 0, crate::spec::MAX_SERVICES)),
            Value("[]"),
            "The services.",
            "[{name: web, command: 'nginx -g \"daemon off;\"'}]",
        ),
        here(
            "logger",
            Kind::Map(&LOGGER),
            Otherwise("none: services write where the daemon writes"),
            "What becomes of the output of services, and how much of it is kept.",
            "{path: /var/log/ppm, max_files: 5}",
        ),
        here(
            "state_dir",
            Kind::Absolute,
            Otherwise("`$XDG_STATE_HOME/ppm`, else `/var/lib/ppm` for root, else `~/.local/state/ppm`"),
            "The folder in which is remembered what `missed: once` needs, and nothing else; it is made when it is needed. Read when the daemon starts.",
            "/var/lib/ppm",
        ),
        here(
            "http",
            Kind::Listen,
            Otherwise("nowhere: no port is open"),
            "Where the daemon answers HTTP, to be read by anybody who can reach it: metrics, health, readiness, the table of services. An address and a port, `:9180` for every address, port 0 for any that is free, or `unix:/PATH`.",
            "127.0.0.1:9180",
        ),
    ],
};

/// A service.
pub const SERVICE: Table = Table {
    name: "service",
    notes: Notes::Allowed,
    keys: &[
        here("name", Kind::Name, Required, "Its name: unique; letters, digits and `.` `_` `-` `@`, not only digits.", "web"),
        here(
            "id",
            Kind::Whole(1, u32::MAX),
            Otherwise("the next free number"),
            "Its number. Written down it stays the same when the daemon starts again.",
            "1",
        ),
        here(
            "command",
            Kind::Either(&[Kind::Text, Kind::List(&Kind::AnyText, 1, ANY), Kind::Map(&COMMAND)]),
            Required,
            "What is executed. A text is split as a shell splits it, but no shell is run and nothing is expanded; a list is taken as it is.",
            "[nginx, -g, \"daemon off;\"]",
        ),
        here(
            "workdir",
            Kind::Folder,
            Otherwise("the daemon's"),
            "The folder to run in, absolute. `${NAME}` is expanded.",
            "/srv/${PPM_SERVICE}",
        ),
        here(
            "env",
            ENV,
            Value("{}"),
            "Its own variables; they win over all others.",
            "{PORT: 8080, PASSWORD: {file: /run/secrets/password}}",
        ),
        here(
            "env_file",
            ENV_FILE,
            Value("[]"),
            "Files with variables, read at each start; later ones win. A path that is not absolute begins at the configuration's folder.",
            "[web.env, /run/secrets/web.env]",
        ),
        here(
            "inherit_env",
            Kind::Either(&[Kind::Boolean, Kind::List(&Kind::Variable, 0, ANY)]),
            Value("true"),
            "What it gets of the daemon's environment: all (but `PPM_SOCKET` and `PPM_CONFIG`), nothing, or the variables with these names.",
            "[HOME, LANG]",
        ),
        here("autostart", Kind::Boolean, Value("true"), "Whether it starts with the daemon or, with a schedule, is planned then.", "false"),
        here(
            "restart",
            Kind::Either(&[WHEN, Kind::Map(&RESTART)]),
            Value("on-failure"),
            "When it is started again by itself. For an essential service `never` holds where it is not written.",
            "{policy: always, max_interval: 1m}",
        ),
        here(
            "success_exit_codes",
            Kind::List(&Kind::Whole(0, 255), 0, ANY),
            Value("[0]"),
            "Exit codes that mean a good end; 0 always does.",
            "[0, 143]",
        ),
        here("stop", Kind::Map(&STOP), Value("{}"), "How it is ended.", "{signal: QUIT, timeout: 20s}"),
        here(
            "schedule",
            Kind::Either(&[Kind::Cron, Kind::Map(&SCHEDULE)]),
            Otherwise("none"),
            "When it starts by the wall clock. It waits for its first time then, also after `ppm add`.",
            "\"*/30 * * * * *\"",
        ),
        here(
            "log",
            Kind::Either(&[Kind::Boolean, Kind::Map(&LOGGER)]),
            Value("true"),
            "What becomes of its output: as `logger` says, `false` for writing where the daemon writes, or keys of `logger` for this service.",
            "{max_files: 5}",
        ),
        here(
            "essential",
            Kind::Boolean,
            Value("false"),
            "Whether the daemon ends with it, and with its exit code (128 + n for signal n), when it has ended and nothing starts it again. An end that was asked for (`stop`, `rm`) does not count.",
            "true",
        ),
        here(
            "groups",
            Kind::OrNothing(&Kind::List(&Kind::Group, 0, ANY)),
            Value("[]"),
            "Groups that it belongs to, to be addressed together as `@frontend`.",
            "[frontend]",
        ),
        here(
            "user",
            Kind::User,
            Otherwise("the daemon's"),
            "The user to run as, by name or number, with or without a group; a group that is given is the only one. Needs a daemon that is root.",
            "app:app",
        ),
        here(
            "umask",
            Kind::Umask,
            Otherwise("the daemon's"),
            "The permissions that files do not get which it makes, in quotes as octal digits.",
            "\"027\"",
        ),
        here(
            "depends_on",
            Kind::OrNothing(&Kind::Either(&[Kind::Name, Kind::List(&Kind::Name, 0, ANY), Kind::Needs])),
            Value("[]"),
            "The services that must be there before it starts, whatever it starts for, and that end only after it: a list, or a map that says how far each must have come. `started`: it runs, or has run to a good end; `ready`; `finished`: it has run to a good end.",
            "{db: ready, migrate: finished}",
        ),
        here(
            "on_dependency_restart",
            Kind::Word(&["keep", "restart"]),
            Value("keep"),
            "What becomes of it when one of these services was started anew while it ran: it goes on, or is restarted too.",
            "restart",
        ),
        here(
            "ready",
            Kind::Either(&[Kind::Word(&["notify"]), Kind::Map(&READY)]),
            Otherwise("it is ready as soon as it runs"),
            "When it is ready, so that what depends on it may start.",
            "{tcp: 8080}",
        ),
        here(
            "health",
            Kind::Either(&[Kind::Word(&["notify"]), Kind::Map(&HEALTH)]),
            Otherwise("it is well as long as it runs"),
            "Whether it is still well once it is ready; if it is not, it is ended, and started again as `restart` says.",
            "{http: \"http://127.0.0.1:8080/health\"}",
        ),
        here(
            "watch",
            Kind::Either(&[Kind::File, Kind::List(&Kind::File, 1, ANY), Kind::Map(&WATCH)]),
            Otherwise("nothing"),
            "Files and folders: when one changes, the service is restarted. A path that is not absolute begins at `workdir`, else at the configuration's folder.",
            "[src, /etc/app/config.yml]",
        ),
        here(
            "max_memory",
            Kind::Size,
            Otherwise("any"),
            "How much memory all its processes together may use. It is looked at every two seconds; at 90 % a warning is written, above it the service is restarted.",
            "512MiB",
        ),
        here("limits", Kind::Map(&LIMITS), Value("{}"), "What it may use, as setrlimit(2) limits it.", "{nofile: 65536, core: 0}"),
        here(
            "nice",
            Kind::Integer(-20, 19),
            Otherwise("the daemon's"),
            "Its place behind others for the processor: 19 is the last, below 0 needs rights.",
            "10",
        ),
        here(
            "oom_score_adj",
            Kind::Integer(-1000, 1000),
            Otherwise("the daemon's + 100"),
            "How readily the kernel kills it when memory is short: 1000 is first of all, -1000 never; less than the daemon's needs rights.",
            "500",
        ),
        here(
            "no_new_privs",
            Kind::Boolean,
            Value("false"),
            "Whether nothing that it executes may give it rights that it lacks: `setuid` programs and files with capabilities then run with its own rights.",
            "true",
        ),
        here(
            "hooks",
            Kind::Map(&HOOKS),
            Value("{}"),
            "Programs that are run at turns of its life, with its user, variables, folder and limits.",
            "{pre_start: [./migrate, --wait], on_crash: {command: ./tell-somebody, timeout: 10s}}",
        ),
        here(
            "replicas",
            Kind::Whole(1, MOST_REPLICAS),
            Otherwise("it is one, under its own name"),
            "So many services alike, `web-1`, `web-2` and so on, each with its number in `PPM_REPLICA`; `web` means all of them. An `id` is that of the first.",
            "3",
        ),
    ],
};

/// `command` as a map.
pub const COMMAND: Table = Table {
    name: "command",
    notes: Notes::Refused,
    keys: &[
        here("path", Kind::Text, Required, "The program: a path, or a name that is looked up in the service's `PATH`.", "/bin/sh"),
        here("args", Kind::OrNothing(&ARGUMENTS), Value("[]"), "Its arguments.", "[-c, 'exec sleep 10']"),
        here("workdir", Kind::Folder, Otherwise("the daemon's"), "As `workdir` of the service, which wins.", "/app"),
        here("env", ENV, Value("{}"), "As `env` of the service, whose variables win.", "{MY_VAR: value}"),
    ],
};

const WHEN: Kind = Kind::Word(&["never", "on-failure", "always"]);

/// `restart` as a map.
pub const RESTART: Table = Table {
    name: "restart",
    notes: Notes::Refused,
    keys: &[
        here("policy", WHEN, Value("on-failure"), "After which ends: none, bad ones, or all.", "always"),
        here(
            "interval",
            Kind::Duration,
            Otherwise("`restart_interval`"),
            "The first delay; it doubles with every crash in a row. `0s`: at once, always.",
            "500ms",
        ),
        here("max_interval", Kind::Duration, Value("5m"), "The longest delay.", "1m"),
        here("jitter", Kind::Percent, Value("0%"), "By how much chance may lengthen a delay.", "10%"),
        here("max_retries", Kind::Whole(0, u32::MAX), Value("0"), "Give up when so many restarts in a row have crashed; `0`: never.", "10"),
        here("reset_after", Kind::Duration, Value("1m"), "A run longer than this makes earlier crashes forgotten.", "10m"),
    ],
};

/// `stop`.
pub const STOP: Table = Table {
    name: "stop",
    notes: Notes::Refused,
    keys: &[
        here("signal", Kind::Signal, Value("TERM"), "The signal that asks it to end: `TERM`, `SIGTERM` or 15.", "QUIT"),
        here("timeout", Kind::Duration, Value("5s"), "How long after the signal it is killed.", "20s"),
        here("group", Kind::Boolean, Value("true"), "Whether the signal goes to all its processes, or to the main one alone.", "false"),
        here(
            "command",
            PROGRAM,
            Otherwise("none: the signal"),
            "A program that ends it, run like a hook; `PPM_PID` is its main process. When it has ended, however, the signal follows for whatever is left; SIGKILL comes `timeout` after its beginning.",
            "[rabbitmqctl, shutdown]",
        ),
    ],
};

const PROGRAM: Kind = Kind::Either(&[Kind::Text, Kind::List(&Kind::AnyText, 1, ANY)]);

const fn hook(name: &'static str, about: &'static str, example: &'static str) -> Key {
    here(name, Kind::Either(&[Kind::Text, Kind::List(&Kind::AnyText, 1, ANY), Kind::Map(&HOOK)]), Otherwise("none"), about, example)
}

/// `hooks`.
pub const HOOKS: Table = Table {
    name: "hooks",
    notes: Notes::Refused,
    keys: &[
        hook(
            "pre_start",
            "Before each start; if it fails, the start has failed, which counts as a crash.",
            "{command: ./migrate, timeout: 5m}",
        ),
        hook("post_start", "As soon as the program has been executed; beside it.", "./announce"),
        hook("on_ready", "As soon as the service is ready; beside it.", "./register"),
        hook("pre_stop", "Before it is asked to end, whoever asks; its main process runs meanwhile.", "./deregister"),
        hook(
            "post_stop",
            "When nothing of a run is left, also of one that could not begin; the next start waits for it.",
            "[rm, -f, /run/web.sock]",
        ),
        hook(
            "on_crash",
            "When a run has ended badly or could not begin. Nothing waits for it.",
            "{command: ./tell-somebody, timeout: 10s}",
        ),
    ],
};

/// A hook as a map.
pub const HOOK: Table = Table {
    name: "hook",
    notes: Notes::Refused,
    keys: &[
        here(
            "command",
            PROGRAM,
            Required,
            "What is executed. A text is split as a shell splits it, but no shell is run and nothing is expanded; a list is taken as it is.",
            "[./migrate, --wait]",
        ),
        here(
            "timeout",
            Kind::Duration,
            Value("30s"),
            "How long it may take: then it is ended, by SIGTERM and 5s later SIGKILL, and has failed. `0s`: as long as it takes.",
            "5m",
        ),
    ],
};

/// `watch` as a map.
pub const WATCH: Table = Table {
    name: "watch",
    notes: Notes::Refused,
    keys: &[
        here(
            "paths",
            Kind::Either(&[Kind::File, Kind::List(&Kind::File, 1, ANY)]),
            Required,
            "What is watched: files, and folders with all that lies in them. What is not there yet is waited for. `${NAME}` is expanded.",
            "[src, /etc/app/config.yml]",
        ),
        here("include", PATTERNS, Value("[]"), "[Patterns](#patterns) of what is watched although it is excluded.", "['*.log']"),
        here("only", PATTERNS, Value("[]"), "Patterns of the only files that are watched.", "['*.rs', '*.toml']"),
        here(
            "exclude",
            PATTERNS,
            Value("[]"),
            "Patterns of what is not watched; an excluded folder is not looked into.",
            "['gen/**', '*_test.go']",
        ),
        here(
            "default_excludes",
            Kind::Boolean,
            Value("true"),
            "Whether these are excluded: hidden names; the folders `node_modules`, `__pycache__`, `target*`, `build*`; the files `*.o`, `*.pyo`, `*.pyc`, `*~`, `*.sw?`, `4913`, `#*#`, `*.log`, `*.tmp`.",
            "false",
        ),
        here("max_depth", Kind::Whole(1, 1000), Value("64"), "How many folders deep; `1` is what lies in the folder itself.", "2"),
        here(
            "compare",
            Kind::Word(&["auto", "content", "mtime"]),
            Value("auto"),
            "What makes a file a changed one: its content (of files up to 256 KiB), or that it was written. `auto` is by content up to 2000 files.",
            "mtime",
        ),
        here(
            "settle",
            Kind::Duration,
            Value("100ms"),
            "How long nothing more must change before it is looked what has; what changes without end is looked at after a second.",
            "1s",
        ),
        here(
            "poll",
            Kind::Polling,
            Value("auto"),
            "Whether it is looked without being told that there is something to see: `auto`, every 2s where the system does not tell (network file systems, folders of the host, no watches left); a duration of 10ms or more; or `never`.",
            "1s",
        ),
        here("initial_delay", Kind::Duration, Value("0s"), "Changes are ignored for so long after each start.", "5s"),
        here(
            "action",
            Kind::Either(&[Kind::Reaction, Kind::Map(&ACTION)]),
            Value("restart"),
            "What follows: a restart, a signal to the main process, or a program that is run. A service that has ended is started in any case.",
            "signal HUP",
        ),
        here(
            "gitignore",
            Kind::Boolean,
            Value("false"),
            "Whether what `.gitignore` files leave out is left out here too: those in the folder and above it, up to the one of the repository, and its `.git/info/exclude`.",
            "true",
        ),
    ],
};

const PATTERNS: Kind = Kind::OrNothing(&Kind::Either(&[Kind::Pattern, Kind::List(&Kind::Pattern, 0, ANY)]));

/// `watch.action` as a map.
pub const ACTION: Table = Table {
    name: "action",
    notes: Notes::Refused,
    keys: &[
        here("signal", Kind::Signal, OneOf, "The signal for the main process.", "HUP"),
        here(
            "exec",
            Kind::Either(&[Kind::Text, Kind::List(&Kind::AnyText, 1, ANY), Kind::Map(&HOOK)]),
            OneOf,
            "This program is run beside the service, in its surroundings, like a hook: with PPM_HOOK=watch, and the paths of the files in PPM_WATCH_CHANGED. Never twice at a time: what changes while it is at work has it run once more.",
            "{command: [./compile, --all], timeout: 5m}",
        ),
    ],
};

const TCP: Key =
    here("tcp", Kind::Place, OneOf, "It takes a connection: a port of this machine, `host:port` or `unix:PATH`. Nothing is sent.", "8080");
const HTTP: Key = here(
    "http",
    Kind::Either(&[Kind::Url, Kind::Map(&PAGE)]),
    OneOf,
    "A page answers with a status from 200 to 399; a redirect is an answer like any other.",
    "\"http://127.0.0.1:8080/health\"",
);
const COMMAND_CHECK: Key = here(
    "command",
    Kind::Either(&[Kind::Text, Kind::List(&Kind::AnyText, 1, ANY)]),
    OneOf,
    "A program ends with 0. It runs as the service does: user, folder, variables, limits; when its time is up it is killed, with all it has started.",
    "pg_isready",
);
const FILE_CHECK: Key = here(
    "file",
    Kind::Absolute,
    OneOf,
    "A file, or anything else of this name, was made or changed since the service was started.",
    "/run/app/ready",
);

const LISTEN: Key = here(
    "listen",
    Kind::Whole(1, 65535),
    OneOf,
    "It listens on this TCP port itself, or what it has started does: another process that holds the port instead is named.",
    "8080",
);

/// `ready` as a map.
pub const READY: Table = Table {
    name: "ready",
    notes: Notes::Refused,
    keys: &[
        TCP,
        HTTP,
        COMMAND_CHECK,
        FILE_CHECK,
        here(
            "notify",
            Kind::Either(&[Kind::Boolean, Kind::Whole(3, 255)]),
            OneOf,
            "It says so itself: `true` for `READY=1` to the socket in `NOTIFY_SOCKET`, as sd_notify(3) does; a number for a line to that descriptor. `ready: notify` is short for `{notify: true}`.",
            "true",
        ),
        here(
            "log",
            Kind::Text,
            OneOf,
            "It has written a line with this text in it, to its output or error output: `*` is any run of characters, `?` any one. Its output must be captured, by `logger` or `log`.",
            "'listening on *:8080'",
        ),
        LISTEN,
        here(
            "interval",
            Kind::Duration,
            Value("1s"),
            "How long after an attempt that failed the next is made, at the most: the first follow sooner, after 50ms, 100ms and so on.",
            "5s",
        ),
        here(
            "timeout",
            Kind::Duration,
            Value("0s"),
            "How long it may take to become ready: then it is ended, which counts as a crash. `0s`: as long as it takes. One attempt takes 2s at the most.",
            "1m",
        ),
        here("start_period", Kind::Duration, Value("30s"), "How long it may take before it is told that it is not ready.", "2m"),
    ],
};

/// `health` as a map.
pub const HEALTH: Table = Table {
    name: "health",
    notes: Notes::Refused,
    keys: &[
        TCP,
        HTTP,
        COMMAND_CHECK,
        FILE_CHECK,
        here(
            "notify",
            Kind::Boolean,
            OneOf,
            "It says so itself: `WATCHDOG=1` to the socket in `NOTIFY_SOCKET`, as sd_watchdog_enabled(3) wants it; when it is silent for longer than `timeout`, it hangs. `health: notify` is short for `{notify: true}`.",
            "true",
        ),
        LISTEN,
        here("interval", Kind::Duration, Value("10s"), "How long after an attempt the next is made.", "30s"),
        here(
            "timeout",
            Kind::Duration,
            Value("2s"),
            "How long one attempt may take; longer is a failure. With `notify`, where it is `30s` by default: how long it may be silent.",
            "5s",
        ),
        here("retries", Kind::Whole(1, u32::MAX), Value("3"), "After so many failures in a row it is ended.", "1"),
        here(
            "start_period",
            Kind::Duration,
            Value("0s"),
            "How long after its start failures do not count, unless an attempt has succeeded.",
            "1m",
        ),
    ],
};

/// `http` of a probe as a map.
pub const PAGE: Table = Table {
    name: "page",
    notes: Notes::Refused,
    keys: &[
        here("url", Kind::Url, Required, "The page.", "\"http://127.0.0.1:8080/health\""),
        here("status", Kind::Whole(100, 999), Otherwise("any from 200 to 399"), "The status that it must answer with.", "204"),
        here("body", Kind::Text, Otherwise("any"), "A text that must be in the first 64 KiB of the answer.", "'\"status\":\"UP\"'"),
    ],
};

const fn limit(name: &'static str, unit: Unit, about: &'static str, example: &'static str) -> Key {
    here(name, Kind::Limit(unit), Otherwise("the daemon's"), about, example)
}

/// `limits`.
pub const LIMITS: Table = Table {
    name: "limits",
    notes: Notes::Refused,
    keys: &[
        limit("as", Unit::Bytes, "The size of its memory as addresses.", "4GiB"),
        limit("core", Unit::Bytes, "The size of a core file; `0` for none.", "0"),
        limit("cpu", Unit::Pieces, "Seconds of the processor's time, then SIGXCPU.", "3600"),
        limit("data", Unit::Bytes, "The size of its data.", "1GiB"),
        limit("fsize", Unit::Bytes, "The size of a file that it writes.", "1GiB"),
        limit("locks", Unit::Pieces, "Means nothing to today's kernels.", "1024"),
        limit("memlock", Unit::Bytes, "The size of memory that is kept from being swapped out.", "64MiB"),
        limit("msgqueue", Unit::Bytes, "The size of POSIX message queues of its user.", "819200"),
        limit("nice", Unit::Pieces, "20 less the lowest niceness that it may give itself.", "20"),
        limit("nofile", Unit::Pieces, "Open files.", "\"1024:65536\""),
        limit("nproc", Unit::Pieces, "Processes and threads of its user; not for root.", "512"),
        limit("rss", Unit::Bytes, "Means nothing to today's kernels.", "1GiB"),
        limit("rtprio", Unit::Pieces, "The highest real-time priority.", "10"),
        limit("rttime", Unit::Pieces, "Microseconds on the processor without waiting, under real-time scheduling.", "200000"),
        limit("sigpending", Unit::Pieces, "Signals of its user that wait.", "1024"),
        limit("stack", Unit::Bytes, "The size of its stack.", "\"8MiB:unlimited\""),
    ],
};

/// `schedule` as a map.
pub const SCHEDULE: Table = Table {
    name: "schedule",
    notes: Notes::Refused,
    keys: &[
        here(
            "cron",
            Kind::Either(&[Kind::Cron, Kind::List(&Kind::Cron, 1, MAX_EXPRESSIONS)]),
            Required,
            "Minute, hour, day, month, weekday, as in crontab(5); a sixth field in front is the second. Or `@daily` and the like, `@every 90s`, `@reboot`. Of several, each counts.",
            "\"0 3 * * *\"",
        ),
        here(
            "timezone",
            Kind::Zone,
            Otherwise("`timezone` of the top"),
            "The time zone in which the expressions are read.",
            "Europe/Paris",
        ),
        here(
            "overlap",
            Kind::Word(&["restart", "skip", "queue"]),
            Value("restart"),
            "When a run is due while the one before lasts: end that one first, leave this one out, or let it wait (one at most). Never two at a time.",
            "skip",
        ),
        here(
            "missed",
            Kind::Word(&["auto", "skip", "once"]),
            Value("auto"),
            "What becomes of a run that comes too late: `auto` makes up for it once if it names its time of day and is not more than 3h late, `skip` leaves it out, `once` makes up for it however late, also where the daemon was not there at its time.",
            "skip",
        ),
        here("deadline", Kind::OrOff, Value("off"), "A run that would begin later than this is missed; `off`: later than a minute.", "10m"),
        here("jitter", Kind::Duration, Value("0s"), "By how much chance may delay a run; never into the next one.", "30s"),
        here(
            "timeout",
            Kind::Duration,
            Value("0s"),
            "How long a run may last: then it is stopped as `stop` says, and counts as a crash. `0s`: as long as it takes.",
            "20m",
        ),
        here(
            "retry",
            Kind::Word(&["policy", "never"]),
            Value("policy"),
            "Whether a run that crashes is repeated before the next one: as `restart` says, or not at all.",
            "never",
        ),
        here(
            "on_start",
            Kind::Boolean,
            Value("false"),
            "Whether it runs also when the daemon starts, or when the service is added.",
            "true",
        ),
        here("history", Kind::Whole(0, crate::runs::MOST), Value("10"), "How many runs `ppm runs` remembers.", "50"),
    ],
};

/// `logger`, and `log` of a service as a map.
pub const LOGGER: Table = Table {
    name: "logger",
    notes: Notes::Refused,
    keys: &[
        here(
            "path",
            Kind::Folder,
            Otherwise("none"),
            "The folder of the log files, absolute; it is made where it is missing. `${NAME}` is expanded.",
            "/var/log/ppm",
        ),
        here(
            "max_files",
            Kind::Whole(1, u32::MAX),
            Otherwise("`3`"),
            "How many files of a service are kept, the active one included.",
            "10",
        ),
        here(
            "max_file_size",
            Kind::Size,
            Otherwise("`20MiB`"),
            "How large a file grows before the next is begun; it is cut only at the end of a line. `0`: any size.",
            "1MiB",
        ),
        here(
            "max_total_size",
            Kind::Size,
            Otherwise("`200MiB`"),
            "How much all files of the folder may take together; the oldest go first. `0`: any.",
            "2GiB",
        ),
        here("max_age", Kind::Duration, Otherwise("`0s`"), "Files that were last written to longer ago than this go; `0s`: never.", "30d"),
        here(
            "memory",
            Kind::Size,
            Otherwise("`0`"),
            "How much of the last output of each service is kept in memory, from 4KiB to 64MiB, for `ppm log` without files or beside them; it is gone with the daemon. `0`: nothing.",
            "64KiB",
        ),
        here("console", Kind::Boolean, Otherwise("`false`"), "Whether output is also copied to the daemon's standard output.", "true"),
        here(
            "prefix",
            Kind::Boolean,
            Otherwise("`true`"),
            "There: whether each line begins with the name of the service: `web | line`.",
            "false",
        ),
        here(
            "format",
            Kind::Word(&["text", "json"]),
            Otherwise("`text`"),
            "There: lines as they are, or an object for each: `{\"time\", \"service\", \"id\", \"stream\", \"message\"}`.",
            "json",
        ),
        here("timestamps", Kind::Boolean, Otherwise("`false`"), "There: whether each line of text has its time in front.", "true"),
        here(
            "rate_limit",
            Kind::Rate,
            Otherwise("`0`"),
            "How much of the output of each service is let through in a second; what is over is dropped, and a line tells how much. `0`: any.",
            "10MiB/s",
        ),
    ],
};

/// The value of a variable that stands in a file.
pub const FILE: Table = Table {
    name: "file",
    notes: Notes::Refused,
    keys: &[here(
        "file",
        Kind::File,
        Required,
        "The value is the content of this file, without its last end of line. It is read at each start and never shown.",
        "/run/secrets/password",
    )],
};

/// What the reader needs of a key.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub name: &'static str,
    /// Whether it is read, or refused for now.
    pub is_read: bool,
}

const fn known<const N: usize>(table: &Table) -> [Known; N] {
    let mut known = [Known { name: "", is_read: false }; N];
    let mut at = 0;
    while at < N {
        known[at] = Known { name: table.keys[at].name, is_read: matches!(table.keys[at].stage, Stage::Here { .. }) };
        at += 1;
    }
    known
}

pub(super) static TOP_KEYS: [Known; TOP.keys.len()] = known(&TOP);
pub(super) static SERVICE_KEYS: [Known; SERVICE.keys.len()] = known(&SERVICE);
pub(super) static COMMAND_KEYS: [Known; COMMAND.keys.len()] = known(&COMMAND);
pub(super) static RESTART_KEYS: [Known; RESTART.keys.len()] = known(&RESTART);
pub(super) static READY_KEYS: [Known; READY.keys.len()] = known(&READY);
pub(super) static HEALTH_KEYS: [Known; HEALTH.keys.len()] = known(&HEALTH);
pub(super) static PAGE_KEYS: [Known; PAGE.keys.len()] = known(&PAGE);
pub(super) static STOP_KEYS: [Known; STOP.keys.len()] = known(&STOP);
pub(super) static HOOKS_KEYS: [Known; HOOKS.keys.len()] = known(&HOOKS);
pub(super) static HOOK_KEYS: [Known; HOOK.keys.len()] = known(&HOOK);
pub(super) static LIMITS_KEYS: [Known; LIMITS.keys.len()] = known(&LIMITS);
pub(super) static SCHEDULE_KEYS: [Known; SCHEDULE.keys.len()] = known(&SCHEDULE);
pub(super) static WATCH_KEYS: [Known; WATCH.keys.len()] = known(&WATCH);
pub(super) static ACTION_KEYS: [Known; ACTION.keys.len()] = known(&ACTION);
pub(super) static LOGGER_KEYS: [Known; LOGGER.keys.len()] = known(&LOGGER);
pub(super) static FILE_KEYS: [Known; FILE.keys.len()] = known(&FILE);
