//! What can be seen of the surroundings, without judging it and without changing anything.
//!
//! What cannot be read is None or empty: a container may hide any of it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, access};
use ppm_protocol::Request;
use ppm_protocol::socket::MAX_PATH;
use ppm_protocol::types::Greeting;

use crate::client::{Client, PATIENCE};
use crate::elsewhere;

/// Where control groups are mounted in every container.
const GROUPS: &str = "/sys/fs/cgroup";

/// A limit of version 1 of control groups that is none is nearly 2^63.
const UNLIMITED: u64 = 1 << 60;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of `ppm doctor` itself.
    pub pid: u32,
    /// What process 1 is called.
    pub init: Option<String>,
    /// The effective user.
    pub uid: u32,
    /// The effective capabilities, as bits of capabilities(7).
    pub capabilities: Option<u64>,
    /// The daemon's socket.
    pub socket: Socket,
    /// Its path.
    pub socket_path: PathBuf,
    /// /proc.
    pub proc: Proc,
    /// Whether /dev/null is what it should be.
    pub has_null: bool,
    /// How many files may be open: soft and hard.
    pub files: Option<(u64, u64)>,
    /// The version of control groups: 1 or 2.
    pub group_version: Option<u8>,
    /// How many processes the container may have; None: any number, or not known.
    pub processes: Option<u64>,
    /// How much memory the container may use, in bytes; None: all, or not known.
    pub memory: Option<u64>,
    /// How many instances of inotify(7) a user may have, and how many watches.
    pub inotify: Option<(u64, u64)>,
    /// The local zone: what `TZ` says.
    pub tz: Option<String>,
    /// Whether `TZ` names a zone, or else the system says one.
    pub has_zone: bool,
}

/// What lies where the daemon's socket should be.
#[derive(Clone, Debug)]
pub enum Socket {
    /// A daemon that answers.
    Answers(Greeting),
    /// A daemon that does not answer.
    Silent(String),
    /// Somebody else's.
    Forbidden,
    /// A socket that nobody listens at, in a folder where the daemon may replace it, or not.
    Stale(Place),
    /// Nothing, in this folder.
    Missing(Place),
    /// Something that is no socket.
    Other,
    /// A path that no socket can have.
    TooLong,
}

/// A folder in which something is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It can be.
    Writable,
    /// The folder is not there.
    Missing,
    /// It cannot be, for this reason.
    Closed(Errno),
}

/// What /proc shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proc {
    /// Everything.
    Whole,
    /// Processes of other users are hidden.
    Hides,
    /// It is not there.
    Missing,
}

impl Facts {
    /// Looks around.
    pub fn gather(socket_path: PathBuf, env: impl Fn(&str) -> Option<OsString>) -> Facts {
        let tz = env("TZ").map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty());
        Facts {
            pid: std::process::id(),
            init: text("/proc/1/comm"),
            uid: nix::unistd::geteuid().as_raw(),
            capabilities: text("/proc/self/status").and_then(|status| capabilities(&status)),
            socket: socket(&socket_path),
            socket_path,
            proc: proc(),
            has_null: fs::metadata("/dev/null").is_ok_and(|null| null.file_type().is_char_device() && null.rdev() == NULL),
            files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
            group_version: text("/proc/self/cgroup").and_then(|groups| group_version(&groups)),
            processes: limit("pids/pids.max").or_else(|| limit("pids.max")),
            memory: limit("memory/memory.limit_in_bytes").or_else(|| limit("memory.max")),
            inotify: kernel("max_user_instances").zip(kernel("max_user_watches")),
            has_zone: crate::zone::find(tz.as_deref()).is_some(),
            tz,
        }
    }
}

/// Device 1:3 of null(4), as stat(2) has it.
const NULL: u64 = 0x103;

/// Whether the daemon could make a file in this folder.
pub fn place(folder: &Path) -> Place {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let outcome = fs::metadata(folder)
        .map_err(errno)
        .and_then(|there| if there.is_dir() { access(folder, AccessFlags::W_OK | AccessFlags::X_OK) } else { Err(Errno::ENOTDIR) });
    match outcome {
        Ok(()) => Place::Writable,
        Err(Errno::ENOENT) => Place::Missing,
        Err(error) => Place::Closed(error),
    }
}

/// The same of a folder that the daemon makes if need be, with those above it.
pub fn place_made(folder: &Path) -> Place {
    let mut nearest = folder.ancestors().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    nearest.find_map(|folder| Some(place(folder)).filter(|place| *place != Place::Missing)).unwrap_or(Place::Missing)
}

fn socket(path: &Path) -> Socket {
    let folder = || place(path.parent().unwrap_or(Path::new(".")));
    match Client::connect(path, PATIENCE) {
        Ok(mut client) => match client.call::<Greeting>(&Request::Hello) {
            Ok(greeting) => Socket::Answers(greeting),
            Err(failure) => Socket::Silent(failure.message),
        },
        Err(Errno::EAGAIN) => Socket::Silent("it does not accept connections".to_owned()),
        Err(Errno::ENOENT) => {
            // The daemon makes the folder in /tmp itself.
            let own = path == ppm_protocol::socket::private_folder(nix::unistd::geteuid().as_raw()).join("ppm.sock");
            Socket::Missing(if own { place_made(path.parent().unwrap_or(path)) } else { folder() })
        }
        Err(Errno::EACCES | Errno::EPERM) => Socket::Forbidden,
        Err(Errno::ENAMETOOLONG) => Socket::TooLong,
        Err(_) if path.as_os_str().len() > MAX_PATH => Socket::TooLong,
        Err(Errno::ECONNREFUSED) if fs::metadata(path).is_ok_and(|there| !there.file_type().is_socket()) => Socket::Other,
        Err(Errno::ECONNREFUSED) if elsewhere::owner(path).is_some() => Socket::Stale(folder()),
        Err(error) => Socket::Missing(Place::Closed(error)),
    }
}

fn proc() -> Proc {
    if !Path::new("/proc/self/stat").exists() {
        return Proc::Missing;
    }
    let mounts = text("/proc/self/mountinfo").unwrap_or_default();
    let hides = mounts.lines().any(|line| line.contains(" - proc ") && line.contains("hidepid=") && !line.contains("hidepid=0"));
    if hides { Proc::Hides } else { Proc::Whole }
}

/// `CapEff` of proc(5).
fn capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// By `cgroup` of proc(5): a line without controllers is of version 2, and alone where there is no version 1.
fn group_version(groups: &str) -> Option<u8> {
    let is_second = |line: &str| line.starts_with("0::");
    match (groups.lines().any(|line| !is_second(line)), groups.lines().any(is_second)) {
        (true, _) => Some(1),
        (false, true) => Some(2),
        (false, false) => None,
    }
}

fn limit(file: &str) -> Option<u64> {
    text(&format!("{GROUPS}/{file}"))?.parse().ok().filter(|limit| *limit < UNLIMITED)
}

fn kernel(name: &str) -> Option<u64> {
    text(&format!("/proc/sys/fs/inotify/{name}"))?.parse().ok()
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_tell_their_version() {
        assert_eq!(group_version("0::/\n"), Some(2));
        assert_eq!(group_version("4:memory:/docker/1\n0::/system.slice\n"), Some(1));
        assert_eq!(group_version(""), None);
    }

    #[test]
    fn capabilities_are_read_as_bits() {
        assert_eq!(capabilities("Name:\tx\nCapEff:\t00000000a80425fb\nCapBnd:\t1\n"), Some(0xa804_25fb));
        assert_eq!(capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn a_folder_is_writable_or_not_there_and_its_parent_may_do() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(place(folder.path()), Place::Writable);
        assert_eq!(place(&folder.path().join("x")), Place::Missing);
        assert_eq!(place_made(&folder.path().join("x/y/z")), Place::Writable);
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(place_made(&folder.path().join("file")), Place::Closed(Errno::ENOTDIR));
        assert_eq!(place_made(&folder.path().join("file/x")), Place::Closed(Errno::ENOTDIR));
    }

    #[test]
    fn what_lies_at_the_sockets_place_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppm.sock");
        assert!(matches!(socket(&path), Socket::Missing(Place::Writable)));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(socket(&path), Socket::Stale(Place::Writable)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(socket(&path), Socket::Other));
        assert!(matches!(socket(&folder.path().join("x".repeat(200))), Socket::TooLong));
        assert!(matches!(socket(&folder.path().join("no/ppm.sock")), Socket::Missing(Place::Missing)));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::gather(folder.path().join("ppm.sock"), |_| None);
        assert_eq!(facts.pid, std::process::id());
        assert!(facts.has_null && facts.files.is_some() && facts.proc != Proc::Missing, "{facts:?}");
    }
}
