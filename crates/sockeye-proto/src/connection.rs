//! One connection after its opening handshake: where bytes, messages and time meet.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::close::{Close, CloseFrame, CloseInfo, Side};
use crate::config::Config;
use crate::deflate::{Compressor, History, PerMessageDeflate, Prepared};
use crate::error::{ApiMisuse, PongTimeout, ProtocolError, SendError};
use crate::frame::Opcode;
use crate::keepalive::{Due, Keepalive};
use crate::message::{Message, Part};
use crate::output::Output;
use crate::receive::{Receive, Want};
use crate::send::Send;

mod parts;

/// Which end of the connection this is (RFC 6455 section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that opened the connection: it masks its frames.
    Client,
    /// The end that accepted it: it closes the byte stream first.
    Server,
}

/// What came from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer's Close frame, already answered; no event comes after it (RFC 6455 section 5.5.1).
    Close(Option<CloseFrame>),
    /// A whole message (RFC 6455 section 6.2).
    Message(Message),
    /// A part of a message: comes from [`Connection::receive_part`] only.
    Part(Part),
    /// A ping, already answered (RFC 6455 section 5.5.2).
    Ping(Bytes),
    /// A pong, asked for or not (RFC 6455 section 5.5.3).
    Pong(Bytes),
}

/// A WebSocket connection after its opening handshake, without I/O.
///
/// Whoever drives it
/// - reads the peer's bytes into `input`, calls [`on_read`](Self::on_read) once and [`receive`](Self::receive) until it
///   gives nothing, and tells the end of the bytes by [`on_end`](Self::on_end);
/// - writes what is in `output`, and tells how much by [`on_written`](Self::on_written);
/// - calls [`handle_deadline`](Self::handle_deadline) when [`deadline`](Self::deadline) has passed, after a last try to read;
/// - ends its side of the byte stream once [`should_end`](Self::should_end) says so and `output` is empty, goes on reading
///   until [`is_ended`](Self::is_ended), and then lets the stream go.
///
/// Memory: beside `input` and `output` a connection holds a fragmented message of at most
/// [`max_message_size`](Config::max_message_size) bytes in at most twice as much memory, and one ping payload. `input` need never
/// hold more than [`max_frame_size`](Config::max_frame_size) bytes and a frame's header; `output` holds what the caller sends,
/// and pongs up to [`max_buffered`](Config::max_buffered).
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use sockeye_proto::{BytesMut, Config, Connection, Event, Message, Output, Role};
/// # use bytes::Buf;
/// let (config, now) = (Arc::new(Config::default()), Instant::now());
/// let mut client = Connection::new(Role::Client, config.clone(), now);
/// let mut server = Connection::new(Role::Server, config, now);
///
/// let mut output = Output::new();
/// client.send("hello".into(), &mut output)?;
/// let mut input = BytesMut::from(&output.copy_to_bytes(output.remaining())[..]);
/// let event = server.receive(&mut input, &mut output, || now)?;
/// assert_eq!(event, Some(Event::Message(Message::from("hello"))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Arc<Config>,
    receive: Receive,
    send: Send,
    close: Close,
    keepalive: Keepalive,
}

impl Connection {
    /// A connection whose opening handshake has just ended.
    pub fn new(role: Role, config: Arc<Config>, now: Instant) -> Self {
        Self {
            role,
            config,
            receive: Receive::new(role),
            send: Send::new(role),
            close: Close::new(),
            keepalive: Keepalive::new(now),
        }
    }

    /// Compresses messages, and takes compressed ones, from now on: to be called before anything else is, with what the
    /// opening handshake has agreed on (RFC 7692). How hard to try is in [`Config::deflate`].
    pub fn start_deflate(&mut self, agreed: PerMessageDeflate) {
        let server = (agreed.server_max_window_bits, !agreed.server_no_context_takeover);
        let client = (agreed.client_max_window_bits, !agreed.client_no_context_takeover);
        let (ours, theirs) = match self.role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        let settings = self.config.deflate.unwrap_or_default();
        self.send.set_compressor(Some(Compressor::new(&settings, ours.0, ours.1)));
        self.receive.start_inflating(theirs.1.then(|| History::new(theirs.0)));
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The limits, deadlines and choices in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the next event out of `input`; `None` if that needs more bytes, or if nothing can come any more. What it leaves
    /// in `input` is partly unmasked already: it has to stand there again, in front of the bytes that follow.
    ///
    /// Answers to pings and to the peer's Close are put into `output`. `now` is asked only when a closing handshake
    /// comes to its end.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol: its Close frame with [`ProtocolError::close_code`] is in `output`, and whatever
    /// still comes is thrown away.
    #[inline]
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        output: &mut Output,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        self.receive_wanted(Want::Message, input, output, now)
    }

    #[inline]
    fn receive_wanted(
        &mut self,
        want: Want,
        input: &mut BytesMut,
        output: &mut Output,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        if !self.close.may_receive() {
            input.clear();
            return Ok(None);
        }
        self.send.pending_pong(&self.config, output);
        match self.receive.next_frame(want, input, &self.config) {
            Ok(Some(event)) => {
                match &event {
                    Event::Message(_) | Event::Part(_) | Event::Pong(_) => {}
                    Event::Ping(payload) => self.send.pong(payload, &self.config, output),
                    Event::Close(frame) => self.on_close(frame.as_ref(), output, now()),
                }
                Ok(Some(event))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.fail(&error, output, now());
                input.clear();
                Err(error)
            }
        }
    }

    fn on_close(&mut self, frame: Option<&CloseFrame>, output: &mut Output, now: Instant) {
        // RFC 6455 section 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint
        // MUST send a Close frame in response. (When sending a Close frame in response, the endpoint typically echos the
        // status code it received.)"
        if self.close.may_send() {
            let answer = frame.map(|frame| CloseFrame {
                code: frame.code,
                reason: if self.config.close_as_browsers { frame.reason.clone() } else { "".into() },
            });
            self.send.close(answer.as_ref(), &self.config, output);
        }
        self.close.received(frame.cloned(), &self.config, now);
        self.forget();
    }

    fn fail(&mut self, error: &ProtocolError, output: &mut Output, now: Instant) {
        // RFC 6455 section 7.1.7: "the endpoint SHOULD send a Close frame with an appropriate status code before proceeding
        // to _Close the WebSocket Connection_." and "An endpoint MUST NOT continue to attempt to process data (including a
        // responding Close frame) from the remote endpoint"
        if self.close.may_send() {
            let frame = CloseFrame { code: error.close_code(), reason: "".into() };
            self.send.close(Some(&frame), &self.config, output);
        }
        self.close.failed(&self.config, now);
        self.forget();
    }

    /// Lets go of what only messages need: no more of them come or go.
    fn forget(&mut self) {
        self.receive = Receive::new(self.role);
        self.send.set_compressor(None);
    }

    /// Bytes of the peer were read: a sign of life.
    #[inline]
    pub fn on_read(&mut self, now: Instant) {
        self.keepalive.heard(now);
    }

    /// The peer's bytes have ended, or the byte stream has failed.
    pub fn on_end(&mut self) {
        self.close.ended(Side::Peer);
    }

    /// `count` bytes of the output were written. `now` is asked only while a keepalive ping is on its way, and when the first
    /// compressed message after a quiet time was written.
    #[inline]
    pub fn on_written(&mut self, count: usize, now: impl FnOnce() -> Instant) {
        match self.send.compressor_mut() {
            Some(compressor) if compressor.wants_clock() => {
                let now = now();
                compressor.written(now);
                self.keepalive.written(count, || now);
            }
            _ => self.keepalive.written(count, now),
        }
    }

    /// Encodes a message into `output`, compressed if that [was agreed on](Self::start_deflate) and makes it smaller.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once a Close frame was sent or received, [`ApiMisuse::MessageUnfinished`](crate::ApiMisuse::MessageUnfinished)
    /// before the last [part](Self::send_part) of another message.
    #[inline]
    pub fn send(&mut self, message: Message, output: &mut Output) -> Result<(), SendError> {
        self.send_message(message, Compressor::compress, output)
    }

    /// Encodes a message that is not to be compressed: because that would take time for nothing, as with pictures, or would let
    /// somebody guess a secret from its length.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_uncompressed(&mut self, message: Message, output: &mut Output) -> Result<(), SendError> {
        self.send_message(message, |_, _| None, output)
    }

    /// Encodes a message that goes to many connections, as [`send`](Self::send) does; all that would compress it the same way do so once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared, output: &mut Output) -> Result<(), SendError> {
        let message = prepared.message().clone();
        self.send_message(message, |compressor, _| compressor.compress_prepared(prepared), output)
    }

    fn send_message(
        &mut self,
        message: Message,
        compress: impl FnOnce(&mut Compressor, &[u8]) -> Option<Bytes>,
        output: &mut Output,
    ) -> Result<(), SendError> {
        if !self.close.may_send() || self.send.unfinished().is_some() {
            return Err(self.refusal());
        }
        self.send.pending_pong(&self.config, output);
        self.send.message(message, compress, &self.config, output);
        Ok(())
    }

    /// Encodes a ping with a payload of at most 125 bytes (RFC 6455 section 5.5.2).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once a Close frame was sent or received, [`ApiMisuse::ControlTooLong`](crate::ApiMisuse::ControlTooLong) for a longer payload.
    pub fn ping(&mut self, payload: &[u8], output: &mut Output) -> Result<(), SendError> {
        self.check_open()?;
        Ok(self.send.control(Opcode::Ping, payload, &self.config, output)?)
    }

    /// Encodes a pong that nobody asked for (RFC 6455 section 5.5.3), with a payload of at most 125 bytes.
    ///
    /// Pings are answered without it.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8], output: &mut Output) -> Result<(), SendError> {
        self.check_open()?;
        Ok(self.send.control(Opcode::Pong, payload, &self.config, output)?)
    }

    /// Starts the closing handshake (RFC 6455 section 7.1.2): no data is sent after it, but messages are still received
    /// until the peer's Close, or the deadline.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once a Close frame was sent or received, [`SendError::Misuse`] as from [`CloseFrame::new`].
    pub fn start_close(
        &mut self,
        frame: Option<&CloseFrame>,
        output: &mut Output,
        now: Instant,
    ) -> Result<(), SendError> {
        self.check_open()?;
        frame.map_or(Ok(()), CloseFrame::check)?;
        self.send.close(frame, &self.config, output);
        self.send.set_compressor(None);
        self.close.sent(&self.config, now);
        Ok(())
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called; it may move with every other call.
    pub fn deadline(&self) -> Option<Instant> {
        let others = || {
            let keepalive = self.keepalive.deadline(&self.config);
            let compressor = self.send.compressor().and_then(Compressor::deadline);
            let first = keepalive.into_iter().chain(compressor).min();
            first.filter(|_| self.close.may_receive())
        };
        self.close.deadline().or_else(others)
    }

    /// Does what is due at `now`: a keepalive ping, letting go what was needed to compress, the end of a closing handshake that takes too long, or the end of a
    /// connection with a dead peer. It is fine to call it too early.
    ///
    /// # Errors
    ///
    /// The peer is dead; the connection [is ended](Self::is_ended).
    pub fn handle_deadline(&mut self, output: &mut Output, now: Instant) -> Result<(), PongTimeout> {
        if let Some(deadline) = self.close.deadline() {
            if now >= deadline {
                self.close.ended(Side::Local);
            }
            return Ok(());
        }
        if !self.close.may_receive() {
            return Ok(());
        }
        if let Some(compressor) = self.send.compressor_mut() {
            compressor.handle_deadline(now);
        }
        match self.keepalive.due(&self.config, now) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                // Only a connection without a closing deadline gets here after its Close, behind which nothing goes. And pings to a peer
                // that does not read must not pile up: what waits to be written asks for a sign of life as well.
                if self.close.may_send() && output.remaining() < self.config.max_buffered.max(1) {
                    let sent = self.send.control(Opcode::Ping, b"", &self.config, output);
                    debug_assert!(sent.is_ok(), "an empty payload fits");
                }
                self.keepalive.pinged(output.remaining(), now);
                Ok(())
            }
            Due::PeerIsDead => {
                self.close.ended(Side::Local);
                Err(PongTimeout)
            }
        }
    }

    /// Whether messages may be sent: no Close was sent or received yet.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.close.may_send()
    }

    /// Whether a pong waits for room in the output, so that there is more to write once that is drained:
    /// [`receive`](Self::receive) puts it there.
    #[inline]
    pub fn owes_pong(&self) -> bool {
        self.close.may_receive() && self.send.owes_pong()
    }

    /// Whether this side should now end the byte stream, after what is in the output: no more frames go either way.
    #[inline]
    pub fn should_end(&self) -> bool {
        // RFC 6455 section 7.1.1: "the underlying TCP connection, in most normal cases, SHOULD be closed first by the
        // server", "a client SHOULD wait for the server to close the connection"
        self.close.is_finished()
            && (self.role == Role::Server || !self.close.info().is_some_and(|info| info.clean))
    }

    /// Whether the connection is over, and the byte stream can be let go.
    pub fn is_ended(&self) -> bool {
        self.close.is_ended()
    }

    /// How the connection ended; `None` before the closing handshake is over.
    pub fn close_info(&self) -> Option<&CloseInfo> {
        self.close.info()
    }

    /// How long `input` must get before the frame in hand is whole: a bound for growing it as bytes arrive, never a reason
    /// to reserve memory at once.
    pub fn input_wanted(&self) -> usize {
        self.receive.wanted()
    }

    /// Whether a whole frame stands at the start of `input`, so that [`receive`](Self::receive) need not wait for bytes.
    #[inline]
    pub fn has_frame(&self, input: &[u8]) -> bool {
        self.receive.has_frame(input)
    }

    /// How many bytes of memory a message in hand takes, beside the input.
    pub fn held(&self) -> usize {
        self.receive.held()
    }

    /// How many bytes of memory are kept from message to message for compression with context takeover (RFC 7692 section 7.1.1), about: what the
    /// peer's messages may refer to, and the deflater of our own.
    pub fn held_contexts(&self) -> usize {
        self.receive.held_history() + self.send.compressor().map_or(0, Compressor::held)
    }

    /// Why no message can be sent.
    #[cold]
    fn refusal(&self) -> SendError {
        // RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message
        // unless an extension has been negotiated that can interpret the interleaving."
        if self.close.may_send() { ApiMisuse::MessageUnfinished.into() } else { SendError::Closed }
    }

    #[inline]
    fn check_open(&self) -> Result<(), SendError> {
        if self.close.may_send() { Ok(()) } else { Err(SendError::Closed) }
    }
}
