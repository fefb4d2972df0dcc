//! Clients that talk to an echo server while what is between them and it is reloaded and restarted, and that notice what is lost or doubled.
//!
//! usage: `fronts_load MODE URL CLIENTS NEWCOMERS [SOCKET]`. Run by `conformance/run fronts`. CLIENTS talk without end, each on its
//! connection; NEWCOMERS connect, send one message and close, again and again. SOCKET is the path of a unix socket to connect to. MODE says what may
//! become of a client: it must `stay`, it may be closed with 1001 and must be able to `return` at once, or it talks until it is `lost`.
//!
//! For each line `mark` on stdin it prints `marked` once every client has had `ROUND` further echoes, and every newcomer one further turn. At the end of stdin all
//! close, and it prints what was counted. In the mode `lost` it ends with the last client.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sockeye::{Client, CloseInfo, Error as SocketError, WebSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Failure = Box<dyn Error + Send + Sync>;

/// So many echoes make a mark.
const ROUND: u64 = 5;

/// Between an echo and the client's next message, so that some hundred clients leave the machine something.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an echo may take, and all that a mark waits for.
const LATE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Stay,
    Return,
    Lost,
}

/// What all clients share.
struct All {
    client: Client,
    url: String,
    mode: Mode,
    /// Whether to come to an end.
    ending: watch::Receiver<bool>,
    /// By client, then by newcomer: how many echoes came.
    echoes: Vec<AtomicU64>,
    told: Notify,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    opened: usize,
    newcomers: usize,
    /// How clients' connections were ended that did not end them.
    ends: BTreeMap<String, usize>,
    /// Messages that were under way when the server closed, and were not answered.
    unanswered: usize,
    failures: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether nothing failed.
async fn run(arguments: &[String]) -> Result<bool, Failure> {
    let ([mode, url, clients, newcomers], rest) =
        arguments.split_first_chunk().ok_or("usage: fronts_load MODE URL CLIENTS NEWCOMERS [SOCKET]")?;
    let mode = match mode.as_str() {
        "stay" => Mode::Stay,
        "return" => Mode::Return,
        "lost" => Mode::Lost,
        other => return Err(format!("no such mode: {other}").into()),
    };
    let (clients, newcomers): (usize, usize) = (clients.parse()?, newcomers.parse()?);
    let mut client = Client::new().proxy(None);
    if let Some(socket) = rest.first() {
        client = client.unix_socket(socket);
    }
    let (end, ending) = watch::channel(false);
    let echoes = (0..clients + newcomers).map(|_| AtomicU64::new(0)).collect();
    let (told, counts) = (Notify::new(), Mutex::default());
    let all = Arc::new(All { client, url: url.clone(), mode, ending, echoes, told, counts });

    let mut running = JoinSet::new();
    for place in 0..clients {
        let all = all.clone();
        running.spawn(async move {
            if let Err(error) = talk(&all, place).await {
                all.failed(format!("client {place}: {error}"));
            }
        });
    }
    for place in clients..clients + newcomers {
        let all = all.clone();
        running.spawn(async move { come_and_go(&all, place).await });
    }
    let is_open = || all.counts().opened >= clients || !all.counts().failures.is_empty();
    timeout(LATE, all.until(is_open)).await.map_err(|_| all.report("not open"))?;
    all.check()?;
    println!("open");

    let mut lines = lines();
    while mode != Mode::Lost
        && let Some(line) = lines.recv().await
    {
        if line != "mark" {
            return Err(format!("no such command: {line}").into());
        }
        all.mark(clients).await?;
        println!("marked");
    }
    end.send_replace(mode != Mode::Lost);
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    println!("{}", all.report("ended"));
    Ok(all.counts().failures.is_empty())
}

/// The lines on stdin.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl All {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: String) {
        self.counts().failures.push(what);
        self.told.notify_waiters();
    }

    /// Waits until something holds that an echo or a failure may bring about.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let told = self.told.notified();
            if holds() {
                return;
            }
            told.await;
        }
    }

    /// Waits until all have got on.
    async fn mark(&self, clients: usize) -> Result<(), Failure> {
        let count = |place: usize| self.echoes[place].load(Ordering::Relaxed);
        let wanted: Vec<u64> = (0..self.echoes.len())
            .map(|place| count(place) + if place < clients { ROUND } else { 1 })
            .collect();
        let holds = || {
            wanted.iter().enumerate().all(|(place, wanted)| count(place) >= *wanted)
                || !self.counts().failures.is_empty()
        };
        timeout(LATE, self.until(holds)).await.map_err(|_| {
            let late = wanted.iter().enumerate().filter(|(place, wanted)| count(*place) < **wanted).count();
            self.report(&format!("{late} do not get on"))
        })?;
        self.check()
    }

    /// Whether nothing has failed so far.
    fn check(&self) -> Result<(), Failure> {
        let failed = !self.counts().failures.is_empty();
        if failed { Err(self.report("failed").into()) } else { Ok(()) }
    }

    fn report(&self, what: &str) -> String {
        let counts = self.counts();
        let echoes: u64 = self.echoes.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let ends: Vec<_> = counts.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        let mut report = format!(
            "{what}: {} connections, {} newcomers, {echoes} echoes, {} unanswered, {} failures; ends: {}",
            counts.opened,
            counts.newcomers,
            counts.unanswered,
            counts.failures.len(),
            if ends.is_empty() { "none".to_owned() } else { ends.join(", ") },
        );
        for failure in counts.failures.iter().take(10) {
            report.push_str("\n  ");
            report.push_str(failure);
        }
        report
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }
}

/// What ends a conversation that we have not ended.
enum End {
    Closed(CloseInfo),
    Lost(SocketError),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(info) if info.clean => write!(f, "closed with {}", u16::from(info.code)),
            Self::Closed(_) => write!(f, "without a closing handshake"),
            Self::Lost(_) => write!(f, "lost"),
        }
    }
}

/// A client talks, and comes back where that is wanted.
async fn talk(all: &All, place: usize) -> Result<(), Failure> {
    let mut next = 0;
    loop {
        let begun = Instant::now();
        let mut ws = all.client.connect(&all.url).await.map_err(|error| {
            format!("cannot connect: {error} (after {:.3} s)", begun.elapsed().as_secs_f64())
        })?;
        all.counts().opened += 1;
        all.told.notify_waiters();
        let first = next;
        let Some(end) = converse(all, place, &mut ws, &mut next).await? else { return close(&mut ws).await };
        *all.counts().ends.entry(end.to_string()).or_default() += 1;
        let is_going_away = matches!(&end, End::Closed(info) if info.clean && u16::from(info.code) == 1001);
        match all.mode {
            Mode::Lost => return Ok(()),
            Mode::Return if is_going_away && all.is_ending() => return Ok(()),
            Mode::Return if is_going_away => {}
            _ => {
                let why = if let End::Lost(error) = &end { format!(": {error}") } else { String::new() };
                return Err(format!("{end} after {} echoes{why}", next - first).into());
            }
        }
    }
}

/// Sends numbered messages, one at a time, and wants each back once, in order. `None` if it is time to end.
async fn converse(
    all: &All,
    place: usize,
    ws: &mut WebSocket,
    next: &mut u64,
) -> Result<Option<End>, Failure> {
    let mut ending = all.ending.clone();
    loop {
        let message = format!("{place}:{next}");
        match ws.send(message.clone()).await {
            Ok(()) | Err(SocketError::Closed) => {}
            Err(error) => return Ok(Some(End::Lost(error))),
        }
        match timeout(LATE, ws.recv()).await.map_err(|_| format!("no echo of {message}"))? {
            Ok(Some(echo)) if echo.as_text() == Some(&message) => {}
            Ok(Some(echo)) => return Err(format!("{echo:?} came, not {message}: lost or doubled").into()),
            Ok(None) => {
                all.counts().unanswered += 1;
                return ended(ws).map(Some);
            }
            Err(error) => return Ok(Some(End::Lost(error))),
        }
        *next += 1;
        all.echoes[place].fetch_add(1, Ordering::Relaxed);
        all.told.notify_waiters();
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = ending.wait_for(|ending| *ending) => return Ok(None),
            received = ws.recv() => return match received {
                Ok(Some(echo)) => Err(format!("{echo:?} came unasked: doubled").into()),
                Ok(None) => ended(ws).map(Some),
                Err(error) => Ok(Some(End::Lost(error))),
            }
        }
    }
}

fn ended(ws: &WebSocket) -> Result<End, Failure> {
    ws.close_info().cloned().map(End::Closed).ok_or_else(|| "ended, and nobody knows how".into())
}

async fn close(ws: &mut WebSocket) -> Result<(), Failure> {
    let info =
        timeout(LATE, ws.close(1000, "")).await.map_err(|_| "the closing handshake does not end")??;
    if info.clean { Ok(()) } else { Err(format!("not closed cleanly: {info:?}").into()) }
}

/// Connects, has one message echoed and closes, again and again.
async fn come_and_go(all: &All, place: usize) {
    while !all.is_ending() {
        let begun = Instant::now();
        match turn(all).await {
            Ok(()) => {}
            Err(error) => {
                let after = begun.elapsed().as_secs_f64();
                return all.failed(format!("a newcomer: {error} (after {after:.3} s)"));
            }
        }
        all.counts().newcomers += 1;
        all.echoes[place].fetch_add(1, Ordering::Relaxed);
        all.told.notify_waiters();
        sleep(PAUSE).await;
    }
}

async fn turn(all: &All) -> Result<(), Failure> {
    let mut ws = all.client.connect(&all.url).await.map_err(|error| format!("cannot connect: {error}"))?;
    match ws.send("hello").await {
        Ok(()) | Err(SocketError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    match timeout(LATE, ws.recv()).await.map_err(|_| "no echo")?? {
        Some(echo) if echo.as_text() == Some("hello") => close(&mut ws).await,
        Some(echo) => Err(format!("{echo:?} came").into()),
        // Its server has gone down meanwhile, as a client's may.
        None => match ended(&ws)? {
            End::Closed(info) if all.mode == Mode::Return && info.clean && u16::from(info.code) == 1001 => {
                all.counts().unanswered += 1;
                Ok(())
            }
            end => Err(format!("{end}").into()),
        },
    }
}
