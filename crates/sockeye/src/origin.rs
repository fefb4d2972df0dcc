//! Which pages may connect (RFC 6455 section 10.2).

/// The origins that a server lets in beside its own. A browser names its page's in `Origin`; whoever sends none is not a page, and comes in.
///
/// An origin is written as browsers send it, and matched without regard to case:
///
/// | pattern | lets in | and not |
/// |---|---|---|
/// | `https://app.example.com` | that origin, which is the same with `:443` | other ports, `http://`, other hosts |
/// | `https://*.example.com` | `https://a.example.com`, `https://b.a.example.com` | `https://example.com`, `https://example.com.evil`, other ports |
/// | `http://localhost:*` | `http://localhost`, `http://localhost:3000` | `https://localhost:3000` |
/// | `https://*.example.com:*` | both | |
/// | `null` | pages without an origin of their own: files, sandboxed frames, of anybody | |
/// | `*` | all | |
///
/// A `*` stands for one label or more in front of a host with a `.`, for any port, or for all. Schemes other than `http` and `https`, as browser extensions and applications have
/// them (`tauri://localhost`), are written in full.
///
/// ```
/// # fn example() -> Result<(), sockeye::OriginError> {
/// let origins = sockeye::Origins::new(["https://*.example.com", "http://localhost:*"])?;
/// assert!(origins.allows(Some("https://chat.example.com"), "ws.example.net"));
/// assert!(!origins.allows(Some("https://example.com.evil"), "ws.example.net"));
/// assert!(sockeye::Origins::new(["https://example.com/chat"]).is_err());
/// # Ok(())
/// # }
/// # example().unwrap()
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

/// This is no pattern of origins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin such as https://app.example.com or https://*.example.com:8443, and not null or *"
)]
pub struct OriginError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// Compared as it is: `null`, and what no origin can be.
    Literal(String),
    Parts {
        scheme: String,
        host: String,
        /// In front of the host there are labels.
        has_labels: bool,
        port: Port,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    /// The scheme's own.
    Default,
    Number(u16),
}

impl Origins {
    /// Lets in origins that match one of these patterns.
    ///
    /// # Errors
    ///
    /// The first that is none, such as one with a path or with a `*` somewhere else.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let read = |text: &str| Pattern::read(text).ok_or_else(|| OriginError(text.to_owned()));
        patterns.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Lets in all: with the visitor's cookies, if the browser sends them.
    pub fn any() -> Self {
        Self(vec![Pattern::Any])
    }

    /// Lets in those that match this too; what is no pattern is compared as it is.
    pub(crate) fn add(&mut self, pattern: String) {
        self.0.push(Pattern::read(&pattern).unwrap_or(Pattern::Literal(pattern)));
    }

    /// Whether a request to `host`, as the header field `Host` names it, with this `Origin` comes in: without one, of the same origin, or of one that was let in.
    pub fn allows(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return true };
        is_same(origin, host) || self.0.iter().any(|pattern| pattern.matches(origin))
    }
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::Any),
            "null" => return Some(Self::Literal(text.to_owned())),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_port(authority)?;
        let (host, has_labels) = match host.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (host, false),
        };
        let port = match port {
            Some("*") => Port::Any,
            port => number(scheme, port)?,
        };
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let is_host = if host.starts_with('[') { !has_labels } else { are_labels(host) };
        let (scheme, host) = (scheme.to_owned(), host.to_owned());
        (is_scheme && is_host).then_some(Self::Parts { scheme, host, has_labels, port })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => literal.eq_ignore_ascii_case(origin),
            Self::Parts { scheme, host, has_labels, port } => {
                let Some((its_scheme, authority)) = origin.split_once("://") else { return false };
                let Some((its_host, its_port)) = split_port(authority) else { return false };
                let Some(its_port) = number(its_scheme, its_port) else { return false };
                its_scheme.eq_ignore_ascii_case(scheme)
                    && (*port == Port::Any || *port == its_port)
                    && if *has_labels {
                        is_below(its_host, host)
                    } else {
                        its_host.eq_ignore_ascii_case(host)
                    }
            }
        }
    }
}

/// Whether there are labels, and a dot, in front of `parent`.
fn is_below(host: &str, parent: &str) -> bool {
    // Cut between characters: what is not ASCII is no host in an origin.
    let Some((labels, rest)) = host.len().checked_sub(parent.len()).and_then(|at| host.split_at_checked(at))
    else {
        return false;
    };
    rest.eq_ignore_ascii_case(parent) && labels.strip_suffix('.').is_some_and(are_labels)
}

/// Whether it is one label or more, with dots in between.
fn are_labels(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    host.split('.').all(is_label)
}

/// Host and port of an authority; an address of IPv6 is in brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let end = end + authority[end..].find(':').unwrap_or(authority.len() - end);
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

/// The port that is meant, if it is one.
fn number(scheme: &str, port: Option<&str>) -> Option<Port> {
    let Some(port) = port else { return Some(Port::Default) };
    let number = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let is_default = match number {
        80 => scheme.eq_ignore_ascii_case("http"),
        443 => scheme.eq_ignore_ascii_case("https"),
        _ => false,
    };
    Some(if is_default { Port::Default } else { Port::Number(number) })
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
        let origins = Origins::new(["https://app.example", "null"]).unwrap();
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
            assert_eq!(origins.allows(*origin, host), *expected, "{name}");
        }
        assert!(!Origins::default().allows(Some("null"), "example.com"), "opaque origins are not the same");
        assert!(Origins::any().allows(Some("null"), "example.com"));
        let mut literal = Origins::default();
        literal.add("app.example".into());
        assert!(literal.allows(Some("APP.example"), "") && !literal.allows(Some("https://app.example"), ""));
    }

    #[test]
    fn patterns_match_what_they_say() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "https://app.example.com",
                &["https://app.example.com", "HTTPS://App.Example.com", "https://app.example.com:443"],
                &[
                    "http://app.example.com",
                    "https://app.example.com:444",
                    "https://app.example.com:80",
                    "https://app.example.com:",
                    "https://app.example.com/",
                    "https://app.example.com.",
                    "https://x.app.example.com",
                    "https://user@app.example.com",
                    "app.example.com",
                    "",
                ],
            ),
            (
                "https://a.example:443",
                &["https://a.example"],
                &["https://a.example:80", "http://a.example:443"],
            ),
            (
                "http://a.example:8080",
                &["http://a.example:8080"],
                &["http://a.example", "http://a.example:08"],
            ),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://b.a.EXAMPLE.com", "https://a.example.com:443"],
                &[
                    "https://example.com",
                    "https://.example.com",
                    "https://a..example.com",
                    "https://example.com.evil",
                    "https://a.example.com.evil",
                    "https://evilexample.com",
                    "https://evil/.example.com",
                    "https://evil#.example.com",
                    "https://evil\\.example.com",
                    "https://evil:1.example.com",
                    "https://user@a.example.com",
                    "https://a b.example.com",
                    "https://ä.example.com",
                    "https://äexample.com",
                    "https://*.example.com",
                    "https://a.example.com:8443",
                    "http://a.example.com",
                    "https://a.example.com.",
                    "https://com",
                ],
            ),
            (
                "http://localhost:*",
                &[
                    "http://localhost",
                    "http://localhost:80",
                    "http://localhost:3000",
                    "http://LOCALHOST:65535",
                ],
                &[
                    "https://localhost:3000",
                    "http://localhost:65536",
                    "http://localhost:",
                    "http://localhost:*",
                    "http://localhost:+80",
                    "http://localhost:80:80",
                    "http://localhost.evil:80",
                    "http://127.0.0.1:80",
                ],
            ),
            (
                "https://*.example.com:*",
                &["https://a.example.com", "https://a.example.com:8443"],
                &["https://example.com:8443", "http://a.example.com"],
            ),
            (
                "http://[::1]:*",
                &["http://[::1]", "http://[::1]:3000"],
                &["http://[::1]x", "http://[::2]:3000", "http://[::1", "http://::1"],
            ),
            ("tauri://localhost", &["tauri://localhost"], &["tauri://localhost:80", "http://localhost"]),
            ("null", &["null"], &["NULL.example", "https://null", ""]),
            ("*", &["null", "https://a.example", "file://", ""], &[]),
        ];
        for (pattern, matching, other) in cases {
            let origins = Origins::new([*pattern]).unwrap();
            for origin in *matching {
                assert!(origins.allows(Some(origin), "elsewhere"), "{pattern} and {origin}");
            }
            for origin in *other {
                assert!(!origins.allows(Some(origin), "elsewhere"), "{pattern} and {origin}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for wrong in [
            "",
            "example.com",
            "*.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://**.example.com",
            "https://a.*.example.com",
            "https://ex*mple.com",
            "https://a*.example.com",
            "https://*.*.example.com",
            "*://example.com",
            "http*://example.com",
            "https://example.com/",
            "https://example.com/chat",
            "https://example.com?x",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:0x50",
            "https://example.com:65536",
            "https://example.com:8*",
            "https://example.com:*:*",
            "https://example..com",
            "https://exämple.com",
            "https://*.[::1]",
            "https://[::1",
            " https://example.com",
            "1http://example.com",
        ] {
            assert_eq!(Origins::new([wrong]), Err(OriginError(wrong.to_owned())), "{wrong}");
        }
    }
}
