//! The client's side of the opening handshake (RFC 6455 section 4.1).

use std::collections::HashSet;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};

use super::http1::{HeadReader, MessageHead, StatusLine, put_field, put_fields, put_request_line};
use super::negotiate::{Extension, is_token, parse_extensions};
use super::refusal::RefusalReader;
use super::{
    ACCEPT, CONNECTION, EXTENSIONS, HOST, KEY, PROTOCOL, UPGRADE, VERSION, accept_key, at_most_one,
    check_connection, check_request_fields, exactly_one, found, found_in,
};
use crate::config::Config;
use crate::error::{HandshakeError, HandshakeMisuse};
use crate::url::WebSocketUrl;

/// What a client asks for beside the URL (RFC 6455 section 4.1).
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Subprotocols, the most wanted first: tokens, each of them once.
    pub subprotocols: Vec<String>,
    /// Extensions, the most wanted first.
    pub extensions: Vec<Extension>,
    /// Further header fields, such as `Origin`, `Cookie` and `Authorization`; `Host` takes the place of the URL's.
    ///
    /// `Connection`, `Upgrade`, `Content-Length`, `Transfer-Encoding` and those that begin with `Sec-WebSocket-` are the
    /// library's own and are refused.
    pub headers: HeaderMap,
}

/// A client's opening handshake: the request is written when it is made, then the response is read.
#[derive(Debug)]
pub struct ClientHandshake {
    state: State,
    reader: HeadReader<StatusLine>,
    accept: String,
    subprotocols: Vec<String>,
    extensions: Vec<String>,
    max_refusal_body: usize,
    deadline: Option<Instant>,
}

/// Where the handshake stands.
///
/// ```text
///           status other than 101
///   Head ──────────────────────────▶ Refused ──▶ HandshakeError::Refused
///    │  ▲ interim                       body whole, over its limit, or ended;
///    │  └───┘                           or the deadline
///    └──▶ Response, HandshakeError
/// ```
#[derive(Debug)]
enum State {
    /// The head of the response is awaited.
    Head,
    /// The body of a refusal is awaited.
    Refused(RefusalReader),
}

/// A server's response that completes the opening handshake (RFC 6455 section 4.2.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status: 101.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The subprotocol in use: one of those offered, or none.
    pub subprotocol: Option<String>,
    /// The extensions in use, in their order. Each name was offered; whether the parameters fit the offer is for whoever knows
    /// the extension to check.
    pub extensions: Vec<Extension>,
}

impl ClientHandshake {
    /// Checks the offer and writes the request to `output`; the time for the whole opening runs from `now`.
    ///
    /// `key` must be a fresh one from [`random_key`](super::random_key), save in tests.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Misuse`], with nothing written, if the offer breaks the rules that [`Offer`] names.
    pub fn new(
        url: &WebSocketUrl,
        offer: &Offer,
        key: [u8; 16],
        config: &Config,
        now: Instant,
        output: &mut BytesMut,
    ) -> Result<Self, HandshakeError> {
        check_offer(offer)?;
        let key = STANDARD.encode(key);
        write_request(url, offer, &key, output);
        Ok(Self {
            state: State::Head,
            reader: HeadReader::responses(config),
            accept: accept_key(&key),
            subprotocols: offer.subprotocols.clone(),
            extensions: offer.extensions.iter().map(|extension| extension.name.clone()).collect(),
            max_refusal_body: config.max_refusal_body,
            deadline: config.open_timeout.and_then(|timeout| now.checked_add(timeout)),
        })
    }

    /// Reads on: the response once it is whole and in order, `None` if more bytes are needed. What follows the response
    /// stays in `input`. Not to be called again after a response or an error.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Refused`] for a status other than 101, once its body is whole or over its limit;
    /// [`HandshakeError::TimedOut`] past the deadline (if by then a refusal's body is not whole, the refusal with what there
    /// is of it); all others if the response breaks the protocol or a limit.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Response>, HandshakeError> {
        let response = self.read(input)?;
        if response.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(match &mut self.state {
                State::Head => HandshakeError::TimedOut,
                State::Refused(refusal) => refusal.cut(),
            });
        }
        Ok(response)
    }

    /// The bytes have ended, and [`receive`](Self::receive) had returned `None`: the refusal, if its head had come, or else
    /// [`HandshakeError::Truncated`].
    pub fn receive_end(&mut self, input: &mut BytesMut) -> HandshakeError {
        if let Err(error) = self.read(input) {
            return error;
        }
        match &mut self.state {
            State::Head => HandshakeError::Truncated,
            State::Refused(refusal) => refusal.read_end(input),
        }
    }

    /// When the opening must be complete; at that time [`receive`](Self::receive) is to be called once more.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<Option<Response>, HandshakeError> {
        loop {
            if let State::Refused(refusal) = &mut self.state {
                return refusal.read(input).map(|()| None);
            }
            let Some(head) = self.reader.read(input)? else { return Ok(None) };
            match head.line.status {
                StatusCode::SWITCHING_PROTOCOLS => return self.check(head).map(Some),
                // RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response,
                // even if the client does not expect one."
                status if status.is_informational() => {}
                // RFC 6455 section 4.1: "If the status code received from the server is not 101, the client handles the response per
                // HTTP [RFC2616] procedures."
                _ => self.state = State::Refused(RefusalReader::new(head, self.max_refusal_body)),
            }
        }
    }

    fn check(&self, head: MessageHead<StatusLine>) -> Result<Response, HandshakeError> {
        let headers = head.headers;
        // RFC 6455 section 4.1: "If the server's response does not conform to the requirements for the server's handshake as
        // defined in this section and in Section 4.2.2, the client MUST _Fail the WebSocket Connection_."
        // RFC 9110 section 15.2: "HTTP/1.0 did not define any 1xx status codes"
        if head.line.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion(format!("{:?}", head.line.version)));
        }
        // RFC 6455 section 4.1: "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value
        // that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket
        // Connection_."
        let mut upgrades = headers.get_all(UPGRADE).iter();
        match (upgrades.next(), upgrades.next()) {
            (None, _) => return Err(HandshakeError::MissingHeader(UPGRADE)),
            (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(HandshakeError::Upgrade { found: found_in(&headers, UPGRADE) }),
        }
        check_connection(&headers)?;
        // RFC 6455 section 4.1: "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept|
        // contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string,
        // not base64-decoded) with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing
        // whitespace, the client MUST _Fail the WebSocket Connection_."
        let accept = exactly_one(&headers, ACCEPT)?;
        if accept.as_bytes() != self.accept.as_bytes() {
            return Err(HandshakeError::Accept { found: found(accept.as_bytes()) });
        }
        // RFC 6455 section 11.3.4: "the |Sec-WebSocket-Protocol| header field MUST NOT appear more than once in an HTTP response"
        let subprotocol = match at_most_one(&headers, PROTOCOL)? {
            None => None,
            // RFC 6455 section 4.1: "If the response includes a |Sec-WebSocket-Protocol| header field and this header field
            // indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a
            // subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_."
            Some(value) => {
                let offered = self.subprotocols.iter().find(|offered| value.as_bytes() == offered.as_bytes());
                let not_offered = || HandshakeError::SubprotocolNotOffered(found(value.as_bytes()));
                Some(offered.ok_or_else(not_offered)?.clone())
            }
        };
        // RFC 6455 section 4.2.2: "If multiple extensions are to be used, they can all be listed in a single
        // |Sec-WebSocket-Extensions| header field or split between multiple instances of the |Sec-WebSocket-Extensions| header
        // field." Section 11.3.2 says otherwise; the kinder of the two is taken.
        let extensions = parse_extensions(&headers)?;
        // RFC 6455 section 4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and this header field
        // indicates the use of an extension that was not present in the client's handshake (the server has indicated an
        // extension not requested by the client), the client MUST _Fail the WebSocket Connection_."
        if let Some(extension) =
            extensions.iter().find(|extension| !self.extensions.contains(&extension.name))
        {
            return Err(HandshakeError::ExtensionNotOffered(found(extension.name.as_bytes())));
        }
        Ok(Response { status: head.line.status, headers, subprotocol, extensions })
    }
}

fn check_offer(offer: &Offer) -> Result<(), HandshakeMisuse> {
    let mut seen = HashSet::new();
    // RFC 6455 section 4.1: "The elements that comprise this value MUST be non-empty strings with characters in the range
    // U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings."
    for subprotocol in &offer.subprotocols {
        if !is_token(subprotocol.as_bytes()) {
            return Err(HandshakeMisuse::SubprotocolSyntax(subprotocol.clone()));
        }
        if !seen.insert(subprotocol) {
            return Err(HandshakeMisuse::SubprotocolTwice(subprotocol.clone()));
        }
    }
    offer.extensions.iter().try_for_each(Extension::check)?;
    check_request_fields(&offer.headers)
}

fn write_request(url: &WebSocketUrl, offer: &Offer, key: &str, output: &mut BytesMut) {
    put_request_line(output, "GET", url.resource_name());
    // RFC 9110 section 7.2: "A user agent that sends Host SHOULD send it as the first field in the header section of a request."
    match offer.headers.get(header::HOST) {
        Some(host) => put_field(output, HOST, host),
        None => put_field(output, HOST, url.authority()),
    }
    put_field(output, UPGRADE, "websocket");
    put_field(output, CONNECTION, "Upgrade");
    put_field(output, KEY, key);
    put_field(output, VERSION, "13");
    if !offer.subprotocols.is_empty() {
        put_field(output, PROTOCOL, offer.subprotocols.join(", "));
    }
    if !offer.extensions.is_empty() {
        let extensions: Vec<_> = offer.extensions.iter().map(ToString::to_string).collect();
        put_field(output, EXTENSIONS, extensions.join(", "));
    }
    put_fields(output, offer.headers.iter().filter(|(name, _)| **name != header::HOST));
    output.put_slice(b"\r\n");
}
