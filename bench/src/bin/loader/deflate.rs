//! Compressed messages (RFC 7692 without context takeover), and what a server answers to them.
//!
//! The same payload can be compressed in many ways. So each message is sent once beforehand, the reply is inflated and compared with
//! it, and from then on each reply must be the one that was seen to be right.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

use crate::frames::{FIN, Frames, Reply, TEXT};
use crate::{Result, opening};

/// RFC 7692 section 6: the "Per-Message Compressed" bit.
const RSV1: u8 = 0x40;
const FIRST: u8 = FIN | RSV1 | TEXT;
/// RFC 7692 section 7.2.1: what a message's compressed form ends with, and what is not sent.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

const LEVEL: i32 = 6;
const WINDOW_BITS: u8 = 15;

/// So much text there is, in messages of whatever size: far more than any window, or a branch predictor, remembers.
const ALL: usize = 128 << 10;

/// Messages that inflate to `size` bytes, for batches of `in_flight`, and what the server on `port` answers.
pub(crate) fn frames(port: u16, size: usize, in_flight: usize) -> Result<Frames> {
    let texts: Vec<_> = (0..(ALL / size).max(2)).map(|i| records(size, i)).collect();
    let payloads = texts.iter().map(|text| compress(text)).collect::<Result<Vec<_>>>()?;
    let alone = Frames::of(
        FIRST,
        &payloads,
        1,
        texts.iter().map(|_| Reply { bytes: Vec::new(), header: 0 }).collect(),
    );
    let mut stream = opening::open(port, true)?;
    let mut replies = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        stream.write_all(alone.bytes(alone.batch(i, 1)))?;
        replies.push(reply(&mut stream, text)?);
    }
    Ok(Frames::of(FIRST, &payloads, in_flight, replies))
}

fn compress(text: &[u8]) -> Result<Vec<u8>> {
    let mut payload = vec![0; text.len() + 64];
    let mut deflater = Deflate::new(LEVEL, false, WINDOW_BITS);
    deflater.compress(text, &mut payload, DeflateFlush::SyncFlush).map_err(|error| format!("{error:?}"))?;
    payload.truncate(usize::try_from(deflater.total_out())?);
    if usize::try_from(deflater.total_in())? != text.len() || !payload.ends_with(&TAIL) {
        return Err("a message does not get smaller".into());
    }
    payload.truncate(payload.len() - TAIL.len());
    Ok(payload)
}

/// Reads the reply to a message; an error if it is not compressed, or not that message.
fn reply(stream: &mut TcpStream, text: &[u8]) -> Result<Reply> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes)?;
    let more = match bytes[..] {
        [FIRST, 0..126] => 0,
        [FIRST, 126] => 2,
        [FIRST, 127] => 8,
        _ => return Err(format!("a reply that begins with {bytes:?}, and is no compressed text").into()),
    };
    let header = bytes.len() + more;
    bytes.resize(header, 0);
    stream.read_exact(&mut bytes[2..])?;
    let length = match more {
        0 => u64::from(bytes[1]),
        _ => bytes[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let length = usize::try_from(length)?;
    if length >= text.len() {
        return Err(format!("a reply of {length} bytes for {}", text.len()).into());
    }
    bytes.resize(header + length, 0);
    stream.read_exact(&mut bytes[header..])?;
    if inflate(&bytes[header..], text.len())? != text {
        return Err("a reply inflates to something else".into());
    }
    Ok(Reply { bytes, header })
}

/// What a payload inflates to; at most one byte more than `length`.
fn inflate(payload: &[u8], length: usize) -> Result<Vec<u8>> {
    let mut text = vec![0; length + 1];
    let mut inflater = Inflate::new(false, WINDOW_BITS);
    inflater
        .decompress(&[payload, &TAIL].concat(), &mut text, InflateFlush::SyncFlush)
        .map_err(zlib_rs::InflateError::as_str)?;
    text.truncate(usize::try_from(inflater.total_out())?);
    Ok(text)
}

/// JSON of `size` bytes: trades of an exchange, of which each differs in most of its numbers.
fn records(size: usize, variant: usize) -> Vec<u8> {
    const SYMBOLS: [&str; 8] =
        ["BTC-USD", "ETH-EUR", "SOL-USD", "ADA-GBP", "XRP-USD", "DOT-EUR", "LTC-USD", "UNI-CHF"];
    const VENUES: [&str; 4] = ["London", "New York", "Tōkyō", "Zürich"];
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ (variant as u64 + 1) << 32;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % bound
    };
    let (mut id, mut time) = (1_000_000 + below(9_000_000), 1_790_000_000_000 + below(1_000_000_000));
    let mut text = "[".to_owned();
    loop {
        (id, time) = (id + 1 + below(9), time + below(4000));
        let symbol = SYMBOLS[usize::try_from(below(8)).unwrap_or_default()];
        let venue = VENUES[usize::try_from(below(4)).unwrap_or_default()];
        let deal = if below(2) == 0 { "buy" } else { "sell" };
        let comma = if text.len() > 1 { "," } else { "" };
        let record = format!(
            "{comma}{{\"id\":{id},\"time\":{time},\"symbol\":\"{symbol}\",\"venue\":\"{venue}\",\"side\":\"{deal}\",\
             \"price\":{}.{:02},\"size\":{}.{:04},\"maker\":{}}}",
            100 + below(60_000),
            below(100),
            below(20),
            below(10_000),
            below(2) == 0
        );
        if text.len() + record.len() + 1 > size {
            break;
        }
        text.push_str(&record);
    }
    let _ = write!(text, "{:1$}]", "", size.saturating_sub(text.len() + 1));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_text_is_json_of_its_size_and_unlike_the_others() {
        for size in [1 << 10, 16 << 10] {
            let text = records(size, 0);
            let records: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
            assert_eq!(text.len(), size);
            assert!(records.len() > size / 200, "{}", records.len());
            assert!(text != super::records(size, 1));
            assert!(text.iter().rev().skip(1).take_while(|byte| **byte == b' ').count() < 200);
            let payload = compress(&text).unwrap();
            assert!((size / 8..size / 2).contains(&payload.len()), "{}", payload.len());
            assert!(inflate(&payload, size).unwrap() == text);
        }
    }

    /// What comes of reading these bytes as the reply to a text.
    fn read(bytes: &[u8], text: &[u8]) -> Result<Reply> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(bytes).unwrap();
        drop(server);
        reply(&mut client, text)
    }

    #[test]
    fn only_the_compressed_echo_is_a_reply() {
        let (text, other) = (records(1 << 10, 0), records(1 << 10, 1));
        let frame = |first: u8, payload: &[u8]| {
            let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
            [&[first, 126], &length[..], payload].concat()
        };
        let compressed = compress(&text).unwrap();
        let right = frame(FIRST, &compressed);
        let found = read(&right, &text).unwrap();
        assert!(found.bytes == right && found.header == 4);
        let corrupt: Vec<u8> = compressed.iter().map(|byte| byte ^ 0x55).collect();
        for (name, bytes) in [
            ("plain", frame(FIN | TEXT, &text)),
            ("plain, but said to be compressed", frame(FIRST, &text)),
            ("another message", frame(FIRST, &compress(&other).unwrap())),
            ("corrupt", frame(FIRST, &corrupt)),
            ("cut off", frame(FIRST, &compressed[..compressed.len() - 20])),
            ("ended", right[..right.len() - 1].to_vec()),
        ] {
            assert!(read(&bytes, &text).is_err(), "{name}");
        }
    }
}
