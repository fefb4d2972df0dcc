//! `sockeye connect`: what can be said, and what is to be done.

use std::time::Duration;

use sockeye::{Backoff, Client, HeaderName, HeaderValue};

use super::values::{Retry, Wait, count_or_inf, header, header_value, seconds, seconds_or_inf, subprotocol};
use super::way::Way;

/// What `connect` is to do.
pub(crate) struct Connect {
    pub(crate) url: String,
    pub(crate) client: Client,
    /// Whether a lost connection is made again, and with which pauses an attempt that failed is.
    pub(crate) reconnects: bool,
    pub(crate) backoff: Backoff,
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

const EXAMPLES: &str = "\
Sends each line of the input and prints what comes, binary in hex; at the end of
input closes after a silence. On a terminal lines are edited, Ctrl-D closes.

  sockeye connect ws://127.0.0.1:9000/echo
  echo hello | sockeye connect ws://127.0.0.1:9000/echo
  sockeye connect --binary ws://127.0.0.1:9000/echo <cat.png >same.png
  sockeye connect --wait inf ws://example.com/feed </dev/null | grep warning";

/// Connects to a WebSocket: sends what comes in, prints what comes back
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "sockeye connect [OPTIONS] <URL>", next_line_help = false)]
pub(super) struct Args {
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
    #[arg(long, value_name = "BYTES", requires = "binary", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    chunk: Option<u32>,
    /// Silence to close after, or inf
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds_or_inf)]
    wait: Wait,
    /// Limit of the opening, 0: no
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    connect_timeout: Duration,
    /// Silence to ping after, 0: no
    #[arg(long, value_name = "SECS", default_value = "20", value_parser = seconds, hide_short_help = true)]
    ping_interval: Duration,
    /// Connects again, N failures at most, or inf
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = count_or_inf)]
    retry: Retry,
    /// Limit of the pause before the first again
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds, hide_short_help = true)]
    retry_delay: Duration,
    /// Does not offer compression
    #[arg(long, hide_short_help = true)]
    no_deflate: bool,
    #[command(flatten)]
    way: Way,
    /// Tells of handshake and close on stderr
    #[arg(short, long)]
    verbose: bool,
}

impl TryFrom<Args> for Connect {
    type Error = String;

    fn try_from(args: Args) -> Result<Self, String> {
        let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let mut config = super::config(args.no_deflate);
        config.open_timeout = some(args.connect_timeout);
        config.ping_interval = some(args.ping_interval);
        args.way.limit(&mut config);
        let mut client = args.way.set(Client::new().config(config))?;
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
        let mut backoff = Backoff::default();
        backoff.first = args.retry_delay;
        backoff.failures = args.retry.0.map(|most| most.saturating_add(1));
        Ok(Self {
            url: args.url,
            client,
            reconnects: args.retry.0 != Some(0),
            backoff,
            wait: args.wait.0,
            sending,
            verbose: args.verbose,
        })
    }
}
