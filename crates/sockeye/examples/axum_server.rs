//! A page and an echo on one port, with axum:
//!
//! ```text
//! cargo run --example axum_server --features axum
//! sockeye connect ws://127.0.0.1:9000/echo
//! ```

use std::io;

use axum::Router;
use axum::response::Response;
use axum::routing::{any, get};
use sockeye::{Error, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    axum::serve(listener, router()).await
}

pub(crate) fn router() -> Router {
    Router::new().route("/", get("There is a WebSocket at /echo.\n")).route("/echo", any(upgrade))
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.subprotocols(["v2.echo", "v1.echo"]).allow_origin("https://app.example").on_upgrade(echo)
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
