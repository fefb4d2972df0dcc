//! From a name to a connection: resolvers, many addresses, TCP options, unix sockets.

mod support;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::{
    Client, Config, Error, Family, OpenCause, Overrides, Phase, Resolve, Resolving, Tcp, WebSocket, accept,
};
use support::refused;
use tokio::net::TcpListener;

const SECOND: Duration = Duration::from_secs(1);
const URL: &str = "ws://example.test:7777/";

/// A client that finds `example.test` at these addresses.
fn client_of(addresses: &[SocketAddr]) -> Client {
    Client::new().resolver(Overrides::default().set("example.test", 7777, addresses.to_vec()))
}

fn client_by(change: impl FnOnce(&mut Tcp), addresses: &[SocketAddr]) -> Client {
    let mut tcp = Tcp::default();
    change(&mut tcp);
    client_of(addresses).tcp(tcp)
}

/// Connects to a listener; also who the listener says it was.
async fn connect(client: &Client, listener: &TcpListener) -> (WebSocket, SocketAddr) {
    let accepting = async {
        let (stream, peer) = listener.accept().await.unwrap();
        (accept(stream).await.unwrap(), peer)
    };
    let (client, (mut server, peer)) = tokio::join!(client.connect(URL), accepting);
    let mut client = client.unwrap();
    echo(&mut client, &mut server).await;
    (client, peer)
}

async fn echo(client: &mut WebSocket, server: &mut WebSocket) {
    client.send("hello").await.unwrap();
    let message = server.recv().await.unwrap().unwrap();
    server.send(message).await.unwrap();
    assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("hello"));
}

async fn listen(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn opening(error: &Error) -> (Phase, &OpenCause) {
    let Error::Open(error) = error else { panic!("{error}") };
    (error.phase, &error.cause)
}

/// Asserts that connecting failed, with this kind and text.
fn assert_connect(error: &Error, expected: io::ErrorKind, text: &str) {
    let (Phase::Connect, OpenCause::Connect { address, source }) = opening(error) else { panic!("{error}") };
    assert_eq!(source.kind(), expected, "{error}");
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: {text}")), "{error}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let (_held, refusing) = refused();
    let (listener, address) = listen("127.0.0.1").await;
    let (ws, _) = connect(&client_of(&[refusing, address]), &listener).await;
    assert_eq!(ws.handshake().unwrap().peer_addr, Some(address));
}

#[tokio::test]
async fn when_all_refuse_the_error_counts_them() {
    let ((_held, first), (_held_too, second)) = (refused(), refused());
    let error = client_of(&[first, second, first]).connect(URL).await.unwrap_err();
    let kind = io::ErrorKind::ConnectionRefused;
    assert_connect(&error, kind, &format!("2 addresses tried: {}", refusal(first)));
    assert!(error.to_string().starts_with("cannot connect to example.test:7777: "), "{error}");

    // Refused by one address, it is the system's error.
    let error = sockeye::connect(&format!("ws://{first}/")).await.unwrap_err();
    assert_connect(&error, kind, &refusal(first));
    assert!(error.to_string().starts_with(&format!("cannot connect to {first}: ")), "{error}");
}

/// How this system says that nobody listens there.
fn refusal(address: SocketAddr) -> String {
    std::net::TcpStream::connect(address).unwrap_err().to_string()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_more_than_16_addresses_are_tried() {
    let (_held, refusing) = refused();
    // All of 127.0.0.0/8 is this machine.
    let addresses: Vec<SocketAddr> =
        (1..=40).map(|last| ([127, 0, 0, last], refusing.port()).into()).collect();
    let error = client_of(&addresses).connect(URL).await.unwrap_err();
    assert_connect(&error, io::ErrorKind::ConnectionRefused, "16 of 40 addresses tried: ");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_black_hole_does_not_keep_the_next_address_waiting() {
    let hole = support::BlackHole::new();
    let (listener, address) = listen("127.0.0.1").await;
    let (ws, _) = connect(&client_of(&[hole.address(), address]), &listener).await;
    assert_eq!(ws.handshake().unwrap().peer_addr, Some(address));
    let took = ws.handshake().unwrap().timings.connect.unwrap();
    assert!(took >= Tcp::default().attempt_delay, "{took:?}: the first was no black hole");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_black_hole_alone_lasts_until_the_deadline() {
    let (hole, hole_too) = (support::BlackHole::new(), support::BlackHole::new());
    for (limit, expected) in [(Some(3 * SECOND), 3), (None, 10)] {
        let client = client_of(&[hole.address(), hole_too.address()]).config(limits(limit, None));
        let start = tokio::time::Instant::now();
        let error = client.connect(URL).await.unwrap_err();
        assert!(matches!(opening(&error), (Phase::Connect, OpenCause::Timeout)), "{error}");
        assert_eq!(start.elapsed().as_secs(), expected);
    }
}

fn limits(connect: Option<Duration>, resolve: Option<Duration>) -> Config {
    let mut config = Config::default();
    config.connect_timeout = connect;
    config.resolve_timeout = resolve;
    config
}

#[tokio::test]
async fn ipv6_and_ipv4_stand_in_for_each_other() {
    let ipv6 = match TcpListener::bind("[::1]:0").await {
        Ok(listener) => listener,
        Err(error) => return println!("skipped: no IPv6 here: {error}"),
    };
    let ipv6_address = ipv6.local_addr().unwrap();
    let ((ipv4, ipv4_address), (_held, refusing)) = (listen("127.0.0.1").await, refused());
    let both = [ipv4_address, ipv6_address];
    let cases = [
        ("IPv4 refuses", client_of(&[refusing, ipv6_address]), &ipv6),
        ("the first", client_of(&both), &ipv4),
        ("IPv4 only", client_by(|tcp| tcp.family = Family::Ipv4, &both), &ipv4),
        ("IPv6 only", client_by(|tcp| tcp.family = Family::Ipv6, &both), &ipv6),
        ("from IPv6", client_by(|tcp| tcp.bind = Some("::1".parse().unwrap()), &both), &ipv6),
    ];
    for (name, client, listener) in cases {
        let (ws, _) = connect(&client, listener).await;
        assert_eq!(ws.handshake().unwrap().peer_addr, Some(listener.local_addr().unwrap()), "{name}");
    }
    drop(ipv6);
    let error = sockeye::connect(&format!("ws://{ipv6_address}/")).await.unwrap_err();
    assert_connect(&error, io::ErrorKind::ConnectionRefused, "");
    assert!(error.to_string().starts_with(&format!("cannot connect to {ipv6_address}: ")), "{error}");
}

#[tokio::test]
async fn without_an_address_of_the_family_nothing_is_tried() {
    let (_listener, address) = listen("127.0.0.1").await;
    let none = io::ErrorKind::AddrNotAvailable;
    let error = client_by(|tcp| tcp.family = Family::Ipv6, &[address]).connect(URL).await.unwrap_err();
    assert_connect(&error, none, "no IPv6 address");
    let from_ipv6 = client_by(|tcp| tcp.bind = Some("::1".parse().unwrap()), &[address]);
    let error = from_ipv6.connect(URL).await.unwrap_err();
    assert_connect(&error, none, "no address that can be connected to from ::1");
    // An address in the URL is no exception.
    let error = from_ipv6.connect(&format!("ws://{address}/")).await.unwrap_err();
    assert_connect(&error, none, "no address that can be connected to from ::1");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_sees_the_address_bound_to() {
    let (listener, address) = listen("127.0.0.1").await;
    let client = client_by(|tcp| tcp.bind = Some([127, 0, 0, 2].into()), &[address]);
    let (_, peer) = connect(&client, &listener).await;
    assert_eq!(peer.ip().to_string(), "127.0.0.2");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interface_can_be_chosen() {
    let (listener, address) = listen("127.0.0.1").await;
    connect(&client_by(|tcp| tcp.interface = Some("lo".into()), &[address]), &listener).await;
    let nowhere = client_by(|tcp| tcp.interface = Some("nowhere0".into()), &[address]);
    let error = nowhere.connect(URL).await.unwrap_err();
    let (_, OpenCause::Connect { source, .. }) = opening(&error) else { panic!("{error}") };
    assert!(source.to_string().starts_with("cannot connect through nowhere0: "), "{error}");
}

#[tokio::test]
async fn every_option_can_be_set() {
    let (listener, address) = listen("127.0.0.1").await;
    let change = |tcp: &mut Tcp| {
        tcp.nodelay = false;
        tcp.keepalive = Some(60 * SECOND);
        tcp.send_buffer = Some(100_000);
        tcp.receive_buffer = Some(100_000);
    };
    connect(&client_by(change, &[address]), &listener).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_option_that_the_system_refuses_is_an_error() {
    let (_listener, address) = listen("127.0.0.1").await;
    let error =
        client_by(|tcp| tcp.keepalive = Some(Duration::ZERO), &[address]).connect(URL).await.unwrap_err();
    assert_connect(&error, io::ErrorKind::InvalidInput, "cannot set keepalive: ");
}

/// Says for every name what it is made to say.
#[derive(Debug)]
enum Oracle {
    Silent,
    Fails,
    Knows(Vec<SocketAddr>),
}

impl Resolve for Oracle {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            match self {
                Self::Silent => std::future::pending().await,
                Self::Fails => Err(io::Error::other(format!("{host} on port {port} is unknown"))),
                Self::Knows(addresses) => Ok(addresses.clone()),
            }
        })
    }
}

#[tokio::test]
async fn a_resolver_can_be_replaced() {
    let (listener, address) = listen("127.0.0.1").await;
    connect(&Client::new().resolver(Oracle::Knows(vec![address])), &listener).await;

    let error = Client::new().resolver(Oracle::Fails).connect(URL).await.unwrap_err();
    let (Phase::Resolve, OpenCause::Resolve { host, source }) = opening(&error) else { panic!("{error}") };
    assert_eq!(
        (host.as_str(), source.to_string().as_str()),
        ("example.test", "example.test on port 7777 is unknown")
    );

    let error = Client::new().resolver(Oracle::Knows(vec![])).connect(URL).await.unwrap_err();
    assert!(matches!(opening(&error), (Phase::Resolve, OpenCause::Resolve { .. })), "{error}");
    assert!(error.to_string().starts_with("cannot resolve example.test: the name has no address"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_silent_lasts_until_the_deadline() {
    for (limit, expected) in [(Some(2 * SECOND), 2), (None, 10)] {
        let client = Client::new().resolver(Oracle::Silent).config(limits(None, limit));
        let start = tokio::time::Instant::now();
        let error = client.connect(URL).await.unwrap_err();
        assert!(matches!(opening(&error), (Phase::Resolve, OpenCause::Timeout)), "{error}");
        assert_eq!(start.elapsed().as_secs(), expected);
    }
}

#[tokio::test]
async fn addresses_in_urls_are_not_resolved() {
    let ((_held, refusing), resolver) = (refused(), Oracle::Fails);
    let error = Client::new().resolver(resolver).connect(&format!("ws://{refusing}/")).await.unwrap_err();
    assert_connect(&error, io::ErrorKind::ConnectionRefused, "");
}

#[tokio::test]
async fn overrides_hold_for_their_host_and_port_only() {
    let address: SocketAddr = ([192, 0, 2, 1], 80).into();
    let other: SocketAddr = ([192, 0, 2, 2], 80).into();
    let overrides = Overrides::new(Oracle::Knows(vec![other]))
        .set("a.test", 80, [other, other])
        .set("A.test", 80, [address])
        .set("none.test", 80, []);
    let cases: [(&str, u16, &[SocketAddr]); 5] = [
        ("a.test", 80, &[address]),
        ("A.TEST", 80, &[address]),
        ("a.test", 81, &[other]),
        ("b.test", 80, &[other]),
        ("none.test", 80, &[]),
    ];
    for (host, port, expected) in cases {
        assert_eq!(overrides.resolve(host, port).await.unwrap(), expected, "{host}:{port}");
    }
}

#[cfg(unix)]
mod unix {
    use std::path::{Path, PathBuf};

    use tokio::net::UnixListener;

    use super::*;

    async fn exchange(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let accepting = async { accept(listener.accept().await.unwrap().0).await };
        let client = Client::new().unix_socket(path);
        let (client, server) = tokio::join!(client.connect("ws://service.test/feed?id=1"), accepting);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.handshake().unwrap().resource_name, "/feed?id=1");
        assert_eq!(server.handshake().unwrap().headers["host"], "service.test");
        assert_eq!(client.handshake().unwrap().peer_addr, None);
        assert!(
            client.handshake().unwrap().timings.resolve.is_none()
                && client.handshake().unwrap().timings.connect.is_some()
        );
        echo(&mut client, &mut server).await;
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sockeye-{}-{name}", std::process::id()))
    }

    #[tokio::test]
    async fn a_unix_socket_takes_the_place_of_the_host() {
        let path = path("echo");
        exchange(&path).await;
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_unix_socket_that_is_not_there_is_named() {
        let path = path("none");
        let error = Client::new().unix_socket(&path).connect(URL).await.unwrap_err();
        assert_connect(&error, io::ErrorKind::NotFound, "");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_unix_socket_may_be_abstract() {
        let name = format!("sockeye-{}", std::process::id());
        exchange(Path::new(&format!("\0{name}"))).await;
        let error = Client::new().unix_socket(format!("\0{name}-none")).connect(URL).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot connect to @{name}-none: ")), "{error}");
    }
}
