//! tokio-websockets, after its `echo_server` example, in batches: all messages that are ready are read, and then all
//! replies are fed and flushed. (Its `next` writes what was fed: reading and feeding by turns would write each reply by itself.)

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_websockets::{Config, Error, ServerBuilder};

const BATCH: usize = 32;

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(false)?
        .block_on(sockeye_bench::serve(|stream| async { drop(unconstrained(echo(stream)).await) }))
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    // From 8 KiB on it would flush by itself.
    let config = Config::default().flush_threshold(64 << 10);
    let (_request, mut ws) = ServerBuilder::new().config(config).accept(stream).await?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(message) = ws.next().await {
        batch.push(message?);
        while batch.len() < BATCH
            && let Some(Some(message)) = ws.next().now_or_never()
        {
            batch.push(message?);
        }
        for message in batch.drain(..) {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
        }
        ws.flush().await?;
    }
    Ok(())
}
