//! Asking an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, StatusCode, header};

use super::http1::{HeadReader, StatusLine, put_field, put_fields, put_request_line};
use super::refusal::RefusalReader;
use super::{HOST, check_request_fields};
use crate::config::Config;
use crate::error::HandshakeError;
use crate::url::WebSocketUrl;

/// A client's request to an HTTP proxy for a tunnel to a URL's host and port, by the method CONNECT: it is written when it is
/// made, then the response is read.
///
/// ```
/// use sockeye_proto::handshake::TunnelHandshake;
/// use sockeye_proto::{BytesMut, Config, HeaderMap};
///
/// let (url, mut request) = ("wss://example.com/chat".parse()?, BytesMut::new());
/// let mut tunnel = TunnelHandshake::new(&url, &HeaderMap::new(), &Config::default(), &mut request)?;
/// assert_eq!(request, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
///
/// let mut input = BytesMut::from("HTTP/1.1 200 Connection established\r\n\r\n");
/// assert_eq!(tunnel.receive(&mut input), Ok(Some(())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TunnelHandshake {
    reader: HeadReader<StatusLine>,
    /// What came instead of a tunnel, if its head is there.
    refusal: Option<RefusalReader>,
    max_refusal_body: usize,
}

impl TunnelHandshake {
    /// Writes the request to `output`, with these header fields, such as `Proxy-Authorization`; `Host` takes the place of the
    /// URL's. Nothing else of the URL is told than its host and port.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Misuse`], with nothing written, for header fields that [`Offer::headers`](super::Offer::headers)
    /// may not hold either.
    pub fn new(
        url: &WebSocketUrl,
        headers: &HeaderMap,
        config: &Config,
        output: &mut BytesMut,
    ) -> Result<Self, HandshakeError> {
        check_request_fields(headers)?;
        // RFC 9110 section 9.3.6: "There is no default port; a client MUST send the port number even if the CONNECT request is based
        // on a URI reference that contains an authority component with an elided port"
        let (host, port) = (url.host(), url.port());
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        put_request_line(output, "CONNECT", &target);
        match headers.get(header::HOST) {
            Some(host) => put_field(output, HOST, host),
            None => put_field(output, HOST, &target),
        }
        put_fields(output, headers.iter().filter(|(name, _)| **name != header::HOST));
        output.put_slice(b"\r\n");
        let reader = HeadReader::responses(config);
        Ok(Self { reader, refusal: None, max_refusal_body: config.max_refusal_body })
    }

    /// Reads on: `Some` once the tunnel is open, `None` if more bytes are needed. Not to be called again after the one or an
    /// error.
    ///
    /// The bytes behind the response stay in `input`: they are the server's.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Refused`] for a status that opens no tunnel, once its body is whole or over its limit; all others if
    /// the response breaks the protocol or a limit.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<()>, HandshakeError> {
        loop {
            if let Some(refusal) = &mut self.refusal {
                return refusal.read(input).map(|()| None);
            }
            let Some(head) = self.reader.read(input)? else { return Ok(None) };
            // RFC 9110 section 9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch
            // to tunnel mode immediately after the response header section; data received after that header section is from the
            // server identified by the request target. Any response other than a successful response indicates that the tunnel has
            // not yet been formed."
            //
            // RFC 9112 section 6.3: "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in such a
            // message."
            match head.line.status {
                status if status.is_success() => return Ok(Some(())),
                // RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response,
                // even if the client does not expect one." Behind a 101 comes another protocol, which was not asked for.
                status if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS => {}
                _ => self.refusal = Some(RefusalReader::new(head, self.max_refusal_body)),
            }
        }
    }

    /// The bytes have ended, and [`receive`](Self::receive) had returned `None`: the refusal, if its head had come, or else
    /// [`HandshakeError::Truncated`].
    pub fn receive_end(&mut self, input: &mut BytesMut) -> HandshakeError {
        match (self.receive(input), &mut self.refusal) {
            (Err(error), _) => error,
            (Ok(_), Some(refusal)) => refusal.read_end(input),
            (Ok(_), None) => HandshakeError::Truncated,
        }
    }
}
