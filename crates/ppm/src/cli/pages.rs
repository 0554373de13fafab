//! The command line as pages of the manual: data/man/ppm*.1 is what this writes, and a test holds it so.
//!
//! Like docs/cli.md they are taken from the definition that `--help` is made of; man-pages(7) says how such a page looks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use snapbox::Data;

use super::Cli;
use super::manual::{about, aliases, explained, sections};

/// Where the pages are, seen from this crate.
const FOLDER: &str = "../../data/man";

#[test]
fn the_pages_of_the_manual_are_what_the_help_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let pages = pages();
    for (name, page) in &pages {
        snapbox::assert_data_eq!(page, Data::read_from(&folder.join(name), None).raw());
    }
    let by_hand = fs::read_to_string(folder.join("ppm-daemon.8")).unwrap();
    assert!(by_hand.starts_with(&title_line("PPM\\-DAEMON", 8)), "{by_hand}");
    assert_eq!(released().0, env!("CARGO_PKG_VERSION"), "CHANGELOG.md tells of another version than Cargo.toml");
    let there = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: Vec<String> = there.filter(|name| name.ends_with(".1")).collect();
    assert!(there.iter().all(|name| pages.contains_key(name)), "pages of commands that are no more: {there:?}");
}

fn pages() -> BTreeMap<String, String> {
    let mut whole = Cli::command();
    whole.build();
    let commands: Vec<&Command> = whole.get_subcommands().filter(|command| command.get_name() != "help").collect();
    let mut pages = BTreeMap::from([("ppm.1".to_owned(), first_page(&whole, &commands))]);
    pages.extend(commands.iter().map(|command| (format!("ppm-{}.1", command.get_name()), page(command))));
    pages
}

fn first_page(whole: &Command, commands: &[&Command]) -> String {
    let mut out = begin("PPM", "ppm", &about(whole));
    out.push_str(".SH SYNOPSIS\n.B ppm\n[OPTIONS] COMMAND\n.SH COMMANDS\n");
    for command in commands {
        let _ = writeln!(out, ".TP\n.BR ppm\\-{} (1)\n{}", escaped(command.get_name()), escaped(&about(command)));
    }
    options(&mut out, whole.get_arguments().filter(|arg| arg.is_global_set()));
    let more = whole.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    end(&mut out, &more, ".BR ppm\\-daemon (8),\n.BR ppm.yml (5)\n");
    out
}

fn page(command: &Command) -> String {
    let name = format!("ppm-{}", command.get_name());
    let mut out = begin(&name.to_uppercase(), &name, &about(command));
    let usage = command.clone().render_usage().to_string();
    let _ = write!(out, ".SH SYNOPSIS\n.nf\n{}\n.fi\n", escaped(usage.trim_start_matches("Usage: ")));
    let others = aliases(command, ", ").replace('`', "");
    if !others.is_empty() {
        let _ = writeln!(out, ".SH DESCRIPTION\nOther names: {}.", escaped(others.trim_start_matches(", ")));
    }
    options(&mut out, command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help"));
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    end(&mut out, &more, ".BR ppm (1),\n.BR ppm.yml (5)\n");
    out
}

fn begin(title: &str, name: &str, about: &str) -> String {
    let about = about.lines().next().unwrap_or_default();
    format!("{}.SH NAME\n{} \\- {}\n", title_line(&escaped(title), 1), escaped(name), escaped(about))
}

/// With the version and the day of its release, so that a page is the same whenever it is written.
fn title_line(title: &str, section: u8) -> String {
    let (version, date) = released();
    format!(".TH {title} {section} \"{date}\" \"PPM {version}\"\n")
}

/// The newest version in the list of changes, and its date.
fn released() -> (&'static str, &'static str) {
    let heading = |line: &'static str| line.strip_prefix("## ")?.split_once(" - ");
    include_str!("../../../../CHANGELOG.md").lines().find_map(heading).unwrap()
}

fn options<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let args: Vec<&Arg> = args.collect();
    if !args.is_empty() {
        out.push_str(".SH OPTIONS\n");
    }
    for arg in args {
        let short = arg.get_short().map_or(String::new(), |short| format!("-{short}, "));
        let _ = writeln!(out, ".TP\n.B {}\n{}", escaped(&format!("{short}{arg}")), escaped(&explained(arg)));
    }
}

/// What follows the options in the help, and where to go on.
fn end(out: &mut String, help: &str, others: &str) {
    for (title, lines) in sections(help) {
        let _ = write!(out, ".SH {}\n.nf\n{}.fi\n", escaped(&title.to_uppercase()), escaped(&lines));
    }
    let _ = write!(out, ".SH SEE ALSO\n{others}");
}

/// Text that means itself to roff: groff_char(7), and no line that begins like a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga").replace('\'', "\\(aq");
    let line = |line: &str| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() };
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}
