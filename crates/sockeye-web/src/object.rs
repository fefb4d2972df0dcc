//! The object behind a [`WebSocket`]: its attributes, its references, and the tasks that are queued for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use url::Url;

use crate::algorithms;
use crate::connection::{Feedback, Owner, Target};
use crate::events::Listeners;
use crate::link::Link;
use crate::options::{EventLoop, Options};
use crate::url::is_bad_port;
use crate::websocket::{BinaryType, WebSocket};

/// From so much on, in bytes of messages and tasks, no more is received until the event loop has got on.
const MOST_QUEUED: usize = 256 << 10;

/// What a task counts for beside its message.
const TASK: usize = 1 << 10;

/// What references to the object share: when it goes, there are none.
pub(crate) struct Handle(pub(crate) Arc<Shared>);

/// The object itself: it lives as long as its connection.
pub(crate) struct Shared {
    pub(crate) url: Url,
    pub(crate) origin: Arc<str>,
    pub(crate) link: Arc<Link>,
    pub(crate) listeners: Listeners,
    attributes: Mutex<Attributes>,
    handle: Mutex<Weak<Handle>>,
    event_loop: Option<EventLoop>,
    /// What waits in the event loop, weighed.
    queued: AtomicUsize,
}

/// The attributes that change.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) ready_state: u16,
    pub(crate) extensions: String,
    pub(crate) protocol: String,
    pub(crate) binary_type: BinaryType,
    /// How many bytes of application data were ever given to `send`.
    pub(crate) sent: u64,
    /// How many of them had been transmitted when the event loop last came around.
    pub(crate) transmitted: u64,
}

/// How to connect, with what the options say.
pub(crate) fn target(url: &Url, protocols: &[&str], options: &Options) -> Target {
    let has_protocols = !protocols.is_empty();
    let mut client = protocols.iter().copied().fold(options.client.clone(), sockeye::Client::subprotocol);
    if let Some(origin) = &options.origin {
        client = client.origin(origin.clone());
    }
    // Credentials stand in the URL, and no browser sends them in the opening handshake.
    let mut bare = url.clone();
    // They cannot fail on a URL with a host.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let is_blocked = options.block_bad_ports && is_bad_port(url);
    Target { client, url: bare.into(), has_protocols, is_blocked }
}

impl Shared {
    pub(crate) fn new(url: Url, link: Arc<Link>, event_loop: Option<EventLoop>) -> Self {
        Self {
            origin: url.origin().ascii_serialization().into(),
            link,
            listeners: Listeners::default(),
            attributes: Mutex::default(),
            handle: Mutex::default(),
            event_loop,
            queued: AtomicUsize::new(0),
            url,
        }
    }

    pub(crate) fn attributes(&self) -> MutexGuard<'_, Attributes> {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reference to the object: those that there are, or a new one.
    pub(crate) fn handle(self: &Arc<Self>) -> WebSocket {
        let mut weak = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = weak.upgrade() {
            return WebSocket::from_handle(handle);
        }
        let handle = Arc::new(Handle(Arc::clone(self)));
        *weak = Arc::downgrade(&handle);
        WebSocket::from_handle(handle)
    }

    /// Whether anybody holds a reference to the object.
    pub(crate) fn is_referenced(&self) -> bool {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
    }

    /// "Queue a task": it runs at once if the driving task is the event loop.
    fn queue_a_task(self: &Arc<Self>, weight: usize, steps: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let Some(event_loop) = &self.event_loop else { return steps(self) };
        self.queued.fetch_add(weight, Ordering::AcqRel);
        let queued = Queued { shared: Arc::clone(self), weight };
        event_loop.queue(Box::new(move || steps(&queued.shared)));
    }
}

impl Owner for Shared {
    fn feedback(self: &Arc<Self>, feedback: Feedback) {
        let weight = TASK + if let Feedback::Message(message) = &feedback { message.len() } else { 0 };
        self.queue_a_task(weight, move |shared| algorithms::feedback(shared, feedback));
    }

    fn wants_message(&self) -> bool {
        self.queued.load(Ordering::Acquire) < MOST_QUEUED
    }
}

/// A task in the event loop, until it has run or was thrown away.
struct Queued {
    shared: Arc<Shared>,
    weight: usize,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let before = self.shared.queued.fetch_sub(self.weight, Ordering::AcqRel);
        if before >= MOST_QUEUED && before - self.weight < MOST_QUEUED {
            self.shared.link.wake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        algorithms::collect_garbage(&self.0);
    }
}
