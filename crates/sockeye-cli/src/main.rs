//! `sockeye`: serves WebSockets and connects to them.

mod args;
mod connect;
mod exit;
mod serve;
mod signals;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::Plan;

fn main() -> ExitCode {
    let exit = match args::plan() {
        Plan::Connect(plan) => connect::run(&plan),
        Plan::Serve(plan) => serve::run(*plan),
    };
    exit.into()
}

/// Tells something on stderr; stdout is for data alone.
fn tell(text: impl Display) {
    // One write, so that other programs' lines do not come in between. If nobody listens, there is nobody to tell.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Tells what went wrong, in the form that programs on a terminal have for it.
fn complain(text: impl Display) {
    tell(format_args!("sockeye: {text}"));
}
