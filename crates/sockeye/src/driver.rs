//! What moves a connection: bytes between the transport and the protocol core, and the one timer.
//!
//! Whoever polls, for whatever reason, reads, answers and writes for everybody. All partial state is in here and none in
//! a future, so that dropping a future of [`WebSocket`](crate::WebSocket)'s loses nothing.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockeye_proto::{CloseCode, CloseFrame, Config, Connection, Event, Message, Output, Role};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::buffers::{self, BLOCK};
use crate::drain::Member;
use crate::error::Error;
use crate::ping::Pings;
use crate::transport::Transport;

/// What is left of a frame in less than this is put aside, rather than keep a block for it.
const ASIDE: usize = 4 << 10;

/// The most slices that one write takes.
const SLICES: usize = 16;

pub(crate) struct Driver {
    transport: Transport,
    connection: Connection,
    input: BytesMut,
    output: Output,
    timer: Option<Pin<Box<Sleep>>>,
    pings: Pings,
    /// The server's wish to close, if it is a server's connection.
    member: Option<Member>,
    /// Why writing has failed: reading goes on, for the peer's last words.
    write_error: Option<io::Error>,
    /// What `recv` ends with, once the byte stream is over.
    failure: Option<Box<Error>>,
    /// Whether our side of the byte stream is ended.
    shut: bool,
}

impl Driver {
    pub(crate) fn new(
        transport: Transport,
        role: Role,
        config: Arc<Config>,
        input: BytesMut,
        member: Option<Member>,
    ) -> Self {
        Self {
            transport,
            connection: Connection::new(role, config, Instant::now().into_std()),
            input,
            output: Output::new(),
            timer: None,
            pings: Pings::default(),
            member,
            write_error: None,
            failure: None,
            shut: false,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How many encoded bytes wait to be written.
    pub(crate) fn buffered_amount(&self) -> usize {
        self.output.remaining()
    }

    /// The next event; `None` once the connection has ended, an error if it did not end by a closing handshake.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            let now = Instant::now().into_std();
            self.rent_output();
            match self.connection.receive(&mut self.input, &mut self.output, now) {
                Ok(Some(event)) => {
                    if let Event::Pong(payload) = &event {
                        self.pings.answered(payload);
                    }
                    self.give_back_drained();
                    return Poll::Ready(Ok(Some(event)));
                }
                Ok(None) => {}
                Err(error) => self.failure = Some(Box::new(error.into())),
            }
            self.start_wanted_close(cx);
            let written = self.poll_write(cx).is_ready();
            if written && self.connection.owes_pong() {
                continue;
            }
            if written && self.connection.should_end() && !self.shut {
                // A failure tells no more than the end of the bytes, which is read next.
                self.shut = Pin::new(&mut self.transport).poll_shutdown(cx).is_ready();
            }
            if self.connection.is_ended() {
                self.release(cx);
                return Poll::Ready(self.failure.take().map_or(Ok(None), |error| Err(*error)));
            }
            match self.poll_read(cx) {
                // A peer that sends for ever must not put off the end of a closing handshake.
                Poll::Ready(()) => self.handle_deadline(),
                Poll::Pending => ready!(self.poll_timer(cx)),
            }
        }
    }

    /// Waits for room for another message.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if !self.connection.is_open() {
                return Poll::Ready(Err(self.closed()));
            }
            if self.output.remaining() < self.connection.config().max_buffered {
                return Poll::Ready(Ok(()));
            }
            if self.poll_write(cx).is_ready() {
                continue;
            }
            // Two peers that both wait for room must not wait for each other: what comes is taken, up to a block.
            if self.input.len() < BLOCK && self.poll_read(cx).is_ready() {
                continue;
            }
            ready!(self.poll_timer(cx));
        }
    }

    /// Encodes a message; call it after [`poll_ready`](Self::poll_ready).
    pub(crate) fn encode(&mut self, message: Message) -> Result<(), Error> {
        self.rent_output();
        Ok(self.connection.send(message, &mut self.output)?)
    }

    /// Encodes a message and writes what can be written at once; call it after [`poll_ready`](Self::poll_ready).
    pub(crate) fn send(&mut self, message: Message, cx: &mut Context<'_>) -> Result<(), Error> {
        self.encode(message)?;
        if self.poll_write(cx).is_ready() { self.check_written() } else { Ok(()) }
    }

    /// Writes all that is encoded.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.poll_write(cx).is_pending() {
            ready!(self.poll_timer(cx));
        }
        Poll::Ready(self.check_written())
    }

    /// Queues a ping; the sooner of the next poll and the next message writes it.
    pub(crate) fn ping(&mut self) -> crate::Ping {
        self.rent_output();
        let (payload, ping) = self.pings.start();
        if self.connection.ping(&payload, &mut self.output).is_err() {
            self.pings.give_up();
        }
        ping
    }

    /// Queues a Close frame.
    pub(crate) fn start_close(&mut self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        self.rent_output();
        let now = Instant::now().into_std();
        Ok(self.connection.start_close(frame, &mut self.output, now)?)
    }

    fn start_wanted_close(&mut self, cx: &Context<'_>) {
        if self.connection.is_open() && self.member.as_mut().is_some_and(|member| member.is_closing(cx)) {
            let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "".into() };
            let started = self.start_close(Some(&frame));
            debug_assert!(started.is_ok(), "the connection is open");
        }
    }

    /// Reads what is there into the input: ready if anything came, the end included.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.make_room();
        let result = pin!(self.transport.read_buf(&mut self.input)).poll(cx);
        match result {
            Poll::Pending => {
                self.put_input_aside();
                return Poll::Pending;
            }
            Poll::Ready(Ok(count @ 1..)) => {
                debug_assert!(count <= self.input.len());
                self.connection.on_read(Instant::now().into_std());
            }
            Poll::Ready(Ok(0)) => self.lose(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Err(error)) => self.lose(error),
        }
        Poll::Ready(())
    }

    /// Writes what is encoded: ready when nothing is left, or nothing can be written any more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.output.has_remaining() {
            if self.write_error.is_some() || self.connection.is_ended() {
                self.output.advance(self.output.remaining());
                break;
            }
            let transport = Pin::new(&mut self.transport);
            let result = if self.output.chunk().len() == self.output.remaining() {
                transport.poll_write(cx, self.output.chunk())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.output.chunks_vectored(&mut slices);
                transport.poll_write_vectored(cx, &slices[..count])
            };
            match ready!(result) {
                Ok(0) => self.write_error = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.output.advance(count);
                    self.connection.on_written(count, Instant::now().into_std());
                }
                Err(error) => self.write_error = Some(error),
            }
        }
        self.give_back_output();
        match ready!(Pin::new(&mut self.transport).poll_flush(cx)) {
            Err(error) if self.write_error.is_none() => self.write_error = Some(error),
            _ => {}
        }
        Poll::Ready(())
    }

    /// Waits for the next deadline and does what is due then.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.connection.deadline().map(Instant::from_std) else {
                return Poll::Pending;
            };
            // Deadlines mostly move away, with every byte that comes: the timer is not touched for that, but set again when it
            // goes off early.
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now < deadline {
                timer.as_mut().reset(deadline);
                continue;
            }
            self.handle_deadline();
            return Poll::Ready(());
        }
    }

    /// Does what is due.
    fn handle_deadline(&mut self) {
        self.rent_output();
        if let Err(timeout) = self.connection.handle_deadline(&mut self.output, Instant::now().into_std()) {
            self.failure = Some(Box::new(timeout.into()));
        }
    }

    /// The byte stream is over: an error unless a closing handshake had begun.
    fn lose(&mut self, error: io::Error) {
        if self.connection.is_open() {
            let error = self.write_error.take().unwrap_or(error);
            self.failure = Some(Box::new(error.into()));
        }
        self.connection.on_end();
    }

    /// Why nothing can be sent. The failure itself is told by `recv`.
    fn closed(&self) -> Error {
        self.write_error.as_ref().map_or(Error::Closed, |error| io::Error::from(error.kind()).into())
    }

    fn check_written(&self) -> Result<(), Error> {
        if self.write_error.is_some() { Err(self.closed()) } else { Ok(()) }
    }

    /// Gives the input room for the next read.
    fn make_room(&mut self) {
        if self.input.capacity() < BLOCK && !self.input.try_reclaim(BLOCK - self.input.len()) {
            let mut block = buffers::rent();
            block.extend_from_slice(&self.input);
            buffers::give_back(std::mem::replace(&mut self.input, block));
        }
        if self.input.len() == self.input.capacity() {
            // Never more than has arrived already, whatever the frame's header says.
            let wanted = self.connection.input_wanted().saturating_sub(self.input.len());
            self.input.reserve(wanted.clamp(1, self.input.len().max(BLOCK)));
        }
    }

    /// Keeps no block for nothing, or for a few bytes.
    fn put_input_aside(&mut self) {
        if self.input.len() < ASIDE && self.input.capacity() >= ASIDE {
            let aside = BytesMut::from(&self.input[..]);
            buffers::give_back(std::mem::replace(&mut self.input, aside));
        }
    }

    fn rent_output(&mut self) {
        if !self.output.has_block() && !self.output.has_remaining() {
            self.output.lend_block(buffers::rent());
        }
    }

    /// Gives back what holds nothing, before somebody else's code runs for as long as it likes.
    fn give_back_drained(&mut self) {
        if self.input.is_empty() {
            buffers::give_back(std::mem::take(&mut self.input));
        }
        self.give_back_output();
    }

    fn give_back_output(&mut self) {
        if let Some(block) = self.output.take_block() {
            buffers::give_back(block);
        }
    }

    /// Lets go of what an ended connection no longer needs.
    fn release(&mut self, cx: &mut Context<'_>) {
        if !self.shut {
            self.shut = true;
            let _ = Pin::new(&mut self.transport).poll_shutdown(cx);
        }
        self.input.clear();
        self.give_back_drained();
        self.timer = None;
        self.member = None;
        self.pings.give_up();
    }
}
