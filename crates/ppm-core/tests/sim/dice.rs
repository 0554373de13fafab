//! Chance for the simulation: everything random comes from one seed.

use std::time::Duration;

use ppm_core::chance::Chance;

/// Dice that fall the same way for the same seed.
pub struct Dice(Chance);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Chance::new(seed))
    }

    /// Dice of their own, so that more throws here do not change those there.
    pub fn split(&mut self) -> Dice {
        Dice::new(self.0.next())
    }

    /// 0 to `sides - 1`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0.below(sides)
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    /// One of these many milliseconds.
    pub fn pick_ms(&mut self, from: &[u64]) -> Duration {
        Duration::from_millis(*self.pick(from))
    }

    /// At most this many milliseconds.
    pub fn up_to_ms(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.roll(most + 1) as u64)
    }
}
