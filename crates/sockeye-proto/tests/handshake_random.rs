//! The opening handshake under random bytes and mutated heads: no panic, nothing held over the limits, and the same
//! outcome whatever the pieces in which the bytes arrive.

use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sockeye_proto::handshake::{
    Answer, ClientHandshake, Extension, Offer, Request, ServerHandshake, TunnelHandshake,
};
use sockeye_proto::{BytesMut, Config, HandshakeError, HeaderMap};

const REQUEST: &[u8] = b"GET ws://h:80/chat?x HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Cookie: a=1; b=2\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; a=\"1\\0\", x; y\r\n\r\n\x81\x80\x01\x02\x03\x04";

const RESPONSES: [&[u8]; 4] = [
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
      Sec-WebSocket-Extensions: permessage-deflate; a=\"1\"\r\n\r\n\x81\x00",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nnot from here and more",
    b"HTTP/1.1 503 Slow\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nlater\r\n0b\r\n, if at all\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n<!doctype html><title>a page</title>",
];

fn config() -> Config {
    let mut config = Config::default();
    config.max_header_block = 600;
    config.max_headers = 12;
    config.max_refusal_body = 16;
    config
}

/// What becomes of the bytes on a server, in words.
fn serve(pieces: &[&[u8]]) -> String {
    let (config, now) = (config(), Instant::now());
    let mut handshake = ServerHandshake::new(&config, now);
    let mut input = BytesMut::new();
    let mut rest = pieces.iter();
    for piece in rest.by_ref() {
        input.extend_from_slice(piece);
        match handshake.receive(&mut input, now) {
            Ok(None) => assert!(input.len() < config.max_header_block),
            Ok(Some(head)) => {
                assert!(head.bytes.len() <= config.max_header_block);
                assert!(head.headers.len() <= config.max_headers);
                rest.for_each(|piece| input.extend_from_slice(piece));
                let request = Request::new(head);
                let mut output = BytesMut::new();
                match &request {
                    Ok(request) => {
                        let subprotocol = request.subprotocols().first().cloned();
                        let extensions = request.extensions().to_vec();
                        let answer = Answer { subprotocol, extensions, ..Answer::default() };
                        request.accept(&answer, &mut output).expect("an answer of what was offered");
                        assert_eq!(output.windows(4).filter(|four| four == b"\r\n\r\n").count(), 1);
                        let _ =
                            (request.cookies().count(), request.path(), request.query(), request.origin());
                    }
                    Err(error) => {
                        error.respond(&mut output);
                        assert!(output.starts_with(b"HTTP/1.1 4") || output.starts_with(b"HTTP/1.1 505"));
                    }
                }
                return format!("{request:?} {output:?} {input:?}");
            }
            Err(error) => return format!("{error:?}"),
        }
    }
    format!("{:?}", handshake.receive_end())
}

/// What becomes of the bytes on a client, in words.
fn connect(pieces: &[&[u8]]) -> String {
    let (config, now) = (config(), Instant::now());
    let offer = Offer {
        subprotocols: vec!["chat".into()],
        extensions: vec![Extension { name: "permessage-deflate".into(), parameters: Vec::new() }],
        ..Offer::default()
    };
    let url = "ws://h/".parse().expect("a URL");
    let key = *b"the sample nonce";
    let mut handshake =
        ClientHandshake::new(&url, &offer, key, &config, now, &mut BytesMut::new()).expect("a valid offer");
    let mut input = BytesMut::new();
    let mut rest = pieces.iter();
    let mut outcome = None;
    for piece in rest.by_ref() {
        input.extend_from_slice(piece);
        match handshake.receive(&mut input, now) {
            Ok(None) => assert!(input.len() < config.max_header_block),
            Ok(Some(response)) => {
                rest.for_each(|piece| input.extend_from_slice(piece));
                return format!("{response:?} {input:?}");
            }
            Err(error) => {
                outcome = Some(error);
                break;
            }
        }
    }
    let error = outcome.unwrap_or_else(|| handshake.receive_end(&mut input));
    if let HandshakeError::Refused(refusal) = &error {
        assert!(refusal.body.len() <= config.max_refusal_body);
    }
    format!("{error:?}")
}

/// What becomes of the bytes on a client that asks a proxy for a tunnel, in words.
fn tunnel(pieces: &[&[u8]]) -> String {
    let config = config();
    let url = "ws://h/".parse().expect("a URL");
    let mut tunnel = TunnelHandshake::new(&url, &HeaderMap::new(), &config, &mut BytesMut::new())
        .expect("no header fields, no misuse");
    let mut input = BytesMut::new();
    let mut rest = pieces.iter();
    for piece in rest.by_ref() {
        input.extend_from_slice(piece);
        match tunnel.receive(&mut input) {
            Ok(None) => assert!(input.len() < config.max_header_block),
            Ok(Some(())) => {
                rest.for_each(|piece| input.extend_from_slice(piece));
                return format!("open {input:?}");
            }
            Err(error) => return format!("{error:?}"),
        }
    }
    format!("{:?}", tunnel.receive_end(&mut input))
}

/// The bytes, cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The head, each of these places overwritten, added to, cut out or doubled.
fn mutate(head: &[u8], changes: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for (place, kind, byte) in changes {
        let at = place.index(bytes.len());
        let end = bytes.len().min(at + usize::from(*byte));
        match kind % 4 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 if end - at < bytes.len() => drop(bytes.drain(at..end)),
            _ => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// Turns half of all bytes into ones that mean something in a head.
fn like_a_head(byte: u8) -> u8 {
    const KNOWN: &[u8; 16] = b"\r\n\r\n: ab09;,=\"\\-";
    if byte < 0x80 { KNOWN[usize::from(byte) % KNOWN.len()] } else { byte }
}

fn check(bytes: &[u8], places: &[Index]) {
    let pieces = cut(bytes, places);
    assert_eq!(serve(&pieces), serve(&[bytes]));
    assert_eq!(connect(&pieces), connect(&[bytes]));
    assert_eq!(tunnel(&pieces), tunnel(&[bytes]));
}

#[test]
fn unchanged_heads_are_in_order() {
    assert!(serve(&[REQUEST]).starts_with("Ok("), "{}", serve(&[REQUEST]));
    assert!(connect(&[RESPONSES[0]]).starts_with("Response"), "{}", connect(&[RESPONSES[0]]));
    for response in &RESPONSES[1..] {
        assert!(connect(&[response]).starts_with("Refused"), "{}", connect(&[response]));
    }
    assert!(tunnel(&[RESPONSES[1]]).starts_with("Refused"), "{}", tunnel(&[RESPONSES[1]]));
    assert!(tunnel(&[RESPONSES[3]]).starts_with("open b\"<!doc"), "{}", tunnel(&[RESPONSES[3]]));
}

proptest! {
    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..700), places in vec(any::<Index>(), 0..8)) {
        check(&bytes, &places);
    }

    #[test]
    fn random_bytes_behind_a_first_line(
        bytes in vec(any::<u8>().prop_map(like_a_head), 0..700),
        places in vec(any::<Index>(), 0..8),
    ) {
        check(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat(), &places);
        check(&[b"HTTP/1.1 101 x\r\n", &bytes[..]].concat(), &places);
        check(&[b"HTTP/1.1 200 x\r\n", &bytes[..]].concat(), &places);
        check(&[b"HTTP/1.1 400 x\r\ntransfer-encoding: chunked\r\n\r\n", &bytes[..]].concat(), &places);
    }

    #[test]
    fn mutated_requests(
        changes in vec(any::<(Index, u8, u8)>(), 0..6),
        places in vec(any::<Index>(), 0..8),
    ) {
        check(&mutate(REQUEST, &changes), &places);
    }

    #[test]
    fn mutated_responses(
        which in 0..RESPONSES.len(),
        changes in vec(any::<(Index, u8, u8)>(), 0..6),
        places in vec(any::<Index>(), 0..8),
    ) {
        check(&mutate(RESPONSES[which], &changes), &places);
    }
}
