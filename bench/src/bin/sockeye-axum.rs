//! sockeye as an extractor of axum's, on axum's own server; otherwise as `sockeye`.

use std::io;
use std::sync::Arc;

use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use sockeye::{Config, Error, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(true)?.block_on(async {
        let listener = TcpListener::from_std(sockeye_bench::listen()?)?;
        let config = Extension(Arc::new(Config::default()));
        let router = Router::new().route("/", any(upgrade)).layer(config);
        // As the other servers do, for the response; sockeye does it for what follows.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).await
    })
}

async fn upgrade(upgrade: WebSocketUpgrade, config: Extension<Arc<Config>>) -> Response {
    upgrade.config(config.0).on_upgrade(echo)
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    if sockeye_bench::is_idle_case() {
        drop(ws.take_handshake());
    }
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
