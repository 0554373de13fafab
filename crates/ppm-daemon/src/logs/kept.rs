//! The output of a service that is kept in memory, read piece by piece.
//!
//! The collector has it and goes on meanwhile: what it throws away before it was read is told as a gap.

use std::collections::VecDeque;

use super::Thread;
use super::index::Source;
use super::lines::{Line, Lines, Piece};
use super::ring::{Excerpt, Place};

/// So much is asked for at a time, in bytes.
const PORTION: usize = 16 * 1024;

/// What is told where output is missing.
const LEFT_OUT: &[u8] = b"[ppm: lines are left out here: memory keeps only the last of them]";

/// What memory has of a service, and how far it has been read.
#[derive(Debug)]
pub struct Kept {
    service: String,
    collector: Thread,
    /// What is read next, and where it ended when it was looked at; None: nothing was there yet.
    at: Option<Place>,
    end: Option<Place>,
    /// What has been read and not been sorted into lines.
    pieces: VecDeque<Piece>,
    lines: Lines,
    /// No more is waited for.
    is_over: bool,
}

impl Kept {
    /// What there may be of this service.
    pub fn new(service: String, collector: Thread) -> Kept {
        Kept { service, collector, at: None, end: None, pieces: VecDeque::new(), lines: Lines::default(), is_over: false }
    }

    /// Whether there is something that is not in the service's files.
    pub fn stands_for_files(&self) -> bool {
        self.collector.excerpt(&self.service, None, 0).is_some_and(|excerpt| excerpt.stands_for_files)
    }

    /// Whether there is anything.
    pub fn is_there(&self) -> bool {
        self.collector.excerpt(&self.service, None, 0).is_some()
    }

    /// Looks how far it goes.
    pub fn look(&mut self) {
        let Some(excerpt) = self.collector.excerpt(&self.service, None, 0) else { return };
        if self.at.is_none_or(|at| at.ring != excerpt.end.ring) {
            self.lines.end(); // of one that is not there any more
            self.at = Some(excerpt.begin);
        }
        self.end = Some(excerpt.end);
    }

    /// How many bytes it is from here to where it ended when it was looked at.
    pub fn size(&self) -> u64 {
        self.at.zip(self.end).map_or(0, |(at, end)| end.byte.saturating_sub(at.byte))
    }

    /// The next line, as far as it went when it was looked at.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.next() {
                return Some(line);
            }
            match self.pieces.pop_front() {
                Some(piece) => self.lines.take(piece),
                None if self.read_on() => {}
                None if self.is_over && self.lines.end() => {}
                None => return None,
            }
        }
    }

    /// Has the next pieces ready, if there are any.
    fn read_on(&mut self) -> bool {
        let Some((at, end)) = self.at.zip(self.end).filter(|(at, end)| at.byte < end.byte) else { return false };
        let most = usize::try_from(end.byte - at.byte).unwrap_or(PORTION).min(PORTION);
        let excerpt = self.collector.excerpt(&self.service, Some(at), most);
        let Some(Excerpt { begin, pieces, .. }) = excerpt.filter(|excerpt| excerpt.begin.ring == at.ring) else { return false };
        if begin.byte > at.byte {
            self.lines.say(Line { time: None, source: Source::Daemon, bytes: LEFT_OUT.to_vec(), partial: false });
            self.lines.end();
        }
        let read: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        self.at = Some(Place { byte: begin.byte + u64::try_from(read).unwrap_or(0), ..begin });
        self.pieces.extend(pieces);
        true
    }

    /// There is no more: what is left of a line is the last.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// The same from here on, to read it twice.
    pub fn bookmark(&self) -> Kept {
        let (service, collector) = (self.service.clone(), self.collector.clone());
        Kept { at: self.at, end: self.end, is_over: self.is_over, ..Kept::new(service, collector) }
    }
}
