//! Checking UTF-8: what a text message costs beyond a binary one, and the checkers alone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye_proto::frame::{FrameHeader, Opcode};
use sockeye_proto::{BytesMut, Config, Connection, Output, Role};

fn texts(size: usize) -> [(&'static str, String); 3] {
    let records = [("ASCII", "{\"n\":1} "), ("umlauts", "{\"at\":\"Zürich, Köln\"} "), ("Greek", "κόσμε ")];
    records.map(|(name, record)| {
        let mut text = record.repeat(size / record.len() + 1);
        while text.len() > size {
            text.pop();
        }
        let missing = size - text.len();
        (name, text + &"x".repeat(missing))
    })
}

fn checkers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for size in [20, 1 << 10, 64 << 10] {
        group.throughput(Throughput::Bytes(size as u64));
        for (name, text) in texts(size) {
            group.bench_with_input(
                BenchmarkId::new(format!("simdutf8/{name}"), size),
                &text,
                |bencher, text| {
                    bencher.iter(|| simdutf8::compat::from_utf8(black_box(text.as_bytes())));
                },
            );
            group.bench_with_input(BenchmarkId::new(format!("std/{name}"), size), &text, |bencher, text| {
                bencher.iter(|| std::str::from_utf8(black_box(text.as_bytes())));
            });
        }
    }
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive one");
    for size in [20, 1 << 10, 64 << 10] {
        group.throughput(Throughput::Bytes(size as u64));
        for (name, opcode) in [("text", Opcode::Text), ("binary", Opcode::Binary)] {
            let key = [1, 2, 3, 4];
            let header = FrameHeader { fin: true, rsv: 0, opcode, mask: Some(key), length: size as u64 };
            let [_, (_, mut payload), _] = texts(size).map(|(name, text)| (name, text.into_bytes()));
            let _ = sockeye_proto::mask(&mut payload, key);
            let mut frame = Vec::new();
            header.write(&mut frame);
            frame.extend(payload);
            let now = Instant::now();
            let mut connection = Connection::new(Role::Server, Arc::new(Config::default()), now);
            let (mut input, mut output) = (BytesMut::new(), Output::new());
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    input.extend_from_slice(&frame);
                    connection.receive(&mut input, &mut output, || now)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, checkers, messages);
criterion_main!(benches);
