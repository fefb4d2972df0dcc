//! The half that sends.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockeye_proto::{CloseCode, CloseFrame, CloseInfo, Message, MessageKind, Prepared, Utf8Bytes};

use super::{MessageWriter, QueuedSender, Shared, SlowConsumer};
use crate::driver::Driver;
use crate::error::{Error, TrySendError};
use crate::handshake::Handshake;
use crate::ping::Ping;

/// The sending half of a [`WebSocket`](crate::WebSocket): made by [`split`](crate::WebSocket::split), cloned for as many tasks
/// as want to send.
///
/// All clones share one queue, bounded by [`Config::max_buffered`](crate::Config::max_buffered) bytes. Keep the [`Receiver`](crate::Receiver) polled: it is what reads pongs,
/// answers pings and finishes the closing handshake, and it writes what a sender could not write at once. When the
/// receiver is dropped, messages that come are thrown away, by whichever sender is polled.
#[derive(Clone)]
pub struct Sender {
    pub(super) shared: Arc<Shared>,
}

impl Sender {
    /// Sends a message; as [`WebSocket::send`](crate::WebSocket::send), cancel-safety included.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_message(message.into(), true).await
    }

    /// Sends a message that is not to be compressed; as [`WebSocket::send_uncompressed`](crate::WebSocket::send_uncompressed).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
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
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
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
            self.shared.poll_sender(cx, |driver, cx| {
                if !driver.connection().is_open() {
                    return Poll::Ready(Err(driver.closed()));
                }
                if !self.shared.is_writing(driver) && !self.shared.move_queue(driver, cx) {
                    return Poll::Pending;
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
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
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
        if self.shared.is_writing(&driver) || !self.shared.move_queue(&mut driver, cx) {
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

    /// A sending half that never waits, with a policy for a peer that reads too slowly, and a queue of at most so many bytes.
    ///
    /// The bound counts payloads, keys, and 160 bytes for each message and each key; it is memory beside
    /// [`Config::max_buffered`](crate::Config::max_buffered), and used only while the peer is behind.
    pub fn queued(&self, policy: SlowConsumer, bytes: usize) -> QueuedSender {
        QueuedSender::new(self.shared.clone(), policy, bytes)
    }

    /// Waits until everything encoded, and everything [queued](Self::queued), is written to the transport. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if writing has failed.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.shared.poll_sender(cx, |driver, cx| self.shared.poll_flush(driver, cx))).await
    }

    /// Sends a ping; as [`WebSocket::ping`](crate::WebSocket::ping).
    pub fn ping(&self) -> Ping {
        let ping = self.shared.driver().ping();
        self.shared.waiting.wake_receiver();
        ping
    }

    /// Closes and waits for the end, as [`WebSocket::close`](crate::WebSocket::close) does; but messages that still come are the
    /// [`Receiver`](crate::Receiver)'s, which has to be polled, or else the closing deadline ends the connection.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](crate::WebSocket::close).
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
    ///
    /// # Errors
    ///
    /// As [`WebSocket::start_close`](crate::WebSocket::start_close).
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

impl Sink<Message> for Sender {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_sender(cx, |driver, cx| self.shared.poll_ready(driver, cx))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.shared.driver().encode(message, true)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_sender(cx, |driver, cx| self.shared.poll_flush(driver, cx))
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
