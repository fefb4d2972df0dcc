//! `sockeye serve`: what can be said, and what is to be done.

mod limits;
mod proxies;

use std::path::PathBuf;

use sockeye::{Origins, Settings};

use super::config::Said;
use super::values::{Listen, address, host, listen, mode, origin};
use limits::{Deadlines, Limits};
use proxies::Proxies;

/// What `serve` is to do.
pub(crate) struct Serve {
    /// The configuration file, which has been read.
    pub(crate) config: Option<PathBuf>,
    /// What was said of each option.
    pub(crate) said: Said,
    /// In how many threads of their own, if not in those of one runtime.
    pub(crate) workers: Option<u16>,
    pub(crate) listen: Vec<Listen>,
    /// The permissions of unix sockets.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are none"))]
    pub(crate) unix_mode: Option<u32>,
    pub(crate) tls: Certificate,
    /// Of whom clients have to show a certificate.
    pub(crate) client_ca: Option<PathBuf>,
    /// Where files are served from.
    pub(crate) root: Option<PathBuf>,
    pub(crate) allow_host: Vec<String>,
    pub(crate) metrics_listen: Option<String>,
    pub(crate) metrics_token_file: Option<PathBuf>,
    pub(crate) log: Option<Log>,
    /// What the library goes by.
    pub(crate) settings: Settings,
}

/// What is shown by TLS.
#[derive(Clone)]
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
Ctrl-C closes every connection with 1001 (going away) and exits.

  sockeye serve
  sockeye serve --listen [::]:443 --tls-cert chain.pem --tls-key key.pem
  sockeye serve --listen 127.0.0.1:0 --allow-origin http://localhost:5173";

const LONG_EXAMPLES: &str = "\
Serves a page to try it with at /, a WebSocket that echoes at /echo,
/healthz and /readyz for probes, and /metrics.

Ctrl-C and SIGTERM close every connection with 1001 (going away) and exit with
0; a second one exits at once with 130. Exit code 2 is a wrong option or file,
3 an address that cannot be listened on.

  sockeye serve
  sockeye serve --config serve.toml
  sockeye serve --listen 0.0.0.0:80 --allow-host ws.example.com
  sockeye serve --listen [::]:443 --tls-cert chain.pem --tls-key key.pem
  sockeye serve --listen unix:/run/sockeye/ws --unix-mode 660
  sockeye serve --listen 127.0.0.1:0 --allow-origin http://localhost:5173";

/// Serves a WebSocket echo, and a page to try it with
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(super) struct Args {
    /// Takes options from a TOML file too
    ///
    /// Its keys are the options here: arrays for those that are repeatable, true for
    /// those without a value. Paths in it are relative to its directory. What is on the
    /// command line wins, option by option. SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen
    ///
    /// Repeatable. An address and a port, of which 0 picks a free one; or unix:PATH,
    /// a unix socket; or inherited, for the sockets that systemd hands over.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000", value_parser = listen)]
    listen: Vec<Listen>,
    /// The permissions of unix sockets, such as 660
    ///
    /// If not given, what the umask leaves. They hold before anybody can connect.
    #[arg(long, value_name = "OCTAL", value_parser = mode, hide_short_help = true)]
    unix_mode: Option<u32>,
    /// Speaks TLS, with the certificates in there (PEM)
    ///
    /// The server's own is the first, and those that lead to a CA follow. SIGHUP
    /// reads both files again; connections that are there go on.
    #[arg(long, value_name = "FILE", requires = "tls_key", group = "tls")]
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
    #[arg(long, group = "tls")]
    tls_self_signed: bool,
    /// Lets in only who shows a certificate of a CA in there (PEM)
    #[arg(long, value_name = "FILE", requires = "tls", hide_short_help = true)]
    tls_client_ca: Option<PathBuf>,
    /// Serves the files in that directory
    ///
    /// Its index.html is at / then, in place of the page; /echo, /healthz, /readyz and
    /// /metrics stay. What is named .like-this is not shown, nor what links lead to
    /// outside of it.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Refuses connections beyond so many at once
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Lets in pages of that origin too, or of any ('*')
    ///
    /// Repeatable. Such as https://app.example.com; https://*.example.com for all
    /// below, and http://localhost:* for any port. They may open WebSockets, and read
    /// what else is served (CORS).
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
    /// Serves in N threads, each with connections of its own
    ///
    /// The system spreads clients over them (SO_REUSEPORT), and none changes its thread:
    /// for very many connections that are much alike. A second server on the same
    /// address is no error then. Without this, connections go to whichever thread has
    /// time, of as many as there are processors: better where a few do most of the work.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), hide_short_help = true)]
    workers: Option<u16>,
    /// Does not accept compression (permessage-deflate)
    #[arg(long)]
    no_deflate: bool,
    /// How hard to compress, from 1 (fast) to 9 (small)
    ///
    /// 0 sends all plain, but inflates what comes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9),
        default_value = "3", conflicts_with = "no_deflate", hide_short_help = true)]
    deflate_level: u8,
    #[command(flatten)]
    proxies: Proxies,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    deadlines: Deadlines,
}

impl TryFrom<Args> for Serve {
    type Error = String;

    fn try_from(args: Args) -> Result<Self, String> {
        let tls = match (args.tls_cert, args.tls_key) {
            (Some(chain), Some(key)) => Certificate::Files { chain, key },
            _ if args.tls_self_signed => Certificate::SelfSigned,
            _ => Certificate::None,
        };
        let mut settings = Settings::default();
        settings.config = super::config(args.no_deflate);
        if let Some(deflate) = &mut settings.config.deflate {
            deflate.level = args.deflate_level;
        }
        let origins = args.allow_origin.iter().map(String::as_str);
        settings.origins = Origins::new(origins).map_err(|error| error.to_string())?;
        settings.max_connections = args.max_connections;
        args.limits.set(&mut settings);
        args.deadlines.set(&mut settings);
        args.proxies.set(&mut settings)?;
        Ok(Self {
            config: args.config,
            said: Said::default(),
            workers: args.workers,
            listen: args.listen,
            unix_mode: args.unix_mode,
            tls,
            client_ca: args.tls_client_ca,
            root: args.root,
            allow_host: args.allow_host,
            metrics_listen: args.metrics_listen,
            metrics_token_file: args.metrics_token_file,
            log: args.log,
            settings,
        })
    }
}
