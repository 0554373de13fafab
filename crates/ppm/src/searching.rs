//! One line on stderr that tells how far a search through logs has come.
//!
//! For a person at a terminal only, drawn in place, taken away before a line that was found is shown, and at the end.

use std::io::{self, Write};
use std::time::Instant;

use crate::progress::{EVERY, FIRST};
use crate::show::text::cut;
use crate::show::units::size;
use crate::streams;

/// How many lines are looked through between two looks at the clock.
const LINES: u32 = 256;

/// How far it is.
pub struct Searching {
    /// How many bytes there are to look through, where that is known.
    all: Option<u64>,
    seen: u64,
    found: u64,
    /// Since the last look at the clock.
    lines: u32,
    next: Instant,
    is_drawn: bool,
}

impl Searching {
    /// Through so many bytes.
    pub fn through(all: Option<u64>) -> Searching {
        Searching { all, seen: 0, found: 0, lines: 0, next: Instant::now() + FIRST, is_drawn: false }
    }

    /// A line of this length was looked at, and so many were found by now.
    pub fn saw(&mut self, length: usize, found: u64) {
        self.found = found;
        self.seen += u64::try_from(length).unwrap_or(0) + 1;
        self.lines += 1;
        if self.lines >= LINES {
            self.lines = 0;
            if Instant::now() >= self.next {
                self.draw();
            }
        }
    }

    /// Something else is to be shown.
    pub fn step_aside(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            write("\r\x1b[2K");
        }
    }

    fn draw(&mut self) {
        let limit = streams::columns(&io::stderr()).unwrap_or(80).saturating_sub(1);
        write(&format!("\r\x1b[2K{}", cut(&self.line(), limit)));
        self.is_drawn = true;
        self.next = Instant::now() + EVERY;
    }

    /// `searching 312 MiB of 1.00 GiB (30%), 12 found`.
    fn line(&self) -> String {
        let (seen, found) = (size(self.seen), self.found);
        match self.all.filter(|all| *all >= self.seen) {
            Some(all) => format!("searching {seen} of {} ({}%), {found} found", size(all), self.seen * 100 / all.max(1)),
            None => format!("searching {seen}, {found} found"),
        }
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        self.step_aside();
    }
}

fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_is_told_in_bytes_and_as_a_share_where_that_is_known() {
        let mut searching = Searching::through(Some(4 << 20));
        searching.saw((1 << 20) - 1, 1);
        assert_eq!(searching.line(), "searching 1.00 MiB of 4.00 MiB (25%), 1 found");
        searching.saw((7 << 20) - 1, 1); // written since
        assert_eq!(searching.line(), "searching 8.00 MiB, 1 found");
        assert_eq!(Searching::through(None).line(), "searching 0, 0 found");
    }
}
