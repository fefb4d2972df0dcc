//! What a server listens on besides one TCP address.
#![cfg(unix)]

mod support;

use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sockeye::{Client, Error, Incoming, Listener, Server, connect};
use tokio::sync::oneshot;

/// A directory of a test's own, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says by which listener the connection came, and from where.
async fn tell(incoming: Incoming) -> Result<(), Error> {
    let seen = format!("{} {:?}", incoming.listener(), incoming.peer_addr().map(|peer| peer.ip()));
    let mut ws = incoming.accept().await?;
    ws.send(seen).await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}

async fn told(client: &Client, url: &str) -> String {
    let mut ws = client.connect(url).await.unwrap();
    let told = ws.recv().await.unwrap().unwrap().as_text().unwrap().to_owned();
    ws.close(1000, "").await.unwrap();
    told
}

#[tokio::test]
async fn one_server_listens_on_all_kinds() {
    let directory = Directory::new();
    let path = directory.file("socket");
    let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Listener::tcp("127.0.0.1:0").await.unwrap();
    let unix = Listener::unix(&path, Some(0o600)).unwrap();
    let addresses = [inherited.local_addr().unwrap(), second.local_addr().unwrap()];
    assert_eq!(unix.local_addr(), None);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let server = Server::from_listener(Listener::try_from(inherited).unwrap()).listen(second).listen(unix);
    assert_eq!(server.local_addr().unwrap(), addresses[0]);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(stopped, tell));
    let plain = Client::new();
    let by_unix = Client::new().unix_socket(&path);
    for _ in 0..3 {
        assert_eq!(told(&plain, &format!("ws://{}/", addresses[0])).await, "0 Some(127.0.0.1)");
        assert_eq!(told(&plain, &format!("ws://{}/", addresses[1])).await, "1 Some(127.0.0.1)");
        assert_eq!(told(&by_unix, "ws://localhost/").await, "2 None");
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(!path.exists(), "the socket's file is removed");
    assert!(connect(&format!("ws://{}/", addresses[1])).await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let directory = Directory::new();
    let path = directory.file("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as a server that was killed leaves it");
    let first = Listener::unix(&path, None).unwrap();
    assert_eq!(Listener::unix(&path, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);

    // Who finds another in its place leaves that alone.
    fs::remove_file(&path).unwrap();
    let second = Listener::unix(&path, None).unwrap();
    drop(first);
    assert!(path.exists());
    let server = Server::from_listener(second);
    assert_eq!(server.local_addr().unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    drop(server);
    assert!(!path.exists());

    let file = directory.file("file");
    fs::write(&file, "no socket").unwrap();
    assert_eq!(Listener::unix(&file, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(fs::read(&file).unwrap(), b"no socket");
}

#[tokio::test]
async fn many_may_wait_at_a_unix_socket() {
    let directory = Directory::new();
    let path = directory.file("socket");
    let listener = Listener::unix(&path, None).unwrap();
    // Nobody accepts. Whoever comes to a full queue of a unix socket is not told to wait, as with TCP, but refused.
    let mut waiting = Vec::new();
    for number in 0..500 {
        let connected = tokio::net::UnixStream::connect(&path).await;
        waiting.push(connected.unwrap_or_else(|error| panic!("after {number}: {error}")));
    }
    drop(listener);
}

/// Two servers on one port, as the workers of a server that is bound to several cores have it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn several_servers_share_a_port() {
    use socket2::{Domain, Socket, Type};
    let bind = |address: std::net::SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        Server::from_listener(Listener::try_from(std::net::TcpListener::from(socket)).unwrap())
    };
    let first = bind(([127, 0, 0, 1], 0).into());
    let address = first.local_addr().unwrap();
    let second = bind(address);
    let counts = [first.connections(), second.connections()];
    let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
    let run = |server: Server| {
        let mut stopped = stop.subscribe();
        tokio::spawn(async move { server.run_until(stopped.recv(), tell).await })
    };
    let running = [run(first), run(second)];
    for _ in 0..40 {
        told(&Client::new(), &format!("ws://{address}/")).await;
    }
    stop.send(()).unwrap();
    for running in running {
        running.await.unwrap().unwrap();
    }
    let [first, second] = counts.map(|counts| counts.accepted());
    assert_eq!(first + second, 40);
    assert!(first > 0 && second > 0, "the system spreads them: {first} and {second}");
}

/// Time is virtual, and goes on when there is nothing else to do.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn failures_to_accept_are_told_now_and_then_for_all_workers() {
    use std::sync::Arc;

    // It listens no more: accepting fails.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
    let told = Arc::new(AtomicU32::new(0));
    let count = told.clone();
    let server = Server::from_listener(Listener::try_from(listener).unwrap()).on_accept_error(move |error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (worker, control) = (server.worker().unwrap(), server.control());
    let running = [tokio::spawn(server.run(tell)), tokio::spawn(worker.run(tell))];
    tokio::time::sleep(Duration::from_millis(9_950)).await;
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let failures = control.connections().accept_errors();
    assert!((100..=200).contains(&failures), "ten times a second each: {failures}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told.load(Ordering::Relaxed), 2);
    control.shut_down();
    for running in running {
        running.await.unwrap().unwrap();
    }
}

/// Clients that all come back at once find room to wait in: where there is none, the system has them try again after a second only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn hundreds_may_wait_to_be_accepted() {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let count = most.trim().parse::<usize>().unwrap().min(500);
    for listener in
        [Listener::tcp("127.0.0.1:0").await.unwrap(), Listener::tcp_shared("127.0.0.1:0").await.unwrap()]
    {
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for number in 0..count {
            let one = TcpStream::connect_timeout(&address, Duration::from_secs(10));
            waiting.push(one.unwrap_or_else(|error| panic!("after {number} of {count}: {error}")));
        }
    }
}
