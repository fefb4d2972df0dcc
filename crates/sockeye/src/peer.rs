//! Where a server's connection comes from.

use std::net::SocketAddr;

use crate::tls::TlsInfo;

/// What is known of a connection besides its bytes.
#[derive(Default)]
pub(crate) struct Peer {
    /// The other end's address.
    pub(crate) addr: Option<SocketAddr>,
    /// Where the client is, if not there: whom the peer speaks for.
    pub(crate) client: Option<SocketAddr>,
    /// Which of the server's listeners it came by.
    pub(crate) listener: usize,
    /// What TLS has agreed on.
    pub(crate) tls: Option<Box<TlsInfo>>,
}
