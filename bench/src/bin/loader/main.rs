//! The loader: a WebSocket client of its own, one thread, that keeps a server busy, checks what comes back, and tells
//! what that cost the server.
//!
//! ```text
//! loader echo PORT [--connections N] [--in-flight N] [--size BYTES] [--text | --deflate] [--warm-up SECONDS]
//!                  [--seconds SECONDS | --messages N] [--pid PID] [--core N]
//! loader handshakes PORT [--connections N] [--warm-up SECONDS] [--seconds SECONDS] [--pid PID] [--core N]
//! loader idle PORT --pid PID [--connections N] [--core N]
//! ```
//!
//! It prints one line of JSON.

mod deflate;
mod echo;
mod frames;
mod handshakes;
mod idle;
mod opening;
mod poll;
mod replies;
mod server;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use pico_args::Arguments;
use rustix::thread::{CpuSet, sched_setaffinity};

use echo::{Length, Plan};
use server::Server;

/// After this long without a byte from the server a run has failed.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(Arguments::from_env()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loader: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Arguments) -> Result<serde_json::Value> {
    let command = args.subcommand()?.ok_or("echo, handshakes or idle?")?;
    let pid: Option<u32> = args.opt_value_from_str("--pid")?;
    let server = pid.map(Server::new);
    if let Some(core) = args.opt_value_from_str("--core")? {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
    }
    let connections = args.opt_value_from_str("--connections")?;
    let warm_up = Duration::from_secs_f64(args.opt_value_from_str("--warm-up")?.unwrap_or(0.2));
    let seconds = Duration::from_secs_f64(args.opt_value_from_str("--seconds")?.unwrap_or(0.5));
    let messages = args.opt_value_from_str("--messages")?;
    let in_flight = args.opt_value_from_str("--in-flight")?.unwrap_or(1);
    let size = args.opt_value_from_str("--size")?.unwrap_or(20);
    let text = args.contains("--text");
    let deflate = args.contains("--deflate");
    let port: u16 = args.free_from_str()?;
    if let [unknown, ..] = &args.finish()[..] {
        return Err(format!("unknown argument {}", unknown.display()).into());
    }
    match command.as_str() {
        "echo" => {
            let measured = messages.map_or(Length::Time(seconds), Length::Messages);
            // Where every message counts, so does the warm-up.
            let warm_up = if messages.is_some() { Length::Messages(0) } else { Length::Time(warm_up) };
            let plan = Plan {
                port,
                connections: connections.unwrap_or(64),
                in_flight,
                size,
                text,
                deflate,
                warm_up,
                measured,
            };
            echo::run(&plan, server.as_ref())
        }
        "handshakes" => handshakes::run(port, connections.unwrap_or(64), warm_up, seconds, server.as_ref()),
        "idle" => idle::run(port, connections.unwrap_or(10_000), &server.ok_or("idle needs --pid")?),
        other => Err(format!("unknown command {other}").into()),
    }
}
