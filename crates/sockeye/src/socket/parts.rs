//! Messages of any length.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::{Message, MessageKind, Part};
use tokio::io::AsyncRead;

use super::WebSocket;
use crate::driver::{poll_block, poll_item, poll_source};
use crate::error::Error;

impl WebSocket {
    /// What has come of the next message, at once, so that a message of any length can be received in the memory of what was read at
    /// once, 64 KiB at the most: `None` once the connection has ended, as with [`recv`](Self::recv).
    ///
    /// A message is all [parts](Part) up to the [last](Part::last), which may be empty. They are cut where the bytes happened to come; text is
    /// checked, and cut between characters. A compressed message comes inflated, in parts of at most 32 KiB. None of
    /// [`Config::max_message_size`](crate::Config::max_message_size), [`max_frame_size`](crate::Config::max_frame_size) and
    /// [`max_fragments`](crate::Config::max_fragments) applies: whoever wants a limit counts, and [closes](Self::close).
    ///
    /// Cancel-safe: dropping the future loses nothing. Everything encoded is written before this waits, pings are answered, and the
    /// connection is kept alive, as with [`recv`](Self::recv), and the two may take turns: what a dropped `recv` had gathered of a message is
    /// its first part; of a message that was begun with `recv_part`, `recv` throws away what is left, checking it all the same, and gives the
    /// next.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// # peer.send("hello").await?;
    /// # drop(peer);
    /// let mut length = 0;
    /// while let Some(part) = ws.recv_part().await? {
    ///     length += part.data.len();
    ///     if part.last {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(length, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). A message may fail after parts of it were given.
    pub fn recv_part(&mut self) -> impl Future<Output = Result<Option<Part>, Error>> {
        poll_fn(|cx| self.driver.poll_part(cx))
    }

    /// Sends a part of a message, whose length need not be known (RFC 6455 section 5.4): waits for room, encodes, and writes at once
    /// what the transport takes, as [`send`](Self::send) does. The first part begins the message; the last one, which may be empty, ends
    /// it. Until then only [`ping`](Self::ping)s and a Close may go in between.
    ///
    /// Meanwhile what the peer sends is read, up to 64 KiB, and its pings are answered, unless messages wait before them to be received.
    ///
    /// If compression was agreed on, the first part decides: from 1 KiB on the message is compressed if that makes this part smaller, a shorter
    /// one tells nothing, so that the message is compressed. A message of one part is sent as [`send`](Self::send) would.
    ///
    /// Cancel-safe: dropped before it is ready, nothing of the part was sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// for word in ["one ", "two ", "three"] {
    ///     ws.send_part(word, false).await?;
    /// }
    /// ws.send_part("", true).await?;
    /// assert_eq!(peer.recv().await?.unwrap().as_text(), Some("one two three"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if the part is not of the kind of those before it. Otherwise as [`send`](Self::send).
    pub fn send_part(
        &mut self,
        part: impl Into<Message>,
        last: bool,
    ) -> impl Future<Output = Result<(), Error>> {
        self.send_one_part::<true>(part.into(), last)
    }

    /// Sends a part of a message that is not to be compressed (see [`send_uncompressed`](Self::send_uncompressed)), as
    /// [`send_part`](Self::send_part) does. That is up to its first part, which may be empty: all others go as it did, those of
    /// [`send_reader`](Self::send_reader) included.
    pub fn send_part_uncompressed(
        &mut self,
        part: impl Into<Message>,
        last: bool,
    ) -> impl Future<Output = Result<(), Error>> {
        self.send_one_part::<false>(part.into(), last)
    }

    fn send_one_part<const COMPRESS: bool>(
        &mut self,
        part: Message,
        last: bool,
    ) -> impl Future<Output = Result<(), Error>> {
        let mut part = Some(part);
        poll_fn(move |cx| {
            ready!(self.driver.poll_room(cx))?;
            Poll::Ready(part.take().map_or(Ok(()), |part| self.driver.send_part(part, last, COMPRESS, cx)))
        })
    }

    /// Sends all that a reader gives, up to its end, as one message, or as the rest of the one that was begun with
    /// [`send_part`](Self::send_part).
    ///
    /// It reads when there is room, at most 64 KiB at once, and sends what it has read at once, as a fragment of its own: so it holds 64 KiB beside
    /// [`Config::max_buffered`](crate::Config::max_buffered). Text may be cut anywhere: up to 3 bytes of an unfinished character wait for
    /// the next ones. What the transport does not take at once of the end is written by the next call of any kind, such as
    /// [`flush`](Self::flush). Pings are answered meanwhile, and compression decided on, as with [`send_part`](Self::send_part).
    ///
    /// Cancel-safe: whatever was read from the reader has been encoded, or is kept in the connection if it is less than a character. The
    /// message is unfinished then: called again with the same reader, this goes on with it. It may also be ended otherwise, with
    /// [`send_part`](Self::send_part), or given up by [closing](Self::close) the connection.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// let mut reader = &b"any AsyncRead: a file, a pipe, a socket"[..];
    /// ws.send_reader(sockeye::MessageKind::Binary, &mut reader).await?;
    /// # assert_eq!(peer.recv().await?.unwrap().len(), 39);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Source`] if the reader fails: the message is unfinished, and another call goes on with it. [`Error::Misuse`] if it gives bytes for a
    /// text that are not UTF-8, of which the last that were read are lost, or if a message of the other kind is unfinished. Otherwise as
    /// [`send`](Self::send).
    pub fn send_reader<R: AsyncRead + Unpin + ?Sized>(
        &mut self,
        kind: MessageKind,
        reader: &mut R,
    ) -> impl Future<Output = Result<(), Error>> {
        poll_fn(move |cx| {
            poll_source(cx, &mut |cx| poll_block(reader, cx), &mut |cx, mut step| {
                self.driver.poll_step(cx, kind, &mut step, false)
            })
        })
    }

    /// Sends all that a stream gives as one message, as [`send_reader`](Self::send_reader) does with a reader: each item as a fragment of its own,
    /// however long. An item is taken when there is room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// # let (mut ws, mut peer) = sockeye::pair();
    /// let mut words = futures_util::stream::iter(["one ", "two ", "three"].map(std::io::Result::Ok));
    /// ws.send_stream(sockeye::MessageKind::Text, &mut words).await?;
    /// assert_eq!(peer.recv().await?.unwrap().as_text(), Some("one two three"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_stream<S, B, E>(
        &mut self,
        kind: MessageKind,
        stream: &mut S,
    ) -> impl Future<Output = Result<(), Error>>
    where
        S: Stream<Item = Result<B, E>> + Unpin + ?Sized,
        B: Into<Bytes>,
        E: Into<io::Error>,
    {
        poll_fn(move |cx| {
            poll_source(cx, &mut |cx| poll_item(stream, cx), &mut |cx, mut step| {
                self.driver.poll_step(cx, kind, &mut step, false)
            })
        })
    }
}
