//! The WebSocket itself: one type for both ends and for every transport.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, CloseInfo, Config, Event, Message, PerMessageDeflate, Prepared, Role, Utf8Bytes,
};

use crate::drain::Member;
use crate::driver::Driver;
use crate::error::Error;
use crate::handshake::Handshake;
use crate::meter::Meter;
use crate::ping::Ping;
use crate::split::{self, Receiver, Sender};
use crate::transport::Transport;

mod parts;

/// A WebSocket connection, whichever end, whatever transport.
///
/// Messages go both ways at any time. Pings are answered, the connection is kept alive, and limits and deadlines
/// hold (see [`Config`]), **whenever [`recv`](Self::recv) is polled**; there is no task behind it, so if nobody polls, nothing
/// moves. Dropping it without [`close`](Self::close) ends the byte stream at once, which the peer sees as a close with 1006.
///
/// It is also a [`Stream`] of `Result<Message, Error>` and a [`Sink`] of [`Message`]s.
///
/// # When a write reaches the transport
///
/// - [`send`](Self::send) writes before it is ready, with one exception: if another whole frame has been read already and
///   waits for [`recv`](Self::recv), and the system's coarse clock (a tick is a few milliseconds) has not ticked since [`recv`](Self::recv) was
///   last polled, the message waits for the next one, so that quick replies to all that came at once are one write.
/// - What waits is written when no whole frame is left, when it comes to 64 KiB, by the first call after the clock has
///   ticked, before [`recv`](Self::recv) waits, and by [`flush`](Self::flush). So a reply waits for at most one further run of your code,
///   however long that is.
/// - What the transport does not take at once is written by the next call of any kind that is polled.
/// - Answers to pings and Close frames are written before [`recv`](Self::recv) waits.
///
/// # Memory
///
/// A connection at rest holds its own few hundred bytes and a timer. While bytes are on their way it rents a block of 64 KiB for
/// each direction from a pool of the thread's; a message that is longer than that grows the block as it arrives.
/// [`Config::max_buffered`] bounds what waits to be written: [`send`](Self::send) waits for room, and at most one message goes beyond.
/// TLS holds up to 64 KiB besides.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sockeye::Error> {
/// let (mut client, mut server) = sockeye::pair();
/// client.send("hello").await?;
/// let message = server.recv().await?;
/// assert_eq!(message.unwrap().as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
// `recv` and `send` are plain functions that give a `poll_fn`, and no `async fn`: its future would be three times as big, and
// is kept by each connection's task.
pub struct WebSocket {
    driver: Driver,
    handshake: Option<Box<Handshake>>,
}

impl WebSocket {
    pub(crate) fn new(
        transport: Transport,
        role: Role,
        config: Arc<Config>,
        input: BytesMut,
        handshake: Handshake,
        deflate: Option<PerMessageDeflate>,
        member: Option<Member>,
    ) -> Self {
        let driver = Driver::new(transport, role, config, input, deflate, member);
        Self { driver, handshake: Some(Box::new(handshake)) }
    }

    pub(crate) fn with_meter(mut self, meter: Meter) -> Self {
        self.driver.set_meter(meter);
        self
    }

    /// The next message; `None` once the connection has ended by a closing handshake, which
    /// [`close_info`](Self::close_info) tells about.
    ///
    /// Everything encoded is written before this waits. Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the peer broke the protocol or a limit (it was sent a Close frame that says so),
    /// [`Error::PongTimeout`] if it is dead, [`Error::Io`] if the connection was lost. Messages that came before are delivered
    /// first. An error is told once; then comes `None`.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Like [`recv`](Self::recv), but tells of control frames too: pings (answered already), pongs, and the
    /// peer's Close (answered already). Of those that came while a message was [sent in parts](Self::send_part) it does not tell.
    pub fn recv_event(&mut self) -> impl Future<Output = Result<Option<Event>, Error>> {
        poll_fn(|cx| self.driver.poll_event(cx))
    }

    /// Sends a message: waits for room, encodes, and writes at once what the transport takes.
    ///
    /// There is room while fewer than [`Config::max_buffered`] bytes wait to be written; what the transport does not
    /// take is written by the next call of any kind. While it waits, what the peer sends is read, up to 64 KiB.
    ///
    /// Cancel-safe: dropped before it is ready, nothing of the message was sent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun (RFC 6455 section 5.5.1), [`Error::Io`] if writing failed. Go on
    /// with [`recv`](Self::recv), for what the peer said before and for how the connection ended. [`Error::Misuse`] while a message
    /// that is [sent in parts](Self::send_part) is unfinished.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        self.send_message::<true>(message.into())
    }

    /// Sends a message that is not to be compressed, as [`send`](Self::send) does: because that would take time for nothing, as
    /// with pictures, or would let somebody guess a secret from its length (see [`Deflate`](crate::Deflate)).
    pub fn send_uncompressed(
        &mut self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), Error>> {
        self.send_message::<false>(message.into())
    }

    // The choice is in the type, and takes no room in a future that is as big as a message.
    #[inline]
    fn send_message<const COMPRESS: bool>(
        &mut self,
        message: Message,
    ) -> impl Future<Output = Result<(), Error>> {
        let mut message = Some(message);
        poll_fn(move |cx| {
            ready!(self.driver.poll_ready(cx))?;
            Poll::Ready(message.take().map_or(Ok(()), |message| self.driver.send(message, COMPRESS, cx)))
        })
    }

    /// Sends a message that goes to many connections, as [`send`](Self::send) does; all that would compress it the same way do so once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// # let mut members = [ws];
    /// let news = sockeye::Prepared::new("the same for all members");
    /// for member in &mut members {
    ///     member.send_prepared(&news).await?;
    /// }
    /// # assert_eq!(peer.recv().await?.unwrap().as_text(), Some("the same for all members"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_prepared(&mut self, prepared: &Prepared) -> impl Future<Output = Result<(), Error>> {
        poll_fn(move |cx| {
            ready!(self.driver.poll_ready(cx))?;
            Poll::Ready(self.driver.send_prepared(prepared, cx))
        })
    }

    /// Waits until everything encoded is written to the transport. Cancel-safe.
    pub fn flush(&mut self) -> impl Future<Output = Result<(), Error>> {
        poll_fn(|cx| self.driver.poll_flush(cx))
    }

    /// Sends a ping; the future that it gives waits for the pong and holds nothing of `self`, so that
    /// [`recv`](Self::recv), which is what reads the pong, can go on meanwhile.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// # tokio::spawn(async move { peer.recv().await });
    /// let ping = ws.ping();
    /// let round_trip_time = tokio::select! {
    ///     time = ping => time?,
    ///     message = ws.recv() => panic!("{message:?} came before the pong"),
    /// };
    /// # let _ = round_trip_time;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ping(&mut self) -> Ping {
        self.driver.ping()
    }

    /// Closes: sends a Close frame, waits for the peer's, at most [`Config::close_timeout`], and tells how it ended.
    ///
    /// Messages that still come are thrown away; whoever wants them calls [`start_close`](Self::start_close) and then
    /// [`recv`](Self::recv) until it gives `None`. Closing what is closing or closed already waits for the end likewise.
    ///
    /// Cancel-safe in that the Close frame is sent once, and another call goes on waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if the code may not be sent or the reason is longer than 123 bytes: nothing was sent then. Otherwise
    /// as [`recv`](Self::recv).
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<CloseInfo, Error> {
        Error::unless_closed(self.start_close(code, reason))?;
        while self.recv_event().await?.is_some() {}
        self.close_info().cloned().ok_or(Error::Closed)
    }

    /// Queues a Close frame (RFC 6455 section 7.1.2); the next [`recv`](Self::recv) or [`flush`](Self::flush) writes it.
    ///
    /// No message can be sent after it. Messages that the peer sent before its own Close frame are still delivered by
    /// [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if the code may not be sent or the reason is longer than 123 bytes, [`Error::Closed`] if the closing
    /// handshake had begun already.
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.driver.start_close(Some(&CloseFrame::new(code, reason)?))
    }

    /// Queues a Close frame without code and reason, which the peer sees as 1005; otherwise as [`start_close`](Self::start_close).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the closing handshake had begun already.
    pub fn start_close_without_code(&mut self) -> Result<(), Error> {
        self.driver.start_close(None)
    }

    /// How the connection ended: who began, with which code and reason, and whether cleanly; `None` before.
    pub fn close_info(&self) -> Option<&CloseInfo> {
        self.driver.connection().close_info()
    }

    /// How many encoded bytes wait to be written; what TLS has taken and holds back is not counted.
    pub fn buffered_amount(&self) -> usize {
        self.driver.buffered_amount()
    }

    /// What was agreed on in the opening handshake; `None` once it [was taken](Self::take_handshake).
    pub fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_deref()
    }

    /// Takes what was agreed on in the opening handshake, and its memory: about a kibibyte, which a server with many idle
    /// connections may not want to keep.
    pub fn take_handshake(&mut self) -> Option<Handshake> {
        self.handshake.take().map(|handshake| *handshake)
    }

    /// The subprotocol agreed on, if any; `None` also once the handshake was taken.
    pub fn subprotocol(&self) -> Option<&str> {
        self.handshake.as_ref()?.subprotocol.as_deref()
    }

    /// The limits and deadlines in force.
    pub fn config(&self) -> &Config {
        self.driver.connection().config()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        poll_message(&mut self.driver, cx)
    }

    /// Splits into two halves, for two tasks: one that sends, to be cloned for more, and one that receives.
    ///
    /// A whole WebSocket in a `tokio::select!` does as well for one task, without the lock that the halves share.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (ws, mut peer) = sockeye::pair();
    /// let (sender, mut receiver) = ws.split();
    /// tokio::spawn(async move { while let Ok(Some(_message)) = receiver.recv().await {} });
    /// sender.send("hello").await?;
    /// # assert!(peer.recv().await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (Sender, Receiver) {
        split::split(self.driver, self.handshake)
    }
}

/// The next message of a driver: control frames are passed over.
pub(crate) fn poll_message(
    driver: &mut Driver,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Message>, Error>> {
    loop {
        match ready!(driver.poll_event(cx))? {
            Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
            Some(_) => {}
            None => return Poll::Ready(Ok(None)),
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("role", &self.driver.connection().role())
            .field("open", &self.driver.connection().is_open())
            .field("close_info", &self.close_info())
            .finish_non_exhaustive()
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.driver.poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.driver.encode(message, true)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.driver.poll_flush(cx)
    }

    /// Closes with 1000 and waits for the end, as [`close`](WebSocket::close) does.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Error::unless_closed(self.start_close(CloseCode::NORMAL_CLOSURE, ""))?;
        while ready!(self.driver.poll_event(cx))?.is_some() {}
        Poll::Ready(Ok(()))
    }
}
