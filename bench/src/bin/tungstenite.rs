//! tungstenite by tokio-tungstenite: `feed` while messages are ready, then `flush`.
//!
//! Its read buffer of 128 KiB is zeroed for each read, which doubles what a small message costs; here it holds one batch of any
//! case with messages of up to 1 KiB. For many connections its documentation recommends 4 KiB.

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(false)?
        .block_on(sockeye_bench::serve(|stream| async { drop(echo(stream).await) }))
}

async fn echo(stream: TcpStream) -> tungstenite::Result<()> {
    let read_buffer = if sockeye_bench::is_idle_case() { 4 << 10 } else { 20 << 10 };
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let mut ws = accept_async_with_config(stream, Some(config)).await?;
    while let Some(message) = ws.next().await {
        let mut message = message?;
        loop {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
            match ws.next().now_or_never() {
                Some(Some(next)) => message = next?,
                Some(None) => return Ok(()),
                None => break,
            }
        }
        ws.flush().await?;
    }
    Ok(())
}
