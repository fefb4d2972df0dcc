//! `sockeye serve`: a WebSocket echo, and a page to try it with.

mod hosts;
mod metrics;
mod site;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye::{Error, HttpConnection, Incoming, Metrics, Server, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Log, Serve};
use crate::exit::Exit;
use crate::signals::Interrupts;
use crate::{complain, tell};

use hosts::Hosts;
use metrics::Exposition;
use site::{ECHO, NOT_FOUND, Site, WRONG_HOST};

pub(crate) use hosts::host_of;

/// How long a client may take for the head of a plain HTTP request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(plan: Serve) -> Exit {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return Exit::Other;
        }
    };
    let exit = runtime.block_on(serve(plan)).unwrap_or_else(|error| {
        complain(error);
        Exit::Other
    });
    runtime.shutdown_background();
    exit
}

async fn serve(plan: Serve) -> io::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    start_log(plan.log);
    let token = match plan.metrics_token_file.as_deref().map(token).transpose() {
        Ok(token) => token,
        Err(error) => {
            complain(format_args!("--metrics-token-file: {error}"));
            return Ok(Exit::Other);
        }
    };
    let mut servers = Vec::new();
    for address in plan.listen.iter().chain(&plan.metrics_listen) {
        match listen(address, &plan).await {
            Ok(server) => servers.push(server),
            Err(error) => {
                complain(format_args!("cannot listen on {address}: {error}"));
                return Ok(Exit::Listen);
            }
        }
    }
    let for_metrics = plan.metrics_listen.as_ref().and_then(|_| servers.pop());
    // Not before all of them listen: whoever reads the first line may connect to any.
    for (_, address) in &servers {
        // If nobody listens to us, there may still be those who know the address.
        let _ = writeln!(io::stdout(), "listening on http://{address}/");
    }

    let (stop, stopped) = watch::channel(false);
    let counted = Metrics::new();
    let metrics = Arc::new(Exposition::new(counted.clone(), token.as_deref()));
    let mut beside = JoinSet::new();
    if let Some((server, address)) = for_metrics {
        let _ = writeln!(io::stdout(), "metrics on http://{address}/metrics");
        let hosts = if address.ip().is_loopback() { &plan.allow_host[..] } else { &[] };
        let site = Arc::new(Site::of_metrics(Hosts::new(address, hosts), metrics.clone(), stopped.clone()));
        let server = server.on_http(move |connection| answer(connection, site.clone()));
        beside.spawn(server.run(|incoming| incoming.reject(StatusCode::NOT_FOUND, NOT_FOUND)));
    }
    let mut running = JoinSet::new();
    for (server, address) in servers {
        let is_shown = plan.metrics_listen.is_none() && (address.ip().is_loopback() || metrics.wants_token());
        let shown = is_shown.then(|| metrics.clone());
        let site = Arc::new(Site::new(Hosts::new(address, &plan.allow_host), shown, stopped.clone()));
        let server = server.metrics(counted.clone());
        let mut stopped = stopped.clone();
        let shutdown = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        let pages = site.clone();
        let server = server.on_http(move |connection| answer(connection, pages.clone()));
        running.spawn(server.run_until(shutdown, move |incoming| echo(incoming, site.clone())));
    }
    interrupts.next().await;
    stop.send_replace(true);
    tell("closing all connections; Ctrl-C again to end at once");
    tokio::select! {
        () = interrupts.next() => Ok(Exit::Interrupted),
        results = running.join_all() => results.into_iter().collect::<io::Result<()>>().map(|()| Exit::Clean),
    }
}

/// Logs to stderr from now on, if that was asked for.
fn start_log(log: Option<Log>) {
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false);
    match log {
        None => {}
        Some(Log::Json) => subscriber.json().init(),
        Some(Log::Text) => subscriber.init(),
    }
}

/// Reads a token.
fn token(file: &Path) -> io::Result<String> {
    let token = std::fs::read_to_string(file)?.trim().to_owned();
    // RFC 6750 section 2.1: "b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=""
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there must be one token in it, without spaces",
        ));
    }
    Ok(token)
}

async fn listen(address: &str, plan: &Serve) -> io::Result<(Server, SocketAddr)> {
    let mut server = Server::bind(address).await?.config(plan.config.clone());
    for origin in &plan.allow_origin {
        server = if origin == "*" { server.allow_any_origin() } else { server.allow_origin(origin) };
    }
    let address = server.local_addr()?;
    Ok((server, address))
}

/// Answers one plain HTTP request. The connection is not kept alive: a further request on it might be an opening handshake,
/// and those are the library's to read.
async fn answer(connection: HttpConnection, site: Arc<Site>) {
    let service = service_fn(|request| {
        let response = site.respond(&request);
        async { Ok::<_, Infallible>(response) }
    });
    // What goes wrong is the client's doing and tells us nothing.
    let _ = http1::Builder::new()
        .keep_alive(false)
        // Whoever has ended its side, as `nc -N` does, still gets the answer.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

/// Sends back what comes, message for message. What comes is read no faster than it can be sent back.
async fn echo(incoming: Incoming, site: Arc<Site>) -> Result<(), Error> {
    if !site.answers_to(incoming.request().host()) {
        return incoming.reject(StatusCode::MISDIRECTED_REQUEST, WRONG_HOST).await;
    }
    if incoming.path() != ECHO {
        return incoming.reject(StatusCode::NOT_FOUND, NOT_FOUND).await;
    }
    let mut ws = incoming.accept().await?;
    ws.take_handshake();
    while let Some(message) = ws.recv().await? {
        match ws.send(message).await {
            // The server is closing: what still comes is read, so that the closing handshake can end.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
