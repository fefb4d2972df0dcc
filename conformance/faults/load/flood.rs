//! Connections opened and ended as fast as it goes, on plain blocking sockets.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{Failure, LATE, tell};

/// How each connection is ended, once it is answered: by a closing handshake, or by a reset; or by that before anything is said.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Close,
    Reset,
    Abort,
}

const OPENING: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A Close with 1000, masked with zeros.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// Prints `answer STATUS COUNT` for each status, of which 0 is an end without an answer.
pub(super) fn run(
    target: SocketAddr,
    seconds: u64,
    threads: usize,
    source: IpAddr,
    end: &str,
) -> Result<(), Failure> {
    let end = match end {
        "close" => End::Close,
        "reset" => End::Reset,
        "abort" => End::Abort,
        _ => return Err(format!("no kind {end}").into()),
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    tell("under way");
    let flooding: Vec<_> = (0..threads)
        .map(|_| {
            std::thread::spawn(move || {
                let mut answers = BTreeMap::new();
                while Instant::now() < deadline {
                    *answers.entry(one(target, source, end)?).or_insert(0_u64) += 1;
                }
                Ok::<_, io::Error>(answers)
            })
        })
        .collect();
    let mut answers = BTreeMap::new();
    for thread in flooding {
        for (status, count) in thread.join().map_err(|_| "a thread has panicked")?? {
            *answers.entry(status).or_insert(0) += count;
        }
    }
    for (status, count) in answers {
        tell(&format!("answer {status} {count}"));
    }
    Ok(())
}

/// One connection; returns the status of the answer.
fn one(target: SocketAddr, source: IpAddr, end: End) -> io::Result<u16> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&target.into(), LATE)?;
    if end != End::Close {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    if end == End::Abort {
        return Ok(0);
    }
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LATE))?;
    let request = format!("GET /echo HTTP/1.1\r\nHost: {target}\r\n{OPENING}");
    let answered = stream.write_all(request.as_bytes()).and_then(|()| status(&mut stream));
    let status = match answered {
        Ok(status) => status,
        // To be cut off is what a flood has to expect; to wait in vain is not.
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return Err(error);
        }
        Err(_) => 0,
    };
    if end == End::Close && status == 101 {
        stream.write_all(CLOSE)?;
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(status)
}

/// Reads a response's head; returns its status.
fn status(stream: &mut TcpStream) -> io::Result<u16> {
    let (mut head, mut block) = (Vec::new(), [0; 512]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut block)? {
            0 => return Ok(0),
            count => head.extend_from_slice(&block[..count]),
        }
    }
    let line = String::from_utf8_lossy(&head);
    Ok(line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}
