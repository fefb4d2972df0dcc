//! Asking a proxy for a tunnel.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use sockeye_proto::handshake::TunnelHandshake;
use sockeye_proto::{Config, HandshakeError, WebSocketUrl};
use tokio::time::Instant;

use super::socks::{SocksError, SocksHandshake, Target};
use super::{Proxy, ProxyError, Scheme};
use crate::handshake::{read_more, read_more_until, write};
use crate::opening::OpenCause;
use crate::tls;
use crate::transport::Transport;

/// Asks the proxy at the other end of `transport` for a tunnel to the URL's host and port; a SOCKS5 proxy for one to `address`, if
/// it is given.
///
/// Also returns what came behind the proxy's answer. It is the server's: one that refuses connections, for there are too many, may
/// say so before it is asked, and that is what the caller wants to know. Over TLS there can be no such thing.
pub(crate) async fn open_tunnel(
    mut transport: Transport,
    proxy: &Proxy,
    url: &WebSocketUrl,
    address: Option<&SocketAddr>,
    config: &Config,
    deadline: Option<Instant>,
) -> Result<(Transport, BytesMut), OpenCause> {
    // RFC 6455 section 4.1: "If the client is configured to use a proxy when using the WebSocket Protocol to connect to host
    // /host/ and port /port/, then the client SHOULD connect to that proxy and ask it to open a TCP connection to the host given
    // by /host/ and the port given by /port/." So for `ws` too: an HTTP proxy is never asked to forward the request itself.
    let mut input = BytesMut::new();
    match proxy.scheme {
        Scheme::Http => ask_http(&mut transport, proxy, url, &mut input, config, deadline).await?,
        Scheme::Https => {
            let secured = tls::connect(&proxy.tls, proxy.host(), transport).await;
            (transport, _) = secured.map_err(|cause| tls_cause(proxy, cause))?;
            ask_http(&mut transport, proxy, url, &mut input, config, deadline).await?;
        }
        Scheme::Socks5 | Scheme::Socks5h => {
            let target = match (address, url.host().parse()) {
                (Some(address), _) => Target::Address(*address),
                (None, Ok(ip)) => Target::Address(SocketAddr::new(ip, url.port())),
                (None, Err(_)) => Target::Name(url.host(), url.port()),
            };
            ask_socks(&mut transport, proxy, target, &mut input).await?;
        }
    }
    if url.is_secure() && !input.is_empty() {
        return Err(ProxyError::EarlyBytes { proxy: proxy.to_string() }.into());
    }
    Ok((transport, input))
}

/// What failed in TLS with a proxy, as a fault of the proxy.
fn tls_cause(proxy: &Proxy, cause: OpenCause) -> OpenCause {
    let proxy = proxy.to_string();
    match cause {
        OpenCause::Tls(source) => ProxyError::Tls { proxy, source }.into(),
        OpenCause::Io(source) => ProxyError::Io { proxy, source }.into(),
        other => other,
    }
}

/// By CONNECT. At the deadline a refusal is given with what has come of its body.
async fn ask_http(
    transport: &mut Transport,
    proxy: &Proxy,
    url: &WebSocketUrl,
    input: &mut BytesMut,
    config: &Config,
    deadline: Option<Instant>,
) -> Result<(), OpenCause> {
    let mut request = BytesMut::new();
    let mut tunnel = TunnelHandshake::new(url, &proxy.fields(), config, &mut request)?;
    write(transport, &request).await.map_err(|error| io_cause(proxy, error))?;
    loop {
        if tunnel.receive(input).map_err(|error| http_cause(proxy, error))?.is_some() {
            return Ok(());
        }
        let failed = match read_more_until(transport, input, deadline).await {
            Some(Ok(true)) => continue,
            Some(Ok(false)) => None,
            Some(Err(error)) => Some(io_cause(proxy, error)),
            None => Some(OpenCause::Timeout),
        };
        return Err(match (tunnel.receive_end(input), failed) {
            (HandshakeError::Truncated, Some(cause)) => cause,
            (HandshakeError::Refused(mut refusal), failed) => {
                refusal.truncated |= failed.is_some();
                http_cause(proxy, HandshakeError::Refused(refusal))
            }
            (error, _) => http_cause(proxy, error),
        });
    }
}

/// By SOCKS5. No answer of it is longer than 262 bytes.
async fn ask_socks(
    transport: &mut Transport,
    proxy: &Proxy,
    target: Target<'_>,
    input: &mut BytesMut,
) -> Result<(), OpenCause> {
    let mut output = BytesMut::new();
    let socks = SocksHandshake::new(target, proxy.user.as_ref(), &mut output);
    let mut socks = socks.map_err(|error| socks_cause(proxy, error))?;
    loop {
        write(transport, &output).await.map_err(|error| io_cause(proxy, error))?;
        output.clear();
        while output.is_empty() {
            if !read_more(transport, input).await.map_err(|error| io_cause(proxy, error))? {
                return Err(ProxyError::Truncated { proxy: proxy.to_string() }.into());
            }
            let opened = socks.receive(input, &mut output).map_err(|error| socks_cause(proxy, error))?;
            if opened.is_some() {
                return Ok(());
            }
        }
    }
}

fn http_cause(proxy: &Proxy, error: HandshakeError) -> OpenCause {
    let proxy = proxy.to_string();
    let error = match error {
        HandshakeError::Refused(refusal) => ProxyError::Refused { proxy, refusal },
        HandshakeError::Truncated => ProxyError::Truncated { proxy },
        source => ProxyError::Handshake { proxy, source },
    };
    error.into()
}

fn socks_cause(proxy: &Proxy, error: SocksError) -> OpenCause {
    let proxy = proxy.to_string();
    let error = match error {
        SocksError::Auth(why) => ProxyError::Auth { proxy, why },
        SocksError::Reply(reply) => ProxyError::Socks { proxy, reply },
        SocksError::Syntax(wrong) => ProxyError::SocksSyntax { proxy, wrong },
        SocksError::TooLong(what) => ProxyError::TooLong { what },
    };
    error.into()
}

fn io_cause(proxy: &Proxy, source: io::Error) -> OpenCause {
    tls_cause(proxy, source.into())
}
