//! Reading replies: the header and the length of each, and a sample of the contents.

use crate::Result;
use crate::frames::{Frames, Reply};

/// One reply in so many is compared whole; of the others the first and the last bytes.
const WHOLE: usize = 16;
const ENDS: usize = 16;

/// How far the replies of one connection have been read.
#[derive(Default)]
pub(crate) struct Replies {
    /// Whole ones.
    pub(crate) count: usize,
    /// Bytes of the next.
    at: usize,
}

impl Replies {
    /// Goes through bytes of the server's; an error if they are not the echo.
    pub(crate) fn read(&mut self, mut bytes: &[u8], frames: &Frames) -> Result<()> {
        while !bytes.is_empty() {
            let reply = frames.reply(self.count);
            let count = bytes.len().min(reply.bytes.len() - self.at);
            if !self.matches(&bytes[..count], reply) {
                let header = &reply.bytes[..reply.header];
                return Err(format!(
                    "reply {} is not what it should be from byte {} on: {:?} (its header: {header:?})",
                    self.count,
                    self.at,
                    &bytes[..count.min(ENDS)]
                )
                .into());
            }
            self.at += count;
            bytes = &bytes[count..];
            if self.at == reply.bytes.len() {
                (self.at, self.count) = (0, self.count + 1);
            }
        }
        Ok(())
    }

    fn matches(&self, bytes: &[u8], reply: &Reply) -> bool {
        let (start, length) = (self.at, reply.bytes.len());
        let expected = &reply.bytes[start..start + bytes.len()];
        if self.count.is_multiple_of(WHOLE) || length <= reply.header + 2 * ENDS {
            return bytes == expected;
        }
        let head = (reply.header + ENDS).saturating_sub(start).min(bytes.len());
        let tail = (length - ENDS).saturating_sub(start).min(bytes.len());
        bytes[..head] == expected[..head] && bytes[tail..] == expected[tail..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 200;

    fn echoes(frames: &Frames, count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| frames.reply(i).bytes.clone()).collect()
    }

    #[test]
    fn echoes_are_counted_however_they_come() {
        let frames = Frames::new(SIZE, 1, true);
        let bytes = echoes(&frames, 40);
        for piece in [1, 2, 3, 7, 64, 1000, bytes.len()] {
            let mut replies = Replies::default();
            for bytes in bytes.chunks(piece) {
                replies.read(bytes, &frames).unwrap();
            }
            assert_eq!((replies.count, replies.at), (40, 0));
        }
    }

    #[test]
    fn what_is_not_an_echo_is_an_error() {
        let frames = Frames::new(SIZE, 1, true);
        let reply = frames.reply(0).bytes.len();
        let cases = [
            ("binary, not text", 0, 0x82),
            ("not the last fragment", 0, 0x01),
            ("another length", 3, 0xFF),
            ("another first byte", 4, 0xFF),
            ("another last byte", reply - 1, 0xFF),
            ("another byte in the middle of one that is compared whole", WHOLE * reply + 100, 0xFF),
        ];
        for (name, index, byte) in cases {
            let mut bytes = echoes(&frames, 20);
            bytes[index] = byte;
            assert!(Replies::default().read(&bytes, &frames).is_err(), "{name}");
        }
        let mut swapped = echoes(&frames, 2);
        swapped.rotate_left(reply);
        assert!(Replies::default().read(&swapped, &frames).is_err(), "another message");
    }
}
