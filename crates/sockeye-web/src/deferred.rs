//! A message that is sent before its data is there.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sockeye::Bytes;

use crate::link::Link;

/// The place of a binary message among those that are sent, while its data is still being read: what
/// [`WebSocket::send_deferred`](crate::WebSocket::send_deferred) gives. Dropped without its data, it fails the connection, since what
/// is behind it could never be sent.
pub struct DeferredMessage {
    link: Arc<Link>,
    place: Arc<OnceLock<sockeye::Message>>,
    size: usize,
}

impl DeferredMessage {
    /// Queues such a message.
    pub(crate) fn new(link: &Arc<Link>, size: usize) -> Self {
        let place = Arc::default();
        link.send_deferred(Arc::clone(&place));
        Self { link: Arc::clone(link), place, size }
    }

    /// The data has been read. If it is not of the size that was told, the connection is failed.
    pub fn resolve(self, data: impl Into<Bytes>) {
        let data = data.into();
        if data.len() == self.size {
            // It is done once: `self` is gone after it.
            let _ = self.place.set(data.into());
        }
    }
}

impl Drop for DeferredMessage {
    fn drop(&mut self) {
        if self.place.get().is_some() {
            self.link.wake();
        } else {
            self.link.give_up(&self.place);
        }
    }
}

impl fmt::Debug for DeferredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredMessage").field("size", &self.size).finish_non_exhaustive()
    }
}
