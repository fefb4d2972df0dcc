//! What a server's connections have done, counted for whoever watches over them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sockeye_proto::{CloseInfo, HandshakeError, Side};

use crate::error::Error;
use crate::opening::OpenCause;

/// The upper bounds of the buckets of [`RoundTrips`], in seconds; one more has none.
pub const ROUND_TRIP_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The labels of close codes: those of RFC 6455 and its registry, each for itself, and the ranges of all others (RFC 6455 section 7.4.2), so
/// that no peer can make as many as it likes.
const CODES: [&str; 19] = [
    "1000",
    "1001",
    "1002",
    "1003",
    "1004",
    "1005",
    "1006",
    "1007",
    "1008",
    "1009",
    "1010",
    "1011",
    "1012",
    "1013",
    "1014",
    "1015",
    "3000-3999",
    "4000-4999",
    "other",
];

/// Counts what a server's connections do: given to [`Server::metrics`](crate::Server::metrics), and looked at by [`snapshot`](Self::snapshot).
///
/// Cloning shares it, also between servers. A connection counts for itself, and adds what it has counted up once for all messages that
/// were read or written together.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    open: AtomicU64,
    total: AtomicU64,
    closed: [[AtomicU64; CODES.len()]; 2],
    refused: [AtomicU64; Refused::ALL.len()],
    http: AtomicU64,
    received: SharedTraffic,
    sent: SharedTraffic,
    round_trips: [AtomicU64; ROUND_TRIP_BUCKETS.len() + 1],
    round_trip_micros: AtomicU64,
    queued: AtomicU64,
    queued_bytes: AtomicU64,
    dropped: AtomicU64,
    coalesced: AtomicU64,
    slow_closed: AtomicU64,
    draining: AtomicU64,
    drained: AtomicU64,
    aborted: AtomicU64,
}

/// Why an opening handshake led to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// It broke RFC 6455 section 4.2.1 or a limit, and was answered with 4xx; or a proxy's header was expected before it and did not come.
    Invalid,
    /// The byte stream ended or failed first.
    Lost,
    /// A page of an origin that is not let in: answered with 403.
    Origin,
    /// The handler [rejected](crate::Incoming::reject) it.
    Rejected,
    /// It took longer than its deadline.
    Timeout,
    /// TLS failed.
    Tls,
    /// There were too many [connections](crate::Server::max_connections), too many [being opened](crate::Server::max_opening), or too many [of its
    /// address](crate::Server::max_connections_per_addr): answered with 503, where it can be.
    Limit,
}

impl Refused {
    const ALL: [Self; 7] =
        [Self::Invalid, Self::Lost, Self::Origin, Self::Rejected, Self::Timeout, Self::Tls, Self::Limit];

    /// Its name as a label, such as `origin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Lost => "lost",
            Self::Origin => "origin",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Limit => "limit",
        }
    }

    /// Why an opening failed; `None` if the server itself has ended it.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Error::Open(error) = error else { return None };
        Some(match &error.cause {
            OpenCause::Handshake(HandshakeError::Truncated) => Self::Lost,
            OpenCause::Handshake(_) => Self::Invalid,
            OpenCause::Timeout => Self::Timeout,
            OpenCause::Tls(_) => Self::Tls,
            // What is no header of the PROXY protocol.
            OpenCause::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Invalid,
            _ => Self::Lost,
        })
    }
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Text messages.
    pub text_messages: u64,
    /// Their bytes: payloads, before compression or after inflating.
    pub text_bytes: u64,
    /// Binary messages.
    pub binary_messages: u64,
    /// Their bytes, as of text.
    pub binary_bytes: u64,
    /// Pings: of keepalive and the application's those sent, of any kind those received.
    pub pings: u64,
    /// Bytes of the WebSocket's byte stream behind the opening handshake: frames as they are on the wire, compressed ones too, but without
    /// what TLS and TCP add. Beside the bytes of the messages this tells what compression saves.
    pub wire_bytes: u64,
}

#[derive(Debug, Default)]
struct SharedTraffic {
    text_messages: AtomicU64,
    text_bytes: AtomicU64,
    binary_messages: AtomicU64,
    binary_bytes: AtomicU64,
    pings: AtomicU64,
    wire_bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn message(&mut self, is_text: bool, is_whole: bool, bytes: usize) {
        let (messages, sum) = if is_text {
            (&mut self.text_messages, &mut self.text_bytes)
        } else {
            (&mut self.binary_messages, &mut self.binary_bytes)
        };
        *messages += u64::from(is_whole);
        *sum += bytes as u64;
    }
}

impl SharedTraffic {
    fn add(&self, traffic: &Traffic) {
        for (sum, count) in [
            (&self.text_messages, traffic.text_messages),
            (&self.text_bytes, traffic.text_bytes),
            (&self.binary_messages, traffic.binary_messages),
            (&self.binary_bytes, traffic.binary_bytes),
            (&self.pings, traffic.pings),
            (&self.wire_bytes, traffic.wire_bytes),
        ] {
            if count > 0 {
                sum.fetch_add(count, Relaxed);
            }
        }
    }

    fn get(&self) -> Traffic {
        Traffic {
            text_messages: self.text_messages.load(Relaxed),
            text_bytes: self.text_bytes.load(Relaxed),
            binary_messages: self.binary_messages.load(Relaxed),
            binary_bytes: self.binary_bytes.load(Relaxed),
            pings: self.pings.load(Relaxed),
            wire_bytes: self.wire_bytes.load(Relaxed),
        }
    }
}

/// How long answers to pings took, those of keepalive too; with what waited to be written before them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RoundTrips {
    /// How many took at most as long as [`ROUND_TRIP_BUCKETS`] says, and longer than the bucket before; the last is for all others.
    pub buckets: [u64; ROUND_TRIP_BUCKETS.len() + 1],
    /// The sum of all, in microseconds.
    pub sum: Duration,
}

/// Connections that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The close code as in [`CloseInfo::code`](crate::CloseInfo::code), such as `1000`: 1005 and 1006 stand for no code and no Close frame. Those for libraries and applications are
    /// `3000-3999` and `4000-4999`.
    pub code: &'static str,
    /// Who began to close.
    pub initiator: Side,
    /// How many.
    pub count: u64,
}

/// What [`Metrics`] have counted up to now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections open now: accepted, and neither ended nor dropped.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections that have ended, by close code and who began; without those that never happened.
    pub closed: Vec<Closed>,
    /// Opening handshakes that led to no connection.
    pub refused: Vec<(Refused, u64)>,
    /// Connections that were no opening handshake, such as a browser's request for a page.
    pub http: u64,
    /// What came.
    pub received: Traffic,
    /// What went.
    pub sent: Traffic,
    /// How long answers to pings took.
    pub round_trips: RoundTrips,
    /// Messages [queued](crate::Sender::queued) now for slow consumers.
    pub queued: u64,
    /// What they count, in bytes.
    pub queued_bytes: u64,
    /// Messages dropped for slow consumers.
    pub dropped: u64,
    /// Messages whose place was taken by a newer one with the same key.
    pub coalesced: u64,
    /// Connections closed for reading too slowly.
    pub slow_closed: u64,
    /// Servers that are going down: those connections that are still open are to be closed.
    pub draining: u64,
    /// Connections whose tasks have ended while their server went down.
    pub drained: u64,
    /// Connections whose tasks were ended by their server, since they did not end in time when it went down.
    pub aborted: u64,
}

impl Metrics {
    /// Counts nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted up to now. Each figure is right for itself; those of different kinds may be a few messages apart.
    pub fn snapshot(&self) -> Snapshot {
        let Self(all) = self;
        let sides = [Side::Local, Side::Peer];
        let closed = sides.iter().flat_map(|initiator| {
            let counts = CODES.iter().zip(&all.closed[side(*initiator)]);
            counts.map(|(code, count)| Closed { code, initiator: *initiator, count: count.load(Relaxed) })
        });
        Snapshot {
            connections_open: all.open.load(Relaxed),
            connections_total: all.total.load(Relaxed),
            closed: closed.filter(|closed| closed.count > 0).collect(),
            refused: Refused::ALL
                .iter()
                .map(|why| (*why, all.refused[*why as usize].load(Relaxed)))
                .collect(),
            http: all.http.load(Relaxed),
            received: all.received.get(),
            sent: all.sent.get(),
            round_trips: RoundTrips {
                buckets: all.round_trips.each_ref().map(|count| count.load(Relaxed)),
                sum: Duration::from_micros(all.round_trip_micros.load(Relaxed)),
            },
            queued: all.queued.load(Relaxed),
            queued_bytes: all.queued_bytes.load(Relaxed),
            dropped: all.dropped.load(Relaxed),
            coalesced: all.coalesced.load(Relaxed),
            slow_closed: all.slow_closed.load(Relaxed),
            draining: all.draining.load(Relaxed),
            drained: all.drained.load(Relaxed),
            aborted: all.aborted.load(Relaxed),
        }
    }

    pub(crate) fn opened(&self) {
        self.0.open.fetch_add(1, Relaxed);
        self.0.total.fetch_add(1, Relaxed);
    }

    /// A connection has ended; without information it was dropped.
    pub(crate) fn closed(&self, info: Option<&CloseInfo>) {
        let (code, initiator) = info.map_or((1006, Side::Local), |info| (info.code.into(), info.initiator));
        let place = match code {
            1000..=1015 => usize::from(code - 1000),
            3000..=3999 => 16,
            4000..=4999 => 17,
            _ => 18,
        };
        self.0.closed[side(initiator)][place].fetch_add(1, Relaxed);
        self.0.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn refused(&self, why: Refused) {
        self.0.refused[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn http(&self) {
        self.0.http.fetch_add(1, Relaxed);
    }

    pub(crate) fn traffic(&self, received: &Traffic, sent: &Traffic) {
        self.0.received.add(received);
        self.0.sent.add(sent);
    }

    pub(crate) fn round_trip(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = ROUND_TRIP_BUCKETS.partition_point(|most| *most < seconds);
        self.0.round_trips[bucket].fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.round_trip_micros.fetch_add(micros, Relaxed);
    }

    /// A queue for a slow consumer has changed: by so many messages and bytes, which may be less than none.
    pub(crate) fn queue(&self, change: &QueueChange) {
        for (sum, change) in [
            (&self.0.queued, change.queued),
            (&self.0.queued_bytes, change.queued_bytes),
            (&self.0.dropped, change.dropped),
            (&self.0.coalesced, change.coalesced),
        ] {
            if change != 0 {
                // A negative one wraps around, and so does the sum.
                sum.fetch_add(change, Relaxed);
            }
        }
    }

    pub(crate) fn slow_closed(&self) {
        self.0.slow_closed.fetch_add(1, Relaxed);
    }

    pub(crate) fn draining(&self) {
        self.0.draining.fetch_add(1, Relaxed);
    }

    pub(crate) fn drained(&self) {
        self.0.drained.fetch_add(1, Relaxed);
    }

    /// A server is down.
    pub(crate) fn down(&self, aborted: usize) {
        self.0.aborted.fetch_add(aborted as u64, Relaxed);
        self.0.draining.fetch_sub(1, Relaxed);
    }
}

/// By how much a queue has changed, modulo 2^64.
pub(crate) struct QueueChange {
    pub(crate) queued: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) dropped: u64,
    pub(crate) coalesced: u64,
}

fn side(side: Side) -> usize {
    usize::from(side == Side::Peer)
}
