//! The target of a request, and what is asked for by it (RFC 9112 section 3.2).

use std::net::Ipv6Addr;

use http::HeaderMap;

use super::{HOST, exactly_one, found};
use crate::error::HandshakeError;

/// The authority and the resource name asked for.
pub(super) fn parse_target(target: &str, headers: &HeaderMap) -> Result<(String, String), HandshakeError> {
    // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field and to any request message that contains more than one Host header field line or a Host header
    // field with an invalid field value."
    let host = exactly_one(headers, HOST)?;
    let host = host.to_str().ok().filter(|host| is_authority(host)).ok_or_else(|| {
        let found = found(host.as_bytes());
        HandshakeError::HeaderSyntax { name: HOST, expected: "a host and possibly a port", found }
    })?;
    let error = || HandshakeError::Target(found(target.as_bytes()));
    // RFC 6455 section 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on these
    // URIs."
    if target.contains('#') {
        return Err(error());
    }
    if target.starts_with('/') {
        return Ok((host.to_owned(), target.to_owned()));
    }
    // RFC 6455 section 4.2.1: "(or an absolute HTTP/HTTPS URI containing the /resource name/)"
    let (scheme, rest) = target.split_once("://").ok_or_else(error)?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(error());
    }
    let (authority, resource_name) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority) {
        return Err(error());
    }
    let slash = if resource_name.starts_with('/') { "" } else { "/" };
    // RFC 9112 section 3.2.2: "the origin server MUST ignore the received Host header field (if any) and instead use the host
    // information of the request-target"
    Ok((authority.to_owned(), format!("{slash}{resource_name}")))
}

/// Whether it is a host, not an empty one, and possibly a port (RFC 3986 section 3.2); user information is no part of it.
fn is_authority(authority: &str) -> bool {
    let (host_fits, port) = if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (is_registered_name(host.as_bytes()), port)
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let port_fits = port.is_empty()
        || port == ":"
        || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    host_fits && port_fits
}

/// RFC 3986 section 3.2.2: "reg-name = *( unreserved / pct-encoded / sub-delims )"; an IPv4 address is one too.
fn is_registered_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for authority in [
            "example.com",
            "example.com:80",
            "example.com:",
            "EXAMPLE.com.",
            "localhost",
            "a_b",
            "127.0.0.1:9000",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]:0",
            "xn--bcher-kva.example",
            "a%20b",
            "h:65535",
        ] {
            assert!(is_authority(authority), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "h:65536",
            "h:+1",
            "h:8x",
            "h:80:80",
            "::1",
            "[::1",
            "[::1]80",
            "[::g]",
            "[]",
            "[fe80::1%25eth0]",
            "me@h",
            "h/",
            "h?x",
            "h#x",
            "a b",
            "a, b",
            "a%2",
            "a%zz",
            "\u{fc}",
            "http://h",
        ] {
            assert!(!is_authority(authority), "{authority}");
        }
    }
}
