//! The files of one service: opened, filled, cut, and thrown away when there are too many.
//!
//! What is decided about them stands in `ppm_core::rotate`. Trouble with a file never reaches the service: while it
//! cannot be written, what comes is counted and dropped, and it is tried again with growing patience (R44).

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use ppm_core::logging::Limits;
use ppm_core::rotate::{Begun, Fill, Shelf, Then, file_name, index_name, is_past, parse_name};
use ppm_core::time::{Mono, Now};

use super::index::{Index, Source};
use crate::spawn::in_words;

/// After trouble a file is tried again after this long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest pause between two tries.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How often it is looked whether the file being written is still under its name.
const LOOK: Duration = Duration::from_secs(1);

/// What stands at the end of a line that is longer than a file may be; the rest begins the next file.
pub const CUT: &[u8] = b" [ppm: this line goes on in the next file]\n";

/// A folder of log files.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What lies in it and is not written to; None: not looked at yet.
    shelf: Option<Shelf>,
    /// What all files take that are written to.
    active: u64,
    /// How many services cannot write here.
    troubled: usize,
    /// Keeps other daemons from writing here too; None: not asked for yet, or the file system has no locks.
    lock: Option<Flock<File>>,
}

impl Folder {
    /// A folder that has not been looked at.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned(), shelf: None, active: 0, troubled: 0, lock: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What all log files in it take, in bytes.
    pub fn size(&self) -> u64 {
        self.active.saturating_add(self.shelf.as_ref().map_or(0, Shelf::size))
    }

    /// Forgets what it holds, to look again; what is written to must be taken away from it then.
    pub fn forget(&mut self) {
        self.shelf = None;
    }

    /// Throws the oldest file away that is not written to; false: there is none.
    pub fn throw_oldest_away(&mut self) -> bool {
        let Some((service, begun)) = self.shelf.as_ref().and_then(Shelf::oldest) else { return false };
        self.throw_away(&service, begun);
        true
    }

    /// A file that cannot be removed is not counted any more: to try for ever would help nobody.
    fn throw_away(&mut self, service: &str, begun: Begun) {
        if let Some(shelf) = &mut self.shelf {
            shelf.remove(service, begun);
        }
        let path = self.path.join(file_name(service, begun));
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {}", path.display(), in_words(&error));
        }
        let _ = fs::remove_file(self.path.join(index_name(service, begun)));
    }

    /// Makes the folder where it is missing, and looks what lies in it.
    fn look(&mut self) -> io::Result<&mut Shelf> {
        let shelf = match self.shelf.take() {
            Some(shelf) => shelf,
            None => {
                fs::create_dir_all(&self.path)?;
                self.lock()?;
                list(&self.path)?
            }
        };
        Ok(self.shelf.insert(shelf))
    }

    /// Makes sure that no other daemon writes here: two would throw each other's files away, and write into the same ones.
    fn lock(&mut self) -> io::Result<()> {
        self.lock = None; // of the folder that had this name before
        match Flock::lock(File::open(&self.path)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.lock = Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => return Err(io::Error::other("another daemon writes there")),
            Err(_) => {}
        }
        Ok(())
    }
}

fn list(folder: &Path) -> io::Result<Shelf> {
    let mut shelf = Shelf::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((service, begun)) = name.to_str().and_then(parse_name) else { continue };
        // Nothing but plain files is ours: opening a FIFO would hold everything up.
        if let Some(found) = entry.metadata().ok().filter(fs::Metadata::is_file) {
            shelf.add(service, begun, found.len());
        }
    }
    Ok(shelf)
}

/// The log of one service in files.
#[derive(Debug)]
pub struct LogFile {
    service: String,
    /// How much is kept.
    pub limits: Limits,
    /// The file that is written to, if one has been chosen.
    begun: Option<Begun>,
    /// The file before it.
    previous: Option<Begun>,
    open: Option<File>,
    fill: Fill,
    index: Index,
    looked: Mono,
    trouble: Option<Trouble>,
    /// A run has ended: what it left of a line is ended before anything else is written.
    ends_line: bool,
}

#[derive(Debug)]
struct Trouble {
    retry_at: Mono,
    pause: Duration,
    dropped: u64,
    why: String,
}

impl LogFile {
    /// No file is opened before there is something to be written.
    pub fn new(service: &str, limits: Limits) -> LogFile {
        LogFile {
            service: service.to_owned(),
            limits,
            begun: None,
            previous: None,
            open: None,
            fill: Fill::default(),
            index: Index::default(),
            looked: Mono(0),
            trouble: None,
            ends_line: true,
        }
    }

    /// The size of the active file, in bytes.
    pub fn size(&self) -> u64 {
        self.fill.size
    }

    /// The active file and its end, if one has been chosen.
    pub fn end(&self) -> Option<(Begun, u64)> {
        self.begun.map(|begun| (begun, self.fill.size))
    }

    /// What comes next begins a line.
    pub fn end_line(&mut self) {
        self.ends_line = true;
    }

    /// Writes output of the service, or counts it and gives back what could not be written.
    #[must_use]
    pub fn write<'a>(&mut self, folder: &mut Folder, now: Now, source: Source, output: &'a [u8]) -> &'a [u8] {
        if let Some(trouble) = &mut self.trouble
            && now.mono < trouble.retry_at
        {
            trouble.dropped += length(output.len());
            return output;
        }
        let mut rest = output;
        let result = self.try_to_write(folder, now, source, &mut rest);
        if let Err(error) = result {
            self.fail(folder, now, &error, rest.len());
        }
        rest
    }

    fn try_to_write(&mut self, folder: &mut Folder, now: Now, source: Source, rest: &mut &[u8]) -> io::Result<()> {
        self.have_file(folder, now)?;
        self.tell_of_trouble(folder, now)?;
        if std::mem::take(&mut self.ends_line) && self.fill.line > 0 {
            self.put(folder, now, Source::Daemon, &mut &b"\n"[..])?;
        }
        while !rest.is_empty() {
            let cut = self.fill.cut(rest, self.limits.file_size);
            let mut piece = &rest[..cut.bytes];
            let result = self.put(folder, now, source, &mut piece);
            *rest = &rest[cut.bytes - piece.len()..];
            match result {
                Ok(()) => {}
                // The file is as large as it may be by a limit of the process or of the file system.
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge && self.fill.size > 0 => {
                    self.rotate(folder, now)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match cut.then {
                Then::Done => {}
                Then::Rotate => self.rotate(folder, now)?,
                Then::CutLine => {
                    self.put(folder, now, Source::Daemon, &mut &*CUT)?;
                    self.rotate(folder, now)?;
                }
            }
        }
        Ok(())
    }

    /// Writes bytes to the file as they are, and leaves those that could not be written.
    fn put(&mut self, folder: &mut Folder, now: Now, source: Source, bytes: &mut &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(file) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, rest) = bytes.split_at(written);
                    if self.index.add(now.wall, source, self.fill.size, written) {
                        self.write_index(folder);
                    }
                    self.fill = self.fill.with(done);
                    folder.active = folder.active.saturating_add(length(written));
                    *bytes = rest;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Has the active file open, under the name where others find it.
    fn have_file(&mut self, folder: &mut Folder, now: Now) -> io::Result<()> {
        if let Some(file) = &self.open {
            if now.mono < self.looked + LOOK {
                return Ok(());
            }
            self.looked = now.mono;
            if file.metadata()?.nlink() > 0 && !self.is_old(now) {
                self.prune(folder, now); // what has become too old meanwhile
                return Ok(());
            }
            return self.rotate(folder, now);
        }
        if let Some(begun) = self.begun {
            return match self.open_existing(folder, begun) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    folder.active = folder.active.saturating_sub(self.fill.size);
                    self.begin(folder, now)
                }
                opened => opened,
            };
        }
        match folder.look()?.newest(&self.service) {
            Some((begun, size)) if size < self.limits.file_size => {
                if let Err(error) = self.open_existing(folder, begun) {
                    return if error.kind() == io::ErrorKind::NotFound { self.begin(folder, now) } else { Err(error) };
                }
                folder.look()?.remove(&self.service, begun);
                folder.active = folder.active.saturating_add(self.fill.size);
                self.begun = Some(begun);
                if self.is_old(now) { self.rotate(folder, now) } else { Ok(()) }
            }
            Some(_) | None => self.begin(folder, now),
        }
    }

    fn is_old(&self, now: Now) -> bool {
        self.limits.age.is_some_and(|age| self.fill.size > 0 && self.begun.is_some_and(|begun| is_past(begun, age, now.wall)))
    }

    fn open_existing(&mut self, folder: &Folder, begun: Begun) -> io::Result<()> {
        let mut file = options().read(true).open(folder.path.join(file_name(&self.service, begun)))?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut last = [b'\n'];
        if found.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let line = if last == [b'\n'] { 0 } else { self.fill.line.max(1) };
        self.fill = Fill { size: found.len(), line };
        self.open = Some(file);
        Ok(())
    }

    /// Begins a new file, and throws away what is too much then.
    fn begin(&mut self, folder: &mut Folder, now: Now) -> io::Result<()> {
        fs::create_dir_all(&folder.path)?;
        let newest = folder.look()?.newest(&self.service).map(|(begun, _)| begun);
        let mut last = newest.max(self.begun.take());
        self.previous = last;
        self.open = None;
        self.fill = Fill::default();
        loop {
            let begun = Begun::after(last, now.wall);
            match options().create_new(true).open(folder.path.join(file_name(&self.service, begun))) {
                Ok(file) => {
                    (self.begun, self.open, self.looked) = (Some(begun), Some(file), now.mono);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(begun),
                Err(error) => return Err(error),
            }
        }
        self.prune(folder, now);
        Ok(())
    }

    /// The active file is complete: the next one is begun.
    pub fn rotate(&mut self, folder: &mut Folder, now: Now) -> io::Result<()> {
        self.put_away(folder);
        self.begin(folder, now)
    }

    /// Nothing more is written for now.
    pub fn put_away(&mut self, folder: &mut Folder) {
        self.write_index(folder);
        self.open = None;
        if let Some(begun) = self.begun.take() {
            folder.active = folder.active.saturating_sub(self.fill.size);
            if let Some(shelf) = &mut folder.shelf {
                shelf.add(&self.service, begun, self.fill.size);
            }
        }
        self.fill = Fill::default();
    }

    /// Leaves the service's log.
    pub fn close(&mut self, folder: &mut Folder) {
        self.put_away(folder);
        if let Some(trouble) = self.trouble.take() {
            folder.troubled = folder.troubled.saturating_sub(1);
            tracing::warn!("{}: {} bytes of its output are not in its log: {}", self.service, trouble.dropped, trouble.why);
        }
    }

    /// Closes the file, to open it again under its name.
    pub fn reopen(&mut self, folder: &mut Folder) {
        self.write_index(folder);
        self.open = None;
        if let (Ok(shelf), Some(begun)) = (folder.look(), self.begun) {
            shelf.remove(&self.service, begun);
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = Mono(0);
        }
    }

    /// Brings the index to the end of the file.
    pub fn write_index(&mut self, folder: &Folder) {
        if let Some(begun) = self.begun {
            self.index.write(&folder.path.join(index_name(&self.service, begun)), self.previous);
        }
    }

    fn prune(&self, folder: &mut Folder, now: Now) {
        let Some((begun, shelf)) = self.begun.zip(folder.shelf.as_ref()) else { return };
        let closed = usize::try_from(self.limits.files.saturating_sub(1)).unwrap_or(usize::MAX);
        for surplus in shelf.surplus(&self.service, closed, self.limits.age, begun, now.wall) {
            folder.throw_away(&self.service, surplus);
        }
    }

    fn fail(&mut self, folder: &mut Folder, now: Now, error: &io::Error, dropped: usize) {
        self.write_index(folder);
        self.open = None;
        let why = in_words(error);
        let (pause, before) = match &self.trouble {
            Some(trouble) => ((trouble.pause * 2).min(LAST_RETRY), trouble.dropped),
            None => {
                if folder.troubled == 0 {
                    tracing::warn!(
                        "cannot write logs in {}: {why}; output goes to standard output until it can be written again",
                        folder.path.display()
                    );
                }
                folder.troubled += 1;
                (FIRST_RETRY, 0)
            }
        };
        self.trouble = Some(Trouble { retry_at: now.mono + pause, pause, dropped: before + length(dropped), why });
    }

    /// Writes into the file what is missing from it, now that it can be written again.
    fn tell_of_trouble(&mut self, folder: &mut Folder, now: Now) -> io::Result<()> {
        let Some(trouble) = &self.trouble else { return Ok(()) };
        let newline = if self.fill.line > 0 { "\n" } else { "" };
        let note = format!("{newline}[ppm: {} bytes are missing here: {}]\n", trouble.dropped, trouble.why);
        self.put(folder, now, Source::Daemon, &mut note.as_bytes())?;
        if let Some(Trouble { dropped, why, .. }) = self.trouble.take() {
            folder.troubled = folder.troubled.saturating_sub(1);
            tracing::info!("{}: its log can be written again; {dropped} bytes are missing: {why}", self.service);
        }
        Ok(())
    }
}

/// Never waits for a reader and follows no link, whatever was put in the place of the file.
fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// A number of bytes, as files are measured.
pub fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
