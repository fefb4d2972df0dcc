//! The least of an opening handshake: the key in, the accept value out (RFC 6455 section 4.2.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FIELD: &str = "sec-websocket-key";
/// RFC 7692 section 7.1.1.
const EXTENSION: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

/// The response to the request in `bytes`, and where the request ends; `None` if it has not ended yet, or has no key.
pub(crate) fn answer(bytes: &[u8], deflate: bool) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, key) = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(FIELD))?;
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.trim().as_bytes());
    hash.update(GUID.as_bytes());
    let accept = STANDARD.encode(hash.digest().bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{}\r\n",
        if deflate { EXTENSION } else { "" }
    );
    Some((response, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_the_rfc() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (response, end) = answer(request, false).unwrap();
        assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_eq!(end, request.len());
        assert_eq!(answer(&request[..end - 1], false), None);
    }
}
