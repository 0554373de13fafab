//! Which lines the daemon's own log has: `PPM_LOG=ppm_daemon=debug,info`.
//!
//! Words between commas: a level for all, or a level for what comes from one part of the program. The longest name that
//! fits decides; what no word is about has the level that is usual.

use tracing::Level;

/// What is let through. None: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// By the names of parts.
    parts: Vec<(String, Option<Level>)>,
    others: Option<Level>,
}

impl Filter {
    /// This level for all.
    pub fn all(level: Level) -> Filter {
        Filter { parts: Vec::new(), others: Some(level) }
    }

    /// As it is written, and the words in it that mean nothing; they change nothing.
    pub fn parse(text: &str, usual: Level) -> (Filter, Vec<&str>) {
        let (mut filter, mut unknown) = (Filter::all(usual), Vec::new());
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None => match level(word) {
                    Some(level) => filter.others = level,
                    None => unknown.push(word),
                },
                Some((part, word_of_level)) => match level(word_of_level) {
                    Some(level) if !part.is_empty() => filter.parts.push((part.to_owned(), level)),
                    Some(_) | None => unknown.push(word),
                },
            }
        }
        (filter, unknown)
    }

    /// Whether a line of this level that comes from there is let through.
    pub fn passes(&self, level: Level, target: &str) -> bool {
        let is_of = |part: &str| target.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        let fitting = self.parts.iter().filter(|(part, _)| is_of(part)).max_by_key(|(part, _)| part.len());
        fitting.map_or(self.others, |(_, level)| *level).is_some_and(|most| level <= most)
    }

    /// The most that is let through of anything.
    pub fn most(&self) -> Option<Level> {
        self.parts.iter().map(|(_, level)| *level).chain([self.others]).flatten().max()
    }
}

/// What a word means; None: nothing.
fn level(word: &str) -> Option<Option<Level>> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "off" => None,
        "error" => Some(Level::ERROR),
        "warn" | "warning" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        "trace" => Some(Level::TRACE),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_that_fits_decides() {
        let (filter, unknown) = Filter::parse("ppm_daemon=debug, WARN ,ppm_daemon::logs=off,ppm_core=trace", Level::INFO);
        assert_eq!(unknown, Vec::<&str>::new());
        for (level, target, passes) in [
            (Level::DEBUG, "ppm_daemon", true),
            (Level::TRACE, "ppm_daemon::shell", false),
            (Level::ERROR, "ppm_daemon::logs::file", false),
            (Level::DEBUG, "ppm_daemon::logs_of_others", true),
            (Level::INFO, "ppm_daemons", false),
            (Level::WARN, "elsewhere", true),
            (Level::TRACE, "ppm_core", true),
        ] {
            assert_eq!(filter.passes(level, target), passes, "{level} of {target}");
        }
        assert_eq!(filter.most(), Some(Level::TRACE));
    }

    #[test]
    fn what_no_word_is_about_has_the_usual_level_and_nonsense_changes_nothing() {
        let (filter, unknown) = Filter::parse("app=debug,verbose,=info,x=,,", Level::INFO);
        assert_eq!(unknown, ["verbose", "=info", "x="]);
        assert!(filter.passes(Level::INFO, "ppm_daemon") && !filter.passes(Level::DEBUG, "ppm_daemon"));
        assert_eq!(Filter::parse("off", Level::INFO).0.most(), None);
        assert_eq!(Filter::parse("", Level::ERROR), (Filter::all(Level::ERROR), Vec::new()));
    }
}
