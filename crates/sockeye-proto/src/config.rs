//! Every limit, deadline and choice of a connection, in one place.

use std::time::Duration;

use crate::deflate::Deflate;
use crate::mask;

/// The limits, deadlines and choices of one connection; the defaults are safe in production.
///
/// ```
/// use std::time::Duration;
/// let mut config = sockeye_proto::Config::default();
/// config.max_message_size = 64 * 1024;
/// config.ping_interval = Some(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest message accepted, in payload bytes, inflated if it came compressed; a longer one fails the connection with 1009. 16 MiB.
    pub max_message_size: usize,
    /// The longest data frame accepted, in payload bytes as they came; a longer one fails the connection with 1009. 16 MiB.
    pub max_frame_size: usize,
    /// The most frames that one message may come in; one more fails the connection with 1009. 262,144.
    pub max_fragments: u32,
    /// Outgoing messages longer than this, compressed or not, are fragmented into frames of this many payload bytes; `None` (the
    /// default) sends each message as one frame (RFC 6455 section 5.4).
    pub fragment_size: Option<usize>,
    /// How messages are compressed, where the peer agrees (RFC 7692); `None` neither offers nor accepts it. On.
    pub deflate: Option<Deflate>,
    /// How many encoded bytes may wait to be written before `send` waits for room. 64 KiB.
    pub max_buffered: usize,
    /// The longest header block of an opening handshake accepted, request or response, or of a proxy's answer, in bytes. 16 KiB.
    pub max_header_block: usize,
    /// The most header fields of an opening handshake accepted. 128.
    pub max_headers: usize,
    /// How many bytes of the body are kept for the caller when the server refuses the handshake, or a proxy the tunnel. 64 KiB.
    pub max_refusal_body: usize,
    /// How long the whole opening may take: all its phases together, redirects included. 10 s.
    pub open_timeout: Option<Duration>,
    /// How long the first phase of an opening may take, name resolution. `None`: as long as the whole.
    pub resolve_timeout: Option<Duration>,
    /// How long the second phase may take, connecting to one of the addresses. `None`: as long as the whole.
    pub connect_timeout: Option<Duration>,
    /// How long the third phase may take, asking a proxy for a tunnel. `None`: as long as the whole.
    pub proxy_timeout: Option<Duration>,
    /// How long the fourth phase may take, TLS. `None`: as long as the whole.
    pub tls_timeout: Option<Duration>,
    /// How long the fifth phase may take, the opening handshake of WebSocket. `None`: as long as the whole.
    pub upgrade_timeout: Option<Duration>,
    /// Whether the peer's Close frame is taken and answered as browsers do: any code is accepted but 1005, 1006 and 1015, which
    /// mean something else (RFC 6455 section 7.4.1), and the answer repeats the reason too. Otherwise only codes that may be sent
    /// are accepted, any other fails the connection with 1002, and the answer repeats the code alone. Off.
    pub close_as_browsers: bool,
    /// How long the peer may take to finish the closing handshake. 5 s.
    pub close_timeout: Option<Duration>,
    /// After how long a silence a ping is sent; `None` turns keepalive off. 20 s.
    pub ping_interval: Option<Duration>,
    /// How long after such a ping the silence may go on before the peer is taken for dead; `None` waits for ever. 20 s.
    pub ping_timeout: Option<Duration>,
    /// Where the masking key of each frame that a client sends comes from (RFC 6455 section 5.3); replace it only in tests.
    pub masking_key: fn() -> [u8; 4],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_size: 16 << 20,
            max_frame_size: 16 << 20,
            max_fragments: 1 << 18,
            fragment_size: None,
            deflate: Some(Deflate::default()),
            max_buffered: 64 << 10,
            max_header_block: 16 << 10,
            max_headers: 128,
            max_refusal_body: 64 << 10,
            open_timeout: Some(Duration::from_secs(10)),
            resolve_timeout: None,
            connect_timeout: None,
            proxy_timeout: None,
            tls_timeout: None,
            upgrade_timeout: None,
            close_as_browsers: false,
            close_timeout: Some(Duration::from_secs(5)),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Some(Duration::from_secs(20)),
            masking_key: mask::random_masking_key,
        }
    }
}
