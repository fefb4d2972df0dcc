//! What moves a connection: bytes between the transport and the protocol core, and the one timer.
//!
//! Whoever polls, for whatever reason, reads, answers and writes for everybody. All partial state is in here and none in
//! a future, so that dropping a future of [`WebSocket`](crate::WebSocket)'s loses nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockeye_proto::{CloseFrame, Config, Connection, Event, PerMessageDeflate, ProtocolError, Role};
use tokio::io::AsyncWrite;
use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::buffers::{self, Buffers};
use crate::drain::Member;
use crate::error::Error;
use crate::meter::Meter;
use crate::ping::{Ping, Pings};
use crate::transport::Transport;

mod parts;
mod sending;
mod transfer;

pub(crate) use parts::{Step, poll_block, poll_item, poll_source};

/// After so many events and reads the task gives way, if the runtime says that it is time.
const TURN: u8 = 32;

pub(crate) struct Driver {
    transport: Transport,
    connection: Connection,
    /// Rented while anything is read or written and not yet done with.
    buffers: Option<Box<Buffers>>,
    timer: Option<Pin<Box<Sleep>>>,
    pings: Pings,
    meter: Meter,
    /// The server's wish to close, if it is a server's connection.
    member: Option<Member>,
    /// Whether the transport was given bytes that it may still hold, as TLS does.
    unflushed: bool,
    /// Why writing has failed: reading goes on, for the peer's last words.
    write_error: Option<io::Error>,
    /// What `recv` ends with, once the byte stream is over.
    failure: Option<Box<Error>>,
    /// The tick of the coarse clock at which events were last asked for: how long the user's code has run since then.
    tick: coarsetime::Instant,
    /// How many events and reads are left in this turn.
    turn: u8,
    /// Whether our side of the byte stream is ended.
    shut: bool,
    news: News,
}

/// What a poll did that somebody else may wait for.
#[derive(Clone, Copy, Default)]
pub(crate) struct News {
    /// Bytes were read.
    pub(crate) read: bool,
    /// Bytes were written.
    pub(crate) written: bool,
}

impl Driver {
    pub(crate) fn new(
        transport: Transport,
        role: Role,
        config: Arc<Config>,
        input: BytesMut,
        deflate: Option<PerMessageDeflate>,
        member: Option<Member>,
    ) -> Self {
        let buffers = (!input.is_empty()).then(|| Box::new(Buffers::aside(input)));
        let mut connection = Connection::new(role, config, now());
        if let Some(agreed) = deflate {
            connection.start_deflate(agreed);
        }
        Self {
            transport,
            connection,
            buffers,
            timer: None,
            pings: Pings::default(),
            meter: Meter::default(),
            member,
            unflushed: false,
            write_error: None,
            failure: None,
            tick: coarsetime::Instant::now(),
            turn: TURN,
            shut: false,
            news: News::default(),
        }
    }

    /// Counts from now on.
    pub(crate) fn set_meter(&mut self, meter: Meter) {
        self.meter = meter;
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How many encoded bytes wait to be written.
    #[inline]
    pub(crate) fn buffered_amount(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.output.remaining())
    }

    /// What was done since this was last asked.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// The next event; `None` once the connection has ended, an error if it did not end by a closing handshake.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.poll_received(cx, |connection, buffers| {
            connection.receive(&mut buffers.input, &mut buffers.output, now)
        })
    }

    /// The next of what `receive` makes of the input.
    #[inline]
    fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
        receive: impl Fn(&mut Connection, &mut Buffers) -> Result<Option<Event>, ProtocolError>,
    ) -> Poll<Result<Option<Event>, Error>> {
        // A reply waits for at most one further run of the user's code, which may have been long.
        let tick = coarsetime::Instant::now();
        if std::mem::replace(&mut self.tick, tick) != tick {
            let _ = self.poll_write(cx);
        }
        loop {
            ready!(self.poll_turn(cx));
            if let Some(event) = self.next_event(&receive) {
                self.give_back();
                return Poll::Ready(Ok(Some(event)));
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
                Poll::Ready(()) if !self.connection.is_open() => self.handle_deadline(),
                Poll::Ready(()) => {}
                Poll::Pending => ready!(self.poll_timer(cx)),
            }
        }
    }

    /// Gives way from time to time: a peer that sends faster than we handle would keep the thread to itself.
    #[inline]
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn == 0 {
            let Poll::Ready(proceed) = coop::poll_proceed(cx) else {
                let _ = self.poll_write(cx);
                return Poll::Pending;
            };
            proceed.made_progress();
            self.turn = TURN;
        }
        self.turn -= 1;
        Poll::Ready(())
    }

    /// Waits for the end of the connection, to which somebody else receives.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.connection.is_ended() {
            let _ = self.poll_write(cx);
            ready!(self.poll_timer(cx));
        }
        Poll::Ready(())
    }

    /// Queues a ping; the next poll or message writes it.
    pub(crate) fn ping(&mut self) -> Ping {
        let (payload, ping) = self.pings.start();
        let buffers = self.buffers.get_or_insert_with(buffers::rent);
        match self.connection.ping(&payload, &mut buffers.output) {
            Ok(()) => self.meter.pinged(false),
            Err(_) => self.pings.give_up(),
        }
        ping
    }

    /// Queues a Close frame.
    pub(crate) fn start_close(&mut self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        let buffers = self.buffers.get_or_insert_with(buffers::rent);
        Ok(self.connection.start_close(frame, &mut buffers.output, now())?)
    }

    /// Finishes the closing handshake, and says whether it ended cleanly; what still comes is thrown away.
    pub(crate) async fn finish(mut self: Box<Self>) -> bool {
        poll_fn(|cx| {
            while let Some(_event) = ready!(self.poll_event(cx)).unwrap_or_default() {}
            Poll::Ready(())
        })
        .await;
        self.connection.close_info().is_some_and(|info| info.clean)
    }

    fn start_wanted_close(&mut self, cx: &Context<'_>) {
        if self.connection.is_open()
            && let Some(frame) = self.member.as_mut().and_then(|member| member.wants_close(cx))
        {
            let started = self.start_close(Some(&frame));
            debug_assert!(started.is_ok(), "the connection is open");
        }
    }

    /// Takes the next event out of the input.
    #[inline]
    fn next_event(
        &mut self,
        receive: impl Fn(&mut Connection, &mut Buffers) -> Result<Option<Event>, ProtocolError>,
    ) -> Option<Event> {
        let buffers = self.buffers.as_mut()?;
        match receive(&mut self.connection, buffers) {
            Ok(event) => {
                if let Some(event) = &event {
                    self.meter.received(event, buffers, &self.connection);
                }
                if let Some(Event::Pong(payload)) = &event {
                    self.pings.answered(payload, self.meter.metrics());
                }
                event
            }
            Err(error) => {
                self.failure = Some(Box::new(error.into()));
                None
            }
        }
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
            if Instant::now() < deadline {
                timer.as_mut().reset(deadline);
                continue;
            }
            self.handle_deadline();
            return Poll::Ready(());
        }
    }

    /// Does what is due.
    fn handle_deadline(&mut self) {
        let now = now();
        if self.connection.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let buffers = self.buffers.get_or_insert_with(buffers::rent);
        let before = buffers.output.remaining();
        if let Err(timeout) = self.connection.handle_deadline(&mut buffers.output, now) {
            self.failure = Some(Box::new(timeout.into()));
        }
        if buffers.output.remaining() > before {
            // Nothing else is sent at a deadline.
            self.meter.pinged(true);
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
    pub(crate) fn closed(&self) -> Error {
        self.write_error.as_ref().map_or(Error::Closed, |error| io::Error::from(error.kind()).into())
    }

    /// Lets go of what an ended connection no longer needs.
    fn release(&mut self, cx: &mut Context<'_>) {
        if !self.shut {
            self.shut = true;
            let _ = Pin::new(&mut self.transport).poll_shutdown(cx);
        }
        if let Some(buffers) = &mut self.buffers {
            buffers.input.clear();
        }
        self.give_back();
        self.timer = None;
        if let Some(member) = self.member.take() {
            member.end(self.connection.close_info().is_some_and(|info| info.clean));
        }
        self.pings.give_up();
        self.meter.end(self.connection.close_info(), self.failure.as_deref());
    }
}

impl Drop for Driver {
    /// A server's connection that is dropped while it closes is left to the server: a handler whose reply comes too late
    /// for the Close that the server has sent ends by that error, and its peer shall still see a clean end.
    fn drop(&mut self) {
        let closing = !self.connection.is_open() && !self.connection.is_ended();
        if let Some(member) = self.member.take_if(|_| closing) {
            let config = Arc::new(Config::default());
            let nothing =
                Self::new(Transport::Gone, self.connection.role(), config, BytesMut::new(), None, None);
            member.leave(std::mem::replace(self, nothing));
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
