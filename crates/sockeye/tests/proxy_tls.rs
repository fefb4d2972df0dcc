//! TLS by way of proxies, to the proxy, or to both; and what must never leave it.

#[path = "support/certificates.rs"]
mod certificates;

use std::net::SocketAddr;

use certificates::{Ca, echo, serve};
use sockeye::rustls::version::{TLS12, TLS13};
use sockeye::{Client, Error, OpenCause, Phase, Proxy, ProxyError, RedirectError, Tls, TlsError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

fn trusting(ca: &Ca) -> Tls {
    Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap()
}

/// Opens the tunnel that an HTTP request asks for, to this server whatever it names.
async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin, server: SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    assert!(head.starts_with(b"CONNECT localhost:"), "{}", String::from_utf8_lossy(&head));
    let mut server = TcpStream::connect(server).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // Either end may just be gone.
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}

async fn http_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { tunnel(listener.accept().await.unwrap().0, server).await });
    address
}

#[tokio::test]
async fn a_secure_connection_goes_through_proxies_with_and_without_tls() {
    let (ca, others) = (Ca::new("Servers"), Ca::new("Proxies"));
    let server = serve(ca.issue(&["localhost"]).server(), echo).await;
    let secure = serve(others.issue(&["localhost"]).server(), move |stream| tunnel(stream, server)).await;
    let url = format!("wss://localhost:{}/", server.port());
    let proxies = [
        Proxy::new(&format!("http://{}", http_proxy(server).await)).unwrap(),
        Proxy::new(&format!("https://localhost:{}", secure.port())).unwrap().tls(trusting(&others)),
    ];
    for proxy in proxies {
        let client = Client::new().tls(trusting(&ca)).proxy(proxy);
        let mut ws = client.connect(&url).await.unwrap();
        ws.send("sni").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap(), "localhost".into());
        let large = vec![7u8; 1 << 20];
        ws.send(large.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap(), large.into());
        let timings = ws.handshake().unwrap().timings;
        assert!(timings.proxy.is_some() && timings.tls.is_some(), "{timings:?}");
        assert!(ws.close(1000, "").await.unwrap().clean);
    }

    // Each of the two has to be trusted by itself.
    let untrusted = Proxy::new(&format!("https://localhost:{}", secure.port())).unwrap();
    let error = Client::new().tls(trusting(&ca)).proxy(untrusted.tls(trusting(&ca))).connect(&url).await;
    let Err(Error::Open(error)) = error else { panic!("{error:?}") };
    let OpenCause::Proxy(ProxyError::Tls { source, .. }) = &error.cause else { panic!("{error}") };
    assert!(matches!(source, TlsError::Certificate { .. }), "{error}");
}

#[tokio::test]
async fn a_proxy_that_wants_a_certificate() {
    let ca = Ca::new("Proxies");
    for version in [&TLS12, &TLS13] {
        let config = ca.issue(&["localhost"]).server_of(&[version], Some(&ca));
        let address = serve(config, |_| async {}).await;
        let proxy = Proxy::new(&format!("https://localhost:{}", address.port())).unwrap().tls(trusting(&ca));
        let error = Client::new().proxy(proxy).connect("ws://localhost:1/").await.unwrap_err();
        let Error::Open(error) = error else { panic!("{error}") };
        let OpenCause::Proxy(ProxyError::Tls { source, .. }) = &error.cause else { panic!("{error}") };
        assert_eq!((error.phase, source), (Phase::Proxy, &TlsError::ClientCertificateRequired));
    }
}

#[tokio::test]
async fn no_redirect_leads_out_of_tls() {
    let ca = Ca::new("Servers");
    let redirect = |mut stream: tokio_rustls::server::TlsStream<TcpStream>| async move {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
            head.push(byte[0]);
        }
        let answer = b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(answer).await;
        let _ = stream.read(&mut byte).await;
    };
    let server = serve(ca.issue(&["localhost"]).server(), redirect).await;
    let client = Client::new().tls(trusting(&ca)).proxy(None).redirects(5);
    let error = client.connect(&format!("wss://localhost:{}/", server.port())).await.unwrap_err();
    let Error::Open(error) = error else { panic!("{error}") };
    let OpenCause::Redirect { why, .. } = &error.cause else { panic!("{error}") };
    assert_eq!(*why, RedirectError::NotSecure("ws://127.0.0.1:1/".into()));
}
