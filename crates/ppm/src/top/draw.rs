//! How the screen looks: lines of text in a buffer, cut to the width, at any size.
//!
//! Everything a service could have chosen passes through [`clean`] before it is drawn (R75), and nothing needs colour to be
//! understood.

use anstyle::{AnsiColor, Color as Ansi};
use ppm_protocol::{ServiceRow, StatsRow, Status, Stream};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::feed::Text;
use super::screen::{Pane, Screen, Trace};
use crate::cli::Most;
use crate::show::services::mark;
use crate::show::spark::spark;
use crate::show::text::{clean, cut, width};
use crate::show::{Look, info, stats, units};

/// From this width on there are spark lines.
const ROOM_FOR_SPARKS: u16 = 100;

/// A log pane takes a third, if that is at least so much.
const LEAST_PANE: u16 = 4;

const KEYS: &str = "q quit  ? help  ↑↓ select  r restart  s stop  S start  l log  i info  / filter  o sort";

const HELP: &[&str] = &[
    "↑ ↓ k j        select; in a log or in what is known, scroll",
    "PgUp PgDn      a page; Home End g G: the first, the last",
    "r              restart the selected service",
    "s              stop it",
    "S              start it",
    "l  Enter       its log below the table; again: on the whole screen; again: away",
    "i              all that is known of it",
    "/              show only services whose names contain what is typed; Esc shows all",
    "o              sort by processor, memory, reading and writing, or as they are",
    "Esc            back",
    "q  Ctrl-C      leave; services are not touched",
    "",
    "CPU is percent of one core, MEM resident memory, both with all processes of a service.",
    "Spark lines show what was seen since top began: each has a scale of its own.",
];

/// Draws it all, and tells the screen how long a page is.
pub fn draw(frame: &mut Frame<'_>, screen: &mut Screen, look: &Look) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let (body, last) = (area.height.saturating_sub(1), area.height.saturating_sub(1));
    match screen.pane {
        Pane::Help => whole(buffer, area.width, body, "help", HELP.iter().map(|line| (*line).to_owned()), screen.scrolled),
        Pane::Info => whole_info(buffer, area.width, body, screen, look),
        Pane::WholeLog => log(buffer, Rect { height: body, ..area }, screen),
        Pane::None | Pane::Log => {
            let below = if screen.pane == Pane::Log { (area.height / 3).max(LEAST_PANE).min(body.saturating_sub(4)) } else { 0 };
            table(buffer, Rect { height: body.saturating_sub(below), ..area }, screen);
            if below > 1 {
                log(buffer, Rect { y: body - below, height: below, ..area }, screen);
            }
        }
    }
    if area.height > 1 {
        footer(buffer, last, area.width, screen);
    }
}

fn footer(buffer: &mut Buffer, y: u16, wide: u16, screen: &Screen) {
    let (text, style) = if screen.is_typing {
        (format!("/{}█  Enter keeps it, Esc shows all", clean(&screen.filter)), Style::new())
    } else if let Some(said) = screen.said.first() {
        (clean(said).into_owned(), painted(screen, Color::Red).add_modifier(Modifier::BOLD))
    } else {
        (KEYS.to_owned(), Style::new().add_modifier(Modifier::DIM))
    };
    put(buffer, 0, y, &text, usize::from(wide), style);
}

/// The table with a headline above it.
fn table(buffer: &mut Buffer, area: Rect, screen: &mut Screen) {
    let wide = usize::from(area.width);
    put(buffer, 0, 0, &headline(screen, wide), wide, Style::new().add_modifier(Modifier::BOLD));
    let room = usize::from(area.height.saturating_sub(2));
    screen.page = room;
    let screen = &*screen;
    let rows = screen.rows();
    let layout = Layout::new(area.width, rows.iter().map(|(service, _)| width(&clean(&service.name))).max().unwrap_or(0));
    if area.height > 1 {
        layout.titles(buffer, screen.sort);
    }
    let at = rows.iter().position(|(service, _)| Some(service.id) == screen.selected).unwrap_or(0);
    let first = (at + 1).saturating_sub(room); // the selected one is the last at the lowest
    for (y, (service, figures)) in (2..area.height).zip(rows.iter().skip(first)) {
        layout.row(buffer, y, screen, service, *figures);
        if Some(service.id) == screen.selected {
            buffer.set_style(Rect { x: 0, y, width: area.width, height: 1 }, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
    if rows.is_empty() && room > 0 {
        let text = match (&screen.seen, screen.filter.is_empty()) {
            (None, _) => "asking the daemon",
            (Some(_), true) => "no services; 'ppm add --name NAME -- COMMAND' adds one",
            (Some(_), false) => "no service has that in its name; Esc shows all",
        };
        put(buffer, 2, 2, text, wide.saturating_sub(2), Style::new());
    }
}

fn headline(screen: &Screen, wide: usize) -> String {
    let Some(seen) = &screen.seen else { return "ppm top".to_owned() };
    let count = |is: fn(&ServiceRow) -> bool| seen.services.iter().filter(|service| is(service)).count();
    let counts = [
        (count(|service| service.ready), "ready"),
        (count(|service| service.status == Status::Crashed), "crashed"),
        (count(|service| service.status == Status::Stopped), "paused"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let own = seen.stats.iter().find(|row| row.id.is_none());
    let up = own.and_then(|own| own.uptime_ms).map_or(String::new(), |ms| format!("  up {}", units::duration(ms)));
    let what = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let left = format!("ppm top{up}  {} services{what}", seen.services.len());
    let container = own.and_then(|own| own.container.as_ref());
    let room = wide.saturating_sub(width(&left) + 2);
    let right = container.map_or(String::new(), |container| stats::container_line(container, Some(room)));
    if right.is_empty() { left } else { format!("{left}{}{right}", " ".repeat(wide.saturating_sub(width(&left) + width(&right)))) }
}

/// Where the columns are.
struct Layout {
    name: usize,
    spark: usize,
    wide: usize,
}

impl Layout {
    fn new(wide: u16, longest: usize) -> Layout {
        let wide = usize::from(wide);
        let spark = if wide >= usize::from(ROOM_FOR_SPARKS) { ((wide - 80) / 2).min(16) } else { 0 };
        Layout { name: longest.clamp(4, (wide / 5).max(12)), spark, wide }
    }

    /// Each column's place and width: name, state, processor, its spark line, memory, its spark line, time, restarts, note.
    fn columns(&self) -> [(usize, usize); 9] {
        let mut at = 2;
        let mut place = |width: usize, gap: usize| {
            let place = (at, width);
            at += width + gap;
            place
        };
        let gap = usize::from(self.spark > 0);
        let name = place(self.name, 2);
        let state = place(8, 1);
        let cpu = place(7, 1);
        let cpu_spark = place(self.spark, gap);
        let memory = place(8, 1);
        let memory_spark = place(self.spark, gap);
        let up = place(7, 1);
        let restarts = place(3, 1);
        let note = place(self.wide, 0);
        [name, state, cpu, cpu_spark, memory, memory_spark, up, restarts, note]
    }

    fn titles(&self, buffer: &mut Buffer, sort: Option<Most>) {
        let [name, state, cpu, _, memory, _, up, restarts, note] = self.columns();
        let style = Style::new().add_modifier(Modifier::DIM);
        let sorted = |most, title: &str| if sort == Some(most) { format!("{title}▼") } else { title.to_owned() };
        self.cell(buffer, 1, name, "NAME", style);
        self.cell(buffer, 1, state, "STATE", style);
        self.number(buffer, 1, cpu, &sorted(Most::Cpu, "CPU"), style);
        self.number(buffer, 1, memory, &sorted(Most::Memory, "MEM"), style);
        self.number(buffer, 1, up, "UP", style);
        self.number(buffer, 1, restarts, "↺", style);
        self.cell(buffer, 1, note, if sort == Some(Most::Io) { "NOTE  (by reading and writing)" } else { "NOTE" }, style);
    }

    fn row(&self, buffer: &mut Buffer, y: u16, screen: &Screen, service: &ServiceRow, figures: Option<&StatsRow>) {
        let [name, state, cpu, cpu_spark, memory, memory_spark, up, restarts, note] = self.columns();
        let (dot, style) = mark(service);
        let style = if screen.colour { style.get_fg_color().map_or(Style::new(), coloured) } else { Style::new() };
        let plain = Style::new();
        self.cell(buffer, y, (0, 1), dot.encode_utf8(&mut [0; 4]), style);
        self.cell(buffer, y, name, &service.name, plain);
        self.cell(buffer, y, state, &service.status.to_string(), style);
        let percent = figures.and_then(|row| row.cpu_percent).map_or("-".to_owned(), |percent| format!("{percent:.1}%"));
        self.number(buffer, y, cpu, &percent, plain);
        self.number(buffer, y, memory, &figures.and_then(|row| row.memory_rss).map_or("-".to_owned(), units::size), plain);
        self.number(buffer, y, up, &service.uptime_ms.map_or("-".to_owned(), units::duration), plain);
        self.number(buffer, y, restarts, &service.restarts.to_string(), plain);
        self.cell(buffer, y, note, &service.reason, plain);
        if let Some(Trace { cpu: percents, memory: sizes }) = screen.traces.get(&service.id).filter(|_| self.spark > 0) {
            let most = percents.iter().copied().fold(1.0, f64::max);
            self.cell(buffer, y, cpu_spark, &spark(percents.iter().map(|percent| Some(percent / most)), self.spark), plain);
            #[expect(clippy::cast_precision_loss, reason = "an eighth is shown")]
            let sizes: Vec<f64> = sizes.iter().map(|size| *size as f64).collect();
            #[expect(clippy::cast_precision_loss, reason = "an eighth is shown")]
            let limit = figures.and_then(|row| row.memory_limit).map(|limit| limit as f64);
            let most = limit.unwrap_or(0.0).max(sizes.iter().copied().fold(1.0, f64::max));
            self.cell(buffer, y, memory_spark, &spark(sizes.iter().map(|size| Some(size / most)), self.spark), plain);
        }
    }

    fn cell(&self, buffer: &mut Buffer, y: u16, (at, wide): (usize, usize), text: &str, style: Style) {
        if let (Ok(x), true) = (u16::try_from(at), at < self.wide) {
            put(buffer, x, y, text, wide.min(self.wide - at), style);
        }
    }

    fn number(&self, buffer: &mut Buffer, y: u16, (at, wide): (usize, usize), text: &str, style: Style) {
        self.cell(buffer, y, (at, wide), &format!("{text:>wide$}"), style);
    }
}

/// The end of the log of the selected service.
fn log(buffer: &mut Buffer, area: Rect, screen: &Screen) {
    let wide = usize::from(area.width);
    let name = screen.selected_row().map_or(String::new(), |service| clean(&service.name).into_owned());
    let back = if screen.scrolled > 0 { format!(", {} lines back", screen.scrolled) } else { String::new() };
    rule(buffer, area.y, wide, &format!("log: {name}{back}"));
    let lines: Vec<(Option<Stream>, &str)> = match &screen.text {
        None => vec![(None, "reading it")],
        Some(Text::Log(_, lines)) if lines.is_empty() => vec![(None, "it is empty")],
        Some(Text::Log(_, lines)) => lines.iter().map(|(stream, line)| (Some(*stream), line.as_str())).collect(),
        Some(Text::Nothing(_, why)) => vec![(None, why.as_str())],
        Some(Text::Info(_)) => Vec::new(),
    };
    let room = usize::from(area.height.saturating_sub(1));
    let end = lines.len().saturating_sub(screen.scrolled).max(room.min(lines.len()));
    let shown = &lines[end.saturating_sub(room)..end];
    for (y, (stream, line)) in (area.y + 1..).zip(shown) {
        let style = if *stream == Some(Stream::Stderr) { painted(screen, Color::Red) } else { Style::new() };
        let tag = match stream {
            Some(Stream::Stderr) => "err ",
            Some(_) => "out ",
            None => "",
        };
        put(buffer, 0, y, tag, wide, style);
        put(buffer, u16::try_from(tag.len()).unwrap_or(0), y, line, wide.saturating_sub(tag.len()), Style::new());
    }
}

fn whole_info(buffer: &mut Buffer, wide: u16, height: u16, screen: &Screen, look: &Look) {
    let name = screen.selected_row().map_or(String::new(), |service| clean(&service.name).into_owned());
    let text = match &screen.text {
        Some(Text::Info(row)) => info::details(std::slice::from_ref(row), screen.seen.as_ref().map_or(&[], |seen| &seen.stats), look),
        Some(Text::Nothing(_, why)) => why.clone(),
        Some(Text::Log(..)) | None => "asking the daemon".to_owned(),
    };
    whole(buffer, wide, height, &format!("info: {name}"), text.lines().map(str::to_owned), screen.scrolled);
}

fn whole(buffer: &mut Buffer, wide: u16, height: u16, title: &str, lines: impl Iterator<Item = String>, scrolled: usize) {
    let lines: Vec<String> = lines.collect();
    rule(buffer, 0, usize::from(wide), title);
    let first = scrolled.min(lines.len().saturating_sub(usize::from(height.saturating_sub(1))));
    for (y, line) in (1..height).zip(lines.iter().skip(first)) {
        put(buffer, 0, y, line, usize::from(wide), Style::new());
    }
}

fn rule(buffer: &mut Buffer, y: u16, wide: usize, title: &str) {
    let rest = "─".repeat(wide.saturating_sub(width(title) + 2));
    put(buffer, 0, y, &format!(" {title} {rest}"), wide, Style::new().add_modifier(Modifier::DIM));
}

fn put(buffer: &mut Buffer, x: u16, y: u16, text: &str, wide: usize, style: Style) {
    if buffer.area.contains((x, y).into()) {
        let text = clean(text);
        buffer.set_stringn(x, y, cut(&text, wide), wide, style);
    }
}

fn painted(screen: &Screen, colour: Color) -> Style {
    if screen.colour { Style::new().fg(colour) } else { Style::new() }
}

/// The colours that states have in tables.
fn coloured(colour: Ansi) -> Style {
    match colour {
        Ansi::Ansi(AnsiColor::Green) => Style::new().fg(Color::Green),
        Ansi::Ansi(AnsiColor::Yellow) => Style::new().fg(Color::Yellow),
        Ansi::Ansi(AnsiColor::Red) => Style::new().fg(Color::Red),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::feed::Seen;
    use super::super::screen::tests::{press, screen, service, several, uses};
    use super::*;
    use crate::show::tests::terminal;

    fn buffer(screen: &mut Screen, wide: u16, high: u16) -> Buffer {
        let mut view = Terminal::new(TestBackend::new(wide, high)).unwrap();
        view.draw(|frame| draw(frame, screen, &terminal(usize::from(wide)))).unwrap();
        view.backend().buffer().clone()
    }

    fn text(screen: &mut Screen, wide: u16, high: u16) -> String {
        let buffer = buffer(screen, wide, high);
        let line = |y| (0..wide).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..high).map(|y| line(y) + "\n").collect()
    }

    #[test]
    fn on_80_columns_there_are_no_spark_lines() {
        let expected = "
ppm top  3 services: 2 ready, 1 crashed
  NAME    STATE        CPU      MEM      UP   ↺ NOTE
● db      Running     1.3% 48.0 MiB   3d 4h   0 started with the daemon
● web     Running    12.4%  182 MiB   3d 4h   0 restarted after exit code 1
● worker  Crashed        -        -       -   0 exit code 1, gave up after 3 re…

q quit  ? help  ↑↓ select  r restart  s stop  S start  l log  i info  / filter…
";
        assert_eq!(format!("\n{}", text(&mut screen(), 80, 7)), expected);
    }

    #[test]
    fn where_there_is_room_spark_lines_show_what_was_seen() {
        let mut screen = screen();
        for (cpu, memory) in [(2.6, 24 << 20), (0.0, 48 << 20)] {
            screen.seen(Seen { stats: vec![uses(1, "db", cpu, memory)], ..several() });
        }
        let expected = "
ppm top  3 services: 2 ready, 1 crashed
  NAME    STATE        CPU                   MEM                   UP   ↺ NOTE
● db      Running     0.0% ▅█▁          48.0 MiB █▅█            3d 4h   0 started with the daemon
● web     Running        - █                   - █              3d 4h   0 restarted after exit code 1
● worker  Crashed        -                     -                    -   0 exit code 1, gave up after 3…

q quit  ? help  ↑↓ select  r restart  s stop  S start  l log  i info  / filter  o sort
";
        assert_eq!(format!("\n{}", text(&mut screen, 104, 7)), expected);
    }

    #[test]
    fn the_log_stands_below_the_table_and_alone() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('l'));
        let lines = vec![(Stream::Stdout, "GET /cart 200".to_owned()), (Stream::Stderr, "WARN slow\u{1b}[2J".to_owned())];
        screen.pane_read(Text::Log("db".to_owned(), lines));
        let expected = "
ppm top  3 services: 2 ready, 1 crashed
  NAME    STATE        CPU      MEM      UP   ↺ NOTE
● db      Running     1.3% 48.0 MiB   3d 4h   0 started wit…
● web     Running    12.4%  182 MiB   3d 4h   0 restarted a…
● worker  Crashed        -        -       -   0 exit code 1…
 log: db ───────────────────────────────────────────────────
out GET /cart 200
err WARN slow\\u{1b}[2J

q quit  ? help  ↑↓ select  r restart  s stop  S start  l lo…
";
        assert_eq!(format!("\n{}", text(&mut screen, 60, 10)), expected);
        press(&mut screen, KeyCode::Char('l'));
        assert!(text(&mut screen, 60, 10).starts_with(" log: db ─"));
    }

    #[test]
    fn help_and_what_is_typed_are_shown() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('?'));
        let shown = text(&mut screen, 80, 24);
        assert!(shown.contains("restart the selected service") && shown.contains("each has a scale of its own"), "{shown}");
        press(&mut screen, KeyCode::Esc);
        press(&mut screen, KeyCode::Char('/'));
        press(&mut screen, KeyCode::Char('w'));
        assert!(text(&mut screen, 80, 24).ends_with("/w█  Enter keeps it, Esc shows all\n"));
    }

    #[test]
    fn of_many_services_the_selected_one_is_shown() {
        let services = (1..=500).map(|id| service(id, &format!("web-{id}"), Status::Running, "")).collect();
        let mut screen = Screen::new(false);
        screen.seen(Seen { services, stats: Vec::new() });
        press(&mut screen, KeyCode::End);
        let shown = text(&mut screen, 80, 24);
        assert!(shown.contains("web-500") && !shown.contains("web-1 "), "{shown}");
        assert_eq!(screen.page, 21);
        press(&mut screen, KeyCode::PageUp);
        assert_eq!(screen.selected, Some(479));
    }

    #[test]
    fn every_size_is_drawn_without_a_panic() {
        for keys in ["", "l", "ll", "i", "?", "/x"] {
            let mut screen = screen();
            for key in keys.chars() {
                press(&mut screen, KeyCode::Char(key));
            }
            screen.pane_read(Text::Log("db".to_owned(), vec![(Stream::Stderr, "long ".repeat(100)); 50]));
            for wide in 1..=40 {
                for high in 1..=14 {
                    text(&mut screen, wide * 4, high);
                }
            }
        }
    }

    #[test]
    fn there_is_colour_where_it_is_wanted_and_none_otherwise() {
        let colours = |screen: &mut Screen| {
            let buffer = buffer(screen, 80, 7);
            buffer.content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert_eq!(colours(&mut screen()), 0);
        let mut screen = screen();
        screen.colour = true;
        assert!(colours(&mut screen) > 10);
    }

    #[test]
    fn names_that_would_act_are_written_out() {
        let mut screen = Screen::new(false);
        let evil = service(1, "a\u{1b}[31m\nb", Status::Running, "\u{202e}x");
        screen.seen(Seen { services: vec![evil], stats: Vec::new() });
        let shown = text(&mut screen, 80, 7);
        assert!(shown.contains("a\\u{1b}[31m\\nb") && shown.contains("\\u{202e}x") && !shown.contains('\u{1b}'), "{shown}");
    }
}
