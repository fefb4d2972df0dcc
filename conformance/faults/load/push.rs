//! A server that pushes numbered messages and counts how many `send` took, and clients that count how many came: none may be missing when the server
//! has gone down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sockeye::{Client, Drain, Error, Incoming, Message, Server, WebSocket};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::talk::numbered;
use super::{Failure, LATE, Start, all, client, ending, tell};

/// After so many messages a client is under way.
const SOME: u64 = 100;

/// What `send` took, connection by connection.
type Taken = Arc<Vec<AtomicU64>>;

/// Prints `clients COUNT messages COUNT`, if all that was taken has come.
pub(super) async fn run(count: usize) -> Result<(), Failure> {
    let taken: Taken = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let mut drain = Drain::default();
    drain.over = Duration::from_secs(1);
    drain.deadline = Some(LATE);
    let server = Server::bind("127.0.0.1:0").await?.drain(drain);
    let address = server.local_addr()?;
    let (start, go) = (Start::new(count), Arc::new(Notify::new()));
    let (counts, shutdown) = (taken.clone(), go.clone());
    let serving =
        tokio::spawn(server.run_until(async move { shutdown.notified().await }, move |incoming| {
            push(incoming, counts.clone())
        }));
    let watched = start.clone();
    let telling = tokio::spawn(async move {
        while !watched.is_complete() {
            sleep(Duration::from_millis(10)).await;
        }
        go.notify_one();
    });
    let client = client(None)?;
    let came = all(count, |number| {
        let url = format!("ws://{address}/{number}");
        pull(client.clone(), url, number, start.clone())
    })
    .await?;
    telling.await?;
    let drained = serving.await??;
    if drained.clean != count {
        return Err(format!("of {count} connections these ended so: {drained:?}").into());
    }
    let mut messages = 0;
    for (number, came) in came {
        let taken = taken[number].load(Ordering::SeqCst);
        if came != taken {
            return Err(format!("client {number}: `send` took {taken} messages, {came} came").into());
        }
        messages += came;
    }
    tell(&format!("clients {count} messages {messages}"));
    Ok(())
}

/// Sends until the connection closes: every other one by a task of its own, with the halves.
async fn push(incoming: Incoming, taken: Taken) -> Result<(), Error> {
    let number: usize = incoming.path().trim_start_matches('/').parse().unwrap_or_default();
    let mut ws = incoming.accept().await?;
    if number.is_multiple_of(2) {
        return push_all(&mut ws, &taken[number]).await;
    }
    let (sender, mut receiver) = ws.split();
    let pushing = tokio::spawn(async move {
        let count = &taken[number];
        while sender.send(numbered(count.load(Ordering::SeqCst))).await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    while receiver.recv().await?.is_some() {}
    drop(pushing.await);
    Ok(())
}

async fn push_all(ws: &mut WebSocket, taken: &AtomicU64) -> Result<(), Error> {
    loop {
        match ws.send(numbered(taken.load(Ordering::SeqCst))).await {
            Ok(()) => drop(taken.fetch_add(1, Ordering::SeqCst)),
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads all there is, every third client slowly at first, so that the server waits for room; returns how many messages came.
async fn pull(
    client: Client,
    url: String,
    number: usize,
    start: Arc<Start>,
) -> Result<(usize, u64), Failure> {
    let mut ws = client.connect(&url).await?;
    let mut came = 0;
    while let Some(message) = ws.recv().await? {
        if message != Message::Binary(numbered(came)) {
            return Err(
                format!("client {number}: what came after {came} messages is not message {came}").into()
            );
        }
        came += 1;
        if came == SOME {
            start.one();
        }
        if number.is_multiple_of(3) && came < 2 * SOME {
            sleep(Duration::from_millis(2)).await;
        }
    }
    match ending(ws.close_info()) {
        end if end == "1001 clean" => Ok((number, came)),
        end => Err(format!("client {number}: it ended with {end}").into()),
    }
}
