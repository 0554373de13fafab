//! A place to listen at, made and unmade.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcp};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener as StdUnix;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use ppm_core::event::NoListener;
use ppm_core::http::Reach;
use ppm_core::listen::Listen;
use tokio::net::{TcpListener, UnixListener};

use super::connection::Socket;
use crate::control::is_live;
use crate::spawn::in_words;

/// A listening socket. Dropped, it is closed, and its path removed if it is still its own.
#[derive(Debug)]
pub struct Listener {
    at: Listen,
    socket: Kind,
    /// Of a socket that has a path.
    _file: Option<File>,
}

#[derive(Debug)]
enum Kind {
    /// Not known to a runtime yet.
    NewTcp(StdTcp),
    /// The same.
    NewUnix(StdUnix),
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The socket in the file system.
#[derive(Debug)]
struct File {
    path: String,
    inode: u64,
}

impl Drop for File {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Begins to listen there. Where IPv6 is off, every address is every one of IPv4.
    pub fn bind(at: &Listen) -> Result<Listener, NoListener> {
        match at {
            Listen::Tcp(address) => {
                let (address, socket) = bind_tcp(*address).map_err(|error| failure(at, &error))?;
                Ok(Listener { at: Listen::Tcp(address), socket: Kind::NewTcp(socket), _file: None })
            }
            Listen::Unix(path) => {
                remove_stale(at, Path::new(path))?;
                let (socket, file) = bind_unix(path).map_err(|error| failure(at, &error))?;
                Ok(Listener { at: at.clone(), socket: Kind::NewUnix(socket), _file: Some(file) })
            }
        }
    }

    /// Makes it known to the runtime of this thread; before that nobody is accepted.
    pub fn ready(self) -> io::Result<Listener> {
        let socket = match self.socket {
            Kind::NewTcp(socket) => Kind::Tcp(TcpListener::from_std(socket)?),
            Kind::NewUnix(socket) => Kind::Unix(UnixListener::from_std(socket)?),
            known @ (Kind::Tcp(_) | Kind::Unix(_)) => known,
        };
        Ok(Listener { socket, ..self })
    }

    /// Where it listens: with the port that the kernel has chosen.
    pub fn at(&self) -> &Listen {
        &self.at
    }

    /// Whether an address has the same port, so that not both can be listened at.
    pub fn shares_port(&self, other: &Listen) -> bool {
        matches!((&self.at, other), (Listen::Tcp(own), Listen::Tcp(other)) if own.port() == other.port())
    }

    /// Who can reach it.
    pub fn reach(&self) -> Reach {
        // Whoever is let to a path in the file system need not say what he calls it.
        if matches!(self.at, Listen::Tcp(_)) && self.at.is_local() { Reach::Local } else { Reach::Open }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.socket {
            Kind::NewTcp(_) | Kind::NewUnix(_) => std::future::pending().await,
            Kind::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Kind::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(SocketAddr, StdTcp)> {
    let socket = StdTcp::bind(address).or_else(|error| {
        let has_no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
        let is_every = address.is_ipv6() && address.ip().is_unspecified();
        if has_no_ipv6 && is_every { StdTcp::bind((Ipv4Addr::UNSPECIFIED, address.port())) } else { Err(error) }
    })?;
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?, socket))
}

/// For the daemon's own user and root. The mode is set before there is a name (unix(7): on Linux it becomes the file's), and
/// not by a mask, which other threads would share.
fn bind_unix(path: &str) -> io::Result<(StdUnix, File)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let own: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&own, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(own.as_raw_fd(), &UnixAddr::new(path)?)?;
    let file = File { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    listen(&own, Backlog::new(128)?)?;
    Ok((StdUnix::from(own), file))
}

/// In a restarted container the socket of the last run is the normal case (R54).
fn remove_stale(at: &Listen, path: &Path) -> Result<(), NoListener> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(NoListener {
            message: format!("cannot answer HTTP at {at}: there is a file that is not a socket"),
            hint: "remove it, or choose another path for `http`",
        }),
        Ok(_) if is_live(path) => Err(failure(at, &Errno::EADDRINUSE.into())),
        Ok(_) => fs::remove_file(path).map_err(|error| failure(at, &error)),
    }
}

/// Why it cannot be listened there, and what to do.
pub fn failure(at: &Listen, error: &io::Error) -> NoListener {
    let hint = match (at, error.kind()) {
        (Listen::Tcp(_), io::ErrorKind::AddrInUse) => "another program has the port: `ss -ltnp` shows which; choose another one for `http`",
        (Listen::Unix(_), io::ErrorKind::AddrInUse) => "another program listens there: choose another path for `http`",
        (Listen::Tcp(_), io::ErrorKind::PermissionDenied) => "ports below 1024 are root's: choose one above for `http`",
        (Listen::Tcp(_), io::ErrorKind::AddrNotAvailable) => "this machine has no such address: `ip address` shows those that it has",
        (Listen::Tcp(_), _) => "choose another address for `http`",
        (Listen::Unix(_), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem) => {
            "make the folder, or mount a tmpfs there, or choose another path"
        }
        (Listen::Unix(_), _) => "choose another path for `http`",
    };
    NoListener { message: format!("cannot answer HTTP at {at}: {}", in_words(error)), hint }
}
