//! `sockeye serve`: what can be said, and what is to be done.

use std::path::PathBuf;

use sockeye::Config;

use super::values::{address, host, origin};

/// What `serve` is to do.
pub(crate) struct Serve {
    pub(crate) listen: Vec<String>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    pub(crate) metrics_listen: Option<String>,
    pub(crate) metrics_token_file: Option<PathBuf>,
    pub(crate) log: Option<Log>,
    /// Limits, deadlines and compression.
    pub(crate) config: Config,
}

/// How the log is written, a line for each event.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Log {
    Json,
    Text,
}

const EXAMPLES: &str = "\
Serves a page to try it with at /, a WebSocket that echoes at /echo,
/healthz and /readyz for probes, and /metrics. Ctrl-C closes every connection
with 1001 (going away) and exits.

  sockeye serve
  sockeye serve --listen 0.0.0.0:80 --allow-host ws.example.com
  sockeye serve --listen 127.0.0.1:0 --allow-origin http://localhost:5173";

/// Serves a WebSocket echo, and a page to try it with
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where to listen, repeatable; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000", value_parser = address)]
    listen: Vec<String>,
    /// Lets in WebSockets of pages of another origin, repeatable; '*' is any
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    /// Answers to that name too, repeatable; '*' is any
    ///
    /// On a loopback address the server answers to localhost, 127.0.0.1 and [::1] only, which stops DNS
    /// rebinding; on others to any name, unless this is given
    #[arg(long, value_name = "HOST", value_parser = host)]
    allow_host: Vec<String>,
    /// Where to serve /metrics, /healthz and /readyz alone
    ///
    /// Without this, /metrics is where the WebSockets are: on loopback addresses,
    /// and with --metrics-token-file on all.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address, hide_short_help = true)]
    metrics_listen: Option<String>,
    /// Shows /metrics to those who send the token in it
    ///
    /// They send it as "Authorization: Bearer TOKEN".
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    metrics_token_file: Option<PathBuf>,
    /// Logs to stderr who connects and how that ends
    ///
    /// Nothing is logged without this. Of URLs the path and the names in the query
    /// are told, of header fields nothing.
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    log: Option<Log>,
    /// Does not accept compression (permessage-deflate)
    #[arg(long)]
    no_deflate: bool,
}

impl From<Args> for Serve {
    fn from(args: Args) -> Self {
        let config = super::config(args.no_deflate);
        Self {
            listen: args.listen,
            allow_origin: args.allow_origin,
            allow_host: args.allow_host,
            metrics_listen: args.metrics_listen,
            metrics_token_file: args.metrics_token_file,
            log: args.log,
            config,
        }
    }
}
