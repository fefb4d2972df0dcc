//! Messages of any length: received in parts, sent in parts, and out of readers and streams.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::{ApiMisuse, Connection, Event, Message, MessageKind, Part};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Driver, now};
use crate::buffers::{self, BLOCK, Buffers};
use crate::error::Error;

/// What a message needs on its way from where it is read.
pub(crate) enum Step {
    /// Room for more of it.
    Room,
    /// That more of it be encoded.
    Chunk(Bytes),
    /// Nothing: more of it is awaited.
    Wait,
    /// That all is encoded and, as far as it goes, written.
    End,
}

/// Sends all that `next` gives. What it has given is encoded within the same poll, so that dropping the future loses none of it;
/// and it is not asked while the driver is locked, since it may be about the same connection.
pub(crate) fn poll_source(
    cx: &mut Context<'_>,
    next: &mut impl FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>,
    drive: &mut impl FnMut(&mut Context<'_>, Step) -> Poll<Result<(), Error>>,
) -> Poll<Result<(), Error>> {
    loop {
        ready!(drive(cx, Step::Room))?;
        ready!(match next(cx) {
            Poll::Ready(Some(Ok(bytes))) => drive(cx, Step::Chunk(bytes)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Error::Source(error))),
            Poll::Ready(None) => return drive(cx, Step::End),
            Poll::Pending => drive(cx, Step::Wait),
        })?;
    }
}

/// Takes the next item.
pub(crate) fn poll_item<B: Into<Bytes>, E: Into<io::Error>>(
    stream: &mut (impl Stream<Item = Result<B, E>> + Unpin + ?Sized),
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<Bytes>>> {
    let item = Pin::new(stream).poll_next(cx);
    item.map(|item| item.map(|result| result.map(Into::into).map_err(Into::into)))
}

/// Reads what there is, up to a block; nothing is kept in between.
pub(crate) fn poll_block(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<Bytes>>> {
    let mut buffers = buffers::rent();
    buffers.make_room(0);
    let result = pin!(reader.read_buf(&mut buffers.input)).poll(cx);
    let input = &mut buffers.input;
    // A big payload takes the block with it, so that it is masked where it is.
    let bytes = if input.len() >= BLOCK / 4 { std::mem::take(input) } else { input.split() };
    buffers::give_back(buffers);
    result.map(|result| match result {
        Ok(0) => None,
        Ok(_) => Some(Ok(bytes.freeze())),
        Err(error) => Some(Err(error)),
    })
}

impl Driver {
    /// The next part of a message; `None` once the connection has ended.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Error>> {
        loop {
            // There may be more to inflate of what was read already.
            self.buffers.get_or_insert_with(buffers::rent);
            let received = self.poll_received(cx, |connection, buffers| {
                connection.receive_part(&mut buffers.input, &mut buffers.output, now)
            });
            match ready!(received)? {
                Some(Event::Part(part)) => return Poll::Ready(Ok(Some(part))),
                Some(_) => {}
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Waits for room, as [`poll_ready`](Self::poll_ready) does, but also reads and answers pings, whether there is room or not: a long
    /// message must not look like a death.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_turn(cx));
            self.answer();
            self.start_wanted_close(cx);
            if !self.connection.is_open() {
                return Poll::Ready(Err(self.closed()));
            }
            if self.poll_read_ahead(cx).is_ready() {
                continue;
            }
            if self.has_room() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_write(cx).is_pending() {
                ready!(self.poll_timer(cx));
            }
        }
    }

    /// Takes control frames, as long as no data comes before them.
    fn answer(&mut self) {
        self.buffers.get_or_insert_with(buffers::rent);
        let receive = |connection: &mut Connection, buffers: &mut Buffers| {
            connection.receive_control(&mut buffers.input, &mut buffers.output, now)
        };
        while self.next_event(receive).is_some() {}
    }

    /// Encodes a part of a message and writes what can be written at once. Call it when there is [room](Self::has_room).
    pub(crate) fn send_part(
        &mut self,
        part: Message,
        last: bool,
        compress: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        let output = &mut self.buffers.get_or_insert_with(buffers::rent).output;
        let (is_text, length) = (part.is_text(), part.len());
        if compress {
            self.connection.send_part(part, last, output)?;
        } else {
            self.connection.send_part_uncompressed(part, last, output)?;
        }
        self.meter.sent(is_text, last, length);
        self.write_some(cx)
    }

    /// Does what a message of that kind needs next. Of a split connection the other half reads, and the message goes on behind what was
    /// read from here.
    pub(crate) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        kind: MessageKind,
        step: &mut Step,
        is_split: bool,
    ) -> Poll<Result<(), Error>> {
        match step {
            Step::Room => {
                // Before anything is read that could not be sent.
                if self.connection.unfinished().is_some_and(|begun| begun != kind) {
                    return Poll::Ready(Err(ApiMisuse::PartKind.into()));
                }
                if !is_split {
                    return self.poll_room(cx);
                }
                ready!(self.poll_turn(cx));
                self.poll_ready(cx)
            }
            Step::Chunk(bytes) => Poll::Ready(self.encode_chunk(kind, std::mem::take(bytes), false)),
            Step::Wait => {
                self.write_some(cx)?;
                if self.buffered_amount() == 0 {
                    if !is_split && self.connection.owes_pong() {
                        return Poll::Ready(Ok(()));
                    }
                    self.give_back();
                }
                self.poll_timer(cx).map(Ok)
            }
            Step::End => {
                if !is_split {
                    self.encode_chunk(kind, Bytes::new(), true)?;
                }
                Poll::Ready(self.write_some(cx))
            }
        }
    }

    /// Encodes bytes of a message.
    pub(crate) fn encode_chunk(&mut self, kind: MessageKind, bytes: Bytes, last: bool) -> Result<(), Error> {
        let output = &mut self.buffers.get_or_insert_with(buffers::rent).output;
        let length = bytes.len();
        self.connection.send_chunk(kind, bytes, last, output)?;
        self.meter.sent(kind == MessageKind::Text, last, length);
        Ok(())
    }

    /// Writes what can be written at once.
    pub(crate) fn write_some(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.poll_write(cx).is_ready() { self.check_written() } else { Ok(()) }
    }
}
