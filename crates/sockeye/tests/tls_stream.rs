//! A WebSocket over TLS: what rustls holds back is written, what it has read is delivered, and both ends end as they should.

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use certificates::{Ca, echo, provider, serve};
use sockeye::rustls::{ClientConfig, pki_types::ServerName};
use sockeye::{Client, Config, Error, Message, Tls, WebSocket, accept};
use support::poll_once;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Much more than any test needs.
const LONG: Duration = Duration::from_secs(60);

async fn open(ca: &Ca, address: SocketAddr) -> WebSocket {
    let mut config = Config::default();
    config.deflate = None;
    let tls = Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap();
    Client::new().tls(tls).config(config).connect(&format!("wss://{address}/")).await.unwrap()
}

#[tokio::test]
async fn a_message_of_16_mib_goes_and_comes() {
    let ca = Ca::new("ca");
    let address = serve(ca.issue(&["127.0.0.1"]).server(), echo).await;
    let mut ws = open(&ca, address).await;
    let big: Bytes = (0..16 << 20).map(|index: u32| (index % 251) as u8).collect::<Vec<_>>().into();
    for _ in 0..2 {
        ws.send(big.clone()).await.unwrap();
        let message = timeout(LONG, ws.recv()).await.unwrap().unwrap().unwrap();
        assert!(matches!(message, Message::Binary(payload) if payload == big));
    }
    assert!(ws.close(1000, "").await.unwrap().clean);
}

#[tokio::test]
async fn many_small_messages_go_and_come_in_order() {
    const COUNT: usize = 20_000;
    let ca = Ca::new("ca");
    let address = serve(ca.issue(&["127.0.0.1"]).server(), echo).await;
    let (sender, mut receiver) = open(&ca, address).await.split();
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            sender.send(number.to_string()).await.unwrap();
        }
        sender
    });
    for number in 0..COUNT {
        let message = timeout(LONG, receiver.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.as_text(), Some(&*number.to_string()));
    }
    let sender = sending.await.unwrap();
    sender.start_close(1000, "").unwrap();
    assert_eq!(timeout(LONG, receiver.recv()).await.unwrap().unwrap(), None);
    assert!(receiver.close_info().unwrap().clean);
}

/// Two ends joined by TLS over so narrow a pipe that rustls has to hold back most of what is written.
async fn narrow() -> (WebSocket, WebSocket) {
    let ca = Ca::new("ca");
    let (near, far) = tokio::io::duplex(512);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let acceptor = TlsAcceptor::from(Arc::new(ca.issue(&["localhost"]).server()));
    let name = ServerName::try_from("localhost").unwrap();
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let mut config = Config::default();
    config.deflate = None;
    let client = Client::new().config(config);
    let (near, far) = (near.unwrap(), far.unwrap());
    let (client, server) = tokio::join!(client.connect_over(near, "wss://localhost/"), accept(far));
    (client.unwrap(), server.unwrap())
}

#[tokio::test]
async fn what_tls_holds_back_is_written_by_the_next_call() {
    for size in [1000, 16 << 10, 60 << 10, 200 << 10] {
        let (mut client, mut server) = narrow().await;
        client.send(vec![1; size]).await.unwrap();
        let answering = async {
            let message = server.recv().await.unwrap().unwrap();
            server.send(message).await.unwrap();
            server.recv().await.unwrap()
        };
        let waiting = async {
            let message = client.recv().await.unwrap().unwrap();
            assert_eq!(message.len(), size);
            client.close(1000, "").await.unwrap()
        };
        let both = async { tokio::join!(answering, waiting) };
        let (end, info) = timeout(LONG, both).await.unwrap_or_else(|_| panic!("{size} bytes are stuck"));
        assert!(end.is_none() && info.clean);
    }
}

#[tokio::test]
async fn flush_waits_for_what_tls_holds_back() {
    let (mut client, mut server) = narrow().await;
    client.send(vec![1; 40 << 10]).await.unwrap();
    // Nobody reads: it cannot have been written.
    assert!(timeout(Duration::from_millis(1), client.flush()).await.is_err());
    let (flushed, received) = tokio::join!(timeout(LONG, client.flush()), server.recv());
    flushed.unwrap().unwrap();
    assert_eq!(received.unwrap().unwrap().len(), 40 << 10);
}

#[tokio::test]
async fn halves_of_a_split_write_what_tls_holds_back() {
    let (client, mut server) = narrow().await;
    let (sender, mut receiver) = client.split();
    sender.send(vec![1; 60 << 10]).await.unwrap();
    let answering = async {
        let message = server.recv().await.unwrap().unwrap();
        server.send(message).await.unwrap();
        server.flush().await.unwrap();
    };
    let both = async { tokio::join!(answering, receiver.recv()) };
    let ((), message) = timeout(LONG, both).await.expect("the message is stuck");
    assert_eq!(message.unwrap().unwrap().len(), 60 << 10);
}

#[tokio::test]
async fn a_dropped_send_or_receive_loses_nothing() {
    let (mut client, mut server) = narrow().await;
    let echoing = tokio::spawn(async move {
        while let Some(message) = server.recv().await.unwrap() {
            server.send(message).await.unwrap();
        }
    });
    let (mut sent, mut received) = (0u32, 0u32);
    let going = async {
        while received < 300 {
            let mut message = vec![0; 3000];
            message[..4].copy_from_slice(&sent.to_be_bytes());
            if sent < 300 && poll_once(client.send(message)).await.transpose().unwrap().is_some() {
                sent += 1;
            }
            match poll_once(client.recv()).await.transpose().unwrap() {
                Some(Some(Message::Binary(payload))) => {
                    assert_eq!(payload[..4], received.to_be_bytes());
                    received += 1;
                }
                Some(other) => panic!("{other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
        client.close(1000, "").await.unwrap()
    };
    assert!(timeout(LONG, going).await.unwrap().clean);
    echoing.await.unwrap();
}

/// A server's end of TLS that tells how the bytes ended, and may leave out the end of TLS itself.
struct Watched {
    stream: TlsStream<TcpStream>,
    end: Arc<Mutex<Option<io::Result<()>>>>,
    without_close_notify: bool,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &result {
            Ok(()) if buffer.filled().len() > before => {}
            Ok(()) => *self.end.lock().unwrap() = Some(Ok(())),
            Err(error) => *self.end.lock().unwrap() = Some(Err(error.kind().into())),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.without_close_notify {
            return Pin::new(self.stream.get_mut().0).poll_shutdown(cx);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection to a server that does this with its end; with how that ended.
async fn watched<F>(
    without_close_notify: bool,
    handle: impl Fn(WebSocket) -> F + Clone + Send + Sync + 'static,
) -> (WebSocket, oneshot::Receiver<io::Result<()>>)
where
    F: Future<Output = ()> + Send,
{
    let ca = Ca::new("ca");
    let (told, telling) = oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let serving = move |stream| {
        let (handle, told) = (handle.clone(), Arc::clone(&told));
        async move {
            let end = Arc::new(Mutex::new(None));
            let stream = Watched { stream, end: Arc::clone(&end), without_close_notify };
            handle(accept(stream).await.unwrap()).await;
            let end = end.lock().unwrap().take().unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
            let told = told.lock().unwrap().take();
            told.unwrap().send(end).unwrap();
        }
    };
    let address = serve(ca.issue(&["127.0.0.1"]).server(), serving).await;
    (open(&ca, address).await, telling)
}

async fn until_the_end(mut ws: WebSocket) {
    while let Ok(Some(_)) = ws.recv().await {}
}

async fn close(mut ws: WebSocket) {
    assert!(ws.close(1001, "").await.unwrap().clean);
}

#[tokio::test]
async fn a_close_from_either_side_ends_tls_too() {
    let (mut client, end) = watched(false, until_the_end).await;
    let info = timeout(LONG, client.close(1000, "")).await.unwrap().unwrap();
    assert!(info.clean && info.code == 1000);
    timeout(LONG, end).await.unwrap().unwrap().unwrap();
    let (mut client, end) = watched(false, close).await;
    assert_eq!(timeout(LONG, client.recv()).await.unwrap().unwrap(), None);
    assert!(client.close_info().unwrap().clean && client.close_info().unwrap().code == 1001);
    timeout(LONG, end).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_end_tls_is_lost_unless_it_has_closed() {
    let (mut client, _end) = watched(true, close).await;
    assert_eq!(timeout(LONG, client.recv()).await.unwrap().unwrap(), None);
    assert!(client.close_info().unwrap().clean);
    let (mut client, _end) = watched(true, |ws| async { drop(ws) }).await;
    let error = timeout(LONG, client.recv()).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof), "{error:?}");
    assert!(!client.close_info().unwrap().clean);
}
