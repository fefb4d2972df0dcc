//! What `conformance/run faults` needs in numbers: clients that hold connections, that talk, that open and close as fast as it goes; and a server
//! that pushes.
//!
//! Each verb prints a line when it is under way, does what it does until the server ends it or its own input ends, and prints what it has counted.
//! The first thing that goes wrong ends it with 1.

mod flood;
mod hold;
mod push;
mod talk;

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::{Client, CloseInfo, Config, Tls};
use tokio::runtime::Runtime;
use tokio::sync::watch;

type Failure = Box<dyn Error + Send + Sync>;

/// How long an opening may take, and a closing handshake: the machine may be busy, and what is late is not what is tested.
const LATE: Duration = Duration::from_secs(60);

/// So many openings are under way at once.
const AT_ONCE: usize = 64;

const USAGE: &str = "\
usage: faults_load hold URL COUNT NETWORK        connections from 127.0.NETWORK.1 and on, each of which has exchanged a message
       faults_load talk KIND URL COUNT [CA]      KIND: steady, reopen, full, counted
       faults_load flood ADDRESS SECONDS THREADS SOURCE KIND     KIND: close, reset, abort
       faults_load push COUNT                    a server, and its clients";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    match *words {
        ["hold", url, count, network] => runtime.block_on(hold::run(url, count.parse()?, network.parse()?)),
        ["talk", kind, url, count] => runtime.block_on(talk::run(kind, url, count.parse()?, None)),
        ["talk", kind, url, count, ca] => runtime.block_on(talk::run(kind, url, count.parse()?, Some(ca))),
        ["flood", address, seconds, threads, source, kind] => {
            flood::run(address.parse()?, seconds.parse()?, threads.parse()?, source.parse()?, kind)
        }
        ["push", count] => runtime.block_on(push::run(count.parse()?)),
        _ => Err(USAGE.into()),
    }
}

/// A client with no deadline of its own that a busy machine could miss: the server's are what is tested.
fn client(ca: Option<&str>) -> Result<Client, Failure> {
    let mut config = Config::default();
    config.open_timeout = Some(LATE);
    config.close_timeout = Some(LATE);
    config.ping_interval = None;
    let client = Client::new().config(config);
    match ca {
        None => Ok(client),
        Some(ca) => Ok(client.tls(Tls::default().only_ca_pem(&std::fs::read(ca)?)?)),
    }
}

/// True once the input has ended: whoever started this wants no more.
fn end_of_input() -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    std::thread::spawn(move || {
        // An error is an end too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        tell.send_replace(true);
    });
    told
}

/// `CODE clean` or `CODE lost`.
fn ending(info: Option<&CloseInfo>) -> String {
    info.map_or("none".into(), |info| {
        format!("{} {}", u16::from(info.code), if info.clean { "clean" } else { "lost" })
    })
}

/// Runs `one` for each number below `count`, all at once, until the last has ended or one has failed.
async fn all<T, F>(count: usize, one: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        running.spawn(one(number));
    }
    let mut results = Vec::with_capacity(count);
    while let Some(ended) = running.join_next().await {
        results.push(ended??);
    }
    Ok(results)
}

/// Prints a line at once.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be there any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Counts those who are under way, and tells it once all are.
struct Start {
    count: usize,
    under_way: AtomicUsize,
}

impl Start {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { count, under_way: 0.into() })
    }

    fn is_complete(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == self.count
    }

    fn one(&self) {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.count {
            tell(&format!("under way {}", self.count));
        }
    }
}
