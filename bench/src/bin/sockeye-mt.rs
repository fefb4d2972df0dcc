//! sockeye on tokio's multi-threaded runtime with two workers; otherwise as `sockeye`.

use std::io;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(sockeye_bench::ours::serve(|server| server))
}
