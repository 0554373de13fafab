//! Commands of others in our form: plain where no shell is needed, by a shell where it is.

use super::draft::Value;

/// Letters with which a shell does something, in words and between them.
const SPECIAL: [char; 19] = ['$', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '[', ']', '{', '}', '~', '#', '!', '\n'];

/// Letters that join commands, or make the whole more than one; the brace of a `${` aside.
const JOINING: [char; 8] = ['|', '&', ';', '(', ')', '{', '`', '\n'];

/// What a shell does itself.
const BUILTINS: [&str; 34] = [
    ".", ":", "alias", "case", "cd", "command", "declare", "do", "done", "eval", "exec", "exit", "export", "fi", "for", "function", "if",
    "local", "read", "return", "set", "shift", "source", "then", "time", "trap", "type", "ulimit", "umask", "unset", "until", "wait",
    "while", "[[",
];

/// A line that `shell` was to run.
pub fn of_line(shell: &str, line: &str) -> Value {
    let line = line.trim();
    let bare = line.strip_prefix("exec ").unwrap_or(line).trim_start();
    if is_plain(bare) { Value::Text(bare.to_owned()) } else { by_shell(shell, line) }
}

/// A line that needs `shell`, which is to be replaced by its only command where it has one.
pub fn by_shell(shell: &str, line: &str) -> Value {
    let is_one =
        !line.replace("${", "").contains(JOINING) && !first_word(line).is_some_and(|word| BUILTINS.contains(&word) || word.contains('='));
    let line = if is_one { format!("exec {line}") } else { line.to_owned() };
    Value::texts([shell.to_owned(), "-c".to_owned(), line])
}

/// A program and its arguments: as a line where nothing in them needs quotes.
pub fn of_words(words: Vec<String>) -> Value {
    let line = words.join(" ");
    if is_plain(&line) && shell_words::split(&line).is_ok_and(|split| split == words) { Value::Text(line) } else { Value::texts(words) }
}

/// Whether a line means the same without a shell.
pub fn is_plain(line: &str) -> bool {
    let first = first_word(line).unwrap_or_default();
    !first.is_empty()
        && !line.contains(SPECIAL)
        && !first.contains('=')
        && !BUILTINS.contains(&first)
        && shell_words::split(line).is_ok_and(|words| words.first().is_some_and(|word| !word.is_empty()))
}

fn first_word(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(line: &str) -> String {
        match of_line("sh", line) {
            Value::Text(text) => text,
            Value::List(words) => match &words[2] {
                Value::Text(line) => format!("sh: {line}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_shell_is_run_only_where_one_is_needed() {
        for (line, wanted) in [
            ("bundle exec puma -C config/puma.rb", "bundle exec puma -C config/puma.rb"),
            ("  web 'a b' \"c\"  ", "web 'a b' \"c\""),
            ("exec web -p 80", "web -p 80"),
            ("web -p $PORT", "sh: exec web -p $PORT"),
            ("exec web -p $PORT", "sh: exec web -p $PORT"),
            ("web -p ${PORT:-80}", "sh: exec web -p ${PORT:-80}"),
            ("web -p $(port)", "sh: web -p $(port)"),
            ("A=1 web", "sh: A=1 web"),
            ("cd /app && web", "sh: cd /app && web"),
            ("cd /app", "sh: cd /app"),
            ("web > /dev/null", "sh: exec web > /dev/null"),
            ("web | tee log", "sh: web | tee log"),
            ("rm -f /tmp/*", "sh: exec rm -f /tmp/*"),
            ("web 'open", "sh: exec web 'open"),
            ("\"\" a", "sh: exec \"\" a"),
        ] {
            assert_eq!(by(line), wanted, "{line}");
        }
    }
}
