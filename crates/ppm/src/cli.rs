//! What was typed: commands, options and their help.
//!
//! These types are read from arguments and never serialized; [`crate::request`] says what they mean. The texts
//! here are what users read in `--help`, so they are snapshot-tested.

mod arguments;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod pages;
pub mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand};

pub use arguments::{
    Add, Changing, Check, Completions, Cron, Daemon, Doctor, Events, Exec, Export, Import, Log, Most, Named, Probe, Reload, Restarting,
    Run, Shown, SignalTo, Stats, Top, Until, Wait, period,
};

/// A section of help text under a heading, one line an entry.
macro_rules! section {
    ($title:literal, $($line:literal),+ $(,)?) => {
        concat!("\x1b[1m\x1b[4m", $title, ":\x1b[0m", $("\n  ", $line),+)
    };
}

/// Sections with empty lines between them.
macro_rules! help {
    ([$($first:tt)+] $(, [$($next:tt)+])* $(,)?) => {
        concat!(section![$($first)+] $(, "\n\n", section![$($next)+])*)
    };
}

macro_rules! examples {
    () => {
        section![
            "Examples",
            "ppm daemon --config ppm.yml              run the daemon, as an entry point",
            "ppm ls                                   list the services",
            "ppm add --name web -- ./web --port 80    add a service and start it",
            "ppm restart web                          end it and start it again",
            "ppm why web                              what happened to it",
        ]
    };
}

const MORE: &str = concat!(
    examples!(),
    "\n\n",
    section![
        "Exit codes",
        "0    done",
        "1    it was tried and failed",
        "2    wrong use",
        "3    not running or not ready (info NAME, health, wait)",
        "4    no such service",
        "5    waited too long",
        "6    the daemon cannot be reached",
        "7    not permitted",
        "78   the configuration is wrong (check, export, import, reload, daemon)",
        "130  interrupted",
    ],
    "\n\n",
    section![
        "Environment",
        "PPM_SOCKET      the daemon's socket, unless --socket names it",
        "PPM_CONFIG      the configuration, unless another is named",
        "NO_COLOR        no colour, unless --color asks for it",
        "CLICOLOR_FORCE  colour also where the output is no terminal",
        "TZ              the time zone of the times shown",
    ],
);

/// Partner Process Monitor: runs the processes of a container and looks after them
#[derive(Debug, Parser)]
#[command(name = "ppm", version, arg_required_else_help = true, max_term_width = 80)]
#[command(after_help = examples!(), after_long_help = MORE)]
pub struct Cli {
    /// Options that every command has.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The same, knowing only what is asked often: the definition of all the commands takes longer to build than these take.
#[derive(Debug, Parser)]
struct Brief {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Often,
}

impl Cli {
    /// Reads the arguments, the program's own name first.
    ///
    /// # Errors
    /// What was typed is none of the commands, or help was asked for.
    pub fn read(args: &[OsString]) -> Result<Cli, clap::Error> {
        let is_often = args.get(1).and_then(|word| word.to_str()).is_some_and(Often::has_subcommand);
        // Whoever is not understood is told so by the whole definition.
        match is_often.then(|| Brief::try_parse_from(args)) {
            Some(Ok(Brief { globals, command })) => Ok(Cli { globals, command: Command::Ask(Ask::Often(command)) }),
            Some(Err(_)) | None => Cli::try_parse_from(args),
        }
    }
}

/// Options that mean the same everywhere.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The daemon's socket [env: PPM_SOCKET] [default: ppm.sock in $XDG_RUNTIME_DIR, /run or /tmp/ppm-UID]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON: one document, or one object a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Show every column in full, however wide the terminal
    #[arg(long, global = true)]
    pub wide: bool,
    /// Leave out the line with the columns' names
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Say only what was asked for: no progress, no hints; 'ls' prints names only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show times in UTC instead of the local time zone
    #[arg(long, global = true)]
    pub utc: bool,
}

/// Everything `ppm` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    #[command(after_help = help!(
        ["Examples", "ppm daemon", "ppm daemon --config config.yml", "ppm daemon -- nginx -g 'daemon off;'"],
        [
            "The COMMAND",
            "becomes the essential service 'main', and needs no configuration: it inherits",
            "the daemon's input and terminal, hears the signals that the daemon gets, and",
            "the daemon ends with it and with its exit code, as tini and dumb-init do",
        ],
        [
            "Exit codes",
            "0    it was asked to shut down",
            "...  that of the COMMAND, or of another essential service that ended it:",
            "     128 + n for signal n, 127 if it was not found, 126 if it could not be",
            "     executed",
            "73   the socket or the address of `http` cannot be had, or is another daemon's",
            "78   the configuration is wrong",
            "1    anything else",
        ],
    ))]
    Daemon(Daemon),
    /// What is asked of the daemon.
    #[command(flatten)]
    Ask(Ask),
    /// What needs no daemon.
    #[command(flatten)]
    Alone(Alone),
}

/// What is asked of the daemon.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// What is asked often.
    #[command(flatten)]
    Often(Often),
    /// Add a service and start it
    #[command(visible_alias = "add-service")]
    #[command(after_help = help!(
        [
            "Examples",
            "ppm add --name web -- /app/web --port 80",
            "ppm add --name loop --env A=hi -- sh -c 'while :; do echo $A; sleep 5; done'",
            "ppm add --name cleanup --schedule '0 3 * * *' -- /app/cleanup --older-than 7d",
            "ppm add --replace --name web -- /app/web --port 81",
            "ppm add --save ~/.partner-pm.yml --name web -- /app/web",
        ],
        [
            "Exit codes",
            "0  its program was executed, or it waits for its time",
            "1  the name is taken, the program could not be executed (the service stays,",
            "   Crashed), or the file could not be written",
        ],
    ))]
    Add(Add),
    /// Stop services and remove them
    #[command(visible_aliases = ["remove", "remove-service"])]
    #[command(after_help = help!(
        ["Examples", "ppm rm web", "ppm rm 'web-*'", "ppm rm all"],
        ["Exit codes", "4  no such service"],
    ))]
    Rm(Changing),
    /// Start services
    #[command(after_help = help!(
        ["Examples", "ppm start web db", "ppm start all --no-wait"],
        ["Exit codes", "1  a program could not be executed", "4  no such service"],
    ))]
    Start(Changing),
    /// Stop services: returns when they are gone
    #[command(visible_alias = "terminate")]
    #[command(after_help = help!(
        ["Examples", "ppm stop web", "ppm stop 'web-*'", "ppm stop all --no-wait"],
        ["Exit codes", "4  no such service"],
    ))]
    Stop(Changing),
    /// Stop services that run, and start them
    #[command(after_help = help!(
        ["Examples", "ppm restart web", "ppm restart all"],
        ["Exit codes", "1  a program could not be executed", "4  no such service"],
    ))]
    Restart(Restarting),
    /// Make services run at their next planned time, not now
    #[command(visible_alias = "schedule")]
    #[command(after_help = help!(
        ["Examples", "ppm reschedule cleanup"],
        ["Exit codes", "1  one of them has no schedule", "4  no such service"],
    ))]
    Reschedule(Changing),
    /// Pause services: SIGSTOP to all their processes
    #[command(after_help = help!(
        ["Examples", "ppm pause web", "ppm resume web"],
        ["Exit codes", "1  one of them is not running", "4  no such service", "5  it is not paused after 5s"],
    ))]
    Pause(Changing),
    /// Let paused services go on: SIGCONT to all their processes
    #[command(after_help = help!(
        ["Examples", "ppm resume web", "ppm resume all"],
        ["Exit codes", "1  one of them is not running", "4  no such service", "5  it does not go on after 5s"],
    ))]
    Resume(Changing),
    /// Send a signal to all processes of services
    #[command(visible_alias = "kill")]
    #[command(after_help = help!(
        ["Examples", "ppm signal HUP web", "ppm signal SIGUSR1 'web-*'", "ppm kill 9 web"],
        ["Exit codes", "1  one of them is not running", "4  no such service"],
    ))]
    Signal(SignalTo),
    /// Show what services use: CPU, memory, I/O
    #[command(visible_aliases = ["statistics", "details"])]
    #[command(after_help = help!(
        [
            "Examples",
            "ppm stats",
            "ppm stats web --json",
            "ppm stats -f --sort memory",
            "ppm stats --history",
            "ppm stats -f --interval 2s --json | jq '.services[] | {name, memory_rss}'",
        ],
        ["Exit codes", "4  no such service"],
    ))]
    Stats(Stats),
    /// Watch all services live, and restart, stop or start them by a key
    #[command(after_help = help!(
        ["Examples", "ppm top", "ppm top --interval 500ms", "docker exec -it CONTAINER ppm top"],
        [
            "Keys",
            "up, down, page up, page down, home, end: select a service",
            "r  restart it    l  its log    /  filter    ?  help",
            "s  stop it       i  info       o  sort      q  quit",
            "S  start it",
        ],
        [
            "Exit codes",
            "1    there is no terminal",
            "6    the daemon cannot be reached, or has ended",
            "130  left by Ctrl-C",
        ],
    ))]
    Top(Top),
    /// Print the running configuration as YAML
    #[command(visible_aliases = ["show-config", "config"])]
    #[command(after_help = help!(
        ["Examples", "ppm show-configuration > ~/.partner-pm.yml"],
        ["Exit codes", "6  the daemon cannot be reached"],
    ))]
    ShowConfiguration,
    /// Show what is planned: scheduled runs and restarts
    #[command(after_help = help!(
        ["Examples", "ppm show-scheduler", "ppm show-scheduler cleanup --utc"],
        ["Exit codes", "4  no such service"],
    ))]
    ShowScheduler(Shown),
    /// Show which files are watched, how, and what changed last
    #[command(after_help = help!(
        ["Examples", "ppm show-watch", "ppm show-watch web --json"],
        ["Exit codes", "4  no such service"],
    ))]
    ShowWatch(Shown),
    /// Read the configuration again and do what has changed
    #[command(after_help = help!(
        ["Examples", "ppm reload --plan", "ppm reload", "ppm reload --plan --json"],
        [
            "What is printed",
            "+  a service that is new: it is started",
            "~  a service that has changed: it is restarted, planned again, or neither",
            "-  a service that is not there any more: it is stopped and removed",
            "=  services that stay as they are",
        ],
        ["Exit codes", "1   a program could not be executed", "78  the configuration is wrong; nothing was changed"],
    ))]
    Reload(Reload),
    /// Show what services have run lately: when, how late, how long, and how it ended
    #[command(after_help = help!(
        ["Examples", "ppm runs backup", "ppm runs backup --json"],
        ["Exit codes", "4  no such service"],
    ))]
    Runs(Named),
    /// Tell why services are in their states: what happened to them lately
    #[command(after_help = help!(
        ["Examples", "ppm why web", "ppm why 'web-*' --json"],
        ["Exit codes", "4  no such service"],
    ))]
    Why(Named),
    /// Show what happened to services, and what happens
    #[command(after_help = help!(
        ["Examples", "ppm events", "ppm events -n 10 web", "ppm events -f --json"],
        ["Exit codes", "0  also for a service that there is not: it may come"],
    ))]
    Events(Events),
    /// Show the logs of services
    #[command(visible_alias = "logs")]
    #[command(after_help = help!(
        [
            "Examples",
            "ppm log web",
            "ppm log -f web db",
            "ppm log --since 10m --grep 'timeout|refused' web",
            "ppm log --stderr -n 50 -t web",
            "ppm log ppm-daemon",
        ],
        ["Exit codes", "1  there is no log: the service writes where the daemon writes", "4  no such service"],
    ))]
    Log(Log),
    /// Run a command in the environment, folder, user and limits of a service
    #[command(after_help = help!(
        [
            "Examples",
            "ppm exec web -- env",
            "ppm exec web -- sh",
            "docker exec -it container ppm exec db -- psql",
            "ppm exec web -- tar c . > backup.tar",
        ],
        [
            "Exit codes",
            "that of the COMMAND: 128 + n for signal n, 127 if it was not found, 126 if it",
            "could not be executed; as always where it comes not so far",
        ],
    ))]
    Exec(Exec),
    /// Run a command as a service until it ends, and pass on its exit code
    #[command(after_help = help!(
        [
            "Examples",
            "ppm run -- ./migrate --all",
            "ppm run --name import --env MODE=full -- ./import < data.csv",
            "ppm run -d -- ./rebuild-index",
        ],
        [
            "Exit codes",
            "that of the COMMAND: 128 + n for signal n, 127 if it was not found, 126 if it",
            "could not be executed; as always where it comes not so far",
        ],
    ))]
    Run(Run),
    /// Wait until services have reached a state
    #[command(after_help = help!(
        ["Examples", "ppm wait web db --for ready --timeout 30s", "ppm wait migrate --for finished"],
        [
            "Exit codes",
            "3  it will not come: the service was removed or has given up",
            "4  no such service",
            "5  the timeout is over",
        ],
    ))]
    Wait(Wait),
    /// End the daemon and all services, in order: returns when it is done
    #[command(after_help = help!(
        ["Examples", "ppm shutdown"],
        ["Exit codes", "0  the daemon and all services have ended", "6  the daemon cannot be reached"],
    ))]
    Shutdown,
    /// Show the version of ppm and of the daemon
    #[command(after_help = help!(
        ["Examples", "ppm version", "ppm version --json"],
        ["Exit codes", "0  also when no daemon can be reached"],
    ))]
    Version,
}

/// What people ask many times a day, and machines every few seconds.
#[derive(Debug, Subcommand)]
pub enum Often {
    /// Show services in full; without SERVICE, the table of 'ls'
    #[command(visible_alias = "status")]
    #[command(after_help = help!(
        ["Examples", "ppm info", "ppm info web", "ppm status -q web || ppm start web"],
        ["Exit codes", "3  with SERVICE: one of them is not running", "4  no such service"],
    ))]
    Info(Shown),
    /// List services in a table
    #[command(visible_aliases = ["list", "ps"])]
    #[command(after_help = help!(
        ["Examples", "ppm ls", "ppm ls 'web-*'", "ppm ls -q", "ppm ls --json"],
        ["Exit codes", "4  no such service", "6  the daemon cannot be reached"],
    ))]
    Ls(Shown),
    /// Tell whether all services that should run do and are ready
    #[command(visible_alias = "is-ready")]
    #[command(after_help = help!(
        ["Examples", "ppm health", "ppm health web db -q", "HEALTHCHECK CMD [\"ppm\", \"health\"]"],
        [
            "Exit codes",
            "0  all is well",
            "3  some are not: they are printed with the reason",
            "4  no such service",
            "6  the daemon cannot be reached",
        ],
    ))]
    Health(Shown),
}

/// What needs no daemon.
#[derive(Debug, Subcommand)]
pub enum Alone {
    /// Check a configuration
    #[command(after_help = help!(
        [
            "Examples",
            "ppm check",
            "ppm check ppm.yml --grace 30s",
            "ppm show-configuration | ppm check -",
            "ppm check --json ppm.yml",
        ],
        ["Exit codes", "0   it is right", "78  it is wrong, or there is none"],
    ))]
    Check(Check),
    /// Look whether the daemon can do its work here, in an image or a container
    #[command(after_help = help!(
        [
            "Examples",
            "ppm doctor",
            "ppm doctor ppm.yml --grace 30s",
            "docker run --rm --read-only image ppm doctor --strict",
            "ppm doctor --json",
        ],
        [
            "Exit codes",
            "0  nothing keeps the daemon or a service of the configuration from running",
            "1  something does; with --strict also where something will not work as well",
        ],
    ))]
    Doctor(Doctor),
    /// Make Compose, Kubernetes or systemd files of a configuration
    #[command(after_help = help!(
        [
            "Examples",
            "ppm export --format compose --image shop:1.4.0 > compose.yaml",
            "ppm export --format kubernetes --image registry.example.com/shop:1.4.0 \\",
            "  --uid www-data=33:33 | kubectl apply -f -",
            "ppm export --format kubernetes --layout pod --image shop:1.4.0 shop.yml",
            "ppm export --format systemd -d /etc/systemd/system ppm.yml",
        ],
        [
            "What is printed",
            "what the configuration says, in the words of others; comments at the top name",
            "the lines that did not map, or not exactly, and what to do instead;",
            "docs/graduating.md tells what becomes of what. No daemon is asked.",
        ],
        [
            "Exit codes",
            "0   also if not everything did map",
            "1   with --strict: something did not map; nothing was written",
            "2   something is missing that only you know, such as --image",
            "78  the configuration is wrong",
        ],
    ))]
    Export(Export),
    /// Make a configuration of another program's file, and print it
    #[command(after_help = help!(
        [
            "Examples",
            "ppm import /etc/supervisor/supervisord.conf > ppm.yml",
            "ppm import --from procfile Procfile.dev",
            "crontab -l | ppm import --from crontab -",
            "node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))' |",
            "  ppm import --from pm2 - > ppm.yml",
        ],
        [
            "What is printed",
            "a configuration that is right; comments name the lines of the file that did",
            "not map, or not exactly, and what to write instead; docs/migrating.md has",
            "the words of each program and ours",
        ],
        [
            "Exit codes",
            "0   also if not everything did map",
            "2   it is not certain what the file is for: name it with --from",
            "78  it cannot be read, or what it says cannot be a configuration",
        ],
    ))]
    Import(Import),
    /// Explain a schedule and show its next runs
    #[command(after_help = help!(
        [
            "Examples",
            "ppm cron '0 9 * * 1-5'",
            "ppm cron '30 2 * * *' --timezone Europe/Paris --from 2026-03-28 -n 3",
            "ppm cron '@every 90s' --json",
        ],
        ["Exit codes", "0  it is one", "1  it is none: stderr says where it is wrong"],
    ))]
    Cron(Cron),
    /// Ask a server whether it is well: for health checks in images without curl
    #[command(after_help = help!(
        [
            "Examples",
            "ppm probe http://127.0.0.1:8080/health",
            "ppm probe tcp://db:5432 --timeout 500ms",
            "ppm probe unix:/run/app.sock",
        ],
        [
            "Exit codes",
            "0  the status is 200 to 399; tcp and unix: the connection was taken",
            "1  anything else; stderr says what",
            "2  the URL is not one that can be probed",
        ],
    ))]
    Probe(Probe),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = help!(
        [
            "Examples",
            "ppm schema > config.schema.json",
            "# yaml-language-server: $schema=config.schema.json    (a first line)",
        ],
        ["Exit codes", "0  always"],
    ))]
    Schema,
    /// Print a script that completes commands and names in a shell
    #[command(after_help = help!(
        [
            "Examples",
            "source <(ppm completions bash)              in ~/.bashrc",
            "source <(ppm completions zsh)               in ~/.zshrc, behind 'compinit'",
            "ppm completions fish > ~/.config/fish/completions/ppm.fish",
            "eval (ppm completions elvish | slurp)       in ~/.config/elvish/rc.elv",
        ],
        ["Exit codes", "2  no such shell"],
    ))]
    Completions(Completions),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use ppm_protocol::Signal;
    use std::os::unix::ffi::OsStringExt;

    /// The README's commands, as they stand there.
    const USAGE: [&str; 9] = [
        "ppm daemon",
        "ppm daemon --config \"config.yml\"",
        "ppm info",
        "ppm ls",
        "ppm add --name my_test_service --env 'RUST_LOG=trace' -- \\\n  sh -c \"while true; do echo world; sleep 30; done\"",
        "ppm add --name my_oneshot_service -- ls -la",
        "ppm rm my_oneshot_service",
        "ppm stats",
        "ppm show-configuration",
    ];

    fn typed(line: &str) -> Result<Cli, clap::Error> {
        let words: Vec<OsString> = shell_words::split(line).unwrap().into_iter().map(OsString::from).collect();
        Cli::read(&words)
    }

    fn ask(line: &str) -> Ask {
        match typed(line).unwrap().command {
            Command::Ask(ask) => ask,
            Command::Daemon(_) | Command::Alone(_) => panic!("{line}"),
        }
    }

    fn refused(line: &str) -> ErrorKind {
        typed(line).unwrap_err().kind()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_readme_is_understood() {
        for line in USAGE {
            typed(line).unwrap();
        }
        let Ask::Add(add) = ask(USAGE[4]) else { panic!() };
        assert_eq!(add.command, ["sh", "-c", "while true; do echo world; sleep 30; done"]);
    }

    #[test]
    fn every_alias_means_its_command() {
        let same = [
            ("info", vec!["status"]),
            ("ls", vec!["list", "ps"]),
            ("add", vec!["add-service"]),
            ("rm", vec!["remove", "remove-service"]),
            ("stop", vec!["terminate"]),
            ("reschedule", vec!["schedule"]),
            ("signal", vec!["kill"]),
            ("stats", vec!["statistics", "details"]),
            ("show-configuration", vec!["show-config", "config"]),
            ("health", vec!["is-ready"]),
            ("log", vec!["logs"]),
        ];
        for (name, aliases) in same {
            let command = Cli::command();
            let visible: Vec<String> = command.find_subcommand(name).unwrap().get_visible_aliases().map(str::to_owned).collect();
            assert_eq!(visible, aliases, "{name}");
        }
    }

    #[test]
    fn what_follows_the_dashes_is_the_command_as_it_is() {
        let Ask::Add(add) = ask("ppm add --name x --no-start -- sh -c 'a --json' --name y -- z") else { panic!() };
        assert_eq!(add.command, ["sh", "-c", "a --json", "--name", "y", "--", "z"]);
        assert_eq!((add.name.as_str(), add.no_start, add.no_wait), ("x", true, false));
    }

    #[test]
    fn variables_are_split_at_their_first_equals_sign() {
        let Ask::Add(add) = ask("ppm add --name x --env A=1 --env B= --env C=d=e -- true") else { panic!() };
        let pairs: Vec<(&str, &str)> = add.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", ""), ("C", "d=e")]);
        assert_eq!(refused("ppm add --name x --env A -- true"), ErrorKind::ValueValidation);
        assert_eq!(refused("ppm add --name x --env =A -- true"), ErrorKind::ValueValidation);
    }

    #[test]
    fn global_options_may_stand_before_and_after_the_command() {
        for line in ["ppm --json --socket /x ls -q", "ppm -q ls --json --socket /x"] {
            let globals = typed(line).unwrap().globals;
            assert!(globals.json && globals.quiet, "{line}");
            assert_eq!(globals.socket, Some(PathBuf::from("/x")));
        }
        assert_eq!(typed("ppm ls --color never").unwrap().globals.color, ColorChoice::Never);
    }

    #[test]
    fn what_is_asked_often_is_understood_the_same_without_the_rest() {
        let lines = [
            "ls",
            "list -q web",
            "ps --json 'web-*' 3",
            "info",
            "status web --utc",
            "health --socket /x @front",
            "is-ready -q",
            "ls --wide --color never",
        ];
        for line in lines {
            let words = shell_words::split(&format!("ppm {line}")).unwrap();
            let whole = Cli::try_parse_from(&words).unwrap();
            let brief = Brief::try_parse_from(&words).unwrap();
            assert_eq!(format!("{:?}", whole.globals), format!("{:?}", brief.globals), "{line}");
            assert_eq!(format!("{:?}", whole.command), format!("Ask(Often({:?}))", brief.command), "{line}");
        }
        assert_eq!(refused("ppm ls --sokcet /x"), ErrorKind::UnknownArgument);
        assert_eq!(refused("ppm ls --help"), ErrorKind::DisplayHelp);
    }

    #[test]
    fn what_changes_services_must_name_them() {
        for verb in
            ["rm", "start", "stop", "restart", "reschedule", "pause", "resume", "signal HUP", "why", "runs", "log", "wait --for ready"]
        {
            assert_eq!(refused(&format!("ppm {verb}")), ErrorKind::MissingRequiredArgument, "{verb}");
        }
    }

    #[test]
    fn commands_cannot_be_abbreviated() {
        assert_eq!(refused("ppm sta"), ErrorKind::InvalidSubcommand);
        assert_eq!(refused("ppm web"), ErrorKind::InvalidSubcommand);
        assert_eq!(refused("ppm"), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        let timeout = |time: &str| {
            let Ask::Wait(wait) = ask(&format!("ppm wait web --for ready --timeout '{time}'")) else { panic!("{time}") };
            wait.timeout.unwrap().as_millis()
        };
        let read = ["30", "0", "1.5", "30s", "1m 30s", "200ms"].map(timeout);
        assert_eq!(read, [30_000, 0, 1500, 30_000, 90_000, 200]);
        for time in ["soon", "10 parsecs", "inf", "1e300", ""] {
            assert_eq!(refused(&format!("ppm wait web --for ready --timeout '{time}'")), ErrorKind::ValueValidation, "{time}");
        }
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        for name in ["HUP", "sighup", "1"] {
            let Ask::Signal(typed) = ask(&format!("ppm signal {name} web 3")) else { panic!("{name}") };
            assert_eq!((typed.signal, typed.services.len()), (Signal::HUP, 2));
        }
        assert_eq!(refused("ppm signal WEB web"), ErrorKind::ValueValidation);
    }

    #[test]
    fn arguments_that_are_not_utf8_are_wrong_use() {
        let bad = OsString::from_vec(vec![0xff]);
        let args = ["ppm", "add", "--name", "x", "--"].map(OsString::from).into_iter().chain([bad]);
        assert_eq!(Cli::try_parse_from(args).unwrap_err().kind(), ErrorKind::InvalidUtf8);
    }
}
