//! Clients behind proxies: where they are, and how many.

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use certificates::Ca;
use sockeye::{
    Client, Error, ForwardedBy, HeaderName, HeaderValue, Incoming, Networks, Server, ServerTls, StatusCode,
    Tls, WebSocket,
};
use support::{Running, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says where the client and the peer are.
async fn tell(incoming: Incoming) -> Result<(), Error> {
    let peer = incoming.peer_addr().unwrap().ip();
    let client = incoming.client_addr().unwrap();
    // The port of one that comes itself is any.
    let client = if client.ip() == peer { client.ip().to_string() } else { client.to_string() };
    let mut ws = incoming.accept().await?;
    ws.send(format!("{client} by {peer}")).await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}

async fn told(mut ws: WebSocket) -> String {
    let told = ws.recv().await.unwrap().unwrap().as_text().unwrap().to_owned();
    ws.close(1000, "").await.unwrap();
    told
}

/// Connects through a proxy that writes this first.
async fn behind(header: &[u8], server: &Running, tls: Option<Tls>) -> Result<WebSocket, Error> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(header).await.unwrap();
    let Some(tls) = tls else { return Client::new().connect_over(stream, "ws://localhost/").await };
    // What comes out of the one is put into the other.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut inside, _) = listener.accept().await.unwrap();
        // However that ends.
        let _ = tokio::io::copy_bidirectional(&mut inside, &mut stream).await;
    });
    Client::new().tls(tls).connect(&url).await
}

fn loopback() -> Networks {
    Networks::new(["127.0.0.0/8"]).unwrap()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&start[..], &client, &[127, 0, 0, 1, 0x12, 0x34, 0, 80]].concat()
}

#[tokio::test]
async fn the_proxy_protocol_is_read_before_all_else() {
    let ca = Ca::new("ca");
    let own = ca.issue(&["localhost"]);
    let tls = ServerTls::from_pem(own.chain.as_bytes(), own.key.as_bytes()).unwrap();
    let trusting = Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap();
    let plain = serve(|server| server.proxy_protocol(loopback()), tell).await;
    let secure = serve(|server| server.proxy_protocol(loopback()).tls(tls), tell).await;
    for (server, tls) in [(&plain, None), (&secure, Some(trusting))] {
        for (header, expected) in [
            (v2([192, 0, 2, 1]), "192.0.2.1:4660 by 127.0.0.1"),
            (b"PROXY TCP6 2001:db8::1 ::1 5 80\r\n".to_vec(), "[2001:db8::1]:5 by 127.0.0.1"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1 by 127.0.0.1"),
        ] {
            assert_eq!(told(behind(&header, server, tls.clone()).await.unwrap()).await, expected);
        }
        assert!(behind(b"", server, tls).await.is_err(), "who is to send one is not let in without");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let elsewhere = || Networks::new(["192.0.2.0/24", "unix"]).unwrap();
    let set_up = |server: Server| {
        server.proxy_protocol(elsewhere()).forwarded(ForwardedBy::XForwardedFor, elsewhere())
    };
    let server = serve(set_up, tell).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&v2([192, 0, 2, 1])).await.unwrap();
    let mut answer = String::new();
    // It may be reset, with bytes unread.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let client = Client::new()
        .header(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("6.6.6.6"))
        .header(HeaderName::from_static("forwarded"), HeaderValue::from_static("for=6.6.6.6"));
    let expected = "127.0.0.1 by 127.0.0.1";
    assert_eq!(told(client.connect(&server.url()).await.unwrap()).await, expected);
    // Only the header field that was named is looked at.
    let server = serve(|server| server.forwarded(ForwardedBy::Forwarded, elsewhere()), tell).await;
    assert_eq!(told(client.connect(&server.url()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn header_fields_of_proxies_are_believed_from_the_last_on() {
    let server = serve(|server| server.forwarded(ForwardedBy::Forwarded, loopback()), tell).await;
    let forwarded =
        |value| Client::new().header(HeaderName::from_static("forwarded"), HeaderValue::from_static(value));
    let client = forwarded("for=6.6.6.6, for=\"192.0.2.1:8\", for=127.0.0.2");
    assert_eq!(told(client.connect(&server.url()).await.unwrap()).await, "192.0.2.1:8 by 127.0.0.1");

    // A client that comes by the PROXY protocol is believed what it says of others only if it is a proxy of ours too.
    let set_up = |server: Server| {
        let ours = Networks::new(["127.0.0.0/8", "192.0.2.0/24"]).unwrap();
        server.proxy_protocol(loopback()).forwarded(ForwardedBy::Forwarded, ours)
    };
    let server = serve(set_up, tell).await;
    for (from, expected) in
        [([192, 0, 2, 1], "7.7.7.7:0 by 127.0.0.1"), ([9, 9, 9, 9], "9.9.9.9:4660 by 127.0.0.1")]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&v2(from)).await.unwrap();
        let ws = forwarded("for=7.7.7.7").connect_over(stream, "ws://localhost/").await.unwrap();
        assert_eq!(told(ws).await, expected);
    }
}

#[tokio::test]
async fn the_limit_per_address_is_that_of_the_clients() {
    let set_up =
        |server: Server| server.max_connections_per_addr(1).forwarded(ForwardedBy::XForwardedFor, loopback());
    let server = serve(set_up, tell).await;
    let url = server.url();
    let from = async |client: &'static str| {
        let name = HeaderName::from_static("x-forwarded-for");
        Client::new().header(name, HeaderValue::from_static(client)).connect(&url).await
    };
    let _first = from("192.0.2.1").await.unwrap();
    let error = from("192.0.2.1").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    let _second = from("192.0.2.2").await.unwrap();

    let server = serve(|server| server.max_connections_per_addr(1).proxy_protocol(loopback()), tell).await;
    let _first = behind(&v2([192, 0, 2, 1]), &server, None).await.unwrap();
    let error = behind(&v2([192, 0, 2, 1]), &server, None).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(behind(&v2([192, 0, 2, 2]), &server, None).await.is_ok());
}
