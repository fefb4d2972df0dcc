//! Messages of HTTP/1.1 (RFC 9112): reading their heads however the bytes arrive, the body of a refusal, and writing.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::found;
use crate::config::Config;
use crate::error::HandshakeError;

/// The first line of a request.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) version: Version,
}

/// The first line of a response.
#[derive(Debug)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: StatusCode,
}

/// The head of a message: its first line and its header fields.
#[derive(Debug)]
pub(super) struct MessageHead<L> {
    pub(super) line: L,
    pub(super) headers: HeaderMap,
    /// As it came.
    pub(super) bytes: Bytes,
}

/// Reads the heads of messages, looking at each byte once as it arrives.
///
/// What is wrong is told at the first byte that makes it so, or, within the header fields, at the head's end; so the
/// outcome never depends on the pieces in which the bytes arrive.
#[derive(Debug)]
pub(super) struct HeadReader<L> {
    parse_line: fn(&[u8]) -> Result<L, HandshakeError>,
    /// Whether empty lines may come before the first line.
    skips_empty_lines: bool,
    limit: usize,
    /// How many bytes of the limit are left for the head being read, and those behind it.
    left: usize,
    max_headers: usize,
    line: Option<L>,
    /// How many lines of header fields there are.
    fields: usize,
    /// Where they begin.
    fields_start: usize,
    /// Where the line being read begins.
    line_start: usize,
    /// How many bytes have been looked at.
    scanned: usize,
}

impl HeadReader<RequestLine> {
    pub(super) fn requests(config: &Config) -> Self {
        // RFC 9112 section 2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty
        // line (CRLF) received prior to the request-line"
        Self::new(config, parse_request_line, true)
    }
}

impl HeadReader<StatusLine> {
    pub(super) fn responses(config: &Config) -> Self {
        Self::new(config, parse_status_line, false)
    }
}

impl<L> HeadReader<L> {
    fn new(
        config: &Config,
        parse_line: fn(&[u8]) -> Result<L, HandshakeError>,
        skips_empty_lines: bool,
    ) -> Self {
        Self {
            parse_line,
            skips_empty_lines,
            limit: config.max_header_block,
            left: config.max_header_block,
            max_headers: config.max_headers,
            line: None,
            fields: 0,
            fields_start: 0,
            line_start: 0,
            scanned: 0,
        }
    }

    /// The next head once it is whole; only then it is taken off `input`. All heads together are held to the limit.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Option<MessageHead<L>>, HandshakeError> {
        while self.scanned < input.len().min(self.left) {
            let at = self.scanned;
            self.scanned += 1;
            check_byte(input, at)?;
            // RFC 9112 section 2.2: "Although the line terminator for the start-line and fields is the sequence CRLF, a recipient
            // MAY recognize a single LF as a line terminator and ignore any preceding CR." So do httparse and hyper, to which a
            // plain request may be handed on: both must agree on where a head ends.
            if input[at] == b'\n'
                && self.end_line(&input[self.line_start..at])?
                && let Some(line) = self.line.take()
            {
                return self.finish(line, input).map(Some);
            }
        }
        if self.scanned >= self.left {
            return Err(HandshakeError::HeaderBlockTooLong { limit: self.limit });
        }
        Ok(None)
    }

    /// Takes note of a line; whether it was the empty one that ends the head.
    fn end_line(&mut self, line: &[u8]) -> Result<bool, HandshakeError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.line_start = self.scanned;
        if self.line.is_some() {
            if line.is_empty() {
                return Ok(true);
            }
            self.fields += 1;
            if self.fields > self.max_headers {
                return Err(HandshakeError::TooManyHeaders { limit: self.max_headers });
            }
        } else if !(line.is_empty() && self.skips_empty_lines) {
            self.line = Some((self.parse_line)(line)?);
            self.fields_start = self.scanned;
        }
        Ok(false)
    }

    fn finish(&mut self, line: L, input: &mut BytesMut) -> Result<MessageHead<L>, HandshakeError> {
        let headers = parse_fields(&input[self.fields_start..self.scanned], self.fields, self.max_headers)?;
        let bytes = input.split_to(self.scanned).freeze();
        self.left -= bytes.len();
        (self.fields, self.fields_start, self.line_start, self.scanned) = (0, 0, 0, 0);
        Ok(MessageHead { line, headers, bytes })
    }
}

/// Whether the byte may be in a head; refused at once, so that another protocol on the port is told without waiting.
fn check_byte(head: &[u8], at: usize) -> Result<(), HandshakeError> {
    let byte = head[at];
    // RFC 9112 section 2.2: "A recipient of such a bare CR MUST consider that element to be invalid or replace each bare CR with
    // SP before processing the element or forwarding the message."
    if byte != b'\n' && at > 0 && head[at - 1] == b'\r' {
        return Err(HandshakeError::HttpSyntax("a CR that no LF follows"));
    }
    // RFC 9110 section 5.5: "a recipient of CR, LF, or NUL within a field value MUST either reject the message or replace each
    // of those characters with SP"; bytes from 0x80 up are opaque but allowed.
    if matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..) {
        return Ok(());
    }
    Err(HandshakeError::HttpSyntax("a control character"))
}

fn parse_request_line(line: &[u8]) -> Result<RequestLine, HandshakeError> {
    const EXPECTED: HandshakeError = HandshakeError::HttpSyntax("the first line is no request line");
    // RFC 9112 section 3: "request-line = method SP request-target SP HTTP-version"
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(EXPECTED);
    };
    let method = Method::from_bytes(method).map_err(|_| EXPECTED)?;
    check_target(target)?;
    let target = target.iter().copied().map(char::from).collect();
    Ok(RequestLine { method, target, version: parse_version(version)? })
}

/// Whether it may be a request target: printable ASCII.
pub(super) fn check_target(target: &[u8]) -> Result<(), HandshakeError> {
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(HandshakeError::Target(found(target)));
    }
    Ok(())
}

fn parse_status_line(line: &[u8]) -> Result<StatusLine, HandshakeError> {
    const EXPECTED: HandshakeError = HandshakeError::HttpSyntax("the first line is no status line");
    // RFC 9112 section 4: "status-line = HTTP-version SP status-code SP [ reason-phrase ]"; the last SP is often forgotten.
    let (version, rest) = line.split_at_checked(8).ok_or(EXPECTED)?;
    let version = parse_version(version)?;
    let (&[b' ', a, b, c] | &[b' ', a, b, c, b' ', ..]) = rest else { return Err(EXPECTED) };
    let status = StatusCode::from_bytes(&[a, b, c]).map_err(|_| EXPECTED)?;
    Ok(StatusLine { version, status })
}

fn parse_version(version: &[u8]) -> Result<Version, HandshakeError> {
    // RFC 9112 section 2.3: "HTTP-version = HTTP-name "/" DIGIT "." DIGIT"
    match version {
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        // RFC 9110 section 2.5: "A recipient that receives a message with a major version number that it implements and a minor
        // version number higher than what it implements SHOULD process the message as if it was in the highest minor version
        // within that major version to which the recipient is conformant."
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Version::HTTP_11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HandshakeError::HttpVersion(found(version)))
        }
        _ => Err(HandshakeError::HttpSyntax("the first line names no HTTP version")),
    }
}

/// Parses `count` lines of header fields and the empty line behind them.
fn parse_fields(block: &[u8], count: usize, limit: usize) -> Result<HeaderMap, HandshakeError> {
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    // RFC 9112 section 5.2: "A server that receives an obs-fold in a request message that is not within a "message/http"
    // container MUST either reject the message by sending a 400 (Bad Request), preferably with a representation explaining that
    // obsolete line folding is unacceptable, or replace each received obs-fold with one or more SP octets"; httparse rejects it,
    // and so does our client.
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(block, &mut fields) else {
        return Err(HandshakeError::HttpSyntax("a line that is no header field"));
    };
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| HandshakeError::HttpSyntax("the name of a header field"))?;
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| HandshakeError::HttpSyntax("the value of a header field"))?;
        headers.try_append(name, value).map_err(|_| HandshakeError::TooManyHeaders { limit })?;
    }
    Ok(headers)
}

/// Reads the body of a response, and keeps up to a limit of it.
#[derive(Debug)]
pub(super) struct BodyReader {
    framing: Framing,
    limit: usize,
    kept: BytesMut,
}

/// What is due next in a body.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The CRLF behind a chunk.
    ChunkEnd,
    /// So many bytes.
    Length(u64),
    /// Whatever comes until the bytes end.
    UntilEnd,
    /// Nobody knows.
    Unknown,
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyState {
    /// More bytes are needed.
    Partial,
    /// It has ended.
    Whole,
    /// There is more of it than was kept, or its framing is broken.
    Cut,
}

impl BodyReader {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, limit: usize) -> Self {
        Self { framing: Framing::of(status, headers), limit, kept: BytesMut::new() }
    }

    /// Takes from `input` what belongs to the body. No memory is reserved because a length says so.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> BodyState {
        /// The longest line with the size of a chunk.
        const MAX_SIZE_LINE: usize = 256;
        loop {
            let wanted = match self.framing {
                Framing::Length(0) => return BodyState::Whole,
                Framing::Unknown => return BodyState::Cut,
                Framing::ChunkSize => {
                    let line = &input[..input.len().min(MAX_SIZE_LINE)];
                    match parse_chunk_size(line) {
                        // The trailer section behind the last chunk is left alone: nothing more is read from this server.
                        Ok(httparse::Status::Complete((_, 0))) => return BodyState::Whole,
                        Ok(httparse::Status::Complete((length, size))) => {
                            input.advance(length);
                            self.framing = Framing::Chunk(size);
                        }
                        Ok(httparse::Status::Partial) if line.len() < MAX_SIZE_LINE => {
                            return BodyState::Partial;
                        }
                        _ => return BodyState::Cut,
                    }
                    continue;
                }
                Framing::Chunk(0) => {
                    self.framing = Framing::ChunkEnd;
                    continue;
                }
                Framing::ChunkEnd => {
                    match &input[..] {
                        [b'\r', b'\n', ..] => input.advance(2),
                        [] | [b'\r'] => return BodyState::Partial,
                        _ => return BodyState::Cut,
                    }
                    self.framing = Framing::ChunkSize;
                    continue;
                }
                Framing::Length(left) | Framing::Chunk(left) => left,
                Framing::UntilEnd => u64::MAX,
            };
            let room = self.limit - self.kept.len();
            if input.is_empty() && (room > 0 || matches!(self.framing, Framing::UntilEnd)) {
                return BodyState::Partial;
            }
            if room == 0 {
                return BodyState::Cut;
            }
            let taken = usize::try_from(wanted).unwrap_or(usize::MAX).min(input.len()).min(room);
            self.kept.extend_from_slice(&input[..taken]);
            input.advance(taken);
            if let Framing::Length(left) | Framing::Chunk(left) = &mut self.framing {
                *left -= taken as u64;
            }
        }
    }

    /// The same when no more bytes will come.
    pub(super) fn read_end(&mut self, input: &mut BytesMut) -> BodyState {
        match (self.read(input), self.framing) {
            (BodyState::Partial, Framing::UntilEnd) => BodyState::Whole,
            (BodyState::Partial, _) => BodyState::Cut,
            (state, _) => state,
        }
    }

    /// What was kept.
    pub(super) fn take(&mut self) -> Bytes {
        self.kept.split().freeze()
    }
}

impl Framing {
    /// How the body of a response is delimited (RFC 9112 section 6.3).
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        // RFC 9112 section 6.3: "any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified) status code is
        // always terminated by the first empty line after the header fields"
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational() {
            return Self::Length(0);
        }
        // RFC 9112 section 6.3: "If a message is received with both a Transfer-Encoding and a Content-Length header field, the
        // Transfer-Encoding overrides the Content-Length."
        if let Some(last) = headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
            let last = last.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
            let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            return if is_chunked { Self::ChunkSize } else { Self::UntilEnd };
        }
        let mut lengths = headers
            .get_all(header::CONTENT_LENGTH)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(|text| parse_length(text.trim_ascii()));
        match lengths.next() {
            None => Self::UntilEnd,
            // RFC 9112 section 6.3: "unless the field value can be successfully parsed as a comma-separated list (Section 5.6.1 of
            // [HTTP]), all values in the list are valid, and all values in the list are the same"
            Some(Some(length)) if lengths.all(|other| other == Some(length)) => Self::Length(length),
            Some(_) => Self::Unknown,
        }
    }
}

fn parse_length(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The length of the line at the start of `input`, and the size of the chunk that it announces.
fn parse_chunk_size(input: &[u8]) -> Result<httparse::Status<(usize, u64)>, httparse::InvalidChunkSize> {
    // RFC 9112 section 7.1: "chunk-size = 1*HEXDIG"; httparse takes a line without any digit for a size of 0.
    if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(httparse::InvalidChunkSize);
    }
    httparse::parse_chunk_size(input)
}

/// Writes the first line of a request.
pub(super) fn put_request_line(output: &mut BytesMut, method: &str, target: &str) {
    output.put_slice(method.as_bytes());
    output.put_slice(b" ");
    output.put_slice(target.as_bytes());
    output.put_slice(b" HTTP/1.1\r\n");
}

/// Writes the first line of a response.
pub(super) fn put_status_line(output: &mut BytesMut, status: StatusCode) {
    output.put_slice(b"HTTP/1.1 ");
    output.put_slice(status.as_str().as_bytes());
    output.put_slice(b" ");
    output.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.put_slice(b"\r\n");
}

/// Writes a header field; neither the name nor the value may hold a line end.
pub(super) fn put_field(output: &mut BytesMut, name: &str, value: impl AsRef<[u8]>) {
    debug_assert!(!value.as_ref().iter().any(|byte| matches!(byte, b'\r' | b'\n')), "a line end in {name}");
    output.put_slice(name.as_bytes());
    output.put_slice(b": ");
    output.put_slice(value.as_ref());
    output.put_slice(b"\r\n");
}

/// Writes header fields, their names in the usual capitals, which some peers need.
pub(super) fn put_fields<'a>(
    output: &mut BytesMut,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    for (name, value) in fields {
        put_field(output, &capitals(name.as_str()), value);
    }
}

fn capitals(name: &str) -> String {
    let mut starts_word = true;
    let capital = |c: char| {
        let written = if starts_word { c.to_ascii_uppercase() } else { c };
        starts_word = c == '-';
        written
    };
    name.chars().map(capital).collect::<String>().replace("Websocket", "WebSocket")
}

/// Writes a whole response behind which the connection is to be closed.
pub(crate) fn write_response(status: StatusCode, headers: &HeaderMap, body: &[u8], output: &mut BytesMut) {
    put_status_line(output, status);
    // RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header field"
    let upgrade = headers.contains_key(header::UPGRADE);
    put_field(output, super::CONNECTION, if upgrade { "close, Upgrade" } else { "close" });
    put_fields(output, headers);
    // RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
    // (Informational) or 204 (No Content)."
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        put_field(output, "Content-Length", body.len().to_string());
    }
    output.put_slice(b"\r\n");
    if has_body {
        output.put_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        for (line, method, target, version) in [
            ("GET / HTTP/1.1", "GET", "/", Version::HTTP_11),
            ("GET /a?b HTTP/1.0", "GET", "/a?b", Version::HTTP_10),
            ("GET /a HTTP/1.2", "GET", "/a", Version::HTTP_11),
            ("OPTIONS * HTTP/1.1", "OPTIONS", "*", Version::HTTP_11),
            ("CONNECT h:1 HTTP/1.1", "CONNECT", "h:1", Version::HTTP_11),
            ("g~!x /{}|^\"<>\\ HTTP/1.1", "g~!x", "/{}|^\"<>\\", Version::HTTP_11),
        ] {
            let found = parse_request_line(line.as_bytes()).unwrap();
            assert_eq!((found.method.as_str(), &found.target[..], found.version), (method, target, version));
        }
        let no_line = || HandshakeError::HttpSyntax("the first line is no request line");
        let no_version = || HandshakeError::HttpSyntax("the first line names no HTTP version");
        for (name, line, error) in [
            ("empty", "", no_line()),
            ("HTTP/0.9", "GET /", no_line()),
            ("two spaces", "GET  / HTTP/1.1", no_line()),
            ("space before", " GET / HTTP/1.1", no_line()),
            ("space behind", "GET / HTTP/1.1 ", no_line()),
            ("space in target", "GET /a b HTTP/1.1", no_line()),
            ("tabs", "GET\t/\tHTTP/1.1", no_line()),
            ("no method", " / HTTP/1.1", no_line()),
            ("bad method", "G(T / HTTP/1.1", no_line()),
            ("no target", "GET  HTTP/1.1", HandshakeError::Target(String::new())),
            ("target beyond ASCII", "GET /é HTTP/1.1", HandshakeError::Target("/é".into())),
            ("HTTP/2", "PRI * HTTP/2.0", HandshakeError::HttpVersion("HTTP/2.0".into())),
            ("HTTP/0.9 by name", "GET / HTTP/0.9", HandshakeError::HttpVersion("HTTP/0.9".into())),
            ("no minor version", "GET / HTTP/1", no_version()),
            ("long version", "GET / HTTP/1.10", no_version()),
            ("lower case", "GET / http/1.1", no_version()),
            ("another protocol", "GET / RTSP/1.0", no_version()),
        ] {
            assert_eq!(parse_request_line(line.as_bytes()).unwrap_err(), error, "{name}");
        }
    }

    #[test]
    fn status_lines() {
        for (line, status, version) in [
            ("HTTP/1.1 101 Switching Protocols", 101, Version::HTTP_11),
            ("HTTP/1.1 101 WebSocket Protocol Handshake", 101, Version::HTTP_11),
            ("HTTP/1.1 101 ", 101, Version::HTTP_11),
            ("HTTP/1.1 101", 101, Version::HTTP_11),
            ("HTTP/1.0 999 \t é", 999, Version::HTTP_10),
            ("HTTP/1.9 200 OK", 200, Version::HTTP_11),
        ] {
            let found = parse_status_line(line.as_bytes()).unwrap();
            assert_eq!((found.status.as_u16(), found.version), (status, version), "{line}");
        }
        for line in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 10",
            "HTTP/1.1 1011",
            "HTTP/1.1 099",
            "HTTP/1.1 -12",
            "HTTP/1.1  101",
            "HTTP/1.1\t101",
            "HTTP/1.1 101\tx",
            " HTTP/1.1 101",
            "ICY 200 OK",
            "SSH-2.0-OpenSSH_9.6",
        ] {
            assert!(
                matches!(parse_status_line(line.as_bytes()), Err(HandshakeError::HttpSyntax(_))),
                "{line}"
            );
        }
    }

    #[test]
    fn names_are_written_in_capitals() {
        for (name, written) in [
            ("x", "X"),
            ("user-agent", "User-Agent"),
            ("x--y-", "X--Y-"),
            ("1a-2b", "1a-2b"),
            ("sec-websocket-version", "Sec-WebSocket-Version"),
        ] {
            assert_eq!(capitals(name), written);
        }
    }

    #[test]
    fn what_was_found_is_shown_cut_short() {
        assert_eq!(found(b"abc"), "abc");
        assert_eq!(found(&[b'a'; 101]), format!("{}…", "a".repeat(100)));
        assert_eq!(found(b"\xff"), "\u{fffd}");
    }
}
