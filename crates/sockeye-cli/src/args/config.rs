//! The configuration file: every option of `serve` is a key of the same name in it.
//!
//! What is in the file becomes arguments, which go in front of those of the command line, but for the options that are given there. So
//! there is one parser for both, and a new option is in the file as soon as it is on the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, ValueHint};
use toml::de::{DeTable, DeValue};

const SERVE: &str = "serve";

/// The option that names the file, and the only one that cannot be in it.
const CONFIG: &str = "config";

/// A value in the file.
struct Entry {
    key: String,
    /// The option's name to clap.
    id: String,
    /// Counted from 1.
    line: usize,
    /// As on the command line: `--key=value`, or `--key`.
    argument: OsString,
}

/// Parses a command line, and the file that it names, if it names one.
pub(super) fn parse(cli: &Command, line: &[OsString]) -> Result<ArgMatches, Error> {
    // What is wrong may be put right by the file; if not, it is told below.
    let lenient = cli.clone().ignore_errors(true).try_get_matches_from(line).ok();
    let given = lenient.as_ref().and_then(|matches| matches.subcommand_matches(SERVE));
    let path = given.and_then(|given| given.get_one::<PathBuf>(CONFIG));
    let (Some(given), Some(path)) = (given, path) else { return cli.clone().try_get_matches_from(line) };
    let fail = |why: String| wrong(cli, SERVE, why);
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| fail(format!("cannot read {}: {error}", path.display())))?;
    let mut entries = entries(cli, path, &text).map_err(fail)?;
    entries.retain(|entry| given.value_source(&entry.id) != Some(ValueSource::CommandLine));

    // The program and the verb come first.
    let (first, rest) = line.split_at(2.min(line.len()));
    let with = |wanted: &dyn Fn(&&Entry) -> bool| {
        let entries = entries.iter().filter(wanted).map(|entry| &entry.argument);
        cli.clone().try_get_matches_from(first.iter().chain(entries).chain(rest))
    };
    with(&|_| true).map_err(|error| match error.kind() {
        // Each is right by itself: some do not go together, or want others.
        ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument => {
            let guilty = entries.iter().filter(|guilty| with(&|entry| entry.key != guilty.key).is_ok());
            let lines: Vec<_> = guilty.map(|entry| format!(", line {}: {}", entry.line, entry.key)).collect();
            fail(format!("{} ({}{})", reason(&error), path.display(), lines.concat()))
        }
        _ => error,
    })
}

/// What is in the file, each value checked by itself.
fn entries(cli: &Command, path: &Path, text: &str) -> Result<Vec<Entry>, String> {
    let wrong =
        |at: Range<usize>, why: &str| format!("{}, line {}: {why}", path.display(), line(text, at.start));
    let table =
        DeTable::parse(text).map_err(|error| wrong(error.span().unwrap_or_default(), error.message()))?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let wrong = |at: Range<usize>, why: &str| wrong(at, &format!("{}: {why}", key.get_ref()));
        let arg = arg(cli, key.get_ref()).map_err(|why| wrong(key.span(), &why))?;
        let values = match value.get_ref() {
            DeValue::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
                values.iter().collect()
            }
            _ => vec![value],
        };
        for value in values {
            let argument = argument(arg, value.get_ref(), path).map_err(|why| wrong(value.span(), why))?;
            let Some(argument) = argument else { continue };
            match alone(cli, &argument) {
                Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
                    return Err(wrong(value.span(), &reason(&error)));
                }
                _ => {}
            }
            let (key, id) = (key.get_ref().to_string(), arg.get_id().to_string());
            entries.push(Entry { key, id, line: line(text, value.span().start), argument });
        }
    }
    Ok(entries)
}

fn alone(cli: &Command, argument: &OsStr) -> Result<ArgMatches, Error> {
    cli.clone().try_get_matches_from([OsStr::new(cli.get_name()), OsStr::new(SERVE), argument])
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The option of that name.
fn arg<'a>(cli: &'a Command, key: &str) -> Result<&'a Arg, String> {
    if key == CONFIG {
        return Err("this is for the command line alone".into());
    }
    let args = || cli.find_subcommand(SERVE).into_iter().flat_map(Command::get_arguments);
    let of_name = |name: &str| args().find(|arg| arg.get_long() == Some(name) && name != CONFIG);
    if let Some(arg) = of_name(key) {
        return Ok(arg);
    }
    // clap knows what is like it.
    let error = alone(cli, OsStr::new(&format!("--{key}"))).err();
    let similar = match error.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg)) {
        Some(ContextValue::String(similar)) => similar.trim_start_matches('-'),
        _ => "",
    };
    Err(match of_name(similar) {
        Some(_) => format!("there is no such key; there is {similar}"),
        None => "there is no such key; the keys are the options in sockeye serve --help".into(),
    })
}

/// The option with that value, as on the command line; `None` if it is off.
fn argument(arg: &Arg, value: &DeValue<'_>, file: &Path) -> Result<Option<OsString>, &'static str> {
    let mut argument = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
    if !arg.get_action().takes_values() {
        return match value {
            DeValue::Boolean(true) => Ok(Some(argument)),
            DeValue::Boolean(false) => Ok(None),
            _ => Err("it must be true or false"),
        };
    }
    let text = match value {
        DeValue::String(text) => text.to_string(),
        // With 0o and the like in front, as it was written.
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Array(_) => return Err("it must be one value"),
        _ => return Err("it must be a string or a number"),
    };
    argument.push("=");
    let directory = file.parent().unwrap_or(Path::new(""));
    match (arg.get_value_hint(), text.strip_prefix("unix:")) {
        (ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath, _) => {
            argument.push(directory.join(text));
        }
        (_, Some(path)) if arg.get_long() == Some("listen") && !path.is_empty() => {
            argument.push("unix:");
            argument.push(directory.join(path));
        }
        _ => argument.push(text),
    }
    Ok(Some(argument))
}

/// What was said of each option of `serve`, on the command line, in the file or by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(BTreeMap<String, Vec<OsString>>);

impl Said {
    pub(super) fn new(cli: &Command, matches: &ArgMatches) -> Self {
        let Some(matches) = matches.subcommand_matches(SERVE) else { return Self::default() };
        let values = |arg: &Arg| {
            let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
            Some((arg.get_long()?.to_owned(), values.map(OsStr::to_owned).collect()))
        };
        let args = cli.find_subcommand(SERVE).into_iter().flat_map(Command::get_arguments);
        Self(args.filter_map(values).collect())
    }

    /// The options of which something else is said there.
    pub(crate) fn changed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        other
            .0
            .iter()
            .filter(|(name, values)| self.0.get(*name) != Some(values))
            .map(|(name, _)| name.as_str())
    }
}

/// An error in the arguments of a verb.
pub(super) fn wrong(cli: &Command, verb: &str, why: String) -> Error {
    let mut cli = cli.clone();
    cli.build();
    let verb = cli.find_subcommand(verb).unwrap_or(&cli);
    verb.clone().error(ErrorKind::ValueValidation, why)
}

/// Why, in one line: without the usage, and what goes without saying.
pub(super) fn reason(error: &Error) -> String {
    if let Some(cause) = std::error::Error::source(error) {
        return cause.to_string();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.split("\n\n").next().unwrap_or_default();
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn arguments(text: &str) -> Result<Vec<String>, String> {
        let entries = entries(&Cli::command(), Path::new("/etc/a/serve.toml"), text)?;
        Ok(entries.into_iter().map(|entry| entry.argument.into_string().unwrap()).collect())
    }

    /// A value of the kind that the option has.
    fn sample(arg: &Arg) -> &'static str {
        if !arg.get_action().takes_values() {
            return "true";
        }
        match arg.get_value_names().unwrap()[0].as_str() {
            "ADDR:PORT" => "'127.0.0.1:0'",
            "BYTES" => "1_000",
            "CODE" => "1012",
            "FILE" | "DIR" => "'a file'",
            "HEADER" => "'forwarded'",
            "HOST" => "'a.example'",
            "N" => "5",
            "NETWORK" => "'10.0.0.0/8'",
            "OCTAL" => "0o660",
            "ORIGIN" => "'https://a.example'",
            "SECS" => "2.5",
            "text|json" => "'json'",
            other => panic!("a value for {other} is wanted here"),
        }
    }

    #[test]
    fn every_option_is_a_key() {
        let cli = Cli::command();
        let options = cli.find_subcommand(SERVE).unwrap().get_arguments();
        let options: Vec<_> = options.filter(|arg| arg.get_long() != Some(CONFIG)).collect();
        assert!(options.len() > 20);
        // Others are in conflict with these.
        let is_apart = |arg: &&Arg| matches!(arg.get_long(), Some("no-deflate" | "tls-self-signed"));
        let (apart, together): (Vec<_>, Vec<_>) = options.into_iter().partition(is_apart);
        for options in [apart, together] {
            let is_repeatable = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append);
            let text = options.iter().map(|arg| match (arg.get_long().unwrap(), sample(arg)) {
                (key, value) if is_repeatable(arg) => format!("{key} = [{value}, {value}]\n"),
                (key, value) => format!("{key} = {value}\n"),
            });
            let entries = entries(&cli, Path::new("serve.toml"), &text.collect::<String>()).unwrap();
            let line = ["sockeye", SERVE].map(OsString::from).into_iter();
            let line = line.chain(entries.into_iter().map(|entry| entry.argument));
            let matches = cli.clone().try_get_matches_from(line).unwrap();
            let matches = matches.subcommand_matches(SERVE).unwrap();
            for arg in options {
                let id = arg.get_id().as_str();
                assert_eq!(matches.value_source(id), Some(ValueSource::CommandLine), "{id}");
                let count = matches.indices_of(id).unwrap().len();
                assert_eq!(count, if is_repeatable(arg) { 2 } else { 1 }, "{id}");
            }
        }
    }

    #[test]
    fn what_can_be_changed_while_it_runs_are_options() {
        let cli = Cli::command();
        for name in crate::serve::LIVE {
            assert!(arg(&cli, name).is_ok(), "{name}");
        }
    }

    #[test]
    fn values_are_as_on_the_command_line() {
        for (text, expected) in [
            ("", &[][..]),
            ("# nothing\n", &[]),
            ("no-deflate = true", &["--no-deflate"]),
            ("no-deflate = false", &[]),
            ("listen = 'localhost:0'", &["--listen=localhost:0"]),
            ("listen = [\n'[::1]:0',\n'inherited']", &["--listen=[::1]:0", "--listen=inherited"]),
            ("listen = 'unix:run/socket'", &["--listen=unix:/etc/a/run/socket"]),
            ("listen = 'unix:/run/socket'", &["--listen=unix:/run/socket"]),
            ("trusted-proxy = 'unix'", &["--trusted-proxy=unix"]),
            ("tls-key = 'b/key.pem'", &["--tls-key=/etc/a/b/key.pem"]),
            ("tls-key = '/key.pem'", &["--tls-key=/key.pem"]),
            ("unix-mode = 0o660", &["--unix-mode=0o660"]),
            ("unix-mode = '660'", &["--unix-mode=660"]),
            ("drain = 1e1\nmax-message-size = 1_000", &["--drain=1e1", "--max-message-size=1000"]),
        ] {
            assert_eq!(arguments(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (text, expected) in [
            ("\n\ndrain = 'x'", "line 3: drain: it must be a number of seconds, such as 2.5"),
            ("listen = [\n'localhost:0',\n'localhost']", "line 3: listen: it must be an address and a port"),
            ("drian = 1", "line 1: drian: there is no such key; there is drain"),
            (
                "max_connections = 1",
                "line 1: max_connections: there is no such key; there is max-connections",
            ),
            ("'qq=b' = 1", "line 1: qq=b: there is no such key; the keys are"),
            ("help = true", "line 1: help: there is no such key; the keys are"),
            ("confg = 1", "line 1: confg: there is no such key; the keys are"),
            ("config = 'other.toml'", "line 1: config: this is for the command line alone"),
            ("log = 'xml'", "line 1: log: invalid value 'xml'"),
            ("no-deflate = 1", "line 1: no-deflate: it must be true or false"),
            ("drain = [1]", "line 1: drain: it must be one value"),
            ("drain = true", "line 1: drain: it must be a string or a number"),
            ("drain = 2026-11-21", "line 1: drain: it must be a string or a number"),
            ("drain = inf", "line 1: drain: it must be a number of seconds from 0 on"),
            ("[drain]\nx = 1", "line 1: drain: it must be a string or a number"),
            ("drain = 1\ndrain = 1", "line 2: duplicate key"),
            ("listen = [", "line 1: "),
        ] {
            let told = arguments(text).unwrap_err();
            let rest = told.strip_prefix("/etc/a/serve.toml, ").unwrap_or_else(|| panic!("{told}"));
            assert!(rest.starts_with(expected), "{text}: {told}");
        }
    }
}
