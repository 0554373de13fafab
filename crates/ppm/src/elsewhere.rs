//! Other places where a daemon may be: asked only when nobody is at the place that was meant.
//!
//! Looks and connects, never writes. What is found is a hint, so that a wrong guess costs nothing.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::client;

/// How long a daemon elsewhere may take to accept: a moment, as it is only for a hint.
const MOMENT: Duration = Duration::from_millis(100);

/// How many are told of at most.
const TOLD: usize = 3;

/// A daemon that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The user who owns its socket.
    pub uid: u32,
    /// Where its socket lies.
    pub path: PathBuf,
}

/// The daemons that are alive at the usual places, or may be: the socket is there but not for us.
pub fn seen(tried: &Path, env: impl Fn(&str) -> Option<OsString>) -> Vec<Daemon> {
    alive(tried, places(env))
}

/// The user who owns what lies at `path`, if that can be seen.
pub fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.uid())
}

/// Where [`ppm_protocol::socket::path`] would put the sockets of other users, and of this one in another session.
fn places(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let session = env("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let private = entries("/tmp").into_iter().filter(|folder| folder.to_str().is_some_and(|name| name.starts_with("/tmp/ppm-")));
    let folders = [PathBuf::from("/run")].into_iter().chain(session).chain(entries("/run/user")).chain(private);
    folders.map(|folder| folder.join("ppm.sock")).collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder).map_or(Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
}

fn alive(tried: &Path, mut places: Vec<PathBuf>) -> Vec<Daemon> {
    places.sort();
    places.dedup();
    let others = places.into_iter().filter(|path| path != tried);
    others.filter_map(|path| owner(&path).map(|uid| Daemon { uid, path })).filter(|daemon| answers(&daemon.path)).take(TOLD).collect()
}

fn answers(path: &Path) -> bool {
    matches!(client::dial(path, MOMENT), Ok(_) | Err(Errno::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_sockets_that_accept_are_told_of_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let live = UnixListener::bind(at("live.sock")).unwrap();
        let tried = UnixListener::bind(at("tried.sock")).unwrap();
        drop(UnixListener::bind(at("stale.sock")).unwrap());
        fs::write(at("plain.sock"), "").unwrap();

        let names = ["tried.sock", "stale.sock", "live.sock", "plain.sock", "absent.sock", "live.sock"];
        let found = alive(&at("tried.sock"), names.iter().map(|name| at(name)).collect());
        assert_eq!(found, [Daemon { uid: nix::unistd::geteuid().as_raw(), path: at("live.sock") }]);
        drop((live, tried));
    }

    #[test]
    fn the_session_folder_is_among_the_places() {
        let env = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| OsString::from("/some/session"));
        assert!(places(env).contains(&PathBuf::from("/some/session/ppm.sock")));
        assert!(places(|_| None).contains(&PathBuf::from("/run/ppm.sock")));
    }
}
