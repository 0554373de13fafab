//! A failure, and what is only a warning, as lines for stderr.

use super::text::clean;
use super::{BAD, FAIR, STRONG, paint};
use crate::failure::Failure;

/// `error: ...`, the facts indented, and each remedy as `hint: ...`; before that the places that it is about.
pub fn lines(failure: &Failure, colour: bool) -> String {
    let mut out: String = failure.excerpt.lines().map(|line| drawn(line, colour) + "\n").collect();
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("{} {}\n", error(colour), clean(&failure.message)));
    for fact in &failure.facts {
        out.push_str(&format!("  {}\n", clean(fact)));
    }
    for hint in &failure.hints {
        out.push_str(&format!("  {} {}\n", paint(colour, FAIR, "hint:"), clean(hint)));
    }
    out
}

/// Each as `warning: ...`.
pub fn warnings(warnings: &[String], colour: bool) -> String {
    warnings
        .iter()
        .map(|warning| format!("{} {}\n", paint(colour, FAIR.effects(STRONG.get_effects()), "warning:"), clean(warning)))
        .collect()
}

/// A line of the core's drawing with colour where it begins with a word of ours.
fn drawn(line: &str, colour: bool) -> String {
    let line = clean(line);
    match (line.strip_prefix("error:"), line.split_once(" = hint:")) {
        (Some(rest), _) => format!("{}{rest}", error(colour)),
        (None, Some((margin, rest))) if margin.trim().is_empty() => format!("{margin} = {}{rest}", paint(colour, FAIR, "hint:")),
        (None, _) => line.into_owned(),
    }
}

fn error(colour: bool) -> String {
    paint(colour, BAD.effects(STRONG.get_effects()), "error:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn failure() -> Failure {
        Failure::new(Code::NoSuchService, "no service named 'w\x1bbe'").fact("it came from here").hint("did you mean 'web'?")
    }

    #[test]
    fn facts_and_hints_are_indented_and_nothing_acts_r75() {
        let expected = "error: no service named 'w\\u{1b}be'\n  it came from here\n  hint: did you mean 'web'?\n";
        assert_eq!(lines(&failure(), false), expected);
    }

    #[test]
    fn an_excerpt_stands_in_front_line_by_line_and_nothing_acts_r75() {
        let text = "error: `a\x1b` is no time\n --> x.yml:1:2\n  |\n1 | a\n  | ^\n  |\n  = hint: write 10s\n\nerror: 1 problem in x.yml";
        let failure = Failure::wrong_configuration(text, "1 problem in x.yml");
        assert_eq!(lines(&failure, false), format!("{}\n", text.replace('\x1b', "\\u{1b}")));
        let colourful = lines(&failure, true);
        assert!(colourful.starts_with("\x1b[1m\x1b[31merror:\x1b[0m `a\\u{1b}`"), "{colourful:?}");
        assert!(colourful.contains("\n  = \x1b[33mhint:\x1b[0m write 10s\n\n"), "{colourful:?}");
        assert_eq!(anstream::adapter::strip_str(&colourful).to_string(), lines(&failure, false));
    }

    #[test]
    fn warnings_are_one_line_each() {
        assert_eq!(warnings(&["`a\n`: b".to_owned(), "c".to_owned()], false), "warning: `a\\n`: b\nwarning: c\n");
    }

    #[test]
    fn only_the_words_in_front_have_colour() {
        assert!(lines(&failure(), true).starts_with("\x1b[1m\x1b[31merror:\x1b[0m no service"));
    }
}
