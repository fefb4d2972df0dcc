//! `sockeye serve`: a WebSocket echo, and a page to try it with.

mod certificate;
mod hosts;
mod listen;
mod live;
mod metrics;
mod notify;
#[cfg(target_os = "linux")]
mod process;
mod site;

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye::{Drained, Error, HttpConnection, Incoming, Metrics, Server, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Certificate, Log, Serve};
use crate::exit::Exit;
use crate::signals::{Interrupts, Reloads};
use crate::{complain, tell};

use listen::{Listening, listen};
use live::{Fixed, Live, files};
use notify::Notify;
use site::{ECHO, NOT_FOUND, Site, WRONG_HOST};

pub(crate) use hosts::host_of;
#[cfg(test)]
pub(crate) use live::LIVE;

/// How long a client may take for the head of a plain HTTP request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(plan: Serve) -> Exit {
    // Before there are other threads: it takes them out of the environment.
    let inherited = listen::inherited(&plan.listen);
    // Workers have runtimes of their own; what is left is signals and metrics.
    let runtime = if plan.workers.is_some() { one_thread() } else { Runtime::new() };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return Exit::Other;
        }
    };
    let exit = runtime.block_on(serve(plan, inherited)).unwrap_or_else(|Failure(exit, why)| {
        complain(why);
        exit
    });
    runtime.shutdown_background();
    exit
}

fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Why the program ends, and with which code.
struct Failure(Exit, String);

impl<E: Into<io::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Exit::Other, error.into().to_string())
    }
}

async fn serve(plan: Serve, inherited: listen::Inherited) -> Result<Exit, Failure> {
    let notify = Notify::new()?;
    let is_read_again = !files(&plan).is_empty() || notify.is_wanted();
    let (mut interrupts, mut reloads) = (Interrupts::new()?, Reloads::new(is_read_again)?);
    start_log(plan.log);
    let cannot = |(place, error)| Failure(Exit::Listen, format!("cannot listen on {place}: {error}"));
    let (listening, for_metrics) = listen(&plan, inherited).await.map_err(cannot)?;
    let (stop, stopped) = watch::channel(false);
    let counted = Metrics::new();
    let workers = plan.workers;
    let urls = urls(&listening, !matches!(plan.tls, Certificate::None));
    let addresses = listening.iter().map(|listening| listening.address).collect();
    let mut listeners = listening.into_iter().map(|listening| listening.listener);
    let first = listeners.next().ok_or_else(|| Failure(Exit::Listen, "nowhere to listen".into()))?;
    let mut server = listeners.fold(Server::from_listener(first), Server::listen).metrics(counted.clone());
    let for_metrics = for_metrics
        .map(|Listening { listener, address, place }| (Server::from_listener(listener), address, place));
    let control = server.control();
    let metrics = for_metrics.as_ref().map(|(server, address, _)| (*address, server.control()));
    let fixed = Fixed { addresses, control: control.clone(), metrics, counted, stopped };
    let mut live = Live::new(plan, fixed).map_err(|why| Failure(Exit::Usage, why))?;
    if let Some(tls) = live.tls() {
        server = server.tls(tls.clone());
    }
    let tell_error = |error: &io::Error| complain(format_args!("cannot accept connections: {error}"));
    let pages = live.pages();
    let server = server
        .on_accept_error(tell_error)
        .on_http(move |connection| answer(connection, pages.borrow().main.clone()));
    // All of them listen before the first is run, which takes its own listeners with it.
    let others = (1..workers.unwrap_or(1)).map(|_| server.worker()).collect::<io::Result<Vec<_>>>();
    let others = others
        .map_err(|error| Failure(Exit::Listen, format!("cannot listen once for each worker: {error}")))?;
    // Whoever reads the first line may connect to any.
    for url in urls {
        // If nobody listens to us, there may still be those who know the address.
        let _ = writeln!(io::stdout(), "listening on {url}");
    }

    // Ended when this function is: it outlives the other server.
    let mut beside = JoinSet::new();
    if let Some((server, _, place)) = for_metrics {
        let _ = writeln!(io::stdout(), "metrics on http://{place}/metrics");
        let pages = live.pages();
        let server = server.on_http(move |connection| answer(connection, pages.borrow().metrics.clone()));
        beside.spawn(server.run(|incoming| incoming.reject(StatusCode::NOT_FOUND, NOT_FOUND)));
    }
    let servers = others.into_iter().chain([server]);
    let mut running = JoinSet::new();
    for server in servers {
        let pages = live.pages();
        let server =
            server.run_until(pending::<()>(), move |incoming| echo(incoming, pages.borrow().main.clone()));
        if workers.is_some() {
            running.spawn_blocking(move || one_thread()?.block_on(server));
        } else {
            running.spawn(server);
        }
    }
    notify.ready();

    loop {
        tokio::select! {
            () = interrupts.next() => break,
            () = reloads.next() => {
                notify.reloading();
                match live.read_again() {
                    Ok(told) => tell(told),
                    Err(error) => complain(format_args!("all stays as it was: {error}")),
                }
                notify.ready();
            }
            Some(ended) = running.join_next() => return Ok(ended?.map(|_| Exit::Clean)?),
        }
    }
    notify.stopping();
    stop.send_replace(true);
    control.shut_down();
    tell("closing all connections; Ctrl-C again to end at once");
    tokio::select! {
        () = interrupts.next() => Ok(Exit::Interrupted),
        drained = all(running) => {
            let drained = drained?;
            let others = drained.lost + drained.aborted;
            if others > 0 {
                tell(format_args!("{} closed cleanly, {others} did not", drained.clean));
            }
            Ok(Exit::Clean)
        }
    }
}

/// Where the WebSockets are.
fn urls(listening: &[Listening], is_tls: bool) -> Vec<String> {
    let url = |Listening { place, .. }: &Listening| match place.strip_prefix("unix:") {
        Some(_) => place.clone(),
        None if is_tls => format!("https://{place}/"),
        None => format!("http://{place}/"),
    };
    listening.iter().map(url).collect()
}

/// How all of them have ended.
async fn all(mut running: JoinSet<io::Result<Drained>>) -> io::Result<Drained> {
    let mut drained = Drained::default();
    while let Some(ended) = running.join_next().await {
        drained = drained + ended??;
    }
    Ok(drained)
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
