//! `%(...)s` of supervisord: what is known is put in, what is not becomes a reference.

use std::borrow::Cow;

use super::super::command::of_words;
use super::super::draft::{Value, literal, shown};

/// Stand for pieces while a command is split into words; nobody writes these letters.
const MARKS: std::ops::RangeInclusive<u32> = 0xe000..=0xf8ff;

/// What a value is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// A variable of the environment.
    Variable(String),
    /// The number of the process, counting from `first`, in at least `digits` digits.
    Number {
        first: i64,
        digits: usize,
    },
}

/// What is known of a program.
#[derive(Debug, Default)]
pub struct Known {
    pub name: String,
    /// The folder of the file.
    pub folder: String,
    /// The number of the first process.
    pub first: i64,
    /// How many processes there are.
    pub count: i64,
}

/// The pieces of a value.
///
/// # Errors
/// It wants what there is not.
pub fn pieces(value: &str, known: &Known) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            text.push('%');
            rest = behind;
            continue;
        }
        let Some((name, behind)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
            text.push('%');
            continue;
        };
        let Some(end) = behind.find(['s', 'd', 'i']) else { return Err(format!("%({name}) is not followed by s or d")) };
        let format = &behind[..end];
        let digits = format.trim_start_matches('0').parse::<usize>().unwrap_or(0).min(20);
        if !format.chars().all(|letter| letter.is_ascii_digit()) {
            return Err(format!("%({name}) is not followed by s or d"));
        }
        rest = &behind[end + 1..];
        let piece = match name {
            "here" => Err(known.folder.clone()),
            "program_name" | "group_name" => Err(known.name.clone()),
            "numprocs" => Err(known.count.to_string()),
            "host_node_name" => Ok(Piece::Variable("HOSTNAME".to_owned())),
            // There is one: its number does not change.
            "process_num" if known.count <= 1 => Err(format!("{:0digits$}", known.first)),
            "process_num" => Ok(Piece::Number { first: known.first, digits }),
            name => match name.strip_prefix("ENV_") {
                Some(name) if is_variable(name) => Ok(Piece::Variable(name.to_owned())),
                Some(_) | None => return Err(format!("there is no value for %({name})s")),
            },
        };
        match piece {
            Err(known) => text.push_str(&known),
            Ok(piece) => {
                pieces.extend((!text.is_empty()).then(|| Piece::Text(std::mem::take(&mut text))));
                pieces.push(piece);
            }
        }
    }
    text.push_str(rest);
    pieces.extend((!text.is_empty()).then_some(Piece::Text(text)));
    Ok(pieces)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// The pieces as a value in which references are expanded.
pub fn reference(pieces: &[Piece]) -> String {
    let one = |piece: &Piece| match piece {
        Piece::Text(text) => literal(text),
        Piece::Variable(name) => format!("${{{name}}}"),
        Piece::Number { .. } => "${PPM_REPLICA}".to_owned(),
    };
    pieces.iter().map(one).collect()
}

/// A piece as a shell looks it up.
fn in_shell(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Variable(name) => format!("${{{name}}}"),
        Piece::Number { first: 1, digits: 0 | 1 } => "${PPM_REPLICA}".to_owned(),
        Piece::Number { first, digits } => {
            let number = match first - 1 {
                0 => "PPM_REPLICA".to_owned(),
                less if less < 0 => format!("PPM_REPLICA {} {}", '-', -less),
                more => format!("PPM_REPLICA + {more}"),
            };
            if *digits > 1 { format!("$(printf %0{digits}d $(({number})))") } else { format!("$(({number}))") }
        }
    }
}

/// A command: by words where all is known, by a shell where not. The other way round: the line, where its quotes are wrong.
pub fn command(pieces: &[Piece]) -> Result<Value, String> {
    let marks: Vec<char> = MARKS.filter_map(char::from_u32).take(pieces.len()).collect();
    let mut line = String::new();
    let mut later: Vec<(char, &Piece)> = Vec::new();
    for (piece, mark) in pieces.iter().zip(&marks) {
        match piece {
            Piece::Text(text) => line.push_str(text),
            Piece::Variable(_) | Piece::Number { .. } => {
                line.push(*mark);
                later.push((*mark, piece));
            }
        }
    }
    let put_in = |text: &str| -> String {
        text.chars()
            .map(|letter| later.iter().find(|(mark, _)| *mark == letter).map_or(letter.to_string(), |(_, piece)| in_shell(piece)))
            .collect()
    };
    let Ok(words) = shell_words::split(&line) else { return Err(put_in(&line)) };
    if later.is_empty() {
        let is_short = !line.contains('\n');
        return Ok(if is_short { Value::Text(line) } else { of_words(words) });
    }
    // A shell that is there already looks up the rest.
    if let [shell, option, script, ..] = words.as_slice()
        && ["sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/bash"].contains(&shell.as_str())
        && option.starts_with('-')
        && option.ends_with('c')
        && words.iter().enumerate().all(|(at, word)| at == 2 || put_in(word) == *word)
    {
        let script = put_in(script);
        return Ok(Value::texts(words.iter().enumerate().map(|(at, word)| if at == 2 { script.clone() } else { word.clone() })));
    }
    let quoted = |word: &String| -> String {
        let mut out = String::new();
        let mut plain = String::new();
        let end = |plain: &mut String, out: &mut String| {
            if !plain.is_empty() {
                out.push_str(&quote(plain));
                plain.clear();
            }
        };
        for letter in word.chars() {
            match later.iter().find(|(mark, _)| *mark == letter) {
                Some((_, piece)) => {
                    end(&mut plain, &mut out);
                    out.push_str(&format!("\"{}\"", in_shell(piece)));
                }
                None => plain.push(letter),
            }
        }
        end(&mut plain, &mut out);
        if out.is_empty() { "''".to_owned() } else { out }
    };
    let line = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    Ok(Value::texts(["sh".to_owned(), "-c".to_owned(), format!("exec {line}")]))
}

/// The text as a shell takes it for one word, with quotes only where it needs them.
fn quote(text: &str) -> Cow<'_, str> {
    let is_option = text.starts_with('-') && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_=./:,@%+".contains(letter));
    if is_option { Cow::Borrowed(text) } else { shell_words::quote(text) }
}

/// `KEY="value",OTHER='value'`, as Python's shlex takes it apart there: what could be read, and what ended that.
pub fn variables(value: &str, known: &Known) -> (Vec<(String, String)>, Option<String>) {
    let mut pairs = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        match variable(rest, known) {
            Ok((pair, behind)) => {
                pairs.push(pair);
                rest = behind;
            }
            Err(why) => return (pairs, Some(why)),
        }
    }
    (pairs, None)
}

/// The first pair of a list, and what is behind it.
fn variable<'a>(list: &'a str, known: &Known) -> Result<((String, String), &'a str), String> {
    const WORD: [char; 8] = ['_', '/', '.', '+', '-', '(', ')', ':'];
    let is_word = |letter: char| letter.is_alphanumeric() || WORD.contains(&letter);
    let wrong = || format!("KEY=\"value\" is wanted, {} is none; it was left out", shown(list));
    let (name, behind) = list.split_once('=').ok_or_else(wrong)?;
    let name = name.trim();
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(wrong());
    }
    let value = behind.trim_start();
    let (text, behind) = match value.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        Some(quote) => value[1..].split_once(quote).ok_or_else(wrong)?,
        // The `%(...)s` of a bare word is expanded before it is taken apart.
        None => value.split_at(bare(value, is_word)),
    };
    let pair = (name.to_owned(), reference(&pieces(text, known)?));
    let behind = behind.trim_start();
    match behind.strip_prefix(',') {
        Some(behind) => Ok((pair, behind.trim_start())),
        None if behind.is_empty() => Ok((pair, behind)),
        None => Err(wrong()),
    }
}

/// How long a word without quotes is.
fn bare(text: &str, is_word: impl Fn(char) -> bool) -> usize {
    let is_part = |letter: char| is_word(letter) || letter == '%';
    text.find(|letter: char| !is_part(letter)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known { name: "web".to_owned(), folder: "/etc".to_owned(), first: 0, count: 2 }
    }

    fn words(text: &str) -> Vec<String> {
        match command(&pieces(text, &known()).unwrap()).unwrap() {
            Value::Text(text) => vec![text],
            Value::List(items) => {
                items.into_iter().map(|item| if let Value::Text(text) = item { text } else { panic!("{item:?}") }).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_known_is_put_in_and_the_rest_is_looked_up_by_a_shell() {
        assert_eq!(words("%(here)s/web --name '%(program_name)s' 5%%"), ["/etc/web --name 'web' 5%"]);
        assert_eq!(words("web -p %(ENV_PORT)s 'a b'"), ["sh", "-c", "exec web -p \"${PORT}\" 'a b'"]);
        assert_eq!(words("web -p 80%(process_num)02d"), ["sh", "-c", "exec web -p 80\"$(printf %02d $((PPM_REPLICA - 1)))\""]);
        assert_eq!(words("bash -c \"exec web $A %(ENV_B)s\""), ["bash", "-c", "exec web $A ${B}"]);
        assert_eq!(words("web\n--more"), ["web --more"]);
        assert_eq!(words("web\n'a b'"), ["web", "a b"]);
        assert_eq!(pieces("%(nothing)s", &known()), Err("there is no value for %(nothing)s".to_owned()));
        assert_eq!(command(&pieces("web 'a %(ENV_A)s", &known()).unwrap()), Err("web 'a ${A}".to_owned()));
    }

    #[test]
    fn variables_are_taken_apart_at_commas_outside_of_quotes() {
        let pairs = |text: &str| {
            let (pairs, wrong) = variables(text, &known());
            (pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "), wrong.is_some())
        };
        let right = |text: &str| (text.to_owned(), false);
        assert_eq!(pairs("A=\"1,2\",B='x y', C=/a/b:c,\nD=\"%(ENV_X)s/${Y}\","), right("A=1,2 B=x y C=/a/b:c D=${X}/$${Y}"));
        assert_eq!(pairs("N=\"%(process_num)d\",H=%(host_node_name)s,A-B=50%%"), right("N=${PPM_REPLICA} H=${HOSTNAME} A-B=50%"));
        for wrong in ["A", "A=\"1", "A=1 2", "=1", "A B=1", "A=b@c"] {
            assert_eq!(pairs(&format!("K=1,{wrong}")), ("K=1".to_owned(), true), "{wrong}");
        }
    }
}
