//! `sockeye serve`: what can be said, and what is to be done.

use sockeye::Config;

use super::values::{address, host, origin};

/// What `serve` is to do.
pub(crate) struct Serve {
    pub(crate) listen: Vec<String>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_host: Vec<String>,
    /// Limits, deadlines and compression.
    pub(crate) config: Config,
}

const EXAMPLES: &str = "\
Serves a page to try it with at /, a WebSocket that echoes at /echo, and
/healthz. Ctrl-C closes every connection with 1001 (going away) and exits.

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
    /// Answers to that name too, repeatable; '*' is any. On a loopback address the
    /// server answers to localhost, 127.0.0.1 and [::1] only, which stops DNS
    /// rebinding; on others to any name, unless this is given
    #[arg(long, value_name = "HOST", value_parser = host)]
    allow_host: Vec<String>,
    /// Does not accept compression (permessage-deflate)
    #[arg(long)]
    no_deflate: bool,
}

impl From<Args> for Serve {
    fn from(args: Args) -> Self {
        let config = super::config(args.no_deflate);
        Self { listen: args.listen, allow_origin: args.allow_origin, allow_host: args.allow_host, config }
    }
}
