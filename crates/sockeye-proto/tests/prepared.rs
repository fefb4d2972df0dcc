//! Messages for many connections: compressed once, and on the wire the same as if each had been sent by itself.

mod support;

use std::io::IoSlice;
use std::sync::Arc;

use allocation_counter::measure;
use bytes::Buf;
use sockeye_proto::{Config, Deflate, Message, Prepared, Role, SendError};
use support::{End, config};

/// From this size on a server's payloads are queued as they are.
const BIG: usize = 16 << 10;

/// The default settings with changes.
fn deflate(change: impl FnOnce(&mut Deflate)) -> Deflate {
    let mut deflate = Deflate::default();
    change(&mut deflate);
    deflate
}

fn takeover(deflate: &mut Deflate) {
    deflate.server_no_context_takeover = Some(false);
    deflate.client_no_context_takeover = Some(false);
}

/// An end, and the one that it has agreed with.
fn ends(role: Role, config: &Arc<Config>) -> (End, End) {
    let other = if role == Role::Client { Role::Server } else { Role::Client };
    let ends = [role, other].map(|role| {
        let mut end = End::new(role, config);
        if let Some((_, agreed)) = config.deflate.and_then(|deflate| deflate.answer(&[deflate.offer()])) {
            end.connection.start_deflate(agreed);
        }
        end
    });
    ends.into()
}

fn server(deflate: Option<Deflate>) -> End {
    ends(Role::Server, &config(|config| config.deflate = deflate)).0
}

fn random(length: usize) -> impl Iterator<Item = u8> {
    let mut state = 1_u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length)
}

fn noise(length: usize) -> Vec<u8> {
    random(length).collect()
}

fn words(count: usize) -> String {
    random(count).map(|byte| ["fish ", "swims ", "κόσμε ", "to "][usize::from(byte % 4)]).collect()
}

/// Where the last payload that was queued as it is stands in memory.
fn queued(end: &End) -> *const u8 {
    let mut slices = [IoSlice::new(&[]); 4];
    let count = end.output.chunks_vectored(&mut slices);
    assert_eq!(count, 2, "a header and a payload");
    slices[1].as_ptr()
}

#[test]
fn every_member_sends_what_it_would_have_sent_by_itself() {
    let members = [
        Some(deflate(|_| {})),
        Some(deflate(|_| {})),
        Some(deflate(takeover)),
        None,
        Some(deflate(|deflate| deflate.threshold = 0)),
        Some(deflate(|deflate| deflate.threshold = 5000)),
        Some(deflate(|deflate| deflate.level = 1)),
        Some(deflate(|deflate| deflate.mem_level = 2)),
        Some(deflate(|deflate| (deflate.server_max_window_bits, deflate.client_max_window_bits) = (8, 9))),
        Some(deflate(|deflate| (deflate.server_max_window_bits, deflate.client_max_window_bits) = (9, 12))),
    ];
    let messages = [
        Message::from(""),
        "a".into(),
        words(20).into(),
        words(100).into(),
        Message::Binary(words(100).into()),
        words(3000).into(),
        words(8000).into(),
        noise(200).into(),
        noise(20_000).into(),
    ];
    // One set for all members, in whatever order they come to it.
    let prepared = messages.clone().map(Prepared::new);
    for (i, deflate) in members.into_iter().enumerate() {
        for (role, fragment_size) in
            support::ROLES.into_iter().flat_map(|role| [(role, None), (role, Some(1000))])
        {
            let config = config(|config| {
                (config.deflate, config.fragment_size) = (deflate, fragment_size);
                config.masking_key = || [1, 2, 3, 4];
            });
            let (mut single, _) = ends(role, &config);
            let (mut member, mut peer) = ends(role, &config);
            for _ in 0..2 {
                for (message, prepared) in messages.iter().zip(&prepared) {
                    // What is sent by itself comes between, as on a connection that takes over.
                    for end in [&mut single, &mut member] {
                        end.send("fish swims between").unwrap();
                    }
                    single.send(message.clone()).unwrap();
                    member.connection.send_prepared(prepared, &mut member.output).unwrap();
                    let (expected, bytes) = (single.write_all(), member.write_all());
                    let name = format!("member {i}, {role:?}, {fragment_size:?}, {} bytes", message.len());
                    assert!(bytes == expected, "{name}");
                    peer.feed(&bytes);
                    assert_eq!(peer.messages().last(), Some(message), "{name}");
                    peer.events.clear();
                }
            }
        }
    }
}

#[test]
fn members_that_compress_alike_share_the_compressed_payload() {
    let prepared = Prepared::new(words(100_000));
    let send = |deflate| {
        let mut end = server(Some(deflate));
        end.connection.send_prepared(&prepared, &mut end.output).unwrap();
        assert!((BIG..prepared.message().len() / 2).contains(&end.output.remaining()));
        end
    };
    let level = deflate(|deflate| deflate.level = 1);
    let [first, second, other, another] = [deflate(|_| {}), deflate(|_| {}), level, level].map(send);
    assert_eq!(queued(&first), queued(&second));
    assert_ne!(queued(&first), queued(&other), "another level");
    assert_eq!(queued(&other), queued(&another));
    let keeps = [deflate(takeover), deflate(takeover)].map(send);
    assert_ne!(queued(&keeps[0]), queued(&keeps[1]), "their contexts may differ");
    let (mut client, _) = ends(Role::Client, &config(|_| {}));
    client.connection.send_prepared(&prepared, &mut client.output).unwrap();
    assert_ne!(queued(&first), queued(&client), "masked");
}

#[test]
fn what_goes_plain_is_shared_as_it_is() {
    let message = Message::from(noise(BIG));
    let prepared = Prepared::new(message.clone());
    let settings = [deflate(|_| {}), deflate(|_| {}), deflate(|deflate| deflate.threshold = BIG + 1)];
    for deflate in settings.map(Some).into_iter().chain([None]) {
        let mut end = server(deflate);
        end.connection.send_prepared(&prepared, &mut end.output).unwrap();
        assert_eq!(queued(&end), message.as_bytes().as_ptr());
    }
}

#[test]
fn the_second_member_allocates_nothing() {
    let messages = [Message::from(words(300)), words(2000).into(), noise(1000).into(), "short".into()];
    for message in messages {
        let prepared = Prepared::new(message);
        let [mut first, mut second] = [server(Some(deflate(|_| {}))), server(Some(deflate(|_| {})))];
        for end in [&mut first, &mut second] {
            // So that there is room in its block.
            end.connection.send_uncompressed(noise(10_000).into(), &mut end.output).unwrap();
            end.write_all();
        }
        first.connection.send_prepared(&prepared, &mut first.output).unwrap();
        let info = measure(|| second.connection.send_prepared(&prepared, &mut second.output).unwrap());
        assert_eq!(info.count_total, 0, "{} bytes", prepared.message().len());
        assert_eq!(first.write_all(), second.write_all());
    }
}

#[test]
fn nothing_is_sent_after_a_close() {
    let mut end = server(Some(deflate(|_| {})));
    end.close(None).unwrap();
    end.write_all();
    let sent = end.connection.send_prepared(&Prepared::new("late"), &mut end.output);
    assert_eq!((sent, end.output.remaining()), (Err(SendError::Closed), 0));
}
