//! The client under test of the Autobahn Testsuite's fuzzing server: echoes whatever each case sends.
//!
//! usage: `autobahn_client URL`, where URL is the fuzzing server's. Run by `conformance/run autobahn`.

use std::process::ExitCode;

use sockeye::Error;

const AGENT: &str = "sockeye";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(server) = std::env::args().nth(1) else {
        eprintln!("usage: autobahn_client URL");
        return ExitCode::from(2);
    };
    match run(server.trim_end_matches('/')).await {
        Ok(cases) => {
            println!("{cases} cases");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case, then has the report written.
async fn run(server: &str) -> Result<usize, Box<dyn std::error::Error>> {
    let cases = case_count(server).await?;
    for case in 1..=cases {
        // In many cases the server breaks the protocol: an error is what those are about, and ends only the case.
        if let Err(error) = echo(&format!("{server}/runCase?case={case}&agent={AGENT}")).await {
            println!("case {case}: {error}");
        }
    }
    echo(&format!("{server}/updateReports?agent={AGENT}")).await?;
    Ok(cases)
}

/// Asks how many cases there are: the server says so in a text message and closes.
async fn case_count(server: &str) -> Result<usize, Box<dyn std::error::Error>> {
    let mut socket = sockeye::connect(&format!("{server}/getCaseCount")).await?;
    let mut count = None;
    while let Some(message) = socket.recv().await? {
        count = message.as_text().map(str::parse).transpose()?;
    }
    count.ok_or_else(|| "the server did not say how many cases there are".into())
}

/// Sends every message back until the server closes.
async fn echo(url: &str) -> Result<(), Error> {
    let mut socket = sockeye::connect(url).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
