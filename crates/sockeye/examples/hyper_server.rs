//! A page and an echo on one port, with hyper:
//!
//! ```text
//! cargo run --example hyper_server --features hyper
//! sockeye connect ws://127.0.0.1:9000/echo
//! ```
//!
//! A WebSocket runs in the task of the connection that it came on, so that whoever waits for those tasks waits for all.

use std::convert::Infallible;
use std::io;
use std::sync::Mutex;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sockeye::{Bytes, Error, UpgradeError, Upgrading, WebSocket};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    serve(listener).await
}

pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_connection(stream));
    }
}

async fn serve_connection(stream: TcpStream) {
    let upgrading = Mutex::new(None);
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(request, &upgrading)));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    let upgrading = upgrading.into_inner().ok().flatten();
    if let (Ok(()), Some(upgrading)) = (served, upgrading) {
        // What goes wrong is the client's doing and tells us nothing.
        let _ = echo(upgrading).await;
    }
}

fn answer(mut request: Request<Incoming>, upgrading: &Mutex<Option<Upgrading>>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/" => Response::new("There is a WebSocket at /echo.\n".into()),
        "/echo" => upgrade(&mut request, upgrading).unwrap_or_else(UpgradeError::into_response),
        _ => {
            let mut response = Response::new("Not found.\n".into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

fn upgrade(
    request: &mut Request<Incoming>,
    upgrading: &Mutex<Option<Upgrading>>,
) -> Result<Response<Full<Bytes>>, UpgradeError> {
    let upgrade = sockeye::upgrade(request)?.allow_origin("https://app.example");
    let (response, future) = upgrade.subprotocols(["v2.echo", "v1.echo"]).accept()?;
    *upgrading.lock().expect("nobody panics while it is locked") = Some(future);
    Ok(response)
}

async fn echo(upgrading: Upgrading) -> Result<(), Error> {
    let mut ws: WebSocket = upgrading.await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
