//! What is encoded and not yet written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes for the peer, in order: read them through [`Buf`] (`chunk`, `chunks_vectored`, `advance`).
///
/// Small frames stand one behind the other in one block, so that one write takes many of them; a big payload is not
/// copied but queued as it is.
#[derive(Debug, Default)]
pub struct Output {
    /// What comes before `block`.
    queue: VecDeque<Bytes>,
    /// How many bytes are in `queue`.
    queued: usize,
    block: BytesMut,
    /// How many bytes of `block` are written already.
    written: usize,
}

impl Output {
    /// An empty output, which holds no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of memory it holds, beside the payloads that are queued as they are.
    pub fn capacity(&self) -> usize {
        self.block.capacity()
    }

    /// How many bytes of memory it holds, with the payloads that are queued as they are: these by their length, though they may be slices of more.
    pub fn held(&self) -> usize {
        self.capacity() + self.queued + self.queue.capacity() * size_of::<Bytes>()
    }

    /// The block to append to.
    pub(crate) fn block(&mut self) -> &mut BytesMut {
        // An output that is never quite drained must not keep all that it ever held; moving no more than was written since
        // the last move keeps this linear.
        if self.written > self.block.len() / 2 {
            self.block.copy_within(self.written.., 0);
            self.block.truncate(self.block.len() - self.written);
            self.written = 0;
        }
        &mut self.block
    }

    /// Queues `payload` behind all that is there, without copying it.
    pub(crate) fn push(&mut self, payload: Bytes) {
        if !self.block.is_empty() {
            let mut block = self.block.split().freeze();
            block.advance(std::mem::take(&mut self.written));
            self.queued += block.len();
            self.queue.push_back(block);
        }
        self.queued += payload.len();
        self.queue.push_back(payload);
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.queued + self.block.len() - self.written
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&self.block[self.written..], |first| first)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.queue.iter().map(|chunk| &chunk[..]).chain([&self.block[self.written..]]);
        let mut used = 0;
        for (slot, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slot = IoSlice::new(chunk);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.queue.front_mut() {
            let step = count.min(first.len());
            first.advance(step);
            self.queued -= step;
            count -= step;
            if !first.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        self.written += count;
        assert!(self.written <= self.block.len(), "advanced past the end of the output");
        if self.written == self.block.len() {
            self.block.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Output {
        let mut output = Output::new();
        output.block().extend_from_slice(b"ab");
        output.push(Bytes::from_static(b"cde"));
        output.push(Bytes::from_static(b"f"));
        output.block().extend_from_slice(b"gh");
        output
    }

    #[test]
    fn keeps_the_order_however_it_is_read() {
        for step in 1..=8 {
            let mut output = filled();
            let mut read = Vec::new();
            while output.has_remaining() {
                let chunk = output.chunk();
                let count = step.min(chunk.len());
                read.extend_from_slice(&chunk[..count]);
                output.advance(count);
            }
            assert_eq!(read, b"abcdefgh", "{step} bytes at a time");
        }
        for step in 0..=8 {
            let mut output = filled();
            output.advance(step);
            let mut slices = [IoSlice::new(&[]); 8];
            let count = output.chunks_vectored(&mut slices);
            assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
            let read: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(read, b"abcdefgh"[step..], "vectored, after {step} bytes");
        }
    }
}
