//! Procfiles: `web: bundle exec puma`, one process a line.
//!
//! foreman, honcho, overmind and Heroku run each line by a shell, in the file's folder, with `PORT` and the variables of
//! `.env`.

use super::command;
use super::draft::{Draft, Service, Value};
use super::{Failure, Source};

/// What foreman gives the first process in `PORT`, and how far the next is from it.
const PORTS: (usize, usize) = (5000, 100);

pub fn read(source: &Source) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    source.dotenv("foreman", &mut draft);
    for (number, line) in (1..).zip(source.text.lines()) {
        let line_text = line.trim();
        if line_text.is_empty() || line_text.starts_with('#') {
            continue;
        }
        let Some((name, command)) = line_text.split_once(':').filter(|(name, command)| is_name(name) && !command.trim().is_empty()) else {
            let column = line.chars().take_while(|letter| letter.is_whitespace()).count() + 1;
            let hint = "write `name: command` with a name of letters, digits, `_` and `-`; a comment begins with `#`";
            return Err(source.wrong((number, column), line_text.chars().count(), "a name, a colon and a command are wanted", hint));
        };
        let place = source.place(number);
        let (command, mut service) = (command.trim(), Service::new(name, &place));
        service.set("command", command::of_line("sh", command));
        if command.contains("$PORT") || command.contains("${PORT") {
            let port = PORTS.0 + PORTS.1 * draft.services().len();
            service.add("env", "PORT", Value::Text(format!("${{PORT:-{port}}}")));
        }
        if name == "release" {
            service.set("restart.policy", Value::word("never"));
            service.remark(&place, "release: Heroku runs it before the others: give them `depends_on: {release: finished}`");
        }
        draft.push(service);
    }
    if let Some(first) = draft.services().first().map(|service| service.place.clone()) {
        let message = "foreman ends all when one ends (`essential: true`), Heroku starts it again (`restart: always`); as it stands here it is started again after a crash";
        draft.remark(&first, message);
    }
    Ok(draft)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
}
