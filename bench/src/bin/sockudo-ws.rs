//! sockudo-ws: `feed` alone, for it flushes itself before it waits for more input.

use std::io;

use futures_util::{SinkExt, StreamExt};
use sockudo_ws::server::WebSocketServer;
use sockudo_ws::{Config, Http1, Message, Result, Stream, WebSocketStream};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    sockudo_ws::init_clock();
    sockeye_bench::current_thread(true)?.block_on(async {
        let listener = TcpListener::from_std(sockeye_bench::listen()?)?;
        let server = WebSocketServer::<Http1>::new(Config::default());
        server.serve(listener, |ws, _| async { drop(echo(ws).await) }).await.map_err(io::Error::other)
    })
}

async fn echo(mut ws: WebSocketStream<Stream<Http1>>) -> Result<()> {
    while let Some(message) = ws.next().await {
        let message = message?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            ws.feed(message).await?;
        }
    }
    Ok(())
}
