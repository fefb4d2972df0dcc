//! Messages for a peer that reads too slowly: offered, never waited for, and left out by a named policy.
//!
//! What the driver has encoded has to be written. So what may still be left out waits before it is encoded, in a queue that the
//! halves share, and whoever is polled moves it on as room appears.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use sockeye_proto::{CloseCode, CloseFrame, CloseInfo, Message, Prepared, Utf8Bytes};

use super::Shared;
use crate::driver::Driver;
use crate::error::Error;
use crate::metrics::{Metrics, QueueChange};

/// What each queued message counts beside its payload and key: what the queue itself needs for it.
const EACH: usize = 160;

/// What a key counts beside its bytes.
const EACH_KEY: usize = 160;

/// What happens to messages for a peer that reads slower than it is sent to, once the queue is full.
///
/// To wait instead is what [`Sender::send`](super::Sender::send) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// The connection is closed with this code, and what is queued is dropped: 1008 (policy violation) or 1013 (try again later), as a
    /// rule.
    Close(CloseCode),
    /// A message takes the place of the queued one [with the same key](QueuedSender::offer_keyed), full or not; where there is no room
    /// for it, the oldest messages are dropped. Without a key it is as [`DropOldest`](Self::DropOldest).
    Coalesce,
    /// The message offered is dropped.
    DropNewest,
    /// The oldest messages in the queue are dropped, as many as it takes. One that is bigger than the whole queue is dropped itself.
    DropOldest,
}

/// What became of a message that was [offered](QueuedSender::offer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offered {
    /// It took the place of a queued one with the same key.
    Coalesced,
    /// It was dropped.
    Dropped,
    /// It is queued.
    Queued,
    /// It is encoded, and written as far as the transport takes it: it will not be dropped any more.
    Sent,
}

/// What became of all messages that were [offered](QueuedSender::offer) on a connection, by all clones together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounters {
    /// Messages encoded.
    pub sent: u64,
    /// Messages dropped, because the queue was full, or because the connection closed with them in it.
    pub dropped: u64,
    /// Messages whose place was taken by a newer one with the same key.
    pub coalesced: u64,
    /// Messages in the queue now.
    pub queued: usize,
    /// What they count: payloads, keys, and 160 bytes for each message and each key.
    pub queued_bytes: usize,
}

/// A sending half that never waits: made by [`Sender::queued`](super::Sender::queued), cloned for as many tasks as want to send.
///
/// A message that is offered is encoded at once while there is room in the connection's output
/// ([`Config::max_buffered`](crate::Config::max_buffered)), and queued otherwise. The queue is one for the connection: messages keep their order, also with those of
/// [`Sender::send`](super::Sender::send), which waits until the queue is empty; while a message is sent
/// [in parts](super::MessageWriter), the others queue. Bound and policy are this handle's and its clones': another handle of the same connection may have
/// others, and what it finds in the queue counts against its bound.
///
/// The queue moves when the [`Receiver`](super::Receiver) is polled, or any sender. What is in it when the closing handshake begins is
/// dropped; [`Sender::flush`](super::Sender::flush) waits until it is empty.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sockeye::Error> {
/// # let (ws, mut peer) = sockeye::pair();
/// use sockeye::SlowConsumer;
/// let (sender, receiver) = ws.split();
/// let prices = sender.queued(SlowConsumer::Coalesce, 64 << 10);
/// prices.offer_keyed("fish", "fish: 4.20")?;
/// # assert_eq!(peer.recv().await?.unwrap().as_text(), Some("fish: 4.20"));
/// # drop(receiver);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct QueuedSender {
    shared: Arc<Shared>,
    policy: SlowConsumer,
    most: usize,
}

/// Messages that are not encoded yet, by the number in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    /// Where the message with that key is.
    keys: HashMap<Arc<[u8]>, u64>,
    next: u64,
    counters: QueueCounters,
    /// Whom to tell, and what was told already.
    metrics: Option<Metrics>,
    told: QueueCounters,
}

struct Waiting {
    item: Item,
    key: Option<Arc<[u8]>>,
}

enum Item {
    Message(Message),
    Prepared(Prepared),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Prepared(prepared) => prepared.message().len(),
        }
    }

    /// In memory of its own: it may wait for long, and must not keep a block.
    fn detach(self) -> Self {
        match self {
            Self::Message(message) => Self::Message(message.detach()),
            prepared @ Self::Prepared(_) => prepared,
        }
    }

    fn encode(self, driver: &mut Driver) -> Result<(), Error> {
        match self {
            Self::Message(message) => driver.encode(message, true),
            Self::Prepared(prepared) => driver.encode_prepared(&prepared),
        }
    }
}

impl Waiting {
    fn size(&self) -> usize {
        EACH + self.item.len() + self.key.as_ref().map_or(0, |key| EACH_KEY + key.len())
    }
}

impl Queue {
    fn push(&mut self, waiting: Waiting) {
        if let Some(key) = &waiting.key {
            self.keys.insert(key.clone(), self.next);
        }
        self.counters.queued += 1;
        self.counters.queued_bytes += waiting.size();
        self.waiting.insert(self.next, waiting);
        self.next += 1;
    }

    fn forget(&mut self, waiting: &Waiting) {
        if let Some(key) = &waiting.key {
            self.keys.remove(key);
        }
        self.counters.queued -= 1;
        self.counters.queued_bytes -= waiting.size();
    }

    fn pop(&mut self) -> Option<Waiting> {
        let (_, oldest) = self.waiting.pop_first()?;
        self.forget(&oldest);
        Some(oldest)
    }

    fn drop_oldest(&mut self) {
        self.counters.dropped += u64::from(self.pop().is_some());
    }

    /// Drops all, and lets go of the memory.
    fn clear(&mut self) {
        self.counters.dropped += self.waiting.len() as u64;
        (self.counters.queued, self.counters.queued_bytes) = (0, 0);
        (self.waiting, self.keys) = (BTreeMap::new(), HashMap::new());
    }

    /// Tells by how much it has changed since this was last called.
    fn tell(&mut self) {
        let (now, before) = (self.counters, std::mem::replace(&mut self.told, self.counters));
        if let Some(metrics) = &self.metrics {
            let change = |now: usize, before: usize| (now as u64).wrapping_sub(before as u64);
            metrics.queue(&QueueChange {
                queued: change(now.queued, before.queued),
                queued_bytes: change(now.queued_bytes, before.queued_bytes),
                dropped: now.dropped - before.dropped,
                coalesced: now.coalesced - before.coalesced,
            });
        }
    }

    fn fits(&self, size: usize, most: usize) -> bool {
        self.counters.queued_bytes.saturating_add(size) <= most
    }

    /// Takes a message in as the policy says; `None` if the policy is to close.
    fn take(&mut self, waiting: Waiting, policy: SlowConsumer, most: usize) -> Option<Offered> {
        let size = waiting.size();
        if size > most || (policy == SlowConsumer::DropNewest && !self.fits(size, most)) {
            if matches!(policy, SlowConsumer::Close(_)) {
                return None;
            }
            self.counters.dropped += 1;
            return Some(Offered::Dropped);
        }
        let place = waiting.key.as_ref().and_then(|key| self.keys.get(key).copied());
        let older = place.and_then(|place| self.waiting.remove(&place));
        if let (Some(place), Some(older)) = (place, older) {
            self.forget(&older);
            self.counters.coalesced += 1;
            if self.fits(size, most) {
                // In the older one's place: one that is renewed again and again has its turn nevertheless.
                let next = std::mem::replace(&mut self.next, place);
                self.push(waiting);
                self.next = next;
                return Some(Offered::Coalesced);
            }
        }
        while !self.fits(size, most) {
            if let SlowConsumer::Close(_) = policy {
                return None;
            }
            self.drop_oldest();
        }
        self.push(waiting);
        Some(if place.is_some() { Offered::Coalesced } else { Offered::Queued })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
        self.tell();
    }
}

impl Shared {
    fn queue(&self, driver: &Driver) -> &Mutex<Queue> {
        self.queue.get_or_init(|| {
            let mut queue = Queue::default();
            queue.metrics = driver.meter().metrics().cloned();
            Box::new(Mutex::new(queue))
        })
    }

    /// Encodes and writes what is queued, as far as there is room: whether nothing is left. If something is, whoever wrote last is woken when
    /// there is room.
    #[inline]
    pub(super) fn move_queue(&self, driver: &mut Driver, cx: &mut Context<'_>) -> bool {
        self.queue.get().is_none_or(|queue| self.move_on(&mut lock(queue), driver, cx))
    }

    #[cold]
    fn move_on(&self, queue: &mut Queue, driver: &mut Driver, cx: &mut Context<'_>) -> bool {
        while !queue.waiting.is_empty() {
            if !driver.may_send() {
                queue.clear();
                queue.tell();
                break;
            }
            if self.is_writing(driver) {
                return false;
            }
            if !driver.has_room() {
                if driver.poll_write_out(cx).is_pending() {
                    return false;
                }
                continue;
            }
            while driver.has_room()
                && let Some(waiting) = queue.pop()
            {
                match waiting.item.encode(driver) {
                    Ok(()) => queue.counters.sent += 1,
                    Err(_) => queue.counters.dropped += 1,
                }
            }
            queue.tell();
            let _ = driver.poll_write_out(cx);
            if queue.waiting.is_empty() {
                queue.keys = HashMap::new();
            }
        }
        true
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QueuedSender {
    pub(super) fn new(shared: Arc<Shared>, policy: SlowConsumer, most: usize) -> Self {
        shared.queue(&shared.driver());
        Self { shared, policy, most }
    }

    /// Sends a message now, queues it, or does what the [policy](SlowConsumer) says. Never waits, from whatever context.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun, also if it was the policy that began it now; [`Error::Misuse`] if the policy's
    /// code may not be sent; [`Error::Io`] if writing has failed. What the connection ended with is told by the [`Receiver`](super::Receiver).
    pub fn offer(&self, message: impl Into<Message>) -> Result<Offered, Error> {
        self.offer_item(Item::Message(message.into()), None)
    }

    /// As [`offer`](Self::offer), for a message that goes to many connections: it waits as it is, shared, and is compressed
    /// once for all. It counts in full against each queue's bound.
    ///
    /// # Errors
    ///
    /// As [`offer`](Self::offer).
    pub fn offer_prepared(&self, prepared: &Prepared) -> Result<Offered, Error> {
        self.offer_item(Item::Prepared(prepared.clone()), None)
    }

    /// As [`offer`](Self::offer), for the newest state of what `key` names: under [`SlowConsumer::Coalesce`] it takes the place of the queued message with
    /// that key.
    ///
    /// # Errors
    ///
    /// As [`offer`](Self::offer).
    pub fn offer_keyed(&self, key: impl AsRef<[u8]>, message: impl Into<Message>) -> Result<Offered, Error> {
        self.offer_item(Item::Message(message.into()), Some(key.as_ref()))
    }

    /// As [`offer_keyed`](Self::offer_keyed) and [`offer_prepared`](Self::offer_prepared).
    ///
    /// # Errors
    ///
    /// As [`offer`](Self::offer).
    pub fn offer_prepared_keyed(&self, key: impl AsRef<[u8]>, prepared: &Prepared) -> Result<Offered, Error> {
        self.offer_item(Item::Prepared(prepared.clone()), Some(key.as_ref()))
    }

    fn offer_item(&self, item: Item, key: Option<&[u8]>) -> Result<Offered, Error> {
        let Self { shared, policy, most } = self;
        let mut driver = shared.driver();
        let mut queue = lock(shared.queue(&driver));
        let cx = &mut Context::from_waker(&shared.waker);
        let mut empty = shared.move_on(&mut queue, &mut driver, cx) && !shared.is_writing(&driver);
        if !driver.may_send() {
            return Err(driver.closed());
        }
        if empty && !driver.has_room() {
            // It may just not have been asked for a while.
            let _ = driver.poll_write_out(cx);
            empty = driver.has_room();
        }
        if empty {
            item.encode(&mut driver)?;
            queue.counters.sent += 1;
            driver.write_unless_more(cx)?;
            return Ok(Offered::Sent);
        }
        let key = key.filter(|_| *policy == SlowConsumer::Coalesce).map(Arc::from);
        let fate = queue.take(Waiting { item: item.detach(), key }, *policy, *most);
        let Some(fate) = fate else {
            queue.clear();
            queue.counters.dropped += 1;
            queue.tell();
            queue.metrics.iter().for_each(Metrics::slow_closed);
            drop((queue, driver));
            if let SlowConsumer::Close(code) = *policy {
                let reason = Utf8Bytes::from_static("the peer reads too slowly");
                shared.start_close(&CloseFrame { code, reason })?;
            }
            return Err(Error::Closed);
        };
        queue.tell();
        Ok(fate)
    }

    /// What became of all that was offered on this connection.
    pub fn counters(&self) -> QueueCounters {
        self.shared.queue.get().map_or_else(QueueCounters::default, |queue| lock(queue).counters)
    }

    /// How the connection ended; `None` before.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.close_info()
    }
}

impl fmt::Debug for QueuedSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedSender")
            .field("policy", &self.policy)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
