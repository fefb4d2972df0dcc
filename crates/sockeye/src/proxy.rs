//! Proxies: which one to use, and asking it for a tunnel.

use sockeye_proto::WebSocketUrl;

use crate::client::Client;
use crate::opening::OpenCause;
use crate::transport::Transport;

/// A proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    host: String,
    port: u16,
}

impl Proxy {
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Which proxy is used for which URL.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    fixed: Option<Proxy>,
}

impl Proxies {
    /// Always this one, or none.
    pub(crate) fn fixed(proxy: Option<Proxy>) -> Self {
        Self { fixed: proxy }
    }

    /// The proxy for a URL.
    #[expect(clippy::unnecessary_wraps, reason = "not written yet")]
    pub(crate) fn choose(&self, _url: &WebSocketUrl) -> Result<Option<Proxy>, ProxyError> {
        Ok(self.fixed.clone())
    }
}

/// The proxy gave no tunnel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {}

/// Asks the proxy for a tunnel to the URL's host.
#[expect(clippy::unused_async, reason = "not written yet")]
pub(crate) async fn open_tunnel(
    transport: Transport,
    _proxy: &Proxy,
    _url: &WebSocketUrl,
    _client: &Client,
) -> Result<Transport, OpenCause> {
    Ok(transport)
}
