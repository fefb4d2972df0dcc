//! Messages for many connections, compressed once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::compress::Settings;
use crate::message::Message;

/// A message for many connections: compressed once for all of them that compress it the same way. Cloning shares it.
///
/// These are the connections that forget each message before the next one (no context takeover), as a server's do by default, and
/// agree in level, memory level and window ([`Deflate`](super::Deflate)). Whichever of them sends it first compresses it, or finds that it is better sent
/// plain; the others wait for that if they send it at the same time, and find it done. A connection that does take its context over
/// compresses the message for itself, and one whose threshold is above the message, or without compression, sends it plain:
/// on every connection the same bytes go out as if the message itself were sent.
///
/// It holds the message and each of its compressed forms, in memory of their own size, until its last clone is dropped.
///
/// ```
/// use sockeye_proto::{Message, Prepared};
/// let news = Prepared::new("the same for all, ".repeat(100));
/// assert!(matches!(news.message(), Message::Text(_)));
/// ```
#[derive(Clone)]
pub struct Prepared(Arc<Shared>);

struct Shared {
    message: Message,
    first: Form,
}

/// The first form found here, or the place for it. There are few, so that a list that only grows does, and takes no lock to read.
type Form = OnceLock<Box<Compressed>>;

/// What was made of the message under some settings.
struct Compressed {
    settings: Settings,
    /// None if it is better sent plain.
    payload: Option<Bytes>,
    next: Form,
}

impl Prepared {
    /// A message to be sent on many connections, of which nothing is compressed yet.
    pub fn new(message: impl Into<Message>) -> Self {
        Self(Arc::new(Shared { message: message.into(), first: Form::new() }))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// What `compress` makes of the message, or has made of it under the same settings.
    pub(super) fn compressed(
        &self,
        settings: Settings,
        mut compress: impl FnMut(&[u8]) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let mut form = &self.0.first;
        loop {
            let found = form.get_or_init(|| {
                // In memory of its own: it may be kept for long, and must not keep a block.
                let payload =
                    compress(self.message().as_bytes()).map(|payload| Bytes::copy_from_slice(&payload));
                Box::new(Compressed { settings, payload, next: Form::new() })
            });
            if found.settings == settings {
                return found.payload.clone();
            }
            form = &found.next;
        }
    }
}

impl From<Message> for Prepared {
    fn from(message: Message) -> Self {
        Self::new(message)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("message", self.message()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::Deflate;
    use super::*;

    fn settings(window_bits: u8, level: u8) -> Settings {
        Settings::new(&Deflate { level, ..Deflate::default() }, window_bits)
    }

    #[test]
    fn each_form_is_made_once_by_however_many_threads() {
        let (text, noise) = ("the same again, ".repeat(200), (0..=255).collect::<Vec<u8>>());
        for (message, is_compressed) in [(Message::from(text), true), (Message::from(noise), false)] {
            let (prepared, count) = (Prepared::new(message), AtomicUsize::new(0));
            let forms = [settings(15, 3), settings(12, 3), settings(15, 1), settings(9, 3)];
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (prepared, count, start) = (prepared.clone(), &count, &start);
                    scope.spawn(move || {
                        start.wait();
                        for member in 0..100 {
                            let settings = forms[(thread + member) % forms.len()];
                            let form = prepared.compressed(settings, |payload| {
                                count.fetch_add(1, Ordering::Relaxed);
                                settings.compress(payload)
                            });
                            assert_eq!(form, settings.compress(prepared.message().as_bytes()));
                            assert_eq!(form.is_some(), is_compressed);
                        }
                    });
                }
            });
            assert_eq!(count.into_inner(), forms.len());
        }
    }
}
