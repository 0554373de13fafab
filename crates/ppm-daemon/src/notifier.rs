//! What services say of themselves: the socket of sd_notify(3), descriptors on which a line means that one is ready, and
//! lines of output that do.
//!
//! One socket for all services, with a name that the kernel chooses in its abstract namespace: so nothing is left in a
//! file system, and it can be reached by whatever user, on whatever file system. That is why anybody can send to it: who it
//! was, the kernel says, and only processes of the services are listened to. Made when the first service is to have it.
//! Messages come to the loop through its inbox: so a flood waits in the kernel, which keeps few.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname, recvmsg, setsockopt,
    socket, sockopt,
};
use ppm_core::event::{Pid, ServiceId};
use ppm_core::line_pattern::LinePattern;
use ppm_core::notification::{LONGEST, Notification};
use tokio::io::AsyncReadExt;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::driver::Wake;

/// After so many messages that came without a pause there is one of [`PAUSE`]: nobody has that much to say.
const AT_A_TIME: usize = 16;
const PAUSE: Duration = Duration::from_millis(10);

/// A line that says that a service is ready.
#[derive(Debug)]
pub struct Awaited {
    /// What is in it.
    pub pattern: LinePattern,
    /// Who waits to hear in which run it was found; never holds up who tells.
    pub found: oneshot::Sender<Pid>,
}

/// The ears of the daemon.
#[derive(Debug)]
pub struct Notifier {
    /// As services find it in NOTIFY_SOCKET; None: nobody needed it yet.
    address: Option<String>,
    /// Who reads the descriptors of main processes.
    readers: BTreeMap<Pid, AbortHandle>,
    /// Messages of processes that are no service's.
    strange: u64,
    inbox: mpsc::Sender<Wake>,
}

impl Notifier {
    /// Nothing is listened to yet.
    pub fn new(inbox: mpsc::Sender<Wake>) -> Notifier {
        Notifier { address: None, readers: BTreeMap::new(), strange: 0, inbox }
    }

    /// The address of the socket, which is made if it is not there.
    pub fn address(&mut self) -> io::Result<&str> {
        if self.address.is_none() {
            let (socket, address) = make_socket()?;
            tokio::spawn(listen(UnixDatagram::from_std(socket)?, self.inbox.clone()));
            self.address = Some(address);
        }
        Ok(self.address.as_deref().unwrap_or_default())
    }

    /// A main process has been given the other end of this, to say in a line that it is ready.
    pub fn read(&mut self, id: ServiceId, run: Pid, descriptor: OwnedFd) -> io::Result<()> {
        let reader = pipe::Receiver::from_owned_fd(descriptor)?;
        let task = tokio::spawn(wait_for_line(reader, id, run, self.inbox.clone()));
        self.readers.insert(run, task.abort_handle());
        Ok(())
    }

    /// A line of the service's output says that it is ready: whoever reads that is to tell when it has come.
    pub fn await_line(&self, id: ServiceId, pattern: LinePattern) -> Awaited {
        let (found, is_found) = oneshot::channel();
        let (inbox, awaited) = (self.inbox.clone(), pattern.clone());
        tokio::spawn(async move {
            if let Ok(run) = is_found.await {
                let _ = inbox.send(Wake::SaidReady(id, run, Some(awaited))).await;
            }
        });
        Awaited { pattern, found }
    }

    /// Nothing is left of a run.
    pub fn ended(&mut self, run: Pid) {
        if let Some(reader) = self.readers.remove(&run) {
            reader.abort();
        }
    }

    /// Somebody said something who belongs to no service. It is told once, and then less and less often.
    pub fn tell_of_stranger(&mut self, sender: Pid, uid: u32) {
        self.strange += 1;
        match self.strange {
            1 => tracing::warn!("process {sender} of uid {uid} is no service's: its notification is not listened to"),
            many if many.is_power_of_two() && many >= 64 => {
                tracing::warn!("{many} notifications of processes that are no service's, the last of {sender} of uid {uid}");
            }
            _ => {}
        }
    }
}

fn make_socket() -> io::Result<(std::os::unix::net::UnixDatagram, String)> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, sockopt::PassCred, &true)?;
    bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?; // the kernel finds a name that is free (unix(7))
    let address: UnixAddr = getsockname(socket.as_raw_fd())?;
    let name = address.as_abstract().ok_or_else(|| io::Error::other("the kernel gave it no name"))?;
    Ok((socket.into(), format!("@{}", String::from_utf8_lossy(name))))
}

async fn listen(socket: UnixDatagram, inbox: mpsc::Sender<Wake>) {
    loop {
        for _ in 0..AT_A_TIME {
            if socket.readable().await.is_err() {
                return;
            }
            let received = socket.try_io(Interest::READABLE, || receive(&socket));
            if let Ok(Some((sender, uid, notification))) = received
                && inbox.send(Wake::Notified(sender, uid, Box::new(notification))).await.is_err()
            {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A message, and whose it is; None: nobody knows, or it is too long. There is no room for descriptors, so that those that
/// come with it are closed (unix(7)); that is the answer that some senders wait for (sd_notify_barrier(3)).
fn receive(socket: &UnixDatagram) -> io::Result<Option<(Pid, u32, Notification)>> {
    let mut bytes = [0; LONGEST];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let (length, is_cut) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
    let sender = received.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(who) => Some((Pid(who.pid()), who.uid())),
        _ => None,
    });
    let Some((pid, uid)) = sender.filter(|(pid, _)| pid.0 > 0 && !is_cut) else { return Ok(None) };
    Ok(Some((pid, uid, Notification::parse(&bytes[..length]))))
}

async fn wait_for_line(mut reader: pipe::Receiver, id: ServiceId, run: Pid, inbox: mpsc::Sender<Wake>) {
    let mut chunk = [0; 512];
    while let Ok(length @ 1..) = reader.read(&mut chunk).await {
        if chunk[..length].contains(&b'\n') {
            let _ = inbox.send(Wake::SaidReady(id, run, None)).await;
            return;
        }
    }
}
