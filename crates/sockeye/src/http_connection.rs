//! A connection that is no WebSocket's, on its way to an HTTP server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use sockeye_proto::{Config, HandshakeError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::Error;
use crate::incoming::refuse;
use crate::opening::{Opening, Phase};
use crate::peer::Peer;
use crate::tls::TlsInfo;
use crate::transport::Transport;

/// A connection on which something else than an opening handshake came: a byte stream that begins with what was read
/// already, for an HTTP server to take over.
pub struct HttpConnection {
    pub(crate) transport: Transport,
    pub(crate) replay: BytesMut,
    pub(crate) peer: Peer,
    pub(crate) config: Arc<Config>,
}

impl HttpConnection {
    /// The peer's address, if the connection came by TCP.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.addr
    }

    /// As [`Incoming::client_addr`](crate::Incoming::client_addr).
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.peer.client
    }

    /// Which of the server's listeners the connection came by; as [`Incoming::listener`](crate::Incoming::listener).
    pub fn listener(&self) -> usize {
        self.peer.listener
    }

    /// What TLS has agreed on; as [`Incoming::tls`](crate::Incoming::tls).
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.peer.tls.as_deref()
    }

    /// Answers that this is for WebSockets only.
    pub(crate) async fn refuse(mut self) -> Error {
        let opening = Opening::new(&self.config);
        let error = opening.fail(Phase::Upgrade, HandshakeError::MissingHeader("Upgrade"));
        refuse(&mut self.transport, &self.config, error).await
    }
}

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection").field("client_addr", &self.client_addr()).finish_non_exhaustive()
    }
}

impl AsyncRead for HttpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replay.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buffer);
        }
        let count = self.replay.len().min(buffer.remaining());
        buffer.put_slice(&self.replay[..count]);
        self.replay.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
