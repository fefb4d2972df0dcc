//! The command line, in two steps: what was said, each value checked by itself ([`Cli`]), and from it what is to be done
//! ([`Plan`]), which the verbs get and which cannot be wrong any more.

mod connect;
mod serve;
mod values;
mod way;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use sockeye::Config;

use crate::exit;

pub(crate) use connect::{Connect, Sending};
pub(crate) use serve::{Certificate, Log, Serve};
pub(crate) use values::Listen;

/// What is to be done.
pub(crate) enum Plan {
    Connect(Box<Connect>),
    Serve(Box<Serve>),
}

/// Reads the command line. Where that is wrong it says so and ends the program with code 2.
pub(crate) fn plan() -> Plan {
    match Cli::parse().verb {
        Verb::Connect(args) => match (*args).try_into() {
            Ok(plan) => Plan::Connect(Box::new(plan)),
            Err(why) => Cli::command().error(ErrorKind::ValueValidation, why).exit(),
        },
        Verb::Serve(args) => Plan::Serve(Box::new((*args).into())),
    }
}

/// Serves WebSockets and connects to them.
#[derive(Parser)]
#[command(name = "sockeye", version, max_term_width = 80, disable_help_subcommand = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Connect(Box<connect::Args>),
    Serve(Box<serve::Args>),
}

fn config(no_deflate: bool) -> Config {
    let mut config = Config::default();
    if no_deflate {
        config.deflate = None;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
