//! The values of options, each checked by itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye::{CloseCode, ForwardedBy, HeaderName, HeaderValue, Networks, Origins, Proxy};

/// `Name: value` as curl has it; `Name;` gives a field without a value.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = match text.split_once(':') {
        Some((_, value)) if value.trim().is_empty() => {
            return Err("there is no value; 'Name;' sends the field with an empty one".into());
        }
        Some(parts) => parts,
        None => match text.strip_suffix(';') {
            Some(name) => (name, ""),
            None => return Err("it must be 'Name: value'".into()),
        },
    };
    let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is not the name of a header field"))?;
    if name == sockeye::header::SEC_WEBSOCKET_PROTOCOL {
        return Err("subprotocols are offered with -s".into());
    }
    Ok((name, header_value(value)?))
}

pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.trim().as_bytes()).map_err(|_| "it holds a control character".into())
}

pub(super) fn subprotocol(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() { Err("a name is empty".into()) } else { Ok(name.into()) }
}

/// How long to wait: a type of its own, since clap takes an `Option` for an option that may be missing.
#[derive(Clone, Copy)]
pub(super) struct Wait(pub(super) Option<Duration>);

pub(super) fn seconds_or_inf(text: &str) -> Result<Wait, String> {
    if text == "inf" { Ok(Wait(None)) } else { seconds(text).map(|wait| Wait(Some(wait))) }
}

/// How many failures in a row are put up with.
#[derive(Clone, Copy)]
pub(super) struct Retry(pub(super) Option<u32>);

pub(super) fn count_or_inf(text: &str) -> Result<Retry, String> {
    match text {
        "inf" => Ok(Retry(None)),
        text => {
            text.parse().map(|count| Retry(Some(count))).map_err(|_| "it must be a number, or inf".into())
        }
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it must be a number of seconds, such as 2.5")?;
    Duration::try_from_secs_f64(number).map_err(|_| "it must be a number of seconds from 0 on".into())
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "it must be a number of bytes from 1 on".into())
}

/// Permissions, as `chmod` has them.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "it must be permissions from 0 to 777 in octal, such as 660".into())
}

/// A network, checked; [`Networks`] are made of all together.
pub(super) fn network(text: &str) -> Result<String, String> {
    Networks::new([text]).map(|_| text.into()).map_err(|error| error.to_string())
}

pub(super) fn forwarded_by(text: &str) -> Result<ForwardedBy, String> {
    match text {
        "forwarded" => Ok(ForwardedBy::Forwarded),
        "x-forwarded-for" => Ok(ForwardedBy::XForwardedFor),
        _ => Err("it must be forwarded or x-forwarded-for".into()),
    }
}

/// The code of a server that goes down.
pub(super) fn drain_code(text: &str) -> Result<CloseCode, String> {
    match text {
        "1001" => Ok(CloseCode::GOING_AWAY),
        "1012" => Ok(CloseCode::SERVICE_RESTART),
        _ => Err("it must be 1001 or 1012".into()),
    }
}

/// A phase of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Resolve,
    Connect,
    Proxy,
    Tls,
    Upgrade,
}

pub(super) fn phase_timeout(text: &str) -> Result<(Phase, Duration), String> {
    let (phase, limit) = text.split_once('=').ok_or("it must be PHASE=SECS, such as tls=2.5")?;
    let phase = match phase {
        "resolve" => Phase::Resolve,
        "connect" => Phase::Connect,
        "proxy" => Phase::Proxy,
        "tls" => Phase::Tls,
        "upgrade" => Phase::Upgrade,
        _ => return Err("the phase must be resolve, connect, proxy, tls or upgrade".into()),
    };
    Ok((phase, seconds(limit)?))
}

/// A file: a type of its own, since clap takes a `Vec` for the values of an option that may be repeated.
#[derive(Clone)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
}

pub(super) fn file(path: &str) -> Result<File, String> {
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    Ok(File { path: path.to_owned(), content })
}

/// A proxy, or none: a type of its own, since clap takes an `Option` for an option that may be missing.
#[derive(Clone)]
pub(super) struct ProxyOrNone(pub(super) Option<Proxy>);

pub(super) fn proxy(text: &str) -> Result<ProxyOrNone, String> {
    if text.is_empty() {
        return Ok(ProxyOrNone(None));
    }
    Proxy::new(text).map(|proxy| ProxyOrNone(Some(proxy))).map_err(|error| error.to_string())
}

/// `HOST:PORT:ADDRESS[,ADDRESS]` as curl has it; addresses of IPv6 may stand in brackets.
pub(super) fn resolve(text: &str) -> Result<(String, u16, Vec<SocketAddr>), String> {
    let wrong = || "it must be HOST:PORT:ADDRESS[,ADDRESS]".to_owned();
    let mut parts = text.splitn(3, ':');
    let (host, port, addresses) = (parts.next(), parts.next(), parts.next());
    let host = host.filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let port = port.and_then(|port| port.parse().ok()).ok_or_else(wrong)?;
    let read = |address: &str| {
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        bare.parse().map(|address: IpAddr| SocketAddr::new(address, port)).map_err(|_| wrong())
    };
    let addresses = addresses.ok_or_else(wrong)?.split(',').map(read).collect::<Result<_, _>>()?;
    Ok((host.to_owned(), port, addresses))
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// The sockets that systemd, or somebody who speaks as it does, has handed over.
    #[cfg(unix)]
    Inherited,
    Tcp(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    #[cfg(unix)]
    match text.strip_prefix("unix:") {
        Some("") => return Err("there is no path behind unix:".into()),
        Some(path) => return Ok(Listen::Unix(path.into())),
        None if text == "inherited" => return Ok(Listen::Inherited),
        None => {}
    }
    address(text).map(Listen::Tcp)
}

pub(super) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((address, port)) if !address.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("it must be an address and a port, such as 127.0.0.1:9000 or [::1]:0".into()),
    }
}

/// A pattern of origins, checked; [`Origins`] are made of all together.
pub(super) fn origin(text: &str) -> Result<String, String> {
    Origins::new([text]).map(|_| text.into()).map_err(|error| error.to_string())
}

/// A host as it is in `Host`, without a port.
pub(super) fn host(text: &str) -> Result<String, String> {
    match crate::serve::host_of(text) {
        _ if text == "*" => Ok(text.into()),
        Some(host) if host.len() == text.len() => Ok(host.to_ascii_lowercase()),
        _ => {
            Err("it must be a host name or an address, such as ws.example.com or [::1], without a port"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_read_as_curl_reads_them() {
        let read = |text| header(text).map(|(name, value)| (name.to_string(), value));
        let is = |name: &str, value: &'static str| Ok((name.into(), HeaderValue::from_static(value)));
        assert_eq!(read("Name: a value "), is("name", "a value"));
        assert_eq!(read("Name:value:more"), is("name", "value:more"));
        assert_eq!(read("Name;"), is("name", ""));
        assert_eq!(header("X: ü").map(|(_, value)| value.as_bytes().to_vec()), Ok("ü".into()));
        for wrong in ["", "Name", "Name:", "Name: ", ": value", "A name: value", "Name: a\r\nB: b", "Näme: x"]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        fn check<T, E>(read: fn(&str) -> Result<T, E>, right: &[&str], wrong: &[&str]) {
            for text in right {
                assert!(read(text).is_ok(), "{text}");
            }
            for text in wrong {
                assert!(read(text).is_err(), "{text}");
            }
        }
        check(
            origin,
            &[
                "*",
                "null",
                "https://app.example",
                "http://127.0.0.1:8000",
                "http://[::1]:1",
                "https://*.example",
            ],
            &["", "app.example", "https://app.example/", "https://", "://host"],
        );
        check(
            host,
            &["*", "a.example", "127.0.0.1", "[::1]"],
            &["", "a.example:80", "http://a.example", "::1", "a/b"],
        );
        check(
            listen,
            &["127.0.0.1:0", "[::1]:9000", "localhost:80"],
            &["", "9000", ":9000", "127.0.0.1", "127.0.0.1:65536", "inherit", "unix:"],
        );
        #[cfg(unix)]
        check(listen, &["unix:/run/socket", "unix:a:80", "inherited"], &[]);
        check(seconds, &["0", "0.25", "1e3"], &["", "-1", "NaN", "inf", "1s"]);
        check(
            phase_timeout,
            &["resolve=1", "connect=0.5", "proxy=2", "tls=3", "upgrade=4"],
            &["", "tls", "tls=", "tls=-1", "dns=1"],
        );
        check(
            resolve,
            &["a.example:80:127.0.0.1", "a.example:80:127.0.0.1,[::1],::2"],
            &[
                "",
                "a.example",
                "a.example:80",
                "a.example:80:",
                ":80:::1",
                "a.example:x:::1",
                "a:80:b.example",
            ],
        );
        check(
            proxy,
            &["", "http://a.example", "a.example:1", "socks5h://u:p@[::1]"],
            &["ftp://a.example", "http://"],
        );
        check(bytes, &["1", "16777216"], &["0", "", "-1", "1k", "99999999999999999999"]);
        check(mode, &["660", "0660", "0o660", "0", "777"], &["", "0o", "668", "1777", "+660", "u=rw"]);
        check(network, &["10.0.0.0/8", "::1", "unix"], &["", "10.0.0.0/33", "a.example"]);
        check(forwarded_by, &["forwarded", "x-forwarded-for"], &["", "via"]);
        check(drain_code, &["1001", "1012"], &["1000", "", "01001"]);
        check(count_or_inf, &["0", "7", "inf"], &["-1", "", "1.5"]);
        check(seconds_or_inf, &["0", "inf"], &["-1", "infinite"]);
        check(subprotocol, &["chat", " chat "], &["", " "]);
    }
}
