//! The byte streams that a WebSocket runs on.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsStream;

/// Any other byte stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A byte stream; an enum, so that the user's type has no parameter and the usual streams no indirection.
pub(crate) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<TlsStream<Transport>>),
    /// TLS over TCP that somebody else has accepted.
    TlsAccepted(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Other(Box<dyn Stream>),
    /// What is left where a stream was taken away: nothing to read, nowhere to write.
    Gone,
}

impl Transport {
    /// Wraps a stream, unboxed if it is one of those known here.
    pub(crate) fn new<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let mut stream = Some(stream);
        if let Some(tcp) = take::<TcpStream>(&mut stream) {
            return tcp.into();
        }
        #[cfg(unix)]
        if let Some(unix) = take::<UnixStream>(&mut stream) {
            return Self::Unix(unix);
        }
        if let Some(tls) = take::<tokio_rustls::server::TlsStream<TcpStream>>(&mut stream) {
            set_up(tls.get_ref().0, true);
            return Self::TlsAccepted(Box::new(tls));
        }
        Self::Other(Box::new(stream.expect("nobody took it")))
    }

    /// A TCP connection, with Nagle's algorithm on or off.
    pub(crate) fn tcp(stream: TcpStream, nodelay: bool) -> Self {
        set_up(&stream, nodelay);
        Self::Tcp(stream)
    }

    /// The peer's address, if it is known.
    #[cfg(feature = "hyper")]
    pub(crate) fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::TlsAccepted(stream) => stream.get_ref().0.peer_addr().ok(),
            _ => None,
        }
    }
}

/// Sets what every TCP connection is to have.
///
/// Keeps the system from holding megabytes that it has not sent yet: on a slow link a keepalive ping would wait behind them
/// for longer than its answer may take, and a close or a reply likewise.
fn set_up(stream: &TcpStream, nodelay: bool) {
    // They fail only on a connection that is gone already, which the first read tells.
    let _ = stream.set_nodelay(nodelay);
    #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// How many bytes the system may hold that it has not sent yet.
#[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
const UNSENT: u32 = 256 << 10;

/// Takes the stream if it is a `T`.
fn take<T: 'static>(stream: &mut dyn Any) -> Option<T> {
    stream.downcast_mut::<Option<T>>().and_then(Option::take)
}

impl From<TcpStream> for Transport {
    /// Turns Nagle's algorithm off: it would hold a small message back until the one before it is acknowledged.
    fn from(stream: TcpStream) -> Self {
        Self::tcp(stream, true)
    }
}

/// Calls the same method on whichever stream it is.
macro_rules! on_stream {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Transport::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            #[cfg(unix)]
            Transport::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Transport::Tls(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Transport::TlsAccepted(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Transport::Other(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::TlsAccepted(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
            Self::Gone => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_usual_streams_are_not_boxed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(matches!(Transport::new(tcp), Transport::Tcp(_)));
        #[cfg(unix)]
        assert!(matches!(Transport::new(UnixStream::pair().unwrap().0), Transport::Unix(_)));
        assert!(matches!(Transport::new(tokio::io::duplex(1).0), Transport::Other(_)));
    }
}
