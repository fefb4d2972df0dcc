//! Opens many connections of one kind in one process, and counts the file descriptors and tasks that are there before and after.
//!
//! usage: `proxies_leaks COUNT CA URL PROXY ENDS`. Run by `conformance/run proxies`; cases.toml there says what PROXY and ENDS are.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sockeye::{Client, Config, Message, OpenCause, Phase, Proxy, Tls};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Failure = Box<dyn Error + Send + Sync>;

/// So many connections are open at once.
const AT_ONCE: usize = 50;

/// How long a phase may take that is to time out, and how long an opening that is given up lasts.
const SOON: Duration = Duration::from_millis(100);

/// How long any other opening may take, and how long what was closed may take to go away.
const LATE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, ca, url, proxy, ends] = arguments.as_slice() else {
        eprintln!("usage: proxies_leaks COUNT CA URL PROXY ENDS");
        return ExitCode::from(2);
    };
    match run(count, ca, url, proxy, ends).await {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what was counted.
async fn run(count: &str, ca: &str, url: &str, proxy: &str, ends: &str) -> Result<String, Failure> {
    let count: usize = count.parse()?;
    let tls = Tls::default().only_ca_pem(&std::fs::read(ca)?)?;
    let proxy = if proxy == "-" { None } else { Some(Proxy::new(proxy)?.tls(tls.clone())) };
    let mut config = Config::default();
    config.open_timeout = Some(LATE);
    match ends {
        "connect!" => config.connect_timeout = Some(SOON),
        "proxy!" => config.proxy_timeout = Some(SOON),
        "tls!" => config.tls_timeout = Some(SOON),
        "upgrade!" => config.upgrade_timeout = Some(SOON),
        _ => {}
    }
    let client = Client::new().config(config).tls(tls).proxy(proxy).redirects(3);

    // What is made once, when it is first needed, is no leak.
    one(client.clone(), url.to_owned(), ends.to_owned()).await?;
    let before = (descriptors()?, tasks());
    let mut running = JoinSet::new();
    for _ in 0..count {
        if running.len() == AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            ended??;
        }
        running.spawn(one(client.clone(), url.to_owned(), ends.to_owned()));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let start = Instant::now();
    let mut after = (descriptors()?, tasks());
    while after != before && start.elapsed() < LATE {
        sleep(Duration::from_millis(5)).await;
        after = (descriptors()?, tasks());
    }
    Ok(format!(
        "{count} connections, descriptors {} and {}, tasks {} and {}",
        before.0, after.0, before.1, after.1
    ))
}

/// One connection, which has to end as expected.
async fn one(client: Client, url: String, ends: String) -> Result<(), Failure> {
    if ends == "dropped" {
        return match timeout(SOON, client.connect(&url)).await {
            Err(_) => Ok(()),
            Ok(result) => Err(format!("ended before it was given up: {:?}", result.err()).into()),
        };
    }
    let error = match client.connect(&url).await {
        Ok(mut ws) if ends == "open" => {
            ws.send("hello").await?;
            let echo = ws.recv().await?;
            if echo != Some(Message::Text("hello".into())) {
                return Err(format!("{echo:?} came back").into());
            }
            ws.close(1000, "").await?;
            return match ws.recv().await? {
                None => Ok(()),
                Some(message) => Err(format!("{message:?} came after the Close").into()),
            };
        }
        Ok(_) => return Err("a connection was opened".into()),
        Err(error) => error,
    };
    let sockeye::Error::Open(open) = &error else { return Err(error.into()) };
    let phase = match open.phase {
        Phase::Resolve => "resolve",
        Phase::Connect => "connect",
        Phase::Proxy => "proxy",
        Phase::Tls => "tls",
        Phase::Upgrade => "upgrade",
    };
    let timed_out = if matches!(open.cause, OpenCause::Timeout) { "!" } else { "" };
    if format!("{phase}{timed_out}") == ends { Ok(()) } else { Err(error.into()) }
}

fn descriptors() -> Result<usize, Failure> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
