//! What the kernel holds of a process besides its program: user, umask, limits, priorities and what it may never gain.
//!
//! Read here from what is written, and written again as the same. Whether the kernel grants it, it says at each start.
//! Invariant: what is not given is as the daemon found it when it was started (R8).

use std::collections::BTreeMap;
use std::fmt;

use crate::spec::{InvalidSpec, shown};

/// What is given for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who it runs as; None: as the daemon.
    pub user: Option<Box<User>>,
    /// The permissions that files which it makes do not get: 0 to 0o777.
    pub umask: Option<u16>,
    /// What it may use.
    pub limits: BTreeMap<Resource, Limit>,
    /// Its place behind others for the processor, -20 to 19.
    pub nice: Option<i8>,
    /// How readily the kernel kills it when memory is short, -1000 to 1000; None: a little more than the daemon.
    pub oom_score_adj: Option<i16>,
    /// Whether no program that it executes may give it rights that it lacks (PR_SET_NO_NEW_PRIVS in prctl(2)).
    pub no_new_privs: bool,
}

/// Who a service runs as, by names or numbers that are looked up at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub user: Who,
    /// The group, and no other; None: those that the user has.
    pub group: Option<Who>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// By name.
    Name(String),
    /// By number: any but the last, which means "unchanged" to setresuid(2).
    Number(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Name(name) => name.fmt(f),
            Who::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => self.user.fmt(f),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

const USER_HINT: &str = "write a name or a number, with or without a group: `app`, `app:app`, `1000:1000`";

impl User {
    /// Reads `app`, `app:web`, `1000` or `1000:1000`.
    ///
    /// # Errors
    /// What is not the name or number of a user or group.
    pub fn parse(text: &str) -> Result<User, InvalidSpec> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        Ok(User { user: Who::parse(user, "user")?, group: group.map(|group| Who::parse(group, "group")).transpose()? })
    }
}

impl Who {
    fn parse(text: &str, what: &str) -> Result<Who, InvalidSpec> {
        let refuse = |message: String| Err(InvalidSpec::new(message).hint(USER_HINT));
        if text.is_empty() {
            return refuse(format!("the name of the {what} is empty"));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number < u32::MAX => Ok(Who::Number(number)),
                Ok(_) | Err(_) => refuse(format!("{} cannot be the number of a {what}, {} is the last", shown(text), u32::MAX - 1)),
            };
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
        if text.starts_with(['-', '@', '+']) || !text.chars().all(allowed) {
            return refuse(format!("`{}` cannot be the name of a {what}", shown(text)));
        }
        Ok(Who::Name(text.to_owned()))
    }
}

/// Reads the octal digits of a umask.
pub(crate) fn read_umask(text: &str) -> Option<u16> {
    let is_octal = (1..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    u16::from_str_radix(text, 8).ok().filter(|mask| is_octal && *mask <= 0o777)
}

/// As umask(1) shows it.
pub fn write_umask(umask: u16) -> String {
    format!("{umask:03o}")
}

/// What setrlimit(2) limits, by the names it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the manual page says it better")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Resource {
    /// All of them, in the order of their names.
    pub const ALL: [Resource; 16] = [
        Resource::As,
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::Fsize,
        Resource::Locks,
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Nofile,
        Resource::Nproc,
        Resource::Rss,
        Resource::Rtprio,
        Resource::Rttime,
        Resource::Sigpending,
        Resource::Stack,
    ];

    /// What is counted.
    pub fn unit(self) -> Unit {
        match self {
            Resource::As
            | Resource::Core
            | Resource::Data
            | Resource::Fsize
            | Resource::Memlock
            | Resource::Msgqueue
            | Resource::Rss
            | Resource::Stack => Unit::Bytes,
            Resource::Cpu
            | Resource::Locks
            | Resource::Nice
            | Resource::Nofile
            | Resource::Nproc
            | Resource::Rtprio
            | Resource::Rttime
            | Resource::Sigpending => Unit::Pieces,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Resource::As => "as",
            Resource::Core => "core",
            Resource::Cpu => "cpu",
            Resource::Data => "data",
            Resource::Fsize => "fsize",
            Resource::Locks => "locks",
            Resource::Memlock => "memlock",
            Resource::Msgqueue => "msgqueue",
            Resource::Nice => "nice",
            Resource::Nofile => "nofile",
            Resource::Nproc => "nproc",
            Resource::Rss => "rss",
            Resource::Rtprio => "rtprio",
            Resource::Rttime => "rttime",
            Resource::Sigpending => "sigpending",
            Resource::Stack => "stack",
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, which may be written as `64MiB`.
    Bytes,
    /// Anything else.
    Pieces,
}

/// How much may be used; None: all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds at first.
    pub soft: Option<u64>,
    /// How far the service may raise that itself.
    pub hard: Option<u64>,
}

/// The word for no limit.
pub(crate) const UNLIMITED: &str = "unlimited";

impl Limit {
    /// One value for both, or `soft:hard`; each is read by `read`, but for `unlimited`.
    ///
    /// # Errors
    /// A few words about what is wrong.
    pub(crate) fn parse(text: &str, read: impl Fn(&str) -> Result<u64, String>) -> Result<Limit, String> {
        let value = |text: &str| if text == UNLIMITED { Ok(None) } else { read(text).map(Some) };
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let limit = Limit { soft: value(soft.trim())?, hard: value(hard.trim())? };
        match limit {
            Limit { soft: None, hard: Some(_) } => Err("more than the hard limit behind the `:`".to_owned()),
            Limit { soft: Some(soft), hard: Some(hard) } if soft > hard => Err("more than the hard limit behind the `:`".to_owned()),
            Limit { .. } => Ok(limit),
        }
    }
}

impl Limit {
    /// As [`Limit::parse`] reads it, if `write` writes what `read` reads.
    pub(crate) fn written(self, write: impl Fn(u64) -> String) -> String {
        let value = |value: Option<u64>| value.map_or(UNLIMITED.to_owned(), &write);
        match self.soft == self.hard {
            true => value(self.hard),
            false => format!("{}:{}", value(self.soft), value(self.hard)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(|value| value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_by_name_and_number_and_written_as_the_same() {
        let name = |name: &str| Who::Name(name.to_owned());
        for (text, user, group) in [
            ("app", name("app"), None),
            ("app:web", name("app"), Some(name("web"))),
            ("1000", Who::Number(1000), None),
            ("0:app", Who::Number(0), Some(name("app"))),
            ("app:4294967294", name("app"), Some(Who::Number(u32::MAX - 1))),
            ("1a", name("1a"), None),
            ("_apt.x@y+z-", name("_apt.x@y+z-"), None),
        ] {
            let read = User::parse(text).unwrap();
            assert_eq!(read, User { user, group });
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_user_is_explained() {
        for (text, message) in [
            ("", "the name of the user is empty"),
            (":app", "the name of the user is empty"),
            ("app:", "the name of the group is empty"),
            ("app:a:b", "`a:b` cannot be the name of a group"),
            ("a b", "`a b` cannot be the name of a user"),
            ("${USER}", "`${USER}` cannot be the name of a user"),
            ("-1", "`-1` cannot be the name of a user"),
            ("4294967295", "4294967295 cannot be the number of a user, 4294967294 is the last"),
            ("0:99999999999999999999", "99999999999999999999 cannot be the number of a group, 4294967294 is the last"),
        ] {
            let error = User::parse(text).unwrap_err();
            assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, Some(USER_HINT)));
        }
    }

    #[test]
    fn a_umask_is_octal() {
        assert_eq!(["0", "022", "0027", "777"].map(read_umask), [Some(0), Some(0o22), Some(0o27), Some(0o777)]);
        for text in ["", "8", "1000", "00022", "+22", " 22", "0o22", "rwx"] {
            assert_eq!(read_umask(text), None, "{text}");
        }
        assert_eq!([0, 0o22, 0o777].map(write_umask), ["000", "022", "777"]);
    }

    #[test]
    fn limits_are_read_as_one_or_two_values_and_written_as_the_same() {
        let read = |text: &str| Limit::parse(text, |text| text.parse().map_err(|_| "not a number".to_owned()));
        let limit = |soft, hard| Ok(Limit { soft, hard });
        assert_eq!(read("0"), limit(Some(0), Some(0)));
        assert_eq!(read("unlimited"), limit(None, None));
        assert_eq!(read("1:2"), limit(Some(1), Some(2)));
        assert_eq!(read("7:unlimited"), limit(Some(7), None));
        for text in ["0", "unlimited", "1:2", "7:unlimited"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        for text in ["2:1", "unlimited:1"] {
            assert_eq!(read(text), Err("more than the hard limit behind the `:`".to_owned()), "{text}");
        }
        for text in ["", "x", ":1", "1:", "1:2:3"] {
            assert_eq!(read(text), Err("not a number".to_owned()), "{text}");
        }
    }

    #[test]
    fn resources_are_in_the_order_of_their_names() {
        assert!(Resource::ALL.is_sorted() && Resource::ALL.map(Resource::name).is_sorted());
    }
}
