//! A page and an echo on one port, with axum:
//!
//! ```text
//! cargo run --example axum_server --features axum
//! sockeye connect ws://127.0.0.1:9000/echo
//! ```
//!
//! At the end of standard input (Ctrl-D) it goes down: axum takes no more connections, and the WebSockets are closed over two seconds.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, get};
use sockeye::{Drain, Error, Group, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let group = Group::new();
    let (shutdown, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        shutdown.send(())
    });
    let server = axum::serve(listener, router(group.clone()));
    server.with_graceful_shutdown(async { drop(stopped.await) }).await?;
    // axum has handed these over, and does not wait for them.
    let mut drain = Drain::default();
    drain.over = Duration::from_secs(2);
    println!("{:?}", group.drain(drain).await?);
    Ok(())
}

pub(crate) fn router(group: Group) -> Router {
    let routes = Router::new().route("/", get("There is a WebSocket at /echo.\n"));
    routes.route("/echo", any(upgrade)).with_state(group)
}

async fn upgrade(State(group): State<Group>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.subprotocols(["v2.echo", "v1.echo"]).allow_origin("https://app.example");
    upgrade.group(&group).on_upgrade(echo)
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
