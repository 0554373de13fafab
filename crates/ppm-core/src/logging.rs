//! What becomes of a service's output: the keys as they are written, and what they mean together.
//!
//! Keys of `logger` hold for all services, those of a service's `log` for it alone. What is not written is decided
//! here. Invariant: a service whose [`Logger`] is None writes where the daemon writes, and nothing is captured.

use std::time::Duration;

/// How many files of a service are kept where nobody says.
pub const MAX_FILES: u32 = 3;

/// How large a file grows where nobody says, in bytes.
pub const MAX_FILE_SIZE: u64 = 20 << 20;

/// How much all files of a folder may take together where nobody says, in bytes.
pub const MAX_TOTAL_SIZE: u64 = 200 << 20;

/// The least and the most of a service's output that memory may keep, in bytes: less holds no line that is worth it, and
/// what is more belongs into files.
pub const MEMORY: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;

/// The keys of `logger` and of `log`; None: not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogKeys {
    /// The folder of the files, absolute. References are expanded at each start.
    pub path: Option<String>,
    /// How many files of a service are kept, the active one included; at least 1.
    pub max_files: Option<u32>,
    /// How large a file grows, in bytes; zero: any size.
    pub max_file_size: Option<u64>,
    /// How much all files of the folder may take together, in bytes; zero: any.
    pub max_total_size: Option<u64>,
    /// How long what was written is kept; zero: for ever.
    pub max_age: Option<Duration>,
    /// How much of the last output is kept in memory, in bytes, one of [`MEMORY`]; zero: nothing.
    pub memory: Option<u64>,
    /// How many bytes of a second are let through; zero: all.
    pub rate_limit: Option<u64>,
    /// Whether output is also copied to the daemon's standard output.
    pub console: Option<bool>,
    /// There: whether each line begins with the service's name.
    pub prefix: Option<bool>,
    /// There: lines of text, or of JSON.
    pub format: Option<Format>,
    /// There: whether each line of text begins with its time.
    pub timestamps: Option<bool>,
}

/// How lines are written to the daemon's standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As they are, with something in front.
    #[default]
    Text,
    /// As objects, one in a line.
    Json,
}

/// What is written for one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogChoice {
    /// Nothing: as `logger` says.
    #[default]
    AsLogger,
    /// `false`: it writes where the daemon writes.
    Inherit,
    /// Keys that win over those of `logger`.
    Own(Box<LogKeys>),
}

/// What becomes of the output of one service, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logger {
    /// Files that it is written to.
    pub files: Option<Files>,
    /// How much of the last of it is kept in memory, in bytes, one of [`MEMORY`].
    pub memory: Option<u64>,
    /// How many bytes of a second are let through; None: all.
    pub rate_limit: Option<u64>,
    /// How it is copied to the daemon's standard output, if it is.
    pub console: Option<Style>,
}

impl Logger {
    /// Whether it is kept somewhere where it can be read again.
    pub fn keeps(&self) -> bool {
        self.files.is_some() || self.memory.is_some()
    }
}

/// How output looks on the daemon's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether each line begins with the service's name.
    pub prefix: bool,
    /// Lines of text, or of JSON.
    pub format: Format,
    /// Whether each line of text has its time in front.
    pub timestamps: bool,
}

impl Default for Style {
    fn default() -> Style {
        Style { prefix: true, format: Format::Text, timestamps: false }
    }
}

/// The files of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder, as it is written.
    pub path: String,
    /// What is kept in it.
    pub limits: Limits,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files of one service, the active one included; at least 1.
    pub files: u32,
    /// Bytes of one file; at least 1.
    pub file_size: u64,
    /// Bytes of all files of the folder.
    pub total_size: Option<u64>,
    /// From when on what was written may go.
    pub age: Option<Duration>,
}

impl LogKeys {
    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        *self == LogKeys::default()
    }

    /// Whether there is somewhere to write to.
    pub fn has_sink(&self) -> bool {
        self.clone().decided().is_some()
    }

    fn over(&self, common: Option<&LogKeys>) -> LogKeys {
        let none = LogKeys::default();
        let LogKeys { path, max_files, max_file_size, max_total_size, max_age, memory, rate_limit, console, prefix, format, timestamps } =
            common.unwrap_or(&none);
        LogKeys {
            path: self.path.clone().or_else(|| path.clone()),
            max_files: self.max_files.or(*max_files),
            max_file_size: self.max_file_size.or(*max_file_size),
            max_total_size: self.max_total_size.or(*max_total_size),
            max_age: self.max_age.or(*max_age),
            memory: self.memory.or(*memory),
            rate_limit: self.rate_limit.or(*rate_limit),
            console: self.console.or(*console),
            prefix: self.prefix.or(*prefix),
            format: self.format.or(*format),
            timestamps: self.timestamps.or(*timestamps),
        }
    }

    fn decided(self) -> Option<Logger> {
        let total_size = Some(self.max_total_size.unwrap_or(MAX_TOTAL_SIZE)).filter(|size| *size > 0);
        let file_size = Some(self.max_file_size.unwrap_or(MAX_FILE_SIZE)).filter(|size| *size > 0).unwrap_or(u64::MAX);
        let limits = Limits {
            files: self.max_files.unwrap_or(MAX_FILES).max(1),
            // Only whole files are thrown away: one that held all that there may be would go with its newest lines.
            file_size: total_size.map_or(file_size, |total| file_size.min((total / 2).max(1))),
            total_size,
            age: self.max_age.filter(|age| !age.is_zero()),
        };
        let files = self.path.map(|path| Files { path, limits });
        let style = Style {
            prefix: self.prefix.unwrap_or(true),
            format: self.format.unwrap_or_default(),
            timestamps: self.timestamps.unwrap_or(false),
        };
        let console = (self.console == Some(true)).then_some(style);
        let memory = self.memory.filter(|bytes| *bytes > 0);
        let rate_limit = self.rate_limit.filter(|bytes| *bytes > 0);
        (files.is_some() || memory.is_some() || console.is_some()).then_some(Logger { files, memory, rate_limit, console })
    }
}

impl LogChoice {
    /// What becomes of the output; None: it goes where the daemon's goes.
    pub fn logger(&self, common: Option<&LogKeys>) -> Option<Logger> {
        match self {
            LogChoice::AsLogger => common?.clone().decided(),
            LogChoice::Inherit => None,
            LogChoice::Own(keys) => keys.over(common).decided(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> LogKeys {
        LogKeys { path: Some(path.to_owned()), ..LogKeys::default() }
    }

    #[test]
    fn a_service_is_captured_where_there_is_somewhere_to_write_to() {
        let common = path("/logs");
        assert_eq!(LogChoice::AsLogger.logger(None), None);
        assert_eq!(LogChoice::Inherit.logger(Some(&common)), None);
        let own = LogChoice::Own(Box::new(LogKeys { max_files: Some(5), ..LogKeys::default() }));
        assert_eq!(own.logger(None), None);
        let files = LogChoice::AsLogger.logger(Some(&common)).unwrap().files.unwrap();
        let limits = Limits { files: 3, file_size: 20 << 20, total_size: Some(200 << 20), age: None };
        assert_eq!(files, Files { path: "/logs".to_owned(), limits });
    }

    #[test]
    fn keys_of_a_service_win_and_zero_means_without_limit() {
        let common = LogKeys { max_files: Some(2), max_total_size: Some(7 << 20), max_age: Some(Duration::from_secs(9)), ..path("/logs") };
        let own = LogKeys { max_files: Some(5), max_total_size: Some(0), max_age: Some(Duration::ZERO), ..path("/own") };
        let files = LogChoice::AsLogger.logger(Some(&common)).unwrap().files.unwrap();
        assert_eq!((files.limits.file_size, files.limits.total_size), (7 << 19, Some(7 << 20)), "a file is at most half of all");
        let files = LogChoice::Own(Box::new(own)).logger(Some(&common)).unwrap().files.unwrap();
        let limits = Limits { files: 5, file_size: 20 << 20, total_size: None, age: None };
        assert_eq!(files, Files { path: "/own".to_owned(), limits });
    }
}
