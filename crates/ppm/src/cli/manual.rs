//! The command line as a page of the documentation: docs/cli.md is what this writes, and a test holds it so.
//!
//! Everything is taken from the definition that `--help` is made of; only the introduction stands here.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use snapbox::Data;

use super::Cli;

const INTRODUCTION: &str = "\
# The command line

Written from the definition of `ppm --help` by `SNAPSHOTS=overwrite cargo test -p ppm`; a test compares.

`ppm` asks the daemon over its socket and shows what it says. These hold for all commands:

- SERVICE is a name, an id, a glob (quoted: `'web-*'`), a group (`@front`) or `all`; several may be given. What changes
  services must name them; what only shows takes none for all.
- What changes services returns when the change is done, `--no-wait` at once.
- stdout is what was asked for; errors, warnings, hints and progress go to stderr. Hints and progress are for a person at a
  terminal only.
- On a terminal, tables fit its width and have dots and colour. Into a pipe they always have the same columns, `-` for
  what is not there, and nothing is cut.
- With `--json` stdout is one JSON document, or one object a line for streams; fields are added to it, never removed.
- Errors say what, where and what next, and have exit codes that mean the same everywhere.
";

/// Where the page is, seen from this crate.
const PAGE: &str = "../../docs/cli.md";

#[test]
fn the_page_of_the_documentation_is_what_the_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    snapbox::assert_data_eq!(page(), Data::read_from(&path, None).raw());
}

fn page() -> String {
    let mut whole = Cli::command();
    whole.build();
    let commands: Vec<&Command> = whole.get_subcommands().filter(|command| command.get_name() != "help").collect();
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n| command | does |\n| --- | --- |\n");
    for command in &commands {
        let name = command.get_name();
        let _ = writeln!(out, "| [`{name}`](#ppm-{name}){} | {} |", aliases(command, ", "), cell(&about(command)));
    }
    for command in commands {
        section(&mut out, command);
    }
    out.push_str("\n## Options of all commands\n\n");
    options(&mut out, whole.get_arguments().filter(|arg| arg.is_global_set()));
    let more = whole.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    for (title, lines) in sections(&more).into_iter().filter(|(title, _)| title != "Examples") {
        let _ = write!(out, "\n## {title}\n\n```text\n{lines}```\n");
    }
    out
}

fn section(out: &mut String, command: &Command) {
    let _ = write!(out, "\n## ppm {}\n\n{}.", command.get_name(), about(command));
    match aliases(command, ", ") {
        none if none.is_empty() => {}
        some => {
            let _ = write!(out, " Also{}.", some.trim_start_matches(','));
        }
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(out, "\n\n```text\n{}\n```\n\n", usage.trim_start_matches("Usage: "));
    let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
    options(out, command.get_arguments().filter(own));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for (title, lines) in sections(&after) {
        let language = if title == "Examples" { "sh" } else { "text" };
        let _ = write!(out, "\n{title}:\n\n```{language}\n{lines}```\n");
    }
}

/// A table of arguments, if there are any.
fn options<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let args: Vec<&Arg> = args.collect();
    if args.is_empty() {
        *out = out.trim_end().to_owned() + "\n";
        return;
    }
    out.push_str("| argument | is |\n| --- | --- |\n");
    for arg in args {
        let short = arg.get_short().map_or(String::new(), |short| format!("`-{short}`, "));
        let _ = writeln!(out, "| {short}`{arg}` | {} |", cell(&explained(arg)));
    }
}

/// The help of an argument with its values and its default.
pub(super) fn explained(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    if values.iter().any(|value| value.get_help().is_some()) {
        let words = values.iter().map(|value| format!("`{}` ({})", value.get_name(), value.get_help().map(lower).unwrap_or_default()));
        let _ = write!(text, ": {}", words.collect::<Vec<_>>().join(", "));
    } else if !values.is_empty() && arg.get_action().takes_values() {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(text, ": {}", names.join(", "));
    }
    for default in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
        let _ = write!(text, " [default: {}]", default.to_string_lossy());
    }
    text
}

fn lower(text: &impl ToString) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

pub(super) fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

pub(super) fn aliases(command: &Command, before: &str) -> String {
    command.get_visible_aliases().fold(String::new(), |text, alias| text + before + "`" + alias + "`")
}

/// Text as it can stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The sections of a help text: title, and lines without their indentation.
pub(super) fn sections(help: &str) -> Vec<(String, String)> {
    let plain = anstream::adapter::strip_str(help).to_string();
    let section = |text: &str| {
        let (title, lines) = text.split_once(":\n").unwrap_or_default();
        let lines: String = lines.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
        (title.to_owned(), lines)
    };
    plain.split("\n\n").filter(|text| !text.is_empty()).map(section).collect()
}
