//! Measures what compression costs and gains under several settings, and prints the table of `docs/compression.md`.
//!
//! usage: `cargo run --release -p sockeye-proto --example compression`
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::Buf;
use sockeye_proto::{BytesMut, Config, Connection, Deflate, Event, Message, Output, Role};

const MESSAGES: usize = 400;
const SIZES: [usize; 3] = [200, 1 << 10, 16 << 10];

/// Updates in JSON, cut to a length.
fn messages(size: usize) -> Vec<Message> {
    let names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut message = || {
        let mut text = String::from("{\"type\":\"update\",\"items\":[");
        while text.len() < size {
            let name = names[usize::try_from(next(8)).unwrap_or_default()];
            let (id, price, cents, minute, millis) =
                (next(1_000_000), next(500), next(100), next(60), next(60_000));
            let _ = write!(
                text,
                "{{\"id\":{id},\"user\":\"{name}\",\"price\":{price}.{cents:02},\"time\":\"2026-11-20T19:{minute:02}:{:02}.{:03}Z\"}},",
                millis / 1000,
                millis % 1000
            );
        }
        text.truncate(size);
        Message::from(text)
    };
    (0..MESSAGES).map(|_| message()).collect()
}

fn configured(deflate: Option<Deflate>) -> Arc<Config> {
    let mut config = Config::default();
    config.deflate = deflate;
    config.masking_key = || [1, 2, 3, 4];
    Arc::new(config)
}

fn end(role: Role, config: &Arc<Config>) -> Connection {
    let mut end = Connection::new(role, config.clone(), Instant::now());
    if let Some((_, agreed)) = config.deflate.and_then(|deflate| deflate.answer(&[deflate.offer()])) {
        end.start_deflate(agreed);
    }
    end
}

/// Bytes a message, and microseconds to send and to receive one.
fn exchange(deflate: Option<Deflate>, messages: &[Message]) -> (f64, f64, f64) {
    let config = configured(deflate);
    let (mut server, mut client) = (end(Role::Server, &config), end(Role::Client, &config));
    let (mut output, mut input, mut bytes) = (Output::new(), BytesMut::new(), 0);
    let (mut send, mut receive) = (Duration::MAX, Duration::MAX);
    for _ in 0..15 {
        let start = Instant::now();
        for message in messages {
            server.send(message.clone(), &mut output).expect("open");
        }
        let middle = Instant::now();
        bytes = output.remaining();
        while output.has_remaining() {
            let chunk = output.chunk();
            input.extend_from_slice(chunk);
            let length = chunk.len();
            output.advance(length);
        }
        let before = Instant::now();
        let mut count = 0;
        while let Some(event) = client.receive(&mut input, &mut output, Instant::now).expect("right") {
            count += usize::from(matches!(black_box(event), Event::Message(_)));
        }
        assert_eq!(count, messages.len());
        (send, receive) = (send.min(middle - start), receive.min(before.elapsed()));
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / MESSAGES as f64;
    (bytes as f64 / MESSAGES as f64, each(send), each(receive))
}

/// Bytes of memory of a server's connection that has sent and received compressed messages, and is idle or not yet.
fn held(deflate: Deflate, is_idle: bool) -> f64 {
    const CONNECTIONS: usize = 50;
    let (message, now) = (messages(1 << 10).remove(0), Instant::now());
    let config = configured(Some(deflate));
    let server = || {
        let (mut server, mut client) = (end(Role::Server, &config), end(Role::Client, &config));
        let mut output = Output::new();
        for i in 0..80 {
            let (from, to) = if i % 2 == 0 { (&mut server, &mut client) } else { (&mut client, &mut server) };
            from.send(message.clone(), &mut output).expect("open");
            from.on_written(1, || now);
            let mut input = BytesMut::from(&output.copy_to_bytes(output.remaining())[..]);
            to.receive(&mut input, &mut output, || now).expect("right");
        }
        if is_idle {
            for seconds in [6, 12] {
                server.handle_deadline(&mut output, now + Duration::from_secs(seconds)).expect("alive");
            }
        }
        server
    };
    // What is the thread's is there afterwards.
    drop(server());
    let mut held = Vec::with_capacity(CONNECTIONS);
    let with = measure(|| held.extend((0..CONNECTIONS).map(|_| server())));
    with.bytes_current as f64 / CONNECTIONS as f64
}

fn main() {
    let all = SIZES.map(messages);
    println!("| settings | 200 B | 1 KiB | 16 KiB | in use | idle |");
    println!("|---|---|---|---|---|---|");
    let settings = |takes_over: bool, level, mem_level, bits| {
        let mut deflate = Deflate::default();
        deflate.server_no_context_takeover = Some(!takes_over);
        deflate.client_no_context_takeover = Some(!takes_over);
        (deflate.level, deflate.mem_level, deflate.threshold) = (level, mem_level, 0);
        (deflate.server_max_window_bits, deflate.client_max_window_bits) = (bits, bits);
        deflate
    };
    let mut rows = vec![("plain".to_owned(), None)];
    for (takes_over, level, mem_level, bits) in [
        (false, 1, 8, 15),
        (false, 3, 8, 15),
        (false, 6, 8, 15),
        (true, 1, 8, 15),
        (true, 3, 8, 15),
        (true, 6, 8, 15),
        (true, 3, 5, 12),
        (true, 3, 4, 11),
        (true, 3, 1, 9),
    ] {
        let takeover = if takes_over { "takeover" } else { "no takeover" };
        let name = format!("{takeover}, level {level}, window {bits}, memory {mem_level}");
        rows.push((name, Some(settings(takes_over, level, mem_level, bits))));
    }
    for (name, deflate) in rows {
        let cells = all.each_ref().map(|messages| {
            let (bytes, send, receive) = exchange(deflate, messages);
            let percent = 100.0 * bytes / messages[0].len() as f64;
            format!("{percent:.0} %, {send:.1} + {receive:.1} µs")
        });
        let memory = deflate.map_or(["-".to_owned(), "-".to_owned()], |deflate| {
            [false, true].map(|is_idle| format!("{:.1} KiB", held(deflate, is_idle) / 1024.0))
        });
        println!("| {name} | {} | {} | {} | {} | {} |", cells[0], cells[1], cells[2], memory[0], memory[1]);
    }
}
