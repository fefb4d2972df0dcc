//! The opening handshake, both sides, and a proxy's answer in front: any bytes in any split give the same end, and what one side writes the other reads.
//!
//! The first byte says what is tried, the second gives the length of the chunks; the rest is what the peer sends, or a URL.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use sockeye_proto::handshake::{
    Answer, ClientHandshake, Extension, Head, Offer, Request, Response, ServerHandshake, TunnelHandshake,
};
use sockeye_proto::{BytesMut, Config, HandshakeError, HeaderMap, WebSocketUrl};

const KEY: [u8; 16] = *b"the sample nonce";

fn config() -> Config {
    let mut config = Config::default();
    config.max_header_block = 1000;
    config.max_headers = 12;
    config.max_refusal_body = 50;
    config
}

/// How a handshake ended, as text, and what stayed in the input behind it; none while it needs more bytes.
type End = Option<(String, Vec<u8>)>;

fn client(url: &WebSocketUrl, offer: &Offer) -> (ClientHandshake, BytesMut) {
    let mut request = BytesMut::new();
    let handshake = ClientHandshake::new(url, offer, KEY, &config(), Instant::now(), &mut request);
    (handshake.expect("a good offer"), request)
}

fn offer() -> Offer {
    Offer {
        subprotocols: vec!["chat".into(), "superchat".into()],
        extensions: vec![Extension { name: "permessage-deflate".into(), parameters: vec![] }],
        ..Offer::default()
    }
}

fn as_client(bytes: &[u8], step: usize) -> (End, Option<String>) {
    let url: WebSocketUrl = "ws://server.example.com/chat".parse().expect("a good URL");
    let (mut handshake, _) = client(&url, &offer());
    let mut input = BytesMut::new();
    for (i, chunk) in bytes.chunks(step).enumerate() {
        input.extend_from_slice(chunk);
        let end: Result<Response, HandshakeError> = match handshake.receive(&mut input, Instant::now()) {
            Ok(None) => continue,
            Ok(Some(response)) => Ok(response),
            Err(error) => Err(error),
        };
        let mut rest = input.to_vec();
        rest.extend(&bytes[bytes.len().min((i + 1) * step)..]);
        if end.is_err() {
            rest.clear();
        }
        return (Some((format!("{end:?}"), rest)), None);
    }
    (None, Some(format!("{:?}", handshake.receive_end(&mut input))))
}

fn as_client_of_a_proxy(bytes: &[u8], step: usize) -> (End, Option<String>) {
    let url: WebSocketUrl = "ws://server.example.com/chat".parse().expect("a good URL");
    let mut tunnel = TunnelHandshake::new(&url, &HeaderMap::new(), &config(), &mut BytesMut::new())
        .expect("no header fields, no misuse");
    let mut input = BytesMut::new();
    for (i, chunk) in bytes.chunks(step).enumerate() {
        input.extend_from_slice(chunk);
        match tunnel.receive(&mut input) {
            Ok(None) => {}
            Ok(Some(())) => {
                let rest = [&input[..], &bytes[bytes.len().min((i + 1) * step)..]].concat();
                assert!(bytes.ends_with(&rest), "no byte of the server's is lost");
                return (Some(("open".into(), rest)), None);
            }
            Err(error) => return (Some((format!("{error:?}"), vec![])), None),
        }
    }
    (None, Some(format!("{:?}", tunnel.receive_end(&mut input))))
}

fn as_server(bytes: &[u8], step: usize) -> End {
    let mut handshake = ServerHandshake::new(&config(), Instant::now());
    let mut input = BytesMut::new();
    for (i, chunk) in bytes.chunks(step).enumerate() {
        input.extend_from_slice(chunk);
        match handshake.receive(&mut input, Instant::now()) {
            Ok(None) => {}
            Ok(Some(head)) => {
                let mut rest = input.to_vec();
                rest.extend(&bytes[bytes.len().min((i + 1) * step)..]);
                assert_eq!([&head.bytes[..], &rest].concat(), bytes, "no byte is lost");
                let read = format!("{head:?}");
                return Some((format!("{read}, {:?}", answer(head)), rest));
            }
            Err(error) => {
                check_refusal(&error);
                return Some((format!("{error:?}"), vec![]));
            }
        }
    }
    None
}

/// The response of a server that takes what it can.
fn answer(head: Head) -> Result<String, HandshakeError> {
    let request = Request::new(head).inspect_err(check_refusal)?;
    assert!(request.path().starts_with('/') || request.path() == "*");
    let _ = (request.query(), request.host(), request.origin(), request.cookies().count());
    let answer = Answer {
        subprotocol: request.subprotocols().first().cloned(),
        extensions: request.extensions().to_vec(),
        ..Answer::default()
    };
    let mut response = BytesMut::new();
    request.accept(&answer, &mut response)?;
    check_head(&response, "HTTP/1.1 101 ");
    Ok(String::from_utf8_lossy(&response).into_owned())
}

fn check_refusal(error: &HandshakeError) {
    let mut response = BytesMut::new();
    error.respond(&mut response);
    check_head(&response, "HTTP/1.1 ");
}

/// Whether nothing of what the peer said got into the head as a line of its own.
fn check_head(response: &[u8], start: &str) {
    assert!(response.starts_with(start.as_bytes()));
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let fields = std::str::from_utf8(&response[..end]).expect("a head of UTF-8").split("\r\n").skip(1);
    for field in fields {
        let (name, value) = field.split_once(": ").expect("a header field");
        let ours = [
            "allow",
            "connection",
            "content-",
            "date",
            "sec-websocket-",
            "upgrade",
            "x-content-type-options",
        ];
        assert!(ours.iter().any(|ours| name.to_ascii_lowercase().starts_with(ours)), "{name:?}");
        assert!(!value.contains(|byte: char| byte.is_control()), "{value:?}");
    }
}

/// What a client asks for by a URL, a server understands.
fn with_url(url: &str) {
    let Ok(url) = url.parse::<WebSocketUrl>() else { return };
    assert_eq!(url.as_str().parse().as_ref(), Ok(&url));
    assert!(!url.host().is_empty() && url.resource_name().starts_with('/'));
    // The URL standard lets these into a host, RFC 3986 and so the server do not.
    if url.host().contains(['"', '`', '{', '}']) {
        return;
    }
    let (_, mut request) = client(&url, &offer());
    let mut generous = config();
    generous.max_header_block = usize::MAX;
    let head = ServerHandshake::new(&generous, Instant::now()).receive(&mut request, Instant::now());
    let request = Request::new(head.expect("a good head").expect("a whole head")).expect("a good request");
    assert_eq!(request.host(), url.authority());
    let (path, query) =
        url.resource_name().split_once('?').map_or((url.resource_name(), None), |(a, b)| (a, Some(b)));
    assert_eq!((request.path(), request.query()), (path, query));
    assert_eq!(request.subprotocols(), offer().subprotocols);
}

fuzz_target!(|data: &[u8]| {
    let [what, step, bytes @ ..] = data else { return };
    let steps = [1, usize::from(*step) + 1];
    match what % 3 {
        0 => {
            let whole = (as_client(bytes, usize::MAX), as_client_of_a_proxy(bytes, usize::MAX));
            for step in steps {
                assert_eq!((as_client(bytes, step), as_client_of_a_proxy(bytes, step)), whole);
            }
        }
        1 => {
            let whole = as_server(bytes, usize::MAX);
            for step in steps {
                assert_eq!(as_server(bytes, step), whole);
            }
        }
        _ => std::str::from_utf8(bytes).into_iter().for_each(with_url),
    }
});
