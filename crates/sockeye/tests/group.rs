//! WebSockets on axum's server, counted and closed together.

mod support;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use sockeye::{
    Client, CloseCode, Closed, Config, Drain, Drained, Error, Group, HeaderValue, Metrics, Refused, Side,
    Snapshot, UpgradeError, WebSocket, WebSocketUpgrade, connect,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A server of axum's that goes down as its documentation has it.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        Self { address, stop, server: tokio::spawn(serving.into_future()) }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}/{path}", self.address)
    }

    async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap().unwrap();
    }
}

fn drain(change: impl FnOnce(&mut Drain)) -> Drain {
    let mut drain = Drain::default();
    change(&mut drain);
    drain
}

async fn until(metrics: &Metrics, are_right: impl Fn(&Snapshot) -> bool) -> Snapshot {
    for _ in 0..5000 {
        let snapshot = metrics.snapshot();
        if are_right(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never comes to that: {:#?}", metrics.snapshot());
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Is let go once its future is.
struct Alive(#[expect(dead_code, reason = "it is only dropped")] mpsc::Sender<()>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_taken_before_arrives_and_all_are_closed_at_the_pace() {
    const COUNT: u32 = 20;
    type Counts = Arc<Mutex<HashMap<String, u64>>>;
    async fn flood(
        Path(path): Path<String>,
        group: State<(Group, Counts)>,
        ws: WebSocketUpgrade,
    ) -> Response {
        let State((group, counts)) = group;
        ws.group(&group).on_upgrade(|mut ws| async move {
            let mut count = 0u64;
            while ws.send(count.to_string()).await.is_ok() {
                count += 1;
            }
            counts.lock().unwrap().insert(path, count);
        })
    }
    async fn echoes(State((group, _)): State<(Group, Counts)>, ws: WebSocketUpgrade) -> Response {
        ws.group(&group).on_upgrade(echo)
    }
    let (metrics, counts) = (Metrics::new(), Counts::default());
    let group = Group::new().metrics(metrics.clone());
    let router = Router::new().route("/flood/{client}", any(flood)).route("/echo", any(echoes));
    let server = Running::start(router.with_state((group.clone(), counts.clone()))).await;
    let mut clients = JoinSet::new();
    let (arrived, mut arrivals) = mpsc::channel(1);
    for client in 0..COUNT {
        let (url, has_arrived) = (server.url(&format!("flood/{client}")), arrived.clone());
        clients.spawn(async move {
            let mut ws = connect(&url).await.unwrap();
            let mut count = 0u64;
            while let Some(message) = ws.recv().await.unwrap() {
                assert_eq!(message.as_text(), Some(&*count.to_string()));
                count += 1;
                if count == 100 {
                    has_arrived.send(()).await.unwrap();
                }
            }
            let info = ws.close_info().unwrap();
            assert!(info.clean && info.code == CloseCode::SERVICE_RESTART, "{info:?}");
            (Some((client.to_string(), count)), Instant::now())
        });
        let (url, arrived) = (server.url("echo"), arrived.clone());
        clients.spawn(async move {
            let mut ws = connect(&url).await.unwrap();
            arrived.send(()).await.unwrap();
            while ws.send("there").await.is_ok() && ws.recv().await.unwrap().is_some() {}
            while ws.recv().await.unwrap().is_some() {}
            assert!(ws.close_info().unwrap().clean);
            (None, Instant::now())
        });
    }
    for _ in 0..2 * COUNT {
        arrivals.recv().await.unwrap();
    }
    let open = until(&metrics, |snapshot| snapshot.connections_open == 2 * u64::from(COUNT)).await;
    assert_eq!((open.connections_total, open.draining), (open.connections_open, 0));
    server.stop().await;
    let (start, over) = (Instant::now(), Duration::from_millis(200));
    let plan = drain(|drain| (drain.over, drain.code) = (over, CloseCode::SERVICE_RESTART));
    let drained = group.drain(plan).await.unwrap();
    let all = 2 * COUNT as usize;
    assert_eq!((drained.clean, drained.lost, drained.aborted), (all, 0, 0));
    let mut ends = Vec::new();
    for (flooded, end) in clients.join_all().await {
        if let Some((path, count)) = flooded {
            assert_eq!(counts.lock().unwrap().get(&path), Some(&count), "{path}");
        }
        ends.push(end);
    }
    ends.sort_unstable();
    for (index, end) in (0u32..).zip(ends) {
        assert!(end - start >= over * index / (2 * COUNT), "number {index} was closed before its time");
    }
    let counted = metrics.snapshot();
    assert_eq!((counted.connections_open, counted.draining), (0, 0));
    assert_eq!((counted.drained, counted.aborted), (all as u64, 0));
    let closed: Vec<_> = counted
        .closed
        .iter()
        .map(|Closed { code, initiator, count, .. }| (*code, *initiator, *count))
        .collect();
    assert_eq!(closed, [("1012", Side::Local, all as u64)]);
    assert!(
        counted.received.text_messages > 0 && counted.sent.text_messages >= counted.received.text_messages
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ignores_the_close_is_cut_off_at_the_deadline() {
    async fn upgrade(
        Path(path): Path<String>,
        state: State<(Group, mpsc::Sender<()>)>,
        ws: WebSocketUpgrade,
    ) -> Response {
        let State((group, alive)) = state;
        ws.group(&group).on_upgrade(|mut ws| async move {
            let _alive = Alive(alive);
            match &*path {
                // Never looks.
                "deaf" => std::future::pending().await,
                // Sees the end and does not care.
                "busy" => {
                    while ws.recv().await?.is_some() {}
                    std::future::pending().await
                }
                _ => echo(ws).await,
            }
        })
    }
    let (alive, mut all_gone) = mpsc::channel(1);
    let metrics = Metrics::new();
    let group = Group::new().metrics(metrics.clone());
    let router = Router::new().route("/{how}", any(upgrade)).with_state((group.clone(), alive));
    let server = Running::start(router).await;
    let mut good = connect(&server.url("good")).await.unwrap();
    let mut busy = connect(&server.url("busy")).await.unwrap();
    let mut deaf = connect(&server.url("deaf")).await.unwrap();
    until(&metrics, |snapshot| snapshot.connections_open == 3).await;
    server.stop().await;
    let clients = tokio::spawn(async move {
        assert_eq!((good.recv().await.unwrap(), busy.recv().await.unwrap()), (None, None));
        assert!(matches!(deaf.recv().await, Err(Error::Io(_))), "it is told nothing");
    });
    let start = Instant::now();
    let drained = group.drain(drain(|drain| drain.deadline = Some(Duration::from_secs(3)))).await.unwrap();
    assert_eq!((drained.clean, drained.lost, drained.aborted), (2, 0, 1));
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(all_gone.recv().await, None, "no task is left");
    clients.await.unwrap();
    let counted = metrics.snapshot();
    assert_eq!((counted.drained, counted.aborted, counted.draining, counted.connections_open), (2, 1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_of_the_callers_is_counted_and_left_alone() {
    async fn upgrade(
        State((group, alive)): State<(Group, mpsc::Sender<()>)>,
        ws: WebSocketUpgrade,
    ) -> Result<Response, UpgradeError> {
        let mut config = Config::default();
        config.close_timeout = Some(Duration::from_secs(60));
        let (response, upgrading) = ws.config(config).group(&group).accept()?;
        tokio::spawn(async move {
            let _alive = Alive(alive);
            let mut ws = upgrading.await?;
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert!(matches!(ws.send("late").await, Err(Error::Closed)));
            while ws.recv().await?.is_some() {}
            Ok::<_, Error>(())
        });
        Ok(response)
    }
    let (alive, mut all_gone) = mpsc::channel(1);
    let group = Group::new();
    let router = Router::new().route("/", any(upgrade)).with_state((group.clone(), alive));
    let server = Running::start(router).await;
    let mut ws = connect(&server.url("")).await.unwrap();
    ws.send("there?").await.unwrap();
    server.stop().await;
    let start = Instant::now();
    let drained = group.drain(Drain::default()).await.unwrap();
    assert_eq!((drained.clean, drained.lost, drained.aborted), (0, 0, 1));
    assert_eq!(start.elapsed().as_secs(), 6, "5 s for closing handshakes, and one more");
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_info().unwrap().code, CloseCode::GOING_AWAY);
    assert_eq!(all_gone.recv().await, None, "it ends by itself");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn whoever_comes_afterwards_is_closed_at_once() {
    async fn upgrade(State(group): State<Group>, ws: WebSocketUpgrade) -> Response {
        ws.group(&group).on_upgrade(echo)
    }
    let group = Group::new();
    let server = Running::start(Router::new().route("/", any(upgrade)).with_state(group.clone())).await;
    let plan = drain(|drain| drain.code = CloseCode::SERVICE_RESTART);
    assert_eq!(group.drain(plan.clone()).await.unwrap(), Drained::default());
    for _ in 0..2 {
        let mut late = connect(&server.url("")).await.unwrap();
        assert_eq!(late.recv().await.unwrap(), None);
        let info = late.close_info().unwrap();
        assert!(info.clean && info.code == CloseCode::SERVICE_RESTART, "{info:?}");
    }
    assert_eq!(group.drain(plan).await.unwrap().aborted, 0);
    server.stop().await;
    let wrong = drain(|drain| drain.code = CloseCode::ABNORMAL_CLOSURE);
    assert_eq!(group.drain(wrong).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_handler_may_let_go_and_two_may_wait() {
    async fn upgrade(State(group): State<Group>, ws: WebSocketUpgrade) -> Response {
        ws.group(&group).on_upgrade(|mut ws| async move {
            let _ = ws.recv().await;
            // Whether it closes already is found out by sending; the rest is the group's to do.
            while ws.send("more").await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
    }
    let group = Group::new();
    let server = Running::start(Router::new().route("/", any(upgrade)).with_state(group.clone())).await;
    let mut ws = connect(&server.url("")).await.unwrap();
    ws.send("begin").await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    server.stop().await;
    let (other, receiving) = (group.clone(), async { while ws.recv().await.unwrap().is_some() {} });
    let (one, two, ()) =
        tokio::join!(group.drain(Drain::default()), other.drain(Drain::default()), receiving);
    assert_eq!((one.unwrap().clean, two.unwrap().clean), (1, 1));
    assert!(ws.close_info().unwrap().clean);
}

#[tokio::test]
async fn what_is_refused_is_counted_too() {
    async fn upgrade(State(group): State<Group>, ws: WebSocketUpgrade) -> Result<Response, UpgradeError> {
        let (response, _upgrading) = ws.group(&group).accept()?;
        Ok(response)
    }
    let metrics = Metrics::new();
    let group = Group::new().metrics(metrics.clone());
    let server = Running::start(Router::new().route("/", any(upgrade)).with_state(group.clone())).await;
    let foreign = Client::new().origin(HeaderValue::from_static("https://evil.example"));
    assert!(foreign.connect(&server.url("")).await.is_err());
    let refused = metrics.snapshot().refused;
    assert!(refused.contains(&(Refused::Origin, 1)), "{refused:?}");
    // One that nobody waits for is none.
    let mut ws = connect(&server.url("")).await.unwrap();
    assert!(ws.recv().await.is_err());
    assert_eq!(metrics.snapshot().connections_total, 0);
    assert_eq!(group.drain(Drain::default()).await.unwrap(), Drained::default());
    server.stop().await;
}
