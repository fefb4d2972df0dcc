//! What the codec itself costs: inflate and deflate, each called once a message.

use std::io::{self, ErrorKind};

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

/// RFC 6455 section 5.2 and RFC 7692 section 6: FIN, the "Per-Message Compressed" bit, text.
const FIRST: u8 = 0xC1;
/// What no message of any case comes near.
const MAX_MESSAGE: usize = 1 << 20;
/// RFC 7692 section 7.2.1: what is not sent of a message.
const TAIL: usize = 4;

pub(crate) struct Codec {
    inflater: Inflate,
    deflater: Deflate,
    message: Vec<u8>,
    payload: Vec<u8>,
    frames: Vec<u8>,
}

impl Codec {
    /// Without context takeover, with windows of 15 bits and zlib's own memory level.
    pub(crate) fn new(level: u8) -> Self {
        Self {
            inflater: Inflate::new(false, 15),
            deflater: Deflate::new(level.into(), false, 15),
            message: vec![0; MAX_MESSAGE],
            payload: vec![0; 2 * MAX_MESSAGE],
            frames: Vec::new(),
        }
    }

    /// Whole frames of a server's, each payload inflated and deflated again.
    pub(crate) fn turn(&mut self, mut frames: &[u8]) -> io::Result<&[u8]> {
        self.frames.clear();
        while let [FIRST, second, rest @ ..] = frames {
            let (length, rest) = match second {
                126 => {
                    rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))
                }
                short => Some((usize::from(*short), rest)),
            }
            .ok_or(ErrorKind::InvalidData)?;
            let (payload, rest) = rest.split_at_checked(length).ok_or(ErrorKind::InvalidData)?;
            self.message(payload)?;
            frames = rest;
        }
        if frames.is_empty() { Ok(&self.frames) } else { Err(ErrorKind::InvalidData.into()) }
    }

    fn message(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = |total: u64| usize::try_from(total).map_err(io::Error::other);
        self.inflater.reset(false);
        self.inflater
            .decompress(payload, &mut self.message, InflateFlush::SyncFlush)
            .map_err(|error| io::Error::other(error.as_str()))?;
        let message = &self.message[..length(self.inflater.total_out())?];
        self.deflater.reset();
        self.deflater
            .compress(message, &mut self.payload, DeflateFlush::SyncFlush)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let payload = &self.payload[..length(self.deflater.total_out())? - TAIL];
        self.frames.push(FIRST);
        if let Ok(short @ 0..126) = u8::try_from(payload.len()) {
            self.frames.push(short);
        } else {
            let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
            self.frames.push(126);
            self.frames.extend(length.to_be_bytes());
        }
        self.frames.extend(payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back_compressed() {
        let mut codec = Codec::new(6);
        // RFC 7692 section 7.2.3.1, twice: "Hello".
        let hello = [0xC1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(codec.turn(&[hello, hello].concat()).unwrap(), [hello, hello].concat());
        assert!(codec.turn(&[0x81, 1, b'a']).is_err(), "plain");
        assert!(codec.turn(&hello[..5]).is_err(), "cut off");
        assert!(codec.turn(&[0xC1, 2, 0xff, 0xff]).is_err(), "not to be inflated");
    }
}
