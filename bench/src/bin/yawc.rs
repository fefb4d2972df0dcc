//! yawc, with the buffers and the batches of 32 that its README measures with, or those that it recommends for many idle
//! connections; UTF-8 is checked, as by all others. Deflaters and inflaters are pooled, as it recommends without context takeover.

use std::io;
use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::{Request, Response};
use yawc::{
    CompressionLevel, DeflateOptions, DeflatePool, OpCode, Options, UpgradeFut, WebSocket, WebSocketError,
};

const BATCH: usize = 32;

/// What `bench/run` asks for, if it is compression at all.
static DEFLATE: LazyLock<Option<DeflateOptions>> = LazyLock::new(|| {
    let level = sockeye_bench::deflate_level()?;
    Some(DeflateOptions {
        level: CompressionLevel::new(level.into()),
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        pool: Some(DeflatePool::new(64)),
        ..DeflateOptions::default()
    })
});

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(true)?.block_on(sockeye_bench::serve(|stream| async {
        sockeye_bench::http::upgrade_with(stream, accept).await;
    }))
}

fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    // Its default limit is "exclusive": a message of 1 MiB does not pass.
    let mut options = Options::default().without_compression().with_utf8().with_limits(16 << 20, 32 << 20);
    options.compression.clone_from(&DEFLATE);
    options = if sockeye_bench::is_idle_case() {
        options.with_read_buffer_capacity(1 << 10).with_write_buffer_capacity(1 << 10)
    } else {
        options.with_read_buffer_capacity(128 << 10).with_backpressure_boundary(64 << 10)
    };
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(echo(upgraded));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = upgraded.await?;
    loop {
        let mut frame = ws.next_frame().await?;
        for fed in 1.. {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => ws.feed(frame).await?,
                OpCode::Close => return ws.flush().await,
                _ => {}
            }
            if fed == BATCH {
                break;
            }
            match ws.next_frame().now_or_never() {
                Some(next) => frame = next?,
                None => break,
            }
        }
        ws.flush().await?;
    }
}
