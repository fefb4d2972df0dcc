//! What one connection counts, if anybody watches.

use sockeye_proto::{CloseInfo, Event, Message};
use tokio::time::Instant;

use crate::metrics::{Metrics, Traffic};

/// The counters of one connection: plain, and added to the server's once a batch. Boxed, since most connections may have none.
#[derive(Default)]
pub(crate) struct Meter(Option<Box<Counters>>);

struct Counters {
    metrics: Metrics,
    received: Traffic,
    sent: Traffic,
    /// When the keepalive ping was queued that is not answered yet.
    pinged: Option<Instant>,
}

impl Meter {
    /// Counts a connection that was just opened.
    pub(crate) fn new(metrics: Option<Metrics>) -> Self {
        Self(metrics.map(|metrics| {
            metrics.opened();
            Box::new(Counters {
                metrics,
                received: Traffic::default(),
                sent: Traffic::default(),
                pinged: None,
            })
        }))
    }

    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.0.as_ref().map(|counters| &counters.metrics)
    }

    #[inline]
    pub(crate) fn received(&mut self, event: &Event) {
        if let Some(counters) = &mut self.0 {
            counters.received(event);
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.received.wire_bytes += bytes as u64;
        }
    }

    /// A message, or a part of one, is to be sent.
    #[inline]
    pub(crate) fn sent(&mut self, message: &Message, last: bool) {
        if let Some(counters) = &mut self.0 {
            counters.sent.message(message.is_text(), last, message.len());
        }
    }

    #[inline]
    pub(crate) fn sent_chunk(&mut self, is_text: bool, last: bool, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.sent.message(is_text, last, bytes);
        }
    }

    #[inline]
    pub(crate) fn written(&mut self, bytes: usize) {
        if let Some(counters) = &mut self.0 {
            counters.sent.wire_bytes += bytes as u64;
        }
    }

    /// A ping was queued; of one of keepalive the time is noted here.
    pub(crate) fn pinged(&mut self, is_keepalive: bool) {
        if let Some(counters) = &mut self.0 {
            counters.sent.pings += 1;
            if is_keepalive {
                counters.pinged = Some(Instant::now());
            }
        }
    }

    /// Adds up what was counted since this was last called.
    #[inline]
    pub(crate) fn fold(&mut self) {
        if let Some(counters) = &mut self.0 {
            counters.fold();
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self, info: Option<&CloseInfo>) {
        if let Some(mut counters) = self.0.take() {
            counters.fold();
            counters.metrics.closed(info);
        }
    }
}

impl Counters {
    fn received(&mut self, event: &Event) {
        match event {
            Event::Message(message) => self.received.message(message.is_text(), true, message.len()),
            Event::Part(part) => self.received.message(part.data.is_text(), part.last, part.data.len()),
            Event::Ping(_) => self.received.pings += 1,
            // Keepalive's have no payload; those of the application have one.
            Event::Pong(payload) if payload.is_empty() => {
                if let Some(pinged) = self.pinged.take() {
                    self.metrics.round_trip(pinged.elapsed());
                }
            }
            _ => {}
        }
    }

    fn fold(&mut self) {
        self.metrics.traffic(&self.received, &self.sent);
        (self.received, self.sent) = (Traffic::default(), Traffic::default());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(None);
    }
}
