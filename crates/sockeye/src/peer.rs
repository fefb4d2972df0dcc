//! Where a server's connection comes from.

use std::net::SocketAddr;

use crate::tls::TlsInfo;

/// What is known of a connection besides its bytes.
#[derive(Default)]
pub(crate) struct Peer {
    /// The other end's address.
    pub(crate) addr: Option<SocketAddr>,
    /// Where the client is: there, once the request was read, or where the peer says that it is if that is a trusted proxy.
    pub(crate) client: Option<SocketAddr>,
    /// Which of the server's listeners it came by.
    pub(crate) listener: usize,
    /// What TLS has agreed on.
    pub(crate) tls: Option<Box<TlsInfo>>,
}

#[cfg(feature = "tracing")]
impl Peer {
    /// Where the client is, if a proxy has told that.
    pub(crate) fn other_client(&self) -> Option<SocketAddr> {
        self.client.filter(|_| self.client != self.addr)
    }
}
