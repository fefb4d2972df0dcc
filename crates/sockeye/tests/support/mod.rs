//! What several test files need: hostile transports, servers, and futures polled a given number of times.
#![allow(dead_code, reason = "each test file uses a part")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use sockeye::{Client, Config, Drained, Error, Incoming, Server, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Polls a future once, and drops it if it is not ready then.
pub(crate) async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A byte stream that takes and gives one byte at a time, and says "not yet" before each.
pub(crate) struct Trickle<S> {
    stream: S,
    read_next: bool,
    write_next: bool,
}

impl<S> Trickle<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read_next: false, write_next: false }
    }
}

/// Not yet, every other time.
fn hesitate(turn: &mut bool, cx: &Context<'_>) -> Poll<()> {
    *turn = !*turn;
    if *turn {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

impl<S: AsyncRead + Unpin> AsyncRead for Trickle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(hesitate(&mut self.read_next, cx));
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Trickle<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(hesitate(&mut self.write_next, cx));
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..1])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Opens a connection over two joined streams, with a real handshake, and without compression: what is counted is what was
/// sent.
pub(crate) async fn open<C, S>(client: C, server: S, mut config: Config) -> (WebSocket, WebSocket)
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    config.deflate = None;
    open_as_configured(client, server, config).await
}

/// Opens a connection over two joined streams, with a real handshake.
pub(crate) async fn open_as_configured<C, S>(client: C, server: S, config: Config) -> (WebSocket, WebSocket)
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let opening = Client::new().config(config.clone());
    let accepting = async { Incoming::read(server, config).await?.accept().await };
    let (client, server) = tokio::join!(opening.connect_over(client, "ws://test/"), accepting);
    (client.unwrap(), server.unwrap())
}

/// A byte stream that counts the writes that reach it.
pub(crate) struct Counted<S> {
    stream: S,
    writes: Arc<AtomicUsize>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<AtomicUsize>) {
        let writes = Arc::default();
        (Self { stream, writes: Arc::clone(&writes) }, writes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A running server that ends when told to.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<Drained>>,
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) async fn stop(self) -> Drained {
        let _ = self.stop.send(());
        self.server.await.unwrap().unwrap()
    }
}

/// Starts a server on a port of its own.
pub(crate) async fn serve<H, F>(set_up: impl FnOnce(Server) -> Server, handler: H) -> Running
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let server = set_up(Server::bind("127.0.0.1:0").await.unwrap());
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(server.run_until(stopped, handler));
    Running { address, stop, server }
}

/// A handler that gives back what it gets.
pub(crate) async fn echo(incoming: Incoming) -> Result<(), Error> {
    let mut ws = incoming.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// An address of this machine that does not answer: a listener whose queue is full, and which accepts nobody.
#[cfg(target_os = "linux")]
pub(crate) struct BlackHole {
    listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

#[cfg(target_os = "linux")]
impl BlackHole {
    pub(crate) fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let wait_in_line = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            assert!(socket.connect(&address).is_err(), "it would block");
            socket
        };
        let queue = (0..8).map(wait_in_line).collect();
        Self { listener, _queue: queue }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A port of this machine where nobody listens, and nobody will for as long as it is held.
pub(crate) fn refused() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
