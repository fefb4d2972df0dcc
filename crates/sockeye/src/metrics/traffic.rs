//! What went one way, of one connection and of all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
pub(super) struct SharedTraffic {
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
    pub(super) fn add(&self, traffic: &Traffic) {
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

    pub(super) fn get(&self) -> Traffic {
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
