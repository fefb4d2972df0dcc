//! The opening handshake of the libraries that leave HTTP to hyper.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What a library makes of an upgrade request, `E` being its error.
pub type Upgrade<E> = fn(Request<Incoming>) -> Result<Response<Empty<Bytes>>, E>;

/// Answers each request with `upgrade`, which also spawns what is to follow.
pub async fn upgrade_with<E>(stream: TcpStream, upgrade: Upgrade<E>)
where
    E: std::error::Error + Send + Sync + 'static,
{
    let service = service_fn(move |request| std::future::ready(upgrade(request)));
    // An error here is a peer that went away.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}
