use std::convert::Infallible;

use http::{HeaderValue, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";

/// Serves one request on a stream, to which it and `early` behind it have been written, and gives what is left of the stream.
async fn unwrapped<S>(stream: S, by_any_version: bool) -> (Transport, BytesMut)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, mut on_upgrade) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request| {
        sender.send(hyper::upgrade::on(&mut request)).unwrap();
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let io = TokioIo::new(stream);
    if by_any_version {
        let builder = auto::Builder::new(TokioExecutor::new());
        builder.serve_connection_with_upgrades(io, service).await.unwrap();
    } else {
        http1::Builder::new().serve_connection(io, service).with_upgrades().await.unwrap();
    }
    unwrap(on_upgrade.recv().await.unwrap().await.unwrap())
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn write(mut client: impl AsyncWrite + Unpin) {
    client.write_all(REQUEST).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn tcp_is_unwrapped_with_what_was_read() {
    for by_any_version in [false, true] {
        let (mut client, server) = tcp().await;
        write(&mut client).await;
        let (transport, input) = unwrapped(server, by_any_version).await;
        assert_eq!(transport.peer_addr(), client.local_addr().ok());
        let Transport::Tcp(server) = transport else { panic!("boxed: {by_any_version}") };
        assert!(server.nodelay().unwrap());
        assert_eq!(&input[..], b"early");
    }
}

#[tokio::test]
async fn tls_is_unwrapped_with_what_was_read() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (connector, acceptor) = (TlsConnector::from(Arc::new(client)), TlsAcceptor::from(Arc::new(server)));
    for by_any_version in [false, true] {
        let (client, server) = tcp().await;
        let address = client.local_addr().ok();
        let connecting = connector.connect(ServerName::try_from("localhost").unwrap(), client);
        let (client, server) = tokio::join!(connecting, acceptor.accept(server));
        let (mut client, server) = (client.unwrap(), server.unwrap());
        write(&mut client).await;
        let (transport, input) = unwrapped(server, by_any_version).await;
        assert_eq!(transport.peer_addr(), address);
        assert!(matches!(transport, Transport::TlsAccepted(_)), "boxed: {by_any_version}");
        assert_eq!(&input[..], b"early");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_unwrapped_with_what_was_read() {
    for by_any_version in [false, true] {
        let (mut client, server) = UnixStream::pair().unwrap();
        write(&mut client).await;
        let (transport, input) = unwrapped(server, by_any_version).await;
        assert!(matches!(transport, Transport::Unix(_)), "boxed: {by_any_version}");
        assert_eq!(&input[..], b"early");
    }
}

#[tokio::test]
async fn any_other_stream_gives_what_was_read_first() {
    for by_any_version in [false, true] {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        write(&mut client).await;
        let (mut transport, input) = unwrapped(server, by_any_version).await;
        assert!(matches!(transport, Transport::Other(_)));
        client.write_all(b", late").await.unwrap();
        let mut read = input.to_vec();
        read.resize(b"early, late".len(), 0);
        transport.read_exact(&mut read[input.len()..]).await.unwrap();
        assert_eq!(read, b"early, late");
    }
}
