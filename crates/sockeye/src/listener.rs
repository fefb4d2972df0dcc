//! What a server listens on.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
#[cfg(unix)]
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tokio::time::{Sleep, sleep};

use crate::peer::Peer;
use crate::transport::Transport;

/// How many connections may wait to be accepted, unless the system has set less (`net.core.somaxconn`): clients that all come back at once find room.
/// Whoever finds none tries again after a second only.
const BACKLOG: i32 = 4096;

/// How long to wait before accepting again when that failed, for want of file descriptors mostly.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A TCP address or a unix socket that a [`Server`](crate::Server) listens on.
///
/// One that somebody else has bound, systemd for instance, or that has options of its own, is made `from` the listener of tokio, or by
/// `try_from` out of that of the standard library. The runtime that accepts is that in which the server is run, whichever this was made in:
///
/// ```
/// # async fn example(bound: std::net::TcpListener) -> std::io::Result<()> {
/// let server = sockeye::Server::from_listener(sockeye::Listener::try_from(bound)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp {
        listener: std::net::TcpListener,
        /// Whether others may be bound to its address.
        shared: bool,
    },
    #[cfg(unix)]
    Unix { listener: std::os::unix::net::UnixListener, file: Option<Arc<unix::SocketFile>> },
    /// tokio did not give it up.
    Lost(io::Error),
}

impl Listener {
    /// Listens on a TCP address; port 0 picks one, which [`local_addr`](Self::local_addr) tells.
    ///
    /// # Errors
    ///
    /// Those of the system: the address is taken, is none of this machine's, or may not be used; or the name could not be resolved.
    pub async fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        bind_any(address, false).await
    }

    /// Listens on a TCP address with `SO_REUSEPORT`, so that each [worker](crate::Server::worker) gets a queue of its own, between which the system spreads who connects.
    /// Other processes of the same user may be bound to the address too, if they ask for that likewise: where another one runs already there is no error. Port 0 picks one, as with
    /// [`tcp`](Self::tcp).
    ///
    /// On other systems than Linux, where connections are not spread like that, this is the same as [`tcp`](Self::tcp).
    ///
    /// # Errors
    ///
    /// As [`tcp`](Self::tcp).
    pub async fn tcp_shared(address: impl ToSocketAddrs) -> io::Result<Self> {
        bind_any(address, cfg!(target_os = "linux")).await
    }

    /// Listens on a unix socket (`AF_UNIX`), whose file is made for that, with these permissions, such as `0o660`, or those that the process's umask leaves. It is
    /// removed when this is dropped, by a [`Server`](crate::Server) and its workers when they go down, unless somebody has put another in its place.
    ///
    /// A socket's file that is there already and where nobody listens, as a server that was killed leaves it behind, is replaced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if somebody listens there, or if the file is no socket.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<std::path::Path>, mode: Option<u32>) -> io::Result<Self> {
        let (listener, file) = unix::bind(path.as_ref(), mode)?;
        Ok(Self(Kind::Unix { listener, file: Some(Arc::new(file)) }))
    }

    /// The address listened on; `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp { listener, .. } => listener.local_addr().ok(),
            _ => None,
        }
    }

    /// Another one on the same address: with a queue of its own if others may be bound to it, otherwise the same once more.
    pub(crate) fn another(&self) -> io::Result<Self> {
        match &self.0 {
            Kind::Tcp { listener, shared: true } => bind(listener.local_addr()?, true),
            Kind::Tcp { listener, shared } => {
                Ok(Self(Kind::Tcp { listener: listener.try_clone()?, shared: *shared }))
            }
            #[cfg(unix)]
            Kind::Unix { listener, file } => {
                Ok(Self(Kind::Unix { listener: listener.try_clone()?, file: file.clone() }))
            }
            Kind::Lost(error) => Err(error.kind().into()),
        }
    }
}

/// Listens on the first of these addresses on which that is possible.
async fn bind_any(addresses: impl ToSocketAddrs, shared: bool) -> io::Result<Listener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    for address in lookup_host(addresses).await? {
        match bind(address, shared) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Listens on an address, to which others may be bound too if it is shared: the system spreads connections then.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As tokio does it: connections of a server that was there before do not keep the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listener(Kind::Tcp { listener: socket.into(), shared }))
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        let kind = |listener| Kind::Tcp { listener, shared: false };
        Self(listener.into_std().map_or_else(Kind::Lost, kind))
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Kind::Tcp { listener, shared: false }))
    }
}

#[cfg(unix)]
impl From<tokio::net::UnixListener> for Listener {
    /// The socket's file is whoever's who made it.
    fn from(listener: tokio::net::UnixListener) -> Self {
        let kind = |listener| Kind::Unix { listener, file: None };
        Self(listener.into_std().map_or_else(Kind::Lost, kind))
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    /// The socket's file is whoever's who made it.
    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Kind::Unix { listener, file: None }))
    }
}

/// A listener in the runtime that accepts.
enum InRuntime {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: tokio::net::UnixListener,
        /// Removed with the last of it.
        _file: Option<Arc<unix::SocketFile>>,
    },
}

struct Accepting {
    socket: InRuntime,
    /// Accepting has failed.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Self> {
        let socket = match listener.0 {
            Kind::Tcp { listener, .. } => InRuntime::Tcp(TcpListener::from_std(listener)?),
            #[cfg(unix)]
            Kind::Unix { listener, file } => {
                InRuntime::Unix { listener: tokio::net::UnixListener::from_std(listener)?, _file: file }
            }
            Kind::Lost(error) => return Err(error),
        };
        Ok(Self { socket, pause: None })
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, Option<SocketAddr>)>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        loop {
            let accepted = ready!(match &self.socket {
                InRuntime::Tcp(listener) => {
                    listener.poll_accept(cx).map_ok(|(stream, peer)| (stream.into(), Some(peer)))
                }
                #[cfg(unix)]
                InRuntime::Unix { listener, .. } => {
                    listener.poll_accept(cx).map_ok(|(stream, _)| (Transport::Unix(stream), None))
                }
            });
            match accepted {
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    // Whatever it was, the listener is still there, and trying again at once would spin.
                    self.pause = Some(Box::pin(sleep(BACK_OFF)));
                    return Poll::Ready(Err(error));
                }
                accepted => return Poll::Ready(accepted),
            }
        }
    }
}

/// Whether it is the end of a connection that waited to be accepted, and not the listener's.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
    )
}

/// All listeners of a server.
pub(crate) struct Listeners {
    all: Vec<Accepting>,
    turn: usize,
}

impl Listeners {
    /// Has the current runtime accept.
    pub(crate) fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let all = listeners.into_iter().map(Accepting::new).collect::<Result<_, _>>()?;
        Ok(Self { all, turn: 0 })
    }

    /// Accepts a connection by whichever listener has one, beginning with that whose turn it is. One that fails is left alone for a while, and the
    /// others are not. Cancel-safe.
    pub(crate) async fn accept(&mut self) -> io::Result<(Transport, Peer)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, Peer)>> {
        let count = self.all.len();
        for offset in 0..count {
            let listener = (self.turn + offset) % count;
            if let Poll::Ready(accepted) = self.all[listener].poll_accept(cx) {
                self.turn = listener + 1;
                let peer = |addr| Peer { addr, listener, ..Peer::default() };
                return Poll::Ready(accepted.map(|(transport, addr)| (transport, peer(addr))));
            }
        }
        Poll::Pending
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};

    use socket2::{Domain, SockAddr, Socket, Type};

    use super::BACKLOG;

    /// The file of a unix socket, to be removed in the end.
    #[derive(Debug)]
    pub(super) struct SocketFile {
        path: PathBuf,
        /// Device and inode, by which it is known again.
        identity: (u64, u64),
    }

    pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path) {
                return Err(error);
            }
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
        // Before it listens: nobody can connect with other permissions than these.
        if let Some(mode) = mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), file))
    }

    /// Whether it is a socket where nobody listens.
    fn is_stale(path: &Path) -> bool {
        let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let nobody = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        is_socket && UnixStream::connect(path).is_err_and(nobody)
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
                // If it cannot be removed, the next one who listens there will.
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Shutdown;

    use socket2::SockRef;
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_keeps_no_other_waiting() {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (broken, good) = (bind(), bind());
        SockRef::from(&broken).shutdown(Shutdown::Both).unwrap();
        let address = good.local_addr().unwrap();
        let all = [broken, good].map(|listener| Listener::try_from(listener).unwrap());
        let mut listeners = Listeners::new(all.into()).unwrap();
        let start = Instant::now();
        let mut clients = vec![TcpStream::connect(address).await.unwrap()];
        let (first, second) = (listeners.accept().await, listeners.accept().await);
        assert!(first.is_ok() != second.is_ok(), "each once");
        for _ in 0..10 {
            clients.push(TcpStream::connect(address).await.unwrap());
            let (_, peer) = listeners.accept().await.unwrap();
            assert_eq!(peer.listener, 1);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for round in 1..4 {
            assert!(listeners.accept().await.is_err());
            assert!(start.elapsed() >= round * BACK_OFF, "it is tried again after a while");
        }
    }
}
