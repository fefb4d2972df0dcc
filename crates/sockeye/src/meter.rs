//! What one connection counts, if anybody watches.

use sockeye_proto::{CloseInfo, Connection, Event};
use tokio::time::Instant;

use crate::buffers::Buffers;
use crate::error::Error;
use crate::metrics::{Held, Metrics, Traffic};
use crate::trace::Span;

/// The counters of one connection: plain, and added to the server's once a batch. Boxed, since most connections may have none.
#[derive(Default)]
pub(crate) struct Meter(Option<Box<Counters>>);

struct Counters {
    metrics: Option<Metrics>,
    span: Span,
    received: Traffic,
    sent: Traffic,
    /// What was last told to be held.
    held: Held,
    /// Whether anything was read since the last event.
    read: bool,
    /// Whether anything was counted since it was last added up.
    counted: bool,
    /// When the keepalive ping was queued that is not answered yet.
    pinged: Option<Instant>,
}

impl Meter {
    /// For a connection that was just opened, if anybody wants to know.
    pub(crate) fn new(metrics: Option<Metrics>, span: Span) -> Self {
        metrics.iter().for_each(Metrics::opened);
        Self((metrics.is_some() || span.is_enabled()).then(|| {
            Box::new(Counters {
                metrics,
                span,
                received: Traffic::default(),
                sent: Traffic::default(),
                held: Held::default(),
                read: false,
                counted: false,
                pinged: None,
            })
        }))
    }

    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.0.as_ref()?.metrics.as_ref()
    }

    #[inline]
    pub(crate) fn received(&mut self, event: &Event, buffers: &Buffers, connection: &Connection) {
        if let Some(counters) = &mut self.0 {
            counters.received(event, buffers, connection);
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.read(bytes);
        }
    }

    /// A message, or a part of one, was taken for sending.
    #[inline]
    pub(crate) fn sent(&mut self, is_text: bool, last: bool, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.sent(is_text, last, bytes);
        }
    }

    #[inline]
    pub(crate) fn written(&mut self, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.written(bytes);
        }
    }

    /// A ping was queued; of one of keepalive the time is noted here.
    pub(crate) fn pinged(&mut self, is_keepalive: bool) {
        if let Some(counters) = &mut self.0 {
            counters.sent.pings += 1;
            counters.counted = true;
            if is_keepalive {
                counters.pinged = Some(Instant::now());
            }
        }
    }

    /// Adds up what was counted since this was last called, and tells what is held now.
    #[inline]
    pub(crate) fn fold(&mut self, buffers: Option<&Buffers>, connection: &Connection) {
        if let Some(counters) = &mut self.0 {
            counters.fold(held(buffers, connection));
        }
    }

    /// The connection has ended; without information it was dropped.
    pub(crate) fn end(&mut self, info: Option<&CloseInfo>, failure: Option<&Error>) {
        if let Some(mut counters) = self.0.take() {
            counters.fold(Held::default());
            counters.metrics.iter().for_each(|metrics| metrics.closed(info));
            counters.span.closed(info, failure);
        }
    }
}

// None of it is inlined: where nobody watches, it shall not be in the way.
impl Counters {
    #[cold]
    fn read(&mut self, bytes: usize) {
        (self.read, self.counted) = (true, true);
        self.received.wire_bytes += bytes as u64;
    }

    #[cold]
    fn written(&mut self, bytes: usize) {
        self.counted = true;
        self.sent.wire_bytes += bytes as u64;
    }

    #[cold]
    fn sent(&mut self, is_text: bool, last: bool, bytes: usize) {
        self.counted = true;
        self.sent.message(is_text, last, bytes);
    }

    #[cold]
    fn received(&mut self, event: &Event, buffers: &Buffers, connection: &Connection) {
        // What else was read with it waits for as long as the user's code likes; behind the last of it nothing does.
        let is_last = buffers.input.is_empty();
        if if is_last { self.held[0] > 0 } else { self.read } {
            self.tell_held(held(Some(buffers), connection));
        }
        self.read = false;
        self.counted = true;
        match event {
            Event::Message(message) => self.received.message(message.is_text(), true, message.len()),
            Event::Part(part) => self.received.message(part.data.is_text(), part.last, part.data.len()),
            Event::Ping(_) => self.received.pings += 1,
            // Keepalive's have no payload; those of the application have one.
            Event::Pong(payload) if payload.is_empty() => {
                if let (Some(metrics), Some(pinged)) = (&self.metrics, self.pinged.take()) {
                    metrics.round_trip(pinged.elapsed());
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn fold(&mut self, held: Held) {
        if std::mem::take(&mut self.counted) {
            if let Some(metrics) = &self.metrics {
                metrics.traffic(&self.received, &self.sent);
            }
            (self.received, self.sent) = (Traffic::default(), Traffic::default());
        }
        self.tell_held(held);
    }

    fn tell_held(&mut self, held: Held) {
        if let Some(metrics) = &self.metrics {
            metrics.held(&self.held, &held);
        }
        self.held = held;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(None, None);
    }
}

/// How many bytes of memory a connection holds.
fn held(buffers: Option<&Buffers>, connection: &Connection) -> Held {
    let (input, output) = buffers.map(Buffers::held).unwrap_or_default();
    [input + connection.held(), output, connection.held_contexts()].map(|bytes| bytes as u64)
}
