//! The lines of `log`.

use anstyle::{AnsiColor, Color, Style};
use ppm_protocol::{LogLine, Stream};

use super::text::{clean, width};
use super::{BAD, Look, Medium, QUIET, units};

/// So much is printed at a time, in bytes.
pub const PORTION: usize = 32 * 1024;

/// Of services; red is for errors.
const COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightCyan];

/// Lines of these services: of several, each has its name in front.
pub struct Lines {
    name: Option<usize>,
    timestamps: bool,
}

impl Lines {
    /// Of these services, with or without times.
    pub fn new(services: &[String], timestamps: bool) -> Lines {
        let longest = services.iter().map(|name| width(&clean(name))).max();
        Lines { name: longest.filter(|_| services.len() > 1), timestamps }
    }

    /// One line with its end.
    pub fn line(&self, line: &LogLine, look: &Look, out: &mut Vec<u8>) {
        if self.timestamps {
            let time = line.time.map_or("(unknown)".to_owned(), |time| units::exact(time, look));
            out.extend_from_slice(look.paint(QUIET, &time).as_bytes());
            out.push(b' ');
        }
        if let Some(longest) = self.name {
            let name = clean(&line.service);
            let gap = longest.saturating_sub(width(&name));
            let style = colour(&line.service);
            let bar = if line.stream == Stream::Stderr { BAD } else { style };
            let prefix = format!("{}{:gap$} {} ", look.paint(style, &name), "", look.paint(bar, "|"));
            out.extend_from_slice(prefix.as_bytes());
        }
        match (&look.medium, &line.bytes) {
            (Medium::Terminal(_), _) => out.extend_from_slice(harmless(&line.message).as_bytes()),
            (Medium::Pipe, Some(bytes)) => out.extend_from_slice(bytes),
            (Medium::Pipe, None) => out.extend_from_slice(line.message.as_bytes()),
        }
        if !line.partial || self.name.is_some() || matches!(look.medium, Medium::Terminal(_)) {
            out.push(b'\n');
        }
    }
}

/// The same for the same name, wherever it is shown.
fn colour(name: &str) -> Style {
    let hash = name.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    Style::new().fg_color(Some(Color::Ansi(COLOURS[hash % COLOURS.len()])))
}

/// What may be sent to a terminal: text, tabs and colours, which many programs write. All else that would act is written
/// out (R43).
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = colour_sequence(rest).unwrap_or(letter.len_utf8());
        let (piece, later) = rest.split_at(length);
        if length > letter.len_utf8() || letter == '\t' {
            out.push_str(piece)
        } else {
            out.push_str(&clean(piece))
        }
        rest = later;
    }
    out
}

/// The length of the colour that begins here (ECMA-48: SGR).
fn colour_sequence(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    numbers[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::piped;
    use super::*;

    fn line(service: &str, stream: Stream, message: &str) -> LogLine {
        let time = "2026-11-23T04:07:41.250Z".parse().ok();
        LogLine { time, service: service.to_owned(), id: Some(1), stream, message: message.to_owned(), bytes: None, partial: false }
    }

    fn shown(lines: &Lines, line: &LogLine, look: &Look) -> String {
        let mut out = Vec::new();
        lines.line(line, look, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_service_has_no_prefix_and_several_have_their_names() {
        let look = piped();
        let out = line("web", Stream::Stdout, "GET /cart 200 12ms");
        assert_eq!(shown(&Lines::new(&names(&["web"]), false), &out, &look), "GET /cart 200 12ms\n");
        assert_eq!(shown(&Lines::new(&names(&["web", "worker"]), false), &out, &look), "web    | GET /cart 200 12ms\n");
        assert_eq!(shown(&Lines::new(&names(&["web"]), true), &out, &look), "2026-11-23T04:07:41.250+00:00 GET /cart 200 12ms\n");
        let unknown = LogLine { time: None, ..out };
        assert_eq!(shown(&Lines::new(&names(&["web"]), true), &unknown, &look), "(unknown) GET /cart 200 12ms\n");
    }

    #[test]
    fn a_pipe_gets_the_bytes_that_were_written() {
        let odd = LogLine { message: "\u{fffd}".to_owned(), bytes: Some(vec![0xff, 0, 0x1b]), ..line("web", Stream::Stdout, "") };
        let mut out = Vec::new();
        Lines::new(&names(&["web"]), false).line(&odd, &piped(), &mut out);
        Lines::new(&names(&["web"]), false).line(&LogLine { partial: true, ..odd }, &piped(), &mut out);
        assert_eq!(out, b"\xff\0\x1b\n\xff\0\x1b");
    }

    #[test]
    fn a_terminal_gets_colours_but_nothing_else_that_acts() {
        assert_eq!(harmless("\x1b[1;31merror\x1b[0m\tdone"), "\x1b[1;31merror\x1b[0m\tdone");
        assert_eq!(harmless("\x1b[2J\x1b]0;title\x07\r"), "\\u{1b}[2J\\u{1b}]0;title\\u{7}\\r");
        assert_eq!(harmless("\x1b["), "\\u{1b}[");
    }
}
