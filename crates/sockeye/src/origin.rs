//! Which pages may connect (RFC 6455 section 10.2).

/// The origins that a server lets in. A browser names the page's in `Origin`; whoever sends none is not a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    pub(crate) any: bool,
    pub(crate) listed: Vec<String>,
}

impl Origins {
    /// Whether a request to `host` with this `Origin` comes in: the same origin, or a listed one.
    pub(crate) fn allow(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return true };
        self.any
            || is_same(origin, host)
            || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }
}

/// Whether the origin is the one that `host` serves. Whether it serves it by TLS is not known here: it may be ended by a
/// proxy in front.
fn is_same(origin: &str, host: &str) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let without_port = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    without_port(authority) == without_port(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_whom_it_should() {
        let origins = Origins { any: false, listed: vec!["https://app.example".into(), "null".into()] };
        let cases: &[(&str, Option<&str>, &str, bool)] = &[
            ("no page", None, "example.com", true),
            ("same origin", Some("http://example.com"), "example.com", true),
            ("same origin, port", Some("http://127.0.0.1:9000"), "127.0.0.1:9000", true),
            ("same origin by TLS", Some("https://example.com"), "example.com:443", true),
            ("same origin, other case", Some("http://EXAMPLE.com"), "example.COM", true),
            ("same origin, IPv6", Some("http://[::1]:9000"), "[::1]:9000", true),
            ("other port", Some("http://example.com:81"), "example.com", false),
            ("other host", Some("http://evil.example"), "example.com", false),
            ("host as a prefix", Some("http://example.com.evil.example"), "example.com", false),
            ("host as a suffix", Some("http://evilexample.com"), "example.com", false),
            ("other scheme", Some("file://example.com"), "example.com", false),
            ("listed", Some("https://app.example"), "example.com", true),
            ("listed by another scheme", Some("http://app.example"), "example.com", false),
            ("an opaque origin that is listed", Some("null"), "example.com", true),
            ("empty", Some(""), "", false),
        ];
        for (name, origin, host, expected) in cases {
            assert_eq!(origins.allow(*origin, host), *expected, "{name}");
        }
        assert!(!Origins::default().allow(Some("null"), "example.com"), "opaque origins are not the same");
        assert!(Origins { any: true, listed: vec![] }.allow(Some("null"), "example.com"));
    }
}
