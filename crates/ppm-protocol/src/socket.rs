//! Where the control socket lies.
//!
//! One function for the daemon and its clients, so that they cannot disagree. It only computes: making the
//! folder and checking its owner is the daemon's business.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The longest path a Unix socket can have, in bytes (unix(7): `sun_path` less its final zero).
pub const MAX_PATH: usize = 107;

/// The socket's path: the one asked for, else `PPM_SOCKET`, else `$XDG_RUNTIME_DIR/ppm.sock`, else
/// `/run/ppm.sock` for root and `/tmp/ppm-UID/ppm.sock` for others. An empty variable counts as unset.
pub fn path(asked: Option<&Path>, env: impl Fn(&str) -> Option<OsString>, uid: u32) -> PathBuf {
    let var = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (asked, var("PPM_SOCKET"), var("XDG_RUNTIME_DIR")) {
        (Some(path), _, _) => path.to_owned(),
        (None, Some(path), _) => path,
        (None, None, Some(folder)) => folder.join("ppm.sock"),
        (None, None, None) if uid == 0 => PathBuf::from("/run/ppm.sock"),
        (None, None, None) => private_folder(uid).join("ppm.sock"),
    }
}

/// The folder that a daemon without root and without `XDG_RUNTIME_DIR` makes for itself, mode 0700.
pub fn private_folder(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/ppm-{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(asked: Option<&str>, vars: &[(&str, &str)], uid: u32) -> String {
        let env = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        path(asked.map(Path::new), env, uid).display().to_string()
    }

    #[test]
    fn the_nearer_wish_wins() {
        let both = [("PPM_SOCKET", "/a.sock"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(found(Some("x.sock"), &both, 7), "x.sock");
        assert_eq!(found(None, &both, 7), "/a.sock");
        assert_eq!(found(None, &both[1..], 0), "/run/user/7/ppm.sock");
        assert_eq!(found(None, &[("PPM_SOCKET", "")], 0), "/run/ppm.sock");
        assert_eq!(found(None, &[], 1000), "/tmp/ppm-1000/ppm.sock");
    }
}
