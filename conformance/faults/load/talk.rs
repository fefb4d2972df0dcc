//! Clients that talk, each answer compared with what was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye::{Client, Error, Message, WebSocket};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Failure, LATE, Start, all, client, end_of_input, ending, tell};

/// The pause of a steady client between an answer and its next message.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a message of one that talks without pause is.
const LENGTH: usize = 1024;

/// After so many answers one that talks without pause is under way.
const SOME: u64 = 100;

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    messages: AtomicU64,
    /// The longest time that an answer took, in microseconds.
    longest: AtomicU64,
}

/// Kinds of clients:
///
/// - `steady`: one message after the other, until the input ends;
/// - `reopen`: the same, and a new connection after three messages;
/// - `full`: numbered messages both ways without a pause, until the server ends it; what comes has to be what was sent, without a gap;
/// - `counted`: COUNT messages by one client, which then closes.
pub(super) async fn run(kind: &str, url: &str, count: usize, ca: Option<&str>) -> Result<(), Failure> {
    let (client, counts, stop) = (client(ca)?, Arc::new(Counts::default()), end_of_input());
    let start = Start::new(if kind == "counted" { 1 } else { count });
    let ends: BTreeMap<String, u64> = match kind {
        "steady" | "reopen" => {
            let messages = if kind == "steady" { u64::MAX } else { 3 };
            let one = |_| {
                let url = url.to_owned();
                converse(client.clone(), url, messages, counts.clone(), start.clone(), stop.clone())
            };
            all(count, one).await?;
            BTreeMap::new()
        }
        "full" => {
            let one = |_| full(client.clone(), url.to_owned(), counts.clone(), start.clone());
            let mut ends = BTreeMap::new();
            for end in all(count, one).await? {
                *ends.entry(end).or_insert(0) += 1;
            }
            ends
        }
        "counted" => {
            let mut ws = client.connect(url).await?;
            for number in 0..u64::try_from(count)? {
                exchange(&mut ws, number, &counts).await?;
            }
            close(&mut ws).await?;
            BTreeMap::new()
        }
        _ => return Err(format!("no kind {kind}").into()),
    };
    for (end, count) in ends {
        tell(&format!("end {end} {count}"));
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    tell(&format!(
        "connections {} messages {} longest {:.3}",
        count(&counts.connections),
        count(&counts.messages),
        Duration::from_micros(count(&counts.longest)).as_secs_f64()
    ));
    Ok(())
}

/// Connection after connection, with so many messages on each, until it is time to stop.
async fn converse(
    client: Client,
    url: String,
    messages: u64,
    counts: Arc<Counts>,
    start: Arc<Start>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let mut started = false;
    while !*stop.borrow() {
        let mut ws = client.connect(&url).await?;
        counts.connections.fetch_add(1, Ordering::Relaxed);
        for number in 0..messages {
            exchange(&mut ws, number, &counts).await?;
            if !std::mem::replace(&mut started, true) {
                start.one();
            }
            if *stop.borrow() {
                break;
            }
            sleep(PAUSE).await;
        }
        close(&mut ws).await?;
    }
    Ok(())
}

/// A message there and back.
async fn exchange(ws: &mut WebSocket, number: u64, counts: &Counts) -> Result<(), Failure> {
    let (text, start) = (format!("message {number}"), Instant::now());
    ws.send(text.clone()).await?;
    let echo = ws.recv().await?;
    if echo != Some(Message::Text(text.into())) {
        return Err(format!("{echo:?} came back for message {number}, {}", ending(ws.close_info())).into());
    }
    let took = u64::try_from(start.elapsed().as_micros())?;
    counts.longest.fetch_max(took, Ordering::Relaxed);
    counts.messages.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn close(ws: &mut WebSocket) -> Result<(), Failure> {
    ws.close(1000, "").await?;
    let end = ending(ws.close_info());
    if end == "1000 clean" { Ok(()) } else { Err(format!("closed with {end}").into()) }
}

/// Talks without a pause, both ways at once, until the server ends it; returns how.
async fn full(
    client: Client,
    url: String,
    counts: Arc<Counts>,
    start: Arc<Start>,
) -> Result<String, Failure> {
    let (sender, mut receiver) = client.connect(&url).await?.split();
    counts.connections.fetch_add(1, Ordering::Relaxed);
    let sending = tokio::spawn(async move {
        let mut sent = 0_u64;
        loop {
            match sender.send(numbered(sent)).await {
                Ok(()) => sent += 1,
                Err(Error::Closed | Error::Io(_)) => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
    });
    let mut came = 0;
    // An error is told by how it ended.
    while let Ok(Some(message)) = receiver.recv().await {
        if message != Message::Binary(numbered(came)) {
            return Err(format!("what came after {came} messages is not message {came}").into());
        }
        came += 1;
        if came == SOME {
            start.one();
        }
    }
    let sent = tokio::time::timeout(LATE, sending).await???;
    if came > sent {
        return Err(format!("{came} messages came, {sent} were sent").into());
    }
    counts.messages.fetch_add(came, Ordering::Relaxed);
    Ok(ending(receiver.close_info().as_ref()))
}

/// Its number, again and again: no two are alike, in no part.
pub(super) fn numbered(number: u64) -> Bytes {
    number.to_be_bytes().repeat(LENGTH / 8).into()
}
