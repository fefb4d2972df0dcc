//! Which proxy is used for which URL.

use std::env::{self, VarError};
use std::fmt;

use sockeye_proto::WebSocketUrl;

use super::exceptions::{Exceptions, is_loopback};
use super::{Proxy, ProxyError};

/// Which proxy is used for which URL.
///
/// The default asks the environment, anew for each connection. The first of these variables that is set and not empty names the
/// [`Proxy`]:
///
/// - for `ws`: `ws_proxy`, `WS_PROXY`, `http_proxy`, `HTTP_PROXY`, `all_proxy`, `ALL_PROXY`;
/// - for `wss`: `wss_proxy`, `WSS_PROXY`, `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`.
///
/// `HTTP_PROXY` does not count where `REQUEST_METHOD` is set: in a CGI program it is what the client sent as a header field `Proxy`.
///
/// No proxy is used for the hosts in `no_proxy`, or else `NO_PROXY`, in the form that [`except`](Self::except) takes; nor for this
/// machine itself: `localhost` and names below it, 127.0.0.0/8 and `::1`. So do browsers; curl does not.
///
/// A value that is no proxy's URL is an error for the connections that it would be used for: none goes around a proxy because of
/// a typing error.
///
/// ```
/// use sockeye::{Client, Proxies, Proxy};
///
/// let proxy = Proxy::new("socks5h://proxy.example.com")?;
/// let client = Client::new().proxies(Proxies::fixed(proxy).except("localhost, 10.0.0.0/8, .example.com"));
///
/// let direct = Client::new().proxies(Proxies::none());
/// # Ok::<(), sockeye::ProxyError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    source: Source,
    except: Exceptions,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Environment,
    Variables(Variables),
    Fixed(Option<Box<Proxy>>),
}

/// Variables of an environment, and their values.
#[derive(Clone)]
struct Variables(Vec<(&'static str, String)>);

impl fmt::Debug for Variables {
    /// Shows no values: there may be passwords in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The variables that name the proxy for `ws`, the first wanted first.
const WS: [&str; 6] = ["ws_proxy", "WS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Those for `wss`.
const WSS: [&str; 6] = ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Those that name the hosts to go without one.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// It is set in programs that a web server calls (RFC 3875 section 4.1.12).
const REQUEST_METHOD: &str = "REQUEST_METHOD";

impl Proxies {
    /// This proxy for every URL, those of this machine too; or none.
    pub fn fixed(proxy: impl Into<Option<Proxy>>) -> Self {
        Self { source: Source::Fixed(proxy.into().map(Box::new)), except: Exceptions::default() }
    }

    /// No proxy, whatever the environment says.
    pub fn none() -> Self {
        Self::fixed(None)
    }

    /// The proxies that these variables name, read now, by the rules for the environment.
    ///
    /// ```
    /// use sockeye::Proxies;
    ///
    /// let proxies = Proxies::from_vars(|name| match name {
    ///     "HTTPS_PROXY" => Some("http://proxy.example.com:3128".into()),
    ///     "NO_PROXY" => Some("intranet.example.com".into()),
    ///     _ => None,
    /// });
    /// let proxy = proxies.choose(&"wss://example.org/".parse()?)?.expect("a proxy");
    /// assert_eq!(proxy.to_string(), "http://proxy.example.com:3128");
    /// assert!(proxies.choose(&"wss://intranet.example.com/".parse()?)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Self {
        let names = WS.iter().chain(&WSS[..4]).chain(&NO_PROXY).chain([&REQUEST_METHOD]);
        let variables = names.filter_map(|name| Some((*name, vars(name)?))).collect();
        Self { source: Source::Variables(Variables(variables)), except: Exceptions::default() }
    }

    /// Adds hosts for which no proxy is used, separated by commas or spaces:
    ///
    /// - `*`: all;
    /// - a domain, `example.com` or `.example.com` or `*.example.com`: itself and all below it;
    /// - an address, IPv4 or IPv6;
    /// - a network, `10.0.0.0/8` or `fd00::/8`, for hosts that are addresses: names are not resolved for it.
    ///
    /// Behind any of these may stand a port, `example.com:8080`, which alone is meant then; an IPv6 address needs brackets for it.
    /// Anything else names no host.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        self.except.add(hosts);
        self
    }

    /// The proxy for a URL, if one is to be used.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Environment`].
    pub fn choose(&self, url: &WebSocketUrl) -> Result<Option<Proxy>, ProxyError> {
        if self.except.hold(url.host(), url.port()) {
            return Ok(None);
        }
        match &self.source {
            Source::Environment => from_environment(|name| env::var(name), url),
            Source::Variables(Variables(variables)) => {
                let value = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted);
                let value = |name: &str| value(name).map(|(_, value)| value.clone());
                from_environment(|name| value(name).ok_or(VarError::NotPresent), url)
            }
            Source::Fixed(proxy) => Ok(proxy.as_deref().cloned()),
        }
    }
}

/// The proxy for a URL that the variables name.
fn from_environment(
    var: impl Fn(&str) -> Result<String, VarError>,
    url: &WebSocketUrl,
) -> Result<Option<Proxy>, ProxyError> {
    let (host, port) = (url.host(), url.port());
    if is_loopback(host) {
        return Ok(None);
    }
    let is_set = |name: &str| !matches!(var(name).as_deref(), Err(VarError::NotPresent) | Ok(""));
    let in_cgi = is_set(REQUEST_METHOD);
    // RFC 3875 section 4.1.18: "The HTTP header field name is converted to upper case, has all occurrences of "-" replaced with
    // "_" and has "HTTP_" prepended to give the meta-variable name." Windows does not tell the two cases apart.
    let is_forged = |name: &str| in_cgi && (name == "HTTP_PROXY" || cfg!(windows) && name == "http_proxy");
    let names = if url.is_secure() { WSS } else { WS };
    let Some(variable) = names.into_iter().find(|name| is_set(name) && !is_forged(name)) else {
        return Ok(None);
    };
    if let Some(list) = NO_PROXY.into_iter().find(|name| is_set(name)) {
        let mut except = Exceptions::default();
        match var(list) {
            Ok(list) => except.add(&list),
            // Nothing that is not text can be the host of a URL.
            Err(VarError::NotUnicode(list)) => except.add(&list.to_string_lossy()),
            Err(VarError::NotPresent) => {}
        }
        if except.hold(host, port) {
            return Ok(None);
        }
    }
    let wrong = |wrong: String| ProxyError::Environment { variable, wrong };
    let value = var(variable).map_err(|_| wrong("it is not UTF-8".into()))?;
    super::read(&value).map_err(wrong).map(Some)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_text() {
        use std::os::unix::ffi::OsStringExt;

        let not_text =
            || Err(VarError::NotUnicode(OsString::from_vec(b"http://a:\xff@proxy, example.com".to_vec())));
        let url = "ws://example.com".parse().unwrap();
        let var = |name: &str| if name == "all_proxy" { not_text() } else { Err(VarError::NotPresent) };
        let error = from_environment(var, &url).unwrap_err();
        let shown = error.to_string();
        assert_eq!(shown, "the environment variable all_proxy is not a proxy's URL: it is not UTF-8");
        // Its other entries are heeded.
        let var = |name: &str| match name {
            "all_proxy" => Ok("proxy".into()),
            "no_proxy" => not_text(),
            _ => Err(VarError::NotPresent),
        };
        assert!(from_environment(var, &url).unwrap().is_none());
    }
}
