//! A client's frames turned into a server's, in place.

use std::io::{self, ErrorKind};
use std::ops::Range;

/// What no frame of any case comes near.
const MAX_PAYLOAD: usize = 64 << 20;

/// What became of a buffer.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    /// The finished frames, turned, in one piece.
    pub(crate) write: Range<usize>,
    /// Where the unfinished frame begins.
    pub(crate) rest: usize,
    /// How long the unfinished frame will be; 0 if not known yet.
    pub(crate) wanted: usize,
}

/// Turns the frames in `buffer[start..]`; `unmasked` payload bytes of the first are unmasked already, and afterwards those
/// of the unfinished one.
pub(crate) fn turn(buffer: &mut [u8], start: usize, unmasked: &mut usize) -> io::Result<Batch> {
    let mut write = 0..0;
    let mut at = start;
    while let Some((header, length)) = header(&buffer[at..])? {
        let payload = at + header;
        let end = payload + length;
        let have = end.min(buffer.len());
        let mut key: [u8; 4] = std::array::from_fn(|i| buffer[payload - 4 + i]);
        key.rotate_left(*unmasked % 4);
        unmask(&mut buffer[payload + *unmasked..have], key);
        if have < end {
            *unmasked = have - payload;
            return Ok(Batch { write, rest: at, wanted: header + length });
        }
        *unmasked = 0;

        // The same header without the bit and the key of the mask, in front of the payload.
        let mut bytes = [0; 10];
        let bytes = &mut bytes[..header - 4];
        bytes.copy_from_slice(&buffer[at..payload - 4]);
        bytes[1] &= 0x7F;
        if write.is_empty() {
            write = payload - bytes.len()..end;
            buffer[write.start..payload].copy_from_slice(bytes);
        } else {
            let to = write.end + bytes.len();
            buffer[write.end..to].copy_from_slice(bytes);
            buffer.copy_within(payload..end, to);
            write.end = to + length;
        }
        at = end;
    }
    Ok(Batch { write, rest: at, wanted: 0 })
}

/// The lengths of a masked frame's header and payload; `None` if the header is not all there.
fn header(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let &[_, second, ref rest @ ..] = bytes else { return Ok(None) };
    let (header, length) = match second & 0x7F {
        126 => match rest.first_chunk() {
            Some(length) => (8, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (14, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (6, u64::from(short)),
    };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_PAYLOAD && second & 0x80 != 0 => {
            Ok((bytes.len() >= header).then_some((header, length)))
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u128::from_ne_bytes(std::array::from_fn(|i| key[i % 4]));
    let mut chunks = payload.chunks_exact_mut(16);
    for chunk in &mut chunks {
        let word = u128::from_ne_bytes(std::array::from_fn(|i| chunk[i])) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (i, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: &[usize] = &[0, 1, 20, 125, 126, 1024, 65535, 65536];

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let key = [1, 2, 3, 4];
        let bit = u8::from(masked) << 7;
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(bit | u8::try_from(length).unwrap()),
            126..65536 => {
                bytes.push(bit | 0x7E);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(bit | 0x7F);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend(key);
        }
        bytes.extend((0..length).map(|i| i.to_le_bytes()[0] ^ if masked { key[i % 4] } else { 0 }));
        bytes
    }

    #[test]
    fn a_batch_of_all_lengths_is_turned_at_once() {
        let mut buffer: Vec<u8> = LENGTHS.iter().flat_map(|&length| frame(length, true)).collect();
        let expected: Vec<u8> = LENGTHS.iter().flat_map(|&length| frame(length, false)).collect();
        let end = buffer.len();
        let batch = turn(&mut buffer, 0, &mut 0).unwrap();
        assert_eq!((batch.rest, batch.wanted), (end, 0));
        assert!(buffer[batch.write] == expected);
    }

    #[test]
    fn a_frame_that_comes_in_pieces_is_turned_at_its_last() {
        for &length in LENGTHS {
            let (masked, expected) = (frame(length, true), frame(length, false));
            for first in (0..masked.len()).step_by(1 + masked.len() / 50) {
                for second in [first, first.midpoint(masked.len()), masked.len() - 1] {
                    let mut buffer = masked.clone();
                    let mut unmasked = 0;
                    for have in [first, second] {
                        let batch = turn(&mut buffer[..have], 0, &mut unmasked).unwrap();
                        assert_eq!((batch.write, batch.rest), (0..0, 0));
                        assert!(batch.wanted == 0 || batch.wanted == masked.len());
                    }
                    let batch = turn(&mut buffer, 0, &mut unmasked).unwrap();
                    assert!(buffer[batch.write] == expected, "{length}, cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_batch_ends_before_the_unfinished_frame() {
        let mut buffer = [frame(20, true), frame(1024, true), frame(1024, true)[..500].to_vec()].concat();
        let mut unmasked = 0;
        let batch = turn(&mut buffer, 0, &mut unmasked).unwrap();
        assert_eq!((batch.rest, batch.wanted, unmasked), (26 + 1032, 1032, 492));
        assert_eq!(buffer[batch.write], [frame(20, false), frame(1024, false)].concat());
    }

    #[test]
    fn what_no_client_sends_is_refused() {
        assert!(turn(&mut [0x82, 0, 0, 0], 0, &mut 0).is_err(), "unmasked");
        let mut huge = [0x82, 0xFF, 127, 255, 255, 255, 255, 255, 255, 255];
        assert!(turn(&mut huge, 0, &mut 0).is_err(), "too long");
    }
}
