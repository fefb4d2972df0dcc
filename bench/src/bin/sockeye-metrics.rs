//! sockeye with its metrics on; otherwise as `sockeye`.

use std::io;

use sockeye::Metrics;

fn main() -> io::Result<()> {
    let serving = sockeye_bench::ours::serve(|server| server.metrics(Metrics::new()));
    sockeye_bench::current_thread(true)?.block_on(serving)
}
