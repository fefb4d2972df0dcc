//! Where a client is that comes through a proxy: who is believed, and what it says.

use std::net::{IpAddr, SocketAddr};

use sockeye_proto::{HeaderMap, HeaderName, header};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::network::Network;
use crate::opening::OpenCause;

/// Addresses whose word on where their clients are is taken: those of one's own proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Trusted>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trusted {
    /// Whoever comes by a unix socket.
    Unix,
    Network(Network),
}

/// This is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address, no network such as 10.0.0.0/8, and not unix")]
pub struct NetworkError(String);

impl Networks {
    /// Reads addresses (`192.0.2.1`, `::1`), networks (`10.0.0.0/8`, `fd00::/8`), and `unix`: whoever comes by a unix socket.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] with the first that is none of these.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworkError> {
        let read = |text: &str| trusted(text).ok_or_else(|| NetworkError(text.to_owned()));
        list.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address is in one of them; `None` is a unix socket's.
    fn hold(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        self.0.iter().any(|trusted| match (trusted, address) {
            (Trusted::Unix, None) => true,
            (Trusted::Network(network), Some(address)) => network.holds(address),
            _ => false,
        })
    }
}

fn trusted(text: &str) -> Option<Trusted> {
    if text == "unix" {
        return Some(Trusted::Unix);
    }
    let network = match text.split_once('/') {
        Some((address, length)) => Network::new(address.parse().ok()?, length.parse().ok()?)?,
        None => Network::of(text.parse().ok()?),
    };
    Some(Trusted::Network(network))
}

/// The header field in which a proxy says where its client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedBy {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, which no standard defines.
    XForwardedFor,
}

/// Who is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnProxies {
    /// Who begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: Option<Networks>,
    pub(crate) forwarded: Option<(ForwardedBy, Networks)>,
}

impl OwnProxies {
    /// Whether a peer begins with a header of the PROXY protocol.
    pub(crate) fn speak_first(&self, peer: Option<SocketAddr>) -> bool {
        self.proxy_protocol.as_ref().is_some_and(|proxies| proxies.hold(peer.map(|peer| peer.ip())))
    }

    /// Whether a peer's address is not its client's.
    pub(crate) fn hold(&self, peer: Option<SocketAddr>) -> bool {
        let forwards = |(_, proxies): &(_, Networks)| proxies.hold(peer.map(|peer| peer.ip()));
        self.speak_first(peer) || self.forwarded.as_ref().is_some_and(forwards)
    }

    /// Where the client of a request is that came from `peer`.
    pub(crate) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<SocketAddr> {
        let Some((by, proxies)) = &self.forwarded else { return peer };
        let mut client = peer;
        // From the last proxy to the first: each is believed if the one behind it is one of ours.
        for said in said(*by, headers).into_iter().rev() {
            if !proxies.hold(client.map(|client| client.ip())) {
                break;
            }
            let Some(said) = said else { break };
            client = Some(said);
        }
        client
    }
}

/// What the header fields say, in their order; `None` for what is no address.
fn said(by: ForwardedBy, headers: &HeaderMap) -> Vec<Option<SocketAddr>> {
    let name = match by {
        ForwardedBy::Forwarded => header::FORWARDED,
        ForwardedBy::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
    };
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().unwrap_or_default();
        match by {
            ForwardedBy::XForwardedFor => all.extend(value.split(',').map(|node| address(node.trim()))),
            ForwardedBy::Forwarded => all.extend(split(value, ',').into_iter().map(forwarded_for)),
        }
    }
    all
}

/// The address in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<SocketAddr> {
    split(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        // RFC 7239 section 6: "Note that IPv6 addresses [...] MUST be quoted."
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        name.eq_ignore_ascii_case("for").then(|| address(value))?
    })
}

/// Splits at a separator that is not in a quoted string (RFC 9110 section 5.6.4).
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let at = |c: char| {
        let here = c == separator && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        here
    };
    text.split(at).collect()
}

/// An address with a port or without, which is 0 then; one of IPv6 with a port in brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, 0)),
        Err(_) => text.parse().ok(),
    }
}

/// The first octets of a header of version 2 of the PROXY protocol (section 2.2), which is as long as what version 1 begins with at least.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1 (section 2.1).
const LONGEST: usize = 107;

/// The most octets of addresses and extensions that are read of version 2.
const MOST: usize = 4 << 10;

/// Reads a header of the PROXY protocol, version 1 or 2, and nothing behind it; `None` if it tells no address: of a health check of the proxy's own, for
/// instance.
pub(crate) async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, OpenCause> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE { read_binary(stream).await } else { read_text(stream, &start).await }
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, OpenCause> {
    let [command, family, high, low] = {
        let mut fields = [0; 4];
        stream.read_exact(&mut fields).await?;
        fields
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Section 2.2: "The highest four bits contains the version. As of this specification, it must always be sent as \x2"
    if command >> 4 != 2 || length > MOST {
        return Err(wrong());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    // Source address, destination address, source port, destination port.
    match (command & 0xf, family) {
        (1, 0x11) => {
            let &[a, b, c, d, _, _, _, _, high, low, _, _] = rest.first_chunk().ok_or_else(wrong)?;
            Ok(Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))))
        }
        (1, 0x21) => {
            let fields: &[u8; 36] = rest.first_chunk().ok_or_else(wrong)?;
            let address: [u8; 16] = *fields.first_chunk().ok_or_else(wrong)?;
            Ok(Some(SocketAddr::from((address, u16::from_be_bytes([fields[32], fields[33]])))))
        }
        // LOCAL: "the receiver must accept this connection as valid and must use the real connection endpoints". Of other families there is no
        // address that would be one here.
        (0 | 1, _) => Ok(None),
        // "other values are unassigned and must not be emitted [...]. Receivers must drop connections presenting unexpected values here."
        _ => Err(wrong()),
    }
}

async fn read_text(
    stream: &mut (impl AsyncRead + Unpin),
    start: &[u8],
) -> Result<Option<SocketAddr>, OpenCause> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if !line.starts_with(b"PROXY ") || line.len() == LONGEST {
            return Err(wrong());
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| wrong())?;
    let words: Vec<_> = line.trim_end_matches("\r\n").split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let source: IpAddr = source.parse().map_err(|_| wrong())?;
            let port = port.parse().map_err(|_| wrong())?;
            if source.is_ipv4() != (family == "TCP4") {
                return Err(wrong());
            }
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(wrong()),
    }
}

fn wrong() -> OpenCause {
    OpenCause::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, "no header of the PROXY protocol"))
}

#[cfg(test)]
mod tests {
    use sockeye_proto::HeaderValue;

    use super::*;

    #[test]
    fn networks_hold_what_they_should() {
        let networks = Networks::new(["10.1.2.3/8", "::1", "fd00::/8", "192.0.2.7"]).unwrap();
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "::1", "fdff::1", "192.0.2.7"] {
            assert!(networks.hold(inside.parse().ok()), "{inside}");
        }
        for outside in ["11.0.0.1", "::2", "fe00::1", "192.0.2.8", "::10.0.0.1"] {
            assert!(!networks.hold(outside.parse().ok()), "{outside}");
        }
        assert!(!networks.hold(None) && Networks::new(["unix"]).unwrap().hold(None));
        assert!(Networks::new(["0.0.0.0/0"]).unwrap().hold("1.2.3.4".parse().ok()));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "::/129", "localhost", "10.0.0.0/-1"] {
            assert!(Networks::new([wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_client_is_the_first_who_is_no_proxy_of_ours() {
        let client = |by, values: &[&'static str]| {
            let name = match by {
                ForwardedBy::Forwarded => "forwarded",
                ForwardedBy::XForwardedFor => "x-forwarded-for",
            };
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_static(value));
            }
            let ours = Networks::new(["10.0.0.0/8"]).unwrap();
            let proxies = OwnProxies { proxy_protocol: None, forwarded: Some((by, ours)) };
            proxies.client("10.0.0.1:9".parse().ok(), &headers).unwrap().to_string()
        };
        for (values, expected) in [
            (&[][..], "10.0.0.1:9"),
            (&["192.0.2.1"], "192.0.2.1:0"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1:0"),
            (&["6.6.6.6", "192.0.2.1,10.0.0.2"], "192.0.2.1:0"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
            (&["192.0.2.1:80"], "192.0.2.1:80"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["6.6.6.6, unknown"], "10.0.0.1:9"),
            (&["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2:0"),
            (&["6.6.6.6,"], "10.0.0.1:9"),
        ] {
            assert_eq!(client(ForwardedBy::XForwardedFor, values), expected, "{values:?}");
        }
        for (values, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1:0"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711"),
            (&["for=6.6.6.6, proto=http;FOR=192.0.2.1;by=10.0.0.1", "for=10.0.0.9"], "192.0.2.1:0"),
            (&["for=6.6.6.6, for=192.0.2.1;host=\"a, for=7.7.7.7\""], "192.0.2.1:0"),
            (&["for=6.6.6.6, for=192.0.2.1;host=\"a\\\", for=7.7.7.7\""], "192.0.2.1:0"),
            (&["for=6.6.6.6, for=_hidden"], "10.0.0.1:9"),
            (&["for=6.6.6.6, host=a"], "10.0.0.1:9"),
            (&["for=\"6.6.6.6, for=192.0.2.1"], "10.0.0.1:9"),
        ] {
            assert_eq!(client(ForwardedBy::Forwarded, values), expected, "{values:?}");
        }
    }

    #[tokio::test]
    async fn headers_of_the_proxy_protocol() {
        let binary = |command: u8, family: u8, rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            [&SIGNATURE[..], &[command, family], &length, rest].concat()
        };
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
        let good: &[(Vec<u8>, Option<&str>)] = &[
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".into(), Some("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::1 ::1 4660 80\r\n".into(), Some("[2001:db8::1]:4660")),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
            (binary(0x21, 0x11, &v4), Some("192.0.2.1:4660")),
            (binary(0x21, 0x11, &[&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()), Some("192.0.2.1:4660")),
            (binary(0x21, 0x21, &v6), Some("[2001:db8::1]:4660")),
            (binary(0x20, 0, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ];
        for (header, expected) in good {
            let bytes = [header, &b"GET"[..]].concat();
            let mut stream = &bytes[..];
            let read = read_proxy_header(&mut stream).await.unwrap();
            assert_eq!(read, expected.map(|address| address.parse().unwrap()), "{header:?}");
            assert_eq!(stream, b"GET", "what is behind it is left");
            for end in 0..header.len() {
                assert!(read_proxy_header(&mut &header[..end]).await.is_err(), "{header:?} up to {end}");
            }
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat();
        for bad in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 2001:db8::1 ::1 4660 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 80\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 1 80\r\n",
            &long,
            &binary(0x11, 0x11, &v4),
            &binary(0x22, 0x11, &v4),
            &binary(0x21, 0x11, &v4[..11]),
            &binary(0x21, 0x21, &v6[..35]),
            &binary(0x21, 0x11, &[0; MOST + 1]),
        ] {
            assert!(read_proxy_header(&mut &bad[..]).await.is_err(), "{bad:?}");
        }
    }
}
