//! What a server listens on.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, ToSocketAddrs};

use crate::peer::Peer;
use crate::transport::Transport;

/// A TCP address or a unix socket that a [`Server`](crate::Server) listens on.
///
/// One that somebody else has bound, systemd for instance, or that has options of its own, is made `from` the listener of tokio, or by
/// `try_from` out of that of the standard library, within a runtime. With `SO_REUSEPORT` (`set_reuse_port` of the crate socket2) several servers, each in a runtime of its own with
/// one thread, share a port without sharing anything else:
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
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: tokio::net::UnixListener,
        /// Removed with it.
        _file: Option<unix::SocketFile>,
    },
}

impl Listener {
    /// Listens on a TCP address; port 0 picks one, which [`local_addr`](Self::local_addr) tells.
    pub async fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::from)
    }

    /// Listens on a unix socket (`AF_UNIX`), whose file is made for that, with these permissions, such as `0o660`, or those that the process's umask leaves. It is
    /// removed when this is dropped, by a [`Server`](crate::Server) when it goes down, unless somebody has put another in its place.
    ///
    /// A socket's file that is there already and where nobody listens, as a server that was killed leaves it behind, is replaced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if somebody listens there, or if the file is no socket.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<std::path::Path>, mode: Option<u32>) -> io::Result<Self> {
        let (listener, file) = unix::bind(path.as_ref(), mode)?;
        Ok(Self(Kind::Unix { listener, _file: Some(file) }))
    }

    /// The address listened on; `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix { .. } => None,
        }
    }

    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Transport, Option<SocketAddr>)>> {
        match &self.0 {
            Kind::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (stream.into(), Some(peer)))
            }
            #[cfg(unix)]
            Kind::Unix { listener, .. } => {
                listener.poll_accept(cx).map_ok(|(stream, _)| (Transport::Unix(stream), None))
            }
        }
    }
}

/// Accepts a connection by whichever listener has one, beginning with that whose turn it is.
pub(crate) fn poll_accept(
    listeners: &[Listener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Transport, Peer)>> {
    for offset in 0..listeners.len() {
        let listener = (*turn + offset) % listeners.len();
        if let Poll::Ready(accepted) = listeners[listener].poll_accept(cx) {
            *turn = listener + 1;
            return Poll::Ready(
                accepted.map(|(transport, addr)| (transport, Peer { addr, listener, ..Peer::default() })),
            );
        }
    }
    Poll::Pending
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::from)
    }
}

#[cfg(unix)]
impl From<tokio::net::UnixListener> for Listener {
    /// The socket's file is whoever's who made it.
    fn from(listener: tokio::net::UnixListener) -> Self {
        Self(Kind::Unix { listener, _file: None })
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    /// The socket's file is whoever's who made it.
    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener).map(Self::from)
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::UnixListener;

    /// How many connections may wait to be accepted: as many as tokio has it for TCP. Beyond them a client is refused at once, and fronts do not try again.
    const BACKLOG: i32 = 1024;

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
        Ok((UnixListener::from_std(socket.into())?, file))
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
