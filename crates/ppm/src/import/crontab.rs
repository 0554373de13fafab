//! crontab(5): each line is a service with a schedule.
//!
//! The form of the system has the user behind the time. Which form it is the path says, else a comment above the columns,
//! else that there is a `root` where no command is called so.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ppm_core::schedule::Schedule;
use ppm_core::spec::MAX_SERVICES;
use ppm_core::zone;

use super::draft::{Draft, Place, Service, Value, literal, shown, variable};
use super::{Failure, Source, command};

/// The shell of who names none.
const SHELL: &str = "/bin/sh";

/// How many variables may be set: each line keeps those above it.
const MAX_VARIABLES: usize = 100;

/// Ends a text that is given to a command as its input.
const END: &str = "END_OF_INPUT";

/// Programs that run what they are given: the job is called after that.
const RUNNERS: [&str; 24] = [
    "sh",
    "bash",
    "dash",
    "zsh",
    "env",
    "nice",
    "ionice",
    "flock",
    "timeout",
    "chronic",
    "sudo",
    "exec",
    "command",
    "run-parts",
    "python",
    "python3",
    "php",
    "node",
    "ruby",
    "perl",
    "java",
    "bundle",
    "cronlock",
    "setsid",
];

/// What only looks whether, or prepares.
const NO_JOBS: [&str; 16] =
    ["[", "[[", "test", "if", "fi", "then", "done", "for", "while", "cd", "export", "set", ".", "source", "exit", "true"];

/// What a job is not called after.
const EXTENSIONS: [&str; 6] = [".sh", ".py", ".php", ".rb", ".pl", ".js"];

/// What is not written, and is otherwise here.
const DEFAULTS: &str = "cron starts a job also while its last run lasts; here the new run is left out (`overlap: queue` has it wait). \
                        A job gets the daemon's environment, and its output goes where the daemon writes: docs/migrating.md";

/// Whether the path is one where each line names a user.
pub fn is_of_system(path: &Path) -> bool {
    path == Path::new("/etc/crontab") || path.parent() == Some(Path::new("/etc/cron.d"))
}

/// A line that runs something.
struct Entry<'a> {
    place: Place,
    /// Five fields, or a word with `@`.
    schedule: String,
    /// Where the rest of the line begins, in bytes.
    rest: &'a str,
    /// What was set above it.
    set: Rc<Settings>,
}

/// What lines like `NAME = value` have set so far.
#[derive(Clone, Default)]
struct Settings {
    variables: Vec<(String, String)>,
    shell: Option<String>,
    zone: Option<String>,
    /// In minutes.
    delay: Option<u64>,
}

pub fn read(source: &Source) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let mut entries = Vec::new();
    let mut set = Rc::new(Settings::default());
    let mut has_user_column = source.path.as_deref().is_some_and(is_of_system);
    for (number, line) in (1..).zip(source.text.lines()) {
        let place = source.place(number);
        let text = line.trim_start();
        if let Some(comment) = text.strip_prefix('#') {
            has_user_column |= names_user(comment);
        } else if let Some((name, value)) = assignment(text) {
            setting(&name, value, &place, Rc::make_mut(&mut set), source, &mut draft)?;
        } else if !text.trim_end().is_empty() && entries.len() <= MAX_SERVICES {
            entries.push(entry(line, place, &set, source)?);
        }
    }
    if !has_user_column && let Some(root) = entries.iter().find(|entry| entry.rest.starts_with("root ") || entry.rest.starts_with("root\t"))
    {
        draft.remark(&root.place, "`root` was taken for the user, as in /etc/crontab: so the word behind the time is one in all lines");
        has_user_column = true;
    }
    let common = common(&entries, &set);
    for (name, value) in &common {
        draft.variable(name, variable(literal(value)));
    }
    for entry in &entries {
        draft.remark_once(&entry.place, DEFAULTS);
        let mut service = service(entry, has_user_column, &common, source)?;
        service.name = draft.free_name(&service.name);
        draft.push(service);
    }
    Ok(draft)
}

/// Whether a comment draws the columns, five of them for the time, with one for the user.
fn names_user(comment: &str) -> bool {
    let words: Vec<&str> = comment.split_whitespace().take(7).collect();
    matches!(words.as_slice(), [_, _, _, _, _, "user" | "user-name" | "username", "command" | "cmd"])
}

/// `NAME = value`, with quotes around either or not; a time never has a `=` so early.
fn assignment(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = unquoted(name.trim());
    let is_name = !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    is_name.then(|| (name.to_owned(), unquoted(value.trim())))
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

fn setting(name: &str, value: &str, place: &Place, set: &mut Settings, source: &Source, draft: &mut Draft) -> Result<(), Failure> {
    match name {
        "SHELL" => set.shell = Some(value.to_owned()),
        "CRON_TZ" => {
            if let Err(invalid) = zone::named(value) {
                let line = source.text.lines().nth(place.line - 1).unwrap_or_default();
                let column = line.find(value).map_or(1, |at| line[..at].chars().count() + 1);
                let hint = invalid.hint.unwrap_or_default();
                return Err(source.wrong((place.line, column), value.chars().count().max(1), invalid.message, &hint));
            }
            set.zone = Some(value.to_owned());
        }
        "RANDOM_DELAY" => match value.parse::<u32>() {
            Ok(minutes) => set.delay = Some(u64::from(minutes)).filter(|minutes| *minutes > 0),
            Err(_) => draft.remark(place, format!("RANDOM_DELAY: {} is not a number of minutes; it was left out", shown(value))),
        },
        "MAILTO" | "MAILFROM" | "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING" => {
            if !value.is_empty() {
                draft.remark(place, format!("{name}: no mail is sent; `ppm log` has the output, `ppm runs` the exit codes, and `hooks: {{on_crash: ...}}` tells of a failure"));
            }
        }
        "CRON_WITHIN" | "START_HOURS_RANGE" => draft.remark(place, format!("{name}: no equivalent")),
        _ => {
            set.variables.retain(|(own, _)| own != name);
            if set.variables.len() >= MAX_VARIABLES {
                let hint = "put them into a file, and name that in `env_file`";
                return Err(source.wrong(
                    (place.line, 1),
                    name.chars().count(),
                    format!("more than {MAX_VARIABLES} variables are set"),
                    hint,
                ));
            }
            set.variables.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(())
}

/// Takes a line apart into its time and the rest.
fn entry<'a>(line: &'a str, place: Place, set: &Rc<Settings>, source: &Source) -> Result<Entry<'a>, Failure> {
    let begin = line.len() - line.trim_start().len();
    let text = line[begin..].trim_end();
    // cronie and SUSE: do not log it.
    let (text, begin) = text.strip_prefix('-').map_or((text, begin), |rest| (rest, begin + 1));
    let fields = if text.starts_with('@') { 1 } else { 5 };
    let mut rest = text;
    let mut schedule = Vec::new();
    for _ in 0..fields {
        let (field, behind) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        schedule.push(field);
        rest = behind.trim_start();
    }
    let column = line[..begin].chars().count() + 1;
    if rest.is_empty() {
        let hint = "write `MINUTE HOUR DAY MONTH WEEKDAY COMMAND`, `@daily COMMAND` or `NAME=value`; a comment begins with `#`";
        return Err(source.wrong((place.line, column), text.chars().count(), "a time and a command are wanted", hint));
    }
    let schedule = schedule.join(" ");
    if let Err(error) = Schedule::parse(&schedule) {
        let width = schedule.chars().count();
        let before = schedule.get(..error.at.start).map_or(0, |before| before.chars().count());
        let part = schedule.get(error.at.clone()).map_or(width, |part| part.chars().count()).max(1);
        // Where blanks were joined the mark would stand beside it: then it is below the whole.
        let (at, part) = if text.starts_with(&schedule) { (column + before, part) } else { (column, width) };
        let hint = error.hint.clone().unwrap_or_else(|| "ppm cron EXPR explains what is understood".to_owned());
        return Err(source.wrong((place.line, at), part, error.to_string(), &hint));
    }
    Ok(Entry { place, schedule, rest, set: set.clone() })
}

/// The variables that are the same for all lines: they stand at the top.
fn common(entries: &[Entry<'_>], last: &Settings) -> Vec<(String, String)> {
    let everywhere = |pair: &&(String, String)| entries.iter().all(|entry| entry.set.variables.contains(pair));
    last.variables.iter().filter(everywhere).cloned().collect()
}

fn service(entry: &Entry<'_>, has_user_column: bool, common: &[(String, String)], source: &Source) -> Result<Service, Failure> {
    let (user, line) = match entry.rest.split_once([' ', '\t']).filter(|_| has_user_column) {
        Some((user, line)) => (Some(user), line.trim_start()),
        None if has_user_column => {
            let whole = source.text.lines().nth(entry.place.line - 1).unwrap_or_default();
            let column = whole.chars().count().saturating_sub(entry.rest.chars().count()) + 1;
            let hint = "each line of this crontab has the user behind the time: `0 3 * * * root COMMAND`";
            return Err(source.wrong((entry.place.line, column), entry.rest.chars().count(), "a user and a command are wanted", hint));
        }
        None => (None, entry.rest),
    };
    let (line, input) = without_input(line);
    let mut service = Service::new(&name_of(&line), &entry.place);
    let shell = entry.set.shell.as_deref().unwrap_or(SHELL);
    service.set(
        "command",
        match &input {
            None => command::of_line(shell, &line),
            Some(input) => {
                let mut end = END.to_owned();
                while input.contains(&end) {
                    end.push('_');
                }
                Value::texts([shell.to_owned(), "-c".to_owned(), format!("{{ {line}\n}} <<'{end}'\n{input}\n{end}\n")])
            }
        },
    );
    if input.is_some() {
        service.remark(&entry.place, "what stands behind the `%` is the input of the command: a shell gives it");
    }
    service.set("workdir", Value::Text("${HOME:-/}".to_owned()));
    for (name, value) in entry.set.variables.iter().filter(|pair| !common.contains(pair)) {
        service.add("env", name, variable(literal(value)));
    }
    if let Some(user) = user {
        service.set("user", Value::Text(user.to_owned()));
    }
    service.set("restart", Value::word("never"));
    if entry.schedule.eq_ignore_ascii_case("@reboot") {
        service.remark(&entry.place, "@reboot: it runs when the daemon starts");
        return Ok(service);
    }
    service.set("schedule.cron", Value::Text(entry.schedule.clone()));
    service.set("schedule.overlap", Value::word("skip"));
    if let Some(zone) = &entry.set.zone {
        service.set("schedule.timezone", Value::Text(zone.clone()));
    }
    if let Some(minutes) = entry.set.delay {
        service.set("schedule.jitter", Value::time(Duration::from_secs(60 * minutes)));
    }
    Ok(service)
}

/// A command as cron runs it, and what it gives it to read: `%` ends the first and is the end of a line in the second.
fn without_input(line: &str) -> (String, Option<String>) {
    let mut parts = vec![String::new()];
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&'%') => {
                letters.next();
                parts.last_mut().into_iter().for_each(|part| part.push('%'));
            }
            '%' => parts.push(String::new()),
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    let command = parts.remove(0).trim_end().to_owned();
    let input = parts.join("\n");
    (command, (!parts.is_empty()).then(|| input.strip_suffix('\n').map(str::to_owned).unwrap_or(input)))
}

/// What a job is called: after the last program in the line that is not there to run another.
fn name_of(line: &str) -> String {
    let line = line.replace("||", ";");
    let job = line.split(['&', ';', '(', ')', '{', '}', '\n']).filter_map(program_of).next_back();
    let name = job.unwrap_or_else(|| "job".to_owned());
    EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension)).filter(|name| !name.is_empty()).unwrap_or(&name).to_owned()
}

/// The name of the program in a part of a line, if there is one.
fn program_of(part: &str) -> Option<String> {
    let part = part.split(['|', '>', '<']).next().unwrap_or_default().trim();
    let part = ["then ", "do ", "else ", "if "].iter().find_map(|word| part.strip_prefix(word)).unwrap_or(part);
    let words = shell_words::split(part).unwrap_or_else(|_| part.split_whitespace().map(str::to_owned).collect());
    let is_number = |word: &str| word.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let mut names = words
        .iter()
        .filter(|word| !word.starts_with('-') && !word.contains('=') && !is_number(word))
        .map(|word| word.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default())
        .filter(|name| !name.is_empty() && !name.contains([' ', '$', '`', '"']));
    let mut name = names.next().filter(|name| !NO_JOBS.contains(name))?;
    while RUNNERS.contains(&name) {
        let next = if name == "flock" { names.nth(1) } else { names.next() };
        name = match next {
            Some(next) => next,
            None => break,
        };
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_after_what_it_runs() {
        for (line, name) in [
            ("/usr/local/bin/backup --all", "backup"),
            ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly"),
            ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", "cron.daily"),
            ("php /var/www/artisan schedule:run >> /dev/null 2>&1", "artisan"),
            ("nice -n 19 /app/clean.sh", "clean"),
            ("MODE=full ./sync.py", "sync"),
            ("pg_dump app | gzip > /backup/app.gz", "pg_dump"),
            ("/bin/sh", "sh"),
            ("$HOME/x", "x"),
            ("\"$X\"", "job"),
            ("/usr/bin/flock -n /tmp/a.lock /app/a", "a"),
            ("[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ] {
            assert_eq!(name_of(line), name, "{line}");
        }
    }

    #[test]
    fn a_comment_that_draws_the_columns_tells_whether_users_are_named() {
        for comment in [" m h dom mon dow user command", "*  *  *  *  * user-name command to be executed"] {
            assert!(names_user(comment), "{comment}");
        }
        for comment in [" m h  dom mon dow   command", " run this command as the user", " every user command is logged by cron itself"] {
            assert!(!names_user(comment), "{comment}");
        }
    }

    #[test]
    fn percents_end_the_command_and_the_lines_of_its_input() {
        let input = |text: &str| Some(text.to_owned());
        assert_eq!(without_input("mail root%Hello%%Bye"), ("mail root".to_owned(), input("Hello\n\nBye")));
        assert_eq!(without_input("date +\\%F > x\\\\y"), ("date +%F > x\\\\y".to_owned(), None));
    }
}
