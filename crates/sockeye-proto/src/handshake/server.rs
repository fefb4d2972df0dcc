//! The server's side of the opening handshake (RFC 6455 section 4.2).

use std::time::Instant;

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, Version, header};

use super::http1::{
    HeadReader, RequestLine, check_target, put_field, put_fields, put_status_line, write_response,
};
use super::negotiate::{Extension, has_token, parse_extensions, parse_subprotocols};
use super::target::parse_target;
use super::{
    ACCEPT, CONNECTION, EXTENSIONS, KEY, ORIGIN, PROTOCOL, UPGRADE, VERSION, accept_key, at_most_one,
    check_connection, check_owned, exactly_one, found, found_in,
};
use crate::config::Config;
use crate::error::{HandshakeError, HandshakeMisuse};

/// A server's wait for the head of a request.
#[derive(Debug)]
pub struct ServerHandshake {
    reader: HeadReader<RequestLine>,
    deadline: Option<Instant>,
}

/// The head of a request: an opening handshake, or any other that is HTTP/1.x.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The request target as it came; printable ASCII, and nothing more is known of it.
    pub target: String,
    /// The version: HTTP/1.0 or HTTP/1.1, or whatever an HTTP server has read.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The head as it came, so that a plain request can be handed on to an HTTP server; empty if it came from one.
    pub bytes: Bytes,
}

/// A client's opening handshake, read and in order (RFC 6455 section 4.2.1): to be [accepted](Request::accept) or, by
/// [`reject`], refused.
#[derive(Clone, Debug)]
pub struct Request {
    headers: HeaderMap,
    host: String,
    resource_name: String,
    key: HeaderValue,
    subprotocols: Vec<String>,
    extensions: Vec<Extension>,
}

/// What a server answers to a [`Request`] that it accepts (RFC 6455 section 4.2.2).
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The subprotocol to be used, one of those offered, or none.
    pub subprotocol: Option<String>,
    /// The extensions to be used; each name was offered.
    pub extensions: Vec<Extension>,
    /// Further header fields, such as `Set-Cookie`; those that [`Offer`](super::Offer) refuses are refused here too.
    pub headers: HeaderMap,
}

impl ServerHandshake {
    /// Waits for a request; the time for it runs from `now`.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            reader: HeadReader::requests(config),
            deadline: config.open_timeout.and_then(|timeout| now.checked_add(timeout)),
        }
    }

    /// Reads on: the request's head once it is whole, taken off `input`, in which what follows stays; `None` if more bytes
    /// are needed. Not to be called again after a head or an error.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::TimedOut`] past the deadline, others if it is not HTTP/1.x or breaks a limit; each can be
    /// [answered](HandshakeError::respond).
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<Option<Head>, HandshakeError> {
        let Some(head) = self.reader.read(input)? else {
            let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
            return if is_late { Err(HandshakeError::TimedOut) } else { Ok(None) };
        };
        let RequestLine { method, target, version } = head.line;
        Ok(Some(Head { method, target, version, headers: head.headers, bytes: head.bytes }))
    }

    /// The bytes have ended, and [`receive`](Self::receive) had returned `None`.
    pub fn receive_end(&self) -> HandshakeError {
        HandshakeError::Truncated
    }

    /// When the request must be whole; at that time [`receive`](Self::receive) is to be called once more.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Head {
    /// The head of a request that an HTTP server has read. A fragment of the target is not seen: [`Uri`] leaves it out.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Target`] if the target is not printable ASCII.
    pub fn new(
        method: Method,
        uri: &Uri,
        version: Version,
        headers: HeaderMap,
    ) -> Result<Self, HandshakeError> {
        let target = uri.to_string();
        check_target(target.as_bytes())?;
        Ok(Self { method, target, version, headers, bytes: Bytes::new() })
    }

    /// Whether the request asks for the WebSocket protocol, well or badly; if not, it is one for an HTTP server.
    pub fn asks_for_websocket(&self) -> bool {
        asks_for_websocket(self.version, &self.headers)
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// Whether a request asks for the WebSocket protocol, well or badly; if not, it is one for an HTTP server.
pub fn asks_for_websocket(version: Version, headers: &HeaderMap) -> bool {
    // RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
    version == Version::HTTP_11 && has_token(headers, UPGRADE, "websocket")
}

impl Request {
    /// Checks the head by every rule for a client's opening handshake (RFC 6455 section 4.2.1).
    ///
    /// # Errors
    ///
    /// The first rule that is broken; [`respond`](HandshakeError::respond) tells the client.
    pub fn new(head: Head) -> Result<Self, HandshakeError> {
        let Head { method, target, version, headers, .. } = head;
        // RFC 6455 section 4.2.1: "An HTTP/1.1 or higher GET request"; in HTTP/2 and HTTP/3 it is another request, with another
        // method (RFC 8441, RFC 9220).
        if version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion(format!("{version:?}")));
        }
        if method != Method::GET {
            return Err(HandshakeError::Method(method));
        }
        check_no_body(&headers)?;
        let (host, resource_name) = parse_target(&target, &headers)?;
        // RFC 6455 section 4.2.1: "An |Upgrade| header field containing the value "websocket", treated as an ASCII
        // case-insensitive value."
        if !headers.contains_key(UPGRADE) {
            return Err(HandshakeError::MissingHeader(UPGRADE));
        }
        if !has_token(&headers, UPGRADE, "websocket") {
            return Err(HandshakeError::Upgrade { found: found_in(&headers, UPGRADE) });
        }
        check_connection(&headers)?;
        // RFC 6455 section 4.2.1: "A |Sec-WebSocket-Version| header field, with a value of 13." Looked at before the key, of
        // which other versions may have another idea.
        let version = exactly_one(&headers, VERSION)?;
        if version != "13" {
            return Err(HandshakeError::WebSocketVersion(found(version.as_bytes())));
        }
        let key = parse_key(&headers)?;
        check_origin(&headers)?;
        let subprotocols = parse_subprotocols(&headers)?;
        let extensions = parse_extensions(&headers)?;
        Ok(Self { headers, host, resource_name, key, subprotocols, extensions })
    }

    /// The path asked for, at least `/`, percent-encoded as it came.
    pub fn path(&self) -> &str {
        self.resource_name.split_once('?').map_or(&self.resource_name[..], |(path, _)| path)
    }

    /// The query, percent-encoded as it came, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.resource_name.split_once('?').map(|(_, query)| query)
    }

    /// The authority asked for, as it came: a host, an IPv6 address in brackets, and the port if one was given. It is that
    /// of the request target if the target is a whole URL, and else that of `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The value of `Origin`: where the page comes from that opens the connection. None if there is no such header field,
    /// as with clients that are not browsers.
    pub fn origin(&self) -> Option<&str> {
        self.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok())
    }

    /// All the header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The subprotocols offered, the most wanted first.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The extensions offered, the most wanted first.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The cookies' names and values, as they came (RFC 6265 section 4.2); what is no pair, or not UTF-8, is left out.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        // RFC 6265 section 4.2.1: "cookie-string = cookie-pair *( ";" SP cookie-pair )"
        let fields = self.headers.get_all(header::COOKIE).iter();
        fields
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| str::from_utf8(pair).ok()?.split_once('='))
            .map(|(name, value)| (name.trim_ascii(), value.trim_ascii()))
    }

    /// Writes the response that completes the opening handshake (RFC 6455 section 4.2.2); frames may follow it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Misuse`], with nothing written, if the answer breaks the rules that [`Answer`] names.
    pub fn accept(&self, answer: &Answer, output: &mut BytesMut) -> Result<(), HandshakeError> {
        let fields = self.accept_fields(answer)?;
        put_status_line(output, StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in fields {
            put_field(output, name, value);
        }
        put_fields(output, &answer.headers);
        output.put_slice(b"\r\n");
        Ok(())
    }

    /// The response that [`accept`](Self::accept) writes, for an HTTP server to send.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Misuse`] as with `accept`.
    #[expect(clippy::missing_panics_doc, reason = "tokens and base64 are values of header fields")]
    pub fn accept_response(&self, answer: &Answer) -> Result<Response<()>, HandshakeError> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.extend(answer.headers.clone());
        for (name, value) in self.accept_fields(answer)? {
            let value = HeaderValue::try_from(value).expect("a token or base64");
            headers.insert(name, value);
        }
        Ok(response)
    }

    /// The header fields that complete the opening handshake, less the answer's own.
    fn accept_fields(
        &self,
        answer: &Answer,
    ) -> Result<impl Iterator<Item = (&'static str, String)> + use<>, HandshakeError> {
        // RFC 6455 section 4.2.2: "The value chosen MUST be derived from the client's handshake, specifically by selecting one
        // of the values from the |Sec-WebSocket-Protocol| field"
        if let Some(subprotocol) = answer.subprotocol.as_ref().filter(|one| !self.subprotocols.contains(one))
        {
            return Err(HandshakeMisuse::SubprotocolNotOffered(subprotocol.clone()).into());
        }
        for extension in &answer.extensions {
            extension.check()?;
            // RFC 6455 section 4.2.2: "Extensions not listed by the client MUST NOT be listed."
            if !self.extensions.iter().any(|offered| offered.name == extension.name) {
                return Err(HandshakeMisuse::ExtensionNotOffered(extension.name.clone()).into());
            }
        }
        check_owned(&answer.headers)?;

        let extensions: Vec<_> = answer.extensions.iter().map(ToString::to_string).collect();
        let always = [
            (UPGRADE, "websocket".to_owned()),
            (CONNECTION, "Upgrade".to_owned()),
            (ACCEPT, accept_key(&self.key)),
        ];
        let subprotocol = answer.subprotocol.clone().map(|name| (PROTOCOL, name));
        let extensions = (!extensions.is_empty()).then(|| (EXTENSIONS, extensions.join(", ")));
        Ok(always.into_iter().chain(subprotocol).chain(extensions))
    }
}

/// Writes an HTTP/1.1 response that refuses the handshake, with `Content-Length` and `Connection: close`; the connection is
/// to be closed behind it. With 204 and 304 no body is sent.
///
/// # Errors
///
/// [`HandshakeError::Misuse`], with nothing written, if the status is a 1xx, or the header fields hold `Connection`,
/// `Content-Length` or `Transfer-Encoding`, which the library writes.
pub fn reject(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    output: &mut BytesMut,
) -> Result<(), HandshakeError> {
    // RFC 9110 section 15.2: "The 1xx (Informational) class of status code indicates an interim response"
    if status.is_informational() {
        return Err(HandshakeMisuse::Status(status).into());
    }
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        if headers.contains_key(&name) {
            return Err(HandshakeMisuse::OwnedHeader(name).into());
        }
    }
    write_response(status, headers, body, output);
    Ok(())
}

fn check_no_body(headers: &HeaderMap) -> Result<(), HandshakeError> {
    // RFC 9110 section 9.3.1: "content received in a GET request has no generally defined semantics, cannot alter the meaning or
    // target of the request, and might lead some implementations to reject the request and close the connection because of its
    // potential as a request smuggling attack"
    let is_zero =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(|byte| *byte == b'0');
    let has_length = !headers.get_all(header::CONTENT_LENGTH).iter().all(is_zero);
    if has_length || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HandshakeError::Body);
    }
    Ok(())
}

fn parse_key(headers: &HeaderMap) -> Result<HeaderValue, HandshakeError> {
    // RFC 6455's own example of a key, "AQIDBAUGBwgJCgsMDQ4PEC==" in section 4.1, has bits set behind the 16th byte.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    // RFC 6455 section 11.3.1: "The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP request."
    let key = exactly_one(headers, KEY)?;
    // RFC 6455 section 4.2.1: "a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length"
    if LENIENT.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Ok(key.clone());
    }
    Err(HandshakeError::HeaderSyntax {
        name: KEY,
        expected: "16 bytes in base64",
        found: found(key.as_bytes()),
    })
}

fn check_origin(headers: &HeaderMap) -> Result<(), HandshakeError> {
    // RFC 6454 section 7.3: "The user agent MUST NOT include more than one Origin header field in any HTTP request."
    match at_most_one(headers, ORIGIN)? {
        Some(origin) if origin.to_str().is_err() => Err(HandshakeError::HeaderSyntax {
            name: ORIGIN,
            expected: "ASCII",
            found: found(origin.as_bytes()),
        }),
        _ => Ok(()),
    }
}
