//! permessage-deflate is negotiated: whatever is offered or answered, what one end agrees on the other end does too.
//!
//! The first four bytes are settings; the rest is a header field with offers, or a response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::handshake::{Extension, parse_extensions};
use sockeye_proto::{Deflate, HeaderMap, HeaderValue, PerMessageDeflate, header};

/// Settings out of two bytes.
fn settings(flags: u8, bits: u8) -> Deflate {
    let choice = |value| [None, Some(false), Some(true), None][usize::from(value & 3)];
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = choice(flags);
    deflate.client_no_context_takeover = choice(flags >> 2);
    // Those that do not exist are among them.
    deflate.server_max_window_bits = bits & 0x1F;
    deflate.client_max_window_bits = 8 + (bits >> 5);
    deflate
}

fn check(agreed: PerMessageDeflate) {
    assert!((8..=15).contains(&agreed.server_max_window_bits));
    assert!((8..=15).contains(&agreed.client_max_window_bits));
}

fn extensions(value: &[u8]) -> Option<Vec<Extension>> {
    let value = HeaderValue::from_bytes(value).ok()?;
    parse_extensions(&HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, value)])).ok()
}

fuzz_target!(|data: &[u8]| {
    let [flags, bits, client_flags, client_bits, value @ ..] = data else { return };
    let (server, client) = (settings(*flags, *bits), settings(*client_flags, *client_bits));
    let Some(extensions) = extensions(value) else { return };
    if let Some((response, agreed)) = server.answer(&extensions) {
        check(agreed);
        // The client that allows everything accepts whatever was asked for.
        let read = Deflate::default().accept_response(&[response]).expect("a valid response");
        assert_eq!(read, Some(agreed));
    }
    if let Ok(Some(agreed)) = client.accept_response(&extensions) {
        check(agreed);
        assert!(agreed.client_max_window_bits <= client.client_max_window_bits.clamp(8, 15));
        assert!(agreed.server_max_window_bits <= server_limit(&client));
    }
    let (response, agreed) = server.answer(&[client.offer()]).expect("a valid offer");
    assert_eq!(
        client.accept_response(&[response]).expect("an answer to the offer").map(shared),
        Some(shared(agreed))
    );
});

fn server_limit(client: &Deflate) -> u8 {
    client.server_max_window_bits.clamp(8, 15)
}

/// What both ends see alike: a client may forget, and use a smaller window, without saying so.
fn shared(agreed: PerMessageDeflate) -> (bool, u8) {
    (agreed.server_no_context_takeover, agreed.server_max_window_bits)
}
