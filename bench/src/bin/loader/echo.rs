//! Messages there and back.
//!
//! Each connection writes as many messages as are to be in flight with one `write`, and the next as many once all
//! of these have come back: so every server sees the same batches, however it answers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::frames::Frames;
use crate::poll::Poll;
use crate::replies::Replies;
use crate::server::Server;
use crate::{Result, SILENCE, deflate, opening};

const BUFFER: usize = 256 << 10;

/// How long a part of a run is.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Messages(u64),
    Time(Duration),
}

pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) size: usize,
    pub(crate) text: bool,
    /// Whether messages are compressed.
    pub(crate) deflate: bool,
    pub(crate) warm_up: Length,
    pub(crate) measured: Length,
}

struct Connection {
    stream: TcpStream,
    replies: Replies,
    /// How many messages were sent, or are being sent.
    sent: usize,
    sent_at: Instant,
    /// What of the batch is still to be written.
    unwritten: Range<usize>,
}

struct Load<'a> {
    plan: &'a Plan,
    frames: Frames,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

/// What one part of a run gave.
struct Part {
    messages: u64,
    /// Of the replies, headers included.
    bytes: u64,
    time: Duration,
    latency: Histogram<u64>,
}

pub(crate) fn run(plan: &Plan, server: Option<&Server>) -> Result<Value> {
    let mut load = Load::open(plan)?;
    load.part(plan.warm_up)?;
    let cpu = || server.map_or(Ok(0), Server::cpu_time);
    let (cpu_before, own_before) = (cpu()?, own_cpu_time());
    let part = load.part(plan.measured)?;
    let (own, cpu) = (own_cpu_time().saturating_sub(own_before), cpu()? - cpu_before);
    let (messages, seconds) = (part.messages as f64, part.time.as_secs_f64());
    let microseconds = |quantile| part.latency.value_at_quantile(quantile) as f64 / 1e3;
    let mut found = json!({
        "messages": part.messages,
        "seconds": seconds,
        "cpu_ns_per_message": cpu as f64 / messages,
        "messages_per_second": messages / seconds,
        "latency_us": { "p50": microseconds(0.5), "p99": microseconds(0.99), "p99.9": microseconds(0.999) },
        "server_busy": cpu as f64 / 1e9 / seconds,
        "loader_busy": own.as_secs_f64() / seconds,
    });
    if plan.deflate {
        found["wire_bytes_per_message"] = json!(part.bytes as f64 / messages);
    }
    Ok(found)
}

fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl<'a> Load<'a> {
    fn open(plan: &'a Plan) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for index in 0..plan.connections {
            let stream = opening::open(plan.port, plan.deflate)?;
            stream.set_nonblocking(true)?;
            poll.add(&stream, index)?;
            let connection = Connection {
                stream,
                replies: Replies::default(),
                sent: 0,
                sent_at: Instant::now(),
                unwritten: 0..0,
            };
            connections.push(connection);
        }
        let frames = if plan.deflate {
            deflate::frames(plan.port, plan.size, plan.in_flight)?
        } else {
            Frames::new(plan.size, plan.in_flight, plan.text)
        };
        Ok(Self { plan, frames, poll, connections, buffer: vec![0; BUFFER] })
    }

    /// Sends for so long, and then waits for what is in flight.
    fn part(&mut self, length: Length) -> Result<Part> {
        let mut latency = Histogram::new_with_max(60_000_000_000, 3)?;
        let start = Instant::now();
        let (mut messages, mut bytes, mut sent) = (0u64, 0u64, 0u64);
        let in_flight = self.plan.in_flight;
        let batch = in_flight as u64;
        let goes_on = |now: Instant, sent: u64| match length {
            Length::Messages(count) => sent < count,
            Length::Time(time) => now - start < time,
        };
        let frames = &self.frames;
        for connection in &mut self.connections {
            if goes_on(start, sent) {
                connection.send(frames, in_flight, Instant::now())?;
                sent += batch;
            }
        }
        while messages < sent {
            for index in self.poll.wait(SILENCE)? {
                let connection = &mut self.connections[index];
                connection.write(frames)?;
                loop {
                    let count = match connection.stream.read(&mut self.buffer) {
                        Ok(0) => return Err("the server ended a connection".into()),
                        Ok(count) => count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    };
                    let now = Instant::now();
                    let before = connection.replies.count;
                    bytes += count as u64;
                    connection.replies.read(&self.buffer[..count], frames)?;
                    let came = (connection.replies.count - before) as u64;
                    if connection.replies.count > connection.sent {
                        return Err("more replies than messages".into());
                    }
                    if came > 0 {
                        let nanoseconds = (now - connection.sent_at).as_nanos();
                        latency.record_n(u64::try_from(nanoseconds)?, came)?;
                        messages += came;
                        if connection.replies.count == connection.sent && goes_on(now, sent) {
                            connection.send(frames, in_flight, now)?;
                            sent += batch;
                        }
                    }
                    if count < BUFFER {
                        break;
                    }
                }
            }
        }
        Ok(Part { messages, bytes, time: start.elapsed(), latency })
    }
}

impl Connection {
    fn send(&mut self, frames: &Frames, count: usize, now: Instant) -> Result<()> {
        self.unwritten = frames.batch(self.sent, count);
        self.sent += count;
        self.sent_at = now;
        self.write(frames)
    }

    fn write(&mut self, frames: &Frames) -> Result<()> {
        while !self.unwritten.is_empty() {
            match self.stream.write(frames.bytes(self.unwritten.clone())) {
                Ok(count) => self.unwritten.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
