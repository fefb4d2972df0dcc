//! What the tests of the core share: frames made and read by hand, and a pair of connections in virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part of this")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use sockeye_proto::{
    Bytes, BytesMut, CloseCode, CloseFrame, CloseInfo, Config, Connection, Event, Message, MessageKind,
    Output, PongTimeout, ProtocolError, Role, SendError,
};

pub const ROLES: [Role; 2] = [Role::Client, Role::Server];

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The masking key of RFC 6455 section 5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const SECOND: Duration = Duration::from_secs(1);

/// The default configuration with changes.
pub fn config(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    change(&mut config);
    Arc::new(config)
}

pub fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame { code: code.into(), reason: reason.into() }
}

/// The payload of a Close frame.
pub fn close_payload(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

pub fn code(code: u16) -> CloseCode {
    code.into()
}

/// A frame on the wire, made or read without the crate's codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub rsv: u8,
    pub opcode: u8,
    pub key: Option<[u8; 4]>,
    pub payload: Vec<u8>,
}

/// A frame with FIN set, without a mask.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: true, rsv: 0, opcode, key: None, payload: payload.as_ref().to_vec() }
}

impl Frame {
    /// With FIN clear.
    pub fn part(mut self) -> Self {
        self.fin = false;
        self
    }

    pub fn rsv(mut self, rsv: u8) -> Self {
        self.rsv = rsv;
        self
    }

    pub fn masked(mut self, key: [u8; 4]) -> Self {
        self.key = Some(key);
        self
    }

    /// The bytes as a peer that keeps the rules sends them to `receiver`.
    pub fn to(self, receiver: Role) -> Vec<u8> {
        if receiver == Role::Server { self.masked(KEY).bytes() } else { self.bytes() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        let is_masked = u8::from(self.key.is_some()) << 7;
        match self.payload.len() {
            length @ 0..=125 => bytes.push(is_masked | u8::try_from(length).unwrap()),
            length @ 126..=0xFFFF => {
                bytes.push(is_masked | 0x7E);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(is_masked | 0x7F);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let key = self.key.unwrap_or_default();
        bytes.extend(&key[..self.key.map_or(0, |key| key.len())]);
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// Reads whole frames, unmasked.
    ///
    /// Panics at anything that no endpoint may send, a length not in its shortest form among it.
    pub fn read_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (first, second) = (bytes.get_u8(), bytes.get_u8());
            let length = match second & 0x7F {
                126 => u64::from(bytes.get_u16()),
                127 => bytes.get_u64(),
                short => u64::from(short),
            };
            let key = (second & 0x80 != 0).then(|| bytes.get_u32().to_be_bytes());
            let (masked, rest) = bytes.split_at(usize::try_from(length).unwrap());
            let unmask = key.unwrap_or_default();
            let payload = masked.iter().zip(unmask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            let frame =
                Self { fin: first & 0x80 != 0, rsv: first >> 4 & 0x7, opcode: first & 0xF, key, payload };
            let head = frame.bytes();
            assert_eq!(head[1] & 0x7F, second & 0x7F, "the length {length} is not in its shortest form");
            assert!(matches!(frame.opcode, 0..=2 | 8..=10), "opcode {}", frame.opcode);
            assert!(frame.opcode < 8 || frame.fin && length <= 125, "a bad control frame");
            frames.push(frame);
            bytes = rest;
        }
        frames
    }
}

/// One end: a connection, its two buffers, and what came of them.
#[derive(Debug)]
pub struct End {
    pub connection: Connection,
    pub input: BytesMut,
    pub output: Output,
    pub now: Instant,
    pub events: Vec<Event>,
    pub error: Option<ProtocolError>,
    pub pong_timeout: Option<PongTimeout>,
    /// Whether this end has let the byte stream go, or its half of it.
    pub has_ended: bool,
    /// Whether this end reads what the other writes.
    pub reads: bool,
}

impl End {
    pub fn new(role: Role, config: &Arc<Config>) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::new(role, config.clone(), now),
            input: BytesMut::new(),
            output: Output::new(),
            now,
            events: Vec::new(),
            error: None,
            pong_timeout: None,
            has_ended: false,
            reads: true,
        }
    }

    pub fn client() -> Self {
        Self::new(Role::Client, &config(|_| {}))
    }

    pub fn server() -> Self {
        Self::new(Role::Server, &config(|_| {}))
    }

    pub fn role(&self) -> Role {
        self.connection.role()
    }

    /// Bytes of the peer come, all at once.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.connection.on_read(self.now);
        self.pump();
    }

    /// Bytes of the peer come, all at once, to one who wants messages in parts.
    pub fn feed_for_parts(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.connection.on_read(self.now);
        loop {
            match self.connection.receive_part(&mut self.input, &mut self.output, || self.now) {
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => break,
                Err(error) => assert_eq!(self.error.replace(error), None, "a connection fails once"),
            }
        }
    }

    /// A frame of a peer that keeps the rules comes.
    pub fn feed_frame(&mut self, frame: Frame) {
        let bytes = frame.to(self.role());
        self.feed(&bytes);
    }

    /// Receives until nothing comes.
    pub fn pump(&mut self) {
        loop {
            match self.connection.receive(&mut self.input, &mut self.output, || self.now) {
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => break,
                Err(error) => assert_eq!(self.error.replace(error), None, "a connection fails once"),
            }
        }
    }

    /// Writes up to `count` bytes, and does what a driver does then.
    pub fn write(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.output.remaining());
        let written = self.output.copy_to_bytes(count).to_vec();
        self.connection.on_written(count, || self.now);
        if self.connection.owes_pong() {
            self.pump();
        }
        written
    }

    /// Writes all there is.
    pub fn write_all(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        while self.output.has_remaining() {
            written.extend(self.write(usize::MAX));
        }
        written
    }

    /// Writes all there is, as frames.
    pub fn frames(&mut self) -> Vec<Frame> {
        let frames = Frame::read_all(&self.write_all());
        for frame in &frames {
            // RFC 6455 section 5.1: "a client MUST mask all frames that it sends to the server", "A server MUST NOT mask any
            // frames that it sends to the client."
            assert_eq!(frame.key.is_some(), self.role() == Role::Client, "{frame:?}");
        }
        frames.into_iter().map(|frame| Frame { key: None, ..frame }).collect()
    }

    /// Time goes on until `now`; what is due is done.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        if let Err(dead) = self.connection.handle_deadline(&mut self.output, now) {
            assert_eq!(self.pong_timeout.replace(dead), None, "a connection dies once");
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.tick(self.now + time);
    }

    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.connection.send(message.into(), &mut self.output)
    }

    pub fn send_part(&mut self, data: impl Into<Message>, last: bool) -> Result<(), SendError> {
        self.connection.send_part(data.into(), last, &mut self.output)
    }

    pub fn send_chunk(&mut self, kind: MessageKind, bytes: &[u8], last: bool) -> Result<(), SendError> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.connection.send_chunk(kind, bytes, last, &mut self.output)
    }

    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.connection.ping(payload.as_ref(), &mut self.output)
    }

    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.connection.pong(payload.as_ref(), &mut self.output)
    }

    pub fn close(&mut self, frame: Option<&CloseFrame>) -> Result<(), SendError> {
        self.connection.start_close(frame, &mut self.output, self.now)
    }

    /// The messages that came, without the other events.
    pub fn messages(&self) -> Vec<Message> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        });
        messages.collect()
    }

    /// How the connection ended; it must have.
    pub fn info(&self) -> CloseInfo {
        self.connection.close_info().expect("a closed connection").clone()
    }
}

/// A client and a server, joined by a byte stream each way, in a time that only [`Pair::advance`] moves.
#[derive(Debug)]
pub struct Pair {
    pub client: End,
    pub server: End,
    /// How many bytes one write takes.
    pub chunk: usize,
    is_cut: bool,
}

impl Pair {
    pub fn new(config: &Arc<Config>) -> Self {
        let client = End::new(Role::Client, config);
        let server = End { now: client.now, ..End::new(Role::Server, config) };
        Self { client, server, chunk: usize::MAX, is_cut: false }
    }

    /// The end of that role, and the other one.
    pub fn ends(&mut self, role: Role) -> (&mut End, &mut End) {
        match role {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        }
    }

    /// Carries bytes, and the ends of bytes, both ways until nothing moves.
    pub fn deliver(&mut self) {
        while !self.is_cut && (self.carry(Role::Client) | self.carry(Role::Server)) {}
    }

    fn carry(&mut self, role: Role) -> bool {
        let chunk = self.chunk;
        let (from, to) = self.ends(role);
        if from.has_ended || !to.reads {
            return false;
        }
        if from.output.has_remaining() && !from.connection.is_ended() {
            let bytes = from.write(chunk);
            to.feed(&bytes);
            return true;
        }
        from.has_ended = from.connection.should_end() || from.connection.is_ended();
        if from.has_ended {
            to.connection.on_end();
        }
        from.has_ended
    }

    /// Breaks the byte streams.
    pub fn cut(&mut self) {
        self.is_cut = true;
        self.client.connection.on_end();
        self.server.connection.on_end();
    }

    /// Lets time go on; whatever is due on the way is done at its time.
    pub fn advance(&mut self, time: Duration) {
        let end = self.client.now + time;
        loop {
            self.deliver();
            let deadlines = [self.client.connection.deadline(), self.server.connection.deadline()];
            let next = deadlines.into_iter().flatten().min().map_or(end, |next| next.min(end));
            self.client.tick(next);
            self.server.tick(next);
            if next == end {
                return self.deliver();
            }
        }
    }
}
