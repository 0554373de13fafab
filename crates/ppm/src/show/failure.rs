//! A failure as lines for stderr.

use super::text::clean;
use super::{BAD, FAIR, STRONG, paint};
use crate::failure::Failure;

/// `error: ...`, the facts indented, and each remedy as `hint: ...`.
pub fn lines(failure: &Failure, colour: bool) -> String {
    let mut out = format!("{} {}\n", paint(colour, BAD.effects(STRONG.get_effects()), "error:"), clean(&failure.message));
    for fact in &failure.facts {
        out.push_str(&format!("  {}\n", clean(fact)));
    }
    for hint in &failure.hints {
        out.push_str(&format!("  {} {}\n", paint(colour, FAIR, "hint:"), clean(hint)));
    }
    out
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
    fn only_the_words_in_front_have_colour() {
        assert!(lines(&failure(), true).starts_with("\x1b[1m\x1b[31merror:\x1b[0m no service"));
    }
}
