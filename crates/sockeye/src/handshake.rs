//! What the opening handshake has agreed on, and its driving over a transport.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use sockeye_proto::handshake::{Answer, Extension, Request};
use sockeye_proto::{Config, Deflate, HandshakeMisuse, HeaderMap, PerMessageDeflate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::opening::Timings;
use crate::tls::TlsInfo;
use crate::transport::Transport;

/// How much is read at once during the opening.
const READ: usize = 4 << 10;

/// What was agreed on in the opening handshake (RFC 6455 section 4).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handshake {
    /// The resource name that was asked for: path and query (RFC 6455 section 3).
    pub resource_name: String,
    /// The peer's header fields: the request's at a server, the response's at a client.
    pub headers: HeaderMap,
    /// The subprotocol in use, if any.
    pub subprotocol: Option<String>,
    /// The extensions in use, with their parameters.
    pub extensions: Vec<Extension>,
    /// How long the opening took, phase by phase.
    pub timings: Timings,
    /// The peer's address, where it is known: behind a proxy, at either end, it is the proxy's.
    pub peer_addr: Option<SocketAddr>,
    /// What TLS has agreed on, if the connection runs over it and we set it up.
    pub tls: Option<TlsInfo>,
}

impl Handshake {
    /// That of a connection that never had one.
    pub(crate) fn none() -> Self {
        Self {
            resource_name: "/".into(),
            headers: HeaderMap::new(),
            subprotocol: None,
            extensions: Vec::new(),
            timings: Timings::default(),
            peer_addr: None,
            tls: None,
        }
    }

    /// That of a request that was accepted by this answer.
    pub(crate) fn accepted(
        request: &Request,
        answer: Answer,
        timings: Timings,
        peer_addr: Option<SocketAddr>,
        tls: Option<TlsInfo>,
    ) -> Self {
        let resource_name = match request.query() {
            None => request.path().to_owned(),
            Some(query) => format!("{}?{query}", request.path()),
        };
        Self {
            resource_name,
            headers: request.headers().clone(),
            subprotocol: answer.subprotocol,
            extensions: answer.extensions,
            timings,
            peer_addr,
            tls,
        }
    }
}

/// The first subprotocol offered that is among `supported` (RFC 6455 section 4.2.2).
pub(crate) fn choose_subprotocol(request: &Request, supported: &[impl AsRef<str>]) -> Option<String> {
    let mut offered = request.subprotocols().iter();
    offered.find(|offered| supported.iter().any(|name| name.as_ref() == **offered)).cloned()
}

/// Adds to a server's answer the extensions that the library negotiates.
pub(crate) fn agree(
    config: &Config,
    request: &Request,
    answer: &mut Answer,
) -> Result<Option<PerMessageDeflate>, HandshakeMisuse> {
    if answer.extensions.iter().any(|extension| extension.name == Deflate::NAME) {
        return Err(HandshakeMisuse::OwnedExtension(Deflate::NAME));
    }
    let offered = config.deflate.as_ref().and_then(|deflate| deflate.answer(request.extensions()));
    Ok(offered.map(|(response, agreed)| {
        answer.extensions.push(response);
        agreed
    }))
}

/// Reads some more of the handshake: false at the end of the bytes.
pub(crate) async fn read_more(transport: &mut Transport, input: &mut BytesMut) -> io::Result<bool> {
    input.reserve(READ);
    Ok(transport.read_buf(input).await? > 0)
}

/// The same until a deadline: `None` once it has passed.
pub(crate) async fn read_more_until(
    transport: &mut Transport,
    input: &mut BytesMut,
    deadline: Option<Instant>,
) -> Option<io::Result<bool>> {
    let reading = read_more(transport, input);
    match deadline {
        None => Some(reading.await),
        Some(deadline) => timeout_at(deadline, reading).await.ok(),
    }
}

/// Writes our part of the handshake.
pub(crate) async fn write(transport: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    transport.write_all(bytes).await?;
    transport.flush().await
}
