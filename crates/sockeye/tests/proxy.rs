//! Connections by way of proxies that say what the test has them say, in front of a real server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::{
    Client, Config, Error, HandshakeError, HeaderName, HeaderValue, OpenCause, Phase, Proxies, Proxy,
    ProxyError, Resolve, Resolving, Server, WebSocket, header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A server that first says which header fields it was sent, and then sends all back.
async fn origin() -> SocketAddr {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming| async move {
        let fields: Vec<_> = incoming
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let mut ws = incoming.accept().await?;
        ws.send(fields.join("\n")).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    }));
    address
}

/// A proxy for one connection, and what the script that it follows has seen.
async fn proxy<F, T>(script: impl FnOnce(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { script(listener.accept().await.unwrap().0).await }))
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn read_bytes(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Joins the tunnel to the server.
async fn join(mut stream: TcpStream, server: SocketAddr) {
    let mut server = TcpStream::connect(server).await.unwrap();
    // Either end may just be gone.
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}

/// An HTTP proxy that opens the tunnel, with this answer; gives the request.
async fn http_proxy(server: SocketAddr, answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    proxy(move |mut stream| async move {
        let head = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::spawn(join(stream, server));
        head
    })
    .await
}

/// A proxy that reads so many bytes, answers so, and hangs up.
async fn answers(count: usize, answer: &'static [u8]) -> SocketAddr {
    let script = move |mut stream: TcpStream| async move {
        read_bytes(&mut stream, count).await;
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        // Until the client hangs up too: a reset would take the answer away.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    proxy(script).await.0
}

fn through(url: &str) -> Client {
    Client::new().proxy(Proxy::new(url).unwrap())
}

/// The header fields that the server was sent.
async fn exchange(mut ws: WebSocket) -> String {
    let Some(sockeye::Message::Text(fields)) = ws.recv().await.unwrap() else { panic!("no header fields") };
    ws.send("through the tunnel").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("through the tunnel".into()));
    assert!(ws.close(1000, "").await.unwrap().clean);
    fields.to_string()
}

/// How an opening fails; the secrets of these tests must not show.
async fn failure(client: &Client, url: &str) -> (Phase, OpenCause) {
    let error = client.connect(url).await.unwrap_err();
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("YWxpY2U6aHVudGVyMg"), "{shown}");
    assert!(error.refusal().is_none(), "a refusal of the server's: {shown}");
    let Error::Open(open) = error else { panic!("{error}") };
    (open.phase, open.cause)
}

async fn proxy_failure(client: &Client, url: &str) -> ProxyError {
    match failure(client, url).await {
        (Phase::Proxy, OpenCause::Proxy(error)) => error,
        (phase, cause) => panic!("{cause} in {phase}"),
    }
}

#[tokio::test]
async fn ws_goes_through_an_http_proxy_by_connect() {
    let (address, request) = http_proxy(origin().await, "HTTP/1.0 200 Connection established\r\n\r\n").await;
    let ws = through(&format!("http://{address}")).connect("ws://example.test/secret?x").await.unwrap();
    assert_eq!(ws.handshake().unwrap().peer_addr, Some(address));
    let timings = ws.handshake().unwrap().timings;
    assert!(timings.resolve.is_none() && timings.connect.is_some() && timings.proxy.is_some());
    assert!(exchange(ws).await.contains("host: example.test\n"));
    let expected = "CONNECT example.test:80 HTTP/1.1\r\nHost: example.test:80\r\n\r\n";
    assert_eq!(request.await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_for_the_proxy_and_what_is_for_the_server() {
    let answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let (address, request) = http_proxy(origin().await, answer).await;
    let proxy = Proxy::new(&format!("http://alice:hunter2@{address}")).unwrap();
    let proxy = proxy.header(HeaderName::from_static("x-team"), HeaderValue::from_static("fish"));
    let client = Client::new()
        .proxy(proxy)
        .basic_auth("bob", "server's")
        .cookie("session", "1")
        .unwrap()
        .header(header::ORIGIN, HeaderValue::from_static("http://example.test:8080"));
    let ws = client.connect("ws://example.test:8080/").await.unwrap();
    let fields = exchange(ws).await;
    for (field, expected) in
        [("authorization: Basic ", true), ("cookie: session=1", true), ("proxy-", false), ("x-team", false)]
    {
        assert_eq!(fields.contains(field), expected, "{field} in {fields}");
    }
    let expected = "CONNECT example.test:8080 HTTP/1.1\r\nHost: example.test:8080\r\nX-Team: fish\r\n\
        Proxy-Authorization: Basic YWxpY2U6aHVudGVyMg==\r\n\r\n";
    assert_eq!(request.await.unwrap(), expected);
}

/// How long the request is.
const REQUEST: usize = "CONNECT example.test:80 HTTP/1.1\r\nHost: example.test:80\r\n\r\n".len();

#[tokio::test]
async fn an_http_proxy_refuses() {
    for (answer, status, body) in [
        (&b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?"[..], 407, "who?"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nno route to example.test", 502, "no route to example.test"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://example.com/\r\nContent-Length: 0\r\n\r\n", 302, ""),
    ] {
        let address = answers(REQUEST, answer).await;
        let client = through(&format!("http://alice:hunter2@{address}")).redirects(5);
        let error = proxy_failure(&client, "ws://example.test").await;
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((refusal.status.as_u16(), &refusal.body[..]), (status, body.as_bytes()));
        assert!(!refusal.truncated);
        let start = format!("the proxy http://{address} refused the tunnel with HTTP status {status}");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[tokio::test]
async fn no_http_proxy_at_all() {
    for answer in [&b"\x05\xff"[..], b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"<html>\r\n"] {
        let address = answers(REQUEST, answer).await;
        let error = proxy_failure(&through(&address.to_string()), "ws://example.test").await;
        assert!(matches!(error, ProxyError::Handshake { .. }), "{error}");
    }
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
        let address = answers(REQUEST, answer).await;
        let error = proxy_failure(&through(&address.to_string()), "ws://example.test").await;
        assert!(matches!(error, ProxyError::Truncated { .. }), "{error}");
    }
    let mut config = Config::default();
    config.max_header_block = 100;
    let address = answers(REQUEST, &[b"HTTP/1.1 200 OK\r\nx: ", &[b'y'; 100][..]].concat().leak()[..]).await;
    let error = proxy_failure(&through(&address.to_string()).config(config), "ws://example.test").await;
    let ProxyError::Handshake { source, .. } = error else { panic!("{error}") };
    assert_eq!(source, HandshakeError::HeaderBlockTooLong { limit: 100 });
}

#[tokio::test]
async fn what_the_server_says_before_it_is_asked() {
    const BUSY: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntoo many!";
    const SOCKS: &[u8] =
        b"\x05\x00\x05\x00\x00\x03\x01n\x00\x50HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let address = answers(REQUEST, BUSY).await;
    let error = through(&address.to_string()).connect("ws://example.test").await.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((refusal.status.as_u16(), &refusal.body[..]), (503, &b"too many!"[..]));

    let address = answers(3, SOCKS).await;
    let error = through(&format!("socks://{address}")).connect("ws://example.test").await.unwrap_err();
    assert_eq!(error.refusal().unwrap_or_else(|| panic!("{error}")).status, 503);

    let address = answers(REQUEST, BUSY).await;
    let error = proxy_failure(&through(&address.to_string()), "wss://example.test").await;
    assert!(matches!(error, ProxyError::EarlyBytes { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_proxy_has_its_time() {
    for scheme in ["http", "socks5", "socks5h"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.proxy_timeout = Some(Duration::from_secs(3));
        let proxy = format!("{scheme}://alice:hunter2@{}", listener.local_addr().unwrap());
        let start = Instant::now();
        let (phase, cause) = failure(&through(&proxy).config(config), "ws://192.0.2.1").await;
        assert!(phase == Phase::Proxy && matches!(cause, OpenCause::Timeout), "{scheme}: {cause}");
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_does_not_end_is_told_when_the_time_is_up() {
    for answer in ["HTTP/1.1 407 x\r\nContent-Length: 9\r\n\r\nwho?", "HTTP/1.1 407 x\r\n\r\nwho?"] {
        let (address, _script) = proxy(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.read_u8().await
        })
        .await;
        let error = proxy_failure(&through(&address.to_string()), "ws://example.test").await;
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((&refusal.body[..], refusal.truncated), (&b"who?"[..], true));
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (phase, cause) =
        failure(&through(&format!("http://alice:hunter2@{address}")), "ws://example.test").await;
    assert_eq!(phase, Phase::Connect);
    assert!(matches!(cause, OpenCause::Connect { address: ref tried, .. } if *tried == address.to_string()));
}

#[tokio::test]
async fn an_https_proxy_is_spoken_to_by_tls_first() {
    let address = answers(0, b"HTTP/1.1 200 OK\r\n\r\n").await;
    let error =
        proxy_failure(&through(&format!("https://alice:hunter2@{address}")), "ws://example.test").await;
    assert!(matches!(error, ProxyError::Tls { .. }), "{error}");
    assert!(error.to_string().contains(&format!("https://{address}")), "{error}");
}

#[tokio::test]
async fn header_fields_that_are_not_the_callers() {
    let address = answers(0, b"").await;
    let proxy = Proxy::new(&address.to_string()).unwrap();
    let proxy = proxy.header(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
    let (_, cause) = failure(&Client::new().proxy(proxy), "ws://example.test").await;
    assert!(matches!(cause, OpenCause::Handshake(HandshakeError::Misuse(_))), "{cause}");
}

/// A SOCKS5 proxy that opens the tunnel; gives all it was sent.
async fn socks_proxy(
    server: SocketAddr,
    dialogue: Vec<(usize, &'static [u8])>,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    proxy(move |mut stream| async move {
        let mut all = Vec::new();
        for (count, answer) in dialogue {
            all.extend(read_bytes(&mut stream, count).await);
            for byte in answer {
                stream.write_all(&[*byte]).await.unwrap();
            }
        }
        tokio::spawn(join(stream, server));
        all
    })
    .await
}

/// Resolves one name.
#[derive(Debug)]
struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            match host {
                "example.test" => Ok(vec![SocketAddr::new([192, 0, 2, 1].into(), port)]),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            }
        })
    }
}

const OPENED: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";

#[tokio::test]
async fn ws_goes_through_a_socks5_proxy_by_name_or_by_address() {
    let by_name = b"\x05\x01\x00\x05\x01\x00\x03\x0cexample.test\x00\x50";
    let by_address = b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50";
    for (scheme, host, expected) in [
        ("socks5h", "example.test", &by_name[..]),
        ("socks5", "example.test", by_address),
        ("socks5h", "192.0.2.1", by_address),
    ] {
        let dialogue = vec![(3, &b"\x05\x00"[..]), (expected.len() - 3, OPENED)];
        let (address, sent) = socks_proxy(origin().await, dialogue).await;
        let client = through(&format!("{scheme}://{address}")).resolver(Names);
        let ws = client.connect(&format!("ws://{host}/")).await.unwrap();
        assert_eq!(ws.handshake().unwrap().timings.resolve.is_some(), scheme == "socks5");
        assert!(exchange(ws).await.contains(&format!("host: {host}\n")));
        assert_eq!(sent.await.unwrap(), expected, "{scheme} {host}");
    }
    let client = through("socks5://127.0.0.1:1").resolver(Names);
    let (phase, cause) = failure(&client, "ws://other.test").await;
    assert!(phase == Phase::Resolve && matches!(cause, OpenCause::Resolve { .. }), "{cause}");
}

#[tokio::test]
async fn ws_goes_through_a_socks5_proxy_with_user_and_password() {
    let dialogue = vec![(4, &b"\x05\x02"[..]), (15, b"\x01\x00"), (22, b"\x05\x00\x00\x03\x00\x00\x50")];
    let (address, sent) = socks_proxy(origin().await, dialogue).await;
    let client = through(&format!("socks5h://alice:hunter2@{address}"));
    assert!(!exchange(client.connect("ws://[2001:db8::1]/").await.unwrap()).await.contains("proxy"));
    let expected = b"\x05\x02\x00\x02\x01\x05alice\x07hunter2\
        \x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50";
    assert_eq!(sent.await.unwrap(), expected);
}

#[tokio::test]
async fn a_socks5_proxy_refuses() {
    for reply in [1, 2, 3, 4, 5, 6, 7, 8, 9, 255] {
        let answer = [b"\x05\x02\x01\x00\x05", &[reply][..], b"\x00\x01\x00\x00\x00\x00\x00\x00"].concat();
        let address = answers(4, answer.leak()).await;
        let error =
            proxy_failure(&through(&format!("socks5h://alice:hunter2@{address}")), "ws://example.test").await;
        let ProxyError::Socks { reply: found, .. } = error else { panic!("{error}") };
        assert_eq!(found, reply);
        let end = format!(" (SOCKS5 reply {reply})");
        assert!(error.to_string().ends_with(&end), "{error}");
    }
    for (user, count, answer) in [
        ("", 3, &b"\x05\xff"[..]),
        ("alice:hunter2@", 4, b"\x05\xff"),
        ("alice:hunter2@", 4, b"\x05\x02\x01\x01"),
    ] {
        let address = answers(count, answer).await;
        let error = proxy_failure(&through(&format!("socks5h://{user}{address}")), "ws://example.test").await;
        assert!(matches!(error, ProxyError::Auth { .. }), "{error}");
    }
}

#[tokio::test]
async fn no_socks5_proxy_at_all() {
    let address = answers(3, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = proxy_failure(&through(&format!("socks5h://{address}")), "ws://example.test").await;
    assert!(matches!(error, ProxyError::SocksSyntax { .. }), "{error}");
    for answer in [&b"\x05"[..], b""] {
        let address = answers(3, answer).await;
        let error = proxy_failure(&through(&format!("socks5h://{address}")), "ws://example.test").await;
        assert!(matches!(error, ProxyError::Truncated { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_socks5_has_no_room_for() {
    let address = answers(0, b"").await;
    let client = Client::new().proxy(
        Proxy::new(&format!("socks5h://{address}")).unwrap().basic_auth("alice", "hunter2".repeat(40)),
    );
    let error = proxy_failure(&client, "ws://example.test").await;
    assert!(matches!(error, ProxyError::TooLong { what: "the password" }), "{error}");
}

#[tokio::test]
async fn a_wrong_variable_does_not_go_around_the_proxy() {
    let proxies =
        Proxies::from_vars(|name| (name == "HTTP_PROXY").then(|| "socks4://alice:hunter2@proxy".into()));
    let client = Client::new().proxies(proxies);
    let error = proxy_failure(&client, "ws://192.0.2.1").await;
    assert!(matches!(error, ProxyError::Environment { variable: "HTTP_PROXY", .. }), "{error}");
    // It is not used for this machine.
    let url = format!("ws://{}", origin().await);
    exchange(client.connect(&url).await.unwrap()).await;
}
