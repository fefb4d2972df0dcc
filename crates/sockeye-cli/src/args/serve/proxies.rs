//! The proxies in front of `sockeye serve`.

use sockeye::{ForwardedBy, Networks, Settings};

use crate::args::values::{forwarded_by, network};

/// All are in `--help` only, so that `-h` fits a screen.
#[derive(clap::Args)]
#[command(next_help_heading = "Proxies in front")]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
pub(super) struct Proxies {
    /// Expects the PROXY protocol from that network
    ///
    /// Repeatable. Such as 10.0.0.0/8, ::1, or unix for unix sockets. Who is in it is
    /// let in only with such a header, of version 1 or 2.
    #[arg(long, value_name = "NETWORK", value_parser = network, hide_short_help = true)]
    proxy_protocol: Vec<String>,
    /// Where proxies say who their clients are: forwarded or x-forwarded-for
    ///
    /// The one that they set: another would come from clients unchanged.
    #[arg(long, value_name = "HEADER", value_parser = forwarded_by, requires = "trusted_proxy", hide_short_help = true)]
    forwarded: Option<ForwardedBy>,
    /// Believes the header of --forwarded if it comes from that network
    ///
    /// Repeatable. As with --proxy-protocol.
    #[arg(long, value_name = "NETWORK", value_parser = network, requires = "forwarded", hide_short_help = true)]
    trusted_proxy: Vec<String>,
}

impl Proxies {
    pub(super) fn set(&self, settings: &mut Settings) -> Result<(), String> {
        if !self.proxy_protocol.is_empty() {
            settings.proxy_protocol = Some(networks(&self.proxy_protocol)?);
        }
        if let Some(by) = self.forwarded {
            settings.forwarded = Some((by, networks(&self.trusted_proxy)?));
        }
        Ok(())
    }
}

fn networks(list: &[String]) -> Result<Networks, String> {
    Networks::new(list.iter().map(String::as_str)).map_err(|error| error.to_string())
}
