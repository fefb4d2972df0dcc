//! From a host's name to its addresses.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::opening::OpenCause;

/// Finds the addresses of a host: what a [`Client`](crate::Client) asks in place of the operating system.
///
/// It is asked for names only, not for the IP addresses that a URL may hold, and for the proxy's name where there is a proxy. The deadline
/// is the caller's ([`Config::resolve_timeout`](crate::Config::resolve_timeout)): the future is dropped then.
///
/// ```
/// use sockeye::{Resolve, Resolving};
///
/// /// Everything is here.
/// #[derive(Debug)]
/// struct Here;
///
/// impl Resolve for Here {
///     fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Resolving<'a> {
///         Box::pin(async move { Ok(vec![([127, 0, 0, 1], port).into()]) })
///     }
/// }
///
/// let client = sockeye::Client::new().resolver(Here);
/// ```
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses to connect to, the best first; none is an error of the opening.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The operating system's resolver (`getaddrinfo`), on a thread for blocking work, where a lookup that was given up still runs to its
/// end.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Gives fixed addresses for some hosts and ports, as `curl --resolve` does, and asks another resolver for all others.
///
/// ```
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let resolver = sockeye::Overrides::default().set("example.com", 443, ["127.0.0.1:8443".parse()?]);
/// let client = sockeye::Client::new().resolver(resolver);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Overrides {
    fixed: HashMap<(String, u16), Vec<SocketAddr>>,
    others: Arc<dyn Resolve>,
}

impl Overrides {
    /// No addresses yet; `others` is asked for whatever is not set. By default that is [`SystemResolver`].
    pub fn new(others: impl Resolve + 'static) -> Self {
        Self { fixed: HashMap::new(), others: Arc::new(others) }
    }

    /// Sets the addresses of a host and port, in place of those set before. The host is written as in the URL, in any case; the addresses'
    /// ports are those connected to.
    #[must_use]
    pub fn set(mut self, host: &str, port: u16, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.fixed.insert((host.to_ascii_lowercase(), port), addresses.into_iter().collect());
        self
    }
}

impl Default for Overrides {
    fn default() -> Self {
        Self::new(SystemResolver)
    }
}

impl Resolve for Overrides {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        match self.fixed.get(&(host.to_ascii_lowercase(), port)) {
            Some(addresses) => Box::pin(std::future::ready(Ok(addresses.clone()))),
            None => self.others.resolve(host, port),
        }
    }
}

/// The addresses of a host, at least one.
pub(crate) async fn resolve(
    resolver: &dyn Resolve,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, OpenCause> {
    let failed = |source| OpenCause::Resolve { host: host.to_owned(), source };
    let addresses = resolver.resolve(host, port).await.map_err(failed)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}
