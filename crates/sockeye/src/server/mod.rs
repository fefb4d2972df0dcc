//! The server's end: accepting connections.

mod accept;
mod settings;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use sockeye_proto::Config;
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::client_addr::{ForwardedBy, Networks};
use crate::drain::{Drain, Drained};
use crate::error::Error;
use crate::http_connection::HttpConnection;
use crate::incoming::Incoming;
use crate::limits::Connections;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::tls::ServerTls;
use accept::AcceptErrors;
pub use settings::{Control, Settings};

type HttpHandler = dyn Fn(HttpConnection) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Accepts connections on TCP addresses and unix sockets, with TLS or without, each in a task of its own.
///
/// Pages of other origins are refused with 403 unless they are [let in](Self::allow_origin). Settings can be changed while it runs, by its [`Control`].
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let server = sockeye::Server::bind("127.0.0.1:9000").await?;
/// server.run(|incoming| async move {
///     let mut ws = incoming.accept().await?;
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }).await
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    tls: Option<ServerTls>,
    http: Option<Arc<HttpHandler>>,
    accept_errors: Option<Arc<AcceptErrors>>,
    control: Control,
}

impl Server {
    /// Listens on an address; port 0 picks one, which [`local_addr`](Self::local_addr) tells.
    ///
    /// # Errors
    ///
    /// As [`Listener::tcp`].
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Listener::tcp(address).await.map(Self::from_listener)
    }

    /// Listens on what is given: a unix socket, or what somebody else has bound.
    pub fn from_listener(listener: impl Into<Listener>) -> Self {
        Self {
            listeners: vec![listener.into()],
            tls: None,
            http: None,
            accept_errors: None,
            control: Control::new(),
        }
    }

    /// Listens on this too.
    #[must_use]
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// The first TCP address listened on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrNotAvailable`] if there are unix sockets only.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut addresses = self.listeners.iter().filter_map(Listener::local_addr);
        addresses.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Speaks TLS, on all listeners. It is set up in the connection's task, within [`Config::tls_timeout`] and [`Config::open_timeout`].
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets all [`Settings`], in place of what the other setters have set of them.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        self.control.set(settings);
        self
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        self.set(|settings| settings.config = config)
    }

    /// Sets pages of which origins are let in beside the server's own (RFC 6455 section 10.2).
    #[must_use]
    pub fn origins(self, origins: Origins) -> Self {
        self.set(|settings| settings.origins = origins)
    }

    /// Lets in pages of this origin too, such as `https://app.example.com`, or of all that match a pattern, such as `https://*.example.com`. What is neither is compared as it is, and lets in
    /// nobody; [`Origins::new`] says so, and has the grammar.
    #[must_use]
    pub fn allow_origin(self, origin: impl Into<String>) -> Self {
        self.set(|settings| settings.origins.add(origin.into()))
    }

    /// Lets in pages of any origin: with the visitor's cookies, if the browser sends them.
    #[must_use]
    pub fn allow_any_origin(self) -> Self {
        self.origins(Origins::any())
    }

    /// Counts what the connections do; without this nothing is counted.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        self.control.set_metrics(metrics);
        self
    }

    /// Hands over what is not an opening handshake, such as a browser's request for a page, to an HTTP server. Without
    /// this it is answered with 426 (Upgrade Required).
    #[must_use]
    pub fn on_http<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(HttpConnection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.http = Some(Arc::new(move |connection| Box::pin(handler(connection))));
        self
    }

    /// Takes so many connections at once; as many as there are file descriptors by default, of which each takes one.
    ///
    /// Whoever comes when there are so many gets, without TLS, a response of 503 (Service Unavailable) as far as that can be written at once, and the
    /// connection ends. Nothing is read, and no task is made for it. [`connections`](Self::connections) counts them.
    ///
    /// Those that are being [opened](Self::max_opening) count too.
    #[must_use]
    pub fn max_connections(self, most: usize) -> Self {
        self.set(|settings| settings.max_connections = Some(most))
    }

    /// Takes so many connections at once that are being opened: from their accept until their request is read or refused, with TLS and a proxy's header before it, and without what
    /// handlers take. Those beyond are refused as by [`max_connections`](Self::max_connections). As many as that by default.
    ///
    /// An opening takes more memory than an idle WebSocket, and with TLS more time of the processor than many messages. When all clients come back at once, openings that compete for it may
    /// all miss their deadline; with a limit, some get through and the others try again later.
    ///
    /// Whoever opens connections and says nothing on them takes no more than these places, for [`Config::open_timeout`] each. Meanwhile others who come are refused too: against that there are
    /// shorter deadlines ([`Config::tls_timeout`], [`Config::upgrade_timeout`]) and [`max_connections_per_addr`](Self::max_connections_per_addr).
    #[must_use]
    pub fn max_opening(self, most: usize) -> Self {
        self.set(|settings| settings.max_opening = Some(most))
    }

    /// Takes so many connections at once from one address of IPv4, or from one network of 64 bits of IPv6. Those beyond are refused as by
    /// [`max_connections`](Self::max_connections). Clients of trusted proxies count each by its own address, once that is known, and are told 503 then, within TLS too. Unix sockets
    /// have no addresses, and no such limit.
    #[must_use]
    pub fn max_connections_per_addr(self, most: usize) -> Self {
        self.set(|settings| settings.max_connections_per_addr = Some(most))
    }

    /// Expects a header of the [PROXY protocol], version 1 or 2, before all else, from those in these networks, who are let in only with it:
    /// [`Incoming::client_addr`] is what it says. From others it is an error, as any other bytes that are no request are.
    ///
    /// Prefer version 2: the length of a header of version 1 is not known before its end, so that it is read octet by octet.
    ///
    /// [PROXY protocol]: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
    #[must_use]
    pub fn proxy_protocol(self, proxies: Networks) -> Self {
        self.set(|settings| settings.proxy_protocol = Some(proxies))
    }

    /// Believes proxies in these networks what they say in this header field of where their clients are: [`Incoming::client_addr`] is the last address there
    /// that is in none of these networks. Name the field that your proxies set; another would come from clients unchanged.
    ///
    /// ```
    /// # fn example(server: sockeye::Server) -> Result<sockeye::Server, sockeye::NetworkError> {
    /// use sockeye::{ForwardedBy, Networks};
    ///
    /// let server = server.forwarded(ForwardedBy::XForwardedFor, Networks::new(["10.0.0.0/8", "unix"])?);
    /// # Ok(server)
    /// # }
    /// ```
    #[must_use]
    pub fn forwarded(self, by: ForwardedBy, proxies: Networks) -> Self {
        self.set(|settings| settings.forwarded = Some((by, proxies)))
    }

    /// How many connections there are and were, to be looked at while the server runs.
    pub fn connections(&self) -> Connections {
        self.control.connections()
    }

    /// Changes the settings while the server runs, and ends it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Is told when accepting a connection fails, mostly for want of file descriptors: at most once in ten seconds. The server goes on,
    /// and tries ten times a second by a listener that failed; by others it accepts meanwhile.
    #[must_use]
    pub fn on_accept_error(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.accept_errors = Some(Arc::new(AcceptErrors::new(tell)));
        self
    }

    /// Sets how it goes down, when [`run_until`](Self::run_until) is told to.
    #[must_use]
    pub fn drain(self, drain: Drain) -> Self {
        self.set(|settings| settings.drain = drain)
    }

    /// Another server that accepts connections of the same addresses, to be run in a thread of its own: with a runtime of one thread in each, connections never change
    /// threads, and what one does is not waited for by others. It shares this one's settings and [`Control`], limits, counts and metrics, and has the same TLS,
    /// [`on_http`](Self::on_http) and [`on_accept_error`](Self::on_accept_error); set up the first before.
    ///
    /// Of a [`Listener::tcp_shared`] each worker has a queue of its own, and the system spreads clients over them by their addresses and ports. Any other listener is the same in all of them: one queue, from
    /// which whoever is first takes, which gives less to those who are busy.
    ///
    /// When one of them goes down, all do, and each gives its own [`Drained`]. What waits in a queue then, not yet accepted, is reset by the system (Linux gives it to the other queues only with `net.ipv4.tcp_migrate_req`), and if one worker alone went down that would
    /// meet clients that the others had room for. For the same reason a worker that was made has to be run: the system gives it clients from the beginning.
    ///
    /// ```
    /// use sockeye::{Drained, Error, Incoming, Listener, Server};
    ///
    /// async fn echo(incoming: Incoming) -> Result<(), Error> {
    ///     let mut ws = incoming.accept().await?;
    ///     while let Some(message) = ws.recv().await? {
    ///         ws.send(message).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// /// Runs a server on a thread.
    /// fn run(server: Server) -> std::io::Result<Drained> {
    ///     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    ///     runtime.block_on(server.run_until(std::future::pending::<()>(), echo))
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// let first = Server::from_listener(runtime.block_on(Listener::tcp_shared("127.0.0.1:0"))?).max_connections(10_000);
    /// let (address, control) = (first.local_addr()?, first.control());
    /// let servers = [first.worker()?, first.worker()?, first];
    /// let threads = servers.map(|server| std::thread::spawn(|| run(server)));
    ///
    /// let mut ws = runtime.block_on(sockeye::connect(&format!("ws://{address}/"))).unwrap();
    /// // With a signal perhaps:
    /// control.shut_down();
    /// # assert_eq!(runtime.block_on(ws.recv()).unwrap(), None);
    /// let drained: Drained = threads.into_iter().map(|thread| thread.join().unwrap()).sum::<Result<_, _>>()?;
    /// assert_eq!(drained.clean, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What the system says to one listener more.
    pub fn worker(&self) -> io::Result<Self> {
        Ok(Self {
            listeners: self.listeners.iter().map(Listener::another).collect::<Result<_, _>>()?,
            tls: self.tls.clone(),
            http: self.http.clone(),
            accept_errors: self.accept_errors.clone(),
            control: self.control.clone(),
        })
    }

    /// Accepts connections until [`Control::shut_down`] is called; each opening handshake is given to `handler`, in the connection's task.
    ///
    /// A connection's end, by an error too, is its handler's to tell; here errors only end the connection.
    ///
    /// # Errors
    ///
    /// As [`run_until`](Self::run_until).
    pub async fn run<H, F>(self, handler: H) -> io::Result<()>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.run_until(std::future::pending::<()>(), handler).await.map(drop)
    }

    /// Accepts connections until `shutdown` is ready, or [`Control::shut_down`] is called. Then it accepts no more, closes each connection as [`drain`](Self::drain) says, with 1001 (going
    /// away) by default, and returns when all handlers have ended, which it ends itself at [`Drain::deadline`]. None of its tasks is left then. WebSockets that a handler
    /// has given to tasks of its own are closed and waited for likewise, and are theirs to end at the deadline.
    ///
    /// What [`send`](crate::WebSocket::send) has taken before is written before the Close. A handler sees such a close as any other:
    /// [`recv`](crate::WebSocket::recv) gives the messages that still come, and then `None`; `send` fails with [`Error::Closed`]. A handler may simply end by
    /// that: as whenever a connection of a server is dropped while it closes, the server finishes the closing handshake.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] at once if [`Drain::code`] is none that may be sent; what the system says to listening in this runtime.
    pub async fn run_until<H, F>(self, shutdown: impl Future, handler: H) -> io::Result<Drained>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        accept::run(self, shutdown, handler).await
    }

    /// Changes settings before it runs.
    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        self.control.change(change);
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        debug
            .field("listeners", &self.listeners.len())
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl From<TcpListener> for Server {
    fn from(listener: TcpListener) -> Self {
        Self::from_listener(listener)
    }
}
