//! Blocks of memory, rented from a pool of the thread's and given back as soon as they are drained: a connection at rest
//! holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// The size of a block, and the most that is read at once.
pub(crate) const BLOCK: usize = 64 << 10;

/// How many blocks a thread keeps for the next to rent.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty block with room for [`BLOCK`] bytes.
pub(crate) fn rent() -> BytesMut {
    let pooled = || POOL.with_borrow_mut(Vec::pop);
    // A block is still in use while somebody holds a message that was cut out of it: it is freed with that message.
    std::iter::from_fn(pooled)
        .find_map(|mut block| (block.try_reclaim(BLOCK) && block.capacity() <= 2 * BLOCK).then_some(block))
        .unwrap_or_else(|| BytesMut::with_capacity(BLOCK))
}

/// Gives a block back.
pub(crate) fn give_back(mut block: BytesMut) {
    block.clear();
    POOL.with_borrow_mut(|pool| {
        if pool.len() < KEPT {
            pool.push(block);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_once_nobody_holds_a_part_of_it() {
        POOL.take();
        let mut block = rent();
        block.extend_from_slice(b"message");
        let start = block.as_ptr();
        let message = block.split_to(7).freeze();
        give_back(block);
        drop(message);
        assert_eq!(rent().as_ptr(), start);
    }

    #[test]
    fn a_block_in_use_or_too_big_is_let_go() {
        POOL.take();
        let mut block = rent();
        block.extend_from_slice(b"message");
        let message = block.split_to(7).freeze();
        give_back(block);
        assert_eq!(rent().capacity(), BLOCK);
        assert_eq!(message, "message");
        give_back(BytesMut::with_capacity(BLOCK * 3));
        assert_eq!(rent().capacity(), BLOCK);
        assert_eq!(POOL.with_borrow(Vec::len), 0);
    }
}
