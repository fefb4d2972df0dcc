//! From a host's name to a connected stream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use tokio::net::TcpStream;

use crate::opening::OpenCause;
use crate::transport::Transport;

/// How TCP connections are made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tcp {}

/// Finds the addresses of a host: what a [`Client`](crate::Client) asks in place of the operating system.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses, the best first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The operating system's resolver (`getaddrinfo`), on a thread for blocking work.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The addresses of a host, at least one.
pub(crate) async fn resolve(
    resolver: &dyn Resolve,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, OpenCause> {
    let failed = |source| OpenCause::Resolve { host: host.to_owned(), source };
    let addresses = resolver.resolve(host, port).await.map_err(failed)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// Connects to one of the addresses of a host.
pub(crate) async fn connect(
    addresses: Vec<SocketAddr>,
    _tcp: &Tcp,
    host: &str,
    port: u16,
) -> Result<(Transport, SocketAddr), OpenCause> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream.into(), address)),
            Err(error) => last = error,
        }
    }
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Err(OpenCause::Connect { address, source: last })
}

/// Connects to a unix socket.
#[expect(clippy::unused_async, reason = "not written yet")]
pub(crate) async fn connect_unix(path: &Path) -> Result<Transport, OpenCause> {
    let source = io::ErrorKind::Unsupported.into();
    Err(OpenCause::Connect { address: path.display().to_string(), source })
}
