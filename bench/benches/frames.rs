//! Headers, encoding, and the whole way of a batch through the core.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye_proto::frame::{FrameHeader, Opcode};
use sockeye_proto::{Bytes, BytesMut, Config, Connection, Event, Message, Output, Role};

const KEY: [u8; 4] = [1, 2, 3, 4];
const BATCH: u64 = 16;
const SIZE: usize = 20;

fn header_of(length: u64) -> FrameHeader {
    FrameHeader { fin: true, rsv: 0, opcode: Opcode::Binary, mask: Some(KEY), length }
}

/// As many masked frames as are in flight in the pipelined cases.
fn batch() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..BATCH {
        header_of(SIZE as u64).write(&mut bytes);
        bytes.extend([7; SIZE]);
    }
    bytes
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for length in [20, 1 << 10, 1 << 20] {
        let mut bytes = Vec::new();
        header_of(length).write(&mut bytes);
        group.bench_with_input(BenchmarkId::new("parse", length), &bytes, |bencher, bytes| {
            bencher.iter(|| FrameHeader::parse(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("write", length), &header_of(length), |bencher, header| {
            let mut bytes = Vec::with_capacity(64);
            bencher.iter(|| {
                bytes.clear();
                black_box(header).write(&mut bytes);
                black_box(bytes.len())
            });
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in [20, 1 << 10, 64 << 10] {
        group.throughput(Throughput::Bytes(size));
        let payload = Bytes::from(vec![7; usize::try_from(size).unwrap_or_default()]);
        for (name, role) in [("server", Role::Server), ("client", Role::Client)] {
            let mut connection = Connection::new(role, Arc::new(Config::default()), Instant::now());
            let mut output = Output::new();
            group.bench_with_input(BenchmarkId::new(name, size), &payload, |bencher, payload| {
                bencher.iter(|| {
                    let sent = connection.send(Message::Binary(payload.clone()), &mut output);
                    drain(&mut output);
                    sent
                });
            });
        }
    }
    group.finish();
}

fn pipelined(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("16 frames of 20 B");
    group.throughput(Throughput::Elements(BATCH));
    let (bytes, now) = (batch(), Instant::now());
    let (mut input, mut output) = (BytesMut::new(), Output::new());
    let mut connection = Connection::new(Role::Server, Arc::new(Config::default()), now);
    group.bench_function("receive", |bencher| {
        bencher.iter(|| {
            input.extend_from_slice(&bytes);
            let mut count = 0;
            while let Ok(Some(Event::Message(message))) = connection.receive(&mut input, &mut output, || now)
            {
                count += message.len();
            }
            assert_eq!(count, SIZE * 16);
        });
    });
    group.bench_function("echo", |bencher| {
        bencher.iter(|| {
            input.extend_from_slice(&bytes);
            while let Ok(Some(Event::Message(message))) = connection.receive(&mut input, &mut output, || now)
            {
                assert!(connection.send(message, &mut output).is_ok());
            }
            drain(&mut output);
        });
    });
    group.finish();
}

/// Takes the output as a socket would.
fn drain(output: &mut Output) {
    let count = output.remaining();
    output.advance(count);
}

criterion_group!(benches, headers, encoding, pipelined);
criterion_main!(benches);
