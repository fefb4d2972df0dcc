//! SOCKS5 (RFC 1928) with the user name and password method (RFC 1929), without I/O.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use sockeye_proto::UserInfo;

const VERSION: u8 = 5;

/// RFC 1928 section 3: "X'00' NO AUTHENTICATION REQUIRED"
const NO_AUTHENTICATION: u8 = 0;

/// RFC 1928 section 3: "X'02' USERNAME/PASSWORD"
const USER_AND_PASSWORD: u8 = 2;

/// RFC 1928 section 3: "X'FF' NO ACCEPTABLE METHODS"
const NONE_ACCEPTABLE: u8 = 0xff;

/// The types of an address (RFC 1928 section 5).
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// What a tunnel is to lead to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Address(SocketAddr),
    Name(&'a str, u16),
}

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocksError {
    Auth(&'static str),
    Reply(u8),
    Syntax(&'static str),
    TooLong(&'static str),
}

/// A client's part: its first message is written when it is made, the others as the proxy's answers come.
pub(super) struct SocksHandshake {
    awaited: Awaited,
    /// The message with user name and password, if there are any.
    credentials: Option<BytesMut>,
    request: BytesMut,
}

/// What the proxy says next.
enum Awaited {
    /// Which method it has chosen (RFC 1928 section 3).
    Method,
    /// Whether it accepts user name and password (RFC 1929 section 2).
    Status,
    /// Whether there is a tunnel (RFC 1928 section 6).
    Reply,
}

impl SocksHandshake {
    pub(super) fn new(
        target: Target<'_>,
        user: Option<&UserInfo>,
        output: &mut BytesMut,
    ) -> Result<Self, SocksError> {
        let credentials = user.map(credentials).transpose()?;
        let request = request(target)?;
        if credentials.is_some() {
            output.put_slice(&[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]);
        } else {
            output.put_slice(&[VERSION, 1, NO_AUTHENTICATION]);
        }
        Ok(Self { awaited: Awaited::Method, credentials, request })
    }

    /// Reads on, and writes what is due: `Some` once there is a tunnel, `None` if more bytes are needed. What follows the reply
    /// stays in `input`: it is the server's.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<Option<()>, SocksError> {
        loop {
            let &[version, code, ..] = &input[..] else {
                // Another protocol is told by its first byte.
                return match (&self.awaited, input.first()) {
                    (Awaited::Method | Awaited::Reply, Some(&version)) => check(version).map(|()| None),
                    _ => Ok(None),
                };
            };
            match self.awaited {
                Awaited::Method => {
                    check(version)?;
                    input.advance(2);
                    self.choose(code, output)?;
                }
                Awaited::Status => {
                    // The version of this part is 1 (RFC 1929 section 2); some write 5 there, and nothing hangs on it.
                    //
                    // RFC 1929 section 2: "If the server returns a `failure' (STATUS value other than X'00') status, it MUST close
                    // the connection."
                    if code != 0 {
                        return Err(SocksError::Auth("refused the user name and password"));
                    }
                    input.advance(2);
                    self.ask(output);
                }
                Awaited::Reply => {
                    check(version)?;
                    // RFC 1928 section 6: "When a reply (REP value other than X'00') indicates a failure, the SOCKS server MUST terminate
                    // the TCP connection shortly after sending the reply."
                    if code != 0 {
                        return Err(SocksError::Reply(code));
                    }
                    let Some(length) = reply_length(input)? else { return Ok(None) };
                    input.advance(length);
                    return Ok(Some(()));
                }
            }
        }
    }

    /// Goes on by the method that the proxy has chosen.
    fn choose(&mut self, method: u8, output: &mut BytesMut) -> Result<(), SocksError> {
        match (method, self.credentials.take()) {
            (NO_AUTHENTICATION, _) => self.ask(output),
            (USER_AND_PASSWORD, Some(credentials)) => {
                output.put_slice(&credentials);
                self.awaited = Awaited::Status;
            }
            // RFC 1928 section 3: "If the selected METHOD is X'FF', none of the methods listed by the client are acceptable, and
            // the client MUST close the connection."
            (USER_AND_PASSWORD | NONE_ACCEPTABLE, None) => {
                return Err(SocksError::Auth("wants a user name and a password, or another authentication"));
            }
            (NONE_ACCEPTABLE, Some(_)) => {
                return Err(SocksError::Auth("accepts neither a user name and a password nor none"));
            }
            _ => return Err(SocksError::Syntax("it chose an authentication that was not offered")),
        }
        Ok(())
    }

    fn ask(&mut self, output: &mut BytesMut) {
        output.put_slice(&self.request);
        self.awaited = Awaited::Reply;
    }
}

fn check(version: u8) -> Result<(), SocksError> {
    if version == VERSION { Ok(()) } else { Err(SocksError::Syntax("the version is not 5")) }
}

/// How long a reply is that has begun, once all of it is there.
fn reply_length(input: &[u8]) -> Result<Option<usize>, SocksError> {
    // RFC 1928 section 6: VER, REP, RSV and ATYP of a byte each, BND.ADDR, and BND.PORT of two.
    let address = match input {
        [_, _, _, IPV4, ..] => 4,
        [_, _, _, IPV6, ..] => 16,
        // RFC 1928 section 5: "The first octet of the address field contains the number of octets of name that follow"
        [_, _, _, DOMAIN_NAME, length, ..] => 1 + usize::from(*length),
        [_, _, _, DOMAIN_NAME] | [] | [_] | [_, _] | [_, _, _] => return Ok(None),
        _ => return Err(SocksError::Syntax("an address of an unknown type")),
    };
    let length = 4 + address + 2;
    Ok((input.len() >= length).then_some(length))
}

/// The message with user name and password.
fn credentials(info: &UserInfo) -> Result<BytesMut, SocksError> {
    // RFC 1929 section 2: VER, which is X'01', ULEN, UNAME, PLEN, PASSWD
    let mut message = BytesMut::from(&[1][..]);
    put_short(&mut message, &info.user, "the user name")?;
    // It is to be at least one byte long there; an empty one is sent as such, as others do.
    put_short(&mut message, &info.password, "the password")?;
    Ok(message)
}

/// The request for a tunnel.
fn request(target: Target<'_>) -> Result<BytesMut, SocksError> {
    // RFC 1928 section 4: VER, CMD, which is X'01' for CONNECT, RSV, which is X'00', ATYP, DST.ADDR, DST.PORT
    let mut message = BytesMut::from(&[VERSION, 1, 0][..]);
    match target {
        Target::Address(SocketAddr::V4(address)) => {
            message.put_u8(IPV4);
            message.put_slice(&address.ip().octets());
            message.put_u16(address.port());
        }
        Target::Address(SocketAddr::V6(address)) => {
            message.put_u8(IPV6);
            message.put_slice(&address.ip().octets());
            message.put_u16(address.port());
        }
        Target::Name(name, port) => {
            message.put_u8(DOMAIN_NAME);
            put_short(&mut message, name.as_bytes(), "the host's name")?;
            message.put_u16(port);
        }
    }
    Ok(message)
}

/// Writes a length of one byte, and so many bytes.
fn put_short(message: &mut BytesMut, text: &[u8], what: &'static str) -> Result<(), SocksError> {
    let length = u8::try_from(text.len()).map_err(|_| SocksError::TooLong(what))?;
    message.put_u8(length);
    message.put_slice(text);
    Ok(())
}

/// What a field REP means (RFC 1928 section 6).
pub(super) fn reply_text(reply: u8) -> &'static str {
    match reply {
        0 => "succeeded",
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unassigned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Target<'_> = Target::Name("example.com", 443);

    fn alice() -> UserInfo {
        UserInfo { user: b"alice".to_vec(), password: b"secret".to_vec() }
    }

    /// How it ends, what was written, and what is left of the input.
    type End = (Result<Option<()>, SocksError>, Vec<u8>, Vec<u8>);

    fn feed<'a>(user: Option<&UserInfo>, pieces: impl IntoIterator<Item = &'a [u8]>) -> End {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut socks = SocksHandshake::new(NAME, user, &mut output).unwrap();
        let mut end = Ok(None);
        for piece in pieces {
            input.extend_from_slice(piece);
            if end == Ok(None) {
                end = socks.receive(&mut input, &mut output);
            }
        }
        let rest = if end.is_ok() { input.to_vec() } else { Vec::new() };
        (end, output.to_vec(), rest)
    }

    /// The same whole, byte by byte, and split in two everywhere.
    fn read(user: Option<&UserInfo>, bytes: &[u8]) -> End {
        let whole = feed(user, [bytes]);
        assert_eq!(feed(user, bytes.chunks(1)), whole, "{bytes:?} byte by byte");
        for at in 0..bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(feed(user, [left, right]), whole, "{bytes:?} split at {at}");
        }
        whole
    }

    #[test]
    fn what_is_written() {
        let greeting = b"\x05\x01\x00";
        let request = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb";
        let opened = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
        let (end, written, rest) = read(None, opened);
        assert_eq!(
            (end, &written[..], &rest[..]),
            (Ok(Some(())), &[&greeting[..], request].concat()[..], &[][..])
        );

        let greeting = b"\x05\x02\x00\x02";
        let credentials = b"\x01\x05alice\x06secret";
        let opened = [b"\x05\x02\x01\x00", &opened[2..]].concat();
        let (end, written, _) = read(Some(&alice()), &opened);
        assert_eq!((end, written), (Ok(Some(())), [&greeting[..], credentials, request].concat()));

        let (end, written, _) = read(Some(&alice()), b"\x05\x00");
        assert_eq!((end, written), (Ok(None), [&greeting[..], request].concat()), "not needed");
    }

    #[test]
    fn requests_for_addresses() {
        for (address, written) in [
            ("192.0.2.1:80", &b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"[..]),
            (
                "[2001:db8::1]:443",
                b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb",
            ),
        ] {
            assert_eq!(request(Target::Address(address.parse().unwrap())).unwrap(), written, "{address}");
        }
    }

    #[test]
    fn the_replys_bytes_are_taken_and_no_more() {
        let long = [&b"\x05\x00\x00\x03\xff"[..], &[b'n'; 255], b"\x00\x50"].concat();
        for reply in [
            &b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"[..],
            b"\x05\x00\x00\x03\x00\x00\x50",
            b"\x05\x00\x00\x03\x01n\x00\x50",
            b"\x05\x00\xff\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb",
            &long,
        ] {
            for behind in [&b""[..], b"\x05", b"HTTP/1.1 408 \r\n\r\n"] {
                let (end, _, rest) = read(None, &[b"\x05\x00", reply, behind].concat());
                assert_eq!((end, &rest[..]), (Ok(Some(())), behind), "{reply:?}");
            }
            let cut = [b"\x05\x00", &reply[..reply.len() - 1]].concat();
            assert_eq!(read(None, &cut).0, Ok(None), "{reply:?} cut");
        }
    }

    #[test]
    fn failures() {
        let auth = |user: Option<UserInfo>, bytes: &[u8]| match read(user.as_ref(), bytes).0 {
            Err(SocksError::Auth(why)) => why.split(' ').next().unwrap_or_default(),
            other => panic!("{bytes:?}: {other:?}"),
        };
        assert_eq!(auth(None, b"\x05\xff"), "wants");
        assert_eq!(auth(None, b"\x05\x02"), "wants");
        assert_eq!(auth(Some(alice()), b"\x05\xff"), "accepts");
        assert_eq!(auth(Some(alice()), b"\x05\x02\x01\x01"), "refused");
        assert_eq!(auth(Some(alice()), b"\x05\x02\x05\xff"), "refused");
        for code in 1..=255 {
            assert_eq!(read(None, &[5, 0, 5, code]).0, Err(SocksError::Reply(code)));
            assert_ne!(reply_text(code), reply_text(0));
        }
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\x04\x5a",
            b"\x05\x01",
            b"\x05\x03",
            b"\x05\x00\x04\x00",
            b"\x05\x00\x05\x00\x00\x02",
            b"\x05\x00\x05\x00\x00\x00",
        ] {
            assert!(matches!(read(None, bytes).0, Err(SocksError::Syntax(_))), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\x05", b"\x05\x00", b"\x05\x00\x05\x00\x00\x03", b"\x05\x00\x05\x00\x00"] {
            assert_eq!(read(None, bytes).0, Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn lengths() {
        let long = "n".repeat(256);
        assert!(request(Target::Name(&long[1..], 80)).is_ok());
        assert_eq!(request(Target::Name(&long, 80)).unwrap_err(), SocksError::TooLong("the host's name"));
        let info = |user: &str, password: &str| UserInfo { user: user.into(), password: password.into() };
        assert!(credentials(&info(&long[1..], &long[1..])).is_ok());
        assert_eq!(credentials(&info("", "")).unwrap(), &b"\x01\x00\x00"[..]);
        assert_eq!(credentials(&info(&long, "")).unwrap_err(), SocksError::TooLong("the user name"));
        assert_eq!(credentials(&info("", &long)).unwrap_err(), SocksError::TooLong("the password"));
    }
}
