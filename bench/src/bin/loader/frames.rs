//! What is sent and what must come back, built beforehand.

use std::ops::Range;

/// So many messages differ before they repeat, so that a reply in the wrong place is seen.
const SMALL_VARIANTS: usize = 8;
const BIG_VARIANTS: usize = 2;
const BIG: usize = 16 << 10;

/// RFC 6455 section 5.2.
pub(crate) const FIN: u8 = 0x80;
pub(crate) const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const MASKED: u8 = 0x80;
const MEDIUM: u8 = 0x7E;
const LONG: u8 = 0x7F;

/// Masked frames in a row, so that any batch of them is one slice, and the replies to them.
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where each frame begins, and where the last one ends.
    starts: Vec<usize>,
    replies: Vec<Reply>,
}

/// What must come back for a message.
pub(crate) struct Reply {
    /// The whole frame.
    pub(crate) bytes: Vec<u8>,
    /// How long its header is.
    pub(crate) header: usize,
}

impl Frames {
    /// Messages of `size` bytes, for batches of `in_flight`.
    pub(crate) fn new(size: usize, in_flight: usize, text: bool) -> Self {
        let variants = if size < BIG { SMALL_VARIANTS } else { BIG_VARIANTS };
        let payloads: Vec<_> =
            (0..variants).map(|i| if text { words(size, i) } else { noise(size, i) }).collect();
        let first = FIN | if text { TEXT } else { BINARY };
        let reply = |payload: &Vec<u8>| {
            let header = header(first, 0, payload.len());
            Reply { bytes: [&header[..], payload].concat(), header: header.len() }
        };
        let replies = payloads.iter().map(reply).collect();
        Self::of(first, &payloads, in_flight, replies)
    }

    /// Messages of these payloads in turn, for batches of `in_flight`, `first` being the first byte of each.
    pub(crate) fn of(first: u8, payloads: &[Vec<u8>], in_flight: usize, replies: Vec<Reply>) -> Self {
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        for (payload, i) in payloads.iter().cycle().take(payloads.len() + in_flight).zip(1u32..) {
            let key = i.wrapping_mul(0x9E37_79B9).to_be_bytes();
            bytes.extend(header(first, MASKED, payload.len()));
            bytes.extend(key);
            bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            starts.push(bytes.len());
        }
        Self { bytes, starts, replies }
    }

    /// Where the batch lies whose first message is the one of this number.
    pub(crate) fn batch(&self, number: usize, count: usize) -> Range<usize> {
        let first = number % self.replies.len();
        self.starts[first]..self.starts[first + count]
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The reply to the message of this number.
    pub(crate) fn reply(&self, number: usize) -> &Reply {
        &self.replies[number % self.replies.len()]
    }
}

fn header(first: u8, mask: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(size) {
        bytes.push(mask | short);
    } else if let Ok(medium) = u16::try_from(size) {
        bytes.push(mask | MEDIUM);
        bytes.extend(medium.to_be_bytes());
    } else {
        bytes.push(mask | LONG);
        bytes.extend((size as u64).to_be_bytes());
    }
    bytes
}

/// JSON, with a character that is not ASCII in each of its records.
fn words(size: usize, variant: usize) -> Vec<u8> {
    let record = format!("{{\"n\":{variant},\"at\":\"Zürich\"}} ");
    let mut text = record.repeat(size / record.len() + 1);
    while text.len() > size {
        text.pop();
    }
    text.push_str(&"x".repeat(size - text.len()));
    text.into_bytes()
}

fn noise(size: usize, variant: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ variant as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_the_rfc_says() {
        for (size, head) in [(20, 6), (125, 6), (126, 8), (65535, 8), (65536, 14)] {
            for text in [false, true] {
                let frames = Frames::new(size, 2, text);
                let range = frames.batch(1, 2);
                let frame = &frames.bytes(range)[..head + size];
                assert_eq!(frame[0], if text { 0x81 } else { 0x82 });
                let key = &frame[head - 4..head];
                let payload: Vec<u8> =
                    frame[head..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
                assert!(payload == frames.reply(1).bytes[frames.reply(1).header..]);
                assert_eq!(payload.len(), size);
                assert!(!text || std::str::from_utf8(&payload).is_ok_and(|text| !text.is_ascii()));
                assert!(frames.reply(0).bytes != frames.reply(1).bytes);
            }
        }
    }
}
