//! What dialling opens it closes: file descriptors, counted. The only test of its process, since tests in one process share them.
#![cfg(target_os = "linux")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use sockeye::{Client, Config, OpenCause, Overrides, Tcp, accept};
use support::{BlackHole, refused};
use tokio::net::TcpListener;

const URL: &str = "ws://example.test:7777/";
const TURN: Duration = Duration::from_millis(10);

fn client_of(addresses: &[SocketAddr]) -> Client {
    let mut tcp = Tcp::default();
    tcp.attempt_delay = TURN;
    let mut config = Config::default();
    config.connect_timeout = Some(10 * TURN);
    Client::new()
        .resolver(Overrides::default().set("example.test", 7777, addresses.to_vec()))
        .tcp(tcp)
        .config(config)
}

fn count() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn races_leave_no_descriptor_open() {
    let (hole, (_held, refusing)) = (BlackHole::new(), refused());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let before = count();

    let failing = client_of(&[refusing, ([127, 0, 0, 2], refusing.port()).into()]);
    let hanging = client_of(&[refusing, hole.address()]);
    let mut patient = Config::default();
    patient.connect_timeout = None;
    let endless = client_of(&[refusing, hole.address()]).config(patient.clone());
    let succeeding = client_of(&[hole.address(), refusing, address]).config(patient);
    for _ in 0..25 {
        let error = failing.connect(URL).await.unwrap_err();
        assert!(
            matches!(&error, sockeye::Error::Open(error) if matches!(error.cause, OpenCause::Connect { .. }))
        );
        assert_eq!(count(), before, "after {error}");
    }
    for _ in 0..5 {
        let error = hanging.connect(URL).await.unwrap_err();
        assert!(matches!(&error, sockeye::Error::Open(error) if matches!(error.cause, OpenCause::Timeout)));
        assert_eq!(count(), before, "after {error}");
    }
    for _ in 0..20 {
        // Given up on in the midst of the race.
        tokio::time::timeout(TURN, endless.connect(URL)).await.expect_err("there is a black hole");
        assert_eq!(count(), before, "given up");
    }
    for _ in 0..50 {
        let accepting = async { accept(listener.accept().await.unwrap().0).await };
        let (client, server) = tokio::join!(succeeding.connect(URL), accepting);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(count(), before + 2, "one each");
        let (closed, ended) = tokio::join!(client.close(1000, ""), server.recv());
        assert!(closed.is_ok() && ended.unwrap().is_none());
        drop((client, server));
        assert_eq!(count(), before, "after a connection");
    }
}
