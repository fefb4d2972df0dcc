//! sockeye, by the loop that its front page shows.

use std::io;

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(true)?.block_on(sockeye_bench::ours::serve(|server| server))
}
