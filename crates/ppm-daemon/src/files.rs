//! Files that a service's surroundings are made of.
//!
//! They are read while everything else waits, so nothing is opened that could keep the daemon waiting: a FIFO that
//! nobody writes to would hold process 1 for ever.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ppm_core::environment::MAX_FILE;

use crate::spawn::in_words;

/// The whole content of a regular file; the error is for people and does not name the file.
pub fn read(path: &[u8]) -> Result<Vec<u8>, String> {
    let path = Path::new(OsStr::from_bytes(path));
    // Looked at before it is opened, since opening alone does something to some devices; and after, since it may have
    // been replaced meanwhile, in which case O_NONBLOCK and O_NOCTTY keep harm away.
    regular(&path.metadata().map_err(|error| why(&error))?)?;
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| why(&error))?;
    regular(&file.metadata().map_err(|error| why(&error))?)?;
    let mut content = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(|error| why(&error))?;
    if content.len() > MAX_FILE {
        return Err(format!("larger than {} MiB", MAX_FILE >> 20));
    }
    Ok(content)
}

/// The same, or nothing where there is no such file.
pub fn read_if_there(path: &[u8]) -> Result<Option<Vec<u8>>, String> {
    match Path::new(OsStr::from_bytes(path)).metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(_) | Err(_) => read(path).map(Some),
    }
}

fn regular(found: &Metadata) -> Result<(), String> {
    match (found.is_file(), found.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err("is a folder".to_owned()),
        (false, false) => Err("not a regular file".to_owned()),
    }
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "no such file".to_owned() } else { in_words(error) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn read_path(path: &Path) -> Result<Vec<u8>, String> {
        read(path.as_os_str().as_bytes())
    }

    #[test]
    fn a_file_is_read_as_it_is_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in [b"".to_vec(), b"a\xff\0\n".to_vec(), vec![b'x'; MAX_FILE]] {
            fs::write(&path, &content).unwrap();
            assert!(read_path(&path) == Ok(content));
        }
        symlink("file", folder.path().join("link")).unwrap();
        assert_eq!(read_path(&folder.path().join("link")).unwrap().len(), MAX_FILE);
        fs::write(&path, vec![b'x'; MAX_FILE + 1]).unwrap();
        assert_eq!(read_path(&path), Err("larger than 1 MiB".to_owned()));
        assert!(read(b"/proc/self/status").unwrap().starts_with(b"Name:"));
    }

    #[test]
    fn what_is_no_file_is_told_and_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::write(path("file"), "").unwrap();
        let cases = [
            (path("missing"), "no such file"),
            (path("fifo"), "not a regular file"),
            (path("socket"), "not a regular file"),
            ("/dev/null".into(), "not a regular file"),
            (path(""), "is a folder"),
            (path("loop"), "too many levels of symbolic links"),
            (path("file/x"), "not a directory"),
            ("".into(), "no such file"),
        ];
        let (sender, outcome) = mpsc::channel();
        thread::spawn(move || cases.map(|(path, wanted)| sender.send((read_path(&path), wanted, path))));
        let mut heard = 0;
        while let Ok((read, wanted, path)) = outcome.recv_timeout(Duration::from_secs(30)) {
            assert_eq!(read, Err(wanted.to_owned()), "{}", path.display());
            heard += 1;
        }
        assert_eq!(heard, 8);
    }
}
