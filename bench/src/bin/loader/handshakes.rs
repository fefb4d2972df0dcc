//! Opening handshakes: connect, request, response, reset; so many at a time.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::poll::Poll;
use crate::server::Server;
use crate::{Result, SILENCE, opening};

struct Opening {
    stream: TcpStream,
    response: Vec<u8>,
}

pub(crate) fn run(
    port: u16,
    concurrency: usize,
    warm_up: Duration,
    measured: Duration,
    server: Option<&Server>,
) -> Result<Value> {
    part(port, concurrency, warm_up)?;
    let cpu = || server.map_or(Ok(0), Server::cpu_time);
    let before = cpu()?;
    let (count, time) = part(port, concurrency, measured)?;
    let cpu = cpu()? - before;
    Ok(json!({
        "handshakes": count,
        "seconds": time.as_secs_f64(),
        "cpu_ns_per_handshake": cpu as f64 / count as f64,
        "handshakes_per_second": count as f64 / time.as_secs_f64(),
    }))
}

/// How many were opened, and in what time.
fn part(port: u16, concurrency: usize, time: Duration) -> Result<(u64, Duration)> {
    let mut poll = Poll::new()?;
    let start = Instant::now();
    let mut count = 0;
    let mut openings = Vec::new();
    let begin = |poll: &Poll, index: usize| -> Result<Option<Opening>> {
        let stream = opening::start(port, false)?;
        stream.set_nonblocking(true)?;
        poll.add(&stream, index)?;
        Ok(Some(Opening { stream, response: Vec::new() }))
    };
    for index in 0..concurrency {
        openings.push(begin(&poll, index)?);
    }
    let mut open = concurrency;
    let mut buffer = [0; 1024];
    while open > 0 {
        let ready: Vec<usize> = poll.wait(SILENCE)?.collect();
        for index in ready {
            let Some(opening) = &mut openings[index] else { continue };
            match opening.stream.read(&mut buffer) {
                Ok(0) => return Err("the server ended a connection".into()),
                Ok(count) => opening.response.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if opening::check(&opening.response, false)? {
                count += 1;
                // The old one goes first, or its index would be watched twice.
                openings[index] = None;
                if start.elapsed() < time {
                    openings[index] = begin(&poll, index)?;
                } else {
                    open -= 1;
                }
            }
        }
    }
    Ok((count, start.elapsed()))
}
