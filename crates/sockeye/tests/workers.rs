//! Servers that share addresses and limits, each in a thread of its own.

mod support;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use sockeye::{
    Client, CloseCode, Control, Drained, Error, Incoming, Listener, Server, StatusCode, WebSocket, connect,
};
use support::echo;

/// Runs a server in a thread with a runtime of its own, and says by its number which one it was.
fn run(server: Server, number: usize) -> JoinHandle<io::Result<Drained>> {
    let handler = move |incoming: Incoming| async move {
        let mut ws = incoming.accept().await?;
        ws.send(number.to_string()).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.run_until(pending::<()>(), handler))
    })
}

/// Runs a server and a worker of it.
fn run_two(server: Server) -> (Control, impl FnOnce() -> Drained) {
    let (control, worker) = (server.control(), server.worker().unwrap());
    let running = [run(server, 0), run(worker, 1)];
    (control, || running.into_iter().map(|thread| thread.join().unwrap().unwrap()).sum())
}

/// A connection, and which worker has it.
async fn open(client: &Client, url: &str) -> Result<(WebSocket, usize), Error> {
    let mut ws = client.connect(url).await?;
    let number = ws.recv().await?.unwrap().as_text().unwrap().parse().unwrap();
    Ok((ws, number))
}

/// Opens so many connections, until no more are let in, and ends the workers.
async fn use_up(client: Client, url: &str, control: &Control, wait: impl FnOnce() -> Drained) -> [usize; 2] {
    const MOST: usize = 40;
    control.change(|settings| settings.max_connections = Some(MOST));
    let (mut open_now, mut counts) = (Vec::new(), [0, 0]);
    for _ in 0..MOST {
        let (ws, number) = open(&client, url).await.unwrap();
        counts[number] += 1;
        open_now.push(ws);
    }
    for _ in 0..10 {
        let error = client.connect(url).await.unwrap_err();
        // By a unix socket the request cannot be written any more, and the refusal is not looked for.
        assert!(
            error.refusal().is_none_or(|refusal| refusal.status == StatusCode::SERVICE_UNAVAILABLE),
            "{error}"
        );
    }
    let connections = control.connections();
    assert_eq!((connections.open(), connections.accepted(), connections.refused()), (MOST, MOST as u64, 10));

    control.change(|settings| settings.drain.code = CloseCode::SERVICE_RESTART);
    control.shut_down();
    for mut ws in open_now {
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_info().unwrap().code, 1012);
    }
    let drained = tokio::task::block_in_place(wait);
    assert_eq!((drained.clean, drained.lost, drained.aborted), (MOST, 0, 0));
    assert_eq!(connections.open(), 0);
    assert!(client.connect(url).await.is_err(), "somebody still listens");
    counts
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_queues_of_their_own() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = Listener::tcp_shared(address).await else {
            assert!(address.starts_with('['), "a machine without IPv6");
            continue;
        };
        let server = Server::from_listener(listener);
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let (control, wait) = run_two(server);
        let counts = use_up(Client::new(), &url, &control, wait).await;
        assert!(counts[0] > 0 && counts[1] > 0, "the system spreads them: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_any_other_listener_share_its_queue() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (control, wait) = run_two(server);
    let counts = use_up(Client::new(), &url, &control, wait).await;
    assert_eq!(counts[0] + counts[1], 40);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("sockeye-workers-{}", std::process::id()));
    let server = Server::from_listener(Listener::unix(&path, Some(0o600)).unwrap());
    let (control, wait) = run_two(server);
    use_up(Client::new().unix_socket(&path), "ws://localhost/", &control, wait).await;
    assert!(!path.exists(), "the socket's file is removed with the last of them");
}

#[tokio::test]
async fn who_does_not_share_has_a_port_alone() {
    let shared = Listener::tcp_shared("127.0.0.1:0").await.unwrap();
    let address = shared.local_addr().unwrap();
    assert_eq!(Listener::tcp(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);

    let plain = Listener::tcp("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    assert_eq!(Listener::tcp_shared(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn when_one_goes_down_all_do() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (first, second, third) = (server.worker().unwrap(), server.worker().unwrap(), server);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let first = tokio::spawn(first.run_until(stopped, move |incoming| {
        counting.fetch_add(1, Ordering::Relaxed);
        echo(incoming)
    }));
    let second = tokio::spawn(second.run(echo));
    let mut ws = connect(&url).await.unwrap();
    ws.send("there?").await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    stop.send(()).unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    second.await.unwrap().unwrap();
    let drained = first.await.unwrap().unwrap();
    assert_eq!(drained.clean, count.load(Ordering::Relaxed), "its own");
    // One that is run too late finds that it is over.
    assert_eq!(third.run_until(pending::<()>(), echo).await.unwrap(), Drained::default());
    assert!(connect(&url).await.is_err(), "somebody still listens");
}
