//! The command line, in two steps: what was said, each value checked by itself ([`Cli`]), and from it what is to be done
//! ([`Plan`]), which the verbs get and which cannot be wrong any more.

mod config;
mod connect;
mod serve;
mod values;
mod way;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use sockeye::Config;

use crate::exit;

pub(crate) use config::Said;
pub(crate) use connect::{Connect, Sending};
pub(crate) use serve::{Certificate, Log, Serve};
pub(crate) use values::Listen;

/// What is to be done.
pub(crate) enum Plan {
    Connect(Box<Connect>),
    Serve(Box<Serve>),
}

/// Reads the command line, and the configuration file that it names. Where that is wrong it says so and ends the program with code 2.
pub(crate) fn plan() -> Plan {
    read(std::env::args_os()).unwrap_or_else(|wrong| wrong.exit())
}

/// What `serve` is to do by the same command line and the configuration file as it is now, or what is wrong with that.
pub(crate) fn serve_again() -> Result<Serve, String> {
    match read(std::env::args_os()).map_err(|wrong| config::reason(&wrong))? {
        Plan::Serve(plan) => Ok(*plan),
        Plan::Connect(_) => Err("this is no server".into()),
    }
}

fn read(line: impl Iterator<Item = OsString>) -> Result<Plan, clap::Error> {
    let cli = Cli::command();
    let matches = config::parse(&cli, &line.collect::<Vec<_>>())?;
    let plan = match Cli::from_arg_matches(&matches)?.verb {
        Verb::Connect(args) => (*args).try_into().map(|plan| Plan::Connect(Box::new(plan))),
        Verb::Serve(args) => {
            let said = Said::new(&cli, &matches);
            Serve::try_from(*args).map(|plan| Plan::Serve(Box::new(Serve { said, ..plan })))
        }
    };
    plan.map_err(|why: String| config::wrong(&cli, matches.subcommand_name().unwrap_or_default(), why))
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

    #[test]
    fn examples_in_the_help_are_right() {
        let mut cli = Cli::command();
        let serve = cli.find_subcommand_mut("serve").unwrap();
        let help = format!("{}\n{}", serve.render_help(), serve.render_long_help());
        let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  sockeye serve")).collect();
        assert!(examples.len() > 5);
        for example in examples {
            assert!(cli.clone().try_get_matches_from(example.split_whitespace()).is_ok(), "{example}");
        }
    }
}
