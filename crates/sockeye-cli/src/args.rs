//! The command line, in two steps: what was said, each value checked by itself ([`Cli`]), and from it what is to be done
//! ([`Plan`]), which the verbs get and which cannot be wrong any more.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sockeye::{Client, Config, HeaderName, HeaderValue};

use crate::exit;

/// What is to be done.
pub(crate) enum Plan {
    Connect(Connect),
    Serve(Serve),
}

/// What `connect` is to do.
pub(crate) struct Connect {
    pub(crate) url: String,
    pub(crate) client: Client,
    /// How long replies are waited for after the end of the input; `None`: for ever.
    pub(crate) wait: Option<Duration>,
    pub(crate) sending: Sending,
    pub(crate) verbose: bool,
}

/// What becomes of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Each line is a text message.
    Lines,
    /// The whole of it is one binary message.
    Whole,
    /// Binary messages of at most so many bytes, as it comes.
    Chunks(usize),
}

/// What `serve` is to do.
pub(crate) struct Serve {
    pub(crate) listen: Vec<String>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    /// Limits, deadlines and compression.
    pub(crate) config: Config,
}

/// Reads the command line. Where that is wrong it says so and ends the program with code 2.
pub(crate) fn plan() -> Plan {
    match Cli::parse().verb {
        Verb::Connect(args) => Plan::Connect(args.into()),
        Verb::Serve(args) => Plan::Serve(args.into()),
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
    Connect(ConnectArgs),
    Serve(ServeArgs),
}

const CONNECT_EXAMPLES: &str = "\
Sends each line of the input and prints what comes, binary in hex; at the end of
input closes after a silence. On a terminal lines are edited, Ctrl-D closes.

  sockeye connect ws://127.0.0.1:9000/echo
  echo hello | sockeye connect ws://127.0.0.1:9000/echo
  sockeye connect --binary ws://127.0.0.1:9000/echo <cat.png >same.png
  sockeye connect --wait inf ws://example.com/feed </dev/null | grep warning";

/// Connects to a WebSocket: sends what comes in, prints what comes back
#[derive(Args)]
#[command(after_help = CONNECT_EXAMPLES, override_usage = "sockeye connect [OPTIONS] <URL>")]
struct ConnectArgs {
    // Help texts of at most 44 characters, the default included, stand beside the options: the whole fits a screen.
    #[arg(value_name = "URL", hide = true)]
    url: String,
    /// Adds a header field, as 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Offers subprotocols, best first: a,b
    #[arg(short, long, value_name = "NAME", value_delimiter = ',', value_parser = subprotocol)]
    subprotocol: Vec<String>,
    /// Connects as a page of that origin would
    #[arg(long, value_parser = header_value)]
    origin: Option<HeaderValue>,
    /// Input is one binary message; raw output
    #[arg(long)]
    binary: bool,
    /// Sends binary as it comes, BYTES at most
    #[arg(long, value_name = "BYTES", requires = "binary", value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,
    /// Silence to close after, or inf
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds_or_inf)]
    wait: Wait,
    /// Limit of the opening, 0: no
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    connect_timeout: Duration,
    /// Silence to ping after, 0: no
    #[arg(long, value_name = "SECS", default_value = "20", value_parser = seconds)]
    ping_interval: Duration,
    /// Does not offer compression
    #[arg(long)]
    no_deflate: bool,
    /// Tells of handshake and close on stderr
    #[arg(short, long)]
    verbose: bool,
}

const SERVE_EXAMPLES: &str = "\
Serves a page to try it with at /, a WebSocket that echoes at /echo, and
/healthz. Ctrl-C closes every connection with 1001 (going away) and exits.

  sockeye serve
  sockeye serve --listen 0.0.0.0:80 --allow-host ws.example.com
  sockeye serve --listen 127.0.0.1:0 --allow-origin http://localhost:5173";

/// Serves a WebSocket echo, and a page to try it with
#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
#[command(after_help = SERVE_EXAMPLES)]
struct ServeArgs {
    /// Where to listen, repeatable; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000", value_parser = address)]
    listen: Vec<String>,
    /// Lets in WebSockets of pages of another origin, repeatable; '*' is any
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    /// Answers to that name too, repeatable; '*' is any. On a loopback address the
    /// server answers to localhost, 127.0.0.1 and [::1] only, which stops DNS
    /// rebinding; on others to any name, unless this is given
    #[arg(long, value_name = "HOST", value_parser = host)]
    allow_host: Vec<String>,
    /// Does not accept compression (permessage-deflate)
    #[arg(long)]
    no_deflate: bool,
}

impl From<ConnectArgs> for Connect {
    fn from(args: ConnectArgs) -> Self {
        let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let mut config = config(args.no_deflate);
        config.open_timeout = some(args.connect_timeout);
        config.ping_interval = some(args.ping_interval);
        let mut client = Client::new().config(config);
        for (name, value) in args.headers {
            client = client.header(name, value);
        }
        for name in args.subprotocol {
            client = client.subprotocol(name);
        }
        if let Some(origin) = args.origin {
            client = client.origin(origin);
        }
        let sending = match (args.binary, args.chunk) {
            (false, _) => Sending::Lines,
            (true, None) => Sending::Whole,
            (true, Some(bytes)) => Sending::Chunks(usize::try_from(bytes).unwrap_or(usize::MAX)),
        };
        Self { url: args.url, client, wait: args.wait.0, sending, verbose: args.verbose }
    }
}

impl From<ServeArgs> for Serve {
    fn from(args: ServeArgs) -> Self {
        let config = config(args.no_deflate);
        Self { listen: args.listen, allow_origin: args.allow_origin, allow_host: args.allow_host, config }
    }
}

fn config(no_deflate: bool) -> Config {
    let mut config = Config::default();
    if no_deflate {
        config.deflate = None;
    }
    config
}

/// `Name: value` as curl has it; `Name;` gives a field without a value.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = match text.split_once(':') {
        Some((_, value)) if value.trim().is_empty() => {
            return Err("there is no value; 'Name;' sends the field with an empty one".into());
        }
        Some(parts) => parts,
        None => match text.strip_suffix(';') {
            Some(name) => (name, ""),
            None => return Err("it must be 'Name: value'".into()),
        },
    };
    let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is not the name of a header field"))?;
    if name == sockeye::header::SEC_WEBSOCKET_PROTOCOL {
        return Err("subprotocols are offered with -s".into());
    }
    Ok((name, header_value(value)?))
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.trim().as_bytes()).map_err(|_| "it holds a control character".into())
}

fn subprotocol(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() { Err("a name is empty".into()) } else { Ok(name.into()) }
}

/// How long to wait: a type of its own, since clap takes an `Option` for an option that may be missing.
#[derive(Clone, Copy)]
struct Wait(Option<Duration>);

fn seconds_or_inf(text: &str) -> Result<Wait, String> {
    if text == "inf" { Ok(Wait(None)) } else { seconds(text).map(|wait| Wait(Some(wait))) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it must be a number of seconds, such as 2.5")?;
    Duration::try_from_secs_f64(number).map_err(|_| "it must be a number of seconds from 0 on".into())
}

fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((address, port)) if !address.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("it must be an address and a port, such as 127.0.0.1:9000 or [::1]:0".into()),
    }
}

/// An origin as browsers write it; any other form would never match.
fn origin(text: &str) -> Result<String, String> {
    let is_plain = |(scheme, host): (&str, &str)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
    };
    if text == "*" || text == "null" || text.split_once("://").is_some_and(is_plain) {
        return Ok(text.into());
    }
    Err("it must be a scheme and a host, such as https://app.example.com, with nothing behind".into())
}

/// A host as it is in `Host`, without a port.
fn host(text: &str) -> Result<String, String> {
    match crate::serve::host_of(text) {
        _ if text == "*" => Ok(text.into()),
        Some(host) if host.len() == text.len() => Ok(host.to_ascii_lowercase()),
        _ => {
            Err("it must be a host name or an address, such as ws.example.com or [::1], without a port"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn header_fields_are_read_as_curl_reads_them() {
        let read = |text| header(text).map(|(name, value)| (name.to_string(), value));
        let is = |name: &str, value: &'static str| Ok((name.into(), HeaderValue::from_static(value)));
        assert_eq!(read("Name: a value "), is("name", "a value"));
        assert_eq!(read("Name:value:more"), is("name", "value:more"));
        assert_eq!(read("Name;"), is("name", ""));
        assert_eq!(header("X: ü").map(|(_, value)| value.as_bytes().to_vec()), Ok("ü".into()));
        for wrong in ["", "Name", "Name:", "Name: ", ": value", "A name: value", "Name: a\r\nB: b", "Näme: x"]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        fn check<T, E>(read: fn(&str) -> Result<T, E>, right: &[&str], wrong: &[&str]) {
            for text in right {
                assert!(read(text).is_ok(), "{text}");
            }
            for text in wrong {
                assert!(read(text).is_err(), "{text}");
            }
        }
        check(
            origin,
            &["*", "null", "https://app.example", "http://127.0.0.1:8000", "http://[::1]:1"],
            &["", "app.example", "https://app.example/", "https://", "://host"],
        );
        check(
            host,
            &["*", "a.example", "127.0.0.1", "[::1]"],
            &["", "a.example:80", "http://a.example", "::1", "a/b"],
        );
        check(
            address,
            &["127.0.0.1:0", "[::1]:9000", "localhost:80"],
            &["", "9000", ":9000", "127.0.0.1", "127.0.0.1:65536"],
        );
        check(seconds, &["0", "0.25", "1e3"], &["", "-1", "NaN", "inf", "1s"]);
        check(seconds_or_inf, &["0", "inf"], &["-1", "infinite"]);
        check(subprotocol, &["chat", " chat "], &["", " "]);
    }
}
