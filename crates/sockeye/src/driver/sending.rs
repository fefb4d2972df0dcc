//! Messages into the output.

use std::task::{Context, Poll, ready};

use sockeye_proto::{Message, Prepared};
use tokio::task::coop;

use super::Driver;
use crate::buffers;
use crate::drain::Member;
use crate::error::Error;

impl Driver {
    /// Waits for room for another message.
    #[inline]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Here too: there are handlers that only send. The waker is left by those who wait.
        if self.member.as_ref().is_some_and(Member::is_going_down) {
            self.start_wanted_close(cx);
        }
        loop {
            if !self.connection.is_open() {
                let _ = self.poll_write(cx);
                return Poll::Ready(Err(self.closed()));
            }
            if self.has_room() {
                // A transport that gives way when the task's turn is over would take nothing then, and nobody might ever call again.
                if !coop::has_budget_remaining() {
                    drop(ready!(coop::poll_proceed(cx)));
                }
                return Poll::Ready(Ok(()));
            }
            if self.poll_write(cx).is_ready() {
                continue;
            }
            // Two peers that both wait for room must not wait for each other: what comes is taken, up to a block.
            if self.poll_read_ahead(cx).is_ready() {
                continue;
            }
            self.start_wanted_close(cx);
            if self.connection.is_open() {
                ready!(self.poll_timer(cx));
            }
        }
    }

    /// Whether another message may be encoded.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.buffered_amount() < self.connection.config().max_buffered.max(1)
    }

    /// Encodes a message; call it when there is [room](Self::has_room).
    #[inline]
    pub(crate) fn encode(&mut self, message: Message, compress: bool) -> Result<(), Error> {
        let output = &mut self.buffers.get_or_insert_with(buffers::rent).output;
        let (is_text, length) = (message.is_text(), message.len());
        if compress {
            self.connection.send(message, output)?;
        } else {
            self.connection.send_uncompressed(message, output)?;
        }
        self.meter.sent(is_text, true, length);
        Ok(())
    }

    /// Encodes a message and writes what can be written at once, unless there is more to answer first: then one write
    /// takes them all. What is sent later than that is no reply in passing, and has no reason to wait. Call it when there is
    /// [room](Self::has_room).
    #[inline]
    pub(crate) fn send(
        &mut self,
        message: Message,
        compress: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        self.encode(message, compress)?;
        self.write_unless_more(cx)
    }

    /// As [`send`](Self::send), for a message that others send too.
    pub(crate) fn send_prepared(&mut self, prepared: &Prepared, cx: &mut Context<'_>) -> Result<(), Error> {
        self.encode_prepared(prepared)?;
        self.write_unless_more(cx)
    }

    /// As [`encode`](Self::encode), for a message that others send too.
    pub(crate) fn encode_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        let output = &mut self.buffers.get_or_insert_with(buffers::rent).output;
        self.connection.send_prepared(prepared, output)?;
        let message = prepared.message();
        self.meter.sent(message.is_text(), true, message.len());
        Ok(())
    }

    /// Whether it makes sense to encode anything.
    pub(crate) fn may_send(&self) -> bool {
        self.connection.is_open() && self.write_error.is_none()
    }
}
