//! Hosts that are connected to without a proxy.

use std::net::IpAddr;

use url::Host;

use crate::network::Network;

/// A list of hosts, in the form of `no_proxy`.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// The only port, if there is one named.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// This domain and those below it.
    Domain(String),
    Network(Network),
}

impl Exceptions {
    /// Adds a list. What is none of the forms known here names no host.
    pub(super) fn add(&mut self, list: &str) {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        self.0.extend(entries.filter_map(read));
    }

    /// Whether a host, as [`WebSocketUrl::host`](sockeye_proto::WebSocketUrl::host) gives it, is among them.
    pub(super) fn hold(&self, host: &str, port: u16) -> bool {
        let host = match host.parse::<IpAddr>() {
            Ok(address) => Ok(address.to_canonical()),
            Err(_) => Err(host.strip_suffix('.').unwrap_or(host)),
        };
        self.0.iter().any(|exception| {
            exception.port.is_none_or(|only| only == port)
                && match (&exception.hosts, host) {
                    (Hosts::All, _) => true,
                    (Hosts::Domain(domain), Err(name)) => {
                        let below = name.strip_suffix(domain.as_str());
                        below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    }
                    (Hosts::Network(network), Ok(address)) => network.holds(address),
                    _ => false,
                }
        })
    }
}

/// Whether it is this machine itself: `localhost`, a name below it, or an address of the loopback interface.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    // RFC 6761 section 6.3: "The domain "localhost." and any names falling within ".localhost." are special"
    let below = name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    below || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn read(entry: &str) -> Option<Exception> {
    let (hosts, port) = split_port(entry);
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok()?),
    };
    let hosts = match hosts.split_once('/') {
        _ if hosts == "*" => Hosts::All,
        Some((address, length)) => {
            Hosts::Network(Network::new(unbracketed(address).parse().ok()?, length.parse().ok()?)?)
        }
        None => {
            if let Ok(address) = unbracketed(hosts).parse::<IpAddr>() {
                Hosts::Network(Network::of(address.to_canonical()))
            } else {
                let name = hosts.strip_prefix('*').unwrap_or(hosts);
                let name = name.strip_prefix('.').unwrap_or(name);
                match Host::parse(name.strip_suffix('.').unwrap_or(name)).ok()? {
                    Host::Domain(domain) => Hosts::Domain(domain),
                    // Other ways to write an address, such as 127.1.
                    Host::Ipv4(address) => Hosts::Network(Network::of(address.into())),
                    Host::Ipv6(_) => return None,
                }
            }
        }
    };
    Some(Exception { hosts, port })
}

/// Host and port; an IPv6 address has a port only behind brackets.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn unbracketed(address: &str) -> &str {
    address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(list: &str, host: &str, port: u16) -> bool {
        let mut exceptions = Exceptions::default();
        exceptions.add(list);
        exceptions.hold(host, port)
    }

    #[test]
    fn hosts_and_ports() {
        for (list, host, port, expected) in [
            ("", "example.com", 80, false),
            (" , ,", "example.com", 80, false),
            ("*", "example.com", 80, true),
            ("*", "10.0.0.1", 80, true),
            ("a, *", "::1", 80, true),
            ("*:443", "example.com", 443, true),
            ("*:443", "example.com", 80, false),
            ("example.com", "example.com", 80, true),
            ("example.com", "www.example.com", 80, true),
            ("example.com", "a.b.example.com", 80, true),
            ("example.com", "notexample.com", 80, false),
            ("example.com", "example.com.evil", 80, false),
            ("example.com", "com", 80, false),
            (".example.com", "example.com", 80, true),
            (".example.com", "www.example.com", 80, true),
            (".example.com", "notexample.com", 80, false),
            ("*.example.com", "www.example.com", 80, true),
            ("*.example.com", "notexample.com", 80, false),
            ("EXAMPLE.com", "example.com", 80, true),
            ("example.com.", "example.com", 80, true),
            ("example.com", "example.com.", 80, true),
            ("example.com.", "www.example.com.", 80, true),
            ("bücher.example", "xn--bcher-kva.example", 80, true),
            ("a,b example.com\tc", "example.com", 80, true),
            ("a, example.com , c", "example.com", 80, true),
            ("example.com:8080", "example.com", 8080, true),
            ("example.com:8080", "www.example.com", 8080, true),
            ("example.com:8080", "example.com", 80, false),
            ("example.com:", "example.com", 80, false),
            ("example.com:http", "example.com", 80, false),
            ("intranet", "intranet", 80, true),
            ("_srv.example", "_srv.example", 80, true),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1", "10.0.0.2", 80, false),
            ("10.0.0.1:8080", "10.0.0.1", 8080, true),
            ("10.0.0.1:8080", "10.0.0.1", 80, false),
            ("127.1", "127.0.0.1", 80, true),
            ("0.1", "10.0.0.1", 80, false),
            (".1", "10.0.0.1", 80, false),
            ("10.0.0.0/8", "10.255.0.1", 80, true),
            ("10.1.2.3/8", "10.255.0.1", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/8:80", "10.0.0.1", 80, true),
            ("10.0.0.0/8:80", "10.0.0.1", 81, false),
            ("10.0.0.0/31", "10.0.0.1", 80, true),
            ("10.0.0.0/31", "10.0.0.2", 80, false),
            ("10.0.0.1/32", "10.0.0.1", 80, true),
            ("10.0.0.1/32", "10.0.0.0", 80, false),
            ("0.0.0.0/0", "192.0.2.1", 80, true),
            ("0.0.0.0/0", "2001:db8::1", 80, false),
            ("0.0.0.0/0", "example.com", 80, false),
            ("10.0.0.0/33", "10.0.0.1", 80, false),
            ("10.0.0.0/-1", "10.0.0.1", 80, false),
            ("10.0.0.0/", "10.0.0.1", 80, false),
            ("169.254/16", "169.254.0.1", 80, false),
            ("/8", "10.0.0.1", 80, false),
            ("::1", "::1", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:8080", "::1", 8080, true),
            ("[::1]:8080", "::1", 80, false),
            ("2001:DB8:0::1", "2001:db8::1", 80, true),
            ("fd00::/8", "fd12:3456::1", 80, true),
            ("[fd00::]/8", "fd12:3456::1", 80, true),
            ("fd00::/8", "fe80::1", 80, false),
            ("fd00::/8", "10.0.0.1", 80, false),
            ("::/0", "2001:db8::1", 80, true),
            ("::/129", "2001:db8::1", 80, false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", 80, true),
            ("::ffff:10.0.0.1", "10.0.0.1", 80, true),
            ("<local>", "local", 80, false),
            ("192.168.*", "192.168.0.1", 80, false),
        ] {
            assert_eq!(hold(list, host, port), expected, "{list:?} {host} {port}");
        }
    }

    #[test]
    fn loopback() {
        for host in
            ["localhost", "localhost.", "a.localhost", "127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["notlocalhost", "localhost.example", "128.0.0.1", "0.0.0.0", "::", "::2", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
