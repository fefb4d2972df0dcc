//! A WebSocket in two halves, for two tasks.
//!
//! Both share one driver, locked for a poll and never across an `await`. The transport is polled with one waker for all, since
//! it keeps only one a direction: with a waker of its own, the flush of a pong by the receiving half would take the place
//! of a sender that waits to write, and that sender would never be woken.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, CloseInfo, Event, Message, MessageKind, Part, Prepared, Utf8Bytes,
};

use crate::driver::Driver;
use crate::error::{Error, TrySendError};
use crate::handshake::Handshake;
use crate::ping::Ping;
use crate::socket::poll_message;

mod writer;

pub use writer::MessageWriter;

pub(crate) fn split(driver: Driver, handshake: Option<Box<Handshake>>) -> (Sender, Receiver) {
    let waiting = Arc::new(Waiting::default());
    let shared = Arc::new(Shared {
        driver: Mutex::new(driver),
        waker: waiting.clone().into(),
        waiting,
        unread: AtomicBool::new(false),
        writing: AtomicBool::new(false),
        handshake,
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The sending half of a [`WebSocket`](crate::WebSocket): made by [`split`](crate::WebSocket::split), cloned for as many tasks
/// as want to send.
///
/// All clones share one queue, bounded by [`Config::max_buffered`](crate::Config::max_buffered) bytes. Keep the [`Receiver`] polled: it is what reads pongs,
/// answers pings and finishes the closing handshake, and it writes what a sender could not write at once. When the
/// receiver is dropped, messages that come are thrown away, by whichever sender is polled.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

/// The receiving half of a [`WebSocket`](crate::WebSocket): made by [`split`](crate::WebSocket::split).
///
/// While it is polled, it does all that a whole WebSocket does: it writes too, for all senders. It goes on when they are all
/// dropped. It is also a [`Stream`] of `Result<Message, Error>`.
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    driver: Mutex<Driver>,
    waiting: Arc<Waiting>,
    /// Wakes all who wait.
    waker: Waker,
    /// Whether the receiver is gone, so that nobody wants the messages that come.
    unread: AtomicBool,
    /// Whether there is a [`MessageWriter`], for whose end all other senders wait. Changed under the driver's lock only.
    writing: AtomicBool,
    handshake: Option<Box<Handshake>>,
}

/// Who waits. A waker whose future is gone stays until the next wake-up, and costs no more than that.
#[derive(Default)]
struct Waiting(Mutex<Wakers>);

#[derive(Default)]
struct Wakers {
    receiver: Option<Waker>,
    senders: Vec<Waker>,
}

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_receiver(&self, waker: &Waker) {
        match &mut self.wakers().receiver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn add_sender(&self, waker: &Waker) {
        let senders = &mut self.wakers().senders;
        if !senders.iter().any(|known| known.will_wake(waker)) {
            senders.push(waker.clone());
        }
    }

    fn wake_receiver(&self) {
        let waker = self.wakers().receiver.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn wake_senders(&self) {
        let wakers = std::mem::take(&mut self.wakers().senders);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_receiver();
        self.wake_senders();
    }
}

impl Shared {
    fn driver(&self) -> MutexGuard<'_, Driver> {
        // A panic of the transport's leaves nothing half done that matters more than the connection's end.
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_receiver<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Driver, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Before the poll, or a wake-up between the two would be lost.
        self.waiting.add_receiver(cx.waker());
        let mut driver = self.driver();
        let result = poll(&mut driver, &mut Context::from_waker(&self.waker));
        let room = driver.take_news().written || !driver.connection().is_open();
        drop(driver);
        if room {
            self.waiting.wake_senders();
        }
        result
    }

    fn poll_sender<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Driver, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        let mut driver = self.driver();
        let shared = &mut Context::from_waker(&self.waker);
        let mut try_once = |driver: &mut Driver| {
            if self.unread.load(Ordering::Acquire) {
                // Nobody else takes what comes.
                while let Poll::Ready(event) = driver.poll_event(shared) {
                    if event?.is_none() {
                        break;
                    }
                }
            }
            poll(driver, shared)
        };
        let mut result = try_once(&mut driver);
        if result.is_pending() {
            // Most of the time a sender need not wait, so that it is added only now; and tries again, or a wake-up between
            // the two would be lost.
            self.waiting.add_sender(cx.waker());
            result = try_once(&mut driver);
        }
        let news = driver.take_news();
        let ended = driver.connection().is_ended();
        drop(driver);
        if news.read || ended {
            self.waiting.wake_receiver();
        }
        if result.is_ready() && (news.written || ended) {
            self.waiting.wake_senders();
        }
        result
    }

    /// Waits for room for another message, and for the end of the one that is being written.
    fn poll_ready(&self, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(driver.poll_ready(cx))?;
        if self.writing.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn start_close(&self, frame: &CloseFrame) -> Result<(), Error> {
        let result = self.driver().start_close(Some(frame));
        // Whoever waits for room will get none, and whoever is polled next has the closing deadline to keep.
        self.waiting.wake_receiver();
        self.waiting.wake_senders();
        result
    }

    fn close_info(&self) -> Option<CloseInfo> {
        self.driver().connection().close_info().cloned()
    }
}

impl Sender {
    /// Sends a message; as [`WebSocket::send`](crate::WebSocket::send), cancel-safety included.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_message(message.into(), true).await
    }

    /// Sends a message that is not to be compressed; as [`WebSocket::send_uncompressed`](crate::WebSocket::send_uncompressed).
    pub async fn send_uncompressed(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_message(message.into(), false).await
    }

    async fn send_message(&self, message: Message, compress: bool) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| {
            self.shared.poll_sender(cx, |driver, cx| {
                ready!(self.shared.poll_ready(driver, cx))?;
                Poll::Ready(message.take().map_or(Ok(()), |message| driver.send(message, compress, cx)))
            })
        })
        .await
    }

    /// Sends a message that goes to many connections; as [`WebSocket::send_prepared`](crate::WebSocket::send_prepared).
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        poll_fn(|cx| {
            self.shared.poll_sender(cx, |driver, cx| {
                ready!(self.shared.poll_ready(driver, cx))?;
                Poll::Ready(driver.send_prepared(prepared, cx))
            })
        })
        .await
    }

    /// Begins a message that is sent in parts, and waits until no other is: until it is at its end, all other senders wait. Cancel-safe.
    ///
    /// If the WebSocket was split with a message of that kind unfinished, this goes on with it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (ws, mut peer) = sockeye::pair();
    /// let (sender, receiver) = ws.split();
    /// let mut message = sender.start_message(sockeye::MessageKind::Text).await?;
    /// message.send_part("hel").await?;
    /// message.send_reader(&mut &b"lo"[..]).await?;
    /// message.finish()?;
    /// # assert_eq!(peer.recv().await?.unwrap().as_text(), Some("hello"));
    /// # drop(receiver);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun.
    pub async fn start_message(&self, kind: MessageKind) -> Result<MessageWriter, Error> {
        poll_fn(|cx| {
            self.shared.poll_sender(cx, |driver, _| {
                if !driver.connection().is_open() {
                    return Poll::Ready(Err(driver.closed()));
                }
                if self.shared.writing.swap(true, Ordering::Relaxed) {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                }
            })
        })
        .await?;
        Ok(MessageWriter::new(self.shared.clone(), kind))
    }

    /// Sends a message if there is room at once, from whatever context.
    ///
    /// What the transport does not take at once is written by whoever polls next.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] with the message if there is no room; [`TrySendError::Closed`] with the message once the closing handshake
    /// has begun.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.try_with_room(message.into(), |driver, message, cx| driver.send(message, true, cx))
    }

    /// Sends a message that goes to many connections, if there is room at once; as [`try_send`](Self::try_send) and
    /// [`send_prepared`](Self::send_prepared).
    pub fn try_send_prepared(&self, prepared: &Prepared) -> Result<(), TrySendError> {
        let message = prepared.message().clone();
        self.try_with_room(message, |driver, _, cx| driver.send_prepared(prepared, cx))
    }

    fn try_with_room(
        &self,
        message: Message,
        send: impl FnOnce(&mut Driver, Message, &mut Context<'_>) -> Result<(), Error>,
    ) -> Result<(), TrySendError> {
        let mut driver = self.shared.driver();
        if !driver.connection().is_open() {
            return Err(TrySendError::Closed(message));
        }
        let cx = &mut Context::from_waker(&self.shared.waker);
        if self.shared.writing.load(Ordering::Relaxed) || driver.connection().unfinished().is_some() {
            return Err(TrySendError::Full(message));
        }
        if !driver.has_room() {
            // It may just not have been asked for a while.
            let _ = driver.poll_flush(cx);
            if !driver.has_room() {
                return Err(TrySendError::Full(message));
            }
        }
        // A failure of the transport is told by the receiver.
        let _ = send(&mut driver, message, cx);
        Ok(())
    }

    /// Waits until everything encoded is written to the transport. Cancel-safe.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.shared.poll_sender(cx, Driver::poll_flush)).await
    }

    /// Sends a ping; as [`WebSocket::ping`](crate::WebSocket::ping).
    pub fn ping(&self) -> Ping {
        let ping = self.shared.driver().ping();
        self.shared.waiting.wake_receiver();
        ping
    }

    /// Closes and waits for the end, as [`WebSocket::close`](crate::WebSocket::close) does; but messages that still come are the
    /// [`Receiver`]'s, which has to be polled, or else the closing deadline ends the connection.
    pub async fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<CloseInfo, Error> {
        Error::unless_closed(self.start_close(code, reason))?;
        poll_fn(|cx| self.shared.poll_sender(cx, |driver, cx| driver.poll_ended(cx).map(Ok))).await?;
        self.close_info().ok_or(Error::Closed)
    }

    /// Queues a Close frame; as [`WebSocket::start_close`](crate::WebSocket::start_close).
    pub fn start_close(&self, code: impl Into<CloseCode>, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.shared.start_close(&CloseFrame::new(code, reason)?)
    }

    /// How many encoded bytes wait to be written, of all senders together.
    pub fn buffered_amount(&self) -> usize {
        self.shared.driver().buffered_amount()
    }

    /// How the connection ended; `None` before.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.close_info()
    }

    /// What was agreed on in the opening handshake, unless it was taken before the split.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.shared.handshake.as_deref()
    }
}

impl Receiver {
    /// The next message; as [`WebSocket::recv`](crate::WebSocket::recv), cancel-safety included.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// What has come of the next message; as [`WebSocket::recv_part`](crate::WebSocket::recv_part), cancel-safety included.
    pub async fn recv_part(&mut self) -> Result<Option<Part>, Error> {
        poll_fn(|cx| self.shared.poll_receiver(cx, Driver::poll_part)).await
    }

    /// The next message, control frame or Close; as [`WebSocket::recv_event`](crate::WebSocket::recv_event).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.shared.poll_receiver(cx, Driver::poll_event)).await
    }

    /// Closes and waits for the end; as [`WebSocket::close`](crate::WebSocket::close).
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<CloseInfo, Error> {
        Error::unless_closed(self.start_close(code, reason))?;
        while self.recv_event().await?.is_some() {}
        self.close_info().ok_or(Error::Closed)
    }

    /// Queues a Close frame; as [`WebSocket::start_close`](crate::WebSocket::start_close).
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.shared.start_close(&CloseFrame::new(code, reason)?)
    }

    /// How the connection ended; `None` before.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.close_info()
    }

    /// What was agreed on in the opening handshake, unless it was taken before the split.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.shared.handshake.as_deref()
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.shared.poll_receiver(cx, poll_message)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.unread.store(true, Ordering::Release);
        // Who waits to send now reads too.
        self.shared.waiting.wake_senders();
    }
}

impl Stream for Receiver {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl Sink<Message> for Sender {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_sender(cx, |driver, cx| self.shared.poll_ready(driver, cx))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.shared.driver().encode(message, true)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_sender(cx, Driver::poll_flush)
    }

    /// Writes everything. The connection goes on, for other senders and the receiver; [`close`](Sender::close) ends it.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sink::poll_flush(self, cx)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("close_info", &self.close_info()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("close_info", &self.close_info()).finish_non_exhaustive()
    }
}
