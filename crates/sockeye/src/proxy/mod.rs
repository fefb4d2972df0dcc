//! Proxies: which one to use, and asking it for a tunnel.

mod error;
mod exceptions;
mod proxies;
mod socks;
mod tunnel;

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use sockeye_proto::{HeaderMap, HeaderName, HeaderValue, UserInfo, header};
use url::{Host, Url};

use crate::client::basic;
use crate::tls::Tls;

pub use error::ProxyError;
pub use proxies::Proxies;

pub(crate) use tunnel::open_tunnel;

/// A proxy: where it is, how it is spoken to, and on whose behalf.
///
/// It is written as a URL, `scheme://user:password@host:port`; only the host must be there.
///
/// | scheme | default port | the proxy is asked |
/// |---|---|---|
/// | `http` (also if there is no scheme) | 80 | by CONNECT (RFC 9110 section 9.3.6) |
/// | `https` | 443 | the same, over TLS with the proxy |
/// | `socks5` | 1080 | by SOCKS5 (RFC 1928) for an address, which our own resolver gives |
/// | `socks5h`, `socks` | 1080 | by SOCKS5 for a name, which the proxy resolves |
///
/// Without a port, curl takes 1080 for `http` too.
///
/// Characters of the user name and password that have a meaning in a URL are percent-encoded. Neither is ever shown: `Debug` and
/// `Display` give scheme, host and port.
///
/// By SOCKS5 with an address, the first that the resolver gives is the one asked for; by name, the proxy chooses.
///
/// ```
/// let proxy: sockeye::Proxy = "http://alice:p%40ss@proxy.example.com:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://proxy.example.com:3128");
///
/// let client = sockeye::Client::new().proxy(proxy);
/// # Ok::<(), sockeye::ProxyError>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    scheme: Scheme,
    host: String,
    port: u16,
    user: Option<UserInfo>,
    headers: HeaderMap,
    tls: Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Socks5,
    Socks5h,
}

impl Scheme {
    /// The scheme of that name. What `socks` means nobody has written down, and programs differ; the version of today is
    /// meant, and the proxy that knows the names of its network.
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "https" => Self::Https,
            "socks5" => Self::Socks5,
            "socks" | "socks5h" => Self::Socks5h,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            // RFC 1928 section 3: "The SOCKS service is conventionally located on TCP port 1080."
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl Proxy {
    /// The proxy at a URL.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Url`], which does not quote the URL: there may be a password in it.
    pub fn new(url: &str) -> Result<Self, ProxyError> {
        read(url).map_err(ProxyError::Url)
    }

    /// Says who we are, in place of the user information in the URL: by Basic authentication to an HTTP proxy (RFC 7617), in place
    /// of any other `Proxy-Authorization`; by the user name and password method to a SOCKS5 proxy (RFC 1929), at most 255
    /// bytes each.
    #[must_use]
    pub fn basic_auth(mut self, user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Self {
        self.user = Some(UserInfo { user: user.as_ref().to_owned(), password: password.as_ref().to_owned() });
        self
    }

    /// Adds a header field to the request for a tunnel; a further one of the same name stands beside it. The server does not see
    /// it. A SOCKS5 proxy is not told either.
    ///
    /// The fields that [`Client::header`](crate::Client::header) refuses are refused here too, when a connection is opened.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets which certificates are trusted and which is shown in TLS with an `https` proxy. By default those of
    /// [`Tls::default`], whatever the [client's](crate::Client::tls) are: these are for the server.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is asked for an address instead of a name.
    pub(crate) fn wants_address(&self) -> bool {
        self.scheme == Scheme::Socks5
    }

    /// The header fields for an HTTP proxy.
    fn fields(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(info) = &self.user {
            headers.insert(header::PROXY_AUTHORIZATION, basic(&info.user, &info.password));
        }
        headers
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(url: &str) -> Result<Self, ProxyError> {
        Self::new(url)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme.name(), &self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The proxy at a URL, or what is wrong with that.
fn read(text: &str) -> Result<Proxy, String> {
    const STRAY: &str =
        "something behind host and port; in a user name or password, / ? # are written %2F %3F %23";
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
    let Some(scheme) = Scheme::named(scheme) else {
        // A scheme is shown, a password never.
        let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let shown = if is_scheme { format!(" {scheme:?}") } else { String::new() };
        return Err(format!("the scheme{shown} is none of http, https, socks5, socks5h"));
    };
    // A scheme unknown to the URL standard keeps the port even if it is the default one of another.
    let url = Url::parse(&format!("socks5://{rest}")).map_err(|error| error.to_string())?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(STRAY.into());
    }
    let host = match Host::parse(url.host_str().unwrap_or_default()).map_err(|error| error.to_string())? {
        Host::Domain(name) => name,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let has_user = !url.username().is_empty() || url.password().is_some();
    Ok(Proxy {
        scheme,
        host,
        port: url.port().unwrap_or(scheme.default_port()),
        user: has_user.then(|| UserInfo {
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
        }),
        headers: HeaderMap::new(),
        tls: Tls::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(proxy: &Proxy) -> Option<(&str, &str)> {
        let text = |bytes| str::from_utf8(bytes).unwrap();
        proxy.user.as_ref().map(|info| (text(&info.user[..]), text(&info.password[..])))
    }

    #[test]
    fn urls() {
        for (url, shown, expected) in [
            ("http://proxy", "http://proxy:80", None),
            ("https://proxy", "https://proxy:443", None),
            ("socks5://proxy", "socks5://proxy:1080", None),
            ("socks5h://proxy", "socks5h://proxy:1080", None),
            ("socks://proxy", "socks5h://proxy:1080", None),
            ("HTTP://Proxy.Example.COM:3128/", "http://proxy.example.com:3128", None),
            ("proxy", "http://proxy:80", None),
            ("proxy:3128", "http://proxy:3128", None),
            (" proxy:3128\n", "http://proxy:3128", None),
            ("127.0.0.1:3128", "http://127.0.0.1:3128", None),
            ("[::1]:3128", "http://[::1]:3128", None),
            ("http://[2001:DB8::0:1]", "http://[2001:db8::1]:80", None),
            ("https://proxy:80", "https://proxy:80", None),
            ("socks5://proxy:80", "socks5://proxy:80", None),
            ("http://bücher.example:1", "http://xn--bcher-kva.example:1", None),
            ("http://user@proxy:1", "http://proxy:1", Some(("user", ""))),
            ("http://user:pass@proxy:1", "http://proxy:1", Some(("user", "pass"))),
            ("user:pass@proxy:1", "http://proxy:1", Some(("user", "pass"))),
            ("socks5://:pass@proxy:1", "socks5://proxy:1", Some(("", "pass"))),
            ("http://u%40s:p%3A%2f%C3%A9@proxy:1", "http://proxy:1", Some(("u@s", "p:/é"))),
            ("http://user:p@ss@proxy:1", "http://proxy:1", Some(("user", "p@ss"))),
        ] {
            let proxy = Proxy::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((proxy.to_string().as_str(), user(&proxy)), (shown, expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_proxy() {
        for (url, part) in [
            ("", "empty host"),
            ("http://", "empty host"),
            ("http://user:hunter2@", "empty host"),
            ("http://:3128", "empty host"),
            ("ftp://proxy", "the scheme \"ftp\" is none of"),
            ("socks4://user:hunter2@proxy", "the scheme \"socks4\" is none of"),
            ("user:hunter2://@proxy", "the scheme is none of"),
            ("http://proxy:port", "invalid port"),
            ("http://proxy:65536", "invalid port"),
            ("http://user:hunter2/@proxy", "invalid port"),
            ("http://user:1#hunter2@proxy", "something behind"),
            ("http://user:1/hunter2@proxy", "something behind"),
            ("http://user:1?hunter2@proxy", "something behind"),
            ("http://proxy/proxy.pac", "something behind"),
            ("http://user:hunter2@pro xy", "invalid"),
            ("http://[::1", "invalid IPv6"),
        ] {
            let error = Proxy::new(url).unwrap_err();
            let (shown, debug) = (error.to_string(), format!("{error:?}"));
            assert!(shown.contains(part), "{url}: {shown}");
            assert!(!shown.contains("hunter2") && !debug.contains("hunter2"), "{url}: {shown} {debug}");
        }
    }

    #[test]
    fn user_information_is_the_last_given_and_not_shown() {
        let proxy = Proxy::new("http://old:stale@proxy").unwrap();
        let bearer = HeaderValue::from_static("Bearer hunter3");
        let proxy = proxy.basic_auth("alice", "hunter2").header(header::PROXY_AUTHORIZATION, bearer);
        let fields = proxy.fields();
        let sent: Vec<_> = fields.get_all(header::PROXY_AUTHORIZATION).iter().collect();
        assert_eq!(sent, ["Basic YWxpY2U6aHVudGVyMg=="]);
        assert!(sent[0].is_sensitive());
        assert_eq!(format!("{proxy:?} {proxy}"), "Proxy(http://proxy:80) http://proxy:80");
    }
}
