//! Tables that fit.
//!
//! On a terminal the least important columns go until the line fits; piped, all columns are there and nothing is
//! cut. Invariant: no line is wider than the terminal as long as that has room for a few letters a column.

use std::borrow::Cow;
use std::fmt::Write;

use anstyle::Style;

use super::text::{clean, cut, width};
use super::{Look, Medium, PLAIN};

/// Between two columns.
const GAP: usize = 2;

/// The dot and the space behind it.
const MARK: usize = 3;

/// A column that shrinks is worth showing from this width on.
const SHRUNK: usize = 16;

/// A column that may not go is cut to this width at the narrowest.
const NARROWEST: usize = 4;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    align: Align,
    give: Give,
}

/// To which side a column's texts lean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// How a column gives way where the line is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Give {
    /// It stays.
    Stays,
    /// It goes as a whole, the smallest number first.
    Goes(u8),
    /// It is cut, and goes after all that go.
    Shrinks,
}

impl Column {
    /// Words.
    pub const fn text(title: &'static str) -> Column {
        Column { title, align: Align::Left, give: Give::Stays }
    }

    /// Numbers.
    pub const fn number(title: &'static str) -> Column {
        Column { title, align: Align::Right, give: Give::Stays }
    }

    /// The same, but it goes as a whole where there is no room, the smallest `turn` first.
    pub const fn goes(self, turn: u8) -> Column {
        Column { give: Give::Goes(turn), ..self }
    }

    /// The same, but it is cut where there is no room, and goes last. A table has one such column at most.
    pub const fn shrinks(self) -> Column {
        Column { give: Give::Shrinks, ..self }
    }
}

/// One line of a table: a cell for every column.
#[derive(Debug, Default)]
pub struct Row<'a> {
    mark: Option<(char, Style)>,
    cells: Vec<Cell<'a>>,
}

#[derive(Debug)]
struct Cell<'a> {
    text: Cow<'a, str>,
    style: Style,
    /// Of the text, in columns.
    width: usize,
}

impl<'a> Row<'a> {
    /// A row that begins with a dot on a terminal.
    pub fn marked(mark: char, style: Style) -> Row<'a> {
        Row { mark: Some((mark, style)), cells: Vec::new() }
    }

    /// The same with one more cell; empty: there is nothing to show.
    pub fn cell(self, text: impl Into<Cow<'a, str>>) -> Row<'a> {
        self.styled(text, PLAIN)
    }

    /// The same with one more cell in a style.
    pub fn styled(mut self, text: impl Into<Cow<'a, str>>, style: Style) -> Row<'a> {
        let mut text = text.into();
        if let Cow::Owned(cleaned) = clean(&text) {
            text = cleaned.into();
        }
        let width = width(&text);
        self.cells.push(Cell { text, style, width });
        self
    }
}

/// The whole table as text, a line feed at the end of each line.
pub fn render(columns: &[Column], mut rows: Vec<Row<'_>>, look: &Look) -> String {
    for row in &mut rows {
        for (cell, column) in row.cells.iter_mut().zip(columns) {
            // A note that is empty is nothing to see; a number that is missing leaves a hole.
            if cell.text.is_empty() && (look.medium == Medium::Pipe || column.give != Give::Shrinks) {
                (cell.text, cell.width) = ("-".into(), 1);
            }
        }
    }
    let marked = look.medium != Medium::Pipe && rows.iter().any(|row| row.mark.is_some());
    let natural = columns.iter().enumerate().map(|(at, column)| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.width);
        cells.chain(look.headers.then_some(width(column.title))).max().unwrap_or(0)
    });
    let widths = fit(columns, natural.collect(), look.width().map(|limit| limit.saturating_sub(if marked { MARK } else { 0 })));

    let mut out = String::new();
    if look.headers {
        let titles = columns.iter().fold(Row::default(), |row, column| row.cell(column.title));
        line(&mut out, columns, &widths, &titles, marked, look);
    }
    for row in &rows {
        line(&mut out, columns, &widths, row, marked, look);
    }
    out
}

/// The widths at which all columns together take at most `limit`; None for those that went.
fn fit(columns: &[Column], natural: Vec<usize>, limit: Option<usize>) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = natural.into_iter().map(Some).collect();
    let limit = limit.unwrap_or(usize::MAX);
    loop {
        let shown = widths.iter().flatten().count();
        let total = widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1);
        let excess = total.saturating_sub(limit);
        if excess == 0 {
            return widths;
        }
        let shrinking = columns.iter().position(|column| column.give == Give::Shrinks).filter(|at| widths[*at].is_some());
        if let Some(at) = shrinking
            && let Some(wide) = widths[at]
            && wide >= excess + SHRUNK.min(wide)
        {
            widths[at] = Some(wide - excess);
        } else if let Some(at) = next_to_go(columns, &widths).or(shrinking) {
            widths[at] = None;
        } else {
            cut_widest(&mut widths, excess);
            return widths;
        }
    }
}

fn next_to_go(columns: &[Column], widths: &[Option<usize>]) -> Option<usize> {
    let turns = columns.iter().enumerate().filter_map(|(at, column)| match column.give {
        Give::Goes(turn) if widths[at].is_some() => Some((turn, at)),
        Give::Goes(_) | Give::Stays | Give::Shrinks => None,
    });
    turns.min().map(|(_, at)| at)
}

fn cut_widest(widths: &mut [Option<usize>], excess: usize) {
    if let Some(widest) = widths.iter_mut().flatten().max() {
        *widest = widest.saturating_sub(excess).max(NARROWEST.min(*widest));
    }
}

/// Appends one line, without spaces at its end.
fn line(out: &mut String, columns: &[Column], widths: &[Option<usize>], row: &Row<'_>, marked: bool, look: &Look) {
    let mut spaces = 0;
    if marked {
        match row.mark {
            Some((mark, style)) => {
                paint(out, look, style, mark.encode_utf8(&mut [0; 4]));
                spaces = MARK - 1;
            }
            None => spaces = MARK,
        }
    }
    for ((column, wide), cell) in columns.iter().zip(widths).zip(&row.cells) {
        let Some(wide) = *wide else { continue };
        let (text, taken) = if cell.width <= wide {
            (Cow::Borrowed(&*cell.text), cell.width)
        } else {
            let text = cut(&cell.text, wide);
            let taken = width(&text);
            (text, taken)
        };
        let room = wide.saturating_sub(taken);
        let (before, after) = match column.align {
            Align::Left => (0, room),
            Align::Right => (room, 0),
        };
        spaces += before;
        if !text.is_empty() {
            out.extend(std::iter::repeat_n(' ', spaces));
            paint(out, look, cell.style, &text);
            spaces = 0;
        }
        spaces += after + GAP;
    }
    out.push('\n');
}

fn paint(out: &mut String, look: &Look, style: Style, text: &str) {
    if look.colour && !style.is_plain() {
        let _ = write!(out, "{style}{text}{style:#}");
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::super::{BAD, GOOD};
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::text("NAME"), Column::number("N").goes(2), Column::number("PID").goes(1), Column::text("NOTE").shrinks()];

    fn rows() -> Vec<Row<'static>> {
        vec![
            Row::marked('●', GOOD).styled("web", BAD).cell("1").cell("4242").cell("a note that goes on for a while"),
            Row::marked('○', GOOD).cell("a-longer-name").cell("").cell("").cell(""),
        ]
    }

    #[test]
    fn piped_all_columns_are_there_and_holes_are_dashes() {
        let expected = "
NAME           N   PID  NOTE
web            1  4242  a note that goes on for a while
a-longer-name  -     -  -
";
        assert_eq!(format!("\n{}", render(&COLUMNS, rows(), &piped())), expected);
    }

    #[test]
    fn on_a_terminal_the_note_shrinks_before_a_column_goes() {
        let expected = "
   NAME           N   PID  NOTE
●  web            1  4242  a note that goes on…
○  a-longer-name  -     -
";
        assert_eq!(format!("\n{}", render(&COLUMNS, rows(), &terminal(47))), expected);
    }

    #[test]
    fn columns_go_in_their_turn_and_the_note_last() {
        let header = |limit| render(&COLUMNS, rows(), &terminal(limit)).lines().next().unwrap().to_owned();
        assert_eq!(header(43), "   NAME           N   PID  NOTE");
        assert_eq!(header(42), "   NAME           N  NOTE");
        assert_eq!(header(36), "   NAME           NOTE");
        assert_eq!(header(33), "   NAME");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for limit in MARK + NARROWEST..120 {
            for line in render(&COLUMNS, rows(), &terminal(limit)).lines() {
                assert!(width(line) <= limit, "{limit}: {line}");
            }
        }
    }

    #[test]
    fn wide_shows_everything_and_cuts_nothing() {
        let look = Look { wide: true, ..terminal(20) };
        assert!(render(&COLUMNS, rows(), &look).contains("4242  a note that goes on for a while\n"));
    }

    #[test]
    fn colour_does_not_move_columns() {
        let colourful = render(&COLUMNS, rows(), &Look { colour: true, ..terminal(47) });
        assert!(colourful.contains("\x1b[31mweb\x1b[0m            1"), "{colourful:?}");
        assert_eq!(anstream::adapter::strip_str(&colourful).to_string(), render(&COLUMNS, rows(), &terminal(47)));
    }

    #[test]
    fn headers_can_be_left_out_and_take_no_room_then() {
        let row = || vec![Row::default().cell("a").cell("1").cell("2").cell("n")];
        assert_eq!(render(&COLUMNS, row(), &Look { headers: false, ..piped() }), "a  1  2  n\n");
    }
}
