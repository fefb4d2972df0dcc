//! To which names a server answers.

use std::net::SocketAddr;

/// The names that a listener answers to.
///
/// A page of `http://evil.example` can have its name resolved to 127.0.0.1 after it was loaded (DNS rebinding). To the browser
/// it then has the same origin as what is served here, so that checking `Origin` does not keep it out; its name in `Host`
/// does. What is reachable from elsewhere is nothing that only a local page can reach, and its names are not known here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Any.
    Any,
    /// These, in lower case, whatever the port.
    Listed(Vec<String>),
}

impl Hosts {
    /// The names for an address that is listened on, or for a unix socket, which no page can reach; and those that the user has allowed.
    pub(super) fn new(listen: Option<SocketAddr>, allowed: &[String]) -> Self {
        let Some(ip) = listen.map(|listen| listen.ip()) else {
            return match allowed {
                [] => Self::Any,
                allowed if allowed.iter().any(|host| host == "*") => Self::Any,
                allowed => Self::Listed(allowed.to_vec()),
            };
        };
        if allowed.iter().any(|host| host == "*") || (allowed.is_empty() && !ip.is_loopback()) {
            return Self::Any;
        }
        let own = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        let mut names = vec![own];
        if ip.is_loopback() {
            names.extend(["localhost", "127.0.0.1", "[::1]"].map(String::from));
        }
        names.extend_from_slice(allowed);
        Self::Listed(names)
    }

    /// Whether the server answers to the authority that was asked for.
    pub(super) fn allow(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|listed| listed.eq_ignore_ascii_case(host)),
        }
    }
}

/// The host in an authority, without the port; `None` if it is not a plain host, so that what is `Some` can be put into a
/// header field or a URL.
pub(crate) fn host_of(authority: &str) -> Option<&str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_ipv6 = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let (host, rest) = if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        (host[1..host.len() - 1].bytes().all(is_ipv6).then_some(host)?, rest)
    } else {
        let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (host.bytes().all(is_name).then_some(host)?, rest)
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port_or_none = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (has_port_or_none && !host.is_empty() && host != "[]").then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        Hosts::new(listen.parse().ok(), &allowed)
    }

    #[test]
    fn loopback_answers_to_local_names_only() {
        let hosts = hosts("127.0.0.5:9000", &["dev.example"]);
        for host in ["localhost", "LocalHost:80", "127.0.0.1:9000", "[::1]:9", "127.0.0.5", "dev.example:1"] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "::1",
            "localhost:x",
            "localhost:80:80",
            "user@localhost",
            "localhost/",
            "[::1]x",
            "[]",
            "localhost;a",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn elsewhere_names_are_checked_if_any_is_given() {
        assert_eq!(hosts("0.0.0.0:80", &[]), Hosts::Any);
        assert_eq!(hosts("[::1]:80", &["*"]), Hosts::Any);
        assert!(hosts("192.0.2.1:80", &[]).allow("any.example"));
        assert!(!hosts("192.0.2.1:80", &[]).allow("any.example; script-src *"));
        let listed = hosts("192.0.2.1:80", &["ws.example"]);
        assert!(listed.allow("ws.example") && listed.allow("192.0.2.1:80"));
        assert!(!listed.allow("localhost") && !listed.allow("other.example"));
        assert_eq!(hosts("a unix socket", &[]), Hosts::Any);
        let listed = hosts("a unix socket", &["ws.example"]);
        assert!(listed.allow("ws.example") && !listed.allow("localhost"));
    }
}
