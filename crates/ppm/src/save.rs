//! A file that is replaced as a whole or not at all.
//!
//! It is written beside the one it replaces and renamed, so that no reader sees half of it. That it can be written is
//! found out first, before anything else is done for its sake; a draft that is not kept leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

use crate::failure::{Code, Failure, io_words};

/// The mode of a file that was not there before, less the umask.
const MODE: u32 = 0o644;

/// A file that is being written.
#[derive(Debug)]
pub struct Draft {
    target: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Draft {
    /// Begins a file that will be `target`, or what that links to, with its mode and, where permitted, its owner.
    ///
    /// # Errors
    /// It is there and not a file, or its folder cannot be written.
    pub fn of(target: &Path) -> Result<Draft, Failure> {
        Draft::begin(target).map_err(|error| cannot(target, &error))
    }

    /// Writes the text and puts the file in its place.
    ///
    /// # Errors
    /// It could not be; then the file is as it was.
    pub fn keep(mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.and_then(|()| fs::rename(&self.beside, &self.target)).map_err(|error| cannot(&self.target, &error))
    }

    fn begin(target: &Path) -> io::Result<Draft> {
        let before = match fs::metadata(target) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is not a file")),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let target = if before.is_some() { target.canonicalize()? } else { target.to_owned() };
        let name = target.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        let beside = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        let draft = Draft { target, beside, file };
        if let Some(before) = before {
            // Only root may give files away; for others the new one is their own, as any that they write.
            let _ = fchown(&draft.file, Some(before.uid()), Some(before.gid()));
            draft.file.set_permissions(before.permissions())?;
        }
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it was renamed there is nothing there.
        let _ = fs::remove_file(&self.beside);
    }
}

fn cannot(target: &Path, error: &io::Error) -> Failure {
    let shown = target.display();
    let failure = |why: String| Failure::new(Code::Failed, format!("cannot write {shown}: {why}"));
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => failure(io_words(error))
            .fact(format!("it is written beside the old one and renamed, which needs permission for the folder {}", folder.display()))
            .hint("choose another folder, or 'ppm show-configuration > FILE' to overwrite a file in place"),
        io::ErrorKind::NotFound => failure(format!("there is no folder {}", folder.display())),
        io::ErrorKind::IsADirectory => failure("it is a folder".to_owned()).hint("name a file in it"),
        _ => failure(io_words(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_there_as_a_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.yml");
        let draft = Draft::of(&target).unwrap();
        assert!(!target.exists());
        draft.keep("a: 1\n").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "a: 1\n");
        assert_eq!(mode(&target) & !0o022, 0o600 | mode(&target) & 0o044, "no more than {MODE:o}");
        assert_eq!(names(folder.path()), ["x.yml"]);
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.yml"), folder.path().join("link.yml"));
        fs::write(&real, "old and longer than the new one\n").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o600)).unwrap();
        symlink("real.yml", &link).unwrap();
        Draft::of(&link).unwrap().keep("new\n").unwrap();
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("new\n", 0o600));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["link.yml", "real.yml"]);
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.yml");
        fs::write(&target, "old").unwrap();
        drop(Draft::of(&target).unwrap());
        assert_eq!((names(folder.path()), fs::read_to_string(&target).unwrap()), (vec!["x.yml".to_owned()], "old".to_owned()));
    }

    #[test]
    fn what_cannot_be_written_is_told_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let told = |path: &Path| Draft::of(path).unwrap_err().message.replace(&folder.path().display().to_string(), "/F");
        assert_eq!(told(folder.path()), "cannot write /F: it is a folder");
        assert_eq!(told(&at("none/x.yml")), "cannot write /F/none/x.yml: there is no folder /F/none");
        assert_eq!(told(Path::new("/dev/null")), "cannot write /dev/null: it is not a file");
        fs::write(at("file"), "").unwrap();
        assert_eq!(told(&at("file/x.yml")), "cannot write /F/file/x.yml: not a directory");
        // Nobody may make files there, not even root.
        let failure = Draft::of(Path::new("/proc/x.yml")).unwrap_err();
        assert_eq!(failure.code, Code::Failed);
        assert!(failure.message.starts_with("cannot write /proc/x.yml: "), "{failure:?}");
    }

    #[test]
    fn a_folder_that_is_not_ours_is_named_with_what_to_do() {
        let failure = cannot(Path::new("/etc/ppm.yml"), &io::Error::from_raw_os_error(13));
        assert_eq!(failure.message, "cannot write /etc/ppm.yml: permission denied");
        assert!(failure.facts[0].ends_with("permission for the folder /etc"), "{failure:?}");
        assert!(cannot(Path::new("x.yml"), &io::Error::from_raw_os_error(30)).facts[0].ends_with("the folder ."));
    }
}
