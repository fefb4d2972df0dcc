//! sockudo-ws: `feed` alone, for it flushes itself before it waits for more input.
//!
//! Its server for HTTP/1.1 does not compress: for that the handshake is put together from its parts, as in its own server for
//! Autobahn Testsuite.

use std::io;

use bytes::BytesMut;
use futures_util::{Sink, SinkExt, Stream as Messages, StreamExt};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::error::Error;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::server::WebSocketServer;
use sockudo_ws::{CompressedWebSocketStream, Config, DeflateConfig, Http1, Message, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    sockudo_ws::init_clock();
    sockeye_bench::current_thread(true)?.block_on(async {
        if sockeye_bench::deflate_level().is_some() {
            return sockeye_bench::serve(|stream| async { drop(compressed(stream).await) }).await;
        }
        let listener = TcpListener::from_std(sockeye_bench::listen()?)?;
        let server = WebSocketServer::<Http1>::new(Config::default());
        server.serve(listener, |ws, _| async { drop(echo(ws).await) }).await.map_err(io::Error::other)
    })
}

async fn compressed(mut stream: TcpStream) -> Result<()> {
    let policy = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        compression_level: sockeye_bench::deflate_level().unwrap_or_default().into(),
        ..DeflateConfig::default()
    };
    let mut input = BytesMut::with_capacity(4096);
    let (response, deflate, consumed) = loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, consumed)) = parse_request(&input)? {
            let agreed = request.extensions.and_then(|offers| negotiate_server_deflate(offers, &policy));
            let agreed = agreed.ok_or(Error::HandshakeFailed("no compression"))?;
            let accept = generate_accept_key(request.key);
            break (
                build_response(&accept, None, Some(&agreed.to_response_header())),
                agreed.config,
                consumed,
            );
        }
    };
    stream.write_all(&response).await?;
    let rest = input.split_off(consumed).freeze();
    echo(CompressedWebSocketStream::server_with_leftover(stream, Config::default(), deflate, Some(rest)))
        .await
}

async fn echo(
    mut ws: impl Messages<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin,
) -> Result<()> {
    while let Some(message) = ws.next().await {
        let message = message?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            ws.feed(message).await?;
        }
    }
    Ok(())
}
