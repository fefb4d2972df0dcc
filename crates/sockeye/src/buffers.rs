//! Memory for reading and writing, rented from a pool of the thread's and given back as soon as it is drained: a
//! connection at rest holds none.

use std::cell::RefCell;

use bytes::{Buf, BytesMut};
use sockeye_proto::Output;

/// The room that a read has, at least: a little more than 64 KiB, so that a frame with so round a payload fits with its
/// header.
pub(crate) const BLOCK: usize = (64 << 10) + 64;

/// The most memory that is kept for the next to rent, for each direction: what grew beyond it for a big message is freed.
const KEPT_SIZE: usize = 2 << 20;

/// How many buffers a thread keeps for the next to rent.
const KEPT: usize = 16;

/// What one connection needs while bytes are on their way.
#[derive(Default)]
pub(crate) struct Buffers {
    /// Read, and not yet taken by the protocol core.
    pub(crate) input: BytesMut,
    /// Encoded, and not yet written.
    pub(crate) output: Output,
    /// Whether the input is in memory of its own size, and not in a block.
    pub(crate) aside: bool,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "the box itself is what is rented")]
    static POOL: RefCell<Vec<Box<Buffers>>> = const { RefCell::new(Vec::new()) };
}

/// Empty buffers.
#[expect(clippy::unnecessary_box_returns, reason = "the box itself is what is rented")]
#[inline]
pub(crate) fn rent() -> Box<Buffers> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives buffers back that hold nothing any more.
pub(crate) fn give_back(mut buffers: Box<Buffers>) {
    debug_assert!(buffers.is_drained());
    buffers.input.clear();
    if buffers.input.capacity() > KEPT_SIZE {
        buffers.input = BytesMut::new();
    }
    if buffers.output.capacity() > KEPT_SIZE {
        buffers.output = Output::new();
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < KEPT {
            pool.push(buffers);
        }
    });
}

impl Buffers {
    /// What was read, in memory of its own.
    pub(crate) fn aside(input: BytesMut) -> Self {
        Self { input, output: Output::new(), aside: true }
    }

    /// Whether neither direction holds anything.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.is_empty() && !self.output.has_remaining()
    }

    /// How many bytes of memory are held for each direction: none if nothing is in them, since they are given back then.
    pub(crate) fn held(&self) -> (usize, usize) {
        if self.is_drained() {
            return (0, 0);
        }
        // What was cut from the start of a block is held with it.
        let least = if self.aside || self.input.capacity() == 0 { 0 } else { BLOCK };
        (self.input.capacity().max(least), self.output.held())
    }

    /// Gives the input room for a read. `wanted` is how long it has to become before it is of use: it grows towards that
    /// by what has arrived already, whatever a frame's header says.
    pub(crate) fn make_room(&mut self, wanted: usize) {
        let length = self.input.len();
        // A block in which somebody still holds a message cannot be used again: it is freed with that message.
        if self.input.capacity() < BLOCK && !self.input.try_reclaim(BLOCK - length) {
            let mut spare = rent();
            if !spare.input.try_reclaim(BLOCK) {
                spare.input = BytesMut::with_capacity(BLOCK);
            }
            spare.input.extend_from_slice(&self.input);
            if !self.output.has_remaining() {
                self.output = std::mem::take(&mut spare.output);
            }
            self.input = spare.input;
            self.aside = false;
        }
        if length == self.input.capacity() {
            self.input.reserve(wanted.saturating_sub(length).clamp(1, length));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_holds_a_part_of_it() {
        POOL.take();
        let mut buffers = rent();
        buffers.make_room(0);
        buffers.input.extend_from_slice(b"message");
        let start = buffers.input.as_ptr();
        let message = buffers.input.split_to(7).freeze();
        give_back(buffers);
        drop(message);
        let mut buffers = rent();
        buffers.make_room(0);
        assert_eq!(buffers.input.as_ptr(), start);
    }

    #[test]
    fn what_was_put_aside_goes_on_in_rented_memory() {
        POOL.take();
        let mut buffers = rent();
        buffers.make_room(0);
        let start = buffers.input.as_ptr();
        give_back(buffers);
        let mut aside = Buffers::aside(BytesMut::from(&b"unfinished"[..]));
        assert_eq!(aside.held(), (10, 0));
        aside.make_room(0);
        assert_eq!((&aside.input[..], aside.input.as_ptr()), (&b"unfinished"[..], start));
        assert_eq!(aside.held(), (BLOCK, 0));
        assert_eq!(POOL.take().len(), 0);
    }

    #[test]
    fn memory_in_use_is_left_alone() {
        POOL.take();
        let mut buffers = rent();
        buffers.make_room(0);
        buffers.input.extend_from_slice(b"message");
        let message = buffers.input.split_to(7).freeze();
        give_back(buffers);
        let mut buffers = rent();
        buffers.make_room(0);
        assert_eq!(buffers.input.capacity(), BLOCK);
        buffers.input.extend_from_slice(b"another");
        assert_eq!(message, "message");
    }

    #[test]
    fn what_grew_too_big_is_freed() {
        POOL.take();
        let mut buffers = rent();
        buffers.input.reserve(KEPT_SIZE + 1);
        give_back(buffers);
        assert_eq!(rent().input.capacity(), 0);
    }

    #[test]
    fn the_input_grows_by_what_has_arrived() {
        let mut buffers = Buffers::default();
        buffers.make_room(1 << 30);
        assert_eq!(buffers.input.capacity(), BLOCK);
        buffers.input.put_bytes(0, BLOCK);
        buffers.make_room(1 << 30);
        assert!(buffers.input.capacity() <= 2 * BLOCK);
        buffers.input.put_bytes(0, BLOCK);
        buffers.make_room(2 * BLOCK + 10);
        assert!(buffers.input.capacity() > 2 * BLOCK);
    }

    #[test]
    fn the_pool_is_bounded() {
        POOL.take();
        for _ in 0..2 * KEPT {
            give_back(Box::default());
        }
        assert_eq!(POOL.take().len(), KEPT);
    }
}
