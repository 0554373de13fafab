//! What services wrote last before they ended: read again from files or from memory when somebody asks.
//!
//! The collector knows where a run ended and how much it had written, so nothing of another run is taken for its last
//! words. How much is told is decided in [`ppm_core::last_words`].

use std::collections::VecDeque;

use ppm_core::last_words::{BYTES, BYTES_OF_ALL, LINES};
use ppm_protocol::types::Life;

use super::Thread;
use super::collector::End;
use super::file::length;
use super::files;
use super::lines::{Line, Lines, Piece};
use super::reader::Stored;
use super::ring::Place;

/// The lives with the last lines before each end that they name; ends before which there are none are left out.
pub fn told(mut lives: Vec<Life>, logs: &[Stored], collector: &Thread) -> Vec<Life> {
    let mut left = BYTES_OF_ALL;
    collector.write_indices();
    for life in &mut lives {
        let Some(stored) = logs.iter().find(|stored| stored.id == life.row.id) else { continue };
        let ends = collector.ends(&stored.service);
        for words in life.output.iter_mut().rev() {
            let Some(end) = ends.iter().rev().find(|end| end.run.0 == words.pid).filter(|_| left > 0) else { continue };
            let lines = last_lines(stored, end, collector);
            words.lines = lines.into_iter().map(|line| line.told(Some(stored.id), &stored.service)).collect();
            let size: usize = words.lines.iter().map(|line| line.message.len()).sum();
            left = left.saturating_sub(size);
        }
    }
    without_output(lives)
}

/// The lives without ends of which no lines are known.
pub fn without_output(mut lives: Vec<Life>) -> Vec<Life> {
    for life in &mut lives {
        life.output.retain(|words| !words.lines.is_empty());
    }
    lives
}

fn last_lines(stored: &Stored, end: &End, collector: &Thread) -> Vec<Line> {
    let in_files = |bytes| match (&stored.folder, end.file) {
        (Some(folder), Some(file)) => files::last_pieces(folder, &stored.service, file, bytes),
        (None, _) | (_, None) => Vec::new(),
    };
    let in_memory = |bytes| end.ring.map_or(Vec::new(), |place| kept_before(&stored.service, place, bytes, collector));
    let bounded = |bytes: u64| bytes.min(length(BYTES));
    let mut pieces = if end.written == end.told { in_files(bounded(end.written)) } else { in_memory(bounded(end.told)) };
    if pieces.is_empty() {
        pieces = if end.written == end.told { in_memory(bounded(end.told)) } else { in_files(bounded(end.written)) };
    }
    let read: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    lines_of(pieces, end.told > length(read))
}

/// The last of these pieces' lines; of the first the beginning may be missing.
fn lines_of(pieces: Vec<Piece>, is_cut: bool) -> Vec<Line> {
    let mut lines = Lines::default();
    let mut all = VecDeque::new();
    for piece in pieces {
        lines.take(piece);
        all.extend(std::iter::from_fn(|| lines.next()));
    }
    lines.end();
    all.extend(std::iter::from_fn(|| lines.next()));
    if is_cut && all.len() > 1 {
        all.pop_front();
    }
    all.drain(..all.len().saturating_sub(LINES));
    all.into()
}

/// What memory still has of so many bytes before this place.
fn kept_before(service: &str, end: Place, bytes: u64, collector: &Thread) -> Vec<Piece> {
    let oldest = collector.excerpt(service, None, 0).map(|excerpt| excerpt.begin).filter(|oldest| oldest.ring == end.ring);
    let Some(oldest) = oldest.filter(|oldest| oldest.byte < end.byte) else { return Vec::new() };
    let begin = Place { byte: end.byte.saturating_sub(bytes).max(oldest.byte), ..end };
    let most = usize::try_from(end.byte - begin.byte).unwrap_or(BYTES);
    let excerpt = collector.excerpt(service, Some(begin), most).filter(|excerpt| excerpt.begin == begin);
    excerpt.map_or(Vec::new(), |excerpt| excerpt.pieces)
}
