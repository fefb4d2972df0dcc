//! One connection of the floor: its socket, and what could not be finished at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

use crate::deflate::Codec;
use crate::frames::{Batch, turn};
use crate::handshake;

/// Room beyond a frame, so that the read that ends it comes back short, which tells that the socket is drained.
const SLACK: usize = 64 << 10;

#[derive(PartialEq)]
pub(crate) enum State {
    Open,
    Ended,
}

pub(crate) struct Connection {
    stream: TcpStream,
    opened: bool,
    /// A buffer of its own, for good, from the first time that a frame or a reply was left over; shared until then.
    own: Vec<u8>,
    /// How many bytes of the buffer are in use.
    filled: usize,
    /// How many payload bytes of the unfinished frame are unmasked.
    unmasked: usize,
    /// What is still to be written.
    write: Range<usize>,
    /// Where the unfinished frame begins.
    rest: usize,
    /// How long the unfinished frame is, as far as is known.
    wanted: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            opened: false,
            own: Vec::new(),
            filled: 0,
            unmasked: 0,
            write: 0..0,
            rest: 0,
            wanted: 0,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Goes on until the socket is drained or takes no more.
    pub(crate) fn ready(&mut self, shared: &mut [u8], mut codec: Option<&mut Codec>) -> io::Result<State> {
        if !self.write.is_empty() {
            let count = write(&mut self.stream, &self.own[self.write.clone()])?;
            self.write.start += count;
            if !self.write.is_empty() {
                return Ok(State::Open);
            }
            self.shift();
        }
        loop {
            let buffer = if self.own.is_empty() { &mut *shared } else { &mut self.own[..] };
            let room = buffer.len() - self.filled;
            let count = match self.stream.read(&mut buffer[self.filled..]) {
                Ok(0) => return Ok(State::Ended),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(State::Open),
                Err(error) => return Err(error),
            };
            self.filled += count;
            let batch = if self.opened {
                turn(&mut buffer[..self.filled], 0, &mut self.unmasked)?
            } else if let Some((response, end)) = handshake::answer(&buffer[..self.filled], codec.is_some()) {
                self.stream.write_all(response.as_bytes())?;
                self.opened = true;
                turn(&mut buffer[..self.filled], end, &mut self.unmasked)?
            } else {
                Batch { write: 0..0, rest: 0, wanted: self.filled }
            };
            let written = match &mut codec {
                None => write(&mut self.stream, &buffer[batch.write.clone()])?,
                Some(codec) => {
                    let frames = codec.turn(&buffer[batch.write.clone()])?;
                    if write(&mut self.stream, frames)? < frames.len() {
                        // No case has so much in flight that a socket would not take it.
                        return Err(ErrorKind::WriteZero.into());
                    }
                    batch.write.len()
                }
            };
            (self.write, self.rest, self.wanted) = (batch.write, batch.rest, batch.wanted);
            self.write.start += written;
            if self.own.is_empty() && (!self.write.is_empty() || self.rest < self.filled) {
                self.own = shared[..self.filled].to_vec();
            }
            if !self.write.is_empty() {
                return Ok(State::Open);
            }
            self.shift();
            if count < room {
                return Ok(State::Open);
            }
        }
    }

    /// Brings the unfinished frame, if there is one, to the front of the buffer, and makes room for the whole of it.
    fn shift(&mut self) {
        if !self.own.is_empty() {
            self.own.copy_within(self.rest..self.filled, 0);
            if self.own.len() < self.wanted + SLACK {
                self.own.resize(self.wanted + SLACK, 0);
            }
        }
        self.filled -= self.rest;
        self.rest = 0;
    }
}

/// One `write`: how much the socket took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
