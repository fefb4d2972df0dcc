//! `sockeye serve`: what can be said, and what is to be done.

mod limits;

use std::path::PathBuf;

use sockeye::{Config, Drain};

use super::values::{Listen, address, host, listen, origin};
use limits::{Deadlines, Limits};

/// What `serve` is to do.
pub(crate) struct Serve {
    pub(crate) listen: Vec<Listen>,
    pub(crate) tls: Certificate,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_addr: Option<usize>,
    /// How connections are closed in the end.
    pub(crate) drain: Drain,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    pub(crate) metrics_listen: Option<String>,
    pub(crate) metrics_token_file: Option<PathBuf>,
    pub(crate) log: Option<Log>,
    /// Limits, deadlines and compression.
    pub(crate) config: Config,
}

/// What is shown by TLS.
pub(crate) enum Certificate {
    /// There is no TLS.
    None,
    Files {
        chain: PathBuf,
        key: PathBuf,
    },
    /// One that is made for this run.
    SelfSigned,
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
  sockeye serve --listen [::]:443 --tls-cert chain.pem --tls-key key.pem
  sockeye serve --listen 127.0.0.1:0 --allow-origin http://localhost:5173";

/// Serves a WebSocket echo, and a page to try it with
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where to listen
    ///
    /// Repeatable. An address and a port, of which 0 picks a free one; or unix:PATH,
    /// a unix socket; or inherited, for the sockets that systemd hands over.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000", value_parser = listen)]
    listen: Vec<Listen>,
    /// Speaks TLS, with the certificates in there (PEM)
    ///
    /// The server's own is the first, and those that lead to a CA follow. SIGHUP
    /// reads both files again; connections that are there go on.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    ///
    /// It must not be encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speaks TLS with a certificate made for this run
    ///
    /// It is for localhost, the loopback addresses and those listened on; its
    /// SHA-256 is told. For trying only: nobody else stands behind it.
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,
    /// Refuses connections beyond so many at once
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Lets in pages of that origin too, or of any ('*')
    ///
    /// Repeatable.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    /// Answers to that name too, or to any ('*')
    ///
    /// Repeatable. On a loopback address the server answers to localhost, 127.0.0.1
    /// and [::1] only, which stops DNS rebinding; on others to any name, unless this
    /// is given.
    #[arg(long, value_name = "HOST", value_parser = host)]
    allow_host: Vec<String>,
    /// Where to serve /metrics, /healthz and /readyz alone
    ///
    /// Without TLS. Without this, /metrics is where the WebSockets are: on loopback
    /// addresses and unix sockets, and with --metrics-token-file on all.
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
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    deadlines: Deadlines,
}

impl From<Args> for Serve {
    fn from(args: Args) -> Self {
        let tls = match (args.tls_cert, args.tls_key) {
            (Some(chain), Some(key)) => Certificate::Files { chain, key },
            _ if args.tls_self_signed => Certificate::SelfSigned,
            _ => Certificate::None,
        };
        let mut config = super::config(args.no_deflate);
        args.limits.limit(&mut config);
        args.deadlines.limit(&mut config);
        Self {
            listen: args.listen,
            tls,
            max_connections: args.max_connections,
            max_connections_per_addr: args.limits.max_connections_per_addr,
            drain: args.deadlines.drain(),
            allow_origin: args.allow_origin,
            allow_host: args.allow_host,
            metrics_listen: args.metrics_listen,
            metrics_token_file: args.metrics_token_file,
            log: args.log,
            config,
        }
    }
}
