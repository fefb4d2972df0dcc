//! sockeye with its metrics on, and spans that are kept and written nowhere; otherwise as `sockeye`.

use std::io;

use sockeye::Metrics;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> io::Result<()> {
    tracing_subscriber::registry().init();
    let serving = sockeye_bench::ours::serve(|server| server.metrics(Metrics::new()));
    sockeye_bench::current_thread(true)?.block_on(serving)
}
