//! Bytes between the transport and the buffers.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{Driver, now};
use crate::buffers::{self, BLOCK, Buffers};
use crate::error::Error;

/// From this many bytes on, encoded messages are written even if more are about to follow.
const BATCH: usize = 64 << 10;

/// An unfinished frame shorter than this is put aside in memory of its own size while more of it is awaited.
const ASIDE: usize = 4 << 10;

/// The most slices that one write takes.
const SLICES: usize = 16;

impl Driver {
    /// Writes what is encoded, and keeps no memory when all is written.
    pub(crate) fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_write(cx));
        self.give_back();
        Poll::Ready(())
    }

    /// Writes what is encoded, unless there is more to answer first.
    #[inline]
    pub(crate) fn write_unless_more(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if let Some(buffers) = &self.buffers
            && buffers.output.remaining() < BATCH
            && self.connection.has_frame(&buffers.input)
            && coarsetime::Instant::now() == self.tick
        {
            return Ok(());
        }
        if self.poll_write(cx).is_ready() { self.check_written() } else { Ok(()) }
    }

    /// Writes all that is encoded.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.poll_write(cx).is_pending() {
            ready!(self.poll_timer(cx));
        }
        Poll::Ready(self.check_written())
    }

    /// Reads what is there into the input: ready if anything came, the end included.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let buffers = self.buffers.get_or_insert_with(buffers::rent);
        buffers.make_room(self.connection.input_wanted());
        let result = pin!(self.transport.read_buf(&mut buffers.input)).poll(cx);
        match result {
            Poll::Pending => {
                self.put_aside();
                self.fold();
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) => self.lose(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(count)) => {
                self.connection.on_read(now());
                self.meter.read(count);
            }
            Poll::Ready(Err(error)) => self.lose(error),
        }
        self.news.read = true;
        Poll::Ready(())
    }

    /// Reads as long as the input is shorter than a block.
    pub(super) fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.buffers.as_ref().is_some_and(|buffers| buffers.input.len() >= BLOCK) {
            return Poll::Pending;
        }
        self.poll_read(cx)
    }

    /// Writes what is encoded: ready when nothing is left, or nothing can be written any more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Buffers { output, .. }) = self.buffers.as_deref_mut() {
            while output.has_remaining() {
                if self.write_error.is_some() || self.connection.is_ended() {
                    output.advance(output.remaining());
                    break;
                }
                let transport = Pin::new(&mut self.transport);
                let result = if output.chunk().len() == output.remaining() {
                    transport.poll_write(cx, output.chunk())
                } else {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = output.chunks_vectored(&mut slices);
                    transport.poll_write_vectored(cx, &slices[..count])
                };
                match result {
                    Poll::Pending => {
                        self.fold();
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(0)) => self.write_error = Some(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(count)) => {
                        output.advance(count);
                        self.connection.on_written(count, now);
                        self.meter.written(count);
                        self.news.written = true;
                        self.unflushed = true;
                    }
                    Poll::Ready(Err(error)) => self.write_error = Some(error),
                }
            }
        }
        if self.unflushed && self.write_error.is_none() && !self.connection.is_ended() {
            if let Err(error) = ready!(Pin::new(&mut self.transport).poll_flush(cx)) {
                self.write_error = Some(error);
            }
            self.news.written = true;
            self.fold();
        }
        self.unflushed = false;
        Poll::Ready(())
    }

    /// Tells whoever watches what was done, and what is held now.
    #[inline]
    fn fold(&mut self) {
        self.meter.fold(self.buffers.as_deref(), &self.connection);
    }

    pub(super) fn check_written(&self) -> Result<(), Error> {
        if self.write_error.is_some() { Err(self.closed()) } else { Ok(()) }
    }

    /// Gives drained buffers back, before somebody else's code runs for as long as it likes.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if let Some(drained) = self.buffers.take_if(|buffers| buffers.is_drained()) {
            buffers::give_back(drained);
        }
    }

    /// Keeps no block while waiting: not for nothing, and not for a few bytes of an unfinished frame.
    pub(super) fn put_aside(&mut self) {
        self.give_back();
        if let Some(buffers) = &mut self.buffers
            && !buffers.output.has_remaining()
            && buffers.input.len() < ASIDE
            && buffers.input.capacity() >= ASIDE
        {
            let input = BytesMut::from(&buffers.input[..]);
            let mut block = std::mem::replace(buffers, Box::new(Buffers::aside(input)));
            block.input.clear();
            buffers::give_back(block);
        }
    }
}
