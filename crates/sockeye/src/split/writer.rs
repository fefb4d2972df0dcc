//! A message of any length, while others want to send as well.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::{CloseCode, CloseFrame, Message, MessageKind, Utf8Bytes};
use tokio::io::AsyncRead;

use super::Shared;
use crate::driver::{Step, poll_block, poll_item, poll_source};
use crate::error::Error;

/// A message that is sent in parts, whose length need not be known: made by [`Sender::start_message`](crate::Sender::start_message).
///
/// As long as there is one, all other senders wait. [`finish`](Self::finish) it: dropped with parts sent and the end not, it closes the
/// connection with 1011, since nothing else could be sent any more.
#[must_use = "all other senders wait until it is dropped"]
pub struct MessageWriter {
    shared: Arc<Shared>,
    kind: MessageKind,
}

impl MessageWriter {
    pub(super) fn new(shared: Arc<Shared>, kind: MessageKind) -> Self {
        Self { shared, kind }
    }

    /// Sends a part, and not the last; as [`WebSocket::send_part`](crate::WebSocket::send_part), cancel-safety included.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_part`](crate::WebSocket::send_part).
    pub async fn send_part(&mut self, part: impl Into<Message>) -> Result<(), Error> {
        self.send(part.into(), true).await
    }

    /// Sends a part of a message that is not to be compressed; as
    /// [`WebSocket::send_part_uncompressed`](crate::WebSocket::send_part_uncompressed).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_part`](crate::WebSocket::send_part).
    pub async fn send_part_uncompressed(&mut self, part: impl Into<Message>) -> Result<(), Error> {
        self.send(part.into(), false).await
    }

    async fn send(&mut self, part: Message, compress: bool) -> Result<(), Error> {
        let mut part = Some(part);
        poll_fn(|cx| {
            self.shared.poll_sender(cx, |driver, cx| {
                ready!(driver.poll_ready(cx))?;
                Poll::Ready(part.take().map_or(Ok(()), |part| driver.send_part(part, false, compress, cx)))
            })
        })
        .await
    }

    /// Sends all that a reader gives; as [`WebSocket::send_reader`](crate::WebSocket::send_reader), cancel-safety included, but the message
    /// may go on behind it.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_reader`](crate::WebSocket::send_reader).
    pub async fn send_reader<R: AsyncRead + Unpin + ?Sized>(&mut self, reader: &mut R) -> Result<(), Error> {
        poll_fn(|cx| {
            poll_source(cx, &mut |cx| poll_block(reader, cx), &mut |cx, step| self.poll_step(cx, step))
        })
        .await
    }

    /// Sends all that a stream gives; as [`WebSocket::send_stream`](crate::WebSocket::send_stream), but the message may go on behind it.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_stream`](crate::WebSocket::send_stream).
    pub async fn send_stream<S, B, E>(&mut self, stream: &mut S) -> Result<(), Error>
    where
        S: Stream<Item = Result<B, E>> + Unpin + ?Sized,
        B: Into<Bytes>,
        E: Into<io::Error>,
    {
        poll_fn(|cx| {
            poll_source(cx, &mut |cx| poll_item(stream, cx), &mut |cx, step| self.poll_step(cx, step))
        })
        .await
    }

    fn poll_step(&self, cx: &Context<'_>, mut step: Step) -> Poll<Result<(), Error>> {
        self.shared.poll_sender(cx, |driver, cx| driver.poll_step(cx, self.kind, &mut step, true))
    }

    /// Ends the message, with an empty part; what the transport does not take at once is written by whoever polls next.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if text from a reader or stream has ended within a character: the connection is closed then. Otherwise as
    /// [`WebSocket::send`](crate::WebSocket::send).
    pub fn finish(self) -> Result<(), Error> {
        let mut driver = self.shared.driver();
        driver.encode_chunk(self.kind, Bytes::new(), true)?;
        driver.write_some(&mut Context::from_waker(&self.shared.waker))
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        let mut driver = self.shared.driver();
        if driver.connection().unfinished().is_some() && driver.connection().is_open() {
            let frame = CloseFrame { code: CloseCode::INTERNAL_ERROR, reason: Utf8Bytes::new() };
            let started = driver.start_close(Some(&frame));
            debug_assert!(started.is_ok(), "the connection is open");
        }
        self.shared.writing.store(false, Ordering::Relaxed);
        drop(driver);
        self.shared.waiting.wake_receiver();
        self.shared.waiting.wake_senders();
    }
}

impl fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("kind", &self.kind).finish_non_exhaustive()
    }
}
