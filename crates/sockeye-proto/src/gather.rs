//! A message that is gathered piece by piece: one in several frames, a compressed one, or one that is handed out in parts.

use std::cell::RefCell;

use bytes::{Buf, Bytes, BytesMut};

use crate::deflate::{Inflater, MAX_WINDOW};

/// How much is had at once for the payloads of compressed messages.
const BLOCK: usize = 64 << 10;

/// How many of those for compressed messages a thread keeps.
const KEPT: usize = 4;

/// A message that is gathered.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) text: bool,
    /// Whether a part of it was handed out.
    pub(crate) begun: bool,
    pub(crate) fragments: u32,
    pub(crate) payload: BytesMut,
    /// How much of the payload was handed out: of a compressed message it stays there, as long as what follows may refer to it.
    given: usize,
    pub(crate) inflater: Option<Inflater>,
}

thread_local! {
    /// Inflaters, with the blocks they inflate into. A connection has one only while a compressed message comes.
    #[expect(clippy::vec_box, reason = "the box itself is what is rented")]
    static POOL: RefCell<Vec<Box<Gathered>>> = const { RefCell::new(Vec::new()) };
}

impl Gathered {
    /// For a compressed message.
    pub(crate) fn rent() -> Box<Self> {
        let mut rented = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
        // A block of which somebody still holds a message cannot be used again.
        if rented.payload.capacity() < BLOCK / 4 && !rented.payload.try_reclaim(BLOCK) {
            rented.payload = BytesMut::with_capacity(BLOCK);
        }
        rented.inflater.get_or_insert_with(Inflater::new);
        (rented.begun, rented.given) = (false, 0);
        rented
    }

    /// How many bytes of memory it takes.
    pub(crate) fn held(&self) -> usize {
        self.payload.capacity() + if self.inflater.is_some() { Inflater::held() } else { 0 }
    }

    /// How much of the payload can be handed out.
    pub(crate) fn waiting(&self) -> usize {
        self.payload.len() - self.given
    }

    /// Takes the payload, or what of it was not handed out. What grew beyond a block goes with it.
    pub(crate) fn take(&mut self) -> Bytes {
        let payload = &mut self.payload;
        let is_short = self.inflater.is_some() && payload.len() <= BLOCK / 4;
        let mut rest = if is_short { payload.split().freeze() } else { std::mem::take(payload).freeze() };
        rest.advance(self.given);
        // An empty slice would keep the whole block from being used again.
        if rest.is_empty() { Bytes::new() } else { rest }
    }

    /// Takes the payload up to `end`; what follows then stands nearer to the start, by as much as this tells.
    pub(crate) fn take_part(&mut self, end: usize) -> (Bytes, usize) {
        self.begun = true;
        if self.inflater.is_none() {
            let rest = BytesMut::from(&self.payload[end..]);
            let mut part = std::mem::replace(&mut self.payload, rest);
            part.truncate(end);
            return (part.freeze(), end);
        }
        let part = Bytes::copy_from_slice(&self.payload[self.given..end]);
        let gone = end.saturating_sub(MAX_WINDOW);
        self.payload.copy_within(gone.., 0);
        self.payload.truncate(self.payload.len() - gone);
        self.given = end - gone;
        (part, gone)
    }

    /// Lets go of it: of what is to be used again, into the pool.
    pub(crate) fn give_back(self: Box<Self>) {
        if self.inflater.is_some() {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(self);
                }
            });
        }
    }
}
