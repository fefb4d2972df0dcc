//! An echo server for one connection that takes its context over, where the client does; `sockeye serve` forgets each message.
//!
//! Run by `conformance/run peers`. Prints its address, and exits 0 after a closing handshake.

use std::error::Error;

use sockeye::{Config, Deflate, Incoming};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(false);
    deflate.client_no_context_takeover = Some(false);
    deflate.threshold = 0;
    let mut config = Config::default();
    config.deflate = Some(deflate);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let (stream, _) = listener.accept().await?;
    let mut ws = Incoming::read(stream, config).await?.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
