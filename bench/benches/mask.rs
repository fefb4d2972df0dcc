//! Unmasking, beside copying as many bytes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in [20, 125, 1 << 10, 16 << 10, 64 << 10] {
        group.throughput(Throughput::Bytes(size));
        let mut payload = vec![7; usize::try_from(size).unwrap_or_default()];
        let source = payload.clone();
        group.bench_with_input(BenchmarkId::new("mask", size), &size, |bencher, _| {
            bencher.iter(|| sockeye_proto::mask(black_box(&mut payload), black_box([1, 2, 3, 4])));
        });
        group.bench_with_input(BenchmarkId::new("copy", size), &size, |bencher, _| {
            bencher.iter(|| black_box(&mut payload[..]).copy_from_slice(black_box(&source)));
        });
    }
    group.finish();
}

criterion_group!(benches, masking);
criterion_main!(benches);
