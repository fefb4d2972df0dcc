//! Receiving: compressed payloads into messages (RFC 7692 section 7.2.2).

use std::collections::VecDeque;

use bytes::BytesMut;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::{TAIL, with_scratch};
use crate::error::ProtocolError;

/// The largest window there is.
pub(crate) const MAX_WINDOW: usize = 1 << 15;

/// An empty block with BFINAL set: a stream of whole blocks ends with it, and one cut off within a block does not.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The last of what the peer compressed, to which the next message may refer (RFC 7692 section 7.2.2).
///
/// With it any inflater can go on, so that no connection needs one of its own.
#[derive(Debug)]
pub(crate) struct History {
    bytes: VecDeque<u8>,
    /// The window's size.
    window: usize,
}

impl History {
    /// An empty one.
    pub(crate) fn new(window_bits: u8) -> Self {
        Self { bytes: VecDeque::new(), window: 1 << window_bits }
    }

    /// Adds a message.
    pub(crate) fn extend(&mut self, message: &[u8]) {
        let message = &message[message.len().saturating_sub(self.window)..];
        let length = self.bytes.len() + message.len();
        self.bytes.drain(..length.saturating_sub(self.window));
        if length > self.bytes.capacity() {
            // It grows as it is filled, and never beyond the window.
            let capacity = length.next_power_of_two().min(self.window);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend(message);
    }

    /// How many bytes of memory it takes.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

/// One message being inflated.
pub(crate) struct Inflater {
    stream: Inflate,
    /// Whether anything of the message was compressed at all.
    begun: bool,
    /// Whether a block with BFINAL set has ended, and nothing came after it.
    ended: bool,
    /// Whether the last step has filled its room, so that there may be more without any more input.
    full: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        // With the largest window it inflates what was deflated with any. What a smaller one leaves out is left out of the history.
        Self { stream: Inflate::new(false, 15), begun: false, ended: false, full: false }
    }

    /// How many bytes of memory it takes, about.
    pub(crate) const fn held() -> usize {
        48 << 10
    }

    /// Starts a message; there is a history if the peer takes its context over.
    pub(crate) fn start(&mut self, history: Option<&History>) -> Result<(), ProtocolError> {
        self.begun = false;
        self.restart(history, &[])
    }

    /// Starts a stream, which may refer to the messages and to what of this one there is.
    fn restart(&mut self, history: Option<&History>, payload: &[u8]) -> Result<(), ProtocolError> {
        self.stream.reset(false);
        (self.ended, self.full) = (false, false);
        let (first, second) = history.map(|history| history.bytes.as_slices()).unwrap_or_default();
        let last = &payload[payload.len().saturating_sub(MAX_WINDOW)..];
        for part in [first, second, last].into_iter().filter(|part| !part.is_empty()) {
            self.stream.set_dictionary(part).map_err(|_| ProtocolError::CompressedData)?;
        }
        Ok(())
    }

    /// Whether there may be more to have without any more input.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Inflates some more of a message into `payload`, which may become `limit` bytes long, and stops as soon as it is `enough`
    /// bytes long: tells how much of the input that took. What comes before something wrong is there then, however the input was cut.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        payload: &mut BytesMut,
        limit: usize,
        enough: usize,
        history: Option<&History>,
    ) -> Result<usize, ProtocolError> {
        let mut rest = input;
        while (!rest.is_empty() || self.full) && payload.len() < enough {
            self.begun = true;
            // RFC 7692 section 7.2.3.4: "implementors can choose to flush data using DEFLATE blocks with "BFINAL" set to 1", and what
            // comes behind such a block is another stream.
            if self.ended {
                self.restart(history, payload)?;
            }
            let (read, written) = with_scratch(|scratch| {
                let before = (self.stream.total_in(), self.stream.total_out());
                let status = self.stream.decompress(rest, scratch, InflateFlush::NoFlush);
                let length = |total: u64, before| usize::try_from(total - before).unwrap_or(usize::MAX);
                let written = length(self.stream.total_out(), before.1);
                let room = limit.saturating_sub(payload.len());
                payload.extend_from_slice(&scratch[..written.min(room)]);
                if written > room {
                    return Err(ProtocolError::MessageTooBig { limit });
                }
                self.ended = status.map_err(|_| ProtocolError::CompressedData)? == Status::StreamEnd;
                self.full = written == scratch.len() && !self.ended;
                Ok((length(self.stream.total_in(), before.0), written))
            })?;
            rest = &rest[read..];
            if read == 0 && written == 0 && !self.ended && !rest.is_empty() {
                return Err(ProtocolError::CompressedData);
            }
        }
        Ok(input.len() - rest.len())
    }

    /// The message's last byte was inflated: checks that it ended where a message may end.
    pub(crate) fn finish(
        &mut self,
        payload: &mut BytesMut,
        limit: usize,
        history: Option<&History>,
    ) -> Result<(), ProtocolError> {
        // Not what the RFC calls an empty message (section 7.2.3.6), but what zlib makes of a second one, and everybody takes for one.
        // And a stream that ends with its message, without the octet that section 7.2.3.4 asks for behind it, is whole as well.
        if !self.begun || self.ended {
            return Ok(());
        }
        // RFC 7692 section 7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message."
        let length = payload.len();
        let end = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], LAST_BLOCK[0], LAST_BLOCK[1]];
        match self.inflate(&end, payload, limit, usize::MAX, history) {
            Ok(_) if self.ended && payload.len() == length => Ok(()),
            _ => {
                payload.truncate(length);
                Err(ProtocolError::CompressedData)
            }
        }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("begun", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_the_last_window_and_takes_no_more() {
        let mut history = History::new(8);
        let mut all = Vec::new();
        for (i, length) in [0, 1, 10, 200, 45, 1, 255, 256, 257, 1000, 3, 0, 256].into_iter().enumerate() {
            let message = vec![u8::try_from(i).unwrap(); length];
            history.extend(&message);
            all.extend(message);
            let last = &all[all.len().saturating_sub(256)..];
            assert!(history.bytes.iter().eq(last), "after {i}");
            assert!(history.held() <= 256, "{} bytes", history.held());
        }
    }
}
