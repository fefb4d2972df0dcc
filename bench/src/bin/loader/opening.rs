//! Opening connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::{Result, SILENCE};

/// RFC 6455 section 1.3: the example key, and the accept value that goes with it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
/// RFC 7692 section 7: windows of 15 bits, since nothing else is said.
const OFFER: &[u8] = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection with its request on the way. When it is dropped it is reset, so that no port waits in `TIME_WAIT`.
pub(crate) fn start(port: u16, deflate: bool) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    sockeye_bench::congestion_control(&stream)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.write_all(&[REQUEST, if deflate { OFFER } else { b"" }, b"\r\n"].concat())?;
    Ok(stream)
}

/// The response so far, checked once it is whole; whether it is.
pub(crate) fn check(response: &[u8], deflate: bool) -> Result<bool> {
    if !response.ends_with(b"\r\n\r\n") {
        return Ok(false);
    }
    let text = std::str::from_utf8(response)?;
    let field = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let accepted = field("sec-websocket-accept") == Some(ACCEPT);
    let extended = match field("sec-websocket-extensions") {
        None => !deflate,
        Some(extension) => deflate && is_what_was_offered(extension),
    };
    if !text.starts_with("HTTP/1.1 101 ") || !accepted || !extended {
        return Err(format!("not the response that was asked for: {text}").into());
    }
    Ok(true)
}

/// Whether the server compresses without context takeover and with a window of 15 bits.
fn is_what_was_offered(extension: &str) -> bool {
    let mut parameters = extension.split(';').map(str::trim);
    let known = ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits=15"];
    parameters.next() == Some("permessage-deflate")
        && parameters.clone().any(|parameter| parameter == known[0])
        && parameters.all(|parameter| known.contains(&parameter))
}

/// A connection, opened; it blocks, at most for [`SILENCE`].
pub(crate) fn open(port: u16, deflate: bool) -> Result<TcpStream> {
    let mut stream = start(port, deflate)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    while !check(&response, deflate)? {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            count => response.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(stream)
}
