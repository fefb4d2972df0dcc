//! permessage-deflate (RFC 7692): messages compressed one by one.
//!
//! ```text
//!   handshake   Deflate ──▶ offer, answer, accept_response ──▶ PerMessageDeflate: what both ends agreed on
//!   sending     Message ──▶ Compressor ──▶ payload with RSV1, or none: the message goes plain
//!   receiving   payload with RSV1 ──▶ Inflater ──▶ Message
//! ```
//!
//! What a connection keeps between messages is little: without context takeover nothing; with it the last window that came
//! from the peer, and a deflater that is let go after a quiet time. Inflaters, and the deflaters of connections without
//! takeover, are the thread's.

mod compress;
mod inflate;
mod negotiate;
mod prepared;

use std::time::Duration;

pub(crate) use compress::Compressor;
pub(crate) use inflate::{History, Inflater, MAX_WINDOW};
pub use negotiate::PerMessageDeflate;
pub use prepared::Prepared;

/// The four octets that end a message's compressed form and are not sent.
///
/// RFC 7692 section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How much is compressed or inflated at a step.
pub(crate) const STEP: usize = 16 << 10;

thread_local! {
    /// Where a step's output is put before it is known how long it is.
    static SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Runs `f` with room for one step's output.
fn with_scratch<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(STEP, 0);
        f(scratch)
    })
}

/// How messages are compressed (RFC 7692), and what is asked of the peer for it.
///
/// A client offers it; a server accepts what is offered. The names are those of RFC 7692 section 7.1. The defaults suit
/// a server with very many connections, on which nothing is kept between messages, and a client with few: it lets the server choose.
///
/// Compressing costs CPU time: some 10 microseconds for a message of 1 KiB, a hundred times what it takes to send it plain. Data that
/// is compressed already, such as pictures, is better sent [plain](crate::Connection::send_uncompressed).
///
/// Secrets and text of an attacker's choice in one context, or one message, can be told from the length of what is sent
/// (RFC 7692 section 8: "CRIME"): send such messages plain, or turn compression off.
///
/// ```
/// use sockeye_proto::{Config, Deflate};
/// let mut deflate = Deflate::default();
/// deflate.server_no_context_takeover = Some(false);
/// deflate.client_no_context_takeover = Some(false);
/// deflate.client_max_window_bits = 11;
/// let mut config = Config::default();
/// config.deflate = Some(deflate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// How hard to try, from 1 (fast) to 9 (small); 0 does not compress. 3, which takes two thirds of the time of zlib's 6 and is
    /// hardly worse.
    pub level: u8,
    /// How much memory a deflater takes for it, from 1 to 9. 8.
    pub mem_level: u8,
    /// Messages shorter than this are sent plain. 128 bytes. With context takeover messages far shorter gain.
    pub threshold: usize,
    /// Whether the server forgets each message before the next one (RFC 7692 section 7.1.1.1). `None` is the default: a server does so, and a
    /// client leaves it to the server. `Some(true)`: a server does so, a client asks for it. `Some(false)`: a server does so only if asked.
    ///
    /// A server that does not forget holds a deflater of 140 to 400 KiB a connection, until it was [quiet](Self::quiet).
    pub server_no_context_takeover: Option<bool>,
    /// Whether the client forgets each message before the next one (RFC 7692 section 7.1.1.2). `None` is the default: a server asks for it,
    /// and a client does as the server asks. `Some(true)`: a server asks for it, a client does so anyway. `Some(false)`: a server does
    /// not ask for it.
    ///
    /// If the client does not forget, a server keeps the client's last window on each connection. If the client does not let its window
    /// be limited to [`client_max_window_bits`](Self::client_max_window_bits), the server asks it to forget even so.
    pub client_no_context_takeover: Option<bool>,
    /// The largest window that the server compresses with, as a power of two from 8 to 15 (RFC 7692 section 7.1.2.1). 15: 32 KiB.
    pub server_max_window_bits: u8,
    /// The largest window that the client compresses with, as a power of two from 8 to 15 (RFC 7692 section 7.1.2.2). 15: 32 KiB.
    pub client_max_window_bits: u8,
    /// How long a deflater with context takeover is kept for the next message, at least; it is let go before twice that time is
    /// over. Then the next message is compressed like the first. `None` keeps it for ever. 5 s.
    pub quiet: Option<Duration>,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 3,
            mem_level: 8,
            threshold: 128,
            server_no_context_takeover: None,
            client_no_context_takeover: None,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            quiet: Some(Duration::from_secs(5)),
        }
    }
}
