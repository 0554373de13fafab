//! What `ppm doctor` found.

use anstyle::Style;

use super::text::clean;
use super::{BAD, FAIR, GOOD, Look};
use crate::doctor::{Finding, Verdict};

/// A finding a line, with what to do about it below.
pub fn findings(findings: &[Finding], look: &Look) -> String {
    let wide = findings.iter().map(|finding| finding.about.len()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let (word, style) = verdict(finding.verdict);
        let gap = " ".repeat(VERDICT - word.len());
        out.push_str(&format!("{}{gap}  {:wide$}  {}\n", look.paint(style, word), finding.about, clean(&finding.found)));
        if let Some(hint) = &finding.hint {
            out.push_str(&format!("{:VERDICT$}  {:wide$}  hint: {}\n", "", "", clean(hint)));
        }
    }
    out
}

/// The widest of the words.
const VERDICT: usize = "warning".len();

fn verdict(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Ok => ("ok", GOOD),
        Verdict::Warning => ("warning", FAIR),
        Verdict::Error => ("error", BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;

    #[test]
    fn findings_stand_in_columns_with_their_hints_below() {
        let finding = |about, verdict, found: &str, hint: Option<&str>| Finding {
            about,
            verdict,
            found: found.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let some = [
            finding("process", Verdict::Ok, "fine", None),
            finding("open files", Verdict::Error, "few\u{1b}[2J", Some("more")),
            finding("/proc", Verdict::Warning, "hides", None),
        ];
        let expected = "
ok       process     fine
error    open files  few\\u{1b}[2J
                     hint: more
warning  /proc       hides
";
        assert_eq!(format!("\n{}", findings(&some, &piped())), expected);
        let coloured = findings(&some, &Look { colour: true, ..terminal(80) });
        assert!(coloured.starts_with("\x1b[32mok\x1b[0m       process     fine\n"), "{coloured:?}");
    }
}
