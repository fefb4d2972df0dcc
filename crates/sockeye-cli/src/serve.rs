//! `sockeye serve`: a WebSocket echo, and a page to try it with.

mod certificate;
mod hosts;
mod listen;
mod metrics;
#[cfg(target_os = "linux")]
mod process;
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

use crate::args::{Certificate, Log, Serve};
use crate::exit::Exit;
use crate::signals::{Interrupts, Reloads};
use crate::{complain, tell};

use certificate::Shown;
use hosts::Hosts;
use listen::{Listening, listen};
use metrics::Exposition;
use site::{ECHO, NOT_FOUND, Site, WRONG_HOST};

pub(crate) use hosts::host_of;

/// How long a client may take for the head of a plain HTTP request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(plan: Serve) -> Exit {
    // Before there are other threads: it takes them out of the environment.
    let inherited = listen::inherited(&plan.listen);
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return Exit::Other;
        }
    };
    let exit = runtime.block_on(serve(plan, inherited)).unwrap_or_else(|error| {
        complain(error);
        Exit::Other
    });
    runtime.shutdown_background();
    exit
}

async fn serve(plan: Serve, inherited: listen::Inherited) -> io::Result<Exit> {
    let (mut interrupts, mut reloads) =
        (Interrupts::new()?, Reloads::new(matches!(plan.tls, Certificate::Files { .. }))?);
    start_log(plan.log);
    let token = match plan.metrics_token_file.as_deref().map(token).transpose() {
        Ok(token) => token,
        Err(error) => {
            complain(format_args!("--metrics-token-file: {error}"));
            return Ok(Exit::Other);
        }
    };
    let (mut listening, for_metrics) = match listen(&plan, inherited).await {
        Ok(listening) => listening,
        Err((place, error)) => {
            complain(format_args!("cannot listen on {place}: {error}"));
            return Ok(Exit::Listen);
        }
    };
    let shown = match Shown::new(&plan.tls, &listening) {
        Ok(shown) => shown,
        Err(error) => {
            complain(error);
            return Ok(Exit::Usage);
        }
    };
    let is_tls = shown.tls().is_some();
    // Not before all of them listen: whoever reads the first line may connect to any.
    announce(&listening, is_tls);

    let (stop, mut stopped) = watch::channel(false);
    let counted = Metrics::new();
    let places: Vec<_> = listening.iter().map(|listening| listening.address).collect();
    let mut server = Server::from_listener(listening.remove(0).listener).metrics(counted.clone());
    for Listening { listener, .. } in listening {
        server = server.listen(listener);
    }
    let metrics = Arc::new(Exposition::new(counted, server.connections(), token.as_deref()));
    // Ended when this function is: it outlives the other server.
    let mut beside = JoinSet::new();
    if let Some(listening) = for_metrics {
        beside.spawn(serve_metrics(listening, &plan, metrics.clone(), stopped.clone()));
    }
    let site = |address: Option<SocketAddr>| {
        let is_local = address.is_none_or(|address| address.ip().is_loopback());
        let is_shown = plan.metrics_listen.is_none() && (is_local || metrics.wants_token());
        let shown = is_shown.then(|| metrics.clone());
        Site::new(Hosts::new(address, &plan.allow_host), is_tls, shown, stopped.clone())
    };
    let sites: Arc<[Site]> = places.into_iter().map(site).collect();
    if let Some(tls) = shown.tls() {
        server = server.tls(tls.clone());
    }
    let (server, pages) = (set_up(server, &plan), sites.clone());
    let server = server.on_http(move |connection| answer(connection, pages.clone()));

    let shutdown = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    let mut running = tokio::spawn(server.run_until(shutdown, move |incoming| echo(incoming, sites.clone())));
    loop {
        tokio::select! {
            () = interrupts.next() => break,
            () = reloads.next() => shown.reload(),
            ended = &mut running => return ended?.map(|_| Exit::Clean),
        }
    }
    stop.send_replace(true);
    tell("closing all connections; Ctrl-C again to end at once");
    tokio::select! {
        () = interrupts.next() => Ok(Exit::Interrupted),
        ended = running => {
            let drained = ended??;
            let others = drained.lost + drained.aborted;
            if others > 0 {
                tell(format_args!("{} closed cleanly, {others} did not", drained.clean));
            }
            Ok(Exit::Clean)
        }
    }
}

/// Tells where the WebSockets are.
fn announce(listening: &[Listening], is_tls: bool) {
    for Listening { place, .. } in listening {
        let url = match place.strip_prefix("unix:") {
            Some(_) => place.clone(),
            None if is_tls => format!("https://{place}/"),
            None => format!("http://{place}/"),
        };
        // If nobody listens to us, there may still be those who know the address.
        let _ = writeln!(io::stdout(), "listening on {url}");
    }
}

/// A server for metrics and probes alone, without TLS, and without the other's limits: who watches is let in when all others are not.
fn serve_metrics(
    Listening { listener, address, place }: Listening,
    plan: &Serve,
    metrics: Arc<Exposition>,
    stopped: watch::Receiver<bool>,
) -> impl Future<Output = io::Result<()>> + use<> {
    let _ = writeln!(io::stdout(), "metrics on http://{place}/metrics");
    let is_loopback = address.is_some_and(|address| address.ip().is_loopback());
    let hosts = if is_loopback { &plan.allow_host[..] } else { &[] };
    let sites: Arc<[Site]> = Arc::new([Site::of_metrics(Hosts::new(address, hosts), metrics, stopped)]);
    let server = Server::from_listener(listener).config(plan.config.clone());
    let server = server.on_http(move |connection| answer(connection, sites.clone()));
    server.run(|incoming| incoming.reject(StatusCode::NOT_FOUND, NOT_FOUND))
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

/// Does with the server what was asked for.
fn set_up(mut server: Server, plan: &Serve) -> Server {
    for origin in &plan.allow_origin {
        server = if origin == "*" { server.allow_any_origin() } else { server.allow_origin(origin) };
    }
    if let Some(most) = plan.max_connections {
        server = server.max_connections(most);
    }
    if let Some(most) = plan.max_connections_per_addr {
        server = server.max_connections_per_addr(most);
    }
    let tell_error = |error: &io::Error| complain(format_args!("cannot accept connections: {error}"));
    server.config(plan.config.clone()).drain(plan.drain.clone()).on_accept_error(tell_error)
}

/// Answers one plain HTTP request. The connection is not kept alive: a further request on it might be an opening handshake,
/// and those are the library's to read.
async fn answer(connection: HttpConnection, sites: Arc<[Site]>) {
    let site = &sites[connection.listener()];
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
async fn echo(incoming: Incoming, sites: Arc<[Site]>) -> Result<(), Error> {
    let site = &sites[incoming.listener()];
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
