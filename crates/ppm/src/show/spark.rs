//! Figures over time as a line of bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The latest values between nothing and 1, one bar each; a hole where one is not known.
pub fn spark(values: impl DoubleEndedIterator<Item = Option<f64>>, wide: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
    let bar = |value: f64| BARS[((value.clamp(0.0, 1.0) * 7.0).round() as usize).min(7)];
    let mut bars: Vec<char> = values.rev().take(wide).map(|value| value.map_or(' ', bar)).collect();
    bars.reverse();
    bars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_values_are_shown_and_what_is_not_known_is_a_hole() {
        let values = [Some(0.0), Some(0.5), None, Some(1.0), Some(7.0), Some(-1.0)];
        assert_eq!(spark(values.into_iter(), 10), "▁▅ ██▁");
        assert_eq!(spark(values.into_iter(), 2), "█▁");
        assert_eq!(spark([].into_iter(), 2), "");
    }
}
